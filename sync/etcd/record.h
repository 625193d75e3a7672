/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_ETCD_RECORD_H
#define SYNC_ETCD_RECORD_H

#include "sync/messages.h"

/*
 * A manifest as it lies in the store: `version, oldest reader`, writer, manifest, and the writer's signature, whose form is
 * its maker's matter. What is signed are all bytes before the signature, behind the prefix of the cluster's keys, so
 * that a record of another cluster is none here.
 */

#define RECORD_SIGNATURE_MAX 512
#define RECORD_MAX	     (ENTRY_VALUE_MAX + RECORD_SIGNATURE_MAX + 16)
#define RECORD_PREFIX_MAX    64
#define RECORD_SIGNED_MAX    (RECORD_MAX + RECORD_PREFIX_MAX + 32)

struct record {
	uint32_t writer;
	struct manifest manifest;
	struct slice signature;
	/* The part of the record before the signature. */
	struct slice body;
};

/* The record without its signature. 0 or -EMSGSIZE. */
int record_begin(const struct manifest *manifest, uint32_t writer, uint8_t bytes[RECORD_MAX],
		 uint16_t *nr);
/* Puts the signature behind it. 0 or -EMSGSIZE. */
int record_end(struct slice signature, uint8_t bytes[RECORD_MAX], uint16_t *nr);

/* 0; -EBADMSG; -EPROTO: only newer readers can read it. The slices point into `bytes`. */
int record_parse(struct slice bytes, struct record *record);

/* What a signature covers; returns its length. `prefix` has at most RECORD_PREFIX_MAX bytes. */
size_t record_signed(const char *prefix, struct slice body, uint8_t bytes[RECORD_SIGNED_MAX]);

#endif
