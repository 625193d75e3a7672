// SPDX-License-Identifier: GPL-2.0
/* Hosts on the loopback device, in one process: what the transport promises over real sockets. */
#include <errno.h>
#include <poll.h>
#include <time.h>

#include "check.h"
#include "secure_cluster.h"
#include "sync/daemon/xport.h"
#include "sync/secure/address.h"
#include "util.h"

#define HOSTS	  3
#define FRAMES	  400
#define BASE_PORT 29472

struct host {
	struct xport *xport;
	struct identity *identity; /* a copy */
	uint32_t id;
	uint32_t life;
	char address[WIRE_TEXT_LEN];
	uint64_t datagrams;
	uint64_t frames;
	uint64_t disorder;
	uint64_t ready;
	uint32_t from;
	char last[64];
	uint64_t charter;
	uint64_t renewed;
	bool echo;
};

static struct test_cluster cluster;
static struct host hosts[HOSTS + 1];

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void on_datagram(void *data, uint32_t from, const void *bytes, size_t nr)
{
	struct host *host = data;

	host->datagrams++;
	host->from = from;
	snprintf(host->last, sizeof(host->last), "%.*s", (int)nr, (const char *)bytes);
	if (host->echo)
		xport_send(host->xport, from, bytes, nr);
}

static void on_frame(void *data, uint32_t from, const void *bytes, size_t nr)
{
	struct host *host = data;
	uint64_t number;

	if (nr >= sizeof(number)) {
		memcpy(&number, bytes, sizeof(number));
		host->disorder += number != host->frames;
	}
	host->from = from;
	host->frames++;
}

static void on_bulk_ready(void *data, uint32_t to)
{
	struct host *host = data;

	(void)to;
	host->ready++;
}

static void on_charter(void *data, const struct charter *charter)
{
	struct host *host = data;

	host->charter = charter->version;
}

static void on_renewed(void *data, const struct certificate *certificate)
{
	struct host *host = data;

	host->renewed = certificate->serial;
}

static int host_open(struct host *host)
{
	const struct xport_config config = {
		.identity = test_identity_copy(host->identity),
		.life = ++host->life,
		.address = host->address,
		.data = host,
		.on_datagram = on_datagram,
		.on_frame = on_frame,
		.on_bulk_ready = on_bulk_ready,
		.on_charter = on_charter,
		.on_renewed = on_renewed,
	};

	return xport_open(&config, now_ms(), &host->xport);
}

static void host_make(struct host *host, struct test_cluster *of, uint32_t id)
{
	host->id = id;
	host->identity = test_identity(of, id);
	snprintf(host->address, sizeof(host->address), "127.0.0.1:%u", BASE_PORT + 2 * id);
}

static void host_close(struct host *host)
{
	xport_close(host->xport);
	host->xport = NULL;
}

static void serve(void)
{
	struct pollfd fds[HOSTS + 1];
	int64_t next = now_ms() + 20;
	nfds_t nr = 0;

	for (size_t i = 0; i <= HOSTS; i++) {
		if (!hosts[i].xport)
			continue;
		fds[nr++] = (struct pollfd){.fd = xport_fd(hosts[i].xport), .events = POLLIN};
		if (xport_next(hosts[i].xport) < next)
			next = xport_next(hosts[i].xport);
	}
	next -= now_ms();
	poll(fds, nr, next > 0 ? (int)next : 0);
	for (size_t i = 0; i <= HOSTS; i++)
		if (hosts[i].xport)
			xport_serve(hosts[i].xport, now_ms());
}

#define SERVE_UNTIL(condition, ms)                           \
	({                                                   \
		int64_t serve_end = now_ms() + (ms);         \
		while (!(condition) && now_ms() < serve_end) \
			serve();                             \
		(condition);                                 \
	})

static void say(struct host *from, const struct host *to, const char *text)
{
	xport_send(from->xport, to->id, text, strlen(text));
}

/* Says it until it is heard, as all that matters does. */
static bool reaches(struct host *from, struct host *to, const char *text, int64_t ms)
{
	int64_t end = now_ms() + ms, again = 0;

	to->last[0] = '\0';
	while (strcmp(to->last, text) != 0 && now_ms() < end) {
		if (now_ms() >= again) {
			say(from, to, text);
			again = now_ms() + 100;
		}
		serve();
	}
	return strcmp(to->last, text) == 0 && to->from == from->id;
}

static void send_frames(struct host *from, const struct host *to, uint64_t nr)
{
	static uint8_t frame[WIRE_FRAME];
	int64_t end = now_ms() + 60000;

	for (uint64_t i = 0; i < nr && now_ms() < end;) {
		memcpy(frame, &i, sizeof(i));
		if (xport_bulk(from->xport, to->id, frame, sizeof(frame)) == 0)
			i++;
		else
			serve();
	}
}

#define COUNTER(host, name) (xport_counters((host)->xport)->name)

