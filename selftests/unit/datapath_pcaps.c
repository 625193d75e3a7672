// SPDX-License-Identifier: GPL-2.0
/*
 * Hostile captures through the datapath on this machine's CPU: each packet as the VM's and as the wire's, alone and behind
 * a packet that opened a flow of the same addresses and ports; on a port that guards everything and on one that guards
 * nothing. What a strict reader calls malformed does not pass; each frame is counted once; the control captures are read.
 *
 * The captures: DFW_PCAPS, or shared/pcaps beside the checkout.
 */
#include <dirent.h>

#include "check.h"
#include "selftests/host/host_datapath.h"
#include "selftests/host/frames.h"
#include "policy_files.h"

enum { PORT_GUARDED, PORT_OPEN, NR_PORTS };

static const uint8_t vm_mac[6] = {0x02, 0, 0, 0, 0, 0x02}, peer_mac[6] = {0x02, 0, 0, 0, 0, 0x01};

static const struct host_port ports[NR_PORTS] = {
	[PORT_GUARDED] = {.name = "guarded",
			  .macs = {{{0x02, 0, 0, 0, 0, 0x02}, {0}}},
			  .nr_macs = 1,
			  .addresses = {{{[10] = 0xff, 0xff, 10, 0, 0, 2}}},
			  .nr_addresses = 1},
	[PORT_OPEN] = {.name = "open", .profile = "open"},
};

static const char policy_text[] =
	"profile open {\n guard-mac off\n guard-address off\n guard-dhcp off\n guard-ra off\n "
	"strict off\n ip-options on\n}\n"
	"default in drop\ndefault out drop\n"
	"everything-in: allow in to 0.0.0.0/0, ::/0\neverything-out: allow out\n";

/* Sound packets: whatever becomes of them, they are not to be called malformed. */
static const char *const control[] = {"tcp_rst_data.pcap",     "mptcp-fclose.pcap",
				      "gso-ipv4.pcap",	       "gso-ipv6.pcap",
				      "accecn_handshake.pcap", "icmpv6-ns-nonce.pcap"};

static const enum dfw_reason malformed_reasons[] = {
	DFW_REASON_TRUNCATED, DFW_REASON_IP_HEADER, DFW_REASON_IP_LENGTH, DFW_REASON_IP_CHECKSUM,
	DFW_REASON_EXTENSION, DFW_REASON_FRAGMENT,  DFW_REASON_L4_HEADER, DFW_REASON_L4_CHECKSUM,
	DFW_REASON_ND,	      DFW_REASON_TCP_FLAGS, DFW_REASON_ETHERTYPE, DFW_REASON_LLC,
};

struct capture {
	char path[4096];
	const char *name;
	uint8_t bytes[1 << 16];
	size_t size;
};

static unsigned int nr_frames, nr_passed, nr_malformed;
static bool counted_right = true, nothing_leaked = true, control_read = true;

static void complain(bool *ok, const char *capture, size_t packet, const char *side,
		     const char *what, const char *more)
{
	*ok = false;
	printf("# %s packet %zu %s: %s %s\n", capture, packet, side, what, more);
}

/* Sends a frame, with the sums that it has or, `partial`, that the hardware is to write. */
static enum dfw_reason replay(uint32_t slot, enum dfw_direction direction, const uint8_t *frame,
			      size_t bytes, bool partial, unsigned int *times)
{
	struct dfw_direction_counters before = *host_counters(slot, direction);
	const struct dfw_reason_counter *then = (void *)&before,
					*now = (void *)host_counters(slot, direction);
	context_t skb = {.ip_summed = partial ? CHECKSUM_PARTIAL : CHECKSUM_NONE};
	enum dfw_reason reason = DFW_REASON_COUNT;
	int action;

	host_skb_put(&skb, frame, (uint32_t)bytes, (uint32_t)bytes);
	action = host_run(slot, direction, &skb);
	*times = 0;
	for (uint32_t i = 0; i < DFW_REASON_COUNT; i++)
		if (now[i].packets != then[i].packets) {
			*times += (unsigned int)(now[i].packets - then[i].packets);
			reason = i;
		}
	if ((action == TC_ACT_UNSPEC) != (reason == DFW_REASON_PASSED))
		*times = 0;
	host_skb_drop(&skb);
	return reason;
}

