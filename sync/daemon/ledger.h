/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_LEDGER_H
#define SYNC_DAEMON_LEDGER_H

#include <stddef.h>

#include "sync/env.h"

/*
 * The ledger on disk: one file, two places of 128 bytes for each port, written in turns. A record goes where the older one
 * lies, with a checksum, and one fdatasync makes it durable: no file is made or renamed. A crash in the middle of a write
 * leaves the record before.
 */
struct ledger_file {
	int fd;
	struct ledger_place *places;
	size_t nr; /* pairs in the file */
};

/* Makes the file or reads it. 0; -EBADMSG: it is no ledger; another negative errno. */
int ledger_open(const char *path, struct ledger_file *file);
void ledger_close(struct ledger_file *file);

/* Durable when it returns. */
int ledger_write(struct ledger_file *file, const struct ledger *record);
/* The port needs no record any more. Durable some time: an old one does no harm. */
int ledger_drop(struct ledger_file *file, struct uuid port);
/* Calls `each` for every port's record. */
void ledger_each(const struct ledger_file *file,
		 void (*each)(void *data, const struct ledger *record), void *data);

#endif
