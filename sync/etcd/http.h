/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_ETCD_HTTP_H
#define SYNC_ETCD_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * HTTP to a few endpoints, without ever waiting: libcurl's sockets sit in one epoll descriptor, which is served when it is
 * readable and when http_next says. TLS files are read once, at the beginning, so that they need not be readable for
 * whom a daemon becomes afterwards.
 */

#define HTTP_URLS_MAX	8
#define HTTP_ANSWER_MAX (2U << 20)  /* of a call */
#define HTTP_LINE_MAX	(64U << 10) /* of a stream */

struct http_config {
	const char *const *urls; /* http://HOST:PORT or https://HOST:PORT, no path */
	size_t nr_urls;
	/* For https. NULL: none; without the CA's file no https. */
	const char *ca_file;
	const char *certificate_file;
	const char *key_file;
};

struct http;
struct http_call;

struct http_result {
	/* 0: there is an answer, whatever its status. -ECONNREFUSED: no connection; -ECONNRESET: it broke, or the answer
	 * was cut short; -ETIMEDOUT; -EMSGSIZE: the answer is too long; -EPROTO: no HTTP, or TLS failed. */
	int error;
	bool sent; /* the other end may have acted on it */
	long status;
	const char *body;
	size_t nr;
	const char *text; /* what went wrong, for people */
};

/* Called by http_serve, once for each call that was begun and not cancelled. */
typedef void http_done(void *data, const struct http_result *result);
/* A line of a stream, without its end. Must not begin or cancel calls. */
typedef void http_line(void *data, const char *line, size_t nr);

/* What is wrong with an endpoint's URL, or NULL. */
const char *http_url_error(const char *url);

/* Errors are logged. */
int http_open(const struct http_config *config, struct http **http);
void http_close(struct http *http);

int http_fd(const struct http *http);
void http_serve(struct http *http, int64_t now_ms);
int64_t http_next(const struct http *http);

size_t http_endpoints(const struct http *http);
const char *http_url(const struct http *http, size_t endpoint);
/* The header of all calls from now on; NULL: none. -ENOMEM. */
int http_authorize(struct http *http, const char *token);

/* Posts `body` (JSON, malloc'd, taken in any case) to an endpoint. 0 or a negative errno: nothing was begun. */
int http_post(struct http *http, size_t endpoint, const char *path, char *body, long timeout_ms,
	      http_done *done, void *data, struct http_call **call);
/* The same for an answer that comes line by line and has no end. */
int http_stream(struct http *http, size_t endpoint, const char *path, char *body, http_line *line,
		http_done *done, void *data, struct http_call **call);
/* NULL is no call. `done` is not called. */
void http_cancel(struct http_call *call);

#endif
