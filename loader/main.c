// SPDX-License-Identifier: GPL-2.0
/* dfwd: the firewall's agent on a host. */
#include <errno.h>
#include <getopt.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "control.h"
#include "daemon.h"
#include "file.h"
#include "lock.h"
#include "log.h"
#include "namespace.h"
#include "pins_lock.h"
#include "view.h"

#define CONFIG_DIR "/etc/dfw"

enum exit_code {
	EXIT_USAGE = 2,
};

struct arguments {
	const char *instance;
	const char *config;
	const char *run_dir;
	const char *state_dir;
	bool detach;
};

static const char usage_text[] =
	"usage: dfwd [-i INSTANCE] [-c CONFIG] [--run-dir DIR] [--state-dir DIR] [-d] [--detach]\n"
	"\n"
	"The firewall's agent: enforces policy on the vports of this host, in the network\n"
	"namespace it is started in. Runs in the foreground.\n"
	"\n"
	"  -i, --instance NAME   which firewall, if there are several "
	"(default: " DFW_DEFAULT_INSTANCE ")\n"
	"  -c, --config FILE     configuration (default: " CONFIG_DIR
	"/INSTANCE.conf, which may be missing)\n"
	"      --run-dir DIR     default: " CONTROL_RUN_DIR "/INSTANCE\n"
	"      --state-dir DIR   default: " CONTROL_STATE_DIR "/INSTANCE\n"
	"  -d, --debug           log more\n"
	"      --detach          end the enforcement that a dead daemon left, whatever its "
	"version, and exit\n"
	"  -V, --version\n"
	"  -h, --help\n";

static int parse_arguments(int argc, char **argv, struct arguments *arguments)
{
	enum { RUN_DIR = 256, STATE_DIR, DETACH };
	static const struct option options[] = {
		{"instance", required_argument, NULL, 'i'},
		{"config", required_argument, NULL, 'c'},
		{"run-dir", required_argument, NULL, RUN_DIR},
		{"state-dir", required_argument, NULL, STATE_DIR},
		{"debug", no_argument, NULL, 'd'},
		{"detach", no_argument, NULL, DETACH},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{},
	};
	int option;

	while ((option = getopt_long(argc, argv, "i:c:dVh", options, NULL)) >= 0) {
		switch (option) {
		case 'i':
			arguments->instance = optarg;
			break;
		case 'c':
			arguments->config = optarg;
			break;
		case RUN_DIR:
			arguments->run_dir = optarg;
			break;
		case STATE_DIR:
			arguments->state_dir = optarg;
			break;
		case 'd':
			log_set_level(LOG_DEBUG);
			break;
		case DETACH:
			arguments->detach = true;
			break;
		case 'V':
			puts("dfwd " DFW_VERSION);
			exit(EXIT_SUCCESS);
		case 'h':
			fputs(usage_text, stdout);
			exit(EXIT_SUCCESS);
		default:
			fputs("dfwd --help tells what there is\n", stderr);
			return -EINVAL;
		}
	}
	if (optind < argc) {
		log_error("%s: dfwd takes options only; dfwd --help lists them", argv[optind]);
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

/* ---- Before anything is touched --------------------------------------------------------------------------------- */

static int check_privileges(void)
{
	static const struct {
		int number;
		const char *name;
	} wanted[] = {
		{CAP_BPF, "CAP_BPF"},
		{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
		{CAP_PERFMON, "CAP_PERFMON"},
		{CAP_SYS_ADMIN,
		 "CAP_SYS_ADMIN"}, /* to open maps by id, which is how a restart finds its own */
	};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {};

	if (syscall(SYS_capget, &header, data) < 0)
		return log_errno(-errno, "capget");
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (data[wanted[i].number / 32].effective & (1U << wanted[i].number % 32))
			continue;
		log_error("not permitted: %s is missing; dfwd has to be started as root",
			  wanted[i].name);
		return -EPERM;
	}
	return 0;
}

/* Each port is some maps, and while many are made they are open. */
static void raise_limits(void)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

	setrlimit(RLIMIT_MEMLOCK, &limit);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* A device that appears is unguarded until it is attached to: on a busy host, nothing ordinary comes before that. */
static void come_first(void)
{
	setpriority(PRIO_PROCESS, 0, -20);
}

/* A configuration that is wrong and a bpffs that is missing leave no folder of the instance behind. */
static int check_surroundings(struct dfwd *d)
{
	int r = config_read(d->config_path, d->config_wanted, &d->config);

	return r < 0 ? r : object_check_bpffs();
}

/* ---- Main ------------------------------------------------------------------------------------------------------- */

static int set_directories(struct dfwd *d, const struct arguments *arguments)
{
	int run, state;

	run = arguments->run_dir
		      ? snprintf(d->run_dir, sizeof(d->run_dir), "%s", arguments->run_dir)
		      : snprintf(d->run_dir, sizeof(d->run_dir), CONTROL_RUN_DIR "/%s",
				 d->instance);
	state = arguments->state_dir
			? snprintf(d->state_dir, sizeof(d->state_dir), "%s", arguments->state_dir)
			: snprintf(d->state_dir, sizeof(d->state_dir), CONTROL_STATE_DIR "/%s",
				   d->instance);
	if (run < (int)sizeof(d->run_dir) && state < (int)sizeof(d->state_dir))
		return 0;
	log_error("--run-dir and --state-dir: at most %zu characters", sizeof(d->run_dir) - 1);
	return -ENAMETOOLONG;
}

static int serve(struct dfwd *d)
{
	int r = daemon_start(d);

	if (r == 0)
		r = daemon_run(d);
	daemon_stop(d);
	return r;
}

/* For when no daemon can do it, since none starts on these pins. */
static int detach(const struct dfwd *d)
{
	_cleanup_close_ int pins = -1;
	int r = pins_lock(d->instance, &pins);

	if (r == 0 || r == -ENOENT)
		r = namespace_check(d->instance);
	if (r == 0)
		r = attach_end_all(d->instance, d->run_dir);
	if (r == 0)
		r = uplinks_end_all(d->instance, d->run_dir);
	if (r == 0)
		r = object_unpin(d->instance);
	if (r == 0)
		r = directory_clear(d->run_dir, "sync");
	if (r == 0)
		log_notice("detached: enforcement of instance %s has ended", d->instance);
	return r;
}

int main(int argc, char **argv)
{
	static struct dfwd d = {.epoll = -1, .signals = -1, .timer = -1};
	struct arguments arguments = {.instance = DFW_DEFAULT_INSTANCE};
	_cleanup_close_ int lock = -1;
	char config[PATH_MAX];
	int r;

	log_init("dfwd");
	log_limit();
	umask(0077);
	if (parse_arguments(argc, argv, &arguments) < 0)
		return EXIT_USAGE;
	d.instance = arguments.instance;
	snprintf(config, sizeof(config), CONFIG_DIR "/%s.conf", d.instance);
	d.config_path = arguments.config ? arguments.config : config;
	d.config_wanted = arguments.config != NULL;

	r = set_directories(&d, &arguments);
	if (r == 0)
		r = check_privileges();
	if (r == 0 && !arguments.detach)
		r = check_surroundings(&d);
	if (r == 0)
		r = daemon_lock(d.run_dir, "dfwd", d.instance, &lock);
	if (r < 0)
		return EXIT_FAILURE;
	if (arguments.detach)
		return detach(&d) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	raise_limits();
	come_first();
	return serve(&d) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
