// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <linux/magic.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <dfw/ruleset.h>

#include "cpus.h"
#include "dfw_tc.skel.h"
#include "file.h"
#include "log.h"
#include "maps.h"
#include "namespace.h"
#include "object.h"
#include "pins_lock.h"
#include "util.h"
#include "view.h"

/* Names of the programs in bpf/dfw_tc.bpf.c, and of their pins. */
static const struct {
	const char *name;
	const char *pin;
	size_t offset; /* in struct programs */
} program_table[] = {
	{"dfw_in", "programs/in", offsetof(struct programs, in)},
	{"dfw_out", "programs/out", offsetof(struct programs, out)},
	{"dfw_sweep", "programs/sweep", offsetof(struct programs, sweep)},
	{"dfw_exchange", "programs/exchange", offsetof(struct programs, exchange)},
	{"dfw_wire_in", "programs/wire_in", offsetof(struct programs, wire_in)},
	{"dfw_wire_out", "programs/wire_out", offsetof(struct programs, wire_out)},
	{"dfw_reclass", "programs/reclass", offsetof(struct programs, reclass)},
};

static int *program_fd(struct programs *programs, size_t index)
{
	return (int *)((char *)programs + program_table[index].offset);
}

/* ---- Where pins are --------------------------------------------------------------------------------------------- */

int object_check_bpffs(void)
{
	struct statfs stat;

	if (statfs(DFW_BPFFS, &stat) < 0 || stat.f_type != BPF_FS_MAGIC) {
		log_error("%s is not a mounted bpffs: `mount -t bpf bpf %s` mounts it", DFW_BPFFS,
			  DFW_BPFFS);
		return -ENODEV;
	}
	return 0;
}

int object_unpin(const char *instance)
{
	char path[PATH_MAX];
	int r = directory_remove(pin_path(instance, NULL, path));

	if (r < 0)
		return log_errno(r, "cannot remove the pins under %s", path);
	rmdir(DFW_PIN_ROOT); /* stays when another instance lives there */
	return 0;
}

/* ---- Adopting pinned maps --------------------------------------------------------------------------------------- */

static int refuse(const char *pin, const char *why, const char *instance)
{
	log_error("%s: %s; enforcement goes on as it is. To start anew: "
		  "`dfwctl -i %s shutdown --detach` with the version that made it, or `dfwd -i %s "
		  "--detach`",
		  pin, why, instance, instance);
	return -ESTALE;
}

static int check_layout(const char *instance)
{
	_cleanup_close_ int fd = -1;
	struct dfw_layout layout;
	struct bpf_map_info info;
	char path[PATH_MAX], why[128];
	uint32_t zero = 0;
	int r;

	fd = pin_open(pin_path(instance, "layout", path));
	if (fd == -ENOENT)
		return refuse(path, "is missing, so that nothing says what made these pins",
			      instance);
	if (fd < 0)
		return log_errno(fd, "%s", path);
	r = map_info(fd, &info);
	if (r < 0)
		return log_errno(r, "%s", path);
	if (info.value_size != sizeof(layout))
		return refuse(path, "is not the layout of any dfw that this one knows", instance);
	r = map_get(fd, &zero, &layout);
	if (r < 0)
		return log_errno(r, "%s", path);
	if (layout.version != DFW_LAYOUT_VERSION) {
		snprintf(why, sizeof(why), "is of layout version %u (dfwd %.48s); this is %u",
			 layout.version, layout.build, DFW_LAYOUT_VERSION);
		return refuse(path, why, instance);
	}
	return 0;
}

