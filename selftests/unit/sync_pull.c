// SPDX-License-Identifier: GPL-2.0
/* A host that pulls a port: what it is told by the owner, and then by a buddy that is behind. And one whose disk is full when its
 * port has gone to another. The test is the other hosts. */
#include <errno.h>

#include "check.h"
#include "selftests/host/idle_env.h"
#include "sync/core.h"

enum { OWNER = 1, HOST = 2, BUDDY = 3 };

#define KEYS  2000
#define WAVES 100   /* times that all of them begin and end */
#define MOST  65536 /* tombstones; how many fewer is the core's matter */

static struct sync *sync;
static const struct uuid id = {.bytes = {7}};
static const uint64_t epoch = 5ULL << 24 | OWNER;
static int64_t now = 1;
static bool active;
static uint64_t version, sequence;
static bool disk_full;
static struct ledger written;
static uint32_t asked; /* whom the last pull went to */

static uint64_t env_random(void *data)
{
	static uint64_t last = 1;

	(void)data;
	return last = last * 6364136223846793005ULL + 1442695040888963407ULL;
}

static void env_send(void *data, uint32_t to, const void *bytes, size_t nr)
{
	struct reader packet, body;
	uint16_t type;

	(void)data;
	if (packet_open(&packet, bytes, nr) < 0)
		return;
	while (tlv_next(&packet, &type, &body))
		if (type == MESSAGE_MOVE_PULL)
			asked = to;
}

static void env_send_seed(void *data, const char *address, const void *bytes, size_t nr)
{
	(void)data;
	(void)address;
	(void)bytes;
	(void)nr;
}

static int env_bulk(void *data, uint32_t to, const void *bytes, size_t nr)
{
	env_send(data, to, bytes, nr);
	return 0;
}

static int env_ledger_write(void *data, const struct ledger *ledger)
{
	(void)data;
	if (disk_full)
		return -ENOSPC;
	written = *ledger;
	return 0;
}

static int env_port_activate(void *data, struct uuid port, uint64_t claimed, bool resync)
{
	(void)data;
	(void)port;
	(void)claimed;
	(void)resync;
	active = true;
	return 0;
}

static const struct sync_env env = {
	.random = env_random,
	.send = env_send,
	.send_seed = env_send_seed,
	.bulk = env_bulk,
	.ledger_write = env_ledger_write,
	.ledger_drop = idle_on_port,
	.port_prepare = idle_port_prepare,
	.port_pause = idle_port_pause,
	.port_activate = env_port_activate,
	.port_release = idle_on_port,
	.port_flows = idle_none,
	.port_late = idle_no,
	.port_stranded = idle_no,
	.port_epoch = idle_none,
	.port_in_force = idle_no,
	.port_gone = idle_no,
	.move_event = idle_move_event,
	.flow_apply = idle_flow_apply,
};

static void run(int64_t ms)
{
	for (int64_t until = now + ms; now < until; now += 20)
		sync_tick(sync, now);
}

/* It is alive, whatever was thought of it. */
static void meet(uint32_t host)
{
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_member_record(&packet, &(struct member_record){.host = host,
							   .incarnation = (uint64_t)now,
							   .address = "x"});
	sync_on_message(sync, now, host, bytes, writer_used(&packet));
}

static struct flow_record flow(uint32_t number, bool gone)
{
	struct flow_record record = {.epoch = epoch,
				     .version = ++version,
				     .flags = gone ? FLOW_GONE : 0,
				     .age_ms = 5000};

	record.key.local_port = (uint16_t)number;
	record.key.remote_port = (uint16_t)(number >> 16);
	return record;
}

/* One frame, of a stream that goes on. */
static void tell(uint32_t from, uint32_t stream, uint64_t before, const struct flow_record *records,
		 size_t nr, uint64_t head)
{
	struct flows_head about = {.port = id,
				   .epoch = epoch,
				   .life = 1,
				   .stream = stream,
				   .from = before,
				   .to = before + nr,
				   .head = head};
	static uint8_t bytes[WIRE_FRAME];
	struct writer packet;
	uint8_t *begin;

	packet_begin(&packet, bytes, sizeof(bytes));
	begin = tlv_begin(&packet, MESSAGE_FLOWS);
	put_flows_head(&packet, &about);
	for (size_t i = 0; i < nr; i++)
		CHECK(put_flow_record(&packet, &records[i], before + 1 + i));
	tlv_end(&packet, begin);
	sync_on_message(sync, now, from, bytes, writer_used(&packet));
}

