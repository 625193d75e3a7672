// SPDX-License-Identifier: GPL-2.0
/* The flows of a port. */
#include <errno.h>
#include <string.h>

#include "addr.h"
#include "flow_table.h"
#include "util.h"
#include "view_pins.h"

struct flow_walk {
	const struct flow_filter *filter;
	const struct dfw_profile *profile;
	uint64_t now_ns;
	bool half_open;
	int (*each)(const struct view_flow *flow, void *data);
	void *data;
};

static bool in_prefix(const struct dfw_addr *addr, const struct flow_filter *filter)
{
	struct dfw_addr masked = *addr;

	/* IPv4 is held v4-mapped: a short prefix of IPv6, as ::/0 is one, would hold it all. */
	if (addr_is_v4(addr) && filter->prefix_bits < DFW_V4_PREFIX_BITS)
		return false;
	addr_mask(&masked, filter->prefix_bits);
	return memcmp(&masked, &filter->address, sizeof(masked)) == 0;
}

/* Where a key's ports are ports: an ICMP identifier of 22 is not SSH. */
static bool protocol_has_ports(uint8_t protocol)
{
	static const uint8_t with_ports[] = {6, 17, 33, 132, 136}; /* TCP UDP DCCP SCTP UDP-Lite */

	return memchr(with_ports, protocol, sizeof(with_ports));
}

static bool flow_matches(const struct dfw_flow_key *key, const struct flow_filter *filter)
{
	if (filter->protocol && filter->protocol != key->protocol)
		return false;
	if (filter->port && (!protocol_has_ports(key->protocol) ||
			     (filter->port != key->local_port && filter->port != key->remote_port)))
		return false;
	return !filter->has_address || in_prefix(&key->local, filter) ||
	       in_prefix(&key->remote, filter);
}

static int64_t milliseconds(uint64_t later, uint64_t earlier)
{
	return ((int64_t)later - (int64_t)earlier) / 1000000;
}

/* How long ago, never below 0: another CPU may have written after we read the clock. */
static int64_t ago_ms(uint64_t now, uint64_t then)
{
	return then < now ? milliseconds(now, then) : 0;
}

static int visit(const struct dfw_flow_entry *entry, void *data)
{
	const struct flow_walk *walk = data;
	struct view_flow flow = {
		.half_open = walk->half_open, .key = entry->key, .flow = entry->flow};
	uint64_t expires_ns;

	if (flow.flow.state == DFW_FLOW_DEAD || flow.flow.state >= DFW_FLOW_STATES)
		return 0;
	if (walk->filter && !flow_matches(&flow.key, walk->filter))
		return 0;
	expires_ns = flow.flow.last_seen_ns + walk->profile->timeouts_ns[flow.flow.state];
	/* Expired ones lie there until the next sweep and never match a packet again. */
	if (expires_ns <= walk->now_ns)
		return 0;
	flow.age_ms =
		10 * (int64_t)((uint32_t)(walk->now_ns / DFW_NS_PER_CS) - flow.flow.created_cs);
	flow.idle_ms = ago_ms(walk->now_ns, flow.flow.last_seen_ns);
	flow.expires_ms = milliseconds(expires_ns, walk->now_ns);
	return walk->each(&flow, walk->data);
}

static int walk_part(const char *instance, const char *vport, const char *part, size_t value_size,
		     struct flow_walk *walk)
{
	_cleanup_close_ int fd = vport_map_open(instance, vport, part, value_size);

	return fd < 0 ? fd : flow_table_each(fd, visit, walk);
}

int view_flows(const char *instance, const char *vport, const struct flow_filter *filter,
	       int (*each)(const struct view_flow *flow, void *data), void *data)
{
	struct dfw_port_config config;
	uint32_t bank;
	struct flow_walk walk = {
		.filter = filter,
		.profile = &config.profile,
		.each = each,
		.data = data,
	};
	int r = vport_config(instance, vport, &config, &bank);

	if (r < 0)
		return r;
	walk.now_ns = monotonic_ns();
	r = walk_part(instance, vport, "flows", sizeof(struct dfw_flow_page), &walk);
	if (r == 0)
		r = walk_part(instance, vport, "more_flows", sizeof(struct dfw_flow_entry), &walk);
	if (r)
		return r;
	walk.half_open = true;
	return walk_part(instance, vport, "half_open", sizeof(struct dfw_flow_page), &walk);
}
