// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "sync/daemon/counters.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/moves.h"
#include "view_pins.h"

#define WAIT_MS	     10000
#define WAIT_MOST_MS 20000 /* who asks notices then that nobody answers */
#define POLL_MS	     1
#define LAG_ROOM     16	   /* peers of a port */
#define SAFE_BEHIND  10000 /* flows that a final delta may have: they go in some 10 ms */

static const char *const result_texts[MOVE_RESULTS] = {
	[MOVE_OK] = "done",
	[MOVE_NOT_YET] = "not yet",
	[MOVE_NO_ROOM] = "the destination has no room for its flows",
	[MOVE_REFUSED] = "refused: the datapath could not, or the VM is still there",
	[MOVE_UNKNOWN] = "the destination knows of no such move any more",
	[MOVE_FENCED] = "another host has taken the port over",
	[MOVE_MISMATCH] = "the destination's flows are not those of the source",
	[MOVE_CLAIMED] = "too late: the destination has the port",
	[MOVE_DISK] = "the ledger on disk could not be written",
	[MOVE_TIMEOUT] = "nothing was heard of the other host in time",
	[MOVE_PEER_DEAD] = "the other host is not alive",
	[MOVE_NO_STATE] = "nobody has the flows",
	[MOVE_ABORTED] = "taken back",
};

static const char *const phase_names[] = {
#define PHASE_NAME(symbol, name) name,
	MOVE_PHASES(PHASE_NAME)
#undef PHASE_NAME
};

static const char *const role_names[] = {
	[PORT_NONE] = "none",	      [PORT_ACTIVE] = "active",	  [PORT_HANDOVER] = "handover",
	[PORT_RELEASED] = "released", [PORT_REPLICA] = "replica", [PORT_PREPARED] = "prepared",
	[PORT_STAGED] = "staged",     [PORT_PULLING] = "pulling", [PORT_OFFERING] = "offering",
};

/* ---- How replication is ------------------------------------------------------------------------------------------ */

static json_t *lag_json(const struct syncd *d, const struct datapath_port *port,
			const struct sync_lag *lag)
{
	char name[WIRE_TEXT_LEN];
	uint64_t behind = lag->changes + (port ? collect_queued(port) : 0);
	bool scans = port && (port->scan_wanted || port->scanning);

	return json_pack("{s:s, s:I, s:I, s:b, s:b, s:b}", "host",
			 cluster_host_name(d, lag->peer, name), "changes", (json_int_t)behind, "ms",
			 (json_int_t)lag->ms, "safe", lag->safe && behind <= SAFE_BEHIND && !scans,
			 "room", lag->status != FLOWS_NO_ROOM, "shares", lag->shares);
}

static json_t *peers_json(const struct syncd *d, struct uuid id)
{
	struct sync_lag lag[LAG_ROOM];
	size_t nr = sync_lag(d->cluster.sync, id, lag, LAG_ROOM);
	json_t *peers = json_array();

	for (size_t i = 0; i < nr && i < LAG_ROOM; i++)
		json_array_append_new(peers, lag_json(d, datapath_find(d, id), &lag[i]));
	return peers;
}

static json_t *lag_of(const struct syncd *d, struct uuid id, uint32_t peer)
{
	struct sync_lag lag[LAG_ROOM];
	size_t nr = sync_lag(d->cluster.sync, id, lag, LAG_ROOM);

	for (size_t i = 0; i < nr && i < LAG_ROOM; i++)
		if (lag[i].peer == peer)
			return lag_json(d, datapath_find(d, id), &lag[i]);
	return NULL;
}

static bool is_safe(const struct syncd *d, struct uuid id, uint32_t peer)
{
	_cleanup_json_ json_t *lag = lag_of(d, id, peer);

	return json_is_true(json_object_get(lag, "safe"));
}

static void add_peer(const struct syncd *d, struct uuid id, uint32_t peer, json_t *json)
{
	_cleanup_json_ json_t *lag = lag_of(d, id, peer);
	char name[WIRE_TEXT_LEN];

	json_object_set_new(json, "peer", json_string(cluster_host_name(d, peer, name)));
	if (!lag)
		return;
	json_object_set(json, "safe", json_object_get(lag, "safe"));
	json_object_set(json, "behind", json_object_get(lag, "changes"));
	json_object_set(json, "behind_ms", json_object_get(lag, "ms"));
}

