// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "control_socket.h"
#include "daemon.h"
#include "devices.h"
#include "file.h"
#include "groups.h"
#include "guard.h"
#include "log.h"
#include "moves.h"
#include "notify.h"
#include "policies.h"
#include "ports.h"
#include "realise.h"
#include "sweep.h"
#include "uplinks.h"
#include "view_pins.h"
#include "vports.h"

#define TICK_NS	  50000000 /* the datapath does not wake us for each event */
#define SECOND_NS 1000000000ULL

/* ---- Start ------------------------------------------------------------------------------------------------------ */

/* The pins of our programs follow the links: at no time a pin names what is not attached. */
static int upgrade(struct dfwd *d)
{
	int r;

	if (!d->object.adopted)
		return 0;
	r = attach_upgrade(&d->hooks, d->ports, d->nr_ports);
	if (r < 0)
		return r;
	r = uplinks_upgrade(d);
	if (r < 0)
		attach_go_back(&d->hooks, d->ports, d->nr_ports);
	return r < 0 ? r : object_pin_programs(&d->object);
}

static int start_kernel(struct dfwd *d)
{
	int r = object_open(&d->object, d->instance);

	if (r == 0)
		r = hooks_init(&d->hooks, &d->object, d->run_dir, d->config.clsact);
	if (r == 0)
		r = realised_read(d);
	return r < 0 ? r : events_open(d);
}

/* Every device that we know of is enforced, denying if it is new, before anything of the policy is read: a start that
 * ends there, since a file is damaged, leaves nothing open. */
static int start_ports(struct dfwd *d)
{
	int r = ports_restore(d);

	if (r < 0)
		return r;
	ports_remove_strangers(d);
	guard_ports(d);
	r = uplinks_restore(d);
	if (r == 0)
		guard_matching(d);
	return r;
}

static int start_policy(struct dfwd *d)
{
	int r = store_open(&d->store, d->state_dir);

	if (r == 0)
		r = policies_restore(d);
	if (r == 0)
		r = remote_ports_restore(d);
	return r < 0 ? r : groups_restore(d);
}

static int start_devices(struct dfwd *d)
{
	int r = upgrade(d);

	if (r == 0)
		r = links_open(&d->links);
	if (r == 0)
		uplinks_configure(d);
	if (r == 0)
		r = devices_scan(d);
	if (r == 0)
		devices_forget_former(d);
	if (r == 0)
		r = vports_realise(d);
	return r < 0 ? r : bridges_open(d);
}

static int watch(struct dfwd *d, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int open_signals(struct dfwd *d)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	/* Before nanomsg makes its threads, which inherit it. */
	sigprocmask(SIG_BLOCK, &set, NULL);
	d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return d->signals < 0 ? -errno : 0;
}

static int open_timer(struct dfwd *d)
{
	const struct itimerspec tick = {.it_interval.tv_nsec = TICK_NS,
					.it_value.tv_nsec = TICK_NS};

	d->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	return d->timer < 0 || timerfd_settime(d->timer, 0, &tick, NULL) < 0 ? -errno : 0;
}

static int open_loop(struct dfwd *d)
{
	int r = open_timer(d);

	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (r == 0 && d->epoll < 0)
		r = -errno;
	if (r == 0)
		r = watch(d, d->signals);
	if (r == 0)
		r = watch(d, d->timer);
	if (r == 0)
		r = watch(d, d->links.fd);
	if (r == 0)
		r = watch(d, d->bridges.fd);
	if (r == 0)
		r = watch(d, events_fd(d));
	if (r == 0)
		r = watch(d, control_fd(d));
	return r < 0 ? log_errno(r, "cannot watch for events") : 0;
}

static void become_ready(struct dfwd *d)
{
	if (d->ready || !devices_enforced(d))
		return;
	d->ready = true;
	notify("READY=1");
	log_info("ready: %zu vports, policy generation %u%s", d->nr_ports, d->revision.generation,
		 d->object.adopted ? ", taken over from the kernel" : "");
}

int daemon_start(struct dfwd *d)
{
	int r = open_signals(d);

	if (r < 0)
		return log_errno(r, "cannot block signals");
	d->started_ns = d->active_since_ns = monotonic_ns();
	d->untidy = true; /* a daemon before us may have had no time for it */
	cluster_link_init(d);
	r = directory_make(d->state_dir, 0711);
	if (r < 0)
		return log_errno(r, "%s", d->state_dir);
	r = start_kernel(d);
	if (r == 0)
		r = start_ports(d);
	if (r == 0)
		r = start_policy(d);
	if (r == 0)
		r = start_devices(d);
	if (r == 0)
		r = control_open(d);
	if (r == 0)
		r = open_loop(d);
	if (r == 0)
		become_ready(d);
	return r;
}

