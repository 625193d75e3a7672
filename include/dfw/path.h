/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_PATH_H
#define DFW_PATH_H

#include <dfw/types.h>

/*
 * Paths: where the bridge sends what comes in on a device, learnt from packets that took the normal way through it. A
 * packet whose path is known may go straight to the device at its end. Nobody but the bridge decides where that is: a path
 * lives DFW_PATH_LIFE_NS, then one packet must take the normal way again and show it anew.
 */
#define DFW_PATH_LIFE_NS 1000000000ULL

#define DFW_MAX_STATIONS 32768
#define DFW_MAX_UPLINKS	 16

/* Both MACs, so that the bridge hears each station once a second, too, and does not forget it. */
struct dfw_path_key {
	__u8 destination[6];
	__u16 vlan; /* VLAN id of its tag where it came in, 0 for untagged */
	__u8 source[6];
	__u16 zero;
	__u32 ifindex; /* of the device where it came in */
	__u32 zero_too;
} __attribute__((aligned(8)));
DFW_ASSERT_SIZE(struct dfw_path_key, 24);

enum dfw_path_flag {
	DFW_PATH_FAST = 1 << 0, /* packets may take it; else it only tells XDP whose rules hold */
	DFW_PATH_XMIT = 1 << 1, /* the device at its end takes frames from XDP */
};

/* Element of `paths`, a table of sets: the path of a key lies in the set that its hash names, if it was not
 * pushed out by newer ones. An array, since a lookup there costs a third of one in a hash; and nothing but speed is lost with
 * a path. Whoever reads it copies it and then looks whether `check` fits: another CPU may be writing. */
struct dfw_path {
	struct dfw_path_key key;
	__u64 learnt_ns; /* CLOCK_MONOTONIC */
	__u32 epoch;	 /* of struct dfw_path_state when it was learnt */
	__u32 ifindex;	 /* of the device where the bridge sends the frame out */
	__u32 slot;	 /* of that device's port; DFW_MAX_PORTS: it is an uplink */
	__u32 mtu;	 /* of that device */
	__u16 vlan;	 /* VLAN id of the frame's tag there, 0 for untagged */
	__u8 flags;	 /* enum dfw_path_flag */
	__u8 place;	 /* index in `path_ways` for what comes in on key.ifindex */
	__u32 zero;
	__u64 check; /* sum of all words before */
};
DFW_ASSERT_SIZE(struct dfw_path, 64);

#define DFW_PATH_SETS 32768
#define DFW_PATH_WAYS 2 /* of a set */
#define DFW_MAX_PATHS (DFW_PATH_SETS * DFW_PATH_WAYS)

/* Index of the first element of a key's set. Multiplication spreads what is alike in MACs to the upper bits. */
static inline __u32 dfw_path_set(const struct dfw_path_key *key)
{
	const __u64 *words = (const __u64 *)key;
	__u64 hash = words[0] * 0x9e3779b97f4a7c15 + words[1] * 0xc2b2ae3d27d4eb4f +
		     words[2] * 0x165667b19e3779f9;

	return (hash >> 40) % DFW_PATH_SETS * DFW_PATH_WAYS;
}

/* What `check` has to be. */
static inline __u64 dfw_path_sum(const struct dfw_path *path)
{
	const __u64 *words = (const __u64 *)path;
	__u64 sum = 0x9e3779b97f4a7c15; /* so that nothing is not something */

	for (__u32 i = 0; i < __builtin_offsetof(struct dfw_path, check) / 8; i++)
		sum = (sum ^ words[i]) * 3;
	return sum;
}

/* The one value of `path_state`, which dfwd has mapped: its words are changed by atomic operations only. */
struct dfw_path_state {
	__u32 epoch;	       /* grows when the paths known until now shall end */
	__u32 stations_epoch;  /* grows when what was heard until now shall be forgotten */
	__u64 moves_bucket_ns; /* token bucket of the datapath's own steps of `epoch` */
	__u32 on;	       /* 0: nothing is learnt, and nothing looked up */
	__u32 zero;
};
DFW_ASSERT_SIZE(struct dfw_path_state, 24);

