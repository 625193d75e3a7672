// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "file.h"
#include "json.h"
#include "log.h"
#include "sync/daemon/daemon.h"

#define WRITE_MS    10000 /* members come and go together */
#define PEERS_BYTES 65536

static const char *peers_path(const struct syncd *d, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/peers", d->disk.dir);
	return path;
}

void peers_read(struct syncd *d, const char **seeds, size_t *nr, size_t room)
{
	_cleanup_free_ char *text = NULL;
	const json_t *entry;
	char path[PATH_MAX];
	size_t bytes, i;

	peers_free(&d->peers);
	if (file_read(peers_path(d, path), PEERS_BYTES, &text, &bytes) < 0)
		return;
	d->peers.list = json_loadb(text, bytes, 0, NULL);
	json_array_foreach (d->peers.list, i, entry) {
		const char *address = json_string_value(entry);

		if (address && strlen(address) < WIRE_TEXT_LEN && *nr < room &&
		    strcmp(address, d->cluster.config.address) != 0)
			seeds[(*nr)++] = address;
	}
}

static void add_member(void *data, const struct member_record *member)
{
	json_t *list = data;

	if (member->state != MEMBER_LEFT && member->address[0] &&
	    json_array_size(list) < PEERS_KEPT)
		json_array_append_new(list, json_string(member->address));
}

static void write_list(struct syncd *d)
{
	_cleanup_json_ json_t *list = json_array();
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	int r;

	sync_each_member(d->cluster.sync, add_member, list);
	if (json_equal(list, d->peers.kept ? d->peers.kept : d->peers.list))
		return;
	text = json_dumps(list, JSON_INDENT(1));
	r = text ? file_replace(peers_path(d, path), text, strlen(text)) : -ENOMEM;
	if (r < 0) {
		log_errno(r, "cannot write %s", path);
		return;
	}
	json_decref(d->peers.kept);
	d->peers.kept = json_incref(list);
}

void peers_changed(struct syncd *d)
{
	d->peers.changed = true;
}

void peers_turn(struct syncd *d)
{
	if (!d->peers.changed || !d->cluster.sync)
		return;
	if (d->loop.now_ms < d->peers.write_ms) {
		loop_wake(&d->loop, d->peers.write_ms);
		return;
	}
	d->peers.changed = false;
	d->peers.write_ms = d->loop.now_ms + WRITE_MS;
	write_list(d);
}

void peers_free(struct peers *peers)
{
	json_decref(peers->list);
	json_decref(peers->kept);
	*peers = (struct peers){};
}
