// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever etcd, or who stands in its place, may answer: every decoder fails or gives something within its bounds. The
 * first byte says which one reads the rest.
 */
#include <stdlib.h>
#include <string.h>

#include "sync/etcd/message.h"
#include "sync/etcd/record.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void read_answer(const char *bytes, size_t nr)
{
	_cleanup_answer_ struct etcd_answer answer;

	if (etcd_answer_parse(bytes, nr, &answer) < 0)
		return;
	must(answer.nr_pairs <= ETCD_KEYS_MAX);
	for (size_t i = 0; i < answer.nr_pairs; i++) {
		const struct etcd_pair *pair = &answer.pairs[i];

		must(strlen(pair->key) > 0 && strlen(pair->key) < ETCD_KEY_MAX);
		must(pair->nr <= ETCD_VALUE_MAX && pair->value[pair->nr] == '\0');
		must(etcd_answer_find(&answer, pair->key));
	}
	must(!answer.token || !strpbrk(answer.token, "\r\n \t"));
}

static void read_error(const char *bytes, size_t nr)
{
	struct etcd_error error;

	if (etcd_error_parse(bytes, nr, &error) < 0)
		return;
	must(strlen(error.text) < sizeof(error.text) && error.code <= 255);
}

static void read_event(const char *bytes, size_t nr)
{
	struct etcd_event event;
	struct etcd_error error;

	etcd_event_parse(bytes, nr, &event, &error);
}

/* What can be read can be written, and is the same when it is read again. */
static void read_record(const char *bytes, size_t nr)
{
	uint8_t covered[RECORD_SIGNED_MAX], copy[RECORD_MAX];
	struct record record, again;
	uint16_t copy_nr;

	if (nr > UINT16_MAX ||
	    record_parse((struct slice){(const uint8_t *)bytes, (uint16_t)nr}, &record) < 0)
		return;
	must(record.writer && record_signed("/dfw/a/", record.body, covered) > 0);
	must(!record_begin(&record.manifest, record.writer, copy, &copy_nr));
	must(!record_end(record.signature, copy, &copy_nr));
	must(!record_parse((struct slice){copy, copy_nr}, &again));
	must(again.writer == record.writer && again.signature.nr == record.signature.nr);
	must(again.manifest.term == record.manifest.term &&
	     again.manifest.active.number == record.manifest.active.number &&
	     again.manifest.staged.nr_objects == record.manifest.staged.nr_objects);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t nr)
{
	static void (*const readers[])(const char *bytes, size_t nr) = {read_answer, read_error,
									read_event, read_record};

	if (nr)
		readers[bytes[0] % ARRAY_SIZE(readers)]((const char *)bytes + 1, nr - 1);
	return 0;
}
