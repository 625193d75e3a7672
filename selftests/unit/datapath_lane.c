// SPDX-License-Identifier: GPL-2.0
/*
 * The lane (bpf/lane.h) against the full path: each frame of random conversations goes through both, each at a port of its
 * own, and after each frame both ports must hold the same flows, fragments and counters. Usage: datapath_lane [SEED]
 */
#include "check.h"
#include "selftests/host/host_datapath.h"
#include "selftests/host/frames.h"
#include "policy_files.h"

#define CONVERSATIONS 6000
#define STEPS	      60

enum { PORT_STRICT, PORT_OPEN, PORT_TRUNK, NR_PORTS };

/* The port's twin, which never sees the lane. */
#define TWIN(port) ((port) + NR_PORTS)

#define VM_MAC	 {0x02, 0, 0, 0, 0, 0x02}
#define LINK_IP6 {0xfe, 0x80, [15] = 2}

static const struct side vms[NR_PORTS] = {{VM_MAC, {10, 0, 0, 2}, {0xfd, 0, [15] = 2}},
					  {VM_MAC, {10, 0, 0, 3}, {0xfd, 0, [15] = 3}},
					  {VM_MAC, {10, 0, 0, 4}, {0xfd, 0, [15] = 4}}};
static const struct side peer = {{0x02, 0, 0, 0, 0, 0x01}, {10, 1, 0, 1}, {0xfd, 1, [15] = 1}};
static const struct side stranger = {{0x02, 0, 0, 0, 0, 0x09}, {10, 1, 0, 9}, {0xfd, 1, [15] = 9}};

static const struct host_port ports[NR_PORTS] = {
	{.name = "strict",
	 .macs = {{VM_MAC, {0}}},
	 .nr_macs = 1,
	 .addresses = {{{[10] = 0xff, 0xff, 10, 0, 0, 2}}, {{0xfd, 0, [15] = 2}}},
	 .nr_addresses = 2},
	{.name = "open", .profile = "open"},
	{.name = "trunk",
	 .profile = "trunk",
	 .macs = {{{2, 0, 0, 0, 9, 9}, {0}}, {VM_MAC, {0}}},
	 .nr_macs = 2,
	 .addresses = {{{[10] = 0xff, 0xff, 10, 0, 0, 4}}, {{0xfd, 0, [15] = 4}}},
	 .nr_addresses = 2,
	 .vlans = {10, 20, 30},
	 .nr_vlans = 3},
};

static const char *const policies[DFW_BANKS] = {
	"profile open {\n guard-mac off\n guard-address off\n strict off\n ip-options on\n}\n"
	"profile trunk {\n checksum off\n max-flows 4\n max-half-open 8\n}\n"
	"default in drop\ndefault out drop\n"
	"outwards: allow out\nweb: allow in service tcp 80, udp 5000 max-flows 3\n"
	"kept: allow in service tcp 22 on-change keep\nping: allow in service icmp-echo\n"
	"ident: reject in service tcp 113\n",

	"profile open {\n guard-mac off\n guard-address off\n strict off\n ip-options on\n}\n"
	"profile trunk {\n checksum off\n max-flows 4\n max-half-open 8\n}\n"
	"default in drop\ndefault out drop\n"
	"outwards: allow log out from 10.0.0.0/8, fd00::/8\nweb: allow in service tcp 80, udp "
	"5000\n",
};

static uint64_t random_state = 1;

static uint32_t below(uint32_t limit)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 0x2545f4914f6cdd1dULL) >> 32) % limit;
}

static bool one_in(uint32_t n)
{
	return below(n) == 0;
}

/* ---- Sending through both ------------------------------------------------------------------------------------- */

#define UNTOUCHED 0xdeadbeef

static uint64_t frames, passed, by_lane;
static unsigned int nr_events; /* of the path that runs */
static char where[256];

static void count_event(const void *record)
{
	(void)record;
	nr_events++;
}

static void tell_counters(uint32_t slot, enum dfw_direction direction)
{
	const struct dfw_reason_counter *counter = (void *)host_counters(slot, direction);

	printf("# %s:", slot < NR_PORTS ? "lane" : "full path");
	for (uint32_t i = 0; i < DFW_REASON_COUNT; i++)
		if (counter[i].packets)
			printf(" %s %llu/%llu", host_reason_names[i],
			       (unsigned long long)counter[i].packets,
			       (unsigned long long)counter[i].bytes);
	printf("\n");
}

