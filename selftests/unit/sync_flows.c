// SPDX-License-Identifier: GPL-2.0
#include "check.h"
#include "sync/flows.h"
#include "sync/hash.h"

/* The table and its log against a naive twin: an array of flows, and a list of all changes ever made. */

#define KEYS	64
#define CHANGES 20000

static struct flow_record flow(uint32_t key, uint64_t version, uint8_t flags)
{
	struct flow_record record = {.version = version, .flags = flags, .age_ms = 5000};

	record.key.local_port = (uint16_t)key;
	return record;
}

int main(void)
{
	TEST("a reader that follows the log from any place ends with the writer's set")
	{
		struct flow_table writer = {0}, reader = {0};
		uint64_t random = 1, position = 0;
		uint64_t versions[KEYS] = {0};
		bool live[KEYS] = {0};
		uint64_t count = 0;

		for (uint64_t change = 1; change <= CHANGES; change++) {
			uint32_t key = (uint32_t)((random = hash_mix(random)) % KEYS);
			bool gone = live[key] && random >> 60 < 6;
			struct flow_record record = flow(key, change, gone ? FLOW_GONE : 0);

			CHECK(flows_put(&writer, 0, &record, false, NULL) == 0);
			versions[key] = change;
			count += !gone && !live[key];
			count -= gone;
			live[key] = !gone;

			/* The reader comes by now and then, and takes a few. */
			for (uint32_t take = random >> 32 & 15; take > 8; take--) {
				struct flow_entry *entry = flows_after(&writer, position);

				if (!entry)
					break;
				CHECK(flows_put(&reader, 0, &entry->record, false, NULL) == 0);
				position = entry->sequence;
			}
			if (change % 100 == 0)
				flows_trim(&writer, position);
		}
		for (struct flow_entry *entry; (entry = flows_after(&writer, position));) {
			flows_put(&reader, 0, &entry->record, false, NULL);
			position = entry->sequence;
		}
		CHECK(writer.count == count && reader.count == count);
		CHECK(writer.hash == reader.hash);
		for (uint32_t key = 0; key < KEYS; key++) {
			struct flow_record record = flow(key, 0, 0);
			const struct flow_entry *entry = flows_find(&reader, &record.key);

			CHECK((entry && !(entry->record.flags & FLOW_GONE)) == live[key]);
			CHECK(!live[key] || entry->record.version == versions[key]);
		}
		flows_trim(&writer, writer.head);
		CHECK(writer.dead == 0 && writer.count == count);
		flows_free(&writer);
		flows_free(&reader);
	}

	TEST("a young flow has no place in the log until it is old enough")
	{
		struct flow_table table = {0};
		struct flow_record record = flow(1, 1, 0);

		record.age_ms = 0;
		flows_put(&table, 1000, &record, true, NULL);
		CHECK(table.count == 1 && table.young == 1 && !flows_after(&table, 0));
		CHECK(flows_admit_ms(&table, 2000) == 3000);
		flows_admit(&table, 2999, 2000);
		CHECK(!flows_after(&table, 0));
		flows_admit(&table, 3000, 2000);
		CHECK(flows_after(&table, 0) && !table.young);
		flows_free(&table);
	}

	TEST("a flow that dies young leaves no tombstone")
	{
		struct flow_table table = {0};
		struct flow_record record = flow(1, 1, 0);

		flows_put(&table, 0, &record, true, NULL);
		record = flow(1, 2, FLOW_GONE);
		flows_put(&table, 0, &record, true, NULL);
		CHECK(!table.count && !table.dead && !table.young && !table.hash && !table.head);
		flows_free(&table);
	}

	TEST("the hash of a set does not depend on the order, and sees every field")
	{
		struct flow_table forth = {0}, back = {0};
		struct flow_record record = flow(1, 1, 0), other = record;

		for (uint32_t i = 0; i < 100; i++) {
			struct flow_record a = flow(i, i, 0), b = flow(99 - i, 99 - i, 0);

			flows_put(&forth, 0, &a, false, NULL);
			flows_put(&back, 0, &b, false, NULL);
		}
		CHECK(forth.hash == back.hash);
		other.legs[DFW_REPLY].ack++;
		CHECK(flow_record_hash(&record) != flow_record_hash(&other));
		other = record;
		other.scale[1]++;
		CHECK(flow_record_hash(&record) != flow_record_hash(&other));
		flows_free(&forth);
		flows_free(&back);
	}
	return check_done();
}
