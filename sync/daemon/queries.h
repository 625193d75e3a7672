/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_QUERIES_H
#define SYNC_DAEMON_QUERIES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct syncd;

/*
 * Questions between hosts: JSON in, JSON out. A question is {"what": NAME, ...}, a few kilobytes; an answer comes in chunks
 * over bulk. Both carry an id that the asker draws; a question without an answer is asked again until its time is over,
 * and answered from memory when it was answered before, so that nothing is done twice. What may be asked is a table in
 * query_answers.c.
 */

#define QUERY_BYTES   32768	 /* of a question */
#define QUERY_LARGEST (8U << 20) /* of an answer */

struct queries {
	struct query *asked;	 /* by this host */
	struct question *served; /* of other hosts, those under way and those answered lately */
	size_t nr_asked, nr_served;
	size_t kept_bytes; /* of answers that are remembered */
	uint64_t
		refused; /* questions that were too many, or that the asker's certificate does not allow */
	uint64_t timeouts; /* questions that nobody answered */
};

/* What became of a question. Its status is 0, and the answer stays the caller's; or a negative errno, and the answer is what
 * the host says (NULL: nothing). -ETIMEDOUT, -EHOSTUNREACH. */
struct query;
typedef void query_done(void *data, const struct query *query, json_t *answer);
uint32_t query_host(const struct query *query);
int query_status(const struct query *query);

/* Takes the reference of `question`. `done` is called later, once; not when this returns an error. This host may be asked
 * too. */
int query_ask(struct syncd *d, uint32_t host, json_t *question, int64_t timeout_ms,
	      query_done *done, void *data);

/* Asks every living host, or `host` if it is not 0, and gathers: an array of {"host": name, "id", "answer": ..} or {"host",
 * "id", "error": text}, sorted by id, whose reference is the callee's. "took_us": how long it took, and "at_us": when it was
 * there (CLOCK_MONOTONIC). */
typedef void query_gathered(void *data, json_t *answers);
int query_gather(struct syncd *d, uint32_t host, json_t *question, int64_t timeout_ms,
		 query_gathered *gathered, void *data);

/* A question that this host is to answer, at any time later. */
struct question;
void question_answer(struct question *question, json_t *answer); /* takes the reference */
void question_refuse(struct question *question, int status, const char *text);
uint32_t question_asker(const struct question *question); /* proven by its certificate */
const json_t *question_text(const struct question *question);

/* True when the message was one of ours. */
bool queries_take(struct syncd *d, uint32_t from, const void *bytes, size_t nr);
void queries_bulk_ready(struct syncd *d, uint32_t to);
/* Once in each turn of the loop. */
void queries_turn(struct syncd *d);
/* The network goes: everything asked ends. */
void queries_stop(struct syncd *d);

#endif
