// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "sync/core.h"

/* Policy generations: staged everywhere, then flipped; see P1-P5 and S1-S5 in docs/sync-design.md. */

#define PATIENCE_MS 5000  /* who staged a generation waits this long for hosts that have not */
#define ORPHAN_MS   15000 /* shared store: then any host flips it, */
#define STUCK_MS    20000 /* and then the next one may take its place */
#define RETRY_MS    1000
#define JITTER_MS   2000 /* among hosts that want to do the same */
/* The writer contacts who has not said that it is done: after that, each time after twice as long, so many hosts at once. */
#define REMIND_MS   150
#define REMIND_LAST 8000
#define REMIND_MOST 8

static int64_t jitter(const struct sync *sync)
{
	return (int64_t)(sync->env->random(sync->env->data) % JITTER_MS);
}

static bool shared(const struct sync *sync)
{
	return sync->config.shared_store;
}

/* Is the staged generation this host's to flip, as its writer? */
static bool mine(const struct sync *sync)
{
	return shared(sync) ? sync->policy.writer == sync->config.host : sync->policy.is_writer;
}

/* ---- The manifest that is followed ------------------------------------------------------------------------------- */

static uint32_t newest(const struct manifest *manifest)
{
	return manifest->staged.number > manifest->active.number ? manifest->staged.number
								 : manifest->active.number;
}

static int compare(uint32_t a, uint32_t b)
{
	return a < b ? -1 : a > b;
}

/* Law P1: below 0 when `a` is older than `b`. */
static int manifest_order(const struct manifest *a, const struct manifest *b)
{
	if (a->term != b->term)
		return compare(a->term, b->term);
	if (newest(a) != newest(b))
		return compare(newest(a), newest(b));
	return compare(a->active.number, b->active.number);
}

static bool generation_equal(const struct generation *a, const struct generation *b)
{
	return a->number == b->number && a->nr_objects == b->nr_objects &&
	       !memcmp(a->objects, b->objects, a->nr_objects * sizeof(a->objects[0]));
}

static bool manifest_equal(const struct manifest *a, const struct manifest *b)
{
	return a->term == b->term && generation_equal(&a->active, &b->active) &&
	       generation_equal(&a->staged, &b->staged);
}

/* The same in the local store, where a term has one writer; if two took over at once, the higher. */
static bool follows(const struct policy *policy, const struct manifest *manifest, uint32_t writer)
{
	if (manifest->term == policy->manifest.term && writer != policy->writer)
		return writer > policy->writer;
	return manifest_order(manifest, &policy->manifest) > 0;
}

/* 0 or a negative errno when it could not be kept on disk; it is followed all the same, unless `kept`. */
static int adopt(struct sync *sync, const struct manifest *manifest, uint32_t writer, bool kept)
{
	struct policy *policy = &sync->policy;
	bool changed = manifest->active.number != policy->manifest.active.number;
	int r;

	r = sync->env->policy_keep(sync->env->data, manifest, writer);
	if (r < 0) {
		if (kept)
			return r;
		sync->counters.ledger_errors++;
	}
	policy->manifest = *manifest;
	policy->writer = writer;
	policy->retry_ms = sync->now;
	policy->flip_ms = sync->now + PATIENCE_MS;
	policy->orphan_ms = sync->now + ORPHAN_MS + (shared(sync) ? jitter(sync) : 0);
	policy->stuck_ms = sync->now + STUCK_MS;
	policy->reminding_ms = REMIND_MS;
	policy->remind_ms = sync->now + REMIND_MS;
	wake(sync, sync->now);
	if (changed && policy->watcher)
		policy->watcher(policy->watcher_data);
	return r;
}

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

/* Local: done when it returns. It is kept on disk first: what the writer forgot nobody could put right.
 * Shared: begun when it returns. */
static int write_manifest(struct sync *sync, const struct manifest *manifest)
{
	struct policy *policy = &sync->policy;
	int r;

	if (!shared(sync)) {
		r = adopt(sync, manifest, sync->config.host, true);
		return r < 0 ? r : publish(sync);
	}
	r = sync->env->policy_commit(sync->env->data, policy->revision, manifest);
	policy->committing = r == 0;
	return r;
}

