/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_EXCHANGE_H
#define DFW_EXCHANGE_H

#include <dfw/flow.h>
#include <dfw/types.h>

/*
 * Flows on their way between a port's maps and whoever keeps copies of them. User space has mapped the array `exchange`,
 * fills in places and has the program of that name run, which does them in order. The holder of the two descriptors needs
 * no capability, and can do no more than this:
 *
 *	collect	copies a flow as it is at one moment, under its lock, and takes its marks away (see <dfw/change.h>)
 *	put	makes a flow, or replaces it; only in a port that is held, only one that contains an address of the port,
 *		and without a verdict: the policy in force decides it anew with its next packet. In a port of a share group
 *		that is not held, what is put is put together with what is there (see <dfw/merge.h>), unless its life is
 *		buried (see <dfw/grave.h>)
 *	join	the same in a port of a share group, but only with what is there: a flow that has ended stays so. What is there
 *		takes over the life, if that is higher
 *	remove	takes a flow out of a port that is held, or of a share group, where a flow of a higher life stays. `killed`:
 *		it is buried, whether it is there or not
 */

enum dfw_exchange_op {
	DFW_EXCHANGE_COLLECT = 0,
	DFW_EXCHANGE_PUT = 1,
	DFW_EXCHANGE_REMOVE = 2,
	DFW_EXCHANGE_JOIN = 3,
};

enum dfw_exchange_result {
	DFW_EXCHANGE_NONE = 0, /* there is no such flow, or it has ended */
	DFW_EXCHANGE_DONE = 1,
	DFW_EXCHANGE_BUSY = 2,	    /* another CPU holds it all the time: ask again */
	DFW_EXCHANGE_FULL = 3,	    /* the port's quota */
	DFW_EXCHANGE_NO_MEMORY = 4, /* now; ask again */
	DFW_EXCHANGE_REFUSED = 5,   /* the port may not be written to, or the flow is none of it */
};

struct dfw_exchange {
	struct dfw_flow_key key;
	__u8 op;	/* enum dfw_exchange_op */
	__u8 half_open; /* among the half-open flows; collect looks there too, and says where it was */
	__u8 result;	/* enum dfw_exchange_result */
	__u8 killed;	/* of what is to be removed: by command, on any member */
	__u8 zero[4];
	struct dfw_flow flow;
};
DFW_ASSERT_SIZE(struct dfw_exchange, 48 + sizeof(struct dfw_flow));

#define DFW_EXCHANGE_MAX 1024

/* What the program is run for, by BPF_PROG_RUN with this struct as the packet's first bytes. It returns how many were
 * done. One user at a time. */
struct dfw_exchange_request {
	__u32 slot; /* of the port */
	__u32 nr;   /* of `exchange`, from the first on */
};
DFW_ASSERT_SIZE(struct dfw_exchange_request, 8);

#endif
