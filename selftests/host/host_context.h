/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTESTS_HOST_CONTEXT_H
#define SELFTESTS_HOST_CONTEXT_H

/*
 * What bpf/context.h is when DFW_HOST is defined: the kernel as the datapath sees it, in plain C, so that its headers
 * compile unchanged and run under the sanitizers.
 *
 * A map is declared as for libbpf: a struct of pointers whose types say its shape. The first of them, `type`, points to
 * nothing in an object file; here it points to the map (host_maps.h). So the helpers need no list of maps, and bpf/maps.h
 * no hook.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The datapath names its argument so; the kernel's has 32-bit pointers. */
#define __sk_buff kernel_sk_buff
#include <linux/bpf.h>
#undef __sk_buff
#include <linux/pkt_cls.h>

#include <dfw/types.h>

#include "host_maps.h"

#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#define SEC(name)
#define __uint(name, value)   int(*name)[value]
#define __type(name, value)   __typeof__(value) *name
#define __array(name, value)  __typeof__(value) *name[]
#define barrier()	      __asm__ volatile("" ::: "memory")
#define barrier_var(variable) __asm__ volatile("" : "+r"(variable))

#define bpf_htons(x) __builtin_bswap16(x)
#define bpf_ntohs(x) __builtin_bswap16(x)
#define bpf_htonl(x) __builtin_bswap32(x)
#define bpf_ntohl(x) __builtin_bswap32(x)
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the swaps above");

enum ip_summed {
	CHECKSUM_NONE = 0,
	CHECKSUM_UNNECESSARY = 1,
	CHECKSUM_COMPLETE = 2,
	CHECKSUM_PARTIAL = 3,
};

/* A frame, with what the kernel's skb knows of it. */
struct __sk_buff {
	__u8 *bytes; /* of host_skb_put: exactly `len`, so that the sanitizer sees what reads beyond */
	__u32 len;
	__u32 mark;
	__u32 ifindex;
	__u32 vlan_present; /* the tag was taken out of the frame */
	__u32 vlan_tci;
	__u32 vlan_proto; /* of that tag, in network byte order */
	__u32 protocol;	  /* the EtherType behind it, in network byte order */
	__u32 tc_index;
	__u32 ingress_ifindex;
	__u32 mtu; /* of the device that it leaves by */
	__u32 gso_segs;
	__u32 gso_size;
	enum ip_summed ip_summed;
	__u32 redirect_ifindex; /* what bpf_redirect was asked for, if it was */
	__u64 redirect_flags;
	bool redirected;
};

typedef struct __sk_buff context_t;

/* Two bytes before the frame align its IP header, as NET_IP_ALIGN does. */
#define HOST_ALIGN 2

static inline void host_skb_drop(context_t *ctx)
{
	if (ctx->bytes)
		free(ctx->bytes - HOST_ALIGN);
	ctx->bytes = NULL;
}

/* Gives the skb a copy of a frame, which may be shorter than `room`. */
static inline void host_skb_put(context_t *ctx, const void *bytes, __u32 nr, __u32 room)
{
	__u8 *memory = calloc(1, HOST_ALIGN + room);

	if (!memory) {
		fprintf(stderr, "no memory for a frame\n");
		exit(1);
	}
	memcpy(memory + HOST_ALIGN, bytes, nr);
	host_skb_drop(ctx);
	ctx->bytes = memory + HOST_ALIGN;
	ctx->len = room;
}

/* ---- What the programs may call ------------------------------------------------------------------------------- */

extern __u64 host_now_ns; /* the clock */
extern context_t
	*host_current; /* the frame whose program runs: bpf_redirect has no argument for it */

static inline __u64 context_now_ns(void)
{
	return host_now_ns;
}

static inline __u32 bpf_get_smp_processor_id(void)
{
	return 0;
}

static inline void *bpf_map_lookup_elem(void *map, const void *key)
{
	return host_map_lookup(map, key);
}

static inline long bpf_map_update_elem(void *map, const void *key, const void *value, __u64 flags)
{
	return host_map_update(map, key, value, flags);
}

static inline long bpf_map_delete_elem(void *map, const void *key)
{
	return host_map_delete(map, key);
}

static inline long bpf_for_each_map_elem(void *map,
					 long (*callback)(void *map, const void *key, void *value,
							  void *data),
					 void *data, __u64 flags)
{
	(void)flags;
	return host_map_each(map, callback, data);
}

static inline void *bpf_ringbuf_reserve(void *map, __u64 bytes, __u64 flags)
{
	(void)flags;
	return host_ring_reserve(map, bytes);
}

static inline void bpf_ringbuf_submit(void *record, __u64 flags)
{
	(void)flags;
	host_ring_submit(record);
}

static inline __u64 bpf_ringbuf_query(void *map, __u64 flags)
{
	(void)map;
	(void)flags;
	return 0;
}

/* The kernel's bound is 8 Mi steps. */
static inline long bpf_loop(__u32 steps, long (*callback)(__u64 index, void *data), void *data,
			    __u64 flags)
{
	__u32 i;

	(void)flags;
	for (i = 0; i < steps; i++)
		if (callback(i, data))
			return i + 1;
	return i;
}

