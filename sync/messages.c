// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "sync/messages.h"

static void put_digest(struct writer *writer, struct digest digest)
{
	put_bytes(writer, &digest, sizeof(digest));
}

static void get_digest(struct reader *reader, struct digest *digest)
{
	get_bytes(reader, digest, sizeof(*digest));
}

/* Fields of structs are passed by value to put_ and by address to get_; a text is an array and decays to the same. */
#define GET_u8(reader, field)	  get_u8(reader, &(field))
#define GET_u32(reader, field)	  get_u32(reader, &(field))
#define GET_u64(reader, field)	  get_u64(reader, &(field))
#define GET_uuid(reader, field)	  get_uuid(reader, &(field))
#define GET_digest(reader, field) get_digest(reader, &(field))
#define GET_slice(reader, field)  get_slice(reader, &(field))
#define GET_text(reader, field)	  get_text(reader, field)

#define FIELD_PUT(kind, field) put_##kind(writer, message->field);
#define FIELD_GET(kind, field) GET_##kind(&reader, message->field);

#define MESSAGE_DEFINE(number, symbol, name)                                 \
	bool put_##name(struct writer *writer, const struct name *message)   \
	{                                                                    \
		uint8_t *begin = tlv_begin(writer, MESSAGE_##symbol);        \
                                                                             \
		FIELDS_##symbol(FIELD_PUT) return tlv_end(writer, begin);    \
	}                                                                    \
	int get_##name(struct reader reader, struct name *message)           \
	{                                                                    \
		FIELDS_##symbol(FIELD_GET) return reader.bad ? -EBADMSG : 0; \
	}
MESSAGES(MESSAGE_DEFINE)

bool put_digest_message(struct writer *writer, const struct digest_message *message)
{
	uint8_t *begin = tlv_begin(writer, MESSAGE_DIGEST);

	put_u8(writer, message->answer);
	put_u32(writer, message->first);
	put_u32(writer, message->last);
	put_u16(writer, message->nr);
	for (size_t i = 0; i < message->nr; i++) {
		put_u32(writer, message->lines[i].host);
		put_u8(writer, message->lines[i].state);
		put_u64(writer, message->lines[i].incarnation);
		put_u64(writer, message->lines[i].known);
	}
	return tlv_end(writer, begin);
}

int get_digest_message(struct reader reader, struct digest_message *message)
{
	uint32_t least;

	get_u8(&reader, &message->answer);
	get_u32(&reader, &message->first);
	get_u32(&reader, &message->last);
	get_u16(&reader, &message->nr);
	if (reader.bad || message->nr > DIGEST_LINES)
		return -EBADMSG;

	least = message->first;
	for (size_t i = 0; i < message->nr; i++) {
		struct digest_line *line = &message->lines[i];

		get_u32(&reader, &line->host);
		get_u8(&reader, &line->state);
		get_u64(&reader, &line->incarnation);
		get_u64(&reader, &line->known);
		/* Whoever merges two sorted lists relies on the order. */
		if (reader.bad || line->host < least || line->host > message->last ||
		    line->host == UINT32_MAX)
			return -EBADMSG;
		least = line->host + 1;
	}
	return 0;
}

void put_entries_head(struct writer *writer, const struct entries_head *head)
{
	put_u32(writer, head->origin);
	put_u64(writer, head->from);
	put_u8(writer, head->rumour);
}

void get_entries_head(struct reader *reader, struct entries_head *head)
{
	get_u32(reader, &head->origin);
	get_u64(reader, &head->from);
	get_u8(reader, &head->rumour);
}

static void put_entry_fields(struct writer *writer, const struct entry_record *record)
{
	put_u8(writer, record->kind);
	put_u8(writer, record->deleted);
	put_uuid(writer, record->id);
	put_u64(writer, record->version);
	put_u64(writer, record->epoch);
	put_slice(writer, record->value);
}

void put_entry_record(struct writer *writer, const struct entry_record *record)
{
	put_entry_fields(writer, record);
	put_slice(writer, record->signature);
}

size_t entry_signed(uint32_t origin, const struct entry_record *record,
		    uint8_t bytes[ENTRY_SIGNED_MAX])
{
	struct writer writer;

	writer_init(&writer, bytes, ENTRY_SIGNED_MAX);
	put_u32(&writer, origin);
	put_entry_fields(&writer, record);
	return writer_used(&writer);
}

bool get_entry_record(struct reader *reader, struct entry_record *record)
{
	if (!reader_left(reader))
		return false;
	get_u8(reader, &record->kind);
	get_u8(reader, &record->deleted);
	get_uuid(reader, &record->id);
	get_u64(reader, &record->version);
	get_u64(reader, &record->epoch);
	get_slice(reader, &record->value);
	get_slice(reader, &record->signature);
	if (record->deleted > 1 || record->value.nr > ENTRY_VALUE_MAX ||
	    (record->signature.nr && record->signature.nr != ENTRY_SIGNATURE))
		reader->bad = true;
	return !reader->bad;
}

void put_flows_head(struct writer *writer, const struct flows_head *head)
{
	put_uuid(writer, head->port);
	put_u64(writer, head->epoch);
	put_u32(writer, head->life);
	put_u32(writer, head->stream);
	put_u64(writer, head->from);
	put_u64(writer, head->to);
	put_u64(writer, head->head);
}

void get_flows_head(struct reader *reader, struct flows_head *head)
{
	get_uuid(reader, &head->port);
	get_u64(reader, &head->epoch);
	get_u32(reader, &head->life);
	get_u32(reader, &head->stream);
	get_u64(reader, &head->from);
	get_u64(reader, &head->to);
	get_u64(reader, &head->head);
	if (head->to < head->from || head->head < head->to)
		reader->bad = true;
}

/* A record is u16 length and attributes (u8 type, u8 length). What an older host did not send stays zero. */
enum flow_attribute {
	FLOW_ATTRIBUTE_ORDER = 1, /* sequence, epoch, version */
	FLOW_ATTRIBUTE_KEY4 = 2,
	FLOW_ATTRIBUTE_KEY6 = 3,
	FLOW_ATTRIBUTE_STATE = 4, /* state, initiator, scales, leg flags, flags */
	FLOW_ATTRIBUTE_AGES = 5,
	FLOW_ATTRIBUTE_RULE = 6,
	FLOW_ATTRIBUTE_LEG_ORIG = 7,
	FLOW_ATTRIBUTE_LEG_REPLY = 8,
	FLOW_ATTRIBUTE_LIFE = 9, /* left out: 0 */
};

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool key_is_v4(const struct dfw_flow_key *key)
{
	return !memcmp(key->local.bytes, v4_mapped, sizeof(v4_mapped)) &&
	       !memcmp(key->remote.bytes, v4_mapped, sizeof(v4_mapped));
}

static void put_attribute(struct writer *writer, enum flow_attribute type, uint8_t nr)
{
	put_u8(writer, (uint8_t)type);
	put_u8(writer, nr);
}

static void put_key(struct writer *writer, const struct dfw_flow_key *key)
{
	if (key_is_v4(key)) {
		put_attribute(writer, FLOW_ATTRIBUTE_KEY4, 15);
		put_bytes(writer, key->local.bytes + 12, 4);
		put_bytes(writer, key->remote.bytes + 12, 4);
	} else {
		put_attribute(writer, FLOW_ATTRIBUTE_KEY6, 39);
		put_bytes(writer, key->local.bytes, 16);
		put_bytes(writer, key->remote.bytes, 16);
	}
	put_u16(writer, key->local_port);
	put_u16(writer, key->remote_port);
	put_u16(writer, key->vlan);
	put_u8(writer, key->protocol);
}

static void get_key(struct reader *reader, struct dfw_flow_key *key, bool v4)
{
	*key = (struct dfw_flow_key){0};
	if (v4) {
		memcpy(key->local.bytes, v4_mapped, sizeof(v4_mapped));
		memcpy(key->remote.bytes, v4_mapped, sizeof(v4_mapped));
		get_bytes(reader, key->local.bytes + 12, 4);
		get_bytes(reader, key->remote.bytes + 12, 4);
	} else {
		get_bytes(reader, key->local.bytes, 16);
		get_bytes(reader, key->remote.bytes, 16);
	}
	get_u16(reader, &key->local_port);
	get_u16(reader, &key->remote_port);
	get_u16(reader, &key->vlan);
	get_u8(reader, &key->protocol);
}

/* The four words of a leg are the same bytes for TCP and SCTP. */
static void put_leg(struct writer *writer, enum flow_attribute type, const struct dfw_leg *leg)
{
	put_attribute(writer, type, 32);
	put_u64(writer, leg->packets);
	put_u64(writer, leg->bytes);
	put_u32(writer, leg->end);
	put_u32(writer, leg->max_end);
	put_u32(writer, leg->max_window);
	put_u32(writer, leg->ack);
}

static void get_leg(struct reader *reader, struct dfw_leg *leg)
{
	uint64_t count;
	uint32_t word;

	get_u64(reader, &count);
	leg->packets = count;
	get_u64(reader, &count);
	leg->bytes = count;
	get_u32(reader, &word);
	leg->end = word;
	get_u32(reader, &word);
	leg->max_end = word;
	get_u32(reader, &word);
	leg->max_window = word;
	get_u32(reader, &word);
	leg->ack = word;
}

bool put_flow_record(struct writer *writer, const struct flow_record *record, uint64_t sequence)
{
	uint8_t *begin = writer->at;

	put_u16(writer, 0);
	put_attribute(writer, FLOW_ATTRIBUTE_ORDER, 24);
	put_u64(writer, sequence);
	put_u64(writer, record->epoch);
	put_u64(writer, record->version);
	put_key(writer, &record->key);
	put_attribute(writer, FLOW_ATTRIBUTE_STATE, 7);
	put_u8(writer, record->state);
	put_u8(writer, record->initiator);
	put_bytes(writer, record->scale, DFW_LEGS);
	put_bytes(writer, record->leg_flags, DFW_LEGS);
	put_u8(writer, record->flags);
	if (record->life) {
		put_attribute(writer, FLOW_ATTRIBUTE_LIFE, 8);
		put_u64(writer, record->life);
	}
	if (!(record->flags & FLOW_GONE)) {
		put_attribute(writer, FLOW_ATTRIBUTE_AGES, 16);
		put_u64(writer, record->idle_ms);
		put_u64(writer, record->age_ms);
		put_attribute(writer, FLOW_ATTRIBUTE_RULE, 8);
		put_u32(writer, record->rule);
		put_u32(writer, record->generation);
		put_leg(writer, FLOW_ATTRIBUTE_LEG_ORIG, &record->legs[DFW_ORIG]);
		put_leg(writer, FLOW_ATTRIBUTE_LEG_REPLY, &record->legs[DFW_REPLY]);
	}
	if (writer->full) {
		writer->at = begin;
		writer->full = false;
		return false;
	}
	memcpy(begin, &(uint16_t){(uint16_t)(writer->at - begin - 2)}, 2);
	return true;
}

static void get_flow_attribute(struct reader *value, uint8_t type, struct flow_record *record,
			       uint64_t *sequence)
{
	switch (type) {
	case FLOW_ATTRIBUTE_ORDER:
		get_u64(value, sequence);
		get_u64(value, &record->epoch);
		get_u64(value, &record->version);
		break;
	case FLOW_ATTRIBUTE_KEY4:
	case FLOW_ATTRIBUTE_KEY6:
		get_key(value, &record->key, type == FLOW_ATTRIBUTE_KEY4);
		break;
	case FLOW_ATTRIBUTE_STATE:
		get_u8(value, &record->state);
		get_u8(value, &record->initiator);
		get_bytes(value, record->scale, DFW_LEGS);
		get_bytes(value, record->leg_flags, DFW_LEGS);
		get_u8(value, &record->flags);
		break;
	case FLOW_ATTRIBUTE_AGES:
		get_u64(value, &record->idle_ms);
		get_u64(value, &record->age_ms);
		break;
	case FLOW_ATTRIBUTE_RULE:
		get_u32(value, &record->rule);
		get_u32(value, &record->generation);
		break;
	case FLOW_ATTRIBUTE_LIFE:
		get_u64(value, &record->life);
		break;
	case FLOW_ATTRIBUTE_LEG_ORIG:
		get_leg(value, &record->legs[DFW_ORIG]);
		break;
	case FLOW_ATTRIBUTE_LEG_REPLY:
		get_leg(value, &record->legs[DFW_REPLY]);
		break;
	}
}

bool get_flow_record(struct reader *reader, struct flow_record *record, uint64_t *sequence)
{
	const uint32_t required = 1 << FLOW_ATTRIBUTE_ORDER | 1 << FLOW_ATTRIBUTE_STATE;
	const uint32_t keys = 1 << FLOW_ATTRIBUTE_KEY4 | 1 << FLOW_ATTRIBUTE_KEY6;
	struct slice slice;
	struct reader body;
	uint32_t seen = 0;

	if (!reader_left(reader))
		return false;
	get_slice(reader, &slice);
	reader_init(&body, slice.bytes, slice.nr);
	memset(record, 0, sizeof(*record));
	*sequence = 0;
	while (reader_left(&body)) {
		struct reader value;
		uint8_t type, nr;

		get_u8(&body, &type);
		get_u8(&body, &nr);
		if (reader_left(&body) < nr) {
			body.bad = true;
			break;
		}
		reader_init(&value, body.at, nr);
		body.at += nr;
		get_flow_attribute(&value, type, record, sequence);
		body.bad |= value.bad;
		if (type < 32)
			seen |= 1U << type;
	}
	if (body.bad || (seen & required) != required || !(seen & keys) ||
	    record->state >= DFW_FLOW_STATES || record->initiator >= DFW_DIRECTIONS ||
	    record->scale[DFW_ORIG] > 14 || record->scale[DFW_REPLY] > 14 ||
	    record->life > FLOW_LIFE_MOST)
		reader->bad = true;
	return !reader->bad;
}

/* Values of entries are attributes too: u8 type, u8 length. */
enum vport_attribute {
	VPORT_NAME = 1,
	VPORT_TAG = 2,
	VPORT_ADDRESS = 3,
	VPORT_DEVICE = 4,
	VPORT_PROFILE = 5,
	VPORT_STATE = 6,
	VPORT_MAC = 7,
	VPORT_VLAN = 8,
	VPORT_LEARNED = 9,
	VPORT_SHARE = 10,
};

static void put_text_attribute(struct writer *writer, uint8_t type, const char *text)
{
	put_u8(writer, type);
	put_u8(writer, (uint8_t)(strnlen(text, WIRE_TEXT_LEN - 1) + 1));
	put_text(writer, text);
}

static void put_value(struct writer *writer, uint8_t type, const void *bytes, size_t nr)
{
	writer->full |= nr > UINT8_MAX;
	put_u8(writer, type);
	put_u8(writer, (uint8_t)nr);
	put_bytes(writer, bytes, nr);
}

static int value_end(const struct writer *writer, uint16_t *nr)
{
	if (writer->full)
		return -EMSGSIZE;
	*nr = (uint16_t)writer_used(writer);
	return 0;
}

int vport_encode(const struct vport *vport, uint8_t value[ENTRY_VALUE_MAX], uint16_t *nr)
{
	struct writer writer;

	writer_init(&writer, value, ENTRY_VALUE_MAX);
	put_text_attribute(&writer, VPORT_NAME, vport->name);
	if (vport->dev[0])
		put_text_attribute(&writer, VPORT_DEVICE, vport->dev);
	if (vport->profile[0])
		put_text_attribute(&writer, VPORT_PROFILE, vport->profile);
	if (vport->share[0])
		put_text_attribute(&writer, VPORT_SHARE, vport->share);
	if (vport->state)
		put_value(&writer, VPORT_STATE, &vport->state, sizeof(vport->state));
	for (size_t i = 0; i < vport->nr_macs; i++)
		put_value(&writer, VPORT_MAC, vport->macs[i], sizeof(vport->macs[i]));
	for (size_t i = 0; i < vport->nr_vlans; i++)
		put_value(&writer, VPORT_VLAN, &vport->vlans[i], sizeof(vport->vlans[i]));
	for (size_t i = 0; i < vport->nr_tags; i++)
		put_value(&writer, VPORT_TAG, vport->tags[i].bytes, vport->tags[i].nr);
	for (size_t i = 0; i < vport->nr_addresses; i++)
		put_value(&writer, VPORT_ADDRESS, &vport->addresses[i],
			  sizeof(vport->addresses[i]));
	for (size_t i = 0; i < vport->nr_learned; i++)
		put_value(&writer, VPORT_LEARNED, &vport->learned[i], sizeof(vport->learned[i]));
	return value_end(&writer, nr);
}

/* A place in a list for one more; NULL: the list is full. */
#define NEXT_OF(list, nr) ((nr) < sizeof(list) / sizeof((list)[0]) ? &(list)[(nr)++] : NULL)

static void get_into(struct reader *value, void *place, size_t nr)
{
	if (place)
		get_bytes(value, place, nr);
	else
		value->bad = true;
}

static void get_tag(struct reader *value, struct slice *tag)
{
	size_t nr = reader_left(value);
	const uint8_t *nul = nr ? memchr(value->at, 0, nr) : NULL;

	if (!tag || !nul || nul == value->at || !text_valid(value->at, (size_t)(nul - value->at)) ||
	    !text_valid(nul + 1, nr - (size_t)(nul + 1 - value->at)))
		value->bad = true;
	else
		*tag = (struct slice){.bytes = value->at, .nr = (uint16_t)nr};
}

static void get_vport_attribute(struct reader *value, uint8_t type, struct vport *vport)
{
	switch (type) {
	case VPORT_NAME:
		get_text(value, vport->name);
		break;
	case VPORT_DEVICE:
		get_text(value, vport->dev);
		break;
	case VPORT_PROFILE:
		get_text(value, vport->profile);
		break;
	case VPORT_SHARE:
		get_text(value, vport->share);
		break;
	case VPORT_STATE:
		get_u8(value, &vport->state);
		break;
	case VPORT_MAC:
		get_into(value, NEXT_OF(vport->macs, vport->nr_macs), sizeof(vport->macs[0]));
		break;
	case VPORT_VLAN:
		get_into(value, NEXT_OF(vport->vlans, vport->nr_vlans), sizeof(vport->vlans[0]));
		break;
	case VPORT_TAG:
		get_tag(value, NEXT_OF(vport->tags, vport->nr_tags));
		break;
	case VPORT_ADDRESS:
		get_into(value, NEXT_OF(vport->addresses, vport->nr_addresses),
			 sizeof(vport->addresses[0]));
		break;
	case VPORT_LEARNED:
		get_into(value, NEXT_OF(vport->learned, vport->nr_learned),
			 sizeof(vport->learned[0]));
		break;
	}
}

/* False at the end, or reader->bad. */
static bool next_value(struct reader *reader, uint8_t *type, struct reader *value)
{
	uint8_t nr;

	if (!reader_left(reader))
		return false;
	get_u8(reader, type);
	get_u8(reader, &nr);
	reader->bad |= reader_left(reader) < nr;
	if (reader->bad)
		return false;
	reader_init(value, reader->at, nr);
	reader->at += nr;
	return true;
}

int vport_decode(struct slice slice, struct vport *vport)
{
	struct reader reader, value;
	uint8_t type;

	memset(vport, 0, sizeof(*vport));
	reader_init(&reader, slice.bytes, slice.nr);
	while (next_value(&reader, &type, &value)) {
		get_vport_attribute(&value, type, vport);
		if (value.bad)
			return -EBADMSG;
	}
	return reader.bad ? -EBADMSG : 0;
}

int vport_decode_share(struct slice slice, char share[WIRE_TEXT_LEN])
{
	struct reader reader, value;
	bool bad = false;
	uint8_t type;

	share[0] = '\0';
	reader_init(&reader, slice.bytes, slice.nr);
	while (!bad && next_value(&reader, &type, &value)) {
		if (type == VPORT_SHARE)
			get_text(&value, share);
		bad = value.bad;
	}
	if (!bad && !reader.bad)
		return 0;
	share[0] = '\0';
	return -EBADMSG;
}

int host_info_encode(const struct host_info *info, uint8_t value[ENTRY_VALUE_MAX], uint16_t *nr)
{
	struct writer writer;

	writer_init(&writer, value, ENTRY_VALUE_MAX);
	put_text(&writer, info->name);
	put_u32(&writer, info->staged);
	put_u32(&writer, info->active);
	return value_end(&writer, nr);
}

int host_info_decode(struct slice value, struct host_info *info)
{
	struct reader reader;

	reader_init(&reader, value.bytes, value.nr);
	get_text(&reader, info->name);
	get_u32(&reader, &info->staged);
	get_u32(&reader, &info->active);
	return reader.bad ? -EBADMSG : 0;
}

static void put_generation(struct writer *writer, const struct generation *generation)
{
	put_u32(writer, generation->number);
	put_u8(writer, generation->nr_objects);
	for (size_t i = 0; i < generation->nr_objects; i++)
		put_digest(writer, generation->objects[i]);
}

static void get_generation(struct reader *reader, struct generation *generation)
{
	memset(generation, 0, sizeof(*generation));
	get_u32(reader, &generation->number);
	get_u8(reader, &generation->nr_objects);
	if (generation->nr_objects > GENERATION_OBJECTS) {
		generation->nr_objects = 0;
		reader->bad = true;
	}
	for (size_t i = 0; i < generation->nr_objects; i++)
		get_digest(reader, &generation->objects[i]);
}

int manifest_encode(const struct manifest *manifest, uint8_t value[ENTRY_VALUE_MAX], uint16_t *nr)
{
	struct writer writer;

	writer_init(&writer, value, ENTRY_VALUE_MAX);
	put_u32(&writer, manifest->term);
	put_generation(&writer, &manifest->active);
	put_generation(&writer, &manifest->staged);
	return value_end(&writer, nr);
}

int manifest_decode(struct slice value, struct manifest *manifest)
{
	struct reader reader;

	reader_init(&reader, value.bytes, value.nr);
	get_u32(&reader, &manifest->term);
	get_generation(&reader, &manifest->active);
	get_generation(&reader, &manifest->staged);
	return reader.bad ? -EBADMSG : 0;
}
