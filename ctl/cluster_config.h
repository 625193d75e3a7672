/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_CLUSTER_CONFIG_H
#define DFWCTL_CLUSTER_CONFIG_H

#include "command.h"
#include "sync/secure/invitation.h"

/* cluster.json: who this host is and where it finds the others; see sync/daemon/config.h. */

/* "10.0.0.1" or "10.0.0.1:7472"; see sync/secure/address.h. */
const char *check_cluster_address(const char *value);
const char *check_host_name(const char *value);
const char *check_replicas(const char *value);

/* Whether --store, or the invitation's store, can be used here. Complains. */
enum exit_status cluster_config_check(const struct invocation *call, const char *directory,
				      const struct invitation *invitation);
/* Writes it, with --address, --replicas and the store: from then on this host is a member. Complains. */
enum exit_status cluster_config_write(const struct invocation *call, const char *directory,
				      const char *name, const struct invitation *invitation,
				      bool writer);
/* This host's address, its seeds and its store, for an invitation. Complains. */
enum exit_status cluster_config_seeds(const struct invocation *call, struct invitation *invitation);
/* Once, and if there is room. */
void cluster_config_add_seed(struct invitation *invitation, const char *address);

#endif
