/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_GRAVE_H
#define DFW_BPF_GRAVE_H

#include "packet.h"

/* What was killed in ports of share groups, see <dfw/grave.h>. Other ports never come here. */

#define LIFE_MOST 0xffffffff

/* The stack is short where flows begin and end. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dfw_grave_key);
} grave_names SEC(".maps");

static __always_inline struct dfw_grave_key *grave_name(const struct dfw_port_config *config,
							const struct dfw_flow_key *key)
{
	__u32 zero = 0;
	struct dfw_grave_key *name = bpf_map_lookup_elem(&grave_names, &zero);

	if (!config || !key || !name)
		return NULL;
	__builtin_memcpy(name->port, config->uuid, sizeof(name->port));
	name->epoch = config->epoch;
	__builtin_memcpy(&name->flow, key, sizeof(name->flow));
	return name;
}

static __always_inline bool grave_is_old(const struct dfw_grave *grave, __u64 now_ns)
{
	return now_ns >= grave->dug_ns + DFW_GRAVE_SECONDS * 1000000000ULL;
}

/* Buries the flows of that key up to `life`. What is buried already keeps its time, however often it is told. */
DFW_STAGE int grave_dig(const struct dfw_port_config *config, const struct dfw_flow_key *key,
			__u32 life, __u64 now_ns)
{
	struct dfw_grave grave = {.dug_ns = now_ns, .life = life}, *there;
	struct dfw_grave_key *name = grave_name(config, key);

	if (!name)
		return 0;
	there = bpf_map_lookup_elem(&graves, name);
	if (there && there->life >= life && !grave_is_old(there, now_ns))
		return 0;
	return bpf_map_update_elem(&graves, name, &grave, BPF_ANY);
}

/* The life of a flow that begins with that key. */
DFW_STAGE int grave_next_life(const struct dfw_port_config *config, const struct dfw_flow_key *key)
{
	const struct dfw_grave_key *name = grave_name(config, key);
	const struct dfw_grave *grave = name ? bpf_map_lookup_elem(&graves, name) : NULL;

	return !grave ? 0 : grave->life == LIFE_MOST ? LIFE_MOST : grave->life + 1;
}

/* Is a flow of that key and life buried? */
DFW_STAGE int grave_holds(const struct dfw_port_config *config, const struct dfw_flow_key *key,
			  __u32 life, __u64 now_ns)
{
	const struct dfw_grave_key *name = grave_name(config, key);
	const struct dfw_grave *grave = name ? bpf_map_lookup_elem(&graves, name) : NULL;

	return grave && life <= grave->life && !grave_is_old(grave, now_ns);
}

#endif
