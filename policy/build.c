// SPDX-License-Identifier: GPL-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <string.h>

#include "addr.h"
#include "build.h"
#include "util.h"

#define NS_PER_SECOND	   1000000000ULL
#define LONGEST_TIMEOUT_NS (366ULL * 86400 * NS_PER_SECOND)
#define LONGEST_RESYNC_NS  (3600 * NS_PER_SECOND)

/* Room in a message for a word of the input, which may be as long as a file. */
#define SHORT_WORD "%.80s"

static bool build_name(struct parser *parser, const struct place *place, const char *what,
		       const char *name)
{
	if (name_valid(name))
		return true;
	parser_error(parser, place,
		     "'" SHORT_WORD
		     "' is no name for a %s, it would be 1 to %d letters, digits, '_', "
		     "'.' and '-', the last two not first",
		     name, what, MODEL_MAX_NAME);
	return false;
}

#define BUILD_DEFINITION(type, list)                                                \
	struct type *build_##type(struct parser *parser, const struct place *place, \
				  const char *name)                                 \
	{                                                                           \
		struct policy *policy = parser->policy;                             \
		struct type **slot = list_push(&policy->arena, &policy->list);      \
		struct type *type = arena_alloc(&policy->arena, sizeof(*type));     \
                                                                                    \
		if (!slot || !type) {                                               \
			policy->list.nr -= slot != NULL;                            \
			return parser_no_memory(parser);                            \
		}                                                                   \
		build_name(parser, place, #type, name);                             \
		*type = (struct type){.name = name, .place = *place};               \
		*slot = type;                                                       \
		return type;                                                        \
	}

BUILD_DEFINITION(group, groups)
BUILD_DEFINITION(service, services)
BUILD_DEFINITION(tier, tiers)
BUILD_DEFINITION(profile, profiles)

/* The length of a prefix of IPv4 in IPv6 form, which stands behind the slash; NULL: it is an address. False: no length, or
 * one for more than IPv4. */
static bool length_in_v6(const char *slash, uint32_t *bits)
{
	uint64_t length = DFW_ADDR_BITS;

	if (slash && number_parse(slash + 1, DFW_ADDR_BITS, &length) < 0)
		return false;
	*bits = (uint32_t)length;
	return length >= DFW_V4_PREFIX_BITS;
}

/* Says what is wrong with a text that prefix_parse refused, and what the writer may have meant. */
static void prefix_error(struct parser *parser, const struct place *place, const char *text,
			 int error)
{
	const char *slash = strchr(text, '/');
	size_t host_len = slash ? (size_t)(slash - text) : strlen(text);
	char right[PREFIX_TEXT_LEN], host[ADDR_TEXT_LEN];
	struct dfw_addr addr;
	uint32_t bits;

	if (host_len >= sizeof(host)) {
		parser_error(parser, place, "'" SHORT_WORD "' is no address or prefix", text);
		return;
	}
	memcpy(host, text, host_len);
	host[host_len] = '\0';

	if (error == -EDOM) {
		addr_parse(host, &addr);
		bits = (uint32_t)strtoul(slash + 1, NULL, 10);
		bits += addr_is_v4(&addr) ? DFW_V4_PREFIX_BITS : 0;
		addr_mask(&addr, bits);
		parser_error(parser, place,
			     "%s has bits behind the prefix length, write %s, or %s alone", text,
			     prefix_format(&addr, bits, right), host);
	} else if (error == -ERANGE) {
		addr_parse(host, &addr);
		parser_error(parser, place,
			     "'" SHORT_WORD
			     "' is too long a prefix, an IPv%d prefix has at most %d bits",
			     text, addr_is_v4(&addr) ? 4 : 6, addr_is_v4(&addr) ? 32 : 128);
	} else if (inet_pton(AF_INET6, host, addr.bytes) == 1 && addr_is_v4(&addr) &&
		   length_in_v6(slash, &bits)) {
		addr_mask(&addr, bits);
		parser_error(parser, place,
			     "'" SHORT_WORD "' is an IPv4 %s in an IPv6 one, write %s", text,
			     slash ? "prefix" : "address", prefix_format(&addr, bits, right));
	} else {
		parser_error(parser, place,
			     "'" SHORT_WORD "' is no address or prefix, write for example "
			     "10.0.0.1, 10.0.0.0/8 or 2001:db8::/32",
			     text);
	}
}

bool build_prefix(struct parser *parser, const struct place *place, const char *text,
		  struct operand *operand)
{
	int r = prefix_parse(text, &operand->address, &operand->prefix_bits);

	operand->kind = OPERAND_PREFIX;
	operand->place = *place;
	if (r < 0)
		prefix_error(parser, place, text, r);
	return r == 0;
}

bool build_pattern(struct parser *parser, const struct place *place, const char *pattern,
		   struct operand *operand)
{
	operand->kind = OPERAND_VPORT;
	operand->place = *place;
	operand->pattern = pattern;
	for (const char *c = pattern; *c; c++) {
		if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
		    (*c >= '0' && *c <= '9') || strchr("._-:*?", *c))
			continue;
		parser_error(parser, place,
			     "'" SHORT_WORD
			     "' names no vport, it would be letters, digits and . _ - : "
			     "with * for any letters and ? for one",
			     pattern);
		return false;
	}
	if (!*pattern || strlen(pattern) >= DFW_PORT_NAME_LEN) {
		parser_error(parser, place, "the name of a vport is 1 to %d letters long",
			     DFW_PORT_NAME_LEN - 1);
		return false;
	}
	return true;
}

