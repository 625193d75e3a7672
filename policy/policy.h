/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_POLICY_H
#define DFW_POLICY_H

/*
 * The policy language: text or JSON -> struct policy -> the tables of the datapath. A pure library: no I/O, no clock,
 * no global state; who calls it brings the texts (struct policy_reader) and the list of ports (struct policy_port).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <dfw/flow.h>
#include <dfw/port.h>
#include <dfw/ruleset.h>
#include <dfw/types.h>

#define POLICY_MAX_BYTES	 (16U << 20) /* of all texts of one policy together */
#define POLICY_MAX_ERRORS	 20	     /* reported in one run; more are counted */
#define POLICY_MAX_INCLUDE_DEPTH 16

/* ---- Errors -------------------------------------------------------------------------------------------------- */

struct policy_error {
	char *file;
	unsigned int line;   /* from 1; 0: no place */
	unsigned int column; /* from 1, in bytes */
	char *text;	     /* what is wrong, what would be right */
};

struct policy_errors {
	struct policy_error *list;
	size_t nr;
	size_t nr_unreported; /* behind POLICY_MAX_ERRORS */
};

void policy_errors_free(struct policy_errors *errors);

/* Prints a line for each error, "file:line:column: text", and one that counts the unreported. */
void policy_errors_print(const struct policy_errors *errors, FILE *out);

/* ---- Source -> model ------------------------------------------------------------------------------------------ */

/* Brings the text of a file. `name` is the name as it stands after `include`, `from` the name of the file that says so
 * (NULL for the main file). On success *text is malloc'd (not NUL-terminated, may hold any bytes), *resolved is the
 * malloc'd name to show in errors and to detect double and circular includes by. Returns 0 or a negative errno. */
struct policy_reader {
	int (*read)(void *data, const char *from, const char *name, char **text, size_t *bytes,
		    char **resolved);
	void *data;
};

struct policy; /* the model */

/* Parses the text form, or the JSON form when the first byte that is not white space is '{'. All checks that need no
 * list of ports are done here: unknown names, cycles, duplicates, ranges.
 * Returns 0; -EINVAL with *errors filled (and *policy NULL); -ENOMEM. */
int policy_parse(const struct policy_reader *reader, const char *name, struct policy **policy,
		 struct policy_errors *errors);
void policy_free(struct policy *policy);

/* The JSON form, indented, with a final newline; reading it back gives an equal model. *json is malloc'd. */
int policy_to_json(const struct policy *policy, char **json);

/* The text form, includes resolved, comments gone; reading it back gives an equal model. *text is malloc'd. */
int policy_to_text(const struct policy *policy, char **text);

/* One rule in the language, without its name, as `rules` shows it: "allow in from any to web service http log".
 * Finds it by stable id. *text is malloc'd. -ENOENT when there is none. */
int policy_rule_text(const struct policy *policy, uint32_t rule_id, char **text);

/* Stable id of a rule: FNV-1a (32 bit) over "tier/name"; 0 is never given. Collisions are an error of policy_parse. */
uint32_t policy_rule_id(const char *tier, const char *name);

/* ---- Model + ports -> tables ---------------------------------------------------------------------------------- */

struct group;

/* The group of that name, or NULL; the groups in the order of the policy, NULL behind the last. */
const struct group *policy_group(const struct policy *policy, const char *name);
const struct group *policy_nth_group(const struct policy *policy, size_t n);
const char *group_name(const struct group *group);
/* How many members the policy gives the group, and one of them in the language, malloc'd. */
size_t group_size(const struct group *group);
int group_member_text(const struct group *group, size_t n, char **text);

/* An address or prefix that is in a group at run time, beside the members that the policy gives it. */
struct policy_member {
	const struct group *group;
	struct dfw_addr address;
	uint32_t prefix_bits; /* of 128 */
};

struct policy_tag {
	const char *key;
	const char *value;
};

/* A port of the firewall, on whatever host it is. */
struct policy_port {
	const char *name;
	const struct policy_tag *tags;
	size_t nr_tags;
	const struct dfw_addr *addresses;
	size_t nr_addresses;
	const char *profile; /* NULL: "default" */
	bool here;	     /* on this host: rule sets are wanted for it */
};

/* The rule set of one direction, in the layout of <dfw/ruleset.h>. */
struct compiled_ruleset {
	struct dfw_ruleset header;   /* `tables` is left 0 */
	struct dfw_rule_info *rules; /* header.nr_rules + 1: the last is the default */
	struct dfw_row_ref *refs;
	size_t nr_refs;
	struct dfw_row_chunk *chunks;
	size_t nr_chunks;
	size_t room_chunks; /* with those to come, zeroed: the map's size */
	struct ruleset_rows *rows;
};

struct compiled_port {
	size_t port;			/* index in the list of ports given */
	size_t ruleset[DFW_DIRECTIONS]; /* index in compiled.rulesets */
	struct dfw_profile profile;
};

struct compiled_address {
	struct dfw_addr address;
	uint32_t prefix_bits; /* of 128 */
	uint32_t class;
};

struct compiler;

