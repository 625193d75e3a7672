/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_TYPES_H
#define DFW_TYPES_H

#include <linux/types.h>

/* Every struct under include/dfw/ is shared by the datapath and user space: fixed-width types, explicit padding and
 * a static assert on the size, so that both sides and bpftool (through BTF) see the same bytes. */
#define DFW_ASSERT_SIZE(type, bytes) \
	_Static_assert(sizeof(type) == (bytes), #type " changed its size")

/* An IPv6 address in network byte order. IPv4 is held v4-mapped (::ffff:a.b.c.d, RFC 4291 2.5.5.2), so that one code
 * path serves both families. */
struct dfw_addr {
	__u8 bytes[16];
} __attribute__((aligned(8)));
DFW_ASSERT_SIZE(struct dfw_addr, 16);

#define DFW_ADDR_BITS	   128
#define DFW_V4_PREFIX_BITS 96 /* an IPv4 prefix /n is a v4-mapped prefix /(96 + n) */

/* Seen from the VM: `in` goes to it, `out` comes from it. */
enum dfw_direction {
	DFW_IN = 0,
	DFW_OUT = 1,
	DFW_DIRECTIONS = 2,
};

/* What a rule does. Values are stored in kernel maps and on the wire: append, never renumber. */
enum dfw_action {
	DFW_ACTION_NONE = 0,
	DFW_ACTION_ALLOW = 1,
	DFW_ACTION_DROP = 2,
	DFW_ACTION_REJECT = 3,
	DFW_ACTION_PASS = 4, /* leave this tier, go on with the first rule of the next */
};

/* What happens to a flow of this rule when its generation is no longer the active one. */
enum dfw_on_change {
	DFW_ON_CHANGE_REVALIDATE = 0, /* the next packet is decided anew */
	DFW_ON_CHANGE_KEEP = 1,	      /* the flow lives on under its old verdict */
	DFW_ON_CHANGE_KILL = 2,	      /* the flow ends, its next packet is dropped */
};

#endif
