// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "sync/daemon/control.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/shared_store.h"
#include "util.h"

#define LOOK_MS	     1000
#define LEAVE_MS     1200 /* how long others are told that we leave */
#define MIN_AGE_MS   2000
#define REPLICA_ROOM 4000000 /* flows kept for other hosts */

static const char *folder_file(const struct cluster *cluster, const char *file, char *path)
{
	snprintf(path, PATH_MAX, "%s/%s", cluster->dir, file);
	return path;
}

/* Another number: another file, or another content. 0: no file. */
static uint64_t stamp_of(const char *path)
{
	struct stat stat;

	if (lstat(path, &stat) < 0)
		return 0;
	return (uint64_t)stat.st_mtim.tv_sec * 1000000000 + (uint64_t)stat.st_mtim.tv_nsec +
	       stat.st_ino;
}

/* ---- What the network brings ------------------------------------------------------------------------------------ */

static void on_message(void *data, uint32_t from, const void *bytes, size_t nr)
{
	struct syncd *d = data;

	if (d->cluster.sync && !queries_take(d, from, bytes, nr))
		sync_on_message(d->cluster.sync, d->loop.now_ms, from, bytes, nr);
}

static void on_bulk_ready(void *data, uint32_t to)
{
	struct syncd *d = data;

	queries_bulk_ready(d, to);
	if (d->cluster.sync)
		sync_bulk_ready(d->cluster.sync, d->loop.now_ms, to);
}

static void sign_anew(struct syncd *d)
{
	int r = signatures_publish(d);

	if (r < 0)
		log_errno(r, "cannot sign anew what this host tells");
}

static void on_charter(void *data, const struct charter *charter)
{
	struct syncd *d = data;
	int r = identity_keep_charter(d->cluster.dir, charter);

	if (r < 0)
		log_errno(r, "cannot keep the cluster's new charter");
	d->cluster.identity->charter = *charter;
	log_notice("charter %llu holds", (unsigned long long)charter->version);
	/* Who is revoked now has no vports any more. */
	remote_changed(d);
	d->cluster.identity_stamp = identity_stamp(d->cluster.dir);
}

static void on_renewed(void *data, const struct certificate *certificate)
{
	struct syncd *d = data;
	int r = identity_keep_certificate(d->cluster.dir, certificate);

	if (r < 0)
		log_errno(r, "cannot keep the new certificate of this host");
	d->cluster.identity->certificate = *certificate;
	log_notice("this host has certificate %llu", (unsigned long long)certificate->serial);
	sign_anew(d);
	d->cluster.identity_stamp = identity_stamp(d->cluster.dir);
}

static void on_renewal(void *data, const struct certificate *certificate)
{
	struct syncd *d = data;
	int r = xport_renew(d->cluster.xport, certificate);

	if (r < 0)
		log_errno(r, "the new certificate of host %s is not handed out", certificate->name);
}

/* Certificates that the CA here has made for others. */
static void hand_out_renewals(struct syncd *d)
{
	int r = identity_each_renewal(d->cluster.dir, on_renewal, d);

	if (r < 0)
		log_errno(r, "%s/renewals", d->cluster.dir);
}

static void on_xport(void *data, uint32_t events)
{
	struct syncd *d = data;

	(void)events;
	if (d->cluster.xport)
		xport_serve(d->cluster.xport, d->loop.now_ms);
}

static int open_xport(struct syncd *d, struct identity *identity)
{
	struct cluster *cluster = &d->cluster;
	const struct xport_config config = {
		.identity = identity,
		.life = cluster->life,
		.address = cluster->config.address,
		.files = d->files,
		.data = d,
		.on_datagram = on_message,
		.on_frame = on_message,
		.on_bulk_ready = on_bulk_ready,
		.on_charter = on_charter,
		.on_renewed = on_renewed,
	};
	int r = xport_open(&config, d->loop.now_ms, &cluster->xport);

	if (r < 0)
		return log_errno(r, "cannot listen on %s and the port behind it", config.address);
	r = loop_add(&d->loop, xport_fd(cluster->xport), EPOLLIN, on_xport, d);
	return r < 0 ? log_errno(r, "cannot watch the network") : 0;
}

/* ---- The core --------------------------------------------------------------------------------------------------- */

static void restore_record(void *data, const struct ledger *record)
{
	struct syncd *d = data;

	if (sync_restore(d->cluster.sync, record) < 0)
		log_warning("a record of the ledger is not understood, and left out");
}

static int restore_manifest(struct syncd *d)
{
	struct manifest manifest;
	uint32_t writer;
	int r = disk_manifest_read(&d->disk, &manifest, &writer);

	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : sync_policy_restore(d->cluster.sync, &manifest, writer);
}

