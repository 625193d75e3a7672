/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTESTS_FRAMES_H
#define SELFTESTS_FRAMES_H

/*
 * Frames for the tests of the datapath, and a strict reader of frames. Written from the RFCs, byte by byte, and sharing
 * nothing with bpf/: the two must agree.
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* ---- Numbers and sums ----------------------------------------------------------------------------------------- */

static inline uint32_t get16(const uint8_t *at)
{
	return (uint32_t)at[0] << 8 | at[1];
}

static inline uint32_t get32(const uint8_t *at)
{
	return get16(at) << 16 | get16(at + 2);
}

static inline void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

/* RFC 1071: adds the 16-bit words of `bytes` to `sum`; an odd byte is the high half of a word. */
static inline uint32_t internet_sum(uint32_t sum, const uint8_t *bytes, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		sum += i & 1 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* RFC 9260 appendix A, a bit at a time. */
static inline uint32_t crc32c(const uint8_t *bytes, size_t nr)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < nr; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
	}
	return ~crc;
}

/* ---- A strict reader ------------------------------------------------------------------------------------------ */

/* What it finds; `wrong` is NULL or says what a receiver would object to. */
struct strict {
	const char *wrong;
	bool v6;
	bool tagged;
	uint16_t vlan;
	uint16_t ethertype;
	uint8_t protocol;
	uint8_t source[16], destination[16]; /* IPv4: the first four bytes */
	bool fragment;			     /* first or later */
	bool later_fragment;
	bool has_ports;
	uint16_t source_port, destination_port;
	uint8_t tcp_flags;
	size_t l3, l4, end; /* offsets in the frame; l4 == 0: there is none */
};

struct strict_options {
	bool gso;	     /* lengths are those of a frame still to be cut */
	bool trust_checksum; /* of the transport */
};

static inline uint32_t pseudo_sum(const struct strict *s, size_t bytes)
{
	size_t address = s->v6 ? 16 : 4;
	uint8_t rest[8] = {};
	uint32_t sum = internet_sum(0, s->source, address);

	sum = internet_sum(sum, s->destination, address);
	put32(rest, (uint32_t)bytes);
	rest[7] = s->protocol;
	return internet_sum(sum, rest, sizeof(rest));
}

static inline const char *strict_sctp(const uint8_t *b, size_t n, bool trust)
{
	size_t at = 12;

	if (n < 16)
		return "SCTP without a chunk";
	if (!get16(b) || !get16(b + 2))
		return "SCTP port 0";
	/* The datapath says so itself: longer ones are not summed. */
	if (!trust && n < 512) {
		uint8_t copy[512];
		uint32_t found = (uint32_t)b[8] | (uint32_t)b[9] << 8 | (uint32_t)b[10] << 16 |
				 (uint32_t)b[11] << 24;

		memcpy(copy, b, n);
		memset(copy + 8, 0, 4);
		if (crc32c(copy, n) != found)
			return "SCTP CRC32c";
	}
	for (int chunk = 0; chunk < 16 && at < n; chunk++) {
		size_t length;

		if (at + 4 > n)
			return "SCTP chunk header cut";
		length = get16(b + at + 2);
		if (length < 4 || at + length > n)
			return "SCTP chunk length";
		at += (length + 3) & ~(size_t)3;
	}
	return NULL;
}

