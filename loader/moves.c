// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "daemon.h"
#include "json.h"
#include "log.h"
#include "maps.h"
#include "moves.h"
#include "ports.h"
#include "view_pins.h"
#include "vports.h"

#define ANSWER_NS 3000000000ULL /* what dfwsyncd has to say whether a new port is the cluster's */

static int find_port(const struct dfwd *d, const struct link_packet *packet, struct port **port)
{
	const char *text = json_text(packet->json, "uuid");
	uint8_t uuid[16];

	*port = text && uuid_parse(text, uuid) == 0 ? ports_find_uuid(d, uuid) : NULL;
	if (*port)
		return 0;
	log_error("there is no vport with the uuid \"%s\"", text ? text : "");
	return -ENOENT;
}

/* ---- Switches ---------------------------------------------------------------------------------------------------- */

/* In place, and at once: one word changes. Only the bank in force is asked; what comes into force after it takes the
 * switches over (stage.c). */
static int write_config(struct dfwd *d, struct port *port, const struct dfw_port_config *next)
{
	_cleanup_close_ int map = port_open_map(&d->object, port, "config");
	const uint32_t zero = 0;
	int r = map < 0 ? map : map_put(map, &zero, next);

	if (r < 0)
		return log_errno(r, "vport %s: cannot switch it", port->spec->name);
	if (!(next->flags & DFW_PORT_HELD)) {
		port->held_ns = 0;
		port->pulled = false;
	} else if (!(port->config.flags & DFW_PORT_HELD)) {
		port->held_ns = monotonic_ns();
	}
	port->config = *next;
	return 0;
}

static int set_switches(struct dfwd *d, struct port *port, uint32_t on, uint32_t off)
{
	struct dfw_port_config next = port->config;

	next.flags = (next.flags | on) & ~off;
	return next.flags == port->config.flags ? 0 : write_config(d, port, &next);
}

int run_port_hold(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply)
{
	struct port *port;
	bool held;
	int r = find_port(d, packet, &port);

	(void)reply;
	if (r < 0)
		return r;
	held = port->config.flags & DFW_PORT_HELD;
	port->answer_ns = 0;
	port->seen &= held;
	r = set_switches(d, port, DFW_PORT_HELD, 0);
	if (r == 0)
		port->pulled = json_is_true(json_object_get(packet->json, "pull"));
	if (r == 0 && !held)
		log_info("vport %s: is held", port->spec->name);
	cluster_link_vports_changed(d);
	return r;
}

int run_port_quiet(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply)
{
	(void)packet;
	(void)reply;
	/* A VM stands still meanwhile. */
	return object_packets_end(&d->object);
}

int run_port_activate(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply)
{
	json_int_t epoch = json_number(packet->json, "epoch");
	struct dfw_port_config next;
	struct port *port;
	bool held;
	int r = find_port(d, packet, &port);

	(void)reply;
	if (r < 0)
		return r;
	if (epoch < 1) {
		log_error("vport %s: an epoch is wanted", port->spec->name);
		return -EINVAL;
	}
	next = port->config;
	held = next.flags & DFW_PORT_HELD;
	next.flags &= ~(uint32_t)DFW_PORT_HELD;
	next.epoch = (uint64_t)epoch;
	r = write_config(d, port, &next);
	if (r < 0)
		return r;
	/* The packets flow; that a restart knows it too can come second. */
	port->answer_ns = 0;
	port->seen = port->late = false;
	if (port->spec->arriving || port->spec->epoch != (uint64_t)epoch) {
		port->spec->arriving = false;
		port->spec->epoch = (uint64_t)epoch;
		d->cluster.save_vports = true;
	}
	if (held)
		log_info("vport %s: is in force here, epoch %" JSON_INTEGER_FORMAT,
			 port->spec->name, epoch);
	cluster_link_vports_changed(d);
	return 0;
}

int run_port_watch(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply)
{
	bool on = json_is_true(json_object_get(packet->json, "on"));
	struct port *port;
	int r = find_port(d, packet, &port);

	(void)reply;
	return r < 0 ? r
		     : set_switches(d, port, on ? DFW_PORT_WATCHED : 0, on ? 0 : DFW_PORT_WATCHED);
}

/* ---- Arriving and leaving ---------------------------------------------------------------------------------------- */

static int refuse_errors(const struct policy_errors *errors, const char *name)
{
	if (errors->nr)
		log_error("vport %s: the policy here does not take it: %s", name,
			  errors->list[0].text);
	return -EINVAL;
}

static int check_room(const struct port *port, json_int_t flows)
{
	uint32_t room = port->config.profile.max_flows;

	if (flows <= (json_int_t)room)
		return 0;
	log_error("vport %s: its profile has room for %u flows here, %" JSON_INTEGER_FORMAT
		  " are wanted",
		  port->spec->name, room, flows);
	return -ENOSPC;
}

static int make_held(struct dfwd *d, struct vport_spec **spec, struct cluster_reply *reply,
		     struct port **port)
{
	char name[DFW_PORT_NAME_LEN];
	int r;

	strcpy(name, (*spec)->name);
	(*spec)->arriving = true;
	(*spec)->pattern[0] = '\0';
	r = vport_add(d, spec, &reply->errors);
	if (r == 0)
		*port = ports_find(d, name);
	else if (reply->errors.nr)
		refuse_errors(&reply->errors, name);
	return r;
}

