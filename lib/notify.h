/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_NOTIFY_H
#define DFW_NOTIFY_H

/* sd_notify(3) without libsystemd: sends e.g. "READY=1" to $NOTIFY_SOCKET; nothing without one. */
void notify(const char *state);

#endif
