// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "control.h"
#include "json.h"
#include "log.h"
#include "policy_store.h"

static const char *generation_path(const struct policy_store *store, uint32_t generation,
				   char *path)
{
	snprintf(path, PATH_MAX, "%s/%u.json", store->dir, generation);
	return path;
}

static const char *active_path(const struct policy_store *store, char *path)
{
	snprintf(path, PATH_MAX, "%s/active", store->dir);
	return path;
}

/* ---- What is on disk -------------------------------------------------------------------------------------------- */

/* "17.json" -> 17; 0: another file. */
static uint32_t generation_of(const char *file)
{
	unsigned int generation;
	int end = 0;

	if (sscanf(file, "%9u.json%n", &generation, &end) != 1 || end == 0 || file[end])
		return 0;
	return generation;
}

/* Calls `each` for every generation on disk, in no order. */
static int each_generation(const struct policy_store *store,
			   void (*each)(const struct policy_store *store, uint32_t generation,
					void *data),
			   void *data)
{
	DIR *dir = opendir(store->dir);
	struct dirent *entry;

	if (!dir)
		return log_errno(-errno, "%s", store->dir);
	while ((entry = readdir(dir))) {
		uint32_t generation = generation_of(entry->d_name);

		if (generation)
			each(store, generation, data);
	}
	closedir(dir);
	return 0;
}

static void find_last(const struct policy_store *store, uint32_t generation, void *data)
{
	uint32_t *last = data;

	(void)store;
	if (generation > *last)
		*last = generation;
}

/* -EBADMSG: there is no number in it. */
static int read_number(const char *path, uint32_t *generation)
{
	_cleanup_free_ char *text = NULL;
	unsigned long number;
	size_t bytes;
	char *end;
	int r = file_read(path, 64, &text, &bytes);

	if (r < 0)
		return r;
	number = strtoul(text, &end, 10);
	if (end == text || *end != '\n' || number > UINT32_MAX)
		return -EBADMSG;
	*generation = (uint32_t)number;
	return 0;
}

static int read_active(struct policy_store *store)
{
	char path[PATH_MAX];
	int r = read_number(active_path(store, path), &store->active);

	if (r == -ENOENT)
		return 0;
	if (r == -EBADMSG)
		log_error("%s: does not hold the number of a generation", path);
	else if (r < 0)
		log_errno(r, "%s", path);
	return r;
}

int store_open(struct policy_store *store, const char *state_dir)
{
	int r;

	*store = (struct policy_store){};
	snprintf(store->dir, sizeof(store->dir), "%s/policy", state_dir);
	r = directory_make(store->dir, 0700);
	if (r < 0)
		return log_errno(r, "%s", store->dir);
	r = read_active(store);
	if (r == 0)
		r = each_generation(store, find_last, &store->last);
	if (store->active > store->last)
		store->last = store->active;
	return r;
}

static void find_before(const struct policy_store *store, uint32_t generation, void *data)
{
	uint32_t *before = data;

	if (generation < store->active && generation > *before)
		*before = generation;
}

uint32_t store_before_active(const struct policy_store *store)
{
	uint32_t before = 0;

	each_generation(store, find_before, &before);
	return before;
}

int store_load(const struct policy_store *store, uint32_t generation, json_t **bundle)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	json_error_t error;
	size_t bytes;
	int r = file_read(generation_path(store, generation, path), CONTROL_MAX_BYTES, &text,
			  &bytes);

	if (r == -ENOENT) {
		log_error("there is no generation %u on disk (any more)", generation);
		return r;
	}
	if (r < 0)
		return log_errno(r, "%s", path);
	*bundle = json_loadb(text, bytes, JSON_ALLOW_NUL, &error);
	if (!*bundle) {
		log_error("%s:%d:%d: %s", path, error.line, error.column, error.text);
		return -EBADMSG;
	}
	return 0;
}

/* ---- A new generation ------------------------------------------------------------------------------------------- */

static const char *time_now(char text[32])
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return text;
}

static json_t *generation_json(uint32_t number, const json_t *bundle, const char *cause)
{
	const char *at = json_text(bundle, "applied_at");
	char now[32];

	return json_pack("{s:I, s:s, s:s, s:O, s:O, s:O*}", "generation", (json_int_t)number,
			 "applied_at", at ? at : time_now(now), "cause", cause, "main",
			 json_object_get(bundle, "main"), "files", json_object_get(bundle, "files"),
			 "object", json_object_get(bundle, "object"));
}

static int stage_active(const struct policy_store *store, uint32_t number,
			struct staged_file *staged)
{
	char path[PATH_MAX], text[16];
	int length = snprintf(text, sizeof(text), "%u\n", number);

	return file_stage(active_path(store, path), text, (size_t)length, staged);
}

