// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "flow_io.h"
#include "flow_table.h"
#include "util.h"

#define NS_PER_MS 1000000ULL
#define MS_PER_CS 10

#define PROTOCOL_TCP  6
#define PROTOCOL_SCTP 132

#define MAX_SCALE 14
#define LEG_FLAGS 0x7f

/* ---- Records ----------------------------------------------------------------------------------------------------- */

/* The datapath's clock is coarse: it may lie a little ahead. */
static uint64_t idle_ms(const struct dfw_flow *flow, uint64_t now_ns)
{
	int64_t ns = (int64_t)(now_ns - flow->last_seen_ns);

	return ns > 0 ? (uint64_t)ns / NS_PER_MS : 0;
}

void flow_to_record(const struct dfw_flow_key *key, const struct dfw_flow *flow, bool half_open,
		    uint64_t now_ns, struct flow_record *record)
{
	uint32_t age_cs = (uint32_t)(now_ns / DFW_NS_PER_CS) - flow->created_cs;

	record->key = *key;
	record->idle_ms = idle_ms(flow, now_ns);
	record->age_ms = (int32_t)age_cs > 0 ? (uint64_t)age_cs * MS_PER_CS : 0;
	record->rule = flow->rule;
	record->generation = flow->generation;
	record->state = flow->state;
	record->initiator = flow->initiator;
	record->scale[DFW_ORIG] = flow->orig_scale;
	record->scale[DFW_REPLY] = flow->reply_scale;
	memcpy(record->leg_flags, flow->leg_flags, sizeof(record->leg_flags));
	record->flags = half_open ? FLOW_HALF_OPEN : 0;
	record->zero = 0;
	record->life = flow->life;
	memcpy(record->legs, flow->legs, sizeof(record->legs));
}

static bool state_fits(uint8_t state, uint8_t protocol)
{
	switch (state) {
	case DFW_FLOW_TCP_SYN_SENT ... DFW_FLOW_TCP_CLOSED:
		return protocol == PROTOCOL_TCP;
	case DFW_FLOW_UDP_NEW ... DFW_FLOW_UDP_STREAM:
		return protocol == 17;
	case DFW_FLOW_ICMP_NEW ... DFW_FLOW_ICMP_REPLIED:
		return protocol == 1 || protocol == 58;
	case DFW_FLOW_SCTP_INIT ... DFW_FLOW_SCTP_CLOSED:
		return protocol == PROTOCOL_SCTP;
	case DFW_FLOW_OTHER_NEW ... DFW_FLOW_OTHER_REPLIED:
		return protocol != PROTOCOL_TCP;
	}
	return false;
}

/* What the other end sent since the copy was made lies ahead of it, by the window of a pickup at most. */
static void mark_resync(struct dfw_flow *flow, uint64_t now_ns)
{
	for (int leg = 0; leg < DFW_LEGS; leg++) {
		if (!(flow->leg_flags[leg] & DFW_LEG_SYN))
			continue;
		flow->leg_flags[leg] |= DFW_LEG_RESYNC;
		flow->legs[leg].max_end += DFW_RESYNC_WINDOW;
	}
	flow->created_cs = (uint32_t)(now_ns / DFW_NS_PER_CS);
}

int flow_from_record(const struct flow_record *record, uint64_t now_ns, struct dfw_flow *flow)
{
	if (!state_fits(record->state, record->key.protocol) || record->initiator > DFW_OUT ||
	    record->scale[DFW_ORIG] > MAX_SCALE || record->scale[DFW_REPLY] > MAX_SCALE ||
	    (record->leg_flags[DFW_ORIG] | record->leg_flags[DFW_REPLY]) & ~LEG_FLAGS ||
	    record->life > FLOW_LIFE_MOST || record->key.zero)
		return -EBADMSG;
	*flow = (struct dfw_flow){
		.last_seen_ns = now_ns - record->idle_ms * NS_PER_MS,
		.rule = record->rule,
		.life = (uint32_t)record->life,
		.state = record->state,
		.initiator = record->initiator,
		.orig_scale = record->scale[DFW_ORIG],
		.reply_scale = record->scale[DFW_REPLY],
		.created_cs =
			(uint32_t)(now_ns / DFW_NS_PER_CS) - (uint32_t)(record->age_ms / MS_PER_CS),
	};
	memcpy(flow->leg_flags, record->leg_flags, sizeof(flow->leg_flags));
	memcpy(flow->legs, record->legs, sizeof(flow->legs));
	if (record->flags & FLOW_RESYNC && record->key.protocol == PROTOCOL_TCP)
		mark_resync(flow, now_ns);
	return 0;
}

