/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_SOURCE_H
#define POLICY_SOURCE_H

/* One file of the text form while it is read: text_read.c stands between lexer.l and grammar.y. */

#include "model.h"
#include "parser.h"
#include "words.h"

#define SOURCE_MAX_PARENTHESES 64

struct token {
	int kind;	  /* of grammar.y, '\n' at the end of a line */
	const char *text; /* of tokens that carry one; strings without their quotes */
	struct place place;
};

struct source {
	struct parser *parser;
	const char *file;
	void *scanner;
	struct token token; /* what the lexer read last */
	struct token ahead; /* read but not given to the grammar yet */
	bool has_ahead;
	int given;		/* the kind the grammar got last, */
	const char *token_text; /* and its text, NULL: none */
	unsigned int line;	/* of the lexer */
	unsigned int column;
	unsigned int braces; /* open ones */
	unsigned int brace_line;
	unsigned int parentheses;
	unsigned int rule_column; /* of the name of the rule being read, 0: none */
	bool bad_statement;	  /* the rest of it is skipped, with its block */
	struct tier *tier;	  /* what the grammar is inside of */
	struct profile *profile;
	struct rule *rule;
	uint8_t icmp;	      /* the protocol whose types are being read */
	unsigned int clauses; /* bit of enum clause: those the rule has */
};

enum clause {
	CLAUSE_DIRECTION,
	CLAUSE_FROM,
	CLAUSE_TO,
	CLAUSE_SERVICE,
	CLAUSE_APPLIED_TO,
	CLAUSE_LOG,
	CLAUSE_STATELESS,
	CLAUSE_ON_CHANGE,
	CLAUSE_LIMIT,
	CLAUSE_BURST,
	CLAUSE_PER,
	CLAUSE_MAX_FLOWS,
};

/* Of a word of the lexer that is a keyword of the grammar: its value is the token. NULL: it is none. */
const struct word *source_keyword(const char *word);

/* After an error: passes over the rest of the statement and, if one is open or follows, its block. */
void source_skip_statement(struct source *source);

#endif
