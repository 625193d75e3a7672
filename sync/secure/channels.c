// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include <util.h>

#include "sync/hostmap.h"
#include "sync/secure/channels.h"

#define SLOT_BITS 14 /* sessions and handshakes that are under way: three of each host, and room */
#define SLOTS	  (1U << SLOT_BITS)
#define SEEDS_MAX 64

#define QUEUE_MAX     8 /* datagrams that wait for a session, per host */
#define QUEUE_MS      2000
#define RETRY_MS      300 /* of a handshake, doubled from the third time on */
#define RETRY_MAX_MS  3000
#define WANTED_MS     10000 /* a handshake is tried as long as somebody wants to send */
#define ACK_MS	      500 /* what was received is acknowledged then, by what is sent or by itself */
#define SILENT_MS     2500 /* not acknowledged: the peer is gone, or has forgotten the session */
#define FRAME_ACK_MS  20
#define FRAME_ACK_NR  8 /* frames after which they are acknowledged at once */
#define FRAME_POLL_MS 1000
#define FRAME_LOST_MS 5000
#define GAP_MS	      50 /* a gap is told at most that often */
#define PUSH_MS	      20 /* the network takes no frames: asked again then */
#define SWEEP_MS      10000
#define SPREAD_MS     200 /* the version of a charter is told to SPREAD_NR hosts that often */
#define SPREAD_NR     8
#define TELL_AGAIN_MS 2000 /* to one host */

/* Handshakes that cost signatures: of hosts that are known each has its own share, all strangers have one. */
#define STRANGER_RATE  100 /* a second */
#define STRANGER_BURST 1000
#define HOST_RATE      2
#define HOST_BURST     8

#define REKEY_MESSAGES	(1ULL << 30)
#define EXPIRE_MESSAGES (1ULL << 32)

/* ---- Inside the seal --------------------------------------------------------------------------------------------- */

/* A datagram is: u8 kind, u32 low bits of the highest counter received, the rest. A frame is: u8 kind, u64 stream,
 * u32 sequence, the rest. Never renumber. */
enum kind {
	KIND_EMPTY = 0, /* only the acknowledgement */
	KIND_DATA = 1,	/* of the layer above */
	KIND_ASK = 2,	/* acknowledge at once */
	KIND_FRAMES_ACK =
		3, /* u64 stream, u32 sequence that is expected next, u8 whether one is missing */
	KIND_FRAMES_POLL = 4, /* u64 stream: tell what you expect */
	KIND_VERSION = 5,     /* u64 version of the charter */
	KIND_CHARTER = 6,
	KIND_CERTIFICATE = 7, /* of the receiver, renewed */
};

#define DATAGRAM_HEAD 5
#define FRAME_HEAD    13
#define CONTROL_MAX   1100

_Static_assert(SESSION_HEAD + DATAGRAM_HEAD + WIRE_DATAGRAM + SESSION_MAC <= CHANNEL_PACKET_MAX,
	       "a datagram fits");
_Static_assert(SESSION_HEAD + FRAME_HEAD + WIRE_FRAME + SESSION_MAC <= CHANNEL_FRAME_MAX,
	       "a frame fits");
_Static_assert(CHARTER_MAX <= WIRE_FRAME, "a charter fits a frame");

/* ---- State ------------------------------------------------------------------------------------------------------- */

struct bucket {
	int64_t filled_ms;
	uint32_t tokens; /* thousandths */
};

struct waiting {
	struct waiting *next;
	int64_t since_ms;
	size_t nr;
	uint8_t bytes[];
};

struct channel {
	uint32_t host; /* 0: a seed */
	char address[WIRE_TEXT_LEN];
	bool address_told; /* by the host itself, in a handshake */
	uint32_t life;
	uint64_t stamp;			 /* of its last handshake */
	uint64_t charter;		 /* version that it has */
	int64_t charter_told_ms;	 /* it was sent ours */
	struct certificate *certificate; /* NULL: never met */
	struct certificate *renewed;	 /* to be handed to it */
	struct bucket bucket;

	/* `next` is one that we answered and in which nothing came yet; we do not send in it. */
	struct session *current, *previous, *next;
	uint32_t next_life;
	char next_address
		[WIRE_TEXT_LEN]; /* as its handshake says: believed once the peer proves to be there */

	/* The handshake that we began. */
	struct handshake *handshake;
	uint32_t attempts;
	int64_t retry_ms;
	int64_t wanted_ms; /* somebody wanted to send, last */
	/* What we have said and could not send. */
	uint8_t *answer;
	size_t answer_nr;
	int64_t answer_ms;
	struct waiting *queue;
	size_t nr_queue;

	uint32_t to_answer;    /* low bits of the last counter in `current` that wants an answer */
	uint32_t acked;	       /* and of the one that the peer has acknowledged */
	int64_t unanswered_ms; /* what is not acknowledged was sent then; INT64_MAX: all is */
	int64_t ask_ms;
	int64_t ack_ms; /* when to acknowledge */
	int64_t heard_ms;

	/* Frames to the peer. */
	uint64_t stream;
	uint32_t sequence;
	uint32_t frames_acked;
	int64_t progress_ms;
	int64_t poll_ms;
	bool bulk_wanted; /* somebody was told -EAGAIN */
	bool charter_due;
	/* Frames from the peer. */
	uint64_t reading;
	uint32_t expected;
	uint32_t unacked_frames;
	int64_t frames_ack_ms;
	int64_t gap_ms;

	int64_t next_ms;
};

struct slot {
	struct channel *channel;
	struct session *session; /* NULL: a handshake that we began */
	uint32_t index;		 /* 0: free */
};

struct channels {
	struct identity *identity;
	uint32_t life;
	uint32_t stamps;
	uint32_t streams;
	char address[WIRE_TEXT_LEN];
	int64_t rekey_ms;
	uint64_t rekey_messages;
	struct channels_env env;
	struct gate gate;
	struct channel_counters counters;
	struct hostmap map;
	struct channel *seeds[SEEDS_MAX];
	uint32_t seed_hosts[SEEDS_MAX]; /* who was there */
	size_t nr_seeds;
	struct slot *slots;
	struct bucket strangers;
	size_t spread; /* whom to tell the charter's version next */
	int64_t spread_ms;
	int64_t sweep_ms;
	int64_t now;
	int64_t next_ms;
	uint8_t packet[CHANNEL_PACKET_MAX];
};

#define NEVER INT64_MAX

static void wake(struct channels *channels, struct channel *channel, int64_t at)
{
	if (at < channel->next_ms)
		channel->next_ms = at;
	if (at < channels->next_ms)
		channels->next_ms = at;
}

static int64_t sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static struct randomness randomness(const struct channels *channels)
{
	return (struct randomness){channels->env.data, channels->env.random};
}

static struct handshake_self self_of(const struct channels *channels)
{
	return (struct handshake_self){channels->identity, channels->life, channels->address};
}

/* Takes one out of a bucket that fills with `rate` a second up to `burst`. */
static bool bucket_take(struct bucket *bucket, int64_t now, uint32_t rate, uint32_t burst)
{
	int64_t more = (now - bucket->filled_ms) * rate;

	if (more > 0) {
		bucket->tokens = more + bucket->tokens < burst * 1000LL
					 ? bucket->tokens + (uint32_t)more
					 : burst * 1000;
		bucket->filled_ms = now;
	}
	if (bucket->tokens < 1000)
		return false;
	bucket->tokens -= 1000;
	return true;
}

