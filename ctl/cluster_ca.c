// SPDX-License-Identifier: GPL-2.0
/* cluster init, invite, revoke, rotate: what an operator does on the host of the CA. */
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "authority.h"
#include "client.h"
#include "cluster_config.h"
#include "cluster_folder.h"
#include "file.h"
#include "instance.h"
#include "input.h"
#include "json.h"
#include "output.h"
#include "sync/secure/invitation.h"

#define _cleanup_authority_  _cleanup_(cleanup_authority)
#define _cleanup_identity_   _cleanup_(cleanup_identity)
#define _cleanup_invitation_ _cleanup_(cleanup_invitation)

static void cleanup_authority(struct authority **authority)
{
	authority_free(*authority);
}

static void cleanup_identity(struct identity **identity)
{
	identity_free(*identity);
}

static void cleanup_invitation(struct invitation **invitation)
{
	invitation_free(*invitation);
}

/* ---- init -------------------------------------------------------------------------------------------------------- */

/* The machine's name up to its first dot, unless another one is given. */
static enum exit_status own_name(const struct invocation *call, char name[WIRE_TEXT_LEN])
{
	const char *chosen = given_value(call, "--name");
	char host[HOST_NAME_MAX + 1] = "";

	if (!chosen) {
		gethostname(host, sizeof(host) - 1);
		host[strcspn(host, ".")] = '\0';
		chosen = host;
	}
	if (!host_name_valid(chosen)) {
		complain("this machine's name, \"%s\", is no name of a host: give one with --name",
			 chosen);
		return EXIT_INPUT;
	}
	strcpy(name, chosen);
	return EXIT_DONE;
}

static enum exit_status certify_self(struct authority *authority, json_t *host, const char *name,
				     const char *directory)
{
	struct certificate certificate;
	struct secret_key secret;
	struct public_key key;
	enum exit_status status;
	int r;

	secret_key_make(&secret);
	key = secret_key_public(&secret);
	r = identity_keep_next_secret(directory, &secret);
	secret_key_wipe(&secret);
	if (r < 0)
		return cluster_folder_failed(directory, r);
	status = authority_certify(authority, host, name, &key, ROLE_OPERATOR, &certificate);
	if (status == EXIT_DONE)
		status = cluster_folder_certify(directory, &certificate, &authority->charter);
	return status;
}

static enum exit_status refuse_member(const char *directory)
{
	if (!cluster_folder_is_member(directory))
		return EXIT_DONE;
	complain("this host is in a cluster already: `cluster leave` ends that");
	return EXIT_FAILED;
}

enum exit_status run_cluster_init(const struct invocation *call)
{
	_cleanup_authority_ struct authority *authority = NULL;
	char directory[PATH_MAX], name[WIRE_TEXT_LEN];
	enum exit_status status = own_name(call, name);

	cluster_folder(call->instance, directory);
	if (status == EXIT_DONE)
		status = refuse_member(directory);
	if (status == EXIT_DONE)
		status = cluster_config_check(call, directory, NULL);
	if (status == EXIT_DONE)
		status = cluster_folder_make(directory);
	if (status == EXIT_DONE)
		status = authority_make(call, &authority);
	if (status == EXIT_DONE)
		status = certify_self(authority, NULL, name, directory);
	if (status == EXIT_DONE)
		status = cluster_config_write(call, directory, name, NULL, true);
	if (status != EXIT_DONE)
		return status;
	cluster_folder_changed(call);
	if (call->json)
		return print_json(json_pack("{s:s, s:i, s:s}", "host", name, "id", 1, "cluster",
					    json_text(authority->hosts, "cluster")));
	printf("cluster made; this host, %s, is its first member and the writer of its policy\n"
	       "its CA is in %s: keep a copy at a safe place\n",
	       name, authority->directory);
	return EXIT_DONE;
}

/* ---- invite ------------------------------------------------------------------------------------------------------ */

/* Hosts that live, as far as dfwsyncd knows them: this one may be away when the new one looks for the cluster. */
static void add_living(const struct invocation *call, struct invitation *invitation)
{
	_cleanup_json_ json_t *reply = NULL;
	const json_t *host;
	size_t i;

	if (sync_request(call->instance, "cluster-status", NULL, &reply) < 0)
		return;
	json_array_foreach (json_object_get(json_object_get(reply, "result"), "hosts"), i, host) {
		const char *state = json_text(host, "state"), *address = json_text(host, "address");

		if (state && address && strcmp(state, "alive") == 0)
			cluster_config_add_seed(invitation, address);
	}
}

