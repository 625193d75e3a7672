// SPDX-License-Identifier: GPL-2.0
/* Certificates, charters, requests, invitations, and how they lie on disk. */
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "check.h"
#include "file.h"
#include "secure_cluster.h"
#include "sync/secure/address.h"
#include "sync/secure/invitation.h"
#include "util.h"

static struct test_cluster cluster;

/* Whether every change of a bit, every shorter length and one more byte is refused. */
static bool withstands(const uint8_t *bytes, size_t nr, int (*open)(const void *bytes, size_t nr))
{
	uint8_t *copy = malloc(nr + 1);
	bool all = true;

	if (!copy)
		abort();
	memcpy(copy, bytes, nr);
	copy[nr] = 0;
	for (size_t i = 0; i < nr; i++) {
		copy[i] ^= (uint8_t)(1U << i % 8);
		all &= open(copy, nr) < 0;
		copy[i] ^= (uint8_t)(1U << i % 8);
	}
	for (size_t shorter = 0; shorter < nr; shorter++)
		all &= open(copy, shorter) < 0;
	all &= open(copy, nr + 1) < 0;
	all &= open(copy, nr) == 0;
	free(copy);
	return all;
}

static int open_certificate(const void *bytes, size_t nr)
{
	struct certificate certificate;

	return certificate_open(&certificate, bytes, nr);
}

static int open_charter(const void *bytes, size_t nr)
{
	static struct charter charter;

	return charter_open(&charter, bytes, nr);
}

static void test_certificates(void)
{
	struct identity *identity = test_identity(&cluster, 7);
	struct certificate read;

	TEST("a certificate says what was signed")
	{
		CHECK(certificate_open(&read, identity->certificate.bytes,
				       identity->certificate.nr) == 0);
		CHECK(read.host == 7 && read.serial == 1 && read.roles == 0);
		CHECK_TEXT(read.name, "h7");
		CHECK(public_key_equal(&read.key, &identity->certificate.key));
		CHECK(charter_admits(&cluster.charter, &read) == 0);
	}
	TEST("nothing of it can be changed")
	{
		CHECK(withstands(identity->certificate.bytes, identity->certificate.nr,
				 open_certificate));
	}
	TEST("none is signed that no host would take")
	{
		struct certificate bad = identity->certificate;

		bad.host = 0;
		CHECK(certificate_sign(&bad, &cluster.ca) == -EINVAL);
		bad.host = HOST_ID_MAX + 1;
		CHECK(certificate_sign(&bad, &cluster.ca) == -EINVAL);
		bad = identity->certificate;
		bad.serial = 0;
		CHECK(certificate_sign(&bad, &cluster.ca) == -EINVAL);
		bad = identity->certificate;
		strcpy(bad.name, "a/b");
		CHECK(certificate_sign(&bad, &cluster.ca) == -EINVAL);
	}
	TEST("names are what can stand in files' names and on terminals")
	{
		CHECK(host_name_valid("h1") && host_name_valid("rack-3.node_4"));
		CHECK(!host_name_valid("") && !host_name_valid(".") && !host_name_valid("-a"));
		CHECK(!host_name_valid("a b") && !host_name_valid("a\n") && !host_name_valid("ä"));
	}
	TEST("both halves of a key belong together")
	{
		struct secret_key secret = identity->secret;

		CHECK(secret_key_whole(&secret));
		secret.bytes[0] ^= 1;
		CHECK(!secret_key_whole(&secret));
		secret = identity->secret;
		secret.bytes[63] ^= 1;
		CHECK(!secret_key_whole(&secret));
	}
	identity_free(identity);
}

