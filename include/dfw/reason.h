/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_REASON_H
#define DFW_REASON_H

#include <dfw/types.h>

/* Every verdict of the datapath, once: enumerator, field of the counters (hence the name that bpftool shows), name in
 * the command line and in JSON, and what it tells an operator. `passed` is the first; all others are drops.
 * Append only: the order is the layout of the counters' map. */
#define DFW_REASONS(X)                                                                             \
	X(PASSED, passed, "passed", "forwarded")                                                   \
	X(NO_PORT, no_port, "no-port", "the device belongs to no port")                            \
	X(NOT_READY, not_ready, "not-ready", "the port has no realised policy yet")                \
	X(RULE, rule, "rule", "a rule says drop")                                                  \
	X(DEFAULT, default_, "default", "no rule allows it")                                       \
	X(REJECTED, rejected, "rejected", "refused with an answer")                                \
	X(REJECT_LIMIT, reject_limit, "reject-limit",                                              \
	  "refused, without an answer: answers are rate limited")                                  \
	X(REJECT_SILENT, reject_silent, "reject-silent",                                           \
	  "refused, without an answer: RFCs forbid one")                                           \
	X(TRUNCATED, truncated, "truncated", "the frame ends within a header")                     \
	X(ETHERTYPE, ethertype, "ethertype", "an EtherType that is not decided by rules")          \
	X(LLC, llc, "llc", "802.3 length instead of an EtherType (LLC, SNAP)")                     \
	X(VLAN, vlan, "vlan", "a VLAN tag that the port does not own")                             \
	X(SOURCE_MAC, source_mac, "source-mac", "the VM sends from a MAC that is not its own")     \
	X(DESTINATION_MAC, destination_mac, "destination-mac", "a frame for another station")      \
	X(OWN_MAC, own_mac, "own-mac", "somebody else sends from the VM's MAC")                    \
	X(SOURCE_ADDRESS, source_address, "source-address",                                        \
	  "the VM sends from an address that is not its own")                                      \
	X(OWN_ADDRESS, own_address, "own-address", "somebody else sends from the VM's address")    \
	X(MARTIAN, martian, "martian",                                                             \
	  "an address that may not be there (loopback, multicast source, ...)")                    \
	X(LAND, land, "land", "source and destination are the same")                               \
	X(ARP, arp, "arp", "malformed ARP or RARP, or of a kind that is not allowed")              \
	X(ARP_SPOOF, arp_spoof, "arp-spoof", "ARP that claims an address or MAC of another")       \
	X(ND, nd, "nd", "neighbour discovery: malformed, not allowed, or not for this VM")         \
	X(ND_SPOOF, nd_spoof, "nd-spoof",                                                          \
	  "neighbour discovery that claims an address or MAC of another")                          \
	X(ROUTER_ADVERTISEMENT, router_advertisement, "router-advertisement",                      \
	  "a router's message from a VM")                                                          \
	X(DHCP_SERVER, dhcp_server, "dhcp-server", "a DHCP server's message from a VM")            \
	X(IP_HEADER, ip_header, "ip-header", "version or header length is wrong")                  \
	X(IP_LENGTH, ip_length, "ip-length", "the IP length does not fit the frame")               \
	X(IP_CHECKSUM, ip_checksum, "ip-checksum", "wrong IPv4 header checksum")                   \
	X(IP_OPTION, ip_option, "ip-option", "IPv4 options that the profile forbids")              \
	X(EXTENSION, extension, "extension",                                                       \
	  "IPv6 extension headers out of order, too many, or forbidden")                           \
	X(PROTOCOL, protocol, "protocol", "an IP protocol that cannot be decided")                 \
	X(FRAGMENT, fragment, "fragment",                                                          \
	  "a malformed fragment: tiny first, wrong length, beyond 64 kB, a SYN on a live flow")    \
	X(FRAGMENT_ORPHAN, fragment_orphan, "fragment-orphan",                                     \
	  "a fragment whose first was not seen or not allowed")                                    \
	X(FRAGMENT_OVERLAP, fragment_overlap, "fragment-overlap", "fragments that overlap")        \
	X(L4_HEADER, l4_header, "l4-header", "the transport header is cut or its length is wrong") \
	X(L4_CHECKSUM, l4_checksum, "l4-checksum", "wrong transport checksum")                     \
	X(PORT_ZERO, port_zero, "port-zero", "port 0 where it is reserved")                        \
	X(TCP_FLAGS, tcp_flags, "tcp-flags", "an impossible combination of TCP flags")             \
	X(TCP_NO_FLOW, tcp_no_flow, "tcp-no-flow",                                                 \
	  "TCP that opens no connection and belongs to none")                                      \
	X(TCP_WINDOW, tcp_window, "tcp-window", "a TCP segment outside the window")                \
	X(TCP_ACK, tcp_ack, "tcp-ack",                                                             \
	  "a TCP acknowledgement of what was never sent, or far too old")                          \
	X(TCP_RST, tcp_rst, "tcp-rst", "a RST whose sequence number is not exact")                 \
	X(TCP_STATE, tcp_state, "tcp-state", "a TCP segment that the connection's state forbids")  \
	X(SCTP_CHUNK, sctp_chunk, "sctp-chunk", "malformed or forbidden SCTP chunks")              \
	X(SCTP_NO_FLOW, sctp_no_flow, "sctp-no-flow",                                              \
	  "SCTP that opens no association and belongs to none")                                    \
	X(SCTP_TAG, sctp_tag, "sctp-tag", "a wrong SCTP verification tag")                         \
	X(ICMP_TYPE, icmp_type, "icmp-type", "an ICMP message that is never forwarded")            \
	X(ICMP_NO_FLOW, icmp_no_flow, "icmp-no-flow", "an ICMP answer to nothing")                 \
	X(ICMP_ERROR, icmp_error, "icmp-error",                                                    \
	  "an ICMP error that quotes no live flow, or quotes it wrongly")                          \
	X(FLOW_KILLED, flow_killed, "flow-killed",                                                 \
	  "the flow was ended by a policy change or by the operator")                              \
	X(FLOW_LIMIT, flow_limit, "flow-limit", "the port's quota of flows is full")               \
	X(FLOW_MEMORY, flow_memory, "flow-memory", "the kernel had no memory for a flow")          \
	X(FLOW_BUSY, flow_busy, "flow-busy", "another CPU held the flow for too long")             \
	X(RATE_LIMIT, rate_limit, "rate-limit", "the port's limit of new flows a second")          \
	X(RULE_LIMIT, rule_limit, "rule-limit", "the rule's limit of flows")                       \
	X(SOURCE_LIMIT, source_limit, "source-limit", "the rule's limit of flows of one source")   \
	X(SYN_CHALLENGE, syn_challenge, "syn-challenge",                                           \
	  "a SYN of a flood: its sender was asked whether it exists")                              \
	X(SYN_PROVEN, syn_proven, "syn-proven",                                                    \
	  "the answer to such a question: its sender's next SYN passes")                           \
	X(INTERNAL, internal, "internal",                                                          \
	  "a map of the datapath is missing: a bug, or somebody removed it")                       \
	X(MOVING, moving, "moving", "the port moves between hosts and is not in force here")

enum dfw_reason {
#define DFW_REASON_ENUM(symbol, field, name, help) DFW_REASON_##symbol,
	DFW_REASONS(DFW_REASON_ENUM)
#undef DFW_REASON_ENUM
		DFW_REASON_COUNT
};

struct dfw_reason_counter {
	__u64 packets; /* GSO: the segments that go on the wire */
	__u64 bytes;   /* IP bytes, link-layer headers not counted */
};

/* One per direction and CPU in a port's `counters` map; in = [DFW_IN], out = [DFW_OUT]. */
struct dfw_direction_counters {
#define DFW_REASON_FIELD(symbol, field, name, help) struct dfw_reason_counter field;
	DFW_REASONS(DFW_REASON_FIELD)
#undef DFW_REASON_FIELD
};
DFW_ASSERT_SIZE(struct dfw_direction_counters, DFW_REASON_COUNT * 16);

#endif
