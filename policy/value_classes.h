/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_VALUE_CLASSES_H
#define POLICY_VALUE_CLASSES_H

/*
 * From sets of values of l4_classes to their classes. Sets are lists of ranges; where one begins or ends, the class
 * changes. The sets of each class are not listed, since long ranges that overlap would make that quadratic: whoever
 * wants to know them walks the steps in order and keeps count.
 */

#include "model.h"
#include "policy.h"

struct value_set {
	const struct range_list *ranges; /* sorted, neither overlapping nor touching */
};

struct value_sets {
	struct value_set *items;
	size_t nr;
	size_t room;
};

struct value_event {
	uint32_t value;
	uint32_t set;
	bool begins;
};

/* From this value to the next step's all values are of one class. */
struct value_step {
	uint32_t value;
	uint32_t class;
	bool first;	    /* of this class */
	size_t first_event; /* what changes here */
	size_t nr_events;
};

struct value_classes {
	uint32_t nr;
	struct value_event *events;
	struct value_step *steps;
	size_t nr_steps;
};

/* Lies in the arena; enters the classes in `l4`, which is all zeroes where these sets have values. Returns 0 or -ENOMEM. */
int value_classes_build(struct arena *arena, const struct value_sets *sets, struct dfw_l4_block *l4,
			struct value_classes *classes);

/* Goes on with `hash`: the same for the same classes of the same values. */
uint64_t value_classes_hash(const struct value_classes *classes, uint64_t hash);

#endif
