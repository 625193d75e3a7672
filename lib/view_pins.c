// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#include "util.h"
#include "view_pins.h"

#define BATCH_ELEMENTS 1024U

/* bpf() says ENOTSUPP, a number that user space has no name for, for a map type without batches. */
#define KERNEL_ENOTSUPP 524

uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

const char *pin_path(const char *instance, const char *part, char *path)
{
	snprintf(path, PATH_MAX, DFW_PIN_ROOT "/%s%s%s", instance, part ? "/" : "",
		 part ? part : "");
	return path;
}

const char *pin_vport_path(const char *instance, const char *vport, const char *part, char *path)
{
	snprintf(path, PATH_MAX, DFW_PIN_ROOT "/%s/vports/%s%s%s", instance, vport, part ? "/" : "",
		 part ? part : "");
	return path;
}

static int check_value_size(int fd, size_t value_size)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	int r = bpf_obj_get_info_by_fd(fd, &info, &len);

	if (r < 0)
		return r;
	/* Something else than a map fills another struct here: the sizes differ as well. */
	return info.value_size == value_size ? 0 : -ESTALE;
}

int map_open(const char *path, size_t value_size)
{
	_cleanup_close_ int fd = bpf_obj_get(path);
	int r;

	if (fd < 0)
		return fd == -EACCES ? -EPERM : fd;
	r = check_value_size(fd, value_size);
	return r < 0 ? r : TAKE_FD(fd);
}

int instance_map_open(const char *instance, const char *part, size_t value_size)
{
	char path[PATH_MAX];

	return map_open(pin_path(instance, part, path), value_size);
}

int vport_map_open(const char *instance, const char *vport, const char *part, size_t value_size)
{
	char path[PATH_MAX];

	return map_open(pin_vport_path(instance, vport, part, path), value_size);
}

int array_read(int fd, uint32_t index, void *value)
{
	return bpf_map_lookup_elem(fd, &index, value);
}

int inner_map_open(int outer_fd, uint32_t index, size_t value_size)
{
	_cleanup_close_ int fd = -1;
	uint32_t id;
	int r = array_read(outer_fd, index, &id);

	if (r < 0)
		return r;
	fd = bpf_map_get_fd_by_id(id);
	if (fd < 0)
		return fd;
	r = check_value_size(fd, value_size);
	return r < 0 ? r : TAKE_FD(fd);
}

struct elements {
	int fd;
	uint32_t key_size;
	uint32_t value_size;
	uint32_t max_entries;
	int (*each)(const void *key, const void *value, void *data);
	void *data;
};

/* The slow way, for map types without batches. An element that goes away while it is our place makes the kernel begin
 * again, so the walk is bounded. */
static int each_by_key(const struct elements *map)
{
	_cleanup_free_ uint8_t *key = malloc(map->key_size);
	_cleanup_free_ uint8_t *value = malloc(map->value_size);
	uint64_t steps = 2 * (uint64_t)map->max_entries + 1;
	void *place = NULL;
	int r;

	if (!key || !value)
		return -ENOMEM;
	while (steps-- > 0) {
		r = bpf_map_get_next_key(map->fd, place, key);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		place = key;
		r = bpf_map_lookup_elem(map->fd, key, value);
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		r = map->each(key, value, map->data);
		if (r)
			return r;
	}
	return 0;
}

static int each_of_batch(const struct elements *map, const uint8_t *keys, const uint8_t *values,
			 uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++) {
		int r = map->each(keys + (size_t)i * map->key_size,
				  values + (size_t)i * map->value_size, map->data);

		if (r)
			return r;
	}
	return 0;
}

static int grow_batch(const struct elements *map, uint32_t room, uint8_t **keys, uint8_t **values)
{
	uint8_t *more_keys = realloc(*keys, (size_t)room * map->key_size);
	uint8_t *more_values;

	if (!more_keys)
		return -ENOMEM;
	*keys = more_keys;
	more_values = realloc(*values, (size_t)room * map->value_size);
	if (!more_values)
		return -ENOMEM;
	*values = more_values;
	return 0;
}

