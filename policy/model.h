/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_MODEL_H
#define POLICY_MODEL_H

/*
 * What a policy says, whichever form said it. The readers (grammar.y, json_read.c) fill it, resolve.c links the names
 * and checks it, the writers and the compiler only read it. Everything lies in the policy's arena.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dfw/flow.h>
#include <dfw/port.h>
#include <dfw/types.h>

#include "arena.h"
#include "table.h"

#define MODEL_MAX_NAME	  63 /* bytes of a name */
#define MODEL_MAX_NESTING 32 /* groups in groups, services in services */
#define MODEL_MAX_DEPTH	  64 /* of a tag expression */

/* Where something stands, for errors: a line and column of a text, or a path of a JSON document. */
struct place {
	const char *file;
	const char *path; /* "tiers[0].rules[3].from", NULL in a text */
	unsigned int line;
	unsigned int column;
};

struct range {
	uint32_t low;
	uint32_t high; /* included */
};

struct range_list {
	struct range *items;
	size_t nr;
	size_t room;
};

enum tag_kind {
	TAG_PRESENT,
	TAG_EQUALS,
	TAG_NOT,
	TAG_AND,
	TAG_OR,
};

struct tag_expr {
	enum tag_kind kind;
	unsigned int depth;
	const char *key;
	const char *value;
	struct {
		struct tag_expr **items;
		size_t nr;
		size_t room;
	} children;
};

enum operand_kind {
	OPERAND_ANY,
	OPERAND_ANY_VPORT,
	OPERAND_PREFIX,
	OPERAND_VPORT,
	OPERAND_TAG,
	OPERAND_GROUP,
};

/* A member of a group, or of what stands behind from, to and applied-to. */
struct operand {
	enum operand_kind kind;
	bool negated;
	uint32_t prefix_bits; /* OPERAND_PREFIX: of 128 */
	union {
		struct dfw_addr address;    /* OPERAND_PREFIX */
		const char *pattern;	    /* OPERAND_VPORT */
		const struct tag_expr *tag; /* OPERAND_TAG */
		struct {		    /* OPERAND_GROUP */
			const char *name;
			struct group *group; /* resolve.c */
		};
	};
	struct place place;
};

struct operand_list {
	struct operand *items;
	size_t nr;
	size_t room;
};

/* How far a walk over nested definitions has come. */
enum walk {
	WALK_NEW,
	WALK_OPEN, /* on the path: to meet it again is a cycle */
	WALK_DONE,
};

struct group {
	const char *name;
	struct place place;
	struct operand_list members;
	size_t index; /* in policy.groups */
	enum walk walk;
	unsigned int nesting;
	bool has_addresses; /* members of members too */
	bool has_vports;
};

enum item_kind {
	ITEM_ANY,
	ITEM_PROTOCOL,
	ITEM_SERVICE,
};

struct service_item {
	enum item_kind kind;
	uint8_t protocol;		/* ITEM_PROTOCOL */
	struct range_list destinations; /* ports, or ICMP type * 256 + code; empty: all */
	struct range_list sources;	/* ports; empty: all */
	const char *name;		/* ITEM_SERVICE */
	struct service *service;	/* resolve.c */
	struct place place;
};

struct item_list {
	struct service_item *items;
	size_t nr;
	size_t room;
};

/* Ports of one protocol: every pair of a destination and a source. */
struct port_pairs {
	bool given;
	bool unsorted_destinations;
	bool unsorted_sources;
	struct range_list destinations;
	struct range_list sources;
};

enum port_protocol {
	PORTS_TCP,
	PORTS_UDP,
	PORTS_SCTP,
	PORT_PROTOCOLS,
};

/* What a service means. The first part is put together from its items; traffic_finish makes the second part, in the
 * values of the datapath's l4_classes (DFW_L4_*): sorted, neither overlapping nor touching. A packet is meant when its
 * destination value is in `values` and its source value in `sources`. */