static inline const char *strict_transport(struct strict *s, const uint8_t *b, size_t n,
					   const struct strict_options *how)
{
	bool sum = !s->fragment && !how->trust_checksum;

	switch (s->protocol) {
	case 6: {
		if (n < 20)
			return "TCP header cut";
		if (b[12] >> 4 < 5 || (size_t)(b[12] >> 4) * 4 > n)
			return "TCP data offset";
		s->has_ports = true;
		s->source_port = (uint16_t)get16(b);
		s->destination_port = (uint16_t)get16(b + 2);
		s->tcp_flags = b[13] & 0x3f;
		if (!s->source_port || !s->destination_port)
			return "TCP port 0";
		int kinds = (b[13] & 1) + (b[13] >> 1 & 1) + (b[13] >> 2 & 1); /* FIN, SYN, RST */
		if (kinds > 1)
			return "TCP flags that exclude each other";
		if (!(b[13] & 0x16))
			return "TCP without SYN, RST and ACK";
		if (sum && internet_sum(pseudo_sum(s, n), b, n) != 0xffff)
			return "TCP checksum";
		return NULL;
	}
	case 17: {
		size_t length;

		if (n < 8)
			return "UDP header cut";
		length = get16(b + 4);
		if (length < 8)
			return "UDP length below its header";
		s->has_ports = true;
		s->source_port = (uint16_t)get16(b);
		s->destination_port = (uint16_t)get16(b + 2);
		if (!s->destination_port)
			return "UDP port 0";
		if (!s->fragment && !how->gso && length > n)
			return "UDP length";
		if (how->gso && !s->fragment)
			length = n;
		if (!get16(b + 6))
			return s->v6 ? "UDP without a checksum" : NULL;
		if (sum && internet_sum(pseudo_sum(s, length), b, length) != 0xffff)
			return "UDP checksum";
		return NULL;
	}
	case 1:
	case 58:
		if (n < 8)
			return "ICMP header cut";
		if (sum && internet_sum(s->v6 ? pseudo_sum(s, n) : 0, b, n) != 0xffff)
			return "ICMP checksum";
		return NULL;
	case 132: {
		const char *wrong = strict_sctp(b, n, !sum);

		if (!wrong) {
			s->has_ports = true;
			s->source_port = (uint16_t)get16(b);
			s->destination_port = (uint16_t)get16(b + 2);
		}
		return s->fragment && n >= 16 ? NULL : wrong;
	}
	case 47:
		return n < 4 ? "GRE header cut" : NULL;
	case 50:
		return n < 8 ? "ESP header cut" : NULL;
	case 51:
		return n < 12 ? "AH header cut" : NULL;
	}
	return NULL;
}

static inline const char *strict_ip4(struct strict *s, const uint8_t *b, size_t n,
				     const struct strict_options *how)
{
	size_t header, total, at = 20;
	uint32_t field, offset;

	if (n < 20)
		return "IPv4 header cut";
	header = (size_t)(b[0] & 15) * 4;
	total = get16(b + 2);
	if (total == 0 && how->gso)
		total = n;
	if (b[0] >> 4 != 4)
		return "IPv4 version";
	if (header < 20 || total < header || total > n)
		return "IPv4 lengths";
	if (internet_sum(0, b, header) != 0xffff)
		return "IPv4 header checksum";
	while (at < header && b[at] != 0) {
		if (b[at] == 1) {
			at++;
			continue;
		}
		if (at + 1 >= header || b[at + 1] < 2 || at + b[at + 1] > header)
			return "IPv4 option length";
		at += b[at + 1];
	}
	s->protocol = b[9];
	memcpy(s->source, b + 12, 4);
	memcpy(s->destination, b + 16, 4);
	s->end = s->l3 + total;
	field = get16(b + 6);
	offset = (field & 0x1fff) * 8;
	if (field & 0x2000 && (total - header) % 8)
		return "IPv4 fragment's length";
	if (field & 0x3fff && total == header)
		return "IPv4 fragment of nothing";
	if (offset + total - header > 65535)
		return "IPv4 fragment beyond 64 kB";
	s->fragment = field & 0x3fff;
	s->later_fragment = offset;
	if (s->later_fragment)
		return NULL;
	s->l4 = s->l3 + header;
	return strict_transport(s, b + header, total - header, how);
}

