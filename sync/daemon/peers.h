/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_PEERS_H
#define SYNC_DAEMON_PEERS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct syncd;

#define PEERS_KEPT 16

/*
 * Where other hosts were last: kept in STATE_DIR/sync/peers, an array of addresses, and seeds of the next life. Without
 * it the first host of a cluster, which was given no seeds, would wait until it is found.
 */
struct peers {
	json_t *list; /* what this life began with; its texts are seeds */
	json_t *kept; /* what was written since */
	bool changed;
	int64_t write_ms; /* not before that */
};

/* Adds what the last life kept to `seeds`, which has *nr of `room`; the texts live until the next read. */
void peers_read(struct syncd *d, const char **seeds, size_t *nr, size_t room);
void peers_changed(struct syncd *d);
/* Once in each turn of the loop. */
void peers_turn(struct syncd *d);
void peers_free(struct peers *peers);

#endif
