// SPDX-License-Identifier: GPL-2.0
#include <curl/curl.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/epoll.h>

#include "file.h"
#include "log.h"
#include "sync/etcd/http.h"
#include "util.h"

#define CONNECT_MS     1500
#define KEEPALIVE_S    10L
#define CONNECTIONS    4L
#define EVENTS_AT_ONCE 8
#define PEM_MAX	       (256 << 10)

struct pem {
	char *bytes;
	size_t nr;
};

struct http {
	CURLM *multi;
	int epoll;
	int64_t now_ms;
	int64_t timer_ms; /* curl's; INT64_MAX: none */
	char *urls[HTTP_URLS_MAX];
	size_t nr_urls;
	struct pem ca, certificate, key;
	char *token; /* or NULL */
	struct http_call *calls;
};

struct http_call {
	struct http *http;
	struct http_call *next;
	CURL *easy;
	char *url, *request;
	struct curl_slist *headers;
	char *body; /* of the answer, or of the line that is not at its end yet */
	size_t nr, room;
	bool too_long;
	char error[CURL_ERROR_SIZE];
	http_line *line; /* NULL: no stream */
	http_done *done;
	void *data;
};

/* ---- libcurl and epoll ------------------------------------------------------------------------------------------- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
	const struct http *http = data;
	struct epoll_event event = {.data.fd = fd};

	(void)easy;
	(void)socket_data;
	if (what == CURL_POLL_REMOVE) {
		epoll_ctl(http->epoll, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	event.events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
		       (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
	if (epoll_ctl(http->epoll, EPOLL_CTL_MOD, fd, &event) < 0 &&
	    epoll_ctl(http->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return -1;
	return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *data)
{
	struct http *http = data;

	(void)multi;
	http->timer_ms = timeout_ms < 0 ? INT64_MAX : http->now_ms + timeout_ms;
	return 0;
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static bool append(struct http_call *call, const char *bytes, size_t nr)
{
	size_t most = call->line ? HTTP_LINE_MAX : HTTP_ANSWER_MAX;

	if (nr > most - call->nr) {
		call->too_long = true;
		return false;
	}
	if (call->nr + nr > call->room) {
		size_t room = call->room ? call->room : 1024;
		char *body;

		while (room < call->nr + nr)
			room *= 2;
		body = realloc(call->body, room);
		if (!body)
			return false;
		call->body = body;
		call->room = room;
	}
	memcpy(call->body + call->nr, bytes, nr);
	call->nr += nr;
	return true;
}

static bool append_lines(struct http_call *call, const char *bytes, size_t nr)
{
	const char *end;

	while ((end = memchr(bytes, '\n', nr))) {
		size_t length = (size_t)(end - bytes);

		if (!append(call, bytes, length))
			return false;
		if (call->nr)
			call->line(call->data, call->body, call->nr);
		call->nr = 0;
		bytes += length + 1;
		nr -= length + 1;
	}
	return append(call, bytes, nr);
}

static size_t on_bytes(char *bytes, size_t size, size_t nr, void *data)
{
	struct http_call *call = data;
	bool taken =
		call->line ? append_lines(call, bytes, size * nr) : append(call, bytes, size * nr);

	return taken ? size * nr : CURL_WRITEFUNC_ERROR;
}

static int error_of(const struct http_call *call, CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
		return -ECONNREFUSED;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		return -ECONNRESET;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_WRITE_ERROR:
		return call->too_long ? -EMSGSIZE : -ENOMEM;
	default:
		return -EPROTO;
	}
}

/* There may be a password or a token in it. */
static void wipe(char *text)
{
	if (text)
		sodium_memzero(text, strlen(text));
	free(text);
}

static void call_free(struct http_call *call)
{
	struct http_call **at = &call->http->calls;

	while (*at && *at != call)
		at = &(*at)->next;
	if (*at)
		*at = call->next;
	if (call->easy) {
		curl_multi_remove_handle(call->http->multi, call->easy);
		curl_easy_cleanup(call->easy);
	}
	curl_slist_free_all(call->headers);
	wipe(call->request);
	free(call->url);
	free(call->body);
	free(call);
}

static void call_end(struct http_call *call, CURLcode code)
{
	struct http_result result = {.error = error_of(call, code),
				     .body = call->body,
				     .nr = call->nr,
				     .text = call->error[0] ? call->error
							    : curl_easy_strerror(code)};
	http_done *done = call->done;
	void *data = call->data;
	curl_off_t sent_us = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &result.status);
	curl_easy_getinfo(call->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
	result.sent = sent_us > 0;
	if (call->too_long)
		result.text = "the answer is too long";
	/* Whoever is told may begin the next call, but not cancel this one any more. */
	curl_multi_remove_handle(call->http->multi, call->easy);
	done(data, &result);
	call_free(call);
}

static void calls_end(struct http *http)
{
	const CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(http->multi, &left))) {
		struct http_call *call = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
		call_end(call, message->data.result);
	}
}

int http_fd(const struct http *http)
{
	return http->epoll;
}

