// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "rulegen.h"
#include "util.h"

void rulegen_seed(struct rulegen *generator, uint64_t seed)
{
	/* 0 is the one state that xorshift never leaves. */
	generator->state = seed * 0x9e3779b97f4a7c15ULL | 1;
}

uint32_t rulegen_below(struct rulegen *generator, uint32_t limit)
{
	/* xorshift64* (Vigna 2016) */
	generator->state ^= generator->state >> 12;
	generator->state ^= generator->state << 25;
	generator->state ^= generator->state >> 27;
	return (uint32_t)((generator->state * 0x2545f4914f6cdd1dULL) >> 32) % limit;
}

static bool chance(struct rulegen *generator, uint32_t percent)
{
	return rulegen_below(generator, 100) < percent;
}

static uint32_t random_word(struct rulegen *generator)
{
	return rulegen_below(generator, 1U << 16) << 16 | rulegen_below(generator, 1U << 16);
}

static void set_v4(struct dfw_addr *addr, uint32_t word)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	word = htonl(word);
	memcpy(addr->bytes, mapped, sizeof(mapped));
	memcpy(addr->bytes + 12, &word, sizeof(word));
}

static uint32_t get_v4(const struct dfw_addr *addr)
{
	uint32_t word;

	memcpy(&word, addr->bytes + 12, sizeof(word));
	return ntohl(word);
}

/* How often, in percent, each kind of field is what. */
static const struct shape {
	uint32_t any_source; /* 0.0.0.0/0 */
	uint32_t any_destination;
	uint32_t host; /* of the others: a full address */
	uint32_t any_protocol;
	uint32_t tcp;	      /* of the others; the rest are UDP and a few ICMP */
	uint32_t source_port; /* given at all */
	uint32_t exact_port;  /* of the destination ports: one port, the others are ranges */
	uint32_t networks;    /* addresses of a rule set lie in this many /16, in rules for each */
} shapes[] = {
	[RULEGEN_ACL] = {1, 3, 55, 8, 85, 0, 75, 60},
	[RULEGEN_FW] = {12, 10, 35, 3, 60, 25, 60, 40},
	[RULEGEN_IPC] = {3, 3, 45, 30, 55, 15, 70, 50},
};

static void random_prefix(struct rulegen *generator, const struct shape *shape, size_t nr,
			  uint32_t percent_any, struct dfw_addr *addr, uint32_t *bits)
{
	static const uint8_t lengths[] = {8,  14, 16, 16, 18, 20, 21, 22, 23, 24,
					  24, 24, 25, 26, 27, 28, 28, 29, 30, 31};
	uint32_t networks = (uint32_t)(nr / shape->networks) + 1;
	/* The n-th network is always the same, so that prefixes nest. */
	uint32_t network = (10 + rulegen_below(generator, networks) * 7919U) * 2654435761U;
	uint32_t word = (network & 0xffff0000U) | rulegen_below(generator, 1U << 16);
	uint32_t length = lengths[rulegen_below(generator, ARRAY_SIZE(lengths))];

	if (chance(generator, percent_any))
		length = 0;
	else if (chance(generator, shape->host))
		length = 32;
	/* Subnets cluster: few of the bits between /16 and /24 are used. */
	if (chance(generator, 70))
		word &= 0xffff03ffU;
	*bits = DFW_V4_PREFIX_BITS + length;
	set_v4(addr, word);
	addr_mask(addr, *bits);
}

static void random_ports(struct rulegen *generator, uint32_t percent_exact, uint16_t *low,
			 uint16_t *high)
{
	static const uint16_t known[] = {20,   21,   22,   23,	 25,   53,   67,   80,
					 110,  123,  135,  137,	 139,  143,  161,  389,
					 443,  445,  514,  993,	 1433, 1521, 1723, 3306,
					 3389, 5060, 5432, 6789, 8080, 8443};
	uint32_t from, length;

	if (chance(generator, percent_exact)) {
		*low = chance(generator, 60) ? known[rulegen_below(generator, ARRAY_SIZE(known))]
					     : (uint16_t)rulegen_below(generator, 65536);
		*high = *low;
	} else if (chance(generator, 60)) {
		*low = 1024;
		*high = 65535;
	} else {
		from = rulegen_below(generator, 65000);
		length = 1 + rulegen_below(generator, 500);
		*low = (uint16_t)from;
		*high = (uint16_t)(from + length);
	}
}

