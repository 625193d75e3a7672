/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SYNC_MESSAGES_H
#define SYNC_MESSAGES_H

#include <dfw/flow.h>
#include <dfw/port.h>

#include "sync/wire.h"

/*
 * Every message, once: its type on the wire, its struct and its fields in order. The struct, its encoder and its decoder
 * are made from this list. Types are never reused; a field is only ever added at the end of a list, together with
 * what a reader assumes when an older host did not send it.
 */

struct digest {
	uint8_t bytes[32];
};

#define FIELDS_PING(F)   \
	F(u32, sequence) \
	F(u32, target) /* so that a misdirected probe is not answered */
#define FIELDS_ACK(F)  F(u32, sequence)
#define FIELDS_NACK(F) F(u32, sequence) /* "I asked, it did not answer in time" */
#define FIELDS_PING_REQUEST(F) \
	F(u32, sequence)       \
	F(u32, target)
#define FIELDS_MEMBER(F)                                                       \
	F(u32, host)                                                           \
	F(u8, state)                                                           \
	F(u64, incarnation)                                                    \
	F(u32, by) /* who says so: independent accusers shorten a suspicion */ \
	F(text, address)
#define FIELDS_COMPARE(F) \
	F(u64, hash)      \
	F(u8, answer) /* to one that had the same hash */

#define FIELDS_FLOWS_ACK(F)                                           \
	F(uuid, port)                                                 \
	F(u64, epoch)                                                 \
	F(u32, life)                                                  \
	F(u32, stream)                                                \
	F(u64, position)     /* all changes up to here are applied */ \
	F(u32, credit)	     /* frames that may be under way */       \
	F(u8, status)	     /* enum flows_status */
#define FIELDS_FLOWS_DROP(F) /* you are no longer a peer of this log */ \
	F(uuid, port)                                                   \
	F(u64, epoch)

#define FIELDS_MOVE_PREPARE(F) \
	F(uuid, port)          \
	F(u64, move)           \
	F(u64, epoch)          \
	F(u64, flows)          \
	F(u8, flags)           \
	F(slice, description)
#define FIELDS_MOVE_ANSWER(F)                               \
	F(uuid, port)                                       \
	F(u64, move)                                        \
	F(u8, step)   /* enum move_step that is answered */ \
	F(u8, result) /* enum move_result */                \
	F(u64, position)                                    \
	F(u64, count)
#define FIELDS_MOVE_FINAL(F) \
	F(uuid, port)        \
	F(u64, move)         \
	F(u64, epoch)        \
	F(u32, life)         \
	F(u32, stream)       \
	F(u64, sequence)     \
	F(u64, count)        \
	F(u64, hash)         \
	F(slice, description)
#define FIELDS_MOVE_CLAIMED(F) \
	F(uuid, port)          \
	F(u64, move)           \
	F(u64, epoch) /* the new one */
#define FIELDS_MOVE_ABORT(F) \
	F(uuid, port)        \
	F(u64, move)         \
	F(u64, epoch) /* of the source */
#define FIELDS_MOVE_PULL(F) \
	F(uuid, port)       \
	F(u64, move)        \
	F(u8, flags)

#define FIELDS_OBJECT_GET(F) \
	F(digest, name)      \
	F(u32, offset)
#define FIELDS_OBJECT(F) \
	F(digest, name)  \
	F(u32, offset)   \
	F(u32, total)    \
	F(slice, data)

/* Between daemons, beside the core: see <sync/daemon/queries.h>. */
#define FIELDS_QUERY(F)                                     \
	F(u64, id)                                          \
	F(u32, offset) /* what of the answer is here yet */ \
	F(slice, text)
#define FIELDS_ANSWER(F)                    \
	F(u64, id)                          \
	F(u32, status) /* 0, or an errno */ \
	F(u32, offset)                      \
	F(u32, total)                       \
	F(slice, text)

/* M(type on the wire, ENUMERATOR, struct) */
#define MESSAGES(M)                       \
	M(1, PING, ping)                  \
	M(2, ACK, ack)                    \
	M(3, NACK, nack)                  \
	M(4, PING_REQUEST, ping_request)  \
	M(5, MEMBER, member_record)       \
	M(6, COMPARE, compare)            \
	M(17, FLOWS_ACK, flows_ack)       \
	M(18, FLOWS_DROP, flows_drop)     \
	M(32, MOVE_PREPARE, move_prepare) \
	M(33, MOVE_ANSWER, move_answer)   \
	M(34, MOVE_FINAL, move_final)     \
	M(35, MOVE_CLAIMED, move_claimed) \
	M(36, MOVE_ABORT, move_abort)     \
	M(37, MOVE_PULL, move_pull)       \
	M(48, OBJECT_GET, object_get)     \
	M(49, OBJECT, object)             \
	M(96, QUERY, query_message)       \
	M(97, ANSWER, answer_message)

