/*
 * A WebSocket session: what goes out, and the heartbeat; see ws.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/ws.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/engine/history.h"

#define CONNECT_GAP_MS 3

/* ---- sending ---- */

void
ws_send_frames(struct engine_ws *w, struct frame *f)
{
    if (w->conn == NULL || f == NULL)
        return;
    w->e->counts.n[COUNT_PACKETS_OUT]++;
    for (const struct frame *part = f; part != NULL; part = part->next)
        w->e->counts.n[COUNT_BYTES_OUT] += (int64_t)part->len;
    w->e->ws->send(w->conn, f);
}

void
ws_send_text(struct engine_ws *w, const char *text)
{
    struct frame *f = frame_of(str_of(text));
    f->is_plain = true;
    ws_send_frames(w, f);
    frame_unref(f);
}

static struct engine_ws *
ws_of_sub(struct sub *s)
{
    return (struct engine_ws *)((char *)s - offsetof(struct engine_ws, sub));
}

/* What a recovered socket missed follows its CONNECT reply: the official client would
 * handle events that come before it twice over WebSocket (design 7). They go before all
 * rows that wait behind the gap, which are kept in their order. */
/* SIO-RECOVERY-ORDER */
static void
replay(struct engine_ws *w)
{
    struct store_packet *connect = w->replay_of;
    struct due all = {0};
    enum rc rc = session_replay(w->e, connect, &all);
    if (rc == RC_BUSY) { /* again at the end of the gap */
        due_clear(&all);
        return;
    }
    w->replay_of = NULL;
    if (rc == RC_OK) {
        for (size_t i = 0; i < w->held.n; i++)
            due_add(&all, w->held.p[i]);
        due_clear(&w->held);
        w->held = all;
        struct store_unit *u = store_unit_create();
        store_unit_caught_up(u, w->sub.session_id, w->gen, connect->seq);
        engine_submit(w->e, u, NULL, NULL);
    } else { /* never a partial `recovered` */
        due_clear(&all);
        due_clear(&w->held);
        ws_end(w, SIO_R_TRANSPORT_ERROR);
    }
    store_packet_unref(connect);
}

/* What a room has kept, in the place of its row; rows behind it wait until it can be
 * read. */
static void
send_history(struct engine_ws *w, struct store_packet *row)
{
    struct due events = {0};
    if (history_add(w->e, w->sub.session_id, row, 0, &events) != RC_OK) {
        due_add(&w->held, row);
        timers_arm(&w->e->timers, &w->gap_timer, clock_now_ms() + 1);
    }
    for (size_t i = 0; i < events.n; i++)
        ws_send_frames(w, engine_frames(w->e, events.p[i], w->sub.form));
    due_clear(&events);
}

void
ws_event(struct sub *s, struct store_packet *p, struct frame *f)
{
    struct engine_ws *w = ws_of_sub(s);
    /* SIO-VOLATILE */
    bool is_held = w->gap_timer.pos != 0;
    if (w->conn == NULL || w->state != WS_OPEN ||
        (f == NULL && p->kind != STORE_HISTORY) ||
        (p->is_volatile && (is_held || !w->e->ws->is_writable(w->conn))))
        return;
    if (is_held) {
        due_add(&w->held, p);
        return;
    }
    if (p->kind == STORE_HISTORY) {
        send_history(w, p);
        return;
    }
    ws_send_frames(w, f);
    if (p->kind == STORE_CONNECT)
        w->connect_due_ms = 0;
    if (p->kind == STORE_CONNECT && w->protocol == 4)
        timers_arm(&w->e->timers, &w->gap_timer, clock_now_ms() + CONNECT_GAP_MS);
    if (p->kind == STORE_CONNECT && p->arg_id != 0) {
        w->replay_of = store_packet_ref(p);
        replay(w);
    }
}

