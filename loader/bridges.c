// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <bpf/bpf.h>
#include <linux/genetlink.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "bridges.h"
#include "daemon.h"
#include "log.h"
#include "maps.h"
#include "netlink.h"
#include "stations.h"
#include "uplinks.h"
#include "view_pins.h"

#define SECOND_NS 1000000000ULL
/* A lease outlives some missed renewals, and a dead dfwd by seconds only. */
#define RENEW_NS SECOND_NS
#define LEASE_NS (5 * SECOND_NS)
/* Stations are forgotten a little before the bridge does it. */
#define HEARD_MARGIN_NS (2 * SECOND_NS)

/* A device as `devices` has it. */
struct bridged_device {
	uint32_t ifindex;
	struct dfw_device value;
};

/* What netlink tells of a device. */
struct facts {
	uint32_t ifindex;
	uint32_t master;
	uint64_t ageing_ns;    /* of a bridge: how long it knows a station */
	uint64_t xdp_features; /* of the driver */
	uint16_t pvid;
	bool up;
	bool is_bridge;
	bool filters_vlans; /* a bridge */
	bool forwards;	    /* a port of a bridge, which forwards and learns there as usual */
	bool is_tap;
	bool queues; /* its queueing discipline delays or limits what it sends */
};

struct survey {
	struct facts *facts;
	size_t nr;
	size_t room;
	bool has_features; /* the kernel tells of xdp_features */
};

/* Both kinds of list are sorted by ifindex, which is the first member of their elements. */
static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static struct facts *facts_of(const struct survey *survey, uint32_t ifindex)
{
	return survey->nr ? bsearch(&ifindex, survey->facts, survey->nr, sizeof(*survey->facts),
				    compare)
			  : NULL;
}

static struct bridged_device *find_device(struct bridged_device *list, size_t nr, uint32_t ifindex)
{
	return nr ? bsearch(&ifindex, list, nr, sizeof(*list), compare) : NULL;
}

/* ---- Links ------------------------------------------------------------------------------------------------------ */

static bool text_is(const struct nlattr *attribute, const char *text)
{
	return strcmp(mnl_attr_get_str(attribute), text) == 0;
}

/* Those that send each frame as soon as the device takes it. */
static bool discipline_queues(const char *kind)
{
	static const char *const plain[] = {"noqueue", "mq",	"pfifo_fast", "fq_codel",
					    "fq",      "pfifo", "noop"};

	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		if (strcmp(kind, plain[i]) == 0)
			return false;
	return true;
}

static void read_bridge(const struct nlattr *data, struct facts *facts)
{
	const struct nlattr *attribute;

	mnl_attr_for_each_nested(attribute, data)
	{
		switch (mnl_attr_get_type(attribute)) {
		case IFLA_BR_VLAN_FILTERING:
			facts->filters_vlans = mnl_attr_get_u8(attribute);
			break;
		case IFLA_BR_AGEING_TIME: /* hundredths of a second */
			facts->ageing_ns = mnl_attr_get_u32(attribute) * (SECOND_NS / 100);
			break;
		}
	}
}

/* Whatever a bridge may do at a port beyond forwarding and learning keeps its frames on the normal way. */
static void read_port(const struct nlattr *data, struct facts *facts)
{
	bool forwarding = false, learning = false, special = false;
	const struct nlattr *attribute;

	mnl_attr_for_each_nested(attribute, data)
	{
		switch (mnl_attr_get_type(attribute)) {
		case IFLA_BRPORT_STATE:
			forwarding = mnl_attr_get_u8(attribute) == BR_STATE_FORWARDING;
			break;
		case IFLA_BRPORT_LEARNING:
			learning = mnl_attr_get_u8(attribute);
			break;
		case IFLA_BRPORT_MODE: /* hairpin */
		case IFLA_BRPORT_VLAN_TUNNEL:
		case IFLA_BRPORT_LOCKED:
			special |= mnl_attr_get_u8(attribute) != 0;
			break;
		}
	}
	facts->forwards = forwarding && learning && !special;
}

