// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>

#include "sync/secure/charter.h"
#include "sync/secure/signature.h"

#define SIGNER_BYTES (KEY_BYTES + SIGNATURE_BYTES)

static int compare_keys(const struct public_key *a, const struct public_key *b)
{
	return memcmp(a, b, sizeof(*a));
}

static bool well_formed(const struct charter *charter)
{
	if (charter->nr_keys == 0 || charter->nr_keys > CHARTER_KEYS ||
	    charter->nr_revoked > CHARTER_REVOKED || charter->version == 0)
		return false;
	for (size_t i = 1; i < charter->nr_keys; i++)
		if (compare_keys(&charter->keys[i - 1], &charter->keys[i]) >= 0)
			return false;
	for (size_t i = 1; i < charter->nr_revoked; i++)
		if (charter->revoked[i - 1].host >= charter->revoked[i].host)
			return false;
	return true;
}

int charter_sign(struct charter *charter, const struct secret_key *cas, size_t nr_cas)
{
	uint8_t signature[SIGNATURE_BYTES];
	struct writer writer;
	size_t nr;

	if (!well_formed(charter) || nr_cas == 0 || nr_cas > CHARTER_KEYS)
		return -EINVAL;
	packet_begin(&writer, charter->bytes, sizeof(charter->bytes));
	put_uuid(&writer, charter->cluster);
	put_u64(&writer, charter->version);
	put_u16(&writer, charter->nr_keys);
	put_bytes(&writer, charter->keys, charter->nr_keys * sizeof(*charter->keys));
	put_u16(&writer, charter->nr_revoked);
	for (size_t i = 0; i < charter->nr_revoked; i++) {
		put_u32(&writer, charter->revoked[i].host);
		put_u64(&writer, charter->revoked[i].below);
	}
	nr = writer_used(&writer);
	for (size_t i = 0; i < nr_cas; i++) {
		charter->signers[i] = secret_key_public(&cas[i]);
		signature_make(SIGNED_CHARTER, charter->bytes, nr, &cas[i], signature);
		put_bytes(&writer, &charter->signers[i], KEY_BYTES);
		put_bytes(&writer, signature, sizeof(signature));
	}
	put_u8(&writer, (uint8_t)nr_cas);
	if (writer.full)
		return -EINVAL;
	charter->nr_signers = (uint16_t)nr_cas;
	charter->nr = (uint16_t)writer_used(&writer);
	return 0;
}

static int open_signatures(struct charter *charter, const uint8_t *bytes, size_t nr_signed)
{
	const uint8_t *at = bytes + nr_signed;

	for (size_t i = 0; i < charter->nr_signers; i++, at += SIGNER_BYTES) {
		memcpy(&charter->signers[i], at, KEY_BYTES);
		if (!signature_right(SIGNED_CHARTER, bytes, nr_signed, &charter->signers[i],
				     at + KEY_BYTES))
			return -EKEYREJECTED;
	}
	return 0;
}

int charter_open(struct charter *charter, const void *bytes, size_t nr)
{
	struct reader reader;
	size_t nr_signed;
	int r;

	/* Signers stand behind what is signed, their number last. */
	if (nr < 1 || nr > CHARTER_MAX)
		return -EBADMSG;
	charter->nr_signers = ((const uint8_t *)bytes)[nr - 1];
	if (charter->nr_signers == 0 || charter->nr_signers > CHARTER_KEYS ||
	    nr - 1 < charter->nr_signers * SIGNER_BYTES)
		return -EBADMSG;
	nr_signed = nr - 1 - charter->nr_signers * SIGNER_BYTES;

	if (packet_open(&reader, bytes, nr_signed) < 0)
		return -EBADMSG;
	get_uuid(&reader, &charter->cluster);
	get_u64(&reader, &charter->version);
	get_u16(&reader, &charter->nr_keys);
	if (charter->nr_keys > CHARTER_KEYS)
		return -EBADMSG;
	get_bytes(&reader, charter->keys, charter->nr_keys * sizeof(*charter->keys));
	get_u16(&reader, &charter->nr_revoked);
	if (charter->nr_revoked > CHARTER_REVOKED)
		return -EBADMSG;
	for (size_t i = 0; i < charter->nr_revoked; i++) {
		get_u32(&reader, &charter->revoked[i].host);
		get_u64(&reader, &charter->revoked[i].below);
	}
	if (reader.bad || !well_formed(charter))
		return -EBADMSG;

	r = open_signatures(charter, bytes, nr_signed);
	if (r < 0)
		return r;
	memcpy(charter->bytes, bytes, nr);
	charter->nr = (uint16_t)nr;
	return 0;
}

