/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_EXCHANGE_H
#define DFW_BPF_EXCHANGE_H

#include <dfw/exchange.h>

#include <dfw/merge.h>

#include "flow.h"

/* What the program `exchange` does, see <dfw/exchange.h>. */

/* User space could change what it has put into a place while it is looked at: what is put is a copy. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dfw_flow);
} exchange_copies SEC(".maps");

struct exchanging {
	__u32 slot;
	__u32 bank;
	__u32 done;
	__s32 flows; /* confirmed ones more */
};

static __always_inline void *exchange_map(const struct exchanging *exchanging, bool half_opened)
{
	__u32 slot = exchanging->slot;

	return half_opened ? bpf_map_lookup_elem(&half_open, &slot)
			   : bpf_map_lookup_elem(&flows, &slot);
}

DFW_STAGE int exchange_collect(struct dfw_exchange *one, struct dfw_flow *flow)
{
	if (!one || !flow)
		return DFW_EXCHANGE_NONE;
	if (!flow_lock(flow))
		return DFW_EXCHANGE_BUSY;
	if (flow->state == DFW_FLOW_DEAD) {
		flow_unlock(flow);
		return DFW_EXCHANGE_NONE;
	}
	flow->flags &= ~(DFW_FLOW_TOUCHED | DFW_FLOW_CHANGED);
	__builtin_memcpy(&one->flow, flow, sizeof(one->flow));
	flow_unlock(flow);
	return DFW_EXCHANGE_DONE;
}

/* May a flow of that key be the port's? What has come to a group has the group's address. */
static __always_inline bool exchange_belongs(const struct dfw_port_config *config,
					     const struct dfw_addr *local)
{
	return !guards_addresses(config) || port_owns(config, local) || addr_multicast(local) ||
	       addr_broadcast(local);
}

/* A flow without what only this host can say: its verdict, and its place in the host's numbers. */
static __always_inline void exchange_copy(struct dfw_flow *flow, const struct dfw_flow *from)
{
	__builtin_memcpy(flow, from, sizeof(*flow));
	flow->lock = 0;
	flow->generation = 0;
	flow->revision = 0;
	flow->on_change = DFW_ON_CHANGE_REVALIDATE;
	flow->rule_slot = NO_RULE_SLOT;
	flow->flags = 0;
	flow->initiator &= 1;
}

/* Writes over a flow that is there, which nobody but the sweep looks at while the port is held. False: it has ended. */
static __always_inline bool exchange_overwrite(struct dfw_flow *there, struct dfw_flow *flow)
{
	bool alive;

	if (!flow_lock(there))
		return false;
	alive = there->state != DFW_FLOW_DEAD;
	if (alive) {
		flow->lock = 1;
		__builtin_memcpy(there, flow, sizeof(*there));
		flow->lock = 0;
	}
	flow_unlock(there);
	return alive;
}

static __always_inline int exchange_put(struct exchanging *exchanging, void *inner,
					const struct dfw_flow_key *key, bool half_opened,
					const struct dfw_exchange *one)
{
	__u32 zero = 0;
	struct dfw_flow *flow = bpf_map_lookup_elem(&exchange_copies, &zero), *there;
	long r;

	if (!flow)
		return DFW_EXCHANGE_REFUSED;
	exchange_copy(flow, &one->flow);
	if (flow->state == DFW_FLOW_DEAD || flow->state >= DFW_FLOW_STATES)
		return DFW_EXCHANGE_REFUSED;
	there = bpf_map_lookup_elem(inner, key);
	if (there && exchange_overwrite(there, flow))
		return DFW_EXCHANGE_DONE;
	r = bpf_map_update_elem(inner, key, flow, BPF_NOEXIST);
	if (r == 0 && !half_opened)
		exchanging->flows++;
	if (r == ERRNO_EXISTS)
		r = bpf_map_update_elem(inner, key, flow, BPF_EXIST);
	if (r == 0)
		return DFW_EXCHANGE_DONE;
	return r == ERRNO_FULL ? DFW_EXCHANGE_FULL : DFW_EXCHANGE_NO_MEMORY;
}

