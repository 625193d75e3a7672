// SPDX-License-Identifier: GPL-2.0
/*
 * The datapath's objects in the kernel, by BPF_PROG_RUN: a crafted frame for each reason that a frame can cause, judged by
 * the counter of that name, and what XDP takes or leaves. (A tag in the skb cannot be given to BPF_PROG_RUN;
 * selftests/netns has those.)
 *
 * Usage: prog_run [OBJECT]; without it, that of DFW_BUILD (build)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>

#include <dfw/change.h>
#include <dfw/event.h>
#include <dfw/exchange.h>
#include <dfw/maps.h>
#include <dfw/path.h>
#include <dfw/port.h>
#include <dfw/reason.h>
#include <dfw/ruleset.h>

#include "check.h"
#include "dfw_xdp.skel.h"
#include "kernel_datapath.h"
#include "policy_files.h"
#include "selftests/host/frames.h"

enum { PORT_VM, PORT_TIGHT, PORT_UNREADY, PORT_FLOODED, NR_PORTS };

#define VM_MAC	{0x02, 0, 0, 0, 0, 0x02}
#define VM_V4	{[10] = 0xff, 0xff, 10, 0, 0, 2}
#define PEER_V4 {[10] = 0xff, 0xff, 10, 1, 0, 1}
#define VM_ADDRESSES                    \
	{VM_V4}, {{0xfd, 0, [15] = 2}}, \
	{{0xfe, 0x80, [15] = 2}}

static const struct side vm = {VM_MAC, {10, 0, 0, 2}, {0xfd, 0, [15] = 2}};
static const struct side peer = {{0x02, 0, 0, 0, 0, 0x01}, {10, 1, 0, 1}, {0xfd, 1, [15] = 1}};
static const struct side stranger = {{0x02, 0, 0, 0, 0, 0x09}, {10, 1, 0, 9}, {0xfd, 1, [15] = 9}};
static const struct side link_vm = {VM_MAC, {0}, {0xfe, 0x80, [15] = 2}};
static const struct side link_peer = {
	{0x02, 0, 0, 0, 0, 0x01}, {10, 0, 0, 1}, {0xfe, 0x80, [15] = 1}};
static const struct side everyone = {
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {255, 255, 255, 255}, {0xff, 2, [15] = 1}};

static const char policy_text[] =
	"profile tight {\n max-flows 1\n new-per-second 3\n reject-per-second 1\n}\n"
	"profile flooded {\n max-half-open 8\n}\n"
	"default in drop\ndefault out drop\n"
	"telnet: drop out service tcp 23\n"
	"smtp: reject out service tcp 25, udp 25\n"
	"limited: allow in service udp 6000 limit 1/second burst 1\n"
	"by-source: allow in service udp 6001 limit 1/second burst 1 per source\n"
	"at-most-one: allow out service udp 6002 max-flows 1\n"
	"killed: allow out service udp 6003 on-change kill\n"
	"outwards: allow out\n"
	"web: allow in service tcp 80, udp 5000, sctp 9, icmp-echo, icmp6-echo\n";

static const char *const names[] = {
#define REASON_NAME(symbol, field, name, help) name,
	DFW_REASONS(REASON_NAME)
#undef REASON_NAME
};

static uint32_t slot;
static bool seen[DFW_REASON_COUNT];

static void use_port(uint32_t port)
{
	uint32_t ifindex = LOOPBACK;

	slot = port;
	must(bpf_map_update_elem(fd_of("port_slots"), &ifindex, &slot, BPF_ANY) == 0, "port_slots");
}

/* ---- Frames ------------------------------------------------------------------------------------------------------ */

static struct dfw_direction_counters read_counters(uint32_t direction)
{
	struct dfw_direction_counters sum = {}, *each = calloc((size_t)nr_cpus, sizeof(*each));
	int outer = fd_of("counters"), fd;
	uint32_t id;

	must(each && bpf_map_lookup_elem(outer, &slot, &id) == 0, "counters");
	fd = bpf_map_get_fd_by_id(id);
	must(fd >= 0 && bpf_map_lookup_elem(fd, &direction, each) == 0, "counters");
	for (int cpu = 0; cpu < nr_cpus; cpu++)
		for (size_t i = 0; i < DFW_REASON_COUNT; i++) {
			((struct dfw_reason_counter *)&sum)[i].packets +=
				((struct dfw_reason_counter *)&each[cpu])[i].packets;
			((struct dfw_reason_counter *)&sum)[i].bytes +=
				((struct dfw_reason_counter *)&each[cpu])[i].bytes;
		}
	close(fd);
	free(each);
	return sum;
}

static uint8_t answer[8192]; /* the frame as the program left it */

static int run(uint32_t direction, const struct frame *f, uint32_t gso_segs)
{
	struct __sk_buff ctx = {.gso_segs = gso_segs, .gso_size = gso_segs ? 1000 : 0};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = f->bytes,
		    .data_size_in = (uint32_t)f->len, .data_out = answer,
		    .data_size_out = sizeof(answer), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx),
		    .repeat = 1);
	int r = bpf_prog_test_run_opts(program[direction], &options);

	if (r < 0)
		printf("# BPF_PROG_RUN: %s\n", strerror(-r));
	return r < 0 ? r : (int)options.retval;
}

/* The one reason that grew, by the segments of the frame. */
static void expect_segments(uint32_t direction, const struct frame *f, const char *reason,
			    uint32_t segments)
{
	struct dfw_direction_counters before = read_counters(direction), after;
	const struct dfw_reason_counter *then = (void *)&before, *now = (void *)&after;
	int action = run(direction, f, segments > 1 ? segments : 0), wanted = TC_ACT_SHOT;
	const char *found = "none";
	unsigned int times = 0;

	after = read_counters(direction);
	for (size_t i = 0; i < DFW_REASON_COUNT; i++)
		if (now[i].packets != then[i].packets) {
			found = names[i];
			seen[i] = true;
			times++;
			CHECK(now[i].packets - then[i].packets == segments);
		}
	CHECK(times == 1);
	CHECK_TEXT(found, reason);
	if (strcmp(reason, "passed") == 0)
		wanted = TC_ACT_UNSPEC;
	if (strcmp(reason, "rejected") == 0 || strcmp(reason, "syn-challenge") == 0)
		wanted = TC_ACT_REDIRECT;
	CHECK(action == wanted);
}

static void expect(uint32_t direction, const struct frame *f, const char *reason)
{
	expect_segments(direction, f, reason, 1);
}

static struct frame udp(const struct side *from, const struct side *to, uint16_t source,
			uint16_t destination)
{
	struct frame f = frame_ip(from, to, false, 17);

	frame_udp(&f, source, destination, 20);
	frame_done(&f);
	return f;
}

