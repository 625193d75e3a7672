// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/shared_store.h"
#include "sync/daemon/vport_text.h"
#include "sync/etcd/record.h"
#include "sync/secure/signature.h"

/* ---- Signatures -------------------------------------------------------------------------------------------------- */

/* The writer's certificate comes with its signature: whoever reads the manifest may never have spoken to the writer. It
 * is an operator's: a stolen host that is none must not give others a policy. */
static int sign(void *data, const void *bytes, size_t nr, uint8_t *signature,
		uint16_t *signature_nr)
{
	const struct syncd *d = data;
	const struct identity *identity = d->cluster.identity;
	uint8_t made[SIGNATURE_BYTES];
	struct writer writer;

	signature_make(SIGNED_MANIFEST, bytes, nr, &identity->secret, made);
	writer_init(&writer, signature, RECORD_SIGNATURE_MAX);
	put_slice(&writer, (struct slice){identity->certificate.bytes, identity->certificate.nr});
	put_bytes(&writer, made, sizeof(made));
	*signature_nr = (uint16_t)writer_used(&writer);
	return writer.full ? -EMSGSIZE : 0;
}

static int verify(void *data, uint32_t author, const void *bytes, size_t nr, struct slice signature)
{
	const struct syncd *d = data;
	uint8_t made[SIGNATURE_BYTES];
	struct certificate certificate;
	struct reader reader;
	struct slice text;
	int r;

	reader_init(&reader, signature.bytes, signature.nr);
	get_slice(&reader, &text);
	get_bytes(&reader, made, sizeof(made));
	if (reader.bad || certificate_open(&certificate, text.bytes, text.nr) < 0 ||
	    certificate.host != author)
		return -EKEYREJECTED;
	r = charter_admits(&d->cluster.identity->charter, &certificate);
	/* A CA key that is not trusted may be one that the next charter brings. */
	if (r == -EKEYREJECTED)
		return -ENOKEY;
	if (r < 0 || !(certificate.roles & ROLE_OPERATOR))
		return -EKEYREJECTED;
	return signature_right(SIGNED_MANIFEST, bytes, nr, &certificate.key, made) ? 0
										   : -EKEYREJECTED;
}

/* ---- What etcd says ---------------------------------------------------------------------------------------------- */

static void learned(void *data, uint64_t revision, const struct manifest *manifest, uint32_t writer)
{
	const struct syncd *d = data;

	sync_policy_learn(d->cluster.sync, d->loop.now_ms, revision, manifest, writer);
}

static void committed(void *data, int result)
{
	const struct syncd *d = data;

	sync_policy_committed(d->cluster.sync, d->loop.now_ms, result);
}

static void object_came(void *data)
{
	const struct syncd *d = data;

	sync_policy_object(d->cluster.sync, d->loop.now_ms);
}

