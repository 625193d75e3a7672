/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_DRIFT_H
#define DFWCTL_DRIFT_H

#include "command.h"

/* What each host finds when it compares its kernel with its policy; EXIT_FAILED when something differs. */
enum exit_status print_drift(const struct invocation *call);

#endif
