/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_MAPS_H
#define DFW_LOADER_MAPS_H

#include <stddef.h>
#include <stdint.h>

#include <linux/bpf.h>

/* The map calls of bpf(2) as dfwd wants them: 0, an fd or a negative errno; -EBUSY, -EAGAIN and -EINTR are transient
 * and tried again for a while before they are returned. */

int map_get(int map, const void *key, void *value);
int map_put(int map, const void *key, const void *value);
/* A key that is not there is removed already. */
int map_remove(int map, const void *key);

/* Sets the value of a per-CPU map to zero, on each CPU. */
int map_clear_percpu(int map, const void *key, size_t value_bytes);

/* Many at once. For a map of maps that is one grace period instead of one for each element. Kernels that cannot do it
 * get one after the other. What was written when an error comes stays written. */
int map_put_batch(int map, const uint32_t *keys, const void *values, size_t value_bytes, size_t nr);

/* The first `count` values of an array, malloc'd. */
int map_read_array(int map, uint32_t count, size_t value_bytes, void **values);

int map_info(int map, struct bpf_map_info *info);
uint32_t map_id(int map); /* 0 on an error */

/* An fd of the inner map at `index`; -ENOENT when there is none. */
int map_open_inner(int outer, uint32_t index);
uint32_t map_inner_id(int outer, uint32_t index); /* 0: none */

int pin_open(const char *path);
/* Pins `fd` at `path`, in the place of what may be there; whoever opens the path finds the one or the other. */
int pin_replace(int fd, const char *path);
/* Not being there is success. */
int pin_remove(const char *path);

#endif
