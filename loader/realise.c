// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "hits.h"
#include "log.h"
#include "maps.h"
#include "realise.h"
#include "tables.h"
#include "view_pins.h"

#define STAGE_PORTS 128 /* at once: a bound on open fds */

/* What a port will be when the bank has flipped. */
struct staged_port {
	struct dfw_port_config config;
	uint32_t *rule_ids;
	bool same_config; /* the map in force serves on */
	bool same_rules;  /* and so does its `rules` map, with its counts */
};

struct revision {
	struct dfwd *d;
	uint32_t generation;
	struct wanted_port *wanted;
	size_t nr;
	struct compiled *compiled;	      /* NULL: no policy */
	const struct compiled_port **of_port; /* of wanted[], NULL: denies */
	struct staged_port *staged;

	struct index_use use; /* of the bank in force, and what we have taken */
	uint32_t tables;
	uint32_t *rulesets; /* index of each compiled rule set ... */
	uint32_t *to_make;  /* ... and again if it has to be made, else DFW_MAX_RULESETS */
	bool changed;
};

static const struct dfw_profile default_profile = {
#define PROFILE_FLAG(symbol, name, on, help) ((on) ? DFW_PROFILE_##symbol : 0) |
	.flags = DFW_PROFILE_FLAGS(PROFILE_FLAG) 0,
#undef PROFILE_FLAG
	.max_flows = DFW_DEFAULT_MAX_FLOWS,
	.max_half_open = DFW_DEFAULT_MAX_HALF_OPEN,
	.reject_per_second = DFW_DEFAULT_REJECT_PER_SECOND,
	.max_fragments = DFW_DEFAULT_MAX_FRAGMENTS,
	.max_learned = DFW_DEFAULT_MAX_LEARNED,
	.resync_seconds = DFW_DEFAULT_RESYNC_SECONDS,
	.timeouts_ns =
		{
#define STATE_TIMEOUT(symbol, name, seconds) [DFW_FLOW_##symbol] = (seconds)*1000000000ULL,
			DFW_FLOW_STATES_LIST(STATE_TIMEOUT)
#undef STATE_TIMEOUT
		},
};

const struct dfw_profile *profile_default(void)
{
	return &default_profile;
}

void revision_free(struct revision *revision)
{
	if (!revision)
		return;
	for (size_t i = 0; revision->staged && i < revision->nr; i++)
		free(revision->staged[i].rule_ids);
	compiled_free(revision->compiled);
	free(revision->of_port);
	free(revision->staged);
	free(revision->wanted);
	free(revision->rulesets);
	free(revision->to_make);
	free(revision);
}

/* ---- The list of ports ---------------------------------------------------------------------------------------- */

struct wanted_port *wanted_list(const struct dfwd *d, const struct port *changed,
				const struct vport_spec *spec, size_t *nr, size_t *index)
{
	struct wanted_port *list = calloc(d->nr_ports + 1, sizeof(*list));
	bool add = spec && !changed;

	*nr = 0;
	*index = 0;
	for (size_t i = 0; list && i < d->nr_ports; i++) {
		struct port *port = d->ports[i];

		if (add && strcmp(spec->name, port->spec->name) < 0) {
			*index = *nr;
			list[(*nr)++].spec = spec;
			add = false;
		}
		if (port == changed && !spec)
			continue;
		if (port == changed)
			*index = *nr;
		list[*nr].port = port;
		list[(*nr)++].spec = port == changed ? spec : port->spec;
	}
	if (list && add) {
		*index = *nr;
		list[(*nr)++].spec = spec;
	}
	return list;
}

/* ---- Prepare -------------------------------------------------------------------------------------------------- */

static bool takes_part(const struct wanted_port *wanted)
{
	return !wanted->port || !wanted->port->left_out;
}

static int compile(struct revision *revision, const struct policy *policy,
		   struct policy_errors *errors)
{
	_cleanup_free_ struct policy_port *ports = calloc(revision->nr + 1, sizeof(*ports));
	_cleanup_free_ size_t *wanted_of = calloc(revision->nr + 1, sizeof(*wanted_of));
	size_t nr = 0;
	int r;

	if (!ports || !wanted_of)
		return -ENOMEM;
	for (size_t i = 0; i < revision->nr; i++) {
		const struct vport_spec *spec = revision->wanted[i].spec;

		if (!takes_part(&revision->wanted[i]))
			continue;
		wanted_of[nr] = i;
		ports[nr++] = (struct policy_port){
			.name = spec->name,
			.tags = spec->tags,
			.nr_tags = spec->nr_tags,
			.addresses = spec->ips,
			.nr_addresses = spec->nr_ips,
			.profile = spec->profile,
			.here = true,
		};
	}
	r = policy_compile(policy, ports, nr, &revision->compiled, errors);
	for (size_t i = 0; r == 0 && i < revision->compiled->nr_ports; i++) {
		const struct compiled_port *port = &revision->compiled->ports[i];

		revision->of_port[wanted_of[port->port]] = port;
	}
	return r;
}

