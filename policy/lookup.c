// SPDX-License-Identifier: GPL-2.0
#include <netinet/in.h>
#include <string.h>

#include "addr.h"
#include "compile.h"

/* The steps of bpf/classify.h, in plain C. */

static uint32_t value_class(const struct compiled *compiled, uint32_t value)
{
	return compiled->l4[value / DFW_L4_BLOCK].classes[value % DFW_L4_BLOCK];
}

static uint32_t l4_class(const struct compiled *compiled, const struct policy_packet *packet)
{
	uint32_t type = (uint32_t)packet->icmp_type << 8 | packet->icmp_code;

	switch (packet->protocol) {
	case IPPROTO_TCP:
		return value_class(compiled, DFW_L4_TCP + packet->destination_port);
	case IPPROTO_UDP:
		return value_class(compiled, DFW_L4_UDP + packet->destination_port);
	case IPPROTO_SCTP:
		return value_class(compiled, DFW_L4_SCTP + packet->destination_port);
	case IPPROTO_ICMP:
		return value_class(compiled, DFW_L4_ICMP + type);
	case IPPROTO_ICMPV6:
		return value_class(compiled, DFW_L4_ICMP6 + type);
	default:
		return value_class(compiled, DFW_L4_OTHER + packet->protocol);
	}
}

static uint32_t source_class(const struct compiled *compiled, const struct policy_packet *packet)
{
	switch (packet->protocol) {
	case IPPROTO_TCP:
		return value_class(compiled, DFW_L4_SOURCE_TCP + packet->source_port);
	case IPPROTO_UDP:
		return value_class(compiled, DFW_L4_SOURCE_UDP + packet->source_port);
	case IPPROTO_SCTP:
		return value_class(compiled, DFW_L4_SOURCE_SCTP + packet->source_port);
	default:
		return 0;
	}
}

struct row_set {
	const struct dfw_row_ref *refs[DFW_DIMENSIONS];
	size_t nr;
	uint64_t chunks; /* that all have */
};

static uint64_t row_word(const struct compiled_ruleset *ruleset, const struct dfw_row_ref *ref,
			 size_t chunk, size_t word)
{
	uint64_t before = ref->chunks & ((1ULL << chunk) - 1);

	return ruleset->chunks[ref->chunk + (uint32_t)__builtin_popcountll(before)].words[word];
}

/* The first rule, `first` or behind it, whose bit all rows have. */
static uint32_t first_match(const struct compiled_ruleset *ruleset, const struct row_set *rows,
			    uint32_t first)
{
	for (uint32_t word = first / 64; word * 64 < ruleset->header.nr_rules; word++) {
		size_t chunk = word / DFW_CHUNK_WORDS;
		uint64_t bits = word == first / 64 ? ~0ULL << first % 64 : ~0ULL;
		uint32_t rule;

		if (!(rows->chunks >> chunk & 1))
			continue;
		for (size_t i = 0; i < rows->nr; i++)
			bits &= row_word(ruleset, rows->refs[i], chunk, word % DFW_CHUNK_WORDS);
		if (!bits)
			continue;
		rule = word * 64 + (uint32_t)__builtin_ctzll(bits);
		return rule < ruleset->header.nr_rules ? rule : ruleset->header.nr_rules;
	}
	return ruleset->header.nr_rules;
}

uint32_t lookup_classes(const struct compiled *compiled, const struct compiled_ruleset *ruleset,
			const struct policy_packet *packet, uint32_t remote, uint32_t local)
{
	const struct dfw_ruleset *header = &ruleset->header;
	const uint32_t classes[DFW_DIMENSIONS] = {
		[DFW_DIM_REMOTE] = remote,
		[DFW_DIM_LOCAL_OWN] = local,
		[DFW_DIM_LOCAL_FOREIGN] = local,
		[DFW_DIM_L4] = l4_class(compiled, packet),
		[DFW_DIM_SOURCE_PORT] = source_class(compiled, packet),
	};
	const int skipped = packet->local_is_own ? DFW_DIM_LOCAL_FOREIGN : DFW_DIM_LOCAL_OWN;
	struct row_set rows = {.chunks = ~0ULL};
	uint32_t rule = 0;

	for (int dimension = 0; dimension < DFW_DIMENSIONS; dimension++) {
		uint32_t base = header->base[dimension];
		const struct dfw_row_ref *ref;

		if (dimension == skipped || base == DFW_DIM_UNUSED)
			continue;
		if (base == DFW_DIM_NOTHING || classes[dimension] >= header->nr_classes[dimension])
			return header->nr_rules;
		ref = &ruleset->refs[base + classes[dimension]];
		rows.refs[rows.nr++] = ref;
		rows.chunks &= ref->chunks;
	}
	do
		rule = first_match(ruleset, &rows, rule);
	while (rule < header->nr_rules && ruleset->rules[rule].action == DFW_ACTION_PASS &&
	       (rule = ruleset->rules[rule].next_tier) < header->nr_rules);
	return rule;
}

static uint32_t address_class(const struct compiled *compiled, const struct dfw_addr *address)
{
	const struct compiler *compiler = compiled->compiler;
	uint32_t class;

	if (address_space_exact(&compiler->addresses, address, &class))
		return class;
	if (addr_is_v4(address))
		return v4_tree_class(&compiler->v4, address);
	return address_space_class(&compiler->addresses, address);
}

uint32_t compiled_lookup(const struct compiled *compiled, const struct compiled_ruleset *ruleset,
			 const struct policy_packet *packet)
{
	return lookup_classes(compiled, ruleset, packet, address_class(compiled, &packet->remote),
			      address_class(compiled, &packet->local));
}
