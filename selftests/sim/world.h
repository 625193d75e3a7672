/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

/*
 * A cluster in one process: hosts, their disks and datapaths, the network between them, and time. All that happens follows
 * from the seed. The datapath is a plain twin of what a kernel would hold; the invariants are checked on it and on
 * what goes over the wire, not on the core's own idea of itself.
 */

#include <stdbool.h>
#include <stdint.h>

#include "selftests/sim/store.h"
#include "sync/sync.h"

#define WORLD_KEYS     16 /* flows a port can have */
#define WORLD_BIRTHS   4096
#define WORLD_OVERHEAD 120 /* bytes around a message: nanomsg, AEAD, TCP, IP, Ethernet */

struct twin_flow {
	bool present;
	uint64_t epoch, version;
	/* the last delete that this host has seen, and the epoch of the owner who said so */
	uint64_t gone_epoch, gone_version, gone_owner;
	/* In a share group. */
	int64_t born;	 /* world's time */
	uint32_t birth;	 /* which flow of that key this is: the first packet that any member saw */
	uint32_t killed; /* the newest birth whose end this host has seen */
	uint64_t life;
	uint64_t buried; /* lives below are: its grave, which outlives the daemon */
	bool untold;	 /* the last of them was killed, which the daemon has not read yet */
};

/* What the kernel of a host holds of a port. Survives the daemon. */
struct twin {
	bool attached;
	bool active;
	bool paused;  /* offered to somebody */
	bool pausing; /* was asked to pause, and has not said yet that it did */
	uint64_t
		activating; /* epoch in which it was asked to bring it into force, and has not said yet that it did; 0: none */
	bool activating_resync;
	bool late;	 /* packets of the VM have passed that it has not seen */
	bool unreported; /* the daemon was started again, and knows nothing of the flows yet */
	uint64_t epoch;
	uint64_t was_in_force; /* the epoch, since it was made here; 0: in none */
	uint64_t accepted;     /* highest epoch of which the host has acknowledged a write */
	uint64_t version;      /* given to the last change */
	struct twin_flow flows[WORLD_KEYS];
};

/* Steps at which no message leaves; behind all types of messages. */
enum trap {
	TRAP_PAUSE = 0x8000, /* the datapath was asked to deny */
	TRAP_ACTIVATE,	     /* to bring a port into force */
	TRAP_LEDGER,	     /* a record is on disk */
};

enum vm_state {
	VM_RUNNING,
	VM_PREPARING, /* a move was begun */
	VM_PAUSED,    /* its source has been asked to hand over */
};

struct sim_port {
	struct uuid id;
	uint8_t description[64];
	uint16_t description_nr;
	uint32_t vm;   /* host it runs on */
	uint8_t state; /* enum vm_state */
	uint32_t to;
	int64_t since;
	bool failed;  /* the source says that the move came to nothing */
	bool orderly; /* no claim was made without the owner's consent: one active host at most */
	struct twin_flow final[WORLD_KEYS]; /* the source's flows when it paused */
	uint64_t final_epoch;
	uint64_t top_epoch;
};

/* Entries are signed in clusters of fewer hosts. */
#define WORLD_SIGNED_HOSTS 100

struct sim_host {
	uint32_t id;
	uint32_t life;
	struct sync *sync; /* NULL: down */
	struct world *world;
	struct sync_env env;
	char address[16];
	const char *seeds[3];
	size_t nr_seeds;
	int64_t skew; /* its clock minus the world's */
	int64_t paused_until;
	int64_t tick_at;
	uint32_t side; /* of the partition */
	bool disk_full;
	bool disk_lost;			    /* something of the policy was not kept */
	bool certified[WORLD_SIGNED_HOSTS]; /* by host id: its certificate is known */
	bool *known;			    /* by port: since it was started it has heard of it */
	/* disk */
	struct ledger *ledgers; /* by port, role 0: none */
	struct manifest manifest;
	uint32_t manifest_writer;
	bool objects[WORLD_GENERATIONS];
	/* kernel */
	struct twin **twins; /* by port, NULL: never touched */
	uint32_t staged, flipped;
	uint32_t
		staging; /* was asked for once: staging takes its time, the second answer is ready */
	struct store_client client;
	uint32_t bulk_refused; /* this host's frames, last; 0: nobody's */
	uint64_t bytes_out, bytes_in, packets_out;
};

struct packet {
	struct packet *next_free;
	uint32_t from, to;
	uint32_t nr, room;
	bool bulk;
	uint8_t bytes[];
};

struct event {
	int64_t at;
	uint64_t order;
	uint32_t host; /* tick of this one, when packet is NULL */
	struct packet *packet;
};

struct world {
	uint64_t seed;
	uint64_t random[2];
	int64_t now;
	uint64_t nr_events;
	uint64_t order;
	struct event *heap;
	size_t nr_heap, room_heap;
	struct packet *free_small, *free_large;

	struct sim_host *hosts; /* ids 1..nr_hosts at index 0.. */
	uint32_t nr_hosts;
	struct sim_port *ports;
	uint32_t nr_ports;
	uint32_t replicas;

	double loss, duplicate;
	int64_t delay_min, delay_max;
	bool partitioned;
	uint32_t one_way_from, one_way_to; /* 0: none */
	bool refuse_room;		   /* port_prepare refuses now and then */

	/* A trap: when a message of this type leaves, the source or the destination of it dies; or who has come to
	 * one of enum trap. 0: none */
	uint16_t trap_type;
	uint8_t trap_skip;
	bool trap_receiver;
	uint32_t trapped; /* host that must die after this step */

	bool crashed;	/* a daemon has died */
	bool shares;	/* all ports are members of one share group */
	bool forgetful; /* a port lost its host, or a clock leapt: what was killed may be back */
	uint32_t births;
	bool ended[WORLD_BIRTHS]; /* births that were killed */

	uint32_t generation; /* last one applied in the local store */
	struct sim_store store;
	bool verbose;
	char failure[256]; /* first violation, "" while all is well */
};

struct world *world_new(uint64_t seed, uint32_t nr_hosts, uint32_t nr_ports);
void world_free(struct world *world);
/* Before it boots: makes all ports members of one share group. */
void world_share(struct world *world);

uint64_t world_random(struct world *world);
uint64_t world_below(struct world *world, uint64_t below);
bool world_chance(struct world *world, double probability);
void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_log(const struct world *world, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* One event, if it comes before `until`; false when there is none. */
bool world_step(struct world *world, int64_t until);

struct sim_host *world_host(struct world *world, uint32_t id);
void host_start(struct world *world, struct sim_host *host);
void host_crash(struct world *world, struct sim_host *host);
/* After a call into the host's core from outside: its next tick may be earlier. */
void host_schedule(struct world *world, struct sim_host *host);
struct twin *host_twin(struct sim_host *host, uint32_t port);
struct dfw_flow_key flow_key(uint32_t key);
/* A random change of a flow of the port in the kernel of the host that runs it. */
void flow_change(struct world *world, struct sim_host *host, uint32_t port);
struct digest object_name(uint32_t generation);
const uint8_t *object_bytes(uint32_t generation, uint32_t *nr);

#endif