int64_t http_next(const struct http *http)
{
	return http->timer_ms;
}

void http_serve(struct http *http, int64_t now_ms)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	int nr, running;

	http->now_ms = now_ms;
	nr = epoll_wait(http->epoll, events, EVENTS_AT_ONCE, 0);
	for (int i = 0; i < nr; i++) {
		int what = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
			   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
			   (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

		curl_multi_socket_action(http->multi, events[i].data.fd, what, &running);
	}
	if (http->timer_ms <= now_ms) {
		http->timer_ms = INT64_MAX;
		curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	calls_end(http);
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

static CURLcode set_tls(const struct http *http, CURL *easy)
{
	struct curl_blob ca = {http->ca.bytes, http->ca.nr, CURL_BLOB_NOCOPY};
	struct curl_blob certificate = {http->certificate.bytes, http->certificate.nr,
					CURL_BLOB_NOCOPY};
	struct curl_blob key = {http->key.bytes, http->key.nr, CURL_BLOB_NOCOPY};
	CURLcode code = CURLE_OK;

	if (ca.data)
		code = curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &ca);
	if (code == CURLE_OK && certificate.data)
		code = curl_easy_setopt(easy, CURLOPT_SSLCERT_BLOB, &certificate);
	if (code == CURLE_OK && key.data)
		code = curl_easy_setopt(easy, CURLOPT_SSLKEY_BLOB, &key);
	return code;
}

static CURLcode set_options(struct http_call *call, long timeout_ms)
{
	const struct {
		CURLoption option;
		long value;
	} numbers[] = {
		{CURLOPT_NOSIGNAL, 1},
		{CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS},
		{CURLOPT_TIMEOUT_MS, timeout_ms},
		{CURLOPT_TCP_KEEPALIVE, 1},
		{CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S},
		{CURLOPT_TCP_KEEPINTVL, KEEPALIVE_S / 2},
		{CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
		{CURLOPT_HTTP09_ALLOWED, 0},
		{CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
		{CURLOPT_POSTFIELDSIZE, (long)strlen(call->request)},
	};
	const struct {
		CURLoption option;
		const void *value;
	} pointers[] = {
		{CURLOPT_URL, call->url},
		{CURLOPT_PROTOCOLS_STR, "http,https"},
		{CURLOPT_PROXY, ""},
		{CURLOPT_HTTPHEADER, call->headers},
		{CURLOPT_POSTFIELDS, call->request},
		{CURLOPT_ERRORBUFFER, call->error},
		{CURLOPT_WRITEDATA, call},
		{CURLOPT_PRIVATE, call},
	};
	CURLcode code = set_tls(call->http, call->easy);

	for (size_t i = 0; code == CURLE_OK && i < ARRAY_SIZE(numbers); i++)
		code = curl_easy_setopt(call->easy, numbers[i].option, numbers[i].value);
	for (size_t i = 0; code == CURLE_OK && i < ARRAY_SIZE(pointers); i++)
		code = curl_easy_setopt(call->easy, pointers[i].option, pointers[i].value);
	if (code == CURLE_OK)
		code = curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, on_bytes);
	return code;
}

static bool add_header(struct http_call *call, const char *line)
{
	struct curl_slist *longer = curl_slist_append(call->headers, line);

	if (longer)
		call->headers = longer;
	return longer;
}

static int prepare(struct http_call *call, size_t endpoint, const char *path, long timeout_ms)
{
	const struct http *http = call->http;
	char *line = NULL;
	bool ok;

	call->easy = curl_easy_init();
	if (!call->request || !call->easy ||
	    asprintf(&call->url, "%s%s", http->urls[endpoint], path) < 0)
		return -ENOMEM;
	if (http->token && asprintf(&line, "Authorization: %s", http->token) < 0)
		return -ENOMEM;
	/* libcurl would ask first whether it may send much. */
	ok = add_header(call, "Content-Type: application/json") && add_header(call, "Expect:") &&
	     (!line || add_header(call, line));
	wipe(line);
	if (!ok)
		return -ENOMEM;
	if (set_options(call, timeout_ms) != CURLE_OK ||
	    curl_multi_add_handle(http->multi, call->easy) != CURLM_OK)
		return -EINVAL;
	return 0;
}

static int begin(struct http *http, size_t endpoint, const char *path, long timeout_ms,
		 struct http_call call, struct http_call **out)
{
	struct http_call *begun = malloc(sizeof(*begun));
	int r;

	if (!begun) {
		wipe(call.request);
		return -ENOMEM;
	}
	*begun = call;
	begun->http = http;
	begun->next = http->calls;
	http->calls = begun;
	r = prepare(begun, endpoint, path, timeout_ms);
	if (r < 0)
		call_free(begun);
	else
		*out = begun;
	return r;
}

int http_post(struct http *http, size_t endpoint, const char *path, char *body, long timeout_ms,
	      http_done *done, void *data, struct http_call **call)
{
	return begin(http, endpoint, path, timeout_ms,
		     (struct http_call){.request = body, .done = done, .data = data}, call);
}

int http_stream(struct http *http, size_t endpoint, const char *path, char *body, http_line *line,
		http_done *done, void *data, struct http_call **call)
{
	return begin(http, endpoint, path, 0,
		     (struct http_call){.request = body, .line = line, .done = done, .data = data},
		     call);
}

void http_cancel(struct http_call *call)
{
	if (call)
		call_free(call);
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

size_t http_endpoints(const struct http *http)
{
	return http->nr_urls;
}

const char *http_url(const struct http *http, size_t endpoint)
{
	return http->urls[endpoint];
}

int http_authorize(struct http *http, const char *token)
{
	char *copy = token ? strdup(token) : NULL;

	if (token && !copy)
		return -ENOMEM;
	wipe(http->token);
	http->token = copy;
	return 0;
}

static bool url_part(CURLU *url, CURLUPart part, char **text)
{
	return curl_url_get(url, part, text, 0) == CURLUE_OK;
}

const char *http_url_error(const char *url)
{
	static const CURLUPart foreign[] = {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY,
					    CURLUPART_FRAGMENT};
	CURLU *parsed = curl_url();
	const char *error = NULL;
	char *text;

	if (!parsed)
		return "no memory";
	if (curl_url_set(parsed, CURLUPART_URL, url, CURLU_DISALLOW_USER) != CURLUE_OK)
		error = "no URL like http://HOST:PORT";
	if (!error && url_part(parsed, CURLUPART_SCHEME, &text)) {
		if (strcmp(text, "http") != 0 && strcmp(text, "https") != 0)
			error = "neither http nor https";
		curl_free(text);
	}
	if (!error && url_part(parsed, CURLUPART_PATH, &text)) {
		if (strcmp(text, "/") != 0)
			error = "has a path";
		curl_free(text);
	}
	for (size_t i = 0; !error && i < ARRAY_SIZE(foreign); i++)
		if (url_part(parsed, foreign[i], &text)) {
			error = "has more than scheme, host and port";
			curl_free(text);
		}
	curl_url_cleanup(parsed);
	return error;
}

static int add_url(struct http *http, const char *url, bool have_ca)
{
	const char *error = http_url_error(url);
	size_t nr = strlen(url);

	if (error) {
		log_error("etcd endpoint \"%s\": %s", url, error);
		return -EINVAL;
	}
	if (!strncasecmp(url, "https:", 6) && !have_ca) {
		log_error("etcd endpoint \"%s\": https needs the file of a CA", url);
		return -EINVAL;
	}
	http->urls[http->nr_urls] = strndup(url, url[nr - 1] == '/' ? nr - 1 : nr);
	if (!http->urls[http->nr_urls])
		return -ENOMEM;
	http->nr_urls++;
	return 0;
}

static int read_pem(const char *path, struct pem *pem)
{
	int r = path ? file_read(path, PEM_MAX, &pem->bytes, &pem->nr) : 0;

	return r < 0 ? log_errno(r, "%s", path) : 0;
}

static int open_multi(struct http *http)
{
	http->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (http->epoll < 0)
		return -errno;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -EIO;
	http->multi = curl_multi_init();
	if (!http->multi ||
	    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket) != CURLM_OK ||
	    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http) != CURLM_OK ||
	    curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer) != CURLM_OK ||
	    curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http) != CURLM_OK ||
	    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS) != CURLM_OK)
		return -ENOMEM;
	return 0;
}

