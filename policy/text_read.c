// SPDX-License-Identifier: GPL-2.0
#include <stdlib.h>
#include <string.h>

#include "policy/grammar.tab.h"
/* Its declarations need struct source, its macros would get in our way. */
#define YY_EXTRA_TYPE struct source *
#include "policy/lexer.lex.h"
#include "source.h"
#include "util.h"

/* Sorted, for bsearch. */
static const struct word keywords[] = {
	{"allow", T_ALLOW},
	{"and", T_AND},
	{"any", T_ANY},
	{"any-vport", T_ANY_VPORT},
	{"applied-to", T_APPLIED_TO},
	{"burst", T_BURST},
	{"default", T_DEFAULT},
	{"drop", T_DROP},
	{"from", T_FROM},
	{"from-port", T_FROM_PORT},
	{"group", T_GROUP},
	{"icmp", T_ICMP},
	{"icmp6", T_ICMP6},
	{"in", T_IN},
	{"include", T_INCLUDE},
	{"limit", T_LIMIT},
	{"log", T_LOG},
	{"max-flows", T_MAX_FLOWS},
	{"not", T_NOT},
	{"on-change", T_ON_CHANGE},
	{"or", T_OR},
	{"out", T_OUT},
	{"pass", T_PASS},
	{"per", T_PER},
	{"profile", T_PROFILE},
	{"protocol", T_PROTOCOL},
	{"reject", T_REJECT},
	{"sctp", T_SCTP},
	{"service", T_SERVICE},
	{"sport", T_FROM_PORT},
	{"stateless", T_STATELESS},
	{"tag", T_TAG},
	{"tcp", T_TCP},
	{"tier", T_TIER},
	{"timeout", T_TIMEOUT},
	{"to", T_TO},
	{"udp", T_UDP},
	{"vport", T_VPORT},
};

static int compare_keyword(const void *word, const void *keyword)
{
	return strcmp(word, ((const struct word *)keyword)->name);
}

const struct word *source_keyword(const char *word)
{
	return bsearch(word, keywords, ARRAY_SIZE(keywords), sizeof(keywords[0]), compare_keyword);
}

bool name_plain(const char *name)
{
	return name_valid(name) && !(*name >= '0' && *name <= '9') && !source_keyword(name);
}

static void scan(struct source *source, struct token *token)
{
	source->token = (struct token){.place.file = source->file};
	source->token.kind = policy_scan_lex(source->scanner);
	*token = source->token;
	if (token->kind == T_END)
		token->place = (struct place){
			.file = source->file,
			.line = source->line,
			.column = source->column,
		};
}

static struct token *peek(struct source *source)
{
	if (!source->has_ahead)
		scan(source, &source->ahead);
	source->has_ahead = true;
	return &source->ahead;
}

static void skip_lines(struct source *source)
{
	while (peek(source)->kind == '\n')
		source->has_ahead = false;
}

/* The statement that just got its '{' is lost: the block goes with it, or each of its lines would be another error. */
static void skip_block(struct source *source)
{
	unsigned int outside = source->braces ? source->braces - 1 : 0;
	struct token token;

	while (source->braces > outside && peek(source)->kind != T_END) {
		token = source->ahead;
		source->has_ahead = false;
		source->braces += token.kind == '{';
		source->braces -= token.kind == '}';
	}
}

void source_skip_statement(struct source *source)
{
	source->parentheses = 0;
	if (source->given == '{')
		skip_block(source);
	/* What ends a statement is itself the word that was wrong: nothing is left to skip. */
	source->bad_statement = source->given != T_SEPARATOR && source->given != '}';
}

/* What was given calls for more, so the line's end ends nothing. */
static bool wants_more(int kind)
{
	return kind == ',' || kind == T_PORT_COMMA || kind == T_AND || kind == T_OR ||
	       kind == T_NOT;
}

/* A line's end ends a statement, a member, a rule. Not so inside of parentheses, behind a comma or an operator, and
 * where the next line of a rule is indented deeper than the rule's name. */
static bool line_ends_something(struct source *source)
{
	const struct token *next;

	skip_lines(source);
	next = peek(source);
	if (next->kind == T_END || next->kind == '}')
		return true;
	if (!source->bad_statement && (source->parentheses || wants_more(source->given)))
		return false;
	return !source->rule_column || next->kind == T_LABEL ||
	       next->place.column <= source->rule_column;
}

