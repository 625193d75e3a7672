// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include "model.h"

#define NS_PER_SECOND 1000000000ULL

static const struct dfw_profile built_in = {
	.flags = 0
#define PROFILE_DEFAULT(symbol, name, on, help) | ((on) ? DFW_PROFILE_##symbol : 0)
	DFW_PROFILE_FLAGS(PROFILE_DEFAULT)
#undef PROFILE_DEFAULT
		,
#define PROFILE_DEFAULT(field, name, initial, lowest, highest) .field = (initial),
	PROFILE_LIMITS(PROFILE_DEFAULT)
#undef PROFILE_DEFAULT
		.resync_seconds = DFW_DEFAULT_RESYNC_SECONDS,
	.timeouts_ns =
		{
#define PROFILE_DEFAULT(symbol, name, seconds) [DFW_FLOW_##symbol] = (seconds) * NS_PER_SECOND,
			DFW_FLOW_STATES_LIST(PROFILE_DEFAULT)
#undef PROFILE_DEFAULT
		},
};

static const struct profile *find(const struct policy *policy, const char *name)
{
	for (size_t i = 0; i < policy->profiles.nr; i++)
		if (strcmp(policy->profiles.items[i]->name, name) == 0)
			return policy->profiles.items[i];
	return NULL;
}

static void overlay(struct dfw_profile *complete, const struct profile *profile)
{
	uint32_t *const limits[] = {
#define PROFILE_FIELD(field, name, initial, lowest, highest) &complete->field,
		PROFILE_LIMITS(PROFILE_FIELD)
#undef PROFILE_FIELD
	};

	complete->flags = (complete->flags & ~profile->flags_given) | profile->flags;
	for (size_t i = 0; i < PROFILE_NR_LIMITS; i++)
		if (profile->limits_given & 1U << i)
			*limits[i] = profile->limits[i];
	if (profile->resync_given)
		complete->resync_seconds = profile->resync_seconds;
	for (size_t i = 0; i < DFW_FLOW_STATES; i++)
		if (profile->timeouts_given & 1U << i)
			complete->timeouts_ns[i] = profile->timeouts_ns[i];
}

/* What a profile leaves out is as in the policy's profile "default", what that leaves out as in <dfw/port.h>. */
int profile_complete(const struct policy *policy, const char *name, struct dfw_profile *complete)
{
	const struct profile *base = find(policy, "default"), *profile;

	*complete = built_in;
	if (base)
		overlay(complete, base);
	if (!name || strcmp(name, "default") == 0)
		return 0;
	profile = find(policy, name);
	if (!profile)
		return -ENOENT;
	overlay(complete, profile);
	return 0;
}
