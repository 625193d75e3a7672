// SPDX-License-Identifier: GPL-2.0
/*
 * Random policies, ports and packets: what the compiled tables say against a loop over the rules, written down straight
 * from the definition of the language and sharing nothing with policy/. The same once more after each of some random
 * changes: members of groups that come and go at run time, ports that come, go, and change their tags and addresses.
 * Usage: policy_random [SEED [POLICIES]]
 */
#include <inttypes.h>
#include <netinet/in.h>

#include "addr.h"
#include "check.h"
#include "policy_files.h"
#include "util.h"

/* Of policy/compile.h, whose names are not ours. */
uint32_t lookup_classes(const struct compiled *compiled, const struct compiled_ruleset *ruleset,
			const struct policy_packet *packet, uint32_t remote, uint32_t local);

/* ---- Random numbers ------------------------------------------------------------------------------------------ */

static uint64_t random_state;

static uint32_t below(uint32_t limit)
{
	/* xorshift64* (Vigna 2016) */
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 0x2545f4914f6cdd1dULL) >> 32) % limit;
}

static bool chance(uint32_t percent)
{
	return below(100) < percent;
}

/* ---- A policy, as the definition has it ---------------------------------------------------------------------- */

enum { MAX_GROUPS = 6, MAX_SERVICES = 5, MAX_TIERS = 3, MAX_RULES = 12, MAX_PORTS = 8 };
enum { MAX_MEMBERS = 12, MAX_ELEMENTS = 128, MAX_NODES = 16384 };

struct tag {
	enum { TAG_PRESENT, TAG_EQUALS, TAG_NOT, TAG_AND, TAG_OR } kind;
	int key;
	int value;
	struct tag *left;
	struct tag *right;
};

struct what {
	enum { ANY, ANY_VPORT, PREFIX, VPORT, TAG, GROUP } kind;
	bool negated;
	struct dfw_addr address;
	uint32_t bits;
	const char *pattern;
	struct tag *tag;
	int group;
};

struct whats {
	struct what list[4];
	int nr;
};

struct item {
	enum { ITEM_ANY, PORTS, ICMP, PROTOCOL, SERVICE } kind;
	int protocol;
	bool all; /* ports or types */
	int low, high;
	bool all_sources;
	int source_low, source_high;
	bool any_code;
	int type, code;
	int service;
};

struct items {
	struct item list[3];
	int nr;
};

struct rule {
	int action;    /* enum dfw_action */
	int direction; /* -1: both */
	struct whats from, to, applied;
	struct items services;
};

static struct {
	struct whats groups[MAX_GROUPS];
	int nr_groups;
	struct {
		int group;
		struct what prefix;
	} members[MAX_MEMBERS]; /* at run time */
	int nr_members;
	struct items services[MAX_SERVICES];
	int nr_services;
	struct rule rules[MAX_TIERS][MAX_RULES];
	int nr_rules[MAX_TIERS];
	int nr_tiers;
} model;

struct port {
	const char *name;
	struct policy_tag tags[2];
	int tag_values[2]; /* -1: the port has no such tag */
	struct dfw_addr addresses[3];
	int nr_addresses;
	bool here;
};

static struct port ports[MAX_PORTS];
static int nr_ports;

static const char *const port_names[MAX_PORTS] = {"web-1", "web-2", "db-1", "db-2",
						  "lb",	   "web-x", "a.b",  "d"};
static const char *const keys[] = {"app", "env"};
static const char *const values[] = {"web", "db", "test"};
static const char *const patterns[] = {"*",    "web-*", "db-?", "web-1", "*-1",
				       "none", "?",	"*b*",	"w*-?"};
static const char *const prefixes[] = {
	"0.0.0.0/0",
	"10.0.0.0/8",
	"10.0.0.0/16",
	"10.0.0.0/24",
	"10.0.0.4/30",
	"10.0.0.5",
	"10.0.0.6",
	"10.0.1.0/24",
	"10.128.0.0/9",
	"224.0.0.0/4",
	"::/0",
	"::/64",
	"::/80",
	"2001:db8::/32",
	"2001:db8::/64",
	"2001:db8::5",
	"2001:db8:0:1::/64",
	"ff00::/8",
	"128.0.0.0/1",
	"255.255.255.255",
};
static const char *const hosts[] = {
	"10.0.0.4",	   "10.0.0.5",	 "10.0.0.6",	"10.0.0.7",    "10.0.1.0",
	"10.0.1.255",	   "10.127.0.1", "10.128.0.0",	"224.0.0.1",   "1.2.3.4",
	"255.255.255.255", "0.0.0.0",	 "2001:db8::5", "2001:db8::6", "2001:db8:0:1::",
	"2001:db9::",	   "::",	 "::1",		"ff02::1",     "128.0.0.0",
	"127.255.255.255",
};

/* ---- Making one ---------------------------------------------------------------------------------------------- */

static struct tag tag_pool[4096];
static size_t nr_tags;

static struct tag *random_tag(int depth)
{
	struct tag *tag = &tag_pool[nr_tags++ % ARRAY_SIZE(tag_pool)];

