/* SPDX-License-Identifier: GPL-2.0 */
#ifndef INJECT_H
#define INJECT_H

#include <linux/types.h>

/* What inject.c and its BPF programs agree on. */

/* What a network card gets of a smallest frame, without its checksum. */
#define INJECT_FRAME_BYTES 60

/* Flow i is between address first_address + i / INJECT_PORTS, port INJECT_FIRST_PORT + i % INJECT_PORTS outside, and
 * vm_address, vm_port. */
#define INJECT_FIRST_PORT 1024
#define INJECT_PORTS	  50000

/* Frame i has header i of a list. */
#define INJECT_HEADERS 65536

struct inject_header {
	__u32 outside; /* addresses and ports in host byte order */
	__u32 vm;
	__u16 outside_port;
	__u16 vm_port;
	__u8 protocol; /* TCP (a SYN) or UDP */
	__u8 zero[3];
};

/* What the frames are. */
enum inject_kind {
	INJECT_FLOWS, /* UDP without a checksum: nobody has one to verify (a card would have done it) */
	INJECT_SYNS, /* TCP SYNs to vm_port, each from an address of first_address/8 and a port as at random */
	INJECT_LISTED, /* as the list says */
};

/* What becomes of them. */
enum inject_fate {
	INJECT_PASS,	 /* into the stack, as if the device had received them */
	INJECT_HOOK,	 /* to the device's XDP program, as its driver would call it */
	INJECT_REDIRECT, /* to device `target`, as an XDP program does */
	INJECT_DROP,	 /* nothing: what the injector itself costs */
};

struct inject_config {
	__u8 outside_mac[6];
	__u8 vm_mac[6];
	__u32 first_address; /* host byte order */
	__u32 vm_address;    /* host byte order */
	__u32 target;	     /* ifindex */
	__u16 vm_port;	     /* host byte order */
	__u8 kind;	     /* enum inject_kind */
	__u8 fate;	     /* enum inject_fate */
	__u8 from_vm;	     /* the answer instead of the question */
	__u8 scattered;	     /* flows in an order that caches do not like */
	__u8 zero[2];
	__u32 flows;	/* in turn; 0: each frame is of a new one */
	__u64 next;	/* number of the next frame */
	__u64 timed;	/* number of the first frame whose time is not taken any more */
	__u64 first_ns; /* when the frame `next` was written: CLOCK_MONOTONIC ... */
	__u64 timed_ns; /* ... and when `timed` was: all before has arrived, where that is on this CPU */
};

#endif
