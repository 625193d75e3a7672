// SPDX-License-Identifier: GPL-2.0
/*
 * The datapath on this machine's CPU, under the sanitizers: its parts against plain ones, and the classifier against the
 * compiler's own lookup on random policies. Usage: datapath_host [SEED]
 */
#include "check.h"
#include "selftests/host/host_datapath.h"
#include "selftests/host/frames.h"
#include "policy_files.h"

#define VM_MAC	 {0x02, 0, 0, 0, 0, 0x02}
#define LINK_IP6 {0xfe, 0x80, [15] = 2}

static const struct side vm = {VM_MAC, {10, 0, 0, 2}, {0xfd, 0, [15] = 2}};
static const struct side peer = {{0x02, 0, 0, 0, 0, 0x01}, {10, 1, 0, 1}, {0xfd, 1, [15] = 1}};
static const struct side link_vm = {VM_MAC, {0}, LINK_IP6};
static const struct side link_peer = {
	{0x02, 0, 0, 0, 0, 0x01}, {10, 0, 0, 1}, {0xfe, 0x80, [15] = 1}};
static const struct side all_nodes = {
	{0x33, 0x33, 0, 0, 0, 1}, {224, 0, 0, 1}, {0xff, 2, [15] = 1}};
static const struct side everyone = {
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {255, 255, 255, 255}, {0}};

static const struct host_port ports[] = {
	{.name = "vm",
	 .macs = {{VM_MAC, {0}}},
	 .nr_macs = 1,
	 .addresses = {{{[10] = 0xff, 0xff, 10, 0, 0, 2}}, {{0xfd, 0, [15] = 2}}, {LINK_IP6}},
	 .nr_addresses = 3},
	{.name = "options", .profile = "options"},
};

static const char policy_text[] =
	"profile options {\n guard-mac off\n guard-address off\n ip-options on\n}\n"
	"default in drop\ndefault out drop\n"
	"outwards: allow out\nudp: allow in service udp 5000\nweb: allow in service tcp 80\n"
	"one: allow in service tcp 81 max-flows 1\nkept: allow in service tcp 82 on-change keep\n"
	"ping: allow in service icmp-echo, icmp6-echo\nident: reject in service tcp 113, udp 113\n";

static uint64_t random_state = 1;

static uint32_t below(uint32_t limit)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 0x2545f4914f6cdd1dULL) >> 32) % limit;
}

/* ---- Sending a frame ------------------------------------------------------------------------------------------- */

static context_t answer; /* what a reject has made of the frame */

/* The reason that is counted for a frame, exactly one. */
static enum dfw_reason send_skb(uint32_t slot, enum dfw_direction direction, const struct frame *f,
				const context_t *how)
{
	struct dfw_direction_counters before = *host_counters(slot, direction);
	const struct dfw_reason_counter *then = (void *)&before,
					*now = (void *)host_counters(slot, direction);
	enum dfw_reason reason = DFW_REASON_COUNT;

	host_skb_drop(&answer);
	answer = how ? *how : (context_t){};
	host_skb_put(&answer, f->bytes, (uint32_t)f->len, (uint32_t)f->len);
	host_run(slot, direction, &answer);
	for (uint32_t i = 0; i < DFW_REASON_COUNT; i++)
		if (now[i].packets != then[i].packets) {
			CHECK(reason == DFW_REASON_COUNT);
			reason = i;
		}
	return reason;
}

static const char *in(const struct frame *f)
{
	return host_reason_names[send_skb(0, DFW_IN, f, NULL)];
}

static const char *out(const struct frame *f)
{
	return host_reason_names[send_skb(0, DFW_OUT, f, NULL)];
}

static struct frame udp_frame(const struct side *from, const struct side *to, bool v6,
			      uint16_t source, uint16_t destination, size_t bytes)
{
	struct frame f = frame_ip(from, to, v6, 17);

	frame_udp(&f, source, destination, bytes);
	for (size_t i = 0; i < bytes; i++)
		f.bytes[f.len - bytes + i] = (uint8_t)below(256);
	frame_done(&f);
	return f;
}

static struct frame tcp_frame(const struct side *from, const struct side *to, bool v6,
			      struct tcp_fields tcp)
{
	struct frame f = frame_ip(from, to, v6, 6);

	frame_tcp(&f, &tcp);
	frame_done(&f);
	return f;
}

/* ---- Checksums ------------------------------------------------------------------------------------------------- */

