// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "cpus.h"
#include "file.h"

#define ONLINE	     "/sys/devices/system/cpu/online"
#define ONLINE_BYTES 4096
#define MOST_CPUS    128

/* What the kernel writes: "0-3,6". */
static int read_list(const char *text, cpu_set_t *cpus)
{
	char *end;

	CPU_ZERO(cpus);
	do {
		unsigned long first = strtoul(text, &end, 10), last = first;

		if (end == text)
			return -EBADMSG;
		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		if (last >= CPU_SETSIZE)
			return -E2BIG;
		for (; first <= last; first++)
			CPU_SET(first, cpus);
		text = end + 1;
	} while (*end == ',');
	return CPU_COUNT(cpus) <= MOST_CPUS ? 0 : -E2BIG;
}

static int online(cpu_set_t *cpus)
{
	_cleanup_free_ char *text = NULL;
	size_t bytes;
	int r = file_read(ONLINE, ONLINE_BYTES, &text, &bytes);

	return r < 0 ? r : read_list(text, cpus);
}

static bool puts_packets_aside(void)
{
	struct utsname kernel;

	return uname(&kernel) < 0 || strstr(kernel.version, "PREEMPT_RT");
}

static int visit(const cpu_set_t *cpus)
{
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		cpu_set_t one;

		if (!CPU_ISSET(cpu, cpus))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		/* It returns there. */
		if (sched_setaffinity(0, sizeof(one), &one) < 0)
			return -errno;
	}
	return 0;
}

int cpus_visit(void)
{
	const struct sched_param first = {.sched_priority = 1};
	struct sched_param usual;
	cpu_set_t cpus, allowed;
	int policy = sched_getscheduler(0), r;

	if (puts_packets_aside())
		return -EOPNOTSUPP;
	r = online(&cpus);
	if (r < 0)
		return r;
	if (policy < 0 || sched_getparam(0, &usual) < 0 ||
	    sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return -errno;
	/* So that it does not wait in a queue on each. Where that is not allowed it waits. */
	sched_setscheduler(0, SCHED_FIFO, &first);
	r = visit(&cpus);
	sched_setaffinity(0, sizeof(allowed), &allowed);
	sched_setscheduler(0, policy, &usual);
	return r;
}
