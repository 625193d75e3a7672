/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_HOOKS_H
#define DFW_LOADER_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "object.h"

/* The hooks at a device's two sides: tcx, pinned links, where the kernel has it (Linux 6.6); else filters on the clsact
 * qdisc. */

enum hook {
	HOOK_TCX,
	HOOK_CLSACT,
};

struct hooks {
	const struct object *object;
	const char *run_dir; /* remembers which clsact qdiscs are ours */
	enum hook hook;
};

#define HOOK_SIDES 2

struct hook_side {
	const char *pin; /* of its link */
	size_t program;	 /* offset in struct programs */
	bool egress;
};

/* Whose hooks: "vports/NAME", "uplinks/NAME", below the pins of the instance. */
struct hook_owner {
	char folder[96];
	const struct hook_side *sides; /* HOOK_SIDES of them */
};

/* Asks the kernel once, on the loopback device, without attaching anything. `clsact`: do not even ask. */
int hooks_init(struct hooks *hooks, const struct object *object, const char *run_dir, bool clsact);

/* A device that is hooked, but not yet for good. */
struct hooked {
	uint32_t ifindex; /* 0: none */
	int links[HOOK_SIDES];
};

/* Both sides, or none; whatever else the owner is attached to stays. */
int hooks_begin(const struct hooks *hooks, const struct hook_owner *owner, uint32_t ifindex,
		struct hooked *hooked);
/* Makes it the owner's, in the place of `former`, the device that it had until now (0: none). */
int hooks_keep(const struct hooks *hooks, const struct hook_owner *owner, struct hooked *hooked,
	       uint32_t former);
/* Goes back, unless it was kept. */
void hooks_drop(const struct hooks *hooks, struct hooked *hooked);

int hooks_attach(const struct hooks *hooks, const struct hook_owner *owner, uint32_t ifindex);
/* The device may have gone. */
int hooks_detach(const struct hooks *hooks, const struct hook_owner *owner, uint32_t ifindex);

/* What is attached for one owner becomes the other's, who has nothing; the programs are the same. */
int hooks_pass(const struct hooks *hooks, const struct hook_owner *from,
	       const struct hook_owner *to);
/* Forgets links that are not the owner's any more: a daemon died between what it did. */
void hooks_unpin(const struct hooks *hooks, const struct hook_owner *owner);

/* The device that a daemon before us left the owner attached to, at both sides: *ifindex, 0: none. `known`: the device
 * that the maps name, since a filter, unlike a link, does not tell whose it is; 0: look at links only. */
int hooks_find(const struct hooks *hooks, const struct hook_owner *owner, uint32_t known,
	       uint32_t *ifindex);

/* Puts other programs in the place of those that run there. A device that has gone meanwhile is no error. */
int hooks_update(const struct hooks *hooks, const struct hook_owner *owner, uint32_t ifindex,
		 const struct programs *programs);

/* What is left when no daemon runs, whatever its version: detaches the links pinned in `folder` (an absolute path), and
 * takes our filters from a device. Errors are logged. */
int hooks_end_links(const char *folder, const struct hook_side *sides);
int hooks_end_filters(const char *run_dir, uint32_t ifindex);

#endif
