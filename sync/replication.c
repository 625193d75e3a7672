// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>

#include "sync/core.h"
#include "sync/hash.h"

/* Each port's log goes to its peers in frames; see F1-F7 in docs/sync-design.md. */

#define COALESCE_MS	20   /* changes wait this long for company */
#define TIMEOUT_MS	300  /* nothing acknowledged: send again; doubles ... */
#define TIMEOUT_MAX_MS	5000 /* ... up to this */
#define HEARTBEAT_MS	10000
#define NO_ROOM_MS	10000 /* a peer without room is asked again then */
#define PULL_TOMBSTONES 8192  /* of a pulled port, beyond as many as there are flows */
#define SAFE_LAG_MS	50
#define REPLICA_KEPT_MS 120000 /* a copy of which nothing was heard */
#define REPLICA_LOOK_MS 10000
#define READ_AHEAD	16 /* records of a frame, whose flows are loaded together */

/* ---- Writing: the owner, or a buddy that answers a pull -------------------------------------------------------- */

struct peer *peer_find(struct port *port, uint32_t host)
{
	for (size_t i = 0; i < port->nr_peers; i++)
		if (port->peers[i].host == host)
			return &port->peers[i];
	return NULL;
}

void peer_restart(struct sync *sync, struct port *port, struct peer *peer)
{
	peer->stream = ++sync->last_stream;
	peer->sent = peer->acked = 0;
	peer->nr_in_way = 0;
	peer->credit = FRAMES_IN_WAY;
	peer->status = FLOWS_OK;
	peer->answered = false;
	peer->timeout_ms = TIMEOUT_MS;
	peer->progress_ms = sync->now;
	peer->idle_ms =
		sync->now; /* even an empty log is told, so that the peer knows that it is */
	sync->counters.resyncs++;
	if (peer->shares)
		share_mourn(sync, port);
	port_wake(sync, port, sync->now);
}

struct peer *peer_add(struct sync *sync, struct port *port, uint32_t host, bool pinned)
{
	struct peer *peer = peer_find(port, host);

	if (!peer) {
		if (port->nr_peers == PEERS_MAX)
			return NULL;
		peer = &port->peers[port->nr_peers++];
		*peer = (struct peer){.host = host};
		peer_restart(sync, port, peer);
	}
	peer->pinned |= pinned;
	return peer;
}

void peer_drop(struct sync *sync, struct port *port, struct peer *peer)
{
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_flows_drop(&packet, &(struct flows_drop){.port = port->id, .epoch = port->epoch});
	sync->env->send(sync->env->data, peer->host, bytes, writer_used(&packet));
	*peer = port->peers[--port->nr_peers];
}

bool peer_is_close(const struct sync *sync, const struct port *port, const struct peer *peer)
{
	/* A stream that was never acknowledged says nothing about the peer, even when the log is empty. */
	return peer->status == FLOWS_OK && peer->answered &&
	       peer_lag_ms(sync, port, peer) <= SAFE_LAG_MS;
}

int64_t peer_lag_ms(const struct sync *sync, const struct port *port, const struct peer *peer)
{
	const struct flow_entry *oldest = flows_after(&port->flows, peer->acked);

	return oldest ? sync->now - oldest->logged_ms : 0;
}

/* Writes as many changes behind `from` as fit one frame; *to is what it covers. */
static void put_frame(const struct sync *sync, const struct port *port, const struct peer *peer,
		      struct writer *packet, uint64_t *to)
{
	const struct flow_table *flows = &port->flows;
	struct flow_entry *entry = flows_after(flows, peer->sent);
	uint8_t *begin = tlv_begin(packet, MESSAGE_FLOWS), *head_at = packet->at, *end;
	struct flows_head head = {
		.port = port->id,
		.epoch = port->epoch,
		.life = sync->config.life,
		.stream = peer->stream,
		.from = peer->sent,
		.to = peer->sent,
		.head = flows->head,
	};

	put_flows_head(packet, &head);
	for (; entry; entry = flows_next(flows, entry)) {
		struct flow_record record = entry->record;
		uint64_t since = (uint64_t)(sync->now - entry->changed_ms);

		record.idle_ms += since;
		record.age_ms += since;
		if (!put_flow_record(packet, &record, entry->sequence))
			break;
		head.to = entry->sequence;
	}
	if (!entry)
		head.to = head.head;

