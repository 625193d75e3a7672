// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/vport_text.h"

/* ---- The list --------------------------------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
	return memcmp(&((const struct local_vport *)a)->id, &((const struct local_vport *)b)->id,
		      sizeof(struct uuid));
}

static const struct local_vport *find_in(const struct vports *vports, struct uuid id)
{
	const struct local_vport key = {.id = id};

	return vports->nr ? bsearch(&key, vports->list, vports->nr, sizeof(key), compare_ids)
			  : NULL;
}

const struct local_vport *vports_find(const struct syncd *d, struct uuid id)
{
	return find_in(&d->vports, id);
}

const struct local_vport *vports_find_name(const struct syncd *d, const char *name)
{
	for (size_t i = 0; i < d->vports.nr; i++)
		if (strcmp(d->vports.list[i].name, name) == 0)
			return &d->vports.list[i];
	return NULL;
}

bool vports_known(const struct syncd *d)
{
	return d->vports.known;
}

void vports_free(struct vports *vports)
{
	for (size_t i = 0; i < vports->nr; i++)
		json_decref(vports->list[i].json);
	free(vports->list);
	*vports = (struct vports){};
}

static int read_vport(json_t *json, struct local_vport *vport)
{
	const char *name = json_text(json, "name");
	int r;

	if (!name || strlen(name) >= sizeof(vport->name) ||
	    uuid_parse(json_text(json, "uuid"), &vport->id) < 0)
		return -EBADMSG;
	strcpy(vport->name, name);
	vport->seen = json_is_true(json_object_get(json, "seen"));
	r = vport_from_json(json, vport->value, &vport->nr);
	if (r == -EMSGSIZE) {
		log_error("vport %s: addresses and tags are more than other hosts can be told "
			  "of: its name, tags and addresses are known on this host only",
			  name);
		vport->nr = 0;
		r = 0;
	}
	if (r == 0)
		vport->json = json_incref(json);
	return r;
}

static int read_list(json_t *json, struct vports *vports)
{
	json_t *entry;
	size_t i;

	*vports = (struct vports){.known = true};
	vports->list = calloc(json_array_size(json) + 1, sizeof(*vports->list));
	if (!vports->list)
		return -ENOMEM;
	json_array_foreach (json, i, entry) {
		int r = read_vport(entry, &vports->list[vports->nr]);

		if (r < 0) {
			vports_free(vports);
			return r;
		}
		vports->nr++;
	}
	qsort(vports->list, vports->nr, sizeof(*vports->list), compare_ids);
	return 0;
}

/* ---- For the core ----------------------------------------------------------------------------------------------- */

/* What was released to another host is not removed: its fence and its flows have their time. */
static void drop(struct syncd *d, struct uuid id)
{
	enum port_role role = sync_port_role(d->cluster.sync, id, NULL);

	if (role != PORT_NONE && role != PORT_RELEASED && role != PORT_REPLICA)
		sync_port_remove(d->cluster.sync, id);
}

static bool same(const struct local_vport *a, const struct local_vport *b)
{
	return a->seen == b->seen && a->nr == b->nr && memcmp(a->value, b->value, a->nr) == 0;
}

static void tell_differences(struct syncd *d, const struct vports *former)
{
	for (size_t i = 0; i < former->nr; i++)
		if (!vports_find(d, former->list[i].id))
			drop(d, former->list[i].id);
	for (size_t i = 0; i < d->vports.nr; i++) {
		const struct local_vport *old = find_in(former, d->vports.list[i].id);

		if (!old || !same(old, &d->vports.list[i]))
			datapath_add(d, &d->vports.list[i]);
	}
}

/* A port that went while we were away has a record, but nothing else. */
static void drop_missing(void *data, const struct ledger *record)
{
	struct syncd *d = data;

	bool owned = record->role == PORT_ACTIVE || record->role == PORT_OFFERING;

	if (owned && !vports_find(d, record->port))
		sync_port_remove(d->cluster.sync, record->port);
}

void vports_start(struct syncd *d)
{
	for (size_t i = 0; i < d->vports.nr; i++)
		datapath_add(d, &d->vports.list[i]);
	ledger_each(&d->disk.ledger, drop_missing, d);
}

void vports_on_notice(struct syncd *d, const struct link_packet *packet)
{
	_cleanup_json_ json_t *json = NULL;
	struct vports former = d->vports, next;
	int r = link_packet_text(packet, &json);

	if (r == 0)
		r = read_list(json, &next);
	if (r < 0) {
		log_errno(r, "cannot read the vports that dfwd tells of");
		return;
	}
	d->vports = next;
	if (d->cluster.sync) {
		datapath_on_vports(d);
		tell_differences(d, &former);
		remote_changed(d);
	}
	vports_free(&former);
}
