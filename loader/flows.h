/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_FLOWS_H
#define DFW_LOADER_FLOWS_H

#include <stddef.h>

#include <jansson.h>

#include "object.h"
#include "port.h"
#include "view.h"

struct dfwd;

/* Maps of flows: a table, and what found no room there (-1: such flows are left behind, as half-open ones may be). */
struct flow_maps {
	int table;
	int more;
};

/* Copies the flows of some maps into new ones of other sizes. -E2BIG: there is no room for them. */
int flows_copy(const struct object *object, struct flow_maps from, struct flow_maps to);

struct kills {
	size_t killed;
	size_t busy; /* other CPUs have held them all the time: they go on */
};

/* Ends the flows of a port that match; their next packet is decided as if there had been none. Adds to *kills, also
 * before an error. */
int flows_kill(const struct object *object, const struct port *port,
	       const struct flow_filter *filter, struct kills *kills);

/* {"proto", "addr", "port"}, each optional. -EINVAL: logged. */
int flows_read_filter(const json_t *arguments, struct flow_filter *filter);
/* The same and "vport": whose flows, all without it. *result: {"killed", "busy"}. */
int flows_kill_matching(struct dfwd *d, const json_t *arguments, json_t **result);

#endif
