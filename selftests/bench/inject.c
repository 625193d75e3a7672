// SPDX-License-Identifier: GPL-2.0
/*
 * inject OBJECT measure|establish|flood [options]: frames as if they came from a device of this network namespace.
 *
 *   --dev IF          the uplink: frames from outside come in here
 *   --port IF         the VM's device on the host: answers come in here (establish)
 *   --outside MAC     --mac MAC --ip ADDRESS --udp PORT    the two ends
 *   --from ADDRESS    first address outside
 *   --flows N         that many flows in turn; 0: each frame a new one
 *   --begin N         number of the first flow (so that new flows are new)
 *   --frames N        how many (measure)
 *   --seconds N       how long (flood)
 *
 * measure prints nanoseconds a frame. establish sends a question and an answer of each flow and prints how many. flood
 * sends TCP SYNs to port --udp, from all over the /8 of --from, and prints how many a second.
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
#define FLOOD_FRAMES 65536 /* between two looks at the clock */
#define CHUNK \
	1024 /* questions before their answers come: few enough for a table of half-open flows */

struct injector {
	struct bpf_object *object;
	int program;
	int config; /* map of one struct inject_config */
};

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

static void open_object(struct injector *injector, const char *path)
{
	struct bpf_program *program;
	struct bpf_map *map;

	injector->object = bpf_object__open_file(path, NULL);
	if (!injector->object)
		fail(path);
	bpf_object__for_each_program(program, injector->object) bpf_program__set_autoload(
		program, strcmp(bpf_program__name(program), "inject") == 0);
	if (bpf_object__load(injector->object) < 0)
		fail("cannot load the program");
	program = bpf_object__find_program_by_name(injector->object, "inject");
	bpf_object__for_each_map(
		map, injector->object) if (strstr(bpf_map__name(map), ".data.config")) break;
	if (!program || !map || bpf_map__value_size(map) != sizeof(struct inject_config))
		wrong("object");
	injector->program = bpf_program__fd(program);
	injector->config = bpf_map__fd(map);
}

static void run(struct injector *injector, const struct inject_config *config, unsigned int ifindex,
		unsigned int frames)
{
	unsigned char frame[INJECT_FRAME_BYTES] = {0};
	struct xdp_md context = {.data_end = sizeof(frame), .ingress_ifindex = ifindex};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = sizeof(frame),
		    .ctx_in = &context, .ctx_size_in = sizeof(context), .repeat = (int)frames,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);
	struct inject_config after;
	__u32 key = 0;

	if (bpf_map_update_elem(injector->config, &key, config, 0) < 0)
		fail("cannot tell the program what to send");
	if (bpf_prog_test_run_opts(injector->program, &options) < 0)
		fail("BPF_PROG_RUN with live frames");
	if (bpf_map_lookup_elem(injector->config, &key, &after) < 0)
		fail("cannot ask the program what it sent");
	if (after.next - config->next < frames) {
		fprintf(stderr, "inject: %u frames asked for, %llu sent\n", frames,
			(unsigned long long)(after.next - config->next));
		exit(1);
	}
}

static unsigned long long now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (unsigned long long)time.tv_sec * 1000000000ULL + (unsigned long long)time.tv_nsec;
}

static void parse_mac(const char *text, __u8 mac[6])
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
		   &mac[4], &mac[5]) != 6)
		wrong("MAC");
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

/* As fast as it goes, until the time is over or SIGTERM comes. */
static void flood(struct injector *injector, struct inject_config *config, unsigned int ifindex,
		  unsigned int seconds)
{
	unsigned long long begin = now_ns(), end = begin + seconds * 1000000000ULL, sent = 0, now;
	sigset_t signals;

	/* Not within a run, which it would cut short. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	config->syn = 1;
	do {
		run(injector, config, ifindex, FLOOD_FRAMES);
		config->next += FLOOD_FRAMES;
		sent += FLOOD_FRAMES;
		now = now_ns();
		sigpending(&signals);
	} while (now < end && !sigismember(&signals, SIGTERM));
	printf("%.0f\n", (double)sent * 1e9 / (double)(now - begin));
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"dev", required_argument, NULL, 'd'},	   {"port", required_argument, NULL, 'p'},
		{"outside", required_argument, NULL, 'o'}, {"mac", required_argument, NULL, 'm'},
		{"ip", required_argument, NULL, 'i'},	   {"udp", required_argument, NULL, 'u'},
		{"from", required_argument, NULL, 'f'},	   {"flows", required_argument, NULL, 'n'},
		{"begin", required_argument, NULL, 'b'},   {"frames", required_argument, NULL, 'c'},
		{"seconds", required_argument, NULL, 's'}, {NULL, 0, NULL, 0},
	};
	struct inject_config config = {0};
	struct injector injector = {0};
	unsigned int uplink = 0, port = 0, frames = 100000, seconds = 10;
	unsigned long long begin;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'd':
			uplink = parse_device(optarg);
			break;
		case 'p':
			port = parse_device(optarg);
			break;
		case 'o':
			parse_mac(optarg, config.outside_mac);
			break;
		case 'm':
			parse_mac(optarg, config.vm_mac);
			break;
		case 'i':
			config.vm_address = parse_address(optarg);
			break;
		case 'u':
			config.vm_port = (__u16)atoi(optarg);
			break;
		case 'f':
			config.first_address = parse_address(optarg);
			break;
		case 'n':
			config.flows = (__u32)strtoul(optarg, NULL, 10);
			break;
		case 'b':
			config.next = strtoull(optarg, NULL, 10);
			break;
		case 's':
			seconds = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		case 'c':
			frames = (unsigned int)strtoul(optarg, NULL, 10);
			break;
		default:
			return 2;
		}
	}
	if (optind + 2 != argc)
		wrong("arguments: inject OBJECT measure|establish|flood");
	open_object(&injector, argv[optind]);

	if (strcmp(argv[optind + 1], "measure") == 0) {
		config.scattered = config.flows != 0;
		begin = now_ns();
		run(&injector, &config, uplink, frames);
		printf("%.1f\n", (double)(now_ns() - begin) / frames);
		return 0;
	}
	if (strcmp(argv[optind + 1], "flood") == 0) {
		flood(&injector, &config, uplink, seconds);
		return 0;
	}
	if (strcmp(argv[optind + 1], "establish") != 0)
		wrong("command");
	/* Twice each way: some engines call a flow established with the second answer only. */
	for (__u32 done = 0; done < config.flows; done += CHUNK) {
		unsigned int count = config.flows - done < CHUNK ? config.flows - done : CHUNK;

		for (int round = 0; round < 2; round++) {
			config.next = done;
			config.from_vm = 0;
			run(&injector, &config, uplink, count);
			config.from_vm = 1;
			run(&injector, &config, port, count);
		}
	}
	printf("%u\n", config.flows);
	return 0;
}
