// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "log.h"
#include "sync/daemon/control.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/shared_store.h"
#include "view_pins.h"

#define OBJECT_MAX  (16 << 20) /* what the core carries */
#define PATIENCE_MS 10000      /* an apply waits so long for the one before it, and for this host */
#define AGAIN_MS    50
#define LONGEST_MS  20000 /* of a wait; who waits longer asks again */

/* ---- Steps of the core ------------------------------------------------------------------------------------------ */

static void forget_error(struct generations *generations)
{
	json_decref(generations->error);
	generations->error = NULL;
	generations->failed = 0;
}

static void remember_error(struct syncd *d, uint32_t generation, const struct link_packet *packet)
{
	struct generations *generations = &d->generations;
	const json_t *lines = packet ? json_object_get(packet->json, "errors") : NULL;
	json_t *error = json_incref(json_array_get(lines, 0));

	if (!error)
		error = packet ? json_incref(json_object_get(packet->json, "error"))
			       : json_string("dfwd has gone");
	/* It is tried again each second. */
	if (generations->failed != generation || !json_equal(generations->error, error))
		log_error("policy generation %u: %s", generation,
			  json_is_string(error) ? json_string_value(error)
						: "dfwd does not say why");
	forget_error(generations);
	generations->failed = generation;
	generations->error = error;
}

static int64_t now_us(void)
{
	return (int64_t)(monotonic_ns() / 1000);
}

static void step_end(struct syncd *d, struct policy_step *step, int status)
{
	step->state = STEP_DONE;
	step->result = status;
	if (d->cluster.sync)
		sync_policy_continue(d->cluster.sync, d->loop.now_ms);
}

static void on_staged(void *data, int status, const struct link_packet *packet)
{
	struct syncd *d = data;
	struct policy_step *step = &d->generations.stage;

	if (status < 0)
		remember_error(d, step->generation, packet);
	else
		forget_error(&d->generations);
	step_end(d, step, status);
}

static void on_flipped(void *data, int status, const struct link_packet *packet)
{
	struct syncd *d = data;
	struct generations *generations = &d->generations;

	if (status < 0) {
		remember_error(d, generations->flip.generation, packet);
	} else {
		generations->flipped = generations->dfwd_generation = generations->flip.generation;
		generations->flipped_us = now_us() - json_number(packet->json, "ago_us");
		log_info("policy generation %u is in force", generations->flipped);
	}
	step_end(d, &generations->flip, status);
}

/* What is known of a step; -EBADR: it has to be asked for. A failure is told once, then it is tried again. */
static int step_result(struct policy_step *step, uint32_t generation)
{
	if (step->generation != generation || step->state == STEP_NONE)
		return -EBADR;
	if (step->state == STEP_ASKED)
		return -EINPROGRESS;
	if (step->result < 0)
		step->state = STEP_NONE;
	return step->result;
}

static int step_begin(struct policy_step *step, uint32_t generation, int r)
{
	if (r < 0)
		return r;
	*step = (struct policy_step){.generation = generation, .state = STEP_ASKED};
	return -EINPROGRESS;
}

int generations_stage(struct syncd *d, const struct generation *generation)
{
	struct policy_step *step = &d->generations.stage;
	_cleanup_json_ json_t *bundle = NULL;
	char object[DIGEST_TEXT_LEN];
	const uint8_t *bytes;
	uint32_t nr;
	int r = step_result(step, generation->number);

	if (r != -EBADR)
		return r;
	bytes = generation->nr_objects ? disk_object_get(&d->disk, &generation->objects[0], &nr)
				       : NULL;
	if (bytes)
		bundle = json_loadb((const char *)bytes, nr, JSON_ALLOW_NUL, NULL);
	if (!json_is_object(bundle))
		return -EBADMSG;
	digest_format(&generation->objects[0], object);
	json_object_set_new(bundle, "object", json_string(object));
	r = dfwd_request_text(d,
			      json_pack("{s:s, s:I}", "request", "policy-stage", "generation",
					(json_int_t)generation->number),
			      bundle, on_staged, d);
	return step_begin(step, generation->number, r);
}

