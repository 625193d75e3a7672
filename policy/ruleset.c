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

/* By set of values. */
struct uses {
	struct use *items;
	size_t nr;
	size_t room;
	uint32_t *first; /* NONE: no rule uses it */
};

struct builder {
	struct arena *arena; /* for the time of the building */
	const struct rule_match *matches;
	const struct classes *classes;
	const struct rule_list *list;
	struct ruleset_rows *rows; /* what stays */
	uint64_t *base;		   /* the rules that accept every class of the dimension */
	uint64_t *bits;		   /* the row being made */
	struct compiled_ruleset *out;
	size_t refs_room;
};

static const struct rule_match *match_of(const struct builder *builder, size_t rule)
{
	return &builder->matches[builder->list->entries[rule] >> ENTRY_SHIFT];
}

static size_t row_words(const struct ruleset_rows *rows)
{
	return rows->nr_chunks * DFW_CHUNK_WORDS;
}

static size_t row_bytes(const struct ruleset_rows *rows)
{
	return row_words(rows) * sizeof(uint64_t);
}

/* ---- Which rules use a set of values ------------------------------------------------------------------------- */

static int uses_init(struct builder *builder, struct uses *uses, uint32_t nr_sets)
{
	*uses = (struct uses){0};
	uses->first = arena_alloc(builder->arena, (nr_sets + 1) * sizeof(*uses->first));
	if (!uses->first)
		return -ENOMEM;
	for (uint32_t i = 0; i < nr_sets; i++)
		uses->first[i] = NONE;
	return 0;
}

static int uses_add(struct builder *builder, struct uses *uses, uint32_t set, size_t rule)
{
	struct use *use = list_push(builder->arena, uses);

	if (!use)
		return -ENOMEM;
	*use = (struct use){.rule = (uint32_t)rule, .next = uses->first[set]};
	uses->first[set] = (uint32_t)uses->nr - 1;
	return 0;
}

/* ---- Dimensions ---------------------------------------------------------------------------------------------- */

/* Room for the rows of `nr` classes, of which the dimension's are from now on. NULL: no memory. */
static struct dfw_row_ref *open_dimension(struct builder *builder, enum dfw_dimension dimension,
					  size_t nr)
{
	struct compiled_ruleset *out = builder->out;
	size_t room = builder->refs_room ? builder->refs_room : 64;
	struct dfw_row_ref *moved;

	if (out->nr_refs + nr > builder->refs_room) {
		while (room < out->nr_refs + nr)
			room *= 2;
		moved = realloc(out->refs, room * sizeof(*moved));
		if (!moved)
			return NULL;
		out->refs = moved;
		builder->refs_room = room;
	}
	out->header.nr_classes[dimension] = (uint32_t)nr;
	out->header.base[dimension] = (uint32_t)out->nr_refs;
	out->nr_refs += nr;
	return &out->refs[out->header.base[dimension]];
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

/* ---- Addresses ----------------------------------------------------------------------------------------------- */

struct rule_range {
	const struct rule_use *begin;
	const struct rule_use *end;
};

/* The rules that use the set. `begin` is where each set's begin; without it they are searched for. */
static struct rule_range rules_using(const struct rule_uses *uses, const uint32_t *begin,
				     uint32_t set)
{
	size_t low = 0, high = uses->nr, end;

	if (begin)
		return (struct rule_range){&uses->items[begin[set]], &uses->items[begin[set + 1]]};
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (uses->items[middle].set < set)
			low = middle + 1;
		else
			high = middle;
	}
	for (end = low; end < uses->nr && uses->items[end].set == set;)
		end++;
	return (struct rule_range){&uses->items[low], &uses->items[end]};
}

/* What speeds up the making of many rows at once. */
struct uses_index {
	uint32_t *begin; /* by set: where its uses begin */
	/* A set that thousands of rules use (0.0.0.0/0 mostly) is in most classes: walking its uses for each of them
	 * would cost more than all the rest. NULL: too few to be worth a bitmap. */
	uint64_t **bitmaps;
};

static void let_in(const struct ruleset_rows *rows, const struct rule_uses *uses,
		   const struct uses_index *index, uint32_t set, uint64_t *bits)
{
	const struct rule_range range = rules_using(uses, index ? index->begin : NULL, set);

	if (index && index->bitmaps[set])
		for (size_t word = 0; word < row_words(rows); word++)
			bits[word] |= index->bitmaps[set][word];
	else
		for (const struct rule_use *use = range.begin; use < range.end; use++)
			bitmap_set(bits, use->rule);
}

