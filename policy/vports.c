// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include "vports.h"

struct port_list {
	size_t *items;
	size_t nr;
	size_t room;
};

static int index_tag(struct vports *vports, const char *key, size_t port)
{
	struct port_list *list = table_find_name(&vports->by_tag, key);
	size_t *slot;

	if (!list) {
		list = arena_alloc(vports->arena, sizeof(*list));
		if (!list || !table_add_name(vports->arena, &vports->by_tag, key, list))
			return -ENOMEM;
	}
	slot = list_push(vports->arena, list);
	if (!slot)
		return -ENOMEM;
	*slot = port;
	return 0;
}

int vports_init(struct vports *vports, struct arena *arena, const struct policy *policy,
		const struct policy_port *ports, size_t nr, size_t *again)
{
	*vports = (struct vports){
		.arena = arena,
		.ports = ports,
		.nr = nr,
		.words = (nr + 63) / 64,
	};
	vports->groups = arena_alloc(arena, policy->groups.nr * sizeof(*vports->groups));
	if (!vports->groups)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		const struct policy_port *port = &ports[i], *first;

		first = table_add_name(arena, &vports->by_name, port->name, (void *)port);
		if (!first)
			return -ENOMEM;
		if (first != port) {
			*again = i;
			return -EEXIST;
		}
		for (size_t j = 0; j < port->nr_tags; j++) {
			char *both = arena_printf(arena, "%s=%s", port->tags[j].key,
						  port->tags[j].value);
			char *key = arena_printf(arena, "%s", port->tags[j].key);

			if (!both || !key || index_tag(vports, both, i) < 0 ||
			    index_tag(vports, key, i) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}

static uint64_t *new_bitmap(struct vports *vports)
{
	return arena_alloc(vports->arena, vports->words * sizeof(uint64_t));
}

/* `*` any letters, `?` one. Goes back to the last star only, so at most pattern times name steps. */
static bool glob_match(const char *pattern, const char *name)
{
	const char *star = NULL, *resume = NULL;

	while (*name) {
		if (*pattern == '*') {
			star = pattern++;
			resume = name;
		} else if (*pattern == '?' || *pattern == *name) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star + 1;
			name = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

static uint64_t *ports_of_pattern(struct vports *vports, const char *pattern)
{
	uint64_t *bits = table_find_name(&vports->patterns, pattern);
	const struct policy_port *port;

	if (bits)
		return bits;
	bits = new_bitmap(vports);
	if (!bits)
		return NULL;
	if (!strpbrk(pattern, "*?")) {
		port = table_find_name(&vports->by_name, pattern);
		if (port)
			bitmap_set(bits, (size_t)(port - vports->ports));
	} else {
		for (size_t i = 0; i < vports->nr; i++)
			if (glob_match(pattern, vports->ports[i].name))
				bitmap_set(bits, i);
	}
	return table_add_name(vports->arena, &vports->patterns, pattern, bits);
}

static uint64_t *all_ports(struct vports *vports)
{
	uint64_t *bits = new_bitmap(vports);

	for (size_t i = 0; bits && i < vports->nr; i++)
		bitmap_set(bits, i);
	return bits;
}

/* Sets in the caller's bitmap the ports that the expression means; algebra on whole words. */
static int ports_of_tag(struct vports *vports, const struct tag_expr *expr, uint64_t *bits)
{
	const struct port_list *list = NULL;
	const char *both;
	uint64_t *child;
	int r;

	switch (expr->kind) {
	case TAG_PRESENT:
		list = table_find_name(&vports->by_tag, expr->key);
		break;
	case TAG_EQUALS:
		both = arena_printf(vports->arena, "%s=%s", expr->key, expr->value);
		if (!both)
			return -ENOMEM;
		list = table_find_name(&vports->by_tag, both);
		break;
	default:
		child = new_bitmap(vports);
		if (!child)
			return -ENOMEM;
		for (size_t i = 0; i < expr->children.nr; i++) {
			memset(child, 0, vports->words * sizeof(*child));
			r = ports_of_tag(vports, expr->children.items[i], child);
			if (r < 0)
				return r;
			for (size_t word = 0; word < vports->words; word++) {
				if (expr->kind == TAG_NOT)
					bits[word] = ~child[word];
				else if (expr->kind == TAG_OR || i == 0)
					bits[word] |= child[word];
				else
					bits[word] &= child[word];
			}
		}
		/* A NOT has set the bits behind the last port too. */
		if (vports->nr % 64)
			bits[vports->words - 1] &= (1ULL << vports->nr % 64) - 1;
	}
	for (size_t i = 0; list && i < list->nr; i++)
		bitmap_set(bits, list->items[i]);
	return 0;
}

static const uint64_t *ports_of_group(struct vports *vports, const struct group *group)
{
	uint64_t *bits = vports->groups[group->index];

	if (bits)
		return bits;
	bits = new_bitmap(vports);
	if (!bits)
		return NULL;
	for (size_t i = 0; i < group->members.nr; i++) {
		const struct operand *member = &group->members.items[i];
		const uint64_t *more;

		if (member->kind == OPERAND_PREFIX)
			continue;
		more = vports_of(vports, member);
		if (!more)
			return NULL;
		for (size_t word = 0; word < vports->words; word++)
			bits[word] |= more[word];
	}
	vports->groups[group->index] = bits;
	return bits;
}

const uint64_t *vports_of(struct vports *vports, const struct operand *operand)
{
	uint64_t *bits;

	switch (operand->kind) {
	case OPERAND_VPORT:
		return ports_of_pattern(vports, operand->pattern);
	case OPERAND_GROUP:
		return ports_of_group(vports, operand->group);
	case OPERAND_TAG:
		bits = new_bitmap(vports);
		return bits && ports_of_tag(vports, operand->tag, bits) == 0 ? bits : NULL;
	case OPERAND_ANY:
	case OPERAND_ANY_VPORT:
		return all_ports(vports);
	case OPERAND_PREFIX:
		break;
	}
	return new_bitmap(vports);
}

/* ---- One port ------------------------------------------------------------------------------------------------ */

/* `value` NULL: any. */
static bool has_tag(const struct policy_port *port, const char *key, const char *value)
{
	for (size_t i = 0; i < port->nr_tags; i++)
		if (strcmp(port->tags[i].key, key) == 0 &&
		    (!value || strcmp(port->tags[i].value, value) == 0))
			return true;
	return false;
}

static bool tag_holds(const struct policy_port *port, const struct tag_expr *expr)
{
	switch (expr->kind) {
	case TAG_PRESENT:
		return has_tag(port, expr->key, NULL);
	case TAG_EQUALS:
		return has_tag(port, expr->key, expr->value);
	case TAG_NOT:
		return !tag_holds(port, expr->children.items[0]);
	case TAG_AND:
	case TAG_OR:
		break;
	}
	for (size_t i = 0; i < expr->children.nr; i++)
		if (tag_holds(port, expr->children.items[i]) == (expr->kind == TAG_OR))
			return expr->kind == TAG_OR;
	return expr->kind == TAG_AND;
}

enum { UNKNOWN, MEANT, NOT_MEANT };

static bool group_meant(const struct vport_question *question, const struct group *group)
{
	unsigned char *known = &question->known[group->index];
	bool meant = false;

	if (*known != UNKNOWN)
		return *known == MEANT;
	for (size_t i = 0; i < group->members.nr && !meant; i++)
		meant = vport_meant(question, &group->members.items[i]);
	*known = meant ? MEANT : NOT_MEANT;
	return meant;
}

bool vport_meant(const struct vport_question *question, const struct operand *operand)
{
	switch (operand->kind) {
	case OPERAND_ANY:
	case OPERAND_ANY_VPORT:
		return true;
	case OPERAND_VPORT:
		return glob_match(operand->pattern, question->port->name);
	case OPERAND_TAG:
		return tag_holds(question->port, operand->tag);
	case OPERAND_GROUP:
		return group_meant(question, operand->group);
	case OPERAND_PREFIX:
		break;
	}
	return false;
}
