/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_DAEMON_H
#define SYNC_DAEMON_DAEMON_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sync/daemon/cluster.h"
#include "sync/daemon/datapath.h"
#include "sync/daemon/disk.h"
#include "sync/daemon/generations.h"
#include "sync/daemon/link.h"
#include "sync/daemon/loop.h"
#include "sync/daemon/peers.h"
#include "sync/daemon/moves.h"
#include "sync/daemon/queries.h"
#include "sync/daemon/remote.h"
#include "sync/daemon/signatures.h"
#include "sync/daemon/vports.h"

struct control;

/* dfwsyncd of one instance: what is around the core of sync/. One thread runs it all. */
struct syncd {
	const char *instance;
	char run_dir[256];
	char state_dir[256];
	uid_t uid; /* who we are, once privileges are dropped */
	gid_t gid;
	struct loop loop;
	struct dfwd_link dfwd;
	struct control *control;
	struct disk disk;
	struct cluster cluster;
	struct vports vports;
	struct remote remote;
	struct peers peers;
	struct generations generations;
	struct queries queries;
	struct signatures signatures;
	struct datapath datapath;
	struct moves moves;
	int signals;
	int64_t started_ms;
	unsigned int files; /* that may be open */
};

/* Opens what needs privileges, and drops them. Errors are logged. */
int daemon_start(struct syncd *d);
/* Serves until a signal ends it. */
int daemon_run(struct syncd *d);
void daemon_stop(struct syncd *d);

#endif
