// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include "log.h"
#include "sync/etcd/client.h"

#define CALL_TIMEOUT_MS 3000
#define BACKOFF_MS	250
#define BACKOFF_MAX_MS	10000
/* Rounds of the endpoints. */
#define COMMIT_TRIES 3 /* for what was certainly not done: who asked for it may look for himself */
#define WANT_TRIES   2 /* the core asks again, or elsewhere */

/* ---- Jobs -------------------------------------------------------------------------------------------------------- */

void want_job(struct etcd *etcd, enum job job)
{
	etcd->due |= JOB_BIT(job);
}

void lane_end(struct etcd *etcd)
{
	etcd->job = JOB_NONE;
	etcd->swapping = false;
}

/* By rank: who is logged in may write, and what is written is not read for nothing. */
void lane_serve(struct etcd *etcd)
{
	static void (*const begin[JOBS])(struct etcd *etcd) = {
		[JOB_LOGIN] = login_begin,     [JOB_COMMIT] = commit_begin,
		[JOB_READ] = read_begin,       [JOB_WANT] = download_begin,
		[JOB_HISTORY] = history_begin, [JOB_PRUNE] = prune_begin,
	};

	while (etcd->job == JOB_NONE && etcd->due && etcd->now_ms >= etcd->retry_ms) {
		etcd->job = (enum job)__builtin_ctz(etcd->due);
		etcd->due &= ~JOB_BIT(etcd->job);
		begin[etcd->job](etcd);
	}
}

/* ---- Endpoints --------------------------------------------------------------------------------------------------- */

int64_t backoff(struct etcd *etcd, unsigned int failures)
{
	int64_t pause = BACKOFF_MS;

	while (failures-- > 1 && pause < BACKOFF_MAX_MS)
		pause *= 2;
	if (pause > BACKOFF_MAX_MS)
		pause = BACKOFF_MAX_MS;
	return pause / 2 +
	       (int64_t)(etcd->config.random(etcd->config.data) % (uint64_t)(pause / 2));
}

static void set_reachable(struct etcd *etcd, bool reachable)
{
	if (etcd->told && etcd->reachable == reachable)
		return;
	if (reachable)
		log_notice("store: etcd at %s answers", http_url(etcd->http, etcd->endpoint));
	else
		log_warning("store: etcd does not answer: %s; the policy stays as it is",
			    etcd->error);
	etcd->told = true;
	etcd->reachable = reachable;
	etcd->since_ms = etcd->now_ms;
}

static void endpoint_works(struct etcd *etcd)
{
	etcd->failures = 0;
	etcd->error[0] = '\0';
	set_reachable(etcd, true);
}

static void endpoint_fails(struct etcd *etcd, const char *text)
{
	size_t nr = http_endpoints(etcd->http);

	snprintf(etcd->error, sizeof(etcd->error), "%s: %s", http_url(etcd->http, etcd->endpoint),
		 text);
	etcd->failures++;
	if (nr > 1) {
		etcd->endpoint = (etcd->endpoint + 1) % nr;
		etcd->counters.failovers++;
		watch_end(etcd);
	}
	if (etcd->failures % nr)
		return;
	etcd->retry_ms = etcd->now_ms + backoff(etcd, (unsigned int)(etcd->failures / nr));
	set_reachable(etcd, false);
}

/* ---- Failures ---------------------------------------------------------------------------------------------------- */

static bool commit_gives_up(struct etcd *etcd)
{
	struct commit *commit = &etcd->commit;

	if (etcd->now_ms < commit->deadline_ms &&
	    (commit->sent || ++commit->tries < COMMIT_TRIES * http_endpoints(etcd->http)))
		return false;
	commit_end(etcd, commit->sent ? -ETIMEDOUT : -EHOSTUNREACH);
	return true;
}

/* A write ends when its time is over, a wish for an object when everybody was asked; all else stays to be done. */
static bool gives_up(struct etcd *etcd)
{
	switch (etcd->job) {
	case JOB_COMMIT:
		return commit_gives_up(etcd);
	case JOB_WANT:
		return !etcd->want.wanted &&
		       ++etcd->want.tries >= WANT_TRIES * http_endpoints(etcd->http);
	case JOB_READ:
		etcd->periodic = false;
		return false;
	default:
		return false;
	}
}

void lane_fail(struct etcd *etcd, uint64_t *counter, const char *text)
{
	if (counter)
		++*counter;
	if (etcd->swapping)
		etcd->commit.sent = true;
	endpoint_fails(etcd, text);
	if (!gives_up(etcd))
		want_job(etcd, etcd->job);
	lane_end(etcd);
}

