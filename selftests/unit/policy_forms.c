// SPDX-License-Identifier: GPL-2.0
/* The JSON form: that it means the same as the text, and what is refused in it. */
#include "check.h"
#include "policy_files.h"
#include "util.h"

static const char everything[] =
	"group web { tag app=web and not tag env=test }\n"
	"group \"in\" { vport \"db-*\", vport a.b, 10.0.0.0/8, 10.0.0.1, 2001:db8::/32, web }\n"
	"group odd { tag \"a b\"=\"c \\\"d\\\\\" or (x and not (y or z=\"\")\n)\n, tag not in=1 }\n"
	"group empty { }\n"
	"service a { tcp; tcp 1, 3-5; udp 53 from-port 53, 1024-65535; sctp from-port 5 }\n"
	"service b { icmp; icmp echo; icmp 3/4; icmp 3, 11, 12/1; icmp6 neighbor-solicit; icmp6 "
	"200/7 }\n"
	"service c { protocol gre, protocol 200, protocol ah, a, any }\n"
	"service http { tcp 8080 }\n"
	"tier default {\n"
	"  in-1: allow in from any to any-vport service any log\n"
	"  to: drop out to not 10.0.0.0/8, not \"in\" service http, https\n"
	"}\n"
	"tier second {\n"
	"  log: pass from vport x to group web, 224.0.0.0/4 service c, tcp 80, 443, icmp 3, 4/1, "
	"icmp echo\n"
	"  a: allow stateless on-change keep limit 10/second burst 3 per source\n"
	"  b: allow from tag (a=1 or b) and c applied-to tag x, vport y, not vport z on-change "
	"kill max-flows 7\n"
	"  c: reject log\n"
	"}\n"
	"tier empty { }\n"
	"profile default { strict off; guard-ra on; max-flows 100; max-half-open 5; new-per-second "
	"0\n"
	"  reject-per-second 0; max-fragments 9; max-learned 1; resync 2m; timeout tcp-established "
	"5d\n"
	"  timeout dead 0s; timeout udp-new 1500ms; timeout icmp-new 90s }\n"
	"profile \"strict\" { }\n"
	"default in allow log\n"
	"default out drop\n";

static char *json_of(const char *name, const char *text)
{
	const struct policy_file files[] = {{name, text, 0}, {0}};
	struct policy_errors errors;
	struct policy *policy;
	char *json = NULL;

	if (parse_files(files, &policy, &errors) < 0)
		policy_errors_print(&errors, stdout);
	else
		CHECK(policy_to_json(policy, &json) == 0);
	policy_errors_free(&errors);
	policy_free(policy);
	return json;
}

static char *text_of(const char *text)
{
	struct policy *policy = must_parse(text);
	char *written = NULL;

	if (policy)
		CHECK(policy_to_text(policy, &written) == 0);
	policy_free(policy);
	return written;
}

static void test_round_trip(const char *name, const char *source)
{
	_cleanup_free_ char *json = NULL, *json_again = NULL, *json_of_text = NULL;
	_cleanup_free_ char *text = NULL, *text_again = NULL;

	TEST(name)
	{
		json = json_of("a.dfw", source);
		if (!CHECK(json))
			continue;
		json_again = json_of("a.json", json);
		if (!CHECK(json_again))
			continue;
		CHECK_TEXT(json_again, json);
		text = text_of(json);
		if (!CHECK(text))
			continue;
		json_of_text = json_of("b.dfw", text);
		if (!CHECK(json_of_text))
			continue;
		CHECK_TEXT(json_of_text, json);
		text_again = text_of(text);
		if (CHECK(text_again))
			CHECK_TEXT(text_again, text);
	}
}

