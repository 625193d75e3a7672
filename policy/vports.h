/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_VPORTS_H
#define POLICY_VPORTS_H

/* Which ports a group, a pattern or a tag expression means: bitmaps over the list of ports given to policy_compile. */

#include "model.h"
#include "policy.h"
#include "table.h"

struct vports {
	struct arena *arena;
	const struct policy_port *ports;
	size_t nr;
	size_t words;	       /* of a bitmap */
	struct table by_name;  /* name -> policy_port */
	struct table by_tag;   /* "key" and "key=value" -> port_list */
	struct table patterns; /* pattern -> bitmap */
	uint64_t **groups;     /* by group index: bitmap, NULL: not asked for yet */
};

/* Returns 0, -ENOMEM, or -EEXIST with *again: the index of a port whose name another has. */
int vports_init(struct vports *vports, struct arena *arena, const struct policy *policy,
		const struct policy_port *ports, size_t nr, size_t *again);

/* The ports an operand of kind any-vport, vport, tag or group means. NULL: no memory. */
const uint64_t *vports_of(struct vports *vports, const struct operand *operand);

/* Whether an operand of kind any-vport, vport, tag or group means one port, without a list of ports. Groups are asked
 * once: `known` is 0 for each at first. */
struct vport_question {
	const struct policy_port *port;
	unsigned char *known; /* by group index */
};

bool vport_meant(const struct vport_question *question, const struct operand *operand);

static inline bool bitmap_test(const uint64_t *bits, size_t index)
{
	return bits[index / 64] >> (index % 64) & 1;
}

static inline void bitmap_set(uint64_t *bits, size_t index)
{
	bits[index / 64] |= 1ULL << (index % 64);
}

static inline void bitmap_clear(uint64_t *bits, size_t index)
{
	bits[index / 64] &= ~(1ULL << (index % 64));
}

#endif
