/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_SYNC_H
#define SYNC_SYNC_H

#include "sync/env.h"

/*
 * One host of the distributed firewall as a state machine. What must hold is in docs/sync-design.md.
 *
 *	sync_new; sync_restore for each record on disk; sync_port_add for each port that is here; sync_start;
 *	then for ever: sync_on_message when something comes, sync_tick at sync_next.
 *
 * Functions return 0 or a negative errno. Times are milliseconds of any clock of the caller.
 */

struct sync;

struct sync_config {
	uint32_t host; /* 1 .. 2^24 - 1, from the certificate */
	uint32_t life; /* above that of every earlier start */
	const char *name;
	const char *address;
	const char *const *seeds; /* addresses; must outlive sync */
	size_t nr_seeds;
	uint32_t replicas;     /* 0..2 */
	uint32_t min_age_ms;   /* of flows that buddies get */
	uint64_t replica_room; /* flows that this host keeps for others */
	bool writer;	       /* of the policy, in the local store */
	bool shared_store; /* the manifest lies where every host may write it (S1-S5), not with a writer */
};

/* All are counted from the start; what is dropped or refused shows here. */
#define SYNC_COUNTERS(X)                                                                         \
	X(malformed, "messages that could not be decoded")                                       \
	X(too_new, "messages of a version that this host cannot read")                           \
	X(unknown, "TLVs of unknown types, skipped")                                             \
	X(no_memory, "messages not applied for want of memory")                                  \
	X(crowded, "hosts and entries beyond what is remembered of others, refused")             \
	X(fenced, "writes below the epoch, refused")                                             \
	X(not_owner, "flows from a host that does not own the port, refused")                    \
	X(no_room, "frames refused for want of room")                                            \
	X(gaps, "frames that came too early")                                                    \
	X(resyncs, "streams begun anew")                                                         \
	X(stale_flows, "changes of flows older than what is known, refused")                     \
	X(shared, "flows made or changed by what another member of a share group has seen")      \
	X(tombstones_dropped, "ends of flows that who pulls a port had no more room for")        \
	X(flows_doubted, "flows that a buddy told, and that may have ended before, not taken")   \
	X(buried, "flows that a member of a share group still told of after their end, refused") \
	X(share_full, "members of a share group, or half-open flows, beyond what is shared")     \
	X(ledger_errors, "records that could not be written to disk")                            \
	X(stood_down, "ports given up because a higher epoch exists")                            \
	X(flows_lost, "unannounced moves that found no state")                                   \
	X(bad_objects, "policy objects that could not be kept, or of a wrong hash")              \
	X(foreign_writers, "manifests of a host that is not the writer, not followed")           \
	X(forged_entries, "entries that their origin has not signed, or may not write, refused") \
	X(unknown_origins, "entries of hosts whose certificate is not known yet, put off")       \
	X(store_behind, "times that the shared store held less than this host knows")            \
	X(forks, "manifests of the shared store that contradict the one that is followed")

struct sync_counters {
#define SYNC_COUNTER(name, help) uint64_t name;
	SYNC_COUNTERS(SYNC_COUNTER)
#undef SYNC_COUNTER
};

struct sync *sync_new(const struct sync_config *config, const struct sync_env *env, int64_t now_ms);
void sync_free(struct sync *sync);

/* What the last life wrote down. A port that was active stays so, in the same epoch, once it is added. */
int sync_restore(struct sync *sync, const struct ledger *ledger);
/* The certificate that this host's entries are verified by; before sync_start, and again with each new key. */
int sync_certificate(struct sync *sync, struct slice certificate);
/* All ports are added: tells the cluster, and that what it knew of this host's former life is over. */
int sync_start(struct sync *sync);

void sync_tick(struct sync *sync, int64_t now_ms);
int64_t sync_next(const struct sync *sync);
/* A datagram or a bulk frame. `from` is authenticated. */
void sync_on_message(struct sync *sync, int64_t now_ms, uint32_t from, const void *bytes,
		     size_t nr);

/* Leaves the cluster, and takes its ports out of the registry; tick for a second more. */
void sync_leave(struct sync *sync);

const struct sync_counters *sync_counters(const struct sync *sync);

/* ---- Members and registry, to read ---- */

/* Calls `each` for every known host but this one. */
void sync_each_member(const struct sync *sync,
		      void (*each)(void *data, const struct member_record *member), void *data);
/* What is known of one host. -ENOENT. */
int sync_member(const struct sync *sync, uint32_t host, struct member_record *member);
size_t sync_living(const struct sync *sync); /* with this host */
/* One number over membership and registry: equal on two hosts when they know the same. */
uint64_t sync_hash(const struct sync *sync);

struct sync_vport {
	struct uuid port;
	uint32_t host;
	uint64_t epoch;
	struct slice description;
};
/* The port's owner by the registry; of a port that this host gave away, until that has heard of it, who claimed it. -ENOENT. */
int sync_port_find(const struct sync *sync, struct uuid port, struct sync_vport *vport);
/* Calls `each` for every port in the registry, by its owner's word; this host's too. */
void sync_each_vport(const struct sync *sync,
		     void (*each)(void *data, const struct sync_vport *vport), void *data);
