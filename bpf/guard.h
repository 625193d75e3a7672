/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BPF_GUARD_H
#define DFW_BPF_GUARD_H

#include "parse.h"
#include "verdict.h"

/* SpoofGuard: who may say what about addresses. Nothing here makes a flow; what passes, passes by itself. */

/* Addresses that no packet on a wire may have (RFC 1122 3.2.1.3, RFC 1812 5.3.7, RFC 4291 2.5.2, 2.5.3, 2.7). Those
 * that look like IPv4 inside IPv6 would be taken for IPv4 here. */
static __always_inline bool address_never_source(const struct packet *p,
						 const struct dfw_addr *addr)
{
	const __u64 *half = (const __u64 *)addr->bytes;
	const __u32 *word = (const __u32 *)addr->bytes;

	if (p->flags & PACKET_V6)
		/* multicast; ::/96 with :: and ::1; v4-mapped */
		return addr->bytes[0] == 0xff ||
		       (half[0] == 0 && (word[2] == 0 || word[2] == bpf_htonl(0xffff)));
	return addr->bytes[12] == 0 || addr->bytes[12] == 127 || addr->bytes[12] >= 224;
}

static __always_inline bool address_never_destination(const struct packet *p,
						      const struct dfw_addr *addr)
{
	const __u64 *half = (const __u64 *)addr->bytes;
	const __u32 *word = (const __u32 *)addr->bytes;

	if (p->flags & PACKET_V6)
		/* scopes 0 and 1 of multicast never leave a node */
		return (addr->bytes[0] == 0xff && (addr->bytes[1] & 15) < 2) ||
		       (half[0] == 0 && (word[2] == 0 || word[2] == bpf_htonl(0xffff)));
	return addr->bytes[12] == 0 || addr->bytes[12] == 127 ||
	       (addr->bytes[12] >= 240 && !addr_broadcast(addr));
}

/* Are the port's addresses all that its VM may use? A port that learns begins with none. */
static __always_inline bool guards_addresses(const struct dfw_port_config *config)
{
	return (config->nr_addresses || config->profile.flags & DFW_PROFILE_LEARN) &&
	       config->profile.flags & DFW_PROFILE_GUARD_ADDRESS;
}

/* The VM claims an address that is not its own yet. A port that learns tells dfwd, which may take it into the port's
 * addresses; this packet drops, the VM says it again. */
static __always_inline void learn_address(struct packet *p, const struct dfw_port_config *config,
					  const struct dfw_addr *addr)
{
	if (!(config->profile.flags & DFW_PROFILE_LEARN) || addr_unspecified(addr) ||
	    addr_multicast(addr))
		return;
	p->key.local = *addr;
	event_packet(p, DFW_EVENT_ADDRESS, DFW_REASON_PASSED, NULL);
}

/* RFC 1122 3.3.6: a unicast packet does not come in a frame for a group. */
static __always_inline bool cast_to_many(const struct packet *p,
					 const struct dfw_port_config *config)
{
	return p->direction == DFW_IN && p->flags & PACKET_LINK_CAST &&
	       !addr_multicast(&p->key.local) && port_owns(config, &p->key.local);
}

/* What not even a flow vouches for: such frames, and answers from a group to which the VM has sent (RFC 1122 3.2.1.3). The
 * lane need not ask: it takes no frames for groups, and a flow with a group is never confirmed, as none answers. */
static __always_inline int guard_groups(const struct packet *p,
					const struct dfw_port_config *config)
{
	if (cast_to_many(p, config))
		return DFW_REASON_DESTINATION_MAC;
	if (p->direction == DFW_IN &&
	    (addr_multicast(&p->key.remote) || addr_broadcast(&p->key.remote)))
		return DFW_REASON_MARTIAN;
	return STAGE_PASS;
}

/* Are the packet's addresses such as this port may have? Asked for packets that no flow vouches for. */
static __always_inline int guard_addresses(struct packet *p, const struct dfw_port_config *config)
{
	const struct dfw_addr *source = packet_source(p), *destination = packet_destination(p);

	if (addr_equal(source, destination))
		return DFW_REASON_LAND;
	if (address_never_source(p, source) || address_never_destination(p, destination))
		return DFW_REASON_MARTIAN;
	if (cast_to_many(p, config))
		return DFW_REASON_DESTINATION_MAC;
	if (!guards_addresses(config))
		return STAGE_PASS;
	if (p->direction == DFW_OUT && !port_owns(config, source))
		return DFW_REASON_SOURCE_ADDRESS;
	if (p->direction == DFW_IN && port_owns(config, source))
		return DFW_REASON_OWN_ADDRESS;
	return STAGE_PASS;
}

