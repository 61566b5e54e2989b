/*
 * A WebSocket session: its life, and what comes in; see ws.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/ws.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"

#define INBOX_BYTES_MAX (256 * 1024)
#define UNITS_MAX 64
#define CODE_NORMAL 1000
#define CODE_RESTART 1012
#define DRAIN_SPREAD_MS 1000

/* ---- life ---- */

struct engine_ws *
ws_create(struct engine *e, void *conn)
{
    struct engine_ws *w = xcalloc(1, sizeof *w);
    w->e = e;
    w->conn = conn;
    w->inbox_end = &w->inbox;
    w->next = e->conns;
    w->at = &e->conns;
    if (w->next != NULL)
        w->next->at = &w->next;
    e->conns = w;
    return w;
}

static void
inbox_clear(struct engine_ws *w)
{
    while (w->inbox != NULL) {
        struct message *m = w->inbox;
        w->inbox = m->next;
        free(m);
    }
    w->inbox_end = &w->inbox;
    w->n_inbox_bytes = 0;
}

void
ws_release(struct engine_ws *w)
{
    if (w->state != WS_CLOSED || w->n_units > 0 || w->conn != NULL)
        return;
    adapter_leave(&w->e->adapter, &w->sub);
    timers_disarm(&w->e->timers, &w->timer);
    timers_disarm(&w->e->timers, &w->gap_timer);
    due_clear(&w->held);
    store_packet_unref(w->replay_of);
    engine_later_cancel(w->e, &w->later);
    if (w->partial != NULL)
        partial_fini(w->partial);
    free(w->partial);
    free(w->eio_sid);
    inbox_clear(w);
    *w->at = w->next;
    if (w->next != NULL)
        w->next->at = w->at;
    free(w);
}

/* Ends our part: the lease if it is ours (reason), the upgrade if it was under way. The
 * connection follows in ws_turn. */
void
ws_end(struct engine_ws *w, enum sio_reason reason)
{
    struct engine *e = w->e;
    enum ws_state was = w->state;
    if (was == WS_CLOSED)
        return;
    w->state = WS_CLOSED;
    inbox_clear(w);
    if (was == WS_OPEN && reason != SIO_R_NONE) {
        session_close(e, w->sub.session_id, reason);
    } else if (was == WS_UPGRADING &&
               w->n_units == 0) { /* committed, not caught up yet */
        session_close(e, w->sub.session_id,
                      reason != SIO_R_NONE ? reason : SIO_R_TRANSPORT_ERROR);
    } else if (was == WS_PROBING || was == WS_PROBED) {
        struct store_unit *u = store_unit_create();
        store_unit_upgrade_reset(u, w->sub.session_id, store_process_id(e->store));
        engine_submit(e, u, NULL, NULL);
    }
    engine_later(e, &w->later, ws_turn);
}

static void
close_conn(struct engine_ws *w, int code)
{
    void *conn = w->conn;
    if (conn == NULL)
        return;
    w->conn = NULL;
    w->e->ws->close(conn, code);
}

void
ws_set_parser(struct engine_ws *w, enum sio_parser parser, bool can_choose)
{
    enum wire_form form = engine_form(w->e, w->protocol, parser);
    w->parser = (uint8_t)parser;
    w->can_choose_parser = can_choose;
    w->sub.form = w->is_base64 ? (enum wire_form)(form + WIRE_V4_BASE64) : form;
}

/* ---- messages ---- */

static void
add_guard(struct work *k)
{
    store_unit_guard_ws(k->u, k->guard_id, k->guard_gen);
}

static void
unit_done(struct engine_ws *w, const struct store_result *r)
{
    w->n_units--;
    if (r->rc == RC_CONFLICT) { /* closed; or a recovery that came too late */
        ws_end(w, SIO_R_TRANSPORT_ERROR);
    } else if (r->rc != RC_OK && r->rc != RC_INVALID) {
        log_error("engine", "ws.failed", LOG_Z("code", rc_text(r->rc)),
                  LOG_Z("error", r->error));
        ws_end(w, SIO_R_TRANSPORT_ERROR);
    }
    if (w->inbox != NULL || w->state == WS_CLOSED || w->gone_reason != SIO_R_NONE)
        engine_later(w->e, &w->later, ws_turn);
}

static void
on_packets_done(void *arg, const struct store_result *r)
{
    unit_done(arg, r);
}

static void
on_state_done(void *arg, const struct store_result *r)
{
    struct engine_ws *w = arg;
    w->n_state_units--;
    unit_done(w, r);
}

