/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_TCP_H
#define DFW_BPF_TCP_H

#include <dfw/flow.h>
#include <dfw/reason.h>

#include "context.h"

/*
 * The TCP tracker: what a flow's two ends may send now. Windows follow Guido van Rooij, "Real Stateful TCP Packet
 * Filtering in IP Filter" (2001); RST and SYN on live connections RFC 5961; states RFC 9293 3.3.2 as seen from between.
 * Touches nothing but the flow, which the caller has locked.
 *
 * Invariants, for the leg `s` of an end and the leg `r` of the other:
 *   s->end         only grows: highest seq + length that s has sent (SYN and FIN count one each)
 *   s->max_end     only grows: highest ack + window that r has sent; s sends nothing that begins beyond it
 *   s->ack         only grows: highest acknowledgement that s has sent; begins as r's initial sequence number
 *   s->max_window  only grows: what bounds how far behind r->end an r's segment or an acknowledgement may lie
 */

struct tcp_segment {
	__u32 seq;
	__u32 ack;
	__u32 window; /* as in the header, not scaled */
	__u32 bytes;  /* payload */
	__u8 flags;   /* enum tcp_flag */
	__u8 scale;  /* of a SYN: the window scale option, at most TCP_MAX_SCALE, or TCP_NO_SCALE */
	__u8 shared; /* other segments of the connection pass another member of a share group */
};

#define TCP_MAX_SCALE 14 /* RFC 7323 2.3: more counts as this */
#define TCP_NO_SCALE  0xff

/* Acknowledgements may lag behind by a window, but never less than this (van Rooij's MAXACKWINDOW). */
#define TCP_MIN_ACK_LAG 66000

#define TCP_LOOSE_WINDOW DFW_RESYNC_WINDOW

/* What has passed elsewhere since the members told each other last: by so much a segment may lie ahead of what is known. */
static __always_inline __u32 tcp_ahead(const struct tcp_segment *segment)
{
	return segment->shared ? TCP_LOOSE_WINDOW : 0;
}

/* Above 0: drop, enum dfw_reason. QUIET: pass, but change and refresh nothing, as its receiver may well refuse it. RESTART:
 * a SYN where the old connection is over, a new flow to be decided anew. */
enum tcp_verdict {
	TCP_PASS = 0,
	TCP_PASS_QUIET = -1,
	TCP_RESTART = -2,
};

/* Sequence numbers compare modulo 2^32 (RFC 9293 3.4). */
static __always_inline bool seq_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline bool seq_after(__u32 a, __u32 b)
{
	return seq_before(b, a);
}

static __always_inline __u32 seq_max(__u32 a, __u32 b)
{
	return seq_after(a, b) ? a : b;
}

static __always_inline __u8 tcp_scale_of(const struct dfw_flow *flow, __u32 leg)
{
	return leg == DFW_ORIG ? flow->orig_scale : flow->reply_scale;
}

/* The scales hold when both SYNs had the option (RFC 7323 2.2). */
static __always_inline void tcp_settle_scale(struct dfw_flow *flow)
{
	if (!(flow->leg_flags[DFW_ORIG] & DFW_LEG_SCALE) ||
	    !(flow->leg_flags[DFW_REPLY] & DFW_LEG_SCALE)) {
		flow->orig_scale = 0;
		flow->reply_scale = 0;
	}
}

/* The window scale option of a SYN. A repeat may have it where the first had none (RFC 7323 2.2: in the SYN that is answered). */
static __always_inline void tcp_take_scale(struct dfw_flow *flow, const struct tcp_segment *segment,
					   __u32 from)
{
	if (segment->scale == TCP_NO_SCALE)
		return;
	flow->leg_flags[from & 1] |= DFW_LEG_SCALE;
	if (from == DFW_ORIG)
		flow->orig_scale = segment->scale;
	else
		flow->reply_scale = segment->scale;
}

