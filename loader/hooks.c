// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "hooks.h"
#include "links.h"
#include "log.h"
#include "maps.h"
#include "util.h"
#include "view.h"

/* enum bpf_attach_type of Linux 6.6; Debian 12 has the headers of 6.1. */
#define TCX_INGRESS ((enum bpf_attach_type)46)
#define TCX_EGRESS  ((enum bpf_attach_type)47)

/* The most that the kernel lets attach to one side of a device (BPF_MPROG_MAX). */
#define TCX_MAX_PROGRAMS 64

/* Our filter on a clsact qdisc. A priority of one's own, so that an operator's filters before and after it have room. */
#define CLSACT_PRIORITY 0xdf0
#define CLSACT_HANDLE	0xdf0

int hooks_init(struct hooks *hooks, const struct object *object, const char *run_dir, bool clsact)
{
	unsigned int loopback = if_nametoindex("lo");
	uint32_t nr = 0;
	int r;

	*hooks = (struct hooks){.object = object, .run_dir = run_dir, .hook = HOOK_TCX};
	r = clsact ? -EOPNOTSUPP : bpf_prog_query((int)loopback, TCX_INGRESS, 0, NULL, NULL, &nr);
	if (r == -EINVAL || r == -EOPNOTSUPP) {
		hooks->hook = HOOK_CLSACT;
		r = 0;
	}
	if (r < 0)
		return log_errno(r, "cannot ask the kernel for its tcx hooks");
	log_debug("hooks are %s", hooks->hook == HOOK_TCX ? "tcx" : "clsact");
	return 0;
}

static int side_program(const struct programs *programs, const struct hook_side *side)
{
	return *(const int *)((const char *)programs + side->program);
}

static const char *side_path(const struct hooks *hooks, const struct hook_owner *owner,
			     const struct hook_side *side, char *path)
{
	char part[sizeof(owner->folder) + 32];

	snprintf(part, sizeof(part), "%s/%s", owner->folder, side->pin);
	return pin_path(hooks->object->instance, part, path);
}

/* ---- tcx -------------------------------------------------------------------------------------------------------- */

/* Both links first, then the pins: each link waits for the kernel's lock on devices, and between them whoever made the
 * device might get that lock, to bring it up. */
static int tcx_begin(const struct hooks *hooks, const struct hook_owner *owner,
		     struct hooked *hooked)
{
	for (size_t i = 0; i < HOOK_SIDES; i++) {
		const struct hook_side *side = &owner->sides[i];

		hooked->links[i] = bpf_link_create(side_program(&hooks->object->programs, side),
						   (int)hooked->ifindex,
						   side->egress ? TCX_EGRESS : TCX_INGRESS, NULL);
		if (hooked->links[i] < 0)
			return hooked->links[i];
	}
	return 0;
}

/* The former link is detached, not only left without its pin: its last reference may be given up some time later. */
static int tcx_keep_side(const struct hooks *hooks, const struct hook_owner *owner,
			 const struct hook_side *side, int link)
{
	char path[PATH_MAX];
	_cleanup_close_ int former = -1;
	int r;

	side_path(hooks, owner, side, path);
	former = pin_open(path);
	r = pin_replace(link, path);
	if (r == 0 && former >= 0)
		bpf_link_detach(former);
	return r;
}

/* Detached first: the last reference to a link may be given up some time after its pin is gone. */
static int tcx_detach_side(const struct hooks *hooks, const struct hook_owner *owner,
			   const struct hook_side *side)
{
	char path[PATH_MAX];
	_cleanup_close_ int link = pin_open(side_path(hooks, owner, side, path));
	int r;

	if (link == -ENOENT)
		return 0;
	if (link < 0)
		return link;
	r = bpf_link_detach(link);
	if (r < 0 && r != -ENOLINK) /* -ENOLINK: the device has gone */
		return r;
	return pin_remove(path);
}

/* A link goes with its device into another network namespace, where its index may be that of another device here. */
static bool tcx_is_there(uint32_t ifindex, const struct hook_side *side, uint32_t program)
{
	uint32_t ids[TCX_MAX_PROGRAMS], nr = TCX_MAX_PROGRAMS;

	if (bpf_prog_query((int)ifindex, side->egress ? TCX_EGRESS : TCX_INGRESS, 0, NULL, ids,
			   &nr) < 0)
		return false;
	for (uint32_t i = 0; i < nr; i++)
		if (ids[i] == program)
			return true;
	return false;
}

