// SPDX-License-Identifier: GPL-2.0
/* From argv to an invocation, by the command table. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "suggest.h"
#include "util.h"

#include <dfw/maps.h>

#define WORD_LEN 64

struct parser {
	char **argv;
	int argc;
	int next;
	bool options_ended; /* by "--" */
	char group[WORD_LEN];
	struct invocation *call;
};

void complain(const char *format, ...)
{
	va_list args;

	fputs("dfwctl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < nr_commands; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

bool is_command_group(const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i < nr_commands; i++)
		if (strncmp(commands[i].name, word, len) == 0 && commands[i].name[len] == ' ')
			return true;
	return false;
}

const char *given_argument(const struct invocation *call)
{
	return call->nr_arguments ? call->arguments[0] : NULL;
}

const char *given_nth(const struct invocation *call, const char *option, size_t n)
{
	for (size_t i = 0; i < call->nr_options; i++)
		if (strcmp(call->options[i].spec->name, option) == 0 && n-- == 0)
			return call->options[i].value;
	return NULL;
}

const char *given_value(const struct invocation *call, const char *option)
{
	return given_nth(call, option, 0);
}

bool given(const struct invocation *call, const char *option)
{
	for (size_t i = 0; i < call->nr_options; i++)
		if (strcmp(call->options[i].spec->name, option) == 0)
			return true;
	return false;
}

/* ---- Did you mean --------------------------------------------------------------------------------------------- */

static enum exit_status complain_unknown(const char *what, const struct guess *guess)
{
	if (guess->best)
		complain("unknown %s '%s'; did you mean '%s'?", what, guess->word, guess->best);
	else
		complain("unknown %s '%s'; see `dfwctl --help`", what, guess->word);
	return EXIT_INPUT;
}

/* For a word that no command begins with: a whole command, or its second word alone ("add"). */
static void guess_first_word(struct guess *guess, const char *name)
{
	const char *space = strchr(name, ' ');
	struct guess first = {.word = guess->word, .distance = guess->distance};
	char word[WORD_LEN] = "";

	guess_try(guess, name);
	if (!space)
		return;
	memcpy(word, name, (size_t)(space - name));
	guess_try(&first, word);
	if (first.best) {
		guess->best = name;
		guess->distance = first.distance;
	}
	if (!guess->best && strcmp(space + 1, guess->word) == 0)
		guess->best = name;
}

static enum exit_status unknown_command(const char *word, const char *group)
{
	size_t len = strlen(group);
	char text[2 * WORD_LEN];
	struct guess guess = {.word = word, .distance = SIZE_MAX};

	if (len) {
		snprintf(text, sizeof(text), "%s %s", group, word);
		guess.word = text;
	}
	for (size_t i = 0; i < nr_commands; i++) {
		const char *name = commands[i].name;

		if (!len)
			guess_first_word(&guess, name);
		else if (strncmp(name, group, len) == 0 && name[len] == ' ')
			guess_try(&guess, name);
	}
	return complain_unknown("command", &guess);
}

/* Options of a command are known from its name on: those before it may be right, but in the wrong place. */
static bool complain_too_early(const char *word)
{
	size_t len = strcspn(word, "=");

	for (size_t i = 0; i < nr_commands; i++)
		for (size_t j = 0; j < commands[i].nr_options; j++) {
			const char *name = commands[i].options[j].name;

			if (strlen(name) == len && strncmp(name, word, len) == 0) {
				complain("%s belongs behind its command: dfwctl %s %s ..", name,
					 commands[i].name, name);
				return true;
			}
		}
	return false;
}

static enum exit_status unknown_option(const struct parser *parser, const char *word)
{
	const struct command *command = parser->call->command;
	struct guess guess = {.word = word, .distance = SIZE_MAX};

	if (!command && complain_too_early(word))
		return EXIT_INPUT;
	for (size_t i = 0; command && i < command->nr_options; i++)
		guess_try(&guess, command->options[i].name);
	for (size_t i = 0; i < nr_global_options; i++)
		if (!global_options[i].rare)
			guess_try(&guess, global_options[i].name);
	return complain_unknown("option", &guess);
}

/* ---- Options -------------------------------------------------------------------------------------------------- */

static const struct option_spec *find_option(const struct option_spec *options, size_t nr,
					     const char *name, size_t len, char letter)
{
	for (size_t i = 0; i < nr; i++) {
		if (letter ? options[i].letter == letter
			   : strlen(options[i].name) == len &&
				     strncmp(options[i].name, name, len) == 0)
			return &options[i];
	}
	return NULL;
}

static const struct option_spec *known_option(const struct parser *parser, const char *name,
					      size_t len, char letter)
{
	const struct command *command = parser->call->command;
	const struct option_spec *spec = NULL;

	if (command)
		spec = find_option(command->options, command->nr_options, name, len, letter);
	return spec ? spec : find_option(global_options, nr_global_options, name, len, letter);
}

static enum exit_status check_value(const char *where, value_check *check, const char *value)
{
	const char *wrong = check ? check(value) : NULL;

	if (!wrong)
		return EXIT_DONE;
	complain("%s: '%s' %s", where, value, wrong);
	return EXIT_INPUT;
}

static enum exit_status take_option(struct parser *parser, const struct option_spec *spec,
				    const char *value)
{
	struct invocation *call = parser->call;

	if (spec->open && !value) {
		const char *next = parser->argv[parser->next];

		if (parser->next < parser->argc && !spec->check(next))
			value = parser->argv[parser->next++];
	} else if (spec->argument && !value) {
		if (parser->next >= parser->argc) {
			complain("%s needs a value: %s %s", spec->name, spec->name, spec->argument);
			return EXIT_INPUT;
		}
		value = parser->argv[parser->next++];
	}
	if (!spec->repeats && given(call, spec->name)) {
		complain("%s is given twice", spec->name);
		return EXIT_INPUT;
	}
	call->options[call->nr_options++] = (struct given_option){.spec = spec, .value = value};
	return value ? check_value(spec->name, spec->check, value) : EXIT_DONE;
}

/* "--name", "--name=value" */
static enum exit_status take_long(struct parser *parser, const char *word)
{
	const char *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const struct option_spec *spec = known_option(parser, word, len, '\0');

	if (!spec)
		return unknown_option(parser, word);
	if (equals && !spec->argument) {
		complain("%s takes no value", spec->name);
		return EXIT_INPUT;
	}
	return take_option(parser, spec, equals ? equals + 1 : NULL);
}

/* "-j", "-iNAME", "-i NAME", "-ji NAME" */
static enum exit_status take_short(struct parser *parser, const char *word)
{
	for (const char *letter = word + 1; *letter; letter++) {
		const struct option_spec *spec = known_option(parser, NULL, 0, *letter);
		const char *rest = spec && spec->argument && letter[1] ? letter + 1 : NULL;
		enum exit_status status;

		if (!spec)
			return unknown_option(parser, word);
		status = take_option(parser, spec, rest);
		if (status != EXIT_DONE || rest)
			return status;
	}
	return EXIT_DONE;
}

/* ---- Words ---------------------------------------------------------------------------------------------------- */

static enum exit_status take_argument(struct parser *parser, const char *word)
{
	struct invocation *call = parser->call;
	const struct argument_spec *spec = &call->command->argument;
	size_t before = call->nr_arguments;

	if (before && call->command->more.name) {
		spec = &call->command->more;
		before--;
	}
	if (!spec->name || (before && !spec->repeats)) {
		complain("%s: unexpected argument '%s'", call->command->name, word);
		return EXIT_INPUT;
	}
	call->arguments[call->nr_arguments++] = word;
	return check_value(spec->name, spec->check, word);
}

static enum exit_status take_word(struct parser *parser, const char *word)
{
	struct invocation *call = parser->call;
	char name[2 * WORD_LEN];

	if (call->command)
		return take_argument(parser, word);
	if (strlen(word) >= WORD_LEN)
		return unknown_command(word, "");
	if (parser->group[0])
		snprintf(name, sizeof(name), "%s %s", parser->group, word);
	else
		snprintf(name, sizeof(name), "%s", word);
	call->command = command_find(name);
	if (call->command)
		return EXIT_DONE;
	if (parser->group[0] || !is_command_group(word))
		return unknown_command(word, parser->group);
	strcpy(parser->group, word);
	call->group = word;
	return EXIT_DONE;
}

static enum exit_status parse_words(struct parser *parser)
{
	enum exit_status status = EXIT_DONE;

	while (status == EXIT_DONE && parser->next < parser->argc) {
		const char *word = parser->argv[parser->next++];

		if (parser->options_ended || word[0] != '-' || word[1] == '\0')
			status = take_word(parser, word);
		else if (strcmp(word, "--") == 0)
			parser->options_ended = true;
		else if (word[1] == '-')
			status = take_long(parser, word);
		else
			status = take_short(parser, word);
	}
	return status;
}

static void complain_incomplete_group(const char *group)
{
	size_t len = strlen(group);

	fprintf(stderr, "dfwctl: %s: which command?", group);
	for (size_t i = 0; i < nr_commands; i++)
		if (strncmp(commands[i].name, group, len) == 0 && commands[i].name[len] == ' ')
			fprintf(stderr, " %s", commands[i].name + len + 1);
	fputc('\n', stderr);
}

static enum exit_status check_complete(const struct invocation *call)
{
	const struct command *command = call->command;

	if (!command) {
		if (call->group)
			complain_incomplete_group(call->group);
		else
			complain("no command; see `dfwctl --help`");
		return EXIT_INPUT;
	}
	if (command->argument.name && !command->argument.optional && !call->nr_arguments) {
		complain("%s: %s is missing: %s", command->name, command->argument.name,
			 command->argument.help);
		return EXIT_INPUT;
	}
	if (command->more.name && !command->more.optional && call->nr_arguments < 2) {
		complain("%s: %s is missing: %s", command->name, command->more.name,
			 command->more.help);
		return EXIT_INPUT;
	}
	for (size_t i = 0; i < command->nr_options; i++) {
		const struct option_spec *spec = &command->options[i];

		if (spec->required && !given(call, spec->name)) {
			complain("%s: %s %s is missing: %s", command->name, spec->name,
				 spec->argument, spec->help);
			return EXIT_INPUT;
		}
	}
	return EXIT_DONE;
}

static bool want_color(const struct invocation *call)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	/* no-color.org: present and not empty. */
	return !given(call, "--no-color") && !(no_color && no_color[0]) && isatty(STDOUT_FILENO) &&
	       !(term && strcmp(term, "dumb") == 0);
}

