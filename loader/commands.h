/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_COMMANDS_H
#define DFW_LOADER_COMMANDS_H

#include <jansson.h>

#include "daemon.h"

/* Runs a request of the control protocol; returns the reply, NULL without memory. */
json_t *command_run(struct dfwd *d, const json_t *request);

/* A line for each error, "file:line:column: text". */
json_t *policy_errors_json(const struct policy_errors *errors);

#endif
