/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_LIVE_H
#define DFW_LOADER_LIVE_H

#include "tables.h"

/*
 * The tables in force, and how they change in place: an address joins or leaves groups, a port its addresses and tags.
 * docs/design.md, Rules, says why no packet sees half of such a change.
 *
 * After an error the tables are as they were in the kernel, but not known here any more: whatever comes next is compiled
 * and staged.
 */

struct dfwd;
struct revision;

struct live {
	struct compiled *compiled; /* NULL: not known */
	uint32_t tables;
	uint32_t *rulesets;    /* index of each compiled rule set ... */
	struct row_maps *maps; /* ... and its maps */
	int exact;	       /* fds, -1: not open */
	int prefix;
	uint64_t services;	/* hash of what they say of services */
	struct dfw_v4_node *v4; /* mapped; NULL: not open */
	bool touched;		/* changed in place since they were staged */
	uint64_t changed_ns;	/* last */
};

/* Takes over what the revision has brought into force. */
void live_take(struct live *live, struct revision *revision);
void live_forget(struct live *live);

void live_find_use(const struct live *live, struct index_use *use);
bool live_same_tables(const struct live *live, const struct compiled *compiled);
/* 1: an equal rule set is in force, at *index, with *maps; 0: there is none; `near` is where it was probably. */
int live_find_ruleset(const struct live *live, const struct compiled_ruleset *ruleset, size_t near,
		      uint32_t *index, struct row_maps *maps);
/* A copy of the indices, malloc'd. */
uint32_t *live_rulesets(const struct live *live);

/* -ENOSPC, -ENOTSUP: compile and stage. *changed: elements of addresses were written, so flows must be decided anew. */
int live_change_members(struct dfwd *d, const struct policy_member *members, size_t nr, bool in,
			bool *changed);
int live_change_ports(struct dfwd *d, const struct policy_port *ports, size_t nr, bool *changed);

/* Gives back the memory of addresses that are in no group any more; when there are many, or nothing else is going on. */
void live_tidy(struct dfwd *d);

#endif
