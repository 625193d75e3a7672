// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "control.h"
#include "file.h"
#include "log.h"
#include "state_file.h"
#include "util.h"

int state_file_read(const char *path, json_t **json)
{
	_cleanup_free_ char *text = NULL;
	json_error_t error;
	size_t bytes;
	int r = file_read(path, CONTROL_MAX_BYTES, &text, &bytes);

	if (r == -ENOENT)
		return r;
	if (r < 0)
		return log_errno(r, "%s", path);
	*json = json_loadb(text, bytes, 0, &error);
	if (*json)
		return 0;
	log_error("%s:%d:%d: %s", path, error.line, error.column, error.text);
	return -EBADMSG;
}