static int reuse_map(struct bpf_map *map, const char *instance)
{
	_cleanup_close_ int fd = -1;
	struct bpf_map_info info;
	char path[PATH_MAX], why[192];
	int r;

	fd = pin_open(pin_path(instance, bpf_map__name(map), path));
	if (fd == -ENOENT)
		return refuse(path,
			      "is missing: another build made these pins, or somebody removed it",
			      instance);
	if (fd < 0)
		return log_errno(fd, "%s", path);
	r = map_info(fd, &info);
	if (r < 0)
		return log_errno(r, "%s", path);
	if (info.type != bpf_map__type(map) || info.key_size != bpf_map__key_size(map) ||
	    info.value_size != bpf_map__value_size(map) ||
	    info.max_entries != bpf_map__max_entries(map) ||
	    info.map_flags != bpf_map__map_flags(map)) {
		snprintf(why, sizeof(why),
			 "has another shape (type %u, key %u, value %u, entries %u, flags %#x) "
			 "than this build's "
			 "(%u, %u, %u, %u, %#x)",
			 info.type, info.key_size, info.value_size, info.max_entries,
			 info.map_flags, bpf_map__type(map), bpf_map__key_size(map),
			 bpf_map__value_size(map), bpf_map__max_entries(map),
			 bpf_map__map_flags(map));
		return refuse(path, why, instance);
	}
	r = bpf_map__reuse_fd(map, fd);
	return r < 0 ? log_errno(r, "%s", path) : 0;
}

static int reuse_maps(struct object *object)
{
	struct bpf_map *map;
	int r = check_layout(object->instance);

	if (r < 0)
		return r;
	bpf_object__for_each_map(map, object->skeleton->obj)
	{
		if (bpf_map__is_internal(map))
			continue;
		r = reuse_map(map, object->instance);
		if (r < 0)
			return r;
	}
	return 0;
}

static int open_former_programs(struct object *object)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(program_table); i++) {
		int fd = pin_open(pin_path(object->instance, program_table[i].pin, path));

		if (fd < 0)
			return refuse(path, "is missing", object->instance);
		*program_fd(&object->former, i) = fd;
	}
	return 0;
}

static int sign_layout(const struct object *object)
{
	const struct dfw_layout layout = {
		.version = DFW_LAYOUT_VERSION, .build = DFW_VERSION, .netns = object->netns};
	const uint32_t zero = 0;

	return map_put(object->layout, &zero, &layout);
}

/* ---- The first start -------------------------------------------------------------------------------------------- */

static int init_maps(struct object *object)
{
	const struct dfw_revision revision = {.revision = 1};
	const uint32_t zero = 0;
	int r;

	r = map_put(object->secrets, &zero, &object->secret_words);
	if (r == 0)
		r = sign_layout(object);
	if (r == 0)
		object_activate(object, revision);
	return r;
}

static int pin_all(struct object *object)
{
	struct bpf_map *map;
	char path[PATH_MAX];
	int r;

	bpf_object__for_each_map(map, object->skeleton->obj)
	{
		if (bpf_map__is_internal(map))
			continue;
		pins_unfinished_path(object->instance, bpf_map__name(map), path);
		r = bpf_obj_pin(bpf_map__fd(map), path);
		if (r < 0)
			return log_errno(r, "%s", path);
	}
	for (size_t i = 0; i < ARRAY_SIZE(program_table); i++) {
		pins_unfinished_path(object->instance, program_table[i].pin, path);
		r = bpf_obj_pin(*program_fd(&object->programs, i), path);
		if (r < 0)
			return log_errno(r, "%s", path);
	}
	return 0;
}

static int pin_first(struct object *object)
{
	char unfinished[PATH_MAX], path[PATH_MAX];
	int r;

	r = init_maps(object);
	if (r < 0)
		return log_errno(r, "cannot write the first values of the maps");
	r = directory_make(pins_unfinished_path(object->instance, "programs", path), 0700);
	if (r == 0)
		r = directory_make(pins_unfinished_path(object->instance, "vports", path), 0700);
	if (r == 0)
		r = directory_make(pins_unfinished_path(object->instance, "uplinks", path), 0700);
	if (r == 0)
		r = directory_make(pins_unfinished_path(object->instance, NULL, path), 0700);
	if (r < 0)
		return log_errno(r, "%s", path);
	r = pin_all(object);
	if (r < 0)
		return r;
	pins_unfinished_path(object->instance, NULL, unfinished);
	if (rename(unfinished, pin_path(object->instance, NULL, path)) < 0)
		return log_errno(-errno, "cannot rename %s to %s", unfinished, path);
	object->unfinished = false;
	return 0;
}