/* Whether the frame passed. */
static bool send_both(uint32_t port, bool out, const struct frame *f, const context_t *how)
{
	uint32_t place = PACKET_PLACE_TRAFFIC;
	enum dfw_direction direction = out ? DFW_OUT : DFW_IN;
	struct packet *p = host_map_lookup(&packets, &place);
	context_t one = *how, other = *how;
	unsigned int events_of_one;
	const char *difference;
	int action, wanted;
	bool same;

	host_skb_put(&one, f->bytes, (uint32_t)f->len, (uint32_t)f->len);
	host_skb_put(&other, f->bytes, (uint32_t)f->len, (uint32_t)f->len);
	p->rule = UNTOUCHED; /* which only the full path clears */
	nr_events = 0;
	action = host_run(port, direction, &one);
	events_of_one = nr_events;
	frames++;
	passed += action == TC_ACT_UNSPEC;
	by_lane += p->rule == UNTOUCHED;
	nr_events = 0;
	host_map_clear(&event_rations);
	wanted = host_run_fully(TWIN(port), direction, &other);
	host_map_clear(&event_rations);
	difference = host_difference(port, TWIN(port));
	same = action == wanted && nr_events == events_of_one && one.len == other.len &&
	       memcmp(one.bytes, other.bytes, one.len) == 0;
	host_skb_drop(&one);
	host_skb_drop(&other);
	if (!CHECK(same) || !CHECK(!difference)) {
		tell_counters(port, direction);
		tell_counters(TWIN(port), direction);
		printf("# %s: action %d, not %d; %u events, not %u; they differ in %s\n", where,
		       action, wanted, events_of_one, nr_events,
		       difference ? difference : "nothing");
		exit(check_done());
	}
	return action == TC_ACT_UNSPEC;
}

/* ---- What is done to a good frame ------------------------------------------------------------------------------ */

static void damage(struct frame *f)
{
	static const uint8_t options[] = {1, 1, 1, 0};

	switch (below(10)) {
	case 0:
	case 1: /* any bit, sums put right or not */
		f->bytes[below((uint32_t)f->len)] ^= (uint8_t)(1 << below(8));
		if (one_in(2))
			frame_repair(f->bytes, f->len, false);
		break;
	case 2: /* a bit of the headers */
		f->bytes[below(f->len < 70 ? (uint32_t)f->len : 70)] ^= (uint8_t)(1 << below(8));
		frame_repair(f->bytes, f->len, one_in(2));
		break;
	case 3:
		f->len -= below((uint32_t)f->len - 1);
		if (one_in(2))
			frame_repair(f->bytes, f->len, true);
		break;
	case 4: /* padding of a short frame */
		frame_add(f, NULL, 1 + below(46));
		break;
	case 5:
		memcpy(f->bytes + (one_in(2) ? 0 : 6), one_in(2) ? stranger.mac : vms[0].mac, 6);
		break;
	case 6:
		f->bytes[one_in(2) ? 0 : 6] |= 1;
		break;
	case 7: { /* an option, where no IPv4 packet needs one */
		struct frame longer = *f;

		if (f->bytes[f->l3] != 0x45)
			break;
		longer.len = f->l3 + 20;
		frame_options4(&longer, options, sizeof(options));
		frame_add(&longer, f->bytes + f->l3 + 20, f->len - f->l3 - 20);
		*f = longer;
		frame_done(f);
		break;
	}
	case 8: /* a fragment of it */
		if (f->len > f->l3 + 80)
			*f = frame_fragment(f, 0, 24, true, below(4));
		break;
	case 9: /* UDP without a checksum */
		if (f->bytes[f->l3 + 9] == 17 && f->bytes[f->l3] == 0x45)
			put16(f->bytes + f->l3 + 26, 0);
		break;
	}
}

/* The tag that the port's frames carry, in the frame or beside it. */
static void tag(uint32_t port, struct frame *f, context_t *how)
{
	static const uint16_t tags[] = {0, 10, 20, 30, 40, 0x600a};
	uint16_t tci = port == PORT_TRUNK && !one_in(20) ? 10 : tags[below(6)];

	if (port != PORT_TRUNK && !one_in(40))
		return;
	if (one_in(2) || one_in(50)) {
		how->vlan_present = 1;
		how->vlan_tci = tci;
		how->vlan_proto = bpf_htons(one_in(60) ? ETH_P_8021AD : ETH_P_8021Q);
		if (!one_in(50))
			return;
	}
	if (f->len >= 12)
		frame_tag(f, one_in(60) ? 0x88a8 : 0x8100, tci);
}

