// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "control.h"
#include "instance.h"
#include "output.h"
#include "util.h"
#include "view.h"

#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif

const char *state_path(const char *instance, const char *file, char *path)
{
	snprintf(path, PATH_MAX, CONTROL_STATE_DIR "/%s%s%s", instance, file ? "/" : "",
		 file ? file : "");
	return path;
}

/* What we may not even ask for is taken to be there: the error about privileges comes then. */
static bool path_exists(const char *path)
{
	return access(path, F_OK) == 0 || errno == EACCES;
}

static bool has_pins(const char *instance)
{
	char path[PATH_MAX];

	return path_exists(pin_path(instance, NULL, path));
}

bool instance_exists(const char *instance)
{
	char path[PATH_MAX];

	return has_pins(instance) || path_exists(state_path(instance, NULL, path));
}

bool in_cluster(const char *instance)
{
	char path[PATH_MAX];

	return path_exists(state_path(instance, CONTROL_CLUSTER_FILE, path));
}

bool bpffs_mounted(void)
{
	struct statfs fs;

	return statfs(DFW_BPFFS, &fs) < 0 ? errno == EACCES
					  : (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* A vport that is not there is a wrong argument; whatever else is missing is a failure. */
static enum exit_status complain_not_found(const struct invocation *call, const char *vport)
{
	if (!bpffs_mounted()) {
		complain("no bpf file system is mounted on %s: nothing is enforced", DFW_BPFFS);
	} else if (!instance_exists(call->instance)) {
		complain("there is no instance '%s'", call->instance);
	} else if (!has_pins(call->instance)) {
		complain("instance '%s' has nothing in the kernel: dfwd was not started since "
			 "boot, or was shut down with --detach",
			 call->instance);
	} else if (vport) {
		complain("there is no vport '%s' in instance '%s'", vport, call->instance);
		return EXIT_INPUT;
	} else {
		complain("instance '%s' is incomplete in the kernel: some of its pins are missing",
			 call->instance);
	}
	return EXIT_FAILED;
}

enum exit_status view_failed(const struct invocation *call, const char *vport, int error)
{
	if (error == -ENOENT)
		return complain_not_found(call, vport);
	if (error == -EPERM || error == -EACCES)
		complain("not allowed to read the maps of instance '%s': run this as root",
			 call->instance);
	else if (error == -ESTALE)
		complain("instance '%s' was made by another version of dfwd (this dfwctl knows "
			 "layout "
			 "%d): use its dfwctl, or upgrade dfwd",
			 call->instance, DFW_LAYOUT_VERSION);
	else
		complain("cannot read %s%s of instance '%s': %s", vport ? "vport " : "the maps",
			 vport ? vport : "", call->instance, strerror(-error));
	return EXIT_FAILED;
}

int state_json(const char *instance, const char *file, json_t **json)
{
	char path[PATH_MAX];
	_cleanup_fclose_ FILE *in = fopen(state_path(instance, file, path), "re");

	if (!in)
		return errno == EACCES ? -EPERM : -errno;
	*json = json_loadf(in, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	return *json ? 0 : -EBADMSG;
}

enum exit_status state_json_or_complain(const struct invocation *call, const char *file,
					const char *missing, json_t **json)
{
	char path[PATH_MAX];
	int r = state_json(call->instance, file, json);

	if (r == 0)
		return EXIT_DONE;
	state_path(call->instance, file, path);
	if (r == -ENOENT && !instance_exists(call->instance))
		complain("there is no instance '%s'", call->instance);
	else if (r == -ENOENT)
		complain("instance '%s': %s", call->instance, missing);
	else if (r == -EPERM)
		complain("not allowed to read %s: run this as root", path);
	else if (r == -EBADMSG)
		complain("%s is damaged: it is no JSON", path);
	else
		complain("cannot read %s: %s", path, strerror(-r));
	return EXIT_FAILED;
}

enum exit_status select_vports(const struct invocation *call, const char *vport, char ***names,
			       size_t *nr)
{
	int r;

	if (!vport) {
		r = view_vports(call->instance, names, nr);
		return r < 0 ? view_failed(call, NULL, r) : EXIT_DONE;
	}
	*names = calloc(1, sizeof(**names));
	if (*names)
		(*names)[0] = strdup(vport);
	*nr = *names && (*names)[0] ? 1 : 0;
	return *nr ? EXIT_DONE : no_memory();
}

bool vport_vanished(const char *asked_for, int error)
{
	return !asked_for && error == -ENOENT;
}
