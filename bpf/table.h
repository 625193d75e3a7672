/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_TABLE_H
#define DFW_BPF_TABLE_H

#include <dfw/flow_hash.h>

#include "lock.h"
#include "packet.h"

/*
 * Tables of flows: arrays of pages, each of four buckets of seven entries with their keys beside them; in front of the page,
 * in one cache line, is a byte of each key's hash. A packet looks at the bytes in front and at the one entry that they
 * point to: two places in memory, and no call on the way, where the kernel's hash has a chain of four and three calls.
 * Four buckets share that line, so that fewer of them are to be kept near.
 *
 * A confirmed flow lies in the bucket of its hash, at home if its place there is free: both places can be asked for as soon as
 * the hash is known. When the bucket is full, the flow lies in another of the page,
 * and when that is full, elsewhere (flow.h). Entries never move.
 *
 * Invariants:
 *   - An entry is taken by whoever holds its page's lock, and written by whoever holds the entry's own (flow.lock). Its
 *     tag is set when all else is written, and taken away, under the entry's lock, when the flow is DEAD.
 *   - So a key found without a lock is a guess: it holds only after the entry is locked and its key compared again
 *     (flow_hold). A key not found was not there at one moment of the search.
 *   - A key is put under the lock of its page, which sees it if it is there already: no key is there twice.
 *   - A bucket's `strays` are at least as many as its flows that lie outside of it: counted before their tag is set, and
 *     counted out when it is gone.
 */

/* dfwd puts numbers of the instance's own here before it loads the programs, see <dfw/flow_hash.h>. */
const volatile __u64 flow_hash_secret[DFW_HASH_WORDS] = {1, 2, 3, 4, 5};

static __always_inline __u64 flow_hash(const struct dfw_flow_key *key)
{
	return dfw_flow_hash(flow_hash_secret, key);
}

static __always_inline bool flow_key_equal(const struct dfw_flow_key *a,
					   const struct dfw_flow_key *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4])) == 0;
}

#define TABLE_EACH_BYTE 0x0101010101010101ULL
/* The top bit of each byte that is the tag of an entry. */
#define TABLE_TAG_TOPS 0x0080808080808080ULL

/* The tops of the bytes that equal `tag`, and perhaps of one above such a byte ("haszero", Mycroft 1987): the lowest is
 * right, and of the others the keys tell. */
static __always_inline __u64 table_match(__u64 tags, __u64 tag)
{
	__u64 other = tags ^ tag * TABLE_EACH_BYTE;

	return (other - TABLE_EACH_BYTE) & ~other & TABLE_TAG_TOPS;
}

/* The number of the byte where the lowest of them is: at the bottom of its byte it shifts that number to the top. */
static __always_inline __u32 table_place(__u64 tops)
{
	return ((tops & -tops) >> 7) * 0x0001020304050607ULL >> 56;
}

/* A bucket where it lies; `page` is NULL if there is none. */
struct bucket {
	struct dfw_flow_page *page;
	__u64 *tags;
	struct dfw_flow_entry *entries;
	__u32 number;
};

static __always_inline struct bucket page_bucket(struct dfw_flow_page *page, __u32 number)
{
	barrier_var(number); /* or the compiler knows better than the verifier */
	number %= DFW_PAGE_BUCKETS;
	return (struct bucket){page, &page->tags[number], page->entries[number], number};
}

static __always_inline struct bucket table_bucket(void *table, __u64 hash)
{
	__u32 index = dfw_flow_bucket_index(hash, context_map_entries(table));
	__u32 at = index / DFW_PAGE_BUCKETS;
	struct dfw_flow_page *page = bpf_map_lookup_elem(table, &at);

	return page ? page_bucket(page, index) : (struct bucket){};
}

/* Might they be the same? For who will compare them once more. */
static __always_inline bool flow_key_alike(const struct dfw_flow_key *a,
					   const struct dfw_flow_key *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return ((x[3] ^ y[3]) | (x[4] ^ y[4])) == 0;
}

