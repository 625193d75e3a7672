/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_ICMP_H
#define DFW_BPF_ICMP_H

#include "track.h"

/* ICMP and ICMPv6: queries are flows, errors belong to the flow that they quote. */

enum icmp_kind {
	ICMP_KIND_REQUEST,
	ICMP_KIND_REPLY,
	ICMP_KIND_ERROR,
	ICMP_KIND_NEVER, /* redirects, source quench (RFC 6633): they steer a host from outside */
	ICMP_KIND_OTHER, /* one-way messages: a rule may allow them */
};

/* *request: the type of the request that belongs to `type`. */
static __always_inline enum icmp_kind icmp_kind(bool v6, __u8 type, __u8 *request)
{
	*request = type;
	if (v6) {
		switch (type) {
		case 1:
		case 2:
		case 3:
		case 4:
			return ICMP_KIND_ERROR;
		case 128: /* echo */
		case 139: /* node information, RFC 4620 */
		case 144: /* home agent discovery, RFC 6275 */
		case 160: /* extended echo, RFC 8335 */
			return ICMP_KIND_REQUEST;
		case 129:
		case 140:
		case 145:
		case 161:
			*request = type - 1;
			return ICMP_KIND_REPLY;
		case ICMP6_REDIRECT:
			return ICMP_KIND_NEVER;
		}
		/* RFC 4443 2.1: below 128 are errors, none of which is known here. */
		return type < 128 ? ICMP_KIND_NEVER : ICMP_KIND_OTHER;
	}
	switch (type) {
	case 3:
	case 11:
	case 12:
		return ICMP_KIND_ERROR;
	case 4:
	case 5:
		return ICMP_KIND_NEVER;
	case 8:	 /* echo */
	case 13: /* timestamp */
	case 15: /* information */
	case 17: /* address mask */
	case 42: /* extended echo, RFC 8335 */
		return ICMP_KIND_REQUEST;
	case 0:
		*request = 8;
		return ICMP_KIND_REPLY;
	case 14:
	case 16:
	case 18:
	case 43:
		*request = type - 1;
		return ICMP_KIND_REPLY;
	}
	return ICMP_KIND_OTHER;
}

#define ICMP_KEY_REQUEST_IN 256 /* see struct dfw_flow_key */

static __always_inline void icmp_key(struct dfw_flow_key *key, __u8 direction, enum icmp_kind kind,
				     __u8 request, __u16 id)
{
	__u8 initiator = kind == ICMP_KIND_REPLY ? !direction : direction;

	key->local_port = kind == ICMP_KIND_OTHER ? 0 : id;
	key->remote_port = request + (initiator == DFW_IN ? ICMP_KEY_REQUEST_IN : 0);
}

#define ICMP4_MIN_MTU 68   /* RFC 791; RFC 1191 3 */
#define ICMP6_MIN_MTU 1280 /* RFC 8200 5 */

/* Is the error of a kind that exists, and does it ask for nothing that no link needs? */
static __always_inline bool icmp_error_sane(context_t *ctx, const struct packet *p)
{
	struct icmp icmp;
	__u32 mtu;

	if (!context_load(ctx, p->l4_offset, &icmp, sizeof(icmp)))
		return false;
	if (p->flags & PACKET_V6) {
		switch (p->icmp_type) {
		case 1:
			return p->icmp_code <= 8;
		case 2:
			mtu = (__u32)bpf_ntohs(icmp.id) << 16 | bpf_ntohs(icmp.sequence);
			return mtu >= ICMP6_MIN_MTU;
		case 3:
			return p->icmp_code <= 1;
		}
		return p->icmp_code <= 10;
	}
	switch (p->icmp_type) {
	case 3:
		mtu = bpf_ntohs(icmp.sequence);
		/* 0: a router older than RFC 1191 */
		return p->icmp_code <= 15 &&
		       (p->icmp_code != 4 || mtu == 0 || mtu >= ICMP4_MIN_MTU);
	case 11:
		return p->icmp_code <= 1;
	}
	return p->icmp_code <= 2;
}

