/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_TRACK_H
#define DFW_BPF_TRACK_H

#include "challenge.h"
#include "flow.h"

/* A packet and its flow: the tracker of its protocol under the flow's lock, a new flow, a flow decided anew. */

/* UDP flows that live longer than this after an answer are streams (RFC 4787 REQ-5 wants at least 2 min for all). */
#define UDP_STREAM_CS 200

static __always_inline __u32 flow_age_cs(const struct dfw_flow *flow, __u64 now_ns)
{
	return (__u32)(now_ns / DFW_NS_PER_CS) - flow->created_cs;
}

static __always_inline void packet_segment(const struct packet *p, struct tcp_segment *segment)
{
	segment->seq = p->tcp_seq;
	segment->ack = p->tcp_ack;
	segment->window = p->tcp_window;
	segment->bytes = p->l4_bytes - p->tcp_header_bytes;
	segment->flags = p->tcp_flags;
	segment->scale = p->tcp_scale;
	segment->shared = !!(p->flags & PACKET_SHARED);
}

/* Does it ask for a connection? */
static __always_inline bool packet_is_syn(const struct packet *p)
{
	return p->key.protocol == PROTOCOL_TCP &&
	       (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
}

/* May it be what such a one is answered? */
static __always_inline bool packet_answers_syn(const struct packet *p)
{
	return p->key.protocol == PROTOCOL_TCP && p->tcp_flags & TCP_ACK &&
	       p->tcp_flags & (TCP_SYN | TCP_RST);
}

static __always_inline void track_answered(struct dfw_flow *flow, __u32 from, __u8 new,
					   __u8 replied)
{
	if (from == DFW_REPLY && flow->state == new)
		flow->state = replied;
}

static __always_inline void udp_track(struct dfw_flow *flow, __u32 from, __u64 now_ns)
{
	track_answered(flow, from, DFW_FLOW_UDP_NEW, DFW_FLOW_UDP_REPLIED);
	if (flow->state != DFW_FLOW_UDP_REPLIED)
		return;
	barrier_var(now_ns); /* or it is divided for every packet */
	if (flow_age_cs(flow, now_ns) > UDP_STREAM_CS)
		flow->state = DFW_FLOW_UDP_STREAM;
}

/* Has the flow's initiator shown that it hears the answers? The VM is behind SpoofGuard, so an answer to it is enough;
 * anybody else must answer the answer. */
static __always_inline bool flow_confirmed(const struct dfw_flow *flow, __u32 from)
{
	bool by_vm = flow->initiator == DFW_OUT;

	switch (flow->state) {
	case DFW_FLOW_TCP_SYN_RECEIVED:
	case DFW_FLOW_SCTP_COOKIE:
		return by_vm;
	case DFW_FLOW_TCP_ESTABLISHED:
	case DFW_FLOW_TCP_FIN_WAIT:
	case DFW_FLOW_TCP_CLOSING:
	case DFW_FLOW_SCTP_ESTABLISHED:
		return true;
	case DFW_FLOW_UDP_REPLIED:
	case DFW_FLOW_UDP_STREAM:
	case DFW_FLOW_ICMP_REPLIED:
	case DFW_FLOW_OTHER_REPLIED:
		return by_vm || from == DFW_ORIG;
	}
	return false;
}

/* A flow that was picked up without its SYNs may anchor the other end's window for as long as the profile's `resync` says. */
static __always_inline void bound_resync(const struct packet *p, struct dfw_flow *flow)
{
	const struct dfw_port_config *config;

	if (!((flow->leg_flags[DFW_ORIG] | flow->leg_flags[DFW_REPLY]) & DFW_LEG_RESYNC))
		return;
	config = port_config(p->slot, p->bank);
	if (config && flow_age_cs(flow, p->now_ns) <= config->profile.resync_seconds * 100)
		return;
	flow->leg_flags[DFW_ORIG] &= ~DFW_LEG_RESYNC;
	flow->leg_flags[DFW_REPLY] &= ~DFW_LEG_RESYNC;
}

/* The flow, whose lock is held, lets the packet pass: counts it. */
static __always_inline void track_count(struct packet *p, struct dfw_flow *flow, __u32 from)
{
	struct dfw_leg *leg = &flow->legs[from & 1];

	leg->packets += p->segments;
	leg->bytes += p->bytes;
	p->rule = flow->rule;
	p->rule_slot = flow->rule_slot;
	p->rule_direction = flow->initiator;
}

/* Unlocks the flow, which was in the state `before`, and tells of it what is news. */
static __always_inline int track_done(struct packet *p, struct dfw_flow_entry *entry, __u32 before)
{
	__u32 kind = entry->flow.state == before ? DFW_CHANGE_TOUCHED : DFW_CHANGE_STATE;
	bool news = false;

	if (p->flags & PACKET_WATCHED &&
	    (p->flags & PACKET_SHARED || !(p->flags & PACKET_HALF_OPEN)))
		news = change_note(&entry->flow, kind);
	flow_unlock(entry);
	if (news)
		change_tell(&p->key, p->slot, kind, 0);
	return STAGE_PASS;
}

/* The segment of a whole packet or a first fragment. Where the latter's FIN is, the last fragment will tell. */
static __always_inline void track_segment(const struct packet *p, struct tcp_segment *segment)
{
	packet_segment(p, segment);
	if (p->flags & PACKET_FRAGMENT_FIRST)
		segment->flags &= ~TCP_FIN;
}

/* Lets the flow's tracker see the packet. Returns PASSED, a reason to drop, or enum track_result. */
DFW_STAGE int track(struct packet *p, struct dfw_flow_entry *entry)
{
	struct tcp_segment segment = {};
	struct dfw_flow *flow;
	__u32 from, before;
	int verdict;

	if (!p || !entry)
		return DFW_REASON_INTERNAL;
	flow = &entry->flow;
	if (p->key.protocol == PROTOCOL_TCP)
		track_segment(p, &segment);
	verdict = flow_hold(entry, &p->key);
	if (verdict)
		return verdict;
	from = p->direction == flow->initiator ? DFW_ORIG : DFW_REPLY;
	before = flow->state;

	switch (p->key.protocol) {
	case PROTOCOL_TCP:
		bound_resync(p, flow);
		verdict = tcp_track(flow, &segment, from);
		break;
	case PROTOCOL_SCTP:
		verdict = sctp_track(flow, &p->sctp, from);
		break;
	case PROTOCOL_UDP:
		udp_track(flow, from, p->now_ns);
		break;
	case PROTOCOL_ICMP:
	case PROTOCOL_ICMP6:
		track_answered(flow, from, DFW_FLOW_ICMP_NEW, DFW_FLOW_ICMP_REPLIED);
		break;
	default:
		track_answered(flow, from, DFW_FLOW_OTHER_NEW, DFW_FLOW_OTHER_REPLIED);
	}

	/* What is not believed may not move the flow by what follows it, either. */
	if (verdict == TCP_PASS_QUIET && p->flags & PACKET_FRAGMENT_FIRST)
		verdict = DFW_REASON_FRAGMENT;
	if (verdict > 0 || verdict == TCP_RESTART) {
		flow_unlock(entry);
		return verdict > 0 ? verdict : TRACK_RESTART;
	}
	if (verdict == TCP_PASS)
		flow->last_seen_ns = p->now_ns;
	else
		p->flags |= PACKET_QUIET;
	track_count(p, flow, from);
	if (p->flags & PACKET_HALF_OPEN && flow_confirmed(flow, from))
		return TRACK_CONFIRM;
	return track_done(p, entry, before);
}

/* A flow on its way into a table. */
static __always_inline struct dfw_flow_entry *scratch_entry(void)
{
	__u32 zero = 0;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &zero);

	return scratch ? (struct dfw_flow_entry *)scratch->bytes : NULL;
}

