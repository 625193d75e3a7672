// SPDX-License-Identifier: GPL-2.0
/*
 * The fast path (bpf/path.h) against a bridge that is one table and a loop: random frames, stations that move, VLANs, MTUs
 * and bridges that change. What leaves the normal way must leave it as the bridge would send it now; with dfwd dead, as the
 * bridge has sent such a frame within the last second. Usage: datapath_path [SEED]
 */
#include "check.h"
#include "selftests/host/host_datapath.h"

#define ROUNDS	 400
#define STEPS	 600
#define DEVICES	 6
#define UPLINK	 0
#define PLAIN	 5 /* a port of the bridge where dfw has no hooks */
#define STATIONS 7
#define VLANS	 4 /* VLAN ids 1 to 3 */
#define AGEING	 300
#define IFINDEX	 100

#define SECOND 1000000000ULL

static uint64_t random_state = 1;

static uint32_t below(uint32_t limit)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)((random_state * 0x2545f4914f6cdd1dULL) >> 32) % limit;
}

static bool one_in(uint32_t n)
{
	return below(n) == 0;
}

/* ---- The bridge ------------------------------------------------------------------------------------------------ */

enum membership { NO_MEMBER, TAGGED, UNTAGGED };

static struct device {
	uint32_t bridge; /* 1 or 2 */
	uint32_t mtu;
	uint16_t pvid;
	uint8_t member[VLANS]; /* enum membership */
	bool up;
	bool fast;
} devices_of_model[DEVICES];

static struct entry {
	bool known;
	uint32_t device;
	uint64_t heard_ns;
} table[3][VLANS][STATIONS]; /* bridge, VLAN (0 where none are filtered), station */

static bool filters[3]; /* VLANs, by bridge */
static bool alive;	/* dfwd is */

/* A frame, and what the bridge does with it. */
struct wire_frame {
	uint32_t device;
	uint16_t tag; /* 0: none */
	uint8_t source;
	uint8_t destination;
	uint32_t bytes;
};

struct decision {
	uint32_t to; /* DEVICES: not to one device alone */
	bool flood[DEVICES];
	uint16_t tag[DEVICES];
};

static struct dfw_path_state *paths_now(void)
{
	uint32_t zero = 0;

	return host_map_lookup(&path_state, &zero);
}

static bool takes(uint32_t device, uint32_t bridge, uint16_t vlan)
{
	const struct device *d = &devices_of_model[device];

	return d->up && d->bridge == bridge && (!filters[bridge] || d->member[vlan]);
}

/* False: the bridge does not even take the frame. */
static bool vlan_of(const struct wire_frame *f, uint16_t *vlan)
{
	const struct device *in = &devices_of_model[f->device];

	*vlan = 0;
	if (filters[in->bridge])
		*vlan = f->tag ? f->tag : in->pvid;
	return in->up && (!filters[in->bridge] || (*vlan && in->member[*vlan]));
}

static struct decision decide_by_model(const struct wire_frame *f)
{
	uint32_t bridge = devices_of_model[f->device].bridge;
	struct decision decision = {.to = DEVICES};
	const struct entry *entry;
	uint16_t vlan;

	if (!vlan_of(f, &vlan))
		return decision;
	for (uint32_t i = 0; i < DEVICES; i++)
		decision.tag[i] = !filters[bridge]				 ? f->tag
				  : devices_of_model[i].member[vlan] == UNTAGGED ? 0
										 : vlan;
	entry = &table[bridge][vlan][f->destination];
	if (entry->known && host_now_ns - entry->heard_ns < AGEING * SECOND) {
		if (entry->device != f->device && takes(entry->device, bridge, vlan))
			decision.to = entry->device;
		return decision;
	}
	for (uint32_t i = 0; i < DEVICES; i++)
		decision.flood[i] = i != f->device && takes(i, bridge, vlan);
	return decision;
}

/* ---- dfwd ------------------------------------------------------------------------------------------------------ */

static struct dfw_device describe(uint32_t device)
{
	const struct device *d = &devices_of_model[device];
	struct dfw_device value = {.bridge = d->bridge,
				   .pvid = d->pvid,
				   .heard_ns = (AGEING - 2) * SECOND,
				   .place = device == UPLINK};

	if (d->up)
		value.flags |= DFW_DEVICE_FORWARDS;
	if (filters[d->bridge])
		value.flags |= DFW_DEVICE_VLAN_AWARE;
	if (d->fast)
		value.flags |= DFW_DEVICE_FAST;
	return value;
}

static void dfwd_sees_devices(void)
{
	if (!alive)
		return;
	for (uint32_t i = 0; i < PLAIN; i++) {
		struct dfw_device value = describe(i);
		uint32_t ifindex = IFINDEX + i;

		host_map_update(&devices, &ifindex, &value, BPF_ANY);
	}
	paths_now()->stations_epoch++;
	paths_now()->epoch++;
}