static struct frame tcp(bool out, uint16_t local, uint16_t remote, uint8_t flags, uint32_t seq,
			uint32_t ack, size_t bytes)
{
	const struct tcp_fields fields = {.source = out ? local : remote,
					  .destination = out ? remote : local,
					  .seq = seq,
					  .ack = ack,
					  .flags = flags,
					  .window = 1000,
					  .bytes = bytes};
	struct frame f = frame_ip(out ? &vm : &peer, out ? &peer : &vm, false, 6);

	frame_tcp(&f, &fields);
	frame_done(&f);
	return f;
}

static struct frame sctp(bool out, uint32_t tag, uint8_t chunk, const void *value, size_t bytes)
{
	struct frame f = frame_ip(out ? &vm : &peer, out ? &peer : &vm, false, 132);

	frame_sctp(&f, out ? 2000 : 9, out ? 9 : 2000, tag);
	frame_chunk(&f, chunk, 0, value, bytes);
	frame_done(&f);
	return f;
}

static struct frame icmp(const struct side *from, const struct side *to, bool v6, uint8_t type,
			 const uint8_t *target)
{
	struct frame f = frame_ip(from, to, v6, v6 ? 58 : 1);

	f.bytes[f.l3 + (v6 ? 7 : 8)] = 255;
	frame_icmp(&f, type, 0, 0x10001, type == 134 ? 8 : 0);
	if (target)
		frame_add(&f, target, 16);
	frame_done(&f);
	return f;
}

static struct frame arp(const struct side *from, const uint8_t *sender_ip, uint16_t operation)
{
	struct frame f = frame_ethernet(from, &everyone, 0x0806);

	frame_arp(&f, operation, from->mac, sender_ip, peer.mac, peer.ip4);
	return f;
}

/* ---- The reasons ------------------------------------------------------------------------------------------------- */

static void test_link(void)
{
	struct frame f;

	TEST("link layer: truncated, ethertype, llc, vlan, MACs")
	{
		f = arp(&vm, vm.ip4, 1);
		f.len -= 4;
		expect(DFW_OUT, &f, "truncated");
		f = frame_ethernet(&vm, &peer, 0x88cc);
		frame_add(&f, NULL, 46);
		expect(DFW_OUT, &f, "ethertype");
		f = frame_ethernet(&vm, &peer, 38);
		frame_add(&f, NULL, 46);
		expect(DFW_OUT, &f, "llc");
		f = udp(&vm, &peer, 1, 2);
		frame_tag(&f, 0x8100, 5);
		expect(DFW_OUT, &f, "vlan");
		f = udp(&vm, &peer, 1, 2);
		frame_tag(&f, 0x8100, 0); /* a priority, not a VLAN */
		expect(DFW_OUT, &f, "passed");
		frame_tag(&f, 0x8100, 0);
		expect(DFW_OUT, &f, "vlan");
		f = udp(&stranger, &peer, 1, 2);
		expect(DFW_OUT, &f, "source-mac");
		f = udp(&vm, &vm, 1, 2);
		expect(DFW_IN, &f, "own-mac");
		f = udp(&peer, &stranger, 1, 2);
		expect(DFW_IN, &f, "destination-mac");
	}
	TEST("addresses: source-address, own-address, martian, land")
	{
		struct side other = vm, own = peer;

		other.ip4[3] = 99;
		f = udp(&other, &peer, 1, 2);
		expect(DFW_OUT, &f, "source-address");
		memcpy(own.ip4, vm.ip4, 4);
		f = udp(&own, &peer, 1, 2);
		memcpy(f.bytes, vm.mac, 6);
		expect(DFW_IN, &f, "own-address");
		f = udp(&own, &vm, 1, 2);
		expect(DFW_IN, &f, "land");
		own.ip4[0] = 127;
		f = udp(&own, &vm, 1, 2);
		expect(DFW_IN, &f, "martian");
	}
	TEST("arp, arp-spoof, nd, nd-spoof, router-advertisement, dhcp-server")
	{
		f = arp(&vm, vm.ip4, 1);
		expect(DFW_OUT, &f, "passed");
		f = arp(&vm, vm.ip4, 7);
		expect(DFW_OUT, &f, "arp");
		f = arp(&vm, peer.ip4, 1);
		expect(DFW_OUT, &f, "arp-spoof");
		f = icmp(&link_peer, &link_vm, true, 135, link_vm.ip6);
		expect(DFW_IN, &f, "passed");
		f.bytes[f.l3 + 7] = 64;
		expect(DFW_IN, &f, "nd");
		f = icmp(&link_vm, &link_peer, true, 136, link_peer.ip6);
		expect(DFW_OUT, &f, "nd-spoof");
		f = icmp(&link_vm, &everyone, true, 134, NULL);
		expect(DFW_OUT, &f, "router-advertisement");
		f = udp(&vm, &peer, 67, 68);
		expect(DFW_OUT, &f, "dhcp-server");
	}
}

static void test_network(void)
{
	static const uint8_t route[4] = {131, 3, 4, 0};
	struct frame f, whole;

	TEST("ip-header, ip-length, ip-checksum, ip-option, extension, protocol")
	{
		f = udp(&vm, &peer, 1, 2);
		f.bytes[14] = 0x44;
		expect(DFW_OUT, &f, "ip-header");
		f = udp(&vm, &peer, 1, 2);
		put16(f.bytes + 16, 2000);
		expect(DFW_OUT, &f, "ip-length");
		f = udp(&vm, &peer, 1, 2);
		f.bytes[24] ^= 1;
		expect(DFW_OUT, &f, "ip-checksum");
		f = frame_ip(&vm, &peer, false, 17);
		frame_options4(&f, route, sizeof(route));
		frame_udp(&f, 1, 2, 8);
		frame_done(&f);
		expect(DFW_OUT, &f, "ip-option");
		f = frame_ip(&vm, &peer, true, 17);
		frame_extension(&f, 60, 1);
		frame_extension(&f, 0, 1);
		frame_udp(&f, 1, 2, 8);
		frame_done(&f);
		expect(DFW_OUT, &f, "extension");
		f = frame_ip(&vm, &peer, true, 59);
		frame_add(&f, NULL, 8);
		frame_done(&f);
		expect(DFW_OUT, &f, "protocol");
	}
	TEST("fragment, fragment-orphan, fragment-overlap")
	{
		whole = frame_ip(&vm, &peer, false, 17);
		frame_udp(&whole, 1, 2, 992);
		frame_done(&whole);
		f = frame_fragment(&whole, 0, 201, true, 1);
		expect(DFW_OUT, &f, "fragment");
		f = frame_fragment(&whole, 200, 200, true, 2);
		expect(DFW_OUT, &f, "fragment-orphan");
		f = frame_fragment(&whole, 0, 200, true, 2);
		expect(DFW_OUT, &f, "passed");
		f = frame_fragment(&whole, 200, 200, true, 2);
		expect(DFW_OUT, &f, "passed");
		f = frame_fragment(&whole, 392, 200, true, 2);
		expect(DFW_OUT, &f, "fragment-overlap");
	}
	TEST("l4-header, l4-checksum, port-zero, tcp-flags")
	{
		f = udp(&vm, &peer, 1, 2);
		put16(f.bytes + 38, 7);
		expect(DFW_OUT, &f, "l4-header");
		f = udp(&vm, &peer, 1, 2);
		f.bytes[f.len - 1] ^= 1;
		expect(DFW_OUT, &f, "l4-checksum");
		f = udp(&vm, &peer, 1, 0);
		expect(DFW_OUT, &f, "port-zero");
		f = tcp(true, 1, 2, TH_SYN | TH_FIN, 1, 0, 0);
		expect(DFW_OUT, &f, "tcp-flags");
	}
}

