// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <bpf/bpf.h>

#include "json.h"
#include "log.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/moves.h"
#include "sync/daemon/vport_text.h"
#include "view_pins.h"

#define RING_MS	     10	    /* changes wait this long for company */
#define PREPARED_MS  10000  /* a prepared port that the core has not taken by then goes again */
#define SETTLE_MS    1000   /* between activating and comparing */
#define LEFT_OVER_MS 120000 /* one of a former life that nobody asks for goes then */

static const char *name_of(const struct syncd *d, struct uuid id)
{
	const struct local_vport *vport = vports_find(d, id);

	return vport ? vport->name : "(arriving)";
}

/* ---- The list ---------------------------------------------------------------------------------------------------- */

static size_t lower(const struct datapath *datapath, const struct uuid *id)
{
	size_t low = 0, high = datapath->nr_ports;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (memcmp(&datapath->ports[middle]->id, id, sizeof(*id)) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct datapath_port *datapath_find(const struct syncd *d, struct uuid id)
{
	size_t at = lower(&d->datapath, &id);

	if (at < d->datapath.nr_ports && memcmp(&d->datapath.ports[at]->id, &id, sizeof(id)) == 0)
		return d->datapath.ports[at];
	return NULL;
}

static struct datapath_port *get(struct syncd *d, struct uuid id)
{
	struct datapath *datapath = &d->datapath;
	struct datapath_port *port = datapath_find(d, id), **ports;
	size_t at = lower(datapath, &id);

	if (port)
		return port;
	ports = realloc(datapath->ports, (datapath->nr_ports + 1) * sizeof(*ports));
	if (!ports)
		return NULL;
	datapath->ports = ports;
	port = calloc(1, sizeof(*port));
	if (!port)
		return NULL;
	port->id = id;
	port->slot = DFW_MAX_PORTS;
	port->result = -1;
	port->flows_map = port->more_flows_map = port->half_open_map = port->state_map = -1;
	memmove(ports + at + 1, ports + at, (datapath->nr_ports - at) * sizeof(*ports));
	ports[at] = port;
	datapath->nr_ports++;
	return port;
}

static void close_maps(struct datapath_port *port)
{
	cleanup_close(&port->flows_map);
	cleanup_close(&port->more_flows_map);
	cleanup_close(&port->half_open_map);
	cleanup_close(&port->state_map);
	port->flows_map = port->more_flows_map = port->half_open_map = port->state_map = -1;
}

static void leave_slot(struct syncd *d, struct datapath_port *port)
{
	if (port->slot < DFW_MAX_PORTS && d->datapath.by_slot[port->slot] == port)
		d->datapath.by_slot[port->slot] = NULL;
	port->slot = DFW_MAX_PORTS;
}

static void take_slot(struct syncd *d, struct datapath_port *port, json_int_t slot)
{
	if (slot < 0 || slot >= DFW_MAX_PORTS || port->slot == (uint32_t)slot)
		return;
	leave_slot(d, port);
	port->slot = (uint32_t)slot;
	d->datapath.by_slot[slot] = port;
}

static void forget(struct syncd *d, struct datapath_port *port)
{
	struct datapath *datapath = &d->datapath;
	size_t at = lower(datapath, &port->id);

	leave_slot(d, port);
	collect_forget(port);
	close_maps(port);
	free(port);
	datapath->nr_ports--;
	memmove(datapath->ports + at, datapath->ports + at + 1,
		(datapath->nr_ports - at) * sizeof(*datapath->ports));
}

/* ---- Asking dfwd ------------------------------------------------------------------------------------------------- */

/* A port may have gone when dfwd answers. */
struct asked {
	struct syncd *d;
	struct uuid id;
};

static int ask(struct syncd *d, const struct datapath_port *port, json_t *request,
	       dfwd_answer *answer)
{
	struct asked *asked = malloc(sizeof(*asked));
	char uuid[UUID_TEXT_LEN];
	int r;

	if (!asked || !request) {
		free(asked);
		json_decref(request);
		return -ENOMEM;
	}
	*asked = (struct asked){d, port->id};
	json_object_set_new(request, "uuid", json_string(uuid_format(port->id, uuid)));
	r = dfwd_request(d, request, NULL, 0, answer, asked);
	if (r < 0)
		free(asked);
	return r;
}

/* The port that the answer is for, NULL: it has gone. Frees `data`. */
static struct datapath_port *answered(void *data, struct syncd **d)
{
	struct asked asked = *(struct asked *)data;

	free(data);
	*d = asked.d;
	return datapath_find(asked.d, asked.id);
}

static void tell_failure(const struct syncd *d, const struct datapath_port *port, const char *what,
			 int status, const struct link_packet *packet)
{
	const char *text = packet ? json_text(packet->json, "error") : NULL;

	log_error("vport %s: dfwd cannot %s: %s", name_of(d, port->id), what,
		  text ? text : strerror(-status));
}

/* ---- Watching ---------------------------------------------------------------------------------------------------- */

static void on_maps(void *data, int status, const struct link_packet *packet)
{
	struct syncd *d;
	struct datapath_port *port = answered(data, &d);

	if (!port)
		return;
	port->maps_asked = false;
	if (status < 0 || packet->nr_fds < 4) {
		if (status != -ECONNRESET)
			tell_failure(d, port, "hand over its maps", status, packet);
		return;
	}
	close_maps(port);
	take_slot(d, port, json_number(packet->json, "slot"));
	port->flows_map = dup(packet->fds[0]);
	port->more_flows_map = dup(packet->fds[1]);
	port->half_open_map = dup(packet->fds[2]);
	port->state_map = dup(packet->fds[3]);
	port->scan_wanted = true;
}

static void want_maps(struct syncd *d, struct datapath_port *port)
{
	if (port->flows_map >= 0 || port->maps_asked || !port->here)
		return;
	port->maps_asked = ask(d, port, json_pack("{s:s}", "request", "port-maps"), on_maps) == 0;
}

static void on_watched(void *data, int status, const struct link_packet *packet)
{
	struct syncd *d;
	struct datapath_port *port = answered(data, &d);

	if (!port || port->watch != WATCH_ASKED)
		return;
	if (status < 0 && status != -ECONNRESET)
		tell_failure(d, port, "watch it", status, packet);
	port->watch = status < 0 ? WATCH_OFF : WATCH_ON;
	port->scan_wanted = status == 0;
	/* What was killed before is in no ring. */
	if (status == 0 && sync_port_share(d->cluster.sync, port->id)[0])
		d->datapath.graves_wanted = true;
}

static void ignore_answer(void *data, int status, const struct link_packet *packet)
{
	(void)status;
	(void)packet;
	free(data);
}

static void follow_watch(struct syncd *d, struct datapath_port *port)
{
	bool wanted = port->here && (port->held || sync_port_followed(d->cluster.sync, port->id));

	if (!dfwd_connected(d))
		return;
	if (wanted)
		want_maps(d, port);
	if (wanted && port->watch == WATCH_OFF &&
	    ask(d, port, json_pack("{s:s, s:b}", "request", "port-watch", "on", 1), on_watched) ==
		    0)
		port->watch = WATCH_ASKED;
	if (!wanted && port->watch == WATCH_ON) {
		ask(d, port, json_pack("{s:s, s:b}", "request", "port-watch", "on", 0),
		    ignore_answer);
		port->watch = WATCH_OFF;
		collect_forget(port);
	}
}

/* ---- Pausing ----------------------------------------------------------------------------------------------------- */

static void pause_fails(struct syncd *d, struct datapath_port *port, int status)
{
	/* A port that was offered in a former life is passive whatever happens: tried again when dfwd is back. */
	bool again = sync_port_role(d->cluster.sync, port->id, NULL) == PORT_HANDOVER;

	port->pause = again ? PAUSE_WANTED : PAUSE_NONE;
	if (!again)
		sync_port_paused(d->cluster.sync, d->loop.now_ms, port->id, status);
}

static void on_held(void *data, int status, const struct link_packet *packet)
{
	struct syncd *d;
	struct datapath_port *port = answered(data, &d);

	if (!port || port->pause != PAUSE_ASKED)
		return;
	if (status < 0) {
		tell_failure(d, port, "hold it", status, packet);
		pause_fails(d, port, status);
		return;
	}
	/* Nearly all that there is to tell goes while the last packets end. */
	port->held = true;
	port->pause = PAUSE_HELD;
	collect_ring(d);
	collect_due(d, port, true);
}

static void on_quiet(void *data, int status, const struct link_packet *packet)
{
	struct syncd *d;
	struct datapath_port *port = answered(data, &d);

	(void)packet;
	if (!port || port->pause != PAUSE_HELD)
		return;
	if (status < 0)
		pause_fails(d, port, status);
	else
		port->pause = PAUSE_QUIET;
}

static void begin_pause(struct syncd *d, struct datapath_port *port)
{
	if (!dfwd_connected(d) || !port->here)
		return;
	if (ask(d, port, json_pack("{s:s}", "request", "port-hold"), on_held) < 0)
		return;
	port->pause = PAUSE_ASKED;
	if (ask(d, port, json_pack("{s:s}", "request", "port-quiet"), on_quiet) < 0)
		port->pause = PAUSE_WANTED;
}

/* What the destination is compared with is what the core knows: it has to be what the kernel has. False: all flows are
 * looked at once more. */
static bool compare_with_kernel(struct syncd *d, struct datapath_port *port)
{
	uint64_t kernel = datapath_flows(d, port->id);
	struct sync_flows known = {};

	sync_flows(d->cluster.sync, port->id, &known);
	if (kernel == known.count - known.half_open)
		return true;
	if (!port->compared) {
		port->compared = port->scan_wanted = true;
		return false;
	}
	log_warning("vport %s: its kernel counts %llu flows, %llu are there", name_of(d, port->id),
		    (unsigned long long)kernel, (unsigned long long)known.count);
	return true;
}

/* Nothing changes any more: the rest of a scan, the last changes, and those that nobody has answered yet. */
static void end_pause(struct syncd *d, struct datapath_port *port)
{
	int r;

	want_maps(d, port);
	if (port->flows_map < 0)
		return;
	collect_ring(d);
	if (port->scan_wanted || port->scanning)
		return;
	collect_due(d, port, true);
	/* Not all of it could be read: once more. */
	if (port->scan_wanted || collect_queued(port) || !compare_with_kernel(d, port))
		return;
	r = collect_half_open(d, port);
	if (r < 0) {
		log_errno(r, "vport %s: cannot read its half-open flows", name_of(d, port->id));
		pause_fails(d, port, r);
		return;
	}
	port->pause = PAUSE_NONE;
	sync_port_paused(d->cluster.sync, d->loop.now_ms, port->id, 0);
}

static void follow_pause(struct syncd *d, struct datapath_port *port)
{
	if (port->pause == PAUSE_WANTED)
		begin_pause(d, port);
	if (port->pause == PAUSE_QUIET)
		end_pause(d, port);
}

int datapath_pause(void *data, struct uuid id)
{
	struct syncd *d = data;
	struct datapath_port *port = get(d, id);

	if (!port)
		return -ENOMEM;
	if (sync_port_role(d->cluster.sync, id, NULL) == PORT_ACTIVE &&
	    (!dfwd_connected(d) || !port->here))
		return -ENOTCONN;
	/* What was not watched, or is reported anew after a restart, wants all flows. */
	if (port->watch != WATCH_ON || sync_port_role(d->cluster.sync, id, NULL) != PORT_ACTIVE)
		port->scan_wanted = true;
	port->pause = PAUSE_WANTED;
	port->compared = false;
	begin_pause(d, port);
	return -EINPROGRESS;
}

/* ---- Activating and releasing ------------------------------------------------------------------------------------ */

static void on_activated(void *data, int status, const struct link_packet *packet)
{
	struct syncd *d;
	struct datapath_port *port = answered(data, &d);

	if (!port)
		return;
	port->activate_asked = false;
	if (status == -ECONNRESET)
		return; /* again when dfwd is back */
	if (status < 0) {
		tell_failure(d, port, "bring it into force", status, packet);
		return;
	}
	port->was_in_force = port->epoch;
	port->epoch = 0;
	port->held = port->arriving = false;
	sync_port_activated(d->cluster.sync, d->loop.now_ms, port->id, port->was_in_force);
}

static void follow_activate(struct syncd *d, struct datapath_port *port)
{
	bool followed = sync_port_followed(d->cluster.sync, port->id);

	if (!port->epoch || port->activate_asked || !dfwd_connected(d) || !port->here)
		return;
	/* A port that was held is watched since then; one that is followed is watched before anything can change. */
	if (followed && port->watch == WATCH_OFF)
		follow_watch(d, port);
	port->activate_asked = ask(d, port,
				   json_pack("{s:s, s:I}", "request", "port-activate", "epoch",
					     (json_int_t)port->epoch),
				   on_activated) == 0;
}

int datapath_activate(void *data, struct uuid id, uint64_t epoch, bool resync)
{
	struct syncd *d = data;
	struct datapath_port *port = get(d, id);

	if (!port) {
		log_error("no memory to bring a port into force: it denies");
		return -ENOMEM;
	}
	port->pause = PAUSE_NONE;
	port->release_wanted = false;
	port->prepare = PREPARE_NONE;
	port->left_over_ms = 0;
	port->epoch = epoch;
	datapath_flush(d);
	/* What the core believes and what the kernel holds are compared once; a VM that has just moved comes first. */
	port->scan_wanted = true;
	port->scan_ms = d->loop.now_ms + SETTLE_MS;
	follow_activate(d, port);
	if (port->held)
		log_notice("vport %s: active here, epoch %llu%s", name_of(d, id),
			   (unsigned long long)epoch,
			   resync ? "; its flows may anchor their windows anew" : "");
	return -EINPROGRESS;
}

static void on_released(void *data, int status, const struct link_packet *packet)
{
	struct syncd *d;
	struct datapath_port *port = answered(data, &d);

	if (!port)
		return;
	port->release_asked = false;
	if (status == -ECONNRESET)
		return;
	port->release_wanted = false;
	if (status < 0 && status != -ENOENT)
		tell_failure(d, port, "remove it", status, packet);
	else
		port->here = false; /* the list that says so is behind this answer */
}

/* Of a port that another host has it says whose it is: it shall not be missing in a group in between. */
static json_t *release_request(const struct syncd *d, struct uuid id)
{
	const struct sync *sync = d->cluster.sync;
	char name[WIRE_TEXT_LEN];
	struct sync_vport vport;

	if (!sync || sync_port_find(sync, id, &vport) < 0 || vport.host == d->cluster.host)
		return json_pack("{s:s}", "request", "port-release");
	return json_pack("{s:s, s:s}", "request", "port-release", "host",
			 cluster_host_name(d, vport.host, name));
}

static void follow_release(struct syncd *d, struct datapath_port *port)
{
	if (port->release_wanted && !port->release_asked && dfwd_connected(d))
		port->release_asked = ask(d, port, release_request(d, port->id), on_released) == 0;
}

void datapath_release(void *data, struct uuid id)
{
	struct syncd *d = data;
	struct datapath_port *port = get(d, id);

	if (!port)
		return;
	/* dfwd does things in their order: what it is still preparing it removes behind that. */
	port->release_wanted = port->here || port->prepare != PREPARE_NONE;
	port->pause = PAUSE_NONE;
	port->epoch = 0;
	port->prepare = PREPARE_NONE;
	port->left_over_ms = 0;
	collect_forget(port);
	follow_release(d, port);
}

/* ---- Preparing --------------------------------------------------------------------------------------------------- */

static void on_prepared(void *data, int status, const struct link_packet *packet)
{
	struct syncd *d;
	struct datapath_port *port = answered(data, &d);

	if (!port || port->prepare != PREPARE_ASKED)
		return;
	if (status < 0)
		tell_failure(d, port, "prepare it", status, packet);
	else
		take_slot(d, port, json_number(packet->json, "slot"));
	port->prepare = PREPARE_DONE;
	port->prepared = status;
	port->prepared_ms = d->loop.now_ms;
}

static int ask_prepare(struct syncd *d, struct datapath_port *port, struct slice description,
		       uint64_t flows)
{
	struct vport vport;
	int r = vport_decode(description, &vport);

	if (r == 0)
		r = ask(d, port,
			json_pack("{s:s, s:I, s:o}", "request", "port-prepare", "flows",
				  (json_int_t)flows, "vport", vport_to_json(port->id, 1, &vport)),
			on_prepared);
	if (r < 0)
		return log_errno(r, "cannot ask dfwd to prepare a port");
	port->prepare = PREPARE_ASKED;
	port->full = port->refused = port->failed = 0;
	return -EINPROGRESS;
}

int datapath_prepare(void *data, struct uuid id, struct slice description, uint64_t flows)
{
	struct syncd *d = data;
	struct datapath_port *port = get(d, id);

	if (!port)
		return -ENOMEM;
	/* New to the cluster, not to its host; dfwd holds it already if it was added just now. */
	if (port->here && !port->release_wanted && port->prepare == PREPARE_NONE &&
	    (!port->arriving || d->datapath.adding)) {
		port->full = port->refused = port->failed = 0;
		/* However long it takes to find out whose it is. After the machine has begun anew it is in force. */
		if (port->asks || !port->held)
			ask(d, port, json_pack("{s:s, s:b}", "request", "port-hold", "pull", 1),
			    ignore_answer);
		return 0;
	}
	switch (port->prepare) {
	case PREPARE_NONE:
		return ask_prepare(d, port, description, flows);
	case PREPARE_ASKED:
		return -EINPROGRESS;
	}
	port->prepare = PREPARE_NONE;
	port->left_over_ms = 0;
	port->here |= port->prepared == 0;
	return port->prepared;
}

/* The source has given up before the core heard that all is ready. */
static void follow_prepare(struct syncd *d, struct datapath_port *port)
{
	enum port_role role = sync_port_role(d->cluster.sync, port->id, NULL);
	int64_t now = d->loop.now_ms;

	if (port->prepare == PREPARE_DONE && now >= port->prepared_ms + PREPARED_MS) {
		bool made = port->prepared == 0;

		port->prepare = PREPARE_NONE;
		port->release_wanted |= made && role != PORT_ACTIVE && role != PORT_HANDOVER;
	}
	if (port->left_over_ms && now >= port->left_over_ms) {
		log_notice("vport %s: a move of a former life that nobody goes on with: removed",
			   name_of(d, port->id));
		port->left_over_ms = 0;
		port->release_wanted = true;
	}
}

/* A port that a move has made here: that dfwd has it is no sign that the VM runs, that it sends is. */
static bool keeps_off(struct syncd *d, struct datapath_port *port, enum port_role role)
{
	if (!port->held || port->seen || port->asks)
		return false;
	if (!port->arriving) {
		/* Given to another host, and dfwd was not there to be told. */
		if (role == PORT_RELEASED)
			datapath_release(d, port->id);
		return role == PORT_RELEASED;
	}
	/* In the middle of a PREPARE, or left of a life before this one: the source asks again. */
	if (port->prepare == PREPARE_NONE && !port->left_over_ms)
		port->left_over_ms = d->loop.now_ms + LEFT_OVER_MS;
	return true;
}

int datapath_here(struct syncd *d, const struct local_vport *vport, bool strict)
{
	const struct slice description = {.bytes = vport->value, .nr = vport->nr};
	int r;

	d->datapath.adding = true;
	r = sync_port_add(d->cluster.sync, vport->id, description, strict);
	d->datapath.adding = false;
	return r;
}

void datapath_add(struct syncd *d, const struct local_vport *vport)
{
	enum port_role role = sync_port_role(d->cluster.sync, vport->id, NULL);
	struct datapath_port *port = datapath_find(d, vport->id);
	int r;

	if (!port)
		return;
	if (role == PORT_PREPARED || role == PORT_STAGED) {
		if (port->seen) {
			log_info("vport %s: its VM sends", vport->name);
			sync_move_activate(d->cluster.sync, vport->id);
		}
		return;
	}
	if (role == PORT_PULLING || keeps_off(d, port, role))
		return;
	r = datapath_here(d, vport, false);
	if (r < 0)
		log_errno(r, "vport %s: the cluster cannot be told", vport->name);
}

/* ---- Flows ------------------------------------------------------------------------------------------------------- */

/* Flows of a share group that are to end, while other CPUs hold them: they would be told of as alive. */
static void keep_unended(struct syncd *d, struct datapath_port *port)
{
	struct flow_exchange *exchange = &d->datapath.exchange;

	for (size_t i = 0; i < exchange->left; i++) {
		const struct dfw_exchange *place = &exchange->places[i];

		if (place->op != DFW_EXCHANGE_REMOVE ||
		    key_queue_end(&port->unended, &place->key, place->flow.life) < 0)
			continue;
		exchange->failed--;
		d->datapath.ended_late++;
	}
}

/* What the last run could not do belongs to the port that it was for. */
static void settle(struct syncd *d)
{
	struct flow_exchange *exchange = &d->datapath.exchange;
	struct datapath_port *port =
		exchange->slot < DFW_MAX_PORTS ? d->datapath.by_slot[exchange->slot] : NULL;

	if (port && !port->held && sync_port_share(d->cluster.sync, port->id)[0]) {
		keep_unended(d, port);
		d->datapath.not_shared += exchange->full + exchange->refused + exchange->failed;
	}
	exchange->left = 0;
	if (port) {
		port->full += exchange->full;
		port->refused += exchange->refused;
		port->failed += exchange->failed;
	}
	exchange->full = exchange->refused = exchange->failed = 0;
}

void datapath_flush(struct syncd *d)
{
	if (!d->datapath.open || !d->datapath.exchange.nr)
		return;
	flow_exchange_flush(&d->datapath.exchange);
	settle(d);
}

/* Wherever it lies. */
static void end_flow(struct syncd *d, uint32_t slot, const struct dfw_flow_key *key, uint32_t life)
{
	struct flow_exchange *exchange = &d->datapath.exchange;
	struct flow_record end = {.key = *key, .life = life, .flags = FLOW_GONE};

	if (exchange->nr + 2 > DFW_EXCHANGE_MAX)
		datapath_flush(d);
	flow_exchange_put(exchange, slot, &end, 0);
	end.flags |= FLOW_HALF_OPEN;
	flow_exchange_put(exchange, slot, &end, 0);
}

/* What other CPUs held in the last turn. */
static void end_unended(struct syncd *d, struct datapath_port *port)
{
	size_t nr = port->unended.end - port->unended.begin;

	if (nr == 0 || !d->datapath.open || port->slot >= DFW_MAX_PORTS)
		return;
	datapath_flush(d);
	for (size_t i = 0; i < nr; i++) {
		uint32_t life;
		struct dfw_flow_key key = key_queue_first(&port->unended, &life);

		key_queue_drop(&port->unended, 1);
		end_flow(d, port->slot, &key, life);
	}
	datapath_flush(d);
}

static void change(struct syncd *d, struct uuid id, const struct flow_record *record,
		   int (*put)(struct flow_exchange *exchange, uint32_t slot,
			      const struct flow_record *record, uint64_t now_ns))
{
	struct datapath_port *port = datapath_find(d, id);
	struct flow_exchange *exchange = &d->datapath.exchange;

	if (!port)
		return;
	if (record->version > port->version)
		port->version = record->version;
	if (!d->datapath.open || port->slot >= DFW_MAX_PORTS) {
		port->failed++;
		return;
	}
	if (exchange->nr == DFW_EXCHANGE_MAX || (exchange->nr && exchange->slot != port->slot))
		datapath_flush(d);
	if (put(exchange, port->slot, record, (uint64_t)d->loop.now_ms * 1000000) < 0)
		port->refused++;
}

void datapath_flow_apply(void *data, struct uuid id, const struct flow_record *record)
{
	change(data, id, record, flow_exchange_put);
}

void datapath_flow_share(void *data, struct uuid id, const struct flow_record *record,
			 enum share_how how)
{
	struct flow_record end = *record;
	bool gone = record->flags & FLOW_GONE;

	/* Wherever it lies: it may be confirmed here, and not where its end comes from. What has a lower life is another flow, be it
	 * that the core has not heard of it yet. */
	if (gone || (how != SHARE_JOIN && record->life)) {
		end.life -= !gone;
		end.flags = FLOW_GONE | (record->flags & FLOW_KILLED);
		change(data, id, &end, flow_exchange_put);
		end.flags |= FLOW_HALF_OPEN;
		change(data, id, &end, flow_exchange_put);
	}
	if (!gone)
		change(data, id, record,
		       how == SHARE_JOIN ? flow_exchange_join : flow_exchange_put);
}

int datapath_flows_held(void *data, struct uuid id)
{
	struct syncd *d = data;
	struct datapath_port *port = datapath_find(d, id);

	if (!port)
		return -ENOENT;
	datapath_flush(d);
	if (port->full || port->refused || port->failed)
		log_error("vport %s: %llu flows found no room, %llu are none of this port or "
			  "malformed, %llu could not be written",
			  name_of(d, id), (unsigned long long)port->full,
			  (unsigned long long)port->refused, (unsigned long long)port->failed);
	if (port->full)
		return -ENOSPC;
	if (port->refused)
		return -EPERM;
	return port->failed ? -EIO : 0;
}

uint64_t datapath_flows(void *data, struct uuid id)
{
	const struct syncd *d = data;
	const struct datapath_port *port = datapath_find(d, id);
	struct dfw_port_state state;
	const uint32_t zero = 0;

	if (!port || port->state_map < 0 ||
	    bpf_map_lookup_elem(port->state_map, &zero, &state) < 0 || state.flows < 0)
		return 0;
	return (uint64_t)state.flows;
}

bool datapath_late(void *data, struct uuid id)
{
	const struct syncd *d = data;
	const struct datapath_port *port = datapath_find(d, id);

	return !port || !port->attached || port->late;
}

bool datapath_stranded(void *data, struct uuid id)
{
	const struct syncd *d = data;
	const struct datapath_port *port = datapath_find(d, id);

	return port && port->held && port->attached && port->late;
}

uint64_t datapath_epoch(void *data, struct uuid id)
{
	const struct syncd *d = data;
	const struct datapath_port *port = datapath_find(d, id);

	return port && port->here ? port->was_in_force : 0;
}

bool datapath_in_force(void *data, struct uuid id)
{
	const struct syncd *d = data;
	const struct datapath_port *port = datapath_find(d, id);

	return port && port->here && !port->held;
}

bool datapath_gone(void *data, struct uuid id)
{
	const struct syncd *d = data;
	const struct datapath_port *port = datapath_find(d, id);

	return !port || !port->here || !port->attached;
}

void datapath_move_event(void *data, struct uuid id, enum move_result result)
{
	moves_on_event(data, id, result);
}

/* ---- dfwd's notices ---------------------------------------------------------------------------------------------- */

static void on_ring(void *data, uint32_t events)
{
	struct syncd *d = data;

	(void)events;
	/* Each change would wake us: not again before these have been read. */
	d->datapath.ring_ms = d->loop.now_ms + RING_MS;
	loop_change(&d->loop, d->datapath.ring.fd, 0);
}

static void close_kernel(struct syncd *d)
{
	struct datapath *datapath = &d->datapath;

	if (datapath->open)
		loop_remove(&d->loop, datapath->ring.fd);
	flow_exchange_close(&datapath->exchange);
	change_ring_close(&datapath->ring);
	cleanup_close(&datapath->graves);
	datapath->open = false;
}

static int open_kernel(struct syncd *d, const int *fds)
{
	struct datapath *datapath = &d->datapath;
	int ring = dup(fds[0]), program = dup(fds[2]), r;

	r = change_ring_open(&datapath->ring, ring, fds[1]);
	if (r == 0)
		r = flow_exchange_open(&datapath->exchange, program, fds[3]);
	else
		cleanup_close(&program);
	if (r == 0)
		r = loop_add(&d->loop, ring, EPOLLIN, on_ring, d);
	if (r < 0)
		return r;
	datapath->graves = dup(fds[4]);
	datapath->losses = change_ring_losses(&datapath->ring);
	datapath->open = true;
	return 0;
}

void datapath_on_hello(struct syncd *d, const struct link_packet *packet)
{
	int r = packet->nr_fds == 5 ? 0 : -EBADMSG;

	close_kernel(d);
	if (r == 0)
		r = open_kernel(d, packet->fds);
	if (r < 0) {
		log_errno(r, "cannot use what dfwd hands over to read and write flows");
		close_kernel(d);
	}
	d->datapath.member_told = false;
	for (size_t i = 0; i < d->datapath.nr_ports; i++)
		close_maps(d->datapath.ports[i]);
}

void datapath_on_link_lost(struct syncd *d)
{
	for (size_t i = 0; i < d->datapath.nr_ports; i++)
		d->datapath.ports[i]->watch = WATCH_OFF;
	d->datapath.member_told = false;
}

/* It has other maps than before, or is another port of that id. */
static void begin_anew(struct datapath_port *port)
{
	collect_forget(port);
	close_maps(port);
	port->watch = WATCH_OFF;
}

static void on_vport(struct syncd *d, const struct local_vport *vport)
{
	struct datapath_port *port = get(d, vport->id);
	uint32_t maps = (uint32_t)json_number(vport->json, "maps");

	if (!port)
		return;
	port->here = true;
	port->attached = json_is_true(json_object_get(vport->json, "attached"));
	port->held = json_is_true(json_object_get(vport->json, "held"));
	port->seen = vport->seen;
	port->late = json_is_true(json_object_get(vport->json, "late"));
	port->asks = json_is_true(json_object_get(vport->json, "asks"));
	port->arriving = json_is_true(json_object_get(vport->json, "arriving"));
	port->was_in_force = (uint64_t)json_number(vport->json, "epoch");
	if (port->maps != maps)
		begin_anew(port);
	port->maps = maps;
	take_slot(d, port, json_number(vport->json, "slot"));
}

void datapath_on_vports(struct syncd *d)
{
	struct datapath *datapath = &d->datapath;

	for (size_t i = 0; i < datapath->nr_ports; i++)
		datapath->ports[i]->here = false;
	for (size_t i = 0; i < d->vports.nr; i++)
		on_vport(d, &d->vports.list[i]);
	for (size_t i = datapath->nr_ports; i > 0; i--) {
		struct datapath_port *port = datapath->ports[i - 1];

		if (port->here)
			continue;
		begin_anew(port);
		if (port->prepare == PREPARE_NONE && port->pause == PAUSE_NONE)
			forget(d, port);
	}
}

/* ---- Turns ------------------------------------------------------------------------------------------------------- */

static void tell_membership(struct syncd *d)
{
	bool member = d->cluster.sync != NULL;

	if (!dfwd_connected(d) || d->datapath.member_told == member)
		return;
	if (dfwd_request(d, json_pack("{s:s, s:b}", "request", "member", "member", member), NULL, 0,
			 NULL, NULL) == 0)
		d->datapath.member_told = member;
}

static void read_ring(struct syncd *d)
{
	struct datapath *datapath = &d->datapath;

	if (!datapath->open || !datapath->ring_ms)
		return;
	if (d->loop.now_ms < datapath->ring_ms) {
		loop_wake(&d->loop, datapath->ring_ms);
		return;
	}
	datapath->ring_ms = 0;
	collect_ring(d);
	loop_change(&d->loop, datapath->ring.fd, EPOLLIN);
}

/* The VM runs here, and whether the port was ever offered is not known: it is taken back (V1a). */
static void follow_doubt(struct syncd *d, const struct datapath_port *port)
{
	struct sync_move move;

	if (port->held && port->seen && sync_move_status(d->cluster.sync, port->id, &move) == 0 &&
	    move.doubtful && sync_move_rollback(d->cluster.sync, port->id) == 0)
		log_notice("vport %s: its VM sends here: it is taken back", name_of(d, port->id));
}

static void port_turn(struct syncd *d, struct datapath_port *port)
{
	follow_doubt(d, port);
	follow_prepare(d, port);
	follow_release(d, port);
	follow_watch(d, port);
	follow_activate(d, port);
	end_unended(d, port);
	if (port->flows_map >= 0 &&
	    ((port->pause == PAUSE_QUIET && (port->scan_wanted || port->scanning)) ||
	     (port->watch == WATCH_ON && collect_scans(d, port))))
		collect_scan(d, port);
	collect_due(d, port, false);
	follow_pause(d, port);
	if (port->watch == WATCH_ON || port->pause == PAUSE_QUIET)
		loop_wake(&d->loop, collect_next(d, port));
}

void datapath_turn(struct syncd *d)
{
	tell_membership(d);
	if (!d->cluster.sync)
		return;
	read_ring(d);
	collect_graves(d);
	for (size_t i = 0; i < d->datapath.nr_ports; i++)
		port_turn(d, d->datapath.ports[i]);
	datapath_flush(d);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

void datapath_init(struct syncd *d)
{
	d->datapath.exchange.program = d->datapath.ring.fd = d->datapath.graves = -1;
}

void datapath_start(struct syncd *d)
{
	datapath_on_vports(d);
}

void datapath_stop(struct syncd *d)
{
	for (size_t i = 0; i < d->datapath.nr_ports; i++) {
		struct datapath_port *port = d->datapath.ports[i];

		collect_forget(port);
		port->pause = PAUSE_NONE;
		port->prepare = PREPARE_NONE;
		port->epoch = 0;
		port->release_wanted = false;
		port->left_over_ms = 0;
	}
}

void datapath_close(struct syncd *d)
{
	while (d->datapath.nr_ports)
		forget(d, d->datapath.ports[0]);
	free(d->datapath.ports);
	close_kernel(d);
}
