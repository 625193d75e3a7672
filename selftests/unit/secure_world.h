/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTESTS_SECURE_WORLD_H
#define SELFTESTS_SECURE_WORLD_H

/* Hosts with sealed channels and a network between them that is a list: what is under way can be looked at, lost, doubled,
 * changed and kept. Time is a number, random numbers come from a seed. */

#include "secure_cluster.h"
#include "sync/hash.h"
#include "sync/secure/channels.h"

#define WORLD_HOSTS 24

struct letter {
	struct letter *next;
	bool frame;
	char to[WIRE_TEXT_LEN];
	size_t nr;
	uint8_t bytes[];
};

struct world_host {
	struct channels *channels;
	struct identity *identity;
	uint32_t life;
	char address[WIRE_TEXT_LEN];
	uint64_t datagrams, frames;
	uint64_t next_number; /* of a row of numbered messages */
	uint64_t disorder;
	uint32_t from;
	uint64_t ready;
	uint64_t charter;
	uint64_t renewed;
	uint64_t silences;
};

static struct {
	struct test_cluster cluster;
	struct world_host hosts[WORLD_HOSTS + 1]; /* by id */
	struct letter *first, **last;
	size_t nr;
	int64_t now;
	uint64_t random;
	uint32_t lose, twice; /* of a hundred */
	bool no_way;	      /* nothing can be sent */
	bool no_lanes;	      /* no frames are taken */
	int64_t rekey_ms;
	uint64_t rekey_messages;
} world;

static inline uint64_t world_number(void)
{
	world.random = hash_mix(world.random);
	return world.random;
}

static inline bool world_chance(uint32_t of_hundred)
{
	return world_number() % 100 < of_hundred;
}

static inline void post_letter(const char *to, bool frame, const void *bytes, size_t nr)
{
	struct letter *letter = malloc(sizeof(*letter) + nr);

	if (!letter)
		abort();
	letter->next = NULL;
	letter->frame = frame;
	letter->nr = nr;
	snprintf(letter->to, sizeof(letter->to), "%s", to);
	memcpy(letter->bytes, bytes, nr);
	*world.last = letter;
	world.last = &letter->next;
	world.nr++;
}

static inline struct letter *take_letter(void)
{
	struct letter *letter = world.first;

	if (!letter)
		return NULL;
	world.first = letter->next;
	if (!world.first)
		world.last = &world.first;
	world.nr--;
	return letter;
}

static inline struct world_host *host_at(const char *address)
{
	for (size_t i = 1; i <= WORLD_HOSTS; i++)
		if (world.hosts[i].channels && strcmp(world.hosts[i].address, address) == 0)
			return &world.hosts[i];
	return NULL;
}

/* Opened in place, so it is a copy that is given. */
static inline void hand_over(const struct letter *letter)
{
	struct world_host *host = host_at(letter->to);
	uint8_t *copy;

	if (!host)
		return;
	copy = malloc(letter->nr + !letter->nr);
	if (!copy)
		abort();
	memcpy(copy, letter->bytes, letter->nr);
	if (letter->frame)
		channels_receive_frame(host->channels, world.now, copy, letter->nr);
	else
		channels_receive(host->channels, world.now, copy, letter->nr);
	free(copy);
}

static inline bool deliver_one(void)
{
	struct letter *letter = take_letter();

	if (!letter)
		return false;
	/* Frames come over one connection: none is lost or doubled on the way. */
	if (letter->frame || !world_chance(world.lose)) {
		hand_over(letter);
		if (!letter->frame && world_chance(world.twice))
			hand_over(letter);
	}
	free(letter);
	return true;
}

/* Lets time pass, a millisecond a step. */
static inline void run_world(int64_t ms)
{
	for (int64_t i = 0; i < ms; i++) {
		while (deliver_one())
			;
		world.now++;
		for (size_t host = 1; host <= WORLD_HOSTS; host++)
			if (world.hosts[host].channels &&
			    channels_next(world.hosts[host].channels) <= world.now)
				channels_tick(world.hosts[host].channels, world.now);
	}
}

/* ---- What a host sees -------------------------------------------------------------------------------------------- */

static inline void world_random(void *data, void *bytes, size_t nr)
{
	(void)data;
	for (size_t i = 0; i < nr; i++)
		((uint8_t *)bytes)[i] = (uint8_t)world_number();
}

static inline bool world_transmit(void *data, const char *address, const void *packet, size_t nr)
{
	(void)data;
	if (nr > CHANNEL_PACKET_MAX)
		abort();
	if (world.no_way)
		return false;
	post_letter(address, false, packet, nr);
	return true;
}

static inline void *world_frame_new(void *data, size_t nr)
{
	(void)data;
	return malloc(nr);
}

static inline void world_frame_free(void *data, void *frame)
{
	(void)data;
	free(frame);
}

static inline bool world_push(void *data, const char *address, void *frame, size_t nr)
{
	(void)data;
	if (nr > CHANNEL_FRAME_MAX)
		abort();
	if (!world.no_lanes)
		post_letter(address, true, frame, nr);
	free(frame);
	return !world.no_lanes;
}

static inline void world_silent(void *data, const char *address)
{
	struct world_host *host = data;

	(void)address;
	host->silences++;
}

static inline void world_wanted(void *data, const char *address)
{
	(void)data;
	(void)address;
}

