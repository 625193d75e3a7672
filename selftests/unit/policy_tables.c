// SPDX-License-Identifier: GPL-2.0
/* The compiled tables: what lies where, what is shared, what is refused, and that size does not hurt. */
#include <netinet/in.h>
#include <time.h>

#include "addr.h"
#include "check.h"
#include "policy_files.h"
#include "util.h"

static struct dfw_addr addr(const char *text)
{
	struct dfw_addr parsed;

	if (addr_parse(text, &parsed) < 0)
		abort();
	return parsed;
}

/* A policy compiled for some ports. */
struct world {
	struct policy *policy;
	struct compiled *compiled;
	struct policy_errors errors;
	int result;
};

static struct world world_make(const char *text, const struct policy_port *ports, size_t nr)
{
	struct world world = {.policy = must_parse(text)};

	if (!world.policy)
		abort();
	world.result = policy_compile(world.policy, ports, nr, &world.compiled, &world.errors);
	return world;
}

static void world_free(struct world *world)
{
	compiled_free(world->compiled);
	policy_free(world->policy);
	policy_errors_free(&world->errors);
}

#define _cleanup_world_ _cleanup_(world_free)

static const struct compiled_ruleset *ruleset(const struct world *world, size_t port,
					      enum dfw_direction direction)
{
	return &world->compiled->rulesets[world->compiled->ports[port].ruleset[direction]];
}

/* The name of the rule that decides about a TCP packet to port 80. */
static const char *decides(const struct world *world, size_t port, enum dfw_direction direction,
			   const char *remote, const char *local, bool own)
{
	const struct compiled_ruleset *rules = ruleset(world, port, direction);
	const struct policy_packet packet = {
		.local = addr(local),
		.remote = addr(remote),
		.local_is_own = own,
		.protocol = IPPROTO_TCP,
		.source_port = 1234,
		.destination_port = 80,
	};

	return rules->rules[compiled_lookup(world->compiled, rules, &packet)].name;
}