static inline long bpf_skb_load_bytes(const context_t *ctx, __u32 offset, void *to, __u32 bytes)
{
	if (offset > INT32_MAX || (__u64)offset + bytes > ctx->len)
		return -14; /* EFAULT */
	memcpy(to, ctx->bytes + offset, bytes);
	return 0;
}

static inline long bpf_skb_store_bytes(context_t *ctx, __u32 offset, const void *from, __u32 bytes,
				       __u64 flags)
{
	(void)flags;
	if (offset > INT32_MAX || (__u64)offset + bytes > ctx->len)
		return -14;
	memcpy(ctx->bytes + offset, from, bytes);
	return 0;
}

/* Like the kernel's it drops what the hardware was to do with a frame of many segments. */
static inline long bpf_skb_change_tail(context_t *ctx, __u32 bytes, __u64 flags)
{
	if (flags || bytes < 14 || bytes > 65535)
		return -22;
	host_skb_put(ctx, ctx->bytes, bytes < ctx->len ? bytes : ctx->len, bytes);
	ctx->gso_size = 0;
	ctx->gso_segs = 0;
	return 0;
}

static inline long bpf_redirect(__u32 ifindex, __u64 flags)
{
	host_current->redirected = true;
	host_current->redirect_ifindex = ifindex;
	host_current->redirect_flags = flags;
	return TC_ACT_REDIRECT;
}

static inline long bpf_skb_vlan_push(context_t *ctx, __be16 proto, __u16 tci)
{
	ctx->vlan_present = 1;
	ctx->vlan_proto = proto;
	ctx->vlan_tci = tci;
	return 0;
}

static inline long bpf_skb_vlan_pop(context_t *ctx)
{
	ctx->vlan_present = 0;
	return 0;
}

/* As far as the datapath asks: what the MTU is. */
static inline long bpf_check_mtu(context_t *ctx, __u32 ifindex, __u32 *mtu, __s32 change,
				 __u64 flags)
{
	(void)ifindex;
	(void)change;
	(void)flags;
	*mtu = ctx->mtu;
	return 0;
}

/* As in the kernel: multiples of 4 bytes, a seed of 32 bits, the sum of 32 bits comes back. */
static inline __s64 bpf_csum_diff(const __be32 *from, __u32 from_bytes, const __be32 *to,
				  __u32 to_bytes, __u32 seed)
{
	__u64 sum = seed;

	if ((from_bytes | to_bytes) & 3)
		return -22;
	for (__u32 i = 0; i < to_bytes / 4; i++) {
		__u32 word;

		memcpy(&word, (const __u8 *)to + 4 * i, sizeof(word));
		sum += word;
	}
	for (__u32 i = 0; i < from_bytes / 4; i++) {
		__u32 word;

		memcpy(&word, (const __u8 *)from + 4 * i, sizeof(word));
		sum += ~word;
	}
	while (sum >> 32)
		sum = (sum & 0xffffffff) + (sum >> 32);
	return (__s64)sum;
}

/* ---- How a frame is read -------------------------------------------------------------------------------------- */

#define MAX_FRAME_OFFSET 0x7fff

#define context_copy(to, from, bytes) memcpy(to, from, bytes)

static __always_inline const void *context_data(context_t *ctx)
{
	return ctx->bytes;
}

/* The whole frame lies in one piece. */
static __always_inline const void *context_data_end(context_t *ctx)
{
	return ctx->bytes + ctx->len;
}

static __always_inline bool context_load(context_t *ctx, __u32 offset, void *to, const __u32 bytes)
{
	return bpf_skb_load_bytes(ctx, offset, to, bytes) == 0;
}

static __always_inline __u32 context_bytes(context_t *ctx)
{
	return ctx->len;
}

static __always_inline enum ip_summed context_ip_summed(context_t *ctx)
{
	return ctx->ip_summed;
}

static __always_inline long context_load_bytes(context_t *ctx, __u32 offset, void *to, __u32 bytes)
{
	return bpf_skb_load_bytes(ctx, offset, to, bytes);
}

static __always_inline __u32 context_map_entries(void *map)
{
	return host_map_entries(map);
}

static __always_inline bool context_shows(void)
{
	return true;
}

static __always_inline bool context_vouched(context_t *ctx)
{
	return ctx->ip_summed == CHECKSUM_UNNECESSARY || ctx->ip_summed == CHECKSUM_PARTIAL;
}

static __always_inline __u32 context_gso_size(context_t *ctx)
{
	return ctx->gso_size;
}

static __always_inline __u32 context_gso_segs(context_t *ctx)
{
	return ctx->gso_segs;
}

static __always_inline bool context_tag(context_t *ctx, __u16 *vlan)
{
	*vlan = !ctx->vlan_present			    ? 0
		: ctx->vlan_proto != bpf_htons(ETH_P_8021Q) ? VLAN_FOREIGN
							    : ctx->vlan_tci & VLAN_VID_MASK;
	return ctx->vlan_present;
}

#endif
