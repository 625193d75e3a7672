// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hits.h"
#include "log.h"
#include "maps.h"
#include "realise.h"
#include "revision.h"
#include "view_pins.h"

static const struct dfw_profile default_profile = {
#define PROFILE_FLAG(symbol, name, on, help) ((on) ? DFW_PROFILE_##symbol : 0) |
	.flags = DFW_PROFILE_FLAGS(PROFILE_FLAG) 0,
#undef PROFILE_FLAG
	.max_flows = DFW_DEFAULT_MAX_FLOWS,
	.max_half_open = DFW_DEFAULT_MAX_HALF_OPEN,
	.reject_per_second = DFW_DEFAULT_REJECT_PER_SECOND,
	.max_fragments = DFW_DEFAULT_MAX_FRAGMENTS,
	.max_learned = DFW_DEFAULT_MAX_LEARNED,
	.resync_seconds = DFW_DEFAULT_RESYNC_SECONDS,
	.timeouts_ns =
		{
#define STATE_TIMEOUT(symbol, name, seconds) [DFW_FLOW_##symbol] = (seconds) * 1000000000ULL,
			DFW_FLOW_STATES_LIST(STATE_TIMEOUT)
#undef STATE_TIMEOUT
		},
};

const struct dfw_profile *profile_default(void)
{
	return &default_profile;
}

void wanted_free(struct wanted_port *wanted, size_t nr)
{
	for (size_t i = 0; wanted && i < nr; i++)
		spec_free(wanted[i].next);
	free(wanted);
}

void revision_free(struct revision *revision)
{
	if (!revision)
		return;
	for (size_t i = 0; revision->staged && i < revision->nr; i++)
		free(revision->staged[i].rules);
	compiled_free(revision->compiled);
	free(revision->of_port);
	free(revision->staged);
	wanted_free(revision->wanted, revision->nr);
	free(revision->rulesets);
	free(revision->to_make);
	free(revision);
}

/* ---- The list of ports ------------------------------------------------------------------------------------------ */

struct wanted_port *wanted_list(const struct dfwd *d, const struct port *changed,
				const struct vport_spec *spec, size_t *nr, size_t *index)
{
	struct wanted_port *list = calloc(d->nr_ports + 1, sizeof(*list));
	bool add = spec && !changed;

	*nr = 0;
	*index = 0;
	for (size_t i = 0; list && i < d->nr_ports; i++) {
		struct port *port = d->ports[i];

		if (add && strcmp(spec->name, port->spec->name) < 0) {
			*index = *nr;
			list[(*nr)++].spec = spec;
			add = false;
		}
		if (port == changed && !spec)
			continue;
		if (port == changed)
			*index = *nr;
		list[*nr].port = port;
		list[(*nr)++].spec = port == changed ? spec : port->spec;
	}
	if (list && add) {
		*index = *nr;
		list[(*nr)++].spec = spec;
	}
	return list;
}

struct vport_spec *wanted_change(struct wanted_port *wanted)
{
	if (!wanted->next)
		wanted->next = spec_copy(wanted->spec);
	if (wanted->next)
		wanted->spec = wanted->next;
	return wanted->next;
}

/* ---- Prepare ---------------------------------------------------------------------------------------------------- */

static bool takes_part(const struct wanted_port *wanted)
{
	return !wanted->port || !wanted->port->left_out;
}

static int compile(struct revision *revision, const struct policy *policy,
		   struct policy_errors *errors)
{
	_cleanup_free_ struct policy_port *ports =
		calloc(revision->nr + revision->d->remote.nr + 1, sizeof(*ports));
	_cleanup_free_ size_t *wanted_of = calloc(revision->nr + 1, sizeof(*wanted_of));
	size_t nr = 0;
	int r;

	if (!ports || !wanted_of)
		return -ENOMEM;
	for (size_t i = 0; i < revision->nr; i++) {
		const struct vport_spec *spec = revision->wanted[i].spec;

		if (!takes_part(&revision->wanted[i]))
			continue;
		wanted_of[nr] = i;
		ports[nr++] = (struct policy_port){
			.name = spec->name,
			.tags = spec->tags,
			.nr_tags = spec->nr_tags,
			.addresses = spec->addresses,
			.nr_addresses = spec->nr_addresses,
			.profile = spec->profile,
			.here = true,
		};
	}
	r = remote_ports_append(revision->d, ports, &nr);
	if (r == 0)
		r = policy_compile(policy, ports, nr, &revision->compiled, errors);
	for (size_t i = 0; r == 0 && i < revision->compiled->nr_ports; i++) {
		const struct compiled_port *port = &revision->compiled->ports[i];

		revision->of_port[wanted_of[port->port]] = port;
	}
	return r;
}

int revision_prepare(struct dfwd *d, const struct policy *policy, uint32_t generation,
		     struct wanted_port *wanted, size_t nr, struct revision **revision,
		     struct policy_errors *errors)
{
	_cleanup_revision_ struct revision *new = calloc(1, sizeof(*new));
	int r = 0;

