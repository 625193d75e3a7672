// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "table.h"
#include "parser.h"
#include "traffic.h"

struct resolver {
	struct parser *parser;
	struct policy *policy;
	struct table services;
	/* The definitions being walked, to tell a cycle by its names. */
	const char *path[MODEL_MAX_NESTING + 1];
	size_t path_len;
	bool too_deep; /* was reported: whoever refers to it would be too */
};

/* ---- Names --------------------------------------------------------------------------------------------------- */

static void twice(struct resolver *resolver, const struct place *place, const char *what,
		  const char *name, const struct place *first)
{
	parser_error(resolver->parser, place, "%s '%s' is defined twice, first at %s", what, name,
		     parser_place_text(resolver->parser, first));
}

#define ADD_NAMES(resolver, what, names, definitions)                                          \
	for (size_t i = 0; i < (definitions)->nr; i++) {                                       \
		__typeof__(*(definitions)->items) definition = (definitions)->items[i], first; \
                                                                                               \
		first = table_add_name(&(resolver)->policy->arena, (names), definition->name,  \
				       definition);                                            \
		if (!first)                                                                    \
			parser_no_memory((resolver)->parser);                                  \
		else if (first != definition)                                                  \
			twice((resolver), &definition->place, (what), definition->name,        \
			      &first->place);                                                  \
	}

static void add_names(struct resolver *resolver)
{
	struct policy *policy = resolver->policy;
	struct table tiers = {0}, profiles = {0};

	ADD_NAMES(resolver, "group", &policy->groups_by_name, &policy->groups)
	ADD_NAMES(resolver, "service", &resolver->services, &policy->services)
	ADD_NAMES(resolver, "profile", &profiles, &policy->profiles)
	if (!resolver->parser->implicit_tier) {
		ADD_NAMES(resolver, "tier", &tiers, &policy->tiers)
	}
	for (size_t i = 0; i < policy->groups.nr; i++)
		policy->groups.items[i]->index = i;
	for (size_t i = 0; i < policy->tiers.nr; i++)
		policy->tiers.items[i]->index = i;
}

/* Read like a file of the user's, but later, so that a definition of the policy hides the one of the same name. */
static void add_built_in_services(struct resolver *resolver)
{
	struct policy *policy = resolver->policy;
	size_t first = policy->services.nr, nr = 0;

	for (const struct built_in_service *service = built_in_services; service->name; service++) {
		char *text;

		if (table_find_name(&resolver->services, service->name))
			continue;
		text = arena_printf(&policy->arena, "service %s { %s }", service->name,
				    service->text);
		if (!text) {
			parser_no_memory(resolver->parser);
			return;
		}
		text_read(resolver->parser, "built-in", text, strlen(text));
	}
	for (nr = first; nr < policy->services.nr; nr++) {
		struct service *service = policy->services.items[nr];

		service->built_in = true;
		if (!table_add_name(&policy->arena, &resolver->services, service->name, service))
			parser_no_memory(resolver->parser);
	}
}

const struct group *policy_group(const struct policy *policy, const char *name)
{
	return table_find_name(&policy->groups_by_name, name);
}

const struct group *policy_nth_group(const struct policy *policy, size_t n)
{
	return n < policy->groups.nr ? policy->groups.items[n] : NULL;
}

const char *group_name(const struct group *group)
{
	return group->name;
}

size_t group_size(const struct group *group)
{
	return group->members.nr;
}

static bool find_group(struct resolver *resolver, struct operand *operand)
{
	struct suggestion suggestion = {.wanted = operand->name};
	const struct policy *policy = resolver->policy;
	char mean[SUGGESTION_TEXT_LEN];

	operand->group = table_find_name(&policy->groups_by_name, operand->name);
	if (operand->group)
		return true;
	for (size_t i = 0; i < policy->groups.nr && !parser_errors_full(resolver->parser); i++)
		suggestion_offer(&suggestion, policy->groups.items[i]->name);
	if (!name_valid(operand->name) ||
	    strspn(operand->name, "0123456789.-") == strlen(operand->name))
		parser_error(resolver->parser, &operand->place,
			     "'%.80s' is no group, address or prefix", operand->name);
	else if (strcmp(operand->name, "any") == 0 || strcmp(operand->name, "any-vport") == 0)
		parser_error(resolver->parser, &operand->place,
			     "there is no group '%s', without quotes it would be the word of the "
			     "language",
			     operand->name);
	else
		parser_error(resolver->parser, &operand->place, "unknown group '%s'%s",
			     operand->name, suggestion_text(&suggestion, mean));
	return false;
}

