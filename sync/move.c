// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "sync/core.h"

/* A move is the promotion of a replica; see "Move" and V1-V10 in docs/sync-design.md. */

#define SEND_MS		   100	/* a message without an answer goes again */
#define SEND_SLOW_MS	   1000 /* an answered FINAL, to show that the source lives */
#define PREPARE_TIMEOUT_MS 5000
#define PAUSE_TIMEOUT_MS   5000
#define ROLLBACK_ASK_MS	   1000
#define SILENCE_MS	   120000 /* a prepared port of which nothing is heard is given up */
#define CANDIDATE_MS	   1500	  /* a pull waits this long for a sign of life */
#define CYCLE_MS	   1000	  /* before all candidates are asked again */
#define ANNOUNCE_MS	   30000
#define MISMATCHES	   3
#define OWED_MS		   1000 /* what has come of an intent is written then: the VM runs again */
#define OWED_MOST_MS	   5000
#define STILL_MS	   2000 /* nothing waits longer for a VM that stands still */

static const struct sync_env *env_of(const struct sync *sync)
{
	return sync->env;
}

static void tell(struct sync *sync, struct port *port, enum move_result result)
{
	if (port->move.told == result + 1)
		return;
	port->move.told = (uint8_t)(result + 1);
	env_of(sync)->move_event(env_of(sync)->data, port->id, result);
}

/* ---- Ledger ------------------------------------------------------------------------------------------------------ */

static int write_record(struct sync *sync, struct port *port, const struct ledger *record)
{
	int r = env_of(sync)->ledger_write(env_of(sync)->data, record);

	if (r < 0) {
		sync->counters.ledger_errors++;
		return r;
	}
	port->disk = *record;
	port->owes = false;
	return 0;
}

static int write_ledger(struct sync *sync, struct port *port, enum port_role role, uint64_t epoch)
{
	return write_record(sync, port,
			    &(struct ledger){.port = port->id,
					     .epoch = epoch,
					     .move = port->move.id,
					     .peer = port->move.peer,
					     .role = role});
}

/* The ledger says what might have become of the port; what has become of it is written later, and as soon as a full disk takes
 * it. */
static void owe_ledger(struct sync *sync, struct port *port)
{
	port->owes = true;
	port->owes_ms = sync->now;
	port_wake(sync, port, sync->now + OWED_MS);
}

static bool stands_still(const struct sync *sync, const struct port *port)
{
	bool paused = port->role == PORT_HANDOVER || port->role == PORT_STAGED ||
		      port->move.state == MOVE_PAUSING || port->move.state == MOVE_CLAIMING;

	return paused && sync->now < port->still_ms + STILL_MS;
}

/* Does the VM of a port other than `self` wait for this host? The disk would make it wait longer. */
static bool others_stand_still(const struct sync *sync, const struct port *self)
{
	for (size_t i = 0; i < sync->nr_ports; i++)
		if (sync->ports[i] != self && stands_still(sync, sync->ports[i]))
			return true;
	return false;
}

static void pay_ledger(struct sync *sync, struct port *port)
{
	bool late = sync->now >= port->owes_ms + OWED_MOST_MS, active = port->role == PORT_ACTIVE;

	if (!port->owes || port->role == PORT_HANDOVER)
		return;
	if (sync->now >= port->owes_ms + OWED_MS && (late || !others_stand_still(sync, port)) &&
	    write_ledger(sync, port, active ? PORT_ACTIVE : PORT_RELEASED,
			 active ? port->epoch : port->fence) < 0)
		port->owes_ms = sync->now;
	if (port->owes)
		port_wake(sync, port, higher_ms(port->owes_ms + OWED_MS, sync->now + SEND_MS));
}

/* V1. 0: the ledger says that the source may offer the port; -EINPROGRESS: not while another VM stands still. */
static int intend_offer(struct sync *sync, struct port *port)
{
	if (port->disk.role == PORT_OFFERING && port->disk.move == port->move.id)
		return 0;
	if (others_stand_still(sync, port))
		return -EINPROGRESS;
	return write_ledger(sync, port, PORT_OFFERING, port->epoch);
}

static bool offer_is_intended(const struct port *port)
{
	return port->disk.role == PORT_OFFERING && port->disk.move == port->move.id &&
	       port->disk.peer == port->move.peer && port->disk.epoch == port->epoch;
}

/* The same for the destination, which may claim the epoch behind that of the source. */
static int intend_claim(struct sync *sync, struct port *port, uint32_t from,
			const struct move_prepare *message)
{
	if (port->disk.role == PORT_PREPARED && port->disk.epoch == message->epoch)
		return 0;
	if (others_stand_still(sync, port))
		return -EINPROGRESS;
	return write_record(sync, port,
			    &(struct ledger){.port = port->id,
					     .epoch = message->epoch,
					     .move = message->move,
					     .peer = from,
					     .role = PORT_PREPARED});
}

static bool claim_is_intended(const struct sync *sync, const struct port *port, uint64_t epoch)
{
	return port->disk.role == PORT_PREPARED &&
	       epoch == epoch_next(port->disk.epoch, 1, sync->config.host);
}

static bool in_force(const struct sync *sync, const struct port *port, uint64_t epoch)
{
	return env_of(sync)->port_in_force(env_of(sync)->data, port->id) &&
	       env_of(sync)->port_epoch(env_of(sync)->data, port->id) == epoch;
}

void move_restore(struct sync *sync, struct port *port)
{
	uint64_t claimed = epoch_next(port->epoch, 1, sync->config.host);

	if (port->role == PORT_OFFERING && in_force(sync, port, port->epoch)) {
		port->role = PORT_ACTIVE;
		owe_ledger(sync, port);
	} else if (port->role == PORT_OFFERING) {
		port->role = PORT_HANDOVER;
		port->doubtful = true;
	} else if (port->role == PORT_PREPARED && in_force(sync, port, claimed)) {
		port->role = PORT_ACTIVE;
		port->epoch = port->fence = claimed;
		owe_ledger(sync, port);
	} else if (port->role == PORT_PREPARED) {
		port->role = PORT_NONE;
		port->epoch = 0;
		port->move = (struct move){.state = MOVE_IDLE};
	}
}

/* ---- Messages ---------------------------------------------------------------------------------------------------- */

static void send_packet(struct sync *sync, uint32_t to, const struct writer *packet)
{
	env_of(sync)->send(env_of(sync)->data, to, packet->begin, writer_used(packet));
}

