// SPDX-License-Identifier: GPL-2.0
/*
 * classify FILE...: what the classifier costs in the kernel, in nanoseconds a decision, for each policy or ClassBench rule
 * set: where each is made, and where those that were made before are remembered, as they are in traffic. Prints a table,
 * or with --json an object for each file, one a line.
 *
 *   --headers N   different headers, decided in turn (65536)
 *   --rounds N    the best of so many (5)
 *   --rules N     of a ClassBench rule set the first N rules only
 *   --json
 *
 * A file *.rules is ClassBench's, see selftests/lib/rulegen.h: its headers lie on the edges of its rules, and each verdict
 * is compared with a scan over them. Any other file is a policy; its headers are random and lie near the addresses that
 * the policy names.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "bundle.h"
#include "classifier.h"
#include "file.h"
#include "rulegen.h"
#include "util.h"

struct options {
	size_t headers;
	size_t rules;
	unsigned int rounds;
	bool json;
};

/* A rule set to be measured. */
struct subject {
	const char *path;
	struct rulegen_rule *rules; /* NULL: a policy */
	size_t nr_rules;
	struct policy *policy;
	struct compiled *compiled;
	struct classify_header *headers;
};

static void subject_free(struct subject *subject)
{
	free(subject->rules);
	free(subject->headers);
	compiled_free(subject->compiled);
	policy_free(subject->policy);
}

static const struct compiled_ruleset *ruleset_of(const struct subject *subject)
{
	return &subject->compiled->rulesets[subject->compiled->ports[0].ruleset[DFW_IN]];
}

static int compile(struct subject *subject)
{
	struct dfw_addr address;
	const struct policy_port port = {
		.name = "bench", .addresses = &address, .nr_addresses = 1, .here = true};
	struct policy_errors errors = {};
	int r;

	addr_parse("192.0.2.1", &address);
	r = policy_compile(subject->policy, &port, 1, &subject->compiled, &errors);
	policy_errors_print(&errors, stderr);
	policy_errors_free(&errors);
	return r;
}

struct memory_file {
	const char *text;
};

static int read_memory(void *data, const char *from, const char *name, char **text, size_t *bytes,
		       char **resolved)
{
	const struct memory_file *file = data;

	(void)from;
	*text = strdup(file->text);
	*resolved = strdup(name);
	*bytes = strlen(file->text);
	return *text && *resolved ? 0 : -ENOMEM;
}

static int parse(struct subject *subject, const struct policy_reader *reader)
{
	struct policy_errors errors = {};
	int r = policy_parse(reader, subject->path, &subject->policy, &errors);

	policy_errors_print(&errors, stderr);
	policy_errors_free(&errors);
	return r;
}

static int open_rules(struct subject *subject, const struct options *options)
{
	_cleanup_free_ char *text = NULL;
	struct memory_file file;
	const struct policy_reader reader = {read_memory, &file};
	int r = rulegen_read(subject->path, &subject->rules, &subject->nr_rules);

	if (r < 0) {
		fprintf(stderr, "%s: %s\n", subject->path, strerror(-r));
		return r;
	}
	if (options->rules && options->rules < subject->nr_rules)
		subject->nr_rules = options->rules;
	r = rulegen_text(subject->rules, subject->nr_rules, &text);
	if (r < 0)
		return r;
	file.text = text;
	return parse(subject, &reader);
}

static int read_disk(void *data, const char *from, const char *name, char **text, size_t *bytes,
		     char **resolved)
{
	int r;

	(void)data;
	*resolved = bundle_resolve(from, name);
	if (!*resolved)
		return -ENOMEM;
	r = file_read(*resolved, POLICY_MAX_BYTES, text, bytes);
	if (r < 0) {
		free(*resolved);
		*resolved = NULL;
	}
	return r;
}

static int open_policy(struct subject *subject)
{
	static const struct policy_reader reader = {read_disk, NULL};

	return parse(subject, &reader);
}

