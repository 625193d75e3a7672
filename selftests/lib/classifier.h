/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SELFTESTS_CLASSIFIER_H
#define SELFTESTS_CLASSIFIER_H

/* The datapath's classifier in the kernel (selftests/bench/classify.bpf.c) on compiled tables, without ports or traffic. */

#include "policy/policy.h"
#include "selftests/bench/classify.h"

struct classifier;

/* Loads the object of DFW_BUILD (build) and puts the tables in. Returns 0 or a negative errno, told on stderr. */
int classifier_open(const struct compiled *compiled, struct classifier **classifier);
void classifier_close(struct classifier *classifier);
static inline void classifier_cleanup(struct classifier **classifier)
{
	classifier_close(*classifier);
}
#define _cleanup_classifier_ _cleanup_(classifier_cleanup)

/* The headers to be decided from now on, at most CLASSIFY_HEADERS. */
int classifier_headers(struct classifier *classifier, const struct classify_header *headers,
		       size_t nr);

/* Whether decisions are remembered, as dfwd has it; they are not at first. */
int classifier_remember(struct classifier *classifier, bool remember);

/* verdicts[i] is the slot of the rule that decides headers[i]. */
int classifier_decide(struct classifier *classifier, size_t ruleset, uint32_t *verdicts);

/* What a decision costs, in nanoseconds: the best of `rounds` over all headers. */
int classifier_cost(struct classifier *classifier, size_t ruleset, unsigned int rounds, double *ns);

#endif
