/*
 * What the engine's files share; nobody outside core/engine includes it.
 *
 *    request  ─► http.c ─► poll.c, post.c ─┐                ┌─► adapter.c ─► polls,
 *    message  ─► ws.c ─────────────────────┼─► input.c      │    WebSockets
 *    deadline ─► timer.c ─► job.c, sweep.c ┘     │          │
 *                                                ▼          │
 *                                             call.c        │
 *                                                ▼          │
 *                          work.c: one unit ─► store ─► each row (engine.c)
 *
 * Invariants:
 *
 * 1. A handler runs only after store_fence() said RC_OK in the same call.
 *
 * 2. Nothing that a unit did is visible to anybody before its on_done (the short way
 * excepted, work.c).
 *
 * 3. Callbacks of the adapter only note what is to be done; index and connections change
 * in engine_turn().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef SIOLITE_CORE_ENGINE_INTERNAL_H
#define SIOLITE_CORE_ENGINE_INTERNAL_H

#include "core/base/rnd.h"
#include "core/engine/adapter.h"
#include "core/engine/client_file.h"
#include "core/engine/count.h"
#include "core/engine/engine.h"
#include "core/engine/ring.h"
#include "core/engine/rule.h"
#include "core/engine/throttle.h"
#include "core/engine/timer.h"
#include "core/sio/msgpack.h"
#include "core/sio/packet.h"
#include "store/read.h"
#include "store/store.h"
#include "store/unit.h"

/* Something to be tried again when the store can be read, or at the end of this loop
 * turn. */
struct later {
    struct later *next;
    bool is_queued;
    void (*fn)(struct later *l);
};

struct due {                 /* rows, in order */
    struct store_packet **p; /* one reference each */
    size_t n, cap;
    size_t n_bytes;
};

struct hook;
struct engine_http;

struct ride { /* a unit of this turn that the answer of a poll may ride with */
    struct engine_http *post;
    struct store_unit *unit;
};

struct engine {
    const struct cfg *cfg;
    struct cfg *cfg_own; /* the same, to be changed */
    struct rules rules;
    struct later rules_later;
    enum engine_front front;
    bool is_single; /* engine_options */
    size_t n_held_max;
    const struct engine_ws_ops *ws;
    struct store *store;
    struct app app;
    unsigned n_loads;            /* of applications so far */
    struct client_files *client; /* NULL: not served */
    char *api_tokens;            /* SECRET, owned; NULL: there is no HTTP API */
    struct api_call *api_waits;  /* its requests that are parked */
    struct throttle handshakes;
    struct counts counts;
    struct adapter adapter;
    struct ring ring;
    struct timers timers;
    struct map nsps;           /* nsp_id -> struct nsp */
    struct map jobs;           /* job_id -> struct job */
    struct engine_http *https; /* all requests that wait for something */
    struct engine_ws *conns;   /* all WebSocket connections */
    struct later *later, **later_end;
    struct later wake; /* claim jobs */
    size_t n_strays;   /* claimed, not done */
    bool has_more_strays;
    struct timer stray_timer; /* one will be due that nobody owns yet */
    struct rides {
        struct ride *p;
        size_t n, cap;
    } rides;
    struct due server_events; /* of other processes, their handlers are still to run */
    struct later server_events_later;
    struct timer sweep_timer, forget_timer;
    struct later sweep_later;
    struct sweep_slices {
        bool is_expiring, is_burying, is_forgetting; /* one is under way */
        int64_t dead_id; /* the newest dead process that was logged */
    } sweep;
    int64_t sweep_round;
    bool was_slow;     /* a unit waited long for the lock: the sweeper skips a round
                          (design 4.7) */
    struct hook *hook; /* the web hook's worker; NULL: another program */
    bool is_draining;
    struct timer drain_timer;
    void (*on_drained)(void *arg);
    void *drained_arg;
    size_t n_units; /* submitted, not done */

    uv_loop_t *loop;
    uv_poll_t store_poll;
    uv_prepare_t prepare;
    uv_timer_t timer;
    int64_t timer_ms; /* what `timer` is set to; INT64_MAX: stopped */
    int n_handles;    /* engine_close: still closing */
};

/* ---- engine.c ---- */
void engine_later(struct engine *e, struct later *l, void (*fn)(struct later *l));
void engine_later_cancel(struct engine *e, struct later *l);
/* RC_OK: engine_nsp() gives it from now on, for as long as a socket here is in it, and a
 * while after. RC_NOTFOUND: it is forgotten, nobody is in it. RC_BUSY: as store/read.h.
 * So that no packet is ever said to be of another namespace, each row that may have to be
 * encoded goes through here while it can still be put off. */
MUST_CHECK enum rc engine_nsp_load(struct engine *e, int64_t nsp_id);
/* NULL: forgotten. */
const struct nsp *engine_nsp(struct engine *e, int64_t nsp_id);
/* Frees some of those that nobody here has used for a while; from a timer only, where
 * nobody holds one. */
