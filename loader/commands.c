// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "commands.h"
#include "control.h"
#include "devices.h"
#include "flows.h"
#include "groups.h"
#include "json.h"
#include "log.h"
#include "maps.h"
#include "moves.h"
#include "policies.h"
#include "ports.h"
#include "uplinks.h"
#include "view_pins.h"
#include "vports.h"

#define MS_NS	 1000000
#define LEAVE_NS 200000000 /* how long a last reply has to get out */

enum status {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_INPUT = 2,
};

struct reply {
	json_t *result;		     /* NULL: {} */
	struct policy_errors errors; /* of the policy */
};

/* ---- status ----------------------------------------------------------------------------------------------------- */

static int64_t ago_ms(uint64_t then_ns)
{
	return then_ns ? (int64_t)(monotonic_ns() - then_ns) / MS_NS : 0;
}

/* Sums over the ports: attached devices, flows. */
static void count_ports(const struct dfwd *d, json_int_t *attached, json_int_t *flows)
{
	*attached = *flows = 0;
	for (size_t i = 0; i < d->nr_ports; i++) {
		struct dfw_port_state state;
		const uint32_t zero = 0;

		*attached += d->ports[i]->ifindex != 0;
		if (map_get(d->ports[i]->state, &zero, &state) == 0)
			*flows += state.flows;
	}
}

static int run_status(struct dfwd *d, const json_t *arguments, struct reply *reply)
{
	json_int_t attached, flows;

	(void)arguments;
	count_ports(d, &attached, &flows);
	reply->result = json_pack(
		"{s:s, s:s, s:i, s:b, s:I, s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
		"s:b, s:o}",
		"instance", d->instance, "version", DFW_VERSION, "pid", (int)getpid(), "ready",
		d->ready && devices_enforced(d), "uptime_ms", (json_int_t)ago_ms(d->started_ns),
		"generation", (json_int_t)d->revision.generation, "revision",
		(int)d->revision.revision, "active_since_ms",
		(json_int_t)ago_ms(d->active_since_ns), "vports", (json_int_t)d->nr_ports,
		"attached", attached, "flows", flows, "events_lost", (json_int_t)d->events.losses,
		"log_suppressed", (json_int_t)d->events.suppressed, "changes_in_place",
		(json_int_t)d->changes.in_place, "changes_staged", (json_int_t)d->changes.staged,
		"changes_no_room", (json_int_t)d->changes.no_room, "dfwsyncd",
		d->cluster.link.fd >= 0, "held", moves_held_json(d));
	return 0;
}

/* ---- vport-* ---------------------------------------------------------------------------------------------------- */

static json_t *vport_json(const struct port *port)
{
	json_t *json = spec_to_json(port->spec);

	json_object_set_new(json, "slot", json_integer(port->slot));
	json_object_set_new(json, "ifindex", json_integer(port->ifindex));
	json_object_set_new(json, "attached", json_boolean(port->ifindex));
	json_object_set_new(json, "ready", json_boolean(port->config.flags & DFW_PORT_READY));
	return json;
}

static int find_vport(struct dfwd *d, const json_t *arguments, struct port **port)
{
	const char *name = json_text(arguments, "name");

	*port = name ? ports_find(d, name) : NULL;
	if (*port)
		return 0;
	log_error("there is no vport \"%s\"", name ? name : "");
	return -EINVAL;
}

static int run_vport_add(struct dfwd *d, const json_t *arguments, struct reply *reply)
{
	_cleanup_spec_ struct vport_spec *spec = spec_new();
	char name[DFW_PORT_NAME_LEN];
	int r;

	if (!spec)
		return log_errno(-ENOMEM, "vport-add");
	r = spec_set_name(spec, json_text(arguments, "name"));
	if (r == 0)
		r = spec_read(spec, arguments);
	if (r < 0)
		return r;
	if (!spec->dev[0]) {
		log_error("dev: a vport needs the name of its device");
		return -EINVAL;
	}
	if (json_is_true(json_object_get(arguments, "moved")))
		r = remote_ports_adopt(d, spec);
	else
		r = remote_ports_conflict(d, spec);
	if (r < 0)
		return r;
	strcpy(name, spec->name);
	r = vport_add(d, &spec, &reply->errors);
	if (r == 0)
		reply->result = vport_json(ports_find(d, name));
	return r;
}

