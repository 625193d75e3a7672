// SPDX-License-Identifier: GPL-2.0
/*
 * The tables of flows (bpf/table.h) under the kernel's own concurrency: a thread on each CPU sends packets of few flows
 * through the datapath by BPF_PROG_RUN, while another sweeps and kills; then a checker looks at what is left. The tables are
 * so small that flows give way to each other and lie elsewhere.
 *
 * Usage: hammer [OBJECT [SECONDS]]
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include <linux/pkt_cls.h>

#include <dfw/flow_hash.h>

#include "check.h"
#include "kernel_datapath.h"
#include "policy_files.h"
#include "selftests/host/frames.h"

#define VM_MAC	    {0x02, 0, 0, 0, 0, 0x02}
#define NR_FLOWS    96
#define CROWD	    9
#define MAX_THREADS 16

/* In the first, flows come and go; in the second, half-open ones push each other out of one bucket; in the third they stay,
 * and so does all that is counted of them. */
enum { PORT_RESTLESS, PORT_CROWDED, PORT_STEADY, NR_PORTS };

static const struct side vm = {VM_MAC, {10, 0, 0, 2}, {0xfd, 0, [15] = 2}};
static const struct side peer = {{0x02, 0, 0, 0, 0, 0x01}, {10, 1, 0, 1}, {0xfd, 1, [15] = 1}};

static const char policy_text[] =
	"profile restless {\n max-flows 60\n flow-table 28\n max-half-open 28\n"
	" timeout udp-new 20ms\n timeout udp-replied 40ms\n timeout udp-stream 40ms\n}\n"
	"profile crowded {\n max-half-open 28\n}\n"
	"profile steady {\n max-flows 60\n flow-table 28\n max-half-open 28\n}\n"
	"any: allow\n";

static volatile bool over;
static unsigned int ended[DFW_SWEEP_KILL + 1]; /* flows, by enum dfw_sweep_op */

struct hammerer {
	pthread_t thread;
	uint64_t random;
	uint64_t passed;
	const uint32_t *flows;
	uint32_t nr_flows;
	int cpu;
	bool answers; /* the VM is answered */
	bool failed;
};

static uint32_t below(uint64_t *state, uint32_t limit)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint32_t)((*state * 0x2545f4914f6cdd1dULL) >> 32) % limit;
}

/* Packets of a flow are all of one length, which no other flow's have. */
static struct frame packet(bool out, uint32_t flow)
{
	struct frame f = frame_ip(out ? &vm : &peer, out ? &peer : &vm, flow & 1, 17);
	uint16_t local = 5000, remote = (uint16_t)(6000 + flow);

	frame_udp(&f, out ? local : remote, out ? remote : local, flow);
	frame_done(&f);
	return f;
}

static struct dfw_flow_key key_of(uint32_t flow)
{
	struct dfw_flow_key key = {
		.local_port = 5000, .remote_port = (uint16_t)(6000 + flow), .protocol = 17};

	if (flow & 1) {
		memcpy(key.local.bytes, vm.ip6, 16);
		memcpy(key.remote.bytes, peer.ip6, 16);
	} else {
		memset(key.local.bytes + 10, 0xff, 2);
		memset(key.remote.bytes + 10, 0xff, 2);
		memcpy(key.local.bytes + 12, vm.ip4, 4);
		memcpy(key.remote.bytes + 12, peer.ip4, 4);
	}
	return key;
}

static const __u64 secret[DFW_HASH_WORDS] = {1, 2, 3, 4, 5}; /* as in bpf/table.h */

/* All flows; and some whose place is the first bucket of a table of one page. */
static uint32_t everyone[NR_FLOWS], crowd[CROWD];

static void choose_flows(void)
{
	for (uint32_t i = 0; i < NR_FLOWS; i++)
		everyone[i] = i;
	for (uint32_t i = 0, nr = 0; nr < CROWD; i++) {
		struct dfw_flow_key key = key_of(i);

		must(i < 1000, "flows of one bucket");
		if (dfw_flow_bucket_index(dfw_flow_hash(secret, &key), 1) == 0)
			crowd[nr++] = i;
	}
}