static void owner_tells(uint32_t first, uint32_t nr, bool gone)
{
	struct flow_record records[200];

	for (uint32_t at = 0; at < nr;) {
		uint32_t some = nr - at < 200 ? nr - at : 200;

		for (uint32_t i = 0; i < some; i++)
			records[i] = flow(first + at + i, gone);
		tell(OWNER, 1, sequence, records, some, sequence + some);
		sequence += some;
		at += some;
	}
}

static bool is_here(uint32_t number)
{
	const struct flow_record record = flow(number, false);
	const struct flow_entry *entry = flows_find(&port_find(sync, id)->flows, &record.key);

	return entry && !(entry->record.flags & FLOW_GONE);
}

static void begin(const struct ledger *ledger)
{
	const struct sync_config config = {.host = HOST,
					   .life = 1,
					   .name = "host",
					   .address = "h",
					   .replicas = 1,
					   .replica_room = 1000000};
	struct vport vport = {.name = "vm"};
	uint8_t value[ENTRY_VALUE_MAX];
	uint16_t nr = 0;

	sync = sync_new(&config, &env, now);
	CHECK(sync && sync_restore(sync, ledger) == 0 && sync_start(sync) == 0);
	meet(OWNER);
	meet(BUDDY);
	CHECK(vport_encode(&vport, value, &nr) == 0);
	CHECK(sync_port_add(sync, id, (struct slice){value, nr}, false) == 0);
}

static void claimed_by_owner(uint64_t claimed)
{
	uint8_t bytes[WIRE_DATAGRAM];
	struct writer packet;

	packet_begin(&packet, bytes, sizeof(bytes));
	put_move_claimed(&packet, &(struct move_claimed){.port = id, .move = 9, .epoch = claimed});
	sync_on_message(sync, now, OWNER, bytes, writer_used(&packet));
}

int main(void)
{
	const struct ledger released = {.port = id, .role = PORT_RELEASED, .epoch = epoch};
	const struct ledger offered = {.port = id,
				       .role = PORT_HANDOVER,
				       .epoch = 4ULL << 24 | HOST,
				       .move = 9,
				       .peer = OWNER};
	struct flow_record old[2];
	uint64_t most = 0;

	begin(&released);
	TEST("who finds a VM whose port is another host's asks that")
	{
		run(200);
		for (int i = 0; i < 200 && !asked; i++)
			run(100);
		CHECK(asked == OWNER && !active);
		CHECK(port_find(sync, id)->role == PORT_PULLING);
	}
	TEST("...and remembers few ends of flows, however long it has to wait and whatever ends")
	{
		owner_tells(1, 100, false);
		old[0] = flow(1, false);
		old[1] = flow(50, false);
		owner_tells(1, 50, true);
		for (uint32_t wave = 0; wave < WAVES; wave++) {
			owner_tells(1000 + wave * KEYS, KEYS, false);
			owner_tells(1000 + wave * KEYS, KEYS, true);
			if (port_find(sync, id)->flows.dead > most)
				most = port_find(sync, id)->flows.dead;
		}
		CHECK(port_find(sync, id)->role == PORT_PULLING);
		CHECK(port_find(sync, id)->flows.count == 50);
		CHECK(most < MOST);
		CHECK(sync_counters(sync)->tombstones_dropped >= KEYS * WAVES - MOST);
	}
	TEST("a buddy that has not heard of the ends brings nothing back; what it knows last is "
	     "taken")
	{
		struct flow_record newer[1], again[1];

		/* The owner begins anew, and falls silent. */
		again[0] = flow(60, false);
		tell(OWNER, 2, 0, again, 1, 50);
		for (int i = 0; i < 400 && asked != BUDDY; i++) {
			run(20);
			meet(BUDDY);
		}
		CHECK(asked == BUDDY);
		newer[0] = flow(KEYS * WAVES + 2000, false);
		tell(BUDDY, 1, 0, old, 2, 3);
		tell(BUDDY, 1, 2, newer, 1, 3);
		CHECK(!is_here(1) && !is_here(50));
		CHECK(is_here(KEYS * WAVES + 2000));
		CHECK(sync_counters(sync)->flows_doubted == 2);
	}
	sync_free(sync);

	TEST("a port that has gone is written down as soon as the disk takes it, however late that "
	     "is")
	{
		begin(&offered);
		written = offered;
		disk_full = true;
		claimed_by_owner(epoch);
		CHECK(port_find(sync, id)->role == PORT_RELEASED);
		run(300000);
		CHECK(written.role == PORT_HANDOVER);
		disk_full = false;
		run(2000);
		CHECK(written.role == PORT_RELEASED && written.epoch == epoch);
		CHECK(sync_counters(sync)->ledger_errors > 100);
		sync_free(sync);
	}
	return check_done();
}
