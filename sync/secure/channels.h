/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_SECURE_CHANNELS_H
#define SYNC_SECURE_CHANNELS_H

#include "sync/secure/handshake.h"

/*
 * The sealed channels of a host to all others: handshakes, sessions, new keys for old ones, limits, the bulk plane's
 * window, and the spread of the charter. Bytes in, bytes out: the network, the clock and the random numbers are the
 * caller's, so all of it runs in tests and under the fuzzer.
 *
 * Addresses name the ways to send by: texts of at most WIRE_TEXT_LEN - 1 bytes, as the host at that place tells them.
 */

struct channels;

#define CHANNELS_MAX	   4096 /* hosts that are spoken to */
#define CHANNEL_PACKET_MAX 1280 /* of the datagram plane, sealed */
#define CHANNEL_FRAME_MAX  (WIRE_FRAME + 64)
#define CHANNEL_WINDOW	   32	  /* bulk frames under way to one host */
#define CHANNEL_REKEY_MS   600000 /* keys in use are made anew */
#define CHANNEL_EXPIRE_MS  900000 /* and refused */

/* What is dropped or refused shows here, by name. */
#define CHANNEL_COUNTERS(X)                                                                      \
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
	X(malformed, "messages that make no sense inside a right seal, dropped")                 \
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
	X(silent_ways, "connections given up since nothing sent there was answered")             \
	X(frames_out_of_order, "bulk frames that are not the next of their stream, dropped")     \
	X(frames_lost, "bulk frames sent and given up, since their stream broke")                \
	X(charters_followed, "newer charters taken over")                                        \
	X(charters_refused, "charters refused: signed by no trusted key, or of another cluster") \
	X(renewals_refused, "renewed certificates for this host that do not fit it, refused")    \
	X(no_memory, "messages dropped for want of memory")

struct channel_counters {
#define CHANNEL_COUNTER(name, help) uint64_t name;
	CHANNEL_COUNTERS(CHANNEL_COUNTER)
#undef CHANNEL_COUNTER
};

/* None of the functions may call back into the channels, but those that begin with `on_` may send and, the one for
 * datagrams and frames, forget a host. */
struct channels_env {
	void *data;
	void (*random)(void *data, void *bytes, size_t nr);

	/* A message of the datagram plane. false: there is no way yet; channels_way_open will come. */
	bool (*transmit)(void *data, const char *address, const void *packet, size_t nr);
	/* A frame of the bulk plane, in memory of frame_new, which push takes. false: no room, nothing is sent. */
	void *(*frame_new)(void *data, size_t nr);
	void (*frame_free)(void *data, void *frame);
	bool (*push)(void *data, const char *address, void *frame, size_t nr);
	/* Nothing that was sent there was answered: is it still the right one? */
	void (*silent)(void *data, const char *address);
	/* This host shall be reached by that address soon: make a way. */
	void (*wanted)(void *data, const char *address);

	void (*on_datagram)(void *data, uint32_t from, const void *bytes, size_t nr);
	void (*on_frame)(void *data, uint32_t from, const void *bytes, size_t nr);
	void (*on_bulk_ready)(void *data, uint32_t to);
	void (*on_certificate)(void *data, const struct certificate *certificate);
	void (*on_charter)(void *data, const struct charter *charter);
	void (*on_renewed)(void *data, const struct certificate *certificate);
};

struct channels_config {
	struct identity *identity; /* taken, also when channels_new fails */
	uint32_t life;
	const char *address;
	int64_t rekey_ms;	 /* 0: CHANNEL_REKEY_MS */
	uint64_t rekey_messages; /* of one plane; 0: 2^30 */
};

/* NULL: no memory. `env` is copied. */
struct channels *channels_new(const struct channels_config *config, const struct channels_env *env,
			      int64_t now_ms);
void channels_free(struct channels *channels);

/* At channels_next, and often enough that what is sent meanwhile finds the clock about right. */
void channels_tick(struct channels *channels, int64_t now_ms);
int64_t channels_next(const struct channels *channels);

/* What came; opened in place. */
void channels_receive(struct channels *channels, int64_t now_ms, void *packet, size_t nr);
void channels_receive_frame(struct channels *channels, int64_t now_ms, void *frame, size_t nr);
/* There is a way to the host that listens at the address: what waits for it goes. `life` of that host, 0: unknown. */
void channels_way_open(struct channels *channels, const char *address, uint32_t host,
		       uint32_t life);

void channels_send(struct channels *channels, uint32_t to, const void *bytes, size_t nr);
void channels_send_seed(struct channels *channels, const char *address, const void *bytes,
			size_t nr);
/* As xport_bulk. */
int channels_bulk(struct channels *channels, uint32_t to, const void *bytes, size_t nr);

int channels_peer(struct channels *channels, uint32_t host, const char *address);
void channels_forget(struct channels *channels, uint32_t host);
int channels_identity(struct channels *channels, struct identity *identity);
int channels_charter(struct channels *channels, const void *bytes, size_t nr);
int channels_renew(struct channels *channels, const struct certificate *certificate);

struct channel_counters *channels_counters(struct channels *channels);
const struct gate *channels_gate(const struct channels *channels);
/* gate_seal with the channels' random numbers. */
size_t channels_gate_seal(const struct channels *channels, enum secure_type type, uint8_t *packet,
			  size_t nr);
uint32_t channels_host(const struct channels *channels);

struct channel_info {
	const struct certificate *certificate; /* NULL: it was never met */
	const char *address;		       /* "": unknown */
	bool open;			       /* there is a session */
	int64_t age_ms;
	int64_t heard_ms;
	uint32_t window;
};
bool channels_info(const struct channels *channels, uint32_t host, struct channel_info *info);

/* Calls `each` with every address at which, as far as is known, a host listens that is not revoked; one of two hosts twice. */
void channels_each_address(const struct channels *channels,
			   void (*each)(void *data, const char *address), void *data);

#endif
