/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_INPUT_H
#define DFWCTL_INPUT_H

#include "command.h"

/* A whole file, or the standard input for "-". *text is malloc'd and has a NUL behind its end. Complains. */
enum exit_status input_read(const char *file, size_t longest, char **text, size_t *nr);

#endif
