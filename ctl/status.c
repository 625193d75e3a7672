// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "drift.h"
#include "json.h"
#include "output.h"
#include "value.h"
#include "view.h"
#include "view_pins.h"

#define POLL_MS 100

static void number_line(struct table *table, const char *label, const json_t *status,
			const char *key)
{
	table_cell(table, COLOR_NONE, "%s", label);
	table_cell(table, COLOR_NONE, "%" JSON_INTEGER_FORMAT, json_number(status, key));
}

static void held_lines(struct table *table, const json_t *status)
{
	const json_t *held;
	char time[DURATION_TEXT_LEN];
	size_t i;

	json_array_foreach (json_object_get(status, "held"), i, held) {
		const char *vport = json_text(held, "vport"), *why = json_text(held, "why");

		table_cell(table, COLOR_NONE, "held");
		table_cell(table, COLOR_YELLOW, "%s denies everything for %s: %s%s",
			   vport ? vport : "?", held_for(held, time), why ? why : "?",
			   json_is_true(json_object_get(status, "dfwsyncd"))
				   ? ""
				   : "; dfwsyncd, which would end that, does not run");
	}
}

static enum exit_status print_status(const struct invocation *call, const json_t *status)
{
	static const struct column columns[] = {{}, {}};
	_cleanup_table_ struct table *table = table_new(columns, ARRAY_SIZE(columns), call->color);
	bool ready = json_is_true(json_object_get(status, "ready"));
	const char *version = json_text(status, "version");
	char time[DURATION_TEXT_LEN];

	if (!table)
		return no_memory();
	table_cell(table, COLOR_NONE, "instance");
	table_cell(table, COLOR_BOLD, "%s", call->instance);
	table_cell(table, COLOR_NONE, "dfwd");
	table_cell(table, ready ? COLOR_GREEN : COLOR_YELLOW, "%s", ready ? "ready" : "starting");
	table_cell(table, COLOR_NONE, "version");
	table_cell(table, COLOR_NONE, "%s", version ? version : "?");
	number_line(table, "pid", status, "pid");
	table_cell(table, COLOR_NONE, "up");
	table_cell(table, COLOR_NONE, "%s", duration_text(json_number(status, "uptime_ms"), time));
	number_line(table, "policy generation", status, "generation");
	number_line(table, "revision", status, "revision");
	table_cell(table, COLOR_NONE, "in force for");
	table_cell(table, COLOR_NONE, "%s",
		   duration_text(json_number(status, "active_since_ms"), time));
	number_line(table, "vports", status, "vports");
	number_line(table, "attached", status, "attached");
	held_lines(table, status);
	number_line(table, "flows", status, "flows");
	number_line(table, "events lost", status, "events_lost");
	number_line(table, "log lines left out", status, "log_suppressed");
	number_line(table, "changes in place", status, "changes_in_place");
	number_line(table, "changes staged", status, "changes_staged");
	number_line(table, "  for want of room", status, "changes_no_room");
	return finish_table(table);
}

static enum exit_status show_status(const struct invocation *call, const json_t *reply)
{
	const json_t *status = json_object_get(reply, "result");
	const char *error = json_text(reply, "error");

	if (json_number(reply, "status") != EXIT_DONE) {
		complain("status: %s", error ? error : "failed, dfwd does not say why");
		return EXIT_FAILED;
	}
	return call->json ? print_json(json_incref((json_t *)status)) : print_status(call, status);
}

/* The daemon is dead, but what it has built is not: say so. */
static void complain_not_running(const char *instance)
{
	struct dfw_layout layout;
	struct dfw_revision revision;

	if (view_active(instance, &layout, &revision) == 0)
		complain("dfwd of instance '%s' does not run; the kernel goes on enforcing policy "
			 "generation %u",
			 instance, revision.generation);
	else
		complain("dfwd of instance '%s' does not run", instance);
}

static bool is_ready(const json_t *reply)
{
	return json_is_true(json_object_get(json_object_get(reply, "result"), "ready"));
}

/* Asks until dfwd is ready or the time is over; the last answer counts. */
static int wait_ready(const char *instance, double seconds, json_t **reply)
{
	uint64_t end = monotonic_ns() + (uint64_t)(seconds * 1e9);
	int r;

	for (;;) {
		r = client_request(instance, "status", NULL, reply);
		if ((r == 0 && is_ready(*reply)) || r == -EPERM || monotonic_ns() >= end)
			return r;
		if (r == 0)
			json_decref(*reply);
		*reply = NULL;
		sleep_ms(POLL_MS);
	}
}

enum exit_status run_status(const struct invocation *call)
{
	_cleanup_json_ json_t *reply = NULL;
	const char *wait = given_value(call, "--wait");
	enum exit_status status;
	int r;

	if (given(call, "--drift"))
		return print_drift(call);
	r = wait_ready(call->instance, wait ? seconds_value(wait) : 0, &reply);
	if (r == -ECONNREFUSED) {
		complain_not_running(call->instance);
		return EXIT_UNREACHABLE;
	}
	if (r < 0)
		return client_failed(call->instance, "status", r);
	status = show_status(call, reply);
	if (status != EXIT_DONE || !wait || is_ready(reply))
		return status;
	complain("dfwd of instance '%s' is not ready after %s s", call->instance, wait);
	return EXIT_FAILED;
}
