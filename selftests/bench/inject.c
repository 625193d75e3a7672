// SPDX-License-Identifier: GPL-2.0
/*
 * inject OBJECT COMMAND [options]: frames as if a device of this network namespace had received them.
 *
 *   measure     sends frames; prints nanoseconds a frame, how many were sent, and how many have arrived at --arrived
 *   establish   sends two questions and two answers of each of --flows flows, --rate flows a second; prints how many flows
 *   flood       sends TCP SYNs from all over the /8 of --from, for --seconds; prints how many a second
 *   sink        pins what counts and drops frames in the folder --pin: `sink`, an XDP program, and `arrived`
 *   forward     from now on sends what comes in on --dev straight to --target, in tc
 *
 *   --dev IF          frames from outside come in here
 *   --port IF         the VM's device on the host: its answers come in here (establish)
 *   --outside MAC     --mac MAC --ip ADDRESS --udp PORT    the two ends, outside and VM
 *   --from ADDRESS    first address outside
 *   --flows N         that many flows in turn; 0: each frame is of a new one
 *   --begin N         number of the first flow (so that new flows are new)
 *   --from-vm         the VM's frames: they come in on --dev, too (measure)
 *   --listed FILE     frames as an array of struct inject_header says, in turn
 *   --syns            as flood sends them (measure)
 *   --frames N        how many (measure)
 *   --seconds N --rate N    how long, and how many a second; 0: as fast as it goes
 *   --arrived FILE    the pinned map of a sink
 *
 * Where frames go, without one of these into the stack:
 *   --hook            to the XDP program of --dev, as its driver would call it
 *   --target IF       to this device. One of a veth pair hands them to the other: its driver's hook meets them.
 *   --drop            nowhere
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "inject.h"

#define BATCH	     64
#define FLOOD_FRAMES 2048	/* between two looks at the clock ... */
#define FLOOD_MOST   (1U << 18) /* ... and as fast as it goes: to begin a run takes 20 ms */
#define SECOND_NS    1000000000ULL
#define SETTLE_MS    200 /* for frames that are under way */
#define CHUNK	     16384 /* questions before their answers: few enough for a table of half-open flows */

struct options {
	const char *object;
	const char *listed;
	const char *pin;
	const char *arrived;
	struct inject_config config;
	unsigned int device;
	unsigned int port;
	unsigned int frames;
	unsigned int seconds;
	unsigned long long rate;
};

struct injector {
	struct bpf_object *object;
	int program;
	int config; /* map of one struct inject_config */
};

/* ---- Words ------------------------------------------------------------------------------------------------------- */

static void fail(const char *what)
{
	fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void wrong(const char *what)
{
	fprintf(stderr, "inject: wrong %s\n", what);
	exit(2);
}

static void parse_mac(const char *text, __u8 mac[6])
{
	unsigned int bytes[6];

	if (sscanf(text, "%x:%x:%x:%x:%x:%x", &bytes[0], &bytes[1], &bytes[2], &bytes[3], &bytes[4],
		   &bytes[5]) != 6)
		wrong("MAC");
	for (int i = 0; i < 6; i++)
		mac[i] = (__u8)bytes[i];
}

static __u32 parse_address(const char *text)
{
	struct in_addr address;

	if (inet_pton(AF_INET, text, &address) != 1)
		wrong("address");
	return ntohl(address.s_addr);
}

static unsigned int parse_device(const char *text)
{
	unsigned int index = if_nametoindex(text);

	if (!index)
		fail(text);
	return index;
}

static unsigned long long parse_number(const char *text, unsigned long long most)
{
	char *end;
	unsigned long long number = strtoull(text, &end, 10);

	if (end == text || *end || number > most)
		wrong("number");
	return number;
}

static unsigned long long now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (unsigned long long)time.tv_sec * SECOND_NS + (unsigned long long)time.tv_nsec;
}

/* ---- The object -------------------------------------------------------------------------------------------------- */

