// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "file.h"

static int write_all(int fd, const char *data, size_t bytes)
{
	while (bytes > 0) {
		ssize_t written = write(fd, data, bytes);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		data += written;
		bytes -= (size_t)written;
	}
	return 0;
}

int file_stage(const char *path, const void *data, size_t bytes, struct staged_file *staged)
{
	_cleanup_staged_ struct staged_file new = {};
	_cleanup_close_ int fd = -1;
	int r;

	if (snprintf(new.path, sizeof(new.path), "%s", path) >= (int)sizeof(new.path) ||
	    snprintf(new.temporary, sizeof(new.temporary), "%s.new", path) >=
		    (int)sizeof(new.temporary))
		return -ENAMETOOLONG;

	fd = open(new.temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, data, bytes);
	if (r < 0)
		return r;
	if (fsync(fd) < 0)
		return -errno;

	*staged = new;
	new.temporary[0] = '\0';
	return 0;
}

static int sync_directory_of(const char *path)
{
	_cleanup_close_ int fd = -1;
	char directory[PATH_MAX];
	char *slash;

	snprintf(directory, sizeof(directory), "%s", path);
	slash = strrchr(directory, '/');
	if (!slash)
		strcpy(directory, ".");
	else if (slash == directory)
		slash[1] = '\0';
	else
		*slash = '\0';

	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

int file_commit(struct staged_file *staged)
{
	if (rename(staged->temporary, staged->path) < 0)
		return -errno;
	staged->temporary[0] = '\0';
	return sync_directory_of(staged->path);
}

void file_discard(struct staged_file *staged)
{
	if (staged->temporary[0])
		unlink(staged->temporary);
	staged->temporary[0] = '\0';
}

int file_replace(const char *path, const void *data, size_t bytes)
{
	_cleanup_staged_ struct staged_file staged = {};
	int r = file_stage(path, data, bytes, &staged);

	return r < 0 ? r : file_commit(&staged);
}

int file_read(const char *path, size_t longest, char **data, size_t *bytes)
{
	_cleanup_free_ char *content = NULL;
	_cleanup_close_ int fd = -1;
	struct stat stat;
	size_t used = 0;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &stat) < 0)
		return -errno;
	if (!S_ISREG(stat.st_mode))
		return S_ISDIR(stat.st_mode) ? -EISDIR : -EINVAL;
	if ((unsigned long long)stat.st_size > longest)
		return -EFBIG;
	content = malloc((size_t)stat.st_size + 1);
	if (!content)
		return -ENOMEM;

	while (used < (size_t)stat.st_size) {
		ssize_t got = read(fd, content + used, (size_t)stat.st_size - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		used += (size_t)got;
	}
	content[used] = '\0';
	*data = TAKE_PTR(content);
	*bytes = used;
	return 0;
}

int directory_make(const char *path, mode_t mode)
{
	char part[PATH_MAX];

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return -ENAMETOOLONG;
	for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	if (mkdir(part, mode) < 0 && errno != EEXIST)
		return -errno;
	return chmod(part, mode) < 0 ? -errno : 0;
}

int directory_clear(const char *path, const char *but)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while (r == 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || strncmp(entry->d_name, but, strlen(but)) == 0)
			continue;
		if (unlinkat(dirfd(dir), entry->d_name, 0) < 0 && errno != ENOENT)
			r = -errno;
	}
	closedir(dir);
	if (r == 0 && rmdir(path) < 0 && errno != ENOTEMPTY && errno != ENOENT)
		r = -errno;
	return r;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *walk)
{
	(void)stat;
	(void)kind;
	(void)walk;
	return remove(path) < 0 && errno != ENOENT ? -errno : 0;
}

int directory_remove(const char *path)
{
	struct stat stat;
	int r;

	if (lstat(path, &stat) < 0)
		return errno == ENOENT ? 0 : -errno;
	r = nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	return r == -1 ? -errno : r;
}
