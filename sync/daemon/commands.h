/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_COMMANDS_H
#define SYNC_DAEMON_COMMANDS_H

#include "sync/daemon/control.h"

/* Runs a request of the control protocol. 0: the call is answered, or will be; a negative errno: it is not and will not
 * be, the error was logged. */
int command_run(struct syncd *d, struct control_call *call, const json_t *request);
/* The same for another host: only commands that a vport's owner carries out for others, and never further on. */
int command_run_here(struct syncd *d, struct control_call *call, const json_t *request);

#endif