static int give(struct source *source, const struct token *token, int kind)
{
	switch (kind) {
	case '{':
		source->braces++;
		source->brace_line = token->place.line;
		source->parentheses = 0;
		break;
	case '}':
		source->braces -= source->braces > 0;
		source->bad_statement = false;
		source->rule_column = 0;
		source->parentheses = 0;
		break;
	case T_SEPARATOR:
	case T_END:
		source->bad_statement = false;
		source->rule_column = 0;
		break;
	case '(':
		if (++source->parentheses == SOURCE_MAX_PARENTHESES + 1 && !source->bad_statement) {
			parser_error(source->parser, &token->place,
				     "parentheses nest at most %d deep", SOURCE_MAX_PARENTHESES);
			source->bad_statement = true;
			kind = T_POLICY_YYerror;
		}
		break;
	case ')':
		source->parentheses -= source->parentheses > 0;
		break;
	case T_LABEL:
		source->rule_column = token->place.column;
		break;
	case T_POLICY_YYerror:
		source->bad_statement = true;
		source->parentheses = 0;
		break;
	}
	source->given = kind;
	source->token_text = token->text;
	return kind;
}

int policy_yylex(union POLICY_YYSTYPE *value, struct place *place, struct source *source)
{
	struct token token;
	int kind;

	for (;;) {
		token = *peek(source);
		source->has_ahead = false;
		kind = token.kind;
		if (kind == '{' && source->bad_statement) {
			source->braces++;
			skip_block(source);
			continue;
		}
		if (kind != '\n')
			break;
		if (line_ends_something(source)) {
			kind = T_SEPARATOR;
			break;
		}
	}

	/* A comma before a port goes on with the list of ports, any other with the list of services. */
	if (kind == ',') {
		skip_lines(source);
		if (peek(source)->kind == T_NUMBER || source->ahead.kind == T_RANGE)
			kind = T_PORT_COMMA;
	}
	/* So that the last statement ends like all others. */
	if (kind == T_END && source->given != T_SEPARATOR) {
		source->ahead = token;
		source->has_ahead = true;
		kind = T_SEPARATOR;
	}
	if (source->parser->no_memory)
		kind = T_END;

	value->text = token.text;
	*place = token.place;
	return give(source, &token, kind);
}

/* Whether what begins with this byte, which is part of UTF-8, has a place in a text. */
static bool of_text(unsigned char byte)
{
	return (byte >= ' ' && byte != 0x7f) || byte == '\t' || byte == '\n' || byte == '\r';
}

/* One error for a file that is no text at all, instead of one for each of its bytes. */
static bool check_text(struct parser *parser, const char *file, const char *text, size_t bytes)
{
	struct place place = {.file = file, .line = 1, .column = 1};
	size_t length;

	for (size_t i = 0; i < bytes; i += length) {
		const unsigned char *at = (const unsigned char *)text + i;

		length = character_length(at, bytes - i);
		if (length == 0 || !of_text(*at)) {
			parser_error(parser, &place,
				     "byte 0x%02x: this is no text, a policy is UTF-8 without "
				     "control characters",
				     *at);
			parser->incomplete = true;
			return false;
		}
		place.column += (unsigned int)length;
		if (*at == '\n') {
			place.line++;
			place.column = 1;
		}
	}
	return true;
}

static void free_scanner(void **scanner)
{
	if (*scanner)
		policy_scan_lex_destroy(*scanner);
}

void text_read(struct parser *parser, const char *file, const char *text, size_t bytes)
{
	struct source source = {.parser = parser, .file = file, .line = 1, .column = 1};
	_cleanup_(free_scanner) void *scanner = NULL;

	if (!check_text(parser, file, text, bytes))
		return;
	source.given = T_SEPARATOR;
	if (policy_scan_lex_init_extra(&source, &scanner) != 0 ||
	    !policy_scan__scan_bytes(text, (int)bytes, scanner)) {
		parser_no_memory(parser);
		return;
	}
	source.scanner = scanner;
	if (policy_yyparse(&source) == 2 && parser->errors->nr == 0)
		parser->no_memory = true;
}
