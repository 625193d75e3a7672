/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_CHALLENGE_H
#define DFW_BPF_CHALLENGE_H

#include "verdict.h"

/*
 * A flood of SYNs must not turn the half-open flows over faster than a handshake lasts. While it does, a SYN that its rule
 * allows is not let through: its sender is asked whether it exists. The answer to it is an ACK of what was never sent; who
 * has really sent that SYN resets it (RFC 9293 3.10.7.3), with the number we chose, and sends the SYN again. That number is a
 * keyed hash of the connection's ends and the time, so nothing is kept of what is asked; only who has answered is
 * remembered, for a while. Linux repeats the SYN at once (a reset in SYN-SENT before any retransmission shortens the timer),
 * others after their first timeout. A plain ACK is what a half-open server's stack would send (RFC 9293 3.5.1, figure 9;
 * RFC 5961 4), so NATs and firewalls on the way know it; and no number has to be translated afterwards, as a proxy must.
 *
 * Invariants:
 *   - A forged source cannot become proven: it would have to guess 32 bits of a keyed hash.
 *   - `max-half-open` / CHALLENGE_SECONDS unproven SYNs a second begin half-open flows, and CHALLENGE_BURST of it at once. So
 *     a handshake has seconds to finish before newer ones push it out. One that finishes gives its turn back: a busy
 *     server challenges nobody.
 *   - What the rules drop is dropped, not asked.
 */

#define CHALLENGE_SECONDS     4 /* in which a flood could turn the half-open flows over */
#define CHALLENGE_BURST(most) ((most) / 2)
#define CHALLENGE_SLOT_SHIFT  33 /* a number is good for 8.6 to 17.2 s */
#define PROVEN_SECONDS	      60

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dfw_secrets);
} secrets SEC(".maps");

/* Only who proves itself gets in, so a flood of forged sources evicts nobody. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DFW_MAX_PROVEN);
	__type(key, struct dfw_proven_key);
	__type(value, __u64);
} proven SEC(".maps");

static __always_inline __u64 rotate_left(__u64 word, int bits)
{
	return word << bits | word >> (64 - bits);
}

static __always_inline void sip_round(__u64 *v)
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate_left(v[1], 13) ^ v[0];
	v[3] = rotate_left(v[3], 16) ^ v[2];
	v[0] = rotate_left(v[0], 32) + v[3];
	v[2] += v[1];
	v[3] = rotate_left(v[3], 21) ^ v[0];
	v[1] = rotate_left(v[1], 17) ^ v[2];
	v[2] = rotate_left(v[2], 32);
}

/* SipHash-2-4 (Aumasson and Bernstein 2012) of 43 bytes: a flow's key and three of the time. */
static __always_inline __u32 challenge_number(const struct dfw_secrets *secret,
					      const struct dfw_flow_key *key, __u64 slot)
{
	const __u64 *words = (const __u64 *)key;
	__u64 v[4] = {
		secret->syn[0] ^ 0x736f6d6570736575ULL,
		secret->syn[1] ^ 0x646f72616e646f6dULL,
		secret->syn[0] ^ 0x6c7967656e657261ULL,
		secret->syn[1] ^ 0x7465646279746573ULL,
	};

	_Static_assert(sizeof(*key) == 5 * sizeof(__u64), "the key is hashed by words");
	for (int i = 0; i < 6; i++) {
		__u64 word = i < 5 ? words[i] : (slot & 0xffffff) | (sizeof(*key) + 3ULL) << 56;

		v[3] ^= word;
		sip_round(v);
		sip_round(v);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return (__u32)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static __always_inline struct dfw_secrets *challenge_secret(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&secrets, &zero);
}

static __always_inline __u64 *challenge_proven(struct packet *p)
{
	struct dfw_proven_key key = {.source = p->key.remote, .slot = p->slot};

	return bpf_map_lookup_elem(&proven, &key);
}

/* Must the sender of this SYN, which a rule allows, show first that it exists? Then p->challenge is what it is asked. If
 * not, one more SYN has had its turn, unless `ahead`: then the full path comes to that. */
DFW_STAGE bool challenge_due(struct packet *p, const struct dfw_port_config *config, bool ahead)
{
	struct dfw_port_state *state;
	__u64 due;
	struct dfw_secrets *secret;
	__u64 *until;
	__u32 most;

	if (!p || !config || p->direction != DFW_IN || p->key.protocol != PROTOCOL_TCP ||
	    !(config->profile.flags & DFW_PROFILE_SYN_CHALLENGE))
		return false;
	state = port_state(p->slot);
	most = config->profile.max_half_open;
	if (!state || most < 2 * CHALLENGE_SECONDS)
		return false;
	due = bucket_due(state->bucket_syn_ns, p->now_ns, most / CHALLENGE_SECONDS,
			 CHALLENGE_BURST(most));
	if (due) {
		if (!ahead)
			state->bucket_syn_ns = due;
		return false;
	}
	until = challenge_proven(p);
	if (until && (__s64)(*until - p->now_ns) > 0)
		return false;
	secret = challenge_secret();
	if (!secret)
		return false;
	p->challenge = challenge_number(secret, &p->key, p->now_ns >> CHALLENGE_SLOT_SHIFT);
	return true;
}

/* A handshake that a packet to the VM began has finished: its turn is given back. */
static __always_inline void challenge_finished(const struct packet *p)
{
	const struct dfw_port_config *config = port_config(p->slot, p->bank);
	struct dfw_port_state *state = port_state(p->slot);
	__u32 most = config ? config->profile.max_half_open : 0;

	if (state && most >= 2 * CHALLENGE_SECONDS && state->bucket_syn_ns > p->now_ns)
		state->bucket_syn_ns -= NS_PER_SECOND / (most / CHALLENGE_SECONDS);
}

/* Is this RST, which belongs to no flow, the answer to a challenge? Then its sender is proven. */
DFW_STAGE bool challenge_answered(struct packet *p, const struct dfw_port_config *config)
{
	struct dfw_proven_key key = {};
	struct dfw_secrets *secret;
	__u64 slot, until;

	if (!p || !config || p->direction != DFW_IN || p->key.protocol != PROTOCOL_TCP ||
	    (p->tcp_flags & (TCP_SYN | TCP_RST)) != TCP_RST ||
	    !(config->profile.flags & DFW_PROFILE_SYN_CHALLENGE))
		return false;
	secret = challenge_secret();
	if (!secret)
		return false;
	slot = p->now_ns >> CHALLENGE_SLOT_SHIFT;
	if (p->tcp_seq != challenge_number(secret, &p->key, slot) &&
	    p->tcp_seq != challenge_number(secret, &p->key, slot - 1))
		return false;
	key.source = p->key.remote;
	key.slot = p->slot;
	until = p->now_ns + PROVEN_SECONDS * NS_PER_SECOND;
	bpf_map_update_elem(&proven, &key, &until, BPF_ANY);
	return true;
}

#endif
