// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "sync/core.h"

/* Policy generations: staged everywhere, then flipped; see P1-P4 in docs/sync-design.md. */

#define PATIENCE_MS	 5000 /* the writer waits this long for hosts that have not staged */
#define RETRY_MS	 1000
#define FETCH_TIMEOUT_MS 500
#define CHUNK_BYTES	 32768
#define OBJECT_MAX	 (16U << 20)

static int publish(struct sync *sync)
{
	uint8_t value[ENTRY_VALUE_MAX];
	uint16_t nr;
	int r;

	r = manifest_encode(&sync->policy.manifest, value, &nr);
	if (r < 0)
		return r;
	return registry_put(&sync->registry, ENTRY_POLICY, (struct uuid){0}, 0,
			    (struct slice){value, nr});
}

/* Kept on disk first: what the writer forgot nobody could put right. */
static int write_manifest(struct sync *sync, const struct manifest *manifest)
{
	struct policy *policy = &sync->policy;
	bool changed = manifest->active.number != policy->manifest.active.number;
	int r;

	r = sync->env->policy_keep(sync->env->data, manifest, sync->config.host);
	if (r < 0)
		return r;
	policy->manifest = *manifest;
	policy->writer = sync->config.host;
	policy->retry_ms = sync->now;
	wake(sync, sync->now);
	r = publish(sync);
	if (changed && policy->watcher)
		policy->watcher(policy->watcher_data);
	return r;
}

static uint32_t newest(const struct manifest *manifest)
{
	return manifest->staged.number > manifest->active.number ? manifest->staged.number
								 : manifest->active.number;
}

/* Law P1. */
static bool follows(const struct policy *policy, const struct manifest *manifest, uint32_t writer)
{
	if (manifest->term != policy->manifest.term)
		return manifest->term > policy->manifest.term;
	if (writer != policy->writer)
		return writer > policy->writer;
	if (newest(manifest) != newest(&policy->manifest))
		return newest(manifest) > newest(&policy->manifest);
	return manifest->active.number > policy->manifest.active.number;
}

void policy_on_entry(struct sync *sync, const struct entry *entry)
{
	struct policy *policy = &sync->policy;
	uint32_t writer = entry->origin->host;
	struct manifest manifest;
	bool changed;

	if (entry->kind == ENTRY_HOST) {
		if (policy->is_writer && policy->manifest.staged.number) {
			policy->retry_ms = earlier(policy->retry_ms, sync->now);
			wake(sync, policy->retry_ms);
		}
		return;
	}
	if (entry->deleted)
		return;
	if (manifest_decode(entry_value(entry), &manifest)) {
		sync->counters.malformed++;
		return;
	}
	if (!follows(policy, &manifest, writer)) {
		sync->counters.foreign_writers += writer != policy->writer;
		return;
	}
	changed = manifest.active.number != policy->manifest.active.number;
	policy->manifest = manifest;
	policy->writer = writer;
	policy->is_writer = false;
	/* Here a full disk costs only the next boot's last good generation. */
	if (sync->env->policy_keep(sync->env->data, &manifest, writer) < 0)
		sync->counters.ledger_errors++;
	policy->retry_ms = sync->now;
	wake(sync, sync->now);
	if (changed && policy->watcher)
		policy->watcher(policy->watcher_data);
}

/* ---- Objects ----------------------------------------------------------------------------------------------------- */

/* A host that has the generation; the writer when no other is found. */
static uint32_t holder(const struct sync *sync, uint32_t generation)
{
	for (size_t tries = 0; tries < 8; tries++) {
		uint32_t host = members_random(&sync->members);
		struct host_info info;

		if (host && !sync_host_info(sync, host, &info) &&
		    (info.staged == generation || info.active == generation))
			return host;
	}
	return sync->policy.writer;
}

static void send_object_get(struct sync *sync)
{
	struct policy *policy = &sync->policy;
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_object_get(&packet,
		       &(struct object_get){.name = policy->fetching, .offset = policy->nr});
	sync->env->send(sync->env->data, policy->fetch_from, bytes, writer_used(&packet));
	policy->fetch_ms = sync->now + FETCH_TIMEOUT_MS;
}

static void fetch_end(struct policy *policy)
{
	free(policy->bytes);
	policy->bytes = NULL;
	policy->nr = policy->total = 0;
	policy->is_fetching = false;
}

