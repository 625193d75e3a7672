/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_CHECKSUM_H
#define DFW_BPF_CHECKSUM_H

#include "packet.h"

/* A segment with a wrong checksum is thrown away by its receiver; believed by the firewall, it would be a way to move
 * the firewall's state alone (Ptacek and Newsham 1998, "insertion"). What the hardware or the sender's own stack vouch
 * for is not summed again. */

static __always_inline __u16 checksum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

#define CHECKSUM_EACH 0x0001000100010001ULL

/* Is that what words with a right checksum sum up to, a multiple of 0xffff, and not 0 (RFC 1071)? -CHECKSUM_EACH is the inverse
 * of 0xffff modulo 2^64: it makes a multiple its quotient, and anything else more than any quotient (Granlund and Montgomery
 * 1994, section 9). */
static __always_inline bool checksum_right(__u64 sum)
{
	return sum * -CHECKSUM_EACH - 1 < CHECKSUM_EACH;
}

/* Sum of the `words` 32-bit words of an IPv4 header (RFC 791). */
static __always_inline __u64 checksum_words(const __u32 *word, const __u32 words)
{
	__u64 sum = 0;

	for (__u32 i = 0; i < words; i++)
		sum += word[i];
	return sum;
}

/* Sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1). */
static __always_inline __u64 checksum_pseudo(const struct packet *p, __u32 l4_bytes)
{
	const __u32 *a = (const __u32 *)p->key.local.bytes, *b = (const __u32 *)p->key.remote.bytes;
	__u64 sum = bpf_htonl(l4_bytes) + (__u64)bpf_htonl(p->key.protocol);

	sum += (__u64)a[3] + b[3];
	if (p->flags & PACKET_V6)
		for (int i = 0; i < 3; i++)
			sum += (__u64)a[i] + b[i];
	return sum;
}

struct checksum_walk {
	context_t *ctx;
	struct scratch *scratch;
	__s64 sum; /* -1: the frame is shorter */
	__u32 offset;
	__u32 bytes;
};

static long checksum_part(__u64 index __attribute__((unused)), void *data)
{
	struct checksum_walk *walk = data;
	__u32 part = walk->bytes, last, padded;

	if (part > SCRATCH_BYTES)
		part = SCRATCH_BYTES;
	/* Bounded by its last byte: from `part == 0` the verifier of 6.1 does not learn that it is 1 at least. */
	last = part - 1;
	barrier_var(last);
	if (last >= SCRATCH_BYTES)
		return 1;
	part = last + 1;
	/* The sum goes by 32-bit words: clear what the last one would take from an older packet. */
	*(__u32 *)(walk->scratch->bytes + (last & (SCRATCH_BYTES - 4))) = 0;
	if (context_load_bytes(walk->ctx, walk->offset, walk->scratch->bytes, part) < 0) {
		walk->sum = -1;
		return 1;
	}
	padded = (part + 3) & ~3U;
	if (padded > SCRATCH_BYTES)
		return 1;
	walk->sum =
		bpf_csum_diff(NULL, 0, (__be32 *)walk->scratch->bytes, padded, (__u32)walk->sum);
	walk->offset += part;
	walk->bytes -= part;
	return walk->sum < 0;
}

/* Sum over `bytes` of the frame from `offset`, begun with `seed`; -1 when the frame is shorter. */
DFW_STAGE __s64 checksum_frame(context_t *ctx, __u32 offset, __u32 bytes, __u32 seed)
{
	struct checksum_walk walk = {.ctx = ctx, .sum = seed, .offset = offset, .bytes = bytes};
	__u32 zero = 0;

	walk.scratch = bpf_map_lookup_elem(&scratches, &zero);
	if (!walk.scratch)
		return -1;
	bpf_loop(65536 / SCRATCH_BYTES, checksum_part, &walk, 0);
	return walk.sum;
}