/* Copies a half-open flow, whose lock is held, among the confirmed. 0, or a negative errno. */
static __always_inline int flow_copy(struct packet *p, const struct dfw_flow_entry *entry)
{
	const struct dfw_port_config *config = port_config(p->slot, p->bank);
	const struct dfw_port_state *state = port_state(p->slot);
	struct dfw_flow_entry *copy = scratch_entry();
	int r;

	if (!config || !state || !copy)
		return -1;
	if (state->flows >= (__s64)config->profile.max_flows)
		return ERRNO_FULL;
	__builtin_memcpy(copy, entry, sizeof(*copy));
	copy->flow.lock = 0;
	count_flow(p, &copy->flow);
	if (p->flags & PACKET_WATCHED)
		copy->flow.flags |= DFW_FLOW_TOUCHED | DFW_FLOW_CHANGED;
	r = flow_put(p->slot, copy, p->hash, PUT_NEW);
	if (r == 0) {
		port_flows_add(p, 1);
		if (p->flags & PACKET_WATCHED)
			change_tell(&p->key, p->slot, DFW_CHANGE_STATE, 0);
		event_flow(p, DFW_EVENT_FLOW_CONFIRMED, DFW_REASON_PASSED, &copy->flow);
	} else {
		uncount_flow(p, &copy->flow);
	}
	return r;
}

