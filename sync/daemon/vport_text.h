/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_DAEMON_VPORT_TEXT_H
#define SYNC_DAEMON_VPORT_TEXT_H

#include <jansson.h>

#include "sync/messages.h"

#define UUID_TEXT_LEN 37

/* A vport as the registry has it, and as dfwd speaks of it: {"name", "dev", "macs", "ips", "learned", "vlans", "tags",
 * "profile", "share", "attached", "ready", "held"}. */

/* Texts lie in `json`. -EBADMSG: not what dfwd would say; -EMSGSIZE: more than the registry takes. */
int vport_from_json(const json_t *json, uint8_t value[ENTRY_VALUE_MAX], uint16_t *nr);
/* With "uuid" and "epoch", so that dfwd can make the port. NULL: no memory. */
json_t *vport_to_json(struct uuid port, uint64_t epoch, const struct vport *vport);

int uuid_parse(const char *text, struct uuid *uuid);
char *uuid_format(struct uuid uuid, char text[UUID_TEXT_LEN]);

#endif
