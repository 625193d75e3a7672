// SPDX-License-Identifier: GPL-2.0
/*
 * libFuzzer against the whole datapath: sequences of frames, with direction, time, offloads and changes of policy.
 *
 * An input is a byte that picks the port, then steps:
 *	op    bits 0-1 enum step_kind; 2 direction (1: the VM sends); 3 a tag in the skb; 4-5 ip_summed; 6 GSO;
 *	      7 (STEP_REPAIRED) lengths are repaired, too
 *	arg   low nibble: time that passes before, index in `pauses`; high nibble: of what kind
 *	...   STEP_RAW, STEP_REPAIRED: 16-bit length, frame.  STEP_TCP: see tcp_step.  STEP_CONTROL: nothing
 *
 * The corpus begins with valid conversations of every protocol, written into the first directory named on the command
 * line; the mutator works on steps. What must hold after every frame is in `check`.
 */
#include <stdarg.h>
#include <sys/stat.h>

#include "selftests/host/host_datapath.h"

/* Only the datapath's own branches guide the fuzzer. */
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)

#include "selftests/host/frames.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);
const char *__asan_default_options(void);

/* Speed: frames and flows are small and short-lived. */
const char *__asan_default_options(void)
{
	return "malloc_context_size=3:quarantine_size_mb=8:detect_stack_use_after_return=0";
}

enum step_kind { STEP_RAW, STEP_REPAIRED, STEP_TCP, STEP_CONTROL };

enum {
	OP_OUT = 1 << 2,
	OP_TAG = 1 << 3,
	OP_SUMMED_SHIFT = 4,
	OP_GSO = 1 << 6,
	OP_LENGTHS = 1 << 7,
};

#define TCP_STEP_BYTES 10
#define MAX_STEPS      20

static const uint64_t pauses[16] = {
	0,
	0,
	0,
	0,
	1000,
	1000000,
	10000000,
	100000000,
	1000000000ULL,
	2100000000ULL,
	11000000000ULL,
	31000000000ULL,
	61000000000ULL,
	121000000000ULL,
	901000000000ULL,
	432001000000000ULL,
};

/* ---- Ports and policies --------------------------------------------------------------------------------------- */

enum { PORT_STRICT, PORT_OPEN, PORT_TRUNK, PORT_TINY, NR_PORTS };

#define VM_MAC	 {0x02, 0, 0, 0, 0, 0x02}
#define VM_IP4	 {10, 0, 0, 2}
#define VM_IP6	 {0xfd, 0, [15] = 2}
#define LINK_IP6 {0xfe, 0x80, [15] = 2}

static const struct side vm = {VM_MAC, VM_IP4, VM_IP6};
static const struct side peer = {{0x02, 0, 0, 0, 0, 0x01}, {10, 1, 0, 1}, {0xfd, 1, [15] = 1}};
static const struct side link_vm = {VM_MAC, {0}, LINK_IP6};
static const struct side link_peer = {
	{0x02, 0, 0, 0, 0, 0x01}, {10, 0, 0, 1}, {0xfe, 0x80, [15] = 1}};
