/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_BUILD_H
#define POLICY_BUILD_H

/*
 * The checks and steps that both forms share: from the words of a policy to parts of the model. Each notes its
 * own error at `place`. Those that return bool return whether it went well; those that return a pointer, NULL for no
 * memory.
 */

#include "parser.h"
#include "words.h"

struct group *build_group(struct parser *parser, const struct place *place, const char *name);
struct service *build_service(struct parser *parser, const struct place *place, const char *name);
struct tier *build_tier(struct parser *parser, const struct place *place, const char *name);
struct profile *build_profile(struct parser *parser, const struct place *place, const char *name);

/* An address or a prefix. */
bool build_prefix(struct parser *parser, const struct place *place, const char *text,
		  struct operand *operand);
/* The pattern of `vport PATTERN`. */
bool build_pattern(struct parser *parser, const struct place *place, const char *pattern,
		   struct operand *operand);

struct tag_expr *build_tag(struct parser *parser, const struct place *place, const char *key,
			   const char *value);
struct tag_expr *build_tag_not(struct parser *parser, const struct place *place,
			       struct tag_expr *child);
/* `kind` is TAG_AND or TAG_OR; "a and b and c" is one node with three children. */
struct tag_expr *build_tag_join(struct parser *parser, const struct place *place,
				enum tag_kind kind, struct tag_expr *left, struct tag_expr *right);

/* "80", "80-90" */
bool build_ports(struct parser *parser, const struct place *place, const char *text,
		 struct range_list *ports);
/* A type and, unless it is NULL, a code: names or numbers. */
bool build_icmp(struct parser *parser, const struct place *place, uint8_t protocol,
		const char *type, const char *code, struct range_list *values);
/* A name or a number. */
bool build_protocol(struct parser *parser, const struct place *place, const char *text,
		    uint8_t *protocol);
bool protocol_has_ports(uint8_t protocol);
bool protocol_has_types(uint8_t protocol);

bool build_number(struct parser *parser, const struct place *place, const char *what,
		  const char *text, uint32_t lowest, uint32_t highest, uint32_t *number);
/* Returns the word's value, or -1. */
int build_word(struct parser *parser, const struct place *place, const char *what,
	       const struct word *words, const char *text);

/* Adds a finished rule to its tier; without one, to the tier of rules outside of tiers. */
bool build_rule(struct parser *parser, struct tier *tier, struct rule *rule);
bool build_default(struct parser *parser, const struct place *place, enum dfw_direction direction,
		   int action, bool log);

/* A line of a profile. */
bool build_flag(struct parser *parser, const struct place *place, struct profile *profile,
		const char *name, bool on);
bool build_limit(struct parser *parser, const struct place *place, struct profile *profile,
		 enum profile_limit limit, const char *text);
bool build_resync(struct parser *parser, const struct place *place, struct profile *profile,
		  const char *text);
bool build_timeout(struct parser *parser, const struct place *place, struct profile *profile,
		   const char *state, const char *text);
/* What stands before the value decides which of flag, limit and resync it is. */
bool build_setting(struct parser *parser, const struct place *place, struct profile *profile,
		   const char *name, const struct place *value_place, const char *value);

#endif
