// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "selftests/sim/world.h"
#include "sync/hash.h"

/* ---- Chance ------------------------------------------------------------------------------------------------------ */

/* xorshift128+ (Vigna 2014) */
uint64_t world_random(struct world *world)
{
	uint64_t a = world->random[0], b = world->random[1];

	world->random[0] = b;
	a ^= a << 23;
	world->random[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
	return world->random[1] + b;
}

uint64_t world_below(struct world *world, uint64_t below)
{
	return world_random(world) % below;
}

bool world_chance(struct world *world, double probability)
{
	return probability > 0 && (double)(world_random(world) >> 11) * 0x1p-53 < probability;
}

void world_fail(struct world *world, const char *format, ...)
{
	va_list arguments;

	if (world->failure[0])
		return;
	va_start(arguments, format);
	vsnprintf(world->failure, sizeof(world->failure), format, arguments);
	va_end(arguments);
	world_log(world, "VIOLATION: %s", world->failure);
}

void world_log(const struct world *world, const char *format, ...)
{
	va_list arguments;

	if (!world->verbose)
		return;
	printf("%8.3f  ", (double)world->now / 1000);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(struct world *world, int64_t at, uint32_t host, struct packet *packet)
{
	struct event event = {at, ++world->order, host, packet};
	size_t hole;

	if (world->nr_heap == world->room_heap) {
		size_t room = world->room_heap ? 2 * world->room_heap : 256;
		struct event *heap = realloc(world->heap, room * sizeof(*heap));

		if (!heap)
			abort();
		world->heap = heap;
		world->room_heap = room;
	}
	for (hole = world->nr_heap++; hole; hole = (hole - 1) / 2) {
		if (!before(&event, &world->heap[(hole - 1) / 2]))
			break;
		world->heap[hole] = world->heap[(hole - 1) / 2];
	}
	world->heap[hole] = event;
}

static struct event pop(struct world *world)
{
	struct event first = world->heap[0], last = world->heap[--world->nr_heap];
	size_t hole = 0, child;

	while ((child = 2 * hole + 1) < world->nr_heap) {
		if (child + 1 < world->nr_heap &&
		    before(&world->heap[child + 1], &world->heap[child]))
			child++;
		if (!before(&world->heap[child], &last))
			break;
		world->heap[hole] = world->heap[child];
		hole = child;
	}
	world->heap[hole] = last;
	return first;
}

static int64_t host_clock(const struct sim_host *host)
{
	return host->world->now + host->skew;
}

void host_schedule(struct world *world, struct sim_host *host)
{
	int64_t at;

	if (!host->sync)
		return;
	at = sync_next(host->sync) - host->skew;
	if (store_next(host) < at)
		at = store_next(host);
	if (at < host->paused_until)
		at = host->paused_until;
	if (at <= world->now)
		at = world->now + 1;
	if (host->tick_at > world->now && host->tick_at <= at)
		return;
	host->tick_at = at;
	push(world, at, host->id, NULL);
}

struct sim_host *world_host(struct world *world, uint32_t id)
{
	return id && id <= world->nr_hosts ? &world->hosts[id - 1] : NULL;
}

/* ---- Network ----------------------------------------------------------------------------------------------------- */

static struct packet *packet_new(struct world *world, const void *bytes, size_t nr)
{
	bool small = nr <= WIRE_DATAGRAM;
	struct packet **list = small ? &world->free_small : &world->free_large;
	struct packet *packet = *list;

	if (packet) {
		*list = packet->next_free;
	} else {
		uint32_t room = small ? WIRE_DATAGRAM : WIRE_FRAME;

		packet = malloc(sizeof(*packet) + room);
		if (!packet)
			abort();
		packet->room = room;
	}
	packet->nr = (uint32_t)nr;
	memcpy(packet->bytes, bytes, nr);
	return packet;
}

static void packet_free(struct world *world, struct packet *packet)
{
	struct packet **list =
		packet->room == WIRE_DATAGRAM ? &world->free_small : &world->free_large;

	packet->next_free = *list;
	*list = packet;
}

static bool reachable(const struct world *world, const struct sim_host *from,
		      const struct sim_host *to)
{
	if (world->partitioned && from->side != to->side)
		return false;
	return !(world->one_way_from == from->id && world->one_way_to == to->id);
}

static uint32_t port_index(const struct world *world, struct uuid id)
{
	uint32_t port;

	memcpy(&port, id.bytes, sizeof(port));
	if (port >= world->nr_ports)
		abort();
	return port;
}

static void trap(struct world *world, uint16_t type, uint32_t victim)
{
	if (type != world->trap_type || world->trapped)
		return;
	if (world->trap_skip)
		world->trap_skip--;
	else
		world->trapped = victim;
}

/* Law V2: nobody hears of a claim before it holds, whatever becomes of the daemon. */
static void inspect_claimed(struct world *world, struct sim_host *host, struct reader reader)
{
	struct move_claimed claimed;
	const struct twin *twin;

	if (get_move_claimed(reader, &claimed))
		return;
	twin = host_twin(host, port_index(world, claimed.port));
	if (!twin->active && host->ledgers[port_index(world, claimed.port)].role != PORT_ACTIVE)
		world_fail(world, "host %u tells of a claim of port %u that is not in force",
			   host->id, port_index(world, claimed.port));
}

/* Law F3 seen from outside: no host acknowledges a write of an epoch below one that it has accepted. */
static void inspect(struct world *world, struct sim_host *host, uint32_t to, const void *bytes,
		    size_t nr)
{
	struct reader reader, value;
	uint16_t type;

	if (nr > (host->world->nr_hosts ? WIRE_FRAME : 0) || packet_open(&reader, bytes, nr)) {
		world_fail(world, "host %u sent an invalid packet", host->id);
		return;
	}
	while (tlv_next(&reader, &type, &value)) {
		struct flows_ack ack;

		trap(world, type, world->trap_receiver ? to : host->id);
		if (type == MESSAGE_MOVE_CLAIMED)
			inspect_claimed(world, host, value);
		if (type != MESSAGE_FLOWS_ACK || get_flows_ack(value, &ack) ||
		    ack.status != FLOWS_OK)
			continue;
		struct twin *twin = host_twin(host, port_index(world, ack.port));

		if (ack.epoch < twin->accepted)
			world_fail(world, "host %u accepted a write of epoch %llx below %llx",
				   host->id, (unsigned long long)ack.epoch,
				   (unsigned long long)twin->accepted);
		twin->accepted = ack.epoch;
	}
	if (reader.bad)
		world_fail(world, "host %u sent a malformed packet", host->id);
}

static void deliver_later(struct world *world, struct sim_host *from, struct sim_host *to,
			  const void *bytes, size_t nr, bool bulk)
{
	struct packet *packet = packet_new(world, bytes, nr);
	int64_t delay =
		world->delay_min +
		(int64_t)world_below(world, (uint64_t)(world->delay_max - world->delay_min + 1));

	packet->from = from->id;
	packet->to = to->id;
	packet->bulk = bulk;
	/* The bulk plane keeps its order: one delay for all. */
	push(world, world->now + (bulk ? world->delay_max : delay), 0, packet);
}

static void transmit(struct sim_host *from, uint32_t to_id, const void *bytes, size_t nr, bool bulk)
{
	struct world *world = from->world;
	struct sim_host *to = world_host(world, to_id);

	inspect(world, from, to_id, bytes, nr);
	if (!to)
		return;
	from->bytes_out += nr + WORLD_OVERHEAD;
	from->packets_out++;
	if (!reachable(world, from, to))
		return;
	/* Bulk is TCP below: what the network loses is sent again there, unless the connection breaks. */
	if (world_chance(world, bulk ? world->loss / 20 : world->loss))
		return;
	deliver_later(world, from, to, bytes, nr, bulk);
	if (!bulk && world_chance(world, world->duplicate))
		deliver_later(world, from, to, bytes, nr, bulk);
}

static void env_send(void *data, uint32_t to, const void *bytes, size_t nr)
{
	struct sim_host *host = data;

	if (nr > WIRE_DATAGRAM)
		world_fail(host->world, "host %u sent a datagram of %zu bytes", host->id, nr);
	transmit(host, to, bytes, nr, false);
}

static void env_send_seed(void *data, const char *address, const void *bytes, size_t nr)
{
	env_send(data, (uint32_t)atoi(address + 1), bytes, nr);
}

static int env_bulk(void *data, uint32_t to, const void *bytes, size_t nr)
{
	struct sim_host *host = data;

	if (host->world->nr_hosts < 100 && world_chance(host->world, 0.02)) {
		host->bulk_refused = to;
		return -EAGAIN;
	}
	transmit(host, to, bytes, nr, true);
	return 0;
}

static uint64_t env_random(void *data)
{
	return world_random(((struct sim_host *)data)->world);
}

/* ---- Signatures ------------------------------------------------------------------------------------------------- */

/* A signature is a hash with the host's number as its key: nobody here knows how to forge, but order and loss are real. */
static void make_signature(uint32_t host, const void *bytes, size_t nr,
			   uint8_t signature[ENTRY_SIGNATURE])
{
	uint64_t hash = hash_bytes(bytes, nr, host);

	memset(signature, 0, ENTRY_SIGNATURE);
	memcpy(signature, &hash, sizeof(hash));
}

static int env_entry_sign(void *data, const void *bytes, size_t nr,
			  uint8_t signature[ENTRY_SIGNATURE])
{
	make_signature(((struct sim_host *)data)->id, bytes, nr, signature);
	return 0;
}

static int env_entry_verify(void *data, uint32_t origin, const struct entry_record *record,
			    const void *bytes, size_t nr)
{
	struct sim_host *host = data;
	uint8_t signature[ENTRY_SIGNATURE];

	if (record->kind != ENTRY_CERTIFICATE && !host->certified[origin])
		return -ENOKEY;
	make_signature(origin, bytes, nr, signature);
	if (record->signature.nr != ENTRY_SIGNATURE ||
	    memcmp(record->signature.bytes, signature, ENTRY_SIGNATURE) != 0)
		world_fail(host->world, "host %u got an entry that host %u has not signed",
			   host->id, origin);
	host->certified[origin] = true;
	return 0;
}

/* ---- Disk -------------------------------------------------------------------------------------------------------- */

static int env_ledger_write(void *data, const struct ledger *ledger)
{
	struct sim_host *host = data;
	struct world *world = host->world;
	uint32_t index = port_index(world, ledger->port);
	const struct sim_port *port = &world->ports[index];

	/* Law V1: not while the VM stands still, if all goes by the book. */
	if (port->state == VM_PAUSED && port->orderly && !port->failed && !world->crashed &&
	    (host->id == port->vm || host->id == port->to))
		world_fail(world,
			   "host %u writes role %u of port %u to disk while its VM stands still",
			   host->id, ledger->role, index);
	if (host->disk_full)
		return -ENOSPC;
	host->ledgers[index] = *ledger;
	trap(world, TRAP_LEDGER, host->id);
	return 0;
}

static void env_ledger_drop(void *data, struct uuid port)
{
	struct sim_host *host = data;

	host->ledgers[port_index(host->world, port)].role = PORT_NONE;
}

static int env_policy_keep(void *data, const struct manifest *manifest, uint32_t writer)
{
	struct sim_host *host = data;

	if (host->disk_full) {
		host->disk_lost = true;
		return -ENOSPC;
	}
	host->manifest = *manifest;
	host->manifest_writer = writer;
	return 0;
}

struct digest object_name(uint32_t generation)
{
	struct digest name = {0};

	memcpy(name.bytes, &generation, sizeof(generation));
	return name;
}

/* The object of a generation: its number, over and over. */
const uint8_t *object_bytes(uint32_t generation, uint32_t *nr)
{
	static uint8_t bytes[40000];

	*nr = generation % 2 ? sizeof(bytes) : 500;
	memset(bytes, (int)generation, *nr);
	return bytes;
}

static const uint8_t *env_object_get(void *data, const struct digest *name, uint32_t *nr)
{
	const struct sim_host *host = data;
	uint32_t generation;

	memcpy(&generation, name->bytes, sizeof(generation));
	if (generation >= WORLD_GENERATIONS || !host->objects[generation])
		return NULL;
	return object_bytes(generation, nr);
}

static int env_object_put(void *data, const struct digest *name, const uint8_t *bytes, uint32_t nr)
{
	struct sim_host *host = data;
	uint32_t generation, expected;
	const uint8_t *object;

	memcpy(&generation, name->bytes, sizeof(generation));
	object = object_bytes(generation, &expected);
	if (nr != expected || memcmp(bytes, object, nr) != 0) {
		world_fail(host->world, "host %u got a broken object of generation %u", host->id,
			   generation);
		return -EBADMSG;
	}
	if (host->disk_full)
		return -ENOSPC;
	host->objects[generation] = true;
	return 0;
}

static int env_policy_stage(void *data, const struct generation *generation)
{
	struct sim_host *host = data;

	if (!host->objects[generation->number])
		world_fail(host->world, "host %u staged generation %u without its object", host->id,
			   generation->number);
	if (host->staging != generation->number) {
		host->staging = generation->number;
		return -EINPROGRESS;
	}
	host->staged = generation->number;
	return 0;
}

static int env_policy_flip(void *data, uint32_t generation)
{
	struct sim_host *host = data;

	world_log(host->world, "host %u flips to generation %u", host->id, generation);
	if (host->staged != generation)
		world_fail(host->world, "host %u flipped to %u but had staged %u", host->id,
			   generation, host->staged);
	if (generation < host->flipped)
		world_fail(host->world, "host %u went back from generation %u to %u", host->id,
			   host->flipped, generation);
	host->flipped = generation;
	return 0;
}

/* ---- Datapath ---------------------------------------------------------------------------------------------------- */

struct twin *host_twin(struct sim_host *host, uint32_t port)
{
	if (!host->twins[port])
		host->twins[port] = calloc(1, sizeof(struct twin));
	if (!host->twins[port])
		abort();
	return host->twins[port];
}

static void twin_clear(struct twin *twin)
{
	twin->attached = twin->active = twin->paused = twin->pausing = twin->late = false;
	twin->activating = 0;
	twin->was_in_force = 0;
	for (size_t i = 0; i < WORLD_KEYS; i++)
		twin->flows[i].present = false;
}

struct dfw_flow_key flow_key(uint32_t key)
{
	struct dfw_flow_key flow = {
		.local_port = (uint16_t)(1000 + key), .remote_port = 443, .protocol = 6};

	flow.local.bytes[10] = flow.local.bytes[11] = 0xff;
	flow.remote.bytes[10] = flow.remote.bytes[11] = 0xff;
	flow.local.bytes[12] = flow.remote.bytes[12] = 10;
	flow.remote.bytes[15] = (uint8_t)key;
	return flow;
}

static struct flow_record record_of(uint32_t key, const struct twin_flow *flow)
{
	struct flow_record record = {.key = flow_key(key),
				     .version = flow->version,
				     .age_ms = key % 2 ? 5000 : 0,
				     .rule = 7,
				     .generation = 1,
				     .state = DFW_FLOW_TCP_ESTABLISHED};

	record.legs[DFW_ORIG].end = (uint32_t)(flow->version * 1000);
	record.legs[DFW_REPLY].end = (uint32_t)(flow->epoch + key);
	return record;
}

/* What the members of a share group tell of a flow says since when it is. */
static struct flow_record shared_record(const struct world *world, uint32_t key,
					const struct twin_flow *flow)
{
	struct flow_record record = record_of(key, flow);

	if (world->shares) {
		record.age_ms = (uint64_t)(world->now - flow->born);
		record.rule = flow->birth;
		record.life = flow->life;
	}
	return record;
}

static void begin_flow(struct world *world, struct twin_flow *flow)
{
	if (flow->present)
		return;
	flow->born = world->now;
	flow->life = flow->buried;
	flow->birth = world->births < WORLD_BIRTHS - 1 ? ++world->births : 0;
}

/* Does a daemon read what the datapath of the port reports? A share group's one begins to some time after it has started; until
 * then it may hear of other members. */
static bool is_read(const struct world *world, const struct sim_host *host, uint32_t port)
{
	const struct twin *twin = host->twins[port];

	return host->sync && !(world->shares && twin && twin->unreported);
}

/* The daemon reads of kills in the order in which they were, before any other report of the port. */
static void tell_killed(struct world *world, struct sim_host *host, uint32_t port)
{
	struct twin *twin = host->twins[port];

	for (uint32_t key = 0;
	     twin && twin->active && is_read(world, host, port) && key < WORLD_KEYS; key++) {
		struct twin_flow *flow = &twin->flows[key];
		struct dfw_flow_key name = flow_key(key);
		int r;

		if (!flow->untold)
			continue;
		flow->untold = false;
		flow->gone_epoch = flow->gone_owner = twin->epoch;
		flow->gone_version = ++twin->version;
		r = sync_flow_kill(host->sync, world->ports[port].id, &name, flow->buried - 1,
				   flow->gone_version);
		if (r)
			world_fail(world, "host %u refused an end on port %u: %d", host->id, port,
				   r);
	}
}

/* The kernel keeps what was killed, and tells of it when the daemon reads the ring, if it lives so long. */
static void kill_flow(struct world *world, struct sim_host *host, uint32_t port, uint32_t key)
{
	struct twin_flow *flow = &host_twin(host, port)->flows[key];

	flow->present = false;
	flow->killed = flow->birth;
	if (flow->buried <= flow->life)
		flow->buried = flow->life + 1;
	world->ended[flow->birth] = flow->birth;
	flow->untold = is_read(world, host, port);
	if (flow->untold && world_chance(world, 0.7))
		tell_killed(world, host, port);
}

static void end_flow(struct world *world, struct sim_host *host, uint32_t port, uint32_t key)
{
	struct twin_flow *flow = &host_twin(host, port)->flows[key];
	struct dfw_flow_key name = flow_key(key);
	int r;

	flow->gone_epoch = flow->gone_owner = flow->epoch;
	flow->gone_version = flow->version;
	if (!host->sync)
		return;
	r = sync_flow_remove(host->sync, world->ports[port].id, &name, flow->version);
	if (r)
		world_fail(world, "host %u refused an end on port %u: %d", host->id, port, r);
}

void flow_change(struct world *world, struct sim_host *host, uint32_t port)
{
	struct twin *twin = host_twin(host, port);
	uint32_t key = (uint32_t)world_below(world, WORLD_KEYS);
	struct twin_flow *flow = &twin->flows[key];
	bool remove = flow->present && world_chance(world, 0.3);
	struct flow_record record;
	int r;

	if (!twin->active)
		return;
	tell_killed(world, host, port);
	/* Of a share group's: flows end by command, others by age. */
	if (remove && world->shares) {
		kill_flow(world, host, port, key);
		return;
	}
	begin_flow(world, flow);
	flow->epoch = twin->epoch;
	if (!world->shares || is_read(world, host, port))
		flow->version = ++twin->version;
	flow->present = !remove;
	if (remove) {
		end_flow(world, host, port, key);
		return;
	}
	if (!is_read(world, host, port))
		return;
	record = shared_record(world, key, flow);
	r = sync_flow_update(host->sync, world->ports[port].id, &record);
	if (r)
		world_fail(world, "host %u refused its own datapath's report on port %u: %d",
			   host->id, port, r);
}

static int env_port_prepare(void *data, struct uuid id, struct slice description, uint64_t flows)
{
	struct sim_host *host = data;
	uint32_t port = port_index(host->world, id);

	(void)flows;
	if (description.nr != host->world->ports[port].description_nr)
		world_fail(host->world, "host %u got another description of port %u", host->id,
			   port);
	if (host->world->refuse_room && world_chance(host->world, 0.1))
		return -ENOSPC;
	/* A datapath may take its time over what a move asks for. */
	if (host->world->ports[port].vm != host->id && world_chance(host->world, 0.3))
		return -EINPROGRESS;
	host_twin(host, port)->attached = true;
	return 0;
}

/* The kernel knows versions, but not in which epoch they were given: they are this epoch's from now on. */
static void report_all(struct world *world, struct sim_host *host, uint32_t port)
{
	struct twin *twin = host_twin(host, port);

	twin->unreported = false;
	for (uint32_t key = 0; key < WORLD_KEYS; key++) {
		struct twin_flow *flow = &twin->flows[key];
		struct dfw_flow_key name = flow_key(key);

		if (flow->buried)
			sync_flow_buried(host->sync, world->ports[port].id, &name,
					 flow->buried - 1);
	}
	for (uint32_t key = 0; key < WORLD_KEYS; key++) {
		struct twin_flow *flow = &twin->flows[key];
		struct flow_record record;

		if (!flow->present)
			continue;
		flow->epoch = twin->epoch;
		/* Above what the core has just told of graves. */
		if (world->shares && twin->active)
			flow->version = ++twin->version;
		if (flow->version > twin->version)
			twin->version = flow->version;
		record = shared_record(world, key, flow);
		/* Between offering and rolling back nobody listens: again when it is active. */
		if (sync_flow_update(host->sync, world->ports[port].id, &record) == -ENOENT)
			twin->unreported = true;
	}
}

static void pause_port(struct world *world, struct sim_host *host, uint32_t port)
{
	struct twin *twin = host_twin(host, port);

	twin->pausing = false;
	if (!twin->active || twin->unreported)
		report_all(world, host, port);
	/* What happened since the last report. */
	for (size_t i = 0; i < 3; i++)
		flow_change(world, host, port);
	tell_killed(world, host, port);
	/* One that was started again may not know that the port is elsewhere by now. */
	if (twin->active || twin->epoch == world->ports[port].final_epoch) {
		memcpy(world->ports[port].final, twin->flows, sizeof(twin->flows));
		world->ports[port].final_epoch = twin->epoch;
	}
	twin->active = false;
	twin->paused = true;
	world_log(world, "host %u pauses port %u", host->id, port);
}

static bool end_activation(struct world *world, struct sim_host *host, uint32_t port);

static int env_port_pause(void *data, struct uuid id)
{
	struct sim_host *host = data;
	struct world *world = host->world;
	uint32_t port = port_index(world, id);

	end_activation(world, host, port);
	trap(world, TRAP_PAUSE, host->id);
	if (world_chance(world, 0.5)) {
		host_twin(host, port)->pausing = true;
		return -EINPROGRESS;
	}
	pause_port(world, host, port);
	return 0;
}

/* Datapaths that have taken their time. Some fail; then the port is as it was. */
static void end_pauses(struct world *world, struct sim_host *host)
{
	for (uint32_t i = 0; i < world->nr_ports; i++) {
		struct twin *twin = host->twins[i];
		bool fails = twin && twin->pausing && world_chance(world, 0.1);

		if (twin && end_activation(world, host, i))
			sync_port_activated(host->sync, host_clock(host), world->ports[i].id,
					    twin->epoch);
		if (twin && twin->active && twin->unreported &&
		    (!world->shares || world_chance(world, 0.1)))
			report_all(world, host, i);
		if (!twin || !twin->pausing)
			continue;
		twin->pausing = false;
		if (!fails)
			pause_port(world, host, i);
		sync_port_paused(host->sync, host_clock(host), world->ports[i].id,
				 fails ? -EIO : 0);
		twin->pausing = fails && twin->paused; /* passive: it tries again */
	}
}

static bool holds_flows(const struct twin *twin)
{
	for (size_t i = 0; i < WORLD_KEYS; i++)
		if (twin->flows[i].present)
			return true;
	return false;
}

/* Does it hold what the source had when it paused? */
static bool is_final(const struct sim_port *port, const struct twin *twin)
{
	for (size_t i = 0; i < WORLD_KEYS; i++) {
		const struct twin_flow *here = &twin->flows[i], *there = &port->final[i];

		if (here->present != there->present ||
		    (here->present && here->version != there->version))
			return false;
	}
	return port->final_epoch;
}

static void activate(struct world *world, struct sim_host *host, uint32_t index, uint64_t epoch,
		     bool resync)
{
	struct sim_port *port = &world->ports[index];
	struct twin *twin = host_twin(host, index);
	bool rewritten;

	world_log(world, "host %u activates port %u in epoch %llx%s", host->id, index,
		  (unsigned long long)epoch, resync ? ", resync" : "");
	if (epoch_host(epoch) != host->id)
		world_fail(world, "host %u is active in an epoch of host %u", host->id,
			   epoch_host(epoch));
	if (epoch < twin->epoch || epoch < twin->accepted)
		world_fail(world, "host %u is active on port %u in epoch %llx after %llx", host->id,
			   index, (unsigned long long)epoch,
			   (unsigned long long)(twin->epoch > twin->accepted ? twin->epoch
									     : twin->accepted));
	if (twin->late && !resync && holds_flows(twin))
		world_fail(world,
			   "host %u goes on with the windows of port %u, whose VM has sent what it "
			   "did not see",
			   host->id, index);
	if (resync && !(twin->late && is_final(port, twin)))
		port->orderly = false;
	for (uint32_t i = 0; i < world->nr_hosts && world->nr_hosts < 100; i++) {
		const struct twin *other = world->hosts[i].twins[index];

		if (other == twin || !other || !other->active)
			continue;
		if (port->orderly || other->epoch == epoch)
			world_fail(world, "port %u is active on hosts %u and %u", index, host->id,
				   world->hosts[i].id);
	}
	/* A move by the book: what is activated is what the source had when it paused. */
	if (!resync && port->orderly && epoch > twin->epoch && port->final_epoch &&
	    epoch_host(port->final_epoch) != host->id) {
		for (size_t i = 0; i < WORLD_KEYS; i++) {
			const struct twin_flow *here = &twin->flows[i], *there = &port->final[i];

			if (here->present != there->present ||
			    (here->present && here->version != there->version))
				world_fail(world,
					   "port %u: flow %zu on host %u is %d/%llu, the source's "
					   "%d/%llu",
					   index, i, host->id, here->present,
					   (unsigned long long)here->version, there->present,
					   (unsigned long long)there->version);
		}
	}
	/* Versions begin anew with an epoch, but not those of flows that are written anew in it (V7). */
	rewritten = resync || (twin->paused && epoch > twin->epoch);
	if (epoch > twin->epoch)
		twin->version = 0;
	for (size_t i = 0; i < WORLD_KEYS && epoch > twin->epoch; i++) {
		twin->flows[i].buried = 0;
		twin->flows[i].untold = false;
	}
	for (size_t i = 0; i < WORLD_KEYS && rewritten; i++) {
		twin->flows[i].epoch = epoch;
		if (twin->flows[i].version > twin->version)
			twin->version = twin->flows[i].version;
	}
	if (epoch > port->top_epoch)
		port->top_epoch = epoch;
	/* It goes on where it paused: nobody has what it had then. */
	if (epoch == port->final_epoch)
		port->final_epoch = 0;
	twin->attached = twin->active = true;
	twin->paused = twin->pausing = twin->late = false;
	twin->epoch = twin->accepted = twin->was_in_force = epoch;
}

/* What it was asked for is done. */
static bool end_activation(struct world *world, struct sim_host *host, uint32_t port)
{
	struct twin *twin = host_twin(host, port);
	uint64_t epoch = twin->activating;

	twin->activating = 0;
	if (epoch && (!twin->active || twin->epoch != epoch))
		activate(world, host, port, epoch, twin->activating_resync);
	return epoch;
}

/* A datapath may take its time; or it is fast, and only its answer is not. */
static int env_port_activate(void *data, struct uuid id, uint64_t epoch, bool resync)
{
	struct sim_host *host = data;
	struct world *world = host->world;
	uint32_t index = port_index(world, id);
	struct twin *twin = host_twin(host, index);
	bool slow = world_chance(world, 0.5);

	trap(world, TRAP_ACTIVATE, host->id);
	twin->pausing = false;
	twin->activating = slow ? epoch : 0;
	twin->activating_resync = resync;
	if (!slow || world->shares || world_chance(world, 0.5))
		activate(world, host, index, epoch, resync);
	return slow ? -EINPROGRESS : 0;
}

static void env_port_release(void *data, struct uuid id)
{
	struct sim_host *host = data;
	uint32_t port = port_index(host->world, id);
	struct twin *twin = host_twin(host, port);

	world_log(host->world, "host %u releases port %u", host->id, port);
	/* A destination that gives a move up throws its copy away, and forgets with it (V8). */
	for (uint32_t key = 0; key < WORLD_KEYS && !twin->active && !twin->paused; key++)
		twin->flows[key].gone_owner = 0;
	twin_clear(twin);
}

static uint64_t env_port_flows(void *data, struct uuid id)
{
	(void)data;
	(void)id;
	return 0;
}

static bool env_port_late(void *data, struct uuid id)
{
	struct sim_host *host = data;

	return host_twin(host, port_index(host->world, id))->late;
}

static bool env_port_stranded(void *data, struct uuid id)
{
	struct sim_host *host = data;
	const struct twin *twin = host_twin(host, port_index(host->world, id));

	return twin->late && !twin->active;
}

static uint64_t env_port_epoch(void *data, struct uuid id)
{
	struct sim_host *host = data;

	return host_twin(host, port_index(host->world, id))->was_in_force;
}

static bool env_port_in_force(void *data, struct uuid id)
{
	struct sim_host *host = data;

	return host_twin(host, port_index(host->world, id))->active;
}

static bool env_port_gone(void *data, struct uuid id)
{
	const struct sim_host *host = data;
	const struct sim_port *port = &host->world->ports[port_index(host->world, id)];

	return port->vm != host->id;
}

static void env_flow_apply(void *data, struct uuid id, const struct flow_record *record)
{
	struct sim_host *host = data;
	uint32_t port = port_index(host->world, id), key = record->key.remote.bytes[15];
	struct twin *twin = host_twin(host, port);
	struct twin_flow *flow = &twin->flows[key];
	uint64_t owner;

	sync_port_role(host->sync, id, &owner);
	if (twin->active || !twin->attached)
		world_fail(host->world, "host %u: flows applied to port %u that is %s", host->id,
			   port, twin->active ? "active" : "not attached");
	if (record->flags & FLOW_GONE) {
		/* What a sweep drops is no delete: it has the version of the flow. */
		if (record->epoch > flow->epoch || record->version > flow->version) {
			flow->gone_epoch = record->epoch;
			flow->gone_version = record->version;
			flow->gone_owner = owner;
		}
		flow->present = false;
		return;
	}
	if (owner < flow->gone_owner ||
	    (owner == flow->gone_owner &&
	     (record->epoch < flow->gone_epoch ||
	      (record->epoch == flow->gone_epoch && record->version <= flow->gone_version))))
		world_fail(host->world, "host %u: flow %u of port %u came back from the dead",
			   host->id, key, port);
	flow->present = true;
	flow->epoch = record->epoch;
	flow->version = record->version;
	flow->life = record->life;
}

/* Law H4 seen from outside: what a host has seen the end of does not come back to it. */
static void env_flow_share(void *data, struct uuid id, const struct flow_record *record,
			   enum share_how how)
{
	struct sim_host *host = data;
	struct world *world = host->world;
	uint32_t port = port_index(world, id), key = record->key.remote.bytes[15];
	struct twin *twin = host_twin(host, port);
	struct twin_flow *flow = &twin->flows[key];

	if (!twin->active)
		world_fail(world, "host %u: a flow is shared with port %u, which is not active",
			   host->id, port);
	/* Who starts again is above its own former lives, but not above what other hosts have told it. */
	if (record->epoch != twin->epoch || (record->version <= twin->version && !world->forgetful))
		world_fail(world, "host %u: what is shared with port %u is not its next word",
			   host->id, port);
	if (record->version > twin->version)
		twin->version = record->version;
	if (record->flags & FLOW_GONE) {
		if (record->flags & FLOW_KILLED && flow->buried <= record->life)
			flow->buried = record->life + 1;
		if (flow->present && flow->life > record->life)
			return;
		flow->gone_epoch = flow->gone_owner = record->epoch;
		flow->gone_version = record->version;
		if (flow->present)
			flow->killed = flow->birth;
		flow->present = false;
		return;
	}
	/* The kernel lets nothing in that is buried, nor anything take the place of what began later. */
	if (record->life < flow->buried || (how == SHARE_JOIN && !flow->present) ||
	    (flow->present && flow->life > record->life))
		return;
	flow->epoch = record->epoch;
	flow->version = record->version;
	if (!flow->present || (how != SHARE_JOIN && flow->life < record->life)) {
		flow->birth = record->rule;
		flow->born = world->now - (int64_t)record->age_ms;
	}
	flow->life = record->life;
	flow->present = true;
	if (flow->birth && flow->birth == flow->killed && !world->forgetful)
		world_fail(world, "host %u: flow %u of port %u came back from the dead", host->id,
			   key, port);
}

/* What it holds is checked when it is activated. */
static int env_flows_held(void *data, struct uuid id)
{
	struct sim_host *host = data;

	(void)id;
	return host->world->refuse_room && world_chance(host->world, 0.05) ? -ENOSPC : 0;
}

static void env_move_event(void *data, struct uuid id, enum move_result result)
{
	struct sim_host *host = data;
	uint32_t index = port_index(host->world, id);
	struct sim_port *port = &host->world->ports[index];

	world_log(host->world, "host %u: move of port %u: result %d", host->id, index, (int)result);
	if (port->vm == host->id && result != MOVE_OK)
		port->failed = true;
}

static const struct sync_env env_template = {
	.random = env_random,
	.send = env_send,
	.send_seed = env_send_seed,
	.bulk = env_bulk,
	.ledger_write = env_ledger_write,
	.ledger_drop = env_ledger_drop,
	.port_prepare = env_port_prepare,
	.port_pause = env_port_pause,
	.port_activate = env_port_activate,
	.port_release = env_port_release,
	.port_flows = env_port_flows,
	.port_late = env_port_late,
	.port_stranded = env_port_stranded,
	.port_epoch = env_port_epoch,
	.port_in_force = env_port_in_force,
	.port_gone = env_port_gone,
	.flow_apply = env_flow_apply,
	.flow_share = env_flow_share,
	.flows_held = env_flows_held,
	.move_event = env_move_event,
	.object_get = env_object_get,
	.object_put = env_object_put,
	.policy_stage = env_policy_stage,
	.policy_flip = env_policy_flip,
	.policy_keep = env_policy_keep,
	.policy_commit = store_env_commit,
	.object_want = store_env_want,
};

/* ---- Hosts ------------------------------------------------------------------------------------------------------- */

/* The daemon starts: from its disk, and from what the kernel still holds. */
static void restore_port(struct world *world, struct sim_host *host, uint32_t index)
{
	struct sim_port *port = &world->ports[index];
	const struct ledger *ledger = &host->ledgers[index];
	struct twin *twin = host->twins[index];
	enum port_role role;
	uint64_t epoch;

	if (ledger->role)
		sync_restore(host->sync, ledger);
	if (!twin)
		return;
	role = sync_port_role(host->sync, port->id, &epoch);
	twin->accepted = role == PORT_ACTIVE || role == PORT_HANDOVER ? epoch : 0;
	/* What it had been told of other hosts' flows went with its memory. So did what a later owner had said, if a full
	 * disk left an earlier epoch in the ledger. */
	for (uint32_t key = 0; key < WORLD_KEYS; key++)
		if (twin->flows[key].gone_owner > twin->accepted)
			twin->flows[key].gone_owner = 0;
	if (role != PORT_ACTIVE && role != PORT_HANDOVER) {
		world->forgetful = true;
		twin_clear(twin);
		return;
	}
	if (sync_port_add(host->sync, port->id,
			  (struct slice){port->description, port->description_nr}, false))
		world_fail(world, "host %u cannot add its port %u again", host->id, index);
	twin->pausing = false;
	twin->unreported = true;
	for (uint32_t key = 0; key < WORLD_KEYS; key++)
		twin->flows[key].untold = false;
	if (twin->active && (!world->shares || world_chance(world, 0.5)))
		report_all(world, host, index);
}

void host_start(struct world *world, struct sim_host *host)
{
	struct sync_config config = {
		.host = host->id,
		.life = ++host->life,
		.name = host->address,
		.address = host->address,
		.seeds = host->seeds,
		.nr_seeds = host->nr_seeds,
		.replicas = world->replicas,
		.min_age_ms = 2000,
		.replica_room = 1000000,
		.writer = host->id == 1 && host->life == 1,
		.shared_store = world->store.used,
	};

	host->env = env_template;
	host->env.data = host;
	if (world->nr_hosts < WORLD_SIGNED_HOSTS) {
		host->env.entry_sign = env_entry_sign;
		host->env.entry_verify = env_entry_verify;
	}
	host->sync = sync_new(&config, &host->env, host_clock(host));
	if (!host->sync)
		abort();
	host->flipped = host->staged = host->staging = 0;
	memset(host->certified, 0, sizeof(host->certified));
	if (world->nr_hosts < WORLD_SIGNED_HOSTS &&
	    sync_certificate(host->sync, (struct slice){(const uint8_t *)"certificate", 11}))
		abort();
	store_started(host);
	for (uint32_t i = 0; i < world->nr_ports; i++)
		if (host->ledgers[i].role || host->twins[i])
			restore_port(world, host, i);
	if (host->manifest.term)
		sync_policy_restore(host->sync, &host->manifest, host->manifest_writer);
	if (sync_start(host->sync))
		abort();
	host->paused_until = 0;
	host->tick_at = 0;
	host_schedule(world, host);
}

void host_crash(struct world *world, struct sim_host *host)
{
	world_log(world, "host %u: the daemon dies", host->id);
	world->crashed = true;
	/* What it has asked the datapath for is done yet; if both die at once it is not: a claim that is not in the ledger
	 * can stand that. */
	for (uint32_t i = 0; i < world->nr_ports; i++) {
		if (!host->twins[i])
			continue;
		if (host->ledgers[i].role == PORT_ACTIVE || world_chance(world, 0.5))
			end_activation(world, host, i);
		host->twins[i]->activating = 0;
	}
	store_crashed(host);
	sync_free(host->sync);
	host->sync = NULL;
}

/* R8: nobody removes a port here, so whoever has heard of it goes on knowing it, wherever it moves. A daemon that was started
 * again tells nothing of what it gave away before. */
static void check_known(struct world *world, struct sim_host *host)
{
	struct sync_vport vport;

	for (uint32_t i = 0; host->sync && i < world->nr_ports; i++) {
		bool found = sync_port_find(host->sync, world->ports[i].id, &vport) == 0;

		if (host->known[i] && !found && !world->crashed)
			world_fail(world, "host %u does not know port %u any more", host->id, i);
		host->known[i] = found;
	}
}

static void deliver(struct world *world, struct packet *packet)
{
	struct sim_host *host = world_host(world, packet->to);

	if (host->sync && host->paused_until > world->now) {
		push(world, host->paused_until, 0, packet);
		return;
	}
	if (host->sync) {
		host->bytes_in += packet->nr + WORLD_OVERHEAD;
		sync_on_message(host->sync, host_clock(host), packet->from, packet->bytes,
				packet->nr);
		check_known(world, host);
		host_schedule(world, host);
	}
	packet_free(world, packet);
}

bool world_step(struct world *world, int64_t until)
{
	struct event event;
	struct sim_host *host;

	if (!world->nr_heap || world->heap[0].at > until)
		return false;
	event = pop(world);
	world->now = event.at;
	world->nr_events++;
	if (event.packet) {
		deliver(world, event.packet);
	} else {
		host = world_host(world, event.host);
		if (host->sync && host->tick_at == event.at) {
			store_tick(host);
			for (uint32_t i = 0; i < world->nr_ports; i++)
				tell_killed(world, host, i);
			if (host->bulk_refused && world_chance(world, 0.5))
				sync_bulk_ready(host->sync, host_clock(host), host->bulk_refused);
			host->bulk_refused = 0;
			sync_tick(host->sync, host_clock(host));
			if (host->staging != host->staged)
				sync_policy_continue(host->sync, host_clock(host));
			end_pauses(world, host);
			check_known(world, host);
			host_schedule(world, host);
		}
	}
	if (world->trapped) {
		host = world_host(world, world->trapped);
		if (host && host->sync)
			host_crash(world, host);
		world->trapped = 0;
		world->trap_type = 0;
	}
	return true;
}

static void describe(struct sim_port *port, uint32_t index, const char *share)
{
	struct vport vport = {.nr_tags = 1, .nr_addresses = 1};
	uint8_t value[ENTRY_VALUE_MAX];

	snprintf(vport.name, sizeof(vport.name), "vm-%u", index);
	snprintf(vport.share, sizeof(vport.share), "%s", share);
	vport.tags[0] = (struct slice){(const uint8_t *)"app\0web", 7};
	if (vport_encode(&vport, value, &port->description_nr) ||
	    port->description_nr > sizeof(port->description))
		abort();
	memcpy(port->description, value, port->description_nr);
}

struct world *world_new(uint64_t seed, uint32_t nr_hosts, uint32_t nr_ports)
{
	struct world *world = calloc(1, sizeof(*world));

	if (!world)
		abort();
	world->seed = seed;
	world->random[0] = hash_mix(seed);
	world->random[1] = hash_mix(seed + 1) | 1;
	world->nr_hosts = nr_hosts;
	world->nr_ports = nr_ports;
	world->replicas = 1;
	world->delay_min = 1;
	world->delay_max = 5;
	world->hosts = calloc(nr_hosts, sizeof(*world->hosts));
	world->ports = calloc(nr_ports + 1, sizeof(*world->ports));
	if (!world->hosts || !world->ports)
		abort();
	for (uint32_t i = 0; i < nr_hosts; i++) {
		struct sim_host *host = &world->hosts[i];

		host->id = i + 1;
		host->world = world;
		host->ledgers = calloc(nr_ports + 1, sizeof(*host->ledgers));
		host->twins = calloc(nr_ports + 1, sizeof(struct twin *));
		host->known = calloc(nr_ports + 1, sizeof(*host->known));
		if (!host->ledgers || !host->twins || !host->known)
			abort();
		snprintf(host->address, sizeof(host->address), "h%u", host->id);
	}
	for (uint32_t i = 0; i < nr_hosts; i++)
		for (uint32_t j = 0; j < 3 && j < nr_hosts; j++)
			world->hosts[i].seeds[world->hosts[i].nr_seeds++] = world->hosts[j].address;
	for (uint32_t i = 0; i < nr_ports; i++) {
		struct sim_port *port = &world->ports[i];

		memcpy(port->id.bytes, &i, sizeof(i));
		describe(port, i, "");
		port->vm = i % nr_hosts + 1;
		port->orderly = true;
	}
	return world;
}

void world_share(struct world *world)
{
	world->shares = true;
	for (uint32_t i = 0; i < world->nr_ports; i++)
		describe(&world->ports[i], i, "pair");
}

void world_free(struct world *world)
{
	struct packet *packet;

	while (world->nr_heap)
		if ((packet = world->heap[--world->nr_heap].packet))
			free(packet);
	while ((packet = world->free_small)) {
		world->free_small = packet->next_free;
		free(packet);
	}
	while ((packet = world->free_large)) {
		world->free_large = packet->next_free;
		free(packet);
	}
	for (uint32_t i = 0; i < world->nr_hosts; i++) {
		struct sim_host *host = &world->hosts[i];

		sync_free(host->sync);
		for (uint32_t j = 0; j < world->nr_ports; j++)
			free(host->twins[j]);
		free(host->twins);
		free(host->known);
		free(host->ledgers);
	}
	free(world->hosts);
	free(world->ports);
	free(world->heap);
	free(world);
}
