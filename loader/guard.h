/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_GUARD_H
#define DFW_LOADER_GUARD_H

#include "daemon.h"

/* What a start attaches before it reads anything that may be damaged: should it end there, devices do not stay open. New
 * ports deny; those that were taken over go on by what is in force. All else of devices is devices_scan()'s, later. */

/* Enforces ports whose devices are there and which are attached to none. */
void guard_ports(struct dfwd *d);
/* Makes ports for devices that are nobody's yet and match a pattern of the configuration. The list of uplinks is known. */
void guard_matching(struct dfwd *d);

#endif
