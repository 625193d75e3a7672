// SPDX-License-Identifier: GPL-2.0
/*
 * etcd_host [--password FILE] [--ca FILE] [--key N] HOST PREFIX DIRECTORY URL...: the core of one host, alone in its cluster but for
 * the store that it shares with others of its kind. DIRECTORY is its disk. It does what standard input says, a command a
 * line, and tells what happens, a line each:
 *
 *	apply SIZE TEXT		the next generation, of one object: TEXT, over and over
 *	list			the generations in the store
 *	counters		what the client has counted
 *
 * --key N: signs as host N would.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "file.h"
#include "log.h"
#include "sync/etcd/etcd.h"
#include "sync/sync.h"
#include "util.h"

#define LINE_MAX_BYTES 1024
#define OBJECTS_MAX    64

struct object_file {
	struct digest name;
	char *bytes;
	size_t nr;
};

struct host {
	uint32_t id, key;
	const char *directory;
	struct sync *sync;
	struct etcd *etcd;
	struct object_file objects[OBJECTS_MAX];
	size_t nr_objects;
	uint32_t applying;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- Objects ----------------------------------------------------------------------------------------------------- */

static void digest_of(const void *bytes, size_t nr, struct digest *name)
{
	crypto_generichash(name->bytes, sizeof(name->bytes), bytes, nr, NULL, 0);
}

static const uint8_t *object_get(void *data, const struct digest *name, uint32_t *nr)
{
	struct host *host = data;

	for (size_t i = 0; i < host->nr_objects; i++) {
		const struct object_file *object = &host->objects[i];

		if (memcmp(&object->name, name, sizeof(*name)) != 0)
			continue;
		*nr = (uint32_t)object->nr;
		return (const uint8_t *)object->bytes;
	}
	return NULL;
}

static void object_path(const struct host *host, const struct digest *name, char path[PATH_MAX])
{
	char hex[2 * sizeof(name->bytes) + 1];

	sodium_bin2hex(hex, sizeof(hex), name->bytes, sizeof(name->bytes));
	snprintf(path, PATH_MAX, "%s/object-%s", host->directory, hex);
}

static int object_put(void *data, const struct digest *name, const uint8_t *bytes, uint32_t nr)
{
	struct host *host = data;
	struct object_file *object = &host->objects[host->nr_objects];
	char path[PATH_MAX];
	struct digest its;

	digest_of(bytes, nr, &its);
	if (memcmp(&its, name, sizeof(its)) != 0)
		return -EBADMSG;
	if (host->nr_objects == OBJECTS_MAX)
		return -ENOSPC;
	object->bytes = malloc(nr + 1U);
	if (!object->bytes)
		return -ENOMEM;
	memcpy(object->bytes, bytes, nr);
	object->nr = nr;
	object->name = its;
	host->nr_objects++;
	object_path(host, name, path);
	return file_replace(path, bytes, nr);
}

static void objects_load(struct host *host)
{
	DIR *directory = opendir(host->directory);
	const struct dirent *entry;

	while (directory && (entry = readdir(directory)) && host->nr_objects < OBJECTS_MAX) {
		struct object_file *object = &host->objects[host->nr_objects];
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/%s", host->directory, entry->d_name);
		if (strncmp(entry->d_name, "object-", 7) != 0 ||
		    file_read(path, ETCD_OBJECT_MAX, &object->bytes, &object->nr) < 0)
			continue;
		digest_of(object->bytes, object->nr, &object->name);
		host->nr_objects++;
	}
	if (directory)
		closedir(directory);
}

/* ---- The world of the core --------------------------------------------------------------------------------------- */

static uint64_t random_number(void *data)
{
	uint64_t value;

	(void)data;
	randombytes_buf(&value, sizeof(value));
	return value;
}

static void send_nowhere(void *data, uint32_t to, const void *bytes, size_t nr)
{
	(void)data;
	(void)to;
	(void)bytes;
	(void)nr;
}

static int policy_stage(void *data, const struct generation *generation)
{
	(void)data;
	printf("staged %u\n", generation->number);
	return 0;
}

static int policy_flip(void *data, uint32_t generation)
{
	(void)data;
	printf("active %u\n", generation);
	return 0;
}

