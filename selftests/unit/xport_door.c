// SPDX-License-Identifier: GPL-2.0
/* Who may stay at a host's two ports: with connections from many addresses of the loopback device. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "check.h"
#include "sync/daemon/door.h"
#include "util.h"

#define PORT	29872
#define FILES	8192
#define GUESTS	600
#define LASTS	1000000 /* a time that is far from 0 */
#define HOST_AT "127.0.9.1"

static struct guest {
	int ours, theirs;
	char address[INET_ADDRSTRLEN];
} guests[GUESTS];

static size_t nr_guests;
static int listeners[DOOR_PLANES];

static struct sockaddr_in at(const char *address, unsigned int port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	inet_pton(AF_INET, address, &in.sin_addr);
	return in;
}

static void listen_at(unsigned int plane)
{
	struct sockaddr_in in = at("127.0.0.1", PORT + plane);
	static const int on = 1;

	listeners[plane] = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(listeners[plane], SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	CHECK(bind(listeners[plane], (struct sockaddr *)&in, sizeof(in)) == 0);
	CHECK(listen(listeners[plane], 100) == 0);
}

static void come(unsigned int plane, const char *address)
{
	struct sockaddr_in to = at("127.0.0.1", PORT + plane), from = at(address, 0);
	struct guest *guest = &guests[nr_guests++];

	snprintf(guest->address, sizeof(guest->address), "%s", address);
	guest->ours = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(bind(guest->ours, (struct sockaddr *)&from, sizeof(from)) == 0);
	CHECK(connect(guest->ours, (struct sockaddr *)&to, sizeof(to)) == 0);
	guest->theirs = accept(listeners[plane], NULL, NULL);
	CHECK(guest->theirs >= 0);
}

static bool stays(const struct guest *guest)
{
	struct pollfd fd = {.fd = guest->theirs, .events = POLLIN | POLLRDHUP};

	return poll(&fd, 1, 0) == 0;
}

/* As nanomsg does. */
static void bury(void)
{
	size_t nr = 0;

	for (size_t i = 0; i < nr_guests; i++) {
		if (stays(&guests[i])) {
			guests[nr++] = guests[i];
			continue;
		}
		close(guests[i].theirs);
		close(guests[i].ours);
	}
	nr_guests = nr;
}

static size_t staying(const char *address)
{
	size_t nr = 0;

	for (size_t i = 0; i < nr_guests; i++)
		nr += stays(&guests[i]) && (!address || strcmp(guests[i].address, address) == 0);
	return nr;
}

static void all_leave(struct door *door, int64_t now)
{
	for (size_t i = 0; i < nr_guests; i++) {
		close(guests[i].theirs);
		close(guests[i].ours);
	}
	nr_guests = 0;
	door_look(door, now);
}

int main(void)
{
	struct door *door = door_new(PORT, FILES);
	const struct door_counters *counters = door_counters(door);
	struct in6_addr host;
	int64_t now = LASTS;
	char address[64];

	for (unsigned int plane = 0; plane < DOOR_PLANES; plane++)
		listen_at(plane);
	inet_pton(AF_INET6, "::ffff:" HOST_AT, &host);
	door_host(door, &host);

	TEST("a stranger has few connections to each port from one address: the first ones")
	{
		for (int i = 0; i < 10; i++) {
			come(0, "127.0.1.1");
			come(1, "127.0.1.1");
			door_look(door, now++);
		}
		CHECK(staying(NULL) == 2 * DOOR_STRANGER);
		CHECK(stays(&guests[0]) && stays(&guests[1]) && !stays(&guests[19]));
		CHECK(counters->strangers_refused == 20 - 2 * DOOR_STRANGER);
	}
	TEST("...and those are closed in time")
	{
		bury();
		CHECK(door_look(door, LASTS + 2) == LASTS + DOOR_STRANGER_MS);
		door_look(door, LASTS + DOOR_STRANGER_MS - 1);
		CHECK(staying(NULL) == 2 * DOOR_STRANGER);
		door_look(door, LASTS + 2 * DOOR_STRANGER_MS);
		CHECK(staying(NULL) == 0);
		CHECK(counters->strangers_expired == 2 * DOOR_STRANGER);
		bury();
		CHECK(door_look(door, now) == INT64_MAX);
	}
	TEST("a host keeps its connections, and from its address there are some more, not many")
	{
		now = LASTS + 100000;
		for (int i = 0; i < 30; i++) {
			come(0, HOST_AT);
			door_look(door, now++);
		}
		door_look(door, now + 10 * DOOR_STRANGER_MS);
		CHECK(staying(HOST_AT) == DOOR_HOST);
		for (int i = 0; i < DOOR_HOST; i++)
			CHECK(stays(&guests[i]));
		CHECK(counters->connections_refused == 30 - DOOR_HOST);
		all_leave(door, now);
	}
	TEST("of strangers from many addresses few stay, and any of them may; of a host all")
	{
		size_t late = 0, nr;

		now = LASTS + 200000;
		come(0, HOST_AT);
		for (int i = 0; i < 500; i++) {
			snprintf(address, sizeof(address), "127.0.%d.%d", 2 + i / 250, 1 + i % 250);
			come(0, address);
		}
		door_look(door, now);
		nr = staying(NULL);
		CHECK(nr > 100 && nr < 300);
		CHECK(stays(&guests[0]));
		for (int i = 401; i < 501; i++)
			late += stays(&guests[i]);
		CHECK(late > 10 && late < 90);
		CHECK(door_crowded(door));
		all_leave(door, now);
		CHECK(!door_crowded(door));
	}
	TEST("who turns out to be a host stays")
	{
		now = LASTS + 300000;
		come(0, "127.0.8.8");
		door_look(door, now);
		door_forget_hosts(door);
		inet_pton(AF_INET6, "::ffff:127.0.8.8", &host);
		door_host(door, &host);
		door_look(door, now + 2 * DOOR_STRANGER_MS);
		CHECK(staying(NULL) == 1);
		door_forget_hosts(door);
		door_look(door, now + 2 * DOOR_STRANGER_MS);
		CHECK(staying(NULL) == 0);
		all_leave(door, now);
	}
	TEST("other descriptors are nobody's")
	{
		int pair[2];

		CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
		come(0, "127.0.1.2");
		door_look(door, now);
		door_look(door, now + 2 * DOOR_STRANGER_MS);
		CHECK(write(pair[0], "x", 1) == 1);
		CHECK(send(guests[0].ours, "x", 1, MSG_NOSIGNAL) < 0 || !stays(&guests[0]));
		close(pair[0]);
		close(pair[1]);
		all_leave(door, now);
	}
	door_free(door);
	for (unsigned int plane = 0; plane < DOOR_PLANES; plane++)
		close(listeners[plane]);
	return check_done();
}
