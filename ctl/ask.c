// SPDX-License-Identifier: GPL-2.0
#include "ask.h"
#include "client.h"
#include "json.h"
#include "output.h"

/* Keeps those that have answered. */
static enum exit_status sort_out(const struct invocation *call, const json_t *told, json_t *answers)
{
	enum exit_status status = EXIT_DONE;
	json_t *entry;
	size_t i;

	json_array_foreach (told, i, entry) {
		if (json_object_get(entry, "answer")) {
			json_array_append(answers, entry);
			continue;
		}
		complain("%s: host %s: %s", call->command->name, json_text(entry, "host"),
			 json_text(entry, "error"));
		status = EXIT_FAILED;
	}
	return status;
}

enum exit_status ask_hosts(const struct invocation *call, const char *host, const char *what,
			   json_t *question, json_t **answers)
{
	json_t *arguments = question ? question : json_object();
	_cleanup_json_ json_t *result = NULL;
	enum exit_status status;

	json_object_set_new(arguments, "what", json_string(what));
	if (host)
		json_object_set_new(arguments, "host", json_string(host));
	status = sync_call(call, "ask", arguments, &result);
	if (status != EXIT_DONE)
		return status;
	*answers = json_array();
	return sort_out(call, json_object_get(result, "answers"), *answers);
}
