// SPDX-License-Identifier: GPL-2.0
/*
 * A host, and what a stranger, a member and a member with a session may send to it. The input is a row of steps: u8 what,
 * u16 length, bytes. Signatures count as right when their first byte is even.
 *
 * What must hold: nobody who has no session is heard; messages are no longer than they may be; a host that is not
 * revoked can still make a session afterwards.
 */
#include "secure_world.h"
#include "sync/secure/signature.h"

#define HEAD	 (GATE_BYTES - SESSION_MAC)
#define NEWCOMER 23

bool __wrap_signature_right(enum signed_thing thing, const void *bytes, size_t nr,
			    const struct public_key *key, const uint8_t signature[SIGNATURE_BYTES]);
bool __real_signature_right(enum signed_thing thing, const void *bytes, size_t nr,
			    const struct public_key *key, const uint8_t signature[SIGNATURE_BYTES]);

static bool fuzzing;

bool __wrap_signature_right(enum signed_thing thing, const void *bytes, size_t nr,
			    const struct public_key *key, const uint8_t signature[SIGNATURE_BYTES])
{
	return fuzzing ? signature[0] % 2 == 0
		       : __real_signature_right(thing, bytes, nr, key, signature);
}

/* What the input may be as. */
enum step {
	RAW,	       /* bytes of the datagram plane */
	RAW_FRAME,     /* of the bulk plane */
	HANDSHAKE,     /* inside the gate */
	ANSWER,	       /* the same */
	SEALED,	       /* in the session of host 1 */
	SEALED_FRAME,  /* the same */
	CHANGED,       /* a true message with a byte changed: u16 where, u8 how */
	CHANGED_FRAME, /* the same */
	TIME,	       /* u16 milliseconds */
	SPEAK,	       /* the host itself says something */
	STEPS,
};

/* The session that host 1 has with host 2: the fuzzer speaks as host 1. */
static struct session liar;

static void make_session(void)
{
	const struct randomness random = {NULL, world_random};
	struct identity *identity = world.hosts[1].identity;
	struct handshake_self self = {identity, 1, world.hosts[1].address};
	struct handshake handshake = {.index = 0x1234};
	struct handshake_answer said;
	uint8_t packet[HANDSHAKE_MAX];
	struct letter *letter;
	struct reader plain;
	size_t nr;

	nr = handshake_begin(&handshake, channels_gate(world.hosts[2].channels), &random, &self, 2,
			     1ULL << 32 | 1, packet);
	channels_receive(world.hosts[2].channels, world.now, packet, nr);
	letter = take_letter();
	if (!letter || gate_open(channels_gate(world.hosts[2].channels), letter->bytes, letter->nr,
				 &plain) < 0)
		abort();
	memset(&liar, 0, sizeof(liar));
	if (handshake_finish(&handshake, channels_gate(world.hosts[2].channels), &plain, &liar,
			     &said) < 0)
		abort();
	free(letter);
}

static void send_sealed(enum plane plane, const uint8_t *bytes, size_t nr)
{
	static uint8_t packet[CHANNEL_FRAME_MAX + 64];

	if (nr > CHANNEL_FRAME_MAX - SESSION_HEAD - SESSION_MAC)
		return;
	memcpy(packet + SESSION_HEAD, bytes, nr);
	nr = session_seal(&liar, plane, packet, nr);
	if (plane == PLANE_BULK)
		channels_receive_frame(world.hosts[2].channels, world.now, packet, nr);
	else
		channels_receive(world.hosts[2].channels, world.now, packet, nr);
}

static void send_gated(enum secure_type type, const uint8_t *bytes, size_t nr)
{
	static uint8_t packet[UINT16_MAX + GATE_BYTES];

	memcpy(packet + HEAD, bytes, nr);
	nr = channels_gate_seal(world.hosts[2].channels, type, packet, nr);
	channels_receive(world.hosts[2].channels, world.now, packet, nr);
}

