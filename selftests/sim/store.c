// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include "selftests/sim/world.h"

#define POLL_MS 10000

static bool connected(const struct sim_host *host)
{
	const struct world *world = host->world;

	return !world->store.down && !(world->partitioned && host->side);
}

static int64_t soon(struct world *world, int64_t most)
{
	return world->now + 1 + (int64_t)world_below(world, (uint64_t)most);
}

static uint32_t object_generation(const struct digest *name)
{
	uint32_t generation;

	memcpy(&generation, name->bytes, sizeof(generation));
	return generation;
}

/* ---- What hosts ask for ------------------------------------------------------------------------------------------ */

int store_env_commit(void *data, uint64_t revision, const struct manifest *next)
{
	struct sim_host *host = data;
	struct store_client *client = &host->client;

	if (client->commit_at || client->answer_at)
		world_fail(host->world, "host %u writes to the store twice at once", host->id);
	client->revision = revision;
	client->next = *next;
	client->commit_at = soon(host->world, 50);
	return 0;
}

void store_env_want(void *data, const struct digest *name)
{
	struct sim_host *host = data;

	host->client.wanted = *name;
	host->client.want_at = soon(host->world, 50);
}

/* ---- The register ------------------------------------------------------------------------------------------------ */

/* Most hear of it by their watch, the others when they look again. */
static void store_changed(struct world *world)
{
	world->store.revision++;
	for (uint32_t i = 0; i < world->nr_hosts; i++) {
		struct sim_host *host = &world->hosts[i];
		int64_t at = soon(world, 100);

		if (!host->sync || !connected(host) || world_chance(world, 0.2))
			continue;
		if (at < host->client.learn_at)
			host->client.learn_at = at;
		host_schedule(world, host);
	}
}

static void store_objects(struct sim_host *host, const struct generation *generation)
{
	for (size_t i = 0; i < generation->nr_objects; i++) {
		uint32_t object = object_generation(&generation->objects[i]);

		if (host->objects[object])
			host->world->store.now.objects[object] = true;
	}
}

static int store_swap(struct sim_host *host)
{
	struct world *world = host->world;
	struct sim_store *store = &world->store;
	const struct manifest *next = &host->client.next;

	if (host->client.revision != (store->now.writer ? store->revision : 0))
		return -EAGAIN;
	store_objects(host, &next->active);
	store_objects(host, &next->staged);
	store->now.manifest = *next;
	store->now.writer = host->id;
	world_log(world, "host %u writes to the store: active %u, staged %u", host->id,
		  next->active.number, next->staged.number);
	store_changed(world);
	host->client.revision = store->revision;
	return 0;
}

static void learn(struct sim_host *host)
{
	const struct sim_store *store = &host->world->store;
	bool empty = !store->now.writer;

	sync_policy_learn(host->sync, host->world->now + host->skew, empty ? 0 : store->revision,
			  empty ? NULL : &store->now.manifest, store->now.writer);
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

static void commit_due(struct sim_host *host)
{
	struct store_client *client = &host->client;

	client->commit_at = 0;
	client->result = connected(host) ? store_swap(host) : -ETIMEDOUT;
	client->answer_at = soon(host->world, 50);
	if (world_chance(host->world, 0.05)) {
		client->result = -ETIMEDOUT;
		client->answer_at = soon(host->world, 10000);
	}
}

static void answer_due(struct sim_host *host)
{
	struct store_client *client = &host->client;

	client->answer_at = 0;
	if (client->result == 0)
		sync_policy_learn(host->sync, host->world->now + host->skew, client->revision,
				  &client->next, host->id);
	else if (client->result == -EAGAIN && connected(host))
		learn(host);
	sync_policy_committed(host->sync, host->world->now + host->skew, client->result);
}

static void want_due(struct sim_host *host)
{
	const struct digest *name = &host->client.wanted;
	uint32_t generation = object_generation(name), nr;
	const uint8_t *bytes = object_bytes(generation, &nr);

	host->client.want_at = 0;
	if (connected(host) && host->world->store.now.objects[generation] &&
	    host->env.object_put(host, name, bytes, nr) == 0)
		sync_policy_object(host->sync, host->world->now + host->skew);
}

void store_tick(struct sim_host *host)
{
	struct store_client *client = &host->client;
	struct world *world = host->world;

	if (!world->store.used)
		return;
	if (client->commit_at && client->commit_at <= world->now)
		commit_due(host);
	if (client->answer_at && client->answer_at <= world->now)
		answer_due(host);
	if (client->want_at && client->want_at <= world->now)
		want_due(host);
	if (client->learn_at <= world->now) {
		client->learn_at = connected(host) ? world->now + POLL_MS : soon(world, 2000);
		if (connected(host))
			learn(host);
	}
}

int64_t store_next(const struct sim_host *host)
{
	const struct store_client *client = &host->client;
	const int64_t times[] = {client->commit_at, client->answer_at, client->want_at};
	int64_t next = client->learn_at;

	if (!host->world->store.used)
		return INT64_MAX;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		if (times[i] && times[i] < next)
			next = times[i];
	return next;
}

void store_started(struct sim_host *host)
{
	host->client = (struct store_client){.learn_at = soon(host->world, 500)};
}

void store_crashed(struct sim_host *host)
{
	/* What was on its way may have left the machine. */
	if (host->client.commit_at && connected(host) && world_chance(host->world, 0.5))
		store_swap(host);
	host->client.commit_at = host->client.answer_at = host->client.want_at = 0;
}

/* ---- What the operators do --------------------------------------------------------------------------------------- */

static void applied(void *caller, int result)
{
	struct sim_host *host = caller;
	struct sim_store *store = &host->world->store;

	world_log(host->world, "host %u: apply of generation %u: %d", host->id,
		  host->client.applying, result);
	if (result == 0 && host->client.applying > store->acknowledged)
		store->acknowledged = host->client.applying;
}

static void higher_number(void *data, const struct generation *generation)
{
	uint32_t *number = data;

	if (generation->number > *number)
		*number = generation->number;
}

void store_apply(struct sim_host *host)
{
	struct policy_store store = sync_policy_store(host->sync);
	struct generation next = {.nr_objects = 1}, active;

	store.get(store.data, &active);
	store.list(store.data, higher_number, &next.number);
	if (++next.number >= WORLD_GENERATIONS)
		return;
	next.objects[0] = object_name(next.number);
	host->objects[next.number] = true;
	if (store.cas(store.data, active.number, &next, applied, host) == 0)
		host->client.applying = next.number;
}

void store_back_up(struct world *world)
{
	world->store.backup = world->store.now;
	world_log(world, "the store is backed up");
}

void store_rewind(struct world *world)
{
	world->store.now = world->store.backup;
	world->store.rewound = true;
	world_log(world, "the store is taken back: active %u, staged %u",
		  world->store.now.manifest.active.number, world->store.now.manifest.staged.number);
	store_changed(world);
}

const char *store_unsettled(const struct world *world)
{
	const struct manifest *manifest = &world->store.now.manifest;
	bool lost = false;

	if (manifest->staged.number)
		return "a generation is staged in the store";
	for (uint32_t i = 0; i < world->nr_hosts; i++) {
		lost |= world->hosts[i].disk_lost;
		if (sync_policy_active(world->hosts[i].sync) != manifest->active.number)
			return "a host is at another generation than the store";
	}
	/* Only what was in the store alone could be lost with it. */
	if (!(lost && world->store.rewound) && manifest->active.number < world->store.acknowledged)
		return "a generation that was acknowledged is lost";
	return NULL;
}
