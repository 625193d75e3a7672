/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_SECURE_IDENTITY_H
#define SYNC_SECURE_IDENTITY_H

#include "sync/secure/charter.h"

/*
 * What makes a host a member: its key, its certificate and the charter. On disk, in the cluster folder:
 *
 *	host.key	the secret half, 0600
 *	host.key.new	one that has no certificate yet, or whose certificate has just come
 *	host.cert	the certificate: of one of both keys
 *	charter		the newest charter, signed: CA keys and revocations
 *	renewals	on an operator's host: certificates that wait for their hosts
 *
 * What is kept is kept at once or not at all, is on disk then, and belongs to whom the folder belongs. Functions return 0
 * or a negative errno.
 */
struct identity {
	struct secret_key secret;
	struct certificate certificate;
	struct charter charter;
};

/* -ENOENT; -EBADMSG: damaged; -EKEYREJECTED: they do not belong together, or the CA key that signed is not trusted any
 * more; -EKEYREVOKED: this host is revoked. */
int identity_load(const char *directory, struct identity **identity);
void identity_free(struct identity *identity); /* wipes the key */
int identity_load_charter(const char *directory, struct charter *charter);

int identity_keep_charter(const char *directory, const struct charter *charter);
int identity_keep_certificate(const char *directory, const struct certificate *certificate);

/* The key in use, and the one that has no certificate yet. take: it has, and takes the place of the former one. */
int identity_secret(const char *directory, struct secret_key *secret);
int identity_next_secret(const char *directory, struct secret_key *secret);
int identity_keep_next_secret(const char *directory, const struct secret_key *secret);
int identity_take_next_secret(const char *directory);

/* Certificates, each as a slice. `each` gets them unverified: whom they are for verifies them. */
int identity_keep_renewals(const char *directory, const void *certificates, size_t nr);
int identity_each_renewal(const char *directory,
			  void (*each)(void *data, const struct certificate *certificate),
			  void *each_data);

/* A secret key in a file. -ENOENT, -EBADMSG. */
int identity_read_secret(const char *path, struct secret_key *secret);

/* One number over the files: another one means that they are to be loaded again. */
uint64_t identity_stamp(const char *directory);

#endif