/* The connection ends: what was held goes before. */
void
ws_flush_held(struct engine_ws *w)
{
    timers_disarm(&w->e->timers, &w->gap_timer);
    /* Without what was missed before, these would be a part only. */
    for (size_t i = 0; i < w->held.n && w->replay_of == NULL; i++)
        ws_send_frames(w, engine_frames(w->e, w->held.p[i], w->sub.form));
    due_clear(&w->held);
}

void
ws_on_gap_end(struct timer *t)
{
    struct engine_ws *w =
        (struct engine_ws *)((char *)t - offsetof(struct engine_ws, gap_timer));
    if (w->replay_of != NULL)
        replay(w);
    if (w->replay_of != NULL) {
        timers_arm(&w->e->timers, t, clock_now_ms() + 1);
        return;
    }
    struct due held = w->held;
    w->held = (struct due){0};
    for (size_t i = 0; i < held.n;
         i++) { /* a further CONNECT among them holds the rest again */
        ws_event(&w->sub, held.p[i], engine_frames(w->e, held.p[i], w->sub.form));
    }
    due_clear(&held);
}

static void
on_noop(struct sub *s)
{
    (void)s;
}

static void
on_close(struct sub *s, const struct store_packet *p)
{
    (void)p;
    ws_end(ws_of_sub(s), SIO_R_NONE); /* the row says that it is closed already */
}

/* It may join again for a while, as after its handshake (8.19). */
/* SIO-EMPTY */
static void
on_empty(struct sub *s)
{
    struct engine_ws *w = ws_of_sub(s);
    if (w->state != WS_OPEN || w->e->is_draining)
        return;
    w->connect_due_ms = clock_now_ms() + w->e->cfg->empty_session_ms;
    ws_arm(w);
}

const struct sub_ops ws_ops = {ws_event, on_noop, on_close, on_empty};

/* ---- heartbeat and deadlines ---- */

void
ws_arm(struct engine_ws *w)
{
    if (w->e->is_draining) { /* the timer is ws_drain's */
        if (w->timer.pos == 0)
            timers_arm(&w->e->timers, &w->timer, 0);
        return;
    }
    int64_t due_ms = w->is_pinged || w->protocol == 3 ? w->due_ms : w->ping_ms;
    if (w->connect_due_ms != 0 && w->connect_due_ms < due_ms)
        due_ms = w->connect_due_ms;
    timers_arm(&w->e->timers, &w->timer, due_ms);
}

void
ws_plan_ping(struct engine_ws *w, int64_t now_ms)
{
    w->ping_ms = session_ping_ms(w->e->cfg, now_ms);
    w->due_ms = w->ping_ms + w->e->cfg->ping_timeout_ms;
    w->is_pinged = w->is_extended = false;
}

void
ws_on_timer(struct timer *t)
{
    struct engine_ws *w =
        (struct engine_ws *)((char *)t - offsetof(struct engine_ws, timer));
    int64_t now_ms = clock_now_ms();
    if (w->e->is_draining) { /* it came while the others were being closed */
        ws_end(w, SIO_R_SHUTTING_DOWN);
        return;
    }
    if (w->state == WS_WAITING) {
        ws_wait(w);
        return;
    }
    /* EIO-UPGRADE-TIMEOUT */
    if (w->state != WS_OPEN) { /* PROBING … UPGRADING */
        if (now_ms < w->due_ms)
            timers_arm(&w->e->timers, &w->timer, w->due_ms);
        else
            ws_end(w, SIO_R_NONE);
        return;
    }
    if (w->connect_due_ms != 0 && now_ms >= w->connect_due_ms) {
        ws_end(w, SIO_R_FORCED_SERVER_CLOSE); /* SIO-CONNECT-TIMEOUT */
        return;
    }
    if (now_ms >= w->due_ms) {
        ws_end(w, SIO_R_PING_TIMEOUT); /* EIO-PING-TIMEOUT */
        return;
    }
    /* EIO-PING */
    if (!w->is_pinged && w->protocol != 3 && now_ms >= w->ping_ms) {
        w->is_pinged = true;
        w->due_ms = now_ms + w->e->cfg->ping_timeout_ms;
        ws_send_text(w, "2");
    }
    ws_arm(w);
}
