/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_XPORT_H
#define SYNC_DAEMON_XPORT_H

#include "sync/daemon/door.h"
#include "sync/secure/channels.h"

/*
 * The cluster's network as dfwsyncd sees it: hosts by their ids, bytes to and from them. Sessions are inside: who a message
 * comes from is proven by its certificate, and nothing crosses in plain text. How it works is in docs/sync-design.md,
 * "Transport".
 *
 * One thread: xport_serve when xport_fd is readable or xport_next has come, and callbacks come from there only. nanomsg has
 * a thread of its own, so: open after the last fork. Times are milliseconds of CLOCK_MONOTONIC.
 */

struct xport;

struct xport_config {
	struct identity *identity; /* taken, also when xport_open fails */
	uint32_t life;		   /* above that of every earlier start */
	const char *
		address; /* "10.0.0.1:7472", "[2001:db8::1]:7472": bound, with the next port, and told to others */

	unsigned int files; /* how many this process may have open; 0: 1024 */
	int64_t rekey_ms;   /* 0: what is usual; and so on, for tests */
	uint64_t rekey_messages;

	void *data;
	/* At most WIRE_DATAGRAM bytes; may be lost, doubled or out of order (never replayed by a stranger). */
	void (*on_datagram)(void *data, uint32_t from, const void *bytes, size_t nr);
	/* At most WIRE_FRAME bytes; in order; those of a peer that restarts or cannot be reached may be lost. */
	void (*on_frame)(void *data, uint32_t from, const void *bytes, size_t nr);
	/* xport_bulk said -EAGAIN for `to` and there is room again. */
	void (*on_bulk_ready)(void *data, uint32_t to);
	/* A session with a host is there: who it is, for status. Told again when its certificate changes. */
	void (*on_certificate)(void *data, const struct certificate *certificate);
	/* The cluster told of a newer charter; the transport follows it already: keep it (identity_keep_charter). */
	void (*on_charter)(void *data, const struct charter *charter);
	/* A newer certificate of this host, for its key, came: the transport uses it already: keep it. */
	void (*on_renewed)(void *data, const struct certificate *certificate);
};

/* What is dropped or refused shows here, by name. */
#define XPORT_COUNTERS(X)                                                                 \
	CHANNEL_COUNTERS(X)                                                               \
	DOOR_COUNTERS(X)                                                                  \
	X(hellos_sent, "times that this host told its address to all that are connected") \
	X(hellos_taken, "connections of which it was learned whom they lead to")          \
	X(frames_unsent, "bulk frames that no connection took, dropped")                  \
	X(socket_errors, "errors of the network library")

struct xport_counters {
#define XPORT_COUNTER(name, help) uint64_t name;
	XPORT_COUNTERS(XPORT_COUNTER)
#undef XPORT_COUNTER
};

/* 0; -EINVAL: the address; -EADDRINUSE, -EADDRNOTAVAIL and others of the network. */
int xport_open(const struct xport_config *config, int64_t now_ms, struct xport **xport);
void xport_close(struct xport *xport);

/* An epoll file descriptor: readable when there is something to serve. */
int xport_fd(const struct xport *xport);
int64_t xport_next(const struct xport *xport);
void xport_serve(struct xport *xport, int64_t now_ms);

/* Never block. What cannot be sent (unknown address, no session yet and its queue full) is dropped and counted. */
void xport_send(struct xport *xport, uint32_t to, const void *bytes, size_t nr);
/* To whoever listens at the address. */
void xport_send_seed(struct xport *xport, const char *address, const void *bytes, size_t nr);
/* 0: accepted, goes in order. -EAGAIN: the window is full, or there is no session yet: on_bulk_ready will come.
 * -EHOSTUNREACH: its address is not known. */
int xport_bulk(struct xport *xport, uint32_t to, const void *bytes, size_t nr);

/* Where a host listens, from the membership. What the host itself said in a handshake stands until it falls silent. */
int xport_peer(struct xport *xport, uint32_t host, const char *address);
/* The host left or is forgotten: session and connections go. */
void xport_forget(struct xport *xport, uint32_t host);

/* New key, certificate or charter of this host (files changed): sessions go on and are made anew one by one. Taken.
 * -EXDEV: of another cluster; -EINVAL: another host. */
int xport_identity(struct xport *xport, struct identity *identity);
/* A charter made here by an operator: followed, then told to all. -ESTALE and others as charter_follows. */
int xport_charter(struct xport *xport, const void *bytes, size_t nr);
/* Certificates that the CA renewed, to be handed to their hosts. */
int xport_renew(struct xport *xport, const struct certificate *certificate);

const struct xport_counters *xport_counters(struct xport *xport);

/* For status: false when there is no session with the host. */
struct xport_session {
	int64_t age_ms;	  /* of the keys in use */
	int64_t heard_ms; /* since something was received */
	uint32_t window;  /* bulk frames under way */
};
bool xport_session(const struct xport *xport, uint32_t host, struct xport_session *session);
const struct certificate *xport_certificate(const struct xport *xport, uint32_t host);

#endif
