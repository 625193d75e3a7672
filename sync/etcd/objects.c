// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "sync/etcd/client.h"

/* Objects, in chunks, and the generations that keep them alive. */

#define SIZE_LEN 16

/* All of an object lies in [key, end): its size at the first key, its chunks behind "key/". */
void object_keys(const struct etcd *etcd, const struct digest *name, char key[KEY_LEN],
		 char end[KEY_LEN])
{
	char hex[2 * sizeof(name->bytes) + 1];

	sodium_bin2hex(hex, sizeof(hex), name->bytes, sizeof(name->bytes));
	key_of(etcd, key, "object/%s", hex);
	key_of(etcd, end, "object/%s0", hex); /* '0' is next to '/' */
}

static void chunk_key(const struct etcd *etcd, const struct digest *name, uint32_t offset,
		      char key[KEY_LEN])
{
	char end[KEY_LEN];
	size_t nr;

	object_keys(etcd, name, key, end);
	nr = strlen(key);
	snprintf(key + nr, KEY_LEN - nr, "/%04" PRIx32, offset / ETCD_CHUNK);
}

static uint32_t chunk_at(uint32_t offset, uint32_t total)
{
	return total - offset < ETCD_CHUNK ? total - offset : ETCD_CHUNK;
}

/* The size that stands at an object's key; 0: none. */
static uint32_t size_of(const struct etcd_pair *pair)
{
	const char *text = pair ? (const char *)pair->value : "";
	unsigned long size;

	if (!pair || !pair->nr || pair->nr > 8 || strspn(text, "0123456789") != pair->nr)
		return 0;
	size = strtoul(text, NULL, 10);
	return size <= ETCD_OBJECT_MAX ? (uint32_t)size : 0;
}

/* ---- Up ---------------------------------------------------------------------------------------------------------- */

static const struct digest *object_at(const struct commit *commit, size_t at)
{
	const struct manifest *next = &commit->next;

	if (at < next->active.nr_objects)
		return &next->active.objects[at];
	at -= next->active.nr_objects;
	return at < next->staged.nr_objects ? &next->staged.objects[at] : NULL;
}

static const struct digest *commit_object(const struct commit *commit)
{
	return object_at(commit, commit->object);
}

static void put(struct etcd *etcd, const char *key, const void *bytes, size_t nr,
		etcd_answered *answered)
{
	struct etcd_txn txn;

	txn_begin(&txn);
	txn_put(&txn, key, bytes, nr);
	lane_post(etcd, "/v3/kv/txn", txn.object, answered);
}

static void look_for_object(struct etcd *etcd);

static void next_object(struct etcd *etcd, const struct etcd_answer *answer)
{
	(void)answer;
	etcd->counters.objects_put++;
	etcd->commit.put |= 1U << etcd->commit.object++;
	look_for_object(etcd);
}

static void upload(struct etcd *etcd, const struct etcd_answer *answer)
{
	struct commit *commit = &etcd->commit;
	const struct digest *name = commit_object(commit);
	char key[KEY_LEN], end[KEY_LEN], size[SIZE_LEN];
	const uint8_t *bytes;
	uint32_t total, nr;

	(void)answer;
	bytes = etcd->config.object_get(etcd->config.data, name, &total);
	if (!bytes || !total || total > ETCD_OBJECT_MAX || commit->offset > total) {
		commit_end(etcd, -ENOENT);
		lane_end(etcd);
		return;
	}
	if (commit->offset < total) {
		nr = chunk_at(commit->offset, total);
		chunk_key(etcd, name, commit->offset, key);
		commit->offset += nr;
		put(etcd, key, bytes + commit->offset - nr, nr, upload);
		return;
	}
	/* Last: who sees it may rely on the chunks. */
	object_keys(etcd, name, key, end);
	snprintf(size, sizeof(size), "%" PRIu32, total);
	put(etcd, key, size, strlen(size), next_object);
}

static void on_looked(struct etcd *etcd, const struct etcd_answer *answer)
{
	const struct etcd_pair *pair = answer->nr_pairs ? &answer->pairs[0] : NULL;
	struct commit *commit = &etcd->commit;
	uint32_t total;

	/* One that is not here cannot be said to be wrong there. */
	if (!pair || (etcd->config.object_get(etcd->config.data, commit_object(commit), &total) &&
		      size_of(pair) != total)) {
		commit->offset = 0;
		upload(etcd, NULL);
		return;
	}
	commit->object++;
	look_for_object(etcd);
}

