// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "attach.h"
#include "links.h"
#include "log.h"
#include "maps.h"
#include "util.h"
#include "view.h"

/* enum bpf_attach_type of Linux 6.6; Debian 12 has the headers of 6.1. */
#define TCX_INGRESS ((enum bpf_attach_type)46)
#define TCX_EGRESS  ((enum bpf_attach_type)47)

/* Our filter on a clsact qdisc. A priority of one's own, so that an operator's filters before and after it have room. */
#define CLSACT_PRIORITY 0xdf0
#define CLSACT_HANDLE	0xdf0

/* The two sides of a port. The VM sends on the device's ingress. */
static const struct side {
	const char *pin;
	size_t program; /* offset in struct programs */
	enum bpf_attach_type tcx;
	enum bpf_tc_attach_point clsact;
} sides[] = {
	{"link_in", offsetof(struct programs, in), TCX_EGRESS, BPF_TC_EGRESS},
	{"link_out", offsetof(struct programs, out), TCX_INGRESS, BPF_TC_INGRESS},
};

static int side_program(const struct programs *programs, const struct side *side)
{
	return *(const int *)((const char *)programs + side->program);
}

static const char *side_path(const struct attach *attach, const struct port *port,
			     const struct side *side, char *path)
{
	return pin_vport_path(attach->object->instance, port->spec->name, side->pin, path);
}

int attach_init(struct attach *attach, const struct object *object, const char *run_dir,
		bool clsact)
{
	unsigned int loopback = if_nametoindex("lo");
	uint32_t nr = 0;
	int r;

	*attach = (struct attach){.object = object, .run_dir = run_dir, .hook = HOOK_TCX};
	r = clsact ? -EOPNOTSUPP : bpf_prog_query((int)loopback, TCX_INGRESS, 0, NULL, NULL, &nr);
	if (r == -EINVAL || r == -EOPNOTSUPP) {
		attach->hook = HOOK_CLSACT;
		r = 0;
	}
	if (r < 0)
		return log_errno(r, "cannot ask the kernel for its tcx hooks");
	log_debug("hooks are %s", attach->hook == HOOK_TCX ? "tcx" : "clsact");
	return 0;
}

/* ---- tcx -------------------------------------------------------------------------------------------------------- */

static int tcx_attach_side(const struct attach *attach, const struct port *port,
			   const struct side *side, uint32_t ifindex)
{
	_cleanup_close_ int link = -1;
	char path[PATH_MAX];

	link = bpf_link_create(side_program(&attach->object->programs, side), (int)ifindex,
			       side->tcx, NULL);
	if (link < 0)
		return link;
	return pin_replace(link, side_path(attach, port, side, path));
}

/* Detached first: the last reference to a link may be given up some time after its pin is gone. */
static int tcx_detach_side(const struct attach *attach, const struct port *port,
			   const struct side *side)
{
	char path[PATH_MAX];
	_cleanup_close_ int link = pin_open(side_path(attach, port, side, path));
	int r;

	if (link == -ENOENT)
		return 0;
	if (link < 0)
		return link;
	r = bpf_link_detach(link);
	if (r < 0 && r != -ENOLINK) /* -ENOLINK: the device has gone */
		return r;
	return pin_remove(path);
}

/* The device of a pinned link; 0: it has gone, or there is no link. */
static int tcx_find_side(const struct attach *attach, const struct port *port,
			 const struct side *side, uint32_t *ifindex)
{
	char path[PATH_MAX];
	_cleanup_close_ int link = pin_open(side_path(attach, port, side, path));
	struct bpf_link_info info = {};
	uint32_t bytes = sizeof(info);
	int r;

	*ifindex = 0;
	if (link == -ENOENT)
		return 0;
	r = link < 0 ? link : bpf_obj_get_info_by_fd(link, &info, &bytes);
	if (r < 0)
		return log_errno(r, "%s", path);
	/* info.tcx, which headers of 6.1 lack, begins like info.xdp. */
	*ifindex = info.xdp.ifindex;
	return 0;
}

static int tcx_update_side(const struct attach *attach, const struct port *port,
			   const struct side *side, int program)
{
	char path[PATH_MAX];
	_cleanup_close_ int link = pin_open(side_path(attach, port, side, path));

	return link < 0 ? link : bpf_link_update(link, program, NULL);
}

