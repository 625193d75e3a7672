// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "bundle.h"
#include "instance.h"
#include "json.h"

#define STDIN_NAME  "<stdin>"
#define FIRST_BYTES 65536

static void free_text(char **text)
{
	free(*text);
}
#define _cleanup_text_ _cleanup_(free_text)

/* The name by which a file is known: beside the file that includes it, unless it is absolute. dfwd finds the texts of a
 * bundle by the same rule, which asks no file system. malloc'd; NULL: no memory. */
static char *resolve(const char *from, const char *name)
{
	const char *slash = from ? strrchr(from, '/') : NULL;
	char *resolved;

	if (!slash || name[0] == '/')
		return strdup(name);
	return asprintf(&resolved, "%.*s/%s", (int)(slash - from), from, name) < 0 ? NULL
										   : resolved;
}

/* Reads to the end, but not more than a policy may have: what is given could be /dev/zero. */
static int read_all(int fd, char **text, size_t *bytes)
{
	_cleanup_text_ char *buffer = NULL;
	size_t room = 0, used = 0;
	ssize_t got;

	do {
		if (used == room) {
			char *more;

			room = room ? 2 * room : FIRST_BYTES;
			more = realloc(buffer, room);
			if (!more)
				return -ENOMEM;
			buffer = more;
		}
		got = read(fd, buffer + used, room - used);
		if (got < 0 && errno != EINTR)
			return -errno;
		used += got > 0 ? (size_t)got : 0;
		if (used > POLICY_MAX_BYTES)
			return -EFBIG;
	} while (got != 0);
	*text = TAKE_PTR(buffer);
	*bytes = used;
	return 0;
}

static const json_t *find_text(const json_t *files, const char *name)
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

/* What is no UTF-8 is no JSON text either: it stays out, and the parser says where it is wrong. */
static int add_text(json_t *files, const char *name, const char *text, size_t bytes)
{
	json_t *file;

	if (find_text(files, name))
		return 0;
	file = json_pack("{s:s, s:o?}", "name", name, "text", json_stringn(text, bytes));
	return json_array_append_new(files, file) < 0 ? -ENOMEM : 0;
}

/* The policy library's reader of files on disk; `data` is the bundle's list of files. */
static int read_file(void *data, const char *from, const char *name, char **text, size_t *bytes,
		     char **resolved)
{
	bool standard_input = !from && strcmp(name, "-") == 0;
	_cleanup_text_ char *path = resolve(from, standard_input ? STDIN_NAME : name);
	_cleanup_text_ char *read = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	if (!path)
		return -ENOMEM;
	fd = standard_input ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
			    : open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = read_all(fd, &read, bytes);
	if (r == 0)
		r = add_text(data, path, read, *bytes);
	if (r < 0)
		return r;
	*text = TAKE_PTR(read);
	*resolved = TAKE_PTR(path);
	return 0;
}

/* The reader of a bundle's own texts; `data` as above. */
static int read_bundled(void *data, const char *from, const char *name, char **text, size_t *bytes,
			char **resolved)
{
	_cleanup_text_ char *path = resolve(from, name);
	const json_t *found = path ? find_text(data, path) : NULL;

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

enum exit_status bundle_read(const char *file, json_t **bundle, struct policy **policy,
			     struct policy_errors *errors)
{
	json_t *files = json_array();
	struct policy_reader reader = {.read = read_file, .data = files};
	int r;

	*bundle = json_pack("{s:s, s:o}", "main", strcmp(file, "-") == 0 ? STDIN_NAME : file,
			    "files", files);
	if (!*bundle) {
		complain("FILE: '%s' is no UTF-8 text", file);
		return EXIT_INPUT;
	}
	r = policy_parse(&reader, file, policy, errors);
	if (r == 0)
		return EXIT_DONE;
	if (r == -EINVAL)
		return EXIT_INPUT;
	complain("%s: %s", file, strerror(-r));
	return EXIT_FAILED;
}

int bundle_parse(const json_t *bundle, struct policy **policy, struct policy_errors *errors)
{
	const char *name = json_text(bundle, "main");
	struct policy_reader reader = {
		.read = read_bundled,
		.data = json_object_get(bundle, "files"),
	};

	return name ? policy_parse(&reader, name, policy, errors) : -EBADMSG;
}

const char *generation_file(unsigned int generation, char *file)
{
	snprintf(file, GENERATION_FILE_LEN, "policy/%u.json", generation);
	return file;
}

int bundle_saved(const char *instance, unsigned int generation, json_t **bundle)
{
	char file[GENERATION_FILE_LEN];

	return state_json(instance, generation_file(generation, file), bundle);
}
