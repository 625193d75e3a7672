/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_PORT_H
#define DFW_LOADER_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include <dfw/port.h>
#include <dfw/ruleset.h>

#include "object.h"
#include "spec.h"
#include "util.h"

/* A port in the kernel: a slot, and a folder of pinned maps. */
struct port {
	struct vport_spec *spec;
	uint32_t slot;
	uint32_t maps;	  /* another number for other maps */
	uint32_t ifindex; /* of the device it is attached to; 0: the device is not there */
	bool attach_failed; /* the device is there, and enforcing it has failed: tried again each second */
	bool seen;	    /* held, and its VM has sent something since: it runs here */
	bool late;	    /* its VM had sent before the device was enforced; not in force since */
	bool left_out; /* made by a pattern, and the policy does not take it: denies until the next policy */
	bool listed;		       /* see port_set_listed */
	bool same_banks;	       /* both banks have the same config and rules */
	struct dfw_port_config config; /* what is in force: the active bank's */
	struct dfw_rule_total_key
		*rules;	  /* config.hits_count of them, in the order of the `rules` map */
	int state;	  /* fd of its `state` map */
	uint64_t made_ns; /* CLOCK_MONOTONIC; 0: taken over. Its slot was another's before */
	uint64_t
		answer_ns; /* CLOCK_MONOTONIC: held until dfwsyncd says whose it is, at most until then; 0: not so */
	uint64_t
		held_ns; /* CLOCK_MONOTONIC: it is held since then; 0: it is not, or was when it was taken over */
	bool pulled; /* held, since it is asked whether the host that had it will give it up */
	uint64_t refused_ns;	 /* when the log last told of an address that it may not have */
	uint32_t refused_untold; /* ... and how often it did not since */
};

#define _cleanup_port_ _cleanup_(port_cleanup)

/* Frees the memory; the kernel's side stays. */
void port_free(struct port *port);
static inline void port_cleanup(struct port **port)
{
	port_free(*port);
}

/* Makes the folder and the maps of a port that the kernel does not know, sized as the profile wants, with a config that
 * denies everything. Not listed yet. Takes the spec over on success. Errors are logged. */
int port_create(const struct object *object, struct vport_spec **spec, uint32_t slot,
		const struct dfw_profile *profile, struct port **port);

/* Puts the maps of new ports where the datapath finds them. All at once, since each call that changes a map of maps
 * waits for a grace period. */
int ports_install(const struct object *object, struct port *const *ports, size_t nr);

/* Takes over a port that the kernel has; `config` is what is in force there. -ESTALE: its maps are not of our shape. */
int port_adopt(const struct object *object, struct vport_spec **spec,
	       const struct dfw_port_config *config, struct port **port);

/* While a port is added or removed the kernel may have it and the list on disk may not. Its folder says so, in the kernel,
 * until that is over: only such a port may be missing in the list at a start. */
int port_set_listed(const struct object *object, struct port *port, bool listed);
bool port_is_listed(const char *instance, const char *name);

/* Removes the folder of a port and its maps; nothing may be attached any more. */
int port_destroy(const struct object *object, const char *name, uint32_t slot);

/* Gives the port maps of the profile's sizes, with the flows in them. Only while no packet makes flows: the port is not
 * attached, or denies everything. Otherwise, since flows that change while they are copied would be lost or come back
 * older than they are, nothing is done until then, which is logged. */
int port_resize(const struct object *object, struct port *port, const struct dfw_profile *profile);

/* Pins the maps of `bank` as config and rules. */
int port_pin_bank(const struct object *object, const struct port *port, uint32_t bank);

/* A `rules` map for hits_count rules; an fd. */
int port_make_hits(const struct object *object, const char *name, uint32_t hits_count);
int port_make_config(const struct object *object, const struct dfw_port_config *config);

/* A map of the port by its pin's name; an fd. */
int port_open_map(const struct object *object, const struct port *port, const char *pin);

static inline uint32_t bank_index(uint32_t slot, uint32_t bank)
{
	return slot * DFW_BANKS + bank;
}

#endif