/* The tables, with room for what changes of membership may add, see compiled_change_members(). */
struct compiled {
	struct compiled_address *exact; /* prefix_bits 128; as they were when compiled */
	size_t nr_exact;
	struct compiled_address *prefixes; /* IPv6 */
	size_t nr_prefixes;
	struct compiled_address *prefixes4; /* IPv4, which v4_nodes has for the datapath */
	size_t nr_prefixes4;
	size_t room_exact; /* how many there may be */
	size_t room_prefixes;
	const struct dfw_v4_node *v4_nodes;
	size_t nr_v4_nodes;
	size_t room_v4_nodes;
	struct dfw_l4_block *l4; /* DFW_L4_BLOCKS */
	uint32_t nr_address_classes;
	uint32_t nr_l4_classes;
	uint32_t nr_source_classes;
	struct compiled_ruleset *rulesets;
	size_t nr_rulesets;
	struct compiled_port *ports; /* those with `here`, in the order given */
	size_t nr_ports;
	uint8_t hash[16];	   /* of the tables, as header.hash is of a rule set */
	struct compiler *compiler; /* what it takes to change it; refers to the policy */
};

/* Errors (a port with an unknown profile, an address of two ports, more than DFW_MAX_RULES rules on a port) have no
 * place in a file: line 0, `file` names the port. Returns 0, -EINVAL with *errors filled, -ENOMEM. */
int policy_compile_with(const struct policy *policy, const struct policy_port *ports,
			size_t nr_ports, const struct policy_member *members, size_t nr_members,
			struct compiled **compiled, struct policy_errors *errors);
static inline int policy_compile(const struct policy *policy, const struct policy_port *ports,
				 size_t nr_ports, struct compiled **compiled,
				 struct policy_errors *errors)
{
	return policy_compile_with(policy, ports, nr_ports, NULL, 0, compiled, errors);
}
void compiled_free(struct compiled *compiled);

/* ---- Changes of membership ------------------------------------------------------------------------------------ */

/* What is new in a rule set: a reference, and the chunks it refers to, if they were not there. */
struct row_change {
	size_t ruleset;
	uint32_t ref;
	uint32_t chunk;
	uint32_t nr_chunks;
};

struct row_changes {
	struct row_change *items; /* malloc'd */
	size_t nr;
	size_t room;
	size_t ruleset; /* of the changes to come */
};

/* An element of the tables (of an address or an IPv6 prefix) that is to be written, or taken away when not `listed`. */
struct address_change {
	struct dfw_addr address;
	uint32_t prefix_bits; /* of 128 */
	uint32_t class;
	uint32_t former; /* class, where it was listed */
	bool listed;
	bool was_listed;
};

struct address_changes {
	struct address_change *items; /* malloc'd */
	size_t nr;
	size_t room;
};

/* An entry of v4_nodes. */
struct v4_change {
	uint32_t node;
	uint32_t entry;
	uint32_t former;
	uint32_t value;
};

struct v4_changes {
	struct v4_change *items; /* malloc'd */
	size_t nr;
	size_t room;
	size_t first_new; /* the nodes from here on were not there before, and are to be written first */
};

/* What changes in the tables, in the order in which it must be written: chunks, references, nodes and entries of IPv4
 * prefixes, elements of addresses. The values of rows and nodes lie in the tables. */
struct compiled_changes {
	struct row_changes rows;
	struct v4_changes v4;
	struct address_changes addresses;
};

void compiled_changes_free(struct compiled_changes *changes);

/*
 * These change the tables without compiling. They return 0 with *changes filled, or
 *   -ENOSPC   there is no room left in the tables
 *   -ENOTSUP  it is more than a change of membership, or a packet could see half of it
 *   -ENOMEM
 * After an error the tables are good for nothing but being freed: compile anew.
 */

/* Puts members in, or takes them out. Each is a change of its own; who is not in a group cannot leave it. */
int compiled_change_members(struct compiled *compiled, const struct policy_member *members,
			    size_t nr, bool in, struct compiled_changes *changes);

/* Whether these ports can take the place of those compiled: names, tags and addresses may differ as far as each port has
 * rules that some port had before. Changes nothing. Returns 0 with what compiled->ports would be (malloc'd), -ENOTSUP,
 * or -ENOMEM. */
int compiled_fit_ports(const struct compiled *compiled, const struct policy_port *ports, size_t nr,
		       struct compiled_port **fit, size_t *nr_fit);
/* After it has said 0. */
int compiled_change_ports(struct compiled *compiled, const struct policy_port *ports, size_t nr,
			  struct compiled_changes *changes);

/* Takes away elements of addresses that are in no group any more: `most` at most; *changes->addresses has them. They say
 * nothing that their surroundings do not say. */
int compiled_bury(struct compiled *compiled, size_t most, struct compiled_changes *changes);
/* How many there are, or less. */
size_t compiled_graves(const struct compiled *compiled);

/* Calls `each` for every element of the tables as they are now, until it returns an error. */
int compiled_each_address(const struct compiled *compiled,
			  int (*each)(void *data, const struct dfw_addr *address,
				      uint32_t prefix_bits, uint32_t class),
			  void *data);

/* What the tables say, by the datapath's own steps in plain C (for tests and `policy check --packet`). */
struct policy_packet {
	struct dfw_addr local;
	struct dfw_addr remote;
	bool local_is_own;
	uint8_t protocol;
	uint16_t source_port;	   /* host byte order; TCP, UDP, SCTP */
	uint16_t destination_port; /* host byte order */
	uint8_t icmp_type;
	uint8_t icmp_code;
};

/* Index of the rule that decides (header.nr_rules: the default); `pass` is followed. */
uint32_t compiled_lookup(const struct compiled *compiled, const struct compiled_ruleset *ruleset,
			 const struct policy_packet *packet);

#endif
