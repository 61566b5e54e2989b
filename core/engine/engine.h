/*
 * The engine: what to do with a request, a WebSocket message, a row of the log, a
 * deadline. One for each process, on the loop's thread; it knows sessions, not
 * connections. The fronts (fcgi, ws) give it requests and messages and send what it hands
 * back; they never see the store.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_ENGINE_H
#define SIOLITE_CORE_ENGINE_ENGINE_H

#include <uv.h>

#include "core/app/registry.h"
#include "core/base/cfg.h"
#include "core/eio/request.h"
#include "core/engine/frame.h"
#include "core/engine/hook.h"

struct engine;
struct engine_ws;

/* ---------------------------------------------------------------- the process */

enum engine_front { ENGINE_FCGI, ENGINE_CGI, ENGINE_WS, ENGINE_HOOK };

struct engine_ws_ops { /* what the sidecar does for the engine; `conn` is its own
                          connection */
    /* Queues the whole chain; the callee takes a reference if it keeps it. Never calls
     * back into the engine. A queue that grows beyond max_queue closes the connection
     * later, from the loop (engine_ws_gone with a reason). */
    void (*send)(void *conn, struct frame *f);
    /* Could a frame be written right now (nothing queued, nothing buffered)? For volatile
     * events. */
    bool (*is_writable)(void *conn);
    /* Sends what is queued, then closes with this WebSocket code (1000 normal, 1001 going
     * away, 1008, 1009, 1012 service restart). engine_ws_gone is not called any more
     * after this. */
    void (*close)(void *conn, int code);
    /* Stops (true) or resumes reading from the peer. */
    void (*pause)(void *conn, bool is_paused);
};

struct engine_options {
    uv_loop_t *loop;
    struct cfg *cfg; /* borrowed for life; engine_reload() and rules change it */
    enum engine_front front;
    const char *address; /* where this process listens, for the view `process` */
    /* This process serves one request at a time, so that a held poll occupies it (CGI,
     * mod_fcgid): with hold=auto, so many such processes may hold one. */
    bool is_single;
    size_t n_held_max;
    const struct engine_ws_ops *ws; /* sidecar only, else NULL */
    const struct hook_ops *hook;    /* siolite-hook only, else NULL */
};

/* Opens the store, loads the application, starts tail and timers. `err` gets one line for
 * the operator. */
MUST_CHECK enum rc
engine_open(struct engine **out, const struct engine_options *o, struct buf *err);
/* SIGHUP: the configuration that the engine borrows becomes `next`, and the application
 * is loaded again. Either both, or nothing has changed and `err` says why; `next` is
 * empty afterwards. Waits for the database. Not while draining. */
MUST_CHECK enum rc engine_reload(struct engine *e, struct cfg *next, struct buf *err);
/* SIGTERM: answers all parked polls with a noop, closes WebSockets with 1012 (spread over
 * a second), refuses new sessions; on_drained once nothing is in flight any more. */
void engine_drain(struct engine *e, void (*on_drained)(void *arg), void *arg);
/* After on_drained, or at once: closes handles (the loop must run until they are closed)
 * and the store. */
void engine_close(struct engine *e);
/* CGI: is nothing in flight any more, so that the process may end? */
bool engine_is_idle(const struct engine *e);

/* ---------------------------------------------------------------- requests */

struct engine_header {
    struct str name; /* lower case, with dashes: "x-kitchen" */
    struct str value;
};

/* What both fronts know of a request. Borrowed until the call they are given to returns.
 */
struct engine_request {
    struct str method; /* "GET" */
    struct str path;   /* of REQUEST_URI, without query */
    struct str query;  /* raw, without '?' */
    struct str
        remote; /* address of the peer, or the forwarded one where the proxy is trusted */
    bool is_https;
    const struct engine_header *headers; /* all request headers, lower-case names */
    size_t n_headers;
};
/* The header's value, len 0 if absent. */
struct str engine_header_get(const struct engine_request *r, const char *name);

/* ---------------------------------------------------------------- HTTP: polling (fcgi) */

struct engine_http;

struct engine_answer {        /* borrowed for the call */
    int status;               /* 200 */
    const char *content_type; /* NULL: none */
    struct str headers;       /* further lines, each with CRLF */
    struct str body;
    bool can_compress; /* at least one packet in it may be compressed, and the length
                          reached the threshold */
};
/* Once for each request, perhaps from within engine_http_begin / _body; the request is
 * over for the engine then. */
typedef void engine_answer_fn(void *arg, const struct engine_answer *a);

/* The head of a request is complete. `arg` goes to `answer`. The caller may free its
 * engine_request after the call. NULL: the answer was already given within the call. */
struct engine_http *engine_http_begin(struct engine *e, const struct engine_request *r,
                                      engine_answer_fn *answer, void *arg);
/* The body is complete (GET too, with an empty one); `is_too_big`: it exceeded
 * max_payload and was thrown away. The body is borrowed for the call. After the answer
 * the pointer is dead. */
void engine_http_body(struct engine_http *h, struct str body, bool is_too_big);
/* The peer is gone, or its body came to an early end: no answer is wanted any more. The
 * pointer is dead. */
void engine_http_gone(struct engine_http *h);

/* ---------------------------------------------------------------- WebSocket (ws) */

struct engine_ws_answer { /* to be initialised with zeros, and freed */
    int status;
    const char *content_type;
    struct buf headers, body; /* headers: further lines, each with CRLF */
};
void engine_ws_answer_fini(struct engine_ws_answer *a);
/* Before the 101: RC_OK, and `headers` are for the 101; or RC_INVALID with the answer to
 * give instead. */
MUST_CHECK enum rc engine_ws_check(struct engine *e, const struct engine_request *r,
                                   struct engine_ws_answer *a);
/* The answer to a request for our path that is no upgrade: this server knows WebSocket
 * only. */
void engine_ws_refuse(struct engine *e, const struct engine_request *r,
                      struct engine_ws_answer *a);
/* The WebSocket is open. The engine sends, asks to close, and gets: */
struct engine_ws *
engine_ws_open(struct engine *e, const struct engine_request *r, void *conn);
/* one complete message (UTF-8 of text not yet checked); */
void engine_ws_message(struct engine_ws *w, bool is_binary, struct str message);
/* the end of the connection, whoever caused it (not after ops->close). `reason` is a
 * sio_reason: TRANSPORT_CLOSE for a close frame or end of stream, TRANSPORT_ERROR for a
 * reset or a full queue. The pointer is dead afterwards. */
void engine_ws_gone(struct engine_ws *w, int reason);

#endif
