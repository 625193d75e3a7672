/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_REMOTE_PORTS_H
#define DFW_LOADER_REMOTE_PORTS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include <dfw/port.h>

#include "policy/policy.h"

struct dfwd;
struct cluster_reply;
struct link_packet;
struct policy_errors;
struct port;
struct vport_spec;

#define REMOTE_HOST_LEN 64

/* A port of another host: what groups of the policy want to know of it. */
struct remote_port {
	char name[DFW_PORT_NAME_LEN];
	char host[REMOTE_HOST_LEN];
	uint8_t uuid[16];
	char share[DFW_PORT_NAME_LEN];
	struct policy_tag *tags; /* owned, and their texts */
	size_t nr_tags;
	struct dfw_addr *addresses; /* owned */
	size_t nr_addresses;
	struct dfw_addr
		*own; /* owned: of a member of a share group, those that no member before it has */
	size_t nr_own;
};

/* All of them, as dfwsyncd told last; kept in remote-vports.json, so that groups mean the same while it is away. */
struct remote_ports {
	struct remote_port *list;
	size_t nr;
	json_t *json; /* what the list was made from */
};

/* Reads the file. Errors are logged. */
int remote_ports_restore(struct dfwd *d);
void remote_ports_free(struct remote_ports *remote);
/* Writes it. */
void remote_ports_save(const struct dfwd *d);

/* The request remote-vports: takes the list over and realises the policy anew, or changes nothing. */
int remote_ports_set(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply);

/* A port of this host goes to `host`: it is removed here, and in the groups as that host's in the same moment, not when
 * dfwsyncd tells of it. 0, or as vport_del. */
int remote_ports_give(struct dfwd *d, struct port *port, const char *host,
		      struct policy_errors *errors);

/* Adds them to the ports that a policy is compiled for, of which there are *nr and room for remote.nr more. What a port of
 * this host has, by name or address, none of another host has, but for an address that a share group has. */
int remote_ports_append(struct dfwd *d, struct policy_port *ports, size_t *nr);

/* Logs and returns -EEXIST when a port of another host has the name. */
int remote_ports_conflict(const struct dfwd *d, const struct vport_spec *spec);

/* The spec is to be the port of its name of another host. Logs and returns -EINVAL when there is none. */
int remote_ports_adopt(const struct dfwd *d, struct vport_spec *spec);

#endif
