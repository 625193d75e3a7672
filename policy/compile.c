// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "compile.h"
#include "hash.h"
#include "parser.h"
#include "util.h"

/*
 * In order: which ports each rule means (vports.c), each port's list of rules, equal lists made one; the sets that the
 * rules of those lists use; the classes of addresses and values that the sets cut (address_space.c, value_classes.c);
 * the rows of each list (ruleset.c). Sets are made only for rules that are in some list of this host.
 */

struct entry_list {
	uint32_t *items;
	size_t nr;
	size_t room;
};

static void port_error(struct compiler *compiler, const char *port, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void port_error(struct compiler *compiler, const char *port, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	errors_add(compiler->errors, port, 0, 0, format, arguments);
	va_end(arguments);
}

/* ---- Ports --------------------------------------------------------------------------------------------------- */

static int check_ports(struct compiler *compiler)
{
	struct table by_address = {0};

	for (size_t i = 0; i < compiler->nr_ports; i++) {
		const struct policy_port *port = &compiler->ports[i], *first;

		for (size_t j = 0; j < port->nr_addresses; j++) {
			char text[ADDR_TEXT_LEN];

			first = table_add(&compiler->scratch, &by_address, &port->addresses[j],
					  sizeof(port->addresses[j]), (void *)port);
			if (!first)
				return -ENOMEM;
			if (first != port)
				port_error(compiler, port->name,
					   "address %s belongs to port '%s' already",
					   addr_format(&port->addresses[j], text), first->name);
		}
	}
	return 0;
}

static int build_ports(struct compiler *compiler)
{
	struct compiled *out = compiler->out;

	out->ports = calloc(compiler->nr_ports + 1, sizeof(*out->ports));
	if (!out->ports)
		return -ENOMEM;
	for (size_t i = 0; i < compiler->nr_ports; i++) {
		const struct policy_port *port = &compiler->ports[i];
		struct compiled_port *compiled = &out->ports[out->nr_ports];

		if (!port->here)
			continue;
		compiled->port = i;
		out->nr_ports++;
		if (profile_complete(compiler->policy, port->profile, &compiled->profile) < 0)
			port_error(compiler, port->name,
				   "unknown profile '%s', the policy would define it",
				   port->profile);
	}
	return 0;
}

/* ---- Lists --------------------------------------------------------------------------------------------------- */

const struct operand_list *operands_of(const struct rule *rule, enum rule_end end)
{
	return end == END_FROM ? &rule->from : &rule->to;
}

bool operand_has_addresses(const struct compiler *compiler, const struct operand *operand)
{
	return operand->kind == OPERAND_PREFIX ||
	       (operand->kind == OPERAND_GROUP &&
		compiler->groups[operand->group->index].has_addresses);
}

/* The ports that a list of operands means, and those it excludes. */
struct ports_match {
	uint64_t *in;
	uint64_t *out;
	bool has_addresses; /* addresses that count as local ones by themselves */
};

static int match_ports(struct compiler *compiler, const struct operand_list *list,
		       struct ports_match *match)
{
	size_t words = compiler->vports.words;
	bool all = true;

	memset(match->in, 0, words * sizeof(uint64_t));
	memset(match->out, 0, words * sizeof(uint64_t));
	match->has_addresses = false;
	for (size_t i = 0; i < list->nr; i++) {
		const struct operand *operand = &list->items[i];
		uint64_t *bits = operand->negated ? match->out : match->in;
		const uint64_t *more;

		all &= operand->negated;
		if (!operand->negated)
			match->has_addresses |= operand_has_addresses(compiler, operand);
		if (operand->kind == OPERAND_ANY || operand->kind == OPERAND_ANY_VPORT) {
			memset(bits, 0xff, words * sizeof(uint64_t));
			continue;
		}
		if (operand->kind == OPERAND_PREFIX)
			continue;
		more = vports_of(&compiler->vports, operand);
		if (!more)
			return -ENOMEM;
		for (size_t word = 0; word < words; word++)
			bits[word] |= more[word];
	}
	/* Nothing said, or only what not. */
	if (all)
		memset(match->in, 0xff, words * sizeof(uint64_t));
	return 0;
}

struct lists_builder {
	struct compiler *compiler;
	struct entry_list *lists; /* of compiled port p: p * DFW_DIRECTIONS + direction */
	struct ports_match local;
	struct ports_match applied;
};

static int add_entries(struct lists_builder *builder, size_t index, const struct rule *rule,
		       enum dfw_direction direction)
{
	struct compiler *compiler = builder->compiler;
	const struct compiled *out = compiler->out;
	int r = match_ports(compiler, operands_of(rule, direction == DFW_IN ? END_TO : END_FROM),
			    &builder->local);

	for (size_t i = 0; r == 0 && i < out->nr_ports; i++) {
		size_t port = out->ports[i].port;
		bool in = bitmap_test(builder->local.in, port);
		bool excluded = bitmap_test(builder->local.out, port);
		bool has_addresses = compiler->ports[port].nr_addresses > 0;
		uint32_t *slot;

		if (!bitmap_test(builder->applied.in, port) ||
		    bitmap_test(builder->applied.out, port))
			continue;
		/* Addresses that a rule names may be any port's local ones: multicast, or behind a router. Of a port
		 * without addresses each local one counts as its own. */
		if (!(in && !excluded) &&
		    !(builder->local.has_addresses && (has_addresses || !excluded)))
			continue;
		slot = list_push(&compiler->scratch,
				 &builder->lists[i * DFW_DIRECTIONS + direction]);
		if (!slot)
			return -ENOMEM;
		*slot = (uint32_t)(index << ENTRY_SHIFT | (in ? ENTRY_PORT : 0) |
				   (excluded ? ENTRY_NOT : 0));
	}
	return r;
}

struct list *find_list(const struct compiler *compiler, uint32_t *entries, size_t nr,
		       enum dfw_direction direction, bool no_addresses)
{
	/* The key ends with what makes equal entries mean something else. */
	entries[nr] = (uint32_t)direction << 1 | no_addresses;
	return table_find(&compiler->list_by_entries, entries, (nr + 1) * sizeof(*entries));
}

/* `entries` as find_list() has left them. */
static int add_list(struct compiler *compiler, const uint32_t *entries, size_t nr,
		    enum dfw_direction direction, bool no_addresses, struct list **added)
{
	uint32_t *kept = arena_alloc(&compiler->arena, (nr + 1) * sizeof(*kept));
	struct list *list = arena_alloc(&compiler->arena, sizeof(*list));
	struct list **slot = list_push(&compiler->arena, &compiler->lists);

	if (!kept || !list || !slot)
		return -ENOMEM;
	memcpy(kept, entries, (nr + 1) * sizeof(*kept));
	*slot = list;
	*list = (struct list){
		.index = compiler->lists.nr - 1,
		.rules =
			{
				.direction = direction,
				.no_addresses = no_addresses,
				.entries = kept,
				.nr = nr,
			},
	};
	*added = list;
	return table_add(&compiler->arena, &compiler->list_by_entries, kept,
			 (nr + 1) * sizeof(*kept), list)
		       ? 0
		       : -ENOMEM;
}

/* Gives a port its list: a new one, or one that another port has already. */
static int assign_list(struct compiler *compiler, struct compiled_port *port,
		       enum dfw_direction direction, struct entry_list *entries)
{
	bool no_addresses = compiler->ports[port->port].nr_addresses == 0;
	size_t nr = entries->nr;
	struct list *list;
	int r = 0;

	if (nr > DFW_MAX_RULES) {
		port_error(compiler, compiler->ports[port->port].name,
			   "%zu rules apply to this port %s, a port has at most %d a direction", nr,
			   direction == DFW_IN ? "in" : "out", DFW_MAX_RULES);
		return 0;
	}
	if (!list_push(&compiler->scratch, entries))
		return -ENOMEM;
	list = find_list(compiler, entries->items, nr, direction, no_addresses);
	if (!list)
		r = add_list(compiler, entries->items, nr, direction, no_addresses, &list);
	if (r == 0)
		port->ruleset[direction] = list->index;
	return r;
}

static int build_lists(struct compiler *compiler)
{
	size_t bytes = (compiler->vports.words + 1) * sizeof(uint64_t);
	struct lists_builder builder = {
		.compiler = compiler,
		.lists = arena_alloc(&compiler->scratch, (compiler->out->nr_ports + 1) *
								 DFW_DIRECTIONS *
								 sizeof(*builder.lists)),
		.local = {.in = arena_alloc(&compiler->scratch, bytes),
			  .out = arena_alloc(&compiler->scratch, bytes)},
		.applied = {.in = arena_alloc(&compiler->scratch, bytes),
			    .out = arena_alloc(&compiler->scratch, bytes)},
	};
	int r = 0;

	if (!builder.lists || !builder.local.in || !builder.local.out || !builder.applied.in ||
	    !builder.applied.out)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < compiler->nr_rules; i++) {
		const struct rule *rule = compiler->matches[i].rule;

		r = match_ports(compiler, &rule->applied_to, &builder.applied);
		if (r == 0 && rule->direction != RULE_OUT)
			r = add_entries(&builder, i, rule, DFW_IN);
		if (r == 0 && rule->direction != RULE_IN)
			r = add_entries(&builder, i, rule, DFW_OUT);
	}
	for (size_t i = 0; i < compiler->out->nr_ports; i++)
		for (int direction = 0; r == 0 && direction < DFW_DIRECTIONS; direction++)
			r = assign_list(compiler, &compiler->out->ports[i],
					(enum dfw_direction)direction,
					&builder.lists[i * DFW_DIRECTIONS + (size_t)direction]);
	return r;
}

