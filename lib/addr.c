// SPDX-License-Identifier: GPL-2.0
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

bool addr_is_v4(const struct dfw_addr *addr)
{
	return memcmp(addr->bytes, v4_mapped, sizeof(v4_mapped)) == 0;
}

bool addr_is_link_local6(const struct dfw_addr *addr)
{
	return addr->bytes[0] == 0xfe && (addr->bytes[1] & 0xc0) == 0x80;
}

struct dfw_addr addr_of_mac(const uint8_t mac[6])
{
	return (struct dfw_addr){{0xfe, 0x80, [8] = mac[0] ^ 0x02, mac[1], mac[2], 0xff, 0xfe,
				  mac[3], mac[4], mac[5]}};
}

int addr_parse(const char *text, struct dfw_addr *addr)
{
	struct dfw_addr parsed;

	memcpy(parsed.bytes, v4_mapped, sizeof(v4_mapped));
	if (inet_pton(AF_INET, text, parsed.bytes + 12) != 1) {
		if (inet_pton(AF_INET6, text, parsed.bytes) != 1 || addr_is_v4(&parsed))
			return -EINVAL;
	}
	*addr = parsed;
	return 0;
}

int prefix_parse(const char *text, struct dfw_addr *addr, uint32_t *bits)
{
	const char *slash = strchr(text, '/');
	char host[ADDR_TEXT_LEN];
	struct dfw_addr parsed, masked;
	unsigned long length, longest;
	size_t host_len = slash ? (size_t)(slash - text) : strlen(text);
	char *end;

	if (host_len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, host_len);
	host[host_len] = '\0';
	if (addr_parse(host, &parsed) < 0)
		return -EINVAL;

	longest = addr_is_v4(&parsed) ? 32 : DFW_ADDR_BITS;
	length = longest;
	if (slash) {
		/* strtoul alone would take "+8", " 8" and "-1". */
		if (slash[1] < '0' || slash[1] > '9')
			return -EINVAL;
		length = strtoul(slash + 1, &end, 10);
		if (*end)
			return -EINVAL;
		if (length > longest)
			return -ERANGE;
	}
	length += DFW_ADDR_BITS - longest;

	masked = parsed;
	addr_mask(&masked, (uint32_t)length);
	if (memcmp(&masked, &parsed, sizeof(masked)) != 0)
		return -EDOM;
	*addr = parsed;
	*bits = (uint32_t)length;
	return 0;
}

int mac_parse(const char *text, uint8_t mac[6])
{
	uint8_t parsed[6];

	if (strlen(text) != MAC_TEXT_LEN - 1)
		return -EINVAL;
	for (int i = 0; i < 6; i++) {
		const char *octet = text + 3 * i;

		if (!isxdigit((unsigned char)octet[0]) || !isxdigit((unsigned char)octet[1]) ||
		    octet[2] != (i < 5 ? ':' : '\0'))
			return -EINVAL;
		parsed[i] = (uint8_t)strtoul(octet, NULL, 16);
	}
	memcpy(mac, parsed, sizeof(parsed));
	return 0;
}

void addr_mask(struct dfw_addr *addr, uint32_t bits)
{
	for (uint32_t i = 0; i < sizeof(addr->bytes); i++) {
		if (bits >= 8 * (i + 1))
			continue;
		addr->bytes[i] &= bits <= 8 * i ? 0 : (uint8_t)(0xff00 >> (bits - 8 * i));
	}
}

const char *addr_format(const struct dfw_addr *addr, char *text)
{
	if (addr_is_v4(addr))
		return inet_ntop(AF_INET, addr->bytes + 12, text, ADDR_TEXT_LEN);
	return inet_ntop(AF_INET6, addr->bytes, text, ADDR_TEXT_LEN);
}

const char *prefix_format(const struct dfw_addr *addr, uint32_t bits, char *text)
{
	size_t used;

	addr_format(addr, text);
	if (bits == DFW_ADDR_BITS)
		return text;
	if (addr_is_v4(addr) && bits >= DFW_V4_PREFIX_BITS)
		bits -= DFW_V4_PREFIX_BITS;
	used = strlen(text);
	snprintf(text + used, PREFIX_TEXT_LEN - used, "/%u", bits);
	return text;
}

const char *mac_format(const uint8_t mac[6], char *text)
{
	snprintf(text, MAC_TEXT_LEN, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	return text;
}
