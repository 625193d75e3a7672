// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "sync/daemon/commands.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/forward.h"
#include "sync/daemon/query_answers.h"

#define LONGEST_MS 70000 /* longer than any command waits */

/* ---- Who --------------------------------------------------------------------------------------------------------- */

struct search {
	const char *name;
	uint32_t owner;
	uint64_t epoch;
};

static void match(void *data, const struct sync_vport *found)
{
	struct search *search = data;
	struct vport vport;

	if (vport_decode(found->description, &vport) == 0 &&
	    strcmp(vport.name, search->name) == 0 && found->epoch >= search->epoch) {
		search->owner = found->host;
		search->epoch = found->epoch;
	}
}

uint32_t forward_owner(const struct syncd *d, const json_t *arguments)
{
	struct search search = {.name = json_text(arguments, "vport")};

	if (!d->cluster.sync || !search.name)
		return 0;
	sync_each_vport(d->cluster.sync, match, &search);
	return search.owner == d->cluster.host ? 0 : search.owner;
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

static void on_answer(void *data, const struct query *query, json_t *answer)
{
	struct control_call *call = data;
	int status = query_status(query);

	if (status == 0 && json_is_object(answer))
		control_reply(call, json_incref(answer));
	else
		control_failed(call, CONTROL_FAILED,
			       json_is_string(answer) ? json_string_value(answer)
			       : status < 0	      ? strerror(-status)
						      : "the owner's answer is not understood",
			       NULL);
}

int forward_command(struct syncd *d, uint32_t host, struct control_call *call, const char *command,
		    const json_t *arguments)
{
	int r = query_ask(d, host,
			  json_pack("{s:s, s:s, s:O}", "what", "command", "command", command,
				    "arguments", arguments),
			  LONGEST_MS, on_answer, call);

	return r < 0 ? log_errno(r, "cannot ask the vport's host") : 0;
}

/* ---- Answering --------------------------------------------------------------------------------------------------- */

static void on_reply(void *data, json_t *reply)
{
	question_answer(data, reply);
}

void forward_answer(struct syncd *d, struct question *question)
{
	const json_t *text = question_text(question);
	uint32_t asker = question_asker(question);
	const char *command = json_text(text, "command");
	struct control_call *call;
	int r;

	if (!signatures_operator(d, asker) &&
	    !(command && moves_concern(d, asker, command, json_object_get(text, "arguments")))) {
		d->queries.refused++;
		question_refuse(
			question, -EACCES,
			"only the other host of the move, and operators' hosts, may ask for this");
		return;
	}
	call = control_call_new(on_reply, question);
	if (!call) {
		question_refuse(question, -ENOMEM, "no memory");
		return;
	}
	log_error_forget();
	r = command_run_here(d, call, question_text(question));
	if (r < 0)
		control_failed_errno(call, r);
}