/* Moves a half-open flow, whose lock is held and which the packet confirms, to the confirmed ones, and unlocks it. Returns
 * PASSED, a reason to drop, or enum track_result. (A stage beside `track`, not below it: their frames do not add up.) */
DFW_STAGE int flow_confirm(struct packet *p, struct dfw_flow_entry *entry)
{
	struct dfw_flow *flow;
	struct dfw_leg *leg;
	int r;

	if (!p || !entry)
		return DFW_REASON_INTERNAL;
	flow = &entry->flow;
	r = flow_copy(p, entry);
	if (r == 0 && p->key.protocol == PROTOCOL_TCP && flow->initiator == DFW_IN)
		challenge_finished(p);
	if (r == 0 || r == ERRNO_EXISTS) {
		flow->state = DFW_FLOW_DEAD;
		flow_vanish(p->slot, entry, p->hash, true);
		return r == 0 ? STAGE_PASS : TRACK_RETRY;
	}
	/* Not let through, so that the peers do not take for open what has no place here. The tracker has seen the packet,
	 * and takes it once more when it is sent again. */
	leg = &flow->legs[p->direction == flow->initiator ? DFW_ORIG : DFW_REPLY];
	leg->packets -= p->segments;
	leg->bytes -= p->bytes;
	flow_unlock(entry);
	return r == ERRNO_FULL	 ? TRACK_FULL
	       : r == ERRNO_BUSY ? DFW_REASON_FLOW_BUSY
				 : DFW_REASON_FLOW_MEMORY;
}

/* Puts a new flow into its bucket of the half-open ones, where one gives way if there is no room. */
static __always_inline bool half_open_put(struct packet *p, const struct dfw_flow *flow)
{
	struct bucket bucket = flow_bucket(p->slot, p->hash, true);
	int r;

	if (!bucket.page || !lock_take(&bucket.page->lock))
		return false;
	r = bucket_put(bucket, &p->key, p->hash, flow, PUT_ANY, true);
	lock_free(&bucket.page->lock);
	return r == 0 || r == BUCKET_EXISTS;
}

