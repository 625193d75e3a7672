// SPDX-License-Identifier: GPL-2.0
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "build.h"
#include "parser.h"
#include "util.h"

/* jansson keeps no places of values, so errors of meaning name the path: "tiers[0].rules[3].from[1]". */

struct reader {
	struct parser *parser;
	const char *file;
};

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}

static struct arena *arena(struct reader *reader)
{
	return &reader->parser->policy->arena;
}

/* Paths of values within a value. No memory: the parent's path, so that an error still says roughly where. */
static struct place member(struct reader *reader, const struct place *place, const char *key)
{
	struct place inner = *place;
	char *path = *place->path ? arena_printf(arena(reader), "%s.%s", place->path, key)
				  : arena_printf(arena(reader), "%s", key);

	if (!path)
		parser_no_memory(reader->parser);
	else
		inner.path = path;
	return inner;
}

static struct place element(struct reader *reader, const struct place *place, size_t index)
{
	struct place inner = *place;
	char *path = arena_printf(arena(reader), "%s[%zu]", place->path, index);

	if (!path)
		parser_no_memory(reader->parser);
	else
		inner.path = path;
	return inner;
}

static bool is_a(struct reader *reader, const struct place *place, const json_t *json,
		 json_type type)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array",	 [JSON_STRING] = "a string",
		[JSON_INTEGER] = "a number", [JSON_REAL] = "a fraction", [JSON_TRUE] = "true",
		[JSON_FALSE] = "false",	     [JSON_NULL] = "null",
	};

	if (json_typeof(json) == type)
		return true;
	parser_error(reader->parser, place, "this is %s, not %s", names[type],
		     names[json_typeof(json)]);
	return false;
}

/* Says which of `keys` (ended by NULL) is meant by one that is none of them. */
static void check_keys(struct reader *reader, const struct place *place, json_t *object,
		       const char *const *keys)
{
	const char *key;
	json_t *value;

	json_object_foreach (object, key, value) {
		struct suggestion suggestion = {.wanted = key};
		char mean[SUGGESTION_TEXT_LEN];
		bool known = false;

		for (const char *const *one = keys; *one; one++) {
			known |= strcmp(key, *one) == 0;
			suggestion_offer(&suggestion, *one);
		}
		if (!known)
			parser_error(reader->parser, place, "unknown field '%.80s'%s", key,
				     suggestion_text(&suggestion, mean));
	}
}

#define CHECK_KEYS(reader, place, object, ...) \
	check_keys(reader, place, object, (const char *const[]){__VA_ARGS__, NULL})

/* The string at `key`, copied; NULL: there is none, or it is no string, which is noted. */
static const char *string_at(struct reader *reader, const struct place *place, json_t *object,
			     const char *key)
{
	json_t *value = json_object_get(object, key);
	struct place inner;
	char *copy;

	if (!value)
		return NULL;
	inner = member(reader, place, key);
	if (!is_a(reader, &inner, value, JSON_STRING))
		return NULL;
	copy = arena_copy(arena(reader), json_string_value(value), json_string_length(value));
	if (!copy)
		return parser_no_memory(reader->parser);
	/* The text form could not say it either. */
	for (const char *c = copy; *c; c++) {
		if ((unsigned char)*c >= ' ' && *c != 0x7f)
			continue;
		parser_error(reader->parser, &inner, "this has a control character in it");
		return NULL;
	}
	return copy;
}

static const char *required_string_at(struct reader *reader, const struct place *place,
				      json_t *object, const char *key)
{
	const char *text = string_at(reader, place, object, key);

	if (!text && !json_object_get(object, key))
		parser_error(reader->parser, place, "'%s' is missing", key);
	return text;
}

static bool true_at(struct reader *reader, const struct place *place, json_t *object,
		    const char *key)
{
	json_t *value = json_object_get(object, key);
	struct place inner;

	if (value && !json_is_boolean(value)) {
		inner = member(reader, place, key);
		parser_error(reader->parser, &inner, "this is true or false");
	}
	return json_is_true(value);
}

