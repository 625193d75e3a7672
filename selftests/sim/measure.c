// SPDX-License-Identifier: GPL-2.0
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "selftests/sim/measure.h"
#include "selftests/sim/scenario.h"
#include "sync/members.h"

#define ROUND_MS	  200
#define RUMOURS		  100
#define TARGET_ROUNDS	  10
#define TARGET_ALL_MS	  60000
#define TARGET_IDLE_KBITS 300
#define IDLE_MS		  60000
#define SETTLE_MS	  60000
#define APPLIES		  1000 /* in worlds of WORLD_GENERATIONS - 1 each */
#define TARGET_APPLY_MS	  1000

static void run_for(struct world *world, int64_t ms)
{
	int64_t until = world->now + ms;

	while (!world->failure[0] && world_step(world, until))
		;
	world->now = until;
}

static uint32_t nr_alike(const struct world *world, uint64_t hash)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < world->nr_hosts; i++)
		nr += sync_hash(world->hosts[i].sync) == hash;
	return nr;
}

/* Boots everything at once; returns when all hosts know the same, in ms, or -1. */
static int64_t come_together(struct world *world)
{
	world_boot(world);
	while (!world->failure[0] && world->now < 300000) {
		run_for(world, 1000);
		if (world->now > 4000 && sync_living(world->hosts[0].sync) == world->nr_hosts &&
		    nr_alike(world, sync_hash(world->hosts[0].sync)) == world->nr_hosts)
			return world->now;
	}
	return -1;
}

static struct world *large_world(const struct measure *measure)
{
	struct world *world = world_new(measure->seed, measure->hosts, measure->ports);
	int64_t together;

	world->loss = measure->loss;
	together = come_together(world);
	printf("# %u hosts, %u ports, %.0f%% loss\n", measure->hosts, measure->ports,
	       measure->loss * 100);
	printf("%s all hosts and ports known everywhere %.1f s after all started at once\n",
	       together >= 0 ? "ok" : "not ok", (double)together / 1000);
	fflush(stdout);
	if (together >= 0)
		return world;
	if (world->failure[0])
		printf("# %s\n", world->failure);
	world_free(world);
	return NULL;
}

/* Hosts leave from the last to the first: those before `left` are still there. */
static uint32_t nr_heard(const struct world *world, uint32_t left)
{
	struct member_record member;
	uint32_t nr = 0;

	for (uint32_t i = 0; i + 1 < left; i++)
		if (!sync_member(world->hosts[i].sync, left, &member))
			nr += member.state == MEMBER_LEFT;
	return nr;
}

