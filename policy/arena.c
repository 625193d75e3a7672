// SPDX-License-Identifier: GPL-2.0
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"

#define BLOCK_BYTES (64U << 10)
#define ALIGNMENT   alignof(max_align_t)

struct arena_block {
	struct arena_block *next;
	size_t used;
	size_t room;
	alignas(max_align_t) unsigned char bytes[];
};

void arena_free(struct arena *arena)
{
	struct arena_block *next;

	for (struct arena_block *block = arena->blocks; block; block = next) {
		next = block->next;
		free(block);
	}
	arena->blocks = NULL;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
	struct arena_block *block = arena->blocks;
	size_t room;
	void *memory;

	if (bytes > SIZE_MAX / 2)
		return NULL;
	bytes = (bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
	if (!block || bytes > block->room - block->used) {
		room = bytes > BLOCK_BYTES / 4 ? bytes : BLOCK_BYTES;
		/* calloc, since the pages of a big block come zeroed from the kernel. */
		block = calloc(1, sizeof(*block) + room);
		if (!block)
			return NULL;
		block->room = room;
		if (room == bytes && arena->blocks) {
			/* Full at once: keep filling the block before it. */
			block->next = arena->blocks->next;
			arena->blocks->next = block;
		} else {
			block->next = arena->blocks;
			arena->blocks = block;
		}
	}
	memory = block->bytes + block->used;
	block->used += bytes;
	return memory;
}

char *arena_copy(struct arena *arena, const char *text, size_t bytes)
{
	char *copy = arena_alloc(arena, bytes + 1);

	if (copy && bytes)
		memcpy(copy, text, bytes);
	return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list arguments;
	char *text;
	int length;

	va_start(arguments, format);
	length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (length < 0)
		return NULL;
	text = arena_alloc(arena, (size_t)length + 1);
	if (!text)
		return NULL;
	va_start(arguments, format);
	vsnprintf(text, (size_t)length + 1, format, arguments);
	va_end(arguments);
	return text;
}

void *list_push_bytes(struct arena *arena, void **items, size_t *nr, size_t *room, size_t bytes)
{
	size_t more;
	void *moved, *last;

	if (*nr == *room) {
		/* Most lists of a policy have one item: what a rule is from, and to, and for. */
		more = *room ? 2 * *room : 1;
		moved = arena ? arena_alloc(arena, more * bytes) : realloc(*items, more * bytes);
		if (!moved)
			return NULL;
		if (arena && *nr)
			memcpy(moved, *items, *nr * bytes);
		*items = moved;
		*room = more;
	}
	last = (unsigned char *)*items + (*nr)++ * bytes;
	if (!arena)
		memset(last, 0, bytes);
	return last;
}
