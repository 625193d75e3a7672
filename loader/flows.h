/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_FLOWS_H
#define DFW_LOADER_FLOWS_H

#include <stddef.h>

#include <jansson.h>

#include "object.h"
#include "port.h"
#include "view.h"

struct dfwd;

/* Adds the flows of one map to another that no packet changes meanwhile. -E2BIG: they do not fit. */
int flows_copy(int from, int to);

/* Ends the flows of a port that match; their next packet is decided as if there had been none. Adds to *killed, also
 * before an error. */
int flows_kill(const struct object *object, const struct port *port,
	       const struct flow_filter *filter, size_t *killed);

/* {"proto", "addr", "port"}, each optional. -EINVAL: logged. */
int flows_read_filter(const json_t *arguments, struct flow_filter *filter);
/* The same and "vport": whose flows, all without it. */
int flows_kill_matching(struct dfwd *d, const json_t *arguments, size_t *killed);

#endif
