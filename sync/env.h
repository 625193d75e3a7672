/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_ENV_H
#define SYNC_ENV_H

#include <stddef.h>
#include <stdint.h>

#include "sync/messages.h"

/* An epoch is a counter and, in its low bits, the host that owns the port in it: no two hosts can take the same. */
#define EPOCH_HOST_BITS 24

static inline uint32_t epoch_host(uint64_t epoch)
{
	return (uint32_t)(epoch & ((1U << EPOCH_HOST_BITS) - 1));
}

/* The epoch that `host` takes when it raises the counter of `epoch` by `steps`. */
static inline uint64_t epoch_next(uint64_t epoch, uint32_t steps, uint32_t host)
{
	return ((epoch >> EPOCH_HOST_BITS) + steps) << EPOCH_HOST_BITS | host;
}

/* Versions of flows count a host's reports below this bit, and its lives above. */
#define VERSION_LIFE_BIT 33

/* What a port of this host is to it. Values are on disk: append, never renumber. */
enum port_role {
	PORT_NONE = 0,
	PORT_ACTIVE = 1, /* owner; its datapath decides */
	PORT_HANDOVER =
		2, /* was owner, has offered the port to `peer`: denies until it is claimed or rolled back */
	PORT_RELEASED = 3, /* somebody else owns it: lower epochs than `epoch` are refused */
	PORT_REPLICA = 4,  /* a buddy's copy of the flows, not in the datapath */
	PORT_PREPARED = 5, /* destination of a move: attached, denies */
	PORT_STAGED = 6,   /* destination, holds exactly what FINAL described */
	PORT_PULLING = 7,  /* destination of an unannounced move */
	PORT_OFFERING = 8, /* in the ledger only: owner, and may have offered the port to `peer` */
};

/* What a host has on disk of a port: ACTIVE, HANDOVER, RELEASED, or what it may have done since (V1): OFFERING, and PREPARED
 * for a destination, with the epoch of the source. */
struct ledger {
	struct uuid port;
	uint64_t epoch;
	uint64_t move;
	uint32_t peer;
	uint32_t role; /* enum port_role */
};

/* Why a move ended, or stands still. Values are on the wire. */
enum move_result {
	MOVE_OK = 0,
	MOVE_NOT_YET = 1, /* `position` of what FINAL asks for is applied: go on */
	MOVE_NO_ROOM = 2,
	MOVE_REFUSED = 3,  /* the datapath, or the VM is still here */
	MOVE_UNKNOWN = 4,  /* no such move here (restarted, or aborted) */
	MOVE_FENCED = 5,   /* a higher epoch is known */
	MOVE_MISMATCH = 6, /* count or hash differ */
	MOVE_CLAIMED = 7,  /* too late: the destination owns the port */
	MOVE_DISK = 8,	   /* the ledger could not be written */
	MOVE_TIMEOUT = 9,
	MOVE_PEER_DEAD = 10,
	MOVE_NO_STATE = 11, /* nobody has the flows */
	MOVE_ABORTED = 12,  /* by command */
	MOVE_RESULTS
};

/* What a datapath does with what another member of a share group knows of a flow. */
enum share_how {
	SHARE_MAKE, /* it has no such flow, as far as is known here; else, by their lives, as one of the others */
	SHARE_JOIN, /* puts it into what it has (<dfw/merge.h>); a flow that has ended meanwhile is not made again */
	SHARE_REPLACE, /* puts it in the place of what it has, which is another flow of that key */
};

/*
 * The world of one host. All functions get `data`; none may call back into the core, except that `port_pause` may
 * report the last changes by sync_flow_update and sync_flow_remove.
 */
struct sync_env {
	void *data;

	uint64_t (*random)(void *data);

	/* A datagram of at most WIRE_DATAGRAM bytes: may be lost, doubled, reordered; never blocks. The session layer
	 * below seals it; what comes in is opened there and its sender known. */
	void (*send)(void *data, uint32_t to, const void *bytes, size_t nr);
	/* The same, to whoever listens at a seed's address. */
	void (*send_seed)(void *data, const char *address, const void *bytes, size_t nr);
	/* A frame of at most WIRE_FRAME bytes, in order. 0, or -EAGAIN when the peer's credit is used up: sync_bulk_ready tells
	 * when it is not. What was accepted for a peer that then dies is lost. */
	int (*bulk)(void *data, uint32_t to, const void *bytes, size_t nr);

	/* Durable before it returns; 0 or a negative errno. */
	int (*ledger_write)(void *data, const struct ledger *ledger);
	void (*ledger_drop)(void *data, struct uuid port);

