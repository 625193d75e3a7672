/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_SWEEP_H
#define DFW_LOADER_SWEEP_H

#include "daemon.h"

/* Takes expired flows away, a few ports at each call, so that every port has its turn once in config.sweep_interval.
 * Expired flows match no packet whether swept or not; this is for memory, and for the events that tell of their end. */
void sweep_some(struct dfwd *d);

#endif
