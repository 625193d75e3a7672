// SPDX-License-Identifier: GPL-2.0
/*
 * What must hold of lib/view.h, on an instance made of maps alone: no programs, no dfwd.
 *
 *   view_pins                     the tests; they need root and a bpffs, and skip otherwise
 *   view_pins make INSTANCE       leaves such an instance behind, to try dfwctl by hand
 *   view_pins remove INSTANCE
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <dfw/flow_hash.h>

#include "addr.h"
#include "check.h"
#include "flow_table.h"
#include "util.h"
#include "view.h"
#include "view_pins.h"

#define BPFFS		 0xcafe4a11
#define VPORT		 "web1"
#define SLOT		 7
#define BANK		 1
#define GENERATION	 42
#define RULESET		 3
#define ESTABLISHED	 5000 /* more than a batch */
#define RULE_WEB	 0x1001
#define RULE_DEFAULT_IN	 0x1002
#define RULE_DEFAULT_OUT 0x1003
#define S		 1000000000ULL

static void check(bool holds, const char *what)
{
	TEST(what)
	{
		CHECK(holds);
	}
}

/* ---- The instance --------------------------------------------------------------------------------------------- */

static char instance[INSTANCE_NAME_LEN];
static int web1_config[DFW_BANKS], web1_hits;

/* Makes a map and, with a pin, pins it: "layout", "vports/web1/flows". */
static int make(enum bpf_map_type type, const char *pin, uint32_t key, uint32_t value,
		uint32_t entries, int inner)
{
	LIBBPF_OPTS(bpf_map_create_opts, options,
		    .map_flags = type == BPF_MAP_TYPE_HASH ? BPF_F_NO_PREALLOC : 0);
	char path[PATH_MAX];
	int fd;

	if (inner >= 0)
		options.inner_map_fd = (uint32_t)inner;
	fd = bpf_map_create(type, "unit", key, value, entries, &options);
	if (fd >= 0 && pin && bpf_obj_pin(fd, pin_path(instance, pin, path)) < 0)
		return -errno;
	return fd;
}

static int make_array(const char *pin, uint32_t value, uint32_t entries)
{
	return make(BPF_MAP_TYPE_ARRAY, pin, 4, value, entries, -1);
}

static int put(int fd, uint32_t index, const void *value)
{
	return bpf_map_update_elem(fd, &index, value, BPF_ANY);
}

static int make_global(void)
{
	struct dfw_layout layout = {.version = DFW_LAYOUT_VERSION, .build = "unit"};
	struct dfw_revision active = {.generation = GENERATION, .revision = 2, .bank = BANK};
	uint32_t ifindex = 5, slot = SLOT;
	int r = put(make_array("layout", sizeof(layout), 1), 0, &layout);

	r |= put(make_array("active", sizeof(active), 1), 0, &active);
	r |= bpf_map_update_elem(make(BPF_MAP_TYPE_HASH, "port_slots", 4, 4, 16, -1), &ifindex,
				 &slot, BPF_ANY);
	return r;
}

static struct dfw_port_config config_of(uint32_t max_flows)
{
	struct dfw_port_config config = {
		.slot = SLOT,
		.flags = DFW_PORT_READY,
		.ruleset = {RULESET, RULESET + 1},
		.hits_base = {0, 2},
		.hits_count = 3,
		.nr_macs = 1,
		.nr_addresses = 1,
		.epoch = 1,
		.name = VPORT,
		.macs = {{.bytes = {0x52, 0x54, 0, 0, 0, 1}}},
		.profile.max_flows = max_flows,
	};

	addr_parse("10.0.0.1", &config.addresses[0]);
	for (int state = 0; state < DFW_FLOW_STATES; state++)
		config.profile.timeouts_ns[state] = 100 * S;
	return config;
}

/* The pin is of the other bank: what counts is the bank in force. */
static int make_config(void)
{
	struct dfw_port_config old = config_of(1000), active = config_of(2000);
	int outer, r;

	web1_config[!BANK] = make_array("vports/" VPORT "/config", sizeof(old), 1);
	web1_config[BANK] = make_array(NULL, sizeof(old), 1);
	outer = make(BPF_MAP_TYPE_ARRAY_OF_MAPS, "configs", 4, 4, 32, web1_config[0]);
	r = put(web1_config[!BANK], 0, &old);
	r |= put(web1_config[BANK], 0, &active);
	for (uint32_t bank = 0; bank < DFW_BANKS; bank++)
		r |= put(outer, SLOT * DFW_BANKS + bank, &web1_config[bank]);
	return r;
}

