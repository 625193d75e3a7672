// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "addr.h"
#include "log.h"
#include "maps.h"
#include "policy/hash.h"
#include "tables.h"
#include "util.h"
#include "view_pins.h"

/* ---- Arrays ----------------------------------------------------------------------------------------------------- */

/* The keys 0, 1, 2 ..., malloc'd. */
static uint32_t *count_keys(size_t nr)
{
	uint32_t *keys = calloc(nr ? nr : 1, sizeof(*keys));

	for (size_t i = 0; keys && i < nr; i++)
		keys[i] = (uint32_t)i;
	return keys;
}

static int fill_mapped(int map, const void *values, size_t bytes)
{
	void *memory;

	if (bytes == 0)
		return 0;
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
	if (memory == MAP_FAILED)
		return -errno;
	memcpy(memory, values, bytes);
	munmap(memory, bytes);
	return 0;
}

static int fill_array(int map, const struct map_shape *shape, const void *values, size_t nr)
{
	_cleanup_free_ uint32_t *keys = NULL;

	/* Elements lie at multiples of 8, which is what values of mapped arrays are. */
	if (shape->flags & BPF_F_MMAPABLE)
		return fill_mapped(map, values, nr * shape->value_bytes);
	keys = count_keys(nr);
	return keys ? map_put_batch(map, keys, values, shape->value_bytes, nr) : -ENOMEM;
}

/* An array that holds `nr` values and has room for more; an fd. */
static int make_array(const struct object *object, const struct outer_map *outer, const char *name,
		      const void *values, size_t nr, size_t room)
{
	_cleanup_close_ int map =
		object_make_map(object, &outer->inner, name, room ? (uint32_t)room : 1);
	int r = map < 0 ? map : fill_array(map, &outer->inner, values, nr);

	return r < 0 ? r : TAKE_FD(map);
}

/* 1: the array at `index` holds these values, and has that room. */
static int array_equal(const struct outer_map *outer, uint32_t index, const void *values, size_t nr,
		       size_t room)
{
	_cleanup_close_ int map = map_open_inner(outer->fd, index);
	_cleanup_free_ void *read = NULL;
	struct bpf_map_info info;
	int r;

	if (map < 0)
		return map == -ENOENT ? 0 : map;
	r = map_info(map, &info);
	if (r < 0)
		return r;
	if (info.max_entries != (room ? room : 1))
		return 0;
	if (nr == 0)
		return 1;
	r = map_read_array(map, (uint32_t)nr, outer->inner.value_bytes, &read);
	if (r < 0)
		return r;
	return memcmp(read, values, nr * outer->inner.value_bytes) == 0;
}

/* ---- Tables ----------------------------------------------------------------------------------------------------- */

static void prefix_key(const struct compiled_address *address, struct dfw_prefix_key *key)
{
	key->prefix_bits = address->prefix_bits;
	memcpy(key->bytes, address->address.bytes, sizeof(key->bytes));
}

/* A hash has no dense keys, so it gets a batch of its own; one LPM insert after the other is what there is. */
static int fill_exact(int map, const struct compiled *compiled)
{
	_cleanup_free_ struct dfw_addr *keys = calloc(compiled->nr_exact + 1, sizeof(*keys));
	_cleanup_free_ uint32_t *classes = calloc(compiled->nr_exact + 1, sizeof(*classes));
	LIBBPF_OPTS(bpf_map_batch_opts, options);
	uint32_t count = (uint32_t)compiled->nr_exact;

	if (!keys || !classes)
		return -ENOMEM;
	for (size_t i = 0; i < compiled->nr_exact; i++) {
		keys[i] = compiled->exact[i].address;
		classes[i] = compiled->exact[i].class;
	}
	return count ? bpf_map_update_batch(map, keys, classes, &count, &options) : 0;
}

static int fill_prefixes(int map, const struct compiled *compiled)
{
	for (size_t i = 0; i < compiled->nr_prefixes; i++) {
		struct dfw_prefix_key key;
		int r;

		prefix_key(&compiled->prefixes[i], &key);
		r = map_put(map, &key, &compiled->prefixes[i].class);
		if (r < 0)
			return r;
	}
	return 0;
}

static int make_filled(const struct object *object, const struct outer_map *outer, const char *name,
		       size_t room, const struct compiled *compiled,
		       int (*fill)(int map, const struct compiled *compiled))
{
	_cleanup_close_ int map = object_make_map(object, &outer->inner, name, (uint32_t)room);
	int r = map < 0 ? map : fill(map, compiled);

	return r < 0 ? r : TAKE_FD(map);
}

