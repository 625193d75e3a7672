/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_FLOW_H
#define DFW_FLOW_H

#include <dfw/types.h>

/* States of a flow, of all protocols in one enum: the profile has one timeout for each.
 * X(enumerator, name in JSON and in profiles, default timeout in seconds) */
#define DFW_FLOW_STATES_LIST(X)                                                                   \
	X(DEAD, "dead", 0) /* removed, or about to be: never matches */                           \
	X(TCP_SYN_SENT, "tcp-syn-sent", 30)                                                       \
	X(TCP_SYN_RECEIVED, "tcp-syn-received", 30)   /* both SYNs seen, not both acknowledged */ \
	X(TCP_ESTABLISHED, "tcp-established", 432000) /* RFC 5382 REQ-5: at least 2 h 4 min */    \
	X(TCP_FIN_WAIT, "tcp-fin-wait", 900) /* one side has closed; the other may send on */     \
	X(TCP_CLOSING, "tcp-closing", 60)    /* both have sent FIN, not both acknowledged */      \
	X(TCP_TIME_WAIT, "tcp-time-wait", 120)                                                    \
	X(TCP_CLOSED, "tcp-closed", 10) /* by RST */                                              \
	X(UDP_NEW, "udp-new", 30)                                                                 \
	X(UDP_REPLIED, "udp-replied", 120)                                                        \
	X(UDP_STREAM, "udp-stream", 300) /* replied and older than 2 s; RFC 4787 REQ-5 */         \
	X(ICMP_NEW, "icmp-new", 30)                                                               \
	X(ICMP_REPLIED, "icmp-replied", 60) /* RFC 5508 REQ-2: at least 60 s */                   \
	X(SCTP_INIT, "sctp-init", 30)                                                             \
	X(SCTP_COOKIE, "sctp-cookie", 30) /* INIT_ACK seen */                                     \
	X(SCTP_ESTABLISHED, "sctp-established", 432000)                                           \
	X(SCTP_SHUTDOWN, "sctp-shutdown", 60)                                                     \
	X(SCTP_CLOSED, "sctp-closed", 10)                                                         \
	X(OTHER_NEW, "other-new", 60)                                                             \
	X(OTHER_REPLIED, "other-replied", 600)

enum dfw_flow_state {
#define DFW_FLOW_STATE_ENUM(symbol, name, seconds) DFW_FLOW_##symbol,
	DFW_FLOW_STATES_LIST(DFW_FLOW_STATE_ENUM)
#undef DFW_FLOW_STATE_ENUM
		DFW_FLOW_STATES
};

/* A flow's name within its port. `local` is the VM's side, `remote` the other, whoever began: a packet to the VM has
 * local = destination, one from it local = source, so no sorting is needed and a packet that a router VM sends out
 * where it came in is a flow of its own.
 * ICMP queries: local_port is the identifier, remote_port the request's type, + 256 when the other end asks (both may
 * ask with the same identifier). Protocols without ports: both 0. */
struct dfw_flow_key {
	struct dfw_addr local;
	struct dfw_addr remote;
	__u16 local_port;  /* host byte order, so that bpftool prints it as people write it */
	__u16 remote_port; /* host byte order */
	__u16 vlan;	   /* VLAN id of a trunk port's frame, 0 for untagged */
	__u8 protocol;	   /* IP protocol number */
	__u8 zero;
};
DFW_ASSERT_SIZE(struct dfw_flow_key, 40);

/* What one end has sent. TCP names follow van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2001).
 * All sequence numbers in host byte order, modulo 2^32. SCTP keeps its verification tags in the same place. */
struct dfw_leg {
	__u64 packets;
	__u64 bytes; /* IP bytes */
	union {
		struct {
			__u32 end; /* highest seq + len this end has sent */
			__u32 max_end; /* highest seq + len the other end lets it send: its max(ack + window) */
			__u32 max_window; /* largest window this end has offered, scaled */
			__u32 ack; /* highest acknowledgement this end has sent: its RCV.NXT */
		};
		struct {
			__u32 tag; /* verification tag that packets of this end must carry (SCTP, RFC 9260 8.5) */
			__u32 init_tag; /* tag that this end's INIT proposed and nothing confirmed yet */
			__u32 sctp_zero[2];
		};
	};
};
DFW_ASSERT_SIZE(struct dfw_leg, 32);

