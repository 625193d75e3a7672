/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_DEVICES_H
#define DFW_LOADER_DEVICES_H

#include "daemon.h"

/* Devices that come, go and are renamed, and the ports that belong to them by name. */

/* Looks at all devices; enforces those that belong to a port, forgets those that have gone. */
int devices_scan(struct dfwd *d);
/* Handles what netlink has to tell. */
void devices_read(struct dfwd *d);
/* Tries again what failed, and removes ports made by patterns whose devices went unseen. */
void devices_retry(struct dfwd *d);
/* Whether every device that is there and belongs to a port is enforced. */
bool devices_enforced(const struct dfwd *d);

/* Enforces the port when its device is there. */
int device_enforce(struct dfwd *d, struct port *port);
/* -EINVAL, logged: the device is there and cannot be a vport's, or the name is another name of a device. */
int device_check(const char *name);
/* Enforces the port on the device of this name too, if it is there; see attach_begin. Errors are logged. */
int device_begin(struct dfwd *d, const struct port *port, const char *name,
		 struct attaching *attaching);
/* At a start, when all devices have been looked at: forgets links of ports that have none. */
void devices_forget_former(const struct dfwd *d);

#endif
