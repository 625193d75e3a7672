/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_LEARN_H
#define DFW_LOADER_LEARN_H

#include <stddef.h>
#include <stdint.h>

#include <dfw/event.h>

/* Address learning: a VM behind a port whose profile has `learn-addresses` claims an address by ARP, ND or DHCP, and dfwd
 * takes it into the port's addresses, unless another port has it or the profile's max-learned is reached. */

struct dfwd;

#define LEARN_CLAIMS 256

struct claim {
	uint32_t slot;
	struct dfw_addr address;
	uint8_t mac[6];
};

struct learn {
	struct claim claims[LEARN_CLAIMS]; /* noted since the last learn_claimed(), each once */
	size_t nr;
	uint64_t wait_ns; /* until then nothing is learned: realising failed */
};

/* Notes a DFW_EVENT_ADDRESS. When there are too many at once it is forgotten: a VM says it again. */
void learn_note(struct dfwd *d, const struct dfw_event *event);

/* Decides what was noted, in one revision for all, and tells subscribers and the log what came of each. */
void learn_claimed(struct dfwd *d);

#endif