/* ---- Headers ----------------------------------------------------------------------------------------------------- */

static void rule_header(struct rulegen *generator, const struct subject *subject,
			struct rulegen_packet *packet, struct classify_header *header)
{
	rulegen_packet(generator, subject->rules, subject->nr_rules, packet);
	*header = (struct classify_header){
		.local = packet->destination,
		.remote = packet->source,
		.source_port = packet->source_port,
		.destination_port = packet->destination_port,
		.protocol = packet->protocol,
	};
}

/* One that the policy names, or one near it. */
static struct dfw_addr near_address(struct rulegen *generator, const struct compiled *compiled)
{
	size_t nr = compiled->nr_exact + compiled->nr_prefixes4, at;
	const struct compiled_address *named;
	struct dfw_addr address = {.bytes = {[10] = 0xff, 0xff, 10}};

	if (nr) {
		at = rulegen_below(generator, (uint32_t)nr);
		named = at < compiled->nr_exact ? &compiled->exact[at]
						: &compiled->prefixes4[at - compiled->nr_exact];
		address = named->address;
		if (named->prefix_bits == DFW_ADDR_BITS)
			return address;
	}
	address.bytes[15] ^= (uint8_t)rulegen_below(generator, 256);
	return address;
}

static void policy_header(struct rulegen *generator, const struct compiled *compiled,
			  struct classify_header *header)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP};

	*header = (struct classify_header){
		.remote = near_address(generator, compiled),
		.source_port = (uint16_t)(1024 + rulegen_below(generator, 64512)),
		.destination_port = (uint16_t)rulegen_below(
			generator, rulegen_below(generator, 2) ? 1024 : 65536),
		.protocol = protocols[rulegen_below(generator, ARRAY_SIZE(protocols))],
		.own = true,
	};
	addr_parse("192.0.2.1", &header->local);
}

/* Fills in the headers, and for rules what a scan says of each. */
static int make_headers(struct subject *subject, size_t nr, uint32_t *wanted)
{
	struct rulegen generator;

	subject->headers = calloc(nr + 1, sizeof(*subject->headers));
	if (!subject->headers)
		return -ENOMEM;
	rulegen_seed(&generator, 1);
	for (size_t i = 0; i < nr; i++) {
		struct rulegen_packet packet;

		if (!subject->rules) {
			policy_header(&generator, subject->compiled, &subject->headers[i]);
			continue;
		}
		rule_header(&generator, subject, &packet, &subject->headers[i]);
		wanted[i] = (uint32_t)rulegen_scan(subject->rules, subject->nr_rules, &packet);
	}
	return 0;
}

/* ---- Measuring --------------------------------------------------------------------------------------------------- */

static int check_verdicts(struct classifier *classifier, const struct subject *subject, size_t nr,
			  const uint32_t *wanted)
{
	_cleanup_free_ uint32_t *verdicts = calloc(nr + 1, sizeof(*verdicts));
	int r = verdicts ? classifier_decide(classifier,
					     subject->compiled->ports[0].ruleset[DFW_IN], verdicts)
			 : -ENOMEM;

	for (size_t i = 0; i < nr && r == 0 && subject->rules; i++)
		if (verdicts[i] != wanted[i]) {
			fprintf(stderr, "%s: header %zu: rule %" PRIu32 ", not %" PRIu32 "\n",
				subject->path, i, verdicts[i], wanted[i]);
			r = -EBADMSG;
		}
	return r;
}

static size_t row_bytes(const struct compiled_ruleset *ruleset)
{
	return ruleset->nr_refs * sizeof(*ruleset->refs) +
	       ruleset->nr_chunks * sizeof(*ruleset->chunks);
}

struct cost {
	double made;	   /* each decision */
	double remembered; /* where it was made before, and not forgotten since */
};

