/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_CONFIG_H
#define SYNC_DAEMON_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sync/daemon/peers.h"
#include "sync/wire.h"

#define CLUSTER_SEEDS 16

/*
 * cluster.json, which dfwctl writes when a host becomes a member:
 *
 *	{"name": "a", "address": "10.0.0.1:7472", "seeds": ["10.0.0.2:7472"], "replicas": 1, "writer": true,
 *	 "store": "local" or {"etcd": ["http://10.0.0.9:2379"]}}
 *
 * "seeds", "replicas" (1), "writer" (false) and "store" ("local") may be missing. "writer" is said of the first host only,
 * and only until there is a manifest: that names its writer.
 */
struct cluster_config {
	json_t *json; /* what the texts lie in */
	const char *name;
	const char *address;
	const char *seeds[CLUSTER_SEEDS + PEERS_KEPT]; /* and those that the last life knew */
	size_t nr_seeds;
	uint32_t replicas;
	bool writer;
	const json_t *etcd; /* NULL: the local store */
};

/* -ENOENT: there is none, not logged; -EBADMSG and others: logged. */
int config_read(const char *path, struct cluster_config *config);
void config_free(struct cluster_config *config);

#endif
