// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <dfw/maps.h>
#include <dfw/migrate.h>

#include "client/request.h"
#include "json.h"

#define WAIT_SLICE_MS \
	10000 /* dfwsyncd answers at the latest then, so that one that hangs is noticed */

static void take_text(char text[DFW_MOVE_TEXT_LEN], const char *from)
{
	snprintf(text, DFW_MOVE_TEXT_LEN, "%s", from ? from : "");
}

static void take_result(struct dfw_move *move, const json_t *result)
{
	take_text(move->role, json_text(result, "role"));
	take_text(move->phase, json_text(result, "phase"));
	take_text(move->peer, json_text(result, "peer"));
	move->safe = json_is_true(json_object_get(result, "safe"));
	move->flows = (uint64_t)json_number(result, "flows");
	move->behind = (uint64_t)json_number(result, "behind");
	move->behind_ms = json_number(result, "behind_ms");
	move->took_us += json_number(result, "took_us");
}

static int take_reply(struct dfw_move *move, const json_t *reply)
{
	const char *error = json_text(reply, "error");

	switch (json_number(reply, "status")) {
	case 0:
		take_result(move, json_object_get(reply, "result"));
		return 0;
	case 2:
		snprintf(move->error, sizeof(move->error), "%s", error ? error : "wrong input");
		return -EINVAL;
	default:
		snprintf(move->error, sizeof(move->error), "%s",
			 error ? error : "dfwsyncd does not say why");
		return -EIO;
	}
}

static int ask(const char *instance, const char *command, json_t *arguments, struct dfw_move *move)
{
	_cleanup_json_ json_t *reply = NULL;
	int r = daemon_request(instance ? instance : DFW_DEFAULT_INSTANCE, DFWSYNCD, command,
			       arguments, &reply);

	if (r == 0)
		return take_reply(move, reply);
	snprintf(move->error, sizeof(move->error), "no word from dfwsyncd: %s", strerror(-r));
	return r;
}

int dfw_move_prepare(const char *instance, const char *vport, const char *to, unsigned int flags,
		     unsigned int wait_ms, struct dfw_move *move)
{
	struct dfw_move unwanted;
	int r;

	move = move ? move : &unwanted;
	*move = (struct dfw_move){};
	r = ask(instance, "migrate-prepare",
		json_pack("{s:s, s:s, s:b, s:i}", "vport", vport, "to", to, "strict",
			  (flags & DFW_MOVE_STRICT) != 0, "wait_ms",
			  (int)(wait_ms < WAIT_SLICE_MS ? wait_ms : WAIT_SLICE_MS)),
		move);
	while (r == 0 && !move->safe && move->took_us / 1000 < wait_ms) {
		unsigned int left = wait_ms - (unsigned int)(move->took_us / 1000);

		r = ask(instance, "migrate-wait",
			json_pack("{s:s, s:i}", "vport", vport, "wait_ms",
				  (int)(left < WAIT_SLICE_MS ? left : WAIT_SLICE_MS)),
			move);
	}
	if (r == 0 && wait_ms && !move->safe) {
		snprintf(move->error, sizeof(move->error),
			 "%llu changes of flows are still to be copied, the oldest %lld ms old",
			 (unsigned long long)move->behind, (long long)move->behind_ms);
		return -EAGAIN;
	}
	return r;
}

static int simple(const char *instance, const char *command, const char *vport,
		  struct dfw_move *move)
{
	struct dfw_move unwanted;

	move = move ? move : &unwanted;
	*move = (struct dfw_move){};
	return ask(instance, command, json_pack("{s:s}", "vport", vport), move);
}

int dfw_move_start(const char *instance, const char *vport, struct dfw_move *move)
{
	return simple(instance, "migrate-start", vport, move);
}

int dfw_move_activate(const char *instance, const char *vport, struct dfw_move *move)
{
	return simple(instance, "migrate-activate", vport, move);
}

int dfw_move_rollback(const char *instance, const char *vport, struct dfw_move *move)
{
	return simple(instance, "migrate-rollback", vport, move);
}

int dfw_move_status(const char *instance, const char *vport, struct dfw_move *move)
{
	return simple(instance, "migrate-status", vport, move);
}
