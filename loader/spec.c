// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "addr.h"
#include "json.h"
#include "log.h"
#include "spec.h"
#include "view.h"

/* Wrong input: the message is what the operator gets. */
#define wrong(...)                      \
	({                              \
		log_error(__VA_ARGS__); \
		-EINVAL;                \
	})

static void free_tags(struct vport_spec *spec)
{
	for (size_t i = 0; i < spec->nr_tags; i++) {
		free((char *)spec->tags[i].key);
		free((char *)spec->tags[i].value);
	}
	spec->nr_tags = 0;
}

void spec_free(struct vport_spec *spec)
{
	if (spec)
		free_tags(spec);
	free(spec);
}

struct vport_spec *spec_new(void)
{
	struct vport_spec *spec = calloc(1, sizeof(*spec));

	if (!spec)
		return NULL;
	strcpy(spec->profile, DEFAULT_PROFILE);
	spec->epoch = 1;
	/* RFC 9562 5.4. Short reads do not happen for so few bytes. */
	if (getrandom(spec->uuid, sizeof(spec->uuid), 0) != sizeof(spec->uuid)) {
		free(spec);
		return NULL;
	}
	spec->uuid[6] = (uint8_t)((spec->uuid[6] & 0x0f) | 0x40);
	spec->uuid[8] = (uint8_t)((spec->uuid[8] & 0x3f) | 0x80);
	return spec;
}

struct vport_spec *spec_copy(const struct vport_spec *spec)
{
	_cleanup_spec_ struct vport_spec *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *spec;
	copy->nr_tags = 0;
	for (size_t i = 0; i < spec->nr_tags; i++)
		if (spec_add_tag(copy, spec->tags[i].key, spec->tags[i].value) < 0)
			return NULL;
	return TAKE_PTR(copy);
}

int spec_set_name(struct vport_spec *spec, const char *name)
{
	if (!name || !port_name_valid(name))
		return wrong("name \"%s\": 1 to %d letters, digits, '_', '-' and ':' make the name "
			     "of a vport",
			     name ? name : "", DFW_PORT_NAME_LEN - 1);
	if (strchr(name, '.'))
		return wrong("name \"%s\": bpffs takes no names with a dot", name);
	strcpy(spec->name, name);
	return 0;
}

static int set_dev(struct vport_spec *spec, const char *dev)
{
	if (!dev || !dev[0] || strlen(dev) >= sizeof(spec->dev) || strchr(dev, '/') ||
	    strpbrk(dev, " \t\n") || strcmp(dev, ".") == 0 || strcmp(dev, "..") == 0)
		return wrong("dev \"%s\": not the name of a device (1 to %zu characters, no "
			     "blanks, no '/')",
			     dev ? dev : "", sizeof(spec->dev) - 1);
	if (strcmp(dev, "lo") == 0)
		return wrong("dev \"lo\": the loopback device belongs to no VM");
	strcpy(spec->dev, dev);
	return 0;
}

int spec_add_mac(struct vport_spec *spec, const char *text)
{
	static const uint8_t none[6];
	struct dfw_port_mac mac = {};

	if (!text || mac_parse(text, mac.bytes) < 0)
		return wrong("mac \"%s\": not a MAC address, which would be like 52:54:00:12:34:56",
			     text ? text : "");
	if (mac.bytes[0] & 1)
		return wrong("mac \"%s\": a multicast address is no station's own", text);
	if (memcmp(mac.bytes, none, sizeof(none)) == 0)
		return wrong("mac \"%s\": no station has the address zero", text);
	for (size_t i = 0; i < spec->nr_macs; i++)
		if (memcmp(&spec->macs[i], &mac, sizeof(mac)) == 0)
			return wrong("mac \"%s\" is given twice", text);
	if (spec->nr_macs == DFW_PORT_MACS)
		return wrong("mac \"%s\": a vport has at most %d MACs", text, DFW_PORT_MACS);
	spec->macs[spec->nr_macs++] = mac;
	return 0;
}

static bool addr_is_unicast(const struct dfw_addr *addr)
{
	static const struct dfw_addr none;

	if (addr_is_v4(addr))
		return addr->bytes[12] != 0 && addr->bytes[12] != 127 && addr->bytes[12] < 224;
	return memcmp(addr, &none, sizeof(none)) != 0 && addr->bytes[0] != 0xff;
}

static bool list_has(const struct dfw_addr *list, size_t nr, const struct dfw_addr *addr)
{
	for (size_t i = 0; i < nr; i++)
		if (memcmp(&list[i], addr, sizeof(*addr)) == 0)
			return true;
	return false;
}

