// SPDX-License-Identifier: GPL-2.0
/* What the numbers of maps are called: in tables, in JSON, in filters. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util.h"
#include "view.h"

#define PROTOCOL_TEXT_LEN 16

/* IP protocols that have a name, as in the policy language; the others go by number. */
static const struct {
	uint8_t number;
	const char *name;
} protocols[] = {
	{1, "icmp"},   {2, "igmp"},	{4, "ipip"},   {6, "tcp"},	 {8, "egp"},
	{9, "igp"},    {17, "udp"},	{33, "dccp"},  {41, "ipv6"},	 {46, "rsvp"},
	{47, "gre"},   {50, "esp"},	{51, "ah"},    {58, "icmp6"},	 {88, "eigrp"},
	{89, "ospf"},  {97, "etherip"}, {103, "pim"},  {108, "ipcomp"},	 {112, "vrrp"},
	{115, "l2tp"}, {124, "isis"},	{132, "sctp"}, {136, "udplite"}, {137, "mpls"},
};

/* NULL for what the enum does not have: a newer datapath's value must not read behind the table. */
static const char *name_at(const char *const *names, size_t nr, uint8_t value)
{
	return value < nr && names[value] ? names[value] : "unknown";
}

const char *direction_name(unsigned int direction)
{
	return direction == DFW_IN ? "in" : "out";
}

const char *flow_state_name(uint8_t state)
{
	static const char *const names[] = {
#define STATE_NAME(symbol, name, seconds) [DFW_FLOW_##symbol] = name,
		DFW_FLOW_STATES_LIST(STATE_NAME)
#undef STATE_NAME
	};

	return name_at(names, ARRAY_SIZE(names), state);
}

const char *reason_name(uint8_t reason)
{
	static const char *const names[] = {
#define REASON_NAME(symbol, field, name, help) [DFW_REASON_##symbol] = name,
		DFW_REASONS(REASON_NAME)
#undef REASON_NAME
	};

	return name_at(names, ARRAY_SIZE(names), reason);
}

const char *action_name(uint8_t action)
{
	static const char *const names[] = {
		[DFW_ACTION_NONE] = "none", [DFW_ACTION_ALLOW] = "allow",
		[DFW_ACTION_DROP] = "drop", [DFW_ACTION_REJECT] = "reject",
		[DFW_ACTION_PASS] = "pass",
	};

	return name_at(names, ARRAY_SIZE(names), action);
}

const char *protocol_name(uint8_t protocol, char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (protocols[i].number == protocol)
			return strcpy(text, protocols[i].name);
	snprintf(text, PROTOCOL_TEXT_LEN, "%u", protocol);
	return text;
}

int protocol_parse(const char *text)
{
	char *end;
	long number;

	for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
		if (strcasecmp(protocols[i].name, text) == 0)
			return protocols[i].number;
	if (strcasecmp(text, "icmpv6") == 0 || strcasecmp(text, "ipv6-icmp") == 0)
		return 58;

	/* strtol alone would take "+6" and " 6". */
	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	number = strtol(text, &end, 10);
	if (*end || number > UINT8_MAX)
		return -EINVAL;
	return (int)number;
}

static bool name_valid(const char *name, const char *marks, size_t room)
{
	size_t len = strlen(name);

	if (len == 0 || len >= room)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)name[i];

		/* isalnum() would ask the locale. */
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      strchr(marks, c)))
			return false;
	}
	return true;
}

bool instance_name_valid(const char *name)
{
	return name_valid(name, "_-", INSTANCE_NAME_LEN);
}

/* No dots: bpffs keeps such names for itself and refuses them with EPERM. */
bool port_name_valid(const char *name)
{
	return name_valid(name, "_-:", DFW_PORT_NAME_LEN);
}
