/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_CLUSTER_REQUESTS_H
#define DFW_LOADER_CLUSTER_REQUESTS_H

#include "policy/policy.h"
#include "sync_link.h"

struct dfwd;

/* What dfwsyncd asks of dfwd: a table, as commands.c has one for dfwctl. */

struct cluster_reply {
	json_t *result;		     /* members of the answer; NULL: none */
	json_t *text;		     /* beside it, of any length; NULL: none */
	struct policy_errors errors; /* of the policy */
	int fds[SYNC_LINK_FDS];	     /* owned: closed when they are sent */
	size_t nr_fds;
};

/* Runs the request of a packet; returns the answer, without its id. */
json_t *cluster_request_run(struct dfwd *d, const struct link_packet *packet,
			    struct cluster_reply *reply);
void cluster_reply_clear(struct cluster_reply *reply);

#endif
