/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_FLOW_H
#define DFW_BPF_FLOW_H

#include "change.h"
#include "grave.h"
#include "guard.h"
#include "sctp.h"
#include "table.h"
#include "tcp.h"
#include "verdict.h"

/*
 * The flows of a port.
 *
 * A flow begins in the table `half_open`, where it may have to give way to newer ones, and moves to `flows` when it is
 * confirmed: when whoever began it has shown that it hears the answers. So a flood of first packets, even one whose every
 * packet the VM answers, pushes out half-open flows only. What is in `flows` leaves it by expiry, by its end, or by a
 * decision; never for room: a flow that finds its page full lies in the hash `more_flows` instead, and the page counts
 * it, so that nobody looks there without need.
 *
 * Invariants, beside those of table.h:
 *   - A flow's words change only while its `lock` is held, but for `generation` of a stale flow (DFW_SWEEP_STALE).
 *   - DEAD is final: who finds it under the lock looks the key up again. It is set before the entry leaves its place.
 *   - Moving: the lock of the half-open entry is held from before the copy is visible in `flows` until the entry is
 *     DEAD, so no update is lost and no packet finds neither.
 *   - Who waits for a lock holds at most such as come before it: half-open entry, page, confirmed entry.
 *   - An expired flow never matches; who meets it removes it.
 *   - Beside a confirmed flow may lie a half-open one of the same key, of a SYN that nobody has answered: the confirmed one is
 *     the flow, until it gives way (flow_give_way).
 */

#define ERRNO_FULL   (-7)  /* -E2BIG: what the kernel's hash says when max_entries is reached */
#define ERRNO_EXISTS (-17) /* -EEXIST */
#define ERRNO_BUSY   (-16) /* -EBUSY */

enum track_result {
	TRACK_RETRY = -2,   /* the entry died meanwhile: look again */
	TRACK_RESTART = -3, /* a new flow under an old key */
	TRACK_FULL = -4,    /* the flow is confirmed, but the port's quota is full */
	TRACK_CONFIRM =
		-5, /* the packet confirms its flow: flow_confirm takes over, with the lock */
};

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

/* Locks the flow of an entry that was found for this key. PASSED: it is still that flow, and alive; else it is not locked:
 * TRACK_RETRY, or a reason to drop. */
static __always_inline int flow_hold(struct dfw_flow_entry *entry, const struct dfw_flow_key *key)
{
	if (!lock_take(&entry->flow.lock))
		return DFW_REASON_FLOW_BUSY;
	if (entry->flow.state != DFW_FLOW_DEAD && flow_key_equal(&entry->key, key))
		return STAGE_PASS;
	lock_free(&entry->flow.lock);
	return TRACK_RETRY;
}

/* Asks for the cache lines of the entry that are read under its lock, so that they come at the same time: no processor reads
 * on past a locked instruction that waits for one. */
static __always_inline void flow_expect(const struct dfw_flow_entry *entry)
{
	(void)*(const volatile __u64 *)&entry->key;
	(void)*(const volatile __u64 *)&entry->flow.legs[DFW_ORIG];
}

static __always_inline void flow_unlock(struct dfw_flow_entry *entry)
{
	lock_free(&entry->flow.lock);
}

static __always_inline bool flow_expired(const struct dfw_port_config *config,
					 const struct dfw_flow *flow, __u64 now_ns)
{
	__u32 state = flow->state;

	/* The clock is coarse: what another CPU has just seen may lie ahead. */
	return state == DFW_FLOW_DEAD || state >= DFW_FLOW_STATES ||
	       (__s64)(now_ns - flow->last_seen_ns) > (__s64)config->profile.timeouts_ns[state];
}

/* ---- Where flows lie --------------------------------------------------------------------------------------------- */

static __always_inline struct bucket flow_bucket(__u32 slot, __u64 hash, bool half_opened)
{
	void *table = half_opened ? bpf_map_lookup_elem(&half_open, &slot)
				  : bpf_map_lookup_elem(&flows, &slot);

	return table ? table_bucket(table, hash) : (struct bucket){};
}

/* Where the key is on the stack. */
static __always_inline struct dfw_flow_entry *more_flows_at(__u32 slot,
							    const struct dfw_flow_key *key)
{
	void *inner = bpf_map_lookup_elem(&more_flows, &slot);

	return inner ? bpf_map_lookup_elem(inner, key) : NULL;
}