/* ---- Slots: who an index stands for ------------------------------------------------------------------------------ */

/* The high bits are random: an old index of the slot means nothing. 0: all are taken. */
static uint32_t slot_take(struct channels *channels, struct channel *channel,
			  struct session *session)
{
	uint32_t random;

	channels->env.random(channels->env.data, &random, sizeof(random));
	for (uint32_t i = 0; i < SLOTS; i++) {
		uint32_t index = (random & ~(SLOTS - 1)) | ((random + i) & (SLOTS - 1));
		struct slot *slot = &channels->slots[index & (SLOTS - 1)];

		if (slot->index || !index)
			continue;
		*slot = (struct slot){channel, session, index};
		return index;
	}
	return 0;
}

static struct slot *slot_find(const struct channels *channels, uint32_t index)
{
	struct slot *slot = &channels->slots[index & (SLOTS - 1)];

	return index && slot->index == index ? slot : NULL;
}

static void slot_free(struct channels *channels, uint32_t index)
{
	struct slot *slot = slot_find(channels, index);

	if (slot)
		*slot = (struct slot){};
}

/* ---- Channels: made and ended ------------------------------------------------------------------------------------ */

static void drop_session(struct channels *channels, struct session **session)
{
	if (!*session)
		return;
	slot_free(channels, (*session)->ours);
	sodium_memzero(*session, sizeof(**session));
	free(*session);
	*session = NULL;
}

static void drop_handshake(struct channels *channels, struct channel *channel)
{
	if (!channel->handshake)
		return;
	slot_free(channels, channel->handshake->index);
	sodium_memzero(channel->handshake, sizeof(*channel->handshake));
	free(channel->handshake);
	channel->handshake = NULL;
	channel->retry_ms = NEVER;
}

static void drop_queue(struct channel *channel)
{
	while (channel->queue) {
		struct waiting *first = channel->queue;

		channel->queue = first->next;
		free(first);
	}
	channel->nr_queue = 0;
}

static void drop_answer(struct channel *channel)
{
	free(channel->answer);
	channel->answer = NULL;
}

/* All that another host could use. What we know of it (stamp, certificate) stays: a replay is told by that. */
static void close_channel(struct channels *channels, struct channel *channel)
{
	drop_session(channels, &channel->current);
	drop_session(channels, &channel->previous);
	drop_session(channels, &channel->next);
	drop_handshake(channels, channel);
	drop_queue(channel);
	drop_answer(channel);
	channel->unanswered_ms = channel->ack_ms = channel->frames_ack_ms = NEVER;
}

static void free_channel(struct channels *channels, struct channel *channel)
{
	close_channel(channels, channel);
	free(channel->certificate);
	free(channel->renewed);
	free(channel);
}

static struct channel *new_channel(struct channels *channels, uint32_t host, const char *address)
{
	struct channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		return NULL;
	channel->host = host;
	strncpy(channel->address, address, sizeof(channel->address) - 1);
	channel->retry_ms = channel->unanswered_ms = channel->ack_ms = channel->frames_ack_ms =
		NEVER;
	channel->poll_ms = NEVER;
	channel->wanted_ms = channel->gap_ms = channel->charter_told_ms = INT64_MIN / 2;
	channel->bucket.tokens = HOST_BURST * 1000;
	channel->bucket.filled_ms = channels->now;
	channel->next_ms = NEVER;
	return channel;
}

/* NULL: no room or memory, counted. */
static struct channel *get_channel(struct channels *channels, uint32_t host)
{
	struct channel *channel = hostmap_find(&channels->map, host);

	if (channel)
		return channel;
	if (channels->map.nr >= CHANNELS_MAX) {
		channels->counters.no_room++;
		return NULL;
	}
	channel = new_channel(channels, host, "");
	if (channel && hostmap_insert(&channels->map, host, channel) < 0) {
		free(channel);
		channel = NULL;
	}
	if (!channel)
		channels->counters.no_memory++;
	return channel;
}

/* ---- Sending ----------------------------------------------------------------------------------------------------- */

static bool outlived(const struct channels *channels, const struct session *session)
{
	int64_t expire_ms = channels->rekey_ms / 2 * 3;

	return channels->now - session->made_ms > expire_ms ||
	       session->sent[PLANE_DATAGRAM] >= EXPIRE_MESSAGES ||
	       session->sent[PLANE_BULK] >= EXPIRE_MESSAGES;
}

/* The side that began a session makes it anew; the other one only if that does not happen. */
static bool wants_new_keys(const struct channels *channels, const struct session *session)
{
	int64_t late_ms = session->begun_here ? 0 : channels->rekey_ms / 10;
	uint64_t late_nr = session->begun_here ? 0 : channels->rekey_messages / 10;

	return channels->now - session->made_ms > channels->rekey_ms + late_ms ||
	       session->sent[PLANE_DATAGRAM] > channels->rekey_messages + late_nr ||
	       session->sent[PLANE_BULK] > channels->rekey_messages + late_nr;
}

static void begin(struct channels *channels, struct channel *channel);

/* The session to send in, or NULL; begins a handshake where one is needed. */
static struct session *sending_session(struct channels *channels, struct channel *channel)
{
	channel->wanted_ms = channels->now;
	if (channel->current && outlived(channels, channel->current))
		drop_session(channels, &channel->current);
	if (!channel->current || wants_new_keys(channels, channel->current))
		begin(channels, channel);
	return channel->current;
}

static void expect_answer(struct channels *channels, struct channel *channel)
{
	channel->unanswered_ms = channels->now;
	channel->ask_ms = channels->now + SILENT_MS / 2;
	wake(channels, channel, channel->ask_ms);
}

static void send_in(struct channels *channels, struct channel *channel, struct session *session,
		    enum kind kind, const void *bytes, size_t nr)
{
	uint8_t *packet = channels->packet;
	struct writer writer;
	size_t length;

	writer_init(&writer, packet + SESSION_HEAD,
		    CHANNEL_PACKET_MAX - SESSION_HEAD - SESSION_MAC);
	put_u8(&writer, (uint8_t)kind);
	put_u32(&writer, (uint32_t)session->highest[PLANE_DATAGRAM]);
	put_bytes(&writer, bytes, nr);
	length = session_seal(session, PLANE_DATAGRAM, packet, writer_used(&writer));
	channels->counters.datagrams_sent++;
	channel->ack_ms = NEVER;
	/* An acknowledgement alone is not worth one. */
	if (kind != KIND_EMPTY) {
		channel->to_answer = (uint32_t)session->sent[PLANE_DATAGRAM];
		if (channel->unanswered_ms == NEVER)
			expect_answer(channels, channel);
	}
	channels->env.transmit(channels->env.data, channel->address, packet, length);
}

static void queue(struct channels *channels, struct channel *channel, const void *bytes, size_t nr)
{
	struct waiting **at = &channel->queue, *waiting;

	if (channel->nr_queue >= QUEUE_MAX) {
		/* The oldest goes: what comes now says what is true now. */
		waiting = channel->queue;
		channel->queue = waiting->next;
		channel->nr_queue--;
		free(waiting);
		channels->counters.no_room++;
	}
	waiting = malloc(sizeof(*waiting) + nr);
	if (!waiting) {
		channels->counters.no_memory++;
		return;
	}
	waiting->next = NULL;
	waiting->since_ms = channels->now;
	waiting->nr = nr;
	memcpy(waiting->bytes, bytes, nr);
	while (*at)
		at = &(*at)->next;
	*at = waiting;
	channel->nr_queue++;
}