	end = packet->at;
	packet->at = head_at;
	put_flows_head(packet, &head);
	packet->at = end;
	tlv_end(packet, begin);
	*to = head.to;
}

static bool send_frame(struct sync *sync, struct port *port, struct peer *peer)
{
	uint8_t bytes[WIRE_FRAME];
	struct writer packet;
	uint64_t to;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_frame(sync, port, peer, &packet, &to);
	if (sync->env->bulk(sync->env->data, peer->host, bytes, writer_used(&packet)))
		return false;
	if (!peer->nr_in_way)
		peer->progress_ms = sync->now;
	peer->in_way[peer->nr_in_way++] = to;
	peer->sent = to;
	peer->idle_ms = sync->now + HEARTBEAT_MS;
	return true;
}

static void peer_tick(struct sync *sync, struct port *port, struct peer *peer)
{
	const struct flow_table *flows = &port->flows;
	int64_t due = sync->now;

	if (peer->status == FLOWS_NO_ROOM) {
		if (sync->now >= peer->progress_ms + NO_ROOM_MS)
			peer_restart(sync, port, peer);
		port_wake(sync, port, peer->progress_ms + NO_ROOM_MS);
		return;
	}
	if (peer->nr_in_way && sync->now >= peer->progress_ms + peer->timeout_ms) {
		peer->sent = peer->acked;
		peer->nr_in_way = 0;
		peer->timeout_ms = earlier(2 * peer->timeout_ms, TIMEOUT_MAX_MS);
		peer->idle_ms = sync->now;
	}
	/* Too far behind for what is left of the tombstones: everything anew (F4). */
	if (peer->sent && peer->sent < flows->floor)
		peer_restart(sync, port, peer);

	/* While nothing is under way a first change waits a little for others; a move does not wait, nor does a share
	 * group, whose next packet may be there already. */
	if (peer->sent < flows->head && !peer->pinned && !peer->shares && peer->sent) {
		const struct flow_entry *first = flows_after(flows, peer->sent);

		if (first)
			due = first->logged_ms + COALESCE_MS;
	}
	if (due > sync->now && sync->now < peer->idle_ms) {
		port_wake(sync, port, due);
	} else {
		while ((peer->sent < flows->head || sync->now >= peer->idle_ms) &&
		       peer->nr_in_way < peer->credit && peer->nr_in_way < FRAMES_IN_WAY)
			if (!send_frame(sync, port, peer)) {
				port_wake(sync, port, sync->now + COALESCE_MS);
				break;
			}
	}
	if (peer->nr_in_way)
		port_wake(sync, port, peer->progress_ms + peer->timeout_ms);
	port_wake(sync, port, peer->idle_ms > sync->now ? peer->idle_ms : sync->now + TIMEOUT_MS);
}

static void trim(struct port *port)
{
	struct flow_table *flows = &port->flows;
	uint64_t least = flows->head;

	for (size_t i = 0; i < port->nr_peers; i++)
		if (port->peers[i].acked < least)
			least = port->peers[i].acked;
	/* Nobody may hold back more tombstones than there are flows: he gets the whole set later. */
	if (flows->dead > flows->count + 1024)
		least = flows->head;
	flows_trim(flows, least);
}

/*
 * Who pulls keeps the tombstones that he hears of: he may yet ask a buddy that has not heard of a delete. He may wait for as
 * long as the owner says that the VM is still there, so they are bounded like a writer's. Of the oldest that go only
 * the order of the newest is kept: enough to tell which flow of a buddy may be one of them.
 */
static void trim_reader(struct sync *sync, struct port *port)
{
	struct flow_table *flows = &port->flows;
	uint64_t dead = flows->dead;

	if (port->nr_peers)
		return;
	if (port->role != PORT_PULLING) {
		trim(port);
	} else if (dead > flows->count + PULL_TOMBSTONES) {
		flows_trim_oldest(flows, (flows->count + PULL_TOMBSTONES) / 2);
		sync->counters.tombstones_dropped += dead - flows->dead;
	}
}