/* ---- Run -------------------------------------------------------------------------------------------------------- */

static void reload(struct dfwd *d)
{
	struct config config;

	notify("RELOADING=1");
	if (config_read(d->config_path, d->config_wanted, &config) < 0) {
		log_error("the configuration stays as it was");
	} else {
		config_free(&d->config);
		d->config = config;
		uplinks_configure(d);
		bridges_changed(d);
		/* Patterns may name devices that are there; a port whose pattern is gone stays until its device goes. */
		devices_scan(d);
		log_notice("configuration read again");
	}
	notify("READY=1");
}

static void handle_signals(struct dfwd *d)
{
	struct signalfd_siginfo info;

	while (read(d->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			reload(d);
		else
			d->stop = true;
	}
}

static void consume(struct dfwd *d)
{
	events_consume(d);
	learn_claimed(d);
}

static void handle_tick(struct dfwd *d)
{
	uint64_t expirations, now = monotonic_ns();

	if (read(d->timer, &expirations, sizeof(expirations)) < 0 || d->detached)
		return;
	consume(d);
	bridges_tick(d);
	sweep_some(d);
	realise_tidy(d);
	live_tidy(d);
	if (now < d->slow_ns)
		return;
	d->slow_ns = now + SECOND_NS;
	events_tick(d);
	log_tell_left_out();
	moves_tick(d);
	groups_tick(d);
	devices_retry(d);
	uplinks_retry(d);
	become_ready(d);
}

static void handle_ready(struct dfwd *d, int fd)
{
	if (fd == d->signals)
		handle_signals(d);
	else if (fd == d->timer)
		handle_tick(d);
	else if (d->detached)
		return;
	else if (fd == d->links.fd)
		devices_read(d);
	else if (fd == d->bridges.fd)
		bridges_read(d);
	else if (fd == events_fd(d))
		consume(d);
	else if (fd == d->cluster.link.fd)
		cluster_link_serve(d);
	else
		control_serve(d);
}

int daemon_run(struct dfwd *d)
{
	struct epoll_event ready[8];

	while (!d->stop || monotonic_ns() < d->stop_ns) {
		int nr = epoll_wait(d->epoll, ready, ARRAY_SIZE(ready), 100);

		if (nr < 0 && errno != EINTR)
			return log_errno(-errno, "epoll_wait");
		for (int i = 0; i < nr; i++)
			handle_ready(d, ready[i].data.fd);
		if (!d->detached)
			cluster_link_turn(d);
	}
	notify("STOPPING=1");
	log_info(d->detached ? "enforcement has ended; nothing is left in the kernel"
			     : "leaving; enforcement goes on");
	return 0;
}

/* ---- Stop ------------------------------------------------------------------------------------------------------- */

void daemon_stop(struct dfwd *d)
{
	control_close(d);
	cluster_link_close(d);
	events_close(d);
	links_close(&d->links);
	bridges_close(d);
	for (size_t i = 0; i < DFW_MAX_UPLINKS; i++)
		free(d->uplinks[i]);
	for (size_t i = 0; i < d->nr_ports; i++)
		port_free(d->ports[i]);
	free(d->ports);
	members_sync(&d->members);
	members_close(&d->members);
	live_forget(&d->live);
	policy_free(d->policy);
	policies_unstage(d);
	remote_ports_free(&d->remote);
	object_close(&d->object);
	config_free(&d->config);
	cleanup_close(&d->epoll);
	cleanup_close(&d->signals);
	cleanup_close(&d->timer);
}

int daemon_detach(struct dfwd *d)
{
	int r = 0, one;

	for (size_t i = 0; i < d->nr_ports; i++) {
		one = d->ports[i]->ifindex ? detach_device(&d->hooks, d->ports[i]) : 0;
		r = r < 0 ? r : one;
	}
	one = uplinks_detach(d);
	r = r < 0 ? r : one;
	if (r == 0)
		r = object_unpin(d->instance);
	if (r == 0)
		r = directory_clear(d->run_dir, "sync");
	if (r < 0)
		return r;
	d->detached = true;
	d->ready = false;
	log_notice("detached: enforcement has ended");
	return 0;
}
