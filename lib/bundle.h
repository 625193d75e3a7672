/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_BUNDLE_H
#define DFW_BUNDLE_H

/*
 * A policy's texts: the main file and all it includes, as they were read. They travel to dfwd and lie in its state
 * folder in this form: {"main", "files": [{"name", "text"}]}.
 */

#include <jansson.h>

#include "policy/policy.h"

/* Parses the texts of a bundle. As policy_parse(); -EBADMSG when it is none. */
int bundle_parse(const json_t *bundle, struct policy **policy, struct policy_errors *errors);

/* The name by which a file of a bundle is known: beside the file `from` (NULL: the main file) that includes it, unless
 * it is absolute, and without "./" and "//", so that it is one name. malloc'd, NULL without memory. */
char *bundle_resolve(const char *from, const char *name);

/* The text of that name, as bundle_resolve() makes it, or NULL. The bundle's own names may be longer. */
const json_t *bundle_text(const json_t *files, const char *name);

#endif
