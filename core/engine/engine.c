/*
 * The process: store, application, loop. Each loop turn: what came in is handled, then
 * (engine_turn, before the loop sleeps) what was put off, the deadlines, and ONE
 * hand-over of all units to the store thread.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/engine/engine.h"

#include <stdlib.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/engine/api.h"
#include "core/engine/hook_worker.h"
#include "core/engine/internal.h"

/* A wait for the write lock after which the sweeper skips a round. */
#define SLOW_MS 500
#define DRAIN_MAX_MS 5000
#define RETRY_MS 1
#define NSPS_SLICE 100
#define NSP_KEEP_ROUNDS                                                                  \
    400 /* of the sweeper, 100 s: longer than a row waits for a poll */

/* ---- put off ---- */

void
engine_later(struct engine *e, struct later *l, void (*fn)(struct later *l))
{
    l->fn = fn;
    if (l->is_queued)
        return;
    l->is_queued = true;
    l->next = NULL;
    *e->later_end = l;
    e->later_end = &l->next;
}

void
engine_later_cancel(struct engine *e, struct later *l)
{
    if (!l->is_queued)
        return;
    struct later **at = &e->later;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    if (e->later_end == &l->next)
        e->later_end = at;
    l->is_queued = false;
}

static void
run_later(struct engine *e)
{
    struct later *last =
        e->later_end == &e->later
            ? NULL
            : (struct later *)((char *)e->later_end - offsetof(struct later, next));
    while (e->later != NULL) {
        struct later *l = e->later;
        engine_later_cancel(e, l);
        bool is_last = l == last;
        l->fn(l); /* may free l, and may put itself off again: then it waits for the next
                     turn */
        if (is_last)
            return;
    }
}

/* ---- units ---- */

struct pending {
    struct engine *e;
    store_done_fn *on_done;
    void *arg;
    int64_t since_ms;
};

static void
on_unit(void *arg, const struct store_result *r)
{
    struct pending *p = arg;
    struct engine *e = p->e;
    e->n_units--;
    if (clock_rough_ms() - p->since_ms > SLOW_MS)
        e->was_slow = true;
    for (size_t i = 0; i < r->n_jobs; i++)
        job_take(e, &r->jobs[i]);
    if (p->on_done != NULL)
        p->on_done(p->arg, r);
    else
        engine_check_unit(r);
    free(p);
}

void
engine_check_unit(const struct store_result *r)
{
    if (r->rc != RC_OK && r->rc != RC_CONFLICT)
        log_error("engine", "unit.failed", LOG_Z("code", rc_text(r->rc)),
                  LOG_Z("error", r->error));
}

void
engine_submit(struct engine *e, struct store_unit *u, store_done_fn *on_done, void *arg)
{
    struct pending *p = xmalloc(sizeof *p);
    *p = (struct pending){e, on_done, arg, clock_rough_ms()};
    e->n_units++;
    if (e->front == ENGINE_CGI) /* it ends before a sweep would do it */
        count_flush(&e->counts, u);
    store_unit_submit(e->store, u, on_unit, p);
}

/* ---- rows ---- */

static bool
can_take(void *arg, const struct store_packet *p)
{
    return p->nsp_id == 0 || engine_nsp_load(arg, p->nsp_id) != RC_BUSY;
}

static void
on_packet(void *arg, struct store_packet *p)
{
    struct engine *e = arg;
    adapter_apply(&e->adapter, p);
    wire_forget(p);
    ring_append(&e->ring, p);
    if (p->kind == STORE_WAKE) {
        job_wake(e);
        rule_wake(e);
    } else if (p->kind == STORE_SERVER) {
        server_event_take(e, p);
    }
}

static void
on_horizon(void *arg)
{
    struct engine *e = arg;
    log_error("engine", "horizon.passed",
              LOG_Z("what", "the log was pruned beyond this process; its sessions end"));
    ring_reset(&e->ring, store_last_seq(e->store));
    size_t i = 0;
    int64_t session_id;
    while (map_next(&e->adapter.sessions, &i, &session_id) != NULL)
        session_close(e, session_id, SIO_R_TRANSPORT_ERROR);
}

/* ---- namespaces ---- */

enum rc
engine_nsp_load(struct engine *e, int64_t nsp_id)
{
    struct nsp *n = map_find(&e->nsps, nsp_id);
    struct str name;
    if (n != NULL) {
        n->used_round = e->sweep_round;
        return RC_OK;
    }
    enum rc rc = store_read_nsp_name(e->store, nsp_id, &name);
    if (rc != RC_OK && rc != RC_NOTFOUND && rc != RC_BUSY)
        log_error("engine", "nsp.unknown", LOG_I("nsp", nsp_id),
                  LOG_Z("code", rc_text(rc)));
    if (rc != RC_OK)
        return rc;
    n = xcalloc(1, sizeof *n);
    n->nsp_id = nsp_id;
    n->used_round = e->sweep_round;
    n->name = (struct str){str_dup(name), name.len};
    n->app = app_registry_find(&e->app, n->name);
    map_put(&e->nsps, nsp_id, n);
    return RC_OK;
}

