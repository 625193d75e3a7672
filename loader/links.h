/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DFW_LOADER_LINKS_H
#define DFW_LOADER_LINKS_H

#include <stdbool.h>
#include <stdint.h>

/* The devices of this network namespace, by rtnetlink. */

struct link_event {
	uint32_t ifindex;
	const char *name;
	const char *unfit; /* why it cannot be a vport's; NULL: it can */
	bool gone;
};

typedef void (*link_handler)(const struct link_event *event, void *data);

struct links {
	struct mnl_socket *socket;
	int fd;
};

/* Subscribes to changes; read what is there only afterwards, so that nothing happens in between. */
int links_open(struct links *links);
void links_close(struct links *links);

/* Hands on the changes that wait. -ENOBUFS: the kernel dropped some, ask links_list again. */
int links_read(struct links *links, link_handler handler, void *data);

/* Hands on every device there is. */
int links_list(link_handler handler, void *data);

/* The index of the device of this name, 0: there is none. The kernel takes altnames for names; this does not, since what
 * it tells of a device later goes by its name. */
uint32_t links_index(const char *name);

/* -EINVAL, logged: the name is an altname. */
int links_check_name(const char *name);

/* *unfit: why the device cannot be a vport's, NULL: it can. 0 or a negative errno. */
int links_unfit(uint32_t ifindex, const char **unfit);

/* How many packets the device has received so far, which is what a VM behind it has sent. 0 or a negative errno. */
int links_received(uint32_t ifindex, uint64_t *packets);

/* 1: the clsact qdisc of the device has filters; 0: none. */
int links_clsact_used(uint32_t ifindex);

#endif
