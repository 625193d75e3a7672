// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "daemon.h"
#include "groups.h"
#include "json.h"
#include "log.h"
#include "realise.h"
#include "vports.h"

/* ---- Those there are --------------------------------------------------------------------------------------------- */

void groups_settle(struct dfwd *d)
{
	if (!d->policy)
		return;
	for (size_t i = 0; i < d->members.nr_groups; i++) {
		const char *name = d->members.groups[i].name;
		size_t nr = d->members.groups[i].nr;
		int r;

		if (nr == 0 || policy_group(d->policy, name))
			continue;
		log_notice(
			"group %s is gone with the policy, and with it its %zu members of run time",
			name, nr);
		r = members_remove_group(&d->members, name);
		if (r < 0)
			log_errno(r, "group %s: cannot forget its members", name);
	}
}

int groups_restore(struct dfwd *d)
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/" GROUP_MEMBERS_FILE, d->state_dir);
	r = members_open(&d->members, path);
	if (r == 0)
		groups_settle(d);
	return r;
}

void groups_tick(struct dfwd *d)
{
	members_sync(&d->members);
}

struct listing {
	const struct policy *policy;
	struct policy_member *members;
	size_t nr;
};

static int list_member(void *data, const char *group, const struct group_prefix *prefix)
{
	struct listing *listing = data;
	const struct group *found = policy_group(listing->policy, group);

	if (found)
		listing->members[listing->nr++] =
			(struct policy_member){found, prefix->address, prefix->bits};
	return 0;
}

int groups_members(const struct dfwd *d, const struct policy *policy,
		   struct policy_member **members, size_t *nr)
{
	struct listing listing = {
		.policy = policy,
		.members = calloc(d->members.nr + 1, sizeof(*listing.members)),
	};

	if (!listing.members)
		return -ENOMEM;
	members_each(&d->members, NULL, list_member, &listing);
	*members = listing.members;
	*nr = listing.nr;
	return 0;
}

/* ---- Changing ---------------------------------------------------------------------------------------------------- */

/* What changes something, each once. */
struct selection {
	struct group_prefix *prefixes;
	struct policy_member *members;
	size_t nr;
};

static void selection_free(struct selection *selection)
{
	free(selection->prefixes);
	free(selection->members);
}

static int compare_prefixes(const void *a, const void *b)
{
	const struct group_prefix *left = a, *right = b;
	int order = memcmp(&left->address, &right->address, sizeof(left->address));

	if (order)
		return order;
	return (left->bits > right->bits) - (left->bits < right->bits);
}

static int no_member(const char *group, const struct group_prefix *prefix)
{
	char text[PREFIX_TEXT_LEN];

	log_error("group %s has no member %s of run time; what the policy names changes with it",
		  group, prefix_format(&prefix->address, prefix->bits, text));
	return -EINVAL;
}

static int select_prefixes(const struct dfwd *d, const char *group,
			   const struct group_prefix *prefixes, size_t nr, bool in,
			   struct selection *selection)
{
	const struct group *found = policy_group(d->policy, group);

	selection->prefixes = calloc(nr + 1, sizeof(*selection->prefixes));
	selection->members = calloc(nr + 1, sizeof(*selection->members));
	if (!selection->prefixes || !selection->members)
		return log_errno(-ENOMEM, "group %s", group);
	memcpy(selection->prefixes, prefixes, nr * sizeof(*prefixes));
	qsort(selection->prefixes, nr, sizeof(*prefixes), compare_prefixes);
	for (size_t i = 0; i < nr; i++) {
		const struct group_prefix prefix = selection->prefixes[i];
		bool has = members_has(&d->members, group, &prefix);

		if (!in && !has)
			return no_member(group, &prefix);
		if (in == has ||
		    (selection->nr &&
		     compare_prefixes(&selection->prefixes[selection->nr - 1], &prefix) == 0))
			continue;
		selection->prefixes[selection->nr] = prefix;
		selection->members[selection->nr++] =
			(struct policy_member){found, prefix.address, prefix.bits};
	}
	return 0;
}

/* Enforced when it returns 0. */
static int enforce(struct dfwd *d, const struct selection *selection, bool in)
{
	bool changed;
	int r = live_change_members(d, selection->members, selection->nr, in, &changed);

	if (r == 0) {
		d->changes.in_place++;
		return changed ? revision_bump(d) : 0;
	}
	d->changes.no_room += r == -ENOSPC;
	/* The tables are not known any more: they are compiled. */
	return vports_realise(d);
}

static void tell(struct dfwd *d, const char *group, size_t nr, bool in)
{
	log_debug("group %s: %zu members %s", group, nr, in ? "added" : "removed");
	events_publish(d, EVENT_TOPIC_DAEMON, "group",
		       json_pack("{s:s, s:s, s:I}", "change", in ? "added" : "removed", "group",
				 group, "members", (json_int_t)nr));
}

int groups_change(struct dfwd *d, const char *group, const struct group_prefix *prefixes, size_t nr,
		  bool in, size_t *changed)
{
	_cleanup_(selection_free) struct selection selection = {};
	int r;

	*changed = 0;
	if (!d->policy || !policy_group(d->policy, group)) {
		log_error("there is no group \"%s\" in the policy in force", group);
		return -EINVAL;
	}
	r = select_prefixes(d, group, prefixes, nr, in, &selection);
	if (r < 0 || selection.nr == 0)
		return r;
	r = members_change(&d->members, group, selection.prefixes, selection.nr, in);
	if (r == -ENOSPC && d->members.nr + selection.nr > GROUP_MEMBERS_MOST) {
		log_error("groups have at most %u members of run time, all together",
			  GROUP_MEMBERS_MOST);
		return r;
	}
	if (r < 0)
		return log_errno(r, "cannot write %s", d->members.path);
	r = enforce(d, &selection, in);
	if (r < 0) {
		members_change(&d->members, group, selection.prefixes, selection.nr, !in);
		return r;
	}
	*changed = selection.nr;
	tell(d, group, selection.nr, in);
	return 0;
}
