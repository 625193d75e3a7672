/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_HASH_H
#define SYNC_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Hashes for tables, rendezvous and set comparison. They find accidents, not forgeries: who may speak at all is decided
 * by the session layer. */

/* Finalizer of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). */
static inline uint64_t hash_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static inline uint64_t hash_bytes(const void *bytes, size_t nr, uint64_t seed)
{
	const uint8_t *at = bytes;
	uint64_t hash = seed ^ nr, word;

	for (; nr >= sizeof(word); nr -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		hash = hash_mix(hash ^ word);
	}
	word = 0;
	memcpy(&word, at, nr);
	return hash_mix(hash ^ word);
}

#endif