static void
finish(struct engine_ws *w, struct work *k)
{
    struct engine *e = w->e;
    if (k->close_reason != SIO_R_NONE) {
        session_close_step(e, work_unit(k), k->session_id, k->close_reason);
        k->changes_state = true;
    }
    if (k->u == NULL) { /* the short way */
        for (size_t i = 0; i < k->n_direct; i++)
            ws_send_frames(w,
                           wire_frames(k->direct[i].p, str_of(k->direct[i].to->nsp_name),
                                       w->sub.form, 0));
        return;
    }
    struct store_unit *u = k->u;
    k->u = NULL;
    w->n_units++;
    w->n_state_units += k->changes_state;
    engine_submit(e, u, k->changes_state ? on_state_done : on_packets_done, w);
}

/* `p` NULL: nothing was received; a revision 3 session joins `/` by itself. */
static bool
on_message(struct engine_ws *w, const struct eio_packet *p, int64_t now_ms)
{
    struct partial whole = {0}; /* nearly all messages are: nothing is kept of them */
    struct work k = {
        .eio_sid = w->eio_sid,
        .e = w->e,
        .now_ms = now_ms,
        .session_id = w->sub.session_id,
        .protocol = w->protocol,
        .parser = (enum sio_parser)w->parser,
        .can_choose_parser = w->can_choose_parser,
        .transport = EIO_WEBSOCKET,
        .has_transport = true,
        .sub = &w->sub,
        .partial = w->partial != NULL ? w->partial : &whole,
        .may_go_direct =
            w->e->cfg->recovery_ms == 0 && w->n_units == 0 && w->gap_timer.pos == 0,
        .guard = add_guard,
        .guard_id = w->sub.session_id,
        .guard_gen = w->gen,
    };
    if (p != NULL)
        input_message(&k, p->is_binary, p->data);
    else
        connect_main(&k);
    bool is_again = k.is_busy;
    if (!is_again) {
        ws_set_parser(w, k.parser, k.can_choose_parser);
        finish(w, &k);
    }
    work_fini(&k);
    if (w->partial == NULL && whole.n_owed > 0) {
        w->partial = xmalloc(sizeof *w->partial);
        *w->partial = whole;
    } else if (w->partial != NULL && w->partial->n_owed == 0) {
        partial_fini(w->partial);
        free(w->partial);
        w->partial = NULL;
    } else if (w->partial == NULL) {
        partial_fini(&whole);
    }
    return !is_again;
}

void
ws_join_main(struct engine_ws *w)
{
    bool is_done = store_fence(w->e->store) == RC_OK &&
                   (w->state == WS_CLOSED || on_message(w, NULL, clock_now_ms()));
    w->is_joining = !is_done;
    if (!is_done)
        engine_later(w->e, &w->later, ws_turn);
}

/* False: to be tried again, nothing was done. */
static bool
on_packet(struct engine_ws *w, const struct eio_packet *p)
{
    int64_t now_ms = clock_now_ms();
    switch (p->type) {
    case EIO_MESSAGE:
        /* EIO-PING-EXTEND */
        if (w->is_pinged && !w->is_extended) {
            w->is_extended = true;
            w->due_ms =
                now_ms +
                w->e->cfg->ping_timeout_ms; /* the timer looks again when it fires */
        }
        return on_message(w, p, now_ms);
    case EIO_PONG:
    case EIO_PING:
        if ((p->type == EIO_PONG) != (w->protocol == 4)) {
            ws_end(w, SIO_R_TRANSPORT_ERROR); /* EIO-HEARTBEAT-DIRECTION */
            return true;
        }
        ws_plan_ping(w, now_ms);
        ws_arm(w);
        if (w->protocol == 3)
            ws_send_text(w, "3");
        return true;
    case EIO_CLOSE:
        ws_end(w, SIO_R_TRANSPORT_CLOSE);
        return true;
    case EIO_OPEN:
    case EIO_UPGRADE:
    case EIO_NOOP:
        return true;
    }
    return true;
}

/* ---- input ---- */

static void
enqueue(struct engine_ws *w, bool is_binary, struct str data)
{
    struct message *m = xmalloc(sizeof *m + data.len);
    *m = (struct message){.is_binary = is_binary, .len = data.len};
    memcpy(m->data, data.p ? data.p : "", data.len);
    *w->inbox_end = m;
    w->inbox_end = &m->next;
    w->n_inbox_bytes += sizeof *m + data.len;
    if (w->n_inbox_bytes > INBOX_BYTES_MAX && !w->is_paused) {
        w->is_paused = true;
        w->e->ws->pause(w->conn, true);
    }
}

/* SIO-ORDER */
static bool
can_handle(const struct engine_ws *w)
{
    switch (w->state) {
    case WS_WAITING:
    case WS_PROBED:
        return true;
    case WS_OPEN:
        return w->n_state_units == 0 && w->n_units < UNITS_MAX && /* invariant 1 */
               !w->is_joining;
    case WS_OPENING:
    case WS_PROBING:
    case WS_UPGRADING:
    case WS_CLOSED:
        return false;
    }
    return false;
}

