// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "sync/daemon/commands.h"
#include "sync/daemon/counters.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/forward.h"
#include "sync/daemon/status.h"

/* ---- status ----------------------------------------------------------------------------------------------------- */

static int run_status(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	const char *state = d->cluster.sync	      ? "member"
			    : d->cluster.waits_for[0] ? "waiting"
						      : "none";

	(void)arguments;
	control_done(call, json_pack("{s:s, s:s, s:i, s:I, s:b, s:s, s:s?}", "instance",
				     d->instance, "version", DFW_VERSION, "pid", (int)getpid(),
				     "uptime_ms", (json_int_t)(d->loop.now_ms - d->started_ms),
				     "dfwd", dfwd_connected(d), "cluster", state, "waits_for",
				     d->cluster.waits_for[0] ? d->cluster.waits_for : NULL));
	return 0;
}

/* ---- cluster-* -------------------------------------------------------------------------------------------------- */

static int run_takeover(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	struct manifest manifest;
	uint32_t writer;
	int r = cluster_ready(d);

	(void)arguments;
	if (r < 0)
		return r;
	if (!(d->cluster.identity->certificate.roles & ROLE_OPERATOR)) {
		log_error("only a host that is an operator may write the policy: others would not "
			  "follow this one");
		return -EPERM;
	}
	r = sync_policy_take_over(d->cluster.sync);
	if (r == -EOPNOTSUPP) {
		log_error("the policy store is shared: every host may write it");
		return -EINVAL;
	}
	if (r < 0)
		return log_errno(r, "cannot become the writer");
	sync_policy_manifest(d->cluster.sync, &manifest, &writer);
	log_notice("this host is the writer of the policy, term %u", manifest.term);
	control_done(call, json_pack("{s:s, s:I, s:I}", "writer", d->cluster.config.name, "term",
				     (json_int_t)manifest.term, "generation",
				     (json_int_t)manifest.active.number));
	return 0;
}

static int run_reload(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	(void)arguments;
	cluster_reload(d);
	control_done(call, NULL);
	return 0;
}

/* Answered when it is done: cluster_leave keeps the call. */
static int run_leave(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	(void)arguments;
	return cluster_leave(d, call);
}

/* ---- vport-list ------------------------------------------------------------------------------------------------- */

static int run_vport_list(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	json_t *all;
	int r = cluster_ready(d);

	(void)arguments;
	if (r < 0)
		return r;
	all = remote_all(d);
	if (!all)
		return log_errno(-ENOMEM, "vport-list");
	control_done(call, json_pack("{s:s, s:o}", "host", d->cluster.config.name, "vports", all));
	return 0;
}

/* ---- ask -------------------------------------------------------------------------------------------------------- */

#define ASK_MS 5000

static void on_answers(void *data, json_t *answers)
{
	control_done(data, json_pack("{s:o}", "answers", answers));
}

/* {"what": a question between hosts, "host": NAME or null: all living ones, ...}: what they answer, see queries.h. */
static int run_ask(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	const char *host = json_text(arguments, "host");
	uint32_t id = 0;
	int r = cluster_ready(d);

	if (r < 0)
		return r;
	if (host) {
		id = cluster_host_find(d, host);
		if (!id) {
			log_error("there is no host \"%s\" in the cluster", host);
			return -EINVAL;
		}
	}
	r = query_gather(d, id, json_deep_copy(arguments), ASK_MS, on_answers, call);
	return r < 0 ? log_errno(r, "cannot ask the hosts") : 0;
}

/* ---- All of them ------------------------------------------------------------------------------------------------ */

static const struct command {
	const char *name;
	int (*run)(struct syncd *d, struct control_call *call, const json_t *arguments);
	bool at_owner;	 /* of the vport, see forward.h ... */
	bool here_first; /* ... unless it is here too */
} commands[] = {
	{.name = "status", .run = run_status},
	{.name = "cluster-status", .run = status_cluster},
	{.name = "cluster-takeover", .run = run_takeover},
	{.name = "cluster-reload", .run = run_reload},
	{.name = "cluster-leave", .run = run_leave},
	{.name = "vport-list", .run = run_vport_list},
	{.name = "policy-apply", .run = generations_apply},
	{.name = "policy-wait", .run = generations_wait},
	{.name = "ask", .run = run_ask},
	{.name = "migrate-prepare", .run = moves_prepare, .at_owner = true},
	{.name = "migrate-wait", .run = moves_wait, .at_owner = true},
	{.name = "migrate-start", .run = moves_start, .at_owner = true},
	{.name = "migrate-activate", .run = moves_activate},
	{.name = "migrate-rollback", .run = moves_rollback, .at_owner = true},
	{.name = "migrate-status", .run = moves_status, .at_owner = true, .here_first = true},
	{.name = "sync-status", .run = moves_sync_status},
	{.name = "sync-counters", .run = counters_run},
};

/* NULL: logged. */
static const struct command *find_command(const json_t *request)
{
	const char *name = json_text(request, "command");

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (name && strcmp(commands[i].name, name) == 0)
			return &commands[i];
	log_error("there is no command \"%s\"", name ? name : "");
	return NULL;
}

int command_run(struct syncd *d, struct control_call *call, const json_t *request)
{
	const json_t *arguments = json_object_get(request, "arguments");
	const struct command *command = find_command(request);
	const char *name;
	uint32_t owner;
	bool here;

	if (!command)
		return -EINVAL;
	name = json_text(arguments, "vport");
	here = command->here_first && name && vports_find_name(d, name);
	owner = command->at_owner && !here ? forward_owner(d, arguments) : 0;
	return owner ? forward_command(d, owner, call, command->name, arguments)
		     : command->run(d, call, arguments);
}

int command_run_here(struct syncd *d, struct control_call *call, const json_t *request)
{
	const struct command *command = find_command(request);

	if (!command)
		return -EINVAL;
	if (!command->at_owner) {
		log_error("\"%s\" is no command for another host", command->name);
		return -EPERM;
	}
	return command->run(d, call, json_object_get(request, "arguments"));
}