int main(void)
{
	struct host *a = &hosts[0], *b = &hosts[1], *c = &hosts[2], *stranger = &hosts[3];

	test_cluster_make(&cluster, 1);
	for (uint32_t i = 0; i < HOSTS; i++)
		host_make(&hosts[i], &cluster, i + 1);

	TEST("addresses have one form, and are numeric")
	{
		char canonical[WIRE_TEXT_LEN];

		CHECK(address_canonical("10.0.0.1:7472", canonical) == 0);
		CHECK(address_canonical("[2001:DB8:0::1]:7472", canonical) == 0);
		CHECK_TEXT(canonical, "[2001:db8::1]:7472");
		CHECK(address_canonical("example.org:7472", canonical) == -EINVAL);
		CHECK(address_canonical("10.0.0.1", canonical) == -EINVAL);
		CHECK(address_canonical("10.0.0.1:0", canonical) == -EINVAL);
		CHECK(address_canonical("10.0.0.1:65535", canonical) == -EINVAL);
		CHECK(address_canonical("10.0.0.1:7472x", canonical) == -EINVAL);
	}
	TEST("hosts open their planes, and an address that is in use is refused")
	{
		struct host twin;

		for (size_t i = 0; i < HOSTS; i++)
			CHECK(host_open(&hosts[i]) == 0);
		twin = hosts[0];
		CHECK(host_open(&twin) == -EADDRINUSE);
	}
	TEST("a message to a seed's address finds the host there, and makes a session")
	{
		xport_send_seed(a->xport, b->address, "hello", 5);
		CHECK(SERVE_UNTIL(b->datagrams, 30000));
		CHECK(b->from == a->id);
		CHECK_TEXT(b->last, "hello");
	}
	TEST("the other one can answer without knowing more")
	{
		say(b, a, "answer");
		CHECK(SERVE_UNTIL(a->datagrams, 30000));
		CHECK_TEXT(a->last, "answer");
		CHECK(xport_certificate(a->xport, b->id) != NULL);
	}
	TEST("a host of known address is reached; one of unknown address is not, and that is "
	     "counted")
	{
		uint64_t before = COUNTER(a, no_route);

		say(a, c, "nowhere");
		CHECK(COUNTER(a, no_route) == before + 1);
		CHECK(xport_peer(a->xport, c->id, c->address) == 0);
		CHECK(reaches(a, c, "somewhere", 30000));
	}
	TEST("frames come whole and in order")
	{
		send_frames(a, b, FRAMES);
		CHECK(SERVE_UNTIL(b->frames == FRAMES, 30000));
		CHECK(b->disorder == 0);
		CHECK(COUNTER(b, frames_out_of_order) == 0);
		CHECK(COUNTER(a, frames_lost) == 0);
		CHECK(a->ready > 0);
	}
	TEST("a host that restarts is reached again, and its frames begin anew")
	{
		host_close(b);
		b->frames = b->disorder = 0;
		CHECK(host_open(b) == 0);
		CHECK(reaches(a, b, "again", 30000));
		send_frames(a, b, 50);
		CHECK(SERVE_UNTIL(b->frames == 50, 30000));
		CHECK(b->disorder == 0);
	}
	TEST("both sides restart")
	{
		host_close(a);
		host_close(b);
		CHECK(host_open(a) == 0 && host_open(b) == 0);
		xport_peer(a->xport, b->id, b->address);
		CHECK(reaches(a, b, "both", 30000));
		CHECK(reaches(b, a, "ways", 30000));
	}
	TEST("a host of another cluster learns and changes nothing")
	{
		struct test_cluster other;

		test_cluster_make(&other, 2);
		host_make(stranger, &other, 9);
		CHECK(host_open(stranger) == 0);
		xport_send_seed(stranger->xport, a->address, "let me in", 9);
		SERVE_UNTIL(COUNTER(stranger, wrong_cluster), 30000);
		CHECK(COUNTER(stranger, wrong_cluster) > 0);
		CHECK(COUNTER(stranger, sessions) == 0);
		CHECK(!xport_certificate(a->xport, 9));
		host_close(stranger);
		identity_free(stranger->identity);
	}
	TEST("a charter made at one host reaches all, and cuts off who is revoked")
	{
		charter_revoke(&cluster.charter, c->id, REVOKED_FOR_GOOD);
		test_cluster_sign(&cluster);
		CHECK(xport_charter(a->xport, cluster.charter.bytes, cluster.charter.nr) == 0);
		CHECK(SERVE_UNTIL(b->charter == cluster.charter.version, 30000));
		CHECK(xport_charter(a->xport, cluster.charter.bytes, cluster.charter.nr) ==
		      -ESTALE);
		a->datagrams = b->datagrams = 0;
		xport_peer(c->xport, b->id, b->address);
		for (int i = 0; i < 10; i++) {
			say(c, b, "still there?");
			say(c, a, "still there?");
			SERVE_UNTIL(COUNTER(b, revoked) > 2, 200);
		}
		CHECK(COUNTER(b, revoked) > 0);
		CHECK(a->datagrams == 0 && b->datagrams == 0);
	}
	TEST("a renewed certificate is handed to its host")
	{
		struct identity *renewed = test_identity_copy(b->identity);

		test_certify(&cluster, renewed, b->id);
		CHECK(xport_renew(a->xport, &renewed->certificate) == 0);
		CHECK(reaches(a, b, "renewal", 30000));
		CHECK(SERVE_UNTIL(b->renewed == renewed->certificate.serial, 30000));
		CHECK(SERVE_UNTIL(xport_certificate(a->xport, b->id)->serial ==
					  renewed->certificate.serial,
				  30000));
		identity_free(renewed);
	}
	for (size_t i = 0; i < HOSTS; i++) {
		host_close(&hosts[i]);
		identity_free(hosts[i].identity);
	}
	return check_done();
}
