/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_GRAVE_H
#define DFW_GRAVE_H

#include <dfw/flow.h>
#include <dfw/types.h>

/*
 * What was ended by command in ports of share groups, whether or not anybody hears of it: another member may tell of it for
 * long yet, and would bring it back (law H4 in docs/sync-design.md). The map `graves` outlives every process. It says up to
 * which life the flows of a key are buried; a flow that begins there gets the next one, in its `life`, and what is put into
 * the port from outside has to be above it. The oldest gives way.
 */
struct dfw_grave_key {
	__u8 port[16]; /* its uuid */
	__u64 epoch;   /* in which it was in force there */
	struct dfw_flow_key flow;
};
DFW_ASSERT_SIZE(struct dfw_grave_key, 64);

struct dfw_grave {
	__u64 dug_ns; /* when it got this life, CLOCK_MONOTONIC */
	__u32 life;
	__u32 zero;
};
DFW_ASSERT_SIZE(struct dfw_grave, 16);

#define DFW_MAX_GRAVES 65536 /* as many as a port of the default profile has flows */

/* By then no member tells of it any more. */
#define DFW_GRAVE_SECONDS 600

#endif