static const struct {
	const char *name;
	const char *text;
	const char *errors;
} bads[] = {
	{"an error of JSON's own has its line and column", "{\n  \"groups\": [}\n",
	 "a.dfw:2:14: unexpected token near '}'\n"},
	{"an error of JSON's own has its column in bytes",
	 "{\n\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\": 1 x}", "a.dfw:2:15: '}' expected near 'x'\n"},
	{"...from the first byte of the letter that is wrong", "{\"\xc3\xa9\": \xc3\xa9}",
	 "a.dfw:1:8: invalid token near '\xc3\xa9'\n"},
	{"a byte order mark is passed over", "\xef\xbb\xbf{\"tiers\": [}",
	 "a.dfw:1:12: unexpected token near '}'\n"},
	{"a field stands once", "{\"tiers\": [], \"tiers\": []}",
	 "a.dfw:1:21: duplicate object key near '\"tiers\"'\n"},
	{"an unknown field is told", "{\"group\": []}",
	 "a.dfw: unknown field 'group', did you mean 'groups'?\n"},
	{"what is wrong is told by its path",
	 "{\"groups\": [{\"name\": \"a\", \"members\": [{\"address\": \"10.0.0.1/8\"}, {\"vport\": "
	 "5},"
	 " {\"group\": \"b\"}, {\"any\": true}, {}]}],"
	 " \"services\": [{\"name\": \"s\", \"items\": [{\"protocol\": \"tcp\", \"ports\": [70000, "
	 "\"5-1\", true]},"
	 " {\"protocol\": \"gre\", \"ports\": [1]}, {\"any\": false}]}],"
	 " \"tiers\": [{\"name\": \"t\", \"rules\": [{\"name\": \"r\"}, {\"name\": \"q\", "
	 "\"action\": \"alow\","
	 " \"from\": [], \"limit\": {\"burst\": 5}}, 7]}]}",
	 "a.dfw: groups[0].members[0]: 10.0.0.1/8 has bits behind the prefix length, write "
	 "10.0.0.0/8, or "
	 "10.0.0.1 alone\n"
	 "a.dfw: groups[0].members[1].vport: this is a string, not a number\n"
	 "a.dfw: groups[0].members[3]: any and any_vport are true, stand in rules only, and "
	 "without 'not'\n"
	 "a.dfw: groups[0].members[4]: this has one of address, vport, group, tag, any and "
	 "any_vport\n"
	 "a.dfw: services[0].items[0].ports[0]: port 70000 is above 65535\n"
	 "a.dfw: services[0].items[0].ports[1]: port range 5-1 runs backwards, write 1-5\n"
	 "a.dfw: services[0].items[0].ports[2]: this is a number, not true\n"
	 "a.dfw: services[0].items[1]: tcp, udp and sctp have ports, not 'gre'\n"
	 "a.dfw: services[0].items[2]: this has one of 'protocol', 'service' and 'any': true\n"
	 "a.dfw: tiers[0].rules[0]: 'action' is missing\n"
	 "a.dfw: tiers[0].rules[1].action: unknown action 'alow', did you mean 'allow'?\n"
	 "a.dfw: tiers[0].rules[1].from: this names at least one, or is left out\n"
	 "a.dfw: tiers[0].rules[1].limit: 'per_second' is missing\n"
	 "a.dfw: tiers[0].rules[2]: this is an object, not a number\n"
	 "a.dfw: groups[0].members[2]: unknown group 'b'\n"},
	{"an item is of one kind, and says nothing that it is not",
	 "{\"services\": [{\"name\": \"s\", \"items\": ["
	 "{\"service\": \"ssh\", \"ports\": [2222]}, {\"any\": true, \"types\": [1]},"
	 " {\"protocol\": \"udp\", \"service\": \"ssh\", \"any\": true, \"ports\": [53]},"
	 " {\"any\": true, \"service\": \"ssh\"}, {\"source_ports\": [5]},"
	 " {\"service\": \"ssh\", \"source_ports\": [5]},"
	 " {\"protocol\": \"udp\", \"types\": [5]}, {\"protocol\": \"icmp\", \"ports\": [5]},"
	 " {\"protocol\": \"icmp\", \"source_ports\": [5]}]}]}",
	 "a.dfw: services[0].items[0]: 'ports' goes with 'protocol' only\n"
	 "a.dfw: services[0].items[1]: 'types' goes with 'protocol' only\n"
	 "a.dfw: services[0].items[2]: this has one of 'protocol', 'service' and 'any': true\n"
	 "a.dfw: services[0].items[3]: this has one of 'protocol', 'service' and 'any': true\n"
	 "a.dfw: services[0].items[4]: this has one of 'protocol', 'service' and 'any': true\n"
	 "a.dfw: services[0].items[5]: 'source_ports' goes with 'protocol' only\n"
	 "a.dfw: services[0].items[6]: icmp and icmp6 have types, not 'udp'\n"
	 "a.dfw: services[0].items[7]: tcp, udp and sctp have ports, not 'icmp'\n"
	 "a.dfw: services[0].items[8]: tcp, udp and sctp have ports, not 'icmp'\n"},
	{"half a range of ports, or of a type and its code, is told whole",
	 "{\"services\": [{\"name\": \"s\", \"items\": ["
	 "{\"protocol\": \"tcp\", \"ports\": [\"80-\", \"-\", \"-80\", \"80-x\", \"1-2-3\", "
	 "\"80-99999\"]}, {\"protocol\": \"icmp\", \"types\": [\"3/\", \"/3\"]}]}]}",
	 "a.dfw: services[0].items[0].ports[0]: '80-' is no port and no range of them, write for "
	 "example 80 or 8000-8080\n"
	 "a.dfw: services[0].items[0].ports[1]: '-' is no port and no range of them, write for "
	 "example 80 or 8000-8080\n"
	 "a.dfw: services[0].items[0].ports[2]: '-80' is no port and no range of them, write for "
	 "example 80 or 8000-8080\n"
	 "a.dfw: services[0].items[0].ports[3]: '80-x' is no port and no range of them, write for "
	 "example 80 or 8000-8080\n"
	 "a.dfw: services[0].items[0].ports[4]: '1-2-3' is no port and no range of them, write for "
	 "example 80 or 8000-8080\n"
	 "a.dfw: services[0].items[0].ports[5]: port 99999 is above 65535\n"
	 "a.dfw: services[0].items[1].types[0]: '3/' is no type and code, write for example 3/4\n"
	 "a.dfw: services[0].items[1].types[1]: '/3' is no type and code, write for example 3/4\n"},
	{"a control character of a word does not go to the terminal, whatever it stands for",
	 "{\"a\\u001b[2J\\u009b\\u007f\\u0085b\": 1, \"services\": [{\"name\": \"s\", \"items\": ["
	 "{\"protocol\": \"x\\u001b\"}, {\"protocol\": \"tcp\", \"ports\": [\"\\u001b\"]},"
	 " {\"protocol\": \"icmp\", \"types\": [\"\\u001b\"]}]}],"
	 " \"profiles\": [{\"name\": \"p\", \"flags\": {\"\\u001b\": 1}, \"limits\": {\"\\u001b\": "
	 "1.5},"
	 " \"timeouts\": {\"\\u001b\": \"1s\"}}]}",
	 "a.dfw: unknown field 'a?[2J???b'\n"
	 "a.dfw: services[0].items[0].protocol: unknown protocol 'x?'\n"
	 "a.dfw: services[0].items[1].ports[0]: '?' is no number, port is 0 to 65535\n"
	 "a.dfw: services[0].items[2].types[0]: unknown ICMP type '?'\n"
	 "a.dfw: profiles[0].flags.?: this is true or false\n"
	 "a.dfw: profiles[0].flags: unknown profile setting '?'\n"
	 "a.dfw: profiles[0].limits: unknown limit '?'\n"
	 "a.dfw: profiles[0].limits.?: this is a number, not a fraction\n"
	 "a.dfw: profiles[0].timeouts.?: unknown flow state '?'\n"},
	{"a word is cut where no character is, and a '?' stands for what is left of one",
	 "{\"groups\": [{\"name\": \"g\", \"members\": [{\"vport\": \"x"
	 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
	 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
	 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
	 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
	 "\"}]}]}",
	 "a.dfw: groups[0].members[0]: 'x"
	 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
	 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
	 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
	 "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
	 "?' names no vport, it would be letters, digits and . _ - : with * for any letters and "
	 "? for one\n"},
	{"the key of a tag has no '='",
	 "{\"groups\": [{\"name\": \"a\", \"members\": [{\"tag\": {\"key\": \"k=x\", \"value\": "
	 "\"y=z\"}}]}]}",
	 "a.dfw: groups[0].members[0].tag: the key 'k=x' has a '=' in it, which ends the key of a "
	 "tag: the value is given apart from it\n"},
	{"a name that stands twice is told by both paths",
	 "{\"groups\": [{\"name\": \"a\"}, {\"name\": \"a\"}]}",
	 "a.dfw: groups[1]: group 'a' is defined twice, first at a.dfw groups[0]\n"},
	{"a tag expression has its own errors",
	 "{\"groups\": [{\"name\": \"a\", \"members\": [{\"tag\": {\"and\": [{\"key\": \"a\"}]}},"
	 " {\"tag\": {\"value\": \"x\"}}, {\"tag\": {\"not\": {\"key\": \"a\\nb\"}}}]}]}",
	 "a.dfw: groups[0].members[0].tag.and: this joins two expressions or more\n"
	 "a.dfw: groups[0].members[1].tag: 'key' is missing\n"
	 "a.dfw: groups[0].members[2].tag.not.key: this has a control character in it\n"},
	{"profiles have flags, limits, timeouts",
	 "{\"profiles\": [{\"name\": \"p\", \"flags\": {\"strickt\": true, \"dhcp\": 1}, "
	 "\"limits\": "
	 "{\"max-flows\": 0},"
	 " \"resync\": \"1\", \"timeouts\": {\"udp\": \"5s\"}}]}",
	 "a.dfw: profiles[0].flags: unknown profile setting 'strickt', did you mean 'strict'?\n"
	 "a.dfw: profiles[0].flags.dhcp: this is true or false\n"
	 "a.dfw: profiles[0].limits.max-flows: max-flows 0 is below 1\n"
	 "a.dfw: profiles[0].resync: '1' is no duration, write a number with its unit: 500ms, 30s, "
	 "5m, 2h or "
	 "1d\n"
	 "a.dfw: profiles[0].timeouts.udp: unknown flow state 'udp'\n"},
};

