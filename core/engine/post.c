/*
 * A POST: a payload from the client, handled as one unit, answered after its commit
 * (design 4.3, 4.5).
 *
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/eio/payload.h"
#include "core/engine/work.h"

#define TEXT_HTML "text/html"
#define GOODBYE_MS 20 /* so long a poll may be on its way to another process */

static void
add_guard(struct work *w)
{
    store_unit_guard_post(w->u, w->guard_id, w->guard_gen);
}

static void
on_done(void *arg, const struct store_result *r)
{
    struct engine_http *h = arg, *rider = h->rider;
    switch (r->rc) {
    /* EIO-POST */
    case RC_OK:
    case RC_INVALID: /* the application's SQL failed: its effects are dropped, the client
                        did nothing wrong */
        http_answer(h, 200, TEXT_HTML, STR("ok"), false);
        break;
    case RC_CONFLICT: /* EIO-POST-OVERLAP */
        http_close_session(h, false);
        break;
    case RC_NOMEM:
    case RC_TOOBIG:
    case RC_NOTFOUND:
    case RC_BUSY:
    case RC_IO:
        log_error("engine", "post.failed", LOG_Z("code", rc_text(r->rc)),
                  LOG_Z("error", r->error));
        http_answer_empty(h, 503);
        break;
    }
    if (rider != NULL)
        poll_ridden(rider, r);
}

/* Heartbeat: a pong plans the next ping; another packet while a pong is awaited gives it
 * more time, once (1.1). */
static void
beat(struct work *w, const struct store_session *s, bool is_pong)
{
    const struct cfg *cfg = w->e->cfg;
    if (is_pong) {
        int64_t ping_ms = session_ping_ms(cfg, w->now_ms);
        store_unit_heartbeat(work_unit(w), s->session_id, ping_ms, false,
                             session_due_ms(cfg, ping_ms, s->connect_due_ms));
    } else if (s->is_pinged && s->due_ms <= s->ping_ms + cfg->ping_timeout_ms) {
        /* EIO-PING-EXTEND */
        int64_t due_ms = w->now_ms + cfg->ping_timeout_ms;
        if (s->connect_due_ms != 0 && s->connect_due_ms < due_ms)
            due_ms = s->connect_due_ms;
        store_unit_heartbeat(work_unit(w), s->session_id, s->ping_ms, true, due_ms);
    }
}

static void
one_packet(struct work *w, const struct store_session *s, const struct eio_packet *p)
{
    switch (p->type) {
    case EIO_MESSAGE:
        input_message(w, p->is_binary, p->data);
        return;
    case EIO_PONG:
    case EIO_PING:
        if ((p->type == EIO_PONG) != (s->protocol == 4)) {
            work_close(w, SIO_R_TRANSPORT_ERROR); /* EIO-HEARTBEAT-DIRECTION */
            return;
        }
        beat(w, s, true);
        if (s->protocol == 3) /* EIO-V3-PONG: whoever holds the session's GET answers */
            work_send_session(w, NULL,
                              store_packet_create(STORE_PONG, STR_NONE, STR_NONE));
        return;
    case EIO_CLOSE:
        work_close(w, SIO_R_TRANSPORT_CLOSE);
        return;
    /* EIO-IGNORED */
    case EIO_OPEN:
    case EIO_UPGRADE:
    case EIO_NOOP:
        return; /* ignored (8.17) */
    }
}

/* How revision 3 text is encoded is found out once for the session (EIO-V3-TEXT). */
enum { TEXT_UNKNOWN, TEXT_ONCE, TEXT_TWICE }; /* t_session.utf8 */

static void
note_text(struct work *w, const struct store_session *s,
          const struct eio_payload_reader *reader)
{
    int utf8 = reader->is_single_utf8   ? TEXT_ONCE
               : reader->is_double_utf8 ? TEXT_TWICE
                                        : TEXT_UNKNOWN;
    if (utf8 != s->utf8)
        store_unit_session_utf8(work_unit(w), s->session_id, utf8);
}

