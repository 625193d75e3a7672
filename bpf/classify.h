/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_CLASSIFY_H
#define DFW_BPF_CLASSIFY_H

#include "packet.h"

/* Which rule decides a packet: <dfw/ruleset.h> says how the rules lie in the kernel. */

/* A packet has a local address, own or foreign, so one of the dimensions is never asked. */
#define MAX_ROWS (DFW_DIMENSIONS - 1)

/* What is asked for, and the rows whose AND is wanted. */
struct question {
	struct dfw_decision classes; /* what makes two packets the same to the rule set */
	__u64 chunks[MAX_ROWS];	     /* which chunks are stored */
	__u32 chunk[MAX_ROWS];	     /* where the row's stored chunks begin */
	__u64 common;		     /* chunks that all rows have: the only ones worth a look */
	__u32 nr;
	__u32 zero;
};

/* Too large for the stack beside the functions that lead here. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct question);
} questions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DFW_DECISION_PLACES);
	__type(key, __u32);
	__type(value, struct dfw_decision_place);
} decisions SEC(".maps");

static __always_inline __u32 class_of_v4(__u32 tables, __u32 address)
{
	void *inner = bpf_map_lookup_elem(&addr_prefix4, &tables);
	__u32 at = address >> (32 - DFW_V4_ROOT_BITS);

	for (int shift = 32 - DFW_V4_ROOT_BITS - DFW_V4_NODE_BITS; inner && shift >= 0;
	     shift -= DFW_V4_NODE_BITS) {
		struct dfw_v4_node *node = bpf_map_lookup_elem(inner, &at);

		if (!node)
			return 0;
		at = node->entries[address >> shift & (DFW_V4_ENTRIES - 1)];
		if (!(at & DFW_V4_CHILD))
			return at;
		at &= ~DFW_V4_CHILD;
	}
	return 0;
}

static __always_inline __u32 class_of_address(__u32 tables, const struct dfw_addr *addr)
{
	void *inner = bpf_map_lookup_elem(&addr_exact, &tables);
	struct dfw_prefix_key key;
	__u32 *class;

	if (!inner)
		return 0;
	key.prefix_bits = DFW_ADDR_BITS;
	__builtin_memcpy(key.bytes, addr->bytes, sizeof(key.bytes));
	class = bpf_map_lookup_elem(inner, key.bytes);
	if (class)
		return *class;
	if (addr_v4(addr))
		return class_of_v4(tables, bpf_ntohl(((const __u32 *)addr->bytes)[3]));
	inner = bpf_map_lookup_elem(&addr_prefix, &tables);
	if (!inner)
		return 0;
	class = bpf_map_lookup_elem(inner, &key);
	return class ? *class : 0;
}

static __always_inline __u32 class_of_l4(__u32 tables, __u32 value)
{
	void *inner = bpf_map_lookup_elem(&l4_classes, &tables);
	__u32 block = value / DFW_L4_BLOCK;
	struct dfw_l4_block *classes;

	if (!inner)
		return 0;
	classes = bpf_map_lookup_elem(inner, &block);
	return classes ? classes->classes[value % DFW_L4_BLOCK] : 0;
}

/* Gives an address that has an element of its own another class. A packet sees the one or the other. */
static __always_inline bool reclass(__u32 tables, const struct dfw_reclass_entry *entry)
{
	void *inner = bpf_map_lookup_elem(&addr_exact, &tables);
	struct dfw_addr address = entry->address;
	__u32 *class = inner ? bpf_map_lookup_elem(inner, &address) : NULL;

	if (!class)
		return false;
	*(volatile __u32 *)class = entry->class;
	return true;
}

/* Index of the packet's destination port, ICMP type or protocol among the values of l4_classes. */
static __always_inline __u32 l4_value(const struct packet *p)
{
	switch (p->key.protocol) {
	case PROTOCOL_TCP:
		return DFW_L4_TCP + p->destination_port;
	case PROTOCOL_UDP:
		return DFW_L4_UDP + p->destination_port;
	case PROTOCOL_SCTP:
		return DFW_L4_SCTP + p->destination_port;
	case PROTOCOL_ICMP:
		return DFW_L4_ICMP + p->icmp_type * 256 + p->icmp_code;
	case PROTOCOL_ICMP6:
		return DFW_L4_ICMP6 + p->icmp_type * 256 + p->icmp_code;
	}
	return DFW_L4_OTHER + p->key.protocol;
}

