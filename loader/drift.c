// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "attach.h"
#include "daemon.h"
#include "drift.h"
#include "json.h"
#include "log.h"
#include "maps.h"
#include "policy/hash.h"
#include "revision.h"
#include "view.h"

struct drift {
	struct dfwd *d;
	const struct revision *revision;
	json_t *drifted;
	uint64_t found, wanted; /* hashes */
	bool tables_differ;
};

static void add(const struct drift *drift, const struct port *port, const char *what)
{
	json_array_append_new(drift->drifted,
			      json_pack("{s:s, s:s}", "vport", port->spec->name, "what", what));
}

/* From the map, not from our memory of it. */
static int read_config(const struct drift *drift, const struct port *port,
		       struct dfw_port_config *config)
{
	const struct dfwd *d = drift->d;
	const uint32_t zero = 0;
	_cleanup_close_ int map =
		map_open_inner(d->object.configs.fd, bank_index(port->slot, d->revision.bank));

	return map < 0 ? map : map_get(map, &zero, config);
}

/* `r` is what reading said: what is not there differs. */
static int compare_hashes(struct drift *drift, int r, uint64_t found, uint64_t wanted, bool *differ)
{
	if (r < 0 && r != -ENOENT)
		return r;
	*differ |= r < 0 || found != wanted;
	drift->found = hash_word(drift->found, r < 0 ? 0 : found);
	drift->wanted = hash_word(drift->wanted, wanted);
	return 0;
}

static int compare_rules(struct drift *drift, const struct port *port,
			 const struct dfw_port_config *config, const struct compiled_port *wanted)
{
	const struct compiled *compiled = revision_tables(drift->revision);
	bool differ = false;
	int r = 0;

	for (int direction = 0; direction < DFW_DIRECTIONS && r == 0; direction++) {
		uint64_t found = 0;

		r = ruleset_hash(&drift->d->object, config->ruleset[direction], &found);
		r = compare_hashes(
			drift, r, found,
			compiled_ruleset_hash(&compiled->rulesets[wanted->ruleset[direction]]),
			&differ);
	}
	if (differ)
		add(drift, port, "the rules are others");
	return r;
}

/* What a packet is really looked up in. Where it lies is known only of the tables in force. */
static int compare_rows(struct drift *drift, const struct port *port,
			const struct dfw_port_config *config, const struct compiled_port *wanted)
{
	const struct live *live = &drift->d->live;
	bool differ = false;
	int r = 0;

	for (int direction = 0; direction < DFW_DIRECTIONS && r == 0; direction++) {
		const struct compiled_ruleset *ruleset =
			&live->compiled->rulesets[wanted->ruleset[direction]];
		uint64_t found = 0;

		r = rows_hash(&drift->d->object, config->ruleset[direction], ruleset, &found);
		r = compare_hashes(drift, r, found, compiled_rows_hash(ruleset, live->tables),
				   &differ);
	}
	if (differ)
		add(drift, port, "the rows of its rules are others");
	if (drift->tables_differ)
		add(drift, port, "the classes of addresses or services are others");
	return r;
}

/* All vports share them. */
static int compare_tables(struct drift *drift)
{
	const struct live *live = &drift->d->live;
	uint64_t found = 0;
	int r = tables_hash(&drift->d->object, live->tables, live->compiled, &found);

	return compare_hashes(drift, r, found, compiled_tables_hash(live->compiled, live->services),
			      &drift->tables_differ);
}

static int compare_port(struct drift *drift, size_t i)
{
	const struct revision *revision = drift->revision;
	const struct port *port = revision->wanted[i].port;
	const struct compiled_port *wanted = revision->of_port[i];
	struct dfw_port_config config;
	int r = read_config(drift, port, &config);
	struct view_vport view;

	if (r == -ENOENT) {
		add(drift, port, "it is not in the kernel");
		return 0;
	}
	if (r < 0)
		return r;
	if (port->ifindex &&
	    (view_vport(drift->d->instance, port->spec->name, &view) < 0 || !view.enforcing))
		add(drift, port, "its device is not enforced");
	if (!wanted != !(config.flags & DFW_PORT_READY)) {
		add(drift, port, wanted ? "it has no rules" : "it has rules of no policy");
		return 0;
	}
	if (!wanted)
		return 0;
	r = compare_rules(drift, port, &config, wanted);
	return r == 0 && revision->in_place ? compare_rows(drift, port, &config, wanted) : r;
}

static json_t *result_json(const struct drift *drift, size_t nr)
{
	const struct dfwd *d = drift->d;
	char found[17], wanted[17];

	snprintf(found, sizeof(found), "%016" PRIx64, drift->found);
	snprintf(wanted, sizeof(wanted), "%016" PRIx64, drift->wanted);
	return json_pack("{s:I, s:s, s:I, s:s, s:s, s:O}", "generation",
			 (json_int_t)d->revision.generation, "object", d->policy_object, "vports",
			 (json_int_t)nr, "hash", found, "wanted", wanted, "drifted",
			 drift->drifted);
}

int drift_check(struct dfwd *d, json_t **result)
{
	_cleanup_revision_ struct revision *revision = NULL;
	_cleanup_json_ json_t *drifted = json_array();
	struct drift drift = {.d = d, .drifted = drifted};
	struct policy_errors errors = {};
	size_t nr, index;
	struct wanted_port *wanted = wanted_list(d, NULL, NULL, &nr, &index);
	int r = revision_prepare(d, d->policy, d->revision.generation, wanted, nr, &revision,
				 &errors);

	policy_errors_free(&errors);
	drift.revision = revision;
	if (r == 0 && revision->in_place)
		r = compare_tables(&drift);
	for (size_t i = 0; i < nr && r == 0; i++)
		r = compare_port(&drift, i);
	if (r < 0)
		return log_errno(r, "cannot compare the kernel with the policy");
	*result = result_json(&drift, nr);
	return 0;
}
