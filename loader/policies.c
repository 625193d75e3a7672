// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include "bundle.h"
#include "groups.h"
#include "json.h"
#include "log.h"
#include "policies.h"
#include "realise.h"
#include "view_pins.h"

/* Ports by pattern that the former policy did not take get another chance. */
static void include_all(struct dfwd *d)
{
	for (size_t i = 0; i < d->nr_ports; i++)
		d->ports[i]->left_out = false;
}

/* The policy in force stays, and with it whom it does not take. */
static void leave_out_again(struct dfwd *d)
{
	for (size_t i = 0; i < d->nr_ports; i++)
		if (!(d->ports[i]->config.flags & DFW_PORT_READY))
			d->ports[i]->left_out = d->policy && d->ports[i]->spec->pattern[0];
}

static void tell(struct dfwd *d, const char *cause, const struct applied *applied)
{
	log_notice("policy generation %u is in force (%s): %zu rules on %zu vports",
		   applied->generation, cause, applied->rules, applied->vports);
	events_publish(d, EVENT_TOPIC_DAEMON, "policy",
		       json_pack("{s:I, s:s}", "generation", (json_int_t)applied->generation,
				 "cause", cause));
}

/* Written on disk, flipped in the kernel, committed on disk: <policy_store.h> says why in that order. */
static int bring_into_force(struct dfwd *d, struct new_generation *new, struct revision *revision,
			    struct applied *applied)
{
	int r = store_place(&d->store, new);

	if (r == 0)
		r = revision_commit(revision);
	if (r < 0) {
		store_abort(&d->store, new);
		return r;
	}
	applied->generation = new->number;
	applied->vports = d->nr_ports;
	applied->rules = revision_rules(revision);
	applied->took = *revision_took(revision);
	return store_commit(&d->store, new);
}

/* Also when only the last step on disk has failed: the kernel has it. */
static void settle(struct dfwd *d, struct policy **policy, const char *cause, const char *object,
		   const struct applied *applied)
{
	if (!applied->generation) {
		leave_out_again(d);
		return;
	}
	policy_free(d->policy);
	d->policy = TAKE_PTR(*policy);
	strcpy(d->policy_object, object);
	groups_settle(d);
	tell(d, cause, applied);
}

static int parse(const json_t *bundle, struct policy **policy, struct policy_errors *errors)
{
	int r = bundle_parse(bundle, policy, errors);

	if (r == -EBADMSG)
		log_error("a policy is wanted as {\"main\": NAME, \"files\": [{\"name\", "
			  "\"text\"}]}");
	return r;
}

static int prepare(struct dfwd *d, const struct policy *policy, uint32_t generation,
		   struct revision **revision, struct policy_errors *errors)
{
	size_t nr, index;
	struct wanted_port *wanted = wanted_list(d, NULL, NULL, &nr, &index);

	return revision_prepare(d, policy, generation, wanted, nr, revision, errors);
}

int policies_apply(struct dfwd *d, const json_t *bundle, const char *cause, struct applied *applied,
		   struct policy_errors *errors)
{
	_cleanup_revision_ struct revision *revision = NULL;
	struct policy *policy = NULL;
	struct new_generation new;
	uint64_t begin = monotonic_ns();
	int r = parse(bundle, &policy, errors);

	*applied = (struct applied){.parse_us = (monotonic_ns() - begin) / 1000};
	if (r < 0)
		return r;
	include_all(d);
	r = store_begin(&d->store, 0, bundle, cause, &new);
	if (r == 0)
		r = prepare(d, policy, new.number, &revision, errors);
	if (r == 0)
		r = bring_into_force(d, &new, revision, applied);
	else
		store_abort(&d->store, &new);
	settle(d, &policy, cause, "", applied);
	policy_free(policy);
	return r;
}

/* ---- In a cluster ----------------------------------------------------------------------------------------------- */

int policies_check(struct dfwd *d, const json_t *bundle, struct policy_errors *errors)
{
	_cleanup_revision_ struct revision *revision = NULL;
	struct policy *policy = NULL;
	int r = parse(bundle, &policy, errors);

	if (r < 0)
		return r;
	include_all(d);
	r = prepare(d, policy, 0, &revision, errors);
	leave_out_again(d);
	policy_free(policy);
	return r;
}

