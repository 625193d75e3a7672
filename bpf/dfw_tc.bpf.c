// SPDX-License-Identifier: GPL-2.0
/*
 * The datapath at a port's device: dfw_out sees what the VM sends (ingress of the device), dfw_in what goes to it
 * (egress). The path of a packet: frame -> parse.h -> (guard.h: ARP, ND) -> flow.h, track.h -> classify.h -> verdict.h.
 * At an uplink, dfw_wire_in and dfw_wire_out decide nothing: they know the fast path (path.h), as the others do.
 */
#include "context.h"
#include "maps.h"

#include "challenge.h"
#include "exchange.h"
#include "fragment.h"
#include "guard.h"
#include "icmp.h"
#include "parse.h"
#include "lane.h"
#include "path.h"
#include "reject.h"
#include "track.h"
#include "verdict.h"

/* Reads the link-layer header: addresses, tag, EtherType. */
static __always_inline int parse_frame(context_t *ctx, struct packet *p,
				       const struct dfw_port_config *config)
{
	struct ethernet ethernet;
	bool tagged;
	__u16 vlan;

	if (!context_load(ctx, 0, &ethernet, sizeof(ethernet)))
		return DFW_REASON_TRUNCATED;
	__builtin_memcpy(p->source_mac, ethernet.source, sizeof(p->source_mac));
	p->l3_offset = ETHERNET_BYTES;
	p->ethertype = bpf_ntohs(ethernet.type);
	p->bytes = context_bytes(ctx) - ETHERNET_BYTES;
	if (ethernet.destination[0] & 1)
		p->flags |= PACKET_LINK_CAST;
	tagged = context_tag(ctx, &vlan);
	if (p->ethertype == ETH_P_8021Q) {
		struct vlan_tag tag;

		if (tagged)
			return DFW_REASON_VLAN; /* QinQ */
		if (!context_load(ctx, ETHERNET_BYTES, &tag, sizeof(tag)))
			return DFW_REASON_TRUNCATED;
		vlan = bpf_ntohs(tag.tci) & VLAN_VID_MASK;
		p->ethertype = bpf_ntohs(tag.type);
		p->l3_offset += VLAN_BYTES;
	}
	if (p->ethertype == ETH_P_8021Q || p->ethertype == ETH_P_8021AD ||
	    p->ethertype == ETH_P_QINQ1)
		return DFW_REASON_VLAN;
	/* VLAN 0 is a priority, not a VLAN: the frame is judged as if untagged. */
	if (vlan && !port_owns_vlan(config, vlan))
		return DFW_REASON_VLAN;
	p->key.vlan = vlan;

	if (p->direction == DFW_OUT) {
		if (ethernet.source[0] & 1 ||
		    (config->nr_macs && config->profile.flags & DFW_PROFILE_GUARD_MAC &&
		     !port_owns_mac(config, ethernet.source)))
			return DFW_REASON_SOURCE_MAC;
	} else if (config->nr_macs && config->profile.flags & DFW_PROFILE_GUARD_MAC) {
		if (port_owns_mac(config, ethernet.source))
			return DFW_REASON_OWN_MAC;
		if (!(ethernet.destination[0] & 1) && !port_owns_mac(config, ethernet.destination))
			return DFW_REASON_DESTINATION_MAC;
	}
	return p->ethertype < ETH_P_802_3_MIN ? DFW_REASON_LLC : STAGE_PASS;
}

/* Puts ports, or what stands for them, into the flow's key. */
static __always_inline void key_ports(struct packet *p)
{
	switch (p->key.protocol) {
	case PROTOCOL_TCP:
	case PROTOCOL_UDP:
	case PROTOCOL_SCTP:
		if (p->direction == DFW_OUT) {
			p->key.local_port = p->source_port;
			p->key.remote_port = p->destination_port;
		} else {
			p->key.local_port = p->destination_port;
			p->key.remote_port = p->source_port;
		}
	}
}