static struct tag_expr *tag_new(struct parser *parser, enum tag_kind kind)
{
	struct tag_expr *expr = arena_alloc(&parser->policy->arena, sizeof(*expr));

	if (!expr)
		return parser_no_memory(parser);
	expr->kind = kind;
	expr->depth = 1;
	return expr;
}

static bool tag_adopt(struct parser *parser, const struct place *place, struct tag_expr *parent,
		      struct tag_expr *child)
{
	struct tag_expr **slot = list_push(&parser->policy->arena, &parent->children);

	if (!slot) {
		parser_no_memory(parser);
		return false;
	}
	*slot = child;
	if (parent->depth < child->depth + 1)
		parent->depth = child->depth + 1;
	if (parent->depth == MODEL_MAX_DEPTH + 1) {
		parser_error(parser, place, "a tag expression nests at most %d deep",
			     MODEL_MAX_DEPTH);
		/* Said once; the policy is lost, what follows must only not go deeper. */
		parent->depth = 1;
		parent->children.nr = 0;
	}
	return true;
}

struct tag_expr *build_tag(struct parser *parser, const struct place *place, const char *key,
			   const char *value)
{
	struct tag_expr *expr = tag_new(parser, value ? TAG_EQUALS : TAG_PRESENT);

	if (!expr)
		return NULL;
	if (!*key)
		parser_error(parser, place, "a tag has a key of at least one letter");
	/* It would mean what a shorter key with a longer value means. */
	if (strchr(key, '='))
		parser_error(parser, place,
			     "the key '" SHORT_WORD
			     "' has a '=' in it, which ends the key of a tag: the value is given "
			     "apart from it",
			     key);
	expr->key = key;
	expr->value = value;
	return expr;
}

struct tag_expr *build_tag_not(struct parser *parser, const struct place *place,
			       struct tag_expr *child)
{
	struct tag_expr *expr = tag_new(parser, TAG_NOT);

	if (!expr || !tag_adopt(parser, place, expr, child))
		return NULL;
	return expr;
}

struct tag_expr *build_tag_join(struct parser *parser, const struct place *place,
				enum tag_kind kind, struct tag_expr *left, struct tag_expr *right)
{
	struct tag_expr *expr = left;

	if (left->kind != kind) {
		expr = tag_new(parser, kind);
		if (!expr || !tag_adopt(parser, place, expr, left))
			return NULL;
	}
	return tag_adopt(parser, place, expr, right) ? expr : NULL;
}

bool build_number(struct parser *parser, const struct place *place, const char *what,
		  const char *text, uint32_t lowest, uint32_t highest, uint32_t *number)
{
	uint64_t value = 0;
	int r = number_parse(text, highest, &value);

	if (r == -EINVAL)
		parser_error(parser, place,
			     "'" SHORT_WORD "' is no number, %s is %" PRIu32 " to %" PRIu32, text,
			     what, lowest, highest);
	else if (r < 0)
		parser_error(parser, place, "%s " SHORT_WORD " is above %" PRIu32, what, text,
			     highest);
	else if (value < lowest)
		parser_error(parser, place, "%s " SHORT_WORD " is below %" PRIu32, what, text,
			     lowest);
	else
		*number = (uint32_t)value;
	return r == 0 && value >= lowest;
}

int build_word(struct parser *parser, const struct place *place, const char *what,
	       const struct word *words, const char *text)
{
	struct suggestion suggestion = {.wanted = text};
	char mean[SUGGESTION_TEXT_LEN];
	int value = word_value(words, text);

	if (value < 0) {
		suggestion_offer_words(&suggestion, words);
		parser_error(parser, place, "unknown %s '" SHORT_WORD "'%s", what, text,
			     suggestion_text(&suggestion, mean));
	}
	return value;
}

