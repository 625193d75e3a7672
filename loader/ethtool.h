/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_ETHTOOL_H
#define DFW_LOADER_ETHTOOL_H

#include <stdbool.h>

/* What a driver tells of itself. All return 0 or a negative errno; -EOPNOTSUPP: this driver does not tell. */

#define DRIVER_NAME_LEN 32

int ethtool_driver(const char *device, char driver[DRIVER_NAME_LEN]);

/* Does the device take the VLAN tag out of what it receives, so that XDP cannot see it? */
int ethtool_strips_tags(const char *device, bool *strips);
int ethtool_strip_tags(const char *device, bool strip);

#endif