static void print(const struct subject *subject, const struct options *options,
		  const struct cost *cost)
{
	const struct compiled *compiled = subject->compiled;
	const struct compiled_ruleset *ruleset = ruleset_of(subject);

	if (options->json)
		printf("{\"file\": \"%s\", \"rules\": %" PRIu32
		       ", \"ns\": %.1f, \"ns_remembered\": %.1f, \"hosts\": %zu, "
		       "\"prefixes\": %zu, \"address_classes\": %" PRIu32 ", \"row_bytes\": %zu}\n",
		       subject->path, ruleset->header.nr_rules, cost->made, cost->remembered,
		       compiled->nr_exact, compiled->nr_prefixes + compiled->nr_prefixes4,
		       compiled->nr_address_classes, row_bytes(ruleset));
	else
		printf("%-40s %6" PRIu32
		       " rules %7.1f ns %7.1f remembered %7zu hosts %6zu prefixes %6" PRIu32
		       " classes %7zu KiB of rows\n",
		       subject->path, ruleset->header.nr_rules, cost->made, cost->remembered,
		       compiled->nr_exact, compiled->nr_prefixes + compiled->nr_prefixes4,
		       compiled->nr_address_classes, row_bytes(ruleset) >> 10);
	fflush(stdout);
}

static int measure(const char *path, const struct options *options)
{
	size_t length = strlen(path), nr = options->headers;
	bool rules = length > 6 && strcmp(path + length - 6, ".rules") == 0;
	_cleanup_(subject_free) struct subject subject = {.path = path};
	_cleanup_free_ uint32_t *wanted = calloc(nr + 1, sizeof(*wanted));
	_cleanup_classifier_ struct classifier *classifier = NULL;
	struct cost cost = {};
	size_t ruleset = 0;
	int r = wanted ? 0 : -ENOMEM;

	if (r == 0)
		r = rules ? open_rules(&subject, options) : open_policy(&subject);
	if (r == 0)
		r = compile(&subject);
	if (r == 0)
		ruleset = subject.compiled->ports[0].ruleset[DFW_IN];
	if (r == 0)
		r = make_headers(&subject, nr, wanted);
	if (r == 0)
		r = classifier_open(subject.compiled, &classifier);
	if (r == 0)
		r = classifier_headers(classifier, subject.headers, nr);
	if (r == 0)
		r = check_verdicts(classifier, &subject, nr, wanted);
	if (r == 0)
		r = classifier_cost(classifier, ruleset, options->rounds, &cost.made);
	if (r == 0)
		r = classifier_remember(classifier, true);
	if (r == 0)
		r = check_verdicts(classifier, &subject, nr, wanted);
	if (r == 0)
		r = classifier_cost(classifier, ruleset, options->rounds, &cost.remembered);
	if (r == 0)
		print(&subject, options, &cost);
	return r;
}

static size_t number(const char *text, size_t most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || value < 1 || value > most) {
		fprintf(stderr, "classify: '%s' is no number from 1 to %zu\n", text, most);
		exit(2);
	}
	return value;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"headers", required_argument, NULL, 'h'},
		{"rounds", required_argument, NULL, 'r'},
		{"rules", required_argument, NULL, 'n'},
		{"json", no_argument, NULL, 'j'},
		{0},
	};
	struct options options = {.headers = 65536, .rounds = 5};
	bool failed = false;
	int option;

	while ((option = getopt_long(argc, argv, "j", long_options, NULL)) >= 0)
		switch (option) {
		case 'h':
			options.headers = number(optarg, CLASSIFY_HEADERS);
			break;
		case 'r':
			options.rounds = (unsigned int)number(optarg, 1000);
			break;
		case 'n':
			options.rules = number(optarg, DFW_MAX_RULES);
			break;
		case 'j':
			options.json = true;
			break;
		default:
			return 2;
		}
	if (optind == argc) {
		fprintf(stderr, "usage: classify [--headers N] [--rounds N] [--rules N] [--json] "
				"FILE...\n");
		return 2;
	}
	for (int i = optind; i < argc; i++)
		failed |= measure(argv[i], &options) < 0;
	return failed;
}