int http_open(const struct http_config *config, struct http **out)
{
	struct http *http = calloc(1, sizeof(*http));
	int r;

	if (!http)
		return -ENOMEM;
	http->epoll = -1;
	http->timer_ms = INT64_MAX;
	r = open_multi(http);
	if (r < 0)
		log_errno(r, "cannot speak HTTP");
	if (r == 0)
		r = read_pem(config->ca_file, &http->ca);
	if (r == 0)
		r = read_pem(config->certificate_file, &http->certificate);
	if (r == 0)
		r = read_pem(config->key_file, &http->key);
	if (r == 0 && (!config->nr_urls || config->nr_urls > HTTP_URLS_MAX)) {
		log_error("etcd has 1 to %d endpoints, not %zu", HTTP_URLS_MAX, config->nr_urls);
		r = -EINVAL;
	}
	for (size_t i = 0; r == 0 && i < config->nr_urls; i++)
		r = add_url(http, config->urls[i], config->ca_file);
	if (r < 0)
		http_close(http);
	else
		*out = http;
	return r;
}

static void pem_free(struct pem *pem)
{
	if (pem->bytes)
		sodium_memzero(pem->bytes, pem->nr);
	free(pem->bytes);
}

void http_close(struct http *http)
{
	if (!http)
		return;
	while (http->calls)
		call_free(http->calls);
	curl_multi_cleanup(http->multi);
	cleanup_close(&http->epoll);
	for (size_t i = 0; i < http->nr_urls; i++)
		free(http->urls[i]);
	pem_free(&http->ca);
	pem_free(&http->certificate);
	pem_free(&http->key);
	wipe(http->token);
	free(http);
}