/* ---- Loading ---------------------------------------------------------------------------------------------------- */

/* libbpf tells of its troubles while it loads, the verifier's log among them; later it complains of what we expect. */
static bool loading;

#define LIBBPF_TAIL_BYTES 2000

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list arguments)
{
	_cleanup_free_ char *text = NULL;
	int length = vasprintf(&text, format, arguments);
	const char *tail;

	if (length <= 0)
		return length;
	if (text[length - 1] == '\n')
		text[length - 1] = '\0';
	/* The verifier says at the end why it refuses. */
	tail = length > LIBBPF_TAIL_BYTES ? text + length - LIBBPF_TAIL_BYTES : text;
	log_at(level == LIBBPF_WARN && loading ? LOG_WARNING : LOG_DEBUG, "%s", tail);
	return length;
}

/* libbpf forgets the templates when it loads. */
static int read_shape(struct outer_map *outer, const struct bpf_map *map)
{
	struct bpf_map *inner = map ? bpf_map__inner_map((struct bpf_map *)map) : NULL;

	if (!inner)
		return log_errno(-EINVAL, "the BPF object has a map of maps without a template");
	outer->inner = (struct map_shape){
		.type = bpf_map__type(inner),
		.key_bytes = bpf_map__key_size(inner),
		.value_bytes = bpf_map__value_size(inner),
		.entries = bpf_map__max_entries(inner),
		.flags = bpf_map__map_flags(inner),
		.btf_key = bpf_map__btf_key_type_id(inner),
		.btf_value = bpf_map__btf_value_type_id(inner),
	};
	return 0;
}

/* Only user space has these maps, so the object has no template of them, but for the types. */
static int shape_rule_totals(struct object *object)
{
	const struct btf *btf = bpf_object__btf(object->skeleton->obj);
	int key = btf__find_by_name_kind(btf, "dfw_rule_total_key", BTF_KIND_STRUCT);

	if (key < 0)
		return log_errno(key, "the BPF object has no type dfw_rule_total_key");
	object->rule_totals = object->hits.inner;
	object->rule_totals.type = BPF_MAP_TYPE_HASH;
	object->rule_totals.flags = BPF_F_NO_PREALLOC;
	object->rule_totals.key_bytes = sizeof(struct dfw_rule_total_key);
	object->rule_totals.btf_key = (uint32_t)key;
	return 0;
}

static int read_shapes(struct object *object)
{
	int r = 0;

#define READ_SHAPE(name) r = r < 0 ? r : read_shape(&object->name, object->skeleton->maps.name);
	OBJECT_OUTER_MAPS(READ_SHAPE)
#undef READ_SHAPE
	return r < 0 ? r : shape_rule_totals(object);
}

static int find_fds(struct object *object)
{
	object->btf = bpf_object__btf_fd(object->skeleton->obj);
#define FIND_MAP(name) object->name = bpf_map__fd(object->skeleton->maps.name);
	OBJECT_MAPS(FIND_MAP)
#undef FIND_MAP
#define FIND_OUTER_MAP(name) object->name.fd = bpf_map__fd(object->skeleton->maps.name);
	OBJECT_OUTER_MAPS(FIND_OUTER_MAP)
#undef FIND_OUTER_MAP
	for (size_t i = 0; i < ARRAY_SIZE(program_table); i++) {
		const struct bpf_program *program = bpf_object__find_program_by_name(
			object->skeleton->obj, program_table[i].name);

		if (!program)
			return log_errno(-ENOENT, "the BPF object has no program %s",
					 program_table[i].name);
		*program_fd(&object->programs, i) = bpf_program__fd(program);
	}
	return 0;
}

