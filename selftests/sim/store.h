/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SIM_STORE_H
#define SIM_STORE_H

/*
 * The shared store of a simulated cluster: a register with compare-and-swap and the objects, and what lies between it and
 * the hosts. Answers come late or never, events get lost, the store goes away, and may come back older.
 */

#include <stdbool.h>
#include <stdint.h>

#include "sync/sync.h"

#define WORLD_GENERATIONS 32

struct world;
struct sim_host;

struct store_content {
	struct manifest manifest;
	uint32_t writer; /* 0: empty */
	bool objects[WORLD_GENERATIONS];
};

struct sim_store {
	bool used; /* else the cluster has the local store */
	bool down;
	bool rewound; /* once at least */
	uint64_t revision;
	struct store_content now;
	struct store_content backup;
	uint32_t acknowledged; /* highest generation whose `apply` was told that it succeeded */
};

/* A host's side of it. What is under way goes with the daemon, or arrives all the same. */
struct store_client {
	int64_t learn_at;
	int64_t commit_at; /* 0: nothing under way */
	int64_t answer_at; /* 0: the same */
	int64_t want_at;   /* 0: no object is wanted */
	uint64_t revision; /* compared with */
	struct manifest next;
	struct digest wanted;
	int result;
	uint32_t applying; /* the generation of the last `apply` */
};

/* The two functions of the environment. */
int store_env_commit(void *data, uint64_t revision, const struct manifest *next);
void store_env_want(void *data, const struct digest *name);

void store_started(struct sim_host *host);
void store_crashed(struct sim_host *host);
/* What is due of the host's traffic with the store. */
void store_tick(struct sim_host *host);
int64_t store_next(const struct sim_host *host);

/* Applies the next generation on that host. */
void store_apply(struct sim_host *host);
void store_back_up(struct world *world);
/* The store is what it was at its last backup, perhaps empty. */
void store_rewind(struct world *world);
/* NULL when all hosts agree with it and nothing that was acknowledged is lost. */
const char *store_unsettled(const struct world *world);

#endif
