// SPDX-License-Identifier: GPL-2.0
/* vport list, vport show */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "instance.h"
#include "json.h"
#include "output.h"
#include "vport.h"

/* "a, b" of a list of texts. malloc'd; NULL: no memory. */
static char *joined(const json_t *list)
{
	char *text = NULL;
	size_t bytes, i;
	FILE *out = open_memstream(&text, &bytes);
	const json_t *item;

	if (!out)
		return NULL;
	json_array_foreach (list, i, item)
		fprintf(out, "%s%s", i ? ", " : "", json_string_value(item));
	if (json_array_size(list) == 0)
		fputc('-', out);
	fclose(out);
	return text;
}

static char *joined_tags(const json_t *tags)
{
	_cleanup_json_ json_t *list = json_array();
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)tags, key, value)
		json_array_append_new(list, json_sprintf("%s=%s", key, json_string_value(value)));
	return joined(list);
}

static const char *text_or_dash(const json_t *object, const char *key)
{
	const char *text = json_text(object, key);

	return text ? text : "-";
}

static const char *share_or_dash(const json_t *object)
{
	const char *share = json_text(object, "share");

	return share && share[0] ? share : "-";
}

static void print_row(struct table *table, const struct vport *vport)
{
	_cleanup_json_ json_t *json = vport_json(vport);
	_cleanup_free_ char *macs = joined(json_object_get(json, "macs"));
	_cleanup_free_ char *ips = joined(json_object_get(json, "ips"));
	_cleanup_free_ char *tags = joined_tags(json_object_get(json, "tags"));
	enum color color;
	const char *state = vport_state(vport, &color);

	table_cell(table, COLOR_BOLD, "%s", vport->name);
	table_cell(table, COLOR_NONE, "%s", text_or_dash(json, "dev"));
	table_cell(table, color, "%s", state);
	table_cell(table, COLOR_NONE, "%s", macs ? macs : "?");
	table_cell(table, COLOR_NONE, "%s", ips ? ips : "?");
	table_cell(table, COLOR_NONE, "%s", tags ? tags : "?");
	table_cell(table, COLOR_NONE, "%s", text_or_dash(json, "profile"));
	table_cell(table, COLOR_NONE, "%s", share_or_dash(json));
	if (vport->realised)
		table_cell(table, COLOR_NONE, "%lld", (long long)vport->view.state.flows);
	else
		table_cell(table, COLOR_NONE, "-");
}

static void print_line(struct table *table, const char *label, const char *value, enum color color)
{
	table_cell(table, COLOR_NONE, "%s", label);
	table_cell(table, color, "%s", value ? value : "?");
}

/* What dfwd's status says of a held vport; NULL: nothing, or it does not run. */
static json_t *held_told(const struct invocation *call, const struct vport *vport)
{
	_cleanup_json_ json_t *reply = NULL;
	const json_t *entry;
	size_t i;

	if (!vport_held(vport) || client_request(call->instance, "status", NULL, &reply) < 0)
		return NULL;
	json_array_foreach (json_object_get(json_object_get(reply, "result"), "held"), i, entry)
		if (json_text(entry, "vport") &&
		    strcmp(json_text(entry, "vport"), vport->name) == 0)
			return json_incref((json_t *)entry);
	return NULL;
}

static void print_held(struct table *table, const json_t *told)
{
	char time[DURATION_TEXT_LEN];

	if (!told)
		return;
	print_line(table, "denies for", held_for(told, time), COLOR_YELLOW);
	print_line(table, "  since", json_text(told, "why"), COLOR_NONE);
}

static enum exit_status show_json(const struct invocation *call, const struct vport *vport)
{
	_cleanup_json_ json_t *told = held_told(call, vport);
	json_t *json = vport_json(vport);

	json_object_set(json, "held_ms", told ? json_object_get(told, "ms") : json_null());
	json_object_set(json, "held_why", told ? json_object_get(told, "why") : json_null());
	return print_json(json);
}

