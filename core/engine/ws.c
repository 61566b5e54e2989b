/*
 * A WebSocket session: opened directly, or taken over from polling by an upgrade (design 7).
 *
 *     OPENING ──created──────────────────────────────► OPEN ──► CLOSED
 *     WAITING ──2probe──► PROBING ──claimed, 3probe──► PROBED ──5──► UPGRADING ──committed──► OPEN
 *
 * OPENING    the session row is being made; nothing is read.
 * WAITING    an upgrade that has said nothing yet; anything but a probe ends it, polling goes on.
 * PROBED     this process is upgrade owner; polling still carries everything.
 * UPGRADING  `5` came; messages wait.
 * OPEN       the lease is ours in generation `gen`; only we send.
 * CLOSED     the connection is being closed or gone; freed when no unit of it is under way.
 *
 * Invariants:
 * 1. A message is handled only while no unit of this session that changes more than packets waits for its commit, so a
 *    handler sees the effects of the messages before it.
 * 2. Packets go the short way only while no unit of this session is under way, so none overtakes another.
 * 3. What follows a CONNECT reply leaves in a write of its own, CONNECT_GAP_MS later (`held`). The reference has this gap
 *    too, by its wait for the drain, and clients that await one message after another rely on it.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/rnd.h"
#include "core/eio/payload.h"
#include "core/engine/work.h"

#define INBOX_BYTES_MAX (256 * 1024)
#define CODE_NORMAL 1000
#define CODE_ERROR 1011
#define CODE_RESTART 1012
#define DRAIN_SPREAD_MS 1000
#define CONNECT_GAP_MS 3

enum ws_state { WS_OPENING, WS_WAITING, WS_PROBING, WS_PROBED, WS_UPGRADING, WS_OPEN, WS_CLOSED };

struct message {
    struct message *next;
    bool is_binary;
    size_t len;
    char data[];
};

struct engine_ws {
    struct engine_ws *next, **at;
    struct engine *e;
    void *conn;          /* NULL: the front has let go of it */
    enum ws_state state;
    uint8_t protocol;
    bool is_pinged, is_extended, is_paused; /* is_extended: the wait for the pong, once */
    uint32_t n_units;       /* under way */
    uint32_t n_state_units; /* of these, those that change more than packets */
    int64_t gen;
    int64_t cursor_seq;     /* UPGRADING: where polling came to */
    int64_t ping_ms, due_ms, connect_due_ms;
    struct sub sub;
    struct timer timer, gap_timer; /* gap_timer is armed while packets are held */
    struct due held;
    struct later later;
    struct partial *partial;
    char *eio_sid;       /* SECRET; revision 3 only, owned: part of its socket ids */
    struct message *inbox, **inbox_end;
    size_t n_inbox_bytes;
    enum sio_reason gone_reason; /* the peer has left, messages of it still wait; SIO_R_NONE: no */
};

static void ws_turn(struct later *l);

/* ---- life ---- */

static struct engine_ws *
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

