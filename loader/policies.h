/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_POLICIES_H
#define DFW_LOADER_POLICIES_H

#include <jansson.h>

#include "daemon.h"
#include "realise.h"

/* Generations that come into force. Errors are logged, those of the policy are in *errors with -EINVAL. */

struct applied {
	uint32_t generation;
	size_t vports;
	size_t rules;
	uint64_t parse_us;
	struct took took;
};

/* A new generation from {"main", "files"}. */
int policies_apply(struct dfwd *d, const json_t *bundle, const char *cause, struct applied *applied,
		   struct policy_errors *errors);
/* A new generation with the texts of an old one; 0: of the one before the active. *from says which. */
int policies_rollback(struct dfwd *d, uint32_t generation, struct applied *applied, uint32_t *from,
		      struct policy_errors *errors);

/* The same in steps, for a generation of the cluster. Check: would it come into force here? Stage: everything is done that
 * can be done before. Flip: one more write to the kernel; -ESTALE: it is not the one that is staged. */
int policies_check(struct dfwd *d, const json_t *bundle, struct policy_errors *errors);
int policies_stage(struct dfwd *d, uint32_t generation, const json_t *bundle,
		   struct policy_errors *errors);
int policies_flip(struct dfwd *d, uint32_t generation, struct applied *applied,
		  struct policy_errors *errors);
void policies_unstage(struct dfwd *d);

/* Reads the active generation of the disk, after it has been compared with what is in force in the kernel. */
int policies_restore(struct dfwd *d);

#endif