void policy_on_entry(struct sync *sync, const struct entry *entry)
{
	struct policy *policy = &sync->policy;
	uint32_t writer = entry->origin->host;
	struct manifest manifest;

	if (entry->kind == ENTRY_HOST) {
		if (policy->manifest.staged.number && mine(sync))
			wake(sync, sync->now);
		return;
	}
	if (entry->deleted)
		return;
	if (manifest_decode(entry_value(entry), &manifest)) {
		sync->counters.malformed++;
		return;
	}
	if (sync->env->policy_writer && !sync->env->policy_writer(sync->env->data, writer)) {
		sync->counters.foreign_writers++;
		return;
	}
	if (shared(sync) || !follows(policy, &manifest, writer)) {
		sync->counters.foreign_writers += shared(sync) || writer != policy->writer;
		return;
	}
	policy->is_writer = false;
	/* Here a full disk costs only the next boot's last good generation. */
	adopt(sync, &manifest, writer, false);
}

/* ---- Staging and flipping ---------------------------------------------------------------------------------------- */

/* Sets when to try again. */
static void put_off(struct sync *sync, int r)
{
	if (r != -EINPROGRESS)
		sync->policy.retry_ms = sync->now + RETRY_MS;
}

/* True when the generation is ready to be flipped to. */
static bool stage(struct sync *sync, const struct generation *generation)
{
	struct policy *policy = &sync->policy;
	int r;

	if (policy->staged == generation->number)
		return true;
	for (size_t i = 0; i < generation->nr_objects; i++) {
		uint32_t nr;

		if (!sync->env->object_get(sync->env->data, &generation->objects[i], &nr)) {
			objects_fetch(sync, &generation->objects[i], generation->number);
			policy->retry_ms = policy->fetch_ms;
			return false;
		}
	}
	r = sync->env->policy_stage(sync->env->data, generation);
	if (r < 0) {
		put_off(sync, r);
		return false;
	}
	policy->staged = generation->number;
	return true;
}

/* A flip that fails begins again with staging: the datapath may have been started anew. */
static void flip(struct sync *sync, uint32_t generation)
{
	struct policy *policy = &sync->policy;
	int r = sync->env->policy_flip(sync->env->data, generation);

	if (r == 0) {
		policy->active = generation;
		return;
	}
	if (r != -EINPROGRESS)
		policy->staged = 0;
	put_off(sync, r);
}

static void follow(struct sync *sync)
{
	struct policy *policy = &sync->policy;
	const struct manifest *manifest = &policy->manifest;
	uint32_t staged = policy->staged, active = policy->active;

	if (manifest->active.number != policy->active && stage(sync, &manifest->active))
		flip(sync, manifest->active.number);
	if (manifest->active.number == policy->active && manifest->staged.number)
		stage(sync, &manifest->staged);
	if ((staged != policy->staged || active != policy->active) && host_info_publish(sync))
		sync->counters.no_memory++;
}

/* Whom nobody has proven to be there is not waited for. */
static bool waited_for(const struct sync *sync, uint32_t host)
{
	const struct sync_env *env = sync->env;

	return members_living(&sync->members, host) &&
	       (!env->host_proven || env->host_proven(env->data, host));
}

/* Is the host, by its own report, where the manifest wants it to be? */
static bool reported(const struct sync *sync, uint32_t host)
{
	const struct manifest *manifest = &sync->policy.manifest;
	struct host_info info;

	if (sync_host_info(sync, host, &info))
		return false;
	return manifest->staged.number ? info.staged == manifest->staged.number
				       : info.active == manifest->active.number;
}

static bool all_reported(const struct sync *sync)
{
	const struct hostmap *map = &sync->members.map;

	/* Who has just started does not know yet who is alive. */
	if (sync->now < sync->ready_ms)
		return false;
	for (size_t i = 0; i < map->nr; i++)
		if (waited_for(sync, map->hosts[i]) && !reported(sync, map->hosts[i]))
			return false;
	return true;
}

