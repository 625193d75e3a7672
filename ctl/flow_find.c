// SPDX-License-Identifier: GPL-2.0
/* flow find: a flow lives where its ends are; both in one line. */
#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "ask.h"
#include "filter.h"
#include "json.h"
#include "output.h"

/* One key for both ends: they tell the same of who began it. malloc'd. */
static char *flow_key(const json_t *flow)
{
	char *key;

	return asprintf(&key,
			"%s %s %" JSON_INTEGER_FORMAT " %s %" JSON_INTEGER_FORMAT
			" %" JSON_INTEGER_FORMAT " %" JSON_INTEGER_FORMAT,
			json_text(flow, "proto"), json_text(flow, "src"),
			json_number(flow, "sport"), json_text(flow, "dst"),
			json_number(flow, "dport"), json_number(flow, "icmp_id"),
			json_number(flow, "icmp_type")) < 0
		       ? NULL
		       : key;
}

static json_t *new_pair(const json_t *flow)
{
	return json_pack("{s:O, s:O, s:O, s:O, s:O, s:n, s:n}", "proto",
			 json_object_get(flow, "proto"), "src", json_object_get(flow, "src"),
			 "sport", json_object_get(flow, "sport"), "dst",
			 json_object_get(flow, "dst"), "dport", json_object_get(flow, "dport"),
			 "source", "destination");
}

static bool is_source(const json_t *flow)
{
	const char *initiator = json_text(flow, "initiator");

	return initiator && strcmp(initiator, "out") == 0;
}

/* `pairs` is in the order in which they were found, `by_key` finds them. */
static void add_flow(json_t *pairs, json_t *by_key, const char *host, json_t *flow)
{
	_cleanup_free_ char *key = flow_key(flow);
	json_t *pair = key ? json_object_get(by_key, key) : NULL;

	if (!key)
		return;
	if (!pair) {
		pair = new_pair(flow);
		json_object_set(by_key, key, pair);
		json_array_append_new(pairs, pair);
	}
	json_object_set_new(flow, "host", json_string(host));
	json_object_set(pair, is_source(flow) ? "source" : "destination", flow);
}

static json_t *join(const struct invocation *call, const json_t *answers)
{
	_cleanup_json_ json_t *by_key = json_object();
	json_t *pairs = json_array(), *answer, *flow;
	size_t i, j;

	json_array_foreach (answers, i, answer) {
		const char *host = json_text(answer, "host");
		const json_t *found = json_object_get(answer, "answer");

		json_array_foreach (json_object_get(found, "flows"), j, flow)
			add_flow(pairs, by_key, host, flow);
		if (json_is_true(json_object_get(found, "more")))
			complain(
				"%s: host %s has more flows that match than it tells of: narrow it",
				call->command->name, host);
	}
	return pairs;
}

static const char *end_text(const json_t *pair, const char *address, const char *port, char *text)
{
	struct dfw_addr addr;

	if (addr_parse(json_text(pair, address), &addr) < 0)
		return "?";
	return endpoint_text(&addr, (uint16_t)json_number(pair, port), text);
}

static void end_cells(struct table *table, const json_t *end)
{
	if (!json_is_object(end)) {
		table_cell(table, COLOR_NONE, "-");
		table_cell(table, COLOR_NONE, "-");
		table_cell(table, COLOR_NONE, "-");
		return;
	}
	table_cell(table, COLOR_BOLD, "%s@%s", json_text(end, "vport"), json_text(end, "host"));
	table_cell(table, COLOR_NONE, "%s", json_text(end, "state"));
	table_cell(table, COLOR_NONE, "%s", json_text(end, "rule"));
}

static enum exit_status print_pairs(const struct invocation *call, const json_t *pairs)
{
	static const struct column columns[] = {
		COLUMN("PROTO"), COLUMN("SOURCE"), COLUMN("DESTINATION"),
		COLUMN("FROM"),	 COLUMN("STATE"),  COLUMN("RULE"),
		COLUMN("TO"),	 COLUMN("STATE"),  COLUMN("RULE"),
	};
	_cleanup_table_ struct table *table = table_new(columns, ARRAY_SIZE(columns), call->color);
	char source[ENDPOINT_TEXT_LEN], destination[ENDPOINT_TEXT_LEN];
	const json_t *pair;
	size_t i;

	if (!table)
		return no_memory();
	json_array_foreach (pairs, i, pair) {
		table_cell(table, COLOR_NONE, "%s", json_text(pair, "proto"));
		table_cell(table, COLOR_NONE, "%s", end_text(pair, "src", "sport", source));
		table_cell(table, COLOR_NONE, "%s", end_text(pair, "dst", "dport", destination));
		end_cells(table, json_object_get(pair, "source"));
		end_cells(table, json_object_get(pair, "destination"));
	}
	return finish_table(table);
}

enum exit_status run_flow_find(const struct invocation *call)
{
	_cleanup_json_ json_t *answers = NULL, *pairs = NULL;
	enum exit_status status = ask_hosts(call, NULL, "flow-find", filter_json(call), &answers);
	enum exit_status printed;

	if (!answers)
		return status;
	pairs = join(call, answers);
	printed = call->json ? print_json(json_incref(pairs)) : print_pairs(call, pairs);
	return printed != EXIT_DONE ? printed : status;
}