/* The same for a flow: what the frame in hand is like does not matter. */
static __always_inline int guard_flow_addresses(struct packet *p,
						const struct dfw_port_config *config)
{
	__u16 flags = p->flags;
	int reason;

	p->flags &= ~PACKET_LINK_CAST;
	reason = guard_addresses(p, config);
	p->flags = flags;
	return reason;
}

/* Is the packet's local address the port's own, in the sense of rules that name none? */
static __always_inline bool local_is_own(const struct packet *p,
					 const struct dfw_port_config *config)
{
	if (config->nr_addresses == 0 && !(config->profile.flags & DFW_PROFILE_LEARN))
		return true;
	if (p->direction == DFW_OUT && !(config->profile.flags & DFW_PROFILE_GUARD_ADDRESS))
		return true;
	return port_owns(config, &p->key.local);
}

#define ARP_REQUEST  1
#define ARP_REPLY    2
#define RARP_REQUEST 3

struct arp {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_bytes;
	__u8 protocol_bytes;
	__be16 operation;
	__u8 sender_mac[6];
	__u8 sender_ip[4];
	__u8 target_mac[6];
	__u8 target_ip[4];
};

static __always_inline __be32 arp_ip(const __u8 *bytes)
{
	__be32 ip;

	__builtin_memcpy(&ip, bytes, sizeof(ip));
	return ip;
}

/* ARP (RFC 826, RFC 5227) and the RARP announcement that QEMU sends for a VM that has moved. */
DFW_STAGE int guard_arp(context_t *ctx, struct packet *p)
{
	struct dfw_port_config *config;
	struct dfw_addr sender, target;
	struct arp arp;
	bool guard;

	if (!p)
		return DFW_REASON_INTERNAL;
	config = port_config(p->slot, p->bank);
	if (!config)
		return DFW_REASON_INTERNAL;
	if (!context_load(ctx, p->l3_offset, &arp, sizeof(arp)))
		return DFW_REASON_TRUNCATED;
	if (!(config->profile.flags & DFW_PROFILE_ALLOW_ARP_ND))
		return DFW_REASON_ARP;
	if (arp.hardware != bpf_htons(1) || arp.protocol != bpf_htons(ETH_P_IP) ||
	    arp.hardware_bytes != 6 || arp.protocol_bytes != 4)
		return DFW_REASON_ARP;
	guard = config->nr_macs && config->profile.flags & DFW_PROFILE_GUARD_MAC;
	addr_from_v4(&sender, arp_ip(arp.sender_ip));
	addr_from_v4(&target, arp_ip(arp.target_ip));

	if (p->ethertype == ETH_P_RARP) {
		if (p->direction != DFW_OUT || arp.operation != bpf_htons(RARP_REQUEST))
			return DFW_REASON_ARP;
		if (guard && (!port_owns_mac(config, arp.sender_mac) ||
			      !port_owns_mac(config, arp.target_mac)))
			return DFW_REASON_ARP_SPOOF;
		/* QEMU's names no address; one that does, names the VM's. */
		if (guards_addresses(config) &&
		    ((!addr_unspecified(&sender) && !port_owns(config, &sender)) ||
		     (!addr_unspecified(&target) && !port_owns(config, &target))))
			return DFW_REASON_ARP_SPOOF;
		return STAGE_PASS;
	}

	if (arp.operation != bpf_htons(ARP_REQUEST) && arp.operation != bpf_htons(ARP_REPLY))
		return DFW_REASON_ARP;
	/* The sender cannot be a group, nor can its card. */
	if (arp.sender_mac[0] & 1 || arp.sender_ip[0] >= 224 || arp.sender_ip[0] == 127)
		return DFW_REASON_ARP;
	if (p->direction == DFW_OUT) {
		if (guard && (!port_owns_mac(config, arp.sender_mac) ||
			      !mac_equal(arp.sender_mac, p->source_mac)))
			return DFW_REASON_ARP_SPOOF;
		if (!guards_addresses(config))
			return STAGE_PASS;
		/* A probe (RFC 5227 2.1.1) asks, from nobody, for the address that it wants. */
		if (addr_unspecified(&sender)) {
			if (arp.operation != bpf_htons(ARP_REQUEST))
				return DFW_REASON_ARP_SPOOF;
			sender = target;
		}
		if (port_owns(config, &sender))
			return STAGE_PASS;
		learn_address(p, config, &sender);
		return DFW_REASON_ARP_SPOOF;
	}
	if ((guard && port_owns_mac(config, arp.sender_mac)) ||
	    (config->profile.flags & DFW_PROFILE_GUARD_ADDRESS && port_owns(config, &sender)))
		return DFW_REASON_ARP_SPOOF;
	return STAGE_PASS;
}

