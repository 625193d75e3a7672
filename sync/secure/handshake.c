// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <sodium.h>

#include "sync/secure/handshake.h"
#include "sync/secure/signature.h"

#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define HASH_BYTES  64
#define GATE_HEAD   4 /* type, version, tag */

_Static_assert(GATE_BYTES == GATE_HEAD + NONCE_BYTES + SESSION_MAC, "what the gate adds");

/* ---- The gate ---------------------------------------------------------------------------------------------------- */

static void hash_init(crypto_generichash_state *state, const char *about, const uint8_t *key,
		      size_t nr_key, size_t nr)
{
	crypto_generichash_init(state, key, nr_key, nr);
	crypto_generichash_update(state, (const uint8_t *)about, strlen(about) + 1);
}

void gate_init(struct gate *gate, const struct uuid *cluster)
{
	crypto_generichash_state state;
	uint8_t tag[16];

	gate->cluster = *cluster;
	hash_init(&state, "dfw gate 1", NULL, 0, sizeof(gate->key));
	crypto_generichash_update(&state, cluster->bytes, sizeof(cluster->bytes));
	crypto_generichash_final(&state, gate->key, sizeof(gate->key));

	hash_init(&state, "dfw tag 1", NULL, 0, sizeof(tag));
	crypto_generichash_update(&state, cluster->bytes, sizeof(cluster->bytes));
	crypto_generichash_final(&state, tag, sizeof(tag));
	memcpy(&gate->tag, tag, sizeof(gate->tag));
}

size_t gate_seal(const struct gate *gate, enum secure_type type, const struct randomness *random,
		 uint8_t *packet, size_t nr)
{
	uint8_t *nonce = packet + GATE_HEAD, *plain = nonce + NONCE_BYTES;
	struct writer head;

	writer_init(&head, packet, GATE_HEAD);
	put_u8(&head, (uint8_t)type);
	put_u8(&head, SESSION_VERSION);
	put_u16(&head, gate->tag);
	random->fill(random->data, nonce, NONCE_BYTES);
	crypto_aead_xchacha20poly1305_ietf_encrypt(plain, NULL, plain, nr, packet, GATE_HEAD, NULL,
						   nonce, gate->key);
	return nr + GATE_BYTES;
}

int gate_open(const struct gate *gate, uint8_t *packet, size_t nr, struct reader *plain)
{
	uint8_t *nonce = packet + GATE_HEAD, *sealed = nonce + NONCE_BYTES;
	unsigned long long opened;
	uint8_t type, version;
	struct reader head;
	uint16_t tag;

	if (nr < GATE_BYTES)
		return -EMSGSIZE;
	reader_init(&head, packet, GATE_HEAD);
	get_u8(&head, &type);
	get_u8(&head, &version);
	get_u16(&head, &tag);
	if (version != SESSION_VERSION)
		return -EPROTO;
	if (tag != gate->tag)
		return -EXDEV;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, &opened, NULL, sealed,
						       nr - GATE_HEAD - NONCE_BYTES, packet,
						       GATE_HEAD, nonce, gate->key))
		return -EBADMSG;
	reader_init(plain, sealed, (size_t)opened);
	return 0;
}

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

/* What both sides know when HANDSHAKE and the ephemeral key of the answer are known. */
static int root_of(const uint8_t secret[32], const uint8_t theirs[32],
		   const uint8_t hash[HASH_BYTES], const uint8_t answerer[32],
		   const struct gate *gate, uint8_t root[64])
{
	uint8_t shared[crypto_scalarmult_BYTES];
	crypto_generichash_state state;

	/* Fails for the few points whose product is known to everybody. */
	if (crypto_scalarmult(shared, secret, theirs))
		return -EBADMSG;
	hash_init(&state, "dfw session 1", NULL, 0, 64);
	crypto_generichash_update(&state, shared, sizeof(shared));
	crypto_generichash_update(&state, hash, HASH_BYTES);
	crypto_generichash_update(&state, answerer, 32);
	crypto_generichash_update(&state, gate->cluster.bytes, sizeof(gate->cluster.bytes));
	crypto_generichash_final(&state, root, 64);
	sodium_memzero(shared, sizeof(shared));
	return 0;
}

