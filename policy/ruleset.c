// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compile.h"
#include "hash.h"
#include "rows.h"
#include "util.h"
#include "vports.h"

#define NONE UINT32_MAX

/* A rule that uses a set; those of one set form a chain. */
struct use {
	uint32_t rule;
	uint32_t next;
};

struct uses {
	struct use *items;
	size_t nr;
	size_t room;
	struct used_set {
		uint32_t first; /* NONE: no rule uses it */
		uint32_t nr;
		uint64_t *bits; /* NULL: too few rules to be worth a bitmap */
	} *by_set;
	struct set_list sets; /* those with a rule */
};

struct builder {
	struct arena *arena; /* for the time of this rule set */
	const struct rule_match *matches;
	const struct classes *classes;
	const struct rule_list *list;
	struct rows rows;
	size_t nr_chunks;
	uint64_t *base; /* the rules that accept every class of the dimension, exclusions aside */
	uint64_t *bits; /* the row being made */
	struct compiled_ruleset *out;
	size_t refs_room;
};

static const struct rule_match *match_of(const struct builder *builder, size_t rule)
{
	return &builder->matches[builder->list->entries[rule] >> ENTRY_SHIFT];
}

static size_t row_words(const struct builder *builder)
{
	return builder->nr_chunks * DFW_CHUNK_WORDS;
}

/* ---- Which rules use a set ----------------------------------------------------------------------------------- */

static int uses_init(struct builder *builder, struct uses *uses, uint32_t nr_sets)
{
	*uses = (struct uses){0};
	uses->by_set = arena_alloc(builder->arena, (nr_sets + 1) * sizeof(*uses->by_set));
	if (!uses->by_set)
		return -ENOMEM;
	for (uint32_t i = 0; i < nr_sets; i++)
		uses->by_set[i].first = NONE;
	return 0;
}

static int uses_add(struct builder *builder, struct uses *uses, uint32_t set, size_t rule)
{
	struct use *use = list_push(builder->arena, uses);
	struct used_set *used = &uses->by_set[set];
	uint32_t *slot;

	if (!use)
		return -ENOMEM;
	*use = (struct use){.rule = (uint32_t)rule, .next = used->first};
	if (used->nr == 0) {
		slot = list_push(builder->arena, &uses->sets);
		if (!slot)
			return -ENOMEM;
		*slot = set;
	}
	used->first = (uint32_t)uses->nr - 1;
	used->nr++;
	return 0;
}

/* A set that thousands of rules use (0.0.0.0/0 mostly) is in most classes: walking its chain for each of them would cost
 * more than all the rest. */
static int uses_make_bitmaps(struct builder *builder, struct uses *uses)
{
	for (size_t i = 0; i < uses->sets.nr; i++) {
		struct used_set *used = &uses->by_set[uses->sets.items[i]];

		if (used->nr <= row_words(builder) / 4)
			continue;
		used->bits = arena_alloc(builder->arena, row_words(builder) * sizeof(uint64_t));
		if (!used->bits)
			return -ENOMEM;
		for (uint32_t j = used->first; j != NONE; j = uses->items[j].next)
			bitmap_set(used->bits, uses->items[j].rule);
	}
	return 0;
}

/* ---- Dimensions ---------------------------------------------------------------------------------------------- */

/* Enters the rows of all classes of a dimension. Classes at the end with no rule are left out. */
static int publish(struct builder *builder, enum dfw_dimension dimension,
		   const struct dfw_row_ref *refs, size_t nr)
{
	struct compiled_ruleset *out = builder->out;
	struct dfw_row_ref *moved;
	size_t room = builder->refs_room ? builder->refs_room : 64;

	while (nr && refs[nr - 1].chunks == 0)
		nr--;
	if (nr == 0) {
		out->header.base[dimension] = DFW_DIM_NOTHING;
		return 0;
	}
	out->header.nr_classes[dimension] = (uint32_t)nr;
	if (out->nr_refs + nr > builder->refs_room) {
		while (room < out->nr_refs + nr)
			room *= 2;
		moved = realloc(out->refs, room * sizeof(*moved));
		if (!moved)
			return -ENOMEM;
		out->refs = moved;
		builder->refs_room = room;
	}
	memcpy(&out->refs[out->nr_refs], refs, nr * sizeof(*refs));
	out->header.base[dimension] = (uint32_t)out->nr_refs;
	out->nr_refs += nr;
	return 0;
}

/* What a rule says of addresses in this dimension. */
struct address_term {
	const struct address_match *match;
	bool all;
	bool nothing;
};

