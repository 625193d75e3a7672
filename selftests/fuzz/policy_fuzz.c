// SPDX-License-Identifier: GPL-2.0
/*
 * Any bytes as a policy, text or JSON: an error or a policy, which must then survive both forms and compile.
 *
 *	clang-19 -fsanitize=fuzzer,address,undefined ... && ./policy_fuzz selftests/fuzz/corpus/policy
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "policy/policy.h"
#include "util.h"

struct input {
	const char *text;
	size_t bytes;
};

/* The main file is the input; a file it includes is half of it. */
static int input_read(void *data, const char *from, const char *name, char **text, size_t *bytes,
		      char **resolved)
{
	const struct input *input = data;

	*bytes = from ? input->bytes / 2 : input->bytes;
	*text = malloc(*bytes + 1);
	*resolved = strdup(name);
	if (!*text || !*resolved)
		abort();
	memcpy(*text, input->text, *bytes);
	return 0;
}

static struct policy *parse(const char *text, size_t bytes, bool must)
{
	struct input input = {text, bytes};
	const struct policy_reader reader = {input_read, &input};
	struct policy_errors errors;
	struct policy *policy;
	int r = policy_parse(&reader, "fuzz", &policy, &errors);

	if ((r == 0) != (policy != NULL) || (r < 0 && errors.nr == 0))
		abort();
	if (r < 0 && must) {
		policy_errors_print(&errors, stderr);
		abort();
	}
	policy_errors_free(&errors);
	return policy;
}

/* `text` is a form of the policy: it must mean what `json` says. */
static void check_form(const char *text, const char *json)
{
	_cleanup_free_ char *again = NULL;
	struct policy *policy = parse(text, strlen(text), true);

	if (policy_to_json(policy, &again) < 0 || strcmp(again, json) != 0) {
		fprintf(stderr, "--- form\n%s--- is\n%s--- wanted\n%s", text, again ? again : "",
			json);
		abort();
	}
	policy_free(policy);
}

static void check_forms(const struct policy *policy)
{
	_cleanup_free_ char *json = NULL;
	_cleanup_free_ char *text = NULL;

	if (policy_to_json(policy, &json) < 0 || policy_to_text(policy, &text) < 0)
		abort();
	check_form(json, json);
	check_form(text, json);
}

static void check_tables(const struct policy *policy)
{
	struct dfw_addr addresses[2];
	const struct policy_tag tags[] = {{"app", "web"}, {"env", "test"}};
	const struct policy_port ports[] = {
		{.name = "db-1", .addresses = addresses, .nr_addresses = 2, .here = true},
		{.name = "web", .tags = tags, .nr_tags = 2, .here = true},
	};
	const struct policy_packet packet = {.protocol = 6, .destination_port = 80};
	struct policy_errors errors;
	struct compiled *compiled;

	addr_parse("10.0.0.1", &addresses[0]);
	addr_parse("2001:db8::1", &addresses[1]);
	if (policy_compile(policy, ports, ARRAY_SIZE(ports), &compiled, &errors) == 0)
		for (size_t i = 0; i < compiled->nr_rulesets; i++)
			if (compiled_lookup(compiled, &compiled->rulesets[i], &packet) >
			    compiled->rulesets[i].header.nr_rules)
				abort();
	compiled_free(compiled);
	policy_errors_free(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct policy *policy = parse((const char *)data, bytes, false);

	if (policy) {
		check_forms(policy);
		check_tables(policy);
	}
	policy_free(policy);
	return 0;
}
