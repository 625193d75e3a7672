/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_STATIONS_H
#define DFW_LOADER_STATIONS_H

#include <libmnl/libmnl.h>

/* What the tables of bridges (FDB) say of where stations are. The datapath hears them itself; this is for what it has not
 * heard: before it listened, of static entries, of ports where it has no hooks. */

struct dfwd;

/* Tells the datapath all that the tables say. Errors are logged: then it hears for itself. */
void stations_survey(struct dfwd *d);
/* A message of rtnetlink about an entry. */
void stations_news(struct dfwd *d, const struct nlmsghdr *header);

#endif
