/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_FLOWS_H
#define SYNC_FLOWS_H

#include "sync/env.h"

/*
 * The flows of one port, and the log of their changes: compacted, so each flow has one place in it, at its last change
 * (F1). The same table serves the owner, its buddies and the destination of a move.
 */

struct flow_entry {
	struct flow_entry
		*next; /* in its bucket; with the key beside it, which is what is looked at most */
	uint32_t spread; /* of the key's hash: what tells the bucket */
	uint32_t stream; /* that named it last (replicas), or the scan that saw it (owner) */
	struct flow_record record; /* idle_ms and age_ms as of changed_ms */
	uint64_t hash;		   /* of a live record */
	uint64_t sequence;	   /* in the log, 0: too young to be there */
	size_t place;		   /* index in the log */
	int64_t changed_ms;
	int64_t logged_ms;	  /* when it got that place */
	struct flow_entry *older; /* among the young, by birth */
	struct flow_entry *younger;
};

struct flow_log_item {
	uint64_t sequence;
	struct flow_entry *entry; /* NULL, or with another sequence: has moved on */
};

struct flow_table {
	struct flow_chunk *chunks; /* the entries' memory: it goes with the table */
	struct flow_entry *free;
	struct flow_entry **buckets;
	size_t nr_buckets;	   /* a power of two, or 0 */
	struct flow_log_item *log; /* by sequence */
	size_t log_begin;
	size_t log_end;
	size_t log_room;
	struct flow_entry *young_first;
	struct flow_entry *young_last;
	uint64_t head;	/* last sequence given */
	uint64_t floor; /* tombstones up to here are gone: who is below must begin at 0 */
	uint64_t count; /* live flows, the young ones too */
	uint64_t young;
	uint64_t dead; /* tombstones */
	/* The newest of the tombstones that are gone. What is not here and is no newer may have been one of them. */
	uint64_t buried_epoch, buried_version;
	uint64_t hash; /* of the live flows, in no order */
};

/* What two hosts compare: all of a record but its ages and what one host alone says about it. */
uint64_t flow_record_hash(const struct flow_record *record);
/* The same flow by the same words: equal hashes, but for its order if `order` is false. */
bool flow_record_same(const struct flow_record *a, const struct flow_record *b, bool order);

/* Of a key, for what follows: it is needed at each step to a flow, and takes as long as the step. */
uint64_t flow_key_hash(const struct dfw_flow_key *key);

void flows_free(struct flow_table *table);
struct flow_entry *flows_find(const struct flow_table *table, const struct dfw_flow_key *key);
struct flow_entry *flows_find_hashed(const struct flow_table *table, const struct dfw_flow_key *key,
				     uint64_t key_hash);
/* Begins to load what flows_find will look at: a table of many flows lies far from the processor, and there is something
 * else to do until it is there. First `far` for a number of keys, then `near` for them, then they are looked for. */
void flows_prefetch_far(const struct flow_table *table, uint64_t key_hash);
void flows_prefetch_near(const struct flow_table *table, uint64_t key_hash);

/* Puts a record (or a tombstone, FLOW_GONE) in the table. `young`: it gets no place in the log yet; a young flow that dies
 * leaves no tombstone. *entry (may be NULL) is where it lies, NULL when nothing remained. 0 or -ENOMEM. */
int flows_put(struct flow_table *table, int64_t now, const struct flow_record *record, bool young,
	      struct flow_entry **entry);
/* The same, by who has looked for the flow already: *entry is what flows_find said. */
int flows_put_found(struct flow_table *table, int64_t now, const struct flow_record *record,
		    uint64_t key_hash, bool young, struct flow_entry **entry);
/* The same flow, said differently: it keeps its place. */
void flows_rewrite(struct flow_table *table, struct flow_entry *entry,
		   const struct flow_record *record);
void flows_remove(struct flow_table *table, struct flow_entry *entry);

/* The first entry behind `sequence`, NULL at the end. */
struct flow_entry *flows_after(const struct flow_table *table, uint64_t sequence);
/* The one behind an entry that is in the log. */
struct flow_entry *flows_next(const struct flow_table *table, const struct flow_entry *entry);

/* Gives the young flows of at least that age their places. 0 or -ENOMEM. */
int flows_admit(struct flow_table *table, int64_t now, int64_t min_age_ms);
/* When the next young flow will have that age, INT64_MAX when there is none. */
int64_t flows_admit_ms(const struct flow_table *table, int64_t min_age_ms);

/* Drops tombstones up to `sequence`. */
void flows_trim(struct flow_table *table, uint64_t sequence);
/* Drops the oldest tombstones until `left` are left. */
void flows_trim_oldest(struct flow_table *table, uint64_t left);
/* Not here, and possibly because its tombstone was dropped? */
bool flows_buried(const struct flow_table *table, const struct flow_record *record);

#endif
