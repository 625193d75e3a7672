// SPDX-License-Identifier: GPL-2.0
/* status --drift: is what the kernels enforce what the policy says? */
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "drift.h"
#include "json.h"
#include "output.h"

static void host_row(struct table *table, const json_t *answer)
{
	const json_t *drift = json_object_get(answer, "answer");
	size_t drifted = json_array_size(json_object_get(drift, "drifted"));

	table_cell(table, COLOR_BOLD, "%s", json_text(answer, "host"));
	table_cell(table, COLOR_NONE, "%" JSON_INTEGER_FORMAT, json_number(drift, "generation"));
	table_cell(table, COLOR_NONE, "%" JSON_INTEGER_FORMAT, json_number(drift, "vports"));
	table_cell(table, COLOR_NONE, "%s", json_text(drift, "hash"));
	table_cell(table, COLOR_NONE, "%s", json_text(drift, "wanted"));
	table_cell(table, drifted ? COLOR_RED : COLOR_GREEN, drifted ? "%zu drifted" : "none",
		   drifted);
}

static enum exit_status print_hosts(const struct invocation *call, const json_t *answers)
{
	static const struct column columns[] = {
		COLUMN("HOST"),	 NUMBERS("GENERATION"), NUMBERS("VPORTS"),
		COLUMN("FOUND"), COLUMN("WANTED"),	COLUMN("DRIFT"),
	};
	_cleanup_table_ struct table *table = table_new(columns, ARRAY_SIZE(columns), call->color);
	const json_t *answer;
	size_t i;

	if (!table)
		return no_memory();
	json_array_foreach (answers, i, answer)
		host_row(table, answer);
	return finish_table(table);
}

/* The number of vports that drifted; each is named. */
static size_t complain_drifted(const struct invocation *call, const json_t *answers)
{
	const json_t *answer, *vport;
	size_t i, j, nr = 0;

	json_array_foreach (answers, i, answer) {
		json_array_foreach (json_object_get(json_object_get(answer, "answer"), "drifted"),
				    j, vport) {
			complain("%s: vport %s on host %s: %s", call->command->name,
				 json_text(vport, "vport"), json_text(answer, "host"),
				 json_text(vport, "what"));
			nr++;
		}
	}
	return nr;
}

/* The host of each answer beside what it says. */
static json_t *flat(const json_t *answers)
{
	json_t *list = json_array(), *answer;
	size_t i;

	json_array_foreach (answers, i, answer) {
		json_t *drift = json_object_get(answer, "answer");

		json_object_set(drift, "host", json_object_get(answer, "host"));
		json_array_append(list, drift);
	}
	return list;
}

enum exit_status print_drift(const struct invocation *call)
{
	_cleanup_json_ json_t *answers = NULL;
	enum exit_status status = ask_hosts(call, NULL, "drift", NULL, &answers), printed;

	if (!answers)
		return status;
	printed = call->json ? print_json(flat(answers)) : print_hosts(call, answers);
	if (complain_drifted(call, answers))
		status = EXIT_FAILED;
	return printed != EXIT_DONE ? printed : status;
}
