// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "file.h"
#include "flow_table.h"
#include "flows.h"
#include "log.h"
#include "maps.h"
#include "port.h"
#include "view_pins.h"

#define INSTALL_PORTS 64 /* at once: a bound on open fds */
#define RULE_TOTALS   1024
#define UNLISTED      "unlisted" /* a folder in that of a port, see port_set_listed */

/* The maps of a port, by the names of their pins. */
struct part {
	const char *pin;
	size_t outer; /* offset of the outer map in struct object */
	bool banked;  /* at slot * DFW_BANKS + bank, else at slot */
	uint32_t (*entries)(const struct dfw_profile *profile); /* NULL: as the template has it */
};

static uint32_t flows_entries(const struct dfw_profile *profile)
{
	return flow_table_pages(profile->flow_table);
}

static uint32_t half_open_entries(const struct dfw_profile *profile)
{
	return flow_table_pages(profile->max_half_open);
}

static uint32_t fragments_entries(const struct dfw_profile *profile)
{
	return profile->max_fragments ? profile->max_fragments : 1;
}

#define PART(pin_name, outer_name) .pin = pin_name, .outer = offsetof(struct object, outer_name)

static const struct part parts[] = {
	{PART("config", configs), .banked = true},
	{PART("rules", hits), .banked = true},
	{PART("flows", flows), .entries = flows_entries},
	{PART("more_flows", more_flows), .entries = flow_table_more},
	{PART("half_open", half_open), .entries = half_open_entries},
	{PART("fragments", fragments), .entries = fragments_entries},
	{PART("counters", counters)},
	{PART("state", states)},
};

/* Tells the maps of a port from those of one that had its name before. */
static uint32_t last_maps;

static const struct outer_map *part_outer(const struct object *object, const struct part *part)
{
	return (const struct outer_map *)((const char *)object + part->outer);
}

static uint32_t part_entries(const struct part *part, const struct dfw_profile *profile)
{
	return part->entries ? part->entries(profile) : 0;
}

void port_free(struct port *port)
{
	if (!port)
		return;
	spec_free(port->spec);
	free(port->rules);
	cleanup_close(&port->state);
	free(port);
}

int port_open_map(const struct object *object, const struct port *port, const char *pin)
{
	char path[PATH_MAX];

	return pin_open(pin_vport_path(object->instance, port->spec->name, pin, path));
}

int port_make_hits(const struct object *object, const char *name, uint32_t hits_count)
{
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 0)
		return cpus;
	/* An array has one element at least: that of a port without rules is never used. */
	return object_make_map(object, &object->hits.inner, name,
			       hits_count ? (uint32_t)cpus * hits_count : 1);
}

int port_make_config(const struct object *object, const struct dfw_port_config *config)
{
	_cleanup_close_ int map = object_make_map(object, &object->configs.inner, "port_config", 1);
	const uint32_t zero = 0;
	int r;

	if (map < 0)
		return map;
	r = map_put(map, &zero, config);
	return r < 0 ? r : TAKE_FD(map);
}

/* ---- Making a port ---------------------------------------------------------------------------------------------- */

/* While its maps are made, the folder has a name that no port has. */
static const char *unfinished_path(const struct object *object, const char *name, const char *pin,
				   char *path)
{
	char folder[DFW_PORT_NAME_LEN + sizeof("%new")];

	snprintf(folder, sizeof(folder), "%s%%new", name);
	return pin_vport_path(object->instance, folder, pin, path);
}

static int pin_part(const struct object *object, const struct port *port, const char *pin, int map)
{
	char path[PATH_MAX];
	int r;

	if (map < 0)
		return log_errno(map, "vport %s: cannot make its %s map", port->spec->name, pin);
	r = bpf_obj_pin(map, unfinished_path(object, port->spec->name, pin, path));
	return r < 0 ? log_errno(r, "%s", path) : 0;
}

static int make_part(const struct object *object, const struct port *port, const struct part *part,
		     const struct dfw_profile *profile)
{
	_cleanup_close_ int map = -1;

	if (part->outer == offsetof(struct object, configs))
		map = port_make_config(object, &port->config);
	else
		map = object_make_map(object, &part_outer(object, part)->inner, part->pin,
				      part_entries(part, profile));
	return pin_part(object, port, part->pin, map);
}

