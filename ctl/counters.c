// SPDX-License-Identifier: GPL-2.0
/* sync counters: what dfwsyncd has dropped, refused or done. */
#include "client.h"
#include "json.h"
#include "output.h"
#include "sync/daemon/counters.h"
#include "sync/daemon/xport.h"
#include "sync/sync.h"

static const struct counter_text {
	const char *part;
	const char *name;
	const char *help;
} texts[] = {
#define NETWORK_TEXT(name, help) {"network", #name, help},
	XPORT_COUNTERS(NETWORK_TEXT)
#undef NETWORK_TEXT
#define CORE_TEXT(name, help) {"core", #name, help},
		SYNC_COUNTERS(CORE_TEXT)
#undef CORE_TEXT
#define SYNCD_TEXT(name, field, help) {"core", #name, help},
			SYNCD_COUNTERS(SYNCD_TEXT)
#undef SYNCD_TEXT
};

enum exit_status run_sync_counters(const struct invocation *call)
{
	static const struct column columns[] = {
		COLUMN("PART"),
		COLUMN("COUNTER"),
		NUMBERS("COUNT"),
		COLUMN("MEANING"),
	};
	_cleanup_table_ struct table *table =
		call->json ? NULL : table_new(columns, ARRAY_SIZE(columns), call->color);
	_cleanup_json_ json_t *result = NULL;
	enum exit_status status = sync_call(call, "sync-counters", NULL, &result);

	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_incref(result));
	if (!table)
		return no_memory();
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_int_t count =
			json_number(json_object_get(result, texts[i].part), texts[i].name);

		if (!count)
			continue;
		table_cell(table, COLOR_NONE, "%s", texts[i].part);
		table_cell(table, COLOR_BOLD, "%s", texts[i].name);
		table_cell(table, COLOR_NONE, "%" JSON_INTEGER_FORMAT, count);
		table_cell(table, COLOR_NONE, "%s", texts[i].help);
	}
	return finish_table(table);
}
