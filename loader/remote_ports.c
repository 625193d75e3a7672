// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster_requests.h"
#include "control.h"
#include "daemon.h"
#include "file.h"
#include "json.h"
#include "log.h"
#include "remote_ports.h"
#include "state_file.h"
#include "vports.h"

/* ---- One port --------------------------------------------------------------------------------------------------- */

static void clear_port(struct remote_port *port)
{
	for (size_t i = 0; i < port->nr_tags; i++) {
		free((char *)port->tags[i].key);
		free((char *)port->tags[i].value);
	}
	free(port->tags);
	free(port->addresses);
	free(port->own);
}

/* The texts of the tags go from the spec to the port. */
static int take_spec(struct remote_port *port, struct vport_spec *spec)
{
	port->tags = calloc(spec->nr_tags + 1, sizeof(*port->tags));
	port->addresses = calloc(spec->nr_addresses + 1, sizeof(*port->addresses));
	port->own = calloc(spec->nr_addresses + 1, sizeof(*port->own));
	if (!port->tags || !port->addresses || !port->own)
		return -ENOMEM;
	memcpy(port->name, spec->name, sizeof(port->name));
	memcpy(port->uuid, spec->uuid, sizeof(port->uuid));
	memcpy(port->share, spec->share, sizeof(port->share));
	memcpy(port->tags, spec->tags, spec->nr_tags * sizeof(*port->tags));
	memcpy(port->addresses, spec->addresses, spec->nr_addresses * sizeof(*port->addresses));
	port->nr_tags = spec->nr_tags;
	port->nr_addresses = spec->nr_addresses;
	spec->nr_tags = 0;
	return 0;
}

static int read_port(const json_t *json, struct remote_port *port)
{
	_cleanup_spec_ struct vport_spec *spec = NULL;
	const char *host = json_text(json, "host");
	int r = spec_from_json(json, &spec);

	*port = (struct remote_port){};
	if (r < 0)
		return r;
	if (!host || !host[0] || strlen(host) >= sizeof(port->host)) {
		log_error("vport %s: \"host\" is missing or too long", spec->name);
		return -EINVAL;
	}
	strcpy(port->host, host);
	r = take_spec(port, spec);
	if (r < 0)
		clear_port(port);
	return r;
}

/* ---- The list --------------------------------------------------------------------------------------------------- */

void remote_ports_free(struct remote_ports *remote)
{
	for (size_t i = 0; i < remote->nr; i++)
		clear_port(&remote->list[i]);
	free(remote->list);
	json_decref(remote->json);
	*remote = (struct remote_ports){};
}

/* What no dfwd would say of a port comes from a host that is not what it should be. It is left out, and holds up nobody
 * else's: else one such host would keep all others from hearing of each other. */
static int read_ports(json_t *json, struct remote_ports *remote)
{
	const json_t *entry;
	size_t i, left_out = 0;

	*remote = (struct remote_ports){};
	remote->list = calloc(json_array_size(json) + 1, sizeof(*remote->list));
	if (!remote->list)
		return log_errno(-ENOMEM, "cannot keep the ports of other hosts");
	remote->json = json_incref(json);
	json_array_foreach (json, i, entry) {
		int r = read_port(entry, &remote->list[remote->nr]);

		if (r == -ENOMEM) {
			remote_ports_free(remote);
			return r;
		}
		left_out += r < 0;
		remote->nr += r == 0;
	}
	log_error_forget();
	if (left_out)
		log_notice("ports of other hosts: %zu of %zu make no sense and are left out",
			   left_out, json_array_size(json));
	return 0;
}

/* ---- The file --------------------------------------------------------------------------------------------------- */

static const char *file_path(const struct dfwd *d, char *path)
{
	snprintf(path, PATH_MAX, "%s/remote-vports.json", d->state_dir);
	return path;
}

/* A failure costs the next start: it would begin without what is new. */
void remote_ports_save(const struct dfwd *d)
{
	_cleanup_json_ json_t *json = json_pack("{s:O}", "vports", d->remote.json);
	_cleanup_free_ char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
	char path[PATH_MAX];
	int r = text ? file_replace(file_path(d, path), text, strlen(text)) : -ENOMEM;

	if (r < 0)
		log_errno(r, "cannot write %s", file_path(d, path));
}

int remote_ports_restore(struct dfwd *d)
{
	_cleanup_json_ json_t *json = NULL;
	char path[PATH_MAX];
	int r = state_file_read(file_path(d, path), &json);

	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : read_ports(json_object_get(json, "vports"), &d->remote);
}

