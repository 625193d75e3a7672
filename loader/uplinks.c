// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "bridges.h"
#include "control.h"
#include "file.h"
#include "json.h"
#include "log.h"
#include "maps.h"
#include "ports.h"
#include "state_file.h"
#include "uplinks.h"
#include "view.h"

struct uplink *uplinks_find(const struct dfwd *d, const char *name)
{
	for (size_t i = 0; i < DFW_MAX_UPLINKS; i++)
		if (d->uplinks[i] && strcmp(d->uplinks[i]->name, name) == 0)
			return d->uplinks[i];
	return NULL;
}

struct uplink *uplinks_find_ifindex(const struct dfwd *d, uint32_t ifindex)
{
	for (size_t i = 0; i < DFW_MAX_UPLINKS; i++)
		if (d->uplinks[i] && d->uplinks[i]->ifindex == ifindex)
			return d->uplinks[i];
	return NULL;
}

static const struct uplink_wish *find_wish(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->nr_uplinks; i++)
		if (strcmp(config->uplinks[i].name, name) == 0)
			return &config->uplinks[i];
	return NULL;
}

bool uplinks_wanted(const struct dfwd *d, const char *name)
{
	return uplinks_find(d, name) || find_wish(&d->config, name);
}

/* ---- uplinks.json ----------------------------------------------------------------------------------------------- */

static const char *file_path(const struct dfwd *d, char *path)
{
	snprintf(path, PATH_MAX, "%s/uplinks.json", d->state_dir);
	return path;
}

/* The list, in which `changed` stands as `as` says, or not at all: NULL. */
static json_t *list_json(const struct dfwd *d, const struct uplink *changed,
			 const struct uplink *as)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; i < DFW_MAX_UPLINKS; i++) {
		const struct uplink *uplink = d->uplinks[i];

		if (uplink && uplink == changed)
			uplink = as;
		if (uplink)
			json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:b, s:b, s:i}",
							      "name", uplink->name, "mode",
							      uplink_mode_name(uplink->mode),
							      "fast_path", uplink->fast,
							      "configured", uplink->configured,
							      "strips_tags", uplink->strips,
							      "number", (int)uplink->number));
	}
	return json_pack("{s:O}", "uplinks", list);
}

/* So that commit_file() only has to rename it. */
static int stage_file(const struct dfwd *d, const struct uplink *changed, const struct uplink *as,
		      struct staged_file *file)
{
	_cleanup_json_ json_t *json = list_json(d, changed, as);
	_cleanup_free_ char *text = json ? json_dumps(json, JSON_INDENT(1)) : NULL;
	char path[PATH_MAX];
	int r = text ? file_stage(file_path(d, path), text, strlen(text), file) : -ENOMEM;

	return r < 0 ? log_errno(r, "cannot write %s", file_path(d, path)) : 0;
}

static int commit_file(struct staged_file *file)
{
	int r = file_commit(file);

	return r < 0 ? log_errno(r, "cannot rename %s into its place", file->temporary) : 0;
}

static int write_file(const struct dfwd *d)
{
	_cleanup_staged_ struct staged_file file = {};
	int r = stage_file(d, NULL, NULL, &file);

	return r < 0 ? r : commit_file(&file);
}

static int read_uplink(const json_t *json, struct uplink *uplink)
{
	const char *name = json_text(json, "name"), *mode = json_text(json, "mode");
	json_int_t number = json_number(json, "number");

	if (!device_name_valid(name) || !mode || uplink_mode_parse(mode, &uplink->mode) < 0 ||
	    number < 0 || number >= DFW_MAX_UPLINKS)
		return -EBADMSG;
	strcpy(uplink->name, name);
	uplink->number = (uint32_t)number;
	uplink->fast = json_is_true(json_object_get(json, "fast_path"));
	uplink->configured = json_is_true(json_object_get(json, "configured"));
	uplink->strips = json_is_true(json_object_get(json, "strips_tags"));
	return 0;
}

static int restore_uplink(struct dfwd *d, const json_t *json)
{
	_cleanup_free_ struct uplink *uplink = calloc(1, sizeof(*uplink));
	int r = uplink ? read_uplink(json, uplink) : -ENOMEM;

	if (r == 0 && (d->uplinks[uplink->number] || uplinks_find(d, uplink->name)))
		r = -EBADMSG;
	if (r == 0)
		r = uplink_find(&d->hooks, uplink);
	if (r == 0) {
		uint32_t number = uplink->number;

		d->uplinks[number] = TAKE_PTR(uplink);
	}
	return r;
}

int uplinks_restore(struct dfwd *d)
{
	_cleanup_json_ json_t *json = NULL;
	const json_t *list, *entry;
	char path[PATH_MAX];
	size_t i;
	int r = state_file_read(file_path(d, path), &json);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	list = json_object_get(json, "uplinks");
	if (!json_is_array(list)) {
		log_error("%s: has no list \"uplinks\"", path);
		return -EBADMSG;
	}
	json_array_foreach (list, i, entry) {
		r = restore_uplink(d, entry);
		if (r < 0)
			return log_errno(r, "%s: uplink %zu of the list", path, i + 1);
	}
	return 0;
}

