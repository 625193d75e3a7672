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

/* Its name may have been another port's a moment ago: then programs and all go over to this one. */
static int enforce(struct dfwd *d, struct port *port, uint32_t ifindex)
{
	struct port *holder = ports_find_ifindex(d, ifindex);
	int r;

	if (holder == port)
		return 0;
	r = holder ? attach_pass(&d->hooks, holder, port) : attach_device(&d->hooks, port, ifindex);
	if (r < 0)
		return r;
	port->attach_failed = false;
	if (holder)
		tell(d, holder, "has another name now");
	tell(d, port, "is enforced");
	return 0;
}

static int refuse(const struct port *port, const char *unfit)
{
	if (!port->attach_failed)
		log_error("vport %s: device %s %s: it cannot be a vport's", port->spec->name,
			  port->spec->dev, unfit);
	return -EINVAL;
}

int device_enforce(struct dfwd *d, struct port *port)
{
	uint32_t ifindex = links_index(port->spec->dev);
	const char *unfit = NULL;

	if (!ifindex)
		return 0;
	if (links_unfit(ifindex, &unfit) == 0 && unfit)
		return refuse(port, unfit);
	return enforce(d, port, ifindex);
}

int device_check(const char *name)
{
	uint32_t ifindex = links_index(name);
	const char *unfit = NULL;

	if (!ifindex)
		return links_check_name(name);
	if (links_unfit(ifindex, &unfit) < 0 || !unfit)
		return 0;
	log_error("dev: %s %s: it cannot be a vport's", name, unfit);
	return -EINVAL;
}

int device_begin(struct dfwd *d, const struct port *port, const char *name,
		 struct attaching *attaching)
{
	uint32_t ifindex = links_index(name);
	int r;

	if (ifindex && ports_find_ifindex(d, ifindex)) {
		log_error("dev: %s has just been another vport's: try again", name);
		return -EBUSY;
	}
	r = attach_begin(&d->hooks, port, ifindex, attaching);
	return r < 0 ? log_errno(r, "vport %s: cannot attach to device %s", port->spec->name, name)
		     : 0;
}

/* A port that a pattern made has no reason to be without its device. */
static void end_pattern(struct dfwd *d, struct port *port)
{
	struct policy_errors errors = {};

	if (port->spec->pattern[0] && vport_del(d, port, &errors) < 0)
		log_warning("vport %s: cannot be removed now", port->spec->name);
	policy_errors_free(&errors);
}

static void let_go(struct dfwd *d, struct port *port, const char *why)
{
	detach_device(&d->hooks, port);
	port->ifindex = 0;
	port->attach_failed = false;
	tell(d, port, why);
	end_pattern(d, port);
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

/* What is the port's by its name, and cannot be enforced, stays unguarded: that is told, and tried again. */
static void belongs(struct dfwd *d, struct port *owner, const struct link_event *event)
{
	int r = event->unfit ? refuse(owner, event->unfit) : enforce(d, owner, event->ifindex);

	owner->attach_failed = r < 0;
}

static void seen(struct dfwd *d, const struct link_event *event)
{
	struct port *holder = ports_find_ifindex(d, event->ifindex);
	struct port *owner = ports_find_device(d, event->name);

	if (is_over(event->ifindex, event->name))
		return;
	if (holder && uplinks_find(d, event->name)) {
		let_go(d, holder, "has another name now");
		holder = NULL;
	}
	if (uplinks_seen(d, event->ifindex, event->name))
		return;
	if (holder && holder == owner)
		return;
	if (owner && owner->ifindex)
		let_go(d, owner, "went, and came again");
	owner = ports_find_device(d, event->name);
	if (owner)
		belongs(d, owner, event);
	else if (!event->unfit && vport_add_by_pattern(d, event->name) < 0)
		d->unmade.any = true;
	/* Renamed: whom it belongs to now, if to anybody, has taken it over. */
	if (holder && holder->ifindex)
		let_go(d, holder, "has another name now");
	else if (holder)
		end_pattern(d, holder);
}

static void gone(struct dfwd *d, uint32_t ifindex)
{
	struct port *port = ports_find_ifindex(d, ifindex);

	if (port)
		let_go(d, port, "has gone");
	uplinks_gone(d, ifindex);
}

static void handle(const struct link_event *event, void *data)
{
	struct dfwd *d = data;

	if (event->gone)
		gone(d, event->ifindex);
	else
		seen(d, event);
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

static bool has_lost(const struct dfwd *d, const struct port *port, const struct scan *scan)
{
	return port->ifindex && (!is_there(scan, port->ifindex) || !attach_lives(&d->hooks, port));
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
			if (i <= d->nr_ports && has_lost(d, d->ports[i - 1], &scan))
				let_go(d, d->ports[i - 1], "has gone");
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

void devices_forget_former(const struct dfwd *d)
{
	for (size_t i = 0; i < d->nr_ports; i++)
		if (!d->ports[i]->ifindex)
			attach_forget(&d->hooks, d->ports[i]);
}

/* Its device went while no daemon ran, or has become another port's. */
static bool is_left_over(const struct port *port)
{
	return port->spec->pattern[0] && !port->ifindex && !links_index(port->spec->dev);
}

/* Devices that a pattern wants and that could not be had: rarer and rarer, since what hinders it may stay, and is logged. */
static void retry_patterns(struct dfwd *d)
{
	if (!d->unmade.any || d->unmade.wait-- > 0)
		return;
	d->unmade.any = false;
	devices_scan(d);
	d->unmade.pause = d->unmade.any ? 2 * d->unmade.pause % 64 + 1 : 0;
	d->unmade.wait = d->unmade.pause;
}

void devices_retry(struct dfwd *d)
{
	for (size_t i = d->nr_ports; i > 0; i--) {
		struct port *port = d->ports[i - 1];

		if (port->attach_failed)
			port->attach_failed = device_enforce(d, port) < 0;
		else if (is_left_over(port))
			let_go(d, port, "has gone");
	}
	retry_patterns(d);
}

bool devices_enforced(const struct dfwd *d)
{
	for (size_t i = 0; i < d->nr_ports; i++)
		if (d->ports[i]->attach_failed)
			return false;
	return !d->unmade.any;
}
