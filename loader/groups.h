/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_GROUPS_H
#define DFW_LOADER_GROUPS_H

#include <stddef.h>

#include "group_members.h"
#include "policy/policy.h"

struct dfwd;

/* Members of groups that come and go at run time: `dfwctl group add`, `group del`. */

/* Reads the journal; groups that the policy in force does not know lose their members. */
int groups_restore(struct dfwd *d);
/* After a change of policy: forgets the members of groups that are gone. */
void groups_settle(struct dfwd *d);
/* Once a second. */
void groups_tick(struct dfwd *d);

/* The members of groups that the policy knows, malloc'd. */
int groups_members(const struct dfwd *d, const struct policy *policy,
		   struct policy_member **members, size_t *nr);

/* Puts prefixes in the group, or takes them out; all or nothing. *changed: how many were not there, or were, before.
 * -EINVAL: there is no such group, or no such member to be taken out. Errors are logged. */
int groups_change(struct dfwd *d, const char *group, const struct group_prefix *prefixes, size_t nr,
		  bool in, size_t *changed);

#endif
