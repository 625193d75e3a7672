// SPDX-License-Identifier: GPL-2.0
/* From the kernel to the core: the ring of changes, and scans of whole ports. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/datapath.h"
#include "view_pins.h"

#define RING_MS		10   /* changes wait this long for company */
#define RING_AT_ONCE	8192 /* records, before other things have their turn */
#define COLLECT_AT_ONCE 4096
#define SCAN_AT_ONCE	4    /* parts of FLOW_WALK_PART */
#define TOUCHED_MS	1000 /* mere traffic is told once a second ... */
#define SHARED_MS \
	10 /* ... but to a share group, whose windows lie ahead by so much traffic at most; a little ... */
#define SHARED_MANY_MS	100 /* ... less often if these are many */
#define SHARED_MANY	256
#define TOUCHED_AT_ONCE 1024 /* ... and so many flows in each turn */

struct queued_key {
	struct dfw_flow_key key;
	int64_t at_ms;
	uint32_t life; /* of what was killed, or is to end */
	bool killed;
};

/* ---- Queues ------------------------------------------------------------------------------------------------------ */

static int queue_put(struct key_queue *queue, struct queued_key queued)
{
	if (queue->end == queue->room) {
		size_t room = queue->room ? 2 * queue->room : 256;
		struct queued_key *keys = realloc(queue->keys, room * sizeof(*keys));

		if (!keys)
			return -ENOMEM;
		queue->keys = keys;
		queue->room = room;
	}
	queue->keys[queue->end++] = queued;
	return 0;
}

static int queue_changed(struct key_queue *queue, const struct dfw_flow_key *key, int64_t at_ms)
{
	return queue_put(queue, (struct queued_key){.key = *key, .at_ms = at_ms});
}

int key_queue_end(struct key_queue *queue, const struct dfw_flow_key *key, uint32_t life)
{
	return queue_put(queue, (struct queued_key){.key = *key, .life = life});
}

struct dfw_flow_key key_queue_first(const struct key_queue *queue, uint32_t *life)
{
	*life = queue->keys[queue->begin].life;
	return queue->keys[queue->begin].key;
}

void key_queue_drop(struct key_queue *queue, size_t nr)
{
	queue->begin += nr;
	if (queue->begin < queue->end && queue->begin < queue->room / 2)
		return;
	memmove(queue->keys, queue->keys + queue->begin,
		(queue->end - queue->begin) * sizeof(*queue->keys));
	queue->end -= queue->begin;
	queue->begin = 0;
}

static void queue_free(struct key_queue *queue)
{
	free(queue->keys);
	*queue = (struct key_queue){};
}

void collect_forget(struct datapath_port *port)
{
	queue_free(&port->urgent);
	queue_free(&port->touched);
	queue_free(&port->unended);
	if (port->scanning)
		flow_walk_end(&port->walk);
	port->scanning = port->scan_wanted = false;
}

/* ---- Reporting --------------------------------------------------------------------------------------------------- */

/* Above every version that was given before, also by a former life, or by a former owner whose flows were taken over. */
static uint64_t next_version(struct syncd *d, struct datapath_port *port)
{
	uint64_t version = ((uint64_t)d->cluster.life << VERSION_LIFE_BIT) + ++d->datapath.reports;

	port->version = version > port->version ? version : port->version + 1;
	return port->version;
}

struct report {
	struct syncd *d;
	struct datapath_port *port;
	uint64_t now_ns;
	bool half_open;
};

static struct report report_begin(struct syncd *d, struct datapath_port *port)
{
	const struct report report = {.d = d, .port = port, .now_ns = monotonic_ns()};

	sync_clock(d->cluster.sync, (int64_t)(report.now_ns / 1000000));
	return report;
}

static void report_flow(const struct report *report, const struct dfw_flow_key *key,
			const struct dfw_flow *flow, bool half_open)
{
	struct flow_record record = {};

	flow_to_record(key, flow, half_open, report->now_ns, &record);
	record.version = next_version(report->d, report->port);
	sync_flow_update(report->d->cluster.sync, report->port->id, &record);
}