static void test_flows(void)
{
	static const uint8_t init[16] = {1, 2, 3, 4, 0, 1, 0, 0, 0, 4, 0, 4, 0, 0, 0, 1};
	struct frame f, g;

	TEST("tcp: no-flow, window, ack, rst, state")
	{
		f = tcp(true, 4000, 80, TH_ACK, 1, 1, 0);
		expect(DFW_OUT, &f, "tcp-no-flow");
		f = tcp(true, 4000, 80, TH_SYN, 1000, 0, 0);
		expect(DFW_OUT, &f, "passed");
		f = tcp(false, 4000, 80, TH_ACK, 5000, 1, 10);
		expect(DFW_IN, &f, "tcp-state");
		f = tcp(false, 4000, 80, TH_SYN | TH_ACK, 5000, 1001, 0);
		expect(DFW_IN, &f, "passed");
		f = tcp(true, 4000, 80, TH_ACK, 1001, 5001, 0);
		expect(DFW_OUT, &f, "passed");
		f = tcp(true, 4000, 80, TH_ACK, 1001 + 100000, 5001, 1);
		expect(DFW_OUT, &f, "tcp-window");
		f = tcp(true, 4000, 80, TH_ACK, 1001, 5002, 1);
		expect(DFW_OUT, &f, "tcp-ack");
		f = tcp(false, 4000, 80, TH_RST, 5005, 0, 0);
		expect(DFW_IN, &f, "tcp-rst");
		f = tcp(false, 4000, 80, TH_RST, 5001, 0, 0);
		expect(DFW_IN, &f, "passed");
	}
	TEST("sctp-chunk, sctp-no-flow, sctp-tag")
	{
		f = sctp(true, 0, 1, init, 3);
		expect(DFW_OUT, &f, "sctp-chunk");
		f = sctp(true, 7, 0, NULL, 16);
		expect(DFW_OUT, &f, "sctp-no-flow");
		f = sctp(true, 0, 1, init, 16);
		expect(DFW_OUT, &f, "passed");
		f = sctp(false, 99, 2, init, 16);
		expect(DFW_IN, &f, "sctp-tag");
	}
	TEST("icmp-type, icmp-no-flow, icmp-error")
	{
		f = icmp(&peer, &vm, false, 5, NULL);
		expect(DFW_IN, &f, "icmp-type");
		f = icmp(&peer, &vm, false, 0, NULL);
		expect(DFW_IN, &f, "icmp-no-flow");
		g = udp(&vm, &peer, 4001, 4002);
		f = frame_error(&peer, &vm, 3, 3, 0, &g);
		expect(DFW_IN, &f, "icmp-error");
		expect(DFW_OUT, &g, "passed");
		expect(DFW_IN, &f, "passed");
	}
	TEST("a GSO frame counts as its segments")
	{
		f = frame_ip(&vm, &peer, false, 6);
		g = tcp(true, 4003, 80, TH_SYN, 1, 0, 0);
		expect(DFW_OUT, &g, "passed");
		g = tcp(false, 4003, 80, TH_SYN | TH_ACK, 9, 2, 0);
		expect(DFW_IN, &g, "passed");
		g = tcp(true, 4003, 80, TH_ACK, 2, 10, 900);
		expect_segments(DFW_OUT, &g, "passed", 3);
	}
}

static void test_rules(void)
{
	struct frame f, g;

	TEST("rule, default, rejected, reject-limit, reject-silent")
	{
		f = tcp(true, 4100, 23, TH_SYN, 1, 0, 0);
		expect(DFW_OUT, &f, "rule");
		f = tcp(false, 4100, 23, TH_SYN, 1, 0, 0);
		expect(DFW_IN, &f, "default");
		f = tcp(true, 4100, 25, TH_SYN, 1, 0, 0);
		expect(DFW_OUT, &f, "rejected");
		f = udp(&vm, &peer, 4100, 25);
		expect(DFW_OUT, &f, "rejected");
		f = udp(&vm, &everyone, 4100, 25);
		expect(DFW_OUT, &f, "reject-silent");
		use_port(PORT_TIGHT);
		f = udp(&vm, &peer, 4100, 25);
		for (int i = 0; i < 4; i++)
			run(DFW_OUT, &f, 0);
		expect(DFW_OUT, &f, "reject-limit");
		use_port(PORT_VM);
	}
	TEST("rule-limit, source-limit, flow-limit, rate-limit")
	{
		for (uint16_t port = 0; port < 4; port++) {
			f = udp(&peer, &vm, 5100 + port, 6000);
			run(DFW_IN, &f, 0);
			g = udp(&peer, &vm, 5100 + port, 6001);
			run(DFW_IN, &g, 0);
		}
		f = udp(&peer, &vm, 5200, 6000);
		expect(DFW_IN, &f, "rule-limit");
		g = udp(&peer, &vm, 5200, 6001);
		expect(DFW_IN, &g, "source-limit");
		g = udp(&stranger, &vm, 5200, 6001);
		expect(DFW_IN, &g, "passed");

		use_port(PORT_TIGHT);
		for (uint16_t port = 0; port < 2; port++) {
			f = udp(&vm, &peer, 5300 + port, 7000);
			expect(DFW_OUT, &f, "passed");
			f = udp(&peer, &vm, 7000, 5300 + port);
			expect(DFW_IN, &f, port == 0 ? "passed" : "flow-limit");
		}
		for (uint16_t port = 0; port < 6; port++) {
			f = udp(&vm, &peer, 5400 + port, 7000);
			run(DFW_OUT, &f, 0);
		}
		f = udp(&vm, &peer, 5500, 7000);
		expect(DFW_OUT, &f, "rate-limit");
		use_port(PORT_VM);
	}
	TEST("syn-challenge, syn-proven: the number in the answer, and no other, proves its sender")
	{
		const struct __attribute__((packed)) {
			uint8_t ip[34];
			__be16 ports[2];
			__be32 seq, ack;
			uint8_t offset, flags;
		} *asked = (const void *)answer;

		use_port(PORT_FLOODED);
		for (uint16_t port = 0; port < 16; port++) {
			f = tcp(false, 80, 6100 + port, TH_SYN, 1, 0, 0);
			run(DFW_IN, &f, 0);
		}
		f = tcp(false, 80, 6200, TH_SYN, 1, 0, 0);
		expect(DFW_IN, &f, "syn-challenge");
		CHECK(asked->flags == TH_ACK && asked->ports[0] == htons(80) &&
		      asked->ports[1] == htons(6200));
		g = tcp(false, 80, 6200, TH_RST, ntohl(asked->ack) + 1, 0, 0);
		expect(DFW_IN, &g, "tcp-no-flow");
		expect(DFW_IN, &f, "syn-challenge");
		g = tcp(false, 80, 6200, TH_RST, ntohl(asked->ack), 0, 0);
		expect(DFW_IN, &g, "syn-proven");
		expect(DFW_IN, &f, "passed");
		use_port(PORT_VM);
	}
	TEST("flow-killed, not-ready; a device of no port is dropped")
	{
		uint32_t ifindex = LOOPBACK;

		f = udp(&vm, &peer, 5600, 6003);
		expect(DFW_OUT, &f, "passed");
		flip(3);
		expect(DFW_OUT, &f, "flow-killed");
		use_port(PORT_UNREADY);
		expect(DFW_OUT, &f, "not-ready");
		must(bpf_map_delete_elem(fd_of("port_slots"), &ifindex) == 0, "port_slots");
		CHECK(run(DFW_OUT, &f, 0) == TC_ACT_SHOT);
		use_port(PORT_VM);
	}
}

