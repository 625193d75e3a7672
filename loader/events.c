// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <nanomsg/nn.h>
#include <nanomsg/pubsub.h>

#include "daemon.h"
#include "event_text.h"
#include "log.h"
#include "maps.h"
#include "moves.h"
#include "view_pins.h"

#define CONSUME_AT_ONCE 8192 /* events, before other things have their turn */

/* ---- Names of rules --------------------------------------------------------------------------------------------- */

static int compare_rules(const void *a, const void *b)
{
	const struct rule_name *left = a, *right = b;

	return (left->id > right->id) - (left->id < right->id);
}

static size_t count_rules(const struct compiled *compiled)
{
	size_t nr = 0;

	for (size_t i = 0; i < compiled->nr_rulesets; i++)
		nr += compiled->rulesets[i].header.nr_rules + 1;
	return nr;
}

/* Many rule sets hold the same rules: one name of each is kept. */
static size_t unique_rules(struct rule_name *rules, size_t nr)
{
	size_t kept = 0;

	for (size_t i = 0; i < nr; i++)
		if (kept == 0 || rules[kept - 1].id != rules[i].id)
			rules[kept++] = rules[i];
	return kept;
}

void events_set_rules(struct events *events, const struct compiled *compiled)
{
	size_t room = count_rules(compiled), nr = 0;
	struct rule_name *rules = calloc(room + 1, sizeof(*rules)), *smaller;

	if (!rules) {
		log_warning("no memory for the names of rules: events go by number");
		return;
	}
	for (size_t i = 0; i < compiled->nr_rulesets; i++) {
		const struct compiled_ruleset *ruleset = &compiled->rulesets[i];

		for (uint32_t k = 0; k <= ruleset->header.nr_rules; k++) {
			rules[nr].id = ruleset->rules[k].id;
			memcpy(rules[nr++].name, ruleset->rules[k].name, DFW_RULE_NAME_LEN);
		}
	}
	qsort(rules, nr, sizeof(*rules), compare_rules);
	nr = unique_rules(rules, nr);
	smaller = realloc(rules, (nr + 1) * sizeof(*rules));
	free(events->rules);
	events->rules = smaller ? smaller : rules;
	events->nr_rules = nr;
}

static const char *rule_name(const struct events *events, uint32_t id)
{
	const struct rule_name key = {.id = id};
	const struct rule_name *found =
		events->nr_rules
			? bsearch(&key, events->rules, events->nr_rules, sizeof(key), compare_rules)
			: NULL;

	return found ? found->name : "";
}

/* ---- To subscribers --------------------------------------------------------------------------------------------- */

static bool has_subscribers(const struct events *events)
{
	return nn_get_statistic(events->publisher, NN_STAT_CURRENT_CONNECTIONS) > 0;
}

/* `text` begins with the topic. A slow subscriber's queue does not hold anybody up: what does not fit is not sent to
 * him, and the gap in "seq" tells him. */
static void publish(struct events *events, const char *text, size_t bytes)
{
	if (nn_send(events->publisher, text, bytes, NN_DONTWAIT) < 0 && errno != EAGAIN)
		log_debug("cannot publish: %s", nn_strerror(errno));
}

void events_publish(struct dfwd *d, char topic, const char *name, json_t *json)
{
	struct events *events = &d->events;
	char time[EVENT_TIME_LEN];
	char *text, *message;

	event_time(monotonic_ns(), time);
	json_object_set_new(json, "time", json_string(time));
	json_object_set_new(json, "event", json_string(name));
	json_object_set_new(json, "seq", json_integer((json_int_t)++events->sequence));
	text = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	if (text && asprintf(&message, "%c %s", topic, text) >= 0) {
		publish(events, message, strlen(message));
		free(message);
	}
	free(text);
}

/* ---- To the log ------------------------------------------------------------------------------------------------- */

static void log_verdict(struct dfwd *d, const struct event_view *view)
{
	const double limit = d->config.log_limit;
	char text[EVENT_TEXT_LEN];

	if (!rate_take(&d->events.log_rate, monotonic_ns(), limit, limit)) {
		d->events.suppressed++;
		return;
	}
	event_log_line(view, text);
	log_unlimited(LOG_NOTICE, text);
}

/* ---- From the datapath ------------------------------------------------------------------------------------------ */

struct consumer {
	struct dfwd *d;
	unsigned int left;
	bool subscribers;
};