/* Reads the quoted IP header at `at`: addresses into p->key, as the quoted packet's way (the error's reversed) has them.
 * Returns the offset of the quoted transport header, or 0. */
static __always_inline __u32 icmp_quoted_ip(context_t *ctx, struct packet *p, __u32 at, __u32 end,
					    struct dfw_flow_key *key)
{
	struct dfw_addr source, destination;

	if (p->flags & PACKET_V6) {
		struct ip6_chain chain = {};
		struct ip6 ip;

		if (!context_load(ctx, at, &ip, sizeof(ip)) ||
		    bpf_ntohl(ip.version_class_flow) >> 28 != 6)
			return 0;
		source = ip.source;
		destination = ip.destination;
		if (addr_v4(&source) || addr_v4(&destination) ||
		    parse_ip6_chain(ctx, at + sizeof(ip), end, ip.next_header, &chain) ||
		    chain.flags & PACKET_FRAGMENT_LATER)
			return 0;
		key->protocol = chain.protocol;
		at = chain.offset;
	} else {
		struct ip4 ip;
		__u32 header_bytes;

		if (!context_load(ctx, at, &ip, sizeof(ip)) || ip.version_ihl >> 4 != 4)
			return 0;
		header_bytes = (ip.version_ihl & 15) * 4;
		if (header_bytes < sizeof(ip) || bpf_ntohs(ip.fragment) & IP4_OFFSET)
			return 0;
		addr_from_v4(&source, ip.source);
		addr_from_v4(&destination, ip.destination);
		key->protocol = ip.protocol;
		at += header_bytes;
	}
	if (p->direction == DFW_IN) {
		key->local = source;
		key->remote = destination;
	} else {
		key->local = destination;
		key->remote = source;
	}
	return at;
}

/* Had what is quoted, and gives p->key, gone to a group? About that there is no error (RFC 1122 3.2.2), but IPv6's "packet too
 * big" and "unrecognised option" (RFC 4443 2.4, e.3). */
static __always_inline bool icmp_error_of_group(const struct packet *p)
{
	const struct dfw_addr *destination =
		p->direction == DFW_IN ? &p->key.remote : &p->key.local;

	if (!addr_multicast(destination) && !addr_broadcast(destination))
		return false;
	return !(p->flags & PACKET_V6) ||
	       !(p->icmp_type == 2 || (p->icmp_type == 4 && p->icmp_code == 2));
}

/* The tag that a quoted INIT proposes, or 0. */
DFW_STAGE __u32 icmp_quoted_init(context_t *ctx, __u32 at, __u32 end)
{
	struct {
		__u8 chunk;
		__u8 flags;
		__be16 bytes;
		__be32 tag;
	} init;

	at += SCTP_HEADER_BYTES;
	if (at + sizeof(init) > end || !context_load(ctx, at, &init, sizeof(init)) ||
	    init.chunk != SCTP_INIT)
		return 0;
	return bpf_ntohl(init.tag);
}

/* Reads an ICMP error and puts the flow that it quotes in p->key (with PACKET_ERROR; TCP: the quoted sequence number in
 * p->tcp_seq; SCTP: the quoted tags in p->sctp). PASSED: look that flow up; else the reason to drop. */
