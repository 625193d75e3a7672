// SPDX-License-Identifier: GPL-2.0
/*
 * What the transport between two hosts does a second: two processes on the loopback device, everything sealed.
 *
 *	xport [SECONDS]
 *
 * Frames of 60,000 bytes hold flow records, encoded by the sender and decoded by the receiver, as in a move. The CPU time
 * is that of each process with nanomsg's thread in it.
 */
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "secure_cluster.h"
#include "sync/daemon/xport.h"
#include "sync/messages.h"
#include "util.h"

#define FIRST_PORT 29572
#define WARM_MS	   500

/* How messages are made and taken. */
enum load { RECORDS, FRAMES, DATAGRAMS, PINGS };

static const struct load_kind {
	const char *name;
	enum load load;
} loads[] = {
	{"flow records in frames", RECORDS},
	{"frames of 60,000 B", FRAMES},
	{"datagrams of 1,200 B", DATAGRAMS},
	{"round trips", PINGS},
};

struct host {
	struct xport *xport;
	enum load load;
	uint32_t id;
	uint64_t messages;
	uint64_t records;
	bool answered;
};

/* What a process has measured, for the other one to print. */
struct figures {
	uint64_t messages;
	uint64_t records;
	double cpu;
	double seconds;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- Messages ---------------------------------------------------------------------------------------------------- */

static void on_datagram(void *data, uint32_t from, const void *bytes, size_t nr)
{
	struct host *host = data;

	host->messages++;
	host->answered = true;
	/* Host 2 answers. */
	if (host->load == PINGS && host->id == 2)
		xport_send(host->xport, from, bytes, nr);
}

static uint64_t decode(const void *bytes, size_t nr)
{
	struct reader reader, value;
	struct flow_record record;
	struct flows_head head;
	uint64_t sequence, records = 0;
	uint16_t type;

	if (packet_open(&reader, bytes, nr) < 0 || !tlv_next(&reader, &type, &value))
		return 0;
	get_flows_head(&value, &head);
	while (get_flow_record(&value, &record, &sequence))
		records++;
	return records;
}

static void on_frame(void *data, uint32_t from, const void *bytes, size_t nr)
{
	struct host *host = data;

	(void)from;
	host->messages++;
	if (host->load == RECORDS)
		host->records += decode(bytes, nr);
}

static size_t encode(uint8_t *bytes, uint64_t *next)
{
	const struct flows_head head = {.epoch = 1, .stream = 1};
	struct flow_record record = {.epoch = 1ULL << 24 | 1, .rule = 0x1234abcd, .generation = 30};
	struct writer writer;
	uint8_t *begin;

	packet_begin(&writer, bytes, WIRE_FRAME);
	begin = tlv_begin(&writer, MESSAGE_FLOWS);
	put_flows_head(&writer, &head);
	do {
		/* Nothing in it is small or zero by chance: the encoding is as long as it gets in earnest. */
		for (size_t i = 0; i < sizeof(record.key); i++)
			((uint8_t *)&record.key)[i] = (uint8_t)(*next >> i % 4 * 8 | 0x11);
		memset(record.legs, (int)(*next | 0x21), sizeof(record.legs));
		record.version = *next;
		record.idle_ms = 1500;
		record.age_ms = 3600000;
	} while (put_flow_record(&writer, &record, ++*next));
	tlv_end(&writer, begin);
	return writer_used(&writer);
}

/* ---- Hosts ------------------------------------------------------------------------------------------------------- */

static void serve(struct host *host, int wait_ms)
{
	struct pollfd fd = {.fd = xport_fd(host->xport), .events = POLLIN};
	int64_t next = xport_next(host->xport) - now_ms();

	if (wait_ms && next > 0)
		poll(&fd, 1, next < wait_ms ? (int)next : wait_ms);
	xport_serve(host->xport, now_ms());
}

static void open_host(struct host *host, struct identity *identity, char address[WIRE_TEXT_LEN])
{
	const struct xport_config config = {
		.identity = identity,
		.life = 1,
		.address = address,
		.data = host,
		.on_datagram = on_datagram,
		.on_frame = on_frame,
	};

	if (xport_open(&config, now_ms(), &host->xport) < 0) {
		fputs("the ports of the bench are in use\n", stderr);
		exit(EXIT_FAILURE);
	}
}

static void send_some(struct host *host)
{
	static uint8_t bytes[WIRE_FRAME];
	static uint64_t next;
	size_t nr = sizeof(bytes);

	switch (host->load) {
	case RECORDS:
	case FRAMES:
		if (host->load == RECORDS)
			nr = encode(bytes, &next);
		while (xport_bulk(host->xport, 2, bytes, nr) < 0)
			serve(host, 10);
		break;
	case DATAGRAMS:
		/* Full connections drop: the receiver counts. */
		for (int i = 0; i < 50; i++)
			xport_send(host->xport, 2, bytes, WIRE_DATAGRAM);
		break;
	case PINGS:
		host->answered = false;
		xport_send(host->xport, 2, bytes, 64);
		for (int64_t end = now_ms() + 200; !host->answered && now_ms() < end;)
			serve(host, 10);
		break;
	}
	serve(host, 0);
}

static struct figures measure(struct host *host, int64_t ms, bool sends)
{
	int64_t begin = now_ms(), end;
	struct figures figures;
	double cpu;

