/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_AUTHORITY_H
#define DFWCTL_AUTHORITY_H

#include <jansson.h>

#include "command.h"
#include "sync/secure/identity.h"

/*
 * The cluster's CA, in the folder ca/ of an instance, of root alone:
 *
 *	ca.key		its secret keys, the one that signs certificates first; former ones sign the charter with it
 *	hosts.json	{"cluster": "hex", "next": 4, "serial": 7, "hosts": [{"id", "name", "serial", "roles", "certificate",
 *			"revoked"}]}: who was ever certified, so that no id and no serial is given twice
 *	charter		the newest one
 *
 * Functions complain and return the status that dfwctl ends with.
 */
struct authority {
	const struct invocation *call;
	char directory[4096];
	struct secret_key keys[CHARTER_KEYS];
	size_t nr_keys;
	json_t *hosts; /* hosts.json */
	struct charter charter;
};

/* A new CA, with a charter that trusts its key. Nothing may be there. */
enum exit_status authority_make(const struct invocation *call, struct authority **authority);
enum exit_status authority_open(const struct invocation *call, struct authority **authority);
void authority_free(struct authority *authority); /* wipes the keys */

/* NULL: no host of that name, or it is revoked. */
json_t *authority_find(const struct authority *authority, const char *name);
const json_t *authority_hosts(const struct authority *authority);

/* A certificate for `key`: of a new host, or a newer one of `host`, which came from authority_find. It is written down
 * before it is there. */
enum exit_status authority_certify(struct authority *authority, json_t *host, const char *name,
				   const struct public_key *key, uint32_t roles,
				   struct certificate *certificate);
/* Its newest certificate. */
enum exit_status authority_certificate(const struct authority *authority, const json_t *host,
				       struct certificate *certificate);
/* Signs the charter anew, after it was changed, and keeps it. */
enum exit_status authority_sign_charter(struct authority *authority);
/* Marks a host as revoked, for good. */
enum exit_status authority_mark_revoked(struct authority *authority, json_t *host);
/* A new key that signs from now on; not in the charter yet. */
enum exit_status authority_add_key(struct authority *authority);

#endif
