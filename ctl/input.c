// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include "file.h"
#include "input.h"
#include "util.h"

static int read_standard_input(size_t longest, char **text, size_t *nr)
{
	_cleanup_free_ char *buffer = malloc(longest + 1);
	size_t used = 0;
	ssize_t got;

	if (!buffer)
		return -ENOMEM;
	while ((got = read(STDIN_FILENO, buffer + used, longest + 1 - used)) != 0) {
		if (got < 0 && errno != EINTR)
			return -errno;
		used += got > 0 ? (size_t)got : 0;
		if (used > longest)
			return -EFBIG;
	}
	buffer[used] = '\0';
	*text = TAKE_PTR(buffer);
	*nr = used;
	return 0;
}

enum exit_status input_read(const char *file, size_t longest, char **text, size_t *nr)
{
	int r = strcmp(file, "-") == 0 ? read_standard_input(longest, text, nr)
				       : file_read(file, longest, text, nr);

	if (r == 0)
		return EXIT_DONE;
	complain("%s: %s", file, strerror(-r));
	return r == -ENOMEM ? EXIT_FAILED : EXIT_INPUT;
}
