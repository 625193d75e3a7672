/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_V4_TREE_H
#define POLICY_V4_TREE_H

/* The tree of nodes that the datapath looks IPv4 prefixes up in, addr_prefix4 of <dfw/ruleset.h>: made from the prefixes
 * of an address space, and changed entry by entry. */

#include "address_space.h"
#include "policy.h"

struct v4_tree {
	struct dfw_v4_node *nodes; /* malloc'd */
	size_t nr;
	size_t room;
	bool closed; /* `room` is all there is */
};

/* Functions return 0, -ENOMEM, or -ENOSPC where a closed tree has no room. */

int v4_tree_build(struct v4_tree *tree, const struct address_space *space);
/* Leaves room for `spare` nodes more, zeroed, and no others. */
int v4_tree_close(struct v4_tree *tree, size_t spare);

/* The prefix (of 128 bits) has another class, and so may those in it. *changes gets the entries to be written. */
int v4_tree_change(struct v4_tree *tree, const struct address_space *space,
		   const struct dfw_addr *address, uint32_t bits, struct v4_changes *changes);

uint32_t v4_tree_class(const struct v4_tree *tree, const struct dfw_addr *address);

#endif