static bool find_service(struct resolver *resolver, struct service_item *item)
{
	struct suggestion suggestion = {.wanted = item->name};
	const struct policy *policy = resolver->policy;
	char mean[SUGGESTION_TEXT_LEN];

	item->service = table_find_name(&resolver->services, item->name);
	if (item->service)
		return true;
	for (size_t i = 0; i < policy->services.nr && !parser_errors_full(resolver->parser); i++)
		suggestion_offer(&suggestion, policy->services.items[i]->name);
	if (!suggestion.best && word_value(protocol_words, item->name) >= 0)
		parser_error(resolver->parser, &item->place,
			     "unknown service '%s', the protocol is written 'protocol %s'",
			     item->name, item->name);
	else
		parser_error(resolver->parser, &item->place, "unknown service '%.80s'%s",
			     item->name, suggestion_text(&suggestion, mean));
	return false;
}

/* ---- Nesting ------------------------------------------------------------------------------------------------- */

/* Steps into a definition. Returns false when it must not be walked: known already, a cycle, or too deep. */
static bool enter(struct resolver *resolver, const char *what, enum walk *walk, const char *name,
		  const struct place *place)
{
	size_t used = 0, start = 0;
	char cycle[512] = "";

	if (*walk == WALK_DONE || resolver->too_deep)
		return false;
	if (*walk == WALK_OPEN) {
		while (strcmp(resolver->path[start], name) != 0)
			start++;
		for (size_t i = start; i < resolver->path_len && used < sizeof(cycle); i++)
			used += (size_t)snprintf(cycle + used, sizeof(cycle) - used, "%s -> ",
						 resolver->path[i]);
		parser_error(resolver->parser, place, "%s '%s' contains itself: %s%s", what, name,
			     cycle, name);
		return false;
	}
	if (resolver->path_len == MODEL_MAX_NESTING) {
		parser_error(resolver->parser, place, "%ss contain each other more than %d deep",
			     what, MODEL_MAX_NESTING);
		resolver->too_deep = true;
		return false;
	}
	*walk = WALK_OPEN;
	resolver->path[resolver->path_len++] = name;
	return true;
}

/* Steps out. The walk meets a definition once only, so depth is also counted from below. */
static void leave(struct resolver *resolver, const char *what, enum walk *walk,
		  const struct place *place, unsigned int nesting)
{
	*walk = WALK_DONE;
	resolver->path_len--;
	if (nesting > MODEL_MAX_NESTING && !resolver->too_deep) {
		parser_error(resolver->parser, place, "%ss contain each other more than %d deep",
			     what, MODEL_MAX_NESTING);
		resolver->too_deep = true;
	}
}

static void walk_group(struct resolver *resolver, struct group *group, const struct place *place)
{
	if (!enter(resolver, "group", &group->walk, group->name, place))
		return;
	/* An empty one waits for addresses that come at run time. */
	group->has_addresses = group->members.nr == 0;
	for (size_t i = 0; i < group->members.nr; i++) {
		struct operand *member = &group->members.items[i];

		switch (member->kind) {
		case OPERAND_PREFIX:
			group->has_addresses = true;
			break;
		case OPERAND_GROUP:
			if (!find_group(resolver, member))
				break;
			walk_group(resolver, member->group, &member->place);
			group->has_addresses |= member->group->has_addresses;
			group->has_vports |= member->group->has_vports;
			if (group->nesting < member->group->nesting)
				group->nesting = member->group->nesting;
			break;
		default:
			group->has_vports = true;
		}
	}
	group->nesting++;
	leave(resolver, "group", &group->walk, &group->place, group->nesting);
}

static void add_traffic(struct resolver *resolver, struct traffic *traffic,
			const struct service_item *item)
{
	int r = traffic_add(&resolver->policy->arena, traffic, item);

	if (r == -ENOMEM)
		parser_no_memory(resolver->parser);
	else if (r < 0)
		parser_error(
			resolver->parser, &item->place,
			"this pairs destination and source ports of its protocol otherwise than "
			"what stands before it; write a rule for each");
}