static int consume_one(void *data, void *record, size_t bytes)
{
	struct consumer *consumer = data;
	struct dfwd *d = consumer->d;
	const struct dfw_event *event = record;
	struct port *port;
	char text[EVENT_TEXT_LEN];
	struct event_view view;

	if (bytes < sizeof(*event) || event->slot >= DFW_MAX_PORTS)
		return 0;
	port = d->slots[event->slot];
	view = (struct event_view){
		.event = event,
		.vport = port ? port->spec->name : "",
		.rule = rule_name(&d->events, event->rule),
		.sequence = d->events.sequence + 1,
	};
	if (event->type == DFW_EVENT_VERDICT)
		log_verdict(d, &view);
	if (event->type == DFW_EVENT_SEEN && port)
		moves_seen(d, port);
	if (event->type == DFW_EVENT_ADDRESS) {
		/* What is told is what comes of it. */
		learn_note(d, event);
	} else if (consumer->subscribers) {
		d->events.sequence++;
		publish(&d->events, text, event_json(&view, text));
	}
	/* An error ends the round; this event counts as taken. */
	return --consumer->left ? 0 : -EAGAIN;
}

/* libbpf gives the callback's context once and for all. */
static struct consumer consumer;

/* Tells the datapath whether anybody hears of flows: each costs it more than the flow itself. */
static void tell_listeners(struct dfwd *d, bool heard)
{
	const uint32_t zero = 0, number = heard;
	int r;

	if (d->events.heard == heard && d->events.heard_told)
		return;
	r = map_put(d->object.listeners, &zero, &number);
	d->events.heard = heard;
	d->events.heard_told = r == 0;
	if (r < 0)
		log_errno(r, "cannot tell the datapath whether its events are heard");
}

void events_consume(struct dfwd *d)
{
	consumer.left = CONSUME_AT_ONCE;
	consumer.subscribers = has_subscribers(&d->events);
	tell_listeners(d, consumer.subscribers);
	ring_buffer__consume(d->events.ring);
}

static uint64_t read_losses(const struct dfwd *d)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t sum = 0, *parts = cpus > 0 ? calloc((size_t)cpus, sizeof(*parts)) : NULL;
	const uint32_t zero = 0;

	if (parts && map_get(d->object.event_losses, &zero, parts) == 0)
		for (int i = 0; i < cpus; i++)
			sum += parts[i];
	free(parts);
	return sum;
}

void events_tick(struct dfwd *d)
{
	struct events *events = &d->events;
	uint64_t losses = read_losses(d), lost = losses - events->losses;
	uint64_t suppressed = events->suppressed - events->suppressed_told;

	if (losses > events->losses) {
		log_warning("%llu events of the datapath were lost: they came faster than they "
			    "were read",
			    (unsigned long long)lost);
		events_publish(d, EVENT_TOPIC_DAEMON, "events-lost",
			       json_pack("{s:I, s:I}", "lost", (json_int_t)lost, "total",
					 (json_int_t)losses));
	}
	events->losses = losses;
	if (suppressed)
		log_notice("%llu logged verdicts left out: more than %u a second",
			   (unsigned long long)suppressed, d->config.log_limit);
	events->suppressed_told = events->suppressed;
}

int events_fd(const struct dfwd *d)
{
	return ring_buffer__epoll_fd(d->events.ring);
}

static int open_publisher(struct dfwd *d)
{
	const int bytes = 4 << 20;
	char address[300];

	d->events.publisher = nn_socket(AF_SP, NN_PUB);
	if (d->events.publisher < 0)
		return -errno;
	nn_setsockopt(d->events.publisher, NN_SOL_SOCKET, NN_SNDBUF, &bytes, sizeof(bytes));
	snprintf(address, sizeof(address), "ipc://%s/events.sock", d->run_dir);
	return nn_bind(d->events.publisher, address) < 0 ? -errno : 0;
}

int events_open(struct dfwd *d)
{
	int r;

	d->events.publisher = -1;
	consumer.d = d;
	d->events.ring = ring_buffer__new(d->object.events, consume_one, &consumer, NULL);
	if (!d->events.ring)
		return log_errno(-errno, "cannot read the datapath's events");
	d->events.losses = d->events.losses_first = read_losses(d);
	r = open_publisher(d);
	return r < 0 ? log_errno(r, "cannot publish events at %s/events.sock", d->run_dir) : 0;
}

void events_close(struct dfwd *d)
{
	if (d->events.ring)
		ring_buffer__free(d->events.ring);
	/* After a detach another daemon may have taken the socket's place: closing would remove its file. */
	if (d->events.ring && d->events.publisher >= 0 && !d->detached)
		nn_close(d->events.publisher);
	free(d->events.rules);
	d->events = (struct events){.publisher = -1};
}