static void on_ready(void *data, uint32_t events)
{
	const struct syncd *d = data;

	(void)events;
	etcd_serve(d->cluster.etcd, d->loop.now_ms);
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

/* The file of the cluster folder, if it is there. */
static const char *file_of(const struct syncd *d, const char *name, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s", d->cluster.dir, name);
	return access(path, F_OK) == 0 ? path : NULL;
}

static int read_urls(const json_t *list, const char *urls[HTTP_URLS_MAX], size_t *nr)
{
	const json_t *url;
	size_t i;

	*nr = 0;
	json_array_foreach (list, i, url) {
		if (i == HTTP_URLS_MAX || !json_is_string(url)) {
			log_error("cluster.json: store: etcd: 1 to %d URLs are wanted",
				  HTTP_URLS_MAX);
			return -EINVAL;
		}
		urls[(*nr)++] = json_string_value(url);
	}
	return 0;
}

int shared_store_open(struct syncd *d)
{
	char ca[PATH_MAX], certificate[PATH_MAX], key[PATH_MAX], password[PATH_MAX];
	char prefix[RECORD_PREFIX_MAX], cluster[UUID_TEXT_LEN];
	const char *urls[HTTP_URLS_MAX];
	struct etcd_config config = {
		.http = {.urls = urls,
			 .ca_file = file_of(d, "etcd-ca.pem", ca),
			 .certificate_file = file_of(d, "etcd-cert.pem", certificate),
			 .key_file = file_of(d, "etcd-key.pem", key)},
		.prefix = prefix,
		.password_file = file_of(d, "etcd-password", password),
		.host = d->cluster.host,
		.random = cluster_env.random,
		.data = d,
		.sign = sign,
		.verify = verify,
		.object_get = cluster_env.object_get,
		.object_put = cluster_env.object_put,
		.learned = learned,
		.committed = committed,
		.object_came = object_came,
	};
	int r;

	if (!d->cluster.config.etcd)
		return 0;
	snprintf(prefix, sizeof(prefix), "/dfw/%s/",
		 uuid_format(d->cluster.identity->certificate.cluster, cluster));
	r = read_urls(d->cluster.config.etcd, urls, &config.http.nr_urls);
	if (r == 0)
		r = etcd_open(&config, d->loop.now_ms, &d->cluster.etcd);
	if (r == 0)
		r = loop_add(&d->loop, etcd_fd(d->cluster.etcd), EPOLLIN, on_ready, d);
	return r < 0 ? log_errno(r, "cannot use etcd as the policy store") : 0;
}

void shared_store_close(struct syncd *d)
{
	if (!d->cluster.etcd)
		return;
	loop_remove(&d->loop, etcd_fd(d->cluster.etcd));
	etcd_close(d->cluster.etcd);
	d->cluster.etcd = NULL;
}

void shared_store_turn(struct syncd *d)
{
	if (!d->cluster.etcd)
		return;
	if (d->loop.now_ms >= etcd_next(d->cluster.etcd))
		etcd_serve(d->cluster.etcd, d->loop.now_ms);
	loop_wake(&d->loop, etcd_next(d->cluster.etcd));
}

bool shared_store_writable(const struct syncd *d)
{
	return d->cluster.identity->certificate.roles & ROLE_OPERATOR;
}

int shared_store_commit(void *data, uint64_t revision, const struct manifest *next)
{
	const struct syncd *d = data;

	if (!d->cluster.etcd)
		return -ENOTCONN;
	return shared_store_writable(d) ? etcd_commit(d->cluster.etcd, revision, next) : -EPERM;
}

void shared_store_want(void *data, const struct digest *name)
{
	const struct syncd *d = data;

	if (d->cluster.etcd)
		etcd_want(d->cluster.etcd, name);
}

/* ---- Telling ----------------------------------------------------------------------------------------------------- */

void shared_store_explain(const struct syncd *d, int result)
{
	const char *error = d->cluster.etcd ? etcd_status(d->cluster.etcd).error : "";

	switch (result) {
	case -EPERM:
		log_error("only a host that is an operator may write the policy: others would not "
			  "follow this one");
		break;
	case -ENOTCONN:
	case -EHOSTUNREACH:
		log_error("the policy store does not answer: %s; nothing was changed", error);
		break;
	case -ETIMEDOUT:
		log_error("the policy store did not answer in time: %s; the policy may or may not "
			  "come into force, `dfwctl cluster status` will tell",
			  error);
		break;
	case -EACCES:
		log_error("this host's user of etcd may not write; nothing was changed");
		break;
	case -ENOSPC:
		log_error("etcd has no space left: it wants to be compacted and defragmented; "
			  "nothing was changed");
		break;
	default:
		log_error("the policy store refuses: %s; nothing was changed", strerror(-result));
	}
}

json_t *shared_store_json(const struct syncd *d)
{
	const struct etcd_counters *counters;
	struct etcd_status status;
	json_t *json;

	if (!d->cluster.etcd)
		return json_null();
	status = etcd_status(d->cluster.etcd);
	counters = etcd_counters(d->cluster.etcd);
	json = json_pack("{s:s, s:b, s:b, s:I, s:I, s:s}", "endpoint", status.endpoint, "reachable",
			 status.reachable, "watching", status.watching, "since_ms",
			 (json_int_t)(d->loop.now_ms - status.since_ms), "revision",
			 (json_int_t)status.revision, "error", status.error);
#define ETCD_COUNTER(name, help) \
	json_object_set_new(json, #name, json_integer((json_int_t)counters->name));
	ETCD_COUNTERS(ETCD_COUNTER)
#undef ETCD_COUNTER
	return json;
}
