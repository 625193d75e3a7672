// SPDX-License-Identifier: GPL-2.0
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "address_space.h"
#include "util.h"

/* Whole words compare in the order of addresses. */
struct prefix {
	uint64_t high;
	uint64_t low;
	uint32_t bits; /* of 128; those behind are 0 */
};

/* A set that names a prefix, and how often: by two groups in it, by the policy and at run time. */
struct own_set {
	uint32_t set;
	uint32_t times;
};

struct address_node {
	struct prefix prefix;
	bool listed; /* has an element */
	bool owned;  /* is somebody's own address */
	uint32_t nr_own;
	uint32_t room_own; /* 0: `one` */
	union {
		struct own_set one;
		struct own_set *many; /* malloc'd, sorted */
	};
	const struct address_class *class; /* of a listed one */
	struct address_node *children[2];
};

/* The prefix of the v4-mapped addresses. */
static const struct prefix v4_mapped = {.low = 0x0000ffff00000000ULL, .bits = DFW_V4_PREFIX_BITS};

/* ---- Prefixes ---------------------------------------------------------------------------------------------------- */

static struct prefix prefix_of(const struct dfw_addr *address, uint32_t bits)
{
	struct prefix prefix = {.bits = bits};

	memcpy(&prefix.high, address->bytes, 8);
	memcpy(&prefix.low, address->bytes + 8, 8);
	prefix.high = be64toh(prefix.high);
	prefix.low = be64toh(prefix.low);
	return prefix;
}

static struct dfw_addr address_of(const struct prefix *prefix)
{
	uint64_t high = htobe64(prefix->high), low = htobe64(prefix->low);
	struct dfw_addr address;

	memcpy(address.bytes, &high, 8);
	memcpy(address.bytes + 8, &low, 8);
	return address;
}

/* How many leading bits both have in common, at most the length of the shorter. */
static uint32_t common_bits(const struct prefix *a, const struct prefix *b)
{
	uint32_t most = a->bits < b->bits ? a->bits : b->bits, common;

	if (a->high != b->high)
		common = (uint32_t)__builtin_clzll(a->high ^ b->high);
	else if (a->low != b->low)
		common = 64 + (uint32_t)__builtin_clzll(a->low ^ b->low);
	else
		common = 128;
	return common < most ? common : most;
}

static bool contains(const struct prefix *outer, const struct prefix *inner)
{
	return common_bits(outer, inner) == outer->bits;
}

static size_t bit_behind(const struct prefix *prefix, uint32_t bits)
{
	return bits < 64 ? prefix->high >> (63 - bits) & 1 : prefix->low >> (127 - bits) & 1;
}

static struct prefix cut(const struct prefix *prefix, uint32_t bits)
{
	struct prefix shorter = {.bits = bits};

	shorter.high = bits == 0   ? 0
		       : bits < 64 ? prefix->high & ~0ULL << (64 - bits)
				   : prefix->high;
	shorter.low = bits <= 64   ? 0
		      : bits < 128 ? prefix->low & ~0ULL << (128 - bits)
				   : prefix->low;
	return shorter;
}

static size_t family_of(const struct prefix *prefix)
{
	return contains(&v4_mapped, prefix);
}

/* ---- Nodes ------------------------------------------------------------------------------------------------------- */

static struct own_set *own_sets(struct address_node *node)
{
	return node->room_own ? node->many : &node->one;
}

static void node_free(struct address_node *node)
{
	if (node && node->room_own)
		free(node->many);
	free(node);
}

static void tree_free(struct address_node *node)
{
	if (!node)
		return;
	tree_free(node->children[0]);
	tree_free(node->children[1]);
	node_free(node);
}

static struct address_node *node_new(const struct prefix *prefix)
{
	struct address_node *node = calloc(1, sizeof(*node));

	if (node)
		node->prefix = *prefix;
	return node;
}

