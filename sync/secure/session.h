/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_SECURE_SESSION_H
#define SYNC_SECURE_SESSION_H

#include "sync/wire.h"

/*
 * What two hosts share once they have proven who they are: a key for each direction and plane, and counters. A message
 * is a head in plain text, which says no more than which session, and the sealed rest (XChaCha20-Poly1305; the nonce is
 * the session's salt and the counter, so no nonce is used twice under a key).
 *
 *	u8 type, u8 version, u16 tag of the cluster, u32 index of the session at the receiver, u64 counter, sealed bytes
 */

#define SESSION_HEAD	16
#define SESSION_MAC	16
#define SESSION_VERSION 1
#define REPLAY_WORDS	16 /* a window of 1,024 datagrams */

/* Types of messages on both planes. Never renumber. */
enum secure_type {
	SECURE_HELLO = 1,
	SECURE_HANDSHAKE = 2,
	SECURE_ANSWER = 3,
	SECURE_DATAGRAM = 4,
	SECURE_FRAME = 5,
	SECURE_CHARTER = 6,
};

enum plane { PLANE_DATAGRAM = 0, PLANE_BULK = 1, PLANES };

struct session_key {
	uint8_t key[32];
	uint8_t salt[16];
};

struct session {
	uint32_t ours;	 /* index that the peer writes on what it sends */
	uint32_t theirs; /* index that we write */
	uint16_t tag;
	bool begun_here;
	struct session_key seal[PLANES];
	struct session_key open[PLANES];
	uint64_t sent[PLANES];
	uint64_t highest[PLANES]; /* of the counters that were received */
	uint64_t window[REPLAY_WORDS];
	int64_t made_ms;
};

/* `packet` has SESSION_HEAD bytes of room, then `nr` bytes to seal, then room for SESSION_MAC. Returns its length. */
size_t session_seal(struct session *session, enum plane plane, uint8_t *packet, size_t nr);
/* Opens in place. Returns how many bytes lie behind the head; -EBADMSG: forged; -EALREADY: replayed, or too old. On the
 * bulk plane counters only rise. */
int session_open(struct session *session, enum plane plane, uint8_t *packet, size_t nr);

/* What the head says. -EMSGSIZE: too short. */
struct session_head {
	uint8_t type;
	uint8_t version;
	uint16_t tag;
	uint32_t index;
	uint64_t counter;
};
int session_head_read(struct session_head *head, const void *packet, size_t nr);

#endif
