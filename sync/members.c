// SPDX-License-Identifier: GPL-2.0
#include <math.h>

#include "sync/members.h"

static const struct sync_env *env_of(const struct members *members)
{
	return members->gossip->env;
}

static bool living(const struct member *member)
{
	return member->state == MEMBER_ALIVE || member->state == MEMBER_SUSPECT;
}

struct member_record member_to_record(const struct member *member)
{
	struct member_record record = {
		.host = member->host,
		.state = member->state,
		.incarnation = member->incarnation,
		.by = member->nr_accusers ? member->accusers[member->nr_accusers - 1] : 0,
	};

	memcpy(record.address, member->address, sizeof(record.address));
	return record;
}

static bool put_rumour(struct writer *writer, const struct rumour *rumour)
{
	const struct member *member =
		(const void *)((const char *)rumour - offsetof(struct member, rumour));
	struct member_record record = member_to_record(member);

	return put_member_record(writer, &record);
}

void members_init(struct members *members, struct gossip *gossip, uint32_t host, uint32_t life,
		  const char *address, const char *const *seeds, size_t nr_seeds, int64_t now)
{
	memset(members, 0, sizeof(*members));
	members->gossip = gossip;
	members->seeds = seeds;
	members->nr_seeds = nr_seeds;
	members->nr_alive = 1;
	members->self.host = host;
	members->self.incarnation = (uint64_t)life << 32;
	members->self.rumour.kind = RUMOUR_MEMBER;
	strncpy(members->self.address, address, sizeof(members->self.address) - 1);
	gossip->put[RUMOUR_MEMBER] = put_rumour;
	gossip_tell(gossip, &members->self.rumour);

	/* Hosts that start together must not work in step. */
	members->probe_ms = now + (int64_t)random_below(gossip->env, PROBE_INTERVAL_MS);
	members->gossip_ms = now + (int64_t)random_below(gossip->env, GOSSIP_INTERVAL_MS);
	members->heal_ms = now;
}

void members_free(struct members *members)
{
	for (size_t i = 0; i < members->map.nr; i++)
		free(members->map.things[i]);
	hostmap_free(&members->map);
	free(members->order);
}

const struct member *members_find(const struct members *members, uint32_t host)
{
	return host == members->self.host ? &members->self : hostmap_find(&members->map, host);
}

bool members_living(const struct members *members, uint32_t host)
{
	const struct member *member = members_find(members, host);

	return member && living(member);
}

static bool proven(const struct members *members, uint32_t host)
{
	const struct sync_env *env = env_of(members);

	return !env->host_proven || env->host_proven(env->data, host);
}

/* A random member for which `wanted` holds, NULL when a few tries find none. What may be invented is not told anything: a
 * few real hosts among many would hear nothing. */
static struct member *pick(const struct members *members, int64_t now,
			   bool (*wanted)(const struct member *, int64_t))
{
	size_t nr = members->map.nr;

	if (!nr)
		return NULL;
	for (size_t tries = 0; tries < 3 * nr && tries < 64; tries++) {
		struct member *member = members->order[random_below(env_of(members), nr)];

		if (wanted(member, now) && proven(members, member->host))
			return member;
	}
	return NULL;
}

static bool is_living(const struct member *member, int64_t now)
{
	(void)now;
	return living(member);
}

static bool is_dead(const struct member *member, int64_t now)
{
	(void)now;
	return member->state == MEMBER_DEAD;
}

/* The dead are told for a while, so that one who is not hears of it. */
static bool hears_gossip(const struct member *member, int64_t now)
{
	return living(member) ||
	       (member->state == MEMBER_DEAD && now - member->since_ms < GOSSIP_TO_DEAD_MS);
}

uint32_t members_random(const struct members *members)
{
	const struct member *member = pick(members, 0, is_living);

	return member ? member->host : 0;
}

/* ---- What is known of whom --------------------------------------------------------------------------------------- */

