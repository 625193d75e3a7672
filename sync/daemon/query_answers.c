// SPDX-License-Identifier: GPL-2.0
/* What hosts may ask each other. */
#include <errno.h>
#include <string.h>

#include "json.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/forward.h"
#include "sync/daemon/query_answers.h"

/* ---- host: how it is ------------------------------------------------------------------------------------------- */

static void answer_host(struct syncd *d, struct question *question)
{
	question_answer(
		question,
		json_pack("{s:s, s:I, s:I, s:b, s:I, s:s?, s:I}", "version", DFW_VERSION, "life",
			  (json_int_t)d->cluster.life, "uptime_ms",
			  (json_int_t)(d->loop.now_ms - d->started_ms), "dfwd", dfwd_connected(d),
			  "flipped_ago_us", (json_int_t)generations_flipped_ago_us(d), "error",
			  generations_error(d), "flipped", (json_int_t)d->generations.flipped));
}

/* ---- What dfwd answers ------------------------------------------------------------------------------------------ */

static void on_dfwd(void *data, int status, const struct link_packet *packet)
{
	struct question *question = data;
	const char *error = packet ? json_text(packet->json, "error") : NULL;
	json_t *text;

	if (status == 0)
		status = link_packet_text(packet, &text);
	if (status == 0)
		question_answer(question, text);
	else
		question_refuse(question, status, error ? error : "its dfwd has gone");
}

/* What a host asks goes to dfwd member by member: nothing else of its text does. */
static void answer_by_dfwd(struct syncd *d, struct question *question)
{
	static const char *const members[] = {"vport", "proto", "addr", "port"};
	const json_t *text = question_text(question);
	json_t *request = json_pack("{s:O}", "request", json_object_get(text, "what"));
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (json_object_get(text, members[i]))
			json_object_set(request, members[i], json_object_get(text, members[i]));
	r = dfwd_request(d, request, NULL, 0, on_dfwd, question);
	if (r < 0)
		question_refuse(question, r, "its dfwd does not run");
}

/* ---- All of them ------------------------------------------------------------------------------------------------ */

static const struct answer {
	const char *what;
	void (*run)(struct syncd *d, struct question *question);
	bool operators_only; /* only for hosts whose certificate has that role */
} answers[] = {
	{.what = "host", .run = answer_host},
	{.what = "flow-find", .run = answer_by_dfwd},
	{.what = "flow-kill", .run = answer_by_dfwd, .operators_only = true},
	{.what = "command", .run = forward_answer}, /* which looks who asks */
	{.what = "rules", .run = answer_by_dfwd},
	{.what = "drift", .run = answer_by_dfwd},
};

void query_run(struct syncd *d, struct question *question)
{
	const char *what = json_text(question_text(question), "what");

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		if (!what || strcmp(answers[i].what, what) != 0)
			continue;
		if (!answers[i].operators_only ||
		    signatures_operator(d, question_asker(question))) {
			answers[i].run(d, question);
			return;
		}
		d->queries.refused++;
		question_refuse(question, -EACCES,
				"only hosts that are operators may ask for this");
		return;
	}
	question_refuse(question, -ENOSYS, "this dfwsyncd does not know the question");
}