/* ---- Watched and held ports -------------------------------------------------------------------------------------- */

static void change_config(uint32_t port, uint32_t switches, uint64_t epoch)
{
	for (uint32_t bank = 0; bank < DFW_BANKS; bank++) {
		uint32_t index = port * DFW_BANKS + bank, zero = 0, id;
		struct dfw_port_config config;
		int fd;

		must(bpf_map_lookup_elem(fd_of("configs"), &index, &id) == 0, "configs");
		fd = bpf_map_get_fd_by_id(id);
		must(fd >= 0 && bpf_map_lookup_elem(fd, &zero, &config) == 0, "config");
		config.flags = (config.flags & ~(uint32_t)DFW_PORT_SWITCHES) | switches;
		config.epoch = epoch;
		must(bpf_map_update_elem(fd, &zero, &config, BPF_ANY) == 0, "config");
		close(fd);
	}
}

static void set_switches(uint32_t port, uint32_t switches)
{
	change_config(port, switches, 0);
}

static struct dfw_change changes[16];
static size_t nr_changes, nr_seen;

static int on_change(void *context, void *record, size_t bytes)
{
	(void)context;
	if (bytes == sizeof(changes[0]) && nr_changes < 16)
		memcpy(&changes[nr_changes++], record, bytes);
	return 0;
}

static int on_event(void *context, void *record, size_t bytes)
{
	const struct dfw_event *event = record;

	(void)context;
	(void)bytes;
	nr_seen += event->type == DFW_EVENT_SEEN && memcmp(event->mac, vm.mac, 6) == 0;
	return 0;
}

static void read_ring(const char *name, ring_buffer_sample_fn each)
{
	struct ring_buffer *ring = ring_buffer__new(fd_of(name), each, NULL, NULL);

	must(ring, name);
	nr_changes = nr_seen = 0;
	ring_buffer__consume(ring);
	ring_buffer__free(ring);
}

/* Has the first `nr` places of `exchange` done; as nobody, who has the descriptors and no capability. */
static int run_exchange(uint32_t port, uint32_t nr)
{
	const struct dfw_exchange_request request = {.slot = port, .nr = nr};
	uint8_t packet[64] = {};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = 1);
	int fd = bpf_program__fd(bpf_object__find_program_by_name(object, "dfw_exchange"));
	int status;
	pid_t child;

	memcpy(packet, &request, sizeof(request));
	fflush(stdout);
	child = fork();
	if (child == 0) {
		int r = setgroups(0, NULL) || setresgid(65534, 65534, 65534) ||
					setresuid(65534, 65534, 65534)
				? -EPERM
				: bpf_prog_test_run_opts(fd, &options);

		_exit(r < 0 ? 255 : (int)options.retval);
	}
	must(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status), "exchange");
	return WEXITSTATUS(status);
}

static int64_t flows_of(uint32_t port)
{
	struct dfw_port_state state;
	uint32_t zero = 0, id;
	int fd;

	must(bpf_map_lookup_elem(fd_of("states"), &port, &id) == 0, "states");
	fd = bpf_map_get_fd_by_id(id);
	must(fd >= 0 && bpf_map_lookup_elem(fd, &zero, &state) == 0, "state");
	close(fd);
	return state.flows;
}

/* Writes the lock of a confirmed flow, as another CPU would. */
static void hold_flow(const struct dfw_flow_key *key, uint32_t lock)
{
	const struct dfw_flow_entry *entries[FLOW_PAGE_ENTRIES];
	struct dfw_flow_page page;
	uint32_t index, next, port = PORT_VM, id;
	int fd, r;

	must(bpf_map_lookup_elem(fd_of("flows"), &port, &id) == 0, "flows");
	fd = bpf_map_get_fd_by_id(id);
	must(fd >= 0, "a table");
	for (r = bpf_map_get_next_key(fd, NULL, &next); r == 0;
	     r = bpf_map_get_next_key(fd, &index, &next)) {
		index = next;
		must(bpf_map_lookup_elem(fd, &index, &page) == 0, "a page");
		for (unsigned int i = 0, nr = flow_page_entries(&page, entries); i < nr; i++) {
			if (memcmp(&entries[i]->key, key, sizeof(*key)) != 0)
				continue;
			((struct dfw_flow_entry *)entries[i])->flow.lock = lock;
			must(bpf_map_update_elem(fd, &index, &page, BPF_ANY) == 0, "a lock");
		}
	}
	close(fd);
}

/* As dfwd does. */
static int kill_flow(const struct dfw_flow_key *key)
{
	const struct dfw_sweep_request kill = {.slot = PORT_VM, .op = DFW_SWEEP_KILL, .key = *key};
	int sweep = bpf_program__fd(bpf_object__find_program_by_name(object, "dfw_sweep"));
	uint8_t packet[64] = {};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = 1);

	memcpy(packet, &kill, sizeof(kill));
	must(bpf_prog_test_run_opts(sweep, &options) == 0, "sweep");
	return (int)options.retval;
}