static void test_addresses(void)
{
	const struct dfw_addr own[] = {addr("10.0.0.1"), addr("2001:db8::1")};
	const struct dfw_addr there[] = {addr("10.9.9.9")};
	const struct policy_tag tags[] = {{"app", "web"}};
	const struct policy_port ports[] = {
		{.name = "a",
		 .addresses = own,
		 .nr_addresses = 2,
		 .tags = tags,
		 .nr_tags = 1,
		 .here = true},
		{.name = "bare", .here = true},
		{.name = "far", .addresses = there, .nr_addresses = 1, .tags = tags, .nr_tags = 1},
	};

	TEST("a rule that says nothing of the local side is for the port's own addresses")
	{
		_cleanup_world_ struct world world = world_make("r: allow", ports, 3);

		CHECK_TEXT(decides(&world, 0, DFW_IN, "1.2.3.4", "10.0.0.1", true), "default/r");
		CHECK_TEXT(decides(&world, 0, DFW_IN, "1.2.3.4", "224.0.0.1", false), "default in");
		CHECK_TEXT(decides(&world, 0, DFW_OUT, "1.2.3.4", "10.0.0.1", true), "default/r");
	}
	TEST("a rule that names a local address is for that address, whosever it is")
	{
		_cleanup_world_ struct world world =
			world_make("r: allow in to 224.0.0.0/8, 10.0.0.1", ports, 3);

		CHECK_TEXT(decides(&world, 0, DFW_IN, "1.2.3.4", "224.0.0.1", false), "default/r");
		CHECK_TEXT(decides(&world, 0, DFW_IN, "1.2.3.4", "10.0.0.1", true), "default/r");
		CHECK_TEXT(decides(&world, 0, DFW_IN, "1.2.3.4", "225.0.0.1", false), "default in");
	}
	TEST("of a port without addresses every local address counts as its own")
	{
		_cleanup_world_ struct world world =
			world_make("r: allow in to vport bare", ports, 3);

		CHECK_TEXT(decides(&world, 1, DFW_IN, "1.2.3.4", "8.8.8.8", false), "default/r");
		CHECK_TEXT(decides(&world, 0, DFW_IN, "1.2.3.4", "10.0.0.1", true), "default in");
		CHECK(ruleset(&world, 0, DFW_IN)->header.nr_rules == 0);
	}
	TEST("the addresses of a group's vports count as remote ones, of ports on other hosts too")
	{
		_cleanup_world_ struct world world =
			world_make("r: allow in from tag app=web", ports, 3);

		CHECK_TEXT(decides(&world, 0, DFW_IN, "10.9.9.9", "10.0.0.1", true), "default/r");
		CHECK_TEXT(decides(&world, 0, DFW_IN, "2001:db8::1", "10.0.0.1", true),
			   "default/r");
		CHECK_TEXT(decides(&world, 0, DFW_IN, "10.9.9.8", "10.0.0.1", true), "default in");
		CHECK(world.compiled->nr_ports == 2);
	}
	TEST("a rule from a tag that nobody has stays in the list, matches nothing, and waits")
	{
		_cleanup_world_ struct world world =
			world_make("r: allow in from tag app=none", ports, 3);

		CHECK(ruleset(&world, 0, DFW_IN)->header.nr_rules == 1);
		CHECK(ruleset(&world, 0, DFW_IN)->header.nr_classes[DFW_DIM_REMOTE] > 1);
		CHECK_TEXT(decides(&world, 0, DFW_IN, "10.9.9.9", "10.0.0.1", true), "default in");
	}
	TEST("0.0.0.0/0 is all of IPv4 and ::/0 all of IPv6")
	{
		_cleanup_world_ struct world four =
			world_make("r: allow in from 0.0.0.0/0", ports, 3);
		_cleanup_world_ struct world six = world_make("r: allow in from ::/0", ports, 3);

		CHECK_TEXT(decides(&four, 0, DFW_IN, "1.2.3.4", "10.0.0.1", true), "default/r");
		CHECK_TEXT(decides(&four, 0, DFW_IN, "::1", "10.0.0.1", true), "default in");
		CHECK_TEXT(decides(&six, 0, DFW_IN, "::1", "10.0.0.1", true), "default/r");
		CHECK_TEXT(decides(&six, 0, DFW_IN, "1.2.3.4", "10.0.0.1", true), "default in");
		CHECK(six.compiled->nr_prefixes == 1 && six.compiled->nr_prefixes4 == 0);
		CHECK(four.compiled->nr_prefixes == 0 && four.compiled->nr_prefixes4 == 1);
	}
	TEST("hosts are looked up as such, with what their prefixes are in")
	{
		_cleanup_world_ struct world world = world_make(
			"a: allow in from 10.0.0.5 service udp\nb: allow in from 10.0.0.0/24",
			ports, 3);

		CHECK(world.compiled->nr_exact == 1 && world.compiled->nr_prefixes4 == 1);
		CHECK(world.compiled->exact[0].prefix_bits == 128);
		CHECK_TEXT(decides(&world, 0, DFW_IN, "10.0.0.5", "10.0.0.1", true), "default/b");
	}
	TEST("a prefix that says no more than the one around it has an entry, so that that may go")
	{
		_cleanup_world_ struct world world = world_make(
			"group g { 10.0.0.0/8, 10.1.0.0/16, 10.1.1.1 }\nr: allow in from g", ports,
			3);

		CHECK(world.compiled->nr_exact == 1 && world.compiled->nr_prefixes4 == 2);
		CHECK(world.compiled->exact[0].class == world.compiled->prefixes4[0].class);
		CHECK_TEXT(decides(&world, 0, DFW_IN, "10.1.1.1", "10.0.0.1", true), "default/r");
	}
}