static int map_of(const struct injector *injector, const char *name)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, injector->object)
	{
		if (strstr(bpf_map__name(map), name))
			return bpf_map__fd(map);
	}
	wrong("object: it lacks a map");
	return -1;
}

/* Loads the object with one of its programs. */
static void injector_open(struct injector *injector, const struct options *options,
			  const char *name)
{
	struct bpf_program *program;

	injector->object = bpf_object__open_file(options->object, NULL);
	if (!injector->object)
		fail(options->object);
	bpf_object__for_each_program(program, injector->object)
	{
		bpf_program__set_autoload(program, strcmp(bpf_program__name(program), name) == 0);
		/* dfw's takes large frames in pieces; who calls it must, too. */
		if (options->config.fate == INJECT_HOOK)
			bpf_program__set_flags(program, BPF_F_XDP_HAS_FRAGS);
	}
	if (bpf_object__load(injector->object) < 0)
		fail("cannot load the program");
	program = bpf_object__find_program_by_name(injector->object, name);
	if (!program)
		wrong("object: it lacks a program");
	injector->program = bpf_program__fd(program);
	injector->config = map_of(injector, ".data.config");
}

static void configure(const struct injector *injector, const struct inject_config *config)
{
	__u32 key = 0;

	if (bpf_map_update_elem(injector->config, &key, config, 0) < 0)
		fail("cannot tell the program what to send");
}

static void find_hook(const struct injector *injector, unsigned int device)
{
	__u32 key = 0, id = 0;
	int fd;

	if (bpf_xdp_query_id((int)device, 0, &id) < 0 || !id) {
		fprintf(stderr, "inject: the device has no XDP program\n");
		exit(1);
	}
	fd = bpf_prog_get_fd_by_id(id);
	if (fd < 0 || bpf_map_update_elem(map_of(injector, "hook"), &key, &fd, 0) < 0)
		fail("cannot call the device's XDP program");
}

static void read_list(const struct injector *injector, const char *path)
{
	struct inject_header header;
	FILE *file = fopen(path, "re");
	__u32 nr = 0;

	if (!file)
		fail(path);
	while (nr < INJECT_HEADERS && fread(&header, sizeof(header), 1, file) == 1) {
		if (bpf_map_update_elem(map_of(injector, "headers"), &nr, &header, 0) < 0)
			fail("headers");
		nr++;
	}
	fclose(file);
	if (nr != INJECT_HEADERS)
		wrong("list: too few headers");
}

/* ---- Sending ----------------------------------------------------------------------------------------------------- */

/* Sends frames from config->next on. Returns the nanoseconds until frame config->timed, if that is among them: to begin and to end
 * a run takes the kernel 20 ms, which are no frame's. */
static unsigned long long run(struct injector *injector, const struct inject_config *config,
			      unsigned int device, unsigned int frames)
{
	unsigned char frame[INJECT_FRAME_BYTES] = {0};
	struct xdp_md context = {.data_end = sizeof(frame), .ingress_ifindex = device};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame),
		    .ctx_in = &context, .ctx_size_in = sizeof(context), .repeat = (int)frames,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);
	struct inject_config after;
	__u32 key = 0;

	configure(injector, config);
	if (bpf_prog_test_run_opts(injector->program, &options) < 0)
		fail("BPF_PROG_RUN with live frames");
	if (bpf_map_lookup_elem(injector->config, &key, &after) < 0)
		fail("cannot ask the program what it sent");
	if (after.next - config->next < frames) {
		fprintf(stderr, "inject: %u frames asked for, %llu sent\n", frames,
			(unsigned long long)(after.next - config->next));
		exit(1);
	}
	return after.timed_ns - after.first_ns;
}

