/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTESTS_HOST_DATAPATH_H
#define SELFTESTS_HOST_DATAPATH_H

/*
 * The whole datapath, compiled for this machine: included by one file of a test, with -DDFW_HOST.
 *
 *	host_begin();                                makes the maps
 *	host_port(slot, &port);                      a port, and its device: ifindex HOST_IFINDEX + slot
 *	host_policy(bank, policy, ports, nr);        compiles and loads, as loader/stage.c and loader/tables.c do
 *	host_flip(bank);                             brings it into force
 *	host_run(slot, direction, &skb);             a frame; the tc action
 */

#include "bpf/dfw_tc.bpf.c"

#include "flow_table.h"
#include "policy/policy.h"

#define HOST_IFINDEX 100
#define HOST_SLOTS   8

struct host_port {
	const char *name;
	struct dfw_port_mac macs[DFW_PORT_MACS];
	uint32_t nr_macs;
	struct dfw_addr addresses[DFW_PORT_ADDRESSES];
	uint32_t nr_addresses;
	uint16_t vlans[DFW_PORT_VLANS];
	uint32_t nr_vlans;
	const char *profile;
};

static inline void host_begin(void)
{
	HOST_MAP(layout);
	HOST_MAP(active);
	HOST_MAP(port_slots);
	HOST_MAP(near_slots);
	HOST_OUTER(configs);
	HOST_OUTER(hits);
	HOST_OUTER(flows);
	HOST_OUTER(more_flows);
	HOST_OUTER(half_open);
	HOST_OUTER(fragments);
	HOST_OUTER(counters);
	HOST_OUTER(states);
	HOST_MAP(rulesets);
	HOST_OUTER(rule_infos);
	HOST_OUTER(row_refs);
	HOST_OUTER(row_chunks);
	HOST_OUTER(addr_exact);
	HOST_OUTER(addr_prefix4);
	HOST_OUTER(addr_prefix);
	HOST_OUTER(l4_classes);
	HOST_MAP(limits);
	HOST_MAP(rule_flows);
	HOST_MAP(secrets);
	HOST_MAP(proven);
	HOST_RING(events);
	HOST_MAP(event_losses);
	HOST_MAP(listeners);
	host_map_update(&listeners, &(uint32_t){0}, &(uint32_t){1}, BPF_ANY);
	HOST_RING(changes);
	HOST_MAP(change_losses);
	HOST_MAP(graves);
	HOST_MAP(grave_names);
	HOST_MAP(exchange);
	HOST_MAP(exchange_copies);
	HOST_MAP(path_state);
	HOST_MAP(paths);
	HOST_MAP(stations);
	HOST_MAP(devices);
	HOST_MAP(path_ways);
	HOST_MAP(event_rations);
	HOST_MAP(scratches);
	HOST_MAP(packets);
	HOST_MAP(questions);
	HOST_MAP(decisions);
}

static inline void *host_inner(void *outer, uint32_t index)
{
	return host_map_lookup(outer, &index);
}

static inline void host_replace(void *outer, uint32_t index, struct host_map *inner)
{
	host_map_free(host_inner(outer, index));
	host_map_put_inner(outer, index, inner);
}

static inline void host_array(void *outer, uint32_t index, struct host_map *inner,
			      const void *values, size_t value_bytes, size_t nr)
{
	for (uint32_t i = 0; i < nr; i++)
		host_map_update(inner, &i, (const uint8_t *)values + i * value_bytes, BPF_ANY);
	host_replace(outer, index, inner);
}

#define HOST_BUCKETS 3

/* The maps that a port keeps whatever its policy; the sizes are those of its profile (0: the template's). */
static inline void host_port(uint32_t slot, uint32_t max_flows, uint32_t max_half_open,
			     uint32_t max_fragments)
{
	uint32_t ifindex = HOST_IFINDEX + slot;

	host_map_update(&port_slots, &ifindex, &slot, BPF_ANY);
	/* So small that flows lie elsewhere, too. */
	host_replace(&flows, slot, HOST_INNER(flow_table, HOST_BUCKETS));
	host_replace(&more_flows, slot, HOST_INNER(more_flows_map, max_flows));
	host_replace(&half_open, slot,
		     HOST_INNER(flow_table, flow_table_pages(max_half_open ? max_half_open : 700)));
	host_replace(&fragments, slot, HOST_INNER(fragment_map, max_fragments));
	host_replace(&counters, slot, HOST_INNER(counter_map, 0));
	host_replace(&states, slot, HOST_INNER(state_map, 0));
}

/* Tables of a bank are at the bank's index, its rule sets from bank * HOST_RULESETS on. */
#define HOST_RULESETS 64

