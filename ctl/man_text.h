/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFWCTL_MAN_TEXT_H
#define DFWCTL_MAN_TEXT_H

/* Sections of dfwctl(8) that no table knows, in roff. */
extern const char man_introduction[];
extern const char man_events[];
extern const char man_uplinks[];
extern const char man_conclusion[];

#endif