static void send_answer(struct sync *sync, uint32_t to, struct uuid id, uint64_t move,
			enum move_step step, enum move_result result, const struct port *port)
{
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_move_answer(&packet,
			&(struct move_answer){.port = id,
					      .move = move,
					      .step = (uint8_t)step,
					      .result = (uint8_t)result,
					      .position = port ? port->reading.position : 0,
					      .count = port ? port->flows.count : 0});
	send_packet(sync, to, &packet);
}

static struct slice description_of(const struct port *port)
{
	return (struct slice){port->description, port->description_nr};
}

static void move_end(struct port *port)
{
	for (size_t i = 0; i < port->nr_peers; i++)
		port->peers[i].pinned = false;
	port->move = (struct move){.state = MOVE_IDLE};
}

/* What is not known to be the last owner's very state is this owner's word from now on: written in its epoch, so that no
 * older change of a flow, or delete, that somebody else has seen stands against it. */
static void write_anew(struct port *port, uint64_t epoch, bool resync)
{
	struct flow_entry *entry;

	for (entry = flows_after(&port->flows, 0); entry; entry = flows_next(&port->flows, entry)) {
		struct flow_record record = entry->record;

		record.epoch = epoch;
		record.flags |= resync && !(record.flags & FLOW_GONE) ? FLOW_RESYNC : 0;
		flows_rewrite(&port->flows, entry, &record);
	}
}

/* Returns as port_activate does. Nobody has been told yet. */
static int take(struct sync *sync, struct port *port, uint64_t epoch, bool resync)
{
	if (port->role == PORT_REPLICA)
		sync->replica_flows -= port->flows.count;
	port->role = PORT_ACTIVE;
	port->attached = true;
	sync->shares |= port->share[0] != '\0';
	port->epoch = port->fence = epoch;
	port->reading = (struct reading){.pass = port->reading.pass};
	/* New streams begin at 0 and need no tombstones; the datapath may count its versions from the start. */
	port->nr_peers = 0;
	flows_trim(&port->flows, port->flows.head);
	/* What was killed under a former owner, or here before it went, is not known to be what is here now. */
	flows_free(&port->graves);
	port->prune_ms = sync->now;
	return env_of(sync)->port_activate(env_of(sync)->data, port->id, epoch, resync);
}

static void publish(struct sync *sync, struct port *port)
{
	sync->members_changed = true;
	port->withdraw_ms = 0;
	if (registry_put(&sync->registry, ENTRY_VPORT, port->id, port->epoch, description_of(port)))
		sync->counters.no_memory++;
	port_wake(sync, port, sync->now);
}

void become_owner(struct sync *sync, struct port *port, uint64_t epoch, bool resync)
{
	take(sync, port, epoch, resync);
	publish(sync, port);
}

/* ---- Source ------------------------------------------------------------------------------------------------------ */

static void send_prepare(struct sync *sync, struct port *port)
{
	uint64_t flows = env_of(sync)->port_flows(env_of(sync)->data, port->id);
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_move_prepare(&packet, &(struct move_prepare){.port = port->id,
							 .move = port->move.id,
							 .epoch = port->epoch,
							 .flows = higher(port->flows.count, flows),
							 .flags = port->move.strict,
							 .description = description_of(port)});
	send_packet(sync, port->move.peer, &packet);
	port->move.send_ms = sync->now + SEND_MS;
}

static void send_final(struct sync *sync, struct port *port)
{
	const struct peer *peer = peer_find(port, port->move.peer);
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	port->move.send_ms = sync->now + (port->move.staged ? SEND_SLOW_MS : SEND_MS);
	if (!peer)
		return;
	packet_begin(&packet, bytes, sizeof(bytes));
	put_move_final(&packet, &(struct move_final){.port = port->id,
						     .move = port->move.id,
						     .epoch = port->epoch,
						     .life = sync->config.life,
						     .stream = peer->stream,
						     .sequence = port->flows.head,
						     .count = port->flows.count,
						     .hash = port->flows.hash,
						     .description = description_of(port)});
	send_packet(sync, port->move.peer, &packet);
}

static void send_abort(struct sync *sync, struct port *port)
{
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_move_abort(&packet, &(struct move_abort){.port = port->id,
						     .move = port->move.id,
						     .epoch = port->epoch});
	send_packet(sync, port->move.peer, &packet);
	port->move.send_ms = sync->now + SEND_MS;
}

/* Before the commit point: the port stays here as if nothing had been. */
static void stop_move(struct sync *sync, struct port *port, enum move_result result)
{
	struct peer *peer = peer_find(port, port->move.peer);

	send_abort(sync, port);
	if (peer)
		peer_drop(sync, port, peer);
	tell(sync, port, result);
	move_end(port);
	if (port->disk.role != PORT_ACTIVE)
		owe_ledger(sync, port);
	sync->members_changed = true;
}

/* 0, or what the ledger said. */
static int prepare(struct sync *sync, struct port *port)
{
	int r = intend_offer(sync, port);

	if (r == 0)
		send_prepare(sync, port);
	else
		port->move.send_ms = sync->now + SEND_MS;
	return r == -EINPROGRESS ? 0 : r;
}

int sync_move_begin(struct sync *sync, struct uuid id, uint32_t to, bool strict)
{
	struct port *port = port_find(sync, id);
	int r;

	if (!port || port->role != PORT_ACTIVE || to == sync->config.host)
		return -ENOENT;
	if (port->move.state != MOVE_IDLE && port->move.state != MOVE_ANNOUNCING)
		return -EALREADY;
	if (!members_living(&sync->members, to))
		return -EHOSTUNREACH;
	port->move = (struct move){
		.state = MOVE_PREPARING,
		.id = env_of(sync)->random(env_of(sync)->data) | 1,
		.peer = to,
		.strict = strict,
		.deadline_ms = sync->now + PREPARE_TIMEOUT_MS,
	};
	r = prepare(sync, port);
	if (r < 0)
		move_end(port);
	port_wake(sync, port, sync->now);
	return r;
}

/* It goes on here, as if nothing had been. */
static void unpause(struct sync *sync, struct port *port)
{
	env_of(sync)->port_activate(env_of(sync)->data, port->id, port->epoch, false);
	if (port->move.pulled)
		move_end(port);
	else
		port->move.state = MOVE_PRECOPY;
}