int spec_add_ip(struct vport_spec *spec, const char *text)
{
	struct dfw_addr addr;

	if (!text || addr_parse(text, &addr) < 0)
		return wrong("ip \"%s\": not an IPv4 or IPv6 address (without a prefix length)",
			     text ? text : "");
	if (!addr_is_unicast(&addr))
		return wrong("ip \"%s\": not an address that a VM can have", text);
	if (list_has(spec->ips, spec->nr_ips, &addr))
		return wrong("ip \"%s\" is given twice", text);
	if (spec->nr_ips == DFW_PORT_ADDRESSES)
		return wrong("ip \"%s\": a vport has at most %d addresses", text,
			     DFW_PORT_ADDRESSES);
	spec->ips[spec->nr_ips++] = addr;
	return 0;
}

/* ---- All of its addresses --------------------------------------------------------------------------------------- */

bool spec_has(const struct vport_spec *spec, const struct dfw_addr *addr)
{
	return list_has(spec->addresses, spec->nr_addresses, addr);
}

/* `addresses` ends with the learned ones. */
static size_t nr_claimed(const struct vport_spec *spec)
{
	return spec->nr_addresses - spec->nr_learned;
}

/* False: it is there already, or no room is left. */
static bool add_address(struct vport_spec *spec, const struct dfw_addr *addr)
{
	if (spec->nr_addresses == DFW_PORT_ADDRESSES || spec_has(spec, addr))
		return false;
	spec->addresses[spec->nr_addresses++] = *addr;
	return true;
}

static void derive(struct vport_spec *spec)
{
	bool v6 = false;

	for (size_t i = 0; i < spec->nr_ips; i++) {
		if (addr_is_link_local6(&spec->ips[i]))
			return;
		v6 |= !addr_is_v4(&spec->ips[i]);
	}
	for (size_t i = 0; i < spec->nr_macs && v6; i++) {
		struct dfw_addr addr = addr_of_mac(spec->macs[i].bytes);

		add_address(spec, &addr);
	}
}

void spec_settle(struct vport_spec *spec)
{
	size_t kept = 0;

	spec->nr_addresses = 0;
	for (size_t i = 0; i < spec->nr_ips; i++)
		add_address(spec, &spec->ips[i]);
	derive(spec);
	for (size_t i = 0; i < spec->nr_learned; i++)
		if (add_address(spec, &spec->learned[i]))
			spec->learned[kept++] = spec->learned[i];
	spec->nr_learned = kept;
}

int spec_learn(struct vport_spec *spec, const struct dfw_addr *addr)
{
	if (!addr_is_unicast(addr))
		return -EINVAL;
	if (!add_address(spec, addr))
		return -ENOSPC;
	spec->learned[spec->nr_learned++] = *addr;
	return 0;
}

bool spec_must_unlearn(const struct vport_spec *spec, const struct vport_spec *other)
{
	for (size_t i = 0; i < spec->nr_learned; i++)
		if (list_has(other->addresses, nr_claimed(other), &spec->learned[i]))
			return true;
	return false;
}

void spec_unlearn(struct vport_spec *spec, const struct vport_spec *other)
{
	size_t kept = 0;

	for (size_t i = 0; i < spec->nr_learned; i++)
		if (!list_has(other->addresses, nr_claimed(other), &spec->learned[i]))
			spec->learned[kept++] = spec->learned[i];
	spec->nr_learned = kept;
	spec_settle(spec);
}

/* ---- What the operator says ------------------------------------------------------------------------------------- */

static int add_vlan(struct vport_spec *spec, const json_t *value)
{
	json_int_t vlan = json_integer_value(value);

	if (vlan < 1 || vlan > 4094)
		return wrong("vlans: a VLAN id is a number from 1 to 4094");
	if (spec->nr_vlans == DFW_PORT_VLANS)
		return wrong("vlans: a vport has at most %d VLANs", DFW_PORT_VLANS);
	spec->vlans[spec->nr_vlans++] = (uint16_t)vlan;
	return 0;
}

static bool tag_text_valid(const char *text)
{
	if (!text || !text[0] || strlen(text) >= SPEC_TAG_BYTES)
		return false;
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			return false;
	return true;
}