/* False: the store can't be read just now; nothing was done. */
/* EIO-WS-MESSAGE */
static bool
take(struct engine_ws *w, bool is_binary, struct str data)
{
    struct eio_packet p;
    if (store_fence(w->e->store) != RC_OK)
        return false;
    if (w->state == WS_CLOSED) /* the fence brought its end */
        return true;
    struct buf scratch; /* base64 of clients that have no binary messages */
    bool is_done = true;
    buf_init(&scratch);
    enum rc rc = eio_packet_decode_base64(w->protocol, is_binary, data, &scratch, &p);
    if (rc != RC_OK)
        ws_end(w, SIO_R_PARSE_ERROR);
    else if (w->state == WS_OPEN)
        is_done = on_packet(w, &p);
    else
        is_done = ws_upgrade_packet(w, &p);
    buf_fini(&scratch);
    return is_done;
}

void
ws_turn(struct later *l)
{
    struct engine_ws *w =
        (struct engine_ws *)((char *)l - offsetof(struct engine_ws, later));
    if (w->state == WS_CLOSED) {
        adapter_leave(&w->e->adapter, &w->sub);
        timers_disarm(&w->e->timers, &w->timer);
        ws_flush_held(w);
        close_conn(w, w->e->is_draining ? CODE_RESTART : CODE_NORMAL);
        ws_release(w);
        return;
    }
    if (w->state == WS_OPEN && w->is_joining)
        ws_join_main(w);
    if (w->state == WS_UPGRADING && w->n_units == 0)
        ws_caught_up(w);
    while (w->inbox != NULL && can_handle(w)) {
        struct message *m = w->inbox;
        if (!take(w, m->is_binary, (struct str){m->data, m->len})) {
            engine_later(w->e, &w->later, ws_turn);
            return;
        }
        if (w->state == WS_CLOSED)
            return; /* the inbox is gone */
        w->inbox = m->next;
        if (w->inbox == NULL)
            w->inbox_end = &w->inbox;
        w->n_inbox_bytes -= sizeof *m + m->len;
        free(m);
    }
    if (w->gone_reason != SIO_R_NONE && w->inbox == NULL) {
        ws_end(w, w->gone_reason);
        return;
    }
    if (w->is_paused && w->conn != NULL && w->n_inbox_bytes < INBOX_BYTES_MAX / 2) {
        w->is_paused = false;
        w->e->ws->pause(w->conn, false);
    }
}

void
engine_ws_message(struct engine_ws *w, bool is_binary, struct str message)
{
    if (w->state == WS_CLOSED)
        return;
    if (w->inbox == NULL && can_handle(w) && take(w, is_binary, message))
        return;
    if (w->state == WS_CLOSED)
        return;
    if (w->state == WS_OPEN && w->protocol == 4 && !is_binary && str_eqz(message, "3")) {
        ws_plan_ping(w, clock_now_ms()); /* a sign of life does not wait for the store */
        ws_arm(w);
        return;
    }
    enqueue(w, is_binary, message);
    if (can_handle(w))
        engine_later(w->e, &w->later, ws_turn);
}

/* EIO-WS-END */
void
engine_ws_gone(struct engine_ws *w, int reason)
{
    w->conn = NULL;
    if ((w->state == WS_OPEN || w->state == WS_UPGRADING) &&
        w->inbox != NULL) { /* what it sent before it left counts */
        w->gone_reason = (enum sio_reason)reason;
        engine_later(w->e, &w->later, ws_turn);
        return;
    }
    ws_end(w, (enum sio_reason)reason);
    adapter_leave(&w->e->adapter, &w->sub);
}

/* ---- drain ---- */

static size_t
n_open(const struct engine *e)
{
    size_t n = 0;
    for (const struct engine_ws *w = e->conns; w != NULL; w = w->next)
        n++;
    return n;
}

static void
on_drain_timer(struct timer *t)
{
    struct engine_ws *w =
        (struct engine_ws *)((char *)t - offsetof(struct engine_ws, timer));
    ws_end(w, SIO_R_SHUTTING_DOWN);
}

void
ws_drain(struct engine *e)
{
    int64_t now_ms = clock_now_ms(), i = 0, n = (int64_t)n_open(e);
    for (struct engine_ws *w = e->conns; w != NULL; w = w->next, i++) {
        w->timer.fn = on_drain_timer;
        timers_arm(&e->timers, &w->timer, now_ms + i * DRAIN_SPREAD_MS / n);
    }
}

void
ws_close_all(struct engine *e)
{
    while (e->conns != NULL) {
        struct engine_ws *w = e->conns;
        w->state = WS_CLOSED;
        w->n_units = 0; /* their callbacks have run: the store is closed */
        w->conn = NULL;
        ws_release(w);
    }
}
