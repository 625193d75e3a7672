// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "selftests/sim/scenario.h"

#define TROUBLE_MS     12000 /* things happen this long, */
#define PATIENCE_MS    90000 /* then the cluster has this long to settle */
#define HOOK_MS	       50    /* the hypervisor looks at its moves this often */
#define GRATUITOUS_MS  1000  /* a running VM shows where it is */
#define PRECOPY_MAX_MS 5000

/* ---- The hypervisor: knows where each VM runs, and calls the hooks ------------------------------------------- */

static struct slice description_of(const struct sim_port *port)
{
	return (struct slice){port->description, port->description_nr};
}

static bool usable(const struct world *world, const struct sim_host *host)
{
	return host->sync && host->paused_until <= world->now;
}

/* The VM shows itself on its host: by RARP, GARP or NA. */
static void appear(struct world *world, uint32_t index)
{
	struct sim_port *port = &world->ports[index];
	struct sim_host *host = world_host(world, port->vm);
	enum port_role role = sync_port_role(host->sync, port->id, NULL);
	struct twin *twin = host_twin(host, index);

	/* It may have been faster than who enforces its device. */
	if (!twin->active && !twin->paused && !twin->activating)
		twin->late |= world_chance(world, 0.3);
	switch (role) {
	case PORT_ACTIVE:
		return;
	case PORT_HANDOVER:
		sync_move_rollback(host->sync, port->id);
		break;
	case PORT_PREPARED:
	case PORT_STAGED:
	case PORT_PULLING:
		sync_move_activate(host->sync, port->id);
		break;
	default:
		world_log(world, "vm %u shows up on host %u", index, host->id);
		port->orderly = false;
		sync_port_add(host->sync, port->id, description_of(port), false);
	}
	host_schedule(world, host);
}

static void hook(struct world *world, uint32_t index)
{
	struct sim_port *port = &world->ports[index];
	struct sim_host *source = world_host(world, port->vm), *to = world_host(world, port->to);
	int64_t elapsed = world->now - port->since;

	switch (port->state) {
	case VM_RUNNING:
		if (elapsed >= GRATUITOUS_MS && usable(world, source)) {
			port->since = world->now;
			appear(world, index);
		}
		return;
	case VM_PREPARING:
		if (!usable(world, source))
			return;
		if (port->failed || elapsed > PRECOPY_MAX_MS) {
			sync_move_rollback(source->sync, port->id);
			port->state = VM_RUNNING;
		} else if (elapsed > 300 && sync_move_pause(source->sync, port->id) == 0) {
			port->state = VM_PAUSED;
			port->since = world->now;
		}
		host_schedule(world, source);
		return;
	case VM_PAUSED:
		if (elapsed < 200)
			return;
		/* The machine itself arrives, or its migration fails and it goes on at the source. */
		if (!port->failed && usable(world, to) && world_chance(world, 0.8)) {
			world_log(world, "vm %u resumes on host %u", index, port->to);
			port->vm = port->to;
			port->state = VM_RUNNING;
			port->since = world->now;
			appear(world, index);
		} else if (usable(world, source) && (port->failed || world_chance(world, 0.3))) {
			world_log(world, "vm %u stays on host %u", index, port->vm);
			sync_move_rollback(source->sync, port->id);
			host_schedule(world, source);
			port->state = VM_RUNNING;
			port->since = world->now;
		}
		return;
	}
}

static void begin_move(struct world *world)
{
	uint32_t index = (uint32_t)world_below(world, world->nr_ports);
	struct sim_port *port = &world->ports[index];
	struct sim_host *source = world_host(world, port->vm);
	uint32_t to = (uint32_t)world_below(world, world->nr_hosts) + 1;

	if (port->state != VM_RUNNING || to == port->vm || !usable(world, source))
		return;
	if (sync_move_begin(source->sync, port->id, to, world_chance(world, 0.5)))
		return;
	world_log(world, "move of port %u from host %u to %u begins", index, port->vm, to);
	world->forgetful = true;
	port->state = VM_PREPARING;
	port->to = to;
	port->since = world->now;
	port->failed = false;
	host_schedule(world, source);
}

