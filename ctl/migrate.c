// SPDX-License-Identifier: GPL-2.0
/* migrate and sync status: what of a vport's flows is on which host. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dfw/migrate.h>

#include "client.h"
#include "json.h"
#include "output.h"

#define PREPARE_SECONDS 60
#define FOLLOW_MS	500

/* ---- migrate ----------------------------------------------------------------------------------------------------- */

static enum exit_status moved_print_json(const struct invocation *call, const struct dfw_move *move)
{
	return print_json(json_pack(
		"{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I}", "vport", given_argument(call),
		"role", move->role, "phase", move->phase, "peer", move->peer, "safe", move->safe,
		"flows", (json_int_t)move->flows, "behind", (json_int_t)move->behind, "behind_ms",
		(json_int_t)move->behind_ms, "took_us", (json_int_t)move->took_us));
}

static enum exit_status failed(const struct invocation *call, int r, const struct dfw_move *move)
{
	switch (r) {
	case -EINVAL:
		complain("%s: %s", call->command->name, move->error);
		return EXIT_INPUT;
	case -EIO:
	case -EAGAIN:
		complain("%s: %s", call->command->name, move->error);
		return EXIT_FAILED;
	default:
		return daemon_failed(call->instance, DFWSYNCD, call->command->name, r);
	}
}

static enum exit_status finish(const struct invocation *call, int r, const struct dfw_move *move,
			       const char *done)
{
	if (r < 0)
		return failed(call, r, move);
	if (call->json)
		return moved_print_json(call, move);
	printf("%s %s, %" PRIu64 " flow%s, %" PRId64 " ms\n", given_argument(call), done,
	       move->flows, plural((int64_t)move->flows), move->took_us / 1000);
	return EXIT_DONE;
}

enum exit_status run_migrate_prepare(const struct invocation *call)
{
	const char *wait = given_value(call, "--wait");
	unsigned int seconds = wait ? (unsigned int)strtoul(wait, NULL, 10) : PREPARE_SECONDS;
	struct dfw_move move;
	int r = dfw_move_prepare(call->instance, given_argument(call), given_value(call, "--to"),
				 given(call, "--strict") ? DFW_MOVE_STRICT : 0, seconds * 1000,
				 &move);

	return finish(call, r, &move, move.safe ? "is ready to be moved" : "is being prepared");
}

enum exit_status run_migrate_start(const struct invocation *call)
{
	struct dfw_move move;
	int r = dfw_move_start(call->instance, given_argument(call), &move);

	return finish(call, r, &move, "is handed over");
}

enum exit_status run_migrate_activate(const struct invocation *call)
{
	struct dfw_move move;
	int r = dfw_move_activate(call->instance, given_argument(call), &move);

	return finish(call, r, &move, "is in force here");
}

enum exit_status run_migrate_rollback(const struct invocation *call)
{
	struct dfw_move move;
	int r = dfw_move_rollback(call->instance, given_argument(call), &move);

	return finish(call, r, &move, "stays where it was");
}

/* ---- migrate status, sync status --------------------------------------------------------------------------------- */

static const char *text_or(const json_t *object, const char *key, const char *other)
{
	const char *text = json_text(object, key);

	return text && text[0] ? text : other;
}

static const char *verdict_of(const json_t *peer)
{
	if (!json_is_true(json_object_get(peer, "room")))
		return "no room";
	return json_is_true(json_object_get(peer, "safe")) ? "safe" : "behind";
}

static void peer_cells(struct table *table, const json_t *peer)
{
	bool safe = json_is_true(json_object_get(peer, "safe"));

	table_cell(table, COLOR_NONE, "%s", text_or(peer, "host", "-"));
	if (!peer) {
		for (int i = 0; i < 3; i++)
			table_cell(table, COLOR_NONE, "-");
		return;
	}
	table_cell(table, COLOR_NONE, "%" JSON_INTEGER_FORMAT, json_number(peer, "changes"));
	table_cell(table, COLOR_NONE, "%" JSON_INTEGER_FORMAT, json_number(peer, "ms"));
	table_cell(table, safe ? COLOR_GREEN : COLOR_YELLOW, "%s", verdict_of(peer));
}

static void vport_row(struct table *table, const json_t *vport, const json_t *peer)
{
	table_cell(table, COLOR_BOLD, "%s", text_or(vport, "vport", "?"));
	table_cell(table, COLOR_NONE, "%s", text_or(vport, "role", "?"));
	table_cell(table, COLOR_NONE, "%s", text_or(vport, "phase", "?"));
	table_cell(table, COLOR_NONE, "%" JSON_INTEGER_FORMAT, json_number(vport, "flows"));
	table_cell(table, COLOR_NONE, "%s",
		   !peer || json_is_true(json_object_get(peer, "shares"))
			   ? text_or(vport, "share", "-")
			   : "-");
	peer_cells(table, peer);
	table_cell(table, COLOR_NONE, "%s", text_or(vport, "result", ""));
}

static enum exit_status print_vports(const struct invocation *call, const json_t *vports)
{
	static const struct column columns[] = {
		COLUMN("VPORT"),   COLUMN("ROLE"), COLUMN("PHASE"),   NUMBERS("FLOWS"),
		COLUMN("SHARE"),   COLUMN("PEER"), NUMBERS("BEHIND"), NUMBERS("MS"),
		COLUMN("TO MOVE"), COLUMN("LAST"),
	};
	_cleanup_table_ struct table *table = table_new(columns, ARRAY_SIZE(columns), call->color);
	const json_t *vport, *peer;
	size_t i, k;

	if (!table)
		return no_memory();
	json_array_foreach (vports, i, vport) {
		const json_t *peers = json_object_get(vport, "peers");

		json_array_foreach (peers, k, peer)
			vport_row(table, vport, peer);
		if (json_array_size(peers) == 0)
			vport_row(table, vport, NULL);
	}
	return finish_table(table);
}

enum exit_status run_migrate_status(const struct invocation *call)
{
	_cleanup_json_ json_t *result = NULL, *list = NULL;
	enum exit_status status = sync_call(
		call, "migrate-status", json_pack("{s:s}", "vport", given_argument(call)), &result);

	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_incref(result));
	list = json_pack("[O]", result);
	return print_vports(call, list);
}

enum exit_status run_sync_status(const struct invocation *call)
{
	_cleanup_json_ json_t *result = NULL;
	enum exit_status status = sync_call(call, "sync-status", NULL, &result);

	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_incref(result));
	return print_vports(call, json_object_get(result, "vports"));
}
