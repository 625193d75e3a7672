// SPDX-License-Identifier: GPL-2.0
/* Two members of a share group see halves of one TCP connection: the tracker with what lies ahead, and the join of what each
 * knows. */
#include "bpf/context.h"

#include "bpf/tcp.h"

#include <dfw/merge.h>

#include "check.h"

#define ISS 4294967000U /* wraps soon */
#define IRS 77U

static struct dfw_flow a,
	b; /* what the two members hold: the initiator's segments pass a, the answers b */

static int pass(struct dfw_flow *flow, __u32 from, __u8 flags, __u32 seq, __u32 ack, __u32 bytes,
		bool shared)
{
	const struct tcp_segment segment = {
		.seq = seq,
		.ack = ack,
		.window = 65535,
		.bytes = bytes,
		.flags = flags,
		.scale = flags & TCP_SYN ? 7 : TCP_NO_SCALE,
		.shared = shared,
	};

	return tcp_track(flow, &segment, from);
}

static void begin(void)
{
	const struct tcp_segment syn = {
		.seq = ISS, .window = 65535, .flags = TCP_SYN, .scale = 7, .shared = 1};

	memset(&a, 0, sizeof(a));
	a.initiator = DFW_OUT;
	tcp_begin(&a, &syn, true);
	b = a;
}

static void tell(void)
{
	const struct dfw_flow was = a;

	dfw_flow_merge(&a, &b, 6);
	dfw_flow_merge(&b, &was, 6);
}

static bool same(const struct dfw_flow *left, const struct dfw_flow *right)
{
	return memcmp(left, right, sizeof(*left)) == 0;
}

/* Each segment passes one member, and they tell each other now and then: what they hold at any moment. */
static void connect_halves(void)
{
	begin();
	pass(&b, DFW_REPLY, TCP_SYN | TCP_ACK, IRS, ISS + 1, 0, true);
	tell();
	pass(&a, DFW_ORIG, TCP_ACK, ISS + 1, IRS + 1, 0, true);
	tell();
}

static __u32 seed = 1;

static __u32 draw(__u32 below)
{
	seed = seed * 1103515245U + 12345U;
	return (seed >> 8) % below;
}

/* What a member may hold of a connection that has come to some point, of which it has seen some of. */
static struct dfw_flow some_view(void)
{
	struct dfw_flow view;
	__u32 steps = draw(12), sent = ISS + 1, answered = IRS + 1;

	begin();
	view = a;
	if (!steps)
		return view;
	if (draw(4))
		pass(&view, DFW_REPLY, TCP_SYN | TCP_ACK, IRS, ISS + 1, 0, true);
	for (__u32 i = 0; i < steps; i++) {
		__u32 bytes = draw(1400);

		if (draw(2)) {
			pass(&view, DFW_ORIG, TCP_ACK, sent, answered, bytes, true);
			sent += bytes;
		} else {
			pass(&view, DFW_REPLY, TCP_ACK, answered, sent, bytes, true);
			answered += bytes;
		}
	}
	if (!draw(3))
		pass(&view, DFW_ORIG, TCP_ACK | TCP_FIN, sent, answered, 0, true);
	if (!draw(3))
		pass(&view, DFW_REPLY, TCP_ACK | TCP_FIN, answered, sent, 0, true);
	if (!draw(8))
		pass(&view, DFW_REPLY, TCP_RST, answered, sent, 0, true);
	return view;
}

