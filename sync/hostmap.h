/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_HOSTMAP_H
#define SYNC_HOSTMAP_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A sorted list of (host id, thing): walks in order, finds by halving. The ids lie together, so a search in a thousand
 * hosts touches few cache lines. */
struct hostmap {
	uint32_t *hosts;
	void **things;
	size_t nr;
	size_t room;
};

/* Index of the first host >= `host`. */
static inline size_t hostmap_lower(const struct hostmap *map, uint32_t host)
{
	size_t low = 0, high = map->nr;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (map->hosts[middle] < host)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static inline void *hostmap_find(const struct hostmap *map, uint32_t host)
{
	size_t at = hostmap_lower(map, host);

	return at < map->nr && map->hosts[at] == host ? map->things[at] : NULL;
}

/* The host must not be there yet. 0 or -ENOMEM. */
static inline int hostmap_insert(struct hostmap *map, uint32_t host, void *thing)
{
	size_t at = hostmap_lower(map, host);

	if (map->nr == map->room) {
		size_t room = map->room ? 2 * map->room : 8;
		uint32_t *hosts = realloc(map->hosts, room * sizeof(*hosts));
		void **things;

		if (!hosts)
			return -ENOMEM;
		map->hosts = hosts;
		things = realloc(map->things, room * sizeof(*things));
		if (!things)
			return -ENOMEM;
		map->things = things;
		map->room = room;
	}
	memmove(map->hosts + at + 1, map->hosts + at, (map->nr - at) * sizeof(*map->hosts));
	memmove(map->things + at + 1, map->things + at, (map->nr - at) * sizeof(*map->things));
	map->hosts[at] = host;
	map->things[at] = thing;
	map->nr++;
	return 0;
}

static inline void hostmap_free(struct hostmap *map)
{
	free(map->hosts);
	free(map->things);
	*map = (struct hostmap){0};
}

#endif