static struct address_node *node_find(const struct address_space *space,
				      const struct prefix *prefix)
{
	struct address_node *node = space->families[family_of(prefix)];

	while (node && contains(&node->prefix, prefix) && node->prefix.bits < prefix->bits)
		node = node->children[bit_behind(prefix, node->prefix.bits)];
	return node && node->prefix.bits == prefix->bits && contains(&node->prefix, prefix) ? node
											    : NULL;
}

/* The node of the prefix, made when it is not there. *around is the innermost listed one around it, or NULL. */
static struct address_node *node_make(struct address_space *space, const struct prefix *prefix,
				      const struct address_node **around)
{
	struct address_node **place = &space->families[family_of(prefix)], *new, *fork;
	struct prefix shared;

	*around = NULL;
	while (*place && contains(&(*place)->prefix, prefix)) {
		if ((*place)->prefix.bits == prefix->bits)
			return *place;
		if ((*place)->listed)
			*around = *place;
		place = &(*place)->children[bit_behind(prefix, (*place)->prefix.bits)];
	}
	new = node_new(prefix);
	if (!new || !*place) {
		*place = new;
		return new;
	}
	shared = cut(prefix, common_bits(&(*place)->prefix, prefix));
	fork = new;
	if (shared.bits < prefix->bits) {
		fork = node_new(&shared);
		if (!fork) {
			free(new);
			return NULL;
		}
		fork->children[bit_behind(prefix, shared.bits)] = new;
	}
	fork->children[bit_behind(&(*place)->prefix, shared.bits)] = *place;
	*place = fork;
	return new;
}

/* Takes the node out, and the fork above it that has lost its sense. */
static void node_remove(struct address_space *space, const struct prefix *prefix)
{
	struct address_node **above = NULL, **place = &space->families[family_of(prefix)], *gone;

	for (;;) {
		struct address_node *node = *place;
		struct address_node *child =
			node->children[0] ? node->children[0] : node->children[1];

		if (node->prefix.bits < prefix->bits) {
			above = place;
			place = &node->children[bit_behind(prefix, node->prefix.bits)];
			continue;
		}
		if (node->children[0] && node->children[1])
			return; /* it goes on as a fork */
		*place = child;
		node_free(node);
		break;
	}
	gone = above ? *above : NULL;
	if (!gone || gone->nr_own || gone->listed || gone->owned ||
	    (gone->children[0] && gone->children[1]))
		return;
	*above = gone->children[0] ? gone->children[0] : gone->children[1];
	node_free(gone);
}

/* Changes how often a set names the prefix. *changed: from or to never. */
static int node_count(struct address_node *node, uint32_t set, bool more, bool *changed)
{
	struct own_set *sets = own_sets(node), *moved;
	uint32_t place = node->nr_own, room;

	/* Mostly a new one goes to the end: sets are entered in their order. */
	while (place > 0 && sets[place - 1].set >= set)
		place--;
	if (place < node->nr_own && sets[place].set == set) {
		sets[place].times += more ? 1 : -1U;
		if (sets[place].times > 0)
			return 0;
		*changed = true;
		node->nr_own--;
		memmove(&sets[place], &sets[place + 1], (node->nr_own - place) * sizeof(*sets));
		return 0;
	}
	if (!more)
		return 0;
	*changed = true;
	if (node->nr_own == (node->room_own ? node->room_own : 1)) {
		room = 2 * node->nr_own + 2;
		moved = malloc(room * sizeof(*moved));
		if (!moved)
			return -ENOMEM;
		memcpy(moved, sets, node->nr_own * sizeof(*moved));
		if (node->room_own)
			free(node->many);
		node->many = sets = moved;
		node->room_own = room;
	}
	memmove(&sets[place + 1], &sets[place], (node->nr_own - place) * sizeof(*sets));
	sets[place] = (struct own_set){.set = set, .times = 1};
	node->nr_own++;
	return 0;
}

/* ---- Classes ----------------------------------------------------------------------------------------------------- */

