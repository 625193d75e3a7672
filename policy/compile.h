/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_COMPILE_H
#define POLICY_COMPILE_H

/* What compile.c tells ruleset.c: the rules of one list, in terms of sets; and what it leaves behind for change.c. */

#include "address_space.h"
#include "model.h"
#include "policy.h"
#include "rows.h"
#include "table.h"
#include "v4_tree.h"
#include "value_classes.h"
#include "vports.h"

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

/* Lists of numbers, one behind the other: list i is items[begin[i]] to items[begin[i + 1]]. */
struct number_lists {
	uint32_t *begin;
	uint32_t *items;
};

struct classes {
	const struct address_space *addresses;
	struct number_lists classes_of; /* by address set */
	uint32_t room_addresses;	/* classes that there may be */
	uint32_t nr_address_sets;
	struct value_classes values;
	uint32_t nr_value_sets;
	struct value_classes sources;
	uint32_t nr_source_sets;
};

/* "This rule uses this set." */
struct rule_use {
	uint32_t set;
	uint32_t rule;
};

struct rule_uses {
	struct rule_use *items; /* sorted by set */
	size_t nr;
};

/* What it takes to make the row of one more class, in a dimension of addresses. */
struct address_rows {
	bool kept; /* rows depend on the class */
	struct rule_uses in;
	struct rule_uses out;
	uint64_t *base; /* the rules that accept every class, exclusions aside */
};

struct ruleset_rows {
	struct arena arena;
	struct rows rows;
	size_t nr_chunks; /* of a row */
	struct address_rows dimensions[DFW_DIM_L4];
};

void ruleset_rows_free(struct ruleset_rows *rows);

/* Returns 0 or -ENOMEM; what is in *ruleset is the caller's then, too. */
int ruleset_build(const struct policy *policy, const struct rule_match *matches,
		  const struct classes *classes, const struct rule_list *list,
		  struct compiled_ruleset *ruleset);

/* Makes the rows of a new class, and notes what is new in *changes. `bits` has room for a row. Returns 0, -ENOMEM, or
 * -ENOSPC: its chunks do not fit. */
int ruleset_add_class(struct compiled_ruleset *ruleset, const struct address_class *class,
		      uint64_t *bits, struct row_changes *changes);

/* What an address must be in. */
struct address_set {
	uint32_t id;
	const struct operand *operand;
	bool with_ports; /* the addresses of its ports count too */
	bool remote;	 /* rules ask about the remote address ... */
	bool local;	 /* ... or the local one */
};

struct address_sets {
	struct address_set **items;
	size_t nr;
	size_t room;
};

/* A group, as far as addresses go. */
struct compiled_group {
	bool has_addresses;	 /* of the policy, or at run time */
	struct set_list sets;	 /* those that all of its addresses are in */
	struct set_list present; /* its members at run time, by index in compiler.members */
};

/* The rules of some ports. */
struct list {
	struct rule_list rules;
	size_t index; /* in compiled.rulesets */
};

struct port_copy {
	struct policy_port port;
	size_t ruleset[DFW_DIRECTIONS];
};

struct compiler {
	const struct policy *policy;
	const struct policy_port *ports;
	size_t nr_ports;
	const struct policy_member *members;
	size_t nr_members;
	struct policy_errors *errors;
	struct arena arena;   /* as long as the tables live */
	struct arena scratch; /* while they are compiled */
	struct vports vports;
	struct rule_match *matches; /* of all rules, in order */
	size_t nr_rules;
	struct {
		struct list **items;
		size_t nr;
		size_t room;
	} lists;
	struct table list_by_entries;
	struct address_sets address_sets;
	struct table address_set_by_key;
	struct table address_set_by_text;
	struct compiled_group *groups; /* by index */
	struct value_sets values;
	struct table values_by_content;
	struct value_sets sources;
	struct table sources_by_content;
	struct address_space addresses;
	struct v4_tree v4;
	struct classes classes;
	struct compiled *out;
	/* Behind the compiling: who was compiled, sorted by name. */
	struct port_copy **copies;
	size_t nr_copies;
};

void compiler_free(struct compiler *compiler);

const struct operand_list *operands_of(const struct rule *rule, enum rule_end end);
/* Whether addresses of the operand count as local ones by themselves. */
bool operand_has_addresses(const struct compiler *compiler, const struct operand *operand);
/* The list that has these entries; room for one behind them is needed. NULL: none has. */
struct list *find_list(const struct compiler *compiler, uint32_t *entries, size_t nr,
		       enum dfw_direction direction, bool no_addresses);
/* compiled_lookup() where the classes of the packet's addresses are known. */
uint32_t lookup_classes(const struct compiled *compiled, const struct compiled_ruleset *ruleset,
			const struct policy_packet *packet, uint32_t remote, uint32_t local);
/* Brings the tree of IPv4 prefixes to what is compiled. */
void show_v4_tree(struct compiler *compiler);
/* Keeps copies of the ports, for compiled_change_ports(). */
int copy_ports(struct compiler *compiler);

#endif