static void test_put(struct dfw_exchange *places)
{
	struct dfw_exchange put = {.op = DFW_EXCHANGE_PUT,
				   .key = {.local = {VM_V4},
					   .remote = {PEER_V4},
					   .local_port = 7200,
					   .remote_port = 7000,
					   .protocol = 17},
				   .flow = {.state = DFW_FLOW_UDP_REPLIED,
					    .initiator = DFW_OUT,
					    .generation = 1,
					    .on_change = DFW_ON_CHANGE_KEEP,
					    .last_seen_ns = UINT64_MAX / 2}};
	int64_t before = flows_of(PORT_VM);
	struct frame f = udp(&peer, &vm, 7000, 7200);

	TEST("nobody writes to a port that is not held")
	{
		places[0] = put;
		CHECK(run_exchange(PORT_VM, 1) == 0 && places[0].result == DFW_EXCHANGE_REFUSED);
		expect(DFW_IN, &f, "default");
	}
	set_switches(PORT_VM, DFW_PORT_HELD);
	TEST("a held port takes flows that contain an address of it, and no others")
	{
		places[0] = places[1] = places[2] = put;
		places[1].key.local.bytes[15] = 9;
		places[2].flow.state = DFW_FLOW_STATES;
		CHECK(run_exchange(PORT_VM, 3) == 1 && places[0].result == DFW_EXCHANGE_DONE);
		CHECK(places[1].result == DFW_EXCHANGE_REFUSED);
		CHECK(places[2].result == DFW_EXCHANGE_REFUSED);
		CHECK(flows_of(PORT_VM) == before + 1);
		places[0] = put;
		CHECK(run_exchange(PORT_VM, 1) == 1 && flows_of(PORT_VM) == before + 1);
	}
	set_switches(PORT_VM, 0);
	TEST("what was put lets its packets pass, decided by the policy in force")
	{
		expect(DFW_IN, &f, "passed");
		places[0] = (struct dfw_exchange){.key = put.key};
		CHECK(run_exchange(PORT_VM, 1) == 1);
		CHECK(places[0].flow.generation == 1 && places[0].flow.rule != 0);
		CHECK(places[0].flow.on_change == DFW_ON_CHANGE_REVALIDATE);
	}
	TEST("what the policy forbids is not let through for having been put")
	{
		struct frame g = udp(&peer, &vm, 23, 7201);

		set_switches(PORT_VM, DFW_PORT_HELD);
		places[0] = put;
		places[0].key.local_port = 7201;
		places[0].key.remote_port = 23;
		places[0].key.protocol = 17;
		places[0].flow.initiator = DFW_IN;
		CHECK(run_exchange(PORT_VM, 1) == 1);
		set_switches(PORT_VM, 0);
		expect(DFW_IN, &g, "default");
		CHECK(flows_of(PORT_VM) == before + 1);
	}
	TEST("a held port's flows can be taken away, a live one's not")
	{
		places[0] = (struct dfw_exchange){.key = put.key, .op = DFW_EXCHANGE_REMOVE};
		CHECK(run_exchange(PORT_VM, 1) == 0 && places[0].result == DFW_EXCHANGE_REFUSED);
		set_switches(PORT_VM, DFW_PORT_HELD);
		CHECK(run_exchange(PORT_VM, 1) == 1 && flows_of(PORT_VM) == before);
		CHECK(run_exchange(PORT_VM, 1) == 0 && places[0].result == DFW_EXCHANGE_NONE);
		set_switches(PORT_VM, 0);
	}
}

/* What another member of the port's share group knows, while packets pass. */
/* The life of the port's flow of that key, -1: there is none. */
static int64_t life_of(struct dfw_exchange *places, const struct dfw_flow_key *key)
{
	places[0] = (struct dfw_exchange){.key = *key};
	return run_exchange(PORT_VM, 1) == 1 ? (int64_t)places[0].flow.life : -1;
}

static bool takes(struct dfw_exchange *places, struct dfw_exchange what, uint32_t life)
{
	what.flow.life = life;
	places[0] = what;
	return run_exchange(PORT_VM, 1) == 1;
}

/* `put` is a flow of the port that is not there now. */
static void test_graves(struct dfw_exchange *places, struct dfw_exchange put)
{
	struct frame f = udp(&vm, &peer, 7302, 7000), g = udp(&peer, &vm, 7000, 7302);
	const struct dfw_exchange join = {
		.key = put.key, .op = DFW_EXCHANGE_JOIN, .flow = put.flow};
	const struct dfw_exchange end = {.key = put.key, .op = DFW_EXCHANGE_REMOVE};
	struct dfw_exchange killed = end;

	killed.killed = 1;
	put.key.local_port = killed.key.local_port = 7302;
	TEST("what was killed has a grave, even if nobody hears of it: what is told of it makes "
	     "nothing any more, what begins later does")
	{
		expect(DFW_OUT, &f, "passed");
		expect(DFW_IN, &g, "passed");
		CHECK(life_of(places, &put.key) == 0);
		set_switches(PORT_VM, DFW_PORT_SHARED);
		CHECK(kill_flow(&put.key) == 1 && life_of(places, &put.key) == -1);
		set_switches(PORT_VM, DFW_PORT_WATCHED | DFW_PORT_SHARED);
		CHECK(!takes(places, put, 0) && places[0].result == DFW_EXCHANGE_NONE);
		CHECK(takes(places, put, 1) && life_of(places, &put.key) == 1);
		read_ring("changes", on_change);
		CHECK(kill_flow(&put.key) == 1 && !takes(places, put, 1));
		read_ring("changes", on_change);
		CHECK(nr_changes == 1 && changes[0].kind == DFW_CHANGE_KILLED &&
		      changes[0].life == 1);
		expect(DFW_OUT, &f, "passed");
		CHECK(life_of(places, &put.key) == 2);
	}
	TEST("...what ends elsewhere does not end what has begun since, and has a grave, be it "
	     "here or not")
	{
		CHECK(!takes(places, killed, 1) && life_of(places, &put.key) == 2);
		killed.half_open = 1;
		CHECK(takes(places, killed, 2) && life_of(places, &put.key) == -1);
		CHECK(!takes(places, killed, 6));
		expect(DFW_OUT, &f, "passed");
		CHECK(life_of(places, &put.key) == 7);
		CHECK(takes(places, killed, 7));
	}
	TEST("...a join raises the life, and never lowers it")
	{
		put.key = join.key;
		CHECK(takes(places, put, 0) && takes(places, join, 3));
		CHECK(life_of(places, &put.key) == 3 && !takes(places, join, 2) &&
		      life_of(places, &put.key) == 3);
		CHECK(!takes(places, end, 2) && takes(places, end, 3) && takes(places, put, 3));
		CHECK(takes(places, end, 3));
	}
	TEST("...in another epoch the port knows none of them")
	{
		put.key = killed.key;
		change_config(PORT_VM, DFW_PORT_WATCHED | DFW_PORT_SHARED, 9);
		CHECK(takes(places, put, 0) && kill_flow(&put.key) == 1);
		change_config(PORT_VM, DFW_PORT_WATCHED | DFW_PORT_SHARED, 0);
	}
}

