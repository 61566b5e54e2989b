/*
 * From polling to WebSocket (design 7): `2probe`, `3probe`, `5`; see ws.h.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/ws.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/log.h"

/* ---- upgrade ---- */

static void
on_claimed(void *arg, const struct store_result *r)
{
    struct engine_ws *w = arg;
    w->n_units--;
    if (w->state == WS_CLOSED) {
        ws_release(w);
    } else if (r->rc != RC_OK) {
        w->state = WS_WAITING; /* nothing of ours to take back */
        ws_end(w, SIO_R_NONE);
    } else {
        w->state = WS_PROBED;
        ws_send_text(w, "3probe");
        if (w->inbox != NULL) /* it did not wait for that */
            engine_later(w->e, &w->later, ws_turn);
    }
}

/* EIO-UPGRADE-ORDER */
void
ws_caught_up(struct engine_ws *w)
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
            ws_set_parser(w, (enum sio_parser)s.parser, session_can_choose_parser(&s));
        if (rc == RC_OK)
            rc = session_load(e, &w->sub, w->cursor_seq, max_seq, &due);
        store_read_end(e->store);
    }
    if (rc == RC_BUSY) {
        adapter_leave(&e->adapter, &w->sub);
        engine_later(e, &w->later, ws_turn);
    } else if (rc != RC_OK || s.is_closed) {
        w->state =
            WS_OPEN; /* below the horizon, or closed meanwhile: end it, never skip */
        ws_end(w, SIO_R_TRANSPORT_ERROR);
    } else {
        w->state = WS_OPEN;
        adapter_enter(&e->adapter, &w->sub);
        for (size_t i = 0; i < due.n; i++)
            ws_event(&w->sub, due.p[i], engine_frames(e, due.p[i], w->sub.form));
        struct store_unit *u = store_unit_create();
        store_unit_caught_up(u, w->sub.session_id, w->gen, max_seq);
        engine_submit(e, u, NULL, NULL);
        w->ping_ms = s.ping_ms;
        w->is_pinged = s.is_pinged;
        w->due_ms = s.ping_ms + e->cfg->ping_timeout_ms;
        w->connect_due_ms = s.connect_due_ms;
        ws_arm(w);
        w->e->counts.n[COUNT_UPGRADES]++;
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
        ws_end(w, SIO_R_NONE); /* too late: polling goes on */
        return;
    }
    w->gen = r->lease.gen;
    w->cursor_seq = r->lease.cursor_seq;
    if (w->state ==
        WS_CLOSED) { /* the peer left in the middle of it, and the session is ours now */
        if (r->rc == RC_OK)
            session_close(w->e, w->sub.session_id, SIO_R_TRANSPORT_CLOSE);
        ws_release(w);
        return;
    }
    ws_caught_up(w);
    if (w->inbox != NULL)
        engine_later(w->e, &w->later, ws_turn);
}

/* EIO-UPGRADE */
bool
ws_upgrade_packet(struct engine_ws *w, const struct eio_packet *p)
{
    struct engine *e = w->e;
    struct store_session s;
    if (w->state == WS_WAITING && w->sub.session_id == 0) {
        if (!ws_find_session(w))
            return false;
        if (w->state == WS_CLOSED)
            return true;
    }
    bool is_probe =
        w->state == WS_WAITING && p->type == EIO_PING && str_eqz(p->data, "probe");
    enum rc rc = is_probe ? store_read_session_by_id(e->store, w->sub.session_id, &s)
                          : RC_NOTFOUND;
    if (rc == RC_BUSY)
        return false;
    if (rc == RC_OK) {
        int64_t now_ms = clock_now_ms();
        int64_t dead_id =
            s.upgrade_id != 0 && !store_process_is_alive(e->store, s.upgrade_id)
                ? s.upgrade_id
                : 0;
        struct store_unit *u = store_unit_create();
        store_unit_upgrade_claim(u, w->sub.session_id, dead_id,
                                 now_ms + e->cfg->upgrade_timeout_ms, now_ms);
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
        ws_end(w, SIO_R_NONE); /* EIO-UPGRADE-OTHER: polling is left alone */
    }
    return true;
}
