// SPDX-License-Identifier: GPL-2.0
#include "json.h"
#include "sync/daemon/control.h"
#include "sync/daemon/counters.h"
#include "sync/daemon/daemon.h"

#define ADD(json, name, value) json_object_set_new(json, #name, json_integer((json_int_t)(value)))

static json_t *counters_network(const struct syncd *d)
{
	const struct xport_counters *counters = xport_counters(d->cluster.xport);
	json_t *json = json_object();

#define NETWORK_COUNTER(name, help) ADD(json, name, counters->name);
	XPORT_COUNTERS(NETWORK_COUNTER)
#undef NETWORK_COUNTER
	return json;
}

json_t *counters_core(const struct syncd *d)
{
	const struct sync_counters *counters = sync_counters(d->cluster.sync);
	json_t *json = json_object();

#define CORE_COUNTER(name, help) ADD(json, name, counters->name);
	SYNC_COUNTERS(CORE_COUNTER)
#undef CORE_COUNTER
#define SYNCD_COUNTER(name, field, help) ADD(json, name, d->field);
	SYNCD_COUNTERS(SYNCD_COUNTER)
#undef SYNCD_COUNTER
	return json;
}

int counters_run(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	int r = cluster_ready(d);

	(void)arguments;
	if (r < 0)
		return r;
	control_done(call, json_pack("{s:o, s:o}", "network", counters_network(d), "core",
				     counters_core(d)));
	return 0;
}