static inline const char *strict_ip6(struct strict *s, const uint8_t *b, size_t n,
				     const struct strict_options *how)
{
	size_t at = 40, end;
	bool seen_fragment = false;
	uint8_t next;

	if (n < 40)
		return "IPv6 header cut";
	end = 40 + get16(b + 4);
	if (b[0] >> 4 != 6)
		return "IPv6 version";
	if (end == 40 && how->gso)
		end = n;
	if (end == 40)
		return "IPv6 without a payload";
	if (end > n)
		return "IPv6 length";
	memcpy(s->source, b + 8, 16);
	memcpy(s->destination, b + 24, 16);
	s->end = s->l3 + end;
	next = b[6];
	for (int i = 0;; i++) {
		if (next == 0 && i != 0)
			return "hop-by-hop options not first";
		if (next == 59)
			return "no next header";
		if (next == 0 || next == 43 || next == 60) {
			size_t length;

			if (at + 8 > end)
				return "IPv6 extension header cut";
			length = ((size_t)b[at + 1] + 1) * 8;
			if (at + length > end)
				return "IPv6 extension header's length";
			if (next == 43 && b[at + 2] == 0)
				return "type 0 routing header";
			next = b[at];
			at += length;
			continue;
		}
		if (next != 44)
			break;
		if (at + 8 > end)
			return "IPv6 fragment header cut";
		if (seen_fragment)
			return "two fragment headers";
		seen_fragment = true;
		uint32_t field = get16(b + at + 2);

		if (field & 1 && (end - at - 8) % 8)
			return "IPv6 fragment's length";
		if ((field & 0xfff8) + (end - at - 8) > 65535)
			return "IPv6 fragment beyond 64 kB";
		if (end == at + 8)
			return "IPv6 fragment of nothing";
		s->fragment = field & 0xfff9;
		s->later_fragment = field & 0xfff8;
		next = b[at];
		at += 8;
		if (s->later_fragment) {
			s->protocol = next;
			return NULL;
		}
	}
	s->protocol = next;
	s->l4 = s->l3 + at;
	return strict_transport(s, b + at, end - at, how);
}

static inline struct strict strict_look(const uint8_t *b, size_t n,
					const struct strict_options *how)
{
	struct strict s = {.l3 = 14};

	if (n < 14) {
		s.wrong = "Ethernet header cut";
		return s;
	}
	s.ethertype = (uint16_t)get16(b + 12);
	if (s.ethertype == 0x8100) {
		if (n < 18) {
			s.wrong = "VLAN tag cut";
			return s;
		}
		s.tagged = true;
		s.vlan = get16(b + 14) & 0xfff;
		s.ethertype = (uint16_t)get16(b + 16);
		s.l3 = 18;
	}
	switch (s.ethertype) {
	case 0x0800:
		s.wrong = strict_ip4(&s, b + s.l3, n - s.l3, how);
		break;
	case 0x86dd:
		s.v6 = true;
		s.wrong = strict_ip6(&s, b + s.l3, n - s.l3, how);
		break;
	case 0x0806:
	case 0x8035:
		if (n - s.l3 < 28)
			s.wrong = "ARP cut";
		else if (memcmp(b + s.l3, "\0\1\x08\0\6\4", 6) != 0)
			s.wrong = "ARP of another kind";
		break;
	default:
		s.wrong =
			s.ethertype < 0x600 ? "802.3 length" : "an EtherType that nothing decides";
	}
	return s;
}

/* ---- Repair --------------------------------------------------------------------------------------------------- */

/* Gives a frame right checksums, as far as it can be read; with `lengths`, right IP and UDP lengths before. */
static inline void frame_repair(uint8_t *b, size_t n, bool lengths)
{
	const struct strict_options how = {.gso = true, .trust_checksum = true};
	size_t l3 = n > 18 && get16(b + 12) == 0x8100 ? 18 : 14;
	struct strict s;
	size_t bytes;
	uint8_t *l4;

	if (n < l3 + 20)
		return;
	if (get16(b + l3 - 2) == 0x0800) {
		size_t header = (size_t)(b[l3] & 15) * 4;

		if (lengths)
			put16(b + l3 + 2, (uint32_t)(n - l3));
		if (header < 20 || l3 + header > n)
			return;
		put16(b + l3 + 10, 0);
		put16(b + l3 + 10, ~internet_sum(0, b + l3, header));
	} else if (get16(b + l3 - 2) == 0x86dd && n >= l3 + 40 && lengths) {
		put16(b + l3 + 4, (uint32_t)(n - l3 - 40));
	}
	s = strict_look(b, n, &how);
	if (!s.l4 || s.fragment || s.l4 + 8 > s.end)
		return;
	l4 = b + s.l4;
	bytes = s.end - s.l4;
	switch (s.protocol) {
	case 6:
		if (bytes < 20)
			return;
		put16(l4 + 16, 0);
		put16(l4 + 16, ~internet_sum(pseudo_sum(&s, bytes), l4, bytes));
		return;
	case 17:
		if (lengths)
			put16(l4 + 4, (uint32_t)bytes);
		if (get16(l4 + 4) < 8 || get16(l4 + 4) > bytes)
			return;
		bytes = get16(l4 + 4);
		put16(l4 + 6, 0);
		put16(l4 + 6, ~internet_sum(pseudo_sum(&s, bytes), l4, bytes));
		if (!get16(l4 + 6))
			put16(l4 + 6, 0xffff);
		return;
	case 1:
	case 58:
		put16(l4 + 2, 0);
		put16(l4 + 2, ~internet_sum(s.v6 ? pseudo_sum(&s, bytes) : 0, l4, bytes));
		return;
	case 132: {
		uint32_t crc;

		if (bytes < 12)
			return;
		memset(l4 + 8, 0, 4);
		crc = crc32c(l4, bytes);
		for (int i = 0; i < 4; i++)
			l4[8 + i] = (uint8_t)(crc >> 8 * i);
		return;
	}
	}
}

