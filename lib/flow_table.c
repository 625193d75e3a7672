// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>

#include <dfw/flow_hash.h>

#include "flow_table.h"
#include "view_pins.h"

#define MORE_LEAST 64

uint32_t flow_table_pages(uint32_t flows)
{
	return flows > FLOW_PAGE_ENTRIES ? (flows + FLOW_PAGE_ENTRIES - 1) / FLOW_PAGE_ENTRIES : 1;
}

/* Of the flows that a table has room for, chance finds a place for three quarters and nearly all of the rest; an eighth of
 * the quota is much more than the others. */
uint32_t flow_table_more(const struct dfw_profile *profile)
{
	uint32_t sure = profile->flow_table / 4 * 3;
	uint32_t rest = profile->max_flows > sure ? profile->max_flows - sure : 0;
	uint32_t chance = profile->max_flows / 8;

	return MORE_LEAST + (rest > chance ? rest : chance);
}

unsigned int flow_page_entries(const struct dfw_flow_page *page,
			       const struct dfw_flow_entry **entries)
{
	unsigned int nr = 0;

	for (unsigned int b = 0; b < DFW_PAGE_BUCKETS; b++)
		for (unsigned int i = 0; i < DFW_BUCKET_ENTRIES; i++)
			if (page->tags[b] >> (8 * i) & 0xff)
				entries[nr++] = &page->entries[b][i];
	return nr;
}

bool flow_page_used(const struct dfw_flow_page *page)
{
	for (unsigned int b = 0; b < DFW_PAGE_BUCKETS; b++)
		if (page->tags[b] || page->strays[b])
			return true;
	return false;
}

struct table_walk {
	int (*each)(const struct dfw_flow_entry *entry, void *data);
	void *data;
};

static int walk_page(const void *key, const void *value, void *data)
{
	const struct dfw_flow_entry *entries[FLOW_PAGE_ENTRIES];
	const struct table_walk *walk = data;
	unsigned int nr = flow_page_entries(value, entries);
	int r = 0;

	(void)key;
	for (unsigned int i = 0; i < nr && r == 0; i++)
		r = walk->each(entries[i], walk->data);
	return r;
}

static int walk_more(const void *key, const void *value, void *data)
{
	const struct table_walk *walk = data;

	(void)key;
	return walk->each(value, walk->data);
}

int flow_table_each(int map, int (*each)(const struct dfw_flow_entry *entry, void *data),
		    void *data)
{
	struct table_walk walk = {each, data};
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	int r = bpf_obj_get_info_by_fd(map, &info, &len);

	if (r < 0)
		return r;
	switch (info.value_size) {
	case sizeof(struct dfw_flow_page):
		return map_each(map, walk_page, &walk);
	case sizeof(struct dfw_flow_entry):
		return map_each(map, walk_more, &walk);
	}
	return -ESTALE;
}

/* The free place nearest to that one, or -1. */
static int free_place(const struct dfw_flow_page *page, uint32_t bucket, uint32_t place)
{
	for (uint32_t i = 0; i < DFW_BUCKET_ENTRIES; i++, place++)
		if (!(page->tags[bucket] >> (8 * (place % DFW_BUCKET_ENTRIES)) & 0xff))
			return (int)(place % DFW_BUCKET_ENTRIES);
	return -1;
}

bool flow_table_put(struct dfw_flow_page *pages, uint32_t nr, const __u64 *secret,
		    const struct dfw_flow_entry *entry)
{
	uint64_t hash = dfw_flow_hash(secret, &entry->key);
	uint32_t index = dfw_flow_bucket_index(hash, nr), home = index % DFW_PAGE_BUCKETS;
	struct dfw_flow_page *page = &pages[index / DFW_PAGE_BUCKETS];

	for (uint32_t i = 0; i < DFW_PAGE_BUCKETS; i++) {
		uint32_t bucket = (home + i) % DFW_PAGE_BUCKETS;
		int place = free_place(page, bucket, dfw_flow_home(hash));

		if (place < 0)
			continue;
		page->entries[bucket][place] = *entry;
		page->tags[bucket] |= (uint64_t)dfw_flow_tag(hash) << (8 * place);
		page->strays[home] += i > 0;
		return true;
	}
	page->strays[home]++;
	page->elsewhere++;
	return false;
}
