// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/vport_text.h"

#define QUIET_MS   20	/* news seldom come alone */
#define SHARE	   10	/* of our time and dfwd's, the part that news may take: one in so many */
#define LONGEST_MS 5000 /* between two of them, whatever they cost */
#define RETRY_MS   1000
#define SETTLED_MS 3000 /* from a host's first complete list until what is missing there is gone */

/* ---- All ports of the cluster ----------------------------------------------------------------------------------- */

struct found {
	uint32_t host;
	json_t *json;
};

struct collection {
	const struct syncd *d;
	struct found *list;
	size_t nr;
	size_t room;
	bool failed;
};

static void collect(void *data, const struct sync_vport *found)
{
	struct collection *collection = data;
	const struct syncd *d = collection->d;
	char host[WIRE_TEXT_LEN];
	struct vport vport;
	json_t *json;

	if (signatures_revoked(d, found->host) || vport_decode(found->description, &vport) < 0)
		return;
	if (collection->nr == collection->room) {
		size_t room = collection->room ? 2 * collection->room : 64;
		struct found *list = realloc(collection->list, room * sizeof(*list));

		collection->failed |= !list;
		if (!list)
			return;
		collection->list = list;
		collection->room = room;
	}
	json = vport_to_json(found->port, found->epoch, &vport);
	collection->failed |= !json;
	if (!json)
		return;
	json_object_set_new(json, "host", json_string(cluster_host_name(d, found->host, host)));
	collection->list[collection->nr++] = (struct found){.host = found->host, .json = json};
}

static const char *name_of(const struct found *found)
{
	return json_text(found->json, "name");
}

/* Who was certified first has the better right. */
static int by_right(const void *a, const void *b)
{
	const struct found *left = a, *right = b;

	if (left->host != right->host)
		return left->host < right->host ? -1 : 1;
	return strcmp(json_text(left->json, "uuid"), json_text(right->json, "uuid"));
}

static int by_name(const void *a, const void *b)
{
	int order = strcmp(name_of(a), name_of(b));

	return order ? order : by_right(a, b);
}

/* The host that holds `what` already, or NULL: then it is ours from here on. Members of a share group may have the same
 * addresses. */
static const char *claim(json_t *claims, const char *what, json_t *port, bool may_share)
{
	const json_t *holder = json_object_get(claims, what);
	const char *share = json_text(port, "share");

	if (!holder)
		json_object_set(claims, what, port);
	if (!holder || (may_share && share[0] && strcmp(share, json_text(holder, "share")) == 0))
		return NULL;
	return json_text(holder, "host");
}

static const char *claim_all(json_t *claims, json_t *port)
{
	const char *holder = claim(claims, json_text(port, "name"), port, false);
	const json_t *address;
	size_t i;

	json_array_foreach (json_object_get(port, "ips"), i, address) {
		const char *other =
			holder ? NULL : claim(claims, json_string_value(address), port, true);

		holder = other ? other : holder;
	}
	return holder;
}

static void find_conflicts(struct collection *collection)
{
	_cleanup_json_ json_t *claims = json_object();

	if (collection->nr)
		qsort(collection->list, collection->nr, sizeof(*collection->list), by_right);
	for (size_t i = 0; i < collection->nr; i++) {
		const char *holder = claim_all(claims, collection->list[i].json);

		json_object_set_new(collection->list[i].json, "conflict",
				    holder ? json_string(holder) : json_null());
	}
}

json_t *remote_all(const struct syncd *d)
{
	struct collection collection = {.d = d};
	json_t *list = json_array();

	sync_each_vport(d->cluster.sync, collect, &collection);
	find_conflicts(&collection);
	if (collection.nr)
		qsort(collection.list, collection.nr, sizeof(*collection.list), by_name);
	for (size_t i = 0; i < collection.nr; i++)
		json_array_append_new(list, collection.list[i].json);
	free(collection.list);
	if (!collection.failed)
		return list;
	json_decref(list);
	return NULL;
}

/* ---- Hosts whose list is whole ---------------------------------------------------------------------------------- */

struct settling {
	uint32_t host;
	int64_t since_ms;
};

struct settled {
	struct syncd *d;
	json_t *hosts;
	int64_t next_ms; /* when another one will be */
};

/* When its list was complete for the first time; -ENOENT: not yet. */
static int64_t complete_since(struct syncd *d, uint32_t host)
{
	struct remote *remote = &d->remote;
	struct settling *more;

	for (size_t i = 0; i < remote->nr_settling; i++)
		if (remote->settling[i].host == host)
			return remote->settling[i].since_ms;
	if (!sync_host_complete(d->cluster.sync, host))
		return -ENOENT;
	more = realloc(remote->settling, (remote->nr_settling + 1) * sizeof(*more));
	if (!more)
		return -ENOENT;
	remote->settling = more;
	more[remote->nr_settling++] = (struct settling){host, d->loop.now_ms};
	return d->loop.now_ms;
}