/* ICMP: what is not a flow's is decided here, a query gets its key. STAGE_GO_ON: look for its flow. */
static __always_inline int decide_icmp(context_t *ctx, struct packet *p, bool *opens)
{
	enum icmp_kind kind;
	__u8 request;
	int result;

	if (p->flags & PACKET_V6) {
		p->key.remote_port = p->icmp_type;
		result = guard_nd(ctx, p);
		if (result != STAGE_GO_ON)
			return result;
	}
	kind = icmp_kind(p->flags & PACKET_V6, p->icmp_type, &request);
	switch (kind) {
	case ICMP_KIND_NEVER:
		return DFW_REASON_ICMP_TYPE;
	case ICMP_KIND_ERROR:
		if (p->flags & PACKET_FRAGMENT_FIRST)
			return DFW_REASON_ICMP_ERROR;
		result = icmp_error(ctx, p);
		return result == STAGE_PASS ? STAGE_GO_ON : result;
	default:
		*opens = kind != ICMP_KIND_REPLY;
		icmp_key(&p->key, p->direction, kind, request, p->source_port);
		return STAGE_GO_ON;
	}
}

/* The quota is full: looks for expired flows, at most once in a while. True: look again. */
static __always_inline bool reclaim(struct packet *p)
{
	struct dfw_port_state *state = port_state(p->slot);
	struct dfw_flow_key key = p->key;
	int removed;

	if (!state || p->now_ns - state->reclaimed_ns < NS_PER_SECOND)
		return false;
	state->reclaimed_ns = p->now_ns;
	removed = flow_sweep(p, DFW_SWEEP_EXPIRED);
	p->key = key;
	return removed > 0;
}

/* Asks the rules about a packet that has no flow but may begin one. STAGE_GO_ON: begin it. */
DFW_STAGE int decide_new(struct packet *p)
{
	struct dfw_port_config *config;
	struct dfw_rule_info *info;
	__u32 ruleset, most;
	int slot, reason;

	if (!p)
		return DFW_REASON_INTERNAL;
	config = port_config(p->slot, p->bank);
	if (!config)
		return DFW_REASON_INTERNAL;
	ruleset = config->ruleset[p->direction & 1];
	slot = classify(p, ruleset, local_is_own(p, config));
	info = slot < 0 ? NULL : rule_info(ruleset, slot);
	if (!info)
		return DFW_REASON_INTERNAL;
	p->rule = info->id;
	p->rule_slot = slot;
	p->action = info->action;
	p->log = info->flags & DFW_RULE_LOG;

	switch (info->action) {
	case DFW_ACTION_ALLOW:
		break;
	case DFW_ACTION_REJECT:
		return DFW_REASON_REJECTED;
	default:
		return info->flags & DFW_RULE_DEFAULT ? DFW_REASON_DEFAULT : DFW_REASON_RULE;
	}
	if (info->flags & DFW_RULE_STATELESS) {
		p->stateless = 1;
		return STAGE_PASS;
	}
	if (challenge_due(p, config, false))
		return DFW_REASON_SYN_CHALLENGE;
	most = info->max_flows;
	if (most && p->flags & PACKET_QUIET)
		most++; /* it would take the place of a flow that counts */
	reason = flow_limits(p, info->new_per_second, info->burst, most,
			     info->flags & DFW_RULE_LIMIT_SOURCE);
	if (reason)
		return reason;
	p->on_change = info->on_change;
	if (p->flags & PACKET_STALE)
		flow_remove(p, false, DFW_REASON_PASSED);
	return STAGE_GO_ON;
}

/* Begins a flow for a packet that has none, if the rules allow it. */
static __always_inline int begin_new(context_t *ctx, struct packet *p)
{
	int result = flow_may_begin(ctx, p);

	if (result == STAGE_GO_ON)
		result = decide_new(p);
	if (result != STAGE_GO_ON)
		return result;
	if (p->key.protocol == PROTOCOL_SCTP) {
		result = sctp_parse(ctx, p);
		if (result)
			return result;
	}
	result = flow_begin(p);
	p->new_flows = result == STAGE_PASS;
	return result;
}

/* Begins a half-open flow beside the live one, for a SYN that this has let pass: if the rules still allow it; the same SYN said
 * again has one. The verdict stays that of the live flow. */
static __always_inline void begin_beside(context_t *ctx, struct packet *p,
					 const struct dfw_port_config *config)
{
	struct dfw_flow_entry *entry = flow_search(p->slot, &p->key, p->hash, true);
	__u32 rule = p->rule;
	__u16 rule_slot = p->rule_slot;
	__u8 action = p->action, log = p->log;

	if (entry && flow_stamped(p, &entry->flow) &&
	    !flow_expired(config, &entry->flow, p->now_ns) && track(p, entry) == STAGE_PASS)
		return;
	begin_new(ctx, p);
	if (p->new_flows)
		return;
	p->rule = rule;
	p->rule_slot = rule_slot;
	p->action = action;
	p->log = log;
}

