/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_GENERATIONS_H
#define SYNC_DAEMON_GENERATIONS_H

#include <jansson.h>
#include <stdint.h>

#include "sync/daemon/disk.h"

struct control_call;
struct link_packet;
struct syncd;

/* Generations of the cluster's policy on this host: staged and flipped in dfwd as the core wants it; and those that are
 * applied here, waited for until other hosts have them. */

enum step_state {
	STEP_NONE,
	STEP_ASKED, /* dfwd has not answered yet */
	STEP_DONE,
};

struct policy_step {
	uint32_t generation;
	enum step_state state;
	int result;
};

struct generations {
	struct policy_step stage, flip;
	uint32_t failed; /* the generation that dfwd did not take last, and why */
	json_t *error;
	uint32_t flipped; /* the one that came into force last in this life, and when */
	int64_t flipped_us;
	/* What dfwd said at its hello: what it has in force, and the highest number it has seen. */
	uint32_t dfwd_generation, dfwd_last;
	char dfwd_object[DIGEST_TEXT_LEN];
	struct apply *applies;
	struct wait *waits;
};

/* A core has started, or dfwd. */
void generations_start(struct syncd *d);
void generations_on_hello(struct syncd *d, const struct link_packet *packet);
/* Once in each turn of the loop. */
void generations_turn(struct syncd *d);
void generations_free(struct syncd *d);

/* For the core, see <sync/env.h>. */
int generations_stage(struct syncd *d, const struct generation *generation);
int generations_flip(struct syncd *d, uint32_t generation);

/* The command policy-apply: {"main", "files", "cause"} becomes a generation of all hosts; answered when it is in force on
 * this one. 0, or a negative errno: logged, and the call is not answered. */
int generations_apply(struct syncd *d, struct control_call *call, const json_t *arguments);
/* The command policy-wait: {"generation", "ms"}; answered when all living hosts have realised it, or the time is over. */
int generations_wait(struct syncd *d, struct control_call *call, const json_t *arguments);

/* Why this host does not follow, or NULL. */
const char *generations_error(const struct syncd *d);
/* Since the last flip; -1: none in this life. */
int64_t generations_flipped_ago_us(const struct syncd *d);

#endif
