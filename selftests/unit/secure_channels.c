// SPDX-License-Identifier: GPL-2.0
/* Sealed channels: what gets through, and everything that must not. */
#include <errno.h>
#include <time.h>

#include "check.h"
#include "secure_world.h"
#include "sync/secure/signature.h"
#include "util.h"

#define A (&world.hosts[1])
#define B (&world.hosts[2])

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The next message under way, kept; the network is empty then. */
static struct letter *catch_one(void)
{
	struct letter *letter = take_letter();

	if (!letter)
		abort();
	letter->next = NULL;
	return letter;
}

static struct letter *catch_datagram(void)
{
	send_number(1, 2, 77);
	return catch_one();
}

static struct letter *catch_frame(void)
{
	if (push_number(1, 2, 0) < 0)
		abort();
	return catch_one();
}

/* ---- The right way ----------------------------------------------------------------------------------------------- */

static void test_sessions(void)
{
	TEST("a first message finds its host by a seed's address, in one round trip")
	{
		world_begin(1, 2);
		channels_send_seed(A->channels, B->address, "12345678", 8);
		run_world(1);
		CHECK(B->datagrams == 1 && B->from == 1);
		CHECK(COUNTER(1, sessions) == 1 && COUNTER(2, sessions) == 1);
		send_number(2, 1, 5);
		run_world(1);
		CHECK(A->datagrams == 1 && A->from == 2);
		CHECK(COUNTER(2, handshakes_begun) == 0);
		CHECK(refusals(1) == 0 && refusals(2) == 0);
		world_end();
	}
	TEST("two that begin at the same time both get through")
	{
		world_begin(2, 2);
		channels_peer(A->channels, 2, B->address);
		channels_peer(B->channels, 1, A->address);
		for (uint64_t i = 0; i < 20; i++) {
			send_number(1, 2, i);
			send_number(2, 1, i);
			run_world(1);
		}
		CHECK(A->datagrams == 20 && B->datagrams == 20);
		CHECK(A->disorder == 0 && B->disorder == 0);
		world_end();
	}
	TEST("an answer that has no way yet goes when there is one")
	{
		world_begin(3, 2);
		channels_peer(A->channels, 2, B->address);
		send_number(1, 2, 0);
		world.no_way = true;
		run_world(10);
		world.no_way = false;
		CHECK(B->datagrams == 0);
		channels_way_open(B->channels, A->address, 1, 1);
		run_world(5);
		CHECK(B->datagrams == 1);
		world_end();
	}
	TEST("nothing can be read on the wire")
	{
		static const char secret[] = "the text that nobody may see";
		struct letter *letter;
		bool seen = false;

		world_begin(4, 2);
		channels_peer(A->channels, 2, B->address);
		channels_send(A->channels, 2, secret, sizeof(secret));
		while ((letter = take_letter())) {
			seen |= memmem(letter->bytes, letter->nr, secret, sizeof(secret)) != NULL;
			/* Of its name, two letters, chance would make some. */
			seen |= memmem(letter->bytes, letter->nr, A->identity->certificate.bytes,
				       A->identity->certificate.nr) != NULL;
			seen |= memmem(letter->bytes, letter->nr, &A->identity->certificate.key,
				       KEY_BYTES) != NULL;
			hand_over(letter);
			free(letter);
		}
		CHECK(B->datagrams == 1);
		CHECK(!seen);
		world_end();
	}
}

/* ---- Replayed, changed, cut -------------------------------------------------------------------------------------- */

