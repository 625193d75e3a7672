// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "instance.h"
#include "json.h"
#include "output.h"
#include "store.h"

#define URLS_MAX 8
#define FILE_MAX (256 << 10)

/* ---- The value ---------------------------------------------------------------------------------------------------- */

static bool port_valid(const char *text)
{
	return strspn(text, "0123456789") == strlen(text) && strlen(text) && strlen(text) <= 5 &&
	       strtoul(text, NULL, 10) > 0 && strtoul(text, NULL, 10) <= 65535;
}

/* HOST, HOST:PORT, [V6] or [V6]:PORT */
static bool authority_valid(const char *text)
{
	const char *end = *text == '[' ? strchr(text, ']') : text + strcspn(text, ":");

	if (!end || end == text || (*text == '[' && end == text + 1))
		return false;
	for (const char *at = text; at < end; at++)
		if (!isalnum((unsigned char)*at) && !strchr("-._[:", *at))
			return false;
	if (*end == ']')
		end++;
	return !*end || (*end == ':' && port_valid(end + 1));
}

static bool url_valid(char *url)
{
	const char *rest = strncmp(url, "http://", 7) == 0    ? url + 7
			   : strncmp(url, "https://", 8) == 0 ? url + 8
							      : NULL;
	size_t nr = strlen(url);

	if (nr && url[nr - 1] == '/')
		url[nr - 1] = '\0';
	return rest && authority_valid(rest);
}

static json_t *etcd_json(const char *list)
{
	json_t *store = json_pack("{s:[]}", "etcd"), *urls = json_object_get(store, "etcd");
	_cleanup_free_ char *copy = strdup(list);
	char *rest = copy, *url;

	while (copy && (url = strsep(&rest, ","))) {
		if (!url_valid(url) || json_array_append_new(urls, json_string(url)) < 0 ||
		    json_array_size(urls) > URLS_MAX) {
			json_decref(store);
			return NULL;
		}
	}
	return store;
}

json_t *store_json(const char *value)
{
	if (strcmp(value, "local") == 0)
		return json_string(value);
	return strncmp(value, "etcd=", 5) == 0 ? etcd_json(value + 5) : NULL;
}

char *store_text(const json_t *store)
{
	char *text = NULL;
	size_t nr = 0, i;
	FILE *file = open_memstream(&text, &nr);
	const json_t *url;

	if (!file)
		return NULL;
	if (json_is_string(store))
		fputs(json_string_value(store), file);
	json_array_foreach (json_object_get(store, "etcd"), i, url)
		fprintf(file, "%s%s", i ? "," : "etcd=", json_string_value(url));
	if (fclose(file) == 0)
		return text;
	free(text);
	return NULL;
}

const char *check_store(const char *value)
{
	_cleanup_json_ json_t *store = store_json(value);

	return store ? NULL
		     : "is neither local nor etcd=URL[,URL].., with 1 to 8 URLs such as "
		       "http://10.0.0.7:2379";
}

/* ---- The files ---------------------------------------------------------------------------------------------------- */

static const struct store_file {
	const char *option;
	const char *name; /* in the cluster folder */
} store_files[] = {
	{"--etcd-ca", "etcd-ca.pem"},
	{"--etcd-cert", "etcd-cert.pem"},
	{"--etcd-key", "etcd-key.pem"},
	{"--etcd-password", "etcd-password"},
};
enum { CA, CERTIFICATE, KEY, PASSWORD };

int cluster_file_write(const char *directory, const char *name, const void *bytes, size_t nr)
{
	_cleanup_staged_ struct staged_file staged = {};
	char path[PATH_MAX];
	struct stat folder;
	int r;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (stat(directory, &folder) < 0)
		return -errno;
	r = file_stage(path, bytes, nr, &staged);
	if (r < 0)
		return r;
	if (lchown(staged.temporary, folder.st_uid, folder.st_gid) < 0)
		return -errno;
	return file_commit(&staged);
}

static bool is_here(const char *directory, const struct store_file *file)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", directory, file->name);
	return access(path, F_OK) == 0;
}

static bool has(const struct invocation *call, const char *directory, size_t file)
{
	return given(call, store_files[file].option) || is_here(directory, &store_files[file]);
}

static bool wants_tls(const json_t *store)
{
	const json_t *url;
	size_t i;

	json_array_foreach (json_object_get(store, "etcd"), i, url)
		if (strncmp(json_string_value(url), "https:", 6) == 0)
			return true;
	return false;
}