static int make_parts(const struct object *object, const struct port *port,
		      const struct dfw_profile *profile)
{
	_cleanup_close_ int totals = -1;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int r = make_part(object, port, &parts[i], profile);

		if (r < 0)
			return r;
	}
	/* The datapath knows nothing of it. */
	totals = object_make_map(object, &object->rule_totals, "rule_totals", RULE_TOTALS);
	return pin_part(object, port, "rule_totals", totals);
}

static struct dfw_port_config deny_config(const struct vport_spec *spec, uint32_t slot,
					  const struct dfw_profile *profile)
{
	struct dfw_port_config config = {
		.slot = slot,
		.flags = (spec->arriving ? DFW_PORT_HELD : 0) |
			 (spec->share[0] ? DFW_PORT_SHARED : 0),
		.epoch = spec->epoch,
		.profile = *profile,
	};

	memcpy(config.uuid, spec->uuid, sizeof(config.uuid));
	memcpy(config.name, spec->name, sizeof(config.name));
	return config;
}

static int port_new(struct vport_spec **spec, const struct dfw_port_config *config,
		    struct port **port)
{
	struct port *new = calloc(1, sizeof(*new));

	if (!new)
		return -ENOMEM;
	new->state = -1;
	new->maps = ++last_maps;
	new->slot = config->slot;
	new->config = *config;
	new->spec = TAKE_PTR(*spec);
	*port = new;
	return 0;
}

static int make_folder(const struct object *object, const struct port *port,
		       const struct dfw_profile *profile)
{
	const char *name = port->spec->name;
	char unfinished[PATH_MAX], unlisted[PATH_MAX], path[PATH_MAX];
	int r;

	unfinished_path(object, name, NULL, unfinished);
	r = directory_remove(unfinished);
	if (r == 0)
		r = directory_remove(pin_vport_path(object->instance, name, NULL, path));
	if (r == 0)
		r = directory_make(unfinished_path(object, name, UNLISTED, unlisted), 0700);
	if (r < 0)
		return log_errno(r, "%s", unfinished);
	r = make_parts(object, port, profile);
	if (r == 0 && rename(unfinished, path) < 0)
		r = log_errno(-errno, "cannot rename %s to %s", unfinished, path);
	if (r < 0)
		directory_remove(unfinished);
	return r;
}

int port_create(const struct object *object, struct vport_spec **spec, uint32_t slot,
		const struct dfw_profile *profile, struct port **port)
{
	_cleanup_port_ struct port *new = NULL;
	struct dfw_port_config config = deny_config(*spec, slot, profile);
	int r;

	r = port_new(spec, &config, &new);
	if (r < 0)
		return log_errno(r, "vport %s", (*spec)->name);
	new->made_ns = monotonic_ns();
	r = make_folder(object, new, profile);
	if (r == 0) {
		new->state = port_open_map(object, new, "state");
		r = new->state < 0 ? log_errno(new->state, "vport %s", new->spec->name) : 0;
	}
	if (r < 0) {
		*spec = TAKE_PTR(new->spec);
		return r;
	}
	*port = TAKE_PTR(new);
	return 0;
}

/* ---- The list on disk ------------------------------------------------------------------------------------------- */

int port_set_listed(const struct object *object, struct port *port, bool listed)
{
	char path[PATH_MAX];
	int r;

	pin_vport_path(object->instance, port->spec->name, UNLISTED, path);
	if (listed)
		r = rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
	else
		r = mkdir(path, 0700) < 0 && errno != EEXIST && errno != ENOENT ? -errno : 0;
	if (r < 0)
		return log_errno(r, "%s", path);
	port->listed = listed;
	return 0;
}

bool port_is_listed(const char *instance, const char *name)
{
	char path[PATH_MAX];

	return access(pin_vport_path(instance, name, UNLISTED, path), F_OK) < 0;
}

/* ---- Where the datapath finds them ------------------------------------------------------------------------------ */

static int install_part(const struct object *object, const struct part *part,
			struct port *const *ports, size_t nr)
{
	uint32_t keys[INSTALL_PORTS * DFW_BANKS];
	int maps[INSTALL_PORTS * DFW_BANKS];
	size_t used = 0;
	int r = 0;

	for (size_t i = 0; i < nr && r == 0; i++) {
		int map = port_open_map(object, ports[i], part->pin);

		if (map < 0) {
			r = map;
			break;
		}
		for (uint32_t bank = 0; bank < (part->banked ? DFW_BANKS : 1); bank++) {
			keys[used] =
				part->banked ? bank_index(ports[i]->slot, bank) : ports[i]->slot;
			maps[used++] = bank == 0 ? map : dup(map);
		}
	}
	if (r == 0)
		r = map_put_batch(part_outer(object, part)->fd, keys, maps, sizeof(maps[0]), used);
	while (used > 0)
		cleanup_close(&maps[--used]);
	return r < 0 ? log_errno(r, "cannot install the %s maps of vports", part->pin) : 0;
}

