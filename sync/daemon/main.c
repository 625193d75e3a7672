// SPDX-License-Identifier: GPL-2.0
/* dfwsyncd: makes the firewalls of many hosts one. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <control.h>
#include "lock.h"
#include "log.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/privileges.h"
#include "util.h"
#include "view.h"

#define FILES_MOST 65536

enum exit_code {
	EXIT_USAGE = 2,
};

struct arguments {
	const char *instance;
	const char *user;
};

static const char usage_text[] =
	"usage: dfwsyncd [-i INSTANCE] [--user USER] [-d]\n"
	"\n"
	"Makes the firewalls of many hosts one: members, vports, policy, flows that follow their\n"
	"VM. Idle until `dfwctl cluster init` or `join` was run. Starts as root and drops all\n"
	"privileges. Runs in the foreground.\n"
	"\n"
	"  -i, --instance NAME   which firewall, if there are several "
	"(default: " DFW_DEFAULT_INSTANCE ")\n"
	"      --user USER       whom to run as (default: " SYNCD_USER ", or " SYNCD_USER_ELSE
	" without one)\n"
	"  -d, --debug           log more\n"
	"  -V, --version\n"
	"  -h, --help\n";

static int parse_arguments(int argc, char **argv, struct arguments *arguments)
{
	enum { USER = 256 };
	static const struct option options[] = {
		{"instance", required_argument, NULL, 'i'}, {"user", required_argument, NULL, USER},
		{"debug", no_argument, NULL, 'd'},	    {"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},	    {},
	};
	int option;

	while ((option = getopt_long(argc, argv, "i:dVh", options, NULL)) >= 0) {
		switch (option) {
		case 'i':
			arguments->instance = optarg;
			break;
		case USER:
			arguments->user = optarg;
			break;
		case 'd':
			log_set_level(LOG_DEBUG);
			break;
		case 'V':
			puts("dfwsyncd " DFW_VERSION);
			exit(EXIT_SUCCESS);
		case 'h':
			fputs(usage_text, stdout);
			exit(EXIT_SUCCESS);
		default:
			fputs("dfwsyncd --help tells what there is\n", stderr);
			return -EINVAL;
		}
	}
	if (optind < argc) {
		log_error("%s: dfwsyncd takes options only; dfwsyncd --help lists them",
			  argv[optind]);
		return -EINVAL;
	}
	if (!instance_name_valid(arguments->instance)) {
		log_error("-i \"%s\": 1 to %d letters, digits, '_' and '-' make the name of an "
			  "instance",
			  arguments->instance, INSTANCE_NAME_LEN - 1);
		return -EINVAL;
	}
	return 0;
}

static int serve(struct syncd *d)
{
	int r = daemon_start(d);

	if (r == 0)
		r = daemon_run(d);
	daemon_stop(d);
	return r;
}

/* While a move hands over, a VM stands still: its neighbours may wait for that. Not the foremost of all, since this speaks
 * with the network. */
static void come_early(void)
{
	setpriority(PRIO_PROCESS, 0, -10);
}

/* A connection or two to and from each host. Returns how many files may be open; 0: unknown, as before. */
static unsigned int set_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	limit.rlim_cur = limit.rlim_max < FILES_MOST ? limit.rlim_max : FILES_MOST;
	return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? 0 : (unsigned int)limit.rlim_cur;
}

int main(int argc, char **argv)
{
	static struct syncd d = {.signals = -1,
				 .loop.epoll = -1,
				 .disk.ledger.fd = -1,
				 .dfwd.listener = -1,
				 .dfwd.link.fd = -1};
	struct arguments arguments = {.instance = DFW_DEFAULT_INSTANCE};
	_cleanup_close_ int lock = -1;
	int r;

	log_init("dfwsyncd");
	log_limit();
	umask(0077);
	if (parse_arguments(argc, argv, &arguments) < 0)
		return EXIT_USAGE;
	d.instance = arguments.instance;
	snprintf(d.run_dir, sizeof(d.run_dir), CONTROL_RUN_DIR "/%s", d.instance);
	snprintf(d.state_dir, sizeof(d.state_dir), CONTROL_STATE_DIR "/%s", d.instance);
	if (geteuid() != 0) {
		log_error("dfwsyncd has to be started as root; it drops all privileges by itself");
		return EXIT_FAILURE;
	}
	if (privileges_find_user(&d, arguments.user) < 0)
		return EXIT_USAGE;
	r = daemon_lock(d.run_dir, "sync", d.instance, &lock);
	if (r < 0)
		return EXIT_FAILURE;
	come_early();
	d.files = set_files();
	return serve(&d) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