static void worse_health(struct members *members, uint32_t by)
{
	members->health += by;
	if (members->health > LOCAL_HEALTH_MAX)
		members->health = LOCAL_HEALTH_MAX;
}

/* Lifeguard IV-B: from SUSPICION_MAX times the least down to the least with the logarithm of the accusers. */
static int64_t suspicion_ms(const struct members *members, const struct member *member)
{
	double least =
		SUSPICION_MULTIPLE * fmax(1, log10((double)members->nr_alive)) * PROBE_INTERVAL_MS;
	double most = SUSPICION_MAX * least;
	double confirmations = member->nr_accusers ? member->nr_accusers - 1 : 0;

	/* Who could confirm? Neither this host nor the suspect. */
	if (members->nr_alive < SUSPICION_ACCUSERS + 2)
		return (int64_t)least;
	return (int64_t)fmax(least, most - (most - least) * log(confirmations + 1) /
						    log(SUSPICION_ACCUSERS + 1));
}

static void accuse(struct members *members, struct member *member, uint32_t by)
{
	for (size_t i = 0; i < member->nr_accusers; i++)
		if (member->accusers[i] == by)
			return;
	if (member->nr_accusers < SUSPICION_ACCUSERS + 1)
		member->accusers[member->nr_accusers++] = by;
	members->suspects_ms = 0; /* its end has moved */
}

static void set_state(struct members *members, int64_t now, struct member *member, uint8_t state)
{
	members->nr_alive -= living(member);
	members->nr_suspects -= member->state == MEMBER_SUSPECT;
	if (member->state != state)
		member->since_ms = now;
	member->state = state;
	members->nr_alive += living(member);
	members->nr_suspects += state == MEMBER_SUSPECT;
	gossip_set_members(members->gossip, members->nr_alive);
}

static struct member *add(struct members *members, int64_t now, uint32_t host)
{
	struct member *member = calloc(1, sizeof(*member));
	struct member **order;
	size_t nr = members->map.nr, at;

	if (!member)
		return NULL;
	order = realloc(members->order, (nr + 1) * sizeof(*order));
	if (!order) {
		free(member);
		return NULL;
	}
	members->order = order;
	member->host = host;
	member->state = MEMBER_LEFT; /* until set_state counts it */
	member->since_ms = now;
	member->rumour.kind = RUMOUR_MEMBER;
	if (hostmap_insert(&members->map, host, member)) {
		free(member);
		return NULL;
	}

	/* At a random place: probes of a new member begin at different times on different hosts. */
	at = random_below(env_of(members), nr + 1);
	order[nr] = order[at];
	order[at] = member;
	return member;
}

/* A newcomer is told of before its certificate is; once a second we look who has been proven since. */
static bool room_for(struct members *members, int64_t now, uint32_t host)
{
	if (members->map.nr >= MEMBERS_MOST)
		return false;
	if (proven(members, host))
		return true;
	if (now - members->unproven_ms >= PROBE_INTERVAL_MS) {
		members->unproven_ms = now;
		members->nr_unproven = 0;
		for (size_t i = 0; i < members->map.nr; i++)
			members->nr_unproven += !proven(members, members->map.hosts[i]);
	}
	if (members->nr_unproven >= UNPROVEN_MOST)
		return false;
	members->nr_unproven++;
	return true;
}

static void refute(struct members *members, uint64_t incarnation)
{
	members->self.incarnation = incarnation + 1;
	members->refutations++;
	worse_health(members, 1);
	gossip_tell(members->gossip, &members->self.rumour);
}

static void learn_self(struct members *members, const struct member_record *record)
{
	struct member *self = &members->self;

	if (members->leaving || record->incarnation < self->incarnation)
		return;
	if (record->state != MEMBER_ALIVE || record->incarnation > self->incarnation)
		refute(members, record->incarnation);
}

/* Law M1: later incarnation, or the same and worse. */
static bool supersedes(const struct member_record *record, const struct member *member)
{
	if (record->incarnation != member->incarnation)
		return record->incarnation > member->incarnation;
	return record->state > member->state;
}