static void test_checksums(void)
{
	TEST("a right transport checksum is told from a wrong one, of any length")
	{
		for (size_t bytes = 0; bytes < 1500; bytes += bytes < 130 ? 1 : 61) {
			struct frame f = udp_frame(&vm, &peer, bytes & 1, 4000, 5000, bytes);
			size_t at = f.len - 1 - below((uint32_t)(8 + bytes));

			CHECK_TEXT(out(&f), "passed");
			f.bytes[at] ^= 1 << below(8);
			if (get16(f.bytes + f.len - bytes - 2) == 0) /* none */
				continue;
			if (at >= f.len - bytes || at >= f.len - bytes - 2)
				CHECK_TEXT(out(&f), "l4-checksum");
		}
	}
	TEST("CRC32c is that of RFC 3720 B.4")
	{
		static const uint8_t zeroes[32], digits[] = "123456789";
		uint32_t crc = 0xffffffff, digit_crc = 0xffffffff;

		for (size_t i = 0; i < sizeof(zeroes); i++)
			crc = crc32c_byte(crc, zeroes[i]);
		for (size_t i = 0; i < 9; i++)
			digit_crc = crc32c_byte(digit_crc, digits[i]);
		CHECK(~crc == 0x8a9136aa);
		CHECK(~digit_crc == 0xe3069283);
		CHECK(crc32c(zeroes, sizeof(zeroes)) == 0x8a9136aa);
		CHECK(crc32c(digits, 9) == 0xe3069283);
	}
	TEST("an SCTP packet with a wrong CRC32c drops")
	{
		static const uint8_t init[16] = {1, 2, 3, 4, 0, 1, 0, 0, 0, 4, 0, 4, 0, 0, 0, 1};
		struct frame f = frame_ip(&vm, &peer, false, 132);

		frame_sctp(&f, 2000, 9000, 0);
		frame_chunk(&f, 1, 0, init, sizeof(init));
		frame_done(&f);
		CHECK_TEXT(out(&f), "passed");
		f.bytes[f.len - 1] ^= 1;
		CHECK_TEXT(out(&f), "l4-checksum");
	}
	TEST("UDP without a checksum passes over IPv4 and drops over IPv6")
	{
		struct frame f = udp_frame(&vm, &peer, false, 4001, 5000, 9),
			     g = udp_frame(&vm, &peer, true, 4001, 5000, 9);

		put16(f.bytes + 14 + 20 + 6, 0);
		put16(g.bytes + 14 + 40 + 6, 0);
		CHECK_TEXT(out(&f), "passed");
		CHECK_TEXT(out(&g), "l4-checksum");
	}
	TEST("what the hardware or the own stack vouches for is not summed")
	{
		static const struct {
			enum ip_summed summed;
			enum dfw_reason reason;
		} cases[] = {{CHECKSUM_NONE, DFW_REASON_L4_CHECKSUM},
			     {CHECKSUM_COMPLETE, DFW_REASON_L4_CHECKSUM},
			     {CHECKSUM_UNNECESSARY, DFW_REASON_PASSED},
			     {CHECKSUM_PARTIAL, DFW_REASON_PASSED}};

		for (size_t i = 0; i < 4; i++) {
			struct frame f = udp_frame(&vm, &peer, false, 4002, 5000, 200);
			context_t how = {.ip_summed = cases[i].summed};

			f.bytes[f.len - 1] ^= 1;
			CHECK(send_skb(0, DFW_OUT, &f, &how) == cases[i].reason);
		}
	}
}

/* ---- Options and extension headers ------------------------------------------------------------------------------ */

/* RFC 791 3.1: how a list of options reads. */
static enum dfw_reason options_verdict(const uint8_t *list, size_t bytes)
{
	for (size_t at = 0; at < bytes && list[at] != 0;) {
		if (list[at] == 1) {
			at++;
			continue;
		}
		if (at + 1 >= bytes || list[at + 1] < 2 || at + list[at + 1] > bytes ||
		    list[at] == 7 || list[at] == 131 || list[at] == 137)
			return DFW_REASON_IP_OPTION;
		at += list[at + 1];
	}
	return DFW_REASON_PASSED;
}

