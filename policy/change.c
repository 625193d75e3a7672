// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "compile.h"
#include "util.h"

/*
 * Changes of membership, in tables that are compiled already: an address joins and leaves sets, which gives it another
 * class; when there was none of that combination, each rule set gets a row for it. docs/design.md says why no packet sees
 * half of it.
 */

/* A list of changes that pays: a longer one is better compiled. */
#define MOST_PORTS 256

void compiled_changes_free(struct compiled_changes *changes)
{
	free(changes->rows.items);
	free(changes->v4.items);
	free(changes->addresses.items);
	*changes = (struct compiled_changes){};
}

/* ---- Classes and sets -------------------------------------------------------------------------------------------- */

static size_t longest_row(const struct compiled *compiled)
{
	size_t words = 1;

	for (size_t i = 0; i < compiled->nr_rulesets; i++) {
		size_t more = compiled->rulesets[i].rows->nr_chunks * DFW_CHUNK_WORDS;

		if (words < more)
			words = more;
	}
	return words;
}

/* Makes the rows of the classes that have come since there were `first`. */
static int add_classes(struct compiled *compiled, size_t first, struct row_changes *changes)
{
	const struct address_space *space = &compiled->compiler->addresses;
	_cleanup_free_ uint64_t *bits = NULL;
	int r = 0;

	if (space->classes.nr == first)
		return 0;
	bits = calloc(longest_row(compiled), sizeof(*bits));
	if (!bits)
		return -ENOMEM;
	for (size_t i = first; i < space->classes.nr && r == 0; i++)
		for (size_t j = 0; j < compiled->nr_rulesets && r == 0; j++) {
			changes->ruleset = j;
			r = ruleset_add_class(&compiled->rulesets[j], space->classes.items[i], bits,
					      changes);
		}
	compiled->nr_address_classes = (uint32_t)space->classes.nr;
	return r;
}

static bool asked_at_both_ends(const struct compiler *compiler, const struct set_changes *sets)
{
	bool remote = false, local = false;

	for (size_t i = 0; i < sets->nr_join; i++) {
		remote |= compiler->address_sets.items[sets->join[i]]->remote;
		local |= compiler->address_sets.items[sets->join[i]]->local;
	}
	for (size_t i = 0; i < sets->nr_leave; i++) {
		remote |= compiler->address_sets.items[sets->leave[i]]->remote;
		local |= compiler->address_sets.items[sets->leave[i]]->local;
	}
	return remote && local;
}

static bool is_v4_prefix(const struct dfw_addr *address, uint32_t bits)
{
	return bits >= DFW_V4_PREFIX_BITS && bits < DFW_ADDR_BITS && addr_is_v4(address);
}

/* A packet looks up two addresses, one after the other: where several elements change with one membership, it could see
 * one of them as it was and the other as it will be. That does no harm as long as no rule asks about both ends. */
static int change_sets(struct compiled *compiled, const struct dfw_addr *address, uint32_t bits,
		       const struct set_changes *sets, struct compiled_changes *changes)
{
	struct compiler *compiler = compiled->compiler;
	size_t before = changes->addresses.nr + changes->v4.nr;
	int r = address_space_change(&compiler->addresses, address, bits, sets,
				     &changes->addresses);

	if (r == 0 && is_v4_prefix(address, bits))
		r = v4_tree_change(&compiler->v4, &compiler->addresses, address, bits,
				   &changes->v4);
	show_v4_tree(compiler);
	if (r == 0 && changes->addresses.nr + changes->v4.nr - before > 1 &&
	    asked_at_both_ends(compiler, sets))
		return -ENOTSUP;
	return r;
}

/* ---- Members of groups ------------------------------------------------------------------------------------------- */

