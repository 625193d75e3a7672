// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "daemon.h"
#include "file.h"
#include "json.h"
#include "log.h"
#include "ports.h"
#include "realise.h"
#include "view_pins.h"

#define SECOND_NS 1000000000ULL
#define WAIT_NS	  (10 * SECOND_NS) /* after a failure: each try compiles the policy */

enum outcome {
	OUTCOME_NONE, /* nothing to be told: it has the address already, or does not learn */
	OUTCOME_LEARNED,
	OUTCOME_LIMIT,
	OUTCOME_TAKEN,
};

static const char *const outcome_names[] = {
	[OUTCOME_LEARNED] = "learned",
	[OUTCOME_LIMIT] = "limit",
	[OUTCOME_TAKEN] = "taken",
};

struct decision {
	enum outcome outcome;
	char owner[DFW_PORT_NAME_LEN]; /* OUTCOME_TAKEN */
};

/* ---- Noting ----------------------------------------------------------------------------------------------------- */

static bool is_noted(const struct learn *learn, const struct dfw_event *event)
{
	for (size_t i = 0; i < learn->nr; i++)
		if (learn->claims[i].slot == event->slot &&
		    memcmp(&learn->claims[i].address, &event->key.local,
			   sizeof(event->key.local)) == 0)
			return true;
	return false;
}

void learn_note(struct dfwd *d, const struct dfw_event *event)
{
	struct learn *learn = &d->learn;
	const struct port *port = d->slots[event->slot];
	struct claim *claim;

	/* Of a port that had this slot before? */
	if (!port || event->time_ns < port->made_ns || learn->nr == LEARN_CLAIMS ||
	    is_noted(learn, event))
		return;
	claim = &learn->claims[learn->nr++];
	claim->slot = event->slot;
	claim->address = event->key.local;
	memcpy(claim->mac, event->mac, sizeof(claim->mac));
}

/* ---- Deciding --------------------------------------------------------------------------------------------------- */

static const struct vport_spec *find_owner(const struct wanted_port *wanted, size_t nr,
					   const struct dfw_addr *address)
{
	for (size_t i = 0; i < nr; i++)
		if (spec_has(wanted[i].spec, address))
			return wanted[i].spec;
	return NULL;
}

static struct wanted_port *find_wanted(struct wanted_port *wanted, size_t nr,
				       const struct port *port)
{
	for (size_t i = 0; i < nr; i++)
		if (wanted[i].port == port)
			return &wanted[i];
	return NULL;
}

static int decide(const struct dfwd *d, struct wanted_port *wanted, size_t nr,
		  const struct claim *claim, struct decision *decision)
{
	const struct port *port = d->slots[claim->slot];
	struct wanted_port *claimant = port ? find_wanted(wanted, nr, port) : NULL;
	const struct dfw_profile *profile;
	const struct vport_spec *owner;
	struct vport_spec *next;
	int r;

	*decision = (struct decision){};
	if (!claimant || spec_has(claimant->spec, &claim->address))
		return 0;
	profile = &port->config.profile;
	if (!(profile->flags & DFW_PROFILE_LEARN))
		return 0;
	owner = find_owner(wanted, nr, &claim->address);
	if (owner) {
		decision->outcome = OUTCOME_TAKEN;
		strcpy(decision->owner, owner->name);
		return 0;
	}
	if (claimant->spec->nr_learned >= profile->max_learned) {
		decision->outcome = OUTCOME_LIMIT;
		return 0;
	}
	next = wanted_change(claimant);
	if (!next)
		return -ENOMEM;
	r = spec_learn(next, &claim->address);
	if (r == 0)
		decision->outcome = OUTCOME_LEARNED;
	else if (r == -ENOSPC)
		decision->outcome = OUTCOME_LIMIT;
	return 0;
}

/* ---- Telling ---------------------------------------------------------------------------------------------------- */