const struct nsp *
engine_nsp(struct engine *e, int64_t nsp_id)
{
    return engine_nsp_load(e, nsp_id) == RC_OK ? map_find(&e->nsps, nsp_id) : NULL;
}

void
engine_nsps_forget(struct engine *e)
{
    int64_t ids[NSPS_SLICE], id;
    size_t n = 0, i = 0;
    const struct nsp *k;
    while (n < NSPS_SLICE && (k = map_next(&e->nsps, &i, &id)) != NULL)
        if (e->sweep_round - k->used_round > NSP_KEEP_ROUNDS &&
            map_find(&e->adapter.targets, store_key(STORE_TO_NSP, id)) == NULL)
            ids[n++] = id;
    while (n > 0) {
        struct nsp *nsp = map_remove(&e->nsps, ids[--n]);
        free((char *)nsp->name.p);
        free(nsp);
    }
}

static const struct nsp *
nsp_of(void *arg, int64_t nsp_id)
{
    return engine_nsp(arg, nsp_id);
}

struct frame *
engine_frames(struct engine *e, struct store_packet *p, enum wire_form form)
{
    const struct nsp *nsp = p->nsp_id != 0 ? engine_nsp(e, p->nsp_id) : NULL;
    if (p->nsp_id != 0 && nsp == NULL) {
        log_error("engine", "nsp.unknown", LOG_I("nsp", p->nsp_id), LOG_I("seq", p->seq));
        return NULL;
    }
    return wire_frames(p, nsp ? nsp->name : STR("/"), form, e->adapter.epoch);
}

enum wire_form
engine_form(const struct engine *e, int protocol, enum sio_parser parser)
{
    bool with_offset = e->cfg->recovery_ms > 0;
    if (protocol == 3)
        return WIRE_V3;
    if (parser == SIO_PARSER_MSGPACK)
        return with_offset ? WIRE_MSGPACK_OFFSET : WIRE_MSGPACK;
    return with_offset ? WIRE_V4_OFFSET : WIRE_V4;
}

/* ---- the loop ---- */

static void on_uv_timer(uv_timer_t *t);

static void
set_timer(struct engine *e)
{
    int64_t next_ms = timers_next_ms(&e->timers), now_ms = clock_now_ms();
    if (e->later != NULL && next_ms > now_ms + RETRY_MS)
        next_ms = now_ms + RETRY_MS;
    if (next_ms == e->timer_ms)
        return;
    e->timer_ms = next_ms;
    if (next_ms == INT64_MAX) {
        uv_timer_stop(&e->timer);
        return;
    }
    uv_update_time(e->loop);
    uv_timer_start(&e->timer, on_uv_timer,
                   next_ms > now_ms ? (uint64_t)(next_ms - now_ms) : 0, 0);
}

static void
check_drained(struct engine *e)
{
    if (!e->is_draining || e->on_drained == NULL || e->https != NULL ||
        e->conns != NULL || e->n_units > 0 || !hook_is_idle(e) ||
        timers_next_ms(&e->timers) <= clock_now_ms())
        return;
    void (*on_drained)(void *arg) = e->on_drained;
    e->on_drained = NULL;
    on_drained(e->drained_arg);
}

static void
engine_turn(struct engine *e)
{
    run_later(e);
    timers_run(&e->timers, clock_now_ms());
    hook_turn(e);
    post_rides(e);
    store_flush(e->store);
    set_timer(e);
    check_drained(e);
}

static void
on_uv_timer(uv_timer_t *t)
{
    struct engine *e = t->data;
    e->timer_ms =
        INT64_MAX; /* engine_turn, before the loop sleeps again, runs what is due */
}

static void
on_prepare(uv_prepare_t *p)
{
    engine_turn(p->data);
}

static void
on_store(uv_poll_t *p, int status, int events)
{
    struct engine *e = p->data;
    (void)status;
    (void)events;
    store_pump(e->store);
    hook_look(e);
    api_woken(e);
}

/* ---- open ---- */

static void
on_ring_row(void *arg, struct store_packet *p)
{
    ring_append(arg, p);
}

static int64_t
smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* So that polls that come back after a restart find what they missed without SQL. The
 * ring never reaches below the horizon; a CGI request has no use for one. */
static void
load_ring(struct engine *e)
{
    const struct cfg *cfg = e->cfg;
    int64_t n_rows = smaller(cfg->ring_rows, cfg->log_rows_max);
    int64_t n_bytes = smaller(cfg->ring_bytes, cfg->log_bytes_max);
    int64_t to = store_last_seq(e->store), from = to - n_rows, horizon, last;
    if (e->front == ENGINE_CGI || store_read_horizon(e->store, &horizon) != RC_OK)
        horizon = to;
    if (from < horizon)
        from = horizon;
    ring_init(&e->ring, (size_t)n_rows, (size_t)n_bytes, from);
    enum rc rc = RC_OK; /* a read takes no more bytes than a loop turn can */
    for (; from < to && rc == RC_OK; from = last) {
        last = to;
        rc = store_read_log(e->store, from, to, (size_t)n_rows, on_ring_row, &e->ring,
                            &last);
    }
    if (rc != RC_OK)
        ring_reset(&e->ring, to);
    e->ring.last_seq = to;
}

