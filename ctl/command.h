/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_COMMAND_H
#define DFWCTL_COMMAND_H

/*
 * Commands are tables: the parser, the usage texts, the bash completion and the man page all come from `commands`.
 */

#include <stdbool.h>
#include <stddef.h>

enum exit_status {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_INPUT = 2,	      /* wrong usage or input; nothing changed */
	EXIT_UNREACHABLE = 3, /* the daemon is not there, or does not answer */
};

/* What the bash completion offers for a value. */
enum completion {
	COMPLETE_NOTHING,
	COMPLETE_FILE,
	COMPLETE_VPORT,
	COMPLETE_DEVICE,
	COMPLETE_PROTOCOL,
	COMPLETE_INSTANCE,
	COMPLETE_COMMAND,
	COMPLETE_GROUP,
	COMPLETE_PROFILE,
	COMPLETE_MODE,
	COMPLETE_SWITCH,
};

/* Returns NULL, or what is wrong with the value and what would be right, to follow "'VALUE' ". */
typedef const char *value_check(const char *value);

struct option_spec {
	const char *name;     /* "--dev" */
	const char *argument; /* "IF"; NULL: a switch */
	const char *help;
	value_check *check;
	enum completion completion;
	char letter; /* 'i' for -i */
	bool repeats;
	bool required;
	bool open; /* its value, a number, may be left out: the next word is it if it passes the check */
	bool rare; /* in the man page only */
};

/* An argument of a command that is no option. */
struct argument_spec {
	const char *name; /* NULL: the command takes none */
	const char *help;
	value_check *check;
	enum completion completion;
	bool optional;
	bool repeats;
};

/* A member of the JSON that -j prints. Names are stable. */
struct field_spec {
	const char *name;
	const char *help;
};

struct invocation;

struct command {
	const char *name; /* "vport add" */
	struct argument_spec argument;
	struct argument_spec more; /* what follows it; name NULL: nothing */
	const struct option_spec *options;
	size_t nr_options;
	const char *help;    /* one line */
	const char *details; /* for the man page; paragraphs are parted by a newline */
	const char *json;    /* what -j prints, in one line; NULL: nothing but the fields */
	const struct field_spec *fields;
	size_t nr_fields;
	enum exit_status (*run)(const struct invocation *call);
};

extern const struct command commands[];
extern const size_t nr_commands;
extern const struct option_spec global_options[];
extern const size_t nr_global_options;

struct given_option {
	const struct option_spec *spec;
	const char *value; /* NULL: a switch */
};

/* A command line, parsed and checked. */
struct invocation {
	const struct command *command; /* NULL: none, or a group alone */
	const char *group;	       /* "vport" of a lone "vport"; NULL otherwise */
	const char *instance;
	bool json;
	bool color; /* of stdout */
	bool help;
	struct given_option *options;
	size_t nr_options;
	const char **arguments;
	size_t nr_arguments;
};

/* Complains on stderr about what is wrong. */
enum exit_status parse_command_line(int argc, char **argv, struct invocation *call);
void invocation_free(struct invocation *call);

/* The first argument, or NULL. */
const char *given_argument(const struct invocation *call);
bool given(const struct invocation *call, const char *option);
/* The value of an option, or NULL when it was not given; of the n-th (from 0) of a repeated one. */
const char *given_value(const struct invocation *call, const char *option);
const char *given_nth(const struct invocation *call, const char *option, size_t n);

/* NULL when there is none of this name. */
const struct command *command_find(const char *name);
/* Whether it is the first word of commands of two words. */
bool is_command_group(const char *word);

/* "dfwctl: ...\n" on stderr. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "vport add NAME --dev IF ..." */
void print_synopsis(const struct command *command, const char *before, const char *between,
		    const char *after);
enum exit_status print_usage(const struct invocation *call);
enum exit_status print_man_page(void);
enum exit_status print_bash_completion(void);

enum exit_status run_help(const struct invocation *call);
enum exit_status run_status(const struct invocation *call);
enum exit_status run_shutdown(const struct invocation *call);
enum exit_status run_vport_add(const struct invocation *call);
enum exit_status run_vport_set(const struct invocation *call);
enum exit_status run_vport_del(const struct invocation *call);
enum exit_status run_vport_list(const struct invocation *call);
enum exit_status run_vport_show(const struct invocation *call);
enum exit_status run_uplink_add(const struct invocation *call);
enum exit_status run_uplink_set(const struct invocation *call);
enum exit_status run_uplink_del(const struct invocation *call);
enum exit_status run_uplink_list(const struct invocation *call);
enum exit_status run_uplink_stats(const struct invocation *call);
enum exit_status run_group_list(const struct invocation *call);
enum exit_status run_group_show(const struct invocation *call);
enum exit_status run_group_add(const struct invocation *call);
enum exit_status run_group_del(const struct invocation *call);
enum exit_status run_policy_check(const struct invocation *call);
enum exit_status run_policy_apply(const struct invocation *call);
enum exit_status run_policy_show(const struct invocation *call);
enum exit_status run_policy_history(const struct invocation *call);
enum exit_status run_policy_rollback(const struct invocation *call);
enum exit_status run_rules(const struct invocation *call);
enum exit_status run_flow_list(const struct invocation *call);
enum exit_status run_flow_find(const struct invocation *call);
enum exit_status run_flow_kill(const struct invocation *call);
enum exit_status run_stats(const struct invocation *call);
enum exit_status run_cluster_init(const struct invocation *call);
enum exit_status run_cluster_invite(const struct invocation *call);
enum exit_status run_cluster_request(const struct invocation *call);
enum exit_status run_cluster_join(const struct invocation *call);
enum exit_status run_cluster_revoke(const struct invocation *call);
enum exit_status run_cluster_rotate(const struct invocation *call);
enum exit_status run_cluster_status(const struct invocation *call);
enum exit_status run_cluster_takeover(const struct invocation *call);
enum exit_status run_cluster_leave(const struct invocation *call);
enum exit_status run_cluster_store(const struct invocation *call);
enum exit_status run_migrate_prepare(const struct invocation *call);
enum exit_status run_migrate_start(const struct invocation *call);
enum exit_status run_migrate_activate(const struct invocation *call);
enum exit_status run_migrate_rollback(const struct invocation *call);
enum exit_status run_migrate_status(const struct invocation *call);
enum exit_status run_sync_status(const struct invocation *call);
enum exit_status run_sync_counters(const struct invocation *call);
enum exit_status run_watch(const struct invocation *call);

#endif
