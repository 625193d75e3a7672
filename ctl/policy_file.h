/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_POLICY_FILE_H
#define DFWCTL_POLICY_FILE_H

/* Policies as files: those that the operator names, and those that dfwd has saved. */

#include <jansson.h>

#include "bundle.h"
#include "command.h"

/* Reads `file` ("-": the standard input) and what it includes, and parses them. EXIT_INPUT when they cannot be read or
 * are no policy: *errors has the reasons then (the caller prints and frees them). */
enum exit_status bundle_read(const char *file, json_t **bundle, struct policy **policy,
			     struct policy_errors *errors);

/* The same of a file that includes no other, without parsing it. A negative errno: it may include some, or cannot be read;
 * bundle_read() can tell. */
int bundle_read_alone(const char *file, json_t **bundle);

/* "policy/GENERATION.json", in the state folder. Returns `file`. */
#define GENERATION_FILE_LEN 32
const char *generation_file(unsigned int generation, char *file);

/* The saved generation. 0 or a negative errno, as state_json(). */
int bundle_saved(const char *instance, unsigned int generation, json_t **bundle);

/* What the kernel enforces; it may be ahead of the disk by a moment, and behind it after boot. 0: nothing. */
enum exit_status generation_active(const struct invocation *call, unsigned int *generation);
/* The texts of the policy in force. Both complain. */
enum exit_status bundle_active(const struct invocation *call, json_t **bundle);

static inline void cleanup_policy(struct policy **policy)
{
	policy_free(*policy);
}
#define _cleanup_policy_ _cleanup_(cleanup_policy)

#endif
