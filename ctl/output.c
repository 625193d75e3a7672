// SPDX-License-Identifier: GPL-2.0
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "output.h"
#include "util.h"

#define EXACT_BELOW 100000U

const char *quantity_text(uint64_t value, char *text)
{
	static const char units[] = "kMGTPE";
	double scaled = (double)value;
	size_t unit = 0;

	if (value < EXACT_BELOW) {
		snprintf(text, QUANTITY_TEXT_LEN, "%" PRIu64, value);
		return text;
	}
	/* 999.95 would be written as 1000.0. */
	for (scaled /= 1000; scaled >= 999.95 && unit + 1 < sizeof(units) - 1; unit++)
		scaled /= 1000;
	snprintf(text, QUANTITY_TEXT_LEN, "%.1f%c", scaled, units[unit]);
	return text;
}

const char *duration_text(int64_t ms, char *text)
{
	int64_t s = ms / 1000, m = s / 60, h = m / 60, d = h / 24;

	if (ms < 0)
		snprintf(text, DURATION_TEXT_LEN, "-");
	else if (ms < 1000)
		snprintf(text, DURATION_TEXT_LEN, "%" PRId64 "ms", ms);
	else if (s < 60)
		snprintf(text, DURATION_TEXT_LEN, "%" PRId64 "s", s);
	else if (m < 60)
		snprintf(text, DURATION_TEXT_LEN, "%" PRId64 "m%02" PRId64 "s", m, s % 60);
	else if (h < 24)
		snprintf(text, DURATION_TEXT_LEN, "%" PRId64 "h%02" PRId64 "m", h, m % 60);
	else
		snprintf(text, DURATION_TEXT_LEN, "%" PRId64 "d%02" PRId64 "h", d, h % 24);
	return text;
}

const char *held_for(const json_t *held, char *text)
{
	const json_t *ms = json_object_get(held, "ms");

	if (json_is_integer(ms))
		return duration_text(json_integer_value(ms), text);
	snprintf(text, DURATION_TEXT_LEN, "longer than dfwd runs");
	return text;
}

const char *endpoint_text(const struct dfw_addr *addr, uint16_t port, char *text)
{
	char address[ADDR_TEXT_LEN];

	addr_format(addr, address);
	if (!port)
		snprintf(text, ENDPOINT_TEXT_LEN, "%s", address);
	else if (addr_is_v4(addr))
		snprintf(text, ENDPOINT_TEXT_LEN, "%s:%u", address, port);
	else
		snprintf(text, ENDPOINT_TEXT_LEN, "[%s]:%u", address, port);
	return text;
}

const char *plural(int64_t number)
{
	return number == 1 ? "" : "s";
}

enum color action_color(const char *action)
{
	if (strcmp(action, "allow") == 0)
		return COLOR_GREEN;
	if (strcmp(action, "drop") == 0)
		return COLOR_RED;
	return strcmp(action, "reject") == 0 ? COLOR_YELLOW : COLOR_NONE;
}

enum exit_status no_memory(void)
{
	complain("no memory");
	return EXIT_FAILED;
}

/* What could not be written is no want of memory: flush_output() tells of it, with the cause. */
static enum exit_status unprinted(void)
{
	return ferror(stdout) ? EXIT_FAILED : no_memory();
}

enum exit_status print_json(json_t *json)
{
	int r;

	if (!json)
		return no_memory();
	r = json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	json_decref(json);
	if (r < 0)
		return unprinted();
	putchar('\n');
	return EXIT_DONE;
}

void json_stream_add(struct json_stream *stream, json_t *item)
{
	fputs(stream->begun ? ",\n  " : "[\n  ", stdout);
	stream->begun = true;
	if (!item || json_dumpf(item, stdout, JSON_COMPACT) < 0)
		stream->failed = true;
	json_decref(item);
}

enum exit_status json_stream_end(struct json_stream *stream)
{
	puts(stream->begun ? "\n]" : "[]");
	return stream->failed ? unprinted() : EXIT_DONE;
}

enum exit_status finish_table(struct table *table)
{
	return table_end(table) < 0 ? no_memory() : EXIT_DONE;
}
