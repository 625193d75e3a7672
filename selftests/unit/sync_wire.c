// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "check.h"
#include "sync/messages.h"

static struct reader first_tlv(const void *bytes, size_t nr, uint16_t *type)
{
	struct reader reader, value = {0};

	reader_init(&reader, bytes, nr);
	if (!tlv_next(&reader, type, &value))
		value.bad = true;
	return value;
}

static struct flow_record some_flow(bool v6)
{
	struct flow_record record = {
		.key = {.local_port = 1, .remote_port = 65535, .vlan = 4094, .protocol = 6},
		.epoch = 0x0123456789abcdef,
		.version = UINT64_MAX,
		.idle_ms = 1,
		.age_ms = 1ULL << 40,
		.rule = 0xdeadbeef,
		.generation = 7,
		.state = DFW_FLOW_TCP_FIN_WAIT,
		.initiator = DFW_OUT,
		.scale = {14, 0},
		.leg_flags = {DFW_LEG_SYN | DFW_LEG_FIN, DFW_LEG_RESYNC},
		.flags = FLOW_RESYNC,
		.life = 0x87654321,
	};

	memset(record.legs, 0x5a, sizeof(record.legs));
	memset(&record.key.local, v6 ? 0x20 : 0, 10);
	memset(&record.key.remote, v6 ? 0x30 : 0, 10);
	for (size_t i = 10; i < 16; i++)
		record.key.local.bytes[i] = record.key.remote.bytes[i] = i < 12 ? 0xff : (uint8_t)i;
	return record;
}

