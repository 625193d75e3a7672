/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_FLOW_HASH_H
#define DFW_FLOW_HASH_H

#include <dfw/flow.h>
#include <dfw/types.h>

#define DFW_HASH_WORDS (sizeof(struct dfw_flow_key) / sizeof(__u64))

/* In which bucket of a table a flow lies, and by which tag. The sum is NH (Black et al. 1999, "UMAC"): two keys that somebody
 * chooses have the same with a chance of 2^-32, as long as he does not know the secret. */
static inline __attribute__((always_inline)) __u64 dfw_flow_hash(const volatile __u64 *secret,
								 const struct dfw_flow_key *key)
{
	const __u64 *word = (const __u64 *)key;
	__u64 hash = 0;

	for (unsigned int i = 0; i < DFW_HASH_WORDS; i++) {
		__u64 mask = secret[i];
		__u32 low = (__u32)word[i] + (__u32)mask;
		__u32 high = (__u32)(word[i] >> 32) + (__u32)(mask >> 32);

		hash += (__u64)low * high;
	}
	/* Bucket and tag are some of its bits: all shall count there. */
	hash ^= hash >> 32;
	return hash * 0x9e3779b97f4a7c15ULL;
}

/* The bucket's number in a table of so many pages, counted through all of them. */
static inline __attribute__((always_inline)) __u32 dfw_flow_bucket_index(__u64 hash, __u32 pages)
{
	return (__u32)((hash >> 32) * (DFW_PAGE_BUCKETS * (__u64)pages) >> 32);
}

/* The place in its bucket that a confirmed flow takes if it is free. */
static inline __attribute__((always_inline)) __u32 dfw_flow_home(__u64 hash)
{
	return (__u32)((hash & 0xffffff) * DFW_BUCKET_ENTRIES >> 24);
}

static inline __attribute__((always_inline)) __u8 dfw_flow_tag(__u64 hash)
{
	__u8 tag = (__u8)(hash >> 24);

	return tag ? tag : 1;
}

#endif