/* The VM is elsewhere all of a sudden: no hook was called. */
static void jump_vm(struct world *world)
{
	uint32_t index = (uint32_t)world_below(world, world->nr_ports);
	struct sim_port *port = &world->ports[index];
	uint32_t to = (uint32_t)world_below(world, world->nr_hosts) + 1;

	if (port->state != VM_RUNNING || to == port->vm || world->now < 4000)
		return;
	world_log(world, "vm %u jumps from host %u to %u", index, port->vm, to);
	world->forgetful = true;
	port->vm = to;
	port->orderly = false;
	port->since = world->now - GRATUITOUS_MS;
}

/* ---- Trouble ----------------------------------------------------------------------------------------------------- */

struct trouble {
	int64_t restart_ms[64];
	int64_t disk_ms[64];
	int64_t heal_ms;
	int64_t one_way_ms;
	int64_t store_ms;
	int64_t hook_ms;
	int64_t act_ms;
};

static uint32_t any_host(struct world *world)
{
	return (uint32_t)world_below(world, world->nr_hosts);
}

static int64_t some_time(struct world *world, int64_t most)
{
	return world->now + 500 + (int64_t)world_below(world, (uint64_t)most);
}

static void do_flow(struct world *world, struct trouble *trouble)
{
	(void)trouble;
	for (size_t i = 0; i < 3; i++) {
		uint32_t port = (uint32_t)world_below(world, world->nr_ports);
		struct sim_host *host = world_host(world, world->ports[port].vm);

		if (!host->sync || host->paused_until <= world->now)
			flow_change(world, host, port);
		host_schedule(world, host);
	}
}

static void do_move(struct world *world, struct trouble *trouble)
{
	(void)trouble;
	begin_move(world);
}

static void do_jump(struct world *world, struct trouble *trouble)
{
	(void)trouble;
	jump_vm(world);
}

static void do_crash(struct world *world, struct trouble *trouble)
{
	uint32_t host = any_host(world);

	if (world->hosts[host].sync)
		host_crash(world, &world->hosts[host]);
	trouble->restart_ms[host] = some_time(world, 6000);
}

/* Somebody dies at a certain step of whatever move comes next. */
static void do_trap(struct world *world, struct trouble *trouble)
{
	static const uint16_t types[] = {
		MESSAGE_MOVE_PREPARE, MESSAGE_MOVE_ANSWER,  MESSAGE_FLOWS,	MESSAGE_FLOWS_ACK,
		MESSAGE_MOVE_FINAL,   MESSAGE_MOVE_CLAIMED, MESSAGE_MOVE_ABORT, MESSAGE_MOVE_PULL,
		TRAP_PAUSE,	      TRAP_ACTIVATE,	    TRAP_LEDGER};

	(void)trouble;
	world->trap_type = types[world_below(world, sizeof(types) / sizeof(types[0]))];
	world->trap_skip = (uint8_t)world_below(world, 4);
	world->trap_receiver = world_chance(world, 0.5);
	begin_move(world);
}

static void do_partition(struct world *world, struct trouble *trouble)
{
	for (uint32_t i = 0; i < world->nr_hosts; i++)
		world->hosts[i].side = (uint32_t)world_below(world, 2);
	world->partitioned = true;
	trouble->heal_ms = some_time(world, 10000);
	world_log(world, "partition");
}

static void do_one_way(struct world *world, struct trouble *trouble)
{
	world->one_way_from = any_host(world) + 1;
	world->one_way_to = any_host(world) + 1;
	trouble->one_way_ms = some_time(world, 10000);
	world_log(world, "host %u is deaf to host %u", world->one_way_to, world->one_way_from);
}

static void do_pause(struct world *world, struct trouble *trouble)
{
	struct sim_host *host = &world->hosts[any_host(world)];

	(void)trouble;
	host->paused_until = some_time(world, 10000);
	host->tick_at = 0;
	host_schedule(world, host);
	world_log(world, "host %u stands still", host->id);
}

