// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "build.h"
#include "model.h"
#include "policy.h"
#include "util.h"
#include "words.h"

static void write_quoted(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

static void write_name(FILE *out, const char *name)
{
	if (name_plain(name))
		fputs(name, out);
	else
		write_quoted(out, name);
}

/* What the lexer reads as one word behind '=' or `vport`. */
static void write_literal(FILE *out, const char *text)
{
	if (*text && text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789._-:@/+")] == '\0')
		fputs(text, out);
	else
		write_quoted(out, text);
}

static bool key_plain(const char *key)
{
	return *key && !strchr("./-", *key) &&
	       key[strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			       "0123456789_./-")] == '\0';
}

static void write_tag(FILE *out, const struct tag_expr *expr)
{
	const char *between = expr->kind == TAG_AND ? " and " : " or ";

	switch (expr->kind) {
	case TAG_PRESENT:
		write_name(out, expr->key);
		break;
	case TAG_EQUALS:
		if (key_plain(expr->key))
			fputs(expr->key, out);
		else
			write_quoted(out, expr->key);
		fputc('=', out);
		write_literal(out, expr->value);
		break;
	case TAG_NOT:
		fputs("not ", out);
		between = "";
		/* fall through */
	case TAG_AND:
	case TAG_OR:
		for (size_t i = 0; i < expr->children.nr; i++) {
			const struct tag_expr *child = expr->children.items[i];
			bool inner = child->kind == TAG_AND || child->kind == TAG_OR;

			fprintf(out, "%s%s", i ? between : "", inner ? "(" : "");
			write_tag(out, child);
			fputs(inner ? ")" : "", out);
		}
		break;
	}
}

static void write_operand(FILE *out, const struct operand *operand)
{
	char text[PREFIX_TEXT_LEN];

	if (operand->negated)
		fputs("not ", out);
	switch (operand->kind) {
	case OPERAND_ANY:
		fputs("any", out);
		break;
	case OPERAND_ANY_VPORT:
		fputs("any-vport", out);
		break;
	case OPERAND_PREFIX:
		fputs(prefix_format(&operand->address, operand->prefix_bits, text), out);
		break;
	case OPERAND_VPORT:
		fputs("vport ", out);
		write_literal(out, operand->pattern);
		break;
	case OPERAND_TAG:
		fputs("tag ", out);
		write_tag(out, operand->tag);
		break;
	case OPERAND_GROUP:
		write_name(out, operand->name);
		break;
	}
}

int group_member_text(const struct group *group, size_t n, char **text)
{
	size_t bytes;
	FILE *out = open_memstream(text, &bytes);

	if (!out)
		return -ENOMEM;
	write_operand(out, &group->members.items[n]);
	return fclose(out) == 0 ? 0 : -ENOMEM;
}

static void write_operands(FILE *out, const char *word, const struct operand_list *list)
{
	if (list->nr)
		fprintf(out, " %s ", word);
	for (size_t i = 0; i < list->nr; i++) {
		if (i)
			fputs(", ", out);
		write_operand(out, &list->items[i]);
	}
}

static void write_ports(FILE *out, const struct range_list *ports)
{
	for (size_t i = 0; i < ports->nr; i++) {
		const struct range *range = &ports->items[i];

		fprintf(out, "%s%" PRIu32, i ? ", " : " ", range->low);
		if (range->high != range->low)
			fprintf(out, "-%" PRIu32, range->high);
	}
}

static void write_types(FILE *out, uint8_t protocol, const struct range_list *types)
{
	const struct word *words = protocol == 1 ? icmp_words : icmp6_words;

	for (size_t i = 0; i < types->nr; i++) {
		const struct range *range = &types->items[i];
		const char *name = word_name(words, (int)(range->low >> 8));

		/* Only a number goes on with a list; a name would be taken for a service. */
		if (name && types->nr == 1)
			fprintf(out, " %s", name);
		else
			fprintf(out, "%s%" PRIu32, i ? ", " : " ", range->low >> 8);
		if (range->high == range->low)
			fprintf(out, "/%" PRIu32, range->low & 255);
	}
}

static void write_item(FILE *out, const struct service_item *item)
{
	const char *name = word_name(protocol_words, item->protocol);

	if (item->kind == ITEM_ANY) {
		fputs("any", out);
	} else if (item->kind == ITEM_SERVICE) {
		write_name(out, item->name);
	} else if (protocol_has_ports(item->protocol)) {
		fputs(name, out);
		write_ports(out, &item->destinations);
		if (item->sources.nr) {
			fputs(" from-port", out);
			write_ports(out, &item->sources);
		}
	} else if (protocol_has_types(item->protocol)) {
		fputs(name, out);
		write_types(out, item->protocol, &item->destinations);
	} else if (name) {
		fprintf(out, "protocol %s", name);
	} else {
		fprintf(out, "protocol %d", item->protocol);
	}
}

static void write_rule(FILE *out, const struct rule *rule)
{
	fputs(word_name(action_words, rule->action), out);
	if (rule->direction != RULE_BOTH)
		fputs(rule->direction == RULE_IN ? " in" : " out", out);
	write_operands(out, "from", &rule->from);
	write_operands(out, "to", &rule->to);
	for (size_t i = 0; i < rule->services.nr; i++) {
		fputs(i ? ", " : " service ", out);
		write_item(out, &rule->services.items[i]);
	}
	write_operands(out, "applied-to", &rule->applied_to);
	if (rule->log)
		fputs(" log", out);
	if (rule->stateless)
		fputs(" stateless", out);
	if (rule->on_change != DFW_ON_CHANGE_REVALIDATE)
		fprintf(out, " on-change %s", word_name(on_change_words, rule->on_change));
	if (rule->limit)
		fprintf(out, " limit %" PRIu32 "/second", rule->limit);
	if (rule->burst)
		fprintf(out, " burst %" PRIu32, rule->burst);
	if (rule->limit_per_source)
		fputs(" per source", out);
	if (rule->max_flows)
		fprintf(out, " max-flows %" PRIu32, rule->max_flows);
}

static void write_default(FILE *out, enum dfw_direction direction, const struct default_rule *rule)
{
	fprintf(out, "default %s %s%s", direction == DFW_IN ? "in" : "out",
		word_name(action_words, rule->given ? rule->action : DFW_ACTION_DROP),
		rule->log ? " log" : "");
}

/* "group NAME {"; `default` is the one word of the language that needs no quotes there. */
static void write_head(FILE *out, const char *word, const char *name)
{
	fprintf(out, "%s ", word);
	if (strcmp(name, "default") == 0)
		fputs(name, out);
	else
		write_name(out, name);
	fputs(" {\n", out);
}

static void write_groups(FILE *out, const struct policy *policy)
{
	for (size_t i = 0; i < policy->groups.nr; i++) {
		const struct group *group = policy->groups.items[i];

		write_head(out, "group", group->name);
		for (size_t j = 0; j < group->members.nr; j++) {
			fputc('\t', out);
			write_operand(out, &group->members.items[j]);
			fputc('\n', out);
		}
		fputs("}\n\n", out);
	}
}

static void write_services(FILE *out, const struct policy *policy)
{
	for (size_t i = 0; i < policy->services.nr; i++) {
		const struct service *service = policy->services.items[i];

		if (service->built_in)
			continue;
		write_head(out, "service", service->name);
		for (size_t j = 0; j < service->items.nr; j++) {
			fputc('\t', out);
			write_item(out, &service->items.items[j]);
			fputc('\n', out);
		}
		fputs("}\n\n", out);
	}
}

static void write_tiers(FILE *out, const struct policy *policy)
{
	for (size_t i = 0; i < policy->tiers.nr; i++) {
		const struct tier *tier = policy->tiers.items[i];

		write_head(out, "tier", tier->name);
		for (size_t j = 0; j < tier->rules.nr; j++) {
			fprintf(out, "\t%s: ", tier->rules.items[j]->name);
			write_rule(out, tier->rules.items[j]);
			fputc('\n', out);
		}
		fputs("}\n\n", out);
	}
}

static void write_profiles(FILE *out, const struct policy *policy)
{
	char text[DURATION_TEXT_LEN];

	for (size_t i = 0; i < policy->profiles.nr; i++) {
		const struct profile *profile = policy->profiles.items[i];

		write_head(out, "profile", profile->name);
		for (int bit = 0; bit < DFW_PROFILE_BITS; bit++)
			if (profile->flags_given & 1U << bit)
				fprintf(out, "\t%s %s\n", word_name(profile_flag_words, bit),
					profile->flags & 1U << bit ? "on" : "off");
		for (int limit = 0; limit < PROFILE_NR_LIMITS; limit++)
			if (profile->limits_given & 1U << limit)
				fprintf(out, "\t%s %" PRIu32 "\n",
					word_name(profile_limit_words, limit),
					profile->limits[limit]);
		if (profile->resync_given)
			fprintf(out, "\tresync %" PRIu32 "s\n", profile->resync_seconds);
		for (int state = 0; state < DFW_FLOW_STATES; state++)
			if (profile->timeouts_given & 1U << state)
				fprintf(out, "\ttimeout %s %s\n", word_name(state_words, state),
					duration_format(profile->timeouts_ns[state], text));
		fputs("}\n\n", out);
	}
}

/* Ends an open_memstream and hands its text on. */
static int finish(FILE *out, char **buffer, char **text)
{
	_cleanup_free_ char *written = NULL;
	bool failed = ferror(out);

	failed |= fclose(out) != 0;
	written = TAKE_PTR(*buffer);
	if (failed || !written)
		return -ENOMEM;
	*text = TAKE_PTR(written);
	return 0;
}

int policy_to_text(const struct policy *policy, char **text)
{
	char *buffer = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&buffer, &bytes);

	if (!out)
		return -ENOMEM;
	write_groups(out, policy);
	write_services(out, policy);
	write_profiles(out, policy);
	write_tiers(out, policy);
	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		if (!policy->defaults[direction].given)
			continue;
		write_default(out, (enum dfw_direction)direction, &policy->defaults[direction]);
		fputc('\n', out);
	}
	return finish(out, &buffer, text);
}

static const struct rule *find_rule(const struct policy *policy, uint32_t id)
{
	size_t low = 0, high = policy->nr_rules;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (policy->rules_by_id[middle]->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < policy->nr_rules && policy->rules_by_id[low]->id == id
		       ? policy->rules_by_id[low]
		       : NULL;
}

int policy_rule_text(const struct policy *policy, uint32_t rule_id, char **text)
{
	const struct rule *rule = find_rule(policy, rule_id);
	bool in = rule_id == policy_rule_id("default", "in");
	char *buffer = NULL;
	size_t bytes = 0;
	FILE *out;

	if (!rule && !in && rule_id != policy_rule_id("default", "out"))
		return -ENOENT;
	out = open_memstream(&buffer, &bytes);
	if (!out)
		return -ENOMEM;
	if (rule)
		write_rule(out, rule);
	else
		write_default(out, in ? DFW_IN : DFW_OUT, &policy->defaults[in ? DFW_IN : DFW_OUT]);
	return finish(out, &buffer, text);
}
