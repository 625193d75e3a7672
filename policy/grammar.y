/* SPDX-License-Identifier: GPL-2.0 */
/* The text form of a policy; docs/man/dfw-policy.5 tells it to people. */

%code requires {
#include "policy/build.h"
#include "policy/source.h"
}

%define api.pure full
%define api.prefix {policy_yy}
%define api.token.prefix {T_}
%define api.location.type {struct place}
%define parse.error custom
/* Both together make the list of expected words exact, and keep `error` where it was shifted until a separator. */
%define parse.lac full
%define lr.default-reduction accepting
%locations
%param {struct source *source}
%expect 0

%union {
	const char *text;
	int number;
	struct operand operand;
	struct operand_list operands;
	struct service_item item;
	struct item_list items;
	struct range_list ranges;
	struct tag_expr *tag;
}

%code provides {
int policy_yylex(union POLICY_YYSTYPE *value, struct place *place, struct source *source);
}

%code {
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

#define YYLLOC_DEFAULT(current, rhs, n) ((current) = YYRHSLOC(rhs, (n) ? 1 : 0))
#define PARSER (source->parser)
#define ARENA  (&source->parser->policy->arena)

static void policy_yyerror(const struct place *place, struct source *source, const char *text)
{
	/* Bison's own stack is full: the one message that does not go through yyreport_syntax_error. */
	(void)text;
	parser_error(PARSER, place, "this nests too deep");
}

static bool push_operand(struct source *source, struct operand_list *list,
			 const struct operand *operand);
static bool push_item(struct source *source, struct item_list *list,
		      const struct service_item *item);
static bool join_ranges(struct source *source, struct range_list *list,
			const struct range_list *more);
static bool begin_rule(struct source *source, const struct place *place, const char *name,
		       int action);
static bool end_rule(struct source *source);
static void once(struct source *source, const struct place *place, enum clause clause,
		 const char *word);
static void check_unit(struct source *source, const struct place *place, const char *unit);

/* Gives up: there is no memory. */
#define NEED(condition)          \
	do {                     \
		if (!(condition)) \
			YYNOMEM; \
	} while (0)
}

%token END 0 "end of file"
%token SEPARATOR "end of line"
%token PORT_COMMA ", "
%token '{' "{" '}' "}" '(' "(" ')' ")" ',' "," '/' "/" '=' "="
%token <text> WORD "a name" STRING "a name in quotes" LABEL "a rule's name and ':'" TAG_KEY "a tag"
%token <text> ADDRESS "an address" NUMBER "a number" RANGE "a port range" DURATION "a duration"
%token INCLUDE "include" GROUP "group" SERVICE "service" TIER "tier" DEFAULT "default" PROFILE "profile"
%token ALLOW "allow" DROP "drop" REJECT "reject" PASS "pass"
%token IN "in" OUT "out" FROM "from" TO "to" APPLIED_TO "applied-to" LOG "log" STATELESS "stateless"
%token ON_CHANGE "on-change" LIMIT "limit" BURST "burst" PER "per" MAX_FLOWS "max-flows"
%token ANY "any" ANY_VPORT "any-vport" VPORT "vport" TAG "tag" NOT "not" AND "and" OR "or"
%token TCP "tcp" UDP "udp" SCTP "sctp" ICMP "icmp" ICMP6 "icmp6" PROTOCOL "protocol" FROM_PORT "from-port"
%token TIMEOUT "timeout"

%type <text> name reference value setting_value
%type <number> direction action log protocol_with_ports protocol_with_types
%type <operand> operand what
%type <operands> members member_list whats
%type <item> item
%type <items> items item_list services
%type <ranges> ports sources types type port
%type <tag> tag tag_and tag_unary

%%

/* Lists are written out with and without the separators around them: an empty rule before `error` could not be reduced
 * when the very first word is wrong, and recovery would lose the whole list. */

policy:
  %empty
| ends
| statements
| statements ends
| ends statements
| ends statements ends
;

statements:
  statement
| statements ends statement
;

ends:
  SEPARATOR
| ends SEPARATOR
;

statement:
  include
| group
| service
| tier
| profile
| default
| rule
| error
	{
		source->tier = NULL;
		source->profile = NULL;
		PARSER->incomplete = true;
		yyerrok;
	}