/* ---- Building ------------------------------------------------------------------------------------------------- */

struct side {
	uint8_t mac[6];
	uint8_t ip4[4];
	uint8_t ip6[16];
};

struct frame {
	uint8_t bytes[4096];
	size_t len;
	size_t l3;
	size_t next; /* where the number of what follows belongs; 0: nowhere */
};

enum { TH_FIN = 1, TH_SYN = 2, TH_RST = 4, TH_PSH = 8, TH_ACK = 16 };

static inline uint8_t *frame_add(struct frame *f, const void *bytes, size_t nr)
{
	uint8_t *at = f->bytes + f->len;

	if (f->len + nr > sizeof(f->bytes))
		return f->bytes;
	if (bytes)
		memcpy(at, bytes, nr);
	else
		memset(at, 0, nr);
	f->len += nr;
	return at;
}

static inline struct frame frame_ethernet(const struct side *from, const struct side *to,
					  uint16_t ethertype)
{
	struct frame f = {.l3 = 14};

	frame_add(&f, to->mac, 6);
	frame_add(&f, from->mac, 6);
	put16(frame_add(&f, NULL, 2), ethertype);
	return f;
}

static inline struct frame frame_ip(const struct side *from, const struct side *to, bool v6,
				    uint8_t protocol)
{
	struct frame f = frame_ethernet(from, to, v6 ? 0x86dd : 0x0800);
	uint8_t *ip = frame_add(&f, NULL, v6 ? 40 : 20);

	if (v6) {
		ip[0] = 0x60;
		ip[6] = protocol;
		ip[7] = 64;
		memcpy(ip + 8, from->ip6, 16);
		memcpy(ip + 24, to->ip6, 16);
		f.next = f.l3 + 6;
	} else {
		ip[0] = 0x45;
		ip[8] = 64;
		ip[9] = protocol;
		memcpy(ip + 12, from->ip4, 4);
		memcpy(ip + 16, to->ip4, 4);
		f.next = f.l3 + 9;
	}
	return f;
}

/* An IPv6 extension header of 8 * words bytes between what is there and the protocol. */
static inline uint8_t *frame_extension(struct frame *f, uint8_t kind, size_t words)
{
	uint8_t protocol = f->bytes[f->next], *header = frame_add(f, NULL, 8 * words);

	f->bytes[f->next] = kind;
	header[0] = protocol;
	if (kind != 44) {
		header[1] = (uint8_t)(words - 1);
		if (kind != 43) { /* PadN over all of it */
			header[2] = 1;
			header[3] = (uint8_t)(8 * words - 4);
		} else {
			header[2] = 4; /* segment routing: no segments left */
		}
	}
	f->next = (size_t)(header - f->bytes);
	return header;
}

static inline void frame_options4(struct frame *f, const uint8_t *options, size_t nr)
{
	frame_add(f, options, nr);
	f->bytes[f->l3] = (uint8_t)(0x45 + nr / 4);
}

struct tcp_fields {
	uint16_t source, destination;
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t window;
	const uint8_t *options;
	size_t option_bytes; /* a multiple of 4 */
	size_t bytes;	     /* of payload */
};

static inline void frame_tcp(struct frame *f, const struct tcp_fields *tcp)
{
	uint8_t *h = frame_add(f, NULL, 20);

	put16(h, tcp->source);
	put16(h + 2, tcp->destination);
	put32(h + 4, tcp->seq);
	put32(h + 8, tcp->ack);
	h[12] = (uint8_t)((5 + tcp->option_bytes / 4) << 4);
	h[13] = tcp->flags;
	put16(h + 14, tcp->window);
	frame_add(f, tcp->options, tcp->option_bytes);
	memset(frame_add(f, NULL, tcp->bytes), 'd', tcp->bytes);
}

