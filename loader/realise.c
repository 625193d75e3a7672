// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "groups.h"
#include "hits.h"
#include "log.h"
#include "maps.h"
#include "realise.h"
#include "revision.h"
#include "view_pins.h"

static const struct dfw_profile default_profile = {
#define PROFILE_FLAG(symbol, name, on, help) ((on) ? DFW_PROFILE_##symbol : 0) |
	.flags = DFW_PROFILE_FLAGS(PROFILE_FLAG) 0,
#undef PROFILE_FLAG
	.max_flows = DFW_DEFAULT_MAX_FLOWS,
	.max_half_open = DFW_DEFAULT_MAX_HALF_OPEN,
	.flow_table = DFW_DEFAULT_FLOW_TABLE,
	.reject_per_second = DFW_DEFAULT_REJECT_PER_SECOND,
	.max_fragments = DFW_DEFAULT_MAX_FRAGMENTS,
	.max_learned = DFW_DEFAULT_MAX_LEARNED,
	.resync_seconds = DFW_DEFAULT_RESYNC_SECONDS,
	.timeouts_ns =
		{
#define STATE_TIMEOUT(symbol, name, seconds) [DFW_FLOW_##symbol] = (seconds) * 1000000000ULL,
			DFW_FLOW_STATES_LIST(STATE_TIMEOUT)
#undef STATE_TIMEOUT
		},
};

const struct dfw_profile *profile_default(void)
{
	return &default_profile;
}

void wanted_free(struct wanted_port *wanted, size_t nr)
{
	for (size_t i = 0; wanted && i < nr; i++)
		spec_free(wanted[i].next);
	free(wanted);
}

void revision_free(struct revision *revision)
{
	if (!revision)
		return;
	for (size_t i = 0; revision->staged && i < revision->nr; i++)
		free(revision->staged[i].rules);
	for (size_t i = 0; revision->maps && i < revision->compiled->nr_rulesets; i++)
		row_maps_close(&revision->maps[i]);
	outer_batch_clear(&revision->batch);
	compiled_free(revision->compiled);
	free(revision->ports);
	free(revision->wanted_of);
	free(revision->fit);
	free(revision->of_port);
	free(revision->staged);
	wanted_free(revision->wanted, revision->nr);
	free(revision->rulesets);
	free(revision->maps);
	free(revision);
}

const struct compiled *revision_tables(const struct revision *revision)
{
	return revision->compiled ? revision->compiled : revision->d->live.compiled;
}

/* Adds the time since *since, and goes on from now. */
static void took(uint64_t *us, uint64_t *since)
{
	uint64_t now = monotonic_ns();

	*us += (now - *since) / 1000;
	*since = now;
}

/* ---- The list of ports ------------------------------------------------------------------------------------------ */

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

struct vport_spec *wanted_change(struct wanted_port *wanted)
{
	if (!wanted->next)
		wanted->next = spec_copy(wanted->spec);
	if (wanted->next)
		wanted->spec = wanted->next;
	return wanted->next;
}

/* ---- Prepare ---------------------------------------------------------------------------------------------------- */

static bool takes_part(const struct wanted_port *wanted)
{
	return !wanted->port || !wanted->port->left_out;
}

/* Those of other hosts stand behind ours. */
static int list_ports(struct revision *revision)
{
	size_t room = revision->nr + revision->d->remote.nr + 1;

	revision->ports = calloc(room, sizeof(*revision->ports));
	revision->wanted_of = calloc(room, sizeof(*revision->wanted_of));
	if (!revision->ports || !revision->wanted_of)
		return -ENOMEM;
	for (size_t i = 0; i < revision->nr; i++) {
		const struct vport_spec *spec = revision->wanted[i].spec;

		if (!takes_part(&revision->wanted[i]))
			continue;
		revision->wanted_of[revision->nr_ports] = i;
		revision->ports[revision->nr_ports++] = (struct policy_port){
			.name = spec->name,
			.tags = spec->tags,
			.nr_tags = spec->nr_tags,
			.addresses = spec->addresses,
			.nr_addresses = spec->nr_addresses,
			.profile = spec->profile,
			.here = true,
		};
	}
	return remote_ports_append(revision->d, revision->ports, &revision->nr_ports);
}

static void note_ports(struct revision *revision, const struct compiled_port *ports, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		revision->of_port[revision->wanted_of[ports[i].port]] = &ports[i];
}

static int compile(struct revision *revision, struct policy_errors *errors)
{
	_cleanup_free_ struct policy_member *members = NULL;
	size_t nr_members = 0;
	uint64_t since = monotonic_ns();
	int r = groups_members(revision->d, revision->policy, &members, &nr_members);

	if (r == 0)
		r = policy_compile_with(revision->policy, revision->ports, revision->nr_ports,
					members, nr_members, &revision->compiled, errors);
	if (r == 0)
		note_ports(revision, revision->compiled->ports, revision->compiled->nr_ports);
	took(&revision->took.compile_us, &since);
	return r;
}