/* As decimal digits, so that one check serves both forms. NULL: none. */
static const char *number_text(struct reader *reader, const struct place *place,
			       const json_t *value)
{
	char *text;

	if (!is_a(reader, place, value, JSON_INTEGER))
		return NULL;
	text = arena_printf(arena(reader), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return text ? text : parser_no_memory(reader->parser);
}

static void number_at(struct reader *reader, const struct place *place, json_t *object,
		      const char *key, uint32_t *number)
{
	json_t *value = json_object_get(object, key);
	struct place inner;
	const char *text;

	if (!value)
		return;
	inner = member(reader, place, key);
	text = number_text(reader, &inner, value);
	if (text)
		build_number(reader->parser, &inner, key, text, 1, RULE_MAX_LIMIT, number);
}

/* The array at `key`; NULL: none, or no array, which is noted. *inner is its place. */
static json_t *array_at(struct reader *reader, const struct place *place, json_t *object,
			const char *key, struct place *inner)
{
	json_t *array = json_object_get(object, key);

	if (!array)
		return NULL;
	*inner = member(reader, place, key);
	return is_a(reader, inner, array, JSON_ARRAY) ? array : NULL;
}

/* ---- Groups -------------------------------------------------------------------------------------------------- */

static struct tag_expr *read_tag(struct reader *reader, const struct place *place, json_t *json,
				 unsigned int depth);

static struct tag_expr *read_tags(struct reader *reader, const struct place *place,
				  enum tag_kind kind, json_t *array, unsigned int depth)
{
	struct tag_expr *expr = NULL, *child;
	struct place inner;

	if (!is_a(reader, place, array, JSON_ARRAY))
		return NULL;
	if (json_array_size(array) < 2)
		parser_error(reader->parser, place, "this joins two expressions or more");
	for (size_t i = 0; i < json_array_size(array); i++) {
		inner = element(reader, place, i);
		child = read_tag(reader, &inner, json_array_get(array, i), depth);
		if (!child)
			return NULL;
		expr = expr ? build_tag_join(reader->parser, &inner, kind, expr, child) : child;
		if (!expr)
			return NULL;
	}
	return expr;
}

static struct tag_expr *read_tag(struct reader *reader, const struct place *place, json_t *json,
				 unsigned int depth)
{
	static const struct {
		const char *key;
		enum tag_kind kind;
	} operators[] = {{"and", TAG_AND}, {"or", TAG_OR}, {"not", TAG_NOT}};
	const char *key, *value;
	struct tag_expr *child;
	struct place inner;

	if (!is_a(reader, place, json, JSON_OBJECT))
		return NULL;
	if (depth > MODEL_MAX_DEPTH) {
		parser_error(reader->parser, place, "a tag expression nests at most %d deep",
			     MODEL_MAX_DEPTH);
		return NULL;
	}
	CHECK_KEYS(reader, place, json, "key", "value", "and", "or", "not");
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
		json_t *operand = json_object_get(json, operators[i].key);

		if (!operand)
			continue;
		inner = member(reader, place, operators[i].key);
		if (json_object_size(json) > 1)
			parser_error(reader->parser, place, "'%s' stands alone in its object",
				     operators[i].key);
		if (operators[i].kind != TAG_NOT)
			return read_tags(reader, &inner, operators[i].kind, operand, depth + 1);
		child = read_tag(reader, &inner, operand, depth + 1);
		return child ? build_tag_not(reader->parser, &inner, child) : NULL;
	}
	key = required_string_at(reader, place, json, "key");
	value = string_at(reader, place, json, "value");
	return key ? build_tag(reader->parser, place, key, value) : NULL;
}

static bool gives_one(const json_t *json, const char *const *fields, size_t nr)
{
	size_t given = 0;

	for (size_t i = 0; i < nr; i++)
		given += json_object_get(json, fields[i]) != NULL;
	return given == 1;
}

