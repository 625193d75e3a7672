// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>

#include <dfw/flow_hash.h>

#include "flow_table.h"
#include "view_pins.h"

#define MORE_LEAST 64

uint32_t flow_table_buckets(uint32_t flows)
{
	return flows > DFW_BUCKET_ENTRIES ? (flows + DFW_BUCKET_ENTRIES - 1) / DFW_BUCKET_ENTRIES
					  : 1;
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

unsigned int flow_bucket_entries(const struct dfw_flow_bucket *bucket,
				 const struct dfw_flow_entry **entries)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < DFW_BUCKET_ENTRIES; i++)
		if (bucket->tags >> (8 * i) & 0xff)
			entries[nr++] = &bucket->entries[i];
	return nr;
}

struct table_walk {
	int (*each)(const struct dfw_flow_entry *entry, void *data);
	void *data;
};

static int walk_bucket(const void *key, const void *value, void *data)
{
	const struct dfw_flow_entry *entries[DFW_BUCKET_ENTRIES];
	const struct table_walk *walk = data;
	unsigned int nr = flow_bucket_entries(value, entries);
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
	case sizeof(struct dfw_flow_bucket):
		return map_each(map, walk_bucket, &walk);
	case sizeof(struct dfw_flow_entry):
		return map_each(map, walk_more, &walk);
	}
	return -ESTALE;
}

bool flow_table_put(struct dfw_flow_bucket *buckets, uint32_t nr, const __u64 *secret,
		    const struct dfw_flow_entry *entry)
{
	uint64_t hash = dfw_flow_hash(secret, &entry->key);
	struct dfw_flow_bucket *bucket = &buckets[dfw_flow_bucket_index(hash, nr)];

	for (unsigned int i = 0; i < DFW_BUCKET_ENTRIES; i++) {
		if (bucket->tags >> (8 * i) & 0xff)
			continue;
		bucket->entries[i] = *entry;
		bucket->tags |= (uint64_t)dfw_flow_tag(hash) << (8 * i);
		return true;
	}
	bucket->elsewhere++;
	return false;
}
