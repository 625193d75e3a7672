/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_DATAPATH_H
#define SYNC_DAEMON_DATAPATH_H

#include <dfw/maps.h>

#include "flow_io.h"
#include "sync/env.h"

struct link_packet;
struct local_vport;
struct syncd;

/*
 * The datapath of this host's ports as the core wants it. What only dfwd may do it is asked for over the link; flows go the
 * short way, by the descriptors that dfwd hands over at hello.
 *
 * What must hold: a port that the core does not call active is held in the kernel, or dfwd was asked to hold it; changes
 * are watched before they may happen unseen: first watched, then activated, then scanned.
 */

enum watch_state {
	WATCH_OFF = 0,
	WATCH_ASKED = 1,
	WATCH_ON = 2,
};

enum pause_state {
	PAUSE_NONE = 0,
	PAUSE_WANTED = 1, /* dfwd is to be asked */
	PAUSE_ASKED = 2,
	PAUSE_HELD = 3,	 /* denies; packets may be under way */
	PAUSE_QUIET = 4, /* nothing changes any more */
};

enum prepare_state {
	PREPARE_NONE = 0,
	PREPARE_ASKED = 1,
	PREPARE_DONE = 2, /* by `prepared`, the answer */
};

/* Keys to be collected, in the order in which they came. */
struct key_queue {
	struct queued_key *keys;
	size_t begin, end, room;
};

/* A port of this host, or one that is about to be. */
struct datapath_port {
	struct uuid id;
	uint32_t slot; /* DFW_MAX_PORTS: not known */
	uint32_t maps; /* as dfwd counts them */
	bool here;     /* dfwd has told of it */
	bool attached;
	bool held;
	bool late;     /* its VM had sent before the device was enforced */
	bool seen;     /* held, and its VM sends: it runs here */
	bool asks;     /* was added just now */
	bool arriving; /* made by port-prepare */

	uint64_t was_in_force; /* in this epoch last, as dfwd knows; 1: in none */

	/* Activation that dfwd has not confirmed; epoch 0: none. */
	uint64_t epoch;
	bool activate_asked;
	bool release_wanted, release_asked;

	uint8_t prepare; /* enum prepare_state */
	int prepared;
	int64_t prepared_ms;
	int64_t left_over_ms; /* when one that nobody knows about is released; 0: not so */

	uint8_t pause; /* enum pause_state */
	uint8_t watch; /* enum watch_state */
	bool compared; /* with the kernel's number of flows, and all were looked at */
	bool maps_asked;
	int flows_map, more_flows_map, half_open_map, state_map; /* to read; -1: not here */

	uint64_t version; /* highest that was given to a change, or came with a flow */
	bool scan_wanted, scanning;
	int64_t scan_ms; /* not before */
	struct flow_walk walk;
	struct key_queue urgent;  /* state changes */
	struct key_queue touched; /* packets have passed */
	struct key_queue
		unended; /* flows that are to end, and that other CPUs held: nothing is collected before they have ended */

	int8_t result; /* enum move_result of the last event of a move, -1: none */

	/* What could not be put into the kernel, since it was prepared. */
	uint64_t full, refused, failed;
};

struct datapath {
	struct datapath_port **ports; /* by id */
	size_t nr_ports;
	struct datapath_port *by_slot[DFW_MAX_PORTS];
	struct flow_exchange exchange;
	struct dfw_exchange collected[DFW_EXCHANGE_MAX];
	struct change_ring ring;
	int graves;	      /* the map */
	bool open;	      /* exchange, ring and graves */
	bool graves_wanted;   /* something may have been killed that the ring has not told */
	bool adding;	      /* the core asks for a port that dfwd has */
	bool member_told;     /* dfwd knows that this host is a member */
	uint64_t losses;      /* of the ring, seen */
	uint64_t losses_told; /* rescans that they led to */
	int64_t ring_ms;      /* when to read the ring next; 0: when it is readable */
	uint64_t reports;     /* versions given */
	uint64_t
		ended_late; /* times that another CPU held a flow which was to end: it was tried again */
	uint64_t
		not_shared; /* what other members of share groups know, and the kernel did not take */
};

void datapath_init(struct syncd *d);
void datapath_close(struct syncd *d);
/* Once in each turn of the loop, before the core's. */
void datapath_turn(struct syncd *d);

/* The core begins, or ends: nothing is known of any port. */
void datapath_start(struct syncd *d);
void datapath_stop(struct syncd *d);

/* dfwd's notices, and its end. */
void datapath_on_hello(struct syncd *d, const struct link_packet *packet);
void datapath_on_link_lost(struct syncd *d);
/* Its list of vports was read. */
void datapath_on_vports(struct syncd *d);

/* Tells the core that the VM of one of dfwd's vports runs here, if it does. */
void datapath_add(struct syncd *d, const struct local_vport *vport);
/* It does, somebody says so. */
int datapath_here(struct syncd *d, const struct local_vport *vport, bool strict);

/* Everything that the core has said of flows is in the kernel then. */
void datapath_flush(struct syncd *d);

struct datapath_port *datapath_find(const struct syncd *d, struct uuid id);

/* ---- collect.c: from the kernel to the core ---------------------------------------------------------------------- */

/* Reads the ring into the queues. */
void collect_ring(struct syncd *d);
/* Tells the core what was killed in share groups' ports, if that is wanted. */
void collect_graves(struct syncd *d);
/* A flow that is to end, if its life is not above `life`. */
int key_queue_end(struct key_queue *queue, const struct dfw_flow_key *key, uint32_t life);
struct dfw_flow_key key_queue_first(const struct key_queue *queue, uint32_t *life);
/* Takes the first keys out. */
void key_queue_drop(struct key_queue *queue, size_t nr);
/* Collects what is due; `all`: whatever is queued. */
void collect_due(struct syncd *d, struct datapath_port *port, bool all);
/* Is a scan under way, or due? */
bool collect_scans(const struct syncd *d, const struct datapath_port *port);
/* A part of a scan, which the port wants. */
void collect_scan(struct syncd *d, struct datapath_port *port);
/* The half-open flows of a port that is quiet. */
int collect_half_open(struct syncd *d, struct datapath_port *port);
static inline size_t collect_queued(const struct datapath_port *port)
{
	return port->urgent.end - port->urgent.begin + port->touched.end - port->touched.begin +
	       port->unended.end - port->unended.begin;
}
void collect_forget(struct datapath_port *port); /* empties the queues, ends the scan */
/* When the next keys are due. */
int64_t collect_next(const struct syncd *d, const struct datapath_port *port);

/* ---- The core's, see <sync/env.h>; `data` is the daemon ---------------------------------------------------------- */

int datapath_prepare(void *data, struct uuid port, struct slice description, uint64_t flows);
int datapath_pause(void *data, struct uuid port);
int datapath_activate(void *data, struct uuid port, uint64_t epoch, bool resync);
void datapath_release(void *data, struct uuid port);
uint64_t datapath_flows(void *data, struct uuid port);
bool datapath_late(void *data, struct uuid port);
bool datapath_stranded(void *data, struct uuid port);
uint64_t datapath_epoch(void *data, struct uuid port);
bool datapath_in_force(void *data, struct uuid port);
bool datapath_gone(void *data, struct uuid port);
void datapath_flow_apply(void *data, struct uuid port, const struct flow_record *record);
void datapath_flow_share(void *data, struct uuid port, const struct flow_record *record,
			 enum share_how how);
int datapath_flows_held(void *data, struct uuid port);
void datapath_move_event(void *data, struct uuid port, enum move_result result);

#endif