enum message_type {
#define MESSAGE_ENUM(number, symbol, name) MESSAGE_##symbol = number,
	MESSAGES(MESSAGE_ENUM)
#undef MESSAGE_ENUM
	/* Those with a body that is no plain list of fields, see below. */
	MESSAGE_DIGEST = 7,
	MESSAGE_ENTRIES = 8,
	MESSAGE_FLOWS = 16,
};

#define FIELD_u8(field)		   uint8_t field;
#define FIELD_u32(field)	   uint32_t field;
#define FIELD_u64(field)	   uint64_t field;
#define FIELD_uuid(field)	   struct uuid field;
#define FIELD_digest(field)	   struct digest field;
#define FIELD_slice(field)	   struct slice field;
#define FIELD_text(field)	   char field[WIRE_TEXT_LEN];
#define FIELD_DECLARE(kind, field) FIELD_##kind(field)

/* put_NAME writes a whole TLV, false: no room, nothing written. get_NAME reads a TLV's value: 0 or -EBADMSG. */
#define MESSAGE_DECLARE(number, symbol, name)                               \
	struct name {                                                       \
		FIELDS_##symbol(FIELD_DECLARE)                              \
	};                                                                  \
	bool put_##name(struct writer *writer, const struct name *message); \
	int get_##name(struct reader reader, struct name *message);
MESSAGES(MESSAGE_DECLARE)
#undef MESSAGE_DECLARE

/* ---- Digests: what a host knows of each host --------------------------------------------------------------------- */

struct digest_line {
	uint32_t host;
	uint8_t state;
	uint64_t incarnation; /* 0: no member record */
	uint64_t known;	      /* registry version */
};

#define DIGEST_LINE_BYTES 21
#define DIGEST_LINES	  ((WIRE_DATAGRAM - WIRE_HEADER - WIRE_TLV_HEADER - 11) / DIGEST_LINE_BYTES)

struct digest_message {
	uint8_t answer; /* only lines the sender lags in; otherwise all it knows of first..last */
	uint32_t first, last; /* host ids */
	uint16_t nr;
	struct digest_line lines[DIGEST_LINES]; /* ascending by host */
};

bool put_digest_message(struct writer *writer, const struct digest_message *message);
int get_digest_message(struct reader reader, struct digest_message *message);

/* ---- Registry entries -------------------------------------------------------------------------------------------- */

enum entry_kind {
	ENTRY_HOST = 1,	       /* one per host; `epoch` holds the floor of a rebase */
	ENTRY_VPORT = 2,       /* id is the port's uuid, `epoch` the epoch */
	ENTRY_POLICY = 3,      /* the writer's manifest */
	ENTRY_CERTIFICATE = 4, /* by which the signatures of the origin's entries are verified */
};

#define ENTRY_SIGNATURE 64

#define ENTRY_VALUE_MAX 1000

struct entry_record {
	uint8_t kind;
	uint8_t deleted;
	struct uuid id;
	uint64_t version;
	uint64_t epoch;
	struct slice value;
	struct slice signature; /* ENTRY_SIGNATURE bytes, or none */
};

struct entries_head {
	uint32_t origin;
	uint64_t from;	/* "all live entries of the origin in (from, version of the last]" */
	uint8_t rumour; /* news, to be told on; not the answer to a digest */
};

/* A TLV is: head, then records until its end. */
void put_entries_head(struct writer *writer, const struct entries_head *head);
void get_entries_head(struct reader *reader, struct entries_head *head);
void put_entry_record(struct writer *writer, const struct entry_record *record);
/* What a signature covers: the record without it, behind its origin. Returns the length. */
#define ENTRY_SIGNED_MAX (ENTRY_VALUE_MAX + 64)
size_t entry_signed(uint32_t origin, const struct entry_record *record,
		    uint8_t bytes[ENTRY_SIGNED_MAX]);
bool get_entry_record(struct reader *reader,
		      struct entry_record *record); /* false: end, or reader->bad */

/* ---- Flows ------------------------------------------------------------------------------------------------------- */

enum flow_record_flag {
	FLOW_GONE = 1 << 0,	 /* a tombstone: key, order, and nothing else */
	FLOW_RESYNC = 1 << 1,	 /* the legs may be behind what the ends have sent */
	FLOW_HALF_OPEN = 1 << 2, /* nobody has answered yet */
	FLOW_KILLED =
		1 << 3, /* of a tombstone: by command, so it ends on all members of a share group */
};