static enum exit_status print_details(const struct invocation *call, const struct vport *vport)
{
	static const struct column columns[] = {{}, {}};
	_cleanup_table_ struct table *table = table_new(columns, ARRAY_SIZE(columns), call->color);
	_cleanup_json_ json_t *json = vport_json(vport);
	_cleanup_free_ char *macs = joined(json_object_get(json, "macs"));
	_cleanup_free_ char *ips = joined(json_object_get(json, "ips"));
	_cleanup_free_ char *derived = joined(json_object_get(json, "derived_ips"));
	_cleanup_free_ char *learned = joined(json_object_get(json, "learned_ips"));
	_cleanup_free_ char *tags = joined_tags(json_object_get(json, "tags"));
	_cleanup_json_ json_t *told = held_told(call, vport);
	enum color color;
	const char *state = vport_state(vport, &color);

	if (!table || !json)
		return no_memory();
	print_line(table, "vport", vport->name, COLOR_BOLD);
	print_line(table, "state", state, color);
	print_held(table, told);
	print_line(table, "device", text_or_dash(json, "dev"), COLOR_NONE);
	print_line(table, "MAC addresses", macs, COLOR_NONE);
	print_line(table, "IP addresses", ips, COLOR_NONE);
	print_line(table, "of its MAC", derived, COLOR_NONE);
	print_line(table, "learned", learned, COLOR_NONE);
	print_line(table, "tags", tags, COLOR_NONE);
	print_line(table, "profile", text_or_dash(json, "profile"), COLOR_NONE);
	print_line(table, "share group", share_or_dash(json), COLOR_NONE);
	print_line(table, "uuid", text_or_dash(json, "uuid"), COLOR_NONE);
	table_cell(table, COLOR_NONE, "epoch");
	table_cell(table, COLOR_NONE, "%" JSON_INTEGER_FORMAT, json_number(json, "epoch"));
	if (vport->realised) {
		table_cell(table, COLOR_NONE, "slot");
		table_cell(table, COLOR_NONE, "%u", vport->view.config.slot);
		table_cell(table, COLOR_NONE, "flows");
		table_cell(table, COLOR_NONE, "%lld of at most %u",
			   (long long)vport->view.state.flows,
			   vport->view.config.profile.max_flows);
	}
	return finish_table(table);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of the kernel's and the stored ones, sorted, each once; `all` has room for both. */
static size_t merge_names(char **kernel, size_t nr_kernel, const json_t *stored, const char **all)
{
	size_t nr = 0, unique = 0, i;
	const json_t *entry;

	for (i = 0; i < nr_kernel; i++)
		all[nr++] = kernel[i];
	json_array_foreach (stored, i, entry)
		if (json_text(entry, "name"))
			all[nr++] = json_text(entry, "name");
	qsort(all, nr, sizeof(*all), compare_names);
	for (i = 0; i < nr; i++)
		if (unique == 0 || strcmp(all[unique - 1], all[i]) != 0)
			all[unique++] = all[i];
	return unique;
}

static enum exit_status list_json(const struct invocation *call, const char **names, size_t nr,
				  const json_t *stored)
{
	struct json_stream stream = {};
	struct vport vport;

	for (size_t i = 0; i < nr; i++) {
		int r = vport_read(call->instance, names[i], stored, &vport);

		if (r == 0)
			json_stream_add(&stream, vport_json(&vport));
		else if (r != -ENOENT)
			return view_failed(call, names[i], r);
	}
	return json_stream_end(&stream);
}

static enum exit_status list_table(const struct invocation *call, const char **names, size_t nr,
				   const json_t *stored)
{
	static const struct column columns[] = {
		COLUMN("NAME"), COLUMN("DEVICE"),  COLUMN("STATE"), COLUMN("MAC"),    COLUMN("IP"),
		COLUMN("TAGS"), COLUMN("PROFILE"), COLUMN("SHARE"), NUMBERS("FLOWS"),
	};
	_cleanup_table_ struct table *table = table_new(columns, ARRAY_SIZE(columns), call->color);
	struct vport vport;

	if (!table)
		return no_memory();
	for (size_t i = 0; i < nr; i++) {
		int r = vport_read(call->instance, names[i], stored, &vport);

		if (r == 0)
			print_row(table, &vport);
		else if (r != -ENOENT)
			return view_failed(call, names[i], r);
	}
	return finish_table(table);
}

/* ---- Of the cluster ------------------------------------------------------------------------------------------- */

static const char *remote_state(const json_t *vport, enum color *color)
{
	*color = COLOR_RED;
	if (json_is_string(json_object_get(vport, "conflict")))
		return "conflict";
	if (!json_is_true(json_object_get(vport, "ready")))
		return "no policy";
	*color = COLOR_YELLOW;
	if (json_is_true(json_object_get(vport, "held")))
		return "moving";
	if (!json_is_true(json_object_get(vport, "attached")))
		return "no device";
	*color = COLOR_GREEN;
	return "enforcing";
}

static void remote_row(struct table *table, const json_t *json)
{
	_cleanup_free_ char *macs = joined(json_object_get(json, "macs"));
	_cleanup_free_ char *ips = joined(json_object_get(json, "ips"));
	_cleanup_free_ char *tags = joined_tags(json_object_get(json, "tags"));
	enum color color;
	const char *state = remote_state(json, &color);

	table_cell(table, COLOR_BOLD, "%s", text_or_dash(json, "name"));
	table_cell(table, COLOR_NONE, "%s", text_or_dash(json, "host"));
	table_cell(table, COLOR_NONE, "%s", text_or_dash(json, "dev"));
	table_cell(table, color, "%s", state);
	table_cell(table, COLOR_NONE, "%s", macs ? macs : "?");
	table_cell(table, COLOR_NONE, "%s", ips ? ips : "?");
	table_cell(table, COLOR_NONE, "%s", tags ? tags : "?");
	table_cell(table, COLOR_NONE, "%s", text_or_dash(json, "profile"));
	table_cell(table, COLOR_NONE, "%s", share_or_dash(json));
}

static enum exit_status list_cluster(const struct invocation *call)
{
	static const struct column columns[] = {
		COLUMN("NAME"), COLUMN("HOST"), COLUMN("DEVICE"),  COLUMN("STATE"), COLUMN("MAC"),
		COLUMN("IP"),	COLUMN("TAGS"), COLUMN("PROFILE"), COLUMN("SHARE"),
	};
	_cleanup_table_ struct table *table = table_new(columns, ARRAY_SIZE(columns), call->color);
	_cleanup_json_ json_t *result = NULL;
	enum exit_status status = sync_call(call, "vport-list", NULL, &result);
	const json_t *vport;
	size_t i;

	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_incref(json_object_get(result, "vports")));
	if (!table)
		return no_memory();
	json_array_foreach (json_object_get(result, "vports"), i, vport)
		remote_row(table, vport);
	return finish_table(table);
}

