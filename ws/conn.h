/*
 * One WebSocket: what comes in is collected to whole messages for the engine, what goes
 * out waits in a queue and leaves, joined, before the loop sleeps. One function writes,
 * one asks for the end.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_WS_CONN_H
#define SIOLITE_WS_CONN_H

#include <libwebsockets.h>
#include <uv.h>

#include "core/engine/engine.h"
#include "ws/deflate.h"
#include "ws/queue.h"

/*
 *   NEW ─established─► OPEN ─ops->close, bad message─► CLOSING ─queue empty─► ENDING
 *                       │ └─queue over its bound, write failed─► BROKEN ────────▲
 *                       └─────────── closed by the peer or by lws ──────────────┘
 *
 * NEW      lws is at the handshake, or it failed: nothing to undo.
 * OPEN     the engine knows this connection.
 * CLOSING  the engine is done with it; what is queued still goes out, then a close frame
 *          with `code`.
 * BROKEN   nothing can be sent any more; the engine learns it in the next turn.
 * ENDING   the engine is done with it, the rest is up to lws; nothing is written or read.
 */
enum ws_conn_state {
    WS_CONN_NEW,
    WS_CONN_OPEN,
    WS_CONN_CLOSING,
    WS_CONN_BROKEN,
    WS_CONN_ENDING,
};

struct ws_conns;
struct ws_conn;

struct ws_list {
    struct ws_conn *first, *last;
};

/* lws allocates it zeroed, and frees it some time after ws_conn_on_closed(). */
struct ws_conn {
    struct lws *lws;
    struct ws_conns *all;
    struct engine_ws *engine_ws; /* in OPEN and BROKEN */
    struct ws_list *list;        /* the list it is on, at most one; NULL: none */
    struct ws_conn *prev, *next; /* in it */
    struct ws_queue queue;
    struct buf rx;       /* the pieces of an unfinished message */
    int64_t deadline_ms; /* in CLOSING: how long the peer may take */
    enum ws_conn_state state : 8;
    bool is_binary;   /* the message that is being received */
    bool is_deflated; /* that one is compressed */
    bool can_deflate; /* negotiated */
    bool is_full;     /* BROKEN because the queue exceeded its bound */
    uint16_t code;    /* in CLOSING */
};

struct ws_conns { /* all connections of the process */
    struct lws_context *lws;
    struct engine *engine; /* NULL once it is closed */
    size_t queue_bytes_max, message_bytes_max;
    struct ws_deflate *deflate; /* NULL: off */
    size_t n;                   /* connections between ESTABLISHED and CLOSED */
    struct ws_list dirty;       /* something may be written */
    struct ws_list stuck;       /* CLOSING, waiting for the peer to take the rest */
    struct ws_list broken;
    uv_prepare_t flush;
    uv_timer_t reap;   /* `broken` in the next turn */
    uv_timer_t expire; /* `stuck` after their deadline */
    char *batch;       /* WS_BATCH bytes, where frames are joined */
};

extern const struct engine_ws_ops ws_conn_ops;

/* The prepare handle has to be started before the engine's, so that it runs after it. */
/* The bounds, from a configuration that has changed: for what comes from now on. */
void ws_conns_configure(struct ws_conns *all, const struct cfg *cfg);
void ws_conns_open(struct ws_conns *all, uv_loop_t *loop, const struct cfg *cfg);
/* No connection is left; the loop must run until the handles are closed. */
void ws_conns_close(struct ws_conns *all);

/* What lws reports; `c` is its per-session memory. */
void ws_conn_on_established(struct ws_conn *c, struct ws_conns *all, struct lws *lws,
                            const struct engine_request *r, bool can_deflate);
void ws_conn_on_receive(struct ws_conn *c, const char *p, size_t len);
void ws_conn_on_writeable(struct ws_conn *c);
/* lws or the peer begin to close: a reason of lws' own is a broken protocol. */
void ws_conn_on_closing(struct ws_conn *c, bool is_peer);
void ws_conn_on_closed(struct ws_conn *c);

#endif
