// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>

#include <dfw/grave.h>
#include <dfw/merge.h>

#include "sync/core.h"
#include "sync/hash.h"

/* Share groups; see H1-H8 in docs/sync-design.md. */

/* What was killed does not come back for so long, unless there is more of it. */
#define GRAVE_MS    (DFW_GRAVE_SECONDS * 1000)
#define GRAVES_MOST 65536

#define HALF_OPEN_MOST 8192 /* a flood of first packets is not worth more */
#define HALF_OPEN_MS   60000
#define PRUNE_MS       30000
#define RENEW_MS       1000
#define REBORN_MS      1000 /* clocks of kernel and core differ by less */

/* ---- Who is in it ------------------------------------------------------------------------------------------------ */

static uint64_t group_hash(const char *share)
{
	return hash_bytes(share, strlen(share), 3);
}

struct member_list {
	struct sync *sync;
	struct share_member *list;
	size_t nr, room;
};

static void add_member(void *data, const struct sync_vport *vport)
{
	struct member_list *members = data;
	char share[WIRE_TEXT_LEN];

	if (vport->host == members->sync->config.host ||
	    !members_living(&members->sync->members, vport->host) ||
	    vport_decode_share(vport->description, share) < 0 || !share[0])
		return;
	if (members->nr == members->room) {
		size_t room = members->room ? 2 * members->room : 16;
		struct share_member *list = realloc(members->list, room * sizeof(*list));

		members->sync->counters.no_memory += !list;
		if (!list)
			return;
		members->list = list;
		members->room = room;
	}
	members->list[members->nr++] = (struct share_member){group_hash(share), vport->host};
}

struct share_member *share_members(struct sync *sync, size_t *nr)
{
	struct member_list members = {.sync = sync};

	if (sync->shares)
		sync_each_vport(sync, add_member, &members);
	*nr = members.nr;
	return members.list;
}

uint32_t share_hosts(struct sync *sync, const struct port *port, const struct share_member *members,
		     size_t nr_members, uint32_t hosts[SHARE_MEMBERS - 1])
{
	uint64_t group = group_hash(port->share);
	uint32_t nr = 0;

	for (size_t i = 0; port->share[0] && i < nr_members; i++) {
		if (members[i].group != group || has_host(hosts, nr, members[i].host))
			continue;
		if (nr < SHARE_MEMBERS - 1)
			hosts[nr++] = members[i].host;
		else
			sync->counters.share_full++;
	}
	return nr;
}

void share_learn(struct sync *sync, struct port *port)
{
	const struct entry *owner = registry_owner(&sync->registry, port->id);

	if (!owner || owner->origin->host == sync->config.host)
		return;
	/* What cannot be read is in no group. */
	vport_decode_share(entry_value(owner), port->share);
}

struct port *share_mate(const struct sync *sync, const struct port *port)
{
	for (size_t i = 0; port->share[0] && i < sync->nr_ports; i++) {
		struct port *mate = sync->ports[i];

		if (mate != port && mate->role == PORT_ACTIVE && mate->attached &&
		    strcmp(mate->share, port->share) == 0)
			return mate;
	}
	return NULL;
}

/* ---- Graves ------------------------------------------------------------------------------------------------------ */

static void dig_up_old(struct sync *sync, struct port *port)
{
	struct flow_entry *oldest;

	while ((oldest = flows_after(&port->graves, 0)) &&
	       (port->graves.dead > GRAVES_MOST || sync->now - oldest->logged_ms > GRAVE_MS))
		flows_remove(&port->graves, oldest);
	flows_trim(&port->graves, 0);
}

static bool is_buried(const struct flow_entry *grave, const struct flow_record *record)
{
	return grave && record->life <= grave->record.life;
}

/* False: it is buried already. */
static bool bury(struct sync *sync, struct port *port, const struct flow_record *record)
{
	const struct flow_record grave = {
		.key = record->key, .life = record->life, .flags = FLOW_GONE | FLOW_KILLED};

	if (is_buried(flows_find(&port->graves, &record->key), record))
		return false;
	if (flows_put(&port->graves, sync->now, &grave, false, NULL))
		sync->counters.no_memory++;
	dig_up_old(sync, port);
	return true;
}