static void test_options(void)
{
	TEST("IPv4 options are walked to their end")
	{
		for (int i = 0; i < 20000; i++) {
			static const uint8_t kinds[] = {0, 1, 1, 7, 68, 131, 137, 148, 2, 3};
			uint8_t list[40];
			size_t bytes = 4 + 4 * below(10);
			struct frame f = frame_ip(&vm, &peer, false, 17);

			for (size_t at = 0; at < bytes; at++)
				list[at] = below(2) ? kinds[below(10)] : below(12);
			frame_options4(&f, list, bytes);
			frame_udp(&f, 4003, 5000, 8);
			frame_done(&f);
			if (!CHECK(send_skb(1, DFW_OUT, &f, NULL) == options_verdict(list, bytes)))
				break;
		}
	}
	TEST("Router Alert passes with IGMP, and nothing else without `ip-options on`")
	{
		static const struct {
			uint8_t protocol, option;
			const char *verdict;
		} cases[] = {{2, 148, "passed"},
			     {17, 148, "ip-option"},
			     {2, 68, "ip-option"},
			     {2, 131, "ip-option"}};

		for (size_t i = 0; i < 4; i++) {
			const uint8_t list[4] = {cases[i].option, 4};
			struct frame f = frame_ip(&vm, &peer, false, cases[i].protocol);

			frame_options4(&f, list, sizeof(list));
			frame_udp(&f, 4108, 5000, 8);
			frame_done(&f);
			CHECK_TEXT(out(&f), cases[i].verdict);
		}
	}
	TEST("the window scale is found wherever it stands, once the options are sound")
	{
		static const uint8_t last[] = {1, 1, 2, 4, 5, 0xb4, 1, 3, 3, 7, 0, 0},
				     cut[] = {1, 1, 1, 1, 1, 3, 3, 9};
		static const uint8_t much[] = {3, 3, 200, 1};
		static const struct {
			const uint8_t *list;
			size_t bytes;
			uint8_t scale;
			bool offered;
		} cases[] = {{last, 12, 7, true},
			     {cut, 8, 9, true},
			     {much, 4, 14, true},
			     {cut, 4, 0, false}};

		for (size_t i = 0; i < 4; i++) {
			const struct tcp_fields tcp = {.source = (uint16_t)(6000 + i),
						       .destination = 7000,
						       .flags = TH_SYN,
						       .window = 1000,
						       .options = cases[i].list,
						       .option_bytes = cases[i].bytes};
			struct frame f = tcp_frame(&vm, &peer, false, tcp);
			const struct dfw_flow_key key = {
				.local = {{[10] = 0xff, 0xff, 10, 0, 0, 2}},
				.remote = {{[10] = 0xff, 0xff, 10, 1, 0, 1}},
				.local_port = (uint16_t)(6000 + i),
				.remote_port = 7000,
				.protocol = 6};
			const struct dfw_flow_entry *entry;

			CHECK_TEXT(out(&f), "passed");
			entry = host_flow(0, &key, true);
			if (!CHECK(entry))
				continue;
			CHECK(entry->flow.orig_scale == cases[i].scale);
			CHECK(!!(entry->flow.leg_flags[DFW_ORIG] & DFW_LEG_SCALE) ==
			      cases[i].offered);
		}
	}
	TEST("IPv6 extension headers: the order of RFC 8200, once each, eight at most")
	{
		static const struct {
			const char *verdict;
			uint8_t kinds[10];
		} cases[] = {
			{"passed", {0}},
			{"passed", {1}},
			{"passed", {60}},
			{"passed", {60, 60}},
			{"extension", {60, 60, 60}},
			{"passed", {43}},
			{"extension", {43, 43}},
			{"passed", {44}},
			{"extension", {44, 44}},
			{"passed", {1, 60, 43, 44, 60}},
			{"extension", {60, 1}},
			{"protocol", {59}},
			{"protocol", {255}},
		}; /* 1 stands for hop-by-hop, 0 ends */

		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct frame f = frame_ip(&vm, &peer, true, 17);

			for (int k = 0; cases[i].kinds[k]; k++)
				frame_extension(&f, cases[i].kinds[k] == 1 ? 0 : cases[i].kinds[k],
						1);
			frame_udp(&f, 4004, 5000, 8);
			frame_done(&f);
			if (!CHECK_TEXT(out(&f), cases[i].verdict))
				printf("# case %zu\n", i);
		}
	}
	TEST("a routing header of type 0, or one with segments left, drops")
	{
		for (int i = 0; i < 3; i++) {
			struct frame f = frame_ip(&vm, &peer, true, 17);
			uint8_t *header = frame_extension(&f, 43, 1);

			header[2] = i == 0 ? 0 : 4;
			header[3] = i == 1;
			frame_udp(&f, 4005, 5000, 8);
			frame_done(&f);
			CHECK_TEXT(out(&f), i == 2 ? "passed" : "extension");
		}
	}
	TEST("a chain cut anywhere drops")
	{
		struct frame whole = frame_ip(&vm, &peer, true, 17);

		frame_extension(&whole, 60, 2);
		frame_extension(&whole, 43, 1);
		frame_udp(&whole, 4006, 5000, 8);
		frame_done(&whole);
		for (size_t len = 0; len < whole.len; len++) {
			struct frame f = whole;

			f.len = len;
			CHECK(strcmp(out(&f), "passed") != 0);
			if (len > 54) { /* and so it does when the length says the same */
				put16(f.bytes + 18, (uint32_t)(len - 54));
				CHECK(strcmp(out(&f), "passed") != 0);
			}
		}
	}
}

/* ---- Fragments --------------------------------------------------------------------------------------------------- */

