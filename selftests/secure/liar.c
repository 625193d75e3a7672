// SPDX-License-Identifier: GPL-2.0
/*
 * A stolen host: a member, by its true key, that tells the others what no dfwd says: vports whose names are no text or no
 * names, more members than there can be.
 *
 *	liar FOLDER ADDRESS SEED	FOLDER: the host's, from whose dfwsyncd it was taken; says "member" when it is one
 */
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "selftests/host/idle_env.h"
#include "sync/daemon/xport.h"
#include "sync/members.h"
#include "sync/secure/signature.h"
#include "sync/sync.h"

#define LIFE	    1000 /* above that of the host's true life */
#define INVENTED    (MEMBERS_MOST + 5000)
#define FIRST_GHOST 100000

static struct liar {
	struct xport *xport;
	struct sync *sync;
	struct secret_key secret;
	uint32_t host;
	uint32_t victims[8];
	size_t nr_victims;
} liar;

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* ---- The world of a core that has no datapath ------------------------------------------------------------------------ */

static uint64_t env_random(void *data)
{
	uint64_t number;

	(void)data;
	randombytes_buf(&number, sizeof(number));
	return number;
}

static void env_send(void *data, uint32_t to, const void *bytes, size_t nr)
{
	(void)data;
	xport_send(liar.xport, to, bytes, nr);
}

static void env_send_seed(void *data, const char *address, const void *bytes, size_t nr)
{
	(void)data;
	xport_send_seed(liar.xport, address, bytes, nr);
}

static int env_bulk(void *data, uint32_t to, const void *bytes, size_t nr)
{
	(void)data;
	return xport_bulk(liar.xport, to, bytes, nr);
}

static int env_entry_sign(void *data, const void *bytes, size_t nr,
			  uint8_t signature[ENTRY_SIGNATURE])
{
	(void)data;
	signature_make(SIGNED_ENTRY, bytes, nr, &liar.secret, signature);
	return 0;
}

static int env_entry_verify(void *data, uint32_t origin, const struct entry_record *record,
			    const void *bytes, size_t nr)
{
	(void)data;
	(void)origin;
	(void)record;
	(void)bytes;
	(void)nr;
	return 0;
}

static const uint8_t *env_object_get(void *data, const struct digest *name, uint32_t *nr)
{
	(void)data;
	(void)name;
	*nr = 0;
	return NULL;
}

static void env_member_changed(void *data, const struct member_record *member)
{
	(void)data;
	if (member->host >= FIRST_GHOST || !member->address[0])
		return;
	xport_peer(liar.xport, member->host, member->address);
	if (liar.nr_victims < sizeof(liar.victims) / sizeof(liar.victims[0]))
		liar.victims[liar.nr_victims++] = member->host;
}

static void on_message(void *data, uint32_t from, const void *bytes, size_t nr)
{
	(void)data;
	sync_on_message(liar.sync, now_ms(), from, bytes, nr);
}

/* ---- Lies ------------------------------------------------------------------------------------------------------------ */

/* As if it had been this host's in an earlier life: nobody is asked. */
static void tell_vport(uint8_t number, const char *name, const char *tag, size_t nr_tag)
{
	struct vport vport = {.nr_macs = 1, .macs = {{2, 0, 0, 0, 0x66, number}}, .nr_tags = 1};
	struct ledger ledger = {.port = {{0x66, number}}, .role = PORT_ACTIVE};
	uint8_t value[ENTRY_VALUE_MAX];
	uint16_t nr;

	ledger.epoch = epoch_next(0, 1, liar.host);
	snprintf(vport.name, sizeof(vport.name), "%s", name);
	strcpy(vport.dev, "tap0");
	vport.tags[0] = (struct slice){.bytes = (const uint8_t *)tag, .nr = (uint16_t)nr_tag};
	if (vport_encode(&vport, value, &nr) < 0 || sync_restore(liar.sync, &ledger) < 0 ||
	    sync_port_add(liar.sync, ledger.port, (struct slice){.bytes = value, .nr = nr}, false) <
		    0)
		abort();
}

