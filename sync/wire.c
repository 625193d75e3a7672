// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "sync/wire.h"

/* ---- Texts ------------------------------------------------------------------------------------------------------- */

/* How long the UTF-8 character is that begins with `byte`, and the least that it may mean: a longer form of less is none. */
static size_t character_length(uint8_t byte, uint32_t *least)
{
	if (byte < 0x80) {
		*least = 0x20;
		return 1;
	}
	*least = byte < 0xe0 ? 0x80 : byte < 0xf0 ? 0x800 : 0x10000;
	return byte < 0xc2 ? 0 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : byte < 0xf5 ? 4 : 0;
}

/* RFC 3629, section 4. Returns the length of the character, 0: it is none, or not for texts. */
static size_t valid_character(const uint8_t *text, size_t nr)
{
	uint32_t least, meaning = text[0];
	size_t length = character_length(text[0], &least);

	if (!length || length > nr)
		return 0;
	if (length > 1)
		meaning &= 0x7fU >> length;
	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		meaning = meaning << 6 | (text[i] & 0x3f);
	}
	if (meaning < least || meaning > 0x10ffff || (meaning >= 0xd800 && meaning <= 0xdfff))
		return 0;
	return meaning >= 0x7f && meaning < 0xa0 ? 0 : length;
}

bool text_valid(const void *text, size_t nr)
{
	const uint8_t *at = text;

	while (nr) {
		size_t length = valid_character(at, nr);

		if (!length)
			return false;
		at += length;
		nr -= length;
	}
	return true;
}

void put_text(struct writer *writer, const char *text)
{
	size_t nr = strnlen(text, WIRE_TEXT_LEN - 1);

	put_u8(writer, (uint8_t)nr);
	put_bytes(writer, text, nr);
}

void get_text(struct reader *reader, char *text)
{
	uint8_t nr;

	memset(text, 0, WIRE_TEXT_LEN);
	get_u8(reader, &nr);
	if (nr >= WIRE_TEXT_LEN) {
		reader->bad = true;
		return;
	}
	get_bytes(reader, text, nr);
	if (!text_valid(text, nr))
		reader->bad = true;
}

void put_slice(struct writer *writer, struct slice slice)
{
	put_u16(writer, slice.nr);
	put_bytes(writer, slice.bytes, slice.nr);
}

void get_slice(struct reader *reader, struct slice *slice)
{
	*slice = (struct slice){0};
	get_u16(reader, &slice->nr);
	if (reader_left(reader) < slice->nr) {
		reader->bad = true;
		slice->nr = 0;
		return;
	}
	slice->bytes = reader->at;
	reader->at += slice->nr;
}

uint8_t *tlv_begin(struct writer *writer, uint16_t type)
{
	uint8_t *begin = writer->at;

	put_u16(writer, type);
	put_u16(writer, 0);
	return begin;
}

bool tlv_end(struct writer *writer, uint8_t *begin)
{
	size_t nr = (size_t)(writer->at - begin);

	if (writer->full || nr - WIRE_TLV_HEADER > UINT16_MAX) {
		writer->at = begin;
		writer->full = false;
		return false;
	}
	memcpy(begin + 2, &(uint16_t){(uint16_t)(nr - WIRE_TLV_HEADER)}, 2);
	return true;
}

bool tlv_next(struct reader *reader, uint16_t *type, struct reader *value)
{
	uint16_t nr;

	if (!reader_left(reader))
		return false;
	get_u16(reader, type);
	get_u16(reader, &nr);
	if (reader->bad || reader_left(reader) < nr) {
		reader->bad = true;
		return false;
	}
	reader_init(value, reader->at, nr);
	reader->at += nr;
	return true;
}

void packet_begin(struct writer *writer, void *bytes, size_t nr)
{
	writer_init(writer, bytes, nr);
	put_u8(writer, WIRE_VERSION);
	put_u8(writer, WIRE_OLDEST);
}

int packet_open(struct reader *reader, const void *bytes, size_t nr)
{
	uint8_t version, oldest;

	reader_init(reader, bytes, nr);
	get_u8(reader, &version);
	get_u8(reader, &oldest);
	if (reader->bad)
		return -EBADMSG;
	if (oldest > WIRE_VERSION)
		return -EPROTO;
	return 0;
}
