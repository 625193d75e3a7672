// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "json.h"
#include "output.h"
#include "rules_cluster.h"

static json_t *question(const char *vport)
{
	return vport ? json_pack("{s:s}", "vport", vport) : json_object();
}

/* ---- Of one vport ----------------------------------------------------------------------------------------------- */

enum exit_status rules_elsewhere(const struct invocation *call, const char *vport, json_t **rules)
{
	_cleanup_json_ json_t *answers = NULL;
	enum exit_status status = ask_hosts(call, NULL, "rules", question(vport), &answers);
	const json_t *answer;
	size_t i;

	*rules = NULL;
	json_array_foreach (answers, i, answer) {
		json_t *found = json_array_get(json_object_get(answer, "answer"), 0);

		if (found && !*rules)
			*rules = json_incref(json_object_get(found, "rules"));
	}
	if (*rules)
		return EXIT_DONE;
	if (status == EXIT_DONE) {
		complain("there is no vport '%s' in the cluster", vport);
		status = EXIT_INPUT;
	}
	return status;
}

/* ---- Sums ------------------------------------------------------------------------------------------------------- */

static void add_number(json_t *sum, const json_t *rule, const char *key)
{
	json_object_set_new(sum, key, json_integer(json_number(sum, key) + json_number(rule, key)));
}

static void add_last_hit(json_t *sum, json_t *rule)
{
	json_t *hit = json_object_get(rule, "last_hit_ms"),
	       *last = json_object_get(sum, "last_hit_ms");

	if (json_is_integer(hit) &&
	    (!json_is_integer(last) || json_integer_value(hit) < json_integer_value(last)))
		json_object_set(sum, "last_hit_ms", hit);
}

static json_t *new_sum(json_t *rule)
{
	return json_pack("{s:O, s:O, s:O, s:O, s:O, s:O, s:i, s:i, s:i, s:n, s:i}", "direction",
			 json_object_get(rule, "direction"), "id", json_object_get(rule, "id"),
			 "name", json_object_get(rule, "name"), "action",
			 json_object_get(rule, "action"), "text", json_object_get(rule, "text"),
			 "default", json_object_get(rule, "default"), "packets", 0, "bytes", 0,
			 "flows", 0, "last_hit_ms", "vports", 0);
}

/* A rule is one rule wherever it is realised: its id is stable. */
static void add_rule(json_t *sums, json_t *by_key, json_t *rule)
{
	char key[32];
	json_t *sum;

	snprintf(key, sizeof(key), "%s %" JSON_INTEGER_FORMAT, json_text(rule, "direction"),
		 json_number(rule, "id"));
	sum = json_object_get(by_key, key);
	if (!sum) {
		sum = new_sum(rule);
		json_object_set(by_key, key, sum);
		json_array_append_new(sums, sum);
	}
	add_number(sum, rule, "packets");
	add_number(sum, rule, "bytes");
	add_number(sum, rule, "flows");
	add_last_hit(sum, rule);
	json_object_set_new(sum, "vports", json_integer(json_number(sum, "vports") + 1));
}

static json_t *sum_up(const json_t *answers)
{
	_cleanup_json_ json_t *by_key = json_object();
	json_t *sums = json_array(), *answer, *vport, *rule;
	size_t i, j, k;

	json_array_foreach (answers, i, answer)
		json_array_foreach (json_object_get(answer, "answer"), j, vport)
			json_array_foreach (json_object_get(vport, "rules"), k, rule)
				add_rule(sums, by_key, rule);
	return sums;
}

static enum exit_status print_sums(const struct invocation *call, const json_t *sums)
{
	static const struct column columns[] = {
		COLUMN("DIR"),	     COLUMN("RULE"),	COLUMN("ACTION"),
		NUMBERS("PACKETS"),  NUMBERS("BYTES"),	NUMBERS("FLOWS"),
		NUMBERS("LAST HIT"), NUMBERS("VPORTS"), COLUMN("TEXT"),
	};
	_cleanup_table_ struct table *table = table_new(columns, ARRAY_SIZE(columns), call->color);
	char quantity[QUANTITY_TEXT_LEN], ago[DURATION_TEXT_LEN];
	const json_t *sum;
	size_t i;

	if (!table)
		return no_memory();
	json_array_foreach (sums, i, sum) {
		const json_t *hit = json_object_get(sum, "last_hit_ms");
		const char *text = json_text(sum, "text");

		table_cell(table, COLOR_NONE, "%s", json_text(sum, "direction"));
		table_cell(table, COLOR_BOLD, "%s", json_text(sum, "name"));
		table_cell(table, action_color(json_text(sum, "action")), "%s",
			   json_text(sum, "action"));
		table_cell(table, COLOR_NONE, "%s",
			   quantity_text((uint64_t)json_number(sum, "packets"), quantity));
		table_cell(table, COLOR_NONE, "%s",
			   quantity_text((uint64_t)json_number(sum, "bytes"), quantity));
		table_cell(table, COLOR_NONE, "%s",
			   quantity_text((uint64_t)json_number(sum, "flows"), quantity));
		table_cell(table, COLOR_NONE, "%s",
			   duration_text(json_is_integer(hit) ? json_integer_value(hit) : -1, ago));
		table_cell(table, COLOR_NONE, "%" JSON_INTEGER_FORMAT, json_number(sum, "vports"));
		table_cell(table, COLOR_NONE, "%s", text ? text : "-");
	}
	return finish_table(table);
}

enum exit_status rules_summed(const struct invocation *call, const char *vport)
{
	_cleanup_json_ json_t *answers = NULL, *sums = NULL;
	enum exit_status status = ask_hosts(call, NULL, "rules", question(vport), &answers);
	enum exit_status printed;

	if (!answers)
		return status;
	sums = sum_up(answers);
	printed = call->json ? print_json(json_incref(sums)) : print_sums(call, sums);
	return printed != EXIT_DONE ? printed : status;
}
