/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_EVENT_H
#define DFW_EVENT_H

#include <dfw/flow.h>
#include <dfw/types.h>

enum dfw_event_type {
	DFW_EVENT_NONE = 0,
	DFW_EVENT_FLOW_NEW = 1,	      /* first packet of a flow passed */
	DFW_EVENT_FLOW_CONFIRMED = 2, /* the other end answered */
	DFW_EVENT_FLOW_CLOSED = 3,    /* closed, expired or killed: `reason`, counters are valid */
	DFW_EVENT_VERDICT = 4,	      /* a rule with `log` decided */
	DFW_EVENT_DROP = 5,	      /* a drop for another reason than a rule's; rate limited */
	DFW_EVENT_ADDRESS = 6,	      /* an address was learned: key.local, `mac` */
	DFW_EVENT_SEEN = 7, /* the VM of a held port sends: it runs here; at most ten a second */
};

/* One record of the ring buffer `events`. What does not fit there is counted in `event_losses`. */
struct dfw_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u32 slot;    /* of the port */
	__u32 rule;    /* stable id, 0 when no rule was asked */
	__u32 generation;
	__u32 suppressed; /* DFW_EVENT_DROP: drops since the last such event that had none of their own */
	__u16 ethertype; /* host byte order; key is valid when it is IPv4 or IPv6 */
	__u8 type;	 /* enum dfw_event_type */
	__u8 direction;	 /* enum dfw_direction of the packet */
	__u8 action;	 /* enum dfw_action: the verdict */
	__u8 reason;	 /* enum dfw_reason */
	__u8 state;	 /* enum dfw_flow_state */
	__u8 initiator;	 /* enum dfw_direction of who began the flow */
	__u8 mac[6];	 /* source MAC of the packet */
	__u8 tcp_flags;
	__u8 zero;
	struct dfw_flow_key key;
	__u64 packets[DFW_LEGS];
	__u64 bytes[DFW_LEGS];
};
DFW_ASSERT_SIZE(struct dfw_event, 112);

#endif
