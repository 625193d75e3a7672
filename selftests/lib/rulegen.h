/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTESTS_RULEGEN_H
#define SELFTESTS_RULEGEN_H

/*
 * Five-tuple rules of the shape of ClassBench's (Taylor, Turner, "ClassBench: A Packet Classification Benchmark", 2004),
 * made by a generator of our own or read from a file in ClassBench's format; packets that lie on their edges; the linear
 * scan that says which rule must match; the rules as a policy. Seeded: the same seed makes the same rules.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dfw/types.h>

struct rulegen_rule {
	struct dfw_addr source;
	struct dfw_addr destination;
	uint32_t source_bits; /* of 128 */
	uint32_t destination_bits;
	uint16_t source_low; /* ports, host byte order; of TCP and UDP only */
	uint16_t source_high;
	uint16_t destination_low;
	uint16_t destination_high;
	uint8_t protocol;
	bool any_protocol; /* then any port, too */
};

struct rulegen_packet {
	struct dfw_addr source;
	struct dfw_addr destination;
	uint16_t source_port;
	uint16_t destination_port;
	uint8_t protocol;
};

enum rulegen_kind {
	RULEGEN_ACL, /* access list: long prefixes, few wildcards, destination ports */
	RULEGEN_FW,  /* firewall: many wildcards, port ranges on both sides */
	RULEGEN_IPC, /* chain: between both */
};

struct rulegen {
	uint64_t state;
};

void rulegen_seed(struct rulegen *generator, uint64_t seed);
uint32_t rulegen_below(struct rulegen *generator, uint32_t limit);

void rulegen_make(struct rulegen *generator, enum rulegen_kind kind, struct rulegen_rule *rules,
		  size_t nr);

/* A packet on the edges of some rules, or (one in ten) anywhere. */
void rulegen_packet(struct rulegen *generator, const struct rulegen_rule *rules, size_t nr,
		    struct rulegen_packet *packet);

/* Index of the first rule that matches, `nr` if none does. */
size_t rulegen_scan(const struct rulegen_rule *rules, size_t nr,
		    const struct rulegen_packet *packet);

/* Reads a ClassBench file; *rules is malloc'd. Returns 0 or a negative errno, -EBADMSG for a line that is no rule. */
int rulegen_read(const char *path, struct rulegen_rule **rules, size_t *nr);

/* A policy of one tier "bench" with the rules "r0", "r1", ... in order, by turns allow and drop, all of them for `in`.
 * *text is malloc'd. Returns 0 or -ENOMEM. */
int rulegen_text(const struct rulegen_rule *rules, size_t nr, char **text);

#endif
