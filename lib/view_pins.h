/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_VIEW_PINS_H
#define DFW_VIEW_PINS_H

/* What the parts of the view share: opening pinned maps and reading them whole. */

#include <stddef.h>
#include <stdint.h>

#include "view.h"

/* Opens the pinned map and checks the size of its values (of a map of maps: 4). Returns a file descriptor, or -ENOENT,
 * -EPERM, -ESTALE (another layout's map lies there). */
int map_open(const char *path, size_t value_size);

/* The same for a map of the instance, and for a map of a port. */
int instance_map_open(const char *instance, const char *part, size_t value_size);
int vport_map_open(const char *instance, const char *vport, const char *part, size_t value_size);

/* The map that an ARRAY_OF_MAPS holds at `index`. */
int inner_map_open(int outer_fd, uint32_t index, size_t value_size);

/* Element `index` of an ARRAY. 0 or a negative errno. */
int array_read(int fd, uint32_t index, void *value);

/* Calls `each` for every element, in batches where the kernel can, until it returns other than 0; that is returned. */
int map_each(int fd, int (*each)(const void *key, const void *value, void *data), void *data);

/* The configuration of the port in the bank that is in force, which is also returned. */
int vport_config(const char *instance, const char *vport, struct dfw_port_config *config,
		 uint32_t *bank);

/* CLOCK_MONOTONIC in nanoseconds: the clock of the datapath's times. */
uint64_t monotonic_ns(void);

#endif
