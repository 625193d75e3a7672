// SPDX-License-Identifier: GPL-2.0
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "links.h"
#include "log.h"
#include "netlink.h"

int links_open(struct links *links)
{
	int r = netlink_watch(RTMGRP_LINK, &links->socket);

	if (r < 0)
		return log_errno(r, "cannot watch devices by rtnetlink");
	links->fd = mnl_socket_get_fd(links->socket);
	return 0;
}

void links_close(struct links *links)
{
	netlink_close(&links->socket);
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

	return netlink_read(links->socket, handle_message, &walk);
}

int links_list(link_handler handler, void *data)
{
	char buffer[256] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct link_walk walk = {handler, data};

	request->nlmsg_type = RTM_GETLINK;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	return netlink_dump(NETLINK_ROUTE, request, handle_message, &walk);
}

static int read_received(const struct nlmsghdr *header, void *data)
{
	struct rtnl_link_stats64 stats = {};
	struct nlattr *attribute;

	mnl_attr_for_each(attribute, header, sizeof(struct ifinfomsg))
	{
		size_t bytes = mnl_attr_get_payload_len(attribute);

		if (mnl_attr_get_type(attribute) != IFLA_STATS64)
			continue;
		/* Other kernels count more, or less. */
		memcpy(&stats, mnl_attr_get_payload(attribute),
		       bytes < sizeof(stats) ? bytes : sizeof(stats));
	}
	*(uint64_t *)data = stats.rx_packets;
	return MNL_CB_OK;
}

int links_received(uint32_t ifindex, uint64_t *packets)
{
	char buffer[256] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *info;

	request->nlmsg_type = RTM_GETLINK;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->ifi_index = (int)ifindex;
	return netlink_ask(NETLINK_ROUTE, request, read_received, packets);
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
	return netlink_dump(NETLINK_ROUTE, request, count_filter, used);
}

int links_clsact_used(uint32_t ifindex)
{
	int used = 0;
	int r = list_filters(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), &used);

	if (r == 0)
		r = list_filters(ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS), &used);
	return r < 0 ? r : used;
}
