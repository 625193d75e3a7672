/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_PARSE_H
#define DFW_BPF_PARSE_H

#include "checksum.h"
#include "packet.h"
#include "tcp.h"

struct ethernet {
	__u8 destination[6];
	__u8 source[6];
	__be16 type;
};

struct ip4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_bytes;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__be32 source;
	__be32 destination;
};

struct vlan_tag {
	__be16 tci;
	__be16 type; /* of what follows */
};

#define IP4_MORE		0x2000
#define IP4_OFFSET		0x1fff
#define IP4_OPTION_RECORD_ROUTE 7
#define IP4_OPTION_LOOSE_ROUTE	131
#define IP4_OPTION_STRICT_ROUTE 137
#define IP4_OPTION_ROUTER_ALERT 148

struct ip6 {
	__be32 version_class_flow;
	__be16 payload_bytes;
	__u8 next_header;
	__u8 hop_limit;
	struct dfw_addr source;
	struct dfw_addr destination;
};

/* The same where it lies in a frame: a tag before it leaves the addresses at a multiple of 4. */
struct ip6_words {
	__be32 version_class_flow;
	__be16 payload_bytes;
	__u8 next_header;
	__u8 hop_limit;
	__be32 source[4];
	__be32 destination[4];
};

struct tcp {
	__be16 source;
	__be16 destination;
	__be32 seq;
	__be32 ack;
	__u8 offset; /* high nibble: header length in words */
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

struct udp {
	__be16 source;
	__be16 destination;
	__be16 bytes;
	__be16 checksum;
};

struct icmp {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 id;	 /* or the unused part of an error */
	__be16 sequence; /* or the MTU of 3/4 */
};

#define MAX_OPTIONS_BYTES 40

/* What the options of an IPv4 or TCP header, which are built alike, amount to. */
struct options {
	__u8 list[MAX_OPTIONS_BYTES];
	__u32 bytes;
	__u32 at;
	__u8 malformed;
	__u8 routes; /* IPv4: source routes, record route */
	__u8 alerts; /* IPv4: Router Alert (RFC 2113) */
	__u8 others; /* none of those, nor padding */
	__u8 scale;  /* TCP: the window scale, or TCP_NO_SCALE */
};

#define TCP_OPTION_SCALE 3

static long options_step(__u64 index __attribute__((unused)), void *data)
{
	struct options *options = data;
	__u32 at = options->at;
	__u8 kind, length;

	if (at >= options->bytes || at >= MAX_OPTIONS_BYTES)
		return 1;
	kind = options->list[at];
	if (kind == 0) /* end of list */
		return 1;
	if (kind == 1) { /* padding */
		options->at++;
		return 0;
	}
	if (at + 1 >= options->bytes || at >= MAX_OPTIONS_BYTES - 1)
		goto malformed;
	length = options->list[at + 1];
	if (length < 2 || at + length > options->bytes)
		goto malformed;
	if (kind == IP4_OPTION_RECORD_ROUTE || kind == IP4_OPTION_LOOSE_ROUTE ||
	    kind == IP4_OPTION_STRICT_ROUTE)
		options->routes = 1;
	else if (kind == IP4_OPTION_ROUTER_ALERT)
		options->alerts = 1;
	else
		options->others = 1;
	if (kind == TCP_OPTION_SCALE && length == 3 && at < MAX_OPTIONS_BYTES - 2)
		options->scale = options->list[at + 2] > TCP_MAX_SCALE ? TCP_MAX_SCALE
								       : options->list[at + 2];
	options->at += length;
	return 0;
malformed:
	options->malformed = 1;
	return 1;
}

/* Walks `bytes` of options at `offset`. False: they are not there. */
static __always_inline bool options_walk(context_t *ctx, __u32 offset, __u32 bytes,
					 struct options *options)
{
	__u32 last = bytes - 1;

