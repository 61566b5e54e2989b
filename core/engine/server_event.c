/*
 * Events between our processes (app_server_emit, app_server_ask): a row of the log that
 * is for nobody's client. Each process but its origin runs the namespace's handler for
 * it, in the order of the log; the effects are a unit of that process.
 *
 * SPDX-License-Identifier: MIT
 */
#include <stddef.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/engine/call.h"
#include "core/sio/json.h"

/* False: its handler could not read just now. */
static bool
handle(struct engine *e, const struct store_packet *p)
{
    const struct nsp *nsp = engine_nsp(e, p->nsp_id);
    struct partial none = {0};
    struct work w = {.e = e, .now_ms = clock_now_ms(), .protocol = 4, .partial = &none};
    struct call_event ev = {
        .attachments = p->attachments, .has_ack_id = p->is_ask, .ack_id = p->seq};
    struct str rest;
    if (nsp == NULL || nsp->app == NULL)
        return true;
    if (sio_json_scan_array(p->body, INT32_MAX, &ev.event, &ev.args, &rest) != RC_OK) {
        log_error("engine", "server_event.broken", LOG_I("seq", p->seq));
        return true;
    }
    call_server_event(&w, nsp, &ev);
    bool is_done = !w.is_busy;
    if (is_done && w.u != NULL) {
        struct store_unit *u = w.u;
        w.u = NULL;
        engine_submit(e, u, NULL, NULL);
    }
    work_fini(&w);
    return is_done;
}

static void
on_later(struct later *l)
{
    struct engine *e =
        (struct engine *)((char *)l - offsetof(struct engine, server_events_later));
    if (store_fence(e->store) != RC_OK) {
        engine_later(e, l, on_later);
        return;
    }
    struct due events = e->server_events; /* the fence may have brought more */
    e->server_events = (struct due){0};
    size_t n_done = 0;
    while (n_done < events.n && handle(e, events.p[n_done]))
        n_done++;
    for (size_t i = n_done; i < events.n; i++)
        due_add(&e->server_events, events.p[i]);
    due_clear(&events);
    if (e->server_events.n > 0)
        engine_later(e, l, on_later);
}

void
server_event_take(struct engine *e, struct store_packet *p)
{
    if (e->front == ENGINE_CGI || p->origin_id == store_process_id(e->store))
        return;
    due_add(&e->server_events, p);
    engine_later(e, &e->server_events_later, on_later);
}

void
server_event_close(struct engine *e)
{
    engine_later_cancel(e, &e->server_events_later);
    due_clear(&e->server_events);
}
