// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "classifier.h"
#include "util.h"

#define MAX_SHAPES 32

/* libbpf forgets the templates of inner maps when it loads. */
struct shape {
	const char *outer;
	enum bpf_map_type type;
	uint32_t key_bytes;
	uint32_t value_bytes;
	uint32_t entries;
	uint32_t flags;
};

struct classifier {
	struct bpf_object *object;
	struct shape shapes[MAX_SHAPES];
	size_t nr_shapes;
	const struct compiled *compiled;
	size_t nr; /* headers */
};

static int complain(const char *what, int r)
{
	fprintf(stderr, "classifier: %s: %s\n", what, strerror(-r));
	return r;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list list)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, list) : 0;
}

void classifier_close(struct classifier *classifier)
{
	if (!classifier)
		return;
	bpf_object__close(classifier->object);
	free(classifier);
}

static int map_of(const struct classifier *classifier, const char *name)
{
	return bpf_object__find_map_fd_by_name(classifier->object, name);
}

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

static void note_shapes(struct classifier *classifier)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, classifier->object)
	{
		const struct bpf_map *inner = bpf_map__inner_map(map);

		if (inner && classifier->nr_shapes < MAX_SHAPES)
			classifier->shapes[classifier->nr_shapes++] = (struct shape){
				.outer = bpf_map__name(map),
				.type = bpf_map__type(inner),
				.key_bytes = bpf_map__key_size(inner),
				.value_bytes = bpf_map__value_size(inner),
				.entries = bpf_map__max_entries(inner),
				.flags = bpf_map__map_flags(inner),
			};
	}
}

/* Makes the inner map of `outer` at `index`; an fd. */
static int make_inner(const struct classifier *classifier, const char *outer, uint32_t index,
		      size_t entries)
{
	const struct shape *shape = classifier->shapes, *end = shape + classifier->nr_shapes;
	LIBBPF_OPTS(bpf_map_create_opts, options);
	_cleanup_close_ int fd = -1;
	int r;

	while (shape < end && strcmp(shape->outer, outer) != 0)
		shape++;
	if (shape == end)
		return -ENOENT;
	options.map_flags = shape->flags;
	fd = bpf_map_create(shape->type, outer, shape->key_bytes, shape->value_bytes,
			    entries ? (uint32_t)entries : 1, &options);
	if (fd < 0)
		return fd;
	r = bpf_map_update_elem(map_of(classifier, outer), &index, &fd, BPF_ANY);
	return r < 0 ? r : TAKE_FD(fd);
}

static int put_array(int map, const void *values, size_t nr)
{
	_cleanup_free_ uint32_t *keys = calloc(nr + 1, sizeof(*keys));
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	uint32_t count = (uint32_t)nr;

	if (!keys)
		return -ENOMEM;
	for (uint32_t i = 0; i < nr; i++)
		keys[i] = i;
	return nr ? bpf_map_update_batch(map, keys, values, &count, &options) : 0;
}

static int make_array(const struct classifier *classifier, const char *outer, uint32_t index,
		      const void *values, size_t nr)
{
	_cleanup_close_ int fd = make_inner(classifier, outer, index, nr);

	return fd < 0 ? fd : put_array(fd, values, nr);
}

static int make_addresses(const struct classifier *classifier, const struct compiled *compiled)
{
	_cleanup_close_ int exact = make_inner(classifier, "addr_exact", 0, compiled->nr_exact);
	_cleanup_close_ int prefix =
		make_inner(classifier, "addr_prefix", 0, compiled->nr_prefixes);
	int r = exact < 0 ? exact : prefix < 0 ? prefix : 0;

	if (r == 0)
		r = make_array(classifier, "addr_prefix4", 0, compiled->v4_nodes,
			       compiled->nr_v4_nodes);
	for (size_t i = 0; i < compiled->nr_exact && r == 0; i++)
		r = bpf_map_update_elem(exact, &compiled->exact[i].address,
					&compiled->exact[i].class, BPF_ANY);
	for (size_t i = 0; i < compiled->nr_prefixes && r == 0; i++) {
		struct dfw_prefix_key key = {.prefix_bits = compiled->prefixes[i].prefix_bits};

		memcpy(key.bytes, compiled->prefixes[i].address.bytes, sizeof(key.bytes));
		r = bpf_map_update_elem(prefix, &key, &compiled->prefixes[i].class, BPF_ANY);
	}
	return r;
}