int run_port_prepare(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply)
{
	const json_t *description = json_object_get(packet->json, "vport");
	_cleanup_spec_ struct vport_spec *spec = NULL;
	struct port *port;
	bool made = false;
	int r = spec_from_json(description, &spec);

	if (r < 0)
		return r;
	port = ports_find_uuid(d, spec->uuid);
	if (port) {
		r = set_switches(d, port, DFW_PORT_HELD, 0);
	} else {
		r = make_held(d, &spec, reply, &port);
		made = r == 0;
	}
	if (r == 0)
		r = check_room(port, json_number(packet->json, "flows"));
	if (r < 0 && made) {
		struct policy_errors errors = {};

		vport_del(d, port, &errors);
		policy_errors_free(&errors);
	}
	if (r < 0)
		return r;
	port->answer_ns = 0;
	reply->result = json_pack("{s:I}", "slot", (json_int_t)port->slot);
	cluster_link_vports_changed(d);
	return 0;
}

int run_port_release(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply)
{
	const char *host = json_text(packet->json, "host");
	struct port *port;
	int r = find_port(d, packet, &port);

	if (r < 0)
		return r;
	/* Should it fail to go, it denies at least. */
	r = set_switches(d, port, DFW_PORT_HELD, 0);
	if (r < 0)
		return r;
	return host ? remote_ports_give(d, port, host, &reply->errors)
		    : vport_del(d, port, &reply->errors);
}

/* ---- Descriptors ------------------------------------------------------------------------------------------------- */

/* Whoever has it can read, and nothing else. */
static int open_read_only(const struct dfwd *d, const struct port *port, const char *pin)
{
	LIBBPF_OPTS(bpf_obj_get_opts, options, .file_flags = BPF_F_RDONLY);
	char path[PATH_MAX];

	pin_vport_path(d->instance, port->spec->name, pin, path);
	return bpf_obj_get_opts(path, &options);
}

int run_port_maps(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply)
{
	static const char *const pins[] = {"flows", "more_flows", "half_open", "state"};
	struct port *port;
	int r = find_port(d, packet, &port);

	for (size_t i = 0; i < ARRAY_SIZE(pins) && r == 0; i++) {
		int map = open_read_only(d, port, pins[i]);

		if (map < 0)
			r = log_errno(map, "vport %s: %s", port->spec->name, pins[i]);
		else
			reply->fds[reply->nr_fds++] = map;
	}
	if (r == 0)
		reply->result = json_pack("{s:I}", "slot", (json_int_t)port->slot);
	return r;
}

int moves_hello_fds(const struct dfwd *d, int fds[HELLO_FDS])
{
	fds[0] = d->object.changes;
	fds[1] = d->object.change_losses;
	fds[2] = d->object.programs.exchange;
	fds[3] = d->object.exchange;
	fds[4] = d->object.graves;
	return HELLO_FDS;
}

/* ---- New ports of a cluster's host ------------------------------------------------------------------------------- */

int run_member(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply)
{
	(void)reply;
	d->cluster.member = json_is_true(json_object_get(packet->json, "member"));
	return 0;
}

void moves_hold_new(struct dfwd *d, struct port *port)
{
	if (!d->cluster.member || port->spec->arriving ||
	    set_switches(d, port, DFW_PORT_HELD, 0) < 0)
		return;
	port->answer_ns = monotonic_ns() + ANSWER_NS;
}

int moves_share(struct dfwd *d, struct port *port)
{
	bool shares = port->spec->share[0];

	return set_switches(d, port, shares ? DFW_PORT_SHARED : 0, shares ? 0 : DFW_PORT_SHARED);
}

static void give_up(struct dfwd *d, struct port *port)
{
	port->answer_ns = 0;
	if (set_switches(d, port, 0, DFW_PORT_HELD) == 0)
		log_notice("vport %s: dfwsyncd does not say whether another host has it; it is in "
			   "force here",
			   port->spec->name);
	cluster_link_vports_changed(d);
}

void moves_tick(struct dfwd *d)
{
	uint64_t now = monotonic_ns();

	for (size_t i = 0; i < d->nr_ports; i++)
		if (d->ports[i]->answer_ns && d->ports[i]->answer_ns <= now)
			give_up(d, d->ports[i]);
}

void moves_link_lost(struct dfwd *d)
{
	d->cluster.member = false;
	for (size_t i = 0; i < d->nr_ports; i++) {
		struct port *port = d->ports[i];

		set_switches(d, port, 0, DFW_PORT_WATCHED);
		if (port->answer_ns)
			give_up(d, port);
	}
}

static const char *held_why(const struct port *port)
{
	if (port->answer_ns)
		return "it is new, and may be on another host";
	if (port->spec->arriving)
		return "a move to this host has not ended";
	if (port->pulled)
		return "it has come from another host, which has not given it up yet";
	return "it is handed over to another host, or a move has not ended";
}

json_t *moves_held_json(const struct dfwd *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < d->nr_ports; i++) {
		const struct port *port = d->ports[i];
		uint64_t since = port->spec->arriving ? port->made_ns : port->held_ns;

		if (!(port->config.flags & DFW_PORT_HELD))
			continue;
		json_array_append_new(
			list, json_pack("{s:s, s:o, s:s}", "vport", port->spec->name, "ms",
					since ? json_integer((json_int_t)((monotonic_ns() - since) /
									  1000000))
					      : json_null(),
					"why", held_why(port)));
	}
	return list;
}

/* It may be the last that a silent VM says for long: whoever asks later hears of it too. */
void moves_seen(struct dfwd *d, struct port *port)
{
	if (port->seen || !(port->config.flags & DFW_PORT_HELD))
		return;
	port->seen = true;
	cluster_link_vports_changed(d);
}
