/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_MEMBERS_H
#define SYNC_MEMBERS_H

#include "sync/gossip.h"
#include "sync/hostmap.h"

/*
 * Who is alive. SWIM (Das, Gupta, Motivala 2002) with suspicion, piggybacked rumours and refutation by incarnation, and
 * Lifeguard (Dadgar, Phillips, Currey 2017): local health, suspicion that shrinks with independent accusers, and telling
 * a suspect first. Figures are memberlist's for a LAN.
 */

#define PROBE_INTERVAL_MS  1000
#define PROBE_TIMEOUT_MS   500
#define PROBE_INDIRECT	   3
#define GOSSIP_INTERVAL_MS 200
#define GOSSIP_FANOUT	   3
#define GOSSIP_TO_DEAD_MS  30000
#define SUSPICION_MULTIPLE 4
#define SUSPICION_MAX	   6 /* times the least, when nobody else suspects */
#define SUSPICION_ACCUSERS (SUSPICION_MULTIPLE - 2)
#define LOCAL_HEALTH_MAX   8
#define HEAL_INTERVAL_MS   10000
#define JOIN_INTERVAL_MS   1000
#define MEMBERS_MOST	   16384 /* that are remembered, those that left too */
#define UNPROVEN_MOST \
	16 /* of whom no certificate was seen: newcomers, or inventions of a stolen host */
#define GOSSIP_EARLY_MS 20 /* news of the registry do not wait for the round */

enum member_state {
	MEMBER_ALIVE = 0,
	MEMBER_SUSPECT = 1,
	MEMBER_DEAD = 2,
	MEMBER_LEFT = 3,
};

struct member {
	uint32_t host;
	uint8_t state; /* enum member_state */
	uint8_t nr_accusers;
	uint32_t accusers[SUSPICION_ACCUSERS + 1];
	uint64_t incarnation;
	int64_t since_ms; /* in this state */
	struct rumour rumour;
	char address[WIRE_TEXT_LEN];
};

/* Somebody asked us to probe for it. */
struct relay {
	uint32_t asker;
	uint32_t asker_sequence;
	uint32_t sequence;
	int64_t nack_ms; /* 0: free */
};
#define RELAYS 16

struct probe {
	uint32_t target; /* 0: none */
	uint32_t sequence;
	bool acked;
	bool indirect;
	uint8_t helpers;
	uint8_t nacks;
	int64_t indirect_ms;
	int64_t end_ms;
};

struct members {
	struct gossip *gossip;
	const char *const *seeds;
	size_t nr_seeds;

	struct hostmap map;    /* all but this host */
	struct member **order; /* probe order, shuffled, same members */
	size_t next_in_order;
	struct member self;
	bool leaving;

	size_t nr_alive; /* alive or suspect, with this host */
	size_t nr_suspects;
	int64_t suspects_ms; /* when the first suspicion ends; 0: look anew */
	uint32_t sequence;
	uint32_t health; /* 0 is best (Lifeguard IV-A) */
	struct probe probe;
	struct relay relays[RELAYS];
	int64_t probe_ms, gossip_ms, heal_ms; /* when next */
	int64_t last_gossip_ms;

	/* A member is new, or its state changed; `self` never. */
	void (*changed)(void *data, const struct member *member);
	/* Time to compare notes with somebody: to heal a partition, or to join. host 0: the seed at `address`. */
	void (*contact)(void *data, uint32_t host, const char *address);
	void *data;

	size_t nr_unproven; /* at unproven_ms, and those added since */
	int64_t unproven_ms;
	uint64_t refutations;
	uint64_t address_conflicts;
};

/* `seeds` must outlive members. */
void members_init(struct members *members, struct gossip *gossip, uint32_t host, uint32_t life,
		  const char *address, const char *const *seeds, size_t nr_seeds, int64_t now);
void members_free(struct members *members);

/* Returns when it wants to be called next. */
int64_t members_tick(struct members *members, int64_t now);

/* When the next round of gossip is due, INT64_MAX when there is nothing to tell. */
int64_t members_gossip_ms(const struct members *members);

/* Tells that this host leaves; keep ticking for a second so that the rumour gets out. */
void members_leave(struct members *members);

void members_on_ping(struct members *members, uint32_t from, const struct ping *ping);
void members_on_ack(struct members *members, uint32_t from, const struct ack *ack);
void members_on_nack(struct members *members, uint32_t from, const struct nack *nack);
void members_on_ping_request(struct members *members, int64_t now, uint32_t from,
			     const struct ping_request *request);
/* Returns -ENOMEM when a new member could not be remembered. */
int members_learn(struct members *members, int64_t now, const struct member_record *record);

/* NULL when unknown. This host is a member too. */
const struct member *members_find(const struct members *members, uint32_t host);
bool members_living(const struct members *members, uint32_t host);
/* A random living host but this, 0 when there is none. */
uint32_t members_random(const struct members *members);
struct member_record member_to_record(const struct member *member);

#endif