/* ---- The program `exchange` -------------------------------------------------------------------------------------- */

#define TRIES	     5
#define TRY_AGAIN_US 200 /* doubled each time: the kernel fills its pools meanwhile */

int flow_exchange_open(struct flow_exchange *exchange, int program, int array)
{
	void *places = mmap(NULL, DFW_EXCHANGE_MAX * sizeof(*exchange->places),
			    PROT_READ | PROT_WRITE, MAP_SHARED, array, 0);

	*exchange = (struct flow_exchange){.program = program};
	if (places == MAP_FAILED)
		return -errno;
	exchange->places = places;
	return 0;
}

void flow_exchange_close(struct flow_exchange *exchange)
{
	if (exchange->places)
		munmap(exchange->places, DFW_EXCHANGE_MAX * sizeof(*exchange->places));
	cleanup_close(&exchange->program);
	*exchange = (struct flow_exchange){.program = -1};
}

static int run(const struct flow_exchange *exchange)
{
	const struct dfw_exchange_request request = {.slot = exchange->slot,
						     .nr = (uint32_t)exchange->nr};
	uint8_t packet[64] = {}; /* an Ethernet frame at least */
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = 1);
	int r, try = 0;

	memcpy(packet, &request, sizeof(request));
	do
		r = bpf_prog_test_run_opts(exchange->program, &options);
	while ((r == -EINTR || r == -EAGAIN) && ++try < TRIES);
	return r;
}

/* Keeps those that may succeed when they are tried once more; counts the others that failed. */
static void keep_unfinished(struct flow_exchange *exchange)
{
	size_t kept = 0;

	for (size_t i = 0; i < exchange->nr; i++) {
		switch (exchange->places[i].result) {
		case DFW_EXCHANGE_BUSY:
		case DFW_EXCHANGE_NO_MEMORY:
			exchange->places[kept++] = exchange->places[i];
			break;
		case DFW_EXCHANGE_FULL:
			exchange->full++;
			break;
		case DFW_EXCHANGE_REFUSED:
			exchange->refused++;
			break;
		}
	}
	exchange->nr = kept;
}

int flow_exchange_flush(struct flow_exchange *exchange)
{
	int r = 0;

	for (int try = 0; exchange->nr && try < TRIES && r == 0; try++) {
		if (try)
			usleep(TRY_AGAIN_US << try);
		r = run(exchange);
		if (r == 0)
			keep_unfinished(exchange);
	}
	exchange->failed += exchange->nr;
	exchange->left = exchange->nr;
	if (exchange->nr && r == 0)
		r = -ENOMEM;
	exchange->nr = 0;
	return r;
}

static int add(struct flow_exchange *exchange, uint32_t slot, const struct flow_record *record,
	       uint64_t now_ns, enum dfw_exchange_op op)
{
	struct dfw_exchange *place;
	int r = 0;

	if (exchange->nr == DFW_EXCHANGE_MAX || (exchange->nr && exchange->slot != slot))
		r = flow_exchange_flush(exchange);
	place = &exchange->places[exchange->nr];
	if (record->flags & FLOW_GONE) {
		place->op = DFW_EXCHANGE_REMOVE;
		place->flow.life = (uint32_t)record->life;
	} else {
		int bad = flow_from_record(record, now_ns, &place->flow);

		if (bad < 0)
			return bad;
		place->op = (uint8_t)op;
	}
	place->key = record->key;
	place->half_open = (record->flags & FLOW_HALF_OPEN) != 0;
	place->killed = (record->flags & FLOW_KILLED) != 0;
	place->result = DFW_EXCHANGE_NONE;
	exchange->slot = slot;
	exchange->nr++;
	return r;
}

