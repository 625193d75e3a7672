/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTESTS_CLASSIFY_H
#define SELFTESTS_CLASSIFY_H

#include <dfw/types.h>

/* What classify.bpf.c and who runs it agree on. */

#define CLASSIFY_HEADERS 262144
#define CLASSIFY_NOTHING 0xffffffffU /* no rule was asked for */

/* What of a packet decides about its rule. Host byte order. */
struct classify_header {
	struct dfw_addr local;
	struct dfw_addr remote;
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 own; /* the local address is the port's */
	__u8 icmp_type;
	__u8 icmp_code;
};
DFW_ASSERT_SIZE(struct classify_header, 40);

/* The first bytes of the packet that a program is run with. */
struct classify_request {
	__u32 ruleset;
	__u32 nr; /* headers */
};

#endif
