/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_SCTP_H
#define DFW_BPF_SCTP_H

#include <dfw/flow.h>
#include <dfw/reason.h>

#include "packet.h"

/*
 * The SCTP tracker (RFC 9260). What guards an association is its pair of verification tags: each end picks one in its
 * INIT or INIT ACK, and every packet to it must carry it (8.5). A leg's `tag` is what packets OF that end must carry,
 * its `init_tag` a newer one that is proposed but not confirmed (a collision, 5.2.1, or a restart, 5.2.2); the cookie
 * exchange confirms it. So a stale or forged INIT ACK can propose, but never displace.
 */

enum sctp_chunk {
	SCTP_DATA = 0,
	SCTP_INIT = 1,
	SCTP_INIT_ACK = 2,
	SCTP_ABORT = 6,
	SCTP_SHUTDOWN = 7,
	SCTP_SHUTDOWN_ACK = 8,
	SCTP_ERROR = 9,
	SCTP_COOKIE_ECHO = 10,
	SCTP_COOKIE_ACK = 11,
	SCTP_SHUTDOWN_COMPLETE = 14,
};

#define SCTP_HEADER_BYTES  12
#define SCTP_MAX_CHUNKS	   16
#define SCTP_INIT_BYTES	   20
#define SCTP_REFLECTED_TAG 1 /* the T bit of ABORT and SHUTDOWN COMPLETE */

enum sctp_verdict {
	SCTP_PASS = 0,
	SCTP_PASS_QUIET = -1,
	SCTP_RESTART = -2, /* an INIT where the old association is over */
};

/* Reads the chunks; 0 or a reason to drop. INIT, INIT ACK and SHUTDOWN COMPLETE stand alone (6.10). Behind the first 16, or in
 * later fragments, nothing is looked for: what would be missed there is an ABORT, and a flow that misses it lives until it
 * expires, or until an INIT begins anew. */
DFW_STAGE int sctp_parse(context_t *ctx, struct packet *p)
{
	__u32 at = SCTP_HEADER_BYTES, offset, bytes, end;
	struct sctp_packet *sctp;
	__be32 word;

	if (!p)
		return DFW_REASON_INTERNAL;
	offset = p->l4_offset;
	bytes = p->l4_bytes;
	/* The last chunk of a first fragment may go on in the next. */
	end = p->flags & PACKET_FRAGMENT_FIRST ? bytes + 65535 : bytes;
	barrier_var(end); /* or the verifier walks the chunks for each of the two */
	sctp = &p->sctp;
	__builtin_memset(sctp, 0, sizeof(*sctp));
	if (!context_load(ctx, offset + 4, &word, sizeof(word)))
		return DFW_REASON_SCTP_CHUNK;
	sctp->tag = bpf_ntohl(word);
	for (int i = 0; i < SCTP_MAX_CHUNKS; i++) {
		struct {
			__u8 type;
			__u8 flags;
			__be16 bytes;
		} chunk;
		__u32 length;

		if (at >= bytes)
			break;
		if (at + sizeof(chunk) > bytes ||
		    !context_load(ctx, offset + at, &chunk, sizeof(chunk)))
			return DFW_REASON_SCTP_CHUNK;
		length = bpf_ntohs(chunk.bytes);
		if (length < sizeof(chunk) || at + length > end)
			return DFW_REASON_SCTP_CHUNK;
		if (i == 0) {
			sctp->lead = chunk.type;
			sctp->lead_flags = chunk.flags;
			if (chunk.type == SCTP_INIT || chunk.type == SCTP_INIT_ACK) {
				if (length < SCTP_INIT_BYTES || at + 8 > bytes ||
				    !context_load(ctx, offset + at + 4, &word, sizeof(word)))
					return DFW_REASON_SCTP_CHUNK;
				sctp->init_tag = bpf_ntohl(word);
				if (!sctp->init_tag)
					return DFW_REASON_SCTP_CHUNK;
			}
		} else {
			if (sctp->lead == SCTP_INIT || sctp->lead == SCTP_INIT_ACK ||
			    sctp->lead == SCTP_SHUTDOWN_COMPLETE || chunk.type == SCTP_INIT ||
			    chunk.type == SCTP_INIT_ACK || chunk.type == SCTP_SHUTDOWN_COMPLETE)
				return DFW_REASON_SCTP_CHUNK;
			if (chunk.type == SCTP_ABORT)
				sctp->aborts = 1;
		}
		sctp->nr_chunks = i + 1;
		at += (length + 3) & ~3U;
	}
	if (sctp->lead == SCTP_ABORT)
		sctp->aborts = 1;
	/* 8.5.1: only INIT has tag 0, and it has no other. */
	if ((sctp->lead == SCTP_INIT) != (sctp->tag == 0))
		return DFW_REASON_SCTP_TAG;
	return sctp->nr_chunks ? 0 : DFW_REASON_SCTP_CHUNK;
}

