/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_DATAPATH_H
#define SYNC_DAEMON_DATAPATH_H

#include "sync/env.h"

/* The datapath of this host's ports as the core wants it, see <sync/env.h>; `data` is the daemon. */

int datapath_prepare(void *data, struct uuid port, struct slice description, uint64_t flows);
int datapath_pause(void *data, struct uuid port);
void datapath_activate(void *data, struct uuid port, uint64_t epoch, bool resync);
void datapath_release(void *data, struct uuid port);
bool datapath_gone(void *data, struct uuid port);
void datapath_flow_apply(void *data, struct uuid port, const struct flow_record *record);
int datapath_flows_held(void *data, struct uuid port);
void datapath_move_event(void *data, struct uuid port, enum move_result result);

#endif
