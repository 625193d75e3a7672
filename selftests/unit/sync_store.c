// SPDX-License-Identifier: GPL-2.0
/* A host on a shared store: what it writes there and when, see S1-S5 in docs/sync-design.md. */
#include <errno.h>

#include "check.h"
#include "sync/sync.h"

struct host {
	struct sync *sync;
	int64_t now;
	unsigned int commits;
	uint64_t revision; /* of the last commit */
	struct manifest next;
	bool no_stage; /* the datapath does not take it */
	unsigned int wanted;
	bool have; /* the objects */
	unsigned int told;
	int result;
};

static uint64_t random_number(void *data)
{
	(void)data;
	return 1999; /* the longest jitter */
}

static void send_nowhere(void *data, uint32_t to, const void *bytes, size_t nr)
{
	(void)data;
	(void)to;
	(void)bytes;
	(void)nr;
}

static const uint8_t *object_get(void *data, const struct digest *name, uint32_t *nr)
{
	(void)name;
	*nr = 1;
	return ((struct host *)data)->have ? (const uint8_t *)"x" : NULL;
}

static int policy_stage(void *data, const struct generation *generation)
{
	(void)generation;
	return ((struct host *)data)->no_stage ? -EINVAL : 0;
}

static int policy_flip(void *data, uint32_t generation)
{
	(void)data;
	(void)generation;
	return 0;
}

static int policy_keep(void *data, const struct manifest *manifest, uint32_t writer)
{
	(void)data;
	(void)manifest;
	(void)writer;
	return 0;
}

static int policy_commit(void *data, uint64_t revision, const struct manifest *next)
{
	struct host *host = data;

	host->commits++;
	host->revision = revision;
	host->next = *next;
	return 0;
}

static void object_want(void *data, const struct digest *name)
{
	(void)name;
	((struct host *)data)->wanted++;
}

static void done(void *data, int result)
{
	struct host *host = data;

	host->told++;
	host->result = result;
}

static struct host host;
static struct sync_env env;

/* Host 2, alone, with all objects. */
static void begin(void)
{
	static const struct sync_config config = {
		.host = 2, .life = 1, .name = "b", .address = "b", .shared_store = true};

	host = (struct host){.have = true, .now = 1};
	env = (struct sync_env){
		.data = &host,
		.random = random_number,
		.send = send_nowhere,
		.object_get = object_get,
		.policy_stage = policy_stage,
		.policy_flip = policy_flip,
		.policy_keep = policy_keep,
		.policy_commit = policy_commit,
		.object_want = object_want,
	};
	host.sync = sync_new(&config, &env, host.now);
	if (!host.sync || sync_start(host.sync))
		abort();
}

static void end(void)
{
	sync_free(host.sync);
}

static void run(int64_t ms)
{
	for (int64_t until = host.now + ms; host.now < until;) {
		host.now += 100;
		sync_tick(host.sync, host.now);
	}
}

static struct manifest manifest_of(uint32_t active, uint32_t staged)
{
	return (struct manifest){.term = 1,
				 .active = {.number = active, .nr_objects = active > 0},
				 .staged = {.number = staged, .nr_objects = staged > 0}};
}

static void learn(uint64_t revision, struct manifest manifest, uint32_t writer)
{
	sync_policy_learn(host.sync, host.now, revision, &manifest, writer);
}

static int cas(uint32_t expected, uint32_t number)
{
	struct policy_store store = sync_policy_store(host.sync);
	const struct generation next = {.number = number, .nr_objects = 1};

	return store.cas(store.data, expected, &next, done, &host);
}

static void writing(void)
{
	TEST("nothing is written before the store was read")
	{
		begin();
		CHECK(cas(0, 1) == -ENOTCONN);
		sync_policy_learn(host.sync, host.now, 0, NULL, 0);
		CHECK(cas(0, 1) == 0 && host.commits == 1 && host.revision == 0);
		CHECK(host.next.staged.number == 1 && host.next.term == 1);
		end();
	}
	TEST("one write at a time, and its end is told once")
	{
		begin();
		learn(7, manifest_of(5, 0), 1);
		CHECK(cas(5, 6) == 0 && host.revision == 7);
		CHECK(cas(5, 6) == -EBUSY && !host.told);
		sync_policy_committed(host.sync, host.now, -EAGAIN);
		sync_policy_committed(host.sync, host.now, 0);
		CHECK(host.told == 1 && host.result == -EAGAIN);
		end();
	}
	TEST("a generation is above all that are known, and names objects that are here")
	{
		begin();
		learn(7, manifest_of(5, 0), 1);
		CHECK(cas(4, 6) == -EAGAIN);
		CHECK(cas(5, 5) == -EINVAL);
		host.have = false;
		CHECK(cas(5, 6) == -ENOENT && !host.commits);
		end();
	}
	TEST("taking over means nothing here")
	{
		begin();
		CHECK(sync_policy_take_over(host.sync) == -EOPNOTSUPP);
		end();
	}
}

