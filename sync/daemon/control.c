// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>

#include <control.h>
#include "json.h"
#include "log.h"
#include "sync/daemon/commands.h"
#include "sync/daemon/control.h"
#include "sync/daemon/daemon.h"

#define SERVE_AT_ONCE 16 /* requests, before other things have their turn */

struct control {
	int socket;
	int fd; /* readable when a request waits */
};

/* A raw socket tells us whom an answer is for, and leaves it to us when it is given. */
struct control_call {
	struct control *control;
	void *header; /* of nanomsg */
	/* Or: whom else the reply is for. */
	void (*replied)(void *data, json_t *reply);
	void *data;
};

static int set_option(int socket, int option, int value)
{
	return nn_setsockopt(socket, NN_SOL_SOCKET, option, &value, sizeof(value));
}

static int open_socket(struct control *control, const char *address)
{
	size_t bytes = sizeof(control->fd);

	control->socket = nn_socket(AF_SP_RAW, NN_REP);
	if (control->socket < 0 ||
	    set_option(control->socket, NN_RCVMAXSIZE, CONTROL_MAX_BYTES) < 0 ||
	    nn_bind(control->socket, address) < 0 ||
	    nn_getsockopt(control->socket, NN_SOL_SOCKET, NN_RCVFD, &control->fd, &bytes) < 0)
		return -errno;
	return 0;
}

/* ---- Answers ---------------------------------------------------------------------------------------------------- */

struct control_call *control_call_new(void (*replied)(void *data, json_t *reply), void *data)
{
	struct control_call *call = calloc(1, sizeof(*call));

	if (call)
		*call = (struct control_call){.replied = replied, .data = data};
	return call;
}

static void send_reply(struct control_call *call, json_t *reply)
{
	_cleanup_json_ json_t *owned = reply;
	char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
	const char *sent =
		text ? text : "{\"status\": 1, \"error\": \"dfwsyncd is out of memory\"}";
	struct nn_iovec iov = {.iov_base = (void *)sent, .iov_len = strlen(sent)};
	struct nn_msghdr message = {.msg_iov = &iov,
				    .msg_iovlen = 1,
				    .msg_control = &call->header,
				    .msg_controllen = NN_MSG};

	/* Who asked may have gone. */
	if (nn_sendmsg(call->control->socket, &message, NN_DONTWAIT) < 0) {
		log_debug("cannot send a reply: %s", nn_strerror(errno));
		nn_freemsg(call->header);
	}
	free(text);
}

void control_reply(struct control_call *call, json_t *reply)
{
	if (call->replied)
		call->replied(call->data, reply);
	else
		send_reply(call, reply);
	free(call);
}

void control_done(struct control_call *call, json_t *result)
{
	control_reply(call, json_pack("{s:i, s:o}", "status", CONTROL_DONE, "result",
				      result ? result : json_object()));
}

void control_failed(struct control_call *call, enum control_status status, const char *error,
		    json_t *errors)
{
	json_t *reply = json_pack("{s:i, s:s}", "status", status, "error", error);

	if (errors)
		json_object_set_new(reply, "errors", errors);
	control_reply(call, reply);
}

void control_failed_errno(struct control_call *call, int r)
{
	const char *text = log_error_text();

	control_failed(call,
		       r == -EINVAL || r == -EEXIST || r == -EBADMSG || r == -EPERM
			       ? CONTROL_INPUT
			       : CONTROL_FAILED,
		       text[0] ? text : strerror(-r), NULL);
}

/* ---- Requests --------------------------------------------------------------------------------------------------- */

static void serve(struct syncd *d, struct control_call *call, const char *bytes, size_t nr)
{
	json_error_t error;
	_cleanup_json_ json_t *request = json_loadb(bytes, nr, JSON_ALLOW_NUL, &error);
	int r;

	if (!request) {
		control_failed(call, CONTROL_INPUT, "the request is no JSON", NULL);
		return;
	}
	log_error_forget();
	r = command_run(d, call, request);
	if (r < 0)
		control_failed_errno(call, r);
}

static bool receive(struct syncd *d)
{
	struct control_call *call = calloc(1, sizeof(*call));
	void *bytes = NULL;
	struct nn_iovec iov = {.iov_base = &bytes, .iov_len = NN_MSG};
	struct nn_msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_controllen = NN_MSG};
	int nr;

	if (!call)
		return false;
	call->control = d->control;
	message.msg_control = &call->header;
	nr = nn_recvmsg(d->control->socket, &message, NN_DONTWAIT);
	if (nr < 0) {
		if (errno != EAGAIN && errno != EINTR)
			log_warning("cannot receive a request: %s", nn_strerror(errno));
		free(call);
		return false;
	}
	serve(d, call, bytes, (size_t)nr);
	nn_freemsg(bytes);
	return true;
}

static void on_request(void *data, uint32_t events)
{
	(void)events;
	for (int i = 0; i < SERVE_AT_ONCE && receive(data); i++)
		;
}

int control_open(struct syncd *d)
{
	char address[300];
	int r;

	d->control = calloc(1, sizeof(*d->control));
	if (!d->control)
		return log_errno(-ENOMEM, "cannot open the control socket");
	snprintf(address, sizeof(address), "ipc://%s/sync-control.sock", d->run_dir);
	r = open_socket(d->control, address);
	if (r == 0)
		r = loop_add(&d->loop, d->control->fd, EPOLLIN, on_request, d);
	return r < 0 ? log_errno(r, "cannot open the control socket %s", address) : 0;
}

void control_close(struct syncd *d)
{
	/* nn_close would remove the socket's file, which is root's by now, and aborts when it cannot. */
	free(d->control);
	d->control = NULL;
}
