// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "json.h"
#include "sync/daemon/vport_text.h"

/* ---- uuid ------------------------------------------------------------------------------------------------------- */

int uuid_parse(const char *text, struct uuid *uuid)
{
	static const char hex[] = "0123456789abcdef";
	size_t digits = 0;

	*uuid = (struct uuid){};
	for (; text && *text && digits < 2 * sizeof(*uuid); text++) {
		const char *digit = strchr(hex, *text);

		if (*text == '-')
			continue;
		if (!digit)
			return -EINVAL;
		uuid->bytes[digits / 2] = (uint8_t)(uuid->bytes[digits / 2] << 4 | (digit - hex));
		digits++;
	}
	return digits == 2 * sizeof(*uuid) && !*text ? 0 : -EINVAL;
}

char *uuid_format(struct uuid uuid, char text[UUID_TEXT_LEN])
{
	char *end = text;

	for (size_t i = 0; i < sizeof(uuid); i++)
		end += sprintf(end, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			       uuid.bytes[i]);
	return text;
}

/* ---- From dfwd -------------------------------------------------------------------------------------------------- */

static int copy_text(const json_t *json, const char *key, char *text, size_t room)
{
	const char *found = json_text(json, key);

	if (!found || strlen(found) >= room)
		return found ? -EMSGSIZE : -EBADMSG;
	strcpy(text, found);
	return 0;
}

static int read_addresses(const json_t *list, struct dfw_addr *addresses, uint8_t *nr)
{
	const json_t *entry;
	size_t i;

	if (json_array_size(list) > DFW_PORT_ADDRESSES)
		return -EBADMSG;
	json_array_foreach (list, i, entry) {
		const char *text = json_string_value(entry);

		if (!text || addr_parse(text, &addresses[i]) < 0)
			return -EBADMSG;
	}
	*nr = (uint8_t)json_array_size(list);
	return 0;
}

static int read_macs(const json_t *list, struct vport *vport)
{
	const json_t *entry;
	size_t i;

	if (json_array_size(list) > VPORT_MACS)
		return -EBADMSG;
	json_array_foreach (list, i, entry) {
		const char *text = json_string_value(entry);

		if (!text || mac_parse(text, vport->macs[i]) < 0)
			return -EBADMSG;
	}
	vport->nr_macs = (uint8_t)json_array_size(list);
	return 0;
}

static int read_vlans(const json_t *list, struct vport *vport)
{
	const json_t *entry;
	size_t i;

	if (json_array_size(list) > DFW_PORT_VLANS)
		return -EBADMSG;
	json_array_foreach (list, i, entry)
		vport->vlans[i] = (uint16_t)json_integer_value(entry);
	vport->nr_vlans = (uint8_t)json_array_size(list);
	return 0;
}

/* What a port's tags take as "key\0value", in all. */
#define TAGS_BYTES ENTRY_VALUE_MAX

static int read_tags(json_t *tags, struct vport *vport, char room[TAGS_BYTES])
{
	const char *key;
	json_t *value;
	size_t used = 0;

	json_object_foreach (tags, key, value) {
		const char *text = json_string_value(value);
		size_t nr = strlen(key) + 1 + (text ? strlen(text) : 0);

		if (!text)
			return -EBADMSG;
		if (vport->nr_tags == VPORT_TAGS || nr > TAGS_BYTES - used)
			return -EMSGSIZE;
		memcpy(room + used, key, strlen(key) + 1);
		memcpy(room + used + strlen(key) + 1, text, strlen(text));
		vport->tags[vport->nr_tags++] =
			(struct slice){.bytes = (uint8_t *)room + used, .nr = (uint16_t)nr};
		used += nr;
	}
	return 0;
}

static uint8_t read_state(const json_t *json)
{
	uint8_t state = 0;

	if (json_is_true(json_object_get(json, "attached")))
		state |= VPORT_ATTACHED;
	if (json_is_true(json_object_get(json, "ready")))
		state |= VPORT_READY;
	if (json_is_true(json_object_get(json, "held")))
		state |= VPORT_HELD;
	return state;
}

int vport_from_json(const json_t *json, uint8_t value[ENTRY_VALUE_MAX], uint16_t *nr)
{
	struct vport vport = {.state = read_state(json)};
	char tags[TAGS_BYTES];
	int r = copy_text(json, "name", vport.name, sizeof(vport.name));

	if (r == 0)
		r = copy_text(json, "dev", vport.dev, sizeof(vport.dev));
	if (r == 0)
		r = copy_text(json, "profile", vport.profile, sizeof(vport.profile));
	if (r == 0 && json_text(json, "share"))
		r = copy_text(json, "share", vport.share, sizeof(vport.share));
	if (r == 0)
		r = read_addresses(json_object_get(json, "ips"), vport.addresses,
				   &vport.nr_addresses);
	if (r == 0)
		r = read_addresses(json_object_get(json, "learned"), vport.learned,
				   &vport.nr_learned);
	if (r == 0)
		r = read_macs(json_object_get(json, "macs"), &vport);
	if (r == 0)
		r = read_vlans(json_object_get(json, "vlans"), &vport);
	if (r == 0)
		r = read_tags(json_object_get(json, "tags"), &vport, tags);
	return r < 0 ? r : vport_encode(&vport, value, nr);
}

/* ---- To dfwd ---------------------------------------------------------------------------------------------------- */

static json_t *addresses_json(const struct dfw_addr *addresses, size_t nr)
{
	json_t *list = json_array();

	for (size_t i = 0; i < nr; i++) {
		char text[ADDR_TEXT_LEN];

		json_array_append_new(list, json_string(addr_format(&addresses[i], text)));
	}
	return list;
}

static json_t *macs_json(const struct vport *vport)
{
	json_t *list = json_array();

	for (size_t i = 0; i < vport->nr_macs; i++) {
		char text[MAC_TEXT_LEN];

		json_array_append_new(list, json_string(mac_format(vport->macs[i], text)));
	}
	return list;
}

static json_t *vlans_json(const struct vport *vport)
{
	json_t *list = json_array();

	for (size_t i = 0; i < vport->nr_vlans; i++)
		json_array_append_new(list, json_integer(vport->vlans[i]));
	return list;
}

static json_t *tags_json(const struct vport *vport)
{
	json_t *tags = json_object();

	for (size_t i = 0; i < vport->nr_tags; i++) {
		const char *key = (const char *)vport->tags[i].bytes;
		size_t key_nr = strlen(key) + 1;

		json_object_set_new(tags, key,
				    json_stringn(key + key_nr, vport->tags[i].nr - key_nr));
	}
	return tags;
}

json_t *vport_to_json(struct uuid port, uint64_t epoch, const struct vport *vport)
{
	char uuid[UUID_TEXT_LEN];

	return json_pack(
		"{s:s, s:s, s:I, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:b}", "name",
		vport->name, "uuid", uuid_format(port, uuid), "epoch", (json_int_t)epoch, "dev",
		vport->dev, "profile", vport->profile[0] ? vport->profile : "default", "share",
		vport->share, "macs", macs_json(vport), "ips",
		addresses_json(vport->addresses, vport->nr_addresses), "learned",
		addresses_json(vport->learned, vport->nr_learned), "vlans", vlans_json(vport),
		"tags", tags_json(vport), "attached", vport->state & VPORT_ATTACHED, "ready",
		vport->state & VPORT_READY, "held", vport->state & VPORT_HELD);
}
