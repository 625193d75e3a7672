/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_LANE_H
#define DFW_BPF_LANE_H

#include "classify.h"
#include "track.h"

/*
 * The lane of the packet that is nothing special: whole and in one piece, at most one tag, IPv4 without options or IPv6
 * without extension headers, TCP or UDP, of a flow that is established, decided by what is in force, and alive. Nearly all
 * packets are such. No function is called on this way but array lookups, and the stage that sums what nobody vouches for; nothing
 * is cleared or copied that is not needed.
 *
 * There is no second truth. What the lane does not know it leaves, with nothing changed, to the full path; what it passes
 * the full path would pass, with the same words of the flow and the same counters. selftests/unit/datapath_lane.c holds the two
 * against each other.
 *
 *	lane_parse	are link, network and transport header of that kind?
 *	lane_sum_ok	is the transport checksum right?
 *	lane_find	has it a flow? Reads only.
 *	lane_pass	does the flow let it pass? Then it is tracked and counted; else nothing has changed.
 *	lane_leave	hands on what lane_parse has read, so that the full path need not read it again
 *
 * A flow lies farther away than anything else that is read here. So its place is asked for as soon as the key is known, and
 * what the headers are worth is looked at while it comes.
 *
 * Of use where the full path is not at hand (XDP), of a packet that has no flow:
 *
 *	lane_judge	do the rules say drop without any more ado, or that its sender may be asked, in a flood, whether it exists?
 *	lane_refuse	does so, and counts it; or nothing has changed
 *
 * `p` is of packet_enter.
 */

/* What the lane finds on its way. */
struct lane {
	/* Of the port: where its flows lie, and its packets are counted. */
	void *flows;
	void *hits;
	struct dfw_direction_counters *of_direction;

	/* Of the frame. */
	const void *ip;
	const void *transport;
	const void *end;
	__u16 vlan;
	__u8 protocol;
	bool v6;

	struct bucket bucket; /* of the flow's key */
};

/* Before the frame is looked at, whose bytes may be far away, too. False: a map is missing. */
static __always_inline bool lane_enter(struct lane *lane, const struct packet *p,
				       const __u32 direction)
{
	lane->flows = port_map(&flows, p);
	lane->hits = port_hits(p);
	lane->of_direction = port_counters(p->slot, direction);
	return lane->flows && lane->hits && lane->of_direction;
}

/* The MAC at this place of the frame, see mac_number. */
static __always_inline __u64 lane_mac(const __u8 *mac)
{
	__u64 number = 0;

	context_copy(&number, mac, 6);
	return number;
}

/* May the frame come from and go to these MACs? As parse_frame, but for groups, which have no connections. */
static __always_inline bool lane_macs(const struct ethernet *ethernet,
				      const struct dfw_port_config *config, const __u32 direction)
{
	if (unlikely(ethernet->destination[0] & 1 || ethernet->source[0] & 1))
		return false;
	if (!config->nr_macs || !(config->profile.flags & DFW_PROFILE_GUARD_MAC))
		return true;
	if (direction == DFW_OUT)
		return port_owns_number(config, lane_mac(ethernet->source));
	return port_owns_number(config, lane_mac(ethernet->destination)) &&
	       !port_owns_number(config, lane_mac(ethernet->source));
}

/* The link header. False here and below: not of the kind that the lane knows. */
static __always_inline bool lane_read_link(context_t *ctx, struct lane *lane, struct packet *p,
					   const struct dfw_port_config *config,
					   const __u32 direction)
{
	const void *at = context_data(ctx);
	const struct ethernet *ethernet = at;
	bool tagged = context_tag(ctx, &lane->vlan);
	__be16 type;

	lane->end = context_data_end(ctx);
	if (unlikely(at + sizeof(*ethernet) + sizeof(struct ip4) > lane->end))
		return false;
	lane->ip = at + sizeof(*ethernet);
	p->l3_offset = sizeof(*ethernet);
	type = ethernet->type;
	if (unlikely(type == bpf_htons(ETH_P_8021Q))) {
		const struct vlan_tag *tag = lane->ip;

		if (tagged)
			return false;
		lane->ip += sizeof(*tag);
		p->l3_offset += sizeof(*tag);
		lane->vlan = bpf_ntohs(tag->tci) & VLAN_VID_MASK;
		type = tag->type;
	}
	if (unlikely((lane->vlan && !port_owns_vlan(config, lane->vlan)) ||
		     !lane_macs(ethernet, config, direction)))
		return false;
	lane->v6 = type == bpf_htons(ETH_P_IPV6);
	return likely(type == bpf_htons(ETH_P_IP)) || lane->v6;
}

