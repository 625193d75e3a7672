// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "control.h"
#include "file.h"
#include "json.h"
#include "log.h"
#include "maps.h"
#include "ports.h"
#include "realise.h"
#include "state_file.h"
#include "uplinks.h"
#include "view.h"

/* ---- The list --------------------------------------------------------------------------------------------------- */

struct port *ports_find(const struct dfwd *d, const char *name)
{
	for (size_t i = 0; i < d->nr_ports; i++)
		if (strcmp(d->ports[i]->spec->name, name) == 0)
			return d->ports[i];
	return NULL;
}

struct port *ports_find_uuid(const struct dfwd *d, const uint8_t uuid[16])
{
	for (size_t i = 0; i < d->nr_ports; i++)
		if (memcmp(d->ports[i]->spec->uuid, uuid, 16) == 0)
			return d->ports[i];
	return NULL;
}

struct port *ports_find_device(const struct dfwd *d, const char *device)
{
	for (size_t i = 0; i < d->nr_ports; i++)
		if (strcmp(d->ports[i]->spec->dev, device) == 0)
			return d->ports[i];
	return NULL;
}

struct port *ports_find_ifindex(const struct dfwd *d, uint32_t ifindex)
{
	for (size_t i = 0; i < d->nr_ports; i++)
		if (d->ports[i]->ifindex == ifindex)
			return d->ports[i];
	return NULL;
}

int ports_conflict(const struct dfwd *d, const struct vport_spec *spec, const struct port *except)
{
	if (uplinks_find(d, spec->dev)) {
		log_error("dev: %s is an uplink", spec->dev);
		return -EEXIST;
	}
	for (size_t i = 0; i < d->nr_ports; i++) {
		int r = d->ports[i] == except ? 0 : spec_conflict(spec, d->ports[i]->spec);

		if (r < 0)
			return r;
	}
	return 0;
}

int ports_free_slot(const struct dfwd *d, uint32_t *slot)
{
	for (*slot = 0; *slot < DFW_MAX_PORTS; (*slot)++)
		if (!d->slots[*slot])
			return 0;
	log_error("there are %d vports already, which is the most a host has", DFW_MAX_PORTS);
	return -ENOSPC;
}

int ports_insert(struct dfwd *d, struct port *port)
{
	struct port **ports = realloc(d->ports, (d->nr_ports + 1) * sizeof(struct port *));
	size_t place = d->nr_ports;

	if (!ports)
		return log_errno(-ENOMEM, "vport %s", port->spec->name);
	d->ports = ports;
	for (; place > 0 && strcmp(ports[place - 1]->spec->name, port->spec->name) > 0; place--)
		ports[place] = ports[place - 1];
	ports[place] = port;
	d->nr_ports++;
	d->slots[port->slot] = port;
	cluster_link_vports_changed(d);
	return 0;
}

void ports_take(struct dfwd *d, struct port *port)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->nr_ports; i++)
		if (d->ports[i] != port)
			d->ports[kept++] = d->ports[i];
	d->nr_ports = kept;
	if (d->slots[port->slot] == port)
		d->slots[port->slot] = NULL;
	cluster_link_vports_changed(d);
}

void port_remove(struct dfwd *d, struct port *port)
{
	if (port->ifindex)
		detach_device(&d->hooks, port);
	port_destroy(&d->object, port->spec->name, port->slot);
	port_free(port);
}

/* ---- vports.json ------------------------------------------------------------------------------------------------ */

static const char *file_path(const struct dfwd *d, char *path)
{
	snprintf(path, PATH_MAX, "%s/vports.json", d->state_dir);
	return path;
}

static json_t *list_json(const struct wanted_port *wanted, size_t nr)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; i < nr; i++)
		if (json_array_append_new(list, spec_to_json(wanted[i].spec)) < 0)
			return NULL;
	return json_pack("{s:O}", "vports", list);
}

int ports_stage_file(const struct dfwd *d, const struct wanted_port *wanted, size_t nr,
		     struct staged_file *staged)
{
	_cleanup_json_ json_t *json = list_json(wanted, nr);
	_cleanup_free_ char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
	char path[PATH_MAX];
	int r = text ? file_stage(file_path(d, path), text, strlen(text), staged) : -ENOMEM;

	return r < 0 ? log_errno(r, "cannot write %s", file_path(d, path)) : 0;
}

void ports_save(struct dfwd *d)
{
	_cleanup_staged_ struct staged_file file = {};
	size_t nr, index;
	_cleanup_free_ struct wanted_port *wanted = wanted_list(d, NULL, NULL, &nr, &index);
	int r = wanted ? ports_stage_file(d, wanted, nr, &file) : -ENOMEM;

	if (r == 0)
		r = file_commit(&file);
	for (size_t i = 0; i < d->nr_ports && r == 0; i++)
		if (!d->ports[i]->listed)
			r = port_set_listed(&d->object, d->ports[i], true);
	if (r < 0)
		log_errno(r, "the list of vports on disk is not what is in force");
}

