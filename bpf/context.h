/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_CONTEXT_H
#define DFW_BPF_CONTEXT_H

/* How the datapath reads a frame. Only this file knows whether the frame is an skb or, with DFW_XDP, what a driver hands to
 * XDP; the selftests bring a context of their own, so that the same headers run in user space under a fuzzer. */

#define ETHERNET_BYTES 14
#define VLAN_BYTES     4
#define VLAN_VID_MASK  0x0fff
#define VLAN_FOREIGN \
	0xffff /* no VLAN: what a tag that is not 802.1Q's is judged as, so that no port has it */

#ifndef ETH_P_IP
#define ETH_P_IP	0x0800
#define ETH_P_ARP	0x0806
#define ETH_P_RARP	0x8035
#define ETH_P_8021Q	0x8100
#define ETH_P_IPV6	0x86dd
#define ETH_P_8021AD	0x88a8
#define ETH_P_QINQ1	0x9100
#define ETH_P_802_3_MIN 0x0600
#endif

/* Which way nearly all packets go: the code of that way shall lie in one piece. */
#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

#ifdef DFW_HOST
#include "host_context.h"
#else

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include <dfw/types.h>

enum ip_summed {
	CHECKSUM_NONE = 0,
	CHECKSUM_UNNECESSARY = 1,
	CHECKSUM_COMPLETE = 2,
	CHECKSUM_PARTIAL = 3,
};

#ifdef DFW_XDP
typedef struct xdp_md context_t;
#else
typedef struct __sk_buff context_t;
#endif

/* No header begins beyond: the verifier wants a bound that leaves room for the header itself. */
#define MAX_FRAME_OFFSET	      0x7fff

/* CLOCK_MONOTONIC as of the last tick, which is what bpf_ktime_get_coarse_ns tells; asked once a tick, as a call costs more
 * than two words that all CPUs share. Written in the order in which they are not read, so that a tick never comes with the
 * time of one before it. */
static volatile struct {
	__u64 now_ns;
	__u64 tick;
} coarse_clock __attribute__((aligned(64)));

static __always_inline __u64 context_now_ns(void)
{
	__u64 tick = bpf_jiffies64(), now_ns;

	if (coarse_clock.tick == tick)
		return coarse_clock.now_ns;
	now_ns = bpf_ktime_get_coarse_ns();
	coarse_clock.now_ns = now_ns;
	coarse_clock.tick = tick;
	return now_ns;
}

struct bpf_map {
	__u32 max_entries;
} __attribute__((preserve_access_index));

static __always_inline __u32 context_map_entries(void *map)
{
	return ((struct bpf_map *)map)->max_entries;
}

/* Copies a constant number of bytes out of a frame, which may lie at any address. */
#define context_copy(to, from, bytes) __builtin_memcpy(to, __builtin_assume_aligned(from, 8), bytes)

/* The part of the frame that lies in one piece. */
static __always_inline const void *context_data(context_t *ctx)
{
	return (const void *)(long)ctx->data;
}

static __always_inline const void *context_data_end(context_t *ctx)
{
	return (const void *)(long)ctx->data_end;
}

#ifdef DFW_XDP

static __always_inline long context_load_bytes(context_t *ctx, __u32 offset, void *to, __u32 bytes)
{
	return bpf_xdp_load_bytes(ctx, offset, to, bytes);
}

