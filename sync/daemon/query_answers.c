// SPDX-License-Identifier: GPL-2.0
/* What hosts may ask each other. */
#include <errno.h>
#include <string.h>

#include "json.h"
#include "sync/daemon/daemon.h"
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

/* ---- All of them ------------------------------------------------------------------------------------------------ */

static const struct answer {
	const char *what;
	void (*run)(struct syncd *d, struct question *question);
	bool operators_only; /* only for hosts whose certificate has that role */
} answers[] = {
	{.what = "host", .run = answer_host},
};

static bool is_operator(const struct syncd *d, uint32_t host)
{
	const struct certificate *certificate = host == d->cluster.host
							? &d->cluster.identity->certificate
							: xport_certificate(d->cluster.xport, host);

	return certificate && certificate->roles & ROLE_OPERATOR;
}

void query_run(struct syncd *d, struct question *question)
{
	const char *what = json_text(question_text(question), "what");

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		if (!what || strcmp(answers[i].what, what) != 0)
			continue;
		if (!answers[i].operators_only || is_operator(d, question_asker(question))) {
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