static void test_charters(void)
{
	static struct charter next, other;
	struct secret_key keys[2];
	struct public_key key;

	TEST("nothing of a charter can be changed")
	{
		charter_revoke(&cluster.charter, 5, 3);
		charter_revoke(&cluster.charter, 4, REVOKED_FOR_GOOD);
		test_cluster_sign(&cluster);
		CHECK(withstands(cluster.charter.bytes, cluster.charter.nr, open_charter));
	}
	TEST("revocations are of certificates below a serial, or of the host for good")
	{
		struct certificate certificate = {.cluster = cluster.charter.cluster};

		certificate.issuer = secret_key_public(&cluster.ca);
		certificate.host = 5;
		certificate.serial = 2;
		CHECK(charter_admits(&cluster.charter, &certificate) == -EKEYREVOKED);
		certificate.serial = 3;
		CHECK(charter_admits(&cluster.charter, &certificate) == 0);
		certificate.host = 4;
		certificate.serial = 1000;
		CHECK(charter_admits(&cluster.charter, &certificate) == -EKEYREVOKED);
		CHECK(charter_bans(&cluster.charter, 4) && !charter_bans(&cluster.charter, 5));
		certificate.host = 6;
		CHECK(charter_admits(&cluster.charter, &certificate) == 0);
		certificate.issuer.bytes[0] ^= 1;
		CHECK(charter_admits(&cluster.charter, &certificate) == -EKEYREJECTED);
		certificate.cluster.bytes[0] ^= 1;
		CHECK(charter_admits(&cluster.charter, &certificate) == -EXDEV);
	}
	TEST("a revocation is never taken back")
	{
		charter_revoke(&cluster.charter, 4, 1);
		CHECK(charter_bans(&cluster.charter, 4));
	}
	TEST("one charter follows another only if it is newer, of this cluster, and signed by a "
	     "trusted key")
	{
		struct test_cluster stranger;

		next = cluster.charter;
		next.version++;
		CHECK(charter_sign(&next, &cluster.ca, 1) == 0);
		CHECK(charter_follows(&cluster.charter, &next) == 0);
		CHECK(charter_follows(&next, &cluster.charter) == -ESTALE);
		CHECK(charter_follows(&next, &next) == -ESTALE);
		test_cluster_make(&stranger, 2);
		CHECK(charter_sign(&next, &stranger.ca, 1) == 0);
		CHECK(charter_follows(&cluster.charter, &next) == -EKEYREJECTED);
		next.cluster.bytes[3] ^= 1;
		CHECK(charter_sign(&next, &cluster.ca, 1) == 0);
		CHECK(charter_follows(&cluster.charter, &next) == -EXDEV);
	}
	TEST("who slept through a change of the CA's key follows the charter that both keys sign")
	{
		secret_key_make(&keys[0]);
		keys[1] = cluster.ca;
		next = cluster.charter;
		next.version += 2;
		key = secret_key_public(&keys[0]);
		CHECK(charter_trust(&next, &key) == 0);
		key = secret_key_public(&keys[1]);
		CHECK(charter_distrust(&next, &key) == 0);
		CHECK(charter_distrust(&next, &key) == -ENOENT);
		CHECK(charter_sign(&next, keys, 1) == 0);
		CHECK(charter_follows(&cluster.charter, &next) == -EKEYREJECTED);
		CHECK(charter_sign(&next, keys, 2) == 0);
		CHECK(charter_follows(&cluster.charter, &next) == 0);
		CHECK(charter_open(&other, next.bytes, next.nr) == 0);
		CHECK(!charter_trusts(&other, &key));
	}
	TEST("the longest charter fits, one that is longer is not made")
	{
		next = cluster.charter;
		for (uint32_t host = 1; charter_revoke(&next, 2 * host, 1) == 0; host++)
			;
		CHECK(next.nr_revoked == CHARTER_REVOKED);
		while (next.nr_keys < CHARTER_KEYS) {
			secret_key_make(&keys[0]);
			key = secret_key_public(&keys[0]);
			CHECK(charter_trust(&next, &key) == 0);
		}
		secret_key_make(&keys[0]);
		key = secret_key_public(&keys[0]);
		CHECK(charter_trust(&next, &key) == -ENOSPC);
		CHECK(charter_sign(&next, keys, 2) == 0);
		CHECK(charter_open(&other, next.bytes, next.nr) == 0);
		CHECK(other.nr_revoked == CHARTER_REVOKED && other.nr_keys == CHARTER_KEYS);
	}
}

