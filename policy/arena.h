/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_ARENA_H
#define POLICY_ARENA_H

#include <stddef.h>

/*
 * Memory of one owner, given back all at once. A policy is built of many small things that live and die together, and
 * a parser that gives up in the middle of a rule must not have to know which of them it holds.
 */
struct arena {
	struct arena_block *blocks;
};

void arena_free(struct arena *arena);

/* Zeroed and aligned for anything; NULL: no memory. */
void *arena_alloc(struct arena *arena, size_t bytes);
char *arena_copy(struct arena *arena, const char *text, size_t bytes);
char *arena_printf(struct arena *arena, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A list is a struct { type *items; size_t nr; size_t room; }, zeroed when empty. Returns a new, zeroed last item. Without an
 * arena (NULL) the items are malloc'd, and the caller's to free. */
#define list_push(arena, list)                                                                     \
	((__typeof__((list)->items))list_push_bytes((arena), (void **)&(list)->items, &(list)->nr, \
						    &(list)->room, sizeof(*(list)->items)))
void *list_push_bytes(struct arena *arena, void **items, size_t *nr, size_t *room, size_t bytes);

#endif