static void test_rules(void)
{
	const struct dfw_addr one[] = {addr("10.0.0.1")}, two[] = {addr("10.0.0.2")};
	const struct policy_port ports[] = {
		{.name = "a", .addresses = one, .nr_addresses = 1, .here = true},
		{.name = "b", .addresses = two, .nr_addresses = 1, .here = true},
	};

	TEST("ports with equal rules share them")
	{
		_cleanup_world_ struct world world =
			world_make("r: allow in to vport a, vport b\ns: drop out", ports, 2);

		CHECK(world.compiled->nr_rulesets == 2);
		CHECK(ruleset(&world, 0, DFW_IN) == ruleset(&world, 1, DFW_IN));
		CHECK(ruleset(&world, 0, DFW_OUT) == ruleset(&world, 1, DFW_OUT));
	}
	TEST("ports with other rules do not")
	{
		_cleanup_world_ struct world world = world_make(
			"r: allow in to vport a\ns: drop out applied-to vport b", ports, 2);

		CHECK(world.compiled->nr_rulesets == 4);
	}
	TEST("the hash tells equal rules from others")
	{
		_cleanup_world_ struct world a = world_make("r: allow in", ports, 2);
		_cleanup_world_ struct world b = world_make("r: allow in\n", ports, 2);
		_cleanup_world_ struct world c = world_make("r: allow in log", ports, 2);
		_cleanup_world_ struct world d = world_make("r: allow in service tcp 80", ports, 2);

		CHECK(memcmp(ruleset(&a, 0, DFW_IN)->header.hash,
			     ruleset(&b, 0, DFW_IN)->header.hash, 16) == 0);
		CHECK(memcmp(ruleset(&a, 0, DFW_IN)->header.hash,
			     ruleset(&c, 0, DFW_IN)->header.hash, 16) != 0);
		CHECK(memcmp(ruleset(&a, 0, DFW_IN)->header.hash,
			     ruleset(&d, 0, DFW_IN)->header.hash, 16) != 0);
	}
	TEST("the hash of the tables tells those of the same services from others")
	{
		static const char *const policies[] = {
			"r: allow in",
			"r: allow in service tcp 80",
			"r: allow in service tcp 81",
			"r: allow in service tcp 80-81",
			"r: allow in service tcp 80, tcp 82",
			"r: allow in service udp 80",
			"r: allow in service tcp from-port 80",
			"r: allow in service tcp 80-65535",
			"r: allow in service protocol 80",
			"r: allow in service icmp 0/80",
			/* Which values belong together, not how many there are, is what these two differ in. */
			"r: allow in service tcp 1, tcp 2\ns: allow in service tcp 3",
			"r: allow in service tcp 1, tcp 3\ns: allow in service tcp 2",
		};
		struct world worlds[ARRAY_SIZE(policies)];

		for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
			_cleanup_world_ struct world again = world_make(policies[i], ports, 2);

			worlds[i] = world_make(policies[i], ports, 2);
			CHECK(memcmp(worlds[i].compiled->hash, again.compiled->hash, 16) == 0);
			for (size_t j = 0; j < i; j++)
				CHECK(memcmp(worlds[i].compiled->hash, worlds[j].compiled->hash,
					     16) != 0);
		}
		for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
			world_free(&worlds[i]);
	}
	TEST("a rule's info says what the rule says")
	{
		_cleanup_world_ struct world world = world_make(
			"tier t { r: allow in limit 10/second per source max-flows 5 log\n"
			" s: drop in on-change kill }\n"
			"tier a-name-of-a-tier-as-long-as-names-may-be { "
			"and-a-name-of-a-rule-that-is-just-as-long-: allow stateless }\n"
			"default in reject log",
			ports, 2);
		const struct dfw_rule_info *rules = ruleset(&world, 0, DFW_IN)->rules;

		CHECK_TEXT(rules[0].name, "t/r");
		CHECK(rules[0].id == policy_rule_id("t", "r"));
		CHECK(rules[0].action == DFW_ACTION_ALLOW && rules[0].max_flows == 5);
		CHECK(rules[0].flags == (DFW_RULE_LOG | DFW_RULE_LIMIT_SOURCE));
		CHECK(rules[0].new_per_second == 10 && rules[0].burst == 10);
		CHECK(rules[1].on_change == DFW_ON_CHANGE_KILL && rules[1].tier == 0);
		CHECK_TEXT(rules[2].name,
			   "a-name-of-a-tier-as-long-as-names-may-be/and-a-name-of-a-rule-t");
		CHECK(rules[2].flags == DFW_RULE_STATELESS && rules[2].tier == 1);
		CHECK_TEXT(rules[3].name, "default in");
		CHECK(rules[3].id == policy_rule_id("default", "in"));
		CHECK(rules[3].action == DFW_ACTION_REJECT);
		CHECK(rules[3].flags == (DFW_RULE_DEFAULT | DFW_RULE_LOG));
		CHECK(ruleset(&world, 0, DFW_OUT)->rules[1].action == DFW_ACTION_DROP);
	}
	TEST("pass goes on with the next tier that the list has")
	{
		_cleanup_world_ struct world world =
			world_make("tier a { r: pass in from 10.0.0.0/8\n s: drop in }\n"
				   "tier b { r: allow in to vport b }\n"
				   "tier c { r: allow in from 10.0.0.0/9\n s: pass in }\n",
				   ports, 2);
		const struct compiled_ruleset *rules = ruleset(&world, 0, DFW_IN);

		CHECK(rules->header.nr_rules == 4);
		CHECK(rules->rules[0].next_tier == 2 && rules->rules[3].next_tier == 4);
		CHECK_TEXT(decides(&world, 0, DFW_IN, "10.1.1.1", "10.0.0.1", true), "c/r");
		CHECK_TEXT(decides(&world, 0, DFW_IN, "10.200.1.1", "10.0.0.1", true),
			   "default in");
		CHECK_TEXT(decides(&world, 0, DFW_IN, "1.2.3.4", "10.0.0.1", true), "a/s");
	}
	TEST("dimensions that tell nothing apart are left out")
	{
		_cleanup_world_ struct world world =
			world_make("r: allow in service tcp 80", ports, 2);
		const struct dfw_ruleset *header = &ruleset(&world, 0, DFW_IN)->header;

		CHECK(header->base[DFW_DIM_REMOTE] == DFW_DIM_UNUSED);
		CHECK(header->base[DFW_DIM_LOCAL_OWN] == DFW_DIM_UNUSED);
		CHECK(header->base[DFW_DIM_LOCAL_FOREIGN] == DFW_DIM_NOTHING);
		CHECK(header->base[DFW_DIM_SOURCE_PORT] == DFW_DIM_UNUSED);
		CHECK(header->nr_classes[DFW_DIM_L4] == 2);
	}
	TEST("rows with equal bits lie in one place")
	{
		_cleanup_world_ struct world world =
			world_make("r: allow in from 10.0.0.0/8 service tcp 80\n", ports, 2);

		CHECK(ruleset(&world, 0, DFW_IN)->nr_chunks == 1);
	}
	TEST("without ports there is nothing to compile")
	{
		_cleanup_world_ struct world world =
			world_make("r: allow in to vport a from any-vport", NULL, 0);

		CHECK(world.result == 0 && world.compiled->nr_rulesets == 0);
	}
}

