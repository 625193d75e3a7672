/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_MAPS_H
#define DFW_BPF_MAPS_H

#include <dfw/change.h>
#include <dfw/event.h>
#include <dfw/exchange.h>
#include <dfw/flow.h>
#include <dfw/grave.h>
#include <dfw/maps.h>
#include <dfw/path.h>
#include <dfw/port.h>
#include <dfw/reason.h>
#include <dfw/ruleset.h>

/* The maps of an instance; <dfw/maps.h> says where they are pinned. The inner maps declared here are templates: dfwd
 * makes one for each port, rule set or set of tables, with the same type, key, value and flags. */

#define DFW_INNER_ARRAY(name, value_type, entries, flags) \
	struct name {                                     \
		__uint(type, BPF_MAP_TYPE_ARRAY);         \
		__uint(max_entries, entries);             \
		__uint(map_flags, flags);                 \
		__type(key, __u32);                       \
		__type(value, value_type);                \
	}

#define DFW_OUTER(name, inner, entries)                   \
	struct {                                          \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); \
		__uint(max_entries, entries);             \
		__type(key, __u32);                       \
		__array(values, inner);                   \
	} name SEC(".maps")

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dfw_layout);
} layout SEC(".maps");

/* dfwd changes it by one store. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct dfw_revision);
} active SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DFW_MAX_PORTS);
	__type(key, __u32);
	__type(value, __u32);
} port_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DFW_NEAR_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} near_slots SEC(".maps");

DFW_INNER_ARRAY(config_map, struct dfw_port_config, 1, 0);
DFW_INNER_ARRAY(state_map, struct dfw_port_state, 1, 0);
DFW_INNER_ARRAY(rules_map, struct dfw_rule_hits, 1, BPF_F_INNER_MAP);
DFW_INNER_ARRAY(rule_info_map, struct dfw_rule_info, 1, BPF_F_INNER_MAP);
/* dfwd maps what is large, to fill it: ten thousand rules have 100,000 chunks. */
DFW_INNER_ARRAY(row_ref_map, struct dfw_row_ref, 1, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
DFW_INNER_ARRAY(row_chunk_map, struct dfw_row_chunk, 1, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
DFW_INNER_ARRAY(l4_class_map, struct dfw_l4_block, DFW_L4_BLOCKS, BPF_F_MMAPABLE);
/* dfwd changes single entries of it, by plain stores. */
DFW_INNER_ARRAY(addr_prefix4_map, struct dfw_v4_node, 1, BPF_F_INNER_MAP | BPF_F_MMAPABLE);

/* Mappable, so that their values are pages. */
DFW_INNER_ARRAY(flow_table, struct dfw_flow_page, 1, BPF_F_INNER_MAP | BPF_F_MMAPABLE);

struct more_flows_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DFW_DEFAULT_MAX_FLOWS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct dfw_flow_key);
	__type(value, struct dfw_flow_entry);
};

struct fragment_map {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DFW_DEFAULT_MAX_FRAGMENTS);
	__type(key, struct dfw_fragment_key);
	__type(value, struct dfw_fragment);
};

struct counter_map {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DFW_DIRECTIONS);
	__type(key, __u32);
	__type(value, struct dfw_direction_counters);
};

struct addr_exact_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct dfw_addr);
	__type(value, __u32);
};

struct addr_prefix_map {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct dfw_prefix_key);
	__type(value, __u32);
};

/* clang leaves the types that only inner maps name as forward declarations; a global of each makes it write them out,
 * for libbpf and for bpftool's dumps. */