DFW_STAGE int icmp_error(context_t *ctx, struct packet *p)
{
	struct dfw_port_config *config;
	struct dfw_flow_key key = {};
	__u8 quoted_direction;
	__u32 at, end;
	int reason;

	if (!p)
		return DFW_REASON_INTERNAL;
	config = port_config(p->slot, p->bank);
	if (!config)
		return DFW_REASON_INTERNAL;
	reason = guard_addresses(p, config);
	if (reason)
		return reason;
	if (!icmp_error_sane(ctx, p))
		return DFW_REASON_ICMP_ERROR;

	quoted_direction = !p->direction;
	end = p->l4_offset + p->l4_bytes;
	at = icmp_quoted_ip(ctx, p, p->l4_offset + sizeof(struct icmp), end, &key);
	if (!at || at + 8 > end)
		return DFW_REASON_ICMP_ERROR;
	/* An error goes to the sender of what it quotes (CVE-2019-5598); its own sender may be any router. */
	if (p->direction == DFW_IN ? !addr_equal(&key.local, &p->key.local)
				   : !addr_equal(&key.remote, &p->key.remote))
		return DFW_REASON_ICMP_ERROR;

	key.vlan = p->key.vlan;
	switch (key.protocol) {
	case PROTOCOL_TCP:
	case PROTOCOL_UDP:
	case PROTOCOL_SCTP: {
		struct {
			__be16 source;
			__be16 destination;
			__be32 seq;
		} l4;

		if (!context_load(ctx, at, &l4, sizeof(l4)))
			return DFW_REASON_ICMP_ERROR;
		if (quoted_direction == DFW_OUT) {
			key.local_port = bpf_ntohs(l4.source);
			key.remote_port = bpf_ntohs(l4.destination);
		} else {
			key.local_port = bpf_ntohs(l4.destination);
			key.remote_port = bpf_ntohs(l4.source);
		}
		p->tcp_seq = bpf_ntohl(l4.seq);
		if (key.protocol == PROTOCOL_SCTP) {
			p->sctp.tag = p->tcp_seq;
			p->sctp.init_tag = icmp_quoted_init(ctx, at, end);
		}
		break;
	}
	case PROTOCOL_ICMP:
	case PROTOCOL_ICMP6: {
		enum icmp_kind kind;
		struct icmp icmp;
		__u8 request;

		if (!context_load(ctx, at, &icmp, sizeof(icmp)))
			return DFW_REASON_ICMP_ERROR;
		kind = icmp_kind(p->flags & PACKET_V6, icmp.type, &request);
		if (kind != ICMP_KIND_REQUEST && kind != ICMP_KIND_REPLY) /* RFC 1122 3.2.2 */
			return DFW_REASON_ICMP_ERROR;
		icmp_key(&key, quoted_direction, kind, request, bpf_ntohs(icmp.id));
		break;
	}
	}
	p->key = key;
	p->flags |= PACKET_ERROR;
	return icmp_error_of_group(p) ? DFW_REASON_ICMP_ERROR : STAGE_PASS;
}

/* RFC 9260 10, ICMP6: the tag must be the right one; an INIT has none, but proposes one. `from`: who sent what is quoted. */
static __always_inline bool icmp_quotes_sctp(const struct sctp_packet *sctp,
					     const struct dfw_flow *flow, __u32 from)
{
	const struct dfw_leg *s = &flow->legs[from & 1], *r = &flow->legs[!from];

	if (sctp->tag)
		return sctp->tag == s->tag || sctp->tag == s->init_tag;
	return sctp->init_tag && sctp->init_tag == r->init_tag;
}

/* Does the error fit the flow that it quotes? RFC 5927 4.1: TCP's number must be one that may be on its way. An error
 * changes nothing: a hard one does not close (RFC 5382 REQ-10, RFC 6092 REC-37). */
static __always_inline int icmp_error_fits(struct packet *p, const struct dfw_flow *flow)
{
	__u32 from = p->direction != flow->initiator ? DFW_ORIG : DFW_REPLY, lag;
	const struct dfw_leg *s = &flow->legs[from & 1], *r = &flow->legs[!from];

	p->rule = flow->rule;
	p->rule_slot = flow->rule_slot;
	p->rule_direction = flow->initiator;
	if (p->key.protocol == PROTOCOL_SCTP)
		return icmp_quotes_sctp(&p->sctp, flow, from) ? STAGE_PASS : DFW_REASON_ICMP_ERROR;
	if (p->key.protocol != PROTOCOL_TCP)
		return STAGE_PASS;
	lag = r->max_window > TCP_MIN_ACK_LAG ? r->max_window : TCP_MIN_ACK_LAG;
	if (!(flow->leg_flags[from & 1] & DFW_LEG_SYN) || seq_after(p->tcp_seq, s->end) ||
	    seq_before(p->tcp_seq, s->end - lag))
		return DFW_REASON_ICMP_ERROR;
	return STAGE_PASS;
}

#endif