static void finish_traffic(struct resolver *resolver, struct traffic *traffic)
{
	if (traffic_finish(&resolver->policy->arena, traffic) < 0)
		parser_no_memory(resolver->parser);
}

static void walk_service(struct resolver *resolver, struct service *service,
			 const struct place *place)
{
	if (!enter(resolver, "service", &service->walk, service->name, place))
		return;
	if (service->items.nr == 0)
		parser_error(resolver->parser, &service->place,
			     "service '%s' is empty, a service has at least one item",
			     service->name);
	for (size_t i = 0; i < service->items.nr; i++) {
		struct service_item *item = &service->items.items[i];

		if (item->kind == ITEM_SERVICE) {
			if (!find_service(resolver, item))
				continue;
			walk_service(resolver, item->service, &item->place);
			if (item->service->walk != WALK_DONE)
				continue;
			if (service->nesting < item->service->nesting)
				service->nesting = item->service->nesting;
		}
		add_traffic(resolver, &service->traffic, item);
	}
	finish_traffic(resolver, &service->traffic);
	service->nesting++;
	leave(resolver, "service", &service->walk, &service->place, service->nesting);
}

/* ---- Rules --------------------------------------------------------------------------------------------------- */

uint32_t policy_rule_id(const char *tier, const char *name)
{
	const char *parts[] = {tier, "/", name};
	uint32_t hash = 2166136261U;

	for (size_t i = 0; i < 3; i++)
		for (const char *c = parts[i]; *c; c++)
			hash = (hash ^ (unsigned char)*c) * 16777619U;
	/* 0 stands for "no rule" in the datapath. */
	return hash ? hash : 1;
}

static void resolve_operands(struct resolver *resolver, struct operand_list *list)
{
	for (size_t i = 0; i < list->nr; i++)
		if (list->items[i].kind == OPERAND_GROUP)
			find_group(resolver, &list->items[i]);
}

static void check_applied_to(struct resolver *resolver, const struct operand_list *list)
{
	for (size_t i = 0; i < list->nr; i++) {
		const struct operand *operand = &list->items[i];

		if (operand->kind == OPERAND_PREFIX)
			parser_error(
				resolver->parser, &operand->place,
				"applied-to names vports, by group, name or tag, not addresses");
		else if (operand->kind == OPERAND_GROUP && operand->group &&
			 operand->group->walk == WALK_DONE && !operand->group->has_vports)
			parser_error(resolver->parser, &operand->place,
				     "applied-to names vports, and group '%s' has none in it",
				     operand->name);
	}
}

static void resolve_services(struct resolver *resolver, struct rule *rule)
{
	struct traffic *traffic;
	bool known = true;

	for (size_t i = 0; i < rule->services.nr; i++) {
		struct service_item *item = &rule->services.items[i];

		if (item->kind == ITEM_SERVICE)
			known &= find_service(resolver, item);
	}
	if (!known)
		return;
	/* The most frequent case shares what the service has; it may be large. */
	if (rule->services.nr == 1 && rule->services.items[0].kind == ITEM_SERVICE) {
		rule->traffic = &rule->services.items[0].service->traffic;
		return;
	}
	traffic = arena_alloc(&resolver->policy->arena, sizeof(*traffic));
	if (!traffic) {
		parser_no_memory(resolver->parser);
		return;
	}
	traffic->any = rule->services.nr == 0;
	for (size_t i = 0; i < rule->services.nr; i++)
		add_traffic(resolver, traffic, &rule->services.items[i]);
	finish_traffic(resolver, traffic);
	rule->traffic = traffic;
}

static void resolve_rule(struct resolver *resolver, struct rule *rule)
{
	struct parser *parser = resolver->parser;

	rule->id = policy_rule_id(rule->tier->name, rule->name);
	resolve_operands(resolver, &rule->from);
	resolve_operands(resolver, &rule->to);
	resolve_operands(resolver, &rule->applied_to);
	check_applied_to(resolver, &rule->applied_to);
	resolve_services(resolver, rule);
	if (rule->action != DFW_ACTION_ALLOW && (rule->limit || rule->max_flows))
		parser_error(parser, &rule->place,
			     "rule '%s': %s counts flows, so it goes with 'allow' only", rule->name,
			     rule->limit ? "limit" : "max-flows");
	if (rule->stateless && rule->max_flows)
		parser_error(parser, &rule->place,
			     "rule '%s': a stateless rule makes no flows for max-flows to count",
			     rule->name);
}