/* The class of exactly these sets. */
static int intern(struct address_space *space, const uint32_t *sets, uint32_t nr,
		  const struct address_class **class)
{
	struct address_class *new = table_find(&space->by_sets, sets, nr * sizeof(*sets)), **slot;

	*class = new;
	if (new)
		return 0;
	if (space->classes.nr == space->most_classes)
		return -ENOSPC;
	new = arena_alloc(&space->arena, sizeof(*new) + nr * sizeof(*sets));
	slot = list_push(&space->arena, &space->classes);
	if (!new || !slot)
		return -ENOMEM;
	new->id = (uint32_t)space->classes.nr - 1;
	new->nr = nr;
	if (nr)
		memcpy(new->sets, sets, nr * sizeof(*sets));
	*slot = new;
	*class = table_add(&space->arena, &space->by_sets, new->sets, nr * sizeof(*sets), new);
	return *class ? 0 : -ENOMEM;
}

/* The sets of `outer` and the node's own, both sorted, as one list. */
static uint32_t merge(const struct address_class *outer, struct address_node *node, uint32_t *sets)
{
	const struct own_set *own = own_sets(node);
	uint32_t taken = 0, nr = 0;

	for (uint32_t i = 0; i < node->nr_own; i++) {
		while (taken < outer->nr && outer->sets[taken] < own[i].set)
			sets[nr++] = outer->sets[taken++];
		if (taken == outer->nr || outer->sets[taken] != own[i].set)
			sets[nr++] = own[i].set;
	}
	while (taken < outer->nr)
		sets[nr++] = outer->sets[taken++];
	return nr;
}

static int reserve_step(struct address_space *space, size_t room)
{
	uint32_t *moved;

	if (room <= space->step_room)
		return 0;
	moved = realloc(space->step, 2 * room * sizeof(*moved));
	if (!moved)
		return -ENOMEM;
	space->step = moved;
	space->step_room = 2 * room;
	return 0;
}

/* The class of the node within `outer`. A group of 100,000 hosts asks the same again and again, so answers are kept. */
static int class_within(struct address_space *space, const struct address_class *outer,
			struct address_node *node, const struct address_class **class)
{
	const struct own_set *own = own_sets(node);
	size_t bytes = (node->nr_own + 1) * sizeof(uint32_t);
	_cleanup_free_ uint32_t *sets = NULL;
	uint32_t *key;
	int r;

	*class = outer;
	if (node->nr_own == 0)
		return 0;
	r = reserve_step(space, node->nr_own + 1);
	if (r < 0)
		return r;
	space->step[0] = outer->id;
	for (uint32_t i = 0; i < node->nr_own; i++)
		space->step[i + 1] = own[i].set;
	*class = table_find(&space->by_step, space->step, bytes);
	if (*class)
		return 0;

	sets = malloc((outer->nr + node->nr_own) * sizeof(*sets));
	key = arena_alloc(&space->arena, bytes);
	if (!sets || !key)
		return -ENOMEM;
	memcpy(key, space->step, bytes);
	r = intern(space, sets, merge(outer, node, sets), class);
	if (r < 0)
		return r;
	return table_add(&space->arena, &space->by_step, key, bytes, (void *)*class) ? 0 : -ENOMEM;
}

static const struct address_class *no_class(const struct address_space *space)
{
	return space->classes.items[0];
}

/* ---- Elements ---------------------------------------------------------------------------------------------------- */

static int note_change(struct address_changes *changes, const struct address_change *change)
{
	struct address_change *last = list_push(NULL, changes);

	if (!last)
		return -ENOMEM;
	*last = *change;
	return 0;
}

