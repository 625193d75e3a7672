/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_COLLECT_H
#define DFW_BPF_COLLECT_H

#include "flow.h"

/* The other half of the log of changes: flows as they are, each at one moment, see <dfw/change.h>. */

struct collecting {
	struct dfw_collect_request request;
	__u32 found;
};

static long collect_one(__u64 index, void *data)
{
	struct collecting *collecting = data;
	__u32 slot = collecting->request.slot, place = index;
	struct dfw_collected *one = bpf_map_lookup_elem(&collected, &place);
	struct dfw_flow_key key;
	struct dfw_flow *flow;
	void *inner;

	if (!one)
		return 1;
	one->result = DFW_COLLECT_GONE;
	inner = collecting->request.half_open ? bpf_map_lookup_elem(&half_open, &slot)
					      : bpf_map_lookup_elem(&flows, &slot);
	key = one->key;
	flow = inner ? bpf_map_lookup_elem(inner, &key) : NULL;
	if (!flow)
		return 0;
	if (!flow_lock(flow)) {
		one->result = DFW_COLLECT_BUSY;
		return 0;
	}
	if (flow->state != DFW_FLOW_DEAD) {
		flow->flags &= ~(DFW_FLOW_TOUCHED | DFW_FLOW_CHANGED);
		__builtin_memcpy(&one->flow, flow, sizeof(one->flow));
		one->result = DFW_COLLECT_FOUND;
		collecting->found++;
	}
	flow_unlock(flow);
	return 0;
}

static __always_inline int collect(const struct dfw_collect_request *request)
{
	struct collecting collecting = {.request = *request};
	__u32 nr = request->nr < DFW_COLLECT_MAX ? request->nr : DFW_COLLECT_MAX;

	bpf_loop(nr, collect_one, &collecting, 0);
	return collecting.found;
}

#endif
