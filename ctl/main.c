// SPDX-License-Identifier: GPL-2.0
#include <bpf/libbpf.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "command.h"

/* What was printed must have arrived: a full disk is an error. */
static enum exit_status flush_output(enum exit_status status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	complain("cannot write the output: %s", strerror(errno));
	return status == EXIT_DONE ? EXIT_FAILED : status;
}

static enum exit_status run(const struct invocation *call)
{
	for (size_t i = 0; i < call->nr_options; i++) {
		const char *name = call->options[i].spec->name;

		if (strcmp(name, "--help") == 0)
			return print_usage(call);
		if (strcmp(name, "--version") == 0) {
			puts("dfwctl " DFW_VERSION);
			return EXIT_DONE;
		}
		if (strcmp(name, "--man") == 0)
			return print_man_page();
		if (strcmp(name, "--bash-completion") == 0)
			return print_bash_completion();
	}
	return call->command->run(call);
}

int main(int argc, char **argv)
{
	struct invocation call;
	enum exit_status status = parse_command_line(argc, argv, &call);

	if (sodium_init() < 0) {
		complain("libsodium does not work on this machine");
		return EXIT_FAILED;
	}
	/* Errors of pins and maps are told in our words. */
	libbpf_set_print(NULL);
	if (status == EXIT_DONE)
		status = run(&call);
	invocation_free(&call);
	return flush_output(status);
}
