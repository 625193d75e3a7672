/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_FORWARD_H
#define SYNC_DAEMON_FORWARD_H

#include "sync/daemon/control.h"
#include "sync/daemon/queries.h"

/*
 * Commands about a vport that its owner carries out, whichever host they are given to: `migrate prepare` on the destination
 * is one. The owner does what operators' hosts ask for, and what concerns the other host of a move (moves.h).
 */

/* The owner of the vport that the arguments name, by the registry; 0: nobody, or this host. */
uint32_t forward_owner(const struct syncd *d, const json_t *arguments);
/* Lets that host run the command; the call gets its reply. 0 or a negative errno: logged, and the call is not answered. */
int forward_command(struct syncd *d, uint32_t host, struct control_call *call, const char *command,
		    const json_t *arguments);

/* Another host's question {"what": "command", "command", "arguments"}. */
void forward_answer(struct syncd *d, struct question *question);

#endif