void rulegen_make(struct rulegen *generator, enum rulegen_kind kind, struct rulegen_rule *rules,
		  size_t nr)
{
	const struct shape *shape = &shapes[kind];

	for (size_t i = 0; i < nr; i++) {
		struct rulegen_rule *rule = &rules[i];

		*rule = (struct rulegen_rule){.source_high = 65535, .destination_high = 65535};
		random_prefix(generator, shape, nr, shape->any_source, &rule->source,
			      &rule->source_bits);
		random_prefix(generator, shape, nr, shape->any_destination, &rule->destination,
			      &rule->destination_bits);
		rule->any_protocol = chance(generator, shape->any_protocol);
		if (rule->any_protocol)
			continue;
		rule->protocol = chance(generator, shape->tcp) ? IPPROTO_TCP
				 : chance(generator, 90)       ? IPPROTO_UDP
							       : IPPROTO_ICMP;
		if (rule->protocol == IPPROTO_ICMP)
			continue;
		if (chance(generator, 90))
			random_ports(generator, shape->exact_port, &rule->destination_low,
				     &rule->destination_high);
		if (chance(generator, shape->source_port))
			random_ports(generator, shape->exact_port, &rule->source_low,
				     &rule->source_high);
	}
}

/* In the prefix, at one of its ends, or just outside. */
static void edge_address(struct rulegen *generator, const struct dfw_addr *prefix, uint32_t bits,
			 struct dfw_addr *addr)
{
	uint32_t length = bits - DFW_V4_PREFIX_BITS;
	uint32_t first = get_v4(prefix);
	uint32_t last = first | (length ? (uint32_t)((1ULL << (32 - length)) - 1) : UINT32_MAX);
	const uint32_t choices[] = {
		first,
		last,
		first + (random_word(generator) & (last - first)),
		first + (random_word(generator) & (last - first)),
		first - 1,
		last + 1,
	};

	set_v4(addr, choices[rulegen_below(generator, ARRAY_SIZE(choices))]);
}

static uint16_t edge_port(struct rulegen *generator, uint16_t low, uint16_t high)
{
	const uint32_t choices[] = {
		low,
		high,
		low + rulegen_below(generator, (uint32_t)(high - low) + 1),
		low + rulegen_below(generator, (uint32_t)(high - low) + 1),
		low - 1U,
		high + 1U,
	};

	return (uint16_t)choices[rulegen_below(generator, ARRAY_SIZE(choices))];
}

void rulegen_packet(struct rulegen *generator, const struct rulegen_rule *rules, size_t nr,
		    struct rulegen_packet *packet)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_GRE};
	const struct rulegen_rule *rule;

	packet->protocol = protocols[rulegen_below(generator, ARRAY_SIZE(protocols))];
	packet->source_port = (uint16_t)rulegen_below(generator, 65536);
	packet->destination_port = (uint16_t)rulegen_below(generator, 65536);
	set_v4(&packet->source, random_word(generator));
	set_v4(&packet->destination, random_word(generator));
	if (nr == 0 || chance(generator, 10))
		return;
	rule = &rules[rulegen_below(generator, (uint32_t)nr)];
	edge_address(generator, &rule->source, rule->source_bits, &packet->source);
	if (!rule->any_protocol)
		packet->protocol = rule->protocol;
	packet->source_port = edge_port(generator, rule->source_low, rule->source_high);
	/* Now and then the other half of another rule. */
	if (chance(generator, 20))
		rule = &rules[rulegen_below(generator, (uint32_t)nr)];
	edge_address(generator, &rule->destination, rule->destination_bits, &packet->destination);
	packet->destination_port =
		edge_port(generator, rule->destination_low, rule->destination_high);
}

static bool in_prefix(const struct dfw_addr *prefix, uint32_t bits, const struct dfw_addr *addr)
{
	uint32_t length = bits - DFW_V4_PREFIX_BITS;

	return length == 0 || (get_v4(prefix) ^ get_v4(addr)) >> (32 - length) == 0;
}

