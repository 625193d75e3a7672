/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_VIEW_H
#define DFW_VIEW_H

/*
 * The firewall as the kernel has it, read from the pinned maps and nothing else: works with every daemon dead.
 * Functions return 0 or a negative errno; -ENOENT: there is no such instance, port, ...; -EPERM: not allowed to look;
 * -ESTALE: the pins are of another layout version.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dfw/flow.h>
#include <dfw/maps.h>
#include <dfw/path.h>
#include <dfw/port.h>
#include <dfw/reason.h>
#include <dfw/ruleset.h>

#define INSTANCE_NAME_LEN 32

/* Letters, digits, '_' and '-'; what a -i may say. */
bool instance_name_valid(const char *name);
/* See DFW_PORT_NAME_LEN. */
bool port_name_valid(const char *name);

/* "/sys/fs/bpf/dfw/INSTANCE/PART" (PART may be NULL). Returns `path`, which has room for PATH_MAX. */
const char *pin_path(const char *instance, const char *part, char *path);
/* "/sys/fs/bpf/dfw/INSTANCE/vports/VPORT/PART" */
const char *pin_vport_path(const char *instance, const char *vport, const char *part, char *path);

struct view_vport {
	struct dfw_port_config config;
	struct dfw_port_state state;
	bool enforcing; /* both links are pinned */
};

/* Checks the layout and reads what is in force. */
int view_active(const char *instance, struct dfw_layout *layout, struct dfw_revision *revision);

/* Names of the ports, sorted; *names is malloc'd, free with names_free. */
int view_vports(const char *instance, char ***names, size_t *nr);
void names_free(char **names, size_t nr);
int view_vport(const char *instance, const char *name, struct view_vport *vport);

/* Sums over CPUs. */
int view_counters(const char *instance, const char *vport,
		  struct dfw_direction_counters counters[DFW_DIRECTIONS]);

/* Uplinks that dfwd knows, by their numbers; those that are none have no name. */
int view_uplinks(const char *instance, struct dfw_uplink uplinks[DFW_MAX_UPLINKS]);
/* A place of `path_ways`, summed over CPUs. */
int view_ways(const char *instance, uint32_t place, struct dfw_way_counters *counters);

struct view_rule {
	struct dfw_rule_info info;
	struct dfw_rule_hits hits; /* of now and of former generations */
};

/* The realised rules of one direction, in order, the default last; *rules is malloc'd. */
int view_rules(const char *instance, const char *vport, enum dfw_direction direction,
	       struct view_rule **rules, size_t *nr, struct dfw_ruleset *header);

/* A filter of flows; zeroed: every flow. */
struct flow_filter {
	uint8_t protocol; /* 0: any */
	bool has_address;
	struct dfw_addr address; /* of either end, */
	uint32_t prefix_bits;	 /* within this prefix, of 128; below 96: of IPv6 alone */
	uint16_t port;		 /* of either end, 0: any */
};

struct view_flow {
	struct dfw_flow_key key;
	struct dfw_flow flow;
	bool half_open; /* lies in the map of half-open flows */
	int64_t age_ms;
	int64_t idle_ms;
	int64_t expires_ms; /* below 0: expired, never matches again */
};

/* Calls `each` for the live flows that match, half-open ones too, until it returns other than 0; that is returned. */
int view_flows(const char *instance, const char *vport, const struct flow_filter *filter,
	       int (*each)(const struct view_flow *flow, void *data), void *data);

const char *direction_name(unsigned int direction);
const char *flow_state_name(uint8_t state);
const char *reason_name(uint8_t reason);
const char *action_name(uint8_t action);
/* "tcp", "icmp6", or the number. Returns `text`, which has room for 16. */
const char *protocol_name(uint8_t protocol, char *text);
/* Returns the number, or -EINVAL. */
int protocol_parse(const char *text);

#endif
