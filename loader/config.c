// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "file.h"
#include "log.h"

#define CONFIG_MAX_BYTES (1 << 20)

enum section {
	SECTION_NONE, /* before the first, or in one that is not known */
	SECTION_DAEMON,
	SECTION_VPORTS,
	SECTION_UPLINKS,
};

struct reader {
	const char *path;
	unsigned int line;
	const char *line_start; /* to count columns from */
	struct config *config;
	enum section section;	       /* that we are in */
	struct vport_pattern *pattern; /* of SECTION_VPORTS */
	struct uplink_wish *uplink;    /* of SECTION_UPLINKS */
	unsigned int given; /* bits of settings[]: of [daemon], and of the section we are in */
	bool failed;	    /* the rest is still read, for its errors */
};

#define complain(reader, at, ...)                            \
	({                                                   \
		char _text[512];                             \
		snprintf(_text, sizeof(_text), __VA_ARGS__); \
		complain_at(reader, at, _text);              \
	})

static int complain_at(struct reader *reader, const char *at, const char *text)
{
	log_error("%s:%u:%d: %s", reader->path, reader->line, (int)(at - reader->line_start) + 1,
		  text);
	reader->failed = true;
	return -EINVAL;
}

static char *skip_blanks(char *text)
{
	return text + strspn(text, " \t");
}

static void cut_blanks(char *text)
{
	size_t length = strlen(text);

	while (length > 0 && isspace((unsigned char)text[length - 1]))
		text[--length] = '\0';
}

/* ---- Values ----------------------------------------------------------------------------------------------------- */

static int read_number(struct reader *reader, const char *value, unsigned int lowest,
		       unsigned int highest, unsigned int *number)
{
	char *end;
	unsigned long read = isdigit((unsigned char)value[0]) ? strtoul(value, &end, 10) : 0;

	if (!isdigit((unsigned char)value[0]) || *end || read < lowest || read > highest)
		return complain(reader, value, "\"%s\": a number from %u to %u is wanted", value,
				lowest, highest);
	*number = (unsigned int)read;
	return 0;
}

static int set_sweep_interval(struct reader *reader, char *value)
{
	return read_number(reader, value, 1, 3600, &reader->config->sweep_interval);
}

static int set_log_limit(struct reader *reader, char *value)
{
	return read_number(reader, value, 0, 1000000, &reader->config->log_limit);
}

static int set_hook(struct reader *reader, char *value)
{
	if (strcmp(value, "auto") != 0 && strcmp(value, "clsact") != 0)
		return complain(reader, value, "\"%s\": `auto` or `clsact` is wanted", value);
	reader->config->clsact = strcmp(value, "clsact") == 0;
	return 0;
}

static int read_switch(struct reader *reader, const char *value, bool *on)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return complain(reader, value, "\"%s\": `on` or `off` is wanted", value);
	*on = strcmp(value, "on") == 0;
	return 0;
}

static int set_fast_path(struct reader *reader, char *value)
{
	return read_switch(reader, value, &reader->config->fast_path);
}

static int set_uplink_fast_path(struct reader *reader, char *value)
{
	return read_switch(reader, value, &reader->uplink->fast);
}

static int set_mode(struct reader *reader, char *value)
{
	if (uplink_mode_parse(value, &reader->uplink->mode) < 0)
		return complain(reader, value, "\"%s\": `auto`, `native` or `generic` is wanted",
				value);
	return 0;
}

static int set_profile(struct reader *reader, char *value)
{
	if (spec_set_profile(reader->pattern->template, value) < 0)
		return complain(reader, value, "\"%s\" is not the name of a profile", value);
	return 0;
}

static int add_tag(struct reader *reader, char *value)
{
	char *equals = strchr(value, '=');
	char *tag = equals ? skip_blanks(equals + 1) : NULL;

	if (!equals)
		return complain(reader, value, "\"%s\": a tag is written KEY=VALUE", value);
	*equals = '\0';
	cut_blanks(value);
	for (size_t i = 0; i < reader->pattern->template->nr_tags; i++)
		if (strcmp(reader->pattern->template->tags[i].key, value) == 0)
			return complain(reader, value, "the tag \"%s\" is given already", value);
	if (spec_add_tag(reader->pattern->template, value, tag) < 0)
		return complain(reader, value, "not a tag, or one too many");
	return 0;
}