	*tag = (struct tag){
		.kind = below(depth ? 5 : 2), .key = (int)below(2), .value = (int)below(3)};
	if (tag->kind >= TAG_NOT)
		tag->left = random_tag(depth - 1);
	if (tag->kind >= TAG_AND)
		tag->right = random_tag(depth - 1);
	return tag;
}

/* `groups` may be named: in a group only those defined before, so that there is no cycle. */
static struct what random_what(int groups, bool in_group, bool vports_only)
{
	struct what what = {0};

	do
		what.kind = below(6);
	while ((what.kind == GROUP && groups == 0) || (in_group && what.kind < PREFIX) ||
	       (vports_only && (what.kind == PREFIX || what.kind == GROUP)));
	if (what.kind == GROUP)
		what.group = (int)below((uint32_t)groups);
	if (what.kind == PREFIX)
		prefix_parse(prefixes[below(ARRAY_SIZE(prefixes))], &what.address, &what.bits);
	if (what.kind == VPORT)
		what.pattern = patterns[below(ARRAY_SIZE(patterns))];
	if (what.kind == TAG)
		what.tag = random_tag(2);
	what.negated = !in_group && what.kind >= PREFIX && chance(20);
	return what;
}

static struct whats random_whats(int groups, bool in_group, bool vports_only)
{
	struct whats whats = {.nr = 1 + (chance(40) ? (int)below(3) : 0)};

	for (int i = 0; i < whats.nr; i++)
		whats.list[i] = random_what(groups, in_group, vports_only);
	return whats;
}

static const int edges[] = {0, 1, 22, 53, 79, 80, 81, 443, 1023, 1024, 65534, 65535};

static int random_edge(void)
{
	return edges[below(ARRAY_SIZE(edges))];
}

static void random_range(int *low, int *high)
{
	*low = random_edge();
	*high = chance(50) ? *low : random_edge();
	if (*low > *high) {
		int swap = *low;

		*low = *high;
		*high = swap;
	}
}

static struct item random_item(int services)
{
	static const int with_ports[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
	static const int without[] = {IPPROTO_GRE, IPPROTO_ESP, 200, 136};
	struct item item = {0};
	uint32_t dice = below(100);

	item.kind = dice < 5	? ITEM_ANY
		    : dice < 60 ? PORTS
		    : dice < 75 ? ICMP
		    : dice < 85 ? PROTOCOL
				: SERVICE;
	if (item.kind == SERVICE && services == 0)
		item.kind = PORTS;
	item.all = chance(20);
	item.all_sources = chance(88);
	random_range(&item.low, &item.high);
	random_range(&item.source_low, &item.source_high);
	item.type = (int)below(3) * 8;
	item.code = (int)below(3);
	item.any_code = chance(50);
	if (item.kind == PORTS)
		item.protocol = with_ports[below(chance(80) ? 2 : 3)];
	if (item.kind == ICMP)
		item.protocol = chance(50) ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	if (item.kind == PROTOCOL)
		item.protocol = without[below(4)];
	if (item.kind == SERVICE)
		item.service = (int)below((uint32_t)services);
	return item;
}

static struct items random_items(int services)
{
	struct items items = {.nr = 1 + (chance(40) ? (int)below(3) : 0)};

	for (int i = 0; i < items.nr; i++)
		items.list[i] = random_item(services);
	return items;
}

static struct rule random_rule(void)
{
	struct rule rule = {.direction = chance(40) ? -1 : (int)below(2)};