static inline void host_load_tables(uint32_t bank, const struct compiled *compiled)
{
	struct host_map *exact = HOST_INNER(addr_exact_map, compiled->nr_exact);
	struct host_map *prefix = HOST_INNER(addr_prefix_map, compiled->nr_prefixes);

	for (size_t i = 0; i < compiled->nr_exact; i++)
		host_map_update(exact, &compiled->exact[i].address, &compiled->exact[i].class,
				BPF_ANY);
	for (size_t i = 0; i < compiled->nr_prefixes; i++) {
		struct dfw_prefix_key key = {.prefix_bits = compiled->prefixes[i].prefix_bits};

		memcpy(key.bytes, compiled->prefixes[i].address.bytes, sizeof(key.bytes));
		host_map_update(prefix, &key, &compiled->prefixes[i].class, BPF_ANY);
	}
	host_replace(&addr_exact, bank, exact);
	host_replace(&addr_prefix, bank, prefix);
	host_array(&addr_prefix4, bank, HOST_INNER(addr_prefix4_map, compiled->nr_v4_nodes),
		   compiled->v4_nodes, sizeof(*compiled->v4_nodes), compiled->nr_v4_nodes);
	host_array(&l4_classes, bank, HOST_INNER(l4_class_map, 0), compiled->l4,
		   sizeof(*compiled->l4), DFW_L4_BLOCKS);
}

static inline void host_load_ruleset(uint32_t bank, uint32_t index,
				     const struct compiled_ruleset *ruleset)
{
	struct dfw_ruleset header = ruleset->header;

	header.tables = bank;
	host_map_update(&rulesets, &index, &header, BPF_ANY);
	host_array(&rule_infos, index, HOST_INNER(rule_info_map, header.nr_rules + 1),
		   ruleset->rules, sizeof(*ruleset->rules), header.nr_rules + 1);
	host_array(&row_refs, index, HOST_INNER(row_ref_map, ruleset->nr_refs), ruleset->refs,
		   sizeof(*ruleset->refs), ruleset->nr_refs);
	host_array(&row_chunks, index, HOST_INNER(row_chunk_map, ruleset->nr_chunks),
		   ruleset->chunks, sizeof(*ruleset->chunks), ruleset->nr_chunks);
}

static inline void host_load_port(uint32_t bank, uint32_t slot, const struct host_port *port,
				  const struct compiled *compiled, const struct compiled_port *made)
{
	struct dfw_port_config config = {
		.slot = slot,
		.flags = DFW_PORT_READY,
		.nr_macs = port->nr_macs,
		.nr_addresses = port->nr_addresses,
		.nr_vlans = port->nr_vlans,
		.profile = made->profile,
	};

	memcpy(config.macs, port->macs, sizeof(config.macs));
	memcpy(config.addresses, port->addresses, sizeof(config.addresses));
	memcpy(config.vlans, port->vlans, sizeof(config.vlans));
	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		config.ruleset[direction] =
			bank * HOST_RULESETS + (uint32_t)made->ruleset[direction];
		config.hits_base[direction] = config.hits_count;
		config.hits_count +=
			compiled->rulesets[made->ruleset[direction]].header.nr_rules + 1;
	}
	host_array(&configs, slot * DFW_BANKS + bank, HOST_INNER(config_map, 0), &config,
		   sizeof(config), 1);
	host_replace(&hits, slot * DFW_BANKS + bank, HOST_INNER(rules_map, config.hits_count));
}

/* Gives another slot the configuration of a port, after host_policy. */
static inline void host_twin(uint32_t bank, uint32_t slot, uint32_t twin)
{
	uint32_t zero = 0;
	struct dfw_port_config config = *(struct dfw_port_config *)host_map_lookup(
		host_inner(&configs, slot * DFW_BANKS + bank), &zero);

	config.slot = twin;
	host_array(&configs, twin * DFW_BANKS + bank, HOST_INNER(config_map, 0), &config,
		   sizeof(config), 1);
	host_replace(&hits, twin * DFW_BANKS + bank, HOST_INNER(rules_map, config.hits_count));
}

/* Compiles a policy for the ports of slots 0 .. nr - 1 and loads it into the bank. The compiled form is the caller's;
 * NULL, with the errors on stderr, when it cannot be. */
static inline struct compiled *host_policy(uint32_t bank, const struct policy *policy,
					   const struct host_port *ports, size_t nr)
{
	struct policy_port wanted[HOST_SLOTS] = {};
	struct policy_errors errors = {};
	struct compiled *compiled = NULL;

	for (size_t i = 0; i < nr; i++)
		wanted[i] = (struct policy_port){
			.name = ports[i].name,
			.addresses = ports[i].addresses,
			.nr_addresses = ports[i].nr_addresses,
			.profile = ports[i].profile,
			.here = true,
		};
	if (policy_compile(policy, wanted, nr, &compiled, &errors) < 0 ||
	    compiled->nr_rulesets > HOST_RULESETS) {
		policy_errors_print(&errors, stderr);
		policy_errors_free(&errors);
		return NULL;
	}
	policy_errors_free(&errors);
	host_load_tables(bank, compiled);
	for (uint32_t i = 0; i < compiled->nr_rulesets; i++)
		host_load_ruleset(bank, bank * HOST_RULESETS + i, &compiled->rulesets[i]);
	for (uint32_t i = 0; i < compiled->nr_ports; i++)
		host_load_port(bank, (uint32_t)compiled->ports[i].port,
			       &ports[compiled->ports[i].port], compiled, &compiled->ports[i]);
	return compiled;
}