/* What of the headers makes the flow's key. */
static __always_inline bool lane_read_ip4(struct lane *lane, struct packet *p,
					  const __u32 direction)
{
	const struct ip4 *ip = lane->ip;

	lane->transport = lane->ip + sizeof(*ip);
	if (unlikely(lane->transport + sizeof(struct udp) > lane->end))
		return false;
	p->l4_offset = p->l3_offset + sizeof(*ip);
	p->flags = 0;
	lane->protocol = ip->protocol;
	addr_from_v4(&p->key.local, direction == DFW_OUT ? ip->source : ip->destination);
	addr_from_v4(&p->key.remote, direction == DFW_OUT ? ip->destination : ip->source);
	return true;
}

static __always_inline bool lane_read_ip6(struct lane *lane, struct packet *p,
					  const __u32 direction)
{
	const struct ip6_words *ip = lane->ip;

	lane->transport = lane->ip + sizeof(*ip);
	if (lane->transport + sizeof(struct udp) > lane->end)
		return false;
	p->l4_offset = p->l3_offset + sizeof(*ip);
	p->flags = PACKET_V6;
	lane->protocol = ip->next_header;
	context_copy(&p->key.local, direction == DFW_OUT ? ip->source : ip->destination,
		     sizeof(ip->source));
	context_copy(&p->key.remote, direction == DFW_OUT ? ip->destination : ip->source,
		     sizeof(ip->source));
	return true;
}

/* Reads the key, and asks for the place of its flow. */
static __always_inline bool lane_read(context_t *ctx, struct lane *lane, struct packet *p,
				      const struct dfw_port_config *config, const __u32 direction)
{
	const struct udp *ports; /* TCP has them in the same place */

	if (!lane_read_link(ctx, lane, p, config, direction) ||
	    !(lane->v6 ? lane_read_ip6(lane, p, direction) : lane_read_ip4(lane, p, direction)) ||
	    (lane->protocol != PROTOCOL_UDP && lane->protocol != PROTOCOL_TCP))
		return false;
	ports = lane->transport;
	p->source_port = bpf_ntohs(ports->source);
	p->destination_port = bpf_ntohs(ports->destination);
	key_end(&p->key, direction == DFW_OUT ? p->source_port : p->destination_port,
		direction == DFW_OUT ? p->destination_port : p->source_port, lane->vlan,
		lane->protocol);
	p->hash = flow_hash(&p->key);
	lane->bucket = table_bucket(lane->flows, p->hash);
	if (!lane->bucket.page)
		return false;
	bucket_approach(lane->bucket, p->hash);
	return true;
}

/* An IPv4 header without options, of a whole packet. */
static __always_inline bool lane_check_ip4(const struct ip4 *ip, struct packet *p)
{
	if (unlikely(ip->version_ihl != 0x45 || ip->fragment & bpf_htons(IP4_MORE | IP4_OFFSET) ||
		     !checksum_right(checksum_words((const __u32 *)ip, sizeof(*ip) / 4))))
		return false;
	p->bytes = bpf_ntohs(ip->total_bytes);
	return p->bytes >= sizeof(*ip);
}

/* An IPv6 header with the transport header behind it. */
static __always_inline bool lane_check_ip6(const struct ip6_words *ip, struct packet *p)
{
	const __be32 version = bpf_htonl(6U << 28), version_mask = bpf_htonl(15U << 28);

	p->bytes = bpf_ntohs(ip->payload_bytes) + sizeof(*ip);
	return (ip->version_class_flow & version_mask) == version && ip->payload_bytes &&
	       !addr_v4(&p->key.local) && !addr_v4(&p->key.remote);
}

static __always_inline bool lane_check_tcp(context_t *ctx, const struct lane *lane,
					   struct packet *p)
{
	const struct tcp *tcp = lane->transport;
	__u32 header_bytes;

	if (unlikely(lane->transport + sizeof(*tcp) > lane->end))
		return false;
	header_bytes = (tcp->offset >> 4) * 4;
	if (header_bytes < sizeof(*tcp) || header_bytes > p->l4_bytes || !tcp->source ||
	    !tcp->destination || !tcp_flags_possible(tcp->flags))
		return false;
	p->tcp_seq = bpf_ntohl(tcp->seq);
	p->tcp_ack = bpf_ntohl(tcp->ack);
	p->tcp_window = bpf_ntohs(tcp->window);
	p->tcp_flags = tcp->flags & 0x3f;
	p->tcp_header_bytes = header_bytes;
	p->segments = context_segments(ctx, context_gso_size(ctx), p->l4_bytes - header_bytes);
	return true;
}

