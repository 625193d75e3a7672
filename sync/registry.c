// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include <util.h>

#include "sync/hash.h"
#include "sync/registry.h"

/* A rebase costs one message per live entry and host: only when it is earned. */
#define REBASE_SLACK 16
#define OVERTAKE_BY  (1U << 20)

static void put_entry(struct writer *writer, const struct entry *entry)
{
	put_entry_record(writer, &(struct entry_record){.kind = entry->kind,
							.deleted = entry->deleted,
							.id = entry->id,
							.version = entry->version,
							.epoch = entry->epoch,
							.value = entry_value(entry),
							.signature = entry_signature(entry)});
}

static bool put_rumour(struct writer *writer, const struct rumour *rumour)
{
	const struct entry *entry =
		(const void *)((const char *)rumour - offsetof(struct entry, rumour));
	uint8_t *begin = tlv_begin(writer, MESSAGE_ENTRIES);

	put_entries_head(writer, &(struct entries_head){.origin = entry->origin->host,
							.from = entry->previous,
							.rumour = 1});
	put_entry(writer, entry);
	return tlv_end(writer, begin);
}

/* ---- Entries by port --------------------------------------------------------------------------------------------- */

static struct entry **bucket_of(const struct registry *registry, struct uuid id)
{
	return &registry->buckets[hash_bytes(&id, sizeof(id), 0) & (registry->nr_buckets - 1)];
}

static void grow_buckets(struct registry *registry)
{
	struct entry **old = registry->buckets;
	size_t nr_old = registry->nr_buckets;
	struct entry **buckets = calloc(2 * nr_old, sizeof(struct entry *));

	if (!buckets)
		return; /* longer chains, no more */
	registry->buckets = buckets;
	registry->nr_buckets = 2 * nr_old;
	for (size_t i = 0; i < nr_old; i++) {
		for (struct entry *entry = old[i], *next; entry; entry = next) {
			struct entry **bucket = bucket_of(registry, entry->id);

			next = entry->next_in_bucket;
			entry->next_in_bucket = *bucket;
			*bucket = entry;
		}
	}
	free(old);
}

static void index_entry(struct registry *registry, struct entry *entry)
{
	struct entry **bucket;

	if (entry->kind != ENTRY_VPORT)
		return;
	if (++registry->nr_vports > registry->nr_buckets)
		grow_buckets(registry);
	bucket = bucket_of(registry, entry->id);
	entry->next_in_bucket = *bucket;
	*bucket = entry;
}

static void unindex_entry(struct registry *registry, struct entry *entry)
{
	struct entry **at;

	if (entry->kind != ENTRY_VPORT)
		return;
	for (at = bucket_of(registry, entry->id); *at != entry;)
		at = &(*at)->next_in_bucket;
	*at = entry->next_in_bucket;
	registry->nr_vports--;
}

const struct entry *registry_owner(const struct registry *registry, struct uuid port)
{
	const struct entry *owner = NULL;

	for (const struct entry *at = *bucket_of(registry, port); at; at = at->next_in_bucket)
		if (!at->deleted && !memcmp(&at->id, &port, sizeof(port)) &&
		    epoch_host(at->epoch) == at->origin->host &&
		    (!owner || at->epoch > owner->epoch))
			owner = at;
	return owner;
}

/* ---- One origin -------------------------------------------------------------------------------------------------- */

static struct origin *origin_get(struct registry *registry, uint32_t host)
{
	struct origin *origin = hostmap_find(&registry->origins, host);

	if (origin)
		return origin;
	origin = calloc(1, sizeof(*origin));
	if (!origin)
		return NULL;
	origin->host = host;
	if (hostmap_insert(&registry->origins, host, origin)) {
		free(origin);
		return NULL;
	}
	return origin;
}

int registry_know(struct registry *registry, uint32_t host)
{
	return origin_get(registry, host) ? 0 : -ENOMEM;
}

const struct origin *registry_origin(const struct registry *registry, uint32_t host)
{
	return hostmap_find(&registry->origins, host);
}

