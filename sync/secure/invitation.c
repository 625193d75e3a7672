// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include <json.h>

#include "sync/secure/address.h"
#include "sync/secure/invitation.h"
#include "sync/secure/signature.h"

#define BASE64 sodium_base64_VARIANT_ORIGINAL

/* NULL: no memory, which json_pack passes on. */
static json_t *bytes_json(const void *bytes, size_t nr)
{
	size_t room = sodium_base64_encoded_len(nr, BASE64);
	_cleanup_free_ char *text = malloc(room);
	json_t *json;

	if (!text)
		return NULL;
	json = json_string(sodium_bin2base64(text, room, bytes, nr, BASE64));
	sodium_memzero(text, room);
	return json;
}

/* Returns how many bytes there are; -EBADMSG: no base64, or more than `room`. */
static ssize_t json_bytes(const json_t *object, const char *key, void *bytes, size_t room)
{
	const json_t *json = json_object_get(object, key);
	size_t nr;

	if (!json_is_string(json) ||
	    sodium_base642bin(bytes, room, json_string_value(json), json_string_length(json), NULL,
			      &nr, NULL, BASE64))
		return -EBADMSG;
	return (ssize_t)nr;
}

/* Takes the reference. */
static int write_text(json_t *json, char **text)
{
	*text = json ? json_dumps(json, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
	json_decref(json);
	return *text ? 0 : -ENOMEM;
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

/* Who asks must have the secret half: else somebody could have another one's key certified for himself. */
static size_t signed_part(const char *name, const struct public_key *key,
			  uint8_t bytes[KEY_BYTES + WIRE_TEXT_LEN])
{
	struct writer writer;

	writer_init(&writer, bytes, KEY_BYTES + WIRE_TEXT_LEN);
	put_bytes(&writer, key, KEY_BYTES);
	put_text(&writer, name);
	return writer_used(&writer);
}

int request_write(const char *name, const struct secret_key *secret, char **text)
{
	uint8_t bytes[KEY_BYTES + WIRE_TEXT_LEN], signature[SIGNATURE_BYTES];
	struct public_key key = secret_key_public(secret);

	signature_make(SIGNED_REQUEST, bytes, signed_part(name, &key, bytes), secret, signature);
	return write_text(json_pack("{s:{s:s, s:o, s:o}}", "request", "name", name, "key",
				    bytes_json(&key, sizeof(key)), "signature",
				    bytes_json(signature, sizeof(signature))),
			  text);
}

int request_read(struct request *request, const char *text, size_t nr)
{
	uint8_t bytes[KEY_BYTES + WIRE_TEXT_LEN], signature[SIGNATURE_BYTES];
	_cleanup_json_ json_t *json = nr <= INVITATION_MAX ? json_loadb(text, nr, 0, NULL) : NULL;
	const json_t *body = json_object_get(json, "request");
	const char *name = json_text(body, "name");

	if (!name || !host_name_valid(name) ||
	    json_bytes(body, "key", &request->key, KEY_BYTES) != KEY_BYTES ||
	    json_bytes(body, "signature", signature, sizeof(signature)) != sizeof(signature))
		return -EBADMSG;
	strcpy(request->name, name);
	return signature_right(SIGNED_REQUEST, bytes, signed_part(name, &request->key, bytes),
			       &request->key, signature)
		       ? 0
		       : -EKEYREJECTED;
}

/* ---- Invitations ------------------------------------------------------------------------------------------------- */

static json_t *seeds_json(const struct invitation *invitation)
{
	json_t *seeds = json_array();

	for (size_t i = 0; i < invitation->nr_seeds; i++)
		json_array_append_new(seeds, json_string(invitation->seeds[i]));
	return seeds;
}

int invitation_write(const struct invitation *invitation, char **text)
{
	const struct certificate *certificate = &invitation->certificate;
	const struct charter *charter = &invitation->charter;
	json_t *json =
		json_pack("{s:{s:s, s:o, s:o, s:o}}", "invitation", "name", certificate->name,
			  "certificate", bytes_json(certificate->bytes, certificate->nr), "charter",
			  bytes_json(charter->bytes, charter->nr), "seeds", seeds_json(invitation));

	if (json && invitation->store[0] &&
	    json_object_set_new(json_object_get(json, "invitation"), "store",
				json_string(invitation->store)) < 0) {
		json_decref(json);
		return -ENOMEM;
	}
	if (json && invitation->has_secret &&
	    json_object_set_new(json_object_get(json, "invitation"), "secret",
				bytes_json(invitation->secret.bytes, SECRET_BYTES)) < 0) {
		json_decref(json);
		return -ENOMEM;
	}
	return write_text(json, text);
}

static int read_seeds(struct invitation *invitation, const json_t *seeds)
{
	const json_t *seed;
	size_t i;

	if (!json_is_array(seeds) || json_array_size(seeds) > INVITATION_SEEDS)
		return -EBADMSG;
	json_array_foreach (seeds, i, seed)
		if (!json_is_string(seed) ||
		    address_canonical(json_string_value(seed), invitation->seeds[i]) < 0)
			return -EBADMSG;
	invitation->nr_seeds = json_array_size(seeds);
	return 0;
}

static int read_store(struct invitation *invitation, const json_t *store)
{
	const char *text = json_string_value(store);

	if (!store)
		return 0;
	if (!text || strlen(text) >= sizeof(invitation->store))
		return -EBADMSG;
	strcpy(invitation->store, text);
	return 0;
}

static int read_certificate(struct invitation *invitation, const json_t *body)
{
	uint8_t bytes[CERTIFICATE_MAX];
	ssize_t nr = json_bytes(body, "certificate", bytes, sizeof(bytes));

	return nr < 0 ? -EBADMSG : certificate_open(&invitation->certificate, bytes, (size_t)nr);
}

static int read_charter(struct invitation *invitation, const json_t *body)
{
	_cleanup_free_ uint8_t *bytes = malloc(CHARTER_MAX);
	ssize_t nr;

	if (!bytes)
		return -ENOMEM;
	nr = json_bytes(body, "charter", bytes, CHARTER_MAX);
	return nr < 0 ? -EBADMSG : charter_open(&invitation->charter, bytes, (size_t)nr);
}

static int read_secret(struct invitation *invitation, const json_t *body)
{
	struct public_key key;

	invitation->has_secret = json_object_get(body, "secret") != NULL;
	if (!invitation->has_secret)
		return 0;
	if (json_bytes(body, "secret", invitation->secret.bytes, SECRET_BYTES) != SECRET_BYTES ||
	    !secret_key_whole(&invitation->secret))
		return -EBADMSG;
	key = secret_key_public(&invitation->secret);
	return public_key_equal(&key, &invitation->certificate.key) ? 0 : -EKEYREJECTED;
}

int invitation_read(struct invitation *invitation, const char *text, size_t nr)
{
	_cleanup_json_ json_t *json = nr <= INVITATION_MAX ? json_loadb(text, nr, 0, NULL) : NULL;
	const json_t *body = json_object_get(json, "invitation");
	int r = read_certificate(invitation, body);

	if (r == 0)
		r = read_charter(invitation, body);
	if (r == 0)
		r = read_seeds(invitation, json_object_get(body, "seeds"));
	if (r == 0)
		r = read_store(invitation, json_object_get(body, "store"));
	if (r == 0)
		r = read_secret(invitation, body);
	if (r == 0 && charter_admits(&invitation->charter, &invitation->certificate) < 0)
		r = -EKEYREJECTED;
	return r;
}

void invitation_free(struct invitation *invitation)
{
	if (!invitation)
		return;
	secret_key_wipe(&invitation->secret);
	free(invitation);
}
