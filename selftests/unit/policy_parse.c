// SPDX-License-Identifier: GPL-2.0
/* The text form: what is refused, and with which words at which place. */
#include "bundle.h"
#include "check.h"
#include "json.h"
#include "policy_files.h"
#include "util.h"

struct bad {
	const char *name;
	const char *text;
	const char *errors; /* all of them, as printed */
};

static const struct bad bads[] = {
	{"an unknown group is told, with what may be meant",
	 "group web { tag app=web }\n\n  r: allow in from wbe\n",
	 "a.dfw:3:20: unknown group 'wbe', did you mean 'web'?\n"},
	{"an unknown group that is like none gets no advice",
	 "group web { tag app=web }\nr: allow from storage\n",
	 "a.dfw:2:15: unknown group 'storage'\n"},
	{"an unknown service is told", "r: allow service htps, pgsql\n",
	 "a.dfw:1:18: unknown service 'htps', did you mean 'https'?\n"
	 "a.dfw:1:24: unknown service 'pgsql'\n"},
	{"a protocol's name is no service", "r: allow service gre\n",
	 "a.dfw:1:18: unknown service 'gre', the protocol is written 'protocol gre'\n"},
	{"a port above 65535 is refused", "r: allow service tcp 70000\n",
	 "a.dfw:1:22: port 70000 is above 65535\n"},
	{"a port of any length is refused", "r: allow service tcp 184467440737095516160000000000\n",
	 "a.dfw:1:22: port 184467440737095516160000000000 is above 65535\n"},
	{"a range runs upwards", "r: allow service tcp 90-80\n",
	 "a.dfw:1:22: port range 90-80 runs backwards, write 80-90\n"},
	{"host bits behind a prefix are refused, v4", "group a { 10.0.0.1/8 }\n",
	 "a.dfw:1:11: 10.0.0.1/8 has bits behind the prefix length, write 10.0.0.0/8, or 10.0.0.1 "
	 "alone\n"},
	{"host bits behind a prefix are refused, v6", "group a { 2001:db8::1/32 }\n",
	 "a.dfw:1:11: 2001:db8::1/32 has bits behind the prefix length, write 2001:db8::/32, or "
	 "2001:db8::1 alone\n"},
	{"a prefix longer than its family is refused", "group a { 10.0.0.0/33, ::/129 }\n",
	 "a.dfw:1:11: '10.0.0.0/33' is too long a prefix, an IPv4 prefix has at most 32 bits\n"
	 "a.dfw:1:24: '::/129' is too long a prefix, an IPv6 prefix has at most 128 bits\n"},
	{"what is no address is refused", "group a { 10.0.0.300 }\n",
	 "a.dfw:1:11: '10.0.0.300' is no address or prefix, write for example 10.0.0.1, 10.0.0.0/8 "
	 "or "
	 "2001:db8::/32\n"},
	{"an IPv4 address in IPv6 form is refused", "group a { ::ffff:10.0.0.1 }\n",
	 "a.dfw:1:11: '::ffff:10.0.0.1' is an IPv4 address in an IPv6 one, write 10.0.0.1\n"},
	{"an IPv4 prefix in IPv6 form is refused with the prefix of IPv4 that it is",
	 "group a { ::ffff:10.0.0.0/104, ::ffff:10.1.2.3/112, ::ffff:10.0.0.1/128 }\n",
	 "a.dfw:1:11: '::ffff:10.0.0.0/104' is an IPv4 prefix in an IPv6 one, write 10.0.0.0/8\n"
	 "a.dfw:1:32: '::ffff:10.1.2.3/112' is an IPv4 prefix in an IPv6 one, write 10.1.0.0/16\n"
	 "a.dfw:1:53: '::ffff:10.0.0.1/128' is an IPv4 prefix in an IPv6 one, write 10.0.0.1\n"},
	{"what is more than all of IPv4, in IPv6 form, is no prefix of IPv4",
	 "group a { ::ffff:0:0/80, ::ffff:0:0/999 }\n",
	 "a.dfw:1:11: '::ffff:0:0/80' is no address or prefix, write for example 10.0.0.1, "
	 "10.0.0.0/8 or 2001:db8::/32\n"
	 "a.dfw:1:26: '::ffff:0:0/999' is no address or prefix, write for example 10.0.0.1, "
	 "10.0.0.0/8 or 2001:db8::/32\n"},
	{"a cycle of groups is told by its names",
	 "group a { b }\ngroup b { 10.0.0.1, c }\ngroup c { group a }\n",
	 "a.dfw:3:17: group 'a' contains itself: a -> b -> c -> a\n"},
	{"a group in itself is a cycle", "group a { a }\n",
	 "a.dfw:1:11: group 'a' contains itself: a -> a\n"},
	{"a cycle of services is told by its names", "service a { b }\nservice b { a }\n",
	 "a.dfw:2:13: service 'a' contains itself: a -> b -> a\n"},
	{"a name stands once",
	 "group a { 10.0.0.1 }\ngroup a { 10.0.0.2 }\nservice s { tcp 1 }\nservice s { tcp 2 }\n"
	 "tier t { r: allow\n r: drop\n }\ntier t { }\nprofile p { }\nprofile p { }\n",
	 "a.dfw:2:7: group 'a' is defined twice, first at a.dfw:1:7\n"
	 "a.dfw:4:9: service 's' is defined twice, first at a.dfw:3:9\n"
	 "a.dfw:10:9: profile 'p' is defined twice, first at a.dfw:9:9\n"
	 "a.dfw:8:6: tier 't' is defined twice, first at a.dfw:5:6\n"
	 "a.dfw:6:2: rule 'r' is defined twice, first at a.dfw:5:10\n"},
	{"rules stand in tiers, or all outside", "r: allow\ntier t { }\n",
	 "a.dfw:1:1: a rule stands outside of the tiers, but the policy has tiers: put it into "
	 "one, "
	 "'t' for example\n"},
	{"ids that collide are refused", "tier t { adhhmp: allow; xuuyna: allow }\n",
	 "a.dfw:1:25: rules 't/adhhmp' and 't/xuuyna' have the same id 4036866276, give one "
	 "another "
	 "name\n"},
	{"ids that collide are refused, of rules with one name in two tiers too",
	 "tier costarring { r: allow out service udp 9 }\n"
	 "tier liquid { r: drop out service udp 10 log }\n",
	 "a.dfw:2:15: rules 'costarring/r' and 'liquid/r' have the same id 2157440268, give one "
	 "another name\n"},
	{"a rule cannot have the id of a default", "in: allow\n",
	 "a.dfw:1:1: rule 'default/in' has the id of the policy's default, give it another name\n"},
	{"a misspelt statement is told once, its block goes with it",
	 "grup web {\n  tag app=web\n  10.0.0.1\n}\n",
	 "a.dfw:1:1: unexpected 'grup', did you mean 'group'?\n"},
	{"each rule, member and statement may be wrong by itself",
	 "group a { , 10.0.0.1 10.0.0.2\n 10.0.0.3 }\ntier t {\n a: alow\n b: allow form any\n"
	 " c: allow in in\n d: allow from\n}\ndefault in pass\n",
	 "a.dfw:1:22: unexpected '10.0.0.2', expected '}' or ','\n"
	 "a.dfw:4:5: unexpected 'alow', did you mean 'allow'?\n"
	 "a.dfw:5:11: unexpected 'form', did you mean 'from'?\n"
	 "a.dfw:6:14: a direction stands twice in rule 'c'\n"
	 "a.dfw:7:15: unexpected end of line, expected a name, a name in quotes, an address, "
	 "'group', "
	 "'any', 'any-vport', 'vport', 'tag' or 'not'\n"
	 "a.dfw:9:1: a default cannot pass, there is nothing behind it\n"},
	{"a brace that stays open is told with its line", "group a {\n 10.0.0.1\n",
	 "a.dfw:3:1: unexpected end of file, the '{' of line 1 is not closed\n"},
	{"a brace too much is refused", "group a { 10.0.0.1 }}\nr: allow\n",
	 "a.dfw:1:21: unexpected '}', expected end of file or end of line\n"},
	{"a string ends on its line", "group a { vport \"x }\ngroup b { 10.0.0.1/8 }\n",
	 "a.dfw:1:17: a string ends with '\"' on its own line; in it write \\\" and \\\\\n"
	 "a.dfw:2:11: 10.0.0.1/8 has bits behind the prefix length, write 10.0.0.0/8, or 10.0.0.1 "
	 "alone\n"},
	{"a word is cut between its characters, or a '?' stands for what is left of one",
	 "r: allow in "
	 "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
	 "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\n",
	 "a.dfw:1:13: unexpected "
	 "'\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
	 "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac?'\n"},
	{"no control character of C1 goes to the terminal",
	 "r: allow from \"\xc2\x9b[31m\xc2\xa0\"\n",
	 "a.dfw:1:15: '?[31m\xc2\xa0' is no group, address or prefix\n"},
	{"a letter of no word is told", "r: allow from @web\n", "a.dfw:1:15: unexpected '@'\n"},
	{"binary garbage is one error", "r: allow\n\001\002\003 group a { x }\n\005\n",
	 "a.dfw:2:1: byte 0x01: this is no text, a policy is UTF-8 without control characters\n"},
	{"broken UTF-8 is one error", "# \xc3\xa4\xff\n\xff\xff\n",
	 "a.dfw:1:5: byte 0xff: this is no text, a policy is UTF-8 without control characters\n"},
	{"profiles know their settings",
	 "profile p {\n strickt on\n strict maybe\n max-flows 0\n timeout tcp-estblished 5m\n"
	 " timeout udp-new 5x\n timeout udp-new 0s\n strict on\n strict off\n resync 1500ms\n}\n",
	 "a.dfw:2:2: unknown profile setting 'strickt', did you mean 'strict'?\n"
	 "a.dfw:3:9: 'strict' is on or off, not 'maybe'\n"
	 "a.dfw:4:12: max-flows 0 is below 1\n"
	 "a.dfw:5:10: unknown flow state 'tcp-estblished', did you mean 'tcp-established'?\n"
	 "a.dfw:6:10: '5x' is no duration, write a number with its unit: 500ms, 30s, 5m, 2h or 1d\n"
	 "a.dfw:7:10: 'udp-new' stands twice in this profile\n"
	 "a.dfw:9:2: 'strict' stands twice in this profile\n"
	 "a.dfw:10:9: resync is counted in whole seconds\n"},
	{"limits go with allow", "r: drop limit 5/second\ns: reject max-flows 3\n",
	 "a.dfw:1:1: rule 'r': limit counts flows, so it goes with 'allow' only\n"
	 "a.dfw:2:1: rule 's': max-flows counts flows, so it goes with 'allow' only\n"},
	{"a limit is per second and per source", "r: allow limit 5/minute per port\n", NULL},
	{"what belongs to a limit stands once",
	 "r: allow limit 5/second burst 3 burst 4 per source per source\n",
	 "a.dfw:1:33: 'burst' stands twice in rule 'r'\n"
	 "a.dfw:1:52: 'per' stands twice in rule 'r'\n"},
	{"the key of a tag has no '='", "r: allow in applied-to tag \"app=web\" or \"a=b\"=c\n",
	 "a.dfw:1:28: the key 'app=web' has a '=' in it, which ends the key of a tag: the value is "
	 "given apart from it\n"
	 "a.dfw:1:41: the key 'a=b' has a '=' in it, which ends the key of a tag: the value is "
	 "given apart from it\n"},
	{"columns count from behind a byte order mark", "\xef\xbb\xbfr: alow\ns: alow\n",
	 "a.dfw:1:4: unexpected 'alow', did you mean 'allow'?\n"
	 "a.dfw:2:4: unexpected 'alow', did you mean 'allow'?\n"},
	{"applied-to names vports", "group a { 10.0.0.1 }\nr: allow applied-to 10.0.0.1, a\n",
	 "a.dfw:2:21: applied-to names vports, by group, name or tag, not addresses\n"
	 "a.dfw:2:31: applied-to names vports, and group 'a' has none in it\n"},
	{"a rule's ports of a protocol are all pairs of two lists",
	 "r: allow service tcp 80, tcp 443 from-port 53\n",
	 "a.dfw:1:26: this pairs destination and source ports of its protocol otherwise than what "
	 "stands before it; write a rule for each\n"},
	{"an ICMP type has a name of its protocol or a number",
	 "r: allow service icmp eco, icmp6 300, icmp6 neighbor-solicit/256\n",
	 "a.dfw:1:23: unknown ICMP type 'eco', did you mean 'echo'?\n"
	 "a.dfw:1:34: ICMP type 300 is above 255\n"
	 "a.dfw:1:45: ICMP code 256 is above 255\n"},
	{"a vport's pattern has letters of vports' names", "r: allow from vport \"a b\"\n",
	 "a.dfw:1:21: 'a b' names no vport, it would be letters, digits and . _ - : with * for any "
	 "letters and ? for one\n"},
	{"an empty service is refused", "service s { }\n",
	 "a.dfw:1:9: service 's' is empty, a service has at least one item\n"},
	{"a missing include is told where it stands", "\n include \"b.dfw\"\n",
	 "a.dfw:2:10: cannot read 'b.dfw': No such file or directory\n"},
};