static void test_fragments(void)
{
	TEST("fragments in any order behind the first pass, whole and once")
	{
		for (uint32_t round = 0; round < 300; round++) {
			bool v6 = round & 1;
			struct frame whole = udp_frame(&vm, &peer, v6, 4100, 5000, 1192), f;
			uint8_t order[5] = {1, 2, 3, 4, 5};
			uint32_t id = 1000 + round;

			for (int i = 4; i > 0; i--) {
				int other = (int)below((uint32_t)i + 1);
				uint8_t kept = order[i];

				order[i] = order[other];
				order[other] = kept;
			}
			f = frame_fragment(&whole, 200, 200, true, id);
			CHECK_TEXT(out(&f), "fragment-orphan"); /* before the first */
			f = frame_fragment(&whole, 0, 200, true, id);
			CHECK_TEXT(out(&f), "passed");
			CHECK_TEXT(out(&f), "fragment-overlap"); /* a copy */
			for (int i = 0; i < 5; i++) {
				f = frame_fragment(&whole, order[i] * 200u, 200, order[i] < 5, id);
				CHECK_TEXT(out(&f), "passed");
			}
		}
	}
	TEST("what overlaps ends the datagram")
	{
		struct frame whole = udp_frame(&vm, &peer, false, 4101, 5000, 1192);
		struct frame first = frame_fragment(&whole, 0, 200, true, 7),
			     second = frame_fragment(&whole, 200, 200, true, 7);
		struct frame across = frame_fragment(&whole, 392, 200, true, 7),
			     third = frame_fragment(&whole, 592, 200, true, 7);

		CHECK_TEXT(out(&first), "passed");
		CHECK_TEXT(out(&second), "passed");
		CHECK_TEXT(out(&across), "fragment-overlap");
		CHECK_TEXT(out(&third), "fragment-overlap");
	}
	TEST("nothing lies behind the last fragment, and no two are last")
	{
		struct frame whole = udp_frame(&vm, &peer, false, 4102, 5000, 1192);
		struct frame first = frame_fragment(&whole, 0, 200, true, 8),
			     last = frame_fragment(&whole, 400, 200, false, 8);
		struct frame behind = frame_fragment(&whole, 600, 200, true, 8);

		CHECK_TEXT(out(&first), "passed");
		CHECK_TEXT(out(&last), "passed");
		CHECK_TEXT(out(&behind), "fragment-overlap");
	}
	TEST("random fragments never overlap in what passes")
	{
		for (uint32_t round = 0; round < 500; round++) {
			struct frame whole = udp_frame(&vm, &peer, round & 1, 4103, 5000, 1192), f;
			bool taken[150] = {};

			f = frame_fragment(&whole, 0, 80, true, 5000 + round);
			CHECK_TEXT(out(&f), "passed");
			memset(taken, true, 10);
			for (int i = 0; i < 12; i++) {
				uint32_t begin = 1 + below(140), nr = 1 + below(10);

				f = frame_fragment(&whole, begin * 8, nr * 8, true, 5000 + round);
				if (strcmp(out(&f), "passed") != 0)
					continue;
				for (uint32_t at = begin; at < begin + nr; at++) {
					CHECK(!taken[at]);
					taken[at] = true;
				}
			}
		}
	}
	TEST("an identification is free again when all of its datagram has passed, not before")
	{
		struct frame whole = udp_frame(&vm, &peer, true, 4105, 5000, 592), f;
		struct frame first = frame_fragment(&whole, 0, 200, true, 10),
			     last = frame_fragment(&whole, 400, 200, false, 10);

		for (int round = 0; round < 3; round++) {
			CHECK_TEXT(out(&first), "passed");
			CHECK_TEXT(out(&last), "passed");
			CHECK_TEXT(out(&first), "fragment-overlap");
			f = frame_fragment(&whole, 200, 200, true, 10);
			CHECK_TEXT(out(&f), "passed");
			/* Ahead of its first it is nobody's, and does no harm. */
			f = frame_fragment(&whole, 392, 200, true, 10);
			CHECK_TEXT(out(&f), "fragment-overlap");
		}
		f = frame_fragment(&whole, 0, 208, true, 10);
		CHECK_TEXT(out(&first), "passed");
		CHECK_TEXT(out(&f), "fragment-overlap");
		CHECK_TEXT(out(&last), "fragment-overlap");
	}
	TEST("headers behind the fragment header count as the datagram's")
	{
		struct frame whole = frame_ip(&vm, &peer, true, 17), f;

		frame_extension(&whole, 60, 1);
		frame_udp(&whole, 4106, 5000, 592);
		frame_done(&whole);
		f = frame_fragment(&whole, 0, 200, true, 11);
		CHECK_TEXT(out(&f), "passed");
		f = frame_fragment(&whole, 192, 200, true, 11);
		CHECK_TEXT(out(&f), "fragment-overlap");
	}
	TEST("lengths that no fragment has drop")
	{
		struct frame whole = udp_frame(&vm, &peer, false, 4104, 5000, 1192), f;

		f = frame_fragment(&whole, 0, 201, true, 9);
		CHECK_TEXT(out(&f), "fragment");
		f = frame_fragment(&whole, 0, 4, true, 9);
		CHECK_TEXT(out(&f), "fragment");
		f = frame_fragment(&whole, 0, 200, false, 9);
		put16(f.bytes + 20, 0x1fff);
		frame_repair(f.bytes, f.len, false);
		CHECK_TEXT(out(&f), "fragment");
	}
}

static void test_tags(void)
{
	TEST("a tag that the device has taken out counts if it is 802.1Q's, and then VLAN 0 is "
	     "none")
	{
		struct frame f = udp_frame(&vm, &peer, false, 4107, 5000, 8);
		context_t how = {.vlan_present = 1, .vlan_proto = bpf_htons(ETH_P_8021Q)};

		CHECK(send_skb(0, DFW_OUT, &f, &how) == DFW_REASON_PASSED);
		how.vlan_proto = bpf_htons(ETH_P_8021AD);
		CHECK(send_skb(0, DFW_OUT, &f, &how) == DFW_REASON_VLAN);
	}
}

