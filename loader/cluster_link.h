/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_CLUSTER_LINK_H
#define DFW_LOADER_CLUSTER_LINK_H

#include <stdint.h>

#include "sync_link.h"

struct dfwd;

/* dfwd's end of the link to dfwsyncd: <sync_link.h> has the protocol. Nothing here is waited for: without dfwsyncd dfwd
 * works as it always does. */
struct cluster_link {
	struct sync_link link;
	uint64_t retry_ns;   /* when to try to connect again */
	bool vports_changed; /* to be told at the end of this turn of the loop */
	/* To be written to disk, when dfwsyncd has its answer and no VM waits for us. */
	bool save_vports, save_remote;
	uint64_t save_ns;  /* at the latest; 0: nothing is to be written */
	bool watches_room; /* packets wait until the socket takes more */
	bool refused;	   /* the log was told that there is no way to connect */
	bool member;	   /* dfwsyncd says that this host is in a cluster */
};

void cluster_link_init(struct dfwd *d);
void cluster_link_close(struct dfwd *d);

/* Once in each turn of the loop: connects when it is time to, and tells what has changed. */
void cluster_link_turn(struct dfwd *d);
/* What came on the link's descriptor. */
void cluster_link_serve(struct dfwd *d);

/* Something that the other hosts know of a vport is different: dfwsyncd hears of it at the end of this turn. */
void cluster_link_vports_changed(struct dfwd *d);
/* A notice. Takes the reference; nothing happens without a link. */
void cluster_link_tell(struct dfwd *d, json_t *notice, const int *fds, size_t nr_fds);

#endif