/* Decides an IP packet whose headers are read. */
DFW_STAGE int decide_packet(context_t *ctx, struct packet *p)
{
	struct dfw_port_config *config;
	int result = STAGE_GO_ON;
	bool opens = true, first;

	if (!p)
		return DFW_REASON_INTERNAL;
	config = port_config(p->slot, p->bank);
	if (!config)
		return DFW_REASON_INTERNAL;
	first = p->flags & PACKET_FRAGMENT_FIRST;
	key_ports(p);
	if (first) {
		result = fragment_first_seen(p);
		if (result)
			return result;
	}
	if (p->key.protocol == PROTOCOL_ICMP || p->key.protocol == PROTOCOL_ICMP6) {
		result = decide_icmp(ctx, p, &opens);
		if (result != STAGE_GO_ON)
			return result;
	} else if (p->key.protocol == PROTOCOL_UDP && dhcp_server_speaks(p) &&
		   config->profile.flags & DFW_PROFILE_GUARD_DHCP) {
		return DFW_REASON_DHCP_SERVER;
	}

	for (int tries = 0; tries < 3; tries++) {
		struct dfw_flow_entry *entry = flow_find(p, config);

		result = TRACK_RESTART;
		if (!entry)
			break;
		if (!(p->flags & PACKET_ERROR)) {
			result = guard_groups(p, config);
			if (result)
				return result;
		}
		if (!flow_stamped(p, &entry->flow)) {
			result = revalidate_begin(p, entry);
			if (result == STAGE_GO_ON) {
				int slot = classify(p, config->ruleset[p->direction & 1],
						    local_is_own(p, config));

				result = revalidate_end(p, entry, slot);
			}
			if (result == TRACK_RETRY)
				continue;
			if (result)
				return result;
		}
		if (p->flags & PACKET_ERROR)
			return icmp_error_fits(p, &entry->flow);
		if (p->key.protocol == PROTOCOL_SCTP) {
			result = sctp_parse(ctx, p);
			if (result)
				return result;
		}
		result = track(p, entry);
		if (result == TRACK_CONFIRM)
			result = flow_confirm(p, entry);
		if ((result > STAGE_PASS || p->flags & PACKET_QUIET) && packet_answers_syn(p) &&
		    !(p->flags & PACKET_HALF_OPEN) && flow_give_way(p))
			continue;
		if (result == TRACK_FULL) {
			result = DFW_REASON_FLOW_LIMIT;
			if (!reclaim(p))
				return result;
			continue;
		}
		if (result == TRACK_RESTART && !(p->flags & PACKET_HALF_OPEN))
			p->flags |= PACKET_STALE;
		if (result != TRACK_RETRY)
			break;
	}
	if (result == TRACK_RESTART) {
		if (p->flags & PACKET_ERROR)
			return DFW_REASON_ICMP_ERROR;
		if (!opens)
			return DFW_REASON_ICMP_NO_FLOW;
		if (p->tcp_flags & TCP_RST && challenge_answered(p, config))
			return DFW_REASON_SYN_PROVEN;
		result = begin_new(ctx, p);
	} else if (p->flags & PACKET_QUIET && packet_is_syn(p) && !(p->flags & PACKET_HALF_OPEN)) {
		begin_beside(ctx, p, config);
	}
	if (result < 0)
		return DFW_REASON_FLOW_BUSY;
	if (result == STAGE_PASS && first)
		result = fragment_begin(p);
	return result;
}

/* A port without a policy denies, but for what configures its own addresses, if its profile says so. */
static __always_inline int decide_unready(context_t *ctx, struct packet *p)
{
	int result = STAGE_GO_ON;

	if (p->key.protocol == PROTOCOL_ICMP6)
		result = guard_nd(ctx, p);
	else if (p->key.protocol == PROTOCOL_UDP && !dhcp_server_speaks(p))
		result = flow_may_begin(ctx, p);
	return result == STAGE_GO_ON ? DFW_REASON_NOT_READY : result;
}

