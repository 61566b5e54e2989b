/*
 * Who in this process is due a row: the rooms of the sessions whose poll or WebSocket it
 * holds, and the fan-out.
 *
 * Invariants:
 * 1. A subscriber in the index has the sockets and rooms of its snapshot `from_seq`,
 * changed by every control row above it; the adapter applies a row, event or control, to
 * it only if seq > from_seq (design 3.4).
 * 2. A row reaches each socket once, whatever the number of its targets that name it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_ADAPTER_H
#define SIOLITE_CORE_ENGINE_ADAPTER_H

#include "core/base/map.h"
#include "core/engine/wire.h"
#include "store/packet.h"

struct app_nsp;
struct sub;

struct nsp { /* a namespace by its id in the log; lives as long as a socket is in it */
    int64_t nsp_id;
    int64_t used_round;        /* of the sweeper, when it was last asked for */
    struct str name;           /* owned */
    const struct app_nsp *app; /* its handlers; NULL: none */
};

struct sub_link;
struct sub_socket {
    struct sub *sub;
    struct sub_socket *next;
    int64_t socket_id;
    const struct nsp *nsp;
    int64_t mark_seq;       /* the row that was last decided for this socket */
    struct sub_link *links; /* targets that it is a member of: its namespace, its rooms */
    uint32_t n_links, cap_links;
    char sio_id[];
};

/* What a subscriber's owner (poll.c, ws.c) does with rows; each borrowed for the call. */
struct sub_ops {
    void (*on_event)(struct sub *s, struct store_packet *p,
                     struct frame *f); /* a packet that is due */
    void (*on_noop)(struct sub *s);
    void (*on_close)(struct sub *s, const struct store_packet *p);
    void (*on_empty)(struct sub *s); /* its last socket has ended */
};

struct sub { /* embedded in a poll or a WebSocket session */
    const struct sub_ops *ops;
    int64_t session_id;
    int64_t from_seq;
    enum wire_form form;
    bool is_in; /* in the index */
    struct sub_socket *sockets;
};

struct adapter {
    struct map sessions; /* session_id -> struct sub */
    struct map sockets;  /* socket_id -> struct sub_socket */
    struct map targets;  /* store_key of a namespace or room -> struct target */
    int64_t process_id, epoch;
    const struct nsp *(*nsp_of)(void *arg, int64_t nsp_id);
    void *arg;
    const struct nsp *row_nsp; /* of the row that is being applied */
};

void adapter_init(struct adapter *a, int64_t process_id, int64_t epoch,
                  const struct nsp *(*nsp_of)(void *arg, int64_t nsp_id), void *arg);
void adapter_fini(struct adapter *a);

/* Building a subscriber from a snapshot, before or after it enters. */
struct sub_socket *adapter_socket_add(struct adapter *a, struct sub *s, int64_t socket_id,
                                      const struct nsp *nsp, struct str sio_id);
void adapter_join(struct adapter *a, struct sub_socket *k, int64_t room_id);
struct sub_socket *sub_socket_find(const struct sub *s, int64_t socket_id); /* NULL */

/* The subscriber takes part from now on. One session has at most one in a process: a
 * former one is left first. */
void adapter_enter(struct adapter *a, struct sub *s);
/* Ends its part and frees its sockets; may be called in any state. */
void adapter_leave(struct adapter *a, struct sub *s);
/* The next row of the log, in order. */
void adapter_apply(struct adapter *a, struct store_packet *p);

#endif
