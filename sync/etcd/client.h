/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_ETCD_CLIENT_H
#define SYNC_ETCD_CLIENT_H

/* What the parts of the etcd client share with each other, and with nobody else. */

#include "sync/etcd/etcd.h"
#include "sync/etcd/message.h"
#include "sync/etcd/record.h"

/*
 * One job at a time, each a chain of requests. A job whose request failed begins again, at the next endpoint; so each
 * must do no harm when it is done twice.
 */
enum job { JOB_NONE, JOB_LOGIN, JOB_COMMIT, JOB_READ, JOB_WANT, JOB_HISTORY, JOB_PRUNE, JOBS };

#define JOB_BIT(job) (1U << (job))
#define UNNAMED_MAX  (2 * GENERATION_OBJECTS)
#define HISTORY_MAX  (4 * ETCD_GENERATIONS)
#define KEY_LEN	     ETCD_KEY_MAX

typedef void etcd_answered(struct etcd *etcd, const struct etcd_answer *answer);

struct watch {
	struct http_call *call; /* NULL: none */
	size_t endpoint;
	bool created;
	bool changed; /* something happened that no read has seen yet */
	bool over;
	unsigned int failures;
	int64_t begun_ms;
	int64_t retry_ms;
};

struct commit {
	bool wanted;   /* until `committed` is told */
	bool prepared; /* the record is made */
	bool sent;     /* the swap may have reached etcd */
	uint64_t revision;
	struct manifest next;
	uint8_t record[RECORD_MAX];
	uint16_t nr;
	uint32_t rounds; /* of looking for the objects */
	size_t tries;	 /* without having sent the swap */
	size_t object;	 /* the one at hand */
	uint32_t put;	 /* bits of those that were not there before */
	uint32_t offset; /* in it */
	int64_t deadline_ms;
};

struct want {
	bool wanted;
	struct digest next; /* asked for last */
	struct digest name; /* at hand */
	uint8_t *bytes;
	uint32_t nr, total;
	size_t tries;
};

struct history {
	struct generation generation;
	uint32_t writer;
};

struct etcd {
	struct etcd_config config;
	char prefix[RECORD_PREFIX_MAX + 1];
	char *user, *password; /* NULL: none */
	bool logged_in;
	bool unproven; /* nothing was done with this token yet */
	struct http *http;
	int64_t now_ms;

	/* the endpoint */
	size_t endpoint;
	uint64_t cluster; /* 0: not known yet */
	bool told;	  /* whether it is reachable was logged */
	bool reachable;
	int64_t since_ms;
	unsigned int failures; /* in a row */
	int64_t retry_ms;
	char error[ETCD_ERROR_LEN + 64];

	/* the job */
	enum job job;
	unsigned int due; /* JOB_BIT of those that are to be done */
	struct http_call *call;
	etcd_answered *answered;
	bool swapping; /* the request that is under way is the swap */

	/* what the store holds */
	uint64_t store_revision; /* of all of it */
	uint64_t revision;	 /* of the manifest */
	uint8_t record[RECORD_MAX];
	uint16_t record_nr;	  /* 0: none, or too long to be one */
	struct manifest manifest; /* the one that was told last */
	bool periodic;		  /* why it is being read */
	int64_t read_ms;

	struct watch watch;
	struct commit commit;
	struct want want;
	struct history history[HISTORY_MAX];
	size_t nr_history;
	bool prune;
	struct digest unnamed[UNNAMED_MAX]; /* objects put for writes that came second */
	size_t nr_unnamed;
	struct etcd_counters counters;
};

/* ---- lane.c: requests, endpoints and their errors ---------------------------------------------------------------- */

void lane_serve(struct etcd *etcd);
/* Posts the next request of the job; takes the reference of `request`, NULL: no memory. */
void lane_post(struct etcd *etcd, const char *path, json_t *request, etcd_answered *answered);
/* The job is done. */
void lane_end(struct etcd *etcd);
/* An answer that is none: the job begins again, elsewhere. */
void lane_fail(struct etcd *etcd, uint64_t *counter, const char *text);
void want_job(struct etcd *etcd, enum job job);
/* The pause behind the n-th failure in a row. */
int64_t backoff(struct etcd *etcd, unsigned int failures);

/* etcd.c */
void key_of(const struct etcd *etcd, char key[KEY_LEN], const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void read_begin(struct etcd *etcd);
void commit_begin(struct etcd *etcd);
void commit_end(struct etcd *etcd, int result);
void login_begin(struct etcd *etcd);

/* watch.c */
void watch_serve(struct etcd *etcd);
int64_t watch_next(const struct etcd *etcd);
void watch_end(struct etcd *etcd);

/* objects.c */
void object_keys(const struct etcd *etcd, const struct digest *name, char key[KEY_LEN],
		 char end[KEY_LEN]);
/* Puts the objects of the commit into the store, as far as they are not there; then calls swap_begin. */
void upload_begin(struct etcd *etcd);
void swap_begin(struct etcd *etcd);
void download_begin(struct etcd *etcd);
/* A write came to nothing: the objects that it alone would have named go when the others are known. */
void upload_void(struct etcd *etcd);
void history_begin(struct etcd *etcd);
void prune_begin(struct etcd *etcd);

#endif
