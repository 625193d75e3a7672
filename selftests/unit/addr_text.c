// SPDX-License-Identifier: GPL-2.0
/* What must hold of lib/addr.h and lib/names.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "check.h"
#include "util.h"
#include "view.h"

static void check(bool holds, const char *what, const char *text)
{
	char name[256];

	snprintf(name, sizeof(name), "%s: \"%s\"", what, text);
	TEST(name)
	{
		CHECK(holds);
	}
}

static void test_addresses(void)
{
	static const char *const good[] = {
		"0.0.0.0", "10.0.0.1",	  "255.255.255.255", "::",
		"::1",	   "2001:db8::1", "fe80::1",	     "2001:db8:1:2:3:4:5:6",
	};
	static const char *const bad[] = {
		"",
		" ",
		"10.0.0",
		"10.0.0.256",
		"10.0.0.1 ",
		" 10.0.0.1",
		"10.0.0.1/32",
		"010.0.0.1",
		"::ffff:10.0.0.1",
		"::g",
		"1:2:3:4:5:6:7:8:9",
		"fe80::1%eth0",
		"localhost",
		"0x0a.0.0.1",
	};
	struct dfw_addr addr, untouched;
	char text[ADDR_TEXT_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		check(addr_parse(good[i], &addr) == 0 &&
			      strcmp(addr_format(&addr, text), good[i]) == 0,
		      "an address comes back as it was written", good[i]);
	memset(&addr, 0xa5, sizeof(addr));
	untouched = addr;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check(addr_parse(bad[i], &addr) == -EINVAL &&
			      memcmp(&addr, &untouched, sizeof(addr)) == 0,
		      "no address is refused, and nothing written", bad[i]);
}

static void test_prefixes(void)
{
	static const struct {
		const char *text;
		int result;
		uint32_t bits;
	} cases[] = {
		{"10.0.0.0/8", 0, 104},
		{"0.0.0.0/0", 0, 96},
		{"10.0.0.1", 0, 128},
		{"10.0.0.1/32", 0, 128},
		{"2001:db8::/32", 0, 32},
		{"::/0", 0, 0},
		{"2001:db8::1/128", 0, 128},
		{"10.0.0.1/8", -EDOM, 0},
		{"2001:db8::1/64", -EDOM, 0},
		{"10.0.0.0/33", -ERANGE, 0},
		{"::/129", -ERANGE, 0},
		{"10.0.0.0/", -EINVAL, 0},
		{"10.0.0.0/+8", -EINVAL, 0},
		{"10.0.0.0/ 8", -EINVAL, 0},
		{"10.0.0.0/-1", -EINVAL, 0},
		{"10.0.0.0/8x", -EINVAL, 0},
		{"/8", -EINVAL, 0},
		{"10.0.0.0/8/8", -EINVAL, 0},
		{"10.0.0.0/99999999999999999999", -ERANGE, 0},
		{"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb/8", -EINVAL, 0},
	};
	struct dfw_addr addr;
	uint32_t bits;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r;

		bits = 0;
		r = prefix_parse(cases[i].text, &addr, &bits);
		check(r == cases[i].result && bits == cases[i].bits,
		      "a prefix has its length or its error", cases[i].text);
	}
}

static void test_prefix_text(void)
{
	static const char *const texts[] = {
		"10.0.0.0/8",
		"0.0.0.0/0",
		"10.0.0.1",
		"2001:db8::/32",
		"::/0",
		"2001:db8::1",
		"2001:db8:1111:2222:3333:4444:5555:6660/124",
	};
	struct dfw_addr addr;
	uint32_t bits;
	char text[PREFIX_TEXT_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		check(prefix_parse(texts[i], &addr, &bits) == 0 &&
			      strcmp(prefix_format(&addr, bits, text), texts[i]) == 0,
		      "a prefix comes back as it was written", texts[i]);
}

/* Against the obvious: bit by bit. */
static void test_mask(void)
{
	struct dfw_addr addr, expected;
	bool same = true;

	for (uint32_t bits = 0; bits <= DFW_ADDR_BITS; bits++) {
		for (size_t i = 0; i < sizeof(addr.bytes); i++)
			addr.bytes[i] = expected.bytes[i] = (uint8_t)rand();
		for (uint32_t bit = bits; bit < DFW_ADDR_BITS; bit++)
			expected.bytes[bit / 8] &= (uint8_t)~(0x80 >> (bit % 8));
		addr_mask(&addr, bits);
		same = same && memcmp(&addr, &expected, sizeof(addr)) == 0;
	}
	check(same, "a mask clears what is behind its length", "0..128");
}

static void test_macs(void)
{
	static const char *const bad[] = {
		"",
		"52:54:00:12:34",
		"52:54:00:12:34:56:78",
		"52-54-00-12-34-56",
		"525400123456",
		"52:54:00:12:34:5g",
		"52:54:00:12:34:56 ",
		"5:54:00:12:34:560",
		"52:54:00:12:34: 6",
	};
	struct dfw_addr addr;
	uint8_t mac[6];
	char text[ADDR_TEXT_LEN];

	check(mac_parse("52:54:00:AB:cd:01", mac) == 0 &&
		      strcmp(mac_format(mac, text), "52:54:00:ab:cd:01") == 0,
	      "a MAC is written in small letters", text);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check(mac_parse(bad[i], mac) == -EINVAL, "no MAC is refused", bad[i]);

	/* The example of RFC 2464, section 4. */
	mac_parse("34:56:78:9a:bc:de", mac);
	addr = addr_of_mac(mac);
	check(strcmp(addr_format(&addr, text), "fe80::3656:78ff:fe9a:bcde") == 0 &&
		      addr_is_link_local6(&addr),
	      "a MAC makes its link-local address", text);
	addr_parse("fec0::1", &addr);
	check(!addr_is_link_local6(&addr), "fe80::/10 is link-local, the next is not", "fec0::1");
}

static void test_protocols(void)
{
	static const char *const bad[] = {"", " 6", "+6", "-1", "256", "6x", "tcpx", "0x6"};
	char text[16], number[16];

	for (int protocol = 0; protocol <= UINT8_MAX; protocol++) {
		protocol_name((uint8_t)protocol, text);
		snprintf(number, sizeof(number), "%d", protocol);
		if (protocol_parse(text) != protocol || protocol_parse(number) != protocol)
			check(false, "a protocol's name and number mean the same", text);
	}
	check(protocol_parse("tcp") == 6 && protocol_parse("icmp6") == 58 &&
		      protocol_parse("ICMPv6") == 58,
	      "protocols have the names that people use", "tcp, icmp6, ICMPv6");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check(protocol_parse(bad[i]) == -EINVAL, "no protocol is refused", bad[i]);
}

static void test_names(void)
{
	check(strcmp(flow_state_name(DFW_FLOW_TCP_ESTABLISHED), "tcp-established") == 0 &&
		      strcmp(reason_name(DFW_REASON_DEFAULT), "default") == 0 &&
		      strcmp(action_name(DFW_ACTION_REJECT), "reject") == 0,
	      "states, reasons and actions have names", "tcp-established, default, reject");
	check(strcmp(flow_state_name(255), "unknown") == 0 &&
		      strcmp(reason_name(255), "unknown") == 0 &&
		      strcmp(action_name(255), "unknown") == 0,
	      "what is not in the enum is unknown", "255");
}

int main(void)
{
	test_addresses();
	test_prefixes();
	test_prefix_text();
	test_mask();
	test_macs();
	test_protocols();
	test_names();
	return check_done();
}
