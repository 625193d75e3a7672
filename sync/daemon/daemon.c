// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "log.h"
#include "notify.h"
#include "sync/daemon/control.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/privileges.h"

/* ---- Start ------------------------------------------------------------------------------------------------------ */

static void on_signal(void *data, uint32_t events)
{
	struct syncd *d = data;
	struct signalfd_siginfo info;

	(void)events;
	while (read(d->signals, &info, sizeof(info)) == sizeof(info))
		d->loop.stop = true;
}

static int open_signals(struct syncd *d)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	/* Before nanomsg makes its threads, which inherit it. */
	sigprocmask(SIG_BLOCK, &set, NULL);
	d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d->signals < 0)
		return -errno;
	return loop_add(&d->loop, d->signals, EPOLLIN, on_signal, d);
}

int daemon_start(struct syncd *d)
{
	int r = loop_open(&d->loop);

	if (r == 0)
		r = open_signals(d);
	if (r < 0)
		return log_errno(r, "cannot watch for events");
	d->started_ms = d->loop.now_ms;
	datapath_init(d);
	cluster_init(d);
	r = disk_make(d);
	if (r == 0)
		r = privileges_bound();
	if (r == 0)
		r = dfwd_link_open(d);
	if (r == 0)
		r = control_open(d);
	if (r == 0)
		r = privileges_drop(d);
	if (r == 0)
		r = disk_open(d);
	if (r == 0)
		notify("READY=1");
	return r;
}

/* ---- Run -------------------------------------------------------------------------------------------------------- */

static void turn(void *data)
{
	struct syncd *d = data;

	datapath_turn(d);
	cluster_turn(d);
	peers_turn(d);
	moves_turn(d);
	queries_turn(d);
	generations_turn(d);
	remote_turn(d);
	dfwd_link_turn(d);
	log_tell_left_out();
}

int daemon_run(struct syncd *d)
{
	int r = loop_run(&d->loop, turn, d);

	notify("STOPPING=1");
	return r;
}

void daemon_stop(struct syncd *d)
{
	cluster_close(d);
	dfwd_link_close(d);
	datapath_close(d);
	generations_free(d);
	remote_free(&d->remote);
	peers_free(&d->peers);
	vports_free(&d->vports);
	disk_close(d);
	control_close(d);
	loop_close(&d->loop);
}