int generations_flip(struct syncd *d, uint32_t generation)
{
	struct policy_step *step = &d->generations.flip;
	int r = step_result(step, generation);

	if (r != -EBADR)
		return r;
	r = dfwd_request(d,
			 json_pack("{s:s, s:I}", "request", "policy-flip", "generation",
				   (json_int_t)generation),
			 NULL, 0, on_flipped, d);
	/* A flip that failed begins again with staging. */
	d->generations.stage.state = STEP_NONE;
	return step_begin(step, generation, r);
}

/* ---- What dfwd has ---------------------------------------------------------------------------------------------- */

/* The number alone would not do: before it came into the cluster the host had generations of its own. */
static bool in_force(const struct syncd *d, const struct generation *generation)
{
	char object[DIGEST_TEXT_LEN];

	return generation->number && generation->nr_objects &&
	       generation->number == d->generations.dfwd_generation &&
	       strcmp(digest_format(&generation->objects[0], object), d->generations.dfwd_object) ==
		       0;
}

void generations_start(struct syncd *d)
{
	struct manifest manifest;
	uint32_t writer;

	if (!d->cluster.sync || !dfwd_connected(d))
		return;
	d->generations.stage.state = d->generations.flip.state = STEP_NONE;
	sync_policy_manifest(d->cluster.sync, &manifest, &writer);
	sync_policy_realised(d->cluster.sync, d->loop.now_ms,
			     in_force(d, &manifest.active) ? manifest.active.number : 0);
}

void generations_on_hello(struct syncd *d, const struct link_packet *packet)
{
	struct generations *generations = &d->generations;
	const char *object = json_text(packet->json, "object");

	generations->dfwd_generation = (uint32_t)json_number(packet->json, "generation");
	generations->dfwd_last = (uint32_t)json_number(packet->json, "last");
	snprintf(generations->dfwd_object, sizeof(generations->dfwd_object), "%s",
		 object ? object : "");
	generations_start(d);
}

const char *generations_error(const struct syncd *d)
{
	const struct generations *generations = &d->generations;

	if (!generations->failed)
		return NULL;
	return json_is_string(generations->error) ? json_string_value(generations->error)
						  : "dfwd does not say why";
}

int64_t generations_flipped_ago_us(const struct syncd *d)
{
	return d->generations.flipped ? now_us() - d->generations.flipped_us : -1;
}

/* ---- Waiting for hosts ------------------------------------------------------------------------------------------ */

/* A command that is answered when a generation is realised. */
struct wait {
	struct control_call *call;
	uint32_t generation;
	bool all; /* on all living hosts; else on this one */
	int64_t deadline_ms;
	json_t *result; /* members of the answer */
	struct wait *next;
};

struct hosts {
	const struct syncd *d;
	const struct wait *wait;
	json_t *list;
	bool complete;
};

static void add_host(struct hosts *hosts, uint32_t host, uint32_t active, const char *error)
{
	char name[WIRE_TEXT_LEN];
	bool realised = active >= hosts->wait->generation;

	hosts->complete &= realised;
	json_array_append_new(hosts->list,
			      json_pack("{s:s, s:I, s:b, s:s?}", "host",
					cluster_host_name(hosts->d, host, name), "active",
					(json_int_t)active, "realised", realised, "error", error));
}

static void add_member(void *data, const struct member_record *member)
{
	struct hosts *hosts = data;
	struct host_info info = {};

	if ((member->state != MEMBER_ALIVE && member->state != MEMBER_SUSPECT) ||
	    !signatures_certificate(hosts->d, member->host))
		return;
	sync_host_info(hosts->d->cluster.sync, member->host, &info);
	add_host(hosts, member->host, info.active, NULL);
}