void replication_on_ack(struct sync *sync, uint32_t from, const struct flows_ack *ack)
{
	struct port *port = port_find(sync, ack->port);
	struct peer *peer = port ? peer_find(port, from) : NULL;
	uint32_t left = 0;

	if (!peer || ack->epoch != port->epoch || ack->life != sync->config.life ||
	    ack->stream != peer->stream || ack->position > peer->sent)
		return;
	peer->status = ack->status;
	peer->credit = ack->credit;
	switch (ack->status) {
	case FLOWS_OK:
		break;
	case FLOWS_GAP:
		peer->status = FLOWS_OK;
		if (!ack->position || ack->position < peer->acked) {
			peer_restart(sync, port, peer);
		} else if (ack->position != peer->gap || sync->now >= peer->gap_ms + TIMEOUT_MS) {
			/* Each frame behind a lost one asks for it: listen to the first. */
			peer->gap = ack->position;
			peer->gap_ms = sync->now;
			peer->sent = peer->acked = ack->position;
			peer->nr_in_way = 0;
			peer->idle_ms = sync->now;
		}
		port_wake(sync, port, sync->now);
		return;
	case FLOWS_FENCED:
		/* Only the registry can say that somebody else is the owner: ask for it. */
		antientropy_contact(sync, from, NULL);
		port_wake(sync, port, sync->now + TIMEOUT_MS);
		return;
	default:
		peer->nr_in_way = 0;
		peer->progress_ms = sync->now;
		port_wake(sync, port, sync->now);
		return;
	}
	peer->answered = true;
	peer->acked = higher(peer->acked, ack->position);
	peer->progress_ms = sync->now;
	peer->timeout_ms = TIMEOUT_MS;
	for (uint32_t i = 0; i < peer->nr_in_way; i++)
		if (peer->in_way[i] > ack->position)
			peer->in_way[left++] = peer->in_way[i];
	peer->nr_in_way = left;
	trim(port);
	port_wake(sync, port, sync->now);
}

void sync_bulk_ready(struct sync *sync, int64_t now_ms, uint32_t host)
{
	advance(sync, now_ms);
	for (size_t i = 0; i < sync->nr_ports; i++) {
		const struct peer *peer = peer_find(sync->ports[i], host);

		if (peer && peer->sent < sync->ports[i]->flows.head)
			port_wake(sync, sync->ports[i], sync->now);
	}
}

/* ---- Who the buddies are ----------------------------------------------------------------------------------------- */

struct rank {
	uint64_t weight;
	uint32_t host;
};

static void rank_insert(struct rank *ranks, uint32_t room, uint32_t *nr, struct rank rank)
{
	uint32_t at = *nr;

	while (at && ranks[at - 1].weight < rank.weight)
		at--;
	if (at == room)
		return;
	if (*nr < room)
		(*nr)++;
	memmove(ranks + at + 1, ranks + at, (*nr - at - 1) * sizeof(*ranks));
	ranks[at] = rank;
}

/* Highest random weight (Thaler, Ravishankar 1998): when a host dies only its own ports move on. */
uint32_t rendezvous(const struct sync *sync, struct uuid port, uint32_t without, uint32_t *hosts,
		    uint32_t room)
{
	const struct hostmap *map = &sync->members.map;
	uint64_t seed = hash_bytes(&port, sizeof(port), 2);
	struct rank ranks[PULL_CANDIDATES];
	uint32_t nr = 0;

	if (room > PULL_CANDIDATES)
		room = PULL_CANDIDATES;
	for (size_t i = 0; room && i < map->nr; i++) {
		const struct member *member = map->things[i];

		if (member->host != without &&
		    (member->state == MEMBER_ALIVE || member->state == MEMBER_SUSPECT))
			rank_insert(ranks, room, &nr,
				    (struct rank){hash_mix(seed ^ member->host), member->host});
	}
	for (uint32_t i = 0; i < nr; i++)
		hosts[i] = ranks[i].host;
	return nr;
}

static void choose_peers(struct sync *sync, struct port *port, const struct share_member *members,
			 size_t nr_members)
{
	uint32_t buddies[PULL_CANDIDATES], sharers[SHARE_MEMBERS - 1];
	uint32_t nr_buddies =
		rendezvous(sync, port->id, sync->config.host, buddies, sync->config.replicas);
	uint32_t nr_sharers = share_hosts(sync, port, members, nr_members, sharers);

	for (size_t i = port->nr_peers; i-- > 0;) {
		struct peer *peer = &port->peers[i];

		peer->shares &= has_host(sharers, nr_sharers, peer->host);
		if (!peer->pinned && !peer->shares && !has_host(buddies, nr_buddies, peer->host))
			peer_drop(sync, port, peer);
	}
	for (uint32_t i = 0; i < nr_buddies; i++)
		peer_add(sync, port, buddies[i], false);
	for (uint32_t i = 0; i < nr_sharers; i++) {
		struct peer *peer = peer_add(sync, port, sharers[i], false);

		if (!peer || peer->shares)
			continue;
		peer->shares = true;
		share_mourn(sync, port);
		port_wake(sync, port, sync->now);
	}
}

