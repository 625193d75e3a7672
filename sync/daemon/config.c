// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include "file.h"
#include "json.h"
#include "log.h"
#include "sync/daemon/config.h"

#define CONFIG_BYTES 65536

static bool text_fits(const char *text)
{
	return text && text[0] && strlen(text) < WIRE_TEXT_LEN;
}

static int read_seeds(const json_t *seeds, struct cluster_config *config)
{
	const json_t *seed;
	size_t i;

	json_array_foreach (seeds, i, seed) {
		if (i == CLUSTER_SEEDS || !text_fits(json_string_value(seed)))
			return -EBADMSG;
		/* A host is no seed of itself. */
		if (strcmp(json_string_value(seed), config->address) != 0)
			config->seeds[config->nr_seeds++] = json_string_value(seed);
	}
	return 0;
}

static int read_members(struct cluster_config *config)
{
	const json_t *json = config->json, *replicas = json_object_get(json, "replicas");
	const json_t *store = json_object_get(json, "store");

	config->name = json_text(json, "name");
	config->address = json_text(json, "address");
	config->replicas = replicas ? (uint32_t)json_integer_value(replicas) : 1;
	config->writer = json_is_true(json_object_get(json, "writer"));
	config->etcd = json_object_get(store, "etcd");
	if (!text_fits(config->name) || !text_fits(config->address) || config->replicas > 2)
		return -EBADMSG;
	if (store && !config->etcd &&
	    (!json_is_string(store) || strcmp(json_string_value(store), "local") != 0))
		return -EBADMSG;
	return read_seeds(json_object_get(json, "seeds"), config);
}

int config_read(const char *path, struct cluster_config *config)
{
	_cleanup_free_ char *text = NULL;
	json_error_t error;
	size_t bytes;
	int r = file_read(path, CONFIG_BYTES, &text, &bytes);

	*config = (struct cluster_config){};
	if (r == -ENOENT)
		return r;
	if (r < 0)
		return log_errno(r, "%s", path);
	config->json = json_loadb(text, bytes, 0, &error);
	if (!config->json) {
		log_error("%s:%d:%d: %s", path, error.line, error.column, error.text);
		return -EBADMSG;
	}
	r = read_members(config);
	if (r < 0) {
		log_error("%s: name, address, seeds, replicas (0 to 2) or store is wrong", path);
		config_free(config);
	}
	return r;
}

void config_free(struct cluster_config *config)
{
	json_decref(config->json);
	*config = (struct cluster_config){};
}
