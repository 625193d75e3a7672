// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "policy_cluster.h"
#include "policy_file.h"
#include "client.h"
#include "instance.h"
#include "json.h"
#include "output.h"
#include "refusal.h"
#include "value.h"
#include "view.h"

#define _cleanup_errors_ _cleanup_(policy_errors_free)

/* ---- check, apply --------------------------------------------------------------------------------------------- */

/* On stderr, and with -j as JSON too. */
static void show_errors(const struct invocation *call, const struct policy_errors *errors)
{
	policy_errors_print(errors, stderr);
	if (call->json && errors->nr)
		print_json(refusal_json(errors));
}

/* Reads, parses and shows the errors. */
static enum exit_status read_policy(const struct invocation *call, json_t **bundle)
{
	_cleanup_errors_ struct policy_errors errors = {};
	_cleanup_policy_ struct policy *policy = NULL;
	enum exit_status status = bundle_read(given_argument(call), bundle, &policy, &errors);

	show_errors(call, &errors);
	return status;
}

enum exit_status run_policy_check(const struct invocation *call)
{
	_cleanup_json_ json_t *bundle = NULL;
	enum exit_status status = read_policy(call, &bundle);
	struct policy_errors none = {};

	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(refusal_json(&none));
	printf("%s: valid\n", json_text(bundle, "main"));
	return EXIT_DONE;
}

/* Whether it is a policy, with the errors shown. */
static bool good_policy(const struct invocation *call, const json_t *bundle)
{
	_cleanup_errors_ struct policy_errors errors = {};
	_cleanup_policy_ struct policy *policy = NULL;
	int r = bundle_parse(bundle, &policy, &errors);

	show_errors(call, &errors);
	return r == 0;
}

/* dfwd parses what it gets, whoever sends it. To do so here before it does would be half of the time that the operator
 * waits; so a file that was read `unparsed` is parsed when it was not well, for it may be that the policy is to blame. */
static enum exit_status apply_bundle(const struct invocation *call, json_t *bundle, bool unparsed,
				     json_t **result)
{
	_cleanup_json_ json_t *reply = NULL;
	int r = client_request(call->instance, "policy-apply", json_incref(bundle), &reply);

	if (unparsed && (r < 0 || json_number(reply, "status") != EXIT_DONE) &&
	    !good_policy(call, bundle))
		return EXIT_INPUT;
	show_refusal(call, reply, json_text(bundle, "main"));
	return client_answer(call, r, reply, result);
}

static enum exit_status apply(const struct invocation *call, json_t **result)
{
	_cleanup_json_ json_t *bundle = NULL;
	enum exit_status status;

	if (bundle_read_alone(given_argument(call), &bundle) == 0)
		return apply_bundle(call, bundle, true, result);
	status = read_policy(call, &bundle);
	return status == EXIT_DONE ? apply_bundle(call, bundle, false, result) : status;
}

static enum exit_status apply_in_cluster(const struct invocation *call)
{
	_cleanup_json_ json_t *bundle = NULL;
	enum exit_status status = read_policy(call, &bundle);

	return status == EXIT_DONE ? cluster_apply(call, bundle, "apply", 0) : status;
}

enum exit_status run_policy_apply(const struct invocation *call)
{
	_cleanup_json_ json_t *result = NULL;
	json_int_t rules, vports;
	enum exit_status status;

	if (in_cluster(call->instance))
		return apply_in_cluster(call);
	status = apply(call, &result);
	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_incref(result));
	rules = json_number(result, "rules");
	vports = json_number(result, "vports");
	printf("generation %" JSON_INTEGER_FORMAT ": %" JSON_INTEGER_FORMAT
	       " rule%s on %" JSON_INTEGER_FORMAT " vport%s\n",
	       json_number(result, "generation"), rules, plural(rules), vports, plural(vports));
	return EXIT_DONE;
}

/* ---- show ----------------------------------------------------------------------------------------------------- */

/* One file is shown as it was written. Of several, the text with all includes resolved is what can be applied again. */
static enum exit_status print_text(const json_t *bundle, const struct policy *policy)
{
	const json_t *files = json_object_get(bundle, "files"), *file;
	_cleanup_free_ char *text = NULL;
	size_t i;