/* Reads the packet's headers. STAGE_GO_ON: it is to be decided; else it has been. */
DFW_STAGE int parse_packet(context_t *ctx, struct packet *p)
{
	struct dfw_port_config *config;
	int result;

	if (!p)
		return DFW_REASON_INTERNAL;
	config = port_config(p->slot, p->bank);
	if (!config)
		return DFW_REASON_INTERNAL;
	result = parse_frame(ctx, p, config);
	if (result)
		return result;
	if (config->flags & DFW_PORT_HELD)
		return DFW_REASON_MOVING;
	switch (p->ethertype) {
	case ETH_P_IP:
		result = parse_ip4(ctx, p, config->profile.flags);
		break;
	case ETH_P_IPV6:
		result = parse_ip6(ctx, p);
		break;
	case ETH_P_ARP:
	case ETH_P_RARP:
		return guard_arp(ctx, p);
	default:
		return DFW_REASON_ETHERTYPE;
	}
	if (result)
		return result;
	if (p->flags & PACKET_FRAGMENT_HEADER) {
		result = fragment_sane(p);
		if (result)
			return result;
		if (p->flags & PACKET_FRAGMENT_LATER)
			return config->flags & DFW_PORT_READY ? fragment_follow(p)
							      : DFW_REASON_NOT_READY;
	}
	result = parse_transport(ctx, p, config->profile.flags);
	return result ? result : STAGE_GO_ON;
}

/* The slot of the device's port, or DFW_MAX_PORTS. */
static __always_inline __u32 port_slot(__u32 ifindex)
{
	__u32 *slot = bpf_map_lookup_elem(&near_slots, &ifindex);

	if (likely(slot && *slot))
		return *slot - 1;
	slot = bpf_map_lookup_elem(&port_slots, &ifindex);
	return slot ? *slot : DFW_MAX_PORTS;
}

static __always_inline void packet_take_switches(struct packet *p,
						 const struct dfw_port_config *config)
{
	if (config->flags & DFW_PORT_WATCHED)
		p->flags |= PACKET_WATCHED;
	if (config->flags & DFW_PORT_SHARED)
		p->flags |= PACKET_SHARED;
}

/* What the full path says of the packet. `read`: lane_parse has read its headers. */
static __always_inline int decide(context_t *ctx, struct packet *p,
				  const struct dfw_port_config *config, bool read)
{
	int result = STAGE_GO_ON;

	if (read) {
		lane_leave(ctx, p);
	} else {
		packet_clear(p);
		p->segments = context_segments(ctx, context_gso_size(ctx), 0);
	}
	packet_take_switches(p, config);
	if (!read)
		result = parse_packet(ctx, p);
	if (result != STAGE_GO_ON)
		return result;
	return config->flags & DFW_PORT_READY ? decide_packet(ctx, p) : decide_unready(ctx, p);
}

/* The full path: decides the packet, counts it, tells of it. */
static __always_inline int handle_fully(context_t *ctx, struct packet *p,
					const struct dfw_port_config *config, bool read)
{
	int result = decide(ctx, p, config, read), action;
	__u32 reason = result < 0 ? DFW_REASON_INTERNAL : result;

	action = reason == DFW_REASON_PASSED ? TC_ACT_UNSPEC : TC_ACT_SHOT;
	count_rule(p, config);
	if (p->log)
		event_packet(p, DFW_EVENT_VERDICT, reason, NULL);
	else if (reason > DFW_REASON_DEFAULT)
		event_packet(p, DFW_EVENT_DROP, reason, NULL);
	if (reason == DFW_REASON_MOVING && p->direction == DFW_OUT)
		event_seen(p);
	if (reason == DFW_REASON_REJECTED)
		action = reject(ctx, p, config, &reason);
	else if (reason == DFW_REASON_SYN_CHALLENGE)
		action = challenge(ctx, p);
	count_reason(p, reason);
	return action;
}

/* What the VM sends and may send goes on by the fast path, if there is one. */
static __always_inline int go_on(context_t *ctx, const struct packet *p, int action)
{
	return p->direction == DFW_OUT && action == TC_ACT_UNSPEC ? path_take(ctx, p->now_ns)
								  : action;
}

