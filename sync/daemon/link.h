/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_LINK_H
#define SYNC_DAEMON_LINK_H

#include "sync_link.h"

struct syncd;

/* dfwsyncd's end of the link to dfwd: <sync_link.h> has the protocol. dfwd may be away at any time; requests under way
 * then end with -ECONNRESET. */

/* What became of a request: status is 0 or a negative errno; `packet` is dfwd's answer, NULL when the link broke. */
typedef void dfwd_answer(void *data, int status, const struct link_packet *packet);

struct dfwd_link {
	int listener;
	struct sync_link link;
	bool watches_room;
	uint64_t last_id;
	struct dfwd_request *first, *last; /* without an answer, in their order */
};

/* Before privileges are dropped. */
int dfwd_link_open(struct syncd *d);
void dfwd_link_close(struct syncd *d);
/* Once in each turn of the loop. */
void dfwd_link_turn(struct syncd *d);

bool dfwd_connected(const struct syncd *d);

/* Takes the reference of `request`, {"request": NAME, ...}; descriptors stay the caller's. `answer` is called later, and
 * once: not when this returns an error. NULL: the answer does not matter. -ENOTCONN: dfwd is not there. */
int dfwd_request(struct syncd *d, json_t *request, const int *fds, size_t nr_fds,
		 dfwd_answer *answer, void *data);
/* The same, with a text beside it. */
int dfwd_request_text(struct syncd *d, json_t *request, const json_t *text, dfwd_answer *answer,
		      void *data);

#endif
