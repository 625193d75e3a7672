/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_FRAGMENT_H
#define DFW_BPF_FRAGMENT_H

#include "track.h"

/*
 * Fragments, without reassembly. The first fragment holds the transport header (RFC 1858, RFC 7112) and is decided like
 * a whole packet; what it was allowed, its datagram's other fragments are. One that comes before it, that overlaps
 * (RFC 5722; read for IPv4 alike) or does not fit, drops.
 *
 * Invariant of a record: its ranges are disjoint; what overlaps poisons it, and nothing of the datagram passes any more.
 * An exact copy of a fragment drops alone: the network may have doubled it (RFC 8200 4.5).
 *
 * Once all of a datagram has passed, its identification is free for the next (RFC 791 2.3). That lets nothing in that no rule
 * allows: the next begins with a first fragment of its own, which is decided anew, and what follows belongs to that. Each
 * first fragment holds a whole transport header, so whatever a receiver that lacks a part of the former datagram puts
 * together of both (RFC 4963), its ports are some that were allowed.
 */

static __always_inline void fragment_key(struct packet *p, struct dfw_fragment_key *key)
{
	key->source = *packet_source(p);
	key->destination = *packet_destination(p);
	key->id = p->fragment_id;
	key->vlan = p->key.vlan;
	/* RFC 8200 4.5: it is no part of IPv6's key, and what later fragments say of it does not count. */
	key->protocol = p->flags & PACKET_V6 ? 0 : p->key.protocol;
	key->direction = p->direction;
}

/* Of a later fragment's headers, what its datagram's length does not count: the IPv6 header and the fragment's. */
#define IP6_LATER_BYTES 48

/* Checks that need no memory: lengths (RFC 791 3.2, RFC 8200 4.5) and the end of the datagram. */
static __always_inline int fragment_sane(const struct packet *p)
{
	__u32 headers = p->l4_offset - p->l3_offset;

	if (p->l4_bytes == 0)
		return DFW_REASON_FRAGMENT;
	if (p->flags & PACKET_MORE_FRAGMENTS && p->l4_bytes & 7)
		return DFW_REASON_FRAGMENT;
	/* No datagram is longer than its field can say: IPv4's tells of the header, too, and IPv6's of what lies between the
	 * IPv6 header and the fragment's. */
	if (p->flags & PACKET_V6)
		headers -= IP6_LATER_BYTES;
	if (p->flags & PACKET_FRAGMENT_LATER && headers + p->fragment_offset + p->l4_bytes > 65535)
		return DFW_REASON_FRAGMENT;
	return STAGE_PASS;
}

static __always_inline bool fragment_lock(struct dfw_fragment *record)
{
	for (int i = 0; i < 256; i++)
		if (lock_try(&record->lock))
			return true;
	return false;
}

static __always_inline struct dfw_fragment *fragment_find(struct packet *p, void *inner,
							  struct dfw_fragment_key *key)
{
	struct dfw_fragment *record = bpf_map_lookup_elem(inner, key);

	if (!record || p->now_ns - record->first_seen_ns > DFW_FRAGMENT_SECONDS * NS_PER_SECOND)
		return NULL;
	return record;
}

/* Where the first fragment ends, in units of 8 bytes. */
static __always_inline __u16 fragment_first_end(const struct packet *p)
{
	return (p->fragment_offset + p->l4_bytes) / 8;
}

/* Has all of the datagram passed? Asked without its lock, too: ranges only grow, so it is never true too early. */
DFW_STAGE bool fragment_whole(const struct dfw_fragment *record)
{
	__u32 seen = 0;

	if (!record || !record->last_end || record->poisoned)
		return false;
	for (int i = 0; i < DFW_FRAGMENT_RANGES && i < record->nr_ranges; i++)
		seen += record->ranges[i].end - record->ranges[i].begin;
	return seen == record->last_end;
}

/* Is the first fragment a copy of one that was seen? Asked before it is decided. */
DFW_STAGE int fragment_first_seen(struct packet *p)
{
	struct dfw_fragment_key key = {};
	struct dfw_fragment *record;
	void *inner;

	if (!p)
		return DFW_REASON_INTERNAL;
	inner = port_map(&fragments, p);
	if (!inner)
		return DFW_REASON_INTERNAL;
	fragment_key(p, &key);
	record = fragment_find(p, inner, &key);
	if (!record || fragment_whole(record))
		return STAGE_PASS;
	/* Another first fragment could name other ports for what follows. */
	if (record->ranges[0].end != fragment_first_end(p))
		record->poisoned = 1;
	return DFW_REASON_FRAGMENT_OVERLAP;
}