/* ---- Sets ---------------------------------------------------------------------------------------------------- */

/* What makes two address sets equal. Made in zeroed memory, since the bytes are compared, padding too. */
struct address_set_key {
	enum operand_kind kind;
	bool with_ports;
	uint32_t prefix_bits;
	struct dfw_addr address;
	const struct group *group;
};

/* Unambiguous, whatever letters keys and values have. */
static const char *tag_text(struct compiler *compiler, const struct tag_expr *expr)
{
	static const char *const marks[] = {[TAG_NOT] = "!", [TAG_AND] = "&", [TAG_OR] = "|"};
	const char *text;

	if (expr->kind == TAG_PRESENT)
		return arena_printf(&compiler->scratch, "%zu:%s", strlen(expr->key), expr->key);
	if (expr->kind == TAG_EQUALS)
		return arena_printf(&compiler->scratch, "%zu:%s=%zu:%s", strlen(expr->key),
				    expr->key, strlen(expr->value), expr->value);
	text = arena_printf(&compiler->scratch, "%s(", marks[expr->kind]);
	for (size_t i = 0; text && i < expr->children.nr; i++) {
		const char *child = tag_text(compiler, expr->children.items[i]);

		text = child ? arena_printf(&compiler->scratch, "%s%s,", text, child) : NULL;
	}
	return text ? arena_printf(&compiler->scratch, "%s)", text) : NULL;
}

