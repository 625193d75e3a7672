/* SPDX-License-Identifier: GPL-2.0 */
#ifndef POLICY_WORDS_H
#define POLICY_WORDS_H

/* The words of the language that are values: names of protocols, ICMP types, actions, states ..., as tables. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct word {
	const char *name;
	int value;
};

/* Ended by a NULL name. Of several names for one value the first is the one that is written. */
extern const struct word action_words[];
extern const struct word on_change_words[];
extern const struct word protocol_words[];
extern const struct word icmp_words[];
extern const struct word icmp6_words[];
extern const struct word state_words[];
extern const struct word profile_flag_words[]; /* value: the flag's bit number */
extern const struct word profile_limit_words[];
extern const struct word switch_words[];

/* Returns the value, or -1. */
int word_value(const struct word *words, const char *name);
/* Returns the name, or NULL. */
const char *word_name(const struct word *words, int value);

struct built_in_service {
	const char *name;
	const char *text; /* its items in the language */
};
extern const struct built_in_service built_in_services[];

/* Picks from the names it is shown the one that `wanted` is most likely a slip of the pen for. */
struct suggestion {
	const char *wanted;
	const char *best; /* NULL: none is near enough */
	size_t distance;
};
void suggestion_offer(struct suggestion *suggestion, const char *name);
void suggestion_offer_words(struct suggestion *suggestion, const struct word *words);
/* ", did you mean 'web'?" or "". Returns `text`, which has room for SUGGESTION_TEXT_LEN. */
#define SUGGESTION_TEXT_LEN 96
const char *suggestion_text(const struct suggestion *suggestion, char *text);

/* A number with a unit: 500ms, 30s, 5m, 2h, 1d; "0" needs none. Returns 0, -EINVAL (no duration), -ERANGE. */
int duration_parse(const char *text, uint64_t *ns);
#define DURATION_TEXT_LEN 24
/* In the largest unit that divides it; rounds to milliseconds. Returns `text`. */
const char *duration_format(uint64_t ns, char *text);

/* Decimal digits and nothing else. Returns 0, -EINVAL, or -ERANGE when it is above `highest`. */
int number_parse(const char *text, uint64_t highest, uint64_t *number);

/* Bytes of the UTF-8 character at `text`; 0: it is none (RFC 3629). */
size_t character_length(const unsigned char *text, size_t bytes);

/* What names of groups, services, tiers, rules and profiles may be. */
bool name_valid(const char *name);
/* The word needs no quotes where a name stands. */
bool name_plain(const char *name);

#endif