;

include:
  INCLUDE STRING	{ parser_file(PARSER, source->file, $2, &@2); }
;

name:
  WORD
| STRING
| DEFAULT		{ $$ = "default"; }
;

reference:
  WORD
| STRING
;

/* ---- Groups */

group:
  GROUP name '{' members '}'
	{
		struct group *group = build_group(PARSER, &@2, $2);

		NEED(group);
		group->members = $4;
	}
;

members:
  %empty				{ $$ = (struct operand_list){0}; }
| separators				{ $$ = (struct operand_list){0}; }
| member_list
| member_list separators
| separators member_list		{ $$ = $2; }
| separators member_list separators	{ $$ = $2; }
;

member_list:
  operand
	{
		$$ = (struct operand_list){0};
		NEED(push_operand(source, &$$, &$1));
	}
| error
	{
		$$ = (struct operand_list){0};
		yyerrok;
	}
| member_list separators operand
	{
		$$ = $1;
		NEED(push_operand(source, &$$, &$3));
	}
| member_list separators error
	{
		$$ = $1;
		yyerrok;
	}
;

separators:
  separator
| separators separator
;

separator:
  SEPARATOR
| ','
;

operand:
  ADDRESS
	{
		$$ = (struct operand){0};
		build_prefix(PARSER, &@1, $1, &$$);
	}
| VPORT reference
	{
		$$ = (struct operand){0};
		build_pattern(PARSER, &@2, $2, &$$);
	}
| TAG tag
	{
		$$ = (struct operand){.kind = OPERAND_TAG, .tag = $2, .place = @1};
	}
| GROUP reference
	{
		$$ = (struct operand){.kind = OPERAND_GROUP, .name = $2, .place = @2};
	}
| reference
	{
		$$ = (struct operand){.kind = OPERAND_GROUP, .name = $1, .place = @1};
	}
;

tag:
  tag_and
| tag OR tag_and	{ NEED($$ = build_tag_join(PARSER, &@2, TAG_OR, $1, $3)); }
;

tag_and:
  tag_unary
| tag_and AND tag_unary	{ NEED($$ = build_tag_join(PARSER, &@2, TAG_AND, $1, $3)); }
;

tag_unary:
  NOT tag_unary		{ NEED($$ = build_tag_not(PARSER, &@1, $2)); }
| TAG tag_unary		{ $$ = $2; }
| '(' tag ')'		{ $$ = $2; }
| TAG_KEY reference	{ NEED($$ = build_tag(PARSER, &@1, $1, $2)); }
| STRING '=' reference	{ NEED($$ = build_tag(PARSER, &@1, $1, $3)); }
| reference		{ NEED($$ = build_tag(PARSER, &@1, $1, NULL)); }
;

/* ---- Services */

service:
  SERVICE name '{' items '}'
	{
		struct service *service = build_service(PARSER, &@2, $2);

		NEED(service);
		service->items = $4;
	}
;

items:
  %empty				{ $$ = (struct item_list){0}; }
| separators				{ $$ = (struct item_list){0}; }
| item_list
| item_list separators
| separators item_list			{ $$ = $2; }
| separators item_list separators	{ $$ = $2; }
;

item_list:
  item
	{
		$$ = (struct item_list){0};
		NEED(push_item(source, &$$, &$1));
	}
| error
	{
		$$ = (struct item_list){0};
		yyerrok;
	}
| item_list separators item
	{
		$$ = $1;
		NEED(push_item(source, &$$, &$3));
	}
| item_list separators error
	{
		$$ = $1;
		yyerrok;
	}
;

item:
  ANY
	{
		$$ = (struct service_item){.kind = ITEM_ANY, .place = @1};
	}
| reference
	{
		$$ = (struct service_item){.kind = ITEM_SERVICE, .name = $1, .place = @1};
	}
| protocol_with_ports ports sources
	{
		$$ = (struct service_item){.kind = ITEM_PROTOCOL, .protocol = (uint8_t)$1,
					   .destinations = $2, .sources = $3, .place = @1};
	}
| protocol_with_ports sources
	{
		$$ = (struct service_item){.kind = ITEM_PROTOCOL, .protocol = (uint8_t)$1,
					   .sources = $2, .place = @1};
	}