static void *hammer(void *data)
{
	struct hammerer *self = data;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(self->cpu, &cpus);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	while (!over) {
		bool out = !self->answers || below(&self->random, 2);
		struct frame f = packet(out, self->flows[below(&self->random, self->nr_flows)]);
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = f.bytes,
			    .data_size_in = (uint32_t)f.len,
			    .repeat = 1 + (int)below(&self->random, self->answers ? 40 : 3));

		if (bpf_prog_test_run_opts(program[out ? DFW_OUT : DFW_IN], &options) < 0) {
			self->failed = true;
			break;
		}
		/* Of a run of equal packets all have the verdict of the last, but for the first perhaps. */
		self->passed += options.retval == (uint32_t)TC_ACT_UNSPEC;
	}
	return NULL;
}

/* How many flows it ended, or a negative errno. */
static int run_sweep(uint32_t port, uint32_t op, struct dfw_flow_key key)
{
	struct dfw_sweep_request request = {.slot = port, .op = op, .key = key};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = &request,
		    .data_size_in = sizeof(request), .repeat = 1);
	int fd = bpf_program__fd(bpf_object__find_program_by_name(object, "dfw_sweep"));
	int r = bpf_prog_test_run_opts(fd, &options);

	return r < 0 ? r : (int)options.retval;
}

static int inner_of(const char *outer, uint32_t port)
{
	uint32_t id;
	int fd;

	must(bpf_map_lookup_elem(fd_of(outer), &port, &id) == 0, outer);
	fd = bpf_map_get_fd_by_id(id);
	must(fd >= 0, outer);
	return fd;
}

static uint64_t length_of(const volatile struct dfw_flow_key *key)
{
	uint64_t flow = key->remote_port - 6000u;

	return (flow & 1 ? 48 : 28) + flow;
}

/* Does the entry count packets of another length than its own? Of one that changes meanwhile nothing is said: who had the lock
 * while the numbers were read has given it back, and changed one of them, when they are read again. */
static bool is_mixed(const volatile struct dfw_flow_entry *entry)
{
	uint64_t packets = entry->flow.legs[0].packets, bytes = entry->flow.legs[0].bytes;
	uint64_t length = length_of(&entry->key);

	return bytes != packets * length && !entry->flow.lock &&
	       packets == entry->flow.legs[0].packets && bytes == entry->flow.legs[0].bytes;
}

#define LOOK_NS 50000

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Looks at the first bucket while it is hammered. Its tags change with each flow that comes or gives way (256 of them later they may
 * be the same), so what was read between two equal looks at them, soon enough, was there at one time. */
static unsigned int wrongs(const volatile struct dfw_flow_page *page)
{
	const volatile struct dfw_flow_entry *entries = page->entries[0];
	uint64_t begin_ns = now_ns(), tags = page->tags[0];
	unsigned int found = 0;

	for (uint32_t a = 0; a < DFW_BUCKET_ENTRIES; a++) {
		if (!(tags >> (8 * a) & 0xff))
			continue;
		found += is_mixed(&entries[a]);
		for (uint32_t b = 0; b < a; b++)
			found += tags >> (8 * b) & 0xff &&
				 entries[a].key.remote_port == entries[b].key.remote_port &&
				 entries[a].flow.state != DFW_FLOW_DEAD &&
				 entries[b].flow.state != DFW_FLOW_DEAD;
	}
	__sync_synchronize();
	return page->tags[0] == tags && now_ns() - begin_ns < LOOK_NS ? found : 0;
}

static const struct dfw_flow_page *map_page(int fd)
{
	void *at = mmap(NULL, sizeof(struct dfw_flow_page), PROT_READ, MAP_SHARED, fd, 0);

	must(at != MAP_FAILED, "mmap");
	close(fd);
	return at;
}

static bool have_begun(const volatile struct hammerer *hammerers, int nr)
{
	for (int i = 0; i < nr; i++)
		if (!hammerers[i].passed && !hammerers[i].failed)
			return false;
	return true;
}

