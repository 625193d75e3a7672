/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_POLICY_STORE_H
#define DFW_LOADER_POLICY_STORE_H

#include <limits.h>
#include <stdint.h>

#include <jansson.h>

#include "file.h"
#include "policy/policy.h"

/*
 * The generations of the policy on disk; <control.h> has the files.
 *
 * A new generation comes into force in this order, so that a crash at any point leaves one that is whole:
 *   1. GENERATION.json is written and synced; the new `active` is written beside the old one and synced.
 *      A full disk is found out here. A crash leaves a file that was never in force; its number is not used again.
 *   2. The kernel is staged, then one map write brings the revision into force. A crash of the daemon behind it finds
 *      the kernel ahead of `active`: the kernel is right, and `active` is brought up. A crash of the host leaves the
 *      former generation, and nobody was told of the new one.
 *   3. `active` is renamed into its place, which needs no space. Only then the operator gets his answer.
 */
struct policy_store {
	char dir[PATH_MAX / 2];
	uint32_t active; /* 0: none */
	uint32_t last;	 /* highest number ever given */
};

/* A generation between steps 1 and 3. */
struct new_generation {
	uint32_t number;
	struct staged_file active;
};

int store_open(struct policy_store *store, const char *state_dir);

/* Step 1 for {"main", "files"}. */
int store_begin(struct policy_store *store, const json_t *bundle, const char *cause,
		struct new_generation *new);
/* Step 3; also forgets the oldest generations. */
int store_commit(struct policy_store *store, struct new_generation *new);
/* Instead of step 3: the generation did not come into force. */
void store_abort(struct policy_store *store, struct new_generation *new);

/* The kernel has a generation in force of which `active` knows nothing yet. -ENOENT: nor does the disk. */
int store_follow_kernel(struct policy_store *store, uint32_t generation);

/* {"generation", "applied_at", "cause", "main", "files"}. -ENOENT: logged too. */
int store_load(const struct policy_store *store, uint32_t generation, json_t **bundle);
/* The youngest generation on disk before the active one; 0: none. */
uint32_t store_before_active(const struct policy_store *store);

#endif
