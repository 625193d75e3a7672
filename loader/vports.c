// SPDX-License-Identifier: GPL-2.0
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "devices.h"
#include "json.h"
#include "log.h"
#include "moves.h"
#include "ports.h"
#include "realise.h"
#include "view.h"
#include "vports.h"

/* What the operator says outweighs what a VM says. */
static int unlearn(struct wanted_port *wanted, size_t nr, const struct vport_spec *claims)
{
	for (size_t i = 0; i < nr; i++) {
		struct vport_spec *next;

		if (wanted[i].spec == claims || !spec_must_unlearn(wanted[i].spec, claims))
			continue;
		log_notice("vport %s claims what vport %s has learned, which forgets it",
			   claims->name, wanted[i].spec->name);
		next = wanted_change(&wanted[i]);
		if (!next)
			return log_errno(-ENOMEM, "vport %s", claims->name);
		spec_unlearn(next, claims);
	}
	return 0;
}

static int prepare(struct dfwd *d, const struct port *changed, const struct vport_spec *spec,
		   struct revision **revision, size_t *index, struct staged_file *file,
		   struct policy_errors *errors)
{
	size_t nr;
	struct wanted_port *wanted = wanted_list(d, changed, spec, &nr, index);
	int r = wanted ? 0 : log_errno(-ENOMEM, "cannot list the vports");

	if (r == 0 && spec)
		r = unlearn(wanted, nr, spec);
	if (r == 0)
		r = ports_stage_file(d, wanted, nr, file);
	if (r < 0) {
		wanted_free(wanted, nr);
		return r;
	}
	return revision_prepare(d, d->policy, d->revision.generation, wanted, nr, revision, errors);
}

/* Without a policy nobody can say what other profiles are. */
static int check_profile(const struct dfwd *d, const struct vport_spec *spec)
{
	if (d->policy || strcmp(spec->profile, DEFAULT_PROFILE) == 0)
		return 0;
	log_error(
		"profile \"%s\": there is no policy yet to say what it is; only \"%s\" can be had",
		spec->profile, DEFAULT_PROFILE);
	return -EINVAL;
}

static int commit_file(struct staged_file *file)
{
	int r = file_commit(file);

	/* The kernel has it already, and the space was there: this is no full disk, but a broken one. */
	return r < 0 ? log_errno(r, "cannot rename %s into its place", file->temporary) : 0;
}

static void tell(struct dfwd *d, const char *what, const struct port *port)
{
	log_info("vport %s: %s, device %s", port->spec->name, what, port->spec->dev);
	bridges_changed(d);
	events_publish(d, EVENT_TOPIC_DAEMON, "vport",
		       json_pack("{s:s, s:s}", "change", what, "vport", port->spec->name));
}

/* ---- Add -------------------------------------------------------------------------------------------------------- */

/* The port denies from here on, and its device is enforced. */
static int make_port(struct dfwd *d, struct vport_spec **spec, const struct dfw_profile *profile,
		     struct port **port)
{
	uint32_t slot;
	int r = ports_free_slot(d, &slot);

	if (r == 0)
		r = port_create(&d->object, spec, slot, profile, port);
	if (r < 0)
		return r;
	r = ports_install(&d->object, port, 1);
	if (r == 0)
		r = ports_insert(d, *port);
	if (r == 0)
		r = device_enforce(d, *port);
	return r;
}

int vport_add(struct dfwd *d, struct vport_spec **spec, struct policy_errors *errors)
{
	_cleanup_revision_ struct revision *revision = NULL;
	_cleanup_staged_ struct staged_file file = {};
	struct port *port = NULL;
	size_t index;
	int r;

	r = ports_conflict(d, *spec, NULL);
	if (r == 0)
		r = device_check((*spec)->dev);
	if (r == 0)
		r = check_profile(d, *spec);
	if (r == 0)
		r = prepare(d, NULL, *spec, &revision, &index, &file, errors);
	if (r < 0)
		return r;
	r = make_port(d, spec, revision_profile(revision, index), &port);
	if (r == 0) {
		moves_hold_new(d, port);
		revision_set_port(revision, index, port);
		r = revision_commit(revision);
	}
	if (r == 0)
		r = commit_file(&file);
	if (r < 0) {
		if (port) {
			ports_take(d, port);
			port_remove(d, port);
		}
		return r;
	}
	port_set_listed(&d->object, port, true);
	tell(d, "added", port);
	return 0;
}