static void look_for_object(struct etcd *etcd)
{
	const struct digest *name = commit_object(&etcd->commit);
	char key[KEY_LEN], end[KEY_LEN];

	if (!name) {
		swap_begin(etcd);
		return;
	}
	object_keys(etcd, name, key, end);
	lane_post(etcd, "/v3/kv/range", etcd_range(key, NULL), on_looked);
}

void upload_void(struct etcd *etcd)
{
	const struct commit *commit = &etcd->commit;
	const struct digest *name;

	for (size_t i = 0; (name = object_at(commit, i)); i++)
		if (commit->put & 1U << i && etcd->nr_unnamed < UNNAMED_MAX)
			etcd->unnamed[etcd->nr_unnamed++] = *name;
	if (etcd->nr_unnamed)
		want_job(etcd, JOB_HISTORY);
}

void upload_begin(struct etcd *etcd)
{
	etcd->commit.object = 0;
	look_for_object(etcd);
}

/* ---- Down -------------------------------------------------------------------------------------------------------- */

static void download_end(struct etcd *etcd)
{
	struct want *want = &etcd->want;

	free(want->bytes);
	want->bytes = NULL;
	lane_end(etcd);
	if (want->wanted)
		want_job(etcd, JOB_WANT);
}

static void get_chunk(struct etcd *etcd);

static void on_chunk(struct etcd *etcd, const struct etcd_answer *answer)
{
	const struct etcd_pair *pair = answer->nr_pairs ? &answer->pairs[0] : NULL;
	struct want *want = &etcd->want;
	int r;

	if (!pair || pair->nr != chunk_at(want->nr, want->total)) {
		etcd->counters.bad_objects++;
		download_end(etcd);
		return;
	}
	memcpy(want->bytes + want->nr, pair->value, pair->nr);
	want->nr += (uint32_t)pair->nr;
	if (want->nr < want->total) {
		get_chunk(etcd);
		return;
	}
	r = etcd->config.object_put(etcd->config.data, &want->name, want->bytes, want->nr);
	etcd->counters.bad_objects += r < 0;
	etcd->counters.objects_got += r == 0;
	download_end(etcd);
	if (r == 0)
		etcd->config.object_came(etcd->config.data);
}

static void get_chunk(struct etcd *etcd)
{
	char key[KEY_LEN];

	chunk_key(etcd, &etcd->want.name, etcd->want.nr, key);
	lane_post(etcd, "/v3/kv/range", etcd_range(key, NULL), on_chunk);
}

static void on_size(struct etcd *etcd, const struct etcd_answer *answer)
{
	struct want *want = &etcd->want;

	want->total = size_of(answer->nr_pairs ? &answer->pairs[0] : NULL);
	want->nr = 0;
	if (!want->total) {
		etcd->counters.bad_objects += answer->nr_pairs > 0;
		download_end(etcd);
		return;
	}
	free(want->bytes);
	want->bytes = malloc(want->total);
	if (!want->bytes)
		download_end(etcd);
	else
		get_chunk(etcd);
}

void download_begin(struct etcd *etcd)
{
	struct want *want = &etcd->want;
	char key[KEY_LEN], end[KEY_LEN];

	if (want->wanted) {
		want->wanted = false;
		want->name = want->next;
		want->tries = 0;
	}
	object_keys(etcd, &want->name, key, end);
	lane_post(etcd, "/v3/kv/range", etcd_range(key, NULL), on_size);
}

void etcd_want(struct etcd *etcd, const struct digest *name)
{
	bool at_hand = etcd->job == JOB_WANT || etcd->due & JOB_BIT(JOB_WANT);

	if (at_hand && !memcmp(&etcd->want.name, name, sizeof(*name)))
		return;
	etcd->want.wanted = true;
	etcd->want.next = *name;
	if (etcd->job != JOB_WANT)
		want_job(etcd, JOB_WANT);
}

/* ---- Generations ------------------------------------------------------------------------------------------------- */

