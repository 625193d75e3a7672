// SPDX-License-Identifier: GPL-2.0
/* The realised rules of a port, and how often they decided. */
#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>

#include "util.h"
#include "view_pins.h"

#define TRIES 5 /* a policy may come into force while we read */

static void hits_add(struct dfw_rule_hits *sum, const struct dfw_rule_hits *part)
{
	sum->packets += part->packets;
	sum->bytes += part->bytes;
	sum->flows += part->flows;
	if (part->last_hit_ns > sum->last_hit_ns)
		sum->last_hit_ns = part->last_hit_ns;
}

struct rules_reader {
	struct view_rule *rules;
	uint32_t nr;
	uint32_t hits_base;
	uint32_t hits_count;
};

static int take_info(const void *key, const void *value, void *data)
{
	struct rules_reader *reader = data;
	uint32_t index;

	memcpy(&index, key, sizeof(index));
	if (index < reader->nr)
		memcpy(&reader->rules[index].info, value, sizeof(reader->rules->info));
	return 0;
}

static int take_hits(const void *key, const void *value, void *data)
{
	struct rules_reader *reader = data;
	struct dfw_rule_hits hits;
	uint32_t index;

	memcpy(&index, key, sizeof(index));
	memcpy(&hits, value, sizeof(hits));
	index %= reader->hits_count;
	if (index >= reader->hits_base && index - reader->hits_base < reader->nr)
		hits_add(&reader->rules[index - reader->hits_base].hits, &hits);
	return 0;
}

static int read_infos(const char *instance, uint32_t ruleset, struct rules_reader *reader)
{
	_cleanup_close_ int outer = instance_map_open(instance, "rule_infos", sizeof(uint32_t));
	_cleanup_close_ int fd = -1;

	if (outer < 0)
		return outer;
	fd = inner_map_open(outer, ruleset, sizeof(struct dfw_rule_info));
	return fd < 0 ? fd : map_each(fd, take_info, reader);
}

/* Each CPU has its own part of the port's `rules` map; see <dfw/ruleset.h>. */
static int read_hits(const char *instance, uint32_t slot, uint32_t bank,
		     struct rules_reader *reader)
{
	_cleanup_close_ int outer = instance_map_open(instance, "hits", sizeof(uint32_t));
	_cleanup_close_ int fd = -1;

	if (outer < 0)
		return outer;
	if (reader->hits_count == 0)
		return 0;
	fd = inner_map_open(outer, slot * DFW_BANKS + bank, sizeof(struct dfw_rule_hits));
	return fd < 0 ? fd : map_each(fd, take_hits, reader);
}

/* What the rules of the same ids and direction had counted when former revisions went. */
static int add_totals(const char *instance, const char *vport, enum dfw_direction direction,
		      struct rules_reader *reader)
{
	_cleanup_close_ int fd =
		vport_map_open(instance, vport, "rule_totals", sizeof(struct dfw_rule_hits));

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	for (uint32_t i = 0; i < reader->nr; i++) {
		const struct dfw_rule_total_key key = {.rule = reader->rules[i].info.id,
						       .direction = direction};
		struct dfw_rule_hits total;
		int r = bpf_map_lookup_elem(fd, &key, &total);

		if (r == 0)
			hits_add(&reader->rules[i].hits, &total);
		else if (r != -ENOENT)
			return r;
	}
	return 0;
}

static int read_header(const char *instance, uint32_t ruleset, struct dfw_ruleset *header)
{
	_cleanup_close_ int fd = instance_map_open(instance, "rulesets", sizeof(*header));

	return fd < 0 ? fd : array_read(fd, ruleset, header);
}

static int read_rules(const char *instance, const char *vport, enum dfw_direction direction,
		      struct view_rule **rules, size_t *nr, struct dfw_ruleset *header)
{
	_cleanup_free_ struct view_rule *read = NULL;
	struct rules_reader reader;
	struct dfw_port_config config;
	uint32_t bank;
	int r = vport_config(instance, vport, &config, &bank);

	if (r < 0)
		return r;
	*rules = NULL;
	*nr = 0;
	memset(header, 0, sizeof(*header));
	/* No policy yet: everything drops, and no rule did it. */
	if (!(config.flags & DFW_PORT_READY))
		return 0;
	r = read_header(instance, config.ruleset[direction], header);
	if (r < 0)
		return r;
	if (header->nr_rules > DFW_MAX_RULES)
		return -ESTALE;
	read = calloc(header->nr_rules + 1, sizeof(*read));
	if (!read)
		return -ENOMEM;
	reader = (struct rules_reader){
		.rules = read,
		.nr = header->nr_rules + 1,
		.hits_base = config.hits_base[direction],
		.hits_count = config.hits_count,
	};
	r = read_infos(instance, config.ruleset[direction], &reader);
	if (r == 0)
		r = read_hits(instance, config.slot, bank, &reader);
	if (r == 0)
		r = add_totals(instance, vport, direction, &reader);
	if (r < 0)
		return r;
	*nr = reader.nr;
	*rules = TAKE_PTR(read);
	return 0;
}

int view_rules(const char *instance, const char *vport, enum dfw_direction direction,
	       struct view_rule **rules, size_t *nr, struct dfw_ruleset *header)
{
	struct dfw_revision before, after;
	struct dfw_layout layout;
	int r = view_active(instance, &layout, &before);

	for (int tries = 0; r == 0 && tries < TRIES; tries++) {
		int read = read_rules(instance, vport, direction, rules, nr, header);

		r = view_active(instance, &layout, &after);
		if (r == 0 && memcmp(&before, &after, sizeof(before)) == 0)
			return read;
		if (read == 0)
			free(TAKE_PTR(*rules));
		before = after;
	}
	return r < 0 ? r : -EAGAIN;
}
