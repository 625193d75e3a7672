/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTESTS_CHECK_H
#define SELFTESTS_CHECK_H

/*
 * Unit tests, one line each (TAP). The name says what must hold:
 *
 *	int main(void)
 *	{
 *		TEST("an empty list has no first item") {
 *			CHECK(list_first(&list) == NULL);
 *		}
 *		return check_done();
 *	}
 */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	const char *name;
	unsigned int nr;
	unsigned int failed;
	bool ok;
} check_state;

static inline bool check_begin(const char *name)
{
	check_state.name = name;
	check_state.ok = true;
	return true;
}

static inline bool check_end(void)
{
	check_state.nr++;
	check_state.failed += !check_state.ok;
	printf("%s %u - %s\n", check_state.ok ? "ok" : "not ok", check_state.nr, check_state.name);
	fflush(stdout);
	return false;
}

static inline bool check_that(bool holds, const char *file, int line, const char *condition)
{
	if (!holds) {
		printf("# %s:%d: does not hold: %s\n", file, line, condition);
		check_state.ok = false;
	}
	return holds;
}

/* Prints the plan; for `return` in main. */
static inline int check_done(void)
{
	printf("1..%u\n", check_state.nr);
	return check_state.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define TEST(name) for (bool check_once = check_begin(name); check_once; check_once = check_end())

/* Returns whether it holds, so that a test can stop where going on makes no sense. */
#define CHECK(condition) check_that((condition), __FILE__, __LINE__, #condition)
#define CHECK_TEXT(text, wanted)                 \
	(CHECK(strcmp((text), (wanted)) == 0) || \
	 (printf("#   is:     %s\n#   wanted: %s\n", (text), (wanted)), false))

#endif
