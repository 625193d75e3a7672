/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_FILTER_H
#define DFWCTL_FILTER_H

/* --vport, --proto, --addr and --port of the flow commands. */

#include <jansson.h>

#include "command.h"
#include "view.h"

void filter_given(const struct invocation *call, struct flow_filter *filter);

/* The arguments of the request flow-kill. */
json_t *filter_json(const struct invocation *call);

#endif
