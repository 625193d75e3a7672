// SPDX-License-Identifier: GPL-2.0
/* Members of groups at run time: the table against a plain list, and what the journal remembers. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr.h"
#include "check.h"
#include "file.h"
#include "group_members.h"
#include "util.h"

enum { MOST = 3000, GROUPS = 3 };

static const char *const names[GROUPS] = {"web", "a group with spaces", "db"};
static char path[PATH_MAX];

static uint64_t random_state = 1;

static uint32_t below(uint32_t limit)
{
	/* xorshift64* (Vigna 2016) */
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 0x2545f4914f6cdd1dULL) >> 32) % limit;
}

static struct group_prefix prefix(const char *text)
{
	struct group_prefix parsed;

	if (prefix_parse(text, &parsed.address, &parsed.bits) < 0)
		abort();
	return parsed;
}

static struct group_prefix nth_prefix(uint32_t n)
{
	char text[PREFIX_TEXT_LEN];

	if (n % 3 == 0)
		snprintf(text, sizeof(text), "2001:db8:%x::/48", n);
	else
		snprintf(text, sizeof(text), "10.%u.%u.0/%u", n / 256, n % 256, 24 + n % 9);
	return prefix(text);
}

static void write_file(const char *text)
{
	FILE *file = fopen(path, "w");

	if (!file || fputs(text, file) < 0 || fclose(file) != 0)
		abort();
}

static int count(void *data, const char *group, const struct group_prefix *unused)
{
	size_t *nr = data;

	(void)group;
	(void)unused;
	(*nr)++;
	return 0;
}

static bool same(const struct group_members *members, bool list[GROUPS][MOST])
{
	size_t total = 0, counted = 0;

	for (uint32_t group = 0; group < GROUPS; group++) {
		size_t nr = 0, listed = 0;

		for (uint32_t i = 0; i < MOST; i++) {
			const struct group_prefix at = nth_prefix(i);

			nr += list[group][i];
			if (members_has(members, names[group], &at) != list[group][i])
				return false;
		}
		members_each(members, names[group], count, &listed);
		if (members_count(members, names[group]) != nr || listed != nr)
			return false;
		total += nr;
	}
	members_each(members, NULL, count, &counted);
	return members->nr == total && counted == total;
}

static void test_random(void)
{
	static bool list[GROUPS][MOST];
	struct group_members members, again;

	TEST("the table holds what a list would, and the journal remembers it")
	{
		unlink(path);
		if (!CHECK(members_open(&members, path) == 0))
			continue;
		for (int round = 0; round < 400; round++) {
			struct group_prefix some[40];
			uint32_t group = below(GROUPS), nr = 1 + below(40);
			bool in = below(100) < (round < 200 ? 65 : 40);

			for (uint32_t i = 0; i < nr; i++) {
				uint32_t n = below(MOST);

				some[i] = nth_prefix(n);
				list[group][n] = in;
			}
			CHECK(members_change(&members, names[group], some, nr, in) == 0);
			if (round % 50)
				continue;
			CHECK(same(&members, list));
			CHECK(members_sync(&members) == 0);
		}
		CHECK(same(&members, list));
		CHECK(members_read(&again, path) == 0 && same(&again, list));
		members_close(&again);
		memset(list[1], 0, sizeof(list[1]));
		CHECK(members_remove_group(&members, names[1]) == 0 && same(&members, list));
		members_close(&members);
		CHECK(members_open(&members, path) == 0 && same(&members, list));
		members_close(&members);
	}
}

static void test_journal(void)
{
	const struct group_prefix one = prefix("10.0.0.1"), two = prefix("10.0.0.2");
	struct group_members members;
	struct stat stat_before, stat_after;

	TEST("a line that a crash has cut does not count, and the next one does not mend it")
	{
		write_file("# a remark\n+ 10.0.0.1 web\n+ 10.0.0.2 we");
		CHECK(members_open(&members, path) == 0 && members.nr == 1);
		CHECK(members_change(&members, "web", &two, 1, true) == 0);
		members_close(&members);
		CHECK(members_read(&members, path) == 0 && members.nr == 2);
		CHECK(members_has(&members, "web", &one) && members_has(&members, "web", &two));
		members_close(&members);
	}
	TEST("a line that cannot be understood is an error")
	{
		static const char *const wrong[] = {"* 10.0.0.1 web\n",	  "+ 10.0.0.1\n",
						    "+ 10.0.0.1 \n",	  "+ 10.0.0.300 web\n",
						    "+ 10.0.0.1/8 web\n", "10.0.0.1 web\n"};

		for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
			write_file(wrong[i]);
			CHECK(members_read(&members, path) == -EBADMSG);
			members_close(&members);
		}
	}
	TEST("a journal of which most is over is written anew, and holds the same")
	{
		unlink(path);
		CHECK(members_open(&members, path) == 0);
		CHECK(members_change(&members, "web", &one, 1, true) == 0);
		for (int i = 0; i < 3000; i++) {
			members_change(&members, "web", &two, 1, true);
			members_change(&members, "web", &two, 1, false);
		}
		stat(path, &stat_before);
		CHECK(members_sync(&members) == 0);
		stat(path, &stat_after);
		CHECK(stat_after.st_size < 100 && stat_before.st_size > 60000);
		CHECK(members_change(&members, "web", &two, 1, true) == 0);
		members_close(&members);
		CHECK(members_read(&members, path) == 0 && members.nr == 2);
		members_close(&members);
	}
	TEST("where the disk is full nothing changes")
	{
		CHECK(members_open(&members, path) == 0);
		close(members.journal);
		members.journal = open("/dev/full", O_WRONLY | O_CLOEXEC);
		CHECK(members_change(&members, "web", &one, 1, false) == -ENOSPC);
		CHECK(members_has(&members, "web", &one) && members.nr == 2);
		members_close(&members);
	}
}

int main(void)
{
	snprintf(path, sizeof(path), "/tmp/dfw-group-members-%d", getpid());
	test_random();
	test_journal();
	unlink(path);
	return check_done();
}
