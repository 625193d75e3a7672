// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sanitizer/asan_interface.h>

#include "bpf/context.h"

__u64 host_now_ns;
context_t *host_current;
bool host_ring_full;
unsigned int host_ring_held;
void (*host_ring_seen)(const void *record);

#define GAP 16 /* poisoned, between an array's values */

enum { FAILED_FULL = -7, FAILED_EXISTS = -17, FAILED_NONE = -2, FAILED_INVALID = -22 };

struct element {
	struct element *next; /* of the bucket */
	struct element *older, *newer;
	uint32_t bucket;
	uint8_t *value;
	_Alignas(8) uint8_t key[];
};

struct host_map {
	struct host_map *self; /* what the datapath's pointers lead to; first */
	uint32_t type;
	size_t key_bytes;
	size_t value_bytes;
	size_t stride;
	size_t entries;
	uint8_t *values; /* arrays */
	struct element **buckets;
	size_t nr_buckets;
	struct element *oldest, *newest; /* all elements, by last use */
	size_t count;
};

static void *must_calloc(size_t nr, size_t bytes)
{
	void *memory = calloc(nr, bytes);

	if (!memory) {
		fprintf(stderr, "no memory for a map\n");
		exit(1);
	}
	return memory;
}

static struct host_map *map_of(void *map)
{
	struct host_map *found = *(struct host_map **)map;

	if (!found) {
		fprintf(stderr, "a map of the datapath has no HOST_MAP\n");
		abort();
	}
	return found;
}

static bool is_array(const struct host_map *map)
{
	return map->type == BPF_MAP_TYPE_ARRAY || map->type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       map->type == BPF_MAP_TYPE_ARRAY_OF_MAPS;
}

struct host_map *host_map_make(uint32_t type, size_t key_bytes, size_t value_bytes, size_t entries)
{
	struct host_map *map = must_calloc(1, sizeof(*map));

	map->self = map;
	map->type = type;
	map->key_bytes = key_bytes;
	map->value_bytes = value_bytes;
	map->entries = entries;
	if (is_array(map)) {
		map->stride = ((value_bytes + 7) & ~(size_t)7) + GAP;
		map->values = must_calloc(entries, map->stride);
		for (size_t i = 0; i < entries; i++)
			ASAN_POISON_MEMORY_REGION(map->values + i * map->stride + value_bytes,
						  map->stride - value_bytes);
	} else if (type != BPF_MAP_TYPE_RINGBUF) {
		map->nr_buckets = 16;
		while (map->nr_buckets < entries && map->nr_buckets < 4096)
			map->nr_buckets *= 2;
		map->buckets = must_calloc(map->nr_buckets, sizeof(struct element *));
	}
	return map;
}

/* ---- Hashes --------------------------------------------------------------------------------------------------- */

static uint32_t bucket_of(const struct host_map *map, const uint8_t *key)
{
	uint64_t hash = 0xcbf29ce484222325ULL;
	size_t i = 0;

	for (; i + 8 <= map->key_bytes; i += 8) {
		uint64_t word;

		memcpy(&word, key + i, sizeof(word));
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 29;
	}
	for (; i < map->key_bytes; i++)
		hash = (hash ^ key[i]) * 0x100000001b3ULL;
	return (uint32_t)((hash ^ hash >> 32) & (map->nr_buckets - 1));
}

static void list_add(struct host_map *map, struct element *element)
{
	element->older = map->newest;
	element->newer = NULL;
	if (map->newest)
		map->newest->newer = element;
	else
		map->oldest = element;
	map->newest = element;
}

static void list_remove(struct host_map *map, struct element *element)
{
	*(element->older ? &element->older->newer : &map->oldest) = element->newer;
	*(element->newer ? &element->newer->older : &map->newest) = element->older;
}

static struct element *find(const struct host_map *map, const void *key)
{
	struct element *element = map->buckets[bucket_of(map, key)];

	while (element && memcmp(element->key, key, map->key_bytes) != 0)
		element = element->next;
	return element;
}

static void remove_element(struct host_map *map, struct element *element)
{
	struct element **link = &map->buckets[element->bucket];

	while (*link != element)
		link = &(*link)->next;
	*link = element->next;
	list_remove(map, element);
	map->count--;
	free(element);
}

static void add_element(struct host_map *map, const void *key, const void *value)
{
	size_t key_room = (map->key_bytes + 7) & ~(size_t)7;
	struct element *element = must_calloc(1, sizeof(*element) + key_room + map->value_bytes);

	element->value = element->key + key_room;
	memcpy(element->key, key, map->key_bytes);
	memcpy(element->value, value, map->value_bytes);
	element->bucket = bucket_of(map, element->key);
	element->next = map->buckets[element->bucket];
	map->buckets[element->bucket] = element;
	list_add(map, element);
	map->count++;
}

/* ---- Longest prefix: the maps of the tests hold a few, so a scan does. The key begins with the bits' number. ----- */