static int run_vport_set(struct dfwd *d, const json_t *arguments, struct reply *reply)
{
	_cleanup_spec_ struct vport_spec *spec = NULL;
	struct port *port;
	int r = find_vport(d, arguments, &port);

	if (r < 0)
		return r;
	spec = spec_copy(port->spec);
	if (!spec)
		return log_errno(-ENOMEM, "vport-set");
	r = spec_read(spec, arguments);
	if (r == 0)
		r = vport_set(d, port, &spec, &reply->errors);
	if (r == 0)
		reply->result = vport_json(port);
	return r;
}

static int run_vport_del(struct dfwd *d, const json_t *arguments, struct reply *reply)
{
	struct port *port;
	int r = find_vport(d, arguments, &port);

	if (r == 0)
		r = vport_must_be_ours(d, port);
	return r < 0 ? r : vport_del(d, port, &reply->errors);
}

/* ---- uplink-* --------------------------------------------------------------------------------------------------- */

static json_t *uplink_json(const struct uplink *uplink)
{
	return json_pack("{s:s, s:s, s:b, s:b, s:I}", "name", uplink->name, "mode",
			 uplink_mode_name(uplink->mode), "fast_path", uplink->fast, "configured",
			 uplink->configured, "ifindex", (json_int_t)uplink->ifindex);
}

static int find_uplink(struct dfwd *d, const json_t *arguments, struct uplink **uplink)
{
	const char *name = json_text(arguments, "name");

	*uplink = name ? uplinks_find(d, name) : NULL;
	if (*uplink)
		return uplink_must_be_ours(d, *uplink);
	log_error("there is no uplink \"%s\"", name ? name : "");
	return -EINVAL;
}

/* Changes what the arguments name. */
static int read_wish(const json_t *arguments, struct uplink_wish *wish)
{
	const json_t *fast = json_object_get(arguments, "fast_path");
	const char *mode = json_text(arguments, "mode");

	if (mode && uplink_mode_parse(mode, &wish->mode) < 0) {
		log_error("mode: \"%s\" is none; native, generic and auto are", mode);
		return -EINVAL;
	}
	if (fast && !json_is_boolean(fast)) {
		log_error("fast_path: true or false is wanted");
		return -EINVAL;
	}
	if (fast)
		wish->fast = json_is_true(fast);
	return 0;
}

static int run_uplink_add(struct dfwd *d, const json_t *arguments, struct reply *reply)
{
	struct uplink_wish wish = {.mode = UPLINK_AUTO, .fast = true};
	const char *name = json_text(arguments, "name");
	int r;

	if (!device_name_valid(name)) {
		log_error("name: \"%s\" is not the name of a network device", name ? name : "");
		return -EINVAL;
	}
	strcpy(wish.name, name);
	r = read_wish(arguments, &wish);
	if (r == 0)
		r = uplink_add(d, &wish, false);
	if (r == 0)
		reply->result = uplink_json(uplinks_find(d, wish.name));
	return r;
}

static int run_uplink_set(struct dfwd *d, const json_t *arguments, struct reply *reply)
{
	struct uplink_wish wish = {};
	struct uplink *uplink;
	int r = find_uplink(d, arguments, &uplink);

	if (r < 0)
		return r;
	strcpy(wish.name, uplink->name);
	wish.mode = uplink->mode;
	wish.fast = uplink->fast;
	r = read_wish(arguments, &wish);
	if (r == 0)
		r = uplink_set(d, uplink, &wish);
	if (r == 0)
		reply->result = uplink_json(uplink);
	return r;
}

