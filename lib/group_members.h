/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_GROUP_MEMBERS_H
#define DFW_GROUP_MEMBERS_H

/*
 * Addresses and prefixes that are in groups at run time, beside the members that the policy gives them, and the file that
 * remembers them: a journal, one change a line, "+ 10.0.0.1 web" or "- 10.0.0.1 web". The group's name ends the line. A
 * last line without its end is one that a crash has cut: it does not count.
 *
 * A change is in the file, and so survives this process, when members_change() returns; members_sync() makes it survive a
 * crash of the machine.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <dfw/types.h>

#define GROUP_MEMBERS_FILE "groups.journal" /* in the state directory */
#define GROUP_MEMBERS_MOST (1U << 20)	    /* of all groups together */

struct group_prefix {
	struct dfw_addr address;
	uint32_t bits; /* of 128 */
};

struct group_members {
	struct {
		char *name;
		size_t nr; /* members */
	} *groups;
	size_t nr_groups;
	struct member_slot *slots; /* a hash table */
	size_t room;
	size_t nr;
	char *path; /* NULL: was only read */
	int journal;
	size_t journal_bytes;
	size_t journal_lines;
	bool unsynced;
};

/* Reads the file, if it is there. Errors are logged; -EBADMSG: a line cannot be understood. */
int members_read(struct group_members *members, const char *path);
/* The same, and makes ready for changes. */
int members_open(struct group_members *members, const char *path);
void members_close(struct group_members *members);

bool members_has(const struct group_members *members, const char *group,
		 const struct group_prefix *prefix);
size_t members_count(const struct group_members *members, const char *group);

/* Adds what is not there yet, or removes what is there; all of it or, on an error, nothing. -ENOSPC: too many. */
int members_change(struct group_members *members, const char *group,
		   const struct group_prefix *prefixes, size_t nr, bool in);
int members_remove_group(struct group_members *members, const char *group);

/* Writes to the disk what is not there yet, and shortens a journal of which most is over. */
int members_sync(struct group_members *members);

/* Calls `each` for every member, of one group or of all (NULL), in no order, until it returns other than 0. */
int members_each(const struct group_members *members, const char *group,
		 int (*each)(void *data, const char *group, const struct group_prefix *prefix),
		 void *data);

#endif