/* Touches nothing else, and does not log: the daemon's thread does both meanwhile. */
static void *write_generation(void *data)
{
	struct new_generation *new = data;
	_cleanup_free_ char *text = json_dumps(new->json, JSON_INDENT(1));
	char path[PATH_MAX];

	new->result = text ? file_stage(generation_path(new->store, new->number, path), text,
					strlen(text), &new->bundle)
			   : -ENOMEM;
	if (new->result == 0)
		new->result = stage_active(new->store, new->number, &new->active);
	return NULL;
}

int store_begin(const struct policy_store *store, uint32_t number, const json_t *bundle,
		const char *cause, struct new_generation *new)
{
	*new = (struct new_generation){.number = number ? number : store->last + 1, .store = store};
	new->json = generation_json(new->number, bundle, cause);
	if (!new->json)
		return log_errno(-ENOMEM, "generation %u", new->number);
	new->writing = pthread_create(&new->writer, NULL, write_generation, new) == 0;
	if (!new->writing)
		write_generation(new);
	return 0;
}

static void wait_for_writer(struct new_generation *new)
{
	if (new->writing)
		pthread_join(new->writer, NULL);
	new->writing = false;
	json_decref(new->json);
	new->json = NULL;
}

int store_written(struct policy_store *store, struct new_generation *new)
{
	wait_for_writer(new);
	if (new->result < 0)
		return log_errno(new->result, "cannot write generation %u to %s", new->number,
				 store->dir);
	if (new->number > store->last)
		store->last = new->number;
	return 0;
}

int store_place(struct policy_store *store, struct new_generation *new)
{
	int r = store_written(store, new);

	if (r < 0)
		return r;
	r = file_commit(&new->bundle);
	if (r < 0)
		return log_errno(r, "cannot rename %s", new->bundle.temporary);
	new->placed = true;
	return 0;
}

void store_abort(const struct policy_store *store, struct new_generation *new)
{
	wait_for_writer(new);
	/* While `active` is staged, a start knows what to do. */
	if (new->placed &&new->number != store->active)
		unlink(new->bundle.path);
	file_discard(&new->bundle);
	file_discard(&new->active);
	*new = (struct new_generation){};
}

struct trim {
	uint32_t *generations;
	size_t nr;
	size_t room;
};

static void collect(const struct policy_store *store, uint32_t generation, void *data)
{
	struct trim *trim = data;

	(void)store;
	if (trim->nr < trim->room)
		trim->generations[trim->nr++] = generation;
}

static int newest_first(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return left < right ? 1 : left > right ? -1 : 0;
}

/* One file more than there should be comes with each generation, so that a bounded list holds all. */
static void trim_history(const struct policy_store *store)
{
	uint32_t generations[4 * CONTROL_POLICY_HISTORY];
	struct trim trim = {generations, 0, ARRAY_SIZE(generations)};
	char path[PATH_MAX];

	each_generation(store, collect, &trim);
	qsort(trim.generations, trim.nr, sizeof(*trim.generations), newest_first);
	for (size_t i = CONTROL_POLICY_HISTORY; i < trim.nr; i++)
		if (trim.generations[i] != store->active)
			unlink(generation_path(store, trim.generations[i], path));
}

int store_commit(struct policy_store *store, struct new_generation *new)
{
	int r = file_commit(&new->active);

	/* The kernel has it in force already: it stays, and the next start follows the kernel. */
	store->active = new->number;
	*new = (struct new_generation){};
	if (r < 0)
		return log_errno(r, "generation %u is in force, but cannot be marked so on disk",
				 store->active);
	trim_history(store);
	return 0;
}

int store_follow_kernel(struct policy_store *store, uint32_t generation)
{
	_cleanup_staged_ struct staged_file staged = {};
	char path[PATH_MAX];
	int r;

	if (generation > store->last)
		store->last = generation;
	if (access(generation_path(store, generation, path), F_OK) < 0)
		return -errno;
	r = stage_active(store, generation, &staged);
	if (r == 0)
		r = file_commit(&staged);
	if (r < 0)
		return log_errno(r, "cannot write %s", active_path(store, path));
	store->active = generation;
	return 0;
}

void store_end_interrupted(struct policy_store *store)
{
	char active[PATH_MAX], path[PATH_MAX], staged[PATH_MAX + 8];
	uint32_t generation = 0;
	int r;

	snprintf(active, sizeof(active), "%s/active.new", store->dir);
	r = read_number(active, &generation);
	if (r == -ENOENT)
		return;
	if (generation > store->last)
		store->last = generation;
	/* Not placed yet, it has replaced nobody: a file of that number is of a former life in another cluster. */
	snprintf(staged, sizeof(staged), "%s.new", generation_path(store, generation, path));
	if (unlink(staged) < 0 && generation != store->active)
		unlink(path);
	unlink(active);
}
