/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_GOSSIP_H
#define SYNC_GOSSIP_H

#include <stdbool.h>

#include "sync/env.h"

/*
 * Rumours: what is worth telling, told least often first, a bounded number of times. A rumour holds no bytes: it is a node
 * inside the thing it is about, which is encoded as it is at the time of sending, so newer news replaces older by itself.
 */

enum rumour_kind { RUMOUR_MEMBER = 0, RUMOUR_ENTRY = 1, RUMOUR_KINDS };

struct rumour {
	struct rumour *prev;
	struct rumour *next; /* NULL: not queued */
	uint8_t kind;
	uint8_t told;
};

#define GOSSIP_TOLD_MAX	 64
#define GOSSIP_QUEUE_MAX 400

struct gossip {
	const struct sync_env *env;
	struct rumour heads[GOSSIP_TOLD_MAX]; /* by how often it was told */
	size_t nr;
	uint32_t limit; /* a rumour is told this often */
	bool fresh;	/* an entry that nobody was told yet: do not wait for the round */
	/* Writes a rumour as one TLV; false: no room. */
	bool (*put[RUMOUR_KINDS])(struct writer *writer, const struct rumour *rumour);
};

void gossip_init(struct gossip *gossip, const struct sync_env *env);
/* 4 * ceil(log10(n + 1)), after SWIM 4.1 with memberlist's factor. */
void gossip_set_members(struct gossip *gossip, size_t nr);
void gossip_tell(struct gossip *gossip, struct rumour *rumour);
void gossip_forget(struct gossip *gossip, struct rumour *rumour);

/* Fills what room the packet has with rumours and sends it. */
void gossip_send(struct gossip *gossip, uint32_t to, struct writer *packet);
void gossip_send_seed(struct gossip *gossip, const char *address, struct writer *packet);

/* The part of every millisecond clock in here: the earlier of two deadlines. */
static inline int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t random_below(const struct sync_env *env, uint64_t below)
{
	return env->random(env->data) % below;
}

#endif