	__builtin_memset(options, 0, sizeof(*options));
	options->scale = TCP_NO_SCALE;
	/* Bounded by its last byte: from `bytes == 0` the verifier of 6.1 does not learn that it is 1 at least. */
	barrier_var(last);
	if (last >= MAX_OPTIONS_BYTES)
		return false;
	bytes = last + 1;
	if (context_load_bytes(ctx, offset, options->list, bytes) < 0)
		return false;
	options->bytes = bytes;
	bpf_loop(MAX_OPTIONS_BYTES, options_step, options, 0);
	return true;
}

/* Options of an IPv4 header: source routes and record route never pass (RFC 7126 4.3-4.5), the others if the profile
 * says so, and Router Alert with IGMP, which has it in each message (RFC 2236 2, RFC 3376 4), as MLD has. */
DFW_STAGE int parse_ip4_options(context_t *ctx, __u32 offset, __u32 bytes, __u32 allowed,
				__u32 protocol)
{
	struct options options;

	if (!options_walk(ctx, offset, bytes, &options))
		return DFW_REASON_TRUNCATED;
	if (options.malformed || options.routes)
		return DFW_REASON_IP_OPTION;
	if (!allowed && (options.others || (options.alerts && protocol != PROTOCOL_IGMP)))
		return DFW_REASON_IP_OPTION;
	return STAGE_PASS;
}

static __always_inline int parse_ip4(context_t *ctx, struct packet *p, __u32 profile)
{
	__u32 header_bytes, frame_bytes, fragment;
	struct ip4 ip;

	if (!p)
		return DFW_REASON_INTERNAL;
	frame_bytes = context_bytes(ctx) - p->l3_offset;
	if (!context_load(ctx, p->l3_offset, &ip, sizeof(ip)))
		return DFW_REASON_TRUNCATED;
	header_bytes = (ip.version_ihl & 15) * 4;
	if (ip.version_ihl >> 4 != 4 || header_bytes < sizeof(ip))
		return DFW_REASON_IP_HEADER;
	p->bytes = bpf_ntohs(ip.total_bytes);
	if (p->bytes == 0 && context_is_gso(ctx))
		p->bytes = frame_bytes; /* BIG TCP: more than the field can say */
	if (p->bytes < header_bytes || p->bytes > frame_bytes)
		return DFW_REASON_IP_LENGTH;

	if (header_bytes == sizeof(ip)) {
		if (!checksum_right(checksum_words((__u32 *)&ip, sizeof(ip) / 4)))
			return DFW_REASON_IP_CHECKSUM;
	} else {
		__s64 sum = checksum_frame(ctx, p->l3_offset, header_bytes, 0);
		int reason;

		if (sum < 0 || !checksum_right((__u64)sum))
			return DFW_REASON_IP_CHECKSUM;
		reason =
			parse_ip4_options(ctx, p->l3_offset + sizeof(ip), header_bytes - sizeof(ip),
					  profile & DFW_PROFILE_IP_OPTIONS, ip.protocol);
		if (reason)
			return reason;
	}

	if (p->direction == DFW_OUT) {
		addr_from_v4(&p->key.local, ip.source);
		addr_from_v4(&p->key.remote, ip.destination);
	} else {
		addr_from_v4(&p->key.local, ip.destination);
		addr_from_v4(&p->key.remote, ip.source);
	}
	p->key.protocol = ip.protocol;
	p->hop_limit = ip.ttl;
	p->l4_offset = p->l3_offset + header_bytes;
	p->l4_bytes = p->bytes - header_bytes;

	fragment = bpf_ntohs(ip.fragment);
	if (fragment & (IP4_MORE | IP4_OFFSET)) {
		p->fragment_offset = (fragment & IP4_OFFSET) * 8;
		p->fragment_id = bpf_ntohs(ip.id);
		p->flags |= PACKET_FRAGMENT_HEADER;
		p->flags |= p->fragment_offset ? PACKET_FRAGMENT_LATER : PACKET_FRAGMENT_FIRST;
		if (fragment & IP4_MORE)
			p->flags |= PACKET_MORE_FRAGMENTS;
	}
	/* Extension headers and neighbour discovery have no place in IPv4; 0 and 255 are reserved. */
	switch (ip.protocol) {
	case PROTOCOL_HOP_BY_HOP:
	case PROTOCOL_ROUTING:
	case PROTOCOL_FRAGMENT:
	case PROTOCOL_ICMP6:
	case PROTOCOL_NONE:
	case PROTOCOL_DESTINATION:
	case PROTOCOL_RESERVED:
		return DFW_REASON_PROTOCOL;
	}
	return STAGE_PASS;
}

#define IP6_MAX_HEADERS 8

/* Where an IPv6 header chain ends. */
struct ip6_chain {
	__u32 offset; /* of the upper-layer header, in the frame */
	__u32 fragment_id;
	__u16 fragment_offset; /* of that header in its datagram, bytes */
	__u16 flags;	       /* enum packet_flag: what was met */
	__u8 protocol;
	__u8 zero[3];
};

/* Is a Router Alert of MLD (RFC 2711 2.1: value 0) among the options that fill a hop-by-hop header of 8 bytes? That is four
 * bytes long, so padding of two is before or behind it. */
static __always_inline bool ip6_router_alert(const __u8 *options)
{
	const __u8 *alert = options[0] == 5 ? options : options + 2;

	return alert[0] == 5 && alert[1] == 2 && alert[2] == 0 && alert[3] == 0;
}

/* Walks from `offset`, whose header is of kind `next`, to the upper layer or `end`. RFC 8200 4.1: hop-by-hop only
 * first, the others once, destination options twice at most; RFC 8504 5.3 allows the bound on their number; RFC 5095:
 * no type 0 routing header. A routing header that would still send the packet elsewhere (segments left) is refused
 * like it: the firewall would judge an address that is not the last. */
DFW_STAGE int parse_ip6_chain(context_t *ctx, __u32 offset, __u32 end, __u32 next,
			      struct ip6_chain *chain)
{
	__u32 destination_options = 0, routing = 0, datagram = 0;