/* ---- clsact ----------------------------------------------------------------------------------------------------- */

static const char *clsact_mark(const struct attach *attach, uint32_t ifindex, char *path)
{
	snprintf(path, PATH_MAX, "%s/clsact-%u", attach->run_dir, ifindex);
	return path;
}

static int clsact_make(const struct attach *attach, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	char path[PATH_MAX];
	int fd, r = bpf_tc_hook_create(&hook);

	if (r == -EEXIST)
		return 0;
	if (r < 0)
		return r;
	fd = open(clsact_mark(attach, ifindex, path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		log_warning("%s: %m; the clsact qdisc of device %u will stay when dfw goes", path,
			    ifindex);
	cleanup_close(&fd);
	return 0;
}

/* Takes the qdisc away when it is ours and nobody else has come to use it. */
static int clsact_remove(const struct attach *attach, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	char path[PATH_MAX];
	int r;

	if (access(clsact_mark(attach, ifindex, path), F_OK) < 0)
		return 0;
	r = links_clsact_used(ifindex);
	if (r == 0)
		r = bpf_tc_hook_destroy(&hook);
	unlink(path);
	return r > 0 || r == -ENODEV || r == -ENOENT ? 0 : r;
}

static int clsact_set_side(const struct side *side, uint32_t ifindex, int program)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = side->clsact);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = CLSACT_HANDLE, .priority = CLSACT_PRIORITY,
		    .prog_fd = program, .flags = BPF_TC_F_REPLACE);

	return bpf_tc_attach(&hook, &options);
}

static bool clsact_has_side(const struct side *side, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = side->clsact);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = CLSACT_HANDLE, .priority = CLSACT_PRIORITY);

	return bpf_tc_query(&hook, &options) == 0;
}

static int clsact_detach_side(const struct side *side, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = side->clsact);
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = CLSACT_HANDLE, .priority = CLSACT_PRIORITY);
	int r;

	if (!clsact_has_side(side, ifindex))
		return 0;
	r = bpf_tc_detach(&hook, &options);
	return r == -ENODEV || r == -ENOENT ? 0 : r;
}

/* ---- Both ------------------------------------------------------------------------------------------------------- */

static int attach_side(const struct attach *attach, const struct port *port,
		       const struct side *side, uint32_t ifindex)
{
	if (attach->hook == HOOK_TCX)
		return tcx_attach_side(attach, port, side, ifindex);
	return clsact_set_side(side, ifindex, side_program(&attach->object->programs, side));
}

static int detach_sides(const struct attach *attach, const struct port *port, uint32_t ifindex)
{
	int r = 0, one;

	for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
		one = tcx_detach_side(attach, port, &sides[i]);
		r = r < 0 ? r : one;
		one = clsact_detach_side(&sides[i], ifindex);
		r = r < 0 ? r : one;
	}
	one = clsact_remove(attach, ifindex);
	return r < 0 ? r : one;
}

static int attach_sides(const struct attach *attach, const struct port *port, uint32_t ifindex)
{
	int r = attach->hook == HOOK_CLSACT ? clsact_make(attach, ifindex) : 0;

	for (size_t i = 0; i < ARRAY_SIZE(sides) && r == 0; i++)
		r = attach_side(attach, port, &sides[i], ifindex);
	if (r < 0)
		detach_sides(attach, port, ifindex);
	return r;
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

int attach_device(const struct attach *attach, struct port *port, uint32_t ifindex)
{
	int r = slot_put(attach->object, ifindex, port->slot);

	if (r == 0)
		r = attach_sides(attach, port, ifindex);
	if (r < 0)
		return log_errno(r, "vport %s: cannot attach to device %s", port->spec->name,
				 port->spec->dev);
	port->ifindex = ifindex;
	return 0;
}

int detach_device(const struct attach *attach, struct port *port, bool slot_too)
{
	uint32_t ifindex = port->ifindex;
	int r = detach_sides(attach, port, ifindex);
	int one = slot_too ? slot_remove(attach->object, ifindex) : 0;

	r = r < 0 ? r : one;
	if (r < 0)
		return log_errno(r, "vport %s: cannot detach from device %s", port->spec->name,
				 port->spec->dev);
	port->ifindex = 0;
	return 0;
}

/* The index under which port_slots knows the port; 0: none. */
static uint32_t find_slot(const struct attach *attach, const struct port *port)
{
	uint32_t ifindex, *from = NULL, slot;

	while (bpf_map_get_next_key(attach->object->port_slots, from, &ifindex) == 0) {
		if (map_get(attach->object->port_slots, &ifindex, &slot) == 0 && slot == port->slot)
			return ifindex;
		from = &ifindex;
	}
	return 0;
}

int attach_find(const struct attach *attach, struct port *port)
{
	uint32_t ifindex[ARRAY_SIZE(sides)];
	uint32_t known = find_slot(attach, port);

	port->ifindex = 0;
	for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
		int r = tcx_find_side(attach, port, &sides[i], &ifindex[i]);

		if (r < 0)
			return r;
		if (!ifindex[i] && known && clsact_has_side(&sides[i], known))
			ifindex[i] = known;
	}
	/* Half of a hook is none: it is made anew, over what is there. */
	if (known && ifindex[0] == known && ifindex[1] == known)
		port->ifindex = known;
	return 0;
}

