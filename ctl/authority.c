// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "authority.h"
#include "file.h"
#include "instance.h"
#include "json.h"
#include "output.h"

#define KEY_FILE   "ca.key"
#define HOSTS_FILE "hosts.json"

#define HOSTS_MAX (16 << 20)
#define BASE64	  sodium_base64_VARIANT_ORIGINAL

#define _cleanup_authority_ _cleanup_(cleanup_authority)

static void cleanup_authority(struct authority **authority)
{
	authority_free(*authority);
}

void authority_free(struct authority *authority)
{
	if (!authority)
		return;
	sodium_memzero(authority->keys, sizeof(authority->keys));
	json_decref(authority->hosts);
	free(authority);
}

const json_t *authority_hosts(const struct authority *authority)
{
	return json_object_get(authority->hosts, "hosts");
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static enum exit_status complain_file(const struct authority *authority, const char *file, int r)
{
	if (r == -EACCES || r == -EPERM)
		complain("not allowed to use %s/%s: run this as root", authority->directory, file);
	else if (r == -EBADMSG || r == -EKEYREJECTED)
		complain("%s/%s is damaged", authority->directory, file);
	else
		complain("%s/%s: %s", authority->directory, file, strerror(-r));
	return EXIT_FAILED;
}

static const char *file_path(const struct authority *authority, const char *file, char *path)
{
	snprintf(path, PATH_MAX, "%.*s/%s", PATH_MAX - 64, authority->directory, file);
	return path;
}

static enum exit_status keep_file(const struct authority *authority, const char *file,
				  const void *data, size_t nr)
{
	char path[PATH_MAX];
	int r = file_replace(file_path(authority, file, path), data, nr);

	return r < 0 ? complain_file(authority, file, r) : EXIT_DONE;
}

static enum exit_status keep_hosts(const struct authority *authority)
{
	_cleanup_free_ char *text = json_dumps(authority->hosts, JSON_INDENT(2));

	return text ? keep_file(authority, HOSTS_FILE, text, strlen(text)) : no_memory();
}

static enum exit_status keep_keys(const struct authority *authority)
{
	return keep_file(authority, KEY_FILE, authority->keys,
			 authority->nr_keys * sizeof(*authority->keys));
}

static int read_keys(struct authority *authority)
{
	_cleanup_free_ char *data = NULL;
	char path[PATH_MAX];
	size_t nr;
	int r = file_read(file_path(authority, KEY_FILE, path), sizeof(authority->keys), &data,
			  &nr);

	if (r < 0)
		return r == -EFBIG ? -EBADMSG : r;
	memcpy(authority->keys, data, nr);
	sodium_memzero(data, nr);
	authority->nr_keys = nr / sizeof(*authority->keys);
	if (authority->nr_keys == 0 || nr % sizeof(*authority->keys))
		return -EBADMSG;
	for (size_t i = 0; i < authority->nr_keys; i++)
		if (!secret_key_whole(&authority->keys[i]))
			return -EBADMSG;
	return 0;
}

static int read_hosts(struct authority *authority)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	size_t nr;
	int r = file_read(file_path(authority, HOSTS_FILE, path), HOSTS_MAX, &text, &nr);

	if (r < 0)
		return r == -EFBIG ? -EBADMSG : r;
	authority->hosts = json_loadb(text, nr, 0, NULL);
	return json_is_array(authority_hosts(authority)) &&
			       json_number(authority->hosts, "next") > 0 &&
			       json_number(authority->hosts, "serial") > 0
		       ? 0
		       : -EBADMSG;
}

/* ---- Made and opened --------------------------------------------------------------------------------------------- */

static enum exit_status new_authority(const struct invocation *call, struct authority **authority)
{
	struct authority *new = calloc(1, sizeof(*new));

	if (!new)
		return no_memory();
	new->call = call;
	state_path(call->instance, "ca", new->directory);
	*authority = new;
	return EXIT_DONE;
}

enum exit_status authority_open(const struct invocation *call, struct authority **authority)
{
	_cleanup_authority_ struct authority *new = NULL;
	enum exit_status status = new_authority(call, &new);
	int r;

	if (status != EXIT_DONE)
		return status;
	r = read_keys(new);
	if (r == -ENOENT) {
		complain("the cluster's CA is not on this host: this is for the host where "
			 "`cluster init` was run");
		return EXIT_FAILED;
	}
	if (r < 0)
		return complain_file(new, KEY_FILE, r);
	r = read_hosts(new);
	if (r < 0)
		return complain_file(new, HOSTS_FILE, r);
	r = identity_load_charter(new->directory, &new->charter);
	if (r < 0)
		return complain_file(new, "charter", r);
	*authority = TAKE_PTR(new);
	return EXIT_DONE;
}

static enum exit_status check_absent(const struct authority *authority)
{
	char path[PATH_MAX];

	if (access(file_path(authority, KEY_FILE, path), F_OK) < 0 && errno == ENOENT)
		return EXIT_DONE;
	complain("there is a CA in %s already; if its cluster is over, remove that folder",
		 authority->directory);
	return EXIT_FAILED;
}

enum exit_status authority_make(const struct invocation *call, struct authority **authority)
{
	_cleanup_authority_ struct authority *new = NULL;
	enum exit_status status = new_authority(call, &new);
	struct public_key key;
	char cluster[2 * sizeof(struct uuid) + 1];
	int r;

