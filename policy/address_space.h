/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_ADDRESS_SPACE_H
#define POLICY_ADDRESS_SPACE_H

/*
 * Which prefixes are in which sets, and the classes that follow: one for each combination of sets that some address is
 * in. Two binary tries, one for each family (0.0.0.0/0 is all of IPv4 and ::/0 all of IPv6, though v4-mapped addresses
 * lie within ::/0), whose class of a prefix is that of its own sets and of those of all prefixes around it.
 *
 * A prefix that a set names has an element in the tables, also when that says no more than the one around it: so an outer
 * one can leave a set without its inner ones having to appear. Classes are numbered as they come and never renumbered,
 * so what an element says stays true while others come and go.
 *
 * An element is what the datapath looks up: of a whole address, of an IPv6 prefix, or, by way of v4_tree.h, of an IPv4
 * prefix.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dfw/types.h>

#include "arena.h"
#include "policy.h"
#include "table.h"

struct address_class {
	uint32_t id;
	uint32_t nr;
	uint32_t sets[]; /* sorted */
};

struct address_node;

struct address_space {
	struct arena arena; /* of the classes */
	struct table by_sets;
	struct table by_step; /* class of the enclosing prefix, own sets -> class */
	struct {
		struct address_class **items;
		size_t nr;
		size_t room;
	} classes;
	size_t most_classes;
	struct address_node *families[2]; /* IPv6, IPv4 */
	size_t nr_exact;		  /* elements of whole addresses ... */
	size_t nr_prefixes;		  /* ... and of others */
	size_t most_exact;
	size_t most_prefixes;
	/* Addresses whose last set went: their element stays until address_space_bury(). May name one that came back. */
	struct {
		struct dfw_addr *items;
		size_t nr;
		size_t room;
	} graves;
	uint32_t *step; /* scratch */
	size_t step_room;
};

/* Sets that a prefix joins and leaves, at once. */
struct set_changes {
	const uint32_t *join;
	size_t nr_join;
	const uint32_t *leave;
	size_t nr_leave;
};

/* All below return 0, -ENOMEM, or -ENOSPC when one of the most_* is reached; then the space is good for nothing more. */

int address_space_init(struct address_space *space);
void address_space_free(struct address_space *space);

/* Before address_space_classify(): enters a prefix; twice in a set counts twice. */
int address_space_add(struct address_space *space, const struct dfw_addr *address, uint32_t bits,
		      uint32_t set);
/* Gives every prefix its class. */
int address_space_classify(struct address_space *space);

/* Behind it: one prefix joins and leaves sets; *changes gets what that means for the elements of addresses and of IPv6
 * prefixes. */
int address_space_change(struct address_space *space, const struct dfw_addr *address, uint32_t bits,
			 const struct set_changes *sets, struct address_changes *changes);

/* Takes away the elements of up to `most` addresses that are in no set. */
int address_space_bury(struct address_space *space, size_t most, struct address_changes *changes);

/* Notes that the address is somebody's own, or not any more. */
int address_space_own(struct address_space *space, const struct dfw_addr *address, bool owned);
bool address_space_owned(const struct address_space *space, const struct dfw_addr *address);

/* The class of the innermost prefix, of its family, that holds the address; 0: none. */
uint32_t address_space_class(const struct address_space *space, const struct dfw_addr *address);

/* Whether the address has an element of its own. */
bool address_space_exact(const struct address_space *space, const struct dfw_addr *address,
			 uint32_t *class);

typedef int address_space_visit(void *data, const struct dfw_addr *address, uint32_t bits,
				uint32_t class);

/* Calls `each` for every element until it returns an error: IPv6 first, each family sorted, outer prefixes first. */
int address_space_each(const struct address_space *space, address_space_visit *each, void *data);
/* The same for those in the prefix, itself left out; *class is that of the innermost one around it, or its own. */
int address_space_within(const struct address_space *space, const struct dfw_addr *address,
			 uint32_t bits, address_space_visit *each, void *data, uint32_t *class);

#endif
