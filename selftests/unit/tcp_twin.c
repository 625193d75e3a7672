// SPDX-License-Identifier: GPL-2.0
/*
 * The TCP tracker of bpf/tcp.h against a slow twin, on conversations of two simulated ends: loss, reordering, repeats,
 * window scale, zero windows, keep-alive, half close, simultaneous open and close, data in SYNs, RSTs exact and not,
 * challenge ACKs, reuse of ports, wraparound; half of them with segments that somebody has tampered with.
 *
 * Two things must hold. The two trackers decide every segment alike and are in the same state after it; and what two
 * faithful ends say to one another is never dropped. A failure prints the seed of its conversation, which
 * `tcp_twin SEED` plays again, segment by segment.
 *
 * Usage: tcp_twin [SEED]; TCP_TWIN_CONVERSATIONS in the environment: how many (default 240000)
 */
#include <inttypes.h>

#include "check.h"
#include "bpf/context.h"
#include "bpf/tcp.h"

/* ==== The twin ===================================================================================================
 *
 * It keeps facts about each end, in numbers of 64 bits that do not wrap, and derives the phase of the connection from
 * them. What happens to a segment is a table of phase, kind of segment and sender.
 *
 * The facts, and the sources of the rules:
 *
 *   isn, high   the end's SYN is at isn (RFC 9293 3.4); what it has sent ends below high, SYN and FIN counting one each
 *   edge        the other end lets it send below this: the highest SEG.ACK + window that the other has said (RFC 9293
 *               3.8.6: never to be taken back; a window of 0 lets one byte through, 3.8.6.1)
 *   window      the largest window that this end has offered. A SYN's is never scaled; all others are, when both SYNs
 *               had the option, by at most 14 (RFC 7323 2.2, 2.3)
 *   got         the highest acknowledgement that this end has sent: its RCV.NXT, as far as one can see from between
 *
 * Van Rooij ("Real Stateful TCP Packet Filtering in IP Filter", 2001), for a segment of A that ends at `end`:
 *   I    it begins at most at A.edge (RFC 9293 3.10.7.4: a segment is acceptable if it begins in the window)
 *   II   end >= A.high - B.window: older than a window it cannot be
 *   III  ack <= B.high: nothing is acknowledged that was not sent
 *   IV   ack >= B.high - max(A.window, 66000), his MAXACKWINDOW
 */

enum { MAX_ACK_LAG = 66000, LOOSE_WINDOW = 16 << 20, NO_SCALE = 0xff };

struct fact {
	bool syn, syn_acked, fin, fin_acked;
	bool unheard;	 /* picked up in the middle, and this end has not spoken yet */
	bool challenged; /* its next empty ACK is a challenge ACK (RFC 5961) */
	int scale;	 /* what its SYN offered, -1: nothing */
	int64_t isn, syn_end, high, edge, window, got;
	int64_t reset_at; /* where a RST that answers its challenge ACK must lie */
};

struct twin {
	struct fact ends[2]; /* the one that began, the other */
	bool both_scale;
	bool reset;
};

enum phase { SYN_SENT, SYN_RECEIVED, OPEN, TIME_WAIT, RESET, PHASES };
enum kind { KIND_SYN, KIND_SYN_ACK, KIND_ACK, KIND_RST, KINDS };
enum verdict { PASS, QUIET, RESTART, DROP };
static const char *const verdict_names[] = {"pass", "quiet", "restart", "drop"};

enum rule {
	NEVER, /* drop */
	ALWAYS_QUIET, /* a SYN on a live connection: its receiver answers with a challenge ACK (RFC 5961 4.2) */
	ANEW,	      /* the old connection is over: RFC 9293 3.6.1, RFC 6191 */
	SAME_OR_ANEW, /* a SYN sent again, or another try */
	SAME_OR_QUIET,
	SAME_OR_NEVER,
	SIMULTANEOUS,	/* RFC 9293 3.5, figure 8 */
	ANSWER,		/* RFC 9293 3.10.7.3: to the SYN */
	CHALLENGE,	/* the other end is in an old connection, and says so (RFC 5961 4.2) */
	CHALLENGE_LATE, /* an answer to a RST that was perhaps not exact (RFC 5961 3.2) */
	REPEAT, /* SYN,ACK before both SYNs are acknowledged: its sender's SYN, and an ordinary acknowledgement */
	REPEAT_QUIET, /* SYN,ACK later on: the last ACK of the handshake was lost. Moves nothing */
	ORDINARY,
	REFUSE, /* RST in answer to the SYN */
	ABORT,	/* RST of the one whose SYN is not answered yet */
	EXACT,	/* RFC 5961 3.2 */
	AGAIN,	/* a RST after the RST */
};