static __always_inline bool lane_check_udp(context_t *ctx, const struct lane *lane,
					   struct packet *p)
{
	const struct udp *udp = lane->transport;
	__u32 bytes = bpf_ntohs(udp->bytes), gso_size = context_gso_size(ctx);

	if (unlikely(!udp->destination || bytes < sizeof(*udp) || p->l4_bytes < sizeof(*udp) ||
		     (!udp->checksum && lane->v6)))
		return false;
	if (likely(!gso_size)) {
		if (unlikely(bytes > p->l4_bytes))
			return false;
		p->l4_bytes = bytes;
	}
	p->segments = context_segments(ctx, gso_size, p->l4_bytes - sizeof(*udp));
	return true;
}

/* What lane_read has not looked at. */
static __always_inline bool lane_check(context_t *ctx, const struct lane *lane, struct packet *p)
{
	if (unlikely(!(lane->v6 ? lane_check_ip6(lane->ip, p) : lane_check_ip4(lane->ip, p)) ||
		     p->l3_offset + p->bytes > context_bytes(ctx)))
		return false;
	p->l4_bytes = p->l3_offset + p->bytes - p->l4_offset;
	return lane->protocol == PROTOCOL_TCP ? lane_check_tcp(ctx, lane, p)
					      : lane_check_udp(ctx, lane, p);
}

/* Reads the frame's headers. False: then what stands in `p` means nothing. */
static __always_inline bool lane_parse(context_t *ctx, struct lane *lane, struct packet *p,
				       const struct dfw_port_config *config, const __u32 direction)
{
	return lane_enter(lane, p, direction) && lane_read(ctx, lane, p, config, direction) &&
	       lane_check(ctx, lane, p);
}

/* Is the transport checksum right, or is that of no interest? The skb is asked first, but where a short packet is summed faster
 * than that. */
static __always_inline bool lane_sum_ok(context_t *ctx, const struct lane *lane,
					const struct packet *p,
					const struct dfw_port_config *config)
{
	const struct udp *udp = lane->transport;

	if (!(config->profile.flags & DFW_PROFILE_CHECKSUM))
		return true;
	/* RFC 768: none was wanted. Where there must be one, lane_check_udp has seen it. */
	if (lane->protocol == PROTOCOL_UDP && !udp->checksum)
		return true;
	if ((context_shows() || p->l4_bytes > CHECKSUM_DIRECT_BYTES) && context_vouched(ctx))
		return true;
	return checksum_linear_ok(ctx, p->l4_offset, p->l4_bytes, checksum_pseudo(p, p->l4_bytes));
}

/* The packet's confirmed flow, or what may be it, if the packet could belong to one as a matter of course. Changes nothing. */
static __always_inline struct dfw_flow_entry *lane_find(const struct lane *lane, struct packet *p)
{
	if (p->key.protocol == PROTOCOL_TCP ? p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)
					    : dhcp_server_speaks(p))
		return NULL;
	return flow_guess(lane->bucket, p->slot, &p->key, p->hash);
}

/* The flow's lock is held: does it let the packet pass? Then it has been tracked. */
static __always_inline bool lane_track(const struct packet *p, struct dfw_flow *flow,
				       const struct dfw_port_config *config, const __u32 from)
{
	bool watched = config->flags & DFW_PORT_WATCHED;

	if (unlikely(!flow_stamped(p, flow) || flow_expired(config, flow, p->now_ns)))
		return false;
	/* That something happens to the flow would be news. */
	if (watched && !(flow->flags & DFW_FLOW_TOUCHED))
		return false;
	if (p->key.protocol == PROTOCOL_TCP) {
		struct tcp_segment segment;

		packet_segment(p, &segment);
		return tcp_track_plain(flow, &segment, from);
	}
	if (flow->state != DFW_FLOW_UDP_STREAM && (watched || flow->state != DFW_FLOW_UDP_REPLIED))
		return false;
	udp_track(flow, from, p->now_ns);
	return true;
}