static int run_uplink_del(struct dfwd *d, const json_t *arguments, struct reply *reply)
{
	struct uplink *uplink;
	int r = find_uplink(d, arguments, &uplink);

	(void)reply;
	return r < 0 ? r : uplink_del(d, uplink);
}

/* ---- group-* ---------------------------------------------------------------------------------------------------- */

static int read_prefixes(const json_t *list, struct group_prefix *prefixes)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (list, i, entry) {
		const char *text = json_string_value(entry);
		int r = text ? prefix_parse(text, &prefixes[i].address, &prefixes[i].bits)
			     : -EINVAL;

		if (r == 0)
			continue;
		log_error("\"%s\" is no address or prefix%s", text ? text : "",
			  r == -EDOM	 ? ": bits are set behind its length"
			  : r == -ERANGE ? ": its length is too long"
					 : "");
		return -EINVAL;
	}
	return 0;
}

static int change_group(struct dfwd *d, const json_t *arguments, bool in, struct reply *reply)
{
	const json_t *list = json_object_get(arguments, "members");
	const char *name = json_text(arguments, "name");
	size_t nr = json_array_size(list), changed;
	_cleanup_free_ struct group_prefix *prefixes = calloc(nr + 1, sizeof(*prefixes));
	int r;

	if (!prefixes)
		return log_errno(-ENOMEM, "group");
	if (!name || nr == 0) {
		log_error("the name of a group and a list \"members\" are wanted");
		return -EINVAL;
	}
	r = read_prefixes(list, prefixes);
	if (r == 0)
		r = groups_change(d, name, prefixes, nr, in, &changed);
	if (r == 0)
		reply->result = json_pack("{s:s, s:I, s:I}", "group", name,
					  in ? "added" : "removed", (json_int_t)changed, "members",
					  (json_int_t)members_count(&d->members, name));
	return r;
}

static int run_group_add(struct dfwd *d, const json_t *arguments, struct reply *reply)
{
	return change_group(d, arguments, true, reply);
}

static int run_group_del(struct dfwd *d, const json_t *arguments, struct reply *reply)
{
	return change_group(d, arguments, false, reply);
}

/* ---- policy-* --------------------------------------------------------------------------------------------------- */

/* The policy of a cluster's host is the cluster's. */
static int refuse_in_cluster(const struct dfwd *d)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" CONTROL_CLUSTER_FILE, d->state_dir);
	if (access(path, F_OK) < 0)
		return 0;
	log_error("this host is in a cluster: its policy comes from there, by dfwsyncd");
	return -EINVAL;
}

static json_t *took_json(const struct applied *applied, uint64_t begin_ns)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "parse", (json_int_t)applied->parse_us,
			 "compile", (json_int_t)applied->took.compile_us, "make",
			 (json_int_t)applied->took.make_us, "put", (json_int_t)applied->took.put_us,
			 "settle", (json_int_t)applied->took.settle_us, "all",
			 (json_int_t)(monotonic_ns() - begin_ns) / 1000);
}

static int run_policy_apply(struct dfwd *d, const json_t *arguments, struct reply *reply)
{
	struct applied applied;
	uint64_t begin = monotonic_ns();
	int r = refuse_in_cluster(d);

	if (r == 0)
		r = policies_apply(d, arguments, "apply", &applied, &reply->errors);
	if (r == 0)
		reply->result = json_pack(
			"{s:I, s:I, s:I, s:o}", "generation", (json_int_t)applied.generation,
			"vports", (json_int_t)applied.vports, "rules", (json_int_t)applied.rules,
			"took_us", took_json(&applied, begin));
	return r;
}

