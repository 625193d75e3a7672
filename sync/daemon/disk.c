// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <control.h>
#include <sodium.h>

#include "file.h"
#include "log.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/disk.h"

#define OBJECT_LARGEST (64U << 20)
#define MANIFEST_BYTES (sizeof(uint32_t) + ENTRY_VALUE_MAX)

static const char *disk_path(const struct disk *disk, const char *file, char *path)
{
	snprintf(path, PATH_MAX, "%s/%s", disk->dir, file);
	return path;
}

/* ---- Folders ---------------------------------------------------------------------------------------------------- */

/* Whoever runs us later owns what is there, whatever user ran us before or wrote it for us. */
static int give(const struct syncd *d, int dir_fd)
{
	DIR *dir = fdopendir(dup(dir_fd));
	struct dirent *entry;
	int r = 0;

	if (!dir)
		return -errno;
	if (fchown(dir_fd, d->uid, d->gid) < 0 || fchmod(dir_fd, 0700) < 0)
		r = -errno;
	while (r == 0 && (entry = readdir(dir))) {
		if (entry->d_name[0] != '.' &&
		    fchownat(dir_fd, entry->d_name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0)
			r = -errno;
	}
	closedir(dir);
	return r;
}

static int make_folder(const struct syncd *d, const char *name)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/%s", d->state_dir, name);
	r = directory_make(path, 0700);
	if (r == 0) {
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		r = fd < 0 ? -errno : give(d, fd);
	}
	return r < 0 ? log_errno(r, "%s", path) : 0;
}

/* We shall have to pass through; what lies beside is root's alone by its own mode. systemd has seen to it, and lets us
 * write in the folder behind it only. */
static int open_way(const char *path)
{
	struct stat stat;

	if (lstat(path, &stat) < 0)
		return log_errno(-errno, "%s", path);
	if ((stat.st_mode & 0111) != 0111 && chmod(path, (stat.st_mode & 07777) | 0111) < 0)
		return log_errno(-errno, "%s", path);
	return 0;
}

int disk_make(struct syncd *d)
{
	int r = directory_make(d->state_dir, 0711);

	if (r < 0)
		return log_errno(r, "%s", d->state_dir);
	r = open_way(CONTROL_STATE_DIR);
	if (r == 0)
		r = make_folder(d, "cluster");
	if (r == 0)
		r = make_folder(d, "sync");
	if (r == 0)
		r = make_folder(d, "sync/objects");
	return r;
}

int disk_open(struct syncd *d)
{
	struct disk *disk = &d->disk;
	char path[PATH_MAX];
	int r;

	*disk = (struct disk){.ledger.fd = -1};
	snprintf(disk->dir, sizeof(disk->dir), "%s/sync", d->state_dir);
	if (sodium_init() < 0)
		return log_errno(-EIO, "libsodium");
	r = ledger_open(disk_path(disk, "ledger", path), &disk->ledger);
	return r < 0 ? log_errno(r, "%s", path) : 0;
}

void disk_close(struct syncd *d)
{
	ledger_close(&d->disk.ledger);
	while (d->disk.nr_objects)
		free(d->disk.objects[--d->disk.nr_objects].bytes);
}

/* ---- Life ------------------------------------------------------------------------------------------------------- */

int disk_next_life(struct disk *disk, uint32_t *life)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], next[16];
	unsigned long former = 0;
	size_t bytes;
	int r = file_read(disk_path(disk, "life", path), 64, &text, &bytes), length;

	if (r == 0)
		former = strtoul(text, NULL, 10);
	if (r < 0 && r != -ENOENT)
		return log_errno(r, "%s", path);
	if (former >= INT32_MAX || (r == 0 && former == 0)) {
		log_error("%s: does not hold a number of a life", path);
		return -EBADMSG;
	}
	*life = (uint32_t)former + 1;
	length = snprintf(next, sizeof(next), "%u\n", *life);
	r = file_replace(path, next, (size_t)length);
	return r < 0 ? log_errno(r, "cannot write %s", path) : 0;
}

/* ---- Leaving a cluster ------------------------------------------------------------------------------------------ */

static void collect_record(void *data, const struct ledger *record)
{
	struct disk *disk = data;

	ledger_drop(&disk->ledger, record->port);
}

void disk_forget(struct disk *disk)
{
	char path[PATH_MAX];

	ledger_each(&disk->ledger, collect_record, disk);
	if (unlink(disk_path(disk, "manifest", path)) < 0 && errno != ENOENT)
		log_errno(-errno, "%s", path);
	if (unlink(disk_path(disk, "peers", path)) < 0 && errno != ENOENT)
		log_errno(-errno, "%s", path);
}

/* ---- Manifest --------------------------------------------------------------------------------------------------- */

int disk_manifest_read(const struct disk *disk, struct manifest *manifest, uint32_t *writer)
{
	_cleanup_free_ char *bytes = NULL;
	char path[PATH_MAX];
	size_t nr;
	int r = file_read(disk_path(disk, "manifest", path), MANIFEST_BYTES, &bytes, &nr);

	if (r == -ENOENT)
		return r;
	if (r == 0 && nr < sizeof(*writer))
		r = -EBADMSG;
	if (r == 0) {
		memcpy(writer, bytes, sizeof(*writer));
		r = manifest_decode((struct slice){.bytes = (uint8_t *)bytes + sizeof(*writer),
						   .nr = (uint16_t)(nr - sizeof(*writer))},
				    manifest);
	}
	return r < 0 ? log_errno(r, "%s", path) : 0;
}

