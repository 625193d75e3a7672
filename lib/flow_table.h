/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_FLOW_TABLE_H
#define DFW_FLOW_TABLE_H

#include <stdint.h>

#include <dfw/flow.h>
#include <dfw/port.h>

/* Tables of flows (bpf/table.h) as user space sees them. */

/* How large the maps of a port are: buckets for so many flows, and `more_flows`, of its profile. */
uint32_t flow_table_buckets(uint32_t flows);
uint32_t flow_table_more(const struct dfw_profile *profile);

/* Calls `each` for what lies in a map of flows, a table or `more_flows`, DEAD ones too; ends when it returns another number
 * than 0, which is returned. A flow that changes meanwhile may be torn. */
int flow_table_each(int map, int (*each)(const struct dfw_flow_entry *entry, void *data),
		    void *data);

/* The flows of a bucket: those whose tag is set, into `entries`, of DFW_BUCKET_ENTRIES. Returns how many. */
unsigned int flow_bucket_entries(const struct dfw_flow_bucket *bucket,
				 const struct dfw_flow_entry **entries);

/* Puts a flow that is not there into a table in memory. False: its bucket is full, and counts it. */
bool flow_table_put(struct dfw_flow_bucket *buckets, uint32_t nr, const __u64 *secret,
		    const struct dfw_flow_entry *entry);

#endif