/* The datapath has paused, and has reported all. FINAL is the commit point (V1). */
static int paused(struct sync *sync, struct port *port)
{
	int r = flows_admit(&port->flows, sync->now, INT32_MIN);

	if (r == 0 && !offer_is_intended(port))
		r = write_ledger(sync, port, PORT_HANDOVER, port->epoch);
	if (r < 0) {
		unpause(sync, port);
		return r;
	}
	port->role = PORT_HANDOVER;
	port->move.state = MOVE_OFFERED;
	/* The last frames first: FINAL then finds its sequence there. */
	replication_tick(sync, port);
	send_final(sync, port);
	port_wake(sync, port, port->move.send_ms);
	return 0;
}

static int offer(struct sync *sync, struct port *port)
{
	int r;

	port->move.state = MOVE_PAUSING;
	port->still_ms = sync->now;
	port->move.deadline_ms = sync->now + PAUSE_TIMEOUT_MS;
	r = env_of(sync)->port_pause(env_of(sync)->data, port->id);
	if (r == -EINPROGRESS) {
		port_wake(sync, port, port->move.deadline_ms);
		return 0;
	}
	if (r == 0)
		return paused(sync, port);
	unpause(sync, port);
	return r;
}

/* What was offered in a former life is offered anew. */
static void resume_offer(struct sync *sync, struct port *port)
{
	port->move.state = MOVE_OFFERED;
	if (flows_admit(&port->flows, sync->now, INT32_MIN))
		sync->counters.no_memory++;
	peer_add(sync, port, port->move.peer, true);
	port->move.send_ms = sync->now;
	port_wake(sync, port, sync->now);
}

void sync_port_paused(struct sync *sync, int64_t now_ms, struct uuid id, int result)
{
	struct port *port = port_find(sync, id);

	advance(sync, now_ms);
	if (!port || port->move.state != MOVE_PAUSING)
		return;
	if (port->role == PORT_HANDOVER) {
		/* Passive in any case: whoever failed to report tries again. */
		if (result == 0)
			resume_offer(sync, port);
	} else if (result < 0) {
		tell(sync, port, MOVE_REFUSED);
		unpause(sync, port);
	} else if (paused(sync, port) < 0) {
		tell(sync, port, MOVE_DISK);
	}
}

int sync_move_pause(struct sync *sync, struct uuid id)
{
	struct port *port = port_find(sync, id);
	const struct peer *peer;

	if (!port || port->role != PORT_ACTIVE)
		return -ENOENT;
	peer = peer_find(port, port->move.peer);
	if (port->move.state != MOVE_PRECOPY || !peer || !peer->answered)
		return -EAGAIN;
	return offer(sync, port);
}

/* Nothing of it is known any more: the log begins anew with what the datapath reports. */
void move_resume(struct sync *sync, struct port *port)
{
	port->move.state = MOVE_PAUSING;
	if (env_of(sync)->port_pause(env_of(sync)->data, port->id) == 0)
		resume_offer(sync, port);
}

/* Somebody else owns the port now. What is here is kept for a while, for whoever asks. */
static void release(struct sync *sync, struct port *port, uint64_t epoch)
{
	port->fence = higher(port->fence, epoch);
	/* What the ledger says of an offer does no harm for a while; that the port is active here would. */
	if (port->role == PORT_HANDOVER || write_ledger(sync, port, PORT_RELEASED, port->fence) < 0)
		owe_ledger(sync, port);
	/* A copy has no young flows: all lie in the log, where a new owner's stream finds them. */
	if (flows_admit(&port->flows, sync->now, INT32_MIN))
		port_clear_flows(sync, port);
	port->role = PORT_RELEASED;
	port->nr_peers = 0;
	port->expires_ms = port->withdraw_ms = sync->now + RELEASED_MS;
	if (port->attached)
		env_of(sync)->port_release(env_of(sync)->data, port->id);
	port->attached = false;
	port_wake(sync, port, port->expires_ms);
}

/* V4. A failing disk leaves the port passive, and is tried again. */
static void roll_back(struct sync *sync, struct port *port)
{
	uint64_t epoch = epoch_next(port->epoch, 2, sync->config.host);
	/* V10: another host may have had it, and a full disk could not say so here. What the datapath has is what that one
	 * told then, as far as it came. */
	bool behind = env_of(sync)->port_stranded(env_of(sync)->data, port->id) ||
		      env_of(sync)->port_epoch(env_of(sync)->data, port->id) != port->epoch;

	if (write_ledger(sync, port, PORT_ACTIVE, epoch) < 0) {
		tell(sync, port, MOVE_DISK);
		port->move.deadline_ms = sync->now + CYCLE_MS;
		return;
	}
	tell(sync, port, MOVE_ABORTED);
	move_end(port);
	write_anew(port, epoch, behind);
	if (behind)
		port_feed(sync, port);
	become_owner(sync, port, epoch, behind);
}

/* Asks the destination first. In doubt nothing but an answer leads on. */
static void begin_rollback(struct sync *sync, struct port *port, int64_t deadline_ms)
{
	port->move.state = MOVE_ROLLING;
	port->move.deadline_ms = deadline_ms;
	send_abort(sync, port);
	port_wake(sync, port, port->move.send_ms);
}

int sync_move_rollback(struct sync *sync, struct uuid id)
{
	struct port *port = port_find(sync, id);

	if (!port)
		return -ENOENT;
	switch (port->move.state) {
	case MOVE_PREPARING:
	case MOVE_PRECOPY:
		stop_move(sync, port, MOVE_ABORTED);
		return 0;
	case MOVE_PAUSING:
	case MOVE_OFFERED:
		if (port->role == PORT_ACTIVE) {
			unpause(sync, port);
			stop_move(sync, port, MOVE_ABORTED);
			return 0;
		}
		if (port->role != PORT_HANDOVER)
			return -ENOENT;
		begin_rollback(sync, port, sync->now + ROLLBACK_ASK_MS);
		return 0;
	case MOVE_ROLLING:
		if (!port->move.heir && port->move.deadline_ms != INT64_MAX)
			return -EALREADY;
		/* Who waits for what is taken back asks again, and hears that the VM is here. */
		port->move.heir = 0;
		port->move.deadline_ms = sync->now + ROLLBACK_ASK_MS;
		return 0;
	default:
		return -ENOENT;
	}
}

