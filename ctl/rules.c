// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <string.h>

#include "policy_file.h"
#include "instance.h"
#include "json.h"
#include "output.h"
#include "view.h"
#include "view_pins.h"

struct rule_listing {
	struct policy *policy; /* NULL: its text is not there */
	struct json_stream stream;
	struct table *table; /* NULL: JSON is wanted */
	uint64_t now_ns;
};

static const char *on_change_name(uint8_t on_change)
{
	static const char *const names[] = {
		[DFW_ON_CHANGE_REVALIDATE] = "revalidate",
		[DFW_ON_CHANGE_KEEP] = "keep",
		[DFW_ON_CHANGE_KILL] = "kill",
	};

	return on_change < ARRAY_SIZE(names) ? names[on_change] : "unknown";
}

/* The policy that the kernel enforces, if dfwd has its text: not what may have been stored since. */
static struct policy *read_policy(const struct invocation *call)
{
	_cleanup_(policy_errors_free) struct policy_errors errors = {};
	_cleanup_json_ json_t *bundle = NULL;
	struct policy *policy = NULL;
	struct dfw_revision revision;
	struct dfw_layout layout;

	if (view_active(call->instance, &layout, &revision) < 0 ||
	    bundle_saved(call->instance, revision.generation, &bundle) < 0 ||
	    bundle_parse(bundle, &policy, &errors) < 0)
		return NULL;
	return policy;
}

/* malloc'd, or NULL. */
static char *rule_text(const struct rule_listing *listing, const struct view_rule *rule)
{
	const struct dfw_rule_info *info = &rule->info;
	char *text = NULL;

	if (listing->policy && policy_rule_text(listing->policy, info->id, &text) == 0)
		return text;
	/* "default in drop log": all that a default can say is in the kernel. */
	if ((info->flags & DFW_RULE_DEFAULT) &&
	    asprintf(&text, "%.*s %s%s", (int)sizeof(info->name), info->name,
		     action_name(info->action), info->flags & DFW_RULE_LOG ? " log" : "") >= 0)
		return text;
	return NULL;
}

/* Milliseconds since the last packet that the rule decided, -1: never. */
static int64_t last_hit_ms(const struct rule_listing *listing, const struct view_rule *rule)
{
	uint64_t then = rule->hits.last_hit_ns;

	if (!then)
		return -1;
	return then < listing->now_ns ? (int64_t)((listing->now_ns - then) / 1000000) : 0;
}

static json_t *rule_json(const struct rule_listing *listing, int direction, size_t slot,
			 const struct view_rule *rule, const char *text)
{
	const struct dfw_rule_info *info = &rule->info;
	int64_t last_hit = last_hit_ms(listing, rule);

	return json_pack(
		"{s:s, s:I, s:I, s:s#, s:s, s:s?, s:I, s:I, s:I, s:o, s:s, s:b, s:b, s:b, s:I, "
		"s:I}",
		"direction", direction_name(direction), "slot", (json_int_t)slot, "id",
		(json_int_t)info->id, "name", info->name,
		(int)strnlen(info->name, sizeof(info->name)), "action", action_name(info->action),
		"text", text, "packets", (json_int_t)rule->hits.packets, "bytes",
		(json_int_t)rule->hits.bytes, "flows", (json_int_t)rule->hits.flows, "last_hit_ms",
		last_hit < 0 ? json_null() : json_integer(last_hit), "on_change",
		on_change_name(info->on_change), "log", !!(info->flags & DFW_RULE_LOG), "stateless",
		!!(info->flags & DFW_RULE_STATELESS), "default", !!(info->flags & DFW_RULE_DEFAULT),
		"max_flows", (json_int_t)info->max_flows, "new_per_second",
		(json_int_t)info->new_per_second);
}

static void rule_row(const struct rule_listing *listing, int direction, size_t slot,
		     const struct view_rule *rule, const char *text)
{
	struct table *table = listing->table;
	const char *action = action_name(rule->info.action);
	char quantity[QUANTITY_TEXT_LEN], ago[DURATION_TEXT_LEN];

	table_cell(table, COLOR_NONE, "%s", direction_name(direction));
	table_cell(table, COLOR_NONE, "%zu", slot);
	table_cell(table, COLOR_BOLD, "%.*s", (int)sizeof(rule->info.name), rule->info.name);
	table_cell(table, action_color(action), "%s", action);
	table_cell(table, COLOR_NONE, "%s", quantity_text(rule->hits.packets, quantity));
	table_cell(table, COLOR_NONE, "%s", quantity_text(rule->hits.bytes, quantity));
	table_cell(table, COLOR_NONE, "%s", quantity_text(rule->hits.flows, quantity));
	table_cell(table, COLOR_NONE, "%s", duration_text(last_hit_ms(listing, rule), ago));
	table_cell(table, COLOR_NONE, "%s", text ? text : "-");
}

static int list_direction(const struct invocation *call, const char *vport, int direction,
			  struct rule_listing *listing)
{
	_cleanup_free_ struct view_rule *rules = NULL;
	struct dfw_ruleset header;
	size_t nr = 0;
	int r = view_rules(call->instance, vport, direction, &rules, &nr, &header);

	if (r < 0)
		return r;
	listing->now_ns = monotonic_ns();
	for (size_t i = 0; i < nr; i++) {
		_cleanup_free_ char *text = rule_text(listing, &rules[i]);

		if (listing->table)
			rule_row(listing, direction, i, &rules[i], text);
		else
			json_stream_add(&listing->stream,
					rule_json(listing, direction, i, &rules[i], text));
	}
	return 0;
}

enum exit_status run_rules(const struct invocation *call)
{
	static const struct column columns[] = {
		COLUMN("DIR"),	  NUMBERS("SLOT"),     COLUMN("RULE"),
		COLUMN("ACTION"), NUMBERS("PACKETS"),  NUMBERS("BYTES"),
		NUMBERS("FLOWS"), NUMBERS("LAST HIT"), COLUMN("TEXT"),
	};
	_cleanup_table_ struct table *table =
		call->json ? NULL : table_new(columns, ARRAY_SIZE(columns), call->color);
	_cleanup_policy_ struct policy *policy = read_policy(call);
	struct rule_listing listing = {.policy = policy, .table = table};
	const char *vport = given_argument(call);

	if (!call->json && !table)
		return no_memory();
	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		int r = list_direction(call, vport, direction, &listing);

		if (r < 0)
			return view_failed(call, vport, r);
	}
	return table ? finish_table(table) : json_stream_end(&listing.stream);
}