static json_t *move_json(const struct syncd *d, const char *name, struct uuid id)
{
	const struct datapath_port *port = datapath_find(d, id);
	struct sync_flows flows = {};
	struct sync_move move = {};
	uint64_t epoch;
	enum port_role role = sync_port_role(d->cluster.sync, id, &epoch);
	json_t *json;

	sync_flows(d->cluster.sync, id, &flows);
	sync_move_status(d->cluster.sync, id, &move);
	json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:b, s:b, s:o}", "vport", name,
			 "share", sync_port_share(d->cluster.sync, id), "host",
			 d->cluster.config.name, "role", role_names[role], "phase",
			 phase_names[move.phase], "epoch", (json_int_t)epoch, "flows",
			 (json_int_t)flows.count, "strict", move.strict, "held", port && port->held,
			 "peers", peers_json(d, id));
	if (move.phase != PHASE_NONE && move.peer)
		add_peer(d, id, move.peer, json);
	if (port && port->result >= 0)
		json_object_set_new(json, "result", json_string(result_texts[port->result]));
	return json;
}

/* ---- Calls that wait --------------------------------------------------------------------------------------------- */

enum wait_for {
	WAIT_SAFE,
	WAIT_HANDED_OVER,
	WAIT_ACTIVE,
	WAIT_BACK,
};

struct move_call {
	struct move_call *next;
	struct control_call *call;
	struct uuid id;
	char name[DFW_PORT_NAME_LEN];
	enum wait_for wait;
	uint64_t began_ns;
	int64_t deadline_ms;
	int result; /* of an event that ends it, -1: none */
};

static int wait_for(struct syncd *d, struct control_call *call, const struct local_vport *vport,
		    enum wait_for wait, int64_t ms)
{
	struct move_call *waiting = malloc(sizeof(*waiting));

	if (!waiting)
		return log_errno(-ENOMEM, "cannot wait");
	*waiting = (struct move_call){
		.next = d->moves.waiting,
		.call = call,
		.id = vport->id,
		.wait = wait,
		.began_ns = monotonic_ns(),
		.deadline_ms = d->loop.now_ms + ms,
		.result = -1,
	};
	strcpy(waiting->name, vport->name);
	d->moves.waiting = waiting;
	return 0;
}

void moves_on_event(struct syncd *d, struct uuid id, enum move_result result)
{
	struct datapath_port *port = datapath_find(d, id);
	const struct local_vport *vport = vports_find(d, id);

	if (result >= MOVE_RESULTS)
		return;
	if (port)
		port->result = (int8_t)result;
	if (vport && result == MOVE_OK)
		log_info("vport %s: its move is done", vport->name);
	else if (vport)
		log_notice("vport %s: its move: %s", vport->name, result_texts[result]);
	for (struct move_call *call = d->moves.waiting; call; call = call->next)
		if (memcmp(&call->id, &id, sizeof(id)) == 0)
			call->result = (int)result;
}

/* Is it so? 1: yes; 0: not yet; below 0: it will not be. */
static int arrived(struct syncd *d, const struct move_call *call)
{
	enum port_role role = sync_port_role(d->cluster.sync, call->id, NULL);
	const struct datapath_port *port = datapath_find(d, call->id);
	struct sync_move move = {};
	bool failed = call->result > MOVE_OK;

	sync_move_status(d->cluster.sync, call->id, &move);
	switch (call->wait) {
	case WAIT_SAFE:
		if (move.phase == PHASE_PRECOPY)
			return is_safe(d, call->id, move.peer);
		return move.phase == PHASE_PREPARING ? 0 : -1;
	case WAIT_HANDED_OVER:
		if (move.phase == PHASE_HANDED_OVER || role == PORT_RELEASED)
			return 1;
		return failed || role == PORT_NONE ? -1 : 0;
	case WAIT_ACTIVE:
		if (role == PORT_ACTIVE)
			return port && !port->epoch;
		return role == PORT_NONE || role == PORT_RELEASED ? -1 : 0;
	case WAIT_BACK:
		if (call->result == MOVE_CLAIMED || role == PORT_RELEASED || role == PORT_NONE)
			return -1;
		return role == PORT_ACTIVE && move.phase == PHASE_NONE && port && !port->epoch;
	}
	return -1;
}

