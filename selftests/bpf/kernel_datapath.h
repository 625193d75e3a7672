/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTESTS_KERNEL_DATAPATH_H
#define SELFTESTS_KERNEL_DATAPATH_H

/*
 * The datapath's object in the kernel, without dfwd: its maps filled as loader/stage.c and loader/tables.c do. The frames of
 * BPF_PROG_RUN come from the loopback device, which is the port's that port_slots says.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <dfw/maps.h>
#include <dfw/port.h>
#include <dfw/reason.h>
#include <dfw/ruleset.h>

#include "flow_table.h"
#include "policy/policy.h"

#define LOOPBACK 1 /* the device of a frame in BPF_PROG_RUN */

static struct bpf_object *object;
static int program[DFW_DIRECTIONS], nr_cpus;

/* ---- Maps -------------------------------------------------------------------------------------------------------- */

static inline void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static inline int fd_of(const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(object, name);

	must(fd >= 0, name);
	return fd;
}

/* libbpf forgets the templates of the inner maps when it has loaded the object. */
static struct shape {
	const char *outer;
	enum bpf_map_type type;
	uint32_t key_bytes, value_bytes, entries, flags;
} shapes[24]; /* ends with one whose `outer` is NULL */

static inline void note_shapes(void)
{
	struct bpf_map *map;
	size_t nr = 0;

	bpf_object__for_each_map(map, object)
	{
		const struct bpf_map *inner = bpf_map__inner_map(map);

		if (inner && nr + 1 < sizeof(shapes) / sizeof(shapes[0]))
			shapes[nr++] = (struct shape){
				bpf_map__name(map),	     bpf_map__type(inner),
				bpf_map__key_size(inner),    bpf_map__value_size(inner),
				bpf_map__max_entries(inner), bpf_map__map_flags(inner)};
	}
}

/* Makes the inner map of `outer` at `index`, of `entries` (0: as the template), with `values`, if given. */
static inline int make_inner(const char *outer, uint32_t index, uint32_t entries,
			     const void *values, uint32_t nr)
{
	LIBBPF_OPTS(bpf_map_create_opts, options);
	const struct shape *shape = shapes;
	int fd;

	while (shape->outer && strcmp(shape->outer, outer) != 0)
		shape++;
	must(shape->outer, outer);
	options.map_flags = shape->flags;
	fd = bpf_map_create(shape->type, outer, shape->key_bytes, shape->value_bytes,
			    entries ? entries : shape->entries, &options);
	must(fd >= 0, outer);
	for (uint32_t i = 0; values && i < nr; i++)
		must(bpf_map_update_elem(fd, &i,
					 (const char *)values + (size_t)i * shape->value_bytes,
					 BPF_ANY) == 0,
		     outer);
	must(bpf_map_update_elem(fd_of(outer), &index, &fd, BPF_ANY) == 0, outer);
	return fd;
}

static inline uint32_t at_least_one(size_t nr)
{
	return nr ? (uint32_t)nr : 1;
}

static inline void load_tables(const struct compiled *compiled)
{
	int exact = make_inner("addr_exact", 0, at_least_one(compiled->nr_exact), NULL, 0);
	int prefix = make_inner("addr_prefix", 0, at_least_one(compiled->nr_prefixes), NULL, 0);

	for (size_t i = 0; i < compiled->nr_exact; i++)
		must(bpf_map_update_elem(exact, &compiled->exact[i].address,
					 &compiled->exact[i].class, BPF_ANY) == 0,
		     "addr_exact");
	for (size_t i = 0; i < compiled->nr_prefixes; i++) {
		struct dfw_prefix_key key = {.prefix_bits = compiled->prefixes[i].prefix_bits};

		memcpy(key.bytes, compiled->prefixes[i].address.bytes, sizeof(key.bytes));
		must(bpf_map_update_elem(prefix, &key, &compiled->prefixes[i].class, BPF_ANY) == 0,
		     "addr_prefix");
	}
	close(exact);
	close(prefix);
	close(make_inner("addr_prefix4", 0, (uint32_t)compiled->nr_v4_nodes, compiled->v4_nodes,
			 (uint32_t)compiled->nr_v4_nodes));
	close(make_inner("l4_classes", 0, 0, compiled->l4, DFW_L4_BLOCKS));
	for (uint32_t i = 0; i < compiled->nr_rulesets; i++) {
		const struct compiled_ruleset *r = &compiled->rulesets[i];

		must(bpf_map_update_elem(fd_of("rulesets"), &i, &r->header, BPF_ANY) == 0,
		     "rulesets");
		close(make_inner("rule_infos", i, r->header.nr_rules + 1, r->rules,
				 r->header.nr_rules + 1));
		close(make_inner("row_refs", i, at_least_one(r->nr_refs), r->refs,
				 (uint32_t)r->nr_refs));
		close(make_inner("row_chunks", i, at_least_one(r->nr_chunks), r->chunks,
				 (uint32_t)r->nr_chunks));
	}
}

/* Makes the maps of a port, of which `config` says all but its rules and its profile. */
static inline void load_port(const struct compiled *compiled, uint32_t port,
			     struct dfw_port_config config)
{
	const struct compiled_port *made = &compiled->ports[port];

	config.slot = port;
	config.profile = made->profile;
	for (int direction = 0; direction < DFW_DIRECTIONS; direction++) {
		config.ruleset[direction] = (uint32_t)made->ruleset[direction];
		config.hits_base[direction] = config.hits_count;
		config.hits_count +=
			compiled->rulesets[made->ruleset[direction]].header.nr_rules + 1;
	}
	for (uint32_t bank = 0; bank < DFW_BANKS; bank++) {
		close(make_inner("configs", port * DFW_BANKS + bank, 0, &config, 1));
		close(make_inner("hits", port * DFW_BANKS + bank,
				 (uint32_t)nr_cpus * config.hits_count, NULL, 0));
	}
	close(make_inner("flows", port, flow_table_pages(made->profile.flow_table), NULL, 0));
	close(make_inner("more_flows", port, flow_table_more(&made->profile), NULL, 0));
	close(make_inner("half_open", port, flow_table_pages(made->profile.max_half_open), NULL,
			 0));
	close(make_inner("fragments", port, made->profile.max_fragments, NULL, 0));
	close(make_inner("counters", port, 0, NULL, 0));
	close(make_inner("states", port, 0, NULL, 0));
}

static inline void flip(uint16_t revision)
{
	const struct dfw_revision next = {
		.generation = 1, .revision = revision, .bank = revision & 1};
	uint32_t zero = 0;

	must(bpf_map_update_elem(fd_of("active"), &zero, &next, BPF_ANY) == 0, "active");
}

/* Opens and loads the object of DFW_BUILD, or the one given. */
static inline void load_object(const char *given)
{
	const char *build = getenv("DFW_BUILD");
	char path[4096];

	snprintf(path, sizeof(path), "%s/bpf/dfw_tc.bpf.o", build ? build : "build");
	if (given)
		snprintf(path, sizeof(path), "%s", given);
	nr_cpus = libbpf_num_possible_cpus();
	object = bpf_object__open_file(path, NULL);
	must(object, path);
	note_shapes();
	must(bpf_object__load(object) == 0, path);
	program[DFW_IN] = bpf_program__fd(bpf_object__find_program_by_name(object, "dfw_in"));
	program[DFW_OUT] = bpf_program__fd(bpf_object__find_program_by_name(object, "dfw_out"));
}

#endif