/* Lists the node with that class, or not any more (NULL). `changes` may be NULL. */
static int node_list(struct address_space *space, struct address_node *node,
		     const struct address_class *class, struct address_changes *changes)
{
	bool exact = node->prefix.bits == DFW_ADDR_BITS;
	size_t *nr = exact ? &space->nr_exact : &space->nr_prefixes;
	struct address_change change;

	if (class && !node->listed && *nr == (exact ? space->most_exact : space->most_prefixes))
		return -ENOSPC;
	change = (struct address_change){
		.address = address_of(&node->prefix),
		.prefix_bits = node->prefix.bits,
		.class = class ? class->id : 0,
		.former = node->listed ? node->class->id : 0,
		.listed = class,
		.was_listed = node->listed,
	};
	*nr += change.listed;
	*nr -= change.was_listed;
	node->listed = class;
	node->class = class;
	if (!changes || (!exact && family_of(&node->prefix)) ||
	    (change.listed == change.was_listed && change.class == change.former))
		return 0;
	return note_change(changes, &change);
}

static int bury_later(struct address_space *space, const struct dfw_addr *address)
{
	struct dfw_addr *grave = list_push(NULL, &space->graves);

	if (!grave)
		return -ENOMEM;
	*grave = *address;
	return 0;
}

/* Brings the elements of the node and of those in it to what they must be within `outer`. */
static int relist(struct address_space *space, struct address_node *node,
		  const struct address_class *outer, struct address_changes *changes)
{
	const struct address_class *class;
	int r = class_within(space, outer, node, &class);

	if (r < 0)
		return r;
	if (node->nr_own || (node->listed && node->prefix.bits == DFW_ADDR_BITS))
		r = node_list(space, node, class, changes);
	else if (node->listed)
		r = node_list(space, node, NULL, changes);
	for (size_t i = 0; i < 2 && r == 0; i++)
		if (node->children[i])
			r = relist(space, node->children[i], class, changes);
	return r;
}

/* ---- The space --------------------------------------------------------------------------------------------------- */

int address_space_init(struct address_space *space)
{
	const struct address_class *nothing;

	*space = (struct address_space){
		.most_classes = UINT32_MAX,
		.most_exact = SIZE_MAX,
		.most_prefixes = SIZE_MAX,
	};
	/* Class 0 is that of addresses in no set. */
	return intern(space, NULL, 0, &nothing);
}

void address_space_free(struct address_space *space)
{
	tree_free(space->families[0]);
	tree_free(space->families[1]);
	free(space->graves.items);
	free(space->step);
	arena_free(&space->arena);
}

int address_space_add(struct address_space *space, const struct dfw_addr *address, uint32_t bits,
		      uint32_t set)
{
	const struct prefix prefix = prefix_of(address, bits);
	const struct address_node *around;
	struct address_node *node = node_make(space, &prefix, &around);
	bool changed = false;

	return node ? node_count(node, set, true, &changed) : -ENOMEM;
}

int address_space_classify(struct address_space *space)
{
	int r = 0;

	for (size_t i = 0; i < 2 && r == 0; i++)
		if (space->families[i])
			r = relist(space, space->families[i], no_class(space), NULL);
	return r;
}

static int change_sets(struct address_node *node, const struct set_changes *sets, bool *changed)
{
	int r = 0;

	for (size_t i = 0; i < sets->nr_join && r == 0; i++)
		r = node_count(node, sets->join[i], true, changed);
	for (size_t i = 0; i < sets->nr_leave && r == 0; i++)
		r = node_count(node, sets->leave[i], false, changed);
	return r;
}

int address_space_change(struct address_space *space, const struct dfw_addr *address, uint32_t bits,
			 const struct set_changes *sets, struct address_changes *changes)
{
	const struct prefix prefix = prefix_of(address, bits);
	const struct address_node *around;
	struct address_node *node = node_make(space, &prefix, &around);
	bool changed = false;
	int r = node ? change_sets(node, sets, &changed) : -ENOMEM;

	if (r == 0 && changed)
		r = relist(space, node, around ? around->class : no_class(space), changes);
	if (r < 0 || node->nr_own)
		return r;
	if (node->listed && bits == DFW_ADDR_BITS)
		return changed ? bury_later(space, address) : 0;
	if (!node->listed && !node->owned)
		node_remove(space, &prefix);
	return 0;
}