	if (json_array_size(files) == 1) {
		const json_t *only = json_object_get(json_array_get(files, 0), "text");

		fwrite(json_string_value(only), 1, json_string_length(only), stdout);
		return EXIT_DONE;
	}
	if (policy_to_text(policy, &text) < 0)
		return no_memory();
	json_array_foreach (files, i, file)
		printf("# %s %s\n", i ? "   and" : "made of", json_text(file, "name"));
	fputs(text, stdout);
	return EXIT_DONE;
}

static enum exit_status print_model(const struct policy *policy)
{
	_cleanup_free_ char *json = NULL;

	if (policy_to_json(policy, &json) < 0)
		return no_memory();
	fputs(json, stdout);
	return EXIT_DONE;
}

enum exit_status run_policy_show(const struct invocation *call)
{
	_cleanup_errors_ struct policy_errors errors = {};
	_cleanup_policy_ struct policy *policy = NULL;
	_cleanup_json_ json_t *bundle = NULL;
	enum exit_status status = bundle_active(call, &bundle);

	if (status != EXIT_DONE)
		return status;
	if (bundle_parse(bundle, &policy, &errors) < 0) {
		policy_errors_print(&errors, stderr);
		complain("the active policy cannot be read by this dfwctl: is dfwd of another "
			 "version?");
		return EXIT_FAILED;
	}
	if (call->json || given(call, "--json-model"))
		return print_model(policy);
	return print_text(bundle, policy);
}

/* ---- history, rollback ---------------------------------------------------------------------------------------- */

struct generations {
	unsigned int *list;
	size_t nr;
};

static void free_generations(struct generations *generations)
{
	free(generations->list);
}

static int newest_first(const void *a, const void *b)
{
	unsigned int left = *(const unsigned int *)a, right = *(const unsigned int *)b;

	return left < right ? 1 : left > right ? -1 : 0;
}

/* "17.json" -> 17; 0: another file. */
static unsigned int generation_of(const char *file)
{
	unsigned int generation;
	int end = 0;

	if (sscanf(file, "%9u.json%n", &generation, &end) != 1 || end == 0 || file[end])
		return 0;
	return generation;
}

static int list_generations(const char *instance, struct generations *generations)
{
	char path[PATH_MAX];
	DIR *dir = opendir(state_path(instance, "policy", path));
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return errno == EACCES ? -EPERM : -errno;
	while (r == 0 && (entry = readdir(dir))) {
		unsigned int *more, generation = generation_of(entry->d_name);

		if (!generation)
			continue;
		more = realloc(generations->list, (generations->nr + 1) * sizeof(*more));
		if (!more) {
			r = -ENOMEM;
			continue;
		}
		more[generations->nr++] = generation;
		generations->list = more;
	}
	closedir(dir);
	if (generations->nr)
		qsort(generations->list, generations->nr, sizeof(*generations->list), newest_first);
	return r;
}

static json_t *history_json(const json_t *saved, bool active)
{
	return json_pack("{s:O, s:O?, s:O?, s:O?, s:b}", "generation",
			 json_object_get(saved, "generation"), "applied_at",
			 json_object_get(saved, "applied_at"), "cause",
			 json_object_get(saved, "cause"), "main", json_object_get(saved, "main"),
			 "active", active);
}

static void history_row(struct table *table, unsigned int generation, const json_t *saved,
			bool active)
{
	const char *cause = json_text(saved, "cause"), *main_file = json_text(saved, "main");
	const char *applied = json_text(saved, "applied_at");

	table_cell(table, active ? COLOR_GREEN : COLOR_NONE, "%u%s", generation,
		   active ? " *" : "");
	table_cell(table, COLOR_NONE, "%s", applied ? applied : "-");
	table_cell(table, COLOR_NONE, "%s", cause ? cause : "-");
	table_cell(table, COLOR_NONE, "%s", main_file ? main_file : "-");
}