static __always_inline __u32 source_port_value(const struct packet *p)
{
	switch (p->key.protocol) {
	case PROTOCOL_TCP:
		return DFW_L4_SOURCE_TCP + p->source_port;
	case PROTOCOL_UDP:
		return DFW_L4_SOURCE_UDP + p->source_port;
	case PROTOCOL_SCTP:
		return DFW_L4_SOURCE_SCTP + p->source_port;
	}
	return DFW_L4_VALUES;
}

static __always_inline bool dimension_used(const struct dfw_ruleset *header,
					   const enum dfw_dimension dimension)
{
	return header->base[dimension] != DFW_DIM_UNUSED;
}

/* Notes the row of one dimension; false when no rule can match. */
static __always_inline bool take_row(void *refs, const struct dfw_ruleset *header,
				     struct question *question, const enum dfw_dimension dimension,
				     __u32 class)
{
	__u32 index = header->base[dimension] + class, at;
	struct dfw_row_ref *ref;

	if (!dimension_used(header, dimension))
		return true;
	if (class >= header->nr_classes[dimension])
		return false;
	ref = bpf_map_lookup_elem(refs, &index);
	if (!ref)
		return false;
	at = question->nr & (MAX_ROWS - 1);
	question->nr++;
	question->chunk[at] = ref->chunk;
	question->chunks[at] = ref->chunks;
	question->common &= ref->chunks;
	return question->common != 0;
}

static __always_inline __u32 count_bits(__u64 word)
{
	word -= (word >> 1) & 0x5555555555555555ULL;
	word = (word & 0x3333333333333333ULL) + ((word >> 2) & 0x3333333333333333ULL);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (word * 0x0101010101010101ULL) >> 56;
}

/* By the 6 bits that a de Bruijn sequence shows, shifted by the wanted number (Leiserson, Prokop, Randall, "Using de
 * Bruijn Sequences to Index a 1 in a Computer Word", 1998): there is no instruction for it. */
#define DE_BRUIJN 0x03f79d71b4cb0a89ULL
static const __u8 lowest_bits[64] = {
	0,  1,	48, 2,	57, 49, 28, 3,	61, 58, 50, 42, 38, 29, 17, 4,	62, 55, 59, 36, 53, 51,
	43, 22, 45, 39, 33, 30, 24, 18, 12, 5,	63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21,
	44, 32, 23, 11, 46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9,	13, 8,	7,  6,
};

/* Index of the lowest bit of a word that is not 0. */
static __always_inline __u32 lowest_bit(__u64 word)
{
	return lowest_bits[((word & -word) * DE_BRUIJN) >> 58];
}

struct match {
	struct question *question;
	void *chunks; /* the rule set's row_chunks */
	__u64 common; /* chunks still to be looked at */
	__u32 first;  /* rules before it do not count */
	__u32 found;
};

/* The n-th chunk of a row, of which the row stores that one and perhaps some before it. */
static __always_inline struct dfw_row_chunk *row_chunk(const struct match *match, int row, __u32 n)
{
	__u64 before = (1ULL << (n & 63)) - 1, stored = match->question->chunks[row] & before;
	__u32 at = match->question->chunk[row];

	/* Long rows mostly store them all. */
	at += stored == before ? n : count_bits(stored);
	return bpf_map_lookup_elem(match->chunks, &at);
}

