/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_PARSER_H
#define POLICY_PARSER_H

/* One run of policy_parse, over all its files. */

#include <stdarg.h>

#include "model.h"
#include "policy.h"

struct parser_file {
	const char *name;
	struct place included; /* where; line 0 for the main file */
	bool open;	       /* to include it now is a circle */
};

struct parser {
	struct policy *policy;
	struct policy_errors *errors;
	const struct policy_reader *reader;
	size_t bytes; /* of all texts so far */
	bool no_memory;
	bool incomplete; /* a definition was lost to an error: names that seem unknown may not be */
	struct tier *implicit_tier; /* of rules outside of tiers */
	struct {
		struct parser_file *items;
		size_t nr;
		size_t room;
	} files;
};

/* Notes an error. A parser that has noted one goes on, to find more, and fails at the end. */
void parser_error(struct parser *parser, const struct place *place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A place as a message names it: "a.dfw:3:12", "a.json groups[0]". */
const char *parser_place_text(struct parser *parser, const struct place *place);

/* Errors are counted only, so their words need not be found any more. */
static inline bool parser_errors_full(const struct parser *parser)
{
	return parser->errors->nr >= POLICY_MAX_ERRORS;
}

/* Notes that there is no memory and returns NULL, for `return parser_no_memory(parser)`. */
void *parser_no_memory(struct parser *parser);

/* `place` is where the include stands; NULL: `name` is the main file, which need not exist twice. */
void parser_file(struct parser *parser, const char *from, const char *name,
		 const struct place *place);

/* The two forms; `text` needs not end with NUL. */
void text_read(struct parser *parser, const char *file, const char *text, size_t bytes);
void json_read(struct parser *parser, const char *file, const char *text, size_t bytes);

/* Links names to what they name and checks all that the readers could not see alone. */
void policy_resolve(struct parser *parser);

/* As parser_error, without a parser; `file` may be NULL. */
void errors_add(struct policy_errors *errors, const char *file, unsigned int line,
		unsigned int column, const char *format, va_list arguments);

#endif