static __always_inline int handle(context_t *ctx, const __u32 direction)
{
	const struct dfw_port_config *config;
	struct packet *p;
	struct lane lane;
	bool read = false;
	__u32 slot;

	if (unlikely(ctx->mark == REJECT_MARK)) {
		ctx->mark = 0;
		return TC_ACT_UNSPEC;
	}
	slot = port_slot(ctx->ifindex);
	if (unlikely(slot >= DFW_MAX_PORTS))
		return TC_ACT_SHOT;
	if (direction == DFW_IN && unlikely(path_marked(ctx)))
		path_learn(ctx, slot);
	p = packet_enter(PACKET_PLACE_TRAFFIC, direction, slot);
	if (!p)
		return TC_ACT_SHOT;
	config = port_config(slot, p->bank);
	if (unlikely(!config)) {
		packet_clear(p);
		p->segments = context_segments(ctx, context_gso_size(ctx), 0);
		count_reason(p, DFW_REASON_NOT_READY);
		return TC_ACT_SHOT;
	}
	if ((config->flags & (DFW_PORT_READY | DFW_PORT_HELD)) == DFW_PORT_READY &&
	    lane_parse(ctx, &lane, p, config, direction) && lane_sum_ok(ctx, &lane, p, config)) {
		struct dfw_flow_entry *entry = lane_find(&lane, p);

		if (likely(entry && lane_pass(&lane, p, entry, config, direction)))
			return go_on(ctx, p, TC_ACT_UNSPEC);
		read = true;
	}
	return go_on(ctx, p, handle_fully(ctx, p, config, read));
}

SEC("tc")
int dfw_out(struct __sk_buff *skb)
{
	return handle(skb, DFW_OUT);
}

SEC("tc")
int dfw_in(struct __sk_buff *skb)
{
	return handle(skb, DFW_IN);
}

SEC("tc")
int dfw_wire_in(struct __sk_buff *skb)
{
	return path_take(skb, context_now_ns());
}

SEC("tc")
int dfw_wire_out(struct __sk_buff *skb)
{
	if (path_marked(skb))
		path_learn(skb, DFW_MAX_PORTS);
	return TC_ACT_UNSPEC;
}

/* Run by dfwd through BPF_PROG_RUN; the packet's bytes are a struct dfw_sweep_request. Returns the flows removed, or
 * ERRNO_BUSY: what was to be killed could not be. */
SEC("tc")
int dfw_sweep(struct __sk_buff *skb)
{
	struct dfw_sweep_request request;
	struct dfw_port_config *config;
	struct packet *p;

	if (!context_load(skb, 0, &request, sizeof(request)))
		return 0;
	p = packet_enter(PACKET_PLACE_SWEEP, DFW_IN, request.slot);
	if (!p)
		return 0;
	packet_clear(p);
	config = port_config(p->slot, p->bank);
	if (config)
		packet_take_switches(p, config);
	if (request.op == DFW_SWEEP_KILL) {
		int ended;

		p->key = request.key;
		/* In this order, or one that is being confirmed is seen nowhere. */
		ended = flow_remove(p, true, DFW_REASON_FLOW_KILLED);
		if (ended < 0)
			return ended;
		return ended | flow_remove(p, false, DFW_REASON_FLOW_KILLED);
	}
	return flow_sweep(p, request.op);
}

/* Run by dfwsyncd through BPF_PROG_RUN; the packet's bytes are a struct dfw_exchange_request. */
SEC("tc")
int dfw_exchange(struct __sk_buff *skb)
{
	struct dfw_exchange_request request;
	struct dfw_revision in_force;

	if (!read_in_force(&in_force) || !context_load(skb, 0, &request, sizeof(request)))
		return 0;
	return exchange_all(&request, in_force.bank);
}

/* Run by dfwd through BPF_PROG_RUN; the packet's bytes are a struct dfw_reclass_request. Returns how many addresses have
 * their new class. */
SEC("tc")
int dfw_reclass(struct __sk_buff *skb)
{
	struct dfw_reclass_entry entry;
	__u32 head[2], done = 0;

	if (!context_load(skb, 0, head, sizeof(head)))
		return 0;
	for (__u32 i = 0; i < DFW_RECLASS_MOST; i++) {
		if (i >= head[1] ||
		    !context_load(skb, sizeof(head) + i * sizeof(entry), &entry, sizeof(entry)) ||
		    !reclass(head[0], &entry))
			break;
		done++;
	}
	return done;
}

char LICENSE[] SEC("license") = "GPL";
