/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_CLUSTER_H
#define SYNC_DAEMON_CLUSTER_H

#include <limits.h>

#include "sync/daemon/config.h"
#include "sync/daemon/xport.h"
#include "sync/members.h"
#include "sync/sync.h"

struct control_call;
struct syncd;

/* This host as a member: from the files of the cluster folder to a running core, and back. */
struct cluster {
	struct sync *sync;   /* NULL: in no cluster, or not ready yet */
	struct xport *xport; /* with sync */
	struct etcd *etcd;   /* the policy store, if it is not the local one */
	struct cluster_config config;
	struct sync_env env;
	struct identity *identity; /* a copy, to sign by */
	uint32_t host;
	uint32_t life;
	char dir[PATH_MAX / 2];
	char waits_for[128]; /* why there is no core; "" when there is, or no cluster */
	uint64_t config_stamp, identity_stamp;
	int64_t look_ms;  /* when to look at the files again */
	int64_t leave_ms; /* leaving: when to have left. 0: not leaving */
	struct control_call *leave_call;
};

void cluster_init(struct syncd *d);
void cluster_close(struct syncd *d);
/* Once in each turn of the loop. */
void cluster_turn(struct syncd *d);

/* Looks at the files of the cluster folder now, and not in the course of the next second. */
void cluster_reload(struct syncd *d);
/* Tells the others that this host leaves; a second later the files of the cluster folder go, and the call is answered. */
int cluster_leave(struct syncd *d, struct control_call *call);

/* -ENOTCONN: this host is in no cluster, or not ready: logged, with the reason. */
int cluster_ready(const struct syncd *d);
/* What a host is called; its id when it has not told. `text` has room for WIRE_TEXT_LEN. */
const char *cluster_host_name(const struct syncd *d, uint32_t host, char *text);
/* 0: nobody is called that. */
uint32_t cluster_host_find(const struct syncd *d, const char *name);

/* The world of the core, env.c. */
extern const struct sync_env cluster_env;

#endif
