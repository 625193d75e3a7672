/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_PATH_H
#define DFW_BPF_PATH_H

#include "packet.h"
#include "parse.h"
#include "verdict.h"

/*
 * The fast path: past the bridge, where it would do nothing but send the frame out of a device that is known by now.
 * <dfw/path.h> has the tables.
 *
 *	path_take	where a frame comes in: takes the path, or marks the frame and lets it go the normal way
 *	path_learn	where a marked frame goes out: the bridge has sent it there, so that is where its path leads
 *
 * Invariants:
 *   - Only the bridge makes paths. A frame that took one carries no mark, so no path renews itself.
 *   - The frame that comes out has the MACs with which the path is looked up, and went through one bridge and one of its
 *     VLANs (a routed frame's MACs are the router's).
 *   - What the bridge floods makes no path: its destination must have been heard at that device, by this bridge, and
 *     since then nowhere else.
 *   - A frame that took a path meets the same hook at the end as one that did not, unless XDP has decided it.
 */

/* skb->tc_index, which nothing else reads in this century, carries the tag with which a frame came in. */
#define PATH_MARK 0x8000

static __always_inline struct dfw_path_state *path_state_on(void)
{
	__u32 zero = 0;
	struct dfw_path_state *state = bpf_map_lookup_elem(&path_state, &zero);

	return state && state->on ? state : NULL;
}

static __always_inline void count_way(__u32 place, __u32 way)
{
	struct dfw_way_counters *of_place = bpf_map_lookup_elem(&path_ways, &place);

	barrier_var(way); /* the verifier must see the bound on the register that is used */
	if (of_place && way < DFW_WAY_COUNT)
		((__u64 *)of_place)[way]++;
}

static __always_inline struct dfw_path_key path_key(__u32 ifindex, __u16 vlan,
						    const struct ethernet *ethernet)
{
	struct dfw_path_key key = {.ifindex = ifindex, .vlan = vlan};

	__builtin_memcpy(key.destination, ethernet->destination, sizeof(key.destination));
	__builtin_memcpy(key.source, ethernet->source, sizeof(key.source));
	return key;
}

static __always_inline bool path_key_equal(const struct dfw_path_key *a,
					   const struct dfw_path_key *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}

/* Copies the path; false: there is none. */
static __always_inline bool path_find(const struct dfw_path_key *key, struct dfw_path *path)
{
	__u32 first = dfw_path_set(key);

	for (__u32 way = 0; way < DFW_PATH_WAYS; way++) {
		__u32 index = first + way;
		struct dfw_path *found = bpf_map_lookup_elem(&paths, &index);

		if (!found || !path_key_equal(&found->key, key))
			continue;
		*path = *found;
		barrier();
		return path_key_equal(&path->key, key) && path->check == dfw_path_sum(path);
	}
	return false;
}

/* Why the path does not hold any more; DIRECT: it does. */
static __always_inline enum dfw_way path_judge(const struct dfw_path *path,
					       const struct dfw_path_state *state, __u64 now_ns)
{
	if (path->epoch != state->epoch)
		return DFW_WAY_ENDED;
	/* The clock is coarse: what another CPU has just learnt may lie ahead. */
	if ((__s64)(now_ns - path->learnt_ns) > (__s64)DFW_PATH_LIFE_NS)
		return DFW_WAY_EXPIRED;
	return DFW_WAY_DIRECT;
}

/* May a frame of `bytes` leave where the path ends? As the bridge has it (is_skb_forwardable). */
static __always_inline bool path_fits(const struct dfw_path *path, __u32 bytes)
{
	return bytes <= path->mtu + ETHERNET_BYTES + VLAN_BYTES;
}

#ifndef DFW_XDP

#define RENEWED_NS	 250000000LL /* what was written down so lately is not written again */
#define MOVES_PER_SECOND 10

/* The tag of a frame, which the kernel has taken out of it. False: one that bridges treat specially. */
static __always_inline bool path_tag(const struct __sk_buff *skb, __u16 *vlan)
{
	*vlan = 0;
	if (!skb->vlan_present)
		return true;
	*vlan = skb->vlan_tci & VLAN_VID_MASK;
	return *vlan && skb->vlan_proto == bpf_htons(ETH_P_8021Q);
}

/* The VLAN in the device's bridge; where that filters none, its table knows none either. */
static __always_inline __u16 device_vlan(const struct dfw_device *device, __u16 vlan)
{
	if (!(device->flags & DFW_DEVICE_VLAN_AWARE))
		return 0;
	return vlan ? vlan : device->pvid;
}

static __always_inline struct dfw_station_key station_key(const struct dfw_device *device,
							  __u16 vlan, const __u8 *mac)
{
	struct dfw_station_key key = {.bridge = device->bridge, .vlan = device_vlan(device, vlan)};

	__builtin_memcpy(key.mac, mac, sizeof(key.mac));
	return key;
}

