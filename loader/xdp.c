// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <xdp/libxdp.h>

#include "dfw_tc.skel.h"
#include "dfw_xdp.skel.h"
#include "file.h"
#include "log.h"
#include "maps.h"
#include "util.h"
#include "xdp.h"

#define PROGRAM_NAME "dfw_xdp"
#define PROGRAM_MAPS 64
#define RUN_PRIORITY 90 /* libxdp's default is 50: the lower run first */

static void cleanup_programs(struct xdp_multiprog **programs)
{
	if (*programs)
		xdp_multiprog__close(*programs);
}
#define _cleanup_programs_ _cleanup_(cleanup_programs)

static void cleanup_program(struct xdp_program **program)
{
	if (*program)
		xdp_program__close(*program);
}
#define _cleanup_program_ _cleanup_(cleanup_program)

static void cleanup_skeleton(struct dfw_xdp **skeleton)
{
	dfw_xdp__destroy(*skeleton);
}
#define _cleanup_skeleton_ _cleanup_(cleanup_skeleton)

/* It tells of what it tries and cannot do here; we tell what has become of it. */
static int print_libxdp(enum libxdp_print_level level, const char *format, va_list arguments)
{
	_cleanup_free_ char *text = NULL;
	int length = vasprintf(&text, format, arguments);

	(void)level;
	if (length > 0 && text[length - 1] == '\n')
		text[length - 1] = '\0';
	if (length > 0)
		log_debug("libxdp: %s", text);
	return length;
}

/* ---- What is there ---------------------------------------------------------------------------------------------- */

/* The programs of a device; *programs NULL: there are none. */
static int programs_of(uint32_t ifindex, struct xdp_multiprog **programs)
{
	struct xdp_multiprog *found;
	long r;

	libxdp_set_print(print_libxdp);
	found = xdp_multiprog__get_from_ifindex((int)ifindex);
	r = libxdp_get_error(found);
	*programs = r ? NULL : found;
	return r == -ENOENT || r == -ENODEV ? 0 : (int)r;
}

static bool is_alone(const struct xdp_multiprog *programs)
{
	return xdp_multiprog__is_legacy(programs);
}

/* The next program of a device, whether it is alone or one of several. */
static struct xdp_program *next_program(const struct xdp_multiprog *programs,
					const struct xdp_program *program)
{
	if (is_alone(programs))
		return program ? NULL : xdp_multiprog__main_prog(programs);
	return xdp_multiprog__next_prog(program, programs);
}

static bool uses_map(const struct xdp_program *program, uint32_t map)
{
	uint32_t maps[PROGRAM_MAPS] = {};
	struct bpf_prog_info info = {.nr_map_ids = PROGRAM_MAPS, .map_ids = (uintptr_t)maps};
	uint32_t bytes = sizeof(info);

	if (bpf_obj_get_info_by_fd(xdp_program__fd(program), &info, &bytes) < 0 ||
	    strcmp(info.name, PROGRAM_NAME) != 0)
		return false;
	for (uint32_t i = 0; i < info.nr_map_ids && i < PROGRAM_MAPS; i++)
		if (maps[i] == map)
			return true;
	return false;
}

static int detach(const struct xdp_multiprog *programs, struct xdp_program *program,
		  uint32_t ifindex)
{
	return xdp_program__detach(program, (int)ifindex, xdp_multiprog__attach_mode(programs), 0);
}

static struct xdp_program *find_ours(const struct object *object,
				     const struct xdp_multiprog *programs)
{
	struct xdp_program *program = NULL;
	uint32_t map = map_id(object->paths);

	while (programs && (program = next_program(programs, program)))
		if (uses_map(program, map))
			return program;
	return NULL;
}

int xdp_find(const struct object *object, uint32_t ifindex, struct xdp_state *state)
{
	_cleanup_programs_ struct xdp_multiprog *programs = NULL;
	int r = programs_of(ifindex, &programs);

	*state = (struct xdp_state){};
	if (r < 0)
		return r;
	state->attached = find_ours(object, programs) != NULL;
	if (state->attached) {
		state->generic = xdp_multiprog__attach_mode(programs) == XDP_MODE_SKB;
		if (!is_alone(programs))
			state->dispatcher = xdp_program__id(xdp_multiprog__main_prog(programs));
	}
	return 0;
}

/* ---- Attaching -------------------------------------------------------------------------------------------------- */

/* Our program, not loaded: libxdp loads it as what it has to be. */
static int open_skeleton(const struct object *object, const struct xdp_hook *hook,
			 struct dfw_xdp **skeleton)
{
	_cleanup_skeleton_ struct dfw_xdp *new = dfw_xdp__open();
	struct bpf_map *map;