/* ---- What the kernel has ---------------------------------------------------------------------------------------- */

/* The slot of a port's folder; -ENOENT: half made. */
static int folder_slot(const struct dfwd *d, const char *name, uint32_t *slot)
{
	struct dfw_port_config config;
	const uint32_t zero = 0;
	char path[PATH_MAX];
	_cleanup_close_ int map = pin_open(pin_vport_path(d->instance, name, "config", path));
	int r = map < 0 ? map : map_get(map, &zero, &config);

	if (r == 0 && config.slot >= DFW_MAX_PORTS)
		return -ESTALE;
	if (r == 0)
		*slot = config.slot;
	return r;
}

/* Reads the configs in force, by slot. Slots are found by the ports' folders: before Linux 6.8 each look at an element of
 * a map of maps waits for a grace period. */
static int read_kernel(const struct dfwd *d, struct dfw_port_config **configs)
{
	_cleanup_free_ struct dfw_port_config *read = calloc(DFW_MAX_PORTS, sizeof(*read));
	const uint32_t zero = 0;
	struct dirent *entry;
	char path[PATH_MAX];
	int r = 0;
	DIR *dir;

	if (!read)
		return log_errno(-ENOMEM, "cannot read the ports of the kernel");
	dir = opendir(pin_path(d->instance, "vports", path));
	while (dir && r == 0 && (entry = readdir(dir))) {
		_cleanup_close_ int map = -1;
		uint32_t slot = 0;

		if (entry->d_name[0] == '.' || !port_name_valid(entry->d_name))
			continue;
		r = folder_slot(d, entry->d_name, &slot);
		if (r == 0)
			map = r = map_open_inner(d->object.configs.fd,
						 bank_index(slot, d->revision.bank));
		if (r >= 0)
			r = map_get(map, &zero, &read[slot]);
		if (r == -ENOENT) {
			r = 0;
			continue;
		}
		if (r < 0)
			log_errno(r, "cannot read the config of vport %s", entry->d_name);
		read[slot].name[DFW_PORT_NAME_LEN - 1] = '\0';
	}
	if (dir)
		closedir(dir);
	if (r == 0)
		*configs = TAKE_PTR(read);
	return r;
}

static const struct dfw_port_config *find_config(const struct dfw_port_config *configs,
						 const char *name)
{
	for (uint32_t slot = 0; slot < DFW_MAX_PORTS; slot++)
		if (strcmp(configs[slot].name, name) == 0)
			return &configs[slot];
	return NULL;
}

/* ---- At a start ------------------------------------------------------------------------------------------------- */

static int restore_adopted(struct dfwd *d, struct vport_spec **spec,
			   const struct dfw_port_config *config, struct port **port)
{
	int r;

	/* Who asks later what became of a move asks the kernel: the file comes second. */
	(*spec)->epoch = config->epoch;
	(*spec)->arriving &= (config->flags & DFW_PORT_HELD) != 0;
	r = port_adopt(&d->object, spec, config, port);
	if (r == 0)
		r = realised_adopt_port(d, *port);
	if (r == 0)
		r = attach_find(&d->hooks, *port);
	/* Of one that waits for its VM nobody knows any more since when it is enforced. */
	if (r == 0 && (*port)->ifindex && (*port)->config.flags & DFW_PORT_HELD)
		(*port)->late = attach_is_late((*port)->ifindex);
	return r;
}

static int restore_one(struct dfwd *d, const json_t *entry, const struct dfw_port_config *configs,
		       const bool *slots_taken)
{
	_cleanup_spec_ struct vport_spec *spec = NULL;
	_cleanup_port_ struct port *port = NULL;
	const struct dfw_port_config *config;
	struct dfw_profile profile;
	uint32_t slot = 0;
	int r = spec_from_json(entry, &spec);

	if (r == 0)
		r = ports_conflict(d, spec, NULL);
	if (r < 0)
		return r;
	config = find_config(configs, spec->name);
	if (config) {
		r = restore_adopted(d, &spec, config, &port);
	} else {
		while (slot < DFW_MAX_PORTS && (slots_taken[slot] || d->slots[slot]))
			slot++;
		if (slot == DFW_MAX_PORTS)
			return log_errno(-ENOSPC, "vport %s: no slot is free", spec->name);
		profile = *profile_default();
		/* In force it was in none: its flows are gone, and perhaps the port went elsewhere since. */
		spec->epoch = 1;
		r = port_create(&d->object, &spec, slot, &profile, &port);
	}
	if (r == 0)
		r = port_set_listed(&d->object, port, true);
	if (r == 0)
		r = ports_insert(d, port);
	if (r == 0)
		TAKE_PTR(port);
	return r;
}

