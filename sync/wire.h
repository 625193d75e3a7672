/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_WIRE_H
#define SYNC_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * Bytes on the wire: little endian integers, short texts, TLVs (u16 type, u16 length).
 * A writer that runs out of room sets `full` and writes nothing more; a reader that runs out of bytes sets `bad` and
 * gives zeros. So a codec is a plain list of fields, and one check at its end is enough.
 */

#define WIRE_VERSION	1
#define WIRE_OLDEST	1 /* oldest version that can read what we write */
#define WIRE_DATAGRAM	1200
#define WIRE_FRAME	60000
#define WIRE_TEXT_LEN	64 /* with the NUL */
#define WIRE_TLV_HEADER 4
#define WIRE_HEADER	2

struct uuid {
	uint8_t bytes[16];
};

struct slice {
	const uint8_t *bytes;
	uint16_t nr;
};

struct writer {
	uint8_t *begin;
	uint8_t *at;
	uint8_t *end;
	bool full;
};

struct reader {
	const uint8_t *at;
	const uint8_t *end;
	bool bad;
};

static inline void writer_init(struct writer *writer, void *bytes, size_t nr)
{
	*writer = (struct writer){.begin = bytes, .at = bytes, .end = (uint8_t *)bytes + nr};
}

static inline size_t writer_used(const struct writer *writer)
{
	return (size_t)(writer->at - writer->begin);
}

static inline void put_bytes(struct writer *writer, const void *bytes, size_t nr)
{
	if (writer->full || (size_t)(writer->end - writer->at) < nr) {
		writer->full = true;
		return;
	}
	if (nr)
		memcpy(writer->at, bytes, nr);
	writer->at += nr;
}

/* An empty slice may have no address, and that plus 0 is not defined. */
static inline void reader_init(struct reader *reader, const void *bytes, size_t nr)
{
	*reader = (struct reader){.at = bytes, .end = nr ? (const uint8_t *)bytes + nr : bytes};
}

static inline size_t reader_left(const struct reader *reader)
{
	return reader->bad ? 0 : (size_t)(reader->end - reader->at);
}

static inline void get_bytes(struct reader *reader, void *bytes, size_t nr)
{
	if (reader->bad || (size_t)(reader->end - reader->at) < nr) {
		reader->bad = true;
		memset(bytes, 0, nr);
		return;
	}
	memcpy(bytes, reader->at, nr);
	reader->at += nr;
}

/* All machines that dfw runs on are little endian; the assert is here so that a port to another one notices. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little endian");

#define WIRE_INTEGER(name, type)                                          \
	static inline void put_##name(struct writer *writer, type value)  \
	{                                                                 \
		put_bytes(writer, &value, sizeof(value));                 \
	}                                                                 \
	static inline void get_##name(struct reader *reader, type *value) \
	{                                                                 \
		get_bytes(reader, value, sizeof(*value));                 \
	}
WIRE_INTEGER(u8, uint8_t)
WIRE_INTEGER(u16, uint16_t)
WIRE_INTEGER(u32, uint32_t)
WIRE_INTEGER(u64, uint64_t)
WIRE_INTEGER(uuid, struct uuid)
#undef WIRE_INTEGER

/* UTF-8 without control characters: texts of other hosts end up in JSON, on terminals and in logs. */
bool text_valid(const void *text, size_t nr);
/* At most WIRE_TEXT_LEN - 1 bytes that are valid. `text` of get_text has room for WIRE_TEXT_LEN. */
void put_text(struct writer *writer, const char *text);
void get_text(struct reader *reader, char *text);

/* u16 length and bytes; the slice points into what is read. */
void put_slice(struct writer *writer, struct slice slice);
void get_slice(struct reader *reader, struct slice *slice);

/* A TLV is written between begin and end. end() returns false, and takes the whole TLV back, if it did not fit; what
 * was written before stays. */
uint8_t *tlv_begin(struct writer *writer, uint16_t type);
bool tlv_end(struct writer *writer, uint8_t *begin);

/* Returns false at the end of the bytes, and also when the rest is malformed (then reader->bad). */
bool tlv_next(struct reader *reader, uint16_t *type, struct reader *value);

/* The header of a packet. packet_open: 0; -EBADMSG: cut short; -EPROTO: needs a newer reader. */
void packet_begin(struct writer *writer, void *bytes, size_t nr);
int packet_open(struct reader *reader, const void *bytes, size_t nr);

#endif