static void fetch(struct sync *sync, const struct digest *name, uint32_t generation)
{
	struct policy *policy = &sync->policy;

	if (policy->is_fetching && memcmp(&policy->fetching, name, sizeof(*name)) != 0)
		fetch_end(policy);
	if (policy->is_fetching && sync->now < policy->fetch_ms)
		return;
	/* What has come so far is kept: all holders have the same bytes. */
	policy->is_fetching = true;
	policy->fetching = *name;
	policy->fetch_from = holder(sync, generation);
	if (policy->fetch_from != sync->config.host)
		send_object_get(sync);
	else
		policy->fetch_ms = sync->now + RETRY_MS;
}

void policy_on_object_get(struct sync *sync, uint32_t from, const struct object_get *message)
{
	uint8_t bytes[CHUNK_BYTES + 128];
	struct writer packet;
	const uint8_t *object;
	uint32_t total, nr;

	object = sync->env->object_get(sync->env->data, &message->name, &total);
	if (!object || message->offset > total)
		return;
	nr = total - message->offset < CHUNK_BYTES ? total - message->offset : CHUNK_BYTES;
	packet_begin(&packet, bytes, sizeof(bytes));
	put_object(&packet, &(struct object){.name = message->name,
					     .offset = message->offset,
					     .total = total,
					     .data = {object + message->offset, (uint16_t)nr}});
	/* No credit: it will be asked for again. */
	if (writer_used(&packet) <= WIRE_DATAGRAM)
		sync->env->send(sync->env->data, from, bytes, writer_used(&packet));
	else
		sync->env->bulk(sync->env->data, from, bytes, writer_used(&packet));
}

void policy_on_object(struct sync *sync, uint32_t from, const struct object *message)
{
	struct policy *policy = &sync->policy;

	if (!policy->is_fetching || from != policy->fetch_from || message->offset != policy->nr ||
	    memcmp(&message->name, &policy->fetching, sizeof(message->name)) != 0 ||
	    message->total > OBJECT_MAX || message->data.nr > message->total - message->offset ||
	    (policy->bytes && message->total != policy->total))
		return;
	if (!policy->bytes) {
		policy->bytes = malloc(message->total + 1U);
		if (!policy->bytes) {
			sync->counters.no_memory++;
			return;
		}
		policy->total = message->total;
	}
	if (message->data.nr)
		memcpy(policy->bytes + policy->nr, message->data.bytes, message->data.nr);
	policy->nr += message->data.nr;
	if (policy->nr < policy->total) {
		send_object_get(sync);
		return;
	}
	if (sync->env->object_put(sync->env->data, &policy->fetching, policy->bytes, policy->nr)) {
		sync->counters.bad_objects++;
		policy->retry_ms = sync->now + RETRY_MS;
	} else {
		policy->retry_ms = sync->now;
	}
	fetch_end(policy);
	wake(sync, policy->retry_ms);
}

void policy_free(struct sync *sync)
{
	fetch_end(&sync->policy);
}

/* ---- Staging and flipping ---------------------------------------------------------------------------------------- */

/* True when the generation is ready to be flipped to. */
static bool stage(struct sync *sync, const struct generation *generation)
{
	struct policy *policy = &sync->policy;

	if (policy->staged == generation->number)
		return true;
	for (size_t i = 0; i < generation->nr_objects; i++) {
		uint32_t nr;

		if (!sync->env->object_get(sync->env->data, &generation->objects[i], &nr)) {
			fetch(sync, &generation->objects[i], generation->number);
			policy->retry_ms = policy->fetch_ms;
			return false;
		}
	}
	if (sync->env->policy_stage(sync->env->data, generation) < 0) {
		policy->retry_ms = sync->now + RETRY_MS;
		return false;
	}
	policy->staged = generation->number;
	return true;
}

static void follow(struct sync *sync)
{
	struct policy *policy = &sync->policy;
	const struct manifest *manifest = &policy->manifest;
	uint32_t staged = policy->staged, active = policy->active;

	if (manifest->active.number != policy->active && stage(sync, &manifest->active)) {
		policy->active = manifest->active.number;
		sync->env->policy_flip(sync->env->data, policy->active);
	}
	if (manifest->active.number == policy->active && manifest->staged.number)
		stage(sync, &manifest->staged);
	if ((staged != policy->staged || active != policy->active) && host_info_publish(sync))
		sync->counters.no_memory++;
}

