// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "devices.h"
#include "json.h"
#include "log.h"
#include "ports.h"
#include "uplinks.h"
#include "vports.h"

static void tell(struct dfwd *d, const struct port *port, const char *change)
{
	log_info("vport %s: device %s %s", port->spec->name, port->spec->dev, change);
	bridges_changed(d);
	cluster_link_vports_changed(d);
	events_publish(d, EVENT_TOPIC_DAEMON, "device",
		       json_pack("{s:s, s:s, s:s}", "change", change, "vport", port->spec->name,
				 "dev", port->spec->dev));
}

int device_enforce(struct dfwd *d, struct port *port)
{
	uint32_t ifindex = if_nametoindex(port->spec->dev);
	int r;

	if (!ifindex)
		return 0;
	r = attach_device(&d->hooks, port, ifindex);
	if (r == 0)
		tell(d, port, "is enforced");
	return r;
}

/* A port that a pattern made has no reason to be without its device. */
static void let_go(struct dfwd *d, struct port *port, bool slot_too, const char *why)
{
	struct policy_errors errors = {};

	detach_device(&d->hooks, port, slot_too);
	port->ifindex = 0;
	port->attach_failed = false;
	tell(d, port, why);
	if (port->spec->pattern[0] && vport_del(d, port, &errors) < 0)
		log_warning("vport %s: cannot be removed now", port->spec->name);
	policy_errors_free(&errors);
}

/*
 * A message may tell of what has been, behind a look at what is: a command that finds its device by name, or all of them
 * after messages were lost. To follow it would let go of the device that has the name now.
 */
static bool is_over(uint32_t ifindex, const char *name)
{
	char now[IF_NAMESIZE];

	return !if_indextoname(ifindex, now) || strcmp(now, name) != 0;
}

static void seen(struct dfwd *d, uint32_t ifindex, const char *name)
{
	struct port *holder = ports_find_ifindex(d, ifindex);
	struct port *owner = ports_find_device(d, name);

	if (is_over(ifindex, name))
		return;
	if (holder && uplinks_find(d, name)) {
		let_go(d, holder, true, "has another name now");
		holder = NULL;
	}
	if (uplinks_seen(d, ifindex, name))
		return;
	if (holder && holder == owner)
		return;
	if (owner && owner->ifindex)
		let_go(d, owner, true, "went, and came again");
	owner = ports_find_device(d, name);
	if (owner) {
		owner->attach_failed = attach_device(&d->hooks, owner, ifindex) < 0;
		if (!owner->attach_failed)
			tell(d, owner, "is enforced");
	}
	/* Renamed: whom it belongs to now, if to anybody, enforces it already. */
	if (holder)
		let_go(d, holder, !owner, "has another name now");
	if (!owner)
		vport_add_by_pattern(d, name);
}

static void gone(struct dfwd *d, uint32_t ifindex)
{
	struct port *port = ports_find_ifindex(d, ifindex);

	if (port)
		let_go(d, port, true, "has gone");
	uplinks_gone(d, ifindex);
}

static void handle(const struct link_event *event, void *data)
{
	struct dfwd *d = data;

	if (event->gone)
		gone(d, event->ifindex);
	else
		seen(d, event->ifindex, event->name);
}

/* ---- All of them ------------------------------------------------------------------------------------------------ */

struct scan {
	struct link_event *found;
	size_t nr;
	size_t room;
	bool failed;
};

static void remember(const struct link_event *event, void *data)
{
	struct scan *scan = data;

	if (scan->nr == scan->room) {
		size_t room = scan->room ? 2 * scan->room : 64;
		struct link_event *found = realloc(scan->found, room * sizeof(*found));

		if (!found) {
			scan->failed = true;
			return;
		}
		scan->found = found;
		scan->room = room;
	}
	scan->found[scan->nr] = *event;
	scan->found[scan->nr].name = strdup(event->name);
	if (scan->found[scan->nr].name)
		scan->nr++;
	else
		scan->failed = true;
}

static void forget(struct scan *scan)
{
	for (size_t i = 0; i < scan->nr; i++)
		free((char *)scan->found[i].name);
	free(scan->found);
}

static bool is_there(const struct scan *scan, uint32_t ifindex)
{
	for (size_t i = 0; i < scan->nr; i++)
		if (scan->found[i].ifindex == ifindex)
			return true;
	return false;
}

/* A snapshot first, since handling one device may change the list of ports under our feet. */
int devices_scan(struct dfwd *d)
{
	struct scan scan = {};
	int r = links_list(remember, &scan);

	if (r == 0 && scan.failed)
		r = -ENOMEM;
	if (r == 0) {
		for (size_t i = d->nr_ports; i > 0; i--)
			if (i <= d->nr_ports && d->ports[i - 1]->ifindex &&
			    !is_there(&scan, d->ports[i - 1]->ifindex))
				gone(d, d->ports[i - 1]->ifindex);
		for (size_t i = 0; i < DFW_MAX_UPLINKS; i++)
			if (d->uplinks[i] && d->uplinks[i]->ifindex &&
			    !is_there(&scan, d->uplinks[i]->ifindex))
				gone(d, d->uplinks[i]->ifindex);
		for (size_t i = 0; i < scan.nr; i++)
			handle(&scan.found[i], d);
	}
	forget(&scan);
	return r < 0 ? log_errno(r, "cannot list the devices") : 0;
}

void devices_read(struct dfwd *d)
{
	int r = links_read(&d->links, handle, d);

	if (r == -ENOBUFS) {
		log_info("the kernel dropped messages about devices: looking at all of them");
		r = devices_scan(d);
	}
	if (r < 0)
		log_errno(r, "cannot read what the kernel tells about devices");
}

/* Its device went while no daemon ran. */
static bool is_left_over(const struct port *port)
{
	return port->spec->pattern[0] && !port->ifindex && !if_nametoindex(port->spec->dev);
}

void devices_retry(struct dfwd *d)
{
	for (size_t i = d->nr_ports; i > 0; i--) {
		struct port *port = d->ports[i - 1];

		if (port->attach_failed)
			port->attach_failed = device_enforce(d, port) < 0;
		else if (is_left_over(port))
			let_go(d, port, true, "has gone");
	}
}

bool devices_enforced(const struct dfwd *d)
{
	for (size_t i = 0; i < d->nr_ports; i++)
		if (d->ports[i]->attach_failed)
			return false;
	return true;
}
