/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_REFUSAL_H
#define DFWCTL_REFUSAL_H

/* What is wrong with a policy, as the object that `policy check -j` prints. */

#include <jansson.h>

#include "bundle.h"
#include "command.h"

json_t *refusal_json(const struct policy_errors *errors);

/* With -j, prints the same of a daemon's reply, if that (NULL: there is none) says that a policy has errors. They are what is
 * wrong with it for the vports there are, which has no place in the texts: `file` is the main one of these. */
void show_refusal(const struct invocation *call, const json_t *reply, const char *file);

#endif