int compiled_change_members(struct compiled *compiled, const struct policy_member *members,
			    size_t nr, bool in, struct compiled_changes *changes)
{
	const struct compiler *compiler = compiled->compiler;
	size_t nr_classes = compiler->addresses.classes.nr;
	int r = 0;

	*changes = (struct compiled_changes){.v4.first_new = compiler->v4.nr};
	for (size_t i = 0; i < nr && r == 0; i++) {
		const struct compiled_group *group = &compiler->groups[members[i].group->index];
		const struct set_list *sets = &group->sets;
		const struct set_changes change = {
			.join = sets->items,
			.nr_join = in ? sets->nr : 0,
			.leave = sets->items,
			.nr_leave = in ? 0 : sets->nr,
		};

		/* Its first address: rules that name it are for other ports now. */
		if (!group->has_addresses)
			return -ENOTSUP;
		if (sets->nr)
			r = change_sets(compiled, &members[i].address, members[i].prefix_bits,
					&change, changes);
	}
	return r < 0 ? r : add_classes(compiled, nr_classes, &changes->rows);
}

/* ---- Addresses without sets -------------------------------------------------------------------------------------- */

int compiled_bury(struct compiled *compiled, size_t most, struct compiled_changes *changes)
{
	*changes = (struct compiled_changes){};
	return address_space_bury(&compiled->compiler->addresses, most, &changes->addresses);
}

size_t compiled_graves(const struct compiled *compiled)
{
	return compiled->compiler->addresses.graves.nr;
}

int compiled_each_address(const struct compiled *compiled,
			  int (*each)(void *data, const struct dfw_addr *address,
				      uint32_t prefix_bits, uint32_t class),
			  void *data)
{
	return address_space_each(&compiled->compiler->addresses, each, data);
}

/* ---- Ports: the copies ------------------------------------------------------------------------------------------- */