static int map_in_force(struct object *object)
{
	void *in_force = mmap(NULL, sizeof(*object->in_force), PROT_READ | PROT_WRITE, MAP_SHARED,
			      object->active, 0);

	if (in_force == MAP_FAILED)
		return -errno;
	object->in_force = in_force;
	return 0;
}

static int make_grace_maps(struct object *object)
{
	LIBBPF_OPTS(bpf_map_create_opts, options);

	object->grace_inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "grace_inner", 4, 4, 1, NULL);
	if (object->grace_inner < 0)
		return object->grace_inner;
	options.inner_map_fd = (uint32_t)object->grace_inner;
	object->grace = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "grace", 4, 4, 1, &options);
	return object->grace < 0 ? object->grace : 0;
}

static int load(struct object *object)
{
	int r;

	loading = true;
	r = dfw_tc__load(object->skeleton);
	loading = false;
	if (r < 0)
		return log_errno(r, object->adopted ? "cannot load the programs on the pinned "
						      "maps; enforcement goes on with "
						      "the former ones"
						    : "cannot load the programs");
	r = find_fds(object);
	if (r < 0)
		return r;
	r = map_in_force(object);
	if (r < 0)
		return log_errno(r, "cannot map what is in force");
	r = make_grace_maps(object);
	return r < 0 ? log_errno(r, "cannot make a map") : 0;
}

void object_keep_secret(const struct object *object, __u64 words[DFW_HASH_WORDS])
{
	for (size_t i = 0; i < DFW_HASH_WORDS; i++)
		words[i] = object->secret_words.flows[i];
}

/* Those of the instance: of its pins, or new ones. Some are a part of the programs. */
static int find_secrets(struct object *object)
{
	struct dfw_secrets *secrets = &object->secret_words;
	_cleanup_close_ int fd = -1;
	const uint32_t zero = 0;
	char path[PATH_MAX];
	int r = 0;

	if (!object->adopted) {
		if (getrandom(secrets, sizeof(*secrets), 0) != sizeof(*secrets))
			return log_errno(-errno, "no random numbers");
	} else {
		fd = pin_open(pin_path(object->instance, "secrets", path));
		r = fd < 0 ? fd : map_get(fd, &zero, secrets);
	}
	object_keep_secret(object, object->skeleton->rodata->flow_hash_secret);
	return r < 0 ? log_errno(r, "%s", path) : 0;
}

static int open_skeleton(struct object *object)
{
	libbpf_set_print(print_libbpf);
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	object->skeleton = dfw_tc__open();
	return object->skeleton ? 0 : log_errno(-errno, "cannot open the BPF object");
}

int object_open(struct object *object, const char *instance)
{
	char path[PATH_MAX];
	int r;

	*object = (struct object){.instance = instance,
				  .lock = -1,
				  .former = NO_PROGRAMS,
				  .grace = -1,
				  .grace_inner = -1};
	r = pins_lock_or_make(instance, &object->lock);
	if (r < 0)
		return r;
	object->adopted = access(pin_path(instance, NULL, path), F_OK) == 0;
	object->unfinished = !object->adopted;

	r = namespace_cookie(&object->netns);
	if (r == 0 && object->adopted)
		r = namespace_check(instance);
	if (r == 0)
		r = open_skeleton(object);
	if (r == 0)
		r = read_shapes(object);
	if (r == 0 && object->adopted)
		r = reuse_maps(object);
	if (r == 0)
		r = find_secrets(object);
	if (r == 0 && object->adopted)
		r = open_former_programs(object);
	if (r == 0)
		r = load(object);
	if (r == 0 && !object->adopted)
		r = pin_first(object);
	return r;
}

