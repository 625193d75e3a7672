// SPDX-License-Identifier: GPL-2.0
/* uplink add, set, del, list, stats */
#include <errno.h>
#include <string.h>

#include "client.h"
#include "instance.h"
#include "json.h"
#include "output.h"
#include "view.h"

static const struct way {
	const char *name;
	enum dfw_way_kind kind;
	const char *help;
} ways[] = {
#define WAY(symbol, field, name, kind, help) {name, DFW_WAY_KIND_##kind, help},
	DFW_WAYS(WAY)
#undef WAY
};

static const char *const kind_names[] = {
	[DFW_WAY_KIND_TAKEN] = "taken",
	[DFW_WAY_KIND_NORMAL] = "normal",
	[DFW_WAY_KIND_LEARNT] = "learnt",
};

static const char *const hook_names[] = {
	[DFW_UPLINK_NONE] = "none",
	[DFW_UPLINK_TC] = "tc",
	[DFW_UPLINK_NATIVE] = "native",
	[DFW_UPLINK_GENERIC] = "generic",
};

static const struct {
	const char *name;
	const char *help;
} causes[] = {
#define CAUSE(symbol, name, help) {name, help},
	DFW_UPLINK_CAUSES(CAUSE)
#undef CAUSE
};

static uint64_t count_of(const struct dfw_way_counters *counters, size_t way)
{
	return ((const uint64_t *)counters)[way];
}

/* ---- Changing --------------------------------------------------------------------------------------------------- */

static enum exit_status change_uplink(const struct invocation *call, const char *command,
				      const char *done)
{
	const char *mode = given_value(call, "--mode"), *fast = given_value(call, "--fast-path");
	_cleanup_json_ json_t *arguments = json_pack("{s:s}", "name", given_argument(call));
	_cleanup_json_ json_t *result = NULL;
	enum exit_status status;

	if (!arguments)
		return no_memory();
	if (mode)
		json_object_set_new(arguments, "mode", json_string(mode));
	if (fast)
		json_object_set_new(arguments, "fast_path", json_boolean(strcmp(fast, "on") == 0));
	status = client_call(call, command, json_incref(arguments), &result);
	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_incref(result));
	printf("uplink %s %s%s\n", given_argument(call), done,
	       json_number(result, "ifindex") ? "" : ": no device");
	return EXIT_DONE;
}

enum exit_status run_uplink_add(const struct invocation *call)
{
	return change_uplink(call, "uplink-add", "added");
}

enum exit_status run_uplink_set(const struct invocation *call)
{
	if (given(call, "--mode") || given(call, "--fast-path"))
		return change_uplink(call, "uplink-set", "changed");
	complain("uplink set: nothing to set; see `dfwctl uplink set --help`");
	return EXIT_INPUT;
}

enum exit_status run_uplink_del(const struct invocation *call)
{
	const char *name = given_argument(call);
	_cleanup_json_ json_t *result = NULL;
	enum exit_status status =
		client_call(call, "uplink-del", json_pack("{s:s}", "name", name), &result);

	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_pack("{s:s}", "deleted", name));
	printf("uplink %s deleted\n", name);
	return EXIT_DONE;
}

/* ---- Looking ---------------------------------------------------------------------------------------------------- */

/* Of one uplink, in tc and in XDP. */
struct sums {
	uint64_t direct;
	uint64_t dropped;
	uint64_t normal;
};

static int read_sums(const char *instance, uint32_t number, struct sums *sums)
{
	struct dfw_way_counters tc, xdp;
	int r = view_ways(instance, DFW_WAY_PLACE_UPLINK(number), &tc);

	if (r == 0)
		r = view_ways(instance, DFW_WAY_PLACE_XDP(number), &xdp);
	if (r < 0)
		return r;
	*sums = (struct sums){.direct = tc.direct + xdp.direct, .dropped = xdp.dropped};
	/* What leaves XDP the normal way is counted where it ends: in tc. */
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (ways[i].kind == DFW_WAY_KIND_NORMAL)
			sums->normal += count_of(&tc, i);
	return 0;
}

static const char *hook_name(const struct dfw_uplink *uplink)
{
	return uplink->hook < ARRAY_SIZE(hook_names) ? hook_names[uplink->hook] : "?";
}

static size_t cause_of(const struct dfw_uplink *uplink)
{
	return uplink->cause < ARRAY_SIZE(causes) ? uplink->cause : 0;
}

static json_t *uplink_json(const struct dfw_uplink *uplink, const struct sums *sums)
{
	size_t cause = cause_of(uplink);

	return json_pack("{s:s, s:b, s:s, s:s*, s:b, s:b, s:I, s:I, s:I}", "name", uplink->name,
			 "attached", uplink->ifindex != 0, "hook", hook_name(uplink), "cause",
			 cause ? causes[cause].name : NULL, "shared", uplink->shared, "fast_path",
			 uplink->fast, "direct", (json_int_t)sums->direct, "dropped",
			 (json_int_t)sums->dropped, "normal", (json_int_t)sums->normal);
}

static void uplink_row(struct table *table, const struct dfw_uplink *uplink,
		       const struct sums *sums)
{
	char text[QUANTITY_TEXT_LEN];

	table_cell(table, COLOR_BOLD, "%s", uplink->name);
	table_cell(table, uplink->ifindex ? COLOR_GREEN : COLOR_YELLOW, "%s",
		   uplink->ifindex ? "attached" : "no device");
	table_cell(table, COLOR_NONE, "%s%s", hook_name(uplink), uplink->shared ? ", shared" : "");
	table_cell(table, COLOR_NONE, "%s", uplink->fast ? "on" : "off");
	table_cell(table, COLOR_NONE, "%s", quantity_text(sums->direct, text));
	table_cell(table, COLOR_NONE, "%s", quantity_text(sums->dropped, text));
	table_cell(table, COLOR_NONE, "%s", quantity_text(sums->normal, text));
	table_cell(table, COLOR_NONE, "%s", causes[cause_of(uplink)].help);
}

