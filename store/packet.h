/*
 * A row of the log in memory, and the keys that say whom it concerns. Reference-counted
 * on the loop's thread: the store binds it, the engine's ring and every receiver share
 * it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_STORE_PACKET_H
#define SIOLITE_STORE_PACKET_H

#include "core/base/buf.h"

/* t_packet.kind: file format. 0 to 6 are the Socket.IO packet types; from 16 on the rows
 * are control. */
enum store_kind {
    STORE_CONNECT = 0, /* reply; to the session; socket_id names the socket whose
                          namespace interval begins here */
    STORE_DISCONNECT = 1,
    STORE_EVENT = 2,
    STORE_ACK = 3,
    STORE_CONNECT_ERROR = 4,
    STORE_BINARY_EVENT = 5,
    STORE_BINARY_ACK = 6,
    STORE_JOIN = 16,  /* the sockets that `to` names join room arg_id */
    STORE_LEAVE = 17, /* … leave room arg_id */
    STORE_LOST = 18,  /* socket to_id ended, may be recovered; body: the reason */
    STORE_GONE = 19,  /* socket to_id ended for good; body: the reason */
    STORE_CLOSE = 20, /* session to_id is closed: whoever holds its poll or WebSocket ends
                         it; body: the reason */
    STORE_NOOP = 21, /* session to_id: an upgrade begins or is done; a parked poll ends */
    STORE_PONG = 22, /* session to_id: an Engine.IO pong is due (revision 3, polling) */
    STORE_WAKE = 23, /* jobs without an owner are due */
    STORE_SERVER = 24, /* an event for the other processes' handlers of this namespace */
    STORE_HISTORY = 25 /* to the sockets that joined room arg_id by the row ack_id: what
                          the room has kept from before it */
};

/* Is it a packet for clients, and not control? */
static inline bool
store_kind_is_sent(enum store_kind kind)
{
    return kind <= STORE_BINARY_ACK || kind == STORE_PONG;
}

/* Is a client owed something by it? */
static inline bool
store_kind_is_due(enum store_kind kind)
{
    return store_kind_is_sent(kind) || kind == STORE_HISTORY;
}

/* t_packet.to_kind: file format. */
enum store_to {
    STORE_TO_NSP = 0,
    STORE_TO_ROOM = 1,
    STORE_TO_SOCKET = 2,
    STORE_TO_SESSION = 3,
    STORE_TO_LIST = 4
};

/* A target as one number, for hash tables: STORE_TO_NSP … STORE_TO_SESSION with its id.
 */
static inline int64_t
store_key(enum store_to to, int64_t id)
{
    return id * 4 + (int64_t)to;
}

/* What the engine makes of a packet begins with this. */
struct store_wire {
    void (*destroy)(struct store_wire *w);
};

struct store_packet { /* the newest ones stay in memory: it is kept small */
    int n_refs;
    enum store_kind kind : 8;
    enum store_to to_kind : 8;
    bool is_ask, is_volatile, is_local, is_plain;
    uint32_t n_to_keys, n_not_keys;
    int64_t seq;      /* 0 until committed */
    int64_t part_seq; /* an event that a STORE_HISTORY row stands for: its own seq, while
                         `seq` is that of the row; 0 else, and for the last of them */
    int64_t nsp_id;   /* 0: concerns the connection */
    int64_t to_id;    /* nsp, room, socket or session; 0 for a list */
    int64_t skip_id;  /* socket that is left out, 0: none */
    int64_t
        arg_id; /* join, leave: the room; connect: the offset to replay from, 0: none */
    int64_t socket_id; /* connect: the socket; 0 else */
    int64_t
        ack_id; /* ack: the client's id; -1: none. An asking event's own id is its seq;
                   history: the join row; connect: the part after which to replay */
    int64_t origin_id; /* process that appended it; 0: an outsider */
    int64_t made_ms;
    int64_t *to_keys;       /* store_key()s of the union; each socket gets the row once */
    int64_t *not_keys;      /* exceptions */
    struct str body;        /* JSON part; owned by the packet */
    struct str attachments; /* length-prefixed (4 bytes, big endian), in order; owned by
                               the packet */
    struct store_wire *wire; /* the engine's encoded frames; owned; NULL: none */
};

/* One allocation that holds copies of body and attachments. */
struct store_packet *
store_packet_create(enum store_kind kind, struct str body, struct str attachments);
struct store_packet *store_packet_ref(struct store_packet *p);
void store_packet_unref(struct store_packet *p); /* accepts NULL */
/* The next attachment; RC_NOTFOUND at the end, RC_INVALID if the blob is damaged. *pos
 * starts at 0. */
MUST_CHECK enum rc
store_packet_attachment(struct str attachments, size_t *pos, struct str *out);
void store_packet_append_attachment(struct buf *b, struct str data);
/* 'r7,s12' and back (t_packet.to_list). */
void store_packet_encode_keys(struct buf *b, const int64_t *keys, size_t n);
MUST_CHECK enum rc store_packet_decode_keys(struct str text, int64_t **keys,
                                            size_t *n); /* owned by the caller */

#endif