static void test_replays(void)
{
	TEST("a datagram and a frame are taken once")
	{
		struct letter *datagram, *frame;

		world_begin(10, 2);
		meet(1, 2);
		datagram = catch_datagram();
		frame = catch_frame();
		B->datagrams = 0;
		for (int i = 0; i < 3; i++) {
			hand_over(datagram);
			hand_over(frame);
		}
		CHECK(B->datagrams == 1 && B->frames == 1);
		CHECK(COUNTER(2, replayed) == 4);
		free(datagram);
		free(frame);
		world_end();
	}
	TEST("datagrams may overtake each other, within the window")
	{
		struct letter *old, *letters[40];

		world_begin(11, 2);
		meet(1, 2);
		B->datagrams = 0;
		old = catch_datagram();
		for (size_t i = 0; i < ARRAY_SIZE(letters); i++)
			letters[i] = catch_datagram();
		for (size_t i = ARRAY_SIZE(letters); i-- > 0;) {
			hand_over(letters[i]);
			hand_over(letters[i]);
			free(letters[i]);
		}
		CHECK(B->datagrams == ARRAY_SIZE(letters));
		CHECK(COUNTER(2, replayed) == ARRAY_SIZE(letters));
		for (int i = 0; i < 1100; i++) {
			struct letter *letter = catch_datagram();

			hand_over(letter);
			free(letter);
		}
		hand_over(old);
		CHECK(B->datagrams == ARRAY_SIZE(letters) + 1100);
		free(old);
		world_end();
	}
	TEST("a handshake that is said again makes no session and changes none")
	{
		struct letter *handshake, *reply;
		uint64_t sessions;

		world_begin(12, 2);
		channels_peer(A->channels, 2, B->address);
		send_number(1, 2, 0);
		handshake = catch_one();
		hand_over(handshake);
		reply = catch_one();
		hand_over(reply);
		run_world(10);
		sessions = COUNTER(2, sessions);
		hand_over(handshake);
		hand_over(reply);
		CHECK(COUNTER(2, stale_handshakes) == 1);
		CHECK(COUNTER(1, unasked) == 1);
		CHECK(world.nr == 0);
		/* One that has lost its memory answers, but the answer is of no use to anybody. */
		host_stop(2);
		host_start(2);
		hand_over(handshake);
		run_world(100);
		CHECK(COUNTER(2, sessions) == 0 && sessions == 1);
		CHECK(COUNTER(1, unasked) == 2);
		free(handshake);
		free(reply);
		world_end();
	}
}

/* Each byte changed in a way of its own, each length that is too short, and one byte too many. The true one still works. */
static bool withstands(struct letter *letter, uint32_t at)
{
	uint64_t before = refusals(at), changes = 0, datagrams = B->datagrams, frames = B->frames;
	uint64_t sessions = COUNTER(at, sessions);
	struct letter *longer = malloc(sizeof(*longer) + letter->nr + 1);
	size_t nr = letter->nr;

	for (size_t i = 0; i < nr; i++) {
		uint8_t flip = (uint8_t)(1U << world_number() % 8);

		letter->bytes[i] ^= flip;
		hand_over(letter);
		letter->bytes[i] ^= flip;
		changes++;
	}
	for (letter->nr = 0; letter->nr < nr; letter->nr++) {
		hand_over(letter);
		changes++;
	}
	memcpy(longer, letter, sizeof(*letter) + nr);
	longer->bytes[nr] = 0;
	longer->nr = nr + 1;
	hand_over(longer);
	changes++;
	free(longer);
	return refusals(at) == before + changes && B->datagrams == datagrams &&
	       B->frames == frames && COUNTER(at, sessions) == sessions && world.nr == 0;
}