/* ---- Set -------------------------------------------------------------------------------------------------------- */

int vport_set(struct dfwd *d, struct port *port, struct vport_spec **spec,
	      struct policy_errors *errors)
{
	_cleanup_revision_ struct revision *revision = NULL;
	_cleanup_staged_ struct staged_file file = {};
	_cleanup_attaching_ struct attaching attaching = {};
	bool moves = strcmp(port->spec->dev, (*spec)->dev) != 0;
	size_t index;
	int r;

	r = ports_conflict(d, *spec, port);
	if (r == 0 && moves)
		r = device_check((*spec)->dev);
	if (r == 0)
		r = check_profile(d, *spec);
	if (r == 0)
		r = prepare(d, port, *spec, &revision, &index, &file, errors);
	/* Both devices deny or decide by the old rules until the new ones are in force. */
	if (r == 0 && moves)
		r = device_begin(d, port, (*spec)->dev, &attaching);
	if (r == 0)
		r = revision_commit(revision);
	if (r < 0)
		return r;
	spec_free(port->spec);
	port->spec = TAKE_PTR(*spec);
	r = commit_file(&file);
	if (moves_share(d, port) < 0 && r == 0)
		r = -EIO;
	if (moves) {
		int kept = attach_keep(&attaching, port);

		port->attach_failed = kept < 0;
		if (kept < 0)
			r = log_errno(kept, "vport %s: cannot keep device %s", port->spec->name,
				      port->spec->dev);
	}
	tell(d, "changed", port);
	return r;
}

/* ---- Del -------------------------------------------------------------------------------------------------------- */

int vport_del(struct dfwd *d, struct port *port, struct policy_errors *errors)
{
	_cleanup_revision_ struct revision *revision = NULL;
	_cleanup_staged_ struct staged_file file = {};
	size_t index;
	int r;

	r = prepare(d, port, NULL, &revision, &index, &file, errors);
	if (r == 0)
		r = port_set_listed(&d->object, port, false);
	if (r < 0)
		return r;
	r = revision_commit(revision);
	if (r == 0)
		r = commit_file(&file);
	if (r < 0) {
		port_set_listed(&d->object, port, true);
		return r;
	}
	tell(d, "removed", port);
	ports_take(d, port);
	port_remove(d, port);
	return 0;
}

/* ---- By pattern ------------------------------------------------------------------------------------------------- */

/* It denies until a policy takes it. */
static int make_denying(struct dfwd *d, struct vport_spec **spec, struct port **port)
{
	int r = make_port(d, spec, profile_default(), port);

	if (r < 0 && *port) {
		ports_take(d, *port);
		port_remove(d, *port);
	}
	return r;
}

/* It stays, denying, and every port else goes on; the next policy may take it. */
static int add_left_out(struct dfwd *d, struct vport_spec **spec)
{
	struct port *port = NULL;
	int r = make_denying(d, spec, &port);

	if (r < 0)
		return r;
	port->left_out = true;
	/* A restart must know the port, or it would take it for one that a crash left behind. */
	ports_save(d);
	log_warning("vport %s: %s; it denies everything", port->spec->name,
		    d->policy ? "the policy does not take it" : "there is no policy yet");
	return 0;
}

/* The device's name as far as a vport's may be so, and not another vport's. */
static int name_after(const struct dfwd *d, const char *device, struct vport_spec *spec)
{
	char name[DFW_PORT_NAME_LEN];
	size_t bytes;

	snprintf(name, sizeof(name) - sizeof("-1000"), "%s", device);
	bytes = strlen(name);
	for (size_t i = 0; i < bytes; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("_-:", name[i]))
			name[i] = '_';
	for (int i = 2; i < 1000 && ports_find(d, name); i++)
		sprintf(name + bytes, "-%d", i);
	return spec_set_name(spec, name);
}

