// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "attach.h"
#include "links.h"
#include "log.h"
#include "maps.h"
#include "util.h"
#include "view.h"

/* The two sides of a port. The VM sends on the device's ingress. */
static const struct hook_side sides[HOOK_SIDES] = {
	{"link_in", offsetof(struct programs, in), .egress = true},
	{"link_out", offsetof(struct programs, out), .egress = false},
};

static struct hook_owner owner_of(const struct port *port)
{
	struct hook_owner owner = {.sides = sides};

	snprintf(owner.folder, sizeof(owner.folder), "vports/%s", port->spec->name);
	return owner;
}

/* The datapath looks into near_slots first: it is written last and cleared first. */
static int slot_put(const struct object *object, uint32_t ifindex, uint32_t slot)
{
	uint32_t near = slot + 1;
	int r = map_put(object->port_slots, &ifindex, &slot);

	if (r == 0 && ifindex < DFW_NEAR_SLOTS)
		r = map_put(object->near_slots, &ifindex, &near);
	return r;
}

static int slot_remove(const struct object *object, uint32_t ifindex)
{
	uint32_t none = 0;
	int r = 0;

	if (ifindex < DFW_NEAR_SLOTS)
		r = map_put(object->near_slots, &ifindex, &none);
	return r == 0 ? map_remove(object->port_slots, &ifindex) : r;
}

bool attach_is_late(uint32_t ifindex)
{
	uint64_t packets;

	/* What cannot be known may be. */
	return links_received(ifindex, &packets) < 0 || packets;
}

static uint32_t slot_of(const struct object *object, uint32_t ifindex)
{
	uint32_t slot;

	return map_get(object->port_slots, &ifindex, &slot) == 0 ? slot + 1 : 0;
}

static void slot_back(const struct object *object, uint32_t ifindex, uint32_t former)
{
	if (former)
		slot_put(object, ifindex, former - 1);
	else
		slot_remove(object, ifindex);
}

int attach_begin(const struct hooks *hooks, const struct port *port, uint32_t ifindex,
		 struct attaching *attaching)
{
	const struct hook_owner owner = owner_of(port);
	int r;

	*attaching = (struct attaching){.hooks = hooks};
	if (!ifindex)
		return 0;
	attaching->ifindex = ifindex;
	attaching->former = slot_of(hooks->object, ifindex);
	r = slot_put(hooks->object, ifindex, port->slot);
	if (r == 0)
		r = hooks_begin(hooks, &owner, ifindex, &attaching->hooked);
	if (r < 0)
		attach_drop(attaching);
	return r;
}

void attach_drop(struct attaching *attaching)
{
	const struct hooks *hooks = attaching->hooks;

	attaching->hooks = NULL;
	if (!hooks || !attaching->ifindex)
		return;
	hooks_drop(hooks, &attaching->hooked);
	slot_back(hooks->object, attaching->ifindex, attaching->former);
}

int attach_keep(struct attaching *attaching, struct port *port)
{
	const struct hooks *hooks = attaching->hooks;
	const struct hook_owner owner = owner_of(port);
	int r;

	if (!attaching->ifindex) {
		attaching->hooks = NULL;
		return port->ifindex ? detach_device(hooks, port) : 0;
	}
	r = hooks_keep(hooks, &owner, &attaching->hooked, port->ifindex);
	if (port->ifindex && port->ifindex != attaching->ifindex &&
	    slot_remove(hooks->object, port->ifindex) < 0)
		log_warning("vport %s: device %u, which it had, is still noted as its own",
			    port->spec->name, port->ifindex);
	port->ifindex = 0;
	if (r < 0)
		return r;
	attaching->hooks = NULL;
	port->ifindex = attaching->ifindex;
	port->late = attach_is_late(port->ifindex);
	return 0;
}

int attach_device(const struct hooks *hooks, struct port *port, uint32_t ifindex)
{
	_cleanup_attaching_ struct attaching attaching;
	int r = attach_begin(hooks, port, ifindex, &attaching);

	if (r == 0)
		r = attach_keep(&attaching, port);
	if (r < 0 && !port->attach_failed)
		log_errno(r, "vport %s: cannot attach to device %s", port->spec->name,
			  port->spec->dev);
	return r;
}