enum dfw_leg_flag {
	DFW_LEG_SYN = 1 << 0,	    /* has sent its SYN: end and friends are valid */
	DFW_LEG_SYN_ACKED = 1 << 1, /* its SYN was acknowledged */
	DFW_LEG_FIN = 1 << 2,	    /* has sent its FIN: `end` includes it */
	DFW_LEG_FIN_ACKED = 1 << 3, /* its FIN was acknowledged */
	DFW_LEG_SCALE = 1 << 4,	    /* its SYN carried a window scale option (RFC 7323 2.2) */
	/* picked up without a SYN, or handed over by a host that may not know all: segments may anchor the window */
	DFW_LEG_RESYNC = 1 << 5,
	/* got a SYN on a live flow; its answer is a challenge ACK (RFC 5961 4) */
	DFW_LEG_CHALLENGED = 1 << 6,
};

enum dfw_flow_flag {
	DFW_FLOW_COUNTED =
		1 << 0, /* in the number of live flows of its rule, which has a limit on them */
	/* Of a watched port, see <dfw/change.h>: since the flow was collected last it was told that ... */
	DFW_FLOW_TOUCHED = 1 << 1, /* ... packets have passed */
	DFW_FLOW_CHANGED = 1 << 2, /* ... and that its state has changed */
};

/* A flow picked up without its SYNs: no scale is known, so windows are taken to be this large. */
#define DFW_RESYNC_WINDOW (16U << 20)

enum dfw_leg_index {
	DFW_ORIG = 0, /* the end that began the flow */
	DFW_REPLY = 1,
	DFW_LEGS = 2,
};

#define DFW_NS_PER_CS 10000000ULL

/* A flow. `state` and the legs change under `lock`, a word taken by compare-and-swap: bpf_spin_lock is not allowed in
 * maps inside maps before Linux 6.2. Times are CLOCK_MONOTONIC of this host and never leave it. */
struct dfw_flow {
	__u32 lock;
	__u32 generation; /* policy generation that decided it ... */
	__u64 last_seen_ns;
	__u32 life;	 /* in a share group: counts the flows of its key, see <dfw/grave.h> */
	__u32 rule;	 /* stable id of the rule that decided it */
	__u8 state;	 /* enum dfw_flow_state */
	__u8 initiator;	 /* enum dfw_direction: DFW_OUT when the VM began */
	__u8 on_change;	 /* enum dfw_on_change of its rule */
	__u8 orig_scale; /* window scale, 0..14 */
	__u8 reply_scale;
	__u8 leg_flags[DFW_LEGS]; /* enum dfw_leg_flag */
	__u8 flags;		  /* enum dfw_flow_flag */
	__u32 created_cs;	  /* hundredths of a second, modulo 2^32: right for 497 days */
	__u16 rule_slot;	  /* index of the rule in its rule set, for its counters */
	__u16 revision; /* ... and the revision of what that generation means on this host */
	struct dfw_leg legs[DFW_LEGS];
};
DFW_ASSERT_SIZE(struct dfw_flow, 104);

/* A flow where it lies, with its key: whoever has found it and then taken its lock sees whether it is still that flow. */
struct dfw_flow_entry {
	struct dfw_flow_key key;
	struct dfw_flow flow;
};
DFW_ASSERT_SIZE(struct dfw_flow_entry, 144);

#define DFW_BUCKET_ENTRIES 7
#define DFW_PAGE_BUCKETS   4

/* What a table of flows is made of (bpf/table.h): a page of four buckets. A packet reads the line in front and those of its
 * flow. */
struct dfw_flow_page {
	/* Of each bucket, byte i: 0 if entry i is free, else 8 bits of its key's hash; byte 7 counts who gave way. */
	__u64 tags[DFW_PAGE_BUCKETS];
	__u32 strays[DFW_PAGE_BUCKETS]; /* flows of the bucket that lie in another, or elsewhere */
	__u32 lock;			/* held by whoever takes an entry */
	__u32 elsewhere; /* flows that found the page full: they lie in `more_flows` */
	__u64 zero;
	struct dfw_flow_entry entries[DFW_PAGE_BUCKETS][DFW_BUCKET_ENTRIES];
};
DFW_ASSERT_SIZE(struct dfw_flow_page, 4096);

#endif
