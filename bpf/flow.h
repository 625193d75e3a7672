/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_FLOW_H
#define DFW_BPF_FLOW_H

#include "change.h"
#include "guard.h"
#include "sctp.h"
#include "tcp.h"
#include "verdict.h"

/*
 * The flow table of a port.
 *
 * A flow begins in `half_open`, a small LRU map, and moves to `flows` when it is confirmed: when whoever began it has
 * shown that it hears the answers. So a flood of first packets, even one whose every packet the VM answers, evicts
 * half-open flows only. What is in `flows` leaves it by expiry, by its end, or by a decision; never for room.
 *
 * Invariants:
 *   - A flow's words change only while its `lock` is held, but for `generation` of a stale flow (DFW_SWEEP_STALE).
 *   - DEAD is final: who finds it under the lock looks the key up again. It is set before the entry leaves its map.
 *   - Moving: the lock of the half-open entry is held from before the copy is visible in `flows` until the entry is
 *     DEAD, so no update is lost and no packet finds neither.
 *   - An expired flow never matches; who meets it removes it.
 */

#define ERRNO_FULL   (-7)  /* -E2BIG: what the kernel's hash says when max_entries is reached */
#define ERRNO_EXISTS (-17) /* -EEXIST */

/* Was the flow decided by what is in force? */
static __always_inline bool flow_stamped(const struct packet *p, const struct dfw_flow *flow)
{
	return flow->generation == p->generation && flow->revision == p->revision;
}

static __always_inline void flow_stamp(const struct packet *p, struct dfw_flow *flow)
{
	flow->generation = p->generation;
	flow->revision = p->revision;
}

#define LOCK_TRIES 4096

/* The lock is free, but for two CPUs with packets of one flow: then it is so in some 50 ns. */
DFW_STAGE int flow_lock_contended(struct dfw_flow *flow)
{
	if (!flow)
		return 0;
	for (int i = 0; i < LOCK_TRIES; i++)
		if (__sync_val_compare_and_swap(&flow->lock, 0, 1) == 0)
			return 1;
	return 0;
}

static __always_inline bool flow_lock(struct dfw_flow *flow)
{
	return __sync_val_compare_and_swap(&flow->lock, 0, 1) == 0 || flow_lock_contended(flow);
}

static __always_inline void flow_unlock(struct dfw_flow *flow)
{
	__sync_lock_test_and_set(&flow->lock, 0);
}

static __always_inline bool flow_expired(const struct dfw_port_config *config,
					 const struct dfw_flow *flow, __u64 now_ns)
{
	__u32 state = flow->state;

	/* The clock is coarse: what another CPU has just seen may lie ahead. */
	return state == DFW_FLOW_DEAD || state >= DFW_FLOW_STATES ||
	       (__s64)(now_ns - flow->last_seen_ns) > (__s64)config->profile.timeouts_ns[state];
}

static __always_inline struct dfw_flow *flow_lookup(struct packet *p, bool half_opened)
{
	void *inner = half_opened ? port_map(&half_open, p) : port_map(&flows, p);

	return inner ? port_map_find(inner, p) : NULL;
}

/* The live flow of p->key, or NULL; p->flags tells where it lies, or that something dead does. */
static __always_inline struct dfw_flow *flow_find(struct packet *p,
						  const struct dfw_port_config *config)
{
	void *inner = port_map(&flows, p);
	struct dfw_flow *flow = inner ? port_map_find(inner, p) : NULL;

	p->flags &= ~(PACKET_HALF_OPEN | PACKET_STALE);
	if (flow) {
		if (!flow_expired(config, flow, p->now_ns))
			return flow;
		p->flags |= PACKET_STALE;
		return NULL;
	}
	inner = port_map(&half_open, p);
	flow = inner ? port_map_find(inner, p) : NULL;
	if (!flow || flow_expired(config, flow, p->now_ns))
		return NULL;
	p->flags |= PACKET_HALF_OPEN;
	return flow;
}

static __always_inline struct dfw_limit *rule_limit(struct packet *p, __u32 rule, bool per_source)
{
	struct dfw_limit_key key = {.slot = p->slot, .rule = rule};
	struct dfw_limit fresh = {}, *limit;

	if (per_source)
		key.source = *packet_source(p);
	limit = bpf_map_lookup_elem(&limits, &key);
	if (limit)
		return limit;
	bpf_map_update_elem(&limits, &key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&limits, &key);
}

/* The number of live flows of a rule; `make`: begun where there is none. */
static __always_inline __s64 *rule_flows_of(struct packet *p, __u32 rule, bool make)
{
	struct dfw_rule_flows_key key = {.slot = p->slot, .rule = rule};
	__s64 *number = bpf_map_lookup_elem(&rule_flows, &key), none = 0;

	if (number || !make)
		return number;
	bpf_map_update_elem(&rule_flows, &key, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&rule_flows, &key);
}

