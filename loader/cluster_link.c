// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <sys/epoll.h>

#include "cluster_link.h"
#include "cluster_requests.h"
#include "daemon.h"
#include "json.h"
#include "log.h"
#include "moves.h"
#include "ports.h"
#include "remote_ports.h"
#include "view_pins.h"

#define RETRY_NS      1000000000ULL
#define SAVE_NS	      5000000000ULL
#define SERVE_AT_ONCE 64 /* packets, before other things have their turn */

static void watch(struct dfwd *d, int operation, uint32_t events)
{
	int fd = d->cluster.link.fd;
	struct epoll_event event = {.events = events, .data.fd = fd};

	if (epoll_ctl(d->epoll, operation, fd, &event) < 0)
		log_errno(-errno, "cannot watch the link to dfwsyncd");
}

static void disconnect(struct dfwd *d, const char *why)
{
	if (d->cluster.link.fd < 0)
		return;
	log_notice("dfwsyncd: %s; enforcement goes on with what is known of other hosts", why);
	sync_link_close(&d->cluster.link);
	moves_link_lost(d);
	d->cluster.retry_ns = monotonic_ns() + RETRY_NS;
}

/* ---- Telling ---------------------------------------------------------------------------------------------------- */

static void check_sent(struct dfwd *d, int r)
{
	if (r == 0 || r == -ENOTCONN)
		return;
	log_errno(r, "cannot tell dfwsyncd");
	disconnect(d, "the link is given up");
}

void cluster_link_tell(struct dfwd *d, json_t *notice, const int *fds, size_t nr_fds)
{
	check_sent(d, sync_link_send(&d->cluster.link, notice, fds, nr_fds));
}

void cluster_link_vports_changed(struct dfwd *d)
{
	d->cluster.vports_changed = true;
}

static json_t *vports_json(const struct dfwd *d)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; i < d->nr_ports; i++) {
		const struct port *port = d->ports[i];
		json_t *json = spec_to_json(port->spec);

		json_object_set_new(json, "slot", json_integer(port->slot));
		json_object_set_new(json, "maps", json_integer(port->maps));
		json_object_set_new(json, "attached", json_boolean(port->ifindex));
		json_object_set_new(json, "seen", json_boolean(port->seen));
		json_object_set_new(json, "late", json_boolean(port->late));
		json_object_set_new(json, "asks", json_boolean(port->answer_ns));
		json_object_set_new(json, "held", json_boolean(port->config.flags & DFW_PORT_HELD));
		json_object_set_new(json, "ready",
				    json_boolean(port->config.flags & DFW_PORT_READY));
		if (json_array_append_new(list, json) < 0)
			return NULL;
	}
	return json_incref(list);
}

static void tell_vports(struct dfwd *d)
{
	_cleanup_json_ json_t *list = vports_json(d);

	d->cluster.vports_changed = false;
	check_sent(d, list ? sync_link_send_text(&d->cluster.link,
						 json_pack("{s:s}", "notice", "vports"), list)
			   : -ENOMEM);
}

static void tell_hello(struct dfwd *d)
{
	int fds[HELLO_FDS], nr = moves_hello_fds(d, fds);

	cluster_link_tell(d,
			  json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "notice", "hello", "instance",
				    d->instance, "version", DFW_VERSION, "generation",
				    (json_int_t)d->revision.generation, "last",
				    (json_int_t)d->store.last, "object", d->policy_object),
			  fds, (size_t)nr);
}

/* ---- Connecting ------------------------------------------------------------------------------------------------- */

static void try_connect(struct dfwd *d)
{
	int r = sync_link_connect(d->run_dir, &d->cluster.link.fd);

	d->cluster.retry_ns = monotonic_ns() + RETRY_NS;
	if (r < 0 && r != -ENOENT && r != -ECONNREFUSED && r != -EAGAIN && !d->cluster.refused) {
		log_errno(r, "cannot connect to dfwsyncd");
		d->cluster.refused = true;
	}
	if (r < 0)
		return;
	d->cluster.refused = d->cluster.watches_room = false;
	watch(d, EPOLL_CTL_ADD, EPOLLIN);
	log_info("connected to dfwsyncd");
	tell_hello(d);
	d->cluster.vports_changed = true;
}

static bool any_is_held(const struct dfwd *d)
{
	for (size_t i = 0; i < d->nr_ports; i++)
		if (d->ports[i]->config.flags & DFW_PORT_HELD)
			return true;
	return false;
}

/* A start after us asks the kernel before it believes the list of vports, and dfwsyncd tells of other hosts' anew. The disk
 * can take long, and a VM whose port is held may stand still until the next request is answered. */
static void save_lists(struct dfwd *d)
{
	struct cluster_link *cluster = &d->cluster;

	if (!cluster->save_vports && !cluster->save_remote)
		return;
	if (!cluster->save_ns)
		cluster->save_ns = monotonic_ns() + SAVE_NS;
	if (any_is_held(d) && monotonic_ns() < cluster->save_ns)
		return;
	if (cluster->save_vports)
		ports_save(d);
	if (cluster->save_remote)
		remote_ports_save(d);
	cluster->save_vports = cluster->save_remote = false;
	cluster->save_ns = 0;
}

void cluster_link_turn(struct dfwd *d)
{
	if (d->cluster.link.fd < 0 && monotonic_ns() >= d->cluster.retry_ns)
		try_connect(d);
	if (d->cluster.link.fd >= 0 && d->cluster.vports_changed)
		tell_vports(d);
	save_lists(d);
	if (d->cluster.link.fd >= 0 &&
	    sync_link_waits(&d->cluster.link) != d->cluster.watches_room) {
		d->cluster.watches_room = !d->cluster.watches_room;
		watch(d, EPOLL_CTL_MOD, EPOLLIN | (d->cluster.watches_room ? EPOLLOUT : 0U));
	}
}

void cluster_link_init(struct dfwd *d)
{
	d->cluster.link.fd = -1;
}

void cluster_link_close(struct dfwd *d)
{
	d->cluster.save_ns = 1;
	if (!d->detached)
		save_lists(d);
	sync_link_close(&d->cluster.link);
}

/* ---- Serving ---------------------------------------------------------------------------------------------------- */

static void serve_packet(struct dfwd *d, const struct link_packet *packet)
{
	struct cluster_reply reply = {};
	const json_t *id = json_object_get(packet->json, "id");
	json_t *json = cluster_request_run(d, packet, &reply);

	if (id)
		json_object_set(json, "id", (json_t *)id);
	check_sent(d, sync_link_send(&d->cluster.link, json, reply.fds, reply.nr_fds));
	cluster_reply_clear(&reply);
}

void cluster_link_serve(struct dfwd *d)
{
	int r = sync_link_flush(&d->cluster.link);

	for (int i = 0; i < SERVE_AT_ONCE && r == 0; i++) {
		struct link_packet packet;

		r = sync_link_receive(&d->cluster.link, &packet);
		if (r < 0)
			break;
		serve_packet(d, &packet);
		link_packet_clear(&packet);
	}
	if (r == -ECONNRESET)
		disconnect(d, "has gone");
	else if (r < 0 && r != -EAGAIN && r != -ENOTCONN)
		disconnect(d, r == -EBADMSG ? "sent what is not understood" : "the link broke");
}
