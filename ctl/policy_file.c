// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "file.h"
#include "instance.h"
#include "json.h"
#include "policy_file.h"
#include "view.h"

#define STDIN_NAME  "<stdin>"
#define FIRST_BYTES 65536

/* Reads to the end, but not more than a policy may have: what is given could be /dev/zero. */
static int read_all(int fd, char **text, size_t *bytes)
{
	_cleanup_free_ char *buffer = NULL;
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

/* What is no UTF-8 is no JSON text either: it stays out, and the parser says where it is wrong. */
static int add_text(json_t *files, const char *name, const char *text, size_t bytes)
{
	json_t *file;

	if (bundle_text(files, name))
		return 0;
	file = json_pack("{s:s, s:o?}", "name", name, "text", json_stringn(text, bytes));
	return json_array_append_new(files, file) < 0 ? -ENOMEM : 0;
}

/* The policy library's reader of files on disk; `data` is the bundle's list of files. */
static int read_file(void *data, const char *from, const char *name, char **text, size_t *bytes,
		     char **resolved)
{
	bool standard_input = !from && strcmp(name, "-") == 0;
	_cleanup_free_ char *path = bundle_resolve(from, standard_input ? STDIN_NAME : name);
	_cleanup_free_ char *read = NULL;
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

/* Of regular files only: what comes from a pipe could not be read again. */
int bundle_read_alone(const char *file, json_t **bundle)
{
	_cleanup_free_ char *text = NULL;
	size_t bytes;
	int r = strcmp(file, "-") == 0 ? -EINVAL : file_read(file, POLICY_MAX_BYTES, &text, &bytes);

	if (r < 0)
		return r;
	if (memmem(text, bytes, "include", strlen("include")))
		return -EINVAL;
	*bundle = json_pack("{s:s, s:[{s:s, s:o}]}", "main", file, "files", "name", file, "text",
			    json_stringn(text, bytes));
	return *bundle ? 0 : -EINVAL;
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

enum exit_status generation_active(const struct invocation *call, unsigned int *generation)
{
	_cleanup_json_ json_t *stored = NULL;
	struct dfw_revision revision;
	struct dfw_layout layout;
	int r;

	if (view_active(call->instance, &layout, &revision) == 0 && revision.generation) {
		*generation = revision.generation;
		return EXIT_DONE;
	}
	r = state_json(call->instance, "policy/active", &stored);
	if (r < 0 && (r != -ENOENT || !instance_exists(call->instance)))
		return state_json_or_complain(call, "policy/active", "", &stored);
	*generation = (unsigned int)json_integer_value(stored);
	return EXIT_DONE;
}

enum exit_status bundle_active(const struct invocation *call, json_t **bundle)
{
	unsigned int generation;
	char file[GENERATION_FILE_LEN];
	enum exit_status status = generation_active(call, &generation);

	if (status != EXIT_DONE)
		return status;
	if (!generation) {
		complain("instance '%s': no policy has been applied yet", call->instance);
		return EXIT_FAILED;
	}
	return state_json_or_complain(call, generation_file(generation, file),
				      "the text of the policy in force is not on disk", bundle);
}