static const struct setting {
	const char *key;
	enum section section;
	int (*set)(struct reader *reader, char *value);
	bool repeats;
} settings[] = {
	{"sweep-interval", SECTION_DAEMON, set_sweep_interval, false},
	{"log-limit", SECTION_DAEMON, set_log_limit, false},
	{"hook", SECTION_DAEMON, set_hook, false},
	{"fast-path", SECTION_DAEMON, set_fast_path, false},
	{"profile", SECTION_VPORTS, set_profile, false},
	{"tag", SECTION_VPORTS, add_tag, true},
	{"mode", SECTION_UPLINKS, set_mode, false},
	{"fast-path", SECTION_UPLINKS, set_uplink_fast_path, false},
};

static const char *const section_settings[] = {
	[SECTION_DAEMON] = "[daemon]: it has sweep-interval, log-limit, hook and fast-path",
	[SECTION_VPORTS] = "[vports]: it has profile and tag",
	[SECTION_UPLINKS] = "[uplinks]: it has mode and fast-path",
};

#define SECTIONS "[daemon], [vports \"PATTERN\"] or [uplinks \"IF\"]"

/* ---- Lines ------------------------------------------------------------------------------------------------------ */

/* NULL: there is none of this name in the section that we are in. */
static const struct setting *find_setting(const struct reader *reader, const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (settings[i].section == reader->section && strcmp(settings[i].key, key) == 0)
			return &settings[i];
	return NULL;
}

static int read_setting(struct reader *reader, char *line)
{
	char *equals = strchr(line, '='), *value;
	const struct setting *setting;
	unsigned int bit;

	if (!equals)
		return complain(reader, line, "neither [section] nor KEY = VALUE");
	if (!reader->section)
		return complain(reader, line, "stands before the first section: " SECTIONS);
	*equals = '\0';
	value = skip_blanks(equals + 1);
	cut_blanks(line);
	setting = find_setting(reader, line);
	if (!setting)
		return complain(reader, line, "there is no setting \"%s\" in %s", line,
				section_settings[reader->section]);
	bit = 1U << (setting - settings);
	if (!setting->repeats && (reader->given & bit))
		return complain(reader, line, "%s is given already", line);
	reader->given |= bit;
	return setting->set(reader, value);
}

/* Sections of one kind are each for itself; [daemon] may come in pieces, which are one. */
static void begin_section(struct reader *reader)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (settings[i].section != SECTION_DAEMON)
			reader->given &= ~(1U << i);
}

/* The end of what stands for one character in a shell pattern: itself, `?`, one behind a backslash, or [...]. */
static const char *element_end(const char *element)
{
	const char *end = element + 1;

	if (*element == '\\')
		return *end ? end + 1 : end;
	if (*element != '[')
		return end;
	if (*end == '!' || *end == '^')
		end++;
	if (*end == ']')
		end++;
	while (*end && *end != ']') {
		char close[] = {end[1], ']', '\0'};
		/* [:alpha:] and the like have brackets of their own. */
		bool nested = *end == '[' && end[1] && strchr(":.=", end[1]);
		const char *inner = nested ? strstr(end + 2, close) : NULL;

		end = inner ? inner + 2 : *end == '\\' && end[1] ? end + 2 : end + 1;
	}
	/* What is not closed is a bracket and no more. */
	return *end ? end + 1 : element + 1;
}

/* Whether a character that names of devices may have matches what stands for one. */
static bool matches_some(const char *element, size_t length)
{
	char pattern[IF_NAMESIZE], name[] = "xx", *character = name + 1;

	snprintf(pattern, sizeof(pattern), "%.*s", (int)length, element);
	for (int c = 1; c <= UCHAR_MAX; c++) {
		*character = (char)c;
		if (device_name_valid(name) && fnmatch(pattern, character, 0) == 0)
			return true;
	}
	return false;
}

/* It has no more characters than a name may, so that what counts is which ones. */
static bool pattern_matches_some(const char *pattern)
{
	while (*pattern) {
		const char *end = element_end(pattern);

		if (*pattern != '*' && !matches_some(pattern, (size_t)(end - pattern)))
			return false;
		pattern = end;
	}
	return true;
}

static int add_pattern(struct reader *reader, const char *pattern, const char *at)
{
	struct config *config = reader->config;
	struct vport_pattern *new = &config->patterns[config->nr_patterns];

	if (!pattern[0] || strlen(pattern) >= sizeof(new->pattern))
		return complain(reader, at, "\"%s\": a pattern has 1 to %zu characters", pattern,
				sizeof(new->pattern) - 1);
	if (!pattern_matches_some(pattern))
		return complain(reader, at, "\"%s\" matches no name that a device can have",
				pattern);
	for (size_t i = 0; i < config->nr_patterns; i++)
		if (strcmp(config->patterns[i].pattern, pattern) == 0)
			return complain(reader, at, "there is a section [vports \"%s\"] already",
					pattern);
	if (config->nr_patterns == CONFIG_PATTERNS)
		return complain(reader, at, "more than %d [vports] sections", CONFIG_PATTERNS);
	new->template = spec_new();
	if (!new->template)
		return complain(reader, at, "out of memory");
	strcpy(new->pattern, pattern);
	config->nr_patterns++;
	reader->pattern = new;
	return 0;
}

