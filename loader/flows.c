// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "flows.h"
#include "log.h"
#include "maps.h"
#include "util.h"
#include "view_pins.h"

static int copy_one(const void *key, const void *value, void *data)
{
	const int *to = data;

	return map_put(*to, key, value);
}

int flows_copy(int from, int to)
{
	return map_each(from, copy_one, &to);
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

int flows_kill(const struct object *object, const struct port *port,
	       const struct flow_filter *filter, size_t *killed)
{
	const char *name = port->spec->name;
	struct kill_list list = {};
	int r = view_flows(object->instance, name, filter, list_one, &list);

	/* By the datapath itself, which counts its flows and tells of their end. */
	for (size_t i = 0; i < list.nr && r >= 0; i++) {
		r = object_kill_flow(object, port->slot, &list.keys[i]);
		*killed += r > 0;
	}
	free(list.keys);
	return r < 0 ? log_errno(r, "vport %s: cannot kill its flows", name) : 0;
}
