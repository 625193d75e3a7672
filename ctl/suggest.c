// SPDX-License-Identifier: GPL-2.0
#include <stdbool.h>
#include <string.h>

#include "suggest.h"

#define WORD_LEN 64

/* Levenshtein, and a swap of neighbours costs one. Both are cut to WORD_LEN - 1. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t rows[3][WORD_LEN], *above = rows[0], *row = rows[1], *two_above = rows[2];
	size_t a_len = strnlen(a, WORD_LEN - 1), b_len = strnlen(b, WORD_LEN - 1);

	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *free_row = two_above;

		two_above = above;
		above = row;
		row = free_row;
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    two_above[j - 2] + 1 < best)
				best = two_above[j - 2] + 1;
			row[j] = best;
		}
	}
	return row[b_len];
}

void guess_try(struct guess *guess, const char *candidate)
{
	size_t len = strlen(guess->word);
	size_t distance = edit_distance(guess->word, candidate);
	/* What is begun but not finished is near as well: "--prof". */
	bool begun = len >= 2 && strncmp(candidate, guess->word, len) == 0;

	if (begun)
		distance = 1;
	if (distance <= (len < 4 ? 1 : len / 3 + 1) && distance < guess->distance) {
		guess->best = candidate;
		guess->distance = distance;
	}
}