static void answer_key_of(const uint8_t root[64], uint8_t key[32])
{
	crypto_generichash_state state;

	hash_init(&state, "answer", root, 64, 32);
	crypto_generichash_final(&state, key, 32);
}

static void session_key_of(const uint8_t root[64], const uint8_t answer[HASH_BYTES], uint8_t which,
			   struct session_key *key)
{
	uint8_t bytes[sizeof(key->key) + sizeof(key->salt)];
	crypto_generichash_state state;

	hash_init(&state, "keys", root, 64, sizeof(bytes));
	crypto_generichash_update(&state, &which, sizeof(which));
	crypto_generichash_update(&state, answer, HASH_BYTES);
	crypto_generichash_final(&state, bytes, sizeof(bytes));
	memcpy(key->key, bytes, sizeof(key->key));
	memcpy(key->salt, bytes + sizeof(key->key), sizeof(key->salt));
	sodium_memzero(bytes, sizeof(bytes));
}

/* `answer` is the hash of all that the answer says, so the keys are those of these two messages and no others. */
static void session_keys(struct session *session, const uint8_t root[64],
			 const uint8_t answer[HASH_BYTES])
{
	for (int plane = 0; plane < PLANES; plane++) {
		struct session_key *begun =
			session->begun_here ? &session->seal[plane] : &session->open[plane];
		struct session_key *answered =
			session->begun_here ? &session->open[plane] : &session->seal[plane];

		session_key_of(root, answer, (uint8_t)(2 * plane), begun);
		session_key_of(root, answer, (uint8_t)(2 * plane + 1), answered);
	}
}

/* ---- HANDSHAKE --------------------------------------------------------------------------------------------------- */

/* The cluster is part of what is signed and hashed, although the message does not spell it out. */
static void transcript(const char *about, const struct gate *gate, const uint8_t *before,
		       const uint8_t *bytes, size_t nr, uint8_t hash[HASH_BYTES])
{
	crypto_generichash_state state;

	hash_init(&state, about, NULL, 0, HASH_BYTES);
	crypto_generichash_update(&state, gate->cluster.bytes, sizeof(gate->cluster.bytes));
	if (before)
		crypto_generichash_update(&state, before, HASH_BYTES);
	crypto_generichash_update(&state, bytes, nr);
	crypto_generichash_final(&state, hash, HASH_BYTES);
}

static void put_certificate(struct writer *writer, const struct certificate *certificate)
{
	put_slice(writer, (struct slice){certificate->bytes, certificate->nr});
}

size_t handshake_begin(struct handshake *handshake, const struct gate *gate,
		       const struct randomness *random, const struct handshake_self *self,
		       uint32_t target, uint64_t stamp, uint8_t packet[HANDSHAKE_MAX])
{
	uint8_t *plain = packet + GATE_HEAD + NONCE_BYTES, ephemeral[32],
		signature[SIGNATURE_BYTES];
	struct writer writer;

	random->fill(random->data, handshake->secret, sizeof(handshake->secret));
	crypto_scalarmult_base(ephemeral, handshake->secret);

	packet_begin(&writer, plain, HANDSHAKE_MAX - GATE_BYTES);
	put_u32(&writer, handshake->index);
	put_bytes(&writer, ephemeral, sizeof(ephemeral));
	put_u32(&writer, target);
	put_u64(&writer, stamp);
	put_u64(&writer, self->identity->charter.version);
	put_text(&writer, self->address);
	put_certificate(&writer, &self->identity->certificate);

	transcript("handshake", gate, NULL, plain, writer_used(&writer), handshake->hash);
	signature_make(SIGNED_HANDSHAKE, handshake->hash, HASH_BYTES, &self->identity->secret,
		       signature);
	put_bytes(&writer, signature, sizeof(signature));
	return gate_seal(gate, SECURE_HANDSHAKE, random, packet, writer_used(&writer));
}

