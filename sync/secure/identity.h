/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_SECURE_IDENTITY_H
#define SYNC_SECURE_IDENTITY_H

#include "sync/secure/charter.h"

/*
 * What makes a host a member: its key, its certificate and the charter. On disk, in the cluster folder:
 *
 *	host.key	the secret half, 0600
 *	host.cert	the certificate
 *	charter		the newest charter, signed: CA keys and revocations
 */
struct identity {
	struct secret_key secret;
	struct certificate certificate;
	struct charter charter;
};

/* Reads the three files of a cluster folder. -ENOENT; -EBADMSG: damaged; -EKEYREJECTED: they do not belong together, or
 * the CA key that signed is not trusted any more; -EKEYREVOKED: this host is revoked. */
int identity_load(const char *directory, struct identity **identity);
void identity_free(struct identity *identity); /* wipes the key */

/* Atomic, durable; owned as the folder is. */
int identity_keep_charter(const char *directory, const struct charter *charter);
int identity_keep_certificate(const char *directory, const struct certificate *certificate);
int identity_keep_secret(const char *directory, const struct secret_key *secret);

/* A secret key in a file of its own. -ENOENT, -EBADMSG. */
int identity_read_secret(const char *path, struct secret_key *secret);

/* One number over size and mtime of the three files: another one means that they are to be loaded again. */
uint64_t identity_stamp(const char *directory);

#endif
