/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_RULESET_H
#define DFW_RULESET_H

#include <dfw/types.h>

/*
 * How rules lie in the kernel.
 *
 * A packet that needs a decision is looked at along four dimensions: remote address, local address, (protocol,
 * destination port or ICMP type), source port. In each, the policy's values fall into classes: two values are of one
 * class when no rule of the policy tells them apart. Classes belong to a generation ("tables"); a rule set (the ordered
 * rules of one direction of a port; ports with equal rules share it) has for each class of each dimension a row: a
 * bitmap of the rules that accept that class. The AND of the rows, first set bit, is the first rule that matches.
 *
 * A row is cut into chunks of DFW_CHUNK_RULES rules. Only chunks with a bit set are stored; `chunks` of the row's
 * reference has a bit for each, so the AND of the references' `chunks` tells which are worth looking at.
 *
 * tables (one index, two maps and two arrays, for all rule sets of the host):
 *   addr_exact   dfw_addr          -> class    (hosts)
 *   addr_prefix4 see dfw_v4_node   -> class    (IPv4 prefixes)
 *   addr_prefix  dfw_prefix_key    -> class    (IPv6 prefixes; the longest)
 *   l4_classes   see DFW_L4_*      -> class
 *   The class of a prefix includes what every one around it is member of. An address found in none is of class 0, which
 *   is a member of nothing.
 *
 * rule set (one index, three arrays):
 *   rule_info    [rule]            struct dfw_rule_info; [nr_rules] is the default
 *   row_refs     [base + class]    struct dfw_row_ref
 *   row_chunks   [ref.chunk + n]   struct dfw_row_chunk
 */
#define DFW_CHUNK_WORDS 16
#define DFW_CHUNK_RULES (DFW_CHUNK_WORDS * 64)
/* Of a summary, for each word. */
#define DFW_SUMMARY_BITS (64 / DFW_CHUNK_WORDS)
#define DFW_MAX_CHUNKS	 64
/* Of one rule set; the slot behind them is the default. */
#define DFW_MAX_RULES (DFW_CHUNK_RULES * DFW_MAX_CHUNKS - 1)
#define DFW_MAX_TIERS 16

struct dfw_row_chunk {
	__u64 summary; /* bit b: a rule of b * 16 to b * 16 + 15 is in words */
	__u64 words[DFW_CHUNK_WORDS];
};
DFW_ASSERT_SIZE(struct dfw_row_chunk, 136);

struct dfw_row_ref {
	__u64 chunks; /* bit c: the row has a bit in chunk c */
	__u32 chunk; /* index in row_chunks of the first stored chunk; the others follow in order */
	__u32 zero;
};
DFW_ASSERT_SIZE(struct dfw_row_ref, 16);

enum dfw_dimension {
	DFW_DIM_REMOTE = 0,
	DFW_DIM_LOCAL_OWN = 1, /* the local address is one of the port's own */
	/* it is not (multicast, broadcast, routed): only rules that name it match */
	DFW_DIM_LOCAL_FOREIGN = 2,
	DFW_DIM_L4 = 3,
	DFW_DIM_SOURCE_PORT = 4,
	DFW_DIMENSIONS = 5,
};

/* Instead of a base: every rule accepts every value, the dimension is skipped; or no rule accepts any, the default
 * decides (LOCAL_FOREIGN mostly). */
#define DFW_DIM_UNUSED	0xffffffffU
#define DFW_DIM_NOTHING 0xfffffffeU

/* Header of a rule set: row_refs index of class 0 of each dimension, or one of the two above. */
struct dfw_ruleset {
	__u32 nr_rules;
	__u32 tables; /* index of the generation's tables */
	__u32 base[DFW_DIMENSIONS];
	__u32 nr_classes[DFW_DIMENSIONS]; /* a class beyond it has an empty row */
	__u32 nr_tiers;
	__u32 serial; /* no two that were ever made have the same; 0: decisions are not remembered */
	__u8 hash[16]; /* of the rules: equal rule sets are shared; also for drift checks */
};
DFW_ASSERT_SIZE(struct dfw_ruleset, 72);

/* What a rule set has decided about a combination of classes. Each CPU remembers some: of those that hash to a place, the
 * last two. A class never means anything else while its rule set has this serial, so this stays true. */
struct dfw_decision {
	__u32 serial; /* of the rule set; 0: free */
	__u32 remote; /* classes */
	__u32 local;
	__u32 l4;
	__u32 source_port;
	__u16 own;
	__u16 slot; /* of the rule */
};
DFW_ASSERT_SIZE(struct dfw_decision, 24);

