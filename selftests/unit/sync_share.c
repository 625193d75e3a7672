// SPDX-License-Identifier: GPL-2.0
/* Two members of a share group, each a core, and the wire between them: what comes into one's datapath of the other's flows. */
#include <errno.h>

#include "check.h"
#include "selftests/host/idle_env.h"
#include "sync/sync.h"

#define WIRE_ROOM 512

struct message {
	uint32_t to, nr;
	uint8_t *bytes;
};

struct told {
	struct flow_record record;
	enum share_how how;
};

struct host {
	struct sync *sync;
	uint32_t id;
	struct uuid port;
	uint64_t version;
	uint64_t
		life; /* of the flow in its datapath, or of the next one: above what is buried there */
	uint64_t buried; /* lives below are */
	struct ledger ledger;
	struct told told[64]; /* to its datapath */
	size_t nr_told;
};

static struct host hosts[2];
static struct sync_env envs[2];
static struct message wire[WIRE_ROOM];
static size_t nr_wire;
static int64_t now;
static bool cut;

static uint64_t random_number(void *data)
{
	static uint64_t last = 1;

	(void)data;
	return last = last * 6364136223846793005ULL + 1442695040888963407ULL;
}

static void send_to(void *data, uint32_t to, const void *bytes, size_t nr)
{
	(void)data;
	if (cut || nr_wire == WIRE_ROOM || to < 1 || to > 2)
		return;
	wire[nr_wire] = (struct message){.to = to, .nr = (uint32_t)nr, .bytes = malloc(nr)};
	memcpy(wire[nr_wire++].bytes, bytes, nr);
}

static void send_seed(void *data, const char *address, const void *bytes, size_t nr)
{
	send_to(data, (uint32_t)(address[0] - 'a' + 1), bytes, nr);
}

static int bulk(void *data, uint32_t to, const void *bytes, size_t nr)
{
	send_to(data, to, bytes, nr);
	return 0;
}

static int ledger_write(void *data, const struct ledger *ledger)
{
	struct host *host = data;

	host->ledger = *ledger;
	return 0;
}

static uint64_t port_epoch(void *data, struct uuid port)
{
	const struct host *host = data;

	(void)port;
	return host->ledger.epoch;
}

static void flow_share(void *data, struct uuid port, const struct flow_record *record,
		       enum share_how how)
{
	struct host *host = data;

	(void)port;
	if (record->version > host->version)
		host->version = record->version;
	if (record->flags & FLOW_KILLED && record->life >= host->buried)
		host->life = host->buried = record->life + 1;
	else if (!(record->flags & FLOW_GONE))
		host->life = record->life;
	host->told[host->nr_told++ % 64] = (struct told){*record, how};
}

static void deliver(void)
{
	for (size_t i = 0; i < nr_wire; i++) {
		struct host *to = &hosts[wire[i].to - 1];

		sync_on_message(to->sync, now, 3 - wire[i].to, wire[i].bytes, wire[i].nr);
		free(wire[i].bytes);
	}
	nr_wire = 0;
}

static void run(int64_t ms)
{
	for (int64_t until = now + ms; now < until; now += 5) {
		for (int i = 0; i < 2; i++)
			sync_tick(hosts[i].sync, now);
		/* What is answered goes with the next turn. */
		for (int i = 0; i < 4 && nr_wire; i++) {
			struct message batch[WIRE_ROOM];
			size_t nr = nr_wire;

			memcpy(batch, wire, nr * sizeof(*batch));
			nr_wire = 0;
			for (size_t k = 0; k < nr; k++) {
				sync_on_message(hosts[batch[k].to - 1].sync, now, 3 - batch[k].to,
						batch[k].bytes, batch[k].nr);
				free(batch[k].bytes);
			}
		}
	}
}

static void join(struct host *host, const char *share)
{
	struct vport vport = {};
	uint8_t value[ENTRY_VALUE_MAX];
	uint16_t nr = 0;

	snprintf(vport.name, sizeof(vport.name), "router%u", host->id);
	snprintf(vport.share, sizeof(vport.share), "%s", share);
	CHECK(vport_encode(&vport, value, &nr) == 0);
	CHECK(sync_port_add(host->sync, host->port, (struct slice){value, nr}, false) == 0);
}

static void start(struct host *host, uint32_t life)
{
	static const char *const seeds[] = {"a", "b"};
	const struct sync_config config = {.host = host->id,
					   .life = life,
					   .name = seeds[host->id - 1],
					   .address = seeds[host->id - 1],
					   .seeds = seeds,
					   .nr_seeds = 2,
					   .min_age_ms = 2000,
					   .replica_room = 1000};

	host->sync = sync_new(&config, &envs[host->id - 1], now);
	if (!host->sync || (host->ledger.role && sync_restore(host->sync, &host->ledger)) ||
	    sync_start(host->sync))
		abort();
}

