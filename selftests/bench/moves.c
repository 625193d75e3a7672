// SPDX-License-Identifier: GPL-2.0
/*
 * moves RUNS FLOWS DELTA VPORT HOST... : moves a vport with FLOWS established flows of strict TCP between two hosts of a
 * cluster, RUNS times, there and back, and compares what both kernels have each time.
 *
 * A HOST is NAME:INSTANCE:NAMESPACE:DEVICE:PID, the PID that of its dfwsyncd. Before each start DELTA flows get a segment,
 * while the source's dfwsyncd stands still: all of them are left for the final delta. selftests/bench/moves.sh calls this.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>

#include <dfw/flow.h>
#include <dfw/maps.h>
#include <dfw/migrate.h>
#include <dfw/port.h>

#include "selftests/host/frames.h"
#include "util.h"
#include "flow_table.h"
#include "view.h"
#include "view_pins.h"

#define PREPARE_MS 60000
#define PAYLOAD	   10
#define VM_PORT	   7000
#define FIRST_SEQ  1000000
#define QUIET_US   200000 /* between two moves, so that one does not pay for the other */
#define MOST_FLOWS 1000000

static const struct side vm = {{0x02, 0, 0, 0, 0x77, 0x01}, {10, 77, 0, 1}, {0}};

struct host {
	const char *name, *instance, *space, *device;
	pid_t syncd;
};

struct element {
	struct dfw_flow_key key;
	struct dfw_flow flow;
};

struct samples {
	double *ms;
	size_t nr;
};

static void fail(const char *what)
{
	fprintf(stderr, "moves: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_ms(void)
{
	return (double)monotonic_ns() / 1e6;
}

/* ---- Hosts ------------------------------------------------------------------------------------------------------- */

static struct host read_host(char *text)
{
	struct host host = {
		.name = strtok(text, ":"),
		.instance = strtok(NULL, ":"),
		.space = strtok(NULL, ":"),
		.device = strtok(NULL, ":"),
	};
	const char *pid = strtok(NULL, ":");

	if (!pid) {
		fprintf(stderr, "moves: a host is NAME:INSTANCE:NAMESPACE:DEVICE:PID\n");
		exit(2);
	}
	host.syncd = (pid_t)strtol(pid, NULL, 10);
	return host;
}

/* Of all threads of its dfwsyncd, in seconds. */
static double cpu_seconds(const struct host *host)
{
	char path[64], text[1024];
	unsigned long user, system;
	const char *at;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)host->syncd);
	file = fopen(path, "r");
	if (!file || !fgets(text, sizeof(text), file))
		fail(path);
	fclose(file);
	at = strrchr(text, ')');
	if (!at || sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			  &system) != 2)
		fail(path);
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void enter(const struct host *host)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s", host->space);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		fail(path);
	close(fd);
}

static int open_pin(const struct host *host, const char *vport, const char *pin)
{
	char path[4096];
	int fd = bpf_obj_get(pin_vport_path(host->instance, vport, pin, path));

	if (fd < 0)
		fail(path);
	return fd;
}

/* ---- Flows ------------------------------------------------------------------------------------------------------- */

static struct side remote_of(uint32_t i)
{
	return (struct side){
		{0x02, 0, 0, 0, 0x77, 0xfe}, {10, 90, (uint8_t)(i >> 8), (uint8_t)i}, {0}};
}

static struct dfw_flow_key key_of(uint32_t i)
{
	const struct side remote = remote_of(i);
	struct dfw_flow_key key = {
		.local_port = VM_PORT,
		.remote_port = (uint16_t)(1024 + (i >> 16)),
		.protocol = 6,
	};

	key.local.bytes[10] = key.local.bytes[11] = key.remote.bytes[10] = key.remote.bytes[11] =
		0xff;
	memcpy(key.local.bytes + 12, vm.ip4, 4);
	memcpy(key.remote.bytes + 12, remote.ip4, 4);
	return key;
}

