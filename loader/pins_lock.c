// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <dfw/maps.h>

#include "file.h"
#include "log.h"
#include "pins_lock.h"
#include "util.h"
#include "view.h"

/* Each time round somebody else has made, renamed or removed a folder between two of our steps. */
#define TRIES 100

const char *pins_unfinished_path(const char *instance, const char *part, char *path)
{
	snprintf(path, PATH_MAX, "%s/%s%%new%s%s", DFW_PIN_ROOT, instance, part ? "/" : "",
		 part ? part : "");
	return path;
}

/* -ENOENT: it is not there, or not any more. */
static int lock_folder(const char *path, int *lock)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat ours, there;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fstat(fd, &ours) < 0 || stat(path, &there) < 0)
		return -errno;
	if (ours.st_dev != there.st_dev || ours.st_ino != there.st_ino)
		return -ENOENT;
	*lock = TAKE_FD(fd);
	return 0;
}

static int complain(const char *instance, const char *path, int r)
{
	if (r != -EBUSY)
		return log_errno(r, "%s", path);
	log_error("instance %s is served already, by a dfwd with another run directory (%s is "
		  "locked)",
		  instance, path);
	return r;
}

int pins_lock(const char *instance, int *lock)
{
	char path[PATH_MAX];
	int r = lock_folder(pin_path(instance, NULL, path), lock);

	return r < 0 && r != -ENOENT ? complain(instance, path, r) : r;
}

/* -ESTALE: there was another, of a start that died. */
static int make_unfinished(const char *path, int *lock)
{
	_cleanup_close_ int folder = -1;
	bool made;
	int r;

	mkdir(DFW_PIN_ROOT, 0755);
	made = mkdir(path, 0700) == 0;
	if (!made && errno != EEXIST)
		return errno == ENOENT ? -ESTALE : -errno;
	r = lock_folder(path, &folder);
	if (r == 0 && !made) {
		r = directory_remove(path);
		return r < 0 ? r : -ESTALE;
	}
	if (r == 0)
		*lock = TAKE_FD(folder);
	return r == -ENOENT ? -ESTALE : r;
}

int pins_lock_or_make(const char *instance, int *lock)
{
	char path[PATH_MAX];
	int r = -ESTALE;

	for (int i = 0; i < TRIES && r == -ESTALE; i++) {
		r = pins_lock(instance, lock);
		if (r != -ENOENT)
			return r;
		r = make_unfinished(pins_unfinished_path(instance, NULL, path), lock);
	}
	return r < 0 ? complain(instance, path, r) : 0;
}