	if (!new || !wanted) {
		wanted_free(wanted, nr);
		return log_errno(-ENOMEM, "cannot prepare a revision");
	}
	new->d = d;
	new->generation = generation;
	new->wanted = wanted;
	new->nr = nr;
	new->of_port = calloc(nr + 1, sizeof(*new->of_port));
	new->staged = calloc(nr + 1, sizeof(*new->staged));
	if (!new->of_port || !new->staged)
		return log_errno(-ENOMEM, "cannot prepare a revision");
	if (policy)
		r = compile(new, policy, errors);
	if (r == -ENOMEM)
		return log_errno(r, "cannot compile the policy");
	if (r < 0)
		return r;
	*revision = TAKE_PTR(new);
	return 0;
}

const struct dfw_profile *revision_profile(const struct revision *revision, size_t index)
{
	return revision->of_port[index] ? &revision->of_port[index]->profile : &default_profile;
}

void revision_set_port(struct revision *revision, size_t index, struct port *port)
{
	revision->wanted[index].port = port;
}

size_t revision_rules(const struct revision *revision)
{
	size_t rules = 0;

	for (size_t i = 0; i < revision->nr; i++)
		for (int direction = 0; revision->of_port[i] && direction < DFW_DIRECTIONS;
		     direction++)
			rules += revision->compiled
					 ->rulesets[revision->of_port[i]->ruleset[direction]]
					 .header.nr_rules;
	return rules;
}

/* ---- Flip ------------------------------------------------------------------------------------------------------- */

/* Numbers of revisions come back after 65535. A flow that slept for so long must not take an old verdict for a new one:
 * all flows forget theirs. */
static int forget_verdicts(const struct dfwd *d)
{
	for (size_t i = 0; i < d->nr_ports; i++) {
		int r = object_sweep(&d->object, d->ports[i]->slot, DFW_SWEEP_STALE);

		if (r < 0)
			return log_errno(r, "vport %s: cannot mark its flows stale",
					 d->ports[i]->spec->name);
	}
	return 0;
}

static int flip(struct revision *revision)
{
	struct dfwd *d = revision->d;
	const struct dfw_active active = {.bank = !d->bank};
	struct dfw_revision next = {.generation = revision->generation,
				    .revision = (uint16_t)(d->revision.revision + 1)};
	const uint32_t zero = 0;
	int r = 0;

	if (next.revision == 0) {
		next.revision = 1;
		r = forget_verdicts(d);
		if (r < 0)
			return r;
	}
	r = map_put(d->object.revisions, &active.bank, &next);
	if (r == 0)
		r = map_put(d->object.active, &zero, &active);
	if (r < 0)
		return log_errno(r, "cannot bring the revision into force");
	d->bank = active.bank;
	d->revision = next;
	d->active_since_ns = monotonic_ns();
	return 0;
}

/* ---- After the flip --------------------------------------------------------------------------------------------- */

static void settle_port(struct dfwd *d, struct port *port, struct staged_port *staged)
{
	struct port former = *port;

	port->config = staged->config;
	port->rules = TAKE_PTR(staged->rules);
	if (!staged->same_rules) {
		_cleanup_close_ int hits =
			map_open_inner(d->object.hits.fd, bank_index(port->slot, !d->bank));

		if (hits >= 0 && former.rules)
			hits_fold(&d->object, port, hits, former.rules, former.config.hits_count);
	}
	free(former.rules);
	if (!staged->same_config || !staged->same_rules)
		port_pin_bank(&d->object, port, d->bank);
}

static void settle(struct revision *revision)
{
	struct dfwd *d = revision->d;

	/* Programs that began before the flip may still count in the former maps. */
	object_grace_period(&d->object);
	for (size_t i = 0; i < revision->nr; i++)
		settle_port(d, revision->wanted[i].port, &revision->staged[i]);
	if (revision->compiled)
		events_set_rules(&d->events, revision->compiled);
}

static void take_specs(struct revision *revision)
{
	cluster_link_vports_changed(revision->d);
	for (size_t i = 0; i < revision->nr; i++) {
		struct wanted_port *wanted = &revision->wanted[i];

		if (!wanted->next)
			continue;
		spec_free(wanted->port->spec);
		wanted->port->spec = TAKE_PTR(wanted->next);
	}
}

/* ---- Commit ----------------------------------------------------------------------------------------------------- */

static int resize_ports(struct revision *revision)
{
	for (size_t i = 0; i < revision->nr; i++) {
		int r = port_resize(&revision->d->object, revision->wanted[i].port,
				    revision_profile(revision, i));

		if (r < 0)
			return r;
	}
	return 0;
}

int revision_commit(struct revision *revision)
{
	struct dfwd *d = revision->d;
	int r = stage_find_use(revision);

	if (r == 0)
		r = tables_collect(&d->object, &revision->use);
	if (r == 0)
		r = stage_compiled(revision);
	if (r == 0)
		r = stage_fill(revision);
	if (r < 0)
		return r;
	if (!revision->changed) {
		if (revision->compiled)
			events_set_rules(&d->events, revision->compiled);
		take_specs(revision);
		return 0;
	}
	r = resize_ports(revision);
	if (r == 0)
		r = stage_ports(revision);
	if (r == 0)
		r = flip(revision);
	if (r < 0) {
		/* What was made so far is freed here, or, should that fail too, by the next revision. */
		if (stage_find_use(revision) == 0)
			tables_collect(&d->object, &revision->use);
		return r;
	}
	settle(revision);
	take_specs(revision);
	return 0;
}