static enum exit_status read_request(const struct invocation *call, const char *name,
				     struct public_key *key)
{
	const char *file = given_value(call, "--request");
	_cleanup_free_ char *text = NULL;
	struct request request;
	size_t nr;
	enum exit_status status = input_read(file, INVITATION_MAX, &text, &nr);
	int r;

	if (status != EXIT_DONE)
		return status;
	r = request_read(&request, text, nr);
	if (r < 0) {
		complain("%s: is no request of `cluster request`%s", file,
			 r == -EKEYREJECTED ? ": its signature is wrong" : "");
		return EXIT_INPUT;
	}
	if (strcmp(request.name, name) != 0) {
		complain("%s: is a request of %s, not of %s", file, request.name, name);
		return EXIT_INPUT;
	}
	*key = request.key;
	return EXIT_DONE;
}

static void make_key(struct invitation *invitation, struct public_key *key)
{
	secret_key_make(&invitation->secret);
	invitation->has_secret = true;
	*key = secret_key_public(&invitation->secret);
}

/* A member keeps its key, unless it asks for another one. */
static enum exit_status present_key(const struct invocation *call,
				    const struct authority *authority, const json_t *host,
				    struct public_key *key)
{
	const char *name = given_argument(call);
	struct certificate certificate;
	enum exit_status status;

	if (!given(call, "--operator")) {
		complain("there is a host %s already; for a new key of it run `cluster request %s` "
			 "there and give that with --request",
			 name, name);
		return EXIT_INPUT;
	}
	status = authority_certificate(authority, host, &certificate);
	*key = certificate.key;
	return status;
}

static enum exit_status certify(const struct invocation *call, struct authority *authority,
				struct invitation *invitation)
{
	const char *name = given_argument(call);
	json_t *host = authority_find(authority, name);
	uint32_t roles = (uint32_t)json_number(host, "roles");
	enum exit_status status = EXIT_DONE;
	struct public_key key;

	if (given(call, "--request"))
		status = read_request(call, name, &key);
	else if (host)
		status = present_key(call, authority, host, &key);
	else
		make_key(invitation, &key);
	if (given(call, "--operator"))
		roles |= ROLE_OPERATOR;
	if (status == EXIT_DONE)
		status = authority_certify(authority, host, name, &key, roles,
					   &invitation->certificate);
	return status;
}

static enum exit_status write_invitation(const struct invocation *call,
					 const struct invitation *invitation)
{
	const char *out = given_value(call, "--out");
	char *text = NULL;
	int r = invitation_write(invitation, &text);

	if (r == 0 && out && strcmp(out, "-") != 0)
		r = file_replace(out, text, strlen(text));
	else if (r == 0)
		puts(text);
	if (text)
		sodium_memzero(text, strlen(text));
	free(text);
	if (r == 0)
		return EXIT_DONE;
	complain("%s: %s", out ? out : "invitation", strerror(-r));
	return EXIT_FAILED;
}

enum exit_status run_cluster_invite(const struct invocation *call)
{
	_cleanup_invitation_ struct invitation *invitation = calloc(1, sizeof(*invitation));
	_cleanup_authority_ struct authority *authority = NULL;
	enum exit_status status;

	if (!invitation)
		return no_memory();
	status = authority_open(call, &authority);
	if (status == EXIT_DONE)
		status = cluster_config_seeds(call, invitation);
	if (status == EXIT_DONE)
		status = certify(call, authority, invitation);
	if (status != EXIT_DONE)
		return status;
	add_living(call, invitation);
	invitation->charter = authority->charter;
	return write_invitation(call, invitation);
}

/* ---- revoke ------------------------------------------------------------------------------------------------------ */

/* From there dfwsyncd takes it within a second, and tells it to all. */
static enum exit_status publish_charter(const struct invocation *call,
					const struct authority *authority)
{
	char directory[PATH_MAX];
	int r = identity_keep_charter(cluster_folder(call->instance, directory),
				      &authority->charter);

	return r < 0 ? cluster_folder_failed(directory, r) : EXIT_DONE;
}

