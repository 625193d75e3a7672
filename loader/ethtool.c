// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/ethtool.h>
#include <linux/sockios.h>

#include "ethtool.h"
#include "util.h"

_Static_assert(DRIVER_NAME_LEN == sizeof(((struct ethtool_drvinfo *)NULL)->driver),
	       "the kernel's names are as long");

static int ask(const char *device, void *command)
{
	/* Any family will do, and this one the unit file allows. */
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_data = command};

	if (fd < 0)
		return -errno;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
	return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

int ethtool_driver(const char *device, char driver[DRIVER_NAME_LEN])
{
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	int r = ask(device, &info);

	if (r == 0)
		snprintf(driver, DRIVER_NAME_LEN, "%s", info.driver);
	return r;
}

int ethtool_strips_tags(const char *device, bool *strips)
{
	struct ethtool_value flags = {.cmd = ETHTOOL_GFLAGS};
	int r = ask(device, &flags);

	if (r == 0)
		*strips = flags.data & ETH_FLAG_RXVLAN;
	return r;
}

int ethtool_strip_tags(const char *device, bool strip)
{
	struct ethtool_value flags = {.cmd = ETHTOOL_GFLAGS};
	int r = ask(device, &flags);

	if (r < 0)
		return r;
	flags.cmd = ETHTOOL_SFLAGS;
	flags.data = strip ? flags.data | ETH_FLAG_RXVLAN : flags.data & ~(__u32)ETH_FLAG_RXVLAN;
	return ask(device, &flags);
}
