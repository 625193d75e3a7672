/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_SECURE_CHARTER_H
#define SYNC_SECURE_CHARTER_H

#include "sync/secure/certificate.h"

/*
 * What holds in a cluster, in one signed list with a version: which CA keys are trusted, and which certificates are
 * revoked. Whoever has a newer one gives it to those with an older one, so a revocation and a new CA key reach every
 * host without a server. A charter is signed by a key that the one before it trusts.
 */

#define CHARTER_KEYS	8
#define CHARTER_REVOKED 4000
#define CHARTER_MAX	49152 /* bytes, signed: fits a bulk frame */

/* Certificates of `host` with a serial below `below` are revoked; UINT64_MAX: the host is. */
struct revocation {
	uint32_t host;
	uint64_t below;
};

struct charter {
	struct uuid cluster;
	uint64_t version;
	uint16_t nr_keys;
	uint16_t nr_revoked;
	struct public_key keys[CHARTER_KEYS]; /* trusted; the first one signs now */
	struct public_key signer;
	struct revocation revoked[CHARTER_REVOKED]; /* ascending by host */
	uint16_t nr;
	uint8_t bytes[CHARTER_MAX]; /* as it is on the wire and on disk */
};

/* Fills signer, bytes and nr. -EINVAL: not in order, no keys; -E2BIG. */
int charter_sign(struct charter *charter, const struct secret_key *ca);
/* Well formed and signed by `signer`. -EBADMSG, -EKEYREJECTED. */
int charter_open(struct charter *charter, const void *bytes, size_t nr);
/* Whether `next` may take the place of `charter`: 0; -ESTALE: not newer; -EXDEV: of another cluster; -EKEYREJECTED:
 * signed by a key that `charter` does not trust. */
int charter_follows(const struct charter *charter, const struct charter *next);

bool charter_trusts(const struct charter *charter, const struct public_key *key);
/* 0; -EXDEV: of another cluster; -EKEYREJECTED: issued by a key that is not trusted; -EKEYREVOKED. */
int charter_admits(const struct charter *charter, const struct certificate *certificate);
/* Adds or raises an entry. -ENOSPC. */
int charter_revoke(struct charter *charter, uint32_t host, uint64_t below);

#endif