static int policy_keep(void *data, const struct manifest *manifest, uint32_t writer)
{
	const struct host *host = data;
	uint8_t bytes[ENTRY_VALUE_MAX];
	char path[PATH_MAX];
	uint16_t nr;

	printf("manifest active %u staged %u writer %u\n", manifest->active.number,
	       manifest->staged.number, writer);
	snprintf(path, sizeof(path), "%s/manifest", host->directory);
	return manifest_encode(manifest, bytes, &nr) < 0 ? -EIO : file_replace(path, bytes, nr);
}

static void restore(struct host *host)
{
	_cleanup_free_ char *bytes = NULL;
	struct manifest manifest;
	char path[PATH_MAX];
	size_t nr;

	snprintf(path, sizeof(path), "%s/manifest", host->directory);
	if (file_read(path, ENTRY_VALUE_MAX, &bytes, &nr) == 0 &&
	    manifest_decode((struct slice){(uint8_t *)bytes, (uint16_t)nr}, &manifest) == 0)
		sync_policy_restore(host->sync, &manifest, 0);
}

static int policy_commit(void *data, uint64_t revision, const struct manifest *next)
{
	return etcd_commit(((struct host *)data)->etcd, revision, next);
}

static void object_want(void *data, const struct digest *name)
{
	etcd_want(((struct host *)data)->etcd, name);
}

/* ---- The world of the client ------------------------------------------------------------------------------------- */

/* Everybody's key follows from his number: this is no place for secrets. */
static void key_pair(uint32_t host, uint8_t public[crypto_sign_PUBLICKEYBYTES],
		     uint8_t secret[crypto_sign_SECRETKEYBYTES])
{
	uint8_t seed[crypto_sign_SEEDBYTES] = {0};

	memcpy(seed, &host, sizeof(host));
	crypto_sign_seed_keypair(public, secret, seed);
}

static int sign(void *data, const void *bytes, size_t nr, uint8_t *signature,
		uint16_t *signature_nr)
{
	uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];

	key_pair(((struct host *)data)->key, public, secret);
	*signature_nr = crypto_sign_BYTES;
	return crypto_sign_detached(signature, NULL, bytes, nr, secret);
}

static int verify(void *data, uint32_t writer, const void *bytes, size_t nr, struct slice signature)
{
	uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];

	(void)data;
	key_pair(writer, public, secret);
	if (signature.nr != crypto_sign_BYTES ||
	    crypto_sign_verify_detached(signature.bytes, bytes, nr, public) != 0)
		return -EKEYREJECTED;
	return 0;
}

static void learned(void *data, uint64_t revision, const struct manifest *manifest, uint32_t writer)
{
	const struct host *host = data;

	sync_policy_learn(host->sync, now_ms(), revision, manifest, writer);
}

static void committed(void *data, int result)
{
	const struct host *host = data;

	sync_policy_committed(host->sync, now_ms(), result);
}

static void object_came(void *data)
{
	const struct host *host = data;

	sync_policy_object(host->sync, now_ms());
}

/* ---- Commands ---------------------------------------------------------------------------------------------------- */

static void applied(void *caller, int result)
{
	const struct host *host = caller;

	printf("applied %u %s\n", host->applying, result ? strerrorname_np(-result) : "0");
}

static void higher_number(void *data, const struct generation *generation)
{
	uint32_t *number = data;

	if (generation->number > *number)
		*number = generation->number;
}

static void apply(struct host *host, const char *arguments)
{
	struct policy_store store = sync_policy_store(host->sync);
	struct generation next = {.nr_objects = 1}, active;
	_cleanup_free_ char *bytes = NULL;
	char text[LINE_MAX_BYTES];
	size_t size;
	int r;

	if (sscanf(arguments, "%zu %1000s", &size, text) != 2 || !size || size > ETCD_OBJECT_MAX ||
	    !(bytes = malloc(size)))
		return;
	for (size_t i = 0; i < size; i++)
		bytes[i] = text[i % strlen(text)];
	digest_of(bytes, size, &next.objects[0]);
	object_put(host, &next.objects[0], (uint8_t *)bytes, (uint32_t)size);
	store.get(store.data, &active);
	store.list(store.data, higher_number, &next.number);
	host->applying = ++next.number;
	r = store.cas(store.data, active.number, &next, applied, host);
	if (r < 0)
		applied(host, r);
}

static void print_generation(void *data, const struct generation *generation, uint32_t writer)
{
	(void)data;
	printf(" %u/%u", generation->number, writer);
}