static __always_inline void tcp_take_syn(struct dfw_flow *flow, const struct tcp_segment *segment,
					 __u32 from)
{
	struct dfw_leg *leg = &flow->legs[from & 1];

	leg->end = segment->seq + 1 + segment->bytes;
	leg->max_end = leg->end;
	flow->legs[!from].ack = segment->seq; /* of which nothing is acknowledged yet */
	leg->max_window = segment->window ? segment->window : 1;
	flow->leg_flags[from & 1] = DFW_LEG_SYN;
	tcp_take_scale(flow, segment, from);
}

/* The first segment of a flow. Returns TCP_PASS or a reason to drop. */
static __always_inline int tcp_begin(struct dfw_flow *flow, const struct tcp_segment *segment,
				     bool strict)
{
	if ((segment->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
		flow->state = DFW_FLOW_TCP_SYN_SENT;
		tcp_take_syn(flow, segment, DFW_ORIG);
		return TCP_PASS;
	}
	if (strict || segment->flags & (TCP_SYN | TCP_RST) || !(segment->flags & TCP_ACK))
		return DFW_REASON_TCP_NO_FLOW;

	/* Picked up in the middle: what this segment says bounds what both ends may send next. */
	struct dfw_leg *orig = &flow->legs[DFW_ORIG], *reply = &flow->legs[DFW_REPLY];

	flow->state = segment->flags & TCP_FIN ? DFW_FLOW_TCP_FIN_WAIT : DFW_FLOW_TCP_ESTABLISHED;
	flow->leg_flags[DFW_ORIG] =
		DFW_LEG_SYN | DFW_LEG_SYN_ACKED | (segment->flags & TCP_FIN ? DFW_LEG_FIN : 0);
	flow->leg_flags[DFW_REPLY] = DFW_LEG_SYN | DFW_LEG_SYN_ACKED | DFW_LEG_RESYNC;
	orig->end = segment->seq + segment->bytes + !!(segment->flags & TCP_FIN);
	/* It may be a keep-alive, which lies one below (RFC 9293 3.8.4). */
	if (orig->end == segment->seq)
		orig->end++;
	orig->max_end = orig->end + TCP_LOOSE_WINDOW;
	orig->max_window = TCP_LOOSE_WINDOW;
	orig->ack = segment->ack;
	reply->end = segment->ack;
	reply->max_end = segment->ack + TCP_LOOSE_WINDOW;
	reply->max_window = TCP_LOOSE_WINDOW;
	reply->ack = segment->seq;
	return TCP_PASS;
}

/* Does it acknowledge the SYN that began the flow, and no more than that carried? */
static __always_inline bool tcp_acknowledges_syn(const struct dfw_flow *flow, __u32 ack)
{
	return seq_after(ack, flow->legs[DFW_REPLY].ack) &&
	       !seq_after(ack, flow->legs[DFW_ORIG].end);
}

/* Is it what the other end says to the SYN of a flow that nobody has answered yet, be it no? */
static __always_inline bool tcp_answers_syn(const struct dfw_flow *flow,
					    const struct tcp_segment *segment, __u32 from)
{
	return flow->state == DFW_FLOW_TCP_SYN_SENT && from == DFW_REPLY &&
	       segment->flags & TCP_ACK && segment->flags & (TCP_SYN | TCP_RST) &&
	       tcp_acknowledges_syn(flow, segment->ack);
}

/* RFC 5961 3.2: a RST counts only when its number is exact. Two numbers are: what the receiver has acknowledged, and
 * what the sender has sent last (the receiver's acknowledgement of it may be on its way). Once a FIN has passed, either
 * end may already have dropped its state, and a RST within the window is believed. */
static __always_inline int tcp_reset(struct dfw_flow *flow, const struct tcp_segment *segment,
				     __u32 from)
{
	const struct dfw_leg *s = &flow->legs[from & 1], *r = &flow->legs[!from];
	__u8 s_flags = flow->leg_flags[from & 1], r_flags = flow->leg_flags[!from];
	bool acknowledged = s_flags & DFW_LEG_SYN_ACKED && segment->seq == r->ack;

	switch (flow->state) {
	case DFW_FLOW_TCP_SYN_SENT:
		if (from == DFW_REPLY) {
			/* RFC 9293 3.10.7.3: refused, if it acknowledges the SYN */
			if (!tcp_answers_syn(flow, segment, from))
				return DFW_REASON_TCP_RST;
			break;
		}
		/* The answer to a challenge ACK, aimed at what the other end still holds (RFC 5961 4). */
		if (r_flags & DFW_LEG_CHALLENGED && segment->seq == r->end)
			return TCP_PASS_QUIET;
		/* What the other end may expect: the byte behind the SYN, or behind what the SYN carried. */
		if (segment->seq != s->end && segment->seq != r->ack + 1)
			return DFW_REASON_TCP_RST;
		break;
	case DFW_FLOW_TCP_CLOSED:
		/* Said again, or the answer to a challenge ACK. */
		if (!(s_flags & DFW_LEG_SYN) || seq_before(segment->seq, r->ack) ||
		    seq_after(segment->seq, s->end))
			return DFW_REASON_TCP_RST;
		return TCP_PASS_QUIET;
	default:
		if (acknowledged || segment->seq == s->end)
			break;
		if (!((s_flags | r_flags) & DFW_LEG_FIN) || seq_before(segment->seq, r->ack) ||
		    seq_after(segment->seq, s->max_end))
			return DFW_REASON_TCP_RST;
	}
	/* What was sent last may have been lost: then the receiver's next expected number is lower, it answers with a
	 * challenge ACK, and the RST comes again. */
	if (!acknowledged)
		flow->leg_flags[!from] |= DFW_LEG_CHALLENGED;
	flow->state = DFW_FLOW_TCP_CLOSED;
	return TCP_PASS;
}

/* Is this the SYN that the end has sent before? Until it is acknowledged its number is known; then that of what it carried
 * or of the acknowledgement is. Data may lie behind it already, and a repeat may leave its own out (RFC 7413 4.2). */
static __always_inline bool tcp_repeats_syn(const struct dfw_flow *flow,
					    const struct tcp_segment *segment, __u32 from)
{
	__u32 acknowledged = flow->legs[!from].ack;
	__u8 flags = flow->leg_flags[from & 1];

	if (flags & DFW_LEG_SYN_ACKED)
		return segment->seq + 1 == acknowledged ||
		       segment->seq + 1 + segment->bytes == flow->legs[from & 1].end;
	return flags & DFW_LEG_SYN && segment->seq == acknowledged;
}

/* A SYN without ACK on a flow that is there. */
static __always_inline int tcp_syn(struct dfw_flow *flow, const struct tcp_segment *segment,
				   __u32 from)
{
	struct dfw_leg *s = &flow->legs[from & 1];

	switch (flow->state) {
	case DFW_FLOW_TCP_TIME_WAIT:
	case DFW_FLOW_TCP_CLOSED:
		return TCP_RESTART;
	case DFW_FLOW_TCP_SYN_SENT:
		if (from == DFW_REPLY) {
			/* Simultaneous open, RFC 9293 3.5 figure 8. */
			tcp_take_syn(flow, segment, DFW_REPLY);
			s->max_end = s->end + flow->legs[DFW_ORIG].max_window;
			flow->legs[DFW_ORIG].max_end =
				flow->legs[DFW_ORIG].end + flow->legs[DFW_REPLY].max_window;
			tcp_settle_scale(flow);
			flow->state = DFW_FLOW_TCP_SYN_RECEIVED;
			return TCP_PASS;
		}
		/* Sent again; with another number it is another try, and the answer must be to the last one. */
		if (segment->seq != flow->legs[DFW_REPLY].ack)
			return TCP_RESTART;
		tcp_take_scale(flow, segment, DFW_ORIG);
		return TCP_PASS;
	case DFW_FLOW_TCP_SYN_RECEIVED:
		if (tcp_repeats_syn(flow, segment, from))
			return TCP_PASS;
		break;
	}
	/* The end that began the flow may have lost its state. It gets a challenge ACK, answers with an exact RST,
	 * and its next SYN starts anew (RFC 5961 4); or the other has lost its own, too, and answers: see flow_give_way.
	 * A SYN of the other end would be a flow of another direction. */
	return from == DFW_REPLY ? DFW_REASON_TCP_STATE : TCP_PASS_QUIET;
}

/* The other end's answer to the SYN. */
static __always_inline int tcp_syn_answer(struct dfw_flow *flow, const struct tcp_segment *segment)
{
	struct dfw_leg *orig = &flow->legs[DFW_ORIG], *reply = &flow->legs[DFW_REPLY];

	if (!(segment->flags & TCP_SYN)) {
		/* RFC 5961 4: the window of an old connection may still be there. Its challenge ACK passes, so that
		 * the initiator resets it; what carries data, or closes, belongs to nothing. */
		if (segment->bytes || segment->flags & TCP_FIN)
			return DFW_REASON_TCP_STATE;
		reply->end =
			segment->ack; /* unused until its SYN: the number that the reset must have */
		flow->leg_flags[DFW_REPLY] |= DFW_LEG_CHALLENGED;
		return TCP_PASS_QUIET;
	}
	if (!tcp_answers_syn(flow, segment, DFW_REPLY))
		return DFW_REASON_TCP_ACK;
	tcp_take_syn(flow, segment, DFW_REPLY);
	reply->ack = segment->ack;
	reply->max_end = reply->end + orig->max_window;
	orig->max_end = seq_max(orig->max_end, segment->ack + reply->max_window);
	flow->leg_flags[DFW_ORIG] |= DFW_LEG_SYN_ACKED;
	tcp_settle_scale(flow);
	flow->state = DFW_FLOW_TCP_SYN_RECEIVED;
	return TCP_PASS;
}

/* What the initiator sends when the answer to its SYN came back through another member of the share group, which has not
 * told yet. It moves nothing here. */
static __always_inline int tcp_early(const struct dfw_flow *flow, const struct tcp_segment *segment)
{
	__u32 end = flow->legs[DFW_ORIG].end;

	if (!segment->shared || segment->flags & TCP_SYN || !(segment->flags & TCP_ACK) ||
	    seq_before(segment->seq, end) || seq_after(segment->seq, end + TCP_LOOSE_WINDOW))
		return DFW_REASON_TCP_STATE;
	return TCP_PASS_QUIET;
}

/* Is the segment within the windows? Van Rooij's four bounds. `end` counts SYN and FIN. */
static __always_inline int tcp_in_window(const struct dfw_flow *flow,
					 const struct tcp_segment *segment, __u32 from, __u32 end)
{
	const struct dfw_leg *s = &flow->legs[from & 1], *r = &flow->legs[!from];
	__u32 lag = s->max_window > TCP_MIN_ACK_LAG ? s->max_window : TCP_MIN_ACK_LAG;
	__u32 r_end = flow->leg_flags[!from] & DFW_LEG_RESYNC ? r->max_end : r->end;
	__u32 ahead = tcp_ahead(segment);

	/* I: begins no further than the other end lets it; at the edge for a probe of a closed window. */
	if (seq_after(segment->seq, s->max_end + ahead))
		return DFW_REASON_TCP_WINDOW;
	/* II: ends no further back than a window: what is sent again was in it. */
	if (seq_before(end, s->end - (r->max_window ? r->max_window : 1)))
		return DFW_REASON_TCP_WINDOW;
	/* III and IV: acknowledges what was sent, not too long ago. */
	if (seq_after(segment->ack, r_end + ahead) || seq_before(segment->ack, r->end - lag))
		return DFW_REASON_TCP_ACK;
	/* The other end's SYN must be acknowledged by whoever says more than a SYN: that proves who can see it. */
	if (!(flow->leg_flags[!from] & DFW_LEG_SYN_ACKED) && !seq_after(segment->ack, s->ack))
		return DFW_REASON_TCP_ACK;
	/* After its FIN an end sends nothing new (RFC 9293 3.10.4). */
	if (flow->leg_flags[from & 1] & DFW_LEG_FIN && seq_after(end, s->end))
		return DFW_REASON_TCP_STATE;
	return TCP_PASS;
}

static __always_inline void tcp_advance(struct dfw_flow *flow, const struct tcp_segment *segment,
					__u32 from, __u32 end)
{
	struct dfw_leg *s = &flow->legs[from & 1], *r = &flow->legs[!from];
	__u8 *s_flags = &flow->leg_flags[from & 1], *r_flags = &flow->leg_flags[!from];
	__u32 window = segment->window;

	if (!(segment->flags & TCP_SYN)) /* RFC 7323 2.2: a SYN's window is never scaled */
		window <<= tcp_scale_of(flow, from);

	s->end = seq_max(s->end, end);
	s->max_window = window > s->max_window ? window : s->max_window;
	s->ack = seq_max(s->ack, segment->ack);
	*r_flags |= DFW_LEG_SYN_ACKED;
	r->max_end = seq_max(r->max_end, segment->ack + (window ? window : 1));
	/* Of a flow that was handed over both legs may be behind: what an end sends once more, after it was not heard for a while,
	 * does not say how far it had come. How long that may go on, bound_resync knows. */
	if (!(*r_flags & DFW_LEG_RESYNC))
		*s_flags &= ~DFW_LEG_RESYNC;
	if (*r_flags & DFW_LEG_RESYNC || segment->shared)
		r->end = seq_max(r->end, segment->ack);

	/* A FIN is the last of all: one before what its end has sent already is none of its. */
	if (segment->flags & TCP_FIN && end == s->end)
		*s_flags |= DFW_LEG_FIN;
	if (*r_flags & DFW_LEG_FIN && segment->ack == r->end)
		*r_flags |= DFW_LEG_FIN_ACKED;
}

/* The state that the legs' flags amount to. */
static __always_inline __u8 tcp_state(const struct dfw_flow *flow)
{
	__u8 both = flow->leg_flags[DFW_ORIG] & flow->leg_flags[DFW_REPLY];
	__u8 any = flow->leg_flags[DFW_ORIG] | flow->leg_flags[DFW_REPLY];

	if (!(both & DFW_LEG_SYN_ACKED))
		return DFW_FLOW_TCP_SYN_RECEIVED;
	if (both & DFW_LEG_FIN_ACKED)
		return DFW_FLOW_TCP_TIME_WAIT;
	if (both & DFW_LEG_FIN)
		return DFW_FLOW_TCP_CLOSING;
	if (any & DFW_LEG_FIN)
		return DFW_FLOW_TCP_FIN_WAIT;
	return DFW_FLOW_TCP_ESTABLISHED;
}

/* The segment that nearly all are, without SYN, FIN and RST, on a connection where both ends are as sure of each other as
 * they will be. False, with nothing changed: tcp_track must see it. True: what tcp_track would have done is done. */
static __always_inline bool tcp_track_plain(struct dfw_flow *flow,
					    const struct tcp_segment *segment, __u32 from)
{
	__u8 both = flow->leg_flags[DFW_ORIG] & flow->leg_flags[DFW_REPLY];
	__u8 any = flow->leg_flags[DFW_ORIG] | flow->leg_flags[DFW_REPLY];
	__u32 end = segment->seq + segment->bytes;

	if (flow->state != DFW_FLOW_TCP_ESTABLISHED || !(both & DFW_LEG_SYN_ACKED) ||
	    any & (DFW_LEG_FIN | DFW_LEG_RESYNC) ||
	    tcp_in_window(flow, segment, from, end) != TCP_PASS)
		return false;
	tcp_advance(flow, segment, from, end);
	return true;
}

/* More of a segment that came in fragments, of which tcp_track has seen the first: `segment` is this part of it, with FIN if
 * the whole has it and ends here. It is bounded as if it had been sent alone, or by its offset it would reach beyond what
 * the other end lets its sender say. Returns TCP_PASS or a reason to drop, with nothing changed. */
static __always_inline int tcp_track_rest(struct dfw_flow *flow, const struct tcp_segment *segment,
					  __u32 from)
{
	struct dfw_leg *s = &flow->legs[from & 1];
	__u32 end = segment->seq + segment->bytes + !!(segment->flags & TCP_FIN);
	__u32 most = s->max_end + tcp_ahead(segment);

	if (flow->state == DFW_FLOW_TCP_CLOSED)
		return DFW_REASON_TCP_STATE;
	/* Of a SYN with data (RFC 7413): nothing is offered yet, but a datagram has its length. */
	if (flow->state == DFW_FLOW_TCP_SYN_SENT) {
		if (segment->flags & TCP_FIN)
			return DFW_REASON_TCP_STATE;
		most = flow->legs[!from].ack + 65535;
	}
	if (seq_after(segment->seq, most))
		return DFW_REASON_TCP_WINDOW;
	if (flow->leg_flags[from & 1] & DFW_LEG_FIN && seq_after(end, s->end))
		return DFW_REASON_TCP_STATE;
	s->end = seq_max(s->end, end);
	if (flow->state == DFW_FLOW_TCP_SYN_SENT)
		s->max_end = seq_max(s->max_end, end);
	if (segment->flags & TCP_FIN && end == s->end) {
		flow->leg_flags[from & 1] |= DFW_LEG_FIN;
		flow->state = tcp_state(flow);
	}
	return TCP_PASS;
}

/* A segment of an existing flow, sent by the end `from` (enum dfw_leg_index), with possible flags. Returns
 * enum tcp_verdict; changes the flow only for TCP_PASS (and notes a challenge). */
static __always_inline int tcp_track(struct dfw_flow *flow, const struct tcp_segment *segment,
				     __u32 from)
{
	__u32 end = segment->seq + segment->bytes + !!(segment->flags & TCP_SYN) +
		    !!(segment->flags & TCP_FIN);
	int verdict;

	if (segment->flags & TCP_RST)
		return tcp_reset(flow, segment, from);
	if ((segment->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return tcp_syn(flow, segment, from);

	switch (flow->state) {
	case DFW_FLOW_TCP_SYN_SENT:
		return from == DFW_REPLY ? tcp_syn_answer(flow, segment) : tcp_early(flow, segment);
	case DFW_FLOW_TCP_SYN_RECEIVED:
		/* In a simultaneous open a SYN,ACK repeats the SYN, whatever was sent behind it. */
		if (segment->flags & TCP_SYN) {
			if (!tcp_repeats_syn(flow, segment, from))
				return DFW_REASON_TCP_STATE;
			end = flow->legs[from & 1].end;
		}
		break;
	case DFW_FLOW_TCP_CLOSED:
		/* Nothing but the challenge ACK to a RST whose number may not have been exact. */
		if ((flow->leg_flags[from & 1] & (DFW_LEG_SYN | DFW_LEG_CHALLENGED)) !=
			    (DFW_LEG_SYN | DFW_LEG_CHALLENGED) ||
		    segment->bytes || segment->flags & (TCP_SYN | TCP_FIN))
			return DFW_REASON_TCP_STATE;
		verdict = tcp_in_window(flow, segment, from, end);
		return verdict == TCP_PASS ? TCP_PASS_QUIET : verdict;
	}

	verdict = tcp_in_window(flow, segment, from, end);
	if (verdict != TCP_PASS)
		return verdict;
	/* A SYN,ACK on a live connection: its ACK was lost, or it is forged. Its receiver answers with an ACK and takes
	 * nothing of it (RFC 5961 4.2). */
	if (segment->flags & TCP_SYN && flow->state != DFW_FLOW_TCP_SYN_RECEIVED)
		return TCP_PASS_QUIET;
	tcp_advance(flow, segment, from, end);
	flow->state = tcp_state(flow);
	return TCP_PASS;
}

#endif