static void test_texts(void)
{
	struct identity *identity = test_identity(&cluster, 9);
	struct invitation *invitation = calloc(1, sizeof(*invitation));
	struct invitation *read = calloc(1, sizeof(*read));
	_cleanup_free_ char *text = NULL, *plain = NULL;
	struct request request;

	if (!invitation || !read)
		abort();
	invitation->certificate = identity->certificate;
	invitation->charter = cluster.charter;
	invitation->nr_seeds = 2;
	strcpy(invitation->seeds[0], "10.0.0.1:7472");
	strcpy(invitation->seeds[1], "[2001:db8::1]:7472");

	TEST("a request says who asks, and that he has the key")
	{
		CHECK(request_write("new", &identity->secret, &text) == 0);
		CHECK(request_read(&request, text, strlen(text)) == 0);
		CHECK_TEXT(request.name, "new");
		CHECK(public_key_equal(&request.key, &identity->certificate.key));
		strstr(text, "new")[0] = 'm';
		CHECK(request_read(&request, text, strlen(text)) == -EKEYREJECTED);
		CHECK(request_read(&request, text, strlen(text) / 2) == -EBADMSG);
		CHECK(request_read(&request, "{}", 2) == -EBADMSG);
	}
	TEST("an invitation brings what was put in, and no secret that was not")
	{
		CHECK(invitation_write(invitation, &plain) == 0);
		CHECK(!strstr(plain, "secret"));
		CHECK(invitation_read(read, plain, strlen(plain)) == 0);
		CHECK(read->certificate.host == 9 && !read->has_secret && read->nr_seeds == 2);
		CHECK_TEXT(read->seeds[1], "[2001:db8::1]:7472");
		CHECK(read->charter.version == cluster.charter.version);
	}
	TEST("with a secret it fits the certificate, or it is refused")
	{
		free(TAKE_PTR(text));
		invitation->secret = identity->secret;
		invitation->has_secret = true;
		CHECK(invitation_write(invitation, &text) == 0);
		CHECK(invitation_read(read, text, strlen(text)) == 0 && read->has_secret);
		free(TAKE_PTR(text));
		secret_key_make(&invitation->secret);
		CHECK(invitation_write(invitation, &text) == 0);
		CHECK(invitation_read(read, text, strlen(text)) == -EKEYREJECTED);
		invitation->has_secret = false;
	}
	TEST("of a revoked host, of another cluster, or with an address that is none it is refused")
	{
		struct test_cluster stranger;

		free(TAKE_PTR(text));
		charter_revoke(&invitation->charter, 9, REVOKED_FOR_GOOD);
		invitation->charter.version++;
		CHECK(charter_sign(&invitation->charter, &cluster.ca, 1) == 0);
		CHECK(invitation_write(invitation, &text) == 0);
		CHECK(invitation_read(read, text, strlen(text)) == -EKEYREJECTED);
		free(TAKE_PTR(text));
		test_cluster_make(&stranger, 3);
		invitation->charter = stranger.charter;
		CHECK(invitation_write(invitation, &text) == 0);
		CHECK(invitation_read(read, text, strlen(text)) == -EKEYREJECTED);
		free(TAKE_PTR(text));
		invitation->charter = cluster.charter;
		strcpy(invitation->seeds[0], "somewhere:7472");
		CHECK(invitation_write(invitation, &text) == 0);
		CHECK(invitation_read(read, text, strlen(text)) == -EBADMSG);
	}
	invitation_free(invitation);
	invitation_free(read);
	identity_free(identity);
}

