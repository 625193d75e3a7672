// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bundle.h"
#include "json.h"
#include "util.h"

/* Steps over what means nothing in a path, "//" and "./", to its next part. Returns the part's length. ".." stays: what is
 * before it may be a link. */
static size_t next_part(const char **path)
{
	for (;;) {
		*path += strspn(*path, "/");
		if ((*path)[0] != '.' || (*path)[1] != '/')
			return strcspn(*path, "/");
		*path += 2;
	}
}

/* In place. */
static void shorten(char *path)
{
	const char *from = path;
	char *to = path + (*path == '/');
	size_t part;

	for (;;) {
		part = next_part(&from);
		memmove(to, from, part);
		to += part;
		from += part;
		if (!*from)
			break;
		*to++ = '/';
	}
	*to = '\0';
}

/* Whether `path` shortened is `short_path`. */
static bool shortens_to(const char *path, const char *short_path)
{
	size_t part, short_part;

	if ((*path == '/') != (*short_path == '/'))
		return false;
	do {
		part = next_part(&path);
		short_part = next_part(&short_path);
		if (part != short_part || memcmp(path, short_path, part) != 0)
			return false;
		path += part;
		short_path += part;
	} while (*path && *short_path);
	return *path == *short_path;
}

char *bundle_resolve(const char *from, const char *name)
{
	const char *slash = from ? strrchr(from, '/') : NULL;
	char *resolved;

	if (!slash || name[0] == '/')
		resolved = strdup(name);
	else if (asprintf(&resolved, "%.*s/%s", (int)(slash - from), from, name) < 0)
		resolved = NULL;
	if (resolved)
		shorten(resolved);
	return resolved;
}

const json_t *bundle_text(const json_t *files, const char *name)
{
	const json_t *file;
	size_t i;

	json_array_foreach (files, i, file) {
		const char *known = json_text(file, "name");

		if (known && shortens_to(known, name))
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
