// SPDX-License-Identifier: GPL-2.0
/*
 * The datapath's classifier, as the kernel runs it, against a scan over the rules: on rule sets of ClassBench's shape that
 * are made here, and on those of ClassBench itself where they are at hand.
 *
 * DFW_CLASSBENCH is the folder of ClassBench's *.rules (../shared/classbench).
 */
#include <errno.h>
#include <glob.h>
#include <inttypes.h>

#include "addr.h"
#include "check.h"
#include "classifier.h"
#include "policy_files.h"
#include "rulegen.h"
#include "util.h"

#define HEADERS 20000

static struct compiled *compile(const struct rulegen_rule *rules, size_t nr, struct policy **policy)
{
	_cleanup_free_ char *text = NULL;
	struct policy_errors errors = {};
	struct compiled *compiled = NULL;
	struct dfw_addr address;
	const struct policy_port port = {
		.name = "p", .addresses = &address, .nr_addresses = 1, .here = true};

	addr_parse("192.0.2.1", &address);
	if (rulegen_text(rules, nr, &text) < 0)
		abort();
	*policy = must_parse(text);
	if (*policy)
		policy_compile(*policy, &port, 1, &compiled, &errors);
	policy_errors_print(&errors, stdout);
	policy_errors_free(&errors);
	return compiled;
}

/* Headers on the edges of the rules, and what a scan says of each. */
static void make_headers(const struct rulegen_rule *rules, size_t nr,
			 struct classify_header *headers, uint32_t *wanted)
{
	struct rulegen generator;

	rulegen_seed(&generator, 3);
	for (size_t i = 0; i < HEADERS; i++) {
		struct rulegen_packet packet;

		rulegen_packet(&generator, rules, nr, &packet);
		wanted[i] = (uint32_t)rulegen_scan(rules, nr, &packet);
		headers[i] = (struct classify_header){
			.local = packet.destination,
			.remote = packet.source,
			.source_port = packet.source_port,
			.destination_port = packet.destination_port,
			.protocol = packet.protocol,
			.own = i & 1, /* an address that a rule names matches either way */
		};
	}
}

static bool compare(const struct compiled *compiled, const struct rulegen_rule *rules, size_t nr)
{
	_cleanup_free_ struct classify_header *headers = calloc(HEADERS, sizeof(*headers));
	_cleanup_free_ uint32_t *wanted = calloc(HEADERS, sizeof(*wanted));
	_cleanup_free_ uint32_t *verdicts = calloc(HEADERS, sizeof(*verdicts));
	_cleanup_classifier_ struct classifier *classifier = NULL;

	if (!headers || !wanted || !verdicts)
		abort();
	make_headers(rules, nr, headers, wanted);
	if (classifier_open(compiled, &classifier) < 0 ||
	    classifier_headers(classifier, headers, HEADERS) < 0)
		return false;
	/* Each decided, then decided and remembered, then remembered where it was not pushed out. */
	for (int round = 0; round < 3; round++) {
		if ((round == 1 && classifier_remember(classifier, true) < 0) ||
		    classifier_decide(classifier, compiled->ports[0].ruleset[DFW_IN], verdicts) < 0)
			return false;
		for (size_t i = 0; i < HEADERS; i++) {
			if (verdicts[i] == wanted[i])
				continue;
			printf("# round %d, header %zu: rule %" PRIu32 ", not %" PRIu32 "\n", round,
			       i, verdicts[i], wanted[i]);
			return false;
		}
	}
	return true;
}

static void test_rules(const char *name, const struct rulegen_rule *rules, size_t nr)
{
	struct policy *policy = NULL;
	struct compiled *compiled;
	char title[160];

	snprintf(title, sizeof(title), "%s: the kernel decides by %zu rules as a scan over them",
		 name, nr);
	TEST(title)
	{
		compiled = compile(rules, nr, &policy);
		if (CHECK(compiled))
			CHECK(compare(compiled, rules, nr));
		compiled_free(compiled);
		policy_free(policy);
	}
}

static void test_generated(void)
{
	static const struct {
		const char *name;
		enum rulegen_kind kind;
		size_t nr;
	} sets[] = {
		{"access list of 10", RULEGEN_ACL, 10},
		{"access list", RULEGEN_ACL, 1500},
		{"firewall", RULEGEN_FW, 3000},
		{"chain", RULEGEN_IPC, 1025},
	};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		_cleanup_free_ struct rulegen_rule *rules = calloc(sets[i].nr, sizeof(*rules));
		struct rulegen generator;

		if (!rules)
			abort();
		rulegen_seed(&generator, 11 + i);
		rulegen_make(&generator, sets[i].kind, rules, sets[i].nr);
		test_rules(sets[i].name, rules, sets[i].nr);
	}
}

static void test_classbench(void)
{
	const char *folder = getenv("DFW_CLASSBENCH");
	char pattern[4096];
	glob_t files;

	snprintf(pattern, sizeof(pattern), "%s/*.rules", folder ? folder : "../shared/classbench");
	if (glob(pattern, 0, NULL, &files) != 0) {
		printf("# %s: ClassBench's rule sets are not at hand\n", pattern);
		return;
	}
	for (size_t i = 0; i < files.gl_pathc; i++) {
		_cleanup_free_ struct rulegen_rule *rules = NULL;
		const char *name = strrchr(files.gl_pathv[i], '/') + 1;
		size_t nr = 0;

		if (rulegen_read(files.gl_pathv[i], &rules, &nr) == 0)
			test_rules(name, rules, nr);
	}
	globfree(&files);
}

int main(void)
{
	if (geteuid() != 0) {
		printf("ok 1 - the classifier in the kernel # SKIP needs root\n1..1\n");
		return 0;
	}
	test_generated();
	test_classbench();
	return check_done();
}