/* Frames that have arrived at the pinned map's sinks. */
static unsigned long long arrived(int map)
{
	int nr = libbpf_num_possible_cpus();
	__u64 counts[nr > 0 ? nr : 1], sum = 0;
	__u32 key = 0;

	if (nr < 1 || bpf_map_lookup_elem(map, &key, counts) < 0)
		fail("cannot ask the sink");
	for (int i = 0; i < nr; i++)
		sum += counts[i];
	return sum;
}

static void measure(struct injector *injector, const struct options *options)
{
	int map = options->arrived ? bpf_obj_get(options->arrived) : -1;
	/* A batch goes on its way before the next is written. */
	unsigned int timed = (options->frames + BATCH - 1) / BATCH * BATCH, frames = timed + BATCH;
	unsigned long long before = 0, end, took, count = 0;
	struct inject_config config = options->config;

	if (options->arrived && map < 0)
		fail(options->arrived);
	if (map >= 0)
		before = arrived(map);
	config.scattered = config.flows != 0;
	config.timed = config.next + timed;
	took = run(injector, &config, options->device, frames);
	end = now_ns();
	while (map >= 0) {
		count = arrived(map) - before;
		if (count >= frames || now_ns() - end > SETTLE_MS * 1000000ULL)
			break;
	}
	printf("%.1f %u %llu\n", (double)took / timed, frames, count);
}

/* Sleeps until then, but for the last of it, for which a sleep is too coarse. */
static void wait_until(unsigned long long then)
{
	unsigned long long now = now_ns();
	struct timespec rest;

	if (then > now + 200000) {
		rest.tv_sec = (time_t)((then - now - 100000) / SECOND_NS);
		rest.tv_nsec = (long)((then - now - 100000) % SECOND_NS);
		nanosleep(&rest, NULL);
	}
	while (now_ns() < then)
		;
}

static void establish(struct injector *injector, const struct options *options)
{
	unsigned long long begin = now_ns();
	struct inject_config config = options->config;

	/* Twice each way: some engines call a flow established with the second answer only. */
	for (__u32 done = 0; done < config.flows; done += CHUNK) {
		unsigned int count = config.flows - done < CHUNK ? config.flows - done : CHUNK;

		if (options->rate)
			wait_until(begin + done * SECOND_NS / options->rate);
		for (int round = 0; round < 2; round++) {
			config.next = done;
			config.from_vm = 0;
			run(injector, &config, options->device, count);
			config.from_vm = 1;
			run(injector, &config, options->port, count);
		}
	}
	printf("%u\n", config.flows);
}

/* Until the time is over or SIGTERM comes. */
static void flood(struct injector *injector, const struct options *options)
{
	unsigned long long begin = now_ns(), end = begin + options->seconds * SECOND_NS, sent = 0,
			   now;
	unsigned int frames = options->rate ? FLOOD_FRAMES : FLOOD_MOST;
	struct inject_config config = options->config;
	sigset_t signals;

	/* Not within a run, which it would cut short. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	config.kind = INJECT_SYNS;
	do {
		if (options->rate)
			wait_until(begin + sent * SECOND_NS / options->rate);
		run(injector, &config, options->device, frames);
		config.next += frames;
		sent += frames;
		now = now_ns();
		sigpending(&signals);
	} while (now < end && !sigismember(&signals, SIGTERM));
	printf("%.0f\n", (double)sent * 1e9 / (double)(now - begin));
}

/* ---- Ends of the way --------------------------------------------------------------------------------------------- */

static void pin(int fd, const char *folder, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (bpf_obj_pin(fd, path) < 0)
		fail(path);
}

static void make_sink(struct injector *injector, const struct options *options)
{
	if (!options->pin)
		wrong("arguments: sink needs --pin");
	pin(injector->program, options->pin, "sink");
	pin(map_of(injector, "arrived"), options->pin, "arrived");
}

static void forward(struct injector *injector, const struct options *options)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)options->device,
		    .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, filter, .prog_fd = injector->program);
	int r;

	configure(injector, &options->config);
	r = bpf_tc_hook_create(&hook);
	if ((r < 0 && r != -EEXIST) || bpf_tc_attach(&hook, &filter) < 0)
		fail("cannot attach to the device");
}