int revision_prepare(struct dfwd *d, const struct policy *policy, uint32_t generation,
		     struct wanted_port *wanted, size_t nr, struct revision **revision,
		     struct policy_errors *errors)
{
	_cleanup_revision_ struct revision *new = calloc(1, sizeof(*new));
	int r = 0;

	if (!new || !wanted) {
		free(wanted);
		return log_errno(-ENOMEM, "cannot prepare a revision");
	}
	new->d = d;
	new->generation = generation;
	new->wanted = wanted;
	new->nr = nr;
	new->of_port = calloc(nr + 1, sizeof(*new->of_port));
	new->staged = calloc(nr + 1, sizeof(*new->staged));
	if (!new->of_port || !new->staged)
		return log_errno(-ENOMEM, "cannot prepare a revision");
	if (policy)
		r = compile(new, policy, errors);
	if (r == -ENOMEM)
		return log_errno(r, "cannot compile the policy");
	if (r < 0)
		return r;
	*revision = TAKE_PTR(new);
	return 0;
}

const struct dfw_profile *revision_profile(const struct revision *revision, size_t index)
{
	return revision->of_port[index] ? &revision->of_port[index]->profile : &default_profile;
}

void revision_set_port(struct revision *revision, size_t index, struct port *port)
{
	revision->wanted[index].port = port;
}

size_t revision_rules(const struct revision *revision)
{
	size_t rules = 0;

	for (size_t i = 0; i < revision->nr; i++)
		for (int direction = 0; revision->of_port[i] && direction < DFW_DIRECTIONS;
		     direction++)
			rules += revision->compiled
					 ->rulesets[revision->of_port[i]->ruleset[direction]]
					 .header.nr_rules;
	return rules;
}

/* ---- Stage: tables and rule sets ------------------------------------------------------------------------------ */

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
static int find_use(struct revision *revision)
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

static int stage_compiled(struct revision *revision)
{
	int shared;

	if (!revision->compiled || revision->compiled->nr_ports == 0)
		return 0;
	shared = stage_tables(revision);
	return shared < 0 ? shared : stage_rulesets(revision, shared);
}

/* ---- Stage: ports --------------------------------------------------------------------------------------------- */

static void fill_identity(struct dfw_port_config *config, const struct vport_spec *spec)
{
	memcpy(config->name, spec->name, sizeof(config->name));
	memcpy(config->uuid, spec->uuid, sizeof(config->uuid));
	config->epoch = spec->epoch;
	config->nr_macs = (uint32_t)spec->nr_macs;
	memcpy(config->macs, spec->macs, spec->nr_macs * sizeof(spec->macs[0]));
	config->nr_addresses = (uint32_t)spec->nr_ips;
	memcpy(config->addresses, spec->ips, spec->nr_ips * sizeof(spec->ips[0]));
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
	staged->rule_ids = calloc(config->hits_count, sizeof(*staged->rule_ids));
	if (!staged->rule_ids)
		return -ENOMEM;
	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		const struct compiled_ruleset *ruleset =
			&revision->compiled->rulesets[port->ruleset[direction]];

		for (uint32_t i = 0; i <= ruleset->header.nr_rules; i++)
			staged->rule_ids[next++] = ruleset->rules[i].id;
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
		 (port->rule_ids && memcmp(port->rule_ids, staged->rule_ids,
					   config->hits_count * sizeof(uint32_t)) == 0));
	if (!staged->same_config || !staged->same_rules)
		revision->changed = true;
	return 0;
}

static int fill_ports(struct revision *revision)
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

static int stage_ports(const struct revision *revision)
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