/* ---- Commands ------------------------------------------------------------------------------------------------- */

static enum exit_status list_host(const struct invocation *call)
{
	_cleanup_json_ json_t *stored = NULL;
	_cleanup_free_ const char **names = NULL;
	enum exit_status status;
	char **kernel = NULL;
	size_t nr_kernel = 0, nr;
	int r = view_vports(call->instance, &kernel, &nr_kernel);

	/* After boot and before dfwd, a vport is on disk only. */
	if (r < 0 && (r != -ENOENT || !bpffs_mounted() || !instance_exists(call->instance)))
		return view_failed(call, NULL, r);
	status = vports_stored(call, &stored);
	if (status == EXIT_DONE) {
		names = calloc(nr_kernel + json_array_size(stored) + 1, sizeof(*names));
		if (!names) {
			status = no_memory();
		} else {
			nr = merge_names(kernel, nr_kernel, stored, names);
			status = (call->json ? list_json : list_table)(call, names, nr, stored);
		}
	}
	names_free(kernel, nr_kernel);
	return status;
}

/* Without dfwsyncd the vports of this host are what can be known. */
enum exit_status run_vport_list(const struct invocation *call)
{
	if (given(call, "--local") || !in_cluster(call->instance))
		return list_host(call);
	return list_cluster(call);
}

enum exit_status run_vport_show(const struct invocation *call)
{
	_cleanup_json_ json_t *stored = NULL;
	const char *name = given_argument(call);
	enum exit_status status = vports_stored(call, &stored);
	struct vport vport;
	int r;

	if (status != EXIT_DONE)
		return status;
	r = vport_read(call->instance, name, stored, &vport);
	if (r < 0)
		return view_failed(call, name, r);
	return call->json ? show_json(call, &vport) : print_details(call, &vport);
}