static void tell_vports(void)
{
	tell_vport(1, "\xff\xfe\x80", "app\0web", 7);
	tell_vport(2, "no name", "app\0web", 7);
	tell_vport(3, "", "app\0web", 7);
	tell_vport(4, "tag-of-junk", "\xff\0\xff", 3);
	tell_vport(5, "tag-of-none", "app\0", 4);
	tell_vport(6, "escape\x1b[2J", "app\0web", 7);
}

/* Some in each turn: what does not fit the network is lost. */
static void invent_members(void)
{
	static uint32_t told;

	for (int packets = 0; packets < 20; packets++) {
		uint8_t bytes[WIRE_DATAGRAM];
		struct writer packet;

		packet_begin(&packet, bytes, sizeof(bytes));
		while (put_member_record(
			&packet, &(struct member_record){.host = FIRST_GHOST + told % INVENTED,
							 .incarnation = 1,
							 .address = "10.99.0.99:7472"}))
			told++;
		for (size_t i = 0; i < liar.nr_victims; i++)
			xport_send(liar.xport, liar.victims[i], bytes, writer_used(&packet));
	}
}

/* ---- Life ------------------------------------------------------------------------------------------------------------ */

static void start(const char *folder, const char *address, const char *const *seeds)
{
	static const struct sync_env env = {
		.random = env_random,
		.send = env_send,
		.send_seed = env_send_seed,
		.bulk = env_bulk,
		.ledger_write = idle_ledger_write,
		.ledger_drop = idle_on_port,
		.port_activate = idle_port_activate,
		.port_release = idle_on_port,
		.port_late = idle_no,
		.port_stranded = idle_no,
		.port_epoch = idle_none,
		.port_in_force = idle_no,
		.port_gone = idle_no,
		.move_event = idle_move_event,
		.port_flows = idle_none,
		.object_get = env_object_get,
		.object_put = idle_object_put,
		.policy_stage = idle_policy_stage,
		.policy_flip = idle_policy_flip,
		.policy_keep = idle_policy_keep,
		.entry_sign = env_entry_sign,
		.entry_verify = env_entry_verify,
		.member_changed = env_member_changed,
	};
	struct xport_config network = {.life = LIFE,
				       .address = address,
				       .on_datagram = on_message,
				       .on_frame = on_message};
	struct sync_config config = {
		.life = LIFE, .address = address, .seeds = seeds, .nr_seeds = 1};
	static struct certificate certificate; /* the core keeps its name */

	if (sodium_init() < 0 || identity_load(folder, &network.identity) < 0) {
		fprintf(stderr, "liar: %s is no member's folder\n", folder);
		exit(EXIT_FAILURE);
	}
	certificate = network.identity->certificate;
	liar.secret = network.identity->secret;
	config.host = liar.host = certificate.host;
	config.name = certificate.name;
	liar.sync = sync_new(&config, &env, now_ms());
	if (!liar.sync || xport_open(&network, now_ms(), &liar.xport) < 0 ||
	    sync_certificate(liar.sync, (struct slice){certificate.bytes, certificate.nr}) < 0) {
		fprintf(stderr, "liar: cannot listen at %s\n", address);
		exit(EXIT_FAILURE);
	}
	tell_vports();
	if (sync_start(liar.sync) < 0)
		abort();
}

int main(int argc, char **argv)
{
	const char *seeds[1];
	bool told = false;

	if (argc != 4) {
		fputs("usage: liar FOLDER ADDRESS SEED\n", stderr);
		return 2;
	}
	seeds[0] = argv[3];
	start(argv[1], argv[2], seeds);
	for (;;) {
		struct pollfd ready = {.fd = xport_fd(liar.xport), .events = POLLIN};

		poll(&ready, 1, 10);
		xport_serve(liar.xport, now_ms());
		if (now_ms() >= sync_next(liar.sync))
			sync_tick(liar.sync, now_ms());
		if (sync_living(liar.sync) < 2)
			continue;
		invent_members();
		if (!told)
			puts("member");
		told = true;
		fflush(stdout);
	}
}
