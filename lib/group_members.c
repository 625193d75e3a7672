// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr.h"
#include "file.h"
#include "group_members.h"
#include "log.h"
#include "policy/hash.h"
#include "util.h"

#define LONGEST_FILE (1U << 30)
#define LEAST_LINES  4096 /* a shorter journal is left as it is */

struct member_slot {
	struct group_prefix prefix;
	uint32_t group; /* index, and one; 0: free */
};

/* ---- The table --------------------------------------------------------------------------------------------------- */

static size_t place_of(const struct group_members *members, uint32_t group,
		       const struct group_prefix *prefix)
{
	uint64_t hash = hash_bytes(group, prefix->address.bytes, sizeof(prefix->address.bytes));

	return hash_mix(hash_word(hash, prefix->bits)) & (members->room - 1);
}

static bool same_member(const struct member_slot *slot, uint32_t group,
			const struct group_prefix *prefix)
{
	return slot->group == group + 1 && slot->prefix.bits == prefix->bits &&
	       memcmp(&slot->prefix.address, &prefix->address, sizeof(prefix->address)) == 0;
}

/* The member's slot, or the free one where it would go. */
static struct member_slot *find(const struct group_members *members, uint32_t group,
				const struct group_prefix *prefix)
{
	size_t at = place_of(members, group, prefix);

	while (members->slots[at].group && !same_member(&members->slots[at], group, prefix))
		at = (at + 1) & (members->room - 1);
	return &members->slots[at];
}

/* Room for `more` members, at most three quarters full. */
static int reserve(struct group_members *members, size_t more)
{
	struct group_members larger = *members;

	if (members->nr + more > GROUP_MEMBERS_MOST)
		return -ENOSPC;
	while (4 * (members->nr + more) > 3 * larger.room)
		larger.room = larger.room ? 2 * larger.room : 64;
	if (larger.room == members->room)
		return 0;
	larger.slots = calloc(larger.room, sizeof(*larger.slots));
	if (!larger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < members->room; i++)
		if (members->slots[i].group)
			*find(&larger, members->slots[i].group - 1, &members->slots[i].prefix) =
				members->slots[i];
	free(members->slots);
	*members = larger;
	return 0;
}

/* Those behind it that would not be found over a gap move up. */
static void empty_slot(struct group_members *members, struct member_slot *slot)
{
	size_t mask = members->room - 1, gap = (size_t)(slot - members->slots);

	for (size_t at = (gap + 1) & mask; members->slots[at].group; at = (at + 1) & mask) {
		const struct member_slot *next = &members->slots[at];
		size_t home = place_of(members, next->group - 1, &next->prefix);

		if (((at - home) & mask) < ((at - gap) & mask))
			continue;
		members->slots[gap] = *next;
		gap = at;
	}
	members->slots[gap].group = 0;
}

static bool find_group(const struct group_members *members, const char *name, uint32_t *group)
{
	for (*group = 0; *group < members->nr_groups; (*group)++)
		if (strcmp(members->groups[*group].name, name) == 0)
			return true;
	return false;
}

static int make_group(struct group_members *members, const char *name, uint32_t *group)
{
	void *moved;
	char *copy;

	if (find_group(members, name, group))
		return 0;
	moved = realloc(members->groups, (members->nr_groups + 1) * sizeof(*members->groups));
	if (!moved)
		return -ENOMEM;
	members->groups = moved;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	members->groups[members->nr_groups].name = copy;
	members->groups[members->nr_groups++].nr = 0;
	return 0;
}

/* Room was reserved. */
static void change(struct group_members *members, uint32_t group, const struct group_prefix *prefix,
		   bool in)
{
	struct member_slot *slot = find(members, group, prefix);

	if (in == (slot->group != 0))
		return;
	if (in)
		*slot = (struct member_slot){*prefix, group + 1};
	else
		empty_slot(members, slot);
	members->groups[group].nr += in ? 1 : (size_t)-1;
	members->nr += in ? 1 : (size_t)-1;
}

bool members_has(const struct group_members *members, const char *group,
		 const struct group_prefix *prefix)
{
	uint32_t index;

	return members->room && find_group(members, group, &index) &&
	       find(members, index, prefix)->group;
}

size_t members_count(const struct group_members *members, const char *group)
{
	uint32_t index;

	return find_group(members, group, &index) ? members->groups[index].nr : 0;
}

int members_each(const struct group_members *members, const char *group,
		 int (*each)(void *data, const char *group, const struct group_prefix *prefix),
		 void *data)
{
	uint32_t index = 0;
	int r = 0;

	if (group && !find_group(members, group, &index))
		return 0;
	for (size_t i = 0; i < members->room && r == 0; i++) {
		const struct member_slot *slot = &members->slots[i];

		if (slot->group && (!group || slot->group == index + 1))
			r = each(data, members->groups[slot->group - 1].name, &slot->prefix);
	}
	return r;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static int read_line(struct group_members *members, char *line)
{
	struct group_prefix prefix;
	uint32_t group;
	char *name;
	int r;

	if (line[0] == '#')
		return 0;
	if ((line[0] != '+' && line[0] != '-') || line[1] != ' ')
		return -EBADMSG;
	name = strchr(line + 2, ' ');
	if (!name || !name[1])
		return -EBADMSG;
	*name++ = '\0';
	if (prefix_parse(line + 2, &prefix.address, &prefix.bits) < 0)
		return -EBADMSG;
	r = make_group(members, name, &group);
	if (r == 0)
		r = reserve(members, 1);
	if (r == 0)
		change(members, group, &prefix, line[0] == '+');
	return r;
}

int members_read(struct group_members *members, const char *path)
{
	_cleanup_free_ char *text = NULL;
	size_t bytes = 0;
	char *end;
	int r;

	*members = (struct group_members){.journal = -1};
	r = file_read(path, LONGEST_FILE, &text, &bytes);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return log_errno(r, "%s", path);
	for (char *line = text; r == 0 && (end = memchr(line, '\n', bytes - (size_t)(line - text)));
	     line = end + 1) {
		*end = '\0';
		members->journal_lines++;
		members->journal_bytes = (size_t)(end + 1 - text);
		r = read_line(members, line);
	}
	if (r == -EBADMSG)
		log_error("%s:%zu: neither \"+ ADDRESS GROUP\" nor \"- ADDRESS GROUP\"", path,
			  members->journal_lines);
	else if (r < 0)
		log_errno(r, "%s", path);
	return r;
}

void members_close(struct group_members *members)
{
	for (size_t i = 0; i < members->nr_groups; i++)
		free(members->groups[i].name);
	free(members->groups);
	free(members->slots);
	if (members->path)
		cleanup_close(&members->journal);
	free(members->path);
	*members = (struct group_members){.journal = -1};
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

/* What a crash cut, or a failure left, behind the last whole line goes. */
static int open_journal(struct group_members *members)
{
	int fd = open(members->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)members->journal_bytes) < 0 ||
	    lseek(fd, (off_t)members->journal_bytes, SEEK_SET) < 0)
		r = -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	members->journal = fd;
	return 0;
}

