/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_PRIVILEGES_H
#define SYNC_DAEMON_PRIVILEGES_H

struct syncd;

#define SYNCD_USER	"dfwsync"
#define SYNCD_USER_ELSE "nobody"

/* Finds who we shall be; NULL: SYNCD_USER if there is such a user, else SYNCD_USER_ELSE. Errors are logged. */
int privileges_find_user(struct syncd *d, const char *user);

/* First of all, before there are threads: no capability can be had again that is given up, by nobody of us. */
int privileges_bound(void);
/* From here on: another user, no groups, no capability, none to be had again, and only the system calls of a list. */
int privileges_drop(const struct syncd *d);

#endif