#define DFW_DECISION_PLACES 4096
#define DFW_DECISION_WAYS   2

struct dfw_decision_place {
	struct dfw_decision ways[DFW_DECISION_WAYS];
};
DFW_ASSERT_SIZE(struct dfw_decision_place, 48);

enum dfw_rule_flag {
	DFW_RULE_LOG = 1 << 0,
	DFW_RULE_STATELESS = 1 << 1,	/* no flow is made; replies need a rule of their own */
	DFW_RULE_DEFAULT = 1 << 2,	/* what holds when no rule matched */
	DFW_RULE_LIMIT_SOURCE = 1 << 3, /* new_per_second is meant for each remote address */
};

#define DFW_RULE_NAME_LEN 64

struct dfw_rule_info {
	__u32 id;	/* stable: hash of tier and name, never an index */
	__u8 action;	/* enum dfw_action */
	__u8 on_change; /* enum dfw_on_change */
	__u8 flags;	/* enum dfw_rule_flag */
	__u8 tier;
	__u32 next_tier;      /* DFW_ACTION_PASS: the rule to go on with */
	__u32 max_flows;      /* limit on live flows of this rule, 0: none */
	__u32 new_per_second; /* limit on new flows, 0: none */
	__u32 burst;
	char name[DFW_RULE_NAME_LEN]; /* "tier/name", "default in"; NUL-terminated, cut if longer */
};
DFW_ASSERT_SIZE(struct dfw_rule_info, 88);

/* In a port's `rules` map, at cpu * hits_count + hits_base[direction] + rule slot: each CPU writes its own part. (A
 * PERCPU_ARRAY inside an outer map cannot differ in size from port to port.) */
struct dfw_rule_hits {
	__u64 packets;
	__u64 bytes;
	__u64 flows;
	__u64 last_hit_ns;
};
DFW_ASSERT_SIZE(struct dfw_rule_hits, 32);

/* Key of a port's rule_totals: what a rule had counted, as struct dfw_rule_hits, when revisions before this one went. A
 * rule may stand in both directions. */
struct dfw_rule_total_key {
	__u32 rule;	 /* stable id */
	__u32 direction; /* enum dfw_direction */
};
DFW_ASSERT_SIZE(struct dfw_rule_total_key, 8);

struct dfw_prefix_key {
	__u32 prefix_bits; /* of the 128 */
	__u8 bytes[16];
};
DFW_ASSERT_SIZE(struct dfw_prefix_key, 20);

/*
 * addr_prefix4: a tree of the bits of an IPv4 address, four in a node, a cache line. An entry is a class, or, with
 * DFW_V4_CHILD, the node for the next four bits. The first 12 bits are the number of the node to begin with, so the first
 * DFW_V4_ROOTS nodes are always there, and the fifth entry of a walk is the last.
 */
#define DFW_V4_ROOT_BITS 12
#define DFW_V4_ROOTS	 (1 << DFW_V4_ROOT_BITS)
#define DFW_V4_NODE_BITS 4
#define DFW_V4_ENTRIES	 (1 << DFW_V4_NODE_BITS)
#define DFW_V4_CHILD	 0x80000000U

struct dfw_v4_node {
	__u32 entries[DFW_V4_ENTRIES];
};
DFW_ASSERT_SIZE(struct dfw_v4_node, 64);

/* l4_classes: an array of blocks of 16 classes. Index of a value, to be split into block (>> 4) and place (& 15): */
#define DFW_L4_TCP   0	    /* + destination port */
#define DFW_L4_UDP   65536  /* + destination port */
#define DFW_L4_SCTP  131072 /* + destination port */
#define DFW_L4_ICMP  196608 /* + type * 256 + code */
#define DFW_L4_ICMP6 262144 /* + type * 256 + code */
#define DFW_L4_OTHER 327680 /* + IP protocol number */
#define DFW_L4_SOURCE_TCP \
	327936 /* + source port, of the dimension SOURCE_PORT, as are the next two */
#define DFW_L4_SOURCE_UDP  393472
#define DFW_L4_SOURCE_SCTP 459008
#define DFW_L4_VALUES	   524544
#define DFW_L4_BLOCK	   16
#define DFW_L4_BLOCKS	   (DFW_L4_VALUES / DFW_L4_BLOCK)

struct dfw_l4_block {
	__u32 classes[DFW_L4_BLOCK];
};
DFW_ASSERT_SIZE(struct dfw_l4_block, 64);

#endif
