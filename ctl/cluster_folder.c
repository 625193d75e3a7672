// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "client.h"
#include "cluster_folder.h"
#include "file.h"
#include "instance.h"
#include "json.h"
#include "output.h"

const char *cluster_folder(const char *instance, char *path)
{
	return state_path(instance, "cluster", path);
}

enum exit_status cluster_folder_failed(const char *directory, int r)
{
	if (r == -EACCES || r == -EPERM)
		complain("not allowed to use %s: run this as root", directory);
	else if (r == -EBADMSG)
		complain("key, certificate or charter in %s is damaged", directory);
	else if (r == -EKEYREJECTED)
		complain("key, certificate and charter in %s do not belong together", directory);
	else if (r == -EKEYREVOKED)
		complain("this host is revoked: `cluster leave`, then join with a new invitation");
	else
		complain("%s: %s", directory, strerror(-r));
	return EXIT_FAILED;
}

/* What is there has its mode and owner already: they are dfwsyncd's. */
enum exit_status cluster_folder_make(const char *directory)
{
	int r;

	if (access(directory, F_OK) == 0)
		return EXIT_DONE;
	r = directory_make(directory, 0700);
	return r < 0 ? cluster_folder_failed(directory, r) : EXIT_DONE;
}

bool cluster_folder_is_member(const char *directory)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%.*s/cluster.json", PATH_MAX - 64, directory);
	return access(path, F_OK) == 0;
}

enum exit_status cluster_folder_identity(const struct invocation *call, struct identity **identity)
{
	char directory[PATH_MAX];
	int r = identity_load(cluster_folder(call->instance, directory), identity);

	if (r == -ENOENT) {
		complain("this host is in no cluster: `cluster init` or `cluster join` makes it a "
			 "member");
		return EXIT_FAILED;
	}
	return r < 0 ? cluster_folder_failed(directory, r) : EXIT_DONE;
}

static int keep_charter(const char *directory, const struct charter *charter)
{
	_cleanup_free_ struct charter *here = malloc(sizeof(*here));

	if (!here)
		return -ENOMEM;
	if (identity_load_charter(directory, here) == 0 && here->version >= charter->version &&
	    memcmp(&here->cluster, &charter->cluster, sizeof(here->cluster)) == 0)
		return 0;
	return identity_keep_charter(directory, charter);
}

/* With the certificate its key is in use, whatever the file is called; now it gets its name. */
static int name_key(const char *directory, const struct certificate *certificate)
{
	struct secret_key secret;
	struct public_key key;
	int r = identity_next_secret(directory, &secret);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	key = secret_key_public(&secret);
	secret_key_wipe(&secret);
	return public_key_equal(&key, &certificate->key) ? identity_take_next_secret(directory) : 0;
}

enum exit_status cluster_folder_certify(const char *directory,
					const struct certificate *certificate,
					const struct charter *charter)
{
	int r = keep_charter(directory, charter);

	if (r == 0)
		r = identity_keep_certificate(directory, certificate);
	if (r == 0)
		r = name_key(directory, certificate);
	return r < 0 ? cluster_folder_failed(directory, r) : EXIT_DONE;
}

void cluster_folder_changed(const struct invocation *call)
{
	_cleanup_json_ json_t *reply = NULL;

	/* Without an answer it sees it by itself, a second later. */
	(void)sync_request(call->instance, "cluster-reload", NULL, &reply);
}