static void complete(struct syncd *d, const struct move_call *call)
{
	json_t *json = move_json(d, call->name, call->id);

	json_object_set_new(json, "took_us",
			    json_integer((json_int_t)(monotonic_ns() - call->began_ns) / 1000));
	control_done(call->call, json);
}

static void fail(const struct move_call *call, bool late)
{
	static const char *const wanted[] = {
		[WAIT_SAFE] = "is not ready to be moved",
		[WAIT_HANDED_OVER] = "could not be handed over",
		[WAIT_ACTIVE] = "is not active here",
		[WAIT_BACK] = "could not be taken back",
	};
	char text[256];

	snprintf(text, sizeof(text), "vport %s %s: %s%s", call->name, wanted[call->wait],
		 call->result >= 0 ? result_texts[call->result]
		 : late		   ? "it takes too long, and goes on"
				   : "the move has ended",
		 call->wait == WAIT_HANDED_OVER
			 ? "; `migrate rollback` brings it into force here again"
			 : "");
	control_failed(call->call, CONTROL_FAILED, text, NULL);
}

void moves_turn(struct syncd *d)
{
	struct move_call **at = &d->moves.waiting;

	while (*at) {
		struct move_call *call = *at;
		bool late = d->loop.now_ms >= call->deadline_ms;
		int r = arrived(d, call);

		if (r == 0 && !late) {
			loop_wake(&d->loop, d->loop.now_ms + POLL_MS);
			at = &call->next;
			continue;
		}
		*at = call->next;
		/* Whoever waits until it is safe looks at how far it is, and asks again. */
		if (r > 0 || (r == 0 && call->wait == WAIT_SAFE))
			complete(d, call);
		else
			fail(call, late);
		free(call);
	}
}

void moves_stop(struct syncd *d)
{
	while (d->moves.waiting) {
		struct move_call *call = d->moves.waiting;

		d->moves.waiting = call->next;
		control_failed(call->call, CONTROL_FAILED, "dfwsyncd leaves the cluster", NULL);
		free(call);
	}
}

/* ---- Commands ---------------------------------------------------------------------------------------------------- */

/* Of this host: what is another one's went there. */
static int find_vport(struct syncd *d, const json_t *arguments, const struct local_vport **vport)
{
	const char *name = json_text(arguments, "vport");
	int r = cluster_ready(d);

	if (r < 0)
		return r;
	*vport = name ? vports_find_name(d, name) : NULL;
	if (!*vport) {
		log_error("there is no vport \"%s\" on this host", name ? name : "");
		return -EINVAL;
	}
	sync_clock(d->cluster.sync, d->loop.now_ms);
	return 0;
}

static void forget_result(const struct syncd *d, struct uuid id)
{
	struct datapath_port *port = datapath_find(d, id);

	if (port)
		port->result = -1;
}

static int find_host(struct syncd *d, const json_t *arguments, uint32_t *host)
{
	const char *name = json_text(arguments, "to");

	*host = name ? cluster_host_find(d, name) : 0;
	if (*host && *host != d->cluster.host)
		return 0;
	log_error(*host ? "it is on host \"%s\" already" : "there is no host \"%s\" in the cluster",
		  name ? name : "");
	return -EINVAL;
}

static int64_t wait_ms(const json_t *arguments)
{
	json_int_t ms = json_number(arguments, "wait_ms");

	return ms < 0 ? 0 : ms < WAIT_MOST_MS ? ms : WAIT_MOST_MS;
}

int moves_prepare(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	const struct local_vport *vport;
	uint32_t host = 0;
	int r = find_vport(d, arguments, &vport);

	if (r == 0)
		r = find_host(d, arguments, &host);
	if (r < 0)
		return r;
	forget_result(d, vport->id);
	r = sync_move_begin(d->cluster.sync, vport->id, host,
			    json_is_true(json_object_get(arguments, "strict")));
	if (r == -ENOENT)
		log_error("vport %s is not in force on this host", vport->name);
	else if (r == -EALREADY)
		log_error("vport %s: a move is under way: `migrate rollback` ends it", vport->name);
	else if (r == -EHOSTUNREACH)
		log_error("host %s is not alive", json_text(arguments, "to"));
	if (r < 0)
		return r == -ENOENT || r == -EALREADY ? -EINVAL : r;
	return wait_for(d, call, vport, WAIT_SAFE, wait_ms(arguments));
}

