// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>

#include "client.h"
#include "json.h"
#include "output.h"
#include "policy_cluster.h"
#include "refusal.h"
#include "value.h"
#include "view_pins.h"

#define WAIT_SECONDS 30	  /* --wait alone */
#define SLICE_MS     5000 /* dfwsyncd is asked again after that */

static bool realised(const json_t *result)
{
	return json_is_true(json_object_get(result, "realised"));
}

static double wait_seconds(const struct invocation *call)
{
	const char *value = given_value(call, "--wait");

	return value ? seconds_value(value) : WAIT_SECONDS;
}

/* Replaces *result, which is about this host, by what is known of all. */
static enum exit_status wait_for_hosts(const struct invocation *call, json_t **result)
{
	uint64_t end = monotonic_ns() + (uint64_t)(wait_seconds(call) * 1e9);
	json_int_t generation = json_number(*result, "generation");
	enum exit_status status;

	do {
		uint64_t now = monotonic_ns();
		json_int_t left = now < end ? (json_int_t)((end - now) / 1000000) : 0;
		json_t *next = NULL;

		status = sync_call(call, "policy-wait",
				   json_pack("{s:I, s:I}", "generation", generation, "ms",
					     left < SLICE_MS ? left : SLICE_MS),
				   &next);
		if (status != EXIT_DONE)
			return status;
		json_decref(*result);
		*result = next;
	} while (!realised(*result) && monotonic_ns() < end);
	return EXIT_DONE;
}

static size_t count_realised(const json_t *hosts)
{
	const json_t *host;
	size_t i, nr = 0;

	json_array_foreach (hosts, i, host)
		nr += realised(host);
	return nr;
}

static void complain_late(const struct invocation *call, const json_t *result)
{
	const json_t *host;
	size_t i;

	json_array_foreach (json_object_get(result, "hosts"), i, host) {
		const char *error = json_text(host, "error");

		if (!realised(host))
			complain("%s: host %s has not realised generation %" JSON_INTEGER_FORMAT
				 " (it has %" JSON_INTEGER_FORMAT ")%s%s",
				 call->command->name, json_text(host, "host"),
				 json_number(result, "generation"), json_number(host, "active"),
				 error ? ": " : "", error ? error : "");
	}
}

static void print_result(const struct invocation *call, const json_t *result, json_int_t from)
{
	const json_t *hosts = json_object_get(result, "hosts");
	json_int_t nr = (json_int_t)count_realised(hosts);

	printf("generation %" JSON_INTEGER_FORMAT, json_number(result, "generation"));
	if (from)
		printf(": the policy of generation %" JSON_INTEGER_FORMAT, from);
	if (given(call, "--wait"))
		printf(": realised on %" JSON_INTEGER_FORMAT " of %zu host%s\n", nr,
		       json_array_size(hosts), plural((json_int_t)json_array_size(hosts)));
	else
		puts(": realised on this host, the others follow");
}

enum exit_status cluster_apply(const struct invocation *call, const json_t *bundle,
			       const char *cause, json_int_t from)
{
	_cleanup_json_ json_t *result = NULL, *reply = NULL;
	json_t *arguments = json_pack("{s:O, s:O, s:s}", "main", json_object_get(bundle, "main"),
				      "files", json_object_get(bundle, "files"), "cause", cause);
	int r = sync_request(call->instance, "policy-apply", arguments, &reply);
	enum exit_status status;

	if (!from)
		show_refusal(call, reply, json_text(bundle, "main"));
	status = sync_answer(call, r, reply, &result);
	if (status == EXIT_DONE && realised(result) && given(call, "--wait"))
		status = wait_for_hosts(call, &result);
	if (status != EXIT_DONE)
		return status;
	if (from)
		json_object_set_new(result, "from", json_integer(from));
	if (!realised(result))
		complain_late(call, result);
	if (call->json)
		print_json(json_incref(result));
	else if (realised(result))
		print_result(call, result, from);
	return realised(result) ? EXIT_DONE : EXIT_FAILED;
}