static void keep_out(const struct ruleset_rows *rows, const struct rule_uses *uses,
		     const struct uses_index *index, uint32_t set, uint64_t *bits)
{
	const struct rule_range range = rules_using(uses, index ? index->begin : NULL, set);

	if (index && index->bitmaps[set])
		for (size_t word = 0; word < row_words(rows); word++)
			bits[word] &= ~index->bitmaps[set][word];
	else
		for (const struct rule_use *use = range.begin; use < range.end; use++)
			bitmap_clear(bits, use->rule);
}

/* The row of a class: `in` and `out` are NULL when only one row is made. */
static void make_row(const struct ruleset_rows *rows, const struct address_rows *dimension,
		     const struct uses_index *in, const struct uses_index *out,
		     const struct address_class *class, uint64_t *bits)
{
	memcpy(bits, dimension->base, row_bytes(rows));
	for (uint32_t i = 0; i < class->nr; i++)
		let_in(rows, &dimension->in, in, class->sets[i], bits);
	for (uint32_t i = 0; dimension->out.nr && i < class->nr; i++)
		keep_out(rows, &dimension->out, out, class->sets[i], bits);
}

/* Sorts the uses, which come rule by rule, by set. */
static int index_uses(struct builder *builder, struct rule_uses *uses, struct uses_index *index)
{
	uint32_t nr_sets = builder->classes->nr_address_sets;
	struct rule_use *sorted =
		arena_alloc(&builder->rows->arena, (uses->nr + 1) * sizeof(*sorted));
	uint32_t *begin = arena_alloc(builder->arena, (nr_sets + 2) * sizeof(*begin));

	index->bitmaps = arena_alloc(builder->arena, (nr_sets + 1) * sizeof(*index->bitmaps));
	if (!sorted || !begin || !index->bitmaps)
		return -ENOMEM;
	/* begin[set + 1] first moves along as the end of the list, and so ends up as the beginning of the next. */
	for (size_t i = 0; i < uses->nr; i++)
		begin[uses->items[i].set + 1]++;
	for (uint32_t set = 0, before = 0, nr; set < nr_sets + 1; set++) {
		nr = begin[set + 1];
		begin[set + 1] = before;
		before += nr;
	}
	for (size_t i = 0; i < uses->nr; i++)
		sorted[begin[uses->items[i].set + 1]++] = uses->items[i];
	uses->items = sorted;
	index->begin = begin;
	for (uint32_t set = 0; set < nr_sets; set++) {
		const struct rule_range range = rules_using(uses, begin, set);

		if ((size_t)(range.end - range.begin) <= row_words(builder->rows) / 4)
			continue;
		index->bitmaps[set] = arena_alloc(builder->arena, row_bytes(builder->rows));
		if (!index->bitmaps[set])
			return -ENOMEM;
		for (const struct rule_use *use = range.begin; use < range.end; use++)
			bitmap_set(index->bitmaps[set], use->rule);
	}
	return 0;
}

/* Both ways in which the rules of a dimension use sets, on their way to being sorted. */
struct uses_list {
	struct rule_use *items;
	size_t nr;
	size_t room;
};

static int push_uses(struct builder *builder, struct uses_list *uses, const struct set_list *sets,
		     size_t rule)
{
	for (size_t i = 0; i < sets->nr; i++) {
		struct rule_use *use = list_push(builder->arena, uses);

		if (!use)
			return -ENOMEM;
		*use = (struct rule_use){.set = sets->items[i], .rule = (uint32_t)rule};
	}
	return 0;
}

/* Enters what the rules use, and in `base` those that accept every class. *unused: all of them do. */
static int address_terms(struct builder *builder, enum dfw_dimension dimension,
			 struct uses_index *in, struct uses_index *out, bool *unused)
{
	struct address_rows *rows = &builder->rows->dimensions[dimension];
	struct uses_list lists[2] = {};
	int r = 0;