int main(void)
{
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer writer;
	uint16_t type;

	TEST("a message reads back as it was written")
	{
		struct member_record out = {.host = 5,
					    .state = 1,
					    .incarnation = 1ULL << 33,
					    .by = 9,
					    .address = "tcp://[2001:db8::1]:7946"};
		struct member_record in;

		writer_init(&writer, bytes, sizeof(bytes));
		CHECK(put_member_record(&writer, &out));
		CHECK(get_member_record(first_tlv(bytes, writer_used(&writer), &type), &in) == 0);
		CHECK(type == MESSAGE_MEMBER);
		CHECK(in.host == 5 && in.state == 1 && in.incarnation == 1ULL << 33 && in.by == 9);
		CHECK(!strcmp(in.address, out.address));
	}

	TEST("a message cut anywhere is refused")
	{
		struct move_final out = {.sequence = 3, .description = {(const uint8_t *)"abc", 3}},
				  in;
		struct reader value;
		size_t whole;

		writer_init(&writer, bytes, sizeof(bytes));
		put_move_final(&writer, &out);
		whole = writer_used(&writer) - WIRE_TLV_HEADER;
		for (size_t nr = 0; nr < whole; nr++) {
			reader_init(&value, bytes + WIRE_TLV_HEADER, nr);
			CHECK(get_move_final(value, &in) == -EBADMSG);
		}
		reader_init(&value, bytes + WIRE_TLV_HEADER, whole);
		CHECK(get_move_final(value, &in) == 0 && in.description.nr == 3);
	}

	TEST("a newer version's message with more fields reads as ours")
	{
		struct ping in;
		uint8_t *begin;

		writer_init(&writer, bytes, sizeof(bytes));
		begin = tlv_begin(&writer, MESSAGE_PING);
		put_u32(&writer, 1);
		put_u32(&writer, 2);
		put_u64(&writer, 3); /* what we do not know */
		tlv_end(&writer, begin);
		CHECK(get_ping(first_tlv(bytes, writer_used(&writer), &type), &in) == 0);
		CHECK(in.sequence == 1 && in.target == 2);
	}

	TEST("a packet that needs a newer reader is told from a broken one")
	{
		struct reader reader;

		CHECK(packet_open(&reader, (uint8_t[]){WIRE_VERSION + 1, WIRE_VERSION}, 2) == 0);
		CHECK(packet_open(&reader, (uint8_t[]){WIRE_VERSION + 1, WIRE_VERSION + 1}, 2) ==
		      -EPROTO);
		CHECK(packet_open(&reader, (uint8_t[]){WIRE_VERSION}, 1) == -EBADMSG);
	}

	TEST("what does not fit is not written at all")
	{
		struct ping ping = {1, 2};
		size_t before;

		writer_init(&writer, bytes, 20);
		CHECK(put_ping(&writer, &ping));
		before = writer_used(&writer);
		CHECK(!put_ping(&writer, &ping));
		CHECK(writer_used(&writer) == before && !writer.full);
	}

	TEST("texts with control characters, or too long, are refused")
	{
		char text[WIRE_TEXT_LEN];
		struct reader reader;

		reader_init(&reader,
			    "\x02"
			    "a\x1b",
			    3);
		get_text(&reader, text);
		CHECK(reader.bad);
		memset(bytes, 'a', sizeof(bytes));
		bytes[0] = WIRE_TEXT_LEN;
		reader_init(&reader, bytes, sizeof(bytes));
		get_text(&reader, text);
		CHECK(reader.bad);
	}

	TEST("texts are UTF-8 without control characters, in its shortest form, or are refused")
	{
		static const struct {
			const char *text;
			bool valid;
		} texts[] = {
			{"web-1", true},
			{"z\xc3\xbcrich", true},
			{"\xe2\x82\xac", true},
			{"\xf0\x9f\x94\xa5 wall", true},
			{"\xf4\x8f\xbf\xbf", true},
			{"", true},
			{"\xff\xfe", false},
			{"a\x80", false},
			{"\xc3", false},
			{"\xc3(", false},
			{"\xe2\x82", false},
			{"\xc0\xaf", false},
			{"\xe0\x80\xaf", false},
			{"\xed\xa0\x80", false},
			{"\xf4\x90\x80\x80", false},
			{"\xc2\x9b"
			 "31m",
			 false},
			{"\x1b[31m", false},
			{"\x7f", false},
		};

		for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
			if (!CHECK(text_valid(texts[i].text, strlen(texts[i].text)) ==
				   texts[i].valid))
				printf("# text %zu\n", i);
	}

	TEST("a flow reads back, IPv4 and IPv6, within FLOW_RECORD_BYTES")
	{
		for (int v6 = 0; v6 < 2; v6++) {
			struct flow_record out = some_flow(v6), in;
			struct reader reader;
			uint64_t sequence;

			writer_init(&writer, bytes, FLOW_RECORD_BYTES);
			CHECK(put_flow_record(&writer, &out, 77));
			reader_init(&reader, bytes, writer_used(&writer));
			CHECK(get_flow_record(&reader, &in, &sequence));
			CHECK(sequence == 77 && !memcmp(&in, &out, sizeof(in)));
			CHECK(!get_flow_record(&reader, &in, &sequence) && !reader.bad);
		}
	}

	TEST("unknown attributes of a flow are skipped, a flow without its key, or of a life "
	     "that no datapath counts, is refused")
	{
		struct flow_record out = some_flow(false), in;
		struct reader reader;
		uint64_t sequence;
		uint16_t nr;

		writer_init(&writer, bytes, sizeof(bytes));
		put_flow_record(&writer, &out, 1);
		put_bytes(&writer, (uint8_t[]){200, 3, 1, 2, 3}, 5);
		nr = (uint16_t)(writer_used(&writer) - 2);
		memcpy(bytes, &nr, 2);
		reader_init(&reader, bytes, writer_used(&writer));
		CHECK(get_flow_record(&reader, &in, &sequence) && !memcmp(&in, &out, sizeof(in)));
		out.life = FLOW_LIFE_MOST + 1ULL;
		writer_init(&writer, bytes, sizeof(bytes));
		put_flow_record(&writer, &out, 1);
		reader_init(&reader, bytes, writer_used(&writer));
		CHECK(!get_flow_record(&reader, &in, &sequence) && reader.bad);
		bytes[2 + 26] = 201; /* the key's attribute becomes one that nobody knows */
		reader_init(&reader, bytes, writer_used(&writer));
		CHECK(!get_flow_record(&reader, &in, &sequence) && reader.bad);
	}

	TEST("digest lines out of order are refused")
	{
		struct digest_message message = {
			.last = 100, .nr = 2, .lines = {{.host = 5}, {.host = 4}}};

		writer_init(&writer, bytes, sizeof(bytes));
		put_digest_message(&writer, &message);
		CHECK(get_digest_message(first_tlv(bytes, writer_used(&writer), &type), &message) ==
		      -EBADMSG);
	}

	TEST("a full digest fits a datagram")
	{
		static struct digest_message message = {.last = 1000000, .nr = DIGEST_LINES};

		packet_begin(&writer, bytes, sizeof(bytes));
		CHECK(put_digest_message(&writer, &message));
	}

	TEST("a manifest with all its objects fits an entry")
	{
		struct manifest out = {.term = 3,
				       .active = {4, GENERATION_OBJECTS, {{{1}}}},
				       .staged = {5, GENERATION_OBJECTS, {{{2}}}}},
				in;
		uint8_t value[ENTRY_VALUE_MAX], again[ENTRY_VALUE_MAX];
		uint16_t nr, nr_again;

		CHECK(manifest_encode(&out, value, &nr) == 0);
		CHECK(manifest_decode((struct slice){value, nr}, &in) == 0);
		CHECK(in.term == out.term && in.staged.number == out.staged.number);
		CHECK(manifest_encode(&in, again, &nr_again) == 0);
		CHECK(nr_again == nr && memcmp(value, again, nr) == 0);
		CHECK(manifest_decode((struct slice){value, (uint16_t)(nr - 1)}, &in) == -EBADMSG);
	}
	return check_done();
}
