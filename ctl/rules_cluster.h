/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_RULES_CLUSTER_H
#define DFWCTL_RULES_CLUSTER_H

#include <jansson.h>

#include "command.h"

/* Rules of vports of other hosts, and hits summed over hosts. */

/* The rules of a vport that is on another host, as its host tells; an array. EXIT_INPUT: nobody has it, complained. */
enum exit_status rules_elsewhere(const struct invocation *call, const char *vport, json_t **rules);

/* All rules with their hits over all vports of all hosts, or over all hosts that have had `vport`. Prints. */
enum exit_status rules_summed(const struct invocation *call, const char *vport);

#endif