static enum move_phase phase_of(const struct port *port)
{
	switch (port->move.state) {
	case MOVE_PREPARING:
		return PHASE_PREPARING;
	case MOVE_PRECOPY:
		return PHASE_PRECOPY;
	case MOVE_PAUSING:
		return PHASE_PAUSING;
	case MOVE_OFFERED:
		if (port->role != PORT_HANDOVER)
			return PHASE_NONE;
		return port->move.staged ? PHASE_HANDED_OVER : PHASE_OFFERED;
	case MOVE_ROLLING:
		return PHASE_ROLLING_BACK;
	}
	switch (port->role) {
	case PORT_PREPARED:
		return PHASE_ARRIVING;
	case PORT_STAGED:
		return PHASE_STAGED;
	case PORT_PULLING:
		return PHASE_PULLING;
	}
	return PHASE_NONE;
}

int sync_move_status(const struct sync *sync, struct uuid id, struct sync_move *status)
{
	const struct port *port = port_find(sync, id);

	if (!port)
		return -ENOENT;
	*status = (struct sync_move){
		.phase = phase_of(port),
		.peer = port->move.peer,
		.strict = port->move.strict,
		.wanted = port->move.wanted,
		.doubtful = port->doubtful && port->role == PORT_HANDOVER,
	};
	return 0;
}

static void on_prepare_answer(struct sync *sync, struct port *port, enum move_result result)
{
	if (port->move.state != MOVE_PREPARING && port->move.state != MOVE_PRECOPY)
		return;
	if (result != MOVE_OK) {
		stop_move(sync, port, result);
		return;
	}
	/* The destination gets all flows, the young ones too (F6). */
	if (!peer_add(sync, port, port->move.peer, true)) {
		stop_move(sync, port, MOVE_REFUSED);
		return;
	}
	port->move.state = MOVE_PRECOPY;
	port_wake(sync, port, sync->now);
}

static void on_final_answer(struct sync *sync, struct port *port, enum move_result result)
{
	struct peer *peer = peer_find(port, port->move.peer);

	if (port->move.state != MOVE_OFFERED || !peer || result == MOVE_NOT_YET)
		return;
	port->move.staged = result == MOVE_OK;
	if (result == MOVE_MISMATCH && ++port->move.attempts < MISMATCHES) {
		peer_restart(sync, port, peer);
	} else if (port->role == PORT_REPLICA) {
		/* The pull that this buddy answered has ended, one way or the other. */
		move_end(port);
		port->nr_peers = 0;
	} else if (result != MOVE_OK) {
		tell(sync, port, result);
		/* Does it know no such move, or none any more? If the VM has gone, where it is will ask. */
		if (result == MOVE_UNKNOWN && port->doubtful &&
		    !env_of(sync)->port_gone(env_of(sync)->data, port->id))
			begin_rollback(sync, port, INT64_MAX);
	}
}

static enum move_result offer_to(struct sync *sync, struct port *port, uint32_t to, uint64_t id);

static void on_abort_answer(struct sync *sync, struct port *port, enum move_result result)
{
	struct move *move = &port->move;

	if (move->state != MOVE_ROLLING)
		return;
	if (result != MOVE_CLAIMED && move->heir) {
		tell(sync, port, MOVE_ABORTED);
		offer_to(sync, port, move->heir, move->heir_move);
		return;
	}
	if (result != MOVE_CLAIMED) {
		roll_back(sync, port);
		return;
	}
	/* Too late. The destination's CLAIMED, or the registry, releases the port. */
	tell(sync, port, MOVE_CLAIMED);
	port->move.state = MOVE_OFFERED;
}

/* Who has it offered lives, and says nothing: nobody else gets it until he does, or is dead. */
static void keep_offer(struct sync *sync, struct port *port)
{
	struct move *move = &port->move;

	send_answer(sync, move->heir, port->id, move->heir_move, STEP_PULL, MOVE_REFUSED, NULL);
	move->heir = 0;
	move->state = MOVE_OFFERED;
	move->send_ms = sync->now + SEND_MS;
}

static void tick_source(struct sync *sync, struct port *port)
{
	struct move *move = &port->move;
	bool due = sync->now >= move->send_ms;

	switch (move->state) {
	case MOVE_PREPARING:
		if (sync->now >= move->deadline_ms) {
			stop_move(sync, port, MOVE_TIMEOUT);
			return;
		}
		if (due && prepare(sync, port) < 0) {
			stop_move(sync, port, MOVE_DISK);
			return;
		}
		break;
	case MOVE_PRECOPY:
		if (!members_living(&sync->members, move->peer) || !peer_find(port, move->peer)) {
			stop_move(sync, port, MOVE_PEER_DEAD);
			return;
		}
		/* Shows that the move is still wanted; a destination that restarted prepares anew. */
		if (due) {
			send_prepare(sync, port);
			move->send_ms = sync->now + SEND_SLOW_MS;
		}
		break;
	case MOVE_PAUSING:
		if (port->role == PORT_HANDOVER)
			return;
		if (sync->now >= move->deadline_ms) {
			tell(sync, port, MOVE_TIMEOUT);
			unpause(sync, port);
		}
		port_wake(sync, port, move->deadline_ms);
		return;
	case MOVE_OFFERED:
		/* A buddy that serves a pull stops when nobody listens. */
		if (port->role == PORT_REPLICA && sync->now >= move->deadline_ms) {
			move_end(port);
			port->nr_peers = 0;
			return;
		}
		if (due)
			send_final(sync, port);
		break;
	case MOVE_ROLLING:
		if (sync->now >= move->deadline_ms && move->heir) {
			keep_offer(sync, port);
			break;
		}
		if (sync->now >= move->deadline_ms) {
			roll_back(sync, port);
			port_wake(sync, port, sync->now + SEND_MS);
			return;
		}
		if (due) {
			send_abort(sync, port);
			move->send_ms += move->deadline_ms == INT64_MAX ? SEND_SLOW_MS : 0;
		}
		break;
	}
	port_wake(sync, port, move->send_ms);
}

/* ---- Destination ------------------------------------------------------------------------------------------------- */

static void send_claimed(struct sync *sync, struct port *port)
{
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_move_claimed(&packet, &(struct move_claimed){.port = port->id,
							 .move = port->move.id,
							 .epoch = port->move.claimed});
	send_packet(sync, port->move.peer, &packet);
	port->move.send_ms = sync->now + SEND_MS;
}