static __always_inline int sctp_begin(struct dfw_flow *flow, const struct sctp_packet *sctp)
{
	if (sctp->lead != SCTP_INIT)
		return DFW_REASON_SCTP_NO_FLOW;
	flow->state = DFW_FLOW_SCTP_INIT;
	flow->legs[DFW_REPLY].init_tag = sctp->init_tag;
	return SCTP_PASS;
}

/* A packet of an existing flow, sent by the end `from`. */
static __always_inline int sctp_track(struct dfw_flow *flow, const struct sctp_packet *sctp,
				      __u32 from)
{
	struct dfw_leg *s = &flow->legs[from & 1], *r = &flow->legs[!from];
	bool proposed = s->init_tag && sctp->tag == s->init_tag;
	bool right = (s->tag && sctp->tag == s->tag);

	if (sctp->lead == SCTP_INIT) {
		if (flow->state == DFW_FLOW_SCTP_CLOSED)
			return SCTP_RESTART;
		r->init_tag = sctp->init_tag;
		return flow->state == DFW_FLOW_SCTP_INIT ? SCTP_PASS : SCTP_PASS_QUIET;
	}
	/* Answers to what has no association carry the sender's own tag (8.5.1 B, C). */
	if ((sctp->lead == SCTP_ABORT || sctp->lead == SCTP_SHUTDOWN_COMPLETE) &&
	    sctp->lead_flags & SCTP_REFLECTED_TAG)
		right = r->tag ? sctp->tag == r->tag : r->init_tag && sctp->tag == r->init_tag;

	switch (sctp->lead) {
	case SCTP_INIT_ACK:
		if (!right && !proposed)
			return DFW_REASON_SCTP_TAG;
		r->init_tag = sctp->init_tag;
		if (flow->state == DFW_FLOW_SCTP_INIT)
			flow->state = DFW_FLOW_SCTP_COOKIE;
		else if (flow->state != DFW_FLOW_SCTP_COOKIE)
			return SCTP_PASS_QUIET;
		return SCTP_PASS;
	case SCTP_COOKIE_ECHO:
		if (!right && !proposed)
			return DFW_REASON_SCTP_TAG;
		if (proposed)
			s->tag = s->init_tag;
		return SCTP_PASS;
	case SCTP_COOKIE_ACK:
		if (!right && !proposed)
			return DFW_REASON_SCTP_TAG;
		if (!r->tag) /* it answers no COOKIE ECHO (5.2.5) */
			return DFW_REASON_SCTP_NO_FLOW;
		if (proposed)
			s->tag = s->init_tag;
		if (flow->state == DFW_FLOW_SCTP_INIT || flow->state == DFW_FLOW_SCTP_COOKIE)
			flow->state = DFW_FLOW_SCTP_ESTABLISHED;
		return SCTP_PASS;
	}

	if (sctp->aborts && !right && proposed && flow->state < DFW_FLOW_SCTP_ESTABLISHED)
		right = true; /* an INIT or COOKIE ECHO is refused */
	if (sctp->lead == SCTP_ERROR && proposed)
		right = true; /* a stale cookie, 5.2.6 */
	if (!right)
		return DFW_REASON_SCTP_TAG;
	if (sctp->aborts) {
		flow->state = DFW_FLOW_SCTP_CLOSED;
		return SCTP_PASS;
	}
	switch (flow->state) {
	case DFW_FLOW_SCTP_INIT:
	case DFW_FLOW_SCTP_COOKIE:
		return sctp->lead == SCTP_ERROR ? SCTP_PASS : DFW_REASON_SCTP_NO_FLOW;
	case DFW_FLOW_SCTP_CLOSED:
		/* The SHUTDOWN COMPLETE was lost: what it answered comes again, and is answered by who has forgotten the
		 * association (8.4, rule 5). */
		return sctp->lead == SCTP_SHUTDOWN_ACK || sctp->lead == SCTP_SHUTDOWN_COMPLETE
			       ? SCTP_PASS_QUIET
			       : DFW_REASON_SCTP_NO_FLOW;
	}
	if (sctp->lead == SCTP_SHUTDOWN || sctp->lead == SCTP_SHUTDOWN_ACK)
		flow->state = DFW_FLOW_SCTP_SHUTDOWN;
	if (sctp->lead == SCTP_SHUTDOWN_COMPLETE)
		flow->state = DFW_FLOW_SCTP_CLOSED;
	return SCTP_PASS;
}

#endif
