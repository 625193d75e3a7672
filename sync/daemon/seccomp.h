/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_SECCOMP_H
#define SYNC_DAEMON_SECCOMP_H

/* From here on the process, all its threads, can do what a daemon with sockets, files of its own and map descriptors needs
 * to do; anything else fails with EPERM. No program can be run, no process made or looked into, no privilege had.
 * 0 or a negative errno. */
int seccomp_install(void);

#endif
