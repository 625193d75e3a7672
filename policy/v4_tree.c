// SPDX-License-Identifier: GPL-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "util.h"
#include "v4_tree.h"

#define V4_BITS 32

/* A prefix that has an element. */
struct item {
	uint32_t address;
	uint32_t bits; /* of 32 */
	uint32_t class;
};

struct items {
	struct item *items; /* sorted, outer ones before those in them */
	size_t nr;
	size_t room;
};

/* Where entries are written, and noted if they were there before. */
struct painter {
	struct v4_tree *tree;
	struct v4_changes *changes; /* NULL: nothing is noted */
};

/* ---- Entries ----------------------------------------------------------------------------------------------------- */

static int note(struct v4_changes *changes, uint32_t node, uint32_t entry, uint32_t former,
		uint32_t value)
{
	struct v4_change *change = list_push(NULL, changes);

	if (!change)
		return -ENOMEM;
	*change = (struct v4_change){node, entry, former, value};
	return 0;
}

static int set_entry(struct painter *painter, uint32_t node, uint32_t entry, uint32_t value)
{
	uint32_t *place = &painter->tree->nodes[node].entries[entry], former = *place;

	if (former == value)
		return 0;
	*place = value;
	/* Nodes that nobody sees yet are written as they are in the end. */
	if (!painter->changes || node >= painter->changes->first_new)
		return 0;
	return note(painter->changes, node, entry, former, value);
}

static int grow(struct v4_tree *tree)
{
	size_t room = tree->room ? 2 * tree->room : 2 * DFW_V4_ROOTS;
	struct dfw_v4_node *moved;

	if (tree->closed)
		return -ENOSPC;
	moved = realloc(tree->nodes, room * sizeof(*moved));
	if (!moved)
		return -ENOMEM;
	tree->nodes = moved;
	tree->room = room;
	return 0;
}

/* A node that says the same as the entry it is to take the place of. */
static int make_node(struct v4_tree *tree, uint32_t class, uint32_t *node)
{
	int r = tree->nr == tree->room ? grow(tree) : 0;

	if (r < 0)
		return r;
	*node = (uint32_t)tree->nr++;
	for (size_t i = 0; i < DFW_V4_ENTRIES; i++)
		tree->nodes[*node].entries[i] = class;
	return 0;
}

/* ---- Painting ---------------------------------------------------------------------------------------------------- */

/* What an entry is to say: a class, and which prefixes lie deeper. */
struct plan {
	uint32_t class[DFW_V4_ENTRIES];
	const struct item *deeper[DFW_V4_ENTRIES];
	size_t nr_deeper[DFW_V4_ENTRIES];
};

/* `bits` are those that lead to the node. */
static uint32_t entry_of(uint32_t address, uint32_t bits)
{
	return address >> (V4_BITS - bits - DFW_V4_NODE_BITS) & (DFW_V4_ENTRIES - 1);
}

/* How many entries of a node behind `bits` the prefix covers. */
static uint32_t span_of(uint32_t prefix_bits, uint32_t bits)
{
	return prefix_bits <= bits ? DFW_V4_ENTRIES : 1U << (bits + DFW_V4_NODE_BITS - prefix_bits);
}

/* All prefixes lie in the node. An outer one stands before those in it, which say the more. */
static void make_plan(struct plan *plan, uint32_t bits, const struct item *items, size_t nr,
		      uint32_t class)
{
	for (size_t i = 0; i < DFW_V4_ENTRIES; i++)
		plan->class[i] = class;
	memset(plan->nr_deeper, 0, sizeof(plan->nr_deeper));
	for (size_t i = 0; i < nr; i++) {
		uint32_t entry = items[i].bits <= bits ? 0 : entry_of(items[i].address, bits);

		if (items[i].bits <= bits + DFW_V4_NODE_BITS) {
			for (uint32_t n = 0; n < span_of(items[i].bits, bits); n++)
				plan->class[entry + n] = items[i].class;
		} else if (plan->nr_deeper[entry]++ == 0) {
			plan->deeper[entry] = &items[i];
		}
	}
}

