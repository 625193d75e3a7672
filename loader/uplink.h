/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_UPLINK_H
#define DFW_LOADER_UPLINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include <dfw/path.h>

#include "hooks.h"

/* An uplink: the device behind which the wire is. Nothing is enforced there that the ports would not enforce; it is where
 * frames meet what their ports would decide as early as can be, and from where they go straight to their ports. */

enum uplink_mode {
	UPLINK_AUTO,	/* in XDP where that costs nothing, else in tc alone */
	UPLINK_NATIVE,	/* in XDP, at the driver */
	UPLINK_GENERIC, /* in XDP, on skbs */
	UPLINK_MODES,
};

/* What a command or the configuration says of an uplink. */
struct uplink_wish {
	char name[IF_NAMESIZE];
	enum uplink_mode mode;
	bool fast;
};

struct uplink {
	char name[IF_NAMESIZE];
	enum uplink_mode mode;
	bool fast;	 /* the fast path, from here and to here */
	bool configured; /* by dfwd's configuration, not by a command */
	bool strips; /* the device stripped VLAN tags until we came, and shall again when we go */
	uint32_t number; /* index in `uplink_list`, and place of its counters */

	uint32_t ifindex; /* 0: the device is not there */
	bool attach_failed; /* the device is there, and attaching has failed: tried again each second */
	enum dfw_uplink_hook hook;
	enum dfw_uplink_cause cause;
	uint32_t dispatcher; /* see struct xdp_state */
};

/* What the kernel's dev_valid_name() takes. */
bool device_name_valid(const char *name);

/* The name of a mode; NULL: there is none of this number. */
const char *uplink_mode_name(enum uplink_mode mode);
/* -EINVAL: no such mode. */
int uplink_mode_parse(const char *text, enum uplink_mode *mode);

/* Attaches to the device of that index. Errors are logged, but for those that were when it last failed; then nothing is
 * attached. */
int uplink_attach(const struct hooks *hooks, struct uplink *uplink, uint32_t ifindex);
int uplink_detach(const struct hooks *hooks, struct uplink *uplink);
/* The device has gone. */
void uplink_forget(const struct hooks *hooks, struct uplink *uplink);

/* Sets `ifindex` and `hook` to what a daemon before us has left attached, if anything. */
int uplink_find(const struct hooks *hooks, struct uplink *uplink);
/* Puts our programs in the place of those that were found. Errors are logged. */
int uplink_upgrade(const struct hooks *hooks, struct uplink *uplink);
void uplink_go_back(const struct hooks *hooks, const struct uplink *uplink);

/* Tells those who read the pins what the uplink is like. */
int uplink_publish(const struct object *object, const struct uplink *uplink);
int uplink_unpublish(const struct object *object, const struct uplink *uplink);

/* Ends what a daemon before us left at uplinks, whatever its version. */
int uplinks_end_all(const char *instance, const char *run_dir);

#endif
