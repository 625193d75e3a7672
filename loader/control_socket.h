/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_CONTROL_SOCKET_H
#define DFW_LOADER_CONTROL_SOCKET_H

#include "daemon.h"

/* The control socket: requests in, replies out, one at a time. <control.h> has the protocol. */

int control_open(struct dfwd *d);
void control_close(struct dfwd *d);
int control_fd(const struct dfwd *d);

/* Serves what waits. */
void control_serve(struct dfwd *d);

#endif
