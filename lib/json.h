/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_JSON_H
#define DFW_JSON_H

#include <jansson.h>

#include "util.h"

#define _cleanup_json_ _cleanup_(cleanup_json)

static inline void cleanup_json(json_t **json)
{
	json_decref(*json);
}

/* The text of a member; NULL when there is none or it is no text. */
static inline const char *json_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* The number of a member; 0 when there is none. */
static inline json_int_t json_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

#endif
