/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_CLUSTER_QUESTIONS_H
#define DFW_LOADER_CLUSTER_QUESTIONS_H

#include "cluster_requests.h"

/* What dfwsyncd asks for other hosts: they see flows and rules of this one's vports, and may end flows. */

int cluster_flow_find(struct dfwd *d, const struct link_packet *packet,
		      struct cluster_reply *reply);
int cluster_flow_kill(struct dfwd *d, const struct link_packet *packet,
		      struct cluster_reply *reply);
int cluster_rules(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply);
int cluster_drift(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply);

#endif