static int add_uplink(struct reader *reader, const char *name, const char *at)
{
	struct config *config = reader->config;
	struct uplink_wish *new = &config->uplinks[config->nr_uplinks];

	if (!device_name_valid(name))
		return complain(reader, at, "\"%s\" is not the name of a network device", name);
	for (size_t i = 0; i < config->nr_uplinks; i++)
		if (strcmp(config->uplinks[i].name, name) == 0)
			return complain(reader, at, "there is a section [uplinks \"%s\"] already",
					name);
	if (config->nr_uplinks == DFW_MAX_UPLINKS)
		return complain(reader, at, "more than %d [uplinks] sections", DFW_MAX_UPLINKS);
	*new = (struct uplink_wish){.mode = UPLINK_AUTO, .fast = true};
	strcpy(new->name, name);
	config->nr_uplinks++;
	reader->uplink = new;
	return 0;
}

/* [KIND "NAME"], of which `begin` is all until the name; `name` has room for 64. */
static bool section_is(const char *line, const char *begin, char *name)
{
	size_t length = strlen(line), skip = strlen(begin);

	if (strncmp(line, begin, skip) != 0 || length < skip + 2 || length - skip - 2 > 63 ||
	    strchr(line + skip, '"') != line + length - 2 || line[length - 1] != ']')
		return false;
	snprintf(name, 64, "%.*s", (int)(length - skip - 2), line + skip);
	return true;
}

static int read_section(struct reader *reader, char *line)
{
	char name[64];
	int r = 0;

	/* What follows a section with an error belongs to none: one error is enough. */
	reader->section = SECTION_NONE;
	begin_section(reader);
	if (strcmp(line, "[daemon]") == 0) {
		reader->section = SECTION_DAEMON;
	} else if (section_is(line, "[vports \"", name)) {
		r = add_pattern(reader, name, line);
		reader->section = SECTION_VPORTS;
	} else if (section_is(line, "[uplinks \"", name)) {
		r = add_uplink(reader, name, line);
		reader->section = SECTION_UPLINKS;
	} else {
		r = complain(reader, line, "%s: " SECTIONS " is wanted", line);
	}
	if (r < 0)
		reader->section = SECTION_NONE;
	return r;
}

static void read_line(struct reader *reader, char *line)
{
	reader->line++;
	reader->line_start = line;
	line = skip_blanks(line);
	cut_blanks(line);
	if (!line[0] || line[0] == '#' || line[0] == ';')
		return;
	if (line[0] == '[')
		read_section(reader, line);
	else
		read_setting(reader, line);
}

static int read_lines(struct reader *reader, char *text, size_t bytes)
{
	if (memchr(text, '\0', bytes)) {
		log_error("%s: holds a NUL byte: not a configuration", reader->path);
		return -EINVAL;
	}
	while (text) {
		char *end = strchr(text, '\n');

		if (end)
			*end = '\0';
		read_line(reader, text);
		text = end ? end + 1 : NULL;
	}
	return reader->failed ? -EINVAL : 0;
}

int config_read(const char *path, bool wanted, struct config *config)
{
	struct config read = {.sweep_interval = 5, .log_limit = 100, .fast_path = true};
	struct reader reader = {.path = path, .config = &read};
	_cleanup_free_ char *text = NULL;
	size_t bytes;
	int r;

	r = file_read(path, CONFIG_MAX_BYTES, &text, &bytes);
	if (r == -ENOENT && !wanted)
		r = 0;
	else if (r < 0)
		return log_errno(r, "%s", path);
	if (text)
		r = read_lines(&reader, text, bytes);
	if (r < 0) {
		config_free(&read);
		return r;
	}
	*config = read;
	return 0;
}

void config_free(struct config *config)
{
	for (size_t i = 0; i < config->nr_patterns; i++)
		spec_free(config->patterns[i].template);
	config->nr_patterns = 0;
}

const struct vport_pattern *config_match(const struct config *config, const char *device)
{
	for (size_t i = 0; i < config->nr_patterns; i++)
		if (fnmatch(config->patterns[i].pattern, device, 0) == 0)
			return &config->patterns[i];
	return NULL;
}