/* Notes where the frame's sender is, as the bridge does. If it was elsewhere, paths to it end, and all others with them:
 * rationed, since anybody on the wire may claim to have moved. Without that a path still ends by its age. */
static __always_inline void station_heard(const struct __sk_buff *skb, struct dfw_path_state *state,
					  const struct dfw_device *device, __u16 vlan,
					  const struct ethernet *ethernet, __u64 now_ns)
{
	struct dfw_station fresh = {
		.heard_ns = now_ns, .ifindex = skb->ifindex, .epoch = state->stations_epoch};
	struct dfw_station *station;
	struct dfw_station_key key;
	bool moved;

	if (!(device->flags & DFW_DEVICE_FORWARDS) || ethernet->source[0] & 1)
		return;
	key = station_key(device, vlan, ethernet->source);
	station = bpf_map_lookup_elem(&stations, &key);
	moved = station && station->ifindex != fresh.ifindex;
	if (station && !moved && station->epoch == fresh.epoch &&
	    (__s64)(now_ns - station->heard_ns) < RENEWED_NS)
		return;
	bpf_map_update_elem(&stations, &key, &fresh, BPF_ANY);
	if (moved &&
	    bucket_take(&state->moves_bucket_ns, now_ns, MOVES_PER_SECOND, MOVES_PER_SECOND))
		__sync_fetch_and_add(&state->epoch, 1);
}

static __always_inline bool station_is_there(const struct __sk_buff *skb,
					     const struct dfw_path_state *state,
					     const struct dfw_device *device, __u16 vlan,
					     const struct ethernet *ethernet, __u64 now_ns)
{
	struct dfw_station_key key = station_key(device, vlan, ethernet->destination);
	struct dfw_station *station = bpf_map_lookup_elem(&stations, &key);

	return station && station->ifindex == skb->ifindex &&
	       station->epoch == state->stations_epoch &&
	       (__s64)(now_ns - station->heard_ns) < (__s64)device->heard_ns;
}

/* What bridges do more with than forward it, they shall see. DIRECT: it is none of that. */
static __always_inline enum dfw_way path_suits(struct __sk_buff *skb,
					       const struct ethernet *ethernet)
{
	__u8 next = PROTOCOL_ICMP6;

	if (ethernet->destination[0] & 1)
		return DFW_WAY_GROUP;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return DFW_WAY_DIRECT;
	if (skb->protocol != bpf_htons(ETH_P_IPV6))
		return DFW_WAY_ETHERTYPE;
	context_load(skb, ETHERNET_BYTES + offsetof(struct ip6, next_header), &next, sizeof(next));
	return next == PROTOCOL_ICMP6 || next == PROTOCOL_HOP_BY_HOP ? DFW_WAY_CONTROL
								     : DFW_WAY_DIRECT;
}

/* Gives the frame the tag that it has at the path's end. A bridge adds one or takes it away; it never changes one. */
static __always_inline bool path_retag(struct __sk_buff *skb, __u16 from, __u16 to)
{
	if (from == to)
		return true;
	return to ? bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), to) == 0
		  : bpf_skb_vlan_pop(skb) == 0;
}

/* Looks for a path for a frame that has just come in. DIRECT: it is in *path, and holds. */
static __always_inline enum dfw_way path_choose(struct __sk_buff *skb,
						const struct dfw_path_state *state, __u16 vlan,
						const struct ethernet *ethernet, __u64 now_ns,
						struct dfw_path *path)
{
	struct dfw_path_key key = path_key(skb->ifindex, vlan, ethernet);
	enum dfw_way way = path_suits(skb, ethernet);

	if (way != DFW_WAY_DIRECT)
		return way;
	if (!path_find(&key, path))
		return DFW_WAY_UNLEARNT;
	way = path_judge(path, state, now_ns);
	if (way != DFW_WAY_DIRECT)
		return way;
	if (!(path->flags & DFW_PATH_FAST))
		return DFW_WAY_OFF;
	return skb->gso_size || path_fits(path, skb->len) ? DFW_WAY_DIRECT : DFW_WAY_MTU;
}

/* Sends a frame that has just come in straight on, or lets it go the normal way. Returns the tc action. */
DFW_STAGE int path_take(struct __sk_buff *skb, __u64 now_ns)
{
	struct dfw_path_state *state = path_state_on();
	__u32 ifindex = skb->ifindex;
	enum dfw_way way = DFW_WAY_TAGS;
	struct ethernet ethernet;
	struct dfw_device *device;
	struct dfw_path path = {};
	__u16 vlan;

	if (!state || !context_load(skb, 0, &ethernet, sizeof(ethernet)))
		return TC_ACT_UNSPEC;
	if (path_tag(skb, &vlan))
		way = path_choose(skb, state, vlan, &ethernet, now_ns, &path);
	if (way == DFW_WAY_DIRECT && path_retag(skb, vlan, path.vlan)) {
		count_way(path.place, way);
		skb->tc_index = 0;
		return bpf_redirect(path.ifindex, 0);
	}

	device = bpf_map_lookup_elem(&devices, &ifindex);
	if (!device)
		return TC_ACT_UNSPEC;
	count_way(device->place, way);
	if (way == DFW_WAY_TAGS)
		return TC_ACT_UNSPEC;
	skb->tc_index = PATH_MARK | vlan;
	station_heard(skb, state, device, vlan, &ethernet, now_ns);
	return TC_ACT_UNSPEC;
}

