// SPDX-License-Identifier: GPL-2.0
/* The etcd client against a server in this process that says what a test wants it to say, mostly nonsense. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "check.h"
#include "log.h"
#include "sync/etcd/client.h"

#define PREFIX	    "/dfw/test/"
#define CONNECTIONS 16
#define REQUEST_MAX (2 << 20)
#define HEADER                                                                                    \
	"\"header\":{\"cluster_id\":\"7\",\"member_id\":\"1\",\"revision\":\"%d\",\"raft_term\":" \
	"\"2\"}"

/* ---- The server -------------------------------------------------------------------------------------------------- */

struct connection {
	int fd; /* -1: free */
	char *request;
	size_t nr;
};

struct server {
	int listener;
	char url[64];
	struct connection connections[CONNECTIONS];
	/* What is said to each kind of request: whole HTTP answers; NULL: nothing at all. */
	const char *range, *txn, *watch, *login;
	bool close; /* behind the answer */
	unsigned int ranges, txns, watches, logins;
	char last[65536]; /* the last request that was no watch */
};

static void server_open(struct server *server)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t nr = sizeof(address);

	*server = (struct server){0};
	for (size_t i = 0; i < CONNECTIONS; i++)
		server->connections[i].fd = -1;
	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (server->listener < 0 ||
	    bind(server->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(server->listener, 16) < 0 ||
	    getsockname(server->listener, (struct sockaddr *)&address, &nr) < 0)
		abort();
	snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%u", ntohs(address.sin_port));
}

static void connection_close(struct connection *connection)
{
	if (connection->fd >= 0)
		close(connection->fd);
	free(connection->request);
	*connection = (struct connection){.fd = -1};
}

static void server_close(struct server *server)
{
	for (size_t i = 0; i < CONNECTIONS; i++)
		connection_close(&server->connections[i]);
	close(server->listener);
}

static const char *answer_to(struct server *server, const char *request)
{
	if (!strncmp(request, "POST /v3/watch ", 15)) {
		server->watches++;
		return server->watch;
	}
	snprintf(server->last, sizeof(server->last), "%s", request);
	if (!strncmp(request, "POST /v3/kv/range ", 18)) {
		server->ranges++;
		return server->range;
	}
	if (!strncmp(request, "POST /v3/kv/txn ", 16)) {
		server->txns++;
		return server->txn;
	}
	server->logins++;
	return server->login;
}

static void send_all(int fd, const char *bytes, size_t nr)
{
	while (nr) {
		ssize_t sent = send(fd, bytes, nr, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0)
			return; /* what is too much for the client is cut */
		bytes += sent;
		nr -= (size_t)sent;
	}
}

static void connection_serve(struct server *server, struct connection *connection)
{
	char bytes[65536];
	ssize_t nr = recv(connection->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	const char *head, *length, *answer;
	char *longer;

	if (nr < 0)
		return;
	longer = nr ? realloc(connection->request, connection->nr + (size_t)nr + 1) : NULL;
	if (!longer) {
		connection_close(connection);
		return;
	}
	connection->request = longer;
	memcpy(longer + connection->nr, bytes, (size_t)nr);
	connection->nr += (size_t)nr;
	longer[connection->nr] = '\0';
	head = strstr(longer, "\r\n\r\n");
	length = strcasestr(longer, "content-length:");
	if (!head || !length ||
	    connection->nr < (size_t)(head + 4 - longer) + strtoul(length + 15, NULL, 10))
		return;
	answer = answer_to(server, longer);
	connection->nr = 0;
	if (answer)
		send_all(connection->fd, answer, strlen(answer));
	if (answer && server->close)
		connection_close(connection);
}

static void server_serve(struct server *server)
{
	int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);

	for (size_t i = 0; i < CONNECTIONS; i++) {
		struct connection *connection = &server->connections[i];

		if (connection->fd < 0 && fd >= 0) {
			connection->fd = fd;
			fd = -1;
		}
		if (connection->fd >= 0)
			connection_serve(server, connection);
	}
	if (fd >= 0)
		close(fd);
}

/* ---- The host ---------------------------------------------------------------------------------------------------- */

struct host {
	struct etcd *etcd;
	int64_t leap; /* of its clock */
	unsigned int learned, empty, committed, came;
	uint64_t revision;
	struct manifest manifest;
	int result;
	bool unknown_writer;
	uint8_t object[ETCD_CHUNK + 1000];
	uint32_t object_nr; /* 0: it is not here */
};