static void add_settled(void *data, const struct member_record *member)
{
	struct settled *settled = data;
	struct syncd *d = settled->d;
	int64_t since = complete_since(d, member->host);
	char name[WIRE_TEXT_LEN];

	if (member->state != MEMBER_LEFT && since < 0)
		return;
	if (member->state != MEMBER_LEFT && since + SETTLED_MS > d->loop.now_ms) {
		if (since + SETTLED_MS < settled->next_ms)
			settled->next_ms = since + SETTLED_MS;
		return;
	}
	json_array_append_new(settled->hosts,
			      json_string(cluster_host_name(d, member->host, name)));
}

/* ---- Telling dfwd ----------------------------------------------------------------------------------------------- */

static json_t *others(const struct syncd *d, uint64_t *conflicts)
{
	_cleanup_json_ json_t *all = remote_all(d);
	json_t *list = json_array(), *port;
	size_t i;

	*conflicts = 0;
	json_array_foreach (all, i, port) {
		bool conflict = json_is_string(json_object_get(port, "conflict"));

		*conflicts += conflict;
		if (!conflict && strcmp(json_text(port, "host"), d->cluster.config.name) != 0)
			json_array_append(list, port);
	}
	return all ? list : NULL;
}

static void tell_conflicts(struct syncd *d, uint64_t conflicts)
{
	if (conflicts > d->remote.conflicts)
		log_warning("%llu vports of the cluster claim a name or an address that another "
			    "one has: `dfwctl vport list` shows them",
			    (unsigned long long)conflicts);
	d->remote.conflicts = conflicts;
}

/* The more it costs the less often it is told. */
static void on_answer(void *data, int status, const struct link_packet *packet)
{
	struct syncd *d = data;
	struct remote *remote = &d->remote;
	int64_t pause = SHARE * (d->loop.now_ms - remote->sent_ms);
	const char *error = packet ? json_text(packet->json, "error") : NULL;

	remote->under_way = false;
	remote->pause_ms = d->loop.now_ms + (pause < LONGEST_MS ? pause : LONGEST_MS);
	if (status == 0)
		return;
	remote->pause_ms = d->loop.now_ms + RETRY_MS;
	remote_changed(d);
	if (packet)
		log_error("dfwd does not take the vports of other hosts: %s", error ? error : "?");
}

static json_t *message(struct syncd *d, struct settled *settled)
{
	uint64_t conflicts = 0;
	json_t *list;

	if (d->remote.left)
		return json_pack("{s:[], s:[], s:b}", "vports", "hosts", "whole", true);
	list = others(d, &conflicts);
	tell_conflicts(d, conflicts);
	sync_each_member(d->cluster.sync, add_settled, settled);
	/* Never all: of a host that nobody has heard of since we started nobody knows that it is gone. */
	return json_pack("{s:o, s:O, s:b}", "vports", list, "hosts", settled->hosts, "whole",
			 false);
}

static void tell(struct syncd *d)
{
	struct settled settled = {.d = d, .hosts = json_array(), .next_ms = INT64_MAX};
	_cleanup_json_ json_t *json = message(d, &settled);
	struct remote *remote = &d->remote;
	int r = json ? dfwd_request_text(d, json_pack("{s:s}", "request", "remote-vports"), json,
					 on_answer, d)
		     : -ENOMEM;

	json_decref(settled.hosts);
	remote->changed = false;
	remote->settle_ms = settled.next_ms;
	remote->sent_ms = d->loop.now_ms;
	remote->under_way = r == 0;
	if (r < 0)
		remote_changed(d);
	if (r < 0 && r != -ENOTCONN)
		log_errno(r, "cannot tell dfwd of the vports of other hosts");
}

void remote_changed(struct syncd *d)
{
	if (d->remote.changed)
		return;
	d->remote.changed = true;
	d->remote.due_ms = d->loop.now_ms + QUIET_MS;
}

void remote_left(struct syncd *d)
{
	d->remote.left = true;
	d->remote.nr_settling = 0;
	remote_changed(d);
}

/* Time alone makes a difference: what was not heard of yet is not there at all. */
static bool has_settled(const struct syncd *d)
{
	return d->cluster.sync && d->loop.now_ms >= d->remote.settle_ms;
}

void remote_turn(struct syncd *d)
{
	struct remote *remote = &d->remote;
	int64_t due;

	remote->left &= !d->cluster.sync;
	if (remote->under_way || !dfwd_connected(d) || !(d->cluster.sync || remote->left))
		return;
	if (has_settled(d))
		remote_changed(d);
	due = remote->due_ms > remote->pause_ms ? remote->due_ms : remote->pause_ms;
	if (remote->changed && d->loop.now_ms >= due)
		tell(d);
	else if (remote->changed)
		loop_wake(&d->loop, due);
	if (d->cluster.sync)
		loop_wake(&d->loop, remote->settle_ms);
}

void remote_free(struct remote *remote)
{
	free(remote->settling);
	*remote = (struct remote){};
}