static void test_changes(void)
{
	TEST("a datagram with one bit changed, cut or longer is dropped and counted")
	{
		struct letter *letter;

		world_begin(20, 2);
		meet(1, 2);
		letter = catch_datagram();
		CHECK(withstands(letter, 2));
		hand_over(letter);
		CHECK(B->datagrams == 2);
		free(letter);
		world_end();
	}
	TEST("so is a frame")
	{
		struct letter *letter;

		world_begin(21, 2);
		meet(1, 2);
		letter = catch_frame();
		CHECK(withstands(letter, 2));
		hand_over(letter);
		CHECK(B->frames == 1);
		free(letter);
		world_end();
	}
	TEST("so is a handshake, and an answer")
	{
		struct letter *letter;

		world_begin(22, 2);
		channels_peer(A->channels, 2, B->address);
		send_number(1, 2, 0);
		letter = catch_one();
		CHECK(withstands(letter, 2));
		hand_over(letter);
		free(letter);
		letter = catch_one();
		CHECK(withstands(letter, 1));
		hand_over(letter);
		free(letter);
		run_world(10);
		CHECK(B->datagrams == 1);
		world_end();
	}
	TEST("messages longer than any may be are dropped unseen")
	{
		static uint8_t large[CHANNEL_FRAME_MAX + 1];

		world_begin(23, 2);
		large[0] = SECURE_DATAGRAM;
		large[1] = SESSION_VERSION;
		channels_receive(B->channels, world.now, large, CHANNEL_PACKET_MAX + 1);
		channels_receive_frame(B->channels, world.now, large, sizeof(large));
		CHECK(COUNTER(2, oversized) == 2);
		channels_send(A->channels, 2, large, WIRE_DATAGRAM + 1);
		CHECK(COUNTER(1, oversized) == 1);
		CHECK(channels_bulk(A->channels, 2, large, WIRE_FRAME + 1) == -EMSGSIZE);
		world_end();
	}
	TEST("the largest that may be do get through")
	{
		static uint8_t large[WIRE_FRAME];

		world_begin(24, 2);
		meet(1, 2);
		channels_send(A->channels, 2, large, WIRE_DATAGRAM);
		CHECK(channels_bulk(A->channels, 2, large, WIRE_FRAME) == 0);
		run_world(5);
		CHECK(B->datagrams == 2 && B->frames == 1);
		world_end();
	}
}

/* ---- Strangers --------------------------------------------------------------------------------------------------- */

static bool stays_out(uint32_t stranger)
{
	uint64_t datagrams = B->datagrams, sessions = COUNTER(2, sessions);

	channels_peer(world.hosts[stranger].channels, 2, B->address);
	for (int i = 0; i < 5; i++) {
		send_number(stranger, 2, 1);
		run_world(400);
	}
	return B->datagrams == datagrams && COUNTER(2, sessions) == sessions &&
	       COUNTER(stranger, sessions) == 0;
}

static void test_strangers(void)
{
	struct test_cluster other;

	TEST("a host of another cluster")
	{
		world_begin(30, 2);
		test_cluster_make(&other, 2);
		host_add(3, &other);
		CHECK(stays_out(3));
		CHECK(COUNTER(2, wrong_cluster) > 0);
		world_end();
	}
	TEST("a host whose certificate another CA has signed, of a cluster of the same id")
	{
		world_begin(31, 2);
		test_cluster_make(&other, 1);
		host_add(3, &other);
		CHECK(stays_out(3));
		CHECK(COUNTER(2, bad_certificate) > 0);
		world_end();
	}
	TEST("one that has the certificate of a member, but not its key")
	{
		world_begin(32, 2);
		host_add(3, &world.cluster);
		host_stop(3);
		world.hosts[3].identity->certificate = A->identity->certificate;
		host_start(3);
		host_stop(1);
		CHECK(stays_out(3));
		CHECK(COUNTER(2, bad_signature) > 0);
		world_end();
	}
	TEST("one that has changed its certificate")
	{
		world_begin(33, 2);
		host_add(3, &world.cluster);
		host_stop(3);
		world.hosts[3].identity->certificate.bytes[30] ^= 1;
		host_start(3);
		CHECK(stays_out(3));
		CHECK(COUNTER(2, bad_certificate) + COUNTER(2, malformed) > 0);
		world_end();
	}
	TEST("a member in the place of another one is not taken for it")
	{
		world_begin(34, 3);
		channels_peer(A->channels, 2, world.hosts[3].address);
		send_number(1, 2, 1);
		run_world(3000);
		CHECK(world.hosts[3].datagrams == 0);
		CHECK(COUNTER(3, misdirected) > 0);
		world_end();
	}
	TEST("the own address is no other host")
	{
		world_begin(35, 1);
		channels_send_seed(A->channels, A->address, "12345678", 8);
		run_world(1000);
		CHECK(COUNTER(1, handshakes_begun) == 0);
		world_end();
	}
	TEST("of a host's certificates the former one is no good any more")
	{
		struct identity *old;

		world_begin(36, 2);
		old = test_identity_copy(A->identity);
		test_certify(&world.cluster, A->identity, 1);
		host_stop(1);
		host_start(1);
		meet(1, 2);
		host_stop(1);
		identity_free(A->identity);
		A->identity = old;
		host_start(1);
		CHECK(stays_out(1));
		CHECK(COUNTER(2, revoked) > 0);
		world_end();
	}
}