	if (status == EXIT_DONE)
		status = check_absent(new);
	if (status != EXIT_DONE)
		return status;
	r = directory_make(new->directory, 0700);
	if (r < 0)
		return complain_file(new, "", r);
	secret_key_make(&new->keys[0]);
	new->nr_keys = 1;
	key = secret_key_public(&new->keys[0]);
	randombytes_buf(&new->charter.cluster, sizeof(new->charter.cluster));
	charter_trust(&new->charter, &key);
	sodium_bin2hex(cluster, sizeof(cluster), new->charter.cluster.bytes, sizeof(struct uuid));
	new->hosts = json_pack("{s:s, s:i, s:i, s:[]}", "cluster", cluster, "next", 1, "serial", 1,
			       "hosts");
	if (!new->hosts)
		return no_memory();
	/* The key comes last: a CA without it is none, and is made anew. */
	status = keep_hosts(new);
	if (status == EXIT_DONE)
		status = authority_sign_charter(new);
	if (status == EXIT_DONE)
		status = keep_keys(new);
	if (status == EXIT_DONE)
		*authority = TAKE_PTR(new);
	return status;
}

/* ---- Hosts ------------------------------------------------------------------------------------------------------- */

json_t *authority_find(const struct authority *authority, const char *name)
{
	json_t *host;
	size_t i;

	json_array_foreach (authority_hosts(authority), i, host)
		if (!json_is_true(json_object_get(host, "revoked")) && json_text(host, "name") &&
		    strcmp(json_text(host, "name"), name) == 0)
			return host;
	return NULL;
}

static int next_number(const struct authority *authority, const char *key, json_int_t *number)
{
	*number = json_number(authority->hosts, key);
	return json_object_set_new(authority->hosts, key, json_integer(*number + 1));
}

/* The entry of a new host; the reference stays with the list. */
static json_t *add_host(struct authority *authority, const char *name)
{
	json_t *hosts = json_object_get(authority->hosts, "hosts"), *host;
	json_int_t id;

	if (next_number(authority, "next", &id) < 0)
		return NULL;
	host = json_pack("{s:I, s:s}", "id", id, "name", name);
	return json_array_append_new(hosts, host) < 0 ? NULL : host;
}

static enum exit_status write_down(const struct authority *authority, json_t *host,
				   const struct certificate *certificate)
{
	char text[sodium_base64_ENCODED_LEN(CERTIFICATE_MAX, BASE64)];

	sodium_bin2base64(text, sizeof(text), certificate->bytes, certificate->nr, BASE64);
	if (json_object_set_new(host, "serial", json_integer((json_int_t)certificate->serial)) <
		    0 ||
	    json_object_set_new(host, "roles", json_integer(certificate->roles)) < 0 ||
	    json_object_set_new(host, "certificate", json_string(text)) < 0)
		return no_memory();
	return keep_hosts(authority);
}

enum exit_status authority_certify(struct authority *authority, json_t *host, const char *name,
				   const struct public_key *key, uint32_t roles,
				   struct certificate *certificate)
{
	json_int_t serial;

	if (!host && json_number(authority->hosts, "next") > (json_int_t)HOST_ID_MAX) {
		complain("the cluster has used up all of its %u host ids", HOST_ID_MAX);
		return EXIT_FAILED;
	}
	if (!host)
		host = add_host(authority, name);
	if (!host || next_number(authority, "serial", &serial) < 0)
		return no_memory();
	*certificate = (struct certificate){
		.cluster = authority->charter.cluster,
		.host = (uint32_t)json_number(host, "id"),
		.roles = roles,
		.serial = (uint64_t)serial,
		.key = *key,
	};
	snprintf(certificate->name, sizeof(certificate->name), "%s", name);
	if (certificate_sign(certificate, &authority->keys[0]) < 0) {
		complain("%s cannot be certified", name);
		return EXIT_FAILED;
	}
	return write_down(authority, host, certificate);
}

enum exit_status authority_certificate(const struct authority *authority, const json_t *host,
				       struct certificate *certificate)
{
	const char *text = json_text(host, "certificate");
	uint8_t bytes[CERTIFICATE_MAX];
	size_t nr;

	if (!text ||
	    sodium_base642bin(bytes, sizeof(bytes), text, strlen(text), NULL, &nr, NULL, BASE64) ||
	    certificate_open(certificate, bytes, nr) < 0)
		return complain_file(authority, HOSTS_FILE, -EBADMSG);
	return EXIT_DONE;
}

enum exit_status authority_mark_revoked(struct authority *authority, json_t *host)
{
	if (json_object_set_new(host, "revoked", json_true()) < 0)
		return no_memory();
	return keep_hosts(authority);
}

/* ---- The charter ------------------------------------------------------------------------------------------------- */

enum exit_status authority_sign_charter(struct authority *authority)
{
	int r;

	authority->charter.version++;
	r = charter_sign(&authority->charter, authority->keys, authority->nr_keys);
	if (r < 0) {
		complain("the charter cannot be signed: %s", strerror(-r));
		return EXIT_FAILED;
	}
	r = identity_keep_charter(authority->directory, &authority->charter);
	return r < 0 ? complain_file(authority, "charter", r) : EXIT_DONE;
}

enum exit_status authority_add_key(struct authority *authority)
{
	/* The oldest key has served its time: no host sleeps for that long. */
	if (authority->nr_keys == CHARTER_KEYS)
		authority->nr_keys--;
	memmove(authority->keys + 1, authority->keys,
		authority->nr_keys * sizeof(*authority->keys));
	authority->nr_keys++;
	secret_key_make(&authority->keys[0]);
	return keep_keys(authority);
}