/* A change of one member. */
static int change(struct world *world, const char *group, const char *prefix, bool in)
{
	struct policy_member member = {.group = policy_group(world->policy, group)};
	struct compiled_changes changes;
	int r;

	if (!member.group || prefix_parse(prefix, &member.address, &member.prefix_bits) < 0)
		abort();
	r = compiled_change_members(world->compiled, &member, 1, in, &changes);
	compiled_changes_free(&changes);
	return r;
}

static void test_changes(void)
{
	const struct dfw_addr one[] = {addr("10.0.0.1")};
	const struct policy_port ports[] = {
		{.name = "a", .addresses = one, .nr_addresses = 1, .here = true},
	};
	char text[4096] = "", prefix[32];
	int r = 0, nr = 0;

	TEST("an address joins a group and leaves it, and its class with it")
	{
		_cleanup_world_ struct world world =
			world_make("group g { }\nr: allow in from g", ports, 1);

		CHECK(change(&world, "g", "10.1.1.1", true) == 0);
		CHECK_TEXT(decides(&world, 0, DFW_IN, "10.1.1.1", "10.0.0.1", true), "default/r");
		CHECK_TEXT(decides(&world, 0, DFW_IN, "10.1.1.2", "10.0.0.1", true), "default in");
		CHECK(change(&world, "g", "10.1.1.1", false) == 0);
		CHECK_TEXT(decides(&world, 0, DFW_IN, "10.1.1.1", "10.0.0.1", true), "default in");
	}
	TEST("a group that has vports only is not made one of addresses in place")
	{
		_cleanup_world_ struct world world =
			world_make("group g { tag app=web }\nr: allow in from g", ports, 1);

		CHECK(change(&world, "g", "10.1.1.1", true) == -ENOTSUP);
	}
	TEST("what is in the policy and was added goes when it is nowhere any more")
	{
		_cleanup_world_ struct world world = world_make(
			"group g { 10.1.1.1 }\ngroup h { g }\nr: allow in from h", ports, 1);

		CHECK(change(&world, "h", "10.1.1.1", true) == 0);
		CHECK(change(&world, "h", "10.1.1.1", false) == 0);
		CHECK_TEXT(decides(&world, 0, DFW_IN, "10.1.1.1", "10.0.0.1", true), "default/r");
	}
	TEST("combinations of groups for which there is no room are refused, not forgotten")
	{
		for (int i = 0; i < 9; i++)
			snprintf(text + strlen(text), sizeof(text) - strlen(text),
				 "group g%d { }\nr%d: allow in from g%d service tcp %d\n", i, i, i,
				 80 + i);
		_cleanup_world_ struct world world = world_make(text, ports, 1);

		/* The n-th address goes into the groups that the bits of n name: each is a class of its own. */
		for (int n = 1; n < 512 && r == 0; n++)
			for (int i = 0; i < 9 && r == 0; i++) {
				snprintf(prefix, sizeof(prefix), "10.9.%d.%d", n / 256, n % 256);
				snprintf(text, sizeof(text), "g%d", i);
				if (n >> i & 1)
					r = change(&world, text, prefix, true);
				nr += r == 0;
			}
		CHECK(r == -ENOSPC && nr > 100);
	}
	TEST("addresses, too")
	{
		_cleanup_world_ struct world world =
			world_make("group g { }\nr: allow in from g", ports, 1);

		for (r = nr = 0; r == 0 && nr < 100000; nr++) {
			snprintf(prefix, sizeof(prefix), "10.%d.%d.%d", nr >> 16, nr >> 8 & 255,
				 nr & 255);
			r = change(&world, "g", prefix, true);
		}
		CHECK(r == -ENOSPC && nr > 4096 && nr < 5000);
	}
	TEST("and the nodes that prefixes need; one that comes and goes needs them once")
	{
		_cleanup_world_ struct world world =
			world_make("group g { }\nr: allow in from g", ports, 1);
		size_t room = world.compiled->room_v4_nodes;

		for (int i = 0; i < 10000; i++)
			r = change(&world, "g", "11.1.1.0/30", i % 2 == 0);
		CHECK(r == 0 && world.compiled->nr_v4_nodes < DFW_V4_ROOTS + 10);
		CHECK_TEXT(decides(&world, 0, DFW_IN, "11.1.1.1", "10.0.0.1", true), "default in");
		for (nr = 0; r == 0 && nr < 4096; nr++) {
			snprintf(prefix, sizeof(prefix), "%d.%d.0.0/17", 16 + nr / 256, nr % 256);
			r = change(&world, "g", prefix, true);
		}
		CHECK(r == -ENOSPC && nr > 500 && world.compiled->room_v4_nodes == room);
		CHECK(world.compiled->nr_v4_nodes <= room);
	}
}