/* CRC32c (RFC 9260 appendix A), a nibble a step: a table of 16 words. */
static const __u32 crc32c_nibble[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
	0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
	0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

static __always_inline __u32 crc32c_byte(__u32 crc, __u8 byte)
{
	crc ^= byte;
	crc = (crc >> 4) ^ crc32c_nibble[crc & 15];
	crc = (crc >> 4) ^ crc32c_nibble[crc & 15];
	return crc;
}

/* Is the checksum of the SCTP packet right? Packets above SCRATCH_BYTES are taken to be: those that move state are
 * smaller, but for COOKIE ECHO, whose forged form cannot carry a right verification tag. */
DFW_STAGE bool checksum_sctp_ok(context_t *ctx, struct packet *p)
{
	__u32 zero = 0, crc = 0xffffffff, found;
	struct scratch *scratch = bpf_map_lookup_elem(&scratches, &zero);

	if (!p || !scratch)
		return false;
	__u32 bytes = p->l4_bytes;

	if (bytes >= SCRATCH_BYTES || bytes < 12)
		return bytes >= 12;
	if (context_load_bytes(ctx, p->l4_offset, scratch->bytes, bytes) < 0)
		return false;
	/* It lies in the packet with its least significant byte first. */
	found = scratch->bytes[8] | scratch->bytes[9] << 8 | scratch->bytes[10] << 16 |
		(__u32)scratch->bytes[11] << 24;
	*(__u32 *)(scratch->bytes + 8) = 0;
	for (__u32 i = 0; i < SCRATCH_BYTES && i < bytes; i++)
		crc = crc32c_byte(crc, scratch->bytes[i]);
	return found == ~crc;
}

#define CHECKSUM_DIRECT_BYTES 96
#define CHECKSUM_LINEAR_BYTES 1536

/* May `bytes` be read at `at`? The barriers keep the compiler from comparing with end - bytes, which the verifier does
 * not follow. */
static __always_inline bool readable(const void *at, __u32 bytes, const void *end)
{
	const void *behind = at + bytes;

	barrier_var(behind);
	return behind <= end;
}

/* Is the checksum right of `bytes`, at most CHECKSUM_DIRECT_BYTES, that lie in one piece? `sum`: of the pseudo-header. */
static __always_inline bool checksum_direct_ok(const void *at, const void *end, __u32 bytes,
					       __u64 sum)
{
	if (bytes > CHECKSUM_DIRECT_BYTES)
		return false;
	for (__u32 i = 0; i < CHECKSUM_DIRECT_BYTES / 16; i++) {
		const __u32 *word = at;

		if (bytes < 16)
			break;
		if (!readable(at, 16, end))
			return false;
		sum += (__u64)word[0] + word[1];
		sum += (__u64)word[2] + word[3];
		at += 16;
		bytes -= 16;
	}
	if (bytes & 8) {
		const __u32 *word = at;

		if (!readable(at, 8, end))
			return false;
		sum += (__u64)word[0] + word[1];
		at += 8;
	}
	if (bytes & 4) {
		if (!readable(at, 4, end))
			return false;
		sum += *(const __u32 *)at;
		at += 4;
	}
	if (bytes & 2) {
		if (!readable(at, 2, end))
			return false;
		sum += *(const __u16 *)at;
		at += 2;
	}
	if (bytes & 1) {
		if (!readable(at, 1, end))
			return false;
		sum += bpf_htons(*(const __u8 *)at << 8);
	}
	return checksum_right(sum);
}

/* The same of at most CHECKSUM_LINEAR_BYTES at `offset`: a stage, so that its steps are the verifier's once. */
DFW_STAGE bool checksum_linear_ok(context_t *ctx, __u32 offset, __u32 bytes, __u64 sum)
{
	const void *at = context_data(ctx), *end = context_data_end(ctx);

	barrier_var(offset);
	if (offset > MAX_FRAME_OFFSET)
		return false;
	at += offset;
	for (__u32 i = 0; i < CHECKSUM_LINEAR_BYTES / 64; i++) {
		const __u32 *word = at;

		if (bytes < 64 || !readable(at, 64, end))
			break;
		for (int w = 0; w < 16; w++)
			sum += word[w];
		at += 64;
		bytes -= 64;
	}
	return checksum_direct_ok(at, end, bytes, sum);
}

/* Does it lie in one piece, and is it short enough for checksum_linear_ok? */
static __always_inline bool checksum_linear(context_t *ctx, __u32 offset, __u32 bytes)
{
	return bytes <= CHECKSUM_LINEAR_BYTES &&
	       offset + bytes <= (__u32)(context_data_end(ctx) - context_data(ctx));
}

/* The same for any packet, where neither hardware nor the sender's stack vouch for it. */
DFW_STAGE bool checksum_ok_anywhere(context_t *ctx, struct packet *p, __u64 seed)
{
	__s64 sum;

	if (!p)
		return false;
	if (context_vouched(ctx))
		return true;
	if (p->key.protocol == PROTOCOL_SCTP)
		return checksum_sctp_ok(ctx, p);
	if (checksum_linear(ctx, p->l4_offset, p->l4_bytes))
		return checksum_linear_ok(ctx, p->l4_offset, p->l4_bytes, seed);
	sum = checksum_frame(ctx, p->l4_offset, p->l4_bytes, checksum_fold(seed));
	return sum >= 0 && checksum_right((__u64)sum);
}

/* Is the transport checksum right? For whole packets only: a fragment cannot be checked without its others. A short
 * packet is summed faster than its skb can be asked who has checked it. */
static __always_inline bool checksum_ok(context_t *ctx, struct packet *p)
{
	__u32 offset = p->l4_offset;
	__u64 seed = 0;

	if (p->key.protocol != PROTOCOL_ICMP)
		seed = checksum_pseudo(p, p->l4_bytes);
	barrier_var(offset);
	if (p->key.protocol != PROTOCOL_SCTP && offset <= MAX_FRAME_OFFSET &&
	    checksum_direct_ok(context_data(ctx) + offset, context_data_end(ctx), p->l4_bytes,
			       seed))
		return true;
	return checksum_ok_anywhere(ctx, p, seed);
}

#endif
