// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <sodium.h>

#include "sync/secure/session.h"

_Static_assert(SESSION_MAC == crypto_aead_xchacha20poly1305_ietf_ABYTES, "the seal's length");
_Static_assert(sizeof((struct session_key){}.key) == crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
	       "the key's length");

#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define REPLAY_BITS (REPLAY_WORDS * 64)

static void nonce_of(const struct session_key *key, uint64_t counter, uint8_t nonce[NONCE_BYTES])
{
	memcpy(nonce, key->salt, sizeof(key->salt));
	memcpy(nonce + sizeof(key->salt), &counter, sizeof(counter));
}

size_t session_seal(struct session *session, enum plane plane, uint8_t *packet, size_t nr)
{
	const struct session_key *key = &session->seal[plane];
	uint64_t counter = ++session->sent[plane];
	uint8_t nonce[NONCE_BYTES];
	struct writer head;

	writer_init(&head, packet, SESSION_HEAD);
	put_u8(&head, plane == PLANE_BULK ? SECURE_FRAME : SECURE_DATAGRAM);
	put_u8(&head, SESSION_VERSION);
	put_u16(&head, session->tag);
	put_u32(&head, session->theirs);
	put_u64(&head, counter);
	nonce_of(key, counter, nonce);
	crypto_aead_xchacha20poly1305_ietf_encrypt(packet + SESSION_HEAD, NULL,
						   packet + SESSION_HEAD, nr, packet, SESSION_HEAD,
						   NULL, nonce, key->key);
	return SESSION_HEAD + nr + SESSION_MAC;
}

int session_head_read(struct session_head *head, const void *packet, size_t nr)
{
	struct reader reader;

	reader_init(&reader, packet, nr);
	get_u8(&reader, &head->type);
	get_u8(&reader, &head->version);
	get_u16(&reader, &head->tag);
	get_u32(&reader, &head->index);
	get_u64(&reader, &head->counter);
	return reader.bad || reader_left(&reader) < SESSION_MAC ? -EMSGSIZE : 0;
}

/* The window is a ring of bits (RFC 6479): bit `counter % REPLAY_BITS` says that it was here. */
static bool seen_before(const struct session *session, enum plane plane, uint64_t counter)
{
	uint64_t highest = session->highest[plane];

	if (counter > highest)
		return false;
	if (plane == PLANE_BULK || highest - counter >= REPLAY_BITS - 64 || counter == 0)
		return true;
	return session->window[counter / 64 % REPLAY_WORDS] >> counter % 64 & 1;
}

static void remember(struct session *session, enum plane plane, uint64_t counter)
{
	if (plane == PLANE_DATAGRAM) {
		uint64_t from = session->highest[plane] / 64, to = counter / 64;

		/* Words that the window moves into hold bits of long ago. */
		for (uint64_t word = from + 1; word <= to && word <= from + REPLAY_WORDS; word++)
			session->window[word % REPLAY_WORDS] = 0;
		session->window[to % REPLAY_WORDS] |= 1ULL << counter % 64;
	}
	if (counter > session->highest[plane])
		session->highest[plane] = counter;
}

int session_open(struct session *session, enum plane plane, uint8_t *packet, size_t nr)
{
	const struct session_key *key = &session->open[plane];
	uint8_t nonce[NONCE_BYTES];
	struct session_head head;
	unsigned long long opened;

	if (session_head_read(&head, packet, nr) < 0)
		return -EBADMSG;
	/* Asked before the seal is looked at: a replay costs nothing. Remembered after it: a forgery changes nothing. */
	if (seen_before(session, plane, head.counter))
		return -EALREADY;
	nonce_of(key, head.counter, nonce);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(packet + SESSION_HEAD, &opened, NULL,
						       packet + SESSION_HEAD, nr - SESSION_HEAD,
						       packet, SESSION_HEAD, nonce, key->key))
		return -EBADMSG;
	remember(session, plane, head.counter);
	return (int)opened;
}
