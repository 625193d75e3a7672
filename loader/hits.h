/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_HITS_H
#define DFW_LOADER_HITS_H

#include <stdint.h>

#include "object.h"
#include "port.h"

/* Adds what a port's former `rules` map has counted to its rule_totals, by stable id and direction. Nothing may count
 * in it any more: the bank has flipped, and a grace period is over. */
int hits_fold(const struct object *object, const struct port *port, int former_hits,
	      const struct dfw_rule_total_key *rules, uint32_t hits_count);

#endif
