/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_CPUS_H
#define DFW_CPUS_H

/*
 * Runs on each processor that is online, one after the other. Where packets are handled without being put aside, none is in the
 * middle of it when this returns that was when it was called: what ran there before has ended, and what runs there
 * after us sees all that we wrote before. Some 50 us a processor, while a grace period of RCU takes 10 ms, and 60 on a busy
 * host.
 * 0; -EOPNOTSUPP: this kernel (PREEMPT_RT) puts handlers of packets aside for others; -E2BIG: so many processors that RCU is as
 * fast; another negative errno: one of them may not be used.
 */
int cpus_visit(void);

#endif
