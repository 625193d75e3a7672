// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy_file.h"
#include "instance.h"
#include "json.h"
#include "output.h"
#include "rules_cluster.h"
#include "view.h"
#include "view_json.h"
#include "view_pins.h"

struct rule_listing {
	struct policy *policy; /* NULL: its text is not there */
	struct json_stream stream;
	struct table *table; /* NULL: JSON is wanted */
	uint64_t now_ns;
};

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
	table_cell(table, COLOR_NONE, "%s",
		   duration_text(rule_last_hit_ms(rule, listing->now_ns), ago));
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
			json_stream_add(&listing->stream, rule_to_json(direction, i, &rules[i],
								       text, listing->now_ns));
	}
	return 0;
}

static void json_row(struct table *table, const json_t *rule)
{
	const json_t *hit = json_object_get(rule, "last_hit_ms");
	const char *action = json_text(rule, "action"), *text = json_text(rule, "text");
	char quantity[QUANTITY_TEXT_LEN], ago[DURATION_TEXT_LEN];

	table_cell(table, COLOR_NONE, "%s", json_text(rule, "direction"));
	table_cell(table, COLOR_NONE, "%" JSON_INTEGER_FORMAT, json_number(rule, "slot"));
	table_cell(table, COLOR_BOLD, "%s", json_text(rule, "name"));
	table_cell(table, action_color(action), "%s", action);
	table_cell(table, COLOR_NONE, "%s",
		   quantity_text((uint64_t)json_number(rule, "packets"), quantity));
	table_cell(table, COLOR_NONE, "%s",
		   quantity_text((uint64_t)json_number(rule, "bytes"), quantity));
	table_cell(table, COLOR_NONE, "%s",
		   quantity_text((uint64_t)json_number(rule, "flows"), quantity));
	table_cell(table, COLOR_NONE, "%s",
		   duration_text(json_is_integer(hit) ? json_integer_value(hit) : -1, ago));
	table_cell(table, COLOR_NONE, "%s", text ? text : "-");
}

/* Of a vport of another host. */
static enum exit_status list_elsewhere(const struct invocation *call, const char *vport,
				       struct table *table)
{
	_cleanup_json_ json_t *rules = NULL;
	enum exit_status status = rules_elsewhere(call, vport, &rules);
	const json_t *rule;
	size_t i;

	if (status != EXIT_DONE)
		return status;
	if (!table)
		return print_json(json_incref(rules));
	json_array_foreach (rules, i, rule)
		json_row(table, rule);
	return finish_table(table);
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
	if (given(call, "--hits"))
		return rules_summed(call, vport);
	if (!vport) {
		complain("rules: a vport is wanted, or --hits for the sums over all of them");
		return EXIT_INPUT;
	}
	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		int r = list_direction(call, vport, direction, &listing);

		if (r == -ENOENT && direction == 0 && in_cluster(call->instance))
			return list_elsewhere(call, vport, table);
		if (r < 0)
			return view_failed(call, vport, r);
	}
	return table ? finish_table(table) : json_stream_end(&listing.stream);
}
