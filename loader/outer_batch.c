// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <pthread.h>

#include "maps.h"
#include "outer_batch.h"
#include "util.h"

void outer_batch_clear(struct outer_batch *batch)
{
	for (size_t i = 0; i < batch->nr; i++) {
		struct outer_queue *queue = &batch->queues[i];

		while (queue->nr > 0)
			cleanup_close(&queue->maps[--queue->nr]);
	}
	batch->nr = 0;
}

/* There is no batch of that: each waits. */
static int remove_queue(const struct outer_queue *queue)
{
	int r = 0;

	for (size_t i = 0; i < queue->nr && r == 0; i++)
		r = map_remove(queue->outer, &queue->keys[i]);
	return r;
}

static void *put_queue(void *data)
{
	struct outer_queue *queue = data;

	queue->result = queue->removes ? remove_queue(queue)
				       : map_put_batch(queue->outer, queue->keys, queue->maps,
						       sizeof(queue->maps[0]), queue->nr);
	return NULL;
}

/* A thread for each outer map but the first, so that all wait at the same time. */
int outer_batch_put(struct outer_batch *batch)
{
	pthread_t threads[OUTER_BATCH_OUTERS];
	bool begun[OUTER_BATCH_OUTERS] = {};
	int r = 0;

	for (size_t i = 1; i < batch->nr; i++)
		begun[i] = pthread_create(&threads[i], NULL, put_queue, &batch->queues[i]) == 0;
	for (size_t i = 0; i < batch->nr; i++)
		if (!begun[i])
			put_queue(&batch->queues[i]);
	for (size_t i = 0; i < batch->nr; i++) {
		if (begun[i])
			pthread_join(threads[i], NULL);
		if (r == 0)
			r = batch->queues[i].result;
	}
	outer_batch_clear(batch);
	return r;
}

/* The queue for it, with a place; a full batch is put first, with *r as the result. */
static struct outer_queue *open_queue(struct outer_batch *batch, int outer, bool removes, int *r)
{
	struct outer_queue *queue = batch->queues;

	*r = 0;
	while (queue < &batch->queues[batch->nr] &&
	       (queue->outer != outer || queue->removes != removes))
		queue++;
	if (queue == &batch->queues[OUTER_BATCH_OUTERS] ||
	    (queue < &batch->queues[batch->nr] && queue->nr == OUTER_BATCH_MAPS)) {
		*r = outer_batch_put(batch);
		queue = batch->queues;
	}
	if (queue == &batch->queues[batch->nr]) {
		queue->outer = outer;
		queue->removes = removes;
		queue->nr = 0;
		batch->nr++;
	}
	return queue;
}

int outer_batch_add(struct outer_batch *batch, int outer, uint32_t key, int map)
{
	struct outer_queue *queue;
	int r;

	if (map < 0)
		return map;
	queue = open_queue(batch, outer, false, &r);
	queue->keys[queue->nr] = key;
	queue->maps[queue->nr++] = map;
	return r;
}

int outer_batch_remove(struct outer_batch *batch, int outer, uint32_t key)
{
	int r;
	struct outer_queue *queue = open_queue(batch, outer, true, &r);

	queue->keys[queue->nr] = key;
	queue->maps[queue->nr++] = -1;
	return r;
}