static size_t text_bytes(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

static const char *copy_text(char **at, const char *text)
{
	char *copy = *at;

	if (!text)
		return NULL;
	memcpy(copy, text, text_bytes(text));
	*at += text_bytes(text);
	return copy;
}

/* In one piece, to be freed as such. */
static struct port_copy *copy_port(const struct policy_port *port)
{
	size_t bytes = sizeof(struct port_copy) + port->nr_tags * sizeof(*port->tags) +
		       port->nr_addresses * sizeof(*port->addresses) + text_bytes(port->name) +
		       text_bytes(port->profile);
	struct dfw_addr *addresses;
	struct policy_tag *tags;
	struct port_copy *copy;
	char *at;

	for (size_t i = 0; i < port->nr_tags; i++)
		bytes += text_bytes(port->tags[i].key) + text_bytes(port->tags[i].value);
	copy = calloc(1, bytes);
	if (!copy)
		return NULL;
	tags = (struct policy_tag *)(copy + 1);
	addresses = (struct dfw_addr *)(tags + port->nr_tags);
	at = (char *)(addresses + port->nr_addresses);
	for (size_t i = 0; i < port->nr_tags; i++)
		tags[i] = (struct policy_tag){copy_text(&at, port->tags[i].key),
					      copy_text(&at, port->tags[i].value)};
	if (port->nr_addresses)
		memcpy(addresses, port->addresses, port->nr_addresses * sizeof(*addresses));
	copy->port = (struct policy_port){
		.name = copy_text(&at, port->name),
		.tags = tags,
		.nr_tags = port->nr_tags,
		.addresses = addresses,
		.nr_addresses = port->nr_addresses,
		.profile = copy_text(&at, port->profile),
		.here = port->here,
	};
	return copy;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_port(const struct policy_port *a, const struct policy_port *b)
{
	if (a->here != b->here || a->nr_tags != b->nr_tags || a->nr_addresses != b->nr_addresses ||
	    !same_text(a->profile, b->profile))
		return false;
	for (size_t i = 0; i < a->nr_tags; i++)
		if (strcmp(a->tags[i].key, b->tags[i].key) != 0 ||
		    strcmp(a->tags[i].value, b->tags[i].value) != 0)
			return false;
	return a->nr_addresses == 0 ||
	       memcmp(a->addresses, b->addresses, a->nr_addresses * sizeof(*a->addresses)) == 0;
}

static int compare_copies(const void *a, const void *b)
{
	const struct port_copy *left = *(struct port_copy *const *)a;
	const struct port_copy *right = *(struct port_copy *const *)b;

	return strcmp(left->port.name, right->port.name);
}

static int own_addresses(struct address_space *space, const struct policy_port *port, bool owned)
{
	int r = 0;

	for (size_t i = 0; i < port->nr_addresses && r == 0; i++)
		r = address_space_own(space, &port->addresses[i], owned);
	return r;
}

int copy_ports(struct compiler *compiler)
{
	size_t here = 0;
	int r = 0;

	compiler->copies = calloc(compiler->nr_ports + 1, sizeof(*compiler->copies));
	if (!compiler->copies)
		return -ENOMEM;
	for (size_t i = 0; i < compiler->nr_ports && r == 0; i++) {
		struct port_copy *copy = copy_port(&compiler->ports[i]);

		if (!copy)
			return -ENOMEM;
		compiler->copies[compiler->nr_copies++] = copy;
		if (copy->port.here)
			memcpy(copy->ruleset, compiler->out->ports[here++].ruleset,
			       sizeof(copy->ruleset));
		r = own_addresses(&compiler->addresses, &copy->port, true);
	}
	qsort(compiler->copies, compiler->nr_copies, sizeof(*compiler->copies), compare_copies);
	return r;
}

/* ---- Ports: what differs ----------------------------------------------------------------------------------------- */

/* A port that is new, gone (`now` is NULL) or other than it was. */
struct difference {
	struct port_copy *was;
	const struct policy_port *now;
	size_t ruleset[DFW_DIRECTIONS];
};

struct differences {
	struct difference items[MOST_PORTS];
	size_t nr;
	const struct policy_port **sorted; /* the ports of now */
	struct port_copy **was;		   /* of each of them: its copy, NULL for a new one */
};

static void differences_free(struct differences *differences)
{
	if (differences) {
		free(differences->sorted);
		free(differences->was);
	}
	free(differences);
}

static void differences_cleanup(struct differences **differences)
{
	differences_free(*differences);
}

static int compare_ports(const void *a, const void *b)
{
	const struct policy_port *left = *(const struct policy_port *const *)a;
	const struct policy_port *right = *(const struct policy_port *const *)b;

	return strcmp(left->name, right->name);
}

static int sort_ports(struct differences *differences, const struct policy_port *ports, size_t nr)
{
	bool sorted = true;

	differences->sorted = calloc(nr + 1, sizeof(struct policy_port *));
	differences->was = calloc(nr + 1, sizeof(struct port_copy *));
	if (!differences->sorted || !differences->was)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		differences->sorted[i] = &ports[i];
		sorted &= i == 0 || strcmp(ports[i - 1].name, ports[i].name) < 0;
	}
	if (!sorted)
		qsort(differences->sorted, nr, sizeof(*differences->sorted), compare_ports);
	/* Two of one name are an error, which the compiler tells. */
	for (size_t i = 1; i < nr && !sorted; i++)
		if (strcmp(differences->sorted[i - 1]->name, differences->sorted[i]->name) == 0)
			return -ENOTSUP;
	return 0;
}

static int note_difference(struct differences *differences, struct port_copy *was,
			   const struct policy_port *now)
{
	if (was && now && same_port(&was->port, now))
		return 0;
	if (differences->nr == MOST_PORTS)
		return -ENOTSUP;
	differences->items[differences->nr++] = (struct difference){.was = was, .now = now};
	return 0;
}

static int find_differences(const struct compiler *compiler, const struct policy_port *ports,
			    size_t nr, struct differences *differences)
{
	size_t was = 0, now = 0;
	int r = sort_ports(differences, ports, nr);

	while (r == 0 && (was < compiler->nr_copies || now < nr)) {
		struct port_copy *copy = was < compiler->nr_copies ? compiler->copies[was] : NULL;
		const struct policy_port *port = now < nr ? differences->sorted[now] : NULL;
		int order = !copy ? 1 : !port ? -1 : strcmp(copy->port.name, port->name);

		if (order == 0)
			differences->was[now] = copy;
		r = note_difference(differences, order <= 0 ? copy : NULL,
				    order >= 0 ? port : NULL);
		was += order <= 0;
		now += order >= 0;
	}
	return r;
}

/* ---- Ports: their rules ------------------------------------------------------------------------------------------ */

/* As match_ports() in compile.c, for one port. */
struct port_match {
	bool in;
	bool out;
	bool has_addresses;
};

static struct port_match match_port(const struct compiler *compiler,
				    const struct vport_question *question,
				    const struct operand_list *list)
{
	struct port_match match = {};
	bool all = true;

	for (size_t i = 0; i < list->nr; i++) {
		const struct operand *operand = &list->items[i];

		all &= operand->negated;
		if (operand->negated)
			match.out |= vport_meant(question, operand);
		else
			match.in |= vport_meant(question, operand);
		match.has_addresses |=
			!operand->negated && operand_has_addresses(compiler, operand);
	}
	match.in |= all;
	return match;
}

/* As add_entries() in compile.c. *entry is what the rule is to the port, but for its index; false: nothing. */
static bool rule_entry(const struct compiler *compiler, const struct vport_question *question,
		       const struct rule *rule, enum dfw_direction direction, uint32_t *entry)
{
	bool has_addresses = question->port->nr_addresses > 0;
	struct port_match match;

	if (rule->direction == (direction == DFW_IN ? RULE_OUT : RULE_IN))
		return false;
	match = match_port(compiler, question, &rule->applied_to);
	if (!match.in || match.out)
		return false;
	match = match_port(compiler, question,
			   operands_of(rule, direction == DFW_IN ? END_TO : END_FROM));
	*entry = (match.in ? ENTRY_PORT : 0) | (match.out ? ENTRY_NOT : 0);
	return (match.in && !match.out) || (match.has_addresses && (has_addresses || !match.out));
}

/* The rule set that the port's rules of one direction make. -ENOTSUP: none of those there are. */
static int find_ruleset(const struct compiler *compiler, const struct vport_question *question,
			enum dfw_direction direction, size_t *ruleset)
{
	const struct policy *policy = compiler->policy;
	_cleanup_free_ uint32_t *entries = calloc(compiler->nr_rules + 1, sizeof(*entries));
	uint32_t index = 0, entry;
	const struct list *list;
	size_t nr = 0;

	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < policy->tiers.nr; i++)
		for (size_t j = 0; j < policy->tiers.items[i]->rules.nr; j++, index++)
			if (rule_entry(compiler, question, policy->tiers.items[i]->rules.items[j],
				       direction, &entry))
				entries[nr++] = index << ENTRY_SHIFT | entry;
	list = find_list(compiler, entries, nr, direction, question->port->nr_addresses == 0);
	if (!list)
		return -ENOTSUP;
	*ruleset = list->index;
	return 0;
}

