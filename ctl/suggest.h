/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_SUGGEST_H
#define DFWCTL_SUGGEST_H

/* "Did you mean": the nearest of the words that would have been right. */

#include <stddef.h>

/* Begin with {.word = word, .distance = SIZE_MAX}. */
struct guess {
	const char *word; /* what was typed */
	const char *best;
	size_t distance;
};

/* Remembers the candidate if it is near to the word, and nearer than those before. */
void guess_try(struct guess *guess, const char *candidate);

#endif