static struct address_term address_term(const struct builder *builder, size_t rule,
					enum dfw_dimension dimension)
{
	const struct rule_match *match = match_of(builder, rule);
	bool in = builder->list->direction == DFW_IN;
	uint32_t entry = builder->list->entries[rule];
	bool own = dimension == DFW_DIM_LOCAL_OWN || builder->list->no_addresses;

	if (dimension == DFW_DIM_REMOTE) {
		const struct address_match *remote = &match->remote[in ? END_FROM : END_TO];

		return (struct address_term){.match = remote, .all = remote->any};
	}
	return (struct address_term){
		.match = &match->local[in ? END_TO : END_FROM],
		.all = own && entry & ENTRY_PORT,
		.nothing = own && entry & ENTRY_NOT,
	};
}

static void let_in(const struct builder *builder, const struct uses *uses, uint32_t set)
{
	const struct used_set *used = &uses->by_set[set];

	if (!used->bits)
		for (uint32_t i = used->first; i != NONE; i = uses->items[i].next)
			bitmap_set(builder->bits, uses->items[i].rule);
	else
		for (size_t word = 0; word < row_words(builder); word++)
			builder->bits[word] |= used->bits[word];
}

static void keep_out(const struct builder *builder, const struct uses *uses, uint32_t set)
{
	const struct used_set *used = &uses->by_set[set];

	if (!used->bits)
		for (uint32_t i = used->first; i != NONE; i = uses->items[i].next)
			bitmap_clear(builder->bits, uses->items[i].rule);
	else
		for (size_t word = 0; word < row_words(builder); word++)
			builder->bits[word] &= ~used->bits[word];
}

/* The rules of a dimension by the sets they use: those that a set lets in, and those that it keeps out. */
struct address_uses {
	struct uses in;
	struct uses out;
	bool *done; /* by class: its row is made */
	struct dfw_row_ref *refs;
};

/* Makes the rows of all classes in the set. */
static int address_rows(struct builder *builder, struct address_uses *uses, uint32_t of)
{
	const struct number_lists *classes_of = &builder->classes->addresses.classes_of;
	const struct number_lists *sets_of = &builder->classes->addresses.sets_of;
	int r = 0;

	for (uint32_t i = classes_of->begin[of]; r == 0 && i < classes_of->begin[of + 1]; i++) {
		uint32_t class = classes_of->items[i];
		const uint32_t *begin = &sets_of->items[sets_of->begin[class]];
		const uint32_t *end = &sets_of->items[sets_of->begin[class + 1]];

		if (uses->done[class])
			continue;
		uses->done[class] = true;
		memcpy(builder->bits, builder->base, row_words(builder) * sizeof(uint64_t));
		for (const uint32_t *set = begin; set < end; set++)
			let_in(builder, &uses->in, *set);
		for (const uint32_t *set = begin; uses->out.nr && set < end; set++)
			keep_out(builder, &uses->out, *set);
		r = rows_add(&builder->rows, builder->bits, builder->nr_chunks, &uses->refs[class]);
	}
	return r;
}

/* Enters what the rules use, and in `base` those that accept every class. *unused: all of them do. */
static int address_terms(struct builder *builder, enum dfw_dimension dimension,
			 struct address_uses *uses, bool *unused)
{
	int r = uses_init(builder, &uses->in, builder->classes->nr_address_sets);

	if (r == 0)
		r = uses_init(builder, &uses->out, builder->classes->nr_address_sets);
	*unused = true;
	memset(builder->base, 0, row_words(builder) * sizeof(uint64_t));
	for (size_t rule = 0; r == 0 && rule < builder->list->nr; rule++) {
		const struct address_term term = address_term(builder, rule, dimension);

		*unused &= term.all && !term.nothing && term.match->out.nr == 0;
		if (term.nothing)
			continue;
		if (term.all)
			bitmap_set(builder->base, rule);
		for (size_t i = 0; r == 0 && !term.all && i < term.match->in.nr; i++)
			r = uses_add(builder, &uses->in, term.match->in.items[i], rule);
		for (size_t i = 0; r == 0 && i < term.match->out.nr; i++)
			r = uses_add(builder, &uses->out, term.match->out.items[i], rule);
	}
	if (r == 0)
		r = uses_make_bitmaps(builder, &uses->in);
	if (r == 0)
		r = uses_make_bitmaps(builder, &uses->out);
	return r;
}