struct dfw_v4_node *v4_nodes_map(int map, size_t room)
{
	void *nodes = mmap(NULL, room * sizeof(struct dfw_v4_node), PROT_READ | PROT_WRITE,
			   MAP_SHARED, map, 0);

	return nodes == MAP_FAILED ? NULL : nodes;
}

void v4_nodes_unmap(struct dfw_v4_node *nodes, size_t room)
{
	if (nodes)
		munmap(nodes, room * sizeof(*nodes));
}

int tables_make(const struct object *object, uint32_t index, const struct compiled *compiled,
		struct outer_batch *batch)
{
	int r;

	r = outer_batch_add(batch, object->addr_exact.fd, index,
			    make_filled(object, &object->addr_exact, "addr_exact",
					compiled->room_exact, compiled, fill_exact));
	if (r == 0)
		r = outer_batch_add(batch, object->addr_prefix4.fd, index,
				    make_array(object, &object->addr_prefix4, "addr_prefix4",
					       compiled->v4_nodes, compiled->nr_v4_nodes,
					       compiled->room_v4_nodes));
	if (r == 0)
		r = outer_batch_add(batch, object->addr_prefix.fd, index,
				    make_filled(object, &object->addr_prefix, "addr_prefix",
						compiled->room_prefixes, compiled, fill_prefixes));
	if (r == 0)
		r = outer_batch_add(batch, object->l4_classes.fd, index,
				    make_array(object, &object->l4_classes, "l4_classes",
					       compiled->l4, DFW_L4_BLOCKS, DFW_L4_BLOCKS));
	return r < 0 ? log_errno(r, "cannot make the tables of addresses and services") : 0;
}

static int compare_addresses(const void *a, const void *b)
{
	const struct compiled_address *left = a, *right = b;
	int order = memcmp(&left->address, &right->address, sizeof(left->address));

	if (order)
		return order;
	return (left->prefix_bits > right->prefix_bits) - (left->prefix_bits < right->prefix_bits);
}

/* Sorted, to search in. malloc'd. */
static struct compiled_address *sort_addresses(const struct compiled_address *list, size_t nr)
{
	struct compiled_address *sorted = calloc(nr ? nr : 1, sizeof(*sorted));

	if (!sorted || nr == 0)
		return sorted;
	memcpy(sorted, list, nr * sizeof(*sorted));
	qsort(sorted, nr, sizeof(*sorted), compare_addresses);
	return sorted;
}

struct address_check {
	const struct compiled_address *sorted;
	size_t nr;
	size_t nr_equal;
};

static int check_address(struct address_check *check, const struct compiled_address *address)
{
	const struct compiled_address *found =
		bsearch(address, check->sorted, check->nr, sizeof(*found), compare_addresses);

	if (!found || found->class != address->class)
		return 1;
	check->nr_equal++;
	return 0;
}

static int check_exact(const void *key, const void *value, void *data)
{
	struct compiled_address address = {.prefix_bits = DFW_ADDR_BITS};

	memcpy(&address.address, key, sizeof(address.address));
	memcpy(&address.class, value, sizeof(address.class));
	return check_address(data, &address);
}

static int check_prefix(const void *key, const void *value, void *data)
{
	const struct dfw_prefix_key *prefix = key;
	struct compiled_address address = {.prefix_bits = prefix->prefix_bits};

	memcpy(&address.address, prefix->bytes, sizeof(address.address));
	memcpy(&address.class, value, sizeof(address.class));
	return check_address(data, &address);
}

static int addresses_equal(const struct outer_map *outer, uint32_t index,
			   const struct compiled_address *list, size_t nr,
			   int (*check_one)(const void *key, const void *value, void *data))
{
	_cleanup_free_ struct compiled_address *sorted = sort_addresses(list, nr);
	_cleanup_close_ int map = map_open_inner(outer->fd, index);
	struct address_check check = {.sorted = sorted, .nr = nr};
	int r;

	if (!sorted)
		return -ENOMEM;
	if (map < 0)
		return map == -ENOENT ? 0 : map;
	r = map_each(map, check_one, &check);
	if (r < 0)
		return r;
	return r == 0 && check.nr_equal == nr;
}

