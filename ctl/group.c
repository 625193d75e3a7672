// SPDX-License-Identifier: GPL-2.0
/* group ... */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "client.h"
#include "group_members.h"
#include "instance.h"
#include "json.h"
#include "output.h"
#include "policy_file.h"
#include "value.h"

/* ---- list, show ----------------------------------------------------------------------------------------------- */

/* What the policy in force says of groups, and who is in them at run time. */
struct groups {
	struct policy *policy;
	struct group_members members;
};

static void groups_free(struct groups *groups)
{
	policy_free(groups->policy);
	members_close(&groups->members);
}

static enum exit_status read_groups(const struct invocation *call, struct groups *groups)
{
	_cleanup_json_ json_t *bundle = NULL;
	struct policy_errors errors = {};
	enum exit_status status = bundle_active(call, &bundle);
	char path[PATH_MAX];

	if (status != EXIT_DONE)
		return status;
	if (bundle_parse(bundle, &groups->policy, &errors) < 0) {
		policy_errors_print(&errors, stderr);
		policy_errors_free(&errors);
		complain("the active policy cannot be read by this dfwctl: is dfwd of another "
			 "version?");
		return EXIT_FAILED;
	}
	return members_read(&groups->members,
			    state_path(call->instance, GROUP_MEMBERS_FILE, path)) < 0
		       ? EXIT_FAILED
		       : EXIT_DONE;
}

static json_t *group_json(const struct group *group, size_t added)
{
	return json_pack("{s:s, s:I, s:I}", "name", group_name(group), "policy",
			 (json_int_t)group_size(group), "added", (json_int_t)added);
}

enum exit_status run_group_list(const struct invocation *call)
{
	static const struct column columns[] = {COLUMN("GROUP"), NUMBERS("POLICY"),
						NUMBERS("ADDED")};
	_cleanup_table_ struct table *table = table_new(columns, ARRAY_SIZE(columns), call->color);
	_cleanup_(groups_free) struct groups groups = {.members = {.journal = -1}};
	enum exit_status status = table ? read_groups(call, &groups) : no_memory();
	struct json_stream stream = {};
	const struct group *group;

	if (status != EXIT_DONE)
		return status;
	for (size_t i = 0; (group = policy_nth_group(groups.policy, i)); i++) {
		size_t added = members_count(&groups.members, group_name(group));

		if (call->json) {
			json_stream_add(&stream, group_json(group, added));
			continue;
		}
		table_cell(table, COLOR_NONE, "%s", group_name(group));
		table_cell(table, COLOR_NONE, "%zu", group_size(group));
		table_cell(table, COLOR_NONE, "%zu", added);
	}
	return call->json ? json_stream_end(&stream) : finish_table(table);
}

struct listing {
	struct group_prefix *prefixes;
	size_t nr;
};

static int list_prefix(void *data, const char *group, const struct group_prefix *prefix)
{
	struct listing *listing = data;

	(void)group;
	listing->prefixes[listing->nr++] = *prefix;
	return 0;
}

static int compare_prefixes(const void *a, const void *b)
{
	const struct group_prefix *left = a, *right = b;
	int order = memcmp(&left->address, &right->address, sizeof(left->address));

	if (order)
		return order;
	return (left->bits > right->bits) - (left->bits < right->bits);
}

static void show_member(const struct invocation *call, struct table *table,
			struct json_stream *stream, const char *member, bool added)
{
	if (call->json) {
		json_stream_add(stream, json_pack("{s:s, s:b}", "member", member, "added", added));
		return;
	}
	table_cell(table, COLOR_NONE, "%s", member);
	table_cell(table, COLOR_NONE, "%s", added ? "added" : "policy");
}

/* The policy's members in its order, then the others, sorted. */
static enum exit_status show_group(const struct invocation *call, const struct groups *groups,
				   const struct group *group)
{
	static const struct column columns[] = {COLUMN("MEMBER"), COLUMN("FROM")};
	_cleanup_table_ struct table *table = table_new(columns, ARRAY_SIZE(columns), call->color);
	size_t added = members_count(&groups->members, group_name(group));
	_cleanup_free_ struct group_prefix *prefixes = calloc(added + 1, sizeof(*prefixes));
	struct listing listing = {.prefixes = prefixes};
	struct json_stream stream = {};

	if (!table || !prefixes)
		return no_memory();
	for (size_t i = 0; i < group_size(group); i++) {
		_cleanup_free_ char *text = NULL;

		if (group_member_text(group, i, &text) < 0)
			return no_memory();
		show_member(call, table, &stream, text, false);
	}
	members_each(&groups->members, group_name(group), list_prefix, &listing);
	qsort(prefixes, listing.nr, sizeof(*prefixes), compare_prefixes);
	for (size_t i = 0; i < listing.nr; i++) {
		char text[PREFIX_TEXT_LEN];

		show_member(call, table, &stream,
			    prefix_format(&prefixes[i].address, prefixes[i].bits, text), true);
	}
	return call->json ? json_stream_end(&stream) : finish_table(table);
}

