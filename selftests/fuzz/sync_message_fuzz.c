// SPDX-License-Identifier: GPL-2.0
/*
 * Any bytes from a stranger, and from the owner of a port that is moving here: every decoder and every state machine must
 * refuse or take it, and still work.
 *
 *	clang -fsanitize=fuzzer,address,undefined -Iinclude -I. -Ilib selftests/fuzz/sync_message_fuzz.c sync/\*.c -lm
 */
#include <errno.h>
#include <stdlib.h>

#include "selftests/host/idle_env.h"
#include "sync/hash.h"
#include "sync/sync.h"

static uint64_t world_random(void *data)
{
	return *(uint64_t *)data = hash_mix(*(uint64_t *)data);
}

static void world_send(void *data, uint32_t to, const void *bytes, size_t nr)
{
	(void)data;
	(void)to;
	(void)bytes;
	if (nr > WIRE_DATAGRAM)
		abort();
}

static void world_send_seed(void *data, const char *address, const void *bytes, size_t nr)
{
	(void)address;
	world_send(data, 0, bytes, nr);
}

static int world_bulk(void *data, uint32_t to, const void *bytes, size_t nr)
{
	(void)data;
	(void)to;
	(void)bytes;
	if (nr > WIRE_FRAME)
		abort();
	return 0;
}

static int port_prepare(void *data, struct uuid port, struct slice description, uint64_t flows)
{
	(void)data;
	(void)port;
	(void)description;
	return flows > 1000 ? -ENOSPC : 0;
}

static int port_activate(void *data, struct uuid port, uint64_t epoch, bool resync)
{
	(void)data;
	(void)port;
	(void)resync;
	if (epoch_host(epoch) != 1)
		abort();
	return 0;
}

static int port_pause(void *data, struct uuid port)
{
	(void)data;
	return port.bytes[2] & 1 ? -EINPROGRESS : 0;
}

static int flows_held(void *data, struct uuid port)
{
	(void)data;
	(void)port;
	return 0;
}

static bool port_late(void *data, struct uuid port)
{
	(void)data;
	return port.bytes[1] & 2;
}

static bool port_gone(void *data, struct uuid port)
{
	(void)data;
	return port.bytes[1] & 1;
}

static void flow_apply(void *data, struct uuid port, const struct flow_record *record)
{
	(void)data;
	(void)port;
	if (record->state >= DFW_FLOW_STATES)
		abort();
}

static void flow_share(void *data, struct uuid port, const struct flow_record *record,
		       enum share_how how)
{
	(void)how;
	flow_apply(data, port, record);
}

static const uint8_t *object_get(void *data, const struct digest *name, uint32_t *nr)
{
	(void)data;
	*nr = 5;
	return name->bytes[0] & 1 ? (const uint8_t *)"abcde" : NULL;
}

static int object_put(void *data, const struct digest *name, const uint8_t *bytes, uint32_t nr)
{
	(void)data;
	(void)name;
	(void)bytes;
	return nr % 2 ? -EBADMSG : 0;
}

static int policy_stage(void *data, const struct generation *generation)
{
	(void)data;
	return generation->number % 2 ? 0 : -EINVAL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr);

/* The input is a row of messages: u8 sender, u16 length, bytes. Time goes on between them. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr)
{
	uint64_t random = 1;
	const struct sync_env env = {
		.data = &random,
		.random = world_random,
		.send = world_send,
		.send_seed = world_send_seed,
		.bulk = world_bulk,
		.ledger_write = idle_ledger_write,
		.ledger_drop = idle_on_port,
		.port_prepare = port_prepare,
		.port_pause = port_pause,
		.port_activate = port_activate,
		.port_release = idle_on_port,
		.port_flows = idle_none,
		.port_late = port_late,
		.port_stranded = port_late,
		.port_epoch = idle_none,
		.port_in_force = port_late,
		.port_gone = port_gone,
		.flow_apply = flow_apply,
		.flow_share = flow_share,
		.flows_held = flows_held,
		.move_event = idle_move_event,
		.object_get = object_get,
		.object_put = object_put,
		.policy_stage = policy_stage,
		.policy_flip = idle_policy_flip,
		.policy_keep = idle_policy_keep,
	};
	const struct sync_config config = {.host = 1,
					   .life = 1,
					   .name = "a",
					   .address = "a",
					   .replicas = 1,
					   .replica_room = 100,
					   .writer = true};
	struct sync *sync = sync_new(&config, &env, 0);
	int64_t now = 0;

	if (!sync || sync_port_add(sync, (struct uuid){{1}}, (struct slice){0}, false) ||
	    sync_start(sync))
		abort();
	while (nr > 3) {
		uint32_t from = bytes[0];
		size_t length = bytes[1] | (size_t)bytes[2] << 8;

		bytes += 3;
		nr -= 3;
		length = length < nr ? length : nr;
		sync_on_message(sync, now, from, bytes, length);
		now += 300;
		sync_tick(sync, now);
		bytes += length;
		nr -= length;
	}
	sync_free(sync);
	return 0;
}
