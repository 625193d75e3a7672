// SPDX-License-Identifier: GPL-2.0
/* cluster request, join: what is done on the host that becomes a member, or gets a new key. */
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "cluster_config.h"
#include "cluster_folder.h"
#include "file.h"
#include "input.h"
#include "json.h"
#include "output.h"

#define _cleanup_identity_   _cleanup_(cleanup_identity)
#define _cleanup_invitation_ _cleanup_(cleanup_invitation)

static void cleanup_identity(struct identity **identity)
{
	identity_free(*identity);
}

static void cleanup_invitation(struct invitation **invitation)
{
	invitation_free(*invitation);
}

/* ---- request ----------------------------------------------------------------------------------------------------- */

/* A key that waits for its certificate is used again: the request may have been lost. */
static int next_secret(const char *directory, struct secret_key *secret)
{
	int r = identity_next_secret(directory, secret);

	if (r != -ENOENT && r != -EBADMSG)
		return r;
	secret_key_make(secret);
	return identity_keep_next_secret(directory, secret);
}

enum exit_status run_cluster_request(const struct invocation *call)
{
	_cleanup_identity_ struct identity *self = NULL;
	_cleanup_free_ char *text = NULL;
	const char *name = given_argument(call);
	struct secret_key secret;
	char directory[PATH_MAX];
	enum exit_status status;
	int r;

	cluster_folder(call->instance, directory);
	if (identity_load(directory, &self) == 0 && strcmp(self->certificate.name, name) != 0) {
		complain("this host is %s in its cluster", self->certificate.name);
		return EXIT_INPUT;
	}
	status = cluster_folder_make(directory);
	if (status != EXIT_DONE)
		return status;
	r = next_secret(directory, &secret);
	if (r == 0)
		r = request_write(name, &secret, &text);
	secret_key_wipe(&secret);
	if (r < 0)
		return cluster_folder_failed(directory, r);
	puts(text);
	return EXIT_DONE;
}

/* ---- join -------------------------------------------------------------------------------------------------------- */

static enum exit_status read_invitation(const char *file, struct invitation *invitation)
{
	char *text = NULL;
	size_t nr = 0;
	enum exit_status status = input_read(file, INVITATION_MAX, &text, &nr);
	int r = 0;

	if (status == EXIT_DONE)
		r = invitation_read(invitation, text, nr);
	if (text)
		sodium_memzero(text, nr);
	free(text);
	if (status != EXIT_DONE)
		return status;
	if (r == -ENOMEM)
		return no_memory();
	if (r < 0) {
		complain("%s: is no invitation of `cluster invite`%s", file,
			 r == -EKEYREJECTED ? ": it was changed, or is of a revoked host" : "");
		return EXIT_INPUT;
	}
	return EXIT_DONE;
}

static bool fits(int r, struct secret_key *secret, const struct certificate *certificate)
{
	struct public_key key;

	if (r < 0)
		return false;
	key = secret_key_public(secret);
	secret_key_wipe(secret);
	return public_key_equal(&key, &certificate->key);
}

/* What the invitation brings, what `cluster request` has made, or the key that is in use already. */
static enum exit_status take_key(const char *directory, const struct invitation *invitation)
{
	const struct certificate *certificate = &invitation->certificate;
	struct secret_key secret;
	int r;

	if (invitation->has_secret) {
		r = identity_keep_next_secret(directory, &invitation->secret);
		return r < 0 ? cluster_folder_failed(directory, r) : EXIT_DONE;
	}
	if (fits(identity_next_secret(directory, &secret), &secret, certificate) ||
	    fits(identity_secret(directory, &secret), &secret, certificate))
		return EXIT_DONE;
	complain("the invitation is for another key than `cluster request` has made here");
	return EXIT_INPUT;
}

/* A join that was cut short has the certificate already. */
static bool is_certified(const char *directory, const struct certificate *certificate)
{
	_cleanup_identity_ struct identity *self = NULL;

	return identity_load(directory, &self) == 0 && self->certificate.nr == certificate->nr &&
	       memcmp(self->certificate.bytes, certificate->bytes, certificate->nr) == 0;
}

static enum exit_status certify(const char *directory, const struct invitation *invitation)
{
	enum exit_status status;

	if (is_certified(directory, &invitation->certificate))
		return EXIT_DONE;
	status = take_key(directory, invitation);
	if (status == EXIT_DONE)
		status = cluster_folder_certify(directory, &invitation->certificate,
						&invitation->charter);
	return status;
}

/* A member may get a new certificate, and nothing else. */
static enum exit_status check_member(const char *directory, const struct invitation *invitation)
{
	_cleanup_identity_ struct identity *self = NULL;
	const struct certificate *certificate = &invitation->certificate;
	int r = identity_load(directory, &self);

	if (r < 0)
		return cluster_folder_failed(directory, r);
	if (memcmp(&self->charter.cluster, &certificate->cluster, sizeof(struct uuid)) != 0 ||
	    self->certificate.host != certificate->host) {
		complain("this host is %s of a cluster already: `cluster leave` ends that",
			 self->certificate.name);
		return EXIT_FAILED;
	}
	if (certificate->serial <= self->certificate.serial) {
		complain("this host has a certificate that is as new, or newer");
		return EXIT_INPUT;
	}
	return EXIT_DONE;
}

enum exit_status run_cluster_join(const struct invocation *call)
{
	_cleanup_invitation_ struct invitation *invitation = calloc(1, sizeof(*invitation));
	const struct certificate *certificate;
	char directory[PATH_MAX];
	enum exit_status status;
	bool member;

	if (!invitation)
		return no_memory();
	certificate = &invitation->certificate;
	status = read_invitation(given_argument(call), invitation);
	if (status != EXIT_DONE)
		return status;
	member = cluster_folder_is_member(cluster_folder(call->instance, directory));
	if (!member && !given(call, "--address")) {
		complain("--address is needed: where this host shall listen for the others");
		return EXIT_INPUT;
	}
	status = member ? check_member(directory, invitation)
			: cluster_config_check(call, directory, invitation);
	if (status == EXIT_DONE && !member)
		status = cluster_folder_make(directory);
	if (status == EXIT_DONE)
		status = certify(directory, invitation);
	if (status == EXIT_DONE && !member)
		status =
			cluster_config_write(call, directory, certificate->name, invitation, false);
	if (status != EXIT_DONE)
		return status;
	cluster_folder_changed(call);
	if (call->json)
		return print_json(json_pack("{s:s, s:I}", "host", certificate->name, "id",
					    (json_int_t)certificate->host));
	printf(member ? "host %s (%u) has its new certificate\n"
		      : "this host is %s (%u) of the cluster now\n",
	       certificate->name, certificate->host);
	return EXIT_DONE;
}
