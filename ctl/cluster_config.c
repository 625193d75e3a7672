// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cluster_config.h"
#include "cluster_folder.h"
#include "instance.h"
#include "json.h"
#include "output.h"
#include "store.h"
#include "sync/secure/address.h"

#define CONFIG_FILE "cluster.json"

/* The port may be left out. */
static int own_address(const char *value, char canonical[WIRE_TEXT_LEN])
{
	char with_port[WIRE_TEXT_LEN + 8];

	if (address_canonical(value, canonical) == 0)
		return 0;
	if (strlen(value) >= WIRE_TEXT_LEN)
		return -EINVAL;
	snprintf(with_port, sizeof(with_port),
		 strchr(value, ':') && value[0] != '[' ? "[%s]:%d" : "%s:%d", value,
		 ADDRESS_PORT_DEFAULT);
	return address_canonical(with_port, canonical);
}

const char *check_cluster_address(const char *value)
{
	char canonical[WIRE_TEXT_LEN];

	return own_address(value, canonical) == 0
		       ? NULL
		       : "is no address such as 10.0.0.1, 10.0.0.1:7472 or [2001:db8::1]:7472";
}

const char *check_host_name(const char *value)
{
	return host_name_valid(value)
		       ? NULL
		       : "is no name of a host: letters, digits, '_', '-' and '.', at "
			 "most 63";
}

const char *check_replicas(const char *value)
{
	return strlen(value) == 1 && value[0] >= '0' && value[0] <= '2' ? NULL : "is not 0, 1 or 2";
}

static json_t *seeds_json(const struct invitation *invitation, const char *self)
{
	json_t *seeds = json_array();

	for (size_t i = 0; invitation && i < invitation->nr_seeds; i++)
		if (strcmp(invitation->seeds[i], self) != 0)
			json_array_append_new(seeds, json_string(invitation->seeds[i]));
	return seeds;
}

/* By command, or the one of who invites; NULL: it is none, or no memory. */
static json_t *own_store(const struct invocation *call, const struct invitation *invitation)
{
	const char *value = given_value(call, "--store");

	if (!value && invitation && invitation->store[0])
		value = invitation->store;
	return store_json(value ? value : "local");
}

enum exit_status cluster_config_check(const struct invocation *call, const char *directory,
				      const struct invitation *invitation)
{
	_cleanup_json_ json_t *store = own_store(call, invitation);

	if (store)
		return store_check(call, store, directory);
	complain("the store of the invitation %s", check_store(invitation->store));
	return EXIT_INPUT;
}

enum exit_status cluster_config_write(const struct invocation *call, const char *directory,
				      const char *name, const struct invitation *invitation,
				      bool writer)
{
	const char *replicas = given_value(call, "--replicas");
	_cleanup_json_ json_t *config = NULL, *store = own_store(call, invitation);
	_cleanup_free_ char *text = NULL;
	char address[WIRE_TEXT_LEN];
	enum exit_status status;
	int r = own_address(given_value(call, "--address"), address);

	if (!store)
		return no_memory();
	status = store_files_copy(call, store, directory);
	if (status != EXIT_DONE)
		return status;
	if (r == 0) {
		config = json_pack("{s:s, s:s, s:o, s:i, s:b, s:O}", "name", name, "address",
				   address, "seeds", seeds_json(invitation, address), "replicas",
				   replicas ? replicas[0] - '0' : 1, "writer", writer, "store",
				   store);
		text = config ? json_dumps(config, JSON_INDENT(2)) : NULL;
		if (!text)
			return no_memory();
		r = cluster_file_write(directory, CONFIG_FILE, text, strlen(text));
	}
	return r < 0 ? cluster_folder_failed(directory, r) : EXIT_DONE;
}

void cluster_config_add_seed(struct invitation *invitation, const char *address)
{
	char canonical[WIRE_TEXT_LEN];

	if (address_canonical(address, canonical) < 0)
		return;
	for (size_t i = 0; i < invitation->nr_seeds; i++)
		if (strcmp(invitation->seeds[i], canonical) == 0)
			return;
	if (invitation->nr_seeds < INVITATION_SEEDS)
		strcpy(invitation->seeds[invitation->nr_seeds++], canonical);
}

enum exit_status cluster_config_seeds(const struct invocation *call, struct invitation *invitation)
{
	_cleanup_json_ json_t *config = NULL;
	enum exit_status status = state_json_or_complain(call, "cluster/" CONFIG_FILE,
							 "this host is in no cluster", &config);
	const char *address = json_text(config, "address");
	_cleanup_free_ char *store = NULL;
	const json_t *seed;
	size_t i;

	if (status != EXIT_DONE)
		return status;
	if (address)
		cluster_config_add_seed(invitation, address);
	store = store_text(json_object_get(config, "store"));
	if (!store)
		return no_memory();
	if (strlen(store) < sizeof(invitation->store) && strcmp(store, "local") != 0)
		strcpy(invitation->store, store);
	json_array_foreach (json_object_get(config, "seeds"), i, seed)
		if (json_is_string(seed))
			cluster_config_add_seed(invitation, json_string_value(seed));
	return EXIT_DONE;
}