static bool add_range(struct parser *parser, struct range_list *list, uint32_t low, uint32_t high)
{
	struct range *range = list_push(&parser->policy->arena, list);

	if (!range) {
		parser_no_memory(parser);
		return false;
	}
	*range = (struct range){.low = low, .high = high};
	return true;
}

bool build_ports(struct parser *parser, const struct place *place, const char *text,
		 struct range_list *ports)
{
	static const char digits[] = "0123456789";
	const char *dash = strchr(text, '-');
	size_t before = strspn(text, digits);
	uint32_t low = 0, high = 0;
	size_t behind;
	char *first;

	if (!dash)
		return build_number(parser, place, "port", text, 0, 65535, &low) &&
		       add_range(parser, ports, low, low);

	/* Of half a range the message would name the other half, which may be nothing. */
	behind = strspn(dash + 1, digits);
	if (!before || text + before != dash || !behind || dash[1 + behind]) {
		parser_error(parser, place,
			     "'" SHORT_WORD
			     "' is no port and no range of them, write for example 80 or 8000-8080",
			     text);
		return false;
	}
	first = arena_copy(&parser->policy->arena, text, (size_t)(dash - text));
	if (!first) {
		parser_no_memory(parser);
		return false;
	}
	if (!build_number(parser, place, "port", first, 0, 65535, &low) ||
	    !build_number(parser, place, "port", dash + 1, 0, 65535, &high))
		return false;
	if (low > high) {
		parser_error(parser, place,
			     "port range %s runs backwards, write %" PRIu32 "-%" PRIu32, text, high,
			     low);
		return false;
	}
	return add_range(parser, ports, low, high);
}

bool build_icmp(struct parser *parser, const struct place *place, uint8_t protocol,
		const char *type, const char *code, struct range_list *values)
{
	uint32_t type_number = 0, code_number = 0;

	if (*type >= '0' && *type <= '9') {
		if (!build_number(parser, place, "ICMP type", type, 0, 255, &type_number))
			return false;
	} else {
		int value = build_word(parser, place,
				       protocol == IPPROTO_ICMP ? "ICMP type" : "ICMPv6 type",
				       protocol == IPPROTO_ICMP ? icmp_words : icmp6_words, type);

		if (value < 0)
			return false;
		type_number = (uint32_t)value;
	}
	if (!code)
		return add_range(parser, values, type_number << 8, type_number << 8 | 255);
	if (!build_number(parser, place, "ICMP code", code, 0, 255, &code_number))
		return false;
	return add_range(parser, values, type_number << 8 | code_number,
			 type_number << 8 | code_number);
}

bool build_protocol(struct parser *parser, const struct place *place, const char *text,
		    uint8_t *protocol)
{
	uint32_t number = 0;
	int value;

	if (*text >= '0' && *text <= '9') {
		if (!build_number(parser, place, "protocol", text, 0, 255, &number))
			return false;
		*protocol = (uint8_t)number;
		return true;
	}
	value = build_word(parser, place, "protocol", protocol_words, text);
	if (value < 0)
		return false;
	*protocol = (uint8_t)value;
	return true;
}

bool protocol_has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP;
}

bool protocol_has_types(uint8_t protocol)
{
	return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
}

bool build_rule(struct parser *parser, struct tier *tier, struct rule *rule)
{
	struct policy *policy = parser->policy;
	struct rule **slot;

	if (!tier && !parser->implicit_tier)
		parser->implicit_tier = build_tier(parser, &rule->place, "default");
	if (!tier)
		tier = parser->implicit_tier;
	if (!tier)
		return false;
	build_name(parser, &rule->place, "rule", rule->name);
	slot = list_push(&policy->arena, &tier->rules);
	if (!slot)
		return parser_no_memory(parser);
	rule->tier = tier;
	*slot = rule;
	return true;
}

bool build_default(struct parser *parser, const struct place *place, enum dfw_direction direction,
		   int action, bool log)
{
	struct default_rule *rule = &parser->policy->defaults[direction];

	if (rule->given)
		parser_error(parser, place, "the default %s is given twice, first at %s",
			     direction == DFW_IN ? "in" : "out",
			     parser_place_text(parser, &rule->place));
	else if (action == DFW_ACTION_PASS)
		parser_error(parser, place, "a default cannot pass, there is nothing behind it");
	else
		*rule = (struct default_rule){
			.given = true,
			.place = *place,
			.action = (enum dfw_action)action,
			.log = log,
		};
	return rule->given;
}