/* Whether the tables in force need only be changed. */
static int fit(struct revision *revision)
{
	const struct dfwd *d = revision->d;
	size_t nr = 0;
	int r;

	if (!d->live.compiled || revision->policy != d->policy ||
	    revision->generation != d->revision.generation)
		return -ENOTSUP;
	r = compiled_fit_ports(d->live.compiled, revision->ports, revision->nr_ports,
			       &revision->fit, &nr);
	if (r < 0)
		return r;
	revision->in_place = true;
	note_ports(revision, revision->fit, nr);
	return 0;
}

static int prepare(struct revision *revision, struct policy_errors *errors)
{
	int r;

	*errors = (struct policy_errors){};
	if (!revision->policy)
		return 0;
	r = list_ports(revision);
	if (r == 0)
		r = fit(revision);
	if (r == -ENOTSUP)
		r = compile(revision, errors);
	return r == -ENOMEM ? log_errno(r, "cannot compile the policy") : r;
}

int revision_prepare(struct dfwd *d, const struct policy *policy, uint32_t generation,
		     struct wanted_port *wanted, size_t nr, struct revision **revision,
		     struct policy_errors *errors)
{
	_cleanup_revision_ struct revision *new = calloc(1, sizeof(*new));
	int r;

	if (!new || !wanted) {
		wanted_free(wanted, nr);
		return log_errno(-ENOMEM, "cannot prepare a revision");
	}
	new->d = d;
	new->policy = policy;
	new->generation = generation;
	new->wanted = wanted;
	new->nr = nr;
	new->of_port = calloc(nr + 1, sizeof(*new->of_port));
	new->staged = calloc(nr + 1, sizeof(*new->staged));
	if (!new->of_port || !new->staged)
		return log_errno(-ENOMEM, "cannot prepare a revision");
	r = prepare(new, errors);
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

const struct took *revision_took(const struct revision *revision)
{
	return &revision->took;
}

size_t revision_rules(const struct revision *revision)
{
	size_t rules = 0;

	for (size_t i = 0; i < revision->nr; i++)
		for (int direction = 0; revision->of_port[i] && direction < DFW_DIRECTIONS;
		     direction++)
			rules += revision_tables(revision)
					 ->rulesets[revision->of_port[i]->ruleset[direction]]
					 .header.nr_rules;
	return rules;
}

/* ---- Flip ------------------------------------------------------------------------------------------------------- */

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

/* Brings a bank into force as the next revision. */
static int activate(struct dfwd *d, uint32_t generation, uint16_t bank)
{
	struct dfw_revision next = {.generation = generation,
				    .revision = (uint16_t)(d->revision.revision + 1),
				    .bank = bank};
	int r = 0;

	if (!next.revision) {
		next.revision = 1;
		r = forget_verdicts(d);
	}
	if (r < 0)
		return r;
	object_activate(&d->object, next);
	d->revision = next;
	d->active_since_ns = monotonic_ns();
	return 0;
}

static int flip(struct revision *revision)
{
	struct dfwd *d = revision->d;
	int r = activate(d, revision->generation, !d->revision.bank);

	if (r < 0)
		return log_errno(r, "cannot bring the revision into force");
	d->untidy = true;
	d->unwatched = false;
	return 0;
}

int revision_bump(struct dfwd *d)
{
	int r = activate(d, d->revision.generation, d->revision.bank);

	return r < 0 ? log_errno(r, "cannot have flows decided anew") : 0;
}

/* ---- After the flip --------------------------------------------------------------------------------------------- */

static void settle_port(struct dfwd *d, struct port *port, struct staged_port *staged)
{
	struct port former = *port;

	port->same_banks = staged->same_config && staged->same_rules;
	port->config = staged->config;
	port->rules = TAKE_PTR(staged->rules);
	if (!staged->same_rules) {
		_cleanup_close_ int hits = map_open_inner(
			d->object.hits.fd, bank_index(port->slot, !d->revision.bank));

		if (hits >= 0 && former.rules)
			hits_fold(&d->object, port, hits, former.rules, former.config.hits_count);
	}
	free(former.rules);
	if (!staged->same_config || !staged->same_rules)
		port_pin_bank(&d->object, port, d->revision.bank);
}

static bool counts_move(const struct revision *revision)
{
	for (size_t i = 0; i < revision->nr; i++)
		if (!revision->staged[i].same_rules)
			return true;
	return false;
}

static void settle(struct revision *revision)
{
	struct dfwd *d = revision->d;

	/* Programs that began before the flip may still count in the former maps. */
	if (counts_move(revision))
		d->unwatched = object_grace_period(&d->object) == 0;
	for (size_t i = 0; i < revision->nr; i++)
		settle_port(d, revision->wanted[i].port, &revision->staged[i]);
	if (revision->compiled)
		events_set_rules(&d->events, revision->compiled);
}

static void take_specs(struct revision *revision)
{
	cluster_link_vports_changed(revision->d);
	for (size_t i = 0; i < revision->nr; i++) {
		struct wanted_port *wanted = &revision->wanted[i];

		if (!wanted->next)
			continue;
		spec_free(wanted->port->spec);
		wanted->port->spec = TAKE_PTR(wanted->next);
	}
}

/* ---- Commit ----------------------------------------------------------------------------------------------------- */

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

/* What was made so far is freed at once, or, should that fail too, by the next revision. */
static void undo(struct revision *revision)
{
	outer_batch_clear(&revision->batch);
	if (stage_find_use(revision->d, &revision->use) == 0)
		tables_collect(&revision->d->object, &revision->use);
}

static int stage(struct revision *revision)
{
	uint64_t since = monotonic_ns();
	int r = resize_ports(revision);

	if (r == 0)
		r = stage_ports(revision);
	took(&revision->took.make_us, &since);
	if (r == 0) {
		r = outer_batch_put(&revision->batch);
		if (r < 0)
			log_errno(r, "cannot put what was staged in its place");
	}
	took(&revision->took.put_us, &since);
	return r;
}

/* Everything new is made beside the old. */
static int commit_beside(struct revision *revision)
{
	struct dfwd *d = revision->d;
	uint64_t since = monotonic_ns();
	int r = realise_tidy(d);

	if (r == 0)
		r = stage_find_use(d, &revision->use);
	if (r == 0)
		r = stage_compiled(revision);
	if (r == 0)
		r = stage_fill(revision);
	took(&revision->took.make_us, &since);
	if (r == 0 && revision->changed)
		r = stage(revision);
	if (r == 0 && revision->changed)
		r = flip(revision);
	if (r < 0) {
		undo(revision);
		return r;
	}
	since = monotonic_ns();
	if (revision->changed)
		settle(revision);
	else if (revision->compiled)
		events_set_rules(&d->events, revision->compiled);
	live_take(&d->live, revision);
	take_specs(revision);
	took(&revision->took.settle_us, &since);
	return 0;
}

/* The tables in force are changed; what is beside them is only the configs of the ports that differ. Those do not count
 * before the flip, and no packet looks at a port's config and at what other ports' rules say of its addresses. */
static int commit_in_place(struct revision *revision)
{
	struct dfwd *d = revision->d;
	bool changed = false;
	int r;

	revision->rulesets = live_rulesets(&d->live);
	r = revision->rulesets ? stage_fill(revision)
			       : log_errno(-ENOMEM, "cannot stage the vports");
	if (r == 0 && revision->changed)
		r = stage(revision);
	if (r == 0)
		r = live_change_ports(d, revision->ports, revision->nr_ports, &changed);
	if (r < 0)
		return r;
	r = revision->changed ? flip(revision) : changed ? revision_bump(d) : 0;
	if (r < 0)
		return r;
	if (revision->changed)
		settle(revision);
	take_specs(revision);
	d->changes.in_place++;
	return 0;
}

/* There was no room after all, or packets could see half of it. */
static int compile_after_all(struct revision *revision)
{
	struct policy_errors errors;
	int r;

	for (size_t i = 0; i < revision->nr; i++) {
		free(revision->staged[i].rules);
		revision->staged[i] = (struct staged_port){};
		revision->of_port[i] = NULL;
	}
	free(revision->rulesets);
	revision->rulesets = NULL;
	revision->in_place = false;
	r = compile(revision, &errors);
	for (size_t i = 0; i < errors.nr; i++)
		log_error("%s: %s", errors.list[i].file, errors.list[i].text);
	policy_errors_free(&errors);
	return r < 0 ? log_errno(r, "cannot compile the policy") : 0;
}

int revision_commit(struct revision *revision)
{
	struct dfwd *d = revision->d;
	int r;

	if (revision->in_place) {
		r = commit_in_place(revision);
		if (r != -ENOSPC && r != -ENOTSUP)
			return r;
		d->changes.no_room += r == -ENOSPC;
		r = compile_after_all(revision);
		if (r < 0)
			return r;
	}
	if (revision->policy && revision->policy == d->policy)
		d->changes.staged++;
	return commit_beside(revision);
}

int realise_tidy(struct dfwd *d)
{
	struct index_use use;
	int r;

	if (!d->untidy)
		return 0;
	/* Packets that began before the flip may still look at what goes. */
	if (!d->unwatched)
		object_grace_period(&d->object);
	r = stage_find_use(d, &use);
	if (r == 0)
		r = tables_collect(&d->object, &use);
	d->untidy = r < 0;
	return r;
}
