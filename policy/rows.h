/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_ROWS_H
#define POLICY_ROWS_H

/* The rows of one rule set as they lie in its row_chunks: rows with equal bits share one place. */

#include <stdbool.h>

#include "arena.h"
#include "policy.h"

struct rows {
	struct dfw_row_chunk *chunks; /* malloc'd */
	size_t nr_chunks;
	size_t room;
	bool closed; /* `room` is all there is */
	/* Finds rows by their bits: index of `known`, and one; 0 is free. */
	uint32_t *slots;
	size_t nr_slots;
	struct {
		struct row {
			struct dfw_row_ref ref;
			uint64_t hash;
		} *items;
		size_t nr;
		size_t room;
	} known;
	struct arena *arena;
};

void rows_free(struct rows *rows);

/* Leaves room for `spare` chunks more, zeroed, and no others. Returns 0 or -ENOMEM. */
int rows_close(struct rows *rows, size_t spare);

/* `bits` holds nr_chunks * DFW_CHUNK_WORDS words, rule 0 first. Returns 0, -ENOMEM, or
 * -ENOSPC when there is no room in closed rows. */
int rows_add(struct rows *rows, const uint64_t *bits, size_t nr_chunks, struct dfw_row_ref *ref);

#endif