enum exit_status run_uplink_list(const struct invocation *call)
{
	static const struct column columns[] = {
		COLUMN("NAME"),	   COLUMN("STATE"),    COLUMN("HOOK"),	  COLUMN("FAST PATH"),
		NUMBERS("DIRECT"), NUMBERS("DROPPED"), NUMBERS("NORMAL"), COLUMN("WHY NO XDP"),
	};
	_cleanup_table_ struct table *table =
		call->json ? NULL : table_new(columns, ARRAY_SIZE(columns), call->color);
	struct dfw_uplink uplinks[DFW_MAX_UPLINKS];
	struct json_stream stream = {};
	int r = view_uplinks(call->instance, uplinks);

	if (!call->json && !table)
		return no_memory();
	for (uint32_t i = 0; i < DFW_MAX_UPLINKS && r == 0; i++) {
		struct sums sums;

		if (!uplinks[i].name[0])
			continue;
		r = read_sums(call->instance, i, &sums);
		if (r == 0 && table)
			uplink_row(table, &uplinks[i], &sums);
		else if (r == 0)
			json_stream_add(&stream, uplink_json(&uplinks[i], &sums));
	}
	if (r < 0)
		return view_failed(call, NULL, r);
	return table ? finish_table(table) : json_stream_end(&stream);
}

/* ---- Ways ------------------------------------------------------------------------------------------------------- */

static json_t *ways_json(const struct dfw_way_counters *counters)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (count_of(counters, i))
			json_array_append_new(list,
					      json_pack("{s:s, s:s, s:I}", "way", ways[i].name,
							"kind", kind_names[ways[i].kind], "frames",
							(json_int_t)count_of(counters, i)));
	return list;
}

static void ways_rows(struct table *table, const char *from, const char *hook,
		      const struct dfw_way_counters *counters)
{
	static const enum color colors[] = {
		[DFW_WAY_KIND_TAKEN] = COLOR_GREEN,
		[DFW_WAY_KIND_NORMAL] = COLOR_YELLOW,
		[DFW_WAY_KIND_LEARNT] = COLOR_NONE,
	};
	char text[QUANTITY_TEXT_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (!count_of(counters, i))
			continue;
		table_cell(table, COLOR_BOLD, "%s", from);
		table_cell(table, COLOR_NONE, "%s", hook);
		table_cell(table, COLOR_NONE, "%s", kind_names[ways[i].kind]);
		table_cell(table, colors[ways[i].kind], "%s", ways[i].name);
		table_cell(table, COLOR_NONE, "%s", quantity_text(count_of(counters, i), text));
		table_cell(table, COLOR_NONE, "%s", ways[i].help);
	}
}

static int show_ways(const struct invocation *call, uint32_t place, const char *from,
		     const char *hook, struct table *table, struct json_stream *stream)
{
	struct dfw_way_counters counters;
	int r = view_ways(call->instance, place, &counters);

	if (r < 0)
		return r;
	if (table)
		ways_rows(table, from, hook, &counters);
	else
		json_stream_add(stream, json_pack("{s:s*, s:s, s:o}", "uplink",
						  place == DFW_WAY_PLACE_PORTS ? NULL : from,
						  "hook", hook, "ways", ways_json(&counters)));
	return 0;
}

static int show_uplink(const struct invocation *call, const struct dfw_uplink *uplink,
		       uint32_t number, struct table *table, struct json_stream *stream)
{
	int r = show_ways(call, DFW_WAY_PLACE_XDP(number), uplink->name, "xdp", table, stream);

	return r < 0 ? r
		     : show_ways(call, DFW_WAY_PLACE_UPLINK(number), uplink->name, "tc", table,
				 stream);
}

enum exit_status run_uplink_stats(const struct invocation *call)
{
	static const struct column columns[] = {
		COLUMN("FROM"), COLUMN("HOOK"),	   COLUMN("KIND"),
		COLUMN("WAY"),	NUMBERS("FRAMES"), COLUMN("MEANING"),
	};
	_cleanup_table_ struct table *table =
		call->json ? NULL : table_new(columns, ARRAY_SIZE(columns), call->color);
	const char *asked_for = given_argument(call);
	struct dfw_uplink uplinks[DFW_MAX_UPLINKS];
	struct json_stream stream = {};
	bool found = !asked_for;
	int r = view_uplinks(call->instance, uplinks);

	if (!call->json && !table)
		return no_memory();
	for (uint32_t i = 0; i < DFW_MAX_UPLINKS && r == 0; i++) {
		if (!uplinks[i].name[0] || (asked_for && strcmp(uplinks[i].name, asked_for) != 0))
			continue;
		found = true;
		r = show_uplink(call, &uplinks[i], i, table, &stream);
	}
	if (r == 0 && !asked_for)
		r = show_ways(call, DFW_WAY_PLACE_PORTS, "vports", "tc", table, &stream);
	if (r < 0)
		return view_failed(call, NULL, r);
	if (!found) {
		complain("there is no uplink '%s' in instance '%s'", asked_for, call->instance);
		return EXIT_INPUT;
	}
	return table ? finish_table(table) : json_stream_end(&stream);
}
