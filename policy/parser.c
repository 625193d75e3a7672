// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "parser.h"
#include "util.h"

static void close_policy(struct policy **policy)
{
	policy_free(*policy);
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	arena_free(&policy->arena);
	free(policy);
}

/* Reads what `name` stands for; NULL: there was an error, which is noted. */
static char *read_text(struct parser *parser, const char *from, const char *name,
		       const struct place *place, size_t *bytes, const char **resolved)
{
	_cleanup_free_ char *shown = NULL;
	_cleanup_free_ char *text = NULL;
	int r = parser->reader->read(parser->reader->data, from, name, &text, bytes, &shown);

	if (r == -ENOMEM)
		return parser_no_memory(parser);
	if (r < 0) {
		parser_error(parser, place, "cannot read '%s': %s", name, strerror(-r));
		return NULL;
	}
	*resolved = arena_copy(&parser->policy->arena, shown, strlen(shown));
	if (!*resolved)
		return parser_no_memory(parser);
	return TAKE_PTR(text);
}

/* A file is read once: twice would define all its names twice. */
static bool open_file(struct parser *parser, const char *name, const struct place *place)
{
	struct parser_file *file;

	for (size_t i = 0; i < parser->files.nr; i++) {
		const struct parser_file *other = &parser->files.items[i];

		if (strcmp(other->name, name) != 0)
			continue;
		if (other->open)
			parser_error(parser, place, "'%s' includes itself", name);
		else
			parser_error(parser, place, "'%s' is included twice, first at %s", name,
				     parser_place_text(parser, &other->included));
		return false;
	}
	file = list_push(&parser->policy->arena, &parser->files);
	if (!file) {
		parser_no_memory(parser);
		return false;
	}
	*file = (struct parser_file){.name = name, .included = *place, .open = true};
	return true;
}

/* Editors of Windows begin files with a byte order mark, which nobody sees. */
static size_t mark_length(const char *text, size_t bytes)
{
	static const char mark[] = "\xef\xbb\xbf";

	return bytes >= strlen(mark) && memcmp(text, mark, strlen(mark)) == 0 ? strlen(mark) : 0;
}

static bool is_json(const char *text, size_t bytes)
{
	size_t i = 0;

	while (i < bytes &&
	       (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r'))
		i++;
	return i < bytes && text[i] == '{';
}

void parser_file(struct parser *parser, const char *from, const char *name,
		 const struct place *place)
{
	struct place start = {.file = name};
	_cleanup_free_ char *text = NULL;
	const char *resolved = NULL;
	size_t bytes = 0, depth = 0, index, mark;

	if (!place)
		place = &start;
	for (size_t i = 0; i < parser->files.nr; i++)
		depth += parser->files.items[i].open;
	if (depth > POLICY_MAX_INCLUDE_DEPTH) {
		parser_error(parser, place, "files include each other more than %d deep",
			     POLICY_MAX_INCLUDE_DEPTH);
		return;
	}
	text = read_text(parser, from, name, place, &bytes, &resolved);
	if (!text)
		parser->incomplete = true;
	if (!text || !open_file(parser, resolved, place))
		return;
	index = parser->files.nr - 1;

	if (bytes > POLICY_MAX_BYTES - parser->bytes) {
		parser->incomplete = true;
		parser_error(
			parser, place,
			"'%s' has %zu bytes, %zu too many: all texts of a policy together have "
			"at most %u",
			resolved, bytes, bytes - (POLICY_MAX_BYTES - parser->bytes),
			POLICY_MAX_BYTES);
	} else {
		parser->bytes += bytes;
		mark = mark_length(text, bytes);
		if (is_json(text + mark, bytes - mark))
			json_read(parser, resolved, text + mark, bytes - mark);
		else
			text_read(parser, resolved, text + mark, bytes - mark);
	}
	parser->files.items[index].open = false;
}

int policy_parse(const struct policy_reader *reader, const char *name, struct policy **policy,
		 struct policy_errors *errors)
{
	_cleanup_(close_policy) struct policy *parsed = calloc(1, sizeof(*parsed));
	struct parser parser = {.policy = parsed, .errors = errors, .reader = reader};

	*policy = NULL;
	*errors = (struct policy_errors){0};
	if (!parsed)
		return -ENOMEM;
	parser_file(&parser, NULL, name, NULL);
	if (!parser.no_memory && !parser.incomplete)
		policy_resolve(&parser);
	if (parser.no_memory)
		return -ENOMEM;
	if (errors->nr || errors->nr_unreported)
		return -EINVAL;
	*policy = TAKE_PTR(parsed);
	return 0;
}
