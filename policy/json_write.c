// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "build.h"
#include "model.h"
#include "policy.h"
#include "util.h"
#include "words.h"

/* jansson's functions that take a NULL value fail and keep their failure to themselves: a missing part would be a
 * policy with a rule less. So each step tells, through this. */
struct writer {
	bool no_memory;
};

static void set(struct writer *writer, json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) < 0)
		writer->no_memory = true;
}

static void append(struct writer *writer, json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) < 0)
		writer->no_memory = true;
}

static json_t *write_tag(struct writer *writer, const struct tag_expr *expr)
{
	json_t *object = json_object(), *children;

	switch (expr->kind) {
	case TAG_EQUALS:
		set(writer, object, "key", json_string(expr->key));
		set(writer, object, "value", json_string(expr->value));
		break;
	case TAG_PRESENT:
		set(writer, object, "key", json_string(expr->key));
		break;
	case TAG_NOT:
		set(writer, object, "not", write_tag(writer, expr->children.items[0]));
		break;
	case TAG_AND:
	case TAG_OR:
		children = json_array();
		for (size_t i = 0; i < expr->children.nr; i++)
			append(writer, children, write_tag(writer, expr->children.items[i]));
		set(writer, object, expr->kind == TAG_AND ? "and" : "or", children);
		break;
	}
	return object;
}

static json_t *write_operands(struct writer *writer, const struct operand_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->nr; i++) {
		const struct operand *operand = &list->items[i];
		json_t *object = json_object();
		char text[PREFIX_TEXT_LEN];

		switch (operand->kind) {
		case OPERAND_ANY:
			set(writer, object, "any", json_true());
			break;
		case OPERAND_ANY_VPORT:
			set(writer, object, "any_vport", json_true());
			break;
		case OPERAND_PREFIX:
			prefix_format(&operand->address, operand->prefix_bits, text);
			set(writer, object, "address", json_string(text));
			break;
		case OPERAND_VPORT:
			set(writer, object, "vport", json_string(operand->pattern));
			break;
		case OPERAND_TAG:
			set(writer, object, "tag", write_tag(writer, operand->tag));
			break;
		case OPERAND_GROUP:
			set(writer, object, "group", json_string(operand->name));
			break;
		}
		if (operand->negated)
			set(writer, object, "not", json_true());
		append(writer, array, object);
	}
	return array;
}

/* A number, or "LOW-HIGH". */
static json_t *write_ports(struct writer *writer, const struct range_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->nr; i++) {
		const struct range *range = &list->items[i];

		append(writer, array,
		       range->low == range->high
			       ? json_integer(range->low)
			       : json_sprintf("%" PRIu32 "-%" PRIu32, range->low, range->high));
	}
	return array;
}

/* A number, or "TYPE/CODE". */
static json_t *write_types(struct writer *writer, const struct range_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->nr; i++) {
		const struct range *range = &list->items[i];

		append(writer, array,
		       range->low == range->high ? json_sprintf("%" PRIu32 "/%" PRIu32,
								range->low >> 8, range->low & 255)
						 : json_integer(range->low >> 8));
	}
	return array;
}

static json_t *write_items(struct writer *writer, const struct item_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->nr; i++) {
		const struct service_item *item = &list->items[i];
		const char *name = word_name(protocol_words, item->protocol);
		json_t *object = json_object();

		switch (item->kind) {
		case ITEM_ANY:
			set(writer, object, "any", json_true());
			break;
		case ITEM_SERVICE:
			set(writer, object, "service", json_string(item->name));
			break;
		case ITEM_PROTOCOL:
			set(writer, object, "protocol",
			    name ? json_string(name) : json_integer(item->protocol));
			if (item->destinations.nr && protocol_has_types(item->protocol))
				set(writer, object, "types",
				    write_types(writer, &item->destinations));
			else if (item->destinations.nr)
				set(writer, object, "ports",
				    write_ports(writer, &item->destinations));
			if (item->sources.nr)
				set(writer, object, "source_ports",
				    write_ports(writer, &item->sources));
			break;
		}
		append(writer, array, object);
	}
	return array;
}

static json_t *write_rule(struct writer *writer, const struct rule *rule)
{
	json_t *object = json_object(), *limit;

	set(writer, object, "name", json_string(rule->name));
	set(writer, object, "action", json_string(word_name(action_words, rule->action)));
	if (rule->direction != RULE_BOTH)
		set(writer, object, "direction",
		    json_string(rule->direction == RULE_IN ? "in" : "out"));
	if (rule->from.nr)
		set(writer, object, "from", write_operands(writer, &rule->from));
	if (rule->to.nr)
		set(writer, object, "to", write_operands(writer, &rule->to));
	if (rule->services.nr)
		set(writer, object, "service", write_items(writer, &rule->services));
	if (rule->applied_to.nr)
		set(writer, object, "applied_to", write_operands(writer, &rule->applied_to));
	if (rule->log)
		set(writer, object, "log", json_true());
	if (rule->stateless)
		set(writer, object, "stateless", json_true());
	if (rule->on_change != DFW_ON_CHANGE_REVALIDATE)
		set(writer, object, "on_change",
		    json_string(word_name(on_change_words, rule->on_change)));
	if (rule->limit) {
		limit = json_object();
		set(writer, limit, "per_second", json_integer(rule->limit));
		if (rule->burst)
			set(writer, limit, "burst", json_integer(rule->burst));
		if (rule->limit_per_source)
			set(writer, limit, "per_source", json_true());
		set(writer, object, "limit", limit);
	}
	if (rule->max_flows)
		set(writer, object, "max_flows", json_integer(rule->max_flows));
	return object;
}