static void do_clock(struct world *world, struct trouble *trouble)
{
	struct sim_host *host = &world->hosts[any_host(world)];

	(void)trouble;
	/* A datapath tells the age of a flow by the clock of the core (D6), but not here: the core takes it for another, later
	 * flow of the key, which outlives a kill of the former one (H4). */
	world->forgetful = true;
	host->skew += (int64_t)world_below(world, 20000) - 10000;
	world_log(world, "the clock of host %u leaps", host->id);
	host->tick_at = 0;
	host_schedule(world, host);
}

static void do_disk(struct world *world, struct trouble *trouble)
{
	uint32_t host = any_host(world);

	world->hosts[host].disk_full = true;
	trouble->disk_ms[host] = some_time(world, 6000);
	world_log(world, "the disk of host %u is full", host + 1);
}

/* In most worlds the store is sound, or there is none outside the cluster. */
static void do_store(struct world *world, struct trouble *trouble)
{
	switch (world_below(world, 3)) {
	case 0:
		world->store.down = true;
		trouble->store_ms = some_time(world, 10000);
		world_log(world, "the store is away");
		break;
	case 1:
		store_back_up(world);
		break;
	case 2:
		store_rewind(world);
		break;
	}
}

void apply_next(struct world *world)
{
	struct sim_host *host = &world->hosts[world->store.used ? any_host(world) : 0];
	struct generation next = {.number = world->generation + 1, .nr_objects = 1}, active;
	struct policy_store store;

	if (!usable(world, host) || next.number >= WORLD_GENERATIONS)
		return;
	if (world->store.used) {
		store_apply(host);
		host_schedule(world, host);
		return;
	}
	store = sync_policy_store(host->sync);
	store.get(store.data, &active);
	next.objects[0] = object_name(next.number);
	host->objects[next.number] = true;
	if (store.cas(store.data, active.number, &next, NULL, NULL) == 0) {
		world->generation = next.number;
		world_log(world, "generation %u is applied", next.number);
	}
	host_schedule(world, host);
}

static void do_policy(struct world *world, struct trouble *trouble)
{
	(void)trouble;
	apply_next(world);
}

struct action {
	void (*run)(struct world *world, struct trouble *trouble);
	unsigned int weight[SCENARIOS]; /* of 1000 */
};

/*				      calm move crash partition pause disk unannounced store share all */
static const struct action actions[] = {
	{do_flow, {950, 850, 850, 850, 850, 850, 900, 835, 880, 850}},
	{do_move, {40, 140, 60, 70, 70, 90, 0, 20, 0, 50}},
	{do_jump, {0, 0, 0, 10, 0, 0, 30, 0, 0, 10}},
	{do_crash, {0, 0, 25, 0, 0, 10, 30, 25, 20, 15}},
	{do_trap, {0, 0, 55, 0, 0, 0, 0, 0, 0, 20}},
	{do_partition, {0, 0, 0, 30, 0, 0, 10, 15, 30, 12}},
	{do_one_way, {0, 0, 0, 30, 0, 0, 10, 5, 30, 10}},
	{do_pause, {0, 0, 0, 0, 50, 0, 10, 10, 30, 10}},
	{do_clock, {0, 0, 0, 0, 20, 0, 0, 5, 0, 5}},
	{do_disk, {0, 0, 0, 0, 0, 40, 0, 10, 0, 10}},
	{do_store, {0, 0, 0, 0, 0, 0, 0, 35, 0, 0}},
	{do_policy, {10, 10, 10, 10, 10, 10, 10, 40, 10, 8}},
};

const char *const scenario_names[SCENARIOS] = {"calm", "move",	      "crash", "partition", "pause",
					       "disk", "unannounced", "store", "share",	    "all"};