static void read_operand(struct reader *reader, const struct place *place, json_t *json,
			 bool in_group, struct operand *operand)
{
	static const char *const kinds[] = {"address", "vport", "group", "tag", "any", "any_vport"};
	const char *text;

	operand->place = *place;
	if (!is_a(reader, place, json, JSON_OBJECT))
		return;
	CHECK_KEYS(reader, place, json, "address", "vport", "group", "tag", "any", "any_vport",
		   "not");
	if (!gives_one(json, kinds, ARRAY_SIZE(kinds))) {
		parser_error(reader->parser, place,
			     "this has one of address, vport, group, tag, any and any_vport");
		return;
	}

	operand->negated = true_at(reader, place, json, "not");
	if (json_object_get(json, "address")) {
		text = string_at(reader, place, json, "address");
		if (text)
			build_prefix(reader->parser, place, text, operand);
	} else if (json_object_get(json, "vport")) {
		text = string_at(reader, place, json, "vport");
		if (text)
			build_pattern(reader->parser, place, text, operand);
	} else if (json_object_get(json, "group")) {
		operand->kind = OPERAND_GROUP;
		operand->name = string_at(reader, place, json, "group");
		if (!operand->name)
			operand->kind = OPERAND_ANY;
	} else if (json_object_get(json, "tag")) {
		struct place inner = member(reader, place, "tag");

		operand->kind = OPERAND_TAG;
		operand->tag = read_tag(reader, &inner, json_object_get(json, "tag"), 1);
	} else {
		operand->kind = json_object_get(json, "any") ? OPERAND_ANY : OPERAND_ANY_VPORT;
		if (in_group || operand->negated ||
		    !true_at(reader, place, json,
			     operand->kind == OPERAND_ANY ? "any" : "any_vport"))
			parser_error(reader->parser, place,
				     "any and any_vport are true, stand in rules only, and without "
				     "'not'");
	}
	if (in_group && operand->negated)
		parser_error(reader->parser, place, "a group has no members with 'not'");
}

static void read_operands(struct reader *reader, const struct place *place, json_t *object,
			  const char *key, bool in_group, struct operand_list *list)
{
	struct place inner, at;
	json_t *array = array_at(reader, place, object, key, &inner);

	/* In a rule an empty list would read as any. */
	if (array && json_array_size(array) == 0 && !in_group)
		parser_error(reader->parser, &inner, "this names at least one, or is left out");
	for (size_t i = 0; array && i < json_array_size(array); i++) {
		struct operand *operand = list_push(arena(reader), list);

		if (!operand) {
			parser_no_memory(reader->parser);
			return;
		}
		at = element(reader, &inner, i);
		read_operand(reader, &at, json_array_get(array, i), in_group, operand);
	}
}

static void read_group(struct reader *reader, const struct place *place, json_t *json)
{
	const char *name = required_string_at(reader, place, json, "name");
	struct group *group;

	CHECK_KEYS(reader, place, json, "name", "members");
	group = name ? build_group(reader->parser, place, name) : NULL;
	if (group)
		read_operands(reader, place, json, "members", true, &group->members);
}

/* ---- Services ------------------------------------------------------------------------------------------------ */

static void read_ports(struct reader *reader, const struct place *place, json_t *object,
		       const char *key, struct range_list *ports)
{
	struct place inner, at;
	json_t *array = array_at(reader, place, object, key, &inner);

	if (array && json_array_size(array) == 0)
		parser_error(reader->parser, &inner, "this names at least one, or is left out");
	for (size_t i = 0; array && i < json_array_size(array); i++) {
		json_t *value = json_array_get(array, i);
		const char *text;

		at = element(reader, &inner, i);
		text = json_is_string(value) ? json_string_value(value)
					     : number_text(reader, &at, value);
		if (text)
			build_ports(reader->parser, &at, text, ports);
	}
}

static void read_types(struct reader *reader, const struct place *place, json_t *object,
		       uint8_t protocol, struct range_list *types)
{
	struct place inner, at;
	json_t *array = array_at(reader, place, object, "types", &inner);

	if (array && json_array_size(array) == 0)
		parser_error(reader->parser, &inner, "this names at least one, or is left out");
	for (size_t i = 0; array && i < json_array_size(array); i++) {
		json_t *value = json_array_get(array, i);
		const char *text, *slash;

		at = element(reader, &inner, i);
		text = json_is_string(value) ? json_string_value(value)
					     : number_text(reader, &at, value);
		if (!text)
			continue;
		slash = strchr(text, '/');
		if (slash == text || (slash && !slash[1])) {
			parser_error(reader->parser, &at,
				     "'%.80s' is no type and code, write for example 3/4", text);
			continue;
		}
		if (slash) {
			text = arena_copy(arena(reader), text, (size_t)(slash - text));
			if (!text) {
				parser_no_memory(reader->parser);
				return;
			}
		}
		build_icmp(reader->parser, &at, protocol, text, slash ? slash + 1 : NULL, types);
	}
}