/* The record of when it was staged, or of when it was flipped: it names the generation of its key. */
static bool history_add(struct etcd *etcd, const struct etcd_pair *pair)
{
	struct history *history = &etcd->history[etcd->nr_history];
	struct record record;
	char key[KEY_LEN];

	if (pair->nr > RECORD_MAX ||
	    record_parse((struct slice){pair->value, (uint16_t)pair->nr}, &record) < 0)
		return false;
	history->writer = record.writer;
	history->generation =
		record.manifest.staged.number ? record.manifest.staged : record.manifest.active;
	key_of(etcd, key, "generation/%010" PRIu32, history->generation.number);
	return !strcmp(key, pair->key);
}

static void on_history(struct etcd *etcd, const struct etcd_answer *answer)
{
	etcd->nr_history = 0;
	for (size_t i = 0; i < answer->nr_pairs && i < HISTORY_MAX; i++) {
		if (history_add(etcd, &answer->pairs[i]))
			etcd->nr_history++;
		else
			etcd->counters.bad_records++;
	}
	etcd->prune = etcd->prune && etcd->nr_history > ETCD_GENERATIONS;
	if (etcd->prune || etcd->nr_unnamed)
		want_job(etcd, JOB_PRUNE);
	lane_end(etcd);
}

void history_begin(struct etcd *etcd)
{
	char first[KEY_LEN], end[KEY_LEN];

	key_of(etcd, first, "generation/");
	key_of(etcd, end, "generation0");
	lane_post(etcd, "/v3/kv/range", etcd_range_last(first, end, HISTORY_MAX), on_history);
}

static bool names(const struct generation *generation, const struct digest *object)
{
	for (size_t i = 0; i < generation->nr_objects; i++)
		if (!memcmp(&generation->objects[i], object, sizeof(*object)))
			return true;
	return false;
}

/* By the manifest, or one of the `nr` newest generations. */
static bool is_named(const struct etcd *etcd, size_t nr, const struct digest *object)
{
	for (size_t i = 0; i < nr; i++)
		if (names(&etcd->history[i].generation, object))
			return true;
	return names(&etcd->manifest.active, object) || names(&etcd->manifest.staged, object);
}

static void delete_unless_named(struct etcd *etcd, struct etcd_txn *txn, size_t nr,
				const struct digest *object)
{
	char key[KEY_LEN], end[KEY_LEN];

	if (is_named(etcd, nr, object))
		return;
	object_keys(etcd, object, key, end);
	txn_delete(txn, key, end);
}

static void on_pruned(struct etcd *etcd, const struct etcd_answer *answer)
{
	etcd->counters.pruned += answer->succeeded && etcd->prune;
	if (answer->succeeded) {
		etcd->nr_unnamed = 0;
		want_job(etcd, JOB_HISTORY);
	}
	lane_end(etcd);
}

/* Law E5: the oldest generation that is known, and what only it names; and what none names. */
void prune_begin(struct etcd *etcd)
{
	size_t nr = etcd->nr_history;
	struct etcd_txn txn;
	char key[KEY_LEN];

	if (!etcd->prune && !etcd->nr_unnamed) {
		lane_end(etcd);
		return;
	}
	txn_begin(&txn);
	key_of(etcd, key, "manifest");
	txn_if_revision(&txn, key, etcd->revision);
	if (etcd->prune) {
		const struct generation *oldest = &etcd->history[--nr].generation;

		key_of(etcd, key, "generation/%010" PRIu32, oldest->number);
		txn_if_there(&txn, key);
		txn_delete(&txn, key, NULL);
		for (size_t i = 0; i < oldest->nr_objects; i++)
			delete_unless_named(etcd, &txn, nr, &oldest->objects[i]);
	}
	for (size_t i = 0; i < etcd->nr_unnamed; i++)
		delete_unless_named(etcd, &txn, etcd->nr_history, &etcd->unnamed[i]);
	lane_post(etcd, "/v3/kv/txn", txn.object, on_pruned);
}

void etcd_list(struct etcd *etcd,
	       void (*each)(void *data, const struct generation *generation, uint32_t writer),
	       void *data)
{
	for (size_t i = 0; i < etcd->nr_history; i++)
		each(data, &etcd->history[i].generation, etcd->history[i].writer);
	want_job(etcd, JOB_HISTORY);
}