static void test_shared(struct dfw_exchange *places)
{
	struct frame f = udp(&vm, &peer, 7300, 7000), g = udp(&peer, &vm, 7000, 7300);
	struct dfw_exchange known = {.op = DFW_EXCHANGE_JOIN}, other;
	int64_t before = flows_of(PORT_VM);

	set_switches(PORT_VM, DFW_PORT_WATCHED | DFW_PORT_SHARED);
	read_ring("changes", on_change);
	TEST("of a share group: a flow is told from its first packet on, and collected")
	{
		expect(DFW_OUT, &f, "passed");
		read_ring("changes", on_change);
		CHECK(nr_changes == 1 && changes[0].kind == DFW_CHANGE_STATE &&
		      changes[0].key.local_port == 7300);
		places[0] = (struct dfw_exchange){.key = changes[0].key};
		CHECK(run_exchange(PORT_VM, 1) == 1 && places[0].half_open == 1);
		known.key = changes[0].key;
		known.flow = places[0].flow;
	}
	TEST("...it moves to the confirmed ones when another member has seen the answer")
	{
		known.flow.state = DFW_FLOW_UDP_REPLIED;
		known.flow.legs[DFW_REPLY].packets = 9;
		places[0] = known;
		CHECK(run_exchange(PORT_VM, 1) == 1 && flows_of(PORT_VM) == before + 1);
		places[0] = (struct dfw_exchange){.key = known.key};
		CHECK(run_exchange(PORT_VM, 1) == 1 && places[0].half_open == 0);
		CHECK(places[0].flow.state == DFW_FLOW_UDP_REPLIED &&
		      places[0].flow.legs[DFW_ORIG].packets == 1 &&
		      places[0].flow.legs[DFW_REPLY].packets == 9);
		expect(DFW_IN, &g, "passed");
	}
	TEST("...what is known less of changes nothing")
	{
		known.flow.state = DFW_FLOW_UDP_NEW;
		known.flow.legs[DFW_REPLY].packets = 0;
		places[0] = known;
		CHECK(run_exchange(PORT_VM, 1) == 1 && flows_of(PORT_VM) == before + 1);
		places[0] = (struct dfw_exchange){.key = known.key};
		CHECK(run_exchange(PORT_VM, 1) == 1);
		CHECK(places[0].flow.state == DFW_FLOW_UDP_REPLIED &&
		      places[0].flow.legs[DFW_REPLY].packets == 10);
	}
	TEST("...a join makes no flow, a put does; its packet is decided by the policy in force")
	{
		other = known;
		other.key.local_port = 7301;
		other.flow.state = DFW_FLOW_UDP_REPLIED;
		places[0] = other;
		CHECK(run_exchange(PORT_VM, 1) == 0 && places[0].result == DFW_EXCHANGE_NONE);
		other.op = DFW_EXCHANGE_PUT;
		places[0] = other;
		CHECK(run_exchange(PORT_VM, 1) == 1 && flows_of(PORT_VM) == before + 2);
		places[0] = (struct dfw_exchange){.key = other.key};
		CHECK(run_exchange(PORT_VM, 1) == 1 && places[0].flow.generation == 0);
		g = udp(&peer, &vm, 7000, 7301);
		expect(DFW_IN, &g, "passed");
		places[0] = (struct dfw_exchange){.key = other.key};
		CHECK(run_exchange(PORT_VM, 1) == 1 && places[0].flow.generation != 0);
	}
	TEST("...nothing comes in with an address that is not the port's")
	{
		places[0] = other;
		places[0].key.local.bytes[15] = 9;
		CHECK(run_exchange(PORT_VM, 1) == 0 && places[0].result == DFW_EXCHANGE_REFUSED);
	}
	TEST("...and what ends elsewhere ends here")
	{
		places[0] = (struct dfw_exchange){.key = known.key, .op = DFW_EXCHANGE_REMOVE};
		places[1] = (struct dfw_exchange){.key = other.key, .op = DFW_EXCHANGE_REMOVE};
		CHECK(run_exchange(PORT_VM, 2) == 2 && flows_of(PORT_VM) == before);
		g = udp(&peer, &vm, 7000, 7300);
		expect(DFW_IN, &g, "default");
	}
	set_switches(PORT_VM, DFW_PORT_WATCHED | DFW_PORT_SHARED);
	test_graves(places, other);
	read_ring("changes", on_change);
	set_switches(PORT_VM, 0);
}

static void test_watched(void)
{
	struct dfw_exchange *places =
		mmap(NULL, DFW_EXCHANGE_MAX * sizeof(*places), PROT_READ | PROT_WRITE, MAP_SHARED,
		     fd_of("exchange"), 0);
	struct frame f, g;

	must(places != MAP_FAILED, "exchange");
	read_ring("changes", on_change);
	TEST("nobody hears of the flows of a port that is not watched")
	{
		CHECK(nr_changes == 0);
	}
	set_switches(PORT_VM, DFW_PORT_WATCHED);
	f = udp(&vm, &peer, 7100, 7000);
	g = udp(&peer, &vm, 7000, 7100);
	TEST("a flow is told when it is confirmed, and once until it is collected")
	{
		expect(DFW_OUT, &f, "passed");
		read_ring("changes", on_change);
		CHECK(nr_changes == 0);
		expect(DFW_IN, &g, "passed");
		expect(DFW_OUT, &f, "passed");
		expect(DFW_IN, &g, "passed");
		read_ring("changes", on_change);
		CHECK(nr_changes == 1 && changes[0].slot == PORT_VM &&
		      changes[0].kind == DFW_CHANGE_STATE && changes[0].key.local_port == 7100);
	}
	TEST("who has no capability, but the descriptors, collects it; then it is told again")
	{
		places[0] = (struct dfw_exchange){.key = changes[0].key};
		places[1] = (struct dfw_exchange){.key = changes[0].key, .result = 9};
		places[1].key.local_port++;
		CHECK(run_exchange(PORT_VM, 2) == 1);
		CHECK(places[0].result == DFW_EXCHANGE_DONE);
		CHECK(places[0].flow.state == DFW_FLOW_UDP_REPLIED);
		CHECK(places[0].flow.legs[DFW_ORIG].packets == 2);
		CHECK(places[1].result == DFW_EXCHANGE_NONE);
		expect(DFW_OUT, &f, "passed");
		read_ring("changes", on_change);
		CHECK(nr_changes == 1 && changes[0].kind == DFW_CHANGE_TOUCHED);
	}
	TEST("its end is told, and it is not found any more; if another CPU holds it, that is said")
	{
		const struct dfw_flow_key key = changes[0].key;

		hold_flow(&key, 1);
		CHECK(kill_flow(&key) == -EBUSY);
		read_ring("changes", on_change);
		CHECK(nr_changes == 0 && run_exchange(PORT_VM, 1) == 0 &&
		      places[0].result == DFW_EXCHANGE_BUSY);
		hold_flow(&key, 0);
		CHECK(kill_flow(&key) == 1);
		read_ring("changes", on_change);
		CHECK(nr_changes == 1 && changes[0].kind == DFW_CHANGE_KILLED);
		CHECK(run_exchange(PORT_VM, 1) == 0 && places[0].result == DFW_EXCHANGE_NONE);
	}
	test_shared(places);
	TEST("a held port drops everything, and tells once that its VM sends")
	{
		set_switches(PORT_VM, DFW_PORT_HELD);
		read_ring("events", on_event);
		expect(DFW_IN, &g, "moving");
		read_ring("events", on_event);
		CHECK(nr_seen == 0);
		expect(DFW_OUT, &f, "moving");
		expect(DFW_OUT, &f, "moving");
		read_ring("events", on_event);
		CHECK(nr_seen == 1);
		set_switches(PORT_VM, 0);
		expect(DFW_OUT, &f, "passed");
	}
	test_put(places);
	munmap(places, DFW_EXCHANGE_MAX * sizeof(*places));
}