static json_t *write_groups(struct writer *writer, const struct policy *policy)
{
	json_t *array = json_array();

	for (size_t i = 0; i < policy->groups.nr; i++) {
		const struct group *group = policy->groups.items[i];
		json_t *object = json_object();

		set(writer, object, "name", json_string(group->name));
		set(writer, object, "members", write_operands(writer, &group->members));
		append(writer, array, object);
	}
	return array;
}

static json_t *write_services(struct writer *writer, const struct policy *policy)
{
	json_t *array = json_array();

	for (size_t i = 0; i < policy->services.nr; i++) {
		const struct service *service = policy->services.items[i];
		json_t *object;

		if (service->built_in)
			continue;
		object = json_object();
		set(writer, object, "name", json_string(service->name));
		set(writer, object, "items", write_items(writer, &service->items));
		append(writer, array, object);
	}
	return array;
}

static json_t *write_tiers(struct writer *writer, const struct policy *policy)
{
	json_t *array = json_array();

	for (size_t i = 0; i < policy->tiers.nr; i++) {
		const struct tier *tier = policy->tiers.items[i];
		json_t *object = json_object(), *rules = json_array();

		for (size_t j = 0; j < tier->rules.nr; j++)
			append(writer, rules, write_rule(writer, tier->rules.items[j]));
		set(writer, object, "name", json_string(tier->name));
		set(writer, object, "rules", rules);
		append(writer, array, object);
	}
	return array;
}

static json_t *write_profile(struct writer *writer, const struct profile *profile)
{
	json_t *object = json_object(), *flags = json_object(), *limits = json_object();
	json_t *timeouts = json_object();
	char text[DURATION_TEXT_LEN];

	for (int bit = 0; bit < DFW_PROFILE_BITS; bit++)
		if (profile->flags_given & 1U << bit)
			set(writer, flags, word_name(profile_flag_words, bit),
			    json_boolean(profile->flags & 1U << bit));
	for (int limit = 0; limit < PROFILE_NR_LIMITS; limit++)
		if (profile->limits_given & 1U << limit)
			set(writer, limits, word_name(profile_limit_words, limit),
			    json_integer(profile->limits[limit]));
	for (int state = 0; state < DFW_FLOW_STATES; state++)
		if (profile->timeouts_given & 1U << state)
			set(writer, timeouts, word_name(state_words, state),
			    json_string(duration_format(profile->timeouts_ns[state], text)));

	set(writer, object, "name", json_string(profile->name));
	set(writer, object, "flags", flags);
	set(writer, object, "limits", limits);
	if (profile->resync_given)
		set(writer, object, "resync",
		    json_sprintf("%" PRIu32 "s", profile->resync_seconds));
	set(writer, object, "timeouts", timeouts);
	return object;
}

static json_t *write_profiles(struct writer *writer, const struct policy *policy)
{
	json_t *array = json_array();

	for (size_t i = 0; i < policy->profiles.nr; i++)
		append(writer, array, write_profile(writer, policy->profiles.items[i]));
	return array;
}

static json_t *write_defaults(struct writer *writer, const struct policy *policy)
{
	static const char *const names[] = {[DFW_IN] = "in", [DFW_OUT] = "out"};
	json_t *object = json_object();

	for (size_t i = 0; i < DFW_DIRECTIONS; i++) {
		const struct default_rule *rule = &policy->defaults[i];
		json_t *value;

		if (!rule->given)
			continue;
		value = json_object();
		set(writer, value, "action", json_string(word_name(action_words, rule->action)));
		if (rule->log)
			set(writer, value, "log", json_true());
		set(writer, object, names[i], value);
	}
	return object;
}

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}

int policy_to_json(const struct policy *policy, char **json)
{
	_cleanup_(cleanup_json) json_t *root = json_object();
	_cleanup_free_ char *text = NULL;
	struct writer writer = {0};
	char *ended;

	set(&writer, root, "groups", write_groups(&writer, policy));
	set(&writer, root, "services", write_services(&writer, policy));
	set(&writer, root, "profiles", write_profiles(&writer, policy));
	set(&writer, root, "tiers", write_tiers(&writer, policy));
	set(&writer, root, "defaults", write_defaults(&writer, policy));
	if (writer.no_memory)
		return -ENOMEM;
	text = json_dumps(root, JSON_INDENT(2));
	if (!text)
		return -ENOMEM;
	if (asprintf(&ended, "%s\n", text) < 0)
		return -ENOMEM;
	*json = ended;
	return 0;
}
