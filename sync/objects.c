// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "sync/core.h"

/* Policy objects: fetched from who has them, one at a time, and taken only if their hash is the name (P2). */

#define RETRY_MS	 1000
#define FETCH_FIRST_MS	 250  /* an answer has so long, the next one twice as long, */
#define FETCH_LAST_MS	 1000 /* up to this: where all hosts fetch at once some must wait */
#define STORE_TIMEOUT_MS 2000
#define CHUNK_BYTES	 32768
#define OBJECT_MAX	 (16U << 20)

/* A host that has the generation; the writer when no other is found. */
static uint32_t holder(const struct sync *sync, uint32_t generation)
{
	for (size_t tries = 0; tries < 8; tries++) {
		uint32_t host = members_random(&sync->members);
		struct host_info info;

		if (host && !sync_host_info(sync, host, &info) &&
		    (info.staged == generation || info.active == generation))
			return host;
	}
	return sync->policy.writer;
}

static void send_object_get(struct sync *sync)
{
	struct policy *policy = &sync->policy;
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_object_get(&packet,
		       &(struct object_get){.name = policy->fetching, .offset = policy->nr});
	sync->env->send(sync->env->data, policy->fetch_from, bytes, writer_used(&packet));
	policy->fetch_ms = sync->now + (FETCH_FIRST_MS << policy->fetch_tries);
}

static void fetch_end(struct policy *policy)
{
	free(policy->bytes);
	policy->bytes = NULL;
	policy->nr = policy->total = 0;
	policy->is_fetching = policy->asked_store = false;
	policy->fetch_tries = 0;
}

void objects_free(struct sync *sync)
{
	fetch_end(&sync->policy);
}

void objects_fetch(struct sync *sync, const struct digest *name, uint32_t generation)
{
	struct policy *policy = &sync->policy;

	if (policy->is_fetching && memcmp(&policy->fetching, name, sizeof(*name)) != 0)
		fetch_end(policy);
	if (policy->is_fetching && sync->now < policy->fetch_ms)
		return;
	/* What has come so far is kept: all holders have the same bytes. */
	policy->fetch_tries +=
		policy->is_fetching && FETCH_FIRST_MS << policy->fetch_tries < FETCH_LAST_MS;
	policy->is_fetching = true;
	policy->fetching = *name;
	policy->asked_store = sync->config.shared_store && !policy->asked_store;
	if (policy->asked_store) {
		sync->env->object_want(sync->env->data, name);
		policy->fetch_ms = sync->now + STORE_TIMEOUT_MS;
		return;
	}
	policy->fetch_from = holder(sync, generation);
	if (policy->fetch_from != sync->config.host)
		send_object_get(sync);
	else
		policy->fetch_ms = sync->now + RETRY_MS;
}

void sync_policy_object(struct sync *sync, int64_t wall)
{
	advance(sync, wall);
	fetch_end(&sync->policy);
	sync->policy.retry_ms = sync->now;
	wake(sync, sync->now);
}

void policy_on_object_get(struct sync *sync, uint32_t from, const struct object_get *message)
{
	uint8_t bytes[CHUNK_BYTES + 128];
	struct writer packet;
	const uint8_t *object;
	uint32_t total, nr;

	object = sync->env->object_get(sync->env->data, &message->name, &total);
	if (!object || message->offset > total)
		return;
	nr = total - message->offset < CHUNK_BYTES ? total - message->offset : CHUNK_BYTES;
	packet_begin(&packet, bytes, sizeof(bytes));
	put_object(&packet, &(struct object){.name = message->name,
					     .offset = message->offset,
					     .total = total,
					     .data = {object + message->offset, (uint16_t)nr}});
	/* No credit: it will be asked for again. */
	if (writer_used(&packet) <= WIRE_DATAGRAM)
		sync->env->send(sync->env->data, from, bytes, writer_used(&packet));
	else
		sync->env->bulk(sync->env->data, from, bytes, writer_used(&packet));
}

void policy_on_object(struct sync *sync, uint32_t from, const struct object *message)
{
	struct policy *policy = &sync->policy;

	if (!policy->is_fetching || from != policy->fetch_from || message->offset != policy->nr ||
	    memcmp(&message->name, &policy->fetching, sizeof(message->name)) != 0 ||
	    message->total > OBJECT_MAX || message->data.nr > message->total - message->offset ||
	    (policy->bytes && message->total != policy->total))
		return;
	if (!policy->bytes) {
		policy->bytes = malloc(message->total + 1U);
		if (!policy->bytes) {
			sync->counters.no_memory++;
			return;
		}
		policy->total = message->total;
	}
	if (message->data.nr)
		memcpy(policy->bytes + policy->nr, message->data.bytes, message->data.nr);
	policy->nr += message->data.nr;
	policy->fetch_tries = 0;
	if (policy->nr < policy->total) {
		send_object_get(sync);
		return;
	}
	if (sync->env->object_put(sync->env->data, &policy->fetching, policy->bytes, policy->nr)) {
		sync->counters.bad_objects++;
		policy->retry_ms = sync->now + RETRY_MS;
	} else {
		policy->retry_ms = sync->now;
	}
	fetch_end(policy);
	wake(sync, policy->retry_ms);
}
