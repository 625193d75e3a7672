// SPDX-License-Identifier: GPL-2.0
#include <errno.h>

#include "check.h"
#include "sync/members.h"
#include "sync/registry.h"

static uint64_t no_random(void *data)
{
	(void)data;
	return 4;
}

static void no_change(void *data, const struct entry *entry)
{
	(void)entry;
	if (data)
		++*(unsigned int *)data;
}

static void no_member(void *data, const struct member *member)
{
	(void)data;
	(void)member;
}

static uint32_t proven_from;

static bool is_proven(void *data, uint32_t host)
{
	(void)data;
	return host >= proven_from;
}

static const struct sync_env env = {.random = no_random};

struct host {
	struct gossip gossip;
	struct registry registry;
	unsigned int changes;
};

static void host_init(struct host *host, uint32_t id)
{
	memset(host, 0, sizeof(*host));
	gossip_init(&host->gossip, &env);
	registry_init(&host->registry, &host->gossip, id, 1);
	host->registry.changed = no_change;
	host->registry.data = &host->changes;
}

static struct uuid port(uint8_t number)
{
	return (struct uuid){{number}};
}

static void put(struct host *host, uint8_t number, uint64_t counter, uint32_t id)
{
	registry_put(&host->registry, ENTRY_VPORT, port(number), epoch_next(counter << 24, 0, id),
		     (struct slice){(const uint8_t *)"x", 1});
}

/* One TLV of `origin` from one registry to another, whatever comes behind version `known`. */
static bool pass(const struct host *from, struct host *to, uint32_t origin, uint64_t known)
{
	uint8_t bytes[WIRE_FRAME];
	struct writer writer;
	struct reader reader, value;
	uint16_t type;

	writer_init(&writer, bytes, sizeof(bytes));
	if (!registry_put_delta(registry_origin(&from->registry, origin), &known, &writer))
		return false;
	reader_init(&reader, bytes, writer_used(&writer));
	return tlv_next(&reader, &type, &value) && registry_on_entries(&to->registry, value) == 0;
}

static uint64_t known(const struct host *host, uint32_t origin)
{
	const struct origin *found = registry_origin(&host->registry, origin);

	return found ? found->known : 0;
}

