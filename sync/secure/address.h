/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_SECURE_ADDRESS_H
#define SYNC_SECURE_ADDRESS_H

#include "sync/wire.h"

#define ADDRESS_PORT_DEFAULT 7472

/*
 * Where a host listens: "10.0.0.1:7472", "[2001:db8::1]:7472". Numeric, since a name would have to be asked of somebody;
 * in the one form that all hosts write, since texts are compared. The port behind it must exist too.
 */

/* `host` has the brackets. Both have room for WIRE_TEXT_LEN. -EINVAL. */
int address_split(const char *text, char *host, unsigned int *port);
int address_canonical(const char *text, char *canonical);

#endif