static __always_inline struct dfw_flow_entry *more_flows_find(__u32 slot,
							      const struct dfw_flow_key *key)
{
	struct dfw_flow_key copy = *key;

	return more_flows_at(slot, &copy);
}

/* Brings the first line of a half-open flow's page near, without waiting for it. */
static __always_inline void flow_approach(__u32 slot, __u64 hash)
{
	struct bucket bucket = flow_bucket(slot, hash, true);

	if (bucket.page)
		(void)*(volatile __u64 *)bucket.tags;
}

/* The live entry of a confirmed flow's key, wherever it lies: for the few that are not found otherwise. */
static __noinline struct dfw_flow_entry *flow_find_stray(__u32 slot, struct dfw_flow_page *page,
							 const struct dfw_flow_key *key, __u64 hash)
{
	struct dfw_flow_entry *entry = page_search(page, key, hash);

	return entry || !*(volatile __u32 *)&page->elsewhere ? entry : more_flows_find(slot, key);
}

/* The entry of the key, as far as can be told without its lock. */
static __always_inline struct dfw_flow_entry *flow_search(__u32 slot,
							  const struct dfw_flow_key *key,
							  __u64 hash, bool half_opened)
{
	struct bucket bucket = flow_bucket(slot, hash, half_opened);
	struct dfw_flow_entry *entry = bucket.page ? bucket_find(bucket, key, hash, false) : NULL;

	if (entry || !bucket.page || half_opened || likely(!bucket_has_strays(bucket)))
		return entry;
	return flow_find_stray(slot, bucket.page, key, hash);
}

/* The entry of a confirmed flow's key, for who locks it and compares its key, and else looks again: it may be one that is
 * alike. `bucket`: of the key. */
static __always_inline struct dfw_flow_entry *flow_guess(struct bucket bucket, __u32 slot,
							 const struct dfw_flow_key *key, __u64 hash)
{
	struct dfw_flow_entry *entry = bucket_guess(bucket, key, hash);

	if (likely(entry) || likely(!bucket_may_know(bucket, hash)))
		return entry;
	return flow_find_stray(slot, bucket.page, key, hash);
}

static __always_inline void more_flows_count(struct bucket bucket, int change)
{
	bucket_count_stray(bucket, change);
	__sync_fetch_and_add(&bucket.page->elsewhere, change);
}

/* Takes the flow of that key, which is on the stack, out of `more_flows` if it is DEAD. The page's lock is held, so no
 * other comes there. */
static __always_inline void more_flows_bury(__u32 slot, struct bucket bucket,
					    const struct dfw_flow_key *key)
{
	void *inner = bpf_map_lookup_elem(&more_flows, &slot);
	struct dfw_flow_entry *entry = inner ? bpf_map_lookup_elem(inner, key) : NULL;

	if (entry && entry->flow.state == DFW_FLOW_DEAD && bpf_map_delete_elem(inner, key) == 0)
		more_flows_count(bucket, -1);
}

/* The same, after its end. What somebody is too busy for now, the next sweep does. */
static __always_inline void more_flows_forget(__u32 slot, struct bucket bucket,
					      const struct dfw_flow_key *key)
{
	if (!lock_take(&bucket.page->lock))
		return;
	more_flows_bury(slot, bucket, key);
	lock_free(&bucket.page->lock);
}

/* Puts a confirmed flow, of which neither its page, whose lock is held, nor `more_flows` has a live one, into the latter. */
static __always_inline int more_flows_put(__u32 slot, struct bucket bucket,
					  const struct dfw_flow_key *key,
					  const struct dfw_flow_entry *entry)
{
	void *inner = bpf_map_lookup_elem(&more_flows, &slot);
	int r;

	if (!inner)
		return ERRNO_FULL;
	/* First the number, or somebody might not look there. */
	more_flows_count(bucket, 1);
	r = bpf_map_update_elem(inner, key, entry, BPF_NOEXIST);
	if (r)
		more_flows_count(bucket, -1);
	/* One that is DEAD, and could not be buried. */
	return r == ERRNO_EXISTS ? ERRNO_BUSY : r;
}