static json_t *list_hosts(const struct syncd *d, const struct wait *wait, bool *complete)
{
	struct hosts hosts = {.d = d, .wait = wait, .list = json_array(), .complete = true};
	uint32_t active = sync_policy_active(d->cluster.sync);

	add_host(&hosts, d->cluster.host, active,
		 active < wait->generation ? generations_error(d) : NULL);
	if (wait->all)
		sync_each_member(d->cluster.sync, add_member, &hosts);
	*complete = hosts.complete;
	return hosts.list;
}

static void wait_end(struct wait *wait, json_t *hosts, bool complete)
{
	json_object_set_new(wait->result, "realised", json_boolean(complete));
	json_object_set_new(wait->result, "hosts", hosts);
	control_done(wait->call, TAKE_PTR(wait->result));
}

/* True when the command was answered. */
static bool wait_look(struct syncd *d, struct wait *wait)
{
	_cleanup_json_ json_t *hosts = NULL;
	bool complete;

	if (!d->cluster.sync) {
		control_failed(wait->call, CONTROL_FAILED, "this host has left the cluster", NULL);
		json_decref(wait->result);
		return true;
	}
	hosts = list_hosts(d, wait, &complete);
	if (!complete && d->loop.now_ms < wait->deadline_ms) {
		loop_wake(&d->loop, wait->deadline_ms);
		return false;
	}
	wait_end(wait, json_incref(hosts), complete);
	return true;
}

static int wait_begin(struct syncd *d, struct control_call *call, uint32_t generation, bool all,
		      int64_t ms, json_t *result)
{
	struct wait *wait = malloc(sizeof(*wait));

	if (!wait) {
		json_decref(result);
		return log_errno(-ENOMEM, "cannot wait");
	}
	*wait = (struct wait){.call = call,
			      .generation = generation,
			      .all = all,
			      .deadline_ms = d->loop.now_ms + ms,
			      .result = result,
			      .next = d->generations.waits};
	d->generations.waits = wait;
	return 0;
}

int generations_wait(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	json_int_t generation = json_number(arguments, "generation");
	json_int_t ms = json_number(arguments, "ms");
	int r = cluster_ready(d);

	if (r < 0)
		return r;
	if (generation < 1 || generation > UINT32_MAX || ms < 0) {
		log_error("generation, ms: numbers are wanted");
		return -EINVAL;
	}
	return wait_begin(d, call, (uint32_t)generation, true, ms < LONGEST_MS ? ms : LONGEST_MS,
			  json_pack("{s:I}", "generation", generation));
}

/* ---- Applying --------------------------------------------------------------------------------------------------- */

/* A policy on its way into the store. */
struct apply {
	struct syncd *d;
	struct control_call *call;
	struct digest object;
	enum apply_state {
		APPLY_CHECKING, /* dfwd of this host looks at it */
		APPLY_READY,
		APPLY_COMMITTING,
		APPLY_ENDED,
	} state;
	int64_t again_ms;
	int64_t deadline_ms;
	struct generation next;
	struct apply *next_apply;
};

static void apply_fail(struct apply *apply, int r)
{
	control_failed_errno(apply->call, r);
	apply->state = APPLY_ENDED;
}

static const char *writer_name(struct syncd *d, char text[WIRE_TEXT_LEN])
{
	struct manifest manifest;
	uint32_t writer;

	sync_policy_manifest(d->cluster.sync, &manifest, &writer);
	return writer ? cluster_host_name(d, writer, text) : NULL;
}

static int refuse_writing(struct syncd *d)
{
	char text[WIRE_TEXT_LEN];
	const char *writer = writer_name(d, text);

	if (writer)
		log_error("the policy is written on host %s: apply it there, or make this host the "
			  "writer by `dfwctl cluster takeover`",
			  writer);
	else
		log_error("no policy was written yet, and this host is not the writer: apply it "
			  "on the host of `cluster init`, or make this one the writer by `dfwctl "
			  "cluster takeover`");
	return -EPERM;
}