static enum exit_status print_charter(const struct invocation *call,
				      const struct authority *authority, const char *done)
{
	cluster_folder_changed(call);
	if (call->json)
		return print_json(
			json_pack("{s:I}", "charter", (json_int_t)authority->charter.version));
	printf("%s; the hosts follow charter %llu as soon as they hear of it\n", done,
	       (unsigned long long)authority->charter.version);
	return EXIT_DONE;
}

enum exit_status run_cluster_revoke(const struct invocation *call)
{
	_cleanup_authority_ struct authority *authority = NULL;
	_cleanup_identity_ struct identity *self = NULL;
	const char *name = given_argument(call);
	bool old = given(call, "--old");
	enum exit_status status = authority_open(call, &authority);
	json_t *host;
	uint32_t id;

	if (status == EXIT_DONE)
		status = cluster_folder_identity(call, &self);
	if (status != EXIT_DONE)
		return status;
	host = authority_find(authority, name);
	if (!host) {
		complain("there is no host %s that is not revoked", name);
		return EXIT_INPUT;
	}
	id = (uint32_t)json_number(host, "id");
	if (!old && id == self->certificate.host) {
		complain("%s is this host, with the cluster's CA: `cluster leave` lets it go",
			 name);
		return EXIT_INPUT;
	}
	if (charter_revoke(&authority->charter, id,
			   old ? (uint64_t)json_number(host, "serial") : REVOKED_FOR_GOOD) < 0) {
		complain("more than %d hosts were revoked: rotate the CA's key, then retire the "
			 "old one",
			 CHARTER_REVOKED);
		return EXIT_FAILED;
	}
	status = authority_sign_charter(authority);
	if (status == EXIT_DONE)
		status = publish_charter(call, authority);
	if (status == EXIT_DONE && !old)
		status = authority_mark_revoked(authority, host);
	if (status != EXIT_DONE)
		return status;
	return print_charter(call, authority, old ? "former certificates revoked" : "host revoked");
}

/* ---- rotate ------------------------------------------------------------------------------------------------------ */

static enum exit_status rotate_host(const struct invocation *call)
{
	_cleanup_authority_ struct authority *authority = NULL;
	_cleanup_identity_ struct identity *self = NULL;
	char directory[PATH_MAX], path[PATH_MAX];
	enum exit_status status = cluster_folder_identity(call, &self);

	if (status != EXIT_DONE)
		return status;
	if (access(state_path(call->instance, "ca/ca.key", path), F_OK) < 0 && errno == ENOENT) {
		complain("the CA is not here. Three steps give this host a new key:\n"
			 "  here:                   dfwctl cluster request %s > request\n"
			 "  on the operator's host: dfwctl cluster invite %s --request request "
			 "--out "
			 "certificate\n"
			 "  here:                   dfwctl cluster join certificate",
			 self->certificate.name, self->certificate.name);
		return EXIT_FAILED;
	}
	status = authority_open(call, &authority);
	if (status == EXIT_DONE)
		status = certify_self(authority, authority_find(authority, self->certificate.name),
				      self->certificate.name,
				      cluster_folder(call->instance, directory));
	if (status != EXIT_DONE)
		return status;
	cluster_folder_changed(call);
	if (call->json)
		return print_json(json_pack("{s:s}", "host", self->certificate.name));
	printf("this host has a new key; `cluster revoke %s --old` ends the former one\n",
	       self->certificate.name);
	return EXIT_DONE;
}