/* ---- Share groups: a flow that packets use, and of which another member knows more ------------------------------- */

/* Puts what `with` knows more into the flow. BUSY: ask again; NONE: it has ended. */
DFW_STAGE int exchange_join(struct dfw_flow *flow, const struct dfw_flow *with, __u32 protocol)
{
	int result = DFW_EXCHANGE_NONE;

	if (!flow || !with)
		return result;
	if (!flow_lock(flow))
		return DFW_EXCHANGE_BUSY;
	if (flow->state != DFW_FLOW_DEAD) {
		dfw_flow_merge(flow, with, protocol);
		if ((__s64)(with->last_seen_ns - flow->last_seen_ns) > 0)
			flow->last_seen_ns = with->last_seen_ns;
		result = DFW_EXCHANGE_DONE;
	}
	flow_unlock(flow);
	return result;
}

/* Another member has seen who confirms the flow that lies among the half-open here: it moves, as by flow_confirm. `flow`
 * becomes what both know. */
static __always_inline int exchange_confirm(struct exchanging *exchanging, void *inner, void *young,
					    const struct dfw_flow_key *key, struct dfw_flow *flow,
					    struct dfw_flow *here)
{
	long r;

	if (!flow_lock(here))
		return DFW_EXCHANGE_BUSY;
	if (here->state != DFW_FLOW_DEAD) {
		dfw_flow_merge(flow, here, key->protocol);
		flow->created_cs = here->created_cs;
	}
	r = bpf_map_update_elem(inner, key, flow, BPF_NOEXIST);
	if (r == 0 || r == ERRNO_EXISTS)
		here->state = DFW_FLOW_DEAD;
	flow_unlock(here);
	if (r != 0)
		return r == ERRNO_FULL ? DFW_EXCHANGE_FULL : DFW_EXCHANGE_BUSY;
	bpf_map_delete_elem(young, key);
	exchanging->flows++;
	return DFW_EXCHANGE_DONE;
}

static __always_inline int exchange_share(struct exchanging *exchanging,
					  const struct dfw_flow_key *key, bool half_opened,
					  const struct dfw_exchange *one, bool make)
{
	void *inner = exchange_map(exchanging, false), *young = exchange_map(exchanging, true);
	__u32 zero = 0;
	struct dfw_flow *flow = bpf_map_lookup_elem(&exchange_copies, &zero), *here;
	long r;

	if (!flow || !inner || !young)
		return DFW_EXCHANGE_REFUSED;
	exchange_copy(flow, &one->flow);
	if (flow->state == DFW_FLOW_DEAD || flow->state >= DFW_FLOW_STATES)
		return DFW_EXCHANGE_REFUSED;
	here = bpf_map_lookup_elem(inner, key);
	if (here) {
		r = exchange_join(here, flow, key->protocol);
		return r == DFW_EXCHANGE_NONE ? DFW_EXCHANGE_BUSY : r;
	}
	here = bpf_map_lookup_elem(young, key);
	if (here && !half_opened)
		return exchange_confirm(exchanging, inner, young, key, flow, here);
	if (here) {
		r = exchange_join(here, flow, key->protocol);
		return r == DFW_EXCHANGE_NONE ? DFW_EXCHANGE_BUSY : r;
	}
	if (!make)
		return DFW_EXCHANGE_NONE;
	r = bpf_map_update_elem(half_opened ? young : inner, key, flow, BPF_NOEXIST);
	if (r == 0 && !half_opened)
		exchanging->flows++;
	if (r == 0)
		return DFW_EXCHANGE_DONE;
	return r == ERRNO_FULL	   ? DFW_EXCHANGE_FULL
	       : r == ERRNO_EXISTS ? DFW_EXCHANGE_BUSY
				   : DFW_EXCHANGE_NO_MEMORY;
}

