// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"
#include "sync/daemon/daemon.h"
#include "sync/daemon/privileges.h"
#include "sync/daemon/seccomp.h"

int privileges_find_user(struct syncd *d, const char *user)
{
	const struct passwd *found = getpwnam(user ? user : SYNCD_USER);

	if (!found && !user)
		found = getpwnam(SYNCD_USER_ELSE);
	if (!found) {
		log_error("there is no user \"%s\"", user ? user : SYNCD_USER);
		return -EINVAL;
	}
	d->uid = found->pw_uid;
	d->gid = found->pw_gid;
	return 0;
}

static int drop_bounding_set(void)
{
	for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
			return -errno;
	return 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {};

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
	    syscall(SYS_capset, &header, none) < 0)
		return -errno;
	return 0;
}

/* Both are a matter of each thread, and inherited. */
int privileges_bound(void)
{
	int r = drop_bounding_set();

	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	return r < 0 ? log_errno(r, "cannot bound privileges") : 0;
}

/* The C library changes the user of all threads; the kernel takes the capabilities of each with it. */
int privileges_drop(const struct syncd *d)
{
	int r = 0;

	if (setgroups(0, NULL) < 0 || setresgid(d->gid, d->gid, d->gid) < 0 ||
	    setresuid(d->uid, d->uid, d->uid) < 0)
		r = -errno;
	if (r == 0)
		r = drop_capabilities();
	if (r == 0)
		r = seccomp_install();
	return r < 0 ? log_errno(r, "cannot drop privileges") : 0;
}