/* Options that ask for something else than a command. */
static bool wants_no_command(const struct invocation *call)
{
	return given(call, "--help") || given(call, "--version") || given(call, "--man") ||
	       given(call, "--bash-completion");
}

enum exit_status parse_command_line(int argc, char **argv, struct invocation *call)
{
	struct parser parser = {.argv = argv, .argc = argc, .next = 1, .call = call};
	size_t most_options = 0;
	enum exit_status status;

	/* A cluster of short options holds several in one word. */
	for (int i = 1; i < argc; i++)
		most_options += strlen(argv[i]);
	*call = (struct invocation){
		.options = calloc(most_options + 1, sizeof(*call->options)),
		.arguments = calloc((size_t)argc + 1, sizeof(*call->arguments)),
	};
	if (!call->options || !call->arguments) {
		complain("no memory");
		return EXIT_FAILED;
	}
	status = parse_words(&parser);
	call->instance = given_value(call, "--instance");
	if (!call->instance)
		call->instance = DFW_DEFAULT_INSTANCE;
	call->json = given(call, "--json");
	call->color = want_color(call);
	call->help = given(call, "--help");
	if (status == EXIT_DONE && !wants_no_command(call))
		status = check_complete(call);
	return status;
}

void invocation_free(struct invocation *call)
{
	free(call->options);
	free(call->arguments);
}