static void begin(void)
{
	for (uint32_t i = 0; i < 2; i++) {
		hosts[i] = (struct host){.id = i + 1, .port.bytes = {(uint8_t)(i + 1)}};
		envs[i] = (struct sync_env){
			.data = &hosts[i],
			.random = random_number,
			.send = send_to,
			.send_seed = send_seed,
			.bulk = bulk,
			.ledger_write = ledger_write,
			.ledger_drop = idle_on_port,
			.port_prepare = idle_port_prepare,
			.port_activate = idle_port_activate,
			.port_release = idle_on_port,
			.port_flows = idle_none,
			.port_stranded = idle_no,
			.port_epoch = port_epoch,
			.move_event = idle_move_event,
			.flow_share = flow_share,
		};
		start(&hosts[i], 1);
	}
	for (int i = 0; i < 2; i++)
		join(&hosts[i], "pair");
	run(8000);
}

static void end(void)
{
	cut = false;
	deliver();
	nr_wire = 0;
	for (int i = 0; i < 2; i++)
		sync_free(hosts[i].sync);
}

static const struct dfw_flow_key key = {.local_port = 40000, .remote_port = 443, .protocol = 6};

static int64_t born; /* the flow of that key */

static struct flow_record record_of(uint8_t state, uint32_t number)
{
	struct flow_record record = {
		.key = key, .state = state, .initiator = DFW_OUT, .age_ms = (uint64_t)(now - born)};

	record.leg_flags[DFW_ORIG] = DFW_LEG_SYN;
	record.legs[DFW_ORIG].end = number;
	return record;
}

static void report(struct host *host, uint8_t state, uint32_t number)
{
	struct flow_record record = record_of(state, number);

	record.version = ++host->version;
	record.life = host->life;
	CHECK(sync_flow_update(host->sync, host->port, &record) == 0);
}

static void kill_unheard(struct host *host)
{
	host->buried = ++host->life;
}

static void kill(struct host *host)
{
	kill_unheard(host);
	CHECK(sync_flow_kill(host->sync, host->port, &key, host->life - 1, ++host->version) == 0);
}

static const struct told *last_told(const struct host *host)
{
	return &host->told[(host->nr_told - 1) % 64];
}

static uint64_t count_of(const struct host *host)
{
	struct sync_flows flows = {};

	sync_flows(host->sync, host->port, &flows);
	return flows.count;
}