static void test_profiles(void)
{
	const struct policy_port ports[] = {
		{.name = "a", .here = true},
		{.name = "b", .profile = "slow", .here = true},
	};

	TEST("a profile leaves the rest as the default profile has it")
	{
		_cleanup_world_ struct world world = world_make(
			"profile default { max-flows 10; strict off; timeout udp-new 7s }\n"
			"profile slow { max-flows 20; learn-addresses on; resync 5s }\n",
			ports, 2);
		const struct dfw_profile *a = &world.compiled->ports[0].profile;
		const struct dfw_profile *b = &world.compiled->ports[1].profile;

		CHECK(a->max_flows == 10 && b->max_flows == 20);
		CHECK(!(a->flags & DFW_PROFILE_STRICT_TCP) && !(b->flags & DFW_PROFILE_STRICT_TCP));
		CHECK(!(a->flags & DFW_PROFILE_LEARN) && b->flags & DFW_PROFILE_LEARN);
		CHECK(a->flags & DFW_PROFILE_GUARD_MAC && b->flags & DFW_PROFILE_GUARD_MAC);
		CHECK(a->timeouts_ns[DFW_FLOW_UDP_NEW] == 7000000000 &&
		      b->timeouts_ns[DFW_FLOW_UDP_NEW] == 7000000000);
		CHECK(a->timeouts_ns[DFW_FLOW_TCP_ESTABLISHED] == 432000000000000);
		CHECK(a->resync_seconds == DFW_DEFAULT_RESYNC_SECONDS && b->resync_seconds == 5);
		CHECK(a->max_half_open == DFW_DEFAULT_MAX_HALF_OPEN);
	}
}