static void send_changed(enum plane plane, const uint8_t *bytes, size_t nr)
{
	uint8_t packet[256] = {0};
	size_t at;

	if (nr < 3)
		return;
	packet[SESSION_HEAD] = 1;
	nr = session_seal(&liar, plane, packet, 40);
	at = (bytes[0] | (size_t)bytes[1] << 8) % nr;
	packet[at] ^= bytes[2];
	if (plane == PLANE_BULK)
		channels_receive_frame(world.hosts[2].channels, world.now, packet, nr);
	else
		channels_receive(world.hosts[2].channels, world.now, packet, nr);
}

static void send_raw(enum plane plane, const uint8_t *bytes, size_t nr)
{
	uint8_t *copy = malloc(nr + !nr);

	if (!copy)
		abort();
	memcpy(copy, bytes, nr);
	if (plane == PLANE_BULK)
		channels_receive_frame(world.hosts[2].channels, world.now, copy, nr);
	else
		channels_receive(world.hosts[2].channels, world.now, copy, nr);
	free(copy);
}

static void step(uint8_t what, const uint8_t *bytes, size_t nr)
{
	uint64_t heard = world.hosts[2].datagrams + world.hosts[2].frames;

	switch (what % STEPS) {
	case RAW:
	case RAW_FRAME:
		send_raw(what % STEPS == RAW_FRAME ? PLANE_BULK : PLANE_DATAGRAM, bytes, nr);
		if (world.hosts[2].datagrams + world.hosts[2].frames != heard)
			abort();
		break;
	case HANDSHAKE:
	case ANSWER:
		send_gated(what % STEPS == ANSWER ? SECURE_ANSWER : SECURE_HANDSHAKE, bytes, nr);
		if (world.hosts[2].datagrams + world.hosts[2].frames != heard)
			abort();
		break;
	case SEALED:
		send_sealed(PLANE_DATAGRAM, bytes, nr);
		break;
	case SEALED_FRAME:
		send_sealed(PLANE_BULK, bytes, nr);
		break;
	case CHANGED:
		send_changed(PLANE_DATAGRAM, bytes, nr);
		break;
	case CHANGED_FRAME:
		send_changed(PLANE_BULK, bytes, nr);
		break;
	case TIME:
		world.now += nr > 1 ? bytes[0] | bytes[1] << 8 : 1;
		channels_tick(world.hosts[2].channels, world.now);
		break;
	case SPEAK:
		send_number(2, nr ? bytes[0] : 1, 1);
		push_number(2, nr ? bytes[0] : 1, 1);
		break;
	}
	if (world.hosts[2].from > HOST_ID_MAX)
		abort();
	while (world.nr) {
		struct letter *letter = take_letter();

		free(letter);
	}
}

/* A host that was never heard of gets through, whatever happened: unless the input has made a charter or a certificate of
 * that host, which the even signatures allow. */
static void still_works(void)
{
	struct channel_info info;

	if (channels_counters(world.hosts[2].channels)->charters_followed ||
	    channels_info(world.hosts[2].channels, NEWCOMER, &info))
		return;
	host_add(NEWCOMER, &world.cluster);
	channels_peer(world.hosts[NEWCOMER].channels, 2, world.hosts[2].address);
	world.hosts[2].datagrams = 0;
	for (int i = 0; i < 40 && !world.hosts[2].datagrams; i++) {
		send_number(NEWCOMER, 2, 1);
		run_world(500);
	}
	if (!world.hosts[2].datagrams)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr)
{
	static struct test_cluster cluster;

	/* The same keys for all inputs; making them costs. */
	if (!cluster.serials) {
		test_cluster_make(&cluster, 1);
		cluster.serials = 1;
	}
	world_begin_in(&cluster, 7, 2);
	host_stop(1);
	make_session();
	fuzzing = true;
	while (nr > 3) {
		size_t length = bytes[1] | (size_t)bytes[2] << 8;
		uint8_t what = bytes[0];

		bytes += 3;
		nr -= 3;
		length = length < nr ? length : nr;
		step(what, bytes, length);
		bytes += length;
		nr -= length;
	}
	fuzzing = false;
	still_works();
	world_end();
	return 0;
}
