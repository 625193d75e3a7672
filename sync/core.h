/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_CORE_H
#define SYNC_CORE_H

/* What the parts of the core share with each other, and with nobody else. */

#include "sync/flows.h"
#include "sync/members.h"
#include "sync/registry.h"
#include "sync/sync.h"

static inline bool has_host(const uint32_t *hosts, uint32_t nr, uint32_t host)
{
	for (uint32_t i = 0; i < nr; i++)
		if (hosts[i] == host)
			return true;
	return false;
}

static inline uint64_t higher(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline int64_t higher_ms(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* ---- Ports ------------------------------------------------------------------------------------------------------- */

#define SHARE_MEMBERS 8 /* of a share group */
/* 2 buddies, 2 former ones on their way out of a move, 1 destination, and who shares the flows */
#define PEERS_MAX     (5 + SHARE_MEMBERS - 1)
#define FRAMES_IN_WAY 32
#define RELEASED_MS   120000 /* what a port left behind is kept */

/* Somebody who reads this host's log of a port. */
struct peer {
	uint32_t host;
	bool answered; /* has acknowledged something of this stream */
	bool pinned;   /* destination of a move or a pull: stays, whoever the buddies are */
	bool shares;   /* has a member of the port's share group: nothing waits */
	uint8_t status;
	uint32_t stream;
	uint32_t credit;
	uint64_t sent;
	uint64_t acked;
	uint64_t in_way[FRAMES_IN_WAY]; /* `to` of the frames sent and not acknowledged */
	uint32_t nr_in_way;
	int64_t progress_ms; /* last sent into silence, or acknowledged */
	int64_t timeout_ms;
	int64_t idle_ms; /* when a heartbeat is due */
	uint64_t gap;	 /* what it asked for again, last */
	int64_t gap_ms;
};

/* What this host reads of somebody else's log. */
struct reading {
	uint32_t source; /* 0: nothing */
	uint32_t life;
	uint32_t stream;
	uint32_t pass; /* counts the streams read; entries carry the one that named them last */
	uint64_t position;
	bool complete; /* has caught up once in this stream */
	bool ever;     /* or in an earlier one */
	uint64_t kept; /* flows that a buddy told older than they are here */
	bool closed;   /* what it brought was thrown away: late frames of it are no beginning */
	int64_t heard_ms;
};

enum move_state {
	MOVE_IDLE = 0,
	/* source */
	MOVE_PREPARING,
	MOVE_PRECOPY,
	MOVE_PAUSING, /* the datapath is about to deny, and to report the last changes */
	MOVE_OFFERED, /* FINAL is on its way; role HANDOVER, or a buddy that answers a pull */
	MOVE_ROLLING, /* takes back what was offered, for itself or for another that has the VM */
	/* destination: role PREPARED, STAGED or PULLING */
	MOVE_ARRIVING,
	MOVE_CLAIMING, /* role ACTIVE; the datapath has not confirmed it, and nobody knows of it (V2) */
	MOVE_ANNOUNCING, /* has claimed, tells the source */
};

enum move_step {
	STEP_PREPARE = 1,
	STEP_FINAL = 2,
	STEP_CLAIMED = 3,
	STEP_ABORT = 4,
	STEP_PULL = 5,
};

#define PULL_CANDIDATES 5

struct move {
	uint8_t state; /* enum move_state */
	uint8_t told;  /* result last told by move_event, + 1 */
	bool strict;
	bool wanted; /* destination: the VM is here */
	bool unannounced;
	bool staged; /* source: FINAL was confirmed */
	bool have_final;
	bool refused; /* a pull: the owner says that the VM is still there */
	bool pulled;  /* source: the destination asked for it, without a PREPARE */
	uint32_t peer;
	uint32_t attempts;
	uint64_t id;
	uint64_t claimed; /* epoch */
	uint32_t heir;	  /* ROLLING: who gets the offer next, 0: it is a rollback */
	uint64_t heir_move;
	struct move_final final;
	int64_t send_ms;
	int64_t deadline_ms;
	uint32_t candidates[PULL_CANDIDATES];
	uint32_t nr_candidates;
	uint32_t candidate;
};

struct port {
	struct uuid id;
	uint8_t role;	/* enum port_role */
	bool attached;	/* the datapath knows it: port_prepare or port_activate */
	uint64_t epoch; /* of the flows that are here */
	uint64_t fence; /* highest seen; never below epoch */
	uint8_t *description;
	uint16_t description_nr;
	char share
		[WIRE_TEXT_LEN]; /* its share group, of another host's port by the registry; "": none */
	struct flow_table flows;
	struct flow_table graves; /* share group: flows that were killed, for GRAVE_MS */
	uint32_t half_open;	  /* share group: of `flows`, those that nobody has answered */
	uint64_t
		version; /* share group: highest of what was reported, or given to what others saw */
	uint64_t fed;	 /* share group: the member of this host that has got what is here */
	uint32_t renew;	 /* share group: the stream that shall give way to a new one, 0: none */
	int64_t prune_ms;
	struct peer peers[PEERS_MAX];
	size_t nr_peers;
	struct reading reading;
	struct move move;
	struct ledger disk; /* what the ledger says of it */
	bool owes;	    /* it shall say something else, when no VM stands still */
	int64_t owes_ms;    /* since when */
	int64_t still_ms;   /* since when the VM stands still, if it does */
	bool doubtful;	    /* HANDOVER: started again, FINAL may never have left (V1a) */
	uint64_t aborted;   /* the source took this move back: it never begins again */
	uint32_t scan;	    /* counts the scans; entries carry the one that saw them last */
	bool scanning;
	int64_t expires_ms; /* RELEASED and NONE: forget then */
	int64_t withdraw_ms; /* what the registry says of it by our word goes then (R8), 0: it stays */
	int64_t next_ms;     /* when it wants to be looked at */
};

/* ---- Policy ------------------------------------------------------------------------------------------------------ */

struct policy {
	struct manifest manifest; /* the one that is followed */
	uint32_t writer;	  /* who wrote it */
	bool is_writer;		  /* in the local store */
	uint32_t staged;	  /* generations here */
	uint32_t active;
	/* the object that is being fetched */
	struct digest fetching;
	bool is_fetching;
	bool asked_store; /* last, and not a host */
	uint32_t fetch_from;
	uint32_t fetch_tries; /* without an answer, as far as they count */
	uint8_t *bytes;
	uint32_t nr;
	uint32_t total;
	int64_t fetch_ms;
	int64_t retry_ms;     /* staging failed: again then */
	int64_t flip_ms;      /* the patience of who staged a generation ends */
	int64_t orphan_ms;    /* shared store: that of the others */
	int64_t remind_ms;    /* contact then who has not reported, */
	int64_t reminding_ms; /* and again so much later */
	int64_t stuck_ms;     /* then a generation that is still staged gives way */
	int64_t write_ms;     /* a write failed: no other before */
	/* shared store */
	bool read;	   /* once at least */
	bool behind;	   /* it has less than is followed here */
	bool committing;   /* a write is under way */
	uint64_t revision; /* where the manifest was read last */
	int64_t mend_ms;   /* if it is behind then */
	void (*done)(void *caller, int result);
	void *caller;
	void (*watcher)(void *data);
	void *watcher_data;
};

/* ---- The host ---------------------------------------------------------------------------------------------------- */

struct sync {
	struct sync_config config;
	const struct sync_env *env;
	int64_t now;	/* this host's own time, see "Time" in the design */
	int64_t wall;	/* the caller's clock, last seen */
	int64_t next;	/* in own time */
	int64_t ticked; /* by the caller's clock */
	bool started;
	struct gossip gossip;
	struct members members;
	struct registry registry;
	int64_t compare_ms;
	uint32_t compared; /* with whom last */
	uint32_t agree;	   /* so many shall say "equal" before that is believed for long */
	int64_t ready_ms; /* from then on the registry is believed when it knows no owner of a port */
	struct port **ports; /* by id */
	size_t nr_ports;
	size_t ports_room;
	uint32_t last_stream;
	uint64_t replica_flows;
	bool shares;	      /* a port of this host is, or was, in a share group */
	bool members_changed; /* buddies must be chosen anew */
	int64_t choose_ms;
	struct policy policy;
	struct host_info info;
	struct sync_counters counters;
};

static inline void wake(struct sync *sync, int64_t at)
{
	sync->next = earlier(sync->next, at);
}

static inline void port_wake(struct sync *sync, struct port *port, int64_t at)
{
	port->next_ms = earlier(port->next_ms, at);
	wake(sync, port->next_ms);
}

/* sync.c */
void advance(struct sync *sync, int64_t wall);
struct port *port_find(const struct sync *sync, struct uuid id);
struct port *port_get(struct sync *sync, struct uuid id); /* NULL: no memory */
void port_forget(struct sync *sync, struct port *port);	  /* frees it */
int port_describe(struct port *port, struct slice description);
int host_info_publish(struct sync *sync);

void become_owner(struct sync *sync, struct port *port, uint64_t epoch, bool resync);

/* antientropy.c: one stateless exchange heals both membership and registry. */
void antientropy_init(struct sync *sync);
void antientropy_contact(void *data, uint32_t host, const char *address);
void antientropy_tick(struct sync *sync);
void antientropy_on_compare(struct sync *sync, uint32_t from, const struct compare *compare);
int antientropy_on_digest(struct sync *sync, uint32_t from, struct reader reader);

/* replication.c */
void replica_drop(struct sync *sync, struct port *port);
struct peer *peer_find(struct port *port, uint32_t host);
struct peer *peer_add(struct sync *sync, struct port *port, uint32_t host, bool pinned);
void peer_drop(struct sync *sync, struct port *port, struct peer *peer);
void peer_restart(struct sync *sync, struct port *port, struct peer *peer);
/* A move to it could pause now. */
bool peer_is_close(const struct sync *sync, const struct port *port, const struct peer *peer);
int64_t peer_lag_ms(const struct sync *sync, const struct port *port, const struct peer *peer);
void port_clear_flows(struct sync *sync, struct port *port);
/* The datapath of a port that becomes its destination learns what is here already. */
void port_feed(struct sync *sync, struct port *port);
uint32_t rendezvous(const struct sync *sync, struct uuid port, uint32_t without, uint32_t *hosts,
		    uint32_t room);
/* Asks the owner of the copy for all of it once more. */
void replication_ask_anew(struct sync *sync, const struct port *port);
void replication_tick(struct sync *sync, struct port *port);
void replication_choose(struct sync *sync);
int replication_on_flows(struct sync *sync, uint32_t from, struct reader reader);
void replication_on_ack(struct sync *sync, uint32_t from, const struct flows_ack *ack);
void replication_on_drop(struct sync *sync, uint32_t from, const struct flows_drop *drop);

/* share.c */
struct share_member {
	uint64_t group; /* hash of its name */
	uint32_t host;
};
/* Who is in share groups, of all living hosts but this one. malloc'd, *nr of them; NULL and -ENOMEM in *nr's place: 0. */
struct share_member *share_members(struct sync *sync, size_t *nr);
/* Those of the port's group; returns how many, at most SHARE_MEMBERS - 1. */
uint32_t share_hosts(struct sync *sync, const struct port *port, const struct share_member *members,
		     size_t nr, uint32_t hosts[SHARE_MEMBERS - 1]);
/* By the registry, which group another host's port is in. */
void share_learn(struct sync *sync, struct port *port);
/* The port of this host in the group of another host's, NULL: none. */
struct port *share_mate(const struct sync *sync, const struct port *port);
/* A member of this host's port's group tells of a flow: it becomes the port's too, or ends (H1-H6). */
void share_take(struct sync *sync, struct port *port, const struct flow_record *record);
/* What is known of other members' flows and was not taken yet. */
void share_feed(struct sync *sync);
/* Asks for all of it, until a new stream begins. */
void share_renew(struct sync *sync, struct port *port);
/* A member begins to listen: it hears of what was killed, too. */
void share_mourn(struct sync *sync, struct port *port);
/* What the port's own datapath reports, as its group shall hear it. False: nobody shall. */
bool share_report(struct sync *sync, struct port *port, const struct flow_entry *old,
		  struct flow_record *record);
int share_put(struct sync *sync, struct port *port, const struct flow_record *record,
	      struct flow_entry **entry);
void share_tick(struct sync *sync, struct port *port);

/* move.c */
void move_tick(struct sync *sync, struct port *port);
/* What became of the intent that a former life had written down (V1a). */
void move_restore(struct sync *sync, struct port *port);
void move_resume(struct sync *sync, struct port *port); /* an offer of a former life */
void move_pull(struct sync *sync, struct port *port, bool strict);
void move_progress(struct sync *sync, struct port *port); /* frames were applied */
void move_higher_epoch(struct sync *sync, struct port *port, uint64_t epoch, uint32_t host);
void move_leave(struct sync *sync, struct port *port); /* destination: the move came to nothing */
void move_on_prepare(struct sync *sync, uint32_t from, const struct move_prepare *message);
void move_on_answer(struct sync *sync, uint32_t from, const struct move_answer *message);
void move_on_final(struct sync *sync, uint32_t from, const struct move_final *message);
void move_on_claimed(struct sync *sync, uint32_t from, const struct move_claimed *message);
void move_on_abort(struct sync *sync, uint32_t from, const struct move_abort *message);
void move_on_pull(struct sync *sync, uint32_t from, const struct move_pull *message);

/* store.c */
void policy_init(struct sync *sync);
void policy_tick(struct sync *sync);
void policy_on_entry(struct sync *sync, const struct entry *entry);

/* objects.c */
void objects_fetch(struct sync *sync, const struct digest *name, uint32_t generation);
void objects_free(struct sync *sync);
void policy_on_object_get(struct sync *sync, uint32_t from, const struct object_get *message);
void policy_on_object(struct sync *sync, uint32_t from, const struct object *message);

#endif
