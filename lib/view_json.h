/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_VIEW_JSON_H
#define DFW_VIEW_JSON_H

/* Flows and rules as `dfwctl -j` prints them, and as hosts tell each other of them. The fields are in dfwctl(8). */

#include <jansson.h>

#include "view.h"

/* A flow as people think of it: from who began it to the other end. */
struct flow_ends {
	const struct dfw_addr *source;
	const struct dfw_addr *destination;
	uint16_t source_port;
	uint16_t destination_port;
	bool icmp; /* the ports are an identifier and a type */
};

struct flow_ends flow_ends(const struct view_flow *flow);
/* Type of the request of an ICMP flow. */
unsigned int flow_icmp_type(const struct dfw_flow_key *key);

/* NULL: no memory. */
json_t *flow_to_json(const struct view_flow *flow, const char *vport, const char *rule);

/* Milliseconds since the last packet that the rule decided, -1: never. `now_ns` is of CLOCK_MONOTONIC. */
int64_t rule_last_hit_ms(const struct view_rule *rule, uint64_t now_ns);
/* `text` is the rule in the language, or NULL. */
json_t *rule_to_json(enum dfw_direction direction, size_t slot, const struct view_rule *rule,
		     const char *text, uint64_t now_ns);

#endif
