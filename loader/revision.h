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
	const struct policy *policy; /* NULL: none */
	uint32_t generation;
	struct wanted_port *wanted;
	size_t nr;
	struct policy_port *ports; /* those that the policy is for, other hosts' among them */
	size_t nr_ports;
	size_t *wanted_of; /* of ports[] of this host: index in wanted[] */

	bool in_place;		   /* the tables in force can be changed to what they must be */
	struct compiled *compiled; /* NULL: no policy, or in place */
	struct compiled_port *fit; /* in place: what the compiler would have said */
	const struct compiled_port **of_port; /* of wanted[], NULL: denies */
	struct staged_port *staged;

	struct index_use use; /* of the bank in force, and what we have taken */
	uint32_t tables;
	uint32_t *rulesets;    /* index of each compiled rule set ... */
	struct row_maps *maps; /* ... and its maps */
	struct outer_batch batch;
	bool renewed; /* rule sets in force have other serials now */
	bool changed;
	struct took took;
};

/* The tables that of_port refers to: those in force when it is in place, or behind the commit. */
const struct compiled *revision_tables(const struct revision *revision);
/* Marks what the bank in force, and the tables that can be changed in place, refer to. */
int stage_find_use(const struct dfwd *d, struct index_use *use);
/* Makes tables and rule sets that are not there yet, or finds those in force that are the same. */
int stage_compiled(struct revision *revision);
/* Works out what each port will be, and whether anything changes at all. */
int stage_fill(struct revision *revision);
/* Adds to the batch what the bank that is not in force lacks. */
int stage_ports(struct revision *revision);

#endif
