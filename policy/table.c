// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdbool.h>

#include "hash.h"
#include "table.h"

struct table_slot {
	const void *key;
	size_t bytes;
	uint64_t hash;
	void *thing; /* NULL: the slot is free */
};

/* The slot of the key, or the free one where it would go. */
static struct table_slot *find(const struct table *table, const void *key, size_t bytes,
			       uint64_t hash)
{
	for (size_t i = hash & (table->room - 1);; i = (i + 1) & (table->room - 1)) {
		struct table_slot *slot = &table->slots[i];

		if (!slot->thing || (slot->hash == hash && slot->bytes == bytes &&
				     memcmp(slot->key, key, bytes) == 0))
			return slot;
	}
}

void *table_find(const struct table *table, const void *key, size_t bytes)
{
	if (table->room == 0)
		return NULL;
	return find(table, key, bytes, hash_bytes(0, key, bytes))->thing;
}

static int grow(struct arena *arena, struct table *table)
{
	struct table larger = {.nr = table->nr, .room = table->room ? 2 * table->room : 64};

	larger.slots = arena_alloc(arena, larger.room * sizeof(*larger.slots));
	if (!larger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < table->room; i++) {
		const struct table_slot *slot = &table->slots[i];

		if (slot->thing)
			*find(&larger, slot->key, slot->bytes, slot->hash) = *slot;
	}
	*table = larger;
	return 0;
}

void *table_add(struct arena *arena, struct table *table, const void *key, size_t bytes,
		void *thing)
{
	uint64_t hash = hash_bytes(0, key, bytes);
	struct table_slot *slot;

	/* At most three quarters full, so that a search meets a free slot soon. */
	if (4 * (table->nr + 1) > 3 * table->room && grow(arena, table) < 0)
		return NULL;
	slot = find(table, key, bytes, hash);
	if (!slot->thing) {
		*slot = (struct table_slot){key, bytes, hash, thing};
		table->nr++;
	}
	return slot->thing;
}