/* ---- From dfwsyncd ---------------------------------------------------------------------------------------------- */

static bool has_text(const json_t *list, const char *text)
{
	const json_t *entry;
	size_t i;

	json_array_foreach (list, i, entry)
		if (json_is_string(entry) && strcmp(json_string_value(entry), text) == 0)
			return true;
	return false;
}

static void take_claims(json_t *claims, const json_t *port)
{
	static const char *const keys[] = {"uuid", "name"};
	const json_t *address;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++)
		if (json_text(port, keys[i]))
			json_object_set_new(claims, json_text(port, keys[i]), json_true());
	json_array_foreach (json_object_get(port, "ips"), i, address)
		if (json_is_string(address))
			json_object_set_new(claims, json_string_value(address), json_true());
}

static bool is_claimed(const json_t *claims, const json_t *port)
{
	const json_t *address;
	size_t i;

	if (json_object_get(claims, json_text(port, "uuid")) ||
	    json_object_get(claims, json_text(port, "name")))
		return true;
	json_array_foreach (json_object_get(port, "ips"), i, address)
		if (json_object_get(claims, json_string_value(address)))
			return true;
	return false;
}

/* What is known of hosts that dfwsyncd has not heard of yet in this life is kept: it knows less than we do, not more. But
 * who has taken its name or address since has them. */
static int keep_others(const struct dfwd *d, const json_t *told, json_t *list)
{
	const json_t *hosts = json_object_get(told, "hosts");
	_cleanup_json_ json_t *claims = json_object();
	json_t *entry;
	size_t i;

	json_array_foreach (list, i, entry)
		take_claims(claims, entry);
	json_array_foreach (d->remote.json, i, entry)
		if (!has_text(hosts, json_text(entry, "host")) && !is_claimed(claims, entry) &&
		    json_array_append(list, entry) < 0)
			return -ENOMEM;
	return 0;
}

/* `r` says whether the kernel has taken what d->remote is now. Else all is as it was. Returns it. */
static int keep_or_restore(struct dfwd *d, struct remote_ports *former, int r)
{
	if (r < 0) {
		remote_ports_free(&d->remote);
		d->remote = *former;
		return r;
	}
	remote_ports_free(former);
	d->cluster.save_remote = true;
	return 0;
}

int remote_ports_set(struct dfwd *d, const struct link_packet *packet, struct cluster_reply *reply)
{
	_cleanup_json_ json_t *told = NULL, *list = NULL;
	struct remote_ports former = d->remote, next;
	int r = link_packet_text(packet, &told);

	(void)reply;
	list = json_array();
	if (r == 0 && json_array_extend(list, json_object_get(told, "vports")) < 0)
		r = -EBADMSG;
	if (r == 0 && !json_is_true(json_object_get(told, "whole")))
		r = keep_others(d, told, list);
	if (r < 0)
		return log_errno(r, "cannot read the ports of other hosts");
	if (json_equal(list, d->remote.json))
		return 0;
	r = read_ports(list, &next);
	if (r < 0)
		return r;
	d->remote = next;
	return keep_or_restore(d, &former, vports_realise(d));
}

/* ---- A port goes to another host -------------------------------------------------------------------------------- */

static bool is_known(const struct dfwd *d, const struct vport_spec *spec)
{
	for (size_t i = 0; i < d->remote.nr; i++)
		if (memcmp(d->remote.list[i].uuid, spec->uuid, sizeof(spec->uuid)) == 0)
			return true;
	return false;
}

/* The list with `spec` as a port of `host`. */
static int read_with(const struct dfwd *d, const struct vport_spec *spec, const char *host,
		     struct remote_ports *next)
{
	_cleanup_json_ json_t *list = d->remote.json ? json_copy(d->remote.json) : json_array();
	json_t *port = spec_to_json(spec);

	if (!list || !port || json_object_set_new(port, "host", json_string(host)) < 0 ||
	    json_array_append(list, port) < 0) {
		json_decref(port);
		return log_errno(-ENOMEM, "cannot keep a port that goes to another host");
	}
	json_decref(port);
	return read_ports(list, next);
}

int remote_ports_give(struct dfwd *d, struct port *port, const char *host,
		      struct policy_errors *errors)
{
	struct remote_ports former = d->remote, next;
	int r;

