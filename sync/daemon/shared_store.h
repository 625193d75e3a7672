/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_SHARED_STORE_H
#define SYNC_DAEMON_SHARED_STORE_H

#include <jansson.h>

#include "sync/etcd/etcd.h"

struct syncd;

/*
 * The cluster's policy in etcd: cluster.json has "store": {"etcd": [URL, ..]}. What may lie beside it, in the cluster folder:
 *
 *	etcd-ca.pem			who certifies etcd's endpoints: https needs it
 *	etcd-cert.pem, etcd-key.pem	of this host, if etcd asks for it
 *	etcd-password			USER:PASSWORD, mode 0600
 */

/* With the core, and if the configuration wants it. Errors are logged. */
int shared_store_open(struct syncd *d);
void shared_store_close(struct syncd *d);
/* Once in each turn of the loop. */
void shared_store_turn(struct syncd *d);

/* Only operators' hosts write: the others follow no manifest of this one otherwise. */
bool shared_store_writable(const struct syncd *d);

/* For the core, see <sync/env.h>. -EPERM: not writable by this host. */
int shared_store_commit(void *data, uint64_t revision, const struct manifest *next);
void shared_store_want(void *data, const struct digest *name);

/* Logs why a write came to nothing. */
void shared_store_explain(const struct syncd *d, int result);
/* For `cluster status`: {"endpoint", "reachable", ...}; null with the local store. */
json_t *shared_store_json(const struct syncd *d);

#endif
