// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>

#include "log.h"
#include "loop.h"
#include "util.h"
#include "view_pins.h"

#define EVENTS_AT_ONCE 32
#define MS_NS	       1000000
#define LONGEST_MS     1000

struct loop_source {
	loop_ready *ready; /* NULL: none */
	void *data;
};

int loop_open(struct loop *loop)
{
	*loop = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
	loop->now_ms = (int64_t)(monotonic_ns() / MS_NS);
	return loop->epoll < 0 ? -errno : 0;
}

void loop_close(struct loop *loop)
{
	cleanup_close(&loop->epoll);
	free(loop->sources);
	*loop = (struct loop){.epoll = -1};
}

static int make_room(struct loop *loop, int fd)
{
	int nr = loop->nr_sources ? loop->nr_sources : 32;
	struct loop_source *sources;

	if (fd < loop->nr_sources)
		return 0;
	while (nr <= fd)
		nr *= 2;
	sources = realloc(loop->sources, (size_t)nr * sizeof(*sources));
	if (!sources)
		return -ENOMEM;
	for (int i = loop->nr_sources; i < nr; i++)
		sources[i] = (struct loop_source){};
	loop->sources = sources;
	loop->nr_sources = nr;
	return 0;
}

int loop_add(struct loop *loop, int fd, uint32_t events, loop_ready *ready, void *data)
{
	struct epoll_event event = {.events = events, .data.fd = fd};
	int r = make_room(loop, fd);

	if (r < 0)
		return r;
	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	loop->sources[fd] = (struct loop_source){ready, data};
	return 0;
}

int loop_change(struct loop *loop, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	return epoll_ctl(loop->epoll, EPOLL_CTL_MOD, fd, &event) < 0 ? -errno : 0;
}

void loop_remove(struct loop *loop, int fd)
{
	epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
	if (fd >= 0 && fd < loop->nr_sources)
		loop->sources[fd] = (struct loop_source){};
}

static int wait_ms(const struct loop *loop)
{
	int64_t now = (int64_t)(monotonic_ns() / MS_NS), wait = loop->next_ms - now;

	return wait < 0 ? 0 : (int)wait;
}

int loop_run(struct loop *loop, void (*turn)(void *data), void *data)
{
	struct epoll_event events[EVENTS_AT_ONCE];

	loop->next_ms = loop->now_ms;
	while (!loop->stop) {
		int nr = epoll_wait(loop->epoll, events, EVENTS_AT_ONCE, wait_ms(loop));

		if (nr < 0 && errno != EINTR)
			return log_errno(-errno, "epoll_wait");
		loop->now_ms = (int64_t)(monotonic_ns() / MS_NS);
		loop->next_ms = loop->now_ms + LONGEST_MS;
		for (int i = 0; i < nr; i++) {
			/* One that an earlier one has removed is skipped. */
			const struct loop_source source = loop->sources[events[i].data.fd];

			if (source.ready)
				source.ready(source.data, events[i].events);
		}
		turn(data);
	}
	return 0;
}
