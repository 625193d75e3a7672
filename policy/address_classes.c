// SPDX-License-Identifier: GPL-2.0
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address_classes.h"
#include "table.h"

struct class
{
	uint32_t id;
	uint32_t nr;
	uint32_t sets[]; /* sorted */
};

struct builder {
	struct arena *arena;
	struct table by_sets; /* sets -> class */
	struct table by_step; /* class of the enclosing prefix, sets -> class */
	struct {
		struct class **items;
		size_t nr;
		size_t room;
	} classes;
	/* What encloses the current prefix, the outermost first. A family knows only its own: 0.0.0.0/0 is all of IPv4
	 * and ::/0 all of IPv6, though v4-mapped addresses lie within ::/0. */
	struct enclosing {
		struct {
			const struct prefix_entry *prefix;
			struct class *class;
		} stack[DFW_ADDR_BITS + 1];
		size_t nr;
	} families[2];
	uint32_t *step; /* key for by_step: room for all sets, and one */
};

struct prefix_entry prefix_entry(const struct dfw_addr *address, uint32_t bits, uint32_t set)
{
	struct prefix_entry entry = {.bits = bits, .set = set};

	memcpy(&entry.high, address->bytes, 8);
	memcpy(&entry.low, address->bytes + 8, 8);
	entry.high = be64toh(entry.high);
	entry.low = be64toh(entry.low);
	return entry;
}

static int compare_entries(const void *a, const void *b)
{
	const struct prefix_entry *left = a, *right = b;

	if (left->high != right->high)
		return left->high < right->high ? -1 : 1;
	if (left->low != right->low)
		return left->low < right->low ? -1 : 1;
	if (left->bits != right->bits)
		return left->bits < right->bits ? -1 : 1;
	return (left->set > right->set) - (left->set < right->set);
}

#define V4_MAPPED_LOW 0x0000ffff00000000ULL

static bool is_v4(const struct prefix_entry *entry)
{
	return entry->bits >= DFW_V4_PREFIX_BITS && entry->high == 0 &&
	       entry->low >> 32 == V4_MAPPED_LOW >> 32;
}

static bool contains(const struct prefix_entry *outer, const struct prefix_entry *inner)
{
	uint64_t high = outer->high ^ inner->high, low = outer->low ^ inner->low;

	if (outer->bits > inner->bits)
		return false;
	if (outer->bits <= 64)
		return outer->bits == 0 || high >> (64 - outer->bits) == 0;
	return high == 0 && low >> (128 - outer->bits) == 0;
}

/* The class of exactly these sets. */
static struct class *intern(struct builder *builder, const uint32_t *sets, uint32_t nr)
{
	struct class *class = table_find(&builder->by_sets, sets, nr * sizeof(*sets));
	struct class **slot;

	if (class)
		return class;
	class = arena_alloc(builder->arena, sizeof(*class) + nr * sizeof(*sets));
	slot = list_push(builder->arena, &builder->classes);
	if (!class || !slot)
		return NULL;
	class->id = (uint32_t)builder->classes.nr - 1;
	class->nr = nr;
	if (nr)
		memcpy(class->sets, sets, nr * sizeof(*sets));
	*slot = class;
	return table_add(builder->arena, &builder->by_sets, class->sets, nr * sizeof(*sets), class);
}

/* The class of the outer one's sets and `nr` more, which are sorted. A group of 100,000 hosts asks the same again and
 * again, so answers are kept. */
static struct class *join(struct builder *builder, struct class *outer,
			  const struct prefix_entry *more, size_t nr)
{
	uint32_t *sets, *key, taken = 0, joined = 0;
	struct class *class;
	size_t bytes = (nr + 1) * sizeof(*sets);

	builder->step[0] = outer->id;
	for (size_t i = 0; i < nr; i++)
		builder->step[i + 1] = more[i].set;
	class = table_find(&builder->by_step, builder->step, bytes);
	if (class)
		return class;

	sets = arena_alloc(builder->arena, (outer->nr + nr) * sizeof(*sets));
	key = arena_alloc(builder->arena, bytes);
	if (!sets || !key)
		return NULL;
	memcpy(key, builder->step, bytes);
	for (size_t i = 0; i < nr; i++) {
		while (taken < outer->nr && outer->sets[taken] < more[i].set)
			sets[joined++] = outer->sets[taken++];
		if (taken == outer->nr || outer->sets[taken] != more[i].set)
			sets[joined++] = more[i].set;
	}
	while (taken < outer->nr)
		sets[joined++] = outer->sets[taken++];
	class = intern(builder, sets, joined);
	return class ? table_add(builder->arena, &builder->by_step, key, bytes, class) : NULL;
}

static struct compiled_address compiled_address(const struct prefix_entry *entry, uint32_t class)
{
	struct compiled_address compiled = {.prefix_bits = entry->bits, .class = class};
	uint64_t high = htobe64(entry->high), low = htobe64(entry->low);

	memcpy(compiled.address.bytes, &high, 8);
	memcpy(compiled.address.bytes + 8, &low, 8);
	return compiled;
}

