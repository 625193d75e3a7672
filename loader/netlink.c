// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <sys/socket.h>
#include <time.h>

#include "netlink.h"
#include "util.h"

#define RECEIVE_BYTES (1 << 20)
#define MESSAGE_BYTES 32768 /* rtnetlink's largest dump message */

#define _cleanup_mnl_ _cleanup_(netlink_close)

void netlink_close(struct mnl_socket **socket)
{
	if (*socket)
		mnl_socket_close(*socket);
	*socket = NULL;
}

static int open_socket(int bus, unsigned int groups, struct mnl_socket **socket)
{
	_cleanup_mnl_ struct mnl_socket *new = mnl_socket_open2(bus, SOCK_CLOEXEC);

	if (!new || mnl_socket_bind(new, groups, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	*socket = TAKE_PTR(new);
	return 0;
}

int netlink_watch(unsigned int groups, struct mnl_socket **socket)
{
	const int bytes = RECEIVE_BYTES;
	int r = open_socket(NETLINK_ROUTE, groups, socket);

	/* Without the privilege it stays at its default, and -ENOBUFS comes earlier. */
	if (r == 0)
		setsockopt(mnl_socket_get_fd(*socket), SOL_SOCKET, SO_RCVBUFFORCE, &bytes,
			   sizeof(bytes));
	return r;
}

int netlink_read(struct mnl_socket *socket, mnl_cb_t callback, void *data)
{
	char message[MESSAGE_BYTES];

	for (;;) {
		ssize_t bytes =
			recv(mnl_socket_get_fd(socket), message, sizeof(message), MSG_DONTWAIT);

		if (bytes < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (mnl_cb_run(message, (size_t)bytes, 0, 0, callback, data) < 0)
			return -errno;
	}
}

static int request_all(int bus, struct nlmsghdr *request, mnl_cb_t callback, void *data)
{
	_cleanup_mnl_ struct mnl_socket *socket = NULL;
	char message[MESSAGE_BYTES];
	ssize_t bytes;
	int r = open_socket(bus, 0, &socket);

	if (r < 0)
		return r;
	request->nlmsg_flags |= NLM_F_REQUEST;
	request->nlmsg_seq = (uint32_t)time(NULL);
	if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return -errno;
	do {
		bytes = mnl_socket_recvfrom(socket, message, sizeof(message));
		if (bytes < 0)
			return -errno;
		r = mnl_cb_run(message, (size_t)bytes, request->nlmsg_seq,
			       mnl_socket_get_portid(socket), callback, data);
		if (r < 0)
			return -errno;
	} while (r > MNL_CB_STOP);
	return 0;
}

int netlink_dump(int bus, struct nlmsghdr *request, mnl_cb_t callback, void *data)
{
	request->nlmsg_flags |= NLM_F_DUMP;
	return request_all(bus, request, callback, data);
}

/* The acknowledgement ends it. */
int netlink_ask(int bus, struct nlmsghdr *request, mnl_cb_t callback, void *data)
{
	request->nlmsg_flags |= NLM_F_ACK;
	return request_all(bus, request, callback, data);
}