	*unused = true;
	rows->base = arena_alloc(&builder->rows->arena, row_bytes(builder->rows));
	if (!rows->base)
		return -ENOMEM;
	for (size_t rule = 0; r == 0 && rule < builder->list->nr; rule++) {
		const struct address_term term = address_term(builder, rule, dimension);

		*unused &= term.all && !term.nothing && term.match->out.nr == 0;
		if (term.nothing)
			continue;
		if (term.all)
			bitmap_set(rows->base, rule);
		else
			r = push_uses(builder, &lists[0], &term.match->in, rule);
		if (r == 0)
			r = push_uses(builder, &lists[1], &term.match->out, rule);
	}
	rows->in = (struct rule_uses){lists[0].items, lists[0].nr};
	rows->out = (struct rule_uses){lists[1].items, lists[1].nr};
	if (r == 0)
		r = index_uses(builder, &rows->in, in);
	if (r == 0)
		r = index_uses(builder, &rows->out, out);
	return r;
}

/* Makes the rows of all classes in the sets that `uses` names. */
static int address_rows(struct builder *builder, const struct address_rows *dimension,
			const struct rule_uses *uses, const struct uses_index *in,
			const struct uses_index *out, struct dfw_row_ref *refs, bool *done)
{
	const struct number_lists *classes_of = &builder->classes->classes_of;
	struct address_class **classes = builder->classes->addresses->classes.items;
	uint32_t last = NONE;
	int r = 0;

	for (size_t use = 0; use < uses->nr; use++) {
		uint32_t set = uses->items[use].set;

		if (set == last)
			continue;
		last = set;
		for (uint32_t i = classes_of->begin[set]; r == 0 && i < classes_of->begin[set + 1];
		     i++) {
			uint32_t class = classes_of->items[i];

			if (done[class])
				continue;
			done[class] = true;
			make_row(builder->rows, dimension, in, out, classes[class], builder->bits);
			r = rows_add(&builder->rows->rows, builder->bits, builder->rows->nr_chunks,
				     &refs[class]);
		}
	}
	return r;
}

static int build_addresses(struct builder *builder, enum dfw_dimension dimension)
{
	struct address_rows *rows = &builder->rows->dimensions[dimension];
	uint32_t nr = builder->classes->room_addresses;
	struct uses_index in = {}, out = {};
	struct dfw_row_ref *refs, rest;
	bool unused, *done;
	int r = address_terms(builder, dimension, &in, &out, &unused);

	if (r < 0)
		return r;
	if (unused) {
		builder->out->header.base[dimension] = DFW_DIM_UNUSED;
		return 0;
	}
	r = rows_add(&builder->rows->rows, rows->base, builder->rows->nr_chunks, &rest);
	if (r < 0)
		return r;
	/* Whatever class there is or comes, no rule accepts it. */
	if (rest.chunks == 0 && rows->in.nr == 0) {
		builder->out->header.base[dimension] = DFW_DIM_NOTHING;
		return 0;
	}
	refs = open_dimension(builder, dimension, nr);
	done = arena_alloc(builder->arena, nr * sizeof(*done));
	if (!refs || !done)
		return -ENOMEM;
	rows->kept = true;
	/* Most classes of a large policy are in none of the sets that this list uses; so are those to come, until
	 * ruleset_add_class() says otherwise. */
	for (uint32_t i = 0; i < nr; i++)
		refs[i] = rest;
	r = address_rows(builder, rows, &rows->in, &in, &out, refs, done);
	return r < 0 ? r : address_rows(builder, rows, &rows->out, &in, &out, refs, done);
}

static bool uses_any(const struct rule_uses *uses, const struct address_class *class)
{
	for (uint32_t i = 0; i < class->nr; i++) {
		const struct rule_range range = rules_using(uses, NULL, class->sets[i]);

		if (range.begin < range.end)
			return true;
	}
	return false;
}

int ruleset_add_class(struct compiled_ruleset *ruleset, const struct address_class *class,
		      uint64_t *bits, struct row_changes *changes)
{
	struct ruleset_rows *rows = ruleset->rows;
	int r = 0;

	for (int i = 0; i < DFW_DIM_L4 && r == 0; i++) {
		struct address_rows *dimension = &rows->dimensions[i];
		struct row_change *change;
		uint32_t ref;

		if (!dimension->kept ||
		    (!uses_any(&dimension->in, class) && !uses_any(&dimension->out, class)))
			continue;
		ref = ruleset->header.base[i] + class->id;
		change = list_push(NULL, changes);
		if (!change)
			return -ENOMEM;
		*change = (struct row_change){.ruleset = changes->ruleset,
					      .ref = ref,
					      .chunk = (uint32_t)rows->rows.nr_chunks};
		make_row(rows, dimension, NULL, NULL, class, bits);
		r = rows_add(&rows->rows, bits, rows->nr_chunks, &ruleset->refs[ref]);
		change->nr_chunks = (uint32_t)rows->rows.nr_chunks - change->chunk;
	}
	ruleset->nr_chunks = rows->rows.nr_chunks;
	return r;
}

