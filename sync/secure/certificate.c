// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <sodium.h>

#include "sync/secure/certificate.h"
#include "sync/secure/signature.h"

void secret_key_make(struct secret_key *secret)
{
	struct public_key key;

	crypto_sign_keypair(key.bytes, secret->bytes);
}

void secret_key_wipe(struct secret_key *secret)
{
	sodium_memzero(secret, sizeof(*secret));
}

struct public_key secret_key_public(const struct secret_key *secret)
{
	struct public_key key;

	crypto_sign_ed25519_sk_to_pk(key.bytes, secret->bytes);
	return key;
}

bool secret_key_whole(const struct secret_key *secret)
{
	uint8_t seed[crypto_sign_SEEDBYTES];
	struct secret_key made;
	struct public_key key;
	bool whole;

	crypto_sign_ed25519_sk_to_seed(seed, secret->bytes);
	crypto_sign_seed_keypair(key.bytes, made.bytes, seed);
	whole = sodium_memcmp(made.bytes, secret->bytes, SECRET_BYTES) == 0;
	sodium_memzero(seed, sizeof(seed));
	secret_key_wipe(&made);
	return whole;
}

bool public_key_equal(const struct public_key *a, const struct public_key *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* Names stand in files' names, on terminals and in policies. */
bool host_name_valid(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.";
	size_t nr = strlen(name);

	return nr > 0 && nr < WIRE_TEXT_LEN && strspn(name, allowed) == nr && name[0] != '.' &&
	       name[0] != '-';
}

static bool well_formed(const struct certificate *certificate)
{
	return certificate->host > 0 && certificate->host <= HOST_ID_MAX &&
	       certificate->serial > 0 && host_name_valid(certificate->name);
}

int certificate_sign(struct certificate *certificate, const struct secret_key *ca)
{
	uint8_t signature[SIGNATURE_BYTES];
	struct writer writer;

	if (!well_formed(certificate))
		return -EINVAL;
	certificate->issuer = secret_key_public(ca);
	packet_begin(&writer, certificate->bytes, sizeof(certificate->bytes));
	put_uuid(&writer, certificate->cluster);
	put_u32(&writer, certificate->host);
	put_u32(&writer, certificate->roles);
	put_u64(&writer, certificate->serial);
	put_bytes(&writer, &certificate->key, KEY_BYTES);
	put_bytes(&writer, &certificate->issuer, KEY_BYTES);
	put_text(&writer, certificate->name);
	signature_make(SIGNED_CERTIFICATE, certificate->bytes, writer_used(&writer), ca, signature);
	put_bytes(&writer, signature, sizeof(signature));
	if (writer.full)
		return -EINVAL;
	certificate->nr = (uint16_t)writer_used(&writer);
	return 0;
}

int certificate_read(struct certificate *certificate, const void *bytes, size_t nr)
{
	struct reader reader;

	if (nr < SIGNATURE_BYTES || nr > CERTIFICATE_MAX)
		return -EBADMSG;
	if (packet_open(&reader, bytes, nr - SIGNATURE_BYTES) < 0)
		return -EBADMSG;
	/* Fields that a later version adds lie between the name and the signature, and are signed too. */
	get_uuid(&reader, &certificate->cluster);
	get_u32(&reader, &certificate->host);
	get_u32(&reader, &certificate->roles);
	get_u64(&reader, &certificate->serial);
	get_bytes(&reader, &certificate->key, KEY_BYTES);
	get_bytes(&reader, &certificate->issuer, KEY_BYTES);
	get_text(&reader, certificate->name);
	if (reader.bad || !well_formed(certificate))
		return -EBADMSG;
	memcpy(certificate->bytes, bytes, nr);
	certificate->nr = (uint16_t)nr;
	return 0;
}

int certificate_open(struct certificate *certificate, const void *bytes, size_t nr)
{
	int r = certificate_read(certificate, bytes, nr);

	if (r < 0)
		return r;
	nr -= SIGNATURE_BYTES;
	return signature_right(SIGNED_CERTIFICATE, bytes, nr, &certificate->issuer,
			       (const uint8_t *)bytes + nr)
		       ? 0
		       : -EKEYREJECTED;
}