/* Everybody's certificate, by the new key. They lie in the cluster folder until dfwsyncd has handed them out. */
static enum exit_status renew_all(const struct invocation *call, struct authority *authority,
				  const struct identity *self)
{
	size_t room = json_array_size(authority_hosts(authority)) * (CERTIFICATE_MAX + 2);
	_cleanup_free_ uint8_t *bytes = malloc(room + 1);
	char directory[PATH_MAX];
	enum exit_status status = EXIT_DONE;
	struct certificate certificate, former;
	struct writer writer;
	json_t *host;
	size_t i;
	int r;

	if (!bytes)
		return no_memory();
	cluster_folder(call->instance, directory);
	writer_init(&writer, bytes, room);
	json_array_foreach (json_object_get(authority->hosts, "hosts"), i, host) {
		if (json_is_true(json_object_get(host, "revoked")))
			continue;
		status = authority_certificate(authority, host, &former);
		if (status == EXIT_DONE)
			status = authority_certify(authority, host, former.name, &former.key,
						   former.roles, &certificate);
		if (status != EXIT_DONE)
			return status;
		if (certificate.host == self->certificate.host &&
		    public_key_equal(&certificate.key, &self->certificate.key)) {
			r = identity_keep_certificate(directory, &certificate);
			if (r < 0)
				return cluster_folder_failed(directory, r);
		} else {
			put_slice(&writer, (struct slice){certificate.bytes, certificate.nr});
		}
	}
	r = identity_keep_renewals(directory, bytes, writer_used(&writer));
	return r < 0 ? cluster_folder_failed(directory, r) : EXIT_DONE;
}

static enum exit_status rotate_ca(const struct invocation *call, struct authority *authority,
				  const struct identity *self)
{
	enum exit_status status = authority_add_key(authority);
	struct public_key key = secret_key_public(&authority->keys[0]);

	if (status != EXIT_DONE)
		return status;
	if (charter_trust(&authority->charter, &key) < 0) {
		complain("%d CA keys are trusted: retire the old ones first, with --retire",
			 CHARTER_KEYS);
		return EXIT_FAILED;
	}
	status = authority_sign_charter(authority);
	if (status == EXIT_DONE)
		status = publish_charter(call, authority);
	if (status == EXIT_DONE)
		status = renew_all(call, authority, self);
	if (status != EXIT_DONE)
		return status;
	return print_charter(call, authority,
			     "the CA has a new key, and every host gets a certificate of it");
}

/* Hosts that still show a certificate of an old key would be out. */
static enum exit_status check_renewed(const struct invocation *call,
				      const struct public_key *newest)
{
	_cleanup_json_ json_t *result = NULL;
	char issuer[2 * KEY_BYTES + 1];
	enum exit_status status;
	const json_t *host;
	size_t i;

	if (given(call, "--force"))
		return EXIT_DONE;
	sodium_bin2hex(issuer, sizeof(issuer), newest->bytes, KEY_BYTES);
	status = sync_call(call, "cluster-status", NULL, &result);
	if (status != EXIT_DONE)
		return status;
	json_array_foreach (json_object_get(result, "hosts"), i, host) {
		const char *state = json_text(host, "state"),
			   *shown = json_text(json_object_get(host, "certificate"), "issuer");

		if (state && strcmp(state, "left") == 0)
			continue;
		if (shown && strcmp(shown, issuer) == 0)
			continue;
		complain("host %s has no certificate of the new key yet; without it it is out "
			 "(--force: all the same)",
			 json_text(host, "host"));
		status = EXIT_FAILED;
	}
	return status;
}

static enum exit_status retire_keys(const struct invocation *call, struct authority *authority)
{
	struct public_key newest = secret_key_public(&authority->keys[0]);
	enum exit_status status = check_renewed(call, &newest);

	if (status != EXIT_DONE)
		return status;
	authority->charter.nr_keys = 0;
	charter_trust(&authority->charter, &newest);
	status = authority_sign_charter(authority);
	if (status == EXIT_DONE)
		status = publish_charter(call, authority);
	if (status != EXIT_DONE)
		return status;
	return print_charter(call, authority, "only the newest key of the CA is trusted");
}

enum exit_status run_cluster_rotate(const struct invocation *call)
{
	_cleanup_authority_ struct authority *authority = NULL;
	_cleanup_identity_ struct identity *self = NULL;
	enum exit_status status;

	if (!given(call, "--ca") && (given(call, "--retire") || given(call, "--force"))) {
		complain("--retire and --force go with --ca");
		return EXIT_INPUT;
	}
	if (!given(call, "--ca"))
		return rotate_host(call);
	status = authority_open(call, &authority);
	if (status == EXIT_DONE)
		status = cluster_folder_identity(call, &self);
	if (status != EXIT_DONE)
		return status;
	return given(call, "--retire") ? retire_keys(call, authority)
				       : rotate_ca(call, authority, self);
}
