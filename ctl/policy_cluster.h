/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_POLICY_CLUSTER_H
#define DFWCTL_POLICY_CLUSTER_H

#include <jansson.h>

#include "command.h"

/* Policies in a cluster: given to dfwsyncd, and waited for on all hosts. */

/* Makes the texts of a bundle the next generation; `cause` is what history shows. With --wait also waits for the hosts, and
 * fails when one has not realised it in time. `from`, if not 0, is the generation that is rolled back to. */
enum exit_status cluster_apply(const struct invocation *call, const json_t *bundle,
			       const char *cause, json_int_t from);

#endif