void replication_choose(struct sync *sync)
{
	size_t nr_members;
	struct share_member *members = share_members(sync, &nr_members);

	for (size_t i = 0; i < sync->nr_ports; i++)
		if (sync->ports[i]->role == PORT_ACTIVE &&
		    sync->ports[i]->move.state != MOVE_CLAIMING)
			choose_peers(sync, sync->ports[i], members, nr_members);
	free(members);
	share_feed(sync);
}

/* ---- Reading: a buddy, or the destination of a move ------------------------------------------------------------- */

static bool in_datapath(const struct port *port)
{
	return port->role == PORT_PREPARED || port->role == PORT_STAGED ||
	       port->role == PORT_PULLING;
}

void port_clear_flows(struct sync *sync, struct port *port)
{
	if (port->role == PORT_REPLICA)
		sync->replica_flows -= port->flows.count;
	flows_free(&port->flows);
	flows_free(&port->graves);
	port->half_open = 0;
	port->reading = (struct reading){.source = port->reading.source,
					 .life = port->reading.life,
					 .stream = port->reading.stream,
					 .pass = port->reading.pass,
					 .closed = true};
}

void port_feed(struct sync *sync, struct port *port)
{
	for (struct flow_entry *entry = flows_after(&port->flows, 0); entry;
	     entry = flows_next(&port->flows, entry))
		if (!(entry->record.flags & FLOW_GONE))
			sync->env->flow_apply(sync->env->data, port->id, &entry->record);
}

static void apply_gone(struct sync *sync, const struct port *port, const struct flow_entry *entry)
{
	struct flow_record gone = entry->record;

	gone.flags = FLOW_GONE;
	if (in_datapath(port))
		sync->env->flow_apply(sync->env->data, port->id, &gone);
}

/* The stream has named all there is: what it did not name was deleted while we were not told (F2). Who pulls keeps the
 * tombstones: he may yet ask a buddy that has not heard of them. */
static void sweep(struct sync *sync, struct port *port)
{
	struct flow_entry *entry, *next;

	for (entry = flows_after(&port->flows, 0); entry; entry = next) {
		bool gone = entry->record.flags & FLOW_GONE;

		next = flows_next(&port->flows, entry);
		if (entry->stream == port->reading.pass || (gone && port->role == PORT_PULLING))
			continue;
		if (!gone)
			apply_gone(sync, port, entry);
		flows_remove(&port->flows, entry);
	}
}

static bool is_older(const struct flow_record *a, const struct flow_record *b)
{
	return a->epoch != b->epoch ? a->epoch < b->epoch : a->version < b->version;
}

/* One change. The stream is the writer's newest and the place in the log is new: so is what it says, and it replaces what
 * is here (F2). Only a buddy that answers a pull may be behind what the owner itself began to tell.
 * 0, -ENOMEM, -EBADMSG. */
static int apply(struct sync *sync, struct port *port, struct port *mate,
		 const struct flow_record *record, uint64_t key_hash)
{
	struct flow_entry *entry = flows_find_hashed(&port->flows, &record->key, key_hash);
	int r;

	if (record->epoch > port->epoch)
		return -EBADMSG;
	/* A new stream tells again what is known already. */
	if (entry && entry->record.flags == record->flags &&
	    flow_record_same(&entry->record, record, true)) {
		entry->stream = port->reading.pass;
		if (mate)
			share_take(sync, mate, record);
		return 0;
	}
	if (entry && port->reading.source != epoch_host(port->epoch) &&
	    is_older(record, &entry->record)) {
		entry->stream = port->reading.pass;
		port->reading.kept++;
		return 0;
	}
	/* The same, of one that is not here any more. */
	if (!entry && port->reading.source != epoch_host(port->epoch) &&
	    flows_buried(&port->flows, record)) {
		if (!(record->flags & FLOW_GONE)) {
			sync->counters.flows_doubted++;
			port->reading.kept++;
		}
		return 0;
	}
	r = flows_put_found(&port->flows, sync->now, record, key_hash, false, &entry);
	if (r < 0)
		return r;
	if (entry)
		entry->stream = port->reading.pass;
	port->version = higher(port->version, record->version);
	if (in_datapath(port))
		sync->env->flow_apply(sync->env->data, port->id, record);
	if (mate)
		share_take(sync, mate, record);
	return 0;
}

