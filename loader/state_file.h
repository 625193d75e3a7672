/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_STATE_FILE_H
#define DFW_LOADER_STATE_FILE_H

#include <jansson.h>

/* Reads a list that dfwd keeps as JSON. -ENOENT: there is none; -EBADMSG: it is no JSON. All but the first are logged, with
 * the place. */
int state_file_read(const char *path, json_t **json);

#endif