/* ---- Charter ----------------------------------------------------------------------------------------------------- */

static void give_charter(uint32_t id)
{
	test_cluster_sign(&world.cluster);
	CHECK(channels_charter(world.hosts[id].channels, world.cluster.charter.bytes,
			       world.cluster.charter.nr) == 0);
}

static void test_charter(void)
{
	TEST("a revocation cuts off at once, reaches everybody, and keeps out")
	{
		size_t told = 0;

		world_begin(40, 20);
		for (uint32_t i = 1; i <= 20; i++)
			for (uint32_t j = i + 1; j <= 20; j++)
				meet(i, j);
		charter_revoke(&world.cluster.charter, 2, REVOKED_FOR_GOOD);
		B->datagrams = 0;
		give_charter(1);
		send_number(1, 2, 1);
		run_world(2000);
		for (uint32_t i = 3; i <= 20; i++)
			told += world.hosts[i].charter == world.cluster.charter.version;
		CHECK(told == 18);
		CHECK(B->datagrams == 0);
		CHECK(B->charter == 0);
		for (uint32_t i = 1; i <= 20; i++)
			world.hosts[i].datagrams = 0;
		for (uint32_t i = 3; i <= 20; i++)
			send_number(2, i, 1);
		run_world(5000);
		for (uint32_t i = 3; i <= 20; i++)
			CHECK(world.hosts[i].datagrams == 0);
		CHECK(COUNTER(3, revoked) + COUNTER(3, no_session) > 0);
		world_end();
	}
	TEST("a host that slept hears of it from the first one it meets")
	{
		world_begin(41, 3);
		meet(1, 2);
		charter_revoke(&world.cluster.charter, 9, REVOKED_FOR_GOOD);
		give_charter(1);
		run_world(1000);
		meet(3, 2);
		CHECK(world.hosts[3].charter == world.cluster.charter.version);
		world_end();
	}
	for (uint32_t revoked = 0; revoked <= CHARTER_REVOKED; revoked += CHARTER_REVOKED) {
		TEST("a host that slept while the CA's key and all other certificates changed "
		     "comes in again")
		{
			struct secret_key keys[2];
			struct public_key key;

			world_begin(47, 3);
			host_stop(2);
			secret_key_make(&keys[0]);
			keys[1] = world.cluster.ca;
			key = secret_key_public(&keys[0]);
			charter_trust(&world.cluster.charter, &key);
			for (uint32_t host = 0; host < revoked; host++)
				charter_revoke(&world.cluster.charter, 100 + host,
					       REVOKED_FOR_GOOD);
			world.cluster.charter.version++;
			CHECK(charter_sign(&world.cluster.charter, keys, 2) == 0);
			world.cluster.ca = keys[0];
			test_certify(&world.cluster, A->identity, 1);
			host_stop(1);
			host_start(1);
			host_start(2);
			channels_peer(B->channels, 1, A->address);
			for (int i = 0; i < 10 && !A->datagrams; i++) {
				send_number(2, 1, 1);
				run_world(500);
			}
			CHECK(A->datagrams > 0);
			CHECK(B->charter == world.cluster.charter.version);
			world_end();
		}
	}
	TEST("a charter of any length gets through, also when packets are lost")
	{
		world_begin(42, 3);
		meet(1, 2);
		meet(2, 3);
		world.lose = 30;
		for (uint32_t host = 100; host < 100 + CHARTER_REVOKED; host++)
			charter_revoke(&world.cluster.charter, host, REVOKED_FOR_GOOD);
		CHECK(charter_revoke(&world.cluster.charter, 99, 1) == -ENOSPC);
		give_charter(1);
		run_world(30000);
		CHECK(B->charter == world.cluster.charter.version);
		CHECK(world.hosts[3].charter == world.cluster.charter.version);
		world_end();
	}
	TEST("a charter that no trusted key has signed is followed by nobody")
	{
		struct test_cluster other;

		world_begin(43, 2);
		meet(1, 2);
		test_cluster_make(&other, 1);
		other.charter.version = 8;
		test_cluster_sign(&other);
		CHECK(channels_charter(A->channels, other.charter.bytes, other.charter.nr) ==
		      -EKEYREJECTED);
		CHECK(COUNTER(1, charters_refused) == 1);
		CHECK(channels_charter(A->channels, world.cluster.charter.bytes,
				       world.cluster.charter.nr) == -ESTALE);
		world_end();
	}
	TEST("the CA's key changes without a message lost: new one trusted, certificates renewed, "
	     "old one retired")
	{
		struct secret_key keys[2], old = world.cluster.ca;
		struct public_key key;
		uint64_t sent = 0;

		world_begin(44, 3);
		meet(1, 2);
		meet(1, 3);
		meet(2, 3);
		old = world.cluster.ca;
		secret_key_make(&keys[0]);
		keys[1] = old;
		key = secret_key_public(&keys[0]);
		charter_trust(&world.cluster.charter, &key);
		give_charter(1);
		world.cluster.ca = keys[0];
		B->datagrams = 0;
		for (uint32_t id = 2; id <= 3; id++) {
			test_certify(&world.cluster, world.hosts[id].identity, id);
			CHECK(channels_renew(A->channels, &world.hosts[id].identity->certificate) ==
			      0);
		}
		test_certify(&world.cluster, A->identity, 1);
		CHECK(channels_identity(A->channels, test_identity_copy(A->identity)) == 0);
		for (; sent < 200; sent++) {
			send_number(3, 2, sent);
			run_world(10);
		}
		CHECK(B->renewed == B->identity->certificate.serial);
		key = secret_key_public(&old);
		CHECK(charter_distrust(&world.cluster.charter, &key) == 0);
		world.cluster.charter.version++;
		CHECK(charter_sign(&world.cluster.charter, keys, 2) == 0);
		CHECK(channels_charter(A->channels, world.cluster.charter.bytes,
				       world.cluster.charter.nr) == 0);
		for (; sent < 400; sent++) {
			send_number(3, 2, sent);
			run_world(10);
		}
		CHECK(B->charter == world.cluster.charter.version);
		CHECK(B->datagrams == sent && B->disorder == 0);
		world_end();
	}
	TEST("a host's key changes without a message lost")
	{
		uint64_t sent = 0;

		world_begin(45, 2);
		meet(1, 2);
		B->datagrams = 0;
		secret_key_make(&A->identity->secret);
		test_certify(&world.cluster, A->identity, 1);
		for (; sent < 100; sent++) {
			if (sent == 50)
				CHECK(channels_identity(A->channels,
							test_identity_copy(A->identity)) == 0);
			send_number(1, 2, sent);
			run_world(1);
		}
		CHECK(B->datagrams == sent && B->disorder == 0);
		CHECK(COUNTER(1, sessions) == 2);
		world_end();
	}
	TEST("another host's or another cluster's identity is refused")
	{
		struct test_cluster other;

		world_begin(46, 1);
		test_cluster_make(&other, 2);
		CHECK(channels_identity(A->channels, test_identity(&world.cluster, 7)) == -EINVAL);
		CHECK(channels_identity(A->channels, test_identity(&other, 1)) == -EXDEV);
		world_end();
	}
}

