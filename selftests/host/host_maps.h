/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTESTS_HOST_MAPS_H
#define SELFTESTS_HOST_MAPS_H

/*
 * BPF maps in plain C, with the kernel's semantics where the datapath could tell: a hash that is full says -E2BIG, an LRU
 * hash evicts, an update replaces the element rather than its bytes, and what was deleted may be another element at once
 * (the kernel recycles it within the same program run), so that the sanitizer reports whoever still holds it. One CPU.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

/* `map` is a struct declared for libbpf, bound to its map by HOST_MAP, or a map found in an outer map: both begin with a
 * pointer to the struct host_map. */
void *host_map_lookup(void *map, const void *key);
long host_map_update(void *map, const void *key, const void *value, __u64 flags);
long host_map_delete(void *map, const void *key);
uint32_t host_map_entries(void *map); /* its max_entries */
long host_map_each(void *map, long (*callback)(void *map, const void *key, void *value, void *data),
		   void *data);

void *host_ring_reserve(void *map, __u64 bytes);
void host_ring_submit(void *record);

/* ---- For the tests -------------------------------------------------------------------------------------------- */

struct host_map;

/* `type` is enum bpf_map_type. Ends the program when there is no memory. */
struct host_map *host_map_make(uint32_t type, size_t key_bytes, size_t value_bytes, size_t entries);
void host_map_free(struct host_map *map);
/* A hash loses its elements, an array's become zero, an outer array's stay. */
void host_map_clear(void *map);
size_t host_map_count(void *map); /* elements of a hash */
/* Of one shape and with the same bytes; hashes in the same order of last use, too. */
bool host_map_equal(void *one, void *other);
/* The inner map of an outer one; NULL takes it away. The outer map does not own it. */
void host_map_put_inner(void *outer, uint32_t index, struct host_map *inner);

#define HOST_SIZE(map, member)	 (sizeof(*(map)->member))
#define HOST_NUMBER(map, member) (sizeof(*(map)->member) / sizeof(int))

/* Makes the map that a declared struct describes. */
#define HOST_MAP(declared)                                                    \
	(*(struct host_map **)&(declared) = host_map_make(                    \
		 HOST_NUMBER(&(declared), type), HOST_SIZE(&(declared), key), \
		 HOST_SIZE(&(declared), value), HOST_NUMBER(&(declared), max_entries)))
#define HOST_OUTER(declared)                                                                \
	(*(struct host_map **)&(declared) =                                                 \
		 host_map_make(HOST_NUMBER(&(declared), type), HOST_SIZE(&(declared), key), \
			       sizeof(void *), HOST_NUMBER(&(declared), max_entries)))
#define HOST_RING(declared) \
	(*(struct host_map **)&(declared) = host_map_make(HOST_NUMBER(&(declared), type), 0, 0, 1))
/* An inner map by its template; `entries` 0: as the template says. */
#define HOST_INNER(template, entries)                          \
	host_map_make(HOST_NUMBER((struct template *)0, type), \
		      HOST_SIZE((struct template *)0, key),    \
		      HOST_SIZE((struct template *)0, value),  \
		      (entries) ? (entries) : HOST_NUMBER((struct template *)0, max_entries))

extern bool host_ring_full; /* reserve finds no room */
extern unsigned int
	host_ring_held; /* records reserved and not submitted: 0 between packets, as the verifier demands */
extern void (*host_ring_seen)(const void *record);

#endif