/* Index of the first entry with a version above. */
static size_t upper(const struct origin *origin, uint64_t version)
{
	size_t low = 0, high = origin->nr;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (origin->entries[middle]->version <= version)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct entry *find(const struct origin *origin, uint8_t kind, const struct uuid *id)
{
	for (size_t i = 0; i < origin->nr; i++) {
		struct entry *entry = origin->entries[i];

		if (entry->kind == kind && !memcmp(&entry->id, id, sizeof(*id)))
			return entry;
	}
	return NULL;
}

static void entry_free(struct registry *registry, struct entry *entry)
{
	gossip_forget(registry->gossip, &entry->rumour);
	unindex_entry(registry, entry);
	entry->origin->nr_deleted -= entry->deleted;
	free(entry);
}

static void entry_remove(struct registry *registry, struct entry *entry)
{
	struct origin *origin = entry->origin;
	size_t at = upper(origin, entry->version) - 1;

	memmove(origin->entries + at, origin->entries + at + 1,
		(origin->nr - at - 1) * sizeof(*origin->entries));
	origin->nr--;
	entry_free(registry, entry);
}

static struct entry *entry_insert(struct registry *registry, struct origin *origin,
				  const struct entry_record *record, uint64_t previous)
{
	struct entry *entry;
	size_t at;

	if (origin->nr == origin->room) {
		size_t room = origin->room ? 2 * origin->room : 4;
		struct entry **entries = realloc(origin->entries, room * sizeof(struct entry *));

		if (!entries)
			return NULL;
		origin->entries = entries;
		origin->room = room;
	}
	entry = calloc(1, sizeof(*entry) + record->value.nr + record->signature.nr);
	if (!entry)
		return NULL;
	entry->rumour.kind = RUMOUR_ENTRY;
	entry->origin = origin;
	entry->version = record->version;
	entry->previous = previous;
	entry->epoch = record->epoch;
	entry->id = record->id;
	entry->kind = record->kind;
	entry->deleted = record->deleted;
	entry->nr = record->value.nr;
	entry->has_signature = record->signature.nr != 0;
	if (entry->nr)
		memcpy(entry->value, record->value.bytes, entry->nr);
	if (entry->has_signature)
		memcpy(entry->value + entry->nr, record->signature.bytes, ENTRY_SIGNATURE);

	at = upper(origin, entry->version);
	memmove(origin->entries + at + 1, origin->entries + at,
		(origin->nr - at) * sizeof(*origin->entries));
	origin->entries[at] = entry;
	origin->nr++;
	origin->nr_deleted += entry->deleted;
	index_entry(registry, entry);
	return entry;
}

/* Law R3: what the origin had before its floor and did not write anew is gone. */
static void drop_below(struct registry *registry, struct origin *origin, uint64_t floor)
{
	size_t nr = upper(origin, floor);

	for (size_t i = 0; i < nr; i++) {
		struct entry *entry = origin->entries[i];

		if (!entry->deleted) {
			entry->deleted = true;
			origin->nr_deleted++;
			registry->changed(registry->data, entry);
		}
		entry_free(registry, entry);
	}
	memmove(origin->entries, origin->entries + nr,
		(origin->nr - nr) * sizeof(*origin->entries));
	origin->nr -= nr;
}

/* Raises `known` over entries that came early. A host entry takes effect here: in order, or never. */
static void advance(struct registry *registry, struct origin *origin)
{
	for (size_t at = upper(origin, origin->known); at < origin->nr; at++) {
		const struct entry *entry = origin->entries[at];
		uint64_t floor;

		if (entry->previous > origin->known)
			break;
		origin->known = entry->version;
		floor = entry->kind == ENTRY_HOST ? entry->epoch : 0;
		if (floor && upper(origin, floor)) {
			drop_below(registry, origin, floor);
			at = upper(origin, origin->known) - 1;
		}
	}
}

static int verify(const struct registry *registry, const struct origin *origin,
		  const struct entry_record *record)
{
	const struct sync_env *env = registry->gossip->env;
	uint8_t bytes[ENTRY_SIGNED_MAX];

	if (!env->entry_verify)
		return 0;
	return env->entry_verify(env->data, origin->host, record, bytes,
				 entry_signed(origin->host, record, bytes));
}

/* Returns 0, -ENOMEM, -ENOSPC, or what verify says. */
static int apply(struct registry *registry, struct origin *origin,
		 const struct entry_record *record, uint64_t previous, bool rumour)
{
	struct entry *old = find(origin, record->kind, &record->id), *entry;
	int r;

	if (old && old->version == record->version) {
		/* Known, but perhaps not how far back it reaches. */
		if (previous < old->previous)
			old->previous = previous;
		return 0;
	}
	if (record->version <= origin->known || (old && old->version > record->version))
		return 0;
	if (!old && origin->nr >= ENTRIES_MOST)
		return -ENOSPC;
	r = verify(registry, origin, record);
	if (r < 0)
		return r;
	entry = entry_insert(registry, origin, record, previous);
	if (!entry)
		return -ENOMEM;
	if (old)
		entry_remove(registry, old);
	if (rumour)
		gossip_tell(registry->gossip, &entry->rumour);
	registry->news = true;
	registry->changed(registry->data, entry);
	return 0;
}

int registry_overtake(struct registry *registry, uint64_t version)
{
	if (version <= registry->last_version)
		return 0;
	if (version > UINT64_MAX / 2)
		return -EBADMSG;
	/* What is told of us may be but a part of it: leave a distance. */
	registry->last_version = version + OVERTAKE_BY;
	return registry_rebase(registry);
}

int registry_on_entries(struct registry *registry, struct reader reader)
{
	struct entries_head head;
	struct entry_record record;
	struct origin *origin;
	uint64_t previous;
	int r = 0;

	get_entries_head(&reader, &head);
	if (reader.bad)
		return -EBADMSG;
	if (!head.origin)
		return 0;
	if (registry->origins.nr >= ORIGINS_MOST && !registry_origin(registry, head.origin))
		return -ENOSPC;
	origin = origin_get(registry, head.origin);
	if (!origin)
		return -ENOMEM;

	previous = head.from;
	while (!r && get_entry_record(&reader, &record)) {
		if (record.version <= previous)
			return -EBADMSG;
		if (origin == registry->own)
			r = registry_overtake(registry, record.version);
		else
			r = apply(registry, origin, &record, previous, head.rumour);
		/* What we have under a newer version does not break the chain: the record stood in this range. */
		if (!r && origin != registry->own && previous <= origin->known &&
		    origin->known < record.version) {
			origin->known = record.version;
			if (record.kind == ENTRY_HOST && record.epoch)
				drop_below(registry, origin, record.epoch);
		}
		previous = record.version;
	}
	advance(registry, origin);
	if (r)
		return r;
	return reader.bad ? -EBADMSG : 0;
}

bool registry_put_delta(const struct origin *origin, uint64_t *known, struct writer *writer)
{
	uint8_t *begin = tlv_begin(writer, MESSAGE_ENTRIES);
	uint64_t sent = *known;

	put_entries_head(writer, &(struct entries_head){.origin = origin->host, .from = *known});
	for (size_t at = upper(origin, *known); at < origin->nr; at++) {
		const struct entry *entry = origin->entries[at];
		uint8_t *before = writer->at;

		if (entry->version > origin->known)
			break;
		put_entry(writer, entry);
		if (writer->full || writer->at - begin > UINT16_MAX) {
			writer->at = before;
			writer->full = false;
			break;
		}
		sent = entry->version;
	}
	if (sent == *known) {
		writer->at = begin;
		writer->full = false;
		return false;
	}
	*known = sent;
	return tlv_end(writer, begin);
}

const struct entry *registry_get(const struct registry *registry, uint32_t host,
				 enum entry_kind kind, struct uuid id)
{
	const struct origin *origin = hostmap_find(&registry->origins, host);
	const struct entry *entry = origin ? find(origin, kind, &id) : NULL;

	return entry && !entry->deleted ? entry : NULL;
}

/* ---- This host's own entries ------------------------------------------------------------------------------------- */

static int sign(const struct registry *registry, struct entry_record *record,
		uint8_t signature[ENTRY_SIGNATURE])
{
	const struct sync_env *env = registry->gossip->env;
	uint8_t bytes[ENTRY_SIGNED_MAX];
	int r;

	record->signature = (struct slice){0};
	if (!env->entry_sign)
		return 0;
	r = env->entry_sign(env->data, bytes, entry_signed(registry->own->host, record, bytes),
			    signature);
	if (r == 0)
		record->signature = (struct slice){.bytes = signature, .nr = ENTRY_SIGNATURE};
	return r;
}

static int write_own(struct registry *registry, struct entry_record *record)
{
	struct origin *own = registry->own;
	struct entry *old = find(own, record->kind, &record->id), *entry;
	uint8_t signature[ENTRY_SIGNATURE];
	int r;

	record->version = registry->last_version + 1;
	r = sign(registry, record, signature);
	if (r < 0)
		return r;
	entry = entry_insert(registry, own, record, own->known);
	if (!entry)
		return -ENOMEM;
	if (old)
		entry_remove(registry, old);
	registry->last_version = own->known = record->version;
	registry->news = true;
	gossip_tell(registry->gossip, &entry->rumour);
	return 0;
}

static int write_anew(struct registry *registry, const struct entry *entry, uint64_t epoch)
{
	return write_own(registry, &(struct entry_record){.kind = entry->kind,
							  .id = entry->id,
							  .epoch = epoch,
							  .value = entry_value(entry)});
}

int registry_rebase(struct registry *registry)
{
	struct origin *own = registry->own;
	uint64_t floor = registry->last_version;
	const struct entry *host = NULL;
	size_t nr = own->nr;
	_cleanup_free_ struct entry **before = calloc(nr + 1, sizeof(struct entry *));
	int r = 0;

	if (!before)
		return -ENOMEM;
	memcpy(before, own->entries, nr * sizeof(*before));
	/* The certificate goes first: whatever comes behind it can be verified. The host entry goes last: who has applied it
	 * has applied all. An entry that is written anew is gone. */
	for (size_t i = 0; i < nr && !r; i++) {
		if (before[i]->kind != ENTRY_CERTIFICATE)
			continue;
		r = write_anew(registry, before[i], 0);
		before[i] = NULL;
	}
	for (size_t i = 0; i < nr && !r; i++) {
		const struct entry *entry = before[i];

		if (entry && entry->kind == ENTRY_HOST)
			host = entry;
		else if (entry && !entry->deleted)
			r = write_anew(registry, entry, entry->epoch);
	}
	if (!r && host)
		r = write_anew(registry, host, floor);
	if (!r && host)
		drop_below(registry, own, floor);
	return r;
}

int registry_put(struct registry *registry, enum entry_kind kind, struct uuid id, uint64_t epoch,
		 struct slice value)
{
	const struct entry *old = find(registry->own, (uint8_t)kind, &id);

	if (value.nr > ENTRY_VALUE_MAX)
		return -EMSGSIZE;
	/* The floor of the last rebase stays in force. */
	if (kind == ENTRY_HOST && old)
		epoch = old->epoch;
	return write_own(registry,
			 &(struct entry_record){
				 .kind = (uint8_t)kind, .id = id, .epoch = epoch, .value = value});
}

int registry_delete(struct registry *registry, enum entry_kind kind, struct uuid id)
{
	const struct entry *old = find(registry->own, (uint8_t)kind, &id);
	int r;

	if (!old || old->deleted)
		return 0;
	r = write_own(registry,
		      &(struct entry_record){
			      .kind = (uint8_t)kind, .deleted = 1, .id = id, .epoch = old->epoch});
	if (!r && registry->own->nr_deleted > registry->own->nr / 2 + REBASE_SLACK)
		r = registry_rebase(registry);
	return r;
}

int registry_retire(struct registry *registry)
{
	struct origin *own = registry->own;

	for (size_t i = own->nr; i > 0; i--)
		if (own->entries[i - 1]->kind == ENTRY_VPORT)
			entry_remove(registry, own->entries[i - 1]);
	return registry_rebase(registry);
}

int registry_init(struct registry *registry, struct gossip *gossip, uint32_t host, uint32_t life)
{
	memset(registry, 0, sizeof(*registry));
	registry->gossip = gossip;
	gossip->put[RUMOUR_ENTRY] = put_rumour;
	registry->last_version = (uint64_t)life << 32;
	registry->nr_buckets = 16;
	registry->buckets = calloc(registry->nr_buckets, sizeof(struct entry *));
	if (!registry->buckets)
		return -ENOMEM;
	registry->own = origin_get(registry, host);
	return registry->own ? 0 : -ENOMEM;
}

void registry_free(struct registry *registry)
{
	for (size_t i = 0; i < registry->origins.nr; i++) {
		struct origin *origin = registry->origins.things[i];

		for (size_t j = 0; j < origin->nr; j++)
			free(origin->entries[j]);
		free(origin->entries);
		free(origin);
	}
	hostmap_free(&registry->origins);
	free(registry->buckets);
}
