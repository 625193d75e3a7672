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
	json_t *drifted;
	uint64_t found, wanted; /* hashes */
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
		map_open_inner(d->object.configs.fd, bank_index(port->slot, d->bank));

	return map < 0 ? map : map_get(map, &zero, config);
}

static int compare_rules(struct drift *drift, const struct port *port,
			 const struct dfw_port_config *config, const struct compiled *compiled,
			 const struct compiled_port *wanted)
{
	bool differ = false;

	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		const struct compiled_ruleset *ruleset =
			&compiled->rulesets[wanted->ruleset[direction]];
		uint64_t found = 0, right = compiled_ruleset_hash(ruleset);
		int r = ruleset_hash(&drift->d->object, config->ruleset[direction], &found);

		if (r < 0 && r != -ENOENT)
			return r;
		differ |= found != right;
		drift->found = hash_word(drift->found, found);
		drift->wanted = hash_word(drift->wanted, right);
	}
	if (differ)
		add(drift, port, "the rules are others");
	return 0;
}

static int compare_port(struct drift *drift, const struct revision *revision, size_t i)
{
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
	if (!wanted != !(config.flags & DFW_PORT_READY))
		add(drift, port, wanted ? "it has no rules" : "it has rules of no policy");
	else if (wanted)
		return compare_rules(drift, port, &config, revision_tables(revision), wanted);
	return 0;
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
	for (size_t i = 0; i < nr && r == 0; i++)
		r = compare_port(&drift, revision, i);
	if (r < 0)
		return log_errno(r, "cannot compare the kernel with the policy");
	*result = result_json(&drift, nr);
	return 0;
}
