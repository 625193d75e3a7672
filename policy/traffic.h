/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_TRAFFIC_H
#define POLICY_TRAFFIC_H

/* From the items of services to values of the datapath's l4_classes. Functions return 0, -ENOMEM, or -EDOM: the
 * destination and source ports of a protocol are not every pair of two lists (tcp 80 and tcp 443 from-port 53), which
 * the two dimensions of a rule set cannot say in one rule. */

#include "model.h"

/* Sorts, and joins what overlaps or touches. */
void range_list_normalise(struct range_list *list);

/* Adds what an item means; of a named service, what that means. */
int traffic_add(struct arena *arena, struct traffic *traffic, const struct service_item *item);

/* Fills in `values` and `sources`; after the last item. */
int traffic_finish(struct arena *arena, struct traffic *traffic);

#endif
