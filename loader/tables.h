/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_TABLES_H
#define DFW_LOADER_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "object.h"
#include "outer_batch.h"
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
/* Makes them, and adds them to the batch. */
int tables_make(const struct object *object, uint32_t index, const struct compiled *compiled,
		struct outer_batch *batch);

/* Maps of a rule set that change when a class comes; -1: not open. */
struct row_maps {
	int refs;
	int chunks;
};

void row_maps_close(struct row_maps *maps);

/* 1: the kernel's rule set at `index` is the same, whatever its tables; 0: not. */
int ruleset_equal(const struct object *object, uint32_t index,
		  const struct compiled_ruleset *ruleset);

/* One number over the rules of a rule set: of the kernel's at `index`, and of one that was compiled. */
int ruleset_hash(const struct object *object, uint32_t index, uint64_t *hash);
uint64_t compiled_ruleset_hash(const struct compiled_ruleset *ruleset);

/* The same over its rows. Where rows lie is a matter of what came first, so `like` is what was written there. */
int rows_hash(const struct object *object, uint32_t index, const struct compiled_ruleset *like,
	      uint64_t *hash);
uint64_t compiled_rows_hash(const struct compiled_ruleset *ruleset, uint32_t tables);

/* And over tables: those in the kernel; those compiled, whose services are a hash already. */
int tables_hash(const struct object *object, uint32_t index, const struct compiled *like,
		uint64_t *hash);
uint64_t compiled_tables_hash(const struct compiled *compiled, uint64_t services);
uint64_t services_hash(const struct dfw_l4_block *blocks);

struct ruleset_place {
	uint32_t index;
	uint32_t tables;
	uint32_t serial; /* that no rule set had before */
};

/* Makes it, adds it to the batch, and opens *maps. */
int ruleset_make(const struct object *object, const struct compiled_ruleset *ruleset,
		 const struct ruleset_place *place, struct outer_batch *batch,
		 struct row_maps *maps);
/* The highest serial that a rule set in the kernel has, or a decision of one that is gone. */
int decisions_last_serial(const struct object *object, uint32_t *serial);
/* Gives one that is in use another serial. What it has decided is not found by packets that come a grace period later. */
int ruleset_renew(const struct object *object, uint32_t index, uint32_t serial);

/* Stable ids of a rule set's rules, the default's last, and their number; *ids is malloc'd. */
int ruleset_rule_ids(const struct object *object, uint32_t index, uint32_t **ids, uint32_t *nr);

/* For changes in place: the maps at an index; fds. */
int table_exact_open(const struct object *object, uint32_t index);
int table_prefix4_open(const struct object *object, uint32_t index);
int table_prefix_open(const struct object *object, uint32_t index);
/* The nodes of an addr_prefix4, to be read and written. NULL: errno says why. */
struct dfw_v4_node *v4_nodes_map(int map, size_t room);
void v4_nodes_unmap(struct dfw_v4_node *nodes, size_t room);
int row_maps_open(const struct object *object, uint32_t index, struct row_maps *maps);
/* Writes chunks, then the reference to them. */
int row_write(const struct row_maps *maps, const struct compiled_ruleset *ruleset,
	      const struct row_change *change);

#endif
