// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "instance.h"
#include "json.h"
#include "output.h"
#include "vport.h"

#define UUID_TEXT_LEN 37

enum exit_status vports_stored(const struct invocation *call, json_t **list)
{
	_cleanup_json_ json_t *file = NULL;
	int r = state_json(call->instance, "vports.json", &file);

	if (r == -ENOENT) {
		*list = json_array();
		return *list ? EXIT_DONE : no_memory();
	}
	if (r < 0)
		return state_json_or_complain(call, "vports.json", "", &file);
	*list = json_incref(json_object_get(file, "vports"));
	if (json_is_array(*list))
		return EXIT_DONE;
	complain("vports.json of instance '%s' is damaged: it has no list of vports",
		 call->instance);
	return EXIT_FAILED;
}

static const json_t *find_stored(const json_t *list, const char *name)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (list, i, entry) {
		const char *stored = json_text(entry, "name");

		if (stored && strcmp(stored, name) == 0)
			return entry;
	}
	return NULL;
}

int vport_read(const char *instance, const char *name, const json_t *list, struct vport *vport)
{
	int r;

	*vport = (struct vport){.name = name, .stored = find_stored(list, name)};
	r = view_vport(instance, name, &vport->view);
	vport->realised = r == 0;
	return r == -ENOENT && vport->stored && bpffs_mounted() ? 0 : r;
}

const char *vport_state(const struct vport *vport, enum color *color)
{
	*color = COLOR_YELLOW;
	if (!vport->realised)
		return "not realised";
	if (!vport->view.enforcing)
		return "no device";
	if (!vport_ready(vport)) {
		*color = COLOR_RED;
		return "no policy";
	}
	if (vport_held(vport))
		return "moving";
	*color = COLOR_GREEN;
	return "enforcing";
}

static json_t *macs_json(const struct vport *vport)
{
	const struct dfw_port_config *config = &vport->view.config;
	char text[MAC_TEXT_LEN];
	json_t *list;

	if (!vport->realised)
		return json_deep_copy(json_object_get(vport->stored, "macs"));
	list = json_array();
	for (uint32_t i = 0; i < config->nr_macs && i < DFW_PORT_MACS; i++)
		json_array_append_new(list, json_string(mac_format(config->macs[i].bytes, text)));
	return list;
}

/* How the vport came to an address. The kernel makes no difference, dfwd's file does. */
enum source {
	SOURCE_GIVEN,
	SOURCE_DERIVED, /* of its MAC */
	SOURCE_LEARNED,
};

static bool is_stored(const struct vport *vport, const char *key, const char *text)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (json_object_get(vport->stored, key), i, entry)
		if (json_is_string(entry) && strcmp(json_string_value(entry), text) == 0)
			return true;
	return false;
}

static bool is_of_mac(const struct dfw_port_config *config, const struct dfw_addr *addr)
{
	for (uint32_t i = 0; i < config->nr_macs && i < DFW_PORT_MACS; i++) {
		const struct dfw_addr of_mac = addr_of_mac(config->macs[i].bytes);

		if (memcmp(&of_mac, addr, sizeof(of_mac)) == 0)
			return true;
	}
	return false;
}

static enum source address_source(const struct vport *vport, const struct dfw_addr *addr)
{
	char text[ADDR_TEXT_LEN];

	addr_format(addr, text);
	if (is_stored(vport, "ips", text))
		return SOURCE_GIVEN;
	if (is_stored(vport, "learned", text))
		return SOURCE_LEARNED;
	return is_of_mac(&vport->view.config, addr) ? SOURCE_DERIVED : SOURCE_GIVEN;
}

static json_t *addresses_json(const struct vport *vport, enum source source, const char *stored)
{
	const struct dfw_port_config *config = &vport->view.config;
	char text[ADDR_TEXT_LEN];
	json_t *list;

	if (!vport->realised)
		return json_deep_copy(json_object_get(vport->stored, stored));
	list = json_array();
	for (uint32_t i = 0; i < config->nr_addresses && i < DFW_PORT_ADDRESSES; i++)
		if (address_source(vport, &config->addresses[i]) == source)
			json_array_append_new(
				list, json_string(addr_format(&config->addresses[i], text)));
	return list;
}

