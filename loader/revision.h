/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_REVISION_H
#define DFW_LOADER_REVISION_H

#include "daemon.h"
#include "realise.h"
#include "tables.h"

/* The inside of a revision, for the files that make one: realise.c and stage.c. */

/* What a port will be when the bank has flipped. */
struct staged_port {
	struct dfw_port_config config;
	struct dfw_rule_total_key *rules;
	bool same_config; /* the map in force serves on */
	bool same_rules;  /* and so does its `rules` map, with its counts */
};

struct revision {
	struct dfwd *d;
	uint32_t generation;
	struct wanted_port *wanted;
	size_t nr;
	struct compiled *compiled;	      /* NULL: no policy */
	const struct compiled_port **of_port; /* of wanted[], NULL: denies */
	struct staged_port *staged;

	struct index_use use; /* of the bank in force, and what we have taken */
	uint32_t tables;
	uint32_t *rulesets; /* index of each compiled rule set ... */
	uint32_t *to_make;  /* ... and again if it has to be made, else DFW_MAX_RULESETS */
	bool changed;
};

/* Marks what the bank in force refers to, as revision->use. */
int stage_find_use(struct revision *revision);
/* Makes tables and rule sets that are not there yet, or finds those in force that are the same. */
int stage_compiled(struct revision *revision);
/* Works out what each port will be, and whether anything changes at all. */
int stage_fill(struct revision *revision);
/* Fills the bank that is not in force. */
int stage_ports(const struct revision *revision);

#endif