/* All that the host has told up to its last host entry is here: what is missing it does not have. */
bool sync_host_complete(const struct sync *sync, uint32_t host);
/* -ENOENT when the host has not told. */
int sync_host_info(const struct sync *sync, uint32_t host, struct host_info *info);

/* ---- Ports and flows ---- */

/* A port is here. `description` is a vport, encoded. New in the cluster, or restored: it is active at once. If another
 * host owns it this is an unannounced move: the port denies (port_prepare) until its flows were pulled; strict: not
 * without them. If it was prepared by a move, this activates it. -ENOSPC and others from port_prepare. */
int sync_port_add(struct sync *sync, struct uuid port, struct slice description, bool strict);
/* The VM is gone for good. */
int sync_port_remove(struct sync *sync, struct uuid port);

enum port_role sync_port_role(const struct sync *sync, struct uuid port, uint64_t *epoch);

/* Flows that will be reported at once, up to SYNC_PREFETCH: their memory is loaded meanwhile. */
#define SYNC_PREFETCH 16
void sync_flow_prefetch(const struct sync *sync, struct uuid port,
			const struct dfw_flow_key *const *keys, size_t nr);

/* What time it is: before a batch of reports. */
void sync_clock(struct sync *sync, int64_t now_ms);

/* Does anybody read the port's log, or is about to? While nobody does, its flows need not be reported; when somebody begins
 * to, all have to be (sync_scan_begin). */
bool sync_port_followed(const struct sync *sync, struct uuid port);

/* A flow of an active port is new or changed. -ESTALE: version not above the known one; -ENOENT: not active here. */
int sync_flow_update(struct sync *sync, struct uuid port, const struct flow_record *record);
int sync_flow_remove(struct sync *sync, struct uuid port, const struct dfw_flow_key *key,
		     uint64_t version);

/* Is a confirmed flow of that key known? A half-open one may lie beside it, which is not to be reported then. */
bool sync_flow_confirmed(const struct sync *sync, struct uuid port, const struct dfw_flow_key *key);

/* It was killed by command: in a share group it ends on all members, and does not come back. `life` as the datapath knows
 * it. */
int sync_flow_kill(struct sync *sync, struct uuid port, const struct dfw_flow_key *key,
		   uint64_t life, uint64_t version);

/* The datapath remembers that flows of the key were killed, up to `life`: while nobody listened, or in a former life of this
 * host. To be told before the port's flows are reported; again is no harm. -ENOENT: it is not active here, or in no group. */
int sync_flow_buried(struct sync *sync, struct uuid port, const struct dfw_flow_key *key,
		     uint64_t life);

/* The reporter looks at all flows of an active port, since changes were lost: between begin and end it reports each one
 * that it finds. One that is known as it is stays as it is; those that were not reported are gone, as of `version`, when it
 * ends. */
int sync_scan_begin(struct sync *sync, struct uuid port);
int sync_scan_end(struct sync *sync, struct uuid port, uint64_t version);

/* The share group of a port of this host, "": none. */
const char *sync_port_share(const struct sync *sync, struct uuid port);

/* What is held of a port, as owner or copy. -ENOENT. */
struct sync_flows {
	uint64_t count;
	uint64_t hash;
	uint64_t
		half_open; /* of them, those that a share group knows before anybody has answered */
};
int sync_flows(const struct sync *sync, struct uuid port, struct sync_flows *flows);

/* How far a peer of a port is behind. */
struct sync_lag {
	uint32_t peer;
	uint64_t changes;
	int64_t ms;	/* age of the oldest change it has not acknowledged */
	bool safe;	/* a move to it could pause now: caught up, and at most 50 ms behind */
	bool shares;	/* has a member of the port's share group */
	uint8_t status; /* enum flows_status of its last answer */
};
/* Returns how many there are; fills up to `room`. */
size_t sync_lag(const struct sync *sync, struct uuid port, struct sync_lag *lag, size_t room);

/* `bulk` takes frames for the host again. It is asked again now and then in any case. */
void sync_bulk_ready(struct sync *sync, int64_t now_ms, uint32_t host);

/* ---- Moves ---- */

/* Source: 0 when under way; -ENOENT: not active here; -EALREADY: a move is under way; -EHOSTUNREACH: not alive; errno of the
 * ledger: it did not take the intent. */
int sync_move_begin(struct sync *sync, struct uuid port, uint32_t to, bool strict);
/* Source: the VM is paused. Pauses the port, drains, offers it. -EAGAIN: the destination is not prepared yet; errno of
 * the datapath: nothing happened. 0: offered, or as soon as the datapath has paused; should it fail, the port
 * goes on here and move_event tells. */