/* Packets of those flows from every CPU, and sweeps of the restless port, for a while. */
static bool hammer_for(double seconds, uint32_t port, const uint32_t *flows, uint32_t nr_flows,
		       bool answers)
{
	struct hammerer hammerers[MAX_THREADS] = {};
	uint32_t ifindex = LOOPBACK;
	int nr = nr_cpus < MAX_THREADS ? nr_cpus : MAX_THREADS;
	const struct dfw_flow_page *page = map_page(inner_of("half_open", port));
	struct timespec pause = {.tv_nsec = 2000000};
	uint64_t random = 7;
	unsigned int wrong = 0;
	bool failed = false;

	must(bpf_map_update_elem(fd_of("port_slots"), &ifindex, &port, BPF_ANY) == 0, "port_slots");
	over = false;
	for (int i = 0; i < nr; i++) {
		hammerers[i] = (struct hammerer){.random = 77 + (uint64_t)i,
						 .cpu = i,
						 .flows = flows,
						 .nr_flows = nr_flows,
						 .answers = answers};
		must(pthread_create(&hammerers[i].thread, NULL, hammer, &hammerers[i]) == 0,
		     "a thread");
	}
	/* On a busy machine a CPU may come to it late. */
	for (int i = 0; i < (int)(seconds * 500) || !have_begun(hammerers, nr); i++) {
		for (int look = 0; look < 20000 && port == PORT_CROWDED; look++)
			wrong += wrongs(page);
		nanosleep(&pause, NULL);
		if (port == PORT_RESTLESS) {
			uint32_t op = i % 7 == 0 ? DFW_SWEEP_EXPIRED : DFW_SWEEP_KILL;
			int r = run_sweep(port, op, key_of(flows[below(&random, nr_flows)]));

			failed |= r < 0 && r != -EBUSY;
			ended[op] += r > 0 ? (unsigned int)r : 0;
		}
	}
	over = true;
	for (int i = 0; i < nr; i++) {
		pthread_join(hammerers[i].thread, NULL);
		failed |= hammerers[i].failed || !hammerers[i].passed;
	}
	munmap((void *)page, sizeof(*page));
	if (!CHECK(wrong == 0))
		printf("# %u times a flow was there twice, or had counted another's packet\n",
		       wrong);
	return !failed;
}

/* Both ends of that many flows say something, one after the other. */
static bool begin_flows(uint32_t port, uint32_t nr_flows)
{
	uint32_t ifindex = LOOPBACK;
	bool failed = false;

	must(bpf_map_update_elem(fd_of("port_slots"), &ifindex, &port, BPF_ANY) == 0, "port_slots");
	for (uint32_t i = 0; i < 2 * nr_flows; i++) {
		struct frame f = packet(!(i & 1), i / 2);
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = f.bytes,
			    .data_size_in = (uint32_t)f.len, .repeat = 1);

		failed |= bpf_prog_test_run_opts(program[i & 1 ? DFW_IN : DFW_OUT], &options) < 0;
	}
	return !failed;
}

/* ---- The checker ------------------------------------------------------------------------------------------------- */

struct found {
	struct dfw_flow_key key;
	bool half_open;
};

static struct {
	struct found flows[4096];
	size_t nr;
	uint64_t packets;
	uint32_t elsewhere[256]; /* by page */
	uint32_t strays[1024];	 /* by bucket */
} seen;

static void note(const struct dfw_flow_entry *entry, bool half_open)
{
	CHECK(entry->flow.lock == 0 && entry->flow.state != DFW_FLOW_DEAD);
	for (int leg = 0; leg < DFW_LEGS; leg++)
		CHECK(entry->flow.legs[leg].bytes ==
		      entry->flow.legs[leg].packets * length_of(&entry->key));
	for (size_t i = 0; i < seen.nr; i++)
		if (!CHECK(memcmp(&seen.flows[i].key, &entry->key, sizeof(entry->key)) != 0))
			printf("# port %u is there twice, half-open %d and %d\n",
			       entry->key.remote_port, seen.flows[i].half_open, half_open);
	seen.flows[seen.nr].half_open = half_open;
	seen.flows[seen.nr++].key = entry->key;
	seen.packets += entry->flow.legs[0].packets + entry->flow.legs[1].packets;
}

