/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_FLOWS_H
#define DFW_LOADER_FLOWS_H

#include <stddef.h>

#include "object.h"
#include "port.h"
#include "view.h"

/* Adds the flows of one map to another that no packet changes meanwhile. -E2BIG: they do not fit. */
int flows_copy(int from, int to);

/* Ends the flows of a port that match; their next packet is decided as if there had been none. Adds to *killed, also
 * before an error. */
int flows_kill(const struct object *object, const struct port *port,
	       const struct flow_filter *filter, size_t *killed);

#endif
