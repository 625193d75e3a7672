/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_SECURE_CERTIFICATE_H
#define SYNC_SECURE_CERTIFICATE_H

#include "sync/wire.h"

/*
 * Who is who. A cluster has a CA, an Ed25519 key pair whose secret half lies on operators' hosts only. A certificate is
 * the CA's word that a key is host `host`. It does not expire, since no host trusts another's clock: it ends by the
 * charter, see charter.h.
 *
 * Functions return 0 or a negative errno, and need sodium_init().
 */

#define KEY_BYTES	32
#define SECRET_BYTES	64
#define SIGNATURE_BYTES 64

struct public_key {
	uint8_t bytes[KEY_BYTES];
};

/* An Ed25519 key pair as libsodium has it: wiped by secret_key_wipe. */
struct secret_key {
	uint8_t bytes[SECRET_BYTES];
};

#define HOST_ID_MAX ((1U << 24) - 1)

/* Bits on the wire: append, never renumber. */
enum certificate_role {
	ROLE_OPERATOR = 1 << 0, /* may ask for what changes other hosts */
};

#define CERTIFICATE_MAX 320

struct certificate {
	struct uuid cluster;
	uint32_t host; /* 1 .. HOST_ID_MAX, never given twice */
	uint32_t roles;
	uint64_t serial; /* of two certificates of a host the higher one holds */
	struct public_key key;
	struct public_key issuer; /* the CA key that signed */
	char name[WIRE_TEXT_LEN];
	/* As it is on the wire and on disk, with the signature. */
	uint16_t nr;
	uint8_t bytes[CERTIFICATE_MAX];
};

void secret_key_make(struct secret_key *secret);
void secret_key_wipe(struct secret_key *secret);
struct public_key secret_key_public(const struct secret_key *secret);
/* Both halves belong together. */
bool secret_key_whole(const struct secret_key *secret);
bool public_key_equal(const struct public_key *a, const struct public_key *b);

/* Letters, digits, "-", "_" and "."; at most WIRE_TEXT_LEN - 1 of them. */
bool host_name_valid(const char *name);

/* Fills issuer, bytes and nr; everything else is given. -EINVAL: a field that no host would accept. */
int certificate_sign(struct certificate *certificate, const struct secret_key *ca);
/* Well formed? Nothing is verified: for a look at who it is about. -EBADMSG. */
int certificate_read(struct certificate *certificate, const void *bytes, size_t nr);
/* Whether it is well formed and signed by its issuer; whether that one is trusted is the charter's to say. -EBADMSG:
 * malformed; -EKEYREJECTED: the signature is wrong. */
int certificate_open(struct certificate *certificate, const void *bytes, size_t nr);

#endif