	if (is_known(d, port->spec))
		return vport_del(d, port, errors);
	r = read_with(d, port->spec, host, &next);
	if (r < 0)
		return r;
	d->remote = next;
	return keep_or_restore(d, &former, vport_del(d, port, errors));
}

/* ---- For policies ----------------------------------------------------------------------------------------------- */

struct claims {
	struct dfw_addr *list; /* sorted */
	size_t nr;
};

static int compare_addresses(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct dfw_addr));
}

static int local_addresses(const struct policy_port *ports, size_t nr, struct claims *claims)
{
	size_t room = 0;

	for (size_t i = 0; i < nr; i++)
		room += ports[i].nr_addresses;
	*claims = (struct claims){.list = calloc(room + 1, sizeof(struct dfw_addr))};
	if (!claims->list)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++)
		for (size_t j = 0; j < ports[i].nr_addresses; j++)
			claims->list[claims->nr++] = ports[i].addresses[j];
	qsort(claims->list, claims->nr, sizeof(*claims->list), compare_addresses);
	return 0;
}

static bool is_claimed_here(const struct claims *claims, const struct dfw_addr *address)
{
	return bsearch(address, claims->list, claims->nr, sizeof(*claims->list), compare_addresses);
}

static bool has_claim(const struct remote_port *port, const struct claims *claims)
{
	for (size_t i = 0; i < port->nr_addresses; i++)
		if (is_claimed_here(claims, &port->addresses[i]))
			return true;
	return false;
}

static bool has_address(const struct remote_port *port, const struct dfw_addr *address)
{
	for (size_t i = 0; i < port->nr_addresses; i++)
		if (memcmp(&port->addresses[i], address, sizeof(*address)) == 0)
			return true;
	return false;
}

/* Members of a share group may have the same address; to a policy it is the first one's, of this host before others. */
static void leave_shared(struct remote_ports *remote, size_t index, const struct claims *claims)
{
	struct remote_port *port = &remote->list[index];

	port->nr_own = 0;
	for (size_t i = 0; i < port->nr_addresses; i++) {
		bool taken = is_claimed_here(claims, &port->addresses[i]);

		for (size_t k = 0; k < index && !taken; k++)
			taken = strcmp(remote->list[k].share, port->share) == 0 &&
				has_address(&remote->list[k], &port->addresses[i]);
		if (!taken)
			port->own[port->nr_own++] = port->addresses[i];
	}
}

/* `ports` are sorted by name. */
static bool has_name(const struct policy_port *ports, size_t nr, const char *name)
{
	size_t low = 0, high = nr;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(ports[middle].name, name);

		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

int remote_ports_append(struct dfwd *d, struct policy_port *ports, size_t *nr)
{
	const size_t nr_local = *nr;
	struct claims claims;
	int r = local_addresses(ports, nr_local, &claims);

	for (size_t i = 0; i < d->remote.nr && r == 0; i++) {
		const struct remote_port *port = &d->remote.list[i];
		bool shares = port->share[0];

		if (has_name(ports, nr_local, port->name) || (!shares && has_claim(port, &claims)))
			continue;
		if (shares)
			leave_shared(&d->remote, i, &claims);
		ports[(*nr)++] = (struct policy_port){
			.name = port->name,
			.tags = port->tags,
			.nr_tags = port->nr_tags,
			.addresses = shares ? port->own : port->addresses,
			.nr_addresses = shares ? port->nr_own : port->nr_addresses,
		};
	}
	free(claims.list);
	return r;
}

int remote_ports_conflict(const struct dfwd *d, const struct vport_spec *spec)
{
	for (size_t i = 0; i < d->remote.nr; i++) {
		const struct remote_port *port = &d->remote.list[i];

		if (strcmp(port->name, spec->name) != 0 ||
		    memcmp(port->uuid, spec->uuid, sizeof(port->uuid)) == 0)
			continue;
		log_error("there is a vport %s already, on host %s", port->name, port->host);
		return -EEXIST;
	}
	return 0;
}

int remote_ports_adopt(const struct dfwd *d, struct vport_spec *spec)
{
	for (size_t i = 0; i < d->remote.nr; i++) {
		if (strcmp(d->remote.list[i].name, spec->name) != 0)
			continue;
		memcpy(spec->uuid, d->remote.list[i].uuid, sizeof(spec->uuid));
		return 0;
	}
	log_error("no other host of the cluster has a vport %s", spec->name);
	return -EINVAL;
}