static void read_info(const struct nlattr *info, struct facts *facts)
{
	const struct nlattr *attribute, *data = NULL, *port = NULL;
	bool bridged = false;

	mnl_attr_for_each_nested(attribute, info)
	{
		switch (mnl_attr_get_type(attribute)) {
		case IFLA_INFO_KIND:
			facts->is_bridge = text_is(attribute, "bridge");
			facts->is_tap = text_is(attribute, "tun");
			break;
		case IFLA_INFO_DATA:
			data = attribute;
			break;
		case IFLA_INFO_SLAVE_KIND:
			bridged = text_is(attribute, "bridge");
			break;
		case IFLA_INFO_SLAVE_DATA:
			port = attribute;
			break;
		}
	}
	if (facts->is_bridge && data)
		read_bridge(data, facts);
	if (bridged && port)
		read_port(port, facts);
}

static int take_link(const struct nlmsghdr *header, void *data)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(header);
	const struct nlattr *attribute;
	struct survey *survey = data;
	struct facts *facts;

	if (header->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	if (survey->nr == survey->room) {
		size_t room = survey->room ? 2 * survey->room : 64;

		facts = realloc(survey->facts, room * sizeof(*facts));
		if (!facts) {
			errno = ENOMEM;
			return MNL_CB_ERROR;
		}
		survey->facts = facts;
		survey->room = room;
	}
	facts = &survey->facts[survey->nr++];
	*facts = (struct facts){.ifindex = (uint32_t)info->ifi_index,
				.up = info->ifi_flags & IFF_UP && info->ifi_flags & IFF_RUNNING};
	mnl_attr_for_each(attribute, header, sizeof(*info))
	{
		switch (mnl_attr_get_type(attribute)) {
		case IFLA_MASTER:
			facts->master = mnl_attr_get_u32(attribute);
			break;
		case IFLA_QDISC:
			facts->queues = discipline_queues(mnl_attr_get_str(attribute));
			break;
		case IFLA_LINKINFO:
			read_info(attribute, facts);
			break;
		}
	}
	return MNL_CB_OK;
}

static int survey_links(struct survey *survey)
{
	char buffer[256] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	int r;

	request->nlmsg_type = RTM_GETLINK;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	r = netlink_dump(NETLINK_ROUTE, request, take_link, survey);
	if (survey->nr)
		qsort(survey->facts, survey->nr, sizeof(*survey->facts), compare);
	return r;
}

/* ---- VLANs ------------------------------------------------------------------------------------------------------ */

static int take_vlans(const struct nlmsghdr *header, void *data)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(header);
	const struct nlattr *attribute, *nested;
	struct facts *facts = facts_of(data, (uint32_t)info->ifi_index);

	if (!facts || header->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	mnl_attr_for_each(attribute, header, sizeof(*info))
	{
		if (mnl_attr_get_type(attribute) != IFLA_AF_SPEC)
			continue;
		mnl_attr_for_each_nested(nested, attribute)
		{
			const struct bridge_vlan_info *vlan = mnl_attr_get_payload(nested);

			if (mnl_attr_get_type(nested) == IFLA_BRIDGE_VLAN_INFO &&
			    vlan->flags & BRIDGE_VLAN_INFO_PVID)
				facts->pvid = vlan->vid;
		}
	}
	return MNL_CB_OK;
}

static int survey_vlans(struct survey *survey)
{
	char buffer[256] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ifinfomsg *info;

	request->nlmsg_type = RTM_GETLINK;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->ifi_family = AF_BRIDGE;
	mnl_attr_put_u32(request, IFLA_EXT_MASK, RTEXT_FILTER_BRVLAN_COMPRESSED);
	return netlink_dump(NETLINK_ROUTE, request, take_vlans, survey);
}

/* ---- What drivers can --------------------------------------------------------------------------------------------- */

/* linux/netdev.h, of Linux 6.3. */
#define NETDEV_FAMILY		"netdev"
#define NETDEV_DEV_GET		1
#define NETDEV_DEV_IFINDEX	1
#define NETDEV_DEV_XDP_FEATURES 3
#define NETDEV_XDP_NDO_XMIT	4

static int take_family(const struct nlmsghdr *header, void *data)
{
	const struct nlattr *attribute;

	mnl_attr_for_each(attribute, header,
			  sizeof(struct genlmsghdr)) if (mnl_attr_get_type(attribute) ==
							 CTRL_ATTR_FAMILY_ID) *
		(uint16_t *)data = mnl_attr_get_u16(attribute);
	return MNL_CB_OK;
}

