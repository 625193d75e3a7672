/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_FILE_H
#define DFW_FILE_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#include "util.h"

/* Files that are whole or not there, whenever the power goes. All functions return 0 or a negative errno. */

/* A new content, safe on disk under another name: what is left to do cannot fail for want of space. */
struct staged_file {
	char path[PATH_MAX];
	char temporary[PATH_MAX]; /* "": nothing is staged */
};

#define _cleanup_staged_ _cleanup_(file_discard)

/* Writes `bytes` of `data` beside `path`, mode 0600, and syncs them. */
int file_stage(const char *path, const void *data, size_t bytes, struct staged_file *staged);
/* Puts it in the place of what was at `path`. */
int file_commit(struct staged_file *staged);
/* Removes what was staged and not committed. */
void file_discard(struct staged_file *staged);

/* file_stage and file_commit. */
int file_replace(const char *path, const void *data, size_t bytes);

/* The whole file; *data is malloc'd and has a NUL behind its end. -EFBIG: longer than `longest`. */
int file_read(const char *path, size_t longest, char **data, size_t *bytes);

/* Makes a directory and what is missing above it. The last one gets exactly `mode`, also if it was there. */
int directory_make(const char *path, mode_t mode);
/* Removes what is in a directory but for names that begin with `but`, and the directory if nothing is left. Folders in it stay.
 * Not being there is success. */
int directory_clear(const char *path, const char *but);
/* Removes a directory, what is in it, and so on down. Not being there is success. Follows no symbolic link. */
int directory_remove(const char *path);

#endif
