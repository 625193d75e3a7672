// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include "bundle.h"
#include "json.h"
#include "log.h"
#include "policies.h"
#include "realise.h"

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

/* Stage on disk, flip in the kernel, commit on disk: <policy_store.h> says why in that order. */
static int bring_into_force(struct dfwd *d, const json_t *bundle, const char *cause,
			    struct policy *policy, struct applied *applied,
			    struct policy_errors *errors)
{
	_cleanup_revision_ struct revision *revision = NULL;
	struct new_generation new;
	size_t nr, index;
	struct wanted_port *wanted = wanted_list(d, NULL, NULL, &nr, &index);
	int r;

	r = revision_prepare(d, policy, d->store.last + 1, wanted, nr, &revision, errors);
	if (r < 0)
		return r;
	r = store_begin(&d->store, bundle, cause, &new);
	if (r < 0)
		return r;
	r = revision_commit(revision);
	if (r < 0) {
		store_abort(&d->store, &new);
		return r;
	}
	*applied = (struct applied){new.number, nr, revision_rules(revision)};
	return store_commit(&d->store, &new);
}

int policies_apply(struct dfwd *d, const json_t *bundle, const char *cause, struct applied *applied,
		   struct policy_errors *errors)
{
	struct policy *policy = NULL;
	int r = bundle_parse(bundle, &policy, errors);

	if (r == -EBADMSG)
		log_error("a policy is wanted as {\"main\": NAME, \"files\": [{\"name\", "
			  "\"text\"}]}");
	if (r < 0)
		return r;
	include_all(d);
	*applied = (struct applied){};
	r = bring_into_force(d, bundle, cause, policy, applied, errors);
	/* Also when only the last step on disk has failed: the kernel has it. */
	if (applied->generation) {
		policy_free(d->policy);
		d->policy = TAKE_PTR(policy);
		tell(d, cause, applied);
	} else {
		leave_out_again(d);
	}
	policy_free(policy);
	return r;
}

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
	return policies_apply(d, bundle, cause, applied, errors);
}

int policies_restore(struct dfwd *d)
{
	_cleanup_json_ json_t *bundle = NULL;
	struct policy_errors errors = {};
	int r;

	if (d->revision.generation > d->store.active) {
		r = store_follow_kernel(&d->store, d->revision.generation);
		if (r == -ENOENT)
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
	if (!d->store.active)
		return 0;
	r = store_load(&d->store, d->store.active, &bundle);
	if (r == 0)
		r = bundle_parse(bundle, &d->policy, &errors);
	for (size_t i = 0; i < errors.nr; i++)
		log_error("%s:%u:%u: %s", errors.list[i].file, errors.list[i].line,
			  errors.list[i].column, errors.list[i].text);
	policy_errors_free(&errors);
	if (r < 0)
		log_error("policy generation %u cannot be read back from %s", d->store.active,
			  d->store.dir);
	return r;
}
