// SPDX-License-Identifier: GPL-2.0
/*
 * The network under the channels, by nanomsg 1.1.5.
 *
 * Datagram plane: each host binds a raw SURVEYOR and has one raw RESPONDENT that dials the SURVEYOR of every other. A
 * RESPONDENT can address one of its connections: by a key that stands before what came from there. So the SURVEYOR's
 * only message is a hello, to all that are connected, and everything else goes from RESPONDENT to SURVEYOR. A connection
 * that is full drops.
 *
 * Bulk plane: each host binds a PULL and has a PUSH for each of those it sends to, 128 at most since a process has 512
 * nanomsg sockets at most.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include <nanomsg/nn.h>
#include <nanomsg/pipeline.h>
#include <nanomsg/survey.h>
#include <nanomsg/tcp.h>

#include <util.h>

#include "sync/daemon/xport.h"
#include "sync/secure/address.h"

#define WAYS_MAX      (CHANNELS_MAX + 64)
#define LANES_MAX     128
#define SOCKET_BYTES  (1 << 20)	 /* at most, of what is under way: the kernel may allow less */
#define LANE_BYTES    (64 << 20) /* that wait for all lanes together */
#define RECONNECT_MS  1000
#define RECONNECT_MAX 2000 /* nanomsg doubles its pause at each loss, and no success shortens it */
#define DATAGRAM_SIZE 8192 /* longer ones are not even read: the connection is closed */
#define FRAME_SIZE    (128 << 10)
#define LOOK_MS	      50     /* how often we look whether somebody has connected */
#define CROWDED_MS    10     /* and if many have */
#define HELLO_MS      10000  /* hello to all, if nothing happens */
#define IDLE_MS	      600000 /* a way that nobody uses is given up */
#define STUCK_MS      10000
#define SWEEP_MS      5000
#define FILES_USUAL   1024
#define BATCH	      256 /* messages of a socket that are served in one go */
#define FRAME_BATCH   32

#define ADDRESS_LEN WIRE_TEXT_LEN
#define URL_LEN	    (2 * ADDRESS_LEN + 8)

/* What nanomsg puts before a message that came to a raw RESPONDENT, and wants before one that goes back. */
struct pipe_key {
	uint8_t bytes[8];
};

/* A connection that we dial: how messages get to who listens at an address. */
struct way {
	char address[ADDRESS_LEN];
	int endpoint;
	bool open;    /* key is known */
	bool doubted; /* nothing that went there was answered: another connection is welcome */
	bool has_spare;
	struct pipe_key key;
	struct pipe_key spare;	/* of another connection whose hello names the same address */
	struct pipe_key banned; /* of one that led nowhere */
	uint32_t host;
	uint32_t life;
	int64_t used_ms;
};

struct frame {
	struct frame *next;
	void *message;
	size_t nr;
};

/* A PUSH socket and what it has not taken yet. */
struct lane {
	char address[ADDRESS_LEN];
	int nn;
	int writable; /* its descriptor for epoll; -1: not watched */
	struct frame *first, *last;
	size_t nr;
	int64_t used_ms;
	int64_t moved_ms; /* the socket took something last, or the queue was empty */
};

struct xport {
	struct xport_config config;
	char address[ADDRESS_LEN];
	struct channels *channels;
	struct xport_counters counters;
	int epoll;
	int surveyor, respondent, pull;
	struct way **ways; /* by address */
	size_t nr_ways;
	struct lane lanes[LANES_MAX];
	size_t nr_lanes;
	size_t waiting; /* bytes */
	struct door *door;
	int64_t door_ms;
	uint64_t accepted[DOOR_PLANES];
	unsigned int hellos; /* of the burst, done */
	int64_t hello_ms;
	int64_t look_ms;
	int64_t sweep_ms;
	int64_t now;
};

/* ---- Addresses --------------------------------------------------------------------------------------------------- */

/* Where to listen. */
static int own_url(const struct xport *xport, unsigned int plane, char url[URL_LEN])
{
	char host[ADDRESS_LEN];
	unsigned int port;
	int r = address_split(xport->address, host, &port);

	if (r < 0)
		return r;
	return snprintf(url, URL_LEN, "tcp://%s:%u", host, port + plane) < URL_LEN ? 0 : -EINVAL;
}

