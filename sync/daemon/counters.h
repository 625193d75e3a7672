/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_COUNTERS_H
#define SYNC_DAEMON_COUNTERS_H

#include <jansson.h>

/* What dfwsyncd has dropped, refused or done, by name: of the network (XPORT_COUNTERS), of the core (SYNC_COUNTERS) and of
 * what is around it. dfwctl shows them with the same tables' texts. */

#define SYNCD_COUNTERS(X)                                                                   \
	X(changes_lost, datapath.losses,                                                    \
	  "changes of flows that the kernel's ring had no room for")                        \
	X(ended_late, datapath.ended_late,                                                  \
	  "times that another CPU held a flow which was to end: tried again")               \
	X(not_shared, datapath.not_shared,                                                  \
	  "what other members of share groups know, and the kernel did not take")           \
	X(questions_unanswered, queries.timeouts, "questions to hosts that did not answer") \
	X(questions_refused, queries.refused,                                               \
	  "questions of hosts that may not ask them, or too many, refused")

struct control_call;
struct syncd;

json_t *counters_core(const struct syncd *d);
/* The command sync-counters. */
int counters_run(struct syncd *d, struct control_call *call, const json_t *arguments);

#endif
