// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include <nanomsg/nn.h>
#include <nanomsg/pubsub.h>
#include <nanomsg/reqrep.h>

#include "client/request.h"
#include "control.h"
#include "json.h"
#include "util.h"

#define POLL_MS	       10  /* while connecting */
#define RECONNECT_MS   500 /* at most, while dfwd is away */
#define REPLY_SLICE_MS 200 /* how soon we see that dfwd has gone while it owes us an answer */

#define _cleanup_socket_ _cleanup_(cleanup_socket)

static void cleanup_socket(int *nn)
{
	if (*nn >= 0)
		nn_close(*nn);
}

static void cleanup_message(void **message)
{
	if (*message)
		nn_freemsg(*message);
}

static const char *run_path(const char *instance, const char *file, char *path)
{
	snprintf(path, PATH_MAX, CONTROL_RUN_DIR "/%s/%s", instance, file);
	return path;
}

/* The process that the lock file names is gone. */
static bool owner_gone(int lock_fd)
{
	char text[32] = "";
	long pid;

	if (pread(lock_fd, text, sizeof(text) - 1, 0) <= 0)
		return true;
	pid = strtol(text, NULL, 10);
	return pid <= 0 || (kill((pid_t)pid, 0) < 0 && errno == ESRCH);
}

static const struct daemon {
	const char *name;
	const char *lock;
	const char *socket;
} daemons[] = {
	[DFWD] = {"dfwd", "dfwd.lock", "control.sock"},
	[DFWSYNCD] = {"dfwsyncd", "sync.lock", "sync-control.sock"},
};

int daemon_running(const char *instance, enum daemon_id daemon)
{
	char path[PATH_MAX];
	_cleanup_close_ int fd =
		open(run_path(instance, daemons[daemon].lock, path), O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : errno == EACCES ? -EPERM : -errno;
	/* The pid is asked first: to try the lock of a daemon that is just starting could make it give up. */
	if (owner_gone(fd))
		return 0;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 1 : -errno;
	return 0;
}

const char *daemon_name(enum daemon_id daemon)
{
	return daemons[daemon].name;
}

void sleep_ms(long ms)
{
	struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&time, NULL);
}

static int set_option(int nn, int level, int option, int value)
{
	return nn_setsockopt(nn, level, option, &value, sizeof(value)) < 0 ? -nn_errno() : 0;
}

static int wait_connected(int nn, const char *instance, enum daemon_id daemon)
{
	/* Mostly it takes less than a millisecond, and hooks count them. */
	for (long waited = 0; waited < CLIENT_CONNECT_MS;) {
		long wait = waited < 2 * POLL_MS ? 1 : POLL_MS;

		if (nn_get_statistic(nn, NN_STAT_CURRENT_CONNECTIONS) > 0)
			return 0;
		sleep_ms(wait);
		waited += wait;
	}
	return daemon_running(instance, daemon) == 0 ? -ECONNREFUSED : -ENOTCONN;
}

int daemon_socket(const char *instance, enum daemon_id daemon, int protocol, const char *file)
{
	_cleanup_socket_ int nn = -1;
	char path[PATH_MAX], url[PATH_MAX + 8];
	int r = daemon_running(instance, daemon);

	if (r <= 0)
		return r < 0 ? r : -ECONNREFUSED;
	nn = nn_socket(AF_SP, protocol);
	if (nn < 0)
		return -nn_errno();
	r = set_option(nn, NN_SOL_SOCKET, NN_RCVMAXSIZE, CONTROL_MAX_BYTES);
	if (r == 0)
		r = set_option(nn, NN_SOL_SOCKET, NN_RECONNECT_IVL, POLL_MS);
	if (r == 0)
		r = set_option(nn, NN_SOL_SOCKET, NN_RECONNECT_IVL_MAX, RECONNECT_MS);
	if (r < 0)
		return r;
	snprintf(url, sizeof(url), "ipc://%s", run_path(instance, file, path));
	if (nn_connect(nn, url) < 0)
		return -nn_errno();
	r = wait_connected(nn, instance, daemon);
	return r < 0 ? r : TAKE_FD(nn);
}

static int receive_reply(int nn, const char *instance, enum daemon_id daemon, json_t **reply)
{
	_cleanup_(cleanup_message) void *message = NULL;
	int bytes = -1;

	for (long waited = 0; waited < CLIENT_REPLY_MS && bytes < 0; waited += REPLY_SLICE_MS) {
		bytes = nn_recv(nn, &message, NN_MSG, 0);
		if (bytes >= 0)
			break;
		if (nn_errno() == EINTR)
			continue;
		if (nn_errno() != ETIMEDOUT && nn_errno() != EAGAIN)
			return -nn_errno();
		if (daemon_running(instance, daemon) == 0)
			return -ECONNRESET;
	}
	if (bytes < 0)
		return -ETIMEDOUT;
	*reply = json_loadb(message, (size_t)bytes, JSON_ALLOW_NUL, NULL);
	if (json_is_integer(json_object_get(*reply, "status")))
		return 0;
	json_decref(*reply);
	*reply = NULL;
	return -EBADMSG;
}

static int send_request(int nn, json_t *request)
{
	_cleanup_free_ char *text = json_dumps(request, JSON_COMPACT);
	size_t bytes;

	if (!text)
		return -ENOMEM;
	bytes = strlen(text);
	if (bytes > CONTROL_MAX_BYTES)
		return -EMSGSIZE;
	return nn_send(nn, text, bytes, 0) < 0 ? -nn_errno() : 0;
}

int daemon_request(const char *instance, enum daemon_id daemon, const char *command,
		   json_t *arguments, json_t **reply)
{
	_cleanup_json_ json_t *request = json_pack("{s:s, s:o}", "command", command, "arguments",
						   arguments ? arguments : json_object());
	_cleanup_socket_ int nn = -1;
	int r;

	if (!request)
		return -ENOMEM;
	nn = daemon_socket(instance, daemon, NN_REQ, daemons[daemon].socket);
	if (nn < 0)
		return nn;
	/* nanomsg would send again what was not answered: a request must not be done twice. */
	r = set_option(nn, NN_REQ, NN_REQ_RESEND_IVL, INT_MAX);
	if (r == 0)
		r = set_option(nn, NN_SOL_SOCKET, NN_SNDTIMEO, CLIENT_CONNECT_MS);
	if (r == 0)
		r = set_option(nn, NN_SOL_SOCKET, NN_RCVTIMEO, REPLY_SLICE_MS);
	if (r == 0)
		r = send_request(nn, request);
	return r < 0 ? r : receive_reply(nn, instance, daemon, reply);
}

int daemon_socket_patience(int nn)
{
	return set_option(nn, NN_SOL_SOCKET, NN_RCVTIMEO, REPLY_SLICE_MS);
}