/* As the datapath would have it after SYN, SYN,ACK and ACK. */
static struct dfw_flow established(uint64_t now_ns)
{
	const struct dfw_leg leg = {
		.packets = 2,
		.bytes = 100,
		.end = FIRST_SEQ,
		.max_end = FIRST_SEQ + 65535,
		.max_window = 65535,
		.ack = FIRST_SEQ,
	};

	return (struct dfw_flow){
		.last_seen_ns = now_ns,
		.state = DFW_FLOW_TCP_ESTABLISHED,
		.initiator = DFW_IN,
		.rule_slot = 0xffff,
		.leg_flags = {DFW_LEG_SYN | DFW_LEG_SYN_ACKED, DFW_LEG_SYN | DFW_LEG_SYN_ACKED},
		.created_cs = (uint32_t)(now_ns / DFW_NS_PER_CS) - 1000,
		.legs = {leg, leg},
	};
}

/* Writes a table that was made up in memory. */
static void write_table(int map, const struct dfw_flow_page *pages, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++)
		if (flow_page_used(&pages[i]) &&
		    bpf_map_update_elem(map, &i, &pages[i], BPF_ANY) < 0)
			fail("cannot put flows");
}

static void put_flows(const struct host *host, const char *vport, uint32_t flows)
{
	int map = open_pin(host, vport, "flows"), more = open_pin(host, vport, "more_flows"),
	    state_map = open_pin(host, vport, "state"), secrets;
	struct dfw_flow_page *pages;
	struct bpf_map_info info = {};
	struct dfw_port_state state;
	struct dfw_secrets secret;
	const uint32_t zero = 0;
	char path[4096];

	secrets = bpf_obj_get(pin_path(host->instance, "secrets", path));
	if (secrets < 0 || bpf_map_lookup_elem(secrets, &zero, &secret) < 0 ||
	    bpf_obj_get_info_by_fd(map, &info, &(uint32_t){sizeof(info)}) < 0)
		fail(path);
	pages = calloc(info.max_entries, sizeof(*pages));
	if (!pages)
		fail("no memory");
	for (uint32_t i = 0; i < flows; i++) {
		const struct dfw_flow_entry entry = {.key = key_of(i),
						     .flow = established(monotonic_ns())};

		if (!flow_table_put(pages, info.max_entries, secret.flows, &entry) &&
		    bpf_map_update_elem(more, &entry.key, &entry, BPF_ANY) < 0)
			fail("cannot put flows");
	}
	write_table(map, pages, info.max_entries);
	free(pages);
	if (bpf_map_lookup_elem(state_map, &zero, &state) < 0)
		fail("state");
	state.flows = flows;
	if (bpf_map_update_elem(state_map, &zero, &state, BPF_ANY) < 0)
		fail("state");
	close(secrets);
	close(map);
	close(more);
	close(state_map);
}

/* A segment of each of `nr` flows from `first` on, through the datapath. */
static void touch(const struct host *host, uint32_t *seqs, uint32_t flows, uint32_t first,
		  uint32_t nr)
{
	struct __sk_buff context = {.ifindex = if_nametoindex(host->device)};
	char path[4096];
	int program = bpf_obj_get(pin_path(host->instance, "programs/in", path));

	if (program < 0 || !context.ifindex)
		fail(path);
	for (uint32_t k = 0; k < nr; k++) {
		uint32_t i = (first + k) % flows;
		const struct side remote = remote_of(i);
		const struct tcp_fields fields = {
			.source = (uint16_t)(1024 + (i >> 16)),
			.destination = VM_PORT,
			.seq = FIRST_SEQ + seqs[i],
			.ack = FIRST_SEQ,
			.flags = 0x10,
			.window = 65535,
			.bytes = PAYLOAD,
		};
		struct frame f = frame_ip(&remote, &vm, false, 6);
		LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = f.bytes, .ctx_in = &context,
			    .ctx_size_in = sizeof(context), .repeat = 1);

		frame_tcp(&f, &fields);
		frame_done(&f);
		options.data_size_in = (uint32_t)f.len;
		if (bpf_prog_test_run_opts(program, &options) < 0)
			fail("BPF_PROG_RUN");
		if ((int)options.retval != TC_ACT_UNSPEC) {
			fprintf(stderr, "moves: flow %u: a segment does not pass\n", i);
			exit(1);
		}
		seqs[i] += PAYLOAD;
	}
	close(program);
}

