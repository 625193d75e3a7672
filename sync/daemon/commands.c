// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "sync/daemon/commands.h"
#include "sync/daemon/daemon.h"

/* ---- status ----------------------------------------------------------------------------------------------------- */

static int run_status(struct syncd *d, struct control_call *call, const json_t *arguments)
{
	(void)arguments;
	control_done(call, json_pack("{s:s, s:s, s:i, s:I, s:b}", "instance", d->instance,
				     "version", DFW_VERSION, "pid", (int)getpid(), "uptime_ms",
				     (json_int_t)(d->loop.now_ms - d->started_ms), "dfwd",
				     dfwd_connected(d)));
	return 0;
}

/* ---- All of them ------------------------------------------------------------------------------------------------ */

static const struct command {
	const char *name;
	int (*run)(struct syncd *d, struct control_call *call, const json_t *arguments);
} commands[] = {
	{"status", run_status},
};

int command_run(struct syncd *d, struct control_call *call, const json_t *request)
{
	const char *name = json_text(request, "command");

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (name && strcmp(commands[i].name, name) == 0)
			return commands[i].run(d, call, json_object_get(request, "arguments"));
	log_error("there is no command \"%s\"", name ? name : "");
	return -EINVAL;
}