static __always_inline __u32 context_bytes(context_t *ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

/* What the card has checked, it tells the skb only. */
static __always_inline enum ip_summed context_ip_summed(context_t *ctx __attribute__((unused)))
{
	return CHECKSUM_NONE;
}

static __always_inline bool context_shows(void)
{
	return true;
}

static __always_inline bool context_vouched(context_t *ctx __attribute__((unused)))
{
	return false;
}

/* One frame is one segment: no driver hands merged ones to XDP. */
static __always_inline __u32 context_gso_size(context_t *ctx __attribute__((unused)))
{
	return 0;
}

static __always_inline __u32 context_gso_segs(context_t *ctx __attribute__((unused)))
{
	return 0;
}

/* Tags lie in the frame. */
static __always_inline bool context_tag(context_t *ctx __attribute__((unused)), __u16 *vlan)
{
	*vlan = 0;
	return false;
}

#else

/* The few kernel fields that __sk_buff does not show. */
struct sk_buff {
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

static __always_inline long context_load_bytes(context_t *ctx, __u32 offset, void *to, __u32 bytes)
{
	return bpf_skb_load_bytes(ctx, offset, to, bytes);
}

static __always_inline __u32 context_bytes(context_t *ctx)
{
	return ctx->len;
}

void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

/* Can the skb be read without a call? From Linux 6.2 on. */
static __always_inline bool context_shows(void)
{
	return bpf_cast_to_kern_ctx != NULL;
}

static __always_inline enum ip_summed context_ip_summed(context_t *ctx)
{
	struct sk_buff *skb = (void *)ctx;

	if (context_shows()) {
		skb = bpf_cast_to_kern_ctx(ctx);
		return BPF_CORE_READ_BITFIELD(skb, ip_summed);
	}
	return BPF_CORE_READ_BITFIELD_PROBED(skb, ip_summed);
}

/* Does the hardware or the sender's own stack vouch for the transport checksum? */
static __always_inline bool context_vouched(context_t *ctx)
{
	enum ip_summed summed = context_ip_summed(ctx);

	return summed == CHECKSUM_UNNECESSARY || summed == CHECKSUM_PARTIAL;
}

static __always_inline __u32 context_gso_size(context_t *ctx)
{
	return ctx->gso_size;
}

static __always_inline __u32 context_gso_segs(context_t *ctx)
{
	return ctx->gso_segs;
}

/* Was a tag taken out of the frame? Of which VLAN? */
static __always_inline bool context_tag(context_t *ctx, __u16 *vlan)
{
	*vlan = 0;
	if (!ctx->vlan_present)
		return false;
	*vlan = ctx->vlan_proto == bpf_htons(ETH_P_8021Q) ? ctx->vlan_tci & VLAN_VID_MASK
							  : VLAN_FOREIGN;
	return true;
}

#endif

/* Copies `bytes` (a constant) at `offset` of the frame; false when the frame is shorter. Never pulls: a GSO frame keeps
 * its pages where they are. */
static __always_inline bool context_load(context_t *ctx, __u32 offset, void *to, const __u32 bytes)
{
	const void *data = context_data(ctx), *end = context_data_end(ctx);

	barrier_var(offset); /* the bound must hold for the register that is added */
	if (offset > MAX_FRAME_OFFSET)
		return false;
	data += offset;
	if (data + bytes <= end) {
		__builtin_memcpy(to, __builtin_assume_aligned(data, 8), bytes);
		return true;
	}
	return context_load_bytes(ctx, offset, to, bytes) == 0;
}

#endif

/* Segments that a frame with this much transport payload will be on the wire. A tap does not say how many. */
static __always_inline __u32 segments_of(__u32 gso_segs, __u32 gso_size, __u32 payload)
{
	if (gso_segs)
		return gso_segs;
	return payload <= gso_size ? 1 : (payload + gso_size - 1) / gso_size;
}

static __always_inline __u32 context_segments(context_t *ctx, __u32 gso_size, __u32 payload)
{
	return likely(!gso_size) ? 1 : segments_of(context_gso_segs(ctx), gso_size, payload);
}

static __always_inline bool context_is_gso(context_t *ctx)
{
	return context_gso_size(ctx) != 0;
}

/* A big stage is a global function: the verifier checks it once, on its own. */
#define DFW_STAGE __attribute__((noinline))

enum protocol {
	PROTOCOL_HOP_BY_HOP = 0,
	PROTOCOL_ICMP = 1,
	PROTOCOL_IGMP = 2,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	PROTOCOL_ROUTING = 43,
	PROTOCOL_FRAGMENT = 44,
	PROTOCOL_GRE = 47,
	PROTOCOL_ESP = 50,
	PROTOCOL_AH = 51,
	PROTOCOL_ICMP6 = 58,
	PROTOCOL_NONE = 59,
	PROTOCOL_DESTINATION = 60,
	PROTOCOL_SCTP = 132,
	PROTOCOL_RESERVED = 255,
};

enum tcp_flag {
	TCP_FIN = 1 << 0,
	TCP_SYN = 1 << 1,
	TCP_RST = 1 << 2,
	TCP_PSH = 1 << 3,
	TCP_ACK = 1 << 4,
	TCP_URG = 1 << 5,
	/* ECE, CWR and AE may stand anywhere (RFC 3168, RFC 9768). */
};

#endif
