/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_NETLINK_H
#define DFW_LOADER_NETLINK_H

#include <libmnl/libmnl.h>

/* What the users of netlink share. All return 0 or a negative errno. */

/* A socket that hears the rtnetlink groups of the mask, with room for bursts: a thousand VMs that start at once. */
int netlink_watch(unsigned int groups, struct mnl_socket **socket);
void netlink_close(struct mnl_socket **socket);

/* Hands on the messages that wait. -ENOBUFS: the kernel dropped some. */
int netlink_read(struct mnl_socket *socket, mnl_cb_t callback, void *data);

/* Sends a request for everything there is, and hands it on; `bus`: NETLINK_ROUTE, NETLINK_GENERIC. */
int netlink_dump(int bus, struct nlmsghdr *request, mnl_cb_t callback, void *data);
/* The same for one answer. */
int netlink_ask(int bus, struct nlmsghdr *request, mnl_cb_t callback, void *data);

#endif
