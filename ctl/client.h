/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_CLIENT_H
#define DFWCTL_CLIENT_H

/* The client's side of lib/control.h. */

#include <jansson.h>

#include "client/request.h"
#include "command.h"

/* 1: dfwd of the instance runs, 0: it does not; -EPERM: not allowed to look. Takes no time. */
int dfwd_running(const char *instance);

/* Sends a request and waits for its reply. Takes the reference of `arguments` (NULL: none). *reply is the whole reply.
 * -ECONNREFUSED: dfwd is not there; -ENOTCONN: it takes no connection in time; -ETIMEDOUT: it does not answer in time;
 * -ECONNRESET: it ended before it answered; -EPERM; -EBADMSG: the answer is no reply; -EMSGSIZE: the request is too long. */
int client_request(const char *instance, const char *command, json_t *arguments, json_t **reply);

/* Turns a negative errno of client_request() into words on stderr. */
enum exit_status client_failed(const char *instance, const char *command, int error);

/* Request and reply in one; on EXIT_DONE, *result is the reply's result. Complains when it fails. */
enum exit_status client_call(const struct invocation *call, const char *command, json_t *arguments,
			     json_t **result);
/* The second half of that: `r` and `reply` are client_request()'s. */
enum exit_status client_answer(const struct invocation *call, int r, const json_t *reply,
			       json_t **result);
/* The same with dfwsyncd, which answers on a control socket of its own. */
enum exit_status sync_call(const struct invocation *call, const char *command, json_t *arguments,
			   json_t **result);

/* As client_request and client_answer, with dfwsyncd. */
int sync_request(const char *instance, const char *command, json_t *arguments, json_t **reply);
enum exit_status sync_answer(const struct invocation *call, int r, const json_t *reply,
			     json_t **result);
/* What went wrong between us and a daemon, in words on stderr. */
enum exit_status daemon_failed(const char *instance, enum daemon_id daemon, const char *command,
			       int error);

/* A socket that hears the events of the topics ("f ", "v ", ...), or a negative errno as above. */
int client_subscribe(const char *instance, const char *const *topics, size_t nr);

#endif
