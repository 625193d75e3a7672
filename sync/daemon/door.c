// SPDX-License-Identifier: GPL-2.0
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <util.h>

#include "sync/daemon/door.h"

#define HOSTS_MAX 8192 /* addresses that are told; the rest are strangers' */
#define CHUNK	  1024 /* descriptors that are looked at together */

/* A peer that has gone without a word is found after IDLE_S + NR * INTERVAL_S. Nothing is ever sent on the bulk plane's
 * side that receives, so only the kernel can ask. */
#define IDLE_S	   30
#define INTERVAL_S 10
#define NR	   3

/* Strangers at the ports: a quarter of the files and a sixteenth, but not more than these. On the bulk plane a host that
 * nobody knows has no business: who sends there has a session. */
static const unsigned int strangers_max[DOOR_PLANES] = {256, 64};
static const unsigned int strangers_share[DOOR_PLANES] = {4, 16};

struct visit {
	struct in6_addr address;
	uint16_t port; /* of the other end; 0: the descriptor is no connection to our ports */
	uint8_t plane;
	bool closing; /* we have shut it down */
	int64_t since_ms;
};

struct door {
	unsigned int port;
	unsigned int files;
	unsigned int most[DOOR_PLANES]; /* strangers */
	unsigned int strangers[DOOR_PLANES];
	struct door_counters counters;
	int nothing,
		hand; /* descriptors: of nothing; and to take hold of a connection by, when no other one is left */
	struct visit *visits; /* by descriptor */
	int *guests;	      /* descriptors of connections, for one look */
	size_t nr_guests;
	struct in6_addr *hosts;
	size_t nr_hosts;
	bool sorted;
};

/* ---- Connections ------------------------------------------------------------------------------------------------- */

static uint16_t port_of(const struct sockaddr_storage *address)
{
	return ntohs(address->ss_family == AF_INET
			     ? ((const struct sockaddr_in *)address)->sin_port
			     : ((const struct sockaddr_in6 *)address)->sin6_port);
}

static struct in6_addr address_of(const struct sockaddr_storage *address)
{
	struct in6_addr mapped = {.s6_addr = {[10] = 0xff, [11] = 0xff}};

	if (address->ss_family == AF_INET6)
		return ((const struct sockaddr_in6 *)address)->sin6_addr;
	memcpy(mapped.s6_addr + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
	return mapped;
}

static bool is_internet(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET || address->ss_family == AF_INET6;
}

/* Is it a connection to one of our ports? */
static bool identify(const struct door *door, int fd, struct visit *visit)
{
	struct sockaddr_storage ours, theirs;
	socklen_t nr_ours = sizeof(ours), nr_theirs = sizeof(theirs);
	unsigned int plane;

	if (getsockname(fd, (struct sockaddr *)&ours, &nr_ours) < 0 || !is_internet(&ours))
		return false;
	plane = port_of(&ours) - door->port;
	/* One that listens, or is over, has no other end. */
	if (plane >= DOOR_PLANES || getpeername(fd, (struct sockaddr *)&theirs, &nr_theirs) < 0 ||
	    !is_internet(&theirs))
		return false;
	*visit = (struct visit){
		.address = address_of(&theirs), .port = port_of(&theirs), .plane = (uint8_t)plane};
	return true;
}

static bool same_visit(const struct visit *a, const struct visit *b)
{
	return a->port == b->port && a->plane == b->plane &&
	       memcmp(&a->address, &b->address, sizeof(a->address)) == 0;
}

static void keep_alive(int fd)
{
	static const int on = 1, idle = IDLE_S, interval = INTERVAL_S, nr = NR;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &nr, sizeof(nr));
}

/* The descriptor is nanomsg's, which may close it at any time and get another one of its number. So it is doubled first: what
 * the double turns out to be it stays. */
static bool shut(const struct door *door, int fd)
{
	static const struct linger at_once = {.l_onoff = 1};
	bool done = false;
	struct visit visit;

	if (dup3(fd, door->hand, O_CLOEXEC) < 0)
		return false;
	if (identify(door, door->hand, &visit) && same_visit(&visit, &door->visits[fd])) {
		/* The kernel shall keep nothing of it. */
		setsockopt(door->hand, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		done = shutdown(door->hand, SHUT_RDWR) == 0;
	}
	dup3(door->nothing, door->hand, O_CLOEXEC);
	return done;
}

static void send_away(struct door *door, int fd, uint64_t *counter)
{
	*counter += shut(door, fd);
	door->visits[fd].closing = true;
}

static void look_at(struct door *door, int fd, int64_t now)
{
	struct visit *visit = &door->visits[fd], found = {};

	if (identify(door, fd, &found) && !same_visit(&found, visit)) {
		found.since_ms = now;
		*visit = found;
		keep_alive(fd);
	} else if (!found.port) {
		*visit = found;
	}
	if (visit->port && !visit->closing)
		door->guests[door->nr_guests++] = fd;
}

/* All descriptors that are open. To ask /proc for them would take privileges that we have dropped. */
static void look_at_all(struct door *door, int64_t now)
{
	struct pollfd fds[CHUNK];

	door->nr_guests = 0;
	for (unsigned int first = 0; first < door->files; first += CHUNK) {
		unsigned int nr = door->files - first < CHUNK ? door->files - first : CHUNK;

		for (unsigned int i = 0; i < nr; i++)
			fds[i] = (struct pollfd){.fd = (int)(first + i)};
		if (poll(fds, nr, 0) < 0)
			return;
		for (unsigned int i = 0; i < nr; i++) {
			if (!(fds[i].revents & POLLNVAL))
				look_at(door, fds[i].fd, now);
			else
				door->visits[fds[i].fd].port = 0;
		}
	}
}

/* ---- Hosts ------------------------------------------------------------------------------------------------------- */

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct in6_addr));
}

