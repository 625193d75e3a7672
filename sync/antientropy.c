// SPDX-License-Identifier: GPL-2.0
#include "sync/core.h"
#include "sync/hash.h"

/*
 * COMPARE carries one hash of all that the sender knows; equal: the receiver says so. Otherwise it answers with its digest, in chunks of host ids; for each chunk the first host sends what it knows better and asks, by lines of its own, for
 * what the other knows better. Every message stands alone: any of them may be lost.
 */

#define COMPARE_MIN_MS	 10000
#define COMPARE_MAX_MS	 30000
#define COMPARE_AGAIN_MS 1000 /* until somebody says "equal"; more where digests are long */
#define AGREE_NEWS	 2    /* so many after news: two may have missed the same */
#define ANSWER_FRAMES	 16   /* per digest chunk; the rest comes next time */
#define JOIN_PATIENCE_MS 3000 /* after which a host that meets nobody takes itself for the first */
#define LEARN_MS	 1000 /* from the first digest until what it announced is here */

/* What goes to one host in one go: packets as full as they can be. What fits a datagram goes as one. */
struct packer {
	struct sync *sync;
	uint32_t to;
	uint32_t frames;
	bool refused;
	struct writer writer;
	uint8_t bytes[WIRE_FRAME];
};

static void packer_begin(struct packer *packer, struct sync *sync, uint32_t to)
{
	packer->sync = sync;
	packer->to = to;
	packer->frames = 0;
	packer->refused = false;
	packet_begin(&packer->writer, packer->bytes, sizeof(packer->bytes));
}

static void packer_flush(struct packer *packer)
{
	const struct sync_env *env = packer->sync->env;
	size_t nr = writer_used(&packer->writer);

	if (nr <= WIRE_HEADER)
		return;
	if (nr <= WIRE_DATAGRAM)
		env->send(env->data, packer->to, packer->bytes, nr);
	else
		packer->refused |= env->bulk(env->data, packer->to, packer->bytes, nr) != 0;
	packer->frames++;
	packet_begin(&packer->writer, packer->bytes, sizeof(packer->bytes));
}

static bool packer_open(const struct packer *packer)
{
	return !packer->refused && packer->frames < ANSWER_FRAMES;
}

static void pack_member(struct packer *packer, const struct member *member)
{
	struct member_record record = member_to_record(member);

	if (!put_member_record(&packer->writer, &record)) {
		packer_flush(packer);
		put_member_record(&packer->writer, &record);
	}
}

static void pack_entries(struct packer *packer, const struct origin *origin, uint64_t known)
{
	while (known < origin->known && packer_open(packer))
		if (!registry_put_delta(origin, &known, &packer->writer)) {
			/* Not even an empty packet takes it: nothing of that size is ever accepted. */
			if (writer_used(&packer->writer) <= WIRE_HEADER)
				return;
			packer_flush(packer);
		}
}

static struct digest_line line_of(const struct sync *sync, const struct origin *origin)
{
	const struct member *member = members_find(&sync->members, origin->host);
	struct digest_line line = {.host = origin->host, .known = origin->known};

	if (member) {
		line.incarnation = member->incarnation;
		/* A suspicion is a rumour with a clock of its own, not something to reconcile. */
		line.state = member->state == MEMBER_SUSPECT ? MEMBER_ALIVE : member->state;
	}
	return line;
}

uint64_t sync_hash(const struct sync *sync)
{
	uint64_t hash = 0;

	for (size_t i = 0; i < sync->registry.origins.nr; i++) {
		struct digest_line line = line_of(sync, sync->registry.origins.things[i]);

		/* Not the incarnation: where packets are lost somebody refutes all the time, and rumours carry that. */
		hash = hash_mix(hash ^ line.host ^ (uint64_t)line.state << 62);
		hash = hash_mix(hash ^ line.known);
	}
	return hash;
}

void antientropy_init(struct sync *sync)
{
	sync->compare_ms = sync->now + (int64_t)random_below(sync->env, COMPARE_AGAIN_MS);
	sync->ready_ms = sync->now + (sync->config.nr_seeds ? JOIN_PATIENCE_MS : 0);
}

static int64_t again_ms(const struct sync *sync)
{
	return sync->now + COMPARE_AGAIN_MS + 2 * (int64_t)sync->members.nr_alive;
}

static void put_compare_packet(struct sync *sync, struct writer *packet, const struct member *about,
			       bool answer)
{
	struct compare compare = {.hash = sync_hash(sync), .answer = answer};
	struct member_record self = member_to_record(&sync->members.self);

	put_member_record(packet, &self);
	/* Who is taken for dead, and is not, refutes at once. */
	if (about && about->state != MEMBER_ALIVE) {
		struct member_record record = member_to_record(about);

		put_member_record(packet, &record);
	}
	put_compare(packet, &compare);
}

void antientropy_contact(void *data, uint32_t host, const char *address)
{
	struct sync *sync = data;
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	packet_begin(&packet, bytes, sizeof(bytes));
	if (host) {
		put_compare_packet(sync, &packet, members_find(&sync->members, host), false);
		gossip_send(&sync->gossip, host, &packet);
	} else {
		put_compare_packet(sync, &packet, NULL, false);
		gossip_send_seed(&sync->gossip, address, &packet);
	}
}

