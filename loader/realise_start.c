// SPDX-License-Identifier: GPL-2.0
/* What a daemon before us left in force. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "hits.h"
#include "log.h"
#include "maps.h"
#include "realise.h"
#include "tables.h"

int realised_read(struct dfwd *d)
{
	const uint32_t zero = 0;
	int r = map_get(d->object.active, &zero, &d->revision);

	if (r == 0 && d->revision.bank >= DFW_BANKS)
		r = -EBADMSG;
	if (r < 0)
		return log_errno(r, "cannot read which revision is in force");
	r = decisions_last_serial(&d->object, &d->serial);
	return r < 0 ? log_errno(r, "cannot read what is remembered of former rule sets") : 0;
}

/* All rules that a config refers to, in the order of the `rules` map. */
static int read_rules(const struct object *object, const struct dfw_port_config *config,
		      struct dfw_rule_total_key **rules)
{
	_cleanup_free_ struct dfw_rule_total_key *read =
		calloc(config->hits_count + 1, sizeof(*read));

	if (!read)
		return -ENOMEM;
	for (uint32_t direction = 0; direction < DFW_DIRECTIONS && config->hits_count;
	     direction++) {
		_cleanup_free_ uint32_t *ids = NULL;
		uint32_t nr;
		int r = ruleset_rule_ids(object, config->ruleset[direction], &ids, &nr);

		if (r < 0)
			return r;
		if (nr > config->hits_count - config->hits_base[direction])
			return -EBADMSG;
		for (uint32_t i = 0; i < nr; i++)
			read[config->hits_base[direction] + i] =
				(struct dfw_rule_total_key){.rule = ids[i], .direction = direction};
	}
	*rules = TAKE_PTR(read);
	return 0;
}

/* The pin `rules` still names the former bank's map when a daemon died between the flip and hits_fold. */
static int fold_left_over(struct dfwd *d, struct port *port)
{
	_cleanup_close_ int pinned = port_open_map(&d->object, port, "rules");
	_cleanup_close_ int config_map =
		map_open_inner(d->object.configs.fd, bank_index(port->slot, !d->revision.bank));
	_cleanup_free_ struct dfw_rule_total_key *rules = NULL;
	struct dfw_port_config former;
	const uint32_t zero = 0;
	uint32_t in_force =
		map_inner_id(d->object.hits.fd, bank_index(port->slot, d->revision.bank));
	uint32_t other = map_inner_id(d->object.hits.fd, bank_index(port->slot, !d->revision.bank));
	int r;

	if (pinned < 0 || config_map < 0 || map_id(pinned) == in_force || map_id(pinned) != other)
		return 0;
	r = map_get(config_map, &zero, &former);
	if (r == 0)
		r = read_rules(&d->object, &former, &rules);
	return r < 0 ? r : hits_fold(&d->object, port, pinned, rules, former.hits_count);
}

int realised_adopt_port(struct dfwd *d, struct port *port)
{
	int r = read_rules(&d->object, &port->config, &port->rules);

	if (r < 0)
		return log_errno(r, "vport %s: cannot read its rules", port->spec->name);
	r = fold_left_over(d, port);
	if (r < 0)
		log_warning("vport %s: the hits of its former rules are lost", port->spec->name);
	return port_pin_bank(&d->object, port, d->revision.bank);
}
