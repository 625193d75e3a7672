/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_STATUS_H
#define SYNC_DAEMON_STATUS_H

#include <jansson.h>

struct control_call;
struct syncd;

/* The command cluster-status: all hosts as this one sees them, and what those that live say of themselves. */
int status_cluster(struct syncd *d, struct control_call *call, const json_t *arguments);

#endif
