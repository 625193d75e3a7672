// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>

#include "sync/daemon/daemon.h"
#include "sync/secure/signature.h"

static const struct identity *identity_of(const struct syncd *d)
{
	return d->cluster.identity;
}

int signatures_sign(void *data, const void *bytes, size_t nr, uint8_t signature[ENTRY_SIGNATURE])
{
	const struct syncd *d = data;

	signature_make(SIGNED_ENTRY, bytes, nr, &identity_of(d)->secret, signature);
	return 0;
}

/* ---- Certificates ------------------------------------------------------------------------------------------------ */

static int remember(struct syncd *d, const struct certificate *certificate)
{
	struct hostmap *map = &d->signatures.certificates;
	struct certificate *known = hostmap_find(map, certificate->host);

	if (!known) {
		known = calloc(1, sizeof(*known));
		if (!known || hostmap_insert(map, certificate->host, known)) {
			free(known);
			return -ENOMEM;
		}
	}
	if (certificate->serial >= known->serial)
		*known = *certificate;
	return 0;
}

const struct certificate *signatures_certificate(const struct syncd *d, uint32_t host)
{
	const struct certificate *certificate;

	if (host == d->cluster.host)
		return &identity_of(d)->certificate;
	certificate = xport_certificate(d->cluster.xport, host);
	return certificate ? certificate : hostmap_find(&d->signatures.certificates, host);
}

bool signatures_proven(void *data, uint32_t host)
{
	return signatures_certificate(data, host) != NULL;
}

bool signatures_revoked(const struct syncd *d, uint32_t host)
{
	const struct certificate *certificate = signatures_certificate(d, host);

	return certificate && charter_admits(&identity_of(d)->charter, certificate) == -EKEYREVOKED;
}

bool signatures_operator(void *data, uint32_t host)
{
	const struct syncd *d = data;
	const struct certificate *certificate = signatures_certificate(d, host);

	return certificate && certificate->roles & ROLE_OPERATOR && !signatures_revoked(d, host);
}

/* ---- Verifying --------------------------------------------------------------------------------------------------- */

static int open_certificate(const struct syncd *d, uint32_t origin, struct slice value,
			    struct certificate *certificate)
{
	int r = certificate_open(certificate, value.bytes, value.nr);

	if (r == 0 && certificate->host != origin)
		r = -EKEYREJECTED;
	if (r == 0)
		r = charter_admits(&identity_of(d)->charter, certificate);
	/* It is kept: what some have and others refuse would be told for ever. Nothing that it says is used. */
	return r == -EKEYREVOKED ? 0 : r;
}

static bool is_signed(const struct entry_record *record, const void *bytes, size_t nr,
		      const struct certificate *certificate)
{
	return record->signature.nr == SIGNATURE_BYTES &&
	       signature_right(SIGNED_ENTRY, bytes, nr, &certificate->key, record->signature.bytes);
}

static int verify_certificate(struct syncd *d, uint32_t origin, const struct entry_record *record,
			      const void *bytes, size_t nr)
{
	struct certificate certificate;

	if (open_certificate(d, origin, record->value, &certificate) < 0 ||
	    !is_signed(record, bytes, nr, &certificate))
		return -EKEYREJECTED;
	return remember(d, &certificate);
}

/* By the certificate of its entry first: what lies in the registry was signed with that key, whatever the session's is by
 * now. */
static int verify_entry(const struct syncd *d, uint32_t origin, const struct entry_record *record,
			const void *bytes, size_t nr)
{
	const struct certificate *certificate = hostmap_find(&d->signatures.certificates, origin);

	if (!certificate)
		return -ENOKEY;
	return is_signed(record, bytes, nr, certificate) ? 0 : -EKEYREJECTED;
}

int signatures_verify(void *data, uint32_t origin, const struct entry_record *record,
		      const void *bytes, size_t nr)
{
	return record->kind == ENTRY_CERTIFICATE
		       ? verify_certificate(data, origin, record, bytes, nr)
		       : verify_entry(data, origin, record, bytes, nr);
}

/* ---- This host's own --------------------------------------------------------------------------------------------- */

int signatures_publish(struct syncd *d)
{
	const struct certificate *certificate = &identity_of(d)->certificate;

	return sync_certificate(d->cluster.sync,
				(struct slice){.bytes = certificate->bytes, .nr = certificate->nr});
}

void signatures_free(struct signatures *signatures)
{
	for (size_t i = 0; i < signatures->certificates.nr; i++)
		free(signatures->certificates.things[i]);
	hostmap_free(&signatures->certificates);
}
