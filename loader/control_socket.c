// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>

#include "commands.h"
#include "control.h"
#include "control_socket.h"
#include "json.h"
#include "log.h"

#define SEND_TIMEOUT_MS 1000
#define SERVE_AT_ONCE	16 /* requests, before other things have their turn */

struct control {
	int socket;
	int fd; /* readable when a request waits */
};

/* Named .sock in the run directory, which is 0700: who gets there is root. */
int control_open(struct dfwd *d)
{
	const int longest = CONTROL_MAX_BYTES, timeout = SEND_TIMEOUT_MS;
	struct control *control = calloc(1, sizeof(*control));
	size_t bytes = sizeof(control->fd);
	char address[300];

	if (!control)
		return log_errno(-ENOMEM, "cannot open the control socket");
	d->control = control;
	snprintf(address, sizeof(address), "ipc://%s/control.sock", d->run_dir);
	control->socket = nn_socket(AF_SP, NN_REP);
	if (control->socket < 0 ||
	    nn_setsockopt(control->socket, NN_SOL_SOCKET, NN_RCVMAXSIZE, &longest,
			  sizeof(longest)) < 0 ||
	    nn_setsockopt(control->socket, NN_SOL_SOCKET, NN_SNDTIMEO, &timeout, sizeof(timeout)) <
		    0 ||
	    nn_bind(control->socket, address) < 0 ||
	    nn_getsockopt(control->socket, NN_SOL_SOCKET, NN_RCVFD, &control->fd, &bytes) < 0)
		return log_errno(-errno, "cannot open the control socket %s", address);
	return 0;
}

void control_close(struct dfwd *d)
{
	/* After a detach another daemon may have taken the socket's place: closing would remove its file. */
	if (d->control && d->control->socket >= 0 && !d->detached)
		nn_close(d->control->socket);
	free(d->control);
	d->control = NULL;
}

int control_fd(const struct dfwd *d)
{
	return d->control->fd;
}

static void reply_send(const struct control *control, json_t *reply)
{
	char *text = reply ? json_dumps(reply, JSON_COMPACT) : NULL;
	const char *sent = text ? text : "{\"status\": 1, \"error\": \"dfwd is out of memory\"}";

	if (nn_send(control->socket, sent, strlen(sent), 0) < 0)
		log_warning("cannot send a reply: %s", nn_strerror(errno));
	free(text);
}

static json_t *answer(struct dfwd *d, const char *message, size_t bytes)
{
	json_error_t error;
	_cleanup_json_ json_t *request = json_loadb(message, bytes, JSON_ALLOW_NUL, &error);

	if (!request)
		return json_pack("{s:i, s:s+}", "status", 2, "error",
				 "the request is no JSON: ", error.text);
	return command_run(d, request);
}

void control_serve(struct dfwd *d)
{
	for (int i = 0; i < SERVE_AT_ONCE && !d->detached; i++) {
		_cleanup_json_ json_t *reply = NULL;
		void *message = NULL;
		int bytes = nn_recv(d->control->socket, &message, NN_MSG, NN_DONTWAIT);

		if (bytes < 0) {
			if (errno != EAGAIN && errno != EINTR)
				log_warning("cannot receive a request: %s", nn_strerror(errno));
			return;
		}
		reply = answer(d, message, (size_t)bytes);
		nn_freemsg(message);
		reply_send(d->control, reply);
	}
}