/* The set under a key of one of the tables; made if it is not there yet. NULL: no memory. */
static struct address_set *keyed_set(struct compiler *compiler, struct table *table,
				     const void *key, size_t bytes, const struct operand *operand,
				     bool with_ports)
{
	struct address_set *set = table_find(table, key, bytes), **slot;

	if (set)
		return set;
	set = arena_alloc(&compiler->arena, sizeof(*set));
	slot = list_push(&compiler->arena, &compiler->address_sets);
	if (!set || !slot)
		return NULL;
	*set = (struct address_set){
		.id = (uint32_t)compiler->address_sets.nr - 1,
		.operand = operand,
		.with_ports = with_ports,
	};
	*slot = set;
	return table_add(&compiler->scratch, table, key, bytes, set);
}

/* The set of an operand. Two that say the same in other words are two sets: what they mean may part when ports change.
 * *set is NULL when no address can be in it. */
static int address_set(struct compiler *compiler, const struct operand *operand, bool with_ports,
		       struct address_set **set)
{
	struct address_set_key *key;
	const char *text;
	bool has_addresses = operand_has_addresses(compiler, operand);

	*set = NULL;
	with_ports = with_ports && operand->kind != OPERAND_PREFIX &&
		     (operand->kind != OPERAND_GROUP || operand->group->has_vports);
	if (!has_addresses && !with_ports)
		return 0;