static void on_http_error(struct etcd *etcd, const struct http_result *result)
{
	uint64_t *counter;

	switch (result->error) {
	case -ETIMEDOUT:
		counter = &etcd->counters.timeouts;
		break;
	case -ECONNREFUSED:
	case -ECONNRESET:
		counter = &etcd->counters.unreachable;
		break;
	case -EMSGSIZE:
		counter = &etcd->counters.oversized;
		break;
	case -ENOMEM:
		counter = NULL;
		break;
	default:
		counter = &etcd->counters.bad_answers;
	}
	etcd->swapping = etcd->swapping && result->sent;
	lane_fail(etcd, counter, result->text);
}

/* A token ends with its time, or when users or roles change. */
static bool token_is_over(const struct etcd *etcd, const struct etcd_error *error)
{
	if (!etcd->logged_in || etcd->unproven || etcd->job == JOB_LOGIN)
		return false;
	return error->code == ETCD_UNAUTHENTICATED ||
	       (error->code == ETCD_INVALID_ARGUMENT && strstr(error->text, "auth"));
}

/* etcd has understood a write and does not take it: 0 when that is not what it says. */
static int refusal(const struct etcd_error *error)
{
	switch (error->code) {
	case ETCD_DENIED:
		return -EACCES;
	case ETCD_EXHAUSTED:
		return strstr(error->text, "space") ? -ENOSPC : 0;
	case ETCD_INVALID_ARGUMENT:
		return -EINVAL;
	default:
		return 0;
	}
}

static void on_etcd_error(struct etcd *etcd, const struct http_result *result)
{
	struct etcd_error error;
	int r;

	if (etcd_error_parse(result->body, result->nr, &error) < 0) {
		char text[64];

		snprintf(text, sizeof(text), "HTTP status %ld", result->status);
		lane_fail(etcd, &etcd->counters.bad_answers, text);
		return;
	}
	if (token_is_over(etcd, &error)) {
		etcd->logged_in = false;
		want_job(etcd, JOB_LOGIN);
		want_job(etcd, etcd->job);
		lane_end(etcd);
		return;
	}
	etcd->counters.refused++;
	etcd->counters.denied += error.code == ETCD_DENIED || error.code == ETCD_UNAUTHENTICATED ||
				 etcd->job == JOB_LOGIN;
	r = refusal(&error);
	if (r < 0 && etcd->job == JOB_COMMIT) {
		log_error("store: etcd at %s refuses a write: %s",
			  http_url(etcd->http, etcd->endpoint), error.text);
		commit_end(etcd, r);
		lane_end(etcd);
		return;
	}
	lane_fail(etcd, NULL, error.text);
}

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

static bool is_foreign(struct etcd *etcd, const struct etcd_answer *answer)
{
	if (!etcd->cluster)
		etcd->cluster = answer->cluster;
	return etcd->cluster != answer->cluster;
}

static void on_done(void *data, const struct http_result *result)
{
	_cleanup_answer_ struct etcd_answer answer = {0};
	struct etcd *etcd = data;
	int r;

	etcd->call = NULL;
	if (result->error) {
		on_http_error(etcd, result);
		return;
	}
	if (result->status != 200) {
		on_etcd_error(etcd, result);
		return;
	}
	r = etcd_answer_parse(result->body, result->nr, &answer);
	if (r < 0 || !answer.cluster) {
		lane_fail(etcd, r == -ENOMEM ? NULL : &etcd->counters.bad_answers,
			  r == -ENOMEM ? "no memory" : "no answer of etcd");
		return;
	}
	if (is_foreign(etcd, &answer)) {
		lane_fail(etcd, &etcd->counters.foreign, "belongs to another etcd cluster");
		return;
	}
	if (etcd->job != JOB_LOGIN) {
		etcd->counters.rewinds += answer.revision < etcd->store_revision;
		etcd->store_revision = answer.revision;
		etcd->unproven = false;
	}
	endpoint_works(etcd);
	etcd->answered(etcd, &answer);
}

void lane_post(struct etcd *etcd, const char *path, json_t *request, etcd_answered *answered)
{
	char *body = request ? json_dumps(request, JSON_COMPACT) : NULL;

	json_decref(request);
	etcd->answered = answered;
	etcd->counters.requests++;
	if (!body || http_post(etcd->http, etcd->endpoint, path, body, CALL_TIMEOUT_MS, on_done,
			       etcd, &etcd->call) < 0) {
		etcd->swapping = false;
		lane_fail(etcd, NULL, "no memory");
	}
}
