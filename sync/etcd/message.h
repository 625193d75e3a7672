/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_ETCD_MESSAGE_H
#define SYNC_ETCD_MESSAGE_H

/*
 * What is said to etcd's JSON gateway (/v3/...) and what it answers. Bytes travel as base64, 64 bit numbers as text, and
 * a member that is zero or empty is left out. Answers are a stranger's: decoding is total and bounded.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json.h"

#define ETCD_KEY_MAX   256
#define ETCD_KEYS_MAX  64 /* in an answer */
#define ETCD_VALUE_MAX (1 << 20)
#define ETCD_ERROR_LEN 160

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

/* All return a new object, NULL without memory. `end` NULL: that key alone; else all keys in [key, end). */
json_t *etcd_range(const char *key, const char *end);
/* Of [key, end): at most `limit` of the last ones. */
json_t *etcd_range_last(const char *key, const char *end, unsigned int limit);
/* Changes of the key from `revision` on. */
json_t *etcd_watch(const char *key, uint64_t revision);
json_t *etcd_authenticate(const char *user, const char *password);

/* A transaction: if all that txn_if_* say holds, the puts and deletes are done; else the ranges are answered. The
 * functions do nothing once `object` is NULL, which is how want of memory shows. */
struct etcd_txn {
	json_t *object;
};

void txn_begin(struct etcd_txn *txn);
void txn_if_revision(struct etcd_txn *txn, const char *key, uint64_t revision); /* 0: not there */
void txn_if_value(struct etcd_txn *txn, const char *key, const void *bytes, size_t nr);
void txn_if_there(struct etcd_txn *txn, const char *key);
void txn_put(struct etcd_txn *txn, const char *key, const void *bytes, size_t nr);
void txn_delete(struct etcd_txn *txn, const char *key, const char *end);
void txn_else_range(struct etcd_txn *txn, const char *key);

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

struct etcd_pair {
	char key[ETCD_KEY_MAX];
	uint64_t revision; /* of its last change */
	uint8_t *value;
	size_t nr;
};

/* To a range, a transaction or an authentication. */
struct etcd_answer {
	uint64_t cluster;
	uint64_t revision; /* of the whole store */
	bool succeeded;	   /* a transaction: its conditions held */
	char *token;	   /* of an authentication, or NULL */
	struct etcd_pair *pairs;
	size_t nr_pairs;
};

/* What etcd says instead of an answer: gRPC's code and a text made printable. */
enum etcd_code {
	ETCD_INVALID_ARGUMENT = 3,
	ETCD_DENIED = 7,
	ETCD_EXHAUSTED = 8,
	ETCD_COMPACTED = 11,
	ETCD_UNAUTHENTICATED = 16,
};

struct etcd_error {
	unsigned int code;
	char text[ETCD_ERROR_LEN];
};

/* One line of a watch. */
struct etcd_event {
	uint64_t cluster;
	uint64_t revision; /* of the store; of the newest change when there are some */
	bool created;	   /* the watch is in force from now on */
	bool changed;	   /* something happened to the key */
	bool canceled;
	uint64_t compacted; /* canceled since this is the first revision that is left, or 0 */
};

#define _cleanup_answer_ _cleanup_(etcd_answer_free)

/* 0, -EBADMSG or -ENOMEM; etcd_answer_free in any case. */
int etcd_answer_parse(const char *body, size_t nr, struct etcd_answer *answer);
void etcd_answer_free(struct etcd_answer *answer);
/* The pair of that key, or NULL. */
const struct etcd_pair *etcd_answer_find(const struct etcd_answer *answer, const char *key);

/* 0 or -EBADMSG. */
int etcd_error_parse(const char *body, size_t nr, struct etcd_error *error);
/* 0; -EBADMSG; -EREMOTEIO: it is an error, which is in `error`. */
int etcd_event_parse(const char *line, size_t nr, struct etcd_event *event,
		     struct etcd_error *error);

#endif