static void flush_queue(struct channels *channels, struct channel *channel)
{
	struct waiting *first = channel->queue;

	channel->queue = NULL;
	channel->nr_queue = 0;
	while (first) {
		struct waiting *next = first->next;

		if (channels->now - first->since_ms <= QUEUE_MS)
			send_in(channels, channel, channel->current, KIND_DATA, first->bytes,
				first->nr);
		free(first);
		first = next;
	}
}

static void send_or_queue(struct channels *channels, struct channel *channel, const void *bytes,
			  size_t nr)
{
	struct session *session;

	if (!channel->address[0]) {
		channels->counters.no_route++;
		return;
	}
	session = sending_session(channels, channel);
	if (session)
		send_in(channels, channel, session, KIND_DATA, bytes, nr);
	else
		queue(channels, channel, bytes, nr);
}

void channels_send(struct channels *channels, uint32_t to, const void *bytes, size_t nr)
{
	struct channel *channel = hostmap_find(&channels->map, to);

	if (nr > WIRE_DATAGRAM)
		channels->counters.oversized++;
	else if (!channel)
		channels->counters.no_route++;
	else
		send_or_queue(channels, channel, bytes, nr);
}

/* ---- Frames ------------------------------------------------------------------------------------------------------ */

static uint32_t under_way(const struct channel *channel)
{
	return channel->sequence - channel->frames_acked;
}

/* The stream is over: what the peer did not acknowledge is lost, and it will know. */
static void new_stream(struct channels *channels, struct channel *channel)
{
	channels->counters.frames_lost += under_way(channel);
	channel->stream = (uint64_t)channels->life << 32 | ++channels->streams;
	channel->sequence = channel->frames_acked = 0;
	channel->poll_ms = NEVER;
}

static void frame_sent(struct channels *channels, struct channel *channel)
{
	channels->counters.frames_sent++;
	if (under_way(channel) == 0)
		channel->progress_ms = channels->now;
	channel->sequence++;
	if (channel->poll_ms == NEVER) {
		channel->poll_ms = channels->now + FRAME_POLL_MS;
		wake(channels, channel, channel->poll_ms);
	}
}

static int send_frame(struct channels *channels, struct channel *channel, enum kind kind,
		      const void *bytes, size_t nr)
{
	struct session *session;
	struct writer writer;
	uint8_t *frame;
	size_t length;

	if (!channel->address[0])
		return -EHOSTUNREACH;
	session = sending_session(channels, channel);
	if (!session || under_way(channel) >= CHANNEL_WINDOW)
		return -EAGAIN;
	if (!channel->stream)
		new_stream(channels, channel);
	frame = channels->env.frame_new(channels->env.data,
					SESSION_HEAD + FRAME_HEAD + nr + SESSION_MAC);
	if (!frame)
		return -ENOMEM;
	writer_init(&writer, frame + SESSION_HEAD, FRAME_HEAD + nr);
	put_u8(&writer, (uint8_t)kind);
	put_u64(&writer, channel->stream);
	put_u32(&writer, channel->sequence);
	put_bytes(&writer, bytes, nr);
	length = session_seal(session, PLANE_BULK, frame, writer_used(&writer));
	if (!channels->env.push(channels->env.data, channel->address, frame, length))
		return -EAGAIN;
	frame_sent(channels, channel);
	return 0;
}

int channels_bulk(struct channels *channels, uint32_t to, const void *bytes, size_t nr)
{
	struct channel *channel = hostmap_find(&channels->map, to);
	int r;

	if (nr > WIRE_FRAME)
		return -EMSGSIZE;
	if (!channel)
		return -EHOSTUNREACH;
	r = send_frame(channels, channel, KIND_DATA, bytes, nr);
	if (r == -EAGAIN) {
		channel->bulk_wanted = true;
		wake(channels, channel, channels->now + PUSH_MS);
	}
	return r;
}

static void bulk_ready(struct channels *channels, struct channel *channel)
{
	if (!channel->bulk_wanted || under_way(channel) >= CHANNEL_WINDOW || !channel->current)
		return;
	channel->bulk_wanted = false;
	channels->env.on_bulk_ready(channels->env.data, channel->host);
}

static void send_frames_ack(struct channels *channels, struct channel *channel, bool gap)
{
	struct writer writer;
	uint8_t bytes[16];

	channel->frames_ack_ms = NEVER;
	channel->unacked_frames = 0;
	if (!channel->current)
		return;
	writer_init(&writer, bytes, sizeof(bytes));
	put_u64(&writer, channel->reading);
	put_u32(&writer, channel->expected);
	put_u8(&writer, gap);
	send_in(channels, channel, channel->current, KIND_FRAMES_ACK, bytes, writer_used(&writer));
}

static void on_frames_ack(struct channels *channels, struct channel *channel, struct reader *reader)
{
	uint32_t expected;
	uint64_t stream;
	uint8_t gap;

	get_u64(reader, &stream);
	get_u32(reader, &expected);
	get_u8(reader, &gap);
	if (reader->bad) {
		channels->counters.malformed++;
		return;
	}
	/* What the peer missed of a stream that is over already is no news. */
	if (!channel->stream || (stream != channel->stream && !(gap && stream < channel->stream)))
		return;
	if (stream != channel->stream) {
		/* It never saw this one begin. */
		if (under_way(channel))
			new_stream(channels, channel);
	} else if (expected - channel->frames_acked <= under_way(channel)) {
		if (expected != channel->frames_acked)
			channel->progress_ms = channels->now;
		channel->frames_acked = expected;
		if (gap && under_way(channel))
			new_stream(channels, channel);
	}
	if (!under_way(channel))
		channel->poll_ms = NEVER;
	bulk_ready(channels, channel);
}

static void tell_gap(struct channels *channels, struct channel *channel)
{
	channels->counters.frames_out_of_order++;
	if (channels->now - channel->gap_ms < GAP_MS)
		return;
	channel->gap_ms = channels->now;
	send_frames_ack(channels, channel, true);
}

/* Whether the frame is the next one. A stream begins with its frame 0. */
static bool in_order(struct channels *channels, struct channel *channel, uint64_t stream,
		     uint32_t sequence)
{
	if (stream > channel->reading && sequence == 0) {
		channel->reading = stream;
		channel->expected = 0;
	}
	if (stream != channel->reading || sequence != channel->expected) {
		tell_gap(channels, channel);
		return false;
	}
	channel->expected++;
	channel->unacked_frames++;
	if (channel->unacked_frames >= FRAME_ACK_NR) {
		send_frames_ack(channels, channel, false);
	} else if (channel->frames_ack_ms == NEVER) {
		channel->frames_ack_ms = channels->now + FRAME_ACK_MS;
		wake(channels, channel, channel->frames_ack_ms);
	}
	return true;
}

static void poll_frames(struct channels *channels, struct channel *channel)
{
	if (!under_way(channel)) {
		channel->poll_ms = NEVER;
		return;
	}
	if (channels->now - channel->progress_ms >= FRAME_LOST_MS) {
		new_stream(channels, channel);
		bulk_ready(channels, channel);
		return;
	}
	channel->poll_ms = channels->now + FRAME_POLL_MS;
	if (channel->current)
		send_in(channels, channel, channel->current, KIND_FRAMES_POLL, &channel->stream,
			sizeof(channel->stream));
}

