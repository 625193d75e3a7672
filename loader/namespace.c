// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>

#include <bpf/bpf.h>

#include <dfw/maps.h>
#include <dfw/path.h>
#include <dfw/port.h>

#include "log.h"
#include "maps.h"
#include "namespace.h"
#include "util.h"
#include "view.h"

int namespace_cookie(uint64_t *cookie)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t bytes = sizeof(*cookie);

	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &bytes) < 0)
		return log_errno(-errno, "cannot tell which network namespace this is");
	return 0;
}

/* A pinned map, whatever version made it; -1: there is none with such values. */
static int open_map(const char *instance, const char *part, size_t value_bytes)
{
	char path[PATH_MAX];
	_cleanup_close_ int map = pin_open(pin_path(instance, part, path));
	struct bpf_map_info info;

	return map >= 0 && map_info(map, &info) == 0 && info.value_size == value_bytes
		       ? TAKE_FD(map)
		       : -1;
}

/* 0: the pins do not tell, or there are none. */
static uint64_t pinned_cookie(const char *instance)
{
	struct dfw_layout layout;
	_cleanup_close_ int map = open_map(instance, "layout", sizeof(layout));
	const uint32_t zero = 0;

	return map_get(map, &zero, &layout) < 0 ? 0 : layout.netns;
}

/* ---- What is attached ------------------------------------------------------------------------------------------- */

enum attached {
	ATTACHED_NOTHING,
	ATTACHED_FILTER, /* perhaps: a filter goes with its device, and nothing pinned tells */
	ATTACHED_LINK,
};

/* A pinned link stays when its device goes, and has index 0 then. */
static enum attached link_attached(const char *instance, const char *folder, const char *pin,
				   bool *pinned)
{
	char part[NAME_MAX + 32], path[PATH_MAX];
	struct bpf_link_info info = {};
	uint32_t bytes = sizeof(info);
	_cleanup_close_ int link = -1;

	snprintf(part, sizeof(part), "%s/%s", folder, pin);
	link = pin_open(pin_path(instance, part, path));
	if (link < 0)
		return ATTACHED_NOTHING;
	*pinned = true;
	/* info.tcx, which headers of 6.1 lack, begins like info.xdp. */
	return bpf_obj_get_info_by_fd(link, &info, &bytes) == 0 && info.xdp.ifindex == 0
		       ? ATTACHED_NOTHING
		       : ATTACHED_LINK;
}

/* `known`: the maps name a device for it. */
static enum attached folder_attached(const char *instance, const char *folder, bool known)
{
	bool pinned = false;
	enum attached in = link_attached(instance, folder, "link_in", &pinned);
	enum attached out = link_attached(instance, folder, "link_out", &pinned);

	if (in || out)
		return ATTACHED_LINK;
	return known && !pinned ? ATTACHED_FILTER : ATTACHED_NOTHING;
}

/* Whether port_slots knows a device of the port; of one whose slot cannot be read, whether it knows any. */
static bool has_slot(const char *instance, const char *folder, int port_slots)
{
	char part[NAME_MAX + 32];
	struct dfw_port_config config;
	uint32_t ifindex, *from = NULL, slot;
	const uint32_t zero = 0;
	_cleanup_close_ int map = -1;
	bool readable;

	snprintf(part, sizeof(part), "%s/config", folder);
	map = open_map(instance, part, sizeof(config));
	readable = map_get(map, &zero, &config) == 0;
	while (bpf_map_get_next_key(port_slots, from, &ifindex) == 0) {
		if (!readable || (map_get(port_slots, &ifindex, &slot) == 0 && slot == config.slot))
			return true;
		from = &ifindex;
	}
	return false;
}

