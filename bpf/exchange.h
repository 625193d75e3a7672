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
	__type(value, struct dfw_flow_entry);
} exchange_copies SEC(".maps");

struct exchanging {
	__u32 slot;
	__u32 bank;
	__u32 done;
	__s32 flows; /* confirmed ones more */
	__u64 now_ns;
};

/* Takes the entry's lock; DONE, or what is to be told. */
static __always_inline int exchange_hold(struct dfw_flow_entry *entry,
					 const struct dfw_flow_key *key)
{
	int r = flow_hold(entry, key);

	return r == STAGE_PASS	  ? DFW_EXCHANGE_DONE
	       : r == TRACK_RETRY ? DFW_EXCHANGE_NONE
				  : DFW_EXCHANGE_BUSY;
}

DFW_STAGE int exchange_collect(struct dfw_exchange *one, struct dfw_flow_entry *entry)
{
	struct dfw_flow_key key;
	int result;

	if (!one || !entry)
		return DFW_EXCHANGE_NONE;
	key = one->key;
	result = exchange_hold(entry, &key);
	if (result != DFW_EXCHANGE_DONE)
		return result;
	entry->flow.flags &= ~(DFW_FLOW_TOUCHED | DFW_FLOW_CHANGED);
	__builtin_memcpy(&one->flow, &entry->flow, sizeof(one->flow));
	flow_unlock(entry);
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

/* The copy that is to be put; NULL: it is none that may. */
static __always_inline struct dfw_flow_entry *exchange_entry(const struct dfw_flow_key *key,
							     const struct dfw_exchange *one)
{
	__u32 zero = 0;
	struct dfw_flow_entry *entry = bpf_map_lookup_elem(&exchange_copies, &zero);

	if (!entry)
		return NULL;
	entry->key = *key;
	exchange_copy(&entry->flow, &one->flow);
	return entry->flow.state == DFW_FLOW_DEAD || entry->flow.state >= DFW_FLOW_STATES ? NULL
											  : entry;
}

/* Has the port as many confirmed flows as it may? */
static __always_inline bool exchange_full(const struct exchanging *exchanging,
					  const struct dfw_port_config *config)
{
	const struct dfw_port_state *state = port_state(exchanging->slot);

	return !state || state->flows + exchanging->flows >= (__s64)config->profile.max_flows;
}

/* What is told of the errno with which a flow was put. */
static __always_inline int exchange_said(int r)
{
	switch (r) {
	case 0:
	case ERRNO_EXISTS:
		return DFW_EXCHANGE_DONE;
	case ERRNO_FULL:
		return DFW_EXCHANGE_FULL;
	case ERRNO_BUSY:
		return DFW_EXCHANGE_BUSY;
	}
	return DFW_EXCHANGE_NO_MEMORY;
}

/* As packets do: the oldest of a full bucket gives way. */
static __always_inline int exchange_put_half_open(__u32 slot, const struct dfw_flow_entry *entry,
						  __u64 hash, const enum put_how how)
{
	struct bucket bucket = flow_bucket(slot, hash, true);
	int r;

	if (!bucket.page)
		return ERRNO_FULL;
	if (!lock_take(&bucket.page->lock))
		return ERRNO_BUSY;
	r = bucket_put(bucket, &entry->key, hash, &entry->flow, how, true);
	lock_free(&bucket.page->lock);
	switch (r) {
	case BUCKET_FULL:
		return ERRNO_FULL;
	case BUCKET_BUSY:
		return ERRNO_BUSY;
	case BUCKET_EXISTS:
		return ERRNO_EXISTS;
	}
	return 0;
}

static __always_inline int exchange_put(struct exchanging *exchanging,
					const struct dfw_port_config *config,
					const struct dfw_flow_key *key, bool half_opened,
					const struct dfw_exchange *one)
{
	struct dfw_flow_entry *entry = exchange_entry(key, one);
	__u64 hash = flow_hash(key);
	int r;

	if (!entry)
		return DFW_EXCHANGE_REFUSED;
	if (half_opened)
		return exchange_said(
			exchange_put_half_open(exchanging->slot, entry, hash, PUT_ANY));
	if (exchange_full(exchanging, config) && !flow_search(exchanging->slot, key, hash, false))
		return DFW_EXCHANGE_FULL;
	r = flow_put(exchanging->slot, entry, hash, PUT_ANY);
	if (r == 0)
		exchanging->flows++;
	return exchange_said(r);
}

/* ---- Share groups: a flow that packets use, and of which another member knows more ------------------------------- */

/* Puts what `with` knows more into the flow. BUSY: ask again. */
DFW_STAGE int exchange_join(struct dfw_exchange *one, struct dfw_flow_entry *entry,
			    const struct dfw_flow_entry *with)
{
	struct dfw_flow_key key;
	int result;

	if (!one || !entry || !with)
		return DFW_EXCHANGE_NONE;
	key = one->key;
	result = exchange_hold(entry, &key);
	if (result != DFW_EXCHANGE_DONE)
		return DFW_EXCHANGE_BUSY;
	/* It began after what is told of has ended. */
	if (entry->flow.life > with->flow.life) {
		flow_unlock(entry);
		return DFW_EXCHANGE_NONE;
	}
	entry->flow.life = with->flow.life;
	dfw_flow_merge(&entry->flow, &with->flow, key.protocol);
	if ((__s64)(with->flow.last_seen_ns - entry->flow.last_seen_ns) > 0)
		entry->flow.last_seen_ns = with->flow.last_seen_ns;
	flow_unlock(entry);
	return DFW_EXCHANGE_DONE;
}

/* Another member has seen who confirms the flow that lies among the half-open `here`: it moves, as by flow_confirm. `entry`
 * becomes what both know. */
static __always_inline int exchange_confirm(struct exchanging *exchanging,
					    const struct dfw_port_config *config,
					    struct dfw_flow_entry *entry, __u64 hash,
					    struct dfw_flow_entry *here)
{
	int r;

	if (exchange_hold(here, &entry->key) != DFW_EXCHANGE_DONE)
		return DFW_EXCHANGE_BUSY;
	if (here->flow.life > entry->flow.life) {
		flow_unlock(here);
		return DFW_EXCHANGE_NONE;
	}
	dfw_flow_merge(&entry->flow, &here->flow, entry->key.protocol);
	entry->flow.created_cs = here->flow.created_cs;
	r = exchange_full(exchanging, config) ? ERRNO_FULL
					      : flow_put(exchanging->slot, entry, hash, PUT_NEW);
	if (r == 0 || r == ERRNO_EXISTS) {
		here->flow.state = DFW_FLOW_DEAD;
		flow_vanish(exchanging->slot, here, hash, true);
	} else {
		flow_unlock(here);
	}
	if (r == 0)
		exchanging->flows++;
	return r == ERRNO_EXISTS ? DFW_EXCHANGE_BUSY : exchange_said(r);
}

static __always_inline int exchange_share(struct exchanging *exchanging,
					  const struct dfw_port_config *config,
					  const struct dfw_flow_key *key, bool half_opened,
					  struct dfw_exchange *one, bool make)
{
	struct dfw_flow_entry *entry = exchange_entry(key, one), *here;
	__u64 hash = flow_hash(key);
	int r;

	if (!entry)
		return DFW_EXCHANGE_REFUSED;
	if (grave_holds(config, &entry->key, entry->flow.life, exchanging->now_ns))
		return DFW_EXCHANGE_NONE;
	here = flow_search(exchanging->slot, key, hash, false);
	if (!here) {
		here = flow_search(exchanging->slot, key, hash, true);
		if (here && !half_opened)
			return exchange_confirm(exchanging, config, entry, hash, here);
	}
	if (here)
		return exchange_join(one, here, entry);
	if (!make)
		return DFW_EXCHANGE_NONE;
	if (half_opened)
		r = exchange_put_half_open(exchanging->slot, entry, hash, PUT_NEW);
	else if (exchange_full(exchanging, config))
		r = ERRNO_FULL;
	else
		r = flow_put(exchanging->slot, entry, hash, PUT_NEW);
	if (r == 0 && !half_opened)
		exchanging->flows++;
	return r == ERRNO_EXISTS ? DFW_EXCHANGE_BUSY : exchange_said(r);
}

/* `most`: a flow of a higher life stays. */
static __always_inline int exchange_remove(struct exchanging *exchanging,
					   const struct dfw_flow_key *key, bool half_opened,
					   struct dfw_flow_entry *entry, __u32 most)
{
	struct dfw_rule_flows_key of_rule = {.slot = exchanging->slot};
	int result = exchange_hold(entry, key);
	bool counted;
	__s64 *number;

	if (result != DFW_EXCHANGE_DONE)
		return result;
	if (entry->flow.life > most) {
		flow_unlock(entry);
		return DFW_EXCHANGE_NONE;
	}
	of_rule.rule = entry->flow.rule;
	counted = entry->flow.flags & DFW_FLOW_COUNTED;
	entry->flow.flags = 0;
	entry->flow.state = DFW_FLOW_DEAD;
	flow_vanish(exchanging->slot, entry, flow_hash(key), half_opened);
	number = counted ? bpf_map_lookup_elem(&rule_flows, &of_rule) : NULL;
	if (number)
		__sync_fetch_and_add(number, -1);
	if (!half_opened)
		exchanging->flows--;
	return DFW_EXCHANGE_DONE;
}

/* `entry` may be NULL. The grave comes first: what another CPU holds is buried already. */
static __always_inline int exchange_end(struct exchanging *exchanging,
					const struct dfw_port_config *config,
					const struct dfw_flow_key *key,
					struct dfw_flow_entry *entry,
					const struct dfw_exchange *one, bool held)
{
	__u32 most = held ? LIFE_MOST : one->flow.life;

	if (one->killed && !held)
		grave_dig(config, key, most, exchanging->now_ns);
	return entry ? exchange_remove(exchanging, key, one->half_open, entry, most)
		     : DFW_EXCHANGE_NONE;
}

/* ---- Loading ahead ----------------------------------------------------------------------------------------------- */

#define EXCHANGE_AHEAD 8

/*
 * The flows of a large table lie where no cache has them, and each lock on the way to one makes the processor wait until it is
 * there. So a few are loaded beforehand, without locks, where none waits for the other. BPF has nothing but reading
 * for that; what is read means nothing. They are taken for confirmed ones, as nearly all are.
 */
DFW_STAGE int exchange_load(__u32 slot, __u32 first)
{
	void *table = bpf_map_lookup_elem(&flows, &slot);
	struct dfw_flow_page *pages[EXCHANGE_AHEAD];
	__u64 hashes[EXCHANGE_AHEAD];

	if (!table)
		return 0;
	for (int i = 0; i < EXCHANGE_AHEAD; i++) {
		__u32 place = first + i;
		const struct dfw_exchange *one = bpf_map_lookup_elem(&exchange, &place);

		if (!one)
			return 0;
		hashes[i] = flow_hash(&one->key);
		pages[i] = table_bucket(table, hashes[i]).page;
		if (!pages[i])
			return 0;
	}
	for (int i = 0; i < EXCHANGE_AHEAD; i++)
		(void)*(const volatile __u64 *)&pages[i]->tags[0];
	for (int i = 0; i < EXCHANGE_AHEAD; i++) {
		__u32 index = dfw_flow_bucket_index(hashes[i], context_map_entries(table));

		bucket_load(page_bucket(pages[i], index), hashes[i]);
	}
	return 0;
}

/* ---- One place --------------------------------------------------------------------------------------------------- */

static long exchange_one(__u64 index, void *data)
{
	struct exchanging *exchanging = data;
	__u32 place = index;
	struct dfw_exchange *one = bpf_map_lookup_elem(&exchange, &place);
	struct dfw_port_config *config;
	struct dfw_flow_entry *entry = NULL;
	struct dfw_flow_key key;
	bool half_opened, held;
	__u64 hash;
	__u32 op;

	if (!one)
		return 1;
	if (index % EXCHANGE_AHEAD == 0)
		exchange_load(exchanging->slot, index);
	one->result = DFW_EXCHANGE_NONE;
	key = one->key;
	op = one->op;
	half_opened = one->half_open;
	hash = flow_hash(&key);
	if (op == DFW_EXCHANGE_COLLECT || op == DFW_EXCHANGE_REMOVE)
		entry = flow_search(exchanging->slot, &key, hash, half_opened);
	if (op == DFW_EXCHANGE_COLLECT && !entry) {
		entry = flow_search(exchanging->slot, &key, hash, true);
		one->half_open = 1;
	}
	if ((op == DFW_EXCHANGE_COLLECT || (op == DFW_EXCHANGE_REMOVE && !one->killed)) && !entry)
		return 0;
	if (op == DFW_EXCHANGE_COLLECT) {
		one->result = exchange_collect(one, entry);
		exchanging->done += one->result == DFW_EXCHANGE_DONE;
		return 0;
	}
	config = port_config(exchanging->slot, exchanging->bank);
	held = config && config->flags & DFW_PORT_HELD;
	if (!config || !(held || config->flags & DFW_PORT_SHARED) ||
	    !exchange_belongs(config, &key.local))
		one->result = DFW_EXCHANGE_REFUSED;
	else if (!held && (op == DFW_EXCHANGE_PUT || op == DFW_EXCHANGE_JOIN))
		one->result = exchange_share(exchanging, config, &key, half_opened, one,
					     op == DFW_EXCHANGE_PUT);
	else if (op == DFW_EXCHANGE_PUT || op == DFW_EXCHANGE_JOIN)
		one->result = exchange_put(exchanging, config, &key, half_opened, one);
	else if (op == DFW_EXCHANGE_REMOVE)
		one->result = exchange_end(exchanging, config, &key, entry, one, held);
	exchanging->done += one->result == DFW_EXCHANGE_DONE;
	return 0;
}

static __always_inline int exchange_all(const struct dfw_exchange_request *request, __u32 bank)
{
	struct exchanging exchanging = {
		.slot = request->slot, .bank = bank, .now_ns = context_now_ns()};
	__u32 nr = request->nr < DFW_EXCHANGE_MAX ? request->nr : DFW_EXCHANGE_MAX;
	struct dfw_port_state *state;

	bpf_loop(nr, exchange_one, &exchanging, 0);
	state = exchanging.flows ? port_state(request->slot) : NULL;
	if (state)
		__sync_fetch_and_add(&state->flows, exchanging.flows);
	return exchanging.done;
}

#endif