	if (!chain)
		return DFW_REASON_INTERNAL;
	for (int i = 0; i < IP6_MAX_HEADERS; i++) {
		struct {
			__u8 next;
			__u8 length;
			__u8 bytes[6];
		} header;

		switch (next) {
		case PROTOCOL_HOP_BY_HOP:
			if (i != 0)
				return DFW_REASON_EXTENSION;
			break;
		case PROTOCOL_ROUTING:
			if (routing++)
				return DFW_REASON_EXTENSION;
			break;
		case PROTOCOL_DESTINATION:
			if (destination_options++ == 2)
				return DFW_REASON_EXTENSION;
			break;
		case PROTOCOL_FRAGMENT:
			if (chain->flags & PACKET_FRAGMENT_HEADER)
				return DFW_REASON_EXTENSION;
			break;
		case PROTOCOL_NONE:
		case PROTOCOL_ICMP:
		case PROTOCOL_RESERVED:
			return DFW_REASON_PROTOCOL;
		default:
			chain->offset = offset;
			chain->protocol = next;
			if (datagram)
				chain->fragment_offset = offset - datagram;
			return STAGE_PASS;
		}
		if (offset + sizeof(header) > end ||
		    !context_load(ctx, offset, &header, sizeof(header)))
			return chain->flags & PACKET_FRAGMENT_FIRST ? DFW_REASON_FRAGMENT
								    : DFW_REASON_TRUNCATED;
		if (next == PROTOCOL_FRAGMENT) {
			__u32 field = header.bytes[0] << 8 | header.bytes[1];

			chain->flags |= PACKET_FRAGMENT_HEADER;
			chain->fragment_offset = field & 0xfff8;
			chain->fragment_id = (__u32)header.bytes[2] << 24 | header.bytes[3] << 16 |
					     header.bytes[4] << 8 | header.bytes[5];
			if (field & 1)
				chain->flags |= PACKET_MORE_FRAGMENTS;
			if (chain->fragment_offset)
				chain->flags |= PACKET_FRAGMENT_LATER;
			else if (field & 1)
				chain->flags |= PACKET_FRAGMENT_FIRST;
			offset += 8;
			datagram = offset;
			if (chain->flags & PACKET_FRAGMENT_LATER) {
				/* What follows is not a header: RFC 8200 4.5 names it. */
				chain->offset = offset;
				chain->protocol = header.next;
				return STAGE_PASS;
			}
		} else {
			if (next == PROTOCOL_ROUTING && (header.bytes[0] == 0 || header.bytes[1]))
				return DFW_REASON_EXTENSION;
			if (next == PROTOCOL_HOP_BY_HOP && ip6_router_alert(header.bytes))
				chain->flags |= PACKET_ROUTER_ALERT;
			offset += (header.length + 1) * 8;
		}
		if (offset > end)
			return chain->flags & PACKET_FRAGMENT_FIRST ? DFW_REASON_FRAGMENT
								    : DFW_REASON_EXTENSION;
		next = header.next;
	}
	return DFW_REASON_EXTENSION;
}

DFW_STAGE int parse_ip6(context_t *ctx, struct packet *p)
{
	__u32 frame_bytes, payload, next;
	struct ip6 ip;

	if (!p)
		return DFW_REASON_INTERNAL;
	frame_bytes = context_bytes(ctx) - p->l3_offset;
	if (!context_load(ctx, p->l3_offset, &ip, sizeof(ip)))
		return DFW_REASON_TRUNCATED;
	if ((bpf_ntohl(ip.version_class_flow) >> 28) != 6)
		return DFW_REASON_IP_HEADER;
	payload = bpf_ntohs(ip.payload_bytes);
	if (payload == 0 && context_is_gso(ctx))
		payload = frame_bytes - sizeof(ip);
	/* 0 would be a jumbogram (RFC 2675), which no link here carries. */
	if (payload == 0 || payload + sizeof(ip) > frame_bytes)
		return DFW_REASON_IP_LENGTH;
	p->bytes = payload + sizeof(ip);

	if (p->direction == DFW_OUT) {
		p->key.local = ip.source;
		p->key.remote = ip.destination;
	} else {
		p->key.local = ip.destination;
		p->key.remote = ip.source;
	}
	/* It would be taken for IPv4. */
	if (addr_v4(&p->key.local) || addr_v4(&p->key.remote))
		return DFW_REASON_MARTIAN;
	p->hop_limit = ip.hop_limit;
	p->l4_offset = p->l3_offset + sizeof(ip);
	p->flags |= PACKET_V6;
	next = ip.next_header;
	if (next != PROTOCOL_TCP && next != PROTOCOL_UDP) {
		struct ip6_chain chain = {};
		int reason =
			parse_ip6_chain(ctx, p->l4_offset, p->l3_offset + p->bytes, next, &chain);

		if (reason)
			return reason;
		next = chain.protocol;
		p->l4_offset = chain.offset;
		p->flags |= chain.flags;
		p->fragment_offset = chain.fragment_offset;
		p->fragment_id = chain.fragment_id;
	}
	p->key.protocol = next;
	p->l4_bytes = p->l3_offset + p->bytes - p->l4_offset;
	return STAGE_PASS;
}

/* The window scale option of a SYN, or TCP_NO_SCALE. What stands behind a malformed option is not believed. */
DFW_STAGE int tcp_syn_scale(context_t *ctx, struct packet *p)
{
	struct options options;

	if (!p || !options_walk(ctx, p->l4_offset + sizeof(struct tcp),
				p->tcp_header_bytes - sizeof(struct tcp), &options))
		return TCP_NO_SCALE;
	return options.scale;
}

/* TCP flags as nf and pf allow them: exactly one of SYN, FIN, RST or none; FIN and "none" only with ACK. */
static __always_inline bool tcp_flags_possible(__u8 flags)
{
	switch (flags & (TCP_SYN | TCP_FIN | TCP_RST)) {
	case 0:
	case TCP_FIN:
		return flags & TCP_ACK;
	case TCP_SYN:
	case TCP_RST:
		return true;
	}
	return false;
}

static __always_inline int parse_tcp(context_t *ctx, struct packet *p)
{
	struct tcp tcp;

	if (p->l4_bytes < sizeof(tcp) || !context_load(ctx, p->l4_offset, &tcp, sizeof(tcp)))
		return DFW_REASON_L4_HEADER;
	p->tcp_header_bytes = (tcp.offset >> 4) * 4;
	if (p->tcp_header_bytes < sizeof(tcp) || p->tcp_header_bytes > p->l4_bytes)
		return DFW_REASON_L4_HEADER;
	p->source_port = bpf_ntohs(tcp.source);
	p->destination_port = bpf_ntohs(tcp.destination);
	if (!p->source_port || !p->destination_port)
		return DFW_REASON_PORT_ZERO;
	p->tcp_flags = tcp.flags & 0x3f;
	if (!tcp_flags_possible(p->tcp_flags))
		return DFW_REASON_TCP_FLAGS;
	p->segments =
		context_segments(ctx, context_gso_size(ctx), p->l4_bytes - p->tcp_header_bytes);
	p->tcp_seq = bpf_ntohl(tcp.seq);
	p->tcp_ack = bpf_ntohl(tcp.ack);
	p->tcp_window = bpf_ntohs(tcp.window);
	p->tcp_scale = p->tcp_flags & TCP_SYN ? tcp_syn_scale(ctx, p) : TCP_NO_SCALE;
	return STAGE_PASS;
}

static __always_inline int parse_udp(context_t *ctx, struct packet *p)
{
	__u32 bytes;
	struct udp udp;

	if (p->l4_bytes < sizeof(udp) || !context_load(ctx, p->l4_offset, &udp, sizeof(udp)))
		return DFW_REASON_L4_HEADER;
	p->source_port = bpf_ntohs(udp.source);
	p->destination_port = bpf_ntohs(udp.destination);
	if (!p->destination_port) /* a source port of 0 says that no answer is wanted (RFC 768) */
		return DFW_REASON_PORT_ZERO;
	bytes = bpf_ntohs(udp.bytes);
	if (bytes < sizeof(udp))
		return DFW_REASON_L4_HEADER;
	if (!(p->flags & PACKET_FRAGMENT_FIRST) && !context_is_gso(ctx)) {
		if (bytes > p->l4_bytes)
			return DFW_REASON_L4_HEADER;
		p->l4_bytes = bytes; /* what the checksum covers */
	}
	p->segments = context_segments(ctx, context_gso_size(ctx), p->l4_bytes - sizeof(udp));
	/* RFC 8200 8.1: IPv6 has no checksum of its own, so UDP must have one. */
	if (!udp.checksum && p->flags & PACKET_V6)
		return DFW_REASON_L4_CHECKSUM;
	if (!udp.checksum)
		return STAGE_GO_ON;
	return STAGE_PASS;
}

static __always_inline int parse_icmp(context_t *ctx, struct packet *p)
{
	struct icmp icmp;

	if (p->l4_bytes < sizeof(icmp) || !context_load(ctx, p->l4_offset, &icmp, sizeof(icmp)))
		return DFW_REASON_L4_HEADER;
	p->icmp_type = icmp.type;
	p->icmp_code = icmp.code;
	p->source_port = bpf_ntohs(icmp.id);
	return STAGE_PASS;
}

/* Transport header of a whole packet or a first fragment. */
DFW_STAGE int parse_transport(context_t *ctx, struct packet *p, __u32 profile)
{
	bool has_checksum = true;
	int reason = STAGE_PASS;

	if (!p)
		return DFW_REASON_INTERNAL;
	switch (p->key.protocol) {
	case PROTOCOL_TCP:
		reason = parse_tcp(ctx, p);
		break;
	case PROTOCOL_UDP:
		reason = parse_udp(ctx, p);
		if (reason == STAGE_GO_ON) {
			has_checksum = false;
			reason = STAGE_PASS;
		}
		break;
	case PROTOCOL_ICMP:
	case PROTOCOL_ICMP6:
		reason = parse_icmp(ctx, p);
		break;
	case PROTOCOL_SCTP: {
		__be16 ports[2];

		if (p->l4_bytes < 16 || !context_load(ctx, p->l4_offset, ports, sizeof(ports)))
			return DFW_REASON_L4_HEADER;
		p->source_port = bpf_ntohs(ports[0]);
		p->destination_port = bpf_ntohs(ports[1]);
		if (!p->source_port || !p->destination_port) /* RFC 9260 3.1 */
			return DFW_REASON_PORT_ZERO;
		break;
	}
	case PROTOCOL_GRE:
		return p->l4_bytes < 4 ? DFW_REASON_L4_HEADER : STAGE_PASS;
	case PROTOCOL_ESP:
		return p->l4_bytes < 8 ? DFW_REASON_L4_HEADER : STAGE_PASS;
	case PROTOCOL_AH:
		return p->l4_bytes < 12 ? DFW_REASON_L4_HEADER : STAGE_PASS;
	default:
		return STAGE_PASS;
	}
	if (reason)
		/* RFC 1858, RFC 7112: a first fragment holds the headers, or it is an attempt to hide them. */
		return reason == DFW_REASON_L4_HEADER && p->flags & PACKET_FRAGMENT_FIRST
			       ? DFW_REASON_FRAGMENT
			       : reason;
	if (has_checksum && profile & DFW_PROFILE_CHECKSUM && !(p->flags & PACKET_FRAGMENT_FIRST) &&
	    !checksum_ok(ctx, p))
		return DFW_REASON_L4_CHECKSUM;
	return STAGE_PASS;
}

#endif