static inline void world_count(struct world_host *host, uint32_t from, const void *bytes, size_t nr)
{
	uint64_t number;

	host->from = from;
	if (nr < sizeof(number))
		return;
	memcpy(&number, bytes, sizeof(number));
	host->disorder += number != host->next_number;
	host->next_number = number + 1;
}

static inline void world_on_datagram(void *data, uint32_t from, const void *bytes, size_t nr)
{
	struct world_host *host = data;

	host->datagrams++;
	world_count(host, from, bytes, nr);
}

static inline void world_on_frame(void *data, uint32_t from, const void *bytes, size_t nr)
{
	struct world_host *host = data;

	host->frames++;
	world_count(host, from, bytes, nr);
}

static inline void world_on_bulk_ready(void *data, uint32_t to)
{
	struct world_host *host = data;

	(void)to;
	host->ready++;
}

static inline void world_on_certificate(void *data, const struct certificate *certificate)
{
	(void)data;
	(void)certificate;
}

static inline void world_on_charter(void *data, const struct charter *charter)
{
	struct world_host *host = data;

	host->charter = charter->version;
}

static inline void world_on_renewed(void *data, const struct certificate *certificate)
{
	struct world_host *host = data;

	host->renewed = certificate->serial;
}

/* ---- Hosts ------------------------------------------------------------------------------------------------------- */

static inline void host_start(uint32_t id)
{
	struct world_host *host = &world.hosts[id];
	const struct channels_env env = {
		.data = host,
		.random = world_random,
		.transmit = world_transmit,
		.frame_new = world_frame_new,
		.frame_free = world_frame_free,
		.push = world_push,
		.silent = world_silent,
		.wanted = world_wanted,
		.on_datagram = world_on_datagram,
		.on_frame = world_on_frame,
		.on_bulk_ready = world_on_bulk_ready,
		.on_certificate = world_on_certificate,
		.on_charter = world_on_charter,
		.on_renewed = world_on_renewed,
	};
	const struct channels_config config = {
		.identity = test_identity_copy(host->identity),
		.life = ++host->life,
		.address = host->address,
		.rekey_ms = world.rekey_ms,
		.rekey_messages = world.rekey_messages,
	};

	host->channels = channels_new(&config, &env, world.now);
	if (!host->channels)
		abort();
}

static inline void host_stop(uint32_t id)
{
	channels_free(world.hosts[id].channels);
	world.hosts[id].channels = NULL;
}

static inline void host_add(uint32_t id, struct test_cluster *cluster)
{
	struct world_host *host = &world.hosts[id];

	*host = (struct world_host){.identity = test_identity(cluster, id)};
	snprintf(host->address, sizeof(host->address), "10.0.0.%u:7472", id);
	host_start(id);
}

static inline void host_remove(uint32_t id)
{
	host_stop(id);
	identity_free(world.hosts[id].identity);
	world.hosts[id].identity = NULL;
}

static inline void world_begin_in(const struct test_cluster *cluster, uint64_t seed, size_t hosts)
{
	world.cluster = *cluster;
	world.first = NULL;
	world.last = &world.first;
	world.nr = 0;
	world.now = 1000;
	world.random = seed;
	world.lose = world.twice = 0;
	world.no_way = world.no_lanes = false;
	world.rekey_ms = 0;
	world.rekey_messages = 0;
	for (uint32_t id = 1; id <= hosts; id++)
		host_add(id, &world.cluster);
}

static inline void world_begin(uint64_t seed, size_t hosts)
{
	struct test_cluster cluster;

	test_cluster_make(&cluster, 1);
	world_begin_in(&cluster, seed, hosts);
}

static inline void world_end(void)
{
	struct letter *letter;

	for (uint32_t id = 1; id <= WORLD_HOSTS; id++)
		if (world.hosts[id].identity)
			host_remove(id);
	while ((letter = take_letter()))
		free(letter);
}

/* Its clock goes with what it is told: it is told often, by whoever owns it. */
static inline void send_number(uint32_t from, uint32_t to, uint64_t number)
{
	channels_tick(world.hosts[from].channels, world.now);
	channels_send(world.hosts[from].channels, to, &number, sizeof(number));
}

static inline int push_number(uint32_t from, uint32_t to, uint64_t number)
{
	static uint8_t frame[WIRE_FRAME];

	memcpy(frame, &number, sizeof(number));
	channels_tick(world.hosts[from].channels, world.now);
	return channels_bulk(world.hosts[from].channels, to, frame, 2000);
}

/* Two hosts that know each other and have a session; nothing is under way. */
static inline void meet(uint32_t a, uint32_t b)
{
	uint64_t before = world.hosts[b].datagrams;

	channels_peer(world.hosts[a].channels, b, world.hosts[b].address);
	send_number(a, b, 0);
	run_world(1000);
	if (world.hosts[b].datagrams != before + 1)
		abort();
	run_world(1000);
	world.hosts[b].next_number = world.hosts[b].disorder = 0;
}

#define COUNTER(id, name) (channels_counters(world.hosts[id].channels)->name)

/* All that was ever refused or dropped, whatever the reason. */
static inline uint64_t refusals(uint32_t id)
{
	const struct channel_counters *c = channels_counters(world.hosts[id].channels);

	return c->truncated + c->oversized + c->unknown_type + c->wrong_cluster + c->forged +
	       c->malformed + c->replayed + c->no_session + c->expired + c->bad_certificate +
	       c->bad_signature + c->revoked + c->misdirected + c->unasked + c->stale_handshakes +
	       c->flooded + c->no_room + c->frames_out_of_order;
}

#endif