static enum exit_status print_history(const struct invocation *call,
				      const struct generations *generations, unsigned int active)
{
	static const struct column columns[] = {COLUMN("GENERATION"), COLUMN("APPLIED"),
						COLUMN("CAUSE"), COLUMN("FILE")};
	_cleanup_table_ struct table *table = table_new(columns, ARRAY_SIZE(columns), call->color);
	struct json_stream stream = {};

	if (!table)
		return no_memory();
	for (size_t i = 0; i < generations->nr; i++) {
		unsigned int generation = generations->list[i];
		_cleanup_json_ json_t *saved = NULL;
		int r;

		/* Numbers grow: what is above was written and never came into force. */
		if (generation > active)
			continue;
		r = bundle_saved(call->instance, generation, &saved);
		/* dfwd has just thrown away the oldest. */
		if (r == -ENOENT)
			continue;
		if (r < 0)
			complain("generation %u cannot be read: %s", generation, strerror(-r));
		else if (call->json)
			json_stream_add(&stream, history_json(saved, generation == active));
		else
			history_row(table, generation, saved, generation == active);
	}
	return call->json ? json_stream_end(&stream) : finish_table(table);
}

enum exit_status run_policy_history(const struct invocation *call)
{
	_cleanup_(free_generations) struct generations generations = {};
	unsigned int active = 0;
	enum exit_status status = generation_active(call, &active);
	int r;

	if (status != EXIT_DONE)
		return status;
	r = list_generations(call->instance, &generations);
	if (r < 0 && r != -ENOENT) {
		complain("cannot read the policies of instance '%s': %s", call->instance,
			 strerror(-r));
		return EXIT_FAILED;
	}
	return print_history(call, &generations, active);
}

/* The youngest before the active one; 0: none. */
static unsigned int generation_before(const struct generations *generations, unsigned int active)
{
	for (size_t i = 0; i < generations->nr; i++)
		if (generations->list[i] < active)
			return generations->list[i];
	return 0;
}

static enum exit_status find_former(const struct invocation *call, unsigned int *generation)
{
	_cleanup_(free_generations) struct generations generations = {};
	unsigned int active = 0;
	enum exit_status status = generation_active(call, &active);
	int r;

	if (status != EXIT_DONE)
		return status;
	r = list_generations(call->instance, &generations);
	*generation = r < 0 ? 0 : generation_before(&generations, active);
	if (*generation)
		return EXIT_DONE;
	complain("%s: there is no generation before the active one", call->command->name);
	return EXIT_INPUT;
}

/* All hosts have the same generations, and so the texts of former ones: it is applied like a new one. */
static enum exit_status rollback_in_cluster(const struct invocation *call, const char *wanted)
{
	unsigned int generation = wanted ? (unsigned int)number_value(wanted) : 0;
	enum exit_status status = wanted ? EXIT_DONE : find_former(call, &generation);
	_cleanup_json_ json_t *bundle = NULL;
	char cause[32];
	int r;

	if (status != EXIT_DONE)
		return status;
	r = bundle_saved(call->instance, generation, &bundle);
	if (r < 0) {
		complain("%s: generation %u cannot be read: %s", call->command->name, generation,
			 r == -ENOENT ? "this host does not have it (any more)" : strerror(-r));
		return r == -ENOENT ? EXIT_INPUT : EXIT_FAILED;
	}
	snprintf(cause, sizeof(cause), "rollback to %u", generation);
	return cluster_apply(call, bundle, cause, generation);
}

enum exit_status run_policy_rollback(const struct invocation *call)
{
	const char *generation = given_argument(call);
	_cleanup_json_ json_t *result = NULL;
	json_t *arguments;
	enum exit_status status;

	if (in_cluster(call->instance))
		return rollback_in_cluster(call, generation);
	arguments = json_object();
	if (generation)
		json_object_set_new(arguments, "generation",
				    json_integer((json_int_t)number_value(generation)));
	status = client_call(call, "policy-rollback", arguments, &result);
	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_incref(result));
	printf("generation %" JSON_INTEGER_FORMAT ": the policy of generation %" JSON_INTEGER_FORMAT
	       "\n",
	       json_number(result, "generation"), json_number(result, "from"));
	return EXIT_DONE;
}
