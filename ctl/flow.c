// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "ask.h"
#include "client.h"
#include "filter.h"
#include "instance.h"
#include "json.h"
#include "output.h"
#include "rule_names.h"
#include "view.h"
#include "view_json.h"

struct flow_listing {
	struct flow_filter filter;
	const char *vport;
	struct rule_names *names;
	struct json_stream stream;
	struct table *table; /* NULL: JSON is wanted */
};

static void legs_cell(struct table *table, uint64_t orig, uint64_t reply)
{
	char orig_text[QUANTITY_TEXT_LEN], reply_text[QUANTITY_TEXT_LEN];

	table_cell(table, COLOR_NONE, "%s/%s", quantity_text(orig, orig_text),
		   quantity_text(reply, reply_text));
}

static void flow_row(struct table *table, const struct view_flow *flow, const char *vport,
		     const char *rule)
{
	const struct dfw_leg *legs = flow->flow.legs;
	struct flow_ends ends = flow_ends(flow);
	char source[ENDPOINT_TEXT_LEN], destination[ENDPOINT_TEXT_LEN], protocol[16];
	char age[DURATION_TEXT_LEN], idle[DURATION_TEXT_LEN], expires[DURATION_TEXT_LEN];

	table_cell(table, COLOR_BOLD, "%s", vport);
	table_cell(table, COLOR_NONE, "%s", protocol_name(flow->key.protocol, protocol));
	table_cell(table, COLOR_NONE, "%s", direction_name(flow->flow.initiator));
	table_cell(table, COLOR_NONE, "%s", endpoint_text(ends.source, ends.source_port, source));
	if (ends.icmp)
		table_cell(table, COLOR_NONE, "%s type %u id %u",
			   endpoint_text(ends.destination, 0, destination),
			   flow_icmp_type(&flow->key), flow->key.local_port);
	else
		table_cell(table, COLOR_NONE, "%s",
			   endpoint_text(ends.destination, ends.destination_port, destination));
	table_cell(table, flow->half_open ? COLOR_YELLOW : COLOR_GREEN, "%s",
		   flow_state_name(flow->flow.state));
	table_cell(table, COLOR_NONE, "%s", rule);
	table_cell(table, COLOR_NONE, "%u", flow->flow.generation);
	legs_cell(table, legs[DFW_ORIG].packets, legs[DFW_REPLY].packets);
	legs_cell(table, legs[DFW_ORIG].bytes, legs[DFW_REPLY].bytes);
	table_cell(table, COLOR_NONE, "%s", duration_text(flow->age_ms, age));
	table_cell(table, COLOR_NONE, "%s", duration_text(flow->idle_ms, idle));
	table_cell(table, COLOR_NONE, "%s", duration_text(flow->expires_ms, expires));
}

static int list_flow(const struct view_flow *flow, void *data)
{
	struct flow_listing *listing = data;
	const char *rule = rule_name(listing->names, flow->flow.rule, flow->flow.generation);

	if (listing->table)
		flow_row(listing->table, flow, listing->vport, rule);
	else
		json_stream_add(&listing->stream, flow_to_json(flow, listing->vport, rule));
	return 0;
}

/* A flow whose rule has no name is still a flow: errors of the names are none of the list. */
static int list_vport(const struct invocation *call, const char *vport,
		      struct flow_listing *listing)
{
	listing->vport = vport;
	rule_names_of(listing->names, vport);
	return view_flows(call->instance, vport, &listing->filter, list_flow, listing);
}

static enum exit_status list_vports(const struct invocation *call, struct flow_listing *listing)
{
	const char *asked_for = given_value(call, "--vport");
	char **vports = NULL;
	size_t nr = 0;
	enum exit_status status = select_vports(call, asked_for, &vports, &nr);

	for (size_t i = 0; status == EXIT_DONE && i < nr; i++) {
		int r = list_vport(call, vports[i], listing);

		if (r < 0 && !vport_vanished(asked_for, r))
			status = view_failed(call, vports[i], r);
	}
	names_free(vports, nr);
	if (status != EXIT_DONE)
		return status;
	return listing->table ? finish_table(listing->table) : json_stream_end(&listing->stream);
}

enum exit_status run_flow_list(const struct invocation *call)
{
	static const struct column columns[] = {
		COLUMN("VPORT"),       COLUMN("PROTO"),	 COLUMN("FROM"), COLUMN("SOURCE"),
		COLUMN("DESTINATION"), COLUMN("STATE"),	 COLUMN("RULE"), NUMBERS("GEN"),
		NUMBERS("PACKETS"),    NUMBERS("BYTES"), NUMBERS("AGE"), NUMBERS("IDLE"),
		NUMBERS("EXPIRES"),
	};
	_cleanup_table_ struct table *table =
		call->json ? NULL : table_new(columns, ARRAY_SIZE(columns), call->color);
	struct flow_listing listing = {.table = table};
	enum exit_status status;

	if (!call->json && !table)
		return no_memory();
	listing.names = rule_names_new(call->instance);
	if (!listing.names)
		return no_memory();
	filter_given(call, &listing.filter);
	status = list_vports(call, &listing);
	rule_names_free(listing.names);
	return status;
}

struct kills {
	json_int_t killed, busy;
};

static void add_kills(struct kills *kills, const json_t *answer)
{
	kills->killed += json_number(answer, "killed");
	kills->busy += json_number(answer, "busy");
}

/* On other hosts: they do it if our certificate allows us to ask. */
static enum exit_status kill_on_hosts(const struct invocation *call, struct kills *kills)
{
	_cleanup_json_ json_t *answers = NULL;
	enum exit_status status = ask_hosts(call, given_value(call, "--host"), "flow-kill",
					    filter_json(call), &answers);
	const json_t *answer;
	size_t i;

	json_array_foreach (answers, i, answer)
		add_kills(kills, json_object_get(answer, "answer"));
	return status;
}

static enum exit_status kill_here(const struct invocation *call, struct kills *kills)
{
	_cleanup_json_ json_t *result = NULL;
	enum exit_status status = client_call(call, "flow-kill", filter_json(call), &result);

	add_kills(kills, result);
	return status;
}

enum exit_status run_flow_kill(const struct invocation *call)
{
	bool elsewhere = given(call, "--everywhere") || given(call, "--host");
	struct kills kills = {};
	enum exit_status status = (elsewhere ? kill_on_hosts : kill_here)(call, &kills);

	if (status != EXIT_DONE && (!elsewhere || kills.killed + kills.busy == 0))
		return status;
	if (call->json)
		print_json(json_pack("{s:I, s:I}", "killed", kills.killed, "busy", kills.busy));
	else
		printf("%" JSON_INTEGER_FORMAT " flow%s killed\n", kills.killed,
		       plural(kills.killed));
	if (!kills.busy)
		return status;
	complain("%" JSON_INTEGER_FORMAT " flow%s could not be killed, other CPUs held %s all the "
		 "time: try again",
		 kills.busy, plural(kills.busy), kills.busy == 1 ? "it" : "them");
	return EXIT_FAILED;
}
