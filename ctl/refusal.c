// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>

#include "json.h"
#include "output.h"
#include "refusal.h"

static json_t *refusal(json_t *errors, size_t unreported)
{
	bool valid = json_array_size(errors) == 0;

	return json_pack("{s:b, s:o, s:I}", "valid", valid, "errors", errors, "unreported",
			 (json_int_t)unreported);
}

static json_t *error_json(const char *file, unsigned int line, unsigned int column,
			  const char *text)
{
	return json_pack("{s:s?, s:i, s:i, s:s}", "file", file, "line", line, "column", column,
			 "text", text);
}

json_t *refusal_json(const struct policy_errors *errors)
{
	json_t *list = json_array();

	for (size_t i = 0; i < errors->nr; i++) {
		const struct policy_error *error = &errors->list[i];

		/* Better no list than one that leaves an error out. */
		if (json_array_append_new(list, error_json(error->file, error->line, error->column,
							   error->text)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return refusal(list, errors->nr_unreported);
}

void show_refusal(const struct invocation *call, const json_t *reply, const char *file)
{
	const json_t *lines = json_object_get(reply, "errors"), *line;
	size_t unreported = 0, i;
	json_t *list;

	if (!call->json || json_array_size(lines) == 0)
		return;
	list = json_array();
	json_array_foreach (lines, i, line) {
		const char *text = json_is_string(line) ? json_string_value(line) : "?";

		/* The last one says how many more there are. */
		if (sscanf(text, "and %zu more errors", &unreported) != 1)
			json_array_append_new(list, error_json(file, 0, 0, text));
	}
	print_json(refusal(list, unreported));
}
