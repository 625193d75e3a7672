// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sync/daemon/seccomp.h"
#include "util.h"

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define OUR_ARCH AUDIT_ARCH_RISCV64
#else
#error "seccomp: this architecture's number of calls is not known"
#endif

#define FIELD(name)	    ((__u32)offsetof(struct seccomp_data, name))
#define LOAD(name)	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(name))
#define LOAD_LOW(index)	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIELD(args) + 8 * (index))
#define ANSWER(action)	    BPF_STMT(BPF_RET | BPF_K, (action))
#define REFUSE		    ANSWER(SECCOMP_RET_ERRNO | EPERM)
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define ALLOW(call)	    UNLESS(__NR_##call, 1), ANSWER(SECCOMP_RET_ALLOW)
#define ALLOW_VALUE(value)  UNLESS((value), 1), ANSWER(SECCOMP_RET_ALLOW)
#define FAIL(call, with)    UNLESS(__NR_##call, 1), ANSWER(SECCOMP_RET_ERRNO | (with))

/* The low half of an argument decides: the high one is 0 in all that is asked for here. How long such a check is: the load,
 * two instructions for each value, the refusal. */
#define CHECK_OF(values) (1 + 2 * (values) + 1)

static const struct sock_filter filter[] = {
	LOAD(arch),
	UNLESS(OUR_ARCH, 1),
	BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
	ANSWER(SECCOMP_RET_KILL_PROCESS),
	LOAD(nr),

	/* Talking. */
	ALLOW(read),
	ALLOW(write),
	ALLOW(readv),
	ALLOW(writev),
	ALLOW(recvmsg),
	ALLOW(sendmsg),
	ALLOW(recvfrom),
	ALLOW(sendto),
	ALLOW(sendmmsg),
	ALLOW(close),
	ALLOW(epoll_ctl),
	ALLOW(epoll_pwait),
	ALLOW(ppoll),
	ALLOW(futex),
	ALLOW(clock_gettime),
	ALLOW(accept),
	ALLOW(accept4),
	ALLOW(bind),
	ALLOW(connect),
	ALLOW(listen),
	ALLOW(shutdown),
	ALLOW(getsockname),
	ALLOW(getpeername),
	ALLOW(getsockopt),
	ALLOW(setsockopt),
	ALLOW(eventfd2),
	ALLOW(epoll_create1),
	ALLOW(timerfd_create),
	ALLOW(timerfd_settime),
	ALLOW(signalfd4),
	ALLOW(fcntl),
	ALLOW(dup),
	ALLOW(dup3),
	ALLOW(memfd_create),

	/* Files of our own: what we may open is what the user may. */
	ALLOW(openat),
	ALLOW(newfstatat),
	ALLOW(fstat),
	ALLOW(lseek),
	ALLOW(pread64),
	ALLOW(pwrite64),
	ALLOW(fsync),
	ALLOW(fdatasync),
	ALLOW(ftruncate),
	ALLOW(renameat),
	ALLOW(renameat2),
	ALLOW(unlinkat),
	ALLOW(mkdirat),
	ALLOW(fchmod),
	ALLOW(fchown),
	ALLOW(getdents64),

	/* Memory, time, threads. */
	ALLOW(mmap),
	ALLOW(munmap),
	ALLOW(mremap),
	ALLOW(mprotect),
	ALLOW(madvise),
	ALLOW(brk),
	ALLOW(nanosleep),
	ALLOW(clock_nanosleep),
	ALLOW(gettimeofday),
	ALLOW(getrandom),
	ALLOW(restart_syscall),
	ALLOW(rt_sigaction),
	ALLOW(rt_sigprocmask),
	ALLOW(rt_sigreturn),
	ALLOW(set_robust_list),
	ALLOW(rseq),
	ALLOW(sched_yield),
	ALLOW(sched_getaffinity),
	ALLOW(getpid),
	ALLOW(gettid),
	ALLOW(getuid),
	ALLOW(geteuid),
	ALLOW(getgid),
	ALLOW(getegid),
	ALLOW(sysinfo),
	ALLOW(uname),
	ALLOW(tgkill),
	ALLOW(exit),
	ALLOW(exit_group),
#ifdef __x86_64__
	/* The C library still uses these here. */
	ALLOW(open),
	ALLOW(stat),
	ALLOW(lstat),
	ALLOW(access),
	ALLOW(poll),
	ALLOW(epoll_wait),
	ALLOW(rename),
	ALLOW(unlink),
	ALLOW(mkdir),
	ALLOW(rmdir),
	ALLOW(chmod),
	ALLOW(time),
#endif

	/* Its flags lie in memory, where a filter does not look: the C library takes clone instead, for threads. */
	FAIL(clone3, ENOSYS),
	UNLESS(__NR_clone, CHECK_OF(1) + 1),
	LOAD_LOW(0),
	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, CLONE_THREAD | CLONE_VM),
	ALLOW_VALUE(CLONE_THREAD | CLONE_VM),
	REFUSE,

	/* Between our own threads, and how much has come. */
	UNLESS(__NR_socketpair, CHECK_OF(1)),
	LOAD_LOW(0),
	ALLOW_VALUE(AF_UNIX),
	REFUSE,
	UNLESS(__NR_ioctl, CHECK_OF(1)),
	LOAD_LOW(1),
	ALLOW_VALUE(FIONREAD),
	REFUSE,

	UNLESS(__NR_socket, CHECK_OF(3)),
	LOAD_LOW(0),
	ALLOW_VALUE(AF_UNIX),
	ALLOW_VALUE(AF_INET),
	ALLOW_VALUE(AF_INET6),
	REFUSE,

	/* Elements of maps that were handed to us, and the programs beside them; nothing is made. */
	UNLESS(__NR_bpf, CHECK_OF(11)),
	LOAD_LOW(0),
	ALLOW_VALUE(BPF_MAP_LOOKUP_ELEM),
	ALLOW_VALUE(BPF_MAP_UPDATE_ELEM),
	ALLOW_VALUE(BPF_MAP_DELETE_ELEM),
	ALLOW_VALUE(BPF_MAP_GET_NEXT_KEY),
	ALLOW_VALUE(BPF_MAP_LOOKUP_AND_DELETE_ELEM),
	ALLOW_VALUE(BPF_MAP_LOOKUP_BATCH),
	ALLOW_VALUE(BPF_MAP_LOOKUP_AND_DELETE_BATCH),
	ALLOW_VALUE(BPF_MAP_UPDATE_BATCH),
	ALLOW_VALUE(BPF_MAP_DELETE_BATCH),
	ALLOW_VALUE(BPF_PROG_TEST_RUN),
	ALLOW_VALUE(BPF_OBJ_GET_INFO_BY_FD),
	REFUSE,

	REFUSE,
};

int seccomp_install(void)
{
	const struct sock_fprog program = {
		.len = (unsigned short)ARRAY_SIZE(filter),
		.filter = (struct sock_filter *)filter,
	};
	/* Threads of nanomsg run already. */
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);

	if (r < 0)
		return -errno;
	return r > 0 ? -EBUSY : 0;
}