/* The device of a pinned link; 0: it has gone, or there is no link. */
static int tcx_find_side(const struct hooks *hooks, const struct hook_owner *owner,
			 const struct hook_side *side, uint32_t *ifindex)
{
	char path[PATH_MAX];
	_cleanup_close_ int link = pin_open(side_path(hooks, owner, side, path));
	struct bpf_link_info info = {};
	uint32_t bytes = sizeof(info);
	int r;

	*ifindex = 0;
	if (link == -ENOENT)
		return 0;
	r = link < 0 ? link : bpf_obj_get_info_by_fd(link, &info, &bytes);
	if (r < 0)
		return log_errno(r, "%s", path);
	/* info.tcx, which headers of 6.1 lack, begins like info.xdp. */
	if (info.xdp.ifindex && tcx_is_there(info.xdp.ifindex, side, info.prog_id))
		*ifindex = info.xdp.ifindex;
	return 0;
}

static int tcx_update_side(const struct hooks *hooks, const struct hook_owner *owner,
			   const struct hook_side *side, int program)
{
	char path[PATH_MAX];
	_cleanup_close_ int link = pin_open(side_path(hooks, owner, side, path));

	return link < 0 ? link : bpf_link_update(link, program, NULL);
}

/* ---- clsact ----------------------------------------------------------------------------------------------------- */

static const char *clsact_mark(const char *run_dir, uint32_t ifindex, char *path)
{
	snprintf(path, PATH_MAX, "%s/clsact-%u", run_dir, ifindex);
	return path;
}

static int clsact_make(const struct hooks *hooks, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	char path[PATH_MAX];
	int fd, r = bpf_tc_hook_create(&hook);

	if (r == -EEXIST)
		return 0;
	if (r < 0)
		return r;
	fd = open(clsact_mark(hooks->run_dir, ifindex, path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		log_warning("%s: %m; the clsact qdisc of device %u will stay when dfw goes", path,
			    ifindex);
	cleanup_close(&fd);
	return 0;
}

/* Takes the qdisc away when it is ours and nobody else has come to use it. */
static int clsact_remove(const char *run_dir, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);
	char path[PATH_MAX];
	int r;

	if (access(clsact_mark(run_dir, ifindex, path), F_OK) < 0)
		return 0;
	r = links_clsact_used(ifindex);
	if (r == 0)
		r = bpf_tc_hook_destroy(&hook);
	unlink(path);
	return r > 0 || r == -ENODEV || r == -ENOENT ? 0 : r;
}

static enum bpf_tc_attach_point clsact_point(bool egress)
{
	return egress ? BPF_TC_EGRESS : BPF_TC_INGRESS;
}

static int clsact_set_side(bool egress, uint32_t ifindex, int program)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = clsact_point(egress));
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = CLSACT_HANDLE, .priority = CLSACT_PRIORITY,
		    .prog_fd = program, .flags = BPF_TC_F_REPLACE);

	return bpf_tc_attach(&hook, &options);
}

static bool clsact_has_side(bool egress, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = clsact_point(egress));
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = CLSACT_HANDLE, .priority = CLSACT_PRIORITY);

	return bpf_tc_query(&hook, &options) == 0;
}

static int clsact_detach_side(bool egress, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex,
		    .attach_point = clsact_point(egress));
	LIBBPF_OPTS(bpf_tc_opts, options, .handle = CLSACT_HANDLE, .priority = CLSACT_PRIORITY);
	int r;

	if (!clsact_has_side(egress, ifindex))
		return 0;
	r = bpf_tc_detach(&hook, &options);
	return r == -ENODEV || r == -ENOENT ? 0 : r;
}

/* ---- Both ------------------------------------------------------------------------------------------------------- */

static int clsact_begin(const struct hooks *hooks, const struct hook_owner *owner, uint32_t ifindex)
{
	int r = clsact_make(hooks, ifindex);

	for (size_t i = 0; i < HOOK_SIDES && r == 0; i++)
		r = clsact_set_side(owner->sides[i].egress, ifindex,
				    side_program(&hooks->object->programs, &owner->sides[i]));
	return r;
}

static int clsact_end(const char *run_dir, uint32_t ifindex)
{
	int ingress = clsact_detach_side(false, ifindex);
	int egress = clsact_detach_side(true, ifindex);
	int r = clsact_remove(run_dir, ifindex);

	return ingress < 0 ? ingress : egress < 0 ? egress : r;
}

int hooks_detach(const struct hooks *hooks, const struct hook_owner *owner, uint32_t ifindex)
{
	int r = 0, one;

	for (size_t i = 0; i < HOOK_SIDES; i++) {
		one = tcx_detach_side(hooks, owner, &owner->sides[i]);
		r = r < 0 ? r : one;
	}
	one = clsact_end(hooks->run_dir, ifindex);
	return r < 0 ? r : one;
}

int hooks_begin(const struct hooks *hooks, const struct hook_owner *owner, uint32_t ifindex,
		struct hooked *hooked)
{
	int r;

	*hooked = (struct hooked){.ifindex = ifindex, .links = {-1, -1}};
	r = hooks->hook == HOOK_TCX ? tcx_begin(hooks, owner, hooked)
				    : clsact_begin(hooks, owner, ifindex);
	if (r < 0)
		hooks_drop(hooks, hooked);
	return r;
}