/* The key's entry in the bucket, as far as can be told without a lock; or, `live`, one that is not DEAD. */
static __always_inline struct dfw_flow_entry *bucket_find(struct bucket bucket,
							  const struct dfw_flow_key *key,
							  __u64 hash, const bool live)
{
	__u64 tops = table_match(*(volatile __u64 *)bucket.tags, dfw_flow_tag(hash));

	for (int tries = 0; tries < DFW_BUCKET_ENTRIES && tops; tries++) {
		__u32 place = table_place(tops);

		barrier_var(place);
		if (place >= DFW_BUCKET_ENTRIES)
			break;
		if (likely(flow_key_equal(&bucket.entries[place].key, key) &&
			   !(live && bucket.entries[place].flow.state == DFW_FLOW_DEAD)))
			return &bucket.entries[place];
		tops &= tops - 1;
	}
	return NULL;
}

static __always_inline bool bucket_has_strays(struct bucket bucket)
{
	return *(volatile __u32 *)&bucket.page->strays[bucket.number % DFW_PAGE_BUCKETS];
}

/* May a live flow of that hash lie in the bucket, or have strayed from it? */
static __always_inline bool bucket_may_know(struct bucket bucket, __u64 hash)
{
	return table_match(*(volatile __u64 *)bucket.tags, dfw_flow_tag(hash)) ||
	       bucket_has_strays(bucket);
}

/* The entry that the bucket's tags point to first, or any, if it may be the key's: for who will compare it once more. */
static __always_inline struct dfw_flow_entry *bucket_guess(struct bucket bucket,
							   const struct dfw_flow_key *key,
							   __u64 hash)
{
	__u32 place = table_place(table_match(*(volatile __u64 *)bucket.tags, dfw_flow_tag(hash)));

	barrier_var(place);
	if (place >= DFW_BUCKET_ENTRIES || !flow_key_alike(&bucket.entries[place].key, key))
		return NULL;
	return &bucket.entries[place];
}

/* Reads a word of each cache line of the entry in that place. */
static __always_inline void bucket_touch(struct bucket bucket, __u32 place)
{
	const volatile __u64 *words;

	barrier_var(place);
	if (place >= DFW_BUCKET_ENTRIES)
		return;
	_Static_assert(sizeof(bucket.entries[0]) == 18 * 8, "no line is left out");
	words = (const volatile __u64 *)&bucket.entries[place];
	(void)words[0];
	(void)words[8];
	(void)words[16];
	(void)words[17];
}

/* Asks for the lines of the bucket's tags and of the key's home, all at once, and waits for none. */
static __always_inline void bucket_approach(struct bucket bucket, __u64 hash)
{
	(void)*(volatile __u64 *)bucket.tags;
	bucket_touch(bucket, dfw_flow_home(hash));
}

/* Reads a word of each cache line of the entry that has the key, or gets it. */
static __always_inline void bucket_load(struct bucket bucket, __u64 hash)
{
	__u64 tags = *(const volatile __u64 *)bucket.tags;
	__u64 tops = table_match(tags, dfw_flow_tag(hash));
	__u32 place = dfw_flow_home(hash);

	if (!tops && tags >> place * 8 & 0xff)
		tops = table_match(tags, 0);
	bucket_touch(bucket, tops ? table_place(tops) : place);
}

#define TABLE_PAGE_ENTRIES (DFW_PAGE_BUCKETS * DFW_BUCKET_ENTRIES)

/* The number of an entry in its page; too large: it lies elsewhere. */
static __always_inline __u32 page_index(const struct dfw_flow_page *page,
					const struct dfw_flow_entry *entry)
{
	__u64 offset = (__u64)entry - (__u64)page->entries;

	return offset < sizeof(page->entries) ? (__u32)offset / sizeof(*entry) : TABLE_PAGE_ENTRIES;
}

