/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_MAPS_H
#define DFW_MAPS_H

#include <dfw/flow.h>
#include <dfw/flow_hash.h>
#include <dfw/types.h>

/*
 * Where things are pinned. INSTANCE is what -i says.
 *
 * /sys/fs/bpf/dfw/INSTANCE/
 *   layout            ARRAY[1] struct dfw_layout: what made these pins, and where; another version's or another network
 *                     namespace's are refused, not guessed at
 *   active            ARRAY[1] struct dfw_revision: what is in force
 *   port_slots        HASH ifindex -> slot
 *   near_slots        ARRAY[ifindex] slot + 1, of interface indices below DFW_NEAR_SLOTS: the same, found faster
 *   configs, hits     ARRAY_OF_MAPS [slot * 2 + bank]
 *   flows, more_flows, half_open, fragments, counters, states
 *                     ARRAY_OF_MAPS [slot]
 *   rulesets          ARRAY[ruleset] struct dfw_ruleset
 *   rule_infos, row_refs, row_chunks
 *                     ARRAY_OF_MAPS [ruleset]
 *   addr_exact, addr_prefix4, addr_prefix, l4_classes
 *                     ARRAY_OF_MAPS [tables]
 *   decisions         PERCPU_ARRAY struct dfw_decision_place
 *   limits            LRU_HASH struct dfw_limit_key -> struct dfw_limit
 *   rule_flows        HASH struct dfw_rule_flows_key -> s64
 *   secrets           ARRAY[1] struct dfw_secrets
 *   proven            LRU_HASH struct dfw_proven_key -> u64: the time in ns until which it counts
 *   events            RINGBUF struct dfw_event
 *   event_losses      PERCPU_ARRAY[1] u64
 *   listeners         ARRAY[1] u32: 0 when nobody wants to hear of each flow
 *   changes           RINGBUF struct dfw_change
 *   change_losses     ARRAY[1] u64
 *   graves            LRU_HASH struct dfw_grave_key -> struct dfw_grave
 *   exchange          ARRAY struct dfw_exchange
 *   paths             ARRAY struct dfw_path
 *   stations          LRU_HASH struct dfw_station_key -> struct dfw_station
 *   path_state        ARRAY[1] struct dfw_path_state
 *   devices           HASH ifindex -> struct dfw_device
 *   uplink_list       ARRAY struct dfw_uplink
 *   path_ways         PERCPU_ARRAY struct dfw_way_counters
 *   programs/         out, in, sweep, exchange, wire_in, wire_out, reclass
 *   uplinks/NAME/     xdp (the program), link_in, link_out
 *   vports/NAME/      config, flows, more_flows, half_open, fragments, counters, state, rules, rule_totals, link_in,
 *                     link_out; while it is not in the list on disk, a folder `unlisted`
 *
 * A revision (rules, groups, profiles, ports' identities) is staged in the bank that is not active and comes into force
 * by one store into `active`.
 */
#define DFW_BPFFS	     "/sys/fs/bpf"
#define DFW_PIN_ROOT	     DFW_BPFFS "/dfw"
#define DFW_DEFAULT_INSTANCE "default"

#define DFW_LAYOUT_VERSION 9

#define DFW_MAX_PORTS	 4096
#define DFW_NEAR_SLOTS	 65536
#define DFW_BANKS	 2
#define DFW_MAX_RULESETS 4096
#define DFW_MAX_TABLES	 4
#define DFW_EVENTS_BYTES (4U << 20)

struct dfw_layout {
	__u32 version; /* DFW_LAYOUT_VERSION */
	__u32 zero;
	char build[48]; /* version of dfwd that loaded the programs */
	__u64 netns; /* SO_NETNS_COOKIE of its network namespace, whose devices the pins name; 0: not known */
};
DFW_ASSERT_SIZE(struct dfw_layout, 64);

/* What is in force. `revision` grows with each flip; a flow of another (generation, revision) is decided anew. Read and
 * written as a whole, so that no packet sees the bank of one and the revision of another. */
struct dfw_revision {
	__u32 generation; /* of the policy */
	__u16 revision;
	__u16 bank;
} __attribute__((aligned(8)));
DFW_ASSERT_SIZE(struct dfw_revision, 8);