/* ---- XDP --------------------------------------------------------------------------------------------------------- */

#define UPLINK 77 /* ifindex, of no device: BPF_PROG_RUN redirects nothing */
#define VLAN   5  /* which the bridge takes off */

static struct dfw_xdp *xdp;

/* On the maps of the other object. */
static void load_xdp(void)
{
	struct bpf_map *map;

	xdp = dfw_xdp__open();
	must(xdp, "dfw_xdp");
	xdp->rodata->uplink_ifindex = UPLINK;
	xdp->rodata->uplink_place = DFW_WAY_PLACE_XDP(0);
	bpf_object__for_each_map(map, xdp->obj) if (!bpf_map__is_internal(map))
		must(bpf_map__reuse_fd(map, fd_of(bpf_map__name(map))) == 0, bpf_map__name(map));
	must(dfw_xdp__load(xdp) == 0, "dfw_xdp");
}

static void switch_paths(bool on)
{
	const struct dfw_path_state state = {.epoch = 1, .on = on};
	uint32_t zero = 0;

	must(bpf_map_update_elem(fd_of("path_state"), &zero, &state, BPF_ANY) == 0, "path_state");
}

static void put_path(uint16_t vlan, uint8_t flags, uint32_t mtu)
{
	struct dfw_path wanted = {.key = {.vlan = vlan, .ifindex = UPLINK},
				  .learnt_ns = UINT64_MAX / 2,
				  .epoch = 1,
				  .ifindex = LOOPBACK,
				  .slot = slot,
				  .mtu = mtu,
				  .flags = flags};
	uint32_t index;

	memcpy(wanted.key.destination, vm.mac, 6);
	memcpy(wanted.key.source, peer.mac, 6);
	wanted.check = dfw_path_sum(&wanted);
	index = dfw_path_set(&wanted.key);
	must(bpf_map_update_elem(fd_of("paths"), &index, &wanted, BPF_ANY) == 0, "paths");
}

static uint32_t answer_bytes;

static uint32_t run_xdp(const struct frame *f)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = f->bytes,
		    .data_size_in = (uint32_t)f->len, .data_out = answer,
		    .data_size_out = sizeof(answer), .repeat = 1);
	must(bpf_prog_test_run_opts(bpf_program__fd(xdp->progs.dfw_xdp), &options) == 0,
	     "BPF_PROG_RUN of dfw_xdp");
	answer_bytes = options.data_size_out;
	return options.retval;
}

static uint64_t way_count(enum dfw_way way)
{
	struct dfw_way_counters *each = calloc((size_t)nr_cpus, sizeof(*each));
	uint32_t place = DFW_WAY_PLACE_XDP(0);
	uint64_t sum = 0;

	must(each && bpf_map_lookup_elem(fd_of("path_ways"), &place, each) == 0, "path_ways");
	for (int cpu = 0; cpu < nr_cpus; cpu++)
		sum += ((uint64_t *)&each[cpu])[way];
	free(each);
	return sum;
}

/* The verdict, the way that was counted, and no trace of the frame but, for a verdict, `reason`. */
static void expect_way(const struct frame *f, uint32_t verdict, enum dfw_way way,
		       const char *reason)
{
	struct dfw_direction_counters before = read_counters(DFW_IN), after;
	const struct dfw_reason_counter *then = (void *)&before, *now = (void *)&after;
	uint64_t ways = way_count(way);

	CHECK(run_xdp(f) == verdict);
	CHECK(way_count(way) == ways + 1);
	after = read_counters(DFW_IN);
	for (size_t i = 0; i < DFW_REASON_COUNT; i++)
		CHECK(now[i].packets - then[i].packets ==
		      (reason && strcmp(reason, names[i]) == 0));
	if (verdict == XDP_PASS)
		CHECK(answer_bytes == f->len && memcmp(answer, f->bytes, f->len) == 0);
}

static void test_xdp_kinds(void)
{
	struct frame f, plain = udp(&peer, &vm, 7400, 5000);

	TEST("XDP: what has no path, or one that does not hold, passes")
	{
		switch_paths(false);
		CHECK(run_xdp(&plain) == XDP_PASS);
		switch_paths(true);
		expect_way(&plain, XDP_PASS, DFW_WAY_UNLEARNT, NULL);
		put_path(0, DFW_PATH_FAST | DFW_PATH_XMIT, 30);
		expect_way(&plain, XDP_PASS, DFW_WAY_MTU, NULL);
		put_path(0, DFW_PATH_FAST | DFW_PATH_XMIT, 1500);
		f = arp(&peer, peer.ip4, 1);
		expect_way(&f, XDP_PASS, DFW_WAY_GROUP, NULL);
		memcpy(f.bytes, vm.mac, 6);
		expect_way(&f, XDP_PASS, DFW_WAY_ETHERTYPE, NULL);
		f = udp(&stranger, &vm, 7400, 5000);
		expect_way(&f, XDP_PASS, DFW_WAY_UNLEARNT, NULL);
	}
	TEST("XDP: what is special in any way passes, untouched")
	{
		f = icmp(&peer, &vm, false, 8, NULL);
		expect_way(&f, XDP_PASS, DFW_WAY_NOT_PLAIN, NULL);
		f = plain;
		f.bytes[f.len - 1] ^= 1;
		expect_way(&f, XDP_PASS, DFW_WAY_NOT_PLAIN, NULL);
		f = plain;
		f.bytes[24] ^= 1;
		expect_way(&f, XDP_PASS, DFW_WAY_NOT_PLAIN, NULL);
		f = plain;
		frame_tag(&f, 0x8100, 0);
		expect_way(&f, XDP_PASS, DFW_WAY_TAGS, NULL);
		f = tcp(false, 7400, 7401, TH_ACK, 1, 1, 0);
		expect_way(&f, XDP_PASS, DFW_WAY_UNDECIDED, NULL);
	}
	TEST("XDP: what a rule may allow, log, reject or limit passes, untouched")
	{
		expect_way(&plain, XDP_PASS, DFW_WAY_UNDECIDED, NULL);
		f = udp(&peer, &vm, 7400, 6000);
		expect_way(&f, XDP_PASS, DFW_WAY_UNDECIDED, NULL);
	}
	TEST("XDP: what a rule denies is dropped, and counted")
	{
		f = udp(&peer, &vm, 7400, 7400);
		expect_way(&f, XDP_DROP, DFW_WAY_DROPPED, "default");
		f = tcp(false, 7400, 7401, TH_SYN, 1, 0, 0);
		expect_way(&f, XDP_DROP, DFW_WAY_DROPPED, "default");
		use_port(PORT_UNREADY);
		put_path(0, DFW_PATH_FAST | DFW_PATH_XMIT, 1500);
		expect_way(&f, XDP_PASS, DFW_WAY_NOT_READY, NULL);
		use_port(PORT_VM);
		put_path(0, 0, 1500);
		expect_way(&f, XDP_DROP, DFW_WAY_DROPPED, "default");
	}
}