static int resize_ports(struct revision *revision)
{
	for (size_t i = 0; i < revision->nr; i++) {
		int r = port_resize(&revision->d->object, revision->wanted[i].port,
				    revision_profile(revision, i));

		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- Flip ----------------------------------------------------------------------------------------------------- */

/* Numbers of revisions come back after 65535. A flow that slept for so long must not take an old verdict for a new one:
 * all flows forget theirs. */
static int forget_verdicts(const struct dfwd *d)
{
	for (size_t i = 0; i < d->nr_ports; i++) {
		int r = object_sweep(&d->object, d->ports[i]->slot, DFW_SWEEP_STALE);

		if (r < 0)
			return log_errno(r, "vport %s: cannot mark its flows stale",
					 d->ports[i]->spec->name);
	}
	return 0;
}

static int flip(struct revision *revision)
{
	struct dfwd *d = revision->d;
	const struct dfw_active active = {.bank = !d->bank};
	struct dfw_revision next = {.generation = revision->generation,
				    .revision = (uint16_t)(d->revision.revision + 1)};
	const uint32_t zero = 0;
	int r = 0;

	if (next.revision == 0) {
		next.revision = 1;
		r = forget_verdicts(d);
		if (r < 0)
			return r;
	}
	r = map_put(d->object.revisions, &active.bank, &next);
	if (r == 0)
		r = map_put(d->object.active, &zero, &active);
	if (r < 0)
		return log_errno(r, "cannot bring the revision into force");
	d->bank = active.bank;
	d->revision = next;
	d->active_since_ns = monotonic_ns();
	return 0;
}

/* ---- After the flip ------------------------------------------------------------------------------------------- */

static void settle_port(struct dfwd *d, struct port *port, struct staged_port *staged)
{
	struct port former = *port;

	port->config = staged->config;
	port->rule_ids = TAKE_PTR(staged->rule_ids);
	if (!staged->same_rules) {
		_cleanup_close_ int rules =
			map_open_inner(d->object.hits.fd, bank_index(port->slot, !d->bank));

		if (rules >= 0 && former.rule_ids)
			hits_fold(&d->object, port, rules, former.rule_ids,
				  former.config.hits_count);
	}
	free(former.rule_ids);
	if (!staged->same_config || !staged->same_rules)
		port_pin_bank(&d->object, port, d->bank);
}

static void settle(struct revision *revision)
{
	struct dfwd *d = revision->d;

	/* Programs that began before the flip may still count in the former maps. */
	object_grace_period(&d->object);
	for (size_t i = 0; i < revision->nr; i++)
		settle_port(d, revision->wanted[i].port, &revision->staged[i]);
	if (revision->compiled)
		events_set_rules(&d->events, revision->compiled);
}

int revision_commit(struct revision *revision)
{
	struct dfwd *d = revision->d;
	int r = find_use(revision);

	if (r == 0)
		r = tables_collect(&d->object, &revision->use);
	if (r == 0)
		r = stage_compiled(revision);
	if (r == 0)
		r = fill_ports(revision);
	if (r < 0)
		return r;
	if (!revision->changed) {
		if (revision->compiled)
			events_set_rules(&d->events, revision->compiled);
		return 0;
	}
	r = resize_ports(revision);
	if (r == 0)
		r = stage_ports(revision);
	if (r == 0)
		r = flip(revision);
	if (r < 0) {
		/* What was made so far is freed here, or, should that fail too, by the next revision. */
		if (find_use(revision) == 0)
			tables_collect(&d->object, &revision->use);
		return r;
	}
	settle(revision);
	return 0;
}

/* ---- At a start ----------------------------------------------------------------------------------------------- */

int realised_read(struct dfwd *d)
{
	struct dfw_active active;
	const uint32_t zero = 0;
	int r = map_get(d->object.active, &zero, &active);

	if (r == 0 && active.bank >= DFW_BANKS)
		r = -EBADMSG;
	if (r == 0)
		r = map_get(d->object.revisions, &active.bank, &d->revision);
	if (r < 0)
		return log_errno(r, "cannot read which revision is in force");
	d->bank = active.bank;
	return 0;
}

/* Ids of all rules that a config refers to, in the order of the `rules` map. */
static int read_rule_ids(const struct object *object, const struct dfw_port_config *config,
			 uint32_t **rule_ids)
{
	_cleanup_free_ uint32_t *ids = calloc(config->hits_count + 1, sizeof(*ids));

	if (!ids)
		return -ENOMEM;
	for (int direction = 0; direction < DFW_DIRECTIONS && config->hits_count; direction++) {
		_cleanup_free_ uint32_t *part = NULL;
		uint32_t nr;
		int r = ruleset_rule_ids(object, config->ruleset[direction], &part, &nr);

		if (r < 0)
			return r;
		if (nr > config->hits_count - config->hits_base[direction])
			return -EBADMSG;
		memcpy(ids + config->hits_base[direction], part, nr * sizeof(*ids));
	}
	*rule_ids = TAKE_PTR(ids);
	return 0;
}

/* The pin `rules` still names the former bank's map when a daemon died between the flip and hits_fold. */
static int fold_left_over(struct dfwd *d, struct port *port)
{
	_cleanup_close_ int pinned = port_open_map(&d->object, port, "rules");
	_cleanup_close_ int config_map =
		map_open_inner(d->object.configs.fd, bank_index(port->slot, !d->bank));
	_cleanup_free_ uint32_t *rule_ids = NULL;
	struct dfw_port_config former;
	const uint32_t zero = 0;
	uint32_t in_force = map_inner_id(d->object.hits.fd, bank_index(port->slot, d->bank));
	uint32_t other = map_inner_id(d->object.hits.fd, bank_index(port->slot, !d->bank));
	int r;

	if (pinned < 0 || config_map < 0 || map_id(pinned) == in_force || map_id(pinned) != other)
		return 0;
	r = map_get(config_map, &zero, &former);
	if (r == 0)
		r = read_rule_ids(&d->object, &former, &rule_ids);
	return r < 0 ? r : hits_fold(&d->object, port, pinned, rule_ids, former.hits_count);
}

int realised_adopt_port(struct dfwd *d, struct port *port)
{
	int r = read_rule_ids(&d->object, &port->config, &port->rule_ids);

	if (r < 0)
		return log_errno(r, "vport %s: cannot read its rules", port->spec->name);
	r = fold_left_over(d, port);
	if (r < 0)
		log_warning("vport %s: the hits of its former rules are lost", port->spec->name);
	return port_pin_bank(&d->object, port, d->bank);
}
