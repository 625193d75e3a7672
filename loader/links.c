// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "links.h"
#include "log.h"
#include "netlink.h"
#include "util.h"

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

static const struct nlattr *find(const struct nlmsghdr *header, uint16_t type)
{
	struct nlattr *attribute;

	mnl_attr_for_each(attribute, header, sizeof(struct ifinfomsg))
	{
		if (mnl_attr_get_type(attribute) == type)
			return attribute;
	}
	return NULL;
}

/* Devices that receive what their guest is sent, and send what it sends: the other way round than a port. */
static bool is_reversed(const struct nlattr *info)
{
	static const char *const kinds[] = {"macvlan", "macvtap", "ipvlan", "ipvtap"};
	struct nlattr *attribute;

	mnl_attr_for_each_nested(attribute, info)
	{
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			if (mnl_attr_get_type(attribute) == IFLA_INFO_KIND &&
			    strcmp(mnl_attr_get_str(attribute), kinds[i]) == 0)
				return true;
	}
	return false;
}

static const char *why_unfit(const struct nlmsghdr *header)
{
	const struct ifinfomsg *message = mnl_nlmsg_get_payload(header);
	const struct nlattr *info = find(header, IFLA_LINKINFO);

	if (message->ifi_type != ARPHRD_ETHER)
		return "has no Ethernet frames";
	return info && is_reversed(info)
		       ? "is a macvlan or ipvlan, which sends what a port receives"
		       : NULL;
}

static int handle_message(const struct nlmsghdr *header, void *data)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(header);
	const struct link_walk *walk = data;
	struct link_event event = {.gone = header->nlmsg_type == RTM_DELLINK};
	const struct nlattr *name;

	if (header->nlmsg_type != RTM_NEWLINK && header->nlmsg_type != RTM_DELLINK)
		return MNL_CB_OK;
	name = find(header, IFLA_IFNAME);
	/* A bridge tells of its ports by messages of its own family; its RTM_DELLINK is a device that left the bridge. */
	if (info->ifi_family != AF_UNSPEC || !name)
		return MNL_CB_OK;
	event.ifindex = (uint32_t)info->ifi_index;
	event.name = mnl_attr_get_str(name);
	event.unfit = why_unfit(header);
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

uint32_t links_index(const char *name)
{
	uint32_t ifindex = if_nametoindex(name);
	char now[IF_NAMESIZE];

	return ifindex && if_indextoname(ifindex, now) && strcmp(now, name) == 0 ? ifindex : 0;
}

int links_check_name(const char *name)
{
	uint32_t ifindex = if_nametoindex(name);
	char now[IF_NAMESIZE];

	if (!ifindex || !if_indextoname(ifindex, now) || strcmp(now, name) == 0)
		return 0;
	log_error("dev: %s is another name of device %s; dfw goes by that one only", name, now);
	return -EINVAL;
}

/* Asks for one device. */
static int ask(uint32_t ifindex, mnl_cb_t callback, void *data)
{
	char buffer[256] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *info;

	request->nlmsg_type = RTM_GETLINK;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->ifi_index = (int)ifindex;
	return netlink_ask(NETLINK_ROUTE, request, callback, data);
}

static int read_unfit(const struct nlmsghdr *header, void *data)
{
	*(const char **)data = why_unfit(header);
	return MNL_CB_OK;
}

int links_unfit(uint32_t ifindex, const char **unfit)
{
	return ask(ifindex, read_unfit, unfit);
}

static int read_received(const struct nlmsghdr *header, void *data)
{
	struct rtnl_link_stats64 stats = {};
	const struct nlattr *attribute = find(header, IFLA_STATS64);
	size_t bytes = attribute ? mnl_attr_get_payload_len(attribute) : 0;

	/* Other kernels count more, or less. */
	if (bytes)
		memcpy(&stats, mnl_attr_get_payload(attribute),
		       bytes < sizeof(stats) ? bytes : sizeof(stats));
	*(uint64_t *)data = stats.rx_packets;
	return MNL_CB_OK;
}

int links_received(uint32_t ifindex, uint64_t *packets)
{
	return ask(ifindex, read_received, packets);
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
