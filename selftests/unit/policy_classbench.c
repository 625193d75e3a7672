// SPDX-License-Identifier: GPL-2.0
/*
 * Large rule sets of ClassBench's shape: the compiled tables against a linear scan, and how long compiling takes.
 * Usage: policy_classbench [FILE...]; without files, rule sets of selftests/lib/rulegen.h.
 */
#include <inttypes.h>
#include <time.h>

#include "addr.h"
#include "check.h"
#include "policy_files.h"
#include "rulegen.h"
#include "util.h"

/* Of this process alone, so that a busy machine does not count. */
static double cpu_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static size_t table_bytes(const struct compiled *compiled)
{
	size_t bytes = 0;

	for (size_t i = 0; i < compiled->nr_rulesets; i++)
		bytes += compiled->rulesets[i].nr_refs * sizeof(struct dfw_row_ref) +
			 compiled->rulesets[i].nr_chunks * sizeof(struct dfw_row_chunk);
	return bytes;
}

static bool compare(const struct compiled *compiled, const struct rulegen_rule *rules, size_t nr,
		    struct rulegen *generator, size_t nr_packets)
{
	const struct compiled_ruleset *ruleset =
		&compiled->rulesets[compiled->ports[0].ruleset[DFW_IN]];

	for (size_t i = 0; i < nr_packets; i++) {
		struct rulegen_packet made;
		struct policy_packet packet;
		size_t wanted;
		uint32_t is;

		rulegen_packet(generator, rules, nr, &made);
		packet = (struct policy_packet){
			.local = made.destination,
			.remote = made.source,
			.local_is_own = i & 1, /* an address that a rule names matches either way */
			.protocol = made.protocol,
			.source_port = made.source_port,
			.destination_port = made.destination_port,
		};
		wanted = rulegen_scan(rules, nr, &made);
		is = compiled_lookup(compiled, ruleset, &packet);
		if (is != wanted) {
			char source[ADDR_TEXT_LEN], destination[ADDR_TEXT_LEN];

			printf("# %s %s protocol %d ports %d -> %d: rule %u, not %zu\n",
			       addr_format(&made.source, source),
			       addr_format(&made.destination, destination), made.protocol,
			       made.source_port, made.destination_port, is, wanted);
			return false;
		}
	}
	return true;
}

static void test_rules(const char *name, const struct rulegen_rule *rules, size_t nr)
{
	_cleanup_free_ char *text = NULL;
	struct dfw_addr address;
	const struct policy_port port = {
		.name = "p", .addresses = &address, .nr_addresses = 1, .here = true};
	struct policy_errors errors = {0};
	struct compiled *compiled = NULL;
	struct policy *policy = NULL;
	struct rulegen generator;
	double start, parsed, done;
	char title[160];

	snprintf(title, sizeof(title), "%s: %zu rules decide as a scan over them does", name, nr);
	TEST(title)
	{
		addr_parse("192.0.2.1", &address);
		rulegen_seed(&generator, 1);
		if (!CHECK(rulegen_text(rules, nr, &text) == 0))
			continue;
		start = cpu_ms();
		CHECK(parse_text(text, &policy, &errors) == 0);
		policy_errors_print(&errors, stdout);
		policy_errors_free(&errors);
		if (!policy)
			continue;
		parsed = cpu_ms();
		CHECK(policy_compile(policy, &port, 1, &compiled, &errors) == 0);
		done = cpu_ms();
		policy_errors_print(&errors, stdout);
		policy_errors_free(&errors);
		if (!compiled)
			continue;
		printf("# parsed in %.1f ms of CPU, compiled in %.1f ms: %zu hosts, %zu prefixes, "
		       "%" PRIu32 " + %" PRIu32 " + %" PRIu32 " classes, %zu KiB of rows\n",
		       parsed - start, done - parsed, compiled->nr_exact, compiled->nr_prefixes,
		       compiled->nr_address_classes, compiled->nr_l4_classes,
		       compiled->nr_source_classes, table_bytes(compiled) >> 10);
		CHECK(compare(compiled, rules, nr, &generator, 100000));
	}
	compiled_free(compiled);
	policy_free(policy);
}

static void test_file(const char *path)
{
	_cleanup_free_ struct rulegen_rule *rules = NULL;
	size_t nr = 0;
	int r = rulegen_read(path, &rules, &nr);

	TEST("the file is one of ClassBench's")
	{
		if (!CHECK(r == 0))
			printf("# %s: %s\n", path, strerror(-r));
	}
	if (r == 0)
		test_rules(path, rules, nr);
}

static void test_generated(void)
{
	static const struct {
		const char *name;
		enum rulegen_kind kind;
		size_t nr;
	} sets[] = {
		{"access list, 10 rules", RULEGEN_ACL, 10},
		{"access list", RULEGEN_ACL, 2000},
		{"firewall", RULEGEN_FW, 2000},
		{"chain", RULEGEN_IPC, 1025},
	};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		_cleanup_free_ struct rulegen_rule *rules = calloc(sets[i].nr, sizeof(*rules));
		struct rulegen generator;

		if (!rules)
			abort();
		rulegen_seed(&generator, 7 + i);
		rulegen_make(&generator, sets[i].kind, rules, sets[i].nr);
		test_rules(sets[i].name, rules, sets[i].nr);
	}
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		test_file(argv[i]);
	if (argc < 2)
		test_generated();
	return check_done();
}
