/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_BRIDGES_H
#define DFW_LOADER_BRIDGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dfw/path.h>

/*
 * What dfwd adds to the fast path, whose paths the datapath learns by itself: which devices take part in it (`devices`), and
 * the end of all paths at once when anything changes that they rest on: a device, a bridge, its VLANs, its table of
 * stations. Without dfwd a path ends by its age.
 */

struct dfwd;

struct bridges {
	struct mnl_socket *socket; /* rtnetlink: links, bridges' tables, queueing disciplines */
	int fd;
	struct dfw_path_state *state; /* the map's, in our memory */
	struct bridged_device *known; /* what `devices` says */
	size_t nr_known;
	bool dirty;	   /* something changed since we looked at all of it */
	uint64_t renew_ns; /* when leases are due */
};

int bridges_open(struct dfwd *d);
void bridges_close(struct dfwd *d);

/* Ends all paths. */
void bridges_end_paths(struct dfwd *d);
/* Whether the device takes part, as a port or an uplink. */
bool bridges_has(const struct dfwd *d, uint32_t ifindex);
/* Ends all paths, and has everything looked at again. */
void bridges_changed(struct dfwd *d);
/* Handles what rtnetlink has to tell. */
void bridges_read(struct dfwd *d);
/* Many times a second: does what bridges_changed has put off. */
void bridges_tick(struct dfwd *d);

#endif