enum dfw_device_flag {
	DFW_DEVICE_FORWARDS = 1 << 0,	/* it is up, and its bridge forwards and learns there */
	DFW_DEVICE_VLAN_AWARE = 1 << 1, /* its bridge filters VLANs */
	DFW_DEVICE_FAST = 1 << 2,	/* its packets may leave the normal way */
};

/* How an uplink's frames meet dfw before the bridge sees them. */
enum dfw_uplink_hook {
	DFW_UPLINK_NONE = 0,	/* the device is not there */
	DFW_UPLINK_TC = 1,	/* in tc only */
	DFW_UPLINK_NATIVE = 2,	/* in XDP at the driver, and in tc */
	DFW_UPLINK_GENERIC = 3, /* in XDP on skbs, and in tc */
};

/* Why `auto` did without XDP. X(enumerator, name, meaning) */
#define DFW_UPLINK_CAUSES(X)                                                                   \
	X(NONE, "", "")                                                                        \
	X(VETH, "veth", "XDP on a veth pair takes segmentation offload from its peer")         \
	X(VIRTUAL, "virtual", "XDP takes the offloads of this driver's virtual device away")   \
	X(STACKED, "stacked", "the device lies on others, whose frames it may drop or change") \
	X(UNSUPPORTED, "unsupported",                                                          \
	  "the driver has no native XDP, or not as the device is set up")                      \
	X(HIDDEN_TAGS, "hidden-tags", "the device strips VLAN tags and cannot be told not to") \
	X(TAKEN, "taken", "another XDP program is there, and does not share the device")

enum dfw_uplink_cause {
#define DFW_UPLINK_CAUSE_ENUM(symbol, name, help) DFW_UPLINK_CAUSE_##symbol,
	DFW_UPLINK_CAUSES(DFW_UPLINK_CAUSE_ENUM)
#undef DFW_UPLINK_CAUSE_ENUM
		DFW_UPLINK_CAUSE_COUNT
};

#define DFW_DEVICE_NAME_LEN 16

/* Element n of `uplink_list`: uplink n as it is now. The datapath does not read it; what reads the pins does. */
struct dfw_uplink {
	char name[DFW_DEVICE_NAME_LEN]; /* "": there is none */
	__u32 ifindex;			/* 0: the device is not there */
	__u8 hook;			/* enum dfw_uplink_hook */
	__u8 cause;			/* enum dfw_uplink_cause */
	__u8 shared;			/* other XDP programs run there, too */
	__u8 fast;			/* the fast path is on */
};
DFW_ASSERT_SIZE(struct dfw_uplink, 24);

/* What dfwd knows of a device that is a port's or an uplink, by its ifindex in `devices`. */
struct dfw_device {
	__u64 heard_ns; /* for how long its bridge knows a station that it has heard */
	__u64 xmit_until_ns; /* until when it is known to take frames from XDP: dfwd says so again and again */
	__u32 bridge; /* ifindex of its bridge, 0: none */
	__u16 pvid;   /* VLAN id that untagged frames belong to there, 0: none */
	__u8 flags;   /* enum dfw_device_flag */
	__u8 place;   /* index in `path_ways`: 0 for ports, 1 + n for uplink n */
};
DFW_ASSERT_SIZE(struct dfw_device, 24);

/* Stations as their bridge knows them: where a MAC was heard last. What was never heard the bridge floods, and no path
 * leads there. */
struct dfw_station_key {
	__u32 bridge;
	__u16 vlan; /* that it belongs to in the bridge; 0 where the bridge does not filter VLANs */
	__u8 mac[6];
};
DFW_ASSERT_SIZE(struct dfw_station_key, 12);

struct dfw_station {
	__u64 heard_ns; /* CLOCK_MONOTONIC */
	__u32 ifindex;
	__u32 epoch; /* stations_epoch of struct dfw_path_state when it was heard */
};
DFW_ASSERT_SIZE(struct dfw_station, 16);