static void print_errors(const struct policy_errors *errors, char *text, size_t room)
{
	FILE *out = fmemopen(text, room, "w");

	if (!out)
		abort();
	policy_errors_print(errors, out);
	fclose(out);
}

static void test_bad(const struct bad *bad)
{
	struct policy_errors errors;
	struct policy *policy;
	char text[4096] = "";

	TEST(bad->name)
	{
		CHECK(parse_text(bad->text, &policy, &errors) == -EINVAL);
		CHECK(!policy);
		CHECK(errors.nr > 0);
		print_errors(&errors, text, sizeof(text));
		if (bad->errors)
			CHECK_TEXT(text, bad->errors);
	}
	policy_free(policy);
	policy_errors_free(&errors);
}

static const char *const good[][2] = {
	{"the design's sketch is a policy",
	 "group web    { tag app=web }\n"
	 "group db     { vport \"db-*\" }\n"
	 "group office { 10.20.0.0/16, 2001:db8:20::/48 }\n"
	 "service pg   { tcp 5432 }\n"
	 "\n"
	 "tier infra {\n"
	 "  ping:    allow in to any-vport service icmp-echo, icmp6-echo\n"
	 "}\n"
	 "tier app {\n"
	 "  web-in:  allow in from any to web service tcp 80, tcp 443\n"
	 "  web-db:  allow from web to db service pg log            # both ends\n"
	 "  no-ssh:  reject in from office to db service tcp 22\n"
	 "}\n"
	 "default in drop log\n"
	 "default out allow\n"},
	{"an empty policy is one", ""},
	{"comments and blank lines are one", "# nothing\n\n  \n# here"},
	{"a rule goes on on lines that are indented deeper than its name",
	 "r: allow in\n     from 10.0.0.0/8,\n       10.0.0.1\n  service\n     tcp 80,\n 443\ns: "
	 "drop"},
	{"a tier and its rules may stand on one line",
	 "tier t { a: allow in; b: drop }; default in drop"},
	{"a rule may be called by a word of the language",
	 "tier t { in: allow\n log: drop\n default: drop\n }"},
	{"names in quotes may be words of the language",
	 "group \"in\" { 10.0.0.1 }\nservice \"tcp\" { udp 1 }\nr: allow from \"in\" service "
	 "\"tcp\""},
	{"tags may be words of the language",
	 "group g { tag in=out or \"log\" and to=10 and a/b.c=x:y }"},
	{"members are separated by commas, lines or both",
	 "group g {\n 10.0.0.1,\n 10.0.0.2\n\n 10.0.0.3, 10.0.0.4,\n}"},
	{"tag expressions nest, over lines in parentheses",
	 "group g { tag (a=1 or\n b\n) and not tag c=\"x y\" and\n not (d or e=\"\")  and f }"},
	{"a definition hides the built-in service of its name",
	 "service http { tcp 8080 }\nr: allow service http"},
	{"services of all kinds are known", "r: allow service any, tcp, tcp 1, 2-3, 65535, udp 53 "
					    "from-port 53, sctp sport 1-2, icmp, icmp echo,\n"
					    " icmp 3/4, icmp unreachable/1, icmp6 128, 129, "
					    "protocol 47, protocol gre, protocol tcp, ping"},
	{"a rule has all its clauses in any order",
	 "r: allow log out limit 10/second burst 20 per source to any stateless from not 10.0.0.1 "
	 "on-change "
	 "kill\n"
	 "s: allow max-flows 5 on-change keep applied-to vport a, tag b=c"},
	{"a byte order mark is passed over", "\xef\xbb\xbfr: allow in\n"},
	{"a byte order mark may be all", "\xef\xbb\xbf"},
	{"lines may end as on DOS", "r: allow in\r\ns: drop\r\n"},
	{"addresses begin like names",
	 "group g { fe80::/10, dead::beef, ::1, ::, 1.2.3.4 }\ndead: allow from dead::1"},
};