static const struct side everyone = {
	{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {255, 255, 255, 255}, {0xff, 2, [15] = 1}};
static const struct side nobody = {VM_MAC, {0}, {0}};

#define GUARDED                                                   \
	.macs = {{VM_MAC, {0}}}, .nr_macs = 1, .nr_addresses = 3, \
	.addresses = {{{[10] = 0xff, 0xff, 10, 0, 0, 2}}, {VM_IP6}, {LINK_IP6}}

static const struct host_port ports[NR_PORTS] = {
	[PORT_STRICT] = {.name = "strict", GUARDED},
	[PORT_OPEN] = {.name = "open", .profile = "open"},
	[PORT_TRUNK] = {.name = "trunk",
			.profile = "trunk",
			.macs = {{VM_MAC, {0}}},
			.nr_macs = 1,
			.addresses = {{{[10] = 0xff, 0xff, 10, 0, 0, 3}}},
			.nr_addresses = 1,
			.vlans = {10, 20},
			.nr_vlans = 2},
	[PORT_TINY] = {.name = "tiny",
		       .profile = "tiny",
		       .addresses = {{{[10] = 0xff, 0xff, 10, 0, 0, 4}}},
		       .nr_addresses = 1},
};

#define PROFILES                                                                                 \
	"profile open {\n guard-mac off\n guard-address off\n guard-dhcp off\n guard-ra off\n"   \
	" strict off\n ip-options on\n max-flows 6\n max-half-open 6\n max-fragments 4\n}\n"     \
	"profile trunk {\n guard-mac off\n guard-address off\n checksum off\n arp-nd off\n"      \
	" new-per-second 4\n reject-per-second 2\n}\n"                                           \
	"profile tiny {\n guard-address off\n max-flows 3\n max-half-open 3\n max-fragments 2\n" \
	" reject-per-second 0\n dhcp off\n}\n"                                                   \
	"default in drop\ndefault out drop\n"

static const char *const policies[DFW_BANKS] = {
	PROFILES "tier first {\n"
		 " telnet: reject out service tcp 23\n"
		 " syslog: reject log out service udp 514\n"
		 " echo: allow log service icmp-echo, icmp6-echo\n"
		 " dns: allow stateless in service udp 53\n"
		 " web: allow in service tcp 80 limit 5/second burst 3 per source max-flows 2\n"
		 " ssh: allow in service tcp 22 on-change keep\n"
		 " tls: allow in service tcp 443 on-change kill\n"
		 " ident: reject in service tcp 113, udp 113\n"
		 " lab: pass in from 10.9.0.0/16\n"
		 " high: allow in service tcp 1024-65535, udp 1024-65535, sctp 1024-65535\n"
		 " hosts: allow in from 10.1.0.1, fd01::/16 service protocol gre, protocol esp\n"
		 "}\n"
		 "tier second {\n out: allow out\n options: reject in service sctp 9\n}\n",

	PROFILES
	"tier only {\n"
	" web: drop in service tcp 80\n"
	" high: allow in from 10.1.0.0/16, fd01::/16 service tcp 1024-65535, udp 1024-40000\n"
	" tls: reject in service tcp 443\n"
	" out: allow out service tcp, udp, icmp-echo\n"
	"}\n",
};

/* What the profiles say, again, for the checks. */
static const struct {
	size_t max_flows, max_half_open, max_fragments;
	bool strict, checksum;
} limits_of[NR_PORTS] = {
	[PORT_STRICT] = {DFW_DEFAULT_MAX_FLOWS, DFW_DEFAULT_MAX_HALF_OPEN,
			 DFW_DEFAULT_MAX_FRAGMENTS, true, true},
	[PORT_OPEN] = {6, 6, 4, false, true},
	[PORT_TRUNK] = {DFW_DEFAULT_MAX_FLOWS, DFW_DEFAULT_MAX_HALF_OPEN, DFW_DEFAULT_MAX_FRAGMENTS,
			true, false},
	[PORT_TINY] = {3, 3, 2, true, true},
};

static struct compiled *compiled[DFW_BANKS];
static uint32_t bank;
static uint16_t revision;

static int read_policy(void *data, const char *from, const char *name, char **text, size_t *bytes,
		       char **resolved)
{
	(void)from;
	*bytes = strlen(data);
	*text = strdup(data);
	*resolved = strdup(name);
	return 0;
}

static void flip(void)
{
	bank = !bank;
	if (++revision == 0)
		revision = 1;
	host_flip(bank, 1 + bank, revision);
}

static void load_policies(void)
{
	for (uint32_t i = 0; i < DFW_BANKS; i++) {
		const struct policy_reader reader = {read_policy, (void *)policies[i]};
		struct policy_errors errors = {};
		struct policy *policy = NULL;

		if (policy_parse(&reader, "fuzz.dfw", &policy, &errors) < 0) {
			policy_errors_print(&errors, stderr);
			exit(1);
		}
		compiled[i] = host_policy(i, policy, ports, NR_PORTS);
		if (!compiled[i])
			exit(1);
		policy_free(policy);
		policy_errors_free(&errors);
	}
}

/* ---- What must hold ------------------------------------------------------------------------------------------- */

static struct dfw_flow_key syns[4 * MAX_STEPS]; /* keys that a SYN has passed for */
static size_t nr_syns;
static uint32_t slot;

static void __attribute__((noreturn, format(printf, 1, 2))) broken(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fprintf(stderr, "does not hold: ");
	vfprintf(stderr, format, list);
	fprintf(stderr, "\n");
	va_end(list);
	abort();
}

#define HOLDS(condition, ...)                \
	do {                                 \
		if (!(condition))            \
			broken(__VA_ARGS__); \
	} while (0)

static bool state_of_protocol(uint8_t state, uint8_t protocol)
{
	switch (protocol) {
	case 6:
		return state <= DFW_FLOW_TCP_CLOSED;
	case 17:
		return state == 0 || (state >= DFW_FLOW_UDP_NEW && state <= DFW_FLOW_UDP_STREAM);
	case 1:
	case 58:
		return state == 0 || state == DFW_FLOW_ICMP_NEW || state == DFW_FLOW_ICMP_REPLIED;
	case 132:
		return state == 0 || (state >= DFW_FLOW_SCTP_INIT && state <= DFW_FLOW_SCTP_CLOSED);
	}
	return state == 0 || state == DFW_FLOW_OTHER_NEW || state == DFW_FLOW_OTHER_REPLIED;
}

static bool syn_was_seen(const struct dfw_flow_key *key)
{
	for (size_t i = 0; i < nr_syns; i++)
		if (memcmp(&syns[i], key, sizeof(*key)) == 0)
			return true;
	return false;
}

struct census {
	bool half_open;
	size_t alive;
};

static void check_flow(struct dfw_flow_entry *entry, void *data)
{
	const struct dfw_flow_key *key = &entry->key;
	const struct dfw_flow *flow = &entry->flow;
	struct census *census = data;

	HOLDS(flow->lock == 0, "a flow stays locked");
	HOLDS(state_of_protocol(flow->state, key->protocol), "state %u of protocol %u", flow->state,
	      key->protocol);
	HOLDS(flow->orig_scale <= 14 && flow->reply_scale <= 14, "scales %u, %u", flow->orig_scale,
	      flow->reply_scale);
	HOLDS(flow->last_seen_ns <= host_now_ns, "times of a flow");
	HOLDS(flow->on_change <= DFW_ON_CHANGE_KILL, "on_change %u", flow->on_change);
	HOLDS(flow->state != DFW_FLOW_DEAD, "a dead flow keeps its place");
	HOLDS(host_flow(slot, key, census->half_open) == entry, "a flow that is not found");
	census->alive++;
	HOLDS(flow->legs[DFW_ORIG].packets > 0, "a flow without a packet of its initiator");
	if (key->protocol == 6 && limits_of[slot].strict)
		HOLDS(syn_was_seen(key), "a TCP flow without a SYN");
	if (key->protocol == 6 && flow->state >= DFW_FLOW_TCP_ESTABLISHED &&
	    flow->state <= DFW_FLOW_TCP_TIME_WAIT)
		HOLDS((flow->leg_flags[0] & flow->leg_flags[1] & DFW_LEG_SYN_ACKED),
		      "established, and a SYN not acknowledged");
	if (key->protocol == 132 && flow->state == DFW_FLOW_SCTP_ESTABLISHED)
		HOLDS(flow->legs[0].tag && flow->legs[1].tag, "an association without its tags");
	/* But a SYN on a live connection begins one beside. */
	if (census->half_open && !(key->protocol == 6 && flow->state == DFW_FLOW_TCP_SYN_SENT))
		HOLDS(!host_flow(slot, key, false), "a flow lies in both maps");
}

static long check_fragment(void *map, const void *key, void *value, void *data)
{
	const struct dfw_fragment *f = value;

	(void)map;
	(void)key;
	(void)data;
	HOLDS(f->lock == 0, "a datagram stays locked");
	HOLDS(f->nr_ranges >= 1 && f->nr_ranges <= DFW_FRAGMENT_RANGES, "%u ranges", f->nr_ranges);
	for (int i = 0; i < f->nr_ranges; i++) {
		HOLDS(f->ranges[i].begin < f->ranges[i].end, "an empty range");
		HOLDS(!f->last_end || f->ranges[i].end <= f->last_end, "a range beyond the end");
		for (int j = 0; j < i; j++)
			HOLDS(f->ranges[i].begin >= f->ranges[j].end ||
				      f->ranges[j].begin >= f->ranges[i].end,
			      "ranges overlap");
	}
	return 0;
}

static void check_maps(void)
{
	struct census confirmed = {}, half = {.half_open = true};
	const struct dfw_port_state *state;
	uint32_t zero = 0;

	host_flows_each(slot, false, check_flow, &confirmed);
	host_flows_each(slot, true, check_flow, &half);
	host_map_each(host_inner(&fragments, slot), check_fragment, NULL);
	state = host_map_lookup(host_inner(&states, slot), &zero);
	HOLDS(state->flows == (__s64)confirmed.alive, "%lld flows counted, %zu are there",
	      (long long)state->flows, confirmed.alive);
}

static struct dfw_flow_key key_of(const struct strict *s, uint32_t direction, uint16_t vlan)
{
	struct dfw_flow_key key = {.protocol = s->protocol, .vlan = vlan};
	struct dfw_addr source = {}, destination = {};

	if (s->v6) {
		memcpy(source.bytes, s->source, 16);
		memcpy(destination.bytes, s->destination, 16);
	} else {
		source.bytes[10] = source.bytes[11] = destination.bytes[10] =
			destination.bytes[11] = 0xff;
		memcpy(source.bytes + 12, s->source, 4);
		memcpy(destination.bytes + 12, s->destination, 4);
	}
	key.local = direction == DFW_OUT ? source : destination;
	key.remote = direction == DFW_OUT ? destination : source;
	key.local_port = direction == DFW_OUT ? s->source_port : s->destination_port;
	key.remote_port = direction == DFW_OUT ? s->destination_port : s->source_port;
	return key;
}

/* The answer of `reject`: sound in itself, and the hook lets it go. */
static void check_answer(context_t *skb, uint32_t direction)
{
	const struct strict_options how = {.trust_checksum = skb->ip_summed == CHECKSUM_PARTIAL};
	struct strict s = strict_look(skb->bytes, skb->len, &how);
	const struct dfw_direction_counters before[2] = {*host_counters(slot, 0),
							 *host_counters(slot, 1)};
	bool to_vm = direction == DFW_OUT;

	HOLDS(!s.wrong, "a malformed answer: %s", s.wrong);
	HOLDS(s.protocol == 6 || s.protocol == 1 || s.protocol == 58, "an answer of protocol %u",
	      s.protocol);
	HOLDS(skb->mark == REJECT_MARK && skb->redirected && skb->redirect_ifindex == skb->ifindex,
	      "an answer that goes nowhere");
	HOLDS(skb->redirect_flags == (to_vm ? 0 : BPF_F_INGRESS),
	      "an answer that goes the wrong way");
	HOLDS(host_run(slot, to_vm ? DFW_IN : DFW_OUT, skb) == TC_ACT_UNSPEC,
	      "an answer is stopped");
	HOLDS(memcmp(&before[0], host_counters(slot, 0), sizeof(before[0])) == 0 &&
		      memcmp(&before[1], host_counters(slot, 1), sizeof(before[1])) == 0,
	      "an answer is counted");
}

/* Sends a frame and checks what comes of it. Returns whether it passed. */
static bool send_frame(const uint8_t *bytes, size_t nr, uint8_t op, uint8_t arg)
{
	uint32_t direction = op & OP_OUT ? DFW_OUT : DFW_IN, reason = DFW_REASON_COUNT;
	uint32_t segments, most;
	const struct dfw_reason_counter *now = (void *)host_counters(slot, direction);
	struct dfw_direction_counters before = *host_counters(slot, direction);
	const struct dfw_reason_counter *then = (void *)&before;
	struct strict_options how = {.gso = op & OP_GSO};
	struct strict s;
	context_t skb = {
		.ip_summed = (op >> OP_SUMMED_SHIFT) & 3,
		.gso_size = op & OP_GSO ? 1448 : 0,
		.gso_segs = op & OP_GSO ? arg >> 4 : 0,
		.vlan_present = !!(op & OP_TAG),
		.vlan_tci = op & OP_TAG ? (arg & 0x10 ? 0x600a : arg >> 4) : 0,
		.vlan_proto = bpf_htons(arg & 0x80 ? ETH_P_8021AD : ETH_P_8021Q),
	};
	int action;

	host_skb_put(&skb, bytes, (uint32_t)nr, (uint32_t)nr);
	segments = skb.gso_segs ? skb.gso_segs : 1;
	most = segments;
	/* A tap does not say how many: as many as the payload makes. */
	if (skb.gso_size && !skb.gso_segs)
		most = 1 + (uint32_t)nr / skb.gso_size;
	how.trust_checksum = skb.ip_summed == CHECKSUM_UNNECESSARY ||
			     skb.ip_summed == CHECKSUM_PARTIAL || !limits_of[slot].checksum;
	s = strict_look(bytes, nr, &how);

	/* The SYN counts before it is sent: an own parser says that it is one, not the datapath. */
	if (s.protocol == 6 && s.l4 && (s.tcp_flags & (TH_SYN | TH_ACK)) == TH_SYN &&
	    nr_syns < 4 * MAX_STEPS)
		syns[nr_syns++] = key_of(&s, direction, s.tagged ? s.vlan : skb.vlan_tci & 0xfff);

	action = host_run(slot, direction, &skb);

	for (uint32_t i = 0; i < DFW_REASON_COUNT; i++) {
		if (now[i].packets == then[i].packets && now[i].bytes == then[i].bytes)
			continue;
		HOLDS(reason == DFW_REASON_COUNT, "a frame counted twice: %s, %s",
		      host_reason_names[reason], host_reason_names[i]);
		reason = i;
		HOLDS(now[i].packets - then[i].packets >= segments &&
			      now[i].packets - then[i].packets <= most,
		      "%u segments counted as %llu", segments, now[i].packets - then[i].packets);
	}
	HOLDS(reason < DFW_REASON_COUNT, "a frame that is not counted");
	HOLDS(reason != DFW_REASON_INTERNAL && reason != DFW_REASON_FLOW_BUSY &&
		      reason != DFW_REASON_NOT_READY && reason != DFW_REASON_NO_PORT,
	      "reason %s", host_reason_names[reason]);
	HOLDS(action == (reason == DFW_REASON_PASSED	 ? TC_ACT_UNSPEC
			 : reason == DFW_REASON_REJECTED ? TC_ACT_REDIRECT
							 : TC_ACT_SHOT),
	      "action %d for %s", action, host_reason_names[reason]);
	if (s.wrong)
		HOLDS(reason != DFW_REASON_PASSED, "passed: %s", s.wrong);
	if (op & OP_TAG && arg & 0x80)
		HOLDS(reason != DFW_REASON_PASSED, "passed: a tag that is not 802.1Q's");
	if (reason == DFW_REASON_PASSED)
		HOLDS(skb.len == nr && memcmp(skb.bytes, bytes, nr) == 0, "a frame was changed");
	check_maps();
	if (action == TC_ACT_REDIRECT)
		check_answer(&skb, direction);
	host_skb_drop(&skb);
	return reason == DFW_REASON_PASSED;
}

/* ---- TCP by relative numbers ------------------------------------------------------------------------------------ */

/* What the two ends have said, of what passed: a mutated step stays near the window. */
static struct {
	uint32_t next; /* behind the highest number sent */
	uint32_t got;  /* behind the highest number the other end sent */
} tcp_ends[2];

/* flags, seq delta (16 bits, signed), ack delta, payload, window, options, local port, peer port. */
static void tcp_step(const uint8_t *step, uint8_t op, uint8_t arg)
{
	static const uint8_t scale[] = {1, 3, 3, 7, 2, 4, 5, 0xb4}, no_scale[] = {2, 4, 5, 0xb4};
	static const uint16_t local_ports[4] = {80, 443, 5000, 22};
	bool out = op & OP_OUT;
	int from = out ? 0 : 1;
	uint16_t local = local_ports[step[8] & 3], remote = 40000 + (step[9] & 1);
	struct tcp_fields tcp = {
		.source = out ? local : remote,
		.destination = out ? remote : local,
		.seq = tcp_ends[from].next + (uint32_t)(int16_t)get16(step + 1),
		.ack = tcp_ends[from].got + (uint32_t)(int16_t)get16(step + 3),
		.flags = step[0],
		.bytes = step[5],
		.window = (uint16_t)(step[6] << 8),
		.options = step[7] & 1 ? scale : no_scale,
		.option_bytes = step[7] & 1   ? 8
				: step[7] & 2 ? 4
					      : 0,
	};
	struct frame f = frame_ip(out ? &vm : &peer, out ? &peer : &vm, step[9] & 2, 6);

	frame_tcp(&f, &tcp);
	frame_done(&f);
	if (send_frame(f.bytes, f.len, op & (OP_OUT | OP_TAG), arg)) {
		uint32_t end = tcp.seq + (uint32_t)tcp.bytes + !!(tcp.flags & TH_SYN) +
			       !!(tcp.flags & TH_FIN);

		if (tcp.flags & TH_SYN || (int32_t)(end - tcp_ends[from].next) > 0) {
			tcp_ends[from].next = end;
			tcp_ends[!from].got = end;
		}
	}
}

static void control(uint8_t arg)
{
	const struct dfw_flow_key key = {
		.local = {{[10] = 0xff, 0xff, 10, 0, 0, 2}},
		.remote = {{[10] = 0xff, 0xff, 10, 1, 0, 1}},
		.local_port = 5000,
		.remote_port = 40000,
		.protocol = 6,
	};

	switch (arg >> 4 & 7) {
	case 0:
		flip();
		break;
	case 1:
		host_sweep(slot, DFW_SWEEP_EXPIRED, NULL);
		break;
	case 2:
		host_sweep(slot, DFW_SWEEP_STALE, NULL);
		break;
	case 3:
		host_sweep(slot, DFW_SWEEP_KILL, &key);
		break;
	case 4:
		host_ring_full = !host_ring_full;
		break;
	}
	check_maps();
}

/* ---- Steps ---------------------------------------------------------------------------------------------------- */

/* Bytes of the step at `at`, 0 when there is none. */
static size_t step_bytes(const uint8_t *data, size_t size, size_t at)
{
	size_t bytes = 2;

	if (at + 2 > size)
		return 0;
	switch (data[at] & 3) {
	case STEP_RAW:
	case STEP_REPAIRED:
		if (at + 4 > size)
			return 0;
		bytes = 4 + (size_t)data[at + 2] + ((size_t)data[at + 3] << 8);
		return at + bytes > size ? size - at : bytes;
	case STEP_TCP:
		bytes += TCP_STEP_BYTES;
		return at + bytes > size ? 0 : bytes;
	}
	return bytes;
}

static void step(const uint8_t *data, size_t bytes)
{
	uint8_t op = data[0], arg = data[1];

	host_now_ns += pauses[arg & 15];
	switch (op & 3) {
	case STEP_TCP:
		tcp_step(data + 2, op, arg);
		return;
	case STEP_CONTROL:
		control(arg);
		return;
	case STEP_REPAIRED: {
		static uint8_t copy[65536 + 4];

		memcpy(copy, data + 4, bytes - 4);
		frame_repair(copy, bytes - 4, op & OP_LENGTHS);
		send_frame(copy, bytes - 4, op, arg);
		return;
	}
	}
	send_frame(data + 4, bytes - 4, op, arg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 1, bytes;

	if (size < 1)
		return -1;
	slot = data[0] % NR_PORTS;
	host_now_ns = 1000 * NS_PER_SECOND;
	host_ring_full = false;
	nr_syns = 0;
	memset(tcp_ends, 0, sizeof(tcp_ends));
	if (bank)
		flip();
	for (int i = 0; i < MAX_STEPS && (bytes = step_bytes(data, size, at)); i++) {
		step(data + at, bytes);
		at += bytes;
	}
	host_forget(slot); /* behind the input, so that nothing looks like a leak */
	return 0;
}

/* ---- The first corpus ------------------------------------------------------------------------------------------- */

struct seed {
	uint8_t bytes[16384];
	size_t len;
};

static struct seed seeds[64];
static size_t nr_seeds;

static struct seed *seed_begin(uint8_t port)
{
	struct seed *seed = &seeds[nr_seeds++];

	seed->bytes[seed->len++] = port;
	return seed;
}

static void seed_frame(struct seed *seed, bool out, uint8_t arg, struct frame *f)
{
	uint8_t head[4] = {(uint8_t)(STEP_REPAIRED | (out ? OP_OUT : 0)), arg, (uint8_t)f->len,
			   (uint8_t)(f->len >> 8)};

	if (seed->len + sizeof(head) + f->len > sizeof(seed->bytes))
		abort();
	memcpy(seed->bytes + seed->len, head, sizeof(head));
	memcpy(seed->bytes + seed->len + sizeof(head), f->bytes, f->len);
	seed->len += sizeof(head) + f->len;
}

static void seed_control(struct seed *seed, uint8_t arg)
{
	seed->bytes[seed->len++] = STEP_CONTROL;
	seed->bytes[seed->len++] = arg;
}

static void seed_tcp_step(struct seed *seed, bool out, uint8_t flags, int seq, int ack,
			  uint8_t bytes, uint8_t options)
{
	uint8_t s[2 + TCP_STEP_BYTES] = {(uint8_t)(STEP_TCP | (out ? OP_OUT : 0)), 5, flags};

	put16(s + 3, (uint32_t)seq);
	put16(s + 5, (uint32_t)ack);
	s[7] = bytes;
	s[8] = 0x20;
	s[9] = options;
	s[10] = 2;
	memcpy(seed->bytes + seed->len, s, sizeof(s));
	seed->len += sizeof(s);
}

/* A conversation of a UDP-like protocol and an error about it. */
static void seed_udp(uint8_t port, bool v6, bool vm_asks, uint16_t service)
{
	struct seed *seed = seed_begin(port);
	const struct side *a = vm_asks ? &vm : &peer, *b = vm_asks ? &peer : &vm;
	struct frame f = frame_ip(a, b, v6, 17), g = frame_ip(b, a, v6, 17), error;

	frame_udp(&f, 40000, service, 30);
	frame_done(&f);
	frame_udp(&g, service, 40000, 60);
	frame_done(&g);
	seed_frame(seed, vm_asks, 0, &f);
	seed_frame(seed, !vm_asks, 6, &g);
	seed_frame(seed, vm_asks, 8, &f);
	seed_frame(seed, !vm_asks, 9, &g);
	error = frame_error(b, a, v6 ? 1 : 3, v6 ? 4 : 3, 0, &f);
	seed_frame(seed, !vm_asks, 0, &error);
	seed_control(seed, 0);
	seed_frame(seed, vm_asks, 0, &f);
}

static void seed_tcp(uint8_t port, bool v6, bool vm_asks, uint16_t service)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0,
					  0, 1, 0, 0,	 0, 0, 1, 3,  3, 7};
	static const struct {
		uint8_t back, flags, bytes;
	} talk[] = {
		{0, TH_SYN, 0},		 {1, TH_SYN | TH_ACK, 0},
		{0, TH_ACK, 0},		 {0, TH_ACK | TH_PSH, 100},
		{1, TH_ACK, 0},		 {1, TH_ACK | TH_PSH, 200},
		{0, TH_ACK | TH_FIN, 0}, {1, TH_ACK, 50},
		{1, TH_ACK | TH_FIN, 0}, {0, TH_ACK, 0},
		{0, TH_SYN, 0},		 {1, TH_RST | TH_ACK, 0},
	};
	struct seed *seed = seed_begin(port);
	uint32_t next[2] = {0xffffff00, 5000};

	for (size_t i = 0; i < sizeof(talk) / sizeof(talk[0]); i++) {
		uint8_t way = talk[i].back;
		bool out = vm_asks ^ way;
		struct frame f = frame_ip(out ? &vm : &peer, out ? &peer : &vm, v6, 6), error;
		struct tcp_fields tcp = {
			.source = way ? service : 40000,
			.destination = way ? 40000 : service,
			.seq = next[way],
			.ack = talk[i].flags & TH_ACK ? next[!way] : 0,
			.flags = talk[i].flags,
			.window = 8192,
			.options = options,
			.option_bytes = talk[i].flags & TH_SYN ? sizeof(options) : 0,
			.bytes = talk[i].bytes,
		};

		frame_tcp(&f, &tcp);
		frame_done(&f);
		seed_frame(seed, out, 5, &f);
		next[way] += talk[i].bytes + !!(talk[i].flags & (TH_SYN | TH_FIN));
		if (i == 3) {
			error = frame_error(out ? &peer : &vm, out ? &vm : &peer, v6 ? 2 : 3,
					    v6 ? 0 : 4, 1400, &f);
			seed_frame(seed, !out, 0, &error);
		}
		if (i == 5)
			seed_control(seed, 0);
	}
}

