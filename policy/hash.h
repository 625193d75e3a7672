/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_HASH_H
#define POLICY_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): each bit in flips half of the bits out. */
static inline uint64_t hash_mix(uint64_t value)
{
	value ^= value >> 30;
	value *= 0xbf58476d1ce4e5b9ULL;
	value ^= value >> 27;
	value *= 0x94d049bb133111ebULL;
	return value ^ value >> 31;
}

static inline uint64_t hash_word(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

static inline uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t nr)
{
	const unsigned char *at = bytes;
	uint64_t word;

	for (; nr >= sizeof(word); nr -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		hash = hash_word(hash, word);
	}
	word = nr;
	if (nr)
		memcpy((unsigned char *)&word + 1, at, nr);
	return hash_mix(hash_word(hash, word));
}

#endif