/* The next chunk that all rows have. */
static long match_chunk(__u64 index __attribute__((unused)), void *data)
{
	struct dfw_row_chunk *chunk[MAX_ROWS];
	struct match *match = data;
	__u64 summary = ~0ULL;
	__u32 n, begin;

	if (!match->common)
		return 1;
	n = lowest_bit(match->common);
	match->common &= match->common - 1;
	begin = n * DFW_CHUNK_RULES;
	for (int row = 0; row < MAX_ROWS; row++) {
		chunk[row] = row == 0 || row < (int)match->question->nr ? row_chunk(match, row, n)
									: chunk[0];
		if (!chunk[row])
			return 1;
		summary &= chunk[row]->summary;
	}
	for (int tries = 0; tries < DFW_CHUNK_WORDS; tries++) {
		__u64 word = ~0ULL;
		__u32 w, at;

		if (!summary)
			return 0;
		w = lowest_bit(summary) / DFW_SUMMARY_BITS;
		barrier_var(
			w); /* the compiler knows the bound from the table, the verifier does not */
		w &= DFW_CHUNK_WORDS - 1;
		summary &= ~(((1ULL << DFW_SUMMARY_BITS) - 1) << (w * DFW_SUMMARY_BITS & 63));
		for (int row = 0; row < MAX_ROWS; row++)
			word &= chunk[row]->words[w];
		at = begin + w * 64;
		if (at < match->first)
			word = at + 64 <= match->first ? 0 : word & ~0ULL << (match->first & 63);
		if (word) {
			match->found = at + lowest_bit(word);
			return 1;
		}
	}
	return 0;
}

/* The first rule, from `first` on, that all rows accept; `none` when there is none. */
DFW_STAGE __u32 first_match(__u32 ruleset, __u32 first, __u32 none)
{
	struct match match = {.first = first, .found = none};
	__u32 zero = 0;
	struct question *question = bpf_map_lookup_elem(&questions, &zero);

	if (!question)
		return none;
	if (!question->nr) /* nothing tells the rules apart */
		return first < none ? first : none;
	match.chunks = bpf_map_lookup_elem(&row_chunks, &ruleset);
	if (!match.chunks)
		return none;
	match.question = question;
	match.common = question->common & (~0ULL << ((first / DFW_CHUNK_RULES) & 63));
	bpf_loop(DFW_MAX_CHUNKS, match_chunk, &match, 0);
	return match.found < none ? match.found : none;
}

/* Whether no rule accepts the class. */
static __always_inline bool row_empty(__u32 ruleset, const struct dfw_ruleset *header,
				      const enum dfw_dimension dimension, __u32 class)
{
	void *refs = bpf_map_lookup_elem(&row_refs, &ruleset);
	__u32 index = header->base[dimension] + class;
	struct dfw_row_ref *ref;

	if (!refs || class >= header->nr_classes[dimension])
		return true;
	ref = bpf_map_lookup_elem(refs, &index);
	return !ref || !ref->chunks;
}

/* Works out the packet's classes along the dimensions that the rule set asks about. STAGE_GO_ON: ask the rules; else the
 * slot of the default, since no rule is for such packets. */
DFW_STAGE int find_classes(struct packet *p, __u32 ruleset, __u32 own)
{
	struct dfw_ruleset *header = bpf_map_lookup_elem(&rulesets, &ruleset);
	__u32 zero = 0, tables, value;
	struct question *question = bpf_map_lookup_elem(&questions, &zero);
	struct dfw_decision *classes;

	if (!p || !header || !question)
		return 0;
	tables = header->tables;
	classes = &question->classes;
	classes->serial = header->serial;
	classes->own = own;
	classes->remote = classes->local = classes->l4 = classes->source_port = 0;
	if (dimension_used(header, DFW_DIM_L4)) {
		classes->l4 = class_of_l4(tables, l4_value(p));
		/* A scan of ports need not be asked for its addresses. */
		if (row_empty(ruleset, header, DFW_DIM_L4, classes->l4))
			return header->nr_rules;
	}
	if (dimension_used(header, DFW_DIM_SOURCE_PORT)) {
		value = source_port_value(p);
		if (value < DFW_L4_VALUES)
			classes->source_port = class_of_l4(tables, value);
	}
	if (dimension_used(header, DFW_DIM_REMOTE))
		classes->remote = class_of_address(tables, &p->key.remote);
	if (dimension_used(header, own ? DFW_DIM_LOCAL_OWN : DFW_DIM_LOCAL_FOREIGN))
		classes->local = class_of_address(tables, &p->key.local);
	return STAGE_GO_ON;
}

/* The place of a combination of classes among the decisions. */
static __always_inline struct dfw_decision_place *decision_place(const struct dfw_decision *classes)
{
	__u64 hash = ((__u64)classes->remote << 32 | classes->local) * 0x9e3779b97f4a7c15ULL;
	__u32 place;

	hash ^= hash >> 32;
	hash += (__u64)classes->serial << 32 | classes->l4 << 1 | classes->own;
	hash = (hash ^ classes->source_port) * 0xd1342543de82ef95ULL;
	place = hash >> 52 & (DFW_DECISION_PLACES - 1);
	return bpf_map_lookup_elem(&decisions, &place);
}