static bool prefix_holds(const uint8_t *prefix, const uint8_t *key, uint32_t bits)
{
	if (memcmp(prefix, key, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || ((prefix[bits / 8] ^ key[bits / 8]) >> (8 - bits % 8)) == 0;
}

static void *longest_prefix(const struct host_map *map, const uint8_t *key)
{
	uint32_t wanted, longest = 0;
	void *value = NULL;

	memcpy(&wanted, key, sizeof(wanted));
	for (struct element *element = map->oldest; element; element = element->newer) {
		uint32_t bits;

		memcpy(&bits, element->key, sizeof(bits));
		if (bits > wanted || (value && bits <= longest) ||
		    !prefix_holds(element->key + 4, key + 4, bits))
			continue;
		longest = bits;
		value = element->value;
	}
	return value;
}

/* ---- The helpers ---------------------------------------------------------------------------------------------- */

void *host_map_lookup(void *declared, const void *key)
{
	struct host_map *map = map_of(declared);
	struct element *element;
	uint8_t *value;
	uint32_t index;

	if (map->type == BPF_MAP_TYPE_LPM_TRIE)
		return longest_prefix(map, key);
	if (!is_array(map)) {
		element = find(map, key);
		if (!element)
			return NULL;
		if (map->type == BPF_MAP_TYPE_LRU_HASH) {
			list_remove(map, element);
			list_add(map, element);
		}
		return element->value;
	}
	memcpy(&index, key, sizeof(index));
	if (index >= map->entries)
		return NULL;
	value = map->values + index * map->stride;
	return map->type == BPF_MAP_TYPE_ARRAY_OF_MAPS ? *(void **)value : value;
}

long host_map_update(void *declared, const void *key, const void *value, __u64 flags)
{
	struct host_map *map = map_of(declared);
	struct element *former;

	if (is_array(map)) {
		uint32_t index;

		memcpy(&index, key, sizeof(index));
		if (index >= map->entries)
			return FAILED_FULL;
		if (flags == BPF_NOEXIST)
			return FAILED_EXISTS;
		memcpy(map->values + index * map->stride, value, map->value_bytes);
		return 0;
	}
	former = find(map, key);
	if (former && flags == BPF_NOEXIST)
		return FAILED_EXISTS;
	if (!former && flags == BPF_EXIST)
		return FAILED_NONE;
	if (!former && map->count >= map->entries) {
		if (map->type != BPF_MAP_TYPE_LRU_HASH)
			return FAILED_FULL;
		remove_element(map, map->oldest);
	}
	add_element(map, key, value); /* before the former one goes: `value` may lie in it */
	if (former)
		remove_element(map, former);
	return 0;
}

long host_map_delete(void *declared, const void *key)
{
	struct host_map *map = map_of(declared);
	struct element *element;

	if (is_array(map))
		return FAILED_INVALID;
	element = find(map, key);
	if (!element)
		return FAILED_NONE;
	remove_element(map, element);
	return 0;
}

uint32_t host_map_entries(void *declared)
{
	return (uint32_t)map_of(declared)->entries;
}

long host_map_each(void *declared,
		   long (*callback)(void *map, const void *key, void *value, void *data),
		   void *data)
{
	struct host_map *map = map_of(declared);
	struct element *newer;
	long calls = 0;

	for (uint32_t i = 0; is_array(map) && i < map->entries; i++) {
		calls++;
		if (callback(map, &i, map->values + i * map->stride, data))
			break;
	}
	for (struct element *element = map->oldest; element; element = newer) {
		newer = element->newer; /* the callback may delete the element in hand */
		calls++;
		if (callback(map, element->key, element->value, data))
			break;
	}
	return calls;
}

void *host_ring_reserve(void *declared, __u64 bytes)
{
	map_of(declared);
	if (host_ring_full)
		return NULL;
	host_ring_held++;
	return must_calloc(1, bytes);
}

void host_ring_submit(void *record)
{
	host_ring_held--;
	if (host_ring_seen)
		host_ring_seen(record);
	free(record);
}

/* ---- For the tests -------------------------------------------------------------------------------------------- */

void host_map_clear(void *declared)
{
	struct host_map *map = map_of(declared);

	while (map->oldest)
		remove_element(map, map->oldest);
	if (is_array(map) && map->type != BPF_MAP_TYPE_ARRAY_OF_MAPS)
		for (size_t i = 0; i < map->entries; i++)
			memset(map->values + i * map->stride, 0, map->value_bytes);
}

static bool arrays_equal(const struct host_map *a, const struct host_map *b)
{
	for (size_t i = 0; i < a->entries; i++)
		if (memcmp(a->values + i * a->stride, b->values + i * b->stride, a->value_bytes) !=
		    0)
			return false;
	return true;
}

bool host_map_equal(void *one, void *other)
{
	const struct host_map *a = map_of(one), *b = map_of(other);
	const struct element *x = a->oldest, *y = b->oldest;

	if (a->type != b->type || a->key_bytes != b->key_bytes ||
	    a->value_bytes != b->value_bytes || a->entries != b->entries || a->count != b->count)
		return false;
	if (is_array(a))
		return arrays_equal(a, b);
	for (; x; x = x->newer, y = y->newer)
		if (memcmp(x->key, y->key, a->key_bytes) != 0 ||
		    memcmp(x->value, y->value, a->value_bytes) != 0)
			return false;
	return true;
}

size_t host_map_count(void *declared)
{
	return map_of(declared)->count;
}

void host_map_put_inner(void *outer, uint32_t index, struct host_map *inner)
{
	struct host_map *map = map_of(outer);

	if (index >= map->entries || map->type != BPF_MAP_TYPE_ARRAY_OF_MAPS)
		abort();
	memcpy(map->values + index * map->stride, &inner, sizeof(inner));
}

void host_map_free(struct host_map *map)
{
	if (!map)
		return;
	while (map->oldest)
		remove_element(map, map->oldest);
	if (map->values)
		ASAN_UNPOISON_MEMORY_REGION(map->values, map->entries * map->stride);
	free(map->values);
	free(map->buckets);
	free(map);
}
