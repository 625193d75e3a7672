// SPDX-License-Identifier: GPL-2.0
/* Ports and their counters; view_rule.c and view_flow.c have the rest, view_pins.c what they share. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "util.h"
#include "view_pins.h"

static void cleanup_closedir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

void names_free(char **names, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		free(names[i]);
	free(names);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int names_add(char ***names, size_t *nr, const char *name)
{
	char **more = realloc(*names, (*nr + 1) * sizeof(**names));

	if (!more)
		return -ENOMEM;
	*names = more;
	more[*nr] = strdup(name);
	if (!more[*nr])
		return -ENOMEM;
	(*nr)++;
	return 0;
}

/* -ENOENT of the folder itself is an instance without ports. */
static int read_names(const char *path, char ***names, size_t *nr)
{
	_cleanup_(cleanup_closedir) DIR *dir = opendir(path);
	struct dirent *entry;
	int r;

	if (!dir)
		return errno == ENOENT ? 0 : errno == EACCES ? -EPERM : -errno;
	while ((entry = readdir(dir))) {
		/* dfwd makes a port's folder under a name that begins with '.' and renames it. */
		if (!port_name_valid(entry->d_name))
			continue;
		r = names_add(names, nr, entry->d_name);
		if (r < 0)
			return r;
	}
	return 0;
}

int view_vports(const char *instance, char ***names, size_t *nr)
{
	struct dfw_layout layout;
	struct dfw_revision revision;
	char path[PATH_MAX];
	char **found = NULL;
	size_t nr_found = 0;
	int r = view_active(instance, &layout, &revision);

	if (r < 0)
		return r;
	r = read_names(pin_path(instance, "vports", path), &found, &nr_found);
	if (r < 0) {
		names_free(found, nr_found);
		return r;
	}
	if (nr_found)
		qsort(found, nr_found, sizeof(*found), compare_names);
	*names = found;
	*nr = nr_found;
	return 0;
}

enum side {
	SIDE_NO_LINK,  /* nothing is pinned */
	SIDE_DETACHED, /* the device has gone: the kernel leaves the link, with ifindex 0 */
	SIDE_ATTACHED,
};

/* Returns an enum side or a negative errno. */
static int link_side(const char *instance, const char *vport, const char *part)
{
	char path[PATH_MAX];
	_cleanup_close_ int fd = bpf_obj_get(pin_vport_path(instance, vport, part, path));
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);

	if (fd < 0)
		return fd == -ENOENT ? SIDE_NO_LINK : fd == -EACCES ? -EPERM : fd;
	/* Headers of 6.1 do not know a tcx link's part of the union; its ifindex lies where xdp's does. */
	if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.xdp.ifindex == 0)
		return SIDE_DETACHED;
	return SIDE_ATTACHED;
}

static int same_slot(const void *key, const void *value, void *data)
{
	(void)key;
	return memcmp(value, data, sizeof(uint32_t)) == 0;
}

/* Filters on a clsact qdisc (kernels before 6.6) are no links; what tells is that a device leads to the port. */
static int has_device(const char *instance, uint32_t slot)
{
	_cleanup_close_ int fd = instance_map_open(instance, "port_slots", sizeof(uint32_t));

	return fd < 0 ? fd : map_each(fd, same_slot, &slot);
}

static int is_enforcing(const char *instance, const char *vport, uint32_t slot)
{
	int in = link_side(instance, vport, "link_in");
	int out = in < 0 ? in : link_side(instance, vport, "link_out");

	if (out < 0)
		return out;
	if (in == SIDE_NO_LINK && out == SIDE_NO_LINK)
		return has_device(instance, slot);
	return in == SIDE_ATTACHED && out == SIDE_ATTACHED;
}

int view_vport(const char *instance, const char *name, struct view_vport *vport)
{
	_cleanup_close_ int state_fd = -1;
	struct view_vport read = {};
	uint32_t bank;
	int r = vport_config(instance, name, &read.config, &bank);

	if (r < 0)
		return r;
	state_fd = vport_map_open(instance, name, "state", sizeof(read.state));
	if (state_fd < 0)
		return state_fd;
	r = array_read(state_fd, 0, &read.state);
	if (r < 0)
		return r;
	r = is_enforcing(instance, name, read.config.slot);
	if (r < 0)
		return r;
	read.enforcing = r;
	*vport = read;
	return 0;
}

/* The counters' struct is made of u64 only. */
static void add_words(void *sum, const void *part, size_t bytes)
{
	uint64_t *to = sum;
	const uint64_t *from = part;

	for (size_t i = 0; i < bytes / sizeof(*to); i++)
		to[i] += from[i];
}

int view_counters(const char *instance, const char *vport,
		  struct dfw_direction_counters counters[DFW_DIRECTIONS])
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ struct dfw_direction_counters *parts = NULL;
	int cpus = libbpf_num_possible_cpus();
	int r;

	if (cpus < 0)
		return cpus;
	if (!port_name_valid(vport))
		return -ENOENT;
	fd = vport_map_open(instance, vport, "counters", sizeof(*parts));
	if (fd < 0)
		return fd;
	parts = calloc((size_t)cpus, sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	memset(counters, 0, DFW_DIRECTIONS * sizeof(*counters));
	for (uint32_t direction = 0; direction < DFW_DIRECTIONS; direction++) {
		r = array_read(fd, direction, parts);
		if (r < 0)
			return r;
		for (int cpu = 0; cpu < cpus; cpu++)
			add_words(&counters[direction], &parts[cpu], sizeof(*parts));
	}
	return 0;
}