int members_learn(struct members *members, int64_t now, const struct member_record *record)
{
	struct member *member;

	if (!record->host || record->state > MEMBER_LEFT)
		return 0;
	if (record->host == members->self.host) {
		learn_self(members, record);
		return 0;
	}

	member = hostmap_find(&members->map, record->host);
	if (!member) {
		if (!room_for(members, now, record->host))
			return -ENOSPC;
		member = add(members, now, record->host);
		if (!member)
			return -ENOMEM;
		member->incarnation = record->incarnation;
	} else if (!supersedes(record, member)) {
		if (record->incarnation != member->incarnation)
			return 0;
		if (record->state == MEMBER_SUSPECT && member->state == MEMBER_SUSPECT) {
			uint8_t before = member->nr_accusers;

			accuse(members, member, record->by);
			if (member->nr_accusers != before)
				gossip_tell(members->gossip, &member->rumour);
		}
		if (strcmp(record->address, member->address) != 0)
			members->address_conflicts++;
		return 0;
	}

	member->incarnation = record->incarnation;
	member->nr_accusers = 0;
	if (record->state == MEMBER_SUSPECT)
		accuse(members, member, record->by);
	memcpy(member->address, record->address, sizeof(member->address));
	set_state(members, now, member, record->state);
	gossip_tell(members->gossip, &member->rumour);
	members->changed(members->data, member);
	return 0;
}

/* This host's own judgement goes the way that others' takes. */
static void judge(struct members *members, int64_t now, const struct member *member, uint8_t state)
{
	struct member_record record = member_to_record(member);

	record.state = state;
	record.by = members->self.host;
	members_learn(members, now, &record);
}

void members_leave(struct members *members)
{
	members->leaving = true;
	members->self.state = MEMBER_LEFT;
	gossip_tell(members->gossip, &members->self.rumour);
}

/* ---- Probes ------------------------------------------------------------------------------------------------------ */

/* A suspect is told so in the probe itself: it can refute at once (Lifeguard IV-C, "buddy system"). */
static void put_news_of(const struct members *members, struct writer *packet, uint32_t host)
{
	const struct member *member = hostmap_find(&members->map, host);

	if (member && member->state != MEMBER_ALIVE) {
		struct member_record record = member_to_record(member);

		put_member_record(packet, &record);
	}
}

static void send_ping(struct members *members, uint32_t target, uint32_t sequence)
{
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_ping(&packet, &(struct ping){.sequence = sequence, .target = target});
	put_news_of(members, &packet, target);
	gossip_send(members->gossip, target, &packet);
}

static void send_ack(struct members *members, uint32_t to, uint32_t sequence)
{
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_ack(&packet, &(struct ack){.sequence = sequence});
	put_news_of(members, &packet, to);
	gossip_send(members->gossip, to, &packet);
}

void members_on_ping(struct members *members, uint32_t from, const struct ping *ping)
{
	if (ping->target != members->self.host || members->leaving)
		return;
	send_ack(members, from, ping->sequence);
	if (!hostmap_find(&members->map, from))
		members->contact(members->data, from, NULL);
}

void members_on_ack(struct members *members, uint32_t from, const struct ack *ack)
{
	struct probe *probe = &members->probe;

	/* Helpers answer for the target. */
	if (probe->target && ack->sequence == probe->sequence &&
	    (from == probe->target || probe->indirect))
		probe->acked = true;
	for (size_t i = 0; i < RELAYS; i++) {
		struct relay *relay = &members->relays[i];

		if (relay->nack_ms && relay->sequence == ack->sequence) {
			send_ack(members, relay->asker, relay->asker_sequence);
			relay->nack_ms = 0;
		}
	}
}

void members_on_nack(struct members *members, uint32_t from, const struct nack *nack)
{
	(void)from;
	if (members->probe.target && nack->sequence == members->probe.sequence)
		members->probe.nacks++;
}