static int find_family(uint16_t *family)
{
	char buffer[256] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *general;

	request->nlmsg_type = GENL_ID_CTRL;
	general = mnl_nlmsg_put_extra_header(request, sizeof(*general));
	general->cmd = CTRL_CMD_GETFAMILY;
	general->version = 1;
	mnl_attr_put_strz(request, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY);
	return netlink_ask(NETLINK_GENERIC, request, take_family, family);
}

static int take_features(const struct nlmsghdr *header, void *data)
{
	const struct nlattr *attribute;
	uint64_t features = 0;
	struct facts *facts;
	uint32_t ifindex = 0;

	mnl_attr_for_each(attribute, header, sizeof(struct genlmsghdr))
	{
		if (mnl_attr_get_type(attribute) == NETDEV_DEV_IFINDEX)
			ifindex = mnl_attr_get_u32(attribute);
		if (mnl_attr_get_type(attribute) == NETDEV_DEV_XDP_FEATURES)
			features = mnl_attr_get_u64(attribute);
	}
	facts = facts_of(data, ifindex);
	if (facts)
		facts->xdp_features = features;
	return MNL_CB_OK;
}

/* Kernels before 6.3 cannot say; then taps take frames from XDP, and of others nobody knows. */
static int survey_features(struct survey *survey)
{
	char buffer[256] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct genlmsghdr *general;
	uint16_t family = 0;
	int r = find_family(&family);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	request->nlmsg_type = family;
	general = mnl_nlmsg_put_extra_header(request, sizeof(*general));
	general->cmd = NETDEV_DEV_GET;
	general->version = 1;
	survey->has_features = true;
	return netlink_dump(NETLINK_GENERIC, request, take_features, survey);
}

/* ---- The map `devices` ------------------------------------------------------------------------------------------ */

static bool takes_xdp_frames(const struct survey *survey, const struct facts *facts)
{
	if (facts->queues) /* which XDP would go past */
		return false;
	return survey->has_features ? facts->xdp_features & NETDEV_XDP_NDO_XMIT : facts->is_tap;
}

/* A tap always takes frames. A veth device does as long as its other end wants it, which may end at any time. */
static uint64_t xmit_until(const struct survey *survey, const struct facts *facts, uint64_t now_ns)
{
	if (!takes_xdp_frames(survey, facts))
		return 0;
	return facts->is_tap ? UINT64_MAX : now_ns + LEASE_NS;
}

static struct dfw_device describe(const struct dfwd *d, const struct survey *survey,
				  uint32_t ifindex, const struct uplink *uplink, uint64_t now_ns)
{
	const struct facts *facts = facts_of(survey, ifindex);
	const struct facts *bridge =
		facts && facts->master ? facts_of(survey, facts->master) : NULL;
	struct dfw_device device = {.place = uplink ? DFW_WAY_PLACE_UPLINK(uplink->number)
						    : DFW_WAY_PLACE_PORTS};

	if (d->config.fast_path && (!uplink || uplink->fast))
		device.flags |= DFW_DEVICE_FAST;
	if (!bridge || !bridge->is_bridge)
		return device;
	device.bridge = bridge->ifindex;
	device.pvid = facts->pvid;
	if (bridge->ageing_ns > HEARD_MARGIN_NS)
		device.heard_ns = bridge->ageing_ns - HEARD_MARGIN_NS;
	if (bridge->filters_vlans)
		device.flags |= DFW_DEVICE_VLAN_AWARE;
	if (facts->forwards && facts->up && bridge->up)
		device.flags |= DFW_DEVICE_FORWARDS;
	device.xmit_until_ns = xmit_until(survey, facts, now_ns);
	return device;
}

/* Leases come and go without a word; that there is none any more is a change. */
static bool same_device(const struct dfw_device *a, const struct dfw_device *b)
{
	return a->heard_ns == b->heard_ns && a->bridge == b->bridge && a->pvid == b->pvid &&
	       a->flags == b->flags && a->place == b->place &&
	       !a->xmit_until_ns == !b->xmit_until_ns;
}