/* ---- Flows ------------------------------------------------------------------------------------------------------- */

static bool is_alive(const struct flow_entry *entry)
{
	return entry && !(entry->record.flags & FLOW_GONE);
}

static bool is_half_open(const struct flow_record *record)
{
	return (record->flags & (FLOW_GONE | FLOW_HALF_OPEN)) == FLOW_HALF_OPEN;
}

int share_put(struct sync *sync, struct port *port, const struct flow_record *record,
	      struct flow_entry **entry)
{
	uint32_t before = *entry && is_half_open(&(*entry)->record);
	int r = flows_put_found(&port->flows, sync->now, record, flow_key_hash(&record->key), false,
				entry);

	if (r == 0)
		port->half_open += (uint32_t)is_half_open(record) - before;
	return r;
}

/* What was so long ago when it was told is so much longer ago now. */
static void bring_up_to_date(const struct sync *sync, const struct flow_entry *entry,
			     struct flow_record *record)
{
	uint64_t since = (uint64_t)(sync->now - entry->changed_ms);

	*record = entry->record;
	record->idle_ms += since;
	record->age_ms += since;
}

static struct dfw_flow flow_of(const struct flow_record *record)
{
	struct dfw_flow flow = {
		.state = record->state,
		.initiator = record->initiator,
		.orig_scale = record->scale[DFW_ORIG],
		.reply_scale = record->scale[DFW_REPLY],
	};

	memcpy(flow.leg_flags, record->leg_flags, sizeof(flow.leg_flags));
	memcpy(flow.legs, record->legs, sizeof(flow.legs));
	return flow;
}

/* Law H3, on records. */
static void merge(struct flow_record *record, const struct flow_record *with)
{
	const struct dfw_flow other = flow_of(with);
	struct dfw_flow flow = flow_of(record);

	dfw_flow_merge(&flow, &other, record->key.protocol);
	record->state = flow.state;
	record->initiator = flow.initiator;
	record->scale[DFW_ORIG] = flow.orig_scale;
	record->scale[DFW_REPLY] = flow.reply_scale;
	memcpy(record->leg_flags, flow.leg_flags, sizeof(record->leg_flags));
	memcpy(record->legs, flow.legs, sizeof(record->legs));
	if (with->idle_ms < record->idle_ms)
		record->idle_ms = with->idle_ms;
	/* Once answered, answered. */
	if (!(with->flags & FLOW_HALF_OPEN))
		record->flags &= (uint8_t)~FLOW_HALF_OPEN;
}

/* ---- Telling ----------------------------------------------------------------------------------------------------- */

/* The owner's word, like what its datapath reports, and like that above all of a former life. */
static void take_version(const struct sync *sync, struct port *port, struct flow_record *record)
{
	record->epoch = port->epoch;
	port->version = higher(port->version, (uint64_t)sync->config.life << VERSION_LIFE_BIT) + 1;
	record->version = port->version;
}

static void tell_datapath(struct sync *sync, struct port *port, struct flow_record *record)
{
	if (port->role != PORT_ACTIVE)
		return;
	take_version(sync, port, record);
	sync->env->flow_share(sync->env->data, port->id, record, SHARE_JOIN);
}

static void put_and_tell(struct sync *sync, struct port *port, struct flow_record *record,
			 struct flow_entry *here, enum share_how how)
{
	take_version(sync, port, record);
	if (share_put(sync, port, record, &here)) {
		sync->counters.no_memory++;
		return;
	}
	if (here)
		here->stream = port->scan;
	sync->counters.shared++;
	port_wake(sync, port, sync->now);
	sync->env->flow_share(sync->env->data, port->id, record, how);
}

/* ---- The port's own reports -------------------------------------------------------------------------------------- */

/* Is this another flow than the one that had the key before? */
static bool is_reborn(const struct sync *sync, const struct flow_entry *old,
		      const struct flow_record *record)
{
	bool begins = record->state == DFW_FLOW_TCP_SYN_SENT;
	struct flow_record before;

	if (!is_alive(old))
		return true;
	/* A SYN where a connection is over, or another try. */
	if (begins && old->record.state >= DFW_FLOW_TCP_TIME_WAIT)
		return true;
	if (begins && old->record.state == DFW_FLOW_TCP_SYN_SENT &&
	    record->legs[DFW_ORIG].end != old->record.legs[DFW_ORIG].end)
		return true;
	bring_up_to_date(sync, old, &before);
	return before.age_ms > record->age_ms + REBORN_MS;
}