static int paint(struct painter *painter, uint32_t node, uint32_t bits, uint32_t first, uint32_t nr,
		 const struct plan *plan);

/* Brings an entry, and what is below it, to what it is to say. A new node is made as it must be before it is seen. */
static int paint_entry(struct painter *painter, uint32_t node, uint32_t bits, uint32_t entry,
		       const struct plan *plan)
{
	uint32_t value = painter->tree->nodes[node].entries[entry], child;
	bool has_child = value & DFW_V4_CHILD;
	struct plan below;
	int r = 0;

	if (!has_child && plan->nr_deeper[entry] == 0)
		return set_entry(painter, node, entry, plan->class[entry]);
	child = value & ~DFW_V4_CHILD;
	if (!has_child)
		r = make_node(painter->tree, value, &child);
	if (r < 0)
		return r;
	make_plan(&below, bits + DFW_V4_NODE_BITS, plan->deeper[entry], plan->nr_deeper[entry],
		  plan->class[entry]);
	r = paint(painter, child, bits + DFW_V4_NODE_BITS, 0, DFW_V4_ENTRIES, &below);
	return r < 0 ? r : set_entry(painter, node, entry, child | DFW_V4_CHILD);
}

static int paint(struct painter *painter, uint32_t node, uint32_t bits, uint32_t first, uint32_t nr,
		 const struct plan *plan)
{
	int r = 0;

	for (uint32_t i = first; i < first + nr && r == 0; i++)
		r = paint_entry(painter, node, bits, i, plan);
	return r;
}

/* Those of the prefixes that lie in the root, or around it. */
static size_t in_root(const struct items *items, size_t from, uint32_t root)
{
	size_t to = from;

	while (to < items->nr && items->items[to].address >> (V4_BITS - DFW_V4_ROOT_BITS) <= root)
		to++;
	return to - from;
}

/* A prefix of at most as many bits as lead to a root. `items` may begin with some that are around several roots. */
static int paint_roots(struct painter *painter, uint32_t address, uint32_t bits,
		       const struct items *items, uint32_t class)
{
	uint32_t first = address >> (V4_BITS - DFW_V4_ROOT_BITS);
	uint32_t nr = 1U << (DFW_V4_ROOT_BITS - bits);
	uint32_t *classes = malloc(nr * sizeof(*classes));
	size_t at = 0;
	int r = 0;

	if (!classes)
		return -ENOMEM;
	for (uint32_t i = 0; i < nr; i++)
		classes[i] = class;
	for (size_t i = 0; i < items->nr; i++) {
		const struct item *item = &items->items[i];
		uint32_t root = item->address >> (V4_BITS - DFW_V4_ROOT_BITS);

		for (uint32_t n = 0;
		     item->bits <= DFW_V4_ROOT_BITS && n < 1U << (DFW_V4_ROOT_BITS - item->bits);
		     n++)
			classes[root + n - first] = item->class;
	}
	for (uint32_t i = 0; i < nr && r == 0; i++) {
		size_t within = in_root(items, at, first + i);
		struct plan plan;

		while (within && items->items[at].bits <= DFW_V4_ROOT_BITS) {
			at++;
			within--;
		}
		make_plan(&plan, DFW_V4_ROOT_BITS, &items->items[at], within, classes[i]);
		at += within;
		r = paint(painter, first + i, DFW_V4_ROOT_BITS, 0, DFW_V4_ENTRIES, &plan);
	}
	free(classes);
	return r;
}

