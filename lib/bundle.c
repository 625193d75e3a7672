// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bundle.h"
#include "json.h"
#include "util.h"

char *bundle_resolve(const char *from, const char *name)
{
	const char *slash = from ? strrchr(from, '/') : NULL;
	char *resolved;

	if (!slash || name[0] == '/')
		return strdup(name);
	return asprintf(&resolved, "%.*s/%s", (int)(slash - from), from, name) < 0 ? NULL
										   : resolved;
}

const json_t *bundle_text(const json_t *files, const char *name)
{
	const json_t *file;
	size_t i;

	json_array_foreach (files, i, file) {
		const char *known = json_text(file, "name");

		if (known && strcmp(known, name) == 0)
			return json_object_get(file, "text");
	}
	return NULL;
}

/* The policy library's reader of a bundle's own texts; `data` is its list of files. */
static int read_bundled(void *data, const char *from, const char *name, char **text, size_t *bytes,
			char **resolved)
{
	_cleanup_free_ char *path = bundle_resolve(from, name);
	const json_t *found = path ? bundle_text(data, path) : NULL;

	if (!path)
		return -ENOMEM;
	if (!json_is_string(found))
		return -ENOENT;
	*bytes = json_string_length(found);
	*text = malloc(*bytes + 1);
	if (!*text)
		return -ENOMEM;
	memcpy(*text, json_string_value(found), *bytes + 1);
	*resolved = TAKE_PTR(path);
	return 0;
}

int bundle_parse(const json_t *bundle, struct policy **policy, struct policy_errors *errors)
{
	const char *name = json_text(bundle, "main");
	json_t *files = json_object_get(bundle, "files");
	struct policy_reader reader = {.read = read_bundled, .data = files};

	return name && json_is_array(files) ? policy_parse(&reader, name, policy, errors)
					    : -EBADMSG;
}