int ports_install(const struct object *object, struct port *const *ports, size_t nr)
{
	for (size_t done = 0; done < nr; done += INSTALL_PORTS) {
		size_t count = nr - done < INSTALL_PORTS ? nr - done : INSTALL_PORTS;

		for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
			int r = install_part(object, &parts[i], ports + done, count);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* ---- Taking over ------------------------------------------------------------------------------------------------ */

static int check_part(const struct object *object, const struct port *port,
		      const struct map_shape *shape, const char *pin)
{
	_cleanup_close_ int map = port_open_map(object, port, pin);
	char path[PATH_MAX];

	pin_vport_path(object->instance, port->spec->name, pin, path);
	if (map == -ENOENT) {
		log_error("%s is missing: somebody removed it; enforcement goes on as it is. `dfwd "
			  "-i %s --detach` "
			  "takes it away, to start anew",
			  path, object->instance);
		return -ESTALE;
	}
	if (map < 0)
		return log_errno(map, "%s", path);
	if (!map_has_shape(map, shape)) {
		log_error("%s has another shape than this build's; enforcement goes on as it is. "
			  "`dfwctl -i %s "
			  "shutdown --detach` with the version that made it, or `dfwd -i %s "
			  "--detach`, to start anew",
			  path, object->instance, object->instance);
		return -ESTALE;
	}
	return 0;
}

int port_adopt(const struct object *object, struct vport_spec **spec,
	       const struct dfw_port_config *config, struct port **port)
{
	_cleanup_port_ struct port *new = NULL;
	int r;

	r = port_new(spec, config, &new);
	if (r < 0)
		return log_errno(r, "vport %s", (*spec)->name);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		r = check_part(object, new, &part_outer(object, &parts[i])->inner, parts[i].pin);
		if (r < 0)
			return r;
	}
	r = check_part(object, new, &object->rule_totals, "rule_totals");
	if (r < 0)
		return r;
	new->state = port_open_map(object, new, "state");
	if (new->state < 0)
		return log_errno(new->state, "vport %s", new->spec->name);
	*port = TAKE_PTR(new);
	return 0;
}

/* ---- Taking away ------------------------------------------------------------------------------------------------ */

int port_destroy(const struct object *object, const char *name, uint32_t slot)
{
	char path[PATH_MAX];
	int r = 0, one;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int outer = part_outer(object, &parts[i])->fd;

		for (uint32_t bank = 0; bank < (parts[i].banked ? DFW_BANKS : 1); bank++) {
			uint32_t key = parts[i].banked ? bank_index(slot, bank) : slot;

			one = map_inner_id(outer, key) ? map_remove(outer, &key) : 0;
			r = r < 0 ? r : one;
		}
	}
	one = directory_remove(pin_vport_path(object->instance, name, NULL, path));
	r = r < 0 ? r : one;
	return r < 0 ? log_errno(r, "vport %s: cannot remove all of its maps", name) : 0;
}

/* ---- Changing --------------------------------------------------------------------------------------------------- */

int port_pin_bank(const struct object *object, const struct port *port, uint32_t bank)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		_cleanup_close_ int map = -1;
		char path[PATH_MAX];
		int r;

		if (!parts[i].banked)
			continue;
		map = map_open_inner(part_outer(object, &parts[i])->fd,
				     bank_index(port->slot, bank));
		pin_vport_path(object->instance, port->spec->name, parts[i].pin, path);
		r = map < 0 ? map : pin_replace(map, path);
		if (r < 0)
			return log_errno(r, "%s", path);
	}
	return 0;
}

static const struct part *find_part(const char *pin)
{
	const struct part *part = parts;

	while (strcmp(part->pin, pin) != 0)
		part++;
	return part;
}

/* A map of a port in another size, on its way to take the old one's place. */
struct resized {
	const struct part *part;
	int old;
	int new;
};

static void resized_close(struct resized *resized)
{
	cleanup_close(&resized->old);
	cleanup_close(&resized->new);
}
#define _cleanup_resized_ __attribute__((cleanup(resized_close)))

