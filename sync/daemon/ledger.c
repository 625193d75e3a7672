// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "sync/daemon/ledger.h"
#include "util.h"

#define LEDGER_MAGIC   0x31726764656c7764ULL /* "dwledgr1" */
#define LEDGER_GROW    64		     /* pairs at once */
#define PAIR_BYTES     (2 * sizeof(struct ledger_record))
#define LEDGER_LARGEST (1U << 16) /* pairs; a host has 4,096 ports */

/* In the file. Fields are appended in `zero`, never moved. */
struct ledger_record {
	uint64_t magic;
	uint64_t sequence; /* of the two of a port the higher one holds */
	struct uuid port;
	uint64_t epoch;
	uint64_t move;
	uint32_t peer;
	uint32_t role; /* PORT_NONE: the port has gone */
	uint8_t zero[56];
	uint8_t checksum[16];
};
_Static_assert(sizeof(struct ledger_record) == 128, "a record is part of one sector");

struct ledger_place {
	struct ledger_record record; /* role PORT_NONE: the pair is free */
	uint8_t next;		     /* which of the two is to be written */
};

static void checksum(const struct ledger_record *record, uint8_t sum[16])
{
	crypto_generichash(sum, 16, (const uint8_t *)record,
			   offsetof(struct ledger_record, checksum), NULL, 0);
}

static bool valid(const struct ledger_record *record)
{
	uint8_t sum[16];

	checksum(record, sum);
	return record->magic == LEDGER_MAGIC && !memcmp(sum, record->checksum, sizeof(sum));
}

static int write_at(int fd, const void *bytes, size_t nr, off_t at)
{
	ssize_t written = pwrite(fd, bytes, nr, at);

	if (written < 0)
		return -errno;
	return (size_t)written == nr ? 0 : -EIO;
}

/* Zeros, not a hole: what is written later then changes no metadata. */
static int grow(struct ledger_file *file)
{
	size_t nr = file->nr + LEDGER_GROW;
	_cleanup_free_ uint8_t *zeros = calloc(LEDGER_GROW, PAIR_BYTES);
	struct ledger_place *places;
	int r;

	if (nr > LEDGER_LARGEST)
		return -ENOSPC;
	places = realloc(file->places, nr * sizeof(*places));
	if (!zeros || !places)
		return -ENOMEM;
	memset(places + file->nr, 0, LEDGER_GROW * sizeof(*places));
	file->places = places;
	r = write_at(file->fd, zeros, LEDGER_GROW * PAIR_BYTES, (off_t)(file->nr * PAIR_BYTES));
	if (r == 0 && fsync(file->fd) < 0)
		r = -errno;
	if (r == 0)
		file->nr = nr;
	return r;
}

static void read_pair(struct ledger_place *place, const struct ledger_record pair[2])
{
	bool first = valid(&pair[0]), second = valid(&pair[1]);
	bool newer = second && (!first || pair[1].sequence > pair[0].sequence);

	*place = (struct ledger_place){};
	if (!first && !second)
		return;
	place->record = pair[newer];
	place->next = !newer;
}

static int read_all(struct ledger_file *file, size_t nr)
{
	file->places = calloc(nr + 1, sizeof(*file->places));
	if (!file->places)
		return -ENOMEM;
	for (; file->nr < nr; file->nr++) {
		struct ledger_record pair[2];
		ssize_t got = pread(file->fd, pair, sizeof(pair), (off_t)(file->nr * PAIR_BYTES));

		if (got != (ssize_t)sizeof(pair))
			return got < 0 ? -errno : -EBADMSG;
		read_pair(&file->places[file->nr], pair);
	}
	return 0;
}

int ledger_open(const char *path, struct ledger_file *file)
{
	struct stat stat;
	int r;

	*file = (struct ledger_file){
		.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
	if (file->fd < 0 || fstat(file->fd, &stat) < 0)
		return -errno;
	if (stat.st_size > (off_t)(LEDGER_LARGEST * PAIR_BYTES))
		return -EBADMSG;
	/* A crash while the file grew leaves a part of a pair, with nothing in it. */
	r = read_all(file, (size_t)stat.st_size / PAIR_BYTES);
	return r == 0 && file->nr == 0 ? grow(file) : r;
}

void ledger_close(struct ledger_file *file)
{
	cleanup_close(&file->fd);
	free(file->places);
	*file = (struct ledger_file){.fd = -1};
}

static struct ledger_place *find(const struct ledger_file *file, struct uuid port)
{
	for (size_t i = 0; i < file->nr; i++)
		if (file->places[i].record.role != PORT_NONE &&
		    !memcmp(&file->places[i].record.port, &port, sizeof(port)))
			return &file->places[i];
	return NULL;
}

static struct ledger_place *find_free(const struct ledger_file *file)
{
	for (size_t i = 0; i < file->nr; i++)
		if (file->places[i].record.role == PORT_NONE)
			return &file->places[i];
	return NULL;
}

static int put(struct ledger_file *file, struct ledger_place *place, struct ledger_record *record,
	       bool durable)
{
	off_t at = (off_t)((size_t)(place - file->places) * PAIR_BYTES +
			   place->next * sizeof(*record));
	int r;

	record->magic = LEDGER_MAGIC;
	record->sequence = place->record.sequence + 1;
	checksum(record, record->checksum);
	r = write_at(file->fd, record, sizeof(*record), at);
	if (r == 0 && durable && fdatasync(file->fd) < 0)
		r = -errno;
	if (r < 0)
		return r;
	place->record = *record;
	place->next = !place->next;
	return 0;
}

int ledger_write(struct ledger_file *file, const struct ledger *record)
{
	struct ledger_place *place = find(file, record->port);
	int r = 0;

	if (!place)
		place = find_free(file);
	if (!place)
		r = grow(file);
	if (r < 0)
		return r;
	if (!place)
		place = find_free(file);
	return put(file, place,
		   &(struct ledger_record){.port = record->port,
					   .epoch = record->epoch,
					   .move = record->move,
					   .peer = record->peer,
					   .role = record->role},
		   true);
}

int ledger_drop(struct ledger_file *file, struct uuid port)
{
	struct ledger_place *place = find(file, port);

	return place ? put(file, place, &(struct ledger_record){.port = port}, false) : 0;
}

void ledger_each(const struct ledger_file *file,
		 void (*each)(void *data, const struct ledger *record), void *data)
{
	for (size_t i = 0; i < file->nr; i++) {
		const struct ledger_record *record = &file->places[i].record;

		if (record->role != PORT_NONE)
			each(data, &(struct ledger){.port = record->port,
						    .epoch = record->epoch,
						    .move = record->move,
						    .peer = record->peer,
						    .role = record->role});
	}
}
