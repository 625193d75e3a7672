// SPDX-License-Identifier: GPL-2.0
/* vport add, vport set, vport del */
#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "client.h"
#include "instance.h"
#include "json.h"
#include "output.h"
#include "vport.h"

static bool has_address(const json_t *list, const char *text)
{
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item)
		if (strcmp(json_string_value(item), text) == 0)
			return true;
	return false;
}

static enum exit_status take_addresses(const struct invocation *call, json_t *arguments)
{
	const char *value;
	char text[ADDR_TEXT_LEN];
	struct dfw_addr addr;
	json_t *list;

	if (!given(call, "--ip"))
		return EXIT_DONE;
	list = json_array();
	json_object_set_new(arguments, "ips", list);
	for (size_t n = 0; (value = given_nth(call, "--ip", n)); n++) {
		addr_parse(value, &addr);
		addr_format(&addr, text);
		if (has_address(list, text)) {
			complain("--ip: '%s' is given twice", value);
			return EXIT_INPUT;
		}
		json_array_append_new(list, json_string(text));
	}
	if (json_array_size(list) <= DFW_PORT_ADDRESSES)
		return EXIT_DONE;
	complain("--ip: a vport has at most %d addresses", DFW_PORT_ADDRESSES);
	return EXIT_INPUT;
}

static enum exit_status take_tags(const struct invocation *call, json_t *arguments)
{
	const char *value;
	json_t *tags;

	if (!given(call, "--tag"))
		return EXIT_DONE;
	tags = json_object();
	json_object_set_new(arguments, "tags", tags);
	for (size_t n = 0; (value = given_nth(call, "--tag", n)); n++) {
		const char *equals = strchr(value, '=');
		_cleanup_free_ char *key = strndup(value, (size_t)(equals - value));

		if (!key)
			return no_memory();
		if (json_object_get(tags, key)) {
			complain("--tag: '%s' is given twice", key);
			return EXIT_INPUT;
		}
		if (json_object_set_new(tags, key, json_string(equals + 1)) < 0) {
			complain("--tag: '%s' is no UTF-8 text", value);
			return EXIT_INPUT;
		}
	}
	return EXIT_DONE;
}

static void take_mac(const struct invocation *call, json_t *arguments)
{
	const char *value = given_value(call, "--mac");
	char text[MAC_TEXT_LEN];
	uint8_t mac[6];

	if (!value)
		return;
	mac_parse(value, mac);
	json_object_set_new(arguments, "macs", json_pack("[s]", mac_format(mac, text)));
}

static enum exit_status take_text(const struct invocation *call, const char *option,
				  const char *key, json_t *arguments)
{
	const char *value = given_value(call, option);

	if (!value || json_object_set_new(arguments, key, json_string(value)) == 0)
		return EXIT_DONE;
	complain("%s: '%s' is no UTF-8 text", option, value);
	return EXIT_INPUT;
}

static enum exit_status vport_arguments(const struct invocation *call, json_t *arguments)
{
	enum exit_status status = take_text(call, "--dev", "dev", arguments);

	take_mac(call, arguments);
	if (given(call, "--moved"))
		json_object_set_new(arguments, "moved", json_true());
	if (status == EXIT_DONE)
		status = take_text(call, "--profile", "profile", arguments);
	if (status == EXIT_DONE)
		status = take_text(call, "--share", "share", arguments);
	if (status == EXIT_DONE)
		status = take_addresses(call, arguments);
	if (status == EXIT_DONE)
		status = take_tags(call, arguments);
	return status;
}

/* What became of it, read back: the fields are those of `vport show`. */
static enum exit_status print_changed(const struct invocation *call, const char *what)
{
	_cleanup_json_ json_t *stored = NULL;
	const char *name = given_argument(call);
	enum exit_status status = vports_stored(call, &stored);
	struct vport vport;
	enum color color;
	int r;

	if (status != EXIT_DONE)
		return status;
	r = vport_read(call->instance, name, stored, &vport);
	if (r < 0)
		return view_failed(call, name, r);
	if (call->json)
		return print_json(vport_json(&vport));
	printf("vport %s %s: %s\n", name, what, vport_state(&vport, &color));
	return EXIT_DONE;
}

static enum exit_status change_vport(const struct invocation *call, const char *command,
				     const char *done)
{
	_cleanup_json_ json_t *arguments = json_pack("{s:s}", "name", given_argument(call));
	_cleanup_json_ json_t *result = NULL;
	enum exit_status status;

	if (!arguments)
		return no_memory();
	status = vport_arguments(call, arguments);
	if (status == EXIT_DONE)
		status = client_call(call, command, json_incref(arguments), &result);
	return status == EXIT_DONE ? print_changed(call, done) : status;
}

enum exit_status run_vport_add(const struct invocation *call)
{
	return change_vport(call, "vport-add", "added");
}

enum exit_status run_vport_set(const struct invocation *call)
{
	for (size_t i = 0; i < call->command->nr_options; i++)
		if (given(call, call->command->options[i].name))
			return change_vport(call, "vport-set", "changed");
	complain("vport set: nothing to set; see `dfwctl vport set --help`");
	return EXIT_INPUT;
}

enum exit_status run_vport_del(const struct invocation *call)
{
	const char *name = given_argument(call);
	_cleanup_json_ json_t *result = NULL;
	enum exit_status status =
		client_call(call, "vport-del", json_pack("{s:s}", "name", name), &result);

	if (status != EXIT_DONE)
		return status;
	if (call->json)
		return print_json(json_pack("{s:s}", "deleted", name));
	printf("vport %s deleted\n", name);
	return EXIT_DONE;
}