static struct bridged_device *list_devices(const struct dfwd *d, const struct survey *survey,
					   size_t *nr)
{
	struct bridged_device *list = calloc(d->nr_ports + DFW_MAX_UPLINKS, sizeof(*list));
	uint64_t now_ns = monotonic_ns();

	*nr = 0;
	for (size_t i = 0; list && i < DFW_MAX_UPLINKS; i++) {
		const struct uplink *uplink = d->uplinks[i];

		if (uplink && uplink->ifindex)
			list[(*nr)++] = (struct bridged_device){
				uplink->ifindex,
				describe(d, survey, uplink->ifindex, uplink, now_ns)};
	}
	for (size_t i = 0; list && *nr && i < d->nr_ports; i++) {
		uint32_t ifindex = d->ports[i]->ifindex;

		if (ifindex)
			list[(*nr)++] = (struct bridged_device){
				ifindex, describe(d, survey, ifindex, NULL, now_ns)};
	}
	if (*nr)
		qsort(list, *nr, sizeof(*list), compare);
	return list;
}

/* Paths end before a device is more than it was, and after it is less. */
static int write_devices(struct dfwd *d, struct bridged_device *list, size_t nr, bool *changed)
{
	int r = 0;

	for (size_t i = 0; i < d->bridges.nr_known && r == 0; i++) {
		uint32_t ifindex = d->bridges.known[i].ifindex;

		if (find_device(list, nr, ifindex))
			continue;
		r = map_remove(d->object.devices, &ifindex);
		*changed = true;
	}
	for (size_t i = 0; i < nr && r == 0; i++) {
		const struct bridged_device *known =
			find_device(d->bridges.known, d->bridges.nr_known, list[i].ifindex);

		if (known && memcmp(&known->value, &list[i].value, sizeof(known->value)) == 0)
			continue;
		r = map_put(d->object.devices, &list[i].ifindex, &list[i].value);
		*changed |= !known || !same_device(&known->value, &list[i].value);
	}
	return r;
}

/* ---- All of it -------------------------------------------------------------------------------------------------- */

void bridges_end_paths(struct dfwd *d)
{
	if (d->bridges.state)
		__atomic_fetch_add(&d->bridges.state->epoch, 1, __ATOMIC_SEQ_CST);
}

/* What the datapath has heard may not be what the bridge has taken: of a VLAN that a port was no member of, say. */
static void end_all(struct dfwd *d)
{
	if (d->bridges.state)
		__atomic_fetch_add(&d->bridges.state->stations_epoch, 1, __ATOMIC_SEQ_CST);
	bridges_end_paths(d);
}

static void switch_paths(const struct dfwd *d, bool any)
{
	__atomic_store_n(&d->bridges.state->on, any, __ATOMIC_SEQ_CST);
}

/* *changed: the devices are not what they were. */
static int look(struct dfwd *d, bool *changed)
{
	struct survey survey = {};
	struct bridged_device *list = NULL;
	size_t nr = 0;
	int r = survey_links(&survey);

	if (r == 0)
		r = survey_vlans(&survey);
	if (r == 0)
		r = survey_features(&survey);
	if (r == 0) {
		list = list_devices(d, &survey, &nr);
		r = list ? write_devices(d, list, nr, changed) : -ENOMEM;
	}
	free(survey.facts);
	if (r < 0) {
		free(list);
		return log_errno(r, "cannot see how the devices are bridged");
	}
	free(d->bridges.known);
	d->bridges.known = list;
	d->bridges.nr_known = nr;
	switch_paths(d, nr != 0);
	return 0;
}

static bool any_uplink(const struct dfwd *d)
{
	for (size_t i = 0; i < DFW_MAX_UPLINKS; i++)
		if (d->uplinks[i] && d->uplinks[i]->ifindex)
			return true;
	return false;
}

void bridges_changed(struct dfwd *d)
{
	end_all(d);
	d->bridges.dirty = true;
}

void bridges_tick(struct dfwd *d)
{
	struct bridges *bridges = &d->bridges;
	uint64_t now_ns = monotonic_ns();
	bool changed = bridges->dirty;

	if (!bridges->state || (!changed && (now_ns < bridges->renew_ns || !any_uplink(d))))
		return;
	bridges->renew_ns = now_ns + RENEW_NS;
	bridges->dirty = look(d, &changed) < 0;
	if (!changed)
		return;
	/* Once more: a packet that was under way when the change came may have shown its path behind our first word. */
	end_all(d);
	stations_survey(d);
}

