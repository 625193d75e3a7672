// SPDX-License-Identifier: GPL-2.0
#include "devices.h"
#include "guard.h"
#include "links.h"
#include "log.h"
#include "ports.h"
#include "uplinks.h"
#include "vports.h"

void guard_ports(struct dfwd *d)
{
	for (size_t i = 0; i < d->nr_ports; i++) {
		struct port *port = d->ports[i];
		uint32_t ifindex = links_index(port->spec->dev);

		/* One that was renamed is still guarded by whose it was. */
		if (!port->ifindex && ifindex && !ports_find_ifindex(d, ifindex))
			port->attach_failed = device_enforce(d, port) < 0;
	}
}

static void guard(const struct link_event *event, void *data)
{
	struct dfwd *d = data;

	if (!event->unfit && !ports_find_device(d, event->name) &&
	    !ports_find_ifindex(d, event->ifindex) && !uplinks_wanted(d, event->name))
		vport_guard_by_pattern(d, event->name);
}

void guard_matching(struct dfwd *d)
{
	const size_t before = d->nr_ports;
	int r = d->config.nr_patterns ? links_list(guard, d) : 0;

	if (r < 0)
		log_errno(r, "cannot list the devices");
	/* A restart must know the ports, or it would take them for such as a crash left behind. */
	if (d->nr_ports != before)
		ports_save(d);
}
