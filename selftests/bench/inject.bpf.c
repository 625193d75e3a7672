// SPDX-License-Identifier: GPL-2.0
/*
 * Writes frames for BPF_PROG_RUN with BPF_F_TEST_XDP_LIVE_FRAMES. The kernel hands out the same pages again and again
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

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	__u8 payload[INJECT_FRAME_BYTES - sizeof(struct ethhdr) - sizeof(struct iphdr) -
		     sizeof(struct udphdr)];
} __attribute__((packed));

static __always_inline __u16 ip_checksum(const void *header)
{
	const __u16 *words = header;
	__u32 sum = 0;

	for (int i = 0; i < 10; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

struct syn_frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
	__u8 padding[INJECT_FRAME_BYTES - sizeof(struct ethhdr) - sizeof(struct iphdr) -
		     sizeof(struct tcphdr)];
} __attribute__((packed));

/* splitmix64 (Vigna): every number looks like chance, and the same flood comes again. */
static __always_inline __u64 scramble(__u64 n)
{
	n += 0x9e3779b97f4a7c15ULL;
	n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9ULL;
	n = (n ^ n >> 27) * 0x94d049bb133111ebULL;
	return n ^ n >> 31;
}

/* The checksum is right, or the firewall would drop the frame for it. */
static __always_inline __u16 tcp_checksum(const struct syn_frame *frame)
{
	const __u16 *words = (const void *)&frame->tcp, *ends = (const void *)&frame->ip.saddr;
	__u32 sum = bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(frame->tcp));

	for (int i = 0; i < 4; i++)
		sum += ends[i];
	for (int i = 0; i < (int)sizeof(frame->tcp) / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

static __always_inline int inject_syn(struct xdp_md *ctx)
{
	struct syn_frame *frame = (void *)(long)ctx->data;
	__u64 chance = scramble(config.next++);

	if ((void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	__builtin_memset(frame, 0, sizeof(*frame));
	frame->eth.h_proto = bpf_htons(ETH_P_IP);
	__builtin_memcpy(frame->eth.h_source, config.outside_mac, ETH_ALEN);
	__builtin_memcpy(frame->eth.h_dest, config.vm_mac, ETH_ALEN);
	frame->ip.version = 4;
	frame->ip.ihl = 5;
	frame->ip.tot_len = bpf_htons(sizeof(frame->ip) + sizeof(frame->tcp));
	frame->ip.ttl = 64;
	frame->ip.protocol = IPPROTO_TCP;
	frame->ip.saddr = bpf_htonl(config.first_address | (__u32)(chance >> 40)); /* of a /8 */
	frame->ip.daddr = bpf_htonl(config.vm_address);
	frame->ip.check = ip_checksum((const char *)frame + sizeof(frame->eth));
	frame->tcp.source = bpf_htons((__u16)(1024 + (chance >> 16) % 64512));
	frame->tcp.dest = bpf_htons(config.vm_port);
	frame->tcp.seq = bpf_htonl((__u32)chance);
	frame->tcp.doff = sizeof(frame->tcp) / 4;
	frame->tcp.syn = 1;
	frame->tcp.window = bpf_htons(64240);
	frame->tcp.check = tcp_checksum(frame);
	return XDP_PASS;
}

SEC("xdp")
int inject(struct xdp_md *ctx)
{
	struct frame *frame = (void *)(long)ctx->data;
	__u32 flow, address, port;

	if (config.syn)
		return inject_syn(ctx);
	if ((void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;

	flow = (__u32)config.next++;
	if (config.scattered)
		flow *= 2654435761U; /* Knuth: an odd multiplier visits every flow of a power of two */
	if (config.flows)
		flow %= config.flows;
	address = config.first_address + flow / INJECT_PORTS;
	port = INJECT_FIRST_PORT + flow % INJECT_PORTS;

	__builtin_memset(frame, 0, sizeof(*frame));
	frame->eth.h_proto = bpf_htons(ETH_P_IP);
	frame->ip.version = 4;
	frame->ip.ihl = 5;
	frame->ip.tot_len = bpf_htons(INJECT_FRAME_BYTES - sizeof(struct ethhdr));
	frame->ip.ttl = 64;
	frame->ip.protocol = IPPROTO_UDP;
	frame->udp.len =
		bpf_htons(INJECT_FRAME_BYTES - sizeof(struct ethhdr) - sizeof(struct iphdr));
	if (config.from_vm) {
		__builtin_memcpy(frame->eth.h_source, config.vm_mac, ETH_ALEN);
		__builtin_memcpy(frame->eth.h_dest, config.outside_mac, ETH_ALEN);
		frame->ip.saddr = bpf_htonl(config.vm_address);
		frame->ip.daddr = bpf_htonl(address);
		frame->udp.source = bpf_htons(config.vm_port);
		frame->udp.dest = bpf_htons(port);
	} else {
		__builtin_memcpy(frame->eth.h_source, config.outside_mac, ETH_ALEN);
		__builtin_memcpy(frame->eth.h_dest, config.vm_mac, ETH_ALEN);
		frame->ip.saddr = bpf_htonl(address);
		frame->ip.daddr = bpf_htonl(config.vm_address);
		frame->udp.source = bpf_htons(port);
		frame->udp.dest = bpf_htons(config.vm_port);
	}
	frame->ip.check = ip_checksum((const char *)frame + sizeof(frame->eth));
	return XDP_PASS;
}

__u64 arrived;

/* The end of the way: counts and drops, so that no stack behind it is measured. */
SEC("tc")
int sink(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&arrived, 1);
	return TC_ACT_SHOT;
}

/* Loses what a flood from 11.0.0.0/8 sends, behind the firewall: the stack of a VM would be slower than that. */
SEC("tc")
int swallow(struct __sk_buff *skb)
{
	__u8 octet = 0;

	if (skb->protocol != bpf_htons(ETH_P_IP) ||
	    bpf_skb_load_bytes(skb, sizeof(struct ethhdr) + 12, &octet, sizeof(octet)) < 0)
		return TC_ACT_OK;
	return octet == 11 ? TC_ACT_SHOT : TC_ACT_OK;
}

/* A firewall that does nothing: what any program on this hook costs. */
SEC("tc")
int nothing(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