static void read_protocol(struct reader *reader, const struct place *place, json_t *json,
			  struct service_item *item)
{
	json_t *value = json_object_get(json, "protocol");
	struct place inner = member(reader, place, "protocol");
	const char *text = json_is_string(value) ? json_string_value(value)
						 : number_text(reader, &inner, value);

	item->kind = ITEM_PROTOCOL;
	if (!text || !build_protocol(reader->parser, &inner, text, &item->protocol))
		return;
	if (!protocol_has_ports(item->protocol) &&
	    (json_object_get(json, "ports") || json_object_get(json, "source_ports")))
		parser_error(reader->parser, place, "tcp, udp and sctp have ports, not '%.80s'",
			     text);
	else if (!protocol_has_types(item->protocol) && json_object_get(json, "types"))
		parser_error(reader->parser, place, "icmp and icmp6 have types, not '%.80s'", text);
	else if (protocol_has_types(item->protocol))
		read_types(reader, place, json, item->protocol, &item->destinations);
	else
		read_ports(reader, place, json, "ports", &item->destinations);
	read_ports(reader, place, json, "source_ports", &item->sources);
}

/* What an item says must not be passed over: who writes ports expects that no others are opened. */
static void read_item(struct reader *reader, const struct place *place, json_t *json,
		      struct service_item *item)
{
	static const char *const kinds[] = {"protocol", "service", "any"};
	static const char *const of_protocol[] = {"ports", "source_ports", "types"};

	item->place = *place;
	if (!is_a(reader, place, json, JSON_OBJECT))
		return;
	CHECK_KEYS(reader, place, json, "any", "service", "protocol", "ports", "source_ports",
		   "types");
	if (!gives_one(json, kinds, ARRAY_SIZE(kinds))) {
		parser_error(reader->parser, place,
			     "this has one of 'protocol', 'service' and 'any': true");
		return;
	}
	if (json_object_get(json, "protocol")) {
		read_protocol(reader, place, json, item);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(of_protocol); i++)
		if (json_object_get(json, of_protocol[i]))
			parser_error(reader->parser, place, "'%s' goes with 'protocol' only",
				     of_protocol[i]);
	if (json_object_get(json, "service")) {
		item->name = string_at(reader, place, json, "service");
		item->kind = item->name ? ITEM_SERVICE : ITEM_ANY;
	} else if (!true_at(reader, place, json, "any")) {
		parser_error(reader->parser, place,
			     "this has one of 'protocol', 'service' and 'any': true");
	}
}

static void read_items(struct reader *reader, const struct place *place, json_t *object,
		       const char *key, struct item_list *list)
{
	struct place inner, at;
	json_t *array = array_at(reader, place, object, key, &inner);

	if (array && json_array_size(array) == 0)
		parser_error(reader->parser, &inner, "this names at least one, or is left out");
	for (size_t i = 0; array && i < json_array_size(array); i++) {
		struct service_item *item = list_push(arena(reader), list);

		if (!item) {
			parser_no_memory(reader->parser);
			return;
		}
		at = element(reader, &inner, i);
		read_item(reader, &at, json_array_get(array, i), item);
	}
}

static void read_service(struct reader *reader, const struct place *place, json_t *json)
{
	const char *name = required_string_at(reader, place, json, "name");
	struct service *service;

	CHECK_KEYS(reader, place, json, "name", "items");
	service = name ? build_service(reader->parser, place, name) : NULL;
	if (service)
		read_items(reader, place, json, "items", &service->items);
}

/* ---- Tiers, rules, defaults ---------------------------------------------------------------------------------- */

/* A word at `key` out of a table, or -1. */
static int word_at(struct reader *reader, const struct place *place, json_t *object,
		   const char *key, const struct word *words)
{
	const char *text = string_at(reader, place, object, key);
	struct place inner = member(reader, place, key);

	return text ? build_word(reader->parser, &inner, key, words, text) : -1;
}