int main(void)
{
	struct host *a = &hosts[0], *b = &hosts[1];

	now = 1;
	TEST("members are each other's peers, without a buddy")
	{
		struct sync_lag lag[4];

		begin();
		CHECK(sync_lag(a->sync, a->port, lag, 4) == 1 && lag[0].peer == 2 && lag[0].shares);
		CHECK(sync_lag(b->sync, b->port, lag, 4) == 1 && lag[0].peer == 1 && lag[0].shares);
		CHECK(strcmp(sync_port_share(a->sync, a->port), "pair") == 0);
	}
	TEST("a flow is told at once, whatever its age, and made on the other member")
	{
		born = now;
		report(a, DFW_FLOW_TCP_SYN_SENT, 100);
		run(10);
		CHECK(b->nr_told == 1 && last_told(b)->how == SHARE_MAKE);
		CHECK(last_told(b)->record.state == DFW_FLOW_TCP_SYN_SENT && count_of(b) == 1);
	}
	TEST("what goes on here goes into what is there; an echo dies out")
	{
		run(1000);
		CHECK(a->nr_told == 0);
		report(b, DFW_FLOW_TCP_ESTABLISHED, 100);
		run(1000);
		CHECK(a->nr_told == 1 && last_told(a)->how == SHARE_JOIN);
		CHECK(last_told(a)->record.state == DFW_FLOW_TCP_ESTABLISHED);
		CHECK(b->nr_told == 1);
	}
	TEST("what is known better is not taken back by who knows less")
	{
		report(a, DFW_FLOW_TCP_ESTABLISHED, 500);
		run(100);
		CHECK(last_told(b)->record.legs[DFW_ORIG].end == 500);
		report(b, DFW_FLOW_TCP_ESTABLISHED, 300);
		run(100);
		CHECK(a->nr_told == 1 && count_of(a) == 1 && count_of(b) == 1);
	}
	TEST("a flow is known as confirmed from when it is told as such until it is gone")
	{
		struct flow_record record = record_of(DFW_FLOW_TCP_SYN_SENT, 500);

		record.key.local_port++;
		record.flags = FLOW_HALF_OPEN;
		record.version = ++a->version;
		CHECK(sync_flow_confirmed(a->sync, a->port, &key));
		CHECK(!sync_flow_confirmed(a->sync, a->port, &record.key));
		CHECK(sync_flow_update(a->sync, a->port, &record) == 0);
		CHECK(!sync_flow_confirmed(a->sync, a->port, &record.key));
		record.flags = 0;
		record.version = ++a->version;
		CHECK(sync_flow_update(a->sync, a->port, &record) == 0);
		CHECK(sync_flow_confirmed(a->sync, a->port, &record.key));
		CHECK(sync_flow_remove(a->sync, a->port, &record.key, ++a->version) == 0);
		CHECK(!sync_flow_confirmed(a->sync, a->port, &record.key));
		run(100);
		CHECK(sync_flow_remove(b->sync, b->port, &record.key, ++b->version) == 0);
		run(100);
	}
	TEST("what expires here goes on there")
	{
		CHECK(sync_flow_remove(a->sync, a->port, &key, ++a->version) == 0);
		run(100);
		CHECK(count_of(a) == 0 && count_of(b) == 1);
		CHECK(!(last_told(b)->record.flags & FLOW_GONE));
		report(b, DFW_FLOW_TCP_ESTABLISHED, 600);
		run(100);
		CHECK(count_of(a) == 1 && last_told(a)->how == SHARE_MAKE);
	}
	TEST("what is killed here ends there, and what was under way does not bring it back")
	{
		const uint64_t buried = sync_counters(a->sync)->buried;

		report(b, DFW_FLOW_TCP_ESTABLISHED, 700);
		kill(a);
		run(200);
		CHECK(last_told(b)->record.flags & FLOW_GONE);
		CHECK(count_of(a) == 0 && count_of(b) == 0);
		CHECK(sync_counters(a->sync)->buried == buried + 1);
	}
	TEST("a new flow of that key is another one")
	{
		born = now;
		report(b, DFW_FLOW_TCP_SYN_SENT, 9000);
		run(100);
		CHECK(count_of(a) == 1 && last_told(a)->record.life == 1);
	}
	TEST("a connection that begins where one was over replaces it")
	{
		report(b, DFW_FLOW_TCP_TIME_WAIT, 9000);
		run(100);
		born = now;
		report(b, DFW_FLOW_TCP_SYN_SENT, 20000);
		run(100);
		CHECK(last_told(a)->how == SHARE_REPLACE && last_told(a)->record.life == 2);
		CHECK(last_told(a)->record.state == DFW_FLOW_TCP_SYN_SENT);
	}
	TEST("...and the datapath, which outlives the core, hears which life it is")
	{
		CHECK(last_told(b)->how == SHARE_JOIN && last_told(b)->record.life == 2 &&
		      !(last_told(b)->record.flags & FLOW_GONE));
	}
	TEST("who was cut off when it was killed hears of it, and brings nothing back")
	{
		cut = true;
		kill(a);
		run(500);
		report(b, DFW_FLOW_TCP_ESTABLISHED, 20000);
		run(60000);
		CHECK(count_of(b) == 1);
		cut = false;
		run(60000);
		CHECK(count_of(a) == 0 && count_of(b) == 0);
		CHECK(last_told(b)->record.flags & FLOW_GONE);
	}
	TEST("what was killed while nobody listened ends there too, when its datapath has told of "
	     "the grave")
	{
		born = now;
		report(b, DFW_FLOW_TCP_SYN_SENT, 30000);
		run(100);
		CHECK(count_of(a) == 1 && count_of(b) == 1);
		sync_free(a->sync);
		kill_unheard(a);
		start(a, 2);
		join(a, "pair");
		CHECK(sync_flow_buried(a->sync, a->port, &key, a->life - 1) == 0);
		run(20000);
		CHECK(count_of(a) == 0 && count_of(b) == 0);
		CHECK(last_told(b)->record.flags & FLOW_KILLED);
	}
	TEST("a flow that its datapath has still, although it is buried, is told to nobody and "
	     "ends")
	{
		const uint64_t told = b->nr_told;

		born = now;
		a->life--;
		report(a, DFW_FLOW_TCP_ESTABLISHED, 30000);
		run(1000);
		CHECK(last_told(a)->record.flags & FLOW_KILLED && b->nr_told == told);
		CHECK(count_of(a) == 0 && count_of(b) == 0);
	}
	TEST("a new flow of that key lives on all")
	{
		born = now;
		a->life = a->buried;
		report(a, DFW_FLOW_TCP_SYN_SENT, 40000);
		run(1000);
		CHECK(count_of(a) == 1 && count_of(b) == 1);
		CHECK(last_told(b)->record.life == b->buried);
		kill(a);
		run(1000);
		CHECK(count_of(a) == 0 && count_of(b) == 0);
	}
	TEST("who leaves the group is told nothing more")
	{
		size_t told = b->nr_told;

		join(b, "");
		run(3000);
		report(a, DFW_FLOW_TCP_SYN_SENT, 1);
		run(1000);
		CHECK(b->nr_told == told && count_of(b) == 0);
	}
	end();
	return check_done();
}
