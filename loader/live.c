// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "live.h"
#include "log.h"
#include "maps.h"
#include "revision.h"
#include "view_pins.h"

#define SECOND_NS    1000000000ULL
#define MANY_GRAVES  4096
#define MOST_REMOVED 16384 /* at once */

/* ---- What is in force -------------------------------------------------------------------------------------------- */

void live_forget(struct live *live)
{
	if (!live->compiled)
		return;
	for (size_t i = 0; i < live->compiled->nr_rulesets; i++)
		row_maps_close(&live->maps[i]);
	cleanup_close(&live->exact);
	cleanup_close(&live->prefix);
	v4_nodes_unmap(live->v4, live->compiled->room_v4_nodes);
	free(live->maps);
	free(live->rulesets);
	compiled_free(live->compiled);
	*live = (struct live){};
}

void live_take(struct live *live, struct revision *revision)
{
	struct compiled *compiled = revision->compiled;
	uint64_t services;

	live_forget(live);
	if (!compiled || compiled->nr_ports == 0)
		return;
	services = services_hash(compiled->l4);
	/* The kernel has them. */
	free(compiled->exact);
	free(compiled->prefixes);
	free(compiled->prefixes4);
	free(compiled->l4);
	compiled->exact = compiled->prefixes = compiled->prefixes4 = NULL;
	compiled->l4 = NULL;
	compiled->nr_exact = compiled->nr_prefixes = compiled->nr_prefixes4 = 0;
	*live = (struct live){
		.compiled = TAKE_PTR(revision->compiled),
		.tables = revision->tables,
		.rulesets = TAKE_PTR(revision->rulesets),
		.maps = TAKE_PTR(revision->maps),
		.exact = -1,
		.prefix = -1,
		.services = services,
	};
}

void live_find_use(const struct live *live, struct index_use *use)
{
	if (!live->compiled)
		return;
	use->tables[live->tables] = true;
	for (size_t i = 0; i < live->compiled->nr_rulesets; i++)
		use->rulesets[live->rulesets[i]] = true;
}

bool live_same_tables(const struct live *live, const struct compiled *compiled)
{
	return !live->touched &&
	       memcmp(live->compiled->hash, compiled->hash, sizeof(compiled->hash)) == 0;
}

int live_find_ruleset(const struct live *live, const struct compiled_ruleset *ruleset, size_t near,
		      uint32_t *index, struct row_maps *maps)
{
	size_t nr = live->compiled->nr_rulesets;

	for (size_t i = 0; i < nr; i++) {
		size_t at = (near + i) % nr;

		if (memcmp(live->compiled->rulesets[at].header.hash, ruleset->header.hash,
			   sizeof(ruleset->header.hash)) != 0)
			continue;
		*index = live->rulesets[at];
		if (live->maps[at].refs >= 0)
			maps->refs = fcntl(live->maps[at].refs, F_DUPFD_CLOEXEC, 0);
		if (live->maps[at].chunks >= 0)
			maps->chunks = fcntl(live->maps[at].chunks, F_DUPFD_CLOEXEC, 0);
		return 1;
	}
	return 0;
}

