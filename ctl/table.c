// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

#define ROWS_AT_ONCE 2048
#define GAP	     2 /* spaces between columns */

struct cell {
	char *text;
	enum color color;
};

struct table {
	const struct column *columns;
	size_t nr_columns;
	size_t *widths;
	struct cell *cells;
	size_t nr_cells;
	bool color;
	bool header_printed;
	int error;
};

static const char *const color_codes[] = {
	[COLOR_NONE] = "",	     [COLOR_RED] = "\033[31m", [COLOR_GREEN] = "\033[32m",
	[COLOR_YELLOW] = "\033[33m", [COLOR_BOLD] = "\033[1m",
};

/* Characters on the screen: bytes of UTF-8 that begin one. */
static size_t screen_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

struct table *table_new(const struct column *columns, size_t nr, bool color)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	*table = (struct table){
		.columns = columns,
		.nr_columns = nr,
		.widths = calloc(nr, sizeof(*table->widths)),
		.cells = calloc(nr * ROWS_AT_ONCE, sizeof(*table->cells)),
		.color = color,
		.header_printed = !columns[0].header,
	};
	if (!table->widths || !table->cells) {
		table_free(table);
		return NULL;
	}
	for (size_t i = 0; i < nr; i++)
		table->widths[i] = columns[i].header ? screen_width(columns[i].header) : 0;
	return table;
}

static void print_spaces(size_t nr)
{
	printf("%*s", (int)nr, "");
}

static void print_cell(const struct table *table, size_t column, const char *text, enum color color)
{
	size_t padding = table->widths[column] - screen_width(text);
	bool last = column + 1 == table->nr_columns;

	if (table->columns[column].right)
		print_spaces(padding);
	if (table->color && color != COLOR_NONE)
		printf("%s%s\033[0m", color_codes[color], text);
	else
		fputs(text, stdout);
	if (last)
		putchar('\n');
	else
		print_spaces((table->columns[column].right ? 0 : padding) + GAP);
}

static void print_rows(struct table *table)
{
	if (!table->header_printed)
		for (size_t i = 0; i < table->nr_columns; i++)
			print_cell(table, i, table->columns[i].header, COLOR_BOLD);
	table->header_printed = true;
	for (size_t i = 0; i < table->nr_cells; i++) {
		struct cell *cell = &table->cells[i];

		print_cell(table, i % table->nr_columns, cell->text ? cell->text : "", cell->color);
		free(cell->text);
	}
	table->nr_cells = 0;
}

void table_cell(struct table *table, enum color color, const char *format, ...)
{
	size_t column = table->nr_cells % table->nr_columns, width;
	char *text = NULL;
	va_list args;
	int len;

	va_start(args, format);
	len = vasprintf(&text, format, args);
	va_end(args);
	if (len < 0) {
		text = NULL;
		table->error = -ENOMEM;
	}
	for (char *c = text; c && *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	width = text ? screen_width(text) : 0;
	if (width > table->widths[column])
		table->widths[column] = width;
	table->cells[table->nr_cells++] = (struct cell){.text = text, .color = color};
	if (table->nr_cells == table->nr_columns * ROWS_AT_ONCE)
		print_rows(table);
}

int table_end(struct table *table)
{
	print_rows(table);
	return table->error;
}

void table_free(struct table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < table->nr_cells; i++)
		free(table->cells[i].text);
	free(table->cells);
	free(table->widths);
	free(table);
}