	while (now_ms() < begin + WARM_MS)
		sends ? send_some(host) : serve(host, 10);
	begin = now_ms();
	end = begin + ms;
	host->messages = host->records = 0;
	cpu = cpu_seconds();
	while (now_ms() < end)
		sends ? send_some(host) : serve(host, 10);
	figures = (struct figures){host->messages, host->records, cpu_seconds() - cpu,
				   (double)(now_ms() - begin) / 1000};
	return figures;
}

static void meet(struct host *host, const char *other)
{
	while (!xport_certificate(host->xport, 2)) {
		xport_send_seed(host->xport, other, "hello", 5);
		for (int i = 0; i < 20; i++)
			serve(host, 10);
	}
}

static struct figures run_host(uint32_t id, struct identity *identity, enum load load, int64_t ms)
{
	char address[WIRE_TEXT_LEN], other[WIRE_TEXT_LEN];
	struct host host = {.load = load, .id = id};
	struct figures figures;

	snprintf(address, sizeof(address), "127.0.0.1:%u", FIRST_PORT + 2 * id);
	snprintf(other, sizeof(other), "127.0.0.1:%u", FIRST_PORT + 2 * (3 - id));
	open_host(&host, identity, address);
	if (id == 1)
		meet(&host, other);
	/* The receiver begins with the first message. */
	while (id == 2 && !host.messages)
		serve(&host, 10);
	figures = measure(&host, ms, id == 1);
	xport_close(host.xport);
	return figures;
}

/* nanomsg does not live through a fork: each host is a child that has never seen it. */
static pid_t start_host(uint32_t id, const struct identity *identity, enum load load, int64_t ms,
			int *result)
{
	struct figures figures;
	int ends[2];
	pid_t pid;

	if (pipe(ends) < 0)
		exit(EXIT_FAILURE);
	pid = fork();
	if (pid == 0) {
		figures = run_host(id, test_identity_copy(identity), load, ms);
		_exit(write(ends[1], &figures, sizeof(figures)) != sizeof(figures));
	}
	close(ends[1]);
	*result = ends[0];
	return pid;
}

static struct figures end_host(pid_t pid, int result)
{
	struct figures figures = {};

	if (read(result, &figures, sizeof(figures)) != sizeof(figures))
		exit(EXIT_FAILURE);
	close(result);
	waitpid(pid, NULL, 0);
	return figures;
}

static void print(const struct load_kind *kind, const struct figures *sent,
		  const struct figures *received)
{
	const struct figures *counted = kind->load == PINGS ? sent : received;
	double number = (double)(kind->load == RECORDS ? counted->records : counted->messages);
	double rate = number / counted->seconds;
	double sender_us = sent->cpu * 1e6 / (number * sent->seconds / counted->seconds);

	printf("%-24s %12.0f a second   %8.3f us of the sender's CPU, %8.3f of the receiver's\n",
	       kind->name, rate, sender_us, received->cpu * 1e6 / number);
}

static void print_handshakes(struct test_cluster *cluster)
{
	struct identity *a = test_identity(cluster, 1);
	struct certificate certificate;
	uint8_t signature[SIGNATURE_BYTES], out[32], point[32];
	int64_t begin = now_ms();
	int nr = 0;

	crypto_scalarmult_base(point, a->secret.bytes);
	for (; now_ms() < begin + 500; nr++) {
		/* What the one that answers does: two signatures looked at, one made, two multiplications. */
		certificate_open(&certificate, a->certificate.bytes, a->certificate.nr);
		certificate_open(&certificate, a->certificate.bytes, a->certificate.nr);
		crypto_sign_detached(signature, NULL, point, sizeof(point), a->secret.bytes);
		crypto_scalarmult_base(out, a->secret.bytes);
		if (crypto_scalarmult(out, a->secret.bytes, point))
			abort();
	}
	printf("%-24s %12.0f a second   (cryptography of the answering side)\n", "handshakes",
	       nr * 2.0);
	identity_free(a);
}

int main(int argc, char **argv)
{
	int64_t ms = (argc > 1 ? strtol(argv[1], NULL, 10) : 3) * 1000;
	struct test_cluster cluster;
	struct identity *identities[2];

	test_cluster_make(&cluster, 1);
	identities[0] = test_identity(&cluster, 1);
	identities[1] = test_identity(&cluster, 2);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < ARRAY_SIZE(loads); i++) {
		struct figures sent, received;
		pid_t pids[2];
		int results[2];

		pids[1] = start_host(2, identities[1], loads[i].load, ms - WARM_MS, &results[1]);
		pids[0] = start_host(1, identities[0], loads[i].load, ms, &results[0]);
		received = end_host(pids[1], results[1]);
		sent = end_host(pids[0], results[0]);
		print(&loads[i], &sent, &received);
	}
	print_handshakes(&cluster);
	identity_free(identities[0]);
	identity_free(identities[1]);
	return EXIT_SUCCESS;
}