static void report_place(const struct report *report, const struct dfw_exchange *place)
{
	struct syncd *d = report->d;

	if (place->result == DFW_EXCHANGE_DONE)
		report_flow(report, &place->key, &place->flow, place->half_open);
	else if (place->result == DFW_EXCHANGE_NONE)
		sync_flow_remove(d->cluster.sync, report->port->id, &place->key,
				 next_version(d, report->port));
	else if (queue_changed(&report->port->urgent, &place->key, d->loop.now_ms) < 0)
		report->port->scan_wanted = true;
}

/* What was killed is told as that, whatever has the key now. The core may tell of flows meanwhile, which takes the exchange's
 * places: what they held is a copy. */
static void report_places(const struct report *report, const struct queued_key *queued, size_t nr)
{
	struct dfw_exchange *places = report->d->datapath.collected;
	const struct dfw_flow_key *keys[SYNC_PREFETCH];

	memcpy(places, report->d->datapath.exchange.places, nr * sizeof(*places));
	for (size_t i = 0; i < nr; i++) {
		if (i % SYNC_PREFETCH == 0) {
			size_t ahead = nr - i < SYNC_PREFETCH ? nr - i : SYNC_PREFETCH;

			for (size_t k = 0; k < ahead; k++)
				keys[k] = &places[i + k].key;
			sync_flow_prefetch(report->d->cluster.sync, report->port->id, keys, ahead);
		}
		if (queued[i].killed)
			sync_flow_kill(report->d->cluster.sync, report->port->id, &places[i].key,
				       queued[i].life, next_version(report->d, report->port));
		report_place(report, &places[i]);
	}
}

/* ---- The ring ---------------------------------------------------------------------------------------------------- */

static void on_change(void *data, const struct dfw_change *change)
{
	struct syncd *d = data;
	struct datapath_port *port =
		change->slot < DFW_MAX_PORTS ? d->datapath.by_slot[change->slot] : NULL;
	struct key_queue *queue;

	if (!port || port->watch == WATCH_OFF)
		return;
	queue = change->kind == DFW_CHANGE_TOUCHED ? &port->touched : &port->urgent;
	if (queue_put(queue, (struct queued_key){.key = change->key,
						 .at_ms = d->loop.now_ms,
						 .life = change->life,
						 .killed = change->kind == DFW_CHANGE_KILLED}) < 0)
		port->scan_wanted = d->datapath.graves_wanted = true;
}

/* What was lost is marked in the flow, but nobody was told: looking at all of them finds it. */
static void check_losses(struct syncd *d)
{
	struct datapath *datapath = &d->datapath;
	uint64_t losses = change_ring_losses(&datapath->ring);

	if (losses == datapath->losses)
		return;
	log_notice("%llu changes of flows came faster than they were read: looking at all flows",
		   (unsigned long long)(losses - datapath->losses));
	datapath->losses = losses;
	datapath->losses_told++;
	datapath->graves_wanted = true;
	for (size_t i = 0; i < datapath->nr_ports; i++)
		if (datapath->ports[i]->watch != WATCH_OFF)
			datapath->ports[i]->scan_wanted = true;
}

void collect_ring(struct syncd *d)
{
	if (!d->datapath.open)
		return;
	while (change_ring_read(&d->datapath.ring, RING_AT_ONCE, on_change, d) == RING_AT_ONCE)
		;
	check_losses(d);
}

static void on_grave(void *data, const struct dfw_grave_key *key, uint32_t life)
{
	struct syncd *d = data;
	struct uuid id;
	uint64_t epoch;

	memcpy(&id, key->port, sizeof(id));
	sync_port_role(d->cluster.sync, id, &epoch);
	if (epoch == key->epoch)
		sync_flow_buried(d->cluster.sync, id, &key->flow, life);
}

