/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_PACKET_H
#define DFW_BPF_PACKET_H

#include "context.h"
#include "maps.h"

enum packet_flag {
	PACKET_V6 = 1 << 0,
	PACKET_FRAGMENT_FIRST = 1 << 1, /* offset 0, more to come */
	PACKET_FRAGMENT_LATER = 1 << 2,
	PACKET_FRAGMENT_HEADER = 1 << 3, /* there is one, be it atomic (RFC 6946) */
	PACKET_MORE_FRAGMENTS = 1 << 4,
	PACKET_LINK_CAST = 1 << 5,    /* the frame went to a group or to all */
	PACKET_ROUTER_ALERT = 1 << 6, /* it is there, as MLD demands */
	PACKET_HALF_OPEN = 1 << 7,    /* its flow lies among the half-open */
	PACKET_STALE = 1 << 8,	      /* something expired or over lies under its key in `flows` */
	PACKET_ERROR = 1 << 9,	      /* an ICMP error: the key is that of the flow it quotes */
	PACKET_WATCHED = 1 << 10,     /* the port's: changes of flows are told */
	PACKET_SHARED = 1 << 11,      /* the port's: other packets of the flow pass elsewhere */
	PACKET_QUIET = 1 << 12,	      /* its flow lets it pass, but takes nothing of it */
};

/* What the chunks of a packet amount to. */
struct sctp_packet {
	__u32 tag;
	__u32 init_tag; /* of INIT and INIT ACK */
	__u8 lead;	/* first chunk */
	__u8 lead_flags;
	__u8 nr_chunks;
	__u8 aborts; /* there is an ABORT, behind other chunks */
};

/* All that the datapath knows of the packet in hand. Numbers in host byte order. Scalars only. It lies in a per-CPU map:
 * the stack's 512 bytes are for all functions of a call chain together. */
struct packet {
	/* What is known before the frame is looked at: packet_enter. What is in force is read once, for all that is
	 * decided about the packet. */
	__u64 now_ns;
	__u32 slot;
	__u32 bank;
	__u32 generation;
	__u16 revision;
	__u8 direction; /* enum dfw_direction */

	/* What the headers say: lane_parse, or the stages of parse.h. Cleared by packet_clear. */
	struct dfw_flow_key key;
	__u64 hash;	 /* of the key, once its flow was looked for */
	__u32 bytes;	 /* of the IP packet */
	__u32 segments;	 /* frames on the wire */
	__u32 l4_bytes;	 /* transport header and payload, of this fragment */
	__u16 l3_offset; /* in the frame */
	__u16 l4_offset;
	__u16 flags;	   /* enum packet_flag */
	__u16 source_port; /* as the packet has them; ICMP: the identifier */
	__u16 destination_port;
	__u16 tcp_window;
	__u32 tcp_seq;
	__u32 tcp_ack;
	__u8 tcp_flags;
	__u8 tcp_header_bytes;

	/* What is decided, and what the lane has no use for. Cleared by packet_clear_decision. */
	__u32 fragment_id __attribute__((aligned(8)));
	__u16 ethertype;
	__u16 fragment_offset; /* of l4_offset in the datagram, bytes */
	__u8 tcp_scale;	       /* of a SYN: the window scale option, or TCP_NO_SCALE */
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 hop_limit;
	__u8 source_mac[6];
	struct sctp_packet sctp; /* of sctp_parse */
	__u32 rule;		 /* stable id of the deciding rule, 0: none was asked */
	__u16 rule_slot;
	__u8 rule_direction; /* of the rule set that the rule is in: who began the flow */
	__u8 action;	     /* enum dfw_action that was taken */
	__u8 log;	     /* the rule wants it logged */
	__u8 new_flows;	     /* a flow was begun for it */
	__u8 stateless;	     /* a stateless rule allowed it */
	__u8 on_change;	     /* enum dfw_on_change of the rule */
	__u32 challenge;     /* DFW_REASON_SYN_CHALLENGE: the number that its sender is asked for */
	/* What is kept while a flow is decided anew, see track.h. */
	struct {
		__u16 source_port;
		__u16 destination_port;
		__u8 direction;
		__u8 icmp_type;
	} view;
};

