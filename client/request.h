/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_CLIENT_REQUEST_H
#define DFW_CLIENT_REQUEST_H

#include <jansson.h>

/* The client's side of lib/control.h, for dfwctl and for the library. */

#define CLIENT_CONNECT_MS 2000
#define CLIENT_REPLY_MS	  30000

enum daemon_id {
	DFWD,
	DFWSYNCD,
};

const char *daemon_name(enum daemon_id daemon);

/* 1: the daemon of the instance runs, 0: it does not; -EPERM: not allowed to look. Takes no time. */
int daemon_running(const char *instance, enum daemon_id daemon);

/* Sends a request and waits for its reply. Takes the reference of `arguments` (NULL: none). *reply is the whole reply.
 * -ECONNREFUSED: the daemon is not there; -ENOTCONN: it takes no connection in time; -ETIMEDOUT: it does not answer in time;
 * -ECONNRESET: it ended before it answered; -EPERM; -EBADMSG: the answer is no reply; -EMSGSIZE: the request is too long. */
int daemon_request(const char *instance, enum daemon_id daemon, const char *command,
		   json_t *arguments, json_t **reply);

/* A connected nanomsg socket of that protocol to a socket file of the daemon, or a negative errno as above. */
int daemon_socket(const char *instance, enum daemon_id daemon, int protocol, const char *file);
/* Receiving from it comes back after a fraction of a second. */
int daemon_socket_patience(int nn);

void sleep_ms(long ms);

#endif