static void
payload(struct work *w, const struct engine_http *h, struct str body)
{
    struct eio_payload_reader reader = {0};
    struct eio_packet p;
    enum rc rc = RC_OK;
    bool has_pong = false, has_other = false;
    eio_payload_read_init(&reader, h->session.protocol, h->is_octets, body);
    reader.is_single_utf8 = h->session.utf8 == TEXT_ONCE;
    reader.is_double_utf8 = h->session.utf8 == TEXT_TWICE;
    while (w->close_reason == SIO_R_NONE && !w->is_over &&
           (rc = eio_payload_read(&reader, &p)) == RC_OK) {
        has_pong |= p.type == EIO_PONG || p.type == EIO_PING;
        has_other |= p.type == EIO_MESSAGE;
        one_packet(w, &h->session, &p);
        reader.is_double_utf8 |= w->is_1x && !reader.is_single_utf8;
    }
    note_text(w, &h->session, &reader);
    if (w->close_reason == SIO_R_NONE && !w->is_over && rc != RC_NOTFOUND)
        work_close(w, SIO_R_PARSE_ERROR); /* EIO-PARSE */
    if (has_other && !has_pong && w->close_reason == SIO_R_NONE && !w->is_over)
        beat(w, &h->session, false);
    eio_payload_read_fini(&reader);
}

/* The session's poll comes right behind, mostly: it is looked for at the end of the turn.
 */
static void
offer(struct engine *e, struct engine_http *h, struct store_unit *u)
{
    struct rides *r = &e->rides;
    if (r->n == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 16;
        r->p = xrealloc(r->p, r->cap * sizeof *r->p);
    }
    r->p[r->n++] = (struct ride){h, u};
}

void
post_rides(struct engine *e)
{
    for (size_t i = 0; i < e->rides.n; i++) {
        struct engine_http *h = e->rides.p[i].post;
        h->rider = poll_ride(e, e->rides.p[i].unit, h->session.session_id);
    }
    e->rides.n = 0;
}

static enum rc
handle(struct engine_http *h, struct str body)
{
    struct engine *e = h->e;
    struct partial part = {0};
    struct work w = {
        .e = e,
        .now_ms = clock_now_ms(),
        .session_id = h->session.session_id,
        .protocol = h->session.protocol,
        .parser = (enum sio_parser)h->session.parser,
        .can_choose_parser = session_can_choose_parser(&h->session),
        .transport = EIO_POLLING,
        .has_transport = true,
        .eio_sid = h->eio_sid,
        .due_ms = h->session.ping_ms + e->cfg->ping_timeout_ms,
        .partial = &part,
        .guard = add_guard,
        .guard_id = h->session.session_id,
        .guard_gen = h->session.post_gen,
    };
    enum rc rc = partial_load(&part, e, &h->session);
    if (rc == RC_OK)
        rc = work_load_sockets(&w);
    if (rc == RC_OK) {
        payload(&w, h, body);
        if (w.is_busy)
            rc = RC_BUSY;
    }
    if (rc == RC_OK) {
        if (part.is_changed)
            store_unit_partial(work_unit(&w), w.session_id, buf_str(&part.text),
                               buf_str(&part.attachments));
        if (w.close_reason != SIO_R_NONE)
            session_close_step(e, work_unit(&w), w.session_id, w.close_reason);
        if (w.u == NULL) {
            http_answer(h, 200, TEXT_HTML, STR("ok"), false);
        } else {
            struct store_unit *u = w.u;
            w.u = NULL;
            h->state = HTTP_BUSY;
            if (w.has_own && w.close_reason == SIO_R_NONE)
                offer(e, h, u);
            engine_submit(e, u, on_done, h);
        }
    }
    work_fini(&w);
    partial_fini(&part);
    return rc;
}

