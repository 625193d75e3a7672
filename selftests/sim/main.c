// SPDX-License-Identifier: GPL-2.0
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "selftests/sim/measure.h"
#include "selftests/sim/scenario.h"

static void usage(FILE *out)
{
	fputs("sim [--seeds A..B | --seed S [--verbose]] [--hosts N] [--ports M] [--loss P] "
	      "[--scenario X]\n"
	      "\n"
	      "Runs clusters of the distribution core in simulated time and checks what "
	      "docs/sync-design.md says.\n"
	      "P is a percentage. Scenarios: all (default: each in turn)",
	      out);
	for (size_t i = 0; i < SCENARIOS; i++)
		fprintf(out, ", %s", scenario_names[i]);
	fputs(", spread, idle and apply (measured, default 1000 hosts and 10000 ports)\n", out);
}

struct options {
	uint64_t first, last;
	uint32_t hosts, ports;
	double loss;  /* below 0: drawn */
	int scenario; /* SCENARIOS: each in turn */
	bool verbose;
};

static void prepare(struct world *world, const struct options *options)
{
	static const double losses[] = {0, 0.01, 0.1, 0.3};

	world->verbose = options->verbose;
	world->loss = options->loss >= 0 ? options->loss : losses[world_below(world, 4)];
	world->duplicate = world_chance(world, 0.5) ? 0.05 : 0;
	/* A wide spread of delays is reordering. */
	world->delay_max = world_chance(world, 0.3) ? 80 : 5;
	world->replicas = (uint32_t)world_below(world, 3);
}

static bool run_seed(uint64_t seed, const struct options *options, uint64_t *events)
{
	/* The size is drawn too, where it is not given. */
	uint32_t hosts = options->hosts ? options->hosts : 2 + (uint32_t)(seed * 7 % 4);
	uint32_t ports = options->ports ? options->ports : 1 + (uint32_t)(seed * 5 % 3);
	struct world *world = world_new(seed, hosts, ports);
	enum scenario scenario = options->scenario < SCENARIOS ? (enum scenario)options->scenario
							       : (enum scenario)(seed % SCENARIOS);
	bool ok;

	prepare(world, options);
	scenario_run(world, scenario);
	ok = !world->failure[0];
	if (!ok)
		printf("not ok seed %" PRIu64 " (%s, %u hosts, %u ports): %s\n"
		       "# replay: sim --seed %" PRIu64 "%s%s --hosts %u --ports %u --verbose\n",
		       seed, scenario_names[scenario], hosts, ports, world->failure, seed,
		       options->scenario < SCENARIOS ? " --scenario " : "",
		       options->scenario < SCENARIOS ? scenario_names[scenario] : "", hosts, ports);
	*events += world->nr_events;
	world_free(world);
	return ok;
}

static int run_seeds(const struct options *options)
{
	struct timespec begin, end;
	uint64_t failed = 0, events = 0, nr = options->last - options->first + 1;
	double seconds;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (uint64_t seed = options->first; seed <= options->last; seed++) {
		failed += !run_seed(seed, options, &events);
		fflush(stdout);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	seconds =
		(double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
	printf("%s %" PRIu64 " seeds, %" PRIu64 " failed, %" PRIu64
	       " events, %.1f s, %.0f seeds a minute\n",
	       failed ? "not ok" : "ok", nr, failed, events, seconds, (double)nr / seconds * 60);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"seeds", required_argument, NULL, 's'},
		{"seed", required_argument, NULL, 'S'},
		{"hosts", required_argument, NULL, 'n'},
		{"ports", required_argument, NULL, 'm'},
		{"loss", required_argument, NULL, 'l'},
		{"scenario", required_argument, NULL, 'x'},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct options options = {.first = 1, .last = 1000, .loss = -1, .scenario = SCENARIOS};
	const char *measured = NULL;
	int option;

	while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (option) {
		case 's':
			if (sscanf(optarg, "%" SCNu64 "..%" SCNu64, &options.first,
				   &options.last) != 2 ||
			    options.last < options.first) {
				fprintf(stderr, "sim: --seeds wants A..B\n");
				return EXIT_FAILURE;
			}
			break;
		case 'S':
			options.first = options.last = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			options.hosts = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'm':
			options.ports = (uint32_t)strtoul(optarg, NULL, 0);
			break;
		case 'l':
			options.loss = strtod(optarg, NULL) / 100;
			break;
		case 'v':
			options.verbose = true;
			break;
		case 'x':
			options.scenario = -1;
			for (int i = 0; i < SCENARIOS; i++)
				if (!strcmp(optarg, scenario_names[i]))
					options.scenario = i;
			if (options.scenario < 0)
				measured = optarg;
			break;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return EXIT_FAILURE;
		}
	}
	if (measured) {
		struct measure measure = {
			.seed = options.first,
			.hosts = options.hosts ? options.hosts : 1000,
			.ports = options.ports ? options.ports : 10000,
			.loss = options.loss >= 0 ? options.loss : 0.1,
		};

		if (!strcmp(measured, "spread"))
			return measure_spread(&measure);
		if (!strcmp(measured, "idle"))
			return measure_idle(&measure);
		if (!strcmp(measured, "apply"))
			return measure_apply(&measure);
		fprintf(stderr, "sim: no scenario \"%s\"\n", measured);
		return EXIT_FAILURE;
	}
	if (options.hosts > 64) {
		fprintf(stderr, "sim: at most 64 hosts in this scenario\n");
		return EXIT_FAILURE;
	}
	return run_seeds(&options);
}
