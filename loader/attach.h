/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_ATTACH_H
#define DFW_LOADER_ATTACH_H

#include <stdbool.h>
#include <stdint.h>

#include "hooks.h"
#include "port.h"

/* A port and the device that it is enforced on. */

/* Enforces the port on a device. What the port has in the kernel must be complete: the first packet may come at once.
 * Nothing stays behind on an error. */
int attach_device(const struct hooks *hooks, struct port *port, uint32_t ifindex);

/* Ends it; `slot_too`: nobody else has taken the device over, so forget its index. */
int detach_device(const struct hooks *hooks, struct port *port, bool slot_too);

/* Sets port->ifindex to the device that a daemon before us left it attached to, 0: to none. */
int attach_find(const struct hooks *hooks, struct port *port);

/* Has a VM sent anything through the device? Asked when it is enforced already, so that nothing can slip through between. */
bool attach_is_late(uint32_t ifindex);

/* Puts our programs in the place of the former ones on every device, in place; back again on any error. */
int attach_upgrade(const struct hooks *hooks, struct port *const *ports, size_t nr);
void attach_go_back(const struct hooks *hooks, struct port *const *ports, size_t nr);

/* Ends what a daemon before us left attached, whatever its version: all links pinned under vports/, and our filters on
 * the devices that port_slots names. */
int attach_end_all(const char *instance, const char *run_dir);

#endif
