/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_CHANGE_H
#define DFW_BPF_CHANGE_H

#include "packet.h"

/* The log of changes, see <dfw/change.h>. Only for ports that somebody watches: others pay one test of a flag. */

/* Tells that something happened to the flow of that key. After the flow's lock is given up, where that can be: whoever
 * collects the flow before it hears of the change, hears of it once too often and not once too seldom. */
DFW_STAGE int change_tell(const struct dfw_flow_key *key, __u32 slot, __u32 kind, __u32 life)
{
	struct dfw_change *change;
	__u32 zero = 0;
	__u64 *losses;

	if (!key)
		return 0;
	change = bpf_ringbuf_reserve(&changes, sizeof(*change), 0);
	if (!change) {
		losses = bpf_map_lookup_elem(&change_losses, &zero);
		if (losses)
			__sync_fetch_and_add(losses, 1);
		return 0;
	}
	change->slot = slot;
	change->kind = kind;
	change->life = life;
	change->zero = 0;
	__builtin_memcpy(&change->key, key, sizeof(change->key));
	bpf_ringbuf_submit(change, 0);
	return 0;
}

/* Marks a flow, whose lock is held, as changed. True: that is news, to be told. */
static __always_inline bool change_note(struct dfw_flow *flow, __u32 kind)
{
	__u8 news = DFW_FLOW_TOUCHED | (kind == DFW_CHANGE_STATE ? DFW_FLOW_CHANGED : 0);

	if ((flow->flags & news) == news)
		return false;
	flow->flags |= news;
	return true;
}

#endif
