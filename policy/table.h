/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_TABLE_H
#define POLICY_TABLE_H

/* A hash table from bytes to things. Zeroed when empty; it and its keys lie in an arena, keys are not copied. */

#include <string.h>

#include "arena.h"

struct table {
	struct table_slot *slots;
	size_t nr;
	size_t room;
};

/* Returns what has the key, or NULL. */
void *table_find(const struct table *table, const void *key, size_t bytes);
/* Returns `thing`, or what has the key already, or NULL for no memory. */
void *table_add(struct arena *arena, struct table *table, const void *key, size_t bytes,
		void *thing);

static inline void *table_find_name(const struct table *table, const char *name)
{
	return table_find(table, name, strlen(name));
}

static inline void *table_add_name(struct arena *arena, struct table *table, const char *name,
				   void *thing)
{
	return table_add(arena, table, name, strlen(name), thing);
}

#endif
