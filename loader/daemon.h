/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_DAEMON_H
#define DFW_LOADER_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dfw/maps.h>

#include "attach.h"
#include "bridges.h"
#include "cluster_link.h"
#include "config.h"
#include "events.h"
#include "group_members.h"
#include "learn.h"
#include "links.h"
#include "live.h"
#include "object.h"
#include "policy/policy.h"
#include "policy_store.h"
#include "port.h"
#include "remote_ports.h"
#include "uplink.h"

struct control;

/* One instance: everything that dfwd knows. A single thread runs it all, from one epoll loop. */
struct dfwd {
	const char *instance;
	const char *config_path;
	bool config_wanted; /* -c: a missing file is an error */
	char run_dir[256];
	char state_dir[256];
	struct config config;
	struct object object;
	struct hooks hooks;
	struct links links;
	struct events events;
	struct learn learn;
	struct policy_store store;
	struct control *control;
	struct cluster_link cluster;

	struct port **ports; /* sorted by name: what compiles equally lies equally */
	size_t nr_ports;
	struct port *slots[DFW_MAX_PORTS];
	struct uplink *uplinks[DFW_MAX_UPLINKS]; /* by their numbers */
	struct bridges bridges;

	/* What is in force in the kernel. */
	struct dfw_revision revision;
	uint64_t active_since_ns;
	struct policy *policy; /* NULL: none, every port denies */
	struct live live;
	uint32_t serial; /* of the rule set that was made last */
	bool untidy;	 /* the kernel holds what only the former revision needed */
	bool unwatched;	 /* and a grace period has passed since it was in force */
	/* Changes of groups and vports since the start. */
	struct {
		uint64_t in_place;
		uint64_t staged;
		uint64_t no_room; /* of those staged */
	} changes;
	struct group_members members; /* of groups, at run time */
	char policy_object
		[POLICY_OBJECT_LEN]; /* what the cluster calls it; "": no policy of a cluster */

	/* The cluster's next generation, ready to be flipped to. */
	struct {
		struct new_generation new; /* number 0: none */
		struct policy *policy;
		char cause[64];
		char object[POLICY_OBJECT_LEN];
	} staged;
	struct remote_ports remote;

	/* Devices for which a pattern could make no vport. */
	struct {
		bool any;
		int pause; /* seconds between two attempts */
		int wait;
	} unmade;

	uint64_t started_ns;
	bool ready;
	bool detached; /* enforcement was taken away: nothing is left to be done */
	bool stop;
	uint64_t stop_ns; /* when to leave, after a last reply has had its time */

	size_t sweep_next; /* index in `ports` */
	uint64_t sweep_ns; /* when it is due */
	uint64_t slow_ns;  /* when the things of each second are due */
	int epoll;
	int signals;
	int timer;
};

/* Loads or adopts, enforces every port whose device is there, opens the control socket. Errors are logged. */
int daemon_start(struct dfwd *d);
/* Serves until a signal or a request ends it. */
int daemon_run(struct dfwd *d);
/* Frees what the process has; enforcement stays. */
void daemon_stop(struct dfwd *d);

/* Ends enforcement and removes every trace of the instance in the kernel, and its run directory. */
int daemon_detach(struct dfwd *d);

#endif