int address_space_bury(struct address_space *space, size_t most, struct address_changes *changes)
{
	int r = 0;

	while (space->graves.nr && changes->nr < most && r == 0) {
		const struct dfw_addr *address = &space->graves.items[--space->graves.nr];
		const struct prefix prefix = prefix_of(address, DFW_ADDR_BITS);
		struct address_node *node = node_find(space, &prefix);

		if (!node || node->nr_own || !node->listed)
			continue;
		r = node_list(space, node, NULL, changes);
		if (!node->owned)
			node_remove(space, &prefix);
	}
	return r;
}

int address_space_own(struct address_space *space, const struct dfw_addr *address, bool owned)
{
	const struct prefix prefix = prefix_of(address, DFW_ADDR_BITS);
	const struct address_node *around;
	struct address_node *node = node_make(space, &prefix, &around);

	if (!node)
		return -ENOMEM;
	node->owned = owned;
	if (!owned && !node->listed)
		node_remove(space, &prefix);
	return 0;
}

bool address_space_owned(const struct address_space *space, const struct dfw_addr *address)
{
	const struct prefix prefix = prefix_of(address, DFW_ADDR_BITS);
	const struct address_node *node = node_find(space, &prefix);

	return node && node->owned;
}

/* The innermost listed node of the tree that holds the prefix. */
static const struct address_node *innermost(const struct address_node *node,
					    const struct prefix *prefix)
{
	const struct address_node *found = NULL;

	while (node && contains(&node->prefix, prefix)) {
		if (node->listed)
			found = node;
		if (node->prefix.bits == prefix->bits)
			break;
		node = node->children[bit_behind(prefix, node->prefix.bits)];
	}
	return found;
}

uint32_t address_space_class(const struct address_space *space, const struct dfw_addr *address)
{
	const struct prefix prefix = prefix_of(address, DFW_ADDR_BITS);
	const struct address_node *found = innermost(space->families[family_of(&prefix)], &prefix);

	return found ? found->class->id : 0;
}

bool address_space_exact(const struct address_space *space, const struct dfw_addr *address,
			 uint32_t *class)
{
	const struct prefix prefix = prefix_of(address, DFW_ADDR_BITS);
	const struct address_node *node = node_find(space, &prefix);

	if (!node || !node->listed)
		return false;
	*class = node->class->id;
	return true;
}

static int each_node(const struct address_node *node, address_space_visit *each, void *data)
{
	struct dfw_addr address;
	int r = 0;

	if (!node)
		return 0;
	if (node->listed) {
		address = address_of(&node->prefix);
		r = each(data, &address, node->prefix.bits, node->class->id);
	}
	if (r == 0)
		r = each_node(node->children[0], each, data);
	return r < 0 ? r : each_node(node->children[1], each, data);
}

int address_space_each(const struct address_space *space, address_space_visit *each, void *data)
{
	int r = each_node(space->families[0], each, data);

	return r < 0 ? r : each_node(space->families[1], each, data);
}

int address_space_within(const struct address_space *space, const struct dfw_addr *address,
			 uint32_t bits, address_space_visit *each, void *data, uint32_t *class)
{
	const struct prefix prefix = prefix_of(address, bits);
	const struct address_node *root = space->families[family_of(&prefix)], *node = root;
	const struct address_node *around = innermost(root, &prefix);
	int r;

	*class = around ? around->class->id : 0;
	while (node && node->prefix.bits < bits && contains(&node->prefix, &prefix))
		node = node->children[bit_behind(&prefix, node->prefix.bits)];
	if (!node || !contains(&prefix, &node->prefix))
		return 0;
	if (node->prefix.bits > bits)
		return each_node(node, each, data);
	r = each_node(node->children[0], each, data);
	return r < 0 ? r : each_node(node->children[1], each, data);
}