void hooks_drop(const struct hooks *hooks, struct hooked *hooked)
{
	for (size_t i = 0; hooked->ifindex && i < HOOK_SIDES; i++)
		cleanup_close(&hooked->links[i]);
	if (hooked->ifindex && hooks->hook == HOOK_CLSACT)
		clsact_end(hooks->run_dir, hooked->ifindex);
	hooked->ifindex = 0;
}

int hooks_keep(const struct hooks *hooks, const struct hook_owner *owner, struct hooked *hooked,
	       uint32_t former)
{
	int r = 0;

	for (size_t i = 0; i < HOOK_SIDES && r == 0; i++)
		if (hooked->links[i] >= 0)
			r = tcx_keep_side(hooks, owner, &owner->sides[i], hooked->links[i]);
	if (r < 0) {
		hooks_detach(hooks, owner, hooked->ifindex);
		return r;
	}
	if (former && former != hooked->ifindex)
		hooks_end_filters(hooks->run_dir, former); /* logs what stays */
	for (size_t i = 0; i < HOOK_SIDES; i++)
		cleanup_close(&hooked->links[i]);
	hooked->ifindex = 0;
	return 0;
}

int hooks_attach(const struct hooks *hooks, const struct hook_owner *owner, uint32_t ifindex)
{
	struct hooked hooked;
	int r = hooks_begin(hooks, owner, ifindex, &hooked);

	if (r == 0)
		r = hooks_keep(hooks, owner, &hooked, 0);
	hooks_drop(hooks, &hooked);
	return r;
}

int hooks_pass(const struct hooks *hooks, const struct hook_owner *from,
	       const struct hook_owner *to)
{
	for (size_t i = 0; i < HOOK_SIDES; i++) {
		char old[PATH_MAX], new[PATH_MAX];
		int r = rename(side_path(hooks, from, &from->sides[i], old),
			       side_path(hooks, to, &to->sides[i], new)) < 0
				? -errno
				: 0;

		/* A filter on a clsact qdisc has no pin, and is nobody's. */
		if (r == 0 || r == -ENOENT)
			continue;
		for (; i > 0; i--)
			rename(side_path(hooks, to, &to->sides[i - 1], new),
			       side_path(hooks, from, &from->sides[i - 1], old));
		return r;
	}
	return 0;
}

void hooks_unpin(const struct hooks *hooks, const struct hook_owner *owner)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < HOOK_SIDES; i++)
		pin_remove(side_path(hooks, owner, &owner->sides[i], path));
}

int hooks_find(const struct hooks *hooks, const struct hook_owner *owner, uint32_t known,
	       uint32_t *ifindex)
{
	uint32_t found[HOOK_SIDES];

	*ifindex = 0;
	for (size_t i = 0; i < HOOK_SIDES; i++) {
		int r = tcx_find_side(hooks, owner, &owner->sides[i], &found[i]);

		if (r < 0)
			return r;
		if (!found[i] && known && clsact_has_side(owner->sides[i].egress, known))
			found[i] = known;
	}
	/* Half of a hook is none: it is made anew, over what is there. */
	if (found[0] == found[1] && (!known || found[0] == known))
		*ifindex = found[0];
	return 0;
}

static int update_side(const struct hooks *hooks, const struct hook_owner *owner,
		       const struct hook_side *side, uint32_t ifindex,
		       const struct programs *programs)
{
	int program = side_program(programs, side);
	int r = tcx_update_side(hooks, owner, side, program);

	return r == -ENOENT ? clsact_set_side(side->egress, ifindex, program) : r;
}

int hooks_update(const struct hooks *hooks, const struct hook_owner *owner, uint32_t ifindex,
		 const struct programs *programs)
{
	int r = 0;

	for (size_t i = 0; i < HOOK_SIDES && r == 0; i++)
		r = update_side(hooks, owner, &owner->sides[i], ifindex, programs);
	return r == -ENOLINK || r == -ENODEV ? 0 : r;
}

/* ---- After a daemon that is dead -------------------------------------------------------------------------------- */

int hooks_end_links(const char *folder, const struct hook_side *sides)
{
	int r = 0;

	for (size_t i = 0; i < HOOK_SIDES; i++) {
		char path[PATH_MAX];
		_cleanup_close_ int link = -1;
		int one;

		snprintf(path, sizeof(path), "%s/%s", folder, sides[i].pin);
		link = pin_open(path);
		one = link == -ENOENT ? 0 : link < 0 ? link : bpf_link_detach(link);
		if (one < 0 && one != -ENOLINK)
			r = log_errno(one, "%s", path);
	}
	return r;
}

int hooks_end_filters(const char *run_dir, uint32_t ifindex)
{
	int r = clsact_end(run_dir, ifindex);

	return r < 0 ? log_errno(r, "cannot take the filters away from device %u", ifindex) : 0;
}
