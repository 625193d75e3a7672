// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <nanomsg/nn.h>
#include <nanomsg/pubsub.h>

#include "client.h"
#include "control.h"
#include "json.h"
#include "util.h"

int dfwd_running(const char *instance)
{
	return daemon_running(instance, DFWD);
}

enum exit_status daemon_failed(const char *instance, enum daemon_id daemon, const char *command,
			       int error)
{
	const char *name = daemon_name(daemon);

	switch (-error) {
	case ECONNREFUSED:
		complain("%s of instance '%s' does not run", name, instance);
		return EXIT_UNREACHABLE;
	case ECONNRESET:
		complain("%s: %s of instance '%s' ended before it answered", command, name,
			 instance);
		return EXIT_UNREACHABLE;
	case ENOTCONN:
		complain("%s: %s of instance '%s' runs but takes no connection: is it starting?",
			 command, name, instance);
		return EXIT_UNREACHABLE;
	case ETIMEDOUT:
		complain("%s: %s of instance '%s' runs but does not answer; it may or may not have "
			 "done it",
			 command, name, instance);
		return EXIT_UNREACHABLE;
	case EPERM:
	case EACCES:
		complain("not allowed to talk to %s of instance '%s': run this as root", name,
			 instance);
		return EXIT_FAILED;
	case EBADMSG:
		complain("%s: the answer of %s is not understood: is it of another version?",
			 command, name);
		return EXIT_FAILED;
	case EMSGSIZE:
		complain("%s: the request is longer than %d MiB", command, CONTROL_MAX_BYTES >> 20);
		return EXIT_INPUT;
	default:
		complain("%s: cannot talk to %s of instance '%s': %s", command, name, instance,
			 nn_strerror(-error));
		return EXIT_FAILED;
	}
}

int client_request(const char *instance, const char *command, json_t *arguments, json_t **reply)
{
	return daemon_request(instance, DFWD, command, arguments, reply);
}

enum exit_status client_failed(const char *instance, const char *command, int error)
{
	return daemon_failed(instance, DFWD, command, error);
}

/* "errors" are whole lines, with their place in a file; "error" sums up. */
static enum exit_status reply_failed(enum daemon_id daemon, const char *command,
				     const json_t *reply)
{
	const json_t *errors = json_object_get(reply, "errors"), *line;
	const char *error = json_text(reply, "error");
	size_t i;

	json_array_foreach (errors, i, line)
		fprintf(stderr, "%s\n", json_is_string(line) ? json_string_value(line) : "?");
	if (error)
		complain("%s: %s", command, error);
	else if (json_array_size(errors) == 0)
		complain("%s: failed, %s does not say why", command, daemon_name(daemon));
	return json_number(reply, "status") == EXIT_INPUT ? EXIT_INPUT : EXIT_FAILED;
}

static enum exit_status take_answer(const struct invocation *call, enum daemon_id daemon, int r,
				    const json_t *reply, json_t **result)
{
	if (r < 0)
		return daemon_failed(call->instance, daemon, call->command->name, r);
	if (json_number(reply, "status") != EXIT_DONE)
		return reply_failed(daemon, call->command->name, reply);
	*result = json_incref(json_object_get(reply, "result"));
	return EXIT_DONE;
}

static enum exit_status call_daemon(const struct invocation *call, enum daemon_id daemon,
				    const char *command, json_t *arguments, json_t **result)
{
	_cleanup_json_ json_t *reply = NULL;
	int r = daemon_request(call->instance, daemon, command, arguments, &reply);

	return take_answer(call, daemon, r, reply, result);
}

enum exit_status client_answer(const struct invocation *call, int r, const json_t *reply,
			       json_t **result)
{
	return take_answer(call, DFWD, r, reply, result);
}

enum exit_status sync_answer(const struct invocation *call, int r, const json_t *reply,
			     json_t **result)
{
	return take_answer(call, DFWSYNCD, r, reply, result);
}

enum exit_status client_call(const struct invocation *call, const char *command, json_t *arguments,
			     json_t **result)
{
	return call_daemon(call, DFWD, command, arguments, result);
}

enum exit_status sync_call(const struct invocation *call, const char *command, json_t *arguments,
			   json_t **result)
{
	return call_daemon(call, DFWSYNCD, command, arguments, result);
}

int sync_request(const char *instance, const char *command, json_t *arguments, json_t **reply)
{
	return daemon_request(instance, DFWSYNCD, command, arguments, reply);
}

int client_subscribe(const char *instance, const char *const *topics, size_t nr)
{
	int nn = daemon_socket(instance, DFWD, NN_SUB, "events.sock");
	int r = 0;

	if (nn < 0)
		return nn;
	for (size_t i = 0; i < nr && r == 0; i++)
		if (nn_setsockopt(nn, NN_SUB, NN_SUB_SUBSCRIBE, topics[i], strlen(topics[i])) < 0)
			r = -nn_errno();
	if (r == 0)
		r = daemon_socket_patience(nn);
	if (r < 0) {
		nn_close(nn);
		return r;
	}
	return nn;
}
