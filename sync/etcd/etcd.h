/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_ETCD_ETCD_H
#define SYNC_ETCD_ETCD_H

#include "sync/etcd/http.h"
#include "sync/messages.h"

/*
 * The shared policy store on etcd v3: see "etcd" in docs/sync-design.md. It carries out what the core asks for by
 * policy_commit and object_want, and tells it what the store holds. Functions return 0 or a negative errno; none waits.
 */

struct etcd;

#define ETCD_OBJECT_MAX	 (16U << 20)
#define ETCD_CHUNK	 (512U << 10)
#define ETCD_GENERATIONS 16 /* kept in the store */

struct etcd_config {
	struct http_config http;
	/* Of all keys of the cluster; ends in '/'. At most RECORD_PREFIX_MAX bytes. */
	const char *prefix;
	/* A file of mode 0600 that holds USER:PASSWORD, or NULL. Read once. */
	const char *password_file;
	uint32_t host;
	uint64_t (*random)(void *data);
	void *data; /* of all the functions */

	/* Signs what this host writes: at most RECORD_SIGNATURE_MAX bytes, in any form that verify knows. */
	int (*sign)(void *data, const void *bytes, size_t nr, uint8_t *signature,
		    uint16_t *signature_nr);
	/* 0; -ENOKEY: the writer is not known here yet; others: it is not what the writer has signed. */
	int (*verify)(void *data, uint32_t writer, const void *bytes, size_t nr,
		      struct slice signature);

	/* Objects of this host, as in struct sync_env. */
	const uint8_t *(*object_get)(void *data, const struct digest *name, uint32_t *nr);
	int (*object_put)(void *data, const struct digest *name, const uint8_t *bytes, uint32_t nr);

	/* To the core, from within etcd_serve: sync_policy_learn, _committed, _object. */
	void (*learned)(void *data, uint64_t revision, const struct manifest *manifest,
			uint32_t writer);
	void (*committed)(void *data, int result);
	void (*object_came)(void *data);
};

/* All are counted from the start. */
#define ETCD_COUNTERS(X)                                                             \
	X(requests, "requests sent")                                                 \
	X(unreachable, "requests that found no connection, or lost it")              \
	X(timeouts, "requests that were not answered in time")                       \
	X(refused, "requests that etcd answered with an error")                      \
	X(denied, "requests for which the user or password was not good enough")     \
	X(bad_answers, "answers that are not what was asked for, or cut short")      \
	X(oversized, "answers longer than allowed")                                  \
	X(foreign, "answers of another etcd than the one that was first spoken to")  \
	X(failovers, "times that another endpoint was taken")                        \
	X(reads, "times that the manifest was read")                                 \
	X(watches, "watches that came into force")                                   \
	X(compacted, "watches that ended because their revision was compacted")      \
	X(lost_events, "changes of the manifest that no watch told of")              \
	X(rewinds, "times that the store's revision was lower than before")          \
	X(bad_records, "records of a manifest that could not be decoded")            \
	X(too_new, "records that only a newer version can read")                     \
	X(bad_signatures, "records whose signature is wrong")                        \
	X(unknown_writers, "records of a writer that is not known here")             \
	X(conflicts, "writes that found another manifest than they were to replace") \
	X(unknown_writes, "writes of which it is not known whether they took place") \
	X(bad_objects, "objects of a wrong hash or size, or that could not be kept") \
	X(objects_put, "objects written")                                            \
	X(objects_got, "objects read")                                               \
	X(pruned, "old generations deleted")

struct etcd_counters {
#define ETCD_COUNTER(name, help) uint64_t name;
	ETCD_COUNTERS(ETCD_COUNTER)
#undef ETCD_COUNTER
};

struct etcd_status {
	const char *endpoint; /* spoken to now */
	bool reachable;	      /* its last answer was one */
	bool watching;
	int64_t since_ms;  /* it is so */
	uint64_t revision; /* of the manifest, 0: there is none */
	const char *error; /* the last one, "" when there was none since it is reachable */
};

/* Errors are logged. */
int etcd_open(const struct etcd_config *config, int64_t now_ms, struct etcd **etcd);
void etcd_close(struct etcd *etcd);

/* Call etcd_serve when the descriptor is readable, and at etcd_next. */
int etcd_fd(const struct etcd *etcd);
void etcd_serve(struct etcd *etcd, int64_t now_ms);
int64_t etcd_next(const struct etcd *etcd);

/* -EBUSY: a write is under way. `committed` is told: 0; -EAGAIN: the revision was another; -ENOENT: an object of it is
 * not here; -EHOSTUNREACH: nothing was sent; -ENOSPC, -EACCES, -EINVAL: etcd does not take it; -ETIMEDOUT: it is not
 * known. */
int etcd_commit(struct etcd *etcd, uint64_t revision, const struct manifest *next);
/* Gets an object, puts it here and tells `object_came`; silence when that fails. One at a time: the last one named. */
void etcd_want(struct etcd *etcd, const struct digest *name);
/* The generations in the store, newest first, as they were read last; and has them read again. */
void etcd_list(struct etcd *etcd,
	       void (*each)(void *data, const struct generation *generation, uint32_t writer),
	       void *data);

const struct etcd_counters *etcd_counters(const struct etcd *etcd);
struct etcd_status etcd_status(const struct etcd *etcd);

#endif