/* Keeps IPv4 addresses that are in no IPv4 prefix from matching an IPv6 prefix such as ::/0 by their mapped form. */
static void cut_off_v4(struct compiled *compiled)
{
	const struct prefix_entry v4 = {.low = V4_MAPPED_LOW, .bits = DFW_V4_PREFIX_BITS};
	const struct compiled_address cut = compiled_address(&v4, 0);
	size_t at = 0;
	bool needed = false;

	for (; at < compiled->nr_prefixes; at++) {
		const struct compiled_address *prefix = &compiled->prefixes[at];
		const struct prefix_entry entry =
			prefix_entry(&prefix->address, prefix->prefix_bits, 0);

		if (entry.high > v4.high || (entry.high == v4.high && entry.low > v4.low) ||
		    (entry.high == v4.high && entry.low == v4.low && entry.bits >= v4.bits)) {
			needed &= entry.high != v4.high || entry.low != v4.low ||
				  entry.bits != v4.bits;
			break;
		}
		needed |= contains(&entry, &v4);
	}
	if (!needed)
		return;
	memmove(&compiled->prefixes[at + 1], &compiled->prefixes[at],
		(compiled->nr_prefixes - at) * sizeof(*compiled->prefixes));
	compiled->prefixes[at] = cut;
	compiled->nr_prefixes++;
}

/* Walks the prefixes in order, an outer one before those within it. */
static int walk(struct builder *builder, const struct prefix_entries *entries,
		struct compiled *compiled)
{
	struct class *nothing = intern(builder, NULL, 0);
	size_t nr;

	if (!nothing)
		return -ENOMEM;
	for (size_t i = 0; i < entries->nr; i += nr) {
		const struct prefix_entry *entry = &entries->items[i];
		struct enclosing *enclosing = &builder->families[is_v4(entry)];
		struct class *outer, *class;
		size_t unique = 1;

		/* All sets of this prefix; one that stands twice in a set counts once. */
		for (nr = 1; i + nr < entries->nr; nr++) {
			const struct prefix_entry *next = &entries->items[i + nr];

			if (next->high != entry->high || next->low != entry->low ||
			    next->bits != entry->bits)
				break;
			if (next->set != entries->items[i + unique - 1].set)
				entries->items[i + unique++].set = next->set;
		}
		while (enclosing->nr &&
		       !contains(enclosing->stack[enclosing->nr - 1].prefix, entry))
			enclosing->nr--;
		outer = enclosing->nr ? enclosing->stack[enclosing->nr - 1].class : nothing;
		class = join(builder, outer, entry, unique);
		if (!class)
			return -ENOMEM;
		enclosing->stack[enclosing->nr].prefix = entry;
		enclosing->stack[enclosing->nr++].class = class;
		/* It says no more than what encloses it. */
		if (class == outer)
			continue;
		if (entry->bits == DFW_ADDR_BITS)
			compiled->exact[compiled->nr_exact++] = compiled_address(entry, class->id);
		else
			compiled->prefixes[compiled->nr_prefixes++] =
				compiled_address(entry, class->id);
	}
	return 0;
}

/* Turns "sets of each class" into both pairs of lists. */
static int list_memberships(const struct builder *builder, uint32_t nr_sets,
			    struct address_classes *classes)
{
	struct number_lists *sets_of = &classes->sets_of, *classes_of = &classes->classes_of;
	uint32_t nr = (uint32_t)builder->classes.nr;
	size_t total = 0;

	for (uint32_t i = 0; i < nr; i++)
		total += builder->classes.items[i]->nr;
	if (total > UINT32_MAX)
		return -ENOMEM;
	classes->nr = nr;
	sets_of->begin = arena_alloc(builder->arena, (nr + 1) * sizeof(uint32_t));
	sets_of->items = arena_alloc(builder->arena, total * sizeof(uint32_t));
	classes_of->begin = arena_alloc(builder->arena, (nr_sets + 2) * sizeof(uint32_t));
	classes_of->items = arena_alloc(builder->arena, total * sizeof(uint32_t));
	if (!sets_of->begin || !sets_of->items || !classes_of->begin || !classes_of->items)
		return -ENOMEM;

	for (uint32_t i = 0; i < nr; i++) {
		const struct class *class = builder->classes.items[i];

		sets_of->begin[i + 1] = sets_of->begin[i] + class->nr;
		if (class->nr)
			memcpy(&sets_of->items[sets_of->begin[i]], class->sets,
			       class->nr * sizeof(uint32_t));
		for (uint32_t j = 0; j < class->nr; j++)
			classes_of->begin[class->sets[j] + 2]++;
	}
	/* begin[set + 1] first moves along as the end of the list, and so ends up as the beginning of the next. */
	for (uint32_t i = 0; i < nr_sets; i++)
		classes_of->begin[i + 2] += classes_of->begin[i + 1];
	for (uint32_t i = 0; i < nr; i++)
		for (uint32_t j = sets_of->begin[i]; j < sets_of->begin[i + 1]; j++)
			classes_of->items[classes_of->begin[sets_of->items[j] + 1]++] = i;
	return 0;
}

int address_classes_build(struct arena *arena, struct prefix_entries *entries, uint32_t nr_sets,
			  struct compiled *compiled, struct address_classes *classes)
{
	struct builder *builder = arena_alloc(arena, sizeof(*builder));
	int r;

	compiled->exact = calloc(entries->nr + 1, sizeof(*compiled->exact));
	compiled->prefixes = calloc(entries->nr + 1, sizeof(*compiled->prefixes));
	if (!builder || !compiled->exact || !compiled->prefixes)
		return -ENOMEM;
	builder->arena = arena;
	builder->step = arena_alloc(arena, (nr_sets + 1) * sizeof(*builder->step));
	if (!builder->step)
		return -ENOMEM;

	if (entries->nr)
		qsort(entries->items, entries->nr, sizeof(*entries->items), compare_entries);
	r = walk(builder, entries, compiled);
	if (r < 0)
		return r;
	cut_off_v4(compiled);
	compiled->nr_address_classes = (uint32_t)builder->classes.nr;
	return list_memberships(builder, nr_sets, classes);
}
