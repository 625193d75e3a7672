/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_MIGRATE_H
#define DFW_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Moving a vport with its VM from host to host, for the hooks of hypervisors: what `dfwctl migrate` does, in C. Link with
 * -ldfw -lnanomsg -ljansson. The calls ask dfwsyncd of the instance (NULL: "default") and block until it is so or has failed.
 *
 *	dfw_move_prepare	on the source or the destination, while the VM runs: the destination makes the port and denies,
 *				flows are copied. Returns when what is left to copy takes no time
 *	dfw_move_start		on the source, when the VM is paused: the port denies here, the rest is copied and compared
 *	dfw_move_activate	on the destination, when the VM runs there. Not needed when the VM announces itself
 *	dfw_move_rollback	on the source or the destination: the port goes on at the source. After dfw_move_start too,
 *				unless the destination has taken it
 *	dfw_move_status		where it stands
 *
 * 0; -EINVAL: wrong names, or not what the move's state allows; -EAGAIN: not in time, it goes on; -EIO: it failed;
 * -ECONNREFUSED, -ENOTCONN, -ECONNRESET, -ETIMEDOUT: no word from dfwsyncd; -EPERM. `move` (may be NULL) is filled as far as
 * anything is known, and `error` says in words what is wrong.
 */

#define DFW_MOVE_TEXT_LEN 64

enum dfw_move_flag {
	DFW_MOVE_STRICT = 1 << 0, /* rather refuse than lose a flow */
};

struct dfw_move {
	char role
		[DFW_MOVE_TEXT_LEN]; /* what the port is to the host: "active", "handover", "prepared", ... */
	char phase
		[DFW_MOVE_TEXT_LEN]; /* "none", "preparing", "precopy", "handed-over", "arriving", ... */
	char peer[DFW_MOVE_TEXT_LEN]; /* the other host; "": none */
	bool safe;		      /* the VM could be paused now */
	uint64_t flows;		      /* on the host that was asked */
	uint64_t behind;	      /* changes that the other host has not */
	int64_t behind_ms;	      /* age of the oldest of them */
	int64_t took_us;	      /* the command, in dfwsyncd */
	char error[256];
};

int dfw_move_prepare(const char *instance, const char *vport, const char *to, unsigned int flags,
		     unsigned int wait_ms, struct dfw_move *move);
int dfw_move_start(const char *instance, const char *vport, struct dfw_move *move);
int dfw_move_activate(const char *instance, const char *vport, struct dfw_move *move);
int dfw_move_rollback(const char *instance, const char *vport, struct dfw_move *move);
int dfw_move_status(const char *instance, const char *vport, struct dfw_move *move);

#endif
