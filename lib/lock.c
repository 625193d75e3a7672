// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>

#include "file.h"
#include "lock.h"
#include "log.h"
#include "util.h"

static int read_holder(int fd)
{
	char text[16] = {};

	return pread(fd, text, sizeof(text) - 1, 0) > 0 ? atoi(text) : 0;
}

int daemon_lock(const char *run_dir, const char *daemon, const char *instance, int *lock)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	int r = directory_make(run_dir, 0700);

	if (r < 0)
		return log_errno(r, "%s", run_dir);
	snprintf(path, sizeof(path), "%s/%s.lock", run_dir, daemon);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return log_errno(-errno, "%s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return log_errno(-errno, "%s", path);
		log_error("instance %s is served already, by process %d (%s is locked)", instance,
			  read_holder(fd), path);
		return -EBUSY;
	}
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
		return log_errno(-errno, "%s", path);
	*lock = TAKE_FD(fd);
	return 0;
}