/* Puts a confirmed flow, whose lock is free, into its place. 0; ERRNO_EXISTS: it was there and, with PUT_ANY, is replaced;
 * or another negative errno. */
static __always_inline int flow_put(__u32 slot, const struct dfw_flow_entry *entry, __u64 hash,
				    const enum put_how how)
{
	struct bucket bucket = flow_bucket(slot, hash, false);
	struct dfw_flow_key key = entry->key;
	struct dfw_flow_entry *more;
	int r;

	if (!bucket.page)
		return ERRNO_FULL;
	if (!lock_take(&bucket.page->lock))
		return ERRNO_BUSY;
	more = bucket.page->elsewhere ? more_flows_at(slot, &key) : NULL;
	if (more && more->flow.state == DFW_FLOW_DEAD) {
		more_flows_bury(slot, bucket, &key);
		more = NULL;
	}
	if (!more)
		r = bucket_put(bucket, &entry->key, hash, &entry->flow, how, false);
	else if (how == PUT_NEW)
		r = BUCKET_EXISTS;
	else
		r = bucket_replace(more, &entry->key, &entry->flow);
	switch (r) {
	case BUCKET_EXISTS:
		r = ERRNO_EXISTS;
		break;
	case BUCKET_BUSY:
		r = ERRNO_BUSY;
		break;
	case BUCKET_FULL:
		r = more_flows_put(slot, bucket, &key, entry);
		break;
	default:
		r = 0;
	}
	lock_free(&bucket.page->lock);
	return r;
}

/* Takes away the entry of a DEAD flow, and its lock. */
static __always_inline void flow_vanish(__u32 slot, struct dfw_flow_entry *entry, __u64 hash,
					bool half_opened)
{
	struct bucket bucket = flow_bucket(slot, hash, half_opened);
	bool elsewhere = bucket.page && !bucket_forget(bucket, entry);
	struct dfw_flow_key key = entry->key;

	flow_unlock(entry);
	if (elsewhere && !half_opened)
		more_flows_forget(slot, bucket, &key);
}

/* The live flow of p->key, or NULL; p->flags tells where it lies, or that something dead does. */
static __always_inline struct dfw_flow_entry *flow_find(struct packet *p,
							const struct dfw_port_config *config)
{
	struct dfw_flow_entry *entry;

	p->hash = flow_hash(&p->key);
	entry = flow_search(p->slot, &p->key, p->hash, false);
	p->flags &= ~(PACKET_HALF_OPEN | PACKET_STALE | PACKET_QUIET);
	if (entry) {
		if (!flow_expired(config, &entry->flow, p->now_ns))
			return entry;
		p->flags |= PACKET_STALE;
		return NULL;
	}
	entry = flow_search(p->slot, &p->key, p->hash, true);
	if (entry) {
		if (flow_expired(config, &entry->flow, p->now_ns))
			return NULL;
		p->flags |= PACKET_HALF_OPEN;
		return entry;
	}
	/* It may have been confirmed between the two looks. */
	entry = flow_search(p->slot, &p->key, p->hash, false);
	return entry && !flow_expired(config, &entry->flow, p->now_ns) ? entry : NULL;
}

/* ---- Numbers and ends -------------------------------------------------------------------------------------------- */

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
		change_tell(&p->key, p->slot, kind, flow->life);
}

/* Ends the flow of p->key that lies in `flows` (or, `half_opened`, there): DEAD first, so that no packet that holds it
 * goes on with it. 1; 0: there is none; ERRNO_BUSY: another CPU holds it all the time. */
DFW_STAGE int flow_remove(struct packet *p, bool half_opened, __u32 reason)
{
	struct dfw_flow_entry *entry;
	__u32 kind;
	int r;

	if (!p)
		return 0;
	p->hash = flow_hash(&p->key);
	entry = flow_search(p->slot, &p->key, p->hash, half_opened);
	if (!entry)
		return 0;
	r = flow_hold(entry, &p->key);
	if (r != STAGE_PASS)
		return r == TRACK_RETRY ? 0 : ERRNO_BUSY;
	event_flow(p, DFW_EVENT_FLOW_CLOSED, reason, &entry->flow);
	barrier_var(reason); /* or there are two of it on the stack, which is short */
	kind = reason == DFW_REASON_FLOW_KILLED ? DFW_CHANGE_KILLED : DFW_CHANGE_STATE;
	/* Before anybody can see that it has gone. */
	if (kind == DFW_CHANGE_KILLED && p->flags & PACKET_SHARED)
		grave_dig(port_config(p->slot, p->bank), &p->key, entry->flow.life, p->now_ns);
	entry->flow.state = DFW_FLOW_DEAD;
	if (!half_opened)
		flow_leaves(p, &entry->flow, kind);
	else if (p->flags & PACKET_WATCHED && p->flags & PACKET_SHARED)
		change_tell(&p->key, p->slot, kind, entry->flow.life);
	flow_vanish(p->slot, entry, p->hash, half_opened);
	return 1;
}

