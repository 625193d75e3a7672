/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_PINS_LOCK_H
#define DFW_LOADER_PINS_LOCK_H

/* One dfwd for an instance's pins. The lock in the run directory keeps apart those of one run directory; with another, or
 * when it was removed meanwhile, two would give one slot to two vports. So the folder of the pins itself is locked. */

/* The folder under which the pins of a first start are made, to be renamed then: a daemon that dies half way leaves nothing
 * that looks like an instance. No instance is called so: '%' is not allowed in names. */
const char *pins_unfinished_path(const char *instance, const char *part, char *path);

/* *lock is to be kept open as long as the pins are ours. -ENOENT: the instance has none. -EBUSY, and other errors: logged. */
int pins_lock(const char *instance, int *lock);

/* The same; when there are none, that of an unfinished start is made, empty, and locked: it stays so when it is renamed. */
int pins_lock_or_make(const char *instance, int *lock);

#endif
