/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_VPORTS_H
#define SYNC_DAEMON_VPORTS_H

#include <jansson.h>

#include "sync/messages.h"

struct link_packet;
struct syncd;

/* The vports of this host, as dfwd tells of them, and what the core hears of them. */

struct local_vport {
	struct uuid id;
	char name[DFW_PORT_NAME_LEN];
	json_t *json; /* as dfwd told */
	bool seen;    /* held, and its VM sends */
	uint8_t value[ENTRY_VALUE_MAX];
	uint16_t nr; /* 0: it does not fit into the registry */
};

struct vports {
	struct local_vport *list; /* sorted by id */
	size_t nr;
	bool known; /* dfwd has told, in this life of ours */
};

/* The notice of dfwd. */
void vports_on_notice(struct syncd *d, const struct link_packet *packet);
bool vports_known(const struct syncd *d);
void vports_free(struct vports *vports);

/* The core is new, and its ledger restored: it hears of all. */
void vports_start(struct syncd *d);

/* NULL: there is none on this host. */
const struct local_vport *vports_find(const struct syncd *d, struct uuid id);
const struct local_vport *vports_find_name(const struct syncd *d, const char *name);

#endif