static uint32_t next_number(struct syncd *d)
{
	struct manifest manifest;
	uint32_t writer, number;

	sync_policy_manifest(d->cluster.sync, &manifest, &writer);
	number = manifest.active.number > manifest.staged.number ? manifest.active.number
								 : manifest.staged.number;
	/* The first one of a cluster: above what the host had when it stood alone. */
	return (number > d->generations.dfwd_last || number ? number : d->generations.dfwd_last) +
	       1;
}

static void on_committed(void *data, int result)
{
	struct apply *apply = data;
	struct syncd *d = apply->d;

	if (result == -EAGAIN) {
		apply->state = APPLY_READY;
		apply->again_ms = d->loop.now_ms + AGAIN_MS;
		return;
	}
	if (result < 0) {
		log_error_forget();
		shared_store_explain(d, result);
		apply_fail(apply, result);
		return;
	}
	log_notice("policy generation %u is in the store", apply->next.number);
	apply->state = APPLY_ENDED;
	result = wait_begin(d, apply->call, apply->next.number, false, PATIENCE_MS,
			    json_pack("{s:I}", "generation", (json_int_t)apply->next.number));
	if (result < 0)
		apply_fail(apply, result);
}

/* One after the other: while a generation is on its way the next one waits. */
static void commit(struct apply *apply)
{
	struct syncd *d = apply->d;
	struct policy_store store = sync_policy_store(d->cluster.sync);
	struct generation active;
	int r = store.get(store.data, &active);

	apply->next = (struct generation){
		.number = next_number(d), .nr_objects = 1, .objects = {apply->object}};
	apply->state = APPLY_COMMITTING;
	if (r == 0)
		r = store.cas(store.data, active.number, &apply->next, on_committed, apply);
	if (r == 0)
		return;
	log_error_forget();
	if (r == -EPERM && !d->cluster.config.etcd) {
		apply_fail(apply, refuse_writing(d));
	} else if ((r == -EAGAIN || r == -EBUSY || r == -ENOTCONN) &&
		   d->loop.now_ms < apply->deadline_ms) {
		apply->state = APPLY_READY;
		apply->again_ms = d->loop.now_ms + AGAIN_MS;
	} else {
		if (r == -EAGAIN || r == -EBUSY)
			log_error("another generation is on its way; nothing was changed");
		else
			shared_store_explain(d, r);
		apply_fail(apply, r);
	}
}

static void on_checked(void *data, int status, const struct link_packet *packet)
{
	struct apply *apply = data;
	json_t *lines = packet ? json_object_get(packet->json, "errors") : NULL;
	const char *error = packet ? json_text(packet->json, "error") : NULL;

	if (status == 0) {
		apply->state = APPLY_READY;
		return;
	}
	control_failed(apply->call, lines ? CONTROL_INPUT : CONTROL_FAILED,
		       lines   ? "the policy has errors; nothing was changed"
		       : error ? error
			       : "dfwd of this host has gone",
		       json_incref(lines));
	apply->state = APPLY_ENDED;
}

/* The object: what all hosts have the same of a generation. */
static json_t *object_json(const json_t *arguments)
{
	const char *cause = json_text(arguments, "cause");
	time_t now = time(NULL);
	struct tm tm;
	char at[32];

	gmtime_r(&now, &tm);
	strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_pack("{s:s, s:s, s:O, s:O}", "applied_at", at, "cause", cause ? cause : "apply",
			 "main", json_object_get(arguments, "main"), "files",
			 json_object_get(arguments, "files"));
}

static int keep_object(struct syncd *d, const json_t *object, struct digest *name)
{
	_cleanup_free_ char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS);
	size_t nr = text ? strlen(text) : 0;

	if (!text)
		return log_errno(-ENOMEM, "the policy");
	if (nr > OBJECT_MAX) {
		log_error("the policy is longer than the %d MiB that a cluster takes",
			  OBJECT_MAX >> 20);
		return -EINVAL;
	}
	*name = object_digest(text, nr);
	return disk_object_put(&d->disk, name, (const uint8_t *)text, (uint32_t)nr);
}