/* Begins a flow for a packet that its rule allows. PASSED or a reason to drop. */
DFW_STAGE int flow_begin(struct packet *p)
{
	struct dfw_flow_entry *scratch = scratch_entry();
	struct dfw_port_config *config;
	struct tcp_segment segment = {};
	int reason = STAGE_PASS;
	struct dfw_flow *flow;
	bool told;

	if (!p || !scratch)
		return DFW_REASON_INTERNAL;
	config = port_config(p->slot, p->bank);
	if (!config)
		return DFW_REASON_INTERNAL;
	if (p->key.protocol == PROTOCOL_TCP)
		track_segment(p, &segment);

	flow = &scratch->flow;
	__builtin_memset(flow, 0, sizeof(*flow));
	switch (p->key.protocol) {
	case PROTOCOL_TCP:
		reason = tcp_begin(flow, &segment, config->profile.flags & DFW_PROFILE_STRICT_TCP);
		break;
	case PROTOCOL_SCTP:
		reason = sctp_begin(flow, &p->sctp);
		break;
	case PROTOCOL_UDP:
		flow->state = DFW_FLOW_UDP_NEW;
		break;
	case PROTOCOL_ICMP:
	case PROTOCOL_ICMP6:
		flow->state = DFW_FLOW_ICMP_NEW;
		break;
	default:
		flow->state = DFW_FLOW_OTHER_NEW;
	}
	if (reason)
		return reason;

	flow_stamp(p, flow);
	flow->last_seen_ns = p->now_ns;
	flow->created_cs = p->now_ns / DFW_NS_PER_CS;
	flow->rule = p->rule;
	flow->rule_slot = p->rule_slot;
	flow->on_change = p->on_change;
	flow->initiator = p->direction;
	flow->legs[DFW_ORIG].packets = p->segments;
	flow->legs[DFW_ORIG].bytes = p->bytes;
	if (p->flags & PACKET_SHARED)
		flow->life = grave_next_life(config, &p->key);
	/* The answer may come through another member of the share group. */
	told = (p->flags & (PACKET_WATCHED | PACKET_SHARED)) == (PACKET_WATCHED | PACKET_SHARED);
	if (told)
		flow->flags |= DFW_FLOW_TOUCHED | DFW_FLOW_CHANGED;
	if (!half_open_put(p, flow))
		return DFW_REASON_FLOW_BUSY;
	if (told)
		change_tell(&p->key, p->slot, DFW_CHANGE_STATE, 0);
	event_flow(p, DFW_EVENT_FLOW_NEW, DFW_REASON_PASSED, flow);
	return STAGE_PASS;
}

/*
 * Both ends of a connection may lose it: then a SYN is answered by SYN,ACK, or refused by RST,ACK, though the flow is live
 * (RFC 9293 3.5.1). That flow lets the SYN pass but does not believe it, so it begins a half-open one beside. An answer that
 * the live flow has no use for, but acknowledges that SYN, shows that its sender has the connection no more: whoever has it
 * answers with an ACK of the live flow's numbers (RFC 5961 4.2). So the live flow ends when the end that the SYN went to
 * says so, and knows a number that only the SYN has told: nobody who sends SYNs blindly can end one.
 */

/* The live flow of p->key has no use for what may be such an answer. If a half-open one has, it ends. True: look again. */
DFW_STAGE bool flow_give_way(struct packet *p)
{
	struct dfw_port_config *config;
	struct tcp_segment segment = {};
	struct dfw_flow_entry *entry;
	bool gone = false;

	if (!p)
		return false;
	config = port_config(p->slot, p->bank);
	entry = flow_search(p->slot, &p->key, p->hash, true);
	if (!config || !entry || flow_expired(config, &entry->flow, p->now_ns))
		return false;
	track_segment(p, &segment);
	if (flow_hold(entry, &p->key) != STAGE_PASS)
		return false;
	/* While its lock is held it is not confirmed, so what is found among the confirmed is the other. */
	if (tcp_answers_syn(&entry->flow, &segment,
			    p->direction == entry->flow.initiator ? DFW_ORIG : DFW_REPLY))
		gone = flow_remove(p, false, DFW_REASON_PASSED) >= 0;
	flow_unlock(entry);
	return gone;
}