/* ---- Upgrade ---------------------------------------------------------------------------------------------------- */

static int update_side(const struct attach *attach, const struct port *port,
		       const struct side *side, const struct programs *programs)
{
	int program = side_program(programs, side);
	int r = tcx_update_side(attach, port, side, program);

	return r == -ENOENT ? clsact_set_side(side, port->ifindex, program) : r;
}

static int update_port(const struct attach *attach, const struct port *port,
		       const struct programs *programs)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sides) && r == 0; i++)
		r = update_side(attach, port, &sides[i], programs);
	return r == -ENOLINK || r == -ENODEV ? 0 : r; /* the device went meanwhile */
}

int attach_upgrade(const struct attach *attach, struct port *const *ports, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		int r = ports[i]->ifindex ? update_port(attach, ports[i], &attach->object->programs)
					  : 0;

		if (r == 0)
			continue;
		log_errno(r, "vport %s: cannot update its programs; all go back to the former ones",
			  ports[i]->spec->name);
		for (size_t k = 0; k <= i; k++)
			if (ports[k]->ifindex &&
			    update_port(attach, ports[k], &attach->object->former) < 0)
				log_error("vport %s: cannot go back", ports[k]->spec->name);
		return r;
	}
	return 0;
}

/* ---- After a daemon that is dead -------------------------------------------------------------------------------- */

static int end_vport(const char *instance, const char *vport)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
		char path[PATH_MAX];
		_cleanup_close_ int link =
			pin_open(pin_vport_path(instance, vport, sides[i].pin, path));
		int one = link == -ENOENT ? 0 : link < 0 ? link : bpf_link_detach(link);

		if (one < 0 && one != -ENOLINK)
			r = log_errno(one, "%s", path);
	}
	return r;
}

static int end_vports(const char *instance)
{
	char path[PATH_MAX];
	DIR *dir = opendir(pin_path(instance, "vports", path));
	struct dirent *entry;
	int r = 0;

	while (dir && (entry = readdir(dir))) {
		int one = entry->d_name[0] == '.' ? 0 : end_vport(instance, entry->d_name);

		r = r < 0 ? r : one;
	}
	if (dir)
		closedir(dir);
	return r;
}

static int end_clsact(const struct attach *attach, int port_slots)
{
	uint32_t ifindex, *from = NULL;
	int r = 0;

	while (bpf_map_get_next_key(port_slots, from, &ifindex) == 0 && r == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(sides) && r == 0; i++)
			r = clsact_detach_side(&sides[i], ifindex);
		if (r == 0)
			r = clsact_remove(attach, ifindex);
		from = &ifindex;
	}
	return r < 0 ? log_errno(r, "cannot take the filters away from device %u", ifindex) : 0;
}

int attach_end_all(const char *instance, const char *run_dir)
{
	const struct attach attach = {.run_dir = run_dir};
	char path[PATH_MAX];
	_cleanup_close_ int port_slots = pin_open(pin_path(instance, "port_slots", path));
	int r = end_vports(instance);

	libbpf_set_print(NULL); /* it complains where there is no clsact */
	return r == 0 && port_slots >= 0 ? end_clsact(&attach, port_slots) : r;
}