static enum move_result check_final(const struct port *port);

/* The owner itself has handed over what is here, also if it was asked to: that continues like any move. */
static bool has_owners_word(const struct port *port)
{
	return port->move.have_final && !port->reading.kept &&
	       epoch_host(port->move.final.epoch) == port->move.peer &&
	       check_final(port) == MOVE_OK;
}

/* V10: may the ends of the connections be further than what is here? */
static bool is_behind(const struct sync *sync, const struct port *port)
{
	if (!port->move.peer)
		return false; /* new in the cluster: it has no flows */
	return (port->move.unannounced && !has_owners_word(port)) ||
	       env_of(sync)->port_late(env_of(sync)->data, port->id);
}

static void announce(struct sync *sync, struct port *port)
{
	publish(sync, port);
	/* A port that is new in the cluster did not move. */
	if (!port->move.peer) {
		move_end(port);
		return;
	}
	tell(sync, port, MOVE_OK);
	port->move.state = MOVE_ANNOUNCING;
	port->move.deadline_ms = sync->now + ANNOUNCE_MS;
	send_claimed(sync, port);
	port_wake(sync, port, port->move.send_ms);
}

static void claim(struct sync *sync, struct port *port)
{
	uint64_t epoch = epoch_next(higher(port->epoch, port->fence), 1, sync->config.host);
	bool behind = is_behind(sync, port), intended = claim_is_intended(sync, port, epoch);
	int r;

	if (!intended && write_ledger(sync, port, PORT_ACTIVE, epoch) < 0) {
		tell(sync, port, MOVE_DISK);
		port->move.send_ms = sync->now + CYCLE_MS;
		port_wake(sync, port, port->move.send_ms);
		return;
	}
	if (behind) {
		write_anew(port, epoch, true);
		port_feed(sync, port);
	}
	r = take(sync, port, epoch, behind);
	port->move.claimed = epoch;
	if (intended)
		owe_ledger(sync, port);
	if (intended && r < 0)
		port->move.state = MOVE_CLAIMING;
	else
		announce(sync, port);
}

void sync_port_activated(struct sync *sync, int64_t now_ms, struct uuid id, uint64_t epoch)
{
	struct port *port = port_find(sync, id);

	advance(sync, now_ms);
	if (port && port->move.state == MOVE_CLAIMING && port->move.claimed == epoch)
		announce(sync, port);
}

void move_leave(struct sync *sync, struct port *port)
{
	if (port->attached)
		env_of(sync)->port_release(env_of(sync)->data, port->id);
	port->attached = false;
	port_clear_flows(sync, port);
	port->role = PORT_NONE;
	port->expires_ms = sync->now + RELEASED_MS;
	move_end(port);
	port_wake(sync, port, port->expires_ms);
}

/* A copy of the last epoch is a good beginning; an older one may hold what was deleted since. */
static void begin_with_copy(struct sync *sync, struct port *port)
{
	if (port->epoch < port->fence)
		port_clear_flows(sync, port);
	else
		port_feed(sync, port);
}

/* Attached, and denies. 0; -EINPROGRESS: asked again; else it is as it was before. */
static int arrive(struct sync *sync, struct port *port, const struct move_prepare *message)
{
	int r = port_describe(port, message->description);

	if (r == 0)
		r = env_of(sync)->port_prepare(env_of(sync)->data, port->id, message->description,
					       message->flows);
	if (r < 0)
		return r;
	if (port->role == PORT_REPLICA)
		sync->replica_flows -= port->flows.count;
	port->role = PORT_PREPARED;
	port->attached = true;
	port->nr_peers = 0;
	port->fence = higher(port->fence, message->epoch);
	begin_with_copy(sync, port);
	return 0;
}

void move_on_prepare(struct sync *sync, uint32_t from, const struct move_prepare *message)
{
	struct port *port = port_get(sync, message->port);
	enum move_result result = MOVE_OK;
	const struct entry *owner;
	int r;

	if (!port) {
		sync->counters.no_memory++;
		return;
	}
	owner = registry_owner(&sync->registry, port->id);
	if (owner)
		port->fence = higher(port->fence, owner->epoch);
	if (epoch_host(message->epoch) != from || port->role == PORT_ACTIVE ||
	    port->role == PORT_HANDOVER || port->role == PORT_PULLING)
		result = MOVE_REFUSED;
	else if (message->epoch < port->fence)
		result = MOVE_FENCED;
	else if (message->move == port->aborted) /* a late copy of what began it */
		result = MOVE_ABORTED;
	else if (port->role == PORT_PREPARED || port->role == PORT_STAGED)
		result = port->move.peer == from ? MOVE_OK : MOVE_REFUSED;
	if (result != MOVE_OK) {
		send_answer(sync, from, message->port, message->move, STEP_PREPARE, result, NULL);
		return;
	}

	r = intend_claim(sync, port, from, message);
	if (r < 0 && r != -EINPROGRESS) {
		send_answer(sync, from, port->id, message->move, STEP_PREPARE, MOVE_DISK, NULL);
		return;
	}
	if (r == 0 && port->role != PORT_PREPARED && port->role != PORT_STAGED)
		r = arrive(sync, port, message);
	if (r == -EINPROGRESS)
		return;
	if (r < 0) {
		send_answer(sync, from, port->id, message->move, STEP_PREPARE,
			    r == -ENOSPC ? MOVE_NO_ROOM : MOVE_REFUSED, NULL);
		return;
	}
	if (port->move.id != message->move) {
		port->role = PORT_PREPARED;
		port->move = (struct move){.state = MOVE_ARRIVING,
					   .id = message->move,
					   .peer = from,
					   .strict = message->flags & 1,
					   .wanted = port->move.wanted};
		port->epoch = higher(port->epoch, message->epoch);
		port->fence = higher(port->fence, message->epoch);
	}
	port->move.deadline_ms = sync->now + SILENCE_MS;
	send_answer(sync, from, port->id, message->move, STEP_PREPARE, MOVE_OK, port);
	port_wake(sync, port, port->move.deadline_ms);
}

static void begin_cycle(struct sync *sync, struct port *port);
static void next_candidate(struct sync *sync, struct port *port);

/* V2: exactly what FINAL describes, or not at all. */
static enum move_result check_final(const struct port *port)
{
	const struct move_final *final = &port->move.final;
	const struct reading *reading = &port->reading;

