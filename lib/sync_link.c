// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "json.h"
#include "sync_link.h"
#include "util.h"

/* ---- Connecting ------------------------------------------------------------------------------------------------- */

static int link_socket(const char *run_dir, struct sockaddr_un *address, int *fd)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (snprintf(address->sun_path, sizeof(address->sun_path), "%s/" SYNC_LINK_SOCKET,
		     run_dir) >= (int)sizeof(address->sun_path))
		return -ENAMETOOLONG;
	*fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return *fd < 0 ? -errno : 0;
}

int sync_link_listen(const char *run_dir, int *fd)
{
	_cleanup_close_ int new = -1;
	struct sockaddr_un address;
	int r = link_socket(run_dir, &address, &new);

	if (r < 0)
		return r;
	/* The caller holds the instance's lock: what lies there is of a daemon that died. */
	unlink(address.sun_path);
	if (bind(new, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(address.sun_path, 0600) < 0 || listen(new, 4) < 0)
		return -errno;
	*fd = TAKE_FD(new);
	return 0;
}

int sync_link_connect(const char *run_dir, int *fd)
{
	_cleanup_close_ int new = -1;
	struct sockaddr_un address;
	int r = link_socket(run_dir, &address, &new);

	if (r < 0)
		return r;
	if (connect(new, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*fd = TAKE_FD(new);
	return 0;
}

void sync_link_close(struct sync_link *link)
{
	while (link->first) {
		struct link_packet *packet = link->first;

		link->first = packet->next;
		link_packet_clear(packet);
		free(packet);
	}
	cleanup_close(&link->fd);
	*link = (struct sync_link){.fd = -1};
}

/* ---- Sending ---------------------------------------------------------------------------------------------------- */

static int send_now(const struct sync_link *link, const json_t *json, const int *fds, size_t nr_fds)
{
	_cleanup_free_ char *text = json_dumps(json, JSON_COMPACT);
	union {
		char bytes[CMSG_SPACE(sizeof(int) * SYNC_LINK_FDS)];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = {.iov_base = text};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *rights;

	if (!text)
		return -ENOMEM;
	iov.iov_len = strlen(text);
	if (iov.iov_len > SYNC_LINK_BYTES)
		return -EMSGSIZE;
	if (nr_fds) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(nr_fds * sizeof(int));
		rights = CMSG_FIRSTHDR(&message);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(nr_fds * sizeof(int));
		memcpy(CMSG_DATA(rights), fds, nr_fds * sizeof(int));
	}
	if (sendmsg(link->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return errno == EPIPE ? -ECONNRESET : -errno;
	return 0;
}

static int queue(struct sync_link *link, json_t *json, const int *fds, size_t nr_fds)
{
	struct link_packet *packet;

	if (link->nr_waiting == SYNC_LINK_WAITING)
		return -ENOBUFS;
	packet = calloc(1, sizeof(*packet));
	if (!packet)
		return -ENOMEM;
	for (; packet->nr_fds < nr_fds; packet->nr_fds++) {
		packet->fds[packet->nr_fds] = fcntl(fds[packet->nr_fds], F_DUPFD_CLOEXEC, 3);
		if (packet->fds[packet->nr_fds] < 0) {
			int r = -errno;

			link_packet_clear(packet);
			free(packet);
			return r;
		}
	}
	packet->json = json_incref(json);
	if (link->last)
		link->last->next = packet;
	else
		link->first = packet;
	link->last = packet;
	link->nr_waiting++;
	return 0;
}

int sync_link_send(struct sync_link *link, json_t *json, const int *fds, size_t nr_fds)
{
	_cleanup_json_ json_t *owned = json;
	int r = 0;

	if (link->fd < 0)
		return -ENOTCONN;
	if (!owned)
		return -ENOMEM;
	if (!link->first) {
		r = send_now(link, owned, fds, nr_fds);
		if (r != -EAGAIN)
			return r;
	}
	return queue(link, owned, fds, nr_fds);
}

int sync_link_send_text(struct sync_link *link, json_t *json, const json_t *text)
{
	_cleanup_json_ json_t *owned = json;
	_cleanup_close_ int fd = -1;
	int r = json_memfd(text, &fd);

	return r < 0 ? r : sync_link_send(link, json_incref(owned), &fd, 1);
}

int sync_link_flush(struct sync_link *link)
{
	while (link->first) {
		struct link_packet *packet = link->first;
		int r = send_now(link, packet->json, packet->fds, packet->nr_fds);

		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return r;
		link->first = packet->next;
		if (!link->first)
			link->last = NULL;
		link->nr_waiting--;
		link_packet_clear(packet);
		free(packet);
	}
	return 0;
}

/* ---- Receiving -------------------------------------------------------------------------------------------------- */

static void take_fds(struct msghdr *message, struct link_packet *packet)
{
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
	     header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		packet->nr_fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(packet->fds, CMSG_DATA(header), packet->nr_fds * sizeof(int));
	}
}

int sync_link_receive(const struct sync_link *link, struct link_packet *packet)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * SYNC_LINK_FDS)];
		struct cmsghdr align;
	} control;
	_cleanup_free_ char *bytes = malloc(SYNC_LINK_BYTES);
	struct iovec iov = {.iov_base = bytes, .iov_len = SYNC_LINK_BYTES};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	ssize_t nr;

	*packet = (struct link_packet){};
	if (link->fd < 0)
		return -ENOTCONN;
	if (!bytes)
		return -ENOMEM;
	nr = recvmsg(link->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (nr < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	take_fds(&message, packet);
	if (nr == 0) {
		link_packet_clear(packet);
		return -ECONNRESET;
	}
	if (!(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		packet->json = json_loadb(bytes, (size_t)nr, 0, NULL);
	if (json_is_object(packet->json))
		return 0;
	link_packet_clear(packet);
	return -EBADMSG;
}

void link_packet_clear(struct link_packet *packet)
{
	json_decref(packet->json);
	while (packet->nr_fds)
		close(packet->fds[--packet->nr_fds]);
	packet->json = NULL;
}

/* ---- Texts ------------------------------------------------------------------------------------------------------ */

static int write_fd(const char *buffer, size_t bytes, void *data)
{
	const int *fd = data;

	while (bytes > 0) {
		ssize_t written = write(*fd, buffer, bytes);

		if (written < 0 && errno != EINTR)
			return -1;
		if (written > 0) {
			buffer += written;
			bytes -= (size_t)written;
		}
	}
	return 0;
}

int json_memfd(const json_t *json, int *fd)
{
	_cleanup_close_ int new = memfd_create("dfw", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (new < 0)
		return -errno;
	if (json_dump_callback(json, write_fd, &new, JSON_COMPACT) < 0)
		return -ENOMEM;
	/* So that the reader can rely on its length. */
	if (fcntl(new, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return -errno;
	*fd = TAKE_FD(new);
	return 0;
}

int link_packet_text(const struct link_packet *packet, json_t **text)
{
	struct stat stat;
	void *bytes;

	if (packet->nr_fds == 0 || fstat(packet->fds[0], &stat) < 0 || stat.st_size <= 0 ||
	    !(fcntl(packet->fds[0], F_GET_SEALS) & F_SEAL_SHRINK))
		return -EBADMSG;
	if (stat.st_size > SYNC_LINK_TEXT_MAX)
		return -EFBIG;
	bytes = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, packet->fds[0], 0);
	if (bytes == MAP_FAILED)
		return -errno;
	*text = json_loadb(bytes, (size_t)stat.st_size, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	munmap(bytes, (size_t)stat.st_size);
	return *text ? 0 : -EBADMSG;
}