static void test_addresses(void)
{
	char canonical[WIRE_TEXT_LEN];

	TEST("addresses are numeric, and have one form")
	{
		static const char *const bad[] = {
			"",
			":",
			"10.0.0.1",
			"10.0.0.1:",
			"10.0.0.1:0",
			"10.0.0.1:65535",
			"10.0.0.1:99999",
			"10.0.0.1:+1",
			"10.0.0.1: 1",
			"10.0.0.1:7472x",
			"10.0.0:7472",
			"010.0.0.1:7472",
			"example.org:7472",
			"2001:db8::1:7472",
			"[2001:db8::1]",
			"[]:7472",
			"[10.0.0.1]:7472",
			"[2001:db8::1:7472",
			"10.0.0.1:7472;tcp://10.0.0.2:7472",
		};

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
			if (!CHECK(address_canonical(bad[i], canonical) == -EINVAL))
				printf("# %s\n", bad[i]);
		CHECK(address_canonical("10.0.0.1:7472", canonical) == 0);
		CHECK_TEXT(canonical, "10.0.0.1:7472");
		CHECK(address_canonical("[2001:DB8:0:0::1]:007", canonical) == 0);
		CHECK_TEXT(canonical, "[2001:db8::1]:7");
	}
}

static void test_files(void)
{
	char directory[] = "/tmp/dfw-unit-secure.XXXXXX", path[PATH_MAX];
	struct identity *identity = test_identity(&cluster, 12), *read = NULL;
	struct secret_key next;
	struct stat stat_of;
	uint64_t stamp;

	if (!mkdtemp(directory))
		abort();
	TEST("an identity is read as it was kept, with keys that only their owner can read")
	{
		CHECK(identity_load(directory, &read) == -ENOENT);
		CHECK(identity_keep_next_secret(directory, &identity->secret) == 0);
		CHECK(identity_take_next_secret(directory) == 0);
		CHECK(identity_load(directory, &read) == -ENOENT);
		CHECK(identity_keep_certificate(directory, &identity->certificate) == 0);
		CHECK(identity_load(directory, &read) == -ENOENT);
		CHECK(identity_keep_charter(directory, &cluster.charter) == 0);
		CHECK(identity_load(directory, &read) == 0 && read->certificate.host == 12);
		snprintf(path, sizeof(path), "%s/host.key", directory);
		CHECK(stat(path, &stat_of) == 0 && (stat_of.st_mode & 0777) == 0600);
	}
	TEST("a new key is in use from the moment its certificate is there")
	{
		identity_free(TAKE_PTR(read));
		stamp = identity_stamp(directory);
		secret_key_make(&next);
		CHECK(identity_keep_next_secret(directory, &next) == 0);
		CHECK(identity_load(directory, &read) == 0);
		CHECK(memcmp(&read->secret, &identity->secret, sizeof(next)) == 0);
		identity_free(TAKE_PTR(read));
		identity->secret = next;
		test_certify(&cluster, identity, 12);
		CHECK(identity_keep_certificate(directory, &identity->certificate) == 0);
		CHECK(identity_load(directory, &read) == 0);
		CHECK(read && memcmp(&read->secret, &next, sizeof(next)) == 0);
		identity_free(TAKE_PTR(read));
		CHECK(identity_take_next_secret(directory) == 0);
		CHECK(identity_load(directory, &read) == 0);
		CHECK(read && memcmp(&read->secret, &next, sizeof(next)) == 0);
		CHECK(identity_stamp(directory) != stamp);
	}
	TEST("a charter that revokes this host, files that do not fit, and damaged ones are told "
	     "apart")
	{
		struct identity *other = test_identity(&cluster, 13);

		identity_free(TAKE_PTR(read));
		CHECK(identity_keep_certificate(directory, &other->certificate) == 0);
		CHECK(identity_load(directory, &read) == -EKEYREJECTED);
		CHECK(identity_keep_certificate(directory, &identity->certificate) == 0);
		charter_revoke(&cluster.charter, 12, REVOKED_FOR_GOOD);
		test_cluster_sign(&cluster);
		CHECK(identity_keep_charter(directory, &cluster.charter) == 0);
		CHECK(identity_load(directory, &read) == -EKEYREVOKED);
		snprintf(path, sizeof(path), "%s/charter", directory);
		CHECK(file_replace(path, "x", 1) == 0);
		CHECK(identity_load(directory, &read) == -EBADMSG);
		identity_free(other);
	}
	directory_remove(directory);
	identity_free(identity);
	identity_free(read);
}

int main(void)
{
	test_cluster_make(&cluster, 1);
	test_certificates();
	test_charters();
	test_texts();
	test_addresses();
	test_files();
	return check_done();
}