int spec_add_tag(struct vport_spec *spec, const char *key, const char *value)
{
	_cleanup_free_ char *own_key = NULL, *own_value = NULL;

	/* As text it would be another tag, of a shorter key. */
	if (key && strchr(key, '='))
		return wrong("tag \"%s\": a key has no '=' in it", key);
	if (!tag_text_valid(key) || !tag_text_valid(value))
		return wrong("tag \"%s\": key and value are texts of 1 to %d characters",
			     key ? key : "", SPEC_TAG_BYTES - 1);
	if (spec->nr_tags == SPEC_TAGS)
		return wrong("tag \"%s\": a vport has at most %d tags", key, SPEC_TAGS);
	own_key = strdup(key);
	own_value = strdup(value);
	if (!own_key || !own_value)
		return -ENOMEM;
	spec->tags[spec->nr_tags++] =
		(struct policy_tag){.key = TAKE_PTR(own_key), .value = TAKE_PTR(own_value)};
	return 0;
}

int spec_set_profile(struct vport_spec *spec, const char *profile)
{
	if (!profile || !profile[0] || strlen(profile) >= sizeof(spec->profile))
		return wrong("profile \"%s\": a name of 1 to %d characters", profile ? profile : "",
			     SPEC_PROFILE_LEN - 1);
	strcpy(spec->profile, profile);
	return 0;
}

static int set_share(struct vport_spec *spec, const char *share)
{
	if (!share || (share[0] && !port_name_valid(share)))
		return wrong(
			"share \"%s\": 1 to %d letters, digits, '_', '-' and ':' make the name "
			"of a share group",
			share ? share : "", DFW_PORT_NAME_LEN - 1);
	strcpy(spec->share, share);
	return 0;
}

static int read_texts(struct vport_spec *spec, const json_t *list, const char *key,
		      int (*add)(struct vport_spec *spec, const char *text))
{
	json_t *entry;
	size_t i;

	if (!json_is_array(list))
		return wrong("%s: a list of texts is wanted", key);
	json_array_foreach (list, i, entry) {
		int r = add(spec, json_string_value(entry));

		if (r < 0)
			return r;
	}
	return 0;
}

static int read_vlans(struct vport_spec *spec, const json_t *list)
{
	json_t *entry;
	size_t i;

	spec->nr_vlans = 0;
	json_array_foreach (list, i, entry) {
		int r = add_vlan(spec, entry);

		if (r < 0)
			return r;
	}
	return 0;
}

static int read_tags(struct vport_spec *spec, json_t *tags)
{
	const char *key;
	json_t *value;

	if (!json_is_object(tags))
		return wrong("tags: an object of texts is wanted");
	free_tags(spec);
	json_object_foreach (tags, key, value) {
		int r = spec_add_tag(spec, key, json_string_value(value));

		if (r < 0)
			return r;
	}
	return 0;
}

int spec_read(struct vport_spec *spec, const json_t *json)
{
	json_t *member;
	int r = 0;

	if ((member = json_object_get(json, "dev")))
		r = set_dev(spec, json_string_value(member));
	if (r == 0 && (member = json_object_get(json, "macs"))) {
		spec->nr_macs = 0;
		r = read_texts(spec, member, "macs", spec_add_mac);
	}
	if (r == 0 && (member = json_object_get(json, "ips"))) {
		spec->nr_ips = 0;
		r = read_texts(spec, member, "ips", spec_add_ip);
	}
	if (r == 0 && (member = json_object_get(json, "vlans")))
		r = read_vlans(spec, member);
	if (r == 0 && (member = json_object_get(json, "tags")))
		r = read_tags(spec, member);
	if (r == 0 && (member = json_object_get(json, "profile")) && !json_is_null(member))
		r = spec_set_profile(spec, json_string_value(member));
	if (r == 0 && (member = json_object_get(json, "share")))
		r = set_share(spec, json_string_value(member));
	if (r == 0)
		spec_settle(spec);
	return r;
}

/* ---- vports.json ------------------------------------------------------------------------------------------------ */

void uuid_format(const uint8_t uuid[16], char text[UUID_TEXT_LEN])
{
	char *end = text;

	for (int i = 0; i < 16; i++)
		end += sprintf(end, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			       uuid[i]);
}

int uuid_parse(const char *text, uint8_t uuid[16])
{
	int digits = 0;

	for (; text && *text && digits < 32; text++) {
		static const char hex[] = "0123456789abcdef";
		const char *digit = strchr(hex, *text);

		if (*text == '-')
			continue;
		if (!digit)
			return -EINVAL;
		uuid[digits / 2] = (uint8_t)(uuid[digits / 2] << 4 | (digit - hex));
		digits++;
	}
	return digits == 32 && !*text ? 0 : -EINVAL;
}

