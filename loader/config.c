// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "file.h"
#include "log.h"

#define CONFIG_MAX_BYTES (1 << 20)

struct reader {
	const char *path;
	unsigned int line;
	const char *line_start; /* to count columns from */
	struct config *config;
	struct vport_pattern *pattern; /* of the section we are in; NULL: [daemon] */
	bool in_section;
	bool failed; /* the rest is still read, for its errors */
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
	if (spec_add_tag(reader->pattern->template, value, tag) < 0)
		return complain(reader, value, "not a tag, or one too many");
	return 0;
}

static const struct setting {
	const char *key;
	bool of_pattern; /* stands in [vports "PATTERN"], else in [daemon] */
	int (*set)(struct reader *reader, char *value);
} settings[] = {
	{"sweep-interval", false, set_sweep_interval},
	{"log-limit", false, set_log_limit},
	{"hook", false, set_hook},
	{"profile", true, set_profile},
	{"tag", true, add_tag},
};

/* ---- Lines ------------------------------------------------------------------------------------------------------ */

static int read_setting(struct reader *reader, char *line)
{
	char *equals = strchr(line, '='), *value;

	if (!equals)
		return complain(reader, line, "neither [section] nor KEY = VALUE");
	if (!reader->in_section)
		return complain(
			reader, line,
			"stands before the first section: [daemon] or [vports \"PATTERN\"]");
	*equals = '\0';
	value = skip_blanks(equals + 1);
	cut_blanks(line);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (strcmp(line, settings[i].key) == 0 &&
		    settings[i].of_pattern == (reader->pattern != NULL))
			return settings[i].set(reader, value);
	return complain(reader, line, "there is no setting \"%s\" in %s", line,
			reader->pattern ? "[vports]: it has profile and tag"
					: "[daemon]: it has sweep-interval, log-limit and hook");
}

static int add_pattern(struct reader *reader, const char *pattern, const char *at)
{
	struct config *config = reader->config;
	struct vport_pattern *new = &config->patterns[config->nr_patterns];

	if (!pattern[0] || strlen(pattern) >= sizeof(new->pattern))
		return complain(reader, at, "\"%s\": a pattern has 1 to %zu characters", pattern,
				sizeof(new->pattern) - 1);
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

static int read_section(struct reader *reader, char *line)
{
	char pattern[64];
	int end = 0;

	reader->in_section = true;
	reader->pattern = NULL;
	if (strcmp(line, "[daemon]") == 0)
		return 0;
	if (sscanf(line, "[vports \"%63[^\"]\"]%n", pattern, &end) == 1 && end && !line[end])
		return add_pattern(reader, pattern, line);
	/* What follows belongs to no section we know: one error is enough. */
	reader->in_section = false;
	return complain(reader, line, "%s: [daemon] or [vports \"PATTERN\"] is wanted", line);
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
	struct config read = {.sweep_interval = 5, .log_limit = 100};
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