/* Law P5: a rumour reaches nearly every host at once; the last one gets it, or is heard, by a comparison with the writer. */
static void remind_tick(struct sync *sync)
{
	struct policy *policy = &sync->policy;
	const struct hostmap *map = &sync->members.map;
	size_t reminded = 0, begin;

	if (!mine(sync) || policy->remind_ms == INT64_MAX)
		return;
	if (sync->now < policy->remind_ms) {
		wake(sync, policy->remind_ms);
		return;
	}
	begin = map->nr ? random_below(sync->env, map->nr) : 0;
	for (size_t i = 0; i < map->nr && reminded < REMIND_MOST; i++) {
		uint32_t host = map->hosts[(begin + i) % map->nr];

		if (!waited_for(sync, host) || reported(sync, host))
			continue;
		antientropy_contact(sync, host, NULL);
		reminded++;
	}
	policy->remind_ms = INT64_MAX;
	if (reminded && policy->reminding_ms <= REMIND_LAST) {
		policy->remind_ms = sync->now + policy->reminding_ms;
		policy->reminding_ms *= 2;
		wake(sync, policy->remind_ms);
	}
}

/* May a manifest be written now? */
static bool writable(struct sync *sync)
{
	const struct policy *policy = &sync->policy;

	if (shared(sync) && (!policy->read || policy->committing))
		return false;
	if (sync->now < policy->write_ms)
		wake(sync, policy->write_ms);
	return sync->now >= policy->write_ms;
}

static void flip_tick(struct sync *sync)
{
	struct policy *policy = &sync->policy;
	struct manifest next = policy->manifest;
	int64_t at = mine(sync) ? policy->flip_ms : policy->orphan_ms;

	if (!next.staged.number || policy->staged != next.staged.number)
		return;
	if (!(mine(sync) || shared(sync)) || !writable(sync))
		return;
	if (sync->now < at && !(mine(sync) && all_reported(sync))) {
		wake(sync, at);
		return;
	}
	next.active = next.staged;
	next.staged = (struct generation){0};
	if (write_manifest(sync, &next) < 0) {
		policy->write_ms = sync->now + RETRY_MS;
		wake(sync, policy->write_ms);
	}
}

/* Law S4. */
static void mend_tick(struct sync *sync)
{
	struct policy *policy = &sync->policy;

	if (!policy->behind || !writable(sync))
		return;
	if (sync->now >= policy->mend_ms) {
		policy->mend_ms = sync->now + RETRY_MS + jitter(sync);
		write_manifest(sync, &policy->manifest);
	}
	wake(sync, policy->mend_ms);
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
	mend_tick(sync);
	flip_tick(sync);
	remind_tick(sync);
	wake(sync, policy->retry_ms);
}

void policy_init(struct sync *sync)
{
	sync->policy.is_writer = sync->config.writer && !shared(sync);
	sync->policy.flip_ms = sync->policy.retry_ms = sync->policy.remind_ms = INT64_MAX;
}

int sync_policy_restore(struct sync *sync, const struct manifest *manifest, uint32_t writer)
{
	struct policy *policy = &sync->policy;

	if (sync->started)
		return -EINVAL;
	policy->manifest = *manifest;
	policy->writer = writer;
	policy->is_writer = writer == sync->config.host && !shared(sync);
	policy->retry_ms = sync->now;
	policy->flip_ms = sync->now + PATIENCE_MS;
	policy->orphan_ms = sync->now + ORPHAN_MS;
	policy->stuck_ms = sync->now + STUCK_MS;
	return policy->is_writer ? publish(sync) : 0;
}

int sync_policy_take_over(struct sync *sync)
{
	struct manifest manifest = sync->policy.manifest;
	int r;

	if (shared(sync))
		return -EOPNOTSUPP;
	manifest.term++;
	r = write_manifest(sync, &manifest);
	if (r < 0)
		return r;
	sync->policy.is_writer = true;
	return 0;
}

