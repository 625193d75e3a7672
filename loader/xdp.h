/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_XDP_H
#define DFW_LOADER_XDP_H

#include <stdbool.h>
#include <stdint.h>

#include "object.h"

/*
 * Our program at an uplink's XDP hook, by way of libxdp: where the kernel has freplace programs, it runs beside those of
 * others, after all of them, since what it takes none of them sees any more; else it runs alone. The kernel keeps it, with
 * us or without.
 */

struct xdp_hook {
	uint32_t ifindex;
	uint32_t place;	 /* in `path_ways` */
	bool generic;	 /* on skbs, not at the driver */
	const char *pin; /* path of the program's pin */
};

struct xdp_state {
	bool attached;
	bool generic;
	uint32_t dispatcher; /* id of libxdp's dispatcher, 0: our program is alone */
};

/* How our program is there. It is ours when it uses our maps. */
int xdp_find(const struct object *object, uint32_t ifindex, struct xdp_state *state);

/* Loads our program and puts it there, in the place of one that is ours already, without a packet in between that meets
 * none; pins it. -EBUSY: another program is there and does not share; -EOPNOTSUPP: the driver, or the device as it is set
 * up, does not take XDP. Nothing has changed then, and nothing is logged. */
int xdp_attach(const struct object *object, const struct xdp_hook *hook);

/* Takes it away, and its pin. Its not being there is success. */
int xdp_detach(const struct object *object, uint32_t ifindex, const char *pin);

/* The device has gone, and with it what ran there: removes our pin, and what libxdp had pinned for it. */
void xdp_forget(uint32_t ifindex, uint32_t dispatcher, const char *pin);

/* After a daemon that is dead, of whatever version: takes the program pinned at `pin` away from the device. */
int xdp_end(uint32_t ifindex, const char *pin);

#endif
