// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <string.h>

#include "instance.h"
#include "json.h"
#include "output.h"
#include "view.h"

struct reason_field {
	const char *name;
	const char *help;
	size_t offset; /* of the counter in struct dfw_direction_counters */
};

static const struct reason_field reasons[] = {
#define REASON_FIELD(symbol, field, name, help) \
	{name, help, offsetof(struct dfw_direction_counters, field)},
	DFW_REASONS(REASON_FIELD)
#undef REASON_FIELD
};

static const struct dfw_reason_counter *counter_of(const struct dfw_direction_counters *counters,
						   size_t reason)
{
	return (const void *)((const char *)counters + reasons[reason].offset);
}

static struct dfw_reason_counter dropped(const struct dfw_direction_counters *counters)
{
	struct dfw_reason_counter sum = {};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (i == DFW_REASON_PASSED)
			continue;
		sum.packets += counter_of(counters, i)->packets;
		sum.bytes += counter_of(counters, i)->bytes;
	}
	return sum;
}

static json_t *counter_json(const struct dfw_reason_counter *counter)
{
	return json_pack("{s:I, s:I}", "packets", (json_int_t)counter->packets, "bytes",
			 (json_int_t)counter->bytes);
}

/* Reasons for which nothing was dropped are left out. */
static json_t *reasons_json(const struct dfw_direction_counters *counters)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		const struct dfw_reason_counter *counter = counter_of(counters, i);

		if (i == DFW_REASON_PASSED || !counter->packets)
			continue;
		json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "reason", reasons[i].name,
						      "packets", (json_int_t)counter->packets,
						      "bytes", (json_int_t)counter->bytes));
	}
	return list;
}

static json_t *direction_json(const struct dfw_direction_counters *counters)
{
	struct dfw_reason_counter drops = dropped(counters);

	return json_pack("{s:o, s:o, s:o}", "passed", counter_json(&counters->passed), "dropped",
			 counter_json(&drops), "reasons", reasons_json(counters));
}

static void reason_row(struct table *table, const char *vport, int direction, size_t reason,
		       const struct dfw_reason_counter *counter)
{
	char quantity[QUANTITY_TEXT_LEN];

	table_cell(table, COLOR_BOLD, "%s", vport);
	table_cell(table, COLOR_NONE, "%s", direction_name(direction));
	table_cell(table, reason == DFW_REASON_PASSED ? COLOR_GREEN : COLOR_RED, "%s",
		   reasons[reason].name);
	table_cell(table, COLOR_NONE, "%s", quantity_text(counter->packets, quantity));
	table_cell(table, COLOR_NONE, "%s", quantity_text(counter->bytes, quantity));
	table_cell(table, COLOR_NONE, "%s", reasons[reason].help);
}

/* `passed` always, drops when there were some. */
static void vport_rows(struct table *table, const char *vport,
		       const struct dfw_direction_counters *counters)
{
	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
			const struct dfw_reason_counter *counter =
				counter_of(&counters[direction], i);

			if (i == DFW_REASON_PASSED || counter->packets)
				reason_row(table, vport, direction, i, counter);
		}
	}
}

static int show_vport(const struct invocation *call, const char *vport, struct table *table,
		      struct json_stream *stream)
{
	struct dfw_direction_counters counters[DFW_DIRECTIONS];
	int r = view_counters(call->instance, vport, counters);

	if (r < 0)
		return r;
	if (table)
		vport_rows(table, vport, counters);
	else
		json_stream_add(stream, json_pack("{s:s, s:o, s:o}", "vport", vport, "in",
						  direction_json(&counters[DFW_IN]), "out",
						  direction_json(&counters[DFW_OUT])));
	return 0;
}

enum exit_status run_stats(const struct invocation *call)
{
	static const struct column columns[] = {
		COLUMN("VPORT"),    COLUMN("DIR"),    COLUMN("REASON"),
		NUMBERS("PACKETS"), NUMBERS("BYTES"), COLUMN("MEANING"),
	};
	_cleanup_table_ struct table *table =
		call->json ? NULL : table_new(columns, ARRAY_SIZE(columns), call->color);
	const char *asked_for = given_argument(call);
	struct json_stream stream = {};
	char **vports = NULL;
	size_t nr = 0;
	enum exit_status status;

	if (!call->json && !table)
		return no_memory();
	status = select_vports(call, asked_for, &vports, &nr);
	for (size_t i = 0; status == EXIT_DONE && i < nr; i++) {
		int r = show_vport(call, vports[i], table, &stream);

		if (r < 0 && !vport_vanished(asked_for, r))
			status = view_failed(call, vports[i], r);
	}
	names_free(vports, nr);
	if (status != EXIT_DONE)
		return status;
	return table ? finish_table(table) : json_stream_end(&stream);
}