static const uint8_t rules[PHASES][KINDS][2] = {
	[SYN_SENT] = {[KIND_SYN] = {SAME_OR_ANEW, SIMULTANEOUS},
		      [KIND_SYN_ACK] = {NEVER, ANSWER},
		      [KIND_ACK] = {NEVER, CHALLENGE},
		      [KIND_RST] = {ABORT, REFUSE}},
	[SYN_RECEIVED] = {[KIND_SYN] = {SAME_OR_QUIET, SAME_OR_NEVER},
			  [KIND_SYN_ACK] = {REPEAT, REPEAT},
			  [KIND_ACK] = {ORDINARY, ORDINARY},
			  [KIND_RST] = {EXACT, EXACT}},
	/* A SYN of the end that did not begin would be a connection of the other direction: that needs its own rule. */
	[OPEN] = {[KIND_SYN] = {ALWAYS_QUIET, NEVER},
		  [KIND_SYN_ACK] = {REPEAT_QUIET, REPEAT_QUIET},
		  [KIND_ACK] = {ORDINARY, ORDINARY},
		  [KIND_RST] = {EXACT, EXACT}},
	[TIME_WAIT] = {[KIND_SYN] = {ANEW, ANEW},
		       [KIND_SYN_ACK] = {REPEAT_QUIET, REPEAT_QUIET},
		       [KIND_ACK] = {ORDINARY, ORDINARY},
		       [KIND_RST] = {EXACT, EXACT}},
	[RESET] = {[KIND_SYN] = {ANEW, ANEW},
		   [KIND_SYN_ACK] = {NEVER, NEVER},
		   [KIND_ACK] = {CHALLENGE_LATE, CHALLENGE_LATE},
		   [KIND_RST] = {AGAIN, AGAIN}},
};

