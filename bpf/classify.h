/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_CLASSIFY_H
#define DFW_BPF_CLASSIFY_H

#include "packet.h"

/* Which rule decides a packet: <dfw/ruleset.h> says how the rules lie in the kernel. */

/* A packet has a local address, own or foreign, so one of the dimensions is never asked. */
#define MAX_ROWS (DFW_DIMENSIONS - 1)

/* The rows whose AND is wanted. Those behind `nr` repeat the first, which changes nothing and spares a branch. */
struct rows {
	__u64 chunks[MAX_ROWS]; /* which chunks are stored */
	__u32 chunk[MAX_ROWS];	/* where the row's stored chunks begin */
	__u64 common;		/* chunks that all rows have: the only ones worth a look */
	__u32 nr;
	__u32 zero;
};

/* Too large for the stack beside the functions that lead here. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rows);
} classify_rows SEC(".maps");

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

/* Notes the row of one dimension; false when no rule can match. */
static __always_inline bool take_row(__u32 ruleset, const struct dfw_ruleset *header,
				     struct rows *rows, const enum dfw_dimension dimension,
				     __u32 class)
{
	__u32 index = header->base[dimension], at;
	struct dfw_row_ref *ref;
	void *inner;

	if (class >= header->nr_classes[dimension])
		return false;
	inner = bpf_map_lookup_elem(&row_refs, &ruleset);
	if (!inner)
		return false;
	index += class;
	ref = bpf_map_lookup_elem(inner, &index);
	if (!ref)
		return false;
	at = rows->nr & (MAX_ROWS - 1);
	rows->nr++;
	rows->chunk[at] = ref->chunk;
	rows->chunks[at] = ref->chunks;
	rows->common &= ref->chunks;
	return rows->common != 0;
}

static __always_inline bool dimension_used(const struct dfw_ruleset *header,
					   const enum dfw_dimension dimension)
{
	return header->base[dimension] != DFW_DIM_UNUSED;
}

static __always_inline __u32 count_bits(__u64 word)
{
	word -= (word >> 1) & 0x5555555555555555ULL;
	word = (word & 0x3333333333333333ULL) + ((word >> 2) & 0x3333333333333333ULL);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (word * 0x0101010101010101ULL) >> 56;
}

/* Index of the lowest bit of a word that is not 0. */
static __always_inline __u32 lowest_bit(__u64 word)
{
	return count_bits((word & -word) - 1);
}

struct match {
	struct rows *rows;
	void *chunks; /* the rule set's row_chunks */
	__u64 common; /* chunks still to be looked at */
	__u32 first;  /* rules before it do not count */
	__u32 found;
};

/* The next chunk that all rows have. */
static long match_chunk(__u64 index __attribute__((unused)), void *data)
{
	__u64 summary = (1ULL << DFW_CHUNK_WORDS) - 1;
	struct dfw_row_chunk *chunk[MAX_ROWS];
	struct match *match = data;
	__u32 c, begin;

	if (!match->common)
		return 1;
	c = lowest_bit(match->common);
	match->common &= match->common - 1;
	begin = c * DFW_CHUNK_RULES;
	for (int row = 0; row < MAX_ROWS; row++) {
		__u32 at = match->rows->chunk[row] +
			   count_bits(match->rows->chunks[row] & ((1ULL << (c & 63)) - 1));

		chunk[row] = bpf_map_lookup_elem(match->chunks, &at);
		if (!chunk[row])
			return 1;
		summary &= chunk[row]->summary;
	}
	for (int n = 0; n < DFW_CHUNK_WORDS; n++) {
		__u64 word = ~0ULL;
		__u32 w, at;

		if (!summary)
			return 0;
		w = lowest_bit(summary) & (DFW_CHUNK_WORDS - 1);
		summary &= summary - 1;
		for (int row = 0; row < MAX_ROWS; row++)
			word &= chunk[row]->words[w];
		at = begin + w * 64;
		if (at + 64 <= match->first)
			continue;
		if (at < match->first)
			word &= ~0ULL << ((match->first - at) & 63);
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
	struct rows *rows = bpf_map_lookup_elem(&classify_rows, &zero);

	if (!rows)
		return none;
	if (!rows->nr) /* nothing tells the rules apart */
		return first < none ? first : none;
	match.chunks = bpf_map_lookup_elem(&row_chunks, &ruleset);
	if (!match.chunks)
		return none;
	match.rows = rows;
	match.common = rows->common & (~0ULL << ((first / DFW_CHUNK_RULES) & 63));
	bpf_loop(DFW_MAX_CHUNKS, match_chunk, &match, 0);
	return match.found < none ? match.found : none;
}

/* Collects the rows of the packet's classes; false when one of them is empty, so that no rule matches. */
DFW_STAGE int collect_rows(struct packet *p, __u32 ruleset, __u32 own)
{
	struct dfw_ruleset *header = bpf_map_lookup_elem(&rulesets, &ruleset);
	__u32 zero = 0, tables;
	struct rows *rows = bpf_map_lookup_elem(&classify_rows, &zero);

	if (!p || !header || !rows)
		return 0;
	tables = header->tables;
	rows->nr = 0;
	rows->common = ~0ULL;

	if (dimension_used(header, DFW_DIM_L4) &&
	    !take_row(ruleset, header, rows, DFW_DIM_L4, class_of_l4(tables, l4_value(p))))
		return 0;
	if (dimension_used(header, DFW_DIM_SOURCE_PORT)) {
		__u32 value = source_port_value(p);

		if (!take_row(ruleset, header, rows, DFW_DIM_SOURCE_PORT,
			      value < DFW_L4_VALUES ? class_of_l4(tables, value) : 0))
			return 0;
	}
	if (own) {
		if (dimension_used(header, DFW_DIM_LOCAL_OWN) &&
		    !take_row(ruleset, header, rows, DFW_DIM_LOCAL_OWN,
			      class_of_address(tables, &p->key.local)))
			return 0;
	} else if (dimension_used(header, DFW_DIM_LOCAL_FOREIGN) &&
		   !take_row(ruleset, header, rows, DFW_DIM_LOCAL_FOREIGN,
			     class_of_address(tables, &p->key.local))) {
		return 0;
	}
	if (dimension_used(header, DFW_DIM_REMOTE) &&
	    !take_row(ruleset, header, rows, DFW_DIM_REMOTE,
		      class_of_address(tables, &p->key.remote)))
		return 0;

	for (int row = 1; row < MAX_ROWS; row++) {
		if (row < (int)rows->nr)
			continue;
		rows->chunk[row] = rows->chunk[0];
		rows->chunks[row] = rows->chunks[0];
	}
	return 1;
}

/* The slot of the rule that decides the packet; its rule set's nr_rules is the default. `own`: the local address is the
 * port's. -1: the rule set is not there. */
DFW_STAGE int classify(struct packet *p, __u32 ruleset, __u32 own)
{
	struct dfw_ruleset *header = bpf_map_lookup_elem(&rulesets, &ruleset);
	__u32 first = 0;
	void *infos = bpf_map_lookup_elem(&rule_infos, &ruleset);

	if (!p || !header || !infos)
		return -1;
	if (!header->nr_rules || !collect_rows(p, ruleset, own))
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

static __always_inline struct dfw_rule_info *rule_info(__u32 ruleset, __u32 slot)
{
	void *inner = bpf_map_lookup_elem(&rule_infos, &ruleset);

	return inner ? bpf_map_lookup_elem(inner, &slot) : NULL;
}

#endif