static bool has_ports(uint8_t protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

size_t rulegen_scan(const struct rulegen_rule *rules, size_t nr,
		    const struct rulegen_packet *packet)
{
	for (size_t i = 0; i < nr; i++) {
		const struct rulegen_rule *rule = &rules[i];

		if (!in_prefix(&rule->source, rule->source_bits, &packet->source) ||
		    !in_prefix(&rule->destination, rule->destination_bits, &packet->destination))
			continue;
		if (rule->any_protocol)
			return i;
		if (rule->protocol != packet->protocol)
			continue;
		if (!has_ports(rule->protocol) ||
		    (packet->source_port >= rule->source_low &&
		     packet->source_port <= rule->source_high &&
		     packet->destination_port >= rule->destination_low &&
		     packet->destination_port <= rule->destination_high))
			return i;
	}
	return nr;
}

/* A line of a ClassBench file. The flags at its end are no business of a stateful firewall. */
static int read_line(const char *line, struct rulegen_rule *rule)
{
	unsigned int source[5], destination[5], ports[4], protocol, mask;
	uint32_t words[2];

	if (sscanf(line, "@%u.%u.%u.%u/%u %u.%u.%u.%u/%u %u : %u %u : %u %x/%x", &source[0],
		   &source[1], &source[2], &source[3], &source[4], &destination[0], &destination[1],
		   &destination[2], &destination[3], &destination[4], &ports[0], &ports[1],
		   &ports[2], &ports[3], &protocol, &mask) != 16)
		return -EBADMSG;
	words[0] = source[0] << 24 | source[1] << 16 | source[2] << 8 | source[3];
	words[1] =
		destination[0] << 24 | destination[1] << 16 | destination[2] << 8 | destination[3];
	set_v4(&rule->source, words[0]);
	set_v4(&rule->destination, words[1]);
	rule->source_bits = DFW_V4_PREFIX_BITS + source[4];
	rule->destination_bits = DFW_V4_PREFIX_BITS + destination[4];
	addr_mask(&rule->source, rule->source_bits);
	addr_mask(&rule->destination, rule->destination_bits);
	rule->source_low = (uint16_t)ports[0];
	rule->source_high = (uint16_t)ports[1];
	rule->destination_low = (uint16_t)ports[2];
	rule->destination_high = (uint16_t)ports[3];
	rule->protocol = (uint8_t)protocol;
	rule->any_protocol = mask == 0;
	return 0;
}

int rulegen_read(const char *path, struct rulegen_rule **rules, size_t *nr)
{
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ struct rulegen_rule *list = NULL;
	struct rulegen_rule *moved;
	size_t room = 0, used = 0;
	char line[256];
	int r;

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		if (used == room) {
			room = room ? 2 * room : 1024;
			moved = realloc(list, room * sizeof(*list));
			if (!moved)
				return -ENOMEM;
			list = moved;
		}
		r = read_line(line, &list[used]);
		if (r < 0)
			return r;
		used++;
	}
	*rules = TAKE_PTR(list);
	*nr = used;
	return 0;
}

static void write_ports(FILE *out, const char *word, uint16_t low, uint16_t high)
{
	if (low == 0 && high == 65535)
		return;
	fprintf(out, "%s %u", word, low);
	if (high != low)
		fprintf(out, "-%u", high);
}

int rulegen_text(const struct rulegen_rule *rules, size_t nr, char **text)
{
	char source[PREFIX_TEXT_LEN], destination[PREFIX_TEXT_LEN], *buffer = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&buffer, &bytes);

	if (!out)
		return -ENOMEM;
	fputs("tier bench {\n", out);
	for (size_t i = 0; i < nr; i++) {
		const struct rulegen_rule *rule = &rules[i];

		fprintf(out, "\tr%zu: %s in from %s to %s", i, i % 2 ? "drop" : "allow",
			prefix_format(&rule->source, rule->source_bits, source),
			prefix_format(&rule->destination, rule->destination_bits, destination));
		if (!rule->any_protocol && has_ports(rule->protocol)) {
			fprintf(out, " service %s", rule->protocol == IPPROTO_TCP ? "tcp" : "udp");
			write_ports(out, "", rule->destination_low, rule->destination_high);
			write_ports(out, " from-port", rule->source_low, rule->source_high);
		} else if (!rule->any_protocol) {
			fprintf(out, " service protocol %u", rule->protocol);
		}
		fputc('\n', out);
	}
	fputs("}\n", out);
	if (fclose(out) != 0) {
		free(buffer);
		return -ENOMEM;
	}
	*text = buffer;
	return 0;
}
