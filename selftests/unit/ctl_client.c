// SPDX-License-Identifier: GPL-2.0
/* What must hold of dfwctl's side of the control protocol, against a server that behaves badly. */
#include "ctl/client.h"

/* The same code with less patience. */
#undef CLIENT_CONNECT_MS
#undef CLIENT_REPLY_MS
#define CLIENT_CONNECT_MS 1000
#define CLIENT_REPLY_MS	  3000
#include "client/request.c"
#include "ctl/client.c"

#include <pthread.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "check.h"

static char instance[32];
static char complaint[512];

static void check(bool holds, const char *what)
{
	TEST(what)
	{
		CHECK(holds);
	}
}

/* In dfwctl it prints; here the words are looked at. */
void complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(complaint, sizeof(complaint), format, args);
	va_end(args);
}

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- The server ----------------------------------------------------------------------------------------------- */

struct server {
	pthread_t thread;
	const char *reply; /* NULL: never answers */
	int nn;
	int lock;
	bool ends; /* once it has the request */
	char request[256];
};

static int lock_take(long pid)
{
	char path[PATH_MAX];
	int fd = open(run_path(instance, "dfwd.lock", path), O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (pid)
		dprintf(fd, "%ld\n", pid);
	flock(fd, LOCK_EX);
	return fd;
}

static void *serve(void *data)
{
	struct server *server = data;
	int bytes = nn_recv(server->nn, server->request, sizeof(server->request) - 1, 0);

	if (bytes < 0)
		return NULL;
	server->request[bytes < (int)sizeof(server->request) ? bytes : 0] = '\0';
	if (server->ends)
		flock(server->lock, LOCK_UN);
	else if (server->reply)
		nn_send(server->nn, server->reply, strlen(server->reply), 0);
	return NULL;
}

static void server_start(struct server *server)
{
	char path[PATH_MAX], url[PATH_MAX + 8];

	snprintf(url, sizeof(url), "ipc://%s", run_path(instance, "control.sock", path));
	server->lock = lock_take(getpid());
	server->nn = nn_socket(AF_SP, NN_REP);
	set_option(server->nn, NN_SOL_SOCKET, NN_RCVTIMEO, 3000);
	nn_bind(server->nn, url);
	pthread_create(&server->thread, NULL, serve, server);
}

static void server_stop(struct server *server)
{
	char path[PATH_MAX];

	pthread_join(server->thread, NULL);
	nn_close(server->nn);
	close(server->lock);
	unlink(run_path(instance, "control.sock", path));
}

/* ---- The tests ------------------------------------------------------------------------------------------------ */

static const struct command status_command = {.name = "status"};

static enum exit_status call_server(struct server *server, json_t **result)
{
	struct invocation call = {.instance = instance, .command = &status_command};
	enum exit_status status;

	complaint[0] = '\0';
	server_start(server);
	status = client_call(&call, "status", json_pack("{s:i}", "number", 7), result);
	server_stop(server);
	return status;
}

static void test_absent(void)
{
	_cleanup_json_ json_t *reply = NULL;
	char path[PATH_MAX];
	long begin = now_ms();
	int lock;

	check(client_request("unit-none", "status", NULL, &reply) == -ECONNREFUSED,
	      "no run folder: dfwd is not there");
	close(lock_take(getpid()));
	check(client_request(instance, "status", NULL, &reply) == -ECONNREFUSED,
	      "a lock file that nobody has locked: dfwd is not there, whoever has its pid now");
	lock = lock_take(0);
	check(dfwd_running(instance) == 0, "a lock without a pid: dfwd is only just starting");
	close(lock);
	lock = lock_take(0x3fffffff);
	check(dfwd_running(instance) == 0,
	      "a pid of nobody: dfwd is gone, and the lock is not touched");
	close(lock);
	check(now_ms() - begin < CLIENT_CONNECT_MS, "absence is seen at once");
	unlink(run_path(instance, "dfwd.lock", path));
}

static void test_no_socket(void)
{
	_cleanup_json_ json_t *reply = NULL;
	int lock = lock_take(getpid());

	check(client_request(instance, "status", NULL, &reply) == -ENOTCONN,
	      "a dfwd that takes no connection is given up");
	close(lock);
}

static void test_replies(void)
{
	struct server good = {.reply = "{\"status\":0,\"result\":{\"x\":1}}"};
	struct server failed = {.reply = "{\"status\":1,\"error\":\"no room\"}"};
	struct server input = {.reply = "{\"status\":2,\"error\":\"wrong\",\"errors\":[]}"};
	struct server strange = {.reply = "{\"status\":99}"};
	struct server garbage = {.reply = "{\"status\":"}, number = {.reply = "17"};
	_cleanup_json_ json_t *result = NULL;

	check(call_server(&good, &result) == EXIT_DONE && json_number(result, "x") == 1,
	      "a result comes through");
	check(strcmp(good.request, "{\"command\":\"status\",\"arguments\":{\"number\":7}}") == 0,
	      "a request has command and arguments");
	check(call_server(&failed, &result) == EXIT_FAILED && strstr(complaint, "no room"),
	      "status 1 is exit 1, with dfwd's words");
	check(call_server(&input, &result) == EXIT_INPUT && strstr(complaint, "wrong"),
	      "status 2 is exit 2");
	check(call_server(&strange, &result) == EXIT_FAILED && complaint[0],
	      "an unknown status is exit 1, with words");
	check(call_server(&garbage, &result) == EXIT_FAILED && strstr(complaint, "not understood"),
	      "half a reply is exit 1");
	check(call_server(&number, &result) == EXIT_FAILED && strstr(complaint, "not understood"),
	      "JSON that is no reply is exit 1");
}

static void test_silence(void)
{
	struct server silent = {}, ending = {.ends = true};
	_cleanup_json_ json_t *result = NULL;
	long begin;

	check(call_server(&silent, &result) == EXIT_UNREACHABLE &&
		      strstr(complaint, "does not answer"),
	      "a dfwd that does not answer is exit 3 after a while");
	begin = now_ms();
	check(call_server(&ending, &result) == EXIT_UNREACHABLE &&
		      strstr(complaint, "ended before") && now_ms() - begin < CLIENT_REPLY_MS,
	      "a dfwd that ends meanwhile is exit 3, and soon");
}

int main(void)
{
	char path[PATH_MAX];

	snprintf(instance, sizeof(instance), "unit-client-%d", getpid());
	mkdir(CONTROL_RUN_DIR, 0755);
	if (mkdir(run_path(instance, "", path), 0700) < 0) {
		puts("1..0 # SKIP needs root");
		return 0;
	}
	test_absent();
	test_no_socket();
	test_replies();
	test_silence();
	unlink(run_path(instance, "dfwd.lock", path));
	rmdir(run_path(instance, "", path));
	return check_done();
}