void collect_graves(struct syncd *d)
{
	int r;

	if (!d->datapath.open || !d->datapath.graves_wanted)
		return;
	d->datapath.graves_wanted = false;
	sync_clock(d->cluster.sync, d->loop.now_ms);
	r = graves_read(d->datapath.graves, monotonic_ns(), on_grave, d);
	if (r < 0)
		log_errno(r, "cannot read which flows were killed");
}

/* ---- Collecting -------------------------------------------------------------------------------------------------- */

static size_t collect_keys(struct syncd *d, struct datapath_port *port, struct key_queue *queue,
			   size_t most, int64_t before_ms)
{
	struct dfw_flow_key keys[DFW_EXCHANGE_MAX];
	struct queued_key queued[DFW_EXCHANGE_MAX];
	struct report report;
	size_t done = 0;

	if (queue->begin == queue->end)
		return 0;
	report = report_begin(d, port);
	/* What is busy is queued again, behind: this round ends before it. */
	most = most < queue->end - queue->begin ? most : queue->end - queue->begin;
	while (done < most && queue->keys[queue->begin].at_ms <= before_ms) {
		size_t nr = 0;
		int r;

		datapath_flush(d);
		while (nr < DFW_EXCHANGE_MAX && done + nr < most &&
		       queue->keys[queue->begin + nr].at_ms <= before_ms) {
			queued[nr] = queue->keys[queue->begin + nr];
			keys[nr] = queued[nr].key;
			nr++;
		}
		key_queue_drop(queue, nr);
		r = flow_exchange_collect(&d->datapath.exchange, port->slot, keys, nr);
		if (r < 0) {
			log_errno(r, "cannot collect changed flows");
			port->scan_wanted = d->datapath.graves_wanted = true;
			break;
		}
		report_places(&report, queued, nr);
		done += nr;
		/* While a VM stands still: what is known goes while the rest is collected. */
		if (port->pause != PAUSE_NONE)
			sync_tick(d->cluster.sync, d->loop.now_ms);
	}
	return done;
}

static bool is_ending(const struct datapath_port *port)
{
	return port->unended.begin < port->unended.end;
}

/* A move wants every change at once; a buddy has enough of mere traffic once in a while. */
static bool in_a_hurry(const struct syncd *d, const struct datapath_port *port)
{
	struct sync_move move;

	return port->pause != PAUSE_NONE ||
	       (sync_move_status(d->cluster.sync, port->id, &move) == 0 &&
		move.phase != PHASE_NONE);
}

static int64_t touched_ms(const struct syncd *d, const struct datapath_port *port)
{
	if (!sync_port_share(d->cluster.sync, port->id)[0])
		return TOUCHED_MS;
	return port->touched.end - port->touched.begin > SHARED_MANY ? SHARED_MANY_MS : SHARED_MS;
}

void collect_due(struct syncd *d, struct datapath_port *port, bool all)
{
	int64_t now = d->loop.now_ms;
	bool hurry = all || in_a_hurry(d, port);

	datapath_flush(d);
	if (!d->datapath.open || port->slot >= DFW_MAX_PORTS || is_ending(port))
		return;
	collect_keys(d, port, &port->urgent, all ? SIZE_MAX : COLLECT_AT_ONCE, INT64_MAX);
	if (hurry)
		collect_keys(d, port, &port->touched, all ? SIZE_MAX : COLLECT_AT_ONCE, INT64_MAX);
	else
		collect_keys(d, port, &port->touched, TOUCHED_AT_ONCE, now - touched_ms(d, port));
}