| protocol_with_types
	{
		$$ = (struct service_item){.kind = ITEM_PROTOCOL, .protocol = (uint8_t)$1, .place = @1};
	}
| protocol_with_types types
	{
		$$ = (struct service_item){.kind = ITEM_PROTOCOL, .protocol = (uint8_t)$1,
					   .destinations = $2, .place = @1};
	}
| PROTOCOL value
	{
		$$ = (struct service_item){.kind = ITEM_PROTOCOL, .place = @1};
		build_protocol(PARSER, &@2, $2, &$$.protocol);
	}
| PROTOCOL protocol_with_ports
	{
		$$ = (struct service_item){.kind = ITEM_PROTOCOL, .protocol = (uint8_t)$2, .place = @1};
	}
| PROTOCOL protocol_with_types
	{
		$$ = (struct service_item){.kind = ITEM_PROTOCOL, .protocol = (uint8_t)$2, .place = @1};
	}
;

protocol_with_ports:
  TCP			{ $$ = IPPROTO_TCP; }
| UDP			{ $$ = IPPROTO_UDP; }
| SCTP			{ $$ = IPPROTO_SCTP; }
;

protocol_with_types:
  ICMP			{ $$ = source->icmp = IPPROTO_ICMP; }
| ICMP6			{ $$ = source->icmp = IPPROTO_ICMPV6; }
;

sources:
  %empty		{ $$ = (struct range_list){0}; }
| FROM_PORT ports	{ $$ = $2; }
;

ports:
  port
| ports PORT_COMMA port
	{
		$$ = $1;
		NEED(join_ranges(source, &$$, &$3));
	}
;

port:
  NUMBER
	{
		$$ = (struct range_list){0};
		build_ports(PARSER, &@1, $1, &$$);
	}
| RANGE
	{
		$$ = (struct range_list){0};
		build_ports(PARSER, &@1, $1, &$$);
	}
;

types:
  type
| types PORT_COMMA type
	{
		$$ = $1;
		NEED(join_ranges(source, &$$, &$3));
	}
;

type:
  value
	{
		$$ = (struct range_list){0};
		build_icmp(PARSER, &@1, source->icmp, $1, NULL, &$$);
	}
| value '/' NUMBER
	{
		$$ = (struct range_list){0};
		build_icmp(PARSER, &@1, source->icmp, $1, $3, &$$);
	}
;

value:
  WORD
| NUMBER
;

/* ---- Tiers and rules */

tier:
  tier_head '{' rules '}'	{ source->tier = NULL; }
;

tier_head:
  TIER name		{ NEED(source->tier = build_tier(PARSER, &@2, $2)); }
;

rules:
  %empty
| ends
| rule_list
| rule_list ends
| ends rule_list
| ends rule_list ends
;

rule_list:
  rule_or_error
| rule_list ends rule_or_error
;

rule_or_error:
  rule
| error			{ yyerrok; }
;

rule:
  rule_head clauses	{ NEED(end_rule(source)); }
| rule_head error	{ yyerrok; }
| LABEL error		{ yyerrok; }
;

rule_head:
  LABEL action		{ NEED(begin_rule(source, &@1, $1, $2)); }
;

action:
  ALLOW			{ $$ = DFW_ACTION_ALLOW; }
| DROP			{ $$ = DFW_ACTION_DROP; }
| REJECT		{ $$ = DFW_ACTION_REJECT; }
| PASS			{ $$ = DFW_ACTION_PASS; }
;

direction:
  IN			{ $$ = DFW_IN; }
| OUT			{ $$ = DFW_OUT; }
;

clauses:
  %empty
| clauses clause
;

clause:
  direction
	{
		once(source, &@1, CLAUSE_DIRECTION, "a direction");
		source->rule->direction = $1 == DFW_IN ? RULE_IN : RULE_OUT;
	}
| FROM whats
	{
		once(source, &@1, CLAUSE_FROM, "'from'");
		source->rule->from = $2;
	}
| TO whats
	{
		once(source, &@1, CLAUSE_TO, "'to'");
		source->rule->to = $2;
	}