/* Before dfwd is bothered. */
static int may_write(struct syncd *d)
{
	struct manifest manifest;
	uint32_t writer;

	if (d->cluster.config.etcd) {
		if (shared_store_writable(d))
			return 0;
		shared_store_explain(d, -EPERM);
		return -EPERM;
	}
	sync_policy_manifest(d->cluster.sync, &manifest, &writer);
	if (writer == d->cluster.host || (!writer && d->cluster.config.writer))
		return 0;
	return refuse_writing(d);
}

int generations_apply(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	_cleanup_json_ json_t *object = object_json(arguments);
	_cleanup_free_ struct apply *apply = calloc(1, sizeof(*apply));
	int r = cluster_ready(d);

	if (r == 0)
		r = may_write(d);
	if (r < 0)
		return r;
	if (!object) {
		log_error("a policy is wanted as {\"main\": NAME, \"files\": [{\"name\", "
			  "\"text\"}]}");
		return -EINVAL;
	}
	if (!apply)
		return log_errno(-ENOMEM, "the policy");
	*apply = (struct apply){.d = d, .call = call, .deadline_ms = d->loop.now_ms + PATIENCE_MS};
	r = keep_object(d, object, &apply->object);
	if (r < 0)
		return r;
	r = dfwd_request_text(d, json_pack("{s:s}", "request", "policy-check"), object, on_checked,
			      apply);
	if (r == -ENOTCONN)
		log_error("dfwd of this host does not run: nobody can say whether the policy is "
			  "right");
	if (r < 0)
		return r;
	apply->next_apply = d->generations.applies;
	d->generations.applies = TAKE_PTR(apply);
	return 0;
}

/* ---- Turns ------------------------------------------------------------------------------------------------------ */

/* The store answers in time, unless the cluster was left meanwhile. */
static bool is_stuck(const struct syncd *d, const struct apply *apply)
{
	if (apply->state == APPLY_READY)
		return !d->cluster.sync;
	return apply->state == APPLY_COMMITTING &&
	       (!d->cluster.sync || d->loop.now_ms > apply->deadline_ms + PATIENCE_MS);
}

static void turn_applies(struct syncd *d)
{
	struct apply **at = &d->generations.applies;

	while (*at) {
		struct apply *apply = *at;

		if (is_stuck(d, apply)) {
			control_failed(
				apply->call, CONTROL_FAILED,
				"the policy store does not answer; the policy may or may not "
				"come into force",
				NULL);
			apply->state = APPLY_ENDED;
		}
		if (apply->state == APPLY_READY && d->loop.now_ms >= apply->again_ms)
			commit(apply);
		if (apply->state == APPLY_READY)
			loop_wake(&d->loop, apply->again_ms);
		if (apply->state != APPLY_ENDED) {
			at = &apply->next_apply;
			continue;
		}
		*at = apply->next_apply;
		free(apply);
	}
}

static void turn_waits(struct syncd *d)
{
	struct wait **at = &d->generations.waits;

	while (*at) {
		struct wait *wait = *at;

		if (!wait_look(d, wait)) {
			at = &wait->next;
			continue;
		}
		*at = wait->next;
		free(wait);
	}
}

void generations_turn(struct syncd *d)
{
	turn_applies(d);
	turn_waits(d);
}

void generations_free(struct syncd *d)
{
	while (d->generations.applies) {
		struct apply *apply = d->generations.applies;

		d->generations.applies = apply->next_apply;
		free(apply);
	}
	while (d->generations.waits) {
		struct wait *wait = d->generations.waits;

		d->generations.waits = wait->next;
		json_decref(wait->result);
		free(wait);
	}
	forget_error(&d->generations);
}