enum icmp6_type {
	ICMP6_MLD_QUERY = 130,
	ICMP6_MLD_REPORT = 131,
	ICMP6_MLD_DONE = 132,
	ICMP6_ROUTER_SOLICITATION = 133,
	ICMP6_ROUTER_ADVERTISEMENT = 134,
	ICMP6_NEIGHBOUR_SOLICITATION = 135,
	ICMP6_NEIGHBOUR_ADVERTISEMENT = 136,
	ICMP6_REDIRECT = 137,
	ICMP6_MLD2_REPORT = 143,
};

#define ND_FLAG_SOLICITED 0x40

static __always_inline bool nd_solicited(context_t *ctx, const struct packet *p)
{
	__u8 flags = 0;

	return context_load(ctx, p->l4_offset + 4, &flags, sizeof(flags)) &&
	       flags & ND_FLAG_SOLICITED;
}

#define ND_OPTION_SOURCE_LINK 1
#define ND_OPTION_TARGET_LINK 2
#define ND_MAX_OPTIONS	      32

struct nd_walk {
	context_t *ctx;
	const struct dfw_port_config *config;
	__u32 offset;
	__u32 end;
	int reason;
	__u8 direction;
	__u8 unspecified; /* the source address is */
};

static long nd_option(__u64 index __attribute__((unused)), void *data)
{
	struct nd_walk *walk = data;
	struct {
		__u8 type;
		__u8 words;
		__u8 link[6];
	} option;

	if (walk->offset >= walk->end) {
		walk->reason = STAGE_PASS;
		return 1;
	}
	if (walk->offset + sizeof(option) > walk->end ||
	    context_load_bytes(walk->ctx, walk->offset, &option, sizeof(option)) < 0 ||
	    option.words == 0 || walk->offset + option.words * 8 > walk->end)
		return 1; /* RFC 4861 4.6: length 0 is discarded */
	if (option.type == ND_OPTION_SOURCE_LINK && walk->unspecified)
		return 1;
	if (option.type == ND_OPTION_SOURCE_LINK || option.type == ND_OPTION_TARGET_LINK) {
		const struct dfw_port_config *config = walk->config;

		if (config->nr_macs && config->profile.flags & DFW_PROFILE_GUARD_MAC &&
		    port_owns_mac(config, option.link) != (walk->direction == DFW_OUT)) {
			walk->reason = DFW_REASON_ND_SPOOF;
			return 1;
		}
	}
	walk->offset += option.words * 8;
	return 0;
}

/* Are the options well formed, and do they name the right cards? */
static __always_inline int nd_options(context_t *ctx, struct packet *p,
				      const struct dfw_port_config *config, __u32 header,
				      bool unspecified)
{
	struct nd_walk walk = {
		.ctx = ctx,
		.config = config,
		.offset = p->l4_offset + header,
		.end = p->l4_offset + p->l4_bytes,
		.reason = DFW_REASON_ND,
		.direction = p->direction,
		.unspecified = unspecified,
	};

	bpf_loop(ND_MAX_OPTIONS + 1, nd_option, &walk, 0);
	return walk.reason;
}

/* Neighbour discovery and MLD. RFC 4861 6.1, 7.1: hop limit 255, code 0, options of length above 0; RFC 6980: never in
 * fragments. STAGE_GO_ON: not of this family, rules decide. */
