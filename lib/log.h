/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOG_H
#define DFW_LOG_H

#include <stdbool.h>
#include <syslog.h>

/* Logging to stderr, a line a message. Under systemd ($JOURNAL_STREAM) each line begins with its priority, "<N>", as
 * sd-daemon(3) has it. Levels are those of syslog(3). */

/* `ident` stands before each message when there is no journal to say who speaks; the string is kept, not copied. */
void log_init(const char *ident);
/* Messages less urgent than `level` are left out. LOG_INFO from the start. */
void log_set_level(int level);

void log_at(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define log_error(...)	 log_at(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)	 log_at(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)	 log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...)	 log_at(LOG_DEBUG, __VA_ARGS__)

/*
 * For daemons, which others may bring to say things: from then on at most LOG_BURST lines of a kind are written at once, and
 * LOG_A_SECOND in the long run. A kind is what has the same `format`. The rest is left out and counted.
 */
#define LOG_BURST    500
#define LOG_A_SECOND 5
void log_limit(void);
/* Every now and then: tells what was left out, each LOG_TELL_S at most. */
#define LOG_TELL_S 10
void log_tell_left_out(void);
/* A line that has been limited already. */
void log_unlimited(int level, const char *line);

/* Logs the message and what the negative errno `r` means, as an error; returns r. */
int log_errno(int r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first error logged since log_error_forget(), for a reply to who asked; "" when there was none. The first, since
 * it comes from where things went wrong; what follows is who gave up because of it. */
const char *log_error_text(void);
void log_error_forget(void);

#endif