/* Where to dial, and from where: the address that this host listens at, by which others know it at their door. */
static int make_url(const struct xport *xport, const char *address, unsigned int plane,
		    char url[URL_LEN])
{
	char host[ADDRESS_LEN], own[ADDRESS_LEN];
	unsigned int port, own_port;
	int r = address_split(address, host, &port);

	if (r == 0)
		r = address_split(xport->address, own, &own_port);
	if (r < 0)
		return r;
	return snprintf(url, URL_LEN, "tcp://%s;%s:%u", own, host, port + plane) < URL_LEN
		       ? 0
		       : -EINVAL;
}

/* ---- nanomsg ----------------------------------------------------------------------------------------------------- */

static int set_option(int nn, int option, int value)
{
	return nn_setsockopt(nn, NN_SOL_SOCKET, option, &value, sizeof(value)) < 0 ? -nn_errno()
										   : 0;
}

static int get_option(int nn, int option)
{
	size_t nr = sizeof(int);
	int value;

	return nn_getsockopt(nn, NN_SOL_SOCKET, option, &value, &nr) < 0 ? -nn_errno() : value;
}

/* All addresses of a cluster are of one family: nanomsg binds before it dials, to an address of the family that the
 * socket is for, and aborts at the second attempt if that failed. */
static bool is_ipv6(const char *address)
{
	return address[0] == '[';
}

/* A socket, or a negative errno. */
static int open_socket(const struct xport *xport, int domain, int protocol, int longest)
{
	int nn = nn_socket(domain, protocol), r;

	if (nn < 0)
		return -nn_errno();
	r = set_option(nn, NN_IPV4ONLY, !is_ipv6(xport->address));
	if (r == 0)
		r = set_option(nn, NN_RECONNECT_IVL, RECONNECT_MS);
	if (r == 0)
		r = set_option(nn, NN_RECONNECT_IVL_MAX, RECONNECT_MAX);
	if (r == 0 && longest)
		r = set_option(nn, NN_RCVMAXSIZE, longest);
	if (r == 0)
		r = set_option(nn, NN_RCVBUF, SOCKET_BYTES);
	if (r == 0)
		r = set_option(nn, NN_SNDBUF, SOCKET_BYTES);
	/* Else a small message waits until the peer acknowledges the one before, for which that takes up to 40 ms. */
	if (r == 0 && nn_setsockopt(nn, NN_TCP, NN_TCP_NODELAY, &(int){1}, sizeof(int)) < 0)
		r = -nn_errno();
	if (r < 0) {
		nn_close(nn);
		return r;
	}
	return nn;
}

static void close_socket(int *nn)
{
	if (*nn >= 0)
		nn_close(*nn);
	*nn = -1;
}