static int make_rules(void)
{
	struct dfw_ruleset in = {.nr_rules = 1}, out = {.nr_rules = 0};
	struct dfw_rule_info web = {
		.id = RULE_WEB, .action = DFW_ACTION_ALLOW, .name = "app/web-in"};
	struct dfw_rule_info default_in = {.id = RULE_DEFAULT_IN,
					   .action = DFW_ACTION_DROP,
					   .flags = DFW_RULE_DEFAULT,
					   .name = "default in"};
	struct dfw_rule_info default_out = {.id = RULE_DEFAULT_OUT,
					    .action = DFW_ACTION_ALLOW,
					    .flags = DFW_RULE_DEFAULT,
					    .name = "default out"};
	int rulesets = make_array("rulesets", sizeof(in), 16);
	/* Inner maps of one outer map have one size here: the second slot of `out` stays empty. */
	int infos_in = make_array(NULL, sizeof(web), 2),
	    infos_out = make_array(NULL, sizeof(web), 2);
	int outer = make(BPF_MAP_TYPE_ARRAY_OF_MAPS, "rule_infos", 4, 4, 16, infos_in);
	int r = put(rulesets, RULESET, &in);

	r |= put(rulesets, RULESET + 1, &out);
	r |= put(infos_in, 0, &web);
	r |= put(infos_in, 1, &default_in);
	r |= put(infos_out, 0, &default_out);
	r |= put(outer, RULESET, &infos_in);
	r |= put(outer, RULESET + 1, &infos_out);
	return r;
}

/* Each CPU has 3 counters: in 0, in 1 (default), out 0 (default). CPU n counts n + 1 packets of rule `web`. */
static int make_hits(void)
{
	uint32_t cpus = (uint32_t)libbpf_num_possible_cpus();
	struct dfw_rule_hits total = {.packets = 1000, .flows = 10, .last_hit_ns = 1};
	/* Of another direction: what this one must not count. */
	struct dfw_rule_hits other = {.packets = 50000, .flows = 500, .last_hit_ns = UINT64_MAX};
	struct dfw_rule_total_key key = {.rule = RULE_WEB, .direction = DFW_IN};
	int outer, totals, r = 0;

	web1_hits = make_array("vports/" VPORT "/rules", sizeof(total), cpus * 3);
	outer = make(BPF_MAP_TYPE_ARRAY_OF_MAPS, "hits", 4, 4, 32, web1_hits);
	for (uint32_t cpu = 0; cpu < cpus; cpu++) {
		struct dfw_rule_hits hits = {
			.packets = cpu + 1, .bytes = 100, .last_hit_ns = cpu + 5};
		struct dfw_rule_hits out = {.packets = 7};

		r |= put(web1_hits, cpu * 3, &hits);
		r |= put(web1_hits, cpu * 3 + 2, &out);
	}
	r |= put(outer, SLOT * DFW_BANKS + BANK, &web1_hits);
	totals = make(BPF_MAP_TYPE_HASH, "vports/" VPORT "/rule_totals", sizeof(key), sizeof(total),
		      16, -1);
	r |= bpf_map_update_elem(totals, &key, &total, BPF_ANY);
	key.direction = DFW_OUT;
	return r | bpf_map_update_elem(totals, &key, &other, BPF_ANY);
}

static struct dfw_flow flow_of(uint8_t state, uint8_t initiator, uint64_t created, uint64_t seen)
{
	return (struct dfw_flow){
		.generation = GENERATION,
		.state = state,
		.initiator = initiator,
		.rule = RULE_WEB,
		.created_cs = (uint32_t)(created / DFW_NS_PER_CS),
		.last_seen_ns = seen,
		.legs = {{.packets = 3, .bytes = 300}, {.packets = 2, .bytes = 200}},
	};
}

static struct dfw_flow_key key_of(const char *remote, uint8_t protocol, uint16_t local_port,
				  uint16_t remote_port)
{
	struct dfw_flow_key key = {
		.protocol = protocol, .local_port = local_port, .remote_port = remote_port};

	addr_parse("10.0.0.1", &key.local);
	addr_parse(remote, &key.remote);
	return key;
}

#define PAGES (ESTABLISHED / 16) /* too few for some */

/* A table of flows on its way into a pin, and what it has no room for. */
struct flow_pins {
	struct dfw_flow_page *pages;
	int more;
};

static int put_flow(struct flow_pins *pins, const struct dfw_flow_key *key,
		    const struct dfw_flow *flow)
{
	static const __u64 secret[DFW_HASH_WORDS] = {7, 9, 11, 13, 17};
	const struct dfw_flow_entry entry = {*key, *flow};

	if (flow_table_put(pins->pages, PAGES, secret, &entry))
		return 0;
	return bpf_map_update_elem(pins->more, key, &entry, BPF_ANY);
}