	if (operand->kind == OPERAND_VPORT || operand->kind == OPERAND_TAG) {
		text = operand->kind == OPERAND_TAG
			       ? tag_text(compiler, operand->tag)
			       : arena_printf(&compiler->scratch, "*%s", operand->pattern);
		if (text)
			*set = keyed_set(compiler, &compiler->address_set_by_text, text,
					 strlen(text), operand, with_ports);
		return *set ? 0 : -ENOMEM;
	}
	key = arena_alloc(&compiler->scratch, sizeof(*key));
	if (!key)
		return -ENOMEM;
	key->kind = operand->kind;
	key->with_ports = with_ports;
	if (operand->kind == OPERAND_PREFIX) {
		key->prefix_bits = operand->prefix_bits;
		key->address = operand->address;
	} else if (operand->kind == OPERAND_GROUP) {
		key->group = operand->group;
	}
	*set = keyed_set(compiler, &compiler->address_set_by_key, key, sizeof(*key), operand,
			 with_ports);
	return *set ? 0 : -ENOMEM;
}

/* `remote`: the addresses of ports count, and `any` is any address. */
static int match_addresses(struct compiler *compiler, const struct operand_list *list, bool remote,
			   struct address_match *match)
{
	struct address_set *set;
	bool all = true;
	uint32_t *slot;
	int r;

	if (match->known)
		return 0;
	match->known = true;
	for (size_t i = 0; i < list->nr; i++) {
		const struct operand *operand = &list->items[i];

		all &= operand->negated;
		if (operand->kind == OPERAND_ANY) {
			match->any = true;
			continue;
		}
		r = address_set(compiler, operand, remote, &set);
		if (r < 0)
			return r;
		if (!set)
			continue;
		set->remote |= remote;
		set->local |= !remote;
		slot = list_push(&compiler->scratch, operand->negated ? &match->out : &match->in);
		if (!slot)
			return -ENOMEM;
		*slot = set->id;
	}
	match->any |= all;
	return 0;
}

static int value_set(struct compiler *compiler, struct value_sets *sets, struct table *by_content,
		     const struct range_list *ranges, uint32_t *id)
{
	/* Ids are kept as pointers, and one, so that none is NULL. */
	size_t next = sets->nr + 1;
	struct value_set *set;
	void *found;

	found = table_add(&compiler->scratch, by_content, ranges->items,
			  ranges->nr * sizeof(*ranges->items), (void *)next);
	if (!found)
		return -ENOMEM;
	if ((size_t)found == next) {
		set = list_push(&compiler->scratch, sets);
		if (!set)
			return -ENOMEM;
		set->ranges = ranges;
	}
	*id = (uint32_t)((size_t)found - 1);
	return 0;
}

static int match_values(struct compiler *compiler, struct rule_match *match)
{
	const struct traffic *traffic = match->rule->traffic;
	int r = 0;

	if (match->values_known)
		return 0;
	match->values_known = true;
	match->values = ANY_SET;
	match->sources = ANY_SET;
	match->portless = traffic->portless;
	if (!traffic->any)
		r = value_set(compiler, &compiler->values, &compiler->values_by_content,
			      &traffic->values, &match->values);
	if (r == 0 && !traffic->any_source)
		r = value_set(compiler, &compiler->sources, &compiler->sources_by_content,
			      &traffic->sources, &match->sources);
	return r;
}

static int build_sets(struct compiler *compiler)
{
	/* Each port is in this one, so that source class 0 is left for protocols without ports: a rule may mean icmp, and
	 * tcp from port 53 only. */
	static struct range every_port[] = {
		{DFW_L4_SOURCE_TCP, DFW_L4_VALUES - 1},
	};
	static const struct range_list has_port = {.items = every_port, .nr = 1};
	uint32_t id;
	int r = 0;

	for (size_t i = 0; i < compiler->lists.nr; i++) {
		const struct rule_list *list = &compiler->lists.items[i]->rules;
		enum rule_end remote = list->direction == DFW_IN ? END_FROM : END_TO;
		enum rule_end local = list->direction == DFW_IN ? END_TO : END_FROM;

		for (size_t j = 0; r == 0 && j < list->nr; j++) {
			struct rule_match *match =
				&compiler->matches[list->entries[j] >> ENTRY_SHIFT];

			r = match_addresses(compiler, operands_of(match->rule, remote), true,
					    &match->remote[remote]);
			if (r == 0)
				r = match_addresses(compiler, operands_of(match->rule, local),
						    false, &match->local[local]);
			if (r == 0)
				r = match_values(compiler, match);
		}
	}
	if (r == 0 && compiler->sources.nr)
		r = value_set(compiler, &compiler->sources, &compiler->sources_by_content,
			      &has_port, &id);
	return r;
}