static int find_rulesets(const struct compiler *compiler, struct difference *difference)
{
	_cleanup_free_ unsigned char *known = calloc(compiler->policy->groups.nr + 1, 1);
	const struct vport_question question = {.port = difference->now, .known = known};
	int r = known ? 0 : -ENOMEM;

	for (int direction = 0; direction < DFW_DIRECTIONS && r == 0; direction++)
		r = find_ruleset(compiler, &question, (enum dfw_direction)direction,
				 &difference->ruleset[direction]);
	return r;
}

/* ---- Ports: whether they fit ------------------------------------------------------------------------------------- */

static bool has_address(const struct policy_port *port, const struct dfw_addr *address)
{
	for (size_t i = 0; port && i < port->nr_addresses; i++)
		if (memcmp(&port->addresses[i], address, sizeof(*address)) == 0)
			return true;
	return false;
}

/* An address that goes from one port to another, or that two want, is the compiler's business. */
static bool addresses_fit(const struct compiler *compiler, const struct differences *differences,
			  const struct difference *difference)
{
	const struct policy_port *was = difference->was ? &difference->was->port : NULL;

	for (size_t i = 0; difference->now && i < difference->now->nr_addresses; i++) {
		const struct dfw_addr *address = &difference->now->addresses[i];

		if (has_address(was, address))
			continue;
		if (address_space_owned(&compiler->addresses, address))
			return false;
		for (const struct difference *other = differences->items; other < difference;
		     other++)
			if (has_address(other->now, address))
				return false;
	}
	return true;
}

static int fit_differences(const struct compiler *compiler, struct differences *differences)
{
	int r = 0;

	for (size_t i = 0; i < differences->nr && r == 0; i++) {
		struct difference *difference = &differences->items[i];

		if (!addresses_fit(compiler, differences, difference))
			return -ENOTSUP;
		if (difference->now && difference->now->here)
			r = find_rulesets(compiler, difference);
	}
	return r;
}