int flow_exchange_put(struct flow_exchange *exchange, uint32_t slot,
		      const struct flow_record *record, uint64_t now_ns)
{
	return add(exchange, slot, record, now_ns, DFW_EXCHANGE_PUT);
}

int flow_exchange_join(struct flow_exchange *exchange, uint32_t slot,
		       const struct flow_record *record, uint64_t now_ns)
{
	return add(exchange, slot, record, now_ns, DFW_EXCHANGE_JOIN);
}

int flow_exchange_collect(struct flow_exchange *exchange, uint32_t slot,
			  const struct dfw_flow_key *keys, size_t nr)
{
	int r = exchange->nr ? flow_exchange_flush(exchange) : 0;

	if (r < 0)
		return r;
	exchange->slot = slot;
	exchange->nr = nr;
	for (size_t i = 0; i < nr; i++) {
		exchange->places[i].key = keys[i];
		exchange->places[i].op = DFW_EXCHANGE_COLLECT;
		exchange->places[i].half_open = 0;
		exchange->places[i].result = DFW_EXCHANGE_BUSY;
	}
	r = run(exchange);
	exchange->nr = 0;
	return r;
}

/* ---- All flows of a port ----------------------------------------------------------------------------------------- */

#define WALK_PAGES (FLOW_WALK_PART / FLOW_PAGE_ENTRIES)

static int walk_grow(void *array, uint32_t room, size_t bytes)
{
	void **memory = array, *grown = realloc(*memory, room * bytes);

	if (!grown)
		return -ENOMEM;
	*memory = grown;
	return 0;
}

/* Room for so many keys and values of the map where the walk is. */
static int walk_room(struct flow_walk *walk, uint32_t room)
{
	bool table = walk->at == 0;
	size_t key = table ? sizeof(uint32_t) : sizeof(struct dfw_flow_key);
	size_t value = table ? sizeof(struct dfw_flow_page) : sizeof(struct dfw_flow_entry);
	uint32_t entries = table ? room * FLOW_PAGE_ENTRIES : room;

	if (walk_grow(&walk->keys, room, key) < 0 || walk_grow(&walk->values, room, value) < 0 ||
	    walk_grow(&walk->entries, entries, sizeof(*walk->entries)) < 0)
		return -ENOMEM;
	walk->room = room;
	return 0;
}

int flow_walk_begin(struct flow_walk *walk, int table, int more)
{
	int r;

	*walk = (struct flow_walk){.maps = {table, more}};
	r = walk_room(walk, WALK_PAGES);
	if (r < 0)
		flow_walk_end(walk);
	return r;
}

void flow_walk_end(struct flow_walk *walk)
{
	free(walk->keys);
	free(walk->values);
	free(walk->entries);
	*walk = (struct flow_walk){.maps = {-1, -1}};
}

/* Makes a list of the entries in what was read. */
static void walk_list(struct flow_walk *walk, uint32_t nr)
{
	const struct dfw_flow_page *pages = walk->values;
	const struct dfw_flow_entry *entries = walk->values;

	walk->nr = 0;
	for (uint32_t i = 0; i < nr; i++)
		if (walk->at == 0)
			walk->nr += flow_page_entries(&pages[i], walk->entries + walk->nr);
		else
			walk->entries[walk->nr++] = &entries[i];
}

/* The next map. 1: there is one. */
static int walk_on(struct flow_walk *walk)
{
	if (walk->at == 1 || walk->maps[1] < 0)
		return 0;
	walk->at = 1;
	walk->begun = false;
	return 1;
}

int flow_walk_next(struct flow_walk *walk)
{
	uint32_t nr;
	int r = 0;

	walk->nr = 0;
	if (walk->at == 1 && !walk->begun)
		r = walk_room(walk, FLOW_WALK_PART);
	if (r < 0)
		return r;
	do {
		nr = walk->room;
		r = bpf_map_lookup_batch(walk->maps[walk->at], walk->begun ? walk->place : NULL,
					 walk->place, walk->keys, walk->values, &nr, NULL);
		/* One bucket of the hash has more than there is room for. */
		if (r == -ENOSPC && walk_room(walk, 2 * walk->room) < 0)
			return -ENOMEM;
	} while (r == -ENOSPC || r == -EINTR);
	if (r < 0 && r != -ENOENT)
		return r;
	walk->begun = true;
	walk_list(walk, nr);
	return r == 0 ? 1 : walk_on(walk);
}