/* ---- New keys for old ones --------------------------------------------------------------------------------------- */

static void test_rekey(void)
{
	TEST("keys are made anew by time and by count, and nothing is lost")
	{
		uint64_t sent = 0, pushed = 0;

		world_begin(50, 2);
		host_remove(1);
		host_remove(2);
		world.rekey_ms = 3000;
		world.rekey_messages = 500;
		host_add(1, &world.cluster);
		host_add(2, &world.cluster);
		meet(1, 2);
		B->datagrams = 0;
		for (; sent < 20000; sent++) {
			send_number(1, 2, sent);
			if (sent % 3 == 0)
				send_number(2, 1, sent);
			run_world(1);
		}
		CHECK(B->datagrams == sent);
		CHECK(B->disorder <= 1);
		CHECK(COUNTER(1, sessions) > 30);
		CHECK(refusals(1) == 0 && refusals(2) == 0);
		B->next_number = B->disorder = 0;
		while (pushed < 3000) {
			if (push_number(1, 2, pushed) == 0)
				pushed++;
			else
				run_world(1);
		}
		run_world(100);
		CHECK(B->frames == pushed && B->disorder == 0);
		CHECK(COUNTER(1, frames_lost) == 0);
		world_end();
	}
	TEST("keys that are too old are refused, and forgotten")
	{
		struct letter *letter;

		world_begin(51, 2);
		meet(1, 2);
		letter = catch_datagram();
		world.now += CHANNEL_EXPIRE_MS + 1;
		B->datagrams = 0;
		hand_over(letter);
		CHECK(B->datagrams == 0);
		CHECK(COUNTER(2, expired) == 1);
		run_world(20000);
		hand_over(letter);
		CHECK(COUNTER(2, no_session) == 1);
		send_number(1, 2, 1);
		run_world(10);
		CHECK(B->datagrams == 1);
		free(letter);
		world_end();
	}
}

