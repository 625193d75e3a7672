// SPDX-License-Identifier: GPL-2.0
/* Staging of a revision: nothing here is seen by a packet before the bank flips. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "maps.h"
#include "revision.h"

#define STAGE_PORTS 128 /* at once: a bound on open fds */

/* ---- Tables and rule sets --------------------------------------------------------------------------------------- */

static int use_ruleset(struct revision *revision, uint32_t index)
{
	struct dfw_ruleset header;
	int r;

	if (revision->use.rulesets[index])
		return 0;
	r = map_get(revision->d->object.rulesets, &index, &header);
	if (r < 0)
		return log_errno(r, "cannot read rule set %u", index);
	revision->use.rulesets[index] = true;
	revision->use.tables[header.tables] = true;
	return 0;
}

/* What the bank in force refers to. */
int stage_find_use(struct revision *revision)
{
	const struct dfwd *d = revision->d;

	memset(&revision->use, 0, sizeof(revision->use));
	for (size_t i = 0; i < d->nr_ports; i++) {
		const struct dfw_port_config *config = &d->ports[i]->config;

		if (!(config->flags & DFW_PORT_READY))
			continue;
		for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
			int r = use_ruleset(revision, config->ruleset[direction]);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int free_index(const bool *used, uint32_t nr, uint32_t *index)
{
	for (*index = 0; *index < nr; (*index)++)
		if (!used[*index])
			return 0;
	return -ENOSPC;
}

/* Sets revision->tables; 1: they are shared with the bank in force, and rule sets can be too. */
static int stage_tables(struct revision *revision)
{
	const struct object *object = &revision->d->object;
	int r;

	for (uint32_t i = 0; i < DFW_MAX_TABLES; i++) {
		if (!revision->use.tables[i])
			continue;
		r = tables_equal(object, i, revision->compiled);
		if (r < 0)
			return r;
		revision->tables = i;
		if (r > 0)
			return 1;
	}
	r = free_index(revision->use.tables, DFW_MAX_TABLES, &revision->tables);
	if (r < 0)
		return log_errno(r, "no place for another set of tables");
	revision->use.tables[revision->tables] = true;
	return tables_make(object, revision->tables, revision->compiled);
}

/* The rule set in force that equals; DFW_MAX_RULESETS: none. */
static int find_equal(struct revision *revision, const struct index_use *in_force,
		      const struct compiled_ruleset *ruleset, uint32_t *index)
{
	for (*index = 0; *index < DFW_MAX_RULESETS; (*index)++) {
		int equal;

		if (!in_force->rulesets[*index])
			continue;
		equal = ruleset_equal(&revision->d->object, *index, ruleset);
		if (equal)
			return equal < 0 ? equal : 0;
	}
	return 0;
}

static int stage_ruleset(struct revision *revision, const struct index_use *in_force, bool share,
			 size_t i)
{
	const struct compiled_ruleset *ruleset = &revision->compiled->rulesets[i];
	uint32_t index = DFW_MAX_RULESETS;
	int r = share ? find_equal(revision, in_force, ruleset, &index) : 0;

	if (r < 0)
		return r;
	revision->rulesets[i] = index;
	revision->to_make[i] = DFW_MAX_RULESETS;
	if (index < DFW_MAX_RULESETS)
		return 0;
	r = free_index(revision->use.rulesets, DFW_MAX_RULESETS, &index);
	if (r < 0)
		return log_errno(
			r,
			"the vports have more than %d different rule sets, those in force included",
			DFW_MAX_RULESETS);
	revision->use.rulesets[index] = true;
	revision->rulesets[i] = revision->to_make[i] = index;
	return 0;
}

static int stage_rulesets(struct revision *revision, bool share)
{
	const struct compiled *compiled = revision->compiled;
	struct index_use in_force = revision->use;
	int r = 0;

	revision->rulesets = calloc(compiled->nr_rulesets + 1, sizeof(uint32_t));
	revision->to_make = calloc(compiled->nr_rulesets + 1, sizeof(uint32_t));
	if (!revision->rulesets || !revision->to_make)
		return log_errno(-ENOMEM, "cannot stage the rule sets");
	for (size_t i = 0; i < compiled->nr_rulesets && r == 0; i++)
		r = stage_ruleset(revision, &in_force, share, i);
	if (r < 0)
		return r;
	return rulesets_make(&revision->d->object, compiled->rulesets, revision->to_make,
			     compiled->nr_rulesets, revision->tables);
}

int stage_compiled(struct revision *revision)
{
	int shared;

	if (!revision->compiled || revision->compiled->nr_ports == 0)
		return 0;
	shared = stage_tables(revision);
	return shared < 0 ? shared : stage_rulesets(revision, shared);
}

/* ---- Ports ------------------------------------------------------------------------------------------------------ */

static void fill_identity(struct dfw_port_config *config, const struct vport_spec *spec)
{
	memcpy(config->name, spec->name, sizeof(config->name));
	memcpy(config->uuid, spec->uuid, sizeof(config->uuid));
	config->epoch = spec->epoch;
	config->nr_macs = (uint32_t)spec->nr_macs;
	memcpy(config->macs, spec->macs, spec->nr_macs * sizeof(spec->macs[0]));
	config->nr_addresses = (uint32_t)spec->nr_addresses;
	memcpy(config->addresses, spec->addresses, spec->nr_addresses * sizeof(spec->addresses[0]));
	config->nr_vlans = (uint32_t)spec->nr_vlans;
	memcpy(config->vlans, spec->vlans, spec->nr_vlans * sizeof(spec->vlans[0]));
}

static int fill_rules(const struct revision *revision, const struct compiled_port *port,
		      struct staged_port *staged)
{
	struct dfw_port_config *config = &staged->config;
	uint32_t next = 0;

	config->flags |= DFW_PORT_READY;
	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		config->ruleset[direction] = revision->rulesets[port->ruleset[direction]];
		config->hits_base[direction] = config->hits_count;
		config->hits_count +=
			revision->compiled->rulesets[port->ruleset[direction]].header.nr_rules + 1;
	}
	staged->rules = calloc(config->hits_count, sizeof(*staged->rules));
	if (!staged->rules)
		return -ENOMEM;
	for (uint32_t direction = 0; direction < DFW_DIRECTIONS; direction++) {
		const struct compiled_ruleset *ruleset =
			&revision->compiled->rulesets[port->ruleset[direction]];

		for (uint32_t i = 0; i <= ruleset->header.nr_rules; i++)
			staged->rules[next++] = (struct dfw_rule_total_key){
				.rule = ruleset->rules[i].id, .direction = direction};
	}
	return 0;
}

static int fill_port(struct revision *revision, size_t i)
{
	const struct port *port = revision->wanted[i].port;
	struct staged_port *staged = &revision->staged[i];
	struct dfw_port_config *config = &staged->config;
	int r = 0;

	config->slot = port->slot;
	config->flags = port->config.flags & DFW_PORT_SWITCHES;
	config->profile = *revision_profile(revision, i);
	fill_identity(config, revision->wanted[i].spec);
	if (revision->of_port[i])
		r = fill_rules(revision, revision->of_port[i], staged);
	if (r < 0)
		return log_errno(r, "vport %s", port->spec->name);

	staged->same_config = memcmp(config, &port->config, sizeof(*config)) == 0;
	staged->same_rules =
		port->config.hits_count == config->hits_count &&
		memcmp(port->config.hits_base, config->hits_base, sizeof(config->hits_base)) == 0 &&
		(config->hits_count == 0 ||
		 (port->rules && memcmp(port->rules, staged->rules,
					config->hits_count * sizeof(port->rules[0])) == 0));
	if (!staged->same_config || !staged->same_rules)
		revision->changed = true;
	return 0;
}

int stage_fill(struct revision *revision)
{
	revision->changed = revision->nr != revision->d->nr_ports ||
			    revision->generation != revision->d->revision.generation;
	for (size_t i = 0; i < revision->nr; i++) {
		int r = fill_port(revision, i);

		if (r < 0)
			return r;
	}
	return 0;
}

/* The map of a port that the new bank shall have: that of the bank in force, or a new one. An fd. */
static int open_config(const struct revision *revision, size_t i)
{
	const struct dfwd *d = revision->d;
	const struct staged_port *staged = &revision->staged[i];

	if (staged->same_config)
		return map_open_inner(d->object.configs.fd,
				      bank_index(staged->config.slot, d->bank));
	return port_make_config(&d->object, &staged->config);
}

static int open_hits(const struct revision *revision, size_t i)
{
	const struct dfwd *d = revision->d;
	const struct staged_port *staged = &revision->staged[i];

	if (staged->same_rules)
		return map_open_inner(d->object.hits.fd, bank_index(staged->config.slot, d->bank));
	return port_make_hits(&d->object, "rules", staged->config.hits_count);
}

/* Puts a map of each of the ports first .. first + nr - 1 into the bank that is not in force. */
static int stage_maps(const struct revision *revision, int outer, size_t first, size_t nr,
		      int (*open_map)(const struct revision *revision, size_t i))
{
	uint32_t keys[STAGE_PORTS] = {};
	int maps[STAGE_PORTS] = {};
	size_t opened = 0;
	int r = 0;

	for (; opened < nr; opened++) {
		size_t i = first + opened;

		keys[opened] = bank_index(revision->staged[i].config.slot, !revision->d->bank);
		maps[opened] = open_map(revision, i);
		if (maps[opened] < 0) {
			r = log_errno(maps[opened], "vport %s: cannot make or open a map",
				      revision->wanted[i].spec->name);
			break;
		}
	}
	if (r == 0) {
		r = map_put_batch(outer, keys, maps, sizeof(maps[0]), nr);
		if (r < 0)
			log_errno(r, "cannot stage the maps of vports");
	}
	while (opened > 0)
		cleanup_close(&maps[--opened]);
	return r;
}

int stage_ports(const struct revision *revision)
{
	const struct object *object = &revision->d->object;

	for (size_t first = 0; first < revision->nr; first += STAGE_PORTS) {
		size_t left = revision->nr - first, nr = left < STAGE_PORTS ? left : STAGE_PORTS;
		int r = stage_maps(revision, object->configs.fd, first, nr, open_config);

		if (r == 0)
			r = stage_maps(revision, object->hits.fd, first, nr, open_hits);
		if (r < 0)
			return r;
	}
	return 0;
}
