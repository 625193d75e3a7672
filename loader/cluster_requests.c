// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cluster_questions.h"
#include "cluster_requests.h"
#include "commands.h"
#include "daemon.h"
#include "json.h"
#include "log.h"
#include "moves.h"
#include "policies.h"
#include "view_pins.h"

/* ---- Policy ----------------------------------------------------------------------------------------------------- */

static int read_bundle(const struct link_packet *packet, json_t **bundle)
{
	int r = link_packet_text(packet, bundle);

	return r < 0 ? log_errno(r, "cannot read the policy that dfwsyncd sends") : 0;
}

static uint32_t generation_of(const struct link_packet *packet)
{
	json_int_t generation = json_number(packet->json, "generation");

	return generation > 0 && generation <= UINT32_MAX ? (uint32_t)generation : 0;
}

static int run_policy_check(struct dfwd *d, const struct link_packet *packet,
			    struct cluster_reply *reply)
{
	_cleanup_json_ json_t *bundle = NULL;
	int r = read_bundle(packet, &bundle);

	return r < 0 ? r : policies_check(d, bundle, &reply->errors);
}

static int run_policy_stage(struct dfwd *d, const struct link_packet *packet,
			    struct cluster_reply *reply)
{
	_cleanup_json_ json_t *bundle = NULL;
	int r = read_bundle(packet, &bundle);

	return r < 0 ? r : policies_stage(d, generation_of(packet), bundle, &reply->errors);
}

static int run_policy_flip(struct dfwd *d, const struct link_packet *packet,
			   struct cluster_reply *reply)
{
	struct applied applied;
	int r = policies_flip(d, generation_of(packet), &applied, &reply->errors);

	if (r == 0)
		reply->result = json_pack("{s:I, s:I, s:I}", "vports", (json_int_t)applied.vports,
					  "rules", (json_int_t)applied.rules, "ago_us",
					  (json_int_t)(monotonic_ns() - d->active_since_ns) / 1000);
	return r;
}

/* ---- All of them ------------------------------------------------------------------------------------------------ */

static const struct request {
	const char *name;
	/* 0 or a negative errno; what was logged first is the error's text. */
	int (*run)(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply);
} requests[] = {
	{"remote-vports", remote_ports_set},
	{"policy-check", run_policy_check},
	{"policy-stage", run_policy_stage},
	{"policy-flip", run_policy_flip},
	{"port-prepare", run_port_prepare},
	{"port-hold", run_port_hold},
	{"port-quiet", run_port_quiet},
	{"port-activate", run_port_activate},
	{"port-release", run_port_release},
	{"port-watch", run_port_watch},
	{"port-maps", run_port_maps},
	{"member", run_member},
	{"flow-find", cluster_flow_find},
	{"flow-kill", cluster_flow_kill},
	{"rules", cluster_rules},
	{"drift", cluster_drift},
};

static json_t *answer(int r, struct cluster_reply *reply)
{
	json_t *json = reply->result ? json_incref(reply->result) : json_object();
	const char *text = log_error_text();

	if (r == 0 && reply->text) {
		r = json_memfd(reply->text, &reply->fds[0]);
		reply->nr_fds = r == 0;
	}

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
		if (name && strcmp(requests[i].name, name) == 0)
			return answer(requests[i].run(d, packet, reply), reply);
	log_error("dfwsyncd asks for \"%s\", which this dfwd does not know", name ? name : "");
	return answer(-ENOSYS, reply);
}

void cluster_reply_clear(struct cluster_reply *reply)
{
	json_decref(reply->result);
	json_decref(reply->text);
	policy_errors_free(&reply->errors);
	while (reply->nr_fds)
		close(reply->fds[--reply->nr_fds]);
}