	if (reading->source != port->move.peer || port->epoch != final->epoch ||
	    reading->life != final->life || reading->stream != final->stream ||
	    reading->position < final->sequence || !reading->complete)
		return MOVE_NOT_YET;
	/* A buddy that is behind what the owner began to tell: its set with the newer flows kept, RESYNC all of them. */
	if (reading->kept)
		return MOVE_OK;
	if (port->flows.count != final->count || port->flows.hash != final->hash)
		return MOVE_MISMATCH;
	return MOVE_OK;
}

/* What the core holds the datapath shall hold too. Who pulls has the VM already: he goes on with what there is, unless
 * flows must not be lost. */
static enum move_result check_datapath(struct sync *sync, struct port *port)
{
	int r = env_of(sync)->flows_held(env_of(sync)->data, port->id);
	enum move_result result = r == -ENOSPC ? MOVE_NO_ROOM : MOVE_REFUSED;

	if (r == 0)
		return MOVE_OK;
	tell(sync, port, result);
	return port->role == PORT_PULLING && !port->move.strict ? MOVE_OK : result;
}

static void on_checked(struct sync *sync, struct port *port)
{
	enum move_result result = check_final(port);

	if (result == MOVE_OK && port->role != PORT_STAGED)
		result = check_datapath(sync, port);
	send_answer(sync, port->move.peer, port->id, port->move.id, STEP_FINAL, result, port);
	if (result == MOVE_MISMATCH) {
		port->move.have_final = false;
		if (port->role == PORT_PULLING && ++port->move.attempts == MISMATCHES)
			next_candidate(sync, port);
	}
	if (result != MOVE_OK)
		return;
	if (port->role == PORT_PREPARED) {
		port->role = PORT_STAGED;
		port->still_ms = sync->now;
	}
	if (port->move.wanted)
		claim(sync, port);
}

void move_on_final(struct sync *sync, uint32_t from, const struct move_final *message)
{
	struct port *port = port_find(sync, message->port);
	bool arriving;

	if (!port || port->move.id != message->move || port->move.peer != from) {
		send_answer(sync, from, message->port, message->move, STEP_FINAL, MOVE_UNKNOWN,
			    NULL);
		return;
	}
	if (port->role == PORT_ACTIVE && port->move.claimed) {
		if (port->move.state != MOVE_CLAIMING)
			send_claimed(sync, port);
		return;
	}
	arriving = port->role == PORT_PREPARED || port->role == PORT_STAGED ||
		   port->role == PORT_PULLING;
	if (!arriving || message->epoch < port->fence) {
		send_answer(sync, from, port->id, message->move, STEP_FINAL,
			    arriving ? MOVE_FENCED : MOVE_UNKNOWN, NULL);
		if (port->role == PORT_PULLING)
			next_candidate(sync, port);
		return;
	}
	/* Once staged, staged: the source is passive, its flows cannot have changed. */
	if (port->role == PORT_STAGED && port->move.have_final) {
		port->move.deadline_ms = sync->now + SILENCE_MS;
		send_answer(sync, from, port->id, message->move, STEP_FINAL, MOVE_OK, port);
		return;
	}
	port->move.final = *message;
	port->move.final.description = (struct slice){0};
	port->move.have_final = true;
	port->move.deadline_ms =
		sync->now + (port->role == PORT_PULLING ? CANDIDATE_MS : SILENCE_MS);
	on_checked(sync, port);
}

/* All that the owner has, and it is a buddy that was asked. */
static bool owner_is_back(const struct port *port)
{
	return port->role == PORT_PULLING && port->move.candidate > 0 &&
	       port->move.candidate < port->move.nr_candidates && port->reading.complete &&
	       port->reading.source == epoch_host(port->epoch);
}

void move_progress(struct sync *sync, struct port *port)
{
	struct move *move = &port->move;

	if (move->state != MOVE_ARRIVING)
		return;
	/* The buddy's older set shall not take the place of that (V6): the owner is asked once more. */
	if (owner_is_back(port)) {
		begin_cycle(sync, port);
		return;
	}
	/* Frames alone do not keep a prepared port: a buddy gets them too. */
	if (port->role == PORT_PULLING && port->reading.source == move->peer)
		move->deadline_ms = sync->now + CANDIDATE_MS;
	/* The last frame may come behind FINAL: do not wait for the next one to say so. */
	if (move->have_final && port->role != PORT_STAGED &&
	    port->reading.position >= move->final.sequence)
		on_checked(sync, port);
}

/* ---- Unannounced moves ------------------------------------------------------------------------------------------- */

static void send_pull(struct sync *sync, struct port *port)
{
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_move_pull(&packet, &(struct move_pull){.port = port->id,
						   .move = port->move.id,
						   .flags = port->move.strict});
	send_packet(sync, port->move.peer, &packet);
	port->move.send_ms = sync->now + SEND_MS;
}

static void ask_candidate(struct sync *sync, struct port *port)
{
	struct move *move = &port->move;

	move->peer = move->candidates[move->candidate];
	move->id = env_of(sync)->random(env_of(sync)->data) | 1;
	move->have_final = false;
	move->attempts = 0;
	move->deadline_ms = sync->now + CANDIDATE_MS;
	send_pull(sync, port);
	port_wake(sync, port, move->send_ms);
}

/* The owner first; then, unless flows must not be lost, the buddies it may have had. Nobody: the port is new. */
static void begin_cycle(struct sync *sync, struct port *port)
{
	const struct entry *entry = registry_owner(&sync->registry, port->id);
	uint64_t epoch = entry ? higher(port->fence, entry->epoch) : port->fence;
	uint32_t owner = epoch_host(epoch);
	struct move *move = &port->move;

	move->peer = 0;
	move->candidate = move->nr_candidates = 0;
	move->refused = false;
	if (sync->now < sync->ready_ms) {
		move->deadline_ms = sync->ready_ms;
		port_wake(sync, port, move->deadline_ms);
		return;
	}
	if (!owner || owner == sync->config.host) {
		/* A new port. A copy of a port that is gone is no beginning for it. */
		port_clear_flows(sync, port);
		move->unannounced = false;
		claim(sync, port);
		return;
	}
	move->candidates[move->nr_candidates++] = owner;
	if (!move->strict)
		move->nr_candidates +=
			rendezvous(sync, port->id, owner, move->candidates + move->nr_candidates,
				   PULL_CANDIDATES - move->nr_candidates);
	ask_candidate(sync, port);
}

