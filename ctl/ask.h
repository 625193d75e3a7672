/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_ASK_H
#define DFWCTL_ASK_H

#include <jansson.h>

#include "command.h"

/* Questions to the hosts of the cluster, through dfwsyncd. */

/* Asks `host`, or all that live if it is NULL. Takes the reference of `question` (NULL: none), an object of arguments.
 * *answers is an array of {"host", "answer"}. Hosts that fail are complained about, and make the status EXIT_FAILED when all
 * is done; *answers is there then too. */
enum exit_status ask_hosts(const struct invocation *call, const char *host, const char *what,
			   json_t *question, json_t **answers);

#endif
