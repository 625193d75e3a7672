/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_REALISE_H
#define DFW_LOADER_REALISE_H

#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"
#include "port.h"
#include "util.h"

/*
 * From a policy and the list of ports to what packets see: a revision.
 *
 *   prepare   compiles; pure, says all that is wrong with the input
 *   commit    stages everything in the bank that is not in force, then one store into `active` flips; afterwards
 *             hits of rules that went are added to rule_totals, and the pins of the ports follow
 *
 * Any error before the flip leaves what is in force as it was. Nothing fails behind it: what cannot be tidied up is
 * logged, and tidied up by the next start or the next revision.
 *
 * Of what changes membership only (a port's addresses or tags, where its rules are some that are there already) nothing
 * is staged but configs: the tables in force are changed, see live.h. When that cannot be, commit compiles and stages.
 *
 * What the former bank refers to is freed soon after the flip, by realise_tidy(): memory holds one revision, and two from
 * staging until then.
 */

struct dfwd;
struct revision;

/* Where the time of a revision went, microseconds. */
struct took {
	uint64_t compile_us;
	uint64_t make_us;   /* maps, and what is in them */
	uint64_t put_us;    /* into maps of maps, with a grace period */
	uint64_t settle_us; /* behind the flip: another one, counters, pins */
};

struct wanted_port {
	struct port *port; /* may be NULL until commit, for a port that is being made */
	const struct vport_spec *spec;
	struct vport_spec
		*next; /* owned: the port's own from the commit on; `spec` is the same then */
};

void wanted_free(struct wanted_port *wanted, size_t nr);

void revision_free(struct revision *revision);
static inline void revision_cleanup(struct revision **revision)
{
	revision_free(*revision);
}
#define _cleanup_revision_ _cleanup_(revision_cleanup)

/* `policy` NULL: every port denies. `wanted` is sorted by name, and taken over (malloc'd). -EINVAL: *errors is filled. */
int revision_prepare(struct dfwd *d, const struct policy *policy, uint32_t generation,
		     struct wanted_port *wanted, size_t nr, struct revision **revision,
		     struct policy_errors *errors);

/* What holds for a port without a policy. */
const struct dfw_profile *profile_default(void);
/* The profile of wanted[index]. */
const struct dfw_profile *revision_profile(const struct revision *revision, size_t index);
/* Gives wanted[index] its port, made since. */
void revision_set_port(struct revision *revision, size_t index, struct port *port);
const struct took *revision_took(const struct revision *revision);
/* Rules of all ports and both directions, defaults not counted. */
size_t revision_rules(const struct revision *revision);

/* Does nothing to the kernel when that says just the same already. Errors are logged. */
int revision_commit(struct revision *revision);

/* Has all flows decided anew on their next packet, after a change in place. */
int revision_bump(struct dfwd *d);
/* Frees what the former revision alone needed; waits for grace periods. */
int realise_tidy(struct dfwd *d);

/* The ports as they are, for revision_prepare: with `spec` in the place of the port's when `changed` is not NULL, added
 * when `changed` is NULL and `spec` is not, and without `changed` when `spec` is NULL. *index is that of `spec`.
 * Returns NULL without memory. */
struct wanted_port *wanted_list(const struct dfwd *d, const struct port *changed,
				const struct vport_spec *spec, size_t *nr, size_t *index);
/* The spec that the port of wanted[] shall have, to be changed: a copy of its own. NULL: no memory. */
struct vport_spec *wanted_change(struct wanted_port *wanted);

/* Reads from the kernel what is in force: d->revision. */
int realised_read(struct dfwd *d);
/* For a port taken over: the ids of its rules; adds hits that a former daemon had no time to add; corrects its pins. */
int realised_adopt_port(struct dfwd *d, struct port *port);

#endif
