// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "hits.h"
#include "log.h"
#include "maps.h"
#include "util.h"
#include "view.h"

static void add(struct dfw_rule_hits *sum, const struct dfw_rule_hits *part)
{
	sum->packets += part->packets;
	sum->bytes += part->bytes;
	sum->flows += part->flows;
	if (part->last_hit_ns > sum->last_hit_ns)
		sum->last_hit_ns = part->last_hit_ns;
}

/* A larger rule_totals with the totals of the rules that the port still has, or had until now. Those of rules gone for
 * longer are forgotten: somewhere the list must end. */
static int remake_totals(const struct object *object, const struct port *port, int former,
			 const struct dfw_rule_total_key *rules, uint32_t hits_count)
{
	_cleanup_close_ int new = -1;
	struct bpf_map_info info;
	char path[PATH_MAX];
	int r = map_info(former, &info);

	if (r < 0)
		return r;
	new = object_make_map(object, &object->rule_totals, "rule_totals",
			      2 * (hits_count + port->config.hits_count) + info.max_entries / 2);
	if (new < 0)
		return new;
	for (uint32_t i = 0; i < hits_count + port->config.hits_count; i++) {
		const struct dfw_rule_total_key *rule =
			i < hits_count ? &rules[i] : &port->rules[i - hits_count];
		struct dfw_rule_hits total;

		if (map_get(former, rule, &total) < 0)
			continue;
		r = map_put(new, rule, &total);
		if (r < 0)
			return r;
	}
	r = pin_replace(new,
			pin_vport_path(object->instance, port->spec->name, "rule_totals", path));
	return r < 0 ? r : TAKE_FD(new);
}

static int fold_rule(int totals, const struct dfw_rule_total_key *rule,
		     const struct dfw_rule_hits *hits)
{
	struct dfw_rule_hits total;
	int r = map_get(totals, rule, &total);

	if (r == -ENOENT)
		memset(&total, 0, sizeof(total));
	else if (r < 0)
		return r;
	add(&total, hits);
	return map_put(totals, rule, &total);
}

static int fold_all(const struct object *object, const struct port *port, int *totals,
		    const struct dfw_rule_hits *hits, const struct dfw_rule_total_key *rules,
		    uint32_t hits_count)
{
	bool remade = false;
	uint32_t i = 0;

	while (i < hits_count) {
		int r = hits[i].packets || hits[i].flows ? fold_rule(*totals, &rules[i], &hits[i])
							 : 0;

		if (r == -E2BIG && !remade) {
			int new = remake_totals(object, port, *totals, rules, hits_count);

			if (new < 0)
				return new;
			close(*totals);
			*totals = new;
			remade = true;
			continue;
		}
		if (r < 0)
			return r;
		i++;
	}
	return 0;
}

/* Each CPU has its part of the map. *sums is malloc'd. */
static int sum_cpus(int hits, uint32_t hits_count, struct dfw_rule_hits **sums)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ struct dfw_rule_hits *read = NULL;
	int r = cpus < 0 ? cpus
			 : map_read_array(hits, (uint32_t)cpus * hits_count, sizeof(*read),
					  (void **)&read);

	if (r < 0)
		return r;
	for (size_t i = hits_count; i < (size_t)cpus * hits_count; i++)
		add(&read[i % hits_count], &read[i]);
	*sums = TAKE_PTR(read);
	return 0;
}

int hits_fold(const struct object *object, const struct port *port, int former_hits,
	      const struct dfw_rule_total_key *rules, uint32_t hits_count)
{
	_cleanup_close_ int totals = port_open_map(object, port, "rule_totals");
	_cleanup_free_ struct dfw_rule_hits *sums = NULL;
	int r;

	if (hits_count == 0)
		return 0;
	r = totals < 0 ? totals : sum_cpus(former_hits, hits_count, &sums);
	if (r == 0)
		r = fold_all(object, port, &totals, sums, rules, hits_count);
	return r < 0 ? log_errno(r, "vport %s: the hits of its former rules are lost",
				 port->spec->name)
		     : 0;
}