static int compare_ids(const void *a, const void *b)
{
	const struct rule *left = *(struct rule *const *)a, *right = *(struct rule *const *)b;

	if (left->id != right->id)
		return left->id < right->id ? -1 : 1;
	return (left->order > right->order) - (left->order < right->order);
}

static void check_ids(struct resolver *resolver, struct rule *const *rules, size_t nr)
{
	const uint32_t default_ids[] = {policy_rule_id("default", "in"),
					policy_rule_id("default", "out")};

	for (size_t i = 0; i < nr; i++) {
		const struct rule *rule = rules[i], *other = i ? rules[i - 1] : NULL;

		if (rule->id == default_ids[0] || rule->id == default_ids[1])
			parser_error(
				resolver->parser, &rule->place,
				"rule '%s/%s' has the id of the policy's default, give it another "
				"name",
				rule->tier->name, rule->name);
		if (!other || other->id != rule->id)
			continue;
		/* A tier that stands twice is told once, not again for its rules. */
		if (strcmp(rule->name, other->name) == 0 && rule->tier == other->tier)
			twice(resolver, &rule->place, "rule", rule->name, &other->place);
		else if (strcmp(rule->name, other->name) != 0 ||
			 strcmp(rule->tier->name, other->tier->name) != 0)
			parser_error(resolver->parser, &rule->place,
				     "rules '%s/%s' and '%s/%s' have the same id %" PRIu32
				     ", give one another name",
				     other->tier->name, other->name, rule->tier->name, rule->name,
				     rule->id);
	}
}

static void resolve_rules(struct resolver *resolver)
{
	struct policy *policy = resolver->policy;
	struct rule **rules;
	size_t nr = 0;

	for (size_t i = 0; i < policy->tiers.nr; i++)
		nr += policy->tiers.items[i]->rules.nr;
	rules = arena_alloc(&policy->arena, (nr + 1) * sizeof(*rules));
	if (!rules) {
		parser_no_memory(resolver->parser);
		return;
	}
	nr = 0;
	for (size_t i = 0; i < policy->tiers.nr; i++) {
		const struct tier *tier = policy->tiers.items[i];

		for (size_t j = 0; j < tier->rules.nr; j++) {
			resolve_rule(resolver, tier->rules.items[j]);
			tier->rules.items[j]->order = nr;
			rules[nr++] = tier->rules.items[j];
		}
	}
	qsort(rules, nr, sizeof(*rules), compare_ids);
	check_ids(resolver, rules, nr);
	policy->rules_by_id = rules;
	policy->nr_rules = nr;
}

static void check_tiers(struct resolver *resolver)
{
	const struct policy *policy = resolver->policy;
	const struct tier *implicit = resolver->parser->implicit_tier;

	if (implicit && policy->tiers.nr > 1) {
		const struct tier *tier = policy->tiers.items[policy->tiers.items[0] == implicit];

		parser_error(resolver->parser, &implicit->place,
			     "a rule stands outside of the tiers, but the policy has tiers: put it "
			     "into one, '%s' for example",
			     tier->name);
	}
	if (policy->tiers.nr > DFW_MAX_TIERS)
		parser_error(resolver->parser, &policy->tiers.items[DFW_MAX_TIERS]->place,
			     "a policy has at most %d tiers", DFW_MAX_TIERS);
}

void policy_resolve(struct parser *parser)
{
	struct policy *policy = parser->policy;
	struct resolver resolver = {.parser = parser, .policy = policy};

	add_names(&resolver);
	add_built_in_services(&resolver);
	check_tiers(&resolver);
	for (size_t i = 0; i < policy->groups.nr && !parser->no_memory; i++)
		walk_group(&resolver, policy->groups.items[i], &policy->groups.items[i]->place);
	resolver.too_deep = false;
	for (size_t i = 0; i < policy->services.nr && !parser->no_memory; i++)
		walk_service(&resolver, policy->services.items[i],
			     &policy->services.items[i]->place);
	if (!parser->no_memory)
		resolve_rules(&resolver);
}