/* Takes a confirmed flow into the number of its rule, or out of it. */
static __always_inline void count_flow(struct packet *p, struct dfw_flow *flow)
{
	__s64 *number = rule_flows_of(p, flow->rule, false);

	if (!number)
		return;
	flow->flags |= DFW_FLOW_COUNTED;
	__sync_fetch_and_add(number, 1);
}

static __always_inline void uncount_flow(struct packet *p, struct dfw_flow *flow)
{
	bool counted = flow->flags & DFW_FLOW_COUNTED;
	__s64 *number = counted ? rule_flows_of(p, flow->rule, false) : NULL;

	flow->flags &= ~DFW_FLOW_COUNTED;
	if (number)
		__sync_fetch_and_add(number, -1);
}

/* Keeps the number of the port's confirmed flows. */
static __always_inline void port_flows_add(struct packet *p, __s64 change)
{
	struct dfw_port_state *state = port_state(p->slot);

	if (state)
		__sync_fetch_and_add(&state->flows, change);
}

/* A confirmed flow has ended: it is DEAD, its lock is held. */
static __always_inline void flow_leaves(struct packet *p, struct dfw_flow *flow, __u32 kind)
{
	port_flows_add(p, -1);
	uncount_flow(p, flow);
	if (p->flags & PACKET_WATCHED)
		change_tell(&p->key, p->slot, kind);
}

/* Ends the flow of p->key that lies in `flows` (or, `half_opened`, there): DEAD first, so that no packet that holds it
 * goes on with it. */
DFW_STAGE int flow_remove(struct packet *p, bool half_opened, __u32 reason)
{
	__u32 kind = reason == DFW_REASON_FLOW_KILLED ? DFW_CHANGE_KILLED : DFW_CHANGE_STATE;
	struct dfw_flow *flow;
	void *inner;

	if (!p)
		return 0;
	flow = flow_lookup(p, half_opened);
	if (!flow || !flow_lock(flow))
		return 0;
	if (flow->state != DFW_FLOW_DEAD) {
		event_packet(p, DFW_EVENT_FLOW_CLOSED, reason, flow);
		flow->state = DFW_FLOW_DEAD;
		if (!half_opened)
			flow_leaves(p, flow, kind);
		else if (p->flags & PACKET_WATCHED && p->flags & PACKET_SHARED)
			change_tell(&p->key, p->slot, kind);
	}
	flow_unlock(flow);
	inner = half_opened ? port_map(&half_open, p) : port_map(&flows, p);
	if (inner)
		port_map_remove(inner, p);
	return 1;
}

struct sweep {
	struct packet *packet;
	struct dfw_port_config *config;
	__u32 op; /* enum dfw_sweep_op */
	__u32 removed;
};

static long sweep_flow(void *map, const void *key, void *value, void *data)
{
	struct dfw_flow *flow = value;
	struct sweep *sweep = data;

	if (sweep->op == DFW_SWEEP_STALE) {
		flow->generation = 0;
		return 0;
	}
	if (!flow_expired(sweep->config, flow, sweep->packet->now_ns))
		return 0;
	/* Not flow_lock: who holds it has a packet of the flow in hand, so it lives. */
	if (__sync_val_compare_and_swap(&flow->lock, 0, 1) != 0)
		return 0;
	if (flow_expired(sweep->config, flow, sweep->packet->now_ns)) {
		if (flow->state != DFW_FLOW_DEAD) {
			__builtin_memcpy(&sweep->packet->key, key, sizeof(sweep->packet->key));
			event_packet(sweep->packet, DFW_EVENT_FLOW_CLOSED, DFW_REASON_PASSED, flow);
			flow->state = DFW_FLOW_DEAD;
			flow_leaves(sweep->packet, flow, DFW_CHANGE_STATE);
		}
		sweep->removed++;
		flow_unlock(flow);
		bpf_map_delete_elem(map, key);
		return 0;
	}
	flow_unlock(flow);
	return 0;
}

/* Removes what has expired from the port's confirmed flows (or forgets their generation). Returns how many it removed.
 * Changes p->key. */
DFW_STAGE int flow_sweep(struct packet *p, __u32 op)
{
	struct sweep sweep = {.op = op};
	void *inner;

	if (!p)
		return 0;
	sweep.packet = p;
	sweep.config = port_config(p->slot, p->bank);
	inner = port_map(&flows, p);
	if (!inner || !sweep.config)
		return 0;
	bpf_for_each_map_elem(inner, sweep_flow, &sweep, 0);
	return sweep.removed;
}

#endif