static void print_counters(const struct host *host)
{
	const struct etcd_counters *counters = etcd_counters(host->etcd);
	const struct etcd_status status = etcd_status(host->etcd);

	printf("counters {\"reachable\": %s, \"watching\": %s, \"endpoint\": \"%s\", "
	       "\"store_behind\": %" PRIu64 ", \"revision\": %" PRIu64,
	       status.reachable ? "true" : "false", status.watching ? "true" : "false",
	       status.endpoint, sync_counters(host->sync)->store_behind, status.revision);
#define ETCD_COUNTER(name, help) printf(", \"" #name "\": %" PRIu64, counters->name);
	ETCD_COUNTERS(ETCD_COUNTER)
#undef ETCD_COUNTER
	puts("}");
}

static void run(struct host *host, const char *line)
{
	if (!strncmp(line, "apply ", 6)) {
		apply(host, line + 6);
	} else if (!strcmp(line, "list")) {
		printf("list");
		etcd_list(host->etcd, print_generation, NULL);
		putchar('\n');
	} else if (!strcmp(line, "counters")) {
		print_counters(host);
	}
}

/* False at the end of the input. */
static bool read_commands(struct host *host)
{
	static char text[LINE_MAX_BYTES];
	static size_t nr;
	ssize_t got = read(STDIN_FILENO, text + nr, sizeof(text) - 1 - nr);
	char *end;

	if (got <= 0)
		return false;
	nr += (size_t)got;
	text[nr] = '\0';
	while ((end = strchr(text, '\n'))) {
		*end = '\0';
		run(host, text);
		nr -= (size_t)(end + 1 - text);
		memmove(text, end + 1, nr + 1);
	}
	return nr < sizeof(text) - 1;
}

static void serve(struct host *host)
{
	struct pollfd ready[] = {{.fd = STDIN_FILENO, .events = POLLIN},
				 {.fd = etcd_fd(host->etcd), .events = POLLIN}};
	int64_t wait;

	do {
		int64_t now = now_ms(), core = sync_next(host->sync),
			client = etcd_next(host->etcd);

		fflush(stdout);
		wait = (core < client ? core : client) - now;
		poll(ready, ARRAY_SIZE(ready), wait < 0 ? 0 : wait > 1000 ? 1000 : (int)wait);
		etcd_serve(host->etcd, now_ms());
		sync_tick(host->sync, now_ms());
	} while (!ready[0].revents || read_commands(host));
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"password", required_argument, NULL, 'p'},
						{"ca", required_argument, NULL, 'c'},
						{"key", required_argument, NULL, 'k'},
						{0}};
	static struct host host;
	const struct sync_env env = {
		.data = &host,
		.random = random_number,
		.send = send_nowhere,
		.object_get = object_get,
		.object_put = object_put,
		.policy_stage = policy_stage,
		.policy_flip = policy_flip,
		.policy_keep = policy_keep,
		.policy_commit = policy_commit,
		.object_want = object_want,
	};
	struct etcd_config config = {
		.random = random_number,
		.data = &host,
		.sign = sign,
		.verify = verify,
		.object_get = object_get,
		.object_put = object_put,
		.learned = learned,
		.committed = committed,
		.object_came = object_came,
	};
	struct sync_config core = {.life = 1, .name = "", .address = "", .shared_store = true};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'p')
			config.password_file = optarg;
		else if (option == 'c')
			config.http.ca_file = optarg;
		else if (option == 'k')
			host.key = (uint32_t)strtoul(optarg, NULL, 10);
		else
			return EXIT_FAILURE;
	}
	if (argc - optind < 4 || sodium_init() < 0)
		return EXIT_FAILURE;
	host.id = (uint32_t)strtoul(argv[optind], NULL, 10);
	host.key = host.key ? host.key : host.id;
	host.directory = argv[optind + 2];
	core.host = config.host = host.id;
	config.prefix = argv[optind + 1];
	config.http.urls = (const char *const *)argv + optind + 3;
	config.http.nr_urls = (size_t)(argc - optind - 3);
	objects_load(&host);
	if (etcd_open(&config, now_ms(), &host.etcd) < 0)
		return EXIT_FAILURE;
	host.sync = sync_new(&core, &env, now_ms());
	if (!host.sync)
		return EXIT_FAILURE;
	restore(&host);
	if (sync_start(host.sync) < 0)
		return EXIT_FAILURE;
	serve(&host);
	sync_free(host.sync);
	etcd_close(host.etcd);
	for (size_t i = 0; i < host.nr_objects; i++)
		free(host.objects[i].bytes);
	return EXIT_SUCCESS;
}
