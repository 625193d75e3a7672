// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "log.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/datapath.h"

/* A port that dfwd has goes on as it is: it is new to the cluster, not to its host. */
int datapath_prepare(void *data, struct uuid port, struct slice description, uint64_t flows)
{
	const struct syncd *d = data;

	(void)description;
	(void)flows;
	return vports_find(d, port) ? 0 : -EOPNOTSUPP;
}

int datapath_pause(void *data, struct uuid port)
{
	(void)data;
	(void)port;
	return -EOPNOTSUPP;
}

void datapath_activate(void *data, struct uuid port, uint64_t epoch, bool resync)
{
	(void)data;
	(void)port;
	(void)epoch;
	(void)resync;
}

void datapath_release(void *data, struct uuid port)
{
	(void)data;
	(void)port;
}

bool datapath_gone(void *data, struct uuid port)
{
	const struct syncd *d = data;

	return !vports_find(d, port);
}

void datapath_flow_apply(void *data, struct uuid port, const struct flow_record *record)
{
	(void)data;
	(void)port;
	(void)record;
}

int datapath_flows_held(void *data, struct uuid port)
{
	(void)data;
	(void)port;
	return 0;
}

void datapath_move_event(void *data, struct uuid port, enum move_result result)
{
	(void)data;
	(void)port;
	(void)result;
}
