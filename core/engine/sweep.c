/*
 * The sweeper, run by every process that lives (design 4.7): sessions that have gone
 * silent, processes that died, jobs without an owner, rows that nobody needs. Each step
 * is guarded in the store, so that two sweepers do no harm. A commit has at most a slice
 * of each kind; while slices are full, one follows the other.
 *
 * SPDX-License-Identifier: MIT
 */
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/engine/internal.h"

#define ROUND_MS 250
#define SLOW_ROUNDS 4 /* what is done once a second */
#define SLICE 200
#define FORGET_PAUSE_MS 10 /* between full slices: nobody waits for it */

struct ids {
    int64_t p[SLICE];
    size_t n;
};

static void
on_id(void *arg, int64_t id)
{
    struct ids *ids = arg;
    if (ids->n < SLICE)
        ids->p[ids->n++] = id;
}

/* A slice was full: go on, before the next round. */
static void on_more(struct later *l);

/* ---- silent sessions ---- */

static void
on_expired(void *arg, const struct store_result *r)
{
    struct engine *e = arg;
    engine_check_unit(r);
    e->sweep.is_expiring = false;
    engine_later(e, &e->sweep_later, on_more);
}

static void
sweep_sessions(struct engine *e, int64_t now_ms)
{
    struct ids ids = {.n = 0};
    struct store_session s;
    struct store_unit *last = NULL;
    if (e->sweep.is_expiring ||
        store_read_due_sessions(e->store, now_ms, SLICE, on_id, &ids) != RC_OK)
        return;
    for (size_t i = 0; i < ids.n; i++) {
        if (store_read_session_by_id(e->store, ids.p[i], &s) != RC_OK || s.is_closed ||
            !session_is_dead(&s, now_ms))
            continue;
        if (last != NULL)
            engine_submit(e, last, NULL, NULL);
        last = session_expire_unit(e, &s, now_ms);
    }
    if (last == NULL)
        return;
    e->sweep.is_expiring = ids.n == SLICE; /* units come back in their order */
    engine_submit(e, last, e->sweep.is_expiring ? on_expired : NULL, e);
}

/* ---- the dead ---- */

static void
on_buried(void *arg, const struct store_result *r)
{
    struct engine *e = arg;
    engine_check_unit(r);
    e->sweep.is_burying = false;
    job_wake(e); /* their jobs are anybody's now */
    if (r->has_more)
        engine_later(e, &e->sweep_later, on_more);
}

/* A slice of what the dead hold, in one unit. */
/* EIO-KILLED */
static void
sweep_processes(struct engine *e, int64_t now_ms, bool is_again)
{
    struct ids ids = {.n = 0};
    size_t n_dead = 0;
    if (e->sweep.is_burying || store_read_processes(e->store, on_id, &ids) != RC_OK)
        return;
    for (size_t i = 0; i < ids.n; i++)
        if (!store_process_is_alive(e->store, ids.p[i]))
            ids.p[n_dead++] = ids.p[i];
    if (n_dead == 0)
        return;
    struct store_unit *u = store_unit_create();
    for (size_t i = 0; i < n_dead; i++) {
        store_unit_bury(u, ids.p[i], str_of(sio_reason_text(SIO_R_TRANSPORT_CLOSE)),
                        e->cfg->recovery_ms > 0, now_ms, SLICE / n_dead);
        if (!is_again || ids.p[i] > e->sweep.dead_id)
            log_info("engine", "process.dead", LOG_I("process", ids.p[i]));
    }
    if (ids.p[n_dead - 1] > e->sweep.dead_id)
        e->sweep.dead_id = ids.p[n_dead - 1]; /* they come in the order of their ids */
    e->sweep.is_burying = true;
    engine_submit(e, u, on_buried, e);
}

static void
on_more(struct later *l)
{
    struct engine *e =
        (struct engine *)((char *)l - offsetof(struct engine, sweep_later));
    int64_t now_ms = clock_now_ms();
    if (e->is_draining) /* others do it */
        return;
    sweep_sessions(e, now_ms);
    sweep_processes(e, now_ms, true);
}

/* ---- what nobody needs ---- */

static void
on_forgotten(void *arg, const struct store_result *r)
{
    struct engine *e = arg;
    engine_check_unit(r);
    e->sweep.is_forgetting = false;
    if (r->has_more && !e->is_draining)
        timers_arm(&e->timers, &e->forget_timer, clock_now_ms() + FORGET_PAUSE_MS);
}

static void
on_forget_timer(struct timer *t)
{
    struct engine *e =
        (struct engine *)((char *)t - offsetof(struct engine, forget_timer));
    struct store_unit *u = store_unit_create();
    store_unit_forget(u, clock_now_ms(), SLICE);
    e->sweep.is_forgetting = true;
    engine_submit(e, u, on_forgotten, e);
}

static void
on_round(struct timer *t)
{
    struct engine *e =
        (struct engine *)((char *)t - offsetof(struct engine, sweep_timer));
    int64_t now_ms = clock_now_ms();
    timers_arm(&e->timers, t, now_ms + ROUND_MS);
    if (store_fence(e->store) != RC_OK) {
        store_tick(e->store); /* a head that stays torn is repaired by a transaction */
        return;
    }
    if (e->was_slow) { /* pongs may stand in queues */
        e->was_slow = false;
        return;
    }
    sweep_sessions(e, now_ms);
    if (e->sweep_round++ % SLOW_ROUNDS != 0)
        return;
    store_tick(e->store);
    sweep_processes(e, now_ms, false);
    job_wake(e);
    rule_wake(e);
    if (e->cfg->is_cleanup_nsp)
        engine_nsps_forget(e);
    if (!e->sweep.is_forgetting)
        timers_arm(&e->timers, &e->forget_timer, now_ms);
    struct store_unit *u = store_unit_create();
    count_flush(&e->counts, u);
    if (store_unit_n_steps(u) > 0)
        engine_submit(e, u, NULL, NULL);
    else
        store_unit_destroy(u);
}

void
sweep_start(struct engine *e)
{
    e->sweep_timer.fn = on_round;
    e->forget_timer.fn = on_forget_timer;
    timers_arm(&e->timers, &e->sweep_timer, clock_now_ms() + ROUND_MS);
}