static inline void frame_udp(struct frame *f, uint16_t source, uint16_t destination, size_t bytes)
{
	uint8_t *h = frame_add(f, NULL, 8 + bytes);

	put16(h, source);
	put16(h + 2, destination);
	put16(h + 4, (uint32_t)(8 + bytes));
}

static inline void frame_icmp(struct frame *f, uint8_t type, uint8_t code, uint32_t rest,
			      size_t bytes)
{
	uint8_t *h = frame_add(f, NULL, 8 + bytes);

	h[0] = type;
	h[1] = code;
	put32(h + 4, rest);
}

static inline void frame_sctp(struct frame *f, uint16_t source, uint16_t destination, uint32_t tag)
{
	uint8_t *h = frame_add(f, NULL, 12);

	put16(h, source);
	put16(h + 2, destination);
	put32(h + 4, tag);
}

/* `value` NULL: zeroes. */
static inline void frame_chunk(struct frame *f, uint8_t type, uint8_t flags, const void *value,
			       size_t nr)
{
	uint8_t *h = frame_add(f, NULL, 4);

	h[0] = type;
	h[1] = flags;
	put16(h + 2, (uint32_t)(4 + nr));
	frame_add(f, value, nr);
	frame_add(f, NULL, -nr & 3);
}

static inline void frame_arp(struct frame *f, uint16_t operation, const uint8_t *sender_mac,
			     const uint8_t *sender_ip, const uint8_t *target_mac,
			     const uint8_t *target_ip)
{
	static const uint8_t head[] = {0, 1, 8, 0, 6, 4};

	frame_add(f, head, sizeof(head));
	put16(frame_add(f, NULL, 2), operation);
	frame_add(f, sender_mac, 6);
	frame_add(f, sender_ip, 4);
	frame_add(f, target_mac, 6);
	frame_add(f, target_ip, 4);
}

static inline void frame_done(struct frame *f)
{
	frame_repair(f->bytes, f->len, true);
}

/* A tag behind the addresses. */
static inline void frame_tag(struct frame *f, uint16_t tpid, uint16_t tci)
{
	memmove(f->bytes + 16, f->bytes + 12, f->len - 12);
	put16(f->bytes + 12, tpid);
	put16(f->bytes + 14, tci);
	f->len += 4;
	f->l3 += 4;
}

/* Bytes begin .. begin + nr of the IP payload of `whole` as a fragment; IPv4 without options, IPv6 without extensions. */
static inline struct frame frame_fragment(const struct frame *whole, size_t begin, size_t nr,
					  bool more, uint32_t id)
{
	bool v6 = whole->bytes[whole->l3] >> 4 == 6;
	size_t header = v6 ? 40 : 20;
	struct frame f = {.l3 = whole->l3};

	frame_add(&f, whole->bytes, whole->l3 + header);
	if (v6) {
		f.next = f.l3 + 6;
		uint8_t *h = frame_extension(&f, 44, 1);

		put16(h + 2, (uint32_t)begin | more);
		put32(h + 4, id);
	} else {
		put16(f.bytes + f.l3 + 4, id);
		put16(f.bytes + f.l3 + 6, (uint32_t)(begin / 8) | (more ? 0x2000 : 0));
	}
	frame_add(&f, whole->bytes + whole->l3 + header + begin, nr);
	frame_done(&f);
	return f;
}

/* An ICMP error of `type` and `code` about `about`, from `from`. */
static inline struct frame frame_error(const struct side *from, const struct side *to, uint8_t type,
				       uint8_t code, uint32_t rest, const struct frame *about)
{
	bool v6 = about->bytes[about->l3] >> 4 == 6;
	struct frame f = frame_ip(from, to, v6, v6 ? 58 : 1);
	size_t quoted = about->len - about->l3;

	frame_icmp(&f, type, code, rest, 0);
	frame_add(&f, about->bytes + about->l3, quoted < 400 ? quoted : 400);
	frame_done(&f);
	return f;
}

#endif
