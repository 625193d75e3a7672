// SPDX-License-Identifier: GPL-2.0
/*
 * The bench's programs: one that writes frames, and the ends of their way.
 *
 * inject is run by BPF_PROG_RUN with BPF_F_TEST_XDP_LIVE_FRAMES. The kernel hands out the same pages again and again
 * without resetting them, and the stack has changed MACs and TTL by then: so every byte is written each time.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "inject.h"

/* In a section, hence a map, of its own. */
SEC(".data.config") struct inject_config config = {};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, INJECT_HEADERS);
	__type(key, __u32);
	__type(value, struct inject_header);
} headers SEC(".maps");

/* The XDP program of the device that the frames seem to come from. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} hook SEC(".maps");

/* How many frames have come to their end. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} arrived SEC(".maps");

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	union {
		struct udphdr udp;
		struct tcphdr tcp;
		__u8 bytes[INJECT_FRAME_BYTES - sizeof(struct ethhdr) - sizeof(struct iphdr)];
	} __attribute__((packed));
} __attribute__((packed));

_Static_assert(sizeof(struct frame) == INJECT_FRAME_BYTES, "the frame is full");

/* Who speaks to whom. Host byte order. */
struct talk {
	__u32 source;
	__u32 destination;
	__u16 source_port;
	__u16 destination_port;
};

/* ---- Sums -------------------------------------------------------------------------------------------------------- */

/* Of numbers in host byte order, so that nothing that was just written need be read again. */

static __always_inline __u32 halves(__u32 word)
{
	return (word >> 16) + (word & 0xffff);
}

static __always_inline __be16 checksum(__u32 sum)
{
	return bpf_htons((__u16)~halves(halves(sum)));
}

/* ---- Frames ------------------------------------------------------------------------------------------------------ */

static __always_inline void write_link(struct frame *frame)
{
	const __u8 *source = config.from_vm ? config.vm_mac : config.outside_mac;
	const __u8 *destination = config.from_vm ? config.outside_mac : config.vm_mac;

	__builtin_memset(frame, 0, sizeof(*frame));
	__builtin_memcpy(frame->eth.h_source, source, ETH_ALEN);
	__builtin_memcpy(frame->eth.h_dest, destination, ETH_ALEN);
	frame->eth.h_proto = bpf_htons(ETH_P_IP);
}

static __always_inline void write_ip(struct frame *frame, const struct talk *talk, __u8 protocol,
				     __u16 bytes)
{
	__u16 total = sizeof(frame->ip) + bytes;

	frame->ip.version = 4;
	frame->ip.ihl = sizeof(frame->ip) / 4;
	frame->ip.tot_len = bpf_htons(total);
	frame->ip.ttl = 64;
	frame->ip.protocol = protocol;
	frame->ip.saddr = bpf_htonl(talk->source);
	frame->ip.daddr = bpf_htonl(talk->destination);
	frame->ip.check = checksum(0x4500 + total + (64 << 8 | protocol) + halves(talk->source) +
				   halves(talk->destination));
}

static __always_inline void write_udp(struct frame *frame, const struct talk *talk)
{
	write_ip(frame, talk, IPPROTO_UDP, sizeof(frame->bytes));
	frame->udp.source = bpf_htons(talk->source_port);
	frame->udp.dest = bpf_htons(talk->destination_port);
	frame->udp.len = bpf_htons(sizeof(frame->bytes));
}

/* Its checksum is right, or the firewall would drop it for that. */
static __always_inline void write_syn(struct frame *frame, const struct talk *talk, __u32 seq)
{
	const __u16 window = 64240, offset_flags = sizeof(frame->tcp) / 4 << 12 | 0x02;

	write_ip(frame, talk, IPPROTO_TCP, sizeof(frame->tcp));
	frame->tcp.source = bpf_htons(talk->source_port);
	frame->tcp.dest = bpf_htons(talk->destination_port);
	frame->tcp.seq = bpf_htonl(seq);
	frame->tcp.doff = sizeof(frame->tcp) / 4;
	frame->tcp.syn = 1;
	frame->tcp.window = bpf_htons(window);
	frame->tcp.check = checksum(halves(talk->source) + halves(talk->destination) + IPPROTO_TCP +
				    sizeof(frame->tcp) + talk->source_port +
				    talk->destination_port + halves(seq) + offset_flags + window);
}

