// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "parser.h"
#include "util.h"
#include "words.h"

/* Messages quote what was given, cut to a length that knows no characters. A terminal must not be told what to do by it,
 * and what is no UTF-8 could not be told in JSON: each such character becomes a '?'. */
static void make_printable(char *text)
{
	unsigned char *from = (unsigned char *)text, *to = from;
	size_t bytes = strlen(text);

	while (bytes) {
		size_t length = character_length(from, bytes);
		/* The controls of C1, U+0080 to U+009F, are two bytes. */
		bool control = *from < ' ' || *from == 0x7f || (*from == 0xc2 && from[1] < 0xa0);

		if (length && !control) {
			memmove(to, from, length);
			to += length;
		} else {
			*to++ = '?';
			/* One for all that is there of a character. */
			length = 1;
			while ((from[length] & 0xc0) == 0x80)
				length++;
		}
		from += length;
		bytes -= length;
	}
	*to = '\0';
}

void errors_add(struct policy_errors *errors, const char *file, unsigned int line,
		unsigned int column, const char *format, va_list arguments)
{
	_cleanup_free_ char *copy = NULL;
	_cleanup_free_ char *text = NULL;

	if (errors->nr < POLICY_MAX_ERRORS && !errors->list)
		errors->list = calloc(POLICY_MAX_ERRORS, sizeof(*errors->list));
	if (errors->nr < POLICY_MAX_ERRORS && errors->list) {
		copy = strdup(file ? file : "");
		if (vasprintf(&text, format, arguments) < 0)
			text = NULL;
	}
	if (!copy || !text) {
		errors->nr_unreported++;
		return;
	}
	make_printable(copy);
	make_printable(text);
	errors->list[errors->nr++] = (struct policy_error){
		.file = TAKE_PTR(copy),
		.line = line,
		.column = column,
		.text = TAKE_PTR(text),
	};
}

void policy_errors_free(struct policy_errors *errors)
{
	for (size_t i = 0; i < errors->nr; i++) {
		free(errors->list[i].file);
		free(errors->list[i].text);
	}
	free(errors->list);
	*errors = (struct policy_errors){0};
}

void policy_errors_print(const struct policy_errors *errors, FILE *out)
{
	for (size_t i = 0; i < errors->nr; i++) {
		const struct policy_error *error = &errors->list[i];

		if (*error->file)
			fprintf(out, "%s:", error->file);
		if (error->line)
			fprintf(out, "%u:%u:", error->line, error->column);
		fprintf(out, "%s%s\n", *error->file || error->line ? " " : "", error->text);
	}
	if (errors->nr_unreported)
		fprintf(out, "%zu more errors are not shown\n", errors->nr_unreported);
}

static void place_error(struct parser *parser, const struct place *place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void place_error(struct parser *parser, const struct place *place, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	errors_add(parser->errors, place->file, place->line, place->column, format, arguments);
	va_end(arguments);
}

void parser_error(struct parser *parser, const struct place *place, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list arguments;

	/* A file that is wrong everywhere should not cost more than one that is right. */
	if (parser_errors_full(parser)) {
		parser->errors->nr_unreported++;
		return;
	}
	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		text = NULL;
	va_end(arguments);
	if (!text)
		parser->no_memory = true;
	else if (place->path && *place->path)
		place_error(parser, place, "%s: %s", place->path, text);
	else
		place_error(parser, place, "%s", text);
}

const char *parser_place_text(struct parser *parser, const struct place *place)
{
	struct arena *arena = &parser->policy->arena;
	const char *text = place->path ? arena_printf(arena, "%s %s", place->file, place->path)
				       : arena_printf(arena, "%s:%u:%u", place->file, place->line,
						      place->column);

	if (text)
		return text;
	parser_no_memory(parser);
	return place->file;
}

void *parser_no_memory(struct parser *parser)
{
	parser->no_memory = true;
	return NULL;
}
