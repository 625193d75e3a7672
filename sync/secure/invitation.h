/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_SECURE_INVITATION_H
#define SYNC_SECURE_INVITATION_H

#include "sync/secure/identity.h"

/*
 * What goes by hand between an operator's host and one that becomes a member, or changes its key. Texts, JSON:
 *
 *	request		{"request": {"name", "key", "signature"}}: this key asks for a certificate of that name
 *	invitation	{"invitation": {"certificate", "charter", "seeds": ["10.0.0.1:7472"], "store", "secret"}}
 *
 * Bytes are in base64. "store" is where the policy lies, as people type it; without it that is "local". "secret" is there only if the key was made for the host: then the text is a secret too.
 */

#define INVITATION_MAX	 131072
#define INVITATION_SEEDS 16
#define INVITATION_STORE 1024

struct request {
	char name[WIRE_TEXT_LEN];
	struct public_key key;
};

struct invitation {
	struct certificate certificate;
	struct charter charter; /* admits the certificate */
	struct secret_key secret;
	bool has_secret; /* fits the certificate */
	size_t nr_seeds;
	char seeds[INVITATION_SEEDS][WIRE_TEXT_LEN];
	char store[INVITATION_STORE]; /* "": the local one */
};

/* *text is malloc'd. -ENOMEM. */
int request_write(const char *name, const struct secret_key *secret, char **text);
/* -EBADMSG: no request; -EKEYREJECTED: not signed by the key. */
int request_read(struct request *request, const char *text, size_t nr);

int invitation_write(const struct invitation *invitation, char **text);
/* -EBADMSG: no invitation; -EKEYREJECTED: parts of it do not belong together. */
int invitation_read(struct invitation *invitation, const char *text, size_t nr);
void invitation_free(struct invitation *invitation); /* wipes */

#endif
