/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_SECURE_SIGNATURE_H
#define SYNC_SECURE_SIGNATURE_H

#include "sync/secure/certificate.h"

/* What a signature is about, so that none can be taken for another. Values are in what is signed: never renumber. */
enum signed_thing {
	SIGNED_CERTIFICATE = 1,
	SIGNED_CHARTER = 2,
	SIGNED_REQUEST = 3,
	SIGNED_HANDSHAKE = 4,
	SIGNED_ANSWER = 5,
	SIGNED_ENTRY = 6,
	SIGNED_MANIFEST = 7,
};

void signature_make(enum signed_thing thing, const void *bytes, size_t nr,
		    const struct secret_key *secret, uint8_t signature[SIGNATURE_BYTES]);
bool signature_right(enum signed_thing thing, const void *bytes, size_t nr,
		     const struct public_key *key, const uint8_t signature[SIGNATURE_BYTES]);

#endif