void engine_nsps_forget(struct engine *e);
/* Submits; before on_done runs, the jobs that the unit created get their timers. */
void
engine_submit(struct engine *e, struct store_unit *u, store_done_fn *on_done, void *arg);
/* What happens without an on_done: a failure is logged. */
void engine_check_unit(const struct store_result *r);
enum wire_form engine_form(const struct engine *e, int protocol, enum sio_parser parser);
/* The frames of a row, borrowed from it; NULL: none. */
struct frame *
engine_frames(struct engine *e, struct store_packet *p, enum wire_form form);

/* ---- load.c ---- */
/* Into an empty registry, with its tables, namespaces and statements. */
MUST_CHECK enum rc
load_app(struct engine *e, const struct cfg *cfg, struct app *app, struct buf *err);
/* A dynamic namespace is joined: its rooms keep what the application says of them. */
void
load_histories(struct store_unit *u, const struct app_nsp *app, const char *nsp_name);

/* ---- session.c: what polling and WebSocket share ---- */
/* Reads the sockets and rooms of a session into `s` (not yet in the index) and the rows
 * that it is due in (cursor_seq, snapshot] into `out`, in order; between
 * store_read_begin() and _end(). *cursor is where it came to. */
void due_add(struct due *d, struct store_packet *p); /* takes a reference of its own */
void due_clear(struct due *d);
MUST_CHECK enum rc session_load(struct engine *e, struct sub *s, int64_t cursor_seq,
                                int64_t max_seq, struct due *out);
/* What the socket of a recovered CONNECT row (arg_id) has missed, in order (design 7).
 * RC_NOTFOUND: the log does not reach back any more: the session must end. */
MUST_CHECK enum rc
session_replay(struct engine *e, const struct store_packet *connect, struct due *out);
/* Closes a session whoever holds it; its sockets' handlers follow as jobs. */
void session_close(struct engine *e, int64_t session_id, enum sio_reason reason);
/* Closes a polling session that is dead by what was read, unless a pong saved it
 * meanwhile. */
void session_expire(struct engine *e, const struct store_session *s, int64_t now_ms);
struct store_unit *
session_expire_unit(struct engine *e, const struct store_session *s, int64_t now_ms);
/* The same as a step of a unit (a guard: the session is open). */
void session_close_step(struct engine *e, struct store_unit *u, int64_t session_id,
                        enum sio_reason reason);
/* Transport error, by a poll that came at poll_ms: a poll that came later, wherever it is
 * held, is refused instead of being told. */
void session_close_for_poll(struct engine *e, struct store_unit *u, int64_t session_id,
                            int64_t poll_ms);
/* When a polling session dies if nothing happens: the earlier of heartbeat and connect
 * deadline. */
int64_t session_due_ms(const struct cfg *cfg, int64_t ping_ms, int64_t connect_due_ms);
/* Is that time over (a WebSocket's is its sidecar's business)? */
bool session_is_dead(const struct store_session *s, int64_t now_ms);
/* May its next message choose the parser: as far as the store knows, none came (a session
 * that was refused everywhere looks like that too). */
bool session_can_choose_parser(const struct store_session *s);
/* First ping after `now`; revision 3: the client pings. */
int64_t session_ping_ms(const struct cfg *cfg, int64_t now_ms);
/* The JSON of a handshake request, for handlers. */
void session_handshake_encode(struct buf *b, const struct engine_request *r,
                              const struct eio_param *params, size_t n);

/* ---- http.c, poll.c, post.c ---- */
enum http_state {
    HTTP_BODY,     /* head seen, body awaited */
    HTTP_BUSY,     /* a unit is with the store, or the store can't be read just now */
    HTTP_PARKED,   /* poll: in the index */
    HTTP_RIDING,   /* poll: in the index; a unit of its session may commit its answer */
    HTTP_ANSWERING /* poll: answer committed soon; out of the index */
};
struct engine_http {
    struct engine_http *next, **at;
    struct engine *e;
    engine_answer_fn
        *answer; /* NULL: the peer has left; freed when its unit comes back */
    void *arg;
    enum http_state state;
    int protocol;
    char eio_sid[RND_ID_LEN + 1];             /* SECRET */
    bool is_post, is_odd;                     /* POST; neither GET nor POST */
    bool is_octets, is_form, is_too_big;      /* post */
    bool is_handshake, is_health, is_unknown; /* is_unknown: http_close_session */
    bool has_waited; /* post: for a poll that may be on its way */
    bool is_refused; /* poll: an earlier one closed the session */
    bool has_claim;  /* poll: the lease is ours (session.gen) */
    bool was_parked; /* poll: it was, until its claim found that the session had moved */
    bool is_noop, is_ping, is_close; /* poll */
    bool is_upgraded; /* poll: an upgrade has begun or is done: look which */
    bool has_replay;  /* poll: `due` has rows that a recovered socket missed, or a room's
                         history: it goes out whole */
    char *headers;    /* answer lines (CORS, …), owned; NULL: http_headers() */
    char *jsonp;      /* digits, owned; NULL: no */
    struct api_call *api;    /* owned; NULL: it is none to the HTTP API */
    struct request *request; /* owned; NULL: nobody asks what it said */
    struct store_session session;
    union {
        struct { /* post */
            int64_t post_gen;
            uint64_t snapshot; /* in which `session` was read when the head came; 0: it
                                  was not */
            struct buf body;   /* kept only while the store can't be read */
            struct engine_http *rider; /* its answer rides with this unit; NULL: none */
        };
        struct {               /* poll */
            int64_t begun_ms;  /* when it came */
            int64_t parked_ms; /* when it was last tried */
            struct due due;
        };
    };
    int64_t hold_ms; /* poll: how long it is held if nothing happens */
    struct sub sub;
    struct timer timer;
    struct later later;
};
/* The lines that go with the answer. */
struct str http_headers(const struct engine_http *h);
void http_answer(struct engine_http *h, int status, const char *type, struct str body,
                 bool can_compress);
