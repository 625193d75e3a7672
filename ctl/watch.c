// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <nanomsg/nn.h>

#include "client.h"
#include "json.h"
#include "output.h"
#include "value.h"
#include "view_pins.h"

#define TOPIC_LEN	2 /* "f " */
#define LOOK_AFTER_DFWD 5 /* silent slices between two looks whether it still runs */

static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

/* What an option wants to hear. Without any, everything is heard. */
static const struct {
	const char *option;
	const char *topic;
} topics[] = {
	{"--flows", "f "},
	{"--verdicts", "v "},
	{"--drops", "d "},
};

struct listener {
	const struct invocation *call;
	int nn;
	bool everything;     /* no topic was chosen */
	json_int_t sequence; /* of the last event, 0: none yet */
	bool running;	     /* dfwd, when last looked */
};

static int subscribe(const struct invocation *call, bool *everything)
{
	const char *wanted[ARRAY_SIZE(topics)];
	size_t nr = 0;

	for (size_t i = 0; i < ARRAY_SIZE(topics); i++)
		if (given(call, topics[i].option))
			wanted[nr++] = topics[i].topic;
	*everything = nr == 0;
	if (nr == 0)
		wanted[nr++] = "";
	return client_subscribe(call->instance, wanted, nr);
}

/* ---- A line for people ---------------------------------------------------------------------------------------- */

static const char *text_or(const json_t *event, const char *key, const char *other)
{
	const char *text = json_text(event, key);

	return text ? text : other;
}

static const char *ends_text(const json_t *event, const char *address_key, const char *port_key,
			     char *text)
{
	const char *address = text_or(event, address_key, "");
	json_int_t port = json_number(event, port_key);

	if (!port)
		snprintf(text, ENDPOINT_TEXT_LEN, "%s", address);
	else
		snprintf(text, ENDPOINT_TEXT_LEN,
			 strchr(address, ':') ? "[%s]:%" JSON_INTEGER_FORMAT
					      : "%s:%" JSON_INTEGER_FORMAT,
			 address, port);
	return text;
}

