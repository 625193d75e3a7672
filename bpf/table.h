/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_TABLE_H
#define DFW_BPF_TABLE_H

#include <dfw/flow_hash.h>

#include "lock.h"
#include "packet.h"

/*
 * Tables of flows: arrays of buckets, each of seven entries with their keys beside them and a byte of each key's hash in
 * front. A packet looks at the bytes in front and at the one entry that they point to: two places in memory, and no
 * call on the way, where the kernel's hash has a chain of four and three calls.
 *
 * A flow lies in the bucket of its hash or, when that is full, elsewhere (flow.h); entries never move.
 *
 * Invariants:
 *   - An entry is taken by whoever holds its bucket's lock, and written by whoever holds the entry's own (flow.lock). Its
 *     tag is set when all else is written, and taken away, under the entry's lock, when the flow is DEAD.
 *   - So a key found without a lock is a guess: it holds only after the entry is locked and its key compared again
 *     (flow_hold). A key not found was not there at one moment of the search.
 *   - A key is put under the lock of its bucket, which sees it if it is there already: no key is there twice.
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

static __always_inline struct dfw_flow_bucket *table_bucket(void *table, __u64 hash)
{
	__u32 index = dfw_flow_bucket_index(hash, context_map_entries(table));

	return bpf_map_lookup_elem(table, &index);
}

/* Might they be the same? For who will compare them once more. */
static __always_inline bool flow_key_alike(const struct dfw_flow_key *a,
					   const struct dfw_flow_key *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return ((x[3] ^ y[3]) | (x[4] ^ y[4])) == 0;
}

/* The entry of that key, as far as can be told without a lock. `guess`: or one that is alike. */
static __always_inline struct dfw_flow_entry *bucket_search(struct dfw_flow_bucket *bucket,
							    const struct dfw_flow_key *key,
							    __u64 hash, const bool guess)
{
	__u64 tops = table_match(*(volatile __u64 *)&bucket->tags, dfw_flow_tag(hash));

	for (int tries = 0; tries < DFW_BUCKET_ENTRIES && tops; tries++) {
		__u32 place = table_place(tops);

		barrier_var(place);
		if (place >= DFW_BUCKET_ENTRIES)
			break;
		if (likely(guess ? flow_key_alike(&bucket->entries[place].key, key)
				 : flow_key_equal(&bucket->entries[place].key, key)))
			return &bucket->entries[place];
		tops &= tops - 1;
	}
	return NULL;
}

static __always_inline struct dfw_flow_entry *bucket_find(struct dfw_flow_bucket *bucket,
							  const struct dfw_flow_key *key,
							  __u64 hash)
{
	return bucket_search(bucket, key, hash, false);
}

/* Reads a word of each cache line of the entry that has the key, or gets it. */
static __always_inline void bucket_load(const struct dfw_flow_bucket *bucket, __u64 hash)
{
	__u64 tags = *(const volatile __u64 *)&bucket->tags;
	__u64 tops = table_match(tags, dfw_flow_tag(hash));
	const volatile __u64 *words;
	__u32 place;

	if (!tops)
		tops = table_match(tags, 0);
	place = table_place(tops);
	barrier_var(place);
	if (!tops || place >= DFW_BUCKET_ENTRIES)
		return;
	_Static_assert(sizeof(bucket->entries[0]) == 18 * 8, "no line is left out");
	words = (const volatile __u64 *)&bucket->entries[place];
	(void)words[0];
	(void)words[8];
	(void)words[16];
	(void)words[17];
}

static __always_inline void bucket_show(struct dfw_flow_bucket *bucket, __u32 place, __u64 tag)
{
	/* Fetching, or it would be no barrier. */
	__u64 before = __sync_fetch_and_or(&bucket->tags, tag << (place * 8 & 63));

	barrier_var(before);
}

static __always_inline void bucket_hide(struct dfw_flow_bucket *bucket, __u32 place)
{
	__u64 before = __sync_fetch_and_and(&bucket->tags, ~(0xffULL << (place * 8 & 63)));

	barrier_var(before);
}

/* Takes away the tag of a DEAD entry, whose lock is held. False: it does not lie here. */
static __always_inline bool bucket_forget(struct dfw_flow_bucket *bucket,
					  const struct dfw_flow_entry *entry)
{
	for (__u32 place = 0; place < DFW_BUCKET_ENTRIES; place++)
		if (&bucket->entries[place] == entry) {
			bucket_hide(bucket, place);
			return true;
		}
	return false;
}

enum bucket_place {
	BUCKET_EXISTS = -1, /* the key is there already */
	BUCKET_FULL = -2,
	BUCKET_BUSY = -3, /* another CPU holds what is there under that key */
};

/* A free entry of the bucket, whose lock is held; now the entry's is, too. */
static __always_inline int bucket_take_free(struct dfw_flow_bucket *bucket)
{
	__u64 tops = table_match(bucket->tags, 0);

	for (int tries = 0; tries < DFW_BUCKET_ENTRIES && tops; tries++) {
		__u32 place = table_place(tops);

		barrier_var(place);
		if (place >= DFW_BUCKET_ENTRIES)
			break;
		/* The tag is what counts: a byte above a free one looks free, too. */
		if (!(bucket->tags >> (place * 8 & 63) & 0xff) &&
		    lock_try(&bucket->entries[place].flow.lock))
			return place;
		tops &= tops - 1;
	}
	return BUCKET_FULL;
}

#define TABLE_HAND_SHIFT 56

/* Makes room among flows that may give way: the one that has been here longest does. */
static __always_inline int bucket_take_oldest(struct dfw_flow_bucket *bucket)
{
	for (int tries = 0; tries < DFW_BUCKET_ENTRIES; tries++) {
		__u64 tags = __sync_fetch_and_add(&bucket->tags, 1ULL << TABLE_HAND_SHIFT);
		__u32 place = (tags >> TABLE_HAND_SHIFT) % DFW_BUCKET_ENTRIES;

		barrier_var(place); /* or the compiler knows better than the verifier */
		if (place >= DFW_BUCKET_ENTRIES || !lock_try(&bucket->entries[place].flow.lock))
			continue;
		bucket->entries[place].flow.state = DFW_FLOW_DEAD;
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

/* Replaces the flow of an entry that was found under the bucket's lock. BUCKET_EXISTS: it is replaced; BUCKET_BUSY; BUCKET_FULL:
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

/* Puts a flow into the bucket of its hash, whose lock is held. `evict`: another may give way. Returns its place, or enum
 * bucket_place. */
static __always_inline int bucket_put(struct dfw_flow_bucket *bucket,
				      const struct dfw_flow_key *key, __u64 hash,
				      const struct dfw_flow *flow, const enum put_how how,
				      const bool evict)
{
	struct dfw_flow_entry *found = bucket_find(bucket, key, hash);
	struct dfw_flow_entry *entry;
	int place;

	if (found && found->flow.state != DFW_FLOW_DEAD) {
		place = how == PUT_NEW ? BUCKET_EXISTS : bucket_replace(found, key, flow);
		if (place != BUCKET_FULL)
			return place;
	}
	place = bucket_take_free(bucket);
	if (place < 0 && evict)
		place = bucket_take_oldest(bucket);
	if (place < 0 || place >= DFW_BUCKET_ENTRIES)
		return BUCKET_FULL;
	entry = &bucket->entries[place];
	entry->key = *key;
	flow_write(&entry->flow, flow);
	bucket_show(bucket, place, dfw_flow_tag(hash));
	lock_free(&entry->flow.lock);
	return place;
}

#endif