void object_close(struct object *object)
{
	char path[PATH_MAX];

	if (object->unfinished)
		directory_remove(pins_unfinished_path(object->instance, NULL, path));
	cleanup_close(&object->lock);
	for (size_t i = 0; i < ARRAY_SIZE(program_table); i++)
		cleanup_close(program_fd(&object->former, i));
	cleanup_close(&object->grace);
	cleanup_close(&object->grace_inner);
	if (object->in_force)
		munmap(object->in_force, sizeof(*object->in_force));
	object->in_force = NULL;
	dfw_tc__destroy(object->skeleton);
	object->skeleton = NULL;
}

int object_pin_programs(struct object *object)
{
	char path[PATH_MAX];
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(program_table); i++) {
		pin_path(object->instance, program_table[i].pin, path);
		r = pin_replace(*program_fd(&object->programs, i), path);
		if (r < 0)
			return log_errno(r, "cannot pin a program at %s", path);
	}
	r = sign_layout(object);
	return r < 0 ? log_errno(r, "cannot sign the layout") : 0;
}

/* ---- In use ----------------------------------------------------------------------------------------------------- */

/* An update by bpf(2) copies the value, and does not say in how many stores. */
void object_activate(const struct object *object, struct dfw_revision revision)
{
	__u64 word;

	memcpy(&word, &revision, sizeof(word));
	__atomic_store_n(object->in_force, word, __ATOMIC_RELEASE);
}

int object_make_map(const struct object *object, const struct map_shape *shape, const char *name,
		    uint32_t entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = shape->flags,
		    .btf_fd = (uint32_t)object->btf, .btf_key_type_id = shape->btf_key,
		    .btf_value_type_id = shape->btf_value);
	char short_name[BPF_OBJ_NAME_LEN];

	snprintf(short_name, sizeof(short_name), "%s", name);
	return bpf_map_create((enum bpf_map_type)shape->type, short_name, shape->key_bytes,
			      shape->value_bytes, entries ? entries : shape->entries, &options);
}

bool map_has_shape(int map, const struct map_shape *shape)
{
	struct bpf_map_info info;

	return map_info(map, &info) == 0 && info.type == shape->type &&
	       info.key_size == shape->key_bytes && info.value_size == shape->value_bytes &&
	       info.map_flags == shape->flags;
}

/* A write into a map of maps from user space returns after an RCU grace period, just for that purpose. membarrier(2)
 * would do the same, but not on hosts with nohz_full CPUs, and those are hosts of VMs. */
int object_grace_period(const struct object *object)
{
	const uint32_t zero = 0;

	return map_put(object->grace, &zero, &object->grace_inner);
}

int object_packets_end(const struct object *object)
{
	return cpus_visit() == 0 ? 0 : object_grace_period(object);
}

static int run_sweep(const struct object *object, const struct dfw_sweep_request *request)
{
	uint8_t packet[64] = {}; /* an Ethernet frame at least */
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof(packet),
		    .repeat = 1);
	int r;

	_Static_assert(sizeof(*request) <= sizeof(packet), "a request has to fit the frame");
	memcpy(packet, request, sizeof(*request));
	r = bpf_prog_test_run_opts(object->programs.sweep, &options);
	return r < 0 ? r : (int)options.retval;
}

int object_sweep(const struct object *object, uint32_t slot, enum dfw_sweep_op op)
{
	const struct dfw_sweep_request request = {.slot = slot, .op = op};

	return run_sweep(object, &request);
}

int object_kill_flow(const struct object *object, uint32_t slot, const struct dfw_flow_key *key)
{
	const struct dfw_sweep_request request = {.slot = slot, .op = DFW_SWEEP_KILL, .key = *key};

	return run_sweep(object, &request);
}

int object_reclass(const struct object *object, const struct dfw_reclass_request *request)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = request,
		    .data_size_in = sizeof(*request), .repeat = 1);
	int r = bpf_prog_test_run_opts(object->programs.reclass, &options);

	if (r < 0)
		return r;
	return options.retval == request->nr ? 0 : -ENOENT;
}