/* Packets and the sweep, which may be interrupted by a packet, have a place each. */
enum packet_place {
	PACKET_PLACE_TRAFFIC = 0,
	PACKET_PLACE_SWEEP = 1,
	PACKET_PLACES = 2,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PACKET_PLACES);
	__type(key, __u32);
	__type(value, struct packet);
} packets SEC(".maps");

#define NO_RULE_SLOT 0xffff

/* One part of the pipeline hands back what it decided: PASSED, a reason to drop, or one of these. */
enum stage_result {
	STAGE_PASS = DFW_REASON_PASSED,
	STAGE_GO_ON = -1, /* not decided here */
};

static __always_inline struct dfw_port_config *port_config(__u32 slot, __u32 bank)
{
	__u32 index = slot * DFW_BANKS + (bank & 1), zero = 0;
	void *inner = bpf_map_lookup_elem(&configs, &index);

	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}

/* What is in force, by one load: the next load could see the next revision. False: the map is missing. */
static __always_inline bool read_in_force(struct dfw_revision *in_force)
{
	const volatile __u64 *word;
	__u32 zero = 0;

	word = bpf_map_lookup_elem(&active, &zero);
	if (!word)
		return false;
	*(__u64 *)in_force = *word;
	return true;
}

/* The place for what is known of a packet, and what is known at once. NULL: a map is missing. */
static __always_inline struct packet *packet_enter(const __u32 place, const __u32 direction,
						   __u32 slot)
{
	struct dfw_revision in_force;
	struct packet *p;
	__u32 index = place;

	p = bpf_map_lookup_elem(&packets, &index);
	if (!p || !read_in_force(&in_force))
		return NULL;
	p->bank = in_force.bank & 1;
	p->generation = in_force.generation;
	p->revision = in_force.revision;
	p->slot = slot;
	p->direction = direction;
	p->now_ns = context_now_ns();
	return p;
}

/* By whole words, which takes a compiler that is told so. */
#define PACKET_CLEAR_FROM(p, member)                                                          \
	({                                                                                    \
		_Static_assert(offsetof(struct packet, member) % 8 == 0, "begins a word");    \
		__builtin_memset(__builtin_assume_aligned(                                    \
					 (char *)(p) + offsetof(struct packet, member), 8),   \
				 0, sizeof(struct packet) - offsetof(struct packet, member)); \
	})

/* Nothing is decided of the packet, whose headers are read. */
static __always_inline void packet_clear_decision(struct packet *p)
{
	PACKET_CLEAR_FROM(p, fragment_id);
	p->rule_slot = NO_RULE_SLOT;
	p->rule_direction = p->direction;
}

/* Nothing is known of the packet but what packet_enter knows. */
static __always_inline void packet_clear(struct packet *p)
{
	PACKET_CLEAR_FROM(p, key);
	p->rule_slot = NO_RULE_SLOT;
	p->rule_direction = p->direction;
}

/* The packet's port's map in a map of maps. Keys go by way of the stack: the verifier of 6.1 takes none from the memory
 * that a stage is given. */
static __always_inline void *port_map(void *outer, const struct packet *p)
{
	__u32 slot = p->slot;

	return bpf_map_lookup_elem(outer, &slot);
}

static __always_inline struct dfw_port_state *port_state(__u32 slot)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&states, &slot);

	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}

static __always_inline bool addr_equal(const struct dfw_addr *a, const struct dfw_addr *b)
{
	const __u64 *x = (const __u64 *)a->bytes, *y = (const __u64 *)b->bytes;

	return x[0] == y[0] && x[1] == y[1];
}

static __always_inline bool addr_v4(const struct dfw_addr *a)
{
	const __u32 *word = (const __u32 *)a->bytes;

	return word[0] == 0 && word[1] == 0 && word[2] == bpf_htonl(0xffff);
}