/* ---- ARP and neighbour discovery --------------------------------------------------------------------------------- */

static struct frame nd_frame(const struct side *from, const struct side *to, uint8_t type,
			     uint32_t rest, const uint8_t *target, uint8_t option,
			     const uint8_t *link)
{
	struct frame f = frame_ip(from, to, true, 58);

	f.bytes[f.l3 + 7] = 255;
	frame_icmp(&f, type, 0, rest, 0);
	if (target)
		frame_add(&f, target, 16);
	if (type == 134)
		frame_add(&f, NULL, 8);
	if (option) {
		uint8_t *at = frame_add(&f, NULL, 8);

		at[0] = option;
		at[1] = 1;
		memcpy(at + 2, link, 6);
	}
	frame_done(&f);
	return f;
}

static void test_neighbours(void)
{
	static const uint8_t zero[6];

	TEST("ARP: the VM speaks for itself only")
	{
		struct frame f = frame_ethernet(&vm, &everyone, 0x0806);

		frame_arp(&f, 1, vm.mac, vm.ip4, zero, link_peer.ip4);
		CHECK_TEXT(out(&f), "passed");
		f.len--;
		CHECK_TEXT(out(&f), "truncated");
		f = frame_ethernet(&vm, &everyone, 0x0806);
		frame_arp(&f, 1, vm.mac, peer.ip4, zero, link_peer.ip4);
		CHECK_TEXT(out(&f), "arp-spoof");
		f = frame_ethernet(&vm, &everyone, 0x0806);
		frame_arp(&f, 2, peer.mac, vm.ip4, zero, link_peer.ip4);
		CHECK_TEXT(out(&f), "arp-spoof");
		f = frame_ethernet(&peer, &vm, 0x0806);
		frame_arp(&f, 2, peer.mac, vm.ip4, vm.mac, vm.ip4);
		CHECK_TEXT(in(&f), "arp-spoof");
		f = frame_ethernet(&peer, &vm, 0x0806);
		frame_arp(&f, 9, peer.mac, peer.ip4, vm.mac, vm.ip4);
		CHECK_TEXT(in(&f), "arp");
	}
	TEST("ND: hop limit 255, own targets, own cards, sound options")
	{
		struct frame f =
			nd_frame(&link_peer, &link_vm, 135, 0, link_vm.ip6, 1, link_peer.mac);

		CHECK_TEXT(in(&f), "passed");
		f.bytes[f.l3 + 7] = 254;
		CHECK_TEXT(in(&f), "nd");
		f = nd_frame(&link_peer, &link_vm, 135, 0, link_vm.ip6, 1, vm.mac);
		CHECK_TEXT(in(&f), "nd-spoof");
		f = nd_frame(&link_peer, &link_vm, 136, 0x60000000, link_vm.ip6, 2, link_peer.mac);
		CHECK_TEXT(in(&f), "nd-spoof");
		f = nd_frame(&link_vm, &link_peer, 136, 0x60000000, link_vm.ip6, 2, vm.mac);
		CHECK_TEXT(out(&f), "passed");
		f = nd_frame(&link_vm, &link_peer, 136, 0x60000000, link_peer.ip6, 2, vm.mac);
		CHECK_TEXT(out(&f), "nd-spoof");
		f = nd_frame(&link_vm, &all_nodes, 134, 0, NULL, 1, vm.mac);
		CHECK_TEXT(out(&f), "router-advertisement");
		f = nd_frame(&link_peer, &all_nodes, 134, 0, NULL, 1, link_peer.mac);
		CHECK_TEXT(in(&f), "passed");
		f = nd_frame(&link_peer, &link_vm, 137, 0, link_vm.ip6, 0, NULL);
		CHECK_TEXT(in(&f), "nd");
		for (int length = 0; length < 256; length++) {
			f = nd_frame(&link_peer, &link_vm, 135, 0, link_vm.ip6, 14, link_peer.mac);
			f.bytes[f.len - 7] = (uint8_t)length;
			frame_done(&f);
			CHECK_TEXT(in(&f), length == 1 ? "passed" : "nd");
		}
	}
}

/* ---- Reject ------------------------------------------------------------------------------------------------------ */

static void test_reject(void)
{
	TEST("an answer of reject is sound, of every length and family")
	{
		const struct strict_options how = {};

		for (size_t bytes = 0; bytes < 1400; bytes += 1 + below(40)) {
			struct frame f = udp_frame(&peer, &vm, bytes & 1, 4200, 113, bytes);
			struct strict s;

			host_now_ns += 100000000;
			CHECK_TEXT(in(&f), "rejected");
			s = strict_look(answer.bytes, answer.len, &how);
			if (!CHECK(!s.wrong))
				printf("# %s\n", s.wrong);
			CHECK(answer.redirected && answer.redirect_flags == BPF_F_INGRESS);
		}
		for (int flags = 0; flags < 64; flags++) {
			const struct tcp_fields tcp = {.source = 4201,
						       .destination = 113,
						       .seq = 0xfffffff0,
						       .ack = 77,
						       .flags = (uint8_t)flags,
						       .window = 9,
						       .bytes = (size_t)flags};
			struct frame f = tcp_frame(&peer, &vm, flags & 1, tcp);
			const uint8_t *l4;
			struct strict s;

			host_now_ns += 100000000;
			if (strcmp(in(&f), "rejected") != 0)
				continue;
			s = strict_look(answer.bytes, answer.len, &how);
			CHECK(!s.wrong && s.protocol == 6 &&
			      s.tcp_flags == (flags & TH_ACK ? TH_RST : TH_RST | TH_ACK));
			l4 = answer.bytes + s.l4;
			CHECK(flags & TH_ACK ? get32(l4 + 4) == 77
					     : get32(l4 + 8) == 0xfffffff0 + (uint32_t)flags +
									!!(flags & TH_SYN) +
									!!(flags & TH_FIN));
		}
	}
}