static int watch(const struct xport *xport, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (fd < 0)
		return fd;
	return epoll_ctl(xport->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* The header of a raw message as nn_cmsg(3) has it: a size_t with its length, then the header. */
struct raw_header {
	struct nn_cmsghdr head;
	size_t nr;
	uint8_t bytes[sizeof(struct pipe_key)];
};

static void raw_header_set(struct raw_header *header, const void *bytes, size_t nr)
{
	memset(header, 0, sizeof(*header));
	header->head.cmsg_len = NN_CMSG_SPACE(sizeof(size_t) + nr);
	header->head.cmsg_level = PROTO_SP;
	header->head.cmsg_type = SP_HDR;
	header->nr = nr;
	memcpy(header->bytes, bytes, nr);
}

static int send_raw(int nn, const void *header_bytes, size_t nr_header, const void *bytes,
		    size_t nr)
{
	struct nn_iovec vector = {.iov_base = (void *)bytes, .iov_len = nr};
	struct raw_header header;
	struct nn_msghdr message = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &header,
		.msg_controllen = NN_CMSG_SPACE(sizeof(size_t) + nr_header),
	};

	raw_header_set(&header, header_bytes, nr_header);
	return nn_sendmsg(nn, &message, NN_DONTWAIT) < 0 ? -nn_errno() : 0;
}

/* *message is to be freed. Returns its length, or a negative errno; -EAGAIN: nothing there, or something that even
 * nanomsg does not understand. */
static int receive_raw(int nn, void **message, struct pipe_key *key)
{
	struct nn_iovec vector = {.iov_base = message, .iov_len = NN_MSG};
	struct raw_header header = {};
	struct nn_msghdr head = {
		.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = &header,
		.msg_controllen = sizeof(header),
	};
	int nr = nn_recvmsg(nn, &head, NN_DONTWAIT);

	if (nr < 0)
		return -nn_errno();
	/* A longer header has gone through devices, which we have none of. */
	if (header.head.cmsg_level != PROTO_SP || header.nr != sizeof(key->bytes)) {
		nn_freemsg(*message);
		return -EBADMSG;
	}
	memcpy(key->bytes, header.bytes, sizeof(key->bytes));
	return nr;
}

static bool same_key(const struct pipe_key *a, const struct pipe_key *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* ---- Ways -------------------------------------------------------------------------------------------------------- */

static size_t way_lower(const struct xport *xport, const char *address)
{
	size_t low = 0, high = xport->nr_ways;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(xport->ways[middle]->address, address) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct way *way_find(const struct xport *xport, const char *address)
{
	size_t at = way_lower(xport, address);

	return at < xport->nr_ways && strcmp(xport->ways[at]->address, address) == 0
		       ? xport->ways[at]
		       : NULL;
}

static void way_close(struct xport *xport, size_t at)
{
	nn_shutdown(xport->respondent, xport->ways[at]->endpoint);
	free(xport->ways[at]);
	xport->nr_ways--;
	memmove(xport->ways + at, xport->ways + at + 1,
		(xport->nr_ways - at) * sizeof(*xport->ways));
}

/* Dials. */
static void way_make(struct xport *xport, const char *address)
{
	char url[URL_LEN], canonical[ADDRESS_LEN];
	size_t at = way_lower(xport, address);
	struct way *way;

	if (address_canonical(address, canonical) < 0 || strcmp(canonical, address) != 0 ||
	    is_ipv6(address) != is_ipv6(xport->address) || make_url(xport, address, 0, url) < 0 ||
	    strcmp(address, xport->address) == 0)
		return;
	if (xport->nr_ways == WAYS_MAX) {
		channels_counters(xport->channels)->no_room++;
		return;
	}
	way = calloc(1, sizeof(*way));
	if (!way) {
		channels_counters(xport->channels)->no_memory++;
		return;
	}
	strcpy(way->address, address);
	way->used_ms = xport->now;
	way->endpoint = nn_connect(xport->respondent, url);
	if (way->endpoint < 0) {
		xport->counters.socket_errors++;
		free(way);
		return;
	}
	memmove(xport->ways + at + 1, xport->ways + at,
		(xport->nr_ways - at) * sizeof(*xport->ways));
	xport->ways[at] = way;
	xport->nr_ways++;
}

static void way_use(struct xport *xport, struct way *way, const struct pipe_key *key)
{
	way->key = *key;
	way->open = true;
	way->doubted = way->has_spare = false;
	xport->counters.hellos_taken++;
	channels_way_open(xport->channels, way->address, way->host, way->life);
}

/*
 * Anybody who is connected can say that he is at this address, and by repeating what he heard even convincingly. So a
 * connection that works is not given up for another one, and one where nothing is answered is.
 */
static void way_learn(struct xport *xport, struct way *way, const struct pipe_key *key,
		      uint32_t host, uint32_t life)
{
	bool restarted = way->host != host || life > way->life;

	if (way->open && same_key(&way->key, key) && !restarted)
		return;
	if (!restarted && same_key(&way->banned, key))
		return;
	if (way->open && !way->doubted && !restarted) {
		way->spare = *key;
		way->has_spare = true;
		return;
	}
	way->host = host;
	way->life = life;
	way_use(xport, way, key);
}

static void on_hello(struct xport *xport, const struct pipe_key *key, uint8_t *packet, size_t nr)
{
	struct channel_counters *counters = channels_counters(xport->channels);
	char address[ADDRESS_LEN];
	struct reader plain, fields;
	uint32_t host, life;
	struct way *way;

	if (nr < 1 || packet[0] != SECURE_HELLO) {
		counters->unknown_type++;
		return;
	}
	switch (-gate_open(channels_gate(xport->channels), packet, nr, &plain)) {
	case 0:
		break;
	case EMSGSIZE:
		counters->truncated++;
		return;
	case EXDEV:
		counters->wrong_cluster++;
		return;
	case EPROTO:
		counters->unknown_type++;
		return;
	default:
		counters->forged++;
		return;
	}
	if (packet_open(&fields, plain.at, reader_left(&plain)) < 0) {
		counters->malformed++;
		return;
	}
	get_u32(&fields, &host);
	get_u32(&fields, &life);
	get_text(&fields, address);
	if (fields.bad) {
		counters->malformed++;
		return;
	}
	way = way_find(xport, address);
	if (way)
		way_learn(xport, way, key, host, life);
}

static void send_hello(struct xport *xport)
{
	static const uint8_t survey[4] = {0x80, 0, 0, 1}; /* any number whose first bit is set */
	uint8_t packet[GATE_BYTES + WIRE_HEADER + 8 + ADDRESS_LEN];
	struct writer writer;
	size_t nr;

	packet_begin(&writer, packet + GATE_BYTES - SESSION_MAC, sizeof(packet) - GATE_BYTES);
	put_u32(&writer, channels_host(xport->channels));
	put_u32(&writer, xport->config.life);
	put_text(&writer, xport->address);
	nr = channels_gate_seal(xport->channels, SECURE_HELLO, packet, writer_used(&writer));
	if (send_raw(xport->surveyor, survey, sizeof(survey), packet, nr) < 0)
		xport->counters.socket_errors++;
	xport->counters.hellos_sent++;
}

/* ---- The door ---------------------------------------------------------------------------------------------------- */

static void tell_door(void *data, const char *address)
{
	struct in6_addr mapped = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
	struct xport *xport = data;
	char host[ADDRESS_LEN];
	unsigned int port;

	if (address_split(address, host, &port) < 0)
		return;
	if (!is_ipv6(address)) {
		inet_pton(AF_INET, host, mapped.s6_addr + 12);
	} else {
		host[strlen(host) - 1] = '\0';
		inet_pton(AF_INET6, host + 1, &mapped);
	}
	door_host(xport->door, &mapped);
}

/* Has anybody connected to the port since this was asked last? */
static bool somebody_came(struct xport *xport, int nn, unsigned int plane)
{
	uint64_t accepted = nn_get_statistic(nn, NN_STAT_ACCEPTED_CONNECTIONS);
	bool came = accepted != xport->accepted[plane];

	xport->accepted[plane] = accepted;
	return came;
}

static void look_at_door(struct xport *xport)
{
	door_forget_hosts(xport->door);
	channels_each_address(xport->channels, tell_door, xport);
	xport->door_ms = door_look(xport->door, xport->now);
}

/* Somebody who has just connected may not hear the first one yet. */
static void look_for_connections(struct xport *xport)
{
	static const int burst_ms[] = {50, 150, 500, 1500};
	bool came = somebody_came(xport, xport->surveyor, 0);

	if (somebody_came(xport, xport->pull, 1) || came || xport->now >= xport->door_ms)
		look_at_door(xport);
	xport->look_ms = xport->now + (door_crowded(xport->door) ? CROWDED_MS : LOOK_MS);
	if (came) {
		xport->hellos = 0;
		/* A storm of connections is answered together. */
		if (xport->hello_ms > xport->now + LOOK_MS)
			xport->hello_ms = xport->now;
	}
	if (xport->now < xport->hello_ms)
		return;
	send_hello(xport);
	xport->hello_ms =
		xport->now +
		(xport->hellos < ARRAY_SIZE(burst_ms) ? burst_ms[xport->hellos] : HELLO_MS);
	xport->hellos++;
}

/* ---- Lanes ------------------------------------------------------------------------------------------------------- */

static struct lane *lane_find(struct xport *xport, const char *address)
{
	for (size_t i = 0; i < xport->nr_lanes; i++)
		if (strcmp(xport->lanes[i].address, address) == 0)
			return &xport->lanes[i];
	return NULL;
}

static void lane_unwatch(const struct xport *xport, struct lane *lane)
{
	if (lane->writable >= 0)
		epoll_ctl(xport->epoll, EPOLL_CTL_DEL, lane->writable, NULL);
	lane->writable = -1;
}

static void lane_pop(struct xport *xport, struct lane *lane)
{
	struct frame *frame = lane->first;

	lane->first = frame->next;
	lane->nr--;
	xport->waiting -= frame->nr;
	free(frame);
}

/* The last one takes its place. */
static void lane_close(struct xport *xport, struct lane *lane)
{
	lane_unwatch(xport, lane);
	while (lane->first) {
		nn_freemsg(lane->first->message);
		lane_pop(xport, lane);
		xport->counters.frames_unsent++;
	}
	nn_close(lane->nn);
	*lane = xport->lanes[--xport->nr_lanes];
}

/* The one that was not used for the longest time makes room, if it is not busy. */
static bool lane_make_room(struct xport *xport)
{
	struct lane *oldest = NULL;

	if (xport->nr_lanes < LANES_MAX)
		return true;
	for (size_t i = 0; i < xport->nr_lanes; i++) {
		struct lane *lane = &xport->lanes[i];

		if (!lane->first && (!oldest || lane->used_ms < oldest->used_ms))
			oldest = lane;
	}
	/* What nanomsg took it may still be sending. */
	if (!oldest || xport->now - oldest->used_ms < RECONNECT_MS)
		return false;
	lane_close(xport, oldest);
	return true;
}

static struct lane *lane_open(struct xport *xport, const char *address)
{
	char url[URL_LEN];
	struct lane *lane;
	int nn;

	if (is_ipv6(address) != is_ipv6(xport->address) || make_url(xport, address, 1, url) < 0 ||
	    !lane_make_room(xport))
		return NULL;
	nn = open_socket(xport, AF_SP, NN_PUSH, 0);
	if (nn < 0 || nn_connect(nn, url) < 0) {
		xport->counters.socket_errors++;
		close_socket(&nn);
		return NULL;
	}
	lane = &xport->lanes[xport->nr_lanes++];
	*lane = (struct lane){.nn = nn, .writable = -1, .moved_ms = xport->now};
	strcpy(lane->address, address);
	return lane;
}

/* Gives nanomsg what it takes; it says when it takes more. */
static void lane_flush(struct xport *xport, struct lane *lane)
{
	while (lane->first) {
		if (nn_send(lane->nn, &lane->first->message, NN_MSG, NN_DONTWAIT) < 0) {
			if (nn_errno() != EAGAIN)
				xport->counters.socket_errors++;
			break;
		}
		lane->moved_ms = xport->now;
		lane_pop(xport, lane);
	}
	if (!lane->first) {
		lane_unwatch(xport, lane);
	} else if (lane->writable < 0) {
		lane->writable = get_option(lane->nn, NN_SNDFD);
		if (watch(xport, lane->writable) < 0)
			lane->writable = -1;
	}
}

static void lanes_flush(struct xport *xport)
{
	for (size_t i = 0; i < xport->nr_lanes; i++)
		if (xport->lanes[i].first)
			lane_flush(xport, &xport->lanes[i]);
}

/* ---- What the channels want -------------------------------------------------------------------------------------- */

static void env_random(void *data, void *bytes, size_t nr)
{
	(void)data;
	randombytes_buf(bytes, nr);
}

static bool env_transmit(void *data, const char *address, const void *packet, size_t nr)
{
	struct xport *xport = data;
	struct way *way = way_find(xport, address);

	if (!way) {
		way_make(xport, address);
		return false;
	}
	way->used_ms = xport->now;
	if (!way->open)
		return false;
	if (send_raw(xport->respondent, way->key.bytes, sizeof(way->key.bytes), packet, nr) < 0)
		xport->counters.socket_errors++;
	return true;
}

static void env_wanted(void *data, const char *address)
{
	struct xport *xport = data;

	if (!way_find(xport, address))
		way_make(xport, address);
}

static void env_silent(void *data, const char *address)
{
	struct xport *xport = data;
	struct way *way = way_find(xport, address);

	if (!way || !way->open)
		return;
	way->doubted = true;
	if (!way->has_spare)
		return;
	channels_counters(xport->channels)->silent_ways++;
	way->banned = way->key;
	way->key = way->spare;
	way->doubted = way->has_spare = false;
}

static void *env_frame_new(void *data, size_t nr)
{
	(void)data;
	return nn_allocmsg(nr, 0);
}

static void env_frame_free(void *data, void *frame)
{
	(void)data;
	nn_freemsg(frame);
}

static bool env_push(void *data, const char *address, void *message, size_t nr)
{
	struct xport *xport = data;
	struct lane *lane = lane_find(xport, address);
	struct frame *frame;

	if (!lane)
		lane = lane_open(xport, address);
	frame = lane && lane->nr < CHANNEL_WINDOW && xport->waiting + nr <= LANE_BYTES
			? calloc(1, sizeof(*frame))
			: NULL;
	if (!frame) {
		nn_freemsg(message);
		return false;
	}
	frame->message = message;
	frame->nr = nr;
	if (!lane->first) {
		lane->first = frame;
		lane->moved_ms = xport->now;
	} else {
		lane->last->next = frame;
	}
	lane->last = frame;
	lane->nr++;
	lane->used_ms = xport->now;
	xport->waiting += nr;
	lane_flush(xport, lane);
	return true;
}

static void env_on_datagram(void *data, uint32_t from, const void *bytes, size_t nr)
{
	struct xport *xport = data;

	xport->config.on_datagram(xport->config.data, from, bytes, nr);
}

static void env_on_frame(void *data, uint32_t from, const void *bytes, size_t nr)
{
	struct xport *xport = data;

	xport->config.on_frame(xport->config.data, from, bytes, nr);
}

static void env_on_bulk_ready(void *data, uint32_t to)
{
	struct xport *xport = data;

	if (xport->config.on_bulk_ready)
		xport->config.on_bulk_ready(xport->config.data, to);
}

static void env_on_certificate(void *data, const struct certificate *certificate)
{
	struct xport *xport = data;

	if (xport->config.on_certificate)
		xport->config.on_certificate(xport->config.data, certificate);
}

static void env_on_charter(void *data, const struct charter *charter)
{
	struct xport *xport = data;

	if (xport->config.on_charter)
		xport->config.on_charter(xport->config.data, charter);
}

static void env_on_renewed(void *data, const struct certificate *certificate)
{
	struct xport *xport = data;

	if (xport->config.on_renewed)
		xport->config.on_renewed(xport->config.data, certificate);
}

static const struct channels_env channels_env = {
	.random = env_random,
	.transmit = env_transmit,
	.wanted = env_wanted,
	.silent = env_silent,
	.frame_new = env_frame_new,
	.frame_free = env_frame_free,
	.push = env_push,
	.on_datagram = env_on_datagram,
	.on_frame = env_on_frame,
	.on_bulk_ready = env_on_bulk_ready,
	.on_certificate = env_on_certificate,
	.on_charter = env_on_charter,
	.on_renewed = env_on_renewed,
};

/* ---- Serving ----------------------------------------------------------------------------------------------------- */

static void serve_hellos(struct xport *xport)
{
	for (int i = 0; i < BATCH; i++) {
		struct pipe_key key;
		void *message;
		int nr = receive_raw(xport->respondent, &message, &key);

		if (nr == -EAGAIN)
			return;
		if (nr < 0) {
			xport->counters.socket_errors++;
			continue;
		}
		on_hello(xport, &key, message, (size_t)nr);
		nn_freemsg(message);
	}
}

static void serve_plane(struct xport *xport, int nn, int batch,
			void (*receive)(struct channels *channels, int64_t now, void *packet,
					size_t nr))
{
	for (int i = 0; i < batch; i++) {
		void *message;
		int nr = nn_recv(nn, &message, NN_MSG, NN_DONTWAIT);

		if (nr < 0) {
			if (nn_errno() != EAGAIN)
				xport->counters.socket_errors++;
			return;
		}
		receive(xport->channels, xport->now, message, (size_t)nr);
		nn_freemsg(message);
	}
}

static void sweep(struct xport *xport)
{
	xport->sweep_ms = xport->now + SWEEP_MS;
	for (size_t i = xport->nr_ways; i-- > 0;)
		if (xport->now - xport->ways[i]->used_ms > IDLE_MS)
			way_close(xport, i);
	for (size_t i = xport->nr_lanes; i-- > 0;) {
		struct lane *lane = &xport->lanes[i];

		if (lane->first ? xport->now - lane->moved_ms > STUCK_MS
				: xport->now - lane->used_ms > IDLE_MS)
			lane_close(xport, lane);
	}
}

void xport_serve(struct xport *xport, int64_t now)
{
	xport->now = now > xport->now ? now : xport->now;
	serve_hellos(xport);
	serve_plane(xport, xport->surveyor, BATCH, channels_receive);
	serve_plane(xport, xport->pull, FRAME_BATCH, channels_receive_frame);
	/* After what has come: it may say who stands at the door. */
	if (xport->now >= xport->look_ms)
		look_for_connections(xport);
	lanes_flush(xport);
	if (xport->now >= channels_next(xport->channels))
		channels_tick(xport->channels, xport->now);
	if (xport->now >= xport->sweep_ms)
		sweep(xport);
}

int64_t xport_next(const struct xport *xport)
{
	int64_t next = channels_next(xport->channels);

	return next < xport->look_ms ? next : xport->look_ms;
}

int xport_fd(const struct xport *xport)
{
	return xport->epoll;
}

/* ---- Sending ----------------------------------------------------------------------------------------------------- */

void xport_send(struct xport *xport, uint32_t to, const void *bytes, size_t nr)
{
	channels_send(xport->channels, to, bytes, nr);
}

void xport_send_seed(struct xport *xport, const char *address, const void *bytes, size_t nr)
{
	char canonical[ADDRESS_LEN];

	if (address_canonical(address, canonical) < 0)
		channels_counters(xport->channels)->no_route++;
	else
		channels_send_seed(xport->channels, canonical, bytes, nr);
}

int xport_bulk(struct xport *xport, uint32_t to, const void *bytes, size_t nr)
{
	return channels_bulk(xport->channels, to, bytes, nr);
}

int xport_peer(struct xport *xport, uint32_t host, const char *address)
{
	char canonical[ADDRESS_LEN];
	int r = address_canonical(address, canonical);

	return r < 0 ? r : channels_peer(xport->channels, host, canonical);
}

void xport_forget(struct xport *xport, uint32_t host)
{
	channels_forget(xport->channels, host);
}

int xport_identity(struct xport *xport, struct identity *identity)
{
	return channels_identity(xport->channels, identity);
}

int xport_charter(struct xport *xport, const void *bytes, size_t nr)
{
	return channels_charter(xport->channels, bytes, nr);
}

int xport_renew(struct xport *xport, const struct certificate *certificate)
{
	return channels_renew(xport->channels, certificate);
}

/* ---- For status -------------------------------------------------------------------------------------------------- */

const struct xport_counters *xport_counters(struct xport *xport)
{
	const struct channel_counters *counters = channels_counters(xport->channels);
	const struct door_counters *door = door_counters(xport->door);

#define COPY_COUNTER(name, help) xport->counters.name = counters->name;
	CHANNEL_COUNTERS(COPY_COUNTER)
#undef COPY_COUNTER
#define COPY_COUNTER(name, help) xport->counters.name = door->name;
	DOOR_COUNTERS(COPY_COUNTER)
#undef COPY_COUNTER
	return &xport->counters;
}

bool xport_session(const struct xport *xport, uint32_t host, struct xport_session *session)
{
	struct channel_info info;

	if (!channels_info(xport->channels, host, &info) || !info.open)
		return false;
	*session = (struct xport_session){
		.age_ms = info.age_ms, .heard_ms = info.heard_ms, .window = info.window};
	return true;
}

const struct certificate *xport_certificate(const struct xport *xport, uint32_t host)
{
	struct channel_info info;

	return channels_info(xport->channels, host, &info) ? info.certificate : NULL;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static int bind_plane(struct xport *xport, int *nn, int domain, int protocol, int longest,
		      unsigned int plane)
{
	char url[URL_LEN];
	int r = own_url(xport, plane, url);

	if (r < 0)
		return r;
	*nn = open_socket(xport, domain, protocol, longest);
	if (*nn < 0)
		return *nn;
	if (nn_bind(*nn, url) < 0)
		return -nn_errno();
	return watch(xport, get_option(*nn, NN_RCVFD));
}

static int open_door(struct xport *xport)
{
	char host[ADDRESS_LEN];
	unsigned int port;
	int r = address_split(xport->address, host, &port);

	if (r < 0)
		return r;
	xport->door = door_new(port, xport->config.files ? xport->config.files : FILES_USUAL);
	return xport->door ? 0 : -ENOMEM;
}

static int open_planes(struct xport *xport)
{
	int r = bind_plane(xport, &xport->surveyor, AF_SP_RAW, NN_SURVEYOR, DATAGRAM_SIZE, 0);

	if (r == 0)
		r = bind_plane(xport, &xport->pull, AF_SP, NN_PULL, FRAME_SIZE, 1);
	if (r < 0)
		return r;
	xport->respondent = open_socket(xport, AF_SP_RAW, NN_RESPONDENT, DATAGRAM_SIZE);
	if (xport->respondent < 0)
		return xport->respondent;
	return watch(xport, get_option(xport->respondent, NN_RCVFD));
}

int xport_open(const struct xport_config *config, int64_t now, struct xport **opened)
{
	struct xport *xport = calloc(1, sizeof(*xport));
	struct channels_config channels_config = {.identity = config->identity,
						  .life = config->life,
						  .rekey_ms = config->rekey_ms,
						  .rekey_messages = config->rekey_messages};
	struct channels_env env = channels_env;
	int r = -ENOMEM;

	if (xport)
		xport->ways = calloc(WAYS_MAX, sizeof(*xport->ways));
	if (!xport || !xport->ways) {
		identity_free(config->identity);
		free(xport);
		return -ENOMEM;
	}
	xport->config = *config;
	xport->epoll = xport->surveyor = xport->respondent = xport->pull = -1;
	xport->now = xport->look_ms = xport->door_ms = xport->hello_ms = now;
	xport->sweep_ms = now + SWEEP_MS;
	env.data = xport;
	r = address_canonical(config->address, xport->address);
	if (r < 0) {
		identity_free(config->identity);
	} else {
		channels_config.address = xport->address;
		xport->channels = channels_new(&channels_config, &env, now);
		r = xport->channels ? 0 : -ENOMEM;
	}
	if (r == 0) {
		xport->epoll = epoll_create1(EPOLL_CLOEXEC);
		r = xport->epoll < 0 ? -errno : open_door(xport);
	}
	if (r == 0)
		r = open_planes(xport);
	if (r < 0) {
		xport_close(xport);
		return r;
	}
	*opened = xport;
	return 0;
}

void xport_close(struct xport *xport)
{
	if (!xport)
		return;
	while (xport->nr_lanes)
		lane_close(xport, &xport->lanes[0]);
	close_socket(&xport->surveyor);
	close_socket(&xport->respondent);
	close_socket(&xport->pull);
	if (xport->epoll >= 0)
		close(xport->epoll);
	for (size_t i = 0; i < xport->nr_ways; i++)
		free(xport->ways[i]);
	free(xport->ways);
	door_free(xport->door);
	channels_free(xport->channels);
	free(xport);
}
