// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addr.h"
#include "daemon.h"
#include "flow_table.h"
#include "flows.h"
#include "json.h"
#include "log.h"
#include "maps.h"
#include "ports.h"
#include "util.h"
#include "view_pins.h"

struct copying {
	const struct object *object;
	struct dfw_flow_page *pages;
	uint32_t nr;
	int more;
};

static int copy_one(const struct dfw_flow_entry *entry, void *data)
{
	const struct copying *copying = data;
	struct dfw_flow_entry copy = *entry;

	if (entry->flow.state == DFW_FLOW_DEAD)
		return 0;
	copy.flow.lock = 0;
	if (flow_table_put(copying->pages, copying->nr, copying->object->secret_words.flows, &copy))
		return 0;
	return copying->more < 0 ? 0 : map_put(copying->more, &copy.key, &copy);
}

static int write_pages(int table, const struct dfw_flow_page *pages, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++) {
		int r;

		if (!flow_page_used(&pages[i]))
			continue;
		r = map_put(table, &i, &pages[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

int flows_copy(const struct object *object, struct flow_maps from, struct flow_maps to)
{
	struct copying copying = {.object = object, .more = to.more};
	_cleanup_free_ struct dfw_flow_page *pages = NULL;
	struct bpf_map_info info;
	int r = map_info(to.table, &info);

	if (r < 0)
		return r;
	pages = calloc(info.max_entries, sizeof(*pages));
	if (!pages)
		return -ENOMEM;
	copying.pages = pages;
	copying.nr = info.max_entries;
	r = flow_table_each(from.table, copy_one, &copying);
	if (r == 0 && from.more >= 0)
		r = flow_table_each(from.more, copy_one, &copying);
	return r < 0 ? r : write_pages(to.table, pages, info.max_entries);
}

struct kill_list {
	struct dfw_flow_key *keys;
	size_t nr;
	size_t room;
};

static int list_one(const struct view_flow *flow, void *data)
{
	struct kill_list *list = data;

	if (list->nr == list->room) {
		size_t room = list->room ? 2 * list->room : 64;
		struct dfw_flow_key *keys = realloc(list->keys, room * sizeof(*keys));

		if (!keys)
			return -ENOMEM;
		list->keys = keys;
		list->room = room;
	}
	list->keys[list->nr++] = flow->key;
	return 0;
}

#define KILL_TRIES	  5
#define KILL_TRY_AGAIN_US 200 /* doubled each time: whoever holds the flow has one packet in hand */

/* Ends what is listed; what another CPU holds stays in the list. */
static int kill_listed(const struct object *object, const struct port *port, struct kill_list *list,
		       size_t *killed)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->nr; i++) {
		/* By the datapath itself, which counts its flows and tells of their end. */
		int r = object_kill_flow(object, port->slot, &list->keys[i]);

		if (r < 0 && r != -EBUSY)
			return r;
		*killed += r > 0;
		if (r == -EBUSY)
			list->keys[kept++] = list->keys[i];
	}
	list->nr = kept;
	return 0;
}

int flows_kill(const struct object *object, const struct port *port,
	       const struct flow_filter *filter, struct kills *kills)
{
	const char *name = port->spec->name;
	struct kill_list list = {};
	int r = view_flows(object->instance, name, filter, list_one, &list);

	for (int try = 0; r >= 0 && list.nr && try < KILL_TRIES; try++) {
		if (try)
			usleep(KILL_TRY_AGAIN_US << try);
		r = kill_listed(object, port, &list, &kills->killed);
	}
	if (r >= 0 && list.nr) {
		kills->busy += list.nr;
		log_warning("vport %s: %zu flows that were to be killed are held by other CPUs",
			    name, list.nr);
	}
	free(list.keys);
	return r < 0 ? log_errno(r, "vport %s: cannot kill its flows", name) : 0;
}

/* ---- By a request ----------------------------------------------------------------------------------------------- */

static int wrong_filter(const char *key, const char *value)
{
	log_error("%s: \"%s\" cannot be understood", key, value);
	return -EINVAL;
}

int flows_read_filter(const json_t *arguments, struct flow_filter *filter)
{
	const char *protocol = json_text(arguments, "proto");
	const char *address = json_text(arguments, "addr");
	const json_t *port = json_object_get(arguments, "port");

	*filter = (struct flow_filter){};
	if (protocol) {
		int number = protocol_parse(protocol);

		if (number < 0)
			return wrong_filter("proto", protocol);
		filter->protocol = (uint8_t)number;
	}
	if (address) {
		if (prefix_parse(address, &filter->address, &filter->prefix_bits) < 0)
			return wrong_filter("addr", address);
		filter->has_address = true;
	}
	if (port && !json_is_null(port)) {
		if (json_integer_value(port) < 1 || json_integer_value(port) > UINT16_MAX)
			return wrong_filter("port", "not a number from 1 to 65535");
		filter->port = (uint16_t)json_integer_value(port);
	}
	return 0;
}

static int kill_matching(struct dfwd *d, const json_t *arguments, struct kills *kills)
{
	const char *vport = json_text(arguments, "vport");
	struct flow_filter filter;
	int r = flows_read_filter(arguments, &filter);

	if (r == 0 && vport && !ports_find(d, vport)) {
		log_error("there is no vport \"%s\"", vport);
		r = -EINVAL;
	}
	for (size_t i = 0; i < d->nr_ports && r == 0; i++)
		if (!vport || strcmp(d->ports[i]->spec->name, vport) == 0)
			r = flows_kill(&d->object, d->ports[i], &filter, kills);
	return r;
}

int flows_kill_matching(struct dfwd *d, const json_t *arguments, json_t **result)
{
	struct kills kills = {};
	int r = kill_matching(d, arguments, &kills);

	if (r == 0)
		*result = json_pack("{s:I, s:I}", "killed", (json_int_t)kills.killed, "busy",
				    (json_int_t)kills.busy);
	return r;
}