#define FLOW_LIFE_MOST UINT32_MAX

struct flow_record {
	struct dfw_flow_key key;
	uint64_t epoch; /* of the owner that made the last change */
	uint64_t version;
	uint64_t idle_ms;
	uint64_t age_ms;
	uint32_t rule;
	uint32_t generation;
	uint8_t state;	   /* enum dfw_flow_state */
	uint8_t initiator; /* enum dfw_direction */
	uint8_t scale[DFW_LEGS];
	uint8_t leg_flags[DFW_LEGS];
	uint8_t flags; /* enum flow_record_flag */
	uint8_t zero;
	uint64_t
		life; /* of a share group's flow: counts how often one of its key was killed, or began anew; up to FLOW_LIFE_MOST */
	struct dfw_leg legs[DFW_LEGS];
};

struct flows_head {
	struct uuid port;
	uint64_t epoch;
	uint32_t life;	 /* of the host whose log it is */
	uint32_t stream; /* counts the streams of that life */
	uint64_t from;	 /* "all changes in (from, to]" */
	uint64_t to;
	uint64_t head; /* of the log, now */
};

enum flows_status {
	FLOWS_OK = 0,
	FLOWS_GAP = 1,	   /* send again from `position` */
	FLOWS_NO_ROOM = 2, /* not here */
	FLOWS_FENCED = 3,  /* a higher epoch is known here */
};

void put_flows_head(struct writer *writer, const struct flows_head *head);
void get_flows_head(struct reader *reader, struct flows_head *head);
/* `sequence` is the record's place in the log. put: false when there is no room, then nothing is written. */
bool put_flow_record(struct writer *writer, const struct flow_record *record, uint64_t sequence);
bool get_flow_record(struct reader *reader, struct flow_record *record, uint64_t *sequence);

#define FLOW_RECORD_BYTES 200 /* at most, encoded */

/* ---- Values of registry entries ---------------------------------------------------------------------------------- */

#define VPORT_TAGS 64
#define VPORT_MACS DFW_PORT_MACS

enum vport_state_bit {
	VPORT_ATTACHED = 1 << 0, /* its device is there and filtered */
	VPORT_READY = 1 << 1,	 /* a policy is realised */
	VPORT_HELD = 1 << 2,	 /* denies: in the middle of a move */
};

/* All that another host needs to make the port. Texts of a decoded one lie in what was decoded. */
struct vport {
	char name[DFW_PORT_NAME_LEN];
	char dev[WIRE_TEXT_LEN];
	char profile[WIRE_TEXT_LEN]; /* "": the default */
	char share[WIRE_TEXT_LEN];   /* share group, "": none */
	uint8_t state;		     /* enum vport_state_bit */
	uint8_t nr_macs;
	uint8_t nr_vlans;
	uint8_t nr_tags;
	uint8_t nr_addresses; /* that the operator gave */
	uint8_t nr_learned;
	uint8_t macs[VPORT_MACS][6];
	uint16_t vlans[DFW_PORT_VLANS];
	struct slice tags[VPORT_TAGS]; /* key, NUL, value; together at most 255 bytes */
	struct dfw_addr addresses[DFW_PORT_ADDRESSES];
	struct dfw_addr learned[DFW_PORT_ADDRESSES];
};

/* -EMSGSIZE when it does not fit ENTRY_VALUE_MAX; -EBADMSG. */
int vport_encode(const struct vport *vport, uint8_t value[ENTRY_VALUE_MAX], uint16_t *nr);
int vport_decode(struct slice value, struct vport *vport);
/* The share group alone, "": none. -EBADMSG. */
int vport_decode_share(struct slice value, char share[WIRE_TEXT_LEN]);

struct host_info {
	char name[WIRE_TEXT_LEN];
	uint32_t staged; /* policy generation that could be flipped to at once */
	uint32_t active; /* policy generation that is realised */
};

int host_info_encode(const struct host_info *info, uint8_t value[ENTRY_VALUE_MAX], uint16_t *nr);
int host_info_decode(struct slice value, struct host_info *info);

#define GENERATION_OBJECTS 8

struct generation {
	uint32_t number; /* 0: none */
	uint8_t nr_objects;
	struct digest objects[GENERATION_OBJECTS];
};

struct manifest {
	uint32_t term; /* counts the writers */
	struct generation active;
	struct generation staged;
};

int manifest_encode(const struct manifest *manifest, uint8_t value[ENTRY_VALUE_MAX], uint16_t *nr);
int manifest_decode(struct slice value, struct manifest *manifest);

#endif
