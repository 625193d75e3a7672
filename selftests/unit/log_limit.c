// SPDX-License-Identifier: GPL-2.0
/* What a daemon writes to its log when others make it say things. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "log.h"
#include "util.h"

#define LINES 10000

static int caught, true_stderr;

static void catch_log(void)
{
	fflush(stderr);
	true_stderr = dup(STDERR_FILENO);
	caught = memfd_create("log", MFD_CLOEXEC);
	dup2(caught, STDERR_FILENO);
}

/* What was written since; to be freed. */
static char *let_go(void)
{
	off_t nr = lseek(caught, 0, SEEK_END);
	char *text = calloc(1, (size_t)nr + 1);

	if (text && pread(caught, text, (size_t)nr, 0) != nr)
		text[0] = '\0';
	dup2(true_stderr, STDERR_FILENO);
	close(true_stderr);
	close(caught);
	return text;
}

static size_t count(const char *text, const char *what)
{
	size_t nr = 0;

	while ((text = strstr(text, what))) {
		text += strlen(what);
		nr++;
	}
	return nr;
}

int main(void)
{
	log_init("test");
	TEST("without a limit all is written")
	{
		_cleanup_free_ char *text = NULL;

		catch_log();
		for (int i = 0; i < LINES; i++)
			log_error("vport %s makes no sense", "x");
		text = let_go();
		CHECK(count(text, "makes no sense") == LINES);
	}
	log_limit();
	TEST("one kind of line is written for a while, and then seldom")
	{
		_cleanup_free_ char *text = NULL;
		size_t nr;

		catch_log();
		for (int i = 0; i < LINES; i++)
			log_error("vport %s makes no sense either", "x");
		text = let_go();
		nr = count(text, "makes no sense");
		CHECK(nr >= LOG_BURST && nr < LOG_BURST + 5 * LOG_A_SECOND);
	}
	TEST("...which keeps no other kind out, nor from who is to be answered")
	{
		_cleanup_free_ char *text = NULL;

		catch_log();
		log_error_forget();
		log_error("vport %s makes no sense either", "y");
		log_notice("something else");
		text = let_go();
		CHECK_TEXT(log_error_text(), "vport y makes no sense either");
		CHECK(count(text, "something else") == 1);
	}
	TEST("how many were left out is told, once")
	{
		_cleanup_free_ char *text = NULL;
		catch_log();
		log_tell_left_out();
		log_tell_left_out();
		text = let_go();
		CHECK(count(text, "left out") == 1);
		CHECK(strstr(text, "lines were left out that are as \"vport %s makes no sense"));
		CHECK(strtoul(strchr(text, ' '), NULL, 10) > LINES - LOG_BURST - 5 * LOG_A_SECOND);
	}
	TEST("a name from elsewhere neither begins a line nor speaks to the terminal")
	{
		_cleanup_free_ char *text = NULL;

		catch_log();
		log_notice("vport %s", "a\n<0>b\x1b[2Jc\x7f");
		text = let_go();
		CHECK_TEXT(text, "test: vport a?<0>b?[2Jc?\n");
	}
	return check_done();
}
