// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>

#include "hash.h"
#include "table.h"
#include "value_classes.h"

/* Name of a combination of sets: the XOR of a random number for each (Zobrist 1970), so that a step costs what changes
 * and not what holds. Of 131,072 combinations two share one by a chance below 2^-94. */
struct combination {
	uint64_t halves[2];
};

static void toggle(struct combination *combination, uint32_t set)
{
	combination->halves[0] ^= hash_mix(set + 0x9e3779b97f4a7c15ULL);
	combination->halves[1] ^= hash_mix(~((uint64_t)set * 0xd1342543de82ef95ULL));
}

struct class
{
	uint32_t id;
	struct combination combination;
};

static int compare_events(const void *a, const void *b)
{
	const struct value_event *left = a, *right = b;

	return (left->value > right->value) - (left->value < right->value);
}

static size_t count_ranges(const struct value_sets *sets)
{
	size_t nr = 0;

	for (size_t i = 0; i < sets->nr; i++)
		nr += sets->items[i].ranges->nr;
	return nr;
}

/* The class of a combination; a new one gets the next id. */
static struct class *find_class(struct arena *arena, struct table *table,
				struct value_classes *classes,
				const struct combination *combination, bool *is_new)
{
	struct class *class = table_find(table, combination, sizeof(*combination));

	*is_new = !class;
	if (class)
		return class;
	class = arena_alloc(arena, sizeof(*class));
	if (!class)
		return NULL;
	class->id = classes->nr++;
	class->combination = *combination;
	return table_add(arena, table, &class->combination, sizeof(class->combination), class);
}

/* Class 0 is there already; what is not touched costs no page of memory. */
static void enter_classes(const struct value_classes *classes, struct dfw_l4_block *l4)
{
	for (size_t i = 0; i + 1 < classes->nr_steps; i++) {
		const struct value_step *step = &classes->steps[i];

		for (uint32_t value = step->value; step->class && value < step[1].value; value++)
			l4[value / DFW_L4_BLOCK].classes[value % DFW_L4_BLOCK] = step->class;
	}
}

int value_classes_build(struct arena *arena, const struct value_sets *sets, struct dfw_l4_block *l4,
			struct value_classes *classes)
{
	size_t nr_events = 2 * count_ranges(sets), nr = 0;
	struct combination combination = {0};
	struct table table = {0};

	*classes = (struct value_classes){.nr = 1};
	classes->events = arena_alloc(arena, (nr_events + 1) * sizeof(*classes->events));
	classes->steps = arena_alloc(arena, (nr_events + 1) * sizeof(*classes->steps));
	if (!classes->events || !classes->steps)
		return -ENOMEM;
	for (uint32_t set = 0; set < sets->nr; set++) {
		const struct range_list *ranges = sets->items[set].ranges;

		for (size_t i = 0; i < ranges->nr; i++) {
			classes->events[nr++] =
				(struct value_event){ranges->items[i].low, set, true};
			classes->events[nr++] =
				(struct value_event){ranges->items[i].high + 1, set, false};
		}
	}
	qsort(classes->events, nr_events, sizeof(*classes->events), compare_events);

	for (size_t i = 0; i < nr_events; i += nr) {
		struct value_step *step = &classes->steps[classes->nr_steps++];
		const struct class *class;
		bool nothing;

		*step = (struct value_step){.value = classes->events[i].value, .first_event = i};
		for (nr = 0; i + nr < nr_events && classes->events[i + nr].value == step->value;
		     nr++)
			toggle(&combination, classes->events[i + nr].set);
		step->nr_events = nr;
		/* Class 0 is that of the values in no set. */
		nothing = combination.halves[0] == 0 && combination.halves[1] == 0;
		if (nothing)
			continue;
		class = find_class(arena, &table, classes, &combination, &step->first);
		if (!class)
			return -ENOMEM;
		step->class = class->id;
	}
	enter_classes(classes, l4);
	return 0;
}

uint64_t value_classes_hash(const struct value_classes *classes, uint64_t hash)
{
	for (size_t i = 0; i < classes->nr_steps; i++)
		hash = hash_word(hash,
				 (uint64_t)classes->steps[i].value << 32 | classes->steps[i].class);
	return hash_mix(hash_word(hash, classes->nr_steps));
}
