// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "sync/etcd/record.h"

#define RECORD_VERSION 1
#define RECORD_OLDEST  1 /* version that can read what we write */

/* So that no signature made for another purpose is one of a record. */
static const char purpose[] = "dfw policy manifest";

int record_begin(const struct manifest *manifest, uint32_t writer, uint8_t bytes[RECORD_MAX],
		 uint16_t *nr)
{
	uint8_t value[ENTRY_VALUE_MAX];
	struct writer record;
	uint16_t value_nr;
	int r;

	r = manifest_encode(manifest, value, &value_nr);
	if (r < 0)
		return r;
	writer_init(&record, bytes, RECORD_MAX);
	put_u8(&record, RECORD_VERSION);
	put_u8(&record, RECORD_OLDEST);
	put_u32(&record, writer);
	put_slice(&record, (struct slice){value, value_nr});
	*nr = (uint16_t)writer_used(&record);
	return record.full ? -EMSGSIZE : 0;
}

int record_end(struct slice signature, uint8_t bytes[RECORD_MAX], uint16_t *nr)
{
	struct writer record;

	writer_init(&record, bytes + *nr, RECORD_MAX - *nr);
	put_slice(&record, signature);
	if (record.full || signature.nr > RECORD_SIGNATURE_MAX)
		return -EMSGSIZE;
	*nr += (uint16_t)writer_used(&record);
	return 0;
}

int record_parse(struct slice bytes, struct record *record)
{
	struct reader reader;
	uint8_t version, oldest;
	struct slice manifest;

	if (bytes.nr > RECORD_MAX)
		return -EBADMSG;
	reader_init(&reader, bytes.bytes, bytes.nr);
	get_u8(&reader, &version);
	get_u8(&reader, &oldest);
	if (reader.bad || !version || oldest > version)
		return -EBADMSG;
	if (oldest > RECORD_VERSION)
		return -EPROTO;
	get_u32(&reader, &record->writer);
	get_slice(&reader, &manifest);
	record->body = (struct slice){bytes.bytes, (uint16_t)(reader.at - bytes.bytes)};
	get_slice(&reader, &record->signature);
	if (reader.bad || !record->writer || record->signature.nr > RECORD_SIGNATURE_MAX)
		return -EBADMSG;
	return manifest_decode(manifest, &record->manifest);
}

size_t record_signed(const char *prefix, struct slice body, uint8_t bytes[RECORD_SIGNED_MAX])
{
	struct writer covered;

	writer_init(&covered, bytes, RECORD_SIGNED_MAX);
	put_slice(&covered, (struct slice){(const uint8_t *)purpose, sizeof(purpose) - 1});
	put_slice(&covered, (struct slice){(const uint8_t *)prefix, (uint16_t)strlen(prefix)});
	put_bytes(&covered, body.bytes, body.nr);
	return covered.full ? 0 : writer_used(&covered);
}