/* The datapath counts what was killed, but not what was over. */
static uint64_t life_of(const struct sync *sync, const struct flow_entry *old,
			const struct flow_record *record)
{
	uint64_t life = old ? old->record.life : 0;

	if (!old || life < record->life)
		return record->life;
	if (record->flags & FLOW_GONE || life == FLOW_LIFE_MOST || !is_reborn(sync, old, record))
		return life;
	return life + 1;
}

/* Its end was not carried out before the last core ended. */
static void end_buried(struct sync *sync, struct port *port, const struct flow_entry *grave)
{
	struct flow_record end = grave->record;

	sync->counters.buried++;
	tell_datapath(sync, port, &end);
}

bool share_report(struct sync *sync, struct port *port, const struct flow_entry *old,
		  struct flow_record *record)
{
	const struct flow_entry *grave = flows_find(&port->graves, &record->key);
	const uint64_t life = record->life;

	port->version = higher(port->version, record->version);
	if (!(record->flags & FLOW_GONE) && is_buried(grave, record)) {
		end_buried(sync, port, grave);
		return false;
	}
	record->life = life_of(sync, old, record);
	/* The datapath outlives this core, and shall know then which life it is that it kills. */
	if (record->life > life && (record->flags & FLOW_KILLED || !(record->flags & FLOW_GONE)))
		tell_datapath(sync, port, record);
	if (record->flags & FLOW_KILLED)
		bury(sync, port, record);
	if (record->flags & FLOW_GONE)
		return is_alive(old) || record->flags & FLOW_KILLED;
	/* What others have seen of it stays known, even if the kernel was not told of it yet. */
	if (is_alive(old) && old->record.life == record->life) {
		uint64_t idle_ms = record->idle_ms;

		merge(record, &old->record);
		record->idle_ms = idle_ms;
	}
	if (!is_half_open(record) || is_alive(old) || port->half_open < HALF_OPEN_MOST)
		return true;
	sync->counters.share_full++;
	return false;
}

/* ---- What others report ------------------------------------------------------------------------------------------ */

static void take_end(struct sync *sync, struct port *port, const struct flow_record *record,
		     struct flow_entry *here)
{
	struct flow_record end = {
		.key = record->key,
		.life = record->life,
		.flags = FLOW_GONE | FLOW_KILLED,
	};

	if (!bury(sync, port, record))
		return;
	if (is_alive(here) && here->record.life <= record->life)
		put_and_tell(sync, port, &end, here, SHARE_JOIN);
	else
		tell_datapath(sync, port, &end);
}

int sync_flow_buried(struct sync *sync, struct uuid id, const struct dfw_flow_key *key,
		     uint64_t life)
{
	struct flow_record end = {.key = *key, .life = life, .flags = FLOW_GONE | FLOW_KILLED};
	struct port *port = port_find(sync, id);
	struct flow_entry *here;

	if (!port || port->role != PORT_ACTIVE || !port->share[0])
		return -ENOENT;
	if (!bury(sync, port, &end))
		return 0;
	here = flows_find(&port->flows, key);
	if (!here || here->record.life <= life)
		put_and_tell(sync, port, &end, here, SHARE_JOIN);
	return 0;
}

/* Who still tells of a flow that was killed was away then, and what told of its end is gone from the log: once more, or what
 * began after it. */
static void remind(struct sync *sync, struct port *port, const struct flow_entry *grave,
		   struct flow_entry *here)
{
	struct flow_record last = grave->record;

	sync->counters.buried++;
	if (is_alive(here))
		bring_up_to_date(sync, here, &last);
	put_and_tell(sync, port, &last, here, SHARE_JOIN);
}

void share_mourn(struct sync *sync, struct port *port)
{
	/* What was offered to another host stays as it is. */
	if (port->role != PORT_ACTIVE)
		return;
	for (struct flow_entry *grave = flows_after(&port->graves, 0); grave;
	     grave = flows_next(&port->graves, grave)) {
		struct flow_record end = grave->record;

		if (!flows_find(&port->flows, &end.key))
			put_and_tell(sync, port, &end, NULL, SHARE_JOIN);
	}
}

