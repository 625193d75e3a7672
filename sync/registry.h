/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_REGISTRY_H
#define SYNC_REGISTRY_H

#include "sync/gossip.h"
#include "sync/hostmap.h"

/*
 * What every host knows: entries, each written by its origin only, ordered by the origin's versions. After Scuttlebutt
 * (van Renesse, Dumitriu, Gough, Thomas, "Efficient Reconciliation and Flow Control for Anti-Entropy Protocols", 2008), with
 * deltas that say which range of versions they cover, so that fresh ones may come in any order. See docs/sync-design.md R1-R5.
 */

struct origin;

struct entry {
	struct rumour rumour;
	struct origin *origin;
	struct entry *next_in_bucket; /* ENTRY_VPORT: same bucket of the table of ports */
	uint64_t version;
	uint64_t previous; /* no live entry lies between this and `version` */
	uint64_t epoch;
	struct uuid id;
	uint8_t kind;
	bool deleted;
	bool has_signature;
	uint16_t nr;
	uint8_t value[]; /* and the signature behind it */
};

struct origin {
	uint32_t host;
	uint64_t known;
	size_t nr_deleted;
	struct entry **entries; /* by version */
	size_t nr;
	size_t room;
};

/* What is kept of others, whoever says so. A host with 4,096 vports has twice as many entries with tombstones. */
#define ORIGINS_MOST 16384
#define ENTRIES_MOST 16384 /* of one origin */

struct registry {
	struct gossip *gossip;
	struct hostmap origins;
	struct origin *own;
	uint64_t last_version; /* given to an entry of this host */
	struct entry **buckets;
	size_t nr_buckets; /* a power of two */
	size_t nr_vports;
	bool news; /* something was written or learnt; whoever acts on it clears it */

	/* An entry of another host is new, changed or deleted. */
	void (*changed)(void *data, const struct entry *entry);
	void *data;
};

/* Returns 0 or -ENOMEM. */
int registry_init(struct registry *registry, struct gossip *gossip, uint32_t host, uint32_t life);
void registry_free(struct registry *registry);

/* Writes an entry of this host, or deletes it. 0, -EMSGSIZE, -ENOMEM. Deleting what is not there is no error. */
int registry_put(struct registry *registry, enum entry_kind kind, struct uuid id, uint64_t epoch,
		 struct slice value);
int registry_delete(struct registry *registry, enum entry_kind kind, struct uuid id);

/* Writes all entries of this host anew and lets everybody forget what was before (R3). Needs a host entry. Happens by
 * itself when tombstones outnumber the rest; at the start of a life the caller asks for it, when all ports are put. */
int registry_rebase(struct registry *registry);

/* All ports of this host go, at once and for everybody. */
int registry_retire(struct registry *registry);

/* Somebody has entries of ours up to `version`. If we never wrote them our life number was given twice: be above them. */
int registry_overtake(struct registry *registry, uint64_t version);

/* A TLV of entries from anybody. 0, -EBADMSG, -ENOMEM; -ENOKEY and -EKEYREJECTED as in <sync/env.h>: what stands before the
 * one that was refused is taken. */
int registry_on_entries(struct registry *registry, struct reader reader);

/* Writes entries of `origin` behind version *known as one TLV as far as they fit, and moves *known on. False when not
 * even one fits. */
bool registry_put_delta(const struct origin *origin, uint64_t *known, struct writer *writer);

/* Makes an origin of a host that has told nothing yet. 0 or -ENOMEM. */
int registry_know(struct registry *registry, uint32_t host);
const struct origin *registry_origin(const struct registry *registry, uint32_t host);
/* The live entry of one host, NULL when there is none. */
const struct entry *registry_get(const struct registry *registry, uint32_t host,
				 enum entry_kind kind, struct uuid id);
/* Who owns a port: the live entry with the highest epoch, NULL when nobody says so. */
const struct entry *registry_owner(const struct registry *registry, struct uuid port);

static inline struct slice entry_value(const struct entry *entry)
{
	return (struct slice){.bytes = entry->value, .nr = entry->nr};
}

static inline struct slice entry_signature(const struct entry *entry)
{
	return entry->has_signature
		       ? (struct slice){.bytes = entry->value + entry->nr, .nr = ENTRY_SIGNATURE}
		       : (struct slice){0};
}

#endif
