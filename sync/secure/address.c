// SPDX-License-Identifier: GPL-2.0
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "sync/secure/address.h"

#define PORT_MAX 65534 /* the bulk plane is on the next one */

static int parse_port(const char *text, unsigned int *port)
{
	int end = 0;

	if (text[0] < '0' || text[0] > '9' || sscanf(text, "%5u%n", port, &end) != 1 || text[end] ||
	    *port == 0 || *port > PORT_MAX)
		return -EINVAL;
	return 0;
}

int address_split(const char *text, char *host, unsigned int *port)
{
	const char *colon = strrchr(text, ':');
	char copy[WIRE_TEXT_LEN], *bare = copy, written[INET6_ADDRSTRLEN];
	uint8_t address[sizeof(struct in6_addr)];
	int family = AF_INET;
	size_t nr;

	if (!colon || strlen(text) >= sizeof(copy) || parse_port(colon + 1, port) < 0)
		return -EINVAL;
	nr = (size_t)(colon - text);
	memcpy(copy, text, nr);
	copy[nr] = '\0';
	if (nr > 2 && copy[0] == '[' && copy[nr - 1] == ']') {
		family = AF_INET6;
		copy[nr - 1] = '\0';
		bare++;
	}
	if (inet_pton(family, bare, address) != 1 ||
	    !inet_ntop(family, address, written, sizeof(written)))
		return -EINVAL;
	snprintf(host, WIRE_TEXT_LEN, family == AF_INET6 ? "[%s]" : "%s", written);
	return 0;
}

int address_canonical(const char *text, char *canonical)
{
	char host[WIRE_TEXT_LEN];
	unsigned int port;
	int r = address_split(text, host, &port);

	if (r < 0)
		return r;
	return snprintf(canonical, WIRE_TEXT_LEN, "%s:%u", host, port) < WIRE_TEXT_LEN ? 0
										       : -EINVAL;
}