int disk_manifest_write(const struct disk *disk, const struct manifest *manifest, uint32_t writer)
{
	uint8_t bytes[MANIFEST_BYTES];
	char path[PATH_MAX];
	uint16_t nr;
	int r = manifest_encode(manifest, bytes + sizeof(writer), &nr);

	memcpy(bytes, &writer, sizeof(writer));
	if (r == 0)
		r = file_replace(disk_path(disk, "manifest", path), bytes, sizeof(writer) + nr);
	return r < 0 ? log_errno(r, "cannot write %s", path) : 0;
}

/* ---- Objects ---------------------------------------------------------------------------------------------------- */

struct digest object_digest(const void *bytes, size_t nr)
{
	struct digest digest;

	crypto_generichash(digest.bytes, sizeof(digest.bytes), bytes, nr, NULL, 0);
	return digest;
}

char *digest_format(const struct digest *digest, char text[DIGEST_TEXT_LEN])
{
	return sodium_bin2hex(text, DIGEST_TEXT_LEN, digest->bytes, sizeof(digest->bytes));
}

static const char *object_path(const struct disk *disk, const struct digest *name, char *path)
{
	char text[DIGEST_TEXT_LEN];

	snprintf(path, PATH_MAX, "%s/objects/%s", disk->dir, digest_format(name, text));
	return path;
}

static bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* Takes the bytes over; the one that was not asked for the longest goes. */
static void remember(struct disk *disk, const struct digest *name, uint8_t *bytes, uint32_t nr)
{
	if (disk->nr_objects == DISK_OBJECTS)
		free(disk->objects[--disk->nr_objects].bytes);
	memmove(disk->objects + 1, disk->objects, disk->nr_objects * sizeof(disk->objects[0]));
	disk->objects[0] = (struct disk_object){.name = *name, .bytes = bytes, .nr = nr};
	disk->nr_objects++;
}

/* What a disk has damaged is not here. */
static int read_object(struct disk *disk, const struct digest *name)
{
	_cleanup_free_ char *bytes = NULL;
	struct digest digest;
	char path[PATH_MAX];
	size_t nr;
	int r = file_read(object_path(disk, name, path), OBJECT_LARGEST, &bytes, &nr);

	if (r < 0)
		return r;
	digest = object_digest(bytes, nr);
	if (!digest_equal(&digest, name)) {
		log_error("%s: is damaged, and fetched again", path);
		unlink(path);
		return -EBADMSG;
	}
	remember(disk, name, (uint8_t *)TAKE_PTR(bytes), (uint32_t)nr);
	return 0;
}

const uint8_t *disk_object_get(struct disk *disk, const struct digest *name, uint32_t *nr)
{
	struct disk_object found;
	size_t i = 0;

	while (i < disk->nr_objects && !digest_equal(&disk->objects[i].name, name))
		i++;
	if (i == disk->nr_objects) {
		if (read_object(disk, name) < 0)
			return NULL;
		i = 0;
	}
	found = disk->objects[i];
	memmove(disk->objects + 1, disk->objects, i * sizeof(found));
	disk->objects[0] = found;
	*nr = found.nr;
	return found.bytes;
}

struct old_object {
	char name[DIGEST_TEXT_LEN];
	struct timespec at;
};

static int newest_first(const void *a, const void *b)
{
	const struct timespec *left = &((const struct old_object *)a)->at;
	const struct timespec *right = &((const struct old_object *)b)->at;

	if (left->tv_sec != right->tv_sec)
		return left->tv_sec < right->tv_sec ? 1 : -1;
	return (left->tv_nsec < right->tv_nsec) - (left->tv_nsec > right->tv_nsec);
}

/* One more than there should be comes with each put, so that a bounded list holds all. */
static void trim(const struct disk *disk)
{
	struct old_object objects[4 * DISK_OBJECTS];
	char path[PATH_MAX];
	DIR *dir = opendir(disk_path(disk, "objects", path));
	struct dirent *entry;
	size_t nr = 0;

	if (!dir)
		return;
	while (nr < ARRAY_SIZE(objects) && (entry = readdir(dir))) {
		struct stat stat;

		if (strlen(entry->d_name) != DIGEST_TEXT_LEN - 1 ||
		    fstatat(dirfd(dir), entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		strcpy(objects[nr].name, entry->d_name);
		objects[nr++].at = stat.st_mtim;
	}
	qsort(objects, nr, sizeof(objects[0]), newest_first);
	while (nr > DISK_OBJECTS)
		unlinkat(dirfd(dir), objects[--nr].name, 0);
	closedir(dir);
}

int disk_object_put(struct disk *disk, const struct digest *name, const uint8_t *bytes, uint32_t nr)
{
	struct digest digest = object_digest(bytes, nr);
	_cleanup_free_ uint8_t *copy = NULL;
	char path[PATH_MAX];
	int r;

	if (!digest_equal(&digest, name))
		return -EBADMSG;
	copy = malloc(nr + 1U);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, bytes, nr);
	r = file_replace(object_path(disk, name, path), bytes, nr);
	if (r < 0)
		return log_errno(r, "cannot write %s", path);
	trim(disk);
	remember(disk, name, TAKE_PTR(copy), nr);
	return 0;
}