/* ---- Charter and certificates ------------------------------------------------------------------------------------ */

static void send_charter(struct channels *channels, struct channel *channel)
{
	const struct charter *charter = &channels->identity->charter;
	int r = 0;

	channel->charter_due = false;
	if (!channel->current || channel->charter >= charter->version ||
	    channels->now - channel->charter_told_ms < TELL_AGAIN_MS)
		return;
	channel->charter_told_ms = channels->now;
	if (charter->nr <= CONTROL_MAX)
		send_in(channels, channel, channel->current, KIND_CHARTER, charter->bytes,
			charter->nr);
	else
		r = send_frame(channels, channel, KIND_CHARTER, charter->bytes, charter->nr);
	if (r == -EAGAIN) {
		channel->charter_due = true;
		channel->charter_told_ms = INT64_MIN / 2;
		wake(channels, channel, channels->now + FRAME_POLL_MS);
	}
}

static void send_version(struct channels *channels, struct channel *channel)
{
	uint64_t version = channels->identity->charter.version;

	send_in(channels, channel, channel->current, KIND_VERSION, &version, sizeof(version));
}

/* The session is new, or new keys: tells what the peer is behind in. */
static void catch_up(struct channels *channels, struct channel *channel)
{
	send_charter(channels, channel);
	if (!channel->renewed)
		return;
	if (channel->certificate->serial >= channel->renewed->serial) {
		free(channel->renewed);
		channel->renewed = NULL;
	} else if (channel->current) {
		send_in(channels, channel, channel->current, KIND_CERTIFICATE,
			channel->renewed->bytes, channel->renewed->nr);
	}
}

static bool admitted(const struct channels *channels, const struct channel *channel)
{
	return channel->certificate &&
	       charter_admits(&channels->identity->charter, channel->certificate) == 0;
}

/* Who is not a member any more is cut off at once; the others are told. */
static void follow_charter(struct channels *channels)
{
	for (size_t i = 0; i < channels->map.nr; i++) {
		struct channel *channel = channels->map.things[i];

		if (channel->certificate && !admitted(channels, channel))
			close_channel(channels, channel);
	}
	channels->spread_ms = channels->now;
	channels->next_ms = sooner(channels->next_ms, channels->spread_ms);
}

/* `charter` is opened and is freed. */
static int take_charter(struct channels *channels, const struct charter *charter)
{
	int r = charter_follows(&channels->identity->charter, charter);

	if (r == 0) {
		channels->identity->charter = *charter;
		channels->counters.charters_followed++;
		follow_charter(channels);
	} else if (r != -ESTALE) {
		channels->counters.charters_refused++;
	}
	return r;
}

static void on_charter(struct channels *channels, struct channel *channel, struct reader *reader)
{
	_cleanup_free_ struct charter *charter = malloc(sizeof(*charter));
	int r;

	if (!charter) {
		channels->counters.no_memory++;
		return;
	}
	r = charter_open(charter, reader->at, reader_left(reader));
	if (r < 0) {
		channels->counters.charters_refused++;
		return;
	}
	r = take_charter(channels, charter);
	if ((r == 0 || r == -ESTALE) && charter->version > channel->charter)
		channel->charter = charter->version;
	if (r == 0)
		channels->env.on_charter(channels->env.data, charter);
	/* Says that it came. It may have cut off the one who brought it. */
	if (channel->current)
		send_version(channels, channel);
}

static void on_version(struct channels *channels, struct channel *channel, struct reader *reader)
{
	uint64_t version;

	get_u64(reader, &version);
	if (reader->bad) {
		channels->counters.malformed++;
		return;
	}
	channel->charter = version;
	if (version < channels->identity->charter.version)
		send_charter(channels, channel);
	else if (version > channels->identity->charter.version && channel->current)
		send_version(channels, channel);
}

/* A rumour: told to a few at a time, until everybody is known to know it. */
static void spread_charter(struct channels *channels)
{
	uint64_t version = channels->identity->charter.version;
	size_t told = 0, left = 0, last = 0;

	for (size_t i = 0; i < channels->map.nr; i++) {
		struct channel *channel =
			channels->map.things[(channels->spread + i) % channels->map.nr];

		if (!channel->current || channel->charter >= version)
			continue;
		left++;
		if (told == SPREAD_NR || channels->now - channel->charter_told_ms < TELL_AGAIN_MS)
			continue;
		send_charter(channels, channel);
		last = i;
		told++;
	}
	if (channels->map.nr)
		channels->spread = (channels->spread + last + 1) % channels->map.nr;
	channels->spread_ms = left ? channels->now + SPREAD_MS : NEVER;
}

/* By new handshakes the others learn of a new certificate. */
static void renew_sessions(struct channels *channels)
{
	for (size_t i = 0; i < channels->map.nr; i++) {
		struct channel *channel = channels->map.things[i];

		if (!channel->current)
			continue;
		channel->wanted_ms = channels->now;
		begin(channels, channel);
	}
}

/* Ours, by a CA key that we trust, for the key that we have. */
static void on_certificate(struct channels *channels, struct reader *reader)
{
	struct certificate *own = &channels->identity->certificate, renewed;

	if (certificate_open(&renewed, reader->at, reader_left(reader)) < 0 ||
	    renewed.host != own->host || !public_key_equal(&renewed.key, &own->key) ||
	    charter_admits(&channels->identity->charter, &renewed) < 0) {
		channels->counters.renewals_refused++;
		return;
	}
	if (renewed.serial <= own->serial)
		return;
	*own = renewed;
	channels->env.on_renewed(channels->env.data, own);
	renew_sessions(channels);
}

/* Who has proven to be a member, but follows an old charter, might not know the CA key by which we have proven it. The
 * charter proves itself. */
static void offer_charter(struct channels *channels, const char *address)
{
	const struct charter *charter = &channels->identity->charter;
	const size_t head = GATE_BYTES - SESSION_MAC;
	uint8_t *packet = channels->packet;
	size_t nr;

	if (charter->nr > CONTROL_MAX) {
		packet = channels->env.frame_new(channels->env.data, charter->nr + GATE_BYTES);
		if (!packet) {
			channels->counters.no_memory++;
			return;
		}
	}
	memcpy(packet + head, charter->bytes, charter->nr);
	nr = channels_gate_seal(channels, SECURE_CHARTER, packet, charter->nr);
	if (packet != channels->packet)
		channels->env.push(channels->env.data, address, packet, nr);
	else
		channels->env.transmit(channels->env.data, address, packet, nr);
}

/* The gate is no proof of anything: what it costs is bounded. */
static void on_offered_charter(struct channels *channels, struct reader *plain)
{
	_cleanup_free_ struct charter *charter = NULL;

	if (!bucket_take(&channels->strangers, channels->now, STRANGER_RATE, STRANGER_BURST)) {
		channels->counters.flooded++;
		return;
	}
	charter = malloc(sizeof(*charter));
	if (!charter)
		channels->counters.no_memory++;
	else if (charter_open(charter, plain->at, reader_left(plain)) < 0)
		channels->counters.charters_refused++;
	else if (take_charter(channels, charter) == 0)
		channels->env.on_charter(channels->env.data, charter);
}

