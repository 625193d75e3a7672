// SPDX-License-Identifier: GPL-2.0
#include <netinet/in.h>
#include <string.h>

#include "addr.h"
#include "util.h"
#include "view_json.h"

/* The rest of the key's remote_port says who asks; see struct dfw_flow_key. */
unsigned int flow_icmp_type(const struct dfw_flow_key *key)
{
	return key->remote_port & 0xff;
}

struct flow_ends flow_ends(const struct view_flow *flow)
{
	const struct dfw_flow_key *key = &flow->key;
	bool icmp = key->protocol == IPPROTO_ICMP || key->protocol == IPPROTO_ICMPV6;
	bool out = flow->flow.initiator == DFW_OUT;

	return (struct flow_ends){
		.source = out ? &key->local : &key->remote,
		.destination = out ? &key->remote : &key->local,
		.source_port = icmp  ? 0
			       : out ? key->local_port
				     : key->remote_port,
		.destination_port = icmp  ? 0
				    : out ? key->remote_port
					  : key->local_port,
		.icmp = icmp,
	};
}

json_t *flow_to_json(const struct view_flow *flow, const char *vport, const char *rule)
{
	const struct dfw_leg *orig = &flow->flow.legs[DFW_ORIG];
	const struct dfw_leg *reply = &flow->flow.legs[DFW_REPLY];
	struct flow_ends ends = flow_ends(flow);
	char source[ADDR_TEXT_LEN], destination[ADDR_TEXT_LEN], protocol[16];
	json_t *json = json_pack(
		"{s:s, s:s, s:s, s:s, s:i, s:s, s:i, s:s, s:s, s:I, s:{s:I, s:I}, s:{s:I, s:I}, "
		"s:I, s:I, s:I}",
		"vport", vport, "proto", protocol_name(flow->key.protocol, protocol), "initiator",
		direction_name(flow->flow.initiator), "src", addr_format(ends.source, source),
		"sport", ends.source_port, "dst", addr_format(ends.destination, destination),
		"dport", ends.destination_port, "state", flow_state_name(flow->flow.state), "rule",
		rule, "generation", (json_int_t)flow->flow.generation, "packets", "orig",
		(json_int_t)orig->packets, "reply", (json_int_t)reply->packets, "bytes", "orig",
		(json_int_t)orig->bytes, "reply", (json_int_t)reply->bytes, "age_ms",
		(json_int_t)flow->age_ms, "idle_ms", (json_int_t)flow->idle_ms, "expires_ms",
		(json_int_t)flow->expires_ms);

	if (ends.icmp) {
		json_object_set_new(json, "icmp_id", json_integer(flow->key.local_port));
		json_object_set_new(json, "icmp_type", json_integer(flow_icmp_type(&flow->key)));
	}
	if (flow->key.vlan)
		json_object_set_new(json, "vlan", json_integer(flow->key.vlan));
	return json;
}

static const char *on_change_name(uint8_t on_change)
{
	static const char *const names[] = {
		[DFW_ON_CHANGE_REVALIDATE] = "revalidate",
		[DFW_ON_CHANGE_KEEP] = "keep",
		[DFW_ON_CHANGE_KILL] = "kill",
	};

	return on_change < ARRAY_SIZE(names) ? names[on_change] : "unknown";
}

int64_t rule_last_hit_ms(const struct view_rule *rule, uint64_t now_ns)
{
	uint64_t then = rule->hits.last_hit_ns;

	if (!then)
		return -1;
	return then < now_ns ? (int64_t)((now_ns - then) / 1000000) : 0;
}

json_t *rule_to_json(enum dfw_direction direction, size_t slot, const struct view_rule *rule,
		     const char *text, uint64_t now_ns)
{
	const struct dfw_rule_info *info = &rule->info;
	int64_t last_hit = rule_last_hit_ms(rule, now_ns);

	return json_pack(
		"{s:s, s:I, s:I, s:s#, s:s, s:s?, s:I, s:I, s:I, s:o, s:s, s:b, s:b, s:b, s:I, "
		"s:I}",
		"direction", direction_name(direction), "slot", (json_int_t)slot, "id",
		(json_int_t)info->id, "name", info->name,
		(int)strnlen(info->name, sizeof(info->name)), "action", action_name(info->action),
		"text", text, "packets", (json_int_t)rule->hits.packets, "bytes",
		(json_int_t)rule->hits.bytes, "flows", (json_int_t)rule->hits.flows, "last_hit_ms",
		last_hit < 0 ? json_null() : json_integer(last_hit), "on_change",
		on_change_name(info->on_change), "log", !!(info->flags & DFW_RULE_LOG), "stateless",
		!!(info->flags & DFW_RULE_STATELESS), "default", !!(info->flags & DFW_RULE_DEFAULT),
		"max_flows", (json_int_t)info->max_flows, "new_per_second",
		(json_int_t)info->new_per_second);
}