void members_on_ping_request(struct members *members, int64_t now, uint32_t from,
			     const struct ping_request *request)
{
	struct relay *relay = &members->relays[0];

	if (members->leaving || !hostmap_find(&members->map, request->target))
		return;
	/* When all are in use the oldest goes: its asker then misses a NACK, no more. */
	for (size_t i = 1; i < RELAYS; i++)
		if (members->relays[i].nack_ms < relay->nack_ms)
			relay = &members->relays[i];
	*relay = (struct relay){
		.asker = from,
		.asker_sequence = request->sequence,
		.sequence = ++members->sequence,
		.nack_ms = now + PROBE_TIMEOUT_MS * 8 / 10,
	};
	send_ping(members, request->target, relay->sequence);
}

static int64_t tick_relays(struct members *members, int64_t now)
{
	int64_t next = INT64_MAX;

	for (size_t i = 0; i < RELAYS; i++) {
		struct relay *relay = &members->relays[i];
		uint8_t bytes[WIRE_DATAGRAM];
		struct writer packet;

		if (!relay->nack_ms)
			continue;
		if (relay->nack_ms > now) {
			next = earlier(next, relay->nack_ms);
			continue;
		}
		packet_begin(&packet, bytes, sizeof(bytes));
		put_nack(&packet, &(struct nack){.sequence = relay->asker_sequence});
		gossip_send(members->gossip, relay->asker, &packet);
		relay->nack_ms = 0;
	}
	return next;
}

static void ask_helpers(struct members *members, int64_t now)
{
	struct probe *probe = &members->probe;
	uint32_t asked[PROBE_INDIRECT] = {0};

	probe->indirect = true;
	for (size_t i = 0; i < PROBE_INDIRECT; i++) {
		const struct member *helper = pick(members, now, is_living);
		uint8_t bytes[WIRE_DATAGRAM];
		struct writer packet;
		bool again = false;

		if (!helper || helper->host == probe->target)
			continue;
		for (size_t j = 0; j < i; j++)
			again |= asked[j] == helper->host;
		if (again)
			continue;
		asked[i] = helper->host;
		probe->helpers++;
		packet_begin(&packet, bytes, sizeof(bytes));
		put_ping_request(&packet, &(struct ping_request){.sequence = probe->sequence,
								 .target = probe->target});
		gossip_send(members->gossip, helper->host, &packet);
	}
}

static void probe_end(struct members *members, int64_t now)
{
	struct probe *probe = &members->probe;
	const struct member *target = hostmap_find(&members->map, probe->target);

	if (probe->acked) {
		members->health -= members->health > 0;
	} else if (target && living(target)) {
		/* A helper that says neither yes nor no: perhaps it is this host that hears nothing. */
		if (!probe->helpers)
			worse_health(members, 1);
		else if (probe->nacks < probe->helpers)
			worse_health(members, probe->helpers - probe->nacks);
		judge(members, now, target, MEMBER_SUSPECT);
	}
	probe->target = 0;
}

static void shuffle(struct members *members)
{
	for (size_t i = members->map.nr; i > 1; i--) {
		size_t other = random_below(env_of(members), i);
		struct member *member = members->order[i - 1];

		members->order[i - 1] = members->order[other];
		members->order[other] = member;
	}
	members->next_in_order = 0;
}

/* Round robin through a shuffled list: every member is probed within 2n - 1 rounds (SWIM 4.3). */
static const struct member *next_target(struct members *members)
{
	for (size_t tries = 0; tries < members->map.nr; tries++) {
		if (members->next_in_order >= members->map.nr)
			shuffle(members);
		if (living(members->order[members->next_in_order++]))
			return members->order[members->next_in_order - 1];
	}
	return NULL;
}