void policies_unstage(struct dfwd *d)
{
	store_abort(&d->store, &d->staged.new);
	policy_free(d->staged.policy);
	d->staged.policy = NULL;
}

int policies_stage(struct dfwd *d, uint32_t generation, const json_t *bundle,
		   struct policy_errors *errors)
{
	const char *cause = json_text(bundle, "cause"), *object = json_text(bundle, "object");
	int r = policies_check(d, bundle, errors);

	if (r < 0)
		return r;
	policies_unstage(d);
	snprintf(d->staged.cause, sizeof(d->staged.cause), "%s", cause ? cause : "cluster");
	snprintf(d->staged.object, sizeof(d->staged.object), "%s", object ? object : "");
	r = store_begin(&d->store, generation, bundle, d->staged.cause, &d->staged.new);
	if (r == 0)
		r = parse(bundle, &d->staged.policy, errors);
	if (r == 0)
		r = store_written(&d->store, &d->staged.new);
	if (r < 0)
		policies_unstage(d);
	return r;
}

int policies_flip(struct dfwd *d, uint32_t generation, struct applied *applied,
		  struct policy_errors *errors)
{
	_cleanup_revision_ struct revision *revision = NULL;
	int r;

	*applied = (struct applied){};
	if (!generation || d->staged.new.number != generation) {
		log_error("policy generation %u is not staged here", generation);
		return -ESTALE;
	}
	include_all(d);
	r = prepare(d, d->staged.policy, generation, &revision, errors);
	if (r == 0)
		r = bring_into_force(d, &d->staged.new, revision, applied);
	settle(d, &d->staged.policy, d->staged.cause, d->staged.object, applied);
	policies_unstage(d);
	return r;
}

/* ---- Former ones ------------------------------------------------------------------------------------------------ */

int policies_rollback(struct dfwd *d, uint32_t generation, struct applied *applied, uint32_t *from,
		      struct policy_errors *errors)
{
	_cleanup_json_ json_t *bundle = NULL;
	char cause[32];
	int r;

	*from = generation ? generation : store_before_active(&d->store);
	if (!*from) {
		log_error("there is no generation before the active one");
		return -ENOENT;
	}
	r = store_load(&d->store, *from, &bundle);
	if (r < 0)
		return r;
	snprintf(cause, sizeof(cause), "rollback to %u", *from);
	json_object_del(bundle, "applied_at");
	json_object_del(bundle, "object");
	return policies_apply(d, bundle, cause, applied, errors);
}

int policies_restore(struct dfwd *d)
{
	_cleanup_json_ json_t *bundle = NULL;
	struct policy_errors errors = {};
	int r;

	if (d->revision.generation && d->revision.generation != d->store.active) {
		r = store_follow_kernel(&d->store, d->revision.generation);
		if (r == -ENOENT && d->revision.generation < d->store.active)
			r = 0;
		else if (r == -ENOENT)
			log_error("the kernel enforces policy generation %u, and goes on to, but "
				  "%s has no such "
				  "generation. Restore the directory, or end enforcement by `dfwd "
				  "-i %s --detach`",
				  d->revision.generation, d->store.dir, d->instance);
		if (r < 0)
			return r;
		log_notice("policy generation %u is in force in the kernel: a crash had kept the "
			   "disk behind",
			   d->store.active);
	}
	store_end_interrupted(&d->store);
	if (!d->store.active)
		return 0;
	r = store_load(&d->store, d->store.active, &bundle);
	if (r == 0)
		r = bundle_parse(bundle, &d->policy, &errors);
	if (r == 0 && json_text(bundle, "object"))
		snprintf(d->policy_object, sizeof(d->policy_object), "%s",
			 json_text(bundle, "object"));
	for (size_t i = 0; i < errors.nr; i++)
		log_error("%s:%u:%u: %s", errors.list[i].file, errors.list[i].line,
			  errors.list[i].column, errors.list[i].text);
	policy_errors_free(&errors);
	if (r < 0)
		log_error("policy generation %u cannot be read back from %s", d->store.active,
			  d->store.dir);
	return r;
}
