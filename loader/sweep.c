// SPDX-License-Identifier: GPL-2.0
#include "log.h"
#include "maps.h"
#include "sweep.h"
#include "view_pins.h"

#define SECOND_NS      1000000000ULL
#define MAX_DEBT_PORTS 64 /* at once, however late we are */

/* An empty table costs a look at its count. */
static bool has_flows(const struct port *port)
{
	struct dfw_port_state state;
	const uint32_t zero = 0;

	return map_get(port->state, &zero, &state) < 0 || state.flows > 0;
}

static void sweep_port(const struct dfwd *d, const struct port *port)
{
	int r;

	if (!has_flows(port))
		return;
	r = object_sweep(&d->object, port->slot, DFW_SWEEP_EXPIRED);
	if (r < 0)
		log_errno(r, "vport %s: cannot sweep its flows", port->spec->name);
}

void sweep_some(struct dfwd *d)
{
	uint64_t now = monotonic_ns();
	uint64_t each = d->config.sweep_interval * SECOND_NS / (d->nr_ports ? d->nr_ports : 1);

	for (int i = 0; i < MAX_DEBT_PORTS && d->nr_ports && d->sweep_ns <= now; i++) {
		sweep_port(d, d->ports[d->sweep_next++ % d->nr_ports]);
		d->sweep_ns += each;
	}
	/* Time in which we slept is not made up for. */
	if (d->sweep_ns + SECOND_NS < now || d->nr_ports == 0)
		d->sweep_ns = now;
}