/* Remembers what the first fragment, which passed, allows. */
DFW_STAGE int fragment_begin(struct packet *p)
{
	struct dfw_fragment_key key = {};
	struct dfw_fragment record = {};
	void *inner;

	if (!p)
		return DFW_REASON_INTERNAL;
	inner = port_map(&fragments, p);
	if (!inner)
		return DFW_REASON_INTERNAL;
	fragment_key(p, &key);
	record.nr_ranges = 1;
	record.first_seen_ns = p->now_ns;
	record.flow = p->key;
	record.generation = p->generation;
	record.revision = p->revision;
	record.stateless = p->stateless;
	record.rule_slot = p->rule_slot;
	record.fin = !!(p->tcp_flags & TCP_FIN);
	record.tcp_base =
		p->tcp_seq - p->tcp_header_bytes - p->fragment_offset + !!(p->tcp_flags & TCP_SYN);
	record.ranges[0].end = fragment_first_end(p);
	return bpf_map_update_elem(inner, &key, &record, BPF_ANY) == 0 ? STAGE_PASS
								       : DFW_REASON_FLOW_MEMORY;
}

/* Takes the range of a later fragment into the record, whose lock is held. */
DFW_STAGE int fragment_take(struct dfw_fragment *record, const struct packet *p)
{
	__u32 begin, end, place;
	bool last;

	if (!record || !p)
		return DFW_REASON_INTERNAL;
	begin = p->fragment_offset / 8;
	end = (p->fragment_offset + p->l4_bytes + 7) / 8;
	last = !(p->flags & PACKET_MORE_FRAGMENTS);
	/* What comes when all is there is a copy, or the next datagram's and ahead of its first. */
	if (record->poisoned || fragment_whole(record))
		return DFW_REASON_FRAGMENT_OVERLAP;
	for (int i = 0; i < DFW_FRAGMENT_RANGES && i < record->nr_ranges; i++) {
		if (begin == record->ranges[i].begin && end == record->ranges[i].end)
			return DFW_REASON_FRAGMENT_OVERLAP;
		if (begin < record->ranges[i].end && end > record->ranges[i].begin)
			goto poison;
		if (last && record->ranges[i].end > end)
			goto poison;
	}
	if (record->last_end && (last || end > record->last_end))
		goto poison;
	for (int i = 0; i < DFW_FRAGMENT_RANGES && i < record->nr_ranges; i++) {
		/* Neighbours melt into one range, so that datagrams in order, or in the reverse, need only one. */
		if (record->ranges[i].end == begin && i != 0) {
			record->ranges[i].end = end;
			goto taken;
		}
		if (record->ranges[i].begin == end) {
			record->ranges[i].begin = begin;
			goto taken;
		}
	}
	place = record->nr_ranges;
	barrier_var(place); /* the verifier must see the bound on the register that is used */
	if (place >= DFW_FRAGMENT_RANGES)
		goto poison;
	record->ranges[place].begin = begin;
	record->ranges[place].end = end;
	record->nr_ranges++;
taken:
	if (last)
		record->last_end = end;
	return STAGE_PASS;
poison:
	record->poisoned = 1;
	return DFW_REASON_FRAGMENT_OVERLAP;
}

/* The segment that the fragment goes on with: its part of the numbers, and the FIN, if the datagram has one and ends here. */
static __always_inline void fragment_segment(const struct packet *p,
					     const struct dfw_fragment *record,
					     struct tcp_segment *segment)
{
	segment->seq = record->tcp_base + p->fragment_offset;
	segment->bytes = p->l4_bytes;
	segment->flags = record->fin && !(p->flags & PACKET_MORE_FRAGMENTS) ? TCP_FIN : 0;
	segment->shared = !!(p->flags & PACKET_SHARED);
}

/* A later fragment. PASSED or a reason to drop; sets p->key and the rule to those of its datagram. */
DFW_STAGE int fragment_follow(struct packet *p)
{
	struct dfw_port_config *config;
	struct dfw_fragment_key key = {};
	struct tcp_segment segment = {};
	struct dfw_fragment *record;
	struct dfw_flow_entry *entry;
	__u32 from, before;
	int reason;
	void *inner;

	if (!p)
		return DFW_REASON_INTERNAL;
	config = port_config(p->slot, p->bank);
	inner = port_map(&fragments, p);
	if (!config || !inner)
		return DFW_REASON_INTERNAL;
	reason = guard_groups(p, config);
	if (reason)
		return reason;
	fragment_key(p, &key);
	record = fragment_find(p, inner, &key);
	if (!record || record->generation != p->generation || record->revision != p->revision)
		return DFW_REASON_FRAGMENT_ORPHAN;
	if (!fragment_lock(record))
		return DFW_REASON_FLOW_BUSY;
	reason = fragment_take(record, p);
	p->key = record->flow;
	p->rule_slot = record->rule_slot;
	fragment_segment(p, record, &segment);
	lock_free(&record->lock);
	if (reason || record->stateless)
		return reason;

	entry = flow_find(p, config);
	if (!entry || flow_hold(entry, &p->key) != STAGE_PASS)
		return DFW_REASON_FRAGMENT_ORPHAN;
	from = p->direction == entry->flow.initiator ? DFW_ORIG : DFW_REPLY;
	before = entry->flow.state;
	if (p->key.protocol == PROTOCOL_TCP)
		reason = tcp_track_rest(&entry->flow, &segment, from);
	if (reason) {
		flow_unlock(entry);
		return reason;
	}
	entry->flow.last_seen_ns = p->now_ns;
	track_count(p, &entry->flow, from);
	return track_done(p, entry, before);
}

#endif