/* ---- Comparing --------------------------------------------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct dfw_flow_key));
}

struct reading {
	struct element *elements;
	size_t nr;
};

static int read_one(const struct dfw_flow_entry *entry, void *data)
{
	struct reading *reading = data;

	if (entry->flow.state != DFW_FLOW_DEAD && reading->nr < MOST_FLOWS)
		reading->elements[reading->nr++] = (struct element){entry->key, entry->flow};
	return 0;
}

static struct element *read_flows(const struct host *host, const char *vport, size_t *nr)
{
	int maps[] = {open_pin(host, vport, "flows"), open_pin(host, vport, "more_flows")};
	struct reading reading = {.elements = calloc(MOST_FLOWS, sizeof(*reading.elements))};

	if (!reading.elements)
		fail("no memory");
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		if (flow_table_each(maps[i], read_one, &reading) < 0)
			fail("cannot read flows");
		close(maps[i]);
	}
	qsort(reading.elements, reading.nr, sizeof(*reading.elements), compare_keys);
	*nr = reading.nr;
	return reading.elements;
}

static bool same_flow(const struct dfw_flow *a, const struct dfw_flow *b)
{
	return a->state == b->state && a->initiator == b->initiator && a->rule == b->rule &&
	       memcmp(a->leg_flags, b->leg_flags, sizeof(a->leg_flags)) == 0 &&
	       memcmp(a->legs, b->legs, sizeof(a->legs)) == 0;
}

/* How many of the source's flows the destination does not have, or has otherwise. */
static size_t lost(const struct element *source, size_t nr_source, const struct element *there,
		   size_t nr_there)
{
	size_t missing = 0;

	for (size_t i = 0; i < nr_source; i++) {
		const struct element *found =
			bsearch(&source[i].key, there, nr_there, sizeof(*there), compare_keys);

		missing += !found || !same_flow(&source[i].flow, &found->flow);
	}
	return missing;
}

/* ---- Moving ------------------------------------------------------------------------------------------------------ */

static void add_sample(struct samples *samples, double ms)
{
	double *more = realloc(samples->ms, (samples->nr + 1) * sizeof(*more));

	if (!more)
		fail("no memory");
	samples->ms = more;
	samples->ms[samples->nr++] = ms;
}

