// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "maps.h"
#include "util.h"

#define TRIES	     10
#define TRY_AGAIN_US 5000 /* doubled each time: 5 s in all */

/* What libbpf does not know: the kernel's "not supported" of file operations, which user space should never see. */
#define KERNEL_ENOTSUPP 524

static bool again(int r, int *try)
{
	if (r != -EBUSY && r != -EAGAIN && r != -EINTR)
		return false;
	if (*try >= TRIES)
		return false;
	usleep(TRY_AGAIN_US << (*try)++);
	return true;
}

int map_get(int map, const void *key, void *value)
{
	int r, try = 0;

	do
		r = bpf_map_lookup_elem(map, key, value);
	while (again(r, &try));
	return r;
}

int map_put(int map, const void *key, const void *value)
{
	int r, try = 0;

	do
		r = bpf_map_update_elem(map, key, value, BPF_ANY);
	while (again(r, &try));
	return r;
}

int map_remove(int map, const void *key)
{
	int r, try = 0;

	do
		r = bpf_map_delete_elem(map, key);
	while (again(r, &try));
	return r == -ENOENT ? 0 : r;
}

int map_clear_percpu(int map, const void *key, size_t value_bytes)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ void *values =
		cpus < 0 ? NULL : calloc((size_t)cpus, (value_bytes + 7) & ~(size_t)7);

	if (cpus < 0)
		return cpus;
	return values ? map_put(map, key, values) : -ENOMEM;
}

static int put_singly(int map, const uint32_t *keys, const char *values, size_t value_bytes,
		      size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		int r = map_put(map, &keys[i], values + i * value_bytes);

		if (r < 0)
			return r;
	}
	return 0;
}

int map_put_batch(int map, const uint32_t *keys, const void *values, size_t value_bytes, size_t nr)
{
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	const char *bytes = values;
	size_t done = 0;
	int try = 0;

	while (done < nr) {
		uint32_t count = (uint32_t)(nr - done);
		int r = bpf_map_update_batch(map, keys + done, bytes + done * value_bytes, &count,
					     &options);

		if (r == -EINVAL || r == -EOPNOTSUPP || r == -KERNEL_ENOTSUPP)
			return put_singly(map, keys + done, bytes + done * value_bytes, value_bytes,
					  nr - done);
		if (r < 0 && r != -EFAULT)
			done += count;
		else if (r == 0)
			done = nr;
		if (r < 0 && !again(r, &try))
			return r;
	}
	return 0;
}

int map_read_array(int map, uint32_t count, size_t value_bytes, void **values)
{
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	_cleanup_free_ char *read = calloc(count, value_bytes);
	_cleanup_free_ uint32_t *keys = calloc(count, sizeof(*keys));
	uint32_t got = count, last;
	int r;

	if (!read || !keys)
		return -ENOMEM;
	r = bpf_map_lookup_batch(map, NULL, &last, keys, read, &got, &options);
	/* -ENOENT: the end of the map was reached, which is what was asked for. */
	if (r < 0 && r != -ENOENT)
		return r;
	if (got != count)
		return -ENOENT;
	*values = TAKE_PTR(read);
	return 0;
}

int map_info(int map, struct bpf_map_info *info)
{
	uint32_t bytes = sizeof(*info);

	memset(info, 0, sizeof(*info));
	return bpf_obj_get_info_by_fd(map, info, &bytes);
}

uint32_t map_id(int map)
{
	struct bpf_map_info info;

	return map_info(map, &info) < 0 ? 0 : info.id;
}

uint32_t map_inner_id(int outer, uint32_t index)
{
	uint32_t id;

	return map_get(outer, &index, &id) < 0 ? 0 : id;
}

int map_open_inner(int outer, uint32_t index)
{
	uint32_t id;
	int r = map_get(outer, &index, &id);

	return r < 0 ? r : bpf_map_get_fd_by_id(id);
}

int pin_open(const char *path)
{
	return bpf_obj_get(path);
}

int pin_replace(int fd, const char *path)
{
	char temporary[PATH_MAX];
	int r;

	/* Names in bpffs may not hold a dot. */
	if (snprintf(temporary, sizeof(temporary), "%s_new", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	r = pin_remove(temporary);
	if (r < 0)
		return r;
	r = bpf_obj_pin(fd, temporary);
	if (r < 0)
		return r;
	if (rename(temporary, path) < 0) {
		r = -errno;
		unlink(temporary);
	}
	return r;
}

int pin_remove(const char *path)
{
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}
