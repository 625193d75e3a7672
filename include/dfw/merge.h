/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_MERGE_H
#define DFW_MERGE_H

#include <dfw/flow.h>
#include <dfw/types.h>

/*
 * What two members of a share group know of one flow, put together: of each end what is most advanced. The kernel does it to
 * a flow that packets use meanwhile, dfwsyncd to its copy, both by this code.
 *
 * It is a join: in whatever order, and however often, the same things are put together, the result is the same. (Sequence
 * numbers have an order while they lie within half of their space, as those of one connection do.) So members need not
 * agree on an order of what they have seen: when each has heard of all, all have the same. What only one host can say
 * (its verdict, its times) is not touched.
 */

#define DFW_MERGE static inline __attribute__((always_inline))

#define DFW_MERGE_TCP 6

/* In which both ends have said what they are: from then on the legs' flags say which state it is. */
DFW_MERGE __u8 merge_tcp_state(__u8 orig, __u8 reply)
{
	__u8 both = orig & reply, any = orig | reply;

	if (!(both & DFW_LEG_SYN))
		return DFW_FLOW_DEAD;
	if (!(both & DFW_LEG_SYN_ACKED))
		return DFW_FLOW_TCP_SYN_RECEIVED;
	if (both & DFW_LEG_FIN_ACKED)
		return DFW_FLOW_TCP_TIME_WAIT;
	if (both & DFW_LEG_FIN)
		return DFW_FLOW_TCP_CLOSING;
	return any & DFW_LEG_FIN ? DFW_FLOW_TCP_FIN_WAIT : DFW_FLOW_TCP_ESTABLISHED;
}

DFW_MERGE __u32 merge_sequence(__u32 a, __u32 b)
{
	__u32 ahead = a - b;

	if (ahead == 1U << 31)
		return a > b ? a : b;
	return ahead < 1U << 31 ? a : b;
}

/* Who has not seen the SYN of the end that the number is about has no such number. */
DFW_MERGE __u32 merge_number(__u32 a, __u8 a_flags, __u32 b, __u8 b_flags)
{
	if ((a_flags ^ b_flags) & DFW_LEG_SYN)
		return a_flags & DFW_LEG_SYN ? a : b;
	if (a_flags & DFW_LEG_SYN)
		return merge_sequence(a, b);
	return a > b ? a : b;
}

/* `flags` say what is known of the leg, `other` of the leg whose numbers `ack` is about. */
DFW_MERGE void merge_tcp_leg(struct dfw_leg *leg, __u8 flags, __u8 other,
			     const struct dfw_leg *with, __u8 with_flags, __u8 with_other)
{
	leg->end = merge_number(leg->end, flags, with->end, with_flags);
	leg->max_end = merge_number(leg->max_end, flags, with->max_end, with_flags);
	leg->ack = merge_number(leg->ack, other, with->ack, with_other);
	if (with->max_window > leg->max_window)
		leg->max_window = with->max_window;
}

DFW_MERGE __u8 merge_leg_flags(__u8 a, __u8 b)
{
	/* A window is anchored as soon as one member has seen where. */
	return ((a | b) & (__u8)~DFW_LEG_RESYNC) | (a & b & DFW_LEG_RESYNC);
}

DFW_MERGE void merge_tcp(struct dfw_flow *flow, const struct dfw_flow *with)
{
	__u8 orig = flow->leg_flags[DFW_ORIG], reply = flow->leg_flags[DFW_REPLY];
	__u8 with_orig = with->leg_flags[DFW_ORIG], with_reply = with->leg_flags[DFW_REPLY];
	__u8 state;

	merge_tcp_leg(&flow->legs[DFW_ORIG], orig, reply, &with->legs[DFW_ORIG], with_orig,
		      with_reply);
	merge_tcp_leg(&flow->legs[DFW_REPLY], reply, orig, &with->legs[DFW_REPLY], with_reply,
		      with_orig);
	orig = merge_leg_flags(orig, with_orig);
	reply = merge_leg_flags(reply, with_reply);
	flow->leg_flags[DFW_ORIG] = orig;
	flow->leg_flags[DFW_REPLY] = reply;

	if (with->orig_scale > flow->orig_scale)
		flow->orig_scale = with->orig_scale;
	if (with->reply_scale > flow->reply_scale)
		flow->reply_scale = with->reply_scale;
	/* The scales hold when both SYNs had the option (RFC 7323 2.2), or no SYN was seen. */
	if (orig & reply & DFW_LEG_SYN && !(orig & reply & DFW_LEG_SCALE)) {
		flow->orig_scale = 0;
		flow->reply_scale = 0;
	}
	state = merge_tcp_state(orig, reply);
	if (state > flow->state)
		flow->state = state;
}

/* SCTP's tags: those of who knows more of the association. */
DFW_MERGE void merge_tags(struct dfw_leg *leg, const struct dfw_leg *with, int more)
{
	if (more > 0 || (more == 0 && with->tag > leg->tag))
		leg->tag = with->tag;
	if (more > 0 || (more == 0 && with->init_tag > leg->init_tag))
		leg->init_tag = with->init_tag;
}

DFW_MERGE void merge_counts(struct dfw_leg *leg, const struct dfw_leg *with)
{
	if (with->packets > leg->packets)
		leg->packets = with->packets;
	if (with->bytes > leg->bytes)
		leg->bytes = with->bytes;
}

/* Puts into `flow` what `with` knows more. Neither is DEAD. */
DFW_MERGE void dfw_flow_merge(struct dfw_flow *flow, const struct dfw_flow *with, __u8 protocol)
{
	int more = (int)with->state - (int)flow->state;

	/* Both ends have begun at once, and each member has seen another one first. */
	if (with->initiator != flow->initiator) {
		if (with->initiator < flow->initiator)
			return;
		flow->state = with->state;
		flow->initiator = with->initiator;
		flow->orig_scale = with->orig_scale;
		flow->reply_scale = with->reply_scale;
		flow->leg_flags[DFW_ORIG] = with->leg_flags[DFW_ORIG];
		flow->leg_flags[DFW_REPLY] = with->leg_flags[DFW_REPLY];
		flow->legs[DFW_ORIG] = with->legs[DFW_ORIG];
		flow->legs[DFW_REPLY] = with->legs[DFW_REPLY];
		return;
	}
	if (more > 0)
		flow->state = with->state;
	merge_counts(&flow->legs[DFW_ORIG], &with->legs[DFW_ORIG]);
	merge_counts(&flow->legs[DFW_REPLY], &with->legs[DFW_REPLY]);
	if (protocol == DFW_MERGE_TCP) {
		merge_tcp(flow, with);
		return;
	}
	merge_tags(&flow->legs[DFW_ORIG], &with->legs[DFW_ORIG], more);
	merge_tags(&flow->legs[DFW_REPLY], &with->legs[DFW_REPLY], more);
}

#endif