/* ---- What the kernel tells -------------------------------------------------------------------------------------- */

bool bridges_has(const struct dfwd *d, uint32_t ifindex)
{
	return find_device(d->bridges.known, d->bridges.nr_known, ifindex) != NULL;
}

static bool concerns_us(const struct bridges *bridges, uint32_t ifindex)
{
	for (size_t i = 0; i < bridges->nr_known; i++)
		if (bridges->known[i].ifindex == ifindex ||
		    bridges->known[i].value.bridge == ifindex)
			return true;
	return false;
}

static int take_news(const struct nlmsghdr *header, void *data)
{
	struct dfwd *d = data;
	uint32_t ifindex = 0;

	switch (header->nlmsg_type) {
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		if (((const struct ndmsg *)mnl_nlmsg_get_payload(header))->ndm_family == AF_BRIDGE)
			stations_news(d, header);
		return MNL_CB_OK;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		ifindex = (uint32_t)((const struct ifinfomsg *)mnl_nlmsg_get_payload(header))
				  ->ifi_index;
		break;
	case RTM_NEWQDISC:
	case RTM_DELQDISC:
		ifindex = (uint32_t)((const struct tcmsg *)mnl_nlmsg_get_payload(header))
				  ->tcm_ifindex;
		break;
	case RTM_NEWVLAN:
	case RTM_DELVLAN:
		ifindex = ((const struct br_vlan_msg *)mnl_nlmsg_get_payload(header))->ifindex;
		break;
	}
	if (concerns_us(&d->bridges, ifindex))
		bridges_changed(d);
	return MNL_CB_OK;
}

void bridges_read(struct dfwd *d)
{
	int r = netlink_read(d->bridges.socket, take_news, d);

	if (r == -ENOBUFS) {
		bridges_changed(d);
		r = 0;
	}
	if (r < 0)
		log_errno(r, "cannot read what the kernel tells about bridges");
}

/* ---- Start and stop --------------------------------------------------------------------------------------------- */

static int map_state(struct dfwd *d)
{
	void *state = mmap(NULL, (size_t)getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED,
			   d->object.path_state, 0);

	if (state == MAP_FAILED)
		return -errno;
	d->bridges.state = state;
	return 0;
}

/* What a daemon before us has written there. */
static int read_known(struct dfwd *d)
{
	uint32_t ifindex, *from = NULL;
	struct bridged_device *known =
		calloc(DFW_MAX_PORTS + DFW_MAX_UPLINKS, sizeof(struct bridged_device));

	if (!known)
		return -ENOMEM;
	d->bridges.known = known;
	while (d->bridges.nr_known < DFW_MAX_PORTS + DFW_MAX_UPLINKS &&
	       bpf_map_get_next_key(d->object.devices, from, &ifindex) == 0) {
		struct bridged_device *device = &known[d->bridges.nr_known];

		device->ifindex = ifindex;
		from = &device->ifindex;
		if (map_get(d->object.devices, from, &device->value) == 0)
			d->bridges.nr_known++;
	}
	if (d->bridges.nr_known)
		qsort(known, d->bridges.nr_known, sizeof(*known), compare);
	return 0;
}

static int join_vlans(const struct bridges *bridges)
{
	const int group = RTNLGRP_BRVLAN;

	return mnl_socket_setsockopt(bridges->socket, NETLINK_ADD_MEMBERSHIP, (void *)&group,
				     sizeof(group)) < 0
		       ? -errno
		       : 0;
}

int bridges_open(struct dfwd *d)
{
	struct bridges *bridges = &d->bridges;
	int r = map_state(d);

	if (r == 0)
		r = read_known(d);
	if (r == 0)
		r = netlink_watch(RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_TC, &bridges->socket);
	if (r == 0)
		r = join_vlans(bridges);
	if (r < 0)
		return log_errno(r, "cannot watch the bridges");
	bridges->fd = mnl_socket_get_fd(bridges->socket);
	bridges_changed(d);
	bridges_tick(d);
	return 0;
}

void bridges_close(struct dfwd *d)
{
	struct bridges *bridges = &d->bridges;

	if (bridges->state)
		munmap(bridges->state, (size_t)getpagesize());
	bridges->state = NULL;
	netlink_close(&bridges->socket);
	free(bridges->known);
	bridges->known = NULL;
}
