// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "sync/flows.h"
#include "sync/hash.h"

uint64_t flow_key_hash(const struct dfw_flow_key *key)
{
	return hash_bytes(key, sizeof(*key), 1);
}

static uint64_t record_hash(const struct flow_record *record, uint64_t key_hash)
{
	uint64_t words[] = {
		record->epoch,
		record->version,
		(uint64_t)record->rule << 32 | record->generation,
		(uint64_t)record->state << 40 | (uint64_t)record->initiator << 32 |
			(uint64_t)record->scale[0] << 24 | (uint64_t)record->scale[1] << 16 |
			(uint64_t)record->leg_flags[0] << 8 | record->leg_flags[1],
	};
	uint64_t hash = hash_bytes(words, sizeof(words), key_hash);

	return hash_bytes(record->legs, sizeof(record->legs), hash);
}

uint64_t flow_record_hash(const struct flow_record *record)
{
	return record_hash(record, flow_key_hash(&record->key));
}

bool flow_record_same(const struct flow_record *a, const struct flow_record *b, bool order)
{
	return (!order || (a->epoch == b->epoch && a->version == b->version)) &&
	       a->rule == b->rule && a->generation == b->generation && a->life == b->life &&
	       a->state == b->state && a->initiator == b->initiator &&
	       !memcmp(a->scale, b->scale, sizeof(a->scale)) &&
	       !memcmp(a->leg_flags, b->leg_flags, sizeof(a->leg_flags)) &&
	       !memcmp(a->legs, b->legs, sizeof(a->legs)) &&
	       !memcmp(&a->key, &b->key, sizeof(a->key));
}

/* A sum, not an exclusive or: a flow that is there twice must show. */
static void account(struct flow_table *table, const struct flow_entry *entry, int sign)
{
	if (entry->record.flags & FLOW_GONE) {
		table->dead += (uint64_t)sign;
	} else {
		table->count += (uint64_t)sign;
		table->hash += (uint64_t)sign * entry->hash;
	}
}

static void take_record(struct flow_table *table, struct flow_entry *entry,
			const struct flow_record *record, uint64_t key_hash)
{
	entry->record = *record;
	entry->hash = record->flags & FLOW_GONE ? 0 : record_hash(record, key_hash);
	account(table, entry, 1);
}

static struct flow_entry **bucket_of(const struct flow_table *table, uint32_t spread)
{
	return &table->buckets[spread & (table->nr_buckets - 1)];
}

