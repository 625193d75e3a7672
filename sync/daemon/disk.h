/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_DISK_H
#define SYNC_DAEMON_DISK_H

#include <limits.h>
#include <stdint.h>

#include "sync/daemon/ledger.h"

struct syncd;

/*
 * What dfwsyncd keeps, in STATE_DIR/sync/: each file is whole or not there, and durable when a function returns.
 *
 *	life		counts the starts
 *	ledger		what this host is to its ports, see ledger.h
 *	manifest	writer and manifest that was followed last
 *	objects/HASH	policy objects: the bundle of each generation
 *	peers		where other hosts were, see peers.h
 */

#define DISK_OBJECTS 16 /* kept; what the manifest names always is among the newest */

struct disk_object {
	struct digest name;
	uint8_t *bytes;
	uint32_t nr;
};

struct disk {
	char dir[PATH_MAX / 2];
	struct ledger_file ledger;
	struct disk_object objects[DISK_OBJECTS]; /* read so far, the newest first */
	size_t nr_objects;
};

/* As root: the folders `cluster` and `sync`, which belong to the daemon's user, with what is in them. */
int disk_make(struct syncd *d);
/* As that user. Errors are logged. */
int disk_open(struct syncd *d);
void disk_close(struct syncd *d);

/* The number of this start, written down. */
int disk_next_life(struct disk *disk, uint32_t *life);

/* The cluster was left: ledger, manifest and peers go. */
void disk_forget(struct disk *disk);

/* -ENOENT: none was followed yet. */
int disk_manifest_read(const struct disk *disk, struct manifest *manifest, uint32_t *writer);
int disk_manifest_write(const struct disk *disk, const struct manifest *manifest, uint32_t writer);

struct digest object_digest(const void *bytes, size_t nr);
/* NULL: not here. The bytes stay until DISK_OBJECTS others were asked for. */
const uint8_t *disk_object_get(struct disk *disk, const struct digest *name, uint32_t *nr);
/* -EBADMSG: its hash is another. */
int disk_object_put(struct disk *disk, const struct digest *name, const uint8_t *bytes,
		    uint32_t nr);

#define DIGEST_TEXT_LEN (2 * sizeof(struct digest) + 1)
char *digest_format(const struct digest *digest, char text[DIGEST_TEXT_LEN]);

#endif