/* A longer one: down to the node that it has entries in. */
static int paint_prefix(struct painter *painter, uint32_t address, uint32_t prefix_bits,
			const struct items *items, uint32_t class)
{
	uint32_t node = address >> (V4_BITS - DFW_V4_ROOT_BITS), bits = DFW_V4_ROOT_BITS;
	uint32_t hook_node = 0, hook_entry = 0, hook_value = 0;
	bool hooked = true;
	struct plan plan;
	int r = 0;

	for (; prefix_bits > bits + DFW_V4_NODE_BITS; bits += DFW_V4_NODE_BITS) {
		uint32_t entry = entry_of(address, bits);
		uint32_t value = painter->tree->nodes[node].entries[entry], child;

		if (value & DFW_V4_CHILD) {
			node = value & ~DFW_V4_CHILD;
			continue;
		}
		r = make_node(painter->tree, value, &child);
		if (r < 0)
			return r;
		/* The first of the new nodes is shown when all below it is done. */
		if (hooked) {
			hooked = false;
			hook_node = node;
			hook_entry = entry;
			hook_value = child | DFW_V4_CHILD;
		} else {
			painter->tree->nodes[node].entries[entry] = child | DFW_V4_CHILD;
		}
		node = child;
	}
	make_plan(&plan, bits, items->items, items->nr, class);
	r = paint(painter, node, bits, entry_of(address, bits), span_of(prefix_bits, bits), &plan);
	if (r == 0 && !hooked)
		r = set_entry(painter, hook_node, hook_entry, hook_value);
	return r;
}

/* ---- The tree ---------------------------------------------------------------------------------------------------- */

static uint32_t v4_of(const struct dfw_addr *address)
{
	uint32_t word;

	memcpy(&word, address->bytes + 12, sizeof(word));
	return ntohl(word);
}

static int list_item(void *data, const struct dfw_addr *address, uint32_t bits, uint32_t class)
{
	struct items *items = data;
	struct item *item;

	if (bits == DFW_ADDR_BITS)
		return 0;
	item = list_push(NULL, items);
	if (!item)
		return -ENOMEM;
	*item = (struct item){v4_of(address), bits - DFW_V4_PREFIX_BITS, class};
	return 0;
}

static int paint_all(struct painter *painter, const struct address_space *space,
		     const struct dfw_addr *address, uint32_t bits)
{
	struct items items = {};
	uint32_t class, v4_bits = bits - DFW_V4_PREFIX_BITS;
	int r = address_space_within(space, address, bits, list_item, &items, &class);

	if (r == 0)
		r = v4_bits <= DFW_V4_ROOT_BITS
			    ? paint_roots(painter, v4_of(address), v4_bits, &items, class)
			    : paint_prefix(painter, v4_of(address), v4_bits, &items, class);
	free(items.items);
	return r;
}

int v4_tree_build(struct v4_tree *tree, const struct address_space *space)
{
	static const struct dfw_addr all = {.bytes = {[10] = 0xff, 0xff}};
	struct painter painter = {.tree = tree};
	int r = grow(tree);

	if (r < 0)
		return r;
	memset(tree->nodes, 0, DFW_V4_ROOTS * sizeof(*tree->nodes));
	tree->nr = DFW_V4_ROOTS;
	return paint_all(&painter, space, &all, DFW_V4_PREFIX_BITS);
}

int v4_tree_close(struct v4_tree *tree, size_t spare)
{
	size_t room = tree->nr + spare;
	struct dfw_v4_node *moved = realloc(tree->nodes, room * sizeof(*moved));

	if (!moved)
		return -ENOMEM;
	memset(&moved[tree->nr], 0, spare * sizeof(*moved));
	tree->nodes = moved;
	tree->room = room;
	tree->closed = true;
	return 0;
}

int v4_tree_change(struct v4_tree *tree, const struct address_space *space,
		   const struct dfw_addr *address, uint32_t bits, struct v4_changes *changes)
{
	struct painter painter = {.tree = tree, .changes = changes};

	return paint_all(&painter, space, address, bits);
}

uint32_t v4_tree_class(const struct v4_tree *tree, const struct dfw_addr *address)
{
	uint32_t v4 = v4_of(address), at = v4 >> (V4_BITS - DFW_V4_ROOT_BITS);

	for (uint32_t bits = DFW_V4_ROOT_BITS; bits < V4_BITS; bits += DFW_V4_NODE_BITS) {
		at = tree->nodes[at].entries[entry_of(v4, bits)];
		if (!(at & DFW_V4_CHILD))
			return at;
		at &= ~DFW_V4_CHILD;
	}
	return 0;
}
