/* SPDX-License-Identifier: GPL-2.0 */
#ifndef INJECT_H
#define INJECT_H

#include <linux/types.h>

#define INJECT_FRAME_BYTES \
	60 /* what a network card gets of a smallest frame, without its checksum */

/* What the injecting program writes into each frame: UDP without a checksum, so that nobody has one to verify (a card
 * would have done it). Flow i comes from address first_address + i / INJECT_PORTS, port INJECT_FIRST_PORT + i %
 * INJECT_PORTS. */
#define INJECT_FIRST_PORT 1024
#define INJECT_PORTS	  50000

struct inject_config {
	__u8 outside_mac[6];
	__u8 vm_mac[6];
	__u32 first_address; /* host byte order */
	__u32 vm_address;    /* host byte order */
	__u16 vm_port;	     /* host byte order */
	__u8 from_vm;	     /* the answer instead of the question */
	__u8 scattered;	     /* flows in an order that caches do not like */
	__u8 syn; /* TCP SYNs to vm_port instead, each from an address and port as at random; flows is 0 */
	__u8 zero[3];
	__u32 flows;
	__u64 next; /* number of the next frame */
};

#endif
