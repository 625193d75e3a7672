/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_DOOR_H
#define SYNC_DAEMON_DOOR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Who may hold a connection to the two ports of this host.
 *
 * nanomsg takes every connection, keeps it for as long as the other end likes, and tells neither whose it is nor which one
 * a message came by. So this looks from outside: at the process' own descriptors, for those that are connected to the
 * ports, and shuts down what is too much; nanomsg then finds the connection broken and closes it. Hosts dial from the
 * address that they listen at, so an address tells who may be at the other end:
 *
 * - where a host of the cluster is known to listen, as many connections are let be as it could ever need;
 * - anywhere else is a stranger, or a host of which nothing was heard yet. That one needs a fraction of a second to prove
 *   who it is. So strangers may have few connections from one address, few in all, and none for long. Of too many
 *   in all those that go are drawn: who comes again and again stays long enough sooner or later, however many others come.
 *
 * One thread. Times are milliseconds of CLOCK_MONOTONIC.
 */

#define DOOR_PLANES	 2
#define DOOR_HOST	 8 /* connections to a port from where a host listens, for each host there */
#define DOOR_STRANGER	 2    /* ... from any other address */
#define DOOR_STRANGER_MS 5000 /* which are closed then */

#define DOOR_COUNTERS(X)                                                                 \
	X(strangers_refused, "connections from where no host listens, too many, closed") \
	X(strangers_expired, "connections from where no host listens, too old, closed")  \
	X(connections_refused, "connections from a host's address, more than it needs, closed")

struct door_counters {
#define DOOR_COUNTER(name, help) uint64_t name;
	DOOR_COUNTERS(DOOR_COUNTER)
#undef DOOR_COUNTER
};

struct door;

/* `port` and the one behind it; `files`: how many the process may have open, at least. NULL: no memory, or no descriptor. */
struct door *door_new(unsigned int port, unsigned int files);
void door_free(struct door *door);

/* Addresses where hosts listen, told anew before each look; IPv4 as IPv6 that is mapped. A host that is told twice counts as two. */
void door_forget_hosts(struct door *door);
void door_host(struct door *door, const struct in6_addr *address);

/* Looks at all connections. Returns when to look again if nobody new comes, INT64_MAX: there is no need. */
int64_t door_look(struct door *door, int64_t now_ms);
/* Are strangers about to be too many? Then look again soon. */
bool door_crowded(const struct door *door);

const struct door_counters *door_counters(const struct door *door);

#endif