static bool batch_unsupported(int error)
{
	return error == -KERNEL_ENOTSUPP || error == -EOPNOTSUPP || error == -EINVAL;
}

static int each_by_batch(const struct elements *map)
{
	_cleanup_free_ uint8_t *keys = NULL, *values = NULL;
	/* The place between two batches: a bucket of a hash, a key of an array. */
	uint64_t place[8];
	void *from = NULL;
	uint32_t room = BATCH_ELEMENTS, nr;
	int r, last;

	if (map->key_size > sizeof(place))
		return -KERNEL_ENOTSUPP;
	r = grow_batch(map, room, &keys, &values);
	if (r < 0)
		return r;
	do {
		nr = room;
		last = bpf_map_lookup_batch(map->fd, from, place, keys, values, &nr, NULL);
		if (last == -ENOSPC) {
			/* One bucket of the hash has more than `room` elements. */
			room *= 2;
			r = grow_batch(map, room, &keys, &values);
			if (r < 0)
				return r;
			continue;
		}
		if (!from && batch_unsupported(last))
			return -KERNEL_ENOTSUPP;
		if (last < 0 && last != -ENOENT)
			return last;
		r = each_of_batch(map, keys, values, nr);
		if (r)
			return r;
		from = place;
	} while (last != -ENOENT);
	return 0;
}

int map_each(int fd, int (*each)(const void *key, const void *value, void *data), void *data)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	struct elements map;
	int r = bpf_obj_get_info_by_fd(fd, &info, &len);

	if (r < 0)
		return r;
	map = (struct elements){
		.fd = fd,
		.key_size = info.key_size,
		.value_size = info.value_size,
		.max_entries = info.max_entries,
		.each = each,
		.data = data,
	};
	r = each_by_batch(&map);
	return r == -KERNEL_ENOTSUPP ? each_by_key(&map) : r;
}

static int revision_in_force(const char *instance, struct dfw_revision *revision)
{
	_cleanup_close_ int fd = instance_map_open(instance, "active", sizeof(*revision));
	int r;

	if (fd < 0)
		return fd;
	r = array_read(fd, 0, revision);
	return r == 0 && revision->bank >= DFW_BANKS ? -ESTALE : r;
}

/* The map at [slot * DFW_BANKS + bank] is what the datapath reads; the pin of the same name may lag behind a flip. */
static int config_in_force(const char *instance, uint32_t slot, uint32_t bank,
			   struct dfw_port_config *config)
{
	_cleanup_close_ int outer = instance_map_open(instance, "configs", sizeof(uint32_t));
	_cleanup_close_ int fd = -1;

	if (outer < 0)
		return outer;
	fd = inner_map_open(outer, slot * DFW_BANKS + bank, sizeof(*config));
	return fd < 0 ? fd : array_read(fd, 0, config);
}

int vport_config(const char *instance, const char *vport, struct dfw_port_config *config,
		 uint32_t *bank)
{
	_cleanup_close_ int fd = -1;
	struct dfw_port_config active;
	struct dfw_revision revision;
	int r;

	if (!port_name_valid(vport))
		return -ENOENT;
	r = revision_in_force(instance, &revision);
	if (r < 0)
		return r;
	*bank = revision.bank;
	fd = vport_map_open(instance, vport, "config", sizeof(*config));
	if (fd < 0)
		return fd;
	r = array_read(fd, 0, config);
	if (r < 0)
		return r;
	r = config_in_force(instance, config->slot, *bank, &active);
	if (r == 0 && strncmp(active.name, vport, sizeof(active.name)) == 0)
		*config = active;
	/* -ENOENT: the port is being added or removed, what the pin says is the latest. */
	return r == -ENOENT ? 0 : r;
}

int view_active(const char *instance, struct dfw_layout *layout, struct dfw_revision *revision)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (!instance_name_valid(instance))
		return -ENOENT;
	fd = instance_map_open(instance, "layout", sizeof(*layout));
	if (fd < 0)
		return fd;
	r = array_read(fd, 0, layout);
	if (r < 0)
		return r;
	return layout->version == DFW_LAYOUT_VERSION ? revision_in_force(instance, revision)
						     : -ESTALE;
}