int members_open(struct group_members *members, const char *path)
{
	int r = members_read(members, path);

	if (r < 0)
		return r;
	members->path = strdup(path);
	r = members->path ? open_journal(members) : -ENOMEM;
	return r < 0 ? log_errno(r, "%s", path) : 0;
}

static int write_whole(int fd, const char *text, size_t bytes)
{
	while (bytes > 0) {
		ssize_t written = write(fd, text, bytes);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		text += written;
		bytes -= (size_t)written;
	}
	return 0;
}

static int append(struct group_members *members, const char *text, size_t bytes, size_t lines)
{
	int r = write_whole(members->journal, text, bytes);

	if (r < 0) {
		if (ftruncate(members->journal, (off_t)members->journal_bytes) == 0)
			lseek(members->journal, (off_t)members->journal_bytes, SEEK_SET);
		return r;
	}
	members->journal_bytes += bytes;
	members->journal_lines += lines;
	members->unsynced = true;
	return 0;
}

/* *lines: those of prefixes that change something. */
static char *journal_text(const struct group_members *members, uint32_t group,
			  const struct group_prefix *prefixes, size_t nr, bool in, size_t *bytes,
			  size_t *lines)
{
	char *text = NULL, prefix[PREFIX_TEXT_LEN];
	FILE *out = open_memstream(&text, bytes);

	*lines = 0;
	for (size_t i = 0; out && i < nr; i++) {
		if (in == (find(members, group, &prefixes[i])->group != 0))
			continue;
		fprintf(out, "%c %s %s\n", in ? '+' : '-',
			prefix_format(&prefixes[i].address, prefixes[i].bits, prefix),
			members->groups[group].name);
		(*lines)++;
	}
	if (!out || fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

int members_change(struct group_members *members, const char *group,
		   const struct group_prefix *prefixes, size_t nr, bool in)
{
	_cleanup_free_ char *text = NULL;
	size_t bytes = 0, lines;
	uint32_t index;
	int r = make_group(members, group, &index);

	if (r == 0)
		r = reserve(members, in ? nr : 1);
	if (r < 0)
		return r;
	text = journal_text(members, index, prefixes, nr, in, &bytes, &lines);
	if (!text)
		return -ENOMEM;
	r = append(members, text, bytes, lines);
	for (size_t i = 0; i < nr && r == 0; i++)
		change(members, index, &prefixes[i], in);
	return r;
}

struct listing {
	struct group_prefix *prefixes;
	size_t nr;
};

static int list_prefix(void *data, const char *group, const struct group_prefix *prefix)
{
	struct listing *listing = data;

	(void)group;
	listing->prefixes[listing->nr++] = *prefix;
	return 0;
}

int members_remove_group(struct group_members *members, const char *group)
{
	_cleanup_free_ struct group_prefix *prefixes =
		calloc(members_count(members, group) + 1, sizeof(*prefixes));
	struct listing listing = {.prefixes = prefixes};

	if (!prefixes)
		return -ENOMEM;
	members_each(members, group, list_prefix, &listing);
	return listing.nr ? members_change(members, group, prefixes, listing.nr, false) : 0;
}

static int write_member(void *data, const char *group, const struct group_prefix *prefix)
{
	char text[PREFIX_TEXT_LEN];

	return fprintf(data, "+ %s %s\n", prefix_format(&prefix->address, prefix->bits, text),
		       group) < 0
		       ? -ENOMEM
		       : 0;
}

/* The journal anew: what is there, and nothing of how it came. */
static int compact(struct group_members *members)
{
	_cleanup_free_ char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);
	int r = out ? members_each(members, NULL, write_member, out) : -ENOMEM;

	if (out && fclose(out) != 0)
		r = -ENOMEM;
	if (r == 0)
		r = file_replace(members->path, text, bytes);
	if (r < 0)
		return r;
	cleanup_close(&members->journal);
	members->journal = -1;
	members->journal_bytes = bytes;
	members->journal_lines = members->nr;
	return open_journal(members);
}

int members_sync(struct group_members *members)
{
	int r = 0;

	if (!members->unsynced)
		return 0;
	if (members->journal_lines > LEAST_LINES && members->journal_lines > 2 * members->nr)
		r = compact(members);
	else if (fdatasync(members->journal) < 0)
		r = -errno;
	members->unsynced = r < 0;
	return r < 0 ? log_errno(r, "%s", members->path) : 0;
}
