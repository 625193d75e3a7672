/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOCK_H
#define DFW_LOCK_H

/* Makes run_dir and takes the lock of a daemon there ("dfwd"): two of one instance would write the same things. Its file
 * holds our pid. *lock is to be kept open as long as we run. -EBUSY and other errors are logged. */
int daemon_lock(const char *run_dir, const char *daemon, const char *instance, int *lock);

#endif