int tables_equal(const struct object *object, uint32_t index, const struct compiled *compiled)
{
	int equal = addresses_equal(&object->addr_exact, index, compiled->exact, compiled->nr_exact,
				    check_exact);

	if (equal > 0)
		equal = array_equal(&object->addr_prefix4, index, compiled->v4_nodes,
				    compiled->nr_v4_nodes, compiled->room_v4_nodes);
	if (equal > 0)
		equal = addresses_equal(&object->addr_prefix, index, compiled->prefixes,
					compiled->nr_prefixes, check_prefix);
	if (equal > 0)
		equal = array_equal(&object->l4_classes, index, compiled->l4, DFW_L4_BLOCKS,
				    DFW_L4_BLOCKS);
	return equal < 0 ? log_errno(equal, "cannot read the tables of addresses and services")
			 : equal;
}

/* ---- Rule sets -------------------------------------------------------------------------------------------------- */

#define HEADERS_BYTES	  (DFW_MAX_RULESETS * sizeof(struct dfw_ruleset))
#define _cleanup_headers_ _cleanup_(headers_unmap)

/* Those of all rule sets, as packets see them. NULL: errno says why. */
static struct dfw_ruleset *headers_map(const struct object *object)
{
	void *headers =
		mmap(NULL, HEADERS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, object->rulesets, 0);

	return headers == MAP_FAILED ? NULL : headers;
}

static void headers_unmap(struct dfw_ruleset **headers)
{
	if (*headers)
		munmap(*headers, HEADERS_BYTES);
}

int ruleset_equal(const struct object *object, uint32_t index,
		  const struct compiled_ruleset *ruleset)
{
	struct dfw_ruleset header, wanted = ruleset->header;
	int equal = map_get(object->rulesets, &index, &header);

	if (equal == 0) {
		wanted.tables = header.tables;
		wanted.serial = header.serial;
		equal = memcmp(&header, &wanted, sizeof(header)) == 0;
	}
	if (equal > 0)
		equal = array_equal(&object->rule_infos, index, ruleset->rules,
				    ruleset->header.nr_rules + 1, ruleset->header.nr_rules + 1);
	if (equal > 0)
		equal = array_equal(&object->row_refs, index, ruleset->refs, ruleset->nr_refs,
				    ruleset->nr_refs);
	if (equal > 0)
		equal = array_equal(&object->row_chunks, index, ruleset->chunks, ruleset->nr_chunks,
				    ruleset->room_chunks);
	return equal < 0 ? log_errno(equal, "cannot read the rule sets") : equal;
}

void row_maps_close(struct row_maps *maps)
{
	cleanup_close(&maps->refs);
	cleanup_close(&maps->chunks);
	*maps = (struct row_maps){-1, -1};
}

/* The map goes into the batch, and a second fd of it to *kept. */
static int add_kept(struct outer_batch *batch, const struct outer_map *outer, uint32_t index,
		    int map, int *kept)
{
	if (map >= 0)
		*kept = fcntl(map, F_DUPFD_CLOEXEC, 0);
	return outer_batch_add(batch, outer->fd, index, map);
}

int ruleset_make(const struct object *object, const struct compiled_ruleset *ruleset,
		 const struct ruleset_place *place, struct outer_batch *batch,
		 struct row_maps *maps)
{
	uint32_t index = place->index;
	struct dfw_ruleset header = ruleset->header;
	uint32_t nr_infos = header.nr_rules + 1;
	int r;

	header.tables = place->tables;
	header.serial = place->serial;
	r = outer_batch_add(batch, object->rule_infos.fd, index,
			    make_array(object, &object->rule_infos, "rule_info", ruleset->rules,
				       nr_infos, nr_infos));
	if (r == 0)
		r = add_kept(batch, &object->row_refs, index,
			     make_array(object, &object->row_refs, "row_refs", ruleset->refs,
					ruleset->nr_refs, ruleset->nr_refs),
			     &maps->refs);
	if (r == 0)
		r = add_kept(batch, &object->row_chunks, index,
			     make_array(object, &object->row_chunks, "row_chunks", ruleset->chunks,
					ruleset->nr_chunks, ruleset->room_chunks),
			     &maps->chunks);
	if (r == 0)
		r = map_put(object->rulesets, &index, &header);
	return r < 0 ? log_errno(r, "cannot make the rule sets") : 0;
}

/* The rules of a rule set, the default last; *infos is malloc'd. */
static int read_infos(const struct object *object, uint32_t index, struct dfw_rule_info **infos,
		      uint32_t *nr)
{
	_cleanup_close_ int map = map_open_inner(object->rule_infos.fd, index);
	struct dfw_ruleset header;
	void *read = NULL;
	int r = map < 0 ? map : map_get(object->rulesets, &index, &header);

	if (r == 0)
		r = map_read_array(map, header.nr_rules + 1, sizeof(**infos), &read);
	if (r < 0)
		return r;
	*infos = read;
	*nr = header.nr_rules + 1;
	return 0;
}