static enum attached vports_attached(const char *instance, int port_slots)
{
	enum attached most = ATTACHED_NOTHING;
	char folder[NAME_MAX + 16], path[PATH_MAX];
	DIR *dir = opendir(pin_path(instance, "vports", path));
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		enum attached one;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(folder, sizeof(folder), "vports/%s", entry->d_name);
		one = folder_attached(instance, folder, has_slot(instance, folder, port_slots));
		most = one > most ? one : most;
	}
	if (dir)
		closedir(dir);
	return most;
}

static enum attached uplinks_attached(const char *instance, int uplink_list)
{
	enum attached most = ATTACHED_NOTHING;
	struct dfw_uplink uplink;

	for (uint32_t i = 0; i < DFW_MAX_UPLINKS; i++) {
		char folder[DFW_DEVICE_NAME_LEN + 16];
		enum attached one;

		if (map_get(uplink_list, &i, &uplink) < 0 || !uplink.name[0])
			continue;
		snprintf(folder, sizeof(folder), "uplinks/%.15s", uplink.name);
		one = folder_attached(instance, folder, uplink.ifindex);
		most = one > most ? one : most;
	}
	return most;
}

/* ---- A namespace that has gone ---------------------------------------------------------------------------------- */

static int forget_vports(int port_slots, int near_slots)
{
	const uint32_t none = 0;
	uint32_t ifindex;
	int r = 0;

	while (r == 0 && bpf_map_get_next_key(port_slots, NULL, &ifindex) == 0) {
		if (ifindex < DFW_NEAR_SLOTS)
			r = map_put(near_slots, &ifindex, &none);
		if (r == 0)
			r = map_remove(port_slots, &ifindex);
	}
	return r;
}

static int forget_uplinks(int uplink_list)
{
	struct dfw_uplink uplink;
	int r = 0;

	for (uint32_t i = 0; uplink_list >= 0 && i < DFW_MAX_UPLINKS && r == 0; i++) {
		r = map_get(uplink_list, &i, &uplink);
		if (r < 0 || !uplink.ifindex)
			continue;
		uplink.ifindex = 0;
		uplink.hook = DFW_UPLINK_NONE;
		r = map_put(uplink_list, &i, &uplink);
	}
	return r;
}

/* ---- Both ------------------------------------------------------------------------------------------------------- */

static int refuse(const char *instance, enum attached attached)
{
	char path[PATH_MAX];

	pin_path(instance, NULL, path);
	if (attached == ATTACHED_LINK)
		log_error("the pins of instance %s, %s, are of another network namespace, where "
			  "they enforce: start dfwd there, by `nsenter --net=FILE dfwd -i %s`",
			  instance, path, instance);
	else
		log_error("the pins of instance %s, %s, are of another network namespace, where "
			  "filters of its devices may enforce: start dfwd there, by `nsenter "
			  "--net=FILE dfwd -i %s`, or if that namespace has gone, `rm -r %s`",
			  instance, path, instance, path);
	return -ESTALE;
}

int namespace_check(const char *instance)
{
	_cleanup_close_ int port_slots = open_map(instance, "port_slots", sizeof(uint32_t));
	_cleanup_close_ int near_slots = open_map(instance, "near_slots", sizeof(uint32_t));
	_cleanup_close_ int uplink_list =
		open_map(instance, "uplink_list", sizeof(struct dfw_uplink));
	uint64_t pinned = pinned_cookie(instance), ours;
	enum attached vports, uplinks;
	int r = namespace_cookie(&ours);

	if (r < 0 || !pinned || pinned == ours)
		return r;
	vports = vports_attached(instance, port_slots);
	uplinks = uplinks_attached(instance, uplink_list);
	if (vports || uplinks)
		return refuse(instance, vports > uplinks ? vports : uplinks);
	log_notice("the network namespace that the pins of instance %s are of has gone with its "
		   "devices: they are taken over here",
		   instance);
	r = forget_vports(port_slots, near_slots);
	if (r == 0)
		r = forget_uplinks(uplink_list);
	return r < 0 ? log_errno(r, "cannot forget its devices") : 0;
}
