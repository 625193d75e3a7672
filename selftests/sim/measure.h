/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SIM_MEASURE_H
#define SIM_MEASURE_H

#include <stdint.h>

struct measure {
	uint64_t seed;
	uint32_t hosts, ports;
	double loss;
};

/* A large cluster: how fast it comes together, how fast a rumour spreads, what it sends when nothing happens,
 * how soon every host has realised a policy. All print, and
 * return EXIT_FAILURE when a target of docs/sync-design.md is missed. */
int measure_spread(const struct measure *measure);
int measure_idle(const struct measure *measure);
int measure_apply(const struct measure *measure);

#endif
