// SPDX-License-Identifier: GPL-2.0
/* Staging of a revision: nothing here is seen by a packet before the bank flips. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "maps.h"
#include "revision.h"

/* ---- Tables and rule sets --------------------------------------------------------------------------------------- */

static int use_ruleset(const struct dfwd *d, struct index_use *use, uint32_t index)
{
	struct dfw_ruleset header;
	int r;

	if (use->rulesets[index])
		return 0;
	r = map_get(d->object.rulesets, &index, &header);
	if (r < 0)
		return log_errno(r, "cannot read rule set %u", index);
	use->rulesets[index] = true;
	use->tables[header.tables] = true;
	return 0;
}

int stage_find_use(const struct dfwd *d, struct index_use *use)
{
	memset(use, 0, sizeof(*use));
	for (size_t i = 0; i < d->nr_ports; i++) {
		const struct dfw_port_config *config = &d->ports[i]->config;

		if (!(config->flags & DFW_PORT_READY))
			continue;
		for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
			int r = use_ruleset(d, use, config->ruleset[direction]);

			if (r < 0)
				return r;
		}
	}
	live_find_use(&d->live, use);
	return 0;
}

static int free_index(const bool *used, uint32_t nr, uint32_t *index)
{
	for (*index = 0; *index < nr; (*index)++)
		if (!used[*index])
			return 0;
	return -ENOSPC;
}

/* The tables in force that say the same. 1: there are; 0: there are none. */
static int find_tables(struct revision *revision)
{
	const struct live *live = &revision->d->live;

	if (live->compiled) {
		revision->tables = live->tables;
		return live_same_tables(live, revision->compiled);
	}
	/* After a start nobody knows but the kernel. */
	for (uint32_t i = 0; i < DFW_MAX_TABLES; i++) {
		int r = revision->use.tables[i]
				? tables_equal(&revision->d->object, i, revision->compiled)
				: 0;

		revision->tables = i;
		if (r != 0)
			return r;
	}
	return 0;
}

/* Sets revision->tables; 1: they are shared with the bank in force, and rule sets can be too. */
static int stage_tables(struct revision *revision)
{
	int r = find_tables(revision);

	if (r != 0)
		return r;
	r = free_index(revision->use.tables, DFW_MAX_TABLES, &revision->tables);
	if (r < 0)
		return log_errno(r, "no place for another set of tables");
	revision->use.tables[revision->tables] = true;
	return tables_make(&revision->d->object, revision->tables, revision->compiled,
			   &revision->batch);
}

/* Behind the last there are none, and decisions are not remembered. */
static uint32_t next_serial(struct dfwd *d)
{
	return d->serial < UINT32_MAX ? ++d->serial : 0;
}

/* Of a rule set that we know from the kernel alone. Classes may have been added to it that are gone, and their numbers
 * will come again. */
static int renew_ruleset(struct revision *revision, uint32_t index)
{
	int r = ruleset_renew(&revision->d->object, index, next_serial(revision->d));

	revision->renewed = true;
	return r < 0 ? log_errno(r, "cannot renew rule set %u", index) : 1;
}

/* The rule set in force that equals. 1: there is one; 0: there is none. */
static int find_ruleset(struct revision *revision, const struct index_use *in_force, size_t i)
{
	const struct compiled_ruleset *ruleset = &revision->compiled->rulesets[i];
	const struct live *live = &revision->d->live;
	uint32_t *index = &revision->rulesets[i];

	if (live->compiled)
		return live_find_ruleset(live, ruleset, i, index, &revision->maps[i]);
	for (*index = 0; *index < DFW_MAX_RULESETS; (*index)++) {
		int equal = in_force->rulesets[*index]
				    ? ruleset_equal(&revision->d->object, *index, ruleset)
				    : 0;

		if (equal)
			return equal < 0 ? equal : renew_ruleset(revision, *index);
	}
	return 0;
}

static int stage_ruleset(struct revision *revision, const struct index_use *in_force, bool share,
			 size_t i)
{
	uint32_t *index = &revision->rulesets[i];
	int r = share ? find_ruleset(revision, in_force, i) : 0;

	if (r != 0)
		return r < 0 ? r : 0;
	r = free_index(revision->use.rulesets, DFW_MAX_RULESETS, index);
	if (r < 0)
		return log_errno(
			r,
			"the vports have more than %d different rule sets, those in force included",
			DFW_MAX_RULESETS);
	revision->use.rulesets[*index] = true;
	return ruleset_make(&revision->d->object, &revision->compiled->rulesets[i],
			    &(struct ruleset_place){
				    .index = *index,
				    .tables = revision->tables,
				    .serial = next_serial(revision->d),
			    },
			    &revision->batch, &revision->maps[i]);
}

static int stage_rulesets(struct revision *revision, bool share)
{
	const struct compiled *compiled = revision->compiled;
	struct index_use in_force = revision->use;
	int r = 0;

	revision->rulesets = calloc(compiled->nr_rulesets + 1, sizeof(uint32_t));
	revision->maps = calloc(compiled->nr_rulesets + 1, sizeof(struct row_maps));
	if (!revision->rulesets || !revision->maps)
		return log_errno(-ENOMEM, "cannot stage the rule sets");
	for (size_t i = 0; i < compiled->nr_rulesets; i++)
		revision->maps[i] = (struct row_maps){-1, -1};
	for (size_t i = 0; i < compiled->nr_rulesets && r == 0; i++)
		r = stage_ruleset(revision, &in_force, share, i);
	return r == 0 && revision->renewed ? object_grace_period(&revision->d->object) : r;
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
	const struct compiled *tables = revision_tables(revision);
	struct dfw_port_config *config = &staged->config;
	uint32_t next = 0;

	config->flags |= DFW_PORT_READY;
	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		config->ruleset[direction] = revision->rulesets[port->ruleset[direction]];
		config->hits_base[direction] = config->hits_count;
		config->hits_count +=
			tables->rulesets[port->ruleset[direction]].header.nr_rules + 1;
	}
	staged->rules = calloc(config->hits_count, sizeof(*staged->rules));
	if (!staged->rules)
		return -ENOMEM;
	for (uint32_t direction = 0; direction < DFW_DIRECTIONS; direction++) {
		const struct compiled_ruleset *ruleset =
			&tables->rulesets[port->ruleset[direction]];

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
				      bank_index(staged->config.slot, d->revision.bank));
	return port_make_config(&d->object, &staged->config);
}

static int open_hits(const struct revision *revision, size_t i)
{
	const struct dfwd *d = revision->d;
	const struct staged_port *staged = &revision->staged[i];

	if (staged->same_rules)
		return map_open_inner(d->object.hits.fd,
				      bank_index(staged->config.slot, d->revision.bank));
	return port_make_hits(&d->object, "rules", staged->config.hits_count);
}

int stage_ports(struct revision *revision)
{
	const struct object *object = &revision->d->object;
	int r = 0;

	for (size_t i = 0; i < revision->nr && r == 0; i++) {
		const struct staged_port *staged = &revision->staged[i];
		uint32_t key = bank_index(staged->config.slot, !revision->d->revision.bank);

		if (staged->same_config && staged->same_rules &&
		    revision->wanted[i].port->same_banks)
			continue;
		r = outer_batch_add(&revision->batch, object->configs.fd, key,
				    open_config(revision, i));
		if (r == 0)
			r = outer_batch_add(&revision->batch, object->hits.fd, key,
					    open_hits(revision, i));
		if (r < 0)
			log_errno(r, "vport %s: cannot stage its maps",
				  revision->wanted[i].spec->name);
	}
	return r;
}