void door_forget_hosts(struct door *door)
{
	door->nr_hosts = 0;
	door->sorted = true;
}

void door_host(struct door *door, const struct in6_addr *address)
{
	if (door->nr_hosts == HOSTS_MAX)
		return;
	door->hosts[door->nr_hosts++] = *address;
	door->sorted = false;
}

/* How many listen there. */
static unsigned int hosts_at(const struct door *door, const struct in6_addr *address)
{
	size_t low = 0, high = door->nr_hosts;
	unsigned int nr = 0;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (by_bytes(&door->hosts[middle], address) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	while (low + nr < door->nr_hosts && by_bytes(&door->hosts[low + nr], address) == 0)
		nr++;
	return nr;
}

/* ---- Who may stay ------------------------------------------------------------------------------------------------ */

static int by_address(const void *left, const void *right, void *data)
{
	const struct door *door = data;
	const struct visit *a = &door->visits[*(const int *)left];
	const struct visit *b = &door->visits[*(const int *)right];
	int order = a->plane - b->plane;

	if (order == 0)
		order = by_bytes(&a->address, &b->address);
	/* The youngest are the last: who works is not driven out by who comes. */
	if (order == 0)
		order = (a->since_ms > b->since_ms) - (a->since_ms < b->since_ms);
	return order;
}

/* Connections to one port from one address, oldest first. Those of strangers that may stay are moved to `strangers`. */
static size_t judge(struct door *door, const int *guests, size_t nr, int64_t now, int *strangers)
{
	unsigned int hosts = hosts_at(door, &door->visits[guests[0]].address);
	size_t room = hosts ? (size_t)hosts * DOOR_HOST : DOOR_STRANGER, nr_strangers = 0;

	for (size_t i = 0; i < nr; i++) {
		int fd = guests[i];

		if (!hosts && now - door->visits[fd].since_ms >= DOOR_STRANGER_MS)
			send_away(door, fd, &door->counters.strangers_expired);
		else if (i >= room)
			send_away(door, fd,
				  hosts ? &door->counters.connections_refused
					: &door->counters.strangers_refused);
		else if (!hosts)
			strangers[nr_strangers++] = fd;
	}
	return nr_strangers;
}

static size_t draw_lots(struct door *door, int *strangers, size_t nr, unsigned int most)
{
	while (nr > most) {
		size_t at = randombytes_uniform((uint32_t)nr);

		send_away(door, strangers[at], &door->counters.strangers_refused);
		strangers[at] = strangers[--nr];
	}
	return nr;
}

static bool same_group(const struct door *door, int a, int b)
{
	return door->visits[a].plane == door->visits[b].plane &&
	       by_bytes(&door->visits[a].address, &door->visits[b].address) == 0;
}

int64_t door_look(struct door *door, int64_t now)
{
	int64_t next = INT64_MAX;
	size_t at = 0, nr;

	if (!door->sorted && door->nr_hosts)
		qsort(door->hosts, door->nr_hosts, sizeof(*door->hosts), by_bytes);
	door->sorted = true;
	look_at_all(door, now);
	if (door->nr_guests)
		qsort_r(door->guests, door->nr_guests, sizeof(*door->guests), by_address, door);
	for (unsigned int plane = 0; plane < DOOR_PLANES; plane++) {
		int *strangers = door->guests + at; /* they are never ahead of what is read */
		size_t nr_strangers = 0;

		for (; at < door->nr_guests && door->visits[door->guests[at]].plane == plane;
		     at += nr) {
			for (nr = 1; at + nr < door->nr_guests &&
				     same_group(door, door->guests[at], door->guests[at + nr]);)
				nr++;
			nr_strangers +=
				judge(door, door->guests + at, nr, now, strangers + nr_strangers);
		}
		nr_strangers = draw_lots(door, strangers, nr_strangers, door->most[plane]);
		door->strangers[plane] = (unsigned int)nr_strangers;
		for (size_t i = 0; i < nr_strangers; i++)
			if (door->visits[strangers[i]].since_ms + DOOR_STRANGER_MS < next)
				next = door->visits[strangers[i]].since_ms + DOOR_STRANGER_MS;
	}
	return next;
}

bool door_crowded(const struct door *door)
{
	for (unsigned int plane = 0; plane < DOOR_PLANES; plane++)
		if (door->strangers[plane] > door->most[plane] / 2)
			return true;
	return false;
}

const struct door_counters *door_counters(const struct door *door)
{
	return &door->counters;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

struct door *door_new(unsigned int port, unsigned int files)
{
	struct door *door = calloc(1, sizeof(*door));

	if (!door)
		return NULL;
	door->port = port;
	door->files = files;
	for (unsigned int plane = 0; plane < DOOR_PLANES; plane++)
		door->most[plane] = files / strangers_share[plane] < strangers_max[plane]
					    ? files / strangers_share[plane]
					    : strangers_max[plane];
	door->nothing = eventfd(0, EFD_CLOEXEC);
	door->hand = eventfd(0, EFD_CLOEXEC);
	door->visits = calloc(files, sizeof(*door->visits));
	door->guests = calloc(files, sizeof(*door->guests));
	door->hosts = calloc(HOSTS_MAX, sizeof(*door->hosts));
	if (door->nothing < 0 || door->hand < 0 || !door->visits || !door->guests || !door->hosts) {
		door_free(door);
		return NULL;
	}
	return door;
}

void door_free(struct door *door)
{
	if (!door)
		return;
	cleanup_close(&door->nothing);
	cleanup_close(&door->hand);
	free(door->visits);
	free(door->guests);
	free(door->hosts);
	free(door);
}