/* ---- Services ------------------------------------------------------------------------------------------------ */

static void toggle_rules(uint64_t *bits, const struct uses *uses, uint32_t set)
{
	for (uint32_t i = uses->first[set]; i != NONE; i = uses->items[i].next)
		bits[uses->items[i].rule / 64] ^= 1ULL << (uses->items[i].rule % 64);
}

/* Enters the rows of all classes of a dimension. Classes at the end with no rule are left out. */
static int publish(struct builder *builder, enum dfw_dimension dimension,
		   const struct dfw_row_ref *refs, size_t nr)
{
	struct dfw_row_ref *place;

	while (nr && refs[nr - 1].chunks == 0)
		nr--;
	if (nr == 0) {
		builder->out->header.base[dimension] = DFW_DIM_NOTHING;
		return 0;
	}
	place = open_dimension(builder, dimension, nr);
	if (!place)
		return -ENOMEM;
	memcpy(place, refs, nr * sizeof(*refs));
	return 0;
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

	memset(builder->base, 0, row_bytes(builder->rows));
	memset(builder->bits, 0, row_bytes(builder->rows));
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
	r = rows_add(&builder->rows->rows, builder->bits, builder->rows->nr_chunks, &refs[0]);
	memcpy(builder->bits, builder->base, row_bytes(builder->rows));
	for (size_t i = 0; r == 0 && i < classes->nr_steps; i++) {
		const struct value_step *step = &classes->steps[i];

		for (size_t j = 0; j < step->nr_events; j++) {
			uint32_t set = classes->events[step->first_event + j].set;

			changed |= uses.first[set] != NONE;
			toggle_rules(builder->bits, &uses, set);
		}
		if (!step->first)
			continue;
		if (changed)
			r = rows_add(&builder->rows->rows, builder->bits, builder->rows->nr_chunks,
				     &last);
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

void ruleset_rows_free(struct ruleset_rows *rows)
{
	if (!rows)
		return;
	rows_free(&rows->rows);
	arena_free(&rows->arena);
	free(rows);
}

/* Room for the rows of classes to come: each may need every chunk. */
#define SPARE_ROWS 32

static int build_all(struct builder *builder, const struct policy *policy)
{
	struct compiled_ruleset *out = builder->out;
	struct rows *rows = &builder->rows->rows;
	int r = build_infos(builder, policy);

	for (int dimension = 0; r == 0 && dimension < DFW_DIMENSIONS; dimension++)
		r = build_dimension(builder, (enum dfw_dimension)dimension);
	if (r == 0)
		r = rows_close(rows, SPARE_ROWS * builder->rows->nr_chunks + rows->nr_chunks / 8);
	if (r < 0)
		return r;
	out->chunks = rows->chunks;
	out->nr_chunks = rows->nr_chunks;
	out->room_chunks = rows->room;
	build_hash(out);
	return 0;
}

int ruleset_build(const struct policy *policy, const struct rule_match *matches,
		  const struct classes *classes, const struct rule_list *list,
		  struct compiled_ruleset *ruleset)
{
	_cleanup_(arena_free) struct arena arena = {0};
	struct builder builder = {
		.arena = &arena,
		.matches = matches,
		.classes = classes,
		.list = list,
		.rows = calloc(1, sizeof(*builder.rows)),
		.out = ruleset,
	};

	*ruleset = (struct compiled_ruleset){.rows = builder.rows};
	if (!builder.rows)
		return -ENOMEM;
	builder.rows->nr_chunks = (list->nr + DFW_CHUNK_RULES - 1) / DFW_CHUNK_RULES;
	builder.rows->rows.arena = &builder.rows->arena;
	ruleset->header.nr_rules = (uint32_t)list->nr;
	ruleset->header.nr_tiers = (uint32_t)policy->tiers.nr;
	builder.base = arena_alloc(&arena, row_bytes(builder.rows));
	builder.bits = arena_alloc(&arena, row_bytes(builder.rows));
	return builder.base && builder.bits ? build_all(&builder, policy) : -ENOMEM;
}