static int append_text(json_t *list, const char *text)
{
	return json_array_append_new(list, json_string(text));
}

json_t *spec_to_json(const struct vport_spec *spec)
{
	_cleanup_json_ json_t *macs = json_array(), *ips = json_array(), *tags = json_object(),
			      *vlans = json_array(), *learned = json_array();
	char text[ADDR_TEXT_LEN], uuid[UUID_TEXT_LEN];
	int r = 0;

	for (size_t i = 0; i < spec->nr_macs; i++)
		r |= append_text(macs, mac_format(spec->macs[i].bytes, text));
	for (size_t i = 0; i < spec->nr_ips; i++)
		r |= append_text(ips, addr_format(&spec->ips[i], text));
	for (size_t i = 0; i < spec->nr_learned; i++)
		r |= append_text(learned, addr_format(&spec->learned[i], text));
	for (size_t i = 0; i < spec->nr_vlans; i++)
		r |= json_array_append_new(vlans, json_integer(spec->vlans[i]));
	for (size_t i = 0; i < spec->nr_tags; i++)
		r |= json_object_set_new(tags, spec->tags[i].key, json_string(spec->tags[i].value));
	if (r < 0)
		return NULL;
	uuid_format(spec->uuid, uuid);
	return json_pack("{s:s, s:s, s:O, s:O, s:O, s:O, s:O, s:s, s:s, s:s, s:I, s:s, s:b}",
			 "name", spec->name, "dev", spec->dev, "macs", macs, "ips", ips, "learned",
			 learned, "vlans", vlans, "tags", tags, "profile", spec->profile, "share",
			 spec->share, "uuid", uuid, "epoch", (json_int_t)spec->epoch, "pattern",
			 spec->pattern, "arriving", spec->arriving);
}

static int read_learned(struct vport_spec *spec, const json_t *list)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (list, i, entry) {
		const char *text = json_string_value(entry);
		struct dfw_addr addr;

		if (!text || addr_parse(text, &addr) < 0 || !addr_is_unicast(&addr))
			return wrong("vport %s: \"learned\" has what is no address", spec->name);
		if (!spec_has(spec, &addr))
			spec_learn(spec, &addr);
	}
	return 0;
}

int spec_from_json(const json_t *json, struct vport_spec **spec)
{
	_cleanup_spec_ struct vport_spec *read = spec_new();
	const char *pattern = json_text(json, "pattern");
	int r;

	if (!read)
		return -ENOMEM;
	r = spec_set_name(read, json_text(json, "name"));
	if (r == 0)
		r = spec_read(read, json);
	if (r == 0)
		r = read_learned(read, json_object_get(json, "learned"));
	if (r < 0)
		return r;
	if (!read->dev[0])
		return wrong("vport %s: has no \"dev\"", read->name);
	if (uuid_parse(json_text(json, "uuid"), read->uuid) < 0)
		return wrong("vport %s: \"uuid\" is missing or no uuid", read->name);
	if (json_number(json, "epoch") < 1)
		return wrong("vport %s: \"epoch\" is missing or below 1", read->name);
	read->epoch = (uint64_t)json_number(json, "epoch");
	read->arriving = json_is_true(json_object_get(json, "arriving"));
	if (pattern && strlen(pattern) < sizeof(read->pattern))
		strcpy(read->pattern, pattern);
	*spec = TAKE_PTR(read);
	return 0;
}

/* ---- Conflicts -------------------------------------------------------------------------------------------------- */

#define taken(...)                      \
	({                              \
		log_error(__VA_ARGS__); \
		-EEXIST;                \
	})

int spec_conflict(const struct vport_spec *spec, const struct vport_spec *other)
{
	char text[ADDR_TEXT_LEN];

	if (strcmp(spec->name, other->name) == 0)
		return taken("there is a vport %s already", other->name);
	if (strcmp(spec->dev, other->dev) == 0)
		return taken("dev %s belongs to vport %s already", spec->dev, other->name);
	for (size_t i = 0; i < spec->nr_macs; i++)
		for (size_t k = 0; k < other->nr_macs; k++)
			if (memcmp(&spec->macs[i], &other->macs[k], sizeof(spec->macs[i])) == 0)
				return taken("mac %s belongs to vport %s already",
					     mac_format(spec->macs[i].bytes, text), other->name);
	for (size_t i = 0; i < nr_claimed(spec); i++)
		if (list_has(other->addresses, nr_claimed(other), &spec->addresses[i]))
			return taken("ip %s belongs to vport %s already",
				     addr_format(&spec->addresses[i], text), other->name);
	return 0;
}
