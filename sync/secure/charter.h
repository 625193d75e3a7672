/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_SECURE_CHARTER_H
#define SYNC_SECURE_CHARTER_H

#include "sync/secure/certificate.h"

/*
 * What holds in a cluster, in one signed list with a version: which CA keys are trusted, and which certificates are
 * revoked. Whoever has a newer one gives it to those with an older one, so a revocation and a new CA key reach every
 * host without a server. Several CA keys may sign it. One of them that the charter before it trusts is enough, so a
 * host that slept while the CA's key was changed still follows.
 */

#define CHARTER_KEYS	8
#define CHARTER_REVOKED 4000
#define CHARTER_MAX	50000 /* bytes, signed: fits a bulk frame */

/* Certificates of `host` with a serial below `below` are revoked. */
struct revocation {
	uint32_t host;
	uint64_t below;
};

#define REVOKED_FOR_GOOD UINT64_MAX

struct charter {
	struct uuid cluster;
	uint64_t version;
	uint16_t nr_keys;
	uint16_t nr_revoked;
	uint16_t nr_signers;
	uint16_t nr;
	struct public_key keys[CHARTER_KEYS];	    /* trusted, ascending */
	struct revocation revoked[CHARTER_REVOKED]; /* ascending by host */
	struct public_key signers[CHARTER_KEYS];
	uint8_t bytes[CHARTER_MAX]; /* as it is on the wire and on disk */
};

/* Fills signers, bytes and nr. -EINVAL: no keys, or something is out of order. */
int charter_sign(struct charter *charter, const struct secret_key *cas, size_t nr_cas);
/* Well formed, and every signature is right. -EBADMSG, -EKEYREJECTED. */
int charter_open(struct charter *charter, const void *bytes, size_t nr);
/* Whether `next` may take the place of `charter`: 0; -ESTALE: not newer; -EXDEV: of another cluster; -EKEYREJECTED:
 * signed by no key that `charter` trusts. */
int charter_follows(const struct charter *charter, const struct charter *next);

bool charter_trusts(const struct charter *charter, const struct public_key *key);
/* 0; -EXDEV: of another cluster; -EKEYREJECTED: issued by a key that is not trusted; -EKEYREVOKED. */
int charter_admits(const struct charter *charter, const struct certificate *certificate);

/* Every certificate of the host is revoked, for good. */
bool charter_bans(const struct charter *charter, uint32_t host);

/* Before signing. -ENOSPC. */
int charter_trust(struct charter *charter, const struct public_key *key);
/* -ENOENT. */
int charter_distrust(struct charter *charter, const struct public_key *key);
/* Adds an entry or raises the one that is there. -ENOSPC. */
int charter_revoke(struct charter *charter, uint32_t host, uint64_t below);

#endif