/* ---- Restarts and bad networks ----------------------------------------------------------------------------------- */

static void test_restarts(void)
{
	TEST("a host that restarts is spoken to in a new session, as soon as its hello is heard")
	{
		world_begin(60, 2);
		meet(1, 2);
		host_stop(2);
		host_start(2);
		B->datagrams = 0;
		channels_way_open(A->channels, B->address, 2, B->life);
		run_world(5);
		send_number(1, 2, 1);
		run_world(5);
		CHECK(B->datagrams == 1);
		world_end();
	}
	TEST("and without a hello, by its silence")
	{
		world_begin(61, 2);
		meet(1, 2);
		host_stop(2);
		host_start(2);
		B->datagrams = 0;
		for (int i = 0; i < 40; i++) {
			send_number(1, 2, 1);
			run_world(100);
		}
		CHECK(B->datagrams > 5);
		CHECK(COUNTER(2, no_session) > 0);
		world_end();
	}
	TEST("one that is gone is not called for ever")
	{
		uint64_t begun;

		world_begin(62, 2);
		channels_peer(A->channels, 2, B->address);
		host_stop(2);
		send_number(1, 2, 1);
		run_world(60000);
		begun = COUNTER(1, handshakes_begun);
		CHECK(begun > 3 && begun < 12);
		CHECK(A->silences > 0);
		run_world(60000);
		CHECK(COUNTER(1, handshakes_begun) == begun);
		host_start(2);
		world_end();
	}
	TEST("a host that lost its disk is heard again with a new certificate")
	{
		world_begin(63, 2);
		A->life = 100;
		host_stop(1);
		host_start(1);
		meet(1, 2);
		host_stop(1);
		A->life = 0;
		host_start(1);
		B->datagrams = 0;
		channels_peer(A->channels, 2, B->address);
		send_number(1, 2, 1);
		run_world(3000);
		CHECK(B->datagrams == 0 && COUNTER(2, stale_handshakes) > 0);
		host_stop(1);
		test_certify(&world.cluster, A->identity, 1);
		host_start(1);
		channels_peer(A->channels, 2, B->address);
		send_number(1, 2, 1);
		run_world(1000);
		CHECK(B->datagrams == 1);
		world_end();
	}
	TEST("with 20% lost and 10% doubled all that is repeated arrives, and nothing twice")
	{
		uint64_t most = 0;

		for (uint64_t seed = 0; seed < 20; seed++) {
			world_begin(100 + seed, 4);
			world.lose = 20;
			world.twice = 10;
			for (uint32_t i = 1; i <= 4; i++)
				for (uint32_t j = 1; j <= 4; j++)
					channels_peer(world.hosts[i].channels, j,
						      world.hosts[j].address);
			for (int step = 0; step < 200; step++) {
				for (uint32_t i = 1; i <= 4; i++)
					send_number(i, i % 4 + 1, (uint64_t)step);
				run_world(50);
			}
			for (uint32_t i = 1; i <= 4; i++) {
				CHECK(world.hosts[i].datagrams > 60);
				most = world.hosts[i].datagrams > most ? world.hosts[i].datagrams
								       : most;
			}
			world_end();
		}
		CHECK(most <= 200);
	}
}