static const struct difference *difference_of(const struct differences *differences,
					      const struct policy_port *port)
{
	for (size_t i = 0; i < differences->nr; i++)
		if (differences->items[i].now == port)
			return &differences->items[i];
	return NULL;
}

static int compare_compiled_ports(const void *a, const void *b)
{
	const struct compiled_port *left = a, *right = b;

	return (left->port > right->port) - (left->port < right->port);
}

/* What the compiler would have said of each port that is here. */
static int list_fit(const struct compiler *compiler, const struct differences *differences,
		    const struct policy_port *ports, size_t nr, struct compiled_port **fit,
		    size_t *nr_fit)
{
	_cleanup_free_ struct compiled_port *list = calloc(nr + 1, sizeof(*list));
	size_t used = 0;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		const struct policy_port *port = differences->sorted[i];
		const struct difference *difference;
		const size_t *ruleset;

		if (!port->here)
			continue;
		difference = difference_of(differences, port);
		ruleset = difference ? difference->ruleset : differences->was[i]->ruleset;
		list[used].port = (size_t)(port - ports);
		memcpy(list[used].ruleset, ruleset, sizeof(list[used].ruleset));
		if (profile_complete(compiler->policy, port->profile, &list[used].profile) < 0)
			return -ENOTSUP;
		used++;
	}
	qsort(list, used, sizeof(*list), compare_compiled_ports);
	*fit = TAKE_PTR(list);
	*nr_fit = used;
	return 0;
}

int compiled_fit_ports(const struct compiled *compiled, const struct policy_port *ports, size_t nr,
		       struct compiled_port **fit, size_t *nr_fit)
{
	_cleanup_(differences_cleanup) struct differences *differences =
		calloc(1, sizeof(*differences));
	int r = differences ? find_differences(compiled->compiler, ports, nr, differences)
			    : -ENOMEM;

	if (r == 0)
		r = fit_differences(compiled->compiler, differences);
	return r < 0 ? r : list_fit(compiled->compiler, differences, ports, nr, fit, nr_fit);
}

/* ---- Ports: changing --------------------------------------------------------------------------------------------- */

struct port_sets {
	uint32_t *were; /* sets that mean the port as it was ... */
	size_t nr_were;
	uint32_t *are; /* ... and as it is, both sorted */
	size_t nr_are;
	uint32_t *join; /* scratch */
	uint32_t *leave;
};

static void port_sets_free(struct port_sets *sets)
{
	free(sets->were);
	free(sets->are);
	free(sets->join);
	free(sets->leave);
}

static int find_sets(const struct compiler *compiler, const struct policy_port *port,
		     uint32_t **sets, size_t *nr)
{
	_cleanup_free_ unsigned char *known = calloc(compiler->policy->groups.nr + 1, 1);
	const struct vport_question question = {.port = port, .known = known};

	*sets = calloc(compiler->address_sets.nr + 1, sizeof(**sets));
	if (!known || !*sets)
		return -ENOMEM;
	for (size_t i = 0; port && i < compiler->address_sets.nr; i++) {
		const struct address_set *set = compiler->address_sets.items[i];

		if (set->with_ports && vport_meant(&question, set->operand))
			(*sets)[(*nr)++] = set->id;
	}
	return 0;
}

/* What is in `a` and not in `b`, both sorted. */
static size_t subtract(const uint32_t *a, size_t nr_a, const uint32_t *b, size_t nr_b,
		       uint32_t *rest)
{
	size_t nr = 0, at = 0;

	for (size_t i = 0; i < nr_a; i++) {
		while (at < nr_b && b[at] < a[i])
			at++;
		if (at == nr_b || b[at] != a[i])
			rest[nr++] = a[i];
	}
	return nr;
}