static void seed_tcp_steps(uint8_t port)
{
	struct seed *seed = seed_begin(port);

	seed_tcp_step(seed, false, TH_SYN, 7, 0, 0, 1);
	seed_tcp_step(seed, true, TH_SYN | TH_ACK, 99, 0, 0, 1);
	seed_tcp_step(seed, false, TH_ACK, 0, 0, 0, 0);
	seed_tcp_step(seed, false, TH_ACK, 0, 0, 100, 0);
	seed_tcp_step(seed, true, TH_ACK, 0, 0, 50, 0);
	seed_tcp_step(seed, false, TH_RST, 1, 0, 0, 0);
	seed_tcp_step(seed, true, TH_ACK, 0, 0, 0, 0);
	seed_tcp_step(seed, false, TH_ACK | TH_FIN, 0, 0, 0, 0);
	seed_tcp_step(seed, true, TH_ACK | TH_FIN, 0, 0, 0, 0);
	seed_tcp_step(seed, false, TH_ACK, 0, 0, 0, 0);
	seed_tcp_step(seed, false, TH_SYN, 1000, 0, 0, 1);
}

static void seed_sctp(uint8_t port, bool v6)
{
	static const uint8_t init[16] = {0x11, 0x22, 0x33, 0x44, 0, 1, 0, 0,
					 0,    4,    0,	   4,	 0, 0, 0, 1};
	static const uint8_t init_ack[24] = {0x55, 0x66, 0x77, 0x88, 0, 1, 0, 0, 0, 4, 0, 4,
					     0,	   0,	 0,    9,    0, 7, 0, 8, 1, 2, 3, 4};
	static const struct {
		bool out;
		uint8_t chunk;
		uint32_t tag;
		const void *value;
		size_t bytes;
	} talk[] = {
		{true, 1, 0, init, 16},
		{false, 2, 0x11223344, init_ack, 24},
		{true, 10, 0x55667788, "cook", 4},
		{false, 11, 0x11223344, NULL, 0},
		{true, 0, 0x55667788, NULL, 20},
		{false, 3, 0x11223344, NULL, 12},
		{true, 4, 0x55667788, NULL, 8},
		{true, 7, 0x55667788, NULL, 4},
		{false, 8, 0x11223344, NULL, 0},
		{true, 14, 0x55667788, NULL, 0},
		{true, 1, 0, init, 16},
		{false, 6, 0x11223344, NULL, 0},
	};
	struct seed *seed = seed_begin(port);

	for (size_t i = 0; i < sizeof(talk) / sizeof(talk[0]); i++) {
		struct frame f =
			frame_ip(talk[i].out ? &vm : &peer, talk[i].out ? &peer : &vm, v6, 132);

		frame_sctp(&f, talk[i].out ? 2000 : 9000, talk[i].out ? 9000 : 2000, talk[i].tag);
		frame_chunk(&f, talk[i].chunk, 0, talk[i].value, talk[i].bytes);
		frame_done(&f);
		seed_frame(seed, talk[i].out, 5, &f);
	}
}