/* ---- Handshakes -------------------------------------------------------------------------------------------------- */

static void transmit_handshake(struct channels *channels, struct channel *channel)
{
	const struct randomness random = randomness(channels);
	const struct handshake_self self = self_of(channels);
	uint64_t stamp = (uint64_t)channels->life << 32 | ++channels->stamps;
	uint8_t packet[HANDSHAKE_MAX];
	size_t nr;

	/* Each attempt is a handshake of its own: an answer to a former one finds nobody who asked. */
	slot_free(channels, channel->handshake->index);
	channel->handshake->index = slot_take(channels, channel, NULL);
	if (!channel->handshake->index) {
		channels->counters.no_room++;
		return;
	}
	nr = handshake_begin(channel->handshake, &channels->gate, &random, &self, channel->host,
			     stamp, packet);
	channels->counters.handshakes_begun++;
	channels->env.transmit(channels->env.data, channel->address, packet, nr);
}

static void try_handshake(struct channels *channels, struct channel *channel)
{
	uint32_t doubled = channel->attempts > 2 ? channel->attempts - 2 : 0;
	int64_t pause = RETRY_MS << (doubled < 8 ? doubled : 8);

	/* Somebody else may listen there by now, or tell that he does. */
	if (channel->attempts >= 2)
		channels->env.silent(channels->env.data, channel->address);
	channel->attempts++;
	channel->retry_ms = channels->now + (pause < RETRY_MAX_MS ? pause : RETRY_MAX_MS);
	wake(channels, channel, channel->retry_ms);
	channels->env.wanted(channels->env.data, channel->address);
	transmit_handshake(channels, channel);
}

static void begin(struct channels *channels, struct channel *channel)
{
	if (channel->handshake || !channel->address[0] ||
	    strcmp(channel->address, channels->address) == 0)
		return;
	if (channel->host && charter_bans(&channels->identity->charter, channel->host))
		return;
	channel->handshake = calloc(1, sizeof(*channel->handshake));
	if (!channel->handshake) {
		channels->counters.no_memory++;
		return;
	}
	channel->attempts = 0;
	try_handshake(channels, channel);
}

static void retry_handshake(struct channels *channels, struct channel *channel)
{
	if (channels->now - channel->wanted_ms > WANTED_MS)
		drop_handshake(channels, channel);
	else
		try_handshake(channels, channel);
}

static void learn_certificate(struct channels *channels, struct channel *channel,
			      const struct certificate *certificate)
{
	if (channel->certificate && channel->certificate->nr == certificate->nr &&
	    memcmp(channel->certificate->bytes, certificate->bytes, certificate->nr) == 0)
		return;
	if (!channel->certificate)
		channel->certificate = malloc(sizeof(*certificate));
	if (!channel->certificate) {
		channels->counters.no_memory++;
		return;
	}
	*channel->certificate = *certificate;
	channels->env.on_certificate(channels->env.data, certificate);
}

static void learn_address(struct channel *channel, const char *address)
{
	snprintf(channel->address, sizeof(channel->address), "%s", address);
	channel->address_told = true;
}

/* A session is in use from now on; the former one only receives. */
static void use_session(struct channels *channels, struct channel *channel, struct session *session,
			uint32_t life)
{
	bool restarted = life != channel->life;

	drop_session(channels, &channel->previous);
	channel->previous = channel->current;
	channel->current = session;
	if (restarted) {
		/* It has forgotten the sessions and streams of its former life. */
		drop_session(channels, &channel->previous);
		if (under_way(channel) || channel->stream)
			new_stream(channels, channel);
		channel->life = life;
	}
	channels->counters.sessions++;
	channel->attempts = 0;
	channel->acked = channel->to_answer = 0;
	channel->unanswered_ms = NEVER;
	channel->heard_ms = channels->now;
	flush_queue(channels, channel);
	catch_up(channels, channel);
	/* Those who wait to send a frame are told from the tick: here a message is still being taken apart. */
	wake(channels, channel, channels->now);
}

static void refuse(struct channels *channels, int r)
{
	struct channel_counters *counters = &channels->counters;

	switch (-r) {
	case EKEYREVOKED:
		counters->revoked++;
		break;
	case EBADE:
		counters->bad_signature++;
		break;
	case EXDEV:
		counters->wrong_cluster++;
		break;
	case EKEYREJECTED:
		counters->bad_certificate++;
		break;
	case EBADMSG:
		counters->malformed++;
		break;
	}
}

/* Of a host's certificates the one with the higher serial holds. */
static int check_certificate(const struct channels *channels, const struct channel *channel,
			     const struct certificate *certificate)
{
	int r = charter_admits(&channels->identity->charter, certificate);

	if (r == 0 && channel && channel->certificate &&
	    certificate->serial < channel->certificate->serial)
		r = -EKEYREVOKED;
	return r;
}

/* What can be told without a signature, and how many of them are looked at. */
static bool worth_verifying(struct channels *channels, struct channel *channel,
			    const struct handshake_offer *offer)
{
	uint32_t self = channels->identity->certificate.host;
	struct bucket *bucket = channel ? &channel->bucket : &channels->strangers;
	int r = check_certificate(channels, channel, &offer->certificate);

	if (r < 0) {
		refuse(channels, r);
		return false;
	}
	if (offer->certificate.host == self || (offer->target && offer->target != self)) {
		channels->counters.misdirected++;
		return false;
	}
	/* A host that lost its disk begins to count anew, with a new certificate. */
	if (channel && offer->stamp <= channel->stamp &&
	    !(channel->certificate && offer->certificate.serial > channel->certificate->serial)) {
		channels->counters.stale_handshakes++;
		return false;
	}
	if (!bucket_take(bucket, channels->now, channel ? HOST_RATE : STRANGER_RATE,
			 channel ? HOST_BURST : STRANGER_BURST)) {
		channels->counters.flooded++;
		return false;
	}
	return true;
}

static void send_answer(struct channels *channels, struct channel *channel)
{
	if (channels->now - channel->answer_ms > QUEUE_MS ||
	    channels->env.transmit(channels->env.data, channel->next_address, channel->answer,
				   channel->answer_nr))
		drop_answer(channel);
}

static void answer(struct channels *channels, struct channel *channel,
		   const struct handshake_offer *offer)
{
	const struct randomness random = randomness(channels);
	const struct handshake_self self = self_of(channels);
	struct session *session = calloc(1, sizeof(*session));
	int r = -ENOMEM;

	drop_session(channels, &channel->next);
	drop_answer(channel);
	channel->answer = malloc(HANDSHAKE_MAX);
	if (session && channel->answer)
		session->ours = slot_take(channels, channel, session);
	if (session && session->ours)
		r = handshake_reply(offer, &channels->gate, &random, &self, session,
				    channel->answer);
	if (r < 0) {
		refuse(channels, r);
		channels->counters.no_room += r == -ENOMEM;
		drop_session(channels, &session);
		drop_answer(channel);
		return;
	}
	session->made_ms = channels->now;
	channel->next = session;
	channel->next_life = (uint32_t)(offer->stamp >> 32);
	channel->answer_nr = (size_t)r;
	channel->answer_ms = channels->now;
	channels->env.wanted(channels->env.data, channel->next_address);
	if (offer->charter < channels->identity->charter.version)
		offer_charter(channels, channel->next_address);
	send_answer(channels, channel);
}