/* *spec is NULL when the device's name matches no pattern. */
static int spec_by_pattern(const struct dfwd *d, const char *device, struct vport_spec **spec)
{
	const struct vport_pattern *pattern = config_match(&d->config, device);
	_cleanup_spec_ struct vport_spec *made = pattern ? spec_copy(pattern->template) : NULL;
	int r;

	*spec = NULL;
	if (!pattern)
		return 0;
	if (!made || getrandom(made->uuid, sizeof(made->uuid), 0) < 0)
		return log_errno(-ENOMEM, "device %s", device);
	strcpy(made->pattern, pattern->pattern);
	snprintf(made->dev, sizeof(made->dev), "%s", device);
	r = name_after(d, device, made);
	if (r == 0)
		r = ports_conflict(d, made, NULL);
	if (r < 0)
		return r;
	*spec = TAKE_PTR(made);
	return 0;
}

int vport_add_by_pattern(struct dfwd *d, const char *device)
{
	_cleanup_spec_ struct vport_spec *spec = NULL;
	struct policy_errors errors = {};
	int r = spec_by_pattern(d, device, &spec);

	if (r < 0 || !spec)
		return r;
	r = d->policy ? vport_add(d, &spec, &errors) : 0;
	for (size_t i = 0; i < errors.nr; i++)
		log_error("vport %s: %s", device, errors.list[i].text);
	policy_errors_free(&errors);
	if (!d->policy || (r < 0 && spec))
		r = add_left_out(d, &spec);
	return r;
}

void vport_guard_by_pattern(struct dfwd *d, const char *device)
{
	_cleanup_spec_ struct vport_spec *spec = NULL;
	struct port *port = NULL;

	if (spec_by_pattern(d, device, &spec) == 0 && spec)
		make_denying(d, &spec, &port);
}

int vport_must_be_ours(const struct dfwd *d, const struct port *port)
{
	const struct vport_spec *spec = port->spec;
	const struct vport_pattern *pattern = config_match(&d->config, spec->dev);

	if (!spec->pattern[0] || !port->ifindex || !pattern)
		return 0;
	log_error("vport %s is made by [vports \"%s\"] of %s while there is a device %s: change it "
		  "there, and reload dfwd",
		  spec->name, pattern->pattern, d->config_path, spec->dev);
	return -EINVAL;
}

/* ---- All -------------------------------------------------------------------------------------------------------- */

static int prepare_all(struct dfwd *d, struct revision **revision, struct policy_errors *errors)
{
	size_t nr, index;
	struct wanted_port *wanted = wanted_list(d, NULL, NULL, &nr, &index);

	return revision_prepare(d, d->policy, d->policy ? d->store.active : 0, wanted, nr, revision,
				errors);
}

static bool prepares(struct dfwd *d)
{
	_cleanup_revision_ struct revision *revision = NULL;
	struct policy_errors errors = {};
	int r = prepare_all(d, &revision, &errors);

	policy_errors_free(&errors);
	return r == 0;
}

static bool may_leave_out(const struct port *port)
{
	return port->spec->pattern[0] && !(port->config.flags & DFW_PORT_READY);
}

/* Finds the ports made by patterns that the policy does not take. Those in force already are not among them. */
static void leave_out(struct dfwd *d)
{
	for (size_t i = 0; i < d->nr_ports; i++)
		if (may_leave_out(d->ports[i]))
			d->ports[i]->left_out = true;
	for (size_t i = 0; i < d->nr_ports; i++) {
		struct port *port = d->ports[i];

		if (!port->left_out)
			continue;
		port->left_out = false;
		port->left_out = !prepares(d);
		if (port->left_out)
			log_warning("vport %s: the policy does not take it; it denies everything",
				    port->spec->name);
	}
}

int vports_realise(struct dfwd *d)
{
	_cleanup_revision_ struct revision *revision = NULL;
	struct policy_errors errors = {};
	int r;

	if (d->policy && !prepares(d))
		leave_out(d);
	r = prepare_all(d, &revision, &errors);
	for (size_t i = 0; i < errors.nr; i++)
		log_error("%s: %s", errors.list[i].file ? errors.list[i].file : "policy",
			  errors.list[i].text);
	policy_errors_free(&errors);
	return r < 0 ? r : revision_commit(revision);
}