static void seed_icmp(uint8_t port, bool v6)
{
	struct seed *seed = seed_begin(port);
	struct frame f = frame_ip(&peer, &vm, v6, v6 ? 58 : 1),
		     g = frame_ip(&vm, &peer, v6, v6 ? 58 : 1), error;

	frame_icmp(&f, v6 ? 128 : 8, 0, 0x12340001, 56);
	frame_done(&f);
	frame_icmp(&g, v6 ? 129 : 0, 0, 0x12340001, 56);
	frame_done(&g);
	seed_frame(seed, false, 0, &f);
	seed_frame(seed, true, 5, &g);
	seed_frame(seed, false, 5, &f);
	error = frame_error(&vm, &peer, v6 ? 3 : 11, 0, 0, &f);
	seed_frame(seed, true, 5, &error);
}

static void seed_fragments(uint8_t port, bool v6)
{
	struct seed *seed = seed_begin(port);
	struct frame whole = frame_ip(&vm, &peer, v6, 17), f;

	frame_udp(&whole, 40000, 5000, 992);
	frame_done(&whole);
	for (size_t i = 0; i < 5; i++) {
		f = frame_fragment(&whole, i * 200, 200, i < 4, 77);
		seed_frame(seed, true, 4, &f);
	}
	f = frame_fragment(&whole, 200, 208, true, 77);
	seed_frame(seed, true, 4, &f);
	f = frame_fragment(&whole, 0, 1000, false, 78); /* atomic */
	seed_frame(seed, true, 4, &f);
}

