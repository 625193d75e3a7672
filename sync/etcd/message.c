// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "sync/etcd/message.h"

#define BASE64	   sodium_base64_VARIANT_ORIGINAL
#define NUMBER_LEN 24

/* ---- Requests ---------------------------------------------------------------------------------------------------- */

static json_t *base64(const void *bytes, size_t nr)
{
	size_t room = sodium_base64_encoded_len(nr, BASE64);
	_cleanup_free_ char *text = malloc(room);

	if (!text)
		return NULL;
	sodium_bin2base64(text, room, bytes, nr, BASE64);
	return json_stringn(text, strlen(text));
}

static json_t *base64_key(const char *key)
{
	return base64(key, strlen(key));
}

static json_t *number(uint64_t value)
{
	char text[NUMBER_LEN];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return json_string(text);
}

/* json_pack() steals what `o` is given, also when that is NULL: then it fails. */
json_t *etcd_range(const char *key, const char *end)
{
	if (!end)
		return json_pack("{s:o}", "key", base64_key(key));
	return json_pack("{s:o, s:o}", "key", base64_key(key), "range_end", base64_key(end));
}

json_t *etcd_range_last(const char *key, const char *end, unsigned int limit)
{
	return json_pack("{s:o, s:o, s:o, s:s, s:s}", "key", base64_key(key), "range_end",
			 base64_key(end), "limit", number(limit), "sort_order", "DESCEND",
			 "sort_target", "KEY");
}

json_t *etcd_watch(const char *key, uint64_t revision)
{
	return json_pack("{s:{s:o, s:o}}", "create_request", "key", base64_key(key),
			 "start_revision", number(revision));
}

json_t *etcd_authenticate(const char *user, const char *password)
{
	return json_pack("{s:s, s:s}", "name", user, "password", password);
}

void txn_begin(struct etcd_txn *txn)
{
	txn->object = json_pack("{s:[], s:[], s:[]}", "compare", "success", "failure");
}

static void txn_append(struct etcd_txn *txn, const char *list, json_t *item)
{
	if (!txn->object) {
		json_decref(item);
		return;
	}
	if (json_array_append_new(json_object_get(txn->object, list), item) < 0) {
		json_decref(txn->object);
		txn->object = NULL;
	}
}

void txn_if_revision(struct etcd_txn *txn, const char *key, uint64_t revision)
{
	txn_append(txn, "compare",
		   json_pack("{s:o, s:s, s:s, s:o}", "key", base64_key(key), "target", "MOD",
			     "result", "EQUAL", "mod_revision", number(revision)));
}

void txn_if_value(struct etcd_txn *txn, const char *key, const void *bytes, size_t nr)
{
	txn_append(txn, "compare",
		   json_pack("{s:o, s:s, s:s, s:o}", "key", base64_key(key), "target", "VALUE",
			     "result", "EQUAL", "value", base64(bytes, nr)));
}

void txn_if_there(struct etcd_txn *txn, const char *key)
{
	txn_append(txn, "compare",
		   json_pack("{s:o, s:s, s:s, s:s}", "key", base64_key(key), "target", "VERSION",
			     "result", "GREATER", "version", "0"));
}

void txn_put(struct etcd_txn *txn, const char *key, const void *bytes, size_t nr)
{
	txn_append(txn, "success",
		   json_pack("{s:{s:o, s:o}}", "request_put", "key", base64_key(key), "value",
			     base64(bytes, nr)));
}

void txn_delete(struct etcd_txn *txn, const char *key, const char *end)
{
	txn_append(txn, "success",
		   json_pack("{s:o}", "request_delete_range", etcd_range(key, end)));
}