/* The key's live entry in its page. Slower than bucket_find, and small on the stack, for the few flows that have strayed. */
static __always_inline struct dfw_flow_entry *page_search(struct dfw_flow_page *page,
							  const struct dfw_flow_key *key,
							  __u64 hash)
{
	struct dfw_flow_entry *found = NULL;
	__u32 index;

	for (__u32 bucket = 0; bucket < DFW_PAGE_BUCKETS && !found; bucket++) {
		const volatile __u8 *tags = (const volatile __u8 *)&page->tags[bucket];

		for (__u32 place = 0; place < DFW_BUCKET_ENTRIES && !found; place++) {
			struct dfw_flow_entry *entry = &page->entries[bucket][place];

			if (tags[place] == dfw_flow_tag(hash) && flow_key_equal(&entry->key, key) &&
			    entry->flow.state != DFW_FLOW_DEAD)
				found = entry;
		}
	}
	if (!found)
		return NULL;
	/* By its number: the verifier would go on from each of the places by itself. */
	index = page_index(page, found);
	if (index >= TABLE_PAGE_ENTRIES)
		return NULL;
	barrier_var(index); /* or it is used before it is compared */
	return &page->entries[0][0] + index;
}

static __noinline struct dfw_flow_entry *page_find(struct dfw_flow_page *page,
						   const struct dfw_flow_key *key, __u64 hash)
{
	return page_search(page, key, hash);
}

static __always_inline void bucket_count_stray(struct bucket bucket, int change)
{
	__sync_fetch_and_add(&bucket.page->strays[bucket.number % DFW_PAGE_BUCKETS], change);
}

static __always_inline void bucket_show(struct bucket bucket, __u32 place, __u64 tag)
{
	/* Fetching, or it would be no barrier. */
	__u64 before = __sync_fetch_and_or(bucket.tags, tag << (place * 8 & 63));

	barrier_var(before);
}

static __always_inline void bucket_hide(struct bucket bucket, __u32 place)
{
	__u64 before = __sync_fetch_and_and(bucket.tags, ~(0xffULL << (place * 8 & 63)));

	barrier_var(before);
}

/* Takes away the tag of a DEAD entry, whose lock is held, of a flow of that bucket. False: it does not lie in its page. */
static __always_inline bool bucket_forget(struct bucket bucket, const struct dfw_flow_entry *entry)
{
	__u32 index = page_index(bucket.page, entry);
	__u32 number = index / DFW_BUCKET_ENTRIES;

	if (index >= TABLE_PAGE_ENTRIES)
		return false;
	bucket_hide(page_bucket(bucket.page, number), index % DFW_BUCKET_ENTRIES);
	if (number != bucket.number)
		bucket_count_stray(bucket, -1);
	return true;
}

enum bucket_place {
	BUCKET_EXISTS = -1, /* the key is there already */
	BUCKET_FULL = -2,
	BUCKET_BUSY = -3, /* another CPU holds what is there under that key */
};

static __always_inline bool bucket_take_place(struct bucket bucket, __u32 place)
{
	return !(*bucket.tags >> (place * 8 & 63) & 0xff) &&
	       lock_try(&bucket.entries[place].flow.lock);
}

/* A free entry of the bucket, whose page's lock is held; now the entry's is, too. */
static __always_inline int bucket_take_free(struct bucket bucket)
{
	__u64 tops = table_match(*bucket.tags, 0);

	for (int tries = 0; tries < DFW_BUCKET_ENTRIES && tops; tries++) {
		__u32 place = table_place(tops);

		barrier_var(place);
		if (place >= DFW_BUCKET_ENTRIES)
			break;
		/* The tag is what counts: a byte above a free one looks free, too. */
		if (bucket_take_place(bucket, place))
			return place;
		tops &= tops - 1;
	}
	return BUCKET_FULL;
}

#define TABLE_HAND_SHIFT 56

/* Makes room among flows that may give way: the one that has been here longest does. */
static __always_inline int bucket_take_oldest(struct bucket bucket)
{
	for (int tries = 0; tries < DFW_BUCKET_ENTRIES; tries++) {
		__u64 tags = __sync_fetch_and_add(bucket.tags, 1ULL << TABLE_HAND_SHIFT);
		__u32 place = (tags >> TABLE_HAND_SHIFT) % DFW_BUCKET_ENTRIES;

		barrier_var(place); /* or the compiler knows better than the verifier */
		if (place >= DFW_BUCKET_ENTRIES || !lock_try(&bucket.entries[place].flow.lock))
			continue;
		bucket.entries[place].flow.state = DFW_FLOW_DEAD;
		bucket_hide(bucket, place);
		return place;
	}
	return BUCKET_FULL;
}