static void on_offer(struct channels *channels, struct reader *plain)
{
	struct handshake_offer offer;
	struct channel *channel;
	int r;

	if (handshake_read(&offer, &channels->gate, plain) < 0) {
		channels->counters.malformed++;
		return;
	}
	channel = hostmap_find(&channels->map, offer.certificate.host);
	if (!worth_verifying(channels, channel, &offer))
		return;
	r = handshake_verify(&offer, channel ? channel->certificate : NULL);
	if (r < 0) {
		refuse(channels, r);
		return;
	}
	channel = get_channel(channels, offer.certificate.host);
	if (!channel)
		return;
	channel->stamp = offer.stamp;
	channel->charter = offer.charter;
	learn_certificate(channels, channel, &offer.certificate);
	memcpy(channel->next_address, offer.address, sizeof(offer.address));
	if (!channel->address[0])
		learn_address(channel, offer.address);
	answer(channels, channel, &offer);
}

/* The channel of the host that answered; a seed is known by its address only until then. */
static struct channel *who_answered(struct channels *channels, struct channel *asked,
				    const struct certificate *certificate)
{
	if (certificate->host == channels->identity->certificate.host ||
	    (asked->host && asked->host != certificate->host)) {
		channels->counters.misdirected++;
		return NULL;
	}
	if (asked->host)
		return asked;
	for (size_t i = 0; i < channels->nr_seeds; i++)
		if (channels->seeds[i] == asked)
			channels->seed_hosts[i] = certificate->host;
	return get_channel(channels, certificate->host);
}

static void hand_over_queue(struct channel *from, struct channel *to)
{
	struct waiting **at = &to->queue;

	if (from == to)
		return;
	while (*at)
		at = &(*at)->next;
	*at = TAKE_PTR(from->queue);
	to->nr_queue += from->nr_queue;
	from->nr_queue = 0;
}

static void on_answer(struct channels *channels, struct reader *plain)
{
	struct session *session = NULL;
	struct handshake_answer said;
	struct channel *asked, *channel;
	struct slot *slot;
	uint32_t index;
	int r;

	if (handshake_answer_index(plain, &index) < 0) {
		channels->counters.malformed++;
		return;
	}
	slot = slot_find(channels, index);
	if (!slot || slot->session || !slot->channel->handshake) {
		channels->counters.unasked++;
		return;
	}
	asked = slot->channel;
	session = calloc(1, sizeof(*session));
	if (!session) {
		channels->counters.no_memory++;
		return;
	}
	r = handshake_finish(asked->handshake, &channels->gate, plain, session, &said);
	if (r == 0)
		r = check_certificate(channels, hostmap_find(&channels->map, said.certificate.host),
				      &said.certificate);
	channel = r == 0 ? who_answered(channels, asked, &said.certificate) : NULL;
	if (!channel) {
		/* Of no use, and perhaps not of whom we asked: the true answer may still come. */
		if (r == -EBADMSG)
			channels->counters.forged++;
		else
			refuse(channels, r);
		free(session);
		return;
	}
	/* The peer writes that index on what it sends. */
	*slot = (struct slot){channel, session, session->ours};
	asked->handshake->index = 0;
	drop_handshake(channels, asked);
	session->made_ms = channels->now;
	channel->charter = said.charter;
	learn_certificate(channels, channel, &said.certificate);
	learn_address(channel, said.address);
	hand_over_queue(asked, channel);
	use_session(channels, channel, session, said.life);
	/* The peer waits for a sign that we are here. */
	send_in(channels, channel, session, KIND_ASK, NULL, 0);
}

/* ---- Receiving --------------------------------------------------------------------------------------------------- */

/* The peer has what we sent up to there. */
static void on_acked(struct channels *channels, struct channel *channel,
		     const struct session *session, uint32_t seen)
{
	channel->heard_ms = channels->now;
	if (session != channel->current || seen == channel->acked)
		return;
	channel->acked = seen;
	if ((int32_t)(seen - channel->to_answer) >= 0)
		channel->unanswered_ms = NEVER;
	else
		expect_answer(channels, channel);
}

static void receive_in(struct channels *channels, struct channel *channel, struct session *session,
		       struct reader *reader)
{
	uint32_t seen;
	uint8_t kind;

	get_u8(reader, &kind);
	get_u32(reader, &seen);
	if (reader->bad) {
		channels->counters.malformed++;
		return;
	}
	on_acked(channels, channel, session, seen);
	channels->counters.datagrams_received++;
	if (kind != KIND_EMPTY && channel->ack_ms == NEVER) {
		channel->ack_ms = channels->now + (kind == KIND_ASK ? 0 : ACK_MS);
		wake(channels, channel, channel->ack_ms);
	}
	switch (kind) {
	case KIND_EMPTY:
		break;
	case KIND_DATA:
		channels->env.on_datagram(channels->env.data, channel->host, reader->at,
					  reader_left(reader));
		break;
	case KIND_ASK:
		if (channel->current)
			send_in(channels, channel, channel->current, KIND_EMPTY, NULL, 0);
		break;
	case KIND_FRAMES_ACK:
		on_frames_ack(channels, channel, reader);
		break;
	case KIND_FRAMES_POLL:
		send_frames_ack(channels, channel, false);
		break;
	case KIND_VERSION:
		on_version(channels, channel, reader);
		break;
	case KIND_CHARTER:
		on_charter(channels, channel, reader);
		break;
	case KIND_CERTIFICATE:
		on_certificate(channels, reader);
		break;
	default:
		channels->counters.unknown_type++;
	}
}

/* Opens a message of a session; the peer's first one in a new session is what puts it to use. */
static struct session *open_message(struct channels *channels, enum plane plane, uint8_t *packet,
				    size_t nr, struct channel **channel, struct reader *reader)
{
	struct session_head head;
	struct session *session;
	struct slot *slot;
	int r;

	if (session_head_read(&head, packet, nr) < 0) {
		channels->counters.truncated++;
		return NULL;
	}
	if (head.tag != channels->gate.tag) {
		channels->counters.wrong_cluster++;
		return NULL;
	}
	slot = slot_find(channels, head.index);
	if (!slot || !slot->session) {
		channels->counters.no_session++;
		return NULL;
	}
	session = slot->session;
	if (outlived(channels, session)) {
		channels->counters.expired++;
		return NULL;
	}
	r = session_open(session, plane, packet, nr);
	if (r < 0) {
		channels->counters.replayed += r == -EALREADY;
		channels->counters.forged += r == -EBADMSG;
		return NULL;
	}
	*channel = slot->channel;
	reader_init(reader, packet + SESSION_HEAD, (size_t)r);
	if (session == (*channel)->next) {
		(*channel)->next = NULL;
		learn_address(*channel, (*channel)->next_address);
		use_session(channels, *channel, session, (*channel)->next_life);
	}
	return session;
}

static void receive_datagram(struct channels *channels, uint8_t *packet, size_t nr)
{
	struct channel *channel;
	struct session *session;
	struct reader reader;

	session = open_message(channels, PLANE_DATAGRAM, packet, nr, &channel, &reader);
	if (session)
		receive_in(channels, channel, session, &reader);
}

