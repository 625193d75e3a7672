// SPDX-License-Identifier: GPL-2.0
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "ethtool.h"
#include "file.h"
#include "log.h"
#include "maps.h"
#include "uplink.h"
#include "util.h"
#include "view.h"
#include "xdp.h"

static const struct hook_side sides[HOOK_SIDES] = {
	{"link_in", offsetof(struct programs, wire_in), .egress = false},
	{"link_out", offsetof(struct programs, wire_out), .egress = true},
};

static const char *const mode_names[UPLINK_MODES] = {
	[UPLINK_AUTO] = "auto",
	[UPLINK_NATIVE] = "native",
	[UPLINK_GENERIC] = "generic",
};

bool device_name_valid(const char *name)
{
	return name && name[0] && strlen(name) < IF_NAMESIZE && !strpbrk(name, "/: \t\n\v\f\r") &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

const char *uplink_mode_name(enum uplink_mode mode)
{
	return mode < UPLINK_MODES ? mode_names[mode] : NULL;
}

int uplink_mode_parse(const char *text, enum uplink_mode *mode)
{
	for (size_t i = 0; i < UPLINK_MODES; i++) {
		if (strcmp(text, mode_names[i]) != 0)
			continue;
		*mode = (enum uplink_mode)i;
		return 0;
	}
	return -EINVAL;
}

static struct hook_owner owner_of(const struct uplink *uplink)
{
	struct hook_owner owner = {.sides = sides};

	snprintf(owner.folder, sizeof(owner.folder), "uplinks/%s", uplink->name);
	return owner;
}

static const char *pin_of(const struct hooks *hooks, const struct uplink *uplink, const char *pin,
			  char *path)
{
	char part[IF_NAMESIZE + 32];

	snprintf(part, sizeof(part), "uplinks/%s%s%s", uplink->name, pin ? "/" : "",
		 pin ? pin : "");
	return pin_path(hooks->object->instance, part, path);
}

/* ---- Native, or not --------------------------------------------------------------------------------------------- */

/* Drivers on which an XDP program costs more than it gains: segments that were never cut (on a veth pair, between a VM and
 * its host) would have to be, or what lies below is not seen. `auto` leaves these to tc. */
static const struct {
	const char *driver;
	enum dfw_uplink_cause cause;
} costly[] = {
	{"veth", DFW_UPLINK_CAUSE_VETH},	  {"tun", DFW_UPLINK_CAUSE_VIRTUAL},
	{"virtio_net", DFW_UPLINK_CAUSE_VIRTUAL}, {"vmxnet3", DFW_UPLINK_CAUSE_VIRTUAL},
	{"vif", DFW_UPLINK_CAUSE_VIRTUAL},	  {"hv_netvsc", DFW_UPLINK_CAUSE_VIRTUAL},
	{"bonding", DFW_UPLINK_CAUSE_STACKED},	  {"team", DFW_UPLINK_CAUSE_STACKED},
};

static enum dfw_uplink_cause driver_cause(const char *device)
{
	char driver[DRIVER_NAME_LEN];

	if (ethtool_driver(device, driver) == 0)
		for (size_t i = 0; i < ARRAY_SIZE(costly); i++)
			if (strcmp(driver, costly[i].driver) == 0)
				return costly[i].cause;
	return DFW_UPLINK_CAUSE_NONE;
}

static const char *cause_text(enum dfw_uplink_cause cause)
{
	static const char *const texts[] = {
#define CAUSE_TEXT(symbol, name, help) help,
		DFW_UPLINK_CAUSES(CAUSE_TEXT)
#undef CAUSE_TEXT
	};

	return texts[cause];
}

static enum dfw_uplink_cause error_cause(int r)
{
	switch (r) {
	case -EOPNOTSUPP:
		return DFW_UPLINK_CAUSE_UNSUPPORTED;
	case -EBUSY:
		return DFW_UPLINK_CAUSE_TAKEN;
	}
	return DFW_UPLINK_CAUSE_NONE;
}

/* A tag that the device has taken out of the frame is one that XDP does not see: it would judge the frame as untagged. */
static int show_tags(struct uplink *uplink)
{
	bool strips = false;
	int r = ethtool_strips_tags(uplink->name, &strips);

	if (r == -EOPNOTSUPP || (r == 0 && !strips))
		return 0;
	if (r == 0)
		r = ethtool_strip_tags(uplink->name, false);
	if (r == 0)
		r = ethtool_strips_tags(uplink->name, &strips);
	if (r == 0 && strips)
		return -EOPNOTSUPP;
	uplink->strips = r == 0;
	return r;
}

static void hide_tags(struct uplink *uplink)
{
	if (uplink->strips && ethtool_strip_tags(uplink->name, true) == 0)
		uplink->strips = false;
}

static int attach_xdp(const struct hooks *hooks, struct uplink *uplink, uint32_t ifindex,
		      bool generic)
{
	char path[PATH_MAX];
	const struct xdp_hook hook = {
		.ifindex = ifindex,
		.place = DFW_WAY_PLACE_XDP(uplink->number),
		.generic = generic,
		.pin = pin_of(hooks, uplink, "xdp", path),
	};
	struct xdp_state state;
	int r = show_tags(uplink);

	if (r < 0) {
		uplink->cause = DFW_UPLINK_CAUSE_HIDDEN_TAGS;
		return r;
	}
	r = xdp_attach(hooks->object, &hook);
	uplink->cause = error_cause(r);
	if (r == 0)
		r = xdp_find(hooks->object, ifindex, &state);
	if (r < 0) {
		hide_tags(uplink);
		return r;
	}
	uplink->hook = generic ? DFW_UPLINK_GENERIC : DFW_UPLINK_NATIVE;
	uplink->dispatcher = state.dispatcher;
	return 0;
}

static int complain(const struct uplink *uplink, int r)
{
	if (uplink->attach_failed) /* said before */
		return r;
	if (r == -ENOENT) {
		log_error("uplink %s: libxdp does not find its dispatcher, xdp-dispatcher.o, which "
			  "comes with it",
			  uplink->name);
		return r;
	}
	if (!uplink->cause)
		return log_errno(r, "uplink %s: cannot attach the XDP program", uplink->name);
	log_error("uplink %s: no XDP in mode %s: %s", uplink->name, uplink_mode_name(uplink->mode),
		  cause_text(uplink->cause));
	return r;
}

static void warn_of_hidden_tags(const struct uplink *uplink)
{
	if (driver_cause(uplink->name) == DFW_UPLINK_CAUSE_VETH)
		log_notice("uplink %s: XDP does not see VLAN tags that the veth pair's other end "
			   "leaves to its device: `ethtool -K DEVICE txvlan off` there, if there "
			   "are VLANs",
			   uplink->name);
}

static int choose_hook(const struct hooks *hooks, struct uplink *uplink, uint32_t ifindex)
{
	int r;

	uplink->hook = DFW_UPLINK_TC;
	uplink->cause =
		uplink->mode == UPLINK_AUTO ? driver_cause(uplink->name) : DFW_UPLINK_CAUSE_NONE;
	if (uplink->cause)
		return 0;
	r = attach_xdp(hooks, uplink, ifindex, uplink->mode == UPLINK_GENERIC);
	if (r == 0 && uplink->mode != UPLINK_AUTO)
		warn_of_hidden_tags(uplink);
	if (r < 0 && uplink->mode == UPLINK_AUTO && uplink->cause) {
		log_notice("uplink %s: without XDP: %s", uplink->name, cause_text(uplink->cause));
		return 0;
	}
	return r < 0 ? complain(uplink, r) : 0;
}

/* ---- Attaching -------------------------------------------------------------------------------------------------- */

static void detach_xdp(const struct hooks *hooks, struct uplink *uplink, uint32_t ifindex)
{
	char path[PATH_MAX];
	int r = xdp_detach(hooks->object, ifindex, pin_of(hooks, uplink, "xdp", path));

	if (r < 0)
		log_errno(r, "uplink %s: cannot take the XDP program away", uplink->name);
	hide_tags(uplink);
}

int uplink_attach(const struct hooks *hooks, struct uplink *uplink, uint32_t ifindex)
{
	const struct hook_owner owner = owner_of(uplink);
	char path[PATH_MAX];
	int r = directory_make(pin_of(hooks, uplink, NULL, path), 0700);

	if (r == 0)
		r = hooks_attach(hooks, &owner, ifindex);
	if (r < 0) {
		if (!uplink->attach_failed)
			log_errno(r, "uplink %s: cannot attach to the device", uplink->name);
		return r;
	}
	r = choose_hook(hooks, uplink, ifindex);
	if (r < 0) {
		hooks_detach(hooks, &owner, ifindex);
		uplink->hook = DFW_UPLINK_NONE;
		return r;
	}
	uplink->ifindex = ifindex;
	return uplink_publish(hooks->object, uplink);
}

static void has_no_device(const struct hooks *hooks, struct uplink *uplink)
{
	uplink->ifindex = 0;
	uplink->dispatcher = 0;
	uplink->hook = DFW_UPLINK_NONE;
	uplink->cause = DFW_UPLINK_CAUSE_NONE;
	uplink_publish(hooks->object, uplink);
}

int uplink_detach(const struct hooks *hooks, struct uplink *uplink)
{
	const struct hook_owner owner = owner_of(uplink);
	int r;

	detach_xdp(hooks, uplink, uplink->ifindex);
	r = hooks_detach(hooks, &owner, uplink->ifindex);
	if (r < 0)
		return log_errno(r, "uplink %s: cannot detach from the device", uplink->name);
	has_no_device(hooks, uplink);
	return 0;
}

void uplink_forget(const struct hooks *hooks, struct uplink *uplink)
{
	const struct hook_owner owner = owner_of(uplink);
	char path[PATH_MAX];

	hooks_detach(hooks, &owner, uplink->ifindex);
	xdp_forget(uplink->ifindex, uplink->dispatcher, pin_of(hooks, uplink, "xdp", path));
	uplink->strips = false;
	has_no_device(hooks, uplink);
}

/* ---- Taking over ------------------------------------------------------------------------------------------------ */

int uplink_find(const struct hooks *hooks, struct uplink *uplink)
{
	const struct hook_owner owner = owner_of(uplink);
	struct dfw_uplink known;
	struct xdp_state state = {};
	int r = map_get(hooks->object->uplink_list, &uplink->number, &known);

	if (r == 0 && strncmp(known.name, uplink->name, sizeof(known.name)) == 0)
		r = hooks_find(hooks, &owner, known.ifindex, &uplink->ifindex);
	if (r == 0 && uplink->ifindex)
		r = xdp_find(hooks->object, uplink->ifindex, &state);
	if (r < 0)
		return log_errno(r, "uplink %s: cannot see what is attached", uplink->name);
	if (!uplink->ifindex)
		return 0;
	uplink->cause = known.cause < DFW_UPLINK_CAUSE_COUNT ? known.cause : 0;
	uplink->dispatcher = state.dispatcher;
	uplink->hook = !state.attached ? DFW_UPLINK_TC
		       : state.generic ? DFW_UPLINK_GENERIC
				       : DFW_UPLINK_NATIVE;
	return 0;
}

static int upgrade_xdp(const struct hooks *hooks, struct uplink *uplink)
{
	bool strips = uplink->strips;
	int r;

	if (uplink->hook == DFW_UPLINK_TC)
		return 0;
	r = attach_xdp(hooks, uplink, uplink->ifindex, uplink->hook == DFW_UPLINK_GENERIC);
	uplink->strips |= strips;
	return r;
}

int uplink_upgrade(const struct hooks *hooks, struct uplink *uplink)
{
	const struct hook_owner owner = owner_of(uplink);
	int r;

	if (!uplink->ifindex)
		return 0;
	r = hooks_update(hooks, &owner, uplink->ifindex, &hooks->object->programs);
	if (r == 0)
		r = upgrade_xdp(hooks, uplink);
	if (r < 0)
		return log_errno(r, "uplink %s: cannot update its programs", uplink->name);
	return uplink_publish(hooks->object, uplink);
}

void uplink_go_back(const struct hooks *hooks, const struct uplink *uplink)
{
	const struct hook_owner owner = owner_of(uplink);

	if (uplink->ifindex &&
	    hooks_update(hooks, &owner, uplink->ifindex, &hooks->object->former) < 0)
		log_error("uplink %s: cannot go back", uplink->name);
}

/* ---- For readers of the pins ------------------------------------------------------------------------------------ */

int uplink_publish(const struct object *object, const struct uplink *uplink)
{
	struct dfw_uplink shown = {
		.ifindex = uplink->ifindex,
		.hook = uplink->hook,
		.cause = uplink->cause,
		.shared = uplink->dispatcher != 0,
		.fast = uplink->fast,
	};
	int r;

	memcpy(shown.name, uplink->name, sizeof(shown.name));
	r = map_put(object->uplink_list, &uplink->number, &shown);
	return r < 0 ? log_errno(r, "uplink %s", uplink->name) : 0;
}

int uplink_unpublish(const struct object *object, const struct uplink *uplink)
{
	const struct dfw_uplink none = {};
	int r = map_put(object->uplink_list, &uplink->number, &none);

	return r < 0 ? log_errno(r, "uplink %s", uplink->name) : 0;
}

/* ---- After a daemon that is dead -------------------------------------------------------------------------------- */

static int end_uplink(const char *instance, const char *run_dir, const struct dfw_uplink *uplink)
{
	char part[DFW_DEVICE_NAME_LEN + 16], path[PATH_MAX];
	int r;

	snprintf(part, sizeof(part), "uplinks/%.15s", uplink->name);
	r = hooks_end_links(pin_path(instance, part, path), sides);
	if (!uplink->ifindex)
		return r;
	if (r == 0)
		r = hooks_end_filters(run_dir, uplink->ifindex);
	snprintf(part, sizeof(part), "uplinks/%.15s/xdp", uplink->name);
	if (r == 0)
		r = xdp_end(uplink->ifindex, pin_path(instance, part, path));
	return r < 0 ? log_errno(r, "uplink %.15s: cannot detach", uplink->name) : 0;
}

int uplinks_end_all(const char *instance, const char *run_dir)
{
	char path[PATH_MAX];
	_cleanup_close_ int map = pin_open(pin_path(instance, "uplink_list", path));
	struct dfw_uplink uplink;
	int r = 0;

	for (uint32_t i = 0; map >= 0 && i < DFW_MAX_UPLINKS && r == 0; i++)
		if (map_get(map, &i, &uplink) == 0 && uplink.name[0])
			r = end_uplink(instance, run_dir, &uplink);
	return r;
}
