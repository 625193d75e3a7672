// SPDX-License-Identifier: GPL-2.0
/*
 * talk serve PORT                       accepts connections, answers each line or byte string with itself, closes when the client does
 * talk connect ADDRESS PORT SECONDS     opens a connection, sends a byte, hears it, closes, again and again: connections a second
 * talk ask ADDRESS PORT SECONDS         one connection, a byte there and back again and again: median and 99th percentile in us
 *
 * Real ends for the bench: what a user's clients and servers feel, stacks included.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ASKED_MOST 4000000

static void fail(const char *what)
{
	fprintf(stderr, "talk: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void set(int fd, int level, int option)
{
	const int on = 1;

	if (setsockopt(fd, level, option, &on, sizeof(on)) < 0)
		fail("setsockopt");
}

static void watch(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		fail("epoll");
}

/* One client's turn. The client closes first, so that the times to wait are on its side. */
static void answer(int fd)
{
	char bytes[256];
	ssize_t nr = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (nr > 0)
		nr = send(fd, bytes, (size_t)nr, MSG_NOSIGNAL);
	if (nr <= 0 && !(nr < 0 && errno == EAGAIN))
		close(fd);
}

static _Noreturn void serve(int port)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0);
	struct epoll_event ready[64];

	set(listener, SOL_SOCKET, SO_REUSEADDR);
	if (bind(listener, (struct sockaddr *)&own, sizeof(own)) < 0 || listen(listener, 1024) < 0)
		fail("cannot listen");
	watch(epoll, listener);
	for (;;) {
		int nr = epoll_wait(epoll, ready, 64, -1);

		for (int i = 0; i < nr; i++) {
			int fd = ready[i].data.fd, client;

			if (fd != listener) {
				answer(fd);
				continue;
			}
			client = accept(listener, NULL, NULL);
			if (client >= 0) {
				set(client, IPPROTO_TCP, TCP_NODELAY);
				watch(epoll, client);
			}
		}
	}
}

static int dial(const char *address, int port)
{
	struct sockaddr_in other = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (inet_pton(AF_INET, address, &other.sin_addr) != 1)
		fail(address);
	if (fd < 0 || connect(fd, (struct sockaddr *)&other, sizeof(other)) < 0)
		fail("cannot connect");
	set(fd, IPPROTO_TCP, TCP_NODELAY);
	return fd;
}

static void there_and_back(int fd)
{
	char byte = 'x';

	if (send(fd, &byte, 1, 0) != 1 || recv(fd, &byte, 1, 0) != 1)
		fail("the connection broke");
}

/* Closed by a reset: ports would be used up by connections that wait otherwise. */
static void hang_up(int fd)
{
	const struct linger linger = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

static int open_many(const char *address, int port, double seconds)
{
	double begin = now(), end = begin + seconds;
	unsigned long nr = 0;

	while (now() < end) {
		int fd = dial(address, port);

		there_and_back(fd);
		hang_up(fd);
		nr++;
	}
	printf("%.0f\n", (double)nr / (now() - begin));
	return 0;
}

static int ascending(const void *a, const void *b)
{
	const float *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int ask(const char *address, int port, double seconds)
{
	float *took = malloc(ASKED_MOST * sizeof(*took));
	double end = now() + seconds, before, after;
	int fd = dial(address, port);
	size_t nr = 0;

	if (!took)
		fail("memory");
	for (before = now(); before < end && nr < ASKED_MOST; before = after) {
		there_and_back(fd);
		after = now();
		took[nr++] = (float)((after - before) * 1e6);
	}
	qsort(took, nr, sizeof(*took), ascending);
	printf("%.1f %.1f\n", (double)took[nr / 2], (double)took[nr * 99 / 100]);
	free(took);
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		serve(atoi(argv[2]));
	if (argc == 5 && strcmp(argv[1], "connect") == 0)
		return open_many(argv[2], atoi(argv[3]), atof(argv[4]));
	if (argc == 5 && strcmp(argv[1], "ask") == 0)
		return ask(argv[2], atoi(argv[3]), atof(argv[4]));
	fprintf(stderr, "usage: talk serve PORT | connect ADDRESS PORT SECONDS | ask ADDRESS PORT "
			"SECONDS\n");
	return 2;
}