static bool send_one(uint32_t port, bool out, struct frame *f)
{
	context_t how = {.ip_summed = one_in(4) ? below(4) : 0};

	frame_done(f);
	if (one_in(12))
		damage(f);
	tag(port, f, &how);
	if (one_in(15)) {
		how.gso_size = 100 + below(1400);
		how.gso_segs = one_in(2) ? 1 + below(40) : 0;
	}
	return send_both(port, out, f, &how);
}

/* ---- Conversations ---------------------------------------------------------------------------------------------- */

struct talk {
	uint32_t port;
	bool v6;
	bool vm_asks;
	uint16_t asking, asked;
	uint32_t next[2]; /* of the asking end and the asked: behind what it has sent */
	uint32_t got[2];
};

static struct frame talk_ip(const struct talk *talk, bool asked, uint8_t protocol)
{
	bool out = talk->vm_asks != asked;

	return frame_ip(out ? &vms[talk->port] : &peer, out ? &peer : &vms[talk->port], talk->v6,
			protocol);
}

static void tcp_say(struct talk *talk, bool asked, uint8_t flags, uint32_t bytes)
{
	static const uint8_t scale[] = {1, 3, 3, 7, 2, 4, 5, 0xb4}, stamps[12] = {1, 1, 8, 10};
	struct frame f = talk_ip(talk, asked, 6);
	struct tcp_fields tcp = {
		.source = asked ? talk->asked : talk->asking,
		.destination = asked ? talk->asking : talk->asked,
		.seq = talk->next[asked],
		.ack = flags & TH_ACK ? talk->got[asked] : 0,
		.flags = flags,
		.window = (uint16_t)(one_in(20) ? below(3) : 500 + below(65000)),
		.options = flags & TH_SYN ? scale : stamps,
		.option_bytes = flags & TH_SYN ? sizeof(scale) : sizeof(stamps) * below(2),
		.bytes = bytes,
	};

	if (one_in(12))
		tcp.seq += below(3000) - 1500;
	if (one_in(12))
		tcp.ack += below(3000) - 1500;
	if (one_in(60))
		tcp.seq += below(0xffffffff);
	if (one_in(60))
		tcp.ack += below(0xffffffff);
	if (one_in(30))
		tcp.flags ^= (uint8_t)(1 << below(8));
	frame_tcp(&f, &tcp);
	if (send_one(talk->port, talk->vm_asks != asked, &f)) {
		uint32_t end = tcp.seq + bytes + !!(tcp.flags & TH_SYN) + !!(tcp.flags & TH_FIN);

		if (tcp.flags & TH_SYN || (int32_t)(end - talk->next[asked]) > 0) {
			talk->next[asked] = end;
			talk->got[!asked] = end;
		}
	}
}

static void tcp_open(struct talk *talk)
{
	tcp_say(talk, false, TH_SYN, 0);
	tcp_say(talk, true, TH_SYN | TH_ACK, 0);
	tcp_say(talk, false, TH_ACK, 0);
}

static void tcp_step(struct talk *talk)
{
	bool asked = below(2);

	switch (below(40)) {
	case 0:
		tcp_say(talk, asked, TH_ACK | TH_FIN, below(100));
		break;
	case 1:
		tcp_say(talk, asked, TH_RST | (one_in(2) ? TH_ACK : 0), 0);
		break;
	case 2:
		tcp_open(talk);
		break;
	default:
		tcp_say(talk, asked, TH_ACK | (one_in(2) ? TH_PSH : 0),
			one_in(3) ? 0 : below(one_in(2) ? 80 : 1400));
	}
}

static void udp_step(struct talk *talk)
{
	bool asked = below(2);
	struct frame f = talk_ip(talk, asked, 17);

	frame_udp(&f, asked ? talk->asked : talk->asking, asked ? talk->asking : talk->asked,
		  below(one_in(2) ? 90 : 1400));
	send_one(talk->port, talk->vm_asks != asked, &f);
}

static void forget_news(struct dfw_flow_entry *entry, void *data)
{
	(void)data;
	entry->flow.flags &= (uint8_t)~(DFW_FLOW_TOUCHED | DFW_FLOW_CHANGED);
}