/* ---- Classes ------------------------------------------------------------------------------------------------- */

/* Notes for each group with addresses which sets it is in. `visited` is by group index: a group that is reached by several
 * ways is entered once. */
static int enter_group(struct compiler *compiler, const struct group *group, uint32_t set,
		       uint32_t *visited)
{
	struct compiled_group *compiled = &compiler->groups[group->index];
	uint32_t *slot;
	int r = 0;

	if (visited[group->index] == set + 1 || !compiled->has_addresses)
		return 0;
	visited[group->index] = set + 1;
	slot = list_push(&compiler->arena, &compiled->sets);
	if (!slot)
		return -ENOMEM;
	*slot = set;
	for (size_t i = 0; r == 0 && i < group->members.nr; i++)
		if (group->members.items[i].kind == OPERAND_GROUP)
			r = enter_group(compiler, group->members.items[i].group, set, visited);
	return r;
}

/* Enters the addresses that the group itself names, the policy's and those at run time, in the sets it is in. */
static int add_group(struct compiler *compiler, const struct group *group)
{
	const struct compiled_group *compiled = &compiler->groups[group->index];
	int r = 0;

	for (size_t set = 0; r == 0 && set < compiled->sets.nr; set++) {
		for (size_t i = 0; r == 0 && i < group->members.nr; i++) {
			const struct operand *member = &group->members.items[i];

			if (member->kind == OPERAND_PREFIX)
				r = address_space_add(&compiler->addresses, &member->address,
						      member->prefix_bits,
						      compiled->sets.items[set]);
		}
		for (size_t i = 0; r == 0 && i < compiled->present.nr; i++) {
			const struct policy_member *member =
				&compiler->members[compiled->present.items[i]];

			r = address_space_add(&compiler->addresses, &member->address,
					      member->prefix_bits, compiled->sets.items[set]);
		}
	}
	return r;
}

static int add_ports(struct compiler *compiler, const struct address_set *set)
{
	const uint64_t *ports = vports_of(&compiler->vports, set->operand);
	int r = 0;

	if (!ports)
		return -ENOMEM;
	for (size_t i = 0; i < compiler->nr_ports; i++) {
		const struct policy_port *port = &compiler->ports[i];

		if (!bitmap_test(ports, i))
			continue;
		for (size_t j = 0; r == 0 && j < port->nr_addresses; j++)
			r = address_space_add(&compiler->addresses, &port->addresses[j],
					      DFW_ADDR_BITS, set->id);
	}
	return r;
}

/* Room for what changes of membership may bring, before all has to be compiled anew. */
#define SPARE_CLASSES	64
#define SPARE_ADDRESSES 4096
#define SPARE_V4_NODES	1024

static void make_room(struct compiler *compiler)
{
	struct address_space *space = &compiler->addresses;

	space->most_classes = space->classes.nr + space->classes.nr / 4 + SPARE_CLASSES;
	space->most_exact = 2 * space->nr_exact + SPARE_ADDRESSES;
	space->most_prefixes = 2 * space->nr_prefixes + SPARE_ADDRESSES;
	compiler->out->room_exact = space->most_exact;
	compiler->out->room_prefixes = space->most_prefixes;
	compiler->out->nr_address_classes = (uint32_t)space->classes.nr;
	compiler->classes.room_addresses = (uint32_t)space->most_classes;
}

static bool is_v4(const struct dfw_addr *address, uint32_t bits)
{
	return bits >= DFW_V4_PREFIX_BITS && addr_is_v4(address);
}

static int list_address(void *data, const struct dfw_addr *address, uint32_t bits, uint32_t class)
{
	struct compiled *out = data;
	struct compiled_address *place = bits == DFW_ADDR_BITS ? &out->exact[out->nr_exact++]
					 : is_v4(address, bits)
						 ? &out->prefixes4[out->nr_prefixes4++]
						 : &out->prefixes[out->nr_prefixes++];

	*place = (struct compiled_address){*address, bits, class};
	return 0;
}