static void test_bad(size_t i)
{
	struct policy_errors errors;
	struct policy *policy;
	char text[4096] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	if (!out)
		abort();
	TEST(bads[i].name)
	{
		CHECK(parse_text(bads[i].text, &policy, &errors) == -EINVAL);
		CHECK(!policy);
		policy_errors_print(&errors, out);
		fclose(out);
		CHECK_TEXT(text, bads[i].errors);
	}
	policy_free(policy);
	policy_errors_free(&errors);
}

static void test_defaults(void)
{
	static const struct policy_file files[] = {
		{"a.dfw", "include \"b.json\"\ndefault in drop\n", 0},
		{"b.json", "{\"defaults\": {\"in\": {\"action\": \"drop\"}}}", 0},
		{0},
	};
	struct policy_errors errors;
	struct policy *policy;

	TEST("a default that a JSON file has given is told by its path")
	{
		CHECK(parse_files(files, &policy, &errors) == -EINVAL);
		CHECK(errors.nr == 1);
		CHECK_TEXT(errors.list[0].text,
			   "the default in is given twice, first at b.json defaults.in");
	}
	policy_free(policy);
	policy_errors_free(&errors);
}

int main(void)
{
	test_round_trip("everything the language has goes from text to JSON and back", everything);
	test_round_trip("nothing goes from text to JSON and back", "");
	test_round_trip("rules outside of tiers go from text to JSON and back",
			"a: allow in\nb: drop out to 10.0.0.0/8\n");
	for (size_t i = 0; i < ARRAY_SIZE(bads); i++)
		test_bad(i);
	test_defaults();
	return check_done();
}