| SERVICE services
	{
		once(source, &@1, CLAUSE_SERVICE, "'service'");
		source->rule->services = $2;
	}
| APPLIED_TO whats
	{
		once(source, &@1, CLAUSE_APPLIED_TO, "'applied-to'");
		source->rule->applied_to = $2;
	}
| LOG
	{
		once(source, &@1, CLAUSE_LOG, "'log'");
		source->rule->log = true;
	}
| STATELESS
	{
		once(source, &@1, CLAUSE_STATELESS, "'stateless'");
		source->rule->stateless = true;
	}
| ON_CHANGE WORD
	{
		int value = build_word(PARSER, &@2, "on-change", on_change_words, $2);

		once(source, &@1, CLAUSE_ON_CHANGE, "'on-change'");
		if (value >= 0)
			source->rule->on_change = (enum dfw_on_change)value;
	}
| LIMIT NUMBER '/' WORD limit_options
	{
		once(source, &@1, CLAUSE_LIMIT, "'limit'");
		build_number(PARSER, &@2, "limit", $2, 1, RULE_MAX_LIMIT, &source->rule->limit);
		check_unit(source, &@4, $4);
	}
| MAX_FLOWS NUMBER
	{
		once(source, &@1, CLAUSE_MAX_FLOWS, "'max-flows'");
		build_number(PARSER, &@2, "max-flows", $2, 1, RULE_MAX_LIMIT,
			     &source->rule->max_flows);
	}
;

limit_options:
  %empty
| limit_options BURST NUMBER
	{
		once(source, &@2, CLAUSE_BURST, "'burst'");
		build_number(PARSER, &@3, "burst", $3, 1, RULE_MAX_LIMIT, &source->rule->burst);
	}
| limit_options PER WORD
	{
		once(source, &@2, CLAUSE_PER, "'per'");
		source->rule->limit_per_source = true;
		if (strcmp($3, "source") != 0)
			parser_error(PARSER, &@3, "a limit is per source, not per '%.40s'", $3);
	}
;

whats:
  what
	{
		$$ = (struct operand_list){0};
		NEED(push_operand(source, &$$, &$1));
	}
| whats ',' what
	{
		$$ = $1;
		NEED(push_operand(source, &$$, &$3));
	}
;

what:
  ANY
	{
		$$ = (struct operand){.kind = OPERAND_ANY, .place = @1};
	}
| ANY_VPORT
	{
		$$ = (struct operand){.kind = OPERAND_ANY_VPORT, .place = @1};
	}
| operand
| NOT operand
	{
		$$ = $2;
		$$.negated = true;
	}
;

services:
  item
	{
		$$ = (struct item_list){0};
		NEED(push_item(source, &$$, &$1));
	}
| services ',' item
	{
		$$ = $1;
		NEED(push_item(source, &$$, &$3));
	}
;

/* ---- Defaults and profiles */

default:
  DEFAULT direction action log	{ build_default(PARSER, &@1, $2, $3, $4); }
;

log:
  %empty		{ $$ = 0; }
| LOG			{ $$ = 1; }
;

profile:
  profile_head '{' settings '}'	{ source->profile = NULL; }
;

profile_head:
  PROFILE name		{ NEED(source->profile = build_profile(PARSER, &@2, $2)); }
;

settings:
  %empty
| separators
| setting_list
| setting_list separators
| separators setting_list
| separators setting_list separators
;

setting_list:
  setting
| setting_list separators setting
;

setting:
  WORD setting_value		{ build_setting(PARSER, &@1, source->profile, $1, &@2, $2); }
| MAX_FLOWS setting_value	{ build_setting(PARSER, &@1, source->profile, "max-flows", &@2, $2); }
| TIMEOUT WORD setting_value	{ build_timeout(PARSER, &@2, source->profile, $2, $3); }
| error				{ yyerrok; }
;

setting_value:
  value
| DURATION
;

%%

static bool push_operand(struct source *source, struct operand_list *list,
			 const struct operand *operand)
{
	struct operand *last = list_push(ARENA, list);

	if (!last)
		return parser_no_memory(PARSER);
	*last = *operand;
	return true;
}