static int run_policy_rollback(struct dfwd *d, const json_t *arguments, struct reply *reply)
{
	const json_t *generation = json_object_get(arguments, "generation");
	struct applied applied;
	uint32_t from;
	int r = refuse_in_cluster(d);

	if (r < 0)
		return r;
	if (generation &&
	    (json_integer_value(generation) < 1 || json_integer_value(generation) > UINT32_MAX)) {
		log_error("generation: a number from 1 is wanted");
		return -EINVAL;
	}
	r = policies_rollback(d, (uint32_t)json_integer_value(generation), &applied, &from,
			      &reply->errors);
	if (r == 0)
		reply->result = json_pack("{s:I, s:I}", "generation",
					  (json_int_t)applied.generation, "from", (json_int_t)from);
	return r == -ENOENT ? -EINVAL : r;
}

/* ---- flow-kill -------------------------------------------------------------------------------------------------- */

static int run_flow_kill(struct dfwd *d, const json_t *arguments, struct reply *reply)
{
	return flows_kill_matching(d, arguments, &reply->result);
}

/* ---- shutdown --------------------------------------------------------------------------------------------------- */

static int run_shutdown(struct dfwd *d, const json_t *arguments, struct reply *reply)
{
	int r = json_is_true(json_object_get(arguments, "detach")) ? daemon_detach(d) : 0;

	(void)reply;
	if (r < 0)
		return r;
	d->stop = true;
	d->stop_ns = monotonic_ns() + LEAVE_NS;
	return 0;
}

/* ---- All of them ------------------------------------------------------------------------------------------------ */

static const struct command {
	const char *name;
	int (*run)(struct dfwd *d, const json_t *arguments, struct reply *reply);
} commands[] = {
	{"status", run_status},
	{"vport-add", run_vport_add},
	{"vport-set", run_vport_set},
	{"vport-del", run_vport_del},
	{"uplink-add", run_uplink_add},
	{"uplink-set", run_uplink_set},
	{"uplink-del", run_uplink_del},
	{"group-add", run_group_add},
	{"group-del", run_group_del},
	{"policy-apply", run_policy_apply},
	{"policy-rollback", run_policy_rollback},
	{"flow-kill", run_flow_kill},
	{"shutdown", run_shutdown},
};

json_t *policy_errors_json(const struct policy_errors *errors)
{
	json_t *list = json_array();

	for (size_t i = 0; i < errors->nr; i++) {
		const struct policy_error *error = &errors->list[i];

		json_array_append_new(
			list, error->line
				      ? json_sprintf("%s:%u:%u: %s", error->file, error->line,
						     error->column, error->text)
				      : json_sprintf("%s: %s", error->file ? error->file : "policy",
						     error->text));
	}
	if (errors->nr_unreported)
		json_array_append_new(list,
				      json_sprintf("and %zu more errors", errors->nr_unreported));
	return list;
}

static json_t *failed(int r, const struct reply *reply)
{
	enum status status =
		r == -EINVAL || r == -EEXIST || r == -EBADMSG ? STATUS_INPUT : STATUS_FAILED;
	const char *text = log_error_text();
	json_t *json;

	if (reply->errors.nr)
		text = "the policy has errors; nothing was changed";
	json = json_pack("{s:i, s:s}", "status", status, "error", text[0] ? text : strerror(-r));
	if (reply->errors.nr)
		json_object_set_new(json, "errors", policy_errors_json(&reply->errors));
	return json;
}

static json_t *unknown(const char *name)
{
	return json_pack("{s:i, s:o}", "status", STATUS_INPUT, "error",
			 json_sprintf("there is no command \"%s\"", name ? name : ""));
}

json_t *command_run(struct dfwd *d, const json_t *request)
{
	const char *name = json_text(request, "command");

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		struct reply reply = {};
		json_t *json;
		int r;

		if (!name || strcmp(commands[i].name, name) != 0)
			continue;
		log_error_forget();
		r = commands[i].run(d, json_object_get(request, "arguments"), &reply);
		json = r < 0 ? failed(r, &reply)
			     : json_pack("{s:i, s:o}", "status", STATUS_DONE, "result",
					 reply.result ? reply.result : json_object());
		policy_errors_free(&reply.errors);
		return json;
	}
	return unknown(name);
}