static int change_address(struct compiled *compiled, const struct dfw_addr *address, bool had,
			  bool has, const struct port_sets *sets, struct compiled_changes *changes)
{
	size_t nr_were = had ? sets->nr_were : 0, nr_are = has ? sets->nr_are : 0;
	const struct set_changes change = {
		.join = sets->join,
		.nr_join = subtract(sets->are, nr_are, sets->were, nr_were, sets->join),
		.leave = sets->leave,
		.nr_leave = subtract(sets->were, nr_were, sets->are, nr_are, sets->leave),
	};

	if (change.nr_join == 0 && change.nr_leave == 0)
		return 0;
	return change_sets(compiled, address, DFW_ADDR_BITS, &change, changes);
}

static int change_addresses(struct compiled *compiled, const struct policy_port *was,
			    const struct policy_port *now, const struct port_sets *sets,
			    struct compiled_changes *changes)
{
	int r = 0;

	for (size_t i = 0; was && i < was->nr_addresses && r == 0; i++)
		r = change_address(compiled, &was->addresses[i], true,
				   has_address(now, &was->addresses[i]), sets, changes);
	for (size_t i = 0; now && i < now->nr_addresses && r == 0; i++)
		if (!has_address(was, &now->addresses[i]))
			r = change_address(compiled, &now->addresses[i], false, true, sets,
					   changes);
	if (r == 0 && was)
		r = own_addresses(&compiled->compiler->addresses, was, false);
	if (r == 0 && now)
		r = own_addresses(&compiled->compiler->addresses, now, true);
	return r;
}

static int change_port(struct compiled *compiled, const struct difference *difference,
		       struct compiled_changes *changes)
{
	const struct compiler *compiler = compiled->compiler;
	const struct policy_port *was = difference->was ? &difference->was->port : NULL;
	_cleanup_(port_sets_free) struct port_sets sets = {
		.join = calloc(compiler->address_sets.nr + 1, sizeof(*sets.join)),
		.leave = calloc(compiler->address_sets.nr + 1, sizeof(*sets.leave)),
	};
	int r = sets.join && sets.leave ? 0 : -ENOMEM;

	if (r == 0)
		r = find_sets(compiler, was, &sets.were, &sets.nr_were);
	if (r == 0)
		r = find_sets(compiler, difference->now, &sets.are, &sets.nr_are);
	return r < 0 ? r : change_addresses(compiled, was, difference->now, &sets, changes);
}

/* The copies are from now on of the ports as they are. */
static int renew_copies(struct compiler *compiler, const struct differences *differences, size_t nr)
{
	_cleanup_free_ struct port_copy **copies = calloc(nr + 1, sizeof(*copies));
	bool failed = !copies;

	for (size_t i = 0; i < nr && !failed; i++) {
		const struct difference *difference =
			difference_of(differences, differences->sorted[i]);

		copies[i] = difference ? copy_port(difference->now) : differences->was[i];
		failed = !copies[i];
		if (difference && !failed)
			memcpy(copies[i]->ruleset, difference->ruleset, sizeof(copies[i]->ruleset));
	}
	for (size_t i = 0; i < nr && failed && copies; i++)
		if (difference_of(differences, differences->sorted[i]))
			free(copies[i]);
	if (failed)
		return -ENOMEM;
	for (size_t i = 0; i < differences->nr; i++)
		free(differences->items[i].was);
	free(compiler->copies);
	compiler->copies = TAKE_PTR(copies);
	compiler->nr_copies = nr;
	return 0;
}

int compiled_change_ports(struct compiled *compiled, const struct policy_port *ports, size_t nr,
			  struct compiled_changes *changes)
{
	struct compiler *compiler = compiled->compiler;
	size_t nr_classes = compiler->addresses.classes.nr;
	_cleanup_(differences_cleanup) struct differences *differences =
		calloc(1, sizeof(*differences));
	int r = differences ? find_differences(compiler, ports, nr, differences) : -ENOMEM;

	*changes = (struct compiled_changes){.v4.first_new = compiler->v4.nr};
	for (size_t i = 0; r == 0 && i < differences->nr; i++) {
		if (differences->items[i].now && differences->items[i].now->here)
			r = find_rulesets(compiler, &differences->items[i]);
		if (r == 0)
			r = change_port(compiled, &differences->items[i], changes);
	}
	if (r == 0)
		r = add_classes(compiled, nr_classes, &changes->rows);
	return r < 0 ? r : renew_copies(compiler, differences, nr);
}
