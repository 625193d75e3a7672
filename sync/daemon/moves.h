/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_MOVES_H
#define SYNC_DAEMON_MOVES_H

#include "sync/daemon/control.h"
#include "sync/env.h"

struct syncd;

/* The commands of moves, for `dfwctl migrate` and for hooks; and what replication is like. A command is answered when what
 * it asks for is so, or has failed, or takes too long. */

struct moves {
	struct move_call *waiting;
};

int moves_prepare(struct syncd *d, struct control_call *call, const json_t *arguments);
int moves_wait(struct syncd *d, struct control_call *call, const json_t *arguments);
int moves_start(struct syncd *d, struct control_call *call, const json_t *arguments);
int moves_activate(struct syncd *d, struct control_call *call, const json_t *arguments);
int moves_rollback(struct syncd *d, struct control_call *call, const json_t *arguments);
int moves_status(struct syncd *d, struct control_call *call, const json_t *arguments);
int moves_sync_status(struct syncd *d, struct control_call *call, const json_t *arguments);

/* May that host have this one carry out the command, without being an operator's? */
bool moves_concern(const struct syncd *d, uint32_t host, const char *command,
		   const json_t *arguments);

/* Once in each turn of the loop. */
void moves_turn(struct syncd *d);
/* The core ends: so does whatever waits. */
void moves_stop(struct syncd *d);

/* The core tells of a move's end, or of its stand. */
void moves_on_event(struct syncd *d, struct uuid port, enum move_result result);

#endif
