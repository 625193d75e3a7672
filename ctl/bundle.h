/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_BUNDLE_H
#define DFWCTL_BUNDLE_H

/*
 * A policy's texts: the main file and all it includes, as they were read. They travel to dfwd and lie in its state
 * folder in this form: {"main", "files": [{"name", "text"}]}.
 */

#include <jansson.h>

#include "command.h"
#include "policy/policy.h"

/* Reads `file` ("-": the standard input) and what it includes, and parses them. EXIT_INPUT when they cannot be read or
 * are no policy: *errors has the reasons then (the caller prints and frees them). */
enum exit_status bundle_read(const char *file, json_t **bundle, struct policy **policy,
			     struct policy_errors *errors);

/* Parses the texts of a bundle. As policy_parse(). */
int bundle_parse(const json_t *bundle, struct policy **policy, struct policy_errors *errors);

/* "policy/GENERATION.json", in the state folder. Returns `file`. */
#define GENERATION_FILE_LEN 32
const char *generation_file(unsigned int generation, char *file);

/* The saved generation. 0 or a negative errno, as state_json(). */
int bundle_saved(const char *instance, unsigned int generation, json_t **bundle);

static inline void cleanup_policy(struct policy **policy)
{
	policy_free(*policy);
}
#define _cleanup_policy_ _cleanup_(cleanup_policy)

#endif
