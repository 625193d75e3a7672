// SPDX-License-Identifier: GPL-2.0
/*
 * Certificates, charters, requests and invitations, whatever their bytes. Signatures count as right when their first
 * byte is even, so that what lies behind them is reached too; what is taken must come out again as it went in.
 */
#include <stdlib.h>

#include <util.h>

#include "sync/secure/address.h"
#include "sync/secure/invitation.h"
#include "sync/secure/signature.h"

bool __wrap_signature_right(enum signed_thing thing, const void *bytes, size_t nr,
			    const struct public_key *key, const uint8_t signature[SIGNATURE_BYTES]);

bool __wrap_signature_right(enum signed_thing thing, const void *bytes, size_t nr,
			    const struct public_key *key, const uint8_t signature[SIGNATURE_BYTES])
{
	(void)thing;
	(void)bytes;
	(void)nr;
	(void)key;
	return signature[0] % 2 == 0;
}

static void try_certificate(const uint8_t *bytes, size_t nr)
{
	struct certificate certificate;

	if (certificate_open(&certificate, bytes, nr) < 0)
		return;
	if (certificate.nr != nr || memcmp(certificate.bytes, bytes, nr) || !certificate.host ||
	    certificate.host > HOST_ID_MAX || !host_name_valid(certificate.name))
		abort();
}

static void try_charter(const uint8_t *bytes, size_t nr)
{
	static struct charter charter, next;

	if (charter_open(&charter, bytes, nr) < 0)
		return;
	if (charter.nr != nr || charter.nr_keys > CHARTER_KEYS || !charter.nr_keys ||
	    charter.nr_revoked > CHARTER_REVOKED || !charter_trusts(&charter, &charter.keys[0]))
		abort();
	for (size_t i = 0; i < charter.nr_revoked; i++)
		charter_bans(&charter, charter.revoked[i].host);
	next = charter;
	if (charter_follows(&charter, &next) == 0)
		abort();
}

static void try_texts(const uint8_t *bytes, size_t nr)
{
	struct invitation *invitation = calloc(1, sizeof(*invitation));
	char canonical[WIRE_TEXT_LEN], again[WIRE_TEXT_LEN], text[128] = "";
	struct request request;

	if (!invitation)
		abort();
	if (request_read(&request, (const char *)bytes, nr) == 0 && !host_name_valid(request.name))
		abort();
	if (invitation_read(invitation, (const char *)bytes, nr) == 0 &&
	    charter_admits(&invitation->charter, &invitation->certificate) < 0)
		abort();
	invitation_free(invitation);

	memcpy(text, bytes, nr < sizeof(text) ? nr : sizeof(text) - 1);
	if (address_canonical(text, canonical) == 0 &&
	    (address_canonical(canonical, again) < 0 || strcmp(canonical, again)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr)
{
	try_certificate(bytes, nr);
	try_charter(bytes, nr);
	try_texts(bytes, nr);
	return 0;
}
