/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_EVENT_TEXT_H
#define DFW_LOADER_EVENT_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include <dfw/event.h>

#define EVENT_TEXT_LEN 1024
#define EVENT_TIME_LEN 40

/* An event with the names that go with its numbers. */
struct event_view {
	const struct dfw_event *event;
	const char *vport;
	const char *rule; /* "": none, or unknown */
	uint64_t sequence;
};

/* A time of CLOCK_MONOTONIC as RFC 3339 with microseconds, UTC. */
const char *event_time(uint64_t time_ns, char text[EVENT_TIME_LEN]);

/* Topic and JSON object, as it is published; returns its length. dfwd(8) documents the members. */
size_t event_json(const struct event_view *view, char text[EVENT_TEXT_LEN]);

/* A logged verdict as "vport=web-1 direction=in action=drop ...". */
void event_log_line(const struct event_view *view, char text[EVENT_TEXT_LEN]);

#endif
