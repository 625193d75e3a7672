// SPDX-License-Identifier: GPL-2.0
/*
 * What the datapath costs the verifier: processed instructions and stack of each program, compared with the file that is
 * kept beside this one. On the kernel release that the file names, growth of more than a tenth fails; on another, whose
 * verifier counts otherwise, it is only told.
 *
 * Usage: verifier_stats [--write] [OBJECT EXPECTED]; without them, those of DFW_BUILD (build) and of the sources
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define LOG_STATS      4 /* the kernel's BPF_LOG_STATS: the last lines of the log alone */
#define MAX_PROGRAMS   16
#define LOG_BYTES      4096
#define GROWTH_PERCENT 10

struct stats {
	char name[64];
	unsigned long insns;
	unsigned long stack; /* of all functions, added: what the verifier prints as a+b+c */
};

static int quiet(enum libbpf_print_level level, const char *format, va_list list)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, list) : 0;
}

/* "stack depth 144+96+0" -> 240 */
static unsigned long stack_of(const char *log)
{
	const char *at = strstr(log, "stack depth ");
	unsigned long sum = 0;
	char *end;

	if (!at)
		return 0;
	for (at += strlen("stack depth ");; at = end + 1) {
		sum += strtoul(at, &end, 10);
		if (*end != '+')
			return sum;
	}
}

/* Appends to the list. */
static int measure(const char *path, struct stats *list, size_t *nr)
{
	static char logs[MAX_PROGRAMS][LOG_BYTES];
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *program;
	size_t i = 0, first = *nr;
	int r;

	if (!object) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -errno;
	}
	bpf_object__for_each_program(program, object)
	{
		if (first + i == MAX_PROGRAMS)
			break;
		bpf_program__set_log_level(program, LOG_STATS);
		bpf_program__set_log_buf(program, logs[i++], LOG_BYTES);
	}
	r = bpf_object__load(object);
	if (r < 0)
		fprintf(stderr, "%s: the kernel refuses it: %s\n", path, strerror(-r));
	bpf_object__for_each_program(program, object)
	{
		const char *log = logs[*nr - first], *processed = strstr(log, "processed ");

		if (r < 0 || *nr == MAX_PROGRAMS)
			break;
		snprintf(list[*nr].name, sizeof(list[*nr].name), "%s", bpf_program__name(program));
		list[*nr].insns =
			processed ? strtoul(processed + strlen("processed "), NULL, 10) : 0;
		list[*nr].stack = stack_of(log);
		(*nr)++;
	}
	bpf_object__close(object);
	return r;
}

static int write_expected(const char *path, const struct utsname *host, const struct stats *list,
			  size_t nr)
{
	FILE *file = fopen(path, "w");

	if (!file) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -errno;
	}
	fprintf(file,
		"# What the verifier says of the datapath: `verifier_stats --write` writes it.\n");
	fprintf(file, "kernel %s\n", host->release);
	fprintf(file, "# program instructions stack\n");
	for (size_t i = 0; i < nr; i++)
		fprintf(file, "%s %lu %lu\n", list[i].name, list[i].insns, list[i].stack);
	return fclose(file) == 0 ? 0 : -errno;
}

static size_t read_expected(const char *path, char *release, size_t room, struct stats *list)
{
	FILE *file = fopen(path, "r");
	char line[256], format[16];
	size_t nr = 0;

	if (!file)
		return 0;
	snprintf(format, sizeof(format), "kernel %%%zus", room - 1);
	while (nr < MAX_PROGRAMS && fgets(line, sizeof(line), file))
		if (line[0] != '#' && sscanf(line, format, release) != 1 &&
		    sscanf(line, "%63s %lu %lu", list[nr].name, &list[nr].insns, &list[nr].stack) ==
			    3)
			nr++;
	fclose(file);
	return nr;
}

int main(int argc, char **argv)
{
	bool write = argc > 1 && strcmp(argv[1], "--write") == 0, same, grown = false;
	struct stats now[MAX_PROGRAMS] = {}, former[MAX_PROGRAMS] = {};
	char release[128] = "";
	static const char *const objects[] = {"dfw_tc", "dfw_xdp"};
	size_t nr = 0, nr_former;
	const char *build = getenv("DFW_BUILD");
	char object[4096], expected[4096];
	int r = 0;
	struct utsname host;

	argv += write;
	argc -= write;
	if (argc != 1 && argc != 3) {
		fprintf(stderr, "usage: verifier_stats [--write] [OBJECT EXPECTED]\n");
		return 2;
	}
	snprintf(expected, sizeof(expected), "%s/../selftests/bpf/verifier.expected",
		 build ? build : "build");
	if (argc == 3)
		snprintf(expected, sizeof(expected), "%s", argv[2]);
	if (geteuid() != 0) {
		printf("ok 1 - the verifier's figures # SKIP needs root\n1..1\n");
		return 0;
	}
	libbpf_set_print(quiet);
	uname(&host);
	host.release[strcspn(host.release, "-")] = '\0'; /* what follows is a build's own */
	if (argc == 3)
		r = measure(argv[1], now, &nr);
	for (size_t i = 0; argc == 1 && i < sizeof(objects) / sizeof(objects[0]) && r == 0; i++) {
		snprintf(object, sizeof(object), "%s/bpf/%s.bpf.o", build ? build : "build",
			 objects[i]);
		r = measure(object, now, &nr);
	}
	if (r < 0) {
		printf("not ok 1 - the kernel takes the datapath\n1..1\n");
		return 1;
	}
	if (write)
		return write_expected(expected, &host, now, nr) < 0;

	nr_former = read_expected(expected, release, sizeof(release), former);
	same = strcmp(release, host.release) == 0;
	for (size_t i = 0; i < nr; i++) {
		const struct stats *then = NULL;
		bool more;

		for (size_t k = 0; k < nr_former; k++)
			if (strcmp(former[k].name, now[i].name) == 0)
				then = &former[k];
		more = !then || now[i].insns * 100 > then->insns * (100 + GROWTH_PERCENT) ||
		       now[i].stack * 100 > then->stack * (100 + GROWTH_PERCENT);
		printf("# %s: %lu instructions, stack %lu; kept: %lu, %lu (kernel %s)\n",
		       now[i].name, now[i].insns, now[i].stack, then ? then->insns : 0,
		       then ? then->stack : 0, release);
		printf("%sok %zu - %s costs the verifier no more than a tenth above what is "
		       "kept%s\n",
		       same && more ? "not " : "", i + 1, now[i].name,
		       same ? "" : " # SKIP another kernel, whose verifier counts otherwise");
		grown |= same && more;
	}
	printf("1..%zu\n", nr);
	return grown;
}