/* ---- Frames ------------------------------------------------------------------------------------------------------ */

static void drop_letters(size_t nr)
{
	while (nr-- && world.nr)
		free(catch_one());
}

static void test_frames(void)
{
	TEST("the window holds back who sends too much, and opens again")
	{
		int sent = 0, r;

		world_begin(70, 2);
		meet(1, 2);
		while ((r = push_number(1, 2, (uint64_t)sent)) == 0)
			sent++;
		CHECK(r == -EAGAIN && sent == CHANNEL_WINDOW);
		CHECK(A->ready == 0);
		run_world(100);
		CHECK(A->ready == 1);
		CHECK(push_number(1, 2, (uint64_t)sent) == 0);
		run_world(10);
		CHECK(B->frames == CHANNEL_WINDOW + 1 && B->disorder == 0);
		world_end();
	}
	TEST("before there is a session frames wait, and who waits is told")
	{
		world_begin(71, 2);
		CHECK(push_number(1, 2, 0) == -EHOSTUNREACH);
		channels_peer(A->channels, 2, B->address);
		CHECK(push_number(1, 2, 0) == -EAGAIN);
		run_world(20);
		CHECK(A->ready == 1);
		CHECK(push_number(1, 2, 0) == 0);
		run_world(20);
		CHECK(B->frames == 1);
		world_end();
	}
	TEST("so they do while the network takes none")
	{
		world_begin(72, 2);
		meet(1, 2);
		world.no_lanes = true;
		CHECK(push_number(1, 2, 0) == -EAGAIN);
		world.no_lanes = false;
		run_world(100);
		CHECK(A->ready >= 1);
		CHECK(push_number(1, 2, 0) == 0);
		run_world(20);
		CHECK(B->frames == 1 && B->disorder == 0);
		world_end();
	}
	TEST("a connection that breaks loses frames, never changes their order, and the next go "
	     "through")
	{
		world_begin(73, 2);
		meet(1, 2);
		for (uint64_t i = 0; i < 10; i++)
			push_number(1, 2, i);
		drop_letters(4);
		run_world(200);
		CHECK(B->frames == 0);
		CHECK(COUNTER(2, frames_out_of_order) > 0);
		CHECK(COUNTER(1, frames_lost) > 0);
		for (uint64_t i = 0; i < 10; i++)
			CHECK(push_number(1, 2, i) == 0);
		run_world(200);
		CHECK(B->frames == 10 && B->disorder == 0);
		world_end();
	}
	TEST("so does one that breaks at the end")
	{
		world_begin(74, 2);
		meet(1, 2);
		for (uint64_t i = 0; i < CHANNEL_WINDOW; i++)
			push_number(1, 2, i);
		drop_letters(CHANNEL_WINDOW);
		CHECK(push_number(1, 2, 0) == -EAGAIN);
		run_world(7000);
		CHECK(COUNTER(1, frames_lost) == CHANNEL_WINDOW);
		CHECK(push_number(1, 2, 0) == 0);
		run_world(20);
		CHECK(B->frames == 1);
		world_end();
	}
	TEST("a receiver that restarts gets frames from a beginning")
	{
		world_begin(75, 2);
		meet(1, 2);
		for (uint64_t i = 0; i < 5; i++)
			push_number(1, 2, i);
		run_world(100);
		host_stop(2);
		host_start(2);
		B->frames = B->next_number = B->disorder = 0;
		channels_way_open(A->channels, B->address, 2, B->life);
		run_world(20);
		for (uint64_t i = 0; i < 5; i++)
			CHECK(push_number(1, 2, i) == 0);
		run_world(100);
		CHECK(B->frames == 5 && B->disorder == 0);
		CHECK(COUNTER(2, frames_out_of_order) == 0);
		world_end();
	}
	TEST("and so does one whose sender restarts")
	{
		world_begin(76, 2);
		meet(1, 2);
		for (uint64_t i = 0; i < 5; i++)
			push_number(1, 2, i);
		run_world(100);
		host_stop(1);
		host_start(1);
		B->frames = B->next_number = B->disorder = 0;
		meet(1, 2);
		B->next_number = 0;
		B->disorder = 0;
		for (uint64_t i = 0; i < 5; i++)
			CHECK(push_number(1, 2, i) == 0);
		run_world(100);
		CHECK(B->frames == 5 && B->disorder == 0);
		world_end();
	}
}