static json_t *vlans_json(const struct vport *vport)
{
	const struct dfw_port_config *config = &vport->view.config;
	json_t *list;

	if (!vport->realised)
		return json_deep_copy(json_object_get(vport->stored, "vlans"));
	list = json_array();
	for (uint32_t i = 0; i < config->nr_vlans && i < DFW_PORT_VLANS; i++)
		json_array_append_new(list, json_integer(config->vlans[i]));
	return list;
}

static json_t *uuid_json(const struct vport *vport)
{
	const uint8_t *u = vport->view.config.uuid;
	char text[UUID_TEXT_LEN];

	if (!vport->realised)
		return json_deep_copy(json_object_get(vport->stored, "uuid"));
	snprintf(text, sizeof(text),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
		 u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		 u[15]);
	return json_string(text);
}

static json_t *or_null(json_t *json)
{
	return json ? json : json_null();
}

static json_t *or_empty(json_t *json, json_t *empty)
{
	if (!json)
		return empty;
	json_decref(empty);
	return json;
}

static json_int_t vport_epoch(const struct vport *vport)
{
	return vport->realised ? (json_int_t)vport->view.config.epoch
			       : json_number(vport->stored, "epoch");
}

bool vport_ready(const struct vport *vport)
{
	return vport->realised && (vport->view.config.flags & DFW_PORT_READY);
}

bool vport_held(const struct vport *vport)
{
	return vport->realised && (vport->view.config.flags & DFW_PORT_HELD);
}

/* What only dfwd's file knows: null without it. */
static void add_stored(json_t *json, const struct vport *vport)
{
	static const char *const keys[] = {"dev", "profile", "share", "pattern"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		json_object_set_new(json, keys[i],
				    or_null(json_copy(json_object_get(vport->stored, keys[i]))));
	json_object_set_new(
		json, "tags",
		or_empty(json_deep_copy(json_object_get(vport->stored, "tags")), json_object()));
}

static void add_identity(json_t *json, const struct vport *vport)
{
	json_object_set_new(json, "macs", or_empty(macs_json(vport), json_array()));
	json_object_set_new(json, "ips",
			    or_empty(addresses_json(vport, SOURCE_GIVEN, "ips"), json_array()));
	json_object_set_new(
		json, "derived_ips",
		or_empty(addresses_json(vport, SOURCE_DERIVED, "derived"), json_array()));
	json_object_set_new(
		json, "learned_ips",
		or_empty(addresses_json(vport, SOURCE_LEARNED, "learned"), json_array()));
	json_object_set_new(json, "vlans", or_empty(vlans_json(vport), json_array()));
	json_object_set_new(json, "uuid", or_null(uuid_json(vport)));
	json_object_set_new(json, "epoch", json_integer(vport_epoch(vport)));
}

/* What only the kernel knows: null without it. */
static void add_kernel(json_t *json, const struct vport *vport)
{
	const struct view_vport *view = &vport->view;
	const struct {
		const char *key;
		json_int_t number;
	} numbers[] = {
		{"slot", view->config.slot},
		{"flows", view->state.flows},
		{"max_flows", view->config.profile.max_flows},
	};

	json_object_set_new(json, "attached", json_boolean(vport->realised && view->enforcing));
	json_object_set_new(json, "ready", json_boolean(vport_ready(vport)));
	json_object_set_new(json, "held", json_boolean(vport_held(vport)));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		json_object_set_new(json, numbers[i].key,
				    vport->realised ? json_integer(numbers[i].number)
						    : json_null());
}

json_t *vport_json(const struct vport *vport)
{
	json_t *json = json_pack("{s:s}", "name", vport->name);

	add_stored(json, vport);
	add_identity(json, vport);
	add_kernel(json, vport);
	return json;
}
