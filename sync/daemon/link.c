// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "json.h"
#include "log.h"
#include "sync/daemon/daemon.h"

#define SERVE_AT_ONCE 64 /* packets, before other things have their turn */

struct dfwd_request {
	uint64_t id;
	dfwd_answer *answer;
	void *data;
	struct dfwd_request *next;
};

static void on_ready(void *data, uint32_t events);

bool dfwd_connected(const struct syncd *d)
{
	return d->dfwd.link.fd >= 0;
}

/* ---- Connections ------------------------------------------------------------------------------------------------ */

static void disconnect(struct syncd *d, const char *why)
{
	struct dfwd_request *request = d->dfwd.first;

	if (d->dfwd.link.fd < 0)
		return;
	log_notice("dfwd: %s", why);
	loop_remove(&d->loop, d->dfwd.link.fd);
	sync_link_close(&d->dfwd.link);
	d->dfwd.first = d->dfwd.last = NULL;
	datapath_on_link_lost(d);
	while (request) {
		struct dfwd_request *next = request->next;

		if (request->answer)
			request->answer(request->data, -ECONNRESET, NULL);
		free(request);
		request = next;
	}
}

/* A dfwd that connects takes the place of the one before: it has been started again. */
static void on_connection(void *data, uint32_t events)
{
	struct syncd *d = data;
	int fd = accept4(d->dfwd.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), r;

	(void)events;
	if (fd < 0)
		return;
	disconnect(d, "was started again");
	d->dfwd.link.fd = fd;
	d->dfwd.watches_room = false;
	r = loop_add(&d->loop, fd, EPOLLIN, on_ready, d);
	if (r < 0) {
		log_errno(r, "cannot watch the link to dfwd");
		sync_link_close(&d->dfwd.link);
	}
}

int dfwd_link_open(struct syncd *d)
{
	int r;

	d->dfwd = (struct dfwd_link){.listener = -1, .link.fd = -1};
	r = sync_link_listen(d->run_dir, &d->dfwd.listener);
	if (r == 0)
		r = loop_add(&d->loop, d->dfwd.listener, EPOLLIN, on_connection, d);
	return r < 0 ? log_errno(r, "cannot listen at %s/" SYNC_LINK_SOCKET, d->run_dir) : 0;
}

void dfwd_link_close(struct syncd *d)
{
	disconnect(d, "dfwsyncd leaves");
	cleanup_close(&d->dfwd.listener);
}

void dfwd_link_turn(struct syncd *d)
{
	struct dfwd_link *dfwd = &d->dfwd;

	if (dfwd->link.fd < 0 || sync_link_waits(&dfwd->link) == dfwd->watches_room)
		return;
	dfwd->watches_room = !dfwd->watches_room;
	loop_change(&d->loop, dfwd->link.fd, EPOLLIN | (dfwd->watches_room ? EPOLLOUT : 0U));
}

/* ---- Requests --------------------------------------------------------------------------------------------------- */

static int remember(struct syncd *d, uint64_t id, dfwd_answer *answer, void *data)
{
	struct dfwd_request *request = malloc(sizeof(*request));

	if (!request)
		return -ENOMEM;
	*request = (struct dfwd_request){.id = id, .answer = answer, .data = data};
	if (d->dfwd.last)
		d->dfwd.last->next = request;
	else
		d->dfwd.first = request;
	d->dfwd.last = request;
	return 0;
}

int dfwd_request(struct syncd *d, json_t *request, const int *fds, size_t nr_fds,
		 dfwd_answer *answer, void *data)
{
	uint64_t id = d->dfwd.last_id + 1;
	int r;

	json_object_set_new(request, "id", json_integer((json_int_t)id));
	r = sync_link_send(&d->dfwd.link, request, fds, nr_fds);
	if (r < 0)
		return r;
	d->dfwd.last_id = id;
	return remember(d, id, answer, data);
}

int dfwd_request_text(struct syncd *d, json_t *request, const json_t *text, dfwd_answer *answer,
		      void *data)
{
	_cleanup_json_ json_t *owned = request;
	_cleanup_close_ int fd = -1;
	int r = json_memfd(text, &fd);

	return r < 0 ? r : dfwd_request(d, json_incref(owned), &fd, 1, answer, data);
}

/* Answers come in the order of the requests. One that could not be remembered has none. */
static void on_answer(struct syncd *d, uint64_t id, const struct link_packet *packet)
{
	struct dfwd_request *request = d->dfwd.first;
	json_int_t status = json_number(packet->json, "status");

	if (!request || request->id != id)
		return;
	d->dfwd.first = request->next;
	if (!d->dfwd.first)
		d->dfwd.last = NULL;
	if (request->answer)
		request->answer(request->data,
				status > 0 || status < -4095 ? -EBADMSG : (int)status, packet);
	free(request);
}

/* ---- Notices ---------------------------------------------------------------------------------------------------- */

static void on_hello(struct syncd *d, const struct link_packet *packet)
{
	const char *version = json_text(packet->json, "version");

	datapath_on_hello(d, packet);
	generations_on_hello(d, packet);
	remote_changed(d);
	log_info("dfwd %s is here, policy generation %" JSON_INTEGER_FORMAT,
		 version ? version : "?", json_number(packet->json, "generation"));
}

static const struct notice {
	const char *name;
	void (*run)(struct syncd *d, const struct link_packet *packet);
} notices[] = {
	{"hello", on_hello},
	{"vports", vports_on_notice},
};

static void on_notice(struct syncd *d, const char *name, const struct link_packet *packet)
{
	for (size_t i = 0; i < ARRAY_SIZE(notices); i++) {
		if (strcmp(notices[i].name, name) != 0)
			continue;
		notices[i].run(d, packet);
		return;
	}
	log_debug("dfwd tells \"%s\", which this dfwsyncd does not know", name);
}

static void on_packet(struct syncd *d, const struct link_packet *packet)
{
	const char *notice = json_text(packet->json, "notice");

	if (notice)
		on_notice(d, notice, packet);
	else
		on_answer(d, (uint64_t)json_number(packet->json, "id"), packet);
}

static void on_ready(void *data, uint32_t events)
{
	struct syncd *d = data;
	int r = sync_link_flush(&d->dfwd.link);

	(void)events;
	for (int i = 0; i < SERVE_AT_ONCE && r == 0; i++) {
		struct link_packet packet;

		r = sync_link_receive(&d->dfwd.link, &packet);
		if (r < 0)
			break;
		on_packet(d, &packet);
		link_packet_clear(&packet);
	}
	if (r == -ECONNRESET)
		disconnect(d, "has gone; enforcement goes on");
	else if (r < 0 && r != -EAGAIN && r != -ENOTCONN)
		disconnect(d, r == -EBADMSG ? "sent what is not understood" : "the link broke");
}
