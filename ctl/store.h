/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_STORE_H
#define DFWCTL_STORE_H

#include <jansson.h>

#include "command.h"

/* Where a cluster keeps its policy: "local", or "etcd=URL[,URL]..." as people type it, and as cluster.json has it. */

/* The options that go with it, see store_files_copy. */
#define STORE_OPTIONS                                                                      \
	{.name = "--etcd-ca",                                                              \
	 .argument = "FILE",                                                               \
	 .help = "with etcd: who certifies its endpoints, PEM; needed for https",          \
	 .check = check_file,                                                              \
	 .completion = COMPLETE_FILE},                                                     \
		{.name = "--etcd-cert",                                                    \
		 .argument = "FILE",                                                       \
		 .help = "with etcd: what this host shows to it, PEM",                     \
		 .check = check_file,                                                      \
		 .completion = COMPLETE_FILE},                                             \
		{.name = "--etcd-key",                                                     \
		 .argument = "FILE",                                                       \
		 .help = "with etcd: the key of --etcd-cert, PEM",                         \
		 .check = check_file,                                                      \
		 .completion = COMPLETE_FILE},                                             \
	{                                                                                  \
		.name = "--etcd-password", .argument = "FILE",                             \
		.help = "with etcd: the first line is USER:PASSWORD", .check = check_file, \
		.completion = COMPLETE_FILE                                                \
	}

const char *check_store(const char *value);

/* Of a value that check_store has passed: the member "store" of cluster.json, or NULL without memory. */
json_t *store_json(const char *value);

/* The other way round; malloc'd, NULL without memory. */
char *store_text(const json_t *store);

/* What is missing for this store, or makes no sense with it, is wrong input. Complains. */
enum exit_status store_check(const struct invocation *call, const json_t *store,
			     const char *directory);
/* Copies the files that the options name into the cluster folder, and with the local store removes those that are there.
 * What is missing for this store is wrong input. Complains. */
enum exit_status store_files_copy(const struct invocation *call, const json_t *store,
				  const char *directory);

/* Replaces a file of the cluster folder; it gets the folder's owner. 0 or a negative errno. */
int cluster_file_write(const char *directory, const char *name, const void *bytes, size_t nr);

#endif