static int resize_begin(const struct object *object, const struct port *port, const char *pin,
			const struct dfw_profile *profile, struct resized *resized)
{
	*resized = (struct resized){.part = find_part(pin), .old = -1, .new = -1};
	resized->old = port_open_map(object, port, pin);
	if (resized->old < 0)
		return resized->old;
	resized->new = object_make_map(object, &part_outer(object, resized->part)->inner, pin,
				       part_entries(resized->part, profile));
	return resized->new < 0 ? resized->new : 0;
}

static int resize_end(const struct object *object, struct port *port, const struct resized *resized)
{
	const char *pin = resized->part->pin;
	char path[PATH_MAX];
	int r = map_put(part_outer(object, resized->part)->fd, &port->slot, &resized->new);

	if (r < 0)
		return r;
	port->maps = ++last_maps;
	return pin_replace(resized->new,
			   pin_vport_path(object->instance, port->spec->name, pin, path));
}

/* Where a flow lies depends on the size of its table: both maps of confirmed flows are made anew. */
static int resize_flows(const struct object *object, struct port *port,
			const struct dfw_profile *profile)
{
	_cleanup_resized_ struct resized table = {.old = -1, .new = -1},
					 more = {.old = -1, .new = -1};
	int r = resize_begin(object, port, "flows", profile, &table);

	if (r == 0)
		r = resize_begin(object, port, "more_flows", profile, &more);
	if (r == 0)
		r = flows_copy(object, (struct flow_maps){table.old, more.old},
			       (struct flow_maps){table.new, more.new});
	if (r == 0)
		r = resize_end(object, port, &table);
	return r < 0 ? r : resize_end(object, port, &more);
}

static int resize_half_open(const struct object *object, struct port *port,
			    const struct dfw_profile *profile)
{
	_cleanup_resized_ struct resized table = {.old = -1, .new = -1};
	int r = resize_begin(object, port, "half_open", profile, &table);

	if (r == 0)
		r = flows_copy(object, (struct flow_maps){table.old, -1},
			       (struct flow_maps){table.new, -1});
	return r < 0 ? r : resize_end(object, port, &table);
}

/* Fragments live for seconds and their map forgets the oldest anyway. */
static int resize_fragments(const struct object *object, struct port *port,
			    const struct dfw_profile *profile)
{
	_cleanup_resized_ struct resized map = {.old = -1, .new = -1};
	int r = resize_begin(object, port, "fragments", profile, &map);

	return r < 0 ? r : resize_end(object, port, &map);
}

/* Has the map the size that the profile gives it? */
static int has_size(const struct object *object, const struct port *port, const char *pin,
		    const struct dfw_profile *profile)
{
	_cleanup_close_ int map = port_open_map(object, port, pin);
	uint32_t wanted = part_entries(find_part(pin), profile);
	struct bpf_map_info info;
	int r = map < 0 ? map : map_info(map, &info);

	if (r < 0)
		return log_errno(r, "vport %s: %s", port->spec->name, pin);
	if (info.max_entries == wanted)
		return 1;
	if (!port->ifindex || !(port->config.flags & DFW_PORT_READY))
		return 0;
	log_notice(
		"vport %s: its %s map keeps its %u entries (the profile says %u) while the device "
		"is there: flows that change while they are copied would be lost",
		port->spec->name, pin, info.max_entries, wanted);
	return 1;
}

static const struct {
	const char *pins[2]; /* what is resized together */
	int (*resize)(const struct object *object, struct port *port,
		      const struct dfw_profile *profile);
} sized[] = {
	{{"flows", "more_flows"}, resize_flows},
	{{"half_open"}, resize_half_open},
	{{"fragments"}, resize_fragments},
};

int port_resize(const struct object *object, struct port *port, const struct dfw_profile *profile)
{
	for (size_t i = 0; i < ARRAY_SIZE(sized); i++) {
		int r = has_size(object, port, sized[i].pins[0], profile);

		if (r == 1 && sized[i].pins[1])
			r = has_size(object, port, sized[i].pins[1], profile);
		if (r == 0)
			r = sized[i].resize(object, port, profile);
		if (r == -E2BIG || r == -ENOSPC) {
			log_notice("vport %s: its %s map keeps its size: more flows than the "
				   "profile allows "
				   "are in use",
				   port->spec->name, sized[i].pins[0]);
			continue;
		}
		if (r < 0)
			return log_errno(r, "vport %s: cannot resize its %s map", port->spec->name,
					 sized[i].pins[0]);
	}
	return 0;
}
