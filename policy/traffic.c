// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <dfw/ruleset.h>

#include "traffic.h"
#include "util.h"

static const struct {
	uint8_t protocol;
	uint32_t destination_base;
	uint32_t source_base;
} port_protocols[PORT_PROTOCOLS] = {
	[PORTS_TCP] = {IPPROTO_TCP, DFW_L4_TCP, DFW_L4_SOURCE_TCP},
	[PORTS_UDP] = {IPPROTO_UDP, DFW_L4_UDP, DFW_L4_SOURCE_UDP},
	[PORTS_SCTP] = {IPPROTO_SCTP, DFW_L4_SCTP, DFW_L4_SOURCE_SCTP},
};

static struct range all_values = {0, 65535};
static const struct range_list all = {.items = &all_values, .nr = 1};

static int compare_ranges(const void *a, const void *b)
{
	const struct range *left = a, *right = b;

	return (left->low > right->low) - (left->low < right->low);
}

void range_list_normalise(struct range_list *list)
{
	size_t nr = 0;

	if (list->nr > 1)
		qsort(list->items, list->nr, sizeof(*list->items), compare_ranges);
	for (size_t i = 0; i < list->nr; i++) {
		struct range *last = nr ? &list->items[nr - 1] : NULL;

		if (last && list->items[i].low <= last->high + 1) {
			if (last->high < list->items[i].high)
				last->high = list->items[i].high;
		} else {
			list->items[nr++] = list->items[i];
		}
	}
	list->nr = nr;
}

static int append(struct arena *arena, struct range_list *list, const struct range_list *more,
		  uint32_t base)
{
	for (size_t i = 0; i < more->nr; i++) {
		struct range *range = list_push(arena, list);

		if (!range)
			return -ENOMEM;
		range->low = base + more->items[i].low;
		range->high = base + more->items[i].high;
	}
	return 0;
}

static bool equal(struct range_list *a, bool *unsorted, const struct range_list *b)
{
	if (*unsorted)
		range_list_normalise(a);
	*unsorted = false;
	return a->nr == b->nr && memcmp(a->items, b->items, a->nr * sizeof(*a->items)) == 0;
}

/* Two rectangles make one when they share a side. The side that is sorted already is compared first, so that a long list
 * of items costs one sort and not one for each of them. */
static int add_ports(struct arena *arena, struct port_pairs *pairs,
		     const struct range_list *destinations, const struct range_list *sources)
{
	int r;

	if (!pairs->given) {
		pairs->given = true;
		r = append(arena, &pairs->destinations, destinations, 0);
		return r < 0 ? r : append(arena, &pairs->sources, sources, 0);
	}
	for (int pass = 0; pass < 2; pass++) {
		if ((pass || !pairs->unsorted_sources) &&
		    equal(&pairs->sources, &pairs->unsorted_sources, sources)) {
			pairs->unsorted_destinations = true;
			return append(arena, &pairs->destinations, destinations, 0);
		}
		if ((pass || !pairs->unsorted_destinations) &&
		    equal(&pairs->destinations, &pairs->unsorted_destinations, destinations)) {
			pairs->unsorted_sources = true;
			return append(arena, &pairs->sources, sources, 0);
		}
	}
	return -EDOM;
}

static int add_service(struct arena *arena, struct traffic *traffic, const struct traffic *more)
{
	int r = append(arena, &traffic->others, &more->others, 0);

	traffic->any |= more->any;
	for (size_t i = 0; r == 0 && i < PORT_PROTOCOLS; i++)
		if (more->ports[i].given)
			r = add_ports(arena, &traffic->ports[i], &more->ports[i].destinations,
				      &more->ports[i].sources);
	return r;
}

/* A sorted copy, so that lists that mean the same are equal; an empty one means all. */
static int sorted(struct arena *arena, const struct range_list *list, struct range_list *copy)
{
	int r;

	if (list->nr == 0) {
		*copy = all;
		return 0;
	}
	r = append(arena, copy, list, 0);
	range_list_normalise(copy);
	return r;
}

int traffic_add(struct arena *arena, struct traffic *traffic, const struct service_item *item)
{
	struct range_list destinations = {0}, sources = {0};
	struct range number = {item->protocol, item->protocol};
	const struct range_list other = {.items = &number, .nr = 1};
	int r;

	switch (item->kind) {
	case ITEM_ANY:
		traffic->any = true;
		return 0;
	case ITEM_SERVICE:
		return add_service(arena, traffic, &item->service->traffic);
	case ITEM_PROTOCOL:
		break;
	}

	r = sorted(arena, &item->destinations, &destinations);
	if (r == 0)
		r = sorted(arena, &item->sources, &sources);
	if (r < 0)
		return r;
	if (item->protocol == IPPROTO_ICMP)
		return append(arena, &traffic->others, &destinations, DFW_L4_ICMP);
	if (item->protocol == IPPROTO_ICMPV6)
		return append(arena, &traffic->others, &destinations, DFW_L4_ICMP6);
	for (size_t i = 0; i < PORT_PROTOCOLS; i++)
		if (item->protocol == port_protocols[i].protocol)
			return add_ports(arena, &traffic->ports[i], &destinations, &sources);
	return append(arena, &traffic->others, &other, DFW_L4_OTHER);
}

int traffic_finish(struct arena *arena, struct traffic *traffic)
{
	bool constrained = false;
	int r;

	for (size_t i = 0; i < PORT_PROTOCOLS; i++) {
		struct port_pairs *pairs = &traffic->ports[i];

		if (!pairs->given)
			continue;
		range_list_normalise(&pairs->destinations);
		range_list_normalise(&pairs->sources);
		pairs->unsorted_destinations = false;
		pairs->unsorted_sources = false;
		r = append(arena, &traffic->values, &pairs->destinations,
			   port_protocols[i].destination_base);
		if (r == 0)
			r = append(arena, &traffic->sources, &pairs->sources,
				   port_protocols[i].source_base);
		if (r < 0)
			return r;
		constrained |=
			pairs->sources.items[0].low != 0 || pairs->sources.items[0].high != 65535;
	}
	traffic->portless = traffic->others.nr > 0;
	r = append(arena, &traffic->values, &traffic->others, 0);
	range_list_normalise(&traffic->values);
	range_list_normalise(&traffic->sources);
	traffic->any_source = traffic->any || !constrained;
	return r;
}
