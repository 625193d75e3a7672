// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "compile.h"
#include "parser.h"
#include "table.h"
#include "util.h"
#include "vports.h"

/*
 * In order: which ports each rule means (vports.c), each port's list of rules, equal lists made one; the sets that the
 * rules of those lists use; the classes of addresses and values that the sets cut (address_classes.c, value_classes.c);
 * the rows of each list (ruleset.c). Sets are made only for rules that are in some list of this host.
 */

/* What an address must be in. */
struct address_set {
	uint32_t id;
	const struct operand *operand;
	bool with_ports; /* the addresses of its ports count too */
};

struct entry_list {
	uint32_t *items;
	size_t nr;
	size_t room;
};

struct list {
	struct rule_list rules;
	size_t index; /* in compiled.rulesets */
};

struct compiler {
	const struct policy *policy;
	const struct policy_port *ports;
	size_t nr_ports;
	struct policy_errors *errors;
	struct arena arena;
	struct vports vports;
	struct rule_match *matches; /* of all rules, in order */
	size_t nr_rules;
	struct {
		struct list **items;
		size_t nr;
		size_t room;
	} lists;
	struct table list_by_entries;
	struct {
		struct address_set **items;
		size_t nr;
		size_t room;
	} address_sets;
	struct table address_set_by_key;
	struct table address_set_by_ports;
	struct value_sets values;
	struct table values_by_content;
	struct value_sets sources;
	struct table sources_by_content;
	struct classes classes;
	struct compiled *out;
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

			first = table_add(&compiler->arena, &by_address, &port->addresses[j],
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

static const struct operand_list *operands_of(const struct rule *rule, enum rule_end end)
{
	return end == END_FROM ? &rule->from : &rule->to;
}

static bool operand_has_addresses(const struct operand *operand)
{
	return operand->kind == OPERAND_PREFIX ||
	       (operand->kind == OPERAND_GROUP && operand->group->has_addresses);
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
			match->has_addresses |= operand_has_addresses(operand);
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
		slot = list_push(&compiler->arena, &builder->lists[i * DFW_DIRECTIONS + direction]);
		if (!slot)
			return -ENOMEM;
		*slot = (uint32_t)(index << ENTRY_SHIFT | (in ? ENTRY_PORT : 0) |
				   (excluded ? ENTRY_NOT : 0));
	}
	return r;
}

/* Gives a port its list: a new one, or one that another port has already. */
static int assign_list(struct compiler *compiler, struct compiled_port *port,
		       enum dfw_direction direction, struct entry_list *entries)
{
	bool no_addresses = compiler->ports[port->port].nr_addresses == 0;
	struct list *list, **slot;
	uint32_t *key;