static void act(struct world *world, struct trouble *trouble, enum scenario scenario)
{
	unsigned int draw = (unsigned int)world_below(world, 1000);

	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (draw < actions[i].weight[scenario]) {
			actions[i].run(world, trouble);
			return;
		}
		draw -= actions[i].weight[scenario];
	}
}

static void restart(struct world *world, struct trouble *trouble, uint32_t host)
{
	world_log(world, "host %u starts again", host + 1);
	trouble->restart_ms[host] = 0;
	host_start(world, &world->hosts[host]);
}

static void heal(struct world *world, struct trouble *trouble, bool all)
{
	for (uint32_t i = 0; i < world->nr_hosts; i++) {
		if (!world->hosts[i].sync && !trouble->restart_ms[i])
			trouble->restart_ms[i] = some_time(world, 3000); /* fell into a trap */
		if (world->hosts[i].disk_full && (all || world->now >= trouble->disk_ms[i]))
			world->hosts[i].disk_full = false;
		if (!world->hosts[i].sync && (all || world->now >= trouble->restart_ms[i]))
			restart(world, trouble, i);
	}
	if (all || world->now >= trouble->heal_ms)
		world->partitioned = false;
	if (all || world->now >= trouble->one_way_ms)
		world->one_way_from = world->one_way_to = 0;
	if (all || world->now >= trouble->store_ms)
		world->store.down = false;
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

static const char *port_unsettled(const struct world *world, uint32_t index)
{
	const struct sim_port *port = &world->ports[index];
	const struct sim_host *owner = &world->hosts[port->vm - 1];
	struct sync_flows mine, theirs;
	struct sync_lag lag[8];
	struct sync_vport vport;
	uint64_t epoch, count = 0;
	size_t nr;

	if (port->state != VM_RUNNING)
		return "its VM does not run";
	if (sync_port_role(owner->sync, port->id, &epoch) != PORT_ACTIVE ||
	    !owner->twins[index]->active)
		return "it is not active where its VM is";
	sync_flows(owner->sync, port->id, &mine);
	for (size_t i = 0; i < WORLD_KEYS; i++)
		count += owner->twins[index]->flows[i].present;
	if (count != mine.count)
		return "its owner's core and datapath differ";
	for (uint32_t i = 0; i < world->nr_hosts; i++) {
		const struct sim_host *host = &world->hosts[i];

		if (host != owner && host->twins[index] && host->twins[index]->active)
			return "it is active on two hosts";
		if (sync_port_find(host->sync, port->id, &vport) || vport.host != owner->id ||
		    vport.epoch != epoch)
			return "the registry names another owner";
	}
	nr = sync_lag(owner->sync, port->id, lag, 8);
	if (!world->shares &&
	    nr != (world->nr_hosts - 1 < world->replicas ? world->nr_hosts - 1 : world->replicas))
		return "it has another number of buddies";
	for (size_t i = 0; i < nr; i++) {
		if (!lag[i].safe)
			return "a buddy lags";
		if (sync_flows(world->hosts[lag[i].peer - 1].sync, port->id, &theirs) ||
		    theirs.count != mine.count || theirs.hash != mine.hash)
			return "a buddy's copy differs";
	}
	return NULL;
}

/* The port that represents its share group on its host: more than one there do not share with each other. */
static bool represents(const struct world *world, uint32_t index)
{
	for (uint32_t i = 0; i < index; i++)
		if (world->ports[i].vm == world->ports[index].vm)
			return false;
	return true;
}

/* All members of a share group have the same flows, and none that was killed. */
static const char *share_unsettled(const struct world *world)
{
	const struct twin *first = world->hosts[world->ports[0].vm - 1].twins[0];

	for (uint32_t i = 0; world->shares && i < world->nr_ports; i++) {
		const struct twin *twin = world->hosts[world->ports[i].vm - 1].twins[i];

		if (!represents(world, i))
			continue;
		for (size_t key = 0; key < WORLD_KEYS; key++) {
			const struct twin_flow *flow = &twin->flows[key];

			if (flow->present != first->flows[key].present)
				return "members of a share group have different flows";
			if (flow->present && world->ended[flow->birth] && !world->forgetful)
				return "a flow that was killed on a member is still there";
		}
	}
	return NULL;
}

const char *world_unsettled(const struct world *world, char text[128])
{
	uint64_t hash = sync_hash(world->hosts[0].sync);

	for (uint32_t i = 0; i < world->nr_hosts; i++) {
		const struct sim_host *host = &world->hosts[i];

		if (sync_living(host->sync) != world->nr_hosts) {
			snprintf(text, 128, "host %u sees %zu living hosts", host->id,
				 sync_living(host->sync));
			return text;
		}
		if (sync_hash(host->sync) != hash) {
			snprintf(text, 128, "host %u knows other things than host 1", host->id);
			return text;
		}
		if (!world->store.used && sync_policy_active(host->sync) != world->generation) {
			snprintf(text, 128, "host %u is at generation %u, not %u", host->id,
				 sync_policy_active(host->sync), world->generation);
			return text;
		}
	}
	if (world->store.used && store_unsettled(world)) {
		snprintf(text, 128, "%s", store_unsettled(world));
		return text;
	}
	for (uint32_t i = 0; i < world->nr_ports; i++) {
		const char *reason = port_unsettled(world, i);

		if (reason) {
			snprintf(text, 128, "port %u: %s", i, reason);
			return text;
		}
	}
	if (share_unsettled(world)) {
		snprintf(text, 128, "%s", share_unsettled(world));
		return text;
	}
	return NULL;
}

static void run_until(struct world *world, int64_t until)
{
	while (!world->failure[0] && world_step(world, until))
		;
	if (!world->failure[0])
		world->now = until;
}

void world_boot(struct world *world)
{
	for (uint32_t i = 0; i < world->nr_hosts; i++)
		host_start(world, &world->hosts[i]);
	for (uint32_t i = 0; i < world->nr_ports; i++) {
		struct sim_host *host = world_host(world, world->ports[i].vm);

		if (sync_port_add(host->sync, world->ports[i].id, description_of(&world->ports[i]),
				  false))
			world_fail(world, "port %u cannot be added", i);
		host_schedule(world, host);
	}
}

void scenario_run(struct world *world, enum scenario scenario)
{
	struct trouble trouble = {.act_ms = 1};
	char text[128];

	world->store.used = scenario == SCENARIO_STORE ||
			    (scenario != SCENARIO_CALM && world_chance(world, 0.5));
	if (scenario == SCENARIO_SHARE || (scenario == SCENARIO_ALL && world_chance(world, 0.5)))
		world_share(world);
	world_boot(world);
	world->refuse_room = scenario != SCENARIO_CALM;
	while (!world->failure[0] && world->now < TROUBLE_MS) {
		run_until(world,
			  trouble.act_ms < trouble.hook_ms ? trouble.act_ms : trouble.hook_ms);
		if (world->failure[0])
			return;
		if (world->now >= trouble.hook_ms) {
			trouble.hook_ms = world->now + HOOK_MS;
			heal(world, &trouble, false);
			for (uint32_t i = 0; i < world->nr_ports; i++)
				hook(world, i);
		}
		if (world->now >= trouble.act_ms) {
			trouble.act_ms = world->now + 10 + (int64_t)world_below(world, 60);
			act(world, &trouble, scenario);
		}
	}

	world_log(world, "all is well again");
	world->trap_type = 0;
	world->refuse_room = false;
	while (!world->failure[0] && world->now < TROUBLE_MS + PATIENCE_MS) {
		heal(world, &trouble, true);
		run_until(world, world->now + HOOK_MS);
		if (world->failure[0])
			return;
		for (uint32_t i = 0; i < world->nr_ports; i++)
			hook(world, i);
		if (world->now % 500 < HOOK_MS && !world_unsettled(world, text))
			return;
	}
	if (!world->failure[0] && world_unsettled(world, text))
		world_fail(world, "not settled after %d s: %s", PATIENCE_MS / 1000, text);
}
