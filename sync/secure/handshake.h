/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_SECURE_HANDSHAKE_H
#define SYNC_SECURE_HANDSHAKE_H

#include "sync/secure/identity.h"
#include "sync/secure/session.h"

/*
 * How two hosts make a session: a signed X25519 exchange in one round trip.
 *
 *	A -> B  HANDSHAKE {index, ephemeral key of A, whom it is for, stamp, charter version, address, certificate of A,
 *			   signature of A over all of it}
 *	B -> A  ANSWER    {index of A, ephemeral key of B, sealed with a key that both make of the ephemeral ones:
 *			   {index, life, charter version, address, certificate of B, signature of B over both messages}}
 *
 *	B -> A  CHARTER, before the answer, if A's is older: A may not know yet the CA key that has certified B
 *
 * A's first message in the session tells B that A is there now and HANDSHAKE is no replay. B says who it is only to a
 * host that has proven to be a member. Everything is inside the gate: a seal under a key made of the cluster's id, which
 * every member knows and nobody else. It is no proof, but who is not even invited costs one MAC, sees no names, and
 * never gets to the signatures.
 *
 * Pure functions of their arguments. Those that return int: 0 or a negative errno.
 */

#define HANDSHAKE_MAX 700
#define GATE_BYTES    44 /* what the gate adds: head, nonce, MAC */

struct gate {
	struct uuid cluster;
	uint16_t
		tag; /* in plain text on every message: tells clusters apart on one wire, by accident or by mistake */
	uint8_t key[32];
};

/* Where random bytes come from. */
struct randomness {
	void *data;
	void (*fill)(void *data, void *bytes, size_t nr);
};

void gate_init(struct gate *gate, const struct uuid *cluster);
/* `packet` has GATE_BYTES - SESSION_MAC of room, `nr` bytes, and room for SESSION_MAC. Returns its length. */
size_t gate_seal(const struct gate *gate, enum secure_type type, const struct randomness *random,
		 uint8_t *packet, size_t nr);
/* Opens in place: *plain. -EMSGSIZE: too short; -EPROTO: another version; -EXDEV: of another cluster; -EBADMSG: forged. */
int gate_open(const struct gate *gate, uint8_t *packet, size_t nr, struct reader *plain);

/* The side that begins, until the answer comes. */
struct handshake {
	uint32_t index;
	uint8_t secret[32];
	uint8_t hash[64]; /* of HANDSHAKE */
};

/* What a host says of itself. */
struct handshake_self {
	const struct identity *identity;
	uint32_t life;
	const char *address;
};

/* HANDSHAKE, read. */
struct handshake_offer {
	uint32_t index;
	uint32_t target; /* 0: whoever listens there */
	uint64_t stamp;	 /* grows with each handshake of that host: life, then a count */
	uint64_t charter;
	uint8_t ephemeral[32];
	uint8_t hash[64];
	uint8_t signature[SIGNATURE_BYTES];
	char address[WIRE_TEXT_LEN];
	struct certificate certificate; /* read, not verified */
};

/* ANSWER, read. */
struct handshake_answer {
	uint32_t life;
	uint64_t charter;
	char address[WIRE_TEXT_LEN];
	struct certificate certificate; /* verified, and the answer is signed with its key */
};

/* Writes HANDSHAKE; the index is given in `handshake`. Returns its length. */
size_t handshake_begin(struct handshake *handshake, const struct gate *gate,
		       const struct randomness *random, const struct handshake_self *self,
		       uint32_t target, uint64_t stamp, uint8_t packet[HANDSHAKE_MAX]);

/* Cheap: no signature is looked at. -EBADMSG. */
int handshake_read(struct handshake_offer *offer, const struct gate *gate, struct reader *plain);
/* The certificate's signature, unless it is the one that was verified before (`known`, may be NULL), and the offer's.
 * -EKEYREJECTED: of the certificate; -EBADE: of the offer. */
int handshake_verify(const struct handshake_offer *offer, const struct certificate *known);
/* Writes ANSWER and fills the session, whose `ours` is given. Returns the length; -EBADMSG: a key that makes no secret. */
int handshake_reply(const struct handshake_offer *offer, const struct gate *gate,
		    const struct randomness *random, const struct handshake_self *self,
		    struct session *session, uint8_t packet[HANDSHAKE_MAX]);

/* The index that an answer is for. */
int handshake_answer_index(const struct reader *plain, uint32_t *index);
/* Fills the session and `answer`. -EBADMSG: forged or malformed; -EKEYREJECTED: the certificate's signature; -EBADE: the
 * answer's. */
int handshake_finish(const struct handshake *handshake, const struct gate *gate,
		     struct reader *plain, struct session *session,
		     struct handshake_answer *answer);

#endif