static void send_ack(struct sync *sync, const struct port *port, uint32_t to,
		     const struct flows_head *head, enum flows_status status)
{
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;
	bool same = port->reading.source == to && port->reading.life == head->life &&
		    port->reading.stream == head->stream;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_flows_ack(&packet, &(struct flows_ack){.port = head->port,
						   .epoch = head->epoch,
						   .life = head->life,
						   .stream = head->stream,
						   .position = same ? port->reading.position : 0,
						   .credit = FRAMES_IN_WAY,
						   .status = (uint8_t)status});
	sync->env->send(sync->env->data, to, bytes, writer_used(&packet));
}

void replication_ask_anew(struct sync *sync, const struct port *port)
{
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	if (!port->reading.source)
		return;
	packet_begin(&packet, bytes, sizeof(bytes));
	put_flows_ack(&packet, &(struct flows_ack){.port = port->id,
						   .epoch = port->epoch,
						   .life = port->reading.life,
						   .stream = port->reading.stream,
						   .credit = FRAMES_IN_WAY,
						   .status = FLOWS_GAP});
	sync->env->send(sync->env->data, port->reading.source, bytes, writer_used(&packet));
}

/* Law F3. Returns false when the frame must not be read. */
static bool may_write(struct sync *sync, struct port *port, uint32_t from,
		      const struct flows_head *head)
{
	const struct entry *owner = registry_owner(&sync->registry, port->id);
	bool asked = port->role == PORT_PULLING && from == port->move.peer;

	if (epoch_host(head->epoch) != from && !asked) {
		sync->counters.not_owner++;
		return false;
	}
	if (owner)
		port->fence = higher(port->fence, owner->epoch);
	/* What a pull brings is below the fence when the one who was asked has not heard of the last claim. */
	if (head->epoch < port->fence) {
		sync->counters.fenced++;
		send_ack(sync, port, from, head, FLOWS_FENCED);
		return false;
	}
	switch (port->role) {
	case PORT_ACTIVE:
	case PORT_HANDOVER:
		/* The registry says who owns a port, not the one who sends. */
		sync->counters.fenced++;
		return false;
	case PORT_PREPARED:
	case PORT_STAGED:
		if (head->epoch > port->epoch)
			move_leave(sync, port);
		/* What was compared with FINAL stays as it is: the source is passive, and has nothing new to say. */
		return port->role != PORT_STAGED;
	}
	return true;
}

/* True when `head` begins, or goes on with, the newest stream of its writer. */
static bool open_stream(struct sync *sync, struct port *port, uint32_t from,
			const struct flows_head *head)
{
	struct reading *reading = &port->reading;
	bool same_log = reading->source == from && head->epoch == port->epoch &&
			head->life == reading->life;

	if (same_log && head->stream == reading->stream) {
		if (reading->closed)
			send_ack(sync, port, from, head, FLOWS_GAP);
		return !reading->closed;
	}
	if (same_log && head->stream < reading->stream)
		return false;
	if (reading->source == from && head->epoch == port->epoch && head->life < reading->life)
		return false;
	if (head->from) {
		send_ack(sync, port, from, head, FLOWS_GAP);
		return false;
	}
	*reading = (struct reading){
		.source = from,
		.life = head->life,
		.stream = head->stream,
		.pass = reading->pass + 1,
		.ever = reading->ever,
	};
	port->epoch = head->epoch;
	port->fence = higher(port->fence, head->epoch);
	share_learn(sync, port);
	return true;
}

static int read_frame(struct sync *sync, struct port *port, const struct flows_head *head,
		      struct reader *reader)
{
	struct reading *reading = &port->reading;
	struct port *mate = share_mate(sync, port);
	struct flow_record records[READ_AHEAD];
	uint64_t sequences[READ_AHEAD], hashes[READ_AHEAD];
	size_t nr;
	int r;