static void
release(struct engine_ws *w)
{
    if (w->state != WS_CLOSED || w->n_units > 0 || w->conn != NULL)
        return;
    adapter_leave(&w->e->adapter, &w->sub);
    timers_disarm(&w->e->timers, &w->timer);
    timers_disarm(&w->e->timers, &w->gap_timer);
    due_clear(&w->held);
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

/* Ends our part: the lease if it is ours (reason), the upgrade if it was under way. The connection follows in ws_turn. */
static void
end(struct engine_ws *w, enum sio_reason reason)
{
    struct engine *e = w->e;
    enum ws_state was = w->state;
    if (was == WS_CLOSED)
        return;
    w->state = WS_CLOSED;
    inbox_clear(w);
    if (was == WS_OPEN && reason != SIO_R_NONE) {
        session_close(e, w->sub.session_id, reason);
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

/* ---- sending ---- */

static void
send_frames(struct engine_ws *w, struct frame *f)
{
    if (w->conn != NULL)
        w->e->ws->send(w->conn, f);
}

static void
send_text(struct engine_ws *w, const char *text)
{
    struct frame *f = frame_of(str_of(text));
    f->is_plain = true;
    send_frames(w, f);
    frame_unref(f);
}

static struct engine_ws *
ws_of_sub(struct sub *s)
{
    return (struct engine_ws *)((char *)s - offsetof(struct engine_ws, sub));
}

/* What a recovered socket missed follows its CONNECT reply: the official client would handle events that come before it
 * twice over WebSocket (design 7). Rows that wait behind the gap are kept in their order. */
static void
replay(struct engine_ws *w, const struct store_packet *connect)
{
    struct due missed = {0};
    enum rc rc = session_replay(w->e, connect, &missed);
    for (size_t i = 0; i < missed.n && rc == RC_OK; i++)
        due_add(&w->held, missed.p[i]);
    due_clear(&missed);
    if (rc != RC_OK) { /* never a partial `recovered` */
        end(w, SIO_R_TRANSPORT_ERROR);
        return;
    }
    struct store_unit *u = store_unit_create();
    store_unit_caught_up(u, w->sub.session_id, w->gen, connect->seq);
    engine_submit(w->e, u, NULL, NULL);
}

static void
on_event(struct sub *s, struct store_packet *p, struct frame *f)
{
    struct engine_ws *w = ws_of_sub(s);
    bool is_held = w->gap_timer.pos != 0;
    if (w->conn == NULL || w->state != WS_OPEN ||
        (p->is_volatile && (is_held || !w->e->ws->is_writable(w->conn))))
        return;
    if (is_held) {
        due_add(&w->held, p);
        return;
    }
    w->e->ws->send(w->conn, f);
    if (p->kind == STORE_CONNECT)
        w->connect_due_ms = 0; /* it is not armed again (8.19) */
    if (p->kind == STORE_CONNECT && w->protocol == 4)
        timers_arm(&w->e->timers, &w->gap_timer, clock_now_ms() + CONNECT_GAP_MS);
    if (p->kind == STORE_CONNECT && p->arg_id != 0)
        replay(w, p);
}

/* The connection ends: what was held goes before. */
static void
flush_held(struct engine_ws *w)
{
    timers_disarm(&w->e->timers, &w->gap_timer);
    for (size_t i = 0; i < w->held.n; i++)
        send_frames(w, engine_frames(w->e, w->held.p[i], w->sub.form));
    due_clear(&w->held);
}

static void
on_gap_end(struct timer *t)
{
    struct engine_ws *w = (struct engine_ws *)((char *)t - offsetof(struct engine_ws, gap_timer));
    struct due held = w->held;
    w->held = (struct due){0};
    for (size_t i = 0; i < held.n; i++) { /* a further CONNECT among them holds the rest again */
        on_event(&w->sub, held.p[i], engine_frames(w->e, held.p[i], w->sub.form));
    }
    due_clear(&held);
}

static void
on_noop(struct sub *s)
{
    (void)s;
}

static void
on_close(struct sub *s, struct str reason)
{
    (void)reason;
    end(ws_of_sub(s), SIO_R_NONE); /* the row says that it is closed already */
}

static const struct sub_ops ws_ops = {on_event, on_noop, on_close};

/* ---- heartbeat and deadlines ---- */

static void
arm(struct engine_ws *w)
{
    int64_t due_ms = w->is_pinged || w->protocol == 3 ? w->due_ms : w->ping_ms;
    if (w->connect_due_ms != 0 && w->connect_due_ms < due_ms)
        due_ms = w->connect_due_ms;
    timers_arm(&w->e->timers, &w->timer, due_ms);
}

static void
plan_ping(struct engine_ws *w, int64_t now_ms)
{
    w->ping_ms = session_ping_ms(w->e->cfg, now_ms);
    w->due_ms = w->ping_ms + w->e->cfg->ping_timeout_ms;
    w->is_pinged = w->is_extended = false;
}

static void
on_timer(struct timer *t)
{
    struct engine_ws *w = (struct engine_ws *)((char *)t - offsetof(struct engine_ws, timer));
    int64_t now_ms = clock_now_ms();
    if (w->state != WS_OPEN) { /* WAITING … UPGRADING: the upgrade took too long */
        end(w, SIO_R_NONE);
        return;
    }
    if (w->connect_due_ms != 0 && now_ms >= w->connect_due_ms) {
        end(w, SIO_R_FORCED_SERVER_CLOSE); /* SIO-CONNECT-TIMEOUT */
        return;
    }
    if (now_ms >= w->due_ms) {
        end(w, SIO_R_PING_TIMEOUT); /* EIO-PING-TIMEOUT */
        return;
    }
    if (!w->is_pinged && w->protocol != 3 && now_ms >= w->ping_ms) {
        w->is_pinged = true;
        w->due_ms = now_ms + w->e->cfg->ping_timeout_ms;
        send_text(w, "2");
    }
    arm(w);
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
    if (r->rc == RC_CONFLICT) {
        end(w, SIO_R_NONE);
    } else if (r->rc != RC_OK && r->rc != RC_INVALID) {
        log_error("engine", "ws.failed", LOG_Z("code", rc_text(r->rc)), LOG_Z("error", r->error));
        end(w, SIO_R_TRANSPORT_ERROR);
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
            send_frames(w, wire_frames(k->direct[i].p, str_of(k->direct[i].to->nsp_name), w->sub.form, 0));
        return;
    }
    struct store_unit *u = k->u;
    k->u = NULL;
    w->n_units++;
    w->n_state_units += k->changes_state;
    engine_submit(e, u, k->changes_state ? on_state_done : on_packets_done, w);
}

/* `p` NULL: nothing was received; a revision 3 session joins `/` by itself. */
static void
on_message(struct engine_ws *w, const struct eio_packet *p, int64_t now_ms)
{
    if (w->partial == NULL)
        w->partial = xcalloc(1, sizeof *w->partial);
    struct work k = {
        .eio_sid = w->eio_sid,
        .e = w->e,
        .now_ms = now_ms,
        .session_id = w->sub.session_id,
        .protocol = w->protocol,
        .transport = EIO_WEBSOCKET,
        .has_transport = true,
        .sub = &w->sub,
        .partial = w->partial,
        .may_go_direct = w->e->cfg->recovery_ms == 0 && w->n_units == 0 && w->gap_timer.pos == 0,
        .guard = add_guard,
        .guard_id = w->sub.session_id,
        .guard_gen = w->gen,
    };
    if (p != NULL)
        input_message(&k, p->is_binary, p->data);
    else
        connect_main(&k);
    finish(w, &k);
    work_fini(&k);
    if (w->partial->n_owed == 0 && w->partial->text.cap == 0) {
        free(w->partial);
        w->partial = NULL;
    }
}

static void
on_packet(struct engine_ws *w, const struct eio_packet *p)
{
    int64_t now_ms = clock_now_ms();
    switch (p->type) {
    case EIO_MESSAGE:
        if (w->is_pinged && !w->is_extended) {
            w->is_extended = true;
            w->due_ms = now_ms + w->e->cfg->ping_timeout_ms; /* the timer looks again when it fires */
        }
        on_message(w, p, now_ms);
        return;
    case EIO_PONG:
    case EIO_PING:
        if ((p->type == EIO_PONG) != (w->protocol == 4)) {
            end(w, SIO_R_TRANSPORT_ERROR); /* EIO-HEARTBEAT-DIRECTION */
            return;
        }
        plan_ping(w, now_ms);
        arm(w);
        if (w->protocol == 3)
            send_text(w, "3");
        return;
    case EIO_CLOSE:
        end(w, SIO_R_TRANSPORT_CLOSE);
        return;
    case EIO_OPEN:
    case EIO_UPGRADE:
    case EIO_NOOP:
        return;
    }
}

/* ---- upgrade ---- */

static void
on_claimed(void *arg, const struct store_result *r)
{
    struct engine_ws *w = arg;
    w->n_units--;
    if (w->state == WS_CLOSED) {
        release(w);
    } else if (r->rc != RC_OK) {
        w->state = WS_WAITING; /* nothing of ours to take back */
        end(w, SIO_R_NONE);
    } else {
        w->state = WS_PROBED;
        send_text(w, "3probe");
    }
}

static void
caught_up(struct engine_ws *w)
{
    struct engine *e = w->e;
    struct due due = {0};
    struct store_session s = {0};
    int64_t max_seq;
    enum rc rc = store_read_begin(e->store, &max_seq);
    adapter_leave(&e->adapter, &w->sub);
    if (rc == RC_OK) {
        rc = store_read_session_by_id(e->store, w->sub.session_id, &s);
        if (rc == RC_OK && s.has_partial && w->partial == NULL) {
            w->partial = xcalloc(1, sizeof *w->partial);
            rc = partial_load(w->partial, e, &s);
        }
        if (rc == RC_OK)
            rc = session_load(e, &w->sub, w->cursor_seq, max_seq, &due);
        store_read_end(e->store);
    }
    if (rc == RC_BUSY) {
        adapter_leave(&e->adapter, &w->sub);
        engine_later(e, &w->later, ws_turn);
    } else if (rc != RC_OK || s.is_closed) {
        w->state = WS_OPEN; /* below the horizon, or closed meanwhile: end it, never skip */
        end(w, SIO_R_TRANSPORT_ERROR);
    } else {
        w->state = WS_OPEN;
        adapter_enter(&e->adapter, &w->sub);
        for (size_t i = 0; i < due.n; i++)
            on_event(&w->sub, due.p[i], engine_frames(e, due.p[i], w->sub.form));
        struct store_unit *u = store_unit_create();
        store_unit_caught_up(u, w->sub.session_id, w->gen, max_seq);
        engine_submit(e, u, NULL, NULL);
        w->ping_ms = s.ping_ms;
        w->is_pinged = s.is_pinged;
        w->due_ms = s.ping_ms + e->cfg->ping_timeout_ms;
        w->connect_due_ms = s.connect_due_ms;
        arm(w);
        log_info("engine", "session.upgrade", LOG_I("session", w->sub.session_id));
    }
    due_clear(&due);
}

static void
on_upgraded(void *arg, const struct store_result *r)
{
    struct engine_ws *w = arg;
    w->n_units--;
    if (r->rc != RC_OK && w->state == WS_UPGRADING) {
        end(w, SIO_R_NONE); /* too late: polling goes on */
        return;
    }
    w->gen = r->lease.gen;
    w->cursor_seq = r->lease.cursor_seq;
    if (w->state == WS_CLOSED) { /* the peer left in the middle of it, and the session is ours now */
        if (r->rc == RC_OK)
            session_close(w->e, w->sub.session_id, SIO_R_TRANSPORT_CLOSE);
        release(w);
        return;
    }
    caught_up(w);
    if (w->inbox != NULL)
        engine_later(w->e, &w->later, ws_turn);
}

static void
on_upgrade_packet(struct engine_ws *w, const struct eio_packet *p)
{
    struct engine *e = w->e;
    struct store_session s;
    if (w->state == WS_WAITING && p->type == EIO_PING && str_eqz(p->data, "probe") &&
        store_read_session_by_id(e->store, w->sub.session_id, &s) == RC_OK) {
        int64_t now_ms = clock_now_ms();
        int64_t dead_id = s.upgrade_id != 0 && !store_process_is_alive(e->store, s.upgrade_id) ? s.upgrade_id : 0;
        struct store_unit *u = store_unit_create();
        store_unit_upgrade_claim(u, w->sub.session_id, dead_id, now_ms + e->cfg->upgrade_timeout_ms, now_ms);
        w->state = WS_PROBING;
        w->n_units++;
        engine_submit(e, u, on_claimed, w);
    } else if (w->state == WS_PROBED && p->type == EIO_UPGRADE) {
        struct store_unit *u = store_unit_create();
        store_unit_upgrade_commit(u, w->sub.session_id);
        w->state = WS_UPGRADING;
        w->n_units++;
        engine_submit(e, u, on_upgraded, w);
    } else {
        end(w, SIO_R_NONE); /* EIO-UPGRADE-OTHER: polling is left alone */
    }
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

static bool
can_handle(const struct engine_ws *w)
{
    switch (w->state) {
    case WS_WAITING:
    case WS_PROBED:
        return true;
    case WS_OPEN:
        return w->n_state_units == 0; /* invariant 1 */
    case WS_OPENING:
    case WS_PROBING:
    case WS_UPGRADING:
    case WS_CLOSED:
        return false;
    }
    return false;
}

/* False: the store can't be read just now; nothing was done. */
static bool
take(struct engine_ws *w, bool is_binary, struct str data)
{
    struct eio_packet p;
    if (store_fence(w->e->store) != RC_OK)
        return false;
    if (w->state == WS_CLOSED) /* the fence brought its end */
        return true;
    struct buf scratch; /* base64 of revision 3 clients that take no binary */
    buf_init(&scratch);
    enum rc rc = w->protocol == 3 ? eio_packet_decode_base64(3, is_binary, data, &scratch, &p)
                                  : eio_packet_decode(w->protocol, is_binary, data, &p);
    if (rc != RC_OK)
        end(w, SIO_R_PARSE_ERROR);
    else if (w->state == WS_OPEN)
        on_packet(w, &p);
    else
        on_upgrade_packet(w, &p);
    buf_fini(&scratch);
    return true;
}

static void
ws_turn(struct later *l)
{
    struct engine_ws *w = (struct engine_ws *)((char *)l - offsetof(struct engine_ws, later));
    if (w->state == WS_CLOSED) {
        adapter_leave(&w->e->adapter, &w->sub);
        timers_disarm(&w->e->timers, &w->timer);
        flush_held(w);
        close_conn(w, w->e->is_draining ? CODE_RESTART : CODE_NORMAL);
        release(w);
        return;
    }
    if (w->state == WS_UPGRADING && w->n_units == 0)
        caught_up(w);
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
        end(w, w->gone_reason);
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
    enqueue(w, is_binary, message);
    if (can_handle(w))
        engine_later(w->e, &w->later, ws_turn);
}

void
engine_ws_gone(struct engine_ws *w, int reason)
{
    w->conn = NULL;
    if ((w->state == WS_OPEN || w->state == WS_UPGRADING) && w->inbox != NULL) { /* what it sent before it left counts */
        w->gone_reason = (enum sio_reason)reason;
        engine_later(w->e, &w->later, ws_turn);
        return;
    }
    end(w, (enum sio_reason)reason);
    adapter_leave(&w->e->adapter, &w->sub);
}

/* ---- open ---- */

static enum eio_error
check(struct engine *e, const struct engine_request *r, const struct eio_request *q, struct store_session *s)
{
    struct buf headers;
    buf_init(&headers);
    bool is_origin_ok = origin_check(e->cfg, r, &headers);
    buf_fini(&headers);
    if (!q->has_transport || (q->transport == EIO_WEBSOCKET && !e->cfg->is_websocket))
        return EIO_E_TRANSPORT_UNKNOWN;
    if (q->transport != EIO_WEBSOCKET)
        return EIO_E_BAD_REQUEST; /* EIO-TRANSPORT-MISMATCH */
    if (!is_origin_ok)
        return EIO_E_FORBIDDEN;
    if (q->has_eio_sid) {
        if (store_read_session(e->store, q->eio_sid, s) != RC_OK || s->is_closed)
            return EIO_E_SID_UNKNOWN;
        return s->protocol != q->protocol ? EIO_E_BAD_REQUEST : EIO_E_NONE;
    }
    if (q->protocol == 3 && !e->cfg->is_eio3)
        return EIO_E_BAD_PROTOCOL;
    return EIO_E_NONE;
}

struct query {
    struct buf scratch;
    struct eio_param params[EIO_PARAMS_MAX];
    size_t n;
    struct eio_request q;
};

static void
query_decode(struct query *q, const struct engine_request *r)
{
    buf_init(&q->scratch);
    q->n = 0;
    if (eio_query_decode(r->query, &q->scratch, q->params, &q->n) != RC_OK)
        q->n = 0;
    eio_request_decode(q->params, q->n, &q->q);
}

enum rc
engine_ws_check(struct engine *e, const struct engine_request *r, int *status, const char **content_type, struct buf *body)
{
    struct query q;
    struct store_session s;
    enum rc rc = RC_INVALID;
    query_decode(&q, r);
    if (!eio_path_is_ours(r->path, e->cfg->path)) {
        *status = 404;
        *content_type = "text/plain";
        buf_append_z(body, "not found\n");
    } else if (e->is_draining) {
        *status = 503;
        *content_type = "text/plain";
        buf_append_z(body, "restarting\n");
    } else {
        enum eio_error error = check(e, r, &q.q, &s);
        if (error == EIO_E_NONE) {
            rc = RC_OK;
        } else {
            *status = 400; /* the reference says 400 for each, with the bare text */
            *content_type = "text/html";
            buf_append_z(body, eio_error_text(error));
        }
    }
    buf_fini(&q.scratch);
    return rc;
}

static void
on_created(void *arg, const struct store_result *r)
{
    struct engine_ws *w = arg;
    struct engine *e = w->e;
    w->n_units--;
    if (r->rc != RC_OK) {
        log_error("engine", "handshake.failed", LOG_Z("code", rc_text(r->rc)), LOG_Z("error", r->error));
        end(w, SIO_R_NONE);
        release(w);
        return;
    }
    w->sub.session_id = r->lease.session_id;
    w->gen = r->lease.gen;
    if (w->state == WS_CLOSED) { /* left meanwhile */
        session_close(e, w->sub.session_id, SIO_R_TRANSPORT_CLOSE);
        release(w);
        return;
    }
    w->state = WS_OPEN;
    w->sub.from_seq = store_last_seq(e->store);
    adapter_enter(&e->adapter, &w->sub);
    arm(w);
    log_info("engine", "session.open", LOG_I("session", w->sub.session_id), LOG_Z("transport", "websocket"),
             LOG_I("protocol", w->protocol));
    if (w->protocol == 3)
        on_message(w, NULL, clock_now_ms());
    if (w->inbox != NULL)
        engine_later(e, &w->later, ws_turn);
}

/* The open packet says nothing that the commit could change, but nobody may know the id before it (design 4.5). */
struct opening {
    struct engine_ws *w;
    char eio_sid[RND_ID_LEN + 1];
};

static void
on_opening(void *arg, const struct store_result *r)
{
    struct opening *o = arg;
    struct engine_ws *w = o->w;
    const struct cfg *cfg = w->e->cfg;
    if (r->rc == RC_OK && w->state == WS_OPENING) {
        struct buf b;
        struct eio_open open = {o->eio_sid, false, cfg->ping_interval_ms, cfg->ping_timeout_ms, cfg->max_payload_bytes};
        buf_init(&b);
        buf_append_c(&b, '0' + EIO_OPEN);
        eio_open_encode(&b, &open);
        buf_append_c(&b, '\0');
        send_text(w, b.p);
        buf_fini(&b);
    }
    free(o);
    on_created(w, r);
}

static void
open_session(struct engine_ws *w, const struct engine_request *r, const struct query *q)
{
    struct engine *e = w->e;
    int64_t now_ms = clock_now_ms();
    struct opening *o = xcalloc(1, sizeof *o);
    struct buf handshake;
    o->w = w;
    rnd_id(o->eio_sid);
    if (q->q.protocol == 3)
        w->eio_sid = xstrdup(o->eio_sid);
    buf_init(&handshake);
    session_handshake_encode(&handshake, r, q->params, q->n);
    plan_ping(w, now_ms);
    w->connect_due_ms = now_ms + e->cfg->connect_timeout_ms;
    struct store_session_new new = {
        .eio_sid = str_of(o->eio_sid),
        .protocol = q->q.protocol,
        .is_websocket = true,
        .remote = r->remote,
        .handshake = buf_str(&handshake),
        .now_ms = now_ms,
        .ping_ms = w->ping_ms,
        .due_ms = w->due_ms,
        .connect_due_ms = w->connect_due_ms,
    };
    struct store_unit *u = store_unit_create();
    store_unit_session_create(u, &new);
    buf_fini(&handshake);
    w->n_units++;
    engine_submit(e, u, on_opening, o);
}

struct engine_ws *
engine_ws_open(struct engine *e, const struct engine_request *r, void *conn)
{
    struct engine_ws *w = ws_create(e, conn);
    struct query q;
    struct store_session s;
    query_decode(&q, r);
    w->protocol = (uint8_t)q.q.protocol;
    w->sub.ops = &ws_ops;
    w->sub.form = engine_form(e, q.q.protocol);
    w->timer.fn = on_timer;
    w->gap_timer.fn = on_gap_end;
    if (!q.q.has_eio_sid) {
        w->state = WS_OPENING;
        open_session(w, r, &q);
    } else if (store_read_session(e->store, q.q.eio_sid, &s) != RC_OK || s.is_closed || s.is_websocket ||
               (s.upgrade_id != 0 && s.upgrade_due_ms > clock_now_ms() && store_process_is_alive(e->store, s.upgrade_id))) {
        w->state = WS_WAITING; /* EIO-UPGRADE-TWICE: accepted, then closed */
        end(w, SIO_R_NONE);
    } else {
        w->state = WS_WAITING;
        w->sub.session_id = s.session_id;
        if (q.q.protocol == 3)
            w->eio_sid = str_dup(q.q.eio_sid);
        w->sub.from_seq = store_last_seq(e->store);
        adapter_enter(&e->adapter, &w->sub); /* without sockets: it only hears of the session's end */
        timers_arm(&e->timers, &w->timer, clock_now_ms() + e->cfg->upgrade_timeout_ms);
    }
    buf_fini(&q.scratch);
    return w;
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
    struct engine_ws *w = (struct engine_ws *)((char *)t - offsetof(struct engine_ws, timer));
    end(w, SIO_R_SHUTTING_DOWN);
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
        release(w);
    }
}
