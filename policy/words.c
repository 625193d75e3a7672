// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "util.h"
#include "words.h"

const struct word action_words[] = {
	{"allow", DFW_ACTION_ALLOW},
	{"drop", DFW_ACTION_DROP},
	{"reject", DFW_ACTION_REJECT},
	{"pass", DFW_ACTION_PASS},
	{NULL, 0},
};

const struct word on_change_words[] = {
	{"keep", DFW_ON_CHANGE_KEEP},
	{"revalidate", DFW_ON_CHANGE_REVALIDATE},
	{"kill", DFW_ON_CHANGE_KILL},
	{NULL, 0},
};

/* IANA, "Assigned Internet Protocol Numbers". */
const struct word protocol_words[] = {
	{"icmp", 1},   {"igmp", 2},   {"ipip", 4},     {"tcp", 6},    {"egp", 8},
	{"igp", 9},    {"udp", 17},   {"dccp", 33},    {"ipv6", 41},  {"rsvp", 46},
	{"gre", 47},   {"esp", 50},   {"ah", 51},      {"icmp6", 58}, {"ipv6-icmp", 58},
	{"eigrp", 88}, {"ospf", 89},  {"etherip", 97}, {"pim", 103},  {"ipcomp", 108},
	{"vrrp", 112}, {"l2tp", 115}, {"isis", 124},   {"sctp", 132}, {"udplite", 136},
	{"mpls", 137}, {NULL, 0},
};

/* RFC 792, RFC 1256 */
const struct word icmp_words[] = {
	{"echo", 8},
	{"echo-request", 8},
	{"echo-reply", 0},
	{"unreachable", 3},
	{"source-quench", 4},
	{"redirect", 5},
	{"router-advert", 9},
	{"router-solicit", 10},
	{"time-exceeded", 11},
	{"parameter", 12},
	{"timestamp", 13},
	{"timestamp-reply", 14},
	{NULL, 0},
};

/* RFC 4443, RFC 4861, RFC 2710, RFC 3810 */
const struct word icmp6_words[] = {
	{"echo", 128},
	{"echo-request", 128},
	{"echo-reply", 129},
	{"unreachable", 1},
	{"packet-too-big", 2},
	{"time-exceeded", 3},
	{"parameter", 4},
	{"mld-query", 130},
	{"mld-report", 131},
	{"mld-done", 132},
	{"router-solicit", 133},
	{"router-advert", 134},
	{"neighbor-solicit", 135},
	{"neighbor-advert", 136},
	{"redirect", 137},
	{"mld2-report", 143},
	{NULL, 0},
};

const struct word state_words[] = {
#define STATE_WORD(symbol, name, seconds) {name, DFW_FLOW_##symbol},
	DFW_FLOW_STATES_LIST(STATE_WORD)
#undef STATE_WORD
		{NULL, 0},
};

const struct word profile_flag_words[] = {
#define FLAG_WORD(symbol, name, on, help) {name, DFW_PROFILE_BIT_##symbol},
	DFW_PROFILE_FLAGS(FLAG_WORD)
#undef FLAG_WORD
		{NULL, 0},
};

const struct word profile_limit_words[] = {
#define LIMIT_WORD(field, name, initial, lowest, highest) {name, PROFILE_LIMIT_##field},
	PROFILE_LIMITS(LIMIT_WORD)
#undef LIMIT_WORD
		{NULL, 0},
};

const struct word switch_words[] = {{"on", 1}, {"off", 0}, {NULL, 0}};

int word_value(const struct word *words, const char *name)
{
	for (; words->name; words++)
		if (strcmp(words->name, name) == 0)
			return words->value;
	return -1;
}

const char *word_name(const struct word *words, int value)
{
	for (; words->name; words++)
		if (words->value == value)
			return words->name;
	return NULL;
}

/* A definition of the policy hides the built-in one of that name. Listed in docs/man/dfw-policy.5. */
const struct built_in_service built_in_services[] = {
	{"icmp-echo", "icmp echo"},
	{"icmp6-echo", "icmp6 echo"},
	{"ping", "icmp echo, icmp6 echo"},
	{"ssh", "tcp 22"},
	{"smtp", "tcp 25"},
	{"dns", "tcp 53, udp 53"},
	{"dhcp", "udp 67, 68"},
	{"dhcp6", "udp 546, 547"},
	{"http", "tcp 80"},
	{"https", "tcp 443"},
	{"ntp", "udp 123"},
	{"snmp", "udp 161, 162"},
	{"ldap", "tcp 389"},
	{"ldaps", "tcp 636"},
	{"syslog", "udp 514"},
	{"bgp", "tcp 179"},
	{"rdp", "tcp 3389, udp 3389"},
	{NULL, NULL},
};

