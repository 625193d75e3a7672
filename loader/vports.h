/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_VPORTS_H
#define DFW_LOADER_VPORTS_H

#include "daemon.h"
#include "policy/policy.h"

/* Changes of the list of ports, each all or nothing: in the kernel, in the list and on disk. -EINVAL and -EEXIST are
 * wrong input; errors are logged, those of the policy are in *errors. */

/* Takes the spec over, on an error perhaps not: *spec is NULL when it did. */
int vport_add(struct dfwd *d, struct vport_spec **spec, struct policy_errors *errors);
int vport_set(struct dfwd *d, struct port *port, struct vport_spec **spec,
	      struct policy_errors *errors);
int vport_del(struct dfwd *d, struct port *port, struct policy_errors *errors);

/* A port for a device that a pattern of the configuration matches, if one does. When the policy does not take it, it
 * denies. Errors are logged, and leave the device unguarded. */
int vport_add_by_pattern(struct dfwd *d, const char *device);
/* The same before the policy is read: it denies until vports_realise(). It is not on disk until ports_save(). */
void vport_guard_by_pattern(struct dfwd *d, const char *device);
/* -EINVAL, logged: the configuration makes this port as long as its device is there. */
int vport_must_be_ours(const struct dfwd *d, const struct port *port);

/* Brings the policy in force to all ports as they are; done when nothing differs. */
int vports_realise(struct dfwd *d);

#endif
