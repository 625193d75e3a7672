// SPDX-License-Identifier: GPL-2.0
/*
 * What the core carries and dfwsyncd reads: values of registry entries, manifests, questions and answers. The input is u8
 * which, bytes.
 *
 * What must hold: a value is refused, or it can be told to dfwd as JSON, and reads back the same when it is written anew.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "sync/daemon/vport_text.h"

enum value { VPORT, HOST_INFO, MANIFEST, MESSAGES, VALUES };

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void read_vport(struct slice value)
{
	uint8_t again[ENTRY_VALUE_MAX];
	struct vport vport, same;
	char share[WIRE_TEXT_LEN];
	json_t *json;
	uint16_t nr;

	if (vport_decode(value, &vport) < 0)
		return;
	must(vport_decode_share(value, share) == 0 && strcmp(share, vport.share) == 0);
	json = vport_to_json((struct uuid){{1}}, 1, &vport);
	must(json && json_object_size(json_object_get(json, "tags")) <= vport.nr_tags);
	must(json_array_size(json_object_get(json, "ips")) == vport.nr_addresses);
	must(json_array_size(json_object_get(json, "macs")) == vport.nr_macs);
	/* Tags of one key become one. */
	if (vport_from_json(json, again, &nr) == 0) {
		must(vport_decode((struct slice){.bytes = again, .nr = nr}, &same) == 0);
		must(strcmp(same.name, vport.name) == 0 && same.state == (vport.state & 7));
		must(same.nr_addresses == vport.nr_addresses && same.nr_vlans == vport.nr_vlans);
		must(memcmp(same.addresses, vport.addresses,
			    same.nr_addresses * sizeof(same.addresses[0])) == 0);
	}
	json_decref(json);
}

static void read_host_info(struct slice value)
{
	uint8_t again[ENTRY_VALUE_MAX];
	struct host_info info, same;
	json_t *name;
	uint16_t nr;

	if (host_info_decode(value, &info) < 0)
		return;
	name = json_string(info.name);
	must(name && host_info_encode(&info, again, &nr) == 0);
	must(host_info_decode((struct slice){.bytes = again, .nr = nr}, &same) == 0);
	must(memcmp(&info, &same, sizeof(info)) == 0);
	json_decref(name);
}

static void read_manifest(struct slice value)
{
	uint8_t again[ENTRY_VALUE_MAX];
	struct manifest manifest, same;
	uint16_t nr;

	memset(&manifest, 0, sizeof(manifest));
	memset(&same, 0, sizeof(same));
	if (manifest_decode(value, &manifest) < 0)
		return;
	must(manifest_encode(&manifest, again, &nr) == 0 && nr <= value.nr);
	must(manifest_decode((struct slice){.bytes = again, .nr = nr}, &same) == 0);
	must(memcmp(&manifest, &same, sizeof(manifest)) == 0);
}

static void read_text(struct slice text)
{
	json_decref(json_loadb((const char *)text.bytes, text.nr, JSON_DECODE_ANY, NULL));
}

/* As queries_take. */
static void read_messages(const uint8_t *bytes, size_t nr)
{
	struct query_message question;
	struct answer_message answer;
	struct reader reader, value;
	uint16_t type;

	if (packet_open(&reader, bytes, nr) < 0)
		return;
	while (tlv_next(&reader, &type, &value)) {
		if (type == MESSAGE_QUERY && get_query_message(value, &question) == 0)
			read_text(question.text);
		else if (type == MESSAGE_ANSWER && get_answer_message(value, &answer) == 0)
			read_text(answer.text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr)
{
	struct slice value;

	if (!nr || nr - 1 > UINT16_MAX)
		return 0;
	value = (struct slice){.bytes = bytes + 1, .nr = (uint16_t)(nr - 1)};
	switch (bytes[0] % VALUES) {
	case VPORT:
		read_vport(value);
		break;
	case HOST_INFO:
		read_host_info(value);
		break;
	case MANIFEST:
		read_manifest(value);
		break;
	default:
		read_messages(value.bytes, value.nr);
	}
	return 0;
}