/* The frame has gone through one bridge, within one VLAN. */
static __always_inline bool path_bridged(const struct dfw_device *in, __u16 vlan_in,
					 const struct dfw_device *out, __u16 vlan_out)
{
	if (!(in->flags & out->flags & DFW_DEVICE_FORWARDS) || in->bridge != out->bridge)
		return false;
	return in->flags & DFW_DEVICE_VLAN_AWARE
		       ? device_vlan(in, vlan_in) == device_vlan(out, vlan_out)
		       : vlan_in == vlan_out;
}

/* Does the map say already what it would be told? */
static __always_inline bool path_known(const struct dfw_path *path)
{
	struct dfw_path known;

	return path_find(&path->key, &known) && known.epoch == path->epoch &&
	       known.ifindex == path->ifindex && known.slot == path->slot &&
	       known.mtu == path->mtu && known.vlan == path->vlan && known.flags == path->flags &&
	       (__s64)(path->learnt_ns - known.learnt_ns) < RENEWED_NS;
}

/* Puts a path in its set: in the place of what it was, of one that does not hold any more, or of the oldest. */
static __always_inline void path_keep(struct dfw_path *path, const struct dfw_path_state *state)
{
	__u32 first = dfw_path_set(&path->key);
	struct dfw_path *place = NULL;

	for (__u32 way = 0; way < DFW_PATH_WAYS; way++) {
		__u32 index = first + way;
		struct dfw_path *found = bpf_map_lookup_elem(&paths, &index);

		if (!found)
			return;
		if (path_key_equal(&found->key, &path->key)) {
			place = found;
			break;
		}
		if (!place || path_judge(found, state, path->learnt_ns) != DFW_WAY_DIRECT ||
		    found->learnt_ns < place->learnt_ns)
			place = found;
	}
	path->check = dfw_path_sum(path);
	if (place)
		*place = *path;
}

/* Notes where a marked frame goes out, and takes the mark off. `slot`: of the port there, or DFW_MAX_PORTS. */
DFW_STAGE int path_learn(struct __sk_buff *skb, __u32 slot)
{
	struct dfw_path_state *state = path_state_on();
	__u32 in_ifindex = skb->ingress_ifindex, out_ifindex = skb->ifindex, mtu = 0;
	__u16 vlan_in = skb->tc_index & VLAN_VID_MASK, vlan;
	struct ethernet ethernet;
	struct dfw_device *in, *out;
	struct dfw_path path = {};

	skb->tc_index = 0;
	if (!state || in_ifindex == out_ifindex || !path_tag(skb, &vlan) ||
	    !context_load(skb, 0, &ethernet, sizeof(ethernet)) || ethernet.destination[0] & 1)
		return 0;
	in = bpf_map_lookup_elem(&devices, &in_ifindex);
	out = bpf_map_lookup_elem(&devices, &out_ifindex);
	if (!in || !out)
		return 0;
	path.learnt_ns = context_now_ns();
	path.place = in->place;
	if (!path_bridged(in, vlan_in, out, vlan)) {
		count_way(path.place, DFW_WAY_UNBRIDGED);
		return 0;
	}
	if (!station_is_there(skb, state, out, vlan, &ethernet, path.learnt_ns)) {
		count_way(path.place, DFW_WAY_UNHEARD);
		return 0;
	}
	if (in->flags & out->flags & DFW_DEVICE_FAST)
		path.flags |= DFW_PATH_FAST;
	if (out->xmit_until_ns > path.learnt_ns)
		path.flags |= DFW_PATH_XMIT;
	if (bpf_check_mtu(skb, 0, &mtu, 0, 0) < 0)
		return 0;
	path.key = path_key(in_ifindex, vlan_in, &ethernet);
	path.epoch = state->epoch;
	path.ifindex = out_ifindex;
	path.slot = slot;
	path.mtu = mtu;
	path.vlan = vlan;
	if (path_known(&path))
		return 0;
	count_way(path.place, DFW_WAY_LEARNT);
	path_keep(&path, state);
	return 0;
}

static __always_inline bool path_marked(const struct __sk_buff *skb)
{
	return skb->tc_index & PATH_MARK;
}

#endif
#endif
