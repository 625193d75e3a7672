/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_INSTANCE_H
#define DFWCTL_INSTANCE_H

/* What is known of an instance without its daemon: its pins, and the files of its state folder. */

#include <jansson.h>

#include "command.h"

/* Turns a negative errno of lib/view.h into words on stderr; `vport` may be NULL. */
enum exit_status view_failed(const struct invocation *call, const char *vport, int error);

/* "/var/lib/dfw/INSTANCE/FILE"; has room for PATH_MAX. */
const char *state_path(const char *instance, const char *file, char *path);

/* Whether there is a state folder or a folder of pins. */
bool instance_exists(const char *instance);

/* Whether pins can be seen at all: without a bpffs that there are none says nothing of the kernel. */
bool bpffs_mounted(void);

/* Whether the host of this instance is in a cluster: its policy comes from there, and there are other hosts to ask. */
bool in_cluster(const char *instance);

/* Reads a JSON file of the state folder. 0; -ENOENT; -EPERM; -EBADMSG: it is damaged; another negative errno. */
int state_json(const char *instance, const char *file, json_t **json);

/* The same, with words on stderr for every error. `missing` says what -ENOENT means ("no policy was applied yet"). */
enum exit_status state_json_or_complain(const struct invocation *call, const char *file,
					const char *missing, json_t **json);

/* Names of the vports that the command is about: the one given, or all. Free with names_free(). Complains. */
enum exit_status select_vports(const struct invocation *call, const char *vport, char ***names,
			       size_t *nr);

/* A port was deleted between the list of names and the look at it: no error where all were asked for. */
bool vport_vanished(const char *asked_for, int error);

#endif
