/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_QUERY_ANSWERS_H
#define SYNC_DAEMON_QUERY_ANSWERS_H

#include "sync/daemon/queries.h"

/* Answers a question of another host, or of this one, now or later. */
void query_run(struct syncd *d, struct question *question);

#endif
