/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_UPLINKS_H
#define DFW_LOADER_UPLINKS_H

#include "daemon.h"

/* The uplinks of an instance: the list, its file uplinks.json, their devices. */

struct uplink *uplinks_find(const struct dfwd *d, const char *name);
struct uplink *uplinks_find_ifindex(const struct dfwd *d, uint32_t ifindex);
/* Whether there is an uplink of that name, or will be by the configuration. */
bool uplinks_wanted(const struct dfwd *d, const char *name);

/* Each all or nothing: in the kernel, in the list and on disk. -EINVAL and -EEXIST are wrong input; errors are logged. */
int uplink_add(struct dfwd *d, const struct uplink_wish *wish, bool configured);
int uplink_set(struct dfwd *d, struct uplink *uplink, const struct uplink_wish *wish);
int uplink_del(struct dfwd *d, struct uplink *uplink);

/* Logs and returns -EINVAL for an uplink that the configuration has: it is to be changed there. */
int uplink_must_be_ours(const struct dfwd *d, const struct uplink *uplink);

/* Reads uplinks.json and finds what of it the kernel has. */
int uplinks_restore(struct dfwd *d);
/* Our programs in the place of former ones; back again on any error. */
int uplinks_upgrade(struct dfwd *d);
/* Makes the list what the configuration wants, as far as it made it. What fails is logged. */
void uplinks_configure(struct dfwd *d);

/* A device of that name is there; true: it is an uplink's. */
bool uplinks_seen(struct dfwd *d, uint32_t ifindex, const char *name);
/* A device has gone. */
void uplinks_gone(struct dfwd *d, uint32_t ifindex);
/* Tries again what failed. */
void uplinks_retry(struct dfwd *d);

int uplinks_detach(struct dfwd *d);

#endif