static uint64_t host_random(void *data)
{
	(void)data;
	return 4; /* backoff draws the least */
}

/* The signature is a hash: what matters here is what is signed. */
static int host_sign(void *data, const void *bytes, size_t nr, uint8_t *signature,
		     uint16_t *signature_nr)
{
	(void)data;
	*signature_nr = 32;
	return crypto_generichash(signature, 32, bytes, nr, NULL, 0);
}

static int host_verify(void *data, uint32_t writer, const void *bytes, size_t nr,
		       struct slice signature)
{
	const struct host *host = data;
	uint8_t expected[32];

	if (host->unknown_writer || writer > 9)
		return -ENOKEY;
	crypto_generichash(expected, sizeof(expected), bytes, nr, NULL, 0);
	return signature.nr == 32 && !memcmp(signature.bytes, expected, 32) ? 0 : -EKEYREJECTED;
}

static void name_of(const void *bytes, size_t nr, struct digest *name)
{
	crypto_generichash(name->bytes, sizeof(name->bytes), bytes, nr, NULL, 0);
}

static const uint8_t *host_object_get(void *data, const struct digest *name, uint32_t *nr)
{
	struct host *host = data;
	struct digest mine;

	name_of(host->object, host->object_nr, &mine);
	*nr = host->object_nr;
	return host->object_nr && !memcmp(&mine, name, sizeof(mine)) ? host->object : NULL;
}

static int host_object_put(void *data, const struct digest *name, const uint8_t *bytes, uint32_t nr)
{
	struct host *host = data;
	struct digest its;

	name_of(bytes, nr, &its);
	if (memcmp(&its, name, sizeof(its)) != 0)
		return -EBADMSG;
	memcpy(host->object, bytes, nr);
	host->object_nr = nr;
	return 0;
}

static void host_learned(void *data, uint64_t revision, const struct manifest *manifest,
			 uint32_t writer)
{
	struct host *host = data;

	(void)writer;
	host->revision = revision;
	if (manifest) {
		host->manifest = *manifest;
		host->learned++;
	} else {
		host->empty++;
	}
}

static void host_committed(void *data, int result)
{
	struct host *host = data;

	host->result = result;
	host->committed++;
}

static void host_object_came(void *data)
{
	((struct host *)data)->came++;
}

static int64_t real_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t now_of(const struct host *host)
{
	return real_ms() + host->leap;
}

static int host_open(struct host *host, const char *const *urls, size_t nr,
		     const char *password_file)
{
	const struct etcd_config config = {
		.http = {.urls = urls, .nr_urls = nr},
		.prefix = PREFIX,
		.password_file = password_file,
		.host = 1,
		.random = host_random,
		.data = host,
		.sign = host_sign,
		.verify = host_verify,
		.object_get = host_object_get,
		.object_put = host_object_put,
		.learned = host_learned,
		.committed = host_committed,
		.object_came = host_object_came,
	};

	*host = (struct host){0};
	return etcd_open(&config, now_of(host), &host->etcd);
}

/* Serves both until `condition`, for `ms` of real time at most: it says whether it came. The client's clock leaps over its
 * own pauses, so nothing is waited for but the network. */
#define UNTIL(ms, here, there, condition)                \
	({                                               \
		int64_t end_ = real_ms() + (ms);         \
		while (!(condition) && real_ms() < end_) \
			turn(here, there);               \
		CHECK(condition);                        \
	})

