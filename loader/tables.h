/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_TABLES_H
#define DFW_LOADER_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "object.h"
#include "policy/policy.h"

/* What the compiler made, as maps in the kernel: tables of classes and rule sets, each under an index (see
 * <dfw/ruleset.h>). */

/* Which indices may not be given away: what the bank in force, or a revision being staged, refers to. */
struct index_use {
	bool rulesets[DFW_MAX_RULESETS];
	bool tables[DFW_MAX_TABLES];
};

/* Takes away what is not in use, so that memory does not grow with the number of revisions. */
int tables_collect(const struct object *object, const struct index_use *use);

/* 1: the kernel's tables at `index` say the same; 0: not. */
int tables_equal(const struct object *object, uint32_t index, const struct compiled *compiled);
int tables_make(const struct object *object, uint32_t index, const struct compiled *compiled);

/* 1: the kernel's rule set at `index` is the same, whatever its tables; 0: not. */
int ruleset_equal(const struct object *object, uint32_t index,
		  const struct compiled_ruleset *ruleset);

/* One number over the rules of a rule set: of the kernel's at `index`, and of one that was compiled. */
int ruleset_hash(const struct object *object, uint32_t index, uint64_t *hash);
uint64_t compiled_ruleset_hash(const struct compiled_ruleset *ruleset);

/* Makes the rule sets of `list` for which indices[i] is not DFW_MAX_RULESETS, there, on `tables`. */
int rulesets_make(const struct object *object, const struct compiled_ruleset *list,
		  const uint32_t *indices, size_t nr, uint32_t tables);

/* Stable ids of a rule set's rules, the default's last, and their number; *ids is malloc'd. */
int ruleset_rule_ids(const struct object *object, uint32_t index, uint32_t **ids, uint32_t *nr);

#endif