static int compare_times(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

int measure_spread(const struct measure *measure)
{
	struct world *world = large_world(measure);
	int64_t most[RUMOURS], all[RUMOURS];
	bool ok;

	if (!world)
		return EXIT_FAILURE;
	/* Let the rumours of the beginning die down. */
	run_for(world, SETTLE_MS);
	for (uint32_t i = 0; i < RUMOURS; i++) {
		struct sim_host *host = &world->hosts[world->nr_hosts - 1 - i];
		uint32_t others = host->id - 1;
		int64_t begin = world->now;

		most[i] = -1;
		sync_leave(host->sync);
		host_schedule(world, host);
		for (uint32_t heard = 0; heard < others && world->now < begin + TARGET_ALL_MS;) {
			run_for(world, ROUND_MS / 4);
			heard = nr_heard(world, host->id);
			if (most[i] < 0 && heard * 100ULL >= others * 99ULL)
				most[i] = world->now - begin;
		}
		all[i] = world->now - begin;
		if (most[i] < 0)
			most[i] = all[i];
	}
	qsort(most, RUMOURS, sizeof(most[0]), compare_times);
	qsort(all, RUMOURS, sizeof(all[0]), compare_times);
	ok = most[RUMOURS * 99 / 100 - 1] <= TARGET_ROUNDS * ROUND_MS;
	printf("%s a rumour reaches 99%% of the hosts within %.1f rounds p50, %.1f p99 (target "
	       "%d)\n",
	       ok ? "ok" : "not ok", (double)most[RUMOURS / 2] / ROUND_MS,
	       (double)most[RUMOURS * 99 / 100 - 1] / ROUND_MS, TARGET_ROUNDS);
	printf("%s and all hosts within %.1f s p50, %.1f s at most (target %d)\n",
	       all[RUMOURS - 1] < TARGET_ALL_MS ? "ok" : "not ok", (double)all[RUMOURS / 2] / 1000,
	       (double)all[RUMOURS - 1] / 1000, TARGET_ALL_MS / 1000);
	ok &= all[RUMOURS - 1] < TARGET_ALL_MS;
	world_free(world);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int measure_idle(const struct measure *measure)
{
	struct world *world = large_world(measure);
	double sum = 0, most = 0;
	uint64_t packets = 0;
	bool ok;

	if (!world)
		return EXIT_FAILURE;
	run_for(world, SETTLE_MS);
	for (uint32_t i = 0; i < world->nr_hosts; i++)
		world->hosts[i].bytes_out = world->hosts[i].bytes_in = world->hosts[i].packets_out =
			0;
	run_for(world, IDLE_MS);
	for (uint32_t i = 0; i < world->nr_hosts; i++) {
		const struct sim_host *host = &world->hosts[i];
		double kbits = (double)(host->bytes_out + host->bytes_in) * 8 / IDLE_MS;

		sum += kbits;
		most = kbits > most ? kbits : most;
		packets += host->packets_out;
	}
	ok = most <= TARGET_IDLE_KBITS;
	printf("%s idle: %.1f kb/s a host in and out together, %.1f at most, %.1f packets/s out "
	       "(target %d)\n",
	       ok ? "ok" : "not ok", sum / world->nr_hosts, most,
	       (double)packets / world->nr_hosts * 1000 / IDLE_MS, TARGET_IDLE_KBITS);
	world_free(world);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Hosts that have not realised the world's generation. */
static uint32_t nr_late(const struct world *world)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < world->nr_hosts; i++)
		nr += sync_policy_active(world->hosts[i].sync) != world->generation;
	return nr;
}

/* Each line of `took` gets how long it was until every host had realised the generation, of `alike` until all knew of it. */
static bool apply_often(struct world *world, int64_t *took, int64_t *alike, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++) {
		int64_t begin = world->now, end = begin + TARGET_ALL_MS;

		apply_next(world);
		while (!world->failure[0] && nr_late(world) && world->now < end)
			run_for(world, 10);
		took[i] = world->now - begin;
		while (!world->failure[0] && world->now < end &&
		       nr_alike(world, sync_hash(world->hosts[0].sync)) < world->nr_hosts)
			run_for(world, 10);
		alike[i] = world->now - begin;
		if (world->failure[0] || world->now >= end)
			return false;
	}
	return true;
}

static void print_times(const char *what, int64_t *times, uint32_t nr)
{
	qsort(times, nr, sizeof(times[0]), compare_times);
	printf("# until %s: p50 %.0f ms, p99 %.0f, p99.9 %.0f, at most %.0f\n", what,
	       (double)times[nr / 2], (double)times[nr * 99 / 100 - 1],
	       (double)times[nr * 999 / 1000 - 1], (double)times[nr - 1]);
}

int measure_apply(const struct measure *measure)
{
	struct measure next = *measure;
	int64_t took[APPLIES], alike[APPLIES];
	uint32_t nr = 0, at_once;
	bool ok = true;

	for (; ok && nr < APPLIES; nr += at_once, next.seed++) {
		struct world *world = world_new(next.seed, next.hosts, next.ports);

		at_once =
			APPLIES - nr < WORLD_GENERATIONS - 1 ? APPLIES - nr : WORLD_GENERATIONS - 1;
		world->delay_max = 5;
		world->loss = next.loss;
		ok = come_together(world) >= 0 &&
		     apply_often(world, took + nr, alike + nr, at_once);
		if (!ok)
			printf("# seed %" PRIu64 ": %s\n", next.seed,
			       world->failure[0] ? world->failure : "not everywhere in time");
		world_free(world);
	}
	if (ok) {
		printf("# %u hosts, %.0f%% loss, %u generations applied\n", measure->hosts,
		       measure->loss * 100, nr);
		print_times("every host knows that every host has realised it", alike, nr);
		print_times("every host has realised it", took, nr);
		ok = took[nr * 99 / 100 - 1] <= TARGET_APPLY_MS;
	}
	printf("%s 99 of 100 generations are realised everywhere within %d ms\n",
	       ok ? "ok" : "not ok", TARGET_APPLY_MS);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