static int grow_buckets(struct flow_table *table)
{
	size_t nr_old = table->nr_buckets, nr = nr_old ? 4 * nr_old : 16;
	struct flow_entry **old = table->buckets;
	struct flow_entry **buckets = calloc(nr, sizeof(struct flow_entry *));

	if (!buckets)
		return nr_old ? 0 : -ENOMEM; /* longer chains, no more */
	table->buckets = buckets;
	table->nr_buckets = nr;
	for (size_t i = 0; i < nr_old; i++) {
		for (struct flow_entry *entry = old[i], *next; entry; entry = next) {
			struct flow_entry **bucket = bucket_of(table, entry->spread);

			next = entry->next;
			entry->next = *bucket;
			*bucket = entry;
		}
	}
	free(old);
	return 0;
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

#define CHUNK_FIRST 8
#define CHUNK_BYTES (2U << 20) /* a huge page: the processor's memory of addresses is short */

struct flow_chunk {
	struct flow_chunk *next;
	size_t nr;
	struct flow_entry entries[];
};

static struct flow_chunk *chunk_new(size_t former)
{
	size_t bytes = sizeof(struct flow_chunk) + 2 * former * sizeof(struct flow_entry);
	struct flow_chunk *chunk;

	if (!former)
		bytes = sizeof(struct flow_chunk) + CHUNK_FIRST * sizeof(struct flow_entry);
	if (bytes < CHUNK_BYTES) {
		chunk = malloc(bytes);
	} else {
		bytes = CHUNK_BYTES;
		chunk = aligned_alloc(CHUNK_BYTES, CHUNK_BYTES);
		if (chunk)
			madvise(chunk, CHUNK_BYTES, MADV_HUGEPAGE);
	}
	if (chunk)
		chunk->nr = (bytes - sizeof(*chunk)) / sizeof(struct flow_entry);
	return chunk;
}

static struct flow_entry *entry_alloc(struct flow_table *table)
{
	struct flow_chunk *chunk;
	struct flow_entry *entry;

	if (!table->free) {
		chunk = chunk_new(table->chunks ? table->chunks->nr : 0);
		if (!chunk)
			return NULL;
		chunk->next = table->chunks;
		table->chunks = chunk;
		for (size_t i = chunk->nr; i-- > 0;) {
			chunk->entries[i].next = table->free;
			table->free = &chunk->entries[i];
		}
	}
	entry = table->free;
	table->free = entry->next;
	memset(entry, 0, sizeof(*entry));
	return entry;
}

static void entry_free(struct flow_table *table, struct flow_entry *entry)
{
	entry->next = table->free;
	table->free = entry;
}

void flows_free(struct flow_table *table)
{
	for (struct flow_chunk *chunk = table->chunks, *next; chunk; chunk = next) {
		next = chunk->next;
		free(chunk);
	}
	free(table->buckets);
	free(table->log);
	*table = (struct flow_table){0};
}

void flows_prefetch_far(const struct flow_table *table, uint64_t key_hash)
{
	if (table->nr_buckets)
		__builtin_prefetch(bucket_of(table, (uint32_t)key_hash));
}

void flows_prefetch_near(const struct flow_table *table, uint64_t key_hash)
{
	const char *entry =
		table->nr_buckets ? (const char *)*bucket_of(table, (uint32_t)key_hash) : NULL;

	for (size_t at = 0; entry && at < sizeof(struct flow_entry); at += 64)
		__builtin_prefetch(entry + at);
}

struct flow_entry *flows_find_hashed(const struct flow_table *table, const struct dfw_flow_key *key,
				     uint64_t key_hash)
{
	uint32_t spread = (uint32_t)key_hash;
	struct flow_entry *entry = table->nr_buckets ? *bucket_of(table, spread) : NULL;

	while (entry &&
	       (entry->spread != spread || memcmp(&entry->record.key, key, sizeof(*key)) != 0))
		entry = entry->next;
	return entry;
}

struct flow_entry *flows_find(const struct flow_table *table, const struct dfw_flow_key *key)
{
	return flows_find_hashed(table, key, flow_key_hash(key));
}

/* ---- The log ----------------------------------------------------------------------------------------------------- */

/* Index of the first item behind `sequence`. */
static size_t log_upper(const struct flow_table *table, uint64_t sequence)
{
	size_t low = table->log_begin, high = table->log_end;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (table->log[middle].sequence <= sequence)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Room for one item more: by throwing out what has moved on, when that is half, otherwise by growing. */
static int log_reserve(struct flow_table *table)
{
	size_t entries = (size_t)(table->count - table->young + table->dead), nr = 0;
	struct flow_log_item *log;
	size_t room;

	if (table->log_end < table->log_room)
		return 0;
	if (2 * entries < table->log_room) {
		for (size_t i = table->log_begin; i < table->log_end; i++)
			if (table->log[i].entry) {
				table->log[i].entry->place = nr;
				table->log[nr++] = table->log[i];
			}
		table->log_begin = 0;
		table->log_end = nr;
		return 0;
	}
	room = table->log_room ? 2 * table->log_room : 16;
	log = realloc(table->log, room * sizeof(*log));
	if (!log)
		return -ENOMEM;
	table->log = log;
	table->log_room = room;
	return 0;
}

/* An entry that goes, or moves on, must not be reached from its old place: its memory may be another flow's soon. */
static void log_leave(struct flow_table *table, struct flow_entry *entry)
{
	table->log[entry->place].entry = NULL;
	entry->sequence = 0;
}

static void log_enter(struct flow_table *table, int64_t now, struct flow_entry *entry)
{
	entry->sequence = ++table->head;
	entry->logged_ms = now;
	entry->place = table->log_end;
	table->log[table->log_end++] = (struct flow_log_item){entry->sequence, entry};
}

struct flow_entry *flows_after(const struct flow_table *table, uint64_t sequence)
{
	for (size_t at = log_upper(table, sequence); at < table->log_end; at++)
		if (table->log[at].entry)
			return table->log[at].entry;
	return NULL;
}

struct flow_entry *flows_next(const struct flow_table *table, const struct flow_entry *entry)
{
	for (size_t at = entry->place + 1; at < table->log_end; at++)
		if (table->log[at].entry)
			return table->log[at].entry;
	return NULL;
}

/* ---- The young ---------------------------------------------------------------------------------------------------- */

static void young_enter(struct flow_table *table, struct flow_entry *entry)
{
	entry->older = table->young_last;
	entry->younger = NULL;
	if (table->young_last)
		table->young_last->younger = entry;
	else
		table->young_first = entry;
	table->young_last = entry;
	table->young++;
}

static void young_leave(struct flow_table *table, struct flow_entry *entry)
{
	if (entry->older)
		entry->older->younger = entry->younger;
	else
		table->young_first = entry->younger;
	if (entry->younger)
		entry->younger->older = entry->older;
	else
		table->young_last = entry->older;
	entry->older = entry->younger = NULL;
	table->young--;
}

static int64_t born_ms(const struct flow_entry *entry)
{
	return entry->changed_ms - (int64_t)entry->record.age_ms;
}

int64_t flows_admit_ms(const struct flow_table *table, int64_t min_age_ms)
{
	return table->young_first ? born_ms(table->young_first) + min_age_ms : INT64_MAX;
}

int flows_admit(struct flow_table *table, int64_t now, int64_t min_age_ms)
{
	while (flows_admit_ms(table, min_age_ms) <= now) {
		struct flow_entry *entry = table->young_first;

		if (log_reserve(table))
			return -ENOMEM;
		young_leave(table, entry);
		log_enter(table, now, entry);
	}
	return 0;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

void flows_rewrite(struct flow_table *table, struct flow_entry *entry,
		   const struct flow_record *record)
{
	account(table, entry, -1);
	take_record(table, entry, record, flow_key_hash(&record->key));
}

bool flows_buried(const struct flow_table *table, const struct flow_record *record)
{
	return record->epoch != table->buried_epoch ? record->epoch < table->buried_epoch
						    : record->version <= table->buried_version;
}

static void bury(struct flow_table *table, const struct flow_record *record)
{
	if (flows_buried(table, record))
		return;
	table->buried_epoch = record->epoch;
	table->buried_version = record->version;
}

void flows_remove(struct flow_table *table, struct flow_entry *entry)
{
	struct flow_entry **at = bucket_of(table, entry->spread);

	if (entry->record.flags & FLOW_GONE)
		bury(table, &entry->record);

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	account(table, entry, -1);
	if (entry->sequence)
		log_leave(table, entry);
	else
		young_leave(table, entry);
	entry_free(table, entry);
}

static struct flow_entry *entry_new(struct flow_table *table, const struct dfw_flow_key *key,
				    uint64_t key_hash)
{
	struct flow_entry *entry, **bucket;

	if (table->count + table->dead >= table->nr_buckets && grow_buckets(table))
		return NULL;
	entry = entry_alloc(table);
	if (!entry)
		return NULL;
	entry->spread = (uint32_t)key_hash;
	bucket = bucket_of(table, entry->spread);
	entry->record.key = *key;
	entry->next = *bucket;
	*bucket = entry;
	return entry;
}

int flows_put_found(struct flow_table *table, int64_t now, const struct flow_record *record,
		    uint64_t key_hash, bool young, struct flow_entry **found)
{
	struct flow_entry *entry = *found;
	bool gone = record->flags & FLOW_GONE;

	*found = NULL;
	if (gone && (entry ? !entry->sequence : young)) {
		if (entry)
			flows_remove(table, entry);
		return 0;
	}
	if (log_reserve(table))
		return -ENOMEM;
	if (!entry) {
		entry = entry_new(table, &record->key, key_hash);
		if (!entry)
			return -ENOMEM;
		if (young)
			young_enter(table, entry);
	} else {
		account(table, entry, -1);
		/* Once in the log, always in the log. */
		if (entry->sequence) {
			log_leave(table, entry);
			young = false;
		} else if (!young) {
			young_leave(table, entry);
		}
	}
	take_record(table, entry, record, key_hash);
	entry->changed_ms = now;
	if (!young)
		log_enter(table, now, entry);
	*found = entry;
	return 0;
}

int flows_put(struct flow_table *table, int64_t now, const struct flow_record *record, bool young,
	      struct flow_entry **out)
{
	uint64_t key_hash = flow_key_hash(&record->key);
	struct flow_entry *entry = flows_find_hashed(table, &record->key, key_hash);
	int r = flows_put_found(table, now, record, key_hash, young, &entry);

	if (out)
		*out = entry;
	return r;
}

void flows_trim(struct flow_table *table, uint64_t sequence)
{
	while (table->log_begin < table->log_end) {
		struct flow_log_item *item = &table->log[table->log_begin];

		if (item->entry)
			break;
		table->log_begin++;
	}
	if (!table->dead || sequence <= table->floor)
		return;
	for (size_t at = log_upper(table, table->floor);
	     table->dead && at < table->log_end && table->log[at].sequence <= sequence; at++) {
		struct flow_entry *entry = table->log[at].entry;

		if (entry && entry->record.flags & FLOW_GONE)
			flows_remove(table, entry);
	}
	table->floor = sequence;
}

void flows_trim_oldest(struct flow_table *table, uint64_t left)
{
	uint64_t surplus = table->dead > left ? table->dead - left : 0, sequence = 0;

	for (size_t at = table->log_begin; surplus && at < table->log_end; at++) {
		const struct flow_entry *entry = table->log[at].entry;

		if (!entry || !(entry->record.flags & FLOW_GONE))
			continue;
		sequence = entry->sequence;
		surplus--;
	}
	flows_trim(table, sequence);
}
