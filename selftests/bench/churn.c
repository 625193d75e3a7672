// SPDX-License-Identifier: GPL-2.0
/*
 * churn GROUP: addresses that join and leave a group, one change a request, as dfwctl asks dfwd for it. Prints what came
 * of it as JSON.
 *
 *   --instance NAME   (default)
 *   --base ADDRESS    the first of the addresses, IPv4 (198.18.0.0)
 *   --addresses N     how many there are; which one changes next is by chance (10000)
 *   --rate N          changes a second; 0: as fast as answers come (1000)
 *   --seconds N       how long (5)
 *   --clear           in the end all of them leave, in one request
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>

#include "control.h"
#include "util.h"

#define ANSWER_MS  20000
#define SECOND_NS  1000000000ULL
#define MOST_TIMES (1U << 20)

struct churn {
	const char *group;
	const char *instance;
	uint32_t base;
	uint32_t addresses;
	uint32_t rate;
	uint32_t seconds;
	bool clear;
	int socket;
	bool *present;
	uint32_t *times_us; /* of each round trip */
	size_t nr;
	uint64_t random;
};

static void fail(const char *what)
{
	fprintf(stderr, "churn: %s\n", what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void wait_until(uint64_t when_ns)
{
	const struct timespec when = {(time_t)(when_ns / SECOND_NS), (long)(when_ns % SECOND_NS)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR)
		;
}

static uint32_t below(struct churn *churn, uint32_t limit)
{
	/* xorshift64* (Vigna 2016) */
	churn->random ^= churn->random >> 12;
	churn->random ^= churn->random << 25;
	churn->random ^= churn->random >> 27;
	return (uint32_t)((churn->random * 0x2545f4914f6cdd1dULL) >> 32) % limit;
}

/* Takes the list over. */
static void ask(struct churn *churn, bool add, json_t *members)
{
	json_t *request =
		json_pack("{s:s, s:{s:s, s:o}}", "command", add ? "group-add" : "group-del",
			  "arguments", "name", churn->group, "members", members);
	char *text = json_dumps(request, JSON_COMPACT);
	void *answer = NULL;
	json_t *reply;
	int bytes;

	if (!text || nn_send(churn->socket, text, strlen(text), 0) < 0)
		fail("cannot ask dfwd");
	bytes = nn_recv(churn->socket, &answer, NN_MSG, 0);
	if (bytes < 0)
		fail("dfwd does not answer");
	reply = json_loadb(answer, (size_t)bytes, 0, NULL);
	if (json_integer_value(json_object_get(reply, "status")) != 0 || !reply)
		fail(json_string_value(json_object_get(reply, "error")) ?: "dfwd refuses");
	json_decref(reply);
	nn_freemsg(answer);
	free(text);
	json_decref(request);
}

static json_t *address_json(const struct churn *churn, uint32_t index)
{
	const struct in_addr addr = {htonl(churn->base + index)};
	char text[INET_ADDRSTRLEN];

	return json_string(inet_ntop(AF_INET, &addr, text, sizeof(text)));
}

static void change_one(struct churn *churn)
{
	uint32_t index = below(churn, churn->addresses);
	uint64_t begin;

	churn->present[index] = !churn->present[index];
	begin = now_ns();
	ask(churn, churn->present[index], json_pack("[o]", address_json(churn, index)));
	if (churn->nr < MOST_TIMES)
		churn->times_us[churn->nr] = (uint32_t)((now_ns() - begin) / 1000);
	churn->nr++;
}

static void clear(struct churn *churn)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < churn->addresses; i++)
		if (churn->present[i])
			json_array_append_new(list, address_json(churn, i));
	if (json_array_size(list))
		ask(churn, false, list);
	else
		json_decref(list);
}

static int compare_times(const void *a, const void *b)
{
	const uint32_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

static void report(struct churn *churn, uint64_t took_ns)
{
	size_t nr = churn->nr < MOST_TIMES ? churn->nr : MOST_TIMES;

	qsort(churn->times_us, nr, sizeof(*churn->times_us), compare_times);
	printf("{\"changes\": %zu, \"seconds\": %.3f, \"per_second\": %.0f, \"p50_us\": %u, "
	       "\"p99_us\": %u, \"max_us\": %u}\n",
	       churn->nr, (double)took_ns / 1e9, (double)churn->nr * 1e9 / (double)took_ns,
	       churn->times_us[nr / 2], churn->times_us[nr * 99 / 100], churn->times_us[nr - 1]);
}

static void run(struct churn *churn)
{
	uint64_t begin = now_ns(), end = begin + churn->seconds * SECOND_NS;

	for (uint64_t i = 0; now_ns() < end; i++) {
		if (churn->rate)
			wait_until(begin + i * SECOND_NS / churn->rate);
		change_one(churn);
	}
	report(churn, now_ns() - begin);
	if (churn->clear)
		clear(churn);
}

static void connect_dfwd(struct churn *churn)
{
	int wait = ANSWER_MS, most = CONTROL_MAX_BYTES;
	char address[256];

	snprintf(address, sizeof(address), "ipc://" CONTROL_RUN_DIR "/%s/control.sock",
		 churn->instance);
	churn->socket = nn_socket(AF_SP, NN_REQ);
	if (churn->socket < 0 ||
	    nn_setsockopt(churn->socket, NN_SOL_SOCKET, NN_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    nn_setsockopt(churn->socket, NN_SOL_SOCKET, NN_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
	    nn_setsockopt(churn->socket, NN_SOL_SOCKET, NN_RCVMAXSIZE, &most, sizeof(most)) < 0 ||
	    nn_connect(churn->socket, address) < 0)
		fail("cannot connect to dfwd");
}

static uint32_t number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || value > 1UL << 24) {
		fprintf(stderr, "churn: '%s' is no number up to 2^24\n", text);
		exit(2);
	}
	return (uint32_t)value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"instance", required_argument, NULL, 'i'},
		{"base", required_argument, NULL, 'b'},
		{"addresses", required_argument, NULL, 'a'},
		{"rate", required_argument, NULL, 'r'},
		{"seconds", required_argument, NULL, 's'},
		{"clear", no_argument, NULL, 'c'},
		{0},
	};
	struct churn churn = {.instance = "default",
			      .base = 198U << 24 | 18U << 16,
			      .addresses = 10000,
			      .rate = 1000,
			      .seconds = 5,
			      .random = 88172645463325252ULL};
	struct in_addr base;
	int option;

	while ((option = getopt_long(argc, argv, "i:", options, NULL)) >= 0)
		switch (option) {
		case 'i':
			churn.instance = optarg;
			break;
		case 'b':
			if (inet_pton(AF_INET, optarg, &base) != 1)
				return 2;
			churn.base = ntohl(base.s_addr);
			break;
		case 'a':
			churn.addresses = number(optarg);
			break;
		case 'r':
			churn.rate = number(optarg);
			break;
		case 's':
			churn.seconds = number(optarg);
			break;
		case 'c':
			churn.clear = true;
			break;
		default:
			return 2;
		}
	if (optind != argc - 1 || !churn.addresses || !churn.seconds) {
		fprintf(stderr, "usage: churn [options] GROUP\n");
		return 2;
	}
	churn.group = argv[optind];
	churn.present = calloc(churn.addresses, sizeof(*churn.present));
	churn.times_us = calloc(MOST_TIMES, sizeof(*churn.times_us));
	if (!churn.present || !churn.times_us)
		fail("no memory");
	connect_dfwd(&churn);
	run(&churn);
	nn_close(churn.socket);
	free(churn.present);
	free(churn.times_us);
	return 0;
}