static void turn(struct server *server, struct host *host)
{
	struct pollfd ready = {.fd = etcd_fd(host->etcd), .events = POLLIN};

	server_serve(server);
	poll(&ready, 1, 1);
	/* A pause of the client, and nothing under way: leap. curl's own times are real. */
	if (!host->etcd->call && etcd_next(host->etcd) > now_of(host) &&
	    etcd_next(host->etcd) != INT64_MAX && http_next(host->etcd->http) == INT64_MAX)
		host->leap += etcd_next(host->etcd) - now_of(host);
	etcd_serve(host->etcd, now_of(host));
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static char texts[16][8192];
static unsigned int last_text;

static char *text_new(void)
{
	return texts[last_text++ % 16];
}

static const char *http(const char *body)
{
	char *text = text_new();

	snprintf(text, sizeof(texts[0]),
		 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
		 "%zu\r\n\r\n%s",
		 strlen(body), body);
	return text;
}

static const char *refusal_of(int code, const char *error)
{
	char *text = text_new();
	char body[512];

	snprintf(body, sizeof(body), "{\"error\":\"%s\",\"message\":\"%s\",\"code\":%d}", error,
		 error, code);
	snprintf(text, sizeof(texts[0]),
		 "HTTP/1.1 400 Bad Request\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
	return text;
}

static void to_base64(char *text, size_t room, const void *bytes, size_t nr)
{
	sodium_bin2base64(text, room, bytes, nr, sodium_base64_VARIANT_ORIGINAL);
}

/* A record as the client of host `writer` would write it. */
static uint16_t record_of(const struct manifest *manifest, uint32_t writer,
			  uint8_t bytes[RECORD_MAX])
{
	uint8_t covered[RECORD_SIGNED_MAX], signature[32];
	uint16_t nr, signature_nr;
	size_t covered_nr;

	if (record_begin(manifest, writer, bytes, &nr))
		abort();
	covered_nr = record_signed(PREFIX, (struct slice){bytes, nr}, covered);
	host_sign(NULL, covered, covered_nr, signature, &signature_nr);
	if (record_end((struct slice){signature, signature_nr}, bytes, &nr))
		abort();
	return nr;
}

static const char *pair_of(const char *key, int revision, const void *bytes, size_t nr)
{
	char *text = text_new();
	char key64[512], value64[4096];

	to_base64(key64, sizeof(key64), key, strlen(key));
	to_base64(value64, sizeof(value64), bytes, nr);
	snprintf(text, sizeof(texts[0]),
		 "{\"key\":\"%s\",\"create_revision\":\"1\",\"mod_revision\":\"%d\",\"version\":"
		 "\"1\",\"value\":\"%s\"}",
		 key64, revision, value64);
	return text;
}

static const char *range_of(int revision, const char *pair)
{
	char *text = text_new();

	snprintf(text, sizeof(texts[0]),
		 pair ? "{" HEADER ",\"kvs\":[%s],\"count\":\"1\"}" : "{" HEADER "}", revision,
		 pair);
	return http(text);
}

static const char *manifest_answer(int revision, const struct manifest *manifest, uint32_t writer)
{
	uint8_t bytes[RECORD_MAX];
	uint16_t nr = record_of(manifest, writer, bytes);

	return range_of(revision, pair_of(PREFIX "manifest", revision, bytes, nr));
}

static const char *swapped(int revision)
{
	char *text = text_new();

	snprintf(text, sizeof(texts[0]), "{" HEADER ",\"succeeded\":true,\"responses\":[]}",
		 revision);
	return http(text);
}

static const char *not_swapped(int revision, const char *pair)
{
	char *text = text_new();

	snprintf(text, sizeof(texts[0]),
		 pair ? "{" HEADER
			",\"responses\":[{\"response_range\":{\"kvs\":[%s],\"count\":\"1\"}}]}"
		      : "{" HEADER ",\"responses\":[{\"response_range\":{}}]}",
		 revision, pair);
	return http(text);
}

static const struct manifest five = {.term = 1, .active = {.number = 5}};
static const struct manifest six = {.term = 1, .active = {.number = 5}, .staged = {.number = 6}};

static void open_both(struct server *server, struct host *host)
{
	const char *const urls[] = {server->url};

	server_open(server);
	if (host_open(host, urls, 1, NULL))
		abort();
}

static void close_both(struct server *server, struct host *host)
{
	etcd_close(host->etcd);
	server_close(server);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------- */

static void reading(void)
{
	static struct server server;
	static struct host host;
	uint8_t bytes[RECORD_MAX];
	uint16_t nr;

	TEST("a manifest is read, and read again later")
	{
		open_both(&server, &host);
		server.range = manifest_answer(12, &five, 3);
		UNTIL(30000, &server, &host, host.learned >= 2);
		CHECK(host.revision == 12 && host.manifest.active.number == 5 && !host.empty);
		CHECK(etcd_status(host.etcd).reachable);
		CHECK(etcd_counters(host.etcd)->reads >= 2);
		close_both(&server, &host);
	}
	TEST("a store without a manifest is told as such")
	{
		open_both(&server, &host);
		server.range = range_of(3, NULL);
		UNTIL(30000, &server, &host, host.empty);
		CHECK(host.revision == 0 && !host.learned);
		close_both(&server, &host);
	}
	TEST("a manifest with a wrong signature is none, at its revision")
	{
		open_both(&server, &host);
		nr = record_of(&five, 3, bytes);
		bytes[nr - 1] ^= 1;
		server.range = range_of(9, pair_of(PREFIX "manifest", 8, bytes, nr));
		UNTIL(30000, &server, &host, host.empty);
		CHECK(host.revision == 8 && !host.learned);
		CHECK(etcd_counters(host.etcd)->bad_signatures == 1);
		close_both(&server, &host);
	}
	TEST("a manifest signed for another cluster is none")
	{
		uint8_t covered[RECORD_SIGNED_MAX], signature[32];
		uint16_t signature_nr;
		size_t covered_nr;

		open_both(&server, &host);
		record_begin(&five, 3, bytes, &nr);
		covered_nr = record_signed("/dfw/other/", (struct slice){bytes, nr}, covered);
		host_sign(NULL, covered, covered_nr, signature, &signature_nr);
		record_end((struct slice){signature, signature_nr}, bytes, &nr);
		server.range = range_of(9, pair_of(PREFIX "manifest", 8, bytes, nr));
		UNTIL(30000, &server, &host, etcd_counters(host.etcd)->bad_signatures);
		CHECK(!host.learned);
		close_both(&server, &host);
	}
	TEST("a manifest of a writer that is not known yet is left alone")
	{
		open_both(&server, &host);
		host.unknown_writer = true;
		server.range = manifest_answer(12, &five, 3);
		UNTIL(30000, &server, &host, etcd_counters(host.etcd)->unknown_writers >= 2);
		CHECK(!host.learned && !host.empty);
		host.unknown_writer = false;
		UNTIL(30000, &server, &host, host.learned);
		close_both(&server, &host);
	}
	TEST("a record that only a newer version can read is left alone")
	{
		open_both(&server, &host);
		nr = record_of(&five, 3, bytes);
		bytes[0] = bytes[1] = 2;
		server.range = range_of(9, pair_of(PREFIX "manifest", 8, bytes, nr));
		UNTIL(30000, &server, &host, etcd_counters(host.etcd)->too_new);
		CHECK(!host.learned && !host.empty);
		close_both(&server, &host);
	}
	TEST("a value that is no record is none")
	{
		open_both(&server, &host);
		server.range = range_of(9, pair_of(PREFIX "manifest", 8, "\1\1garbage", 9));
		UNTIL(30000, &server, &host, host.empty);
		CHECK(etcd_counters(host.etcd)->bad_records == 1 && host.revision == 8);
		close_both(&server, &host);
	}
}

static char *huge(size_t nr)
{
	char *text = malloc(nr + 200);
	int head = snprintf(text, 200, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", nr);

	memset(text + head, ' ', nr);
	text[(size_t)head + nr] = '\0';
	return text;
}

static void nonsense(void)
{
	static struct server server;
	static struct host host;
	static const struct {
		const char *name;
		size_t counter;
		const char *body;
		const char *answer; /* whole, without a body */
		bool close;
	} cases[] = {
#define RAW(which, counted, text, closes)                    \
	{.name = (which),                                    \
	 .counter = offsetof(struct etcd_counters, counted), \
	 .answer = (text),                                   \
	 .close = (closes)}
#define BODY(which, text) \
	{.name = (which), .counter = offsetof(struct etcd_counters, bad_answers), .body = (text)}
#define KNOWN "{\"header\":{\"cluster_id\":\"7\"}"
		BODY("text", "hello"),
		BODY("nothing", ""),
		BODY("half of JSON", "{\"header\":{\""),
		BODY("a list", "[]"),
		BODY("no header", "{}"),
		BODY("a header of no cluster", "{\"header\":{}}"),
		BODY("a number below zero", "{\"header\":{\"cluster_id\":\"-7\"}}"),
		BODY("a number beyond 64 bits",
		     "{\"header\":{\"cluster_id\":\"99999999999999999999\"}}"),
		BODY("a number that is a list", "{\"header\":{\"cluster_id\":[]}}"),
		BODY("a value that is no base64",
		     KNOWN ",\"kvs\":[{\"key\":\"YQ==\",\"value\":\"$$$$\"}]}"),
		BODY("a pair without a key", KNOWN ",\"kvs\":[{}]}"),
		BODY("a key with a NUL", KNOWN ",\"kvs\":[{\"key\":\"AAA=\"}]}"),
		BODY("pairs that are no list", KNOWN ",\"kvs\":\"no\"}"),
		BODY("a member twice", KNOWN ",\"header\":{\"cluster_id\":\"8\"}}"),
		RAW("no HTTP", bad_answers, "hello\r\n\r\n", true),
		RAW("nothing, then the end", unreachable, "", true),
		RAW("fewer bytes than promised", unreachable,
		    "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"header\":", true),
		RAW("chunks without an end", unreachable,
		    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{\"header\":",
		    true),
		RAW("chunks of nonsense", unreachable,
		    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}", true),
		RAW("the way to somewhere else", bad_answers,
		    "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: "
		    "0\r\n\r\n",
		    false),
		RAW("a proxy's page", bad_answers,
		    "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", false),
		RAW("an error of etcd", refused,
		    "HTTP/1.1 503 Unavailable\r\nContent-Length: 38\r\n\r\n"
		    "{\"error\":\"etcdserver: oops\",\"code\":14}",
		    false),
	};
	char name[128];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(name, sizeof(name), "%s: counted, not believed, and asked again",
			 cases[i].name);
		TEST(name)
		{
			const uint64_t *counter;

			open_both(&server, &host);
			counter = (const uint64_t *)((const char *)etcd_counters(host.etcd) +
						     cases[i].counter);
			server.range = cases[i].body ? http(cases[i].body) : cases[i].answer;
			server.close = cases[i].close;
			UNTIL(30000, &server, &host, *counter >= 2);
			CHECK(!host.learned && !host.empty && !etcd_status(host.etcd).reachable);
			CHECK(etcd_status(host.etcd).error[0]);
			server.close = false;
			server.range = manifest_answer(12, &five, 3);
			UNTIL(30000, &server, &host, host.learned);
			CHECK(!etcd_status(host.etcd).error[0]);
			close_both(&server, &host);
		}
	}
	TEST("an answer longer than allowed is cut, counted, and asked again")
	{
		_cleanup_free_ char *answer = huge(3 << 20);

		open_both(&server, &host);
		server.range = answer;
		server.close = true;
		UNTIL(30000, &server, &host,
		      etcd_counters(host.etcd)->oversized || etcd_counters(host.etcd)->unreachable);
		CHECK(!host.learned && !host.empty);
		close_both(&server, &host);
	}
	TEST("no answer at all is a timeout")
	{
		open_both(&server, &host);
		UNTIL(30000, &server, &host, etcd_counters(host.etcd)->timeouts);
		CHECK(!etcd_status(host.etcd).reachable);
		close_both(&server, &host);
	}
}

static void endpoints(void)
{
	static struct server server, other;
	static struct host host;

	TEST("an endpoint that refuses connections is passed over")
	{
		const char *const urls[] = {"http://127.0.0.1:1", server.url};

		server_open(&server);
		server.range = manifest_answer(12, &five, 3);
		CHECK(!host_open(&host, urls, 2, NULL));
		UNTIL(30000, &server, &host, host.learned);
		CHECK(etcd_counters(host.etcd)->failovers == 1 &&
		      etcd_counters(host.etcd)->unreachable == 1);
		CHECK_TEXT(etcd_status(host.etcd).endpoint, server.url);
		close_both(&server, &host);
	}
	TEST("another etcd cluster is not spoken to")
	{
		const char *const urls[] = {server.url, other.url};
		static char foreign[256];

		server_open(&server);
		server_open(&other);
		server.range = manifest_answer(12, &five, 3);
		snprintf(foreign, sizeof(foreign),
			 "{\"header\":{\"cluster_id\":\"8\",\"revision\":\"99\"}}");
		other.range = http(foreign);
		CHECK(!host_open(&host, urls, 2, NULL));
		UNTIL(30000, &server, &host, host.learned);
		server.range = refusal_of(14, "etcdserver: no leader");
		for (unsigned int i = 0; i < 2000 && !etcd_counters(host.etcd)->foreign; i++) {
			server_serve(&other);
			turn(&server, &host);
		}
		CHECK(etcd_counters(host.etcd)->foreign >= 1);
		CHECK(!host.empty && host.revision == 12);
		server_close(&other);
		close_both(&server, &host);
	}
	TEST("an URL is scheme, host and port")
	{
		CHECK(!http_url_error("http://10.0.0.1:2379"));
		CHECK(!http_url_error("https://etcd.example:2379/"));
		CHECK(http_url_error("ftp://10.0.0.1"));
		CHECK(http_url_error("10.0.0.1:2379"));
		CHECK(http_url_error("http://user:secret@10.0.0.1:2379"));
		CHECK(http_url_error("http://10.0.0.1:2379/v3"));
		CHECK(http_url_error("http://10.0.0.1:2379?a=b"));
		CHECK(http_url_error("http://10.0.0.1:99999"));
		CHECK(http_url_error(""));
	}
	TEST("https needs the file of a CA")
	{
		const char *const urls[] = {"https://127.0.0.1:2379"};

		CHECK(host_open(&host, urls, 1, NULL) == -EINVAL);
	}
}

static void writing(void)
{
	static struct server server;
	static struct host host;
	uint8_t bytes[RECORD_MAX];
	uint16_t nr;

	TEST("a swap that succeeds is learned, then told")
	{
		open_both(&server, &host);
		server.range = manifest_answer(12, &five, 3);
		server.txn = swapped(13);
		UNTIL(30000, &server, &host, host.learned);
		CHECK(!etcd_commit(host.etcd, 12, &six));
		CHECK(etcd_commit(host.etcd, 12, &six) == -EBUSY);
		UNTIL(30000, &server, &host, host.committed);
		CHECK(host.result == 0 && host.revision == 13 && host.manifest.staged.number == 6);
		CHECK(server.txns == 1);
		close_both(&server, &host);
	}
	TEST("a swap that finds another manifest says so, and who was first is learned")
	{
		struct manifest theirs = six;

		theirs.staged.number = 7;
		open_both(&server, &host);
		server.range = manifest_answer(12, &five, 3);
		nr = record_of(&theirs, 2, bytes);
		server.txn = not_swapped(14, pair_of(PREFIX "manifest", 14, bytes, nr));
		UNTIL(30000, &server, &host, host.learned);
		etcd_commit(host.etcd, 12, &six);
		UNTIL(30000, &server, &host, host.committed);
		CHECK(host.result == -EAGAIN && host.revision == 14 &&
		      host.manifest.staged.number == 7);
		CHECK(etcd_counters(host.etcd)->conflicts == 1);
		close_both(&server, &host);
	}
	TEST("a swap whose answer was lost has happened if its record lies there")
	{
		open_both(&server, &host);
		server.range = manifest_answer(12, &five, 3);
		UNTIL(30000, &server, &host, host.learned);
		server.txn = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"head";
		server.close = true;
		etcd_commit(host.etcd, 12, &six);
		UNTIL(30000, &server, &host, server.txns);
		nr = record_of(&six, 1, bytes);
		server.txn = not_swapped(13, pair_of(PREFIX "manifest", 13, bytes, nr));
		server.close = false;
		UNTIL(30000, &server, &host, host.committed);
		CHECK(host.result == 0 && host.revision == 13 && host.manifest.staged.number == 6);
		close_both(&server, &host);
	}
	TEST("a swap that is never answered is not known")
	{
		open_both(&server, &host);
		server.range = manifest_answer(12, &five, 3);
		UNTIL(30000, &server, &host, host.learned);
		server.txn = "";
		server.close = true;
		etcd_commit(host.etcd, 12, &six);
		UNTIL(30000, &server, &host, server.txns >= 2);
		host.leap += 10000;
		UNTIL(30000, &server, &host, host.committed);
		CHECK(host.result == -ETIMEDOUT && etcd_counters(host.etcd)->unknown_writes == 1);
		close_both(&server, &host);
	}
	TEST("a swap that could not be sent did not happen")
	{
		open_both(&server, &host);
		server.range = manifest_answer(12, &five, 3);
		UNTIL(30000, &server, &host, host.learned);
		for (size_t i = 0; i < CONNECTIONS; i++)
			connection_close(&server.connections[i]);
		close(server.listener);
		server.listener = -1;
		etcd_commit(host.etcd, 12, &six);
		UNTIL(30000, &server, &host, host.committed);
		CHECK(host.result == -EHOSTUNREACH);
		close_both(&server, &host);
	}
	TEST("a full store is named")
	{
		open_both(&server, &host);
		server.range = manifest_answer(12, &five, 3);
		UNTIL(30000, &server, &host, host.learned);
		server.txn = refusal_of(8, "etcdserver: mvcc: database space exceeded");
		etcd_commit(host.etcd, 12, &six);
		UNTIL(30000, &server, &host, host.committed);
		CHECK(host.result == -ENOSPC && etcd_counters(host.etcd)->refused >= 1);
		close_both(&server, &host);
	}
	TEST("an object that is here goes up in chunks, its size last, before the swap names it")
	{
		struct manifest next = six;

		open_both(&server, &host);
		server.range = range_of(12, NULL);
		server.txn = swapped(13);
		UNTIL(30000, &server, &host, host.empty);
		memset(host.object, 'x', sizeof(host.object));
		host.object_nr = sizeof(host.object);
		next.staged.nr_objects = 1;
		name_of(host.object, host.object_nr, &next.staged.objects[0]);
		etcd_commit(host.etcd, 0, &next);
		UNTIL(30000, &server, &host, host.committed);
		CHECK(host.result == 0 && server.txns == 4);
		CHECK(etcd_counters(host.etcd)->objects_put == 1);
		close_both(&server, &host);
	}
	TEST("an object that is nowhere ends a write")
	{
		struct manifest next = six;

		open_both(&server, &host);
		server.range = range_of(12, NULL);
		UNTIL(30000, &server, &host, host.empty);
		next.staged.nr_objects = 1;
		etcd_commit(host.etcd, 0, &next);
		UNTIL(30000, &server, &host, host.committed);
		CHECK(host.result == -ENOENT && server.txns == 0);
		close_both(&server, &host);
	}
}

static void objects(void)
{
	static struct server server;
	static struct host host;
	static const char bytes[] = "a policy";
	struct digest name;
	char key[2 * sizeof(name.bytes) + 32], hex[2 * sizeof(name.bytes) + 1];
	const char *size, *good, *bad;

	name_of(bytes, 8, &name);
	sodium_bin2hex(hex, sizeof(hex), name.bytes, sizeof(name.bytes));
	snprintf(key, sizeof(key), PREFIX "object/%s", hex);

	TEST("an object is taken if its hash is its name")
	{
		open_both(&server, &host);
		server.range = range_of(12, NULL);
		UNTIL(30000, &server, &host, host.empty);
		size = range_of(12, pair_of(key, 3, "8", 1));
		strcat(key, "/0000");
		good = range_of(12, pair_of(key, 3, bytes, 8));
		bad = range_of(12, pair_of(key, 3, "a Policy", 8));
		server.range = size;
		etcd_want(host.etcd, &name);
		UNTIL(30000, &server, &host, host.etcd->want.total == 8 && host.etcd->call);
		server.range = bad;
		UNTIL(30000, &server, &host, etcd_counters(host.etcd)->bad_objects == 1);
		CHECK(!host.came && !host.object_nr);
		host.etcd->want.total = 0;
		server.range = size;
		etcd_want(host.etcd, &name);
		UNTIL(30000, &server, &host, host.etcd->want.total == 8 && host.etcd->call);
		server.range = good;
		UNTIL(30000, &server, &host, host.came == 1);
		CHECK(host.object_nr == 8 && !memcmp(host.object, bytes, 8));
		close_both(&server, &host);
	}
	TEST("a size beyond all bounds is none")
	{
		open_both(&server, &host);
		server.range = range_of(12, pair_of(key, 3, "99999999", 8));
		etcd_want(host.etcd, &name);
		UNTIL(30000, &server, &host, etcd_counters(host.etcd)->bad_objects == 1);
		CHECK(!host.came);
		close_both(&server, &host);
	}
}

#define STREAM "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define RESULT "{\"result\":{\"header\":{\"cluster_id\":\"7\",\"revision\":\"12\"}"

static const char *stream_of(const char *lines)
{
	char *text = text_new();

	snprintf(text, sizeof(texts[0]), STREAM "%zx\r\n%s\r\n", strlen(lines), lines);
	return text;
}

static void watching(void)
{
	static struct server server;
	static struct host host;

	TEST("a change that a watch tells of is read at once")
	{
		open_both(&server, &host);
		server.range = manifest_answer(12, &five, 3);
		server.watch = stream_of(
			RESULT
			",\"created\":true}}\n" RESULT
			",\"events\":[{\"kv\":{\"key\":\"YQ==\",\"mod_revision\":\"12\"}}]}}\n");
		UNTIL(30000, &server, &host, etcd_status(host.etcd).watching);
		CHECK(etcd_counters(host.etcd)->watches == 1);
		UNTIL(30000, &server, &host, host.learned >= 2);
		CHECK(!etcd_counters(host.etcd)->lost_events);
		close_both(&server, &host);
	}
	TEST("a change that no watch told of is counted as a lost event")
	{
		open_both(&server, &host);
		server.range = manifest_answer(12, &five, 3);
		server.watch = stream_of(RESULT ",\"created\":true}}\n");
		UNTIL(30000, &server, &host, etcd_status(host.etcd).watching);
		UNTIL(30000, &server, &host, host.learned >= 2);
		server.range = manifest_answer(13, &six, 3);
		UNTIL(30000, &server, &host, host.revision == 13);
		CHECK(etcd_counters(host.etcd)->lost_events == 1);
		close_both(&server, &host);
	}
	TEST("a watch whose revision was compacted is counted, and begun anew behind a read")
	{
		open_both(&server, &host);
		server.range = manifest_answer(12, &five, 3);
		server.watch =
			stream_of(RESULT ",\"created\":true}}\n" RESULT
					 ",\"canceled\":true,\"compact_revision\":\"11\"}}\n");
		UNTIL(30000, &server, &host, etcd_counters(host.etcd)->compacted >= 2);
		CHECK(server.watches >= 2 && host.learned >= 2);
		close_both(&server, &host);
	}
	TEST("a watch that tells nonsense is begun anew, with pauses")
	{
		open_both(&server, &host);
		server.range = manifest_answer(12, &five, 3);
		server.watch = stream_of("nonsense\n");
		UNTIL(30000, &server, &host, etcd_counters(host.etcd)->bad_answers >= 3);
		CHECK(server.watches >= 3 && !etcd_counters(host.etcd)->watches);
		CHECK(etcd_status(host.etcd).reachable && host.etcd->watch.failures >= 3);
		close_both(&server, &host);
	}
	TEST("a watch's line without an end is cut")
	{
		_cleanup_free_ char *line = huge(100000);

		open_both(&server, &host);
		server.range = manifest_answer(12, &five, 3);
		server.watch = line;
		UNTIL(30000, &server, &host, etcd_counters(host.etcd)->oversized);
		CHECK(!etcd_counters(host.etcd)->watches);
		close_both(&server, &host);
	}
}

static void passwords(void)
{
	static struct server server;
	static struct host host;
	const char *const urls[] = {server.url};
	char path[] = "/tmp/dfw-etcd-XXXXXX";
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, "dfw:secret\n", 11) != 11)
		abort();
	server_open(&server);

	TEST("a password that others may read is refused")
	{
		fchmod(fd, 0644);
		CHECK(host_open(&host, urls, 1, path) == -EPERM);
	}
	TEST("who has a user logs in first, and again when the token is over")
	{
		fchmod(fd, 0600);
		CHECK(!host_open(&host, urls, 1, path));
		server.login = http("{\"header\":{\"cluster_id\":\"7\"},\"token\":\"abc.1\"}");
		server.range = manifest_answer(12, &five, 3);
		UNTIL(30000, &server, &host, host.learned);
		CHECK(server.logins == 1 && strstr(server.last, "Authorization: abc.1"));
		server.range = refusal_of(16, "etcdserver: invalid auth token");
		UNTIL(30000, &server, &host, server.logins == 2);
		server.range = manifest_answer(13, &six, 3);
		UNTIL(30000, &server, &host, host.revision == 13);
		etcd_close(host.etcd);
	}
	TEST("a token that is no header's text is not taken")
	{
		CHECK(!host_open(&host, urls, 1, path));
		server.login =
			http("{\"header\":{\"cluster_id\":\"7\"},\"token\":\"a\\r\\nEvil: 1\"}");
		UNTIL(30000, &server, &host, etcd_counters(host.etcd)->bad_answers);
		CHECK(!host.learned);
		etcd_close(host.etcd);
	}
	TEST("a wrong password is counted")
	{
		CHECK(!host_open(&host, urls, 1, path));
		server.login = refusal_of(
			3, "etcdserver: authentication failed, invalid user ID or password");
		UNTIL(30000, &server, &host, etcd_counters(host.etcd)->denied);
		CHECK(!host.learned &&
		      strstr(etcd_status(host.etcd).error, "authentication failed"));
		etcd_close(host.etcd);
	}
	server_close(&server);
	close(fd);
	unlink(path);
}

int main(void)
{
	log_set_level(LOG_CRIT);
	if (sodium_init() < 0)
		return EXIT_FAILURE;
	reading();
	nonsense();
	endpoints();
	writing();
	objects();
	watching();
	passwords();
	return check_done();
}