enum exit_status run_group_show(const struct invocation *call)
{
	_cleanup_(groups_free) struct groups groups = {.members = {.journal = -1}};
	enum exit_status status = read_groups(call, &groups);
	const struct group *group;

	if (status != EXIT_DONE)
		return status;
	group = policy_group(groups.policy, given_argument(call));
	if (!group) {
		complain("there is no group '%s' in the policy in force", given_argument(call));
		return EXIT_INPUT;
	}
	return show_group(call, &groups, group);
}

/* ---- add, del ------------------------------------------------------------------------------------------------- */

static enum exit_status add_member(json_t *list, const char *where, const char *text)
{
	const char *wrong = check_prefix(text);

	if (wrong) {
		complain("%s: '%s' %s", where, text, wrong);
		return EXIT_INPUT;
	}
	json_array_append_new(list, json_string(text));
	return EXIT_DONE;
}

/* One a line; what stands behind a '#' is a remark. */
static enum exit_status add_line(json_t *list, const char *file, unsigned int number, char *line)
{
	char where[PATH_MAX + 16], *word;

	snprintf(where, sizeof(where), "%s:%u", file, number);
	line[strcspn(line, "#\r\n")] = '\0';
	word = line + strspn(line, " \t");
	word[strcspn(word, " \t")] = '\0';
	return word[0] ? add_member(list, where, word) : EXIT_DONE;
}

static enum exit_status add_file(json_t *list, const char *file)
{
	bool standard_input = strcmp(file, "-") == 0;
	_cleanup_fclose_ FILE *in =
		standard_input ? fdopen(dup(STDIN_FILENO), "r") : fopen(file, "re");
	enum exit_status status = EXIT_DONE;
	_cleanup_free_ char *line = NULL;
	unsigned int number = 0;
	size_t room = 0;

	if (!in) {
		complain("%s: %s", file, strerror(errno));
		return EXIT_INPUT;
	}
	while (status == EXIT_DONE && getline(&line, &room, in) >= 0)
		status = add_line(list, standard_input ? "<stdin>" : file, ++number, line);
	if (status == EXIT_DONE && ferror(in)) {
		complain("%s: %s", file, strerror(errno));
		status = EXIT_INPUT;
	}
	return status;
}

static enum exit_status collect_members(const struct invocation *call, json_t *list)
{
	const char *file = given_value(call, "--file");
	enum exit_status status = file ? add_file(list, file) : EXIT_DONE;

	for (size_t i = 1; i < call->nr_arguments && status == EXIT_DONE; i++)
		status = add_member(list, call->command->name, call->arguments[i]);
	if (status == EXIT_DONE && json_array_size(list) == 0) {
		complain("%s: no address is given; see `dfwctl %s --help`", call->command->name,
			 call->command->name);
		return EXIT_INPUT;
	}
	return status;
}

static enum exit_status change_group(const struct invocation *call, const char *command,
				     const char *done)
{
	const char *name = given_argument(call);
	json_t *list = json_array();
	_cleanup_json_ json_t *arguments = json_pack("{s:s, s:o}", "name", name, "members", list);
	_cleanup_json_ json_t *result = NULL;
	enum exit_status status;
	json_int_t changed;

	if (!arguments)
		return no_memory();
	status = collect_members(call, list);
	if (status == EXIT_DONE)
		status = client_call(call, command, json_incref(arguments), &result);
	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_incref(result));
	changed = json_number(result, done);
	printf("group %s: %" JSON_INTEGER_FORMAT " member%s %s, %" JSON_INTEGER_FORMAT
	       " at run time now\n",
	       name, changed, plural(changed), done, json_number(result, "members"));
	return EXIT_DONE;
}

enum exit_status run_group_add(const struct invocation *call)
{
	return change_group(call, "group-add", "added");
}

enum exit_status run_group_del(const struct invocation *call)
{
	return change_group(call, "group-del", "removed");
}
