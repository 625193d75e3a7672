/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_ATTACH_H
#define DFW_LOADER_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

#include "hooks.h"
#include "port.h"

/* A port and the device that it is enforced on. */

/* Enforces the port on a device. What the port has in the kernel must be complete: the first packet may come at once.
 * Nothing stays behind on an error, which is logged unless port->attach_failed says that it was before. */
int attach_device(const struct hooks *hooks, struct port *port, uint32_t ifindex);

/* The same in two steps, for what may still fail in between: the port is enforced on the device, and on the one that it
 * had. attach_keep ends the latter, attach_drop the former. `ifindex` may be 0: the device is not there. */
struct attaching {
	const struct hooks *hooks; /* NULL: nothing to go back from */
	struct hooked hooked;
	uint32_t ifindex;
	uint32_t former; /* slot + 1 that the index led to; 0: to none */
};
int attach_begin(const struct hooks *hooks, const struct port *port, uint32_t ifindex,
		 struct attaching *attaching);
int attach_keep(struct attaching *attaching, struct port *port);
void attach_drop(struct attaching *attaching);
#define _cleanup_attaching_ _cleanup_(attach_drop)

/* The device of one port, which has another name now, becomes that of the other, which has none. At no moment is it
 * without programs. */
int attach_pass(const struct hooks *hooks, struct port *from, struct port *to);

/* Ends it. */
int detach_device(const struct hooks *hooks, struct port *port);

/* Sets port->ifindex to the device that a daemon before us left it attached to, 0: to none. */
int attach_find(const struct hooks *hooks, struct port *port);
/* Whether the port's device is still the one that it was attached to: an index may have become another device's. */
bool attach_lives(const struct hooks *hooks, const struct port *port);
/* Forgets what a daemon before us left of a port without a device: it died while the device became another port's. */
void attach_forget(const struct hooks *hooks, const struct port *port);

/* Has a VM sent anything through the device? Asked when it is enforced already, so that nothing can slip through between. */
bool attach_is_late(uint32_t ifindex);

/* Puts our programs in the place of the former ones on every device, in place; back again on any error. */
int attach_upgrade(const struct hooks *hooks, struct port *const *ports, size_t nr);
void attach_go_back(const struct hooks *hooks, struct port *const *ports, size_t nr);

/* Ends what a daemon before us left attached, whatever its version: all links pinned under vports/, and our filters on
 * the devices that port_slots names. */
int attach_end_all(const char *instance, const char *run_dir);

#endif
