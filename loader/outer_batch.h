/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_OUTER_BATCH_H
#define DFW_LOADER_OUTER_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Inner maps on their way into maps of maps. A write there from user space waits for a grace period, some 10 ms: writes of
 * a batch, for however many outer maps, wait for one together.
 */

#define OUTER_BATCH_OUTERS 9   /* all that a revision writes: with one fewer it would wait twice */
#define OUTER_BATCH_MAPS   128 /* for each outer map: a bound on open fds */

struct outer_queue {
	int outer;
	bool removes; /* instead of putting maps */
	size_t nr;
	uint32_t keys[OUTER_BATCH_MAPS];
	int maps[OUTER_BATCH_MAPS];
	int result;
};

struct outer_batch {
	struct outer_queue queues[OUTER_BATCH_OUTERS];
	size_t nr;
};

/* Takes the fd `map` over, to be put at outer[key]; a full batch is put first. A negative `map` is returned. */
int outer_batch_add(struct outer_batch *batch, int outer, uint32_t key, int map);
/* The same for what shall be removed there: few, since the kernel removes one a grace period. */
int outer_batch_remove(struct outer_batch *batch, int outer, uint32_t key);
/* Puts all that was added. What was put when an error comes stays put. */
int outer_batch_put(struct outer_batch *batch);
/* Closes what was not put. */
void outer_batch_clear(struct outer_batch *batch);
#define _cleanup_outer_batch_ _cleanup_(outer_batch_clear)

#endif