static void test_good(const char *name, const char *text)
{
	TEST(name)
	{
		struct policy *policy = must_parse(text);

		CHECK(policy);
		policy_free(policy);
	}
}

static char *repeat(const char *begin, const char *part, size_t times, const char *end)
{
	size_t before = strlen(begin), bytes = strlen(part);
	char *text = malloc(before + bytes * times + strlen(end) + 1);

	if (!text)
		abort();
	memcpy(text, begin, before);
	for (size_t i = 0; i < times; i++)
		memcpy(text + before + i * bytes, part, bytes);
	strcpy(text + before + times * bytes, end);
	return text;
}

/* Hostile sizes must end in errors, soon. */
static void test_large(const char *name, const char *begin, const char *part, size_t times,
		       const char *end, int wanted, const char *wanted_text)
{
	_cleanup_free_ char *text = repeat(begin, part, times, end);
	struct policy_errors errors;
	struct policy *policy;

	TEST(name)
	{
		CHECK(parse_text(text, &policy, &errors) == wanted);
		CHECK(errors.nr <= POLICY_MAX_ERRORS);
		if (wanted_text && CHECK(errors.nr > 0) &&
		    !CHECK(strstr(errors.list[0].text, wanted_text) != NULL))
			policy_errors_print(&errors, stdout);
	}
	policy_free(policy);
	policy_errors_free(&errors);
}