static int make_ruleset(const struct classifier *classifier, uint32_t index,
			const struct compiled_ruleset *ruleset)
{
	int r = bpf_map_update_elem(map_of(classifier, "rulesets"), &index, &ruleset->header,
				    BPF_ANY);

	if (r == 0)
		r = make_array(classifier, "rule_infos", index, ruleset->rules,
			       ruleset->header.nr_rules + 1);
	if (r == 0)
		r = make_array(classifier, "row_refs", index, ruleset->refs, ruleset->nr_refs);
	if (r == 0)
		r = make_array(classifier, "row_chunks", index, ruleset->chunks,
			       ruleset->nr_chunks);
	return r;
}

static int make_tables(const struct classifier *classifier, const struct compiled *compiled)
{
	int r = make_addresses(classifier, compiled);

	if (r == 0)
		r = make_array(classifier, "l4_classes", 0, compiled->l4, DFW_L4_BLOCKS);
	for (size_t i = 0; i < compiled->nr_rulesets && r == 0; i++)
		r = make_ruleset(classifier, (uint32_t)i, &compiled->rulesets[i]);
	return r;
}

int classifier_open(const struct compiled *compiled, struct classifier **classifier)
{
	_cleanup_classifier_ struct classifier *new = calloc(1, sizeof(*new));
	const char *build = getenv("DFW_BUILD");
	char path[4096];
	int r;

	if (!new)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/selftests/bench/classify.bpf.o", build ? build : "build");
	libbpf_set_print(quiet);
	new->object = bpf_object__open_file(path, NULL);
	if (!new->object)
		return complain(path, -errno);
	note_shapes(new);
	r = bpf_object__load(new->object);
	if (r < 0)
		return complain("the kernel does not take the classifier", r);
	new->compiled = compiled;
	r = make_tables(new, compiled);
	if (r < 0)
		return complain("the kernel does not take the tables", r);
	*classifier = TAKE_PTR(new);
	return 0;
}

/* ---- Headers ----------------------------------------------------------------------------------------------------- */

int classifier_headers(struct classifier *classifier, const struct classify_header *headers,
		       size_t nr)
{
	int r = nr > CLASSIFY_HEADERS ? -E2BIG
				      : put_array(map_of(classifier, "headers"), headers, nr);

	if (r < 0)
		return complain("headers", r);
	classifier->nr = nr;
	return 0;
}

int classifier_remember(struct classifier *classifier, bool remember)
{
	int r = 0;

	for (uint32_t i = 0; i < classifier->compiled->nr_rulesets && r == 0; i++) {
		struct dfw_ruleset header = classifier->compiled->rulesets[i].header;

		header.serial = remember ? i + 1 : 0;
		r = bpf_map_update_elem(map_of(classifier, "rulesets"), &i, &header, BPF_ANY);
	}
	return r < 0 ? complain("rulesets", r) : 0;
}

static int run(const struct classifier *classifier, const char *name, size_t ruleset,
	       uint32_t *duration_ns)
{
	const struct classify_request request = {(uint32_t)ruleset, (uint32_t)classifier->nr};
	uint8_t packet[64] = {}; /* an Ethernet frame at least */
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = 1);
	const struct bpf_program *program =
		bpf_object__find_program_by_name(classifier->object, name);
	int r;

	memcpy(packet, &request, sizeof(request));
	r = bpf_prog_test_run_opts(bpf_program__fd(program), &options);
	if (r == 0 && options.retval != classifier->nr)
		r = -EIO;
	if (r < 0)
		return complain(name, r);
	*duration_ns = options.duration;
	return 0;
}

int classifier_decide(struct classifier *classifier, size_t ruleset, uint32_t *verdicts)
{
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	_cleanup_free_ uint32_t *keys = calloc(classifier->nr + 1, sizeof(*keys));
	uint32_t last, count = (uint32_t)classifier->nr, ns;
	int r = keys ? run(classifier, "run_classify", ruleset, &ns) : -ENOMEM;

	if (r < 0 || count == 0)
		return r;
	r = bpf_map_lookup_batch(map_of(classifier, "verdicts"), NULL, &last, keys, verdicts,
				 &count, &options);
	if (r == -ENOENT) /* the end of the map */
		r = 0;
	return r < 0 ? complain("verdicts", r) : 0;
}

int classifier_cost(struct classifier *classifier, size_t ruleset, unsigned int rounds, double *ns)
{
	double best[2] = {0, 0};

	for (unsigned int round = 0; round < 2 * rounds; round++) {
		static const char *const programs[] = {"run_touch", "run_classify"};
		uint32_t duration;
		int r = run(classifier, programs[round % 2], ruleset, &duration);

		if (r < 0)
			return r;
		if (round < 2 || duration < best[round % 2])
			best[round % 2] = duration;
	}
	*ns = classifier->nr ? (best[1] - best[0]) / (double)classifier->nr : 0;
	return 0;
}