static int compare_ms(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* By the nearest rank: the least that so many hundredths of them do not exceed. */
static double percentile(struct samples *samples, size_t hundredths)
{
	size_t rank = (samples->nr * hundredths + 99) / 100;

	qsort(samples->ms, samples->nr, sizeof(*samples->ms), compare_ms);
	return samples->ms[rank ? rank - 1 : 0];
}

static void must(int r, const char *step, const struct dfw_move *move)
{
	if (r == 0)
		return;
	fprintf(stderr, "moves: %s: %s\n", step, move->error[0] ? move->error : strerror(-r));
	exit(1);
}

struct measured {
	/* As whoever calls sees it, and what of it passed in dfwsyncd. */
	struct samples prepare, start, start_inside, activate, activate_inside, both, both_inside;
	size_t lost, flows;
	double cpu_from, cpu_to; /* seconds, while preparing */
};

static void move_once(struct measured *measured, const struct host *from, const struct host *to,
		      const char *vport, uint32_t *seqs, uint32_t flows, uint32_t first,
		      uint32_t delta, bool warm)
{
	struct element *source, *there;
	size_t nr_source, nr_there;
	struct dfw_move move;
	double begin, handed, done, start_inside, activate_inside;

	if (!warm) {
		measured->cpu_from -= cpu_seconds(from);
		measured->cpu_to -= cpu_seconds(to);
	}
	begin = now_ms();
	must(dfw_move_prepare(from->instance, vport, to->name, DFW_MOVE_STRICT, PREPARE_MS, &move),
	     "prepare", &move);
	if (!warm) {
		add_sample(&measured->prepare, now_ms() - begin);
		measured->cpu_from += cpu_seconds(from);
		measured->cpu_to += cpu_seconds(to);
	}
	kill(from->syncd, SIGSTOP);
	enter(from);
	touch(from, seqs, flows, first, delta);
	kill(from->syncd, SIGCONT);
	begin = now_ms();
	must(dfw_move_start(from->instance, vport, &move), "start", &move);
	handed = now_ms();
	start_inside = (double)move.took_us / 1e3;
	source = read_flows(from, vport, &nr_source);
	done = now_ms();
	must(dfw_move_activate(to->instance, vport, &move), "activate", &move);
	done = now_ms() - done;
	activate_inside = (double)move.took_us / 1e3;
	there = read_flows(to, vport, &nr_there);
	measured->lost += lost(source, nr_source, there, nr_there);
	measured->flows += nr_source;
	if (!warm) {
		add_sample(&measured->start, handed - begin);
		add_sample(&measured->activate, done);
		add_sample(&measured->both, handed - begin + done);
		add_sample(&measured->start_inside, start_inside);
		add_sample(&measured->activate_inside, activate_inside);
		add_sample(&measured->both_inside, start_inside + activate_inside);
	}
	free(source);
	free(there);
	usleep(QUIET_US);
}

static void print_samples(const char *what, struct samples *samples)
{
	printf("%-42s p50 %7.2f ms  p99 %7.2f ms  max %7.2f ms\n", what, percentile(samples, 50),
	       percentile(samples, 99), percentile(samples, 100));
}

int main(int argc, char **argv)
{
	struct measured measured = {};
	struct host hosts[2];
	uint32_t runs, flows, delta, *seqs;
	char what[64];

	if (argc != 7) {
		fprintf(stderr, "usage: moves RUNS FLOWS DELTA VPORT HOST HOST\n");
		return 2;
	}
	runs = (uint32_t)strtoul(argv[1], NULL, 10);
	flows = (uint32_t)strtoul(argv[2], NULL, 10);
	delta = (uint32_t)strtoul(argv[3], NULL, 10);
	hosts[0] = read_host(argv[5]);
	hosts[1] = read_host(argv[6]);
	seqs = calloc(flows + 1, sizeof(*seqs));
	if (!runs || !flows || flows > MOST_FLOWS || !seqs)
		return 2;
	put_flows(&hosts[0], argv[4], flows);
	for (uint32_t i = 0; i < runs + 2; i++)
		move_once(&measured, &hosts[i & 1], &hosts[!(i & 1)], argv[4], seqs, flows,
			  i * delta % flows, delta, i < 2);
	printf("%u moves of %u flows: %zu flows compared, %zu lost\n", runs + 2, flows,
	       measured.flows, measured.lost);
	snprintf(what, sizeof(what), "start, with %u flows left to tell", delta);
	print_samples(what, &measured.start_inside);
	print_samples("activate", &measured.activate_inside);
	print_samples("both: what the firewall adds", &measured.both_inside);
	print_samples("both, with the calls of a hook", &measured.both);
	print_samples("prepare, until it is safe", &measured.prepare);
	printf("%.0f flows/s while preparing (median); a core: %.0f/s told, %.0f/s taken\n",
	       flows / percentile(&measured.prepare, 50) * 1000,
	       (double)flows * runs / measured.cpu_from, (double)flows * runs / measured.cpu_to);
	return measured.lost ? 1 : 0;
}