static int build_addresses(struct builder *builder, enum dfw_dimension dimension)
{
	uint32_t nr = builder->classes->addresses.nr;
	struct address_uses uses;
	struct dfw_row_ref rest;
	bool unused;
	int r = address_terms(builder, dimension, &uses, &unused);

	if (r < 0)
		return r;
	if (unused) {
		builder->out->header.base[dimension] = DFW_DIM_UNUSED;
		return 0;
	}
	uses.refs = arena_alloc(builder->arena, nr * sizeof(*uses.refs));
	uses.done = arena_alloc(builder->arena, nr * sizeof(*uses.done));
	if (!uses.refs || !uses.done)
		return -ENOMEM;
	/* Most classes of a large policy are in none of the sets that this list uses. */
	r = rows_add(&builder->rows, builder->base, builder->nr_chunks, &rest);
	for (uint32_t i = 0; i < nr; i++)
		uses.refs[i] = rest;
	for (size_t i = 0; r == 0 && i < uses.in.sets.nr; i++)
		r = address_rows(builder, &uses, uses.in.sets.items[i]);
	for (size_t i = 0; r == 0 && i < uses.out.sets.nr; i++)
		r = address_rows(builder, &uses, uses.out.sets.items[i]);
	return r < 0 ? r : publish(builder, dimension, uses.refs, nr);
}

static void toggle_rules(uint64_t *bits, const struct uses *uses, uint32_t set)
{
	for (uint32_t i = uses->by_set[set].first; i != NONE; i = uses->items[i].next)
		bits[uses->items[i].rule / 64] ^= 1ULL << (uses->items[i].rule % 64);
}

static int build_values(struct builder *builder, enum dfw_dimension dimension)
{
	bool sources = dimension == DFW_DIM_SOURCE_PORT, unused = true, changed = true;
	const struct value_classes *classes =
		sources ? &builder->classes->sources : &builder->classes->values;
	struct dfw_row_ref *refs, last = {0};
	struct uses uses;
	int r = uses_init(builder, &uses,
			  sources ? builder->classes->nr_source_sets
				  : builder->classes->nr_value_sets);

	memset(builder->base, 0, row_words(builder) * sizeof(uint64_t));
	memset(builder->bits, 0, row_words(builder) * sizeof(uint64_t));
	for (size_t rule = 0; r == 0 && rule < builder->list->nr; rule++) {
		const struct rule_match *match = match_of(builder, rule);
		uint32_t set = sources ? match->sources : match->values;

		unused &= set == ANY_SET;
		if (set == ANY_SET)
			bitmap_set(builder->base, rule);
		else
			r = uses_add(builder, &uses, set, rule);
		/* Source class 0 is that of protocols without ports, see compile.c. */
		if (set == ANY_SET || (sources && match->portless))
			bitmap_set(builder->bits, rule);
	}
	if (r < 0)
		return r;
	if (unused) {
		builder->out->header.base[dimension] = DFW_DIM_UNUSED;
		return 0;
	}

	refs = arena_alloc(builder->arena, classes->nr * sizeof(*refs));
	if (!refs)
		return -ENOMEM;
	r = rows_add(&builder->rows, builder->bits, builder->nr_chunks, &refs[0]);
	memcpy(builder->bits, builder->base, row_words(builder) * sizeof(uint64_t));
	for (size_t i = 0; r == 0 && i < classes->nr_steps; i++) {
		const struct value_step *step = &classes->steps[i];

		for (size_t j = 0; j < step->nr_events; j++) {
			uint32_t set = classes->events[step->first_event + j].set;

			changed |= uses.by_set[set].nr > 0;
			toggle_rules(builder->bits, &uses, set);
		}
		if (!step->first)
			continue;
		if (changed)
			r = rows_add(&builder->rows, builder->bits, builder->nr_chunks, &last);
		changed = false;
		refs[step->class] = last;
	}
	return r < 0 ? r : publish(builder, dimension, refs, classes->nr);
}

/* ---- Rules --------------------------------------------------------------------------------------------------- */

