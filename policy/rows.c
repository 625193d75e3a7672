// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "rows.h"

void rows_free(struct rows *rows)
{
	free(rows->chunks);
}

int rows_close(struct rows *rows, size_t spare)
{
	size_t room = rows->nr_chunks + spare;
	struct dfw_row_chunk *moved = realloc(rows->chunks, (room + 1) * sizeof(*moved));

	if (!moved)
		return -ENOMEM;
	memset(&moved[rows->nr_chunks], 0, spare * sizeof(*moved));
	rows->chunks = moved;
	rows->room = room;
	rows->closed = true;
	return 0;
}

static bool words_zero(const uint64_t *words)
{
	uint64_t any = 0;

	for (size_t i = 0; i < DFW_CHUNK_WORDS; i++)
		any |= words[i];
	return any == 0;
}

static bool row_equal(const struct rows *rows, const struct dfw_row_ref *ref, uint64_t chunks,
		      const uint64_t *bits)
{
	size_t stored = ref->chunk;

	if (ref->chunks != chunks)
		return false;
	for (; chunks; chunks &= chunks - 1) {
		const struct dfw_row_chunk *chunk = &rows->chunks[stored++];
		const uint64_t *words = bits + (size_t)__builtin_ctzll(chunks) * DFW_CHUNK_WORDS;

		if (memcmp(chunk->words, words, sizeof(chunk->words)) != 0)
			return false;
	}
	return true;
}

static uint64_t summary_of(const __u64 *words)
{
	uint64_t summary = 0;

	for (size_t word = 0; word < DFW_CHUNK_WORDS; word++)
		for (size_t part = 0; words[word] && part < DFW_SUMMARY_BITS; part++)
			summary |= (uint64_t)((words[word] >> 16 * part & 0xffff) != 0)
				   << (DFW_SUMMARY_BITS * word + part);
	return summary;
}

static int store(struct rows *rows, uint64_t chunks, const uint64_t *bits, struct dfw_row_ref *ref)
{
	size_t needed = rows->nr_chunks + (size_t)__builtin_popcountll(chunks);
	struct dfw_row_chunk *moved;
	size_t room = rows->room ? rows->room : 64;

	if (needed > UINT32_MAX)
		return -ENOMEM;
	if (needed > rows->room && rows->closed)
		return -ENOSPC;
	if (needed > rows->room) {
		while (room < needed)
			room *= 2;
		moved = realloc(rows->chunks, room * sizeof(*moved));
		if (!moved)
			return -ENOMEM;
		rows->chunks = moved;
		rows->room = room;
	}
	*ref = (struct dfw_row_ref){.chunks = chunks, .chunk = (uint32_t)rows->nr_chunks};
	for (; chunks; chunks &= chunks - 1) {
		struct dfw_row_chunk *chunk = &rows->chunks[rows->nr_chunks++];

		memcpy(chunk->words, bits + (size_t)__builtin_ctzll(chunks) * DFW_CHUNK_WORDS,
		       sizeof(chunk->words));
		chunk->summary = summary_of(chunk->words);
	}
	return 0;
}

static uint32_t *find_slot(const struct rows *rows, uint64_t hash, uint64_t chunks,
			   const uint64_t *bits)
{
	for (size_t i = hash & (rows->nr_slots - 1);; i = (i + 1) & (rows->nr_slots - 1)) {
		const struct row *row;

		if (!rows->slots[i])
			return &rows->slots[i];
		row = &rows->known.items[rows->slots[i] - 1];
		if (row->hash == hash && bits && row_equal(rows, &row->ref, chunks, bits))
			return &rows->slots[i];
	}
}

static int grow(struct rows *rows)
{
	size_t nr_slots = rows->nr_slots ? 4 * rows->nr_slots : 256;
	uint32_t *slots = arena_alloc(rows->arena, nr_slots * sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	rows->slots = slots;
	rows->nr_slots = nr_slots;
	for (uint32_t i = 0; i < rows->known.nr; i++)
		*find_slot(rows, rows->known.items[i].hash, 0, NULL) = i + 1;
	return 0;
}

int rows_add(struct rows *rows, const uint64_t *bits, size_t nr_chunks, struct dfw_row_ref *ref)
{
	uint64_t chunks = 0, hash = 0, other = 0;
	struct row *row;
	uint32_t *slot;
	int r;

	for (size_t chunk = 0; chunk < nr_chunks; chunk++) {
		const uint64_t *words = bits + chunk * DFW_CHUNK_WORDS;

		if (words_zero(words))
			continue;
		chunks |= 1ULL << chunk;
		/* Two that do not wait for each other's multiplications. */
		for (size_t word = 0; word < DFW_CHUNK_WORDS; word += 2) {
			hash = hash_word(hash, words[word]);
			other = hash_word(other, words[word + 1]);
		}
	}
	hash = hash_mix(hash_word(hash, other) ^ chunks);

	if (2 * (rows->known.nr + 1) > rows->nr_slots && grow(rows) < 0)
		return -ENOMEM;
	slot = find_slot(rows, hash, chunks, bits);
	if (*slot) {
		*ref = rows->known.items[*slot - 1].ref;
		return 0;
	}
	r = store(rows, chunks, bits, ref);
	if (r < 0)
		return r;
	row = list_push(rows->arena, &rows->known);
	if (!row)
		return -ENOMEM;
	*row = (struct row){.ref = *ref, .hash = hash};
	*slot = (uint32_t)rows->known.nr;
	return 0;
}