/* What a line for people leaves out of the rest: it has a column, or it says little beside `with`. */
static bool left_out(const json_t *event, const char *key)
{
	static const struct {
		const char *key;
		const char *with;
	} keys[] = {
		{"time", "time"},    {"event", "event"},     {"vport", "vport"},
		{"src", "src"},	     {"sport", "src"},	     {"dst", "src"},
		{"dport", "src"},    {"seq", "seq"},	     {"direction", "direction"},
		{"proto", "proto"},  {"mac", "src"},	     {"ethertype", "src"},
		{"rule_id", "rule"}, {"generation", "rule"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (strcmp(keys[i].key, key) == 0)
			return json_object_get(event, keys[i].with);
	return false;
}

static void print_value(const char *prefix, const char *key, const json_t *value)
{
	const char *text = json_string_value(value);

	if (json_is_integer(value))
		printf(" %s%s=%" JSON_INTEGER_FORMAT, prefix, key, json_integer_value(value));
	else if (json_is_boolean(value))
		printf(" %s%s=%s", prefix, key, json_is_true(value) ? "yes" : "no");
	else if (text && text[0])
		printf(" %s%s=%s", prefix, key, text);
}

/* What has no column: "action=drop rule=app/web-in packets.orig=3". */
static void print_rest(const json_t *event)
{
	const char *key, *inner_key;
	json_t *value, *inner;

	json_object_foreach ((json_t *)event, key, value) {
		char prefix[64];

		if (left_out(event, key))
			continue;
		snprintf(prefix, sizeof(prefix), "%s.", key);
		print_value("", key, value);
		json_object_foreach (value, inner_key, inner)
			print_value(prefix, inner_key, inner);
	}
}

/* "12:34:56.789" of "2026-01-31T12:34:56.789012Z". */
static void print_time(const json_t *event)
{
	const char *time = strchr(text_or(event, "time", ""), 'T');

	printf("%-12.12s", time ? time + 1 : "");
}

static void print_event(const struct invocation *call, const json_t *event)
{
	char source[ENDPOINT_TEXT_LEN], destination[ENDPOINT_TEXT_LEN];

	print_time(event);
	printf(call->color ? "  \033[1m%-14s\033[0m" : "  %-14s", text_or(event, "event", "?"));
	printf("  %-12s  %-3s  %-5s", text_or(event, "vport", "-"),
	       text_or(event, "direction", "-"), text_or(event, "proto", "-"));
	if (json_text(event, "src"))
		printf("  %21s > %-21s", ends_text(event, "src", "sport", source),
		       ends_text(event, "dst", "dport", destination));
	print_rest(event);
	putchar('\n');
}

/* ---- Listening ------------------------------------------------------------------------------------------------ */

/* Who hears everything sees by gaps in the numbering that he was too slow. */
static void look_for_gap(struct listener *listener, const json_t *event)
{
	json_int_t sequence = json_number(event, "seq");

	if (!sequence)
		return;
	if (listener->everything && listener->sequence && sequence > listener->sequence + 1)
		complain("watch: %" JSON_INTEGER_FORMAT " events were missed",
			 sequence - listener->sequence - 1);
	listener->sequence = sequence;
}

/* Whether the message was an event. */
static bool show(struct listener *listener, const char *message, size_t bytes)
{
	const struct invocation *call = listener->call;
	_cleanup_json_ json_t *event = NULL;

	if (bytes < TOPIC_LEN)
		return false;
	event = json_loadb(message + TOPIC_LEN, bytes - TOPIC_LEN, JSON_ALLOW_NUL, NULL);
	if (!json_is_object(event)) {
		complain("watch: an event that is not understood: is dfwd of another version?");
		return false;
	}
	look_for_gap(listener, event);
	if (!call->json)
		print_event(call, event);
	else if (json_dumpf(event, stdout, JSON_COMPACT) == 0)
		putchar('\n');
	/* A pipe's reader wants each event as it comes. */
	fflush(stdout);
	return true;
}

/* 1: an event was shown, 0: none came, or a negative errno. */
static int hear(struct listener *listener)
{
	char *message = NULL;
	int bytes = nn_recv(listener->nn, &message, NN_MSG, 0), shown;

	if (bytes < 0)
		return nn_errno() == ETIMEDOUT || nn_errno() == EAGAIN || nn_errno() == EINTR
			       ? 0
			       : -nn_errno();
	shown = show(listener, message, (size_t)bytes);
	nn_freemsg(message);
	return shown;
}

/* Says it once when dfwd ends, and once when it is back; a new one numbers its events anew. */
static void look_after_dfwd(struct listener *listener)
{
	bool now = dfwd_running(listener->call->instance) != 0;

	if (now != listener->running)
		complain(now ? "watch: dfwd runs again"
			     : "watch: dfwd has ended; waiting for the next");
	if (!now)
		listener->sequence = 0;
	listener->running = now;
}

static enum exit_status listen_to(struct listener *listener)
{
	const struct invocation *call = listener->call;
	const char *count = given_value(call, "--count"), *seconds = given_value(call, "--seconds");
	unsigned long left = count ? number_value(count) : 0;
	uint64_t end =
		seconds ? monotonic_ns() + (uint64_t)(seconds_value(seconds) * 1e9) : UINT64_MAX;
	unsigned int silent = 0;

	while (!interrupted && !ferror(stdout) && monotonic_ns() < end) {
		int r = hear(listener);

		if (r < 0)
			return client_failed(call->instance, "watch", r);
		if (r > 0 && count && --left == 0)
			break;
		silent = r > 0 ? 0 : silent + 1;
		if (silent >= LOOK_AFTER_DFWD) {
			look_after_dfwd(listener);
			silent = 0;
		}
	}
	return EXIT_DONE;
}

enum exit_status run_watch(const struct invocation *call)
{
	struct sigaction action = {.sa_handler = interrupt};
	struct listener listener = {.call = call, .running = true};
	enum exit_status status;

	listener.nn = subscribe(call, &listener.everything);
	if (listener.nn < 0)
		return client_failed(call->instance, "watch", listener.nn);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	status = listen_to(&listener);
	nn_close(listener.nn);
	return status;
}
