/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_EVENTS_H
#define DFW_LOADER_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "rate.h"

#include "policy/policy.h"

/* What the datapath tells: from its ring buffer to subscribers (JSON, see dfwd(8)) and, for rules with `log`, to the
 * log. */

struct dfwd;

/* Topics of what dfwd itself tells. */
#define EVENT_TOPIC_ADDRESS 'a'
#define EVENT_TOPIC_DAEMON  's'

struct rule_name {
	uint32_t id;
	char name[DFW_RULE_NAME_LEN];
};

struct events {
	struct ring_buffer *ring;
	int publisher;		 /* nanomsg socket */
	struct rule_name *rules; /* sorted by id; of the revision in force */
	size_t nr_rules;
	uint64_t
		sequence; /* of what was published: a subscriber sees by gaps what he was too slow for */
	uint64_t losses;       /* that the datapath had counted when we last looked */
	uint64_t losses_first; /* ... and when we began */
	uint64_t suppressed;   /* verdicts left out of the log */
	uint64_t suppressed_told;
	bool heard;	 /* somebody hears of flows */
	bool heard_told; /* ... and the datapath knows */
	struct rate log_rate;
};

int events_open(struct dfwd *d);
void events_close(struct dfwd *d);
int events_fd(const struct dfwd *d);

/* Takes what waits in the ring buffer, up to a bound; the rest comes with the next call. */
void events_consume(struct dfwd *d);
/* Each second: tells of what was lost and of what was left out. */
void events_tick(struct dfwd *d);

/* Names for the ids of rules. */
void events_set_rules(struct events *events, const struct compiled *compiled);

/* Publishes an event of the daemon's own, {"time", "event": name, ...}, under a topic of one letter; takes `json` over. */
void events_publish(struct dfwd *d, char topic, const char *name, json_t *json);

#endif
