/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_PORT_H
#define DFW_PORT_H

#include <dfw/flow.h>
#include <dfw/types.h>

#define DFW_PORT_NAME_LEN \
	64 /* with the NUL; letters, digits, '.', '_', '-', ':' ; does not begin with '.' */
#define DFW_PORT_MACS	   4
#define DFW_PORT_ADDRESSES 32
#define DFW_PORT_VLANS	   8

/* What a profile may switch. X(enumerator, name in the policy language, default, what it means when on) */
#define DFW_PROFILE_FLAGS(X)                                                                   \
	X(STRICT_TCP, "strict", 1, "a TCP flow begins with a SYN")                             \
	X(GUARD_MAC, "guard-mac", 1, "the VM sends from its own MACs only")                    \
	X(GUARD_ADDRESS, "guard-address", 1,                                                   \
	  "the VM sends from its own addresses only; ARP and ND alike")                        \
	X(GUARD_DHCP, "guard-dhcp", 1, "the VM is no DHCP server")                             \
	X(GUARD_RA, "guard-ra", 1, "the VM is no IPv6 router")                                 \
	X(ALLOW_ARP_ND, "arp-nd", 1,                                                           \
	  "ARP, ND, MLD and RARP of its own addresses pass without a rule")                    \
	X(ALLOW_DHCP, "dhcp", 1, "the DHCP and DHCPv6 client of the VM passes without a rule") \
	X(IP_OPTIONS, "ip-options", 0,                                                         \
	  "IPv4 options other than source routes and record route pass")                       \
	X(LEARN, "learn-addresses", 0, "addresses are learned from ARP, ND and DHCP")          \
	X(CHECKSUM, "checksum", 1,                                                             \
	  "transport checksums that the hardware did not check are checked")                   \
	X(SYN_CHALLENGE, "syn-challenge", 1,                                                   \
	  "in a flood of SYNs, their senders must show that they exist")

enum dfw_profile_bit {
#define DFW_PROFILE_BIT(symbol, name, on, help) DFW_PROFILE_BIT_##symbol,
	DFW_PROFILE_FLAGS(DFW_PROFILE_BIT)
#undef DFW_PROFILE_BIT
		DFW_PROFILE_BITS
};
enum dfw_profile_flag {
#define DFW_PROFILE_FLAG(symbol, name, on, help) \
	DFW_PROFILE_##symbol = 1 << DFW_PROFILE_BIT_##symbol,
	DFW_PROFILE_FLAGS(DFW_PROFILE_FLAG)
#undef DFW_PROFILE_FLAG
};

/* How strict a port is, and how much it may use: the `profile` of the policy language. */
struct dfw_profile {
	__u32 flags; /* enum dfw_profile_flag */
	__u32 max_flows;
	__u32 max_half_open;
	__u32 flow_table;	 /* of max_flows: room that is set aside */
	__u32 new_per_second;	 /* new flows of the port, 0: no limit */
	__u32 reject_per_second; /* answers of `reject` */
	__u32 max_fragments;	 /* datagrams in fragments, remembered at once */
	__u32 max_learned;
	__u32 resync_seconds; /* how long a flow without its SYN may anchor its window */
	__u32 zero;
	__u64 timeouts_ns[DFW_FLOW_STATES];
};
DFW_ASSERT_SIZE(struct dfw_profile, 40 + 8 * DFW_FLOW_STATES);

#define DFW_DEFAULT_MAX_FLOWS	      65536
#define DFW_DEFAULT_MAX_HALF_OPEN     4096
#define DFW_DEFAULT_FLOW_TABLE	      1792 /* 256 KiB */
#define DFW_DEFAULT_REJECT_PER_SECOND 100
#define DFW_DEFAULT_MAX_FRAGMENTS     1024
#define DFW_DEFAULT_MAX_LEARNED	      16
#define DFW_DEFAULT_RESYNC_SECONDS    30

enum dfw_port_flag {
	DFW_PORT_READY = 1 << 0,   /* a policy is realised; without it everything drops */
	DFW_PORT_HELD = 1 << 1,	   /* the port may be in force on another host: everything drops */
	DFW_PORT_WATCHED = 1 << 2, /* somebody reads the changes of its flows, see <dfw/change.h> */
	DFW_PORT_SHARED =
		1 << 3, /* of a share group: packets of its flows pass other members too */
};

/* What is switched while the rest stays; all other flags belong to a revision. */
#define DFW_PORT_SWITCHES (DFW_PORT_HELD | DFW_PORT_WATCHED | DFW_PORT_SHARED)

struct dfw_port_mac {
	__u8 bytes[6];
	__u8 zero[2];
};

/* What the datapath knows of a port: the one value of its `config` map. Never changed in place, but for the switches in
 * `flags`, which is one word: a new map is made and the pointer in the outer map swapped, so that no packet sees half of
 * it. What packets of known flows need comes first, so that it shares few cache lines. */
struct dfw_port_config {
	__u32 slot;
	__u32 flags;		       /* enum dfw_port_flag */
	__u32 ruleset[DFW_DIRECTIONS]; /* index of the rule set of each direction */
	__u32 hits_base
		[DFW_DIRECTIONS]; /* where that direction's rules begin in a CPU's part of `rules` */
	__u32 nr_macs;
	__u32 nr_addresses;
	__u32 nr_vlans;	  /* 0: an access port, frames are untagged */
	__u32 hits_count; /* rules of both directions, defaults included: a CPU's part of the map */
	struct dfw_port_mac macs[DFW_PORT_MACS];
	struct dfw_profile profile;
	__u16 vlans[DFW_PORT_VLANS];
	struct dfw_addr addresses[DFW_PORT_ADDRESSES];
	__u64 epoch; /* of the port's ownership, grows with each move */
	__u8 uuid[16];
	char name[DFW_PORT_NAME_LEN];
};
DFW_ASSERT_SIZE(struct dfw_port_config,
		40 + 32 + 40 + 8 * DFW_FLOW_STATES + 16 + 512 + 8 + 16 + 64);

/* What the datapath itself changes: the one value of a port's `state` map. Words are changed by atomic operations. */
struct dfw_port_state {
	__u64 bucket_new_ns; /* token buckets by "virtual scheduling" (ITU-T I.371, GCRA): the theoretical arrival */
	__u64 bucket_reject_ns; /* time of the next conforming packet, CLOCK_MONOTONIC */
	__u64 reclaimed_ns;	/* when a full table was last searched for expired flows */
	__s64 flows;		/* confirmed flows in the table */
	__u64 bucket_syn_ns;	/* SYNs to the VM whose senders have not shown that they exist */
	__u64 seen_ns;		/* when it was last told that the VM of a held port sends */
};
DFW_ASSERT_SIZE(struct dfw_port_state, 48);

#endif
