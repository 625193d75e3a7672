/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_REJECT_H
#define DFW_BPF_REJECT_H

#include "answer.h"
#include "verdict.h"

/*
 * `reject`: the frame itself becomes the answer and goes back where it came from: to the VM through its device, to the
 * other side as if the VM had sent it. REJECT_MARK tells the hook that it meets on that way.
 *
 * TCP gets a RST (RFC 9293 3.10.7.1), all else ICMP 3/13 (RFC 1812 5.2.7.1) or ICMPv6 1/1 (RFC 4443 3.1). Never an answer
 * to a RST, an ICMP error, a later fragment, a group or to nobody (RFC 1122 3.2.2, RFC 4443 2.4).
 */

#define REJECT_MARK	   0xdf3e7ec7
#define REJECT_QUOTE_BYTES 512 /* the answer stays below 576 and 1280 bytes */
#define REJECT_QUOTE_LEAST 28  /* an IPv4 header and 8 bytes (RFC 792) */

/* Turns the frame into its answer. 0, or below when that cannot be done. */
DFW_STAGE int reject_write(context_t *ctx, struct packet *p)
{
	bool v6, rst, partial;
	__u32 ip_bytes, quote, zero = 0, l4_bytes;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &zero);
	struct answer_frame frame = {};
	__u64 sum;

	if (!p || !scratch)
		return -1;
	v6 = p->flags & PACKET_V6;
	rst = p->key.protocol == PROTOCOL_TCP;
	partial = context_ip_summed(ctx) == CHECKSUM_PARTIAL;
	ip_bytes = v6 ? sizeof(struct ip6) : sizeof(struct ip4);
	/* The hardware writes its sum where the frame's own transport header has it: that must be the answer's too,
	 * and a sum that this path knows. */
	if (partial && (p->l4_offset != ETHERNET_BYTES + ip_bytes ||
			(!rst && p->key.protocol != PROTOCOL_UDP)))
		return -1;
	if (p->l3_offset != ETHERNET_BYTES) /* a tag within the frame */
		return -1;
	if (!context_load(ctx, 0, &frame.ethernet, sizeof(frame.ethernet)))
		return -1;
	answer_turn(&frame);

	quote = 0;
	if (!rst) {
		quote = p->bytes < REJECT_QUOTE_BYTES ? p->bytes : REJECT_QUOTE_BYTES;
		quote &= ~1U;
		barrier_var(quote);
		if (quote < REJECT_QUOTE_LEAST || quote > REJECT_QUOTE_BYTES ||
		    context_load_bytes(ctx, p->l3_offset, scratch->bytes, quote) < 0)
			return -1;
	}
	l4_bytes = rst ? sizeof(struct tcp) : sizeof(struct icmp) + quote;
	/* Linearizes, and drops what the hardware was to do with a frame of many segments. */
	if (bpf_skb_change_tail(ctx, ETHERNET_BYTES + ip_bytes + l4_bytes, 0) < 0)
		return -1;

	answer_fill_ip(p, &frame, rst, l4_bytes);
	if (rst) {
		answer_place_tcp(p, &frame, partial);
		return bpf_skb_store_bytes(ctx, 0, &frame,
					   ETHERNET_BYTES + ip_bytes + sizeof(struct tcp), 0);
	}

	{
		struct icmp icmp = {.type = v6 ? 1 : 3, .code = v6 ? 1 : 13};
		__s64 quoted;

		/* The verifier of 6.1 does not see that there is a quote whenever this is no RST. */
		barrier_var(quote);
		if (quote < REJECT_QUOTE_LEAST)
			return -1;
		*(__u32 *)(scratch->bytes + (quote & (SCRATCH_BYTES - 4))) &=
			quote & 2 ? bpf_htonl(0xffff0000) : ~0U;
		quoted = bpf_csum_diff(NULL, 0, (__be32 *)scratch->bytes,
				       ((quote + 3) & ~3U) & (2 * SCRATCH_BYTES - 1), 0);
		if (quoted < 0)
			return -1;
		sum = checksum_fold(quoted) + (__u64) * (__u16 *)&icmp;
		if (v6)
			sum += checksum_fold(answer_pseudo(p, PROTOCOL_ICMP6, l4_bytes));
		icmp.checksum = ~checksum_fold(sum);
		/* A partial checksum (RFC 768's place, bytes 6 and 7, which are unused here) comes out as 0 when it is
		 * begun with the complement of the rest. */
		if (partial)
			icmp.sequence = ~checksum_fold(checksum_fold(quoted) +
						       (__u64) * (__u16 *)&icmp + icmp.checksum);
		if (v6)
			__builtin_memcpy(&frame.v6.icmp, &icmp, sizeof(icmp));
		else
			__builtin_memcpy(&frame.v4.icmp, &icmp, sizeof(icmp));
	}
	if (bpf_skb_store_bytes(ctx, 0, &frame,
				ETHERNET_BYTES + (v6 ? sizeof(struct ip6) : sizeof(struct ip4)) +
					sizeof(struct icmp),
				0) < 0)
		return -1;
	return bpf_skb_store_bytes(ctx, ETHERNET_BYTES + ip_bytes + sizeof(struct icmp),
				   scratch->bytes, quote, 0);
}

/* Sends the frame, which is its answer now, back where it came from. Returns the tc action. */
static __always_inline int send_back(context_t *ctx, __u8 direction)
{
	ctx->mark = REJECT_MARK;
	return bpf_redirect(ctx->ifindex, direction == DFW_IN ? BPF_F_INGRESS : 0);
}

/* Asks the sender of a SYN whether it exists. The same way back, and no rate: one short answer for each SYN, where the VM's
 * own would be a SYN,ACK that is repeated. */
static __always_inline int challenge(context_t *ctx, struct packet *p)
{
	__u8 direction = p->direction;

	if (!answerable(p) || reject_write(ctx, p) != 0)
		return TC_ACT_SHOT;
	return send_back(ctx, direction);
}

/* Answers the packet, if it may be. Returns the tc action; *reason becomes what is counted. */
static __always_inline int reject(context_t *ctx, struct packet *p,
				  const struct dfw_port_config *config, __u32 *reason)
{
	struct dfw_port_state *state = port_state(p->slot);
	__u32 per_second = config->profile.reject_per_second;
	__u8 direction = p->direction;

	if (!answerable(p)) {
		*reason = DFW_REASON_REJECT_SILENT;
		return TC_ACT_SHOT;
	}
	if (!state || !per_second ||
	    !bucket_take(&state->bucket_reject_ns, p->now_ns, per_second, per_second)) {
		*reason = DFW_REASON_REJECT_LIMIT;
		return TC_ACT_SHOT;
	}
	if (reject_write(ctx, p) != 0) {
		*reason = DFW_REASON_REJECT_SILENT;
		return TC_ACT_SHOT;
	}
	*reason = DFW_REASON_REJECTED;
	return send_back(ctx, direction);
}

#endif
