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
 * and has them collected (see <dfw/exchange.h>), which copies each flow as it is and takes the flags away. So whatever
 * changes later comes again, and at any moment what the reader lacks are the keys that it has not collected.
 * A key says that something happened to it, not what: a flow that is gone is not found.
 * Half-open flows are told of by ports of a share group only.
 */

enum dfw_change_kind {
	DFW_CHANGE_TOUCHED = 0, /* packets passed: windows, counters, the time of the last one */
	DFW_CHANGE_STATE = 1,	/* it was confirmed, changed its state, or is gone */
	DFW_CHANGE_KILLED = 2,	/* it was ended by command */
};

/* One record of `changes`. What does not fit there is counted in `change_losses`: look at every flow then. */
struct dfw_change {
	__u32 slot; /* of the port */
	__u32 kind; /* enum dfw_change_kind */
	struct dfw_flow_key key;
	__u32 life; /* the flow's, when it was ended */
	__u32 zero;
};
DFW_ASSERT_SIZE(struct dfw_change, 56);

#define DFW_CHANGES_BYTES (4U << 20)

#endif
