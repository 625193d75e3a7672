/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_SELFTESTS_IDLE_ENV_H
#define DFW_SELFTESTS_IDLE_ENV_H

#include <stdbool.h>
#include <stddef.h>

#include "sync/sync.h"

/* Callbacks for a core without a datapath, a disk or policies: they do nothing, and say that it went well. See
 * sync/env.h. */

#define IDLE __attribute__((unused)) static

IDLE int idle_ledger_write(void *data, const struct ledger *ledger)
{
	(void)data;
	(void)ledger;
	return 0;
}

IDLE void idle_on_port(void *data, struct uuid port)
{
	(void)data;
	(void)port;
}

IDLE int idle_port_prepare(void *data, struct uuid port, struct slice description, uint64_t flows)
{
	(void)data;
	(void)port;
	(void)description;
	(void)flows;
	return 0;
}

IDLE int idle_port_pause(void *data, struct uuid port)
{
	(void)data;
	(void)port;
	return 0;
}

IDLE int idle_port_activate(void *data, struct uuid port, uint64_t epoch, bool resync)
{
	(void)data;
	(void)port;
	(void)epoch;
	(void)resync;
	return 0;
}

/* A number of the port's: no flows, no epoch. */
IDLE uint64_t idle_none(void *data, struct uuid port)
{
	(void)data;
	(void)port;
	return 0;
}

/* Whether something is so with the port. */
IDLE bool idle_no(void *data, struct uuid port)
{
	(void)data;
	(void)port;
	return false;
}

IDLE void idle_move_event(void *data, struct uuid port, enum move_result result)
{
	(void)data;
	(void)port;
	(void)result;
}

IDLE void idle_flow_apply(void *data, struct uuid port, const struct flow_record *record)
{
	(void)data;
	(void)port;
	(void)record;
}

IDLE int idle_policy_keep(void *data, const struct manifest *manifest, uint32_t writer)
{
	(void)data;
	(void)manifest;
	(void)writer;
	return 0;
}

IDLE int idle_policy_stage(void *data, const struct generation *generation)
{
	(void)data;
	(void)generation;
	return 0;
}

IDLE int idle_policy_flip(void *data, uint32_t generation)
{
	(void)data;
	(void)generation;
	return 0;
}

IDLE int idle_object_put(void *data, const struct digest *name, const uint8_t *bytes, uint32_t nr)
{
	(void)data;
	(void)name;
	(void)bytes;
	(void)nr;
	return 0;
}

#endif
