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
 */

static __always_inline void fragment_key(struct packet *p, struct dfw_fragment_key *key)
{
	key->source = *packet_source(p);
	key->destination = *packet_destination(p);
	key->id = p->fragment_id;
	key->vlan = p->key.vlan;
	key->protocol = p->key.protocol;
	key->direction = p->direction;
}

/* Checks that need no memory: lengths (RFC 791 3.2, RFC 8200 4.5) and the end of the datagram. */
static __always_inline int fragment_sane(const struct packet *p)
{
	if (p->l4_bytes == 0)
		return DFW_REASON_FRAGMENT;
	if (p->flags & PACKET_MORE_FRAGMENTS && p->l4_bytes & 7)
		return DFW_REASON_FRAGMENT;
	if (p->fragment_offset + p->l4_bytes > 65535)
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
	if (!record)
		return STAGE_PASS;
	/* Another first fragment could name other ports for what follows. */
	if (record->ranges[0].end != p->l4_bytes / 8)
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
	record.tcp_base = p->tcp_seq - p->tcp_header_bytes + !!(p->tcp_flags & TCP_FIN);
	record.ranges[0].end = p->l4_bytes / 8;
	return bpf_map_update_elem(inner, &key, &record, BPF_ANY) == 0 ? STAGE_PASS
								       : DFW_REASON_FLOW_MEMORY;
}

/* Takes the range of a later fragment into the record, whose lock is held. */
static __always_inline int fragment_take(struct dfw_fragment *record, const struct packet *p)
{
	__u32 begin = p->fragment_offset / 8, end = (p->fragment_offset + p->l4_bytes + 7) / 8;
	bool last = !(p->flags & PACKET_MORE_FRAGMENTS);

	if (record->poisoned)
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
		/* Neighbours melt into one range, so that datagrams in order need only one. */
		if (record->ranges[i].end == begin && i != 0) {
			record->ranges[i].end = end;
			goto taken;
		}
	}
	if (record->nr_ranges >= DFW_FRAGMENT_RANGES)
		goto poison;
	record->ranges[record->nr_ranges & (DFW_FRAGMENT_RANGES - 1)].begin = begin;
	record->ranges[record->nr_ranges & (DFW_FRAGMENT_RANGES - 1)].end = end;
	record->nr_ranges++;
taken:
	if (last)
		record->last_end = end;
	return STAGE_PASS;
poison:
	record->poisoned = 1;
	return DFW_REASON_FRAGMENT_OVERLAP;
}

/* A later fragment. PASSED or a reason to drop; sets p->key and the rule to those of its datagram. */
DFW_STAGE int fragment_follow(struct packet *p)
{
	struct dfw_port_config *config;
	struct dfw_fragment_key key = {};
	struct dfw_fragment *record;
	struct dfw_flow_entry *entry;
	struct dfw_flow *flow;
	__u32 tcp_end, from;
	int reason;
	void *inner;

	if (!p)
		return DFW_REASON_INTERNAL;
	config = port_config(p->slot, p->bank);
	inner = port_map(&fragments, p);
	if (!config || !inner)
		return DFW_REASON_INTERNAL;
	fragment_key(p, &key);
	record = fragment_find(p, inner, &key);
	if (!record || record->generation != p->generation || record->revision != p->revision)
		return DFW_REASON_FRAGMENT_ORPHAN;
	if (!fragment_lock(record))
		return DFW_REASON_FLOW_BUSY;
	reason = fragment_take(record, p);
	p->key = record->flow;
	p->rule_slot = record->rule_slot;
	tcp_end = record->tcp_base + p->fragment_offset + p->l4_bytes;
	lock_free(&record->lock);
	if (reason || record->stateless)
		return reason;

	entry = flow_find(p, config);
	if (!entry || flow_hold(entry, &p->key) != STAGE_PASS)
		return DFW_REASON_FRAGMENT_ORPHAN;
	flow = &entry->flow;
	from = p->direction == flow->initiator ? DFW_ORIG : DFW_REPLY;
	flow->last_seen_ns = p->now_ns;
	flow->legs[from & 1].packets += p->segments;
	flow->legs[from & 1].bytes += p->bytes;
	if (p->key.protocol == PROTOCOL_TCP)
		flow->legs[from & 1].end = seq_max(flow->legs[from & 1].end, tcp_end);
	p->rule = flow->rule;
	p->rule_direction = flow->initiator;
	flow_unlock(entry);
	return STAGE_PASS;
}

#endif