void txn_else_range(struct etcd_txn *txn, const char *key)
{
	txn_append(txn, "failure", json_pack("{s:o}", "request_range", etcd_range(key, NULL)));
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static json_t *parse(const char *body, size_t nr)
{
	json_t *root = json_loadb(body, nr, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

	if (json_is_object(root))
		return root;
	json_decref(root);
	return NULL;
}

/* A member that is left out is 0. */
static int get_number(const json_t *object, const char *name, uint64_t *value)
{
	const json_t *member = json_object_get(object, name);
	const char *text = json_string_value(member);
	size_t nr = json_string_length(member);

	*value = 0;
	if (!member)
		return 0;
	if (json_is_integer(member) && json_integer_value(member) >= 0) {
		*value = (uint64_t)json_integer_value(member);
		return 0;
	}
	if (!text || !nr || nr >= NUMBER_LEN || strspn(text, "0123456789") != nr)
		return -EBADMSG;
	errno = 0;
	*value = strtoull(text, NULL, 10);
	return errno ? -EBADMSG : 0;
}

static int get_truth(const json_t *object, const char *name, bool *value)
{
	const json_t *member = json_object_get(object, name);

	*value = json_is_true(member);
	return !member || json_is_boolean(member) ? 0 : -EBADMSG;
}

/* At most `room` bytes, malloc'd with a NUL behind them; a member that is left out is empty. */
static int get_base64(const json_t *object, const char *name, size_t room, uint8_t **bytes,
		      size_t *nr)
{
	const json_t *member = json_object_get(object, name);
	const char *text = member ? json_string_value(member) : "";
	size_t length = member ? json_string_length(member) : 0;
	_cleanup_free_ uint8_t *decoded = NULL;
	const char *end;

	if (!text || length / 4 > room / 3 + 1)
		return -EBADMSG;
	decoded = malloc(length / 4 * 3 + 1);
	if (!decoded)
		return -ENOMEM;
	if (sodium_base642bin(decoded, length / 4 * 3, text, length, NULL, nr, &end, BASE64) != 0 ||
	    end != text + length || *nr > room)
		return -EBADMSG;
	decoded[*nr] = '\0';
	*bytes = TAKE_PTR(decoded);
	return 0;
}

static int get_header(const json_t *root, uint64_t *cluster, uint64_t *revision)
{
	const json_t *header = json_object_get(root, "header");

	if (!json_is_object(header) || get_number(header, "cluster_id", cluster) < 0 ||
	    get_number(header, "revision", revision) < 0)
		return -EBADMSG;
	return 0;
}

static int get_pair(const json_t *object, struct etcd_pair *pair)
{
	_cleanup_free_ uint8_t *key = NULL;
	size_t nr;
	int r;

	if (!json_is_object(object))
		return -EBADMSG;
	r = get_base64(object, "key", sizeof(pair->key) - 1, &key, &nr);
	if (r < 0)
		return r;
	if (!nr || memchr(key, '\0', nr))
		return -EBADMSG;
	memcpy(pair->key, key, nr + 1);
	r = get_number(object, "mod_revision", &pair->revision);
	if (r < 0)
		return r;
	return get_base64(object, "value", ETCD_VALUE_MAX, &pair->value, &pair->nr);
}

static int add_pairs(struct etcd_answer *answer, const json_t *list)
{
	size_t nr = json_array_size(list);
	struct etcd_pair *pairs;

	if (!list || !nr)
		return !list || json_is_array(list) ? 0 : -EBADMSG;
	if (nr > ETCD_KEYS_MAX - answer->nr_pairs)
		return -EBADMSG;
	pairs = realloc(answer->pairs, (answer->nr_pairs + nr) * sizeof(*pairs));
	if (!pairs)
		return -ENOMEM;
	answer->pairs = pairs;
	for (size_t i = 0; i < nr; i++) {
		struct etcd_pair *pair = &pairs[answer->nr_pairs++];
		int r;

		*pair = (struct etcd_pair){0};
		r = get_pair(json_array_get(list, i), pair);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_responses(struct etcd_answer *answer, const json_t *list)
{
	int r = 0;

	if (list && !json_is_array(list))
		return -EBADMSG;
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		const json_t *range = json_object_get(json_array_get(list, i), "response_range");

		r = add_pairs(answer, json_object_get(range, "kvs"));
	}
	return r;
}

static int get_token(const json_t *root, char **token)
{
	const json_t *member = json_object_get(root, "token");

	if (!member)
		return 0;
	if (!json_is_string(member))
		return -EBADMSG;
	/* It becomes the line of a header. */
	for (const char *at = json_string_value(member); *at; at++)
		if (!isgraph((unsigned char)*at))
			return -EBADMSG;
	*token = strdup(json_string_value(member));
	return *token ? 0 : -ENOMEM;
}

int etcd_answer_parse(const char *body, size_t nr, struct etcd_answer *answer)
{
	_cleanup_json_ json_t *root = parse(body, nr);
	int r;

	*answer = (struct etcd_answer){0};
	if (!root)
		return -EBADMSG;
	r = get_header(root, &answer->cluster, &answer->revision);
	if (r == 0)
		r = get_truth(root, "succeeded", &answer->succeeded);
	if (r == 0)
		r = get_token(root, &answer->token);
	if (r == 0)
		r = add_pairs(answer, json_object_get(root, "kvs"));
	if (r == 0)
		r = add_responses(answer, json_object_get(root, "responses"));
	return r;
}

void etcd_answer_free(struct etcd_answer *answer)
{
	for (size_t i = 0; i < answer->nr_pairs; i++)
		free(answer->pairs[i].value);
	free(answer->pairs);
	free(answer->token);
	*answer = (struct etcd_answer){0};
}

const struct etcd_pair *etcd_answer_find(const struct etcd_answer *answer, const char *key)
{
	for (size_t i = 0; i < answer->nr_pairs; i++)
		if (!strcmp(answer->pairs[i].key, key))
			return &answer->pairs[i];
	return NULL;
}

/* ---- Errors and events ------------------------------------------------------------------------------------------- */

/* {"error": text, "code": n}; within a watch {"error": {"message": text, "grpc_code": n}}. */
static int get_error(const json_t *root, struct etcd_error *error)
{
	const json_t *member = json_object_get(root, "error");
	bool nested = json_is_object(member);
	const char *text = nested ? json_text(member, "message") : json_string_value(member);
	uint64_t code;

	if (!text || get_number(nested ? member : root, nested ? "grpc_code" : "code", &code) < 0)
		return -EBADMSG;
	error->code = code > 255 ? 255 : (unsigned int)code;
	snprintf(error->text, sizeof(error->text), "%s", text);
	for (char *at = error->text; *at; at++)
		if (!isprint((unsigned char)*at))
			*at = '?';
	return 0;
}

int etcd_error_parse(const char *body, size_t nr, struct etcd_error *error)
{
	_cleanup_json_ json_t *root = parse(body, nr);

	return root ? get_error(root, error) : -EBADMSG;
}

static int get_changes(const json_t *events, struct etcd_event *event)
{
	event->changed = json_array_size(events) > 0;
	if (!events)
		return 0;
	if (!json_is_array(events))
		return -EBADMSG;
	for (size_t i = 0; i < json_array_size(events); i++) {
		const json_t *pair = json_object_get(json_array_get(events, i), "kv");
		uint64_t revision;

		if (!json_is_object(pair) || get_number(pair, "mod_revision", &revision) < 0)
			return -EBADMSG;
		if (revision > event->revision)
			event->revision = revision;
	}
	return 0;
}

int etcd_event_parse(const char *line, size_t nr, struct etcd_event *event,
		     struct etcd_error *error)
{
	_cleanup_json_ json_t *root = parse(line, nr);
	const json_t *result = json_object_get(root, "result");

	*event = (struct etcd_event){0};
	if (json_object_get(root, "error"))
		return get_error(root, error) < 0 ? -EBADMSG : -EREMOTEIO;
	if (!json_is_object(result) || get_header(result, &event->cluster, &event->revision) < 0 ||
	    get_truth(result, "created", &event->created) < 0 ||
	    get_truth(result, "canceled", &event->canceled) < 0 ||
	    get_number(result, "compact_revision", &event->compacted) < 0)
		return -EBADMSG;
	return get_changes(json_object_get(result, "events"), event);
}