int main(void)
{
	TEST("the join of what members know is the same in any order, and however often")
	{
		for (int i = 0; i < 200000; i++) {
			struct dfw_flow x = some_view(), y = some_view(), z = some_view();
			struct dfw_flow xy = x, yx = y, left, right = y, again;

			dfw_flow_merge(&xy, &y, 6);
			dfw_flow_merge(&yx, &x, 6);
			if (!CHECK(same(&xy, &yx)))
				break;
			left = xy;
			dfw_flow_merge(&left, &z, 6);
			dfw_flow_merge(&right, &z, 6);
			dfw_flow_merge(&right, &x, 6);
			if (!CHECK(same(&left, &right)))
				break;
			again = left;
			dfw_flow_merge(&again, &x, 6);
			dfw_flow_merge(&again, &left, 6);
			if (!CHECK(same(&again, &left)))
				break;
		}
	}

	TEST("the answer passes the member that was told of the SYN, and no other")
	{
		struct dfw_flow none = {.state = DFW_FLOW_TCP_SYN_SENT};

		begin();
		CHECK(pass(&b, DFW_REPLY, TCP_SYN | TCP_ACK, IRS, ISS + 1, 0, true) == TCP_PASS);
		CHECK(pass(&none, DFW_REPLY, TCP_SYN | TCP_ACK, IRS, ISS + 1, 0, true) > 0);
	}

	TEST("what its initiator says before the answer is known here passes and moves nothing; of "
	     "a port alone it drops")
	{
		struct dfw_flow before;

		begin();
		before = a;
		CHECK(pass(&a, DFW_ORIG, TCP_ACK, ISS + 1, IRS + 1, 0, true) == TCP_PASS_QUIET);
		CHECK(pass(&a, DFW_ORIG, TCP_ACK, ISS + 1, IRS + 1, 1000, true) == TCP_PASS_QUIET);
		CHECK(pass(&a, DFW_ORIG, TCP_ACK, ISS, IRS + 1, 0, true) > 0);
		CHECK(pass(&a, DFW_ORIG, TCP_ACK, ISS + 1 + (32U << 20), IRS + 1, 0, true) > 0);
		CHECK(pass(&a, DFW_ORIG, TCP_ACK, ISS + 1, IRS + 1, 0, false) > 0);
		CHECK(same(&a, &before));
	}

	TEST("both have it established, with scales, when they have told each other")
	{
		connect_halves();
		CHECK(a.state == DFW_FLOW_TCP_ESTABLISHED && b.state == DFW_FLOW_TCP_ESTABLISHED);
		CHECK(same(&a, &b) && a.orig_scale == 7 && a.reply_scale == 7);
	}

	TEST("a scale that one end alone offered holds on no member")
	{
		begin();
		b.leg_flags[DFW_REPLY] = DFW_LEG_SYN;
		b.orig_scale = b.reply_scale = 0;
		tell();
		CHECK(a.orig_scale == 0 && a.reply_scale == 0 && b.orig_scale == 0);
	}

	TEST("a stream of megabytes passes while nobody tells, within bounds")
	{
		const __u32 step = 1U << 20;
		__u32 sent = ISS + 1;

		connect_halves();
		for (int i = 0; i < 15; i++, sent += step)
			CHECK(pass(&a, DFW_ORIG, TCP_ACK, sent, IRS + 1, step, true) == TCP_PASS);
		CHECK(pass(&b, DFW_REPLY, TCP_ACK, IRS + 1, sent, 0, true) == TCP_PASS);
		CHECK(pass(&a, DFW_ORIG, TCP_ACK, sent + (32U << 20), IRS + 1, 1, true) ==
		      DFW_REASON_TCP_WINDOW);
		CHECK(pass(&b, DFW_REPLY, TCP_ACK, IRS + 1, sent + (32U << 20), 0, true) ==
		      DFW_REASON_TCP_ACK);
	}

	TEST("of a port alone neither passes")
	{
		connect_halves();
		CHECK(pass(&a, DFW_ORIG, TCP_ACK, ISS + 1 + (15U << 20), IRS + 1, 1, false) ==
		      DFW_REASON_TCP_WINDOW);
		CHECK(pass(&b, DFW_REPLY, TCP_ACK, IRS + 1, ISS + 1 + (15U << 20), 0, false) ==
		      DFW_REASON_TCP_ACK);
	}

	TEST("a RST must be as exact as ever")
	{
		connect_halves();
		CHECK(pass(&b, DFW_REPLY, TCP_RST, IRS + 2, 0, 0, true) == DFW_REASON_TCP_RST);
		CHECK(pass(&b, DFW_REPLY, TCP_RST, IRS + 1, 0, 0, true) == TCP_PASS);
		tell();
		CHECK(a.state == DFW_FLOW_TCP_CLOSED);
	}

	TEST("it closes on both, though each saw one FIN")
	{
		connect_halves();
		CHECK(pass(&a, DFW_ORIG, TCP_ACK | TCP_FIN, ISS + 1, IRS + 1, 0, true) == TCP_PASS);
		tell();
		CHECK(pass(&b, DFW_REPLY, TCP_ACK | TCP_FIN, IRS + 1, ISS + 2, 0, true) ==
		      TCP_PASS);
		tell();
		CHECK(a.state == DFW_FLOW_TCP_CLOSING && b.state == DFW_FLOW_TCP_CLOSING);
		CHECK(pass(&a, DFW_ORIG, TCP_ACK, ISS + 2, IRS + 2, 0, true) == TCP_PASS);
		tell();
		CHECK(a.state == DFW_FLOW_TCP_TIME_WAIT && b.state == DFW_FLOW_TCP_TIME_WAIT);
	}
	return check_done();
}
