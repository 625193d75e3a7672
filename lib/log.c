// SPDX-License-Identifier: GPL-2.0
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define LOG_LINE_BYTES 2048

static const char *log_ident = "dfw";
static int log_level = LOG_INFO;
static bool log_journal;
static char log_first_error[LOG_LINE_BYTES];

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

static void log_line(int level, const char *line)
{
	if (level <= LOG_ERR && !log_first_error[0])
		snprintf(log_first_error, sizeof(log_first_error), "%s", line);
	if (level > log_level)
		return;
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
	log_line(level, line);
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
	log_line(LOG_ERR, line);
	return r;
}