static bool setting_twice(struct parser *parser, const struct place *place, const char *name,
			  bool twice)
{
	if (twice)
		parser_error(parser, place, "'%s' stands twice in this profile", name);
	return twice;
}

bool build_flag(struct parser *parser, const struct place *place, struct profile *profile,
		const char *name, bool on)
{
	int bit = build_word(parser, place, "profile setting", profile_flag_words, name);
	uint32_t flag;

	if (bit < 0)
		return false;
	flag = 1U << bit;
	if (setting_twice(parser, place, name, profile->flags_given & flag))
		return false;
	profile->flags_given |= flag;
	profile->flags |= on ? flag : 0;
	return true;
}

static const struct {
	uint32_t lowest;
	uint32_t highest;
} limit_bounds[] = {
#define LIMIT_BOUNDS(field, name, initial, lowest, highest) {lowest, highest},
	PROFILE_LIMITS(LIMIT_BOUNDS)
#undef LIMIT_BOUNDS
};

bool build_limit(struct parser *parser, const struct place *place, struct profile *profile,
		 enum profile_limit limit, const char *text)
{
	const char *name = word_name(profile_limit_words, (int)limit);

	if (setting_twice(parser, place, name, profile->limits_given & 1U << limit))
		return false;
	profile->limits_given |= 1U << limit;
	return build_number(parser, place, name, text, limit_bounds[limit].lowest,
			    limit_bounds[limit].highest, &profile->limits[limit]);
}

static bool build_duration(struct parser *parser, const struct place *place, const char *text,
			   uint64_t lowest, uint64_t longest, uint64_t *ns)
{
	char low[DURATION_TEXT_LEN], high[DURATION_TEXT_LEN];
	int r = duration_parse(text, ns);

	if (r == -EINVAL)
		parser_error(parser, place,
			     "'" SHORT_WORD
			     "' is no duration, write a number with its unit: 500ms, 30s, 5m, 2h "
			     "or 1d",
			     text);
	else if (r < 0 || *ns < lowest || *ns > longest)
		parser_error(parser, place, "duration " SHORT_WORD " is not from %s to %s", text,
			     duration_format(lowest, low), duration_format(longest, high));
	else
		return true;
	return false;
}

bool build_resync(struct parser *parser, const struct place *place, struct profile *profile,
		  const char *text)
{
	uint64_t ns = 0;

	if (setting_twice(parser, place, "resync", profile->resync_given) ||
	    !build_duration(parser, place, text, 0, LONGEST_RESYNC_NS, &ns))
		return false;
	if (ns % NS_PER_SECOND) {
		parser_error(parser, place, "resync is counted in whole seconds");
		return false;
	}
	profile->resync_given = true;
	profile->resync_seconds = (uint32_t)(ns / NS_PER_SECOND);
	return true;
}

bool build_timeout(struct parser *parser, const struct place *place, struct profile *profile,
		   const char *state, const char *text)
{
	int index = build_word(parser, place, "flow state", state_words, state);

	if (index < 0 || setting_twice(parser, place, state, profile->timeouts_given & 1U << index))
		return false;
	profile->timeouts_given |= 1U << index;
	/* A live state that lasts 0 s would make flows that never match. */
	return build_duration(parser, place, text, index == DFW_FLOW_DEAD ? 0 : 1000000,
			      LONGEST_TIMEOUT_NS, &profile->timeouts_ns[index]);
}

bool build_setting(struct parser *parser, const struct place *place, struct profile *profile,
		   const char *name, const struct place *value_place, const char *value)
{
	struct suggestion suggestion = {.wanted = name};
	int limit = word_value(profile_limit_words, name);
	char mean[SUGGESTION_TEXT_LEN];
	int on;

	if (limit >= 0)
		return build_limit(parser, value_place, profile, (enum profile_limit)limit, value);
	if (strcmp(name, "resync") == 0)
		return build_resync(parser, value_place, profile, value);
	if (word_value(profile_flag_words, name) < 0) {
		suggestion_offer_words(&suggestion, profile_flag_words);
		suggestion_offer_words(&suggestion, profile_limit_words);
		suggestion_offer(&suggestion, "resync");
		parser_error(parser, place, "unknown profile setting '" SHORT_WORD "'%s", name,
			     suggestion_text(&suggestion, mean));
		return false;
	}
	on = word_value(switch_words, value);
	if (on < 0) {
		parser_error(parser, value_place, "'%s' is on or off, not '" SHORT_WORD "'", name,
			     value);
		return false;
	}
	return build_flag(parser, place, profile, name, on);
}