int ruleset_rule_ids(const struct object *object, uint32_t index, uint32_t **ids, uint32_t *nr)
{
	_cleanup_free_ struct dfw_rule_info *infos = NULL;
	int r = read_infos(object, index, &infos, nr);

	if (r < 0)
		return r;
	*ids = calloc(*nr, sizeof(**ids));
	if (!*ids)
		return -ENOMEM;
	for (uint32_t i = 0; i < *nr; i++)
		(*ids)[i] = infos[i].id;
	return 0;
}

int ruleset_hash(const struct object *object, uint32_t index, uint64_t *hash)
{
	_cleanup_free_ struct dfw_rule_info *infos = NULL;
	uint32_t nr;
	int r = read_infos(object, index, &infos, &nr);

	if (r == 0)
		*hash = hash_bytes(nr, infos, nr * sizeof(*infos));
	return r;
}

uint64_t compiled_ruleset_hash(const struct compiled_ruleset *ruleset)
{
	uint32_t nr = ruleset->header.nr_rules + 1;

	return hash_bytes(nr, ruleset->rules, nr * sizeof(*ruleset->rules));
}

/* ---- Hashes of rows and tables ---------------------------------------------------------------------------------- */

static uint64_t hash_values(uint64_t hash, const void *values, size_t bytes, size_t room)
{
	return hash_bytes(hash_word(hash, room ? room : 1), values, bytes);
}

/* What is behind the first `nr` nobody looks at. */
static int hash_array(const struct outer_map *outer, uint32_t index, size_t nr, uint64_t *hash)
{
	_cleanup_close_ int map = map_open_inner(outer->fd, index);
	_cleanup_free_ void *read = NULL;
	struct bpf_map_info info;
	int r = map < 0 ? map : map_info(map, &info);

	if (r < 0)
		return r;
	if (nr > info.max_entries)
		nr = info.max_entries;
	r = nr ? map_read_array(map, (uint32_t)nr, outer->inner.value_bytes, &read) : 0;
	if (r == 0)
		*hash = hash_values(*hash, read, nr * outer->inner.value_bytes, info.max_entries);
	return r;
}

int rows_hash(const struct object *object, uint32_t index, const struct compiled_ruleset *like,
	      uint64_t *hash)
{
	struct dfw_ruleset header;
	int r = map_get(object->rulesets, &index, &header);

	if (r < 0)
		return r;
	header.serial = like->header.serial; /* it is the kernel's alone */
	*hash = hash_bytes(0, &header, sizeof(header));
	r = hash_array(&object->row_refs, index, like->nr_refs, hash);
	return r < 0 ? r : hash_array(&object->row_chunks, index, like->nr_chunks, hash);
}

uint64_t compiled_rows_hash(const struct compiled_ruleset *ruleset, uint32_t tables)
{
	struct dfw_ruleset header = ruleset->header;
	uint64_t hash;

	header.tables = tables;
	hash = hash_bytes(0, &header, sizeof(header));
	hash = hash_values(hash, ruleset->refs, ruleset->nr_refs * sizeof(*ruleset->refs),
			   ruleset->nr_refs);
	return hash_values(hash, ruleset->chunks, ruleset->nr_chunks * sizeof(*ruleset->chunks),
			   ruleset->room_chunks);
}

/* A sum: the kernel's elements come in no order. */
static int sum_address(void *sum, const struct dfw_addr *address, uint32_t prefix_bits,
		       uint32_t class)
{
	*(uint64_t *)sum +=
		hash_bytes((uint64_t)prefix_bits << 32 | class, address, sizeof(*address));
	return 0;
}

static int sum_exact(const void *key, const void *value, void *sum)
{
	return sum_address(sum, key, DFW_ADDR_BITS, *(const uint32_t *)value);
}

static int sum_prefix(const void *key, const void *value, void *sum)
{
	const struct dfw_prefix_key *prefix = key;
	struct dfw_addr address;

	memcpy(&address, prefix->bytes, sizeof(address));
	return sum_address(sum, &address, prefix->prefix_bits, *(const uint32_t *)value);
}