int main(void)
{
	static struct host a, b, c;

	TEST("a delta brings what the other lacks, once")
	{
		host_init(&a, 1);
		host_init(&b, 2);
		put(&a, 1, 1, 1);
		put(&a, 2, 1, 1);
		CHECK(pass(&a, &b, 1, 0));
		CHECK(known(&b, 1) == known(&a, 1));
		CHECK(registry_owner(&b.registry, port(2)) && b.changes == 2);
		CHECK(pass(&a, &b, 1, 0) && b.changes == 2);
		CHECK(!pass(&a, &b, 1, known(&b, 1)));
	}

	TEST("entries that come early are used, but known does not jump over the gap")
	{
		uint64_t before = known(&b, 1), gap;

		put(&a, 3, 1, 1);
		gap = known(&a, 1);
		put(&a, 4, 1, 1);
		CHECK(pass(&a, &b, 1, gap));
		CHECK(registry_owner(&b.registry, port(4)) && known(&b, 1) == before);
		CHECK(!registry_owner(&b.registry, port(3)));
		CHECK(pass(&a, &b, 1, before));
		CHECK(known(&b, 1) == known(&a, 1) && registry_owner(&b.registry, port(3)));
	}

	TEST("a delete reaches those who have the entry and those who never had it")
	{
		registry_delete(&a.registry, ENTRY_VPORT, port(1));
		host_init(&c, 3);
		CHECK(pass(&a, &b, 1, known(&b, 1)) && pass(&b, &c, 1, 0));
		CHECK(!registry_owner(&b.registry, port(1)) &&
		      !registry_owner(&c.registry, port(1)));
		CHECK(known(&c, 1) == known(&a, 1));
	}

	TEST("after a rebase nothing is left of what was before, however long one was away")
	{
		registry_put(&a.registry, ENTRY_HOST, (struct uuid){0}, 0, (struct slice){0});
		CHECK(pass(&a, &b, 1, known(&b, 1)));
		for (uint8_t i = 2; i <= 4; i++)
			registry_delete(&a.registry, ENTRY_VPORT, port(i));
		put(&a, 9, 1, 1);
		CHECK(registry_rebase(&a.registry) == 0);
		CHECK(registry_origin(&a.registry, 1)->nr == 2);
		/* b hears nothing of the deletes: their tombstones are gone. */
		CHECK(pass(&a, &b, 1, known(&b, 1)));
		CHECK(registry_origin(&b.registry, 1)->nr == 2 &&
		      registry_owner(&b.registry, port(9)));
		CHECK(!registry_owner(&b.registry, port(2)) &&
		      !registry_owner(&b.registry, port(4)));
	}

	TEST("the higher epoch owns the port, whoever told first")
	{
		registry_free(&c.registry);
		host_init(&c, 3);
		put(&c, 9, 2, 3);
		CHECK(pass(&c, &a, 3, 0) && pass(&c, &b, 3, 0));
		CHECK(registry_owner(&a.registry, port(9))->origin->host == 3);
		CHECK(registry_owner(&b.registry, port(9))->origin->host == 3);
	}

	TEST("an epoch that names another host than the one who says so counts for nothing")
	{
		registry_put(&c.registry, ENTRY_VPORT, port(9), epoch_next(100ULL << 24, 0, 1),
			     (struct slice){0});
		CHECK(pass(&c, &b, 3, known(&b, 3)));
		CHECK(registry_owner(&b.registry, port(9))->origin->host == 1);
	}

	TEST("a host that forgot its life number overtakes itself")
	{
		static struct host reborn;

		host_init(&reborn, 1);
		registry_put(&reborn.registry, ENTRY_HOST, (struct uuid){0}, 0, (struct slice){0});
		CHECK(known(&reborn, 1) < known(&b, 1));
		CHECK(pass(&b, &reborn, 1, 0));
		CHECK(known(&reborn, 1) > known(&b, 1));
		CHECK(pass(&reborn, &b, 1, known(&b, 1)));
		CHECK(known(&b, 1) == known(&reborn, 1) &&
		      registry_origin(&b.registry, 1)->nr == 1);
		registry_free(&reborn.registry);
	}

	TEST("a rebase begins with the certificate, ends with the host entry, and has each entry "
	     "once")
	{
		static struct host certified;
		const struct origin *own;

		host_init(&certified, 5);
		registry_put(&certified.registry, ENTRY_CERTIFICATE, (struct uuid){0}, 0,
			     (struct slice){(const uint8_t *)"c", 1});
		registry_put(&certified.registry, ENTRY_HOST, (struct uuid){0}, 0,
			     (struct slice){0});
		for (uint8_t i = 1; i <= 3; i++)
			put(&certified, i, 1, 5);
		CHECK(registry_rebase(&certified.registry) == 0);
		own = registry_origin(&certified.registry, 5);
		CHECK(own->nr == 5 && own->entries[0]->kind == ENTRY_CERTIFICATE &&
		      own->entries[4]->kind == ENTRY_HOST);
		registry_free(&certified.registry);
	}

	TEST("of one origin no more entries are taken than a host can have, of origins no more "
	     "than there may be")
	{
		static struct host many, other;

		host_init(&many, 7);
		host_init(&other, 8);
		for (uint32_t i = 0; i < ENTRIES_MOST + 100; i++) {
			struct uuid id = {{1}};

			memcpy(id.bytes + 4, &i, sizeof(i));
			registry_put(&many.registry, ENTRY_VPORT, id, epoch_next(1ULL << 24, 0, 7),
				     (struct slice){(const uint8_t *)"x", 1});
		}
		while (pass(&many, &other, 7, known(&other, 7)))
			;
		CHECK(registry_origin(&other.registry, 7)->nr == ENTRIES_MOST);
		for (uint32_t i = 1000; other.registry.origins.nr < ORIGINS_MOST; i++)
			if (!CHECK(registry_know(&other.registry, i) == 0))
				break;
		CHECK(!pass(&a, &other, 1, 0) && !registry_origin(&other.registry, 1));
		registry_free(&many.registry);
		registry_free(&other.registry);
	}

	TEST("no more members are remembered than there may be, however many are told of")
	{
		static struct members members;
		static struct gossip gossip;
		uint32_t i;

		gossip_init(&gossip, &env);
		members_init(&members, &gossip, 1, 1, "a", NULL, 0, 0);
		members.changed = no_member;
		for (i = 2; i < MEMBERS_MOST + 2; i++)
			if (!CHECK(members_learn(&members, 0, &(struct member_record){.host = i}) ==
				   0))
				break;
		CHECK(members_learn(&members, 0, &(struct member_record){.host = i}) == -ENOSPC);
		CHECK(members_learn(&members, 0,
				    &(struct member_record){.host = 2, .incarnation = 1}) == 0);
		members_free(&members);
	}

	TEST("of members whom no certificate proves only a few are remembered, until they are "
	     "proven")
	{
		static const struct sync_env doubting = {.random = no_random,
							 .host_proven = is_proven};
		static struct members members;
		static struct gossip gossip;
		uint32_t i;

		gossip_init(&gossip, &doubting);
		members_init(&members, &gossip, 1, 1, "a", NULL, 0, 0);
		members.changed = no_member;
		proven_from = 5000;
		for (i = 2; i < UNPROVEN_MOST + 2; i++)
			CHECK(members_learn(&members, 0, &(struct member_record){.host = i}) == 0);
		CHECK(members_learn(&members, 0, &(struct member_record){.host = i}) == -ENOSPC);
		CHECK(members_learn(&members, 0, &(struct member_record){.host = 5000}) == 0);
		CHECK(members_learn(&members, 0,
				    &(struct member_record){.host = 2, .state = MEMBER_DEAD}) == 0);
		proven_from = 10;
		CHECK(members_learn(&members, 2000, &(struct member_record){.host = 9}) == 0);
		for (i = 3000; i < 3000 + UNPROVEN_MOST; i++)
			CHECK(members_learn(&members, 2000, &(struct member_record){.host = i}) ==
			      0);
		members_free(&members);
	}
	registry_free(&a.registry);
	registry_free(&b.registry);
	registry_free(&c.registry);
	return check_done();
}