	if (!new)
		return -errno;
	/* Large frames come in pieces. Not so in generic XDP: for a program that takes pieces it rebuilds skbs and (seen on
	 * 6.18) forgets the length of their MAC header, which tc goes by. */
	if (!hook->generic)
		bpf_program__set_flags(new->progs.dfw_xdp, BPF_F_XDP_HAS_FRAGS);
	new->rodata->uplink_ifindex = hook->ifindex;
	new->rodata->uplink_place = hook->place;
	object_keep_secret(object, new->rodata->flow_hash_secret);
	bpf_object__for_each_map(map, new->obj)
	{
		int fd, r;

		if (bpf_map__is_internal(map))
			continue;
		fd = bpf_object__find_map_fd_by_name(object->skeleton->obj, bpf_map__name(map));
		r = fd < 0 ? fd : bpf_map__reuse_fd(map, fd);
		if (r < 0)
			return r;
	}
	*skeleton = TAKE_PTR(new);
	return 0;
}

static enum xdp_attach_mode mode_of(const struct xdp_hook *hook)
{
	return hook->generic ? XDP_MODE_SKB : XDP_MODE_NATIVE;
}

/* Alone there is one step for old and new. */
static int replace_alone(struct dfw_xdp *skeleton, const struct xdp_hook *hook,
			 const struct xdp_program *former)
{
	LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = xdp_program__fd(former));
	int r = dfw_xdp__load(skeleton);

	if (r < 0)
		return r;
	r = bpf_xdp_attach((int)hook->ifindex, bpf_program__fd(skeleton->progs.dfw_xdp),
			   hook->generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE, &options);
	return r < 0 ? r : pin_replace(bpf_program__fd(skeleton->progs.dfw_xdp), hook->pin);
}

/* Beside others the new one joins, then the former leaves. What both see in between the second leaves as it is. */
static int join(struct dfw_xdp *skeleton, const struct xdp_hook *hook, struct xdp_program *former)
{
	DECLARE_LIBXDP_OPTS(xdp_program_opts, options, .obj = skeleton->obj,
			    .prog_name = PROGRAM_NAME);
	_cleanup_program_ struct xdp_program *program = xdp_program__create(&options);
	int r;

	if (!program)
		return -errno;
	r = xdp_program__set_run_prio(program, RUN_PRIORITY);
	if (r == 0)
		r = xdp_program__attach(program, (int)hook->ifindex, mode_of(hook), 0);
	if (r < 0)
		return r;
	if (former)
		r = xdp_program__detach(former, (int)hook->ifindex, mode_of(hook), 0);
	return r < 0 ? r : pin_replace(xdp_program__fd(program), hook->pin);
}

static int attach(const struct object *object, const struct xdp_hook *hook)
{
	_cleanup_programs_ struct xdp_multiprog *programs = NULL;
	_cleanup_skeleton_ struct dfw_xdp *skeleton = NULL;
	struct xdp_program *former;
	int r = programs_of(hook->ifindex, &programs);

	if (r == 0)
		r = open_skeleton(object, hook, &skeleton);
	if (r < 0)
		return r;
	former = find_ours(object, programs);
	if (former && xdp_multiprog__attach_mode(programs) != mode_of(hook)) {
		r = detach(programs, former, hook->ifindex);
		former = NULL;
	}
	if (r < 0)
		return r;
	return former && is_alone(programs) ? replace_alone(skeleton, hook, former)
					    : join(skeleton, hook, former);
}

int xdp_attach(const struct object *object, const struct xdp_hook *hook)
{
	int r = attach(object, hook);

	/* What drivers say of an MTU, a ring, an offload that does not go together with XDP. */
	if (r == -EINVAL || r == -ERANGE || r == -EMSGSIZE || r == -E2BIG)
		return -EOPNOTSUPP;
	return r == -EEXIST ? -EBUSY : r;
}

/* ---- Detaching -------------------------------------------------------------------------------------------------- */

int xdp_detach(const struct object *object, uint32_t ifindex, const char *pin)
{
	_cleanup_programs_ struct xdp_multiprog *programs = NULL;
	struct xdp_program *ours;
	int r = programs_of(ifindex, &programs);

	ours = r < 0 ? NULL : find_ours(object, programs);
	if (ours)
		r = detach(programs, ours, ifindex);
	return r < 0 ? r : pin_remove(pin);
}

/* libxdp_clean_references would do it, but also for devices of that index in other network namespaces. */
void xdp_forget(uint32_t ifindex, uint32_t dispatcher, const char *pin)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), DFW_BPFFS "/xdp/dispatch-%u-%u", ifindex, dispatcher);
	if (dispatcher)
		directory_remove(path);
	pin_remove(pin);
}

int xdp_end(uint32_t ifindex, const char *pin)
{
	_cleanup_programs_ struct xdp_multiprog *programs = NULL;
	_cleanup_close_ int fd = pin_open(pin);
	struct xdp_program *program = NULL;
	struct bpf_prog_info info = {};
	uint32_t bytes = sizeof(info);
	int r;

	if (fd == -ENOENT)
		return 0;
	r = fd < 0 ? fd : bpf_obj_get_info_by_fd(fd, &info, &bytes);
	if (r == 0)
		r = programs_of(ifindex, &programs);
	while (r == 0 && programs && (program = next_program(programs, program)))
		if (xdp_program__id(program) == info.id)
			return detach(programs, program, ifindex);
	return r;
}
