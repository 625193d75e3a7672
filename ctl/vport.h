/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_VPORT_H
#define DFWCTL_VPORT_H

/* Vports as their commands see them. */

#include <jansson.h>

#include "command.h"
#include "table.h"
#include "view.h"

/* A vport: as dfwd keeps it on disk, and as the kernel has it. One of the two may be missing. */
struct vport {
	const char *name;
	const json_t *stored; /* borrowed */
	struct view_vport view;
	bool realised; /* `view` is valid */
};

/* The list of vports.json; an empty one when there is no such file. Complains. */
enum exit_status vports_stored(const struct invocation *call, json_t **list);

/* Looks a vport up in that list, which must outlive it, and in the kernel. -ENOENT: it is in neither, or
 * there is no bpffs to look into. */
int vport_read(const char *instance, const char *name, const json_t *list, struct vport *vport);

/* A policy is realised for it. */
bool vport_ready(const struct vport *vport);

/* It denies everything until a move has ended. */
bool vport_held(const struct vport *vport);

/* "enforcing", "no policy", ... and the colour to say it in. */
const char *vport_state(const struct vport *vport, enum color *color);

/* What `vport show -j` prints. */
json_t *vport_json(const struct vport *vport);

#endif