/* `context`: of a bad request, see struct request_error; else NULL. */
void http_answer_error(struct engine_http *h, enum eio_error error, const char *context);
void http_answer_empty(struct engine_http *h,
                       int status); /* no body: as the reference refuses overlaps */
/* Closes the session (transport error) and answers after the commit, so that whoever got
 * the answer finds it closed everywhere: 400 without body, or as an unknown session. */
void http_close_session(struct engine_http *h, bool is_unknown);
void http_free(struct engine_http *h);
void poll_begin(struct engine_http *h);
void poll_gone(struct engine_http *h);
void poll_drain(struct engine_http *h);
/* Where a poll of the session is parked here and nothing is due to it: its answer rides
 * with this unit, which has a packet for it. NULL: none is. poll_ridden() follows from
 * the unit's on_done. */
struct engine_http *poll_ride(struct engine *e, struct store_unit *u, int64_t session_id);
void poll_ridden(struct engine_http *h, const struct store_result *r);
void post_body(struct engine_http *h, struct str body, bool is_too_big);
/* Right before the units of the turn are handed over. */
void post_rides(struct engine *e);

/* ---- hold.c ---- */
/* How long a poll is held that comes now; between store_read_begin() and _end(). */
int64_t hold_choose(const struct engine *e);

/* ---- origin.c: CORS and foreign origins (socketio.md 1.4) ---- */
/* Appends the answer's headers for this request; false: a foreign origin is refused
 * (foreign_origin=refuse). */
bool
origin_check(const struct cfg *cfg, const struct engine_request *r, struct buf *headers);
/* Is it a preflight that CORS answers? Then the headers of its 204. */
bool origin_preflight(const struct cfg *cfg, const struct engine_request *r,
                      struct buf *headers);

/* ---- request.c: what the application is asked and told of requests ---- */
struct request {     /* what it said; outlives the front's own */
    struct buf json; /* as session_handshake_encode(), without the session's id */
    char *method, *remote;
    int protocol;
    enum eio_transport transport;
    bool has_transport, is_first; /* is_first: without a session id */
};
struct request_error {
    enum eio_error error;
    const char *text;    /* NULL: the usual one */
    const char *context; /* of a bad request: the reference's name for it; else NULL */
};
/* Does the application ask of such a request? */
bool request_is_wanted(const struct engine *e, const struct eio_request *q);
struct request *
request_create(const struct engine_request *r, const struct eio_param *params, size_t n,
               const struct eio_request *q);
void request_destroy(struct request *q);
/* app_on_request: false: refused, with a text (owned by the caller). `headers` gets lines
 * for the answer, as below. */
bool request_may_enter(struct engine *e, const struct request *q, struct buf *headers,
                       char **text);
/* app_on_headers */
void request_add_headers(struct engine *e, const struct request *q, struct buf *headers);
/* app_on_connection_error. `q` NULL: nobody is told. */
void request_tell_error(struct engine *e, const struct request *q,
                        const struct request_error *error);

/* ---- admit.c ---- */
/* A handshake whose request is in order: EIO_E_NONE, or the error; `text` is then owned
 * by the caller, NULL: the usual one. `q` may be NULL if nobody wants it. */
enum eio_error admit_handshake(struct engine *e, struct str remote,
                               const struct request *q, struct buf *headers, char **text);

/* ---- job.c ---- */
void job_take(struct engine *e, const struct store_job *j);
void job_close_all(struct engine *e);
/* Claims jobs that nobody alive owns, at the end of this loop turn: a slice, and the next
 * one as soon as these are done. */
void job_wake(struct engine *e);

/* ---- server_event.c ---- */
/* A row of another process: the handler runs in this loop turn, behind the fence. */
void server_event_take(struct engine *e, struct store_packet *p);
void server_event_close(struct engine *e);

/* ---- sweep.c ---- */
void sweep_start(struct engine *e);

/* ---- ws.c ---- */
void ws_drain(struct engine *e);
void ws_close_all(struct engine *e);

#endif
