// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "rate.h"

#define LOG_LINE_BYTES 2048
#define KINDS	       1024
#define SECOND_NS      1000000000ULL

static const char *log_ident = "dfw";
static int log_level = LOG_INFO;
static bool log_journal;
static char log_first_error[LOG_LINE_BYTES];

static struct kind {
	const char *format; /* NULL: free */
	struct rate rate;
	uint64_t left_out;
} *log_kinds; /* by a hash of the format's place; NULL: there is no limit */
static uint64_t log_left_out;
static uint64_t log_told_ns;

void log_init(const char *ident)
{
	log_ident = ident;
	log_journal = getenv("JOURNAL_STREAM") != NULL;
}

void log_set_level(int level)
{
	log_level = level;
}

const char *log_error_text(void)
{
	return log_first_error;
}

void log_error_forget(void)
{
	log_first_error[0] = '\0';
}

/* ---- How much ---------------------------------------------------------------------------------------------------- */

void log_limit(void)
{
	log_kinds = calloc(KINDS, sizeof(*log_kinds));
}

/* A program has fewer formats than there are places; were all taken, the rest would be one kind. */
static struct kind *kind_of(const char *format)
{
	size_t first = ((uintptr_t)format >> 3) % KINDS, at = first;

	while (log_kinds[at].format && log_kinds[at].format != format) {
		at = (at + 1) % KINDS;
		if (at == first)
			break;
	}
	if (!log_kinds[at].format)
		log_kinds[at].format = format;
	return &log_kinds[at];
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static bool may_log(const char *format)
{
	struct kind *kind;

	if (!log_kinds)
		return true;
	kind = kind_of(format);
	if (rate_take(&kind->rate, now_ns(), LOG_A_SECOND, LOG_BURST))
		return true;
	kind->left_out++;
	log_left_out++;
	return false;
}

void log_tell_left_out(void)
{
	uint64_t now = now_ns();
	char line[LOG_LINE_BYTES];

	if (!log_left_out || now - log_told_ns < LOG_TELL_S * SECOND_NS)
		return;
	log_told_ns = now;
	log_left_out = 0;
	for (size_t i = 0; i < KINDS; i++) {
		struct kind *kind = &log_kinds[i];

		if (!kind->left_out)
			continue;
		snprintf(line, sizeof(line), "%llu lines were left out that are as \"%s\"",
			 (unsigned long long)kind->left_out, kind->format);
		kind->left_out = 0;
		log_unlimited(LOG_WARNING, line);
	}
}

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

/* Names come from other hosts: none of them begins a line of its own, or does things to a terminal. */
static void tame(char *line)
{
	for (; *line; line++)
		if ((unsigned char)*line < ' ' || *line == 0x7f)
			*line = '?';
}

static void remember_error(int level, const char *line)
{
	if (level <= LOG_ERR && !log_first_error[0])
		snprintf(log_first_error, sizeof(log_first_error), "%s", line);
}

void log_unlimited(int level, const char *text)
{
	char line[LOG_LINE_BYTES];

	if (level > log_level)
		return;
	snprintf(line, sizeof(line), "%s", text);
	tame(line);
	if (log_journal)
		fprintf(stderr, "<%d>%s\n", level, line);
	else
		fprintf(stderr, "%s: %s\n", log_ident, line);
}

void log_at(int level, const char *format, ...)
{
	char line[LOG_LINE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	remember_error(level, line);
	if (level <= log_level && may_log(format))
		log_unlimited(level, line);
}

int log_errno(int r, const char *format, ...)
{
	char line[LOG_LINE_BYTES];
	va_list arguments;
	size_t used;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	used = strlen(line);
	snprintf(line + used, sizeof(line) - used, ": %s", strerror(-r));
	remember_error(LOG_ERR, line);
	if (may_log(format))
		log_unlimited(LOG_ERR, line);
	return r;
}