/* What the `sweep` program is run for, by BPF_PROG_RUN with this struct as the packet's first bytes. */
enum dfw_sweep_op {
	DFW_SWEEP_EXPIRED = 0, /* remove what has expired, with its event */
	DFW_SWEEP_STALE = 1,   /* forget every flow's generation: when the revision wraps */
	DFW_SWEEP_KILL = 2,    /* end the flow named by `key`; -EBUSY: ask again */
};

struct dfw_sweep_request {
	__u32 slot;
	__u32 op; /* enum dfw_sweep_op */
	struct dfw_flow_key key;
};
DFW_ASSERT_SIZE(struct dfw_sweep_request, 48);

/* What the `reclass` program is run for: elements of addr_exact, which are there, get another class by one store each.
 * (An update from user space would put a new element in the old one's place, whose memory the kernel may use for another
 * address at once, while a packet still reads it.) */
#define DFW_RECLASS_MOST 64

struct dfw_reclass_entry {
	struct dfw_addr address;
	__u32 class;
	__u32 zero;
};
DFW_ASSERT_SIZE(struct dfw_reclass_entry, 24);

struct dfw_reclass_request {
	__u32 tables;
	__u32 nr;
	struct dfw_reclass_entry entries[DFW_RECLASS_MOST];
};
DFW_ASSERT_SIZE(struct dfw_reclass_request, 8 + 64 * 24);

/* Per-port fragments map: what the first fragment of a datagram decided. */
struct dfw_fragment_key {
	struct dfw_addr source;
	struct dfw_addr destination;
	__u32 id; /* host byte order */
	__u16 vlan;
	__u8 protocol;
	__u8 direction; /* enum dfw_direction */
};
DFW_ASSERT_SIZE(struct dfw_fragment_key, 40);

/* What a rule with a limit on new flows a second has used: a token bucket, see struct dfw_port_state. */
struct dfw_limit_key {
	struct dfw_addr source; /* zero unless the limit is meant for each source */
	__u32 slot;		/* of the port */
	__u32 rule;
};
DFW_ASSERT_SIZE(struct dfw_limit_key, 24);

struct dfw_limit {
	__u64 bucket_ns;
};
DFW_ASSERT_SIZE(struct dfw_limit, 8);

/* Live confirmed flows of a port's rule that has a limit on them. Not in the LRU map of the buckets, out of which a flood
 * could push it. */
struct dfw_rule_flows_key {
	__u32 slot;
	__u32 rule;
};
DFW_ASSERT_SIZE(struct dfw_rule_flows_key, 8);

#define DFW_MAX_LIMITS 65536

/* Random numbers of this instance. They never leave the host. */
struct dfw_secrets {
	__u64 syn[2];		     /* key of the numbers that challenge SYNs, bpf/challenge.h */
	__u64 flows[DFW_HASH_WORDS]; /* of the hash of flows' keys; a part of the programs, too */
};
DFW_ASSERT_SIZE(struct dfw_secrets, 56);

/* Who has answered a challenge: to the time (CLOCK_MONOTONIC, ns) until which that counts. */
struct dfw_proven_key {
	struct dfw_addr source;
	__u32 slot; /* of the port */
	__u32 zero;
};
DFW_ASSERT_SIZE(struct dfw_proven_key, 24);

#define DFW_MAX_PROVEN 65536

#define DFW_FRAGMENT_RANGES 16
#define DFW_FRAGMENT_SECONDS \
	30 /* RFC 791 suggests 15, RFC 8200 4.5 says 60; nf_conntrack_frag: 30 */

struct dfw_fragment {
	__u32 lock;
	__u8 nr_ranges;
	__u8 poisoned;	/* fragments overlapped: nothing more of this datagram passes (RFC 5722) */
	__u16 last_end; /* in units of 8 bytes, rounded up; 0 until the last fragment was seen */
	__u64 first_seen_ns;
	struct dfw_flow_key flow; /* what the first fragment named */
	__u32 generation;	  /* a change of policy ends what it allowed */
	__u16 revision;
	__u8 stateless; /* a stateless rule allowed it: there is no flow */
	__u8 fin;	/* its segment has FIN, which takes effect with the last fragment */
	__u32 tcp_base; /* sequence number of the datagram's byte 0, were it data */
	__u32 rule_slot;
	struct {
		__u16 begin; /* in units of 8 bytes */
		__u16 end;
	} ranges[DFW_FRAGMENT_RANGES];
};
DFW_ASSERT_SIZE(struct dfw_fragment, 136);

#endif