/* Lets the packet pass, if its flow does. False: nothing has changed. */
static __always_inline bool lane_pass(const struct lane *lane, struct packet *p,
				      struct dfw_flow_entry *entry,
				      const struct dfw_port_config *config, const __u32 direction)
{
	struct dfw_flow *flow = &entry->flow;
	__u32 from, initiator, rule_slot;
	struct dfw_leg *leg;

	flow_expect(entry);
	if (unlikely(flow_hold(entry, &p->key) != STAGE_PASS))
		return false;
	initiator = flow->initiator;
	from = direction == initiator ? DFW_ORIG : DFW_REPLY;
	if (unlikely(!(from == DFW_ORIG ? lane_track(p, flow, config, DFW_ORIG)
					: lane_track(p, flow, config, DFW_REPLY)))) {
		flow_unlock(entry);
		return false;
	}
	flow->last_seen_ns = p->now_ns;
	leg = &flow->legs[from & 1];
	leg->packets += p->segments;
	leg->bytes += p->bytes;
	rule_slot = flow->rule_slot;
	flow_unlock(entry);
	count_hit(lane->hits, p, config, initiator, rule_slot, 0);
	count_packets(lane->of_direction, DFW_REASON_PASSED, p->segments, p->bytes);
	return true;
}

/* Makes `p`, of which lane_parse has said true, what the stages of the full path want. */
static __always_inline void lane_leave(context_t *ctx, struct packet *p)
{
	packet_clear_decision(p);
	p->ethertype = p->flags & PACKET_V6 ? ETH_P_IPV6 : ETH_P_IP;
	context_load(ctx, sizeof(p->source_mac), p->source_mac, sizeof(p->source_mac));
	if (p->key.protocol == PROTOCOL_TCP)
		p->tcp_scale = p->tcp_flags & TCP_SYN ? tcp_syn_scale(ctx, p) : TCP_NO_SCALE;
}

/* What the rules say of a packet that has no flow, as far as the rule alone decides it. */
struct lane_ruling {
	const struct dfw_rule_info *info;
	__u16 slot;
	/* Why to drop it; SYN_CHALLENGE: ask its sender, if that is due; PASSED: that takes more than the rule. */
	__u16 reason;
};

static __always_inline __u16 lane_reason(const struct packet *p, const struct dfw_rule_info *info)
{
	if (info->flags & DFW_RULE_LOG)
		return DFW_REASON_PASSED;
	if (info->action == DFW_ACTION_DROP)
		return info->flags & DFW_RULE_DEFAULT ? DFW_REASON_DEFAULT : DFW_REASON_RULE;
	if (info->action == DFW_ACTION_ALLOW && !(info->flags & DFW_RULE_STATELESS) &&
	    p->key.protocol == PROTOCOL_TCP)
		return DFW_REASON_SYN_CHALLENGE;
	return DFW_REASON_PASSED;
}

/* Asks the rules. Changes nothing. */
static __always_inline struct lane_ruling lane_judge(struct packet *p,
						     const struct dfw_port_config *config)
{
	struct lane_ruling ruling = {.reason = DFW_REASON_PASSED};
	__u32 ruleset = config->ruleset[p->direction & 1];
	int slot;

	/* What configures addresses may teach one; what is no SYN may be told otherwise. */
	if (p->key.protocol == PROTOCOL_UDP
		    ? dhcp_ports(p)
		    : (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
		return ruling;
	/* In a flood each packet has another bucket, far away: it shall come while the rules are looked at. */
	flow_approach(p->slot, p->hash);
	slot = classify(p, ruleset, local_is_own(p, config));
	ruling.info = slot < 0 ? NULL : rule_info(ruleset, slot);
	if (!ruling.info)
		return ruling;
	ruling.slot = slot;
	ruling.reason = lane_reason(p, ruling.info);
	return ruling;
}

/* Refuses the packet for the ruling's reason, which is not PASSED, if the full path would do so and leave no trace but in
 * counters and rationed events; SYN_CHALLENGE: the question is in p->challenge. False: nothing has changed. */
static __always_inline bool lane_refuse(context_t *ctx, struct packet *p,
					const struct dfw_port_config *config,
					const struct lane_ruling *ruling)
{
	/* In this order: a flow that is being confirmed is seen there or here. */
	if (flow_search(p->slot, &p->key, p->hash, true) ||
	    flow_search(p->slot, &p->key, p->hash, false) ||
	    flow_may_begin(ctx, p) != STAGE_GO_ON ||
	    (ruling->reason == DFW_REASON_SYN_CHALLENGE && !challenge_due(p, config, true)))
		return false;
	p->rule_slot = ruling->slot;
	p->rule_direction = p->direction;
	p->new_flows = 0;
	count_rule(p, config);
	if (ruling->reason == DFW_REASON_SYN_CHALLENGE) {
		__u32 challenge = p->challenge;

		lane_leave(ctx, p);
		p->challenge = challenge;
		p->rule = ruling->info->id;
		p->action = ruling->info->action;
		event_packet(p, DFW_EVENT_DROP, DFW_REASON_SYN_CHALLENGE, NULL);
	}
	count_reason(p, ruling->reason);
	return true;
}

#endif