/* One entry, in bucket `bucket` of the table's page `at`. */
static void check_entry(const struct dfw_flow_entry *entry, uint8_t tag, uint32_t at,
			uint32_t bucket, uint32_t pages, bool half_open)
{
	uint64_t hash = dfw_flow_hash(secret, &entry->key);
	uint32_t index = dfw_flow_bucket_index(hash, pages);

	CHECK(entry->flow.lock == 0);
	if (!tag)
		return;
	CHECK(tag == dfw_flow_tag(hash) && index / DFW_PAGE_BUCKETS == at);
	if (index % DFW_PAGE_BUCKETS != bucket) {
		CHECK(!half_open);
		seen.strays[index]++;
	}
	note(entry, half_open);
}

static void check_table(uint32_t port, const char *name, bool half_open)
{
	int fd = inner_of(name, port);
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	struct dfw_flow_page page;

	must(bpf_obj_get_info_by_fd(fd, &info, &len) == 0, name);
	for (uint32_t at = 0; at < info.max_entries; at++) {
		uint32_t elsewhere = half_open ? 0 : seen.elsewhere[at];

		must(bpf_map_lookup_elem(fd, &at, &page) == 0, name);
		CHECK(page.lock == 0 && page.elsewhere == elsewhere);
		for (uint32_t i = 0; i < FLOW_PAGE_ENTRIES; i++) {
			uint32_t bucket = i / DFW_BUCKET_ENTRIES, place = i % DFW_BUCKET_ENTRIES;

			check_entry(&page.entries[bucket][place],
				    (uint8_t)(page.tags[bucket] >> (8 * place)), at, bucket,
				    info.max_entries, half_open);
		}
		for (uint32_t bucket = 0; bucket < DFW_PAGE_BUCKETS; bucket++)
			CHECK(page.strays[bucket] ==
			      (half_open ? 0 : seen.strays[at * DFW_PAGE_BUCKETS + bucket]));
	}
	close(fd);
}

static void check_more(uint32_t port)
{
	int table = inner_of("flows", port), fd = inner_of("more_flows", port);
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	struct dfw_flow_key key, *at = NULL;
	struct dfw_flow_entry entry;

	must(bpf_obj_get_info_by_fd(table, &info, &len) == 0, "flows");
	while (bpf_map_get_next_key(fd, at, &key) == 0) {
		uint64_t hash = dfw_flow_hash(secret, &key);

		must(bpf_map_lookup_elem(fd, &key, &entry) == 0, "more_flows");
		CHECK(memcmp(&entry.key, &key, sizeof(key)) == 0);
		note(&entry, false);
		seen.strays[dfw_flow_bucket_index(hash, info.max_entries)]++;
		seen.elsewhere[dfw_flow_bucket_index(hash, info.max_entries) / DFW_PAGE_BUCKETS]++;
		at = &key;
	}
	close(table);
	close(fd);
}

/* Looks at all of a port's flows. Returns how many are confirmed. */
static size_t check_port(uint32_t port)
{
	struct dfw_port_state state;
	uint32_t zero = 0;
	size_t confirmed;
	int fd = inner_of("states", port);

	memset(&seen, 0, sizeof(seen));
	check_more(port);
	check_table(port, "flows", false);
	confirmed = seen.nr;
	check_table(port, "half_open", true);
	must(bpf_map_lookup_elem(fd, &zero, &state) == 0, "states");
	CHECK((size_t)state.flows == confirmed);
	close(fd);
	return confirmed;
}

static struct dfw_reason_counter count(uint32_t port, size_t offset)
{
	struct dfw_direction_counters *each = calloc((size_t)nr_cpus, sizeof(*each));
	struct dfw_reason_counter sum = {};
	int fd = inner_of("counters", port);