/* ---- The classifier ---------------------------------------------------------------------------------------------- */

static const char *const places[] = {"10.0.0.0/8", "10.1.0.0/16",    "10.1.2.0/24", "10.1.2.3",
				     "0.0.0.0/0",  "fd00::/8",	     "fd01::/16",   "fd01::5",
				     "::/0",	   "192.168.0.0/25", "10.0.0.2",    "224.0.0.0/4"};
static const char *const services[] = {
	"tcp 80",      "tcp 1-1023",	 "udp 53",    "udp 1024-65535", "tcp",
	"udp",	       "sctp 9",	 "icmp-echo", "icmp6-echo",	"protocol gre",
	"protocol 94", "tcp 22, udp 22", "icmp",      "icmp6"};

static char *random_policy(void)
{
	size_t room = 1 << 18, at = 0;
	char *text = calloc(1, room);
	uint32_t nr_tiers = 1 + below(3), nr_rules = 1 + (below(4) ? below(12) : below(1500));

	for (uint32_t tier = 0; text && tier < nr_tiers; tier++) {
		at += (size_t)snprintf(text + at, room - at, "tier t%u {\n", tier);
		for (uint32_t i = 0; i < nr_rules; i++) {
			static const char *const actions[] = {"allow", "drop", "reject", "pass"};
			static const char *const ways[] = {"in", "out", ""};

			at += (size_t)snprintf(text + at, room - at, " r%u: %s %s", i,
					       actions[below(4)], ways[below(3)]);
			if (below(3) || nr_rules > 12)
				at += (size_t)snprintf(text + at, room - at, " from %s%s",
						       below(6) ? "" : "not ", places[below(12)]);
			if (!below(3))
				at += (size_t)snprintf(text + at, room - at, " to %s",
						       places[below(12)]);
			if (below(4) || nr_rules > 12)
				at += (size_t)snprintf(text + at, room - at, " service %s",
						       services[below(14)]);
			at += (size_t)snprintf(text + at, room - at, "\n");
		}
		at += (size_t)snprintf(text + at, room - at, "}\n");
	}
	return text;
}

static struct dfw_addr random_address(bool v6)
{
	static const uint8_t v4[][4] = {{10, 1, 2, 3}, {10, 1, 2, 4},	   {10, 1, 9, 9},
					{10, 9, 9, 9}, {192, 168, 0, 127}, {192, 168, 0, 128},
					{10, 0, 0, 2}, {8, 8, 8, 8},	   {224, 0, 0, 5}};
	static const uint8_t v6s[][3] = {{0xfd, 1, 5}, {0xfd, 1, 6}, {0xfd, 9, 1},
					 {0x20, 1, 1}, {0xfd, 0, 2}, {0xff, 2, 1}};
	struct dfw_addr addr = {};

	if (v6) {
		const uint8_t *chosen = v6s[below(6)];

		addr.bytes[0] = chosen[0];
		addr.bytes[1] = chosen[1];
		addr.bytes[15] = chosen[2];
	} else {
		addr.bytes[10] = addr.bytes[11] = 0xff;
		memcpy(addr.bytes + 12, v4[below(9)], 4);
	}
	return addr;
}

static bool compare(const struct compiled *compiled, struct packet *p, uint32_t direction, bool own)
{
	static const uint8_t protocols[] = {6, 17, 132, 1, 58, 47, 94};
	static const uint16_t numbers[] = {0, 9, 22, 53, 79, 80, 81, 1023, 1024, 65535};
	const size_t index = compiled->ports[0].ruleset[direction];
	struct policy_packet asked = {.local_is_own = own};
	bool v6 = below(2);

	memset(p, 0, sizeof(*p));
	p->key.local = asked.local = random_address(v6);
	p->key.remote = asked.remote = random_address(v6);
	p->key.protocol = asked.protocol = protocols[below(7)];
	p->source_port = asked.source_port = numbers[below(10)];
	p->destination_port = asked.destination_port = numbers[below(10)];
	p->icmp_type = asked.icmp_type =
		(uint8_t)(below(3) ? (asked.protocol == 1 ? 8 : 128) : below(256));
	p->icmp_code = asked.icmp_code = (uint8_t)below(2);
	p->direction = (uint8_t)direction;
	return classify(p, HOST_RULESETS + (uint32_t)index, own) ==
	       (int)compiled_lookup(compiled, &compiled->rulesets[index], &asked);
}