int attach_pass(const struct hooks *hooks, struct port *from, struct port *to)
{
	const struct hook_owner old = owner_of(from), new = owner_of(to);
	uint32_t ifindex = from->ifindex;
	int r = slot_put(hooks->object, ifindex, to->slot);

	if (r == 0)
		r = hooks_pass(hooks, &old, &new);
	if (r < 0) {
		slot_put(hooks->object, ifindex, from->slot);
		return log_errno(r, "vport %s: cannot take device %s over from vport %s",
				 to->spec->name, to->spec->dev, from->spec->name);
	}
	from->ifindex = 0;
	to->ifindex = ifindex;
	to->late = attach_is_late(ifindex);
	return 0;
}

int detach_device(const struct hooks *hooks, struct port *port)
{
	const struct hook_owner owner = owner_of(port);
	uint32_t ifindex = port->ifindex;
	int r = hooks_detach(hooks, &owner, ifindex);
	int one = slot_remove(hooks->object, ifindex);

	r = r < 0 ? r : one;
	if (r < 0)
		return log_errno(r, "vport %s: cannot detach from device %s", port->spec->name,
				 port->spec->dev);
	port->ifindex = 0;
	return 0;
}

/* The index under which port_slots knows the port; 0: none. */
static uint32_t find_slot(const struct hooks *hooks, const struct port *port)
{
	uint32_t ifindex, *from = NULL, slot;

	while (bpf_map_get_next_key(hooks->object->port_slots, from, &ifindex) == 0) {
		if (map_get(hooks->object->port_slots, &ifindex, &slot) == 0 && slot == port->slot)
			return ifindex;
		from = &ifindex;
	}
	return 0;
}

/* Who has a device is said by port_slots: a daemon may have died before it moved the links. */
int attach_find(const struct hooks *hooks, struct port *port)
{
	const struct hook_owner owner = owner_of(port);
	uint32_t linked;
	int r = hooks_find(hooks, &owner, 0, &linked);

	port->ifindex = 0;
	if (r < 0)
		return r;
	if (linked && slot_of(hooks->object, linked) == port->slot + 1) {
		port->ifindex = linked;
		return 0;
	}
	return hooks_find(hooks, &owner, find_slot(hooks, port), &port->ifindex);
}

bool attach_lives(const struct hooks *hooks, const struct port *port)
{
	const struct hook_owner owner = owner_of(port);
	uint32_t ifindex;

	return hooks_find(hooks, &owner, port->ifindex, &ifindex) < 0 || ifindex == port->ifindex;
}

void attach_forget(const struct hooks *hooks, const struct port *port)
{
	const struct hook_owner owner = owner_of(port);

	hooks_unpin(hooks, &owner);
}

/* ---- Upgrade ---------------------------------------------------------------------------------------------------- */

static int update_port(const struct hooks *hooks, const struct port *port,
		       const struct programs *programs)
{
	const struct hook_owner owner = owner_of(port);

	return port->ifindex ? hooks_update(hooks, &owner, port->ifindex, programs) : 0;
}

void attach_go_back(const struct hooks *hooks, struct port *const *ports, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (update_port(hooks, ports[i], &hooks->object->former) < 0)
			log_error("vport %s: cannot go back", ports[i]->spec->name);
}

int attach_upgrade(const struct hooks *hooks, struct port *const *ports, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		int r = update_port(hooks, ports[i], &hooks->object->programs);

		if (r == 0)
			continue;
		log_errno(r, "vport %s: cannot update its programs; all go back to the former ones",
			  ports[i]->spec->name);
		attach_go_back(hooks, ports, i + 1);
		return r;
	}
	return 0;
}

/* ---- After a daemon that is dead -------------------------------------------------------------------------------- */

static int end_vports(const char *instance)
{
	char path[PATH_MAX];
	DIR *dir = opendir(pin_path(instance, "vports", path));
	struct dirent *entry;
	int r = 0;

	while (dir && (entry = readdir(dir))) {
		int one = entry->d_name[0] == '.'
				  ? 0
				  : hooks_end_links(
					    pin_vport_path(instance, entry->d_name, NULL, path),
					    sides);

		r = r < 0 ? r : one;
	}
	if (dir)
		closedir(dir);
	return r;
}

int attach_end_all(const char *instance, const char *run_dir)
{
	char path[PATH_MAX];
	_cleanup_close_ int port_slots = pin_open(pin_path(instance, "port_slots", path));
	uint32_t ifindex, *from = NULL;
	int r = end_vports(instance);

	libbpf_set_print(NULL); /* it complains where there is no clsact */
	while (r == 0 && port_slots >= 0 && bpf_map_get_next_key(port_slots, from, &ifindex) == 0) {
		r = hooks_end_filters(run_dir, ifindex);
		from = &ifindex;
	}
	return r;
}