	/* The datapath of a port. */
	/* Destination: is there room and a policy? Attach, deny. 0 or a negative errno; -ENOSPC: no room; -EINPROGRESS:
	 * not known yet, it will be asked again. */
	int (*port_prepare)(void *data, struct uuid port, struct slice description, uint64_t flows);
	/* Source: deny, then report what has not been reported, which after a restart is all. 0: done, or a negative errno;
	 * -EINPROGRESS: sync_port_paused tells the end. */
	int (*port_pause)(void *data, struct uuid port);
	/* Enforce with the flows reported by flow_apply. resync: legs may be behind what the ends have sent. 0: it is in force;
	 * -EINPROGRESS: sync_port_activated tells when. Another negative errno: it denies. */
	int (*port_activate)(void *data, struct uuid port, uint64_t epoch, bool resync);
	/* Deny and detach: the port lives elsewhere, or the move came to nothing. */
	void (*port_release)(void *data, struct uuid port);
	/* How many flows the datapath has. */
	uint64_t (*port_flows)(void *data, struct uuid port);
	/* Destination: may packets have passed between the VM here and others that the datapath has not seen? */
	bool (*port_late)(void *data, struct uuid port);
	/* The ledger may be behind: does the datapath hold the port, and has its VM sent what passed unseen? */
	bool (*port_stranded)(void *data, struct uuid port);
	/* In which epoch was the port in force last, since it was made here? Another number: in none. */
	uint64_t (*port_epoch)(void *data, struct uuid port);
	/* Is it still? */
	bool (*port_in_force)(void *data, struct uuid port);
	/* Somebody asks for the port without a PREPARE: has the VM gone? */
	bool (*port_gone)(void *data, struct uuid port);
	/* A prepared or pulled port: one flow is new or changed, or gone (FLOW_GONE). */
	void (*flow_apply)(void *data, struct uuid port, const struct flow_record *record);
	/* An active port of a share group: another member knows more of a flow than this one. FLOW_GONE: it ends, if its life is
	 * not higher. FLOW_KILLED: the datapath remembers that, longer than this core lives, and refuses from then on what is not
	 * above it. SHARE_JOIN may raise a flow's life, which reports name from then on. It may be called while the port
	 * reports. The next report's version is above the record's. */
	void (*flow_share)(void *data, struct uuid port, const struct flow_record *record,
			   enum share_how how);
	/* Destination: does the datapath hold what flow_apply was given? 0; -ENOSPC: there was no room for all of it; another
	 * negative errno: some of it was refused, or failed. */
	int (*flows_held)(void *data, struct uuid port);
	/* A move of this host's port came to its end or to a stand: for logs, hooks and `migrate status`. */
	void (*move_event)(void *data, struct uuid port, enum move_result result);

	/* Policy objects, found by hash. get: NULL when not here. put: 0; -EBADMSG: the hash is another; -ENOSPC. */
	const uint8_t *(*object_get)(void *data, const struct digest *name, uint32_t *nr);
	int (*object_put)(void *data, const struct digest *name, const uint8_t *bytes, uint32_t nr);
	/* Compile and keep ready; 0 or a negative errno. Then one flip makes it the one that decides. -EINPROGRESS:
	 * sync_policy_continue tells when to ask again. */
	int (*policy_stage)(void *data, const struct generation *generation);
	int (*policy_flip)(void *data, uint32_t generation);
	/* Durable before it returns: what sync_policy_restore wants to know in the next life. 0 or a negative errno. */
	int (*policy_keep)(void *data, const struct manifest *manifest, uint32_t writer);

	/* Entries of the registry are signed by their origin; both NULL: they are not. `bytes` are what is signed. verify: 0;
	 * -ENOKEY: the origin's certificate is not known here yet; -EKEYREJECTED: it may not say that, or has not. */
	int (*entry_sign)(void *data, const void *bytes, size_t nr,
			  uint8_t signature[ENTRY_SIGNATURE]);
	int (*entry_verify)(void *data, uint32_t origin, const struct entry_record *record,
			    const void *bytes, size_t nr);
	/* Has the host's certificate been seen here, so that there is such a host? NULL: all are taken for true. */
	bool (*host_proven)(void *data, uint32_t host);
	/* Local store: may the host write the policy? NULL: any may. */
	bool (*policy_writer)(void *data, uint32_t host);

	/* A host is new, or its state or address changed; this host never. May be NULL. */
	void (*member_changed)(void *data, const struct member_record *member);
	/* A port in the registry is new, changed or gone. May be NULL. */
	void (*vport_changed)(void *data, uint32_t host, struct uuid port);

	/* With a shared store only. Begins to replace the manifest that was read at `revision`, 0: none is there; the end
	 * is told by sync_policy_committed, after this has returned. 0 or a negative errno: nothing was begun. */
	int (*policy_commit)(void *data, uint64_t revision, const struct manifest *next);
	/* Asks the store for an object; sync_policy_object tells when it was put. */
	void (*object_want)(void *data, const struct digest *name);
};

#endif