static bool all_staged(const struct sync *sync, uint32_t generation)
{
	const struct hostmap *map = &sync->members.map;
	struct host_info info;

	if (sync->policy.staged != generation)
		return false;
	for (size_t i = 0; i < map->nr; i++)
		if (members_living(&sync->members, map->hosts[i]) &&
		    (sync_host_info(sync, map->hosts[i], &info) || info.staged != generation))
			return false;
	return true;
}

static void writer_tick(struct sync *sync)
{
	struct policy *policy = &sync->policy;
	struct manifest next = policy->manifest;

	if (!policy->is_writer || !next.staged.number || policy->staged != next.staged.number)
		return;
	if (!all_staged(sync, next.staged.number) && sync->now < policy->flip_ms) {
		wake(sync, policy->flip_ms);
		return;
	}
	next.active = next.staged;
	next.staged = (struct generation){0};
	if (write_manifest(sync, &next) < 0)
		policy->flip_ms = sync->now + RETRY_MS;
	wake(sync, policy->flip_ms);
}

void policy_tick(struct sync *sync)
{
	struct policy *policy = &sync->policy;

	if (!sync->started)
		return;
	if (sync->now >= policy->retry_ms) {
		policy->retry_ms = INT64_MAX;
		follow(sync);
	}
	writer_tick(sync);
	wake(sync, policy->retry_ms);
}

int sync_policy_restore(struct sync *sync, const struct manifest *manifest, uint32_t writer)
{
	struct policy *policy = &sync->policy;

	if (sync->started)
		return -EINVAL;
	policy->manifest = *manifest;
	policy->writer = writer;
	policy->is_writer = writer == sync->config.host;
	policy->retry_ms = sync->now;
	policy->flip_ms = sync->now + PATIENCE_MS;
	return policy->is_writer ? publish(sync) : 0;
}

int sync_policy_take_over(struct sync *sync)
{
	struct manifest manifest = sync->policy.manifest;
	int r;

	manifest.term++;
	r = write_manifest(sync, &manifest);
	if (r < 0)
		return r;
	sync->policy.is_writer = true;
	sync->policy.flip_ms = sync->now + PATIENCE_MS;
	return 0;
}

uint32_t sync_policy_active(const struct sync *sync)
{
	return sync->policy.active;
}

/* ---- The store interface ----------------------------------------------------------------------------------------- */

static int store_get(void *data, struct generation *active)
{
	const struct sync *sync = data;

	*active = sync->policy.manifest.active;
	return 0;
}

static int store_cas(void *data, uint32_t expected, const struct generation *next)
{
	struct sync *sync = data;
	struct policy *policy = &sync->policy;
	struct manifest manifest = policy->manifest;
	uint32_t nr;

	if (!policy->is_writer)
		return -EPERM;
	if (manifest.active.number != expected || manifest.staged.number)
		return -EAGAIN;
	if (next->number <= expected || next->nr_objects > GENERATION_OBJECTS)
		return -EINVAL;
	for (size_t i = 0; i < next->nr_objects; i++)
		if (!sync->env->object_get(sync->env->data, &next->objects[i], &nr))
			return -ENOENT;
	manifest.staged = *next;
	if (!manifest.term)
		manifest.term = 1;
	policy->flip_ms = sync->now + PATIENCE_MS;
	return write_manifest(sync, &manifest);
}

static void store_watch(void *data, void (*changed)(void *watcher), void *watcher)
{
	struct sync *sync = data;

	sync->policy.watcher = changed;
	sync->policy.watcher_data = watcher;
}

static void store_list(void *data,
		       void (*each)(void *each_data, const struct generation *generation),
		       void *each_data)
{
	const struct sync *sync = data;
	const struct hostmap *origins = &sync->registry.origins;

	for (size_t i = 0; i < origins->nr; i++) {
		const struct entry *entry = registry_get(&sync->registry, origins->hosts[i],
							 ENTRY_POLICY, (struct uuid){0});
		struct manifest manifest;

		if (!entry || manifest_decode(entry_value(entry), &manifest))
			continue;
		if (manifest.active.number)
			each(each_data, &manifest.active);
		if (manifest.staged.number)
			each(each_data, &manifest.staged);
	}
}

struct policy_store sync_policy_store(struct sync *sync)
{
	return (struct policy_store){.data = sync,
				     .get = store_get,
				     .cas = store_cas,
				     .watch = store_watch,
				     .list = store_list};
}