int sync_move_pause(struct sync *sync, struct uuid port);
/* What port_pause could not say at once. Reports are complete. */
void sync_port_paused(struct sync *sync, int64_t now_ms, struct uuid port, int result);
/* What port_activate could not say at once. */
void sync_port_activated(struct sync *sync, int64_t now_ms, struct uuid port, uint64_t epoch);
/* Source: the VM goes on here. -ENOENT: no move. The end is told by move_event. */
int sync_move_rollback(struct sync *sync, struct uuid port);
/* Destination: the VM runs here, by command or by its first RARP, GARP or NA. 0: active, or as soon as the flows are
 * here. -ENOENT: neither prepared nor known. */
int sync_move_activate(struct sync *sync, struct uuid port);

/* Where a move stands. M(enumerator, name) */
#define MOVE_PHASES(M)                                                                            \
	M(NONE, "none")                                                                           \
	M(PREPARING, "preparing")	/* source: the destination is asked */                    \
	M(PRECOPY, "precopy")		/* source: flows are copied; "safe" says when to go on */ \
	M(PAUSING, "pausing")		/* source: denies; the last changes are collected */      \
	M(OFFERED, "offered")		/* source: passive; the destination has not all yet */    \
	M(HANDED_OVER, "handed-over")	/* source: passive; the destination has all */            \
	M(ROLLING_BACK, "rolling-back") /* source */                                              \
	M(ARRIVING, "arriving")		/* destination: attached, denies */                       \
	M(STAGED, "staged")		/* destination: has all, may be activated */              \
	M(PULLING, "pulling")		/* destination: the VM is here, its flows are not */

enum move_phase {
#define MOVE_PHASE_ENUM(symbol, name) PHASE_##symbol,
	MOVE_PHASES(MOVE_PHASE_ENUM)
#undef MOVE_PHASE_ENUM
};

struct sync_move {
	enum move_phase phase;
	uint32_t peer; /* the other host, 0: none, or not known */
	bool strict;
	bool wanted;   /* destination: the VM is here already */
	bool doubtful; /* source: was started again, and may never have offered the port */
};
/* -ENOENT: the port is not known here. */
int sync_move_status(const struct sync *sync, struct uuid port, struct sync_move *status);

/* ---- Policy ---- */

/* The store of policy generations: one interface for the local one (a writer whose manifest the gossip spreads) and the
 * shared one (a register outside the cluster that every host may write). Objects are put first, then named by a
 * generation. */
struct policy_store {
	void *data;
	/* The generation in force in the cluster, number 0 when there is none. */
	int (*get)(void *data, struct generation *active);
	/* Makes `next` the generation if `expected` is active and nothing is staged. 0: under way, `done` (may be NULL)
	 * is told how it ended, perhaps before cas returns. Else refused at once: -EAGAIN: another is active, or one is
	 * staged; -EPERM: not the writer; -EINVAL: its number is not above all that are known; -ENOENT: an object is not
	 * here; shared: -EBUSY: a write is under way; -ENOTCONN: the store was not read yet.
	 * done: 0; -EAGAIN: somebody else was first; -ETIMEDOUT: not known, it may yet come into force. */
	int (*cas)(void *data, uint32_t expected, const struct generation *next,
		   void (*done)(void *caller, int result), void *caller);
	/* Called when what `get` says has changed. One watcher; NULL ends it. */
	void (*watch)(void *data, void (*changed)(void *watcher), void *watcher);
	/* All generations that are known: active and staged ones of all terms. */
	void (*list)(void *data, void (*each)(void *each_data, const struct generation *generation),
		     void *each_data);
};
struct policy_store sync_policy_store(struct sync *sync);

/* Before sync_start: what policy_keep was given last. */
int sync_policy_restore(struct sync *sync, const struct manifest *manifest, uint32_t writer);
/* What is in force here already, from a former life or a restarted datapath; nothing is staged but that. 0: nothing. */
void sync_policy_realised(struct sync *sync, int64_t now_ms, uint32_t generation);
/* policy_stage or policy_flip had said -EINPROGRESS: now it is known. */
void sync_policy_continue(struct sync *sync, int64_t now_ms);
/* The manifest that is followed, and its writer. */
void sync_policy_manifest(const struct sync *sync, struct manifest *manifest, uint32_t *writer);
/* Makes this host the writer, by command: a new term. -EOPNOTSUPP: the store is shared. */
int sync_policy_take_over(struct sync *sync);

/* Shared store. What it holds, read at `revision`; manifest NULL: nothing that could be followed. */
void sync_policy_learn(struct sync *sync, int64_t now_ms, uint64_t revision,
		       const struct manifest *manifest, uint32_t writer);
/* How the write that policy_commit began has ended: 0 (sync_policy_learn was called with it before), -EAGAIN: the
 * revision was another; other errors: not known. */
void sync_policy_committed(struct sync *sync, int64_t now_ms, int result);
/* An object that object_want asked for is here now. */
void sync_policy_object(struct sync *sync, int64_t now_ms);

/* What this host has realised, and what it could flip to at once. */
uint32_t sync_policy_active(const struct sync *sync);
uint32_t sync_policy_staged(const struct sync *sync);

#endif