/* Splits off the signature at the end. */
static int take_signature(struct reader *plain, struct reader *fields,
			  uint8_t signature[SIGNATURE_BYTES])
{
	size_t nr = reader_left(plain);

	if (nr < SIGNATURE_BYTES)
		return -EBADMSG;
	memcpy(signature, plain->at + nr - SIGNATURE_BYTES, SIGNATURE_BYTES);
	return packet_open(fields, plain->at, nr - SIGNATURE_BYTES);
}

static int get_certificate(struct reader *fields, struct certificate *certificate)
{
	struct slice bytes;

	get_slice(fields, &bytes);
	return fields->bad ? -EBADMSG : certificate_read(certificate, bytes.bytes, bytes.nr);
}

int handshake_read(struct handshake_offer *offer, const struct gate *gate, struct reader *plain)
{
	struct reader fields;

	if (take_signature(plain, &fields, offer->signature) < 0)
		return -EBADMSG;
	get_u32(&fields, &offer->index);
	get_bytes(&fields, offer->ephemeral, sizeof(offer->ephemeral));
	get_u32(&fields, &offer->target);
	get_u64(&fields, &offer->stamp);
	get_u64(&fields, &offer->charter);
	get_text(&fields, offer->address);
	if (get_certificate(&fields, &offer->certificate) < 0)
		return -EBADMSG;
	transcript("handshake", gate, NULL, plain->at, reader_left(plain) - SIGNATURE_BYTES,
		   offer->hash);
	return 0;
}

static bool same_certificate(const struct certificate *a, const struct certificate *b)
{
	return a->nr == b->nr && memcmp(a->bytes, b->bytes, a->nr) == 0;
}

static int verify_certificate(const struct certificate *certificate,
			      const struct certificate *known)
{
	struct certificate opened;

	if (known && same_certificate(known, certificate))
		return 0;
	return certificate_open(&opened, certificate->bytes, certificate->nr);
}

int handshake_verify(const struct handshake_offer *offer, const struct certificate *known)
{
	int r = verify_certificate(&offer->certificate, known);

	if (r < 0)
		return r;
	return signature_right(SIGNED_HANDSHAKE, offer->hash, HASH_BYTES, &offer->certificate.key,
			       offer->signature)
		       ? 0
		       : -EBADE;
}

/* ---- ANSWER ------------------------------------------------------------------------------------------------------ */

static const uint8_t no_nonce[NONCE_BYTES]; /* each key seals one answer */

int handshake_reply(const struct handshake_offer *offer, const struct gate *gate,
		    const struct randomness *random, const struct handshake_self *self,
		    struct session *session, uint8_t packet[HANDSHAKE_MAX])
{
	uint8_t *plain = packet + GATE_HEAD + NONCE_BYTES, *sealed;
	uint8_t secret[32], ephemeral[32], root[64], key[32], before[HASH_BYTES], hash[HASH_BYTES];
	uint8_t signature[SIGNATURE_BYTES];
	struct writer writer, inner;
	unsigned long long nr;
	int r;

	random->fill(random->data, secret, sizeof(secret));
	crypto_scalarmult_base(ephemeral, secret);
	r = root_of(secret, offer->ephemeral, offer->hash, ephemeral, gate, root);
	sodium_memzero(secret, sizeof(secret));
	if (r < 0)
		return r;

	packet_begin(&writer, plain, HANDSHAKE_MAX - GATE_BYTES - SESSION_MAC);
	put_u32(&writer, offer->index);
	put_bytes(&writer, ephemeral, sizeof(ephemeral));
	sealed = writer.at;

