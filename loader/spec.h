/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_SPEC_H
#define DFW_LOADER_SPEC_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include <dfw/port.h>

#include "policy/policy.h"
#include "util.h"

/* What an operator says of a port, and what its identity is. */

#define SPEC_TAGS	 64
#define SPEC_TAG_BYTES	 256 /* of a key or value, with the NUL */
#define SPEC_PROFILE_LEN 64
#define DEFAULT_PROFILE	 "default"
#define UUID_TEXT_LEN	 37 /* with the NUL */

struct vport_spec {
	char name[DFW_PORT_NAME_LEN];
	char dev[IF_NAMESIZE];
	struct dfw_port_mac macs[DFW_PORT_MACS];
	size_t nr_macs;
	struct dfw_addr ips[DFW_PORT_ADDRESSES]; /* that the operator gave */
	size_t nr_ips;
	struct dfw_addr learned[DFW_PORT_ADDRESSES]; /* in the order in which they came */
	size_t nr_learned;
	/* All that are the port's own: `ips`, what spec_settle derives, `learned`. */
	struct dfw_addr addresses[DFW_PORT_ADDRESSES];
	size_t nr_addresses;
	uint16_t vlans[DFW_PORT_VLANS];
	size_t nr_vlans;
	struct policy_tag tags[SPEC_TAGS]; /* malloc'd strings */
	size_t nr_tags;
	char profile[SPEC_PROFILE_LEN];
	char share[DFW_PORT_NAME_LEN]; /* its share group, "": none */
	uint8_t uuid[16];
	uint64_t epoch;
	bool arriving; /* made for a move that has not come to its end: it denies until then */
	char pattern
		[IF_NAMESIZE]; /* of the configuration's section that made it; "": made by vport-add */
};

#define _cleanup_spec_ _cleanup_(spec_cleanup)

void spec_free(struct vport_spec *spec);
static inline void spec_cleanup(struct vport_spec **spec)
{
	spec_free(*spec);
}

/* A new port's, with a uuid of its own, the default profile and epoch 1. NULL: no memory. */
struct vport_spec *spec_new(void);
struct vport_spec *spec_copy(const struct vport_spec *spec);

/* Takes over what `json` (the arguments of vport-add and vport-set, or an entry of vports.json) has of "dev", "macs",
 * "ips", "vlans", "tags", "profile" and "share"; lists are replaced whole. -EINVAL: logged, with the member's name and value. */
int spec_read(struct vport_spec *spec, const json_t *json);
int spec_set_name(struct vport_spec *spec, const char *name);
int spec_add_tag(struct vport_spec *spec, const char *key, const char *value);
int spec_add_mac(struct vport_spec *spec, const char *text);
int spec_add_ip(struct vport_spec *spec, const char *text);
int spec_set_profile(struct vport_spec *spec, const char *profile);

void uuid_format(const uint8_t uuid[16], char text[UUID_TEXT_LEN]);
int uuid_parse(const char *text, uint8_t uuid[16]); /* -EINVAL */

/* Works out `addresses`, after a change. An IPv6 station also speaks from a link-local address, which operators seldom
 * list: when `ips` has an IPv6 address, but none of that kind, those that its MACs make are the port's too. Learned ones
 * that are listed by now, or that find no room any more, are forgotten. */
void spec_settle(struct vport_spec *spec);
bool spec_has(const struct vport_spec *spec, const struct dfw_addr *addr);

/* Adds a learned address that the port does not have yet. -EINVAL: none that a VM can have; -ENOSPC: no room. */
int spec_learn(struct vport_spec *spec, const struct dfw_addr *addr);
/* What it has only learned, and `other` has a better claim to: the operator's word, or its MAC. */
bool spec_must_unlearn(const struct vport_spec *spec, const struct vport_spec *other);
void spec_unlearn(struct vport_spec *spec, const struct vport_spec *other);

/* Both ways, with "name", "uuid", "epoch" and "pattern", for vports.json. NULL: no memory. */
json_t *spec_to_json(const struct vport_spec *spec);
int spec_from_json(const json_t *json, struct vport_spec **spec);

/* Logs and returns -EEXIST when both claim the same name, device, MAC or address. What was only learned is no claim. */
int spec_conflict(const struct vport_spec *spec, const struct vport_spec *other);

#endif