static void flipping(void)
{
	TEST("who staged a generation flips it when all living hosts have staged it")
	{
		begin();
		learn(7, manifest_of(5, 0), 1);
		run(200);
		cas(5, 6);
		learn(8, manifest_of(5, 6), 2);
		sync_policy_committed(host.sync, host.now, 0);
		run(300);
		CHECK(host.commits == 2 && host.revision == 8);
		CHECK(host.next.active.number == 6 && !host.next.staged.number);
		CHECK(sync_policy_active(host.sync) == 5);
		learn(9, manifest_of(6, 0), 2);
		sync_policy_committed(host.sync, host.now, 0);
		run(200);
		CHECK(sync_policy_active(host.sync) == 6);
		end();
	}
	TEST("another's generation is flipped when he has not for 15 to 17 s")
	{
		begin();
		learn(7, manifest_of(5, 6), 1);
		run(15000);
		CHECK(!host.commits);
		run(2100);
		CHECK(host.commits == 1 && host.revision == 7 && host.next.active.number == 6);
		end();
	}
	TEST("a flip that fails is tried again, with a pause")
	{
		begin();
		learn(7, manifest_of(5, 6), 2);
		run(200);
		CHECK(host.commits == 1);
		sync_policy_committed(host.sync, host.now, -EHOSTUNREACH);
		run(900);
		CHECK(host.commits == 1);
		run(2200);
		CHECK(host.commits == 2);
		end();
	}
	TEST("what could not be staged here is not flipped here, and gives way after 20 s")
	{
		begin();
		host.no_stage = true;
		learn(7, manifest_of(0, 6), 1);
		run(19000);
		CHECK(!host.commits && cas(0, 7) == -EAGAIN);
		run(1100);
		CHECK(cas(0, 7) == 0 && host.next.staged.number == 7);
		end();
	}
}

static void mending(void)
{
	TEST("a store that has less gets back what is known here, within 3 s")
	{
		begin();
		learn(7, manifest_of(5, 0), 1);
		learn(3, manifest_of(4, 0), 1);
		run(900);
		CHECK(!host.commits && sync_counters(host.sync)->store_behind == 1);
		run(2200);
		CHECK(host.commits == 1 && host.revision == 3 && host.next.active.number == 5);
		CHECK(sync_policy_active(host.sync) == 5);
		end();
	}
	TEST("so does one that has nothing, or nothing that can be followed")
	{
		begin();
		learn(7, manifest_of(5, 0), 1);
		sync_policy_learn(host.sync, host.now, 9, NULL, 0);
		run(3100);
		CHECK(host.commits == 1 && host.revision == 9);
		end();
	}
	TEST("unless somebody else was quicker")
	{
		begin();
		learn(7, manifest_of(5, 0), 1);
		sync_policy_learn(host.sync, host.now, 9, NULL, 0);
		learn(10, manifest_of(5, 0), 3);
		run(5000);
		CHECK(!host.commits);
		end();
	}
	TEST("who knows nothing puts nothing right")
	{
		begin();
		sync_policy_learn(host.sync, host.now, 0, NULL, 0);
		run(5000);
		CHECK(!host.commits);
		end();
	}
	TEST("of two that contradict each other each host keeps its own, until the next")
	{
		struct manifest other = manifest_of(5, 0);

		begin();
		learn(7, manifest_of(5, 0), 1);
		other.active.objects[0].bytes[0] = 1;
		learn(9, other, 1);
		run(5000);
		CHECK(!host.commits && sync_counters(host.sync)->forks == 1);
		CHECK(cas(5, 6) == 0 && host.revision == 9);
		end();
	}
}

static void fetching(void)
{
	TEST("the store is asked for an object that is not here, and asked again")
	{
		begin();
		host.have = false;
		learn(7, manifest_of(5, 0), 1);
		run(300);
		CHECK(host.wanted == 1 && !sync_policy_active(host.sync));
		run(8000);
		CHECK(host.wanted >= 2);
		host.have = true;
		sync_policy_object(host.sync, host.now);
		run(200);
		CHECK(sync_policy_active(host.sync) == 5);
		end();
	}
}

int main(void)
{
	writing();
	flipping();
	mending();
	fetching();
	return check_done();
}