void move_pull(struct sync *sync, struct port *port, bool strict)
{
	bool fed = port->role == PORT_PREPARED || port->role == PORT_STAGED;

	if (port->role == PORT_REPLICA)
		sync->replica_flows -= port->flows.count;
	port->role = PORT_PULLING;
	port->nr_peers = 0;
	if (!fed)
		begin_with_copy(sync, port);
	port->move = (struct move){
		.state = MOVE_ARRIVING, .strict = strict, .wanted = true, .unannounced = true};
	begin_cycle(sync, port);
}

/* Nobody gave the flows. While the owner says that the VM is still there it is right to wait; strict waits for ever. */
static void end_cycle(struct sync *sync, struct port *port)
{
	struct move *move = &port->move;

	if (move->refused || move->strict) {
		tell(sync, port, move->refused ? MOVE_REFUSED : MOVE_NO_STATE);
		move->peer = 0;
		move->candidate = move->nr_candidates;
		move->deadline_ms = sync->now + CYCLE_MS;
		port_wake(sync, port, move->deadline_ms);
		return;
	}
	if (!port->reading.ever) {
		sync->counters.flows_lost++;
		tell(sync, port, MOVE_NO_STATE);
	}
	claim(sync, port);
}

static void next_candidate(struct sync *sync, struct port *port)
{
	struct move *move = &port->move;
	bool owner_was_asked = move->candidate == 0;

	/* A buddy's own copy is as good as another buddy's. */
	if (!move->strict && owner_was_asked && !move->refused && port->reading.complete) {
		claim(sync, port);
		return;
	}
	if (++move->candidate < move->nr_candidates && !move->refused)
		ask_candidate(sync, port);
	else
		end_cycle(sync, port);
}

int sync_move_activate(struct sync *sync, struct uuid id)
{
	struct port *port = port_find(sync, id);

	if (!port)
		return -ENOENT;
	switch (port->role) {
	case PORT_ACTIVE:
		return 0;
	case PORT_STAGED:
		port->move.wanted = true;
		claim(sync, port);
		return 0;
	case PORT_PREPARED:
		/* The VM came before its flows: the source shall pause and offer them now. */
		if (!port->move.wanted) {
			port->move.wanted = true;
			port->move.unannounced = true;
			port->move.send_ms = sync->now;
			port->move.deadline_ms = sync->now + CANDIDATE_MS;
			port_wake(sync, port, sync->now);
		}
		return 0;
	case PORT_PULLING:
		return 0;
	default:
		return -ENOENT;
	}
}

static void tick_destination(struct sync *sync, struct port *port)
{
	struct move *move = &port->move;
	bool due = sync->now >= move->send_ms, late = sync->now >= move->deadline_ms;

	switch (port->role) {
	case PORT_PREPARED:
		if (move->wanted && late) {
			move_pull(sync, port, move->strict);
			return;
		}
		if (move->wanted && due)
			send_pull(sync, port);
		if (!move->wanted && late) {
			tell(sync, port, MOVE_TIMEOUT);
			move_leave(sync, port);
			return;
		}
		port_wake(sync, port, move->wanted ? move->send_ms : move->deadline_ms);
		return;
	case PORT_STAGED:
		/* Wanted, and still here: the ledger could not be written. */
		if (move->wanted && due) {
			claim(sync, port);
			return;
		}
		if (late) {
			tell(sync, port, MOVE_TIMEOUT);
			move_leave(sync, port);
			return;
		}
		port_wake(sync, port, move->wanted ? move->send_ms : move->deadline_ms);
		return;
	case PORT_PULLING:
		if (late && move->candidate < move->nr_candidates)
			next_candidate(sync, port);
		else if (late && move->peer)
			end_cycle(sync, port);
		else if (late)
			begin_cycle(sync, port);
		else if (due && move->peer && !move->have_final)
			send_pull(sync, port);
		if (port->role == PORT_PULLING)
			port_wake(sync, port,
				  earlier(move->deadline_ms, move->peer && !move->have_final
								     ? move->send_ms
								     : INT64_MAX));
		return;
	}
}

/* Passive, and offered to nobody or to another: now to him. */
static enum move_result offer_to(struct sync *sync, struct port *port, uint32_t to, uint64_t id)
{
	struct move former = port->move;

	port->move = (struct move){.state = MOVE_OFFERED, .id = id, .peer = to};
	if (write_ledger(sync, port, PORT_HANDOVER, port->epoch) < 0) {
		port->move = former;
		port->move.state = MOVE_OFFERED;
		port->move.heir = 0;
		return MOVE_DISK;
	}
	port->doubtful = false;
	port->nr_peers = 0;
	peer_add(sync, port, to, true);
	return MOVE_NOT_YET;
}

/* It was offered to somebody. If he forgot it (restarted) or died it goes to whoever has the VM. If he lives he may claim it
 * any time: he is asked first, as for a rollback, and not before the VM has gone from here. */
static enum move_result pull_offered(struct sync *sync, struct port *port, uint32_t from,
				     uint64_t id)
{
	struct move *move = &port->move;

	if (move->state == MOVE_ROLLING && move->heir == from) {
		move->heir_move = id;
		return MOVE_NOT_YET;
	}
	if (move->state == MOVE_ROLLING || move->state == MOVE_PAUSING)
		return MOVE_REFUSED;
	if (move->peer == from || move->told == MOVE_UNKNOWN + 1 ||
	    !members_living(&sync->members, move->peer))
		return offer_to(sync, port, from, id);
	if (!env_of(sync)->port_gone(env_of(sync)->data, port->id))
		return MOVE_REFUSED;
	move->state = MOVE_ROLLING;
	move->heir = from;
	move->heir_move = id;
	move->deadline_ms = sync->now + ROLLBACK_ASK_MS;
	send_abort(sync, port);
	return MOVE_NOT_YET;
}

