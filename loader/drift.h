/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_DRIFT_H
#define DFW_LOADER_DRIFT_H

#include <jansson.h>

struct dfwd;

/* Compares what the kernel enforces, read back, with what the policy in force says: each vport's rules and their rows, the
 * classes of addresses and services. {"generation", "object", "vports": how many, "hash" of all that was read back,
 * "wanted" by the policy, "drifted": [{"vport", "what"}]}. Equal hashes of two hosts mean nothing: they have other
 * vports. Rows and classes count as long as the tables in force are known (<live.h>), which is until writing to them has
 * failed. 0 or a negative errno: logged. */
int drift_check(struct dfwd *d, json_t **result);

#endif
