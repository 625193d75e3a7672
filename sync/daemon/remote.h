/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_REMOTE_H
#define SYNC_DAEMON_REMOTE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct syncd;

/* The ports of other hosts, for dfwd: groups of its policy resolve over them. */
struct remote {
	bool changed;	   /* since dfwd was told */
	bool under_way;	   /* dfwd has not answered yet */
	bool left;	   /* the cluster was left: nobody else has ports */
	int64_t due_ms;	   /* when to tell what has changed */
	int64_t pause_ms;  /* not before that */
	int64_t settle_ms; /* when the list of another host counts as whole; INT64_MAX */
	int64_t sent_ms;
	uint64_t conflicts; /* names and addresses that two ports of the cluster claim, now */
	struct settling *settling;
	size_t nr_settling;
};

/* The registry or the membership is not what it was. */
void remote_changed(struct syncd *d);
void remote_left(struct syncd *d);
/* Once in each turn of the loop. */
void remote_turn(struct syncd *d);
void remote_free(struct remote *remote);

/* All ports of the cluster, this host's too: as vport_to_json, with "host" and "conflict" (null, or the host that has the
 * name or an address by the better right). Sorted by name. */
json_t *remote_all(const struct syncd *d);

#endif