/* All of a flow but its lock, which comes first, and is held where the copy lies. */
static __always_inline void flow_write(struct dfw_flow *to, const struct dfw_flow *from)
{
	const __u64 *words = (const __u64 *)from;

	_Static_assert(offsetof(struct dfw_flow, lock) == 0 && sizeof(*to) == 13 * 8,
		       "copied by words");
	to->generation = from->generation;
	for (int i = 1; i < 13; i++)
		((__u64 *)to)[i] = words[i];
}

enum put_how {
	PUT_NEW, /* the key must not be there */
	PUT_ANY, /* what is there under that key is replaced */
};

/* Replaces the flow of an entry that was found under the page's lock. BUCKET_EXISTS: it is replaced; BUCKET_BUSY; BUCKET_FULL:
 * it is not that flow any more. */
static __always_inline int bucket_replace(struct dfw_flow_entry *entry,
					  const struct dfw_flow_key *key,
					  const struct dfw_flow *flow)
{
	int result = BUCKET_FULL;

	if (!lock_take(&entry->flow.lock))
		return BUCKET_BUSY;
	if (entry->flow.state != DFW_FLOW_DEAD && flow_key_equal(&entry->key, key)) {
		flow_write(&entry->flow, flow);
		result = BUCKET_EXISTS;
	}
	lock_free(&entry->flow.lock);
	return result;
}

/* The live entry of that key, where the page's lock is held, so that none comes. */
static __always_inline struct dfw_flow_entry *bucket_find_live(struct bucket bucket,
							       const struct dfw_flow_key *key,
							       __u64 hash)
{
	struct dfw_flow_entry *found = bucket_find(bucket, key, hash, true);

	return found || !bucket_has_strays(bucket) ? found : page_find(bucket.page, key, hash);
}

/* A free entry for a confirmed flow; `bucket` becomes the one where it is. */
static __always_inline int page_take_free(struct bucket *bucket, __u64 hash)
{
	__u32 place = dfw_flow_home(hash), home = bucket->number;
	int taken;

	barrier_var(place);
	if (place < DFW_BUCKET_ENTRIES && bucket_take_place(*bucket, place))
		return place;
	taken = bucket_take_free(*bucket);
	for (__u32 i = 1; i < DFW_PAGE_BUCKETS && taken < 0; i++) {
		*bucket = page_bucket(bucket->page, home + i);
		taken = bucket_take_free(*bucket);
	}
	return taken;
}

/* Puts a flow into the page of its hash, whose lock is held. `evict`: into its bucket, where another may give way. 0 or enum
 * bucket_place. */
static __always_inline int bucket_put(struct bucket bucket, const struct dfw_flow_key *key,
				      __u64 hash, const struct dfw_flow *flow,
				      const enum put_how how, const bool evict)
{
	struct dfw_flow_entry *entry = bucket_find_live(bucket, key, hash);
	struct bucket home = bucket;
	int place;

	if (entry) {
		place = how == PUT_NEW ? BUCKET_EXISTS : bucket_replace(entry, key, flow);
		if (place != BUCKET_FULL)
			return place;
	}
	place = evict ? bucket_take_free(bucket) : page_take_free(&bucket, hash);
	if (place < 0 && evict)
		place = bucket_take_oldest(bucket);
	if (place < 0 || place >= DFW_BUCKET_ENTRIES)
		return BUCKET_FULL;
	entry = &bucket.entries[place];
	entry->key = *key;
	flow_write(&entry->flow, flow);
	if (bucket.number != home.number)
		bucket_count_stray(home, 1);
	bucket_show(bucket, place, dfw_flow_tag(hash));
	lock_free(&entry->flow.lock);
	return 0;
}

#endif