	for (uint32_t direction = 0; each && direction < DFW_DIRECTIONS; direction++) {
		must(bpf_map_lookup_elem(fd, &direction, each) == 0, "counters");
		for (int cpu = 0; cpu < nr_cpus; cpu++)
			sum.packets += ((struct dfw_reason_counter *)((char *)&each[cpu] + offset))
					       ->packets;
	}
	free(each);
	close(fd);
	return sum;
}

#define COUNTED(port, reason) count(port, offsetof(struct dfw_direction_counters, reason)).packets

int main(int argc, char **argv)
{
	const struct policy_port ports[NR_PORTS] = {
		{.name = "restless", .profile = "restless", .here = true},
		{.name = "crowded", .profile = "crowded", .here = true},
		{.name = "steady", .profile = "steady", .here = true},
	};
	const struct dfw_port_config config = {
		.flags = DFW_PORT_READY, .nr_macs = 1, .macs = {{VM_MAC, {0}}}};
	double seconds = argc > 2 ? atof(argv[2]) : 2;
	struct policy_errors errors = {};
	struct compiled *compiled = NULL;
	struct policy *policy;

	if (geteuid() != 0) {
		printf("ok 1 - flows of all CPUs # SKIP needs root\n1..1\n");
		return EXIT_SUCCESS;
	}
	policy = must_parse(policy_text);
	if (!policy || policy_compile(policy, ports, NR_PORTS, &compiled, &errors) < 0) {
		policy_errors_print(&errors, stderr);
		return EXIT_FAILURE;
	}
	choose_flows();
	load_object(argc > 1 ? argv[1] : NULL);
	load_tables(compiled);
	for (uint32_t port = 0; port < NR_PORTS; port++)
		load_port(compiled, port, config);
	flip(2);

	TEST("flows that come, go and give way on all CPUs are each there once, and found")
	{
		CHECK(hammer_for(seconds, PORT_RESTLESS, everyone, NR_FLOWS, true));
		check_port(PORT_RESTLESS);
		CHECK(ended[DFW_SWEEP_KILL] > 0);
		printf("# %u flows were killed, %u swept away\n", ended[DFW_SWEEP_KILL],
		       ended[DFW_SWEEP_EXPIRED]);
		printf("# %llu packets passed, %llu found no place, %llu a busy flow; %zu flows "
		       "are left\n",
		       (unsigned long long)COUNTED(PORT_RESTLESS, passed),
		       (unsigned long long)COUNTED(PORT_RESTLESS, flow_limit),
		       (unsigned long long)COUNTED(PORT_RESTLESS, flow_busy), seen.nr);
	}
	TEST("half-open flows that push each other out are each there once")
	{
		for (int round = 0; round < 20; round++) {
			CHECK(hammer_for(seconds / 20, PORT_CROWDED, crowd, CROWD, false));
			CHECK(check_port(PORT_CROWDED) == 0 && seen.nr == DFW_BUCKET_ENTRIES);
		}
		printf("# %llu packets of %u flows in %u places\n",
		       (unsigned long long)COUNTED(PORT_CROWDED, passed), CROWD,
		       DFW_BUCKET_ENTRIES);
	}
	TEST("flows that stay lose no packet's count")
	{
		/* Who begins a flow that another CPU begins at the same time replaces it. */
		CHECK(begin_flows(PORT_STEADY, 6));
		/* Few enough that none gives way before it is confirmed. */
		CHECK(hammer_for(seconds, PORT_STEADY, everyone, 6, true));
		CHECK(check_port(PORT_STEADY) == 6);
		CHECK(seen.packets == COUNTED(PORT_STEADY, passed));
		printf("# %llu packets of 6 flows, %llu found a busy flow\n",
		       (unsigned long long)COUNTED(PORT_STEADY, passed),
		       (unsigned long long)COUNTED(PORT_STEADY, flow_busy));
	}
	policy_errors_free(&errors);
	compiled_free(compiled);
	policy_free(policy);
	bpf_object__close(object);
	return check_done();
}
