// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <file.h>
#include <util.h>

#include "sync/hash.h"
#include "sync/secure/identity.h"

#define KEY_FILE	 "host.key"
#define NEXT_KEY_FILE	 "host.key.new"
#define CERTIFICATE_FILE "host.cert"
#define CHARTER_FILE	 "charter"
#define RENEWALS_FILE	 "renewals"
#define RENEWALS_MAX	 (4 << 20)

#define _cleanup_identity_ _cleanup_(cleanup_identity)

static void cleanup_identity(struct identity **identity)
{
	identity_free(*identity);
}

void identity_free(struct identity *identity)
{
	if (!identity)
		return;
	secret_key_wipe(&identity->secret);
	free(identity);
}

static int path_of(const char *directory, const char *file, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/%s", directory, file) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int read_file(const char *directory, const char *file, size_t longest, char **data,
		     size_t *nr)
{
	char path[PATH_MAX];
	int r = path_of(directory, file, path);

	if (r == 0)
		r = file_read(path, longest, data, nr);
	return r == -EFBIG ? -EBADMSG : r;
}

int identity_read_secret(const char *path, struct secret_key *secret)
{
	char *data = NULL;
	size_t nr;
	int r = file_read(path, SECRET_BYTES, &data, &nr);

	if (r < 0)
		return r == -EFBIG ? -EBADMSG : r;
	if (nr == SECRET_BYTES)
		memcpy(secret->bytes, data, SECRET_BYTES);
	sodium_memzero(data, nr);
	free(data);
	return nr == SECRET_BYTES && secret_key_whole(secret) ? 0 : -EBADMSG;
}

static bool belongs(const struct secret_key *secret, const struct certificate *certificate)
{
	struct public_key key = secret_key_public(secret);

	return public_key_equal(&key, &certificate->key);
}

static int load_secret(const char *directory, const char *file, struct secret_key *secret)
{
	char path[PATH_MAX];
	int r = path_of(directory, file, path);

	return r < 0 ? r : identity_read_secret(path, secret);
}

/* A new certificate is what brings a new key into use: until the files have changed their names both keys are there. */
static int load_secret_of(const char *directory, const struct certificate *certificate,
			  struct secret_key *secret)
{
	int r = load_secret(directory, KEY_FILE, secret);

	if (r == 0 && belongs(secret, certificate))
		return 0;
	if (r < 0 && r != -ENOENT)
		return r;
	if (load_secret(directory, NEXT_KEY_FILE, secret) == 0 && belongs(secret, certificate))
		return 0;
	return r < 0 ? r : -EKEYREJECTED;
}

int identity_load_charter(const char *directory, struct charter *charter)
{
	_cleanup_free_ char *data = NULL;
	size_t nr;
	int r = read_file(directory, CHARTER_FILE, CHARTER_MAX, &data, &nr);

	return r < 0 ? r : charter_open(charter, data, nr);
}

int identity_load(const char *directory, struct identity **identity)
{
	_cleanup_identity_ struct identity *new = calloc(1, sizeof(*new));
	_cleanup_free_ char *data = NULL;
	size_t nr;
	int r;

	if (!new)
		return -ENOMEM;
	r = read_file(directory, CERTIFICATE_FILE, CERTIFICATE_MAX, &data, &nr);
	if (r == 0)
		r = certificate_open(&new->certificate, data, nr);
	if (r == 0)
		r = load_secret_of(directory, &new->certificate, &new->secret);
	if (r == 0)
		r = identity_load_charter(directory, &new->charter);
	if (r == 0)
		r = charter_admits(&new->charter, &new->certificate);
	if (r < 0)
		return r == -EXDEV ? -EKEYREJECTED : r;
	*identity = TAKE_PTR(new);
	return 0;
}

/* dfwctl writes as root into a folder that belongs to the daemon's user. */
static int keep(const char *directory, const char *file, const void *data, size_t nr)
{
	_cleanup_staged_ struct staged_file staged = {};
	char path[PATH_MAX];
	struct stat folder;
	int r = path_of(directory, file, path);

	if (r < 0)
		return r;
	if (stat(directory, &folder) < 0)
		return -errno;
	r = file_stage(path, data, nr, &staged);
	if (r < 0)
		return r;
	if (geteuid() == 0 && lchown(staged.temporary, folder.st_uid, folder.st_gid) < 0)
		return -errno;
	return file_commit(&staged);
}

int identity_keep_charter(const char *directory, const struct charter *charter)
{
	return keep(directory, CHARTER_FILE, charter->bytes, charter->nr);
}

int identity_keep_certificate(const char *directory, const struct certificate *certificate)
{
	return keep(directory, CERTIFICATE_FILE, certificate->bytes, certificate->nr);
}

int identity_secret(const char *directory, struct secret_key *secret)
{
	return load_secret(directory, KEY_FILE, secret);
}

int identity_next_secret(const char *directory, struct secret_key *secret)
{
	return load_secret(directory, NEXT_KEY_FILE, secret);
}

int identity_keep_next_secret(const char *directory, const struct secret_key *secret)
{
	return keep(directory, NEXT_KEY_FILE, secret->bytes, SECRET_BYTES);
}

int identity_take_next_secret(const char *directory)
{
	char from[PATH_MAX], to[PATH_MAX];
	int r = path_of(directory, NEXT_KEY_FILE, from);

	if (r == 0)
		r = path_of(directory, KEY_FILE, to);
	if (r < 0)
		return r;
	return rename(from, to) < 0 ? -errno : 0;
}

int identity_keep_renewals(const char *directory, const void *certificates, size_t nr)
{
	return keep(directory, RENEWALS_FILE, certificates, nr);
}

int identity_each_renewal(const char *directory,
			  void (*each)(void *data, const struct certificate *certificate),
			  void *each_data)
{
	_cleanup_free_ char *data = NULL;
	struct certificate certificate;
	struct reader reader;
	struct slice bytes;
	size_t nr;
	int r = read_file(directory, RENEWALS_FILE, RENEWALS_MAX, &data, &nr);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	reader_init(&reader, data, nr);
	while (reader_left(&reader)) {
		get_slice(&reader, &bytes);
		if (reader.bad || certificate_read(&certificate, bytes.bytes, bytes.nr) < 0)
			return -EBADMSG;
		each(each_data, &certificate);
	}
	return 0;
}

uint64_t identity_stamp(const char *directory)
{
	static const char *const files[] = {KEY_FILE, CERTIFICATE_FILE, CHARTER_FILE,
					    RENEWALS_FILE};
	uint64_t stamp = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct stat stat_of = {};
		char path[PATH_MAX];

		/* A file that is not there counts as one of no size. */
		if (path_of(directory, files[i], path) < 0 || stat(path, &stat_of) < 0)
			memset(&stat_of, 0, sizeof(stat_of));
		stamp = hash_mix(stamp ^ (uint64_t)stat_of.st_size);
		stamp = hash_mix(stamp ^ (uint64_t)stat_of.st_ino);
		stamp = hash_mix(stamp ^ (uint64_t)stat_of.st_mtim.tv_sec);
		stamp = hash_mix(stamp ^ (uint64_t)stat_of.st_mtim.tv_nsec);
	}
	return stamp;
}