static void test_xdp_flows(void)
{
	struct frame f = udp(&vm, &peer, 7500, 7000), g = udp(&peer, &vm, 7000, 7500), tagged = g;

	TEST("XDP: an established flow's packets go straight on, if they may")
	{
		expect(DFW_OUT, &f, "passed");
		expect(DFW_IN, &g, "passed");
		put_path(0, 0, 1500);
		expect_way(&g, XDP_PASS, DFW_WAY_OFF, NULL);
		put_path(0, DFW_PATH_FAST, 1500);
		expect_way(&g, XDP_PASS, DFW_WAY_NO_XMIT, NULL);
		put_path(0, DFW_PATH_FAST | DFW_PATH_XMIT, 1500);
		expect_way(&g, XDP_REDIRECT, DFW_WAY_DIRECT, "passed");
		CHECK(answer_bytes == g.len && memcmp(answer, g.bytes, g.len) == 0);
	}
	TEST("XDP: a tag that the bridge takes off is taken off, and stays when the frame passes")
	{
		frame_tag(&tagged, 0x8100, VLAN);
		put_path(VLAN, DFW_PATH_FAST | DFW_PATH_XMIT, 1500);
		expect_way(&tagged, XDP_REDIRECT, DFW_WAY_DIRECT, "passed");
		CHECK(answer_bytes == g.len && memcmp(answer, g.bytes, g.len) == 0);
		put_path(VLAN, DFW_PATH_FAST, 1500);
		expect_way(&tagged, XDP_PASS, DFW_WAY_NO_XMIT, NULL);
	}
	TEST("XDP: a stream of large segments is left to GRO, and its small ones, too")
	{
		uint32_t seq = 2;

		put_path(0, DFW_PATH_FAST | DFW_PATH_XMIT, 1500);
		f = tcp(false, 80, 7600, TH_SYN, 1, 0, 0);
		expect(DFW_IN, &f, "passed");
		f = tcp(true, 80, 7600, TH_SYN | TH_ACK, 9, 2, 0);
		expect(DFW_OUT, &f, "passed");
		f = tcp(false, 80, 7600, TH_ACK, seq, 10, 0);
		expect(DFW_IN, &f, "passed");
		for (int i = 0; i < 30; i++) {
			bool small = i < 10;

			f = tcp(false, 80, 7600, TH_ACK, seq, 10, small ? 40 : 1000);
			if (small)
				expect_way(&f, XDP_REDIRECT, DFW_WAY_DIRECT, "passed");
			else
				expect(DFW_IN, &f, "passed");
			seq += small ? 40 : 1000;
			g = tcp(true, 80, 7600, TH_ACK, 10, seq, 0);
			expect(DFW_OUT, &g, "passed");
		}
		f = tcp(false, 80, 7600, TH_ACK, seq, 10, 1000);
		expect_way(&f, XDP_PASS, DFW_WAY_BULK, NULL);
		f = tcp(false, 80, 7600, TH_ACK, seq, 10, 4);
		expect_way(&f, XDP_PASS, DFW_WAY_BULK, NULL);
	}
}

static void test_xdp(void)
{
	load_xdp();
	test_xdp_kinds();
	test_xdp_flows();
	dfw_xdp__destroy(xdp);
}

int main(int argc, char **argv)
{
	static const struct dfw_addr addresses[] = {VM_ADDRESSES};
	const struct policy_port ports[NR_PORTS] = {
		{.name = "vm", .addresses = addresses, .nr_addresses = 3, .here = true},
		{.name = "tight", .profile = "tight", .here = true},
		{.name = "unready", .here = true},
		{.name = "flooded", .profile = "flooded", .here = true},
	};
	struct dfw_port_config config = {
		.nr_macs = 1,
		.macs = {{VM_MAC, {0}}},
		.addresses = {VM_ADDRESSES},
		.nr_addresses = 3,
	};
	struct policy_errors errors = {};
	struct compiled *compiled = NULL;
	struct policy *policy;

	if (argc > 2) {
		fprintf(stderr, "usage: prog_run [OBJECT]\n");
		return 2;
	}
	if (geteuid() != 0) {
		printf("ok 1 - BPF_PROG_RUN # SKIP needs root\n1..1\n");
		return EXIT_SUCCESS;
	}
	policy = must_parse(policy_text);
	if (!policy || policy_compile(policy, ports, NR_PORTS, &compiled, &errors) < 0) {
		policy_errors_print(&errors, stderr);
		return EXIT_FAILURE;
	}
	load_object(argc == 2 ? argv[1] : NULL);
	load_tables(compiled);
	for (uint32_t port = 0; port < NR_PORTS; port++) {
		config.flags = port == PORT_UNREADY ? 0 : DFW_PORT_READY;
		load_port(compiled, port, config);
	}
	flip(2);
	use_port(PORT_VM);

	test_link();
	test_network();
	test_flows();
	test_rules();
	test_watched();
	test_xdp();
	TEST("every reason that a frame can cause was seen by its name")
	{
		for (size_t i = 0; i < DFW_REASON_COUNT; i++)
			if (!seen[i] && i != DFW_REASON_NO_PORT && i != DFW_REASON_FLOW_MEMORY &&
			    i != DFW_REASON_FLOW_BUSY && i != DFW_REASON_INTERNAL) {
				CHECK(seen[i]);
				printf("# %s\n", names[i]);
			}
	}
	policy_errors_free(&errors);
	compiled_free(compiled);
	policy_free(policy);
	bpf_object__close(object);
	return check_done();
}
