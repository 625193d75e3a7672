/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_RATE_H
#define DFW_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* A token bucket. All zero: full. */
struct rate {
	double tokens;
	uint64_t filled_ns;
};

/* May it happen once more? It holds `burst` and fills with `a_second`; times are of CLOCK_MONOTONIC. */
static inline bool rate_take(struct rate *rate, uint64_t now_ns, double a_second, double burst)
{
	rate->tokens += (double)(now_ns - rate->filled_ns) / 1e9 * a_second;
	if (rate->tokens > burst)
		rate->tokens = burst;
	rate->filled_ns = now_ns;
	if (rate->tokens < 1)
		return false;
	rate->tokens -= 1;
	return true;
}

#endif
