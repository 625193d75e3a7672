/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_SYNC_LINK_H
#define DFW_SYNC_LINK_H

/*
 * The link between dfwd and dfwsyncd of one instance: a SOCK_SEQPACKET socket in the run directory. dfwsyncd listens, dfwd
 * connects, and tries again each second for ever: it needs nothing from there. A packet is one JSON object; what is large,
 * and the file descriptors of maps, go beside it (SCM_RIGHTS, text in a sealed memfd).
 *
 *   dfwsyncd -> dfwd   {"id": 7, "request": "policy-flip", ...}
 *   dfwd -> dfwsyncd   {"id": 7, "status": 0 or -errno, "error": "what failed", ...}     in the order of the requests
 *   both               {"notice": "...", ...}                                            nobody answers
 *
 * Notices of dfwd:
 *   hello          {"instance", "version", "generation", "last", "object"}: the generation in force, the highest number ever,
 *                  and what the cluster calls the policy (its hash). Descriptors: the maps changes and change_losses, the
 *                  program exchange, the maps exchange and graves (see <dfw/change.h>, <dfw/exchange.h>,
 *                  <dfw/grave.h>)          first of all
 *   vports         memfd: [{"name", "uuid", "epoch", "dev", "macs", "ips", "learned", "vlans", "tags", "profile", "share",
 *                  "slot", "maps", "attached", "ready", "held", "seen", "late", "asks",
 *                  "arriving"}], all of them, at hello and after each change. "maps" is
 *                  another number when the port has other maps than before; "seen": held, and its VM sends,
 *                  so it runs here; "late": its VM had sent before the device was enforced; "asks": new, held until port-activate says that no other host has it; "arriving": made by port-prepare
 * Requests of dfwsyncd:
 *   remote-vports  memfd: {"vports": [{"name", "uuid", "host", "macs", "ips", "learned", "tags"}], "hosts": ["b", ..],
 *                  "whole": bool}. Ports of other hosts, for groups. What dfwd knows of a host that is not in "hosts" stays,
 *                  unless it is whole.
 *   policy-check   memfd: the bundle. -EINVAL: "errors", lines
 *   policy-stage   {"generation"}, memfd: the bundle as in policy/GENERATION.json. "errors" as above
 *   policy-flip    {"generation"}                                   -> {"vports", "rules", "ago_us"}: since when
 *   member         {"member"}: in a cluster. A vport that is added is held then until port-activate, or for 3 s if nothing is
 *                  said of it
 *   port-watch     {"uuid", "on"}: its changes go to the ring. Ends when the link does
 *   port-maps      {"uuid"}                        -> {"slot"}, descriptors to read: flows, more_flows, half_open,
 *                                                 state
 *   port-prepare   {"vport": as in vports, "flows"}: makes it, held, unless it is there; held then.
 *                  -> {"slot"}; -ENOSPC: its profile has no room for so many flows; -EEXIST, -EINVAL
 *   port-hold      {"uuid", "pull"}: denies everything from now on; packets that are under way may still end. "pull": until
 *                  the host that had it has given it up
 *   port-quiet     none is any more
 *   port-activate  {"uuid", "epoch"}: in force; not held any more
 *   port-release   {"uuid", "host"}: removes the port. "host": whose it is now; it stays in the groups, as that host's
 * Questions of other hosts, handed on; answers come in a memfd:
 *   flow-find      {"proto", "addr", "port"}, each optional         -> {"flows": [..], "more": there were more}
 *   flow-kill      the same and "vport"                             -> {"killed"}
 *   rules          {"vport"} or {}: all                             -> [{"vport", "rules": [..]}]
 *   drift                                                           -> see loader/drift.h
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define SYNC_LINK_SOCKET   "sync.sock"
#define SYNC_LINK_BYTES	   60000      /* of a packet's JSON */
#define SYNC_LINK_FDS	   8	      /* beside it */
#define SYNC_LINK_TEXT_MAX (64 << 20) /* of a text in a memfd */
#define SYNC_LINK_WAITING \
	4096 /* packets that wait for the other end; more: it hangs, the link is given up */

/* A packet that came, or waits to be sent; owns its descriptors. */
struct link_packet {
	json_t *json;
	int fds[SYNC_LINK_FDS];
	size_t nr_fds;
	struct link_packet *next;
};

/* One end. */
struct sync_link {
	int fd; /* -1: not connected */
	struct link_packet *first, *last;
	size_t nr_waiting;
};

/* Both set *fd. Errors of connect are not logged: -ENOENT and -ECONNREFUSED mean that nobody listens. */
int sync_link_listen(const char *run_dir, int *fd);
int sync_link_connect(const char *run_dir, int *fd);
void sync_link_close(struct sync_link *link);

/* Takes the reference of `json`; the descriptors stay the caller's. Never blocks: what does not go now waits.
 * -ENOTCONN; -ENOBUFS: the other end takes nothing any more; -EMSGSIZE: more than a packet holds. */
int sync_link_send(struct sync_link *link, json_t *json, const int *fds, size_t nr_fds);
/* The same, with `text` in a memfd as the only descriptor. */
int sync_link_send_text(struct sync_link *link, json_t *json, const json_t *text);
/* Sends what waits. */
int sync_link_flush(struct sync_link *link);
static inline bool sync_link_waits(const struct sync_link *link)
{
	return link->first != NULL;
}

/* 0: *packet is to be cleared by the caller; -EAGAIN: nothing there; -ECONNRESET: the other end is gone; -EBADMSG. */
int sync_link_receive(const struct sync_link *link, struct link_packet *packet);
void link_packet_clear(struct link_packet *packet);
/* The text of the first descriptor. -EBADMSG: there is none, or it is no JSON; -EFBIG. */
int link_packet_text(const struct link_packet *packet, json_t **text);

/* A memfd with the JSON in it, sealed. */
int json_memfd(const json_t *json, int *fd);

#endif