static __always_inline int exchange_remove(struct exchanging *exchanging, void *inner,
					   const struct dfw_flow_key *key, bool half_opened,
					   struct dfw_flow *flow)
{
	struct dfw_rule_flows_key of_rule = {.slot = exchanging->slot};
	bool counted;
	__s64 *number;

	if (!flow_lock(flow))
		return DFW_EXCHANGE_BUSY;
	of_rule.rule = flow->rule;
	counted = flow->flags & DFW_FLOW_COUNTED;
	flow->flags = 0;
	flow->state = DFW_FLOW_DEAD;
	flow_unlock(flow);
	if (bpf_map_delete_elem(inner, key) != 0)
		return DFW_EXCHANGE_NONE;
	number = counted ? bpf_map_lookup_elem(&rule_flows, &of_rule) : NULL;
	if (number)
		__sync_fetch_and_add(number, -1);
	if (!half_opened)
		exchanging->flows--;
	return DFW_EXCHANGE_DONE;
}

static long exchange_one(__u64 index, void *data)
{
	struct exchanging *exchanging = data;
	__u32 place = index;
	struct dfw_exchange *one = bpf_map_lookup_elem(&exchange, &place);
	struct dfw_port_config *config;
	struct dfw_flow *flow = NULL;
	struct dfw_flow_key key;
	bool half_opened, held;
	void *inner;
	__u32 op;

	if (!one)
		return 1;
	one->result = DFW_EXCHANGE_NONE;
	key = one->key;
	op = one->op;
	half_opened = one->half_open;
	inner = exchange_map(exchanging, half_opened);
	if (!inner)
		return 0;
	if (op == DFW_EXCHANGE_COLLECT || op == DFW_EXCHANGE_REMOVE)
		flow = bpf_map_lookup_elem(inner, &key);
	if (op == DFW_EXCHANGE_COLLECT && !flow) {
		inner = exchange_map(exchanging, true);
		flow = inner ? bpf_map_lookup_elem(inner, &key) : NULL;
		one->half_open = 1;
	}
	if ((op == DFW_EXCHANGE_COLLECT || op == DFW_EXCHANGE_REMOVE) && !flow)
		return 0;
	if (op == DFW_EXCHANGE_COLLECT) {
		one->result = exchange_collect(one, flow);
		exchanging->done += one->result == DFW_EXCHANGE_DONE;
		return 0;
	}
	config = port_config(exchanging->slot, exchanging->bank);
	held = config && config->flags & DFW_PORT_HELD;
	if (!config || !(held || config->flags & DFW_PORT_SHARED) ||
	    !exchange_belongs(config, &key.local))
		one->result = DFW_EXCHANGE_REFUSED;
	else if (!held && (op == DFW_EXCHANGE_PUT || op == DFW_EXCHANGE_JOIN))
		one->result =
			exchange_share(exchanging, &key, half_opened, one, op == DFW_EXCHANGE_PUT);
	else if (op == DFW_EXCHANGE_PUT || op == DFW_EXCHANGE_JOIN)
		one->result = exchange_put(exchanging, inner, &key, half_opened, one);
	else if (op == DFW_EXCHANGE_REMOVE && flow)
		one->result = exchange_remove(exchanging, inner, &key, half_opened, flow);
	exchanging->done += one->result == DFW_EXCHANGE_DONE;
	return 0;
}

static __always_inline int exchange_all(const struct dfw_exchange_request *request, __u32 bank)
{
	struct exchanging exchanging = {.slot = request->slot, .bank = bank};
	__u32 nr = request->nr < DFW_EXCHANGE_MAX ? request->nr : DFW_EXCHANGE_MAX;
	struct dfw_port_state *state;

	bpf_loop(nr, exchange_one, &exchanging, 0);
	state = exchanging.flows ? port_state(request->slot) : NULL;
	if (state)
		__sync_fetch_and_add(&state->flows, exchanging.flows);
	return exchanging.done;
}

#endif
