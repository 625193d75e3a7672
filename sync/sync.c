// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include <util.h>

#include "sync/core.h"
#include "sync/hash.h"

#define STEP_MAX_MS 1000 /* own time advances by at most this in one call */
#define CHOOSE_MS   1000 /* buddies are chosen anew at most that often */

/* ---- Ports ------------------------------------------------------------------------------------------------------- */

static size_t port_lower(const struct sync *sync, const struct uuid *id)
{
	size_t low = 0, high = sync->nr_ports;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (memcmp(&sync->ports[middle]->id, id, sizeof(*id)) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct port *port_find(const struct sync *sync, struct uuid id)
{
	size_t at = port_lower(sync, &id);

	if (at < sync->nr_ports && !memcmp(&sync->ports[at]->id, &id, sizeof(id)))
		return sync->ports[at];
	return NULL;
}

struct port *port_get(struct sync *sync, struct uuid id)
{
	size_t at = port_lower(sync, &id);
	struct port *port;

	if (at < sync->nr_ports && !memcmp(&sync->ports[at]->id, &id, sizeof(id)))
		return sync->ports[at];
	if (sync->nr_ports == sync->ports_room) {
		size_t room = sync->ports_room ? 2 * sync->ports_room : 8;
		struct port **ports = realloc(sync->ports, room * sizeof(*ports));

		if (!ports)
			return NULL;
		sync->ports = ports;
		sync->ports_room = room;
	}
	port = calloc(1, sizeof(*port));
	if (!port)
		return NULL;
	port->id = id;
	port->expires_ms = sync->now + RELEASED_MS;
	port->next_ms = sync->now;
	memmove(sync->ports + at + 1, sync->ports + at,
		(sync->nr_ports - at) * sizeof(*sync->ports));
	sync->ports[at] = port;
	sync->nr_ports++;
	wake(sync, sync->now);
	return port;
}

void port_forget(struct sync *sync, struct port *port)
{
	size_t at = port_lower(sync, &port->id);

	memmove(sync->ports + at, sync->ports + at + 1,
		(sync->nr_ports - at - 1) * sizeof(*sync->ports));
	sync->nr_ports--;
	port_clear_flows(sync, port);
	free(port->description);
	free(port);
}

int port_describe(struct port *port, struct slice description)
{
	uint8_t *copy = malloc(description.nr + 1U);

	if (!copy)
		return -ENOMEM;
	if (description.nr)
		memcpy(copy, description.bytes, description.nr);
	free(port->description);
	port->description = copy;
	port->description_nr = description.nr;
	/* What the caller cannot say in our words is in no group. */
	vport_decode_share(description, port->share);
	return 0;
}

int sync_restore(struct sync *sync, const struct ledger *ledger)
{
	bool known = (ledger->role >= PORT_ACTIVE && ledger->role <= PORT_RELEASED) ||
		     ledger->role == PORT_PREPARED || ledger->role == PORT_OFFERING;
	struct port *port;

	if (sync->started || !known)
		return -EINVAL;
	port = port_get(sync, ledger->port);
	if (!port)
		return -ENOMEM;
	port->role = (uint8_t)ledger->role;
	port->epoch = port->fence = ledger->epoch;
	port->move.peer = ledger->peer;
	port->move.id = ledger->move;
	port->disk = *ledger;
	move_restore(sync, port);
	return 0;
}

/* A full disk may not have taken that the port went to another host. Its VM has come back then, to a device that is not in force: of
 * a port that the ledger is right about it is. */
static bool ledger_stands(const struct sync *sync, const struct port *port)
{
	return port->attached || !sync->env->port_stranded(sync->env->data, port->id);
}

int sync_port_add(struct sync *sync, struct uuid id, struct slice description, bool strict)
{
	const struct entry *owner = registry_owner(&sync->registry, id);
	struct port *port;
	int r;

	if (description.nr > ENTRY_VALUE_MAX)
		return -EMSGSIZE;
	port = port_get(sync, id);
	if (!port)
		return -ENOMEM;
	r = port_describe(port, description);
	if (r < 0)
		return r;
	sync->shares |= port->share[0] != '\0';
	if (owner)
		port->fence = higher(port->fence, owner->epoch);
	if (port->role == PORT_ACTIVE && !ledger_stands(sync, port)) {
		port->attached = true;
		move_pull(sync, port, strict);
		return 0;
	}

	switch (port->role) {
	case PORT_ACTIVE:
		sync->members_changed = true; /* its group may be another */
		wake(sync, sync->now);
		if (port->move.state == MOVE_CLAIMING)
			return 0;
		if (port->attached)
			return registry_put(&sync->registry, ENTRY_VPORT, id, port->epoch,
					    description);
		become_owner(sync, port, port->epoch, false);
		return 0;
	case PORT_HANDOVER:
		port->attached = true;
		return registry_put(&sync->registry, ENTRY_VPORT, id, port->epoch, description);
	case PORT_PREPARED:
	case PORT_STAGED:
	case PORT_PULLING:
		return sync_move_activate(sync, id);
	default:
		/* Denies until it is known whose it is and its flows are here. */
		r = sync->env->port_prepare(sync->env->data, id, description, port->flows.count);
		if (r < 0)
			return r;
		port->attached = true;
		move_pull(sync, port, strict);
		return 0;
	}
}

int sync_port_remove(struct sync *sync, struct uuid id)
{
	struct port *port = port_find(sync, id);

	if (!port)
		return -ENOENT;
	while (port->nr_peers)
		peer_drop(sync, port, &port->peers[0]);
	if (port->attached)
		sync->env->port_release(sync->env->data, id);
	sync->env->ledger_drop(sync->env->data, id);
	port_forget(sync, port);
	return registry_delete(&sync->registry, ENTRY_VPORT, id);
}

enum port_role sync_port_role(const struct sync *sync, struct uuid id, uint64_t *epoch)
{
	const struct port *port = port_find(sync, id);

	if (epoch)
		*epoch = port ? port->epoch : 0;
	return port ? port->role : PORT_NONE;
}

void sync_flow_prefetch(const struct sync *sync, struct uuid id,
			const struct dfw_flow_key *const *keys, size_t nr)
{
	const struct port *port = port_find(sync, id);
	uint64_t hashes[SYNC_PREFETCH];

	nr = nr < SYNC_PREFETCH ? nr : SYNC_PREFETCH;
	for (size_t i = 0; port && i < nr; i++) {
		hashes[i] = flow_key_hash(keys[i]);
		flows_prefetch_far(&port->flows, hashes[i]);
	}
	for (size_t i = 0; port && i < nr; i++)
		flows_prefetch_near(&port->flows, hashes[i]);
}

void sync_clock(struct sync *sync, int64_t now_ms)
{
	advance(sync, now_ms);
}

bool sync_port_followed(const struct sync *sync, struct uuid id)
{
	const struct port *port = port_find(sync, id);

	if (!port || port->role != PORT_ACTIVE)
		return false;
	return port->nr_peers > 0 ||
	       (port->move.state >= MOVE_PREPARING && port->move.state <= MOVE_PAUSING);
}

/* The owner's datapath reports until the port is offered; a restarted one tells again what is in its maps. */
static bool takes_reports(const struct port *port)
{
	return port && (port->role == PORT_ACTIVE ||
			(port->role == PORT_HANDOVER && port->move.state == MOVE_PAUSING));
}

static bool known_as_it_is(const struct flow_entry *old, const struct flow_record *record)
{
	return old && !((old->record.flags | record->flags) & FLOW_GONE) &&
	       flow_record_same(&old->record, record, false);
}

static int put_report(struct sync *sync, struct port *port, const struct flow_record *record,
		      uint64_t key_hash, struct flow_entry **entry)
{
	bool young = port->move.state == MOVE_IDLE && record->age_ms < sync->config.min_age_ms;

	/* Who shares the flow may see its next packet. */
	if (port->share[0])
		return share_put(sync, port, record, entry);
	return flows_put_found(&port->flows, sync->now, record, key_hash, young, entry);
}

static int flow_report(struct sync *sync, struct port *port, struct flow_record *record)
{
	uint64_t key_hash = flow_key_hash(&record->key);
	struct flow_entry *old = flows_find_hashed(&port->flows, &record->key, key_hash);
	int r;

	if (port->share[0] && !share_report(sync, port, old, record))
		return 0;
	if (port->scanning && known_as_it_is(old, record)) {
		old->stream = port->scan;
		return 0;
	}

	if (old && (old->record.epoch > port->epoch ||
		    (old->record.epoch == port->epoch && old->record.version >= record->version))) {
		sync->counters.stale_flows++;
		return -ESTALE;
	}
	r = put_report(sync, port, record, key_hash, &old);
	if (old)
		old->stream = port->scan;
	port_wake(sync, port, sync->now);
	return r;
}

int sync_flow_update(struct sync *sync, struct uuid id, const struct flow_record *record)
{
	struct port *port = port_find(sync, id);
	struct flow_record mine = *record;

	if (!takes_reports(port))
		return -ENOENT;
	mine.epoch = port->epoch;
	mine.flags &= (uint8_t)~FLOW_GONE;
	return flow_report(sync, port, &mine);
}

bool sync_flow_confirmed(const struct sync *sync, struct uuid id, const struct dfw_flow_key *key)
{
	const struct port *port = port_find(sync, id);
	const struct flow_entry *entry = port ? flows_find(&port->flows, key) : NULL;

	return entry && !(entry->record.flags & (FLOW_GONE | FLOW_HALF_OPEN));
}

static int flow_end(struct sync *sync, struct uuid id, const struct dfw_flow_key *key,
		    uint64_t life, uint64_t version, uint8_t flags)
{
	struct port *port = port_find(sync, id);

	if (!takes_reports(port))
		return -ENOENT;
	return flow_report(sync, port,
			   &(struct flow_record){.key = *key,
						 .epoch = port->epoch,
						 .version = version,
						 .life = life,
						 .flags = flags});
}

int sync_flow_remove(struct sync *sync, struct uuid id, const struct dfw_flow_key *key,
		     uint64_t version)
{
	return flow_end(sync, id, key, 0, version, FLOW_GONE);
}

int sync_flow_kill(struct sync *sync, struct uuid id, const struct dfw_flow_key *key, uint64_t life,
		   uint64_t version)
{
	return flow_end(sync, id, key, life, version, FLOW_GONE | FLOW_KILLED);
}

/* What the scan did not find. A tombstone goes to the log's end, so the walk ends where the log ended. */
static int bury_unseen(struct sync *sync, struct port *port, uint64_t version)
{
	uint64_t head = port->flows.head;
	struct flow_entry *entry, *next;
	int r = 0;

	for (entry = port->flows.young_first; entry; entry = next) {
		next = entry->younger;
		if (entry->stream != port->scan)
			flows_remove(&port->flows, entry);
	}
	for (entry = flows_after(&port->flows, 0); entry && entry->sequence <= head && r == 0;
	     entry = next) {
		next = flows_next(&port->flows, entry);
		/* Those that nobody has answered lie where no scan looks. */
		if (entry->stream != port->scan &&
		    !(entry->record.flags & (FLOW_GONE | FLOW_HALF_OPEN)))
			r = sync_flow_remove(sync, port->id, &entry->record.key, version);
	}
	return r;
}

int sync_scan_begin(struct sync *sync, struct uuid id)
{
	struct port *port = port_find(sync, id);

	if (!takes_reports(port))
		return -ENOENT;
	port->scan++;
	port->scanning = true;
	return 0;
}

int sync_scan_end(struct sync *sync, struct uuid id, uint64_t version)
{
	struct port *port = port_find(sync, id);

	if (!takes_reports(port) || !port->scanning)
		return -ENOENT;
	port->scanning = false;
	return bury_unseen(sync, port, version);
}

const char *sync_port_share(const struct sync *sync, struct uuid id)
{
	const struct port *port = port_find(sync, id);

	return port ? port->share : "";
}

int sync_flows(const struct sync *sync, struct uuid id, struct sync_flows *flows)
{
	const struct port *port = port_find(sync, id);

	if (!port)
		return -ENOENT;
	*flows = (struct sync_flows){
		.count = port->flows.count, .hash = port->flows.hash, .half_open = port->half_open};
	return 0;
}

size_t sync_lag(const struct sync *sync, struct uuid id, struct sync_lag *lag, size_t room)
{
	const struct port *port = port_find(sync, id);

	for (size_t i = 0; port && i < port->nr_peers && i < room; i++) {
		const struct peer *peer = &port->peers[i];

		lag[i] = (struct sync_lag){
			.peer = peer->host,
			.changes = port->flows.head - peer->acked,
			.ms = peer_lag_ms(sync, port, peer),
			.safe = peer_is_close(sync, port, peer),
			.shares = peer->shares,
			.status = peer->status,
		};
	}
	return port ? port->nr_peers : 0;
}

/* RELEASED and NONE hold a fence, and perhaps flows, until the registry can be relied on to hold it. */
static bool port_expired(struct sync *sync, struct port *port)
{
	const struct entry *owner = registry_owner(&sync->registry, port->id);

	if (port->role != PORT_NONE && port->role != PORT_RELEASED)
		return false;
	if (sync->now < port->expires_ms)
		port_wake(sync, port, port->expires_ms);
	else if (port->owes) /* or nobody would be left to write it */
		return false;
	else if (owner && owner->epoch < port->fence)
		port->expires_ms = sync->now + RELEASED_MS;
	else
		return true;
	return false;
}

/* R8: of a port that this host gave away the registry says nothing by its word any more. */
static void withdraw(struct sync *sync, struct port *port)
{
	port->withdraw_ms = 0;
	if (registry_delete(&sync->registry, ENTRY_VPORT, port->id))
		sync->counters.no_memory++;
}

static bool port_tick(struct sync *sync, struct port *port)
{
	port->next_ms = INT64_MAX;
	if (port->withdraw_ms && sync->now >= port->withdraw_ms)
		withdraw(sync, port);
	else if (port->withdraw_ms)
		port_wake(sync, port, port->withdraw_ms);
	if (port_expired(sync, port)) {
		sync->env->ledger_drop(sync->env->data, port->id);
		port_forget(sync, port);
		return false;
	}
	replication_tick(sync, port);
	move_tick(sync, port);
	return true;
}

static void ports_tick(struct sync *sync)
{
	for (size_t i = 0; i < sync->nr_ports;) {
		struct port *port = sync->ports[i];

		if (port->next_ms <= sync->now && !port_tick(sync, port))
			continue;
		wake(sync, port->next_ms);
		i++;
	}
	if (sync->members_changed && sync->now >= sync->choose_ms) {
		sync->members_changed = false;
		sync->choose_ms = sync->now + CHOOSE_MS;
		replication_choose(sync);
	}
	if (sync->members_changed)
		wake(sync, sync->choose_ms);
}

/* ---- Members and registry ---------------------------------------------------------------------------------------- */

static void member_changed(void *data, const struct member *member)
{
	struct sync *sync = data;

	if (registry_know(&sync->registry, member->host))
		sync->counters.no_memory++;
	sync->members_changed = true;
	wake(sync, sync->now);
	if (sync->env->member_changed) {
		struct member_record record = member_to_record(member);

		sync->env->member_changed(sync->env->data, &record);
	}
}

static void entry_changed(void *data, const struct entry *entry)
{
	struct sync *sync = data;
	struct port *port;

	switch (entry->kind) {
	case ENTRY_VPORT:
		port = port_find(sync, entry->id);
		if (port && !entry->deleted)
			move_higher_epoch(sync, port, entry->epoch, entry->origin->host);
		/* Whoever took it over has removed it. */
		else if (port && port->withdraw_ms && entry->epoch >= port->fence)
			withdraw(sync, port);
		/* It may have joined a group, or left it. */
		if (sync->shares) {
			sync->members_changed = true;
			wake(sync, sync->now);
		}
		if (sync->env->vport_changed)
			sync->env->vport_changed(sync->env->data, entry->origin->host, entry->id);
		break;
	case ENTRY_HOST:
	case ENTRY_POLICY:
		policy_on_entry(sync, entry);
		break;
	}
}

int host_info_publish(struct sync *sync)
{
	uint8_t value[ENTRY_VALUE_MAX];
	uint16_t nr;
	int r;

	sync->info.staged = sync->policy.staged;
	sync->info.active = sync->policy.active;
	r = host_info_encode(&sync->info, value, &nr);
	if (r < 0)
		return r;
	return registry_put(&sync->registry, ENTRY_HOST, (struct uuid){0}, 0,
			    (struct slice){value, nr});
}

void sync_each_member(const struct sync *sync,
		      void (*each)(void *data, const struct member_record *member), void *data)
{
	for (size_t i = 0; i < sync->members.map.nr; i++) {
		struct member_record record = member_to_record(sync->members.map.things[i]);

		each(data, &record);
	}
}

int sync_member(const struct sync *sync, uint32_t host, struct member_record *record)
{
	const struct member *member = members_find(&sync->members, host);

	if (!member)
		return -ENOENT;
	*record = member_to_record(member);
	return 0;
}

size_t sync_living(const struct sync *sync)
{
	return sync->members.nr_alive;
}

int sync_port_find(const struct sync *sync, struct uuid id, struct sync_vport *vport)
{
	const struct entry *owner = registry_owner(&sync->registry, id);
	const struct port *port = port_find(sync, id);

	if (!owner)
		return -ENOENT;
	*vport = (struct sync_vport){.port = id,
				     .host = owner->origin->host,
				     .epoch = owner->epoch,
				     .description = entry_value(owner)};
	/* R8: given away, and the new owner's word has not come yet. */
	if (owner->origin == sync->registry.own && port && port->withdraw_ms) {
		vport->host = epoch_host(port->fence);
		vport->epoch = port->fence;
	}
	return 0;
}

void sync_each_vport(const struct sync *sync,
		     void (*each)(void *data, const struct sync_vport *vport), void *data)
{
	const struct registry *registry = &sync->registry;

	for (size_t i = 0; i < registry->nr_buckets; i++) {
		for (const struct entry *entry = registry->buckets[i]; entry;
		     entry = entry->next_in_bucket) {
			struct sync_vport vport;

			if (registry_owner(registry, entry->id) == entry &&
			    !sync_port_find(sync, entry->id, &vport))
				each(data, &vport);
		}
	}
}

bool sync_host_complete(const struct sync *sync, uint32_t host)
{
	const struct entry *entry =
		registry_get(&sync->registry, host, ENTRY_HOST, (struct uuid){0});

	return entry && entry->origin->known >= entry->version;
}

int sync_host_info(const struct sync *sync, uint32_t host, struct host_info *info)
{
	const struct entry *entry =
		registry_get(&sync->registry, host, ENTRY_HOST, (struct uuid){0});

	return entry ? host_info_decode(entry_value(entry), info) : -ENOENT;
}

/* ---- Messages ---------------------------------------------------------------------------------------------------- */

/* The plain messages, by what handles them. H(ENUMERATOR, struct, call) */
#define HANDLERS(H)                                                                      \
	H(PING, ping, members_on_ping(&sync->members, from, &message))                   \
	H(ACK, ack, members_on_ack(&sync->members, from, &message))                      \
	H(NACK, nack, members_on_nack(&sync->members, from, &message))                   \
	H(PING_REQUEST, ping_request,                                                    \
	  members_on_ping_request(&sync->members, sync->now, from, &message))            \
	H(MEMBER, member_record, r = members_learn(&sync->members, sync->now, &message)) \
	H(COMPARE, compare, antientropy_on_compare(sync, from, &message))                \
	H(FLOWS_ACK, flows_ack, replication_on_ack(sync, from, &message))                \
	H(FLOWS_DROP, flows_drop, replication_on_drop(sync, from, &message))             \
	H(MOVE_PREPARE, move_prepare, move_on_prepare(sync, from, &message))             \
	H(MOVE_ANSWER, move_answer, move_on_answer(sync, from, &message))                \
	H(MOVE_FINAL, move_final, move_on_final(sync, from, &message))                   \
	H(MOVE_CLAIMED, move_claimed, move_on_claimed(sync, from, &message))             \
	H(MOVE_ABORT, move_abort, move_on_abort(sync, from, &message))                   \
	H(MOVE_PULL, move_pull, move_on_pull(sync, from, &message))                      \
	H(OBJECT_GET, object_get, policy_on_object_get(sync, from, &message))            \
	H(OBJECT, object, policy_on_object(sync, from, &message))

#define HANDLER_FUNCTION(symbol, name, call)                                             \
	static int handle_##name(struct sync *sync, uint32_t from, struct reader reader) \
	{                                                                                \
		struct name message;                                                     \
		int r = get_##name(reader, &message);                                    \
                                                                                         \
		(void)from;                                                              \
		if (r == 0)                                                              \
			call;                                                            \
		return r;                                                                \
	}
HANDLERS(HANDLER_FUNCTION)

/* What is refused here may come again by somebody else, or behind the certificate that it waits for. */
static int on_entries(struct sync *sync, struct reader reader)
{
	int r = registry_on_entries(&sync->registry, reader);

	sync->counters.forged_entries += r == -EKEYREJECTED;
	sync->counters.unknown_origins += r == -ENOKEY;
	return r == -EKEYREJECTED || r == -ENOKEY ? 0 : r;
}

static int handle(struct sync *sync, uint32_t from, uint16_t type, struct reader reader)
{
	switch (type) {
#define HANDLER_CASE(symbol, name, call) \
	case MESSAGE_##symbol:           \
		return handle_##name(sync, from, reader);
		HANDLERS(HANDLER_CASE)
#undef HANDLER_CASE
	case MESSAGE_DIGEST:
		return antientropy_on_digest(sync, from, reader);
	case MESSAGE_ENTRIES:
		return on_entries(sync, reader);
	case MESSAGE_FLOWS:
		return replication_on_flows(sync, from, reader);
	default:
		sync->counters.unknown++;
		return 0;
	}
}

/* Own time: never backwards, never a leap (see "Time" in the design). */
void advance(struct sync *sync, int64_t wall)
{
	int64_t step = wall - sync->wall;

	sync->wall = wall;
	if (step < 0)
		sync->ticked = earlier(sync->ticked, wall); /* the clock was set back */
	if (step > 0)
		sync->now += step < STEP_MAX_MS ? step : STEP_MAX_MS;
}

void sync_on_message(struct sync *sync, int64_t wall, uint32_t from, const void *bytes, size_t nr)
{
	struct reader reader, value;
	uint16_t type;
	int r;

	advance(sync, wall);
	r = packet_open(&reader, bytes, nr);
	while (r == 0 && tlv_next(&reader, &type, &value)) {
		r = handle(sync, from, type, value);
		sync->counters.no_memory += r == -ENOMEM;
		/* What comes behind it may be of hosts that are known. */
		sync->counters.crowded += r == -ENOSPC;
		r = r == -ENOSPC ? 0 : r;
	}
	if (r == -EPROTO)
		sync->counters.too_new++;
	else if (r == -EBADMSG || reader.bad)
		sync->counters.malformed++;
	if (sync->gossip.nr)
		wake(sync, members_gossip_ms(&sync->members));
}

void sync_tick(struct sync *sync, int64_t wall)
{
	advance(sync, wall);
	sync->ticked = wall;
	sync->next = members_tick(&sync->members, sync->now);
	if (sync->started && !sync->members.leaving)
		antientropy_tick(sync);
	ports_tick(sync);
	policy_tick(sync);
	if (sync->gossip.nr)
		wake(sync, members_gossip_ms(&sync->members));
}

int64_t sync_next(const struct sync *sync)
{
	/* Messages and reports tell the time too: what was due then is due still. */
	return higher_ms(sync->wall + sync->next - sync->now, sync->ticked + 1);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

struct sync *sync_new(const struct sync_config *config, const struct sync_env *env, int64_t now)
{
	struct sync *sync;

	if (!config->host || config->host >> EPOCH_HOST_BITS || !config->life ||
	    config->life > INT32_MAX || config->replicas > 2)
		return NULL;
	sync = calloc(1, sizeof(*sync));
	if (!sync)
		return NULL;
	sync->config = *config;
	sync->env = env;
	sync->now = sync->wall = sync->ticked = now;
	gossip_init(&sync->gossip, env);
	if (registry_init(&sync->registry, &sync->gossip, config->host, config->life)) {
		registry_free(&sync->registry);
		free(sync);
		return NULL;
	}
	members_init(&sync->members, &sync->gossip, config->host, config->life, config->address,
		     config->seeds, config->nr_seeds, now);
	sync->registry.changed = entry_changed;
	sync->registry.data = sync;
	sync->members.changed = member_changed;
	sync->members.contact = antientropy_contact;
	sync->members.data = sync;
	strncpy(sync->info.name, config->name, sizeof(sync->info.name) - 1);
	policy_init(sync);
	antientropy_init(sync);
	return sync;
}

void sync_free(struct sync *sync)
{
	if (!sync)
		return;
	while (sync->nr_ports)
		port_forget(sync, sync->ports[0]);
	free(sync->ports);
	objects_free(sync);
	members_free(&sync->members);
	registry_free(&sync->registry);
	free(sync);
}

int sync_start(struct sync *sync)
{
	int r;

	r = host_info_publish(sync);
	if (r == 0)
		r = registry_rebase(&sync->registry);
	if (r < 0)
		return r;
	sync->started = true;
	for (size_t i = 0; i < sync->nr_ports; i++)
		if (sync->ports[i]->role == PORT_HANDOVER)
			move_resume(sync, sync->ports[i]);
	wake(sync, sync->now);
	return 0;
}

int sync_certificate(struct sync *sync, struct slice certificate)
{
	int r = registry_put(&sync->registry, ENTRY_CERTIFICATE, (struct uuid){0}, 0, certificate);

	/* What was signed with the former key is signed anew. */
	return r == 0 && sync->started ? registry_rebase(&sync->registry) : r;
}

void sync_leave(struct sync *sync)
{
	if (registry_retire(&sync->registry))
		sync->counters.no_memory++;
	members_leave(&sync->members);
	wake(sync, sync->now);
}

const struct sync_counters *sync_counters(const struct sync *sync)
{
	return &sync->counters;
}