static void receive_gated(struct channels *channels, uint8_t *packet, size_t nr)
{
	uint8_t type = packet[0];
	struct reader plain;

	switch (-gate_open(&channels->gate, packet, nr, &plain)) {
	case 0:
		if (type == SECURE_HANDSHAKE)
			on_offer(channels, &plain);
		else if (type == SECURE_ANSWER)
			on_answer(channels, &plain);
		else
			on_offered_charter(channels, &plain);
		break;
	case EMSGSIZE:
		channels->counters.truncated++;
		break;
	case EPROTO:
		channels->counters.unknown_type++;
		break;
	case EXDEV:
		channels->counters.wrong_cluster++;
		break;
	default:
		channels->counters.forged++;
	}
}

/* 0: of no type that is known. */
static uint8_t type_of(struct channels *channels, const uint8_t *packet, size_t nr, size_t longest)
{
	if (nr < 2) {
		channels->counters.truncated++;
		return 0;
	}
	if (nr > longest) {
		channels->counters.oversized++;
		return 0;
	}
	if (packet[1] != SESSION_VERSION) {
		channels->counters.unknown_type++;
		return 0;
	}
	return packet[0];
}

static void advance(struct channels *channels, int64_t now)
{
	if (now > channels->now)
		channels->now = now;
}

void channels_receive(struct channels *channels, int64_t now, void *packet, size_t nr)
{
	advance(channels, now);
	switch (type_of(channels, packet, nr, CHANNEL_PACKET_MAX)) {
	case 0:
		break;
	case SECURE_HANDSHAKE:
	case SECURE_ANSWER:
	case SECURE_CHARTER:
		receive_gated(channels, packet, nr);
		break;
	case SECURE_DATAGRAM:
		receive_datagram(channels, packet, nr);
		break;
	default:
		channels->counters.unknown_type++;
	}
}

static void receive_frame(struct channels *channels, uint8_t *frame, size_t nr)
{
	struct channel *channel;
	struct reader reader;
	uint32_t sequence;
	uint64_t stream;
	uint8_t kind;

	if (!open_message(channels, PLANE_BULK, frame, nr, &channel, &reader))
		return;
	get_u8(&reader, &kind);
	get_u64(&reader, &stream);
	get_u32(&reader, &sequence);
	if (reader.bad) {
		channels->counters.malformed++;
		return;
	}
	channel->heard_ms = channels->now;
	if (!in_order(channels, channel, stream, sequence))
		return;
	channels->counters.frames_received++;
	if (kind == KIND_DATA)
		channels->env.on_frame(channels->env.data, channel->host, reader.at,
				       reader_left(&reader));
	else if (kind == KIND_CHARTER)
		on_charter(channels, channel, &reader);
	else
		channels->counters.unknown_type++;
}

void channels_receive_frame(struct channels *channels, int64_t now, void *frame, size_t nr)
{
	advance(channels, now);
	switch (type_of(channels, frame, nr, CHANNEL_FRAME_MAX)) {
	case 0:
		break;
	case SECURE_FRAME:
		receive_frame(channels, frame, nr);
		break;
	case SECURE_CHARTER:
		receive_gated(channels, frame, nr);
		break;
	default:
		channels->counters.unknown_type++;
	}
}

/* ---- Ways -------------------------------------------------------------------------------------------------------- */

static void way_open(struct channels *channels, struct channel *channel, uint32_t life)
{
	/* It was restarted, so the session is of no use. */
	if (life && channel->current && channel->life && life > channel->life) {
		channel->wanted_ms = channels->now;
		begin(channels, channel);
	} else if (channel->handshake) {
		transmit_handshake(channels, channel);
	}
}

void channels_way_open(struct channels *channels, const char *address, uint32_t host, uint32_t life)
{
	struct channel *channel = hostmap_find(&channels->map, host);

	if (channel && channel->answer && strcmp(channel->next_address, address) == 0)
		send_answer(channels, channel);
	if (channel && strcmp(channel->address, address) == 0)
		way_open(channels, channel, life);
	for (size_t i = 0; i < channels->nr_seeds; i++)
		if (strcmp(channels->seeds[i]->address, address) == 0)
			way_open(channels, channels->seeds[i], 0);
}

static size_t find_seed(struct channels *channels, const char *address)
{
	size_t i = 0;

	while (i < channels->nr_seeds && strcmp(channels->seeds[i]->address, address) != 0)
		i++;
	return i;
}

void channels_send_seed(struct channels *channels, const char *address, const void *bytes,
			size_t nr)
{
	size_t i = find_seed(channels, address);
	struct channel *channel;

	if (nr > WIRE_DATAGRAM || strlen(address) >= WIRE_TEXT_LEN) {
		channels->counters.oversized++;
		return;
	}
	if (strcmp(address, channels->address) == 0)
		return;
	if (i == channels->nr_seeds) {
		if (i == SEEDS_MAX) {
			channels->counters.no_room++;
			return;
		}
		channels->seeds[i] = new_channel(channels, 0, address);
		if (!channels->seeds[i]) {
			channels->counters.no_memory++;
			return;
		}
		channels->seed_hosts[i] = 0;
		channels->nr_seeds++;
	}
	/* As long as who was there answers, it is he. */
	channel = hostmap_find(&channels->map, channels->seed_hosts[i]);
	if (!channel || !channel->current || channel->attempts >= 2 ||
	    strcmp(channel->address, address) != 0)
		channel = channels->seeds[i];
	send_or_queue(channels, channel, bytes, nr);
}

int channels_peer(struct channels *channels, uint32_t host, const char *address)
{
	struct channel *channel;

	if (host == channels->identity->certificate.host)
		return 0;
	if (!host || host > HOST_ID_MAX || strlen(address) >= WIRE_TEXT_LEN)
		return -EINVAL;
	channel = get_channel(channels, host);
	if (!channel)
		return -ENOSPC;
	if (strcmp(channel->address, address) == 0)
		return 0;
	/* What it said itself counts more, unless it is not there any more. */
	if (channel->address_told && channel->current && channel->attempts < 2)
		return 0;
	strcpy(channel->address, address);
	channel->address_told = false;
	return 0;
}

void channels_forget(struct channels *channels, uint32_t host)
{
	struct channel *channel = hostmap_find(&channels->map, host);

	/* The channel itself stays, and with it the stamp: what the host said once must not be said again by others. */
	if (channel)
		close_channel(channels, channel);
}

/* ---- Identity ---------------------------------------------------------------------------------------------------- */

int channels_identity(struct channels *channels, struct identity *identity)
{
	struct identity *old = channels->identity;
	bool renewed = identity->certificate.serial != old->certificate.serial;

	if (memcmp(&identity->charter.cluster, &old->charter.cluster, sizeof(struct uuid)) != 0 ||
	    identity->certificate.host != old->certificate.host) {
		int r = identity->certificate.host != old->certificate.host ? -EINVAL : -EXDEV;

		identity_free(identity);
		return r;
	}
	/* The files may be older than what the cluster told meanwhile. */
	if (charter_follows(&identity->charter, &old->charter) == 0)
		identity->charter = old->charter;
	channels->identity = identity;
	if (identity->charter.version != old->charter.version)
		follow_charter(channels);
	identity_free(old);
	if (renewed)
		renew_sessions(channels);
	return 0;
}

int channels_charter(struct channels *channels, const void *bytes, size_t nr)
{
	_cleanup_free_ struct charter *charter = malloc(sizeof(*charter));
	int r;

	if (!charter)
		return -ENOMEM;
	r = charter_open(charter, bytes, nr);
	return r < 0 ? r : take_charter(channels, charter);
}

