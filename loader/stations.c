// SPDX-License-Identifier: GPL-2.0
#include <string.h>
#include <sys/socket.h>

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include "daemon.h"
#include "log.h"
#include "maps.h"
#include "netlink.h"
#include "stations.h"
#include "view_pins.h"

#define TICK_NS 10000000ULL /* of nda_cacheinfo: the kernel's USER_HZ is 100 */

/* An entry of a bridge's table. */
struct entry {
	struct dfw_station_key key;
	uint32_t ifindex;
	uint64_t age_ns;
	bool fixed; /* static: it does not age */
	bool ours;  /* the station is the host itself */
};

static bool read_entry(const struct nlmsghdr *header, struct entry *entry)
{
	const struct ndmsg *neighbour = mnl_nlmsg_get_payload(header);
	const struct nda_cacheinfo *times;
	const struct nlattr *attribute;
	bool has_mac = false;

	*entry = (struct entry){
		.ifindex = (uint32_t)neighbour->ndm_ifindex,
		.fixed = neighbour->ndm_state & NUD_NOARP,
		.ours = neighbour->ndm_state & NUD_PERMANENT,
	};
	mnl_attr_for_each(attribute, header, sizeof(*neighbour))
	{
		switch (mnl_attr_get_type(attribute)) {
		case NDA_MASTER:
			entry->key.bridge = mnl_attr_get_u32(attribute);
			break;
		case NDA_VLAN:
			entry->key.vlan = mnl_attr_get_u16(attribute);
			break;
		case NDA_LLADDR:
			has_mac = mnl_attr_get_payload_len(attribute) == sizeof(entry->key.mac);
			if (has_mac)
				memcpy(entry->key.mac, mnl_attr_get_payload(attribute),
				       sizeof(entry->key.mac));
			break;
		case NDA_CACHEINFO:
			times = mnl_attr_get_payload(attribute);
			entry->age_ns = times->ndm_updated * TICK_NS;
			break;
		}
	}
	return neighbour->ndm_family == AF_BRIDGE && entry->key.bridge && has_mac;
}

static void put_station(struct dfwd *d, const struct entry *entry)
{
	uint64_t now_ns = monotonic_ns();
	const struct dfw_station station = {
		.ifindex = entry->ifindex,
		.epoch = __atomic_load_n(&d->bridges.state->stations_epoch, __ATOMIC_SEQ_CST),
		.heard_ns = entry->fixed	     ? INT64_MAX
			    : entry->age_ns < now_ns ? now_ns - entry->age_ns
						     : 0,
	};

	map_put(d->object.stations, &entry->key, &station);
}

static int take_entry(const struct nlmsghdr *header, void *data)
{
	struct dfwd *d = data;
	struct entry entry;

	if (header->nlmsg_type == RTM_NEWNEIGH && read_entry(header, &entry) && !entry.ours &&
	    bridges_has(d, entry.ifindex))
		put_station(d, &entry);
	return MNL_CB_OK;
}

void stations_survey(struct dfwd *d)
{
	char buffer[256] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct ndmsg *neighbour;
	int r;

	request->nlmsg_type = RTM_GETNEIGH;
	/* The kernel takes a struct ifinfomsg here, too, and tells them apart by their sizes. */
	neighbour = mnl_nlmsg_put_extra_header(request, sizeof(*neighbour));
	neighbour->ndm_family = AF_BRIDGE;
	r = netlink_dump(NETLINK_ROUTE, request, take_entry, d);
	if (r < 0)
		log_errno(r, "cannot read the bridges' tables");
}

/* Does the table say anything else now than the datapath has heard? */
void stations_news(struct dfwd *d, const struct nlmsghdr *header)
{
	bool gone = header->nlmsg_type == RTM_DELNEIGH, known, there;
	struct dfw_station station;
	struct entry entry;

	if (!d->bridges.state || !read_entry(header, &entry))
		return;
	known = map_get(d->object.stations, &entry.key, &station) == 0;
	there = known && station.ifindex == entry.ifindex;
	if (known && (gone ? there : !there || entry.ours)) {
		map_remove(d->object.stations, &entry.key);
		bridges_end_paths(d);
	}
	if (!gone && !entry.ours && !there && bridges_has(d, entry.ifindex))
		put_station(d, &entry);
}
