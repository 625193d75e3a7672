/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include "selftests/sim/world.h"

enum scenario {
	SCENARIO_CALM,
	SCENARIO_MOVE,
	SCENARIO_CRASH,
	SCENARIO_PARTITION,
	SCENARIO_PAUSE,
	SCENARIO_DISK,
	SCENARIO_UNANNOUNCED,
	SCENARIO_STORE,
	SCENARIO_SHARE,
	SCENARIO_ALL,
	SCENARIOS
};

extern const char *const scenario_names[SCENARIOS];

/* Starts all hosts and adds all ports where their VMs are. */
void world_boot(struct world *world);

/* A policy generation more, at the writer, or in the shared store at any host; nothing when they cannot take it. */
void apply_next(struct world *world);

/* Trouble, then peace; world->failure says what went wrong. At most 64 hosts. */
void scenario_run(struct world *world, enum scenario scenario);

/* NULL when every host agrees on everything and every port is where it should be; else what is not so, in `text`. */
const char *world_unsettled(const struct world *world, char text[128]);

#endif