static int make_table(const char *pin, struct flow_pins *pins)
{
	int table = make_array(pin, sizeof(struct dfw_flow_page), PAGES), r = 0;

	for (uint32_t i = 0; i < PAGES; i++)
		r |= put(table, i, &pins->pages[i]);
	free(pins->pages);
	return r;
}

static int make_flows(void)
{
	struct flow_pins flows = {.pages = calloc(PAGES, sizeof(struct dfw_flow_page))};
	struct flow_pins half_open = {.pages = calloc(PAGES, sizeof(struct dfw_flow_page))};
	uint64_t now = monotonic_ns();
	struct dfw_flow flow = flow_of(DFW_FLOW_TCP_ESTABLISHED, DFW_IN, now - 8 * S, now - 2 * S);
	struct dfw_flow expired =
		flow_of(DFW_FLOW_TCP_ESTABLISHED, DFW_IN, now - 300 * S, now - 200 * S);
	struct dfw_flow dead = flow_of(DFW_FLOW_DEAD, DFW_IN, now - S, now);
	struct dfw_flow syn = flow_of(DFW_FLOW_TCP_SYN_SENT, DFW_OUT, now - S, now - S);
	struct dfw_flow ping = flow_of(DFW_FLOW_ICMP_REPLIED, DFW_OUT, now - S, now - S);
	struct dfw_flow_key key;
	char remote[ADDR_TEXT_LEN];
	int r = 0;

	flows.more =
		make(BPF_MAP_TYPE_HASH, "vports/" VPORT "/more_flows", sizeof(struct dfw_flow_key),
		     sizeof(struct dfw_flow_entry), ESTABLISHED, -1);
	for (int i = 0; i < ESTABLISHED; i++) {
		snprintf(remote, sizeof(remote), "10.1.%d.%d", i / 256, i % 256);
		key = key_of(remote, 6, 80, 40000);
		r |= put_flow(&flows, &key, &flow);
	}
	key = key_of("10.2.0.1", 6, 80, 40000);
	r |= put_flow(&flows, &key, &expired);
	key = key_of("10.2.0.2", 6, 80, 40000);
	r |= put_flow(&flows, &key, &dead);
	key = key_of("10.3.0.1", 1, 443, 8);
	r |= put_flow(&flows, &key, &ping);
	key = key_of("10.4.0.1", 6, 50000, 443);
	r |= put_flow(&half_open, &key, &syn);
	r |= make_table("vports/" VPORT "/flows", &flows);
	return r | make_table("vports/" VPORT "/half_open", &half_open);
}

static int make_counters(void)
{
	int cpus = libbpf_num_possible_cpus();
	int fd = make(BPF_MAP_TYPE_PERCPU_ARRAY, "vports/" VPORT "/counters", 4,
		      sizeof(struct dfw_direction_counters), DFW_DIRECTIONS, -1);
	struct dfw_direction_counters *parts = calloc((size_t)cpus, sizeof(*parts));
	struct dfw_port_state state = {.flows = ESTABLISHED + 1};
	int r;

	for (int cpu = 0; parts && cpu < cpus; cpu++) {
		parts[cpu].passed = (struct dfw_reason_counter){10, 1000};
		parts[cpu].internal = (struct dfw_reason_counter){1, 60};
	}
	r = parts ? put(fd, DFW_OUT, parts) : -ENOMEM;
	free(parts);
	return r | put(make_array("vports/" VPORT "/state", sizeof(state), 1), 0, &state);
}

static int make_instance(void)
{
	static const char *const dirs[] = {NULL, "vports", "vports/" VPORT};
	char path[PATH_MAX];
	int r;

	mkdir(DFW_PIN_ROOT, 0700);
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdir(pin_path(instance, dirs[i], path), 0700) < 0)
			return -errno;
	r = make_global();
	r |= make_config();
	r |= make_rules();
	r |= make_hits();
	r |= make_flows();
	return r | make_counters();
}

static void remove_instance(void)
{
	static const char *const parts[] = {
		"vports/" VPORT "/config",
		"vports/" VPORT "/rules",
		"vports/" VPORT "/rule_totals",
		"vports/" VPORT "/flows",
		"vports/" VPORT "/more_flows",
		"vports/" VPORT "/half_open",
		"vports/" VPORT "/counters",
		"vports/" VPORT "/state",
		"vports/" VPORT,
		"vports",
		"layout",
		"active",
		"port_slots",
		"configs",
		"rulesets",
		"rule_infos",
		"hits",
		NULL,
	};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		remove(pin_path(instance, parts[i], path));
}

