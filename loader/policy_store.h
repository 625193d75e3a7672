/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_POLICY_STORE_H
#define DFW_LOADER_POLICY_STORE_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "file.h"
#include "policy/policy.h"

/*
 * The generations of the policy on disk; <control.h> has the files.
 *
 * A new generation comes into force in this order, so that a crash at any point leaves one that is whole:
 *   1. GENERATION.json and the new `active` are written beside their places and synced, by a thread of their own: the
 *      compiler need not wait for the disk. A full disk is found out here. In a cluster a generation may wait so until
 *      all hosts are ready.
 *   2. GENERATION.json is renamed into its place. A crash leaves a file that was never in force, which the next start knows
 *      by the staged `active` and removes: it must not count as a former policy.
 *   3. The kernel is staged, then one map write brings the revision into force. A crash of the daemon behind it finds
 *      the kernel with another generation than `active`: the kernel is right, and `active` follows. A crash of the host
 *      leaves the former generation, and nobody was told of the new one.
 *   4. `active` is renamed into its place, which needs no space. Only then the operator gets his answer.
 */
struct policy_store {
	char dir[PATH_MAX / 2];
	uint32_t active; /* 0: none */
	uint32_t last;	 /* highest number ever given */
};

#define POLICY_OBJECT_LEN 65 /* a hash in hex */

/* A generation between steps 1 and 4. */
struct new_generation {
	uint32_t number; /* 0: none */
	bool placed;
	bool writing; /* by `writer`, whose the next four and the files are until it is joined */
	const struct policy_store *store;
	json_t *json;
	int result;
	pthread_t writer;
	struct staged_file bundle;
	struct staged_file active;
};

int store_open(struct policy_store *store, const char *state_dir);

/* Begins step 1 for {"main", "files"}, and of a cluster's generation "object", its name, and "applied_at". `number` 0: the
 * next one. A number of the cluster may be below the last that was given here; it replaces what a former life has left.
 * Until store_written() or one of the next steps *new must stay where it is, and the bundle as it is. */
int store_begin(const struct policy_store *store, uint32_t number, const json_t *bundle,
		const char *cause, struct new_generation *new);
/* Waits for the end of step 1. */
int store_written(struct policy_store *store, struct new_generation *new);
/* Step 2; waits for step 1. */
int store_place(struct policy_store *store, struct new_generation *new);
/* Step 4; also forgets the oldest generations. */
int store_commit(struct policy_store *store, struct new_generation *new);
/* Instead of step 4: the generation did not come into force. */
void store_abort(const struct policy_store *store, struct new_generation *new);

/* The kernel has another generation in force than `active` says. -ENOENT: the disk knows nothing of it. */
int store_follow_kernel(struct policy_store *store, uint32_t generation);
/* Removes what a crash has left of a generation that did not come into force, now that it is known which did. */
void store_end_interrupted(struct policy_store *store);

/* {"generation", "applied_at", "cause", "main", "files", "object"}. -ENOENT: logged too. */
int store_load(const struct policy_store *store, uint32_t generation, json_t **bundle);
/* The youngest generation on disk before the active one; 0: none. */
uint32_t store_before_active(const struct policy_store *store);

#endif