/* ---- Main -------------------------------------------------------------------------------------------------------- */

static const struct command {
	const char *name;
	const char *program;
	void (*run)(struct injector *injector, const struct options *options);
} commands[] = {
	{"measure", "inject", measure},	 {"establish", "inject", establish},
	{"flood", "inject", flood},	 {"sink", "sink", make_sink},
	{"forward", "forward", forward},
};

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option names[] = {
		{"dev", required_argument, NULL, 'd'},
		{"port", required_argument, NULL, 'p'},
		{"outside", required_argument, NULL, 'o'},
		{"mac", required_argument, NULL, 'm'},
		{"ip", required_argument, NULL, 'i'},
		{"udp", required_argument, NULL, 'u'},
		{"from", required_argument, NULL, 'f'},
		{"flows", required_argument, NULL, 'n'},
		{"begin", required_argument, NULL, 'b'},
		{"frames", required_argument, NULL, 'c'},
		{"seconds", required_argument, NULL, 's'},
		{"rate", required_argument, NULL, 'r'},
		{"listed", required_argument, NULL, 'l'},
		{"syns", no_argument, NULL, 'S'},
		{"from-vm", no_argument, NULL, 'V'},
		{"arrived", required_argument, NULL, 'a'},
		{"pin", required_argument, NULL, 'P'},
		{"hook", no_argument, NULL, 'H'},
		{"target", required_argument, NULL, 't'},
		{"drop", no_argument, NULL, 'D'},
		{NULL, 0, NULL, 0},
	};
	struct inject_config *config = &options->config;
	int option;

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (option) {
		case 'd':
			options->device = parse_device(optarg);
			break;
		case 'p':
			options->port = parse_device(optarg);
			break;
		case 'o':
			parse_mac(optarg, config->outside_mac);
			break;
		case 'm':
			parse_mac(optarg, config->vm_mac);
			break;
		case 'i':
			config->vm_address = parse_address(optarg);
			break;
		case 'u':
			config->vm_port = (__u16)parse_number(optarg, 65535);
			break;
		case 'f':
			config->first_address = parse_address(optarg);
			break;
		case 'n':
			config->flows = (__u32)parse_number(optarg, 1U << 30);
			break;
		case 'b':
			config->next = parse_number(optarg, 1ULL << 40);
			break;
		case 'c':
			options->frames = (unsigned int)parse_number(optarg, 1U << 30);
			break;
		case 's':
			options->seconds = (unsigned int)parse_number(optarg, 86400);
			break;
		case 'r':
			options->rate = parse_number(optarg, SECOND_NS);
			break;
		case 'l':
			options->listed = optarg;
			config->kind = INJECT_LISTED;
			break;
		case 'S':
			config->kind = INJECT_SYNS;
			break;
		case 'V':
			config->from_vm = 1;
			break;
		case 'a':
			options->arrived = optarg;
			break;
		case 'P':
			options->pin = optarg;
			break;
		case 'H':
			config->fate = INJECT_HOOK;
			break;
		case 't':
			config->fate = INJECT_REDIRECT;
			config->target = parse_device(optarg);
			break;
		case 'D':
			config->fate = INJECT_DROP;
			break;
		default:
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct options options = {.frames = 100000, .seconds = 10};
	struct injector injector = {0};

	parse_options(argc, argv, &options);
	if (optind + 2 != argc)
		wrong("arguments: inject OBJECT COMMAND [options]");
	options.object = argv[optind];
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[optind + 1], commands[i].name) != 0)
			continue;
		injector_open(&injector, &options, commands[i].program);
		if (options.listed)
			read_list(&injector, options.listed);
		if (options.config.fate == INJECT_HOOK)
			find_hook(&injector, options.device);
		commands[i].run(&injector, &options);
		return 0;
	}
	wrong("command");
	return 2;
}