static int list_addresses(struct compiler *compiler)
{
	const struct address_space *space = &compiler->addresses;
	struct compiled *out = compiler->out;

	out->exact = calloc(space->nr_exact + 1, sizeof(*out->exact));
	out->prefixes = calloc(space->nr_prefixes + 1, sizeof(*out->prefixes));
	out->prefixes4 = calloc(space->nr_prefixes + 1, sizeof(*out->prefixes4));
	if (!out->exact || !out->prefixes || !out->prefixes4)
		return -ENOMEM;
	return address_space_each(space, list_address, out);
}

void show_v4_tree(struct compiler *compiler)
{
	compiler->out->v4_nodes = compiler->v4.nodes;
	compiler->out->nr_v4_nodes = compiler->v4.nr;
	compiler->out->room_v4_nodes = compiler->v4.room;
}

static int build_v4_tree(struct compiler *compiler)
{
	int r = v4_tree_build(&compiler->v4, &compiler->addresses);

	if (r == 0)
		r = v4_tree_close(&compiler->v4, compiler->v4.nr / 2 + SPARE_V4_NODES);
	show_v4_tree(compiler);
	return r;
}

/* Turns "sets of each class" into "classes of each set". */
static int list_classes(struct compiler *compiler)
{
	const struct address_space *space = &compiler->addresses;
	struct number_lists *classes_of = &compiler->classes.classes_of;
	uint32_t nr_sets = compiler->classes.nr_address_sets;
	size_t total = 0;

	for (size_t i = 0; i < space->classes.nr; i++)
		total += space->classes.items[i]->nr;
	if (total > UINT32_MAX)
		return -ENOMEM;
	classes_of->begin = arena_alloc(&compiler->scratch, (nr_sets + 2) * sizeof(uint32_t));
	classes_of->items = arena_alloc(&compiler->scratch, total * sizeof(uint32_t));
	if (!classes_of->begin || !classes_of->items)
		return -ENOMEM;
	for (size_t i = 0; i < space->classes.nr; i++)
		for (uint32_t j = 0; j < space->classes.items[i]->nr; j++)
			classes_of->begin[space->classes.items[i]->sets[j] + 2]++;
	/* begin[set + 1] first moves along as the end of the list, and so ends up as the beginning of the next. */
	for (uint32_t i = 0; i < nr_sets; i++)
		classes_of->begin[i + 2] += classes_of->begin[i + 1];
	for (uint32_t i = 0; i < space->classes.nr; i++)
		for (uint32_t j = 0; j < space->classes.items[i]->nr; j++)
			classes_of
				->items[classes_of->begin[space->classes.items[i]->sets[j] + 1]++] =
				i;
	return 0;
}

static int add_address_set(struct compiler *compiler, const struct address_set *set,
			   uint32_t *visited)
{
	const struct operand *operand = set->operand;
	int r = 0;

	if (operand->kind == OPERAND_PREFIX)
		return address_space_add(&compiler->addresses, &operand->address,
					 operand->prefix_bits, set->id);
	if (operand->kind == OPERAND_GROUP)
		r = enter_group(compiler, operand->group, set->id, visited);
	return r < 0 || !set->with_ports ? r : add_ports(compiler, set);
}

static int build_address_classes(struct compiler *compiler)
{
	const struct policy *policy = compiler->policy;
	uint32_t *visited =
		arena_alloc(&compiler->scratch, (policy->groups.nr + 1) * sizeof(*visited));
	int r = visited ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < compiler->address_sets.nr; i++)
		r = add_address_set(compiler, compiler->address_sets.items[i], visited);
	for (size_t i = 0; r == 0 && i < policy->groups.nr; i++)
		r = add_group(compiler, policy->groups.items[i]);
	if (r == 0)
		r = address_space_classify(&compiler->addresses);
	if (r == 0)
		r = list_addresses(compiler);
	if (r == 0)
		r = build_v4_tree(compiler);
	if (r < 0)
		return r;
	make_room(compiler);
	return list_classes(compiler);
}

