// SPDX-License-Identifier: GPL-2.0
/* What must hold of the names of rules that `flow list` shows: whose they are, and how often texts are read for them. */
#include "ctl/rule_names.c"

#include <errno.h>

#include "check.h"

#define INSTANCE "unit-rule-names" /* that nobody has: the kernel knows none of its rules */

enum {
	GENERATION_MISSING = 3,
	GENERATION_DAMAGED = 4,
	GENERATIONS = 5,
};

static const char *const texts[GENERATIONS] = {
	[1] = "tier t {\n    stays: drop in\n    first: drop out\n}\n",
	[2] = "tier t {\n    stays: drop in\n    second: drop out\n}\n",
	[GENERATION_DAMAGED] = "tier t {",
};
static unsigned int times_read[GENERATIONS];

/* In dfwctl it reads what dfwd has saved. */
int bundle_saved(const char *instance, unsigned int generation, json_t **bundle)
{
	(void)instance;
	times_read[generation]++;
	if (!texts[generation])
		return -ENOENT;
	*bundle = json_pack("{s:s, s:[{s:s, s:s}]}", "main", "p", "files", "name", "p", "text",
			    texts[generation]);
	return 0;
}

static const char *name_of(struct rule_names *names, const char *rule, unsigned int generation)
{
	return rule_name(names, policy_rule_id("t", rule), generation);
}

static bool is_id(const char *name, const char *rule)
{
	char id[ID_TEXT_LEN];

	snprintf(id, sizeof(id), "#%08x", policy_rule_id("t", rule));
	return strcmp(name, id) == 0;
}

static void ask_all(struct rule_names *names)
{
	CHECK_TEXT(name_of(names, "first", 1), "t/first");
	CHECK_TEXT(name_of(names, "second", 2), "t/second");
	CHECK_TEXT(name_of(names, "stays", 1), "t/stays");
	CHECK(is_id(name_of(names, "third", GENERATION_MISSING), "third"));
	CHECK(is_id(name_of(names, "fourth", GENERATION_DAMAGED), "fourth"));
}

int main(void)
{
	struct rule_names *names = rule_names_new(INSTANCE);

	rule_names_of(names, "web1");
	TEST("a rule has the name it had in its flow's generation; what nothing knows, its id")
	ask_all(names);
	TEST("flows of several generations, by turns and of several ports, read each text once")
	{
		for (int port = 0; port < 3; port++) {
			rule_names_of(names, port % 2 ? "web1" : "web2");
			ask_all(names);
			ask_all(names);
		}
		CHECK(times_read[1] == 1);
		CHECK(times_read[2] == 1);
	}
	TEST("...and one that cannot be read is not tried again")
	{
		CHECK(times_read[GENERATION_MISSING] == 1);
		CHECK(times_read[GENERATION_DAMAGED] == 1);
	}
	TEST("what two generations have in common is kept once")
	CHECK(names->former.nr == 3);
	rule_names_free(names);
	return check_done();
}