int charter_follows(const struct charter *charter, const struct charter *next)
{
	if (memcmp(&charter->cluster, &next->cluster, sizeof(next->cluster)) != 0)
		return -EXDEV;
	if (next->version <= charter->version)
		return -ESTALE;
	for (size_t i = 0; i < next->nr_signers; i++)
		if (charter_trusts(charter, &next->signers[i]))
			return 0;
	return -EKEYREJECTED;
}

bool charter_trusts(const struct charter *charter, const struct public_key *key)
{
	for (size_t i = 0; i < charter->nr_keys; i++)
		if (public_key_equal(&charter->keys[i], key))
			return true;
	return false;
}

/* Index of the first revocation of a host >= `host`. */
static size_t revoked_lower(const struct charter *charter, uint32_t host)
{
	size_t low = 0, high = charter->nr_revoked;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (charter->revoked[middle].host < host)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int charter_admits(const struct charter *charter, const struct certificate *certificate)
{
	size_t at = revoked_lower(charter, certificate->host);

	if (memcmp(&charter->cluster, &certificate->cluster, sizeof(charter->cluster)) != 0)
		return -EXDEV;
	if (!charter_trusts(charter, &certificate->issuer))
		return -EKEYREJECTED;
	if (at < charter->nr_revoked && charter->revoked[at].host == certificate->host &&
	    certificate->serial < charter->revoked[at].below)
		return -EKEYREVOKED;
	return 0;
}

bool charter_bans(const struct charter *charter, uint32_t host)
{
	size_t at = revoked_lower(charter, host);

	return at < charter->nr_revoked && charter->revoked[at].host == host &&
	       charter->revoked[at].below == REVOKED_FOR_GOOD;
}

int charter_trust(struct charter *charter, const struct public_key *key)
{
	size_t at = 0;

	if (charter_trusts(charter, key))
		return 0;
	if (charter->nr_keys == CHARTER_KEYS)
		return -ENOSPC;
	while (at < charter->nr_keys && compare_keys(&charter->keys[at], key) < 0)
		at++;
	memmove(charter->keys + at + 1, charter->keys + at,
		(charter->nr_keys - at) * sizeof(*charter->keys));
	charter->keys[at] = *key;
	charter->nr_keys++;
	return 0;
}

int charter_distrust(struct charter *charter, const struct public_key *key)
{
	for (size_t i = 0; i < charter->nr_keys; i++) {
		if (!public_key_equal(&charter->keys[i], key))
			continue;
		charter->nr_keys--;
		memmove(charter->keys + i, charter->keys + i + 1,
			(charter->nr_keys - i) * sizeof(*charter->keys));
		return 0;
	}
	return -ENOENT;
}

int charter_revoke(struct charter *charter, uint32_t host, uint64_t below)
{
	size_t at = revoked_lower(charter, host);

	if (at < charter->nr_revoked && charter->revoked[at].host == host) {
		if (charter->revoked[at].below < below)
			charter->revoked[at].below = below;
		return 0;
	}
	if (charter->nr_revoked == CHARTER_REVOKED)
		return -ENOSPC;
	memmove(charter->revoked + at + 1, charter->revoked + at,
		(charter->nr_revoked - at) * sizeof(*charter->revoked));
	charter->revoked[at] = (struct revocation){.host = host, .below = below};
	charter->nr_revoked++;
	return 0;
}