static void test_errors(void)
{
	const struct dfw_addr same[] = {addr("10.0.0.1")};
	const struct policy_port ports[] = {
		{.name = "a", .addresses = same, .nr_addresses = 1, .here = true},
		{.name = "b", .addresses = same, .nr_addresses = 1},
		{.name = "c", .profile = "nosuch", .here = true},
	};
	const struct policy_port twins[] = {{.name = "a"}, {.name = "a"}};
	char *text = NULL;
	size_t bytes;
	FILE *out;

	TEST("an address belongs to one port, and a profile must be there")
	{
		_cleanup_world_ struct world world = world_make("", ports, 3);

		CHECK(world.result == -EINVAL && world.errors.nr == 2 && !world.compiled);
		CHECK_TEXT(world.errors.list[0].file, "b");
		CHECK_TEXT(world.errors.list[0].text,
			   "address 10.0.0.1 belongs to port 'a' already");
		CHECK_TEXT(world.errors.list[1].file, "c");
		CHECK(world.errors.list[0].line == 0);
	}
	TEST("a port's name belongs to one port")
	{
		_cleanup_world_ struct world world = world_make("", twins, 2);

		CHECK(world.result == -EINVAL && world.errors.nr == 1);
	}
	TEST("a port has at most DFW_MAX_RULES rules a direction")
	{
		out = open_memstream(&text, &bytes);
		for (int i = 0; i < DFW_MAX_RULES + 1; i++)
			fprintf(out, "r%d: allow in\n", i);
		fclose(out);

		_cleanup_world_ struct world world = world_make(text, ports, 1);

		CHECK(world.result == -EINVAL && world.errors.nr == 1);
		CHECK_TEXT(
			world.errors.list[0].text,
			"65536 rules apply to this port in, a port has at most 65535 a direction");
	}
	free(text);
}

static double cpu_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* The bounds leave room for sanitizers; what they must catch is work that grows with the square. */
#define BOUND_MS 10000

static void test_size(const char *name, const char *text, const struct policy_port *ports,
		      size_t nr)
{
	TEST(name)
	{
		double start = cpu_ms(), parsed, done;
		struct policy *policy = must_parse(text);
		struct policy_errors errors = {0};
		struct compiled *compiled = NULL;

		parsed = cpu_ms();
		if (CHECK(policy))
			CHECK(policy_compile(policy, ports, nr, &compiled, &errors) == 0);
		done = cpu_ms();
		policy_errors_print(&errors, stdout);
		printf("# parsed in %.1f ms of CPU, compiled in %.1f ms\n", parsed - start,
		       done - parsed);
		CHECK(done - start < BOUND_MS);
		compiled_free(compiled);
		policy_free(policy);
		policy_errors_free(&errors);
	}
}

