/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_TABLE_H
#define DFWCTL_TABLE_H

/* Aligned tables for people, on stdout. Widths come from what is in the cells; a long table is printed in parts, so
 * that a million flows need no memory, and its columns may then widen once. */

#include <stdbool.h>
#include <stddef.h>

#include "util.h"

enum color {
	COLOR_NONE,
	COLOR_RED,
	COLOR_GREEN,
	COLOR_YELLOW,
	COLOR_BOLD,
};

struct column {
	const char *header; /* NULL: the table has no headers */
	bool right;	    /* numbers */
};
#define COLUMN(text)  {.header = (text)}
#define NUMBERS(text) {.header = (text), .right = true}

struct table;

/* NULL: no memory. `columns` must outlive the table. */
struct table *table_new(const struct column *columns, size_t nr, bool color);

/* The next cell; the row ends with its last column. Control characters become '?': names and tags come from others, and
 * a terminal obeys escapes. */
void table_cell(struct table *table, enum color color, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Prints what is left. 0, or -ENOMEM when a cell was lost. */
int table_end(struct table *table);

void table_free(struct table *table);

static inline void cleanup_table(struct table **table)
{
	table_free(*table);
}
#define _cleanup_table_ _cleanup_(cleanup_table)

#endif