/* Letters to put in, take out, change, or swap with the next one (Damerau 1964). Longer words are no slips of the pen. */
#define SUGGESTION_MAX 32

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t edit_distance(const char *a, const char *b)
{
	size_t rows[SUGGESTION_MAX + 1][SUGGESTION_MAX + 1];
	size_t a_len = strnlen(a, SUGGESTION_MAX + 1);
	size_t b_len = strnlen(b, SUGGESTION_MAX + 1);

	if (a_len > SUGGESTION_MAX || b_len > SUGGESTION_MAX)
		return SUGGESTION_MAX;
	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		rows[i][0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t best = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			best = least(best, least(rows[i - 1][j], rows[i][j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = least(best, rows[i - 2][j - 2] + 1);
			rows[i][j] = best;
		}
	}
	return rows[a_len][b_len];
}

void suggestion_offer(struct suggestion *suggestion, const char *name)
{
	size_t length = strlen(suggestion->wanted);
	size_t distance = edit_distance(suggestion->wanted, name);

	/* At most a third of the letters may be wrong: 'wbe' is 'web', 'db' is not 'nfs'. */
	if (distance > (length + 2) / 3 || distance >= strlen(name))
		return;
	if (suggestion->best && distance >= suggestion->distance)
		return;
	suggestion->best = name;
	suggestion->distance = distance;
}

void suggestion_offer_words(struct suggestion *suggestion, const struct word *words)
{
	for (; words->name; words++)
		suggestion_offer(suggestion, words->name);
}

const char *suggestion_text(const struct suggestion *suggestion, char *text)
{
	*text = '\0';
	if (suggestion->best)
		snprintf(text, SUGGESTION_TEXT_LEN, ", did you mean '%s'?", suggestion->best);
	return text;
}

int number_parse(const char *text, uint64_t highest, uint64_t *number)
{
	uint64_t value = 0;

	if (!*text)
		return -EINVAL;
	for (const char *c = text; *c; c++) {
		if (*c < '0' || *c > '9')
			return -EINVAL;
		if (value <= highest)
			value = value > UINT64_MAX / 10 - 10 ? UINT64_MAX
							     : 10 * value + (uint64_t)(*c - '0');
	}
	if (value > highest)
		return -ERANGE;
	*number = value;
	return 0;
}

static const struct {
	const char *name;
	uint64_t ms;
} units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

#define NS_PER_MS 1000000ULL

int duration_parse(const char *text, uint64_t *ns)
{
	size_t digits = strspn(text, "0123456789");
	char number[24];
	uint64_t value;

	if (digits == 0)
		return -EINVAL;
	if (digits >= sizeof(number))
		return -ERANGE;
	memcpy(number, text, digits);
	number[digits] = '\0';
	if (number_parse(number, UINT64_MAX - 1, &value) < 0)
		return -ERANGE;
	if (value == 0 && !text[digits]) {
		*ns = 0;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(text + digits, units[i].name) != 0)
			continue;
		if (value > UINT64_MAX / NS_PER_MS / units[i].ms)
			return -ERANGE;
		*ns = value * units[i].ms * NS_PER_MS;
		return 0;
	}
	return -EINVAL;
}

const char *duration_format(uint64_t ns, char *text)
{
	uint64_t ms = ns / NS_PER_MS;
	size_t i = 0;

	if (ms == 0)
		return strcpy(text, "0s");
	while (ms % units[i].ms)
		i++;
	snprintf(text, DURATION_TEXT_LEN, "%" PRIu64 "%s", ms / units[i].ms, units[i].name);
	return text;
}

size_t character_length(const unsigned char *text, size_t bytes)
{
	static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t code;
	size_t length;

	if (*text < 0x80)
		return 1;
	length = *text >= 0xf0 ? 4 : *text >= 0xe0 ? 3 : 2;
	if (*text < 0xc2 || *text > 0xf4 || length > bytes)
		return 0;
	code = *text & (0xffU >> (length + 1));
	for (size_t i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	if (code < lowest[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return length;
}

bool name_valid(const char *name)
{
	size_t length = 0;

	for (; name[length]; length++) {
		unsigned char c = (unsigned char)name[length];

		if (c >= 0x80 || (!isalnum(c) && c != '_' && (length == 0 || !strchr(".-", c))))
			return false;
	}
	return length > 0 && length <= MODEL_MAX_NAME;
}
