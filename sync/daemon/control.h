/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_CONTROL_H
#define SYNC_DAEMON_CONTROL_H

#include <jansson.h>

struct syncd;

/*
 * The control socket, sync-control.sock in the run directory: requests and replies in the form of <control.h>. Unlike
 * dfwd's it serves many at a time, since what is asked may need other hosts: a call is answered whenever it can be.
 */

struct control_call;

/* As in <control.h>; the exit status of dfwctl. */
enum control_status {
	CONTROL_DONE = 0,
	CONTROL_FAILED = 1,
	CONTROL_INPUT = 2,
};

/* Before privileges are dropped. */
int control_open(struct syncd *d);
void control_close(struct syncd *d);

/* Each ends the call. `result` (NULL: {}) and `errors` (NULL: none) are taken over. */
void control_done(struct control_call *call, json_t *result);
void control_failed(struct control_call *call, enum control_status status, const char *error,
		    json_t *errors);
/* With a reply as it goes to dfwctl, which is taken over. */
void control_reply(struct control_call *call, json_t *reply);
/* By a negative errno: what is input and what failure. The text is what was logged first, or the errno's. */
void control_failed_errno(struct control_call *call, int r);

/* A call that is no request of dfwctl's: `replied` gets the reply, and its reference. NULL: no memory. */
struct control_call *control_call_new(void (*replied)(void *data, json_t *reply), void *data);

#endif
