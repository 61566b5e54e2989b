/*
 * A WebSocket session begins: checks before the 101, its row, or the upgrade of one that
 * polls.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/ws.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/rnd.h"

#define LOOK_MS 100 /* at a session that another WebSocket may be upgrading */

/* ---- open ---- */

/* EIO_E_NONE: go on. `context`: of a bad request. */
static enum eio_error
check(struct engine *e, const struct eio_request *q, bool is_origin_ok,
      const char **context)
{
    struct store_session s;
    if (!q->has_transport || (q->transport == EIO_WEBSOCKET && !e->cfg->is_websocket))
        return EIO_E_TRANSPORT_UNKNOWN;
    enum rc rc = q->has_eio_sid ? store_read_session(e->store, q->eio_sid, &s) : RC_OK;
    if (q->has_eio_sid && rc != RC_BUSY && (rc != RC_OK || s.is_closed))
        return EIO_E_SID_UNKNOWN;
    if (q->transport != EIO_WEBSOCKET) { /* EIO-TRANSPORT-MISMATCH */
        *context = q->has_eio_sid ? "TRANSPORT_MISMATCH" : "TRANSPORT_HANDSHAKE_ERROR";
        return EIO_E_BAD_REQUEST;
    }
    if (!is_origin_ok)
        return EIO_E_FORBIDDEN;
    if (q->has_eio_sid) { /* RC_BUSY: ws_find_session looks when it speaks */
        *context = "PROTOCOL_MISMATCH";
        return rc == RC_OK && s.protocol != q->protocol ? EIO_E_BAD_REQUEST : EIO_E_NONE;
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

void
engine_ws_answer_fini(struct engine_ws_answer *a)
{
    buf_fini(&a->headers);
    buf_fini(&a->body);
}

static void
say(struct engine_ws_answer *a, int status, const char *content_type, const char *body)
{
    a->status = status;
    a->content_type = content_type;
    buf_append_z(&a->body, body);
}

static struct request *
keep(struct engine *e, const struct engine_request *r, const struct query *q)
{
    return request_is_wanted(e, &q->q) ? request_create(r, q->params, q->n, &q->q) : NULL;
}

/* EIO-WS-REFUSED */
static void
refuse(struct engine *e, const struct request *said, const struct request_error *error,
       struct engine_ws_answer *a)
{
    request_tell_error(e, said, error);
    if (error->error == EIO_E_TOO_MANY) {
        say(a, eio_error_status(error->error), "application/json", "");
        eio_error_encode(&a->body, error->error, NULL);
        buf_append_z(&a->headers, "Retry-After: 1\r\n");
    } else { /* the reference says 400 for each, with the bare text */
        say(a, 400, "text/html",
            error->text ? error->text : eio_error_text(error->error));
    }
}

static enum rc
judge(struct engine *e, const struct engine_request *r, const struct query *q,
      struct engine_ws_answer *a)
{
    char *text = NULL;
    struct request *said = keep(e, r, q);
    struct buf lines = {0};
    struct request_error error = {0};
    bool is_origin_ok = origin_check(e->cfg, r, &a->headers);
    error.error = check(e, &q->q, is_origin_ok, &error.context);
    if (error.error == EIO_E_NONE && !q->q.has_eio_sid)
        error.error = admit_handshake(e, r->remote, said, &lines, &text);
    if (error.error == EIO_E_NONE)
        request_add_headers(e, said, &lines);
    error.text = text;
    buf_append_str(&a->headers, buf_str(&lines));
    if (error.error != EIO_E_NONE)
        refuse(e, said, &error, a);
    request_destroy(said);
    buf_fini(&lines);
    free(text);
    return error.error == EIO_E_NONE ? RC_OK : RC_INVALID;
}

enum rc
engine_ws_check(struct engine *e, const struct engine_request *r,
                struct engine_ws_answer *a)
{
    struct query q;
    enum rc rc = RC_INVALID;
    buf_append_z(&a->headers, e->cfg->extra_headers);
    query_decode(&q, r);
    if (!eio_path_is_ours(r->path, e->cfg->path, e->cfg->is_slash_needed))
        say(a, 404, "text/plain", "not found\n");
    else if (e->is_draining)
        say(a, 503, "text/plain", "restarting\n");
    else
        rc = judge(e, r, &q, a);
    if (rc != RC_OK)
        count_status(&e->counts, a->status);
    buf_fini(&q.scratch);
    return rc;
}

void
engine_ws_refuse(struct engine *e, const struct engine_request *r,
                 struct engine_ws_answer *a)
{
    struct query q;
    struct request_error error = {EIO_E_TRANSPORT_UNKNOWN, NULL, NULL};
    query_decode(&q, r);
    struct request *said = keep(e, r, &q);
    if (q.q.has_transport && q.q.transport == EIO_WEBSOCKET) /* EIO-TRANSPORT-MISMATCH */
        error = (struct request_error){EIO_E_BAD_REQUEST, NULL,
                                       q.q.has_eio_sid ? "TRANSPORT_MISMATCH"
                                                       : "TRANSPORT_HANDSHAKE_ERROR"};
    request_tell_error(e, said, &error);
    buf_append_z(&a->headers, e->cfg->extra_headers);
    say(a, eio_error_status(error.error), "application/json", "");
    eio_error_encode(&a->body, error.error, NULL);
    count_status(&e->counts, a->status);
    request_destroy(said);
    buf_fini(&q.scratch);
}

static void
on_created(void *arg, const struct store_result *r)
{
    struct engine_ws *w = arg;
    struct engine *e = w->e;
    w->n_units--;
    if (r->rc != RC_OK) {
        log_error("engine", "handshake.failed", LOG_Z("code", rc_text(r->rc)),
                  LOG_Z("error", r->error));
        ws_end(w, SIO_R_NONE);
        ws_release(w);
        return;
    }
    w->sub.session_id = r->lease.session_id;
    w->gen = r->lease.gen;
    if (w->state == WS_CLOSED) { /* left meanwhile */
        session_close(e, w->sub.session_id, SIO_R_TRANSPORT_CLOSE);
        ws_release(w);
        return;
    }
    w->state = WS_OPEN;
    w->sub.from_seq = store_last_seq(e->store);
    adapter_enter(&e->adapter, &w->sub);
    ws_arm(w);
    log_info("engine", "session.open", LOG_I("session", w->sub.session_id),
             LOG_Z("transport", "websocket"), LOG_I("protocol", w->protocol));
    if (w->protocol == 3)
        ws_join_main(w);
    if (w->inbox != NULL)
        engine_later(e, &w->later, ws_turn);
}

/* The open packet says nothing that the commit could change, but nobody may know the id
 * before it (design 4.5). */
struct opening {
    struct engine_ws *w;
    char eio_sid[RND_ID_LEN + 1];
};

/* EIO-WS-OPEN */
static void
on_opening(void *arg, const struct store_result *r)
{
    struct opening *o = arg;
    struct engine_ws *w = o->w;
    const struct cfg *cfg = w->e->cfg;
    if (r->rc == RC_OK && w->state == WS_OPENING) {
        struct buf b;
        struct eio_open open = {o->eio_sid, false, cfg->ping_interval_ms,
                                cfg->ping_timeout_ms, cfg->max_payload_bytes};
        buf_init(&b);
        buf_append_c(&b, '0' + EIO_OPEN);
        eio_open_encode(&b, &open);
        buf_append_c(&b, '\0');
        ws_send_text(w, b.p);
        /* EIO-INITIAL */
        if (cfg->initial_packet[0] != '\0') {
            buf_clear(&b);
            buf_append_c(&b, '0' + EIO_MESSAGE);
            buf_append_z(&b, cfg->initial_packet);
            buf_append_c(&b, '\0');
            ws_send_text(w, b.p);
        }
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
    ws_plan_ping(w, now_ms);
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

/* Not one that has upgraded, or that another WebSocket is upgrading. */
static bool
can_upgrade(const struct engine_ws *w, const struct store_session *s)
{
    return !s->is_closed && !s->is_websocket && s->protocol == w->protocol &&
           (s->upgrade_id == 0 || s->upgrade_due_ms <= clock_now_ms() ||
            !store_process_is_alive(w->e->store, s->upgrade_id));
}

bool
ws_find_session(struct engine_ws *w)
{
    struct engine *e = w->e;
    struct store_session s;
    enum rc rc = store_read_session(e->store, str_of(w->eio_sid), &s);
    if (rc == RC_BUSY)
        return false;
    if (rc != RC_OK || !can_upgrade(w, &s)) {
        ws_end(w, SIO_R_NONE); /* EIO-UPGRADE-TWICE: accepted, then closed */
        return true;
    }
    w->sub.session_id = s.session_id;
    w->sub.from_seq = store_last_seq(e->store);
    /* Without sockets: it only hears of the session's end. */
    adapter_enter(&e->adapter, &w->sub);
    if (w->protocol == 4) {
        free(w->eio_sid);
        w->eio_sid = NULL;
    }
    return true;
}

void
ws_wait(struct engine_ws *w)
{
    struct engine *e = w->e;
    struct store_session s;
    int64_t now_ms = clock_now_ms();
    bool is_taken = w->sub.session_id != 0 &&
                    store_read_session_by_id(e->store, w->sub.session_id, &s) == RC_OK &&
                    !can_upgrade(w, &s);
    if (is_taken || now_ms >= w->due_ms) /* EIO-UPGRADE-TWICE, EIO-UPGRADE-TIMEOUT */
        ws_end(w, SIO_R_NONE);
    else
        timers_arm(&e->timers, &w->timer,
                   w->due_ms < now_ms + LOOK_MS ? w->due_ms : now_ms + LOOK_MS);
}

struct engine_ws *
engine_ws_open(struct engine *e, const struct engine_request *r, void *conn)
{
    struct engine_ws *w = ws_create(e, conn);
    struct query q;
    query_decode(&q, r);
    w->protocol = (uint8_t)q.q.protocol;
    w->sub.ops = &ws_ops;
    w->is_base64 = q.q.is_b64; /* EIO-BASE64 */
    ws_set_parser(w, SIO_PARSER_JSON, w->protocol == 4);
    w->timer.fn = ws_on_timer;
    w->gap_timer.fn = ws_on_gap_end;
    if (!q.q.has_eio_sid) {
        w->state = WS_OPENING;
        open_session(w, r, &q);
    } else {
        w->state = WS_WAITING;
        w->eio_sid = str_dup(q.q.eio_sid);
        w->due_ms = clock_now_ms() + e->cfg->upgrade_timeout_ms;
        if (!ws_find_session(w) || w->state == WS_WAITING) /* false: when it speaks */
            ws_wait(w);
    }
    buf_fini(&q.scratch);
    return w;
}