int moves_wait(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	const struct local_vport *vport;
	int r = find_vport(d, arguments, &vport);

	return r < 0 ? r : wait_for(d, call, vport, WAIT_SAFE, wait_ms(arguments));
}

int moves_start(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	const struct local_vport *vport;
	int r = find_vport(d, arguments, &vport);

	if (r < 0)
		return r;
	forget_result(d, vport->id);
	r = sync_move_pause(d->cluster.sync, vport->id);
	if (r == -ENOENT || r == -EAGAIN) {
		log_error("vport %s: no move is prepared: `migrate prepare` first", vport->name);
		return -EINVAL;
	}
	if (r < 0)
		return log_errno(r, "vport %s cannot be paused", vport->name);
	return wait_for(d, call, vport, WAIT_HANDED_OVER, WAIT_MS);
}

int moves_activate(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	const struct local_vport *vport;
	int r = find_vport(d, arguments, &vport);

	if (r < 0)
		return r;
	if (sync_port_role(d->cluster.sync, vport->id, NULL) == PORT_HANDOVER) {
		log_error("vport %s was handed over from this host: `migrate rollback` brings it "
			  "back",
			  vport->name);
		return -EINVAL;
	}
	r = sync_move_activate(d->cluster.sync, vport->id);
	if (r == -ENOENT)
		r = datapath_here(d, vport, json_is_true(json_object_get(arguments, "strict")));
	if (r < 0)
		return log_errno(r, "vport %s cannot be activated", vport->name);
	return wait_for(d, call, vport, WAIT_ACTIVE, WAIT_MS);
}

int moves_rollback(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	const struct local_vport *vport;
	int r = find_vport(d, arguments, &vport);

	if (r < 0)
		return r;
	forget_result(d, vport->id);
	r = sync_move_rollback(d->cluster.sync, vport->id);
	if (r == -ENOENT) {
		log_error("vport %s: no move is under way from this host", vport->name);
		return -EINVAL;
	}
	if (r < 0 && r != -EALREADY)
		return log_errno(r, "vport %s", vport->name);
	return wait_for(d, call, vport, WAIT_BACK, WAIT_MS);
}

int moves_status(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	const struct local_vport *vport;
	int r = find_vport(d, arguments, &vport);

	if (r == 0)
		control_done(call, move_json(d, vport->name, vport->id));
	return r;
}

/* Whose command is another host to carry out for this one? A host may have flows brought to itself, and end a move to
 * itself. Nothing else: `start` denies here, so a stolen host that is no operator's would take what it likes. */
bool moves_concern(const struct syncd *d, uint32_t host, const char *command,
		   const json_t *arguments)
{
	const char *name = json_text(arguments, "vport"), *to = json_text(arguments, "to");
	const struct local_vport *vport = name ? vports_find_name(d, name) : NULL;
	struct sync_move move = {};

	if (strcmp(command, "migrate-status") == 0 || strcmp(command, "migrate-wait") == 0)
		return true;
	if (strcmp(command, "migrate-prepare") == 0)
		return to && cluster_host_find(d, to) == host;
	if (!vport || strcmp(command, "migrate-rollback") != 0)
		return false;
	sync_move_status(d->cluster.sync, vport->id, &move);
	return move.phase != PHASE_NONE && move.peer == host;
}

/* ---- sync status ------------------------------------------------------------------------------------------------- */

int moves_sync_status(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	json_t *ports = json_array();
	int r = cluster_ready(d);

	(void)arguments;
	for (size_t i = 0; i < d->vports.nr && r == 0; i++)
		json_array_append_new(ports,
				      move_json(d, d->vports.list[i].name, d->vports.list[i].id));
	if (r < 0) {
		json_decref(ports);
		return r;
	}
	control_done(call, json_pack("{s:o, s:o}", "vports", ports, "counters", counters_core(d)));
	return 0;
}