/* A packet of the same addresses and ports that opens a flow, and the answer to it. */
static bool opener(const struct strict *s, const uint8_t *frame, bool back, struct frame *f)
{
	struct side from = {}, to = {};
	uint16_t source = back ? s->destination_port : s->source_port,
		 destination = back ? s->source_port : s->destination_port;

	if (!s->has_ports || (s->protocol != 6 && s->protocol != 17) || s->tagged)
		return false;
	memcpy(to.mac, frame + (back ? 6 : 0), 6);
	memcpy(from.mac, frame + (back ? 0 : 6), 6);
	memcpy(s->v6 ? from.ip6 : from.ip4, back ? s->destination : s->source, s->v6 ? 16 : 4);
	memcpy(s->v6 ? to.ip6 : to.ip4, back ? s->source : s->destination, s->v6 ? 16 : 4);
	*f = frame_ip(&from, &to, s->v6, s->protocol);
	if (s->protocol == 6) {
		const uint8_t *l4 = frame + s->l4;
		const struct tcp_fields tcp = {
			.source = source,
			.destination = destination,
			.seq = back ? get32(l4 + 8) - 1 : get32(l4 + 4) - 1,
			.ack = back ? get32(l4 + 4) : 0,
			.flags = back ? TH_SYN | TH_ACK : TH_SYN,
			.window = 8192,
		};

		frame_tcp(f, &tcp);
	} else {
		frame_udp(f, source, destination, 0);
	}
	frame_done(f);
	return true;
}

static void play(const struct capture *capture, size_t packet, const uint8_t *frame, size_t bytes,
		 uint32_t slot, enum dfw_direction direction, bool on_a_flow)
{
	const char *side = direction == DFW_OUT ? "from the VM" : "from the wire";
	struct strict s, readable;
	bool is_control = false;
	enum dfw_reason reason;
	struct frame f;
	unsigned int times;

	for (size_t i = 0; i < sizeof(control) / sizeof(control[0]); i++)
		is_control |= strcmp(control[i], capture->name) == 0;
	/* Captured before the card had written their sums. */
	const struct strict_options how = {.trust_checksum = is_control};

	s = strict_look(frame, bytes, &how);
	readable = strict_look(frame, bytes,
			       &(struct strict_options){.gso = true, .trust_checksum = true});
	host_forget(slot);
	if (on_a_flow) {
		if (!readable.l4 || readable.end > bytes || !opener(&readable, frame, false, &f))
			return;
		replay(slot, direction, f.bytes, f.len, false, &times);
		if (opener(&readable, frame, true, &f))
			replay(slot, !direction, f.bytes, f.len, false, &times);
	}
	reason = replay(slot, direction, frame, bytes, is_control, &times);
	nr_frames++;
	nr_passed += reason == DFW_REASON_PASSED;
	nr_malformed += !!s.wrong;
	if (times != 1)
		complain(&counted_right, capture->name, packet, side, "is not counted once:",
			 reason < DFW_REASON_COUNT ? host_reason_names[reason] : "never");
	if (s.wrong && reason == DFW_REASON_PASSED)
		complain(&nothing_leaked, capture->name, packet, side, "passed:", s.wrong);
	for (size_t i = 0; is_control && slot == PORT_OPEN &&
			   i < sizeof(malformed_reasons) / sizeof(malformed_reasons[0]);
	     i++)
		if (reason == malformed_reasons[i])
			complain(&control_read, capture->name, packet, side, "is called",
				 host_reason_names[reason]);
}

static uint32_t number(const uint8_t *at, bool swapped)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return swapped ? __builtin_bswap32(value) : value;
}

