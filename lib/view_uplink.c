// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "util.h"
#include "view_pins.h"

int view_uplinks(const char *instance, struct dfw_uplink uplinks[DFW_MAX_UPLINKS])
{
	_cleanup_close_ int fd = -1;
	struct dfw_revision revision;
	struct dfw_layout layout;
	int r = view_active(instance, &layout, &revision);

	if (r < 0)
		return r;
	fd = instance_map_open(instance, "uplink_list", sizeof(*uplinks));
	if (fd < 0)
		return fd;
	for (uint32_t i = 0; i < DFW_MAX_UPLINKS && r == 0; i++) {
		r = array_read(fd, i, &uplinks[i]);
		uplinks[i].name[DFW_DEVICE_NAME_LEN - 1] = '\0';
	}
	return r;
}

int view_ways(const char *instance, uint32_t place, struct dfw_way_counters *counters)
{
	_cleanup_close_ int fd = instance_map_open(instance, "path_ways", sizeof(*counters));
	_cleanup_free_ struct dfw_way_counters *parts = NULL;
	int cpus = libbpf_num_possible_cpus();
	int r;

	if (fd < 0)
		return fd;
	if (cpus < 0)
		return cpus;
	parts = calloc((size_t)cpus, sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	r = array_read(fd, place, parts);
	memset(counters, 0, sizeof(*counters));
	for (int cpu = 0; cpu < cpus && r == 0; cpu++)
		for (size_t i = 0; i < DFW_WAY_COUNT; i++)
			((uint64_t *)counters)[i] += ((const uint64_t *)&parts[cpu])[i];
	return r;
}
