// SPDX-License-Identifier: GPL-2.0
/*
 * The datapath at an uplink's driver: for frames from the wire, what their port would decide, where that is simple.
 *
 *	established, and nothing special	tracked and counted as the port would; straight to its device
 *	no flow, and a rule says drop		counted as the port would; dropped
 *	no flow, a SYN of a flood		counted as the port would; its sender is asked whether it exists
 *	all else				as if this program were not there: the port's own hook decides
 *
 * Which port it is, a path says (path.h), so one packet a second shows that the bridge still sends such frames there.
 */
#define DFW_XDP
#include "context.h"
#include "maps.h"

#include "answer.h"
#include "lane.h"
#include "path.h"

/* Each uplink has a program of its own. The device is not always that of the frame: below a bond it is one of its slaves. */
const volatile __u32 uplink_ifindex;
const volatile __u32 uplink_place;

/* A leg whose packets are this large on average is a stream, whose segments GRO merges: one large packet through tc costs
 * less than the many it is made of would here, and those would overtake it. */
#define BULK_BYTES   512
#define BULK_PACKETS 16

static __always_inline bool is_bulk(const struct packet *p, const struct dfw_flow *flow)
{
	const struct dfw_leg *leg = &flow->legs[flow->initiator == DFW_IN ? DFW_ORIG : DFW_REPLY];

	return p->key.protocol == PROTOCOL_TCP && leg->packets > BULK_PACKETS &&
	       leg->bytes > leg->packets * BULK_BYTES;
}

/* Does the device take frames from XDP? A veth device does while its other end wants them. */
static __always_inline bool may_answer(const struct packet *p)
{
	__u32 ifindex = uplink_ifindex;
	const struct dfw_device *device = bpf_map_lookup_elem(&devices, &ifindex);

	return device && device->xmit_until_ns > p->now_ns;
}

/* Makes the SYN the question to its sender. False: nothing has changed. */
static __always_inline bool ask(struct xdp_md *ctx, struct packet *p)
{
	__u32 bytes = ETHERNET_BYTES + answer_ip_bytes(p) + sizeof(struct tcp);
	struct answer_frame frame = {};

	if (!context_load(ctx, 0, &frame.ethernet, sizeof(frame.ethernet)))
		return false;
	answer_turn(&frame);
	answer_fill_ip(p, &frame, true, sizeof(struct tcp));
	answer_place_tcp(p, &frame, false);
	if (bpf_xdp_store_bytes(ctx, 0, &frame, bytes))
		return false;
	/* Should that fail, options of the SYN pad the frame. */
	bpf_xdp_adjust_tail(ctx, (int)bytes - (int)context_bytes(ctx));
	return true;
}

/* What has no flow. `whole`: the frame lies here as the wire knows it. */
static __always_inline enum dfw_way decide_new(struct xdp_md *ctx, struct packet *p,
					       const struct dfw_port_config *config, bool whole)
{
	const struct lane_ruling ruling = lane_judge(p, config);
	bool asks = ruling.reason == DFW_REASON_SYN_CHALLENGE;

	if (ruling.reason == DFW_REASON_PASSED || (asks && !(whole && may_answer(p))) ||
	    !lane_refuse(ctx, p, config, &ruling))
		return DFW_WAY_UNDECIDED;
	return asks && answerable(p) && ask(ctx, p) ? DFW_WAY_ASKED : DFW_WAY_DROPPED;
}

/* Decides a frame for the path's port. DIRECT, DROPPED and ASKED are verdicts; else nothing has changed. */
static __always_inline enum dfw_way decide(struct xdp_md *ctx, struct packet *p,
					   const struct dfw_path *path, bool whole)
{
	const struct dfw_port_config *config = port_config(p->slot, p->bank);
	struct dfw_flow_entry *entry;
	struct lane lane;

	if (!config || (config->flags & (DFW_PORT_READY | DFW_PORT_HELD)) != DFW_PORT_READY)
		return DFW_WAY_NOT_READY;
	if (!lane_parse(ctx, &lane, p, config, DFW_IN))
		return DFW_WAY_NOT_PLAIN;
	entry = lane_find(&lane, p);
	if (!entry) {
		if (!lane_sum_ok(ctx, &lane, p, config))
			return DFW_WAY_NOT_PLAIN;
		return decide_new(ctx, p, config, whole);
	}
	if (!(path->flags & DFW_PATH_FAST))
		return DFW_WAY_OFF;
	if (!(path->flags & DFW_PATH_XMIT))
		return DFW_WAY_NO_XMIT;
	if (is_bulk(p, &entry->flow))
		return DFW_WAY_BULK;
	if (!lane_sum_ok(ctx, &lane, p, config))
		return DFW_WAY_NOT_PLAIN;
	return lane_pass(&lane, p, entry, config, DFW_IN) ? DFW_WAY_DIRECT : DFW_WAY_UNDECIDED;
}