static void seed_extensions(uint8_t port)
{
	struct seed *seed = seed_begin(port);

	for (int kind = 0; kind < 6; kind++) {
		struct frame f = frame_ip(&vm, &peer, true, 17);

		if (kind == 0 || kind == 3)
			frame_extension(&f, 0, 1);
		if (kind == 1 || kind == 3 || kind == 4)
			frame_extension(&f, 60, 2);
		if (kind == 2 || kind == 3)
			frame_extension(&f, 43, 1);
		if (kind == 5 || kind == 3)
			frame_extension(&f, 44, 1);
		if (kind == 4)
			frame_extension(&f, 60, 1);
		frame_udp(&f, 40000, 5000, 16);
		frame_done(&f);
		seed_frame(seed, true, 4, &f);
	}
}

static void seed_options(uint8_t port)
{
	static const uint8_t lists[][12] = {{1, 1, 1, 0},
					    {148, 4, 0, 0},
					    {7, 7, 4, 0, 0, 0, 0, 0},
					    {68, 12, 5, 0, 1, 2, 3, 4},
					    {131, 3, 4, 0}};
	struct seed *seed = seed_begin(port);

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct frame f = frame_ip(&vm, &peer, false, 17);

		frame_options4(&f, lists[i], sizeof(lists[i]));
		frame_udp(&f, 40000, 5000, 16);
		frame_done(&f);
		seed_frame(seed, true, 4, &f);
	}
}