/* Not the same again: two that know the same, and less than the others, would tell each other so for long. */
static uint32_t next_host(const struct sync *sync)
{
	uint32_t host = members_random(&sync->members);

	for (int tries = 0; host == sync->compared && tries < 4; tries++)
		host = members_random(&sync->members);
	return host;
}

void antientropy_tick(struct sync *sync)
{
	/* A rumour may have missed a host. */
	if (sync->registry.news) {
		sync->compare_ms = earlier(sync->compare_ms, again_ms(sync));
		sync->agree = AGREE_NEWS;
	}
	sync->registry.news = false;
	if (sync->now >= sync->compare_ms) {
		sync->compare_ms = again_ms(sync);
		sync->compared = next_host(sync);
		if (sync->compared)
			antientropy_contact(sync, sync->compared, NULL);
	}
	wake(sync, sync->compare_ms);
}

static void send_digest(struct sync *sync, uint32_t to)
{
	const struct hostmap *origins = &sync->registry.origins;
	struct digest_message message = {.first = 0};
	struct packer packer;

	packer_begin(&packer, sync, to);
	for (size_t i = 0; i < origins->nr; i++) {
		message.lines[message.nr++] = line_of(sync, origins->things[i]);
		if (message.nr < DIGEST_LINES && i + 1 < origins->nr)
			continue;
		message.last = i + 1 < origins->nr ? origins->hosts[i] : UINT32_MAX - 1;
		put_digest_message(&packer.writer, &message);
		packer_flush(&packer);
		message.first = message.last + 1;
		message.nr = 0;
	}
}

void antientropy_on_compare(struct sync *sync, uint32_t from, const struct compare *compare)
{
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	if (compare->hash != sync_hash(sync)) {
		sync->compare_ms = earlier(sync->compare_ms, again_ms(sync));
		if (!compare->answer)
			send_digest(sync, from);
		return;
	}
	sync->ready_ms = earlier(sync->ready_ms, sync->now);
	if (compare->answer) {
		sync->agree -= sync->agree > 0;
		if (sync->agree)
			return;
		sync->compare_ms =
			sync->now + COMPARE_MIN_MS +
			(int64_t)random_below(sync->env, COMPARE_MAX_MS - COMPARE_MIN_MS);
		return;
	}
	packet_begin(&packet, bytes, sizeof(bytes));
	put_compare_packet(sync, &packet, members_find(&sync->members, from), true);
	gossip_send(&sync->gossip, from, &packet);
}

/* Law M1 again, without suspicions. */
static bool line_is_newer(const struct digest_line *a, const struct digest_line *b)
{
	return a->incarnation != b->incarnation ? a->incarnation > b->incarnation
						: a->state > b->state;
}

/* Sends what we know better than the line; true when it knows something better. */
static bool reconcile(struct sync *sync, struct packer *packer, const struct digest_line *theirs,
		      struct digest_line *ours)
{
	const struct origin *origin = registry_origin(&sync->registry, theirs->host);
	const struct member *member = members_find(&sync->members, theirs->host);

	*ours = origin ? line_of(sync, origin) : (struct digest_line){.host = theirs->host};
	if (member && packer_open(packer) && line_is_newer(ours, theirs))
		pack_member(packer, member);
	if (origin && origin->known > theirs->known)
		pack_entries(packer, origin, theirs->known);
	return line_is_newer(theirs, ours) || theirs->known > ours->known;
}

int antientropy_on_digest(struct sync *sync, uint32_t from, struct reader reader)
{
	const struct hostmap *origins = &sync->registry.origins;
	struct digest_message theirs, wanted = {.answer = 1, .last = UINT32_MAX - 1};
	struct digest_line ours;
	struct packer packer;
	size_t at, i = 0;
	int r;

	r = get_digest_message(reader, &theirs);
	if (r < 0)
		return r;

	sync->ready_ms = earlier(sync->ready_ms, sync->now + LEARN_MS);
	packer_begin(&packer, sync, from);
	at = hostmap_lower(origins, theirs.first);
	while (i < theirs.nr ||
	       (!theirs.answer && at < origins->nr && origins->hosts[at] <= theirs.last)) {
		bool mine = !theirs.answer && at < origins->nr &&
			    (i == theirs.nr || origins->hosts[at] < theirs.lines[i].host);

		if (mine) {
			/* They know nothing of it. */
			struct digest_line none = {.host = origins->hosts[at]};

			reconcile(sync, &packer, &none, &ours);
			at++;
			continue;
		}
		if (theirs.lines[i].host == sync->config.host) {
			struct member_record record = {.host = theirs.lines[i].host,
						       .state = theirs.lines[i].state,
						       .incarnation = theirs.lines[i].incarnation};

			members_learn(&sync->members, sync->now, &record);
			registry_overtake(&sync->registry, theirs.lines[i].known);
		}
		if (reconcile(sync, &packer, &theirs.lines[i], &ours))
			wanted.lines[wanted.nr++] = ours;
		if (!theirs.answer && at < origins->nr &&
		    origins->hosts[at] == theirs.lines[i].host)
			at++;
		i++;
	}
	packer_flush(&packer);
	if (wanted.nr && !theirs.answer) {
		put_digest_message(&packer.writer, &wanted);
		packer_flush(&packer);
	}
	return 0;
}
