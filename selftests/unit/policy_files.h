/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTESTS_POLICY_FILES_H
#define SELFTESTS_POLICY_FILES_H

/* Policies out of strings, for the tests of policy/. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"

struct policy_file {
	const char *name;
	const char *text;
	size_t bytes; /* 0: text ends with NUL */
};

/* The last file has no name. */
static inline int policy_files_read(void *data, const char *from, const char *name, char **text,
				    size_t *bytes, char **resolved)
{
	(void)from;
	for (const struct policy_file *file = data; file->name; file++) {
		if (strcmp(file->name, name) != 0)
			continue;
		*bytes = file->bytes ? file->bytes : strlen(file->text);
		*text = malloc(*bytes + 1);
		*resolved = strdup(name);
		if (!*text || !*resolved)
			abort();
		memcpy(*text, file->text, *bytes);
		return 0;
	}
	return -ENOENT;
}

static inline int parse_files(const struct policy_file *files, struct policy **policy,
			      struct policy_errors *errors)
{
	const struct policy_reader reader = {policy_files_read, (void *)files};

	return policy_parse(&reader, files->name, policy, errors);
}

static inline int parse_text(const char *text, struct policy **policy, struct policy_errors *errors)
{
	const struct policy_file files[] = {{"a.dfw", text, 0}, {0}};

	return parse_files(files, policy, errors);
}

/* The policy, or the errors on stdout and NULL. */
static inline struct policy *must_parse(const char *text)
{
	struct policy_errors errors;
	struct policy *policy;

	if (parse_text(text, &policy, &errors) < 0)
		policy_errors_print(&errors, stdout);
	policy_errors_free(&errors);
	return policy;
}

#endif