	do {
		nr = 0;
		while (nr < READ_AHEAD && get_flow_record(reader, &records[nr], &sequences[nr])) {
			hashes[nr] = flow_key_hash(&records[nr].key);
			flows_prefetch_far(&port->flows, hashes[nr++]);
		}
		for (size_t i = 0; i < nr; i++)
			flows_prefetch_near(&port->flows, hashes[i]);
		for (size_t i = 0; i < nr; i++) {
			if (sequences[i] <= head->from || sequences[i] > head->to)
				return -EBADMSG;
			if (sequences[i] <= reading->position)
				continue;
			r = apply(sync, port, mate, &records[i], hashes[i]);
			if (r < 0)
				return r;
		}
	} while (nr == READ_AHEAD);
	if (reader->bad)
		return -EBADMSG;
	reading->position = higher(reading->position, head->to);
	if (head->to == head->head && !reading->complete) {
		sweep(sync, port);
		reading->complete = reading->ever = true;
	}
	return 0;
}

int replication_on_flows(struct sync *sync, uint32_t from, struct reader reader)
{
	struct flows_head head;
	struct port *port;
	uint64_t before;
	int r;

	get_flows_head(&reader, &head);
	if (reader.bad)
		return -EBADMSG;
	port = port_get(sync, head.port);
	if (!port)
		return -ENOMEM;
	if (!may_write(sync, port, from, &head))
		return 0;
	if (port->role == PORT_NONE || port->role == PORT_RELEASED) {
		port->role = PORT_REPLICA;
		sync->replica_flows += port->flows.count;
	}
	if (!open_stream(sync, port, from, &head))
		return 0;
	port->reading.heard_ms = sync->now;
	if (head.from > port->reading.position) {
		sync->counters.gaps++;
		send_ack(sync, port, from, &head, FLOWS_GAP);
		return 0;
	}
	if (port->role == PORT_REPLICA && sync->replica_flows >= sync->config.replica_room &&
	    reader_left(&reader)) {
		sync->counters.no_room++;
		send_ack(sync, port, from, &head, FLOWS_NO_ROOM);
		return 0;
	}

	before = port->flows.count;
	r = read_frame(sync, port, &head, &reader);
	if (port->role == PORT_REPLICA)
		sync->replica_flows += port->flows.count - before;
	if (r < 0)
		return r;
	trim_reader(sync, port);
	send_ack(sync, port, from, &head, FLOWS_OK);
	move_progress(sync, port);
	port_wake(sync, port, sync->now + REPLICA_LOOK_MS);
	return 0;
}

void replica_drop(struct sync *sync, struct port *port)
{
	port->nr_peers = 0;
	port->move = (struct move){.state = MOVE_IDLE};
	port_clear_flows(sync, port);
	port->role = PORT_NONE;
	port->expires_ms = sync->now + RELEASED_MS;
	port_wake(sync, port, sync->now);
}

void replication_on_drop(struct sync *sync, uint32_t from, const struct flows_drop *drop)
{
	struct port *port = port_find(sync, drop->port);

	if (!port || port->role != PORT_REPLICA || port->reading.source != from ||
	    port->epoch != drop->epoch)
		return;
	replica_drop(sync, port);
}

/* A copy is kept while its owner is dead: it may be all that is left. */
static bool replica_is_useless(const struct sync *sync, const struct port *port)
{
	const struct entry *owner = registry_owner(&sync->registry, port->id);

	if (sync->now - port->reading.heard_ms < REPLICA_KEPT_MS)
		return false;
	return !owner || owner->epoch > port->epoch ||
	       members_living(&sync->members, owner->origin->host);
}

void replication_tick(struct sync *sync, struct port *port)
{
	if (port->role == PORT_REPLICA) {
		if (replica_is_useless(sync, port))
			replica_drop(sync, port);
		port_wake(sync, port, sync->now + REPLICA_LOOK_MS);
	}
	share_renew(sync, port);
	if (port->role == PORT_ACTIVE) {
		bool waits = port->move.state == MOVE_IDLE && !port->share[0];
		int64_t min_age = waits ? sync->config.min_age_ms : INT32_MIN;

		if (flows_admit(&port->flows, sync->now, min_age))
			sync->counters.no_memory++;
		port_wake(sync, port, flows_admit_ms(&port->flows, min_age));
		share_tick(sync, port);
	}
	for (size_t i = 0; i < port->nr_peers; i++)
		peer_tick(sync, port, &port->peers[i]);
	trim_reader(sync, port);
}