/* A VM may claim what it likes as fast as it can: a line a second of each port is enough. */
static void log_refusal(struct port *port, const char *address, const char *why)
{
	uint64_t now = monotonic_ns();
	char untold[48] = "";

	if (port->refused_ns && now - port->refused_ns < SECOND_NS) {
		port->refused_untold++;
		return;
	}
	if (port->refused_untold)
		snprintf(untold, sizeof(untold), " (%" PRIu32 " refusals before were left out)",
			 port->refused_untold);
	log_notice("vport %s: address %s is not learned: %s%s", port->spec->name, address, why,
		   untold);
	port->refused_ns = now;
	port->refused_untold = 0;
}

static void tell(struct dfwd *d, const struct claim *claim, const struct decision *decision)
{
	struct port *port = d->slots[claim->slot];
	char address[ADDR_TEXT_LEN], mac[MAC_TEXT_LEN], why[DFW_PORT_NAME_LEN + 64];
	json_t *json;

	if (decision->outcome == OUTCOME_NONE)
		return;
	addr_format(&claim->address, address);
	mac_format(claim->mac, mac);
	json = json_pack("{s:s, s:s, s:s, s:s}", "vport", port->spec->name, "address", address,
			 "mac", mac, "outcome", outcome_names[decision->outcome]);
	switch (decision->outcome) {
	case OUTCOME_LEARNED:
		log_notice("vport %s: learned address %s of %s", port->spec->name, address, mac);
		break;
	case OUTCOME_LIMIT:
		snprintf(why, sizeof(why), "it has %zu learned ones and %zu in all",
			 port->spec->nr_learned, port->spec->nr_addresses);
		log_refusal(port, address, why);
		break;
	default:
		json_object_set_new(json, "owner", json_string(decision->owner));
		snprintf(why, sizeof(why), "it belongs to vport %s", decision->owner);
		log_refusal(port, address, why);
	}
	events_publish(d, EVENT_TOPIC_ADDRESS, "address", json);
}

/* ---- All that was noted ----------------------------------------------------------------------------------------- */

/* Takes `wanted` over. */
static int realise(struct dfwd *d, struct wanted_port *wanted, size_t nr)
{
	_cleanup_revision_ struct revision *revision = NULL;
	_cleanup_staged_ struct staged_file file = {};
	struct policy_errors errors = {};
	int r = ports_stage_file(d, wanted, nr, &file);

	if (r < 0) {
		wanted_free(wanted, nr);
		return r;
	}
	r = revision_prepare(d, d->policy, d->revision.generation, wanted, nr, &revision, &errors);
	for (size_t i = 0; i < errors.nr; i++)
		log_error("%s: %s", errors.list[i].file ? errors.list[i].file : "policy",
			  errors.list[i].text);
	policy_errors_free(&errors);
	if (r == 0)
		r = revision_commit(revision);
	if (r == 0)
		r = file_commit(&file);
	return r;
}

static int decide_all(struct dfwd *d, struct decision *decisions)
{
	const struct learn *learn = &d->learn;
	size_t nr, index;
	struct wanted_port *wanted = wanted_list(d, NULL, NULL, &nr, &index);
	bool learned = false;
	int r = wanted ? 0 : -ENOMEM;

	for (size_t i = 0; i < learn->nr && r == 0; i++) {
		r = decide(d, wanted, nr, &learn->claims[i], &decisions[i]);
		learned |= decisions[i].outcome == OUTCOME_LEARNED;
	}
	if (r == 0 && learned)
		return realise(d, wanted, nr);
	wanted_free(wanted, nr);
	return r;
}

void learn_claimed(struct dfwd *d)
{
	struct learn *learn = &d->learn;
	struct decision decisions[LEARN_CLAIMS] = {};
	int r;

	if (learn->nr == 0)
		return;
	if (monotonic_ns() >= learn->wait_ns) {
		r = decide_all(d, decisions);
		if (r < 0) {
			learn->wait_ns = monotonic_ns() + WAIT_NS;
			log_errno(r, "cannot learn addresses; the next try is in %llu s",
				  WAIT_NS / SECOND_NS);
		}
		for (size_t i = 0; i < learn->nr && r == 0; i++)
			tell(d, &learn->claims[i], &decisions[i]);
	}
	learn->nr = 0;
}
