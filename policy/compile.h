/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_COMPILE_H
#define POLICY_COMPILE_H

/* What compile.c tells ruleset.c: the rules of one list, in terms of sets. */

#include "address_classes.h"
#include "model.h"
#include "policy.h"
#include "value_classes.h"

#define ANY_SET UINT32_MAX

struct set_list {
	uint32_t *items;
	size_t nr;
	size_t room;
};

/* One end of a rule, `from` or `to`, in one role: the address matches when it is in a set of `in` (or `any`), and in
 * none of `out`. */
struct address_match {
	bool known; /* the sets below are made */
	bool any;
	struct set_list in;
	struct set_list out;
};

enum rule_end {
	END_FROM,
	END_TO,
	RULE_ENDS,
};

struct rule_match {
	const struct rule *rule;
	struct address_match remote[RULE_ENDS]; /* this end is the remote one */
	struct address_match local
		[RULE_ENDS]; /* this end is the local one: addresses only, ports are in the entry */
	bool values_known;
	uint32_t values; /* set of l4 values, or ANY_SET */
	uint32_t sources;
	bool portless; /* with a set of sources: protocols without ports match as well */
};

/* A rule in a port's list. */
#define ENTRY_PORT  1 /* the local end means this port: any address of its own matches */
#define ENTRY_NOT   2 /* the local end excludes this port: no address of its own matches */
#define ENTRY_SHIFT 2

struct rule_list {
	enum dfw_direction direction;
	bool no_addresses;	 /* the port has none: then each local address counts as its own */
	const uint32_t *entries; /* index of the rule << ENTRY_SHIFT | ENTRY_* */
	size_t nr;
};

struct classes {
	struct address_classes addresses;
	uint32_t nr_address_sets;
	struct value_classes values;
	uint32_t nr_value_sets;
	struct value_classes sources;
	uint32_t nr_source_sets;
};

/* Returns 0 or -ENOMEM; what is in *ruleset is the caller's then, too. */
int ruleset_build(const struct policy *policy, const struct rule_match *matches,
		  const struct classes *classes, const struct rule_list *list,
		  struct compiled_ruleset *ruleset);

#endif
