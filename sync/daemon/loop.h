/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_LOOP_H
#define SYNC_DAEMON_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* The one thread's event loop. Times are milliseconds of CLOCK_MONOTONIC: it does not jump when the wall clock does. */

typedef void loop_ready(void *data, uint32_t events);

struct loop {
	int epoll;
	struct loop_source *sources; /* by descriptor */
	int nr_sources;
	int64_t now_ms;	 /* of this turn */
	int64_t next_ms; /* the next turn comes at the latest then */
	bool stop;
};

int loop_open(struct loop *loop);
void loop_close(struct loop *loop);

/* Calls `ready` when the descriptor has one of `events` (EPOLLIN, ...). 0 or a negative errno. */
int loop_add(struct loop *loop, int fd, uint32_t events, loop_ready *ready, void *data);
int loop_change(struct loop *loop, int fd, uint32_t events);
/* Before the descriptor is closed. */
void loop_remove(struct loop *loop, int fd);

/* There is something to be done at that time. */
static inline void loop_wake(struct loop *loop, int64_t at_ms)
{
	if (at_ms < loop->next_ms)
		loop->next_ms = at_ms;
}

/* Serves; `turn` is called behind what came, and says by loop_wake when it wants to be called again. */
int loop_run(struct loop *loop, void (*turn)(void *data), void *data);

#endif