static void seed_arp(uint8_t port)
{
	static const uint8_t zero[6];
	struct seed *seed = seed_begin(port);
	struct frame f = frame_ethernet(&vm, &everyone, 0x0806);

	frame_arp(&f, 1, vm.mac, vm.ip4, zero, link_peer.ip4);
	seed_frame(seed, true, 0, &f);
	f = frame_ethernet(&link_peer, &vm, 0x0806);
	frame_arp(&f, 2, link_peer.mac, link_peer.ip4, vm.mac, vm.ip4);
	seed_frame(seed, false, 0, &f);
	f = frame_ethernet(&vm, &everyone, 0x0806);
	frame_arp(&f, 1, vm.mac, nobody.ip4, zero, vm.ip4);
	seed_frame(seed, true, 0, &f);
	f = frame_ethernet(&vm, &everyone, 0x8035);
	frame_arp(&f, 3, vm.mac, nobody.ip4, vm.mac, nobody.ip4);
	seed_frame(seed, true, 0, &f);
}

static void seed_nd(uint8_t port)
{
	static const uint8_t link[8] = {1, 1, 0x02, 0, 0, 0, 0, 0x02};
	uint8_t types[] = {133, 134, 135, 136, 137};
	struct seed *seed = seed_begin(port);

	for (size_t i = 0; i < sizeof(types); i++)
		for (int out = 0; out < 2; out++) {
			const struct side *from = out ? &link_vm : &link_peer,
					  *to = out ? &link_peer : &link_vm;
			struct frame f = frame_ip(from, to, true, 58);
			uint8_t option[8];

			f.bytes[f.l3 + 7] = 255;
			frame_icmp(&f, types[i], 0, types[i] == 136 ? 0x60000000 : 0,
				   types[i] == 134 ? 8 : 0);
			if (types[i] >= 135)
				frame_add(&f, types[i] == 135 ? to->ip6 : from->ip6, 16);
			memcpy(option, link, 8);
			option[0] = types[i] == 136 ? 2 : 1;
			memcpy(option + 2, from->mac, 6);
			frame_add(&f, option, 8);
			frame_done(&f);
			seed_frame(seed, out, 0, &f);
		}
	struct frame f = frame_ip(&link_peer, &everyone, true, 58);

	f.bytes[f.l3 + 7] = 1;
	frame_extension(&f, 0, 1);
	put32(f.bytes + f.l3 + 42, 0x05020000); /* Router Alert */
	frame_icmp(&f, 130, 0, 0, 16);
	frame_done(&f);
	seed_frame(seed, false, 0, &f);
}

