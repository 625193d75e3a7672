/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_MOVES_H
#define DFW_LOADER_MOVES_H

#include "cluster_requests.h"

struct port;

/* What dfwsyncd asks for a port that moves between hosts, or that it copies the flows of. The protocol is in <sync_link.h>. */

int run_port_prepare(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply);
int run_port_hold(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply);
int run_port_quiet(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply);
int run_port_activate(struct dfwd *d, const struct link_packet *packet,
		      struct cluster_reply *reply);
int run_port_release(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply);
int run_port_watch(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply);
int run_port_maps(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply);
int run_member(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply);

/* The descriptors that go beside `hello`: changes, change_losses, the program exchange, its array, graves. */
#define HELLO_FDS 5
int moves_hello_fds(const struct dfwd *d, int fds[HELLO_FDS]);

/* In a cluster a port that is new here may be one that runs elsewhere: it is held until dfwsyncd has looked, but not for
 * long. */
void moves_hold_new(struct dfwd *d, struct port *port);
void moves_tick(struct dfwd *d);
/* dfwsyncd has gone: nobody reads changes any more, and nobody answers for new ports. */
void moves_link_lost(struct dfwd *d);

/* Whether other packets of its flows pass elsewhere, as its spec says. */
int moves_share(struct dfwd *d, struct port *port);

/* The ports that deny everything until a move has ended: [{"vport", "ms": for how long, null: since before dfwd began, "why"}]. */
json_t *moves_held_json(const struct dfwd *d);

/* The VM of a held port sends. */
void moves_seen(struct dfwd *d, struct port *port);

#endif