static bool push_item(struct source *source, struct item_list *list,
		      const struct service_item *item)
{
	struct service_item *last = list_push(ARENA, list);

	if (!last)
		return parser_no_memory(PARSER);
	*last = *item;
	return true;
}

static bool join_ranges(struct source *source, struct range_list *list,
			const struct range_list *more)
{
	for (size_t i = 0; i < more->nr; i++) {
		struct range *range = list_push(ARENA, list);

		if (!range)
			return parser_no_memory(PARSER);
		*range = more->items[i];
	}
	return true;
}

static bool begin_rule(struct source *source, const struct place *place, const char *name,
		       int action)
{
	struct rule *rule = arena_alloc(ARENA, sizeof(*rule));

	if (!rule)
		return parser_no_memory(PARSER);
	rule->name = name;
	rule->place = *place;
	rule->action = (enum dfw_action)action;
	source->rule = rule;
	source->clauses = 0;
	return true;
}

static bool end_rule(struct source *source)
{
	return build_rule(PARSER, source->tier, TAKE_PTR(source->rule));
}

static void once(struct source *source, const struct place *place, enum clause clause,
		 const char *word)
{
	if (source->clauses & 1U << clause)
		parser_error(PARSER, place, "%s stands twice in rule '%s'", word,
			     source->rule->name);
	source->clauses |= 1U << clause;
}

static void check_unit(struct source *source, const struct place *place, const char *unit)
{
	if (strcmp(unit, "second") != 0)
		parser_error(PARSER, place, "a limit is counted per second, not per '%.40s'", unit);
}

/* ---- Errors */

/* Words are told as they stand; the end of a line and of the file need no quotes. */
static void describe(yysymbol_kind_t kind, char *text, size_t room)
{
	switch (kind) {
	case YYSYMBOL_YYEOF:
	case YYSYMBOL_SEPARATOR:
	case YYSYMBOL_WORD:
	case YYSYMBOL_STRING:
	case YYSYMBOL_LABEL:
	case YYSYMBOL_TAG_KEY:
	case YYSYMBOL_ADDRESS:
	case YYSYMBOL_NUMBER:
	case YYSYMBOL_RANGE:
	case YYSYMBOL_DURATION:
		snprintf(text, room, "%s", yysymbol_name(kind));
		break;
	case YYSYMBOL_PORT_COMMA:
		snprintf(text, room, "','");
		break;
	default:
		snprintf(text, room, "'%s'", yysymbol_name(kind));
	}
}

#define MAX_EXPECTED 24

static int yyreport_syntax_error(const yypcontext_t *context, struct source *source)
{
	yysymbol_kind_t expected[MAX_EXPECTED];
	yysymbol_kind_t found = yypcontext_token(context);
	int nr = parser_errors_full(PARSER)
			 ? 0
			 : yypcontext_expected_tokens(context, expected, MAX_EXPECTED);
	const char *word = source->token_text;
	struct suggestion suggestion = {.wanted = word ? word : ""};
	char mean[SUGGESTION_TEXT_LEN], part[64], list[640] = "", what[96];
	const char *between = ", expected ";
	size_t used = 0;

	for (int i = 0; i < nr; i++) {
		/* That a line or a list may also end helps nobody who is told what may stand here. */
		if (nr > 2 && (expected[i] == YYSYMBOL_SEPARATOR || expected[i] == YYSYMBOL_PORT_COMMA ||
			       expected[i] == YYSYMBOL_YYEOF))
			continue;
		describe(expected[i], part, sizeof(part));
		if (*part == '\'')
			suggestion_offer(&suggestion, yysymbol_name(expected[i]));
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", between, part);
		between = i + 2 >= nr ? " or " : ", ";
		if (used >= sizeof(list))
			break;
	}
	describe(found, what, sizeof(what));
	if (word)
		snprintf(what, sizeof(what), "'%.80s'", word);
	else if (found == YYSYMBOL_YYEOF && source->braces)
		snprintf(list, sizeof(list), ", the '{' of line %u is not closed",
			 source->brace_line);
	source_skip_statement(source);
	parser_error(PARSER, yypcontext_location(context), "unexpected %s%s%s", what,
		     word ? suggestion_text(&suggestion, mean) : "", suggestion.best && word ? "" : list);
	return 0;
}