static void play_capture(const struct capture *capture)
{
	bool swapped =
		capture->size >= 24 && (number(capture->bytes, true) & 0xffffff00) == 0xa1b2c300;
	uint32_t link = capture->size >= 24 ? number(capture->bytes + 20, swapped) & 0xffff : 0,
		 bytes;
	size_t packet = 1;

	for (size_t at = 24; at + 16 <= capture->size; at += 16 + bytes, packet++) {
		uint8_t frame[1 << 16];
		const uint8_t *data = capture->bytes + at + 16;
		size_t length = 0;

		bytes = number(capture->bytes + at + 8, swapped);
		if (bytes > capture->size - at - 16 || bytes > sizeof(frame) - 14)
			return;
		for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
			memcpy(frame, direction == DFW_OUT ? peer_mac : vm_mac, 6);
			memcpy(frame + 6, direction == DFW_OUT ? vm_mac : peer_mac, 6);
			if (link == 1) { /* Ethernet */
				if (bytes < 14)
					continue;
				memcpy(frame + 12, data + 12, bytes - 12);
				length = bytes;
			} else { /* raw IP: 228 IPv4, 229 IPv6, 101 either */
				put16(frame + 12,
				      link == 228 || (link == 101 && bytes && data[0] >> 4 == 4)
					      ? 0x0800
					      : 0x86dd);
				memcpy(frame + 14, data, bytes);
				length = bytes + 14;
			}
			for (uint32_t slot = 0; slot < NR_PORTS; slot++)
				for (int on_a_flow = 0; on_a_flow < 2; on_a_flow++)
					play(capture, packet, frame, length, slot,
					     (enum dfw_direction)direction, on_a_flow);
		}
	}
}

static bool find_captures(char *path, size_t room)
{
	const char *given = getenv("DFW_PCAPS");
	const char *const candidates[] = {given, "../shared/pcaps", "shared/pcaps",
					  "/work/shared/pcaps"};

	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
		DIR *directory = candidates[i] ? opendir(candidates[i]) : NULL;

		if (!directory)
			continue;
		closedir(directory);
		snprintf(path, room, "%s", candidates[i]);
		return true;
	}
	return false;
}

int main(void)
{
	static struct capture capture;
	struct compiled *compiled;
	struct policy *policy;
	unsigned int nr_captures = 0;
	struct dirent *entry;
	char folder[2048];
	DIR *directory;

	if (!find_captures(folder, sizeof(folder))) {
		printf("ok 1 - hostile captures # SKIP no captures: DFW_PCAPS says where they "
		       "are\n1..1\n");
		return EXIT_SUCCESS;
	}
	host_begin();
	host_now_ns = 1000 * NS_PER_SECOND;
	policy = must_parse(policy_text);
	compiled = policy ? host_policy(0, policy, ports, NR_PORTS) : NULL;
	directory = opendir(folder);
	if (!compiled || !directory)
		return EXIT_FAILURE;
	for (uint32_t slot = 0; slot < NR_PORTS; slot++)
		host_port(slot, 0, 0, 0);
	host_flip(0, 1, 1);

	while ((entry = readdir(directory))) {
		const char *dot = strrchr(entry->d_name, '.');
		FILE *file;

		if (!dot || strcmp(dot, ".pcap") != 0)
			continue;
		snprintf(capture.path, sizeof(capture.path), "%s/%s", folder, entry->d_name);
		file = fopen(capture.path, "rb");
		if (!file)
			continue;
		capture.name = entry->d_name;
		capture.size = fread(capture.bytes, 1, sizeof(capture.bytes), file);
		fclose(file);
		play_capture(&capture);
		nr_captures++;
	}
	closedir(directory);
	printf("# %u replays of %u captures: %u malformed, %u passed\n", nr_frames, nr_captures,
	       nr_malformed, nr_passed);
	TEST("no malformed packet of the captures passes")
	{
		CHECK(nothing_leaked);
	}
	TEST("each is counted once: frames in = passed + dropped")
	{
		CHECK(counted_right);
	}
	TEST("the sound captures are read, not called malformed")
	{
		CHECK(control_read);
	}
	TEST("there was something to replay, and some of it passed")
	{
		CHECK(nr_captures > 0 && nr_malformed > 0 && nr_passed > 0);
	}
	compiled_free(compiled);
	policy_free(policy);
	return check_done();
}