static int64_t largest(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* The number of 64 bits nearest to `about` whose low half is on the wire. */
static int64_t unwrap(uint32_t wire, int64_t about)
{
	return about + (int32_t)(wire - (uint32_t)about);
}

static enum phase phase_of(const struct twin *t)
{
	const struct fact *a = &t->ends[0], *b = &t->ends[1];

	if (t->reset)
		return RESET;
	if (!b->syn)
		return SYN_SENT;
	if (!a->syn_acked || !b->syn_acked)
		return SYN_RECEIVED;
	return a->fin_acked && b->fin_acked ? TIME_WAIT : OPEN;
}

/* The same in the words of <dfw/flow.h>. */
static uint8_t state_of(const struct twin *t)
{
	switch (phase_of(t)) {
	case SYN_SENT:
		return DFW_FLOW_TCP_SYN_SENT;
	case SYN_RECEIVED:
		return DFW_FLOW_TCP_SYN_RECEIVED;
	case TIME_WAIT:
		return DFW_FLOW_TCP_TIME_WAIT;
	case RESET:
		return DFW_FLOW_TCP_CLOSED;
	default:
		break;
	}
	if (t->ends[0].fin && t->ends[1].fin)
		return DFW_FLOW_TCP_CLOSING;
	return t->ends[0].fin || t->ends[1].fin ? DFW_FLOW_TCP_FIN_WAIT : DFW_FLOW_TCP_ESTABLISHED;
}

static void take_syn(struct fact *end, const struct tcp_segment *segment)
{
	*end = (struct fact){.syn = true, .got = end->got};
	end->isn = (1LL << 40) + segment->seq;
	end->syn_end = end->high = end->edge = end->isn + 1 + segment->bytes;
	end->window = segment->window ? segment->window : 1;
	end->scale = segment->scale == NO_SCALE ? -1 : segment->scale;
}

static enum verdict twin_begin(struct twin *t, const struct tcp_segment *segment, bool strict)
{
	struct fact *a = &t->ends[0], *b = &t->ends[1];

	*t = (struct twin){};
	if ((segment->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && !(segment->flags & TCP_RST)) {
		take_syn(a, segment);
		b->got = a->isn; /* nothing yet */
		return PASS;
	}
	if (strict || segment->flags & (TCP_SYN | TCP_RST))
		return DROP;
	/* Asymmetric paths: the first segment is believed, within a bound. */
	*a = (struct fact){.syn = true,
			   .syn_acked = true,
			   .fin = segment->flags & TCP_FIN,
			   .window = LOOSE_WINDOW};
	*b = (struct fact){.syn = true, .syn_acked = true, .unheard = true, .window = LOOSE_WINDOW};
	/* An empty segment may be a keep-alive, which lies one below what was sent (RFC 9293 3.8.4). */
	a->high = (1LL << 40) + segment->seq +
		  (segment->bytes || a->fin ? segment->bytes + a->fin : 1);
	a->edge = a->high + LOOSE_WINDOW;
	b->high = (1LL << 40) + segment->ack;
	b->edge = b->high + LOOSE_WINDOW;
	a->got = b->high;
	b->got = (1LL << 40) + segment->seq;
	return PASS;
}

/* Van Rooij's bounds, and the two of TCP itself. */
static bool in_window(const struct fact *s, const struct fact *r, int64_t seq, int64_t end,
		      int64_t ack)
{
	if (seq > s->edge || end < s->high - largest(r->window, 1))
		return false;
	if (ack > (r->unheard ? r->edge : r->high) ||
	    ack < r->high - largest(s->window, MAX_ACK_LAG))
		return false;
	/* RFC 9293 3.10.7.4: whose SYN is not acknowledged, hears an acknowledgement of it before all else. */
	if (!r->syn_acked && ack <= r->isn)
		return false;
	/* RFC 9293 3.10.4: behind the FIN there is nothing. */
	return !(s->fin && end > s->high);
}

static void advance(struct twin *t, struct fact *s, struct fact *r,
		    const struct tcp_segment *segment, int64_t end, int64_t ack)
{
	int64_t window = segment->window;

	if (t->both_scale && !(segment->flags & TCP_SYN))
		window <<= s->scale;
	s->high = largest(s->high, end);
	s->window = largest(s->window, window);
	s->got = largest(s->got, ack);
	s->unheard = false;
	r->syn_acked = true;
	r->edge = largest(r->edge, ack + largest(window, 1));
	if (r->unheard)
		r->high = largest(r->high, ack);
	/* A FIN is the last of all: one before what was sent already is none. */
	if (segment->flags & TCP_FIN && end == s->high)
		s->fin = true;
	if (r->fin && ack == r->high)
		r->fin_acked = true;
}

static enum verdict twin_reset(struct twin *t, struct fact *s, struct fact *r, int64_t seq)
{
	bool acknowledged = s->syn_acked && seq == r->got;

	/* The receiver's RCV.NXT is what it has acknowledged, or what was sent last, should that acknowledgement be on
	 * its way. Behind a FIN an end may have dropped its state: then the window is enough. */
	if (!acknowledged && seq != s->high &&
	    !((s->fin || r->fin) && seq >= r->got && seq <= s->edge))
		return DROP;
	if (!acknowledged)
		r->challenged = true;
	t->reset = true;
	return PASS;
}

static enum verdict twin_track(struct twin *t, const struct tcp_segment *segment, int from)
{
	struct fact *s = &t->ends[from], *r = &t->ends[!from], *a = &t->ends[0], *b = &t->ends[1];
	enum kind kind = segment->flags & TCP_RST			     ? KIND_RST
			 : (segment->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN ? KIND_SYN
			 : segment->flags & TCP_SYN			     ? KIND_SYN_ACK
									     : KIND_ACK;
	int64_t seq = s->syn ? unwrap(segment->seq, s->high) : (1LL << 40) + segment->seq;
	int64_t ack = r->syn ? unwrap(segment->ack, r->high) : (1LL << 40) + segment->ack;
	int64_t end =
		seq + segment->bytes + !!(segment->flags & TCP_SYN) + !!(segment->flags & TCP_FIN);
	/* Once it is acknowledged, a middle box may have forgotten where the SYN was: it knows the end of what it carried
	 * and what was acknowledged. */
	bool same_syn =
		s->syn && (s->syn_acked ? end == s->high || seq + 1 == r->got : seq == s->isn);

	switch ((enum rule)rules[phase_of(t)][kind][from]) {
	case NEVER:
		return DROP;
	case ALWAYS_QUIET:
		return QUIET;
	case ANEW:
		return RESTART;
	case SAME_OR_ANEW:
		if (seq != s->isn)
			return RESTART;
		if (segment->scale != NO_SCALE)
			s->scale = segment->scale;
		return PASS;
	case SAME_OR_QUIET:
		return same_syn ? PASS : QUIET;
	case SAME_OR_NEVER:
		return same_syn ? PASS : DROP;
	case SIMULTANEOUS:
		take_syn(b, segment);
		b->got = a->isn;
		a->got = b->isn;
		t->both_scale = a->scale >= 0 && b->scale >= 0;
		b->edge = b->high + a->window;
		a->edge = a->high + b->window;
		return PASS;
	case ANSWER:
		if (ack <= a->isn || ack > a->high)
			return DROP;
		take_syn(b, segment);
		b->got = ack;
		a->got = b->isn;
		a->syn_acked = true;
		t->both_scale = a->scale >= 0 && b->scale >= 0;
		b->edge = b->high + a->window;
		a->edge = largest(a->edge, ack + b->window);
		return PASS;
	case CHALLENGE:
		if (segment->bytes || segment->flags & TCP_FIN)
			return DROP;
		b->challenged = true;
		b->reset_at = segment->ack;
		return QUIET;
	case CHALLENGE_LATE:
		if (!s->syn || !s->challenged || segment->bytes || segment->flags & TCP_FIN)
			return DROP;
		return in_window(s, r, seq, end, ack) ? QUIET : DROP;
	case REPEAT:
		/* However long ago it was, and whatever was sent behind it since (RFC 7413 4.2). */
		end = s->high;
		if (!same_syn || !in_window(s, r, seq, end, ack))
			return DROP;
		advance(t, s, r, segment, end, ack);
		return PASS;
	case REPEAT_QUIET:
		return in_window(s, r, seq, end, ack) ? QUIET : DROP;
	case ORDINARY:
		if (!in_window(s, r, seq, end, ack))
			return DROP;
		advance(t, s, r, segment, end, ack);
		return PASS;
	case REFUSE:
		if (!(segment->flags & TCP_ACK) || ack <= a->isn || ack > a->high)
			return DROP;
		r->challenged = true;
		t->reset = true;
		return PASS;
	case ABORT:
		if (b->challenged && segment->seq == (uint32_t)b->reset_at)
			return QUIET;
		/* What the other end may expect: the byte behind the SYN, or behind what the SYN carried. */
		if (seq != a->isn + 1 && seq != a->high)
			return DROP;
		r->challenged = true;
		t->reset = true;
		return PASS;
	case EXACT:
		return twin_reset(t, s, r, seq);
	case AGAIN:
		return s->syn && seq >= r->got && seq <= s->high ? QUIET : DROP;
	}
	return DROP;
}

/* A later fragment of a segment whose first has passed: as a segment of its own would be, but that its acknowledgement and window
 * were those of the first. */
static enum verdict twin_rest(struct twin *t, const struct tcp_segment *segment, int from)
{
	struct fact *s = &t->ends[from];
	int64_t seq = unwrap(segment->seq, s->high);
	int64_t end = seq + segment->bytes + !!(segment->flags & TCP_FIN);
	enum phase phase = phase_of(t);

	if (phase == RESET || (s->fin && end > s->high))
		return DROP;
	/* Before there is an answer, a datagram's length is the bound of a SYN. */
	if (seq > (phase == SYN_SENT ? s->isn + 65535 : s->edge))
		return DROP;
	s->high = largest(s->high, end);
	if (phase == SYN_SENT)
		s->edge = largest(s->edge, end);
	if (segment->flags & TCP_FIN && end == s->high)
		s->fin = true;
	return PASS;
}

/* ==== Random numbers ============================================================================================== */

static uint64_t random_state;

static uint32_t random_word(void)
{
	/* xorshift64* (Vigna 2016) */
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 0x2545f4914f6cdd1dULL) >> 32);
}

static uint32_t below(uint32_t limit)
{
	return random_word() % limit;
}

static bool chance(uint32_t percent)
{
	return below(100) < percent;
}

/* ==== Two ends ====================================================================================================
 *
 * Go-back-N: what comes out of order is acknowledged and forgotten. They obey the other's window, and their own never
 * shrinks.
 */

struct end {
	bool syn_sent, heard; /* its SYN; the other's SYN */
	bool acked;	      /* its SYN is acknowledged */
	bool fin_sent, fin_heard, dead;
	bool fast_open; /* data in the SYN, or behind the SYN,ACK (RFC 7413; it knows no simultaneous open) */
	bool gave_up_fast_open;
	uint32_t isn, next, una, expected;
	uint32_t edge;	  /* how far it may send */
	uint32_t offered; /* how far it lets the other */
	uint32_t syn_bytes;
	uint16_t syn_window;	/* of its SYN, and of the repeats */
	int scale, other_scale; /* -1: not offered */
	uint32_t largest_buffer;
};

struct flight {
	struct tcp_segment segment;
	bool used;
};

#define IN_FLIGHT 6

static bool has_flow;
static struct end ends[2];
static struct flight flights[2][IN_FLIGHT]; /* to each end */
static bool tampered, fast_open, loud;

static bool later(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

static void end_new(struct end *e)
{
	*e = (struct end){.scale = chance(70) ? (int)below(15) : -1, .other_scale = -1};
	e->isn = chance(30) ? 0u - below(5000) : random_word();
	e->next = e->una = e->isn;
	e->fast_open = fast_open;
	e->largest_buffer = fast_open	 ? 8000 + below(60000)
			    : chance(20) ? 1 + below(3000)
					 : 1 + below(chance(30) ? 1u << 24 : 60000);
}

static bool is_open(const struct end *e)
{
	return e->acked && e->heard && !e->dead;
}

/* The window field of its next segment. */
static uint16_t offer(struct end *e, bool syn)
{
	int shift = !syn && e->scale >= 0 && e->other_scale >= 0 ? e->scale : 0;
	uint32_t buffer = chance(15) ? 0 : 1 + below(e->largest_buffer), room;

	/* Whoever takes data in a SYN has room for it. */
	if (syn && fast_open)
		buffer = e->largest_buffer;

	/* Never taken back. */
	if (later(e->offered, e->expected + buffer) && e->heard)
		buffer = e->offered - e->expected;
	room = buffer >> shift;
	if (room > 65535)
		room = 65535;
	if (!syn && later(e->expected + (room << shift), e->offered))
		e->offered = e->expected + (room << shift);
	return (uint16_t)room;
}

/* What an end says next. False: nothing. */
static bool speak(struct end *e, struct tcp_segment *out)
{
	uint32_t room;

	*out = (struct tcp_segment){.scale = NO_SCALE};
	if (e->dead)
		return false;
	if (!e->syn_sent || !e->acked) { /* its SYN, again if need be */
		if (e->acked || (e->syn_sent && !e->heard && chance(60)))
			return false;
		if (e->heard && e->fast_open && e->syn_sent && !e->gave_up_fast_open &&
		    chance(40) && later(e->edge, e->next)) {
			/* Data behind the SYN,ACK, before the handshake is over. */
			room = e->edge - e->next;
			out->bytes = 1 + below(room < 1400 ? room : 1400);
			out->seq = e->next;
			out->ack = e->expected;
			out->flags = TCP_ACK;
			out->window = offer(e, false);
			e->next += out->bytes;
			return true;
		}
		out->seq = e->isn;
		out->flags = TCP_SYN | (e->heard ? TCP_ACK : 0);
		out->ack = e->heard ? e->expected : 0;
		out->scale = e->scale < 0 || (e->heard && e->other_scale < 0) ? NO_SCALE
									      : (uint8_t)e->scale;
		if (e->heard && e->other_scale < 0)
			e->scale = -1;
		if (!e->syn_sent && !e->heard && e->fast_open)
			e->syn_bytes = 1 + below(1000);
		else if (e->syn_sent && chance(50))
			e->gave_up_fast_open = true;
		out->bytes = e->gave_up_fast_open || e->heard ? 0 : e->syn_bytes;
		if (!e->syn_sent)
			e->syn_window = offer(e, true);
		out->window = e->syn_window;
		if (e->heard && later(e->expected + out->window, e->offered))
			e->offered = e->expected + out->window;
		if (!e->syn_sent) {
			e->next = e->isn + 1 + out->bytes;
			e->syn_sent = true;
		}
		return true;
	}
	if (!is_open(e))
		return false;

	out->seq = e->next;
	out->ack = e->expected;
	out->flags = TCP_ACK;
	room = later(e->edge, e->next) ? e->edge - e->next : 0;
	switch (below(10)) {
	case 0:
	case 1:
	case 2: /* data */
		if (e->fin_sent || !room)
			break;
		out->bytes = 1 + below(room < 2000 ? room : 2000);
		e->next += out->bytes;
		break;
	case 3: /* again, cut otherwise */
		if (e->una == e->next)
			break;
		out->seq = e->una;
		room = e->next - e->fin_sent - e->una;
		if ((int32_t)room < 0)
			break;
		out->bytes = room ? 1 + below(room < 3000 ? room : 3000) : 0;
		if (e->fin_sent && out->bytes == room)
			out->flags |= TCP_FIN;
		break;
	case 4: /* keep-alive, RFC 9293 3.8.4 */
		if (e->una != e->next || e->fin_sent)
			break;
		out->seq = e->next - 1;
		out->bytes = below(2);
		break;
	case 5: /* the probe of a closed window, RFC 9293 3.8.6.1 */
		if (e->fin_sent || e->una != e->next || room)
			break;
		out->bytes = 1;
		e->next++;
		break;
	case 6:
		if (e->fin_sent || !room || !chance(40)) /* a FIN needs room as a byte does */
			break;
		out->bytes = chance(50) ? below(room < 500 ? room : 500) : 0;
		out->flags |= TCP_FIN;
		e->next += out->bytes + 1;
		e->fin_sent = true;
		break;
	case 7:
		if (!chance(3))
			break;
		out->flags = TCP_RST | (chance(50) ? TCP_ACK : 0);
		e->dead = true;
		break;
	default: /* an acknowledgement */
		break;
	}
	if (!(out->flags & TCP_RST))
		out->window = offer(e, false);
	return true;
}

/* RFC 9293 3.10.7, as far as the tracker could tell. */
static void hear(struct end *e, const struct tcp_segment *in)
{
	uint32_t end = in->seq + in->bytes + !!(in->flags & TCP_FIN), window = in->window;

	if (e->dead)
		return;
	if (in->flags & TCP_RST) {
		if (e->heard ? in->seq == e->expected : in->ack == e->next)
			e->dead = true;
		return;
	}
	if (in->flags & TCP_SYN) {
		if (!e->syn_sent && in->flags & TCP_ACK)
			return;
		if (in->flags & TCP_ACK && !e->acked) {
			if (!later(in->ack, e->isn) || later(in->ack, e->next))
				return;
			e->acked = true;
			e->una = in->ack;
			e->next = chance(50) && e->fast_open
					  ? e->next
					  : in->ack; /* what was not taken is sent anew */
			if (later(in->ack, e->next))
				e->next = in->ack;
		}
		if (e->heard)
			return;
		e->heard = true;
		e->other_scale = in->scale == NO_SCALE ? -1 : in->scale;
		e->expected = in->seq + 1 + (chance(50) ? in->bytes : 0);
		e->offered = e->expected;
		e->edge = (in->flags & TCP_ACK ? in->ack : e->isn + 1) + window;
		return;
	}
	if (!e->heard || !e->syn_sent)
		return;
	if (e->scale >= 0 && e->other_scale >= 0)
		window <<= e->other_scale;
	/* RFC 9293 3.10.7.4: is anything of it in the window? (expected - 1: a keep-alive, which says nothing new) */
	if (later(in->ack, e->next))
		return;
	if (later(in->ack, e->isn)) {
		e->acked = true;
		if (later(in->ack, e->una))
			e->una = in->ack;
		if (later(in->ack + window, e->edge))
			e->edge = in->ack + window;
	}
	if (!later(in->seq, e->expected) && later(end, e->expected) &&
	    later(e->offered + 1, in->seq)) {
		uint32_t taken = end;

		/* What lies behind the window is not taken. */
		if (later(taken, e->offered) && !(in->flags & TCP_FIN))
			taken = later(e->offered, e->expected) ? e->offered : e->expected;
		e->expected = taken;
		if (in->flags & TCP_FIN && taken == end)
			e->fin_heard = true;
		if (later(e->expected, e->offered))
			e->offered = e->expected;
	}
}

/* ==== A conversation ============================================================================================== */

static struct dfw_flow flow;
static struct twin twin;
static int initiator;
static const char *complaint;

static enum verdict verdict_of(int result)
{
	return result > 0	       ? DROP
	       : result == TCP_PASS    ? PASS
	       : result == TCP_RESTART ? RESTART
				       : QUIET;
}

/* Both trackers see a segment of ends[from], or, `rest`, a later fragment of it. */
static enum verdict show_part(const struct tcp_segment *segment, int from, bool strict, bool rest)
{
	enum verdict mine, theirs;

	if (rest) {
		mine = twin_rest(&twin, segment, from != initiator);
		theirs = verdict_of(tcp_track_rest(&flow, segment, from != initiator));
	} else if (!has_flow) {
	anew:
		memset(&flow, 0, sizeof(flow));
		mine = twin_begin(&twin, segment, strict);
		theirs = verdict_of(tcp_begin(&flow, segment, strict));
		has_flow = theirs == PASS;
		initiator = from;
	} else {
		mine = twin_track(&twin, segment, from != initiator);
		theirs = verdict_of(tcp_track(&flow, segment, from != initiator));
	}
	if (loud)
		printf("# %s %c%c%c%c seq %u len %u ack %u win %u scale %u: %s, twin %s, state %u, "
		       "twin %u\n",
		       from == initiator ? "->" : "<-", segment->flags & TCP_SYN ? 'S' : '.',
		       segment->flags & TCP_FIN ? 'F' : '.', segment->flags & TCP_RST ? 'R' : '.',
		       segment->flags & TCP_ACK ? 'A' : '.', segment->seq, segment->bytes,
		       segment->ack, segment->window, segment->scale, verdict_names[theirs],
		       verdict_names[mine], flow.state, state_of(&twin));
	if (mine != theirs) {
		complaint = "the verdicts differ";
		return DROP;
	}
	if (theirs == RESTART)
		goto anew;
	if (has_flow && flow.state != state_of(&twin))
		complaint = "the states differ";
	return theirs;
}

/* The same; a segment of some bytes may have been cut into two fragments, of which the last has the FIN. */
static enum verdict show(const struct tcp_segment *segment, int from, bool strict)
{
	struct tcp_segment first = *segment, rest = *segment;
	enum verdict verdict;

	if (segment->bytes < 2 || (has_flow && segment->flags & (TCP_SYN | TCP_RST)) || !chance(20))
		return show_part(segment, from, strict, false);
	first.bytes = 1 + below(segment->bytes - 1);
	first.flags &= ~TCP_FIN;
	rest.seq += first.bytes + !!(segment->flags & TCP_SYN);
	rest.bytes -= first.bytes;
	rest.flags &= TCP_FIN;
	verdict = show_part(&first, from, strict, false);
	return verdict == PASS ? show_part(&rest, from, strict, true) : verdict;
}

static void put_in_flight(int to, const struct tcp_segment *segment)
{
	for (int i = 0; i < IN_FLIGHT; i++)
		if (!flights[to][i].used) {
			flights[to][i] = (struct flight){*segment, true};
			return;
		}
}

static void deliver(int to)
{
	int i = (int)below(IN_FLIGHT);

	if (!flights[to][i].used)
		return;
	if (!chance(85)) { /* lost */
		flights[to][i].used = false;
		return;
	}
	hear(&ends[to], &flights[to][i].segment);
	if (!chance(5)) /* doubled */
		flights[to][i].used = false;
}

static bool possible(uint8_t flags)
{
	switch (flags & (TCP_SYN | TCP_FIN | TCP_RST)) {
	case 0:
	case TCP_FIN:
		return flags & TCP_ACK;
	case TCP_SYN:
	case TCP_RST:
		return true;
	}
	return false;
}

/* Numbers that lie on the edges of the rules. */
static uint32_t near_something(int from)
{
	const struct fact *s = &twin.ends[from != initiator], *r = &twin.ends[from == initiator];
	const int64_t places[] = {s->isn,
				  s->high,
				  s->edge,
				  s->got,
				  s->high - r->window,
				  r->high,
				  r->got,
				  r->edge,
				  r->high - largest(s->window, MAX_ACK_LAG),
				  ends[from].next};

	return (uint32_t)places[below(10)] + below(5) - 2;
}

static void tamper(struct tcp_segment *segment, int from)
{
	static const uint8_t kinds[] = {TCP_SYN,	   TCP_SYN | TCP_ACK, TCP_ACK,
					TCP_FIN | TCP_ACK, TCP_RST,	      TCP_RST | TCP_ACK};

	for (uint32_t times = 1 + below(2); times; times--)
		switch (below(7)) {
		case 0:
		case 1:
			segment->seq = chance(80) ? near_something(from) : random_word();
			break;
		case 2:
		case 3:
			segment->ack = chance(80) ? near_something(from) : random_word();
			break;
		case 4:
			segment->flags = kinds[below(6)];
			break;
		case 5:
			segment->window = chance(50) ? random_word() & 0xffff : below(3);
			break;
		case 6:
			segment->bytes = chance(50) ? below(3) : below(3000);
			break;
		}
	if (!(segment->flags & TCP_SYN))
		segment->scale = NO_SCALE;
	else if (chance(30))
		segment->scale = chance(50) ? NO_SCALE : below(15);
	if (!possible(segment->flags))
		segment->flags |= TCP_ACK;
}

static uint64_t nr_segments, nr_dropped, nr_states[DFW_FLOW_STATES];

static bool converse(uint64_t seed)
{
	bool strict, reuse = false;
	struct tcp_segment segment;

	random_state = seed * 0x9e3779b97f4a7c15ULL + 1;
	for (int i = 0; i < 4; i++)
		random_word();
	tampered = chance(50);
	strict = chance(80);
	fast_open = chance(15);
	has_flow = false;
	initiator = 0;
	complaint = NULL;
	memset(flights, 0, sizeof(flights));
	memset(&flow, 0, sizeof(flow));
	memset(&twin, 0, sizeof(twin));
	end_new(&ends[0]);
	end_new(&ends[1]);
	if (chance(10) && !strict) { /* the firewall comes in the middle */
		for (int i = 0; i < 2; i++) {
			struct end *e = &ends[i];

			e->syn_sent = e->heard = e->acked = true;
			e->next = e->una = e->isn + 1;
			e->expected = ends[!i].isn + 1;
			e->offered = e->expected;
			e->edge = e->next + 1000;
			e->scale = e->other_scale = -1;
		}
	} else if (chance(80)) {
		speak(&ends[0], &segment);
		show(&segment, 0, strict);
		put_in_flight(1, &segment);
	}
	for (uint32_t steps = 10 + below(90); steps && !complaint; steps--) {
		int who = (int)below(2);
		enum verdict verdict;
		bool changed;

		if (chance(50)) {
			deliver(who);
			continue;
		}
		/* The other end opens by itself now and then, once a SYN is on its way. */
		if (!ends[who].syn_sent && !ends[who].heard && (who == 1 || has_flow) &&
		    !(has_flow && !fast_open && chance(15)))
			continue;
		if (!reuse && has_flow && flow.state == DFW_FLOW_TCP_TIME_WAIT && chance(50)) {
			/* The ports are used again. */
			memset(flights, 0, sizeof(flights));
			end_new(&ends[0]);
			end_new(&ends[1]);
			reuse = true;
		}
		if (!speak(&ends[who], &segment))
			continue;
		changed = tampered && chance(25);
		if (changed)
			tamper(&segment, who);
		verdict = show(&segment, who, strict);
		nr_segments++;
		nr_dropped += verdict == DROP;
		nr_states[flow.state]++;
		if (verdict == DROP) {
			/* A dead end says no more, but what it said may still be answered. */
			if (!tampered && !complaint && !ends[0].dead && !ends[1].dead)
				complaint = "faithful ends, and a segment is dropped";
			continue;
		}
		if (!changed || chance(30))
			put_in_flight(!who, &segment);
	}
	return !complaint;
}

/* A flow as its next host gets it: both ends have come further than was told. */
static struct dfw_flow handed_over(void)
{
	struct dfw_flow f = {.state = DFW_FLOW_TCP_ESTABLISHED};

	for (int leg = 0; leg < DFW_LEGS; leg++) {
		f.leg_flags[leg] = DFW_LEG_SYN | DFW_LEG_SYN_ACKED | DFW_LEG_RESYNC;
		f.legs[leg] = (struct dfw_leg){.end = 1000,
					       .max_end = 1000 + 65535 + DFW_RESYNC_WINDOW,
					       .max_window = 65535,
					       .ack = 1000};
	}
	return f;
}

int main(int argc, char **argv)
{
	const char *wanted = getenv("TCP_TWIN_CONVERSATIONS");
	uint64_t nr = wanted ? strtoull(wanted, NULL, 0) : 240000;

	if (argc > 1) {
		loud = true;
		converse(strtoull(argv[1], NULL, 0));
		printf("# %s\n", complaint ? complaint : "fine");
		return complaint ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	TEST("the TCP tracker and its twin agree, and faithful ends are never dropped")
	{
		int failures = 0;

		for (uint64_t seed = 1; seed <= nr && failures < 10; seed++) {
			if (converse(seed))
				continue;
			failures++;
			printf("# seed %" PRIu64 ": %s\n", seed, complaint);
		}
		CHECK(failures == 0);
	}
	printf("# %" PRIu64 " conversations, %" PRIu64 " segments, %" PRIu64 " dropped\n", nr,
	       nr_segments, nr_dropped);
	TEST("the conversations come to every state")
	{
		for (int state = DFW_FLOW_TCP_SYN_SENT; state <= DFW_FLOW_TCP_CLOSED; state++)
			CHECK(nr < 1000 || nr_states[state] > nr / 1000);
	}
	TEST("a flow that was handed over: an end that sends again may be answered with what "
	     "nobody has seen it send")
	{
		/* 1000 to 9000 were sent unseen, and all that acknowledged them was lost. */
		const struct tcp_segment again = {
			.seq = 1000, .ack = 1000, .window = 65535, .bytes = 100, .flags = TCP_ACK};
		const struct tcp_segment answer = {
			.seq = 1000, .ack = 9000, .window = 65535, .flags = TCP_ACK};
		struct tcp_segment beyond = answer;
		struct dfw_flow f = handed_over();

		CHECK(tcp_track(&f, &again, DFW_ORIG) == TCP_PASS);
		CHECK(tcp_track(&f, &answer, DFW_REPLY) == TCP_PASS);
		CHECK(f.legs[DFW_ORIG].end == 9000);
		beyond.ack = 1000 + 65535 + DFW_RESYNC_WINDOW + 65536;
		CHECK(tcp_track(&f, &beyond, DFW_REPLY) == DFW_REASON_TCP_ACK);
		/* Its time is over (bound_resync). */
		f.leg_flags[DFW_ORIG] &= ~DFW_LEG_RESYNC;
		f.leg_flags[DFW_REPLY] &= ~DFW_LEG_RESYNC;
		beyond.ack = 9001;
		CHECK(tcp_track(&f, &beyond, DFW_REPLY) == DFW_REASON_TCP_ACK);
	}
	TEST("a flow that was picked up: the end that had not spoken yet settles its window when "
	     "it does")
	{
		const struct tcp_segment answer = {
			.seq = 2000, .ack = 1000, .window = 65535, .bytes = 100, .flags = TCP_ACK};
		struct dfw_flow f = handed_over();

		f.leg_flags[DFW_ORIG] &= ~DFW_LEG_RESYNC;
		CHECK(tcp_track(&f, &answer, DFW_REPLY) == TCP_PASS);
		CHECK(!(f.leg_flags[DFW_REPLY] & DFW_LEG_RESYNC));
	}
	return check_done();
}