enum dfw_way_kind {
	DFW_WAY_KIND_TAKEN,  /* the packet did not need the bridge */
	DFW_WAY_KIND_NORMAL, /* it took the normal way, and this is why */
	DFW_WAY_KIND_LEARNT, /* what its coming out at the other end told */
};

/* What became of the frames that came in on a device, as far as ways are concerned. X(enumerator, field, name, kind,
 * meaning). Append only: the order is the layout of the counters. */
#define DFW_WAYS(X)                                                                                \
	X(DIRECT, direct, "direct", TAKEN, "sent straight to the device where the bridge would")   \
	X(DROPPED, dropped, "dropped", TAKEN, "denied by a rule of the vport, at the driver")      \
	X(ASKED, asked, "asked", TAKEN,                                                            \
	  "a SYN of a flood: its sender is asked whether it exists, at the driver")                \
	X(GROUP, group, "group", NORMAL, "to a group or to all")                                   \
	X(ETHERTYPE, ethertype, "ethertype", NORMAL, "neither IPv4 nor IPv6")                      \
	X(TAGS, tags, "tags", NORMAL, "a priority tag, or more than one tag")                      \
	X(CONTROL, control, "control", NORMAL,                                                     \
	  "ICMPv6, or a hop-by-hop header: bridges look at both")                                  \
	X(UNLEARNT, unlearnt, "unlearnt", NORMAL, "no path is known")                              \
	X(EXPIRED, expired, "expired", NORMAL,                                                     \
	  "the path is a second old: one packet shows it anew")                                    \
	X(ENDED, ended, "ended", NORMAL, "a device, a station or a bridge has changed since")      \
	X(OFF, off, "off", NORMAL, "the fast path is switched off")                                \
	X(MTU, mtu, "mtu", NORMAL, "longer than the MTU at the path's end")                        \
	X(NO_XMIT, no_xmit, "no-xmit", NORMAL, "the device takes no frames from XDP; tc sends on") \
	X(PIECES, pieces, "pieces", NORMAL, "the frame does not lie in one piece")                 \
	X(NOT_READY, not_ready, "not-ready", NORMAL, "the vport has no realised policy yet")       \
	X(NOT_PLAIN, not_plain, "not-plain", NORMAL,                                               \
	  "options, fragments, neither TCP nor UDP, an unchecked sum, ...: tc decides")            \
	X(UNDECIDED, undecided, "undecided", NORMAL,                                               \
	  "begins, ends or changes a flow, or a rule does more than drop: tc decides")             \
	X(BULK, bulk, "bulk", NORMAL,                                                              \
	  "of a TCP stream: GRO merges its segments, then tc sends on")                            \
	X(LEARNT, learnt, "learnt", LEARNT, "showed a path, or showed it anew")                    \
	X(UNBRIDGED, unbridged, "unbridged", LEARNT, "did not go through one bridge and VLAN")     \
	X(UNHEARD, unheard, "unheard", LEARNT, "nothing has come from the station there: flooded")

enum dfw_way {
#define DFW_WAY_ENUM(symbol, field, name, kind, help) DFW_WAY_##symbol,
	DFW_WAYS(DFW_WAY_ENUM)
#undef DFW_WAY_ENUM
		DFW_WAY_COUNT
};

/* Element of `path_ways`. Frames; merged ones count once. */
struct dfw_way_counters {
#define DFW_WAY_FIELD(symbol, field, name, kind, help) __u64 field;
	DFW_WAYS(DFW_WAY_FIELD)
#undef DFW_WAY_FIELD
};
DFW_ASSERT_SIZE(struct dfw_way_counters, DFW_WAY_COUNT * 8);

/* Places in `path_ways`: what VMs send; what comes in on uplink n, in tc; the same, in XDP. */
#define DFW_WAY_PLACE_PORTS	0
#define DFW_WAY_PLACE_UPLINK(n) (1 + (n))
#define DFW_WAY_PLACE_XDP(n)	(1 + DFW_MAX_UPLINKS + (n))
#define DFW_WAY_PLACES		(1 + 2 * DFW_MAX_UPLINKS)

#endif
