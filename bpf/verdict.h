/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_VERDICT_H
#define DFW_BPF_VERDICT_H

#include "classify.h"
#include "packet.h"

/* Counting, and telling user space. Whatever happens to a packet ends here. */

#define NS_PER_SECOND 1000000000ULL

/* A token bucket by virtual scheduling (GCRA, ITU-T I.371 annex A): *bucket is the time at which the next packet is due
 * at `per_second`; up to `burst` may come before that. Races let a packet more pass, never fewer.
 *
 *	bucket_due	what the bucket becomes if a packet passes now; 0: none may
 *	bucket_take	may a packet pass? Then it has.
 */
static __always_inline __u64 bucket_due(__u64 bucket, __u64 now, __u64 per_second, __u64 burst)
{
	__u64 step = NS_PER_SECOND / per_second;

	/* Rested; or the rate was another one when this was written. */
	if (bucket < now || bucket > now + (burst + 1) * step)
		bucket = now;
	return bucket > now + burst * step ? 0 : bucket + step;
}

static __always_inline bool bucket_take(__u64 *bucket, __u64 now, __u64 per_second, __u64 burst)
{
	__u64 due = bucket_due(*bucket, now, per_second, burst);

	if (!due)
		return false;
	*bucket = due;
	return true;
}

/* Where the packets of a port and a direction are counted, by what became of them. */
static __always_inline struct dfw_direction_counters *port_counters(__u32 slot, __u32 direction)
{
	void *inner = bpf_map_lookup_elem(&counters, &slot);

	direction &= 1;
	return inner ? bpf_map_lookup_elem(inner, &direction) : NULL;
}

static __always_inline void count_packets(struct dfw_direction_counters *of_direction, __u32 reason,
					  __u32 segments, __u32 bytes)
{
	struct dfw_reason_counter *counter;

	barrier_var(reason); /* the verifier must see the bound on the register that is used */
	if (!of_direction || reason >= DFW_REASON_COUNT)
		return;
	counter = (struct dfw_reason_counter *)of_direction + reason;
	counter->packets += segments;
	counter->bytes += bytes;
}

static __always_inline void count_reason(struct packet *p, __u32 reason)
{
	count_packets(port_counters(p->slot, p->direction), reason, p->segments, p->bytes);
}

/* Where packets are counted by the rule that let them pass or not. */
static __always_inline void *port_hits(const struct packet *p)
{
	__u32 index = p->slot * DFW_BANKS + (p->bank & 1);

	return bpf_map_lookup_elem(&hits, &index);
}

/* Adds the packet to the rule in that place of that direction's rule set. `new_flows`: how many were begun for it. */
static __always_inline void count_hit(void *hits_of_port, const struct packet *p,
				      const struct dfw_port_config *config, __u32 direction,
				      __u32 rule_slot, __u32 new_flows)
{
	struct dfw_rule_hits *of_rule;
	__u32 index;

	if (!hits_of_port || rule_slot == NO_RULE_SLOT)
		return;
	index = bpf_get_smp_processor_id() * config->hits_count + config->hits_base[direction & 1] +
		rule_slot;
	of_rule = bpf_map_lookup_elem(hits_of_port, &index);
	if (!of_rule)
		return;
	of_rule->packets += p->segments;
	of_rule->bytes += p->bytes;
	of_rule->flows += new_flows;
	of_rule->last_hit_ns = p->now_ns;
}

static __always_inline void count_rule(const struct packet *p, const struct dfw_port_config *config)
{
	count_hit(port_hits(p), p, config, p->rule_direction, p->rule_slot, p->new_flows);
}

static __always_inline struct dfw_event *event_reserve(void)
{
	struct dfw_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	__u32 zero = 0;
	__u64 *losses;

	if (event) {
		__builtin_memset(event, 0, sizeof(*event));
		return event;
	}
	losses = bpf_map_lookup_elem(&event_losses, &zero);
	if (losses)
		++*losses;
	return NULL;
}

/* Waking the reader costs more than writing the record, so that happens only when the ring begins to fill; dfwd looks
 * by itself often enough for people. */
static __always_inline void event_submit(struct dfw_event *event)
{
	__u64 waiting = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
	bool filling = waiting > DFW_EVENTS_BYTES / 4 && waiting < DFW_EVENTS_BYTES / 4 + 4096;
	bool urgent = event->type == DFW_EVENT_SEEN; /* a VM waits */

	bpf_ringbuf_submit(event, filling || urgent ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

#define RATIONED_EVENTS_PER_SECOND 1000
#define RATIONED_EVENTS_BURST	   200

/* Writes an event about the packet and, when given, its flow. */
DFW_STAGE int event_packet(struct packet *p, __u32 type, __u32 reason, struct dfw_flow *flow)
{
	struct dfw_event *event;
	__u32 suppressed = 0;

	if (!p)
		return 0;
	if (type == DFW_EVENT_VERDICT || type == DFW_EVENT_DROP || type == DFW_EVENT_ADDRESS) {
		__u32 zero = 0;
		struct event_ration *ration = bpf_map_lookup_elem(&event_rations, &zero);

		if (!ration)
			return 0;
		if (!bucket_take(&ration->bucket_ns, p->now_ns, RATIONED_EVENTS_PER_SECOND,
				 RATIONED_EVENTS_BURST)) {
			ration->suppressed++;
			return 0;
		}
		suppressed = ration->suppressed;
		ration->suppressed = 0;
	}
	event = event_reserve();
	if (!event)
		return 0;
	event->time_ns = p->now_ns;
	event->slot = p->slot;
	event->rule = p->rule;
	event->generation = p->generation;
	event->suppressed = suppressed;
	event->ethertype = p->ethertype;
	event->type = type;
	event->direction = p->direction;
	event->action = p->action;
	event->reason = reason;
	event->tcp_flags = p->tcp_flags;
	event->initiator = p->direction;
	__builtin_memcpy(event->mac, p->source_mac, sizeof(event->mac));
	event->key = p->key;
	if (flow) {
		event->state = flow->state;
		event->initiator = flow->initiator;
		event->rule = flow->rule;
		for (int leg = 0; leg < DFW_LEGS; leg++) {
			event->packets[leg] = flow->legs[leg].packets;
			event->bytes[leg] = flow->legs[leg].bytes;
		}
	}
	event_submit(event);
	return 0;
}

/* The same of a flow that begins, is confirmed or ends: more work than the rest of a new flow, so only while somebody hears. */
static __always_inline void event_flow(struct packet *p, __u32 type, __u32 reason,
				       struct dfw_flow *flow)
{
	__u32 zero = 0, *heard = bpf_map_lookup_elem(&listeners, &zero);

	if (heard && *heard)
		event_packet(p, type, reason, flow);
}

#define SEEN_EVENT_NS (NS_PER_SECOND / 10)

/* The VM of a held port sends: it runs here, and whoever moves it wants to know. */
static __always_inline void event_seen(struct packet *p)
{
	struct dfw_port_state *state = port_state(p->slot);

	if (!state || p->now_ns - state->seen_ns < SEEN_EVENT_NS)
		return;
	state->seen_ns = p->now_ns;
	event_packet(p, DFW_EVENT_SEEN, DFW_REASON_MOVING, NULL);
}

#endif