static int sum_map(const struct outer_map *outer, uint32_t index,
		   int (*sum_one)(const void *key, const void *value, void *sum), uint64_t *sum)
{
	_cleanup_close_ int map = map_open_inner(outer->fd, index);

	return map < 0 ? map : map_each(map, sum_one, sum);
}

/* IPv4 prefixes have no elements but nodes. */
static int sum_element(void *sum, const struct dfw_addr *address, uint32_t prefix_bits,
		       uint32_t class)
{
	if (prefix_bits >= DFW_V4_PREFIX_BITS && prefix_bits < DFW_ADDR_BITS && addr_is_v4(address))
		return 0;
	return sum_address(sum, address, prefix_bits, class);
}

int tables_hash(const struct object *object, uint32_t index, const struct compiled *like,
		uint64_t *hash)
{
	uint64_t services = 0;
	int r;

	*hash = 0;
	r = sum_map(&object->addr_exact, index, sum_exact, hash);
	if (r == 0)
		r = sum_map(&object->addr_prefix, index, sum_prefix, hash);
	if (r == 0)
		r = hash_array(&object->addr_prefix4, index, like->nr_v4_nodes, hash);
	if (r == 0)
		r = hash_array(&object->l4_classes, index, DFW_L4_BLOCKS, &services);
	if (r == 0)
		*hash = hash_word(*hash, services);
	return r;
}

uint64_t services_hash(const struct dfw_l4_block *blocks)
{
	return hash_values(0, blocks, DFW_L4_BLOCKS * sizeof(*blocks), DFW_L4_BLOCKS);
}

uint64_t compiled_tables_hash(const struct compiled *compiled, uint64_t services)
{
	uint64_t sum = 0;

	compiled_each_address(compiled, sum_element, &sum);
	sum = hash_values(sum, compiled->v4_nodes,
			  compiled->nr_v4_nodes * sizeof(*compiled->v4_nodes),
			  compiled->room_v4_nodes);
	return hash_word(sum, services);
}

/* ---- Writing in place ------------------------------------------------------------------------------------------- */

int table_prefix4_open(const struct object *object, uint32_t index)
{
	return map_open_inner(object->addr_prefix4.fd, index);
}

int table_exact_open(const struct object *object, uint32_t index)
{
	return map_open_inner(object->addr_exact.fd, index);
}

int table_prefix_open(const struct object *object, uint32_t index)
{
	return map_open_inner(object->addr_prefix.fd, index);
}

int row_maps_open(const struct object *object, uint32_t index, struct row_maps *maps)
{
	if (maps->refs < 0)
		maps->refs = map_open_inner(object->row_refs.fd, index);
	if (maps->chunks < 0)
		maps->chunks = map_open_inner(object->row_chunks.fd, index);
	return maps->refs < 0 ? maps->refs : maps->chunks < 0 ? maps->chunks : 0;
}

int row_write(const struct row_maps *maps, const struct compiled_ruleset *ruleset,
	      const struct row_change *change)
{
	int r = 0;

	for (uint32_t i = change->chunk; i < change->chunk + change->nr_chunks && r == 0; i++)
		r = map_put(maps->chunks, &i, &ruleset->chunks[i]);
	return r < 0 ? r : map_put(maps->refs, &change->ref, &ruleset->refs[change->ref]);
}

/* ---- Taking away ------------------------------------------------------------------------------------------------ */

/* The rule sets that are there but of no use, by their headers: before Linux 6.8 each look at an element of a map of maps
 * waits for a grace period. */
static int find_unused(const struct object *object, const bool *used, uint32_t *keys, size_t *nr)
{
	static const struct dfw_ruleset none;
	_cleanup_headers_ struct dfw_ruleset *headers = headers_map(object);

	if (!headers)
		return -errno;
	*nr = 0;
	for (uint32_t i = 0; i < DFW_MAX_RULESETS; i++)
		if (!used[i] && memcmp(&headers[i], &none, sizeof(none)) != 0)
			keys[(*nr)++] = i;
	return 0;
}

/* Elements of a map of maps can be replaced in a batch, but only removed one grace period after the other: an empty map
 * takes the place of what goes. */
#define EMPTY "unused"

static int replace_unused(const struct object *object, const struct outer_map *outer,
			  const uint32_t *keys, size_t nr, struct outer_batch *batch)
{
	_cleanup_close_ int empty = object_make_map(object, &outer->inner, EMPTY, 1);
	int r = empty < 0 ? empty : 0;

	for (size_t i = 0; i < nr && r == 0; i++)
		r = outer_batch_add(batch, outer->fd, keys[i], fcntl(empty, F_DUPFD_CLOEXEC, 0));
	return r;
}