	packet_begin(&inner, sealed, (size_t)(writer.end - sealed));
	put_u32(&inner, session->ours);
	put_u32(&inner, self->life);
	put_u64(&inner, self->identity->charter.version);
	put_text(&inner, self->address);
	put_certificate(&inner, &self->identity->certificate);
	transcript("ephemeral", gate, offer->hash, ephemeral, sizeof(ephemeral), before);
	transcript("answer", gate, before, sealed, writer_used(&inner), hash);
	signature_make(SIGNED_ANSWER, hash, HASH_BYTES, &self->identity->secret, signature);
	put_bytes(&inner, signature, sizeof(signature));

	session->theirs = offer->index;
	session->tag = gate->tag;
	session->begun_here = false;
	session_keys(session, root, hash);
	answer_key_of(root, key);
	crypto_aead_xchacha20poly1305_ietf_encrypt(sealed, &nr, sealed, writer_used(&inner), NULL,
						   0, NULL, no_nonce, key);
	sodium_memzero(root, sizeof(root));
	sodium_memzero(key, sizeof(key));
	return (int)gate_seal(gate, SECURE_ANSWER, random, packet,
			      (size_t)(sealed - plain) + (size_t)nr);
}

int handshake_answer_index(const struct reader *plain, uint32_t *index)
{
	struct reader fields;

	if (packet_open(&fields, plain->at, reader_left(plain)) < 0)
		return -EBADMSG;
	get_u32(&fields, index);
	return fields.bad ? -EBADMSG : 0;
}

static int read_answer(const uint8_t *bytes, size_t nr, struct handshake_answer *answer,
		       uint32_t *index, uint8_t signature[SIGNATURE_BYTES])
{
	struct reader plain, fields;

	reader_init(&plain, bytes, nr);
	if (take_signature(&plain, &fields, signature) < 0)
		return -EBADMSG;
	get_u32(&fields, index);
	get_u32(&fields, &answer->life);
	get_u64(&fields, &answer->charter);
	get_text(&fields, answer->address);
	return get_certificate(&fields, &answer->certificate);
}

int handshake_finish(const struct handshake *handshake, const struct gate *gate,
		     struct reader *plain, struct session *session, struct handshake_answer *answer)
{
	uint8_t ephemeral[32], root[64], key[32], before[HASH_BYTES], hash[HASH_BYTES];
	uint8_t inner[HANDSHAKE_MAX], signature[SIGNATURE_BYTES];
	unsigned long long nr = 0;
	struct reader fields;
	uint32_t index;
	size_t left;
	int r;

	if (packet_open(&fields, plain->at, reader_left(plain)) < 0)
		return -EBADMSG;
	get_u32(&fields, &index);
	get_bytes(&fields, ephemeral, sizeof(ephemeral));
	left = reader_left(&fields);
	if (fields.bad || left < SESSION_MAC || left > sizeof(inner))
		return -EBADMSG;
	r = root_of(handshake->secret, ephemeral, handshake->hash, ephemeral, gate, root);
	if (r < 0)
		return r;
	answer_key_of(root, key);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(inner, &nr, NULL, fields.at, left, NULL, 0,
						       no_nonce, key))
		r = -EBADMSG;
	if (r == 0)
		r = read_answer(inner, (size_t)nr, answer, &session->theirs, signature);
	if (r == 0) {
		transcript("ephemeral", gate, handshake->hash, ephemeral, sizeof(ephemeral),
			   before);
		transcript("answer", gate, before, inner, (size_t)nr - SIGNATURE_BYTES, hash);
		session->ours = handshake->index;
		session->tag = gate->tag;
		session->begun_here = true;
		session_keys(session, root, hash);
		r = verify_certificate(&answer->certificate, NULL);
	}
	if (r == 0 &&
	    !signature_right(SIGNED_ANSWER, hash, HASH_BYTES, &answer->certificate.key, signature))
		r = -EBADE;
	sodium_memzero(root, sizeof(root));
	sodium_memzero(key, sizeof(key));
	return r;
}
