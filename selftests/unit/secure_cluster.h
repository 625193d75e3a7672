/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTESTS_SECURE_CLUSTER_H
#define SELFTESTS_SECURE_CLUSTER_H

/* A cluster's keys and certificates, made in memory. */

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "sync/secure/identity.h"

struct test_cluster {
	struct secret_key ca;
	struct charter charter;
	uint64_t serials;
};

static inline void test_cluster_sign(struct test_cluster *cluster)
{
	cluster->charter.version++;
	if (charter_sign(&cluster->charter, &cluster->ca, 1) < 0)
		abort();
}

static inline void test_cluster_make(struct test_cluster *cluster, uint8_t number)
{
	struct public_key key;

	memset(cluster, 0, sizeof(*cluster));
	if (sodium_init() < 0)
		abort();
	secret_key_make(&cluster->ca);
	key = secret_key_public(&cluster->ca);
	memset(&cluster->charter.cluster, number, sizeof(struct uuid));
	charter_trust(&cluster->charter, &key);
	test_cluster_sign(cluster);
}

/* A new certificate for the key in `identity`. */
static inline void test_certify(struct test_cluster *cluster, struct identity *identity,
				uint32_t host)
{
	struct certificate *certificate = &identity->certificate;

	*certificate = (struct certificate){.cluster = cluster->charter.cluster,
					    .host = host,
					    .serial = ++cluster->serials,
					    .key = secret_key_public(&identity->secret)};
	snprintf(certificate->name, sizeof(certificate->name), "h%u", host);
	if (certificate_sign(certificate, &cluster->ca) < 0)
		abort();
	identity->charter = cluster->charter;
}

static inline struct identity *test_identity(struct test_cluster *cluster, uint32_t host)
{
	struct identity *identity = calloc(1, sizeof(*identity));

	if (!identity)
		abort();
	secret_key_make(&identity->secret);
	test_certify(cluster, identity, host);
	return identity;
}

static inline struct identity *test_identity_copy(const struct identity *identity)
{
	struct identity *copy = malloc(sizeof(*copy));

	if (!copy)
		abort();
	*copy = *identity;
	return copy;
}

#endif
