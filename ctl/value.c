// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "value.h"
#include "view.h"

#define MAX_SECONDS 1e9
#define MAX_NAME    64
#define MAX_TAG	    256

const char *check_instance(const char *value)
{
	if (instance_name_valid(value))
		return NULL;
	return "is no name of an instance: letters, digits, '_' and '-', at most 31";
}

const char *check_vport(const char *value)
{
	if (port_name_valid(value))
		return NULL;
	return "is no name of a vport: letters, digits, '_', '-' and ':', at most 63";
}

/* What the kernel's dev_valid_name() takes. */
const char *check_device(const char *value)
{
	bool valid = value[0] && strlen(value) < IF_NAMESIZE && strcmp(value, ".") != 0 &&
		     strcmp(value, "..") != 0;

	for (const char *c = value; valid && *c; c++)
		valid = *c != '/' && *c != ':' && !isspace((unsigned char)*c);
	return valid ? NULL
		     : "is no name of a network device: 1 to 15 characters, no '/', ':' or space";
}

const char *check_uplink_mode(const char *value)
{
	if (strcmp(value, "auto") == 0 || strcmp(value, "native") == 0 ||
	    strcmp(value, "generic") == 0)
		return NULL;
	return "is no mode: native, generic or auto";
}

const char *check_switch(const char *value)
{
	return strcmp(value, "on") == 0 || strcmp(value, "off") == 0 ? NULL
								     : "is neither on nor off";
}

const char *check_mac(const char *value)
{
	static const uint8_t zero[6];
	uint8_t mac[6];

	if (mac_parse(value, mac) < 0)
		return "is no MAC address such as 52:54:00:12:34:56";
	if (mac[0] & 1)
		return "is a multicast MAC address; a VM's own has an even first octet";
	if (memcmp(mac, zero, sizeof(mac)) == 0)
		return "is not a MAC address that a VM can have";
	return NULL;
}

/* Unspecified, "this network", loopback, multicast or broadcast: nobody's own address. */
static bool is_nobodys(const struct dfw_addr *addr)
{
	static const struct dfw_addr unspecified, loopback = {.bytes = {[15] = 1}};
	const uint8_t *v4 = addr->bytes + 12;

	if (addr_is_v4(addr))
		return v4[0] == 0 || v4[0] == 127 || v4[0] >= 224;
	return addr->bytes[0] == 0xff || memcmp(addr, &unspecified, sizeof(*addr)) == 0 ||
	       memcmp(addr, &loopback, sizeof(*addr)) == 0;
}

const char *check_address(const char *value)
{
	struct dfw_addr addr;

	if (addr_parse(value, &addr) < 0)
		return strchr(value, '/') ? "is no IP address: write it without a prefix length"
					  : "is no IP address such as 10.0.0.1 or 2001:db8::1";
	if (is_nobodys(&addr))
		return "is not an IP address that a VM can have (unspecified, loopback, multicast "
		       "or "
		       "broadcast)";
	return NULL;
}

const char *check_prefix(const char *value)
{
	struct dfw_addr addr;
	uint32_t bits;
	int r = prefix_parse(value, &addr, &bits);

	if (r == -ERANGE)
		return "has a prefix length that is too long: at most 32 for IPv4, 128 for IPv6";
	if (r == -EDOM)
		return "has bits set behind its prefix length";
	return r < 0 ? "is no IP address or prefix such as 10.0.0.0/8 or 2001:db8::1" : NULL;
}

static bool is_printable(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

const char *check_tag(const char *value)
{
	const char *equals = strchr(value, '=');

	if (!equals || equals == value || !equals[1] || !is_printable(value))
		return "is no tag: write KEY=VALUE";
	if (equals - value >= MAX_TAG || strlen(equals + 1) >= MAX_TAG)
		return "is too long for a tag: key and value have at most 255 bytes each";
	return NULL;
}

const char *check_group(const char *value)
{
	return value[0] && strlen(value) < MAX_NAME && is_printable(value)
		       ? NULL
		       : "is no name of a group: 1 to 63 characters";
}

const char *check_profile(const char *value)
{
	if (value[0] && strlen(value) < MAX_NAME && is_printable(value) && !strchr(value, ' '))
		return NULL;
	return "is no name of a profile: 1 to 63 characters, no spaces";
}

const char *check_share(const char *value)
{
	if (!value[0] || port_name_valid(value))
		return NULL;
	return "is no name of a share group: letters, digits, '_', '-' and ':', at most 63";
}

const char *check_protocol(const char *value)
{
	if (protocol_parse(value) > 0)
		return NULL;
	return "is no IP protocol: a name such as tcp, udp, icmp, icmp6, sctp, or a number from 1 "
	       "to "
	       "255";
}

/* Digits only: strtoul alone would take "+1", " 1", "-1" and "0x1". */
static bool parse_number(const char *value, unsigned long max, unsigned long *number)
{
	char *end;

	if (!isdigit((unsigned char)value[0]))
		return false;
	errno = 0;
	*number = strtoul(value, &end, 10);
	return errno == 0 && *end == '\0' && *number <= max;
}

unsigned long number_value(const char *value)
{
	unsigned long number = 0;

	parse_number(value, UINT32_MAX, &number);
	return number;
}

const char *check_port(const char *value)
{
	unsigned long port;

	return parse_number(value, UINT16_MAX, &port) && port > 0
		       ? NULL
		       : "is no port: a number from 1 to 65535";
}

const char *check_count(const char *value)
{
	unsigned long count;

	return parse_number(value, UINT32_MAX, &count) && count > 0
		       ? NULL
		       : "is no count: a number from 1 to 4294967295";
}

const char *check_generation(const char *value)
{
	unsigned long generation;

	return parse_number(value, UINT32_MAX, &generation) && generation > 0
		       ? NULL
		       : "is no generation: a number, as `dfwctl policy history` shows";
}

double seconds_value(const char *value)
{
	return strtod(value, NULL);
}

const char *check_seconds(const char *value)
{
	/* strtod alone would take "inf", "nan", "0x1p3" and "-1". */
	if (!value[0] || value[strspn(value, "0123456789.")] ||
	    strspn(value, ".") == strlen(value) || strchr(value, '.') != strrchr(value, '.') ||
	    strtod(value, NULL) > MAX_SECONDS)
		return "is no number of seconds such as 10 or 0.5";
	return NULL;
}

const char *check_file(const char *value)
{
	return value[0] ? NULL : "is no file name; - is the standard input";
}