void sync_policy_realised(struct sync *sync, int64_t wall, uint32_t generation)
{
	struct policy *policy = &sync->policy;

	advance(sync, wall);
	policy->staged = policy->active = generation;
	policy->retry_ms = sync->now;
	wake(sync, sync->now);
	if (sync->started && host_info_publish(sync))
		sync->counters.no_memory++;
}

void sync_policy_continue(struct sync *sync, int64_t wall)
{
	advance(sync, wall);
	sync->policy.retry_ms = sync->now;
	wake(sync, sync->now);
}

void sync_policy_manifest(const struct sync *sync, struct manifest *manifest, uint32_t *writer)
{
	*manifest = sync->policy.manifest;
	*writer = sync->policy.writer;
}

uint32_t sync_policy_active(const struct sync *sync)
{
	return sync->policy.active;
}

uint32_t sync_policy_staged(const struct sync *sync)
{
	return sync->policy.staged;
}

/* ---- The shared store -------------------------------------------------------------------------------------------- */

void sync_policy_learn(struct sync *sync, int64_t wall, uint64_t revision,
		       const struct manifest *manifest, uint32_t writer)
{
	struct policy *policy = &sync->policy;
	int order;

	advance(sync, wall);
	policy->revision = revision;
	policy->read = true;
	/* A host that knows nothing has nothing to put right. */
	order = manifest_order(manifest ? manifest : &(struct manifest){0}, &policy->manifest);
	if (order > 0) {
		adopt(sync, manifest, writer, false);
	} else if (order == 0 && manifest) {
		if (manifest_equal(manifest, &policy->manifest))
			policy->writer = writer;
		else
			sync->counters.forks++;
	}
	if (order < 0 && !policy->behind) {
		sync->counters.store_behind++;
		policy->mend_ms = sync->now + RETRY_MS + jitter(sync);
	}
	policy->behind = order < 0;
	wake(sync, sync->now);
}

void sync_policy_committed(struct sync *sync, int64_t wall, int result)
{
	struct policy *policy = &sync->policy;
	void (*done)(void *caller, int result) = policy->done;

	advance(sync, wall);
	policy->committing = false;
	policy->done = NULL;
	if (result < 0)
		policy->write_ms = sync->now + RETRY_MS + jitter(sync);
	wake(sync, sync->now);
	if (done)
		done(policy->caller, result);
}

/* ---- The store interface ----------------------------------------------------------------------------------------- */

static int store_get(void *data, struct generation *active)
{
	const struct sync *sync = data;

	*active = sync->policy.manifest.active;
	return 0;
}

/* 0 when a manifest may be written now. */
static int store_ready(const struct sync *sync)
{
	const struct policy *policy = &sync->policy;

	if (!shared(sync))
		return policy->is_writer ? 0 : -EPERM;
	if (!policy->read)
		return -ENOTCONN;
	return policy->committing ? -EBUSY : 0;
}

static int store_cas(void *data, uint32_t expected, const struct generation *next,
		     void (*done)(void *caller, int result), void *caller)
{
	struct sync *sync = data;
	struct policy *policy = &sync->policy;
	struct manifest manifest = policy->manifest;
	uint32_t nr;
	int r;

	r = store_ready(sync);
	if (r < 0)
		return r;
	if (manifest.active.number != expected ||
	    (manifest.staged.number && sync->now < policy->stuck_ms))
		return -EAGAIN;
	if (next->number <= newest(&manifest) || next->nr_objects > GENERATION_OBJECTS)
		return -EINVAL;
	for (size_t i = 0; i < next->nr_objects; i++)
		if (!sync->env->object_get(sync->env->data, &next->objects[i], &nr))
			return -ENOENT;
	manifest.staged = *next;
	if (!manifest.term)
		manifest.term = 1;
	r = write_manifest(sync, &manifest);
	if (r < 0)
		return r;
	if (policy->committing) {
		policy->done = done;
		policy->caller = caller;
	} else if (done) {
		done(caller, 0);
	}
	return 0;
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
	const struct manifest *mine = &sync->policy.manifest;

	if (shared(sync)) {
		if (mine->active.number)
			each(each_data, &mine->active);
		if (mine->staged.number)
			each(each_data, &mine->staged);
		return;
	}
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
