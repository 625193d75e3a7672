/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_CONFIG_H
#define DFW_LOADER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "spec.h"
#include "uplink.h"

/* dfwd's configuration file; dfwd(8) describes it. */

#define CONFIG_PATTERNS 64

/* Ports for devices that come and go: each device whose name matches gets a port of that name. */
struct vport_pattern {
	char pattern[IF_NAMESIZE];
	struct vport_spec *template; /* its profile and tags count */
};

struct config {
	unsigned int sweep_interval; /* seconds in which each port is swept once */
	unsigned int log_limit;	     /* logged verdicts a second; 0: none are logged */
	bool clsact;		     /* do not use tcx */
	bool fast_path;		     /* packets may leave the normal way, where uplinks say so */
	struct uplink_wish uplinks[DFW_MAX_UPLINKS];
	size_t nr_uplinks;
	struct vport_pattern patterns[CONFIG_PATTERNS];
	size_t nr_patterns;
};

/* Reads the file; without it and unless it is `wanted`, the defaults hold. Errors are logged as file:line:column. */
int config_read(const char *path, bool wanted, struct config *config);
void config_free(struct config *config);

/* The first pattern that the device's name matches, NULL: none. */
const struct vport_pattern *config_match(const struct config *config, const char *device);

#endif
