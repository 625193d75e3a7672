// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "file.h"
#include "log.h"
#include "sync/etcd/client.h"

#define READ_MS		  10000 /* the manifest is read again, whatever the watch says */
#define COMMIT_TIMEOUT_MS 10000
#define COMMIT_ROUNDS	  3 /* objects that vanish between upload and swap: twice is bad luck */
#define PASSWORD_FILE_MAX 1024

void key_of(const struct etcd *etcd, char key[KEY_LEN], const char *format, ...)
{
	int nr = snprintf(key, KEY_LEN, "%s", etcd->prefix);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(key + nr, (size_t)(KEY_LEN - nr), format, arguments);
	va_end(arguments);
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* Who wrote a record, and that it is what was written: 0; -ENOKEY: it cannot be said yet. */
static int verify(struct etcd *etcd, const struct record *record)
{
	uint8_t bytes[RECORD_SIGNED_MAX];
	size_t nr = record_signed(etcd->prefix, record->body, bytes);

	return etcd->config.verify(etcd->config.data, record->writer, bytes, nr, record->signature);
}

/* A record that cannot be judged here is left alone (S4): the core is not told. */
static void learn_record(struct etcd *etcd, struct slice bytes)
{
	struct record record;
	int r = record_parse(bytes, &record);

	if (r == -EPROTO) {
		etcd->counters.too_new++;
		return;
	}
	if (r < 0) {
		etcd->counters.bad_records++;
		etcd->config.learned(etcd->config.data, etcd->revision, NULL, 0);
		return;
	}
	r = verify(etcd, &record);
	if (r == -ENOKEY) {
		etcd->counters.unknown_writers++;
		return;
	}
	if (r < 0) {
		etcd->counters.bad_signatures++;
		etcd->config.learned(etcd->config.data, etcd->revision, NULL, 0);
		return;
	}
	etcd->manifest = record.manifest;
	etcd->config.learned(etcd->config.data, etcd->revision, &record.manifest, record.writer);
}

static void remember(struct etcd *etcd, uint64_t revision, const void *record, size_t nr)
{
	if (etcd->revision != revision)
		etcd->prune = false;
	etcd->revision = revision;
	etcd->record_nr = nr <= sizeof(etcd->record) ? (uint16_t)nr : 0;
	if (etcd->record_nr)
		memcpy(etcd->record, record, etcd->record_nr);
}

/* `pair` NULL: there is no manifest. */
static void learn(struct etcd *etcd, const struct etcd_pair *pair)
{
	if (!pair) {
		remember(etcd, 0, NULL, 0);
		etcd->config.learned(etcd->config.data, 0, NULL, 0);
		return;
	}
	remember(etcd, pair->revision, pair->value, pair->nr);
	learn_record(etcd, pair->nr > UINT16_MAX ? (struct slice){0}
						 : (struct slice){pair->value, (uint16_t)pair->nr});
}

static void on_read(struct etcd *etcd, const struct etcd_answer *answer)
{
	const struct etcd_pair *pair;
	char key[KEY_LEN];

	key_of(etcd, key, "manifest");
	pair = etcd_answer_find(answer, key);
	if (etcd->periodic && etcd->watch.created && !etcd->watch.changed &&
	    etcd->revision != (pair ? pair->revision : 0))
		etcd->counters.lost_events++;
	etcd->counters.reads++;
	etcd->read_ms = etcd->now_ms + READ_MS;
	lane_end(etcd);
	learn(etcd, pair);
}

void read_begin(struct etcd *etcd)
{
	char key[KEY_LEN];

	key_of(etcd, key, "manifest");
	lane_post(etcd, "/v3/kv/range", etcd_range(key, NULL), on_read);
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static int prepare(struct etcd *etcd)
{
	struct commit *commit = &etcd->commit;
	uint8_t bytes[RECORD_SIGNED_MAX], signature[RECORD_SIGNATURE_MAX];
	uint16_t nr = 0;
	size_t covered;
	int r;

	r = record_begin(&commit->next, etcd->config.host, commit->record, &commit->nr);
	if (r < 0)
		return r;
	covered = record_signed(etcd->prefix, (struct slice){commit->record, commit->nr}, bytes);
	r = etcd->config.sign(etcd->config.data, bytes, covered, signature, &nr);
	if (r == 0)
		r = record_end((struct slice){signature, nr}, commit->record, &commit->nr);
	return r;
}

void commit_begin(struct etcd *etcd)
{
	struct commit *commit = &etcd->commit;
	int r = commit->prepared ? 0 : prepare(etcd);

	if (r < 0) {
		commit_end(etcd, r);
		lane_end(etcd);
		return;
	}
	commit->prepared = true;
	upload_begin(etcd);
}

void commit_end(struct etcd *etcd, int result)
{
	etcd->commit.wanted = false;
	etcd->due &= ~JOB_BIT(JOB_COMMIT);
	etcd->counters.unknown_writes += result == -ETIMEDOUT;
	etcd->config.committed(etcd->config.data, result);
}

static void commit_done(struct etcd *etcd, uint64_t revision)
{
	struct commit *commit = &etcd->commit;

	remember(etcd, revision, commit->record, commit->nr);
	etcd->manifest = commit->next;
	etcd->prune = !commit->next.staged.number;
	if (etcd->prune)
		want_job(etcd, JOB_HISTORY);
	etcd->config.learned(etcd->config.data, revision, &commit->next, etcd->config.host);
	commit_end(etcd, 0);
}

static void on_swap(struct etcd *etcd, const struct etcd_answer *answer)
{
	struct commit *commit = &etcd->commit;
	const struct etcd_pair *pair;
	char key[KEY_LEN];

	lane_end(etcd);
	if (answer->succeeded) {
		commit_done(etcd, answer->revision);
		return;
	}
	key_of(etcd, key, "manifest");
	pair = etcd_answer_find(answer, key);
	if (pair && pair->nr == commit->nr && !memcmp(pair->value, commit->record, commit->nr)) {
		/* The answer to an earlier try was lost, or there is nothing to do. */
		commit_done(etcd, pair->revision);
	} else if ((pair ? pair->revision : 0) == commit->revision &&
		   etcd->revision == commit->revision && ++commit->rounds < COMMIT_ROUNDS) {
		/* Then it was an object that was not there. */
		want_job(etcd, JOB_COMMIT);
	} else {
		etcd->counters.conflicts++;
		upload_void(etcd);
		learn(etcd, pair);
		commit_end(etcd, -EAGAIN);
	}
}

/* Law E4. */
void swap_begin(struct etcd *etcd)
{
	const struct commit *commit = &etcd->commit;
	const struct generation *generations[] = {&commit->next.active, &commit->next.staged};
	char key[KEY_LEN], object[KEY_LEN], end[KEY_LEN];
	struct etcd_txn txn;

	txn_begin(&txn);
	key_of(etcd, key, "manifest");
	txn_if_revision(&txn, key, commit->revision);
	if (commit->revision && commit->revision == etcd->revision && etcd->record_nr)
		txn_if_value(&txn, key, etcd->record, etcd->record_nr);
	txn_put(&txn, key, commit->record, commit->nr);
	txn_else_range(&txn, key);
	for (size_t i = 0; i < ARRAY_SIZE(generations); i++) {
		for (size_t j = 0; j < generations[i]->nr_objects; j++) {
			object_keys(etcd, &generations[i]->objects[j], object, end);
			txn_if_there(&txn, object);
		}
	}
	key_of(etcd, key, "generation/%010" PRIu32,
	       commit->next.staged.number ? commit->next.staged.number
					  : commit->next.active.number);
	txn_put(&txn, key, commit->record, commit->nr);
	etcd->swapping = true;
	lane_post(etcd, "/v3/kv/txn", txn.object, on_swap);
}

int etcd_commit(struct etcd *etcd, uint64_t revision, const struct manifest *next)
{
	if (etcd->commit.wanted)
		return -EBUSY;
	etcd->commit = (struct commit){.wanted = true,
				       .revision = revision,
				       .next = *next,
				       .deadline_ms = etcd->now_ms + COMMIT_TIMEOUT_MS};
	want_job(etcd, JOB_COMMIT);
	return 0;
}

/* ---- User and password ------------------------------------------------------------------------------------------- */

static void on_login(struct etcd *etcd, const struct etcd_answer *answer)
{
	if (!answer->token || http_authorize(etcd->http, answer->token) < 0) {
		lane_fail(etcd, &etcd->counters.bad_answers, "no token");
		return;
	}
	etcd->logged_in = etcd->unproven = true;
	lane_end(etcd);
}

void login_begin(struct etcd *etcd)
{
	http_authorize(etcd->http, NULL);
	lane_post(etcd, "/v3/auth/authenticate", etcd_authenticate(etcd->user, etcd->password),
		  on_login);
}

/* USER:PASSWORD, readable for nobody else. */
static int read_password(struct etcd *etcd, const char *path)
{
	_cleanup_free_ char *text = NULL;
	struct stat status;
	char *colon;
	size_t nr;
	int r;

	if (stat(path, &status) < 0)
		return log_errno(-errno, "%s", path);
	if (status.st_mode & 077) {
		log_error("%s: others may read it (mode %03o): it holds a password, make it 600",
			  path, status.st_mode & 0777);
		return -EPERM;
	}
	r = file_read(path, PASSWORD_FILE_MAX, &text, &nr);
	if (r < 0)
		return log_errno(r, "%s", path);
	text[strcspn(text, "\r\n")] = '\0';
	colon = strchr(text, ':');
	if (!colon || colon == text) {
		log_error("%s: its first line is not USER:PASSWORD", path);
		r = -EINVAL;
	} else {
		*colon = '\0';
		etcd->user = strdup(text);
		etcd->password = strdup(colon + 1);
		r = etcd->user && etcd->password ? 0 : -ENOMEM;
	}
	sodium_memzero(text, nr);
	return r;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

int etcd_open(const struct etcd_config *config, int64_t now_ms, struct etcd **out)
{
	struct etcd *etcd = calloc(1, sizeof(*etcd));
	int r;

	if (!etcd)
		return -ENOMEM;
	if (strlen(config->prefix) > RECORD_PREFIX_MAX) {
		free(etcd);
		return -EINVAL;
	}
	etcd->config = *config;
	etcd->now_ms = etcd->since_ms = now_ms;
	snprintf(etcd->prefix, sizeof(etcd->prefix), "%s", config->prefix);
	r = http_open(&config->http, &etcd->http);
	if (r == 0 && config->password_file)
		r = read_password(etcd, config->password_file);
	if (r < 0) {
		etcd_close(etcd);
		return r;
	}
	want_job(etcd, JOB_READ);
	if (etcd->user)
		want_job(etcd, JOB_LOGIN);
	*out = etcd;
	return 0;
}

void etcd_close(struct etcd *etcd)
{
	if (!etcd)
		return;
	http_close(etcd->http);
	if (etcd->password)
		sodium_memzero(etcd->password, strlen(etcd->password));
	free(etcd->password);
	free(etcd->user);
	free(etcd->want.bytes);
	free(etcd);
}

int etcd_fd(const struct etcd *etcd)
{
	return http_fd(etcd->http);
}

static bool is_pending(const struct etcd *etcd, enum job job)
{
	return etcd->job == job || etcd->due & JOB_BIT(job);
}

void etcd_serve(struct etcd *etcd, int64_t now_ms)
{
	etcd->now_ms = now_ms;
	http_serve(etcd->http, now_ms);
	watch_serve(etcd);
	if (now_ms >= etcd->read_ms && !is_pending(etcd, JOB_READ)) {
		etcd->periodic = true;
		etcd->read_ms = now_ms + READ_MS;
		want_job(etcd, JOB_READ);
	}
	if (etcd->commit.wanted && etcd->job != JOB_COMMIT && now_ms >= etcd->commit.deadline_ms)
		commit_end(etcd, etcd->commit.sent ? -ETIMEDOUT : -EHOSTUNREACH);
	lane_serve(etcd);
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t etcd_next(const struct etcd *etcd)
{
	int64_t next = sooner(http_next(etcd->http), watch_next(etcd));

	if (!is_pending(etcd, JOB_READ))
		next = sooner(next, etcd->read_ms);
	if (etcd->commit.wanted && etcd->job != JOB_COMMIT)
		next = sooner(next, etcd->commit.deadline_ms);
	if (etcd->due && etcd->job == JOB_NONE)
		next = sooner(next, etcd->retry_ms);
	return next;
}

const struct etcd_counters *etcd_counters(const struct etcd *etcd)
{
	return &etcd->counters;
}

struct etcd_status etcd_status(const struct etcd *etcd)
{
	return (struct etcd_status){
		.endpoint = http_url(etcd->http, etcd->endpoint),
		.reachable = etcd->reachable,
		.watching = etcd->watch.created && etcd->watch.call,
		.since_ms = etcd->since_ms,
		.revision = etcd->revision,
		.error = etcd->error,
	};
}
