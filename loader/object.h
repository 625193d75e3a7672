/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_OBJECT_H
#define DFW_LOADER_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include <dfw/maps.h>

/* The BPF object of an instance: its programs, its maps, their pins. */

/* Maps of the whole instance, by the names of bpf/maps.h. */
#define OBJECT_MAPS(X)   \
	X(layout)        \
	X(active)        \
	X(port_slots)    \
	X(near_slots)    \
	X(limits)        \
	X(rule_flows)    \
	X(secrets)       \
	X(rulesets)      \
	X(decisions)     \
	X(events)        \
	X(event_losses)  \
	X(listeners)     \
	X(changes)       \
	X(change_losses) \
	X(graves)        \
	X(exchange)      \
	X(paths)         \
	X(stations)      \
	X(path_state)    \
	X(devices)       \
	X(uplink_list)   \
	X(path_ways)

/* Maps of maps. */
#define OBJECT_OUTER_MAPS(X) \
	X(configs)           \
	X(hits)              \
	X(flows)             \
	X(more_flows)        \
	X(half_open)         \
	X(fragments)         \
	X(counters)          \
	X(states)            \
	X(rule_infos)        \
	X(row_refs)          \
	X(row_chunks)        \
	X(addr_exact)        \
	X(addr_prefix4)      \
	X(addr_prefix)       \
	X(l4_classes)

/* What an inner map looks like, from the template in bpf/maps.h. */
struct map_shape {
	uint32_t type;
	uint32_t key_bytes;
	uint32_t value_bytes;
	uint32_t entries;
	uint32_t flags;
	uint32_t btf_key;
	uint32_t btf_value;
};

struct outer_map {
	int fd;
	struct map_shape inner;
};

struct programs {
	int in;
	int out;
	int sweep;
	int exchange;
	int wire_in; /* an uplink's ingress */
	int wire_out;
	int reclass;
};
#define NO_PROGRAMS {-1, -1, -1, -1, -1, -1, -1}

struct object {
	struct dfw_tc *skeleton;
	const char *instance;
	bool adopted;	 /* the pins were there: flows and rules of a daemon before us */
	int lock;	 /* see <pins_lock.h> */
	bool unfinished; /* a first start has not pinned all yet */
	uint64_t netns;	 /* cookie of our network namespace */
	int btf;
#define OBJECT_MAP_FD(name) int name;
	OBJECT_MAPS(OBJECT_MAP_FD)
#undef OBJECT_MAP_FD
#define OBJECT_OUTER_MAP(name) struct outer_map name;
	OBJECT_OUTER_MAPS(OBJECT_OUTER_MAP)
#undef OBJECT_OUTER_MAP
	__u64 *in_force;		 /* the value of `active` itself, a struct dfw_revision */
	struct map_shape rule_totals;	 /* of each port; no program reads them */
	struct dfw_secrets secret_words; /* what the map `secrets` holds */
	struct programs programs;	 /* ours; the skeleton owns the fds */
	struct programs former;		 /* those that were pinned when we came, -1 without */
	int grace;			 /* see object_grace_period */
	int grace_inner;
};

/* 0; -ENODEV: there is no bpffs to pin in, which is logged. */
int object_check_bpffs(void);

/* Loads the programs: on the pinned maps of the instance when there are any, else on new maps, which are pinned; in the
 * bpffs that has been checked for.
 * Attaches nothing and changes nothing that packets see. Errors are logged. */
int object_open(struct object *object, const char *instance);
void object_close(struct object *object);

/* Puts the secret of the hash of flows into a program's constants, before it is loaded. */
void object_keep_secret(const struct object *object, __u64 words[DFW_HASH_WORDS]);

/* Pins our programs, in the place of those before us, and signs the layout. */
int object_pin_programs(struct object *object);

/* Brings a revision into force: all that its bank holds has to be there. */
void object_activate(const struct object *object, struct dfw_revision revision);

/* An inner map; `entries` 0: as the template says. `name` is cut to what the kernel takes. */
int object_make_map(const struct object *object, const struct map_shape *shape, const char *name,
		    uint32_t entries);
/* Whether a map is of that shape; its size may differ. */
bool map_has_shape(int map, const struct map_shape *shape);

/* Returns when no program runs any more that began before the call. */
int object_grace_period(const struct object *object);
/* Returns when no packet is handled any more that was when it was called; sooner than a grace period. Programs that user
 * space runs are not waited for. */
int object_packets_end(const struct object *object);

/* Runs the sweep for a port. Returns the number of flows removed. */
int object_sweep(const struct object *object, uint32_t slot, enum dfw_sweep_op op);
/* Ends one flow of a port. Returns how many there were of that key: 0 or 1. -EBUSY: another CPU holds it, ask again. */
int object_kill_flow(const struct object *object, uint32_t slot, const struct dfw_flow_key *key);

/* Changes classes of addresses. -ENOENT: one of them has no element; those before it are changed. */
int object_reclass(const struct object *object, const struct dfw_reclass_request *request);

/* Removes every pin of the instance. */
int object_unpin(const char *instance);

#endif