DFW_STAGE int guard_nd(context_t *ctx, struct packet *p)
{
	const struct dfw_addr *source, *destination;
	struct dfw_port_config *config;
	struct dfw_addr target;
	bool guard, unspecified;
	__u32 header = 8;

	if (!p)
		return DFW_REASON_INTERNAL;
	config = port_config(p->slot, p->bank);
	if (!config)
		return DFW_REASON_INTERNAL;
	source = packet_source(p);
	destination = packet_destination(p);
	guard = guards_addresses(config);
	unspecified = addr_unspecified(source);

	switch (p->icmp_type) {
	case ICMP6_MLD_QUERY:
	case ICMP6_MLD_REPORT:
	case ICMP6_MLD_DONE:
	case ICMP6_MLD2_REPORT:
		/* RFC 3810 5: hop limit 1, a Router Alert, a link-local or no source. */
		if (p->hop_limit != 1 || !(p->flags & PACKET_ROUTER_ALERT) ||
		    p->flags & PACKET_FRAGMENT_HEADER || addr_equal(source, destination))
			return DFW_REASON_ND;
		if (!(config->profile.flags & DFW_PROFILE_ALLOW_ARP_ND))
			return STAGE_GO_ON;
		if (p->direction == DFW_IN)
			return p->icmp_type == ICMP6_MLD_QUERY && addr_link_local(source) &&
					       !port_owns(config, source)
				       ? STAGE_PASS
				       : DFW_REASON_ND;
		if (p->icmp_type == ICMP6_MLD_QUERY)
			return config->profile.flags & DFW_PROFILE_GUARD_RA
				       ? DFW_REASON_ROUTER_ADVERTISEMENT
				       : STAGE_PASS;
		if (!unspecified && !addr_link_local(source))
			return DFW_REASON_ND;
		return unspecified || !guard || port_owns(config, source) ? STAGE_PASS
									  : DFW_REASON_ND_SPOOF;
	case ICMP6_NEIGHBOUR_SOLICITATION:
	case ICMP6_NEIGHBOUR_ADVERTISEMENT:
		header = 24;
		break;
	case ICMP6_ROUTER_ADVERTISEMENT:
		header = 16;
		break;
	case ICMP6_ROUTER_SOLICITATION:
		break;
	case ICMP6_REDIRECT: /* RFC 4890 4.3.5: it moves a victim's route */
		return DFW_REASON_ND;
	default:
		return STAGE_GO_ON;
	}

	if (p->hop_limit != 255 || p->icmp_code || p->l4_bytes < header ||
	    p->flags & PACKET_FRAGMENT_HEADER || addr_equal(source, destination) ||
	    source->bytes[0] == 0xff)
		return DFW_REASON_ND;
	if (!(config->profile.flags & DFW_PROFILE_ALLOW_ARP_ND))
		return DFW_REASON_ND;
	if (header == 24) {
		if (!context_load(ctx, p->l4_offset + 8, &target, sizeof(target)))
			return DFW_REASON_ND;
		if (target.bytes[0] == 0xff)
			return DFW_REASON_ND;
	}
	/* Duplicate detection and router solicitation may come from nobody (RFC 4862 5.4); then nobody's card is named. */
	if (unspecified && p->icmp_type != ICMP6_NEIGHBOUR_SOLICITATION &&
	    p->icmp_type != ICMP6_ROUTER_SOLICITATION)
		return DFW_REASON_ND;
	if (unspecified && p->icmp_type == ICMP6_NEIGHBOUR_SOLICITATION &&
	    !addr_multicast(destination))
		return DFW_REASON_ND;

	if (guard && p->direction == DFW_OUT && !unspecified && !port_owns(config, source)) {
		learn_address(p, config, source);
		return DFW_REASON_ND_SPOOF;
	}
	if (guard && p->direction == DFW_IN && port_owns(config, source))
		return DFW_REASON_ND_SPOOF;

	switch (p->icmp_type) {
	case ICMP6_ROUTER_ADVERTISEMENT:
		if (p->direction == DFW_OUT && config->profile.flags & DFW_PROFILE_GUARD_RA)
			return DFW_REASON_ROUTER_ADVERTISEMENT;
		if (!addr_link_local(source))
			return DFW_REASON_ND;
		break;
	case ICMP6_ROUTER_SOLICITATION:
		/* Only routers want to hear it. */
		if (p->direction == DFW_IN && config->profile.flags & DFW_PROFILE_GUARD_RA)
			return DFW_REASON_ND;
		break;
	case ICMP6_NEIGHBOUR_SOLICITATION:
		if (!guard)
			break;
		if (p->direction == DFW_IN && !port_owns(config, &target))
			return DFW_REASON_ND; /* RFC 4861 7.2.3: not for this node */
		if (p->direction == DFW_OUT && unspecified && !port_owns(config, &target)) {
			learn_address(p, config, &target);
			return DFW_REASON_ND_SPOOF;
		}
		break;
	case ICMP6_NEIGHBOUR_ADVERTISEMENT:
		/* RFC 4861 7.1.2: what was asked for is answered to the one who asked. */
		if (addr_multicast(destination) && nd_solicited(ctx, p))
			return DFW_REASON_ND;
		if (guard && port_owns(config, &target) != (p->direction == DFW_OUT))
			return DFW_REASON_ND_SPOOF;
		break;
	}
	return nd_options(ctx, p, config, header, unspecified);
}