/* ---- Floods ------------------------------------------------------------------------------------------------------ */

static void test_floods(void)
{
	TEST("who is not invited costs one MAC a message")
	{
		uint8_t packet[HANDSHAKE_MAX] = {SECURE_HANDSHAKE, SESSION_VERSION};
		double begin;

		world_begin(80, 2);
		meet(1, 2);
		memcpy(packet + 2, &channels_gate(B->channels)->tag, 2);
		begin = cpu_seconds();
		for (int i = 0; i < 100000; i++) {
			packet[10] = (uint8_t)i;
			channels_receive(B->channels, world.now, packet, 400);
		}
		begin = cpu_seconds() - begin;
		printf("# %.1f us a message, with sanitizers\n", begin * 10);
		CHECK(COUNTER(2, forged) == 100000);
		send_number(1, 2, 1);
		run_world(5);
		CHECK(B->datagrams == 2);
		world_end();
	}
	TEST("a member that forges handshakes of all others costs a bounded number of signatures, "
	     "and no session")
	{
		const struct randomness random = {NULL, world_random};
		struct identity *liar;
		uint64_t verified;

		world_begin(81, 3);
		meet(1, 2);
		liar = test_identity_copy(A->identity);
		secret_key_make(&liar->secret);
		for (uint64_t i = 0; i < 5000; i++) {
			struct handshake handshake = {.index = 1};
			struct handshake_self self = {liar, 9, A->address};
			uint8_t packet[HANDSHAKE_MAX];
			size_t nr = handshake_begin(&handshake, channels_gate(B->channels), &random,
						    &self, 2, 9ULL << 32 | i, packet);

			channels_receive(B->channels, world.now, packet, nr);
		}
		verified = COUNTER(2, bad_signature);
		CHECK(verified > 0 && verified < 20);
		CHECK(COUNTER(2, flooded) == 5000 - verified);
		B->datagrams = 0;
		send_number(1, 2, 1);
		run_world(5);
		CHECK(B->datagrams == 1);
		channels_peer(world.hosts[3].channels, 2, B->address);
		send_number(3, 2, 1);
		run_world(5);
		CHECK(B->datagrams == 2);
		identity_free(liar);
		world_end();
	}
	TEST("tables are bounded")
	{
		char address[WIRE_TEXT_LEN];
		uint32_t id = 10;

		world_begin(82, 1);
		while (channels_peer(A->channels, id, "10.0.0.9:1") == 0)
			id++;
		CHECK(id - 10 == CHANNELS_MAX);
		for (int i = 0; i < 100; i++) {
			snprintf(address, sizeof(address), "10.1.0.%d:1", i);
			for (int j = 0; j < 20; j++)
				channels_send_seed(A->channels, address, "12345678", 8);
		}
		CHECK(COUNTER(1, no_room) > 36);
		world_end();
	}
}

int main(void)
{
	test_sessions();
	test_replays();
	test_changes();
	test_strangers();
	test_charter();
	test_rekey();
	test_restarts();
	test_frames();
	test_floods();
	return check_done();
}