static inline void host_flip(uint32_t bank, uint32_t generation, uint16_t revision)
{
	const struct dfw_revision next = {
		.generation = generation, .revision = revision, .bank = (uint16_t)bank};
	uint32_t zero = 0;

	host_map_update(&active, &zero, &next, BPF_ANY);
}

/* The frame stays the caller's, to be dropped by host_skb_drop. */
static inline int host_run(uint32_t slot, enum dfw_direction direction, context_t *skb)
{
	int action;

	skb->ifindex = HOST_IFINDEX + slot;
	host_current = skb;
	action = direction == DFW_OUT ? dfw_out(skb) : dfw_in(skb);
	if (host_ring_held)
		abort();
	return action;
}

/* The same by the full path alone, never by the lane. */
static inline int host_run_fully(uint32_t slot, enum dfw_direction direction, context_t *skb)
{
	struct packet *p = packet_enter(PACKET_PLACE_TRAFFIC, direction, slot);

	skb->ifindex = HOST_IFINDEX + slot;
	host_current = skb;
	return handle_fully(skb, p, port_config(slot, p->bank), false);
}

/* The name of the first map in which two ports differ, or NULL. Those of a direction's hits belong to a bank. */
static inline const char *host_difference(uint32_t one, uint32_t other)
{
	const struct {
		const char *name;
		void *outer;
	} maps[] = {{"flows", &flows},	       {"more_flows", &more_flows},
		    {"half_open", &half_open}, {"fragments", &fragments},
		    {"counters", &counters},   {"states", &states}};

	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++)
		if (!host_map_equal(host_inner(maps[i].outer, one),
				    host_inner(maps[i].outer, other)))
			return maps[i].name;
	for (uint32_t bank = 0; bank < DFW_BANKS; bank++)
		if (!host_map_equal(host_inner(&hits, one * DFW_BANKS + bank),
				    host_inner(&hits, other * DFW_BANKS + bank)))
			return "hits";
	return NULL;
}

static inline int host_sweep(uint32_t slot, enum dfw_sweep_op op, const struct dfw_flow_key *key)
{
	struct dfw_sweep_request request = {.slot = slot, .op = op};
	context_t skb = {.bytes = (__u8 *)&request, .len = sizeof(request)};

	if (key)
		request.key = *key;
	host_current = &skb;
	return dfw_sweep(&skb);
}

struct host_flows {
	void (*each)(struct dfw_flow_entry *entry, void *data);
	void *data;
	size_t nr;
};

static long host_page_each(void *map, const void *key, void *value, void *data)
{
	struct dfw_flow_page *page = value;
	struct host_flows *walk = data;

	(void)map;
	(void)key;
	if (page->lock)
		abort();
	for (int b = 0; b < DFW_PAGE_BUCKETS; b++) {
		for (int i = 0; i < DFW_BUCKET_ENTRIES; i++)
			if (page->tags[b] >> (8 * i) & 0xff) {
				walk->nr++;
				if (walk->each)
					walk->each(&page->entries[b][i], walk->data);
			}
	}
	return 0;
}

static long host_more_each(void *map, const void *key, void *value, void *data)
{
	struct dfw_flow_entry *entry = value;
	struct host_flows *walk = data;

	(void)map;
	if (memcmp(key, &entry->key, sizeof(entry->key)) != 0)
		abort();
	walk->nr++;
	if (walk->each)
		walk->each(entry, walk->data);
	return 0;
}

/* Calls `each`, which may be NULL, for the port's confirmed flows, or its half-open ones. Returns how many there are. */
static inline size_t host_flows_each(uint32_t slot, bool half_opened,
				     void (*each)(struct dfw_flow_entry *entry, void *data),
				     void *data)
{
	struct host_flows walk = {each, data, 0};

	host_map_each(host_inner(half_opened ? (void *)&half_open : (void *)&flows, slot),
		      host_page_each, &walk);
	if (!half_opened)
		host_map_each(host_inner(&more_flows, slot), host_more_each, &walk);
	return walk.nr;
}

static inline struct dfw_flow_entry *host_flow(uint32_t slot, const struct dfw_flow_key *key,
					       bool half_opened)
{
	return flow_search(slot, key, flow_hash(key), half_opened);
}

static inline struct dfw_direction_counters *host_counters(uint32_t slot, uint32_t direction)
{
	return host_map_lookup(host_inner(&counters, slot), &direction);
}

/* Forgets every packet: flows, fragments, counters, limits, events. The policy stays. */
static inline void host_forget(uint32_t slot)
{
	host_map_clear(host_inner(&flows, slot));
	host_map_clear(host_inner(&more_flows, slot));
	host_map_clear(host_inner(&half_open, slot));
	host_map_clear(host_inner(&fragments, slot));
	host_map_clear(host_inner(&counters, slot));
	host_map_clear(host_inner(&states, slot));
	host_map_clear(&limits);
	host_map_clear(&event_rations);
	host_map_clear(&event_losses);
}

static const char *const host_reason_names[] __attribute__((unused)) = {
#define HOST_REASON_NAME(symbol, field, name, help) name,
	DFW_REASONS(HOST_REASON_NAME)
#undef HOST_REASON_NAME
};

#endif
