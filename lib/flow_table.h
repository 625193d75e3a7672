/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_FLOW_TABLE_H
#define DFW_FLOW_TABLE_H

#include <stdint.h>

#include <dfw/flow.h>
#include <dfw/port.h>

/* Tables of flows (bpf/table.h) as user space sees them. */

/* How large the maps of a port are: pages for so many flows, and `more_flows`, of its profile. */
uint32_t flow_table_pages(uint32_t flows);
uint32_t flow_table_more(const struct dfw_profile *profile);

/* Calls `each` for what lies in a map of flows, a table or `more_flows`, DEAD ones too; ends when it returns another number
 * than 0, which is returned. A flow that changes meanwhile may be torn. */
int flow_table_each(int map, int (*each)(const struct dfw_flow_entry *entry, void *data),
		    void *data);

/* The flows of a page: those whose tag is set, into `entries`, of FLOW_PAGE_ENTRIES. Returns how many. */
#define FLOW_PAGE_ENTRIES (DFW_PAGE_BUCKETS * DFW_BUCKET_ENTRIES)
unsigned int flow_page_entries(const struct dfw_flow_page *page,
			       const struct dfw_flow_entry **entries);

/* Does it hold anything, or know of anything elsewhere? */
bool flow_page_used(const struct dfw_flow_page *page);

/* Puts a flow that is not there into a table in memory, of `nr` pages. False: its page is full, and counts it. */
bool flow_table_put(struct dfw_flow_page *pages, uint32_t nr, const __u64 *secret,
		    const struct dfw_flow_entry *entry);

#endif