static void test_classifier(void)
{
	TEST("the datapath's classifier finds the rule that the compiler's lookup finds")
	{
		struct packet p;

		for (int round = 0; round < 60; round++) {
			char *text = random_policy();
			struct policy *policy = text ? must_parse(text) : NULL;
			struct compiled *compiled =
				policy ? host_policy(1, policy, ports, 1) : NULL;
			int differences = 0;

			if (!CHECK(compiled))
				break;
			for (int i = 0; i < 2000; i++)
				differences += !compare(compiled, &p, below(2), below(2));
			if (!CHECK(differences == 0))
				printf("# round %d\n%s", round, strlen(text) < 4000 ? text : "");
			compiled_free(compiled);
			policy_free(policy);
			free(text);
		}
	}
}

/* ---- Connections that both ends have lost ------------------------------------------------------------------------- */

/* A segment between the VM's `port` and port 7000 of the peer. */
static const char *segment(bool from_vm, uint16_t port, uint8_t flags, uint32_t seq, uint32_t ack)
{
	const struct tcp_fields tcp = {.source = from_vm ? port : 7000,
				       .destination = from_vm ? 7000 : port,
				       .seq = seq,
				       .ack = ack,
				       .flags = flags,
				       .window = 1000};
	struct frame f = tcp_frame(from_vm ? &vm : &peer, from_vm ? &peer : &vm, false, tcp);

	return from_vm ? out(&f) : in(&f);
}

static struct dfw_flow_entry *connection(uint16_t port, bool half_opened)
{
	const struct dfw_flow_key key = {.local = {{[10] = 0xff, 0xff, 10, 0, 0, 2}},
					 .remote = {{[10] = 0xff, 0xff, 10, 1, 0, 1}},
					 .local_port = port,
					 .remote_port = 7000,
					 .protocol = 6};

	return host_flow(0, &key, half_opened);
}

/* The peer opens a connection to the VM. */
static void open_connection(uint16_t port, uint32_t isn)
{
	CHECK_TEXT(segment(false, port, TH_SYN, isn, 0), "passed");
	CHECK_TEXT(segment(true, port, TH_SYN | TH_ACK, 5000, isn + 1), "passed");
	CHECK_TEXT(segment(false, port, TH_ACK, isn + 1, 5001), "passed");
	CHECK(connection(port, false) && !connection(port, true));
}

static int64_t flows_counted(void)
{
	const struct dfw_port_state *state =
		host_map_lookup(host_inner(&states, 0), &(uint32_t){0});

	return state->flows;
}

static void test_lost_connections(void)
{
	TEST("a connection that both ends have lost begins anew, and is counted once")
	{
		int64_t before = flows_counted();

		open_connection(80, 1000);
		CHECK_TEXT(segment(false, 80, TH_SYN, 900000, 0), "passed");
		CHECK_TEXT(segment(false, 80, TH_SYN, 900000, 0), "passed");
		CHECK(connection(80, false) && connection(80, true));
		CHECK(connection(80, true)->flow.legs[DFW_ORIG].packets == 2);
		CHECK(flows_counted() == before + 1);
		CHECK_TEXT(segment(true, 80, TH_SYN | TH_ACK, 70000, 900001), "passed");
		CHECK(!connection(80, false) && connection(80, true));
		CHECK(flows_counted() == before);
		CHECK_TEXT(segment(false, 80, TH_ACK, 900001, 70001), "passed");
		CHECK(connection(80, false) && !connection(80, true));
		CHECK(flows_counted() == before + 1);
		CHECK_TEXT(segment(false, 80, TH_ACK, 1001, 5001), "tcp-window");
	}
	TEST("it is over as well when the SYN is refused")
	{
		CHECK_TEXT(segment(false, 80, TH_SYN, 100000, 0), "passed");
		CHECK_TEXT(segment(true, 80, TH_RST | TH_ACK, 0, 100001), "passed");
		CHECK(!connection(80, false));
		CHECK(connection(80, true)->flow.state == DFW_FLOW_TCP_CLOSED);
	}
	TEST("neither the SYN itself, nor who sent it, nor a wrong number ends a live connection")
	{
		open_connection(80, 2000);
		CHECK_TEXT(segment(false, 80, TH_SYN, 900000, 0), "passed");
		CHECK_TEXT(segment(false, 80, TH_RST | TH_ACK, 900001, 5001), "tcp-rst");
		CHECK_TEXT(segment(false, 80, TH_SYN | TH_ACK, 900000, 900001), "tcp-window");
		CHECK_TEXT(segment(true, 80, TH_SYN | TH_ACK, 70000, 900002), "tcp-window");
		CHECK_TEXT(segment(true, 80, TH_SYN | TH_ACK, 70000, 900000), "tcp-window");
		CHECK_TEXT(segment(true, 80, TH_RST | TH_ACK, 0, 900002), "tcp-rst");
		CHECK_TEXT(segment(true, 80, TH_ACK, 70001, 900001), "tcp-window");
		CHECK_TEXT(segment(true, 80, TH_ACK, 5001, 2001), "passed");
		/* What answers an older SYN does not, either. */
		CHECK_TEXT(segment(false, 80, TH_SYN, 950000, 0), "passed");
		CHECK_TEXT(segment(true, 80, TH_SYN | TH_ACK, 70000, 900001), "tcp-window");
		CHECK(connection(80, false)->flow.state == DFW_FLOW_TCP_ESTABLISHED);
	}
	TEST("the one that comes takes the place of the one that goes in its rule's max-flows")
	{
		open_connection(81, 1000);
		CHECK_TEXT(segment(false, 81, TH_SYN, 900000, 0), "passed");
		CHECK_TEXT(segment(true, 81, TH_SYN | TH_ACK, 70000, 900001), "passed");
		CHECK_TEXT(segment(false, 81, TH_ACK, 900001, 70001), "passed");
	}
	TEST("a flow that outlives its rule has none beside it")
	{
		static const char denies[] = "default in drop\ndefault out drop\n";
		struct policy *policy = must_parse(denies);
		struct compiled *compiled = host_policy(1, policy, ports, 1);

		open_connection(82, 1000);
		host_flip(1, 2, 2);
		CHECK_TEXT(segment(false, 82, TH_ACK, 1001, 5001), "passed");
		CHECK_TEXT(segment(false, 82, TH_SYN, 900000, 0), "passed");
		CHECK(connection(82, false) && !connection(82, true));
		CHECK_TEXT(segment(true, 82, TH_SYN | TH_ACK, 70000, 900001), "tcp-window");
		host_flip(0, 1, 3);
		compiled_free(compiled);
		policy_free(policy);
	}
}

