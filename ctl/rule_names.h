/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_RULE_NAMES_H
#define DFWCTL_RULE_NAMES_H

/* Names of rules by stable id: those of a port in the kernel first, then those of the policy that a flow's generation
 * names, as long as dfwd keeps its text. Each such policy is read once, whatever the number of ports and flows: one with
 * thousands of groups takes a moment. */

#include <stdint.h>

struct rule_names;

/* NULL: no memory. */
struct rule_names *rule_names_new(const char *instance);
void rule_names_free(struct rule_names *names);

/* The port that is asked about from now on. */
void rule_names_of(struct rule_names *names, const char *vport);

/* "tier/name", or "#" and the id in hex when nothing knows it. Valid until the next call. */
const char *rule_name(struct rule_names *names, uint32_t id, uint32_t generation);

#endif