static int restore_all(struct dfwd *d, const json_t *list, const struct dfw_port_config *configs)
{
	_cleanup_free_ struct port **made = NULL;
	bool taken[DFW_MAX_PORTS];
	size_t nr = 0, i;
	const json_t *entry;

	for (uint32_t slot = 0; slot < DFW_MAX_PORTS; slot++)
		taken[slot] = configs[slot].name[0];
	json_array_foreach (list, i, entry) {
		int r = restore_one(d, entry, configs, taken);

		if (r < 0)
			return r;
	}
	made = calloc(d->nr_ports + 1, sizeof(struct port *));
	if (!made)
		return log_errno(-ENOMEM, "cannot restore the vports");
	for (i = 0; i < d->nr_ports; i++)
		if (!taken[d->ports[i]->slot])
			made[nr++] = d->ports[i];
	return ports_install(&d->object, made, nr);
}

/* How many ports the kernel has that the list lacks, but for those whose adding or removing was interrupted; *name is one of
 * them. `list` NULL: no list. */
static size_t count_missing(const struct dfwd *d, const json_t *list,
			    const struct dfw_port_config *configs, const char **name)
{
	_cleanup_json_ json_t *listed = json_object();
	const json_t *entry;
	size_t nr = 0, i;

	json_array_foreach (list, i, entry)
		if (json_text(entry, "name"))
			json_object_set_new(listed, json_text(entry, "name"), json_true());
	for (uint32_t slot = 0; slot < DFW_MAX_PORTS; slot++) {
		if (!configs[slot].name[0] || json_object_get(listed, configs[slot].name) ||
		    !port_is_listed(d->instance, configs[slot].name))
			continue;
		*name = configs[slot].name;
		nr++;
	}
	return nr;
}

#define WHAT_TO_DO "Restore the file, or end enforcement by `dfwd -i %s --detach`"

/* The file is there and whole, or NULL. */
static int check_list(const struct dfwd *d, const json_t *json,
		      const struct dfw_port_config *configs)
{
	const json_t *list = json_object_get(json, "vports");
	char path[PATH_MAX];
	const char *name = NULL;
	size_t missing;

	file_path(d, path);
	if (json && !json_is_array(list)) {
		log_error("%s: has no list \"vports\"", path);
		return -EBADMSG;
	}
	missing = count_missing(d, list, configs, &name);
	if (missing && !json)
		log_error("%s is missing, but the kernel enforces %zu vports, and goes on "
			  "to. " WHAT_TO_DO,
			  path, missing, d->instance);
	else if (missing)
		log_error("%s lacks %zu of the vports that the kernel enforces, and goes on to: "
			  "%s is one. " WHAT_TO_DO,
			  path, missing, name, d->instance);
	return missing ? -ESTALE : 0;
}

int ports_restore(struct dfwd *d)
{
	_cleanup_free_ struct dfw_port_config *configs = NULL;
	_cleanup_json_ json_t *json = NULL;
	char path[PATH_MAX];
	int r = read_kernel(d, &configs);

	if (r == 0)
		r = state_file_read(file_path(d, path), &json);
	if (r == 0 || r == -ENOENT)
		r = check_list(d, json, configs);
	if (r < 0)
		return r;
	r = restore_all(d, json_object_get(json, "vports"), configs);
	if (r < 0)
		log_error("cannot restore the vports of %s", file_path(d, path));
	return r;
}

static void remove_stranger(struct dfwd *d, const struct dfw_port_config *config)
{
	_cleanup_spec_ struct vport_spec *spec = spec_new();
	struct port *port = calloc(1, sizeof(*port));

	if (!spec || !port || spec_set_name(spec, config->name) < 0) {
		free(port);
		return;
	}
	log_notice("vport %s: dfwd had ended while it was added or removed; it is removed",
		   config->name);
	*port = (struct port){.slot = config->slot, .spec = TAKE_PTR(spec), .state = -1};
	attach_find(&d->hooks, port);
	port_remove(d, port);
}

/* Folders of vports that were half made. */
static void remove_folders(struct dfwd *d)
{
	char path[PATH_MAX];
	DIR *dir = opendir(pin_path(d->instance, "vports", path));
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || ports_find(d, entry->d_name))
			continue;
		directory_remove(pin_vport_path(d->instance, entry->d_name, NULL, path));
	}
	if (dir)
		closedir(dir);
}

void ports_remove_strangers(struct dfwd *d)
{
	_cleanup_free_ struct dfw_port_config *configs = NULL;

	if (read_kernel(d, &configs) < 0)
		return;
	for (uint32_t slot = 0; slot < DFW_MAX_PORTS; slot++)
		if (configs[slot].name[0] && !ports_find(d, configs[slot].name))
			remove_stranger(d, &configs[slot]);
	remove_folders(d);
}
