/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_PORTS_H
#define DFW_LOADER_PORTS_H

#include "daemon.h"
#include "realise.h"

/* The ports of an instance: the list, its file vports.json, and what the kernel has of them. */

struct port *ports_find(const struct dfwd *d, const char *name);
struct port *ports_find_uuid(const struct dfwd *d, const uint8_t uuid[16]);
struct port *ports_find_device(const struct dfwd *d, const char *device);
struct port *ports_find_ifindex(const struct dfwd *d, uint32_t ifindex);

/* Logs and returns -EEXIST when the spec takes something that another port than `except` has. */
int ports_conflict(const struct dfwd *d, const struct vport_spec *spec, const struct port *except);

/* -ENOSPC: logged. */
int ports_free_slot(const struct dfwd *d, uint32_t *slot);

/* Puts the port in the list, which owns it then. */
int ports_insert(struct dfwd *d, struct port *port);
/* Takes it out again; the caller owns it. */
void ports_take(struct dfwd *d, struct port *port);

/* Writes vports.json, as wanted_list would have it, so that file_commit only has to rename it. */
int ports_stage_file(const struct dfwd *d, const struct wanted_port *wanted, size_t nr,
		     struct staged_file *staged);

/* Writes it as the list is, where the kernel knows the change already: an error is logged, and no more. */
void ports_save(struct dfwd *d);

/* Reads vports.json; takes over what the kernel has of its ports and makes the others, denying. -ESTALE, logged: it lacks
 * some that the kernel has. */
int ports_restore(struct dfwd *d);
/* Removes ports from the kernel that vports.json does not know: those that were added or removed when a daemon before us
 * ended. Before any other is made, which could get the slot of one. */
void ports_remove_strangers(struct dfwd *d);

/* Detaches the port, removes it from the kernel and frees it. It is in no list and in no revision in force. */
void port_remove(struct dfwd *d, struct port *port);

#endif