/* Limits on new flows: of the port, of the rule, of the rule and the packet's source. */
DFW_STAGE int flow_limits(struct packet *p, __u32 per_second, __u32 burst, __u32 max_flows,
			  bool per_source)
{
	struct dfw_port_config *config;
	struct dfw_port_state *state;

	if (!p)
		return DFW_REASON_INTERNAL;
	config = port_config(p->slot, p->bank);
	state = port_state(p->slot);
	if (!config || !state)
		return DFW_REASON_INTERNAL;
	if (max_flows) {
		__s64 *number = rule_flows_of(p, p->rule, true);

		if (!number || *number >= (__s64)max_flows)
			return DFW_REASON_RULE_LIMIT;
	}
	if (per_second) {
		struct dfw_limit *limit = rule_limit(p, p->rule, per_source);

		if (!limit || !bucket_take(&limit->bucket_ns, p->now_ns, per_second, burst))
			return per_source ? DFW_REASON_SOURCE_LIMIT : DFW_REASON_RULE_LIMIT;
	}
	if (config->profile.new_per_second &&
	    !bucket_take(&state->bucket_new_ns, p->now_ns, config->profile.new_per_second,
			 config->profile.new_per_second))
		return DFW_REASON_RATE_LIMIT;
	return STAGE_PASS;
}

/* What a packet must be to open a flow, before any rule is asked. STAGE_GO_ON: ask the rules. */
DFW_STAGE int flow_may_begin(context_t *ctx, struct packet *p)
{
	struct dfw_port_config *config;
	int reason;

	if (!p)
		return DFW_REASON_INTERNAL;
	config = port_config(p->slot, p->bank);
	if (!config)
		return DFW_REASON_INTERNAL;
	if (p->key.protocol == PROTOCOL_UDP && dhcp_client_speaks(ctx, p, config))
		return STAGE_PASS;
	reason = guard_addresses(p, config);
	if (reason)
		return reason;
	if (p->key.protocol == PROTOCOL_TCP || p->key.protocol == PROTOCOL_SCTP) {
		const struct dfw_addr *destination = packet_destination(p);

		/* RFC 9293 3.9.2.3, RFC 9260 8.4: no connection, and no association, with a group. */
		if (addr_multicast(destination) || addr_broadcast(destination) ||
		    p->flags & PACKET_LINK_CAST)
			return DFW_REASON_MARTIAN;
	}
	if (p->key.protocol == PROTOCOL_TCP && !packet_is_syn(p) &&
	    config->profile.flags & DFW_PROFILE_STRICT_TCP)
		return DFW_REASON_TCP_NO_FLOW;
	return STAGE_GO_ON;
}

/*
 * A flow of an older generation is decided anew, as its first packet would be now: revalidate_begin, classify,
 * revalidate_end (three steps of the caller, so that their frames do not add up on the stack).
 */

/* Puts the packet's view to what the flow's initiator sent first. STAGE_GO_ON: ask the rules; PASSED: the flow lives on;
 * else it is gone, and this is why. */
