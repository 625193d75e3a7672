// SPDX-License-Identifier: GPL-2.0
#include <sodium.h>

#include "sync/secure/signature.h"

_Static_assert(KEY_BYTES == crypto_sign_PUBLICKEYBYTES, "a key is Ed25519's");
_Static_assert(SECRET_BYTES == crypto_sign_SECRETKEYBYTES, "a secret is Ed25519's");
_Static_assert(SIGNATURE_BYTES == crypto_sign_BYTES, "a signature is Ed25519's");

#define DIGEST_BYTES 64

/* The digest is signed, not the bytes: what they are about comes first and needs no copy of them. */
static void digest_of(enum signed_thing thing, const void *bytes, size_t nr,
		      uint8_t digest[DIGEST_BYTES])
{
	static const char context[] = "dfw signature 1";
	uint8_t about = (uint8_t)thing;
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, DIGEST_BYTES);
	crypto_generichash_update(&state, (const uint8_t *)context, sizeof(context));
	crypto_generichash_update(&state, &about, sizeof(about));
	crypto_generichash_update(&state, bytes, nr);
	crypto_generichash_final(&state, digest, DIGEST_BYTES);
}

void signature_make(enum signed_thing thing, const void *bytes, size_t nr,
		    const struct secret_key *secret, uint8_t signature[SIGNATURE_BYTES])
{
	uint8_t digest[DIGEST_BYTES];

	digest_of(thing, bytes, nr, digest);
	crypto_sign_detached(signature, NULL, digest, sizeof(digest), secret->bytes);
}

bool signature_right(enum signed_thing thing, const void *bytes, size_t nr,
		     const struct public_key *key, const uint8_t signature[SIGNATURE_BYTES])
{
	uint8_t digest[DIGEST_BYTES];

	digest_of(thing, bytes, nr, digest);
	return crypto_sign_verify_detached(signature, digest, sizeof(digest), key->bytes) == 0;
}