	if (entries->nr > DFW_MAX_RULES) {
		port_error(compiler, compiler->ports[port->port].name,
			   "%zu rules apply to this port %s, a port has at most %d a direction",
			   entries->nr, direction == DFW_IN ? "in" : "out", DFW_MAX_RULES);
		return 0;
	}
	/* The key ends with what makes equal entries mean something else. */
	key = list_push(&compiler->arena, entries);
	if (!key)
		return -ENOMEM;
	*key = (uint32_t)direction << 1 | no_addresses;
	list = table_find(&compiler->list_by_entries, entries->items,
			  entries->nr * sizeof(*entries->items));
	if (!list) {
		list = arena_alloc(&compiler->arena, sizeof(*list));
		slot = list_push(&compiler->arena, &compiler->lists);
		if (!list || !slot ||
		    !table_add(&compiler->arena, &compiler->list_by_entries, entries->items,
			       entries->nr * sizeof(*entries->items), list))
			return -ENOMEM;
		*slot = list;
		list->index = compiler->lists.nr - 1;
		list->rules = (struct rule_list){
			.direction = direction,
			.no_addresses = no_addresses,
			.entries = entries->items,
			.nr = entries->nr - 1,
		};
	}
	port->ruleset[direction] = list->index;
	return 0;
}

static int build_lists(struct compiler *compiler)
{
	size_t bytes = (compiler->vports.words + 1) * sizeof(uint64_t);
	struct lists_builder builder = {
		.compiler = compiler,
		.lists = arena_alloc(&compiler->arena, (compiler->out->nr_ports + 1) *
							       DFW_DIRECTIONS *
							       sizeof(*builder.lists)),
		.local = {.in = arena_alloc(&compiler->arena, bytes),
			  .out = arena_alloc(&compiler->arena, bytes)},
		.applied = {.in = arena_alloc(&compiler->arena, bytes),
			    .out = arena_alloc(&compiler->arena, bytes)},
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

/* The set of an operand, made if it is not there yet. *id is ANY_SET when no address can be in it. */
static int address_set(struct compiler *compiler, const struct operand *operand, bool with_ports,
		       uint32_t *id)
{
	struct address_set_key *key;
	struct table *table = &compiler->address_set_by_key;
	struct address_set *set, **slot;
	const void *key_bytes;
	size_t bytes = sizeof(*key);
	bool has_addresses = operand_has_addresses(operand);

	*id = ANY_SET;
	with_ports = with_ports && operand->kind != OPERAND_PREFIX &&
		     (operand->kind != OPERAND_GROUP || operand->group->has_vports);
	if (!has_addresses && !with_ports)
		return 0;

	key = arena_alloc(&compiler->arena, sizeof(*key));
	if (!key)
		return -ENOMEM;
	key_bytes = key;
	key->kind = operand->kind;
	key->with_ports = with_ports;
	if (operand->kind == OPERAND_PREFIX) {
		key->prefix_bits = operand->prefix_bits;
		key->address = operand->address;
	} else if (has_addresses) {
		key->group = operand->group;
	} else {
		/* Whatever says it, the same ports have the same addresses. */
		key_bytes = vports_of(&compiler->vports, operand);
		if (!key_bytes)
			return -ENOMEM;
		bytes = compiler->vports.words * sizeof(uint64_t);
		table = &compiler->address_set_by_ports;
	}

	set = table_find(table, key_bytes, bytes);
	if (!set) {
		set = arena_alloc(&compiler->arena, sizeof(*set));
		slot = list_push(&compiler->arena, &compiler->address_sets);
		if (!set || !slot)
			return -ENOMEM;
		*set = (struct address_set){
			.id = (uint32_t)compiler->address_sets.nr - 1,
			.operand = operand,
			.with_ports = with_ports,
		};
		*slot = set;
		if (!table_add(&compiler->arena, table, key_bytes, bytes, set))
			return -ENOMEM;
	}
	*id = set->id;
	return 0;
}

/* `remote`: the addresses of ports count, and `any` is any address. */
static int match_addresses(struct compiler *compiler, const struct operand_list *list, bool remote,
			   struct address_match *match)
{
	uint32_t id, *slot;
	bool all = true;
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
		r = address_set(compiler, operand, remote, &id);
		if (r < 0)
			return r;
		if (id == ANY_SET)
			continue;
		slot = list_push(&compiler->arena, operand->negated ? &match->out : &match->in);
		if (!slot)
			return -ENOMEM;
		*slot = id;
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

	found = table_add(&compiler->arena, by_content, ranges->items,
			  ranges->nr * sizeof(*ranges->items), (void *)next);
	if (!found)
		return -ENOMEM;
	if ((size_t)found == next) {
		set = list_push(&compiler->arena, sets);
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

static int add_prefix(struct compiler *compiler, struct prefix_entries *entries,
		      const struct dfw_addr *address, uint32_t bits, uint32_t set)
{
	struct prefix_entry *entry = list_push(&compiler->arena, entries);

	if (!entry)
		return -ENOMEM;
	*entry = prefix_entry(address, bits, set);
	return 0;
}

/* `visited` is by group index: a group that is reached by several ways is entered once. */
static int add_group(struct compiler *compiler, struct prefix_entries *entries,
		     const struct group *group, uint32_t set, uint32_t *visited)
{
	int r = 0;

	if (visited[group->index] == set + 1 || !group->has_addresses)
		return 0;
	visited[group->index] = set + 1;
	for (size_t i = 0; r == 0 && i < group->members.nr; i++) {
		const struct operand *member = &group->members.items[i];

		if (member->kind == OPERAND_PREFIX)
			r = add_prefix(compiler, entries, &member->address, member->prefix_bits,
				       set);
		else if (member->kind == OPERAND_GROUP)
			r = add_group(compiler, entries, member->group, set, visited);
	}
	return r;
}

static int add_address_set(struct compiler *compiler, struct prefix_entries *entries,
			   const struct address_set *set, uint32_t *visited)
{
	const struct operand *operand = set->operand;
	const uint64_t *ports;
	int r = 0;

	if (operand->kind == OPERAND_PREFIX)
		return add_prefix(compiler, entries, &operand->address, operand->prefix_bits,
				  set->id);
	if (operand->kind == OPERAND_GROUP)
		r = add_group(compiler, entries, operand->group, set->id, visited);
	if (r < 0 || !set->with_ports)
		return r;
	ports = vports_of(&compiler->vports, operand);
	if (!ports)
		return -ENOMEM;
	for (size_t i = 0; i < compiler->nr_ports; i++) {
		const struct policy_port *port = &compiler->ports[i];

		if (!bitmap_test(ports, i))
			continue;
		for (size_t j = 0; r == 0 && j < port->nr_addresses; j++)
			r = add_prefix(compiler, entries, &port->addresses[j], DFW_ADDR_BITS,
				       set->id);
	}
	return r;
}

static int build_classes(struct compiler *compiler)
{
	struct compiled *out = compiler->out;
	struct classes *classes = &compiler->classes;
	struct prefix_entries entries = {0};
	uint32_t *visited =
		arena_alloc(&compiler->arena, (compiler->policy->groups.nr + 1) * sizeof(*visited));
	int r = 0;

	out->l4 = calloc(DFW_L4_BLOCKS, sizeof(*out->l4));
	if (!out->l4 || !visited)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < compiler->address_sets.nr; i++)
		r = add_address_set(compiler, &entries, compiler->address_sets.items[i], visited);
	classes->nr_address_sets = (uint32_t)compiler->address_sets.nr;
	classes->nr_value_sets = (uint32_t)compiler->values.nr;
	classes->nr_source_sets = (uint32_t)compiler->sources.nr;
	if (r == 0)
		r = address_classes_build(&compiler->arena, &entries, classes->nr_address_sets, out,
					  &classes->addresses);
	if (r == 0)
		r = value_classes_build(&compiler->arena, &compiler->values, out->l4,
					&classes->values);
	if (r == 0)
		r = value_classes_build(&compiler->arena, &compiler->sources, out->l4,
					&classes->sources);
	out->nr_l4_classes = classes->values.nr;
	out->nr_source_classes = classes->sources.nr;
	return r;
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

static int list_rules(struct compiler *compiler)
{
	const struct policy *policy = compiler->policy;

	compiler->matches =
		arena_alloc(&compiler->arena, (policy->nr_rules + 1) * sizeof(*compiler->matches));
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
	int r = vports_init(&compiler->vports, &compiler->arena, compiler->policy, compiler->ports,
			    compiler->nr_ports, &again);

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
	return r;
}

static void cleanup_compiled(struct compiled **compiled)
{
	compiled_free(*compiled);
}

static void compiler_free(struct compiler *compiler)
{
	arena_free(&compiler->arena);
}

int policy_compile(const struct policy *policy, const struct policy_port *ports, size_t nr_ports,
		   struct compiled **compiled, struct policy_errors *errors)
{
	_cleanup_(cleanup_compiled) struct compiled *out = calloc(1, sizeof(*out));
	_cleanup_(compiler_free) struct compiler compiler = {
		.policy = policy,
		.ports = ports,
		.nr_ports = nr_ports,
		.errors = errors,
		.out = out,
	};
	int r;

	*compiled = NULL;
	*errors = (struct policy_errors){0};
	if (!out)
		return -ENOMEM;
	r = compile(&compiler);
	if (r < 0)
		return r;
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
		free(compiled->rulesets[i].chunks);
	}
	free(compiled->rulesets);
	free(compiled->exact);
	free(compiled->prefixes);
	free(compiled->l4);
	free(compiled->ports);
	free(compiled);
}
