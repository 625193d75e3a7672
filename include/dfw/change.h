/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_CHANGE_H
#define DFW_CHANGE_H

#include <dfw/flow.h>
#include <dfw/types.h>

/*
 * How user space learns of a port's flows, for whoever keeps a copy of them.
 *
 * While a port is watched (DFW_PORT_WATCHED) the first change of a flow since it was last collected sets a flag in the flow
 * and puts its key into the ring buffer `changes`; further changes find the flag and cost nothing. The reader gathers keys
 * and has them collected: the program `collect` copies each flow as it is, under its lock, and takes the flags away. So
 * whatever changes later comes again, and at any moment what the reader lacks are the keys that it has not collected.
 * A key says that something happened to it, not what: a flow that is gone is not found.
 */

enum dfw_change_kind {
	DFW_CHANGE_TOUCHED =
		0, /* packets passed: windows, counters and the time of the last packet */
	DFW_CHANGE_STATE = 1, /* it was confirmed, changed its state, or is gone */
};

/* One record of `changes`. What does not fit there is counted in `change_losses`: look at every flow then. */
struct dfw_change {
	__u32 slot; /* of the port */
	__u32 kind; /* enum dfw_change_kind */
	struct dfw_flow_key key;
};
DFW_ASSERT_SIZE(struct dfw_change, 48);

#define DFW_CHANGES_BYTES (4U << 20)

enum dfw_collect_result {
	DFW_COLLECT_GONE = 0, /* no such flow, or it has ended */
	DFW_COLLECT_FOUND = 1,
	DFW_COLLECT_BUSY = 2, /* held by another CPU all the time: ask again */
};

/* What is collected: user space, which has mapped the array `collected`, fills in keys and reads the rest when the
 * program has run. */
struct dfw_collected {
	struct dfw_flow_key key;
	__u32 result; /* enum dfw_collect_result */
	__u32 zero;
	struct dfw_flow flow;
};
DFW_ASSERT_SIZE(struct dfw_collected, 48 + sizeof(struct dfw_flow));

#define DFW_COLLECT_MAX 1024

/* What `collect` is run for, by BPF_PROG_RUN with this struct as the packet's first bytes. It returns the number of flows
 * that it found. One reader at a time. */
struct dfw_collect_request {
	__u32 slot;
	__u32 nr;	 /* of `collected`, from the first on */
	__u32 half_open; /* look among the half-open flows */
	__u32 zero;
};
DFW_ASSERT_SIZE(struct dfw_collect_request, 16);

#endif
