// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "sync/etcd/client.h"

/* A watch of the manifest: a hint that it is time to read. It may be late, lie or be silent. */

#define CREATE_MS 5000	/* it comes into force within that, or is begun anew */
#define SOUND_MS  10000 /* one that lived this long was none of the failing ones */

static void on_line(void *data, const char *line, size_t nr)
{
	struct etcd *etcd = data;
	struct watch *watch = &etcd->watch;
	struct etcd_event event;
	struct etcd_error error;
	int r;

	if (watch->over)
		return;
	r = etcd_event_parse(line, nr, &event, &error);
	if (r < 0 || event.cluster != etcd->cluster) {
		uint64_t *counter = r == -EREMOTEIO ? &etcd->counters.refused
				    : r < 0	    ? &etcd->counters.bad_answers
						    : &etcd->counters.foreign;

		++*counter;
		watch->over = true;
		return;
	}
	if (event.created && !watch->created) {
		watch->created = true;
		etcd->counters.watches++;
	}
	etcd->counters.compacted += event.compacted > 0;
	watch->changed |= event.changed;
	watch->over |= event.canceled;
}

static void on_done(void *data, const struct http_result *result)
{
	struct etcd *etcd = data;

	etcd->watch.call = NULL;
	etcd->watch.over = true;
	etcd->counters.oversized += result->error == -EMSGSIZE;
}

void watch_end(struct etcd *etcd)
{
	http_cancel(etcd->watch.call);
	etcd->watch.call = NULL;
	etcd->watch.over = true;
}

static void begin(struct etcd *etcd)
{
	struct watch *watch = &etcd->watch;
	_cleanup_json_ json_t *request = NULL;
	char key[KEY_LEN];
	char *body;

	key_of(etcd, key, "manifest");
	request = etcd_watch(key, etcd->store_revision + 1);
	body = request ? json_dumps(request, JSON_COMPACT) : NULL;
	watch->created = watch->changed = watch->over = false;
	watch->begun_ms = etcd->now_ms;
	if (!body || http_stream(etcd->http, etcd->endpoint, "/v3/watch", body, on_line, on_done,
				 etcd, &watch->call) < 0)
		watch->over = true;
}

/* Looks at what the lines said: within them nothing can be begun. */
void watch_serve(struct etcd *etcd)
{
	struct watch *watch = &etcd->watch;

	if (watch->changed) {
		watch->changed = false;
		etcd->periodic = false;
		want_job(etcd, JOB_READ);
	}
	if (watch->call && !watch->created && etcd->now_ms - watch->begun_ms >= CREATE_MS)
		watch->over = true;
	if (watch->over && watch->begun_ms) {
		/* What happened meanwhile is read; behind that the next one begins. */
		watch_end(etcd);
		watch->failures =
			etcd->now_ms - watch->begun_ms < SOUND_MS ? watch->failures + 1 : 1;
		watch->retry_ms = etcd->now_ms + backoff(etcd, watch->failures);
		watch->begun_ms = 0;
	}
	if (!watch->begun_ms && etcd->reachable && etcd->now_ms >= watch->retry_ms) {
		begin(etcd);
		etcd->periodic = false;
		want_job(etcd, JOB_READ);
	}
}

int64_t watch_next(const struct etcd *etcd)
{
	const struct watch *watch = &etcd->watch;

	if (!watch->begun_ms)
		return etcd->reachable ? watch->retry_ms : INT64_MAX;
	if (watch->over || watch->changed)
		return etcd->now_ms;
	return watch->created ? INT64_MAX : watch->begun_ms + CREATE_MS;
}
