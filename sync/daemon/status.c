// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "sync/daemon/control.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/shared_store.h"
#include "sync/daemon/status.h"

#define ASK_MS 1500 /* what a living host has to answer; the status does not wait for longer */

/* ---- A host ----------------------------------------------------------------------------------------------------- */

static const char *state_name(uint8_t state)
{
	static const char *const names[] = {
		[MEMBER_ALIVE] = "alive",
		[MEMBER_SUSPECT] = "suspect",
		[MEMBER_DEAD] = "dead",
		[MEMBER_LEFT] = "left",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

static json_t *certificate_json(const struct certificate *certificate)
{
	char issuer[2 * KEY_BYTES + 1] = "";

	if (!certificate)
		return json_null();
	for (size_t i = 0; i < KEY_BYTES; i++)
		sprintf(issuer + 2 * i, "%02x", certificate->issuer.bytes[i]);
	return json_pack("{s:s, s:I, s:b, s:s}", "name", certificate->name, "serial",
			 (json_int_t)certificate->serial, "operator",
			 certificate->roles & ROLE_OPERATOR, "issuer", issuer);
}

struct status {
	struct syncd *d;
	struct control_call *call;
	json_t *hosts;
	struct manifest manifest;
	uint32_t writer;
};

static void add_host(struct status *status, uint32_t host, const char *address, const char *state,
		     const struct host_info *info, const struct certificate *certificate)
{
	struct syncd *d = status->d;
	uint32_t active = status->manifest.active.number;
	char name[WIRE_TEXT_LEN];

	json_array_append_new(
		status->hosts,
		json_pack("{s:s, s:I, s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:o}", "host",
			  cluster_host_name(d, host, name), "id", (json_int_t)host, "address",
			  address, "state", state, "self", host == d->cluster.host, "writer",
			  host == status->writer, "staged", (json_int_t)info->staged, "active",
			  (json_int_t)info->active, "behind",
			  (json_int_t)(active > info->active ? active - info->active : 0),
			  "certificate", certificate_json(certificate)));
}

static void add_member(void *data, const struct member_record *member)
{
	struct status *status = data;
	struct syncd *d = status->d;
	struct host_info info = {};
	struct xport_session session;
	size_t nr = json_array_size(status->hosts);
	json_t *entry;

	sync_host_info(d->cluster.sync, member->host, &info);
	add_host(status, member->host, member->address, state_name(member->state), &info,
		 signatures_certificate(d, member->host));
	entry = json_array_get(status->hosts, nr);
	json_object_set_new(entry, "heard_ms",
			    xport_session(d->cluster.xport, member->host, &session)
				    ? json_integer((json_int_t)session.heard_ms)
				    : json_null());
}

static void add_self(struct status *status)
{
	struct syncd *d = status->d;
	const struct host_info info = {
		.staged = sync_policy_staged(d->cluster.sync),
		.active = sync_policy_active(d->cluster.sync),
	};

	add_host(status, d->cluster.host, d->cluster.config.address,
		 d->cluster.leave_ms ? "leaving" : "alive", &info,
		 &d->cluster.identity->certificate);
	json_object_set_new(json_array_get(status->hosts, 0), "heard_ms", json_integer(0));
}

/* ---- What they say ---------------------------------------------------------------------------------------------- */

static json_t *find_host(const json_t *hosts, json_int_t id)
{
	json_t *entry;
	size_t i;

	json_array_foreach (hosts, i, entry)
		if (json_number(entry, "id") == id)
			return entry;
	return NULL;
}

/* When each host flipped, on our clock: its "so long ago" counts from the middle of question and answer. */
struct flips {
	json_int_t first, last, error;
	size_t nr;
};

static void add_flip(struct flips *flips, const json_t *told, uint32_t generation)
{
	const json_t *answer = json_object_get(told, "answer");
	json_int_t at = json_number(told, "at_us") - json_number(told, "took_us") / 2 -
			json_number(answer, "flipped_ago_us");

	if (!generation || json_number(answer, "flipped") != generation)
		return;
	if (flips->nr == 0 || at < flips->first)
		flips->first = at;
	if (flips->nr == 0 || at > flips->last)
		flips->last = at;
	if (json_number(told, "took_us") / 2 > flips->error)
		flips->error = json_number(told, "took_us") / 2;
	flips->nr++;
}

static void merge_answers(struct status *status, const json_t *answers, struct flips *flips)
{
	const json_t *told;
	size_t i;

	json_array_foreach (answers, i, told) {
		json_t *entry = find_host(status->hosts, json_number(told, "id"));
		json_t *answer = json_object_get(told, "answer");

		if (!entry)
			continue;
		if (!answer)
			json_object_set(entry, "error", json_object_get(told, "error"));
		else
			json_object_update(entry, answer);
		json_object_del(entry, "flipped");
		json_object_del(entry, "flipped_ago_us");
		add_flip(flips, told, status->manifest.active.number);
	}
}

static json_t *milliseconds(const struct flips *flips, json_int_t us)
{
	return flips->nr < 2 ? json_null() : json_real((double)us / 1000);
}

static void on_answers(void *data, json_t *answers)
{
	_cleanup_json_ json_t *owned = answers;
	_cleanup_free_ struct status *status = data;
	struct syncd *d = status->d;
	struct flips flips = {};
	char writer[WIRE_TEXT_LEN];

	if (!d->cluster.sync) {
		control_failed(status->call, CONTROL_FAILED, "this host has left the cluster",
			       NULL);
		json_decref(status->hosts);
		return;
	}
	merge_answers(status, owned, &flips);
	control_done(status->call,
		     json_pack("{s:s, s:s, s:s?, s:s, s:o, s:I, s:I, s:I, s:o, s:o, s:I, s:o}",
			       "instance", d->instance, "host", d->cluster.config.name, "writer",
			       status->writer ? cluster_host_name(d, status->writer, writer) : NULL,
			       "store", d->cluster.config.etcd ? "etcd" : "local", "etcd",
			       shared_store_json(d), "term", (json_int_t)status->manifest.term,
			       "generation", (json_int_t)status->manifest.active.number, "staged",
			       (json_int_t)status->manifest.staged.number, "skew_ms",
			       milliseconds(&flips, flips.last - flips.first), "skew_error_ms",
			       milliseconds(&flips, flips.error), "conflicts",
			       (json_int_t)d->remote.conflicts, "hosts", status->hosts));
}

int status_cluster(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	struct status *status;
	int r = cluster_ready(d);

	(void)arguments;
	if (r < 0)
		return r;
	status = calloc(1, sizeof(*status));
	if (!status)
		return log_errno(-ENOMEM, "cluster-status");
	*status = (struct status){.d = d, .call = call, .hosts = json_array()};
	sync_policy_manifest(d->cluster.sync, &status->manifest, &status->writer);
	if (!status->writer && d->cluster.config.writer)
		status->writer = d->cluster.host;
	add_self(status);
	sync_each_member(d->cluster.sync, add_member, status);
	r = query_gather(d, 0, json_pack("{s:s}", "what", "host"), ASK_MS, on_answers, status);
	if (r < 0) {
		json_decref(status->hosts);
		free(status);
	}
	return r;
}