/* The same for a tagged frame that the bridge takes the tag from: it is judged, and sent on, without. */
static __always_inline enum dfw_way decide_untagged(struct xdp_md *ctx, struct packet *p,
						    const struct ethernet *ethernet,
						    struct vlan_tag tag,
						    const struct dfw_path *path)
{
	struct ethernet plain = *ethernet;
	void *data, *end;
	enum dfw_way way;

	plain.type = tag.type;
	if (bpf_xdp_adjust_head(ctx, VLAN_BYTES))
		return DFW_WAY_TAGS;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + sizeof(plain) <= end)
		__builtin_memcpy(data, &plain, sizeof(plain));
	way = decide(ctx, p, path, false);
	if (way == DFW_WAY_DIRECT || way == DFW_WAY_DROPPED)
		return way;
	/* As it was. There is room: it lay there. */
	bpf_xdp_adjust_head(ctx, -VLAN_BYTES);
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + sizeof(plain) + sizeof(tag) <= end) {
		__builtin_memcpy(data, ethernet, sizeof(*ethernet));
		__builtin_memcpy(data + sizeof(*ethernet), &tag, sizeof(tag));
	}
	return way;
}

/* The way of a frame; DIRECT, DROPPED and ASKED are verdicts. */
static __always_inline enum dfw_way choose_way(struct xdp_md *ctx,
					       const struct dfw_path_state *state,
					       struct dfw_path *path)
{
	const void *data = context_data(ctx), *end = context_data_end(ctx);
	__u32 bytes = context_bytes(ctx);
	struct vlan_tag tag = {};
	struct ethernet ethernet;
	struct dfw_path_key key;
	struct packet *p;
	enum dfw_way way;
	__u16 vlan = 0;

	if (data + sizeof(ethernet) + sizeof(tag) > end || data + bytes != end)
		return DFW_WAY_PIECES;
	context_copy(&ethernet, data, sizeof(ethernet));
	if (ethernet.destination[0] & 1)
		return DFW_WAY_GROUP;
	if (ethernet.type == bpf_htons(ETH_P_8021Q)) {
		context_copy(&tag, data + sizeof(ethernet), sizeof(tag));
		vlan = bpf_ntohs(tag.tci) & VLAN_VID_MASK;
		if (!vlan || (tag.type != bpf_htons(ETH_P_IP) && tag.type != bpf_htons(ETH_P_IPV6)))
			return DFW_WAY_TAGS;
	} else if (ethernet.type != bpf_htons(ETH_P_IP) && ethernet.type != bpf_htons(ETH_P_IPV6)) {
		return DFW_WAY_ETHERTYPE;
	}
	key = path_key(uplink_ifindex, vlan, &ethernet);
	if (!path_find(&key, path) || path->slot >= DFW_MAX_PORTS)
		return DFW_WAY_UNLEARNT;
	p = packet_enter(PACKET_PLACE_TRAFFIC, DFW_IN, path->slot);
	if (!p)
		return DFW_WAY_NOT_READY;
	way = path_judge(path, state, p->now_ns);
	if (way != DFW_WAY_DIRECT)
		return way;
	if (!path_fits(path, bytes))
		return DFW_WAY_MTU;
	if (vlan == path->vlan)
		return decide(ctx, p, path, true);
	return path->vlan ? DFW_WAY_TAGS : decide_untagged(ctx, p, &ethernet, tag, path);
}

SEC("xdp")
int dfw_xdp(struct xdp_md *ctx)
{
	struct dfw_path_state *state = path_state_on();
	struct dfw_path path = {};
	enum dfw_way way;

	if (!state)
		return XDP_PASS;
	way = choose_way(ctx, state, &path);
	count_way(uplink_place, way);
	switch (way) {
	case DFW_WAY_DIRECT:
		return bpf_redirect(path.ifindex, 0);
	case DFW_WAY_ASKED:
		/* Not XDP_TX: veth leaves what that sends in its ring, unless its other end has a program, too. */
		return bpf_redirect(ctx->ingress_ifindex, 0);
	case DFW_WAY_DROPPED:
		return XDP_DROP;
	default:
		return XDP_PASS;
	}
}

char LICENSE[] SEC("license") = "GPL";