/* ---- Flows ------------------------------------------------------------------------------------------------------- */

static void test_flows(void)
{
	TEST("a change of policy stops an established flow on its next packet, and keeps what it "
	     "allows")
	{
		static const char denies[] =
			"default in drop\ndefault out drop\nudp: allow out service udp 6000\n";
		struct policy *policy = must_parse(denies);
		struct compiled *compiled = host_policy(1, policy, ports, 1);
		struct frame kept = udp_frame(&vm, &peer, false, 4300, 6000, 8),
			     stopped = udp_frame(&vm, &peer, false, 4300, 5999, 8);
		struct frame answered = udp_frame(&peer, &vm, false, 5999, 4300, 8);

		CHECK_TEXT(out(&kept), "passed");
		CHECK_TEXT(out(&stopped), "passed");
		CHECK_TEXT(in(&answered), "passed");
		host_flip(1, 2, 2);
		CHECK_TEXT(out(&kept), "passed");
		CHECK_TEXT(in(&answered), "default");
		CHECK_TEXT(out(&stopped), "default");
		host_flip(0, 1, 3);
		compiled_free(compiled);
		policy_free(policy);
	}
	TEST("a flow that has expired lets nothing in")
	{
		struct frame asked = udp_frame(&vm, &peer, false, 4301, 6000, 8),
			     answered = udp_frame(&peer, &vm, false, 6000, 4301, 8);

		CHECK_TEXT(out(&asked), "passed");
		host_now_ns += 31 * NS_PER_SECOND;
		CHECK_TEXT(in(&answered), "default");
		CHECK_TEXT(out(&asked), "passed");
		CHECK_TEXT(in(&answered), "passed");
		host_now_ns += 119 * NS_PER_SECOND;
		CHECK_TEXT(in(&answered), "passed");
	}
	TEST("an expired flow goes with the sweep, and its number with it")
	{
		const struct dfw_port_state *state;
		uint32_t zero = 0;

		host_now_ns += 1000 * NS_PER_SECOND;
		CHECK(host_sweep(0, DFW_SWEEP_EXPIRED, NULL) > 0);
		state = host_map_lookup(host_inner(&states, 0), &zero);
		CHECK(host_flows_each(0, false, NULL, NULL) == (size_t)state->flows);
	}
	TEST("a full ring buffer costs events, never a verdict")
	{
		struct frame f = udp_frame(&vm, &peer, false, 4302, 6000, 8);

		host_ring_full = true;
		CHECK_TEXT(out(&f), "passed");
		host_ring_full = false;
	}
}

int main(int argc, char **argv)
{
	struct compiled *compiled;
	struct policy *policy;

	if (argc > 1)
		random_state = strtoull(argv[1], NULL, 0) | 1;
	host_begin();
	host_now_ns = 1000 * NS_PER_SECOND;
	policy = must_parse(policy_text);
	compiled = policy ? host_policy(0, policy, ports, 2) : NULL;
	if (!compiled)
		return EXIT_FAILURE;
	for (uint32_t slot = 0; slot < 2; slot++)
		host_port(slot, 0, 0, 0);
	host_flip(0, 1, 1);

	test_checksums();
	test_options();
	test_fragments();
	test_tags();
	test_neighbours();
	test_reject();
	test_lost_connections();
	test_classifier();
	test_flows();
	host_skb_drop(&answer);
	compiled_free(compiled);
	policy_free(policy);
	return check_done();
}