enum exit_status store_check(const struct invocation *call, const json_t *store,
			     const char *directory)
{
	for (size_t i = 0; i < ARRAY_SIZE(store_files); i++) {
		if (json_is_string(store) && given(call, store_files[i].option)) {
			complain("%s: the local store has no etcd", store_files[i].option);
			return EXIT_INPUT;
		}
	}
	if (wants_tls(store) && !has(call, directory, CA)) {
		complain("https needs --etcd-ca: who certifies etcd's endpoints");
		return EXIT_INPUT;
	}
	if (has(call, directory, CERTIFICATE) != has(call, directory, KEY)) {
		complain("--etcd-cert and --etcd-key go together");
		return EXIT_INPUT;
	}
	return EXIT_DONE;
}

struct content {
	char *bytes; /* NULL: not given */
	size_t nr;
};

static void contents_free(struct content (*contents)[ARRAY_SIZE(store_files)])
{
	for (size_t i = 0; i < ARRAY_SIZE(store_files); i++) {
		if ((*contents)[i].bytes)
			explicit_bzero((*contents)[i].bytes, (*contents)[i].nr);
		free((*contents)[i].bytes);
	}
}

static enum exit_status read_file(const char *from, size_t file, struct content *content)
{
	int r = file_read(from, FILE_MAX, &content->bytes, &content->nr);

	if (r < 0) {
		complain("%s: %s", from, strerror(-r));
		return EXIT_INPUT;
	}
	if (file == PASSWORD && (*content->bytes == ':' || !strchr(content->bytes, ':'))) {
		complain("%s: its first line is not USER:PASSWORD", from);
		return EXIT_INPUT;
	}
	return EXIT_DONE;
}

static enum exit_status write_file(const char *directory, size_t file,
				   const struct content *content)
{
	int r = cluster_file_write(directory, store_files[file].name, content->bytes, content->nr);

	if (r < 0) {
		complain("%s/%s: %s", directory, store_files[file].name, strerror(-r));
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}

static void remove_files(const char *directory)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(store_files); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, store_files[i].name);
		unlink(path);
	}
}

/* All are read before the first one is written. */
enum exit_status store_files_copy(const struct invocation *call, const json_t *store,
				  const char *directory)
{
	_cleanup_(contents_free) struct content contents[ARRAY_SIZE(store_files)] = {};
	enum exit_status status = store_check(call, store, directory);

	for (size_t i = 0; status == EXIT_DONE && i < ARRAY_SIZE(store_files); i++)
		if (given(call, store_files[i].option))
			status = read_file(given_value(call, store_files[i].option), i,
					   &contents[i]);
	for (size_t i = 0; status == EXIT_DONE && i < ARRAY_SIZE(store_files); i++)
		if (contents[i].bytes)
			status = write_file(directory, i, &contents[i]);
	if (status == EXIT_DONE && json_is_string(store))
		remove_files(directory);
	return status;
}

/* ---- cluster store ------------------------------------------------------------------------------------------------ */

static enum exit_status print_store(const struct invocation *call, const json_t *store)
{
	_cleanup_free_ char *text = NULL;

	if (call->json)
		return print_json(json_pack("{s:O}", "store", store));
	text = store_text(store);
	if (!text)
		return no_memory();
	puts(text);
	return EXIT_DONE;
}

static enum exit_status write_config(const char *directory, json_t *config, json_t *store)
{
	_cleanup_free_ char *text = NULL;
	int r;

	if (json_object_set(config, "store", store) < 0 ||
	    !(text = json_dumps(config, JSON_INDENT(4))))
		return no_memory();
	r = cluster_file_write(directory, "cluster.json", text, strlen(text));
	if (r < 0) {
		complain("%s/cluster.json: %s", directory, strerror(-r));
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}

enum exit_status run_cluster_store(const struct invocation *call)
{
	const char *value = given_argument(call);
	_cleanup_json_ json_t *config = NULL, *store = NULL;
	char directory[PATH_MAX];
	enum exit_status status;

	status = state_json_or_complain(call, "cluster/cluster.json", "this host is in no cluster",
					&config);
	if (status != EXIT_DONE)
		return status;
	state_path(call->instance, "cluster", directory);
	if (!value) {
		store = json_incref(json_object_get(config, "store"));
		if (!store)
			store = json_string("local");
		return print_store(call, store);
	}
	store = store_json(value);
	if (!store)
		return no_memory();
	status = store_files_copy(call, store, directory);
	if (status == EXIT_DONE)
		status = write_config(directory, config, store);
	return status == EXIT_DONE ? print_store(call, store) : status;
}