/* Somebody begins to read the changes of the port's flows, has read them, or reads no more. */
static void watch(uint32_t port, bool watched)
{
	const uint32_t slots[] = {port, TWIN(port)};

	for (uint32_t i = 0; i < 2; i++) {
		for (uint32_t bank = 0; bank < DFW_BANKS; bank++) {
			uint32_t zero = 0;
			struct dfw_port_config *config = host_map_lookup(
				host_inner(&configs, slots[i] * DFW_BANKS + bank), &zero);

			config->flags &= ~(uint32_t)DFW_PORT_WATCHED;
			config->flags |= watched ? DFW_PORT_WATCHED : 0;
		}
		host_flows_each(slots[i], false, forget_news, NULL);
	}
}

/* What the machine does between packets. */
static void happen(uint32_t port)
{
	static const uint64_t pauses[] = {1000,	       1000000,	     100000000,	   2100000000,
					  31000000000, 121000000000, 901000000000, 432001000000000};
	static uint32_t bank;
	static uint16_t revision = 1;

	host_now_ns += pauses[below(one_in(20) ? 8 : 4)];
	if (one_in(50)) {
		bank = below(2);
		host_flip(bank, 1 + below(2), ++revision);
	}
	if (one_in(30))
		watch(port, one_in(3));
	if (one_in(80)) {
		enum dfw_sweep_op op = one_in(2) ? DFW_SWEEP_EXPIRED : DFW_SWEEP_STALE;

		host_sweep(port, op, NULL);
		host_sweep(TWIN(port), op, NULL);
	}
}

static void converse(uint32_t port)
{
	static const uint16_t services[] = {80, 22, 113, 5000, 67, 547, 6000, 0};
	struct talk talk = {
		.port = port,
		.v6 = below(2),
		.vm_asks = below(2),
		.asking = (uint16_t)(one_in(10) ? 67 + below(2) : 40000 + below(3)),
		.asked = services[below(8)],
		.next = {below(0xffffffff), below(0xffffffff)},
	};
	bool tcp = below(2);

	if (tcp)
		tcp_open(&talk);
	for (uint32_t step = 0; step < STEPS; step++) {
		snprintf(where, sizeof(where), "port %u, %s, IPv%d, step %u", port,
			 tcp ? "TCP" : "UDP", talk.v6 ? 6 : 4, step);
		if (one_in(6))
			happen(port);
		if (tcp)
			tcp_step(&talk);
		else
			udp_step(&talk);
	}
	host_forget(port);
	host_forget(TWIN(port));
}

int main(int argc, char **argv)
{
	struct compiled *compiled[DFW_BANKS];
	struct policy *policy[DFW_BANKS];

	if (argc > 1)
		random_state = strtoull(argv[1], NULL, 0) | 1;
	host_begin();
	host_ring_seen = count_event;
	host_now_ns = 1000 * NS_PER_SECOND;
	for (uint32_t bank = 0; bank < DFW_BANKS; bank++) {
		policy[bank] = must_parse(policies[bank]);
		compiled[bank] =
			policy[bank] ? host_policy(bank, policy[bank], ports, NR_PORTS) : NULL;
		if (!compiled[bank])
			return EXIT_FAILURE;
		for (uint32_t port = 0; port < NR_PORTS; port++)
			host_twin(bank, port, TWIN(port));
	}
	for (uint32_t slot = 0; slot < TWIN(NR_PORTS); slot++) {
		bool small = slot % NR_PORTS == PORT_TRUNK;

		host_port(slot, small ? 4 : 0, small ? 8 : 0, 0);
	}
	host_flip(0, 1, 1);

	TEST("the lane does to flows and counters what the full path does")
	{
		for (uint32_t i = 0; i < CONVERSATIONS; i++)
			converse(i % NR_PORTS);
	}
	TEST("and takes a good part of what passes")
	{
		CHECK(by_lane * 2 > passed);
		printf("# %llu frames, %llu passed, %llu of them by the lane\n",
		       (unsigned long long)frames, (unsigned long long)passed,
		       (unsigned long long)by_lane);
	}
	for (uint32_t bank = 0; bank < DFW_BANKS; bank++) {
		compiled_free(compiled[bank]);
		policy_free(policy[bank]);
	}
	return check_done();
}