/* ---- What was killed --------------------------------------------------------------------------------------------- */

#define GRAVES_PART 1024 /* more than lie in one bucket */

struct grave_part {
	struct dfw_grave_key keys[GRAVES_PART];
	struct dfw_grave graves[GRAVES_PART];
	uint8_t place[sizeof(struct dfw_grave_key)]; /* of the kernel's, between two parts */
};

int graves_read(int map, uint64_t now_ns,
		void (*each)(void *data, const struct dfw_grave_key *key, uint32_t life),
		void *data)
{
	struct grave_part *part = malloc(sizeof(*part));
	bool begun = false;
	int r = 0;

	if (!part)
		return -ENOMEM;
	while (r == 0 || r == -EINTR) {
		uint32_t nr = GRAVES_PART;

		r = bpf_map_lookup_batch(map, begun ? part->place : NULL, part->place, part->keys,
					 part->graves, &nr, NULL);
		if (r < 0 && r != -ENOENT)
			continue;
		begun = true;
		for (uint32_t i = 0; i < nr; i++)
			if (now_ns < part->graves[i].dug_ns + DFW_GRAVE_SECONDS * 1000000000ULL)
				each(data, &part->keys[i], part->graves[i].life);
	}
	free(part);
	return r == -ENOENT ? 0 : r;
}

/* ---- The ring of changes ----------------------------------------------------------------------------------------- */

int change_ring_open(struct change_ring *ring, int fd, int losses)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *at;

	*ring = (struct change_ring){.fd = fd, .bytes = DFW_CHANGES_BYTES};
	at = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	ring->consumer = at;
	/* The data lie there twice, so that a record that wraps is in one piece. */
	at = mmap(NULL, page + 2 * ring->bytes, PROT_READ, MAP_SHARED, fd, (off_t)page);
	if (at == MAP_FAILED)
		return -errno;
	ring->producer = at;
	ring->data = (const uint8_t *)at + page;
	at = mmap(NULL, page, PROT_READ, MAP_SHARED, losses, 0);
	if (at == MAP_FAILED)
		return -errno;
	ring->losses = at;
	return 0;
}

void change_ring_close(struct change_ring *ring)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (ring->consumer)
		munmap(ring->consumer, page);
	if (ring->producer)
		munmap((void *)ring->producer, page + 2 * ring->bytes);
	if (ring->losses)
		munmap((void *)ring->losses, page);
	cleanup_close(&ring->fd);
	*ring = (struct change_ring){.fd = -1};
}

size_t change_ring_read(struct change_ring *ring, size_t most,
			void (*each)(void *data, const struct dfw_change *change), void *data)
{
	unsigned long at = *ring->consumer, end;
	size_t nr = 0;

	end = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
	while (at < end && nr < most) {
		const uint32_t *header =
			(const uint32_t *)(const void *)(ring->data + (at & (ring->bytes - 1)));
		uint32_t length = __atomic_load_n(header, __ATOMIC_ACQUIRE);

		if (length & BPF_RINGBUF_BUSY_BIT)
			break;
		if (!(length & BPF_RINGBUF_DISCARD_BIT) && length == sizeof(struct dfw_change)) {
			each(data, (const void *)((const uint8_t *)header + BPF_RINGBUF_HDR_SZ));
			nr++;
		}
		length &= ~(uint32_t)(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		at += (length + BPF_RINGBUF_HDR_SZ + 7) & ~7UL;
		__atomic_store_n(ring->consumer, at, __ATOMIC_RELEASE);
	}
	return nr;
}

uint64_t change_ring_losses(const struct change_ring *ring)
{
	return __atomic_load_n(ring->losses, __ATOMIC_RELAXED);
}
