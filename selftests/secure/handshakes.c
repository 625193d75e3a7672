// SPDX-License-Identifier: GPL-2.0
/*
 * Handshakes as somebody makes them who knows a cluster's secret name, and a member's certificate, but has no key: all of
 * them have to be looked at closely to be refused.
 *
 *	handshakes FOLDER N	FOLDER: of the member in whose name every other one is; the rest are of hosts that nobody knows
 *
 * Each goes to standard output behind its length (u16, little-endian). selftests/netns/stranger.py sends them.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/secure/handshake.h"

#define NEWCOMERS 100000 /* ids from here on are of nobody */

static void fill(void *data, void *bytes, size_t nr)
{
	(void)data;
	randombytes_buf(bytes, nr);
}

/* One that is well formed and names a CA key that is trusted, which never saw it. */
static void make_up(struct certificate *certificate, const struct certificate *member,
		    uint32_t host)
{
	struct secret_key ca;
	struct public_key liar;
	uint8_t *named;

	secret_key_make(&ca);
	liar = secret_key_public(&ca);
	*certificate = *member;
	certificate->host = host;
	if (certificate_sign(certificate, &ca) < 0)
		abort();
	named = memmem(certificate->bytes, certificate->nr, liar.bytes, sizeof(liar.bytes));
	if (!named)
		abort();
	memcpy(named, member->issuer.bytes, sizeof(member->issuer.bytes));
}

int main(int argc, char **argv)
{
	const struct randomness random = {NULL, fill};
	struct identity *identity = NULL;
	struct certificate member;
	struct gate gate;

	if (argc != 3) {
		fputs("usage: handshakes FOLDER N\n", stderr);
		return 2;
	}
	if (sodium_init() < 0 || identity_load(argv[1], &identity) < 0) {
		fprintf(stderr, "handshakes: %s is no member's folder\n", argv[1]);
		return EXIT_FAILURE;
	}
	member = identity->certificate;
	gate_init(&gate, &identity->charter.cluster);
	for (uint32_t i = 0; i < (uint32_t)atoi(argv[2]); i++) {
		struct handshake_self self = {identity, 1, "10.99.0.4:7472"};
		struct handshake handshake = {.index = i + 1};
		uint8_t packet[HANDSHAKE_MAX];
		uint8_t length[2];
		size_t nr;

		secret_key_make(&identity->secret);
		identity->certificate = member;
		if (i % 2)
			make_up(&identity->certificate, &member, NEWCOMERS + i);
		nr = handshake_begin(&handshake, &gate, &random, &self, 0, UINT64_MAX - i, packet);
		length[0] = (uint8_t)nr;
		length[1] = (uint8_t)(nr >> 8);
		fwrite(length, sizeof(length), 1, stdout);
		fwrite(packet, nr, 1, stdout);
	}
	identity_free(identity);
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