int64_t collect_next(const struct syncd *d, const struct datapath_port *port)
{
	const struct key_queue *touched = &port->touched;
	int64_t now = d->loop.now_ms, due;

	if (is_ending(port))
		return now + RING_MS;
	if (port->flows_map >= 0 && collect_scans(d, port))
		return now;
	if (port->urgent.begin < port->urgent.end)
		return now;
	if (touched->begin == touched->end)
		return port->scan_wanted && port->flows_map >= 0 ? port->scan_ms : INT64_MAX;
	if (in_a_hurry(d, port))
		return now;
	due = touched->keys[touched->begin].at_ms + touched_ms(d, port);
	return due > now + RING_MS ? due : now + RING_MS;
}

/* ---- Scans ------------------------------------------------------------------------------------------------------- */

/* What is marked was told, or the telling was lost: it is collected, which takes the mark away. */
static void report_walked(const struct report *report, const struct dfw_flow_entry *entry)
{
	if (entry->flow.state == DFW_FLOW_DEAD)
		return;
	/* A SYN on a live connection, which might be forged: the connection is what counts. */
	if (report->half_open &&
	    sync_flow_confirmed(report->d->cluster.sync, report->port->id, &entry->key))
		return;
	report_flow(report, &entry->key, &entry->flow, report->half_open);
	if (entry->flow.flags & (DFW_FLOW_TOUCHED | DFW_FLOW_CHANGED) &&
	    report->port->watch != WATCH_OFF &&
	    queue_changed(&report->port->urgent, &entry->key, report->d->loop.now_ms) < 0)
		report->port->scan_wanted = true;
}

/* The next part of a walk, as flow_walk_next. */
static int report_part(const struct report *report, struct flow_walk *walk)
{
	const struct dfw_flow_key *keys[SYNC_PREFETCH];
	int r = flow_walk_next(walk);

	for (uint32_t i = 0; r >= 0 && i < walk->nr; i++) {
		if (i % SYNC_PREFETCH == 0) {
			size_t ahead = walk->nr - i < SYNC_PREFETCH ? walk->nr - i : SYNC_PREFETCH;

			for (size_t k = 0; k < ahead; k++)
				keys[k] = &walk->entries[i + k]->key;
			sync_flow_prefetch(report->d->cluster.sync, report->port->id, keys, ahead);
		}
		report_walked(report, walk->entries[i]);
	}
	return r;
}

/* A move wants to know all before it goes on. */
bool collect_scans(const struct syncd *d, const struct datapath_port *port)
{
	return !is_ending(port) &&
	       (port->scanning ||
		(port->scan_wanted && (d->loop.now_ms >= port->scan_ms || in_a_hurry(d, port))));
}

static int scan_begin(struct syncd *d, struct datapath_port *port)
{
	int r = sync_scan_begin(d->cluster.sync, port->id);

	if (r == 0)
		r = flow_walk_begin(&port->walk, port->flows_map, port->more_flows_map);
	port->scanning = r == 0;
	return r;
}

void collect_scan(struct syncd *d, struct datapath_port *port)
{
	struct report report = report_begin(d, port);
	int r = 1;

	datapath_flush(d);
	if (port->flows_map < 0 || is_ending(port))
		return;
	if (!port->scanning) {
		port->scan_wanted = false;
		if (scan_begin(d, port) < 0)
			return;
	}
	for (int i = 0; i < SCAN_AT_ONCE && r > 0; i++)
		r = report_part(&report, &port->walk);
	if (r > 0)
		return;
	port->scanning = false;
	flow_walk_end(&port->walk);
	if (r == 0)
		r = sync_scan_end(d->cluster.sync, port->id, next_version(d, port));
	if (r < 0 && r != -ENOENT) {
		log_errno(r, "cannot look at all flows of a port");
		port->scan_wanted = true;
	}
}

int collect_half_open(struct syncd *d, struct datapath_port *port)
{
	struct report report = report_begin(d, port);
	struct flow_walk walk;
	int r;

	report.half_open = true;
	r = flow_walk_begin(&walk, port->half_open_map, -1);
	do
		r = r < 0 ? r : report_part(&report, &walk);
	while (r > 0);
	flow_walk_end(&walk);
	return r;
}
