/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_CLUSTER_FOLDER_H
#define DFWCTL_CLUSTER_FOLDER_H

#include "command.h"
#include "sync/secure/identity.h"

/* The folder cluster/ of an instance, which makes this host a member; dfwsyncd looks at it once a second. */

/* "/var/lib/dfw/INSTANCE/cluster"; has room for PATH_MAX. */
const char *cluster_folder(const char *instance, char *path);
/* Made if it is not there. Complains. */
enum exit_status cluster_folder_make(const char *directory);

/* What this host is; EXIT_FAILED and a complaint when it is no member, or the files are damaged. */
enum exit_status cluster_folder_identity(const struct invocation *call, struct identity **identity);
bool cluster_folder_is_member(const char *directory);

/* Charter and certificate, in an order that leaves a member a member whenever the power goes. Its key is there already:
 * the one in use, or host.key.new. A charter that is older than the one here is left out. */
enum exit_status cluster_folder_certify(const char *directory,
					const struct certificate *certificate,
					const struct charter *charter);

/* Something has changed: dfwsyncd, if it runs, has seen it when this returns. */
void cluster_folder_changed(const struct invocation *call);

/* Turns a negative errno into words. */
enum exit_status cluster_folder_failed(const char *directory, int r);

#endif
