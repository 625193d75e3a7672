/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_ANSWER_H
#define DFW_BPF_ANSWER_H

#include "parse.h"

/*
 * Answers that a packet's own frame becomes: what is the same for rejections (reject.h) and challenges (challenge.h), in tc
 * and in XDP.
 */

#define ANSWER_HOP_LIMIT 64
#define ANSWER_TOS	 0xc0 /* precedence 6, internetwork control: RFC 1812 4.3.2.5 */

struct answer_frame {
	struct ethernet ethernet;
	union {
		struct {
			struct ip4 ip;
			union {
				struct tcp tcp;
				struct icmp icmp;
			};
		} __attribute__((packed)) v4;
		struct {
			struct ip6 ip;
			union {
				struct tcp tcp;
				struct icmp icmp;
			};
		} __attribute__((packed)) v6;
	};
} __attribute__((packed));

static __always_inline bool answerable(struct packet *p)
{
	const struct dfw_addr *source = packet_source(p), *destination = packet_destination(p);

	if (p->flags & (PACKET_LINK_CAST | PACKET_ERROR | PACKET_FRAGMENT_LATER))
		return false;
	if (addr_multicast(source) || addr_unspecified(source) || addr_multicast(destination) ||
	    addr_broadcast(destination))
		return false;
	return p->key.protocol != PROTOCOL_TCP || !(p->tcp_flags & TCP_RST);
}

/* Pseudo-header sum of an answer whose addresses are the packet's, swapped: the same sum. */
static __always_inline __u64 answer_pseudo(const struct packet *p, __u32 protocol, __u32 bytes)
{
	const __u32 *a = (const __u32 *)p->key.local.bytes, *b = (const __u32 *)p->key.remote.bytes;
	__u64 sum = bpf_htonl(bytes) + (__u64)bpf_htonl(protocol);

	for (int i = 0; i < 4; i++)
		sum += (__u64)a[i] + b[i];
	return sum;
}

/* A RST; or, when the SYN is challenged, the ACK of what was never sent (challenge.h). */
static __always_inline void answer_fill_tcp(const struct packet *p, struct tcp *tcp, bool partial)
{
	__u32 bytes = p->l4_bytes - p->tcp_header_bytes;
	__u64 sum = answer_pseudo(p, PROTOCOL_TCP, sizeof(*tcp));

	__builtin_memset(tcp, 0, sizeof(*tcp));
	tcp->source = bpf_htons(p->destination_port);
	tcp->destination = bpf_htons(p->source_port);
	tcp->offset = sizeof(*tcp) / 4 << 4;
	tcp->flags = TCP_RST;
	if (p->challenge) {
		tcp->flags = TCP_ACK;
		tcp->ack = bpf_htonl(p->challenge);
	} else if (p->tcp_flags & TCP_ACK) {
		tcp->seq = bpf_htonl(p->tcp_ack);
	} else {
		tcp->flags |= TCP_ACK;
		tcp->ack = bpf_htonl(p->tcp_seq + bytes + !!(p->tcp_flags & TCP_SYN) +
				     !!(p->tcp_flags & TCP_FIN));
	}
	/* A frame whose checksum is left to the hardware stays one: then only the pseudo-header is summed here. */
	if (!partial)
		for (int i = 0; i < (int)sizeof(*tcp) / 4; i++)
			sum += ((__u32 *)tcp)[i];
	tcp->checksum = partial ? checksum_fold(sum) : ~checksum_fold(sum);
}

/* Back to where it came from. */
static __always_inline void answer_turn(struct answer_frame *frame)
{
	__u8 mac[6];

	__builtin_memcpy(mac, frame->ethernet.destination, 6);
	__builtin_memcpy(frame->ethernet.destination, frame->ethernet.source, 6);
	__builtin_memcpy(frame->ethernet.source, mac, 6);
}

static __always_inline __u32 answer_ip_bytes(const struct packet *p)
{
	return p->flags & PACKET_V6 ? sizeof(struct ip6) : sizeof(struct ip4);
}

/* The IP header of an answer with so many bytes behind it. */
static __always_inline void answer_fill_ip(struct packet *p, struct answer_frame *frame, bool tcp,
					   __u32 l4_bytes)
{
	if (p->flags & PACKET_V6) {
		frame->v6.ip.version_class_flow = bpf_htonl(6U << 28);
		frame->v6.ip.payload_bytes = bpf_htons(l4_bytes);
		frame->v6.ip.next_header = tcp ? PROTOCOL_TCP : PROTOCOL_ICMP6;
		frame->v6.ip.hop_limit = ANSWER_HOP_LIMIT;
		__builtin_memcpy(&frame->v6.ip.source, packet_destination(p), 16);
		__builtin_memcpy(&frame->v6.ip.destination, packet_source(p), 16);
	} else {
		struct ip4 ip;

		frame->v4.ip.version_ihl = 0x45;
		frame->v4.ip.tos = ANSWER_TOS;
		frame->v4.ip.total_bytes = bpf_htons(sizeof(ip) + l4_bytes);
		frame->v4.ip.ttl = ANSWER_HOP_LIMIT;
		frame->v4.ip.protocol = tcp ? PROTOCOL_TCP : PROTOCOL_ICMP;
		__builtin_memcpy(&frame->v4.ip.source, packet_destination(p)->bytes + 12, 4);
		__builtin_memcpy(&frame->v4.ip.destination, packet_source(p)->bytes + 12, 4);
		__builtin_memcpy(&ip, &frame->v4.ip, sizeof(ip));
		frame->v4.ip.checksum =
			~checksum_fold(checksum_words((__u32 *)&ip, sizeof(ip) / 4));
	}
}

/* Its TCP header. The packed frame gives no aligned place to sum it in. */
static __always_inline void answer_place_tcp(const struct packet *p, struct answer_frame *frame,
					     bool partial)
{
	struct tcp tcp;

	answer_fill_tcp(p, &tcp, partial);
	if (p->flags & PACKET_V6)
		__builtin_memcpy(&frame->v6.tcp, &tcp, sizeof(tcp));
	else
		__builtin_memcpy(&frame->v4.tcp, &tcp, sizeof(tcp));
}

#endif