static bool
judge(struct engine_http *h, bool is_too_big)
{
    struct engine *e = h->e;
    const struct store_session *s = &h->session;
    int64_t now_ms = clock_now_ms();
    if (s->is_closed || session_is_dead(s, now_ms)) {
        if (!s->is_closed)
            session_expire(e, s, now_ms);
        http_answer_error(h, EIO_E_SID_UNKNOWN, NULL);
    } else if (s->protocol != h->protocol || s->is_websocket) {
        http_answer_error(h, EIO_E_BAD_REQUEST,
                          s->is_websocket ? "TRANSPORT_MISMATCH" : "PROTOCOL_MISMATCH");
    } else if (is_too_big) {
        http_answer_empty(h, 413); /* EIO-TOO-LARGE: the session survives */
    } else if ((h->is_octets && s->protocol == 4) ||
               (h->post_gen >= 0 && h->post_gen != s->post_gen)) {
        http_close_session(h, false); /* EIO-POST-OCTETS, EIO-POST-OVERLAP */
    } else {
        return true;
    }
    return false;
}

static void
again(struct later *l)
{
    struct engine_http *h =
        (struct engine_http *)((char *)l - offsetof(struct engine_http, later));
    struct buf body = h->body;
    h->body = (struct buf){0};
    if (h->answer == NULL)
        http_free(h);
    else
        post_body(h, buf_str(&body), h->is_too_big);
    buf_fini(&body);
}

static void
on_waited(struct timer *t)
{
    struct engine_http *h =
        (struct engine_http *)((char *)t - offsetof(struct engine_http, timer));
    struct buf body = h->body;
    h->body = (struct buf){0};
    h->post_gen = -1; /* a POST that was handled meanwhile was behind this one */
    h->snapshot = 0;
    post_body(h, buf_str(&body), false);
    buf_fini(&body);
}

/* A client says goodbye in the moment in which it polls, and these two come to different
 * processes: its GET was the first, and is answered by a noop (EIO-CLOSE-CLIENT). Where a
 * GET is known there is nothing to wait for. */
static bool
waits_for_poll(struct engine_http *h, struct str body)
{
    if (h->has_waited || h->session.owner_id != 0 ||
        !str_eqz(body, h->session.protocol == 4 ? "1" : "1:1") ||
        map_find(&h->e->adapter.sessions, h->session.session_id) != NULL)
        return false;
    h->has_waited = true;
    h->state = HTTP_BUSY;
    buf_clear(&h->body);
    buf_append_str(&h->body, body);
    h->timer.fn = on_waited;
    timers_arm(&h->e->timers, &h->timer, clock_now_ms() + GOODBYE_MS);
    return true;
}

void
post_body(struct engine_http *h, struct str body, bool is_too_big)
{
    struct engine *e = h->e;
    struct buf form;
    buf_init(&form);
    if (h->is_form && !is_too_big) {
        if (eio_jsonp_unwrap(body, &form) == RC_OK)
            body = buf_str(&form);
        h->is_form = false; /* decoded once, also if it is tried again */
    }
    enum rc rc = store_fence(e->store);
    /* Mostly head and body come together, and nothing has changed since. */
    if (rc == RC_OK && (h->snapshot == 0 || h->snapshot != store_read_snapshot(e->store)))
        rc = store_read_session(e->store, str_of(h->eio_sid), &h->session);
    h->session.reason = STR_NONE;
    if (rc == RC_NOTFOUND)
        http_answer_error(h, EIO_E_SID_UNKNOWN, NULL);
    else if (rc == RC_OK && judge(h, is_too_big) && !waits_for_poll(h, body))
        rc = handle(h, body);
    if (rc != RC_OK && rc != RC_NOTFOUND) { /* the store can't be read just now */
        h->state = HTTP_BUSY;
        h->is_too_big = is_too_big;
        buf_clear(&h->body);
        buf_append_str(&h->body, body);
        engine_later(e, &h->later, again);
    }
    buf_fini(&form);
}
