// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "json.h"
#include "log.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/query_answers.h"
#include "view_pins.h"

#define AGAIN_MS    1000  /* a question without news is asked again */
#define REMEMBER_MS 15000 /* answers, for those who ask again */
#define ASKED_MOST  4096
#define SERVED_MOST 256
#define SERVED_EACH 128 /* of one host: none keeps the others from asking */
#define KEPT_BYTES \
	(64U << 20) /* answers that are remembered: who asks may have stopped to listen */
#define CHUNK_BYTES 32768

/* ---- What was asked --------------------------------------------------------------------------------------------- */

struct query {
	uint64_t id;
	uint32_t host;
	char *question;
	query_done *done;
	void *data;
	int64_t asked_us;
	int64_t took_us;
	int64_t again_ms;
	int64_t deadline_ms;
	char *text; /* of the answer, as far as it is here */
	uint32_t nr;
	uint32_t total;
	bool ended;
	int status;
	struct query *next;
};

uint32_t query_host(const struct query *query)
{
	return query->host;
}

int query_status(const struct query *query)
{
	return query->status;
}

static void query_free(struct query *query)
{
	free(query->question);
	free(query->text);
	free(query);
}

static struct query *find_asked(const struct syncd *d, uint32_t host, uint64_t id)
{
	struct query *query = d->queries.asked;

	while (query && (query->id != id || query->host != host))
		query = query->next;
	return query;
}

static void query_end(struct syncd *d, struct query *query, int status)
{
	query->ended = true;
	query->status = status;
	query->took_us = (int64_t)(monotonic_ns() / 1000) - query->asked_us;
	loop_wake(&d->loop, d->loop.now_ms);
}

static int send_packet(struct syncd *d, uint32_t to, const struct writer *packet)
{
	size_t nr = writer_used(packet);

	if (nr > WIRE_DATAGRAM)
		return xport_bulk(d->cluster.xport, to, packet->begin, nr);
	xport_send(d->cluster.xport, to, packet->begin, nr);
	return 0;
}

static void send_question(struct syncd *d, struct query *query)
{
	uint8_t bytes[QUERY_BYTES + 256];
	struct writer packet;
	int r;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_query_message(&packet,
			  &(struct query_message){.id = query->id,
						  .offset = query->nr,
						  .text = {(const uint8_t *)query->question,
							   (uint16_t)strlen(query->question)}});
	r = send_packet(d, query->host, &packet);
	query->again_ms = d->loop.now_ms + AGAIN_MS;
	if (r == -EHOSTUNREACH)
		query_end(d, query, r);
}

static void ask_here(struct syncd *d, struct query *query);

int query_ask(struct syncd *d, uint32_t host, json_t *question, int64_t timeout_ms,
	      query_done *done, void *data)
{
	_cleanup_json_ json_t *owned = question;
	_cleanup_free_ char *text = owned ? json_dumps(owned, JSON_COMPACT) : NULL;
	struct query *query;

	if (!d->cluster.sync)
		return -ENOTCONN;
	if (d->queries.nr_asked == ASKED_MOST)
		return -EBUSY;
	query = text ? calloc(1, sizeof(*query)) : NULL;
	if (!query)
		return -ENOMEM;
	if (strlen(text) > QUERY_BYTES) {
		free(query);
		return -EMSGSIZE;
	}
	*query = (struct query){.host = host,
				.question = TAKE_PTR(text),
				.done = done,
				.data = data,
				.deadline_ms = d->loop.now_ms + timeout_ms,
				.next = d->queries.asked};
	randombytes_buf(&query->id, sizeof(query->id));
	query->asked_us = (int64_t)(monotonic_ns() / 1000);
	d->queries.asked = query;
	d->queries.nr_asked++;
	if (host == d->cluster.host)
		ask_here(d, query);
	else
		send_question(d, query);
	return 0;
}

static int take_chunk(struct query *query, const struct answer_message *message)
{
	if (message->offset != query->nr || message->total > QUERY_LARGEST ||
	    message->text.nr > message->total - message->offset ||
	    (query->text && message->total != query->total))
		return -EBADMSG;
	if (!query->text) {
		query->text = malloc(message->total + 1U);
		if (!query->text)
			return -ENOMEM;
		query->total = message->total;
	}
	if (message->text.nr)
		memcpy(query->text + query->nr, message->text.bytes, message->text.nr);
	query->nr += message->text.nr;
	return query->nr == query->total;
}