	rule.action = chance(20) ? DFW_ACTION_PASS : DFW_ACTION_ALLOW + (int)below(3);
	if (chance(70))
		rule.from = random_whats(model.nr_groups, false, false);
	if (chance(70))
		rule.to = random_whats(model.nr_groups, false, false);
	if (chance(25))
		rule.applied = random_whats(0, false, true);
	if (chance(60))
		rule.services = random_items(model.nr_services);
	return rule;
}

static void random_model(void)
{
	memset(&model, 0, sizeof(model));
	nr_tags = 0;
	for (int nr = (int)below(MAX_GROUPS + 1); model.nr_groups < nr; model.nr_groups++)
		model.groups[model.nr_groups] = random_whats(model.nr_groups, true, false);
	for (int nr = (int)below(MAX_SERVICES + 1); model.nr_services < nr; model.nr_services++)
		model.services[model.nr_services] = random_items(model.nr_services);
	model.nr_tiers = 1 + (int)below(MAX_TIERS);
	for (int tier = 0; tier < model.nr_tiers; tier++) {
		model.nr_rules[tier] = (int)below(MAX_RULES + 1);
		for (int i = 0; i < model.nr_rules[tier]; i++)
			model.rules[tier][i] = random_rule();
	}
}

static bool host_taken(const struct dfw_addr *addr)
{
	for (int i = 0; i < nr_ports; i++)
		for (int j = 0; j < ports[i].nr_addresses; j++)
			if (memcmp(&ports[i].addresses[j], addr, sizeof(*addr)) == 0)
				return true;
	return false;
}

static void random_tags(struct port *port)
{
	for (int key = 0; key < 2; key++)
		port->tag_values[key] = chance(60) ? (int)below(3) : -1;
}

static void random_addresses(struct port *port)
{
	port->nr_addresses = 0;
	for (uint32_t wanted = below(4); wanted > 0; wanted--) {
		struct dfw_addr addr;

		addr_parse(hosts[below(ARRAY_SIZE(hosts))], &addr);
		if (!host_taken(&addr))
			port->addresses[port->nr_addresses++] = addr;
	}
}

static void random_port(void)
{
	struct port *port = &ports[nr_ports];
	int name = 0;

	/* The first name that nobody has. */
	for (int i = 0; i < nr_ports; i++)
		if (strcmp(ports[i].name, port_names[name]) == 0) {
			name++;
			i = -1;
		}
	*port = (struct port){.name = port_names[name], .here = chance(70)};
	nr_ports++;
	random_tags(port);
	random_addresses(port);
}

static void random_ports(void)
{
	int nr = (int)below(MAX_PORTS + 1);

	for (nr_ports = 0; nr_ports < nr;)
		random_port();
}

/* ---- Writing it down ----------------------------------------------------------------------------------------- */

static void write_tag(FILE *out, const struct tag *tag)
{
	switch (tag->kind) {
	case TAG_PRESENT:
		fprintf(out, "%s", keys[tag->key]);
		break;
	case TAG_EQUALS:
		fprintf(out, "%s=%s", keys[tag->key], values[tag->value]);
		break;
	case TAG_NOT:
		fprintf(out, "not (");
		write_tag(out, tag->left);
		fprintf(out, ")");
		break;
	case TAG_AND:
	case TAG_OR:
		fprintf(out, "(");
		write_tag(out, tag->left);
		fprintf(out, tag->kind == TAG_AND ? ") and (" : ") or (");
		write_tag(out, tag->right);
		fprintf(out, ")");
		break;
	}
}

static void write_whats(FILE *out, const struct whats *whats)
{
	for (int i = 0; i < whats->nr; i++) {
		const struct what *what = &whats->list[i];
		char text[PREFIX_TEXT_LEN];

		fprintf(out, "%s%s", i ? ", " : "", what->negated ? "not " : "");
		switch (what->kind) {
		case ANY:
			fprintf(out, "any");
			break;
		case ANY_VPORT:
			fprintf(out, "any-vport");
			break;
		case PREFIX:
			fprintf(out, "%s", prefix_format(&what->address, what->bits, text));
			break;
		case VPORT:
			fprintf(out, "vport \"%s\"", what->pattern);
			break;
		case TAG:
			fprintf(out, "tag ");
			write_tag(out, what->tag);
			break;
		case GROUP:
			fprintf(out, "group g%d", what->group);
			break;
		}
	}
}

static void write_items(FILE *out, const struct items *items)
{
	for (int i = 0; i < items->nr; i++) {
		const struct item *item = &items->list[i];

		fprintf(out, "%s", i ? ", " : "");
		switch (item->kind) {
		case ITEM_ANY:
			fprintf(out, "any");
			break;
		case PORTS:
			fprintf(out, "%s",
				item->protocol == IPPROTO_TCP	? "tcp"
				: item->protocol == IPPROTO_UDP ? "udp"
								: "sctp");
			if (!item->all)
				fprintf(out, " %d-%d", item->low, item->high);
			if (!item->all_sources)
				fprintf(out, " from-port %d-%d", item->source_low,
					item->source_high);
			break;
		case ICMP:
			fprintf(out, "%s", item->protocol == IPPROTO_ICMP ? "icmp" : "icmp6");
			if (!item->all)
				fprintf(out, " %d", item->type);
			if (!item->all && !item->any_code)
				fprintf(out, "/%d", item->code);
			break;
		case PROTOCOL:
			fprintf(out, "protocol %d", item->protocol);
			break;
		case SERVICE:
			fprintf(out, "s%d", item->service);
			break;
		}
	}
}

static void write_model(FILE *out)
{
	static const char *const actions[] = {"", "allow", "drop", "reject", "pass"};

	for (int tier = 0; tier < model.nr_tiers; tier++) {
		fprintf(out, "tier t%d {\n", tier);
		for (int i = 0; i < model.nr_rules[tier]; i++) {
			const struct rule *rule = &model.rules[tier][i];

			fprintf(out, "\tr%d: %s%s", i, actions[rule->action],
				rule->direction < 0	    ? ""
				: rule->direction == DFW_IN ? " in"
							    : " out");
			fprintf(out, rule->from.nr ? " from " : "");
			write_whats(out, &rule->from);
			fprintf(out, rule->to.nr ? " to " : "");
			write_whats(out, &rule->to);
			fprintf(out, rule->services.nr ? " service " : "");
			write_items(out, &rule->services);
			fprintf(out, rule->applied.nr ? " applied-to " : "");
			write_whats(out, &rule->applied);
			fprintf(out, "\n");
		}
		fprintf(out, "}\n");
	}
	/* Behind their use, since the order of definitions is free. */
	for (int i = 0; i < model.nr_groups; i++) {
		fprintf(out, "group g%d { ", i);
		write_whats(out, &model.groups[i]);
		fprintf(out, " }\n");
	}
	for (int i = 0; i < model.nr_services; i++) {
		fprintf(out, "service s%d { ", i);
		write_items(out, &model.services[i]);
		fprintf(out, " }\n");
	}
}

/* ---- The definition ------------------------------------------------------------------------------------------ */

static bool is_v4(const struct dfw_addr *addr)
{
	return addr_is_v4(addr);
}

static bool addr_equal(const struct dfw_addr *a, const struct dfw_addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static bool in_prefix(const struct what *what, const struct dfw_addr *addr)
{
	struct dfw_addr masked = *addr;
	bool v4 = is_v4(&what->address) && what->bits >= DFW_V4_PREFIX_BITS;

	addr_mask(&masked, what->bits);
	return v4 == is_v4(addr) && addr_equal(&masked, &what->address);
}

static bool glob(const char *pattern, const char *name)
{
	if (*pattern == '*')
		return glob(pattern + 1, name) || (*name && glob(pattern, name + 1));
	if (!*pattern || !*name)
		return *pattern == *name;
	return (*pattern == '?' || *pattern == *name) && glob(pattern + 1, name + 1);
}

static bool tag_holds(const struct tag *tag, const struct port *port)
{
	switch (tag->kind) {
	case TAG_PRESENT:
		return port->tag_values[tag->key] >= 0;
	case TAG_EQUALS:
		return port->tag_values[tag->key] == tag->value;
	case TAG_NOT:
		return !tag_holds(tag->left, port);
	case TAG_AND:
		return tag_holds(tag->left, port) && tag_holds(tag->right, port);
	case TAG_OR:
		return tag_holds(tag->left, port) || tag_holds(tag->right, port);
	}
	return false;
}

static bool means_port(const struct what *what, const struct port *port)
{
	switch (what->kind) {
	case ANY:
	case ANY_VPORT:
		return true;
	case PREFIX:
		return false;
	case VPORT:
		return glob(what->pattern, port->name);
	case TAG:
		return tag_holds(what->tag, port);
	case GROUP:
		for (int i = 0; i < model.groups[what->group].nr; i++)
			if (means_port(&model.groups[what->group].list[i], port))
				return true;
	}
	return false;
}

/* By its addresses and prefixes, not by its ports. */
static bool names_address(const struct what *what, const struct dfw_addr *addr)
{
	if (what->kind == PREFIX)
		return in_prefix(what, addr);
	for (int i = 0; what->kind == GROUP && i < model.groups[what->group].nr; i++)
		if (names_address(&model.groups[what->group].list[i], addr))
			return true;
	for (int i = 0; what->kind == GROUP && i < model.nr_members; i++)
		if (model.members[i].group == what->group &&
		    in_prefix(&model.members[i].prefix, addr))
			return true;
	return false;
}

static bool owns(const struct port *port, const struct dfw_addr *addr)
{
	for (int i = 0; i < port->nr_addresses; i++)
		if (addr_equal(&port->addresses[i], addr))
			return true;
	return false;
}

static bool means_remote(const struct what *what, const struct dfw_addr *addr)
{
	if (what->kind == ANY || names_address(what, addr))
		return true;
	for (int i = 0; i < nr_ports; i++)
		if (means_port(what, &ports[i]) && owns(&ports[i], addr))
			return true;
	return false;
}

static bool means_local(const struct what *what, const struct port *port,
			const struct dfw_addr *addr)
{
	bool own = owns(port, addr) || port->nr_addresses == 0;

	return (own && means_port(what, port)) || names_address(what, addr);
}

/* `what` is NULL for a list that says nothing, or only what not. */
static bool side_matches(const struct whats *whats, const struct port *port,
			 const struct dfw_addr *addr, bool local)
{
	static const struct what any = {.kind = ANY};
	bool positive = false, matches = false;

	for (int i = 0; i < whats->nr; i++) {
		const struct what *what = &whats->list[i];
		bool means = local ? means_local(what, port, addr) : means_remote(what, addr);

		if (what->negated && means)
			return false;
		positive |= !what->negated;
		matches |= !what->negated && means;
	}
	if (positive)
		return matches;
	return local ? means_local(&any, port, addr) : true;
}

static bool applies(const struct whats *whats, const struct port *port)
{
	bool positive = false, applied = false;

	for (int i = 0; i < whats->nr; i++) {
		const struct what *what = &whats->list[i];

		if (what->negated && means_port(what, port))
			return false;
		positive |= !what->negated;
		applied |= !what->negated && means_port(what, port);
	}
	return applied || !positive;
}

static bool items_match(const struct items *items, const struct policy_packet *packet);

static bool item_matches(const struct item *item, const struct policy_packet *packet)
{
	if (item->kind == ITEM_ANY)
		return true;
	if (item->kind == SERVICE)
		return items_match(&model.services[item->service], packet);
	if (item->protocol != packet->protocol)
		return false;
	if (item->kind == PORTS)
		return (item->all || (packet->destination_port >= item->low &&
				      packet->destination_port <= item->high)) &&
		       (item->all_sources || (packet->source_port >= item->source_low &&
					      packet->source_port <= item->source_high));
	if (item->kind == ICMP)
		return item->all || (packet->icmp_type == item->type &&
				     (item->any_code || packet->icmp_code == item->code));
	return true;
}

static bool items_match(const struct items *items, const struct policy_packet *packet)
{
	for (int i = 0; i < items->nr; i++)
		if (item_matches(&items->list[i], packet))
			return true;
	return items->nr == 0;
}

static bool rule_matches(const struct rule *rule, const struct port *port,
			 enum dfw_direction direction, const struct policy_packet *packet)
{
	const struct whats *remote = direction == DFW_IN ? &rule->from : &rule->to;
	const struct whats *local = direction == DFW_IN ? &rule->to : &rule->from;

	return (rule->direction < 0 || rule->direction == (int)direction) &&
	       applies(&rule->applied, port) &&
	       side_matches(remote, port, &packet->remote, false) &&
	       side_matches(local, port, &packet->local, true) &&
	       items_match(&rule->services, packet);
}

/* The name of the rule that decides. */
static void decide(const struct port *port, enum dfw_direction direction,
		   const struct policy_packet *packet, char *name, size_t room)
{
	for (int tier = 0; tier < model.nr_tiers; tier++) {
		for (int i = 0; i < model.nr_rules[tier]; i++) {
			const struct rule *rule = &model.rules[tier][i];

			if (!rule_matches(rule, port, direction, packet))
				continue;
			if (rule->action == DFW_ACTION_PASS)
				break;
			snprintf(name, room, "t%d/r%d", tier, i);
			return;
		}
	}
	snprintf(name, room, "default %s", direction == DFW_IN ? "in" : "out");
}

/* ---- Comparing ----------------------------------------------------------------------------------------------- */

static uint16_t random_port_number(void)
{
	return (uint16_t)(chance(80) ? (uint32_t)random_edge() : below(65536));
}

static struct policy_packet random_packet(const struct port *port)
{
	static const uint8_t protocols[] = {
		IPPROTO_TCP,	IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP,
		IPPROTO_ICMPV6, IPPROTO_GRE, IPPROTO_ESP, 200,	       136,	     255};
	struct policy_packet packet = {
		.protocol = protocols[below(ARRAY_SIZE(protocols))],
		.source_port = random_port_number(),
		.destination_port = random_port_number(),
		.icmp_type = (uint8_t)(chance(80) ? below(3) * 8 : below(256)),
		.icmp_code = (uint8_t)(chance(80) ? below(3) : below(256)),
	};

	addr_parse(hosts[below(ARRAY_SIZE(hosts))], &packet.remote);
	addr_parse(hosts[below(ARRAY_SIZE(hosts))], &packet.local);
	if (port->nr_addresses && chance(60))
		packet.local = port->addresses[below((uint32_t)port->nr_addresses)];
	packet.local_is_own = owns(port, &packet.local);
	return packet;
}

static void print_failure(const char *text, const struct port *port, enum dfw_direction direction,
			  const struct policy_packet *packet, const char *is, const char *wanted)
{
	char local[ADDR_TEXT_LEN], remote[ADDR_TEXT_LEN];

	printf("%s", text);
	for (int i = 0; i < nr_ports; i++) {
		printf("# port %s:", ports[i].name);
		for (int key = 0; key < 2; key++)
			if (ports[i].tag_values[key] >= 0)
				printf(" %s=%s", keys[key], values[ports[i].tag_values[key]]);
		for (int j = 0; j < ports[i].nr_addresses; j++)
			printf(" %s", addr_format(&ports[i].addresses[j], local));
		printf("\n");
	}
	printf("# port %s %s local %s remote %s protocol %d port %d -> %d icmp %d/%d: %s, not %s\n",
	       port->name, direction == DFW_IN ? "in" : "out", addr_format(&packet->local, local),
	       addr_format(&packet->remote, remote), packet->protocol, packet->source_port,
	       packet->destination_port, packet->icmp_type, packet->icmp_code, is, wanted);
}

static bool compare(const char *text, const struct compiled *compiled, int nr_packets)
{
	for (size_t i = 0; i < compiled->nr_ports; i++) {
		const struct port *port = &ports[compiled->ports[i].port];

		for (int n = 0; n < nr_packets; n++) {
			enum dfw_direction direction = (enum dfw_direction)below(2);
			const struct policy_packet packet = random_packet(port);
			const struct compiled_ruleset *ruleset =
				&compiled->rulesets[compiled->ports[i].ruleset[direction]];
			uint32_t rule = compiled_lookup(compiled, ruleset, &packet);
			char wanted[32];

			decide(port, direction, &packet, wanted, sizeof(wanted));
			if (strcmp(ruleset->rules[rule].name, wanted) == 0)
				continue;
			print_failure(text, port, direction, &packet, ruleset->rules[rule].name,
				      wanted);
			return false;
		}
	}
	return true;
}

/* ---- Changing ------------------------------------------------------------------------------------------------ */

static struct policy_port list[MAX_PORTS];
static struct policy_member members[MAX_MEMBERS];

static void list_ports(void)
{
	memset(list, 0, sizeof(list));
	for (int i = 0; i < nr_ports; i++) {
		struct port *port = &ports[i];

		for (int key = 0; key < 2; key++)
			if (port->tag_values[key] >= 0)
				port->tags[list[i].nr_tags++] = (struct policy_tag){
					keys[key], values[port->tag_values[key]]};
		list[i].name = port->name;
		list[i].tags = port->tags;
		list[i].addresses = port->addresses;
		list[i].nr_addresses = (size_t)port->nr_addresses;
		list[i].here = port->here;
	}
}

static struct policy_member member_of(const struct policy *policy, int i)
{
	char name[8];

	snprintf(name, sizeof(name), "g%d", model.members[i].group);
	return (struct policy_member){policy_group(policy, name), model.members[i].prefix.address,
				      model.members[i].prefix.bits};
}

/* The elements, and the nodes of IPv4 prefixes, as the kernel would have them. */
struct elements {
	struct compiled_address items[MAX_ELEMENTS];
	size_t nr;
	size_t nr_nodes;
	struct dfw_v4_node nodes[MAX_NODES]; /* last, since few of them are used */
};

static void copy_elements(struct elements *to, const struct elements *from)
{
	memcpy(to, from,
	       offsetof(struct elements, nodes) + from->nr_nodes * sizeof(from->nodes[0]));
}

static void take_elements(struct elements *elements, const struct compiled *compiled)
{
	elements->nr = 0;
	for (size_t i = 0; i < compiled->nr_exact; i++)
		elements->items[elements->nr++] = compiled->exact[i];
	for (size_t i = 0; i < compiled->nr_prefixes; i++)
		elements->items[elements->nr++] = compiled->prefixes[i];
	if (compiled->nr_v4_nodes > MAX_NODES)
		abort();
	elements->nr_nodes = compiled->nr_v4_nodes;
	memcpy(elements->nodes, compiled->v4_nodes,
	       compiled->nr_v4_nodes * sizeof(elements->nodes[0]));
}

/* Does one change; false when it does not fit what is there. */
static bool write_element(struct elements *elements, const struct address_change *change)
{
	size_t at = 0;

	while (at < elements->nr && (elements->items[at].prefix_bits != change->prefix_bits ||
				     !addr_equal(&elements->items[at].address, &change->address)))
		at++;
	if ((at < elements->nr) != change->was_listed ||
	    (change->was_listed && elements->items[at].class != change->former))
		return false;
	if (!change->listed) {
		elements->items[at] = elements->items[--elements->nr];
		return true;
	}
	if (at == MAX_ELEMENTS)
		abort();
	if (at == elements->nr)
		elements->nr++;
	elements->items[at] =
		(struct compiled_address){change->address, change->prefix_bits, change->class};
	return true;
}

static uint32_t node_class(const struct elements *elements, const struct dfw_addr *addr)
{
	uint32_t v4, at;

	memcpy(&v4, addr->bytes + 12, sizeof(v4));
	v4 = ntohl(v4);
	at = v4 >> 20;
	for (int shift = 16; shift >= 0; shift -= 4) {
		at = elements->nodes[at].entries[v4 >> shift & 15];
		if (!(at & DFW_V4_CHILD))
			break;
		at &= ~DFW_V4_CHILD;
	}
	return at;
}

/* By the kernel's steps: an element of the address itself, a node of IPv4, the longest prefix of IPv6. */
static uint32_t element_class(const struct elements *elements, const struct dfw_addr *addr)
{
	const struct compiled_address *best = NULL;

	for (size_t i = 0; i < elements->nr; i++) {
		struct dfw_addr masked = *addr;

		addr_mask(&masked, elements->items[i].prefix_bits);
		if (addr_equal(&masked, &elements->items[i].address) &&
		    (!best || best->prefix_bits < elements->items[i].prefix_bits))
			best = &elements->items[i];
	}
	if (is_v4(addr) && (!best || best->prefix_bits != DFW_ADDR_BITS))
		return node_class(elements, addr);
	return best ? best->class : 0;
}

enum { WATCHED = 24 };

/* Packets whose verdicts are watched while elements are written one after the other. */
struct watch {
	struct policy_packet packets[WATCHED];
	const struct compiled_ruleset *rulesets[WATCHED];
	uint32_t before[WATCHED];
	int nr;
};

static uint32_t verdict(const struct watch *watch, int i, const struct compiled *compiled,
			const struct elements *elements)
{
	return lookup_classes(compiled, watch->rulesets[i], &watch->packets[i],
			      element_class(elements, &watch->packets[i].remote),
			      element_class(elements, &watch->packets[i].local));
}

static void begin_watch(struct watch *watch, const struct compiled *compiled,
			const struct elements *elements)
{
	watch->nr = 0;
	for (int i = 0; i < WATCHED && compiled->nr_ports; i++) {
		size_t at = below((uint32_t)compiled->nr_ports);
		const struct port *port = &ports[compiled->ports[at].port];

		watch->packets[i] = random_packet(port);
		watch->rulesets[i] =
			&compiled->rulesets[compiled->ports[at].ruleset[below(DFW_DIRECTIONS)]];
		watch->before[i] = verdict(watch, i, compiled, elements);
		watch->nr++;
	}
}

/* Does the n-th of the changes, of nodes first. */
static bool write_nth(struct elements *elements, const struct compiled_changes *changes, size_t n)
{
	const struct v4_change *change = &changes->v4.items[n];
	uint32_t *entry;

	if (n >= changes->v4.nr)
		return write_element(elements, &changes->addresses.items[n - changes->v4.nr]);
	entry = &elements->nodes[change->node].entries[change->entry];
	if (*entry != change->former)
		return false;
	*entry = change->value;
	return true;
}

/* Writes the changes; each packet must see, at any moment, what held before or what holds behind. */
static bool write_changes(struct elements *elements, const struct compiled *compiled,
			  const struct compiled_changes *changes, const struct watch *watch)
{
	static struct elements former, after;
	size_t nr = changes->addresses.nr + changes->v4.nr;

	if (compiled->nr_v4_nodes > MAX_NODES)
		abort();
	/* What nobody sees yet. */
	if (changes->v4.nr)
		memcpy(&elements->nodes[changes->v4.first_new],
		       &compiled->v4_nodes[changes->v4.first_new],
		       (compiled->nr_v4_nodes - changes->v4.first_new) *
			       sizeof(elements->nodes[0]));
	elements->nr_nodes = compiled->nr_v4_nodes;
	copy_elements(&former, elements);
	for (size_t i = 0; i < nr; i++)
		if (!write_nth(elements, changes, i)) {
			printf("# change %zu does not fit\n", i);
			return false;
		}
	copy_elements(&after, elements);
	for (size_t i = 0; i < nr; i++) {
		write_nth(&former, changes, i);
		/* Of the thousands of 0.0.0.0/0 some are enough. */
		if (nr > 64 && i % (nr / 32))
			continue;
		for (int k = 0; k < watch->nr; k++) {
			uint32_t now = verdict(watch, k, compiled, &former);

			if (now == watch->before[k] || now == verdict(watch, k, compiled, &after))
				continue;
			printf("# between change %zu and the next a packet is decided by %" PRIu32
			       "\n",
			       i, now);
			return false;
		}
	}
	return true;
}

static bool elements_fit(const struct elements *elements, const struct compiled *compiled)
{
	for (size_t i = 0; i < compiled->nr_ports; i++) {
		const struct port *port = &ports[compiled->ports[i].port];

		for (int n = 0; n < 20; n++) {
			const struct policy_packet packet = random_packet(port);
			const struct compiled_ruleset *ruleset =
				&compiled->rulesets[compiled->ports[i].ruleset[DFW_IN]];

			if (lookup_classes(compiled, ruleset, &packet,
					   element_class(elements, &packet.remote),
					   element_class(elements, &packet.local)) !=
			    compiled_lookup(compiled, ruleset, &packet))
				return false;
		}
	}
	return true;
}

static int compile_anew(const struct policy *policy, struct compiled **compiled,
			struct elements *elements)
{
	struct policy_errors errors;
	int r;

	compiled_free(*compiled);
	list_ports();
	for (int i = 0; i < model.nr_members; i++)
		members[i] = member_of(policy, i);
	r = policy_compile_with(policy, list, (size_t)nr_ports, members, (size_t)model.nr_members,
				compiled, &errors);
	policy_errors_print(&errors, stdout);
	policy_errors_free(&errors);
	if (r == 0)
		take_elements(elements, *compiled);
	return r;
}

static size_t in_place, anew;

static int change_member(const struct policy *policy, struct compiled *compiled, bool in, int i,
			 struct compiled_changes *changes)
{
	const struct policy_member member = member_of(policy, i);
	int r = compiled_change_members(compiled, &member, 1, in, changes);

	if (!in)
		model.members[i] = model.members[--model.nr_members];
	return r;
}

/* A group has a member once. */
static bool is_member(int nr, int group, const struct what *prefix)
{
	for (int i = 0; i < nr; i++)
		if (model.members[i].group == group &&
		    model.members[i].prefix.bits == prefix->bits &&
		    addr_equal(&model.members[i].prefix.address, &prefix->address))
			return true;
	return false;
}

static int random_member_change(const struct policy *policy, struct compiled *compiled,
				struct compiled_changes *changes)
{
	int nr = model.nr_members, group;
	struct what prefix = {.kind = PREFIX};

	if (model.nr_groups == 0)
		return 0;
	if (nr && (nr == MAX_MEMBERS || chance(45)))
		return change_member(policy, compiled, false, (int)below((uint32_t)nr), changes);
	do {
		group = (int)below((uint32_t)model.nr_groups);
		prefix_parse(chance(50) ? prefixes[below(ARRAY_SIZE(prefixes))]
					: hosts[below(ARRAY_SIZE(hosts))],
			     &prefix.address, &prefix.bits);
	} while (is_member(nr, group, &prefix));
	model.members[model.nr_members].group = group;
	model.members[model.nr_members++].prefix = prefix;
	return change_member(policy, compiled, true, nr, changes);
}

static void random_port_change(void)
{
	int i = nr_ports ? (int)below((uint32_t)nr_ports) : 0;

	switch (below(5)) {
	case 0:
		if (nr_ports < MAX_PORTS)
			random_port();
		break;
	case 1:
		if (nr_ports)
			ports[i] = ports[--nr_ports];
		break;
	case 2:
		if (nr_ports)
			random_addresses(&ports[i]);
		break;
	default:
		if (nr_ports)
			random_tags(&ports[i]);
	}
}

static int change_ports(struct compiled *compiled, struct compiled_changes *changes)
{
	struct compiled_port *fit = NULL;
	size_t nr_fit;
	int r;

	list_ports();
	r = compiled_fit_ports(compiled, list, (size_t)nr_ports, &fit, &nr_fit);
	if (r == 0) {
		free(compiled->ports);
		compiled->ports = fit;
		compiled->nr_ports = nr_fit;
		r = compiled_change_ports(compiled, list, (size_t)nr_ports, changes);
	}
	return r;
}

static bool change_once(const char *text, const struct policy *policy, struct compiled **compiled,
			struct elements *elements)
{
	struct compiled_changes changes = {};
	struct watch watch;
	bool good;
	int r;

	begin_watch(&watch, *compiled, elements);
	if (chance(60)) {
		r = random_member_change(policy, *compiled, &changes);
	} else {
		random_port_change();
		r = change_ports(*compiled, &changes);
	}
	if (r == -ENOTSUP || r == -ENOSPC) {
		anew++;
		good = compile_anew(policy, compiled, elements) == 0;
	} else {
		in_place++;
		good = r == 0 && write_changes(elements, *compiled, &changes, &watch);
	}
	compiled_changes_free(&changes);
	if (good && r == 0 && chance(10)) {
		begin_watch(&watch, *compiled, elements);
		good = compiled_bury(*compiled, 2, &changes) == 0 &&
		       write_changes(elements, *compiled, &changes, &watch);
		compiled_changes_free(&changes);
	}
	return good && compare(text, *compiled, 30) && elements_fit(elements, *compiled);
}

static bool change(const char *text, const struct policy *policy, struct compiled **compiled)
{
	static struct elements elements;
	int nr = 0;

	take_elements(&elements, *compiled);
	while (nr < 12 && change_once(text, policy, compiled, &elements))
		nr++;
	if (nr < 12)
		printf("# after %d changes\n", nr + 1);
	return nr == 12;
}

/* ---- Running ------------------------------------------------------------------------------------------------- */

/* By turns the policy itself, or what is left of it after a way through its JSON or text form. */
static struct policy *reformed(struct policy *policy, uint64_t seed)
{
	struct policy *again;
	char *form = NULL;

	if (seed % 3 == 0)
		return policy;
	if ((seed % 3 == 1 ? policy_to_json(policy, &form) : policy_to_text(policy, &form)) < 0)
		abort();
	again = must_parse(form);
	free(form);
	policy_free(policy);
	return again;
}

/* 1: as the definition says, 0: not so, -1: no policy (a rule pairs ports in a way one rule cannot say). */
static int run(uint64_t seed)
{
	struct policy_errors errors;
	struct compiled *compiled = NULL;
	struct policy *policy;
	char *text = NULL;
	size_t bytes;
	FILE *out = open_memstream(&text, &bytes);
	int result;

	random_state = seed * 0x9e3779b97f4a7c15ULL + 1;
	random_model();
	random_ports();
	write_model(out);
	fclose(out);
	list_ports();

	result = parse_text(text, &policy, &errors);
	if (result < 0) {
		result = -1;
		for (size_t i = 0; i < errors.nr; i++)
			if (!strstr(errors.list[i].text, "pairs destination"))
				result = 0;
	} else {
		policy_errors_free(&errors);
		policy = reformed(policy, seed);
		result = policy &&
			 policy_compile(policy, list, (size_t)nr_ports, &compiled, &errors) == 0 &&
			 compare(text, compiled, 200) && change(text, policy, &compiled);
	}
	if (result == 0) {
		printf("# seed %" PRIu64 "\n", seed);
		policy_errors_print(&errors, stdout);
	}
	compiled_free(compiled);
	policy_free(policy);
	policy_errors_free(&errors);
	free(text);
	return result;
}

int main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint64_t nr = argc > 2 ? strtoull(argv[2], NULL, 0) : argc > 1 ? 1 : 1500;
	uint64_t refused = 0, wrong = 0;

	TEST("the first rule that matches by the definition is the one the tables find, and after "
	     "changes")
	{
		for (uint64_t seed = first; seed < first + nr && wrong < 3; seed++) {
			int result = run(seed);

			wrong += result == 0;
			refused += result < 0;
		}
		printf("# seeds %" PRIu64 " to %" PRIu64 ", %" PRIu64
		       " policies not expressible; %zu changes in place, %zu compiled anew\n",
		       first, first + nr - 1, refused, in_place, anew);
		CHECK(wrong == 0);
		CHECK(nr < 100 || refused < nr / 3);
		CHECK(nr < 100 || in_place > nr);
	}
	return check_done();
}
