/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_FLOW_IO_H
#define DFW_FLOW_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dfw/change.h>
#include <dfw/exchange.h>
#include <dfw/grave.h>

#include "sync/messages.h"

/* Flows between the kernel and records. Works with descriptors that dfwd has handed over, and without a capability. */

/* A record of the flow; epoch and version stay the caller's. Times become ages. */
void flow_to_record(const struct dfw_flow_key *key, const struct dfw_flow *flow, bool half_open,
		    uint64_t now_ns, struct flow_record *record);
/* -EBADMSG: nothing that a datapath would have written. A flow whose legs may be behind (FLOW_RESYNC) may anchor its windows
 * anew, within bounds, for as long as the profile says from now on: its age begins anew. */
int flow_from_record(const struct flow_record *record, uint64_t now_ns, struct dfw_flow *flow);

/* ---- The program `exchange` -------------------------------------------------------------------------------------- */

struct flow_exchange {
	int program; /* owned */
	struct dfw_exchange *places;
	size_t nr;   /* in use, waiting for flow_exchange_flush */
	size_t left; /* after it: so many places, the first, were tried again and again in vain */
	uint32_t slot;
	/* What could not be put, since this was set to zero. */
	uint64_t refused;
	uint64_t full;
	uint64_t failed; /* no memory, or the program could not be run */
};

/* Takes the descriptor of the program, and maps the array. */
int flow_exchange_open(struct flow_exchange *exchange, int program, int array);
void flow_exchange_close(struct flow_exchange *exchange);

/* Puts a flow into the port of that slot, or takes it away (FLOW_GONE). It may wait for company until flow_exchange_flush,
 * which the caller calls before anybody may rely on it. -EBADMSG as flow_from_record. */
int flow_exchange_put(struct flow_exchange *exchange, uint32_t slot,
		      const struct flow_record *record, uint64_t now_ns);
/* The same for a port of a share group, whose packets pass meanwhile: what is there knows what the record knows too; what is
 * not there is not made. */
int flow_exchange_join(struct flow_exchange *exchange, uint32_t slot,
		       const struct flow_record *record, uint64_t now_ns);
int flow_exchange_flush(struct flow_exchange *exchange);

/* Collects the flows of at most DFW_EXCHANGE_MAX keys. The places hold what became of each: `result` is DONE, and `flow`
 * valid; NONE: it is gone; or BUSY: its marks are still set, ask again. */
int flow_exchange_collect(struct flow_exchange *exchange, uint32_t slot,
			  const struct dfw_flow_key *keys, size_t nr);

/* ---- All flows of a port, a part at a time ----------------------------------------------------------------------- */

#define FLOW_WALK_PART 1024U

/* Goes through a table, then through what found no room there. */
struct flow_walk {
	int maps[2]; /* the caller's; -1: none */
	unsigned int at;
	bool begun;
	uint32_t room;
	uint8_t place[sizeof(struct dfw_flow_key)]; /* of the kernel's, between two parts */
	void *keys;
	void *values;
	/* The part that was read: as they lie in `values`. */
	uint32_t nr;
	const struct dfw_flow_entry **entries;
};

int flow_walk_begin(struct flow_walk *walk, int table, int more);
void flow_walk_end(struct flow_walk *walk);
/* Reads the next part. 1: there is more behind it; 0: it is the last; or a negative errno. Flows that have ended (DEAD) may
 * be among them. A flow that changes meanwhile may be torn, which does not matter where its change is told behind it. */
int flow_walk_next(struct flow_walk *walk);

/* ---- What was killed --------------------------------------------------------------------------------------------- */

/* Calls `each` for what is buried now, by the map `graves`. 0 or a negative errno. */
int graves_read(int map, uint64_t now_ns,
		void (*each)(void *data, const struct dfw_grave_key *key, uint32_t life),
		void *data);

/* ---- The ring of changes ----------------------------------------------------------------------------------------- */

/* libbpf's reader of rings goes on until the ring is empty, however long that takes; this one stops when it shall. */
struct change_ring {
	int fd; /* owned: readable when there is news */
	size_t bytes;
	unsigned long *consumer;
	const unsigned long *producer;
	const uint8_t *data;
	const uint64_t *losses; /* mapped; counts what found no room */
};

int change_ring_open(struct change_ring *ring, int fd, int losses);
void change_ring_close(struct change_ring *ring);
/* Calls `each` for what is there, at most `most` records. Returns how many there were. */
size_t change_ring_read(struct change_ring *ring, size_t most,
			void (*each)(void *data, const struct dfw_change *change), void *data);
uint64_t change_ring_losses(const struct change_ring *ring);

#endif