static int build_classes(struct compiler *compiler)
{
	struct compiled *out = compiler->out;
	struct classes *classes = &compiler->classes;
	int r;

	out->l4 = calloc(DFW_L4_BLOCKS, sizeof(*out->l4));
	if (!out->l4)
		return -ENOMEM;
	classes->addresses = &compiler->addresses;
	classes->nr_address_sets = (uint32_t)compiler->address_sets.nr;
	classes->nr_value_sets = (uint32_t)compiler->values.nr;
	classes->nr_source_sets = (uint32_t)compiler->sources.nr;
	r = build_address_classes(compiler);
	if (r == 0)
		r = value_classes_build(&compiler->scratch, &compiler->values, out->l4,
					&classes->values);
	if (r == 0)
		r = value_classes_build(&compiler->scratch, &compiler->sources, out->l4,
					&classes->sources);
	out->nr_l4_classes = classes->values.nr;
	out->nr_source_classes = classes->sources.nr;
	return r;
}

/* ---- Groups -------------------------------------------------------------------------------------------------- */

static bool find_addresses(struct compiler *compiler, const struct group *group, bool *known)
{
	struct compiled_group *compiled = &compiler->groups[group->index];

	if (known[group->index])
		return compiled->has_addresses;
	known[group->index] = true;
	compiled->has_addresses = group->has_addresses || compiled->present.nr;
	for (size_t i = 0; i < group->members.nr; i++)
		if (group->members.items[i].kind == OPERAND_GROUP &&
		    find_addresses(compiler, group->members.items[i].group, known))
			compiled->has_addresses = true;
	return compiled->has_addresses;
}

static int build_groups(struct compiler *compiler)
{
	const struct policy *policy = compiler->policy;
	bool *known = arena_alloc(&compiler->scratch, policy->groups.nr * sizeof(*known));

	compiler->groups =
		arena_alloc(&compiler->arena, (policy->groups.nr + 1) * sizeof(*compiler->groups));
	if (!compiler->groups || !known)
		return -ENOMEM;
	for (size_t i = 0; i < compiler->nr_members; i++) {
		uint32_t *slot =
			list_push(&compiler->scratch,
				  &compiler->groups[compiler->members[i].group->index].present);

		if (!slot)
			return -ENOMEM;
		*slot = (uint32_t)i;
	}
	for (size_t i = 0; i < policy->groups.nr; i++)
		find_addresses(compiler, policy->groups.items[i], known);
	return 0;
}

/* ---- All of it ----------------------------------------------------------------------------------------------- */

static int build_rulesets(struct compiler *compiler)
{
	struct compiled *out = compiler->out;
	int r = 0;

	out->rulesets = calloc(compiler->lists.nr + 1, sizeof(*out->rulesets));
	if (!out->rulesets)
		return -ENOMEM;
	for (; r == 0 && out->nr_rulesets < compiler->lists.nr; out->nr_rulesets++)
		r = ruleset_build(compiler->policy, compiler->matches, &compiler->classes,
				  &compiler->lists.items[out->nr_rulesets]->rules,
				  &out->rulesets[out->nr_rulesets]);
	return r;
}

static void build_hash(struct compiler *compiler)
{
	struct compiled *out = compiler->out;
	uint64_t halves[2] = {0x6466772d74616273ULL, 0x6c65732068617368ULL};
	const size_t sizes[] = {out->room_exact, out->room_prefixes, out->room_v4_nodes};

	for (size_t i = 0; i < 2; i++) {
		uint64_t hash = hash_bytes(halves[i], sizes, sizeof(sizes));

		hash = hash_bytes(hash, out->exact, out->nr_exact * sizeof(*out->exact));
		hash = hash_bytes(hash, out->prefixes, out->nr_prefixes * sizeof(*out->prefixes));
		hash = hash_bytes(hash, out->v4_nodes, out->nr_v4_nodes * sizeof(*out->v4_nodes));
		hash = value_classes_hash(&compiler->classes.values, hash);
		halves[i] = value_classes_hash(&compiler->classes.sources, hash);
	}
	memcpy(out->hash, halves, sizeof(out->hash));
}