static void mac_of(uint8_t station, uint8_t *mac)
{
	memcpy(mac, (const uint8_t[]){2, 0, 0, 0, 0, station}, 6);
}

static void dfwd_hears_of(uint32_t bridge, uint16_t vlan, uint8_t station, uint32_t device)
{
	struct dfw_station_key key = {.bridge = bridge, .vlan = vlan};
	const struct dfw_station *known;

	mac_of(station, key.mac);
	known = host_map_lookup(&stations, &key);
	if (!alive || !known || known->ifindex == IFINDEX + device)
		return;
	host_map_delete(&stations, &key);
	paths_now()->epoch++;
}

/* ---- Frames through both --------------------------------------------------------------------------------------- */

/* When a frame of these MACs came out at which device, with which tag, by the frame's way in. */
static struct shown {
	uint64_t at_ns;
	uint16_t tag;
} shown[DEVICES][VLANS][STATIONS][STATIONS][DEVICES];

static struct shown *shown_of(const struct wire_frame *f, uint32_t to)
{
	return &shown[f->device][f->tag][f->source][f->destination][to];
}

static uint64_t frames, direct;

static void put_frame(context_t *skb, const struct wire_frame *f)
{
	uint8_t bytes[64] = {[12] = 0x08};

	mac_of(f->destination, bytes);
	mac_of(f->source, bytes + 6);
	bytes[14] = 0x45;
	host_skb_put(skb, bytes, sizeof(bytes), f->bytes);
	skb->protocol = bpf_htons(ETH_P_IP);
	skb->vlan_present = f->tag != 0;
	skb->vlan_proto = bpf_htons(ETH_P_8021Q);
	skb->vlan_tci = f->tag;
	skb->ifindex = IFINDEX + f->device;
}

static void goes_out(const struct wire_frame *f, const context_t *in, uint32_t device, uint16_t tag)
{
	struct wire_frame out = *f;
	context_t skb = {};

	*shown_of(f, device) = (struct shown){host_now_ns, tag};
	if (device == PLAIN)
		return;
	out.device = device;
	out.tag = tag;
	put_frame(&skb, &out);
	skb.ingress_ifindex = in->ifindex;
	skb.tc_index = in->tc_index;
	skb.mtu = devices_of_model[device].mtu;
	if (path_marked(&skb))
		path_learn(&skb, device == UPLINK ? DFW_MAX_PORTS : device);
	CHECK(skb.tc_index == 0);
	host_skb_drop(&skb);
}

static void takes_the_bridge(const struct wire_frame *f, const context_t *skb,
			     const struct decision *decision)
{
	uint32_t bridge = devices_of_model[f->device].bridge;
	uint16_t vlan;

	if (!vlan_of(f, &vlan))
		return;
	table[bridge][vlan][f->source] = (struct entry){true, f->device, host_now_ns};
	dfwd_hears_of(bridge, vlan, f->source, f->device);
	for (uint32_t i = 0; i < DEVICES; i++) {
		if (i != decision->to && !decision->flood[i])
			continue;
		if (f->bytes > devices_of_model[i].mtu + 18)
			continue;
		goes_out(f, skb, i, decision->tag[i]);
	}
}

static bool may_go_direct(const struct wire_frame *f, const context_t *skb,
			  const struct decision *decision)
{
	uint32_t to = skb->redirect_ifindex - IFINDEX;
	uint16_t tag = skb->vlan_present ? skb->vlan_tci : 0;

	if (skb->tc_index || skb->redirect_flags || to >= PLAIN)
		return false;
	if (!alive)
		return shown_of(f, to)->at_ns && shown_of(f, to)->tag == tag &&
		       host_now_ns - shown_of(f, to)->at_ns <= DFW_PATH_LIFE_NS;
	return decision->to == to && decision->tag[to] == tag && devices_of_model[to].fast &&
	       devices_of_model[f->device].fast && f->bytes <= devices_of_model[to].mtu + 18;
}

static void send_frame(const struct wire_frame *f)
{
	struct decision decision = decide_by_model(f);
	context_t skb = {};
	int action = TC_ACT_UNSPEC;

	put_frame(&skb, f);
	host_current = &skb;
	if (f->device != PLAIN)
		action = path_take(&skb, host_now_ns);
	frames++;
	if (action == TC_ACT_REDIRECT) {
		direct++;
		if (!CHECK(may_go_direct(f, &skb, &decision)))
			printf("# alive %d, device %u tag %u %u -> %u: to %u tag %u; the bridge: "
			       "to %u tag "
			       "%u\n",
			       alive, f->device, f->tag, f->source, f->destination,
			       skb.redirect_ifindex - IFINDEX, skb.vlan_present ? skb.vlan_tci : 0,
			       decision.to, decision.to < DEVICES ? decision.tag[decision.to] : 0);
	} else {
		takes_the_bridge(f, &skb, &decision);
	}
	host_skb_drop(&skb);
}

