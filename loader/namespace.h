/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_NAMESPACE_H
#define DFW_LOADER_NAMESPACE_H

#include <stdint.h>

/* The network namespace of an instance's devices. Pins are seen from all of them, and name devices by indices, which mean
 * others elsewhere. */

/* The cookie of the namespace that we are in, a number that no other gets until the next boot. Errors are logged. */
int namespace_cookie(uint64_t *cookie);

/* Asked before devices are looked for by the indices that the pins have, if there are pins. -ESTALE, logged: they are of
 * another namespace, and something may be attached there. When nothing is any more, since it has gone with its devices,
 * the pins forget those. Pins that do not tell, of a dfwd that wrote no cookie, are taken for ours. */
int namespace_check(const char *instance);

#endif