struct dfw_btf_types {
	struct dfw_port_config config;
	struct dfw_port_state state;
	struct dfw_rule_hits hits;
	struct dfw_rule_total_key rule_total_key;
	struct dfw_rule_info rule_info;
	struct dfw_row_ref row_ref;
	struct dfw_row_chunk row_chunk;
	struct dfw_l4_block l4_block;
	struct dfw_v4_node v4_node;
	struct dfw_flow_key flow_key;
	struct dfw_flow flow;
	struct dfw_flow_page flow_page;
	struct dfw_fragment_key fragment_key;
	struct dfw_fragment fragment;
	struct dfw_direction_counters counters;
	struct dfw_addr addr;
	struct dfw_prefix_key prefix_key;
	struct dfw_event event;
	struct dfw_sweep_request sweep_request;
	struct dfw_change change;
	struct dfw_exchange exchange;
	struct dfw_exchange_request exchange_request;
};
const struct dfw_btf_types *dfw_btf_types;

DFW_OUTER(configs, struct config_map, DFW_MAX_PORTS *DFW_BANKS);
DFW_OUTER(hits, struct rules_map, DFW_MAX_PORTS *DFW_BANKS);
DFW_OUTER(flows, struct flow_table, DFW_MAX_PORTS);
DFW_OUTER(more_flows, struct more_flows_map, DFW_MAX_PORTS);
DFW_OUTER(half_open, struct flow_table, DFW_MAX_PORTS);
DFW_OUTER(fragments, struct fragment_map, DFW_MAX_PORTS);
DFW_OUTER(counters, struct counter_map, DFW_MAX_PORTS);
DFW_OUTER(states, struct state_map, DFW_MAX_PORTS);

/* dfwd changes serials in use, by plain stores. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DFW_MAX_RULESETS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct dfw_ruleset);
} rulesets SEC(".maps");

DFW_OUTER(rule_infos, struct rule_info_map, DFW_MAX_RULESETS);
DFW_OUTER(row_refs, struct row_ref_map, DFW_MAX_RULESETS);
DFW_OUTER(row_chunks, struct row_chunk_map, DFW_MAX_RULESETS);
DFW_OUTER(addr_exact, struct addr_exact_map, DFW_MAX_TABLES);
DFW_OUTER(addr_prefix4, struct addr_prefix4_map, DFW_MAX_TABLES);
DFW_OUTER(addr_prefix, struct addr_prefix_map, DFW_MAX_TABLES);
DFW_OUTER(l4_classes, struct l4_class_map, DFW_MAX_TABLES);

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DFW_MAX_LIMITS);
	__type(key, struct dfw_limit_key);
	__type(value, struct dfw_limit);
} limits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DFW_MAX_LIMITS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct dfw_rule_flows_key);
	__type(value, __s64);
} rule_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, DFW_EVENTS_BYTES);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} event_losses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, DFW_CHANGES_BYTES);
} changes SEC(".maps");

/* The reader maps these two into its memory. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} change_losses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DFW_MAX_GRAVES);
	__type(key, struct dfw_grave_key);
	__type(value, struct dfw_grave);
} graves SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DFW_EXCHANGE_MAX);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct dfw_exchange);
} exchange SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct dfw_path_state);
} path_state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DFW_MAX_PATHS);
	__type(key, __u32);
	__type(value, struct dfw_path);
} paths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DFW_MAX_STATIONS);
	__type(key, struct dfw_station_key);
	__type(value, struct dfw_station);
} stations SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DFW_MAX_PORTS + DFW_MAX_UPLINKS);
	__type(key, __u32);
	__type(value, struct dfw_device);
} devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DFW_WAY_PLACES);
	__type(key, __u32);
	__type(value, struct dfw_way_counters);
} path_ways SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DFW_MAX_UPLINKS);
	__type(key, __u32);
	__type(value, struct dfw_uplink);
} uplink_list SEC(".maps");

/* Events that a flood of packets could cause are rationed on each CPU. */
struct event_ration {
	__u64 bucket_ns;
	__u32 suppressed;
	__u32 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event_ration);
} event_rations SEC(".maps");

/* Room for what is too large for the stack of 512 bytes. Programs of a CPU do not nest. */
#define SCRATCH_BYTES 512
struct scratch {
	__u8 bytes[SCRATCH_BYTES + 8];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

#endif