static int start_core(struct syncd *d)
{
	struct cluster *cluster = &d->cluster;
	const struct sync_config config = {
		.host = cluster->host,
		.life = cluster->life,
		.name = cluster->config.name,
		.address = cluster->config.address,
		.seeds = cluster->config.seeds,
		.nr_seeds = cluster->config.nr_seeds,
		.replicas = cluster->config.replicas,
		.min_age_ms = MIN_AGE_MS,
		.replica_room = REPLICA_ROOM,
		.writer = cluster->config.writer,
		.shared_store = cluster->config.etcd != NULL,
	};
	int r;

	cluster->env = cluster_env;
	cluster->env.data = d;
	cluster->sync = sync_new(&config, &cluster->env, d->loop.now_ms);
	if (!cluster->sync)
		return log_errno(-ENOMEM, "cannot start the cluster's state machine");
	/* What the ledger leaves open the datapath knows. */
	datapath_start(d);
	ledger_each(&d->disk.ledger, restore_record, d);
	r = signatures_publish(d);
	if (r < 0)
		return log_errno(r, "cannot sign what this host tells");
	vports_start(d);
	r = restore_manifest(d);
	if (r == 0)
		r = shared_store_open(d);
	if (r == 0)
		r = sync_start(cluster->sync);
	if (r == 0)
		generations_start(d);
	return r;
}