static void probe_begin(struct members *members, int64_t now)
{
	const struct member *target = next_target(members);
	int64_t stretch = 1 + members->health;

	members->probe_ms = now + PROBE_INTERVAL_MS * stretch;
	if (!target)
		return;
	members->probe = (struct probe){
		.target = target->host,
		.sequence = ++members->sequence,
		.indirect_ms = now + PROBE_TIMEOUT_MS * stretch,
		.end_ms = members->probe_ms,
	};
	send_ping(members, target->host, members->probe.sequence);
}

static int64_t tick_probe(struct members *members, int64_t now)
{
	struct probe *probe = &members->probe;

	if (probe->target && !probe->acked && !probe->indirect && now >= probe->indirect_ms)
		ask_helpers(members, now);
	if (now >= members->probe_ms) {
		if (probe->target)
			probe_end(members, now);
		probe_begin(members, now);
	}
	if (probe->target && !probe->acked && !probe->indirect)
		return earlier(probe->indirect_ms, members->probe_ms);
	return members->probe_ms;
}

static int64_t tick_suspects(struct members *members, int64_t now)
{
	if (!members->nr_suspects)
		return INT64_MAX;
	if (now < members->suspects_ms)
		return members->suspects_ms;
	members->suspects_ms = INT64_MAX;
	for (size_t i = 0; i < members->map.nr; i++) {
		const struct member *member = members->map.things[i];
		int64_t end;

		if (member->state != MEMBER_SUSPECT)
			continue;
		end = member->since_ms + suspicion_ms(members, member);
		if (now >= end)
			judge(members, now, member, MEMBER_DEAD);
		else
			members->suspects_ms = earlier(members->suspects_ms, end);
	}
	return members->suspects_ms;
}

int64_t members_gossip_ms(const struct members *members)
{
	if (!members->gossip->nr)
		return INT64_MAX;
	if (members->gossip->fresh)
		return earlier(members->gossip_ms, members->last_gossip_ms + GOSSIP_EARLY_MS);
	return members->gossip_ms;
}

static void tick_gossip(struct members *members, int64_t now)
{
	struct gossip *gossip = members->gossip;

	if (now < members_gossip_ms(members))
		return;
	gossip->fresh = false;
	members->last_gossip_ms = now;
	members->gossip_ms = now + GOSSIP_INTERVAL_MS;
	for (size_t i = 0; i < GOSSIP_FANOUT && gossip->nr; i++) {
		const struct member *member = pick(members, now, hears_gossip);
		uint8_t bytes[WIRE_DATAGRAM];
		struct writer packet;

		if (!member)
			break;
		packet_begin(&packet, bytes, sizeof(bytes));
		gossip_send(gossip, member->host, &packet);
	}
}

static bool address_lives(const struct members *members, const char *address)
{
	if (!strcmp(members->self.address, address))
		return true;
	for (size_t i = 0; i < members->map.nr; i++) {
		const struct member *member = members->map.things[i];

		if (living(member) && !strcmp(member->address, address))
			return true;
	}
	return false;
}

static int64_t tick_heal(struct members *members, int64_t now)
{
	bool alone = members->nr_alive == 1;
	const struct member *dead;

	if (now < members->heal_ms)
		return members->heal_ms;
	members->heal_ms = now + (alone ? JOIN_INTERVAL_MS : HEAL_INTERVAL_MS);
	if (members->leaving)
		return members->heal_ms;
	for (size_t i = 0; i < members->nr_seeds; i++)
		if (!address_lives(members, members->seeds[i]))
			members->contact(members->data, 0, members->seeds[i]);
	dead = pick(members, now, is_dead);
	if (dead)
		members->contact(members->data, dead->host, NULL);
	return members->heal_ms;
}

int64_t members_tick(struct members *members, int64_t now)
{
	int64_t next;

	next = tick_heal(members, now);
	if (!members->leaving) {
		next = earlier(next, tick_probe(members, now));
		next = earlier(next, tick_relays(members, now));
		next = earlier(next, tick_suspects(members, now));
	}
	tick_gossip(members, now);
	return earlier(next, members_gossip_ms(members));
}