/* The host takes a frame from the bridge and routes it into the same or the other: it comes out with MACs that did not come
 * in. */
static void route_frame(const struct wire_frame *f)
{
	uint32_t bridge = 1 + below(2);
	uint16_t from, vlan = filters[bridge] ? (uint16_t)(1 + below(VLANS - 1)) : 0;
	struct decision decision = decide_by_model(f);
	struct wire_frame routed = *f;
	const struct entry *entry;
	context_t skb = {};

	routed.source = (uint8_t)below(STATIONS);
	routed.destination = (uint8_t)below(STATIONS);
	entry = &table[bridge][vlan][routed.destination];
	put_frame(&skb, f);
	host_current = &skb;
	if (vlan_of(f, &from) && f->device != PLAIN &&
	    path_take(&skb, host_now_ns) == TC_ACT_UNSPEC) {
		takes_the_bridge(f, &skb, &decision);
		if (entry->known && host_now_ns - entry->heard_ns < AGEING * SECOND &&
		    takes(entry->device, bridge, vlan))
			goes_out(&routed, &skb, entry->device,
				 devices_of_model[entry->device].member[vlan] == UNTAGGED ? 0
											  : vlan);
	}
	host_skb_drop(&skb);
}

/* ---- A life of the bridge --------------------------------------------------------------------------------------- */

static void change_device(uint32_t device)
{
	struct device *d = &devices_of_model[device];
	uint16_t vlan = (uint16_t)(1 + below(VLANS - 1));

	switch (below(6)) {
	case 0:
		d->mtu = one_in(2) ? 100 : 1500;
		break;
	case 1:
		d->pvid = one_in(4) ? 0 : vlan;
		break;
	case 2:
		d->member[vlan] = (uint8_t)below(3);
		break;
	case 3:
		d->up = !one_in(4);
		break;
	case 4:
		d->fast = !one_in(4);
		break;
	case 5:
		d->bridge = one_in(3) ? 2 : 1;
		break;
	}
	dfwd_sees_devices();
}

static void begin(void)
{
	host_map_clear(&paths);
	host_map_clear(&stations);
	host_map_clear(&devices);
	memset(table, 0, sizeof(table));
	memset(shown, 0, sizeof(shown));
	host_now_ns += 1000 * SECOND;
	alive = true;
	filters[1] = one_in(2);
	filters[2] = one_in(2);
	for (uint32_t i = 0; i < DEVICES; i++) {
		struct device *d = &devices_of_model[i];

		*d = (struct device){
			.bridge = one_in(5) ? 2 : 1, .mtu = 1500, .up = true, .fast = true};
		d->pvid = one_in(2) ? 1 : (uint16_t)(1 + below(VLANS - 1));
		for (uint32_t vlan = 1; vlan < VLANS; vlan++)
			d->member[vlan] = (uint8_t)below(3);
		d->member[d->pvid] = UNTAGGED;
	}
	paths_now()->on = 1;
	dfwd_sees_devices();
	alive = !one_in(4);
}

static void live(void)
{
	uint8_t talker = 0, hearer = 1;
	uint32_t home[STATIONS];

	begin();
	for (uint32_t i = 0; i < STATIONS; i++)
		home[i] = below(DEVICES);
	for (int step = 0; step < STEPS && check_state.ok; step++) {
		struct wire_frame f = {.bytes = one_in(8) ? 600 : 64};

		/* Mostly two talk with each other. */
		if (one_in(12)) {
			talker = (uint8_t)below(STATIONS);
			hearer = (uint8_t)below(STATIONS);
		}
		f.source = step & 1 ? talker : hearer;
		f.destination = step & 1 ? hearer : talker;

		f.device = one_in(50) ? below(DEVICES) : home[f.source];
		f.tag = one_in(8) ? (uint16_t)below(VLANS) : 0;
		host_now_ns += one_in(300)  ? (uint64_t)below(2 * AGEING) * SECOND
			       : one_in(10) ? (uint64_t)below(3000) * 1000000
					    : (uint64_t)below(30) * 1000000;
		if (one_in(60))
			home[below(STATIONS)] = below(DEVICES);
		if (one_in(40))
			change_device(below(DEVICES));
		if (one_in(200)) {
			filters[1] = !filters[1];
			dfwd_sees_devices();
		}
		if (one_in(30))
			route_frame(&f);
		else
			send_frame(&f);
	}
}

int main(int argc, char **argv)
{
	if (argc > 1)
		random_state = strtoull(argv[1], NULL, 0) | 1;
	host_begin();
	TEST("what leaves the normal way leaves it as the bridge would send it")
	for (int round = 0; round < ROUNDS && check_state.ok; round++)
		live();
	printf("# %llu frames, %llu past the bridge\n", (unsigned long long)frames,
	       (unsigned long long)direct);
	TEST("a fair part of the frames does")
	CHECK(direct > frames / 20);
	return check_done();
}