enum rc
engine_open(struct engine **out, const struct engine_options *o, struct buf *err)
{
    static const enum store_front fronts[] = {[ENGINE_FCGI] = STORE_FRONT_FCGI,
                                              [ENGINE_CGI] = STORE_FRONT_CGI,
                                              [ENGINE_WS] = STORE_FRONT_WS,
                                              [ENGINE_HOOK] = STORE_FRONT_HOOK};
    struct engine *e = xcalloc(1, sizeof *e);
    e->cfg = e->cfg_own = o->cfg;
    e->front = o->front;
    e->is_single = o->is_single;
    e->n_held_max = o->n_held_max;
    e->ws = o->ws;
    e->loop = o->loop;
    e->later_end = &e->later;
    e->timer_ms = INT64_MAX;
    app_registry_init(&e->app);
    struct store_options so = {
        .cfg = o->cfg, .front = fronts[o->front], .address = o->address};
    struct store_hooks hooks = {e, on_packet, on_horizon, can_take};
    enum rc rc = store_open(&e->store, &so, &hooks, err);
    if (rc != RC_OK)
        goto fail_store;
    rc = load_app(e, e->cfg, &e->app, err);
    if (rc == RC_OK)
        rc = api_tokens_load(e, e->cfg, &e->api_tokens, err);
    if (rc != RC_OK)
        goto fail_app;
    adapter_init(&e->adapter, store_process_id(e->store), store_epoch(e->store), nsp_of,
                 e);
    load_ring(e);
    rule_begin(e);
    if (e->front == ENGINE_FCGI)
        e->client = client_files_load(e->cfg);
    uv_poll_init(e->loop, &e->store_poll, store_fd(e->store));
    uv_prepare_init(e->loop, &e->prepare);
    uv_timer_init(e->loop, &e->timer);
    e->store_poll.data = e->prepare.data = e->timer.data = e;
    uv_poll_start(&e->store_poll, UV_READABLE, on_store);
    uv_prepare_start(&e->prepare, on_prepare);
    sweep_start(e);
    if (o->hook != NULL)
        hook_open(e, o->hook);
    log_at(e->front == ENGINE_CGI ? LOG_DEBUG : LOG_INFO, "engine", "process.open",
           LOG_I("process", store_process_id(e->store)), LOG_Z("address", o->address));
    *out = e;
    return RC_OK;
fail_app:
    store_close(e->store);
fail_store:
    app_registry_fini(&e->app);
    free(e);
    return rc;
}

/* ---- drain and close ---- */

static void
on_drain_end(struct timer *t)
{
    struct engine *e =
        (struct engine *)((char *)t - offsetof(struct engine, drain_timer));
    log_warn("engine", "drain.late", LOG_I("units", (int64_t)e->n_units));
    void (*on_drained)(void *arg) = e->on_drained;
    e->on_drained = NULL;
    if (on_drained != NULL)
        on_drained(e->drained_arg);
}

/* EIO-DRAIN */
void
engine_drain(struct engine *e, void (*on_drained)(void *arg), void *arg)
{
    if (e->is_draining)
        return;
    e->is_draining = true;
    e->on_drained = on_drained;
    e->drained_arg = arg;
    e->drain_timer.fn = on_drain_end;
    timers_arm(&e->timers, &e->drain_timer, clock_now_ms() + DRAIN_MAX_MS);
    store_set_draining(e->store);
    struct engine_http *next;
    for (struct engine_http *h = e->https; h != NULL; h = next) {
        next = h->next;
        if (h->api != NULL)
            api_drain(h);
        else
            poll_drain(h);
    }
    ws_drain(e);
}

bool
engine_is_idle(const struct engine *e)
{
    return e->https == NULL && e->conns == NULL && e->n_units == 0 &&
           timers_next_ms(&e->timers) > clock_now_ms();
}

static void
on_handle_closed(uv_handle_t *handle)
{
    struct engine *e = handle->data;
    if (--e->n_handles > 0)
        return;
    size_t i = 0;
    struct nsp *n;
    while ((n = map_next(&e->nsps, &i, NULL)) != NULL) {
        free((char *)n->name.p);
        free(n);
    }
    map_fini(&e->nsps);
    map_fini(&e->jobs);
    timers_fini(&e->timers);
    ring_fini(&e->ring);
    adapter_fini(&e->adapter);
    app_registry_fini(&e->app);
    client_files_destroy(e->client);
    free(e->api_tokens);
    throttle_fini(&e->handshakes);
    free(e->rides.p);
    free(e);
}

void
engine_close(struct engine *e)
{
    uv_poll_stop(&e->store_poll);
    hook_stop(e);
    store_close(e->store);
    while (e->https != NULL)
        http_free(e->https);
    ws_close_all(e);
    job_close_all(e);
    server_event_close(e);
    hook_close(e);
    e->n_handles = 3;
    uv_close((uv_handle_t *)&e->store_poll, on_handle_closed);
    uv_close((uv_handle_t *)&e->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&e->timer, on_handle_closed);
}