static int collect_rulesets(const struct object *object, const uint32_t *keys, size_t nr,
			    struct outer_batch *batch)
{
	int r = 0;

	if (nr)
		r = replace_unused(object, &object->rule_infos, keys, nr, batch);
	if (nr && r == 0)
		r = replace_unused(object, &object->row_refs, keys, nr, batch);
	if (nr && r == 0)
		r = replace_unused(object, &object->row_chunks, keys, nr, batch);
	return r;
}

/* Whether there are tables at `index` that are worth being taken away, or a part of some. */
static bool holds_tables(const struct object *object, uint32_t index)
{
	_cleanup_close_ int map = map_open_inner(object->addr_exact.fd, index);
	struct bpf_map_info info;

	return map_inner_id(object->l4_classes.fd, index) ||
	       (map >= 0 && map_info(map, &info) == 0 && strcmp(info.name, EMPTY) != 0);
}

static int collect_tables(const struct object *object, const bool *used, struct outer_batch *batch)
{
	int r = 0;

	for (uint32_t i = 0; i < DFW_MAX_TABLES && r == 0; i++) {
		if (used[i] || !holds_tables(object, i))
			continue;
		/* The size of these is fixed, so there is no smaller one to take their place. */
		r = outer_batch_remove(batch, object->l4_classes.fd, i);
		if (r == 0)
			r = replace_unused(object, &object->addr_prefix4, &i, 1, batch);
		if (r == 0)
			r = replace_unused(object, &object->addr_prefix, &i, 1, batch);
		if (r == 0)
			r = replace_unused(object, &object->addr_exact, &i, 1, batch);
	}
	return r;
}

int tables_collect(const struct object *object, const struct index_use *use)
{
	static const struct dfw_ruleset none;
	_cleanup_outer_batch_ struct outer_batch batch = {};
	_cleanup_free_ uint32_t *keys = calloc(DFW_MAX_RULESETS, sizeof(*keys));
	size_t nr = 0;
	int r = keys ? find_unused(object, use->rulesets, keys, &nr) : -ENOMEM;

	if (r == 0)
		r = collect_rulesets(object, keys, nr, &batch);
	if (r == 0)
		r = collect_tables(object, use->tables, &batch);
	if (r == 0)
		r = outer_batch_put(&batch);
	/* The headers go last: a collection that was cut short is taken up again. */
	for (size_t i = 0; i < nr && r == 0; i++)
		r = map_put(object->rulesets, &keys[i], &none);
	return r < 0 ? log_errno(r, "cannot free the former revision's rule sets") : 0;
}

/* ---- Decisions -------------------------------------------------------------------------------------------------- */

static int last_serial_of_rulesets(const struct object *object, uint32_t *serial)
{
	_cleanup_headers_ struct dfw_ruleset *headers = headers_map(object);

	if (!headers)
		return -errno;
	for (uint32_t i = 0; i < DFW_MAX_RULESETS; i++)
		if (headers[i].serial > *serial)
			*serial = headers[i].serial;
	return 0;
}

static int last_serial_of_decisions(const struct object *object, uint32_t *serial)
{
	const size_t cpus = (size_t)libbpf_num_possible_cpus();
	_cleanup_free_ struct dfw_decision_place *of_cpu = calloc(cpus, sizeof(*of_cpu));
	int r = of_cpu ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < DFW_DECISION_PLACES && r == 0; i++) {
		r = map_get(object->decisions, &i, of_cpu);
		for (size_t j = 0; r == 0 && j < cpus * DFW_DECISION_WAYS; j++) {
			uint32_t found =
				of_cpu[j / DFW_DECISION_WAYS].ways[j % DFW_DECISION_WAYS].serial;

			if (found > *serial)
				*serial = found;
		}
	}
	return r;
}

int decisions_last_serial(const struct object *object, uint32_t *serial)
{
	int r;

	*serial = 0;
	r = last_serial_of_rulesets(object, serial);
	return r < 0 ? r : last_serial_of_decisions(object, serial);
}

int ruleset_renew(const struct object *object, uint32_t index, uint32_t serial)
{
	_cleanup_headers_ struct dfw_ruleset *headers = headers_map(object);

	if (!headers)
		return -errno;
	/* Packets read it meanwhile: no half of it must be seen. */
	__atomic_store_n(&headers[index].serial, serial, __ATOMIC_RELAXED);
	return 0;
}