static void on_answer(struct syncd *d, uint32_t from, const struct answer_message *message)
{
	struct query *query = find_asked(d, from, message->id);
	int r;

	if (!query || query->ended)
		return;
	r = take_chunk(query, message);
	if (r == -EBADMSG)
		return;
	query->again_ms = d->loop.now_ms + AGAIN_MS;
	if (r != 0)
		query_end(d, query, r < 0 ? r : -(int)(message->status & 0xfff));
}

static void deliver(struct query *query)
{
	_cleanup_json_ json_t *answer = NULL;

	if (query->text && query->nr == query->total)
		answer = json_loadb(query->text, query->nr, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	if (query->status == 0 && !answer)
		query->status = -EBADMSG;
	query->done(query->data, query, answer);
}

static void turn_asked(struct syncd *d)
{
	struct query **at = &d->queries.asked;

	while (*at) {
		struct query *query = *at;

		if (!query->ended && d->loop.now_ms >= query->deadline_ms) {
			query_end(d, query, -ETIMEDOUT);
			d->queries.timeouts++;
		}
		if (!query->ended) {
			if (query->host != d->cluster.host && d->loop.now_ms >= query->again_ms)
				send_question(d, query);
			loop_wake(&d->loop, query->again_ms);
			loop_wake(&d->loop, query->deadline_ms);
			at = &query->next;
			continue;
		}
		/* What is called may ask more: the list is whole by then. */
		*at = query->next;
		d->queries.nr_asked--;
		deliver(query);
		query_free(query);
		at = &d->queries.asked;
	}
}

/* ---- What is answered ------------------------------------------------------------------------------------------- */

struct question {
	struct syncd *d;
	uint64_t id;
	uint32_t asker;
	json_t *text;
	bool answered;
	int status;
	char *answer;
	uint32_t nr;
	uint32_t sent;
	uint32_t kept; /* of kept_bytes */
	int64_t forget_ms;
	struct question *next;
};

static struct question *find_served(const struct syncd *d, uint32_t asker, uint64_t id)
{
	struct question *question = d->queries.served;

	while (question && (question->id != id || question->asker != asker))
		question = question->next;
	return question;
}

uint32_t question_asker(const struct question *question)
{
	return question->asker;
}

const json_t *question_text(const struct question *question)
{
	return question->text;
}

static int send_chunk(struct question *question)
{
	uint8_t bytes[CHUNK_BYTES + 256];
	uint32_t left = question->nr - question->sent;
	uint16_t nr = (uint16_t)(left < CHUNK_BYTES ? left : CHUNK_BYTES);
	struct writer packet;
	int r;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_answer_message(
		&packet, &(struct answer_message){
				 .id = question->id,
				 .status = (uint32_t)-question->status,
				 .offset = question->sent,
				 .total = question->nr,
				 .text = {(const uint8_t *)question->answer + question->sent, nr}});
	r = send_packet(question->d, question->asker, &packet);
	if (r == 0)
		question->sent += nr;
	return r;
}

static void send_answer(struct question *question)
{
	do {
		if (send_chunk(question) < 0)
			return; /* goes on when there is room, or when it is asked again */
	} while (question->sent < question->nr);
}

static void forget_answer(struct syncd *d, struct question *question)
{
	d->queries.kept_bytes -= question->kept;
	question->kept = 0;
	free(TAKE_PTR(question->answer));
	question->nr = 0;
}

/* It is remembered until the asker has had the time to ask for all of it again. */
static void keep(struct syncd *d, struct question *question)
{
	if (question->nr > KEPT_BYTES - d->queries.kept_bytes) {
		forget_answer(d, question);
		question->status = -EBUSY;
		d->queries.refused++;
		return;
	}
	question->kept = question->nr;
	d->queries.kept_bytes += question->kept;
}

static void finish(struct question *question, int status, json_t *answer)
{
	_cleanup_json_ json_t *owned = answer;
	struct syncd *d = question->d;

	if (question->answered)
		return;
	question->answer = owned ? json_dumps(owned, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	question->nr = question->answer ? (uint32_t)strlen(question->answer) : 0;
	question->status = question->answer ? status : -ENOMEM;
	if (question->nr > QUERY_LARGEST) {
		question->status = -EFBIG;
		question->nr = 0;
	}
	question->answered = true;
	question->forget_ms = d->loop.now_ms + REMEMBER_MS;
	if (question->asker != d->cluster.host) {
		keep(d, question);
		send_answer(question);
		return;
	}
	/* Asked by this host itself. */
	struct query *query = find_asked(d, question->asker, question->id);

	if (query) {
		query->text = TAKE_PTR(question->answer);
		query->nr = query->total = question->nr;
		query_end(d, query, question->status);
	}
	question->forget_ms = d->loop.now_ms;
}

void question_answer(struct question *question, json_t *answer)
{
	finish(question, 0, answer);
}

void question_refuse(struct question *question, int status, const char *text)
{
	finish(question, status, json_string(text));
}

static size_t served_of(const struct syncd *d, uint32_t asker)
{
	size_t nr = 0;

	for (const struct question *at = d->queries.served; at; at = at->next)
		nr += at->asker == asker;
	return nr;
}

static struct question *serve(struct syncd *d, uint32_t asker, uint64_t id)
{
	struct question *question;

	if (d->queries.nr_served == SERVED_MOST ||
	    (asker != d->cluster.host && served_of(d, asker) == SERVED_EACH)) {
		d->queries.refused++;
		return NULL;
	}
	question = calloc(1, sizeof(*question));
	if (!question)
		return NULL;
	*question = (struct question){.d = d,
				      .id = id,
				      .asker = asker,
				      .forget_ms = d->loop.now_ms + REMEMBER_MS,
				      .next = d->queries.served};
	d->queries.served = question;
	d->queries.nr_served++;
	return question;
}

static void on_question(struct syncd *d, uint32_t from, const struct query_message *message)
{
	struct question *question = find_served(d, from, message->id);

	if (question) {
		if (!question->answered || message->offset > question->nr)
			return;
		question->sent = message->offset;
		send_answer(question);
		return;
	}
	question = serve(d, from, message->id);
	if (!question)
		return;
	question->text = json_loadb((const char *)message->text.bytes, message->text.nr, 0, NULL);
	query_run(d, question);
}

static void ask_here(struct syncd *d, struct query *query)
{
	struct question *question = serve(d, d->cluster.host, query->id);

	if (!question) {
		query_end(d, query, -EBUSY);
		return;
	}
	question->text = json_loads(query->question, 0, NULL);
	query_run(d, question);
}

static void question_free(struct question *question)
{
	forget_answer(question->d, question);
	json_decref(question->text);
	free(question);
}

/* One that is not answered yet stays: somebody holds it. */
static void turn_served(struct syncd *d)
{
	struct question **at = &d->queries.served;

	while (*at) {
		struct question *question = *at;

		if (!question->answered || d->loop.now_ms < question->forget_ms) {
			at = &question->next;
			continue;
		}
		*at = question->next;
		d->queries.nr_served--;
		question_free(question);
	}
}

/* ---- Many hosts ------------------------------------------------------------------------------------------------- */

struct gathering {
	struct syncd *d;
	json_t *question;
	json_t *answers;
	int64_t timeout_ms;
	size_t waiting;
	query_gathered *gathered;
	void *data;
};

static int by_id(const void *a, const void *b)
{
	json_int_t left = json_number(*(json_t *const *)a, "id");
	json_int_t right = json_number(*(json_t *const *)b, "id");

	return (left > right) - (left < right);
}

static json_t *sorted(const json_t *answers)
{
	size_t nr = json_array_size(answers);
	_cleanup_free_ json_t **list = calloc(nr + 1, sizeof(json_t *));
	json_t *result = json_array();

	for (size_t i = 0; list && i < nr; i++)
		list[i] = json_array_get(answers, i);
	if (list)
		qsort(list, nr, sizeof(json_t *), by_id);
	for (size_t i = 0; list && i < nr; i++)
		json_array_append(result, list[i]);
	return result;
}

static void gathering_end(struct gathering *gathering)
{
	gathering->gathered(gathering->data, sorted(gathering->answers));
	json_decref(gathering->answers);
	json_decref(gathering->question);
	free(gathering);
}

static const char *status_text(int status, const json_t *answer)
{
	if (json_is_string(answer))
		return json_string_value(answer);
	return status == -ETIMEDOUT ? "does not answer" : strerror(-status);
}

static json_t *add_answer(struct gathering *gathering, uint32_t host, int status, json_t *answer)
{
	char name[WIRE_TEXT_LEN];
	json_t *entry = json_pack("{s:s, s:I}", "host", cluster_host_name(gathering->d, host, name),
				  "id", (json_int_t)host);

	if (status == 0)
		json_object_set(entry, "answer", answer);
	else
		json_object_set_new(entry, "error", json_string(status_text(status, answer)));
	json_array_append_new(gathering->answers, entry);
	return entry;
}

static void on_gathered(void *data, const struct query *query, json_t *answer)
{
	struct gathering *gathering = data;
	json_t *entry = add_answer(gathering, query->host, query->status, answer);

	json_object_set_new(entry, "at_us", json_integer(query->asked_us + query->took_us));
	json_object_set_new(entry, "took_us", json_integer(query->took_us));
	if (--gathering->waiting == 0)
		gathering_end(gathering);
}

static void gather_from(struct gathering *gathering, uint32_t host)
{
	int r = query_ask(gathering->d, host, json_incref(gathering->question),
			  gathering->timeout_ms, on_gathered, gathering);

	if (r == 0)
		gathering->waiting++;
	else
		add_answer(gathering, host, r, NULL);
}

static void gather_living(void *data, const struct member_record *member)
{
	if (member->state == MEMBER_ALIVE || member->state == MEMBER_SUSPECT)
		gather_from(data, member->host);
}

int query_gather(struct syncd *d, uint32_t host, json_t *question, int64_t timeout_ms,
		 query_gathered *gathered, void *data)
{
	_cleanup_json_ json_t *owned = question;
	struct gathering *gathering = calloc(1, sizeof(*gathering));

	if (!gathering || !owned || !d->cluster.sync) {
		free(gathering);
		return d->cluster.sync ? -ENOMEM : -ENOTCONN;
	}
	*gathering = (struct gathering){.d = d,
					.question = json_incref(owned),
					.answers = json_array(),
					.timeout_ms = timeout_ms,
					.gathered = gathered,
					.data = data};
	gather_from(gathering, host ? host : d->cluster.host);
	if (!host)
		sync_each_member(d->cluster.sync, gather_living, gathering);
	if (gathering->waiting)
		return 0;
	json_decref(gathering->answers);
	json_decref(gathering->question);
	free(gathering);
	return -EBUSY;
}

/* ---- Messages and turns ----------------------------------------------------------------------------------------- */

bool queries_take(struct syncd *d, uint32_t from, const void *bytes, size_t nr)
{
	struct query_message question;
	struct answer_message answer;
	struct reader reader, value;
	uint16_t type;

	if (packet_open(&reader, bytes, nr) < 0 || !tlv_next(&reader, &type, &value))
		return false;
	if (type == MESSAGE_QUERY && get_query_message(value, &question) == 0)
		on_question(d, from, &question);
	else if (type == MESSAGE_ANSWER && get_answer_message(value, &answer) == 0)
		on_answer(d, from, &answer);
	else
		return false;
	return true;
}

void queries_bulk_ready(struct syncd *d, uint32_t to)
{
	for (struct question *question = d->queries.served; question; question = question->next)
		if (question->asker == to && question->answered && question->sent < question->nr)
			send_answer(question);
}

void queries_turn(struct syncd *d)
{
	turn_asked(d);
	turn_served(d);
}

void queries_stop(struct syncd *d)
{
	for (struct query *query = d->queries.asked; query; query = query->next)
		if (!query->ended)
			query_end(d, query, -ECANCELED);
	turn_asked(d);
}