uint32_t *live_rulesets(const struct live *live)
{
	size_t bytes = (live->compiled->nr_rulesets + 1) * sizeof(uint32_t);
	uint32_t *copy = malloc(bytes);

	if (copy)
		memcpy(copy, live->rulesets, bytes - sizeof(uint32_t));
	return copy;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

static int open_tables(struct dfwd *d)
{
	struct live *live = &d->live;

	if (live->exact < 0)
		live->exact = table_exact_open(&d->object, live->tables);
	if (live->prefix < 0)
		live->prefix = table_prefix_open(&d->object, live->tables);
	return live->exact < 0 ? live->exact : live->prefix < 0 ? live->prefix : 0;
}

static int open_v4(struct dfwd *d)
{
	_cleanup_close_ int map = -1;
	struct live *live = &d->live;

	if (live->v4)
		return 0;
	map = table_prefix4_open(&d->object, live->tables);
	if (map < 0)
		return map;
	live->v4 = v4_nodes_map(map, live->compiled->room_v4_nodes);
	return live->v4 ? 0 : -errno;
}

static int write_rows(struct dfwd *d, const struct row_changes *changes)
{
	struct live *live = &d->live;
	int r = 0;

	for (size_t i = 0; i < changes->nr && r == 0; i++) {
		const struct row_change *change = &changes->items[i];
		struct row_maps *maps = &live->maps[change->ruleset];

		r = row_maps_open(&d->object, live->rulesets[change->ruleset], maps);
		if (r == 0)
			r = row_write(maps, &live->compiled->rulesets[change->ruleset], change);
	}
	return r;
}

static void store_v4(const struct live *live, const struct v4_change *change, uint32_t value)
{
	/* What it leads to must be seen with it. */
	__atomic_store_n(&live->v4[change->node].entries[change->entry], value, __ATOMIC_RELEASE);
}

static int write_v4(struct dfwd *d, const struct v4_changes *changes)
{
	struct live *live = &d->live;
	const struct compiled *compiled = live->compiled;
	int r = changes->nr ? open_v4(d) : 0;

	if (r < 0 || changes->nr == 0)
		return r;
	memcpy(&live->v4[changes->first_new], &compiled->v4_nodes[changes->first_new],
	       (compiled->nr_v4_nodes - changes->first_new) * sizeof(*live->v4));
	for (size_t i = 0; i < changes->nr; i++)
		store_v4(live, &changes->items[i], changes->items[i].value);
	return 0;
}

static void undo_v4(const struct live *live, const struct v4_changes *changes)
{
	for (size_t i = changes->nr; i > 0 && live->v4; i--)
		store_v4(live, &changes->items[i - 1], changes->items[i - 1].former);
}

static int write_prefix(const struct live *live, const struct address_change *change)
{
	struct dfw_prefix_key key = {.prefix_bits = change->prefix_bits};

	memcpy(key.bytes, change->address.bytes, sizeof(key.bytes));
	return change->listed ? map_put(live->prefix, &key, &change->class)
			      : map_remove(live->prefix, &key);
}

/* An element that is there is not replaced: see <dfw/maps.h>, struct dfw_reclass_request. */
static bool is_reclassed(const struct address_change *change)
{
	return change->prefix_bits == DFW_ADDR_BITS && change->listed && change->was_listed;
}

/* The changes from `first` on that can be made at once; how many, or an error. */
static int write_classes(struct dfwd *d, const struct address_change *first, size_t nr)
{
	struct dfw_reclass_request request = {.tables = d->live.tables};
	int r;

	while (request.nr < nr && request.nr < DFW_RECLASS_MOST &&
	       is_reclassed(&first[request.nr])) {
		request.entries[request.nr] = (struct dfw_reclass_entry){
			.address = first[request.nr].address, .class = first[request.nr].class};
		request.nr++;
	}
	r = object_reclass(&d->object, &request);
	return r < 0 ? r : (int)request.nr;
}

static int write_one(const struct live *live, const struct address_change *change)
{
	if (change->prefix_bits != DFW_ADDR_BITS)
		return write_prefix(live, change);
	return change->listed ? map_put(live->exact, &change->address, &change->class)
			      : map_remove(live->exact, &change->address);
}

/* *done: how many were written, also on an error (perhaps more, of which some are). */
static int write_addresses(struct dfwd *d, const struct address_changes *changes, size_t *done)
{
	int r = open_tables(d);

	for (*done = 0; *done < changes->nr && r >= 0; *done += r > 0 ? (size_t)r : 0) {
		const struct address_change *change = &changes->items[*done];

		if (is_reclassed(change)) {
			r = write_classes(d, change, changes->nr - *done);
		} else {
			r = write_one(&d->live, change);
			r = r < 0 ? r : 1;
		}
	}
	return r < 0 ? r : 0;
}

static void undo_addresses(struct dfwd *d, const struct address_changes *changes, size_t done)
{
	/* One more, of which part may be written: to write the former class where it still is does no harm. */
	size_t nr = done + DFW_RECLASS_MOST < changes->nr ? done + DFW_RECLASS_MOST : changes->nr;

	while (nr > 0) {
		const struct address_change *change = &changes->items[--nr];
		const struct address_change back = {
			.address = change->address,
			.prefix_bits = change->prefix_bits,
			.class = change->former,
			.listed = change->was_listed,
			.was_listed = change->listed,
		};

		if (is_reclassed(&back))
			write_classes(d, &back, 1);
		else if (nr < done)
			write_one(&d->live, &back);
	}
	/* Memory of what was removed may be used again only when no packet reads it any more. */
	object_grace_period(&d->object);
}

/* Rows first: at no time an element names a class that a rule set does not know. */
static int write_changes(struct dfwd *d, const struct compiled_changes *changes)
{
	size_t done = 0;
	int r = write_rows(d, &changes->rows);

	if (r == 0)
		r = write_v4(d, &changes->v4);
	if (r == 0)
		r = write_addresses(d, &changes->addresses, &done);
	if (r < 0) {
		undo_addresses(d, &changes->addresses, done);
		undo_v4(&d->live, &changes->v4);
		return log_errno(r, "cannot change the tables in force");
	}
	d->live.touched |= changes->rows.nr || changes->addresses.nr || changes->v4.nr;
	d->live.changed_ns = monotonic_ns();
	return 0;
}

/* `r` is what the compiler said of the changes, which are freed. */
static int finish(struct dfwd *d, struct compiled_changes *changes, int r, bool *changed)
{
	if (r == 0)
		r = write_changes(d, changes);
	*changed = r == 0 && (changes->addresses.nr || changes->v4.nr);
	compiled_changes_free(changes);
	if (r < 0)
		live_forget(&d->live);
	return r;
}

int live_change_members(struct dfwd *d, const struct policy_member *members, size_t nr, bool in,
			bool *changed)
{
	struct compiled_changes changes;
	int r = -ENOTSUP;

	*changed = false;
	if (!d->live.compiled)
		return r;
	r = compiled_change_members(d->live.compiled, members, nr, in, &changes);
	return finish(d, &changes, r, changed);
}

int live_change_ports(struct dfwd *d, const struct policy_port *ports, size_t nr, bool *changed)
{
	struct compiled_changes changes;
	int r = compiled_change_ports(d->live.compiled, ports, nr, &changes);

	return finish(d, &changes, r, changed);
}

/* ---- Giving back ------------------------------------------------------------------------------------------------- */

void live_tidy(struct dfwd *d)
{
	struct live *live = &d->live;
	struct compiled_changes changes;
	size_t graves = live->compiled ? compiled_graves(live->compiled) : 0;
	int r;

	if (graves == 0 || (graves < MANY_GRAVES && monotonic_ns() - live->changed_ns < SECOND_NS))
		return;
	r = compiled_bury(live->compiled, MOST_REMOVED, &changes);
	if (r == 0)
		r = open_tables(d);
	for (size_t i = 0; i < changes.addresses.nr && r == 0; i++)
		r = map_remove(live->exact, &changes.addresses.items[i].address);
	compiled_changes_free(&changes);
	if (r < 0) {
		log_errno(r, "cannot free addresses that are in no group any more");
		live_forget(live);
		return;
	}
	/* The kernel uses the memory of an element for the next one at once, and a packet may still read it. */
	object_grace_period(&d->object);
	live->touched = true;
}