int uplinks_upgrade(struct dfwd *d)
{
	for (size_t i = 0; i < DFW_MAX_UPLINKS; i++) {
		int r = d->uplinks[i] ? uplink_upgrade(&d->hooks, d->uplinks[i]) : 0;

		for (size_t k = 0; r < 0 && k <= i; k++)
			if (d->uplinks[k])
				uplink_go_back(&d->hooks, d->uplinks[k]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- Devices ---------------------------------------------------------------------------------------------------- */

static void tell(struct dfwd *d, const struct uplink *uplink, const char *change)
{
	log_info("uplink %s: %s", uplink->name, change);
	events_publish(d, EVENT_TOPIC_DAEMON, "uplink",
		       json_pack("{s:s, s:s}", "change", change, "uplink", uplink->name));
}

static int attach(struct dfwd *d, struct uplink *uplink, uint32_t ifindex)
{
	static const char *const done[] = {
		[DFW_UPLINK_NONE] = "",
		[DFW_UPLINK_TC] = "attached in tc",
		[DFW_UPLINK_NATIVE] = "attached in XDP, at the driver",
		[DFW_UPLINK_GENERIC] = "attached in XDP, on skbs",
	};
	int r = uplink_attach(&d->hooks, uplink, ifindex);

	uplink->attach_failed = r < 0;
	if (r == 0)
		tell(d, uplink, done[uplink->hook]);
	bridges_changed(d);
	return r;
}

/* A device that stripped tags until now shall again when we go. */
static void attach_and_note(struct dfwd *d, struct uplink *uplink, uint32_t ifindex)
{
	bool strips = uplink->strips;

	if (attach(d, uplink, ifindex) == 0 && strips != uplink->strips)
		write_file(d);
}

bool uplinks_seen(struct dfwd *d, uint32_t ifindex, const char *name)
{
	struct uplink *holder = uplinks_find_ifindex(d, ifindex);
	struct uplink *owner = uplinks_find(d, name);

	if (holder == owner)
		return owner != NULL;
	if (holder) { /* renamed */
		uplink_detach(&d->hooks, holder);
		tell(d, holder, "its device has another name now");
	}
	if (owner && owner->ifindex)
		uplinks_gone(d, owner->ifindex);
	if (owner)
		attach_and_note(d, owner, ifindex);
	bridges_changed(d);
	return owner != NULL;
}

void uplinks_gone(struct dfwd *d, uint32_t ifindex)
{
	struct uplink *uplink = uplinks_find_ifindex(d, ifindex);

	if (!uplink)
		return;
	uplink_forget(&d->hooks, uplink);
	uplink->attach_failed = false;
	bridges_changed(d);
	tell(d, uplink, "its device has gone");
}

void uplinks_retry(struct dfwd *d)
{
	for (size_t i = 0; i < DFW_MAX_UPLINKS; i++) {
		struct uplink *uplink = d->uplinks[i];
		uint32_t ifindex = uplink && uplink->attach_failed ? links_index(uplink->name) : 0;

		if (ifindex)
			attach_and_note(d, uplink, ifindex);
	}
}

int uplinks_detach(struct dfwd *d)
{
	int r = 0;

	for (size_t i = 0; i < DFW_MAX_UPLINKS; i++) {
		struct uplink *uplink = d->uplinks[i];
		int one = uplink && uplink->ifindex ? uplink_detach(&d->hooks, uplink) : 0;

		r = r < 0 ? r : one;
	}
	return r;
}

/* ---- Add, set, del ---------------------------------------------------------------------------------------------- */

int uplink_must_be_ours(const struct dfwd *d, const struct uplink *uplink)
{
	if (!uplink->configured)
		return 0;
	log_error("uplink %s is made by %s: change it there, and reload dfwd", uplink->name,
		  d->config_path);
	return -EINVAL;
}

static int free_number(const struct dfwd *d, uint32_t *number)
{
	for (*number = 0; *number < DFW_MAX_UPLINKS; (*number)++)
		if (!d->uplinks[*number])
			return 0;
	log_error("there are %d uplinks already, which is the most a host has", DFW_MAX_UPLINKS);
	return -ENOSPC;
}

static int check_wish(const struct dfwd *d, const struct uplink_wish *wish)
{
	const struct port *port = ports_find_device(d, wish->name);

	if (uplinks_find(d, wish->name)) {
		log_error("there is an uplink %s already", wish->name);
		return -EEXIST;
	}
	if (port) {
		log_error("device %s is that of vport %s", wish->name, port->spec->name);
		return -EEXIST;
	}
	return links_check_name(wish->name);
}

/* The counters of an uplink that had this number before are not this one's. */
static int clear_counters(const struct dfwd *d, uint32_t number)
{
	const uint32_t places[] = {DFW_WAY_PLACE_UPLINK(number), DFW_WAY_PLACE_XDP(number)};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(places) && r == 0; i++)
		r = map_clear_percpu(d->object.path_ways, &places[i],
				     sizeof(struct dfw_way_counters));
	return r < 0 ? log_errno(r, "cannot clear the counters of the uplink") : 0;
}

static void remove_uplink(struct dfwd *d, struct uplink *uplink)
{
	char part[IF_NAMESIZE + 16], path[PATH_MAX];

	if (uplink->ifindex)
		uplink_detach(&d->hooks, uplink);
	uplink_unpublish(&d->object, uplink);
	snprintf(part, sizeof(part), "uplinks/%s", uplink->name);
	directory_remove(pin_path(d->instance, part, path));
	d->uplinks[uplink->number] = NULL;
	free(uplink);
	bridges_changed(d);
}

/* A command's answer means that it holds. */
static void settle(struct dfwd *d)
{
	bridges_changed(d);
	bridges_tick(d);
}

int uplink_add(struct dfwd *d, const struct uplink_wish *wish, bool configured)
{
	struct uplink *uplink;
	uint32_t number = 0, ifindex = links_index(wish->name);
	int r = check_wish(d, wish);

	if (r == 0)
		r = free_number(d, &number);
	if (r == 0)
		r = clear_counters(d, number);
	if (r < 0)
		return r;
	uplink = calloc(1, sizeof(*uplink));
	if (!uplink)
		return log_errno(-ENOMEM, "uplink %s", wish->name);
	*uplink = (struct uplink){
		.mode = wish->mode, .fast = wish->fast, .configured = configured, .number = number};
	strcpy(uplink->name, wish->name);
	d->uplinks[number] = uplink;
	r = ifindex ? attach(d, uplink, ifindex) : uplink_publish(&d->object, uplink);
	/* The configuration is what shall be, also when a device is not as it should be yet. */
	if (r == 0 || configured)
		r = write_file(d);
	if (r < 0)
		remove_uplink(d, uplink);
	settle(d);
	return r;
}

/* A device that does not take the new mode goes back to the old one. */
static int change_mode(struct dfwd *d, struct uplink *uplink, enum uplink_mode mode)
{
	enum uplink_mode former = uplink->mode;
	uint32_t ifindex = uplink->ifindex;
	int r = 0;

	if (mode == former)
		return 0;
	if (ifindex)
		r = uplink_detach(&d->hooks, uplink);
	if (r < 0)
		return r;
	uplink->mode = mode;
	r = ifindex ? attach(d, uplink, ifindex) : 0;
	if (r < 0) {
		uplink->mode = former;
		attach(d, uplink, ifindex);
	}
	return r;
}

/* What is left to fail is a broken disk. */
static int enforce(struct dfwd *d, struct uplink *uplink, const struct uplink_wish *wish,
		   struct staged_file *file)
{
	bool strips = uplink->strips;
	int r = change_mode(d, uplink, wish->mode);

	if (r < 0)
		return r;
	uplink->fast = wish->fast;
	r = uplink_publish(&d->object, uplink);
	/* Whether it strips tags the device tells only now. */
	if (r == 0 && strips != uplink->strips)
		r = stage_file(d, NULL, NULL, file);
	return r < 0 ? r : commit_file(file);
}

int uplink_set(struct dfwd *d, struct uplink *uplink, const struct uplink_wish *wish)
{
	_cleanup_staged_ struct staged_file file = {};
	const struct uplink former = *uplink;
	struct uplink next = former;
	int r;

	next.mode = wish->mode;
	next.fast = wish->fast;
	r = stage_file(d, uplink, &next, &file);
	if (r < 0)
		return r;
	r = enforce(d, uplink, wish, &file);
	if (r < 0) {
		change_mode(d, uplink, former.mode);
		uplink->fast = former.fast;
		uplink_publish(&d->object, uplink);
	}
	settle(d);
	return r;
}

int uplink_del(struct dfwd *d, struct uplink *uplink)
{
	_cleanup_staged_ struct staged_file file = {};
	int r = stage_file(d, uplink, NULL, &file);

	if (r < 0)
		return r;
	tell(d, uplink, "removed");
	remove_uplink(d, uplink);
	settle(d);
	return commit_file(&file);
}

/* ---- The configuration ------------------------------------------------------------------------------------------ */

void uplinks_configure(struct dfwd *d)
{
	for (size_t i = 0; i < DFW_MAX_UPLINKS; i++) {
		struct uplink *uplink = d->uplinks[i];

		if (uplink && uplink->configured && !find_wish(&d->config, uplink->name))
			uplink_del(d, uplink);
	}
	for (size_t i = 0; i < d->config.nr_uplinks; i++) {
		const struct uplink_wish *wish = &d->config.uplinks[i];
		struct uplink *uplink = uplinks_find(d, wish->name);

		if (!uplink) {
			uplink_add(d, wish, true);
			continue;
		}
		if (uplink->configured && uplink->mode == wish->mode &&
		    uplink->fast == wish->fast) {
			uplink_publish(&d->object, uplink);
			continue;
		}
		uplink->configured = true;
		uplink_set(d, uplink, wish);
	}
}
