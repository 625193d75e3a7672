/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_ADDRESS_CLASSES_H
#define POLICY_ADDRESS_CLASSES_H

/* From sets of prefixes to classes of addresses: a class for each combination of sets that some address is in. */

#include "arena.h"
#include "policy.h"

/* "This prefix is in this set." */
struct prefix_entry {
	uint64_t high; /* of the address, so that whole words compare in its order */
	uint64_t low;
	uint32_t bits; /* of 128 */
	uint32_t set;
};

struct prefix_entries {
	struct prefix_entry *items;
	size_t nr;
	size_t room;
};

/* Lists of numbers, one behind the other: list i is items[begin[i]] to items[begin[i + 1]]. */
struct number_lists {
	uint32_t *begin;
	uint32_t *items;
};

struct address_classes {
	uint32_t nr;
	struct number_lists sets_of;	/* by class */
	struct number_lists classes_of; /* by set */
};

struct prefix_entry prefix_entry(const struct dfw_addr *address, uint32_t bits, uint32_t set);

/* Fills in exact, prefixes and nr_address_classes of `compiled`, and *classes, which lies in the arena. Sorts the
 * entries. Returns 0 or -ENOMEM. */
int address_classes_build(struct arena *arena, struct prefix_entries *entries, uint32_t nr_sets,
			  struct compiled *compiled, struct address_classes *classes);

#endif