static void read_limit(struct reader *reader, const struct place *place, json_t *json,
		       struct rule *rule)
{
	if (!is_a(reader, place, json, JSON_OBJECT))
		return;
	CHECK_KEYS(reader, place, json, "per_second", "burst", "per_source");
	number_at(reader, place, json, "per_second", &rule->limit);
	number_at(reader, place, json, "burst", &rule->burst);
	rule->limit_per_source = true_at(reader, place, json, "per_source");
	if (!json_object_get(json, "per_second"))
		parser_error(reader->parser, place, "'per_second' is missing");
}

static void read_rule(struct reader *reader, const struct place *place, json_t *json,
		      struct tier *tier)
{
	static const struct word directions[] = {{"in", RULE_IN}, {"out", RULE_OUT}, {NULL, 0}};
	struct rule *rule = arena_alloc(arena(reader), sizeof(*rule));
	struct place inner;
	int value;

	if (!rule) {
		parser_no_memory(reader->parser);
		return;
	}
	if (!is_a(reader, place, json, JSON_OBJECT))
		return;
	CHECK_KEYS(reader, place, json, "name", "action", "direction", "from", "to", "service",
		   "applied_to", "log", "stateless", "on_change", "limit", "max_flows");
	rule->place = *place;
	rule->name = required_string_at(reader, place, json, "name");
	if (required_string_at(reader, place, json, "action")) {
		value = word_at(reader, place, json, "action", action_words);
		rule->action = value < 0 ? DFW_ACTION_ALLOW : (enum dfw_action)value;
	}
	value = word_at(reader, place, json, "direction", directions);
	rule->direction = value < 0 ? RULE_BOTH : (enum rule_direction)value;
	value = word_at(reader, place, json, "on_change", on_change_words);
	rule->on_change = value < 0 ? DFW_ON_CHANGE_REVALIDATE : (enum dfw_on_change)value;
	read_operands(reader, place, json, "from", false, &rule->from);
	read_operands(reader, place, json, "to", false, &rule->to);
	read_operands(reader, place, json, "applied_to", false, &rule->applied_to);
	read_items(reader, place, json, "service", &rule->services);
	rule->log = true_at(reader, place, json, "log");
	rule->stateless = true_at(reader, place, json, "stateless");
	number_at(reader, place, json, "max_flows", &rule->max_flows);
	if (json_object_get(json, "limit")) {
		inner = member(reader, place, "limit");
		read_limit(reader, &inner, json_object_get(json, "limit"), rule);
	}
	if (rule->name)
		build_rule(reader->parser, tier, rule);
}

static void read_tier(struct reader *reader, const struct place *place, json_t *json)
{
	const char *name = required_string_at(reader, place, json, "name");
	struct place inner, at;
	struct tier *tier;
	json_t *rules;

	CHECK_KEYS(reader, place, json, "name", "rules");
	tier = name ? build_tier(reader->parser, place, name) : NULL;
	if (!tier)
		return;
	rules = array_at(reader, place, json, "rules", &inner);
	for (size_t i = 0; rules && i < json_array_size(rules); i++) {
		at = element(reader, &inner, i);
		read_rule(reader, &at, json_array_get(rules, i), tier);
	}
}

static void read_defaults(struct reader *reader, const struct place *place, json_t *json)
{
	static const struct {
		const char *key;
		enum dfw_direction direction;
	} directions[] = {{"in", DFW_IN}, {"out", DFW_OUT}};

	CHECK_KEYS(reader, place, json, "in", "out");
	for (size_t i = 0; i < ARRAY_SIZE(directions); i++) {
		json_t *value = json_object_get(json, directions[i].key);
		struct place inner;
		int action;

		if (!value)
			continue;
		inner = member(reader, place, directions[i].key);
		if (!is_a(reader, &inner, value, JSON_OBJECT))
			continue;
		CHECK_KEYS(reader, &inner, value, "action", "log");
		if (!required_string_at(reader, &inner, value, "action"))
			continue;
		action = word_at(reader, &inner, value, "action", action_words);
		if (action >= 0)
			build_default(reader->parser, &inner, directions[i].direction, action,
				      true_at(reader, &inner, value, "log"));
	}
}