static void seed_dhcp(uint8_t port)
{
	struct seed *seed = seed_begin(port);
	struct frame f = frame_ip(&nobody, &everyone, false, 17);

	frame_udp(&f, 68, 67, 240);
	frame_done(&f);
	seed_frame(seed, true, 0, &f);
	f = frame_ip(&link_peer, &everyone, false, 17);
	frame_udp(&f, 67, 68, 240);
	frame_done(&f);
	seed_frame(seed, false, 0, &f);
	seed_frame(seed, true, 0, &f);
	f = frame_ip(&link_vm, &everyone, true, 17);
	frame_udp(&f, 546, 547, 60);
	frame_done(&f);
	seed_frame(seed, true, 0, &f);
	f = frame_ip(&link_peer, &link_vm, true, 17);
	frame_udp(&f, 547, 546, 60);
	frame_done(&f);
	seed_frame(seed, false, 0, &f);
}

static void seed_others(uint8_t port)
{
	static const uint8_t protocols[] = {47, 50, 51, 94, 2, 136, 33, 255};
	struct seed *seed = seed_begin(port);
	struct frame f;

	for (size_t i = 0; i < sizeof(protocols); i++) {
		f = frame_ip(&vm, &peer, i & 1, protocols[i]);
		memset(frame_add(&f, NULL, 40), 0x11, 40);
		frame_done(&f);
		seed_frame(seed, true, 0, &f);
	}
	f = frame_ip(&peer, &vm, false, 17);
	frame_udp(&f, 40000, 53, 20);
	frame_done(&f);
	frame_tag(&f, 0x8100, 10);
	seed_frame(seed, false, 0, &f);
	frame_tag(&f, 0x88a8, 20);
	seed_frame(seed, false, 0, &f);
	f = frame_ethernet(&peer, &vm, 0x0026);
	frame_add(&f, "\x42\x42\x03", 3);
	seed_frame(seed, false, 0, &f);
}

