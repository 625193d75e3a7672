/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_OUTPUT_H
#define DFWCTL_OUTPUT_H

/* How values look: exact in JSON, readable for people. */

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include <dfw/types.h>

#include "command.h"
#include "table.h"
#include "view.h"

#define QUANTITY_TEXT_LEN 16
#define DURATION_TEXT_LEN 24
#define ENDPOINT_TEXT_LEN 64

/* "98304", "1.2M". Both return `text`. */
const char *quantity_text(uint64_t value, char *text);
/* "350ms", "12s", "3m07s", "2h05m", "4d03h"; below 0: "-". */
const char *duration_text(int64_t ms, char *text);
/* For how long a vport is held, of its entry in dfwd's status; `text` as above. */
const char *held_for(const json_t *held, char *text);
/* "10.0.0.1:80", "[2001:db8::1]:80", the address alone for port 0. */
const char *endpoint_text(const struct dfw_addr *addr, uint16_t port, char *text);

/* "" for one, "s" for others. */
const char *plural(int64_t number);

enum color action_color(const char *action);

/* Indented, with a newline, on stdout. Takes the reference; NULL complains that there is no memory. */
enum exit_status print_json(json_t *json);

/* A JSON array of any length, printed as it comes. */
struct json_stream {
	bool begun;
	bool failed;
};
void json_stream_add(struct json_stream *stream, json_t *item); /* takes the reference */
enum exit_status json_stream_end(struct json_stream *stream);

/* Ends a table: complains when memory was short. */
enum exit_status finish_table(struct table *table);

enum exit_status no_memory(void);

#endif