static int build_infos(struct builder *builder, const struct policy *policy)
{
	const struct default_rule *fallback = &policy->defaults[builder->list->direction];
	const char *in_or_out = builder->list->direction == DFW_IN ? "in" : "out";
	size_t nr = builder->list->nr, next = nr;
	struct dfw_rule_info *infos = calloc(nr + 1, sizeof(*infos));

	if (!infos)
		return -ENOMEM;
	builder->out->rules = infos;
	for (size_t i = nr; i-- > 0;) {
		const struct rule *rule = match_of(builder, i)->rule;
		struct dfw_rule_info *info = &infos[i];

		/* `next` is where the tier behind this rule's begins. */
		if (i + 1 < nr && match_of(builder, i + 1)->rule->tier != rule->tier)
			next = i + 1;
		info->id = rule->id;
		info->action = (uint8_t)rule->action;
		info->on_change = (uint8_t)rule->on_change;
		info->flags = (uint8_t)((rule->log ? DFW_RULE_LOG : 0) |
					(rule->stateless ? DFW_RULE_STATELESS : 0) |
					(rule->limit_per_source ? DFW_RULE_LIMIT_SOURCE : 0));
		info->tier = (uint8_t)rule->tier->index;
		info->next_tier = rule->action == DFW_ACTION_PASS ? (uint32_t)next : 0;
		info->max_flows = rule->max_flows;
		info->new_per_second = rule->limit;
		info->burst = rule->burst ? rule->burst : rule->limit;
		snprintf(info->name, sizeof(info->name), "%s/%s", rule->tier->name, rule->name);
	}
	infos[nr].id = policy_rule_id("default", in_or_out);
	infos[nr].action = (uint8_t)(fallback->given ? fallback->action : DFW_ACTION_DROP);
	infos[nr].flags = (uint8_t)(DFW_RULE_DEFAULT | (fallback->log ? DFW_RULE_LOG : 0));
	infos[nr].tier = (uint8_t)policy->tiers.nr;
	snprintf(infos[nr].name, sizeof(infos[nr].name), "default %s", in_or_out);
	return 0;
}

static void build_hash(struct compiled_ruleset *ruleset)
{
	uint64_t halves[2] = {0x6466772d72756c65ULL, 0x736574206861736dULL};

	for (size_t i = 0; i < 2; i++) {
		uint64_t hash = halves[i];

		hash = hash_bytes(hash, &ruleset->header, sizeof(ruleset->header));
		hash = hash_bytes(hash, ruleset->rules,
				  (ruleset->header.nr_rules + 1) * sizeof(*ruleset->rules));
		hash = hash_bytes(hash, ruleset->refs, ruleset->nr_refs * sizeof(*ruleset->refs));
		hash = hash_bytes(hash, ruleset->chunks,
				  ruleset->nr_chunks * sizeof(*ruleset->chunks));
		halves[i] = hash;
	}
	memcpy(ruleset->header.hash, halves, sizeof(ruleset->header.hash));
}

/* Own and foreign local addresses differ only where a rule means the port as such. */
static bool same_local_rows(const struct rule_list *list)
{
	uint32_t flags = 0;

	for (size_t i = 0; i < list->nr; i++)
		flags |= list->entries[i] & (ENTRY_PORT | ENTRY_NOT);
	return list->no_addresses || flags == 0;
}

static int build_dimension(struct builder *builder, enum dfw_dimension dimension)
{
	struct dfw_ruleset *header = &builder->out->header;

	/* Without rules nothing needs looking up. */
	if (builder->list->nr == 0) {
		header->base[dimension] = DFW_DIM_NOTHING;
		return 0;
	}
	if (dimension == DFW_DIM_LOCAL_FOREIGN && same_local_rows(builder->list)) {
		header->base[dimension] = header->base[DFW_DIM_LOCAL_OWN];
		header->nr_classes[dimension] = header->nr_classes[DFW_DIM_LOCAL_OWN];
		return 0;
	}
	return dimension < DFW_DIM_L4 ? build_addresses(builder, dimension)
				      : build_values(builder, dimension);
}

static void builder_free(struct builder *builder)
{
	rows_free(&builder->rows);
}

int ruleset_build(const struct policy *policy, const struct rule_match *matches,
		  const struct classes *classes, const struct rule_list *list,
		  struct compiled_ruleset *ruleset)
{
	_cleanup_(arena_free) struct arena arena = {0};
	_cleanup_(builder_free) struct builder builder = {
		.arena = &arena,
		.matches = matches,
		.classes = classes,
		.list = list,
		.rows = {.arena = &arena},
		.nr_chunks = (list->nr + DFW_CHUNK_RULES - 1) / DFW_CHUNK_RULES,
		.out = ruleset,
	};
	int r;

	*ruleset = (struct compiled_ruleset){0};
	ruleset->header.nr_rules = (uint32_t)list->nr;
	ruleset->header.nr_tiers = (uint32_t)policy->tiers.nr;
	builder.base = arena_alloc(&arena, row_words(&builder) * sizeof(uint64_t));
	builder.bits = arena_alloc(&arena, row_words(&builder) * sizeof(uint64_t));
	if (!builder.base || !builder.bits)
		return -ENOMEM;

	r = build_infos(&builder, policy);
	for (int dimension = 0; r == 0 && dimension < DFW_DIMENSIONS; dimension++)
		r = build_dimension(&builder, (enum dfw_dimension)dimension);
	if (r < 0)
		return r;
	ruleset->nr_chunks = builder.rows.nr_chunks;
	ruleset->chunks = TAKE_PTR(builder.rows.chunks);
	build_hash(ruleset);
	return 0;
}