static void make_seeds(void)
{
	for (uint8_t port = 0; port < NR_PORTS; port++) {
		seed_udp(port, port & 1, !(port & 1), 5000);
		seed_tcp(port, !(port & 1), port & 1, 5000);
		seed_tcp_steps(port);
		seed_sctp(port, port & 1);
		seed_icmp(port, port & 1);
		seed_fragments(port, port & 1);
	}
	for (uint8_t port = 0; port < 2; port++) {
		seed_tcp(port, false, port & 1, port ? 113 : 23);
		seed_tcp(port, true, true, 443);
		seed_udp(port, true, true, 514);
		seed_extensions(port);
		seed_options(port);
		seed_arp(port);
		seed_nd(port);
		seed_dhcp(port);
		seed_others(port);
	}
	seed_others(PORT_TRUNK);
}

static void write_seeds(const char *directory)
{
	for (size_t i = 0; i < nr_seeds; i++) {
		char path[4096];
		FILE *file;

		snprintf(path, sizeof(path), "%s/seed-%02zu", directory, i);
		file = fopen(path, "wx"); /* what is there stays */
		if (!file)
			continue;
		fwrite(seeds[i].bytes, 1, seeds[i].len, file);
		fclose(file);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct stat stat_of;

	host_begin();
	load_policies();
	for (uint32_t i = 0; i < NR_PORTS; i++)
		host_port(i, (uint32_t)limits_of[i].max_flows, (uint32_t)limits_of[i].max_half_open,
			  (uint32_t)limits_of[i].max_fragments);
	bank = 1;
	flip();
	make_seeds();
	for (int i = 1; i < *argc; i++)
		if ((*argv)[i][0] != '-' && stat((*argv)[i], &stat_of) == 0 &&
		    S_ISDIR(stat_of.st_mode)) {
			write_seeds((*argv)[i]);
			break;
		}
	return 0;
}

/* ---- Mutations that know steps ---------------------------------------------------------------------------------- */

static size_t find_step(const uint8_t *data, size_t size, size_t wanted, size_t *nr)
{
	size_t at = size ? 1 : 0, found = at, bytes;

	*nr = 0;
	while ((bytes = step_bytes(data, size, at))) {
		if ((*nr)++ == wanted)
			found = at;
		at += bytes;
	}
	return found;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned int random)
{
	size_t nr, at, bytes, grown;
	uint32_t choice = random;

	find_step(data, size, SIZE_MAX, &nr);
	if (nr == 0 || random % 16 == 0)
		return LLVMFuzzerMutate(data, size, room);
	choice /= 16;
	at = find_step(data, size, choice / 16 % nr, &nr);
	bytes = step_bytes(data, size, at);
	switch (choice % 8) {
	case 0: /* a step less */
		memmove(data + at, data + at + bytes, size - at - bytes);
		return size - bytes;
	case 1: /* a step twice */
		if (size + bytes > room)
			break;
		memmove(data + at + bytes, data + at, size - at);
		return size + bytes;
	case 2: { /* a step of a seed */
		const struct seed *seed = &seeds[choice / 256 % nr_seeds];
		size_t count, from, length;

		find_step(seed->bytes, seed->len, SIZE_MAX, &count);
		from = find_step(seed->bytes, seed->len, choice / 65536 % (count ? count : 1),
				 &count);
		length = step_bytes(seed->bytes, seed->len, from);
		if (size + length > room)
			break;
		memmove(data + at + length, data + at, size - at);
		memcpy(data + at, seed->bytes + from, length);
		return size + length;
	}
	case 3: /* other circumstances */
		data[at + 1] ^= 1 << (choice >> 8 & 7);
		return size;
	case 4:
		data[at] ^= 1 << (choice >> 8 & 7);
		return size;
	}
	/* The frame itself; its length goes with it. */
	if ((data[at] & 3) == STEP_TCP) {
		LLVMFuzzerMutate(data + at + 2, TCP_STEP_BYTES, TCP_STEP_BYTES);
		return size;
	}
	if ((data[at] & 3) == STEP_CONTROL || bytes <= 4)
		return LLVMFuzzerMutate(data, size, room);
	{
		static uint8_t copy[65536];
		size_t length = bytes - 4, limit = length + 64;

		if (size - bytes + 4 + limit > room)
			limit = room - (size - bytes + 4);
		if (limit > sizeof(copy))
			limit = sizeof(copy);
		if (length > limit)
			length = limit;
		memcpy(copy, data + at + 4, length);
		grown = LLVMFuzzerMutate(copy, length, limit);
		memmove(data + at + 4 + grown, data + at + bytes, size - at - bytes);
		memcpy(data + at + 4, copy, grown);
		data[at + 2] = (uint8_t)grown;
		data[at + 3] = (uint8_t)(grown >> 8);
		return size - bytes + 4 + grown;
	}
}

#pragma clang attribute pop
