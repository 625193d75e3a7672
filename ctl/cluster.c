// SPDX-License-Identifier: GPL-2.0
/* cluster status, takeover, leave: what dfwsyncd is asked for. */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "json.h"
#include "output.h"

/* ---- status ----------------------------------------------------------------------------------------------------- */

static enum color state_color(const char *state)
{
	if (strcmp(state, "alive") == 0)
		return COLOR_GREEN;
	return strcmp(state, "suspect") == 0 || strcmp(state, "leaving") == 0 ? COLOR_YELLOW
									      : COLOR_RED;
}

static const char *text_or(const json_t *object, const char *key, const char *other)
{
	const char *text = json_text(object, key);

	return text ? text : other;
}

static void host_row(struct table *table, const json_t *host)
{
	const char *state = text_or(host, "state", "unknown");
	const json_t *certificate = json_object_get(host, "certificate");
	json_int_t behind = json_number(host, "behind");
	bool operates = json_is_true(json_object_get(certificate, "operator"));

	table_cell(table, COLOR_BOLD, "%s%s", text_or(host, "host", "?"),
		   json_is_true(json_object_get(host, "self")) ? " *" : "");
	table_cell(table, COLOR_NONE, "%" JSON_INTEGER_FORMAT, json_number(host, "id"));
	table_cell(table, COLOR_NONE, "%s", text_or(host, "address", "-"));
	table_cell(table, state_color(state), "%s", state);
	table_cell(table, COLOR_NONE, "%" JSON_INTEGER_FORMAT, json_number(host, "staged"));
	table_cell(table, COLOR_NONE, "%" JSON_INTEGER_FORMAT, json_number(host, "active"));
	table_cell(table, behind ? COLOR_YELLOW : COLOR_NONE, "%" JSON_INTEGER_FORMAT, behind);
	table_cell(table, COLOR_NONE, "%s%s%s",
		   json_is_true(json_object_get(host, "writer")) ? "writer" : "",
		   json_is_true(json_object_get(host, "writer")) && operates ? ", " : "",
		   operates ? "operator" : "");
	table_cell(table, COLOR_YELLOW, "%s", text_or(host, "error", ""));
}

static enum exit_status print_hosts(const struct invocation *call, const json_t *hosts)
{
	static const struct column columns[] = {
		COLUMN("HOST"),	 NUMBERS("ID"),	    COLUMN("ADDRESS"),
		COLUMN("STATE"), NUMBERS("STAGED"), NUMBERS("ACTIVE"),
		NUMBERS("LAG"),	 COLUMN("ROLE"),    COLUMN("ERROR"),
	};
	_cleanup_table_ struct table *table = table_new(columns, ARRAY_SIZE(columns), call->color);
	const json_t *host;
	size_t i;

	if (!table)
		return no_memory();
	json_array_foreach (hosts, i, host)
		host_row(table, host);
	return finish_table(table);
}

static void print_etcd(const json_t *etcd)
{
	double seconds = (double)json_number(etcd, "since_ms") / 1000;

	if (!json_is_object(etcd))
		return;
	if (json_is_true(json_object_get(etcd, "reachable")))
		printf("etcd at %s\n", text_or(etcd, "endpoint", "?"));
	else
		printf("etcd has not answered for %.0f s, the policy stays as it is: %s\n", seconds,
		       text_or(etcd, "error", "?"));
}

static void print_summary(const json_t *status)
{
	const json_t *skew = json_object_get(status, "skew_ms");
	json_int_t staged = json_number(status, "staged"), conflicts;

	printf("generation %" JSON_INTEGER_FORMAT, json_number(status, "generation"));
	if (staged)
		printf(", staging %" JSON_INTEGER_FORMAT, staged);
	printf("; store %s, writer %s; ", text_or(status, "store", "?"),
	       text_or(status, "writer", "none"));
	if (json_is_number(skew))
		printf("skew of the last flip %.1f ms (+/- %.1f)\n", json_number_value(skew),
		       json_number_value(json_object_get(status, "skew_error_ms")));
	else
		puts("skew of the last flip unknown");
	print_etcd(json_object_get(status, "etcd"));
	conflicts = json_number(status, "conflicts");
	if (conflicts)
		printf("%" JSON_INTEGER_FORMAT
		       " vport%s in conflict with another one: see `vport list`\n",
		       conflicts, plural(conflicts));
}

enum exit_status run_cluster_status(const struct invocation *call)
{
	_cleanup_json_ json_t *result = NULL;
	enum exit_status status = sync_call(call, "cluster-status", NULL, &result);

	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_incref(result));
	print_summary(result);
	return print_hosts(call, json_object_get(result, "hosts"));
}

/* ---- takeover, leave -------------------------------------------------------------------------------------------- */

enum exit_status run_cluster_takeover(const struct invocation *call)
{
	_cleanup_json_ json_t *result = NULL;
	enum exit_status status = sync_call(call, "cluster-takeover", NULL, &result);

	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_incref(result));
	printf("host %s is the writer of the policy, in term %" JSON_INTEGER_FORMAT "\n",
	       text_or(result, "writer", "?"), json_number(result, "term"));
	return EXIT_DONE;
}

enum exit_status run_cluster_leave(const struct invocation *call)
{
	_cleanup_json_ json_t *result = NULL;
	enum exit_status status = sync_call(call, "cluster-leave", NULL, &result);

	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_incref(result));
	puts("this host has left the cluster; the policy in force stays");
	return EXIT_DONE;
}