void share_take(struct sync *sync, struct port *port, const struct flow_record *record)
{
	struct flow_entry *here = flows_find(&port->flows, &record->key);
	const struct flow_entry *grave = flows_find(&port->graves, &record->key);
	struct flow_record next = *record;
	bool known = is_alive(here);
	enum share_how how = SHARE_MAKE;

	if (record->flags & FLOW_GONE) {
		if (record->flags & FLOW_KILLED)
			take_end(sync, port, record, here);
		return;
	}
	if (is_buried(grave, record)) {
		remind(sync, port, grave, here);
		return;
	}
	if (here && record->life < here->record.life)
		return;
	if (known && record->life == here->record.life) {
		bring_up_to_date(sync, here, &next);
		merge(&next, record);
		if (flow_record_same(&here->record, &next, false) &&
		    next.flags == here->record.flags)
			return;
	}
	if (!known && is_half_open(&next) && port->half_open >= HALF_OPEN_MOST) {
		sync->counters.share_full++;
		return;
	}
	/* A flow that was confirmed elsewhere may have been pushed out from among the half-open here. */
	if (known && record->life > here->record.life)
		how = SHARE_REPLACE;
	else if (known && is_half_open(&here->record) == is_half_open(&next))
		how = SHARE_JOIN;
	put_and_tell(sync, port, &next, here, how);
}

/* Is it somebody else's log that is read here, for whatever purpose? */
static bool is_copy(const struct port *port)
{
	return port->role >= PORT_REPLICA && port->role <= PORT_PULLING;
}

static uint64_t feeding(const struct port *mate)
{
	return mate ? hash_bytes(mate->share, strlen(mate->share),
				 hash_bytes(&mate->id, sizeof(mate->id), mate->epoch)) |
			       1
		    : 0;
}

void share_feed(struct sync *sync)
{
	for (size_t i = 0; sync->shares && i < sync->nr_ports; i++) {
		struct port *port = sync->ports[i], *mate;
		uint64_t fed;

		if (!is_copy(port))
			continue;
		share_learn(sync, port);
		mate = share_mate(sync, port);
		fed = feeding(mate);
		if (fed == port->fed)
			continue;
		port->fed = fed;
		/* Its owner may be dead, so what is here comes first; ends of flows only the owner knows. */
		port->renew = mate ? port->reading.stream : 0;
		port_wake(sync, port, sync->now);
		for (struct flow_entry *entry = flows_after(&port->flows, 0); mate && entry;
		     entry = flows_next(&port->flows, entry)) {
			struct flow_record record;

			bring_up_to_date(sync, entry, &record);
			share_take(sync, mate, &record);
		}
	}
}

void share_renew(struct sync *sync, struct port *port)
{
	if (!port->renew)
		return;
	if (!is_copy(port) || port->renew != port->reading.stream) {
		port->renew = 0;
		return;
	}
	replication_ask_anew(sync, port);
	port_wake(sync, port, sync->now + RENEW_MS);
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

/* Half-open flows end in silence: pushed out, or by age. Their ends go to the log's end, so the walk ends where that was. */
static void prune(struct sync *sync, struct port *port)
{
	uint64_t head = port->flows.head;
	struct flow_entry *entry, *next;

	port->half_open = 0;
	for (entry = flows_after(&port->flows, 0); entry && entry->sequence <= head; entry = next) {
		next = flows_next(&port->flows, entry);
		if (!is_half_open(&entry->record))
			continue;
		port->half_open++;
		if (sync->now - entry->changed_ms > HALF_OPEN_MS) {
			struct flow_record end = entry->record;

			end.flags = FLOW_GONE;
			put_and_tell(sync, port, &end, entry, SHARE_JOIN);
		}
	}
}

void share_tick(struct sync *sync, struct port *port)
{
	if (!port->share[0])
		return;
	if (sync->now >= port->prune_ms) {
		port->prune_ms = sync->now + PRUNE_MS;
		prune(sync, port);
		dig_up_old(sync, port);
	}
	port_wake(sync, port, port->prune_ms);
}
