// SPDX-License-Identifier: GPL-2.0
/* Flows as records and back: what a host tells of its flows, and what it takes from another one. */
#include <errno.h>

#include "check.h"
#include "flow_io.h"

#define NOW_NS	 5000000000000ULL
#define MS_NS	 1000000ULL
#define OTHER_NS 17000000ULL /* the other host was started a moment ago */
#define VM_LOCAL {.bytes = {[10] = 0xff, 0xff, 10, 0, 0, 2}}
#define OUTSIDE	 {.bytes = {[10] = 0xff, 0xff, 10, 1, 0, 1}}
#define TCP_KEY \
	{.local = VM_LOCAL, .remote = OUTSIDE, .local_port = 80, .remote_port = 999, .protocol = 6}

static const struct dfw_flow_key key = TCP_KEY;

static struct dfw_flow established(void)
{
	return (struct dfw_flow){
		.lock = 1,
		.generation = 7,
		.life = 4,
		.last_seen_ns = NOW_NS - 1500 * MS_NS,
		.rule = 99,
		.state = DFW_FLOW_TCP_ESTABLISHED,
		.initiator = DFW_IN,
		.on_change = DFW_ON_CHANGE_KEEP,
		.orig_scale = 7,
		.reply_scale = 3,
		.leg_flags = {DFW_LEG_SYN | DFW_LEG_SYN_ACKED, DFW_LEG_SYN | DFW_LEG_SYN_ACKED},
		.flags = DFW_FLOW_COUNTED | DFW_FLOW_TOUCHED,
		.created_cs = (uint32_t)((NOW_NS - 60000 * MS_NS) / DFW_NS_PER_CS),
		.rule_slot = 3,
		.revision = 12,
		.legs = {{.packets = 10, .bytes = 1000, .end = 5000, .max_end = 9000, .ack = 70},
			 {.packets = 8, .bytes = 900, .end = 71, .max_end = 4000, .ack = 5000}},
	};
}

static void test_there_and_back(void)
{
	struct dfw_flow flow = established(), back;
	struct flow_record record = {};

	flow_to_record(&key, &flow, false, NOW_NS, &record);
	TEST("a record knows ages, no clocks")
	{
		CHECK(record.idle_ms == 1500 && record.age_ms == 60000);
		flow.last_seen_ns = NOW_NS + MS_NS; /* another CPU's clock */
		flow_to_record(&key, &flow, true, NOW_NS, &record);
		CHECK(record.idle_ms == 0 && record.flags == FLOW_HALF_OPEN);
		flow = established();
		flow_to_record(&key, &flow, false, NOW_NS, &record);
	}
	TEST("the other host has the same flow, by its own clock, even if that has hardly begun")
	{
		CHECK(flow_from_record(&record, OTHER_NS, &back) == 0);
		CHECK(OTHER_NS - back.last_seen_ns == 1500 * MS_NS);
		CHECK((uint32_t)(OTHER_NS / DFW_NS_PER_CS) - back.created_cs == 6000);
		CHECK(back.state == flow.state && back.initiator == flow.initiator);
		CHECK(record.life == 4 && back.life == 4);
		CHECK(back.orig_scale == 7 && back.reply_scale == 3 && back.rule == 99);
		CHECK(!memcmp(back.legs, flow.legs, sizeof(back.legs)));
		CHECK(!memcmp(back.leg_flags, flow.leg_flags, sizeof(back.leg_flags)));
	}
	TEST("but not its verdict, nor what counts on this host alone")
	{
		CHECK(back.lock == 0 && back.generation == 0 && back.revision == 0);
		CHECK(back.flags == 0 && back.on_change == DFW_ON_CHANGE_REVALIDATE);
	}
	TEST("legs that may be behind are given the window of a pickup, from now on")
	{
		record.flags = FLOW_RESYNC;
		CHECK(flow_from_record(&record, OTHER_NS, &back) == 0);
		for (int leg = 0; leg < DFW_LEGS; leg++) {
			CHECK(back.leg_flags[leg] & DFW_LEG_RESYNC);
			CHECK(back.legs[leg].max_end == flow.legs[leg].max_end + DFW_RESYNC_WINDOW);
			CHECK(back.legs[leg].end == flow.legs[leg].end);
		}
		CHECK(back.created_cs == OTHER_NS / DFW_NS_PER_CS);
	}
}

static bool taken(void (*spoil)(struct flow_record *record))
{
	struct dfw_flow flow = established();
	struct flow_record record = {};

	flow_to_record(&key, &flow, false, NOW_NS, &record);
	spoil(&record);
	return flow_from_record(&record, NOW_NS, &flow) == 0;
}

static void spoil_nothing(struct flow_record *record)
{
	(void)record;
}

static void spoil_state(struct flow_record *record)
{
	record->state = DFW_FLOW_STATES;
}

static void spoil_dead(struct flow_record *record)
{
	record->state = DFW_FLOW_DEAD;
}

static void spoil_protocol(struct flow_record *record)
{
	record->key.protocol = 17;
}

static void spoil_initiator(struct flow_record *record)
{
	record->initiator = 2;
}

static void spoil_scale(struct flow_record *record)
{
	record->scale[DFW_REPLY] = 15;
}

static void spoil_legs(struct flow_record *record)
{
	record->leg_flags[DFW_ORIG] = 0x80;
}

static void spoil_key(struct flow_record *record)
{
	record->key.zero = 1;
}

static void spoil_life(struct flow_record *record)
{
	record->life = FLOW_LIFE_MOST + 1ULL;
}

int main(void)
{
	test_there_and_back();
	TEST("what no datapath would have written is refused")
	{
		CHECK(taken(spoil_nothing));
		CHECK(!taken(spoil_state));
		CHECK(!taken(spoil_dead));
		CHECK(!taken(spoil_protocol));
		CHECK(!taken(spoil_initiator));
		CHECK(!taken(spoil_scale));
		CHECK(!taken(spoil_legs));
		CHECK(!taken(spoil_key));
		CHECK(!taken(spoil_life));
	}
	return check_done();
}
