// SPDX-License-Identifier: GPL-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_file.h"
#include "json.h"
#include "rule_names.h"
#include "view.h"

#define ID_TEXT_LEN 16

struct rule_entry {
	uint32_t id;
	char name[2 * DFW_RULE_NAME_LEN];
};

struct name_list {
	struct rule_entry *entries;
	size_t nr;
	size_t room;
};

/* An id is a hash of the name: it means the same in every generation, so that one list has the names of all. */
struct rule_names {
	char *instance;
	struct name_list kernel; /* of one port */
	struct name_list former; /* of the generations that were read */
	uint32_t *read;		 /* which ones, sorted; those of which nothing is left too */
	size_t nr_read;
	char id_text[ID_TEXT_LEN];
};

static int compare_entries(const void *a, const void *b)
{
	uint32_t left = ((const struct rule_entry *)a)->id,
		 right = ((const struct rule_entry *)b)->id;

	return left < right ? -1 : left > right;
}

/* A name that does not fit in memory is shown as its id. */
static void list_add(struct name_list *list, uint32_t id, const char *name)
{
	if (list->nr == list->room) {
		size_t room = list->room ? 2 * list->room : 64;
		struct rule_entry *more = realloc(list->entries, room * sizeof(*more));

		if (!more)
			return;
		list->entries = more;
		list->room = room;
	}
	list->entries[list->nr].id = id;
	snprintf(list->entries[list->nr].name, sizeof(list->entries->name), "%s", name);
	list->nr++;
}

/* Sorts, and keeps each id once: most rules of a generation are those of the one before. */
static void list_sort(struct name_list *list)
{
	size_t unique = 0;

	if (list->nr)
		qsort(list->entries, list->nr, sizeof(*list->entries), compare_entries);
	for (size_t i = 0; i < list->nr; i++)
		if (unique == 0 || list->entries[unique - 1].id != list->entries[i].id)
			list->entries[unique++] = list->entries[i];
	list->nr = unique;
}

static const char *list_find(const struct name_list *list, uint32_t id)
{
	struct rule_entry wanted = {.id = id}, *found = NULL;

	if (list->nr)
		found = bsearch(&wanted, list->entries, list->nr, sizeof(wanted), compare_entries);
	return found ? found->name : NULL;
}

void rule_names_of(struct rule_names *names, const char *vport)
{
	names->kernel.nr = 0;
	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		_cleanup_free_ struct view_rule *rules = NULL;
		struct dfw_ruleset header;
		size_t nr = 0;

		if (view_rules(names->instance, vport, direction, &rules, &nr, &header) < 0)
			continue;
		for (size_t i = 0; i < nr; i++)
			list_add(&names->kernel, rules[i].info.id, rules[i].info.name);
	}
	list_sort(&names->kernel);
}

static void add_tier(struct name_list *list, const json_t *tier)
{
	const char *tier_name = json_text(tier, "name");
	const json_t *rule;
	size_t i;

	json_array_foreach (json_object_get(tier, "rules"), i, rule) {
		_cleanup_free_ char *name = NULL;
		const char *rule_text = json_text(rule, "name");

		if (!tier_name || !rule_text)
			continue;
		if (asprintf(&name, "%s/%s", tier_name, rule_text) < 0) {
			name = NULL;
			continue;
		}
		list_add(list, policy_rule_id(tier_name, rule_text), name);
	}
}

static int compare_generations(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return left < right ? -1 : left > right;
}

/* Whether the generation is to be read; it is not a second time, whatever comes of it. */
static bool read_first(struct rule_names *names, uint32_t generation)
{
	uint32_t *more;

	if (names->nr_read && bsearch(&generation, names->read, names->nr_read, sizeof(generation),
				      compare_generations))
		return false;
	more = realloc(names->read, (names->nr_read + 1) * sizeof(*more));
	if (!more)
		return false;
	names->read = more;
	more[names->nr_read++] = generation;
	qsort(more, names->nr_read, sizeof(*more), compare_generations);
	return true;
}

static void read_former(struct rule_names *names, uint32_t generation)
{
	_cleanup_(policy_errors_free) struct policy_errors errors = {};
	_cleanup_policy_ struct policy *policy = NULL;
	_cleanup_json_ json_t *bundle = NULL, *model = NULL;
	_cleanup_free_ char *text = NULL;
	const json_t *tier;
	size_t i;

	if (!read_first(names, generation))
		return;
	if (bundle_saved(names->instance, generation, &bundle) < 0 ||
	    bundle_parse(bundle, &policy, &errors) < 0 || policy_to_json(policy, &text) < 0)
		return;
	model = json_loads(text, 0, NULL);
	json_array_foreach (json_object_get(model, "tiers"), i, tier)
		add_tier(&names->former, tier);
	list_sort(&names->former);
}

struct rule_names *rule_names_new(const char *instance)
{
	struct rule_names *names = calloc(1, sizeof(*names));

	if (!names)
		return NULL;
	names->instance = strdup(instance);
	if (!names->instance) {
		rule_names_free(names);
		return NULL;
	}
	return names;
}

void rule_names_free(struct rule_names *names)
{
	if (!names)
		return;
	free(names->instance);
	free(names->kernel.entries);
	free(names->former.entries);
	free(names->read);
	free(names);
}

const char *rule_name(struct rule_names *names, uint32_t id, uint32_t generation)
{
	const char *found = list_find(&names->kernel, id);

	if (!found)
		found = list_find(&names->former, id);
	if (!found && generation) {
		read_former(names, generation);
		found = list_find(&names->former, id);
	}
	if (found)
		return found;
	snprintf(names->id_text, sizeof(names->id_text), "#%08x", id);
	return names->id_text;
}
