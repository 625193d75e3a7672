/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_SIGNATURES_H
#define SYNC_DAEMON_SIGNATURES_H

#include "sync/env.h"
#include "sync/hostmap.h"
#include "sync/secure/certificate.h"

struct syncd;

/*
 * Entries of the registry are signed by their origin, since other hosts carry them. The certificate that proves a
 * signature is an entry itself, so a host need not have met the origin. What a revoked host has written stands for nothing,
 * and a manifest counts only from an operator's host: whoever steals another one cannot write the policy.
 */
struct signatures {
	struct hostmap certificates; /* of origins, as their entries brought them */
};

int signatures_sign(void *data, const void *bytes, size_t nr, uint8_t signature[ENTRY_SIGNATURE]);
int signatures_verify(void *data, uint32_t origin, const struct entry_record *record,
		      const void *bytes, size_t nr);

/* A host that is certified as an operator, and not revoked: it may write the policy, and ask for what changes others. */
bool signatures_operator(void *data, uint32_t host);

/* This host's certificate is new: it becomes an entry, and all others are signed anew. */
int signatures_publish(struct syncd *d);

/* The certificate of a host: that of its session, or of its entry; NULL: not known. */
const struct certificate *signatures_certificate(const struct syncd *d, uint32_t host);
/* For the core: is there such a host, as far as can be told by a certificate? */
bool signatures_proven(void *data, uint32_t host);
bool signatures_revoked(const struct syncd *d, uint32_t host);

void signatures_free(struct signatures *signatures);

#endif