static int list_rules(struct compiler *compiler)
{
	const struct policy *policy = compiler->policy;

	compiler->matches = arena_alloc(&compiler->scratch,
					(policy->nr_rules + 1) * sizeof(*compiler->matches));
	if (!compiler->matches)
		return -ENOMEM;
	for (size_t i = 0; i < policy->tiers.nr; i++)
		for (size_t j = 0; j < policy->tiers.items[i]->rules.nr; j++)
			compiler->matches[compiler->nr_rules++].rule =
				policy->tiers.items[i]->rules.items[j];
	return 0;
}

static int compile(struct compiler *compiler)
{
	size_t again = 0;
	int r = vports_init(&compiler->vports, &compiler->scratch, compiler->policy,
			    compiler->ports, compiler->nr_ports, &again);

	if (r == -EEXIST) {
		port_error(compiler, compiler->ports[again].name,
			   "there are two ports of this name");
		return -EINVAL;
	}
	if (r == 0)
		r = check_ports(compiler);
	if (r == 0)
		r = build_ports(compiler);
	if (r == 0)
		r = build_groups(compiler);
	if (r == 0)
		r = list_rules(compiler);
	if (r == 0)
		r = build_lists(compiler);
	if (r == 0 && (compiler->errors->nr || compiler->errors->nr_unreported))
		r = -EINVAL;
	if (r == 0)
		r = build_sets(compiler);
	if (r == 0)
		r = build_classes(compiler);
	if (r == 0)
		r = build_rulesets(compiler);
	if (r < 0)
		return r;
	build_hash(compiler);
	return copy_ports(compiler);
}

static void cleanup_compiled(struct compiled **compiled)
{
	compiled_free(*compiled);
}

void compiler_free(struct compiler *compiler)
{
	if (!compiler)
		return;
	for (size_t i = 0; i < compiler->nr_copies; i++)
		free(compiler->copies[i]);
	free(compiler->copies);
	address_space_free(&compiler->addresses);
	free(compiler->v4.nodes);
	arena_free(&compiler->scratch);
	arena_free(&compiler->arena);
	free(compiler);
}

static int make_compiler(struct compiled *out)
{
	struct compiler *compiler = calloc(1, sizeof(*compiler));

	if (!compiler)
		return -ENOMEM;
	compiler->out = out;
	out->compiler = compiler;
	return address_space_init(&compiler->addresses);
}

/* What belongs to the caller, or is made again if ever it is needed again. */
static void forget(struct compiler *compiler)
{
	compiler->ports = NULL;
	compiler->members = NULL;
	compiler->errors = NULL;
	compiler->matches = NULL;
	compiler->address_set_by_key = compiler->address_set_by_text = (struct table){};
	compiler->values_by_content = compiler->sources_by_content = (struct table){};
	compiler->values = compiler->sources = (struct value_sets){};
	compiler->classes = (struct classes){};
	compiler->vports = (struct vports){};
	for (size_t i = 0; i < compiler->policy->groups.nr; i++)
		compiler->groups[i].present = (struct set_list){};
	arena_free(&compiler->scratch);
}

int policy_compile_with(const struct policy *policy, const struct policy_port *ports,
			size_t nr_ports, const struct policy_member *members, size_t nr_members,
			struct compiled **compiled, struct policy_errors *errors)
{
	_cleanup_(cleanup_compiled) struct compiled *out = calloc(1, sizeof(*out));
	int r = out ? make_compiler(out) : -ENOMEM;

	*compiled = NULL;
	*errors = (struct policy_errors){0};
	if (r < 0)
		return r;
	out->compiler->policy = policy;
	out->compiler->ports = ports;
	out->compiler->nr_ports = nr_ports;
	out->compiler->members = members;
	out->compiler->nr_members = nr_members;
	out->compiler->errors = errors;
	r = compile(out->compiler);
	if (r < 0)
		return r;
	forget(out->compiler);
	*compiled = TAKE_PTR(out);
	return 0;
}

void compiled_free(struct compiled *compiled)
{
	if (!compiled)
		return;
	for (size_t i = 0; i < compiled->nr_rulesets; i++) {
		free(compiled->rulesets[i].rules);
		free(compiled->rulesets[i].refs);
		ruleset_rows_free(compiled->rulesets[i].rows);
	}
	free(compiled->rulesets);
	free(compiled->exact);
	free(compiled->prefixes);
	free(compiled->prefixes4);
	free(compiled->l4);
	free(compiled->ports);
	compiler_free(compiled->compiler);
	free(compiled);
}