enum dhcp_port {
	DHCP_SERVER = 67,
	DHCP_CLIENT = 68,
	DHCP6_CLIENT = 546,
	DHCP6_SERVER = 547,
};

/* A VM does not play the DHCP server, whatever its rules say (CVE-2016-5362; RFC 7610). */
static __always_inline bool dhcp_server_port(__u32 direction, bool v6, __u16 source_port)
{
	return direction == DFW_OUT && source_port == (v6 ? DHCP6_SERVER : DHCP_SERVER);
}

static __always_inline bool dhcp_server_speaks(const struct packet *p)
{
	return dhcp_server_port(p->direction, p->flags & PACKET_V6, p->source_port);
}

/* Could this be DHCP at all? */
static __always_inline bool dhcp_ports(const struct packet *p)
{
	__u16 client = p->flags & PACKET_V6 ? DHCP6_CLIENT : DHCP_CLIENT;

	return p->source_port == client || p->destination_port == client;
}

/* A BOOTP reply for the VM's card, of which an address may be learned (RFC 2131 2, 4.3.1). */
struct bootp {
	__u8 op;
	__u8 fields[15];
	__u8 your_ip[4];
	__u8 server_ips[8];
	__u8 client_mac[6];
};

#define BOOTP_REPLY	    2
#define BOOTP_OPTIONS	    236 /* bytes before the options' magic number */
#define DHCP_OPTION_MESSAGE 53
#define DHCP_ACK	    5

static __always_inline bool dhcp_answers_us(context_t *ctx, struct packet *p,
					    const struct dfw_port_config *config)
{
	__u32 offset = p->l4_offset + sizeof(struct udp);
	struct {
		__be32 magic;
		__u8 option[3]; /* servers put the message type first */
		__u8 next;
	} options;
	struct dfw_addr yours;
	struct bootp bootp;

	if (!context_load(ctx, offset, &bootp, sizeof(bootp)) || bootp.op != BOOTP_REPLY ||
	    !port_owns_mac(config, bootp.client_mac))
		return false;
	if (context_load(ctx, offset + BOOTP_OPTIONS, &options, sizeof(options)) &&
	    options.magic == bpf_htonl(0x63825363) && options.option[0] == DHCP_OPTION_MESSAGE &&
	    options.option[2] == DHCP_ACK) {
		struct dfw_addr local = p->key.local;

		addr_from_v4(&yours, arp_ip(bootp.your_ip));
		if (!port_owns(config, &yours))
			learn_address(p, config, &yours);
		p->key.local = local;
	}
	return true;
}

/* Is this the DHCP client of the VM, or an answer to it? Judged without a rule or flow: its addresses are not settled
 * yet (RFC 2131 4.1, RFC 8415 7). */
static __always_inline bool dhcp_client_speaks(context_t *ctx, struct packet *p,
					       const struct dfw_port_config *config)
{
	bool v6 = p->flags & PACKET_V6, answers;
	__u16 client = v6 ? DHCP6_CLIENT : DHCP_CLIENT, server = v6 ? DHCP6_SERVER : DHCP_SERVER;

	if (!(config->profile.flags & DFW_PROFILE_ALLOW_DHCP) || p->flags & PACKET_FRAGMENT_HEADER)
		return false;
	if (p->direction == DFW_OUT) {
		if (p->source_port != client || p->destination_port != server)
			return false;
		if (!v6 && addr_unspecified(&p->key.local))
			return addr_broadcast(&p->key.remote);
		return !address_never_source(p, &p->key.local) && local_is_own(p, config) &&
		       !address_never_destination(p, &p->key.remote);
	}
	if (p->source_port != server || p->destination_port != client ||
	    address_never_source(p, &p->key.remote) || port_owns(config, &p->key.remote))
		return false;
	if (v6)
		return addr_link_local(&p->key.remote) && port_owns(config, &p->key.local);
	answers = config->profile.flags & DFW_PROFILE_LEARN && dhcp_answers_us(ctx, p, config);
	return answers || addr_broadcast(&p->key.local) || port_owns(config, &p->key.local);
}

#endif