struct sweep {
	struct packet *packet;
	struct dfw_port_config *config;
	__u32 op; /* enum dfw_sweep_op */
	__u32 removed;
};

/* Ends the flow if it has expired. True: it has, and is locked still, to leave its place. */
static __always_inline bool sweep_entry(struct sweep *sweep, struct dfw_flow_entry *entry)
{
	struct dfw_flow *flow = &entry->flow;
	struct packet *p = sweep->packet;

	if (sweep->op == DFW_SWEEP_STALE) {
		flow->generation = 0;
		return false;
	}
	if (!flow_expired(sweep->config, flow, p->now_ns))
		return false;
	/* Not lock_take: who holds it has a packet of the flow in hand, so it lives. */
	if (!lock_try(&flow->lock))
		return false;
	if (flow->state == DFW_FLOW_DEAD || !flow_expired(sweep->config, flow, p->now_ns)) {
		flow_unlock(entry);
		return false;
	}
	p->key = entry->key;
	event_flow(p, DFW_EVENT_FLOW_CLOSED, DFW_REASON_PASSED, flow);
	flow->state = DFW_FLOW_DEAD;
	flow_leaves(p, flow, DFW_CHANGE_STATE);
	sweep->removed++;
	return true;
}

static __always_inline void sweep_bucket(struct sweep *sweep, void *table, struct bucket bucket)
{
	for (__u32 place = 0; place < DFW_BUCKET_ENTRIES; place++) {
		struct dfw_flow_entry *entry = &bucket.entries[place];
		__u32 home;

		if (!(*bucket.tags >> (place * 8) & 0xff) || !sweep_entry(sweep, entry))
			continue;
		home = dfw_flow_bucket_index(flow_hash(&entry->key), context_map_entries(table));
		bucket_hide(bucket, place);
		flow_unlock(entry);
		if (home % DFW_PAGE_BUCKETS != bucket.number)
			bucket_count_stray(page_bucket(bucket.page, home), -1);
	}
}

static long sweep_page(void *map, const void *key __attribute__((unused)), void *value, void *data)
{
	for (__u32 number = 0; number < DFW_PAGE_BUCKETS; number++)
		sweep_bucket(data, map, page_bucket(value, number));
	return 0;
}

static long sweep_more(void *map __attribute__((unused)), const void *key, void *value, void *data)
{
	struct dfw_flow_entry *entry = value;
	struct sweep *sweep = data;
	struct dfw_flow_key copy = *(const struct dfw_flow_key *)key;
	struct bucket bucket;

	if (sweep_entry(sweep, entry))
		flow_unlock(entry);
	if (entry->flow.state != DFW_FLOW_DEAD)
		return 0;
	bucket = flow_bucket(sweep->packet->slot, flow_hash(&copy), false);
	if (bucket.page)
		more_flows_forget(sweep->packet->slot, bucket, &copy);
	return 0;
}

/* Removes what has expired from the port's confirmed flows (or forgets their generation). Returns how many it removed.
 * Changes p->key. */
DFW_STAGE int flow_sweep(struct packet *p, __u32 op)
{
	struct sweep sweep = {.op = op};
	void *table, *more;

	if (!p)
		return 0;
	sweep.packet = p;
	sweep.config = port_config(p->slot, p->bank);
	table = port_map(&flows, p);
	more = port_map(&more_flows, p);
	if (!table || !more || !sweep.config)
		return 0;
	bpf_for_each_map_elem(table, sweep_page, &sweep, 0);
	bpf_for_each_map_elem(more, sweep_more, &sweep, 0);
	return sweep.removed;
}

#endif
