// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "util.h"

#define OPTION_WIDTH 24
#define LINE_WIDTH   80

/* "--dev IF" */
static void option_form(const struct option_spec *spec, char *form, size_t bytes)
{
	snprintf(form, bytes, "%s%s%s", spec->name, spec->argument ? " " : "",
		 spec->argument ? spec->argument : "");
}

static void print_option_synopsis(const struct option_spec *spec)
{
	char form[64];

	option_form(spec, form, sizeof(form));
	if (spec->required && spec->repeats)
		printf(" %s [%s ..]", form, spec->name);
	else if (spec->required)
		printf(" %s", form);
	else
		printf(" [%s%s]", form, spec->repeats ? " .." : "");
}

static void print_argument_synopsis(const struct argument_spec *argument)
{
	const char *more = argument->repeats ? " .." : "";

	if (argument->name)
		printf(argument->optional ? " [%s%s]" : " %s%s", argument->name, more);
}

void print_synopsis(const struct command *command, const char *before, const char *between,
		    const char *after)
{
	printf("%s%s%s", before, command->name, between);
	print_argument_synopsis(&command->argument);
	print_argument_synopsis(&command->more);
	for (size_t i = 0; i < command->nr_options; i++)
		print_option_synopsis(&command->options[i]);
	fputs(after, stdout);
}

static void print_options(const struct option_spec *options, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		char form[64], letter[] = "    ";

		if (options[i].rare)
			continue;
		option_form(&options[i], form, sizeof(form));
		if (options[i].letter)
			snprintf(letter, sizeof(letter), "-%c, ", options[i].letter);
		printf("  %s%-*s %s\n", letter, OPTION_WIDTH, form, options[i].help);
	}
}

/* In lines of 80 characters at most. */
static void print_wrapped(const char *text)
{
	while (strlen(text) > LINE_WIDTH) {
		const char *end = text + LINE_WIDTH;

		while (end > text && *end != ' ')
			end--;
		if (end == text)
			break;
		printf("%.*s\n", (int)(end - text), text);
		text = end + 1;
	}
	puts(text);
}

static void print_command_usage(const struct command *command)
{
	const struct argument_spec *argument = &command->argument;

	print_synopsis(command, "dfwctl ", "", "\n");
	printf("    %s\n", command->help);
	if (command->details) {
		putchar('\n');
		print_wrapped(command->details);
	}
	if (argument->name || command->nr_options)
		putchar('\n');
	if (argument->name)
		printf("      %-*s %s\n", OPTION_WIDTH, argument->name, argument->help);
	if (command->more.name)
		printf("      %-*s %s\n", OPTION_WIDTH, command->more.name, command->more.help);
	print_options(command->options, command->nr_options);
	puts("\nOptions of all commands:");
	print_options(global_options, nr_global_options);
}

static void print_group_usage(const char *group)
{
	size_t len = strlen(group);

	for (size_t i = 0; i < nr_commands; i++) {
		if (strncmp(commands[i].name, group, len) == 0 && commands[i].name[len] == ' ') {
			print_synopsis(&commands[i], "dfwctl ", "", "\n");
			printf("    %s\n", commands[i].help);
		}
	}
}

static void print_general_usage(void)
{
	puts("dfwctl [OPTION ..] COMMAND ..\n");
	for (size_t i = 0; i < nr_commands; i++)
		printf("  %-16s %s\n", commands[i].name, commands[i].help);
	puts("\nOptions of all commands:");
	print_options(global_options, nr_global_options);
	puts("\nExit status: 0 done, 1 failed, 2 wrong usage or input, 3 dfwd is not reachable.\n"
	     "`dfwctl help COMMAND` says more.");
}

enum exit_status print_usage(const struct invocation *call)
{
	if (call->command)
		print_command_usage(call->command);
	else if (call->group)
		print_group_usage(call->group);
	else
		print_general_usage();
	return EXIT_DONE;
}

/* `help vport add`: the words are a command line of their own. */
enum exit_status run_help(const struct invocation *call)
{
	_cleanup_free_ char **words = calloc(call->nr_arguments + 3, sizeof(*words));
	struct invocation about;
	enum exit_status status;
	int nr = 0;

	if (!words) {
		complain("no memory");
		return EXIT_FAILED;
	}
	words[nr++] = "dfwctl";
	words[nr++] = "--help";
	for (size_t i = 0; i < call->nr_arguments; i++)
		words[nr++] = (char *)call->arguments[i];
	status = parse_command_line(nr, words, &about);
	if (status == EXIT_DONE)
		status = print_usage(&about);
	invocation_free(&about);
	return status;
}