static void wait_for(struct syncd *d, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void wait_for(struct syncd *d, const char *format, ...)
{
	char text[sizeof(d->cluster.waits_for)];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (strcmp(text, d->cluster.waits_for) == 0)
		return;
	strcpy(d->cluster.waits_for, text);
	if (text[0])
		log_notice("not in the cluster yet: %s", text);
}

static void stop(struct syncd *d)
{
	struct cluster *cluster = &d->cluster;

	if (cluster->sync) {
		queries_stop(d);
		moves_stop(d);
		datapath_stop(d);
	}
	shared_store_close(d);
	sync_free(cluster->sync);
	cluster->sync = NULL;
	if (cluster->xport) {
		loop_remove(&d->loop, xport_fd(cluster->xport));
		xport_close(cluster->xport);
		cluster->xport = NULL;
	}
	identity_free(cluster->identity);
	cluster->identity = NULL;
	signatures_free(&d->signatures);
	config_free(&cluster->config);
	cluster->leave_ms = 0;
}

/* Two copies: the transport takes one. */
static int load_identity(struct syncd *d, struct identity **one, struct identity **other)
{
	int r = identity_load(d->cluster.dir, one);

	if (r == 0)
		r = identity_load(d->cluster.dir, other);
	return r;
}

static int start(struct syncd *d)
{
	struct cluster *cluster = &d->cluster;
	struct identity *identity = NULL;
	char path[PATH_MAX];
	int r = config_read(folder_file(cluster, "cluster.json", path), &cluster->config);

	if (r < 0)
		return r;
	peers_read(d, cluster->config.seeds, &cluster->config.nr_seeds,
		   ARRAY_SIZE(cluster->config.seeds));
	cluster->identity_stamp = identity_stamp(cluster->dir);
	r = load_identity(d, &cluster->identity, &identity);
	if (r < 0) {
		log_errno(r, "cannot read key, certificate and charter of this host in %s",
			  cluster->dir);
		identity_free(identity);
		return r;
	}
	cluster->host = identity->certificate.host;
	r = disk_next_life(&d->disk, &cluster->life);
	if (r < 0) {
		identity_free(identity);
		return r;
	}
	r = open_xport(d, identity);
	if (r < 0)
		return r;
	hand_out_renewals(d);
	return start_core(d);
}

static void try_start(struct syncd *d)
{
	struct cluster *cluster = &d->cluster;
	char path[PATH_MAX];
	int r;

	cluster->config_stamp = stamp_of(folder_file(cluster, "cluster.json", path));
	if (!cluster->config_stamp) {
		wait_for(d, "%s", "");
		return;
	}
	/* A host that tells of no ports would be taken for one that has none any more. */
	if (!vports_known(d)) {
		wait_for(d, "dfwd has not told of its vports");
		return;
	}
	log_error_forget();
	r = start(d);
	if (r < 0) {
		wait_for(d, "%s", log_error_text());
		stop(d);
		return;
	}
	wait_for(d, "%s", "");
	log_notice("host %s (%u) of the cluster, at %s, life %u", cluster->config.name,
		   cluster->host, cluster->config.address, cluster->life);
}

/* ---- Files that change ------------------------------------------------------------------------------------------ */

static void follow_identity(struct syncd *d)
{
	struct cluster *cluster = &d->cluster;
	uint64_t stamp = identity_stamp(cluster->dir);
	struct identity *own = NULL, *identity = NULL;
	int r;

	if (stamp == cluster->identity_stamp)
		return;
	cluster->identity_stamp = stamp;
	r = load_identity(d, &own, &identity);
	if (r == 0) {
		r = xport_identity(cluster->xport, TAKE_PTR(identity));
		if (r == 0) {
			identity_free(cluster->identity);
			cluster->identity = TAKE_PTR(own);
			hand_out_renewals(d);
			sign_anew(d);
			remote_changed(d);
			log_notice("key, certificate and charter of this host are read again");
		}
	}
	if (r < 0)
		log_errno(r, "the new key or certificate in %s is not used", cluster->dir);
	identity_free(own);
	identity_free(identity);
}

static void look(struct syncd *d)
{
	struct cluster *cluster = &d->cluster;
	char path[PATH_MAX];

	cluster->look_ms = d->loop.now_ms + LOOK_MS;
	if (!cluster->sync) {
		try_start(d);
		return;
	}
	if (stamp_of(folder_file(cluster, "cluster.json", path)) != cluster->config_stamp) {
		log_notice("%s has changed: beginning anew", path);
		stop(d);
		try_start(d);
		return;
	}
	follow_identity(d);
}

void cluster_reload(struct syncd *d)
{
	look(d);
}

/* ---- Leaving ---------------------------------------------------------------------------------------------------- */

int cluster_leave(struct syncd *d, struct control_call *call)
{
	int r = cluster_ready(d);

	if (r < 0)
		return r;
	if (d->cluster.leave_ms) {
		log_error("this host is leaving already");
		return -EALREADY;
	}
	sync_leave(d->cluster.sync);
	d->cluster.leave_ms = d->loop.now_ms + LEAVE_MS;
	d->cluster.leave_call = call;
	return 0;
}

/* What a later life in another cluster must not find. The count of lives stays: it may be this cluster again. */
static void finish_leaving(struct syncd *d)
{
	static const char *const files[] = {"cluster.json", "host.key",	    "host.cert",
					    "charter",	    "etcd-ca.pem",  "etcd-cert.pem",
					    "etcd-key.pem", "etcd-password"};
	char path[PATH_MAX];

	log_notice("this host has left the cluster");
	stop(d);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (unlink(folder_file(&d->cluster, files[i], path)) < 0 && errno != ENOENT)
			log_errno(-errno, "%s", path);
	disk_forget(&d->disk);
	remote_left(d);
	control_done(TAKE_PTR(d->cluster.leave_call), NULL);
}

/* ---- Turns ------------------------------------------------------------------------------------------------------ */

void cluster_init(struct syncd *d)
{
	snprintf(d->cluster.dir, sizeof(d->cluster.dir), "%s/cluster", d->state_dir);
}

void cluster_close(struct syncd *d)
{
	stop(d);
}

void cluster_turn(struct syncd *d)
{
	struct cluster *cluster = &d->cluster;

	if (cluster->leave_ms && d->loop.now_ms >= cluster->leave_ms)
		finish_leaving(d);
	if (d->loop.now_ms >= cluster->look_ms)
		look(d);
	loop_wake(&d->loop, cluster->look_ms);
	if (!cluster->sync)
		return;
	if (d->loop.now_ms >= xport_next(cluster->xport))
		xport_serve(cluster->xport, d->loop.now_ms);
	shared_store_turn(d);
	if (d->loop.now_ms >= sync_next(cluster->sync))
		sync_tick(cluster->sync, d->loop.now_ms);
	loop_wake(&d->loop, xport_next(cluster->xport));
	loop_wake(&d->loop, sync_next(cluster->sync));
	if (cluster->leave_ms)
		loop_wake(&d->loop, cluster->leave_ms);
}

/* ---- Names ------------------------------------------------------------------------------------------------------ */

int cluster_ready(const struct syncd *d)
{
	if (d->cluster.sync)
		return 0;
	if (d->cluster.waits_for[0])
		log_error("this host is not in its cluster yet: %s", d->cluster.waits_for);
	else
		log_error("this host is in no cluster: `dfwctl cluster init` or `join` makes it a "
			  "member");
	return -ENOTCONN;
}

const char *cluster_host_name(const struct syncd *d, uint32_t host, char *text)
{
	struct host_info info;

	if (host == d->cluster.host)
		snprintf(text, WIRE_TEXT_LEN, "%s", d->cluster.config.name);
	else if (sync_host_info(d->cluster.sync, host, &info) == 0)
		snprintf(text, WIRE_TEXT_LEN, "%s", info.name);
	else
		snprintf(text, WIRE_TEXT_LEN, "%u", host);
	return text;
}

struct search {
	const struct syncd *d;
	const char *name;
	uint32_t host;
};

static void match(void *data, const struct member_record *member)
{
	struct search *search = data;
	char text[WIRE_TEXT_LEN];

	if (strcmp(cluster_host_name(search->d, member->host, text), search->name) == 0)
		search->host = member->host;
}

uint32_t cluster_host_find(const struct syncd *d, const char *name)
{
	struct search search = {.d = d, .name = name};

	if (strcmp(name, d->cluster.config.name) == 0)
		return d->cluster.host;
	sync_each_member(d->cluster.sync, match, &search);
	return search.host;
}