void move_on_pull(struct sync *sync, uint32_t from, const struct move_pull *message)
{
	struct port *port = port_find(sync, message->port);
	enum move_result result = MOVE_NO_STATE;

	if (!port) {
		send_answer(sync, from, message->port, message->move, STEP_PULL, result, NULL);
		return;
	}
	/* Asked again for what is under way. */
	if ((port->move.state == MOVE_OFFERED || port->move.state == MOVE_PAUSING) &&
	    port->move.peer == from && port->move.id == message->move)
		return;

	switch (port->role) {
	case PORT_ACTIVE:
		result = MOVE_REFUSED;
		if (port->move.state == MOVE_PAUSING || port->move.state == MOVE_CLAIMING ||
		    !env_of(sync)->port_gone(env_of(sync)->data, port->id))
			break;
		if (port->move.state == MOVE_PREPARING || port->move.state == MOVE_PRECOPY) {
			if (port->move.peer != from)
				stop_move(sync, port, MOVE_ABORTED);
		}
		port->move = (struct move){.id = message->move, .peer = from, .pulled = true};
		if (!peer_add(sync, port, from, true))
			break;
		result = offer(sync, port) < 0 ? MOVE_DISK : MOVE_NOT_YET;
		break;
	case PORT_HANDOVER:
		result = pull_offered(sync, port, from, message->move);
		break;
	case PORT_REPLICA:
		if (!port->reading.complete || port->move.state == MOVE_OFFERED)
			break;
		port->nr_peers = 0;
		port->move = (struct move){.state = MOVE_OFFERED,
					   .id = message->move,
					   .peer = from,
					   .deadline_ms = sync->now + 10 * CANDIDATE_MS};
		peer_add(sync, port, from, true);
		result = MOVE_NOT_YET;
		break;
	}
	send_answer(sync, from, port->id, message->move, STEP_PULL, result, NULL);
	port_wake(sync, port, sync->now);
}

static void on_pull_answer(struct sync *sync, struct port *port, enum move_result result)
{
	struct move *move = &port->move;

	if (port->role != PORT_PULLING)
		return;
	if (result == MOVE_NOT_YET) {
		move->deadline_ms = sync->now + CANDIDATE_MS;
		return;
	}
	move->refused |= result == MOVE_REFUSED && move->candidate == 0;
	next_candidate(sync, port);
}

/* ---- Both -------------------------------------------------------------------------------------------------------- */

void move_on_answer(struct sync *sync, uint32_t from, const struct move_answer *message)
{
	struct port *port = port_find(sync, message->port);

	if (!port || port->move.id != message->move || port->move.peer != from ||
	    message->result >= MOVE_RESULTS)
		return;
	switch (message->step) {
	case STEP_PREPARE:
		on_prepare_answer(sync, port, message->result);
		break;
	case STEP_FINAL:
		on_final_answer(sync, port, message->result);
		break;
	case STEP_CLAIMED:
		if (port->move.state == MOVE_ANNOUNCING)
			move_end(port);
		break;
	case STEP_ABORT:
		on_abort_answer(sync, port, message->result);
		break;
	case STEP_PULL:
		on_pull_answer(sync, port, message->result);
		break;
	}
}

void move_on_claimed(struct sync *sync, uint32_t from, const struct move_claimed *message)
{
	struct port *port = port_find(sync, message->port);
	enum move_result result = MOVE_OK;

	if (port && port->role == PORT_HANDOVER && port->move.peer == from &&
	    epoch_host(message->epoch) == from && message->epoch > port->epoch) {
		tell(sync, port, port->move.state == MOVE_ROLLING ? MOVE_CLAIMED : MOVE_OK);
		release(sync, port, message->epoch);
		move_end(port);
	} else if (port && port->fence > message->epoch) {
		result = MOVE_FENCED;
		antientropy_contact(sync, from, NULL);
	}
	send_answer(sync, from, message->port, message->move, STEP_CLAIMED, result, NULL);
}

void move_on_abort(struct sync *sync, uint32_t from, const struct move_abort *message)
{
	struct port *port = port_find(sync, message->port);
	enum move_result result = MOVE_OK;

	/* It will be claimed, or the daemon dies before anybody could know: the source asks again. */
	if (port && port->move.state == MOVE_CLAIMING)
		return;
	/* Whatever became of the move, and after a restart too: an epoch above the source's was taken. */
	if (port && port->fence > message->epoch &&
	    (port->role != PORT_NONE || port->disk.epoch > message->epoch)) {
		result = MOVE_CLAIMED;
	} else if (!port || port->move.id != message->move || port->move.peer != from) {
		result = MOVE_UNKNOWN;
	} else if (port->role == PORT_PREPARED || port->role == PORT_STAGED) {
		port->aborted = message->move;
		tell(sync, port, MOVE_ABORTED);
		move_leave(sync, port);
	} else {
		/* What was pulled is taken back before it could be claimed: not this move, another one then. */
		if (port->role == PORT_PULLING) {
			port->move.refused = true;
			end_cycle(sync, port);
		}
		result = MOVE_UNKNOWN;
	}
	send_answer(sync, from, message->port, message->move, STEP_ABORT, result, NULL);
}

void move_higher_epoch(struct sync *sync, struct port *port, uint64_t epoch, uint32_t host)
{
	if (epoch <= port->fence || epoch_host(epoch) != host)
		return;
	port->fence = epoch;
	switch (port->role) {
	case PORT_ACTIVE:
		sync->counters.stood_down++;
		tell(sync, port, MOVE_FENCED);
		release(sync, port, epoch);
		move_end(port);
		break;
	case PORT_HANDOVER:
		tell(sync, port, host == port->move.peer ? MOVE_OK : MOVE_FENCED);
		release(sync, port, epoch);
		move_end(port);
		break;
	case PORT_PREPARED:
	case PORT_STAGED:
		/* The VM is here, but it was rolled back or claimed elsewhere: the new owner is asked. */
		tell(sync, port, MOVE_FENCED);
		if (port->move.wanted)
			move_pull(sync, port, port->move.strict);
		else
			move_leave(sync, port);
		break;
	case PORT_PULLING:
		begin_cycle(sync, port);
		break;
	}
}

void move_tick(struct sync *sync, struct port *port)
{
	pay_ledger(sync, port);
	switch (port->move.state) {
	case MOVE_IDLE:
	case MOVE_CLAIMING:
		break;
	case MOVE_ARRIVING:
		tick_destination(sync, port);
		break;
	case MOVE_ANNOUNCING:
		/* The registry tells the source, if nothing else does. */
		if (sync->now >= port->move.deadline_ms)
			move_end(port);
		else if (sync->now >= port->move.send_ms)
			send_claimed(sync, port);
		if (port->move.state == MOVE_ANNOUNCING)
			port_wake(sync, port, port->move.send_ms);
		break;
	default:
		tick_source(sync, port);
	}
}