/* How far a word of a key is shifted for its part of so many bytes at that offset. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define WORD_SHIFT(offset, bytes) ((offset) * 8)
#else
#define WORD_SHIFT(offset, bytes) ((8 - (offset) - (bytes)) * 8)
#endif

/* By whole words, as a key is read: a load that spans what was just stored in parts waits for all of them. */
static __always_inline void addr_from_v4(struct dfw_addr *to, __be32 v4)
{
	__u64 *word = (__u64 *)to->bytes;

	word[0] = 0;
	word[1] = (__u64)bpf_htonl(0xffff) << WORD_SHIFT(0, 4) | (__u64)v4 << WORD_SHIFT(4, 4);
}

/* What a key has behind its addresses, likewise. */
static __always_inline void key_end(struct dfw_flow_key *key, __u16 local_port, __u16 remote_port,
				    __u16 vlan, __u8 protocol)
{
	_Static_assert(offsetof(struct dfw_flow_key, local_port) % 8 == 0, "the key's last word");
	*(__u64 *)&key->local_port =
		(__u64)local_port << WORD_SHIFT(0, 2) | (__u64)remote_port << WORD_SHIFT(2, 2) |
		(__u64)vlan << WORD_SHIFT(4, 2) | (__u64)protocol << WORD_SHIFT(6, 1);
}

static __always_inline bool addr_multicast(const struct dfw_addr *a)
{
	if (addr_v4(a))
		return (a->bytes[12] & 0xf0) == 0xe0;
	return a->bytes[0] == 0xff;
}

/* 255.255.255.255; a subnet's own broadcast address cannot be told without its mask. */
static __always_inline bool addr_broadcast(const struct dfw_addr *a)
{
	const __u32 *word = (const __u32 *)a->bytes;

	return addr_v4(a) && word[3] == 0xffffffff;
}

static __always_inline bool addr_link_local(const struct dfw_addr *a)
{
	return a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

static __always_inline bool addr_unspecified(const struct dfw_addr *a)
{
	const __u64 *word = (const __u64 *)a->bytes;
	const __u32 *half = (const __u32 *)a->bytes;

	return word[0] == 0 && (word[1] == 0 || (half[2] == bpf_htonl(0xffff) && half[3] == 0));
}

DFW_STAGE bool port_owns(const struct dfw_port_config *config, const struct dfw_addr *addr)
{
	if (!config || !addr)
		return false;
	for (__u32 i = 0; i < DFW_PORT_ADDRESSES && i < config->nr_addresses; i++)
		if (addr_equal(&config->addresses[i], addr))
			return true;
	return false;
}

static __always_inline bool mac_equal(const __u8 *a, const __u8 *b)
{
	for (int i = 0; i < 6; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

/* A MAC as a number, so that comparing takes one step. */
static __always_inline __u64 mac_number(const __u8 *mac)
{
	__u64 number = 0;

	__builtin_memcpy(&number, mac, 6);
	return number;
}

/* Two zeroes follow the six bytes of the configuration's. */
static __always_inline bool port_owns_number(const struct dfw_port_config *config, __u64 number)
{
	for (__u32 i = 0; i < DFW_PORT_MACS && i < config->nr_macs; i++)
		if (*(const __u64 *)&config->macs[i] == number)
			return true;
	return false;
}

static __always_inline bool port_owns_mac(const struct dfw_port_config *config, const __u8 *mac)
{
	return port_owns_number(config, mac_number(mac));
}

static __always_inline bool port_owns_vlan(const struct dfw_port_config *config, __u16 vlan)
{
	for (__u32 i = 0; i < DFW_PORT_VLANS && i < config->nr_vlans; i++)
		if (config->vlans[i] == vlan)
			return true;
	return false;
}

static __always_inline void packet_restore_view(struct packet *p)
{
	p->direction = p->view.direction;
	p->icmp_type = p->view.icmp_type;
	p->source_port = p->view.source_port;
	p->destination_port = p->view.destination_port;
}

static __always_inline struct dfw_addr *packet_source(struct packet *p)
{
	return p->direction == DFW_OUT ? &p->key.local : &p->key.remote;
}

static __always_inline struct dfw_addr *packet_destination(struct packet *p)
{
	return p->direction == DFW_OUT ? &p->key.remote : &p->key.local;
}

#endif