/* ---- Profiles ------------------------------------------------------------------------------------------------ */

static json_t *object_at(struct reader *reader, const struct place *place, json_t *object,
			 const char *key, struct place *inner)
{
	json_t *value = json_object_get(object, key);

	if (!value)
		return NULL;
	*inner = member(reader, place, key);
	return is_a(reader, inner, value, JSON_OBJECT) ? value : NULL;
}

static void read_profile(struct reader *reader, const struct place *place, json_t *json)
{
	const char *name = required_string_at(reader, place, json, "name"), *key, *text;
	struct parser *parser = reader->parser;
	struct profile *profile;
	struct place inner, at;
	json_t *object, *value;

	CHECK_KEYS(reader, place, json, "name", "flags", "limits", "resync", "timeouts");
	profile = name ? build_profile(parser, place, name) : NULL;
	if (!profile)
		return;
	object = object_at(reader, place, json, "flags", &inner);
	json_object_foreach (object, key, value)
		build_flag(parser, &inner, profile, key, true_at(reader, &inner, object, key));

	object = object_at(reader, place, json, "limits", &inner);
	json_object_foreach (object, key, value) {
		int limit = build_word(parser, &inner, "limit", profile_limit_words, key);

		at = member(reader, &inner, key);
		text = number_text(reader, &at, value);
		if (limit >= 0 && text)
			build_limit(parser, &at, profile, (enum profile_limit)limit, text);
	}

	text = string_at(reader, place, json, "resync");
	if (text) {
		inner = member(reader, place, "resync");
		build_resync(parser, &inner, profile, text);
	}

	object = object_at(reader, place, json, "timeouts", &inner);
	json_object_foreach (object, key, value) {
		text = string_at(reader, &inner, object, key);
		if (text) {
			at = member(reader, &inner, key);
			build_timeout(parser, &at, profile, key, text);
		}
	}
}

/* ---- The document -------------------------------------------------------------------------------------------- */

static void read_each(struct reader *reader, const struct place *place, json_t *root,
		      const char *key,
		      void (*read_one)(struct reader *reader, const struct place *place,
				       json_t *json))
{
	struct place inner, at;
	json_t *array = array_at(reader, place, root, key, &inner);

	for (size_t i = 0; array && i < json_array_size(array); i++) {
		at = element(reader, &inner, i);
		if (is_a(reader, &at, json_array_get(array, i), JSON_OBJECT))
			read_one(reader, &at, json_array_get(array, i));
	}
}

/* Where the last letter stands that was read; some errors have no place. jansson's own column counts letters. */
static void place_syntax_error(struct place *place, const char *text, const json_error_t *error)
{
	size_t end = error->position > 0 ? (size_t)error->position : 0, begin = end;

	/* Behind its first byte. */
	while (end && ((unsigned char)text[end - 1] & 0xc0) == 0x80)
		end--;
	while (begin && text[begin - 1] != '\n')
		begin--;
	place->path = NULL;
	place->line = error->line > 0 ? (unsigned int)error->line : 1;
	place->column = end > begin ? (unsigned int)(end - begin) : 1;
}

void json_read(struct parser *parser, const char *file, const char *text, size_t bytes)
{
	struct reader reader = {.parser = parser, .file = file};
	struct place place = {.file = file, .path = ""}, inner;
	json_error_t error;
	_cleanup_(cleanup_json) json_t *root =
		json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &error);
	json_t *defaults;

	if (!root) {
		place_syntax_error(&place, text, &error);
		parser->incomplete = true;
		parser_error(parser, &place, "%s", error.text);
		return;
	}
	CHECK_KEYS(&reader, &place, root, "groups", "services", "profiles", "tiers", "defaults");
	read_each(&reader, &place, root, "groups", read_group);
	read_each(&reader, &place, root, "services", read_service);
	read_each(&reader, &place, root, "profiles", read_profile);
	read_each(&reader, &place, root, "tiers", read_tier);
	defaults = object_at(&reader, &place, root, "defaults", &inner);
	if (defaults)
		read_defaults(&reader, &inner, defaults);
}
