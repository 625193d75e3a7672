// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cluster_questions.h"
#include "daemon.h"
#include "drift.h"
#include "flows.h"
#include "json.h"
#include "log.h"
#include "ports.h"
#include "view_json.h"
#include "view_pins.h"

#define MOST_FLOWS 5000 /* in one answer; whoever looks for more narrows the filter */

/* ---- Rules of a vport ------------------------------------------------------------------------------------------- */

struct port_rules {
	struct view_rule *list[DFW_DIRECTIONS];
	size_t nr[DFW_DIRECTIONS];
};

static void port_rules_free(struct port_rules *rules)
{
	for (int direction = 0; direction < DFW_DIRECTIONS; direction++)
		free(rules->list[direction]);
}

static int port_rules_read(const struct dfwd *d, const char *vport, struct port_rules *rules)
{
	*rules = (struct port_rules){};
	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		struct dfw_ruleset header;
		int r = view_rules(d->instance, vport, direction, &rules->list[direction],
				   &rules->nr[direction], &header);

		if (r < 0)
			return r;
	}
	return 0;
}

/* "tier/name", or "#" and the id in hex when the rule is gone. */
static void name_rule(const struct port_rules *rules, uint32_t id, char *name, size_t room)
{
	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		for (size_t i = 0; i < rules->nr[direction]; i++) {
			const struct dfw_rule_info *info = &rules->list[direction][i].info;

			if (info->id != id)
				continue;
			snprintf(name, room, "%.*s", (int)sizeof(info->name), info->name);
			return;
		}
	}
	snprintf(name, room, "#%08x", id);
}

/* ---- flow-find, flow-kill --------------------------------------------------------------------------------------- */

struct search {
	struct port_rules rules;
	const char *vport;
	json_t *flows;
	bool more;
};

static int add_flow(const struct view_flow *flow, void *data)
{
	struct search *search = data;
	char rule[DFW_RULE_NAME_LEN + 1];
	json_t *json;

	if (json_array_size(search->flows) == MOST_FLOWS) {
		search->more = true;
		return 1;
	}
	name_rule(&search->rules, flow->flow.rule, rule, sizeof(rule));
	json = flow_to_json(flow, search->vport, rule);
	return json_array_append_new(search->flows, json) < 0 ? -ENOMEM : 0;
}

static int search_port(const struct dfwd *d, const struct port *port,
		       const struct flow_filter *filter, struct search *search)
{
	int r = port_rules_read(d, port->spec->name, &search->rules);

	search->vport = port->spec->name;
	if (r == 0)
		r = view_flows(d->instance, search->vport, filter, add_flow, search);
	port_rules_free(&search->rules);
	return r < 0 ? log_errno(r, "vport %s: cannot read its flows", search->vport) : 0;
}

int cluster_flow_find(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply)
{
	_cleanup_json_ json_t *flows = json_array();
	struct search search = {.flows = flows};
	struct flow_filter filter;
	int r = flows_read_filter(packet->json, &filter);

	for (size_t i = 0; i < d->nr_ports && r == 0 && !search.more; i++)
		r = search_port(d, d->ports[i], &filter, &search);
	if (r == 0)
		reply->text = json_pack("{s:O, s:b}", "flows", flows, "more", search.more);
	return r;
}

int cluster_flow_kill(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply)
{
	return flows_kill_matching(d, packet->json, &reply->text);
}

/* ---- rules ------------------------------------------------------------------------------------------------------ */

static json_t *rules_json(const struct dfwd *d, const struct port_rules *rules)
{
	json_t *list = json_array();

	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		for (size_t i = 0; i < rules->nr[direction]; i++) {
			const struct view_rule *rule = &rules->list[direction][i];
			_cleanup_free_ char *text = NULL;

			if (d->policy)
				policy_rule_text(d->policy, rule->info.id, &text);
			json_array_append_new(
				list, rule_to_json(direction, i, rule, text, monotonic_ns()));
		}
	}
	return list;
}

static int add_rules(const struct dfwd *d, const struct port *port, json_t *list)
{
	struct port_rules rules;
	int r = port_rules_read(d, port->spec->name, &rules);

	if (r == 0)
		json_array_append_new(list, json_pack("{s:s, s:o}", "vport", port->spec->name,
						      "rules", rules_json(d, &rules)));
	port_rules_free(&rules);
	return r < 0 ? log_errno(r, "vport %s: cannot read its rules", port->spec->name) : 0;
}

int cluster_rules(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply)
{
	const char *vport = json_text(packet->json, "vport");
	int r = 0;

	reply->text = json_array();
	for (size_t i = 0; i < d->nr_ports && r == 0; i++)
		if (!vport || strcmp(vport, d->ports[i]->spec->name) == 0)
			r = add_rules(d, d->ports[i], reply->text);
	return r;
}

/* ---- drift ------------------------------------------------------------------------------------------------------ */

int cluster_drift(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply)
{
	(void)packet;
	return drift_check(d, &reply->text);
}
