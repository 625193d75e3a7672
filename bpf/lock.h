/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_LOCK_H
#define DFW_BPF_LOCK_H

#include "context.h"

/* A lock is a word of a map, taken by compare-and-swap: bpf_spin_lock is not allowed in maps inside maps before Linux 6.2. */

#define LOCK_TRIES 4096

static __always_inline bool lock_try(__u32 *lock)
{
	return __sync_val_compare_and_swap(lock, 0, 1) == 0;
}

/* The lock is free, but for two CPUs with packets of one flow: then it is so in some 50 ns. */
DFW_STAGE int lock_contended(__u32 *lock)
{
	if (!lock)
		return 0;
	for (int i = 0; i < LOCK_TRIES; i++)
		if (lock_try(lock))
			return 1;
	return 0;
}

static __always_inline bool lock_take(__u32 *lock)
{
	return likely(lock_try(lock)) || lock_contended(lock);
}

/* What was written under the lock is seen before it is seen to be free. x86 keeps stores in their order, so a plain one will do
 * there, at a third of the price; BPF has a store with release since Linux 6.15 only. */
static __always_inline void lock_free(__u32 *lock)
{
#ifdef __TARGET_ARCH_x86
	barrier();
	*(volatile __u32 *)lock = 0;
#else
	__sync_lock_test_and_set(lock, 0);
#endif
}

#endif