static void test_sizes(void)
{
	enum { NR_PORTS = 200, NR_FAR = 10000 };
	struct policy_port *ports = calloc(NR_FAR, sizeof(*ports));
	struct dfw_addr *addresses = calloc(NR_FAR, sizeof(*addresses));
	struct policy_tag *tags = calloc(NR_FAR, sizeof(*tags));
	char(*names)[32] = calloc(NR_FAR, sizeof(*names));
	char *text = NULL;
	size_t bytes = 0;
	FILE *out;

	if (!ports || !addresses || !tags || !names)
		abort();
	for (int i = 0; i < NR_FAR; i++) {
		snprintf(names[i], sizeof(names[i]), "10.100.%d.%d", i / 250, i % 250);
		addresses[i] = addr(names[i]);
		snprintf(names[i], sizeof(names[i]), "vm-%d", i);
		tags[i] = (struct policy_tag){"app", i % 10 ? "web" : "db"};
		ports[i] = (struct policy_port){.name = names[i],
						.addresses = &addresses[i],
						.nr_addresses = 1,
						.tags = &tags[i],
						.nr_tags = 1,
						.here = i < NR_PORTS};
	}

	out = open_memstream(&text, &bytes);
	for (int g = 0; g < 10; g++) {
		fprintf(out, "group g%d { 10.%d.0.0/15\n", g, g & ~1);
		for (int i = 0; i < 10000; i++)
			fprintf(out, "10.%d.%d.%d\n", g, i / 250, i % 250);
		fprintf(out, "}\nr%d: allow in from g%d\n", g, g);
	}
	fclose(out);
	test_size("100,000 addresses in groups", text, ports, 1);
	free(text);

	out = open_memstream(&text, &bytes);
	for (int i = 0; i < 65535; i++)
		fprintf(out, "r%d: allow in service tcp %d-%d\n", i, i, i + 1);
	fclose(out);
	test_size("65,535 distinct port ranges in as many rules", text, ports, 1);
	free(text);

	out = open_memstream(&text, &bytes);
	fprintf(out, "service s { ");
	for (int i = 0; i < 65535; i++)
		fprintf(out, "udp %d-%d from-port 53, ", i / 2, 65535 - i / 2);
	fprintf(out, "}\n");
	for (int i = 0; i < 1000; i++)
		fprintf(out, "r%d: allow in service s\n", i);
	fclose(out);
	test_size("65,535 port ranges in a service of 1,000 rules", text, ports, 1);
	free(text);

	out = open_memstream(&text, &bytes);
	for (int i = 0; i < 1000; i++)
		fprintf(out, "r%d: allow from tag app=web to vport \"vm-%d*\" service tcp %d\n", i,
			i, i);
	fclose(out);
	test_size("10,000 ports, 200 of them here, each with rules of its own", text, ports,
		  NR_FAR);
	free(text);

	out = open_memstream(&text, &bytes);
	for (int i = 0; i < 10000; i++)
		fprintf(out, "r%d: allow in from 172.%d.%d.0/%d to any service tcp %d\n", i,
			16 + i % 16, i / 16 % 256, 24, i % 1000);
	fclose(out);
	test_size("10,000 rules on 200 ports that share them", text, ports, NR_PORTS);
	free(text);

	out = open_memstream(&text, &bytes);
	for (int g = 0; g < 31; g++)
		fprintf(out, "group g%d { g%d, group g%d, 10.0.0.%d }\n", g, g + 1, g + 1, g);
	for (int g = 0; g < 31; g++)
		fprintf(out, "service s%d { s%d, s%d, tcp %d }\n", g, g + 1, g + 1, g);
	fprintf(out,
		"group g31 { tag app=web }\nservice s31 { udp 5 }\nr: allow from g0 service s0\n");
	fclose(out);
	test_size("groups and services that are reached by 2^31 ways", text, ports, 10);
	free(text);

	free(ports);
	free(addresses);
	free(tags);
	free(names);
}

int main(void)
{
	test_addresses();
	test_rules();
	test_changes();
	test_profiles();
	test_errors();
	test_sizes();
	return check_done();
}