int channels_renew(struct channels *channels, const struct certificate *certificate)
{
	struct channel *channel;

	if (certificate->host == channels->identity->certificate.host)
		return 0;
	channel = get_channel(channels, certificate->host);
	if (!channel)
		return -ENOSPC;
	if (!channel->renewed)
		channel->renewed = malloc(sizeof(*certificate));
	if (!channel->renewed)
		return -ENOMEM;
	*channel->renewed = *certificate;
	if (channel->current)
		catch_up(channels, channel);
	return 0;
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

static void on_silence(struct channels *channels, struct channel *channel)
{
	int64_t since = channels->now - channel->unanswered_ms;

	if (since >= SILENT_MS) {
		channel->unanswered_ms = NEVER;
		begin(channels, channel);
		return;
	}
	channel->ask_ms = channel->unanswered_ms + SILENT_MS;
	if (channel->current)
		send_in(channels, channel, channel->current, KIND_ASK, NULL, 0);
}

static void tick_channel(struct channels *channels, struct channel *channel)
{
	int64_t now = channels->now;

	if (channel->handshake && now >= channel->retry_ms)
		retry_handshake(channels, channel);
	if (now >= channel->ack_ms) {
		channel->ack_ms = NEVER;
		if (channel->current)
			send_in(channels, channel, channel->current, KIND_EMPTY, NULL, 0);
	}
	if (channel->unanswered_ms != NEVER && now >= channel->ask_ms)
		on_silence(channels, channel);
	if (now >= channel->frames_ack_ms)
		send_frames_ack(channels, channel, false);
	if (now >= channel->poll_ms)
		poll_frames(channels, channel);
	if (channel->charter_due)
		send_charter(channels, channel);
	bulk_ready(channels, channel);

	channel->next_ms = NEVER;
	if (channel->handshake)
		channel->next_ms = channel->retry_ms;
	channel->next_ms = sooner(channel->next_ms, channel->ack_ms);
	if (channel->unanswered_ms != NEVER)
		channel->next_ms = sooner(channel->next_ms, channel->ask_ms);
	channel->next_ms = sooner(channel->next_ms, channel->frames_ack_ms);
	channel->next_ms = sooner(channel->next_ms, channel->poll_ms);
	if (channel->charter_due)
		channel->next_ms = sooner(channel->next_ms, now + FRAME_POLL_MS);
	if (channel->bulk_wanted && channel->current && under_way(channel) < CHANNEL_WINDOW)
		channel->next_ms = sooner(channel->next_ms, now + PUSH_MS);
}

/* Keys that will not be used any more do not stay in memory. */
static void sweep_channel(struct channels *channels, struct channel *channel)
{
	struct session **sessions[] = {&channel->current, &channel->previous, &channel->next};

	for (size_t i = 0; i < ARRAY_SIZE(sessions); i++)
		if (*sessions[i] && outlived(channels, *sessions[i]))
			drop_session(channels, sessions[i]);
}

void channels_tick(struct channels *channels, int64_t now)
{
	bool sweep;

	advance(channels, now);
	sweep = channels->now >= channels->sweep_ms;
	if (sweep)
		channels->sweep_ms = channels->now + SWEEP_MS;
	if (channels->now >= channels->spread_ms)
		spread_charter(channels);
	channels->next_ms = sooner(channels->sweep_ms, channels->spread_ms);
	for (size_t i = 0; i < channels->map.nr + channels->nr_seeds; i++) {
		struct channel *channel = i < channels->map.nr
						  ? channels->map.things[i]
						  : channels->seeds[i - channels->map.nr];

		if (sweep)
			sweep_channel(channels, channel);
		if (channels->now >= channel->next_ms)
			tick_channel(channels, channel);
		channels->next_ms = sooner(channels->next_ms, channel->next_ms);
	}
}

int64_t channels_next(const struct channels *channels)
{
	return channels->next_ms;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

struct channels *channels_new(const struct channels_config *config, const struct channels_env *env,
			      int64_t now)
{
	struct channels *channels = calloc(1, sizeof(*channels));

	if (channels)
		channels->slots = calloc(SLOTS, sizeof(*channels->slots));
	if (!channels || !channels->slots || strlen(config->address) >= WIRE_TEXT_LEN) {
		identity_free(config->identity);
		if (channels)
			free(channels->slots);
		free(channels);
		return NULL;
	}
	channels->identity = config->identity;
	channels->life = config->life;
	strcpy(channels->address, config->address);
	channels->rekey_ms = config->rekey_ms ? config->rekey_ms : CHANNEL_REKEY_MS;
	channels->rekey_messages = config->rekey_messages ? config->rekey_messages : REKEY_MESSAGES;
	channels->env = *env;
	channels->now = now;
	channels->strangers = (struct bucket){now, STRANGER_BURST * 1000};
	channels->spread_ms = NEVER;
	channels->sweep_ms = channels->next_ms = now + SWEEP_MS;
	gate_init(&channels->gate, &channels->identity->charter.cluster);
	return channels;
}

void channels_free(struct channels *channels)
{
	if (!channels)
		return;
	for (size_t i = 0; i < channels->map.nr; i++)
		free_channel(channels, channels->map.things[i]);
	for (size_t i = 0; i < channels->nr_seeds; i++)
		free_channel(channels, channels->seeds[i]);
	hostmap_free(&channels->map);
	identity_free(channels->identity);
	free(channels->slots);
	free(channels);
}

struct channel_counters *channels_counters(struct channels *channels)
{
	return &channels->counters;
}

const struct gate *channels_gate(const struct channels *channels)
{
	return &channels->gate;
}

size_t channels_gate_seal(const struct channels *channels, enum secure_type type, uint8_t *packet,
			  size_t nr)
{
	const struct randomness random = randomness(channels);

	return gate_seal(&channels->gate, type, &random, packet, nr);
}

uint32_t channels_host(const struct channels *channels)
{
	return channels->identity->certificate.host;
}

bool channels_info(const struct channels *channels, uint32_t host, struct channel_info *info)
{
	const struct channel *channel = hostmap_find(&channels->map, host);

	if (!channel)
		return false;
	*info = (struct channel_info){
		.certificate = channel->certificate,
		.address = channel->address,
		.open = channel->current != NULL,
		.age_ms = channel->current ? channels->now - channel->current->made_ms : 0,
		.heard_ms = channels->now - channel->heard_ms,
		.window = under_way(channel),
	};
	return true;
}

static void tell_addresses(const struct channels *channels, const struct channel *channel,
			   void (*each)(void *data, const char *address), void *data)
{
	if (channel->certificate && !admitted(channels, channel))
		return;
	if (channel->address[0])
		each(data, channel->address);
	/* It has proven that it is a member, and is about to speak. */
	if (channel->next && strcmp(channel->next_address, channel->address) != 0)
		each(data, channel->next_address);
}

void channels_each_address(const struct channels *channels,
			   void (*each)(void *data, const char *address), void *data)
{
	for (size_t i = 0; i < channels->map.nr; i++)
		tell_addresses(channels, channels->map.things[i], each, data);
	for (size_t i = 0; i < channels->nr_seeds; i++)
		tell_addresses(channels, channels->seeds[i], each, data);
}