/* ---- The tests ------------------------------------------------------------------------------------------------ */

static void test_names(void)
{
	char **names = NULL;
	size_t nr = 0;

	check(view_vports(instance, &names, &nr) == 0 && nr == 1 && strcmp(names[0], VPORT) == 0,
	      "the ports are the folders under vports/");
	names_free(names, nr);
	names = NULL;
	nr = 0;
	check(view_vports("unit-none", &names, &nr) == -ENOENT, "no such instance is -ENOENT");
	check(!instance_name_valid("../x") && !instance_name_valid("") &&
		      instance_name_valid("a_B-9"),
	      "an instance's name is no path");
	check(!port_name_valid("..") && !port_name_valid("a/b") && !port_name_valid("a.b") &&
		      port_name_valid("vm:12_x-y"),
	      "a port's name is no path");
}

static void test_vport(void)
{
	struct view_vport vport;

	check(view_vport(instance, "nobody", &vport) == -ENOENT, "no such port is -ENOENT");
	check(view_vport(instance, "../" VPORT, &vport) == -ENOENT, "a path is no port");
	check(view_vport(instance, VPORT, &vport) == 0 && vport.state.flows == ESTABLISHED + 1,
	      "a port's state is read");
	check(vport.config.profile.max_flows == 2000,
	      "a port's config is that of the bank in force, not of the pin");
	check(vport.enforcing, "without links, a device that leads to the port means clsact");
}

static void test_counters(void)
{
	struct dfw_direction_counters counters[DFW_DIRECTIONS];
	uint64_t cpus = (uint64_t)libbpf_num_possible_cpus();

	check(view_counters(instance, VPORT, counters) == 0 &&
		      counters[DFW_OUT].passed.packets == 10 * cpus &&
		      counters[DFW_OUT].passed.bytes == 1000 * cpus &&
		      counters[DFW_OUT].internal.packets == cpus &&
		      counters[DFW_IN].passed.packets == 0,
	      "counters are summed over CPUs, directions apart");
}

static void test_rules(void)
{
	uint64_t cpus = (uint64_t)libbpf_num_possible_cpus();
	struct view_rule *in = NULL, *out = NULL;
	struct dfw_ruleset header;
	size_t nr_in = 0, nr_out = 0;

	check(view_rules(instance, VPORT, DFW_IN, &in, &nr_in, &header) == 0 && nr_in == 2 &&
		      in[0].info.id == RULE_WEB && in[1].info.id == RULE_DEFAULT_IN,
	      "rules come in order, the default last");
	check(nr_in == 2 && in[0].hits.packets == 1000 + cpus * (cpus + 1) / 2 &&
		      in[0].hits.bytes == 100 * cpus && in[0].hits.flows == 10,
	      "hits are those of all CPUs and of former generations, of the same direction");
	check(nr_in == 2 && in[0].hits.last_hit_ns == cpus + 4,
	      "the last hit is the latest of all");
	check(nr_in == 2 && in[1].hits.packets == 0, "the default has hits of its own");
	check(view_rules(instance, VPORT, DFW_OUT, &out, &nr_out, &header) == 0 && nr_out == 1 &&
		      out[0].info.id == RULE_DEFAULT_OUT && out[0].hits.packets == 7 * cpus,
	      "a direction's hits begin at its base");
	free(in);
	free(out);
}

struct tally {
	int flows;
	int half_open;
	int stop_at;
	int64_t age_ms, idle_ms, expires_ms;
};

static int count_flow(const struct view_flow *flow, void *data)
{
	struct tally *tally = data;

	tally->flows++;
	tally->half_open += flow->half_open;
	tally->age_ms = flow->age_ms;
	tally->idle_ms = flow->idle_ms;
	tally->expires_ms = flow->expires_ms;
	return tally->stop_at && tally->flows == tally->stop_at ? 77 : 0;
}

static int count(const struct flow_filter *filter)
{
	struct tally tally = {};
	int r = view_flows(instance, VPORT, filter, count_flow, &tally);

	return r < 0 ? r : tally.flows;
}

static int count_in(const char *prefix)
{
	struct flow_filter filter = {.has_address = true};

	prefix_parse(prefix, &filter.address, &filter.prefix_bits);
	return count(&filter);
}

