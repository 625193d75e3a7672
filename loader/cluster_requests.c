// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cluster_requests.h"
#include "commands.h"
#include "daemon.h"
#include "json.h"
#include "log.h"

static const struct request {
	const char *name;
	/* 0 or a negative errno; what was logged first is the error's text. */
	int (*run)(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply);
} requests[] = {
	{},
};

static json_t *answer(int r, const struct cluster_reply *reply)
{
	json_t *json = reply->result ? json_incref(reply->result) : json_object();
	const char *text = log_error_text();

	json_object_set_new(json, "status", json_integer(r));
	if (r < 0)
		json_object_set_new(json, "error", json_string(text[0] ? text : strerror(-r)));
	if (reply->errors.nr)
		json_object_set_new(json, "errors", policy_errors_json(&reply->errors));
	return json;
}

json_t *cluster_request_run(struct dfwd *d, const struct link_packet *packet,
			    struct cluster_reply *reply)
{
	const char *name = json_text(packet->json, "request");

	log_error_forget();
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		if (name && requests[i].name && strcmp(requests[i].name, name) == 0)
			return answer(requests[i].run(d, packet, reply), reply);
	log_error("dfwsyncd asks for \"%s\", which this dfwd does not know", name ? name : "");
	return answer(-ENOSYS, reply);
}

void cluster_reply_clear(struct cluster_reply *reply)
{
	json_decref(reply->result);
	policy_errors_free(&reply->errors);
	while (reply->nr_fds)
		close(reply->fds[--reply->nr_fds]);
}