struct traffic {
	bool any;
	struct port_pairs ports[PORT_PROTOCOLS];
	struct range_list others; /* values of protocols without ports */

	bool any_source;
	bool portless; /* protocols without ports are meant as well */
	struct range_list values;
	struct range_list sources;
};

struct service {
	const char *name;
	struct place place;
	struct item_list items;
	bool built_in;
	enum walk walk;
	unsigned int nesting;
	struct traffic traffic;
};

enum rule_direction {
	RULE_BOTH,
	RULE_IN,
	RULE_OUT,
};

struct rule {
	const char *name;
	struct place place;
	struct tier *tier;
	size_t order; /* among all rules */
	uint32_t id;
	enum dfw_action action;
	enum rule_direction direction;
	enum dfw_on_change on_change;
	bool log;
	bool stateless;
	bool limit_per_source;
	uint32_t limit; /* new flows a second, 0: none */
	uint32_t burst; /* 0: as many as `limit` */
	uint32_t max_flows;
	struct operand_list from; /* empty: any */
	struct operand_list to;
	struct operand_list applied_to;
	struct item_list services; /* empty: any */
	const struct traffic *traffic;
};

#define RULE_MAX_LIMIT 1000000000 /* of limit, burst and max-flows */

struct tier {
	const char *name;
	struct place place;
	size_t index;
	struct {
		struct rule **items;
		size_t nr;
		size_t room;
	} rules;
};

struct default_rule {
	bool given;
	struct place place;
	enum dfw_action action;
	bool log;
};

/* The numbers of a profile. X(field, name in the language, default, lowest, highest) */
#define PROFILE_LIMITS(X)                                                                    \
	X(max_flows, "max-flows", DFW_DEFAULT_MAX_FLOWS, 1, 1U << 26)                        \
	X(max_half_open, "max-half-open", DFW_DEFAULT_MAX_HALF_OPEN, 1, 1U << 26)            \
	X(flow_table, "flow-table", DFW_DEFAULT_FLOW_TABLE, 1, 1U << 26)                     \
	X(new_per_second, "new-per-second", 0, 0, 1000000000)                                \
	X(reject_per_second, "reject-per-second", DFW_DEFAULT_REJECT_PER_SECOND, 0, 1000000) \
	X(max_fragments, "max-fragments", DFW_DEFAULT_MAX_FRAGMENTS, 1, 1U << 20)            \
	X(max_learned, "max-learned", DFW_DEFAULT_MAX_LEARNED, 0, 1U << 16)

enum profile_limit {
#define PROFILE_LIMIT_ENUM(field, name, initial, lowest, highest) PROFILE_LIMIT_##field,
	PROFILE_LIMITS(PROFILE_LIMIT_ENUM)
#undef PROFILE_LIMIT_ENUM
		PROFILE_NR_LIMITS
};

struct profile {
	const char *name;
	struct place place;
	uint32_t flags; /* of `flags_given` */
	uint32_t flags_given;
	uint32_t limits[PROFILE_NR_LIMITS];
	uint32_t limits_given; /* bit of enum profile_limit */
	bool resync_given;
	uint32_t resync_seconds;
	uint32_t timeouts_given; /* bit of enum dfw_flow_state */
	uint64_t timeouts_ns[DFW_FLOW_STATES];
};

struct policy {
	struct arena arena;
	struct {
		struct group **items;
		size_t nr;
		size_t room;
	} groups;
	struct table groups_by_name;
	struct {
		struct service **items;
		size_t nr;
		size_t room;
	} services;
	struct {
		struct tier **items;
		size_t nr;
		size_t room;
	} tiers;
	struct {
		struct profile **items;
		size_t nr;
		size_t room;
	} profiles;
	struct default_rule defaults[DFW_DIRECTIONS];
	struct rule **rules_by_id; /* sorted */
	size_t nr_rules;
};

/* The profile of that name (NULL: "default") with all that it leaves out filled in. Returns 0 or -ENOENT. */
int profile_complete(const struct policy *policy, const char *name, struct dfw_profile *complete);

#endif