static void test_chain(void)
{
	static char text[64 * 40];
	size_t used = 0;

	for (int i = 0; i < 40; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "group g%d { g%d }; ", i,
					 i + 1);
	test_large("groups nest to a bound", "", text, 1, "group g40 { 10.0.0.1 }\n", -EINVAL,
		   "groups contain each other more than 32 deep");
}

static void test_includes(void)
{
	static const struct policy_file good_files[] = {
		{"a.dfw", "include \"b.dfw\"\nr: allow from g\n", 0},
		{"b.dfw", "include \"c.dfw\"\ngroup g { h }", 0},
		{"c.dfw",
		 "{\"groups\": [{\"name\": \"h\", \"members\": [{\"address\": \"::1\"}]}]}", 0},
		{0},
	};
	static const struct policy_file circle[] = {
		{"a.dfw", "include \"b.dfw\"\n", 0},
		{"b.dfw", "\n  include \"a.dfw\"\n", 0},
		{0},
	};
	static const struct policy_file twice[] = {
		{"a.dfw", "include \"b.dfw\"\ninclude \"b.dfw\"\n", 0},
		{"b.dfw", "", 0},
		{0},
	};
	static struct policy_file deep[32];
	static char names[31][16], texts[31][32];
	struct policy_errors errors;
	struct policy *policy;
	char text[512] = "";

	TEST("files include files, JSON ones too")
	{
		CHECK(parse_files(good_files, &policy, &errors) == 0);
		policy_errors_print(&errors, stdout);
		policy_errors_free(&errors);
		policy_free(policy);
	}
	TEST("a file does not include itself")
	{
		CHECK(parse_files(circle, &policy, &errors) == -EINVAL);
		print_errors(&errors, text, sizeof(text));
		CHECK_TEXT(text, "b.dfw:2:11: 'a.dfw' includes itself\n");
		policy_errors_free(&errors);
	}
	TEST("a file is included once")
	{
		CHECK(parse_files(twice, &policy, &errors) == -EINVAL);
		print_errors(&errors, text, sizeof(text));
		CHECK_TEXT(text, "a.dfw:2:9: 'b.dfw' is included twice, first at a.dfw:1:9\n");
		policy_errors_free(&errors);
	}
	for (int i = 0; i < 31; i++) {
		snprintf(names[i], sizeof(names[i]), "%d", i);
		snprintf(texts[i], sizeof(texts[i]), "include \"%d\"\n", i + 1);
		deep[i] = (struct policy_file){names[i], texts[i], 0};
	}
	TEST("files include each other to a bound")
	{
		CHECK(parse_files(deep, &policy, &errors) == -EINVAL);
		print_errors(&errors, text, sizeof(text));
		CHECK_TEXT(text, "16:1:9: files include each other more than 16 deep\n");
		policy_errors_free(&errors);
	}
	TEST("a main file that is not there is an error without a line")
	{
		static const struct policy_file none[] = {{"a.dfw", "", 0}, {0}};
		const struct policy_reader reader = {policy_files_read, (void *)none};

		CHECK(policy_parse(&reader, "x.dfw", &policy, &errors) == -EINVAL);
		print_errors(&errors, text, sizeof(text));
		CHECK_TEXT(text, "x.dfw: cannot read 'x.dfw': No such file or directory\n");
		policy_errors_free(&errors);
	}
}

