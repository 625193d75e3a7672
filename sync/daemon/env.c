// SPDX-License-Identifier: GPL-2.0
/* The world of the core: each callback is a line that leads to the file which does it. */
#include <errno.h>

#include <sodium.h>

#include "log.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/shared_store.h"

static uint64_t env_random(void *data)
{
	uint64_t number;

	(void)data;
	randombytes_buf(&number, sizeof(number));
	return number;
}

/* ---- Network ---------------------------------------------------------------------------------------------------- */

static void env_send(void *data, uint32_t to, const void *bytes, size_t nr)
{
	struct syncd *d = data;

	xport_send(d->cluster.xport, to, bytes, nr);
}

static void env_send_seed(void *data, const char *address, const void *bytes, size_t nr)
{
	struct syncd *d = data;

	xport_send_seed(d->cluster.xport, address, bytes, nr);
}

static int env_bulk(void *data, uint32_t to, const void *bytes, size_t nr)
{
	struct syncd *d = data;

	return xport_bulk(d->cluster.xport, to, bytes, nr);
}

static void env_member_changed(void *data, const struct member_record *member)
{
	struct syncd *d = data;

	if (member->state == MEMBER_LEFT)
		xport_forget(d->cluster.xport, member->host);
	else if (member->address[0])
		xport_peer(d->cluster.xport, member->host, member->address);
	peers_changed(d);
	remote_changed(d);
}

static void env_vport_changed(void *data, uint32_t host, struct uuid port)
{
	(void)host;
	(void)port;
	remote_changed(data);
}

/* ---- Disk ------------------------------------------------------------------------------------------------------- */

static int env_ledger_write(void *data, const struct ledger *record)
{
	struct syncd *d = data;
	int r = ledger_write(&d->disk.ledger, record);

	return r < 0 ? log_errno(r, "cannot write the ledger") : 0;
}

static void env_ledger_drop(void *data, struct uuid port)
{
	struct syncd *d = data;
	int r = ledger_drop(&d->disk.ledger, port);

	if (r < 0)
		log_errno(r, "cannot write the ledger");
}

static const uint8_t *env_object_get(void *data, const struct digest *name, uint32_t *nr)
{
	struct syncd *d = data;

	return disk_object_get(&d->disk, name, nr);
}

static int env_object_put(void *data, const struct digest *name, const uint8_t *bytes, uint32_t nr)
{
	struct syncd *d = data;

	return disk_object_put(&d->disk, name, bytes, nr);
}

static int env_policy_keep(void *data, const struct manifest *manifest, uint32_t writer)
{
	struct syncd *d = data;

	return disk_manifest_write(&d->disk, manifest, writer);
}

/* ---- Policy ----------------------------------------------------------------------------------------------------- */

static int env_policy_stage(void *data, const struct generation *generation)
{
	return generations_stage(data, generation);
}

static int env_policy_flip(void *data, uint32_t generation)
{
	return generations_flip(data, generation);
}

const struct sync_env cluster_env = {
	.random = env_random,
	.send = env_send,
	.send_seed = env_send_seed,
	.bulk = env_bulk,
	.member_changed = env_member_changed,
	.vport_changed = env_vport_changed,
	.entry_sign = signatures_sign,
	.entry_verify = signatures_verify,
	.host_proven = signatures_proven,
	.policy_writer = signatures_operator,
	.ledger_write = env_ledger_write,
	.ledger_drop = env_ledger_drop,
	.object_get = env_object_get,
	.object_put = env_object_put,
	.policy_keep = env_policy_keep,
	.policy_stage = env_policy_stage,
	.policy_flip = env_policy_flip,
	.policy_commit = shared_store_commit,
	.object_want = shared_store_want,
	.port_prepare = datapath_prepare,
	.port_pause = datapath_pause,
	.port_activate = datapath_activate,
	.port_release = datapath_release,
	.port_flows = datapath_flows,
	.port_late = datapath_late,
	.port_stranded = datapath_stranded,
	.port_epoch = datapath_epoch,
	.port_in_force = datapath_in_force,
	.port_gone = datapath_gone,
	.flow_apply = datapath_flow_apply,
	.flow_share = datapath_flow_share,
	.flows_held = datapath_flows_held,
	.move_event = datapath_move_event,
};
