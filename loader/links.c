// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "links.h"
#include "log.h"
#include "util.h"

#define RECEIVE_BYTES (1 << 20) /* room for bursts: a thousand VMs that start at once */
#define MESSAGE_BYTES 32768	/* rtnetlink's largest dump message */

#define _cleanup_mnl_ _cleanup_(cleanup_mnl)

static void cleanup_mnl(struct mnl_socket **socket)
{
	if (*socket)
		mnl_socket_close(*socket);
}

static int open_socket(unsigned int groups, struct mnl_socket **socket)
{
	_cleanup_mnl_ struct mnl_socket *new = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

	if (!new || mnl_socket_bind(new, groups, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	*socket = TAKE_PTR(new);
	return 0;
}

int links_open(struct links *links)
{
	const int bytes = RECEIVE_BYTES;
	int r = open_socket(RTMGRP_LINK, &links->socket);

	if (r < 0)
		return log_errno(r, "cannot watch devices by rtnetlink");
	links->fd = mnl_socket_get_fd(links->socket);
	/* Without the privilege it stays at its default, and -ENOBUFS comes earlier. */
	setsockopt(links->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	return 0;
}

void links_close(struct links *links)
{
	cleanup_mnl(&links->socket);
	links->socket = NULL;
}

struct link_walk {
	link_handler handler;
	void *data;
};

static int handle_message(const struct nlmsghdr *header, void *data)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(header);
	const struct link_walk *walk = data;
	struct link_event event = {.gone = header->nlmsg_type == RTM_DELLINK};
	struct nlattr *attribute;

	if (header->nlmsg_type != RTM_NEWLINK && header->nlmsg_type != RTM_DELLINK)
		return MNL_CB_OK;
	/* A bridge tells of its ports by messages of its own family; its RTM_DELLINK is a device that left the bridge. */
	if (info->ifi_family != AF_UNSPEC)
		return MNL_CB_OK;
	event.ifindex = (uint32_t)info->ifi_index;
	mnl_attr_for_each(attribute, header,
			  sizeof(*info)) if (mnl_attr_get_type(attribute) == IFLA_IFNAME)
		event.name = mnl_attr_get_str(attribute);
	if (event.name)
		walk->handler(&event, walk->data);
	return MNL_CB_OK;
}

int links_read(struct links *links, link_handler handler, void *data)
{
	struct link_walk walk = {handler, data};
	char message[MESSAGE_BYTES];

	for (;;) {
		ssize_t bytes = recv(links->fd, message, sizeof(message), MSG_DONTWAIT);

		if (bytes < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (mnl_cb_run(message, (size_t)bytes, 0, 0, handle_message, &walk) < 0)
			return -errno;
	}
}

static int dump(struct nlmsghdr *request, mnl_cb_t callback, void *data)
{
	_cleanup_mnl_ struct mnl_socket *socket = NULL;
	char message[MESSAGE_BYTES];
	ssize_t bytes;
	int r = open_socket(0, &socket);

	if (r < 0)
		return r;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = (uint32_t)time(NULL);
	if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return -errno;
	do {
		bytes = mnl_socket_recvfrom(socket, message, sizeof(message));
		if (bytes < 0)
			return -errno;
		r = mnl_cb_run(message, (size_t)bytes, request->nlmsg_seq,
			       mnl_socket_get_portid(socket), callback, data);
		if (r < 0)
			return -errno;
	} while (r > MNL_CB_STOP);
	return 0;
}

int links_list(link_handler handler, void *data)
{
	char buffer[256] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct link_walk walk = {handler, data};

	request->nlmsg_type = RTM_GETLINK;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	return dump(request, handle_message, &walk);
}

static int count_filter(const struct nlmsghdr *header, void *data)
{
	(void)header;
	*(int *)data = 1;
	return MNL_CB_OK;
}

static int list_filters(uint32_t ifindex, uint32_t parent, int *used)
{
	char buffer[256] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct tcmsg *filter;

	request->nlmsg_type = RTM_GETTFILTER;
	filter = mnl_nlmsg_put_extra_header(request, sizeof(*filter));
	filter->tcm_ifindex = (int)ifindex;
	filter->tcm_parent = parent;
	return dump(request, count_filter, used);
}

int links_clsact_used(uint32_t ifindex)
{
	int used = 0;
	int r = list_filters(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), &used);

	if (r == 0)
		r = list_filters(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS), &used);
	return r < 0 ? r : used;
}