/* As dfwctl sends a policy, and dfwd keeps it. */
static int parse_bundle(const char *bundle, struct policy **policy, struct policy_errors *errors)
{
	_cleanup_json_ json_t *json = json_loads(bundle, 0, NULL);

	*policy = NULL;
	*errors = (struct policy_errors){};
	return json ? bundle_parse(json, policy, errors) : -EINVAL;
}

static void test_bundles(void)
{
	static const struct {
		const char *from, *name, *resolved;
	} names[] = {
		{NULL, "a", "a"},
		{NULL, "./a", "a"},
		{NULL, ".//a", "a"},
		{NULL, "a//./b/././/c", "a/b/c"},
		{NULL, "//a/./b", "/a/b"},
		{NULL, "/./a", "/a"},
		{NULL, "../a/../b", "../a/../b"},
		{NULL, ".a/b./c.", ".a/b./c."},
		{"./d/a", "b", "d/b"},
		{"d//a", "./b", "d/b"},
		{"d/a", "/./b", "/b"},
		{"/a", "b", "/b"},
	};
	struct policy_errors errors;
	struct policy *policy;
	char text[512] = "";

	TEST("a file has one name, whatever './' and '//' are in it")
	{
		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			_cleanup_free_ char *resolved =
				bundle_resolve(names[i].from, names[i].name);

			CHECK_TEXT(resolved, names[i].resolved);
		}
	}
	TEST("a file is included once, whatever it is called")
	{
		CHECK(parse_bundle("{\"main\": \"a.dfw\", \"files\": ["
				   "{\"name\": \"a.dfw\", \"text\": \"include \\\"b\\\"\\n"
				   "include \\\"./b\\\"\\ninclude \\\".//a.dfw\\\"\"},"
				   "{\"name\": \"b\", \"text\": \"group g { }\"}]}",
				   &policy, &errors) == -EINVAL);
		print_errors(&errors, text, sizeof(text));
		CHECK_TEXT(text, "a.dfw:2:9: 'b' is included twice, first at a.dfw:1:9\n"
				 "a.dfw:3:9: 'a.dfw' includes itself\n");
	}
	policy_errors_free(&errors);
	policy_free(policy);
	TEST("a bundle whose files have longer names is still read")
	{
		CHECK(parse_bundle("{\"main\": \"./a.dfw\", \"files\": ["
				   "{\"name\": \"./a.dfw\", \"text\": \"include \\\"./b\\\"\"},"
				   "{\"name\": \"././b\", \"text\": \"group g { }\"}]}",
				   &policy, &errors) == 0);
		policy_errors_print(&errors, stdout);
	}
	policy_errors_free(&errors);
	policy_free(policy);
}

