/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_XPORT_H
#define SYNC_DAEMON_XPORT_H

#include "sync/secure/identity.h"

/*
 * The cluster's network as dfwsyncd sees it: hosts by their ids, bytes to and from them. Sessions are inside: who a message
 * comes from is proven by its certificate, and nothing crosses in plain text. How it works is in docs/sync-design.md,
 * "Sessions" and "Transport".
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
#define XPORT_COUNTERS(X)                                                                        \
	X(datagrams_sent, "datagrams sent")                                                      \
	X(datagrams_received, "datagrams received and taken")                                    \
	X(frames_sent, "bulk frames sent")                                                       \
	X(frames_received, "bulk frames received and taken")                                     \
	X(handshakes_begun, "handshakes that this host began")                                   \
	X(sessions, "sessions made, with new keys for old ones")                                 \
	X(truncated, "messages shorter than what they say they are, dropped")                    \
	X(oversized, "messages longer than any may be, dropped")                                 \
	X(unknown_type, "messages of unknown types or versions, dropped")                        \
	X(wrong_cluster, "messages of another cluster, dropped")                                 \
	X(forged, "messages whose seal is wrong, dropped")                                       \
	X(replayed, "messages that were here before, or are too old to tell, dropped")           \
	X(no_session, "messages of a session that is not here, dropped")                         \
	X(expired, "messages of a session that is over, dropped")                                \
	X(bad_certificate, "handshakes with a certificate that no trusted CA signed, refused")   \
	X(bad_signature, "handshakes that the certified key did not sign, refused")              \
	X(revoked, "handshakes of revoked hosts or keys, refused")                               \
	X(misdirected, "handshakes meant for another host, or that name this one, refused")      \
	X(unasked, "answers to handshakes that this host did not begin, dropped")                \
	X(stale_handshakes, "handshakes older than one seen from the same host, dropped")        \
	X(flooded, "handshakes beyond the rate that is served, dropped")                         \
	X(no_room, "messages and handshakes dropped because a table or a queue is full")         \
	X(no_route, "messages for hosts of unknown address, dropped")                            \
	X(pipes_stolen, "connections given up since nothing sent there was acknowledged")        \
	X(frames_out_of_order, "bulk frames that are not the next of their stream, dropped")     \
	X(frames_lost, "bulk frames sent and given up, since their stream broke")                \
	X(charters_followed, "newer charters taken over")                                        \
	X(charters_refused, "charters refused: signed by no trusted key, or of another cluster") \
	X(no_memory, "messages dropped for want of memory")                                      \
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

const struct xport_counters *xport_counters(const struct xport *xport);

/* For status: false when there is no session with the host. */
struct xport_session {
	int64_t age_ms;	  /* of the keys in use */
	int64_t heard_ms; /* since something was received */
	uint32_t window;  /* bulk frames under way */
};
bool xport_session(const struct xport *xport, uint32_t host, struct xport_session *session);
const struct certificate *xport_certificate(const struct xport *xport, uint32_t host);

#endif