/* splitmix64 (Vigna): every number looks like chance, and the same flood comes again. */
static __always_inline __u64 scramble(__u64 n)
{
	n += 0x9e3779b97f4a7c15ULL;
	n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9ULL;
	n = (n ^ n >> 27) * 0x94d049bb133111ebULL;
	return n ^ n >> 31;
}

static __always_inline void write_flow(struct frame *frame, __u64 number)
{
	__u32 flow = (__u32)number, outside;
	struct talk talk;
	__u16 port;

	if (config.scattered)
		flow *= 2654435761U; /* Knuth: an odd multiplier visits every flow of a power of two */
	if (config.flows)
		flow %= config.flows;
	outside = config.first_address + flow / INJECT_PORTS;
	port = INJECT_FIRST_PORT + flow % INJECT_PORTS;
	if (config.from_vm)
		talk = (struct talk){config.vm_address, outside, config.vm_port, port};
	else
		talk = (struct talk){outside, config.vm_address, port, config.vm_port};
	write_udp(frame, &talk);
}

static __always_inline void write_random_syn(struct frame *frame, __u64 number)
{
	__u64 chance = scramble(number);
	struct talk talk = {
		.source = config.first_address | (__u32)(chance >> 40),
		.destination = config.vm_address,
		.source_port = (__u16)(1024 + (chance >> 16) % 64512),
		.destination_port = config.vm_port,
	};

	write_syn(frame, &talk, (__u32)chance);
}

static __always_inline void write_listed(struct frame *frame, __u64 number)
{
	__u32 index = number % INJECT_HEADERS;
	const struct inject_header *header = bpf_map_lookup_elem(&headers, &index);
	struct talk talk;

	if (!header)
		return;
	talk = (struct talk){header->outside, header->vm, header->outside_port, header->vm_port};
	if (header->protocol == IPPROTO_TCP)
		write_syn(frame, &talk, (__u32)scramble(number));
	else
		write_udp(frame, &talk);
}

SEC("xdp")
int inject(struct xdp_md *ctx)
{
	struct frame *frame = (void *)(long)ctx->data;
	__u64 number = config.next++;

	if ((void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (number == config.timed)
		config.timed_ns = bpf_ktime_get_ns();
	if (!config.first_ns)
		config.first_ns = bpf_ktime_get_ns();
	write_link(frame);
	switch (config.kind) {
	case INJECT_SYNS:
		write_random_syn(frame, number);
		break;
	case INJECT_LISTED:
		write_listed(frame, number);
		break;
	default:
		write_flow(frame, number);
	}
	switch (config.fate) {
	case INJECT_HOOK:
		bpf_tail_call(ctx, &hook, 0);
		return XDP_ABORTED;
	case INJECT_REDIRECT:
		return (int)bpf_redirect(config.target, 0);
	case INJECT_DROP:
		return XDP_DROP;
	default:
		return XDP_PASS;
	}
}

/* ---- Ends of the way --------------------------------------------------------------------------------------------- */

/* The VM's card: counts and drops, so that no stack behind it is measured. */
SEC("xdp")
int sink(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&arrived, &zero);

	if (count)
		(*count)++;
	return XDP_DROP;
}

/* Loses what a flood from 11.0.0.0/8 sends, behind the firewall: the stack of a VM would be slower than that ... */
SEC("tc")
int swallow(struct __sk_buff *skb)
{
	__u8 octet = 0;

	if (skb->protocol != bpf_htons(ETH_P_IP) ||
	    bpf_skb_load_bytes(skb, sizeof(struct ethhdr) + 12, &octet, sizeof(octet)) < 0)
		return TC_ACT_OK;
	return octet == 11 ? TC_ACT_SHOT : TC_ACT_OK;
}

/* ... and what it is answered, before it. */
SEC("xdp")
int swallow_answers(struct xdp_md *ctx)
{
	struct frame *frame = (void *)(long)ctx->data;

	if ((void *)frame + sizeof(frame->eth) + sizeof(frame->ip) > (void *)(long)ctx->data_end ||
	    frame->eth.h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	return bpf_ntohl(frame->ip.daddr) >> 24 == 11 ? XDP_DROP : XDP_PASS;
}

/* A firewall that does nothing: what any program on this hook costs. */
SEC("tc")
int nothing(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

/* Past the bridge, without a look. */
SEC("tc")
int forward(struct __sk_buff *skb)
{
	return (int)bpf_redirect(config.target, 0);
}

char LICENSE[] SEC("license") = "GPL";