static void test_ids(void)
{
	struct policy *policy = must_parse("tier app { web: allow in service https log }\n"
					   "default out reject log");
	char *text = NULL;

	TEST("a rule's id is FNV-1a of tier/name")
	{
		CHECK(policy_rule_id("", "") == 0x2a0c975e); /* of "/" */
		CHECK(policy_rule_id("app", "web") != policy_rule_id("web", "app"));
	}
	TEST("a rule is shown by its id")
	{
		CHECK(policy_rule_text(policy, policy_rule_id("app", "web"), &text) == 0);
		CHECK_TEXT(text, "allow in service https log");
		free(text);
		CHECK(policy_rule_text(policy, policy_rule_id("default", "out"), &text) == 0);
		CHECK_TEXT(text, "default out reject log");
		free(text);
		CHECK(policy_rule_text(policy, 1, &text) == -ENOENT);
	}
	policy_free(policy);
}

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		test_good(good[i][0], good[i][1]);
	for (size_t i = 0; i < ARRAY_SIZE(bads); i++)
		test_bad(&bads[i]);
	test_includes();
	test_bundles();
	test_ids();
	test_chain();
	test_large("a file of 50 MB is too much", "", "# 50 MB\n", 50U << 17, "", -EINVAL,
		   "too many");
	test_large("a million wrong lines are 20 errors", "", "x y z\n", 1000000, "", -EINVAL,
		   "unexpected 'x'");
	test_large("parentheses nest to a bound", "r: allow from tag ", "(", 100000, "", -EINVAL,
		   "parentheses nest at most 64 deep");
	test_large("'not' nests to a bound", "r: allow from tag ", "not ", 65, "a\n", -EINVAL,
		   "a tag expression nests at most 64 deep");
	test_large("'not' without end is an error", "r: allow from tag ", "not ", 100000, "a\n",
		   -EINVAL, "this nests too deep");
	test_large("a hundred thousand addresses are a group", "group g { ", "10.0.0.1, ", 100000,
		   "}\n", 0, NULL);
	test_large("a long chain of 'or' is one expression", "r: allow from tag ", "a or ", 100000,
		   "a\n", 0, NULL);
	test_large("a long chain of 'or' and 'and' is one expression", "r: allow from tag ",
		   "a and b or ", 100000, "a\n", 0, NULL);
	test_large("a service of 65,535 ports is one", "service s { ", "tcp 5-7 from-port 1\n",
		   65535, "}\nr: allow service s\n", 0, NULL);
	return check_done();
}