DFW_STAGE int revalidate_begin(struct packet *p, struct dfw_flow_entry *entry)
{
	struct dfw_flow *flow;
	struct dfw_port_config *config;
	int reason;

	if (!p || !entry)
		return DFW_REASON_INTERNAL;
	flow = &entry->flow;
	config = port_config(p->slot, p->bank);
	if (!config)
		return DFW_REASON_INTERNAL;
	if (flow->on_change == DFW_ON_CHANGE_KEEP) {
		reason = flow_hold(entry, &p->key);
		if (reason)
			return reason;
		flow->rule_slot = NO_RULE_SLOT;
		flow_stamp(p, flow);
		flow_unlock(entry);
		return STAGE_PASS;
	}
	if (flow->on_change == DFW_ON_CHANGE_KILL) {
		p->rule = flow->rule;
		flow_remove(p, p->flags & PACKET_HALF_OPEN, DFW_REASON_FLOW_KILLED);
		return DFW_REASON_FLOW_KILLED;
	}

	p->view.direction = p->direction;
	p->view.icmp_type = p->icmp_type;
	p->view.source_port = p->source_port;
	p->view.destination_port = p->destination_port;
	p->direction = flow->initiator;
	p->icmp_type = p->key.remote_port & 0xff;
	if (flow->initiator == DFW_OUT) {
		p->source_port = p->key.local_port;
		p->destination_port = p->key.remote_port;
	} else {
		p->source_port = p->key.remote_port;
		p->destination_port = p->key.local_port;
	}
	reason = guard_flow_addresses(p, config);
	if (reason == STAGE_PASS)
		return STAGE_GO_ON;
	packet_restore_view(p);
	flow_remove(p, p->flags & PACKET_HALF_OPEN, reason);
	return reason;
}

/* A confirmed flow keeps living under another rule, or under one that has a limit now. */
static __always_inline void flow_changes_rule(struct packet *p, struct dfw_flow *flow, __u32 rule,
					      __u32 max_flows)
{
	if (flow->flags & DFW_FLOW_COUNTED && flow->rule == rule)
		return;
	uncount_flow(p, flow);
	if (!max_flows || !rule_flows_of(p, rule, true))
		return;
	flow->rule = rule;
	count_flow(p, flow);
}

/* The flow lives on under the rule at `slot`. Both its directions may be here at once: the first to hold the lock decides,
 * or the flow would be counted twice. */
static __always_inline int flow_take_rule(struct packet *p, struct dfw_flow_entry *entry,
					  const struct dfw_rule_info *info, __u32 slot)
{
	struct dfw_flow *flow = &entry->flow;
	int r = flow_hold(entry, &p->key);

	if (r)
		return r;
	if (!flow_stamped(p, flow)) {
		if (!(p->flags & PACKET_HALF_OPEN))
			flow_changes_rule(p, flow, info->id, info->max_flows);
		flow->rule = info->id;
		flow->rule_slot = slot;
		flow->on_change = info->on_change;
		flow_stamp(p, flow);
	}
	flow_unlock(entry);
	return STAGE_PASS;
}

/* Does what the rule at `slot` says. PASSED: the flow lives on, stamped; TRACK_RETRY: it is gone, but packets pass by a
 * stateless rule; else it is gone, and this is why. */
DFW_STAGE int revalidate_end(struct packet *p, struct dfw_flow_entry *entry, int slot)
{
	struct dfw_flow *flow;
	struct dfw_port_config *config;
	struct dfw_rule_info *info;
	int reason;

	if (!p || !entry)
		return DFW_REASON_INTERNAL;
	flow = &entry->flow;
	packet_restore_view(p);
	config = port_config(p->slot, p->bank);
	if (!config || slot < 0)
		return DFW_REASON_INTERNAL;
	info = rule_info(config->ruleset[flow->initiator & 1], slot);
	if (!info)
		return DFW_REASON_INTERNAL;
	p->rule = info->id;
	p->action = info->action;
	p->log = info->flags & DFW_RULE_LOG;
	if (info->action == DFW_ACTION_ALLOW && !(info->flags & DFW_RULE_STATELESS))
		return flow_take_rule(p, entry, info, slot);
	p->rule_slot = slot;
	p->rule_direction = flow->initiator;
	reason = info->action == DFW_ACTION_REJECT  ? DFW_REASON_REJECTED
		 : info->action == DFW_ACTION_ALLOW ? STAGE_PASS
		 : info->flags & DFW_RULE_DEFAULT   ? DFW_REASON_DEFAULT
						    : DFW_REASON_RULE;
	flow_remove(p, p->flags & PACKET_HALF_OPEN, reason);
	return reason == STAGE_PASS ? TRACK_RETRY : reason;
}

#endif