static __always_inline bool decision_is(const struct dfw_decision *decision,
					const struct dfw_decision *classes)
{
	return decision->serial == classes->serial && decision->remote == classes->remote &&
	       decision->local == classes->local && decision->l4 == classes->l4 &&
	       decision->source_port == classes->source_port && decision->own == classes->own;
}

/* Collects the rows of the classes; false when one of them is empty, so that no rule matches. */
DFW_STAGE int collect_rows(__u32 ruleset)
{
	struct dfw_ruleset *header = bpf_map_lookup_elem(&rulesets, &ruleset);
	__u32 zero = 0;
	struct question *question = bpf_map_lookup_elem(&questions, &zero);
	void *refs = bpf_map_lookup_elem(&row_refs, &ruleset);
	const struct dfw_decision *classes;

	if (!header || !question || !refs)
		return 0;
	classes = &question->classes;
	question->nr = 0;
	question->common = ~0ULL;
	return take_row(refs, header, question, DFW_DIM_L4, classes->l4) &&
	       take_row(refs, header, question, DFW_DIM_SOURCE_PORT, classes->source_port) &&
	       (classes->own ? take_row(refs, header, question, DFW_DIM_LOCAL_OWN, classes->local)
			     : take_row(refs, header, question, DFW_DIM_LOCAL_FOREIGN,
					classes->local)) &&
	       take_row(refs, header, question, DFW_DIM_REMOTE, classes->remote);
}

/* The slot of the rule that decides a packet of those classes. -1: the rule set is not there. */
DFW_STAGE int decide_classes(__u32 ruleset)
{
	struct dfw_ruleset *header = bpf_map_lookup_elem(&rulesets, &ruleset);
	__u32 first = 0;
	void *infos = bpf_map_lookup_elem(&rule_infos, &ruleset);

	if (!header || !infos)
		return -1;
	if (!collect_rows(ruleset))
		return header->nr_rules;
	/* `pass` leaves its tier and goes on with the first rule of the next. */
	for (int tier = 0; tier <= DFW_MAX_TIERS; tier++) {
		__u32 slot = first_match(ruleset, first, header->nr_rules);
		struct dfw_rule_info *info = bpf_map_lookup_elem(infos, &slot);

		if (!info)
			return -1;
		if (info->action != DFW_ACTION_PASS || slot >= header->nr_rules)
			return slot;
		first = info->next_tier;
	}
	return header->nr_rules;
}

/* The slot of the rule that decides the packet; its rule set's nr_rules is the default. `own`: the local address is the
 * port's. -1: the rule set is not there. */
DFW_STAGE int classify(struct packet *p, __u32 ruleset, __u32 own)
{
	struct dfw_ruleset *header = bpf_map_lookup_elem(&rulesets, &ruleset);
	__u32 zero = 0;
	struct question *question = bpf_map_lookup_elem(&questions, &zero);
	struct dfw_decision_place *place;
	int slot;

	if (!p || !header || !question)
		return -1;
	if (!header->nr_rules)
		return 0;
	slot = find_classes(p, ruleset, own);
	if (slot != STAGE_GO_ON)
		return slot;
	if (!question->classes.serial)
		return decide_classes(ruleset);
	place = decision_place(&question->classes);
	if (!place)
		return -1;
	for (int way = 0; way < DFW_DECISION_WAYS; way++)
		if (decision_is(&place->ways[way], &question->classes))
			return place->ways[way].slot;
	slot = decide_classes(ruleset);
	if (slot >= 0) {
		place->ways[1] = place->ways[0];
		place->ways[0] = question->classes;
		place->ways[0].slot = slot;
	}
	return slot;
}

static __always_inline struct dfw_rule_info *rule_info(__u32 ruleset, __u32 slot)
{
	void *inner = bpf_map_lookup_elem(&rule_infos, &ruleset);

	return inner ? bpf_map_lookup_elem(inner, &slot) : NULL;
}

#endif