static void test_flows(void)
{
	struct flow_filter address = {.has_address = true}, prefix = {.has_address = true};
	struct flow_filter own = {.has_address = true};
	struct flow_filter none = {}, tcp = {.protocol = 6}, https = {.port = 443};
	struct tally tally = {};

	prefix_parse("10.1.3.7", &address.address, &address.prefix_bits);
	prefix_parse("10.1.2.0/24", &prefix.address, &prefix.prefix_bits);
	prefix_parse("10.0.0.1", &own.address, &own.prefix_bits);
	check(view_flows(instance, VPORT, NULL, count_flow, &tally) == 0 &&
		      tally.flows == ESTABLISHED + 2 && tally.half_open == 1,
	      "every live flow is seen once; dead and expired ones are not");
	check(count(&none) == ESTABLISHED + 2, "a zeroed filter is every flow");
	check(count(&tcp) == ESTABLISHED + 1, "a filter by protocol");
	check(count(&address) == 1, "a filter by address");
	check(count(&prefix) == 256, "a filter by prefix");
	check(count(&own) == ESTABLISHED + 2, "an address is that of either end");
	check(count_in("0.0.0.0/0") == ESTABLISHED + 2, "0.0.0.0/0 is all of IPv4");
	check(count_in("::/0") == 0 && count_in("::/1") == 0 && count_in("::/64") == 0 &&
		      count_in("::/80") == 0 && count_in("::fffe:0:0/95") == 0,
	      "a prefix of IPv6, however short, is no flow of IPv4");
	check(count(&https) == 1,
	      "a port is that of either end, and an ICMP identifier is no port");
	tally = (struct tally){.stop_at = 3};
	check(view_flows(instance, VPORT, NULL, count_flow, &tally) == 77 && tally.flows == 3,
	      "the walk ends when asked to");
	tally = (struct tally){};
	view_flows(instance, VPORT, &address, count_flow, &tally);
	check(tally.age_ms >= 8000 && tally.age_ms < 60000 && tally.idle_ms >= 2000 &&
		      tally.age_ms - tally.idle_ms >= 5990 && tally.age_ms - tally.idle_ms <= 6010,
	      "age and idle time are of the monotonic clock");
	check(tally.expires_ms > 0 && tally.expires_ms + tally.idle_ms <= 100000 &&
		      tally.expires_ms + tally.idle_ms >= 99998,
	      "a flow expires when the state's timeout has passed since its last packet");
	check(view_flows(instance, "nobody", NULL, count_flow, &tally) == -ENOENT,
	      "flows of no such port are -ENOENT");
}

static void test_not_ready(void)
{
	struct dfw_port_config denying = config_of(2000), former = denying;
	struct view_rule *rules = NULL;
	struct dfw_ruleset header;
	size_t nr = 9;

	denying.flags = 0;
	put(web1_config[BANK], 0, &denying);
	check(view_rules(instance, VPORT, DFW_IN, &rules, &nr, &header) == 0 && nr == 0 && !rules,
	      "a port without a policy has no rules");
	put(web1_config[BANK], 0, &former);
}

static void test_layout(void)
{
	_cleanup_close_ int fd = instance_map_open(instance, "layout", sizeof(struct dfw_layout));
	struct dfw_layout layout = {.version = DFW_LAYOUT_VERSION + 1}, read;
	struct dfw_revision revision;
	char **names = NULL, path[PATH_MAX];
	size_t nr = 0;

	check(view_active(instance, &read, &revision) == 0 && revision.generation == GENERATION,
	      "the revision is that of the bank in force");
	put(fd, 0, &layout);
	check(view_active(instance, &read, &revision) == -ESTALE &&
		      view_vports(instance, &names, &nr) == -ESTALE,
	      "another layout is refused, not guessed at");
	layout.version = DFW_LAYOUT_VERSION;
	put(fd, 0, &layout);
	check(map_open(pin_path(instance, "active", path), 1000) == -ESTALE,
	      "a map of another size is refused");
}

static bool usable(void)
{
	struct statfs fs;

	return geteuid() == 0 && statfs(DFW_BPFFS, &fs) == 0 && (unsigned long)fs.f_type == BPFFS;
}

static int run_tests(void)
{
	int r;

	if (!usable()) {
		puts("1..0 # SKIP needs root and a bpffs");
		return 0;
	}
	snprintf(instance, sizeof(instance), "unit-view-%d", getpid());
	r = make_instance();
	check(r == 0, "an instance is made");
	if (r == 0) {
		test_names();
		test_vport();
		test_counters();
		test_rules();
		test_flows();
		test_not_ready();
		test_layout();
	}
	remove_instance();
	return check_done();
}

int main(int argc, char **argv)
{
	libbpf_set_print(NULL);
	if (argc != 3)
		return run_tests();
	snprintf(instance, sizeof(instance), "%s", argv[2]);
	if (strcmp(argv[1], "make") == 0)
		return make_instance() == 0 ? 0 : 1;
	remove_instance();
	return 0;
}
